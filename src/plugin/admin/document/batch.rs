//! Calls of the API within one command: each is answered by its route, with what was drafted before it.
//!
//! A route changes things by [`Context::change`]; within a batch that is the command that is being built. Only routes are called so that change and do not look at
//! what is there otherwise: that would be the catalog before the command, and is refused.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::super::answer::{Format, Outcome, Refusal};
use super::super::context::{Context, Edit};
use super::super::request::Request;
use super::super::routes;
use crate::plugin::call::{Call, Method};

/// A command that calls are part of.
pub(in super::super) trait Within {
    /// Lets `build` draft its part.
    fn edit(&self, build: &mut dyn FnMut(&mut Edit<'_, '_, '_>));
}

/// A command, for the calls that are made one after another.
pub(super) struct Shared<'e, 'd, 's>(pub(super) RefCell<Edit<'e, 'd, 's>>);

impl Within for Shared<'_, '_, '_> {
    fn edit(&self, build: &mut dyn FnMut(&mut Edit<'_, '_, '_>)) {
        // A route that drafts while it drafts is a defect: its caller sees that nothing was built.
        if let Ok(mut edit) = self.0.try_borrow_mut() {
            build(&mut edit);
        }
    }
}

/// Drafts a part of the command that a call is within.
///
/// # Errors
/// What `build` says.
pub(in super::super) fn part(
    within: &dyn Within,
    build: impl FnOnce(&mut Edit<'_, '_, '_>) -> Outcome,
) -> Outcome {
    let (mut build, mut outcome) = (Some(build), Err(Refusal::Failed));
    within.edit(&mut |edit| {
        if let Some(build) = build.take() {
            outcome = build(edit);
        }
    });
    outcome
}

/// Calls the API as the caller of `context` within a command; the id of what was made or changed, if it has one. `path` begins after `/admin/api/`.
///
/// # Errors
/// What the route says.
pub(super) fn call(
    context: &Context<'_>,
    within: &dyn Within,
    (method, path): (Method, &str),
    parameters: Map<String, Value>,
) -> Result<Option<u64>, Refusal> {
    let outer = context.request.call;
    let call = Call {
        method,
        path: format!("/admin/api/{path}"),
        parameters,
        basic: None,
        accept: None,
        etag: None,
        host: outer.host.clone(),
        scheme: outer.scheme,
        tenant: outer.tenant,
    };
    let request = Request::read(&call)?;
    let (route, ids) = routes::find(routes::of_tenants(), method, request.split().1)?;
    let context = Context {
        desk: context.desk,
        request: &request,
        caller: context.caller,
        route,
        ids,
        format: Format::Json,
        now: context.now,
        backend_endpoint: context.backend_endpoint,
        domain: context.domain,
        bell: context.bell,
        gateway: context.gateway,
        // What is shown within a command is shown to nobody.
        traffic: None,
        analytics: None,
        within: Some(within),
    };
    Ok((route.run)(&context)?.id())
}
