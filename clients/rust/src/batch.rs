//! Batches that callers put together: several calls in one frame, if they like all or none.

use bytes::BytesMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use crate::ask::{Asking, Failed, understood};
use crate::binding::{Binding, Held};
use crate::call::{Call, Durability, Subject};
use crate::client::{Client, unexpected};
use crate::codec::{
    self, Answer, BatchAnswerItem, BatchItem, Decision, EncodeError, HEAD_LEN, Operation, Receipt, Refusal,
    Request, Status, flags,
};
use crate::error::Error;

/// Calls that go together. No policy stands in for a batch: without an answer it is an error.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    items: Vec<(Operation, Call)>,
    all: bool,
    durability: Durability,
    deadline: Option<Duration>,
}

/// What became of an item that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Of authorize, authrep and check.
    Decision(Decision),
    /// Of report.
    Receipt(Receipt),
}

impl Item {
    /// Whether it is a yes, or was counted.
    #[must_use]
    pub fn allowed(&self) -> bool {
        match self {
            Item::Decision(decision) => decision.allowed,
            Item::Receipt(_) => true,
        }
    }
}

/// The answer to a batch.
#[derive(Debug, Clone)]
pub struct BatchOutcome {
    /// With [`Batch::all`]: whether all are done, or none. True without.
    pub done: bool,
    /// For each item, in order: what became of it, or why it was refused. With `all`, items that would have been done say
    /// `NOT_DONE`.
    pub items: Vec<Result<Item, Refusal>>,
}

impl Batch {
    /// A batch without items.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// All items or none: decided as one step. At most 64 applications.
    #[must_use]
    pub fn all(mut self) -> Batch {
        self.all = true;
        self
    }

    /// When the node answers: for the whole batch. What items say of it does not matter.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Batch {
        self.durability = durability;
        self
    }

    /// How long it may take. Default: the client's option.
    #[must_use]
    pub fn deadline(mut self, within: Duration) -> Batch {
        self.deadline = Some(within);
        self
    }

    /// Adds an authorize.
    #[must_use]
    pub fn authorize(self, call: Call) -> Batch {
        self.item(Operation::Authorize, call)
    }

    /// Adds an authrep.
    #[must_use]
    pub fn authrep(self, call: Call) -> Batch {
        self.item(Operation::Authrep, call)
    }

    /// Adds a check.
    #[must_use]
    pub fn check(self, call: Call) -> Batch {
        self.item(Operation::Check, call)
    }

    /// Adds a report.
    #[must_use]
    pub fn report(self, call: Call) -> Batch {
        self.item(Operation::Report, call)
    }

    fn item(mut self, operation: Operation, call: Call) -> Batch {
        self.items.push((operation, call));
        self
    }

    fn flags(&self) -> u8 {
        let all = if self.all { flags::ALL } else { 0 };
        all | match self.durability {
            Durability::Usual => 0,
            Durability::Durable => flags::DURABLE,
            Durability::Interval => flags::INTERVAL,
        }
    }
}

/// An item's handle, if it has one.
type Grasp = Option<(Binding, Arc<Held>)>;

impl Client {
    /// Makes several calls in one frame; the node decides them in order. As many as the frame allows: 80 bytes an item of the
    /// answer, so 818 in 64 KiB, and as the request has room.
    ///
    /// Not sent again if it may have been counted, unless all that counts carries an [id](Call::id).
    pub async fn batch(&self, batch: &Batch) -> Result<BatchOutcome, Error> {
        let deadline = self.deadline(batch.deadline);
        if batch.items.is_empty() {
            return Ok(BatchOutcome { done: true, items: Vec::new() });
        }
        let calls: Vec<_> = batch.items.iter().collect();
        let mut grasps = Vec::with_capacity(calls.len());
        for (_, call) in &calls {
            grasps.push(self.grasp(call, deadline).await?);
        }
        let answer = self.send_batch(batch, &calls, &grasps, deadline).await;
        let (mut outcome, stale) = match answer {
            Ok(outcome) => {
                let stale: Vec<_> = (0..calls.len()).filter(|at| is_stale(&outcome.items[*at])).collect();
                (outcome, stale)
            }
            Err(Failure::OtherNode) => {
                forget(&grasps);
                let none = vec![None; calls.len()];
                return self.send_batch(batch, &calls, &none, deadline).await.map_err(Failure::into_error);
            }
            Err(failure) => return Err(failure.into_error()),
        };
        if stale.is_empty() {
            return Ok(outcome);
        }
        forget(&stale.iter().map(|at| grasps[*at].clone()).collect::<Vec<_>>());
        // By fields this time. With `all` nothing was done, so all go again; otherwise those that were refused.
        if batch.all {
            let none = vec![None; calls.len()];
            return self.send_batch(batch, &calls, &none, deadline).await.map_err(Failure::into_error);
        }
        let again: Vec<_> = stale.iter().map(|at| calls[*at]).collect();
        let answer = self.send_batch(batch, &again, &vec![None; again.len()], deadline).await;
        let answer = answer.map_err(Failure::into_error)?;
        for (at, item) in stale.into_iter().zip(answer.items) {
            outcome.items[at] = item;
        }
        Ok(outcome)
    }

    async fn grasp(&self, call: &Call, deadline: Instant) -> Result<Grasp, Error> {
        let Some(binding) = self.binding_of(call) else { return Ok(None) };
        Ok(self.held(&binding, deadline).await?.map(|held| (binding, held)))
    }

    async fn send_batch(
        &self,
        batch: &Batch,
        calls: &[&(Operation, Call)],
        grasps: &[Grasp],
        deadline: Instant,
    ) -> Result<BatchOutcome, Failure> {
        let node = grasps.iter().flatten().map(|(_, held)| held.node).next();
        if grasps.iter().flatten().any(|(_, held)| Some(held.node) != node) {
            return Err(Failure::OtherNode);
        }
        let most = codec::items_max(self.0.site.options.frame_max);
        if calls.len() > most {
            return Err(Failure::Error(EncodeError::TooMany { what: "items of a batch", max: most }.into()));
        }
        let mut bodies = Vec::with_capacity(calls.len());
        for ((operation, call), grasp) in calls.iter().zip(grasps) {
            let held = grasp.as_ref().map(|(_, held)| &**held);
            bodies.push(call.body(Subject::Plain(*operation), held).map_err(Error::from)?);
        }
        let items = calls.iter().zip(&bodies).map(|((operation, call), body)| BatchItem {
            operation: operation.number(),
            flags: call.flags(*operation) & (flags::FLAT | flags::OAUTH),
            body,
        });
        let mut body = BytesMut::with_capacity(bodies.iter().map(|body| body.len() + HEAD_LEN).sum());
        let request = Request::Batch(codec::Batch { items: items.collect() });
        request.encode(&mut body).map_err(Error::from)?;
        let operation = Operation::Batch.number();
        let repeats = calls.iter().all(|(operation, call)| call.repeats(Subject::Plain(*operation)));
        let asking = Asking { operation, flags: batch.flags(), body: body.freeze(), node, repeats };
        let answered = match self.0.ask(&asking, deadline).await {
            Ok(heard) => heard.answered,
            Err(Failed::OtherNode) => return Err(Failure::OtherNode),
            Err(failed) => return Err(Failure::Error(failed.into())),
        };
        let Answer::Batch(answer) = understood(operation, &answered)? else {
            return Err(unexpected().into());
        };
        if answer.items.len() != calls.len() {
            return Err(unexpected().into());
        }
        let items = answer.items.iter().zip(calls).map(|(item, (operation, _))| outcome(*operation, item));
        let items = items.collect::<Result<_, _>>().inspect_err(|_| answered.origin.condemn())?;
        Ok(BatchOutcome { done: answer.done, items })
    }
}

/// Why a batch has no answer.
enum Failure {
    OtherNode,
    Error(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::OtherNode => Failed::OtherNode.into(),
            Failure::Error(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

fn forget(grasps: &[Grasp]) {
    grasps.iter().flatten().for_each(|(binding, held)| binding.forget(held));
}

fn is_stale(item: &Result<Item, Refusal>) -> bool {
    matches!(item, Err(refusal) if refusal.status == Status::STALE_HANDLE)
}

fn outcome(asked: Operation, item: &BatchAnswerItem<'_>) -> Result<Result<Item, Refusal>, Error> {
    if item.operation != asked.answer() {
        return Err(unexpected());
    }
    match Answer::decode(item.operation, item.status, item.body)? {
        Answer::Decision(decision) => Ok(Ok(Item::Decision(decision))),
        Answer::Receipt(receipt) => Ok(Ok(Item::Receipt(receipt))),
        Answer::Refused(refusal) => Ok(Err(refusal)),
        _ => Err(unexpected()),
    }
}
