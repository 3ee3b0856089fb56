//! A client of the binary protocol that does what it is told, byte for byte.
#![allow(dead_code)] // Each test binary uses its part.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ring::hmac;
use tollgate::model::amount::Effect;
use tollgate::model::id::MetricSlot;
use tollgate::wire::{
    Bound, Call, Challenge, Decision, FRAME_MAX_DEFAULT, FRAME_MAX_GREATEST, Flags, Frame, Header, Hello,
    Method, NONCE_LEN, OPENING, Operation, Proof, Receipt, Status, Welcome, proof_text, put_bind, put_call,
    server_proof_text, split,
};

/// How long a client of a test waits for an answer before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> Status {
        self.header.status
    }

    pub(crate) fn decision(&self) -> Decision {
        assert_eq!(self.status(), Status::OK, "{self:?}");
        Decision::read(&self.body).unwrap().0
    }

    pub(crate) fn receipt(&self) -> Receipt {
        assert_eq!(self.status(), Status::OK, "{self:?}");
        Receipt::read(&self.body).unwrap()
    }

    pub(crate) fn bound(&self) -> Bound {
        assert_eq!(self.status(), Status::OK, "{self:?}");
        Bound::read(&self.body).unwrap()
    }

    /// The frame's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.header.bytes()[..], &self.body].concat()
    }
}

/// How a client says who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting<'a> {
    pub(crate) method: Method,
    pub(crate) service: Option<&'a str>,
    pub(crate) secret: &'a str,
    pub(crate) frame_max: u32,
    pub(crate) window: u32,
}

impl<'a> Greeting<'a> {
    pub(crate) fn token(service: &'a str, token: &'a str) -> Greeting<'a> {
        let (method, service, secret) = (Method::SERVICE_TOKEN, Some(service), token);
        Greeting { method, service, secret, frame_max: FRAME_MAX_DEFAULT, window: 256 }
    }

    pub(crate) fn node(secret: &'a str) -> Greeting<'a> {
        let (method, service) = (Method::NODE_SECRET, None);
        Greeting { method, service, secret, frame_max: FRAME_MAX_DEFAULT, window: 256 }
    }

    pub(crate) fn nobody() -> Greeting<'static> {
        Greeting { method: Method::NONE, ..Greeting::node("") }
    }

    pub(crate) fn hello(&self) -> Hello<'a> {
        Hello {
            method: self.method,
            version_min: 1,
            version_max: 1,
            frame_max: self.frame_max,
            window: self.window,
            features: 0,
            nonce: [7; NONCE_LEN],
            client: Some("test"),
            service: self.service,
        }
    }
}

/// The opening and HELLO.
pub(crate) fn opening(hello: &Hello<'_>) -> Vec<u8> {
    let mut bytes = OPENING.to_vec();
    let mut frame = Frame::request(&mut bytes, Operation::HELLO, Flags::default(), 1);
    hello.put(frame.body());
    frame.end();
    bytes
}

fn mac(secret: &str, text: &[u8]) -> [u8; NONCE_LEN] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, text).as_ref().try_into().unwrap()
}

/// PROOF, for the body of a challenge.
pub(crate) fn proof(hello: &Hello<'_>, secret: &str, challenge: &[u8]) -> Vec<u8> {
    let Challenge { nonce } = Challenge::read(challenge).unwrap();
    let mut bytes = Vec::new();
    let mut frame = Frame::request(&mut bytes, Operation::PROOF, Flags::default(), 2);
    Proof { proof: mac(secret, &proof_text(hello, &nonce)) }.put(frame.body());
    frame.end();
    bytes
}

/// One connection.
pub(crate) struct Binary<S = TcpStream> {
    pub(crate) stream: S,
    unread: Vec<u8>,
    out: Vec<u8>,
    id: u64,
}

impl Binary {
    pub(crate) fn connect(address: SocketAddr) -> Binary {
        Binary::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Binary> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Binary::on(stream))
    }

    /// A connection that is let in.
    pub(crate) fn open(address: SocketAddr, greeting: &Greeting<'_>) -> Binary {
        let mut client = Binary::connect(address);
        client.greet(greeting).unwrap();
        client
    }
}

impl<S: Read + Write> Binary<S> {
    pub(crate) fn on(stream: S) -> Binary<S> {
        Binary { stream, unread: Vec::new(), out: Vec::new(), id: 0 }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Answer>> {
        loop {
            let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            if let Some((header, body)) = split(&self.unread, FRAME_MAX_GREATEST).map_err(bad)? {
                let answer = Answer { header, body: body.to_vec() };
                self.unread.drain(..header.length as usize);
                return Ok(Some(answer));
            }
            let mut buffer = [0; 64 << 10];
            match self.stream.read(&mut buffer)? {
                0 if self.unread.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }

    pub(crate) fn expect(&mut self) -> Answer {
        self.receive().unwrap().expect("an answer")
    }

    /// Whether the node has closed, or does so soon.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.receive() {
            Ok(None) => true,
            Ok(Some(_)) => false,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Says who it is. The answer, if that is not WELCOME.
    pub(crate) fn greet(&mut self, greeting: &Greeting<'_>) -> Result<Welcome, Answer> {
        self.try_greet(greeting).unwrap()
    }

    pub(crate) fn try_greet(&mut self, greeting: &Greeting<'_>) -> io::Result<Result<Welcome, Answer>> {
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let hello = greeting.hello();
        self.send(&opening(&hello))?;
        let mut answer = self.receive()?.ok_or_else(ended)?;
        let mut server_proof = [0; NONCE_LEN];
        if answer.status() == Status::CHALLENGE {
            let Challenge { nonce } = Challenge::read(&answer.body).unwrap();
            server_proof = mac(greeting.secret, &server_proof_text(&hello.nonce, &nonce));
            self.send(&proof(&hello, greeting.secret, &answer.body))?;
            answer = self.receive()?.ok_or_else(ended)?;
        }
        if answer.status() != Status::OK || answer.header.operation == Operation::GOAWAY.answer() {
            return Ok(Err(answer));
        }
        let welcome = Welcome::read(&answer.body).unwrap();
        assert_eq!(welcome.proof, server_proof, "the node has the secret, too");
        Ok(Ok(welcome))
    }

    /// Puts a request behind those that were not sent yet; its id.
    pub(crate) fn queue(
        &mut self,
        operation: Operation,
        flags: Flags,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        self.id += 1;
        let mut frame = Frame::request(&mut self.out, operation, flags, self.id);
        body(frame.body());
        frame.end();
        self.id
    }

    /// Sends what was queued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.send(&out)
    }

    /// Sends a request and waits for its answer, the only one on its way.
    pub(crate) fn ask(
        &mut self,
        operation: Operation,
        flags: Flags,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Answer {
        self.try_ask(operation, flags, body).unwrap()
    }

    pub(crate) fn try_ask(
        &mut self,
        operation: Operation,
        flags: Flags,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<Answer> {
        let id = self.queue(operation, flags, body);
        self.flush()?;
        let answer = self.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(answer.header.id, id, "{answer:?}");
        Ok(answer)
    }

    /// Binds an application by its user key.
    pub(crate) fn bind(&mut self, user_key: &str, metrics: &[&str]) -> (u64, Vec<MetricSlot>) {
        let call = Call { user_key: Some(user_key), metrics: metrics.into(), ..Call::default() };
        let bound = self.ask(Operation::BIND, Flags::default(), |out| put_bind(out, &call)).bound();
        (bound.handle, bound.metrics.into_iter().map(MetricSlot).collect())
    }
}

/// The body of a call by handle that adds.
pub(crate) fn by_handle(handle: u64, usage: &[(MetricSlot, u64)]) -> impl FnOnce(&mut Vec<u8>) + use<> {
    let rows: Vec<_> = usage.iter().map(|(slot, amount)| (*slot, Effect::Add(*amount))).collect();
    move |out| put_call(out, &Call { handle: Some(handle), ..Call::default() }, &rows, false)
}

/// The body of a call by user key that adds.
pub(crate) fn by_key<'a>(user_key: &'a str, usage: &[(&'a str, u64)]) -> impl FnOnce(&mut Vec<u8>) + use<'a> {
    let usage = usage.iter().map(|(name, amount)| (*name, Effect::Add(*amount))).collect();
    let call = Call { user_key: Some(user_key), usage, ..Call::default() };
    move |out| put_call(out, &call, &[], false)
}
