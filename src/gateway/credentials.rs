//! Credentials of calls: found where the proxy says, as APIcast does.
//!
//! | Location | `user_key` | `app_id` and `app_key` |
//! |---|---|---|
//! | `query` | parameter of the query, or of a form | the same |
//! | `headers` | header of that name, `-` and `_` alike | the same |
//! | `authorization` | Basic: the user, or else the password; Bearer: the token | Basic: user and password |
//!
//! Those of an application with keys are both asked for; an empty key is one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use super::answer::Call;
use super::content::Proxy;

/// Credentials, by the names of the parameters with which the node is asked.
pub(super) type Credentials = Vec<(&'static str, String)>;

/// How the service's applications identify themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    UserKey,
    AppIdAndKey,
}

impl Method {
    /// None for those that are not done here.
    pub(super) fn of(proxy: &Proxy) -> Option<Method> {
        match proxy.authentication_method.as_str() {
            "1" => Some(Method::UserKey),
            "2" => Some(Method::AppIdAndKey),
            _ => None,
        }
    }
}

/// The credentials of a call, if all are there.
pub(super) fn find(method: Method, proxy: &Proxy, call: &Call) -> Option<Credentials> {
    let names = match method {
        Method::UserKey => vec![("user_key", &proxy.auth_user_key)],
        Method::AppIdAndKey => vec![("app_id", &proxy.auth_app_id), ("app_key", &proxy.auth_app_key)],
    };
    let named = |find: &dyn Fn(&str) -> Option<String>| {
        names.iter().map(|(parameter, name)| Some((*parameter, find(name)?))).collect::<Option<Credentials>>()
    };
    match proxy.credentials_location.as_str() {
        "headers" => named(&|name| call.header(&name.to_ascii_lowercase()).map(str::to_owned)),
        "authorization" => authorized(method, &Authorization::of(call.header("authorization")?)?),
        _ => named(&|name| parameter(call, name)),
    }
}

fn parameter(call: &Call, name: &str) -> Option<String> {
    let form = call.form().and_then(|form| std::str::from_utf8(form).ok()).unwrap_or_default();
    let pairs = call.query.split('&').chain(form.split('&')).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    pairs
        .map(|(key, value)| (decoded(key), value))
        .find(|(key, _)| key == name)
        .map(|(_, value)| decoded(value))
}

/// What the header of that name says.
#[derive(Debug)]
enum Authorization {
    Basic { user: String, password: String },
    Bearer(String),
}

impl Authorization {
    fn of(header: &str) -> Option<Authorization> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Authorization::Bearer(rest.trim().to_owned()));
        }
        let decoded =
            BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':').unwrap_or((&text, ""));
        Some(Authorization::Basic { user: user.to_owned(), password: password.to_owned() })
    }
}

fn authorized(method: Method, authorization: &Authorization) -> Option<Credentials> {
    match (method, authorization) {
        (Method::UserKey, Authorization::Basic { user, password }) => {
            let key = if user.is_empty() { password } else { user };
            (!key.is_empty()).then(|| vec![("user_key", key.clone())])
        }
        (Method::UserKey, Authorization::Bearer(token)) => Some(vec![("user_key", token.clone())]),
        (Method::AppIdAndKey, Authorization::Basic { user, password }) => {
            (!user.is_empty()).then(|| vec![("app_id", user.clone()), ("app_key", password.clone())])
        }
        // A token says who, and has no key.
        (Method::AppIdAndKey, Authorization::Bearer(_)) => None,
    }
}
