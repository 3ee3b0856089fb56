//! The records of the catalog: what an operator sets up and a decision reads.

use std::borrow::Cow;
use std::fmt;

use subtle::ConstantTimeEq;

use super::few::Few;
use super::id::{
    AccountId, ApplicationId, LimitId, MetricId, MetricSlot, PlanId, ServiceId, Subject, TenantId,
};
use super::metric::{Metric, MetricTree};
use super::promise::Promise;
use super::time::Period;

/// A credential kept in the clear because the contracts show it again: compared in constant time, never printed.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a credential.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Secret(text.into())
    }

    /// The credential itself, for the few places that must show or store it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `text` is this credential; takes the same time wherever the two differ.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text.into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether a tenant's calls are taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TenantState {
    /// They are.
    #[default]
    Active,
    /// All credentials of the tenant and of its services are refused; what it owns stays as it is, counts too.
    Suspended,
}

/// A tenant: owns services and accounts, and is known by its provider keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Identity.
    pub id: TenantId,
    /// Display name.
    pub name: String,
    /// Keys that authenticate calls for any of the tenant's services; unique on the node.
    pub provider_keys: Vec<Secret>,
    /// The service that a call with a provider key and no service id means.
    pub default_service: Option<ServiceId>,
    /// Whether its calls are taken.
    pub state: TenantState,
}

/// An account: the organisation that owns applications.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Identity.
    pub id: AccountId,
    /// The tenant whose customer it is.
    pub tenant: TenantId,
    /// Name of the organisation.
    pub name: String,
}

/// How callers of a service identify themselves (3scale's `backend_version`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackendVersion {
    /// Version 1: a user key alone; application keys are never checked.
    UserKey,
    /// Version 2: an app id, and one of the application's keys if it has any.
    AppId,
    /// OAuth: an app id; an application key is checked only if it is given.
    Oauth,
}

impl BackendVersion {
    /// The version of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [BackendVersion::UserKey, BackendVersion::AppId, BackendVersion::Oauth]
            .into_iter()
            .find(|version| version.name() == name)
    }

    /// 3scale's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BackendVersion::UserKey => "1",
            BackendVersion::AppId => "2",
            BackendVersion::Oauth => "oauth",
        }
    }
}

/// Whether a service answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceState {
    /// Calls are decided.
    Active,
    /// Every call is denied with `service_not_active`; reports still count.
    Suspended,
    /// Deleted: no key leads to it and nobody is shown it. The record stays until all that it owns is taken away.
    Retired,
}

impl ServiceState {
    /// What an operator reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ServiceState::Active => "active",
            ServiceState::Suspended => "suspended",
            ServiceState::Retired => "deleted, being taken away",
        }
    }
}

/// A service (product): metrics, and the rules that hold for all its applications.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Identity.
    pub id: ServiceId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The id another system knows it by; unique on the node, since who pushes services names no tenant.
    pub external_id: Option<String>,
    /// Display name.
    pub name: String,
    /// Whether it answers.
    pub state: ServiceState,
    /// How callers identify themselves.
    pub backend_version: BackendVersion,
    /// Whether applications with referrer filters must send a matching referrer.
    pub referrer_filters_required: bool,
    /// Tokens that authenticate calls for this service.
    pub tokens: Vec<Secret>,
    /// What is counted.
    pub metrics: MetricTree,
    /// The percentages of a limit whose crossing is told: some of [`ALERT_LEVELS`], ascending.
    pub alert_limits: Vec<u16>,
    /// Somebody asked for all counters of its applications to begin again at zero, and that is not done yet. The
    /// number tells one such wish from the next.
    pub stats_erasure: Option<u64>,
    /// In shadow, no call of the service is denied: see `engine`, Shadow.
    pub shadow: bool,
    /// Every decision is answered with the `RateLimit` fields, whether or not the caller asks for them.
    pub ratelimit_headers: bool,
    /// What answers promise of what its calls count; `None` leaves it to listener and kind of call.
    pub promise: Option<Promise>,
    /// Raised when what callers have looked up in the service may lead elsewhere: see `engine::handle`. Belongs to the
    /// running node, not to the record: neither written nor compared across restarts.
    pub edition: u32,
}

impl Service {
    /// What it is called outside the node: as by the system that pushed it, else by its own id.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match &self.external_id {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.id.to_string()),
        }
    }

    /// Whether what was looked up in it (a metric by its name, a caller by a credential) may lead elsewhere in what it becomes. That it has more
    /// metrics makes no difference.
    #[must_use]
    pub fn is_outdated_by(&self, after: &Service) -> bool {
        let is_gone = after.state == ServiceState::Retired && self.state != ServiceState::Retired;
        let moved = self.metrics.iter().any(|metric| {
            let same = |it: &Metric| it.name == metric.name && it.parent == metric.parent;
            !after.metrics.get(metric.slot).is_some_and(same)
        });
        is_gone || moved || self.backend_version != after.backend_version
    }
}

/// The percentages of a limit that can be told of (3scale's).
pub const ALERT_LEVELS: [u16; 9] = [0, 50, 80, 90, 100, 120, 150, 200, 300];

/// A limit: the most that a metric may count in a window of a period. Zero disables the metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Identity: changing the maximum keeps it, and the count.
    pub id: LimitId,
    /// The limited metric.
    pub metric: MetricId,
    /// Where the metric counts.
    pub slot: MetricSlot,
    /// Over which windows.
    pub period: Period,
    /// The greatest count that is still within the limit.
    pub max: u64,
    /// In shadow, the limit denies nothing: see `engine`, Shadow.
    pub shadow: bool,
}

/// An application plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Identity.
    pub id: PlanId,
    /// Its service.
    pub service: ServiceId,
    /// The id another system knows it by; unique within the service. [`Plan::NONE`] is no plan of the other system.
    pub external_id: Option<String>,
    /// Display name, shown in every answer. Blank only if another system pushed the plan without it.
    pub name: String,
    /// In the order of answers: by [`Metric::order`](super::metric::Metric::order), then longest period first. At most one per metric and period.
    pub limits: Vec<Limit>,
}

impl Plan {
    /// The external id of the plan of those applications that another system pushed without one: it has no name and
    /// no limits, and nobody is shown its id.
    pub const NONE: &str = "";

    /// The limit of that id.
    #[must_use]
    pub fn limit(&self, id: LimitId) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.id == id)
    }

    /// What another system calls this plan; `None` if it has no name for it.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match &self.external_id {
            Some(id) if id == Plan::NONE => None,
            Some(id) => Some(id.clone()),
            None => Some(self.id.to_string()),
        }
    }
}

/// The state of an application. Only [`ApplicationState::Active`] may call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApplicationState {
    /// May call.
    Active,
    /// Waits for approval.
    Pending,
    /// Stopped by an operator.
    Suspended,
    /// Any other word that another system uses; denied like the others.
    Other(Box<String>),
}

impl ApplicationState {
    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name {
            "active" => ApplicationState::Active,
            "pending" => ApplicationState::Pending,
            "suspended" => ApplicationState::Suspended,
            other => ApplicationState::Other(Box::new(other.to_owned())),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            ApplicationState::Active => "active",
            ApplicationState::Pending => "pending",
            ApplicationState::Suspended => "suspended",
            ApplicationState::Other(name) => name,
        }
    }
}

/// An application: who calls.
///
/// A node may have a million of them, so what most have none of takes a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// Identity.
    pub id: ApplicationId,
    /// Its plan.
    pub plan: PlanId,
    /// Where its counters lie. Belongs to the running node, not to the record: neither written nor compared
    /// across restarts.
    pub subject: Subject,
    /// Whether it may call.
    pub state: ApplicationState,
    /// Its service.
    pub service: ServiceId,
    /// Secrets that go with the app id (backend version 2 and OAuth).
    pub app_keys: Few<Secret>,
    /// Patterns of allowed referrers, where the service requires them.
    pub referrer_filters: Few<String>,
    /// Where OAuth redirects to.
    pub redirect_url: Option<Box<str>>,
    /// The public id that callers send; unique within the service.
    pub app_id: Box<str>,
    /// Keys that stand for the application by themselves; unique within the service.
    pub user_keys: Few<Secret>,
    /// The account that owns it; none if another system's application was pushed here.
    pub account: Option<AccountId>,
    /// Display name.
    pub name: Box<str>,
    /// In shadow, no call of the application is denied: see `engine`, Shadow.
    pub shadow: bool,
}

/// With the counts of an `Arc` it fits an allocation of 160 bytes.
const _: () = assert!(size_of::<Application>() <= 144);
