//! What a document changes: a list of records made, changed and taken away, which people read and the admin API carries out.
//!
//! Both documents are gone through by their [shapes](super::shape). A key that the wanted one leaves out is passed over. Lists of records with names are
//! compared name by name; other values as they are, secrets by their values.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::render;
use super::secrets::Secrets;
use super::shape::{Kind, Shape};
use super::types::Document;

/// What happens to a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Action {
    Add,
    Change,
    Remove,
}

/// A record on the way to another: what it is and what it is called.
#[derive(Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize, Debug)]
#[allow(missing_docs)]
pub struct At {
    pub kind: String,
    pub name: String,
    /// What it is told by, where its name as it is shown could be another's.
    #[serde(skip)]
    pub key: String,
}

/// One value of a record.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, Debug)]
pub struct FieldChange {
    /// What it is; nothing of a new record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What happens to one record.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
pub struct Change {
    /// Whether it comes, changes or goes. What is below a record that goes goes with it.
    pub action: Action,
    /// The record, behind those that it belongs to; the document itself has no place.
    pub at: Vec<At>,
    /// Its values that are others then.
    pub fields: BTreeMap<String, FieldChange>,
}

/// A document as a tree, its secrets with their values.
#[derive(Clone, Debug)]
pub struct Resolved(Map<String, Value>);

/// Stands for a secret in a [`Resolved`] tree: its value, or the name of one that has none.
const VALUE: &str = "$secret";
const MISSING: &str = "$new secret";

/// What is shown of a secret.
pub const HIDDEN: &str = "(secret)";

impl Resolved {
    /// The document with the values of its secrets in it.
    #[must_use]
    pub fn of(document: &Document, secrets: &Secrets) -> Resolved {
        let Ok(Value::Object(mut tree)) = serde_json::to_value(document) else { return Resolved(Map::new()) };
        resolve_record(&mut tree, Document::SHAPE, secrets);
        Resolved(tree)
    }
}

fn resolve_record(record: &mut Map<String, Value>, shape: &'static Shape, secrets: &Secrets) {
    for (name, value) in record {
        if let Some(key) = shape.key(name) {
            resolve(value, (key.kind)(), secrets);
        }
    }
}

fn resolve(value: &mut Value, kind: Kind, secrets: &Secrets) {
    match (kind, &mut *value) {
        (Kind::List(item), Value::Array(items)) => {
            items.iter_mut().for_each(|it| resolve(it, item(), secrets))
        }
        (Kind::Record(shape), Value::Object(record)) => resolve_record(record, shape, secrets),
        (Kind::Secret | Kind::TextOrSecret, Value::Object(reference)) => {
            let name = reference.get("secret").and_then(Value::as_str).unwrap_or_default();
            *value = match secrets.get(name) {
                Some(secret) => json!({VALUE: secret}),
                None => json!({MISSING: name}),
            };
        }
        _ => {}
    }
}

/// The value of a secret of a resolved tree, or a text that is none; `None`: it has no value.
#[must_use]
pub fn secret_value(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(it) => it.get(VALUE).and_then(Value::as_str),
        _ => None,
    }
}

/// Whether it stands for a secret without a value.
fn is_missing(value: &Value) -> bool {
    value.get(MISSING).is_some()
}

/// What leads from one document to another, in the order of the document. `prunes`: what the wanted one does not have goes.
#[must_use]
pub fn compare(current: &Resolved, wanted: &Resolved, prunes: bool) -> Vec<Change> {
    let mut comparing = Comparing { prunes, changes: Vec::new() };
    comparing.record(Some(&current.0), &wanted.0, Document::SHAPE, &mut Vec::new());
    comparing.changes
}

struct Comparing {
    prunes: bool,
    changes: Vec<Change>,
}

impl Comparing {
    fn record(
        &mut self,
        current: Option<&Map<String, Value>>,
        wanted: &Map<String, Value>,
        shape: &'static Shape,
        at: &mut Vec<At>,
    ) {
        let place = self.changes.len();
        let mut fields = BTreeMap::new();
        for key in shape.keys {
            if at.is_empty() && key.name == "version" {
                continue;
            }
            let Some(value) = wanted.get(key.name) else { continue };
            let before = current.and_then(|it| it.get(key.name));
            let kind = (key.kind)();
            match (kind, value) {
                (Kind::Record(shape), Value::Object(record)) => {
                    at.push(At { kind: shape.label.to_owned(), ..At::default() });
                    self.record(before.and_then(Value::as_object), record, shape, at);
                    at.pop();
                }
                (kind, Value::Array(items)) if kind.named().is_some() => {
                    if let Some(shape) = kind.named() {
                        self.list(before.and_then(Value::as_array), items, shape, at);
                    }
                }
                _ => {
                    if !is_kept(before, value) && (current.is_none() || !shape.names.contains(&key.name)) {
                        let (before, after) = (before.cloned(), Some(kept_secrets(before, value)));
                        fields.insert(key.name.to_owned(), FieldChange { before, after });
                    }
                }
            }
        }
        let action = if current.is_some() { Action::Change } else { Action::Add };
        // A new record is told though it has nothing but its name.
        if !fields.is_empty() || (current.is_none() && !shape.names.is_empty()) {
            self.changes.insert(place, Change { action, at: at.clone(), fields });
        }
    }

    fn list(
        &mut self,
        current: Option<&Vec<Value>>,
        wanted: &[Value],
        shape: &'static Shape,
        at: &mut Vec<At>,
    ) {
        let current = current.map_or(&[][..], Vec::as_slice);
        let known: HashMap<At, &Map<String, Value>> =
            current.iter().filter_map(Value::as_object).map(|it| (shape.place_of(it), it)).collect();
        let mut kept = HashSet::new();
        for record in wanted.iter().filter_map(Value::as_object) {
            let own = shape.place_of(record);
            at.push(own.clone());
            self.record(known.get(&own).copied(), record, shape, at);
            at.pop();
            kept.insert(own);
        }
        if !self.prunes {
            return;
        }
        for own in current.iter().filter_map(Value::as_object).map(|it| shape.place_of(it)) {
            if !kept.contains(&own) {
                let mut at = at.clone();
                at.push(own);
                self.changes.push(Change { action: Action::Remove, at, fields: BTreeMap::new() });
            }
        }
    }
}

impl Shape {
    /// The place of a record of it in its list.
    fn place_of(&self, record: &Map<String, Value>) -> At {
        let texts = self.names.iter().filter_map(|name| match record.get(*name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        });
        let texts: Vec<_> = texts.collect();
        // No name has a control character in it.
        At { kind: self.label.to_owned(), name: texts.join("/"), key: texts.join("\u{1f}") }
    }
}

/// Whether a value stays what it is. A secret without a value stays, if there is one.
fn is_kept(before: Option<&Value>, after: &Value) -> bool {
    let Some(before) = before else { return false };
    if is_missing(after) {
        return true;
    }
    match (before, after) {
        // A policy's configuration is whatever it is; secrets are in lists of their own.
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).all(|(old, new)| is_kept(Some(old), new))
        }
        _ => same(before, after),
    }
}

/// A text is the same whether or not it stands among the secrets.
fn same(one: &Value, two: &Value) -> bool {
    one == two || matches!((secret_value(one), secret_value(two)), (Some(one), Some(two)) if one == two)
}

/// The wanted value; of a list, secrets without a value are those that are in their place.
fn kept_secrets(before: Option<&Value>, after: &Value) -> Value {
    let (Some(Value::Array(old)), Value::Array(new)) = (before, after) else { return after.clone() };
    let kept = new.iter().enumerate().map(|(at, value)| match old.get(at) {
        Some(old) if is_missing(value) => old.clone(),
        _ => value.clone(),
    });
    Value::Array(kept.collect())
}

/// The same changes with nothing of a secret in them.
#[must_use]
pub fn redacted(changes: &[Change]) -> Vec<Change> {
    let mut changes = changes.to_vec();
    for field in changes.iter_mut().flat_map(|change| change.fields.values_mut()) {
        field.before.iter_mut().chain(field.after.iter_mut()).for_each(hide);
    }
    changes
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(it) if it.contains_key(VALUE) => *value = Value::from(HIDDEN),
        Value::Object(it) if it.contains_key(MISSING) => *value = Value::from("(new secret)"),
        _ => {}
    }
}

/// How many records come, change and go.
#[must_use]
pub fn counts(changes: &[Change]) -> [usize; 3] {
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    [count(Action::Add), count(Action::Change), count(Action::Remove)]
}

/// The longest value that is shown whole, in characters.
const SHOWN_MAX: usize = 200;

/// The changes for people: a line per record, `+` made, `~` changed, `-` taken away, and its values below it.
#[must_use]
pub fn show(changes: &[Change]) -> String {
    let mut out = String::new();
    for change in changes {
        let sign = match change.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        let _ = writeln!(out, "{sign} {}", place(&change.at));
        for (name, field) in &change.fields {
            show_field(&mut out, name, field);
        }
    }
    out
}

/// What a place is in words: the record itself, and whose it is.
#[must_use]
pub fn place(at: &[At]) -> String {
    if at.is_empty() {
        return "tenant".to_owned();
    }
    let words = at.iter().map(|it| match it.name.as_str() {
        "" => it.kind.clone(),
        name => format!("{} {name}", it.kind),
    });
    words.collect::<Vec<_>>().join(" / ")
}

fn show_field(out: &mut String, name: &str, field: &FieldChange) {
    let _ = match (&field.before, &field.after) {
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let _ = writeln!(out, "    {name}:");
            show_list(out, before, after);
            Ok(())
        }
        (None, Some(Value::Array(after))) if !after.is_empty() => {
            let _ = writeln!(out, "    {name}:");
            show_list(out, &[], after);
            Ok(())
        }
        (None, Some(after)) => writeln!(out, "    {name}: {}", shown(after)),
        (Some(before), Some(after)) => writeln!(out, "    {name}: {} -> {}", shown(before), shown(after)),
        (_, None) => Ok(()),
    };
}

/// What goes and comes of a list; if that is nothing, its order is another.
fn show_list(out: &mut String, before: &[Value], after: &[Value]) {
    let mut counts: HashMap<String, i64> = HashMap::new();
    let (before, after): (Vec<_>, Vec<_>) =
        (before.iter().map(flow).collect(), after.iter().map(flow).collect());
    before.iter().for_each(|it| *counts.entry(it.clone()).or_default() += 1);
    after.iter().for_each(|it| *counts.entry(it.clone()).or_default() -= 1);
    let mut is_other = false;
    for (sign, items) in [('-', &before), ('+', &after)] {
        let step = if sign == '-' { 1 } else { -1 };
        for item in items {
            let Some(left) = counts.get_mut(item).filter(|left| **left * step > 0) else { continue };
            *left -= step;
            is_other = true;
            let _ = writeln!(out, "      {sign} {}", cut(item));
        }
    }
    if !is_other {
        let what = if before == after { "the same as far as is shown" } else { "the same in another order" };
        let _ = writeln!(out, "      ({what})");
    }
}

fn shown(value: &Value) -> String {
    cut(&flow(value))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(record) => {
            let fields = record.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if text == HIDDEN || text == "(new secret)" => text.clone(),
        other => render::value(other).trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests;
