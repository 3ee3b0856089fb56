//! Validations that many records share, in the original's words.

use serde_json::{Map, Value};

use super::answer::Errors;
use super::request::{Fields, text_of};
use crate::model::draft::TEXT_LEN_MAX;

pub(super) const BLANK: &str = "can't be blank";
pub(super) const TAKEN: &str = "has already been taken";
pub(super) const INVALID: &str = "is invalid";
pub(super) const NOT_LISTED: &str = "is not included in the list";
pub(super) const NOT_A_NUMBER: &str = "is not a number";

/// A text that must be there, and fits into a record: at most 255 bytes, no control characters.
pub(super) fn present(errors: &mut Errors, field: &str, text: Option<&str>) {
    match text.map(str::trim) {
        None | Some("") => errors.add(field, BLANK),
        Some(text) => fitting(errors, field, text, TEXT_LEN_MAX),
    }
}

/// A text that fits: at most so many bytes, in one line.
pub(super) fn fitting(errors: &mut Errors, field: &str, text: &str, max: usize) {
    if text.len() > max {
        errors.add(field, format!("is too long (maximum is {max} characters)"));
    }
    if text.contains(char::is_control) {
        errors.add(field, INVALID);
    }
}

/// Room for one record more among those that there are.
///
/// # Errors
/// There are as many as there may be, of what `noun` says.
pub(super) fn room(count: usize, max: usize, noun: &str) -> Result<(), Errors> {
    if count < max { Ok(()) } else { Err(Errors::of("base", format!("there are at most {max} {noun}"))) }
}

/// A longer text, that may have lines.
pub(super) fn long(errors: &mut Errors, field: &str, text: &str, max: usize) {
    if text.len() > max {
        errors.add(field, format!("is too long (maximum is {max} characters)"));
    }
}

/// The most annotations of a record.
pub(super) const ANNOTATIONS_MAX: usize = 50;

/// Takes over the annotations that were sent, if any were: names and single values, both at most 255 bytes. Clients send back what they
/// were shown, so those that are there stay good.
pub(super) fn annotations(errors: &mut Errors, fields: &Fields, annotations: &mut Map<String, Value>) {
    let Some(Value::Object(sent)) = fields.value("annotations") else { return };
    if sent == annotations {
        return;
    }
    if sent.len() > ANNOTATIONS_MAX {
        errors.add("annotations", format!("are too many (maximum is {ANNOTATIONS_MAX})"));
        return;
    }
    for (name, value) in sent {
        match text_of(value) {
            Some(text) => {
                [name, &text].into_iter().for_each(|it| fitting(errors, "annotations", it, TEXT_LEN_MAX))
            }
            None => errors.add("annotations", INVALID),
        }
    }
    annotations.clone_from(sent);
}
