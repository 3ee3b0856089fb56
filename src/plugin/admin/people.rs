//! Users: people who log in, of a tenant (its administrators) or of an account (developers).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::auth::Section;
use crate::plugin::records::{Record, Records, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::Table;

/// What a user is to the others.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(super) enum Role {
    Admin,
    Member,
}

/// Whether a user may log in.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub(super) enum UserState {
    Pending,
    Active,
    Suspended,
}

/// A user.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct User {
    pub(super) tenant: u64,
    /// The account whose user it is; none for one of the tenant itself.
    pub(super) account: Option<u64>,
    pub(super) username: String,
    pub(super) email: String,
    pub(super) role: Role,
    pub(super) state: UserState,
    /// What a member of the tenant may do.
    #[serde(default)]
    pub(super) sections: Vec<Section>,
    /// The services that a member of the tenant is shown; without a list all.
    #[serde(default)]
    pub(super) services: Option<Vec<u64>>,
    /// Of the password, in the PHC form of argon2id; none if none was given.
    #[serde(default)]
    pub(super) password_hash: Option<String>,
    /// Fields that the tenant has defined.
    #[serde(default)]
    pub(super) extra: Map<String, Value>,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
}

impl Record for User {
    const TABLE: Table = Table("users");
}

/// Ids of users by owner (account, or tenant for its own), as keys.
const BY_OWNER: Table = Table("users_by_owner");

impl User {
    pub(super) fn is_active(&self) -> bool {
        self.state == UserState::Active
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether the user may do what belongs to a section.
    pub(super) fn may(&self, section: Section) -> bool {
        self.is_admin() || self.sections.contains(&section)
    }

    /// Whether the user is shown a service.
    pub(super) fn may_see(&self, service: u64) -> bool {
        self.is_admin() || self.services.as_ref().is_none_or(|services| services.contains(&service))
    }

    fn owner(&self) -> u64 {
        self.account.unwrap_or(self.tenant)
    }

    /// Puts a user on the shelf, with what it is listed by.
    pub(super) fn put(&self, id: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        records.put(BY_OWNER, &pair_key(self.owner(), id), Vec::new());
        records.save(id, self)
    }

    /// Takes a user away.
    pub(super) fn delete(&self, id: u64, records: &mut Records<'_>) {
        records.delete(BY_OWNER, &pair_key(self.owner(), id));
        records.remove::<User>(id);
    }

    /// The users of an account, or of a tenant itself, by ascending id.
    pub(super) fn of_owner(owner: u64, records: &Records<'_>) -> Result<Vec<(u64, User)>, ShelfError> {
        let mut users = Vec::new();
        for (key, _) in records.all_rows(BY_OWNER, &id_key(owner))? {
            let id = id_of(&key).unwrap_or(0);
            users.extend(records.find::<User>(id)?.map(|user| (id, user)));
        }
        Ok(users)
    }
}
