//! Budgets for wrong credentials: whoever guesses is slowed, and nobody else feels it.
//!
//! # What counts
//! Only what a stranger gains by guessing: provider keys, service tokens, the internal API's password. User keys,
//! application ids and application keys do not: a gateway passes on what the public sends, and a wrong one says
//! nothing about the gateway. Neither does a credential that is missing, nor the *same* wrong one again: a gateway
//! with a revoked token sends it a thousand times a second and learns nothing by it.
//!
//! | Credential | Kept per | Counted on loopback |
//! |---|---|---|
//! | provider key | peer | no |
//! | service token | peer and service it is for; service | no |
//! | node secret | peer | no |
//! | access token | peer | no |
//! | internal API | peer | yes: a password may be weak, and few have one |
//!
//! On loopback all gateways of a machine, or all clients of a proxy on it, are one peer; who is there is trusted
//! with plain HTTP already.
//!
//! # What happens
//! A peer may send [`PEER_BURST`] different wrong credentials for one target, and one more every
//! [`PEER_INTERVAL_MS`]. Beyond that its credentials for that target are not looked at, right or wrong, and it is
//! told to wait (over HTTP by 429): an answer that depended on them would tell what was asked. **But a credential that has been
//! right from this peer before is never made to wait**, so that a gateway whose address a guesser shares (behind one
//! NAT, or as its client) goes on. Only a credential that is new to that peer waits, a few seconds.
//!
//! Many peers that guess at one target spend its own budget ([`TARGET_BURST`], [`TARGET_INTERVAL_MS`]). Beyond it,
//! peers that have been wrong about it lately wait as above. Peers that have not are not affected.
//!
//! A service is kept instead of its tenant: each token is for one service, and so no service's guessers are felt
//! by another, of whatever tenant.
//!
//! # What it costs
//! A right credential costs a fingerprint and a look at four words of memory; nothing on loopback. Tables have a
//! fixed size and are keyed by a hash that outsiders cannot compute. In a full row the entry with most left of its
//! budget goes, so that nobody is forgotten by being crowded out with single failures.

mod table;

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use metrics::{Counter, counter, describe_counter};
use siphasher::sip::SipHasher13;

use super::peer::Peer;
use table::{Bucket, Table};

/// Different wrong credentials that a peer may send for one target at once: more than a person mistypes or a
/// gateway with a few stale tokens has, and nothing to a guesser.
pub const PEER_BURST: u32 = 20;
/// After this a peer may send one more: six a minute try a million in four months.
pub const PEER_INTERVAL_MS: u64 = 10_000;
/// Wrong credentials for one target from all peers at once.
pub const TARGET_BURST: u32 = 200;
/// After this one more.
pub const TARGET_INTERVAL_MS: u64 = 1_000;
/// Pairs of peer and target that are remembered: 4096 with 32 fingerprints each take about a megabyte.
pub const PEERS_MAX: usize = 4096;
/// Targets that are remembered.
pub const TARGETS_MAX: usize = 1024;
/// Pairs of peer and right credential that are remembered, 8 bytes each. With more, the older of some wait like new
/// ones while their peer is made to wait.
pub const KNOWN_MAX: usize = 1 << 14;

/// How many known fingerprints share a place.
const WAYS: usize = 4;

/// What a credential opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// Any tenant: nothing but the key itself says which.
    ProviderKey,
    /// The service with this id, as the caller wrote it.
    Service(&'a str),
    /// The internal API.
    InternalApi,
    /// Plugins' routes: access tokens, and provider keys there.
    Admin,
    /// The whole node, by its secret.
    Node,
}

/// A credential that somebody sends. It is hashed with a key of this process, never kept and never logged.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Who sends it.
    pub peer: Peer,
    /// What for.
    pub target: Target<'a>,
    /// The credential; for basic auth user and password as they came.
    pub credential: &'a [u8],
}

/// Too many wrong credentials: try again later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many wrong credentials; wait {seconds} s")]
pub struct Wait {
    /// How long, at least 1.
    pub seconds: u64,
}

/// The budgets of a node; all its listeners share them.
pub struct Guesses {
    local_counts: bool,
    keys: [u64; 2],
    start: Instant,
    /// In milliseconds from `start`: until then some budget may be spent. Mostly past, and then that is all that is
    /// looked at.
    spent_until: AtomicU64,
    peers: Table,
    targets: Table,
    known: Box<[AtomicU64]>,
    failed: Counter,
    refused: Counter,
    /// When a spent budget was last written about.
    warned: AtomicU64,
}

/// The hashes of an attempt. Zero is nobody's: it stands for an empty place.
struct Prints {
    target: u64,
    /// Of peer and target.
    pair: u64,
    /// Of peer, target and credential.
    whole: u64,
}

impl Guesses {
    /// Budgets that nobody has spent of. `local_counts`: loopback is a peer like others.
    #[must_use]
    pub fn new(local_counts: bool) -> Guesses {
        describe();
        let mut key = [0; 16];
        // Without randomness (early boot of a strange machine) the tables work, only predictably.
        let _ = getrandom::fill(&mut key);
        let [a, b] =
            [0, 8].map(|at| key[at..].iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        Guesses {
            local_counts,
            keys: [a, b],
            start: Instant::now(),
            spent_until: AtomicU64::new(0),
            peers: Table::new(PEERS_MAX, Bucket { burst: PEER_BURST, interval_ms: PEER_INTERVAL_MS }),
            targets: Table::new(TARGETS_MAX, Bucket { burst: TARGET_BURST, interval_ms: TARGET_INTERVAL_MS }),
            known: (0..KNOWN_MAX).map(|_| AtomicU64::new(0)).collect(),
            failed: counter!("tollgate_wrong_credentials_total"),
            refused: counter!("tollgate_wrong_credentials_refused_total"),
            warned: AtomicU64::new(0),
        }
    }

    /// Asks before `verify` is run whether it may be, and keeps what came out of it.
    ///
    /// # Errors
    /// [`Wait`]; `verify` was not run.
    pub fn check(&self, attempt: &Attempt<'_>, verify: impl FnOnce() -> bool) -> Result<bool, Wait> {
        self.admit(attempt)?;
        let right = verify();
        if right {
            self.passed(attempt)
        } else {
            self.failed(attempt)
        }
        Ok(right)
    }

    /// Whether a credential may be looked at.
    ///
    /// # Errors
    /// [`Wait`]: answer with it, whatever the credential.
    pub fn admit(&self, attempt: &Attempt<'_>) -> Result<(), Wait> {
        if self.spent_until.load(Relaxed) == 0 || self.is_exempt(attempt) {
            return Ok(());
        }
        self.admit_at(attempt, self.now())
    }

    /// Remembers that a credential was right.
    pub fn passed(&self, attempt: &Attempt<'_>) {
        if self.is_exempt(attempt) {
            return;
        }
        let print = self.prints(attempt).whole;
        let places = self.places(print);
        if !places.iter().any(|place| place.load(Relaxed) == print) {
            let free = places.iter().find(|place| place.load(Relaxed) == 0);
            // Which one goes if all are taken is as good as random.
            free.unwrap_or(&places[print as usize % WAYS]).store(print, Relaxed);
        }
    }

    /// Remembers that a credential was wrong.
    pub fn failed(&self, attempt: &Attempt<'_>) {
        self.failed.increment(1);
        if !self.is_exempt(attempt) {
            self.failed_at(attempt, self.now());
        }
    }

    fn is_exempt(&self, attempt: &Attempt<'_>) -> bool {
        !self.local_counts && attempt.target != Target::InternalApi && attempt.peer.is_local()
    }

    fn admit_at(&self, attempt: &Attempt<'_>, now: u64) -> Result<(), Wait> {
        let until = self.spent_until.load(Relaxed);
        if until <= now {
            let _ = self.spent_until.compare_exchange(until, 0, Relaxed, Relaxed);
            return Ok(());
        }
        let prints = self.prints(attempt);
        if self.places(prints.whole).iter().any(|place| place.load(Relaxed) == prints.whole) {
            return Ok(());
        }
        // Whoever has never been wrong is let through, even if all others guess.
        let Some(peer) = self.peers.look(prints.pair, now) else { return Ok(()) };
        let target = self.targets.look(prints.target, now).filter(|_| !peer.is_full);
        let wait_ms = peer.wait_ms.max(target.map_or(0, |target| target.wait_ms));
        if wait_ms == 0 {
            return Ok(());
        }
        self.refused.increment(1);
        Err(Wait { seconds: wait_ms.div_ceil(1000) })
    }

    fn failed_at(&self, attempt: &Attempt<'_>, now: u64) {
        let prints = self.prints(attempt);
        // It may have been right once.
        for place in self.places(prints.whole) {
            let _ = place.compare_exchange(prints.whole, 0, Relaxed, Relaxed);
        }
        let Some(peer) = self.peers.spend(prints.pair, prints.whole, now) else { return };
        let target = self.targets.spend(prints.target, prints.whole, now);
        let wait_ms = peer.wait_ms.max(target.map_or(0, |target| target.wait_ms));
        if wait_ms > 0 {
            self.spent_until.fetch_max(now + wait_ms, Relaxed);
            self.warn(attempt, now);
        }
    }

    /// Once a minute at most: a guesser must not fill the log.
    fn warn(&self, attempt: &Attempt<'_>, now: u64) {
        let last = self.warned.load(Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= 60_000;
        if is_due && self.warned.compare_exchange(last, now.max(1), Relaxed, Relaxed).is_ok() {
            let what = match attempt.target {
                Target::ProviderKey => "provider keys",
                Target::Service(_) => "service tokens",
                Target::InternalApi => "the internal API's password",
                Target::Admin => "access tokens",
                Target::Node => "the node secret",
            };
            tracing::warn!(peer = %attempt.peer, what, "too many wrong credentials: a peer is made to wait");
        }
    }

    fn now(&self) -> u64 {
        // Never 0, which means "never".
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }

    fn places(&self, print: u64) -> &[AtomicU64] {
        let row = (print >> 32) as usize % (KNOWN_MAX / WAYS) * WAYS;
        &self.known[row..row + WAYS]
    }

    fn prints(&self, attempt: &Attempt<'_>) -> Prints {
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        match attempt.target {
            Target::ProviderKey => hasher.write_u8(1),
            Target::Service(id) => {
                hasher.write_u8(2);
                // The engine reads `x-y-10` as `10` too; each spelling must not be a target of its own.
                hasher.write(id.rsplit('-').next().unwrap_or_default().as_bytes());
                // No id has this byte, so no id and peer together look like another's.
                hasher.write_u8(0xff);
            }
            Target::InternalApi => hasher.write_u8(3),
            Target::Node => hasher.write_u8(4),
            Target::Admin => hasher.write_u8(5),
        }
        let target = hasher.finish().max(1);
        hasher.write(&attempt.peer.octets());
        let pair = hasher.finish().max(1);
        hasher.write(attempt.credential);
        Prints { target, pair, whole: hasher.finish().max(1) }
    }
}

fn describe() {
    describe_counter!(
        "tollgate_wrong_credentials_total",
        "Wrong provider keys, service tokens and passwords"
    );
    describe_counter!(
        "tollgate_wrong_credentials_refused_total",
        "Requests refused unseen, since their peer had sent too many wrong credentials"
    );
}

#[cfg(test)]
mod tests;
