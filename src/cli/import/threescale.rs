//! A 3scale that is migrated from: its pages fetched, and documents made of them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::remote::{self, RemoteError};
use super::super::{Exit, say};
use super::{Failure, Sent, wrong};
use crate::document::render;
use crate::migrate::migrate;
use crate::migrate::parts::Bounds;
use crate::migrate::source::{self, Source};
use crate::migrate::usage::Product;

/// A 3scale that is migrated from.
#[derive(Args, Debug)]
pub(super) struct Threescale {
    /// Instead of a document: what the tenant of a running 3scale has, whose admin portal is there. Needs --work
    #[arg(long = "from-3scale", value_name = "URL", requires = "work", conflicts_with_all = ["file", "openapi", "prune", "secrets"])]
    pub(super) from_3scale: Option<String>,
    /// File whose first line is an access token of that 3scale which may read account management, and stats if usage is to come along [default: what THREESCALE_TOKEN says]
    #[arg(long, value_name = "FILE", requires = "from_3scale")]
    from_token_file: Option<PathBuf>,
    /// As --ca-file, for that 3scale
    #[arg(long, value_name = "FILE", requires = "from_3scale")]
    from_ca_file: Option<PathBuf>,
    /// Accounts, users, subscriptions and applications that come in one command, if they are 12 MiB at most; more come in several, products
    /// first
    #[arg(long, value_name = "NUMBER", requires = "from_3scale", default_value_t = RECORDS_AT_ONCE, value_parser = clap::value_parser!(u64).range(1..))]
    at_once: u64,
    /// Folder for what was fetched (it holds credentials): begun again with the same, it goes on where it was. The document and its secrets
    /// are left there, too
    #[arg(long, value_name = "DIR", requires = "from_3scale")]
    pub(super) work: Option<PathBuf>,
    /// With --apply: leave usage history behind. Bringing it takes a call of that 3scale for each metric of a product, then for each metric that was used one for
    /// each application, and a few more where that used it
    #[arg(long, requires = "from_3scale")]
    pub(super) without_usage: bool,
}

/// What is left to do when the documents are applied.
pub(super) struct Migrated {
    pub(super) source: Source<'static>,
    /// Whose usage there is to ask for.
    pub(super) products: Vec<Product>,
    /// What could not come along so far.
    notes: Vec<String>,
    work: PathBuf,
}

/// Fetches what is not there yet from a 3scale, and writes the document beside it, or several.
pub(super) fn fetched(from: &Threescale, url: &str, work: &Path) -> Result<(Vec<Sent>, Migrated), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure(Exit::Failed, error.to_string());
    let token = remote::token(from.from_token_file.as_deref(), ("--from-token-file", THREESCALE_TOKEN))?;
    let http = remote::http(from.from_ca_file.clone()).map_err(RemoteError::from)?;
    let progress = |count: usize, page: &str| {
        if count.is_multiple_of(PROGRESS_PAGES) {
            say(&format!("{count} pages fetched, last {page}"));
        }
    };
    let mut source =
        Source::open(http, url, &token, work, Box::new(progress)).map_err(|error| failed(&error))?;
    let mut migration = migrate(&mut source).map_err(|error| failed(&error))?;
    say_notes(&migration.notes);
    keep_notes(work, &migration.notes)?;
    let notes = std::mem::take(&mut migration.notes);
    let products = std::mem::take(&mut migration.products);
    let records = usize::try_from(from.at_once).unwrap_or(usize::MAX);
    let parts = migration.parts(&Bounds { records, bytes: BYTES_AT_ONCE });
    let count = parts.len();
    let mut all = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        // One has the plain name; of several each has its number.
        let number = if count == 1 { String::new() } else { format!("-{}", at + 1) };
        let (document, secrets) = (render::render(&part.document), part.secrets.render());
        let name = format!("document{number}.yaml");
        keep(&work.join(&name), &document)?;
        keep(&work.join(format!("secrets{number}.yaml")), &secrets)?;
        crate::document::read::read(&document).map_err(|problems| wrong(&work.join(&name), &problems))?;
        all.push((document, secrets));
    }
    Ok((all, Migrated { source, products, notes, work: work.to_owned() }))
}

fn keep(path: &Path, text: &str) -> Result<(), Failure> {
    source::keep(path, text.as_bytes())
        .map_err(|error| Failure(Exit::Failed, format!("{}: {error}", path.display())))
}

fn keep_notes(work: &Path, notes: &[String]) -> Result<(), Failure> {
    keep(&work.join(NOTES), &notes.iter().map(|note| format!("{note}\n")).collect::<String>())
}

impl Migrated {
    /// Says what else could not come along, and keeps it beside what could not before.
    ///
    /// # Errors
    /// The work folder cannot be written.
    pub(super) fn note(&mut self, notes: Vec<String>) -> Result<(), Failure> {
        say_notes(&notes);
        self.notes.extend(notes);
        keep_notes(&self.work, &self.notes)
    }
}

/// So many records of accounts come at once, unless another number is said; and so many bytes of document and secrets. A journal entry, a
/// document and the body of a call have room for more.
const RECORDS_AT_ONCE: u64 = 50_000;
const BYTES_AT_ONCE: usize = 12 << 20;

/// What cannot come; of very much the first of it.
fn say_notes(notes: &[String]) {
    notes.iter().take(NOTES_SAID_MAX).for_each(|note| say(note));
    if let Some(more) = notes.len().checked_sub(NOTES_SAID_MAX).filter(|more| *more > 0) {
        say(&format!("... and {more} more: {NOTES} in the work folder has all"));
    }
}

/// Where all notes are, in the work folder.
const NOTES: &str = "notes.txt";

/// So many are said.
const NOTES_SAID_MAX: usize = 200;

/// The variable with the access token of a 3scale, where no file has it.
const THREESCALE_TOKEN: &str = "THREESCALE_TOKEN";

/// After so many pages something is said.
const PROGRESS_PAGES: usize = 100;
