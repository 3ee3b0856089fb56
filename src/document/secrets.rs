//! The document of secrets: names and values, `NAME: value`, sorted by name. Whoever has it has the tenant's credentials: a file of it is mode 0600.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::node::{Content, parse};
use super::problem::Problem;
use super::render;

/// The values of a document's secrets, by name.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(BTreeMap<String, String>);

/// Names alone.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a document of secrets cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SecretsError(pub Problem);

impl Secrets {
    /// Takes a value in.
    pub fn put(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// These, and for names that have no value here those of others.
    #[must_use]
    pub fn or(&self, others: &Secrets) -> Secrets {
        let mut all = others.0.clone();
        all.extend(self.0.clone());
        Secrets(all)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As YAML.
    #[must_use]
    pub fn render(&self) -> String {
        let values = self.0.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        render::value(&Value::Object(values.collect::<Map<_, _>>()))
    }

    /// Reads what [`Secrets::render`] wrote, or somebody like it. Nothing at all is no secrets.
    ///
    /// # Errors
    /// It is no record of texts; shows no value.
    pub fn parse(text: &str) -> Result<Secrets, SecretsError> {
        if text.trim().is_empty() {
            return Ok(Secrets::default());
        }
        let (node, problems) = parse(text).map_err(SecretsError)?;
        if let Some(problem) = problems.into_iter().next() {
            return Err(SecretsError(problem));
        }
        let Content::Record(entries) = node.content else {
            return Err(SecretsError(Problem::at(node.spot, "secrets are a record: NAME: value")));
        };
        let mut secrets = Secrets::default();
        for entry in entries {
            match entry.value.content {
                Content::Text(text) => secrets.put(entry.key, text),
                // A key of digits is a text whatever YAML makes of it.
                Content::Number(text) => secrets.put(entry.key, text),
                _ => {
                    let problem = format!("the secret '{}' must be a text", entry.key);
                    return Err(SecretsError(Problem::at(entry.value.spot, problem)));
                }
            }
        }
        Ok(secrets)
    }
}
