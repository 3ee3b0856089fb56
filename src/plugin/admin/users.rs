//! Developers, users of accounts: `/accounts/{id}/users`.
//!
//! A user begins pending, as a member. Activating one approves an account that nobody has decided on yet, unless its plan asks for approval.

use super::accounts::{self, AccountDetails, AccountState};
use super::answer::{Entity, Errors, Outcome, Refusal, Reply, links};
use super::auth::{Access, Section};
use super::check;
use super::context::{Context, Edit, Seen};
use super::extra::{self, Target};
use super::names::{self, Kind};
use super::owned::Owned;
use super::people::{Role, User, UserState};
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::xml::Element;
use super::{passwords, times};
use serde_json::{Map, json};

use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::section(Section::Partners);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "accounts/{account_id}/users", ACCESS, list),
    Route::new(POST, "accounts/{account_id}/users", ACCESS, create),
    Route::new(GET, "accounts/{account_id}/users/{id}", ACCESS, show),
    Route::new(PUT, "accounts/{account_id}/users/{id}", ACCESS, update),
    Route::new(DELETE, "accounts/{account_id}/users/{id}", ACCESS, delete),
    Route::new(PUT, "accounts/{account_id}/users/{id}/activate", ACCESS, activate),
    Route::new(PUT, "accounts/{account_id}/users/{id}/suspend", ACCESS, suspend),
    Route::new(PUT, "accounts/{account_id}/users/{id}/unsuspend", ACCESS, unsuspend),
    Route::new(PUT, "accounts/{account_id}/users/{id}/admin", ACCESS, make_admin),
    Route::new(PUT, "accounts/{account_id}/users/{id}/member", ACCESS, make_member),
];

/// The most users of one account.
const USERS_MAX: usize = 1000;
const USERNAME_LEN: std::ops::RangeInclusive<usize> = 3..=40;

/// The fields of a user that need no definition.
const OWN: &[&str] = &["username", "email", "password"];

impl UserState {
    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            UserState::Pending => "pending",
            UserState::Active => "active",
            UserState::Suspended => "suspended",
        }
    }
}

impl Role {
    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Member => "member",
        }
    }
}

/// What is wrong with a username or an e-mail address as such.
pub(super) fn check_login(errors: &mut Errors, username: Option<&str>, email: Option<&str>) {
    if let Some(name) = username {
        let is_good = |it: char| it.is_alphanumeric() || matches!(it, '.' | '-' | '_' | '@' | '+' | ' ');
        let length = name.chars().count();
        if name.trim().is_empty() {
            errors.add("username", check::BLANK);
        } else if length < *USERNAME_LEN.start() {
            errors.add("username", "is too short (minimum is 3 characters)");
        } else if length > *USERNAME_LEN.end() {
            errors.add("username", "is too long (maximum is 40 characters)");
        } else if !name.chars().all(is_good) {
            errors.add("username", "use only letters, numbers, and .-_@ please.");
        }
    }
    if let Some(email) = email.filter(|email| !email.is_empty()) {
        let is_good = |email: &str| {
            let (local, domain) = email.split_once('@')?;
            let fits =
                email.len() <= 255 && !email.contains(|it: char| it.is_whitespace() || it.is_control());
            (fits && !local.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(())
        };
        if is_good(email).is_none() {
            errors.add("email", "should look like an email address");
        }
    }
}

/// Takes the names of a developer that changed, and frees those that they had.
fn claim(
    records: &mut Records<'_>,
    id: u64,
    before: Option<&User>,
    user: &User,
    errors: &mut Errors,
) -> Result<(), ShelfError> {
    for (kind, field, old, new) in [
        (Kind::DeveloperUsername, "username", before.map(|it| it.username.as_str()), user.username.as_str()),
        (Kind::DeveloperEmail, "email", before.map(|it| it.email.as_str()), user.email.as_str()),
    ] {
        if old == Some(new) {
            continue;
        }
        if let Some(old) = old {
            names::release(records, kind, user.tenant, old, id)?;
        }
        if !new.is_empty() && !names::claim(records, kind, user.tenant, new, id)? {
            errors.add(field, check::TAKEN);
        }
    }
    Ok(())
}

/// Makes a developer. The password was hashed before, as that takes its time.
///
/// # Errors
/// What is wrong with the fields is added to `errors`, by which the command is refused.
pub(super) fn add(
    edit: &mut Edit<'_, '_, '_>,
    account: u64,
    fields: &Fields,
    (role, state): (Role, UserState),
    password_hash: Option<String>,
    errors: &mut Errors,
) -> Result<u64, Refusal> {
    let username = fields.text("username").unwrap_or_default().trim().to_owned();
    let email = fields.text("email").unwrap_or_default().trim().to_owned();
    check_login(errors, Some(&username), Some(&email));
    if User::count(account, edit.records)? >= USERS_MAX {
        errors.add("base", format!("an account has at most {USERS_MAX} users"));
    }
    let mut user = User {
        tenant: edit.tenant().0,
        account: Some(account),
        username,
        email,
        role,
        state,
        sections: Vec::new(),
        services: None,
        password_hash,
        extra: Map::new(),
        created_at: edit.now,
        updated_at: edit.now,
    };
    extra::apply(&mut user.extra, edit.records, user.tenant, Target::User, fields, OWN)?;
    let id = edit.draft.take_id();
    claim(edit.records, id, None, &user, errors)?;
    user.put(id, edit.records)?;
    Ok(id)
}

/// The hash of the password that was sent, if one was and is good; it is made before the command.
pub(super) fn password(fields: &Fields, errors: &mut Errors) -> Result<Option<String>, Refusal> {
    let Some(password) = fields.filled("password") else { return Ok(None) };
    passwords::check(errors, &password);
    if errors.is_empty() { passwords::hash(&password).map(Some) } else { Ok(None) }
}

/// A user of an account of the tenant.
fn user(seen: Seen<'_>, account: u64, id: u64) -> Result<User, Refusal> {
    let account = seen.account(account)?.id.0;
    let found = seen.records.find::<User>(id)?.filter(|user| user.account == Some(account));
    found.ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let account = seen.account(context.id(0)?)?.id.0;
    let asked = context.request.parameters();
    let (state, role) = (asked.filled("state"), asked.filled("role"));
    let is_asked_for = |user: &User| {
        state.as_ref().is_none_or(|state| state == user.state.name())
            && role.as_ref().is_none_or(|role| role == user.role.name())
    };
    let users = User::of(account, seen.records)?;
    let shown = users.iter().filter(|(_, user)| is_asked_for(user)).map(|(id, it)| entity(*id, it)).collect();
    Ok(Reply::list("users", shown, None))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(1)?;
    Ok(Reply::one(entity(id, &user(moment.seen(), context.id(0)?, id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let account = context.id(0)?;
    let mut errors = Errors::default();
    let hash = password(&fields, &mut errors)?;
    context.change(|edit| {
        edit.seen().account(account)?;
        let id = add(edit, account, &fields, (Role::Member, UserState::Pending), hash, &mut errors)?;
        errors.check()?;
        let entity = entity(id, &user(edit.seen(), account, id)?);
        Ok(Reply::created(entity).at(format!("/admin/api/accounts/{account}/users/{id}")))
    })
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let (account, id) = (context.id(0)?, context.id(1)?);
    let mut errors = Errors::default();
    let hash = password(&fields, &mut errors)?;
    context.change(|edit| {
        let before = user(edit.seen(), account, id)?;
        let mut user = before.clone();
        for (field, text) in [("username", &mut user.username), ("email", &mut user.email)] {
            if let Some(sent) = fields.text(field) {
                sent.trim().clone_into(text);
            }
        }
        check_login(&mut errors, Some(&user.username), Some(&user.email));
        claim(edit.records, id, Some(&before), &user, &mut errors)?;
        errors.check()?;
        extra::apply(&mut user.extra, edit.records, user.tenant, Target::User, &fields, OWN)?;
        user.password_hash = hash.or(user.password_hash);
        user.updated_at = edit.now;
        user.put(id, edit.records)?;
        Ok(Reply::one(entity(id, &user)))
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let user = user(edit.seen(), account, id)?;
        remove(edit.records, id, &user)?;
        Ok(Reply::gone())
    })
}

/// Takes a developer away, and frees the names.
pub(super) fn remove(records: &mut Records<'_>, id: u64, user: &User) -> Result<(), ShelfError> {
    names::release(records, Kind::DeveloperUsername, user.tenant, &user.username, id)?;
    names::release(records, Kind::DeveloperEmail, user.tenant, &user.email, id)?;
    user.delete(id, records);
    Ok(())
}

/// Changes what a user is, and answers the user.
fn turn(
    context: &Context<'_>,
    how: impl FnOnce(&mut Edit<'_, '_, '_>, u64, &mut User) -> Result<(), Refusal>,
) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let mut user = user(edit.seen(), account, id)?;
        how(edit, id, &mut user)?;
        user.updated_at = edit.now;
        user.put(id, edit.records)?;
        Ok(Reply::one(entity(id, &user)))
    })
}

fn activate(context: &Context<'_>) -> Outcome {
    turn(context, |edit, id, user| match user.state {
        UserState::Active => Ok(()),
        UserState::Suspended => Err(impossible(id, user, "activate")),
        UserState::Pending => {
            user.state = UserState::Active;
            approve_account(edit, user.account.unwrap_or(0))
        }
    })
}

/// An account that nobody has decided on is, when the first of its users is there.
fn approve_account(edit: &mut Edit<'_, '_, '_>, account: u64) -> Result<(), Refusal> {
    let Some(mut details) = edit.records.find::<AccountDetails>(account)? else { return Ok(()) };
    if details.state == AccountState::Created {
        let needs_approval = accounts::needs_approval(edit.records, &details)?;
        details.state = if needs_approval { AccountState::Pending } else { AccountState::Approved };
        details.updated_at = edit.now;
        edit.records.save(account, &details)?;
    }
    Ok(())
}

fn suspend(context: &Context<'_>) -> Outcome {
    turn(context, |_, id, user| {
        if user.state != UserState::Active {
            return Err(impossible(id, user, "suspend"));
        }
        user.state = UserState::Suspended;
        Ok(())
    })
}

fn unsuspend(context: &Context<'_>) -> Outcome {
    turn(context, |_, _, user| {
        if user.state != UserState::Suspended {
            return Err(Errors::of("state", "cannot transition via \"unsuspend\"").into());
        }
        user.state = UserState::Active;
        Ok(())
    })
}

fn impossible(id: u64, user: &User, event: &'static str) -> Refusal {
    let from = user.state.name();
    let error = format!("Cannot transition state via :{event} from :{from}");
    Refusal::Transition {
        from: from.to_owned(),
        event,
        error,
        object: Box::new(json!({"user": entity(id, user).json})),
    }
}

fn make_admin(context: &Context<'_>) -> Outcome {
    turn(context, |_, _, user| {
        user.role = Role::Admin;
        Ok(())
    })
}

fn make_member(context: &Context<'_>) -> Outcome {
    turn(context, |_, _, user| {
        user.role = Role::Member;
        Ok(())
    })
}

/// The user as answers show it.
pub(super) fn entity(id: u64, user: &User) -> Entity {
    let account = user.account.unwrap_or(user.tenant);
    let mut json = json!({
        "id": id,
        "state": user.state.name(),
        "role": user.role.name(),
        "created_at": times::text(user.created_at),
        "updated_at": times::text(user.updated_at),
        "username": user.username,
        "email": user.email,
    });
    extra::show(&user.extra, &mut json);
    json["links"] = links([
        ("account", format!("/admin/api/accounts/{account}")),
        ("self", format!("/admin/api/accounts/{account}/users/{id}")),
    ]);
    let xml = Element::new("user")
        .field("id", id)
        .field("created_at", times::text(user.created_at))
        .field("updated_at", times::text(user.updated_at))
        .field("account_id", account)
        .field("state", user.state.name())
        .field("role", user.role.name())
        .field("username", &user.username)
        .field("email", &user.email)
        .with(extra::element(&user.extra));
    Entity { wrapper: "user", json, xml }
}
