//! Users: people who log in, of a tenant (its administrators) or of an account (developers).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::auth::Section;
use super::owned::Owned;
use crate::plugin::records::Record;
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

impl Owned for User {
    const BY_OWNER: Table = Table("users_by_owner");

    fn owners(&self) -> Vec<u64> {
        vec![self.owner()]
    }
}

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

    /// The account, or the tenant for its own.
    pub(super) fn owner(&self) -> u64 {
        self.account.unwrap_or(self.tenant)
    }
}
