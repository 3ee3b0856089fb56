//! With whom people may log in: administrators (`/account/authentication_providers`) and developers
//! (`/authentication_providers`). Records alone: a node logs nobody in with them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Seen};
use super::owned::Owned;
use super::request::{Fields, text_of};
use super::routes::{GET, POST, PUT, Route};
use super::times;
use super::xml::Element;
use crate::document::endpoint::{Endpoint, WEB};
use crate::document::system_name;
use crate::model::draft::TEXT_LEN_MAX;
use crate::plugin::records::Record;
use crate::store::shelf::Table;

const OF_ADMINS: Access = Access::ADMINS;
const OF_DEVELOPERS: Access = Access::section(Section::Settings);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "account/authentication_providers", OF_ADMINS, list_of_admins),
    Route::new(POST, "account/authentication_providers", OF_ADMINS, create_of_admins),
    Route::new(GET, "account/authentication_providers/{id}", OF_ADMINS, show_of_admins),
    Route::new(PUT, "account/authentication_providers/{id}", OF_ADMINS, update_of_admins),
    Route::new(GET, "authentication_providers", OF_DEVELOPERS, list_of_developers),
    Route::new(POST, "authentication_providers", OF_DEVELOPERS, create_of_developers),
    Route::new(GET, "authentication_providers/{id}", OF_DEVELOPERS, show_of_developers),
    Route::new(PUT, "authentication_providers/{id}", OF_DEVELOPERS, update_of_developers),
];

/// The most of a tenant.
pub(super) const PROVIDERS_MAX: usize = 100;

/// Who logs in.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Who {
    /// Administrators.
    Provider,
    Developer,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Provider => "provider",
            Who::Developer => "developer",
        }
    }

    fn kinds(self) -> &'static [&'static str] {
        match self {
            Who::Provider => &["keycloak", "auth0"],
            Who::Developer => &["keycloak", "auth0", "github", "custom"],
        }
    }

    fn root(self) -> &'static str {
        match self {
            Who::Provider => "/admin/api/account/authentication_providers",
            Who::Developer => "/admin/api/authentication_providers",
        }
    }
}

/// An authentication provider.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct AuthenticationProvider {
    tenant: u64,
    who: Who,
    kind: String,
    name: String,
    system_name: String,
    client_id: String,
    client_secret: String,
    site: String,
    token_url: String,
    user_info_url: String,
    authorize_url: String,
    identifier_key: String,
    username_key: String,
    trust_email: bool,
    published: bool,
    skip_ssl_certificate_verification: bool,
    automatically_approve_accounts: bool,
    branding_state: String,
    /// In milliseconds since 1970 UTC.
    created_at: u64,
    updated_at: u64,
}

impl Record for AuthenticationProvider {
    const TABLE: Table = Table("authentication_providers");
}

impl Owned for AuthenticationProvider {
    const BY_OWNER: Table = Table("authentication_providers_by_tenant");

    fn owners(&self) -> Vec<u64> {
        vec![self.tenant]
    }
}

fn list_of_admins(context: &Context<'_>) -> Outcome {
    list(context, Who::Provider)
}

fn list_of_developers(context: &Context<'_>) -> Outcome {
    list(context, Who::Developer)
}

fn create_of_admins(context: &Context<'_>) -> Outcome {
    create(context, Who::Provider)
}

fn create_of_developers(context: &Context<'_>) -> Outcome {
    create(context, Who::Developer)
}

fn show_of_admins(context: &Context<'_>) -> Outcome {
    show(context, Who::Provider)
}

fn show_of_developers(context: &Context<'_>) -> Outcome {
    show(context, Who::Developer)
}

fn update_of_admins(context: &Context<'_>) -> Outcome {
    update(context, Who::Provider)
}

fn update_of_developers(context: &Context<'_>) -> Outcome {
    update(context, Who::Developer)
}

fn find(seen: Seen<'_>, who: Who, id: u64) -> Result<AuthenticationProvider, Refusal> {
    let found = seen.records.find::<AuthenticationProvider>(id)?;
    found.filter(|it| it.tenant == seen.caller.tenant.0 && it.who == who).ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>, who: Who) -> Outcome {
    let moment = context.look()?;
    let mut all = AuthenticationProvider::of(context.caller.tenant.0, moment.seen().records)?;
    all.retain(|(_, provider)| provider.who == who);
    let shown = all.iter().map(|(id, provider)| entity(*id, provider)).collect();
    Ok(Reply::list("authentication_providers", shown, None))
}

fn show(context: &Context<'_>, who: Who) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), who, id)?)))
}

fn create(context: &Context<'_>, who: Who) -> Outcome {
    let fields = context.fields("authentication_provider")?;
    context.change(|edit| {
        let tenant = edit.tenant().0;
        let kind = fields.needed("kind")?;
        let id = edit.draft.take_id();
        let name = fields.filled("name").unwrap_or_else(|| titled(&kind));
        let mut provider = new(tenant, who, kind, name, edit.now);
        let mut errors = Errors::default();
        if !who.kinds().contains(&provider.kind.as_str()) {
            errors.add("kind", check::NOT_LISTED);
        }
        check::present(&mut errors, "name", Some(&provider.name));
        provider.system_name = match fields.filled("system_name") {
            Some(name) => name,
            // Of a kind there may be several.
            None => format!("{}_{id}", system_name::of(&provider.kind)),
        };
        let others = AuthenticationProvider::of(tenant, edit.records)?;
        if !system_name::is_one(&provider.system_name) {
            errors.add("system_name", check::INVALID);
        } else if others.iter().any(|(_, it)| it.who == who && it.system_name == provider.system_name) {
            errors.add("system_name", check::TAKEN);
        }
        if others.len() >= PROVIDERS_MAX {
            errors.add("base", format!("There can be at most {PROVIDERS_MAX} authentication providers"));
        }
        apply(&mut provider, &fields, &mut errors);
        errors.check()?;
        provider.put(id, edit.records)?;
        Ok(Reply::created(entity(id, &provider)).at(format!("{}/{id}", who.root())))
    })
}

fn new(tenant: u64, who: Who, kind: String, name: String, now: u64) -> AuthenticationProvider {
    AuthenticationProvider {
        tenant,
        who,
        kind,
        name,
        system_name: String::new(),
        client_id: String::new(),
        client_secret: String::new(),
        site: String::new(),
        token_url: String::new(),
        user_info_url: String::new(),
        authorize_url: String::new(),
        identifier_key: "id".to_owned(),
        username_key: "login".to_owned(),
        trust_email: false,
        published: false,
        skip_ssl_certificate_verification: false,
        automatically_approve_accounts: false,
        branding_state: "threescale_branded".to_owned(),
        created_at: now,
        updated_at: now,
    }
}

fn titled(kind: &str) -> String {
    let mut characters = kind.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn update(context: &Context<'_>, who: Who) -> Outcome {
    let fields = context.fields("authentication_provider")?;
    let id = context.id(0)?;
    context.change(|edit| {
        let mut provider = find(edit.seen(), who, id)?;
        let mut errors = Errors::default();
        apply(&mut provider, &fields, &mut errors);
        errors.check()?;
        provider.updated_at = edit.now;
        edit.records.save(id, &provider)?;
        Ok(Reply::one(entity(id, &provider)))
    })
}

/// Changes what was sent; kind and names stay what they are.
fn apply(provider: &mut AuthenticationProvider, fields: &Fields, errors: &mut Errors) {
    for (field, url) in [
        ("site", &mut provider.site),
        ("token_url", &mut provider.token_url),
        ("user_info_url", &mut provider.user_info_url),
        ("authorize_url", &mut provider.authorize_url),
    ] {
        let Some(sent) = fields.text(field) else { continue };
        check::fitting(errors, field, &sent, TEXT_LEN_MAX);
        if !sent.is_empty() && Endpoint::parse(&sent, &WEB).is_none() {
            errors.add(field, check::INVALID);
        }
        *url = sent;
    }
    for (field, text) in [
        ("client_id", &mut provider.client_id),
        ("client_secret", &mut provider.client_secret),
        ("identifier_key", &mut provider.identifier_key),
        ("username_key", &mut provider.username_key),
    ] {
        let Some(sent) = fields.text(field) else { continue };
        check::fitting(errors, field, &sent, TEXT_LEN_MAX);
        *text = sent;
    }
    for (field, flag) in [
        ("trust_email", &mut provider.trust_email),
        ("published", &mut provider.published),
        ("skip_ssl_certificate_verification", &mut provider.skip_ssl_certificate_verification),
        ("automatically_approve_accounts", &mut provider.automatically_approve_accounts),
    ] {
        *flag = fields.flag(field).unwrap_or(*flag);
    }
    match fields.filled("branding_state_event").as_deref() {
        Some("brand_as_threescale") => "threescale_branded".clone_into(&mut provider.branding_state),
        Some("custom_brand") => "custom_branded".clone_into(&mut provider.branding_state),
        Some(_) => errors.add("branding_state_event", check::NOT_LISTED),
        None => {}
    }
}

fn entity(id: u64, provider: &AuthenticationProvider) -> Entity {
    let json = json!({
        "id": id,
        "kind": provider.kind,
        "account_type": provider.who.name(),
        "name": provider.name,
        "system_name": provider.system_name,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "site": provider.site,
        "token_url": provider.token_url,
        "user_info_url": provider.user_info_url,
        "authorize_url": provider.authorize_url,
        "skip_ssl_certificate_verification": provider.skip_ssl_certificate_verification,
        "automatically_approve_accounts": provider.automatically_approve_accounts,
        "branding_state": provider.branding_state,
        "account_id": provider.tenant,
        "username_key": provider.username_key,
        "identifier_key": provider.identifier_key,
        "trust_email": provider.trust_email,
        "published": provider.published,
        "created_at": times::text(provider.created_at),
        "updated_at": times::text(provider.updated_at),
        "callback_url": Value::Null,
    });
    let mut xml = Element::new("authentication_provider");
    for (field, value) in json.as_object().into_iter().flatten() {
        xml.push(Element::text(field, text_of(value).unwrap_or_default()));
    }
    Entity { wrapper: "authentication_provider", json, xml }
}
