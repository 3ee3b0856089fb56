//! The host: what plugins live in.
//!
//! # What a plugin has
//! | It has | By |
//! |---|---|
//! | a name | [`Plugin::name`]: of its shelf, of its parts in the journal, of its telemetry. Never changed, never given to another |
//! | routes | [`Plugin::owns`], [`Plugin::answer`]: a thread that may block calls it, of which the host has a bounded number |
//! | records | its [`Desk`]: looked at as one moment has them together with the catalog, changed by commands |
//! | a say in commands of others | [`Plugin::accompany`]: what follows from them for its records |
//! | the journal | a [`follower`](super::follower) with a shelf of its own, for what is derived and not decided |
//! | counters | images, by the engine ([`Desk::engine`]): read, never written |
//!
//! # What it cannot do
//! It is never called by a decision or a flush. A call that panics is answered 500, a say that panics is left out of the
//! command, both are counted (`tollgate_plugin_panics_total`) and logged; nothing of a command that panicked while it was built was put into effect.
//! One that is slow keeps its own callers waiting, and while it builds a command other commands, unless it builds it [ahead](Desk::command_ahead).
//!
//! While its shelf fails, its own calls are refused (see [`keeper`](super::keeper)). Commands of others go on if it has nothing to say to them, or
//! says it without looking: rows put and deleted whatever was there. One for which it would have to look at its records is refused
//! ([`ChangeError::Unread`]), as there is no telling what follows from it; whoever gave it gives it again. It is so for a say that meets a disk that
//! cannot be read, too. A say that meets a row that is no record is as one that panics: no waiting would make it one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use super::call::{Answer, Call};
use super::keeper::{KeepError, Keeper};
use super::records::Records;
use crate::engine::companion::{Companion, Parts, Unread};
use crate::engine::{ChangeError, Engine, Ticket};
use crate::journal::Sequence;
use crate::journal::rows::Rows;
use crate::model::catalog::{Catalog, Change};
use crate::model::draft::Draft;
use crate::store::shelf::{Shelf, ShelfError};

/// A plugin of a node.
pub trait Plugin: Send + Sync {
    /// Its name: lower-case letters and dashes.
    fn name(&self) -> &'static str;

    /// Whether a path, as it was sent (not decoded), is its own.
    fn owns(&self, path: &str) -> bool;

    /// The tenant whose credentials a call has, so that calls of each are answered in turn. What it says is believed: it is not what the call
    /// claims. May block, for no longer than looking something up takes.
    fn tenant_of(&self, call: &Call) -> Option<u64> {
        let _ = call;
        None
    }

    /// Answers a call of a path it owns. May block.
    fn answer(&self, call: &Call) -> Answer;

    /// The most bytes that the body of a call of such a path may have, where that is another than usual.
    fn body_bytes_max(&self, path: &str) -> Option<usize> {
        let _ = path;
        None
    }

    /// Records what follows from a command's changes, of whoever gave it, before it is journalled.
    ///
    /// # Errors
    /// The shelf cannot be read; then the command is refused, or, if what was read is damaged, nothing follows.
    fn accompany(&self, accompanied: &Accompanied<'_>, records: &mut Records<'_>) -> Result<(), ShelfError> {
        let _ = (accompanied, records);
        Ok(())
    }
}

/// A command that is about to be journalled.
#[derive(Clone, Copy)]
pub struct Accompanied<'c> {
    /// The catalog before it.
    pub before: &'c Catalog,
    /// The catalog after it.
    pub after: &'c Catalog,
    /// What leads from one to the other.
    pub changes: &'c [Change],
    /// The plugin that is shown it gave it itself.
    pub is_own: bool,
}

/// Catalog and records as they are at one moment.
pub struct View<'s> {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The records.
    pub records: Records<'s>,
}

/// What a plugin works with.
pub struct Desk {
    name: &'static str,
    engine: Arc<Engine>,
    keeper: Keeper,
}

/// Why something could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The shelf cannot be read.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The shelf lacks what the journal has; it is brought there as soon as the disk lets it.
    #[error("the records are not up to date: the disk took no writes")]
    Behind,
}

/// Why a command was not carried out. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DeskError<E> {
    /// Whoever built it said so.
    #[error("refused")]
    Refused(E),
    /// The engine said so.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The records could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
}

impl<E> From<ShelfError> for DeskError<E> {
    fn from(error: ShelfError) -> Self {
        DeskError::Look(error.into())
    }
}

/// How often a moment is tried for before commands are held for it.
const TRIES: u32 = 16;

/// How often a command is built while others go on.
const TRIES_AHEAD: u32 = 3;

impl Desk {
    /// Opens a plugin's records, as far as the journal goes. Before the first command.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn open(name: &'static str, engine: &Arc<Engine>, shelf: Shelf) -> Result<Arc<Desk>, KeepError> {
        let keeper = Keeper::open(name, Arc::clone(engine), shelf)?;
        Ok(Arc::new(Desk { name, engine: Arc::clone(engine), keeper }))
    }

    /// The engine, for counters and time.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What keeps the records.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Catalog and records of one moment: no command lies between.
    ///
    /// # Errors
    /// They cannot be read at present.
    pub fn look(&self) -> Result<View<'_>, LookError> {
        for _ in 0..TRIES {
            // Catching up may take long, and nothing is gained by waiting for it.
            if self.keeper.is_behind() {
                return Err(LookError::Behind);
            }
            if let Some(moment) = self.keeper.moment() {
                let view = self.view()?;
                if self.keeper.moment() == Some(moment) && view.catalog.version == moment.1 {
                    return Ok(view);
                }
            }
            std::thread::yield_now();
        }
        self.engine.between_commands(|| self.view())
    }

    fn view(&self) -> Result<View<'_>, LookError> {
        if self.keeper.is_behind() {
            return Err(LookError::Behind);
        }
        let records = Records::over(self.keeper.shelf().reading()?, Rows::default());
        Ok(View { catalog: self.engine.catalog(), records })
    }

    /// Gives a command: `build` drafts it, catalog and records. All of it binds every call that comes after this returned, or
    /// none of it. Answer the one who asked for it only when [`Engine::durable`] says so for the ticket.
    ///
    /// # Errors
    /// What `build` says, or why the command cannot be carried out. Nothing changed.
    pub fn command<R, E>(
        &self,
        build: impl FnOnce(&mut Draft<'_>, &mut Records<'_>) -> Result<R, E>,
    ) -> Result<(R, Ticket), DeskError<E>> {
        self.command_with(|records, draft, parts| self.part(records, draft, parts, build))
    }

    /// As [`Desk::command`], with a part for a plugin that takes it from the journal when it comes by: `build` says its rows.
    ///
    /// # Errors
    /// As there.
    pub fn command_beside<R, E>(
        &self,
        plugin: &'static str,
        build: impl FnOnce(&mut Draft<'_>, &mut Records<'_>, &mut Rows) -> Result<R, E>,
    ) -> Result<(R, Ticket), DeskError<E>> {
        self.command_with(|records, draft, parts| {
            let mut beside = Rows::default();
            let result =
                self.part(records, draft, parts, |draft, records| build(draft, records, &mut beside))?;
            parts.insert(plugin, beside);
            Ok(result)
        })
    }

    /// Gives a command that is built while commands are held.
    fn command_with<R, E>(
        &self,
        build: impl FnOnce(Records<'_>, &mut Draft<'_>, &mut Parts) -> Result<R, DeskError<E>>,
    ) -> Result<(R, Ticket), DeskError<E>> {
        let built = self.engine.command(|draft, parts| {
            if self.keeper.is_behind() {
                return Ok(Err(DeskError::Look(LookError::Behind)));
            }
            let reading = match self.keeper.shelf().reading() {
                Ok(reading) => reading,
                Err(error) => return Ok(Err(error.into())),
            };
            Ok(build(Records::over(reading, Rows::default()), draft, parts))
        });
        let (result, ticket) = built?;
        Ok((result?, ticket))
    }

    /// As [`Desk::command`], for one that takes long to build: others go on meanwhile, and if one of them did, it is built again. So that it comes
    /// to an end, the last time holds them up.
    ///
    /// # Errors
    /// As there.
    pub fn command_ahead<R, E>(
        &self,
        mut build: impl FnMut(&mut Draft<'_>, &mut Records<'_>) -> Result<R, E>,
    ) -> Result<(R, Ticket), DeskError<E>> {
        for _ in 0..TRIES_AHEAD {
            let View { catalog, records } = self.look()?;
            let built = self
                .engine
                .command_ahead(&catalog, |draft, parts| Ok(self.part(records, draft, parts, &mut build)));
            if let Some((result, ticket)) = built? {
                return Ok((result?, ticket));
            }
        }
        self.command(build)
    }

    /// Builds a command's draft, and with it the plugin's rows.
    fn part<R, E>(
        &self,
        mut records: Records<'_>,
        draft: &mut Draft<'_>,
        parts: &mut Parts,
        build: impl FnOnce(&mut Draft<'_>, &mut Records<'_>) -> Result<R, E>,
    ) -> Result<R, DeskError<E>> {
        let result = draft.attempt(|draft| build(draft, &mut records)).map_err(DeskError::Refused)?;
        parts.insert(self.name, records.into_rows());
        Ok(result)
    }
}

/// A plugin and what it works with.
struct Hosted {
    plugin: Arc<dyn Plugin>,
    desk: Arc<Desk>,
    panics: metrics::Counter,
    errors: metrics::Counter,
}

/// All plugins of a node.
#[derive(Default)]
pub struct Host {
    hosted: Vec<Hosted>,
}

/// The host at work.
pub struct Hosting {
    host: Arc<Host>,
    threads: Vec<JoinHandle<()>>,
}

impl Host {
    /// Takes a plugin in, with the desk that it was given.
    #[must_use]
    pub fn with(mut self, plugin: Arc<dyn Plugin>, desk: Arc<Desk>) -> Host {
        metrics::describe_counter!(
            "tollgate_plugin_panics_total",
            "Calls of a plugin, or its parts of commands, that ended in a panic"
        );
        metrics::describe_counter!(
            "tollgate_plugin_errors_total",
            "Failures to keep a plugin's shelf: commands that could not be applied, or not settled, at first, or that were refused or left without the plugin's part as it could not be read"
        );
        let panics = metrics::counter!("tollgate_plugin_panics_total", "plugin" => plugin.name());
        let errors = metrics::counter!("tollgate_plugin_errors_total", "plugin" => plugin.name());
        self.hosted.push(Hosted { plugin, desk, panics, errors });
        self
    }

    /// Accompanies all commands of `engine` from now on, and keeps the shelves.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, engine: &Engine) -> std::io::Result<Hosting> {
        let host = Arc::new(self);
        let companion: Weak<dyn Companion> = Arc::<Host>::downgrade(&host);
        engine.accompanied_by(companion);
        let thread = |hosted: &Hosted| {
            let desk = Arc::clone(&hosted.desk);
            std::thread::Builder::new().name(hosted.plugin.name().into()).spawn(move || desk.keeper.run())
        };
        let threads = host.hosted.iter().map(thread).collect::<Result<_, _>>()?;
        Ok(Hosting { host, threads })
    }

    /// Whether a path belongs to a plugin.
    #[must_use]
    pub fn owns(&self, path: &str) -> bool {
        self.owner(path).is_some()
    }

    /// The tenant whose credentials a call has, if a plugin owns its path and knows.
    #[must_use]
    pub fn tenant_of(&self, call: &Call) -> Option<u64> {
        let hosted = self.owner(&call.path)?;
        // One that panics here does so when it answers, too, and there it is told.
        catch_unwind(AssertUnwindSafe(|| hosted.plugin.tenant_of(call))).ok().flatten()
    }

    /// The most bytes that the body of a call of a path may have, where its plugin says so.
    #[must_use]
    pub fn body_bytes_max(&self, path: &str) -> Option<usize> {
        self.owner(path)?.plugin.body_bytes_max(path)
    }

    /// Answers a call, unless no plugin owns its path. May block.
    #[must_use]
    pub fn answer(&self, call: &Call) -> Option<Answer> {
        let hosted = self.owner(&call.path)?;
        let answered = catch_unwind(AssertUnwindSafe(|| hosted.plugin.answer(call)));
        Some(answered.unwrap_or_else(|_| {
            hosted.panicked("a call");
            Answer::new(500, Some("text/plain; charset=utf-8"), "the call failed inside the node\n")
        }))
    }

    /// What of the journal must be kept for the plugins.
    #[must_use]
    pub fn needs(&self) -> Sequence {
        self.hosted.iter().map(|hosted| hosted.desk.keeper.needs()).min().unwrap_or(Sequence(u64::MAX))
    }

    /// Copies the shelves, as they are at one moment each, to new files that `place` names.
    ///
    /// # Errors
    /// A shelf cannot be read, or a copy not be made.
    pub fn copy_to(&self, place: impl Fn(&str) -> std::path::PathBuf) -> Result<(), ShelfError> {
        let copy = |hosted: &Hosted| hosted.desk.keeper.shelf().copy_to(&place(hosted.plugin.name()));
        self.hosted.iter().try_for_each(copy)
    }

    fn owner(&self, path: &str) -> Option<&Hosted> {
        self.hosted.iter().find(|hosted| hosted.plugin.owns(path))
    }
}

impl Hosted {
    fn panicked(&self, what: &str) {
        self.panics.increment(1);
        tracing::error!(plugin = self.plugin.name(), "{what} panicked: this is a defect of the plugin");
    }

    /// Adds to a command what follows from it for this plugin.
    fn accompany(&self, accompanied: &Accompanied<'_>, parts: &mut Parts) -> Result<(), Unread> {
        let name = self.plugin.name();
        let own = parts.get(name).cloned();
        let accompanied = Accompanied { is_own: own.is_some(), ..*accompanied };
        let mut records = self.records(own.unwrap_or_default());
        let said = catch_unwind(AssertUnwindSafe(|| self.plugin.accompany(&accompanied, &mut records)));
        match said {
            Ok(Ok(())) => drop(parts.insert(name, records.into_rows())),
            Ok(Err(error)) => {
                self.errors.increment(1);
                if error.is_of_disk() {
                    // While it is behind the keeper says so, and not with each command.
                    if !self.desk.keeper.is_behind() {
                        tracing::warn!(plugin = name, %error, "a command was refused");
                    }
                    return Err(Unread { plugin: name });
                }
                tracing::error!(plugin = name, %error, "nothing was recorded with a command");
            }
            Err(_) => self.panicked("a part of a command"),
        }
        Ok(())
    }

    /// The records as they are, with `rows` over them. Commands are held, so that they stay as they are.
    fn records(&self, rows: Rows) -> Records<'_> {
        let keeper = &self.desk.keeper;
        let reading = if keeper.is_behind() { None } else { keeper.shelf().reading().ok() };
        match reading {
            Some(reading) => Records::over(reading, rows),
            None => Records::unread(keeper.shelf(), rows),
        }
    }
}

impl Companion for Host {
    fn accompany(
        &self,
        before: &Catalog,
        after: &Catalog,
        changes: &[Change],
        parts: &mut Parts,
    ) -> Result<(), Unread> {
        let accompanied = Accompanied { before, after, changes, is_own: false };
        self.hosted.iter().try_for_each(|hosted| hosted.accompany(&accompanied, parts))
    }

    fn applied(&self, _: Sequence, version: u64, parts: &Parts) {
        for hosted in &self.hosted {
            hosted.desk.keeper.applied(version, parts.get(hosted.plugin.name()));
        }
    }
}

impl Hosting {
    /// The plugins.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Ends it. `is_flushed`: the journal's last flush went well, and the flusher has ended; then what was applied is
    /// settled, and else must not be, as the journal has lost some of it.
    pub fn stop(mut self, is_flushed: bool) {
        self.end();
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("a plugin's thread panicked");
            }
        }
        for hosted in &self.host.hosted {
            if !is_flushed {
                // Closing a shelf puts all on disk that was written to it.
                std::mem::forget(Arc::clone(&hosted.desk));
            } else if let Err(error) = hosted.desk.keeper.settle() {
                tracing::warn!(plugin = hosted.plugin.name(), %error, "the next start takes a moment longer");
            }
        }
    }
}

impl Hosting {
    fn end(&self) {
        self.host.hosted.iter().for_each(|hosted| hosted.desk.keeper.stop());
    }
}

impl Drop for Hosting {
    /// The threads end, so that a node that did not come to be lets go of its shelves.
    fn drop(&mut self) {
        self.end();
    }
}
