//! From a request to its answer: which line takes it, how long it may take, and what may be sent again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::client::Inner;
use crate::codec::{ANSWER, Answer, DecodeError, EncodeError, Refusal, Status};
use crate::connection::{Answered, Ask, Fate, Lost, Reply};
use crate::error::{Away, ConnectError, Error};
use crate::line::{Line, Link};
use crate::options::after;

/// The wait before a request is sent again, if the node does not say how long.
const PAUSE: Duration = Duration::from_millis(5);

/// A request, ready to be sent as often as it takes.
pub(crate) struct Asking {
    pub(crate) operation: u8,
    pub(crate) flags: u8,
    pub(crate) body: Bytes,
    /// The only node that it is for.
    pub(crate) node: Option<u64>,
    /// Whether it may be sent again although the node may have acted on it.
    pub(crate) repeats: bool,
}

/// An answer, and how certain it is that the request was acted on only once.
pub(crate) struct Heard {
    pub(crate) answered: Answered,
    /// An earlier attempt was sent and not answered.
    pub(crate) doubtful: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    Away(Away),
    /// The handle is another node's.
    OtherNode,
    TooLong(u32),
    Nonsense,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        match failed {
            Failed::Away(away) => Error::Away(away),
            // Not reached: who uses a handle binds again.
            Failed::OtherNode => Error::Away(Away::NotSent),
            Failed::TooLong(max) => {
                Error::Call(EncodeError::TooLong { what: "the frame", max: max as usize })
            }
            Failed::Nonsense => Error::Answer(DecodeError::Value("the frame")),
        }
    }
}

/// What became of one attempt.
enum Attempt {
    Heard(Answered),
    /// Nothing was done: it may go again.
    Again,
    /// Something may have been done.
    Doubt,
    Failed(Failed),
}

impl Inner {
    /// Asks until there is an answer, or the deadline has passed, or it may not be asked again.
    pub(crate) async fn ask(&self, asking: &Asking, deadline: Instant) -> Result<Heard, Failed> {
        let mut doubtful = false;
        loop {
            let away = match self.line(deadline).await {
                Err(away) => away,
                Ok(line) => match self.attempt(line, asking, deadline).await {
                    Attempt::Heard(answered) => match self.pause(&answered, deadline).await {
                        None => return Ok(Heard { answered, doubtful }),
                        Some(Ok(())) => {
                            self.site.tally.repeats.add(1);
                            continue;
                        }
                        Some(Err(refusal)) => Away::Cannot(refusal),
                    },
                    Attempt::Again => {
                        self.site.tally.repeats.add(1);
                        continue;
                    }
                    Attempt::Doubt if asking.repeats => {
                        doubtful = true;
                        self.site.tally.repeats.add(1);
                        continue;
                    }
                    Attempt::Doubt => Away::Unanswered,
                    Attempt::Failed(Failed::Away(away)) => away,
                    Attempt::Failed(failed) => return Err(failed),
                },
            };
            return Err(Failed::Away(if doubtful { Away::Unanswered } else { away }));
        }
    }

    async fn attempt(&self, line: &Line, asking: &Asking, deadline: Instant) -> Attempt {
        let fate = Arc::new(Fate::default());
        let (reply, mut answer) = oneshot::channel();
        let ask = Ask {
            operation: asking.operation,
            flags: asking.flags,
            body: asking.body.clone(),
            node: asking.node,
            fate: Arc::clone(&fate),
            reply,
        };
        match timeout_at(deadline, line.queue.send(ask)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Attempt::Failed(Failed::Away(Away::NoConnection(None))),
            Err(_) => return Attempt::Failed(Failed::Away(Away::NotSent)),
        }
        match timeout_at(deadline, &mut answer).await {
            Ok(Ok(reply)) => settled(reply),
            // The connection's task ended without a word.
            Ok(Err(_)) if fate.give_up() => Attempt::Again,
            Ok(Err(_)) => Attempt::Doubt,
            Err(_) if fate.give_up() => Attempt::Failed(Failed::Away(Away::NotSent)),
            // It may have come at the last moment.
            Err(_) => answer.try_recv().map_or(Attempt::Failed(Failed::Away(Away::Unanswered)), settled),
        }
    }

    /// If the node wants the request to come again, waits until then. None if this answer is to be taken as it is; the
    /// refusal if the deadline would pass.
    async fn pause(&self, answered: &Answered, deadline: Instant) -> Option<Result<(), Refusal>> {
        if !answered.status.may_repeat() {
            return None;
        }
        let refusal = refusal(answered);
        let again = Instant::now() + refusal.retry_after().unwrap_or(PAUSE);
        if again >= deadline {
            return Some(Err(refusal));
        }
        tokio::time::sleep_until(again).await;
        Some(Ok(()))
    }

    /// A line that is up. If there is none, waits for one as long as the node does not count as away.
    async fn line(&self, deadline: Instant) -> Result<&Line, Away> {
        if let Some(line) = self.pick() {
            return Ok(line);
        }
        let mut changed = self.site.changed.subscribe();
        loop {
            if let Some(line) = self.pick() {
                return Ok(line);
            }
            let (since, error) = self.down();
            let until = deadline.min(after(since, self.site.options.away_after));
            if self.is_closed() || Instant::now() >= until {
                return Err(Away::NoConnection(error));
            }
            // Both a change and the time's end are looked at above.
            let _ = timeout_at(until, changed.changed()).await;
        }
    }

    /// The lines that are up, in turn.
    fn pick(&self) -> Option<&Line> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.lines.len();
        (0..count).map(|offset| &self.lines[turn.wrapping_add(offset) % count]).find(|line| line.is_up())
    }

    /// Since when all lines are down, and the last error that is known.
    pub(crate) fn down(&self) -> (Instant, Option<Arc<ConnectError>>) {
        let mut latest = self.started;
        let mut known = None;
        for line in &self.lines {
            match line.link() {
                Link::Down(since, error) => {
                    latest = latest.max(since);
                    known = error.or(known);
                }
                Link::Up(_) => latest = Instant::now(),
            }
        }
        (latest, known)
    }
}

fn settled(reply: Reply) -> Attempt {
    match reply {
        Ok(answered) => Attempt::Heard(answered),
        Err(Lost::NotSent) => Attempt::Again,
        Err(Lost::Unanswered) => Attempt::Doubt,
        Err(Lost::OtherNode) => Attempt::Failed(Failed::OtherNode),
        Err(Lost::TooLong(max)) => Attempt::Failed(Failed::TooLong(max)),
        Err(Lost::Nonsense) => Attempt::Failed(Failed::Nonsense),
    }
}

/// The refusal of a status that is one; without details if they cannot be read.
pub(crate) fn refusal(answered: &Answered) -> Refusal {
    match Answer::decode(0, answered.status, &answered.body) {
        Ok(Answer::Refused(refusal)) => refusal,
        _ => Refusal { status: answered.status, retry_after_ms: 0, message: None },
    }
}

/// The answer to a request of `operation`, taken apart; a refusal as an error.
pub(crate) fn understood(operation: u8, answered: &Answered) -> Result<Answer<'_>, Error> {
    match Answer::decode(operation | ANSWER, answered.status, &answered.body) {
        Ok(Answer::Refused(refusal)) => Err(Error::Refused(refusal)),
        Ok(answer) => Ok(answer),
        Err(error) => {
            answered.origin.condemn();
            Err(Error::Answer(error))
        }
    }
}

/// Whether a status says that the node, and not the request, is the reason.
pub(crate) fn is_nodes_fault(status: Status) -> bool {
    use crate::codec::Class;
    status.class() == Class::Node && status != Status::NOT_DURABLE
}
