//! A connection of the binary protocol: getting in, and exchanges that wait for their answers.

use std::io::{Read, Write};

use ring::hmac;

use super::subjects::Access;
use super::target::Stream;
use super::{LoadError, Target};
use crate::wire::{
    Challenge, FRAME_MAX_DEFAULT, FRAME_MAX_GREATEST, Failure, Flags, Frame, HEADER_LEN, Header, Hello,
    Method, NONCE_LEN, OPENING, Operation, Proof, Status, VERSION, Welcome, proof_text, server_proof_text,
};

/// Requests that an exchange keeps unanswered, if the node allows as many.
const EXCHANGE_DEPTH: usize = 64;

const CLIENT: &str = concat!("tollgate-load ", env!("CARGO_PKG_VERSION"));

/// A connection on which the node knows who we are.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: Stream,
    pub(super) welcome: Welcome,
}

impl Session {
    /// Connects and proves who we are. The window and the frames are as large as `depth` and the node want them.
    pub(super) fn open(
        target: &Target,
        access: &Access,
        service: Option<&str>,
        depth: usize,
    ) -> Result<Session, LoadError> {
        let mut stream = target.connect()?;
        let (method, secret) = match access {
            Access::None => (Method::NONE, None),
            Access::NodeSecret(secret) => (Method::NODE_SECRET, Some(secret)),
            Access::ServiceToken(token) => (Method::SERVICE_TOKEN, Some(token)),
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| std::io::Error::other(error.to_string()))?;
        let hello = Hello {
            method,
            version_min: VERSION,
            version_max: VERSION,
            frame_max: FRAME_MAX_GREATEST,
            window: u32::try_from(depth.max(EXCHANGE_DEPTH)).unwrap_or(u32::MAX),
            features: 0,
            nonce,
            client: Some(CLIENT),
            service: service.filter(|_| method == Method::SERVICE_TOKEN),
        };
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        let mut out = OPENING.to_vec();
        put(&mut out, Operation::HELLO, 0, |body| hello.put(body));
        stream.write_all(&out)?;
        let foreign = |what: String| LoadError::Foreign {
            target: target.to_string(),
            protocol: "the binary protocol",
            what,
        };
        // Until it has said so much, who is there may be anybody.
        let first = read_frame(&mut stream, FRAME_MAX_DEFAULT).map_err(|error| match error {
            LoadError::Wire(_) | LoadError::Closed => foreign(error.to_string()),
            error => error,
        });
        let (mut header, mut body) = first?;
        if header.operation == Operation::HELLO.answer() && header.status == Status::CHALLENGE {
            let challenge = Challenge::read(&body)?;
            let key =
                key.as_ref().ok_or_else(|| foreign("it wants a proof where none was offered".to_owned()))?;
            let proof = sign(key, &proof_text(&hello, &challenge.nonce));
            out.clear();
            put(&mut out, Operation::PROOF, 0, |body| Proof { proof }.put(body));
            stream.write_all(&out)?;
            (header, body) = read_frame(&mut stream, FRAME_MAX_DEFAULT)?;
            let welcome = welcome(&header, &body)?;
            // Who has not got the secret cannot answer for the node.
            let theirs = server_proof_text(&nonce, &challenge.nonce);
            hmac::verify(key, &theirs, &welcome.proof)
                .map_err(|_| foreign("it cannot prove that it knows the secret".to_owned()))?;
            return Ok(Session { stream, welcome });
        }
        Ok(Session { stream, welcome: welcome(&header, &body)? })
    }

    /// Sends `count` requests, some at a time, and hears the answers to all. `put` appends the body of one.
    ///
    /// # Errors
    /// The first refusal, or what `hear` says.
    pub(super) fn exchange(
        &mut self,
        operation: Operation,
        count: usize,
        put_body: impl Fn(&mut Vec<u8>, usize),
        mut hear: impl FnMut(usize, &[u8]) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let at_once = EXCHANGE_DEPTH.min(self.welcome.window as usize).max(1);
        let mut out = Vec::new();
        for begin in (0..count).step_by(at_once) {
            let end = (begin + at_once).min(count);
            out.clear();
            for number in begin..end {
                put(&mut out, operation, number as u64 + 1, |body| put_body(body, number));
            }
            self.stream.write_all(&out)?;
            for _ in begin..end {
                let (header, body) = read_frame(&mut self.stream, self.welcome.frame_max)?;
                let number = (header.id as usize).wrapping_sub(1);
                if header.operation != operation.answer() || !(begin..end).contains(&number) {
                    return Err(unexpected(&header, &body));
                }
                if !header.status.is_done() {
                    let what = format!("user key {} of the list", number + 1);
                    return Err(LoadError::Refused { what, why: why(&header, &body) });
                }
                hear(number, &body)?;
            }
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, operation: Operation, id: u64, body: impl FnOnce(&mut Vec<u8>)) {
    let mut frame = Frame::request(out, operation, Flags::default(), id);
    body(frame.body());
    frame.end();
}

fn sign(key: &hmac::Key, text: &[u8]) -> [u8; NONCE_LEN] {
    let mut proof = [0; NONCE_LEN];
    proof.copy_from_slice(hmac::sign(key, text).as_ref());
    proof
}

fn welcome(header: &Header, body: &[u8]) -> Result<Welcome, LoadError> {
    let expected = [Operation::HELLO.answer(), Operation::PROOF.answer()];
    if !expected.contains(&header.operation) {
        return Err(unexpected(header, body));
    }
    if header.status != Status::OK {
        return Err(LoadError::Refused { what: "our credentials".to_owned(), why: why(header, body) });
    }
    Ok(Welcome::read(body)?)
}

/// Why a request failed, in the node's words.
pub(super) fn why(header: &Header, body: &[u8]) -> String {
    let said = Failure::read(body).map(|failure| failure.message).unwrap_or_default();
    if said.is_empty() { format!("status {:#06x}", header.status.0) } else { said }
}

/// An answer that ends the conversation.
pub(super) fn unexpected(header: &Header, body: &[u8]) -> LoadError {
    if header.operation == Operation::GOAWAY.answer() {
        // Its message stands where that of a failure does.
        let said = Failure::read(body).map(|it| it.message).unwrap_or_default();
        return LoadError::SentAway(if said.is_empty() { "it does not say why".to_owned() } else { said });
    }
    LoadError::Unasked(format!("operation {:#04x}, id {}", header.operation.0, header.id))
}

fn read_frame(stream: &mut Stream, frame_max: u32) -> Result<(Header, Vec<u8>), LoadError> {
    let mut head = [0; HEADER_LEN];
    read_exact(stream, &mut head)?;
    // Also says what is wrong with an impossible length.
    let none_yet = crate::wire::split(&head, frame_max)?;
    let header = Header::read(&head);
    let length = if none_yet.is_some() { 0 } else { header.length as usize - HEADER_LEN };
    let mut body = vec![0; length];
    read_exact(stream, &mut body)?;
    Ok((header, body))
}

fn read_exact(stream: &mut Stream, into: &mut [u8]) -> Result<(), LoadError> {
    stream.read_exact(into).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => LoadError::Closed,
        _ => error.into(),
    })
}
