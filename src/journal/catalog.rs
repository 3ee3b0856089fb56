//! Catalog changes as bytes: the core part of a command entry, and the records of a checkpoint's catalog.
//!
//! Each change is a protobuf message, so that fields can be added: an absent field has its default, and an older
//! node skips what it does not know. Field numbers are given below and never used again. A list of changes is a
//! run of messages, each after its length as a varint.
//!
//! ```text
//! Change       1 tenant, 2 account, 3 service, 4 plan, 5 application (put; at most one)
//!              11 .. 15 the id to delete, of the same kinds
//!              16 ids below this are given out
//!              20 next id: what the node's id sequence has reached at least
//! Tenant       1 id, 2 name, 3 provider keys, 4 default service (0: none), 5 whether it is suspended
//! Account      1 id, 2 tenant, 3 name
//! Service      1 id, 2 tenant, 3 external id, 4 name, 5 state (0 active, 1 suspended, 2 retired),
//!              6 backend version (1 user key, 2 app id, 3 oauth), 7 referrer filters required, 8 tokens,
//!              9 metrics, 10 slots given out, 11 alert limits (percent), 12 stats erasure (0: none),
//!              20 shadow, 21 RateLimit headers, 22 promise (0: none, 1 durable, 2 interval)
//! Metric       1 id, 2 slot, 3 name, 4 slot of the parent plus one (0: none), 5 external id
//! Plan         1 id, 2 service, 3 external id, 4 name, 5 limits
//! Limit        1 id, 2 metric, 3 slot, 4 period (0 eternity .. 6 minute), 5 max, 10 shadow
//! Application  1 id, 2 service, 3 account (0: none), 4 app id, 5 name, 6 plan, 7 state, 8 app keys,
//!              9 user keys, 10 referrer filters, 11 redirect url, 20 shadow
//! ```

mod decoder;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;

use prost::Message;

use crate::model::catalog::Change;
use crate::model::id::{
    AccountId, ApplicationId, LimitId, MetricId, MetricSlot, PlanId, ServiceId, Subject, TenantId,
};
use crate::model::metric::{Metric, MetricTree, TreeError};
use crate::model::promise::Promise;
use crate::model::record::{
    Account, Application, ApplicationState, BackendVersion, Limit, Plan, Secret, Service, ServiceState,
    Tenant, TenantState,
};
use crate::model::time::Period;

/// Why bytes are not catalog changes.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Not a message of this kind.
    #[error("a catalog change cannot be decoded: {0}")]
    Message(#[from] prost::DecodeError),
    /// A number that this version does not know.
    #[error("a catalog change has an unknown {what}: {number}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// What it says.
        number: u32,
    },
    /// A service's metrics are no tree.
    #[error("a service's metrics cannot be read: {0}")]
    Metrics(#[from] TreeError),
    /// The message has nothing that is known.
    #[error("a catalog change says nothing that this version knows: it was written by a newer one")]
    Empty,
}

/// Appends `changes`, and where the id sequence stands after them, to `out`.
pub fn encode(changes: &[Change], next_id: u64, out: &mut Vec<u8>) {
    for change in changes {
        let mut record = record_of(change);
        record.next_id = next_id;
        // Only a full buffer can fail, and a vector grows.
        let _ = record.encode_length_delimited(out);
    }
}

/// Reads a run of changes; calls `visit` with each and what it says of the id sequence.
///
/// # Errors
/// The first message that cannot be read; those before it were visited.
pub fn decode(mut bytes: &[u8], mut visit: impl FnMut(Change, u64)) -> Result<(), CatalogError> {
    while !bytes.is_empty() {
        let record = ChangeRecord::decode_length_delimited(&mut bytes)?;
        let next_id = record.next_id;
        visit(change_of(record)?, next_id);
    }
    Ok(())
}

#[derive(Clone, PartialEq, Message)]
struct ChangeRecord {
    #[prost(message, optional, tag = "1")]
    tenant: Option<TenantRecord>,
    #[prost(message, optional, tag = "2")]
    account: Option<AccountRecord>,
    #[prost(message, optional, tag = "3")]
    service: Option<ServiceRecord>,
    #[prost(message, optional, tag = "4")]
    plan: Option<PlanRecord>,
    #[prost(message, optional, tag = "5")]
    application: Option<ApplicationRecord>,
    #[prost(uint64, optional, tag = "11")]
    delete_tenant: Option<u64>,
    #[prost(uint64, optional, tag = "12")]
    delete_account: Option<u64>,
    #[prost(uint64, optional, tag = "13")]
    delete_service: Option<u64>,
    #[prost(uint64, optional, tag = "14")]
    delete_plan: Option<u64>,
    #[prost(uint64, optional, tag = "15")]
    delete_application: Option<u64>,
    #[prost(uint64, optional, tag = "16")]
    raise_ids: Option<u64>,
    #[prost(uint64, tag = "20")]
    next_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct TenantRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    provider_keys: Vec<String>,
    #[prost(uint64, tag = "4")]
    default_service: u64,
    #[prost(bool, tag = "5")]
    suspended: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AccountRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    tenant: u64,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    tenant: u64,
    #[prost(string, optional, tag = "3")]
    external_id: Option<String>,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(uint32, tag = "5")]
    state: u32,
    #[prost(uint32, tag = "6")]
    backend_version: u32,
    #[prost(bool, tag = "7")]
    referrer_filters_required: bool,
    #[prost(string, repeated, tag = "8")]
    tokens: Vec<String>,
    #[prost(message, repeated, tag = "9")]
    metrics: Vec<MetricRecord>,
    #[prost(uint32, tag = "10")]
    slots: u32,
    #[prost(uint32, repeated, tag = "11")]
    alert_limits: Vec<u32>,
    #[prost(uint64, tag = "12")]
    stats_erasure: u64,
    #[prost(bool, tag = "20")]
    shadow: bool,
    #[prost(bool, tag = "21")]
    ratelimit_headers: bool,
    #[prost(uint32, tag = "22")]
    promise: u32,
}

#[derive(Clone, PartialEq, Message)]
struct MetricRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint32, tag = "2")]
    slot: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, tag = "4")]
    parent: u32,
    #[prost(string, optional, tag = "5")]
    external_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct PlanRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    service: u64,
    #[prost(string, optional, tag = "3")]
    external_id: Option<String>,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    limits: Vec<LimitRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct LimitRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    metric: u64,
    #[prost(uint32, tag = "3")]
    slot: u32,
    #[prost(uint32, tag = "4")]
    period: u32,
    #[prost(uint64, tag = "5")]
    max: u64,
    #[prost(bool, tag = "10")]
    shadow: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ApplicationRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    service: u64,
    #[prost(uint64, tag = "3")]
    account: u64,
    #[prost(string, tag = "4")]
    app_id: String,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(uint64, tag = "6")]
    plan: u64,
    #[prost(string, tag = "7")]
    state: String,
    #[prost(string, repeated, tag = "8")]
    app_keys: Vec<String>,
    #[prost(string, repeated, tag = "9")]
    user_keys: Vec<String>,
    #[prost(string, repeated, tag = "10")]
    referrer_filters: Vec<String>,
    #[prost(string, optional, tag = "11")]
    redirect_url: Option<String>,
    #[prost(bool, tag = "20")]
    shadow: bool,
}

fn record_of(change: &Change) -> ChangeRecord {
    let mut record = ChangeRecord::default();
    match change {
        Change::PutTenant(tenant) => {
            record.tenant = Some(TenantRecord {
                id: tenant.id.0,
                name: tenant.name.clone(),
                provider_keys: exposed(&tenant.provider_keys),
                default_service: tenant.default_service.map_or(0, |id| id.0),
                suspended: tenant.state == TenantState::Suspended,
            });
        }
        Change::PutAccount(Account { id, tenant, name }) => {
            record.account = Some(AccountRecord { id: id.0, tenant: tenant.0, name: name.clone() });
        }
        Change::PutService(service) => record.service = Some(service_record(service)),
        Change::PutPlan(plan) => record.plan = Some(plan_record(plan)),
        Change::PutApplication(application) => record.application = Some(application_record(application)),
        Change::DeleteTenant(id) => record.delete_tenant = Some(id.0),
        Change::DeleteAccount(id) => record.delete_account = Some(id.0),
        Change::DeleteService(id) => record.delete_service = Some(id.0),
        Change::DeletePlan(id) => record.delete_plan = Some(id.0),
        Change::DeleteApplication(id) => record.delete_application = Some(id.0),
        Change::RaiseIds(next_id) => record.raise_ids = Some(*next_id),
    }
    record
}

fn service_record(service: &Service) -> ServiceRecord {
    let metrics = service.metrics.iter().map(|metric| MetricRecord {
        id: metric.id.0,
        slot: metric.slot.0,
        name: metric.name.clone(),
        parent: metric.parent.map_or(0, |slot| slot.0 + 1),
        external_id: metric.external_id.clone(),
    });
    ServiceRecord {
        id: service.id.0,
        tenant: service.tenant.0,
        external_id: service.external_id.clone(),
        name: service.name.clone(),
        state: match service.state {
            ServiceState::Active => 0,
            ServiceState::Suspended => 1,
            ServiceState::Retired => 2,
        },
        backend_version: match service.backend_version {
            BackendVersion::UserKey => 1,
            BackendVersion::AppId => 2,
            BackendVersion::Oauth => 3,
        },
        referrer_filters_required: service.referrer_filters_required,
        tokens: exposed(&service.tokens),
        metrics: metrics.collect(),
        slots: service.metrics.slots(),
        alert_limits: service.alert_limits.iter().copied().map(u32::from).collect(),
        stats_erasure: service.stats_erasure.unwrap_or(0),
        shadow: service.shadow,
        ratelimit_headers: service.ratelimit_headers,
        promise: match service.promise {
            None => 0,
            Some(Promise::Durable) => 1,
            Some(Promise::Interval) => 2,
        },
    }
}

fn plan_record(plan: &Plan) -> PlanRecord {
    let limits = plan.limits.iter().map(|limit| LimitRecord {
        id: limit.id.0,
        metric: limit.metric.0,
        slot: limit.slot.0,
        period: limit.period as u32,
        max: limit.max,
        shadow: limit.shadow,
    });
    PlanRecord {
        id: plan.id.0,
        service: plan.service.0,
        external_id: plan.external_id.clone(),
        name: plan.name.clone(),
        limits: limits.collect(),
    }
}

fn application_record(application: &Application) -> ApplicationRecord {
    ApplicationRecord {
        id: application.id.0,
        service: application.service.0,
        account: application.account.map_or(0, |id| id.0),
        app_id: application.app_id.to_string(),
        name: application.name.to_string(),
        plan: application.plan.0,
        state: application.state.name().to_owned(),
        app_keys: exposed(&application.app_keys),
        user_keys: exposed(&application.user_keys),
        referrer_filters: application.referrer_filters.to_vec(),
        redirect_url: application.redirect_url.as_deref().map(str::to_owned),
        shadow: application.shadow,
    }
}

fn change_of(record: ChangeRecord) -> Result<Change, CatalogError> {
    Ok(match record {
        ChangeRecord { tenant: Some(it), .. } => Change::PutTenant(Tenant {
            id: TenantId(it.id),
            name: it.name,
            provider_keys: secrets(it.provider_keys),
            default_service: (it.default_service != 0).then_some(ServiceId(it.default_service)),
            state: if it.suspended { TenantState::Suspended } else { TenantState::Active },
        }),
        ChangeRecord { account: Some(it), .. } => {
            Change::PutAccount(Account { id: AccountId(it.id), tenant: TenantId(it.tenant), name: it.name })
        }
        ChangeRecord { service: Some(it), .. } => Change::PutService(service_of(it)?),
        ChangeRecord { plan: Some(it), .. } => Change::PutPlan(plan_of(it)?),
        ChangeRecord { application: Some(it), .. } => Change::PutApplication(application_of(it)),
        ChangeRecord { delete_tenant: Some(id), .. } => Change::DeleteTenant(TenantId(id)),
        ChangeRecord { delete_account: Some(id), .. } => Change::DeleteAccount(AccountId(id)),
        ChangeRecord { delete_service: Some(id), .. } => Change::DeleteService(ServiceId(id)),
        ChangeRecord { delete_plan: Some(id), .. } => Change::DeletePlan(PlanId(id)),
        ChangeRecord { delete_application: Some(id), .. } => Change::DeleteApplication(ApplicationId(id)),
        ChangeRecord { raise_ids: Some(next_id), .. } => Change::RaiseIds(next_id),
        _ => return Err(CatalogError::Empty),
    })
}

fn service_of(record: ServiceRecord) -> Result<Service, CatalogError> {
    let metrics = record.metrics.into_iter().map(|it| Metric {
        id: MetricId(it.id),
        external_id: it.external_id,
        slot: MetricSlot(it.slot),
        name: it.name,
        parent: it.parent.checked_sub(1).map(MetricSlot),
    });
    let alert_limit = |number: u32| {
        u16::try_from(number).map_err(|_| CatalogError::Unknown { what: "alert limit", number })
    };
    Ok(Service {
        id: ServiceId(record.id),
        tenant: TenantId(record.tenant),
        external_id: record.external_id,
        name: record.name,
        state: match record.state {
            0 => ServiceState::Active,
            1 => ServiceState::Suspended,
            2 => ServiceState::Retired,
            number => return Err(CatalogError::Unknown { what: "service state", number }),
        },
        backend_version: match record.backend_version {
            1 => BackendVersion::UserKey,
            2 => BackendVersion::AppId,
            3 => BackendVersion::Oauth,
            number => return Err(CatalogError::Unknown { what: "backend version", number }),
        },
        referrer_filters_required: record.referrer_filters_required,
        tokens: secrets(record.tokens),
        metrics: MetricTree::from_metrics(record.slots, metrics.collect())?,
        alert_limits: record.alert_limits.into_iter().map(alert_limit).collect::<Result<_, _>>()?,
        stats_erasure: (record.stats_erasure != 0).then_some(record.stats_erasure),
        shadow: record.shadow,
        ratelimit_headers: record.ratelimit_headers,
        promise: match record.promise {
            0 => None,
            1 => Some(Promise::Durable),
            2 => Some(Promise::Interval),
            number => return Err(CatalogError::Unknown { what: "promise", number }),
        },
        edition: 0,
    })
}

fn plan_of(record: PlanRecord) -> Result<Plan, CatalogError> {
    let limit = |it: LimitRecord| {
        let unknown = CatalogError::Unknown { what: "period", number: it.period };
        let period = u8::try_from(it.period).ok().and_then(Period::from_number).ok_or(unknown)?;
        let (id, metric) = (LimitId(it.id), MetricId(it.metric));
        let slot = MetricSlot(it.slot);
        Ok::<_, CatalogError>(Limit { id, metric, slot, period, max: it.max, shadow: it.shadow })
    };
    Ok(Plan {
        id: PlanId(record.id),
        service: ServiceId(record.service),
        external_id: record.external_id,
        name: record.name,
        limits: record.limits.into_iter().map(limit).collect::<Result<_, _>>()?,
    })
}

fn application_of(record: ApplicationRecord) -> Application {
    Application {
        id: ApplicationId(record.id),
        service: ServiceId(record.service),
        account: (record.account != 0).then_some(AccountId(record.account)),
        app_id: record.app_id.into(),
        name: record.name.into(),
        plan: PlanId(record.plan),
        state: ApplicationState::parse(&record.state),
        app_keys: secrets(record.app_keys).into(),
        user_keys: secrets(record.user_keys).into(),
        referrer_filters: record.referrer_filters.into(),
        redirect_url: record.redirect_url.map(Into::into),
        shadow: record.shadow,
        subject: Subject::NONE,
    }
}

fn exposed(secrets: &[Secret]) -> Vec<String> {
    secrets.iter().map(|secret| secret.expose().to_owned()).collect()
}

fn secrets(texts: Vec<String>) -> Vec<Secret> {
    texts.into_iter().map(Secret::from).collect()
}
