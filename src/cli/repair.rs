//! `tollgate repair`: giving up what is damaged.

use std::collections::BTreeSet;

use clap::Args;

use super::verify::Place;
use super::{Exit, say, show, show_json};
use crate::listener::system_clock;
use crate::node::repair::{Becomes, Consent, GiveUp, IdsPlan, JournalPlan, Plan, RepairError, repair};

pub(super) const AFTER_HELP: &str = "\
Nothing is deleted: what goes is moved to a folder repaired/TIME in the data directory. What the journal loses was \
perhaps acknowledged; see what is shown before you --apply it. Idempotency ids of requests whose usage goes are forgotten, \
so that they count if they are sent again. Rows that commands which go have put on a plugin's shelf become what they were, \
or go with their record; those of which nothing is known any more stay, and are listed (all of them with --json). The next start begins a new term.

Exit codes: 0 shown or done, 7 what would be left cannot be put together either (nothing was changed), 5 a node runs \
there, 6 not a data directory, or not writable, 2 no such place or checkpoint.";

#[derive(Args, Debug)]
pub(super) struct Repair {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    what: What,

    /// Do it; without this it is only shown
    #[arg(long)]
    apply: bool,

    /// Where the journal cannot be read, forget idempotency ids by the time at which they were counted
    #[arg(long, requires = "truncate_at")]
    ids_by_time: bool,

    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// End the journal there: at a place in a segment, as `verify` names it, or before a sequence
    #[arg(long, value_name = "FILE:OFFSET|SEQUENCE", value_parser = place)]
    truncate_at: Option<GiveUp>,

    /// Go without this checkpoint generation: an older one and the journal must reach as far
    #[arg(long, value_name = "N")]
    drop_checkpoint: Option<u64>,
}

fn place(text: &str) -> Result<GiveUp, String> {
    if let Ok(sequence) = text.parse::<u64>() {
        return if sequence == 0 {
            Err("the first sequence is 1".into())
        } else {
            Ok(GiveUp::FromSequence(sequence))
        };
    }
    let parts = text.rsplit_once(':').and_then(|(file, offset)| Some((file, offset.parse().ok()?)));
    let (file, offset) = parts.ok_or("neither FILE:OFFSET nor a sequence")?;
    // As `verify` prints it, or as it lies: the name alone says which it is.
    let file = file.rsplit('/').next().unwrap_or(file).to_owned();
    Ok(GiveUp::From { file, offset })
}

pub(super) fn run(arguments: Repair) -> Exit {
    let data_dir = match arguments.place.data_dir() {
        Ok(data_dir) => data_dir,
        Err(exit) => return exit,
    };
    let What { truncate_at, drop_checkpoint } = arguments.what;
    let Some(what) = truncate_at.or(drop_checkpoint.map(GiveUp::Checkpoint)) else { return Exit::Usage };
    let consent = Consent { apply: arguments.apply, ids_by_time: arguments.ids_by_time };
    match repair(&data_dir, &what, consent, &system_clock()) {
        Ok(plan) if arguments.json => show_json(&plan),
        Ok(plan) => {
            show(&text(&plan));
            Exit::Done
        }
        Err(error) => {
            say(&error.to_string());
            exit_of(&error)
        }
    }
}

fn exit_of(error: &RepairError) -> Exit {
    match error {
        RepairError::DataDir(error) => super::serve::exit_of_data_dir(error),
        RepairError::Journal(_) | RepairError::NoSuchCheckpoint(_) => Exit::Usage,
        RepairError::Ids(_) if error.is_system() => Exit::DataDir,
        RepairError::NotEnough(_)
        | RepairError::TooShort { .. }
        | RepairError::Ids(_)
        | RepairError::IdsByTime { .. } => Exit::Data,
        RepairError::NotANode(_) | RepairError::Checkpoints(_) | RepairError::System { .. } => Exit::DataDir,
    }
}

/// The most applications, or rows, that are listed.
const LISTED_MAX: usize = 20;

fn text(plan: &Plan) -> String {
    let is_done = plan.moved_to.is_some();
    let mut text = plan.journal.as_ref().map_or_else(String::new, |journal| journal_text(journal, is_done));
    let verb = if is_done { "went" } else { "would go" };
    for generation in &plan.checkpoints {
        text += &format!("Checkpoint {generation} {verb}.\n");
    }
    for shelf in &plan.shelves {
        let is = if is_done { "was" } else { "would be" };
        text += &format!("Shelf {shelf} reached beyond that: it {is} set back, and reads on from there.\n");
    }
    text += &rows_text(plan, is_done);
    text += &plan.ids.as_ref().map_or_else(String::new, |ids| ids_text(ids, is_done));
    let after = &plan.after;
    let from = after.checkpoint.map_or_else(
        || "from the journal alone".to_owned(),
        |generation| format!("from checkpoint {generation}"),
    );
    text += &format!(
        "What is left can be put together {from}: {} entries replayed, up to sequence {}; catalog version {}, {} \
         applications.\n",
        after.entries, after.last, after.catalog_version, after.applications
    );
    text += &match &plan.moved_to {
        Some(folder) => format!("Done. What went is in {}\n", folder.display()),
        None => "Nothing was changed: --apply does it.\n".to_owned(),
    };
    text
}

/// What becomes of rows of shelves, by shelf.
fn rows_text(plan: &Plan, is_done: bool) -> String {
    let mut text = String::new();
    let shelves: BTreeSet<_> = plan.rows.iter().map(|row| row.shelf.as_str()).collect();
    let say = |becomes| match (becomes, is_done) {
        (Becomes::Restored, false) => "would become what an earlier command says",
        (Becomes::Restored, true) => "became what an earlier command says",
        (Becomes::Deleted, false) => "would be deleted, as they are new",
        (Becomes::Deleted, true) => "were deleted, as they are new",
        (Becomes::Kept, false) => "would stay, as the journal no longer has what they were",
        (Becomes::Kept, true) => "stay, as the journal no longer has what they were",
    };
    for shelf in shelves {
        text += &format!("Rows of shelf {shelf} that commands which go have changed:\n");
        for becomes in [Becomes::Restored, Becomes::Deleted, Becomes::Kept] {
            let rows = plan.rows.iter().filter(|row| row.shelf == shelf && row.becomes == becomes);
            let rows: Vec<_> = rows.map(|row| format!("{} {}", row.table, row.row)).collect();
            if !rows.is_empty() {
                text += &format!("  {} {}: {}\n", rows.len(), say(becomes), listed(&rows));
            }
        }
    }
    if plan.rows_unknown > 0 {
        text += &format!(
            "{} commands that go, or parts of them, cannot be read: what they changed on shelves stays.\n",
            plan.rows_unknown
        );
    }
    let unreadable = plan.journal.as_ref().is_some_and(|journal| journal.unreadable_bytes > 0);
    if unreadable && !plan.shelves.is_empty() {
        text += "What the bytes that cannot be read changed on shelves is not known, and stays.\n";
    }
    text
}

/// The first of them, and how many more there are.
fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(LISTED_MAX);
    let first = all[..all.len() - more].join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

fn ids_text(ids: &IdsPlan, is_done: bool) -> String {
    let (go, is) = if is_done { ("went", "was") } else { ("would go", "would be") };
    let mut text = String::new();
    for slice in &ids.slices {
        text += &format!("Idempotency ids: {slice} {go} as a whole.\n");
    }
    let IdsPlan { rewritten: Some(slice), stay, go: named, go_by_time, since_ms, .. } = ids else {
        return text;
    };
    text += &format!(
        "Idempotency ids: {slice} {is} written anew: {stay} ids stay, {named} {go} with their usage, and count if they are \
         sent again.\n"
    );
    if *go_by_time > 0 {
        text += &format!(
            "{go_by_time} more {go} because they were counted after {since_ms} ms: what names them cannot be read. If the \
             clock was set back, some of them may have usage that stays, and would count twice if they are sent again. \
             It takes --ids-by-time.\n"
        );
    }
    text
}

fn journal_text(journal: &JournalPlan, is_done: bool) -> String {
    let verb = if is_done { "ended" } else { "would end" };
    let mut text = format!("The journal {verb} before sequence {}.\n", journal.from);
    for (file, kept) in &journal.shortened {
        text += &format!("  {file}: its first {kept} bytes stay\n");
    }
    for file in &journal.files {
        text += &format!("  {file}: goes as a whole\n");
    }
    let kinds: Vec<_> = journal.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    text += &format!("Lost, as far as it can be read: {} entries", journal.entries);
    if !kinds.is_empty() {
        text += &format!(" ({})", kinds.join(", "));
    }
    if let (Some(from), Some(to)) = (journal.from_ms, journal.to_ms) {
        text += &format!(", from {from} to {to} ms");
    }
    text += ".\n";
    if !journal.applications.is_empty() {
        let applications: Vec<_> = journal.applications.iter().map(u64::to_string).collect();
        text += &format!("Counters of {} applications: {}\n", applications.len(), listed(&applications));
    }
    if journal.unreadable_bytes > 0 {
        text += &format!("{} bytes cannot be read.\n", journal.unreadable_bytes);
    }
    if journal.synced >= journal.from {
        text += &format!(
            "Up to sequence {} it was on disk for good, so what goes may have been acknowledged.\n",
            journal.synced
        );
    } else {
        text += "Nothing says that any of it was acknowledged.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_with_an_offset_or_a_sequence() {
        let file = |file: &str, offset| Ok(GiveUp::From { file: file.to_owned(), offset });
        assert_eq!(place("17"), Ok(GiveUp::FromSequence(17)));
        assert_eq!(place("a-b.journal:64"), file("a-b.journal", 64));
        assert_eq!(place("/data/journal/a-b.journal:64"), file("a-b.journal", 64));
        for wrong in ["", "0", "a-b.journal", "a-b.journal:", "a-b.journal:x", "-1"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
