//! Values that the admin API here does not take: an older 3scale, or one that was set up otherwise, let them pass. Each is left out and said, as it would have the whole
//! command refused. What the rules are is the admin API's affair; one that is not known here is told when the document is looked at.

use std::collections::HashSet;

use serde_json::Value;

use super::{Making, Record, text};

/// A rule for a text of a record: its key, and whether it can be.
type Rule = (&'static str, fn(&str) -> bool);

/// Of proxies.
pub(super) const PROXY: &[Rule] = &[
    ("api_backend", |it| it.is_empty() || is_url(it, &["http", "https", "ws", "wss"])),
    ("oauth_login_url", |it| it.is_empty() || is_url(it, &["http", "https"])),
    ("hostname_rewrite", |it| it.bytes().all(|byte| is_in(byte, b"-._:"))),
    ("api_test_path", |it| {
        it.is_empty() || it.starts_with('/') && it.bytes().all(|it| it.is_ascii_graphic())
    }),
    ("auth_app_key", is_name),
    ("auth_app_id", is_name),
    ("auth_user_key", is_name),
    ("secret_token", is_name),
    ("error_auth_failed", is_told),
    ("error_auth_missing", is_told),
    ("error_no_match", is_told),
    ("error_limits_exceeded", is_told),
    ("error_headers_auth_failed", is_told),
    ("error_headers_auth_missing", is_told),
    ("error_headers_no_match", is_told),
    ("error_headers_limits_exceeded", is_told),
];

/// Of users.
pub(super) const USER: &[Rule] = &[("email", |it| it.is_empty() || is_email(it))];

/// Of applications.
pub(super) const APPLICATION: &[Rule] = &[("user_key", |it| {
    let is_base64 = it.trim_end_matches('=').bytes().all(|byte| is_in(byte, b"+/"));
    it.len() <= LEN_MAX && (is_base64 || it.bytes().all(|byte| is_in(byte, b"_-.")))
})];

/// The longest text in one line, in bytes.
const LEN_MAX: usize = 255;

fn is_in(byte: u8, besides: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || besides.contains(&byte)
}

/// Names of parameters and headers.
fn is_name(text: &str) -> bool {
    (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| is_in(byte, b"_-"))
}

/// What gateways say when they refuse.
fn is_told(text: &str) -> bool {
    (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| is_in(byte, b"{}[],.;@#~%&()?_\"= /\\:-"))
}

fn is_email(text: &str) -> bool {
    let is_plain = text.len() <= LEN_MAX && !text.contains(|it: char| it.is_whitespace() || it.is_control());
    let parts = text.split_once('@').filter(|(local, _)| !local.is_empty());
    is_plain && parts.is_some_and(|(_, domain)| !domain.is_empty() && !domain.contains('@'))
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let place =
        text.split_once("://").filter(|(scheme, _)| schemes.contains(&scheme.to_lowercase().as_str()));
    let host = place.and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    text.len() <= LEN_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && host.is_some_and(|it| !it.rsplit('@').next().unwrap_or_default().is_empty())
}

/// Whether a backend can be there. None is at the machine that a gateway runs on.
pub(super) fn is_private_endpoint(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().and_then(|it| it.rsplit('@').next()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_lowercase();
    is_url(url, &["http", "https", "ws", "wss"]) && host != "localhost" && !host.ends_with(".localhost")
}

/// Whether a user can be called so.
pub(super) fn is_username(name: &str) -> bool {
    let is_good = |it: char| it.is_alphanumeric() || ".-_@+ ".contains(it);
    (3..=40).contains(&name.chars().count()) && !name.trim().is_empty() && name.chars().all(is_good)
}

/// Whether an application can have this key beside others.
pub(super) fn is_key(key: &str) -> bool {
    (5..=LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether an application can have this filter beside others.
pub(super) fn is_filter(filter: &str) -> bool {
    (1..=LEN_MAX).contains(&filter.len()) && filter.bytes().all(|byte| is_in(byte, b"*.-"))
}

/// The most keys of an application, where callers come by OAuth and otherwise; and the most filters.
pub(super) const KEYS_MAX_OAUTH: usize = 1;
pub(super) const KEYS_MAX: usize = 5;
pub(super) const FILTERS_MAX: usize = 5;

impl Making<'_, '_> {
    /// Takes out of a record what the rules do not let pass. Values are not shown: some are secrets.
    pub(super) fn fit(&mut self, record: &mut Record, rules: &[Rule], whose: &str) {
        for (key, can_be) in rules {
            let Some(Value::String(value)) = record.get(*key) else { continue };
            if can_be(value) {
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
            rules.iter().find(|(known, _)| *known == key).is_some_and(|(_, can_be)| can_be(text))
        };
        for (rules, key, good, bad) in [
            (PROXY, "api_backend", "https://a.example:443/x", "ftp://a.example"),
            (PROXY, "oauth_login_url", "", "https://"),
            (PROXY, "hostname_rewrite", "a.example:80", "a example"),
            (PROXY, "api_test_path", "/status?x=1", "status"),
            (PROXY, "auth_user_key", "user-key", ""),
            (PROXY, "error_no_match", "{\"error\": \"no\"}", "<b>"),
            (USER, "email", "a@b.example", "a@b@c"),
            (APPLICATION, "user_key", "ab+/==", "a b"),
        ] {
            assert!(can(rules, key, good) && !can(rules, key, bad), "{key}");
        }
        for (good, bad) in [("http://a.example", "http://localhost:80"), ("wss://[::1]/x", "")] {
            assert!(is_private_endpoint(good) && !is_private_endpoint(bad), "{good} {bad}");
        }
        for (can_be, good, bad) in [
            (is_username as fn(&str) -> bool, "ann", "an"),
            (is_username, &*"x".repeat(40), &*"x".repeat(41)),
            (is_key, "12345", "1234"),
            (is_key, &*"x".repeat(255), &*"x".repeat(256)),
            (is_filter, "*.a-b.example", "a_b"),
            (is_name, &*"x".repeat(255), &*"x".repeat(256)),
        ] {
            assert!(can_be(good) && !can_be(bad), "{good} {bad}");
        }
    }
}
