//! Why a call does nothing, and how that is written in JSON and XML.

use serde_json::{Value, json};

use super::answer::{Format, xml};
use super::xml::Element;
use crate::engine::ChangeError;
use crate::model::draft::CommandError;
use crate::plugin::call::Answer;
use crate::plugin::host::{DeskError, LookError};
use crate::store::ShelfError;

/// What is wrong with the fields of a record, by field; `base` is the record as a whole.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Errors(Vec<(String, Vec<String>)>);

impl Errors {
    /// One thing that is wrong with one field.
    pub(super) fn of(field: &str, message: impl Into<String>) -> Errors {
        let mut errors = Errors::default();
        errors.add(field, message);
        errors
    }

    /// One thing more.
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>) {
        match self.0.iter_mut().find(|(known, _)| known == field) {
            Some((_, messages)) => messages.push(message.into()),
            None => self.0.push((field.to_owned(), vec![message.into()])),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing, if nothing is wrong.
    ///
    /// # Errors
    /// What is wrong (422).
    pub(super) fn check(self) -> Result<(), Refusal> {
        if self.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self)) }
    }

    fn json(&self) -> Value {
        let fields = self.0.iter().map(|(field, messages)| (field.clone(), json!(messages)));
        Value::Object(fields.collect())
    }

    fn xml(&self) -> Element {
        let mut root = Element::new("errors");
        for (field, messages) in &self.0 {
            for message in messages {
                let whole =
                    if field == "base" { message.clone() } else { format!("{} {message}", human(field)) };
                root.push(Element::text("error", whole));
            }
        }
        root
    }
}

/// A field's name as a sentence begins with it: `friendly_name` is `Friendly name`, `metric_id` is `Metric`.
fn human(field: &str) -> String {
    let text = field.strip_suffix("_id").unwrap_or(field).replace('_', " ");
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Why a call does nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No credentials, or wrong ones.
    AccessDenied,
    /// The token is for other things, or for reading only.
    Scope,
    /// The user may not do this.
    Forbidden,
    /// The tenant has as many as it may, or is suspended.
    Closed,
    /// There is no such record, or route.
    NotFound,
    /// The record would not be valid.
    Invalid(Errors),
    /// The record would not be valid: it is shown as it was sent, with what is wrong in it, in JSON.
    Shown(Value),
    /// The record cannot go.
    Undeletable(Errors),
    /// The record is in a state that has no such event.
    Transition { from: String, event: &'static str, error: String, object: Box<Value> },
    /// A parameter is missing that nothing can be said without.
    Missing(&'static str),
    /// What should be a record is something else.
    WrongType(String),
    /// A parameter that makes no sense; the text says why.
    Bad(String),
    /// The format is not among those that there are.
    Format,
    /// Something else of the 4xx, in words.
    Said(u16, String),
    /// More than one command, or one answer, can hold.
    TooLarge(String),
    /// The disk takes no writes.
    Unavailable(String),
    /// A defect of ours.
    Failed,
}

impl From<Errors> for Refusal {
    fn from(errors: Errors) -> Self {
        Refusal::Invalid(errors)
    }
}

impl From<ShelfError> for Refusal {
    fn from(error: ShelfError) -> Self {
        // It names files of the node, which is nothing for the caller.
        tracing::error!(%error, "a call of the admin API failed");
        if error.is_of_disk() {
            return Refusal::Unavailable("the records cannot be read at present".to_owned());
        }
        Refusal::Failed
    }
}

impl From<LookError> for Refusal {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Shelf(error) => error.into(),
            LookError::Behind => Refusal::Unavailable(error.to_string()),
        }
    }
}

/// A rule of the catalog that the area did not check before: what it says stands for the record as a whole.
impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unknown { .. } => Refusal::NotFound,
            error => Refusal::Invalid(Errors::of("base", error.to_string())),
        }
    }
}

impl From<DeskError<Refusal>> for Refusal {
    fn from(error: DeskError<Refusal>) -> Self {
        match error {
            DeskError::Refused(refusal) => refusal,
            DeskError::Look(error) => error.into(),
            DeskError::Change(ChangeError::Command(error)) => error.into(),
            DeskError::Change(error @ ChangeError::TooLarge { .. }) => Refusal::TooLarge(error.to_string()),
            DeskError::Change(error @ (ChangeError::NotDurable(_) | ChangeError::Unread(_))) => {
                Refusal::Unavailable(error.to_string())
            }
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Refusal {
    /// As it is sent: section 2 of the original's reference, in both formats.
    pub(super) fn answer(&self, format: Format) -> Answer {
        let mut answer = match self {
            Refusal::AccessDenied => error(403, "Access denied", format),
            Refusal::Scope => error(403, "Your access token does not have the correct permissions", format),
            Refusal::Forbidden => status(403, "Forbidden", format),
            Refusal::Closed => Answer::new(403, None, ""),
            Refusal::NotFound => status(404, "Not found", format),
            Refusal::Invalid(errors) => written(422, errors, format),
            Refusal::Shown(record) => Answer::json(422, record),
            Refusal::Undeletable(errors) => written(403, errors, format),
            Refusal::Transition { from, event, error: said, object } => match format {
                Format::Json => {
                    let error = json!({"from": from, "event": event, "error": said, "object": object});
                    Answer::json(422, &json!({"error": error}))
                }
                Format::Xml => xml(422, &Element::text("error", said)),
            },
            Refusal::Missing(name) => {
                Answer::new(400, Some(TEXT), format!("Required parameter missing: {name}"))
            }
            Refusal::WrongType(name) => {
                Answer::new(422, Some(TEXT), format!("Wrong type for parameter: {name}"))
            }
            Refusal::Bad(text) => error(400, text, format),
            Refusal::Format => error(406, "The format is not supported here", Format::Json),
            Refusal::Said(code, text) => error(*code, text, format),
            Refusal::TooLarge(text) => error(413, text, format),
            Refusal::Unavailable(text) => error(503, text, format),
            Refusal::Failed => error(500, "The call failed inside the node", format),
        };
        answer.is_stranger = matches!(self, Refusal::AccessDenied);
        answer
    }
}

fn error(code: u16, text: &str, format: Format) -> Answer {
    match format {
        Format::Json => Answer::json(code, &json!({"error": text})),
        Format::Xml => xml(code, &Element::text("error", text)),
    }
}

/// In XML these have no body.
fn status(code: u16, text: &str, format: Format) -> Answer {
    match format {
        Format::Json => Answer::json(code, &json!({"status": text})),
        Format::Xml => Answer::new(code, None, ""),
    }
}

fn written(code: u16, errors: &Errors, format: Format) -> Answer {
    match format {
        Format::Json => Answer::json(code, &json!({"errors": errors.json()})),
        Format::Xml => xml(code, &errors.xml()),
    }
}
