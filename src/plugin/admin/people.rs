//! Users: people who log in, of a tenant (its administrators) or of an account (developers).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Refusal, links};
use super::auth::Section;
use super::names::{self, Kind};
use super::owned::Owned;
use super::xml::Element;
use super::{check, extra, times};
use crate::plugin::records::{Record, Records};
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

impl Role {
    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Member => "member",
        }
    }
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

    /// Where it is in the API.
    pub(super) fn path(&self, id: u64) -> String {
        match self.account {
            Some(account) => format!("/admin/api/accounts/{account}/users/{id}"),
            None => format!("/admin/api/users/{id}"),
        }
    }

    /// The names that it must have alone: kind, field, text. Developers and those who administer do not get in each other's way.
    fn names(&self) -> [(Kind, &'static str, &str); 2] {
        let [username, email] = match self.account {
            Some(_) => [Kind::DeveloperUsername, Kind::DeveloperEmail],
            None => [Kind::Username, Kind::Email],
        };
        [(username, "username", &self.username), (email, "email", &self.email)]
    }

    /// Takes the names, and frees those that it had before; what others have is added to `errors`.
    pub(super) fn claim_names(
        &self,
        id: u64,
        before: Option<&User>,
        records: &mut Records<'_>,
        errors: &mut Errors,
    ) -> Result<(), ShelfError> {
        if let Some(before) = before {
            before.free_names(id, records)?;
        }
        for (kind, field, name) in self.names() {
            if !name.is_empty() && !names::claim(records, kind, self.tenant, name, id)? {
                errors.add(field, check::TAKEN);
            }
        }
        Ok(())
    }

    /// Frees its names.
    pub(super) fn free_names(&self, id: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
        let mut names = self.names().into_iter();
        names.try_for_each(|(kind, _, name)| names::release(records, kind, self.tenant, name, id))
    }

    /// The user as answers show it.
    pub(super) fn entity(&self, id: u64) -> Entity {
        let own = self.path(id);
        let links = match self.account {
            Some(account) => links([("account", format!("/admin/api/accounts/{account}")), ("self", own)]),
            None => links([
                ("account", "/admin/api/provider".to_owned()),
                ("self", own.clone()),
                ("permissions", format!("{own}/permissions")),
            ]),
        };
        let mut json = json!({
            "id": id,
            "state": self.state.name(),
            "role": self.role.name(),
            "created_at": times::text(self.created_at),
            "updated_at": times::text(self.updated_at),
            "username": self.username,
            "email": self.email,
        });
        extra::show(&self.extra, &mut json);
        json["links"] = links;
        let xml = Element::new("user")
            .field("id", id)
            .field("created_at", times::text(self.created_at))
            .field("updated_at", times::text(self.updated_at))
            .field("account_id", self.owner())
            .field("state", self.state.name())
            .field("role", self.role.name())
            .field("username", &self.username)
            .field("email", &self.email)
            .with(extra::element(&self.extra));
        Entity { wrapper: "user", json, xml }
    }

    /// That there is no such event in the user's state.
    pub(super) fn impossible(&self, id: u64, event: &'static str) -> Refusal {
        let from = self.state.name();
        let error = format!("Cannot transition state via :{event} from :{from}");
        let object = Box::new(json!({"user": self.entity(id).json}));
        Refusal::Transition { from: from.to_owned(), event, error, object }
    }
}
