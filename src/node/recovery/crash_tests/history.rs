//! The states that a run went through, and which of them may come back after a power loss.

use std::collections::BTreeSet;

use super::run::BEGIN_MS;
use crate::counter::snapshot::{CellImage, SubjectImage};
use crate::engine::Engine;
use crate::model::id::ApplicationId;
use crate::model::time::{Period, UnixMillis, Windows};

/// Later than anything in a workload: states are compared as they would be then.
const END_MS: u64 = BEGIN_MS + 86_400_000;

/// What can be asked of an engine.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct State {
    catalog: Vec<u8>,
    counters: Vec<SubjectImage>,
}

impl State {
    pub(super) fn of(engine: &Engine) -> State {
        let catalog = engine.catalog();
        let changes: Vec<_> = catalog.changes().collect();
        let mut records = catalog.version.to_le_bytes().to_vec();
        crate::journal::catalog::encode(&changes, catalog.next_id, &mut records);
        let image = |id| engine.counters_of(ApplicationId(id), UnixMillis(0)).map(at_the_end);
        let counters = catalog.applications.iter().filter_map(|(_, application)| image(application.id.0));
        State { catalog: records, counters: counters.collect() }
    }
}

/// What the counters will be at the end, if nothing comes: windows close by themselves.
fn at_the_end(mut image: SubjectImage) -> SubjectImage {
    let end = UnixMillis(END_MS).minute();
    for CellImage { minute, counts, .. } in &mut image.cells {
        for period in Period::ALL {
            let has_closed = Windows::at(*minute).start(period) != Windows::at(end).start(period);
            if has_closed && period != Period::Eternity {
                counts[period as usize] = 0;
            }
        }
        *minute = end;
    }
    image
}

/// All states of a run so far.
pub(super) struct History {
    pub(super) states: Vec<State>,
    /// Those that a flush may have ended with.
    pub(super) edges: BTreeSet<usize>,
    /// After how many steps of the disk which state was acknowledged.
    pub(super) acknowledged: Vec<(u64, usize)>,
    /// After how many steps of the disk which checkpoint was finished.
    pub(super) finished: Vec<(u64, Option<u64>)>,
}

impl History {
    pub(super) fn new(state: State) -> History {
        History {
            states: vec![state],
            edges: BTreeSet::from([0]),
            acknowledged: vec![(0, 0)],
            finished: Vec::new(),
        }
    }

    fn acknowledged_by(&self, steps: u64) -> usize {
        let before = self.acknowledged.iter().filter(|(at, _)| *at <= steps);
        before.map(|(_, index)| *index).max().unwrap_or(0)
    }

    /// The newest checkpoint that was finished by then.
    pub(super) fn finished_by(&self, steps: u64) -> Option<u64> {
        self.finished.iter().filter(|(at, _)| *at <= steps).filter_map(|(_, generation)| *generation).max()
    }

    /// Checks what was opened after a power loss at that step.
    pub(super) fn check(&self, found: &State, steps: u64, what: &str) {
        let least = self.acknowledged_by(steps);
        let fits = self.edges.range(least..).any(|index| self.states[*index] == *found);
        if fits {
            return;
        }
        let known = self.states.iter().rposition(|state| state == found);
        panic!("{what}: state {known:?} of {} came back, {least} was acknowledged", self.states.len());
    }
}
