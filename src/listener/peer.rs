//! Who is at the other end of a connection, and how many connections each may have.
//!
//! An address of the node's own machine (loopback) stands for everybody there: many gateways, or all clients of a
//! proxy. What one of them spends the others would lack, so limits per peer do not hold for it; those of the whole
//! listener do. [`Limits::local_counts`](super::Limits) says otherwise, for tests and for hosts of many users.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// A peer: an IPv4 address, or an IPv6 network of 64 bits, since whoever has one address of that has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Peer(IpAddr);

impl Peer {
    /// The peer that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Peer {
        Peer(match address.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            ip => ip,
        })
    }

    /// This machine.
    #[must_use]
    pub fn local() -> Peer {
        Peer(Ipv4Addr::LOCALHOST.into())
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_local(self) -> bool {
        self.0.is_loopback()
    }

    /// Its bytes, to be hashed.
    pub(super) fn octets(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(ip) if !ip.is_loopback() => write!(f, "{ip}/64"),
            ip => write!(f, "{ip}"),
        }
    }
}

/// The connections of a listener, by peer. Holds as many peers as there are connections, whose number is bounded.
pub(super) struct Seats {
    per_peer_max: usize,
    local_counts: bool,
    taken: Mutex<HashMap<Peer, usize>>,
}

impl Seats {
    pub(super) fn new(per_peer_max: usize, local_counts: bool) -> Arc<Seats> {
        Arc::new(Seats { per_peer_max, local_counts, taken: Mutex::default() })
    }

    /// A place for one more connection of a peer; `None` if it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Option<Seat> {
        if !self.local_counts && peer.is_local() {
            return Some(Seat { seats: None, peer });
        }
        let mut taken = self.taken.lock();
        let count = taken.entry(peer).or_default();
        // At least one is always possible, so no entry of none is left behind.
        if *count >= self.per_peer_max.max(1) {
            return None;
        }
        *count += 1;
        Some(Seat { seats: Some(Arc::clone(self)), peer })
    }
}

/// A connection's place; given back when dropped.
pub(super) struct Seat {
    /// `None` if its peer is not counted.
    seats: Option<Arc<Seats>>,
    peer: Peer,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(seats) = &self.seats else { return };
        let mut taken = seats.taken.lock();
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::of(text.parse().unwrap())
    }

    #[test]
    fn a_network_of_64_bits_is_one_peer() {
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_eq!(peer("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn loopback_is_local_in_every_spelling() {
        assert!(["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"].iter().all(|it| peer(it).is_local()));
        assert!(!["192.0.2.1", "fe80::1", "::2"].iter().any(|it| peer(it).is_local()));
    }

    #[test]
    fn a_peer_takes_its_seats_and_no_more() {
        let seats = Seats::new(2, false);
        let (a, b) = (peer("192.0.2.1"), peer("192.0.2.2"));
        let held = (seats.take(a).unwrap(), seats.take(a).unwrap());
        assert!(seats.take(a).is_none());
        let other = seats.take(b);
        assert!(other.is_some());
        drop(held.0);
        let again = seats.take(a);
        assert!(again.is_some() && seats.take(a).is_none());
        drop((held.1, again, other));
        assert!(seats.taken.lock().is_empty(), "nothing is remembered of who has gone");
    }

    #[test]
    fn this_machine_is_counted_only_on_demand() {
        let local = peer("127.0.0.1");
        let seats = Seats::new(1, false);
        assert!((0..5).map(|_| seats.take(local)).collect::<Vec<_>>().iter().all(Option::is_some));
        let seats = Seats::new(1, true);
        let _held = seats.take(local);
        assert!(seats.take(local).is_none());
    }
}
