//! Writing a document: block style, two spaces a level, keys in the order of their types. What is read again is the same.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::node::{Content, is_number, plain};
use super::types::Document;

/// The document as YAML.
#[must_use]
pub fn render(document: &Document) -> String {
    value(&serde_json::to_value(document).unwrap_or_default())
}

/// Any record as YAML.
#[must_use]
pub fn value(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(record) if !record.is_empty() => write_record(&mut out, record, 0),
        Value::Array(items) if !items.is_empty() => write_list(&mut out, items, 0),
        other => {
            scalar(&mut out, other);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, level: usize) {
    (0..level).for_each(|_| out.push_str("  "));
}

fn write_record(out: &mut String, record: &Map<String, Value>, level: usize) {
    for (at, (key, value)) in record.iter().enumerate() {
        // The first stands behind what its record stands behind, a dash or nothing.
        if at > 0 || level == 0 {
            indent(out, level);
        }
        write_key(out, key);
        write_value(out, value, level);
    }
}

/// A value behind its key: on the same line if it has one only.
fn write_value(out: &mut String, value: &Value, level: usize) {
    match value {
        Value::Object(record) if !record.is_empty() => {
            out.push('\n');
            indent(out, level + 1);
            write_record(out, record, level + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write_list(out, items, level);
        }
        other => {
            out.push(' ');
            scalar(out, other);
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, items: &[Value], level: usize) {
    for item in items {
        indent(out, level);
        match item {
            Value::Object(record) if !record.is_empty() => {
                out.push_str("- ");
                write_record(out, record, level + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push_str("-\n");
                write_list(out, items, level + 1);
            }
            other => {
                out.push_str("- ");
                scalar(out, other);
                out.push('\n');
            }
        }
    }
}

/// Keys longer than what a parser looks ahead for their colon (1024 characters) are written as such.
fn write_key(out: &mut String, key: &str) {
    let start = out.len();
    text(out, key);
    if out.len() - start > 1000 {
        out.insert_str(start, "? ");
        out.push('\n');
        // At the column of the question mark.
        let column = out[..start].chars().rev().take_while(|it| *it != '\n').count();
        (0..column).for_each(|_| out.push(' '));
    }
    out.push(':');
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(it) => text(out, it),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        // Null, true, false and numbers are the same in JSON.
        other => drop(write!(out, "{other}")),
    }
}

fn text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        quote(out, text);
    }
}

/// The words that YAML 1.1 has for true, false and nothing, beside those of the core schema.
const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];

/// Whether a text stands for itself without quotes, to readers of YAML 1.1 too.
fn is_plain(text: &str) -> bool {
    let is_first = |it: char| it.is_ascii_alphabetic() || matches!(it, '_' | '/');
    let is_inner = |it: char| {
        it.is_ascii_alphanumeric() || matches!(it, '_' | '/' | '.' | '-' | '+' | ' ' | '@' | '(' | ')')
    };
    text.len() <= 200
        && text.starts_with(is_first)
        && text.chars().all(is_inner)
        && !text.ends_with(' ')
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        && !is_number(text)
        && matches!(plain(text.to_owned()), Content::Text(_))
}

/// In double quotes: what cannot be printed is escaped.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(character),
            other if is_printable(other) => out.push(other),
            other if u32::from(other) <= 0xffff => drop(write!(out, "\\u{:04X}", u32::from(other))),
            other => drop(write!(out, "\\U{:08X}", u32::from(other))),
        }
    }
    out.push('"');
}

/// Whether a character beyond ASCII shows itself: not those that end lines, mark byte orders, turn the direction of text or take no room.
fn is_printable(character: char) -> bool {
    character.is_alphanumeric() && !matches!(u32::from(character), 0..=0xa0 | 0xfeff | 0xfff0..=0xffff)
}

#[cfg(test)]
mod tests;
