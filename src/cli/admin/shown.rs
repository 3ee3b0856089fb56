//! What a command shows: a table, a record field by field, or JSON.

use std::io::IsTerminal;

use serde_json::Value;

use super::super::table::columns;
use super::names::linked;

/// What a command shows.
#[derive(Debug)]
pub(super) struct Shown {
    /// As the API has it.
    pub(super) json: Value,
    form: Form,
    /// A line more, for people, on standard error.
    pub(super) note: Option<String>,
}

#[derive(Debug)]
enum Form {
    /// Records as rows, in these columns.
    Rows(Vec<Value>, &'static [&'static str]),
    /// A record, a field on each line.
    Fields(Value),
    Line(String),
}

impl Shown {
    /// A list.
    pub(super) fn list(records: Vec<Value>, columns: &'static [&'static str]) -> Shown {
        let json = Value::from(records.clone());
        Shown { json, form: Form::Rows(records, columns), note: None }
    }

    /// A list, of which people are shown other fields.
    pub(super) fn list_as(records: Vec<Value>, rows: Vec<Value>, columns: &'static [&'static str]) -> Shown {
        Shown { json: Value::from(records), form: Form::Rows(rows, columns), note: None }
    }

    /// A record, of which people are shown rows.
    pub(super) fn table(record: Value, rows: Vec<Value>, columns: &'static [&'static str]) -> Shown {
        Shown { json: record, form: Form::Rows(rows, columns), note: None }
    }

    /// A record.
    pub(super) fn one(record: Value) -> Shown {
        let note = record.get("value").filter(|_| record.get("scopes").is_some());
        let note = note.map(|_| "the value is shown this once only".to_owned());
        Shown { json: record.clone(), form: Form::Fields(record), note }
    }

    /// A record, of which people are shown this.
    pub(super) fn one_as(record: Value, fields: Value, note: &str) -> Shown {
        Shown { json: record, form: Form::Fields(fields), note: Some(note.to_owned()) }
    }

    /// What a record was before it was deleted.
    pub(super) fn deleted(noun: &str, record: Value) -> Shown {
        let known =
            ["system_name", "name", "org_name", "period"].iter().find_map(|name| record[*name].as_str());
        let id = if record["id"].is_null() { cell(&record["value"]) } else { cell(&record["id"]) };
        let name = known.map(|name| format!(" ({})", tame(name))).unwrap_or_default();
        Shown { json: record, form: Form::Line(format!("deleted {noun} {id}{name}\n")), note: None }
    }

    /// The same, with a line more for people.
    pub(super) fn with_note(self, note: Option<String>) -> Shown {
        Shown { note, ..self }
    }

    /// As people read it.
    pub(super) fn text(&self) -> String {
        match &self.form {
            Form::Rows(records, fields) => {
                let row = |record: &Value| fields.iter().map(|field| field_of(record, field)).collect();
                let rows: Vec<Vec<String>> = records.iter().map(row).collect();
                let text = columns(fields, &rows);
                let (head, rest) = text.split_once('\n').unwrap_or_default();
                if is_coloured() { format!("\u{1b}[1m{head}\u{1b}[0m\n{rest}") } else { text }
            }
            Form::Fields(record) => {
                let fields = record.as_object().into_iter().flatten();
                let shown = fields.filter(|(_, value)| !is_inner(value));
                let rows: Vec<_> = shown.map(|(name, value)| [tame(name), cell(value)]).collect();
                let width = rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
                rows.iter().map(|[name, value]| format!("{name:width$}  {value}\n")).collect()
            }
            Form::Line(text) => text.clone(),
        }
    }
}

/// Only where somebody looks, and wants it.
fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a field's value is no single thing.
fn is_inner(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(Value::is_object),
        Value::Object(map) => !map.contains_key("name"),
        _ => false,
    }
}

/// A field as a cell: its own, or the id of what the record links to by that name.
fn field_of(record: &Value, field: &str) -> String {
    match record.get(field) {
        Some(value) => cell(value),
        None => linked(record, field).map_or_else(|| "-".to_owned(), |id| tame(&id)),
    }
}

/// A value as a cell.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => tame(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        // Of whom something is: by name.
        Value::Object(map) => map.get("name").map(cell).unwrap_or_default(),
        other => other.to_string(),
    };
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A text that others wrote, without what would move a terminal's cursor or do worse.
pub(super) fn tame(text: &str) -> String {
    let is_bad =
        |it: char| it.is_control() || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|it| if is_bad(it) { '\u{fffd}' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_nothing_is_a_dash_and_texts_of_others_do_nothing() {
        let record = json!({
            "id": 7,
            "name": "a\u{1b}[2J\nb\u{202e}",
            "unit": "",
            "of": null,
            "list": ["x", "y"],
            "user": {"id": 1, "name": "ann"},
            "links": [{"rel": "service", "href": "/admin/api/services/12"}],
        });
        let heads = &["id", "name", "unit", "of", "list", "user", "service", "absent"];
        let text = Shown::list(vec![record.clone()], heads).text();
        let cells: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["7", "a\u{fffd}[2J\u{fffd}b\u{fffd}", "-", "-", "x,y", "ann", "12", "-"]);
        let fields = Shown::one(record).text();
        assert!(fields.starts_with("id    7\nname  a\u{fffd}[2J\u{fffd}b"), "{fields}");
        assert!(!fields.contains("links"), "{fields}");
    }

    #[test]
    fn what_was_deleted_is_named() {
        let text = |record| Shown::deleted("service", record).text();
        assert_eq!(
            text(json!({"id": 7, "name": "Weather", "system_name": "weather"})),
            "deleted service 7 (weather)\n"
        );
        assert_eq!(text(json!({"value": "abc"})), "deleted service abc\n");
    }
}
