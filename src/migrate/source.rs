//! The 3scale that is migrated from: its pages, asked for once and kept.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Record;
use crate::outgoing::{Http, OutgoingError, Request, Response};

/// The most records of a page, as 3scale has it.
const PER_PAGE: usize = 500;

/// How often a list is read that changes meanwhile.
const READS_MAX: usize = 4;

/// How often something is asked for again, of a 3scale that is busy or away, and how long is waited before that, at first: twice as long each time.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);

/// The longest that is waited because an answer says so.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Where its APIs are.
const ADMIN: &str = "admin/api";
const ANALYTICS: &str = "stats";

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The work folder cannot be used.
    #[error("{}: {problem}", path.display())]
    Folder {
        /// The folder, or a file in it.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The work folder has pages of another 3scale.
    #[error("{}: has what was fetched from {other}; take another folder", path.display())]
    OtherSource {
        /// The folder.
        path: PathBuf,
        /// Whose pages they are.
        other: String,
    },
    /// It cannot be reached, also when asked again.
    #[error("{path}: {error}")]
    Away {
        /// What was asked for.
        path: String,
        /// Why.
        error: OutgoingError,
    },
    /// It refuses.
    #[error("{path}: answered {status}: {told}")]
    Refused {
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of what it says.
        told: String,
    },
    /// It has no such list.
    #[error("{path}: answered 404: there is no such list")]
    Gone {
        /// What was asked for.
        path: String,
    },
    /// It answers something else than 3scale does.
    #[error("not what 3scale's API answers: {0}")]
    Unfit(String),
    /// It answers to what was asked, but nothing that makes sense.
    #[error("not what 3scale's API answers: {0}")]
    Odd(String),
}

/// Told of each page: how many were fetched so far, and which this one is.
pub type Progress<'s> = Box<dyn FnMut(usize, &str) + 's>;

/// A 3scale, and the folder where its pages are kept.
pub struct Source<'s> {
    http: Http,
    /// Without a slash at its end.
    url: String,
    token: String,
    folder: PathBuf,
    pages: PathBuf,
    progress: Progress<'s>,
    fetched: usize,
    pause: Duration,
}

impl<'s> Source<'s> {
    /// The 3scale whose admin portal is at `url`, called with an access token that may read account management; `folder` is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(
        http: Http,
        url: &str,
        token: &str,
        folder: &Path,
        progress: Progress<'s>,
    ) -> Result<Source<'s>, SourceError> {
        let wrong = |path: &Path, problem: &dyn std::fmt::Display| SourceError::Folder {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        let url = url.trim_end_matches('/').to_owned();
        let pages = folder.join("pages");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&pages)
            .map_err(|error| wrong(&pages, &error))?;
        let token = token.to_owned();
        Ok(Source { http, url, token, folder: folder.to_owned(), pages, progress, fetched: 0, pause: PAUSE })
    }

    /// The same, not waiting long before something is asked for again.
    #[cfg(test)]
    pub(super) fn impatient(self) -> Source<'s> {
        Source { pause: Duration::from_millis(1), ..self }
    }

    /// Makes sure that the folder is this tenant's: tenants may be at one URL, told apart by their tokens. One call each time.
    ///
    /// # Errors
    /// [`SourceError`]: the folder is another's, or the token opens nothing.
    pub(super) fn identify(&mut self) -> Result<(), SourceError> {
        let asked = "provider.json";
        let answer = self.fetch(ADMIN, asked)?;
        let provider = serde_json::from_slice(&answer).ok().and_then(unwrapped);
        let id = provider.as_ref().and_then(|it| it.get("id")?.as_u64());
        let id = id.ok_or_else(|| SourceError::Unfit(format!("{asked} shows no account")))?;
        let (mark, is) = (self.folder.join("source"), format!("{} (account {id})", self.url));
        let wrong =
            |error: std::io::Error| SourceError::Folder { path: mark.clone(), problem: error.to_string() };
        match fs::read_to_string(&mark) {
            Ok(other) if other.trim() == is => Ok(()),
            Ok(other) => {
                let (path, other) = (self.folder.clone(), other.trim().to_owned());
                Err(SourceError::OtherSource { path, other })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                keep(&mark, is.as_bytes()).map_err(wrong)
            }
            Err(error) => Err(wrong(error)),
        }
    }

    /// All records of a list, page by page, without what wraps each; and whether the pages fit together. What is made or deleted there between two
    /// pages moves the others: a record may be on both, or on none. Such a list is read anew a few times, all of it.
    ///
    /// # Errors
    /// [`SourceError`]; also if there is no such list.
    pub(super) fn list(&mut self, path: &str) -> Result<(Vec<Record>, bool), SourceError> {
        let mut listed = self.pages_of(path)?;
        for _ in 1..READS_MAX {
            if listed.is_whole {
                break;
            }
            self.forget(path, listed.pages)?;
            listed = self.pages_of(path)?;
        }
        Ok((listed.records, listed.is_whole))
    }

    fn pages_of(&mut self, path: &str) -> Result<Listed, SourceError> {
        let mut listed = Listed { records: Vec::new(), pages: 0, is_whole: true };
        let (mut known, mut totals) = (HashSet::new(), HashSet::new());
        for page in 1.. {
            let answer =
                self.page(&asked(path, page))?.ok_or_else(|| SourceError::Gone { path: path.to_owned() })?;
            totals.extend(answer.pointer("/metadata/total_entries").and_then(Value::as_u64));
            let mut records =
                records(answer).ok_or_else(|| SourceError::Unfit(format!("{path} is no list")))?;
            listed.pages = page;
            let count = records.len();
            // A list that is not shown in pages has all on each.
            let is_again = page > 1 && listed.records.ends_with(&records);
            records
                .retain(|record| is_again || record.get("id").is_none_or(|id| known.insert(id.to_string())));
            let is_new = !is_again && !records.is_empty();
            if is_new {
                listed.records.append(&mut records);
            }
            if count < PER_PAGE || !is_new {
                break;
            }
        }
        let count = listed.records.len() as u64;
        listed.is_whole = totals.into_iter().all(|total| total == count);
        Ok(listed)
    }

    /// Drops the pages of a list.
    fn forget(&mut self, path: &str, pages: usize) -> Result<(), SourceError> {
        for page in 1..=pages {
            let file = self.pages.join(file_name(&asked(path, page)));
            fs::remove_file(&file)
                .map_err(|error| SourceError::Folder { path: file, problem: error.to_string() })?;
        }
        Ok(())
    }

    /// A record without what wraps it; none, if there is none.
    ///
    /// # Errors
    /// [`SourceError`].
    pub(super) fn one(&mut self, path: &str) -> Result<Option<Record>, SourceError> {
        let Some(answer) = self.page(&format!("{path}.json"))? else { return Ok(None) };
        let record = unwrapped(answer).ok_or_else(|| SourceError::Unfit(format!("{path} is no record")))?;
        Ok(Some(record))
    }

    /// An answer, from the folder if it is there.
    fn page(&mut self, asked: &str) -> Result<Option<Value>, SourceError> {
        let file = self.pages.join(file_name(asked));
        let wrong =
            |error: std::io::Error| SourceError::Folder { path: file.clone(), problem: error.to_string() };
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = self.fetch(ADMIN, asked)?;
                // What cannot be read is not kept: the next time it is asked for again.
                parsed(asked, &text)?;
                keep(&file, &text).map_err(wrong)?;
                self.count(asked);
                text
            }
            Err(error) => return Err(wrong(error)),
        };
        parsed(asked, &text)
    }

    fn count(&mut self, asked: &str) {
        self.fetched += 1;
        (self.progress)(self.fetched, asked);
    }

    /// What `read` makes of an answer of the analytics API, from the folder if it is there, under this name: what is asked there is longer than names of files are. Nothing that
    /// is refused is kept, nor that there is nothing: a token may be given the scope, and a tenant analytics.
    ///
    /// # Errors
    /// [`SourceError`]; what `read` makes of an answer that it does not understand, which is not kept either.
    pub(super) fn analytics<T>(
        &mut self,
        name: &str,
        asked: &str,
        read: impl Fn(&Value) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let file = self.pages.join(name);
        let wrong =
            |error: std::io::Error| SourceError::Folder { path: file.clone(), problem: error.to_string() };
        let understood = |text: &[u8]| {
            let answer = parsed(asked, text)?.ok_or_else(|| SourceError::Gone { path: asked.to_owned() })?;
            read(&answer)
        };
        match fs::read(&file) {
            Ok(text) => understood(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = self.fetch(ANALYTICS, asked)?;
                let made = understood(&text)?;
                keep(&file, &text).map_err(wrong)?;
                self.count(asked);
                Ok(made)
            }
            Err(error) => Err(wrong(error)),
        }
    }

    /// A text that is in the folder under a name; made the first time.
    ///
    /// # Errors
    /// [`SourceError::Folder`].
    pub(super) fn mark(&self, name: &str, made: impl FnOnce() -> String) -> Result<String, SourceError> {
        let file = self.folder.join(name);
        let wrong =
            |error: std::io::Error| SourceError::Folder { path: file.clone(), problem: error.to_string() };
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = made();
                keep(&file, text.as_bytes()).map_err(wrong)?;
                Ok(text)
            }
            Err(error) => Err(wrong(error)),
        }
    }

    fn fetch(&self, root: &str, asked: &str) -> Result<Vec<u8>, SourceError> {
        let join = if asked.contains('?') { '&' } else { '?' };
        let token = percent_encoding::utf8_percent_encode(&self.token, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/{root}/{asked}{join}access_token={token}", self.url);
        let request =
            Request { method: "GET", url: &url, headers: &[("Accept", "application/json")], body: b"" };
        let mut pause = self.pause;
        for left in (0..TRIES).rev() {
            let mut after = Duration::ZERO;
            match self.http.call(&request) {
                Ok(Response { status: 200, body, .. }) => return Ok(body),
                Ok(Response { status: 404, .. }) => return Ok(NOTHING.to_vec()),
                Ok(response @ Response { status: 429 | 500.., .. }) if left > 0 => {
                    after = response.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
                }
                Err(OutgoingError::Slow(_) | OutgoingError::Failed(_)) if left > 0 => {}
                Ok(Response { status, body, .. }) => {
                    let told = String::from_utf8_lossy(&body).chars().take(200).collect();
                    return Err(SourceError::Refused { path: asked.to_owned(), status, told });
                }
                Err(error) => return Err(SourceError::Away { path: asked.to_owned(), error }),
            }
            std::thread::sleep(pause.max(after));
            pause *= 2;
        }
        Err(SourceError::Unfit(format!("{asked}: not answered")))
    }
}

/// A list as it was read.
struct Listed {
    records: Vec<Record>,
    pages: usize,
    /// Whether there are as many records as the pages say that there are. Lists of one page do not say.
    is_whole: bool,
}

/// What is asked for a page of a list.
fn asked(path: &str, page: usize) -> String {
    format!("{path}.json?page={page}&per_page={PER_PAGE}")
}

/// An answer, as it is kept; none of what there is not.
fn parsed(asked: &str, text: &[u8]) -> Result<Option<Value>, SourceError> {
    if text == NOTHING {
        return Ok(None);
    }
    serde_json::from_slice(text).map(Some).map_err(|error| SourceError::Unfit(format!("{asked}: {error}")))
}

/// What is kept of what there is not.
const NOTHING: &[u8] = b"";

/// What was asked, as the name of a file: other texts are other names.
fn file_name(asked: &str) -> String {
    let mut name = String::new();
    for byte in asked.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'=' => name.push(byte as char),
            b'/' => name.push('-'),
            other => name.push_str(&format!("~{other:02x}")),
        }
    }
    name
}

/// Writes a file whole or not at all, readable by the caller alone.
///
/// # Errors
/// The disk's.
pub fn keep(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// The records of a list: `{"metrics":[{"metric":{..}},..]}`, or the list bare.
fn records(answer: Value) -> Option<Vec<Record>> {
    let items = match answer {
        Value::Array(items) => items,
        Value::Object(fields) => fields.into_iter().find_map(|(_, value)| match value {
            Value::Array(items) => Some(items),
            _ => None,
        })?,
        _ => return None,
    };
    items.into_iter().map(unwrapped).collect()
}

/// `{"metric":{..}}` is what is in it; what is not wrapped is itself.
fn unwrapped(item: Value) -> Option<Record> {
    let Value::Object(mut fields) = item else { return None };
    if fields.len() == 1
        && let Some(Value::Object(_)) = fields.values().next()
    {
        let name = fields.keys().next().cloned()?;
        let Some(Value::Object(inner)) = fields.remove(&name) else { return None };
        return Some(inner);
    }
    Some(fields)
}

#[cfg(test)]
mod shapes {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_and_records_are_taken_out_of_what_wraps_them() {
        let list =
            records(json!({"metadata": {"total": 1}, "plans": [{"plan": {"id": 1}}, {"id": 2, "a": 3}]}));
        assert_eq!(list.unwrap().iter().map(|it| it["id"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(records(json!([{"backend_usage": {"id": 7}}])).unwrap()[0]["id"], 7);
        assert!(records(Value::Null).is_none() && records(json!("no")).is_none());
        assert!(records(json!([1])).is_none());
        assert_eq!(unwrapped(json!({"proxy": {"a": 1}})).unwrap()["a"], 1);
    }

    #[test]
    fn files_are_told_apart() {
        let names =
            ["a/b.json?page=1", "a-b.json?page=1", "a/b.json?page=2", "A/b.json?page=1", "a/b~.json?page=1"];
        let files: std::collections::HashSet<_> = names.map(file_name).into_iter().collect();
        assert_eq!(files.len(), names.len());
        assert!(files.iter().all(|name| !name.contains('/')));
    }
}
