//! Words of a live 3scale that a document has not: each is one that it has, and that is said.
//!
//! What 3scale's API documents is taken as it is; older versions and other editions show more. Where something has to be guessed it is what lets nobody in.

use super::{Making, Record, text};

/// What a word of a record may be.
pub(super) struct Words {
    /// The field.
    key: &'static str,
    /// Those that a document has too.
    known: &'static [&'static str],
    /// Others, and what each is here.
    others: &'static [(&'static str, &'static str)],
    /// What all others are here, and what stands where there is none.
    unknown: &'static str,
}

/// Of accounts. What was suspended there must not be let into a portal here by itself.
pub(super) const ACCOUNT_STATES: Words = Words {
    key: "state",
    known: &["created", "pending", "approved", "rejected"],
    others: &[("suspended", "rejected"), ("scheduled_for_deletion", "rejected")],
    unknown: "pending",
};

/// Of developers.
pub(super) const USER_STATES: Words = Words {
    key: "state",
    known: &["pending", "active", "suspended"],
    others: &[("email_unverified", "pending")],
    unknown: "pending",
};

/// Of developers.
pub(super) const ROLES: Words =
    Words { key: "role", known: &["admin", "member"], others: &[], unknown: "member" };

/// Of applications and subscriptions.
pub(super) const CONTRACT_STATES: Words =
    Words { key: "state", known: &["pending", "live", "suspended"], others: &[], unknown: "suspended" };

/// How the callers of a service identify themselves.
pub(super) const BACKEND_VERSIONS: Words = Words {
    key: "backend_version",
    known: &["1", "2", "oauth", "oidc"],
    others: &[("oauth2", "oauth"), ("openid_connect", "oidc")],
    unknown: "1",
};

/// Where the gateways of a service are. Plugins (`plugin_ruby` ...) are known by how they begin.
pub(super) const DEPLOYMENT_OPTIONS: Words = Words {
    key: "deployment_option",
    known: &["hosted", "self_managed", "service_mesh_istio"],
    others: &[("on_premise", "self_managed"), ("on_3scale", "hosted")],
    unknown: "self_managed",
};

/// Who issues tokens.
pub(super) const ISSUER_TYPES: Words =
    Words { key: "oidc_issuer_type", known: &["keycloak", "rest"], others: &[], unknown: "keycloak" };

/// How a claim of a token is read.
pub(super) const CLAIM_TYPES: Words = Words {
    key: "jwt_claim_with_client_id_type",
    known: &["plain", "liquid"],
    others: &[],
    unknown: "plain",
};

impl Making<'_, '_> {
    /// Puts the word of a record into what is shown of it, and says if that is another. Gives what it is.
    pub(super) fn put_word(
        &mut self,
        shown: &mut Record,
        record: &Record,
        words: &Words,
        whose: &str,
    ) -> String {
        let key = words.key;
        let was = text(record, key);
        let is = match was {
            Some(was) if words.known.contains(&was) => was,
            Some(was) if key == "deployment_option" && was.starts_with("plugin_") => was,
            Some(was) => {
                words.others.iter().find(|(other, _)| *other == was).map_or(words.unknown, |it| it.1)
            }
            None => words.unknown,
        };
        if was != Some(is) {
            let was = was.map_or_else(|| "is not shown".to_owned(), |was| format!("was {was}"));
            self.note(format!("{whose}: {key} {was}, and is {is} here"));
        }
        shown.insert(key.into(), is.into());
        is.to_owned()
    }
}
