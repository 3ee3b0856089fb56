//! A node that does what a test tells it to: it greets as a node does, and then whatever goes wrong.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use ring::hmac;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Decoder;
use tollgate_client::codec::{
    self, Answer, Batch, BatchAnswer, BatchAnswerItem, Bound, Challenge, Decision, Fields, Frame, FrameCodec,
    Goaway, GoawayReason, Head, NEVER, OPENING, Operation, Outcome, Receipt, Refusal, Request, Status,
    Welcome,
};
use tollgate_client::{Access, Address, Client, Options};

pub(crate) const SECRET: &str = "the fake node's secret";

/// The access that fits the fake.
pub(crate) fn access() -> Access {
    Access::NodeSecret(SECRET.to_owned())
}

/// Options for tests: one connection, short times, handles only where a test wants them.
pub(crate) fn options() -> Options {
    Options::default().connections(1).bindings_max(0).deadline(Duration::from_secs(5))
}

pub(crate) fn client(address: SocketAddr, options: Options) -> Client {
    Client::new(Address::Tcp(address.to_string()), access(), options).expect("possible options")
}

/// Listens, and runs `serve` for each connection with its number.
pub(crate) async fn listen<F, S>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            tokio::spawn(serve(number, stream));
        }
    });
    address
}

/// What a greeting says.
#[derive(Clone, Copy)]
pub(crate) struct Greeting {
    pub(crate) secret: &'static str,
    pub(crate) node: u64,
    pub(crate) window: u32,
    pub(crate) idle_ms: u32,
}

impl Default for Greeting {
    fn default() -> Greeting {
        Greeting { secret: SECRET, node: 7, window: 1024, idle_ms: 60_000 }
    }
}

/// The client, as the node sees it.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    inbox: BytesMut,
    frames: FrameCodec,
}

impl Peer {
    /// Greets as the specification says. None if the client went away, or its proof is wrong.
    pub(crate) async fn greet(stream: TcpStream, greeting: Greeting) -> Option<Peer> {
        let mut peer = Peer { stream, inbox: BytesMut::new(), frames: FrameCodec::default() };
        let mut opening = [0; 8];
        peer.stream.read_exact(&mut opening).await.ok()?;
        assert_eq!(opening, OPENING);
        let hello = peer.read().await?;
        let Ok(Request::Hello(said)) = Request::decode(hello.head.operation, &hello.body) else {
            panic!("no hello: {hello:?}");
        };
        let challenge = Answer::Challenge(Challenge { nonce: [9; 32] });
        peer.answer_with(&hello, Status::CHALLENGE, &challenge).await;
        let proof = peer.read().await?;
        let Ok(Request::Proof(proved)) = Request::decode(proof.head.operation, &proof.body) else {
            panic!("no proof: {proof:?}");
        };
        let mac = |parts: &[&[u8]]| {
            let mut context =
                hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, greeting.secret.as_bytes()));
            parts.iter().for_each(|part| context.update(part));
            <[u8; 32]>::try_from(context.sign().as_ref()).expect("32 bytes")
        };
        if greeting.secret == SECRET {
            assert_eq!(proved.mac, mac(&[b"tollgate proof 1", &said.nonce, &[9; 32], &[1]]));
        }
        let welcome = Welcome {
            version: 1,
            frame_max: said.frame_max,
            window: greeting.window.min(said.window),
            idle_ms: greeting.idle_ms,
            features: 0,
            session: 1,
            node: greeting.node,
            time_us: 0,
            catalog_version: 1,
            mac: mac(&[b"tollgate server1", &[9; 32], &said.nonce]),
            fields: Fields::default(),
        };
        peer.frames.frame_max = welcome.frame_max;
        peer.answer_with(&proof, Status::OK, &Answer::Welcome(Box::new(welcome))).await;
        Some(peer)
    }

    /// The next frame. None if the client is gone.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.decode(&mut self.inbox).expect("frames") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.inbox).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn answer_with(&mut self, request: &Frame, status: Status, answer: &Answer<'_>) {
        self.say(request.head.operation | 0x80, status, request.head.id, answer).await;
    }

    pub(crate) async fn say(&mut self, operation: u8, status: Status, id: u64, answer: &Answer<'_>) {
        let mut out = BytesMut::new();
        let head = Head { operation, flags: 0, status, id };
        codec::put_frame(&mut out, 1 << 20, head, |out| answer.encode(out)).expect("an answer");
        // Who is gone does not read.
        let _ = self.stream.write_all(&out).await;
    }

    /// Answers as a node without limits would.
    pub(crate) async fn answer(&mut self, request: &Frame) {
        let body = request.body.clone();
        let (status, answer) = usual(request.head.operation, &body);
        self.answer_with(request, status, &answer).await;
    }

    pub(crate) async fn refuse(&mut self, request: &Frame, status: Status, retry_after_ms: u32) {
        let refusal = Answer::Refused(Refusal { status, retry_after_ms, message: None });
        self.answer_with(request, status, &refusal).await;
    }

    pub(crate) async fn goaway(&mut self, reason: GoawayReason) {
        let goaway = Answer::Goaway(Goaway { reason, closes_ms: 5_000, message: None });
        self.say(Operation::Goaway.answer(), Status::OK, 0, &goaway).await;
    }

    /// Answers everything until the client is gone.
    pub(crate) async fn serve(mut self, answered: Arc<AtomicUsize>) {
        while let Some(frame) = self.read().await {
            answered.fetch_add(1, Ordering::SeqCst);
            self.answer(&frame).await;
        }
    }
}

pub(crate) fn yes() -> Decision {
    Decision {
        allowed: true,
        counted: true,
        shadowed: false,
        behind: false,
        reason: None,
        shadow_reason: None,
        limit: None,
        remaining: NEVER,
        retry_after_ms: 0,
        catalog_version: 1,
        reservation: 0,
        limits: Vec::new(),
    }
}

/// What a node without limits answers. A decision's catalog version is the amount that was asked for: so tests see whose
/// answer they got.
fn usual(operation: u8, body: &[u8]) -> (Status, Answer<'static>) {
    let receipt = Receipt { outcome: Outcome::Done, on_disk: true, behind: false, catalog_version: 1 };
    let amount = |call: &codec::Call<'_>| {
        let named = call.fields.usage.iter().map(|usage| usage.amount);
        call.rows.iter().map(|row| row.amount).chain(named).sum()
    };
    let answer = match Request::decode(operation, body).expect("a request") {
        Request::Authorize(call) | Request::Authrep(call) | Request::Check(call) => {
            Answer::Decision(Decision { catalog_version: amount(&call), ..yes() })
        }
        Request::Reserve(_) => Answer::Decision(Decision { reservation: 99, ..yes() }),
        Request::Report(_) | Request::Commit(_) | Request::Cancel(_) => Answer::Receipt(receipt),
        Request::Ping => Answer::Pong(codec::Pong { time_us: 1, catalog_version: 1 }),
        Request::Bind(bind) => Answer::Bound(Bound {
            bound: true,
            reason: None,
            handle: 1,
            catalog_version: 1,
            metrics: (0..bind.fields.metrics.len() as u32).collect(),
        }),
        Request::Batch(batch) => return (Status::OK, shared(&batch)),
        other => panic!("{other:?}"),
    };
    (Status::OK, answer)
}

fn shared(batch: &Batch<'_>) -> Answer<'static> {
    let items = batch.items.iter().map(|item| {
        let (status, answer) = usual(item.operation, item.body);
        let mut body = BytesMut::new();
        answer.encode(&mut body).expect("an answer");
        // Tests are short: what they leak goes with them.
        BatchAnswerItem { operation: item.operation | 0x80, status, body: Vec::leak(body.to_vec()) }
    });
    Answer::Batch(BatchAnswer { done: true, items: items.collect() })
}

/// A node that answers everything, and how much it has answered.
pub(crate) async fn healthy() -> (SocketAddr, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    let address = listen(move |_, stream| {
        let counted = Arc::clone(&counted);
        async move {
            if let Some(peer) = Peer::greet(stream, Greeting::default()).await {
                peer.serve(counted).await;
            }
        }
    })
    .await;
    (address, answered)
}
