//! Who calls, and what they may do: 3scale's credentials, scopes and permissions.
//!
//! - A *provider key* is its tenant: everything, in nobody's name.
//! - An *access token* is a user's, for some scopes, for reading (`ro`) or also for writing (`rw`), until it expires. What the user may
//!   not do, the token may not either.
//! - An *admin* may do everything; a *member* what belongs to the sections that were allowed, with the services that were allowed.
//!   A service that is not is as good as absent (404); what is in no allowed section is forbidden (403).
//!
//! A token's value is shown once, when it is made. Kept is its SHA-384; comparing takes the same time whatever is compared, as only hashes are.

use ring::digest::{SHA384, digest};
use serde::{Deserialize, Serialize};

use super::answer::Refusal;
use super::owned::Owned;
use super::people::User;
use super::places::MASTER;
use crate::engine::Engine;
use crate::model::catalog::Key;
use crate::model::id::{ServiceId, TenantId};
use crate::model::time::UnixMillis;
use crate::plugin::call::{Call, Method};
use crate::plugin::records::{Record, Records};
use crate::store::ShelfError;
use crate::store::shelf::Table;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    Cms,
    Finance,
    AccountManagement,
    Stats,
    PolicyRegistry,
}

impl Scope {
    pub(super) const ALL: [Scope; 5] =
        [Scope::Cms, Scope::Finance, Scope::AccountManagement, Scope::Stats, Scope::PolicyRegistry];

    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Scope::Cms => "cms",
            Scope::Finance => "finance",
            Scope::AccountManagement => "account_management",
            Scope::Stats => "stats",
            Scope::PolicyRegistry => "policy_registry",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// The section that a member must be allowed to have such a token.
    pub(super) fn section(self) -> Section {
        match self {
            Scope::Cms => Section::Portal,
            Scope::Finance => Section::Finance,
            Scope::AccountManagement => Section::Partners,
            Scope::Stats => Section::Monitoring,
            Scope::PolicyRegistry => Section::PolicyRegistry,
        }
    }
}

/// A part of the administration that a member can be allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Section {
    Portal,
    Finance,
    Settings,
    /// Accounts, their users and applications.
    Partners,
    Monitoring,
    /// Services and all that belongs to them.
    Plans,
    PolicyRegistry,
}

impl Section {
    pub(super) const ALL: [Section; 7] = [
        Section::Portal,
        Section::Finance,
        Section::Settings,
        Section::Partners,
        Section::Monitoring,
        Section::Plans,
        Section::PolicyRegistry,
    ];

    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Section::Portal => "portal",
            Section::Finance => "finance",
            Section::Settings => "settings",
            Section::Partners => "partners",
            Section::Monitoring => "monitoring",
            Section::Plans => "plans",
            Section::PolicyRegistry => "policy_registry",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Section> {
        Section::ALL.into_iter().find(|section| section.name() == name)
    }
}

/// Whom a route is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Members {
    /// Any user.
    All,
    /// Any user, but no provider key: it is about the one who calls.
    Persons,
    /// Members who are allowed this section, and admins.
    Of(Section),
    /// Admins alone.
    None,
}

/// What a route asks of its caller: a token with one of these scopes, and with that one beside it, of such a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) scopes: &'static [Scope],
    pub(super) also: Option<Scope>,
    pub(super) members: Members,
}

impl Access {
    /// A token with one of these scopes, of such a user.
    pub(super) const fn of(scopes: &'static [Scope], members: Members) -> Access {
        Access { scopes, also: None, members }
    }

    /// A token for account management, of an admin or of a member who is allowed the section.
    pub(super) const fn section(section: Section) -> Access {
        Access::of(&[Scope::AccountManagement], Members::Of(section))
    }

    /// A token for account management, of an admin.
    pub(super) const ADMINS: Access = Access::of(&[Scope::AccountManagement], Members::None);

    /// A token for account management, of a person, who is told and changes what is their own.
    pub(super) const PERSONS: Access = Access::of(&[Scope::AccountManagement], Members::Persons);

    /// A token for account management, of anybody.
    pub(super) const ANYBODY: Access = Access::of(&[Scope::AccountManagement], Members::All);
}

/// Whether a token may write.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) enum Permission {
    #[serde(rename = "ro")]
    Read,
    #[serde(rename = "rw")]
    Write,
}

/// An access token.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Token {
    pub(super) tenant: u64,
    pub(super) user: u64,
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) permission: Permission,
    /// In milliseconds since 1970 UTC; from then on it is as if there were none.
    pub(super) expires_at: Option<u64>,
    /// SHA-384 of the value, in hex.
    pub(super) hash: String,
}

impl Record for Token {
    const TABLE: Table = Table("access_tokens");
}

/// Ids of tokens by the hash of their value.
const BY_HASH: Table = Table("access_tokens_by_hash");

impl Owned for Token {
    const BY_OWNER: Table = Table("access_tokens_by_user");

    fn owners(&self) -> Vec<u64> {
        vec![self.user]
    }

    fn found_by(&self) -> Option<(Table, &str)> {
        Some((BY_HASH, &self.hash))
    }
}

/// The hash that a value is kept as.
pub(super) fn hash_of(value: &str) -> String {
    digest(&SHA384, value.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Token {
    /// The token of that value, whether or not it has expired.
    pub(super) fn of_value(value: &str, records: &Records<'_>) -> Result<Option<(u64, Token)>, ShelfError> {
        Token::by_key(BY_HASH, &hash_of(value), records)
    }

    /// Whether it is good at this time.
    pub(super) fn is_good(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|end| now.0 < end)
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) tenant: TenantId,
    scopes: Vec<Scope>,
    permission: Permission,
    /// In whose name; a provider key is in nobody's.
    pub(super) user: Option<(u64, User)>,
    /// Id and name of the access token; none of a provider key.
    pub(super) token: Option<(u64, String)>,
}

/// The credentials of a call: in parameters, or as either half of basic authentication.
pub(super) fn credential(call: &Call) -> Option<String> {
    let parameter =
        |name: &str| super::request::text_of(call.parameters.get(name)?).filter(|it| !it.is_empty());
    let basic = || {
        let (user, password) = call.basic.as_ref()?;
        [user, password].into_iter().find(|half| !half.is_empty()).cloned()
    };
    parameter("access_token")
        .or_else(|| parameter("provider_key"))
        .or_else(|| parameter("api_key"))
        .or_else(basic)
}

impl Caller {
    /// Who has the credentials of a call.
    ///
    /// # Errors
    /// Nobody has, or they have expired.
    pub(super) fn of(
        call: &Call,
        engine: &Engine,
        records: &Records<'_>,
        now: UnixMillis,
    ) -> Result<Caller, Refusal> {
        let credential = credential(call).ok_or(Refusal::AccessDenied)?;
        if let Some((id, token)) = Token::of_value(&credential, records)? {
            let user = records.find::<User>(token.user)?.filter(|user| user.is_active());
            let user = user.filter(|_| token.is_good(now)).ok_or(Refusal::AccessDenied)?;
            let scopes = token.scopes.iter().copied().filter(|scope| user.may(scope.section())).collect();
            let (tenant, permission) = (TenantId(token.tenant), token.permission);
            let (user, token) = (Some((token.user, user)), Some((id, token.name)));
            return Ok(Caller { tenant, scopes, permission, user, token });
        }
        let tenant = engine.find(Key::ProviderKey(&credential)).ok_or(Refusal::AccessDenied)?;
        Ok(Caller::owner(TenantId(tenant)))
    }

    /// Who may do everything for a tenant: in whose name the master does what a tenant begins with.
    pub(super) fn owner(tenant: TenantId) -> Caller {
        let (scopes, permission) = (Scope::ALL.to_vec(), Permission::Write);
        Caller { tenant, scopes, permission, user: None, token: None }
    }

    /// Whether it is the master, which has no services and accounts.
    pub(super) fn is_master(&self) -> bool {
        self.tenant == MASTER
    }

    /// Whether the token is not for reading alone.
    pub(super) fn may_write(&self) -> bool {
        self.permission == Permission::Write
    }

    /// Whether the caller may use a route in this way.
    ///
    /// # Errors
    /// The token is for other things or for reading only, or the user may not.
    pub(super) fn check(&self, access: Access, method: Method) -> Result<(), Refusal> {
        let has = |scope: &Scope| self.scopes.contains(scope);
        let is_for_it = access.scopes.iter().any(has) && access.also.iter().all(has);
        let may_write = method == Method::Get || self.may_write();
        if !is_for_it || !may_write {
            return Err(Refusal::Scope);
        }
        let is_allowed = match (&self.user, access.members) {
            (user, Members::Persons) => user.is_some(),
            (None, _) | (_, Members::All) => true,
            (Some((_, user)), Members::Of(section)) => user.may(section),
            (Some((_, user)), Members::None) => user.is_admin(),
        };
        if is_allowed { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// Whether the caller is shown a service.
    pub(super) fn may_see(&self, service: ServiceId) -> bool {
        self.user.as_ref().is_none_or(|(_, user)| user.may_see(service.0))
    }

    /// The user who calls.
    ///
    /// # Errors
    /// It is a provider key, which is nobody's.
    pub(super) fn person(&self) -> Result<(u64, &User), Refusal> {
        self.user.as_ref().map(|(id, user)| (*id, user)).ok_or(Refusal::Forbidden)
    }

    /// Whether a user is the one who calls.
    pub(super) fn is(&self, user: u64) -> bool {
        self.user.as_ref().is_some_and(|(id, _)| *id == user)
    }
}
