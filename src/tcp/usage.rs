//! Whom a call means, and what it uses, as the engine wants to know it.

use smallvec::SmallVec;

use super::greeting::service_by_text;
use super::refused::Refused;
use super::session::Turn;
use crate::engine::request::{AuthRequest, Call as Asked, Credentials, Redirect, Usage};
use crate::engine::{BoundRequest, Handle, Scope};
use crate::model::amount::{COUNT_MAX, Effect};
use crate::model::catalog::Catalog;
use crate::model::decision::Refusal;
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};
use crate::wire::Call;

/// Usage by metric number.
pub(super) type Slots = SmallVec<[(MetricSlot, Effect); 8]>;
/// Usage by name.
pub(super) type Names<'a> = SmallVec<[(&'a str, Effect); 8]>;

/// Amounts beyond what a counter holds count as that.
fn bounded(effect: Effect) -> Effect {
    match effect {
        Effect::Add(amount) => Effect::Add(amount.min(COUNT_MAX)),
        Effect::Set(amount) => Effect::Set(amount.min(COUNT_MAX)),
    }
}

/// The service that a call by fields is for.
pub(super) fn service(turn: &Turn<'_>, call: &Call<'_>) -> Result<ServiceId, Refused> {
    let find = |text| service_by_text(&turn.server.engine, turn.moment.catalog(), text);
    let named = call.service.map(|text| find(text).map(|it| it.id).ok_or(Refused::SERVICE_INVALID));
    match (turn.scope, named.transpose()?) {
        (Scope::Service(id), None) => Ok(id),
        (Scope::Service(id), Some(named)) if named == id => Ok(id),
        (Scope::Node, Some(named)) => Ok(named),
        (Scope::Node, None) => Err(Refused::SERVICE_MISSING),
        _ => Err(Refused::SERVICE_INVALID),
    }
}

/// The application that a call means, with its service; neither keys, referrer nor states are looked at.
pub(super) fn application(
    turn: &mut Turn<'_>,
    call: &Call<'_>,
) -> Result<(ApplicationId, ServiceId), Refused> {
    if let Some(handle) = call.handle {
        return bound_to(turn, handle);
    }
    let request = asked(Asked::Check, service(turn, call)?, call, &[]);
    Ok(turn.moment.authorize(&request, |answer| (answer.application, answer.service.id))?)
}

fn bound_to(turn: &mut Turn<'_>, handle: u64) -> Result<(ApplicationId, ServiceId), Refused> {
    let request = BoundRequest {
        call: Asked::Check,
        usage: &[],
        flat_usage: false,
        log_code: None,
        referrer: None,
        all_reports: false,
    };
    let (scope, handle) = (turn.scope, Handle(handle));
    Ok(turn.moment.bound(handle, scope, &request, |answer| (answer.application, answer.service.id))?)
}

/// A call by fields.
pub(super) fn asked<'r>(
    what: Asked,
    service: ServiceId,
    call: &'r Call<'_>,
    usage: &'r [(&'r str, Effect)],
) -> AuthRequest<'r> {
    AuthRequest {
        call: what,
        oauth: false,
        credentials: Credentials { service: Some(service), ..Credentials::default() },
        app_id: call.app_id,
        user_key: call.user_key,
        app_key: call.app_key,
        referrer: call.referrer,
        redirect: call.redirect_uri.map(Redirect::Uri).or_else(|| call.redirect_url.map(Redirect::Url)),
        usage: Usage::Amounts(usage),
        log_code: call.log_code,
        flat_usage: false,
        no_body: true,
    }
}

/// The usage of a call by handle: its rows, then what it names.
pub(super) fn by_slot(turn: &mut Turn<'_>, handle: u64, call: &Call<'_>) -> Result<Slots, Refused> {
    let mut slots = Slots::new();
    put_slots(turn, handle, call, &mut slots)?;
    Ok(slots)
}

/// As [`by_slot`], where the slots are to be.
pub(super) fn put_slots(
    turn: &mut Turn<'_>,
    handle: u64,
    call: &Call<'_>,
    slots: &mut Slots,
) -> Result<(), Refused> {
    slots.extend(call.rows.iter().map(|(slot, effect)| (slot, bounded(effect))));
    if !call.usage.is_empty() {
        let (_, service) = bound_to(turn, handle)?;
        let service = turn.moment.catalog().services.get(service.0).ok_or(Refused::STALE)?;
        for (name, effect) in &call.usage {
            let metric = service.metrics.find(name).ok_or(Refusal::MetricInvalid { name })?;
            slots.push((metric.slot, bounded(*effect)));
        }
    }
    Ok(())
}

/// The usage of a call by fields: its rows under the names that `catalog` has for them, then what it names. Without rows
/// no catalog is needed.
pub(super) fn by_name<'a>(
    catalog: Option<&'a Catalog>,
    service: ServiceId,
    call: &'a Call<'_>,
) -> Result<Names<'a>, Refused> {
    let mut usage = Names::new();
    if let Some(catalog) = catalog {
        let service = catalog.services.get(service.0).ok_or(Refused::SERVICE_INVALID)?;
        for (slot, effect) in call.rows.iter() {
            let metric = service.metrics.get(slot).ok_or(Refusal::SlotInvalid { slot })?;
            usage.push((metric.name.as_str(), bounded(effect)));
        }
    }
    usage.extend(call.usage.iter().map(|(name, effect)| (*name, bounded(*effect))));
    Ok(usage)
}
