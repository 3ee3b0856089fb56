//! From a call as a client would send it to the explanation of how it would be decided: see [`Engine::explain`].

use super::auth;
use super::fields::Fields;
use super::form::Form;
use super::options::Options;
use super::telemetry::Call;
use crate::engine::{Engine, Explanation};
use crate::model::decision::Refusal;
use crate::model::time::UnixMillis;

/// Explains a call of 3scale's API: `call` is its URL, its path and query, or its query alone, which then is that of
/// authrep. `options` is the value of its `3scale-options` header. Counts nothing.
#[must_use]
pub fn explain(engine: &Engine, call: &str, options: &str, wall: UnixMillis) -> Explanation {
    let (kind, query) = match call.split_once('?') {
        // Before a query's own question marks there is a name and its `=`.
        Some((path, query)) if !path.contains('=') => (kind_of(path), query),
        _ => (Some(Call::Authrep), call),
    };
    let Some(kind) = kind else {
        let text = "the path is none of authrep, authorize, oauth_authrep and oauth_authorize";
        return engine.explain_unreadable("not_found", text, wall);
    };
    let options = Options::parse(options.as_bytes());
    match Form::parse(query.as_bytes()) {
        Ok(form) if form.is_utf8() => explain_form(engine, kind, &form, options, wall),
        Ok(_) => engine.explain_refusal(&Refusal::NotValidData, wall),
        Err(error) => engine.explain_refusal(&Refusal::BadRequest { text: &error.to_string() }, wall),
    }
}

fn kind_of(path: &str) -> Option<Call> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.strip_suffix(".xml").unwrap_or(name) {
        "authrep" => Some(Call::Authrep),
        "authorize" => Some(Call::Authorize),
        "oauth_authrep" => Some(Call::OauthAuthrep),
        "oauth_authorize" => Some(Call::OauthAuthorize),
        _ => None,
    }
}

fn explain_form(engine: &Engine, call: Call, form: &Form, options: Options, wall: UnixMillis) -> Explanation {
    let mut fields = Fields::default();
    fields.read(form);
    let no_body = options.no_body.unwrap_or(fields.no_body);
    let explained =
        auth::with_request(&fields, call, options, no_body, |request| engine.explain(request, wall));
    explained.unwrap_or_else(|| match engine.authenticate(&fields.credentials()) {
        Err(refusal) => engine.explain_refusal(&refusal, wall),
        Ok(()) if fields.user_id().is_some() => {
            engine.explain_refusal(&Refusal::EndUsersNoLongerSupported, wall)
        }
        Ok(()) => {
            let text = "usage is not of the form usage[METRIC]=VALUE";
            engine.explain_unreadable("usage_not_a_hash", text, wall)
        }
    })
}
