//! Ids of calls that are decided together.
//!
//! A call that is a repetition counts nothing, keeps no other from going ahead, and is answered as a success whatever
//! becomes of the others: it was counted before. A conflict is a refusal like any other. The second of two equal ids is judged
//! by the first. What is new is remembered in the step that counts it, or not at all.

use smallvec::SmallVec;

use super::{Again, Part};
use crate::engine::dedup::{Claim, Locked, LookedBack, Verdict};
use crate::engine::handle::Scope;
use crate::engine::moment::Moment;
use crate::model::decision::Refusal;
use crate::model::idempotency::RequestId;

/// What the calls claim to be, and which of them each claim is of.
#[derive(Default)]
pub(super) struct Claims<'r> {
    pub(super) all: SmallVec<[Claim; 8]>,
    of: SmallVec<[(usize, RequestId<'r>); 8]>,
}

/// What the ids say of all calls.
pub(super) struct Judged<'r> {
    /// By call; of what is missing they say nothing.
    calls: Vec<Judgement<'r>>,
    /// Numbers of the claims to be remembered.
    pub(super) new: SmallVec<[usize; 8]>,
}

/// What its id says of a call.
#[derive(Clone, PartialEq)]
pub(super) enum Judgement<'r> {
    /// It has none that matters.
    None,
    New,
    Repeated,
    Refused(Refusal<'r>),
}

impl<'r> Claims<'r> {
    /// Whether there is no id.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Judges the claims of `count` calls.
    pub(super) fn judge(&self, locked: &mut Locked<'_>, count: usize) -> Judged<'r> {
        let mut judged = Judged { calls: vec![Judgement::None; count], new: SmallVec::new() };
        let (mut duplicates, mut conflicts) = (0, 0);
        for (number, (call, id)) in self.of.iter().enumerate() {
            let claim = &self.all[number];
            // A few: a batch is as long as a frame.
            let same = |other: &&Claim| (other.key, other.sequence) == (claim.key, claim.sequence);
            let before = self.all[..number].iter().find(same);
            let verdict = match (locked.judge(number), before) {
                (Verdict::New, Some(before)) if before.body == claim.body => Verdict::Duplicate(0),
                (Verdict::New, Some(_)) => Verdict::Conflict,
                (verdict, _) => verdict,
            };
            judged.calls[*call] = match verdict {
                Verdict::New => {
                    judged.new.push(number);
                    Judgement::New
                }
                Verdict::Duplicate(_) => {
                    duplicates += 1;
                    Judgement::Repeated
                }
                Verdict::Conflict => {
                    conflicts += 1;
                    Judgement::Refused(Refusal::IdempotencyConflict { id: *id })
                }
                Verdict::TooOld(highest) => Judgement::Refused(locked.too_old(highest)),
            };
        }
        locked.tell(duplicates, conflicts);
        if let Err(refusal) = locked.make_room(&judged.new) {
            judged.refuse(&refusal);
        }
        judged
    }
}

impl<'r> Judged<'r> {
    /// Of calls without ids.
    pub(super) fn none() -> Judged<'r> {
        Judged { calls: Vec::new(), new: SmallVec::new() }
    }

    /// Of that call.
    pub(super) fn of(&self, call: usize) -> &Judgement<'r> {
        self.calls.get(call).unwrap_or(&Judgement::None)
    }

    /// Of calls with ids, if it cannot be found out whether they were used.
    pub(super) fn unknown(ids: &[Option<RequestId<'r>>]) -> Judged<'r> {
        let refused = |_| Judgement::Refused(Refusal::StorageUnavailable);
        let calls = ids.iter().map(|id| id.map_or(Judgement::None, refused)).collect();
        Judged { calls, new: SmallVec::new() }
    }

    /// Refuses all that are new.
    fn refuse(&mut self, refusal: &Refusal<'r>) {
        for call in &mut self.calls {
            if matches!(call, Judgement::New) {
                *call = Judgement::Refused(refusal.clone());
            }
        }
        self.new.clear();
    }
}

impl Moment<'_> {
    /// What the calls claim to be, and what the past says of it. No lock may be held.
    pub(super) fn claims<'r>(
        &self,
        scope: Scope,
        parts: &[Part<'r>],
        ids: &[Option<RequestId<'r>>],
    ) -> Result<(Claims<'r>, Option<LookedBack>), Again> {
        let mut claims = Claims::default();
        for (call, (part, id)) in parts.iter().zip(ids).enumerate() {
            let Some(id) = id else { continue };
            if let Some(claim) = self.claim_of(scope, part, id)? {
                claims.all.push(claim);
                claims.of.push((call, *id));
            }
        }
        let looked = self.engine.ids.look_back(&claims.all, self.now());
        let looked = looked.inspect_err(|error| {
            tracing::error!(%error, "it cannot be found out whether calls are repetitions");
        });
        Ok((claims, looked.ok()))
    }
}
