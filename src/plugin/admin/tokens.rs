//! Access tokens: `/personal/access_tokens` of the one who calls, `/users/{id}/access_tokens` of others.
//!
//! A token's value is 48 random bytes in hex. It is answered when the token is made, and never again: what is kept is its
//! hash. A token can do no more than its user, so only scopes that the user may use are given; what the user may no longer do later, the
//! token may not either (see [`auth`](super::auth)).

use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{self, Access, Permission, Scope, Token};
use super::check;
use super::context::{Context, Edit};
use super::owned::Owned;
use super::people::User;
use super::request::Fields;
use super::routes::{DELETE, Formats, GET, POST, Route};
use super::times;
use super::xml::Element;
use crate::plugin::records::Records;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "personal/access_tokens", Access::PERSONS, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "personal/access_tokens", Access::PERSONS, create).in_formats(Formats::JsonOnly),
    Route::new(GET, "personal/access_tokens/{id}", Access::PERSONS, show).in_formats(Formats::JsonOnly),
    Route::new(DELETE, "personal/access_tokens/{id}", Access::PERSONS, delete).in_formats(Formats::JsonOnly),
    Route::new(POST, "users/{user_id}/access_tokens", Access::ADMINS, create_for)
        .in_formats(Formats::JsonOnly),
];

/// The most tokens of one user.
pub(super) const TOKENS_MAX: usize = 1000;

/// The random bytes of a value.
const VALUE_LEN: usize = 48;

/// What the original calls a token's fields when they are wrapped: `access_token` is the caller's own.
const WRAPPER: &str = "token";

/// A text that nobody can guess.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn random_value() -> Result<String, Refusal> {
    let mut bytes = [0; VALUE_LEN];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        Refusal::Failed
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A token of the one who calls.
fn own(context: &Context<'_>, records: &Records<'_>) -> Result<(u64, Token), Refusal> {
    let ((user, _), id) = (context.caller.person()?, context.id(0)?);
    let token = records.find::<Token>(id)?.filter(|token| token.user == user);
    Ok((id, token.ok_or(Refusal::NotFound)?))
}

/// With a name: those that have it in theirs.
fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (user, _) = context.caller.person()?;
    let name = context.request.parameters().filled("name").map(|name| name.to_lowercase());
    let is_asked_for =
        |token: &Token| name.as_ref().is_none_or(|name| token.name.to_lowercase().contains(name));
    let tokens = Token::of(user, moment.seen().records)?;
    let shown = tokens.iter().filter(|(_, token)| is_asked_for(token));
    Ok(Reply::list("access_tokens", shown.map(|(id, token)| entity(*id, token, None)).collect(), None))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (id, token) = own(context, moment.seen().records)?;
    Ok(Reply::one(entity(id, &token, None)))
}

fn create(context: &Context<'_>) -> Outcome {
    let (user, _) = context.caller.person()?;
    make(context, user)
}

fn create_for(context: &Context<'_>) -> Outcome {
    make(context, context.id(0)?)
}

/// The one who calls may have been changed since: what counts is the user as the command finds them.
fn make(context: &Context<'_>, user_id: u64) -> Outcome {
    let fields = context.fields(WRAPPER)?;
    let value = random_value()?;
    context.change(|edit| {
        let user = edit.records.find::<User>(user_id)?;
        let user = user.filter(|user| user.tenant == edit.tenant().0 && user.account.is_none());
        let user = user.ok_or(Refusal::NotFound)?;
        let token = read(edit, (user_id, &user), &fields, &value)?;
        let id = edit.draft.take_id();
        token.put(id, edit.records)?;
        let place = format!("/admin/api/personal/access_tokens/{id}");
        Ok(Reply::created(entity(id, &token, Some(&value))).at(place))
    })
}

fn read(
    edit: &Edit<'_, '_, '_>,
    (user_id, user): (u64, &User),
    fields: &Fields,
    value: &str,
) -> Result<Token, Refusal> {
    let mut errors = Errors::default();
    let name = fields.text("name").unwrap_or_default().trim().to_owned();
    check::present(&mut errors, "name", Some(&name));
    let permission = match fields.text("permission").as_deref() {
        Some("ro") => Some(Permission::Read),
        Some("rw") => Some(Permission::Write),
        _ => None,
    };
    if permission.is_none() {
        errors.add("permission", check::NOT_LISTED);
    }
    let asked = fields.texts("scopes").unwrap_or_default();
    let mut scopes: Vec<_> = asked.iter().filter_map(|name| Scope::parse(name)).collect();
    if asked.is_empty() {
        errors.add("scopes", check::BLANK);
    } else if scopes.len() < asked.len() || !scopes.iter().all(|scope| user.may(scope.section())) {
        errors.add("scopes", check::INVALID);
    }
    scopes.dedup();
    let expires_at = fields.filled("expires_at").map(|text| times::parse(&text));
    if expires_at.is_some_and(|time| time.is_none_or(|time| time <= edit.now)) {
        errors.add("expires_at", check::INVALID);
    }
    if Token::count(user_id, edit.records)? >= TOKENS_MAX {
        errors.add("base", format!("a user has at most {TOKENS_MAX} access tokens"));
    }
    errors.check()?;
    Ok(Token {
        tenant: edit.tenant().0,
        user: user_id,
        name,
        scopes,
        permission: permission.unwrap_or(Permission::Read),
        expires_at: expires_at.flatten(),
        hash: auth::hash_of(value),
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    context.change(|edit| {
        let (id, token) = own(context, edit.records)?;
        token.delete(id, edit.records);
        Ok(Reply::gone())
    })
}

/// The token as answers show it; the value is there only when it is made.
pub(super) fn entity(id: u64, token: &Token, value: Option<&str>) -> Entity {
    let mut json = json!({
        "id": id,
        "name": token.name,
        "scopes": token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        "permission": token.permission,
        "expires_at": token.expires_at.map(times::text),
    });
    if let Some(value) = value {
        json["value"] = Value::from(value);
    }
    Entity { wrapper: "access_token", json, xml: Element::new("access_token") }
}
