//! What a text of the command line stands for: records by id, and by the names that people know them by.
//!
//! A text that is the id of one record and the name of another stands for neither: it is refused, so that nothing is deleted that
//! was not meant.

use serde_json::{Map, Value};

use super::super::Exit;
use super::api::bare;
use super::session::{Failure, Session, nothing};
use super::shown::Shown;
use super::verb::Is;

/// The record that a text stands for, and its id.
///
/// # Errors
/// There is none, or more than one.
pub(super) fn find(session: &Session<'_>, is: Is, text: &str) -> Result<(String, Value), Failure> {
    let found = match is {
        Is::Tenant => among(session, "providers", &["id", "org_name"], text)?,
        Is::Service => among(session, "services", &["id", "system_name"], text)?,
        Is::Metric => among(session, "services/{service}/metrics", &["id", "system_name"], text)?,
        Is::Method => {
            among(session, "services/{service}/metrics/{metric}/methods", &["id", "system_name"], text)?
        }
        Is::Plan if session.places.contains_key("service") => {
            among(session, "services/{service}/application_plans", &["id", "system_name"], text)?
        }
        Is::Plan => among(session, "application_plans", &["id", "system_name"], text)?,
        Is::Token => among(session, "personal/access_tokens", &["id", "name"], text)?,
        Is::Account => accounts(session, text)?,
        Is::App => applications(session, text)?,
        Is::Key => return key(session, text),
        Is::Text | Is::File => return Ok((text.to_owned(), Value::Null)),
    };
    // Those of backend APIs are not among a service's own: by id alone.
    if is == Is::Metric && found.is_empty() && is_id(text) {
        return Ok((text.to_owned(), Value::Null));
    }
    let record = one(word(is), text, found)?;
    Ok((record["id"].to_string(), record))
}

fn word(is: Is) -> &'static str {
    match is {
        Is::Tenant => "tenant",
        Is::Service => "service",
        Is::Metric => "metric",
        Is::Method => "method",
        Is::Plan => "plan",
        Is::Token => "token",
        Is::Account => "account",
        Is::Key => "key",
        Is::App | Is::Text | Is::File => "application",
    }
}

/// The only one of what was found.
fn one(word: &str, text: &str, mut found: Vec<Value>) -> Result<Value, Failure> {
    let mut ids = Vec::new();
    found.retain(|record| !ids.contains(&record["id"]) && (ids.push(record["id"].clone()), true).1);
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Failure::new(Exit::Failed, format!("there is no {word} \"{text}\""))),
        (Some(record), true) => Ok(record),
        (Some(_), false) => {
            let ids: Vec<_> = ids.iter().map(Value::to_string).collect();
            let hint = if word == "plan" { "; --service says of which service" } else { "" };
            let text = format!(
                "\"{text}\" stands for more than one {word}: those with the ids {}{hint}",
                ids.join(", ")
            );
            Err(Failure::new(Exit::Failed, text))
        }
    }
}

/// Those of a list that have the text in one of these fields.
fn among(session: &Session<'_>, path: &str, fields: &[&str], text: &str) -> Result<Vec<Value>, Failure> {
    let mut records = session.api.list(&session.path(path)?, &nothing())?;
    let id = text.parse::<u64>().ok();
    let is_it = |value: &Value| value == text || (id.is_some() && value.as_u64() == id);
    records.retain(|record| fields.iter().any(|field| is_it(&record[*field])));
    Ok(records)
}

fn is_id(text: &str) -> bool {
    text.parse::<u64>().is_ok()
}

fn asking(name: &str, text: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), Value::from(text))])
}

fn accounts(session: &Session<'_>, text: &str) -> Result<Vec<Value>, Failure> {
    let api = session.api;
    let mut found = Vec::new();
    if is_id(text) {
        found.extend(api.maybe("GET", &format!("accounts/{text}"), &nothing())?);
    }
    found.extend(api.maybe("GET", "accounts/find", &asking("username", text))?);
    for hit in hits(session, text, true)? {
        if hit["type"] == "account" && hit["name"] == text {
            found.extend(api.maybe("GET", &format!("accounts/{}", hit["id"]), &nothing())?);
        }
    }
    Ok(found.into_iter().map(bare).collect())
}

fn applications(session: &Session<'_>, text: &str) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    for name in ["user_key", "app_id"].into_iter().chain(is_id(text).then_some("application_id")) {
        found.extend(session.api.maybe("GET", "applications/find", &asking(name, text))?);
    }
    Ok(found.into_iter().map(bare).collect())
}

/// The key of the application that begins with the text.
fn key(session: &Session<'_>, text: &str) -> Result<(String, Value), Failure> {
    let path = session.path("accounts/{account}/applications/{app}/keys")?;
    let mut keys = session.api.list(&path, &nothing())?;
    let value = |key: &Value| key["value"].as_str().unwrap_or_default().to_owned();
    if let Some(exact) = keys.iter().find(|key| value(key) == text) {
        return Ok((value(exact), exact.clone()));
    }
    keys.retain(|key| !text.is_empty() && value(key).starts_with(text));
    match keys.as_slice() {
        [only] => Ok((value(only), only.clone())),
        [] => Err(Failure::new(Exit::Failed, "the application has no such key")),
        _ => Err(Failure::new(Exit::Failed, "more than one of the application's keys begins so")),
    }
}

/// What a search finds, all pages of it; of accounts alone, or of applications too.
fn hits(session: &Session<'_>, text: &str, is_of_accounts: bool) -> Result<Vec<Value>, Failure> {
    let (mut found, mut asked) = (Vec::new(), asking("q", text));
    loop {
        let answer = bare(session.api.call("GET", "search", &asked)?);
        found.extend(answer["found"].as_array().into_iter().flatten().cloned());
        // Accounts come first, with nobody as their owner.
        match answer["next"].as_str().filter(|next| !is_of_accounts || next.starts_with("0.")) {
            Some(next) => asked.insert("after".to_owned(), next.into()),
            None => return Ok(found),
        };
    }
}

/// `app find`.
pub(super) fn search(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let text = session.asked.value("text").unwrap_or_default();
    Ok(Shown::list(hits(session, text, false)?, session.asked.verb.columns))
}

/// The id of what a record links to.
pub(super) fn linked(record: &Value, rel: &str) -> Option<String> {
    let link = record["links"].as_array()?.iter().find(|link| link["rel"] == rel)?;
    link["href"].as_str()?.rsplit('/').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_stands_for_one_record_or_none() {
        let (seven, eight) = (json!({"id": 7}), json!({"id": 8}));
        assert_eq!(one("plan", "x", vec![seven.clone(), seven.clone()]).ok(), Some(seven.clone()));
        assert!(one("plan", "x", vec![]).err().unwrap().lines[0].contains("no plan \"x\""));
        let several = one("plan", "x", vec![seven, eight]).err().unwrap();
        assert!(several.lines[0].contains("7, 8") && several.lines[0].contains("--service"));
    }

    #[test]
    fn what_a_record_links_to() {
        let plan = json!({"links": [{"rel": "service", "href": "/admin/api/services/12"}]});
        assert_eq!(linked(&plan, "service").as_deref(), Some("12"));
        assert_eq!(linked(&plan, "self"), None);
    }
}
