//! Reading a document: from a text to the types, with everything that is wrong at once.
//!
//! 1. The [tree](super::node) of the text. If it is no YAML, that is all that can be said.
//! 2. Each value by its [shape](super::shape): keys that are not known, values of other types. They are told and left out.
//! 3. What is left becomes a [`Document`], which is [checked](super::check) as a whole: names, references, ranges.

use serde_json::{Map, Value};

use super::check;
use super::node::{Content, Node, PROBLEMS_MAX, parse};
use super::problem::{Path, Problem};
use super::shape::{Kind, Shape};
use super::types::{Document, VERSION};

/// Reads a document, and checks it.
///
/// # Errors
/// All that is wrong with it (of very much, the first [`PROBLEMS_MAX`]), in the order of the text.
pub fn read(text: &str) -> Result<Document, Vec<Problem>> {
    let (node, problems) = parse(text).map_err(|problem| vec![problem])?;
    let mut reading = Reading { root: &node, problems };
    let cleaned = reading.record(&node, Document::SHAPE, &Path::default());
    if reading.problems.len() > PROBLEMS_MAX {
        return Err(told(reading.problems));
    }
    let document: Document = match serde_json::from_value(Value::Object(cleaned)) {
        Ok(document) => document,
        Err(error) => {
            // What was cleaned fits the types, so this is a defect; it is told rather than hidden.
            reading.tell(&Path::default(), format!("cannot be read: {error}"));
            Document::default()
        }
    };
    if !node.get("version").is_some_and(|it| it.content == Content::Number(VERSION.to_string())) {
        let problem = format!("the version must be {VERSION}: this document is of another");
        reading.tell(&Path::default().key("version"), problem);
    }
    for (path, problem) in check::problems(&document) {
        reading.tell(&path, problem);
    }
    let Reading { problems, .. } = reading;
    if problems.is_empty() { Ok(document) } else { Err(told(problems)) }
}

/// The first problems, in the order of the text.
fn told(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems.truncate(PROBLEMS_MAX);
    problems
}

/// The most records with names in one list, and the most values: more is no catalog, and takes the memory of all.
pub const RECORDS_MAX: usize = 100_000;
/// As [`RECORDS_MAX`], of lists that are values: rules, limits, prices, keys.
pub const LISTED_MAX: usize = 2_000;

/// Beyond so many nothing more is told.
const KEPT_MAX: usize = 100 * PROBLEMS_MAX;

struct Reading<'n> {
    root: &'n Node,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn tell(&mut self, path: &Path, problem: impl Into<String>) {
        if self.problems.len() >= KEPT_MAX {
            return;
        }
        let spot = Some(self.root.spot_of(path.steps()));
        self.problems.push(Problem { spot, path: path.to_string(), problem: problem.into() });
    }

    fn record(&mut self, node: &Node, shape: &'static Shape, path: &Path) -> Map<String, Value> {
        let mut record = Map::new();
        let Content::Record(entries) = &node.content else {
            self.wrong(node, path, "a record");
            return record;
        };
        for entry in entries {
            let own = path.key(&entry.key);
            let Some(key) = shape.key(&entry.key) else {
                let known: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
                let near =
                    nearest(&entry.key, &known).map_or(String::new(), |it| format!("; did you mean '{it}'?"));
                let problem = format!("a {} has no key '{}'{near}", shape.label, entry.key);
                if self.problems.len() < KEPT_MAX {
                    let spot = Some(entry.spot);
                    self.problems.push(Problem { spot, path: own.to_string(), problem });
                }
                continue;
            };
            if let Some(value) = self.value(&entry.value, (key.kind)(), &own) {
                record.insert(entry.key.clone(), value);
            }
        }
        for key in shape.keys.iter().filter(|key| key.needed) {
            if node.get(key.name).is_none() {
                self.tell(path, format!("a {} must have the key '{}'", shape.label, key.name));
            }
        }
        record
    }

    /// The value as JSON for the types; nothing, if it is wrong, which is told then.
    fn value(&mut self, node: &Node, kind: Kind, path: &Path) -> Option<Value> {
        match (kind, &node.content) {
            (Kind::Text | Kind::TextOrSecret, Content::Text(text)) => Some(Value::from(text.as_str())),
            (Kind::Text, Content::Number(_) | Content::Flag(_)) => {
                let problem = format!("must be a text, and is {}: put it in quotes", node.described());
                self.tell(path, problem);
                None
            }
            (Kind::Text, _) => self.wrong(node, path, "a text"),
            (Kind::Whole(min, max), Content::Number(text)) => self.whole(text, (min, max), path),
            (Kind::Whole(..), _) => self.wrong(node, path, "a whole number"),
            (Kind::Amount, Content::Number(text) | Content::Text(text)) => Some(Value::from(text.as_str())),
            (Kind::Amount, _) => self.wrong(node, path, "an amount"),
            (Kind::Flag, Content::Flag(flag)) => Some(Value::Bool(*flag)),
            (Kind::Flag, _) => self.wrong(node, path, "true or false"),
            (Kind::Secret | Kind::TextOrSecret, _) => self.secret(node, kind, path),
            (Kind::Free, Content::Record(_)) => Some(node.json()),
            (Kind::Free, _) => self.wrong(node, path, "a record"),
            (Kind::List(item), Content::List(items)) => {
                let max = if kind.named().is_some() { RECORDS_MAX } else { LISTED_MAX };
                if items.len() > max {
                    self.tell(path, format!("is too long a list: at most {max}"));
                    return None;
                }
                let mut list = Vec::with_capacity(items.len());
                for (at, node) in items.iter().enumerate() {
                    // What is wrong keeps its place, so that places of others are told right.
                    let value = self.value(node, item(), &path.at(at));
                    list.push(value.unwrap_or_else(|| stand_in(item())));
                }
                Some(Value::Array(list))
            }
            (Kind::List(_), _) => self.wrong(node, path, "a list"),
            (Kind::Record(shape), _) => Some(Value::Object(self.record(node, shape, path))),
        }
    }

    fn whole(&mut self, text: &str, (min, max): (i64, u64), path: &Path) -> Option<Value> {
        let number = text.strip_prefix('+').unwrap_or(text).parse::<i128>().ok();
        let number = number.filter(|it| (i128::from(min)..=i128::from(max)).contains(it));
        if number.is_none() {
            self.tell(path, format!("must be a whole number from {min} to {max}"));
        }
        number.and_then(|it| u64::try_from(it).ok()).map(Value::from)
    }

    fn secret(&mut self, node: &Node, kind: Kind, path: &Path) -> Option<Value> {
        if let Content::Record(entries) = &node.content
            && let [entry] = entries.as_slice()
            && entry.key == "secret"
            && let Content::Text(name) = &entry.value.content
            && !name.is_empty()
        {
            return Some(node.json());
        }
        match kind {
            // The value is not shown: it may well be the secret itself.
            Kind::Secret => {
                self.tell(path, "must be a reference, as secret: NAME, with the value among the secrets")
            }
            _ => self.tell(path, "must be a text, or a reference to a secret, as secret: NAME"),
        }
        None
    }

    fn wrong(&mut self, node: &Node, path: &Path, expected: &str) -> Option<Value> {
        self.tell(path, format!("must be {expected}, and is {}", node.described()));
        None
    }
}

/// What stands for a value of a list that is wrong.
fn stand_in(kind: Kind) -> Value {
    match kind {
        Kind::Record(_) | Kind::Free => Value::Object(Map::new()),
        Kind::Secret => Value::Object(Map::from_iter([("secret".to_owned(), Value::from(""))])),
        Kind::List(_) => Value::Array(Vec::new()),
        Kind::Flag => Value::Bool(false),
        Kind::Whole(..) => Value::from(0),
        Kind::Text | Kind::TextOrSecret | Kind::Amount => Value::from(""),
    }
}

/// The known word that differs from a text by two letters at most.
fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let best = known.iter().map(|word| (distance(text, word), *word)).min()?;
    (best.0 <= 2).then_some(best.1)
}

/// How many letters must be put in, taken out or changed. Long texts are as far as they are long.
fn distance(one: &str, two: &str) -> usize {
    if one.len().abs_diff(two.len()) > 2 {
        return usize::MAX;
    }
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (i, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in two.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
