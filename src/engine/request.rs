//! What the engine is asked and what it answers. Everything borrows: a decision allocates nothing of its own.

use std::fmt;

use super::limits::status;
use crate::model::amount::Effect;
use crate::model::catalog::Catalog;
use crate::model::decision::{Denial, Refusal};
use crate::model::id::{ApplicationId, ServiceId};
use crate::model::idempotency::RequestId;
use crate::model::promise::Terms;
use crate::model::record::{Application, Limit, Plan, Secret, Service};
use crate::model::reservation::ReservationId;
use crate::model::time::{UnixMillis, Windows};
use crate::model::usage::Effects;

/// Who asks. Blank parameters are absent (`None`).
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// Authenticates a tenant; wins over a service token whenever present.
    pub provider_key: Option<&'a str>,
    /// Authenticates one service, together with `service_id`.
    pub service_token: Option<&'a str>,
    /// Which service. With a provider key it may be left out: the tenant's default service is meant.
    pub service_id: Option<&'a str>,
    /// The service, if the caller has been let in for it already: then the others are not looked at.
    pub service: Option<ServiceId>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("provider_key", &hidden(self.provider_key))
            .field("service_token", &hidden(self.service_token))
            .field("service_id", &self.service_id)
            .field("service", &self.service)
            .finish()
    }
}

/// A credential as it is printed: whether there is one, as with those of the catalog.
fn hidden(credential: Option<&str>) -> Option<Secret> {
    credential.map(|_| Secret::new(""))
}

/// One named value of `usage[NAME]=VALUE`, unchecked. `None` is a value that is not a text.
pub type UsageParameter<'a> = (&'a str, Option<&'a str>);

/// What a call uses, by system names of metrics.
#[derive(Clone, Copy, Debug)]
pub enum Usage<'a> {
    /// As a text protocol has it.
    Texts(&'a [UsageParameter<'a>]),
    /// As a protocol with numbers has it.
    Amounts(&'a [(&'a str, Effect)]),
}

impl Usage<'_> {
    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Usage::Texts(usage) => usage.is_empty(),
            Usage::Amounts(usage) => usage.is_empty(),
        }
    }
}

impl Default for Usage<'_> {
    fn default() -> Self {
        Usage::Amounts(&[])
    }
}

/// What is asked, and whether an authorized request is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Only asks whether the limits hold: neither keys, referrers nor states are looked at.
    Check,
    /// Only asks.
    Authorize,
    /// Asks, and counts the usage if the answer is yes: one step, nothing comes between.
    Authrep,
    /// Asks, and holds the usage if the answer is yes, for so many seconds: see [`crate::model::reservation`].
    Reserve {
        /// Between [`TTL_MIN_S`](crate::model::reservation::TTL_MIN_S) and
        /// [`TTL_MAX_S`](crate::model::reservation::TTL_MAX_S).
        ttl_s: u64,
    },
}

/// The redirect parameter of an OAuth call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Redirect<'a> {
    Uri(&'a str),
    Url(&'a str),
}

/// May this application make this call?
#[derive(Clone, Copy)]
pub struct AuthRequest<'a> {
    /// Whether to count.
    pub call: Call,
    /// Asked through one of the `oauth_*` paths.
    pub oauth: bool,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// Public id of the application; blank is absent.
    pub app_id: Option<&'a str>,
    /// Key that stands for the application (backend version 1); blank is absent.
    pub user_key: Option<&'a str>,
    /// The application's secret, trimmed; empty means present but empty.
    pub app_key: Option<&'a str>,
    /// Where the call came from; blank is absent.
    pub referrer: Option<&'a str>,
    /// OAuth's redirect; blank is absent.
    pub redirect: Option<Redirect<'a>>,
    /// What the call uses, in the order of the request.
    pub usage: Usage<'a>,
    /// Response code to count (authrep).
    pub log_code: Option<&'a str>,
    /// Count the named metrics only, not their ancestors.
    pub flat_usage: bool,
    /// The answer's body is not wanted, so only reports of the metrics in `usage` and their ancestors are.
    pub no_body: bool,
}

impl fmt::Debug for AuthRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("call", &self.call)
            .field("oauth", &self.oauth)
            .field("credentials", &self.credentials)
            .field("app_id", &self.app_id)
            .field("user_key", &hidden(self.user_key))
            .field("app_key", &hidden(self.app_key))
            .field("referrer", &self.referrer)
            .field("redirect", &self.redirect)
            .field("usage", &self.usage)
            .field("log_code", &self.log_code)
            .field("flat_usage", &self.flat_usage)
            .field("no_body", &self.no_body)
            .finish()
    }
}

/// The answer to a call whose application is known.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Why not; `None` means authorized.
    pub denial: Option<Denial<'a>>,
    /// Why an authorized call would have been denied, had what is in shadow been in force.
    pub would_deny: Option<Denial<'a>>,
    /// What was reserved, if that was asked for and authorized.
    pub reservation: Option<ReservationId>,
    /// Whether the call carried the id of one that was counted before, and was not counted again.
    pub replayed: bool,
    /// The service that was asked for.
    pub service: &'a Service,
    /// The application's plan.
    pub plan: &'a Plan,
    /// The catalog that the call was decided under.
    pub(super) catalog: &'a Catalog,
    /// The application that asks.
    pub application: ApplicationId,
    /// The windows the counts below belong to.
    pub windows: &'a Windows,
    /// The plan's limits with their counts, in the order of answers.
    pub reports: &'a [UsageReport],
    /// What the call does to metrics, ancestors included.
    pub(super) effects: &'a Effects,
    /// The engine's time of the decision.
    pub(super) now: UnixMillis,
    /// Whether no limit binds, because the service or the application is in shadow.
    pub(super) in_shadow: bool,
}

impl<'a> Answer<'a> {
    /// The record of the application that asks. Most answers show nothing of it, so it is looked up when asked for.
    #[must_use]
    pub fn application(&self) -> Option<&'a Application> {
        self.catalog.applications.get(self.application.0).map(|it| &**it)
    }

    /// What the `3scale-limit-*` headers say.
    #[must_use]
    pub fn limit(&self) -> LimitStatus {
        let looked_at = matches!(self.denial, None | Some(Denial::LimitsExceeded));
        if self.in_shadow || !looked_at {
            return LimitStatus { remaining: None, reset_s: None, max: None };
        }
        status(self.reports, self.effects, self.windows, self.now)
    }
}

/// One limit and how much of it is spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsageReport {
    /// The limit.
    pub limit: Limit,
    /// The count as shown: with this call's usage when an authrep was authorized.
    pub current: u64,
    /// Whether the count before this call was above the limit already.
    pub exceeded: bool,
    /// What open reservations hold: with this call's, when a reservation was authorized.
    pub reserved: u64,
    /// What the call does to the limited metric.
    pub(super) effect: Option<Effect>,
}

impl UsageReport {
    /// How much of the limit is neither counted nor held.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.limit.max.saturating_sub(self.current).saturating_sub(self.reserved)
    }
}

/// How often the same call could still be made, by the tightest limit that concerns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitStatus {
    /// Calls left; `None` is without bound.
    pub remaining: Option<u64>,
    /// Seconds until that limit's window ends; `None` if never or if no limit is meant.
    pub reset_s: Option<u64>,
    /// That limit's maximum; `None` if no limit is meant.
    pub max: Option<u64>,
}

/// One transaction of a report.
#[derive(Clone, Copy, Default)]
pub struct Transaction<'a> {
    /// Public id of the application; blank is absent.
    pub app_id: Option<&'a str>,
    /// Key that stands for the application; blank is absent.
    pub user_key: Option<&'a str>,
    /// What was used.
    pub usage: Usage<'a>,
    /// When, in seconds since 1970 UTC; `None` is now.
    pub timestamp: Option<i64>,
    /// Response code to count.
    pub log_code: Option<&'a str>,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("app_id", &self.app_id)
            .field("user_key", &hidden(self.user_key))
            .field("usage", &self.usage)
            .field("timestamp", &self.timestamp)
            .field("log_code", &self.log_code)
            .finish()
    }
}

/// Count what already happened.
#[derive(Clone, Copy, Debug)]
pub struct ReportRequest<'a> {
    /// Who reports.
    pub credentials: Credentials<'a>,
    /// Counted all or none.
    pub transactions: &'a [Transaction<'a>],
    /// Count the named metrics only, not their ancestors.
    pub flat_usage: bool,
    /// On what terms it is answered; usually [`Terms::REPORT`].
    pub terms: Terms,
}

/// What a report and its transactions are known by.
#[derive(Clone, Copy, Default, Debug)]
pub struct ReportIds<'a> {
    /// Of the whole report.
    pub request: Option<RequestId<'a>>,
    /// Of each transaction, in their order; what is missing has none.
    pub transactions: &'a [Option<&'a [u8]>],
}

impl<'a> ReportIds<'a> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_none() && self.transactions.iter().all(Option::is_none)
    }

    pub(super) fn of(&self, number: usize) -> Option<&'a [u8]> {
        self.transactions.get(number).copied().flatten()
    }
}

/// Why a report counted nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReportError<'a> {
    /// The caller is told.
    Refused(Refusal<'a>),
    /// One transaction is wrong. 3scale finds out only after it answered 202, so the caller is not told; the
    /// error is one of the service's integration errors.
    Dropped(Refusal<'a>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::request;

    #[test]
    fn no_credential_is_printed() {
        let key = Some("s3cret");
        let credentials =
            Credentials { provider_key: key, service_token: key, service_id: Some("7"), service: None };
        let auth = AuthRequest { user_key: key, app_key: key, credentials, ..request(None, &[]) };
        let transactions = [Transaction { user_key: key, app_id: Some("a"), ..Transaction::default() }];
        let report = ReportRequest {
            credentials,
            transactions: &transactions,
            flat_usage: false,
            terms: Terms::REPORT,
        };
        let printed = format!("{auth:?} {report:?}");
        assert!(!printed.contains("s3cret"), "{printed}");
        for part in ["app_key: Some(Secret(..))", "service_id: Some(\"7\")", "app_id: Some(\"a\")"] {
            assert!(printed.contains(part), "{part} not in {printed}");
        }
        assert!(format!("{:?}", Credentials::default()).contains("provider_key: None"));
    }
}
