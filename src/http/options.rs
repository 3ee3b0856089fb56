//! The `3scale-options` request header: extensions of the calls, as a query string.

use memchr::{memchr, memchr_iter, memchr2, memchr3};

use super::form::{Form, PARAMETERS_MAX, Value};
use crate::model::promise::Promise;

/// What a caller asked for. By default nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Options {
    /// Answer without a body. `None` if the header does not say; then the parameter `no_body` does.
    pub no_body: Option<bool>,
    /// Name the reason of a denial in a header.
    pub rejection_reason_header: bool,
    /// Tell what is left of the tightest limit in headers.
    pub limit_headers: bool,
    /// List the application's keys.
    pub list_app_keys: bool,
    /// List the reported metrics with those below them.
    pub hierarchy: bool,
    /// Count the named metrics only, not their ancestors.
    pub flat_usage: bool,
    /// Tell of the limits that bind in the fields that gateways pass on to clients: see `http::ratelimit`. Ours.
    pub ratelimit_headers: bool,
    /// What the answer is to promise of what is counted: `1` asks for durable, `0` for interval, anything else for nothing.
    /// Ours.
    pub durable: Option<Promise>,
}

impl Options {
    /// Reads the value of the header. One that is no query string asks for nothing.
    #[must_use]
    pub fn parse(header: &[u8]) -> Options {
        let mut options = Options::default();
        // Gateways send plain names and digits with every call: without escapes or nesting they are read in place.
        let is_plain = header.len() <= PARAMETERS_MAX
            && memchr3(b'%', b'+', b'[', header).is_none()
            && memchr2(b']', b' ', header).is_none();
        if is_plain {
            let mut start = 0;
            for end in memchr_iter(b'&', header).chain([header.len()]) {
                let pair = &header[start..end];
                start = end + 1;
                let equals = memchr(b'=', pair);
                let name = &pair[..equals.unwrap_or(pair.len())];
                options.set(name, equals.map(|at| &pair[at + 1..]));
            }
        } else if let Ok(form) = Form::parse(header) {
            for (name, value) in form.entries() {
                match value {
                    Value::Nil => options.set(name.as_bytes(), None),
                    Value::Text(text) => options.set(name.as_bytes(), Some(text.as_bytes())),
                    // Neither is `1`, but for `no_body` any value counts.
                    Value::List(_) | Value::Hash(_) => options.set(name.as_bytes(), Some(b"-")),
                }
            }
        }
        options
    }

    /// Only `1` is yes, except for `no_body`.
    fn set(&mut self, name: &[u8], value: Option<&[u8]>) {
        let on = value == Some(b"1");
        match name {
            b"no_body" => self.no_body = Some(value.is_some_and(|value| !matches!(value, b"0" | b"false"))),
            b"rejection_reason_header" => self.rejection_reason_header = on,
            b"limit_headers" => self.limit_headers = on,
            b"list_app_keys" => self.list_app_keys = on,
            b"hierarchy" => self.hierarchy = on,
            b"flat_usage" => self.flat_usage = on,
            b"ratelimit_headers" => self.ratelimit_headers = on,
            b"durable" => {
                self.durable = match value {
                    Some(b"1") => Some(Promise::Durable),
                    Some(b"0") => Some(Promise::Interval),
                    _ => None,
                }
            }
            _ => {}
        }
    }
}

/// Whether this value of `no_body` means yes: anything but `0` and `false`, even nothing.
#[must_use]
pub fn no_body_value(value: &str) -> bool {
    !matches!(value, "0" | "false")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_one_is_yes() {
        for (header, on) in [
            ("limit_headers=1", true),
            ("limit_headers=true", false),
            ("limit_headers=2", false),
            ("limit_headers=11", false),
            ("limit_headers", false),
            ("limit_headers=", false),
            ("limit_headers=0&limit_headers=1", true),
            ("limit_headers=1&limit_headers=0", false),
            ("limit%5Fheaders=%31", true),
            ("limit_headers[x]=1", false),
            ("limit_headers=%zz", false),
        ] {
            assert_eq!(Options::parse(header.as_bytes()).limit_headers, on, "{header}");
        }
    }

    #[test]
    fn no_body_is_yes_unless_denied() {
        for (header, no_body) in [
            ("", None),
            ("limit_headers=1", None),
            ("no_body=1", Some(true)),
            ("no_body=", Some(true)),
            ("no_body=x%20", Some(true)),
            ("no_body[x]=0", Some(true)),
            ("no_body=0", Some(false)),
            ("no_body=false", Some(false)),
            ("no_body", Some(false)),
        ] {
            assert_eq!(Options::parse(header.as_bytes()).no_body, no_body, "{header}");
        }
    }

    #[test]
    fn a_promise_is_asked_for_by_one_and_waived_by_zero() {
        let (durable, interval) = (Some(Promise::Durable), Some(Promise::Interval));
        for (header, promise) in [
            ("", None),
            ("durable=1", durable),
            ("durable=0", interval),
            ("durable%3D1=1&durable=%31", durable),
            ("durable=1&durable=0", interval),
            ("durable", None),
            ("durable=", None),
            ("durable=true", None),
            ("durable[x]=1", None),
        ] {
            assert_eq!(Options::parse(header.as_bytes()).durable, promise, "{header}");
        }
    }

    #[test]
    fn all_options_are_independent() {
        let all =
            b"no_body=1&rejection_reason_header=1&limit_headers=1&list_app_keys=1&hierarchy=1&flat_usage=1\
                    &ratelimit_headers=1&durable=1";
        let options = Options::parse(all);
        assert!(options.rejection_reason_header && options.limit_headers && options.list_app_keys);
        assert!(options.hierarchy && options.flat_usage && options.no_body == Some(true));
        assert!(options.ratelimit_headers && options.durable.is_some());
        assert_eq!(Options::parse(b"x=1&=&&"), Options::default());
    }

    proptest! {
        #[test]
        fn any_header_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Options::parse(&bytes);
        }

        #[test]
        fn reading_in_place_and_as_a_form_agree(header in "(no_body|limit_headers|flat_usage|durable|x|=|&|0|1){0,12}") {
            let escaped: String = header.replace('_', "%5f");
            prop_assert_eq!(Options::parse(header.as_bytes()), Options::parse(escaped.as_bytes()));
        }
    }
}
