//! From the opening to WELCOME.

use super::body::{Fields, Reader, known_or_skipped, once, put_field};
use super::{Method, Tag, WireError};

/// What a client's bytes begin with.
pub const OPENING: [u8; 8] = *b"\xF7TGATE\r\n";

/// The version of this module.
pub const VERSION: u16 = 1;

/// Bytes of a nonce, and of a proof.
pub const NONCE_LEN: usize = 32;

/// HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// How the client proves who it is.
    pub method: Method,
    /// Lowest version that it speaks.
    pub version_min: u16,
    /// Highest version that it speaks.
    pub version_max: u16,
    /// The frame maximum that it would like.
    pub frame_max: u32,
    /// The window that it would like.
    pub window: u32,
    /// Features without which it cannot go on.
    pub features: u64,
    /// Random.
    pub nonce: [u8; NONCE_LEN],
    /// Its name.
    pub client: Option<&'a str>,
    /// The service whose token it has (method 2).
    pub service: Option<&'a str>,
}

impl<'a> Hello<'a> {
    const LEN: usize = 56;
    /// The longest name of a client.
    pub const CLIENT_BYTES_MAX: usize = 64;

    /// Reads the body of HELLO.
    ///
    /// # Errors
    /// It is not one.
    pub fn read(body: &'a [u8]) -> Result<Hello<'a>, WireError> {
        let fixed = Reader::new(body, Hello::LEN)?;
        let mut hello = Hello {
            method: Method(fixed.u8(2)),
            version_min: fixed.u16(4),
            version_max: fixed.u16(6),
            frame_max: fixed.u32(8),
            window: fixed.u32(12),
            features: fixed.u64(16),
            nonce: fixed.bytes(24),
            client: None,
            service: None,
        };
        let mut fields = Fields::new(fixed.rest, body.len());
        while let Some((tag, value)) = fields.take()? {
            match tag {
                Tag::CLIENT if value.len() > Hello::CLIENT_BYTES_MAX => {
                    return Err(WireError::FieldValue { tag: tag.0 });
                }
                Tag::CLIENT => once(&mut hello.client, tag, value)?,
                Tag::SERVICE => once(&mut hello.service, tag, value)?,
                _ => known_or_skipped(tag)?,
            }
        }
        Ok(hello)
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[56, 0, self.method.0, 0]);
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&self.frame_max.to_le_bytes());
        out.extend_from_slice(&self.window.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.nonce);
        for (tag, text) in [(Tag::CLIENT, self.client), (Tag::SERVICE, self.service)] {
            if let Some(text) = text {
                put_field(out, tag, &[text.as_bytes()]);
            }
        }
    }
}

/// The answer to HELLO that asks for a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Random.
    pub nonce: [u8; NONCE_LEN],
}

/// PROOF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// HMAC-SHA-256 of [`proof_text`].
    pub proof: [u8; NONCE_LEN],
}

const NONCE_BODY_LEN: usize = 8 + NONCE_LEN;

fn put_nonce(out: &mut Vec<u8>, bytes: &[u8; NONCE_LEN]) {
    out.extend_from_slice(&[40, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(bytes);
}

impl Challenge {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_nonce(out, &self.nonce);
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Challenge, WireError> {
        Ok(Challenge { nonce: Reader::new(body, NONCE_BODY_LEN)?.bytes(8) })
    }
}

impl Proof {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_nonce(out, &self.proof);
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(body: &[u8]) -> Result<Proof, WireError> {
        Ok(Proof { proof: Reader::new(body, NONCE_BODY_LEN)?.bytes(8) })
    }
}

/// What a client's proof is the HMAC of.
#[must_use]
pub fn proof_text(hello: &Hello<'_>, node_nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
    let service = hello.service.filter(|_| hello.method == Method::SERVICE_TOKEN).unwrap_or_default();
    [b"tollgate proof 1", &hello.nonce[..], node_nonce, &[hello.method.0], service.as_bytes()].concat()
}

/// What a node's proof is the HMAC of.
#[must_use]
pub fn server_proof_text(client_nonce: &[u8; NONCE_LEN], node_nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
    [b"tollgate server1", &node_nonce[..], client_nonce].concat()
}

/// WELCOME.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u16,
    /// Bytes of the longest frame.
    pub frame_max: u32,
    /// Requests that may be unanswered at a time.
    pub window: u32,
    /// After this the node closes a connection that says nothing.
    pub idle_ms: u32,
    /// What the node can do.
    pub features: u64,
    /// For logs.
    pub session: u64,
    /// Drawn at the node's start.
    pub node: u64,
    /// Microseconds since 1970.
    pub time_us: u64,
    /// The catalog version.
    pub catalog_version: u64,
    /// HMAC-SHA-256 of [`server_proof_text`].
    pub proof: [u8; NONCE_LEN],
    /// Name and version of the node.
    pub name: String,
}

impl Welcome {
    const LEN: usize = 88;

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[88, 0]);
        out.extend_from_slice(&self.version.to_le_bytes());
        for number in [self.frame_max, self.window, self.idle_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.features, self.session, self.node, self.time_us, self.catalog_version] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.proof);
        if !self.name.is_empty() {
            put_field(out, Tag::NODE, &[self.name.as_bytes()]);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not one.
    pub fn read(body: &[u8]) -> Result<Welcome, WireError> {
        let fixed = Reader::new(body, Welcome::LEN)?;
        let mut welcome = Welcome {
            version: fixed.u16(2),
            frame_max: fixed.u32(4),
            window: fixed.u32(8),
            idle_ms: fixed.u32(12),
            features: fixed.u64(16),
            session: fixed.u64(24),
            node: fixed.u64(32),
            time_us: fixed.u64(40),
            catalog_version: fixed.u64(48),
            proof: fixed.bytes(56),
            name: String::new(),
        };
        let mut fields = Fields::new(fixed.rest, body.len());
        while let Some((tag, value)) = fields.take()? {
            if tag == Tag::NODE {
                welcome.name = String::from_utf8_lossy(value).into_owned();
            }
        }
        Ok(welcome)
    }
}
