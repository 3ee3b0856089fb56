//! Developers, users of accounts: `/accounts/{id}/users`.
//!
//! A user begins pending, as a member. Only the username must be there, though the original's list of parameters marks e-mail address and password,
//! too: its clients leave them out, as they may in a signup, and who has no password cannot log in. Activating one approves an account that nobody has decided on yet, unless its plan asks for approval.

use super::account_details::{AccountDetails, AccountState, needs_approval};
use super::answer::{Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::context::{Context, Edit};
use super::logins::{self, turn};
use super::owned::Owned;
use super::people::{Role, User, UserState};
use super::routes::{DELETE, GET, POST, PUT, Route};
use crate::plugin::records::Records;
use crate::store::ShelfError;

const ACCESS: Access = Access::section(Section::Partners);

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "accounts/{account_id}/users", ACCESS, logins::list),
    Route::new(POST, "accounts/{account_id}/users", ACCESS, create),
    Route::new(GET, "accounts/{account_id}/users/{id}", ACCESS, logins::show),
    Route::new(PUT, "accounts/{account_id}/users/{id}", ACCESS, logins::update),
    Route::new(DELETE, "accounts/{account_id}/users/{id}", ACCESS, delete),
    Route::new(PUT, "accounts/{account_id}/users/{id}/activate", ACCESS, activate),
    Route::new(PUT, "accounts/{account_id}/users/{id}/suspend", ACCESS, suspend),
    Route::new(PUT, "accounts/{account_id}/users/{id}/unsuspend", ACCESS, logins::unsuspend),
    Route::new(PUT, "accounts/{account_id}/users/{id}/admin", ACCESS, logins::make_admin),
    Route::new(PUT, "accounts/{account_id}/users/{id}/member", ACCESS, make_member),
];

fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("user")?;
    let mut errors = Errors::default();
    let hash = logins::password(&fields, &mut errors)?;
    context.change(|edit| {
        let account = context.account(edit.seen())?;
        let id = logins::add(edit, account, &fields, (Role::Member, UserState::Pending), hash, &mut errors)?;
        errors.check()?;
        logins::made(edit, id)
    })
}

fn delete(context: &Context<'_>) -> Outcome {
    context.change(|edit| {
        let (id, user) = logins::find(context, edit.seen())?;
        remove(edit.records, id, &user)?;
        Ok(Reply::gone())
    })
}

/// Takes a developer away, and frees the names.
pub(super) fn remove(records: &mut Records<'_>, id: u64, user: &User) -> Result<(), ShelfError> {
    user.free_names(id, records)?;
    user.delete(id, records);
    Ok(())
}

fn activate(context: &Context<'_>) -> Outcome {
    turn(context, |edit, id, user| match user.state {
        UserState::Active => Ok(()),
        UserState::Suspended => Err(user.impossible(id, "activate")),
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
        let is_waiting = needs_approval(edit.records, &details)?;
        details.state = if is_waiting { AccountState::Pending } else { AccountState::Approved };
        details.updated_at = edit.now;
        details.put(account, edit.caller.tenant.0, edit.records)?;
    }
    Ok(())
}

fn suspend(context: &Context<'_>) -> Outcome {
    turn(context, |_, id, user| {
        if user.state != UserState::Active {
            return Err(user.impossible(id, "suspend"));
        }
        user.state = UserState::Suspended;
        Ok(())
    })
}

fn make_member(context: &Context<'_>) -> Outcome {
    turn(context, |_, _, user| {
        user.role = Role::Member;
        Ok(())
    })
}
