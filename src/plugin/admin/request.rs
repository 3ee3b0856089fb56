//! A call as the areas see it: its path in segments, the format that is wanted, and parameters as Rails reads them.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::answer::{Format, Page, Refusal};
use super::routes::Api;
use crate::plugin::call::{Call, Method};

/// The most that a page of a list has, and what it has if nothing else is asked for.
pub(super) const PER_PAGE_MAX: usize = 500;

/// A call, its path taken apart.
pub(super) struct Request<'c> {
    pub(super) method: Method,
    /// Decoded segments of the path, without the suffix of the format.
    pub(super) path: Vec<String>,
    /// Which API it is of; none, if it is of none.
    pub(super) api: Option<Api>,
    /// The format that the suffix names.
    pub(super) suffix: Option<Format>,
    pub(super) call: &'c Call,
}

impl<'c> Request<'c> {
    /// Takes a call's path apart: split at slashes, then decoded, as a key may have a slash in it. Exactly one suffix is a
    /// format, as a key may end in one.
    ///
    /// # Errors
    /// The path is no text.
    pub(super) fn read(call: &'c Call) -> Result<Request<'c>, Refusal> {
        let path = call.path.trim_start_matches('/');
        let (path, suffix) = match (path.strip_suffix(".json"), path.strip_suffix(".xml")) {
            (Some(path), _) => (path, Some(Format::Json)),
            (_, Some(path)) => (path, Some(Format::Xml)),
            _ => (path.strip_suffix('/').unwrap_or(path), None),
        };
        let decoded = path.split('/').map(|part| percent_decode_str(part).decode_utf8());
        let path = decoded.map(|part| part.map(|text| text.into_owned())).collect::<Result<_, _>>();
        let path = path.map_err(|_| Refusal::NotFound)?;
        Ok(Request { method: call.method, path, api: Api::of(&call.path), suffix, call })
    }

    /// The segments of the path where its API lies, and those below.
    pub(super) fn split(&self) -> (&[String], &[String]) {
        let root = self.api.map_or(0, |api| api.segments(&self.call.path));
        self.path.split_at_checked(root).unwrap_or((&self.path, &[]))
    }

    /// The fields of a record: parameters as they are, and those that are wrapped in the record's name over them.
    ///
    /// # Errors
    /// The name is there, and is no record.
    pub(super) fn fields(&self, wrapper: &str) -> Result<Fields, Refusal> {
        let mut fields = self.call.parameters.clone();
        match fields.remove(wrapper) {
            Some(Value::Object(wrapped)) => fields.extend(wrapped),
            Some(Value::Null) | None => {}
            Some(_) => return Err(Refusal::WrongType(wrapper.to_owned())),
        }
        Ok(Fields(fields))
    }

    /// The parameters as they are.
    pub(super) fn parameters(&self) -> Fields {
        Fields(self.call.parameters.clone())
    }

    /// The page of a list that the original does not show in pages: all of it, unless a page is asked for.
    pub(super) fn page_if_asked(&self, total: usize) -> Page {
        let is_asked = ["page", "per_page"].iter().any(|name| self.call.parameters.contains_key(*name));
        if is_asked { self.page(total) } else { Page { number: 1, per_page: total.max(1), total } }
    }

    /// The page of a list of `total` that is asked for. Numbers out of range are as good as none.
    pub(super) fn page(&self, total: usize) -> Page {
        let number = |name: &str| text_of(self.call.parameters.get(name)?)?.trim().parse::<usize>().ok();
        let per_page =
            number("per_page").filter(|it| (1..=PER_PAGE_MAX).contains(it)).unwrap_or(PER_PAGE_MAX);
        Page { number: number("page").filter(|it| *it >= 1).unwrap_or(1), per_page, total }
    }
}

impl Page {
    /// How many records lie before it.
    pub(super) fn skip(&self) -> usize {
        (self.number - 1).saturating_mul(self.per_page)
    }

    /// Its part of a list that is there whole.
    pub(super) fn cut<T>(&self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.skip()).take(self.per_page).collect()
    }
}

/// Fields of a record, as a client sent them: in a form everything is a text.
#[derive(Clone, Debug)]
pub(super) struct Fields(Map<String, Value>);

impl From<Map<String, Value>> for Fields {
    fn from(fields: Map<String, Value>) -> Self {
        Fields(fields)
    }
}

/// A scalar as a text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

impl Fields {
    /// Whether the field was sent at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The field as it was sent.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The same with one field more.
    pub(super) fn with(mut self, name: &str, value: Value) -> Fields {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// The fields and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// A text; one that was sent as nothing (`null`) is empty. A list or record is as good as not sent.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text_of(self.0.get(name)?)
    }

    /// A text that says something.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.trim().is_empty())
    }

    /// A text that says something, which the call makes no sense without.
    ///
    /// # Errors
    /// There is none (400).
    pub(super) fn needed(&self, name: &'static str) -> Result<String, Refusal> {
        self.filled(name).ok_or(Refusal::Missing(name))
    }

    /// A flag, by Rails' rules: what is not one of the words for no is yes, and nothing is neither.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let text = self.filled(name)?;
        Some(!matches!(text.to_lowercase().as_str(), "false" | "0" | "f" | "off" | "no" | "n"))
    }

    /// A whole number; `Some(None)`: something else was sent.
    pub(super) fn integer(&self, name: &str) -> Option<Option<i64>> {
        let text = self.filled(name)?;
        let text = text.trim();
        // 3.0 comes from clients that send what they once got as a float.
        Some(text.strip_suffix(".0").unwrap_or(text).parse().ok())
    }

    /// An id; none if what was sent cannot be one.
    pub(super) fn id(&self, name: &str) -> Option<u64> {
        self.filled(name)?.trim().parse().ok()
    }

    /// The texts of a list; a form's empty list is one empty text.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        match self.0.get(name)? {
            Value::Array(items) => {
                Some(items.iter().filter_map(text_of).filter(|it| !it.is_empty()).collect())
            }
            other => Some(text_of(other).filter(|text| !text.is_empty()).into_iter().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(path: &str, parameters: Value) -> Call {
        let Value::Object(parameters) = parameters else { panic!("parameters are an object") };
        Call {
            method: Method::Get,
            tenant: None,
            path: path.to_owned(),
            parameters,
            basic: None,
            accept: None,
            etag: None,
            host: None,
            scheme: "http",
        }
    }

    #[test]
    fn one_suffix_is_the_format_and_segments_are_split_before_they_are_decoded() {
        let call = call("/admin/api/keys/AB%2Fc%25d%3Fe.json.json", json!({}));
        let request = Request::read(&call).ok().unwrap();
        assert_eq!(request.path, ["admin", "api", "keys", "AB/c%d?e.json"]);
        assert_eq!(request.suffix, Some(Format::Json));
    }

    #[test]
    fn fields_come_flat_or_wrapped_and_a_scalar_in_place_of_a_record_is_refused() {
        let read = |parameters| call("/", parameters);
        let wrapped = read(json!({"name": "flat", "service": {"name": "wrapped"}}));
        let fields = |call: &Call| Request::read(call).ok().unwrap().fields("service");
        assert_eq!(fields(&wrapped).ok().unwrap().text("name").unwrap(), "wrapped");
        assert!(
            matches!(fields(&read(json!({"service": 5}))), Err(Refusal::WrongType(name)) if name == "service")
        );
        let nothing = fields(&read(json!({"name": null, "flag": "0", "number": "2.0"}))).ok().unwrap();
        assert_eq!((nothing.text("name").as_deref(), nothing.filled("name")), (Some(""), None));
        assert_eq!((nothing.flag("flag"), nothing.flag("other")), (Some(false), None));
        assert_eq!((nothing.integer("number"), nothing.integer("flag")), (Some(Some(2)), Some(Some(0))));
    }

    #[test]
    fn pages_out_of_range_are_those_that_nobody_asked_for() {
        let page = |parameters| {
            let call = call("/", parameters);
            let page = Request::read(&call).ok().unwrap().page(1200);
            (page.number, page.per_page)
        };
        assert_eq!(page(json!({})), (1, 500));
        assert_eq!(page(json!({"page": "3", "per_page": 20})), (3, 20));
        assert_eq!(page(json!({"page": 0, "per_page": 0})), (1, 500));
        assert_eq!(page(json!({"page": "x", "per_page": 501})), (1, 500));
        let page_if_asked = |parameters| {
            let call = call("/", parameters);
            let page = Request::read(&call).ok().unwrap().page_if_asked(1200);
            (page.number, page.per_page)
        };
        assert_eq!(page_if_asked(json!({})), (1, 1200));
        assert_eq!(page_if_asked(json!({"page": 2})), (2, 500));
    }
}
