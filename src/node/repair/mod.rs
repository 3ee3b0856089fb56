//! Repair: giving up what is damaged, on an operator's word, so that the rest can be used again.
//!
//! Two things can be given up: the end of the journal from a place on ([`crate::journal::Shortening`]), and a checkpoint
//! generation, if another or the journal alone reaches as far. First it is planned: what goes, what is lost with it, and
//! whether a start would succeed then, by putting the state together without what goes. Only a plan that leads to a
//! state can be carried out.
//!
//! A checkpoint may hold what the journal loses: the counters in it carry stamps beyond the cut, and a replay would skip
//! new entries that are given the same sequences. So every generation whose catalog, the last thing copied to it, is of
//! the cut or later goes too. A plugin's shelf that was derived beyond the cut keeps its rows, and is set back to derive
//! again from there.
//!
//! # Carrying out
//! Nothing is deleted. In the data directory a folder `repaired/<UTC time>` gets every file before it is changed:
//!
//! 1. shelves are copied there and set back;
//! 2. generations are moved there, `CURRENT` first if it names one of them;
//! 3. segments are linked there; the mark that keeps the term is made; what keeps its beginning is replaced as a whole;
//!    what goes as a whole is unlinked, the latest first.
//!
//! After a power failure at any step the data is still as damaged as before, or repaired to a later place: then
//! `verify` says so and `repair` can be run again. A node is kept away meanwhile by the directory's lock.

mod carry_out;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::RecoveryError;
use super::data_dir::{self, DataDir, DataDirError};
use super::recovery;
use super::scratch::Scratch;
use crate::journal::{EndAt, ReadOnlyDirectory, Sequence, ShortenError, Shortening};
use crate::listener::Clock;
use crate::store::ids::slice_ends;
use crate::store::{GenerationState, StoreError, open_latest_without, survey_checkpoints, survey_shelf};

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
    /// Idempotency ids are kept of entries that would go. Nothing was changed.
    #[error(
        "nothing was changed: idempotency ids of entries up to {0} are in slices, and a node does not start with ids \
         of entries that it does not have: restore a backup"
    )]
    IdsAhead(u64),
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

fn system(what: &'static str) -> impl Fn(io::Error) -> RepairError {
    move |source| RepairError::System { what, source }
}

/// Plans a repair of `data_dir`, and carries it out if `apply` says so.
///
/// # Errors
/// [`RepairError`]. But for an error of the system while it is carried out, nothing was changed.
pub fn repair(data_dir: &Path, what: &GiveUp, apply: bool, clock: &Clock) -> Result<Plan, RepairError> {
    if !data_dir::check_format(data_dir)? {
        return Err(RepairError::NotANode(data_dir.to_owned()));
    }
    if !apply {
        if data_dir::is_held(data_dir).map_err(system("look at the data directory"))? {
            return Err(DataDirError::Locked { path: data_dir.to_owned() }.into());
        }
        return Ok(plan(data_dir, what, clock)?.0);
    }
    let held = DataDir::open(data_dir)?;
    let (mut plan, shortening) = plan(held.path(), what, clock)?;
    plan.moved_to = Some(carry_out::carry_out(&held, &plan, shortening.as_ref(), clock())?);
    Ok(plan)
}

/// What would be done, in the operator's words and in the journal's.
fn plan(data_dir: &Path, what: &GiveUp, clock: &Clock) -> Result<(Plan, Option<Shortening>), RepairError> {
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
    let checkpoints = match (what, &shortening) {
        (_, Some(shortening)) => {
            let ahead = generations.iter().filter(
                |it| matches!(it.state, GenerationState::Whole(meta) if meta.catalog >= shortening.from),
            );
            ahead.map(|it| it.generation).collect()
        }
        (GiveUp::Checkpoint(number), None) if generations.iter().all(|it| it.generation != *number) => {
            return Err(RepairError::NoSuchCheckpoint(*number));
        }
        (GiveUp::Checkpoint(number), None) => vec![*number],
        (_, None) => Vec::new(),
    };
    let root = data_dir::checkpoints(data_dir);
    let checkpoint = open_latest_without(&root, &scratch.join("checkpoint"), &checkpoints)?;
    let disk = match &shortening {
        Some(shortening) => shortening.disk(journal()),
        None => journal(),
    };
    let after = put_together(checkpoint, disk, clock).map_err(RepairError::NotEnough)?;
    let expected = shortening.as_ref().map_or(after.last, |shortening| shortening.from.previous().0);
    if after.last != expected {
        return Err(RepairError::TooShort { last: after.last, expected });
    }
    if let Some(shortening) = &shortening {
        refuse_ids_beyond(data_dir, shortening.from)?;
    }
    let shelves = match &shortening {
        Some(shortening) => shelves_beyond(data_dir, &scratch, shortening.from)?,
        None => Vec::new(),
    };
    let journal = shortening.as_ref().map(JournalPlan::of);
    Ok((Plan { journal, checkpoints, shelves, after, moved_to: None }, shortening))
}

fn put_together(
    checkpoint: Option<crate::store::Checkpoint>,
    disk: Box<dyn crate::journal::Disk>,
    clock: &Clock,
) -> Result<After, RecoveryError> {
    let replayed = recovery::replay(checkpoint, disk, clock())?;
    let (found, checkpoint) = (replayed.found().clone(), replayed.checkpoint());
    let catalog = replayed.finish()?.catalog();
    Ok(After {
        checkpoint: checkpoint.map(|(generation, _)| generation),
        entries: found.entries,
        last: found.last.0,
        catalog_version: catalog.version,
        applications: catalog.applications.len(),
    })
}

fn refuse_ids_beyond(data_dir: &Path, from: Sequence) -> Result<(), RepairError> {
    let entries = match std::fs::read_dir(data_dir::ids(data_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(system("list the slices of ids"))?,
    };
    for entry in entries {
        let name = entry.map_err(system("list the slices of ids"))?.file_name();
        let end = name.to_str().and_then(slice_ends).filter(|end| *end >= from);
        if let Some(end) = end {
            return Err(RepairError::IdsAhead(end.0));
        }
    }
    Ok(())
}

/// The shelves that were derived from what goes. One that is damaged says nothing; it is not this repair's matter.
fn shelves_beyond(data_dir: &Path, scratch: &Scratch, from: Sequence) -> Result<Vec<String>, RepairError> {
    let shelves = data_dir::shelves(data_dir);
    let mut beyond = Vec::new();
    for name in data_dir::shelf_names(data_dir).map_err(system("list the shelves"))? {
        let survey = survey_shelf(&shelves.join(&name), &scratch.join("shelf"));
        if survey.is_ok_and(|survey| survey.position >= from) {
            beyond.push(name);
        }
    }
    Ok(beyond)
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
