//! Repair: giving up what is damaged, on an operator's word, so that the rest can be used again.
//!
//! Two things can be given up: the end of the journal from a place on ([`crate::journal::Shortening`]), and a checkpoint
//! generation, if another or the journal alone reaches as far. First it is planned: what goes, what is lost with it, and
//! whether a start would succeed then, by putting the state together without what goes. Only a plan that leads to a
//! state can be carried out.
//!
//! A checkpoint may hold what the journal loses: the counters in it carry stamps beyond the cut, and a replay would skip
//! new entries that are given the same sequences. So every generation whose catalog, the last thing copied to it, is of
//! the cut or later goes too. A plugin's shelf that reaches beyond the cut is set back, to read on from there; rows that the
//! commands which go have put on it, or deleted, become what they were, as far as that can be known (see `rows`). What a plugin derived
//! from entries that go stays: events were told, and the history of usage has what was counted then.
//!
//! Slices of idempotency ids may reach beyond the cut. An id whose usage goes must go with it, or else its request, sent
//! again as it should be, would count nothing; an id whose usage stays must stay, or its request would count twice. So
//! slices of later entries go as a whole, and one that has entries on both sides is written anew, without the ids that the
//! journal names among what goes. What cannot be read names none: then an id that no entry names goes if it was counted after
//! the last batch that stays. That takes a word of its own from the operator ([`Consent::ids_by_time`]): a time can
//! mislead if the clock was set back.
//!
//! # Carrying out
//! Nothing is deleted. In the data directory a folder `repaired/<UTC time>` gets every file before it is changed:
//!
//! 1. shelves are copied there; then position and rows of each are set back in one transaction;
//! 2. generations are moved there, `CURRENT` first if it names one of them;
//! 3. slices of ids are linked there; the one that stays in part is written anew; what goes is unlinked, the latest first;
//! 4. segments are linked there; the mark that keeps the term is made; what keeps its beginning is replaced as a whole;
//!    what goes as a whole is unlinked, the latest first.
//!
//! After a power failure at any step the data is still as damaged as before, or repaired to a later place: then
//! `verify` says so and `repair` can be run again. A node is kept away meanwhile by the directory's lock.

mod carry_out;
mod ids;
mod rows;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::RecoveryError;
use super::data_dir::{self, DataDir, DataDirError};
use super::recovery;
use super::scratch::Scratch;
use crate::journal::{CutRows, EndAt, ReadOnlyDirectory, Sequence, ShortenError, Shortening};
use crate::listener::Clock;
use crate::model::time::UnixMillis;
use crate::store::ids::IdsError;
use crate::store::{
    GenerationState, GenerationSurvey, StoreError, open_latest_without, survey_checkpoints, survey_shelf,
};

pub use ids::IdsPlan;
use rows::ShelfRows;
pub use rows::{Becomes, RowPlan};

/// What the operator agrees to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Consent {
    /// It is carried out, and not only planned.
    pub apply: bool,
    /// Ids may go because of the time at which they were counted, where the journal cannot be read.
    pub ids_by_time: bool,
}

/// What is to be given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GiveUp {
    /// The end of the journal, from the group at a place, or around it.
    From {
        /// A segment's name.
        file: String,
        /// Bytes from its beginning.
        offset: u64,
    },
    /// The end of the journal, from the group that has this sequence.
    FromSequence(u64),
    /// A checkpoint.
    Checkpoint(u64),
}

/// What a repair does, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Plan {
    /// The end of the journal that goes.
    pub journal: Option<JournalPlan>,
    /// The checkpoint generations that go.
    pub checkpoints: Vec<u64>,
    /// The shelves that are set back.
    pub shelves: Vec<String>,
    /// Rows of shelves that commands which go have changed.
    pub rows: Vec<RowPlan>,
    /// Commands that go, or parts of them, that cannot be read: what they changed on shelves is not known, and stays.
    pub rows_unknown: u64,
    /// What goes of the idempotency ids; `None` if none does.
    pub ids: Option<IdsPlan>,
    /// What the state comes to afterwards.
    pub after: After,
    /// Where everything that went lies now; `None` if it is only a plan.
    pub moved_to: Option<PathBuf>,
}

/// What goes of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JournalPlan {
    /// The first sequence that goes.
    pub from: u64,
    /// Whole files, latest first.
    pub files: Vec<String>,
    /// Files of which the beginning stays, and how many bytes that is.
    pub shortened: Vec<(String, u64)>,
    /// Entries that can be read.
    pub entries: u64,
    /// How many of each kind.
    pub kinds: Vec<(String, u64)>,
    /// Applications whose counters they change.
    pub applications: Vec<u64>,
    /// The engine's clock at the first and the last of them, in milliseconds since 1970.
    pub from_ms: Option<u64>,
    #[allow(missing_docs)]
    pub to_ms: Option<u64>,
    /// Bytes that cannot be read.
    pub unreadable_bytes: u64,
    /// The last sequence that was on disk for good, and so perhaps acknowledged, as far as any file says.
    pub synced: u64,
}

/// The state that is left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[allow(missing_docs)]
pub struct After {
    pub checkpoint: Option<u64>,
    /// Entries that are replayed after it.
    pub entries: u64,
    /// The last sequence.
    pub last: u64,
    pub catalog_version: u64,
    pub applications: usize,
}

/// Why a repair cannot be planned or carried out.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The directory cannot be used, or a node runs on it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no node's data.
    #[error("{0} is not a tollgate data directory (it has no FORMAT file)")]
    NotANode(PathBuf),
    /// The journal cannot be ended there.
    #[error(transparent)]
    Journal(#[from] ShortenError),
    /// The checkpoints cannot be looked at.
    #[error(transparent)]
    Checkpoints(#[from] StoreError),
    /// No such generation.
    #[error("there is no checkpoint {0}")]
    NoSuchCheckpoint(u64),
    /// What is left is of no use. Nothing was changed.
    #[error("nothing was changed: without that, the state still cannot be put together: {0}")]
    NotEnough(RecoveryError),
    /// The slices of idempotency ids cannot be read or written. While they are read nothing was changed.
    #[error(transparent)]
    Ids(IdsError),
    /// Ids would go that no entry names. Nothing was changed.
    #[error(
        "nothing was changed: {count} idempotency ids would go because they were counted after {since_ms} ms, as no \
         entry names them that can be read: --ids-by-time agrees to that"
    )]
    IdsByTime {
        /// How many.
        count: u64,
        /// The time, in milliseconds since 1970.
        since_ms: u64,
    },
    /// What is left has a hole at its end. Nothing was changed.
    #[error(
        "nothing was changed: without that, the state would end with sequence {last} and not {expected}: neither \
         checkpoint nor journal reaches as far"
    )]
    TooShort {
        /// Where it would end.
        last: u64,
        /// Where it should.
        expected: u64,
    },
    /// The system refuses.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl RepairError {
    /// Whether the system refused, as opposed to the data being bad.
    #[must_use]
    pub fn is_system(&self) -> bool {
        matches!(self, RepairError::System { .. } | RepairError::Ids(IdsError::Io { .. }))
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> RepairError {
    move |source| RepairError::System { what, source }
}

/// Plans a repair of `data_dir`, and carries it out if `consent` says so.
///
/// # Errors
/// [`RepairError`]. But for an error of the system while it is carried out, nothing was changed.
pub fn repair(data_dir: &Path, what: &GiveUp, consent: Consent, clock: &Clock) -> Result<Plan, RepairError> {
    if !data_dir::check_format(data_dir)? {
        return Err(RepairError::NotANode(data_dir.to_owned()));
    }
    if !consent.apply {
        if data_dir::is_held(data_dir).map_err(system("look at the data directory"))? {
            return Err(DataDirError::Locked { path: data_dir.to_owned() }.into());
        }
        return Ok(plan(data_dir, what, clock)?.plan);
    }
    let held = DataDir::open(data_dir)?;
    let Planned { mut plan, shortening, ids, rows } = plan(held.path(), what, clock)?;
    if let Some(IdsPlan { go_by_time: count @ 1.., since_ms, .. }) = plan.ids
        && !consent.ids_by_time
    {
        return Err(RepairError::IdsByTime { count, since_ms });
    }
    let cut = shortening.as_ref().map(|shortening| (shortening, ids.as_ref()));
    plan.moved_to = Some(carry_out::carry_out(&held, &plan, cut, &rows, clock())?);
    Ok(plan)
}

/// What would be done, in the operator's words, in the journal's, and in those of the ids and the shelves.
struct Planned {
    plan: Plan,
    shortening: Option<Shortening>,
    ids: Option<ids::Cut>,
    rows: Vec<ShelfRows>,
}

fn plan(data_dir: &Path, what: &GiveUp, clock: &Clock) -> Result<Planned, RepairError> {
    let scratch = Scratch::new().map_err(system("make a temporary directory"))?;
    let generations =
        survey_checkpoints(&data_dir::checkpoints(data_dir), &scratch.join("checkpoint"))?.generations;
    let journal = || Box::new(ReadOnlyDirectory::new(&data_dir::journal(data_dir)));
    let end_at = match what {
        GiveUp::From { file, offset } => Some(EndAt::Place { file: file.clone(), offset: *offset }),
        GiveUp::FromSequence(sequence) => Some(EndAt::Sequence(Sequence(*sequence))),
        GiveUp::Checkpoint(_) => None,
    };
    let shortening = end_at.map(|at| Shortening::plan(journal().as_ref(), &at)).transpose()?;
    let checkpoints = checkpoints_that_go(what, shortening.as_ref(), &generations)?;
    let root = data_dir::checkpoints(data_dir);
    let checkpoint = open_latest_without(&root, &scratch.join("checkpoint"), &checkpoints)?;
    let disk = match &shortening {
        Some(shortening) => shortening.disk(journal()),
        None => journal(),
    };
    let (after, left) = put_together(checkpoint, disk, clock).map_err(RepairError::NotEnough)?;
    let expected = shortening.as_ref().map_or(after.last, |shortening| shortening.from.previous().0);
    if after.last != expected {
        return Err(RepairError::TooShort { last: after.last, expected });
    }
    let (shelves, ids) = match &shortening {
        Some(shortening) => {
            let cut = shortening.rows(journal().as_ref())?;
            (
                Shelves::look(data_dir, &scratch, shortening.from, &cut, left.next_id)?,
                ids::Cut::plan(data_dir, shortening, left.time)?,
            )
        }
        None => (Shelves::default(), None),
    };
    let plan = Plan {
        journal: shortening.as_ref().map(JournalPlan::of),
        checkpoints,
        shelves: shelves.beyond,
        rows: shelves.plans,
        rows_unknown: shelves.unknown,
        ids: ids.as_ref().map(|cut| cut.plan.clone()),
        after,
        moved_to: None,
    };
    Ok(Planned { plan, shortening, ids, rows: shelves.rows })
}

/// The generations that go: the one that was named, or those that reach beyond the journal's end.
fn checkpoints_that_go(
    what: &GiveUp,
    shortening: Option<&Shortening>,
    generations: &[GenerationSurvey],
) -> Result<Vec<u64>, RepairError> {
    match (what, shortening) {
        (_, Some(shortening)) => {
            let ahead = generations.iter().filter(
                |it| matches!(it.state, GenerationState::Whole(meta) if meta.catalog >= shortening.from),
            );
            Ok(ahead.map(|it| it.generation).collect())
        }
        (GiveUp::Checkpoint(number), None) if generations.iter().all(|it| it.generation != *number) => {
            Err(RepairError::NoSuchCheckpoint(*number))
        }
        (GiveUp::Checkpoint(number), None) => Ok(vec![*number]),
        (_, None) => Ok(Vec::new()),
    }
}

/// What else is known of the state that is left.
struct Left {
    time: UnixMillis,
    /// Ids below this are given out.
    next_id: u64,
}

/// The state that is left.
fn put_together(
    checkpoint: Option<crate::store::Checkpoint>,
    disk: Box<dyn crate::journal::Disk>,
    clock: &Clock,
) -> Result<(After, Left), RecoveryError> {
    let replayed = recovery::replay(checkpoint, disk, clock())?;
    let (found, checkpoint) = (replayed.found().clone(), replayed.checkpoint());
    let engine = replayed.finish()?;
    let catalog = engine.catalog();
    let after = After {
        checkpoint: checkpoint.map(|(generation, _)| generation),
        entries: found.entries,
        last: found.last.0,
        catalog_version: catalog.version,
        applications: catalog.applications.len(),
    };
    Ok((after, Left { time: engine.now(UnixMillis(0)), next_id: catalog.next_id }))
}

/// What a cut does to the shelves.
#[derive(Default)]
struct Shelves {
    /// Those that reach beyond it.
    beyond: Vec<String>,
    /// Rows that commands which go have changed.
    plans: Vec<RowPlan>,
    /// What is written of them.
    rows: Vec<ShelfRows>,
    unknown: u64,
}

impl Shelves {
    /// Looks at all shelves. One that is damaged says nothing; it is not this repair's matter.
    fn look(
        data_dir: &Path,
        scratch: &Scratch,
        from: Sequence,
        cut: &CutRows,
        next_id: u64,
    ) -> Result<Shelves, RepairError> {
        let mut shelves = Shelves { unknown: cut.unreadable, ..Shelves::default() };
        for name in data_dir::shelf_names(data_dir).map_err(system("list the shelves"))? {
            let (path, copy) = (data_dir::shelves(data_dir).join(&name), scratch.join("shelf"));
            let Ok(survey) = survey_shelf(&path, &copy) else { continue };
            if survey.position >= from {
                shelves.beyond.push(name.clone());
            }
            // Whatever its position says: what a node had not settled when it ended may be there, too.
            let copied = std::fs::copy(&path, &copy);
            copied.map_err(system("copy a shelf"))?;
            let rows = rows::plan(&name, &copy, cut, next_id, &mut shelves.plans);
            std::fs::remove_file(&copy).map_err(system("remove a temporary file"))?;
            shelves.rows.extend(rows?);
        }
        Ok(shelves)
    }
}

impl JournalPlan {
    fn of(shortening: &Shortening) -> JournalPlan {
        let lost = &shortening.lost;
        JournalPlan {
            from: shortening.from.0,
            files: shortening.whole.clone(),
            shortened: shortening.partly.clone(),
            entries: lost.entries,
            kinds: lost.kinds.iter().map(|(kind, count)| (kind.clone(), *count)).collect(),
            applications: lost.applications.iter().map(|application| application.0).collect(),
            from_ms: lost.times.map(|(from, _)| from.0),
            to_ms: lost.times.map(|(_, to)| to.0),
            unreadable_bytes: lost.unreadable_bytes,
            synced: lost.synced.0,
        }
    }
}
