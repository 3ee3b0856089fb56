//! `usage`: what of an application's limits is used now; what was used in the past is `history`'s.
//!
//! The node is asked as gateways ask it, without counting anything: `authorize.xml` reports each limit with its count. Limits without one are not decided by anything else.

use serde_json::{Value, json};

use super::super::Exit;
use super::api::bare;
use super::history;
use super::session::{Failure, Session, nothing};
use super::shown::{Shown, tame};

/// What is given by its place.
pub(super) const APPLICATION: &str = "application";

/// What of limits is used now, of an application and nothing else.
pub(super) fn show(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let given = |name: &&str| !session.asked.values(name).is_empty();
    let of: Vec<_> = [APPLICATION, "app", "service"].into_iter().filter(given).collect();
    let is_past = history::FLAGS.iter().any(given);
    match of[..] {
        [APPLICATION] if !is_past => now(session),
        [_] if given(&"data-url") => {
            Err(Failure::new(Exit::Usage, "--data-url is for what is counted now, of an application alone"))
        }
        [_] => history::show(session),
        _ => Err(Failure::new(Exit::Usage, "name an application, or with --service a service: one of them")),
    }
}

/// Asks for a decision on a call that uses nothing, and shows its reports.
fn now(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let service = bare(session.api.call("GET", &session.path("services/{service}")?, &nothing())?);
    let tokens = session.api.list(&session.path("services/{service}/service_tokens")?, &nothing())?;
    let no_token = || Failure::new(Exit::Failed, "the service has no token to ask for the counts with");
    let token = tokens.last().and_then(|token| token["value"].as_str()).ok_or_else(no_token)?;
    let id = session.places.get("service").map_or("", String::as_str);
    let path = match service["backend_version"].as_str() {
        Some("oauth" | "oidc") => "oauth_authorize.xml",
        _ => "authorize.xml",
    };
    let mut parameters = vec![("service_id", id), ("service_token", token)];
    let key = key(session)?;
    let subject = &session.subject;
    if let Some(user_key) = subject["user_key"].as_str() {
        parameters.push(("user_key", user_key));
    } else {
        parameters.push(("app_id", subject["application_id"].as_str().unwrap_or_default()));
        parameters.extend(key.as_deref().map(|key| ("app_key", key)));
    }
    let (status, answer) = session.api.decision(session.asked.value("data-url"), path, &parameters)?;
    if !matches!(status, 200 | 409) {
        let said =
            inside(&answer, "<error", "</error>").and_then(|it| it.split_once('>')).map_or("", |it| it.1);
        return Err(Failure::new(Exit::Failed, format!("the node answers {status}: {}", tame(said))));
    }
    let reports = reports(&answer);
    let denied = inside(&answer, "<reason>", "</reason>")
        .map(|reason| format!("calls are denied now: {}", tame(reason)));
    match denied {
        Some(denied) if reports.is_empty() => Err(Failure::new(Exit::Failed, denied)),
        denied => Ok(Shown::list(reports, session.asked.verb.columns).with_note(denied)),
    }
}

/// One of the application's keys, which its calls need.
fn key(session: &Session<'_>) -> Result<Option<String>, Failure> {
    if session.subject.get("user_key").is_some() {
        return Ok(None);
    }
    let path = session.path("accounts/{account}/applications/{app}/keys")?;
    let keys = session.api.list(&path, &nothing())?;
    Ok(keys.first().and_then(|key| key["value"].as_str()).map(str::to_owned))
}

/// The text between two others.
fn inside<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

/// The reports of an answer. Names of metrics have no character that is written otherwise in XML.
fn reports(answer: &str) -> Vec<Value> {
    let number = |report: &str, name: &str| {
        let text = inside(report, &format!("<{name}>"), &format!("</{name}>"))?;
        text.parse::<u64>().ok()
    };
    let text = |report: &str, before: &str, after: &str| inside(report, before, after).map(str::to_owned);
    let report = |report: &str| {
        json!({
            "metric": text(report, "metric=\"", "\""),
            "period": text(report, "period=\"", "\""),
            "period_start": text(report, "<period_start>", "</period_start>"),
            "period_end": text(report, "<period_end>", "</period_end>"),
            "max_value": number(report, "max_value"),
            "current_value": number(report, "current_value"),
        })
    };
    answer.split("<usage_report ").skip(1).map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        let answer = "<status><authorized>true</authorized><plan>Basic</plan><usage_reports>\
            <usage_report metric=\"hits\" period=\"day\"><period_start>2026-11-23 00:00:00 +0000</period_start>\
            <period_end>2026-11-24 00:00:00 +0000</period_end><max_value>10</max_value><current_value>3</current_value>\
            </usage_report><usage_report metric=\"a/b\" period=\"eternity\" exceeded=\"true\"><max_value>1</max_value>\
            <current_value>18446744073709551615</current_value></usage_report></usage_reports></status>";
        let reports = reports(answer);
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0]["period_end"], "2026-11-24 00:00:00 +0000");
        assert_eq!((&reports[0]["max_value"], &reports[0]["current_value"]), (&json!(10), &json!(3)));
        assert_eq!((&reports[1]["metric"], &reports[1]["period_end"]), (&json!("a/b"), &Value::Null));
        assert_eq!(reports[1]["current_value"], json!(u64::MAX));
        assert_eq!(inside(answer, "<reason>", "</reason>"), None);
    }
}
