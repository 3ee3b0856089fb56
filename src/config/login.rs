//! Users and passwords, which are never shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A password: kept out of every message.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    #[must_use]
    pub fn new(text: &str) -> Password {
        Password(text.to_owned())
    }

    /// The password itself, for the one place that compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Serialize for Password {
    /// Says that there is one, which is all that settings are written out for.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Password, D::Error> {
        // The usual error of a wrong type would quote the value.
        match toml::Value::deserialize(from)? {
            toml::Value::String(text) => Ok(Password(text)),
            _ => Err(serde::de::Error::custom("a password must be a text in quotes")),
        }
    }
}

/// Who may use something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The name, without colons.
    pub user: String,
    /// The password.
    pub password: Password,
}

impl Login {
    /// The login of the keys `user_key` and `password_key`, if both are set; blank is not set. Half a login is a
    /// problem: it would be a door that somebody believes open, or shut.
    pub(super) fn of(
        (user_key, user): (&str, Option<String>),
        (password_key, password): (&str, Option<Password>),
        problems: &mut Vec<String>,
    ) -> Option<Login> {
        let user = user.filter(|user| !user.is_empty());
        let password = password.filter(|password| !password.0.is_empty());
        match (user, password) {
            (Some(user), _) if user.contains(':') => {
                problems
                    .push(format!("{user_key}: HTTP basic authentication allows no colon in a user name"));
                None
            }
            (Some(user), Some(password)) => Some(Login { user, password }),
            (Some(_), None) => {
                problems.push(format!("{password_key}: missing, although {user_key} is set"));
                None
            }
            (None, Some(_)) => {
                problems.push(format!("{user_key}: missing, although {password_key} is set"));
                None
            }
            (None, None) => None,
        }
    }
}
