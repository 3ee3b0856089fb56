//! Commands: one change of the catalog, ordered among all usage.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::companion::{Companion, Parts, Unread};
use super::directory::Leads;
use super::handle::{Passes, edition, renames};
use super::{Engine, NotDurable, Ticket};
use crate::counter::{Facts, Note};
use crate::journal::catalog as codec;
use crate::journal::entry::{Command, Kind};
use crate::journal::{ENTRY_BYTES_MAX, Sequence};
use crate::model::catalog::{Catalog, Change};
use crate::model::draft::{CommandError, Draft};
use crate::model::id::Subject;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It breaks a rule of the catalog. Nothing was changed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It is more than one journal entry can hold. Nothing was changed.
    #[error("the command changes too much at once: {bytes} bytes, at most {ENTRY_BYTES_MAX}")]
    TooLarge {
        /// What it would take.
        bytes: usize,
    },
    /// The disk takes no writes.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
    /// What follows from it for a plugin cannot be seen at present. Nothing was changed; it goes well once the disk does.
    #[error(transparent)]
    Unread(#[from] Unread),
}

impl ChangeError {
    /// Whether the same command may go well later, without anything having been done about it by whoever gives it.
    #[must_use]
    pub fn is_for_now(&self) -> bool {
        matches!(self, ChangeError::NotDurable(_) | ChangeError::Unread(_))
    }
}

/// The entry of a command, if it fits one.
fn encode(changes: &[Change], next_id: u64, version: u64, parts: &Parts) -> Result<Command, ChangeError> {
    let mut core = Vec::new();
    codec::encode(changes, next_id, &mut core);
    let parts: Vec<_> = parts.iter().map(|(name, rows)| ((*name).to_owned(), rows.encode())).collect();
    let bytes = core.len() + parts.iter().map(|(name, part)| name.len() + part.len()).sum::<usize>();
    // Varints and lengths around them are a few dozen bytes.
    if bytes + 1024 > ENTRY_BYTES_MAX {
        return Err(ChangeError::TooLarge { bytes });
    }
    Ok(Command { version, core, parts })
}

/// The next catalog and what else changes with it.
struct Next {
    catalog: Catalog,
    leads: Leads,
    vacated: Vec<Subject>,
    notes: Vec<Note>,
}

impl Engine {
    /// Carries out one command: `build` drafts it, and all of it binds every request that comes after this
    /// returned. Answer the one who asked for it only when [`Engine::durable`] says so for the ticket.
    ///
    /// A draft without changes is no command; its ticket stands for those before it, on which it may be built.
    ///
    /// # Errors
    /// What `build` says, or that the command is too large, or that the disk takes no writes, or that it cannot be seen what follows from the
    /// command. Nothing changed.
    pub fn change<R>(
        &self,
        build: impl FnOnce(&mut Draft<'_>) -> Result<R, CommandError>,
    ) -> Result<(R, Ticket), ChangeError> {
        self.command(|draft, _| build(draft))
    }

    /// As [`Engine::change`], with the parts of plugins: one command carries the changes of the catalog and all parts, or
    /// nothing of them happens. See [`companion`](super::companion).
    ///
    /// # Errors
    /// As there.
    pub fn command<R>(
        &self,
        build: impl FnOnce(&mut Draft<'_>, &mut Parts) -> Result<R, CommandError>,
    ) -> Result<(R, Ticket), ChangeError> {
        if self.is_stalled() {
            return Err(ChangeError::NotDurable(NotDurable));
        }
        let _one_at_a_time = self.commands.lock();
        let current = self.catalog.load_full();
        let mut draft = Draft::new(Catalog::clone(&current), self);
        let mut parts = Parts::new();
        let result = build(&mut draft, &mut parts)?;
        Ok((result, self.carry_out(&current, draft, parts)?))
    }

    /// As [`Engine::command`], for one that takes long to build: it is built over `current`, of some moment before, while others go on. Nothing,
    /// if there was one meanwhile: whatever was built, and whatever was said against it, may be wrong then, and nothing changed.
    ///
    /// # Errors
    /// As there.
    pub fn command_ahead<R>(
        &self,
        current: &Catalog,
        build: impl FnOnce(&mut Draft<'_>, &mut Parts) -> Result<R, CommandError>,
    ) -> Result<Option<(R, Ticket)>, ChangeError> {
        if self.is_stalled() {
            return Err(ChangeError::NotDurable(NotDurable));
        }
        // Keys are looked up as they are now: they are others than the catalog's only if there is another catalog at the end.
        let mut draft = Draft::new(current.clone(), self);
        let mut parts = Parts::new();
        let built = build(&mut draft, &mut parts);
        let _one_at_a_time = self.commands.lock();
        // The disk may have failed in the meantime.
        if self.is_stalled() {
            return Err(ChangeError::NotDurable(NotDurable));
        }
        if self.catalog.load().version != current.version {
            return Ok(None);
        }
        Ok(Some((built?, self.carry_out(current, draft, parts)?)))
    }

    /// Carries out what was drafted over the catalog of now. The lock `commands` is held.
    fn carry_out(
        &self,
        current: &Catalog,
        draft: Draft<'_>,
        mut parts: Parts,
    ) -> Result<Ticket, ChangeError> {
        let companion = self.companion.get().and_then(Weak::upgrade);
        if let Some(companion) = &companion {
            companion.accompany(current, draft.catalog(), draft.changes(), &mut parts)?;
        }
        parts.retain(|_, rows| !rows.is_empty());
        if draft.is_empty() && parts.is_empty() {
            return Ok(self.ticket());
        }
        let (changes, next_id) = draft.into_changes();
        let version = current.version + 1;
        let command = encode(&changes, next_id, version, &parts)?;
        let (ticket, at) = self.publish(current, changes, next_id, &command);
        if let Some(companion) = companion {
            companion.applied(at, version, &parts);
        }
        Ok(ticket)
    }

    /// Runs `during` while no command is under way.
    pub fn between_commands<R>(&self, during: impl FnOnce() -> R) -> R {
        let _none = self.commands.lock();
        during()
    }

    /// Shows all commands from now on to `companion`, for as long as somebody has it. Once, before the first command.
    pub fn accompanied_by(&self, companion: Weak<dyn Companion>) {
        let first = self.companion.set(companion).is_ok();
        debug_assert!(first, "there is one companion, which knows all plugins");
    }

    /// Puts a command into effect and into the journal: the ticket that stands for it, and its entry.
    fn publish(
        &self,
        current: &Catalog,
        mut changes: Vec<Change>,
        next_id: u64,
        command: &Command,
    ) -> (Ticket, Sequence) {
        let version = command.version;
        let mut sequencer = self.sequencer.lock();
        let next = self.next(current, &mut changes, version, next_id, &mut sequencer.passes);
        let Next { catalog, leads, vacated, notes } = next;
        let cut = self.cut_and_publish(&mut sequencer, version, notes, || {
            // In this order, so that no decision sees a new catalog with old keys: a key that was taken away is
            // gone before the catalog that goes without it. The other way round a decision notices; see `publishing`.
            self.publishing.fetch_add(1, Ordering::AcqRel);
            self.directory.put(leads);
            self.catalog.store(Arc::new(catalog));
            self.publishing.fetch_add(1, Ordering::AcqRel);
        });
        // None of it was decided under the new catalog: no shard took that before its cut.
        self.append_usage(&cut);
        let appended = self.journal.append(Kind::Command, |out| command.encode(out));
        debug_assert!(appended.is_ok(), "the length was checked");
        let at = appended.unwrap_or_else(|_| self.journal.last_appended());
        // Their usage is in the journal, and no decision can reach them any more.
        for subject in vacated {
            self.counters.vacate(subject);
        }
        let ticket = Ticket(cut.number + 1);
        sequencer.recycle(cut);
        (ticket, at)
    }

    /// Applies `changes` to a copy of `current`, giving new applications their places.
    fn next(
        &self,
        current: &Catalog,
        changes: &mut [Change],
        version: u64,
        next_id: u64,
        passes: &mut Passes,
    ) -> Next {
        let mut next = Next {
            catalog: Catalog::clone(current),
            leads: Leads::default(),
            vacated: Vec::new(),
            notes: Vec::new(),
        };
        next.catalog.version = version;
        for change in changes {
            self.apply(&mut next, change, passes);
        }
        next.catalog.next_id = next_id;
        next
    }

    fn apply(&self, next: &mut Next, change: &mut Change, passes: &mut Passes) {
        match change {
            Change::PutApplication(application) => {
                let before = next.catalog.applications.get(application.id.0);
                application.subject =
                    before.map_or_else(|| self.counters.occupy(application.id), |it| it.subject);
                let is_known_otherwise = before.is_none_or(|before| renames(before, application));
                if is_known_otherwise {
                    // A key that leads here from now on must not meet it under the catalog before.
                    self.counters.announce(application.subject);
                }
                let pass = is_known_otherwise.then(|| passes.draw());
                next.notes.push(Note { subject: application.subject, facts: Facts::of(application), pass });
            }
            Change::DeleteApplication(id) => {
                if let Some(before) = next.catalog.applications.get(id.0) {
                    let (subject, facts) = (before.subject, Facts::of(before));
                    next.vacated.push(subject);
                    next.notes.push(Note { subject, facts, pass: Some(0) });
                }
            }
            Change::PutService(service) => {
                service.edition = edition(next.catalog.services.get(service.id.0).map(|it| &**it), service);
            }
            _ => {}
        }
        let Next { catalog, leads, .. } = next;
        self.directory.leads_of(leads, catalog, change, false);
        catalog.apply(change);
        self.directory.leads_of(leads, catalog, change, true);
    }
}
