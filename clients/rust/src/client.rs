//! The client: what a gateway holds, and its calls.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::access::Access;
use crate::address::Address;
use crate::application::Application;
use crate::ask::{Asking, Failed, Heard, is_nodes_fault, refusal, understood};
use crate::binding::{Binding, Bindings, Grip, Held};
use crate::call::{Call, Subject};
use crate::codec::{
    self, Answer, Bind, Bound, Decision, Fields, Operation, Pong, Receipt, Request, Standing, Stats, Status,
};
use crate::connection::{Answered, Session};
use crate::counters::{Counters, Tally};
use crate::error::{Away, Error};
use crate::line::{Line, Link, Site, is_final};
use crate::options::{Options, after};
use crate::policy::{LocalCounts, Policy};

/// How often a call goes by handle before it names its application itself: the first, and once more if the handle had
/// ended.
const TRIES_BY_HANDLE: usize = 2;

/// A client of a node. Cheap to clone; clones share connections, handles and local counts. The connections end when the
/// last clone is dropped, or with [`close`](Client::close).
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) site: Arc<Site>,
    pub(crate) lines: Vec<Line>,
    pub(crate) turn: AtomicUsize,
    pub(crate) started: Instant,
    bindings: Bindings,
    local: LocalCounts,
    closed: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// Yes or no, and who says so.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The node decided.
    Decided(Decision),
    /// The node is away, and the client's [policy](Policy) decided.
    Assumed {
        /// Yes or no.
        allowed: bool,
        /// Why the node did not decide.
        away: Away,
    },
}

impl Verdict {
    /// Whether the call may be made.
    #[must_use]
    pub fn allowed(&self) -> bool {
        match self {
            Verdict::Decided(decision) => decision.allowed,
            Verdict::Assumed { allowed, .. } => *allowed,
        }
    }

    /// What the node decided, if it did.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Verdict::Decided(decision) => Some(decision),
            Verdict::Assumed { .. } => None,
        }
    }
}

impl Client {
    /// A client of the node at `address`. Starts to connect, and does not wait for it: see [`ready`](Client::ready).
    ///
    /// Fails if an option is impossible.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(address: Address, access: Access, options: Options) -> Result<Client, Error> {
        options.check()?;
        let (closed, _) = watch::channel(false);
        let (changed, _) = watch::channel(());
        let bindings = Bindings::new(options.bindings_max);
        let count = options.connections;
        let site = Arc::new(Site { address, access, options, tally: Arc::new(Tally::default()), changed });
        let start = || Line::start(Arc::clone(&site), closed.subscribe());
        let (lines, tasks) = std::iter::repeat_with(start).take(count).unzip();
        Ok(Client(Arc::new(Inner {
            lines,
            site,
            turn: AtomicUsize::new(0),
            started: Instant::now(),
            bindings,
            local: LocalCounts::default(),
            closed,
            tasks: Mutex::new(tasks),
            runtime: tokio::runtime::Handle::current(),
        })))
    }

    /// Waits until there is a connection, `within` at most, and says what the node said of itself. Fails early if the node
    /// refuses the client.
    pub async fn ready(&self, within: Duration) -> Result<Session, Error> {
        let until = after(Instant::now(), within);
        let mut changed = self.0.site.changed.subscribe();
        loop {
            let up = self.0.lines.iter().find_map(|line| match line.link() {
                Link::Up(session) => Some(session),
                Link::Down(..) => None,
            });
            if let Some(session) = up {
                return Ok(Session::clone(&session));
            }
            let (_, error) = self.0.down();
            if is_final(error.as_deref()) || Instant::now() >= until {
                return Err(Error::Away(Away::NoConnection(error)));
            }
            let _ = timeout_at(until, changed.changed()).await;
        }
    }

    /// May this call be made? Credentials, referrer, states, limits. Counts nothing.
    pub async fn authorize(&self, call: &Call) -> Result<Verdict, Error> {
        self.decide(call, Subject::Plain(Operation::Authorize)).await
    }

    /// May this call be made? If so, it is counted: one step, exact under any concurrency.
    pub async fn authrep(&self, call: &Call) -> Result<Verdict, Error> {
        self.decide(call, Subject::Plain(Operation::Authrep)).await
    }

    /// Would this usage fit the limits? Looks neither at keys nor at states, and counts nothing.
    pub async fn check(&self, call: &Call) -> Result<Verdict, Error> {
        self.decide(call, Subject::Plain(Operation::Check)).await
    }

    /// Counts what already happened, whatever limits, keys and states say. No policy stands in for it: what is not answered
    /// is an error, and [`Error::may_have_counted`] says whether to report it again.
    pub async fn report(&self, call: &Call) -> Result<Receipt, Error> {
        let subject = Subject::Plain(Operation::Report);
        let heard = self.call(call, subject, self.deadline(call.deadline)).await?;
        receipt(subject, &heard.answered)
    }

    /// Asks for a handle. Calls made with it, by [`Call::bound`], name neither credentials nor these metrics again.
    pub async fn bind<'m>(
        &self,
        application: &Application,
        metrics: impl IntoIterator<Item = &'m str>,
    ) -> Result<Binding, Error> {
        let metrics = metrics.into_iter().map(str::to_owned).collect();
        let binding = Binding::new(application.clone(), metrics);
        self.ask_handle(&binding, self.deadline(None)).await?;
        Ok(binding)
    }

    /// How an application stands: limits and usage, of all metrics or of these.
    pub async fn query(&self, application: &Application, metrics: &[&str]) -> Result<Standing, Error> {
        let fields = Fields { metrics: metrics.to_vec(), ..application.fields() };
        let request = Request::Query(codec::Call { fields, ..codec::Call::default() });
        let answered = self.plain(&request).await?;
        match understood(Operation::Query.number(), &answered)? {
            Answer::Standing(standing) => Ok(standing),
            _ => Err(unexpected()),
        }
    }

    /// The node's time and catalog version.
    pub async fn ping(&self) -> Result<Pong, Error> {
        let answered = self.plain(&Request::Ping).await?;
        match understood(Operation::Ping.number(), &answered)? {
            Answer::Pong(pong) => Ok(pong),
            _ => Err(unexpected()),
        }
    }

    /// Figures of the node. Not for clients of one service alone.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let answered = self.plain(&Request::Stats).await?;
        match understood(Operation::Stats.number(), &answered)? {
            Answer::Stats(stats) => Ok(stats),
            _ => Err(unexpected()),
        }
    }

    /// What this client did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.site.tally.read()
    }

    /// Takes no more calls, waits for the answers of those that are under way, and closes the connections.
    pub async fn close(&self) {
        self.0.closed.send_replace(true);
        self.0.site.changed.send_replace(());
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that failed has no connection any more.
            let _ = task.await;
        }
    }

    pub(crate) fn deadline(&self, within: Option<Duration>) -> Instant {
        after(Instant::now(), within.unwrap_or(self.0.site.options.deadline))
    }

    /// A request that changes nothing and has no handle.
    async fn plain(&self, request: &Request<'_>) -> Result<Answered, Error> {
        let mut body = BytesMut::new();
        request.encode(&mut body)?;
        let operation = request.operation().number();
        let asking = Asking { operation, flags: 0, body: body.freeze(), node: None, repeats: true };
        Ok(self.0.ask(&asking, self.deadline(None)).await?.answered)
    }

    async fn decide(&self, call: &Call, subject: Subject) -> Result<Verdict, Error> {
        let answered = self.call(call, subject, self.deadline(call.deadline)).await;
        self.verdict(call, subject, answered.map(|heard| heard.answered))
    }

    /// What the node decided, or the policy in its place.
    pub(crate) fn verdict(
        &self,
        call: &Call,
        subject: Subject,
        answered: Result<Answered, Error>,
    ) -> Result<Verdict, Error> {
        let away = match answered {
            Ok(answered) if is_nodes_fault(answered.status) => Away::Cannot(refusal(&answered)),
            Ok(answered) => {
                return match understood(subject.operation().number(), &answered)? {
                    Answer::Decision(decision) => Ok(Verdict::Decided(decision)),
                    _ => Err(unexpected()),
                };
            }
            Err(Error::Away(away)) => away,
            Err(other) => return Err(other),
        };
        let counts = matches!(subject.operation(), Operation::Authrep | Operation::Reserve);
        let allowed = match self.0.site.options.policy {
            Policy::Error => return Err(Error::Away(away)),
            Policy::Allow => true,
            Policy::Deny => false,
            Policy::LocalShare { unstated } if call.application.shares().is_empty() => unstated,
            Policy::LocalShare { .. } => {
                self.0.local.admit(&call.application, &call.usage, counts, SystemTime::now())
            }
        };
        self.0.site.tally.assumed.add(1);
        Ok(Verdict::Assumed { allowed, away })
    }

    /// The binding by which a call goes: its own, or one that the client looks after.
    pub(crate) fn binding_of(&self, call: &Call) -> Option<Binding> {
        let own = || self.0.bindings.of(&call.application, &call.usage);
        call.binding.clone().or_else(|| call.may_be_bound().then(own).flatten())
    }

    /// Makes a call, by handle if there is one. Handles that have ended are asked for again: nothing was counted.
    pub(crate) async fn call(
        &self,
        call: &Call,
        subject: Subject,
        deadline: Instant,
    ) -> Result<Heard, Error> {
        let operation = subject.operation();
        let binding = self.binding_of(call);
        for tried in 0.. {
            let held = match &binding {
                Some(binding) if tried < TRIES_BY_HANDLE => self.held(binding, deadline).await?,
                _ => None,
            };
            let asking = Asking {
                operation: operation.number(),
                flags: call.flags(operation),
                body: call.body(subject, held.as_deref())?,
                node: held.as_ref().map(|held| held.node),
                repeats: call.repeats(subject),
            };
            match self.0.ask(&asking, deadline).await {
                Ok(heard) if heard.answered.status != Status::STALE_HANDLE || held.is_none() => {
                    return Ok(heard);
                }
                Ok(_) | Err(Failed::OtherNode) => {}
                Err(failed) => return Err(failed.into()),
            }
            if let (Some(binding), Some(held)) = (&binding, &held) {
                binding.forget(held);
            }
        }
        unreachable!("a call without a handle is answered or fails")
    }

    /// The handle of a binding, asked for if there is none. None if the node does not give one.
    pub(crate) async fn held(
        &self,
        binding: &Binding,
        deadline: Instant,
    ) -> Result<Option<Arc<Held>>, Error> {
        match binding.grip() {
            Grip::Held(held) => return Ok(Some(held)),
            Grip::Refused(_) => return Ok(None),
            Grip::Open => {}
        }
        let asking = timeout_at(deadline, binding.0.asking.lock()).await;
        let Ok(_asking) = asking else { return Err(Error::Away(Away::NotSent)) };
        match binding.grip() {
            Grip::Held(held) => return Ok(Some(held)),
            Grip::Refused(_) => return Ok(None),
            Grip::Open => {}
        }
        match self.ask_handle(binding, deadline).await {
            Ok(held) => Ok(Some(held)),
            Err(Error::Refused(_) | Error::NotBound(_)) => {
                // The call itself will say what is wrong, in its own words.
                binding.refused();
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    async fn ask_handle(&self, binding: &Binding, deadline: Instant) -> Result<Arc<Held>, Error> {
        let names = &binding.0.metrics;
        let metrics = names.iter().map(String::as_str).collect();
        let request = Request::Bind(Bind { fields: Fields { metrics, ..binding.0.application.fields() } });
        let mut body = BytesMut::new();
        request.encode(&mut body)?;
        let operation = Operation::Bind.number();
        let asking = Asking { operation, flags: 0, body: body.freeze(), node: None, repeats: true };
        self.0.site.tally.binds.add(1);
        let answered = self.0.ask(&asking, deadline).await?.answered;
        match understood(operation, &answered)? {
            Answer::Bound(Bound { bound: true, handle, metrics, .. }) if metrics.len() == names.len() => {
                let metrics = names.iter().cloned().zip(metrics).collect();
                Ok(binding.hold(Held::new(answered.origin.node, handle, metrics)))
            }
            Answer::Bound(Bound { bound: false, reason, .. }) => {
                Err(Error::NotBound(reason.unwrap_or(codec::Reason::Other(0))))
            }
            _ => Err(unexpected()),
        }
    }
}

impl Inner {
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({:?}, {:?})", self.0.site.address, self.0.site.access)
    }
}

pub(crate) fn unexpected() -> Error {
    Error::Answer(codec::DecodeError::Value("the answer"))
}

pub(crate) fn receipt(subject: Subject, answered: &Answered) -> Result<Receipt, Error> {
    match understood(subject.operation().number(), answered)? {
        Answer::Receipt(receipt) => Ok(receipt),
        _ => Err(unexpected()),
    }
}
