//! YAML as a tree that knows where each of its values stands.
//!
//! The events are `saphyr-parser`'s; what is refused, and what plain texts mean, is decided here. Nothing recurses but what [`DEPTH_MAX`] bounds.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

use super::problem::{Problem, Spot, Step};

/// The largest document, in bytes: 60,000 applications or so. The journal bounds what of it fits into one import.
pub const BYTES_MAX: usize = 16 << 20;
/// How deep lists and records may nest, the document itself included. Documents need seven levels; the rest is for configurations of policies.
pub const DEPTH_MAX: usize = 32;
/// The most values, keys included: bounds what a document takes in memory, by short values.
pub const VALUES_MAX: usize = 4_000_000;
/// The most problems that are told of one document.
pub const PROBLEMS_MAX: usize = 100;

/// A value and where it begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Where it begins.
    pub spot: Spot,
    /// What it is.
    pub content: Content,
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Content {
    Null,
    Flag(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; no key twice.
    Record(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct Entry {
    pub key: String,
    pub spot: Spot,
    pub value: Node,
}

/// A list or record that is being read.
struct Open {
    spot: Spot,
    content: Content,
    /// The key that waits for its value.
    key: Option<(String, Spot)>,
}

/// Reads a text. Keys that are there twice are told, and the first counts.
///
/// # Errors
/// It is not YAML, or has what is refused: nothing can be said of the rest then.
pub fn parse(text: &str) -> Result<(Node, Vec<Problem>), Problem> {
    if text.len() > BYTES_MAX {
        let problem = format!("the document has {} bytes, at most {BYTES_MAX} are read", text.len());
        return Err(Problem::at(Spot { line: 1, column: 1 }, problem));
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            Problem::at(Spot { line: mark.line(), column: mark.col() + 1 }, error.info())
        })?;
        reader.take(event, span)?;
    }
    let empty = Spot { line: 1, column: 1 };
    let root = reader.root.ok_or_else(|| Problem::at(empty, "the document is empty"))?;
    Ok((root, reader.problems))
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    values: usize,
    problems: Vec<Problem>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let spot = Spot { line: span.start.line(), column: span.start.col() + 1 };
        let refuse = |anchor: usize, is_tagged: bool| match (anchor, is_tagged) {
            (0, false) => Ok(()),
            (0, true) => Err(Problem::at(spot, "tags are not read here")),
            _ => Err(Problem::at(spot, "anchors are not read here")),
        };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::at(spot, "there is a second document: one is read"));
                }
            }
            Event::Alias(_) => return Err(Problem::at(spot, "aliases are not read here")),
            Event::Scalar(text, style, anchor, tag) => {
                refuse(anchor, tag.is_some())?;
                let text = text.into_owned();
                if let Some(open) = self.open.last_mut()
                    && matches!(open.content, Content::Record(_))
                    && open.key.is_none()
                {
                    open.key = Some((text, spot));
                    return self.count(spot);
                }
                let content = if style == ScalarStyle::Plain { plain(text) } else { Content::Text(text) };
                self.put(Node { spot, content })?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse(anchor, tag.is_some())?;
                self.begin(spot, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse(anchor, tag.is_some())?;
                self.begin(spot, Content::Record(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { spot, content, .. }) = self.open.pop() {
                    let content = self.without_twins(content);
                    self.put(Node { spot, content })?;
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, spot: Spot) -> Result<(), Problem> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Problem::at(spot, format!("there are more than {VALUES_MAX} values")));
        }
        Ok(())
    }

    fn begin(&mut self, spot: Spot, content: Content) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            let problem = format!("lists and records nest deeper than {DEPTH_MAX}");
            return Err(Problem::at(spot, problem));
        }
        if self.open.last().is_some_and(|it| matches!(it.content, Content::Record(_)) && it.key.is_none()) {
            return Err(Problem::at(spot, "a key must be a text"));
        }
        self.open.push(Open { spot, content, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Problem> {
        self.count(node.spot)?;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Record(entries) => {
                let Some((key, spot)) = open.key.take() else { return Ok(()) };
                entries.push(Entry { key, spot, value: node });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes keys out of a record that is complete which are there twice.
    fn without_twins(&mut self, content: Content) -> Content {
        let Content::Record(mut entries) = content else { return content };
        let mut known = HashSet::new();
        entries.retain(|entry| {
            let is_new = known.insert(entry.key.clone());
            if !is_new && self.problems.len() < PROBLEMS_MAX {
                self.problems
                    .push(Problem::at(entry.spot, format!("the key '{}' is there twice", entry.key)));
            }
            is_new
        });
        Content::Record(entries)
    }
}

impl Node {
    /// What it is, in words.
    #[must_use]
    pub fn described(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Flag(_) => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Record(_) => "a record",
        }
    }

    /// The value of a key of a record.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Content::Record(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Where the value stands that `steps` lead to; or what is nearest on the way there.
    pub(super) fn spot_of(&self, steps: &[Step]) -> Spot {
        let Some((step, rest)) = steps.split_first() else { return self.spot };
        let next = match (&self.content, step) {
            (Content::Record(_), Step::Key(key)) => self.get(key),
            (Content::List(items), Step::At(at)) => items.get(*at),
            _ => None,
        };
        next.map_or(self.spot, |node| node.spot_of(rest))
    }

    /// The same as JSON. Numbers that JSON has no way to write become texts.
    #[must_use]
    pub fn json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Flag(flag) => Value::Bool(*flag),
            Content::Number(text) => number(text).map_or_else(|| Value::from(text.as_str()), Value::Number),
            Content::Text(text) => Value::from(text.as_str()),
            Content::List(items) => items.iter().map(Node::json).collect(),
            Content::Record(entries) => {
                let fields = entries.iter().map(|entry| (entry.key.clone(), entry.value.json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

/// A number as JSON has it: whole if it is written so.
fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let whole = digits.parse::<u64>().map(Number::from).or_else(|_| digits.parse::<i64>().map(Number::from));
    whole.ok().or_else(|| digits.parse::<f64>().ok().and_then(Number::from_f64))
}

/// What a plain text is, by the core schema.
pub(super) fn plain(text: String) -> Content {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Flag(true),
        "false" | "False" | "FALSE" => Content::Flag(false),
        other if is_number(other) => Content::Number(text),
        _ => Content::Text(text),
    }
}

/// Whether the core schema has a text for a number.
pub(super) fn is_number(text: &str) -> bool {
    let signless = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(signless, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let all = |text: &str, is: fn(&char) -> bool| !text.is_empty() && text.chars().all(|it| is(&it));
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, char::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |it| ('0'..='7').contains(it));
    }
    let (mantissa, exponent) = match signless.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (signless, None),
    };
    let exponent = exponent.map(|it| it.strip_prefix(['-', '+']).unwrap_or(it));
    if exponent.is_some_and(|it| !all(it, char::is_ascii_digit)) {
        return false;
    }
    match mantissa.split_once('.') {
        Some(("", after)) => all(after, char::is_ascii_digit),
        Some((before, after)) => {
            all(before, char::is_ascii_digit) && (after.is_empty() || all(after, char::is_ascii_digit))
        }
        None => all(mantissa, char::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests;
