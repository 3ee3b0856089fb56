//! The admin API of a running node, as commands call it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde_json::Value;

use crate::outgoing::{Http, Options, OutgoingError, Reach, Request, Response, Roots};

/// The variable with the access token, where no file has it.
pub(super) const TOKEN_VARIABLE: &str = "TOLLGATE_ADMIN_TOKEN";

/// The variable with the node's URL, where no flag has it, and what stands for neither.
const URL_VARIABLE: &str = "TOLLGATE_URL";
const URL_DEFAULT: &str = "http://127.0.0.1:3000";

/// How long a call may take: an import of tens of thousands of applications takes seconds, and the disk its time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The longest answer, in bytes: the largest document with its secrets and changes, escaped.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// The most records of a page, as the API has it.
const PER_PAGE: usize = 500;

/// How often a busy node is called, how long is waited before the second time (twice as long each time), and how long at most because it says so.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(super) struct Node {
    /// Where the node's admin API listens; with /tenants/N behind it for the tenant of that number [default: what TOLLGATE_URL says, or
    /// http://127.0.0.1:3000]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File whose first line is the access token of an administrator [default: what TOLLGATE_ADMIN_TOKEN says]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The authorities whose certificates are believed over https, in PEM form [default: those of the web]
    #[arg(long, value_name = "FILE", alias = "cacert")]
    ca_file: Option<PathBuf>,
}

/// Why the node did not do what it was asked for.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// Nothing was asked, or nothing answered.
    Call(String),
    /// The node said no: the status and the answer.
    Refused(u16, Value),
}

impl From<OutgoingError> for RemoteError {
    fn from(error: OutgoingError) -> Self {
        RemoteError::Call(error.to_string())
    }
}

impl std::fmt::Display for RemoteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RemoteError::Call(text) => f.write_str(text),
            RemoteError::Refused(status, answer) => match answer["error"].as_str() {
                Some(error) => write!(f, "the node answers {status}: {error}"),
                None => write!(f, "the node answers {status}: {answer}"),
            },
        }
    }
}

/// The admin API of a node, and what is beside it, with a token.
pub(super) struct Remote {
    http: Http,
    /// Without a slash at its end.
    url: String,
    authorization: String,
}

impl Node {
    /// Gets ready to call.
    ///
    /// # Errors
    /// There is no token, or a file cannot be read.
    pub(super) fn remote(&self) -> Result<Remote, RemoteError> {
        let url = self.url().trim_end_matches('/').to_owned();
        Ok(Remote { http: http(self.ca_file.clone())?, url, authorization: authorization(&self.token()?) })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        node_url(self.url.as_ref())
    }

    /// The access token.
    ///
    /// # Errors
    /// There is none, or its file cannot be read.
    pub(super) fn token(&self) -> Result<String, RemoteError> {
        token(self.token_file.as_deref(), ("--token-file", TOKEN_VARIABLE))
    }

    /// Whose certificates are believed.
    pub(super) fn roots(&self) -> Roots {
        self.ca_file.clone().map_or(Roots::Web, Roots::File)
    }
}

/// Where the node is: what a flag says, else the variable, else this machine.
pub(super) fn node_url(flag: Option<&String>) -> String {
    flag.cloned().or_else(|| variable(URL_VARIABLE)).unwrap_or_else(|| URL_DEFAULT.to_owned())
}

/// A variable that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// An access token as a header, and not a parameter: those are written into logs on the way.
pub(super) fn authorization(token: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!(":{token}")))
}

/// What calls are made with, believing the authorities in a file or else those of the web.
///
/// # Errors
/// The file cannot be read.
pub(super) fn http(ca_file: Option<PathBuf>) -> Result<Http, OutgoingError> {
    let roots = ca_file.map_or(Roots::Web, Roots::File);
    let (reach, timeout, body_bytes_max) = (Reach::anywhere(), TIMEOUT, ANSWER_BYTES_MAX);
    Http::new(Options { reach, timeout, body_bytes_max, roots })
}

/// An access token: the first line of a file, or else what a variable says.
///
/// # Errors
/// There is none, or the file cannot be read.
pub(super) fn token(file: Option<&Path>, (flag, variable): (&str, &str)) -> Result<String, RemoteError> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| RemoteError::Call(format!("{}: {error}", file.display())))?,
        None => std::env::var(variable).unwrap_or_default(),
    };
    let token = text.lines().next().unwrap_or_default().trim().to_owned();
    let problem = format!("no access token: name a file with {flag}, or set {variable}");
    if token.is_empty() { Err(RemoteError::Call(problem)) } else { Ok(token) }
}

impl Remote {
    /// Calls a path below `/admin/api/`; the answer.
    ///
    /// # Errors
    /// Nobody answers, or no.
    pub(super) fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, RemoteError> {
        answered(&self.send(method, &format!("admin/api/{path}.json"), body)?)
    }

    /// All records of a list below `/admin/api/`, page by page, without what wraps each.
    ///
    /// # Errors
    /// As of [`Remote::call`].
    pub(super) fn list(&self, path: &str, query: &str) -> Result<Vec<Value>, RemoteError> {
        let (mut records, mut page) = (Vec::new(), 1);
        loop {
            let asked = format!("admin/api/{path}.json?{query}page={page}&per_page={PER_PAGE}");
            let answer = self.patiently("GET", &asked, &Value::Null)?;
            let items = answer.as_object().and_then(|it| it.values().find_map(Value::as_array));
            let no_list = || RemoteError::Call(format!("{}: {path} is answered with no list", self.url));
            let items = items.ok_or_else(no_list)?.iter();
            records.extend(
                items.filter_map(|item| item.as_object()?.values().find(|it| it.is_object()).cloned()),
            );
            // A list that has one page only says nothing of pages.
            if page >= answer.pointer("/metadata/total_pages").and_then(Value::as_u64).unwrap_or(1) {
                return Ok(records);
            }
            page += 1;
        }
    }

    /// Calls a path, again if the node is busy, and after as long as it says.
    ///
    /// # Errors
    /// As of [`Remote::call`].
    pub(super) fn patiently(&self, method: &str, path: &str, body: &Value) -> Result<Value, RemoteError> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            let response = self.send(method, path, body)?;
            if !matches!(response.status, 429 | 503) {
                return answered(&response);
            }
            let after = response.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
            std::thread::sleep(pause.max(after));
            pause *= 2;
        }
        answered(&self.send(method, path, body)?)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Response, RemoteError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let url = format!("{}/{path}", self.url);
        let mut headers = vec![("Authorization", self.authorization.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let request = Request { method, url: &url, headers: &headers, body: body.as_bytes() };
        self.http.call(&request).map_err(|error| RemoteError::Call(format!("{}: {error}", self.url)))
    }
}

/// An answer that is yes.
fn answered(response: &Response) -> Result<Value, RemoteError> {
    let answer = serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&response.body).trim().to_owned()));
    if (200..300).contains(&response.status) {
        Ok(answer)
    } else {
        Err(RemoteError::Refused(response.status, answer))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use serde_json::json;

    use super::*;

    /// A node that gives these answers, one after the other: status, more of the head, and body.
    fn remote(answers: &'static [(u16, &str, &str)]) -> Remote {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for (status, more, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} It\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Remote { http: http(None).unwrap(), url, authorization: authorization("t") }
    }

    #[test]
    fn a_list_comes_whole_from_a_node_that_is_busy_at_first() {
        let begun = std::time::Instant::now();
        let node = remote(&[
            (503, "Retry-After: 1\r\n", ""),
            (200, "", r#"{"its":[{"it":{"id":1}}],"metadata":{"total_pages":2}}"#),
            (200, "", r#"{"its":[{"it":{"id":2}}]}"#),
            (200, "", "<html>Please log in</html>"),
        ]);
        assert_eq!(node.list("its", "").unwrap(), [json!({"id": 1}), json!({"id": 2})]);
        assert!(begun.elapsed() >= Duration::from_secs(1), "it said so");
        assert!(node.list("its", "").unwrap_err().to_string().contains("no list"));
    }

    #[test]
    fn one_that_refuses_is_not_called_again() {
        let node = remote(&[(403, "", r#"{"error":"no"}"#)]);
        let error = node.patiently("PUT", "stats/it", &json!({"a": 1})).unwrap_err();
        assert_eq!(error.to_string(), "the node answers 403: no");
    }
}
