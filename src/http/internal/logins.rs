//! Who may use the internal API: HTTP basic authentication, compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::model::record::Secret;

/// Users and passwords, all of them valid: while a password is being changed, the old one and the new one.
#[derive(Clone, Default, Debug)]
pub struct Logins(Vec<Secret>);

impl Logins {
    /// The logins of these users and passwords.
    #[must_use]
    pub fn new<'a>(logins: impl IntoIterator<Item = (&'a str, &'a str)>) -> Logins {
        Logins(
            logins.into_iter().map(|(user, password)| Secret::new(&format!("{user}:{password}"))).collect(),
        )
    }

    /// Whether there is none: then nobody may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the headers carry a login, exactly one, and it is one of these.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some(given) = decode(value.as_bytes()) else { return false };
        // All are compared: which one it was shows in no time taken.
        self.0.iter().fold(false, |admitted, login| admitted | login.matches(&given))
    }
}

/// `user:password` of `Basic ...`.
fn decode(value: &[u8]) -> Option<String> {
    let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    String::from_utf8(STANDARD.decode(encoded.trim_ascii()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn admits(logins: &Logins, values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        logins.admit(&headers)
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn exactly_the_configured_logins_are_admitted() {
        let logins = Logins::new([("porta", "old:er"), ("porta", "newer"), ("\u{fc}ser", "p\u{e4}ss")]);
        for good in ["porta:old:er", "porta:newer", "\u{fc}ser:p\u{e4}ss"] {
            assert!(admits(&logins, &[&basic(good)]), "{good}");
            assert!(admits(&logins, &[&basic(good).replace("Basic", "basic")]), "{good}");
        }
        for bad in ["", ":", "porta", "porta:", "porta:old", "porta:newer ", "Porta:newer", "\u{fc}ser:newer"]
        {
            assert!(!admits(&logins, &[&basic(bad)]), "{bad}");
        }
        let good = basic("porta:newer");
        let bad = [
            "Basic",
            "Basic ",
            "Bearer cG9ydGE6bmV3ZXI=",
            "Basic cG9ydGE6bmV3ZXI",
            "cG9ydGE6bmV3ZXI=",
            "Basic ////",
        ];
        for bad in bad {
            assert!(!admits(&logins, &[bad]), "{bad}");
        }
        assert!(!admits(&logins, &[]) && !admits(&logins, &[&good, &good]));
        assert!(!admits(&Logins::default(), &[&good]) && !admits(&Logins::default(), &[&basic(":")]));
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", Logins::new([("porta", "hush")]));
        assert!(!shown.contains("hush") && !shown.contains("porta"), "{shown}");
    }
}
