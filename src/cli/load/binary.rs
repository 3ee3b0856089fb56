//! AUTHREP over the binary protocol, one by one or in batches.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::LoadError;
use super::session::{unexpected, why};
use super::speech::{By, Ear};
use super::subjects::Subjects;
use super::tally::Verdict;
use crate::wire::{
    BatchAnswer, Decision, Flags, Frame, HEADER_LEN, Items, Operation, Status, put_batch, split,
};

/// The bodies of calls for all applications, made once: what it takes to make them is no part of a node's figures.
pub(super) struct Bodies {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Bodies {
    pub(super) fn new(subjects: &Subjects, by: By) -> Bodies {
        let mut bodies = Bodies { bytes: Vec::new(), ends: Vec::new() };
        for number in 0..subjects.user_keys.len() {
            subjects.put_call(&mut bodies.bytes, number, by);
            bodies.ends.push(bodies.bytes.len());
        }
        bodies
    }

    fn of(&self, who: u32) -> &[u8] {
        let at = who as usize;
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[begin..self.ends[at]]
    }

    fn longest(&self) -> u32 {
        (0..).take(self.ends.len()).max_by_key(|who| self.of(*who).len()).unwrap_or(0)
    }
}

/// One connection's side of the protocol.
pub(super) struct Binary {
    bodies: Arc<Bodies>,
    /// Calls of a BATCH; 0 for a frame each.
    batch: usize,
    frame_max: u32,
}

impl Binary {
    /// # Errors
    /// A batch of that size does not fit the frames that the node takes.
    pub(super) fn new(bodies: &Arc<Bodies>, batch: usize, frame_max: u32) -> Result<Binary, LoadError> {
        let binary = Binary { bodies: Arc::clone(bodies), batch, frame_max };
        let mut frame = Vec::new();
        binary.ask(&mut frame, 0, &vec![bodies.longest(); batch.max(1)]);
        if batch > Items::max(frame_max) || frame.len() > frame_max as usize {
            let fits = (frame_max as usize - HEADER_LEN) * batch.max(1) / frame.len();
            let fits = fits.min(Items::max(frame_max));
            return Err(LoadError::TooMuch(format!(
                "a batch of {batch} does not fit the node's frames of {frame_max} bytes: about {fits} do"
            )));
        }
        Ok(binary)
    }

    pub(super) fn ask(&self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        // 0 is no request's id.
        let id = u64::from(place) + 1;
        if self.batch == 0 {
            let mut frame = Frame::request(out, Operation::AUTHREP, Flags::default(), id);
            who.iter().for_each(|who| frame.body().extend_from_slice(self.bodies.of(*who)));
            frame.end();
            return;
        }
        let bodies = who.iter().map(|who| self.bodies.of(*who));
        let calls: SmallVec<[_; 64]> =
            bodies.map(|body| move |out: &mut Vec<u8>| out.extend_from_slice(body)).collect();
        let item = |call| (Operation::AUTHREP, Flags::default(), call);
        let mut frame = Frame::request(out, Operation::BATCH, Flags::default(), id);
        put_batch(frame.body(), calls.iter().map(|call| item(call as &dyn Fn(&mut Vec<u8>))));
        frame.end();
    }

    pub(super) fn hear(&self, received: &[u8], ear: &mut impl Ear) -> Result<usize, LoadError> {
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
        f.debug_struct("Binary").field("batch", &self.batch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers by place and item.
    #[derive(Default)]
    struct Heard(Vec<(u32, usize, Verdict)>);

    impl Ear for Heard {
        fn verdict(&mut self, place: u32, item: usize, verdict: Verdict, _: &str) -> Result<(), LoadError> {
            self.0.push((place, item, verdict));
            Ok(())
        }

        fn all(&mut self, place: u32, verdict: Verdict, _: &str) -> Result<(), LoadError> {
            self.verdict(place, usize::MAX, verdict, "")
        }

        fn done(&mut self, _: u32) -> Result<(), LoadError> {
            Ok(())
        }
    }

    fn binary(by: By, batch: usize, frame_max: u32) -> Result<Binary, LoadError> {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut subjects =
            Subjects::new(Some("s".to_owned()), texts(&["key one", "key two"]), texts(&["hits"]));
        subjects.handles = vec![11, 12];
        Binary::new(&Arc::new(Bodies::new(&subjects, by)), batch, frame_max)
    }

    #[test]
    fn requests_are_those_of_the_specification() {
        use crate::wire::Call;
        let mut out = Vec::new();
        binary(By::Key, 0, 4096).unwrap().ask(&mut out, 4, &[1]);
        let (header, body) = split(&out, 4096).unwrap().unwrap();
        assert_eq!((header.operation, header.id), (Operation::AUTHREP, 5));
        let call = Call::read(body).unwrap();
        assert_eq!((call.service, call.user_key, call.usage[0].0), (Some("s"), Some("key two"), "hits"));

        let mut out = Vec::new();
        binary(By::Handle, 2, 4096).unwrap().ask(&mut out, 0, &[1, 0]);
        let (header, body) = split(&out, 4096).unwrap().unwrap();
        assert_eq!((header.operation, header.id), (Operation::BATCH, 1));
        let handles: Vec<_> =
            Items::read(body).unwrap().map(|item| Call::read(item.body).unwrap().handle).collect();
        assert_eq!(handles, [Some(12), Some(11)]);
    }

    #[test]
    fn a_batch_must_fit_its_frames_and_its_answer() {
        let most = Items::max(4096);
        assert!(binary(By::Handle, most, 4096).is_ok());
        let error = binary(By::Handle, most + 1, 4096).err().unwrap().to_string();
        assert!(error.ends_with(&format!("about {most} do")), "{error}");
    }

    #[test]
    fn answers_of_all_kinds_are_heard() {
        let mut bytes = Vec::new();
        let mut put = |operation: Operation, status, id, body: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = Frame::answer(&mut bytes, operation, status, id);
            body(frame.body());
            frame.end();
        };
        let decision = |yes| move |out: &mut Vec<u8>| Decision { yes, ..Decision::default() }.put(out);
        put(Operation::AUTHREP, Status::OK, 3, &decision(true));
        put(Operation::AUTHREP, Status::OK, 1, &decision(false));
        put(Operation::AUTHREP, Status::STALE_HANDLE, 2, &|out| {
            crate::wire::Failure::put(out, 0, Some("bind"))
        });
        put(Operation::BATCH, Status::OK, 4, &|out| {
            let mut answer = BatchAnswer::begin(out);
            answer.item(Operation::AUTHREP, Status::OK, decision(true));
            answer.item(Operation::AUTHREP, Status::INTERNAL, |out| crate::wire::Failure::put(out, 0, None));
            answer.end(true);
        });
        let mut heard = Heard::default();
        assert_eq!(binary(By::Key, 0, 4096).unwrap().hear(&bytes, &mut heard).unwrap(), bytes.len());
        let failed = |status: Status| Verdict::Failed(status.0);
        assert_eq!(
            heard.0,
            [
                (2, 0, Verdict::Yes),
                (0, 0, Verdict::No),
                (1, usize::MAX, failed(Status::STALE_HANDLE)),
                (3, 0, Verdict::Yes),
                (3, 1, failed(Status::INTERNAL)),
            ]
        );
        let mut goodbye = Vec::new();
        crate::wire::Goodbye { reason: 1, grace_ms: 0 }.put_frame(&mut goodbye, "the node stops");
        let error = binary(By::Key, 0, 4096).unwrap().hear(&goodbye, &mut heard).unwrap_err();
        assert!(matches!(error, LoadError::SentAway(said) if said == "the node stops"));
    }
}
