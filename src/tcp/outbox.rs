//! What a connection has to say: answers that are ready, and those that wait for the disk.

use std::collections::VecDeque;

use crate::engine::Ticket;
use crate::wire::{Failure, Frame, HEADER_LEN, Header, Operation, Status};

/// Bytes of answers that may wait for the disk on one connection. A request that would wait for it beyond that is told
/// to come again; the first is always let in.
pub(super) const WAITING_BYTES_MAX: usize = 256 << 10;

/// The answers of one connection.
#[derive(Default)]
pub(super) struct Outbox {
    /// Ready to be written.
    pub(super) ready: Vec<u8>,
    /// How many answers are in there.
    answers: usize,
    /// Written when the disk has what they tell of, in this order: the disk has it in this order.
    waiting: VecDeque<Waiting>,
    waiting_bytes: Vec<u8>,
}

struct Waiting {
    ticket: Ticket,
    len: usize,
}

impl Outbox {
    /// Requests that the client has had no answer to.
    pub(super) fn unanswered(&self) -> usize {
        self.answers + self.waiting.len()
    }

    /// Notes that an answer was put into `ready`.
    pub(super) fn answered(&mut self) {
        self.answers += 1;
    }

    /// Notes that all of `ready` was written.
    pub(super) fn written(&mut self) {
        self.ready.clear();
        self.answers = 0;
    }

    /// Whether one more answer may wait for the disk.
    pub(super) fn has_room_to_wait(&self) -> bool {
        self.waiting.is_empty() || self.waiting_bytes.len() < WAITING_BYTES_MAX
    }

    /// Has the answer that begins at `begin` of `ready` wait until the disk has what `ticket` stands for.
    pub(super) fn defer(&mut self, begin: usize, ticket: Ticket) {
        let frame = &self.ready[begin..];
        self.waiting.push_back(Waiting { ticket, len: frame.len() });
        self.waiting_bytes.extend_from_slice(frame);
        self.ready.truncate(begin);
    }

    /// The last of what is waited for, if anything is: all before it is on disk then, too.
    pub(super) fn awaited(&self) -> Option<Ticket> {
        self.waiting.back().map(|it| it.ticket)
    }

    /// Has all answers up to `ticket` be written: as they are if the disk has what they tell of, else each turned into
    /// NOT_DURABLE.
    pub(super) fn settle(&mut self, ticket: Ticket, is_durable: bool) {
        let mut begin = 0;
        while let Some(it) = self.waiting.pop_front_if(|it| it.ticket <= ticket) {
            let frame = &self.waiting_bytes[begin..begin + it.len];
            begin += it.len;
            self.answers += 1;
            if is_durable {
                self.ready.extend_from_slice(frame);
            } else if let Some(head) = frame.first_chunk::<HEADER_LEN>() {
                let header = Header::read(head);
                let to = Operation(header.operation.0 & !Operation::ANSWER);
                let mut frame = Frame::answer(&mut self.ready, to, Status::NOT_DURABLE, header.id);
                Failure::put(frame.body(), 0, Some(NOT_DURABLE));
                frame.end();
            }
        }
        self.waiting_bytes.drain(..begin);
    }
}

const NOT_DURABLE: &str = "counted, but the disk takes no writes at present: sent again it counts again";
