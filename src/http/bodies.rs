//! How much all bodies that are being received may take together, inflated.
//!
//! Each body is bounded by itself, but a thousand connections that each send the largest one, slowly, would take
//! gigabytes. So what is beyond a small body is taken out of one account, of which one peer may have half (loopback,
//! as everywhere here, excepted). Whoever finds it empty is told to come again (503): reports are not lost by that.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::listener::Peer;

/// The most that bodies may take together while they arrive, and until their call is carried out: sixteen of the largest,
/// thousands of usual ones. A report's is counted no more when it is whole: it and the form made of it are one worker's, for
/// the moment that this takes.
pub const BODIES_BYTES_MAX: usize = 64 << 20;

/// What each connection may take without asking: the cap on connections bounds that.
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// The account. What one has of it outlives whoever asked: the work goes on when they hang up.
pub struct Bodies(Arc<Account>);

struct Account {
    bytes_max: usize,
    local_counts: bool,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<Peer, usize>,
}

impl Bodies {
    /// An account of `bytes_max`. `local_counts`: loopback is a peer like others.
    #[must_use]
    pub fn new(bytes_max: usize, local_counts: bool) -> Bodies {
        Bodies(Arc::new(Account { bytes_max, local_counts, taken: Mutex::default() }))
    }

    /// Room for one body of a peer, of which it has what is small.
    pub fn hold(&self, peer: Peer) -> Hold {
        Hold { account: Arc::clone(&self.0), peer, bytes: 0 }
    }
}

impl Default for Bodies {
    fn default() -> Self {
        Bodies::new(BODIES_BYTES_MAX, false)
    }
}

/// What one body has of the account; given back when dropped.
pub struct Hold {
    account: Arc<Account>,
    peer: Peer,
    bytes: usize,
}

impl Hold {
    /// Makes sure that `bytes` in all may be used; whether that is so. If not, what it had it keeps.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(SMALL_BODY_BYTES);
        let Some(more) = wanted.checked_sub(self.bytes).filter(|more| *more > 0) else { return true };
        let mut taken = self.account.taken.lock();
        if taken.all + more > self.account.bytes_max {
            return false;
        }
        if self.account.local_counts || !self.peer.is_local() {
            let peers = taken.by_peer.get(&self.peer).copied().unwrap_or(0);
            if peers + more > self.account.bytes_max / 2 {
                return false;
            }
            taken.by_peer.insert(self.peer, peers + more);
        }
        taken.all += more;
        self.bytes = wanted;
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.account.taken.lock();
        taken.all -= self.bytes;
        if let Some(peers) = taken.by_peer.get_mut(&self.peer) {
            *peers -= self.bytes;
            if *peers == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn peer(n: u8) -> Peer {
        Peer::of([192, 0, 2, n].into())
    }

    #[test]
    fn bodies_take_all_there_is_and_not_one_byte_more() {
        let bodies = Bodies::new(MAX, false);
        let (mut a, mut b) = (bodies.hold(peer(1)), bodies.hold(peer(2)));
        assert!(a.grow_to(SMALL_BODY_BYTES + MAX / 2) && b.grow_to(SMALL_BODY_BYTES + MAX / 2));
        let mut c = bodies.hold(peer(3));
        assert!(!c.grow_to(SMALL_BODY_BYTES + 1));
        assert!(c.grow_to(SMALL_BODY_BYTES), "what is small needs no room");
        drop(a);
        assert!(c.grow_to(SMALL_BODY_BYTES + MAX / 2));
        drop((b, c));
        let taken = bodies.0.taken.lock();
        assert!(taken.all == 0 && taken.by_peer.is_empty(), "nothing is remembered of who has gone");
    }

    #[test]
    fn a_peer_takes_half_in_all_its_bodies() {
        let bodies = Bodies::new(MAX, false);
        let (mut a, mut b) = (bodies.hold(peer(1)), bodies.hold(peer(1)));
        assert!(a.grow_to(SMALL_BODY_BYTES + MAX / 2 - 1) && b.grow_to(SMALL_BODY_BYTES + 1));
        assert!(!b.grow_to(SMALL_BODY_BYTES + 2));
        assert!(bodies.hold(peer(2)).grow_to(SMALL_BODY_BYTES + MAX / 2));
    }

    #[test]
    fn this_machine_may_take_all() {
        let local = Peer::of([127, 0, 0, 1].into());
        let bodies = Bodies::new(MAX, false);
        let mut hold = bodies.hold(local);
        assert!(hold.grow_to(SMALL_BODY_BYTES + MAX) && !hold.grow_to(SMALL_BODY_BYTES + MAX + 1));
        assert!(!Bodies::new(MAX, true).hold(local).grow_to(SMALL_BODY_BYTES + MAX));
    }
}
