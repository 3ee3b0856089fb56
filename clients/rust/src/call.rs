//! A call: which application, how much of what, and how to go about it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use crate::application::Application;
use crate::binding::{Binding, Held};
use crate::codec::{self, EncodeError, Fields, NamedUsage, Numbered, Operation, Request, UsageRow, flags};

/// How much of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) metric: Cow<'static, str>,
    pub(crate) amount: u64,
    pub(crate) sets: bool,
}

/// When the node answers what changes counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// As service and node are set; if they are not, as the operation has it: reports and commits are answered when they
    /// are on disk, all else at once.
    #[default]
    Usual,
    /// When it is on disk: what was answered survives a crash.
    Durable,
    /// At once; it is on disk a moment later (50 ms).
    Interval,
}

/// A call that can be made as often as you like: [`Client::authrep`](crate::Client::authrep) and its neighbours.
#[derive(Debug, Clone)]
pub struct Call {
    pub(crate) application: Application,
    /// What the caller bound; without it the client may look for a binding of its own.
    pub(crate) binding: Option<Binding>,
    pub(crate) usage: Vec<Usage>,
    pub(crate) durability: Durability,
    pub(crate) deadline: Option<Duration>,
    pub(crate) options: CallOptions,
}

/// What a call is known by.
#[derive(Debug, Clone)]
enum Id {
    Key(Vec<u8>),
    Numbered { producer: Bytes, sequence: u64 },
}

/// What a call says besides application and usage.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallOptions {
    flags: u8,
    referrer: Option<String>,
    timestamp: Option<i64>,
    log_code: Option<u16>,
    id: Option<Id>,
    redirect_uri: Option<String>,
    redirect_url: Option<String>,
}

impl Call {
    /// A call of an application that uses nothing yet.
    #[must_use]
    pub fn new(application: &Application) -> Call {
        Call {
            application: application.clone(),
            binding: None,
            usage: Vec::new(),
            durability: Durability::Usual,
            deadline: None,
            options: CallOptions::default(),
        }
    }

    /// A call by a handle that was asked for beforehand. Metrics that the binding does not name are sent by name.
    #[must_use]
    pub fn bound(binding: &Binding) -> Call {
        Call { binding: Some(binding.clone()), ..Call::new(binding.application()) }
    }

    /// Adds `amount` of a metric.
    #[must_use]
    pub fn usage(mut self, metric: impl Into<Cow<'static, str>>, amount: u64) -> Call {
        self.usage.push(Usage { metric: metric.into(), amount, sets: false });
        self
    }

    /// Sets a metric's count to `amount` instead of adding to it.
    #[must_use]
    pub fn set(mut self, metric: impl Into<Cow<'static, str>>, amount: u64) -> Call {
        self.usage.push(Usage { metric: metric.into(), amount, sets: true });
        self
    }

    /// Counts for the metrics named, not for their ancestors.
    #[must_use]
    pub fn flat(mut self) -> Call {
        self.options.flags |= flags::FLAT;
        self
    }

    /// Asks for all limits of the plan in the decision. Not in a batch.
    #[must_use]
    pub fn with_limits(mut self) -> Call {
        self.options.flags |= flags::LIMITS;
        self
    }

    /// The call of an OAuth client: authorize and authrep as 3scale's `oauth_authorize` and `oauth_authrep`.
    #[must_use]
    pub fn oauth(mut self) -> Call {
        self.options.flags |= flags::OAUTH;
        self
    }

    /// When the node answers, if the call counts something.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Call {
        self.durability = durability;
        self
    }

    /// How long it may take, waiting and repeating included. Default: the client's option.
    #[must_use]
    pub fn deadline(mut self, within: Duration) -> Call {
        self.deadline = Some(within);
        self
    }

    /// Who called, for applications with referrer filters.
    #[must_use]
    pub fn referrer(mut self, referrer: impl Into<String>) -> Call {
        self.options.referrer = Some(referrer.into());
        self
    }

    /// When it happened: for reports, at most 24 hours ago and an hour ahead. To the second.
    #[must_use]
    pub fn at(mut self, when: SystemTime) -> Call {
        let seconds = when.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.options.timestamp = Some(i64::try_from(seconds).unwrap_or(i64::MAX));
        self
    }

    /// The response code that the application's client got, to be counted too: authrep and report.
    #[must_use]
    pub fn log_code(mut self, code: u16) -> Call {
        self.options.log_code = Some(code);
        self
    }

    /// What the call is known by for a day, 1 to 64 bytes: authrep, reserve and report. With an id it is counted once however
    /// often it is sent, so it is sent again if its answer is lost.
    #[must_use]
    pub fn id(mut self, id: impl Into<Vec<u8>>) -> Call {
        self.options.id = Some(Id::Key(id.into()));
        self
    }

    /// The call's number, from 1, among those of a producer, whose name has 1 to 64 bytes: instead of an [id](Call::id), and as good
    /// as one. The node remembers the 64 numbers up to the highest that it counted, so at most 64 calls of a producer may be under
    /// way at once; one below is refused (`SEQUENCE_TOO_OLD`). Who does not keep the last number takes a new name at each start.
    #[must_use]
    pub fn numbered(mut self, producer: impl Into<Bytes>, sequence: u64) -> Call {
        self.options.id = Some(Id::Numbered { producer: producer.into(), sequence });
        self
    }

    /// OAuth: where the client wants to be sent.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Call {
        self.options.redirect_uri = Some(uri.into());
        self
    }

    /// OAuth: where the client wants to be sent.
    #[must_use]
    pub fn redirect_url(mut self, url: impl Into<String>) -> Call {
        self.options.redirect_url = Some(url.into());
        self
    }

    /// The flags that `operation` has of those that are set.
    pub(crate) fn flags(&self, operation: Operation) -> u8 {
        let durability = match self.durability {
            Durability::Usual => 0,
            Durability::Durable => flags::DURABLE,
            Durability::Interval => flags::INTERVAL,
        };
        (self.options.flags | durability) & operation.flags()
    }

    /// Whether it may be sent again although the node may have acted on it.
    pub(crate) fn repeats(&self, subject: Subject) -> bool {
        subject.repeats() || (subject.takes_id() && self.options.id.is_some())
    }

    /// Whether it may go by a handle that the client looks after.
    pub(crate) fn may_be_bound(&self) -> bool {
        self.options.flags & flags::OAUTH == 0
            && self.options.redirect_uri.is_none()
            && self.options.redirect_url.is_none()
    }

    /// The body of a request: by a handle if there is one, otherwise by fields.
    pub(crate) fn body(&self, subject: Subject, held: Option<&Held>) -> Result<Bytes, EncodeError> {
        let log_code = self.options.log_code.map(|code| format!("{code:03}"));
        let mut fields = match held {
            Some(_) => Fields::default(),
            None => self.application.fields(),
        };
        fields.referrer = self.options.referrer.as_deref();
        fields.timestamp = self.options.timestamp;
        fields.log_code = log_code.as_deref();
        if subject.takes_id() {
            match &self.options.id {
                Some(Id::Key(id)) => fields.idempotency = Some(id),
                Some(Id::Numbered { producer, sequence }) => {
                    fields.numbered = Some(Numbered { producer, sequence: *sequence });
                }
                None => {}
            }
        }
        fields.redirect_uri = self.options.redirect_uri.as_deref();
        fields.redirect_url = self.options.redirect_url.as_deref();
        let mut rows = Vec::with_capacity(if held.is_some() { self.usage.len() } else { 0 });
        for Usage { metric, amount, sets } in &self.usage {
            match held.and_then(|held| held.number_of(metric)) {
                Some(metric) => rows.push(UsageRow { metric, amount: *amount, sets: *sets }),
                None => fields.usage.push(NamedUsage { metric, amount: *amount, sets: *sets }),
            }
        }
        let call = codec::Call { handle: held.map_or(0, |held| held.handle), rows, fields };
        let mut out = BytesMut::with_capacity(64 + 24 * self.usage.len());
        subject.request(call).encode(&mut out)?;
        Ok(out.freeze())
    }
}

/// What is asked about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An operation whose body is a call's alone.
    Plain(Operation),
    /// RESERVE, with its time to live in seconds.
    Reserve(u32),
    /// COMMIT of a reservation.
    Commit {
        reservation: u64,
        /// Whether it may be sent again although the node may have acted on it.
        repeats: bool,
    },
    /// CANCEL of a reservation.
    Cancel(u64),
}

impl Subject {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Subject::Plain(operation) => operation,
            Subject::Reserve(_) => Operation::Reserve,
            Subject::Commit { .. } => Operation::Commit,
            Subject::Cancel(_) => Operation::Cancel,
        }
    }

    /// Whether it may be sent again although the node may have acted on it: what counts nothing, and what counts at most
    /// once.
    pub(crate) fn repeats(self) -> bool {
        match self {
            Subject::Commit { repeats, .. } => repeats,
            Subject::Cancel(_) | Subject::Plain(Operation::Authorize | Operation::Check) => true,
            Subject::Plain(_) | Subject::Reserve(_) => false,
        }
    }

    /// Whether the node looks at an id.
    fn takes_id(self) -> bool {
        matches!(self, Subject::Reserve(_) | Subject::Plain(Operation::Authrep | Operation::Report))
    }

    fn request(self, call: codec::Call<'_>) -> Request<'_> {
        match self {
            Subject::Reserve(ttl_s) => Request::Reserve(codec::Reserve { call, ttl_s }),
            Subject::Commit { reservation, .. } => Request::Commit(codec::Settle { call, reservation }),
            Subject::Cancel(reservation) => Request::Cancel(codec::Settle { call, reservation }),
            Subject::Plain(Operation::Authorize) => Request::Authorize(call),
            Subject::Plain(Operation::Authrep) => Request::Authrep(call),
            Subject::Plain(Operation::Report) => Request::Report(call),
            Subject::Plain(Operation::Check) => Request::Check(call),
            Subject::Plain(_) => Request::Query(call),
        }
    }
}
