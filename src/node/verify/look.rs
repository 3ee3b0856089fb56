//! Looking at all of a data directory.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::data_dir;
use super::super::inspect::names;
use super::super::recovery::{self, RecoveryError};
use super::super::scratch::Scratch;
use super::super::secret;
use super::{CheckpointRow, Problem, SegmentRow, ShelfRow, StateRow, Verdict, Verification, VerifyError};
use crate::journal::{
    JournalError, NodeId, ReadOnlyDirectory, SegmentState, SegmentSurvey, read_whole, segment_names,
    survey_segment,
};
use crate::listener::Clock;
use crate::model::time::UnixMillis;
use crate::store::ids::Slices;
use crate::store::{CheckpointSurvey, GenerationState, open_latest_in, survey_checkpoints, survey_shelf};

/// How often it is tried while a node starts or ends.
const TRIES: u32 = 20;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a hole in a running node's last segment is looked at before it is one.
const LOOKS: u32 = 5;

/// Verifies all of `data_dir`, and changes nothing there.
///
/// # Errors
/// [`VerifyError`]: nothing could be verified. Damage is no error but in what is returned.
pub fn verify(data_dir: &Path, clock: &Clock) -> Result<Verification, VerifyError> {
    let looked = |source| VerifyError::System { what: "look at the data directory", source };
    if !data_dir::check_format(data_dir)? {
        return Err(VerifyError::NotANode(data_dir.to_owned()));
    }
    for _ in 0..TRIES {
        let running = data_dir::is_held(data_dir).map_err(looked)?;
        let before = names(data_dir).map_err(looked)?;
        let found = Look::new(data_dir, running)?.all(clock)?;
        let stayed = data_dir::is_held(data_dir).map_err(looked)? == running;
        if stayed && (running || names(data_dir).map_err(looked)? == before) {
            return Ok(found);
        }
        std::thread::sleep(PAUSE);
    }
    Err(VerifyError::Changing(data_dir.to_owned()))
}

/// One look.
struct Look<'d> {
    data_dir: &'d Path,
    scratch: Scratch,
    found: Verification,
}

impl<'d> Look<'d> {
    fn new(data_dir: &'d Path, running: bool) -> Result<Look<'d>, VerifyError> {
        let scratch = Scratch::new();
        let scratch =
            scratch.map_err(|source| VerifyError::System { what: "make a temporary directory", source })?;
        let found = Verification {
            data_dir: data_dir.to_owned(),
            running,
            verdict: Verdict::Whole,
            problems: Vec::new(),
            notes: Vec::new(),
            segments: Vec::new(),
            checkpoints: Vec::new(),
            shelves: Vec::new(),
            state: None,
        };
        Ok(Look { data_dir, scratch, found })
    }

    fn all(mut self, clock: &Clock) -> Result<Verification, VerifyError> {
        self.segments().map_err(|source| VerifyError::System { what: "read the journal", source })?;
        let finished = self.checkpoints()?;
        self.secret();
        if self.found.running {
            self.found.notes.push(
                "A node runs here: its shelves, and whether the state can be put together, are verified once it \
                 is stopped"
                    .to_owned(),
            );
        } else {
            self.shelves().map_err(|source| VerifyError::System { what: "list the shelves", source })?;
            self.state(clock);
        }
        self.note_finished(finished);
        if !self.found.problems.is_empty() {
            self.found.verdict = Verdict::Damaged;
        }
        Ok(self.found)
    }

    fn segments(&mut self) -> io::Result<()> {
        let disk = ReadOnlyDirectory::new(&data_dir::journal(self.data_dir));
        let names = segment_names(&disk)?;
        for (at, name) in names.iter().enumerate() {
            let is_last = at + 1 == names.len();
            match self.segment(&disk, name) {
                Ok(survey) => self.note_segment(&survey, is_last),
                // The node deletes what it needs no more.
                Err(error) if self.found.running && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(error) => self.problem(
                    &format!("journal/{name}"),
                    None,
                    format!("it cannot be read: {error}"),
                    None,
                ),
            }
        }
        Ok(())
    }

    fn segment(&self, disk: &ReadOnlyDirectory, name: &str) -> io::Result<SegmentSurvey> {
        let mut survey = survey_segment(name, &read_whole(disk, name)?);
        if self.found.running {
            for _ in 1..LOOKS {
                if !matches!(survey.state, SegmentState::Damaged { .. }) {
                    break;
                }
                std::thread::sleep(PAUSE);
                let again = survey_segment(name, &read_whole(disk, name)?);
                // Damage stays where it is; what was being written is whole, or elsewhere, by now.
                let same = again.state == survey.state;
                survey = again;
                if same {
                    break;
                }
            }
        }
        Ok(survey)
    }

    fn note_segment(&mut self, survey: &SegmentSurvey, is_last: bool) {
        let file = format!("journal/{}", survey.file);
        let state = match &survey.state {
            SegmentState::Whole => "whole",
            SegmentState::Blank => "blank",
            SegmentState::Torn { .. } if self.found.running => "whole",
            SegmentState::Torn { offset, bytes } => {
                self.torn(&file, *offset, *bytes, is_last);
                "torn"
            }
            SegmentState::Damaged { offset, reason } => {
                let remedy = format!(
                    "tollgate repair --truncate-at {}:{offset} shows what ending the journal there would lose",
                    survey.file
                );
                self.problem(&file, Some(*offset), reason.clone(), Some(remedy));
                "damaged"
            }
        };
        self.found.segments.push(SegmentRow {
            file: survey.file.clone(),
            term: survey.term,
            first: survey.first.0,
            last: survey.next.previous().0,
            groups: survey.groups,
            entries: survey.entries,
            from_ms: survey.times.map(|(from, _)| from.0),
            to_ms: survey.times.map(|(_, to)| to.0),
            state: state.to_owned(),
        });
    }

    fn torn(&mut self, file: &str, offset: u64, bytes: u64, is_last: bool) {
        if is_last {
            self.found.verdict = Verdict::Torn;
            self.found.notes.push(format!(
                "{file}: {bytes} bytes from {offset} on are a torn tail: a write that was not finished and never \
                 acknowledged. This is normal after a crash; the next start cuts it"
            ));
        } else {
            self.found
                .notes
                .push(format!("{file}: {bytes} bytes from {offset} on were cut by an earlier start"));
        }
    }

    /// Whether any generation is finished.
    fn checkpoints(&mut self) -> Result<bool, VerifyError> {
        let root = data_dir::checkpoints(self.data_dir);
        let survey = survey_checkpoints(&root, &self.scratch.join("checkpoint"));
        let CheckpointSurvey { current, current_damage, generations } = match survey {
            Ok(survey) => survey,
            Err(error) => {
                let source = io::Error::other(error.to_string());
                return Err(VerifyError::System { what: "read the checkpoints", source });
            }
        };
        let mut finished = false;
        if let Some(reason) = current_damage {
            self.problem("checkpoints/CURRENT", None, reason, None);
        }
        for it in generations {
            let dir = format!("checkpoints/{:08}", it.generation);
            // A running node removes those that it needs no more.
            if self.found.running && !self.data_dir.join(&dir).exists() {
                continue;
            }
            let (state, meta) = match it.state {
                GenerationState::Whole(meta) => ("whole", Some(meta)),
                GenerationState::Unfinished => ("unfinished", None),
                GenerationState::Damaged(reason) => {
                    let remedy = format!(
                        "a start passes it over if an older one and the journal serve; tollgate repair \
                         --drop-checkpoint {} moves it aside",
                        it.generation
                    );
                    self.problem(&dir, None, reason, Some(remedy));
                    ("damaged", None)
                }
            };
            finished |= meta.is_some();
            self.found.checkpoints.push(CheckpointRow {
                generation: it.generation,
                current: current == Some(it.generation),
                state: state.to_owned(),
                begin: meta.map(|meta| meta.begin.0),
                term: meta.map(|meta| meta.term),
                engine_time_ms: meta.map(|meta| meta.engine_time.0),
            });
        }
        Ok(finished)
    }

    fn note_finished(&mut self, finished: bool) {
        if !finished && self.found.checkpoints.is_empty() {
            self.found.notes.push("There is no checkpoint yet: the journal has everything".to_owned());
        }
    }

    fn secret(&mut self) {
        if let Err(error) = secret::look(self.data_dir) {
            self.problem("node-secret", None, error.to_string(), None);
        }
    }

    fn shelves(&mut self) -> io::Result<()> {
        let shelves = data_dir::shelves(self.data_dir);
        for name in data_dir::shelf_names(self.data_dir)? {
            match survey_shelf(&shelves.join(&name), &self.scratch.join("shelf")) {
                Ok(survey) => {
                    let (position, rows) = (survey.position.0, survey.rows);
                    self.found.shelves.push(ShelfRow { name, position, rows });
                }
                Err(error) => {
                    let remedy =
                        "take it from a backup, or move it away: it begins anew, without what it held"
                            .to_owned();
                    self.problem(&format!("shelves/{name}"), None, error.to_string(), Some(remedy));
                }
            }
        }
        Ok(())
    }

    /// Puts checkpoint and journal together, as a start would.
    fn state(&mut self, clock: &Clock) {
        match self.put_together(clock) {
            Ok((state, node_id)) => {
                self.ids(node_id, UnixMillis(state.engine_time_ms));
                self.found.state = Some(state);
            }
            Err(error) => self.not_put_together(&error),
        }
    }

    fn put_together(&self, clock: &Clock) -> Result<(StateRow, NodeId), RecoveryError> {
        let checkpoint =
            open_latest_in(&data_dir::checkpoints(self.data_dir), &self.scratch.join("checkpoint"))?;
        let disk = Box::new(ReadOnlyDirectory::new(&data_dir::journal(self.data_dir)));
        let replayed = recovery::replay(checkpoint, disk, clock())?;
        let (found, checkpoint) = (replayed.found().clone(), replayed.checkpoint());
        let engine = replayed.finish()?;
        let catalog = engine.catalog();
        let state = StateRow {
            checkpoint: checkpoint.map(|(generation, _)| generation),
            entries: found.entries,
            first: found.first.0,
            last: found.last.0,
            next_term: found.term,
            catalog_version: catalog.version,
            services: catalog.services.len(),
            applications: catalog.applications.len(),
            open_reservations: engine.open_reservations(),
            engine_time_ms: engine.now(UnixMillis(0)).0,
        };
        Ok((state, engine.journal().node_id()))
    }

    /// Reads every block of the slices of ids.
    fn ids(&mut self, node_id: NodeId, now: UnixMillis) {
        let path = data_dir::ids(self.data_dir);
        if !path.exists() {
            return;
        }
        let opened = Slices::open_on(Arc::new(ReadOnlyDirectory::new(&path)), node_id, now);
        match opened.and_then(|(slices, old)| Ok((slices.verify()?, slices.covered(), old))) {
            Ok((ids, covered, old)) => {
                self.found.notes.push(format!("{ids} idempotency ids are kept, up to sequence {covered}"));
                let old = old.iter().map(|error| format!("{error}; its ids are forgotten by now"));
                self.found.notes.extend(old);
            }
            Err(error) => self.problem("ids", None, error.to_string(), None),
        }
    }

    fn not_put_together(&mut self, error: &RecoveryError) {
        match error {
            RecoveryError::Journal(JournalError::Damaged { file, offset, reason }) => {
                let path = format!("journal/{file}");
                // The files' own damage is known by now; what is new lies between them.
                let known = |problem: &Problem| problem.file == path && problem.offset == Some(*offset);
                if !self.found.problems.iter().any(known) {
                    let remedy = format!("tollgate repair --truncate-at {file}:{offset}");
                    self.problem(&path, Some(*offset), reason.clone(), Some(remedy));
                }
            }
            // Said of the file already.
            RecoveryError::Journal(JournalError::Entry { .. } | JournalError::Format { .. })
                if !self.found.problems.is_empty() => {}
            error => self.problem("", None, format!("the state cannot be put together: {error}"), None),
        }
    }

    fn problem(&mut self, file: &str, offset: Option<u64>, reason: String, remedy: Option<String>) {
        self.found.problems.push(Problem { file: file.to_owned(), offset, reason, remedy });
    }
}
