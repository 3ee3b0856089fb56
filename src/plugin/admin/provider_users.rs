//! Users of the tenant itself, its administrators: `/users`.
//!
//! A user begins pending, as a member who may do nothing; an admin may do everything. A tenant keeps at least one admin who can log in, so the last
//! one can neither go, nor be suspended, nor become a member; and nobody takes themselves away.
//!
//! A member may do what belongs to the sections that are allowed to them, with the services that are: all, without a list.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply, links};
use super::auth::{Access, Section, Token};
use super::check;
use super::context::{Context, Edit, Seen};
use super::extra::{self, Target};
use super::names::{self, Kind};
use super::notifications::Preferences;
use super::owned::Owned;
use super::people::{Role, User, UserState};
use super::request::Fields;
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::times;
use super::users::{check_login, password};
use super::xml::Element;
use crate::model::catalog::Change;
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::ADMINS;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "users", ACCESS, list),
    Route::new(POST, "users", ACCESS, create),
    Route::new(GET, "users/{id}", ACCESS, show),
    Route::new(PUT, "users/{id}", ACCESS, update),
    Route::new(DELETE, "users/{id}", ACCESS, delete),
    Route::new(PUT, "users/{id}/activate", ACCESS, activate),
    Route::new(PUT, "users/{id}/suspend", ACCESS, suspend),
    Route::new(PUT, "users/{id}/unsuspend", ACCESS, unsuspend),
    Route::new(PUT, "users/{id}/admin", ACCESS, make_admin),
    Route::new(PUT, "users/{id}/member", ACCESS, make_member),
    Route::new(GET, "users/{id}/permissions", ACCESS, show_permissions),
    Route::new(PUT, "users/{id}/permissions", ACCESS, update_permissions),
];

/// The most users of a tenant itself.
const USERS_MAX: usize = 10_000;

/// The fields of a user that need no definition.
const OWN: &[&str] = &["username", "email", "password"];

/// How a form says that a list is empty.
const EMPTY: &str = "[]";

/// A user of the tenant itself.
fn find(seen: Seen<'_>, id: u64) -> Result<User, Refusal> {
    let found = seen.records.find::<User>(id)?;
    let is_own = |user: &User| user.account.is_none() && user.tenant == seen.caller.tenant.0;
    found.filter(is_own).ok_or(Refusal::NotFound)
}

fn list(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let asked = context.request.parameters();
    let (state, role) = (asked.filled("state"), asked.filled("role"));
    let is_asked_for = |user: &User| {
        state.as_ref().is_none_or(|state| state == user.state.name())
            && role.as_ref().is_none_or(|role| role == user.role.name())
    };
    let users = User::of(context.caller.tenant.0, moment.seen().records)?;
    let shown = users.iter().filter(|(_, user)| is_asked_for(user)).map(|(id, it)| entity(*id, it)).collect();
    Ok(Reply::list("users", shown, None))
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(Reply::one(entity(id, &find(moment.seen(), id)?)))
}

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let mut errors = Errors::default();
    if !fields.has("password") {
        errors.add("password", check::BLANK);
    }
    let hash = password(&fields, &mut errors)?;
    context.change(|edit| {
        let id = add(edit, &fields, (Role::Member, UserState::Pending), hash, &mut errors)?;
        errors.check()?;
        let entity = entity(id, &find(edit.seen(), id)?);
        Ok(Reply::created(entity).at(format!("/admin/api/users/{id}")))
    })
}

/// Makes a user of the tenant itself.
///
/// # Errors
/// There are too many. What is wrong with the fields is added to `errors`, by which the command is refused.
pub(super) fn add(
    edit: &mut Edit<'_, '_, '_>,
    fields: &Fields,
    (role, state): (Role, UserState),
    password_hash: Option<String>,
    errors: &mut Errors,
) -> Result<u64, Refusal> {
    let tenant = edit.tenant().0;
    if User::count(tenant, edit.records)? >= USERS_MAX {
        return Err(Refusal::Closed);
    }
    let mut user = User {
        tenant,
        account: None,
        username: fields.text("username").unwrap_or_default().trim().to_owned(),
        email: fields.text("email").unwrap_or_default().trim().to_owned(),
        role,
        state,
        sections: Vec::new(),
        services: None,
        password_hash,
        extra: Map::new(),
        created_at: edit.now,
        updated_at: edit.now,
    };
    let id = edit.draft.take_id();
    check_names(edit.records, id, None, &user, errors)?;
    extra::apply(&mut user.extra, edit.records, tenant, Target::User, fields, OWN)?;
    user.put(id, edit.records)?;
    Ok(id)
}

/// Takes the names of a user that changed, and frees those before.
fn check_names(
    records: &mut Records<'_>,
    id: u64,
    before: Option<&User>,
    user: &User,
    errors: &mut Errors,
) -> Result<(), ShelfError> {
    check_login(errors, Some(&user.username), Some(&user.email));
    if user.email.is_empty() {
        errors.add("email", check::BLANK);
    }
    for (kind, field, old, new) in [
        (Kind::Username, "username", before.map(|it| it.username.as_str()), user.username.as_str()),
        (Kind::Email, "email", before.map(|it| it.email.as_str()), user.email.as_str()),
    ] {
        if let Some(old) = old.filter(|old| *old != new) {
            names::release(records, kind, user.tenant, old, id)?;
        }
        if !new.is_empty() && !names::claim(records, kind, user.tenant, new, id)? {
            errors.add(field, check::TAKEN);
        }
    }
    Ok(())
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let mut errors = Errors::default();
    let hash = password(&fields, &mut errors)?;
    turn(context, |edit, id, user| {
        let before = user.clone();
        for (field, text) in [("username", &mut user.username), ("email", &mut user.email)] {
            if let Some(sent) = fields.text(field) {
                sent.trim().clone_into(text);
            }
        }
        check_names(edit.records, id, Some(&before), user, &mut errors)?;
        errors.check()?;
        extra::apply(&mut user.extra, edit.records, user.tenant, Target::User, &fields, OWN)?;
        user.password_hash = hash.or(user.password_hash.take());
        Ok(())
    })
}

/// Changes what a user is, and answers the user.
fn turn(
    context: &Context<'_>,
    how: impl FnOnce(&mut Edit<'_, '_, '_>, u64, &mut User) -> Result<(), Refusal>,
) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let mut user = find(edit.seen(), id)?;
        how(edit, id, &mut user)?;
        user.updated_at = edit.now;
        user.put(id, edit.records)?;
        Ok(Reply::one(entity(id, &user)))
    })
}

/// Whether nobody else could administer the tenant.
fn is_last_admin(edit: &Edit<'_, '_, '_>, id: u64, user: &User) -> Result<bool, ShelfError> {
    let is_good = |user: &User| user.is_admin() && user.is_active();
    let others = User::of(user.tenant, edit.records)?;
    Ok(is_good(user) && !others.iter().any(|(other, user)| *other != id && is_good(user)))
}

fn last_admin() -> Errors {
    Errors::of("base", "the last administrator must stay one")
}

fn delete(context: &Context<'_>) -> Outcome {
    let id = context.id(0)?;
    context.change(|edit| {
        let user = find(edit.seen(), id)?;
        if edit.caller.is(id) {
            return Err(Refusal::Forbidden);
        }
        if is_last_admin(edit, id, &user)? {
            return Err(Refusal::Undeletable(last_admin()));
        }
        remove(edit.records, id, &user)?;
        Ok(Reply::gone())
    })
}

/// Takes a user away with all that is the user's alone.
fn remove(records: &mut Records<'_>, id: u64, user: &User) -> Result<(), ShelfError> {
    names::release(records, Kind::Username, user.tenant, &user.username, id)?;
    names::release(records, Kind::Email, user.tenant, &user.email, id)?;
    Token::delete_all_of(id, records)?;
    records.remove::<Preferences>(id);
    user.delete(id, records);
    Ok(())
}

fn activate(context: &Context<'_>) -> Outcome {
    turn(context, |_, id, user| match user.state {
        UserState::Suspended => Err(impossible(id, user, "activate")),
        UserState::Active | UserState::Pending => {
            user.state = UserState::Active;
            Ok(())
        }
    })
}

fn suspend(context: &Context<'_>) -> Outcome {
    turn(context, |edit, id, user| {
        if edit.caller.is(id) {
            return Err(Refusal::Forbidden);
        }
        if user.state != UserState::Active {
            return Err(impossible(id, user, "suspend"));
        }
        if is_last_admin(edit, id, user)? {
            return Err(last_admin().into());
        }
        user.state = UserState::Suspended;
        Ok(())
    })
}

fn unsuspend(context: &Context<'_>) -> Outcome {
    turn(context, |_, id, user| {
        if user.state != UserState::Suspended {
            return Err(impossible(id, user, "unsuspend"));
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
    turn(context, |edit, id, user| {
        if is_last_admin(edit, id, user)? {
            return Err(last_admin().into());
        }
        user.role = Role::Member;
        Ok(())
    })
}

fn show_permissions(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let id = context.id(0)?;
    Ok(permissions(moment.seen(), id, &find(moment.seen(), id)?))
}

/// Lists that were sent take the place of those before. Services that there are not are passed over.
fn update_permissions(context: &Context<'_>) -> Outcome {
    let fields = context.fields("permissions")?;
    let id = context.id(0)?;
    let items = |name: &str| {
        let mut items = fields.texts(name)?;
        items.retain(|item| item != EMPTY);
        Some(items)
    };
    context.change(|edit| {
        let mut user = find(edit.seen(), id)?;
        if let Some(names) = items("allowed_sections") {
            let sections: BTreeSet<_> = names.iter().filter_map(|name| Section::parse(name)).collect();
            if names.iter().any(|name| Section::parse(name).is_none()) {
                return Err(Errors::of("allowed_sections", check::NOT_LISTED).into());
            }
            user.sections = sections.into_iter().collect();
        }
        user.services = match (fields.value("allowed_service_ids"), items("allowed_service_ids")) {
            // In JSON, no list is all services.
            (Some(Value::Null), _) => None,
            (_, Some(ids)) => {
                let ids: BTreeSet<u64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
                Some(ids.into_iter().filter(|id| edit.seen().service(*id).is_ok()).collect())
            }
            _ => user.services,
        };
        user.updated_at = edit.now;
        user.put(id, edit.records)?;
        Ok(permissions(edit.seen(), id, &user))
    })
}

/// What a user may do: an admin everything.
fn permissions(seen: Seen<'_>, id: u64, user: &User) -> Reply {
    let mut sections: Vec<_> =
        Section::ALL.into_iter().filter(|it| user.may(*it)).map(Section::name).collect();
    sections.sort_unstable();
    let listed = user.services.as_ref().filter(|_| !user.is_admin());
    // One that was deleted since is not shown; its id is never another's.
    let services = listed.map(|ids| {
        let ids = ids.iter().copied();
        ids.filter(|id| seen.service(*id).is_ok()).collect::<Vec<_>>()
    });
    let json = json!({"permissions": {
        "user_id": id,
        "role": user.role.name(),
        "allowed_sections": sections,
        "allowed_service_ids": services,
    }});
    let (mut all_sections, mut all_services) =
        (Element::new("allowed_sections"), Element::new("allowed_service_ids"));
    sections.iter().for_each(|name| all_sections.push(Element::text("allowed_section", name)));
    let listed = services.iter().flatten();
    listed.for_each(|id| all_services.push(Element::text("allowed_service_id", id)));
    let xml = Element::new("permissions")
        .field("user_id", id)
        .field("role", user.role.name())
        .with(all_sections)
        .with(all_services);
    Reply::written(json, xml)
}

/// The user as answers show it.
pub(super) fn entity(id: u64, user: &User) -> Entity {
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
        ("account", "/admin/api/provider".to_owned()),
        ("self", format!("/admin/api/users/{id}")),
        ("permissions", format!("/admin/api/users/{id}/permissions")),
    ]);
    let xml = Element::new("user")
        .field("id", id)
        .field("created_at", times::text(user.created_at))
        .field("updated_at", times::text(user.updated_at))
        .field("account_id", user.tenant)
        .field("state", user.state.name())
        .field("role", user.role.name())
        .field("username", &user.username)
        .field("email", &user.email)
        .with(extra::element(&user.extra));
    Entity { wrapper: "user", json, xml }
}

/// They go with their tenant.
pub(super) fn accompany(
    accompanied: &Accompanied<'_>,
    records: &mut Records<'_>,
    _: u64,
) -> Result<(), ShelfError> {
    for change in accompanied.changes {
        if let Change::DeleteTenant(tenant) = change {
            for (id, user) in User::of(tenant.0, records)? {
                remove(records, id, &user)?;
            }
        }
    }
    Ok(())
}
