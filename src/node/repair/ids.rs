//! What a cut of the journal does to the idempotency ids on disk.

use std::path::Path;

use serde::Serialize;

use super::super::data_dir;
use super::carry_out::{put_aside, sync_dir};
use super::{RepairError, system};
use crate::journal::{CutIds, Directory, Fate, ReadOnlyDirectory, Shortening};
use crate::model::time::UnixMillis;
use crate::store::ids::{Beyond, IdsError, visit_slice};

/// What goes of the idempotency ids: those of entries that go, and no other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IdsPlan {
    /// Slices that go as a whole, in the order in which they do.
    pub slices: Vec<String>,
    /// The slice that has ids of entries that stay, too: it is written anew.
    pub rewritten: Option<String>,
    /// How many ids stay in that.
    pub stay: u64,
    /// How many of its ids go, as the journal says.
    pub go: u64,
    /// How many of its ids go because of the time at which they were counted: no entry names them that can be read.
    pub go_by_time: u64,
    /// That time, in milliseconds since 1970.
    pub since_ms: u64,
}

/// A plan, and what it was made of.
pub(super) struct Cut {
    pub(super) plan: IdsPlan,
    beyond: Beyond,
    ids: CutIds,
}

impl Cut {
    /// Looks at the slices of `data_dir`, whose journal is to be shortened; `None` if all of them end before that. `time` is
    /// that of the state which is left.
    pub(super) fn plan(
        data_dir: &Path,
        shortening: &Shortening,
        time: UnixMillis,
    ) -> Result<Option<Cut>, RepairError> {
        let disk = ReadOnlyDirectory::new(&data_dir::ids(data_dir));
        let beyond = Beyond::find(&disk, shortening.from)?;
        if beyond.is_nothing() {
            return Ok(None);
        }
        let ids = shortening.ids(&ReadOnlyDirectory::new(&data_dir::journal(data_dir)), time)?;
        let Beyond { whole: slices, across: rewritten } = beyond.clone();
        let since_ms = ids.last.0;
        let mut plan = IdsPlan { slices, rewritten, stay: 0, go: 0, go_by_time: 0, since_ms };
        if let Some(name) = &plan.rewritten {
            let (mut stay, mut go, mut go_by_time) = (0, 0, 0);
            visit_slice(&disk, name, |known| match ids.fate(known) {
                Fate::Stays => stay += 1,
                Fate::Goes => go += 1,
                Fate::GoesByTime => go_by_time += 1,
            })?;
            (plan.stay, plan.go, plan.go_by_time) = (stay, go, go_by_time);
        }
        Ok(Some(Cut { plan, beyond, ids }))
    }

    /// Does it: what goes is linked to `aside` before.
    pub(super) fn carry_out(
        &self,
        path: &Path,
        shortening: &Shortening,
        aside: &Path,
    ) -> Result<(), RepairError> {
        let moving = "move slices of ids aside";
        for name in self.beyond.whole.iter().chain(&self.beyond.across) {
            put_aside(&path.join(name), &aside.join(name)).map_err(system(moving))?;
        }
        sync_dir(aside).map_err(system(moving))?;
        let disk = Directory::open(path).map_err(system(moving))?;
        Ok(self.beyond.end(&disk, shortening.from, |known| self.ids.fate(known) == Fate::Stays)?)
    }
}

impl From<IdsError> for RepairError {
    fn from(error: IdsError) -> Self {
        RepairError::Ids(error)
    }
}
