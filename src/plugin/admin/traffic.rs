//! When applications were called, as others know it: what is counted is not the admin API's to keep.
//!
//! An application shows the earlier of the first times, and the later of the last days' times, that it was given here (for what another system
//! counted) and that the node counted itself.
//!
//! Whoever reads waits until everything that was counted before is known, unless it can make no difference: of one that was called today nothing
//! newer can be told. Lists by time wait always, and are refused (503) if that takes too long; where the times are but shown with an application, those
//! that are known are shown then.

use std::cell::OnceCell;

use super::answer::Refusal;
use super::applications::ApplicationDetails;
use super::context::Context;
use crate::model::id::{ApplicationId, TenantId};
use crate::plugin::alerts::{Alerts, Called, Calls};
use crate::plugin::follower::Behind;
use crate::store::ShelfError;

/// Knows when applications were called.
pub trait Traffic: Send + Sync {
    /// Waits until it knows of everything that was counted before this call.
    ///
    /// # Errors
    /// It takes too long, or is put off.
    fn catch_up(&self) -> Result<(), Behind>;

    /// When applications were called, as far as it knows by now.
    ///
    /// # Errors
    /// Its shelf cannot be read.
    fn calls(&self) -> Result<Calls<'_>, ShelfError>;

    /// The applications of a tenant whose last day of traffic began at a time or later, in seconds since 1970 UTC, as far as it knows.
    ///
    /// # Errors
    /// Its shelf cannot be read.
    fn called_since(&self, tenant: TenantId, since_s: u64) -> Result<Vec<u64>, ShelfError>;
}

impl Traffic for Alerts {
    fn catch_up(&self) -> Result<(), Behind> {
        self.following().catch_up()
    }

    fn calls(&self) -> Result<Calls<'_>, ShelfError> {
        self.calls()
    }

    fn called_since(&self, tenant: TenantId, since_s: u64) -> Result<Vec<u64>, ShelfError> {
        self.called_since(tenant, since_s)
    }
}

/// Tells of one application after the other.
pub(super) trait Tells {
    /// When an application was called, as far as that is known.
    ///
    /// # Errors
    /// It cannot be read.
    fn called(&self, application: ApplicationId) -> Result<Option<Called>, ShelfError>;
}

/// What is known while a call is answered: from the first question on as one moment has it.
pub(super) struct Known<'c> {
    traffic: &'c dyn Traffic,
    calls: OnceCell<Calls<'c>>,
}

impl<'c> Known<'c> {
    pub(super) fn by(traffic: &'c dyn Traffic) -> Known<'c> {
        Known { traffic, calls: OnceCell::new() }
    }
}

impl Tells for Known<'_> {
    fn called(&self, application: ApplicationId) -> Result<Option<Called>, ShelfError> {
        if self.calls.get().is_none() {
            // Nobody else is asking.
            let _ = self.calls.set(self.traffic.calls()?);
        }
        self.calls.get().map_or(Ok(None), |calls| calls.of(application))
    }
}

const DAY_MS: u64 = 86_400_000;

/// Waits until what is shown of applications has what was counted before, if that can be.
///
/// # Errors
/// What is known cannot be read.
pub(super) fn wait_for(context: &Context<'_>, ids: impl IntoIterator<Item = u64>) -> Result<(), Refusal> {
    let Some(known) = &context.traffic else { return Ok(()) };
    let today = context.now.0 / DAY_MS;
    let calls = known.traffic.calls()?;
    for id in ids {
        if calls.of(ApplicationId(id))?.is_none_or(|called| u64::from(called.day) < today) {
            if let Err(behind) = known.traffic.catch_up() {
                tracing::debug!(%behind, "applications are shown with older times of traffic");
            }
            return Ok(());
        }
    }
    Ok(())
}

/// The applications of the caller's tenant that the node counted calls of since a time, in milliseconds since 1970 UTC.
///
/// # Errors
/// That is not known at present.
pub(super) fn since(context: &Context<'_>, since: u64) -> Result<Vec<u64>, Refusal> {
    let Some(Known { traffic, .. }) = &context.traffic else { return Ok(Vec::new()) };
    traffic.catch_up().map_err(|behind| Refusal::Unavailable(behind.to_string()))?;
    Ok(traffic.called_since(context.caller.tenant, since.div_ceil(1000))?)
}

/// When an application was called first, and first on its last day, in milliseconds since 1970 UTC.
///
/// # Errors
/// What is known cannot be read.
pub(super) fn times(
    traffic: Option<&dyn Tells>,
    application: ApplicationId,
    details: &ApplicationDetails,
) -> Result<[Option<u64>; 2], ShelfError> {
    let called = traffic.map(|traffic| traffic.called(application)).transpose()?.flatten();
    let counted_first = called.and_then(|it| it.first_at_s).map(|at| at * 1000);
    let first = [details.first_traffic_at, counted_first].into_iter().flatten().min();
    let counted = called.map(|it| it.at_s * 1000);
    Ok([first, details.first_daily_traffic_at.max(counted)])
}
