//! What a document cannot hold is left out, and said: one odd record, of an old 3scale or of one that was changed while it was read, keeps nothing else from coming.
//!
//! A value that may be left out goes alone; with one that says which record it is, or what a limit, price or rule says, goes the record. What named it goes in the next round.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;
use serde_json::Value;

use super::source::SourceError;
use crate::document::shape::{Kind, Shape};
use crate::document::{Document, Path, Step, check};

/// How often it is looked again. Records name others over a few steps: a price a metric, that a backend.
const ROUNDS_MAX: usize = 8;

/// The document without what it cannot hold.
///
/// # Errors
/// It is none at all.
pub(super) fn fitting(mut document: Value, notes: &mut Vec<String>) -> Result<Document, SourceError> {
    for _ in 0..ROUNDS_MAX {
        let read = parsed(&document)?;
        let told = check::problems(&read);
        if told.is_empty() {
            return Ok(read);
        }
        let mut going = Going::default();
        for (path, problem) in told {
            let Some(place) = going.put(&document, &path) else { continue };
            notes.push(format!("left out: {place}: {problem}"));
        }
        going.take_from(&mut document);
    }
    // What is wrong with it still is told when it is read.
    parsed(&document)
}

fn parsed(document: &Value) -> Result<Document, SourceError> {
    Document::deserialize(document).map_err(|error| SourceError::Unfit(error.to_string()))
}

/// What goes.
#[derive(Default)]
struct Going {
    /// Records and where their key is that goes.
    fields: BTreeSet<(String, String)>,
    /// Lists and which of theirs go: longer ways first, so that those to others stay right.
    items: BTreeMap<(std::cmp::Reverse<usize>, String), BTreeSet<usize>>,
}

impl Going {
    /// Takes in what must go for a problem, in words; nothing, if there is nothing that can.
    fn put(&mut self, document: &Value, path: &Path) -> Option<String> {
        let way = Way::along(document, path)?;
        match way.last? {
            Last::Field(record, key) => drop(self.fields.insert((record, key))),
            Last::Item(list, depth, at) => {
                self.items.entry((std::cmp::Reverse(depth), list)).or_default().insert(at);
            }
        }
        Some(way.words.join(", "))
    }

    fn take_from(self, document: &mut Value) {
        for (record, key) in self.fields {
            if let Some(Value::Object(record)) = document.pointer_mut(&record) {
                record.remove(&key);
            }
        }
        for ((_, list), places) in self.items {
            if let Some(Value::Array(list)) = document.pointer_mut(&list) {
                for at in places.into_iter().rev().filter(|at| *at < list.len()).collect::<Vec<_>>() {
                    list.remove(at);
                }
            }
        }
    }
}

/// The way to a problem.
#[derive(Default)]
struct Way {
    /// Keys, and names of records: what people know them by.
    words: Vec<String>,
    last: Option<Last>,
}

/// What goes for a problem.
enum Last {
    /// A key of the record to which this pointer is.
    Field(String, String),
    /// One of the list to which this pointer is, and how deep the list is.
    Item(String, usize, usize),
}

impl Way {
    fn along(document: &Value, path: &Path) -> Option<Way> {
        let mut way = Way::default();
        let (mut pointer, mut kind, mut depth) = (String::new(), Kind::Record(Document::SHAPE), 0);
        // The innermost record of a list, and that list.
        let mut item = None;
        for step in path.steps() {
            match (step, kind) {
                (Step::Key(key), Kind::Record(shape)) => {
                    let known = shape.key(key)?;
                    way.last = match item.take() {
                        // A document without its records is none.
                        None if known.needed => None,
                        Some(item) if goes_whole(shape, key) => Some(item),
                        _ => Some(Last::Field(pointer.clone(), key.clone())),
                    };
                    pointer = format!("{pointer}/{key}");
                    way.words.push(key.replace('_', " "));
                    kind = (known.kind)();
                }
                (Step::At(at), Kind::List(of)) => {
                    way.last = Some(Last::Item(pointer.clone(), depth, *at));
                    item = Some(Last::Item(pointer.clone(), depth, *at));
                    pointer = format!("{pointer}/{at}");
                    kind = of();
                    let name = document.pointer(&pointer).and_then(|it| name_of(it, kind));
                    match (way.words.last_mut(), name) {
                        (Some(list), Some(name)) => *list = format!("{list} {name}"),
                        (Some(list), None) => *list = format!("{list} {}", at + 1),
                        (None, _) => {}
                    }
                }
                _ => return None,
            }
            depth += 1;
        }
        Some(way)
    }
}

/// Whether a record of a list goes with this key: because it is what the record is known by or needs, or because without it, it would say something else.
fn goes_whole(shape: &Shape, key: &str) -> bool {
    let is_needed = shape.key(key).is_some_and(|key| key.needed) || shape.names.contains(&key);
    is_needed || shape.names.is_empty() || (shape.label == "application" && key == "plan")
}

/// What a record of a list is known by.
fn name_of(record: &Value, kind: Kind) -> Option<String> {
    let Kind::Record(shape) = kind else { return None };
    let names: Vec<_> = shape.names.iter().filter_map(|name| record.get(name)?.as_str()).collect();
    (!names.is_empty()).then(|| names.join(" "))
}
