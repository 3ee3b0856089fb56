//! How a tenant goes, when the time in which it could come back is over.
//!
//! One command that takes all away could be of a million records, for which everybody else's commands would wait. So it goes in steps, each a
//! command of its own of at most [`PART`] records; what a step does follows from what is still there, so that a node that stops in the
//! middle goes on where it was:
//!
//! 1. services are retired: whoever takes away what was under deleted services then does so, applications and plans with their counters;
//! 2. once no service is left, accounts go;
//! 3. then backend APIs, and what else the tenant has made by the dozen;
//! 4. then the tenant itself, and with it, by what the areas say follows, whatever else is known of it.
//!
//! Before its time, a tenant that comes back finds everything as it was. From the first step on it does not come back: resuming it is refused
//! once it is over, as then it is told not to be there.

use super::super::active_docs::ActiveDoc;
use super::super::audit;
use super::super::authentication_providers::AuthenticationProvider;
use super::super::backends::{self, Backend};
use super::super::owned::Owned;
use super::super::places;
use super::super::policy_registry::RegisteredPolicy;
use super::super::provider::ProviderDetails;
use super::super::services;
use super::super::{Admin, active_docs, policy_registry};
use super::standing::Standing;
use crate::engine::Ticket;
use crate::model::draft::Draft;
use crate::model::id::{AccountId, ServiceId, TenantId};
use crate::plugin::host::DeskError;
use crate::plugin::records::Records;
use crate::store::ShelfError;

use super::super::answer::Refusal;

/// The records of one kind that one step takes away.
const PART: usize = 256;

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::plugin::admin) enum Step {
    /// There may be more to do at once.
    More,
    /// Others have to do their part first.
    Waits,
    /// The tenant is gone, or is not to go.
    Done,
}

impl ProviderDetails {
    /// Whether the time in which it could come back is over.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.standing == Standing::ScheduledForDeletion && self.deletion_at.is_some_and(|at| at <= now)
    }
}

impl Admin {
    /// Takes away what is left of tenants whose time is over, as far as can be done now, or until the node stops. To be called now and then.
    ///
    /// # Errors
    /// The records cannot be read, or a command cannot be carried out: it is tried again the next time.
    pub fn sweep(&self, is_stopping: &dyn Fn() -> bool) -> Result<(), String> {
        let now = self.now().0;
        let over = {
            let view = self.desk.look().map_err(|error| error.to_string())?;
            let mut over = Vec::new();
            for (id, _) in view.catalog.tenants.iter() {
                let details =
                    ProviderDetails::of(TenantId(id), &view.records).map_err(|error| error.to_string())?;
                if details.is_over(now) {
                    over.push(TenantId(id));
                }
            }
            over
        };
        let mut failed = Ok(());
        for tenant in over {
            // One that fails keeps no other from going.
            if let Err(error) = self.pass(tenant, is_stopping) {
                failed = Err(error.to_string());
            }
        }
        failed
    }

    /// Each step is on disk before the next, so that neither the journal's memory nor others feel how many there are.
    fn pass(&self, tenant: TenantId, is_stopping: &dyn Fn() -> bool) -> Result<(), DeskError<String>> {
        while !is_stopping() {
            let (step, ticket) = self.step(tenant)?;
            if step != Step::More {
                break;
            }
            self.desk
                .engine()
                .durable_blocking(ticket)
                .map_err(|error| DeskError::Refused(error.to_string()))?;
        }
        Ok(())
    }

    fn step(&self, tenant: TenantId) -> Result<(Step, Ticket), DeskError<String>> {
        let now = self.now().0;
        self.desk.command(|draft, records| {
            let details = ProviderDetails::of(tenant, records).map_err(|error| error.to_string())?;
            if !details.is_over(now) {
                return Ok(Step::Done);
            }
            part(draft, records, tenant).map_err(|refusal| format!("tenant {tenant}: {refusal:?}"))
        })
    }
}

/// One step.
fn part(draft: &mut Draft<'_>, records: &mut Records<'_>, tenant: TenantId) -> Result<Step, Refusal> {
    let services: Vec<_> = services::of_tenant(draft.catalog(), tenant).map(|it| it.id).take(PART).collect();
    if !services.is_empty() {
        services.into_iter().try_for_each(|id: ServiceId| draft.retire_service(id))?;
        return Ok(Step::More);
    }
    if !draft.catalog().services_of(tenant).is_empty() {
        return Ok(Step::Waits);
    }
    let accounts: Vec<_> = draft.catalog().accounts_of(tenant).iter().take(PART).collect();
    if !accounts.is_empty() {
        accounts.into_iter().try_for_each(|id| draft.delete_account(AccountId(id)))?;
        return Ok(Step::More);
    }
    if take_away_made(records, tenant)? || audit::forget_part(records, tenant, PART)? {
        return Ok(Step::More);
    }
    if let Some(subdomain) = ProviderDetails::of(tenant, records)?.subdomain {
        places::release(records, tenant, &subdomain)?;
    }
    draft.delete_tenant(tenant)?;
    Ok(Step::Done)
}

/// Takes away some of what the tenant has made, of one kind; whether there was any.
fn take_away_made(records: &mut Records<'_>, tenant: TenantId) -> Result<bool, ShelfError> {
    let is_done = take_away_some(records, tenant, 16, |id, it: &Backend, records| backends::remove(id, it, records))?
        // Their texts are long.
        || take_away_some(records, tenant, 8, |id, it: &ActiveDoc, records| active_docs::take_away(id, it, records))?
        || take_away_some(records, tenant, PART, |id, it: &RegisteredPolicy, records| {
            policy_registry::take_away(id, it, records)
        })?
        || take_away_some(records, tenant, PART, |id, it: &AuthenticationProvider, records| {
            it.delete(id, records);
            Ok(())
        })?;
    Ok(is_done)
}

fn take_away_some<T: Owned>(
    records: &mut Records<'_>,
    tenant: TenantId,
    count: usize,
    take_away: impl Fn(u64, &T, &mut Records<'_>) -> Result<(), ShelfError>,
) -> Result<bool, ShelfError> {
    let ids: Vec<_> = T::ids_of(tenant.0, records)?.into_iter().take(count).collect();
    for id in &ids {
        if let Some(record) = records.find::<T>(*id)? {
            take_away(*id, &record, records)?;
        }
    }
    Ok(!ids.is_empty())
}
