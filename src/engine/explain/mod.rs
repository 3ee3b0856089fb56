//! Explaining: how a call would be decided now, and why, without counting it.
//!
//! Made of the very parts of a decision ([`Engine::authorize`]), so it says what the decision would. For operators: it
//! names records and counts, but shows no credential, neither the catalog's nor the caller's.

#[cfg(test)]
mod tests;
mod text;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::limits::{Held, Reports, binds, effect_on, holds, read_reports};
use super::moment::Moment;
use super::request::{AuthRequest, UsageReport};
use super::resolve::{Case, Unresolved, check_metrics, named_effects};
use super::validate;
use crate::counter::Met;
use crate::model::amount::Effect;
use crate::model::decision::{Denial, Refusal};
use crate::model::id::MetricSlot;
use crate::model::metric::MetricTree;
use crate::model::record::{Application, BackendVersion, Plan, Service};
use crate::model::time::{UnixMillis, Windows, window_secs};
use crate::model::usage::{Effects, propagate};

/// What stands where a credential was.
const HIDDEN: &str = "(not shown)";

/// How a call would be decided, as far as it gets: a part that the call does not reach is absent or empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The engine's time, in milliseconds since 1970-01-01 00:00 UTC.
    pub time_ms: u64,
    /// The catalog it would be decided under.
    pub catalog_version: u64,
    /// The decision.
    pub verdict: Verdict,
    /// The check that decides, and what it finds.
    pub decided_by: String,
    /// Why an authorized call would be denied, were what is in shadow in force.
    pub would_deny: Option<Reason>,
    /// Whose call it is.
    pub service: Option<ServiceExplained>,
    /// Who calls.
    pub application: Option<ApplicationExplained>,
    /// The application's plan.
    pub plan: Option<PlanExplained>,
    /// What the call does to each metric: those it names first, then those above them.
    pub usage: Vec<UsageExplained>,
    /// The plan's limits, in the order of answers.
    pub limits: Vec<LimitExplained>,
}

/// How a call is decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may go ahead.
    Authorized,
    /// It may not.
    Denied(Reason),
    /// Something in it is missing, unknown or malformed.
    Refused(Reason),
}

/// Code and text of a denial or refusal, as callers are given them, but for credentials.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Reason {
    pub code: String,
    pub text: String,
}

/// A service as an explanation shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ServiceExplained {
    pub id: u64,
    pub external_id: Option<String>,
    pub name: String,
    pub tenant: u64,
    /// `active` or `suspended`.
    pub state: String,
    /// `1`, `2` or `oauth`.
    pub backend_version: String,
    pub shadow: bool,
    /// `durable` or `interval`, if the service says which.
    #[serde(default)]
    pub promise: Option<String>,
    /// What the caller proved to be allowed with: `provider_key` or `service_token`.
    pub known_by: String,
}

/// An application as an explanation shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ApplicationExplained {
    pub id: u64,
    pub app_id: String,
    pub name: String,
    pub state: String,
    pub shadow: bool,
    /// What led to it: `user_key` or `app_id`.
    pub known_by: String,
}

/// A plan as an explanation shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PlanExplained {
    pub id: u64,
    pub external_id: Option<String>,
    pub name: String,
}

/// What a call does to one metric.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UsageExplained {
    /// Its system name.
    pub metric: String,
    /// Whether the call names it; if not, it lies above one that is named.
    pub named: bool,
    /// The metrics above it, nearest first.
    pub ancestors: Vec<String>,
    /// Whether the count becomes `amount`, instead of growing by it.
    pub set: bool,
    /// In units of the metric.
    pub amount: u64,
}

/// One limit, its counter, and what the call makes of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LimitExplained {
    /// Which limit.
    pub id: u64,
    /// The limited metric.
    pub metric: String,
    /// The period.
    pub period: String,
    /// First second of the open window, since 1970; none for eternity.
    pub window_start_s: Option<u64>,
    /// First second after it.
    pub window_end_s: Option<u64>,
    /// The maximum.
    pub max: u64,
    /// The count now.
    pub count: u64,
    /// What open reservations hold; they count against the maximum.
    pub reserved: u64,
    /// The count that the call would leave.
    pub count_after: u64,
    /// What is left now.
    pub remaining: u64,
    /// Whether it has a say in this call: the call touches its metric, or no metric at all.
    pub concerned: bool,
    /// Whether the call stays within it; true if it has no say.
    pub holds: bool,
    /// Whether it is in shadow.
    pub shadow: bool,
}

impl Engine {
    /// How `request` would be decided now. Counts nothing.
    #[must_use]
    pub fn explain(&self, request: &AuthRequest<'_>, wall: UnixMillis) -> Explanation {
        let mut moment = self.moment(wall);
        loop {
            let mut explanation = Explanation::begun(moment.now(), moment.catalog().version);
            let refused = match moment.explain_under(request, &mut explanation) {
                Ok(()) => return explanation,
                Err(unresolved) => moment.start_again(unresolved),
            };
            if let Err(refusal) = refused {
                explanation.refuse(&refusal);
                return explanation;
            }
        }
    }

    /// The explanation of a call that is wrong in a way that has no refusal of its own.
    #[must_use]
    pub fn explain_unreadable(&self, code: &str, text: &str, wall: UnixMillis) -> Explanation {
        let mut explanation = Explanation::begun(self.now(wall), self.catalog.load().version);
        explanation.decided_by = "reading the parameters".to_owned();
        explanation.verdict = Verdict::Refused(Reason { code: code.to_owned(), text: text.to_owned() });
        explanation
    }

    /// The explanation of a call that is refused before anything of it is looked up.
    #[must_use]
    pub fn explain_refusal(&self, refusal: &Refusal<'_>, wall: UnixMillis) -> Explanation {
        let mut explanation = Explanation::begun(self.now(wall), self.catalog.load().version);
        explanation.refuse(refusal);
        explanation
    }
}

impl Moment<'_> {
    fn explain_under<'r>(
        &self,
        request: &AuthRequest<'r>,
        explanation: &mut Explanation,
    ) -> Result<(), Unresolved<Refusal<'r>>> {
        let (engine, catalog) = (self.engine, self.catalog());
        let service = engine.service(catalog, &request.credentials)?;
        explanation.service = Some(ServiceExplained::of(service, request));
        let (_, found) = engine.whose(catalog, request)?;
        let Met { mut subject, facts, .. } = self.meet(found.index)?.ok_or(Unresolved::Stale)?;
        let case = Case::of(catalog, service, facts, true).ok_or(Unresolved::Stale)?;
        let application = case.application.ok_or(Unresolved::Stale)?;
        explanation.application = Some(ApplicationExplained::of(application, service));
        explanation.plan = Some(PlanExplained::of(case.plan));

        let tree = &service.metrics;
        if request.no_body && !request.usage.is_empty() {
            check_metrics(&request.usage, tree)?;
        }
        let denial = validate::denial(request, &case);
        // Usage is looked at only if nothing else denies the call; then there is no harm in showing what can be shown.
        let mut named = Effects::new();
        match named_effects(&mut named, &request.usage, tree) {
            Err(_) if denial.is_some() && !case.in_shadow() => named.clear(),
            outcome => outcome?,
        }
        let mut effects = named.clone();
        propagate(&mut effects, tree, request.flat_usage);
        let mut reports = Reports::new();
        subject.expire(self.now());
        let held = read_reports(&mut reports, case.plan, &effects, true, &subject);
        let windows = *subject.windows();
        drop(subject);
        let show = |(slot, effect): &(MetricSlot, Effect)| {
            UsageExplained::of(tree, *slot, *effect, effect_on(&named, *slot).is_some())
        };
        explanation.usage = effects.iter().map(show).collect();
        let show = |report: &UsageReport| LimitExplained::of(report, tree, &effects, &windows);
        explanation.limits = reports.iter().map(show).collect();
        explanation.conclude(denial, &case, held, &reports, &effects);
        Ok(())
    }
}

impl Explanation {
    fn begun(now: UnixMillis, catalog_version: u64) -> Explanation {
        Explanation {
            time_ms: now.0,
            catalog_version,
            verdict: Verdict::Authorized,
            decided_by: String::new(),
            would_deny: None,
            service: None,
            application: None,
            plan: None,
            usage: Vec::new(),
            limits: Vec::new(),
        }
    }

    fn refuse(&mut self, refusal: &Refusal<'_>) {
        self.decided_by = step_of(refusal).to_owned();
        let text = without_credentials(refusal).to_string();
        self.verdict = Verdict::Refused(Reason { code: refusal.code().to_owned(), text });
    }

    /// The verdict over a call that names everything well.
    fn conclude(
        &mut self,
        denial: Option<Denial<'_>>,
        case: &Case<'_>,
        held: Held,
        reports: &Reports,
        effects: &Effects,
    ) {
        let denial = denial.or((held != Held::All).then_some(Denial::LimitsExceeded));
        let Some(denial) = denial else {
            let bound = reports.iter().any(|report| binds(report, effects));
            self.decided_by = if bound { "every limit holds" } else { "no limit has a say" }.to_owned();
            return;
        };
        self.decided_by = match denial {
            Denial::LimitsExceeded => self.exceeded(held),
            _ => check_of(&denial).to_owned(),
        };
        let reason = Reason { code: denial.code().to_owned(), text: denial_text(&denial) };
        let limits_alone = denial == Denial::LimitsExceeded && held == Held::ButInShadow;
        if case.in_shadow() || limits_alone {
            self.decided_by.insert_str(0, "in shadow: ");
            self.would_deny = Some(reason);
        } else {
            self.verdict = Verdict::Denied(reason);
        }
    }

    /// Names the first limit that does not hold; one in shadow only if no other is broken.
    fn exceeded(&self, held: Held) -> String {
        let decides = |limit: &&LimitExplained| !limit.holds && (held == Held::ButInShadow || !limit.shadow);
        self.limits.iter().find(decides).map_or_else(String::new, |it| {
            let LimitExplained { metric, period, max, count, count_after, reserved, .. } = it;
            let held = if *reserved > 0 { format!("{reserved} reserved, ") } else { String::new() };
            format!(
                "limit {metric}/{period}: {held}{count} counted, {count_after} with this call, at most {max}"
            )
        })
    }
}

impl ServiceExplained {
    fn of(service: &Service, request: &AuthRequest<'_>) -> ServiceExplained {
        let by_key = request.credentials.provider_key.is_some();
        ServiceExplained {
            id: service.id.0,
            external_id: service.external_id.clone(),
            name: service.name.clone(),
            tenant: service.tenant.0,
            state: service.state.name().to_owned(),
            backend_version: service.backend_version.name().to_owned(),
            shadow: service.shadow,
            promise: service.promise.map(|it| it.name().to_owned()),
            known_by: if by_key { "provider_key" } else { "service_token" }.to_owned(),
        }
    }
}

impl ApplicationExplained {
    fn of(application: &Application, service: &Service) -> ApplicationExplained {
        let by_user_key = service.backend_version == BackendVersion::UserKey;
        ApplicationExplained {
            id: application.id.0,
            app_id: application.app_id.to_string(),
            name: application.name.to_string(),
            state: application.state.name().to_owned(),
            shadow: application.shadow,
            known_by: if by_user_key { "user_key" } else { "app_id" }.to_owned(),
        }
    }
}

impl PlanExplained {
    fn of(plan: &Plan) -> PlanExplained {
        PlanExplained { id: plan.id.0, external_id: plan.external_id.clone(), name: plan.name.clone() }
    }
}

impl UsageExplained {
    fn of(tree: &MetricTree, slot: MetricSlot, effect: Effect, named: bool) -> UsageExplained {
        UsageExplained {
            metric: name_of(tree, slot),
            named,
            ancestors: tree.ancestors(slot).iter().map(|above| name_of(tree, *above)).collect(),
            set: matches!(effect, Effect::Set(_)),
            amount: effect.amount(),
        }
    }
}

impl LimitExplained {
    fn of(report: &UsageReport, tree: &MetricTree, effects: &Effects, windows: &Windows) -> LimitExplained {
        let limit = &report.limit;
        let effect = effect_on(effects, limit.slot);
        let window = window_secs(limit.period, windows);
        LimitExplained {
            id: limit.id.0,
            metric: name_of(tree, limit.slot),
            period: limit.period.name().to_owned(),
            window_start_s: window.map(|(start, _)| start),
            window_end_s: window.map(|(_, end)| end),
            max: limit.max,
            count: report.current,
            reserved: report.reserved,
            count_after: effect.map_or(report.current, |effect| effect.apply(report.current)),
            remaining: report.left(),
            concerned: effects.is_empty() || effect.is_some(),
            holds: holds(report, effects),
            shadow: limit.shadow,
        }
    }
}

fn name_of(tree: &MetricTree, slot: MetricSlot) -> String {
    tree.get(slot).map_or_else(String::new, |metric| metric.name.clone())
}

/// The check that a refusal comes from.
fn step_of(refusal: &Refusal<'_>) -> &'static str {
    match refusal {
        Refusal::CredentialsRequired
        | Refusal::ServiceIdMissing
        | Refusal::ServiceTokenInvalid { .. }
        | Refusal::ProviderKeyInvalid { .. }
        | Refusal::ProviderKeyInvalidOrServiceMissing { .. } => "the caller's credentials",
        Refusal::ServiceIdInvalid { .. } | Refusal::TenantSuspended => "finding the service",
        Refusal::AppIdAndUserKey | Refusal::UserKeyInvalid { .. } | Refusal::ApplicationNotFound { .. } => {
            "finding the application"
        }
        Refusal::MetricInvalid { .. } | Refusal::UsageValueInvalid { .. } => "reading the usage",
        _ => "reading the parameters",
    }
}

/// The check that a denial other than for limits comes from.
fn check_of(denial: &Denial<'_>) -> &'static str {
    match denial {
        Denial::ApplicationKeyInvalid(_) => "the application's keys",
        Denial::ReferrerNotAllowed(_) => "the application's referrer filters",
        Denial::ApplicationNotActive => "the application's state",
        Denial::ServiceNotActive => "the service's state",
        Denial::OauthNotEnabled => "the service's backend version",
        Denial::RedirectUriInvalid(_) | Denial::RedirectUrlInvalid(_) => "the application's redirect",
        Denial::LimitsExceeded => "limits",
    }
}

fn denial_text(denial: &Denial<'_>) -> String {
    match denial {
        Denial::ApplicationKeyInvalid(Some(_)) => Denial::ApplicationKeyInvalid(Some(HIDDEN)).to_string(),
        other => other.to_string(),
    }
}

fn without_credentials<'r>(refusal: &Refusal<'r>) -> Refusal<'r> {
    match refusal {
        Refusal::ServiceTokenInvalid { service_id, .. } => {
            Refusal::ServiceTokenInvalid { token: HIDDEN, service_id }
        }
        Refusal::ProviderKeyInvalid { .. } => Refusal::ProviderKeyInvalid { key: HIDDEN },
        Refusal::ProviderKeyInvalidOrServiceMissing { .. } => {
            Refusal::ProviderKeyInvalidOrServiceMissing { key: HIDDEN }
        }
        Refusal::UserKeyInvalid { key: Some(_) } => Refusal::UserKeyInvalid { key: Some(HIDDEN) },
        other => other.clone(),
    }
}
