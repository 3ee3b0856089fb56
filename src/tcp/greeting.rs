//! HELLO and PROOF: who calls, and for which services.
//!
//! A wrong proof says nothing about which credential was meant, so it counts as one wrong credential of its peer, each time.
//! Once a peer has spent its budget only credentials are compared that have been right from it before; the others are as
//! good as unseen.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::secrets::Secret;
use super::server::{Opens, Server};
use crate::engine::{Engine, Scope};
use crate::listener::guesses::{Attempt, Guesses, Target, Wait};
use crate::listener::{Guest, Link, Peer};
use crate::model::catalog::{Catalog, Key};
use crate::model::id::ServiceId;
use crate::model::record::{Service, ServiceState};
use crate::wire::{
    FRAME_MAX_DEFAULT, FRAME_MAX_GREATEST, FRAME_MAX_LEAST, Feature, Hello, Method, NONCE_LEN, Status,
    VERSION, Welcome, proof_text, server_proof_text,
};

/// Room for the frames above 64 KiB of all connections together: a dozen connections with the greatest frames, hundreds
/// with 128 KiB.
pub const LARGE_FRAMES_BYTES_MAX: usize = 64 << 20;

/// What a connection with such frames may take of it, per byte of a frame beyond 64 KiB: one that is read, one that is
/// written, one that waits for the disk.
const COPIES: usize = 3;

/// What a node offers.
pub(super) const FEATURES: u64 =
    Feature::DURABLE | Feature::IDEMPOTENCY | Feature::RESERVATIONS | Feature::BATCH_ALL | Feature::PRODUCERS;

/// Whom a connection is open for, and by what.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) scope: Scope,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    /// The user of the process on the other side of a Unix socket.
    User,
    NodeSecret(Secret),
    ServiceToken(ServiceId, Secret),
}

impl Access {
    /// Whether what it was given for is still valid.
    pub(super) fn holds(&self, server: &Server, catalog: &Catalog) -> bool {
        match &self.by {
            By::User => true,
            By::NodeSecret(secret) => server.secrets.has(secret),
            By::ServiceToken(service, token) => catalog
                .services
                .get(service.0)
                .is_some_and(|it| it.tokens.iter().any(|known| known.matches(token.text()))),
        }
    }
}

/// What a client that has said HELLO is to prove.
#[derive(Debug)]
pub(super) struct Greeted {
    method: Method,
    frame_max: u32,
    window: u32,
    client_nonce: [u8; NONCE_LEN],
    pub(super) node_nonce: [u8; NONCE_LEN],
    service: String,
    /// What the proof is made of.
    text: Vec<u8>,
}

/// What a connection was granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access: Access,
    pub(super) frame_max: u32,
    pub(super) window: u32,
    pub(super) proof: [u8; NONCE_LEN],
}

/// How HELLO fares.
#[derive(Debug)]
pub(super) enum Greeting {
    Prove(Box<Greeted>),
    Welcome(Box<Granted>),
}

/// Why a client is not let in.
pub(super) struct Rejected {
    pub(super) status: Status,
    pub(super) retry_after_ms: u32,
    pub(super) message: &'static str,
}

impl Rejected {
    fn new(status: Status, message: &'static str) -> Rejected {
        Rejected { status, retry_after_ms: 0, message }
    }
}

impl From<Wait> for Rejected {
    fn from(wait: Wait) -> Rejected {
        let retry_after_ms = u32::try_from(wait.seconds.saturating_mul(1000)).unwrap_or(u32::MAX);
        Rejected { status: Status::WAIT, retry_after_ms, message: "too many wrong proofs from this address" }
    }
}

/// Takes HELLO.
pub(super) fn greet(server: &Server, guest: Guest, hello: &Hello<'_>) -> Result<Greeting, Rejected> {
    if !(hello.version_min..=hello.version_max).contains(&VERSION) {
        return Err(Rejected::new(Status::NOT_SUPPORTED, "this node speaks version 1"));
    }
    if hello.features & !FEATURES != 0 {
        return Err(Rejected::new(Status::NOT_SUPPORTED, "a feature that is needed is not offered here"));
    }
    match (hello.method, guest.link) {
        (Method::NONE, Link::Unix { uid }) => {
            let access = Access { scope: opens(server, uid)?, by: By::User };
            let (frame_max, window) = (hello.frame_max, hello.window);
            let proof = [0; NONCE_LEN];
            Ok(Greeting::Welcome(Box::new(Granted { access, frame_max, window, proof })))
        }
        (Method::SERVICE_TOKEN, _) if hello.service.is_none() => {
            Err(Rejected::new(Status::SERVICE_ID_MISSING, "whose token it is, SERVICE must say"))
        }
        (Method::NODE_SECRET | Method::SERVICE_TOKEN, _) => {
            let mut node_nonce = [0; NONCE_LEN];
            if getrandom::fill(&mut node_nonce).is_err() {
                return Err(Rejected::new(Status::INTERNAL, "no random numbers"));
            }
            Ok(Greeting::Prove(Box::new(Greeted {
                method: hello.method,
                frame_max: hello.frame_max,
                window: hello.window,
                client_nonce: hello.nonce,
                node_nonce,
                service: hello.service.unwrap_or_default().to_owned(),
                text: proof_text(hello, &node_nonce),
            })))
        }
        _ => Err(Rejected::new(Status::METHOD_NOT_ALLOWED, "this way of saying who one is is not open here")),
    }
}

/// What the user of a process may call for.
fn opens(server: &Server, uid: u32) -> Result<Scope, Rejected> {
    match server.config.unix_users.iter().find(|user| user.uid == uid).map(|user| &user.opens) {
        Some(Opens::AllServices) => Ok(Scope::Node),
        Some(Opens::Service(text)) => service_by_text(&server.engine, &server.engine.catalog(), text)
            .map(|service| Scope::Service(service.id))
            .ok_or(Rejected::new(Status::SERVICE_ID_INVALID, "there is no such service as this user is for")),
        None => Err(Rejected::new(Status::METHOD_NOT_ALLOWED, "this user has to prove who it is")),
    }
}

impl Greeted {
    /// Takes PROOF.
    pub(super) fn prove(
        &self,
        server: &Server,
        peer: Peer,
        proof: &[u8; NONCE_LEN],
    ) -> Result<Granted, Rejected> {
        let guesses = &*server.guesses;
        let (access, secret) = if self.method == Method::NODE_SECRET {
            let valid = server.secrets.valid();
            let secret = self.judge(guesses, peer, Target::Node, proof, &valid)?;
            (Access { scope: Scope::Node, by: By::NodeSecret(secret.clone()) }, secret)
        } else {
            let catalog = server.engine.catalog();
            let service = service_by_text(&server.engine, &catalog, &self.service);
            let tokens: Vec<_> = service.map_or_else(Vec::new, |it| {
                it.tokens.iter().map(|token| Secret::new(token.expose())).collect()
            });
            let token = self.judge(guesses, peer, Target::Service(&self.service), proof, &tokens)?;
            // Without a service there is no token that could be right.
            let id = service.map_or(ServiceId(0), |it| it.id);
            if service.is_some_and(|service| catalog.is_suspended(service.tenant)) {
                return Err(Rejected::new(Status::TENANT_SUSPENDED, "the tenant is suspended"));
            }
            (Access { scope: Scope::Service(id), by: By::ServiceToken(id, token.clone()) }, token)
        };
        let proof = secret.proof(&server_proof_text(&self.client_nonce, &self.node_nonce));
        Ok(Granted { access, frame_max: self.frame_max, window: self.window, proof })
    }

    /// The one of `valid` that the proof was made with.
    fn judge(
        &self,
        guesses: &Guesses,
        peer: Peer,
        target: Target<'_>,
        proof: &[u8; NONCE_LEN],
        valid: &[Secret],
    ) -> Result<Secret, Rejected> {
        fn to<'a>(peer: Peer, target: Target<'a>, credential: &'a [u8]) -> Attempt<'a> {
            Attempt { peer, target, credential }
        }
        let wait = guesses.admit(&to(peer, target, proof)).err();
        let is_seen =
            |it: &&Secret| wait.is_none() || guesses.admit(&to(peer, target, it.text().as_bytes())).is_ok();
        if let Some(right) = valid.iter().filter(is_seen).find(|it| it.proves(&self.text, proof)) {
            guesses.passed(&to(peer, target, right.text().as_bytes()));
            return Ok(right.clone());
        }
        if let Some(wait) = wait {
            return Err(wait.into());
        }
        guesses.failed(&to(peer, target, proof));
        Err(Rejected::new(Status::PROOF_INVALID, "the proof is not one of a valid secret or token"))
    }
}

/// The service that a caller means by `text`: as for tokens, in `x-y-10` what follows the last `-` comes first.
pub(super) fn service_by_text<'c>(engine: &Engine, catalog: &'c Catalog, text: &str) -> Option<&'c Service> {
    let by_name = |name: &str| {
        let external = engine.find(Key::ExternalService(name));
        let own = || {
            let id = name.parse().ok()?;
            catalog.services.get(id).filter(|it| it.external_id.is_none()).map(|_| id)
        };
        let service: &Service = catalog.services.get(external.or_else(own)?)?;
        Some(service).filter(|it| it.state != ServiceState::Retired)
    };
    text.rsplit_once('-').map(|(_, last)| last).into_iter().chain([text]).find_map(by_name)
}

/// Room for large frames, given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    of: std::sync::Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Relaxed);
    }
}

/// The frame maximum that is granted to a client that would like `wanted`, and the room for it.
pub(super) fn frame_max(server: &Server, wanted: u32) -> (u32, Option<Room>) {
    let wanted = wanted.clamp(FRAME_MAX_LEAST, FRAME_MAX_GREATEST);
    let bytes = COPIES * wanted.saturating_sub(FRAME_MAX_DEFAULT) as usize;
    if bytes == 0 {
        return (wanted, None);
    }
    let take = |taken: usize| Some(taken + bytes).filter(|sum| *sum <= LARGE_FRAMES_BYTES_MAX);
    match server.large_frames.fetch_update(Relaxed, Relaxed, take) {
        Ok(_) => (wanted, Some(Room { of: std::sync::Arc::clone(&server.large_frames), bytes })),
        Err(_) => (FRAME_MAX_DEFAULT, None),
    }
}

/// WELCOME.
pub(super) fn welcome(
    server: &Server,
    granted: &Granted,
    frame_max: u32,
    window: u32,
    session: u64,
) -> Welcome {
    Welcome {
        version: VERSION,
        frame_max,
        window,
        idle_ms: u32::try_from(server.config.idle_timeout.as_millis()).unwrap_or(u32::MAX),
        features: FEATURES,
        session,
        node: server.node,
        time_us: server.engine.now((server.clock)()).0.saturating_mul(1000),
        catalog_version: server.engine.catalog().version,
        proof: granted.proof,
        name: concat!("tollgate ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}
