//! Catalog as code: a tenant as one document, and a document carried out. `GET /catalog`, `POST /catalog/import`; for administrators.
//!
//! # Out
//! `GET /catalog` answers `{"catalog": {"document", "left_out", "secrets"}}`: the YAML, what of the tenant it cannot say, and with `secrets=true` the values
//! of the secrets that it names. It is one moment's. Left out is what another system administers (services with an external id, applications without an account) and what has
//! no name that tells it from others.
//!
//! # In
//! `POST /catalog/import` takes `document`, and `secrets`, `prune`, `apply`, `fingerprint`.
//!
//! 1. The document is read and checked: 422 with all problems and their lines, before anything else is looked at.
//! 2. A command begins. In it the tenant is written as a document, both are [compared](crate::document::diff), and the changes are carried
//!    out one after another, each as [the call of the API](batch) that would make it, so that validations and what follows are the same. The first that is refused ends
//!    the command: nothing has changed, and the answer (422) says which record it was about.
//! 3. Without `apply` the command ends here without an entry: what would be is shown, with a *fingerprint* of the tenant as it was, the document and the options.
//! 4. With `apply` the fingerprint must be that of now (409 else), and the command is journalled: one entry, all of it or nothing, whatever happens.
//!
//! Building it takes some seconds for tens of thousands of applications. Others go on meanwhile; if one of them changed anything it is built again, and
//! after a few times it holds them up. No decision waits for it.
//!
//! # Bounds
//! A body of [`IMPORT_BYTES_MAX`]; a document of [`BYTES_MAX`](crate::document::node::BYTES_MAX); and what one journal entry holds
//! ([`ENTRY_BYTES_MAX`](crate::journal::ENTRY_BYTES_MAX)), which refuses with 413 what is more at once: a larger tenant comes in several documents.
//!
//! | File | What it holds |
//! |---|---|
//! | here | the routes |
//! | `export`, `export_services`, `export_accounts`, `places` | the tenant as a document; ids by place |
//! | `batch` | calls of the API within one command |
//! | `apply`, `apply_*` | changes as calls, in an order in which each finds what it needs |

mod apply;
mod apply_accounts;
mod apply_plans;
mod apply_services;
pub(super) mod batch;
mod export;
mod export_accounts;
mod export_services;
mod places;

use std::cell::RefCell;

use ring::digest::{Context as Digest, SHA256};
use serde_json::{Value, json};

use super::answer::{Outcome, Refusal, Reply};
use super::auth::Access;
use super::context::{Context, Edit};
use super::master::plans::hold_to_quotas;
use super::request::Fields;
use super::routes::{Formats, GET, POST, Route};
use crate::document::diff::{self, Change, Resolved};
use crate::document::{Document, Problem, Secrets, read, render};
use apply::Applying;
use batch::Shared;
use export::Exported;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "catalog", Access::ADMINS, show).in_formats(Formats::JsonOnly),
    Route::new(POST, "catalog/import", Access::ADMINS, import).in_formats(Formats::JsonOnly),
];

/// The path of imports, whose bodies may be longer than those of others.
pub(super) const IMPORT_PATH: &str = "/admin/api/catalog/import";

/// The longest body of an import, in bytes: a document of the largest kind with its secrets, escaped for JSON; and what one client may take of
/// the room that all bodies have.
pub(super) const IMPORT_BYTES_MAX: usize = 32 << 20;

fn show(context: &Context<'_>) -> Outcome {
    let shows_secrets = context.request.parameters().flag("secrets").unwrap_or(false);
    // Who has the secrets can do all that they open; and nothing else shows hashes of passwords.
    if shows_secrets && !context.caller.may_write() {
        return Err(Refusal::Scope);
    }
    let moment = context.look()?;
    let exported = Exported::of(moment.seen())?;
    let mut catalog = json!({
        "document": render::render(&exported.document),
        "left_out": exported.left_out,
    });
    if shows_secrets {
        catalog["secrets"] = Value::from(exported.secrets.render());
    }
    Ok(Reply::json(200, json!({"catalog": catalog})))
}

/// What is asked for.
struct Import {
    document: Document,
    secrets: Secrets,
    /// The texts as they were sent, for the fingerprint.
    texts: [String; 2],
    prunes: bool,
    applies: bool,
    fingerprint: Option<String>,
}

impl Import {
    fn read(fields: &Fields) -> Result<Import, Refusal> {
        let text = fields.needed("document")?;
        let secrets_text = fields.text("secrets").unwrap_or_default();
        let secrets = Secrets::parse(&secrets_text)
            .map_err(|error| refused(&[Problem { path: "secrets".to_owned(), ..error.0 }]))?;
        let mut document = read::read(&text).map_err(|problems| refused(&problems))?;
        document.make_canonical();
        Ok(Import {
            document,
            secrets,
            texts: [text, secrets_text],
            prunes: fields.flag("prune").unwrap_or(false),
            applies: fields.flag("apply").unwrap_or(false),
            fingerprint: fields.filled("fingerprint"),
        })
    }

    /// What stands for the tenant as it is, the document and the options.
    fn fingerprint_over(&self, exported: &Exported) -> String {
        let mut digest = Digest::new(&SHA256);
        let [document, secrets] = &self.texts;
        let current = (render::render(&exported.document), exported.secrets.render());
        let prunes = if self.prunes { "prune" } else { "keep" };
        for part in [&current.0, &current.1, document, secrets, prunes] {
            digest.update(format!("{}:", part.len()).as_bytes());
            digest.update(part.as_bytes());
        }
        digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn refused(problems: &[Problem]) -> Refusal {
    Refusal::Shown(json!({"problems": problems}))
}

fn import(context: &Context<'_>) -> Outcome {
    let import = Import::read(&context.request.parameters())?;
    let mut done = None;
    let built = context.change_ahead(|edit| {
        // It may have been built before, over what is no more.
        done = None;
        let before = edit.draft.catalog().clone();
        let report = carry_out(context, edit, &import)?;
        hold_to_quotas(&before, edit)?;
        let reply = report.reply(import.applies);
        // What was only looked at, and what changes nothing, is no command.
        if import.applies && !report.changes.is_empty() {
            return Ok(reply);
        }
        done = Some(reply);
        Err(Refusal::Failed)
    });
    match done {
        Some(reply) => Ok(reply),
        None => built,
    }
}

/// What an import does, or did.
struct Report {
    changes: Vec<Change>,
    fingerprint: String,
    /// The places of secrets that had no value, and were made.
    made: Vec<String>,
    left_out: Vec<String>,
}

impl Report {
    fn reply(&self, applies: bool) -> Reply {
        let [added, changed, removed] = diff::counts(&self.changes);
        Reply::json(
            200,
            json!({"import": {
                "applied": applies,
                "fingerprint": self.fingerprint,
                "added": added,
                "changed": changed,
                "removed": removed,
                "changes": diff::redacted(&self.changes),
                "new_secrets": self.made,
                "left_out": self.left_out,
            }}),
        )
    }
}

fn carry_out(context: &Context<'_>, edit: &mut Edit<'_, '_, '_>, import: &Import) -> Result<Report, Refusal> {
    let exported = Exported::of(edit.seen())?;
    let fingerprint = import.fingerprint_over(&exported);
    if import.applies && import.fingerprint.as_ref().is_some_and(|planned| *planned != fingerprint) {
        let text = "the catalog, the document or its options are others than those that were planned with: plan again";
        return Err(Refusal::Said(409, text.to_owned()));
    }
    let Exported { document, secrets, places, left_out, .. } = exported;
    // A name without a value among the secrets that were sent is that of the secret which the tenant has under it.
    let current = Resolved::of(&document, &secrets);
    let wanted = Resolved::of(&import.document, &import.secrets.or(&secrets));
    let changes = diff::compare(&current, &wanted, import.prunes);
    let shared = Shared(RefCell::new(Edit {
        draft: &mut *edit.draft,
        records: &mut *edit.records,
        caller: edit.caller,
        format: super::answer::Format::Json,
        gateway: edit.gateway,
        traffic: edit.traffic,
        now: edit.now,
    }));
    let made = Applying::new(context, &shared, places, &import.document).run(&changes)?;
    Ok(Report { changes, fingerprint, made, left_out })
}
