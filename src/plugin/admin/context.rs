//! What an area has at hand while it answers: the call, the caller, records as they are, and the means to change them.

use std::sync::Arc;

use super::answer::{Format, Outcome, Page, Refusal, Reply};
use super::audit;
use super::auth::Caller;
use super::document::batch::{self, Within};
use super::gateway_ports::GatewayPorts;
use super::master::plans::hold_to_quotas;
use super::request::{Fields, Request};
use super::routes::Route;
use super::traffic::{Known, Tells};
use super::webhooks::{self, Bell, Told};
use crate::engine::Ticket;
use crate::journal::rows::Rows;
use crate::model::catalog::Catalog;
use crate::model::draft::Draft;
use crate::model::id::TenantId;
use crate::model::record::{Account, Application, Plan, Service, ServiceState};
use crate::model::time::UnixMillis;
use crate::plugin::analytics::Analytics;
use crate::plugin::host::{Desk, DeskError, View};
use crate::plugin::records::Records;

/// One call being answered.
pub(super) struct Context<'c> {
    pub(super) desk: &'c Desk,
    pub(super) request: &'c Request<'c>,
    pub(super) caller: &'c Caller,
    pub(super) route: &'static Route,
    /// The texts in place of the braces of the route's path.
    pub(super) ids: Vec<&'c str>,
    /// What the answer is written in.
    pub(super) format: Format,
    pub(super) now: UnixMillis,
    /// Where gateways call this node, if that is known.
    pub(super) backend_endpoint: Option<&'c str>,
    /// Under which tenants have names.
    pub(super) domain: Option<&'c str>,
    /// Wakes whoever tells tenants of changes.
    pub(super) bell: &'c Bell,
    /// Where the test gateway stands, if there may be one.
    pub(super) gateway: Option<&'c GatewayPorts>,
    /// Knows when applications were called, if anybody does.
    pub(super) traffic: Option<Known<'c>>,
    /// Knows what was used.
    pub(super) analytics: Option<&'c Analytics>,
    /// The command that the call is part of, if it is not one by itself.
    pub(super) within: Option<&'c dyn Within>,
}

/// Catalog and records, of one moment or as a command has them so far, seen by a caller.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) records: &'a Records<'a>,
    pub(super) caller: &'a Caller,
    /// What the answer is written in: what takes looking up need not be there in the other.
    pub(super) format: Format,
    pub(super) gateway: Option<&'a GatewayPorts>,
    pub(super) traffic: Option<&'a dyn Tells>,
}

/// A command being built.
pub(super) struct Edit<'e, 'd, 's> {
    pub(super) draft: &'e mut Draft<'d>,
    pub(super) records: &'e mut Records<'s>,
    pub(super) caller: &'e Caller,
    pub(super) format: Format,
    pub(super) gateway: Option<&'e GatewayPorts>,
    /// In milliseconds since 1970 UTC.
    pub(super) now: u64,
    pub(super) traffic: Option<&'e dyn Tells>,
}

/// One moment, for reading.
pub(super) struct Moment<'c> {
    view: View<'c>,
    caller: &'c Caller,
    format: Format,
    gateway: Option<&'c GatewayPorts>,
    traffic: Option<&'c dyn Tells>,
}

impl Moment<'_> {
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            catalog: &self.view.catalog,
            records: &self.view.records,
            caller: self.caller,
            format: self.format,
            gateway: self.gateway,
            traffic: self.traffic,
        }
    }
}

impl Edit<'_, '_, '_> {
    /// What was drafted so far.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            catalog: self.draft.catalog(),
            records: self.records,
            caller: self.caller,
            format: self.format,
            gateway: self.gateway,
            traffic: self.traffic,
        }
    }

    /// The tenant for whom it is.
    pub(super) fn tenant(&self) -> TenantId {
        self.caller.tenant
    }
}

impl<'c> Context<'c> {
    /// The id in place of a brace, counted from 0.
    ///
    /// # Errors
    /// What is there is no id, so there is no such record.
    pub(super) fn id(&self, at: usize) -> Result<u64, Refusal> {
        self.ids.get(at).and_then(|text| text.parse().ok()).ok_or(Refusal::NotFound)
    }

    /// The text in place of a brace.
    pub(super) fn text(&self, at: usize) -> &'c str {
        self.ids.get(at).copied().unwrap_or_default()
    }

    /// The account that the path is about; none, if it is about what is the tenant's own.
    ///
    /// # Errors
    /// There is no such account.
    pub(super) fn account(&self, seen: Seen<'_>) -> Result<Option<u64>, Refusal> {
        match self.route.path.starts_with("accounts/") {
            true => Ok(Some(seen.account(self.id(0)?)?.id.0)),
            false => Ok(None),
        }
    }

    /// See [`Request::fields`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn fields(&self, wrapper: &str) -> Result<Fields, Refusal> {
        self.request.fields(wrapper)
    }

    /// Where gateways call this node for decisions: as the operator says, or else where this call came.
    pub(super) fn gateway_endpoint(&self) -> String {
        let call = self.request.call;
        let host = call.host.as_deref().unwrap_or("localhost");
        self.backend_endpoint.map_or_else(|| format!("{}://{host}", call.scheme), str::to_owned)
    }

    fn tells(&self) -> Option<&dyn Tells> {
        self.traffic.as_ref().map(|known| known as &dyn Tells)
    }

    /// See [`Request::page`].
    pub(super) fn page(&self, total: usize) -> Page {
        self.request.page(total)
    }

    /// See [`Request::page_if_asked`].
    pub(super) fn page_if_asked(&self, total: usize) -> Page {
        self.request.page_if_asked(total)
    }

    /// Catalog and records as they are now.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn look(&self) -> Result<Moment<'_>, Refusal> {
        // It would be shown what was before the command that it is part of: whoever calls so is a defect.
        debug_assert!(self.within.is_none(), "{} looks within a command", self.route.path);
        if self.within.is_some() {
            return Err(Refusal::Failed);
        }
        let Context { caller, format, gateway, .. } = *self;
        Ok(Moment { view: self.desk.look()?, caller, format, gateway, traffic: self.tells() })
    }

    /// Carries out one command; a refusal changes nothing. What it did is written into the audit log with it. The answer waits until it is on disk.
    ///
    /// # Errors
    /// What `build` says, or why the command cannot be carried out.
    pub(super) fn change(&self, build: impl FnOnce(&mut Edit<'_, '_, '_>) -> Outcome) -> Outcome {
        if let Some(within) = self.within {
            return batch::part(within, build);
        }
        let built = self.desk.command(|draft, records| self.part(draft, records, build));
        self.replied(built)
    }

    /// As [`Context::change`], for what takes long to build: others go on meanwhile, and it may be built more than once.
    ///
    /// # Errors
    /// As there.
    pub(super) fn change_ahead(&self, mut build: impl FnMut(&mut Edit<'_, '_, '_>) -> Outcome) -> Outcome {
        if let Some(within) = self.within {
            return batch::part(within, build);
        }
        let built = self.desk.command_ahead(|draft, records| self.part(draft, records, &mut build));
        self.replied(built)
    }

    /// Carries out one command that tells another plugin something, and changes nothing here. `build` says its rows, and what the audit log says of it.
    ///
    /// # Errors
    /// As of [`Context::change`]; within a command it cannot be.
    pub(super) fn change_beside(
        &self,
        plugin: &'static str,
        build: impl FnOnce(&mut Edit<'_, '_, '_>, &mut Rows) -> Result<(Reply, audit::Object), Refusal>,
    ) -> Outcome {
        debug_assert!(self.within.is_none(), "{} is no part of a command", self.route.path);
        if self.within.is_some() {
            return Err(Refusal::Failed);
        }
        let built = self.desk.command_beside(plugin, |draft, records, beside| {
            let (Context { caller, format, gateway, now, .. }, traffic) = (self, self.tells());
            let mut edit =
                Edit { draft, records, caller, format: *format, gateway: *gateway, now: now.0, traffic };
            let (reply, object) = build(&mut edit, beside)?;
            audit::write_one(self, object, records)?;
            Ok(reply)
        });
        let (reply, ticket) = built.map_err(Refusal::from)?;
        Ok(reply.once(ticket))
    }

    /// Builds a command, with what goes with all of them.
    fn part(
        &self,
        draft: &mut Draft<'_>,
        records: &mut Records<'_>,
        build: impl FnOnce(&mut Edit<'_, '_, '_>) -> Outcome,
    ) -> Result<(Reply, Told), Refusal> {
        let before = draft.catalog().clone();
        let (Context { caller, format, gateway, now, .. }, traffic) = (self, self.tells());
        let mut edit =
            Edit { draft, records, caller, format: *format, gateway: *gateway, now: now.0, traffic };
        let reply = build(&mut edit)?;
        hold_to_quotas(&before, &edit)?;
        audit::write(self, &before, edit.draft, edit.records)?;
        Ok((reply, webhooks::tell(&mut edit, &before)?))
    }

    fn replied(&self, built: Result<((Reply, Told), Ticket), DeskError<Refusal>>) -> Outcome {
        let ((reply, told), ticket) = built.map_err(Refusal::from)?;
        webhooks::told(told, self.bell);
        Ok(reply.once(ticket))
    }
}

impl<'a> Seen<'a> {
    /// A service of the tenant that the caller may see.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn service(self, id: u64) -> Result<&'a Arc<Service>, Refusal> {
        let service = self.catalog.services.get(id).filter(|it| it.tenant == self.caller.tenant);
        let service = service.filter(|it| it.state != ServiceState::Retired && self.caller.may_see(it.id));
        service.ok_or(Refusal::NotFound)
    }

    /// An account of the tenant.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn account(self, id: u64) -> Result<&'a Arc<Account>, Refusal> {
        let account = self.catalog.accounts.get(id).filter(|it| it.tenant == self.caller.tenant);
        account.ok_or(Refusal::NotFound)
    }

    /// An application plan of a service that the caller may see.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn plan(self, id: u64) -> Result<&'a Arc<Plan>, Refusal> {
        let plan = self.catalog.plans.get(id).ok_or(Refusal::NotFound)?;
        self.service(plan.service.0)?;
        Ok(plan)
    }

    /// An application of a service that the caller may see.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn application(self, id: u64) -> Result<&'a Arc<Application>, Refusal> {
        let application = self.catalog.applications.get(id).ok_or(Refusal::NotFound)?;
        self.service(application.service.0)?;
        Ok(application)
    }
}
