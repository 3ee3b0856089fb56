//! Ports of the test gateway: one for each service and environment. `/gateway`, `/gateway/{port}`.
//!
//! The operator gives the node the gateway's host and a range of ports. Each service gets the two smallest that are free, with the
//! first command that makes or changes its proxy, and keeps them until it goes; if there are none, it has none, nor if its tenant, beside
//! others, has more already than it leaves them. They are what its `sandbox_endpoint` and `endpoint` are, unless those were said. A mesh needs no gateway, and gets no ports. What a port stands for lies on
//! the shelf by the port, for all tenants together: a gateway asks what it should answer there with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::context::{Context, Edit};
use super::proxy::ProxyDetails;
use super::proxy_configs::{self, Environment};
use super::routes::{Formats, GET, Route};
use super::services::ServiceDetails;
use super::xml::Element;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const ACCESS: Access = Access::section(Section::Plans);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "gateway", ACCESS, show).in_formats(Formats::JsonOnly),
    Route::new(GET, "gateway/{port}", ACCESS, show_port).in_formats(Formats::JsonOnly),
];

/// Where the test gateway stands: the host by which clients call it, and its ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayPorts {
    /// A name or an address; one of IPv6 in brackets.
    pub host: String,
    /// The first port.
    pub first: u16,
    /// The last, which is one of them.
    pub last: u16,
}

impl GatewayPorts {
    /// What clients call on a port, if it is one of the gateway's.
    #[must_use]
    pub fn url(&self, port: u16) -> Option<String> {
        self.has(port).then(|| format!("http://{}:{port}", self.host))
    }

    fn has(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// The ports of a service.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[allow(missing_docs)]
pub(super) struct GivenPorts {
    pub(super) sandbox: u16,
    pub(super) production: u16,
}

/// What a port stands for.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
struct Port {
    service: u64,
    is_production: bool,
}

impl Record for Port {
    const TABLE: Table = Table("gateway_ports");
}

/// Gives a service ports, if it has none that are the gateway's. `details` are kept by the caller.
pub(super) fn give(
    edit: &mut Edit<'_, '_, '_>,
    service: u64,
    details: &mut ProxyDetails,
) -> Result<(), ShelfError> {
    let Some(gateway) = edit.gateway else { return Ok(()) };
    let has_ports = |given: GivenPorts| gateway.has(given.sandbox) && gateway.has(given.production);
    let known = edit.records.find::<ServiceDetails>(service)?;
    let is_mesh = known.is_some_and(|known| known.deployment_option.starts_with("service_mesh"));
    if is_mesh || details.gateway_ports.is_some_and(has_ports) {
        return Ok(());
    }
    for port in details.gateway_ports.take().into_iter().flat_map(GivenPorts::both) {
        edit.records.remove::<Port>(port);
    }
    let taken: BTreeMap<u64, Port> = edit.records.all::<Port>()?.into_iter().collect();
    let free = (gateway.first..=gateway.last).filter(|port| !taken.contains_key(&u64::from(*port)));
    let mut free: Vec<_> = free.collect();
    let catalog = edit.draft.catalog();
    let is_own =
        |port: &&Port| catalog.services.get(port.service).is_some_and(|it| it.tenant == edit.caller.tenant);
    // Beside others, a tenant has no more than it leaves: so none can take all.
    if catalog.tenants.len() > 1 && taken.values().filter(is_own).count() + 2 > free.len() {
        free.clear();
    }
    let [sandbox, production] = free[..free.len().min(2)] else {
        let GatewayPorts { first, last, .. } = gateway;
        tracing::warn!(service, first, last, "no port of the test gateway is left for a service");
        return Ok(());
    };
    for (port, is_production) in [(sandbox, false), (production, true)] {
        edit.records.save(u64::from(port), &Port { service, is_production })?;
    }
    details.gateway_ports = Some(GivenPorts { sandbox, production });
    Ok(())
}

/// The same for a service whose proxy is not changed otherwise.
pub(super) fn ensure(edit: &mut Edit<'_, '_, '_>, service: u64) -> Result<(), Refusal> {
    let known = edit.seen().service(service)?.clone();
    let mut details = ProxyDetails::of(edit.records, &known)?;
    let before = details.gateway_ports;
    give(edit, service, &mut details)?;
    if details.gateway_ports != before {
        edit.records.save(service, &details)?;
    }
    Ok(())
}

/// Gives the ports of a service that goes to whoever comes next.
pub(super) fn free(service: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
    let details = records.find::<ProxyDetails>(service)?;
    for port in details.and_then(|it| it.gateway_ports).into_iter().flat_map(GivenPorts::both) {
        records.remove::<Port>(port);
    }
    Ok(())
}

impl GivenPorts {
    fn both(self) -> [u64; 2] {
        [self.sandbox, self.production].map(u64::from)
    }
}

fn show(context: &Context<'_>) -> Outcome {
    let GatewayPorts { host, first, last } = context.gateway.ok_or(Refusal::NotFound)?;
    let json = json!({"host": host, "first_port": first, "last_port": last});
    Ok(Reply::one(Entity { wrapper: "gateway", json, xml: Element::new("gateway") }))
}

/// What a gateway answers on a port with: the newest configuration, if there is one.
fn show_port(context: &Context<'_>) -> Outcome {
    let number = context.id(0)?;
    let moment = context.look()?;
    let seen = moment.seen();
    let Port { service, is_production } = seen.records.find::<Port>(number)?.ok_or(Refusal::NotFound)?;
    seen.service(service)?;
    let environment = if is_production { Environment::Production } else { Environment::Sandbox };
    let config = proxy_configs::newest_shown(context, seen, service, environment)?;
    let json = json!({
        "port": number,
        "service_id": service,
        "environment": environment.name(),
        "proxy_config": config,
    });
    Ok(Reply::one(Entity { wrapper: "gateway_port", json, xml: Element::new("gateway_port") }))
}
