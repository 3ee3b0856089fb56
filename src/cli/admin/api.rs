//! Calls of a node's admin API: records without what wraps them, lists whole, refusals as texts.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::super::{Exit, remote};
use super::session::Failure;
use crate::outgoing::{Http, OutgoingError, Request, Response};

/// How many records a page has: few enough that the API gives them however long they are.
const PER_PAGE: usize = 100;

/// What stands for itself in a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// A text as a part of a path, or of a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// What is needed to call.
pub(super) struct Place<'p> {
    /// The node, as it was given.
    pub(super) url: &'p str,
    pub(super) authorities: Option<PathBuf>,
    pub(super) tenant: Option<u64>,
    pub(super) is_masters: bool,
    pub(super) token: &'p str,
}

/// The admin API of a node, with a token.
pub(super) struct Api {
    http: Http,
    /// Without a path.
    origin: String,
    root: String,
    /// Where analytics are.
    stats: String,
    authorization: String,
}

impl Api {
    /// Gets ready to call.
    ///
    /// # Errors
    /// The URL makes no sense, or the authorities cannot be read.
    pub(super) fn new(place: Place<'_>) -> Result<Api, Failure> {
        let url = place.url.trim_end_matches('/');
        let origin = origin(url)?;
        let tenants = place.tenant.map_or_else(|| url.to_owned(), |id| format!("{origin}/tenants/{id}"));
        let is_masters = place.is_masters;
        let root = if is_masters { format!("{origin}/master/api") } else { format!("{tenants}/admin/api") };
        let stats = format!("{tenants}/stats");
        let http =
            remote::http(place.authorities).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let authorization = remote::authorization(place.token);
        Ok(Api { http, origin, root, stats, authorization })
    }

    /// Makes a call with fields; the answer, or nothing if it is empty.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        fields: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        self.maybe(method, path, fields)?
            .ok_or_else(|| Failure::new(Exit::Failed, "the node has no such record"))
    }

    /// As [`Api::call`]; none if there is no such record.
    ///
    /// # Errors
    /// As there.
    pub(super) fn maybe(
        &self,
        method: &str,
        path: &str,
        fields: &Map<String, Value>,
    ) -> Result<Option<Value>, Failure> {
        let (response, answer) = self.answered(method, &format!("{}/{path}.json", self.root), fields)?;
        match response.status {
            200..300 => answer.map(Some).ok_or_else(|| not_the_api(&response)),
            404 if answer.as_ref().is_some_and(|it| it.get("status").is_some()) => Ok(None),
            404 => Err(not_the_api(&response)),
            _ => Err(refused(&response, answer.unwrap_or(Value::Null))),
        }
    }

    /// Asks the analytics API.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub(super) fn stats(&self, path: &str, fields: &Map<String, Value>) -> Result<Value, Failure> {
        let (response, answer) = self.answered("GET", &format!("{}/{path}.json", self.stats), fields)?;
        match (response.status, answer) {
            (200..300, Some(answer)) => Ok(answer),
            (404, Some(answer)) if answer.get("error").is_some() => Err(refused(&response, answer)),
            (200..300 | 404, _) => Err(not_the_api(&response)),
            (status, answer) => {
                let mut failure = refused(&response, answer.unwrap_or(Value::Null));
                if status == 403 && failure.exit != Exit::Denied {
                    failure.lines.push("usage is shown to tokens with the scope stats".to_owned());
                }
                Err(failure)
            }
        }
    }

    /// What is answered, and the JSON in it.
    fn answered(
        &self,
        method: &str,
        url: &str,
        fields: &Map<String, Value>,
    ) -> Result<(Response, Option<Value>), Failure> {
        let mut url = url.to_owned();
        let mut body = String::new();
        if method == "GET" {
            let query: Vec<_> = fields.iter().map(|(name, value)| pair(name, value)).collect();
            let mark = if query.is_empty() { "" } else { "?" };
            url = format!("{url}{mark}{}", query.join("&"));
        } else if !fields.is_empty() {
            body = Value::Object(fields.clone()).to_string();
        }
        let mut headers =
            vec![("Authorization", self.authorization.as_str()), ("Accept", "application/json")];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let response = self.send(&Request { method, url: &url, headers: &headers, body: body.as_bytes() })?;
        let answer = read(&response.body);
        Ok((response, answer))
    }

    /// All records of a list, page by page.
    ///
    /// # Errors
    /// As of [`Api::call`].
    pub(super) fn list(&self, path: &str, fields: &Map<String, Value>) -> Result<Vec<Value>, Failure> {
        let (mut records, mut page) = (Vec::new(), 1);
        loop {
            let mut fields = fields.clone();
            fields.insert("page".to_owned(), page.into());
            fields.insert("per_page".to_owned(), PER_PAGE.into());
            let answer = self.call("GET", path, &fields)?;
            // A list that is not cut into pages, or has one only, says nothing of pages.
            let pages = answer["metadata"]["total_pages"].as_u64().unwrap_or(1);
            let items = answer.as_object().and_then(|it| it.values().find_map(Value::as_array)).cloned();
            records.extend(items.unwrap_or_default().into_iter().map(bare));
            if page >= pages {
                return Ok(records);
            }
            page += 1;
        }
    }

    /// Calls for a decision as gateways do; the status and the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn decision(
        &self,
        data_url: Option<&str>,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(u16, String), Failure> {
        let root = data_url.map_or(Ok(self.origin.clone()), origin)?;
        let query: Vec<_> =
            parameters.iter().map(|(name, text)| format!("{name}={}", escaped(text))).collect();
        let url = format!("{root}/transactions/{path}?{}", query.join("&"));
        let response = self.send(&Request { method: "GET", url: &url, headers: &[], body: b"" })?;
        Ok((response.status, String::from_utf8_lossy(&response.body).into_owned()))
    }

    fn send(&self, request: &Request<'_>) -> Result<Response, Failure> {
        self.http.call(request).map_err(|error| match error {
            OutgoingError::Call(_) | OutgoingError::Long(_) => Failure::new(Exit::Failed, error.to_string()),
            error => {
                // Not the query: it may have a service's token in it.
                let url = request.url.split('?').next().unwrap_or_default();
                Failure::new(Exit::Unreachable, format!("{url}: {error}"))
            }
        })
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Result<String, Failure> {
    let wrong = |problem: &str| Failure::new(Exit::Usage, format!("\"{url}\" {problem}"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("is no URL"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(wrong("begins with neither http:// nor https://"));
    }
    if rest.contains('@') {
        let problem =
            "the URL has credentials in it, which everybody can read: name a file with --token-file";
        return Err(Failure::new(Exit::Usage, problem));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || rest.contains(['?', '#']) {
        return Err(wrong("is not a node's URL, such as http://127.0.0.1:3000"));
    }
    Ok(format!("{scheme}://{host}"))
}

fn pair(name: &str, value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{}={}", escaped(name), escaped(&text))
}

/// JSON, of which an empty body is nothing.
fn read(body: &[u8]) -> Option<Value> {
    if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(body).ok() }
}

/// A record without what wraps it: no record has one field only, with a record in it.
pub(super) fn bare(value: Value) -> Value {
    match value {
        Value::Object(map) if map.len() == 1 && map.values().all(Value::is_object) => {
            map.into_iter().next().map_or(Value::Null, |(_, inner)| bare(inner))
        }
        other => other,
    }
}

fn not_the_api(response: &Response) -> Failure {
    let text = format!(
        "what answers there is not the admin API (status {}): --url is where the node's --admin listens, or its --http without one",
        response.status
    );
    Failure::new(Exit::Failed, text)
}

/// What the API says against a call, line by line.
fn refused(response: &Response, answer: Value) -> Failure {
    let status = response.status;
    if status == 401 || answer["error"] == "Access denied" {
        let text = "the token is refused: it is wrong or has expired, or is not for this tenant";
        return Failure::new(Exit::Denied, text);
    }
    let mut lines = Vec::new();
    for (field, messages) in answer["errors"].as_object().into_iter().flatten() {
        for message in messages.as_array().into_iter().flatten().filter_map(Value::as_str) {
            lines.push(if field == "base" { message.to_owned() } else { format!("{field}: {message}") });
        }
    }
    let error = &answer["error"];
    let said = error.as_str().or(error["error"].as_str()).or(answer["status"].as_str());
    lines.extend(said.map(str::to_owned));
    if lines.is_empty() {
        let body = String::from_utf8_lossy(&response.body);
        lines.push(match (body.trim(), status) {
            ("", 403) => "the tenant is suspended, or has as many as it may".to_owned(),
            ("", _) => "no reason is given".to_owned(),
            (text, _) => text.chars().take(500).collect(),
        });
    }
    lines.insert(0, format!("the node refuses it ({status}):"));
    if let Some(after) = response.header("retry-after") {
        lines.push(format!("again in {after} s"));
    }
    Failure { exit: Exit::Failed, lines }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response(status: u16, body: &str) -> Response {
        let headers = vec![("retry-after".to_owned(), "7".to_owned())];
        Response { status, headers, body: body.into() }
    }

    #[test]
    fn what_a_url_may_be() {
        for (url, expected) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://node/tenants/7", "https://node"),
            ("http://[::1]:1/x", "http://[::1]:1"),
        ] {
            assert_eq!(origin(url).ok().unwrap(), expected);
        }
        for url in ["", "node:3000", "ftp://node", "http://", "http:///x", "http://t@node", "http://node?a=b"]
        {
            assert_eq!(origin(url).err().unwrap().exit, Exit::Usage, "{url}");
        }
    }

    #[test]
    fn records_are_shown_without_what_wraps_them() {
        assert_eq!(bare(json!({"service": {"id": 1}})), json!({"id": 1}));
        assert_eq!(
            bare(json!({"signup": {"account": {"id": 1, "name": "x"}}})),
            json!({"id": 1, "name": "x"})
        );
        let two = json!({"account": {}, "access_token": {}});
        assert_eq!(bare(json!({"signup": two})), two);
        assert_eq!(bare(json!({"id": 1})), json!({"id": 1}));
    }

    #[test]
    fn refusals_are_told_field_by_field() {
        let lines = |status, body: &str| {
            let response = response(status, body);
            refused(&response, read(&response.body).unwrap_or(Value::Null)).lines
        };
        let body = r#"{"errors":{"name":["can't be blank","is bad"],"base":["Whole"]}}"#;
        assert_eq!(
            lines(422, body),
            ["the node refuses it (422):", "name: can't be blank", "name: is bad", "Whole", "again in 7 s"]
        );
        assert_eq!(lines(422, r#"{"error":{"from":"x","error":"Cannot"}}"#)[1], "Cannot");
        assert_eq!(lines(403, r#"{"status":"Forbidden"}"#)[1], "Forbidden");
        assert!(lines(403, "")[1].contains("suspended"));
        assert_eq!(lines(400, "Required parameter missing: q")[1], "Required parameter missing: q");
        for (status, body) in [(401, "unauthorized"), (403, r#"{"error":"Access denied"}"#)] {
            let response = response(status, body);
            assert_eq!(refused(&response, read(&response.body).unwrap_or(Value::Null)).exit, Exit::Denied);
        }
    }
}
