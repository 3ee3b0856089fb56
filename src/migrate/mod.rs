//! Migration: what a tenant of a running 3scale has set up, by its own Account Management API, as a [`Document`] and its [`Secrets`].
//!
//! # How
//! 1. **Pages are fetched** ([`source`]), each once: an answer is kept in the work folder, by what was asked, before the next is asked for. Whoever is stopped, or
//!    whose 3scale is, begins again and goes on where it was: what is there is not asked for again, but for a list whose pages do not fit together
//!    as something was made or deleted there meanwhile.
//! 2. **The document is made** of the pages alone (`products`, `buyers`), so the same pages are the same document.
//! 3. The document goes the way of all documents: it is compared with the tenant that it is for, and carried out as one command; one that is too much for that in
//!    several ([`parts`]). Done twice, it changes nothing the second time.
//! 4. **Usage** is asked for when the applications are there, application by application and metric by metric ([`usage`]), and kept in the folder as pages are.
//!
//! # What comes along
//! Fields, backend APIs, services with metrics, methods, mapping rules, proxy, policies, features and plans with limits and prices; accounts with users,
//! subscriptions and applications, with keys and referrer filters. Ids do not: gateways are given the new node's. A service's token is that of
//! its newest proxy configuration. Plans that were customised for one application come as plans of their own. What applications used in the past comes where 3scale's analytics
//! API shows it.
//!
//! What 3scale does not show cannot come: passwords, cards, and the plan that a customised one was made of. What it shows and is not asked for here is
//! [said, too](NOT_ASKED_FOR). A record that a document cannot hold (`mend`) or the admin API would refuse (`fit`) stays behind alone, and a word that is not known here is another (`words`). All that is said in the notes.
//! Configurations of proxies are not promoted: what production gets is somebody's decision here, too.
//!
//! # The work folder
//! `pages/` has the answers, which hold credentials: it is the caller's alone (mode 0700, files 0600). `source` says whose they are, by URL and account, so that pages of one
//! tenant are not taken for another's. To see what has changed there since, begin with an empty folder.

mod buyers;
mod fit;
mod mend;
#[cfg(test)]
mod odd_tests;
pub mod parts;
mod products;
pub mod source;
#[cfg(test)]
mod tests;
pub mod usage;
mod words;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::document::shape::{Free, Kind, Shape};
use crate::document::{Document, Secrets, system_name, values};
use source::{Source, SourceError};

/// What a 3scale shows and a migration leaves behind, always.
pub const NOT_ASKED_FOR: &str = "not asked for, and left behind: ActiveDocs, schemas of custom policies, the tenant's own users and their access tokens, settings, webhooks, authentication providers, invoices, the portal's pages";

/// What was found.
#[derive(Debug)]
pub struct Migration {
    /// The catalog.
    pub document: Document,
    /// The values of its secrets.
    pub secrets: Secrets,
    /// What could not come along, for people.
    pub notes: Vec<String>,
    /// Whose usage there is to ask for.
    pub products: Vec<usage::Product>,
}

/// Fetches what is not in the work folder yet, and makes a document of all.
///
/// # Errors
/// [`SourceError`]; what was fetched before it stays in the work folder.
pub fn migrate(source: &mut Source<'_>) -> Result<Migration, SourceError> {
    source.identify()?;
    let mut making = Making { source, secrets: Secrets::default(), notes: Vec::new() };
    making.note(NOT_ASKED_FOR);
    let mut document = Map::new();
    document.insert("version".into(), crate::document::types::VERSION.into());
    let known = products::put(&mut making, &mut document)?;
    let callers = buyers::put(&mut making, &mut document, &known)?;
    let products = known.counted.by(callers);
    let Making { secrets, mut notes, .. } = making;
    let mut document = mend::fitting(Value::Object(document), &mut notes)?;
    document.make_canonical();
    notes.sort();
    notes.dedup();
    Ok(Migration { document, secrets, notes, products })
}

/// A migration in the making.
struct Making<'m, 's> {
    source: &'m mut Source<'s>,
    secrets: Secrets,
    notes: Vec<String>,
}

impl Making<'_, '_> {
    /// All records of a list. An older 3scale does not have all that a newer one has, and something may be deleted while this reads: of a list that is not
    /// there nothing comes, and it is said, unless without it there would be nothing at all.
    fn list(&mut self, path: &str) -> Result<Vec<Record>, SourceError> {
        match self.source.list(path) {
            Err(SourceError::Gone { .. }) if path.contains('/') || path == "backend_apis" => {
                self.note(format!("{path}: there is no such list: an older 3scale has none, or what it belongs to was deleted meanwhile"));
                Ok(Vec::new())
            }
            Ok((records, is_whole)) => {
                if !is_whole {
                    self.note(format!("{path}: changed each time that it was read: some of it may not have come. Begin again with an empty folder when it rests"));
                }
                Ok(records)
            }
            Err(error) => Err(error),
        }
    }

    /// Stands for a secret of this name and value.
    fn secret(&mut self, name: &str, value: &str) -> Value {
        self.secrets.put(name, value);
        serde_json::json!({"secret": name})
    }

    /// The system name of a record, the first of its list that has it. One that cannot be one here, and one that is not shown, follows from what there is.
    fn system_name(&mut self, what: &str, record: &Record, given: &mut Given) -> String {
        let shown = text(record, "system_name");
        let wanted = match shown {
            Some(name) if system_name::is_one(name) => name.to_owned(),
            Some(name) => system_name::of(name),
            None => system_name::of(text(record, "name").unwrap_or_default()),
        };
        let name = given.give(&wanted);
        if let Some(shown) = shown.filter(|shown| *shown != name) {
            self.note(format!("{what} {shown}: is called {name} here"));
        }
        name
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// A record of an answer.
type Record = Map<String, Value>;

/// The fields of a record that a document has under the same names, where there is something to say.
fn picked(shape: &Shape, record: &Record) -> Map<String, Value> {
    let mut picked = Map::new();
    for key in shape.keys {
        let Some(value) = record.get(key.name) else { continue };
        let fits = match ((key.kind)(), value) {
            (Kind::Text | Kind::TextOrSecret, Value::String(_)) | (Kind::Flag, Value::Bool(_)) => {
                value.clone()
            }
            (Kind::Whole(_, max), Value::Number(number)) if number.as_u64().is_some_and(|it| it <= max) => {
                value.clone()
            }
            (Kind::Free, Value::Object(_)) => value.clone(),
            // As a text: amounts are no floats.
            (Kind::Amount, Value::Number(number)) => Value::from(amount(&number.to_string())),
            (Kind::Amount, Value::String(text)) => Value::from(amount(text)),
            _ => continue,
        };
        picked.insert(key.name.to_owned(), fits);
    }
    picked
}

/// An amount as it was meant: floats have more digits than what they stand for.
fn amount(text: &str) -> String {
    let parsed = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text));
    let Ok(exact) = parsed else { return text.to_owned() };
    let meant = exact.round_dp(AMOUNT_DIGITS);
    let is_noise = (exact - meant).abs() < Decimal::new(1, FLOAT_DIGITS);
    if is_noise { meant.normalize().to_string() } else { text.to_owned() }
}

/// Digits after the point that amounts have, and those after which a float of such an amount may have others.
const AMOUNT_DIGITS: u32 = 4;
const FLOAT_DIGITS: u32 = 9;

/// A text that says something.
fn text<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    record.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn id(record: &Record) -> u64 {
    number(record, "id")
}

fn number(record: &Record, name: &str) -> u64 {
    record.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn flag(record: &Record, name: &str) -> bool {
    record.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// A field that the tenant has defined: its name, and the choices that it has.
struct Defined {
    name: String,
    choices: Vec<String>,
}

impl Making<'_, '_> {
    /// What a record has in the tenant's own fields: texts, as the node keeps them.
    fn extra(&mut self, record: &Record, fields: &[Defined], whose: &str) -> Option<Value> {
        let mut extra = Free::new();
        for field in fields {
            let value = match record.get(&field.name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(other) if other.is_number() || other.is_boolean() => other.to_string(),
                Some(_) => {
                    self.note(format!("left out: {whose}: {}: it is no text", field.name));
                    continue;
                }
            };
            let is_choice = field.choices.is_empty() || value.is_empty() || field.choices.contains(&value);
            if is_choice && value.len() <= values::FIELD_VALUE_LEN_MAX {
                extra.insert(field.name.clone(), value.into());
            } else {
                self.note(format!(
                    "left out: {whose}: {}: it is none of the choices, or too long",
                    field.name
                ));
            }
        }
        (!extra.is_empty()).then_some(Value::Object(extra))
    }
}

/// Names that were given, each once: another of the same gets a number.
#[derive(Default)]
struct Given {
    names: std::collections::HashSet<String>,
    /// Whether names that differ in case only are two.
    is_exact: bool,
}

impl Given {
    /// For application ids.
    fn exact() -> Given {
        Given { is_exact: true, ..Given::default() }
    }

    fn give(&mut self, wanted: &str) -> String {
        let wanted = if wanted.len() < 2 { "unnamed" } else { wanted };
        let mut name = wanted.to_owned();
        let mut number = 2;
        while !self.names.insert(if self.is_exact { name.clone() } else { name.to_lowercase() }) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }
}
