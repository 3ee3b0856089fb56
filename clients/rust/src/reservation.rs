//! Reservations: for costs known only afterwards.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use crate::ask::Heard;
use crate::call::{Call, Durability, Subject, Usage};
use crate::client::{Client, Verdict, receipt};
use crate::codec::{Decision, EncodeError, Operation, Outcome, Status};
use crate::error::Error;

/// How long after its time to live a COMMIT may be sent again when its answer was lost. The node remembers an expired
/// reservation for an hour; this stays well within.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);

/// The answer to a wish to reserve.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the larger one is the usual one, and is moved once")]
pub enum Reserved {
    /// Amounts are held, until they are committed or cancelled.
    Held(Reservation),
    /// No.
    Denied(Verdict),
}

/// How a reservation was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// As asked.
    Done,
    /// Some metric got more than was held; it is counted in full.
    Overrun,
    /// It came after the time to live. A commit is counted all the same.
    Expired,
    /// An earlier attempt's answer was lost, and the node has nothing open any more: that attempt did it.
    DoneBefore,
}

/// Amounts that are held: they count against limits, and are in no count yet. Dropping it cancels it in the background; until
/// that arrives, or if it cannot, the amounts stay held up to the time to live.
#[derive(Debug)]
pub struct Reservation {
    client: Client,
    /// Application, binding, flags and durability of what settles it.
    call: Call,
    /// 0: the node was away, and the policy said yes.
    number: u64,
    verdict: Verdict,
    repeats_until: Instant,
    is_open: bool,
}

impl Client {
    /// May this call be made? If so, its amounts are held instead of counted, for `ttl` at most: 1 s to 1 h, in whole seconds,
    /// by the node's clock. At most 64 are open per application.
    ///
    /// If the node is away and the policy says yes nothing is held, and a commit becomes a report.
    pub async fn reserve(&self, call: &Call, ttl: Duration) -> Result<Reserved, Error> {
        let ttl_s = u32::try_from(ttl.as_secs())
            .map_err(|_| EncodeError::TooLong { what: "the time to live", max: u32::MAX as usize })?;
        let subject = Subject::Reserve(ttl_s);
        let call = Call { binding: self.binding_of(call), ..call.clone() };
        let answered = self.call(&call, subject, self.deadline(call.deadline)).await;
        let verdict = self.verdict(&call, subject, answered.map(|heard| heard.answered))?;
        if !verdict.allowed() {
            return Ok(Reserved::Denied(verdict));
        }
        let number = verdict.decision().map_or(0, |decision| decision.reservation);
        let repeats_until = Instant::now() + ttl + REMEMBERED;
        Ok(Reserved::Held(Reservation {
            client: self.clone(),
            call,
            number,
            verdict,
            repeats_until,
            is_open: true,
        }))
    }
}

impl Reservation {
    /// What the node decided, if it did.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.verdict.decision()
    }

    /// Whether the node holds something. Not if it was away, and the policy said yes.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.number != 0
    }

    /// Counts what it really was, in full, whatever limits say, and releases what was held. After an error it is still open,
    /// and may be committed again. With the flags and the durability of the call that reserved, and durable unless that says
    /// otherwise.
    pub async fn commit<M: Into<Cow<'static, str>>>(
        &mut self,
        usage: impl IntoIterator<Item = (M, u64)>,
    ) -> Result<Settled, Error> {
        let used = |(metric, amount): (M, u64)| Usage { metric: metric.into(), amount, sets: false };
        self.call.usage = usage.into_iter().map(used).collect();
        let subject = match self.number {
            0 => Subject::Plain(Operation::Report),
            reservation => Subject::Commit { reservation, repeats: Instant::now() < self.repeats_until },
        };
        self.settle(subject).await
    }

    /// Releases what was held; counts nothing.
    pub async fn cancel(&mut self) -> Result<Settled, Error> {
        self.call.usage.clear();
        match self.number {
            0 => {
                self.is_open = false;
                Ok(Settled::Done)
            }
            number => self.settle(Subject::Cancel(number)).await,
        }
    }

    async fn settle(&mut self, subject: Subject) -> Result<Settled, Error> {
        if !self.is_open {
            return Ok(Settled::DoneBefore);
        }
        let deadline = self.client.deadline(self.call.deadline);
        let Heard { answered, doubtful } = self.client.call(&self.call, subject, deadline).await?;
        if answered.status == Status::RESERVATION_UNKNOWN && doubtful {
            self.is_open = false;
            return Ok(Settled::DoneBefore);
        }
        let outcome = receipt(subject, &answered)?.outcome;
        self.is_open = false;
        Ok(match outcome {
            Outcome::Done => Settled::Done,
            Outcome::Overrun => Settled::Overrun,
            Outcome::Expired => Settled::Expired,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_open || self.number == 0 {
            return;
        }
        let client = self.client.clone();
        let call = Call { usage: Vec::new(), durability: Durability::Usual, ..self.call.clone() };
        let subject = Subject::Cancel(self.number);
        self.client.0.runtime.spawn(async move {
            let deadline = client.deadline(call.deadline);
            // If it does not arrive the hold ends with its time to live.
            let _ = client.call(&call, subject, deadline).await;
        });
    }
}
