//! What is to be written next: calls that wait become frames, or BATCH frames, in one buffer.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use tokio::time::Instant;

use super::waiting::{Sent, Wait, Waiting};
use super::{Ask, Lost, Session};
use crate::codec::{self, EncodeError, HEAD_LEN, Head, Operation, Status, flags};
use crate::options::Coalesce;

/// Calls that are put into frames before there is a look at the socket again.
pub(super) const ROUND_LEN_MAX: usize = 256;

/// With so many bytes not yet written, no more calls are taken: a slow node shall make callers wait, not memory grow.
const UNWRITTEN_MAX: usize = 256 * 1024;

/// Bytes of a BATCH before its items, and of an item before its body.
const BATCH_HEAD_LEN: usize = HEAD_LEN + 8;
const ITEM_HEAD_LEN: usize = 8;

/// The buffer, and what is to go into it.
pub(super) struct Outbox {
    pub(super) bytes: BytesMut,
    /// Bytes written since the connection began.
    pub(super) written: u64,
    /// Calls that were taken and have no frame yet.
    pub(super) held: VecDeque<Ask>,
    coalesce: Coalesce,
}

/// Which calls may share a BATCH: the durability is the whole batch's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    flags: u8,
    durable_by_default: bool,
}

impl Kind {
    /// None for what must have a frame of its own.
    fn of(ask: &Ask) -> Option<Kind> {
        let operation = Operation::from_number(ask.operation).filter(|operation| operation.is_batchable())?;
        if ask.flags & !(flags::FLAT | flags::OAUTH | flags::DURABLE | flags::INTERVAL) != 0 {
            return None;
        }
        let durability = ask.flags & (flags::DURABLE | flags::INTERVAL);
        let writes = matches!(operation, Operation::Report | Operation::Commit);
        Some(Kind { flags: durability, durable_by_default: durability == 0 && writes })
    }
}

impl Outbox {
    pub(super) fn new(coalesce: Coalesce) -> Outbox {
        Outbox { bytes: BytesMut::with_capacity(8 * 1024), written: 0, held: VecDeque::new(), coalesce }
    }

    /// Whether more calls may be taken from the queue.
    pub(super) fn has_room(&self, waiting: &Waiting, session: &Session) -> bool {
        self.bytes.len() < UNWRITTEN_MAX
            && self.held.len() < ROUND_LEN_MAX
            && waiting.len() + self.held.len().min(1) < session.window as usize
    }

    /// Makes frames of what is held, as far as the window goes. Returns how many.
    pub(super) fn fill(&mut self, waiting: &mut Waiting, session: &Session) -> usize {
        let mut frames = 0;
        while waiting.len() < session.window as usize && self.bytes.len() < UNWRITTEN_MAX {
            let Some(ask) = self.held.pop_front() else { break };
            let Some(ask) = fit(ask, session) else { continue };
            let company = match Kind::of(&ask) {
                Some(kind) if self.coalesce == Coalesce::Batches => {
                    self.company(kind, ask.body.len(), session)
                }
                _ => Vec::new(),
            };
            if company.is_empty() {
                self.put_one(ask, waiting, session);
            } else {
                self.put_batch(ask, company, waiting, session);
            }
            frames += 1;
        }
        frames
    }

    /// Those among the held that go into one BATCH with a call of this kind and length.
    fn company(&mut self, kind: Kind, first_len: usize, session: &Session) -> Vec<Ask> {
        let mut length = BATCH_HEAD_LEN + ITEM_HEAD_LEN + first_len;
        let most = codec::items_max(session.frame_max);
        if most < 2 || length > session.frame_max as usize || !item_fits(first_len) {
            return Vec::new();
        }
        let mut company = Vec::new();
        let mut at = 0;
        while at < self.held.len() && company.len() + 1 < most {
            let ask = &self.held[at];
            let longer = length + ITEM_HEAD_LEN + ask.body.len();
            let fits = longer <= session.frame_max as usize && item_fits(ask.body.len());
            if Kind::of(ask) != Some(kind) || !fits || !for_this_node(ask, session) {
                at += 1;
                continue;
            }
            let Some(ask) = self.held.remove(at) else { break };
            if is_wanted(&ask) {
                length = longer;
                company.push(ask);
            }
        }
        company
    }

    fn put_one(&mut self, ask: Ask, waiting: &mut Waiting, session: &Session) {
        let (operation, flags, body) = (ask.operation, ask.flags, ask.body.clone());
        self.put(operation, flags, Wait::One(ask), waiting, session, |out| {
            out.extend_from_slice(&body);
            Ok(())
        });
    }

    fn put_batch(&mut self, first: Ask, company: Vec<Ask>, waiting: &mut Waiting, session: &Session) {
        let durability = first.flags & (flags::DURABLE | flags::INTERVAL);
        let asks: Vec<Ask> = std::iter::once(first).chain(company).collect();
        let mut body = BytesMut::with_capacity(asks.iter().map(|ask| ask.body.len() + ITEM_HEAD_LEN).sum());
        for ask in &asks {
            // `item_fits` held for each.
            body.put_u16_le((ask.body.len() + ITEM_HEAD_LEN) as u16);
            body.put_u8(ask.operation);
            body.put_u8(ask.flags & (flags::FLAT | flags::OAUTH));
            body.put_u32_le(0);
            body.extend_from_slice(&ask.body);
        }
        let count = asks.len() as u16;
        let operation = Operation::Batch.number();
        self.put(operation, durability, Wait::Batch(asks), waiting, session, |out| {
            out.put_u16_le(8);
            out.put_u16_le(count);
            out.put_u32_le(0);
            out.extend_from_slice(&body);
            Ok(())
        });
    }

    /// A PING of the connection's own.
    pub(super) fn put_ping(&mut self, waiting: &mut Waiting, session: &Session) {
        self.put(Operation::Ping.number(), 0, Wait::Nobody, waiting, session, |_| Ok(()));
    }

    fn put(
        &mut self,
        operation: u8,
        flags: u8,
        wait: Wait,
        waiting: &mut Waiting,
        session: &Session,
        write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    ) {
        let id = waiting.add(Sent { wait, ends_at: 0, since: Instant::now() });
        let head = Head { operation, flags, status: Status::OK, id };
        if codec::put_frame(&mut self.bytes, session.frame_max, head, write).is_err() {
            // Lengths were looked at before; if one is wrong all the same, its caller hears of it.
            if let Some(sent) = waiting.take(id) {
                give_up(sent, Lost::TooLong(session.frame_max));
            }
            return;
        }
        waiting.ends_at(id, self.written + self.bytes.len() as u64);
    }
}

/// The call, if it can go over this connection and somebody still waits for it.
fn fit(ask: Ask, session: &Session) -> Option<Ask> {
    if !for_this_node(&ask, session) {
        ask.answer(Err(Lost::OtherNode));
        return None;
    }
    if ask.body.len() + HEAD_LEN > session.frame_max as usize {
        ask.answer(Err(Lost::TooLong(session.frame_max)));
        return None;
    }
    is_wanted(&ask).then_some(ask)
}

/// Whether somebody still waits for it. From here on it counts as sent.
fn is_wanted(ask: &Ask) -> bool {
    !ask.reply.is_closed() && ask.fate.send()
}

fn for_this_node(ask: &Ask, session: &Session) -> bool {
    ask.node.is_none_or(|node| node == session.node)
}

fn item_fits(body_len: usize) -> bool {
    body_len + ITEM_HEAD_LEN <= usize::from(u16::MAX)
}

/// Tells all that wait for a request that there will be no answer.
pub(super) fn give_up(sent: Sent, lost: Lost) {
    match sent.wait {
        Wait::One(ask) => ask.answer(Err(lost)),
        Wait::Batch(asks) => asks.into_iter().for_each(|ask| ask.answer(Err(lost))),
        Wait::Nobody => {}
    }
}
