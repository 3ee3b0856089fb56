//! From a fresh stream to an open connection: opening, HELLO, PROOF, WELCOME.

use bytes::BytesMut;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::Decoder;

use super::Session;
use crate::access::Access;
use crate::address::Stream;
use crate::codec::{
    self, Answer, Challenge, FRAME_MAX_HIGHEST, FRAME_MAX_LOWEST, Fields, Frame, FrameCodec, Head, Hello,
    Method, Operation, Proof, Request, Status, VERSION, Welcome,
};
use crate::error::ConnectError;
use crate::options::Options;

/// What a handshake needs besides its stream.
pub(super) struct Handshake<'a> {
    pub(super) access: &'a Access,
    pub(super) options: &'a Options,
}

impl Handshake<'_> {
    /// Opens the connection. What came after WELCOME stays in `inbox`.
    pub(super) async fn run(
        &self,
        stream: &mut Stream,
        inbox: &mut BytesMut,
    ) -> Result<Session, ConnectError> {
        let mut nonce = [0; 32];
        SystemRandom::new().fill(&mut nonce).map_err(|_| ConnectError::Random)?;
        let mut out = BytesMut::from(&codec::OPENING[..]);
        put(&mut out, &self.hello(nonce))?;
        send(stream, &mut out).await?;

        let answer = receive(stream, inbox).await?;
        let mut node_nonce = None;
        let welcome = if self.access.method() == Method::None {
            answer
        } else {
            let Answer::Challenge(Challenge { nonce: node }) = understood(&answer, Operation::Hello)? else {
                return Err(ConnectError::Protocol("no challenge where there must be one"));
            };
            node_nonce = Some(node);
            let mac = self.access.client_proof(&nonce, &node);
            put(&mut out, &Request::Proof(Proof { mac }))?;
            send(stream, &mut out).await?;
            receive(stream, inbox).await?
        };
        let asked = if node_nonce.is_some() { Operation::Proof } else { Operation::Hello };
        let Answer::Welcome(welcome) = understood(&welcome, asked)? else {
            return Err(ConnectError::Protocol("no welcome where there must be one"));
        };
        if node_nonce.is_some_and(|node| !self.access.is_node(&nonce, &node, &welcome.mac)) {
            return Err(ConnectError::NotTheNode);
        }
        session(&welcome)
    }

    fn hello(&self, nonce: [u8; 32]) -> Request<'_> {
        let client = Some(self.options.name.as_str()).filter(|name| !name.is_empty());
        Request::Hello(Hello {
            method: self.access.method(),
            version_min: VERSION,
            version_max: VERSION,
            frame_max: self.options.frame_max,
            window: self.options.window,
            features: 0,
            nonce,
            fields: Fields { client, service: self.access.service(), ..Fields::default() },
        })
    }
}

fn put(out: &mut BytesMut, request: &Request<'_>) -> Result<(), ConnectError> {
    // Answers are told apart by operation here, so any id but 0 will do: that one is for what nobody asked for.
    let head = Head { operation: request.operation().number(), flags: 0, status: Status::OK, id: 1 };
    codec::put_frame(out, codec::FRAME_MAX_AT_FIRST, head, |out| request.encode(out))?;
    Ok(())
}

async fn send(stream: &mut Stream, out: &mut BytesMut) -> Result<(), ConnectError> {
    stream.writer.write_all_buf(out).await?;
    stream.writer.flush().await?;
    Ok(())
}

async fn receive(stream: &mut Stream, inbox: &mut BytesMut) -> Result<Frame, ConnectError> {
    let mut frames = FrameCodec::default();
    loop {
        if let Some(frame) = frames.decode(inbox)? {
            return Ok(frame);
        }
        if stream.reader.read_buf(inbox).await? == 0 {
            return Err(ConnectError::Protocol("the connection ended within the handshake"));
        }
    }
}

/// The answer to `asked`, or why the node does not want the connection.
fn understood(frame: &Frame, asked: Operation) -> Result<Answer<'_>, ConnectError> {
    let Head { operation, status, .. } = frame.head;
    match Answer::decode(operation, status, &frame.body)? {
        Answer::Goaway(goaway) => Err(ConnectError::Goaway(goaway.reason)),
        Answer::Refused(refusal) => Err(ConnectError::Refused(refusal)),
        answer if operation == asked.answer() => Ok(answer),
        _ => Err(ConnectError::Protocol("an answer to something else")),
    }
}

fn session(welcome: &Welcome<'_>) -> Result<Session, ConnectError> {
    if welcome.version != VERSION {
        return Err(ConnectError::Protocol("a version that was not offered"));
    }
    if !(FRAME_MAX_LOWEST..=FRAME_MAX_HIGHEST).contains(&welcome.frame_max) {
        return Err(ConnectError::Protocol("an impossible frame maximum"));
    }
    if welcome.window == 0 {
        return Err(ConnectError::Protocol("a window of nothing"));
    }
    Ok(Session {
        node: welcome.node,
        number: welcome.session,
        frame_max: welcome.frame_max,
        window: welcome.window,
        idle_ms: welcome.idle_ms,
        features: welcome.features,
        catalog_version: welcome.catalog_version,
        software: welcome.fields.node.unwrap_or_default().to_owned(),
    })
}
