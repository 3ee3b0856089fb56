//! `tenant create`.

use super::api::bare;
use super::session::{Failure, Session, random};
use super::shown::Shown;

/// A tenant has a first user with a password; one that nobody knows will do where only tokens are used.
pub(super) fn create(session: &mut Session<'_>) -> Result<Shown, Failure> {
    if !session.fields.contains_key("password") {
        session.fields.insert("password".to_owned(), random::<32>()?.into());
    }
    let made = bare(session.api.call("POST", "providers", &session.fields)?);
    let mut fields = made["account"].clone();
    fields["access_token"] = made["access_token"]["value"].clone();
    Ok(Shown::one_as(made, fields, "the access token is shown this once only"))
}
