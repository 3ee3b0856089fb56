//! A call on its way, and what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::codec::Status;

/// A call on its way to a connection.
pub(crate) struct Ask {
    pub(crate) operation: u8,
    pub(crate) flags: u8,
    pub(crate) body: Bytes,
    /// The only node to which it may go, if it has a handle of that node's.
    pub(crate) node: Option<u64>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// Whether a call went out or was given up before: one of the two, whoever comes first.
#[derive(Debug, Default)]
pub(crate) struct Fate(AtomicU8);

const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Fate {
    fn settle(&self, fate: u8) -> bool {
        self.0.compare_exchange(0, fate, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The connection's side: from here on the node may get to see it. False if it was given up.
    pub(super) fn send(&self) -> bool {
        self.settle(SENT)
    }

    /// The caller's side: it shall not go out any more. False if it may have.
    pub(crate) fn give_up(&self) -> bool {
        self.settle(GIVEN_UP)
    }
}

/// An answer whose body was not looked at yet.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: Status,
    pub(crate) body: Bytes,
    pub(crate) origin: Arc<Origin>,
}

/// Where an answer came from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The node that answered.
    pub(crate) node: u64,
    /// Set by who found an answer that makes no sense: the connection is not to be trusted any more.
    pub(super) condemned: AtomicBool,
}

impl Origin {
    pub(crate) fn condemn(&self) {
        self.condemned.store(true, Ordering::Relaxed);
    }
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The connection ended before all of the request was written: the node cannot have acted on it.
    NotSent,
    /// The connection ended before the answer came.
    Unanswered,
    /// The handle is another node's.
    OtherNode,
    /// The request does not fit a frame of so many bytes.
    TooLong(u32),
    /// The answer to its BATCH made no sense.
    Nonsense,
}

pub(crate) type Reply = Result<Answered, Lost>;

impl Ask {
    pub(super) fn answer(self, reply: Reply) {
        // Who gave up does not listen any more.
        let _ = self.reply.send(reply);
    }

    pub(crate) fn refuse(self) {
        self.answer(Err(Lost::NotSent));
    }
}
