//! AUTHREP over the binary protocol, one by one or in batches.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::LoadError;
use super::session::{unexpected, why};
use super::speech::{By, Ear};
use super::subjects::Subjects;
use super::tally::Verdict;
use crate::model::amount::Effect;
use crate::wire::{
    BatchAnswer, Call, Decision, Flags, Frame, HEADER_LEN, Items, Operation, Status, put_batch, put_call,
    split,
};

/// One connection's side of the protocol.
pub(super) struct Binary {
    subjects: Arc<Subjects>,
    by: By,
    /// Calls of a BATCH; 0 for a frame each.
    batch: usize,
    frame_max: u32,
}

impl Binary {
    /// # Errors
    /// A batch of that size does not fit the frames that the node takes.
    pub(super) fn new(
        subjects: &Arc<Subjects>,
        by: By,
        batch: usize,
        frame_max: u32,
    ) -> Result<Binary, LoadError> {
        let binary = Binary { subjects: Arc::clone(subjects), by, batch, frame_max };
        let longest = (0..).zip(&subjects.user_keys).max_by_key(|(_, key)| key.len()).map_or(0, |(at, _)| at);
        let mut frame = Vec::new();
        binary.put(&mut frame, 0, &vec![longest; batch.max(1)]);
        if batch > Items::max(frame_max) || frame.len() > frame_max as usize {
            let fits = (frame_max as usize - HEADER_LEN) * batch.max(1) / frame.len();
            let fits = fits.min(Items::max(frame_max));
            return Err(LoadError::TooMuch(format!(
                "a batch of {batch} does not fit the node's frames of {frame_max} bytes: about {fits} do"
            )));
        }
        Ok(binary)
    }

    pub(super) fn ask(&mut self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        self.put(out, place, who);
    }

    fn put(&self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        // 0 is no request's id.
        let id = u64::from(place) + 1;
        let operation = if self.batch == 0 { Operation::AUTHREP } else { Operation::BATCH };
        let mut frame = Frame::request(out, operation, Flags::default(), id);
        if self.batch == 0 {
            who.iter().for_each(|who| self.put_call(frame.body(), *who));
        } else {
            let calls: SmallVec<[_; 64]> =
                who.iter().map(|who| move |out: &mut Vec<u8>| self.put_call(out, *who)).collect();
            let item = |call| (Operation::AUTHREP, Flags::default(), call);
            put_batch(frame.body(), calls.iter().map(|call| item(call as &dyn Fn(&mut Vec<u8>))));
        }
        frame.end();
    }

    fn put_call(&self, out: &mut Vec<u8>, who: u32) {
        let Subjects { service, user_keys, metrics, handles, rows } = &*self.subjects;
        match self.by {
            By::Handle => {
                let handle = handles.get(who as usize).copied();
                put_call(out, &Call { handle, ..Call::default() }, rows, false);
            }
            By::Key => {
                let user_key = user_keys.get(who as usize).map(String::as_str);
                let usage = metrics.iter().map(|name| (name.as_str(), Effect::Add(1))).collect();
                let call = Call { service: service.as_deref(), user_key, usage, ..Call::default() };
                put_call(out, &call, &[], false);
            }
        }
    }

    pub(super) fn hear(&mut self, received: &[u8], ear: &mut impl Ear) -> Result<usize, LoadError> {
        const SINGLE: Operation = Operation(Operation::AUTHREP.0 | Operation::ANSWER);
        const BATCH: Operation = Operation(Operation::BATCH.0 | Operation::ANSWER);
        let mut at = 0;
        while let Some((header, body)) = split(&received[at..], self.frame_max)? {
            at += HEADER_LEN + body.len();
            let Some(place) = header.id.checked_sub(1).and_then(|place| u32::try_from(place).ok()) else {
                return Err(unexpected(&header, body));
            };
            match header.operation {
                SINGLE | BATCH if !header.status.is_done() => {
                    ear.all(place, Verdict::Failed(header.status.0), &why(&header, body))?;
                }
                SINGLE => ear.verdict(place, 0, verdict(header.status, body)?, "")?,
                BATCH => {
                    let (_, items) = BatchAnswer::read(body)?;
                    for (number, item) in items.iter().enumerate() {
                        ear.verdict(place, number, verdict(item.status, item.body)?, "")?;
                    }
                }
                _ => return Err(unexpected(&header, body)),
            }
            ear.done(place)?;
        }
        Ok(at)
    }
}

fn verdict(status: Status, body: &[u8]) -> Result<Verdict, LoadError> {
    if !status.is_done() {
        return Ok(Verdict::Failed(status.0));
    }
    let (decision, _) = Decision::read(body)?;
    Ok(if decision.yes { Verdict::Yes } else { Verdict::No })
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binary").field("by", &self.by).field("batch", &self.batch).finish_non_exhaustive()
    }
}
