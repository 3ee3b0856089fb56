//! An application as answers show it.
//!
//! A page has 500 of them, so their JSON is written field by field, not gathered in a tree before.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::answer::{Entity, Format, Refusal};
use super::applications::ApplicationDetails;
use super::context::Seen;
use super::services::ServiceDetails;
use super::xml::Element;
use super::{extra, plans, times, traffic};
use crate::model::record::{Account, Application, ApplicationState, BackendVersion, Plan, Secret, Service};

/// A state as the API calls it.
pub(super) fn state_name(state: &ApplicationState) -> &str {
    match state {
        ApplicationState::Active => "live",
        other => other.name(),
    }
}

/// An application, with what is shown of others beside it.
pub(super) struct Shown<'a> {
    application: &'a Application,
    details: ApplicationDetails,
    service: &'a Service,
    plan: &'a Plan,
    account: Option<&'a Account>,
    is_oidc: bool,
    /// When it was called first, and first on its last day.
    called: [Option<u64>; 2],
}

/// A link, as lists of them have it.
#[derive(serde::Serialize)]
struct Link<'a> {
    rel: &'static str,
    href: &'a str,
}

impl<'a> Shown<'a> {
    /// What is shown of an application.
    ///
    /// # Errors
    /// What it belongs to is not there, or cannot be read.
    pub(super) fn of(seen: Seen<'a>, application: &'a Application) -> Result<Shown<'a>, Refusal> {
        let service = seen.service(application.service.0)?;
        let is_oidc = service.backend_version == BackendVersion::Oauth
            && seen.records.find::<ServiceDetails>(service.id.0)?.is_some_and(|it| it.oidc);
        let details = seen.records.find::<ApplicationDetails>(application.id.0)?.unwrap_or_default();
        Ok(Shown {
            application,
            called: traffic::times(seen.traffic, application.id, &details)?,
            details,
            service,
            plan: seen.catalog.plans.get(application.plan.0).ok_or(Refusal::NotFound)?,
            account: application.account.and_then(|id| seen.catalog.accounts.get(id.0)).map(|it| &**it),
            is_oidc,
        })
    }

    /// What the application is called with.
    fn credentials<S: SerializeMap>(&self, map: &mut S) -> Result<(), S::Error> {
        let application = self.application;
        match self.service.backend_version {
            BackendVersion::UserKey => {
                map.serialize_entry("user_key", &application.user_keys.first().map(Secret::expose))?;
                map.serialize_entry("provider_verification_key", &Value::Null)
            }
            BackendVersion::AppId => map.serialize_entry("application_id", &*application.app_id),
            BackendVersion::Oauth => {
                map.serialize_entry("application_id", &*application.app_id)?;
                map.serialize_entry("redirect_url", &application.redirect_url.as_deref())?;
                map.serialize_entry("client_id", &*application.app_id)?;
                map.serialize_entry("client_secret", &application.app_keys.first().map(Secret::expose))?;
                if self.is_oidc {
                    map.serialize_entry("oidc_configuration", &json!({}))?;
                }
                Ok(())
            }
        }
    }

    /// Whether a field is there anyway, so that one that was defined with its name is not shown.
    fn has(&self, field: &str) -> bool {
        const ALWAYS: [&str; 16] = [
            "id",
            "state",
            "enabled",
            "created_at",
            "updated_at",
            "service_id",
            "service_name",
            "plan_id",
            "plan_name",
            "account_id",
            "org_name",
            "first_traffic_at",
            "first_daily_traffic_at",
            "name",
            "description",
            "links",
        ];
        ALWAYS.contains(&field)
            || match self.service.backend_version {
                BackendVersion::UserKey => ["user_key", "provider_verification_key"].contains(&field),
                BackendVersion::AppId => field == "application_id",
                BackendVersion::Oauth => {
                    let fields = ["application_id", "redirect_url", "client_id", "client_secret"];
                    fields.contains(&field) || self.is_oidc && field == "oidc_configuration"
                }
            }
    }

    fn links<S: SerializeMap>(&self, map: &mut S) -> Result<(), S::Error> {
        let application = self.application;
        let service = format!("/admin/api/services/{}", application.service);
        let plan = format!("{service}/application_plans/{}", application.plan);
        let (service, plan) = (Link { rel: "service", href: &service }, Link { rel: "plan", href: &plan });
        let Some(account) = application.account else {
            return map.serialize_entry("links", &[service, plan]);
        };
        let account = format!("/admin/api/accounts/{account}");
        let own = format!("{account}/applications/{}", application.id);
        let (keys, filters) = (format!("{own}/keys"), format!("{own}/referrer_filters"));
        let links = [
            Link { rel: "self", href: &own },
            service,
            Link { rel: "account", href: &account },
            plan,
            Link { rel: "keys", href: &keys },
            Link { rel: "referrer_filters", href: &filters },
        ];
        map.serialize_entry("links", &links)
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shown { application, details, service, plan, account, called, .. } = self;
        let time = |at: Option<u64>| at.map(times::text);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &application.id.0)?;
        map.serialize_entry("state", state_name(&application.state))?;
        map.serialize_entry("enabled", &(application.state == ApplicationState::Active))?;
        map.serialize_entry("created_at", &times::text(details.created_at))?;
        map.serialize_entry("updated_at", &times::text(details.updated_at))?;
        map.serialize_entry("service_id", &application.service.0)?;
        map.serialize_entry("service_name", &*service.name)?;
        map.serialize_entry("plan_id", &plan.id.0)?;
        map.serialize_entry("plan_name", &*plan.name)?;
        map.serialize_entry("account_id", &account.map(|account| account.id.0))?;
        map.serialize_entry("org_name", &account.map(|account| &*account.name))?;
        map.serialize_entry("first_traffic_at", &time(called[0]))?;
        map.serialize_entry("first_daily_traffic_at", &time(called[1]))?;
        self.credentials(&mut map)?;
        map.serialize_entry("name", &*application.name)?;
        map.serialize_entry("description", &details.description)?;
        for (field, value) in details.extra.iter().filter(|(field, _)| !self.has(field)) {
            map.serialize_entry(field, value)?;
        }
        self.links(&mut map)?;
        map.end()
    }
}

/// The application as answers show it.
pub(super) fn entity(seen: Seen<'_>, application: &Application) -> Result<Entity, Refusal> {
    let shown = Shown::of(seen, application)?;
    let xml = match seen.format {
        Format::Xml => xml(seen, &shown)?,
        Format::Json => Element::new("application"),
    };
    let json = serde_json::to_value(&shown).map_err(|error| {
        tracing::error!(%error, "an application cannot be written as JSON");
        Refusal::Failed
    })?;
    Ok(Entity { wrapper: "application", json, xml })
}

fn xml(seen: Seen<'_>, shown: &Shown<'_>) -> Result<Element, Refusal> {
    let Shown { application, details, plan, called, .. } = shown;
    let mut xml = Element::new("application")
        .field("id", application.id)
        .field("created_at", times::text(details.created_at))
        .field("updated_at", times::text(details.updated_at))
        .field("state", state_name(&application.state))
        .field("enabled", application.state == ApplicationState::Active)
        .optional("user_account_id", application.account)
        .optional("first_traffic_at", called[0].map(times::text))
        .optional("first_daily_traffic_at", called[1].map(times::text))
        .field("service_id", application.service);
    let version = seen.service(application.service.0)?.backend_version;
    if version == BackendVersion::UserKey {
        xml = xml.optional("user_key", application.user_keys.first().map(Secret::expose));
    } else {
        let mut keys = Element::new("keys");
        application.app_keys.iter().for_each(|key| keys.push(Element::text("key", key.expose())));
        xml = xml.field("application_id", &application.app_id).with(keys);
        if version == BackendVersion::Oauth {
            xml = xml.optional("redirect_url", application.redirect_url.as_deref());
        }
    }
    let xml = xml
        .with(plans::entity(seen, plan)?.xml)
        .field("name", &application.name)
        .field("description", &details.description);
    Ok(xml.with(extra::element(&details.extra)))
}
