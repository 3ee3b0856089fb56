//! The parameters that 3scale's calls know, picked out of a form in one pass. Unknown ones are ignored.

use super::form::{Form, Value};
use super::options::no_body_value;
use crate::engine::request::Credentials;

/// The known parameters of one request. A text parameter that came as hash or list is absent.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Fields<'a> {
    provider_key: Option<&'a str>,
    service_token: Option<&'a str>,
    service_id: Option<&'a str>,
    app_id: Option<&'a str>,
    user_key: Option<&'a str>,
    app_key: Option<&'a str>,
    referrer: Option<&'a str>,
    redirect_url: Option<&'a str>,
    redirect_uri: Option<&'a str>,
    user_id: Option<&'a str>,
    /// Whether the deprecated parameter asks for an empty body.
    pub(super) no_body: bool,
    pub(super) usage: Value<'a>,
    pub(super) log: Value<'a>,
    pub(super) transactions: Value<'a>,
}

impl<'a> Fields<'a> {
    /// Reads a form. Read a second one into the same fields and its parameters replace the first one's.
    pub(super) fn read(&mut self, form: &'a Form) {
        for (name, value) in form.entries() {
            match name {
                "provider_key" => self.provider_key = value.text(),
                "service_token" => self.service_token = value.text(),
                "service_id" => self.service_id = value.text(),
                "app_id" => self.app_id = value.text(),
                "user_key" => self.user_key = value.text(),
                "app_key" => self.app_key = value.text(),
                "referrer" => self.referrer = value.text(),
                "redirect_url" => self.redirect_url = value.text(),
                "redirect_uri" => self.redirect_uri = value.text(),
                "user_id" => self.user_id = value.text(),
                "no_body" => self.no_body = value.text().is_some_and(no_body_value),
                "usage" => self.usage = value,
                "log" => self.log = value,
                "transactions" => self.transactions = value,
                _ => {}
            }
        }
    }

    pub(super) fn credentials(&self) -> Credentials<'a> {
        Credentials {
            provider_key: not_blank(self.provider_key),
            service_token: not_blank(self.service_token),
            service_id: not_blank(self.service_id),
            service: None,
        }
    }

    pub(super) fn app_id(&self) -> Option<&'a str> {
        not_blank(self.app_id)
    }

    pub(super) fn user_key(&self) -> Option<&'a str> {
        not_blank(self.user_key)
    }

    /// Trimmed, and alone in that an empty one is not absent.
    pub(super) fn app_key(&self) -> Option<&'a str> {
        self.app_key.map(|key| key.trim_matches(is_blank))
    }

    pub(super) fn referrer(&self) -> Option<&'a str> {
        not_blank(self.referrer)
    }

    pub(super) fn redirect_url(&self) -> Option<&'a str> {
        not_blank(self.redirect_url)
    }

    pub(super) fn redirect_uri(&self) -> Option<&'a str> {
        not_blank(self.redirect_uri)
    }

    pub(super) fn user_id(&self) -> Option<&'a str> {
        not_blank(self.user_id)
    }

    /// `log[code]`.
    pub(super) fn log_code(&self) -> Option<&'a str> {
        code_of(self.log)
    }
}

/// The text under `code`, if `log` is a hash that has one.
pub(super) fn code_of(log: Value<'_>) -> Option<&str> {
    let Value::Hash(mut entries) = log else { return None };
    entries.find(|(name, _)| *name == "code").and_then(|(_, code)| code.text())
}

/// The text, unless nothing but white space is in it.
pub(super) fn not_blank(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim_matches(is_blank).is_empty())
}

/// What Ruby strips: ASCII white space and NUL.
fn is_blank(c: char) -> bool {
    matches!(c, '\0' | '\t'..='\r' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(encoded: &str, check: impl FnOnce(Fields<'_>)) {
        let form = Form::parse(encoded.as_bytes()).unwrap();
        let mut fields = Fields::default();
        fields.read(&form);
        check(fields);
    }

    #[test]
    fn blank_is_absent_except_for_the_application_key() {
        with("app_id=+&user_key=&service_id=%09%00&app_key=+&referrer&user_id=%0b", |fields| {
            assert_eq!((fields.app_id(), fields.user_key()), (None, None));
            assert_eq!((fields.credentials().service_id, fields.referrer()), (None, None));
            assert_eq!((fields.app_key(), fields.user_id()), (Some(""), None));
        });
        with("app_key&user_key", |fields| assert_eq!((fields.app_key(), fields.user_key()), (None, None)));
    }

    #[test]
    fn only_the_application_key_is_trimmed() {
        with("app_id=+a+&app_key=+k+&provider_key=p+", |fields| {
            assert_eq!((fields.app_id(), fields.app_key()), (Some(" a "), Some("k")));
            assert_eq!(fields.credentials().provider_key, Some("p "));
        });
    }

    #[test]
    fn a_hash_where_a_text_belongs_is_absent() {
        with("app_id[x]=1&app_key[]=2&log=404&log2[code]=1", |fields| {
            assert_eq!((fields.app_id(), fields.app_key(), fields.log_code()), (None, None, None));
        });
        with("log[x]=1&log[code]=404", |fields| assert_eq!(fields.log_code(), Some("404")));
        with("log[code][x]=1", |fields| assert_eq!(fields.log_code(), None));
    }

    #[test]
    fn a_second_form_replaces_parameters_of_the_first() {
        let (query, body) = (Form::parse(b"app_id=a&user_key=u").unwrap(), Form::parse(b"app_id=b").unwrap());
        let mut fields = Fields::default();
        fields.read(&query);
        fields.read(&body);
        assert_eq!((fields.app_id(), fields.user_key()), (Some("b"), Some("u")));
    }
}
