//! Users of the tenant itself, its administrators: `/users`.
//!
//! A user begins pending, as a member who may do nothing; an admin may do everything. A tenant keeps at least one admin who can log in, so the last
//! one can neither go, nor be suspended, nor become a member; and nobody takes themselves away.
//!
//! A member may do what belongs to the sections that are allowed to them, with the services that are: all, without a list.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::{Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section, Token};
use super::check;
use super::context::{Context, Edit, Seen};
use super::logins::{self, turn};
use super::notifications::Preferences;
use super::owned::Owned;
use super::people::{Role, User, UserState};
use super::routes::{DELETE, GET, POST, PUT, Route};
use super::xml::Element;
use crate::model::catalog::Change;
use crate::plugin::host::Accompanied;
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::ADMINS;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "users", ACCESS, logins::list),
    Route::new(POST, "users", ACCESS, create),
    Route::new(GET, "users/{id}", ACCESS, logins::show),
    Route::new(PUT, "users/{id}", ACCESS, logins::update),
    Route::new(DELETE, "users/{id}", ACCESS, delete),
    Route::new(PUT, "users/{id}/activate", ACCESS, activate),
    Route::new(PUT, "users/{id}/suspend", ACCESS, suspend),
    Route::new(PUT, "users/{id}/unsuspend", ACCESS, logins::unsuspend),
    Route::new(PUT, "users/{id}/admin", ACCESS, logins::make_admin),
    Route::new(PUT, "users/{id}/member", ACCESS, make_member),
    Route::new(GET, "users/{id}/permissions", ACCESS, show_permissions),
    Route::new(PUT, "users/{id}/permissions", ACCESS, update_permissions),
];

/// How a form says that a list is empty.
const EMPTY: &str = "[]";

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let mut errors = Errors::default();
    if fields.filled("password").is_none() {
        errors.add("password", check::BLANK);
    }
    let hash = logins::password(&fields, &mut errors)?;
    context.change(|edit| {
        let as_what = (Role::Member, UserState::Pending);
        let id = logins::add(edit, None, &fields, as_what, hash, &mut errors)?;
        errors.check()?;
        logins::made(edit, id)
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
    context.change(|edit| {
        let (id, user) = logins::find(context, edit.seen())?;
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
    user.free_names(id, records)?;
    Token::delete_all_of(id, records)?;
    records.remove::<Preferences>(id);
    user.delete(id, records);
    Ok(())
}

fn activate(context: &Context<'_>) -> Outcome {
    turn(context, |_, id, user| match user.state {
        UserState::Suspended => Err(user.impossible(id, "activate")),
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
            return Err(user.impossible(id, "suspend"));
        }
        if is_last_admin(edit, id, user)? {
            return Err(last_admin().into());
        }
        user.state = UserState::Suspended;
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
    let (id, user) = logins::find(context, moment.seen())?;
    Ok(permissions(moment.seen(), id, &user))
}

/// Lists that were sent take the place of those before. Services that there are not are passed over.
fn update_permissions(context: &Context<'_>) -> Outcome {
    let fields = context.fields("permissions")?;
    let items = |name: &str| {
        let mut items = fields.texts(name)?;
        items.retain(|item| item != EMPTY);
        Some(items)
    };
    context.change(|edit| {
        let (id, mut user) = logins::find(context, edit.seen())?;
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
