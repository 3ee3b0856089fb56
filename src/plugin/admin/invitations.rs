//! Invitations, which 3scale's API does not have: `/invitations` to administer the tenant, `/accounts/{id}/invitations` to an account.
//!
//! Making one answers a token, once; whoever invites hands it on, as the node sends no messages. `POST .../accept` with the
//! token, a username and a password makes the user: active, a member, with the address that was invited unless another is given. It is called by
//! the portal that the invited person has before them, with credentials of its own; the token says no more than which invitation is meant. Of
//! the token its hash is kept. An invitation is good for [`GOOD_FOR_MS`], and once.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply, links};
use super::auth::{self, Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::owned::Owned;
use super::people::{Role, UserState};
use super::routes::{DELETE, Formats, GET, POST, Route};
use super::xml::Element;
use super::{logins, times, tokens};
use crate::document::values;
use crate::model::catalog::Change;
use crate::plugin::host::Accompanied;
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

const OWN: Access = Access::ADMINS;
const OF_ACCOUNTS: Access = Access::section(Section::Partners);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "invitations", OWN, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "invitations", OWN, create).in_formats(Formats::JsonOnly),
    Route::new(POST, "invitations/accept", OWN, accept).in_formats(Formats::JsonOnly),
    Route::new(GET, "invitations/{id}", OWN, show).in_formats(Formats::JsonOnly),
    Route::new(DELETE, "invitations/{id}", OWN, delete).in_formats(Formats::JsonOnly),
    Route::new(GET, "accounts/{account_id}/invitations", OF_ACCOUNTS, list).in_formats(Formats::JsonOnly),
    Route::new(POST, "accounts/{account_id}/invitations", OF_ACCOUNTS, create).in_formats(Formats::JsonOnly),
    Route::new(POST, "accounts/{account_id}/invitations/accept", OF_ACCOUNTS, accept)
        .in_formats(Formats::JsonOnly),
    Route::new(GET, "accounts/{account_id}/invitations/{id}", OF_ACCOUNTS, show)
        .in_formats(Formats::JsonOnly),
    Route::new(DELETE, "accounts/{account_id}/invitations/{id}", OF_ACCOUNTS, delete)
        .in_formats(Formats::JsonOnly),
];

/// How long an invitation can be accepted, in milliseconds: two weeks.
pub(super) const GOOD_FOR_MS: u64 = 14 * 24 * 3600 * 1000;

/// The most invitations of an account, or of the tenant itself.
pub(super) const INVITATIONS_MAX: usize = 1000;

/// An invitation.
#[derive(Clone, Serialize, Deserialize, Debug)]
struct Invitation {
    tenant: u64,
    /// To be a user of this account; without, of the tenant itself.
    account: Option<u64>,
    email: String,
    /// SHA-384 of the token, in hex.
    hash: String,
    /// In milliseconds since 1970 UTC.
    created_at: u64,
    accepted_at: Option<u64>,
    /// Who accepted it.
    user: Option<u64>,
}

impl Record for Invitation {
    const TABLE: Table = Table("invitations");
}

/// Ids of invitations by the hash of their token.
const BY_HASH: Table = Table("invitations_by_hash");

impl Owned for Invitation {
    const BY_OWNER: Table = Table("invitations_by_owner");

    fn owners(&self) -> Vec<u64> {
        vec![self.owner()]
    }

    fn found_by(&self) -> Option<(Table, &str)> {
        Some((BY_HASH, &self.hash))
    }
}

impl Invitation {
    /// The account, or the tenant.
    fn owner(&self) -> u64 {
        self.account.unwrap_or(self.tenant)
    }

    fn state(&self, now: u64) -> &'static str {
        match self.accepted_at {
            Some(_) => "accepted",
            None if now >= self.created_at.saturating_add(GOOD_FOR_MS) => "expired",
            None => "pending",
        }
    }
}

/// The invitation that a path is about.
fn find(context: &Context<'_>, seen: Seen<'_>) -> Result<(u64, Invitation), Refusal> {
    let account = context.account(seen)?;
    let id = context.id(usize::from(account.is_some()))?;
    let found = seen.records.find::<Invitation>(id)?;
    let is_it = |it: &Invitation| it.tenant == seen.caller.tenant.0 && it.account == account;
    Ok((id, found.filter(is_it).ok_or(Refusal::NotFound)?))
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let owner = context.account(seen)?.unwrap_or(context.caller.tenant.0);
    let all = Invitation::of(owner, seen.records)?;
    let shown = all.iter().map(|(id, invitation)| entity(context, *id, invitation, None)).collect();
    Ok(Reply::list("invitations", shown, None))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (id, invitation) = find(context, moment.seen())?;
    Ok(Reply::one(entity(context, id, &invitation, None)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("invitation")?;
    let token = tokens::random_value()?;
    context.change(|edit| {
        let account = context.account(edit.seen())?;
        let email = fields.text("email").unwrap_or_default().trim().to_owned();
        let mut errors = Errors::default();
        if email.is_empty() {
            errors.add("email", check::BLANK);
        } else if !values::is_email(&email) {
            errors.add("email", "should look like an email address");
        }
        let invitation = Invitation {
            tenant: edit.tenant().0,
            account,
            email,
            hash: auth::hash_of(&token),
            created_at: edit.now,
            accepted_at: None,
            user: None,
        };
        let others = Invitation::of(invitation.owner(), edit.records)?;
        let is_waiting = |other: &Invitation| {
            other.state(edit.now) == "pending" && other.email.eq_ignore_ascii_case(&invitation.email)
        };
        if others.iter().any(|(_, other)| is_waiting(other)) {
            errors.add("email", check::TAKEN);
        }
        if others.len() >= INVITATIONS_MAX {
            errors.add("base", format!("there are at most {INVITATIONS_MAX} invitations"));
        }
        errors.check()?;
        let id = edit.draft.take_id();
        invitation.put(id, edit.records)?;
        let shown = entity(context, id, &invitation, Some(&token));
        let place = format!("{}/{id}", root_of(&invitation));
        Ok(Reply::created(shown).at(place))
    })
}

/// An invitation that was accepted stays as it is: who came of it is another record.
fn delete(context: &Context<'_>) -> Outcome {
    context.change(|edit| {
        let (id, invitation) = find(context, edit.seen())?;
        invitation.delete(id, edit.records);
        Ok(Reply::gone())
    })
}

fn accept(context: &Context<'_>) -> Outcome {
    let fields = context.fields("invitation")?;
    let hash = auth::hash_of(&fields.needed("invitation_token")?);
    let mut errors = Errors::default();
    if fields.filled("password").is_none() {
        errors.add("password", check::BLANK);
    }
    let password_hash = logins::password(&fields, &mut errors)?;
    context.change(|edit| {
        let (id, invitation) = pending(context, edit, &hash)?;
        let fields = match fields.filled("email") {
            Some(_) => fields,
            None => fields.with("email", Value::from(invitation.email.as_str())),
        };
        let as_what = (Role::Member, UserState::Active);
        let account = invitation.account;
        let user = logins::add(edit, account, &fields, as_what, password_hash, &mut errors)?;
        errors.check()?;
        let accepted = Invitation { accepted_at: Some(edit.now), user: Some(user), ..invitation };
        accepted.put(id, edit.records)?;
        logins::made(edit, user)
    })
}

/// The invitation of a token, if it can be accepted here.
fn pending(context: &Context<'_>, edit: &Edit<'_, '_, '_>, hash: &str) -> Result<(u64, Invitation), Refusal> {
    let account = context.account(edit.seen())?;
    let found = Invitation::by_key(BY_HASH, hash, edit.records)?;
    let is_it = |it: &Invitation| it.tenant == edit.caller.tenant.0 && it.account == account;
    let (id, invitation) = found.filter(|(_, it)| is_it(it)).ok_or(Refusal::NotFound)?;
    match invitation.state(edit.now) {
        "pending" => Ok((id, invitation)),
        state => Err(Errors::of("base", format!("the invitation is {state}")).into()),
    }
}

fn root_of(invitation: &Invitation) -> String {
    match invitation.account {
        Some(account) => format!("/admin/api/accounts/{account}/invitations"),
        None => "/admin/api/invitations".to_owned(),
    }
}

/// The invitation as answers show it; the token is there only when it is made.
fn entity(context: &Context<'_>, id: u64, invitation: &Invitation, token: Option<&str>) -> Entity {
    let mut json = json!({
        "id": id,
        "email": invitation.email,
        "state": invitation.state(context.now.0),
        "account_id": invitation.account,
        "user_id": invitation.user,
        "created_at": times::text(invitation.created_at),
        "expires_at": times::text(invitation.created_at.saturating_add(GOOD_FOR_MS)),
        "accepted_at": invitation.accepted_at.map(times::text),
        "links": links([("self", format!("{}/{id}", root_of(invitation)))]),
    });
    if let Some(token) = token {
        json["invitation_token"] = token.into();
    }
    Entity { wrapper: "invitation", json, xml: Element::new("invitation") }
}

/// They go with the account, or the tenant.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        let owner = match change {
            Change::DeleteAccount(id) => id.0,
            Change::DeleteTenant(id) => id.0,
            _ => continue,
        };
        Invitation::delete_all_of(owner, records)?;
    }
    Ok(())
}
