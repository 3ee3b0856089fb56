//! Cutting: from what the counters have pending to journal entries, in an order that replays to the same state.

use super::Engine;
use super::dedup::Accepted;
use super::handle::Passes;
use crate::counter::{Batch, Counters, Note, PendingKind, PendingUsage, SHARDS};
use crate::journal::Sequence;
use crate::journal::entry::{Kind, Set, encode_reached, encode_traffic};
use crate::journal::ids::encode_ids;
use crate::journal::reservation::ReservationEncoder;
use crate::journal::usage::UsageEncoder;
use crate::model::idempotency::Known;
use crate::model::time::UnixMillis;

/// The bytes from which on a usage entry takes no more items. An item is at most MAX_SLOTS amounts of a dozen bytes,
/// below a mebibyte, so no entry comes near the journal's bound.
const ENTRY_BYTES: usize = 4 << 20;

/// The most alert levels, days of traffic, or ids in one entry. Each takes at most 70 bytes, so no entry comes near the
/// journal's bound.
const TOLD_MAX: usize = 65_536;

/// Held while the order of things is decided. Owns the batches that are not in a shard.
pub(super) struct Sequencer {
    spare: Vec<Batch>,
    pub(super) passes: Passes,
}

/// What reports hold open and cuts close.
pub(super) struct Gate {
    /// The least catalog version under which a report may count.
    pub(super) floor: u64,
    /// How many cuts of all shards have been made.
    pub(super) cuts: u64,
}

impl Gate {
    /// What is counted while the gate is open is taken by the next cut.
    pub(super) fn next_ticket(&self) -> super::Ticket {
        super::Ticket(self.cuts + 1)
    }
}

/// What one cut of all shards took.
pub(super) struct Cut {
    batches: Vec<Batch>,
    /// Ids of what is in them.
    ids: Accepted,
    /// The number of this cut.
    pub(super) number: u64,
}

impl Sequencer {
    pub(super) fn new(passes: Passes) -> Self {
        Sequencer { spare: Vec::new(), passes }
    }

    fn batch(&mut self) -> Batch {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes batches back once they are written; their memory serves the next cut.
    pub(super) fn recycle(&mut self, cut: Cut) {
        for mut batch in cut.batches {
            if self.spare.len() < SHARDS as usize {
                batch.clear();
                self.spare.push(batch);
            }
        }
    }
}

impl Engine {
    /// Cuts all shards for a flush.
    pub(super) fn cut(&self, sequencer: &mut Sequencer) -> Cut {
        self.cut_and_publish(sequencer, 0, Vec::new(), || {})
    }

    /// Closes the gate, lets `publish` make a new catalog known, and cuts all shards. From here on nothing is
    /// counted under a catalog older than `floor`; `notes` are what it says of subjects, in the order of changes. While a report holds the gate open no catalog can be published,
    /// so a report never meets a shard that has moved on.
    pub(super) fn cut_and_publish(
        &self,
        sequencer: &mut Sequencer,
        floor: u64,
        mut notes: Vec<Note>,
        publish: impl FnOnce(),
    ) -> Cut {
        // A stable sort: the last word on a subject stays the last.
        notes.sort_by_key(|note| Counters::shard_of(note.subject));
        let mut notes = notes.as_slice();
        let mut gate = self.gate.write();
        publish();
        gate.floor = gate.floor.max(floor);
        gate.cuts += 1;
        let number = gate.cuts;
        let cut = |shard| {
            let here = notes.partition_point(|note| Counters::shard_of(note.subject) <= shard);
            let (here, rest) = notes.split_at(here);
            notes = rest;
            self.counters.cut_and_note(shard, floor, sequencer.batch(), here)
        };
        Cut { batches: (0..SHARDS).map(cut).collect(), ids: self.ids.cut(), number }
    }

    /// As [`Engine::cut`], and copies some subjects of one shard in the same closing of the gate.
    pub(super) fn cut_and_copy(
        &self,
        sequencer: &mut Sequencer,
        shard: u32,
        from: u32,
        bytes_max: usize,
        out: &mut Vec<crate::counter::snapshot::SubjectImage>,
    ) -> (Cut, Option<u32>) {
        let mut gate = self.gate.write();
        gate.cuts += 1;
        let (number, floor) = (gate.cuts, gate.floor);
        let mut batches: Vec<_> =
            (0..SHARDS).map(|shard| self.counters.cut(shard, floor, sequencer.batch())).collect();
        let copied = self.counters.copy(shard, from, bytes_max, sequencer.batch(), out);
        batches.push(copied.pending);
        (Cut { batches, ids: self.ids.cut(), number }, copied.next)
    }

    /// Appends what a cut took; each subject's usage stays in order. Returns the last sequence given out.
    pub(super) fn append_usage(&self, cut: &Cut) -> Sequence {
        let mut usages = cut.batches.iter().flat_map(Batch::iter).peekable();
        while let Some(first) = usages.peek().copied() {
            let appended = if first.kind != PendingKind::Add {
                usages.next();
                let set = set_of(&first);
                let kind = if first.kind == PendingKind::Set { Kind::Set } else { Kind::Replace };
                self.journal.append(kind, |out| set.encode(out))
            } else {
                self.journal.append(Kind::Usage, |out| {
                    let begin = out.len();
                    let mut encoder = UsageEncoder::new(out, first.contract);
                    let fits = |usage: &PendingUsage<'_>| {
                        usage.kind == PendingKind::Add && usage.contract == first.contract
                    };
                    while encoder.len() - begin < ENTRY_BYTES
                        && let Some(usage) = usages.next_if(fits)
                    {
                        encoder.item(usage.application, usage.dated, usage.counted);
                        for (slot, amount) in usage.amounts() {
                            encoder.delta(slot, i64::try_from(amount).unwrap_or(i64::MAX));
                        }
                    }
                    encoder.finish();
                })
            };
            if let Err(error) = appended {
                // Cannot be, by ENTRY_BYTES; if it is, it must not pass unseen.
                tracing::error!(%error, "usage was not journalled");
                debug_assert!(false, "a usage entry is too long");
            }
        }
        self.append_reservations(cut);
        self.append_ids(&cut.ids.ids);
        self.append_windows(&cut.ids.producers);
        let traffic = cut.batches.iter().flat_map(Batch::traffic);
        self.append_told(Kind::Traffic, traffic, |part, out| encode_traffic(part.iter().copied(), out));
        let reached = cut.batches.iter().flat_map(Batch::reached);
        self.append_told(Kind::Reached, reached, |part, out| encode_reached(part.iter().copied(), out));
        self.journal.last_appended()
    }

    /// Appends the reservations that were made and taken out; each subject's stay in order.
    fn append_reservations(&self, cut: &Cut) {
        let mut all = cut.batches.iter().flat_map(Batch::reservations).peekable();
        while let Some(contract) = all.peek().map(|it| it.contract) {
            let appended = self.journal.append(Kind::Reservation, |out| {
                let begin = out.len();
                let mut encoder = ReservationEncoder::new(out, contract);
                while encoder.len() - begin < ENTRY_BYTES
                    && let Some(it) = all.next_if(|it| it.contract == contract)
                {
                    encoder.item(it.application, it.id, it.held);
                }
                encoder.finish();
            });
            debug_assert!(appended.is_ok(), "the length is bounded by ENTRY_BYTES");
        }
    }

    /// Appends the ids of requests that were counted, as many to an entry as it may have.
    fn append_ids(&self, ids: &[Known]) {
        for part in ids.chunks(TOLD_MAX) {
            let base = part.iter().map(|known| known.remembered.at).min().unwrap_or(UnixMillis(0));
            let appended = self.journal.append(Kind::Ids, |out| encode_ids(base, part.iter(), out));
            debug_assert!(appended.is_ok(), "the length is bounded by TOLD_MAX");
        }
    }

    /// Appends what is told of applications, as much to an entry as it may have.
    fn append_told<'c, T: 'c>(
        &self,
        kind: Kind,
        told: impl Iterator<Item = &'c T>,
        encode: impl Fn(&[&'c T], &mut Vec<u8>),
    ) {
        let told: Vec<_> = told.collect();
        for part in told.chunks(TOLD_MAX) {
            let appended = self.journal.append(kind, |out| encode(part, out));
            debug_assert!(appended.is_ok(), "the length is bounded by TOLD_MAX");
        }
    }
}

fn set_of(usage: &PendingUsage<'_>) -> Set {
    Set {
        contract: usage.contract,
        application: usage.application,
        minute: usage.dated,
        counted: usage.counted,
        values: usage.amounts().collect(),
    }
}
