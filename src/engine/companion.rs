//! What goes with a command beside the change of the catalog: the parts of plugins.
//!
//! # One command
//! 1. Commands come one at a time: the lock `commands` is held from here to the end.
//! 2. The draft is built, and with it the rows of whoever gives the command. One that takes long is built before 1, over the catalog and the
//!    records of a moment ([`Engine::command_ahead`](super::Engine::command_ahead)): if that is past when the lock is held, it is built again.
//! 3. The [`Companion`] is shown the draft's changes and adds what follows from them for other plugins: the
//!    details of an application that is deleted go with it, whoever deletes it. If it cannot see what it would have to change, the command is
//!    refused ([`Unread`]): a command without what follows from it would be half of one, and what it adds is whole records, so that
//!    made from what was there once it would undo what was changed since.
//! 4. Under the sequencer the catalog is published, all shards are cut, and *one* entry is appended: the changes and all
//!    parts. So the journal has all of a command or nothing.
//! 5. The companion applies the parts to what it keeps ([`Companion::applied`]), and then the lock is let go. Whoever is answered after
//!    that finds them applied.
//!
//! Nothing of this is waited for by a decision, and step 5 by no flush.

use std::collections::BTreeMap;

use crate::journal::Sequence;
use crate::journal::rows::Rows;
use crate::model::catalog::{Catalog, Change};

/// What a plugin keeps cannot be read at present, and something would follow from the command for it. It goes well once the disk does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what {plugin} keeps beside the catalog cannot be read at present")]
pub struct Unread {
    /// The name of the plugin.
    pub plugin: &'static str,
}

/// The rows of a command, by plugin.
pub type Parts = BTreeMap<&'static str, Rows>;

/// Keeps what plugins record beside the catalog.
pub trait Companion: Send + Sync {
    /// Adds to `parts` what follows from `changes`, which lead from `before` to `after`. Comes with each command, one at a time.
    ///
    /// # Errors
    /// It cannot be seen what follows; then the command is not carried out.
    fn accompany(
        &self,
        before: &Catalog,
        after: &Catalog,
        changes: &[Change],
        parts: &mut Parts,
    ) -> Result<(), Unread>;

    /// The command that leads to catalog `version` is in the journal as entry `at`, though not on disk yet; its parts are to be
    /// applied.
    fn applied(&self, at: Sequence, version: u64, parts: &Parts);
}
