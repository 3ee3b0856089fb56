//! Values that the admin API here does not take: an older 3scale, or one that was set up otherwise, let them pass. Each is left out and said, as it would have the whole
//! command refused. What the rules are is the admin API's affair; one that is not known here is told when the document is looked at.

use std::collections::HashSet;

use serde_json::Value;

use super::{Making, Record, text};
use crate::document::endpoint::{Endpoint, PRIVATE, WEB};
use crate::document::values::{self, TEXT_LEN_MAX};

/// A rule for a text of a record: its key, its greatest length in bytes, and whether it can be.
type Rule = (&'static str, usize, fn(&str) -> bool);

/// Of proxies.
pub(super) const PROXY: &[Rule] = &[
    ("api_backend", TEXT_LEN_MAX, |it| it.is_empty() || Endpoint::parse(it, &PRIVATE).is_some()),
    ("oauth_login_url", TEXT_LEN_MAX, |it| it.is_empty() || Endpoint::parse(it, &WEB).is_some()),
    ("hostname_rewrite", TEXT_LEN_MAX, values::is_host),
    ("api_test_path", values::TEST_PATH_LEN_MAX, |it| it.is_empty() || values::is_test_path(it)),
    ("auth_app_key", TEXT_LEN_MAX, values::is_parameter),
    ("auth_app_id", TEXT_LEN_MAX, values::is_parameter),
    ("auth_user_key", TEXT_LEN_MAX, values::is_parameter),
    ("secret_token", TEXT_LEN_MAX, values::is_parameter),
    ("error_auth_failed", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_auth_missing", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_no_match", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_limits_exceeded", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_headers_auth_failed", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_headers_auth_missing", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_headers_no_match", TEXT_LEN_MAX, values::is_gateways_answer),
    ("error_headers_limits_exceeded", TEXT_LEN_MAX, values::is_gateways_answer),
];

/// Of users.
pub(super) const USER: &[Rule] = &[("email", TEXT_LEN_MAX, |it| it.is_empty() || values::is_email(it))];

/// Of applications.
pub(super) const APPLICATION: &[Rule] = &[("user_key", TEXT_LEN_MAX, values::is_user_key)];

/// Whether a backend can be there. None is at the machine that a gateway runs on.
pub(super) fn is_private_endpoint(url: &str) -> bool {
    let endpoint = Endpoint::parse(url, &PRIVATE).filter(|it| !it.is_localhost());
    endpoint.is_some() && url.len() <= TEXT_LEN_MAX
}

/// Whether a user can be called so.
pub(super) fn is_username(name: &str) -> bool {
    let length = name.chars().count();
    values::USERNAME_LEN.contains(&length) && !name.trim().is_empty() && values::is_username(name)
}

/// Whether an application can have this key beside others.
pub(super) fn is_key(key: &str) -> bool {
    values::KEY_LEN.contains(&key.len()) && values::is_printable(key)
}

/// Whether an application can have this filter beside others.
pub(super) fn is_filter(filter: &str) -> bool {
    (1..=TEXT_LEN_MAX).contains(&filter.len()) && values::is_filter(filter)
}

impl Making<'_, '_> {
    /// Takes out of a record what the rules do not let pass. Values are not shown: some are secrets.
    pub(super) fn fit(&mut self, record: &mut Record, rules: &[Rule], whose: &str) {
        for (key, len_max, can_be) in rules {
            let Some(Value::String(value)) = record.get(*key) else { continue };
            if value.len() <= *len_max && can_be(value) {
                continue;
            }
            // Where nothing is said what the node says by itself is as good.
            if !value.is_empty() {
                self.note(format!("left out: {whose}: {key}: it cannot be here as it was there"));
            }
            record.remove(*key);
        }
    }

    /// Those of a list of an application's that it can have here: so many, good ones, each once.
    pub(super) fn fitting(
        &mut self,
        (records, max): (&[Record], usize),
        can_be: fn(&str) -> bool,
        whose: &str,
    ) -> Vec<String> {
        let mut known = HashSet::new();
        let values = records.iter().filter_map(|it| text(it, "value"));
        let good = values.filter(|it| can_be(it) && known.insert(it.to_ascii_lowercase())).take(max);
        let good: Vec<_> = good.map(str::to_owned).collect();
        let left = records.len() - good.len();
        if left > 0 {
            self.note(format!(
                "left out: {whose}: {left} of {}: they cannot be here as they were there",
                records.len()
            ));
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_and_what_cannot() {
        let can = |rules: &[Rule], key: &str, text: &str| {
            let rule = rules.iter().find(|(known, ..)| *known == key);
            rule.is_some_and(|(_, len_max, can_be)| text.len() <= *len_max && can_be(text))
        };
        let long = |len: usize| "x".repeat(len);
        let path = |len: usize| format!("/{}", long(len - 1));
        for (rules, key, good, bad) in [
            (PROXY, "api_backend", "https://a.example:443/x", "https://a.example:99999"),
            (PROXY, "oauth_login_url", "", "https://"),
            (PROXY, "hostname_rewrite", &*long(255), &*long(256)),
            (PROXY, "api_test_path", &*path(8192), &*path(8193)),
            (PROXY, "auth_user_key", &*long(255), &*long(256)),
            (USER, "email", "", "nobody"),
            (APPLICATION, "user_key", &*long(255), &*long(256)),
        ] {
            assert!(can(rules, key, good) && !can(rules, key, bad), "{key}");
        }
        let urls = [
            ("http://a.example", "http://localhost:80"),
            ("wss://[::1]/x", ""),
            ("http://a", "http://a:99999"),
        ];
        for (good, bad) in urls {
            assert!(is_private_endpoint(good) && !is_private_endpoint(bad), "{good} {bad}");
        }
        for (can_be, good, bad) in [
            (is_username as fn(&str) -> bool, "ann", "an"),
            (is_username, &*long(40), &*long(41)),
            (is_key, "12345", "1234"),
            (is_key, &*long(255), &*long(256)),
            (is_filter, "*", ""),
        ] {
            assert!(can_be(good) && !can_be(bad), "{good} {bad}");
        }
    }
}
