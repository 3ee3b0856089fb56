//! `key create` and `key rotate`.

use serde_json::{Map, Value};

use super::super::Exit;
use super::api::bare;
use super::session::{Failure, Session, first_line, nothing, random};
use super::shown::Shown;

const KEYS: &str = "accounts/{account}/applications/{app}/keys";

/// The key is made up here and not by the node, whose answer does not say which one is new.
pub(super) fn create(session: &mut Session<'_>) -> Result<Shown, Failure> {
    let key = match session.asked.value("key-file") {
        Some(file) => first_line(file.as_ref())?,
        None => random::<16>()?,
    };
    let path = session.path(KEYS)?;
    session.api.call("POST", &path, &Map::from_iter([("key".to_owned(), key.clone().into())]))?;
    let made = session.api.list(&path, &nothing())?.into_iter().find(|it| it["value"] == key.as_str());
    made.map(Shown::one).ok_or_else(|| Failure::new(Exit::Failed, "the key was made, and is gone again"))
}

/// The user key, which an application has one of.
pub(super) fn rotate(session: &mut Session<'_>) -> Result<Shown, Failure> {
    if session.subject.get("user_key").is_none() {
        let text =
            "the application has an app id and keys: make a key with `key create`, then delete the old one";
        return Err(Failure::new(Exit::Failed, text));
    }
    let fields: Map<String, Value> = Map::from_iter([("user_key".to_owned(), random::<16>()?.into())]);
    let path = session.path("accounts/{account}/applications/{app}")?;
    Ok(Shown::one(bare(session.api.call("PUT", &path, &fields)?)))
}
