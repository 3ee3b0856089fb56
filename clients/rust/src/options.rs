//! What a client can be told: sizes, times, and what to do when the node is away.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::{CLIENT_LEN_MAX, FRAME_MAX_HIGHEST, FRAME_MAX_LOWEST};
use crate::error::Error;
use crate::policy::Policy;

/// Connections that one client may keep: beyond this a pool costs more than it brings.
pub const CONNECTIONS_MAX: usize = 256;

/// Long enough to stand for ever, and short enough for any clock.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The time `wait` after `start`; callers may say any time, even one that no clock reaches.
pub(crate) fn after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(FOR_EVER)
}

/// What one write takes when several calls wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coalesce {
    /// A frame for each call, all of them in one write. The default: no call depends on another.
    Frames,
    /// Calls that wait at the same time go into BATCH frames: less work for the node and fewer bytes, but their answers
    /// come together.
    Batches,
}

/// Options of a [`Client`](crate::Client). Each has a default, and a method of its name.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) connections: usize,
    pub(crate) deadline: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) frame_max: u32,
    pub(crate) window: u32,
    pub(crate) queue_len_max: usize,
    pub(crate) coalesce: Coalesce,
    pub(crate) bindings_max: usize,
    pub(crate) away_after: Duration,
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) unanswered_max: Duration,
    pub(crate) policy: Policy,
    pub(crate) name: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connections: 2,
            deadline: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(5),
            frame_max: 65_536,
            window: 1_024,
            queue_len_max: 1_024,
            coalesce: Coalesce::Frames,
            bindings_max: 65_536,
            away_after: Duration::from_millis(250),
            backoff_first: Duration::from_millis(25),
            backoff_max: Duration::from_secs(5),
            unanswered_max: Duration::from_secs(10),
            policy: Policy::Error,
            name: concat!("tollgate-client-rust ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty;)+) => {
        $($(#[doc = $doc])+
        #[must_use]
        pub fn $name(mut self, $name: $kind) -> Options {
            self.$name = $name;
            self
        })+
    };
}

impl Options {
    setters! {
        /// Connections that are kept, 1 to 256. Default 2: calls that wait share a write, so few go a long way.
        connections: usize;
        /// How long a call may take, waiting and repeating included, if it does not say itself. Default 1 s.
        deadline: Duration;
        /// How long connecting and the handshake may take. Default 5 s.
        connect_timeout: Duration;
        /// The longest frame to ask the node for, in bytes, 4,096 to 1,048,576. Default 65,536. Bounds batches: 80 bytes an
        /// item of the answer.
        frame_max: u32;
        /// How many requests to leave unanswered on a connection. Default 1,024; the node may grant fewer.
        window: u32;
        /// Calls that may wait for a connection to take them. Default 1,024; further ones wait for room, up to their deadline.
        queue_len_max: usize;
        /// What one write takes when several calls wait. Default [`Coalesce::Frames`].
        coalesce: Coalesce;
        /// Applications whose handles are remembered, at most. Default 65,536. 0: calls name their application every time,
        /// unless they are made with a [`Binding`](crate::Binding).
        bindings_max: usize;
        /// For how long calls wait for a lost connection to come back before the policy decides. Default 250 ms.
        away_after: Duration;
        /// The wait before a second attempt to connect; it doubles with every further one. Default 25 ms. Each wait is
        /// shortened at random by up to half, so that clients do not come back all at once.
        backoff_first: Duration;
        /// The longest wait between two attempts. Default 5 s.
        backoff_max: Duration;
        /// A request without an answer for so long shows that the connection is dead. Default 10 s.
        unanswered_max: Duration;
        /// What to do with decisions when the node is away. Default [`Policy::Error`].
        policy: Policy;
    }

    /// The name that the node's log gets to see, 64 bytes at most. Default: the name of this crate, and its version.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Options {
        self.name = name.into();
        self
    }

    /// All values are possible, or which is not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let no = |name, problem| Err(Error::Options { name, problem });
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return no("connections", "not between 1 and 256");
        }
        if !(FRAME_MAX_LOWEST..=FRAME_MAX_HIGHEST).contains(&self.frame_max) {
            return no("frame_max", "not between 4,096 and 1,048,576");
        }
        if self.window == 0 {
            return no("window", "0 lets no call through");
        }
        if self.queue_len_max == 0 {
            return no("queue_len_max", "0 lets no call through");
        }
        if self.backoff_first.is_zero() || self.backoff_first > self.backoff_max {
            return no("backoff_first", "not between 0 and backoff_max");
        }
        if self.unanswered_max.is_zero() {
            return no("unanswered_max", "0 lets no answer through");
        }
        if self.name.len() > CLIENT_LEN_MAX {
            return no("name", "longer than 64 bytes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(options: &Options) -> Option<&'static str> {
        match options.check() {
            Ok(()) => None,
            Err(Error::Options { name, .. }) => Some(name),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn any_time_may_be_said() {
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > after(now, Duration::from_secs(86_400)));
        assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }

    #[test]
    fn the_defaults_are_possible() {
        assert_eq!(problem(&Options::default()), None);
    }

    #[test]
    fn limits_hold_at_n_and_n_plus_one() {
        let of = Options::default;
        assert_eq!(problem(&of().connections(256)), None);
        assert_eq!(problem(&of().connections(257)), Some("connections"));
        assert_eq!(problem(&of().connections(0)), Some("connections"));
        assert_eq!(problem(&of().frame_max(4_096)), None);
        assert_eq!(problem(&of().frame_max(4_095)), Some("frame_max"));
        assert_eq!(problem(&of().frame_max(1_048_576)), None);
        assert_eq!(problem(&of().frame_max(1_048_577)), Some("frame_max"));
        assert_eq!(problem(&of().window(0)), Some("window"));
        assert_eq!(problem(&of().queue_len_max(0)), Some("queue_len_max"));
        assert_eq!(problem(&of().name("n".repeat(64))), None);
        assert_eq!(problem(&of().name("n".repeat(65))), Some("name"));
        assert_eq!(problem(&of().backoff_first(Duration::from_secs(6))), Some("backoff_first"));
    }
}
