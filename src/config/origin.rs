//! Where each setting comes from, for who has to correct it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::Settings;

/// Where a setting was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// As a flag.
    Flag(String),
    /// As a variable.
    Variable(String),
    /// In the file, at that line.
    File(PathBuf, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Flag(name) | Origin::Variable(name) => f.write_str(name),
            Origin::File(path, line) => write!(f, "{} line {line}", path.display()),
        }
    }
}

/// Where the keys that were written come from.
#[derive(Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Notes the keys of `settings` that nobody has written before.
    pub(super) fn note(&mut self, settings: &Settings, origin: impl Fn(&str) -> Option<Origin>) {
        for (key, _) in written(settings) {
            if let Some(origin) = origin(&key) {
                self.0.entry(key).or_insert(origin);
            }
        }
    }

    /// A problem, which begins with its key, with its place put before it.
    pub(super) fn locate(&self, problem: &str) -> String {
        let origin = problem.split_once(':').and_then(|(key, _)| self.0.get(key));
        match origin {
            Some(Origin::Variable(name)) => format!("{name}: {problem}"),
            Some(Origin::File(path, line)) => format!("{}: line {line}: {problem}", path.display()),
            Some(Origin::Default | Origin::Flag(_)) | None => problem.to_owned(),
        }
    }

    /// What a node runs with under `settings`, key by key.
    pub(super) fn effective(&self, settings: &Settings) -> Vec<Effective> {
        let effective = |(key, value): (String, toml::Value)| {
            let value = if is_secret(&key) { REDACTED.to_owned() } else { value.to_string() };
            let origin = self.0.get(&key).cloned().unwrap_or(Origin::Default);
            Effective { key, value, origin }
        };
        written(settings).map(effective).collect()
    }
}

/// One setting that a node runs with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effective {
    /// The key, as the file has it.
    pub key: String,
    /// The value, as the file would have it; a secret is not shown.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

const REDACTED: &str = "(set, not shown)";

/// Whether the value of a key is a credential. By name, so that a key that is added later is not forgotten.
fn is_secret(key: &str) -> bool {
    key.split('_')
        .any(|part| ["password", "passwords", "secret", "secrets", "token", "tokens"].contains(&part))
}

/// The keys that have a value.
fn written(settings: &Settings) -> impl Iterator<Item = (String, toml::Value)> + use<> {
    // A path that is no text cannot be written as TOML; then there is nothing to say of where things come from.
    toml::Table::try_from(settings).unwrap_or_default().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_by_the_name_of_their_key() {
        for key in [
            "api_password",
            "api_password_2",
            "webhook_secret",
            "admin_token",
            "master_token",
            "old_passwords",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["api_user", "data_dir", "tls_key"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
