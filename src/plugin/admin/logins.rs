//! What is the same for developers (`/accounts/{id}/users`) and those who administer (`/users`): the path of a call says which are meant.

use serde_json::Map;

use super::answer::{Errors, Outcome, Refusal, Reply};
use super::context::{Context, Edit, Seen};
use super::extra::{self, Target};
use super::owned::Owned;
use super::people::{Role, User, UserState};
use super::request::Fields;
use super::{check, passwords};
use crate::document::values;

/// The most users of an account.
pub(super) const OF_ACCOUNT_MAX: usize = 1000;
/// The most users of a tenant itself.
pub(super) const OF_TENANT_MAX: usize = 10_000;

/// What is wrong with a username or an e-mail address as such.
fn check_login(errors: &mut Errors, username: &str, email: &str) {
    let length = username.chars().count();
    if username.trim().is_empty() {
        errors.add("username", check::BLANK);
    } else if length < *values::USERNAME_LEN.start() {
        errors.add("username", "is too short (minimum is 3 characters)");
    } else if length > *values::USERNAME_LEN.end() {
        errors.add("username", "is too long (maximum is 40 characters)");
    } else if !values::is_username(username) {
        errors.add("username", "use only letters, numbers, and .-_@ please.");
    }
    if !email.is_empty() && !values::is_email(email) {
        errors.add("email", "should look like an email address");
    }
}

/// The hash of the password that was sent, if one was and is good; it is made before the command.
pub(super) fn password(fields: &Fields, errors: &mut Errors) -> Result<Option<String>, Refusal> {
    let Some(password) = fields.filled("password") else { return Ok(None) };
    passwords::check(errors, &password);
    if errors.is_empty() { passwords::hash(&password).map(Some) } else { Ok(None) }
}

/// Makes a user, of an account or of the tenant itself. The password was hashed before, as that takes its time.
///
/// # Errors
/// The tenant has too many. What is wrong with the fields is added to `errors`, by which the command is refused.
pub(super) fn add(
    edit: &mut Edit<'_, '_, '_>,
    account: Option<u64>,
    fields: &Fields,
    (role, state): (Role, UserState),
    password_hash: Option<String>,
    errors: &mut Errors,
) -> Result<u64, Refusal> {
    let mut user = User {
        tenant: edit.tenant().0,
        account,
        username: String::new(),
        email: String::new(),
        role,
        state,
        sections: Vec::new(),
        services: None,
        password_hash,
        extra: Map::new(),
        created_at: edit.now,
        updated_at: edit.now,
    };
    let count = User::count(user.owner(), edit.records)?;
    match account {
        None if count >= OF_TENANT_MAX => return Err(Refusal::Closed),
        Some(_) if count >= OF_ACCOUNT_MAX => {
            errors.add("base", format!("an account has at most {OF_ACCOUNT_MAX} users"));
        }
        _ => {}
    }
    let id = edit.draft.take_id();
    apply(edit, id, None, &mut user, fields, errors)?;
    user.put(id, edit.records)?;
    Ok(id)
}

/// Takes over names and defined fields that were sent.
fn apply(
    edit: &mut Edit<'_, '_, '_>,
    id: u64,
    before: Option<&User>,
    user: &mut User,
    fields: &Fields,
    errors: &mut Errors,
) -> Result<(), Refusal> {
    for (field, text) in [("username", &mut user.username), ("email", &mut user.email)] {
        if let Some(sent) = fields.text(field) {
            sent.trim().clone_into(text);
        }
    }
    check_login(errors, &user.username, &user.email);
    if user.account.is_none() && user.email.is_empty() {
        errors.add("email", check::BLANK);
    }
    user.claim_names(id, before, edit.records, errors)?;
    let tenant = user.tenant;
    Ok(extra::apply(&mut user.extra, edit.records, (tenant, Target::User), fields, errors)?)
}

/// The user that a path is about, with its id.
///
/// # Errors
/// There is none.
pub(super) fn find(context: &Context<'_>, seen: Seen<'_>) -> Result<(u64, User), Refusal> {
    let account = context.account(seen)?;
    let id = context.id(usize::from(account.is_some()))?;
    let found = seen.records.find::<User>(id)?;
    let is_it = |it: &User| it.tenant == seen.caller.tenant.0 && it.account == account;
    Ok((id, found.filter(is_it).ok_or(Refusal::NotFound)?))
}

/// `GET .../users`
pub(super) fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let owner = context.account(seen)?.unwrap_or(context.caller.tenant.0);
    let asked = context.request.parameters();
    let (state, role) = (asked.filled("state"), asked.filled("role"));
    let is_asked_for = |user: &User| {
        state.as_ref().is_none_or(|state| state == user.state.name())
            && role.as_ref().is_none_or(|role| role == user.role.name())
    };
    let ids = User::ids_where(owner, seen.records, is_asked_for)?;
    let page = context.page_if_asked(ids.len());
    let shown = page.cut(ids).into_iter().map(|id| {
        let user = seen.records.find::<User>(id)?;
        Ok(user.ok_or(Refusal::Failed)?.entity(id))
    });
    Reply::page(context.format, "users", shown, page)
}

/// `GET .../users/{id}`
pub(super) fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (id, user) = find(context, moment.seen())?;
    Ok(Reply::one(user.entity(id)))
}

/// Answers the user that a command has made.
pub(super) fn made(edit: &Edit<'_, '_, '_>, id: u64) -> Outcome {
    let user = edit.records.find::<User>(id)?.ok_or(Refusal::NotFound)?;
    Ok(Reply::created(user.entity(id)).at(user.path(id)))
}

/// `PUT .../users/{id}`
pub(super) fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let mut errors = Errors::default();
    let hash = password(&fields, &mut errors)?;
    turn(context, |edit, id, user| {
        let before = user.clone();
        apply(edit, id, Some(&before), user, &fields, &mut errors)?;
        errors.check()?;
        user.password_hash = hash.or(user.password_hash.take());
        Ok(())
    })
}

/// Changes what a user is, and answers the user.
pub(super) fn turn(
    context: &Context<'_>,
    how: impl FnOnce(&mut Edit<'_, '_, '_>, u64, &mut User) -> Result<(), Refusal>,
) -> Outcome {
    context.change(|edit| {
        let (id, mut user) = find(context, edit.seen())?;
        how(edit, id, &mut user)?;
        user.updated_at = edit.now;
        user.put(id, edit.records)?;
        Ok(Reply::one(user.entity(id)))
    })
}

/// `PUT .../users/{id}/unsuspend`
pub(super) fn unsuspend(context: &Context<'_>) -> Outcome {
    turn(context, |_, id, user| {
        if user.state != UserState::Suspended {
            return Err(user.impossible(id, "unsuspend"));
        }
        user.state = UserState::Active;
        Ok(())
    })
}

/// `PUT .../users/{id}/admin`
pub(super) fn make_admin(context: &Context<'_>) -> Outcome {
    turn(context, |_, _, user| {
        user.role = Role::Admin;
        Ok(())
    })
}
