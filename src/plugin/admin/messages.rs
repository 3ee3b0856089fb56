//! Messages to accounts: `/accounts/{id}/messages`.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Reply};
use super::check;
use super::context::Context;
use super::owned::Owned;
use super::times;
use super::xml::Element;
use crate::plugin::records::Record;
use crate::store::shelf::Table;

/// The longest message, in bytes: MySQL's text, in which the original keeps it.
pub(super) const BODY_LEN_MAX: usize = 65_535;
/// The most messages that are kept of one account; the oldest go.
pub(super) const MESSAGES_MAX: usize = 500;

/// A message to an account.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Message {
    pub(super) account: u64,
    pub(super) subject: String,
    pub(super) body: String,
    /// In milliseconds since 1970 UTC.
    pub(super) created_at: u64,
}

impl Record for Message {
    const TABLE: Table = Table("messages");
}

impl Owned for Message {
    const BY_OWNER: Table = Table("messages_by_account");

    fn owners(&self) -> Vec<u64> {
        vec![self.account]
    }
}

/// Sends a message.
pub(super) fn create(context: &Context<'_>) -> Outcome {
    let fields = context.fields("message")?;
    let account = context.id(0)?;
    context.change(|edit| {
        edit.seen().account(account)?;
        let mut errors = Errors::default();
        let subject = fields.text("subject").unwrap_or_default();
        check::fitting(&mut errors, "subject", &subject, 255);
        let body = fields.text("body").unwrap_or_default();
        if body.trim().is_empty() {
            errors.add("body", check::BLANK);
        }
        check::long(&mut errors, "body", &body, BODY_LEN_MAX);
        errors.check()?;
        let kept = Message::ids_of(account, edit.records)?;
        for id in kept.iter().take((kept.len() + 1).saturating_sub(MESSAGES_MAX)) {
            if let Some(oldest) = edit.records.find::<Message>(*id)? {
                oldest.delete(*id, edit.records);
            }
        }
        let id = edit.draft.take_id();
        let message = Message { account, subject, body, created_at: edit.now };
        message.put(id, edit.records)?;
        Ok(Reply::created(entity(id, &message)))
    })
}

fn entity(id: u64, message: &Message) -> Entity {
    let created_at = times::text(message.created_at);
    let json = json!({
        "id": id,
        "body": message.body,
        "subject": message.subject,
        "state": "sent",
        "created_at": created_at,
        "updated_at": created_at,
    });
    let xml = Element::new("message")
        .field("id", id)
        .field("body", &message.body)
        .field("subject", &message.subject)
        .field("state", "sent");
    Entity { wrapper: "message", json, xml }
}
