//! Which slices of a directory are opened: those that follow each other without a gap, up to the newest.

use super::error::IdsError;
use super::format::{UNFINISHED, parse_name};
use super::slice::{Slice, is_forgotten};
use crate::journal::{Disk, NodeId, Sequence};
use crate::model::time::UnixMillis;

/// What a directory has.
pub(super) struct Chain {
    /// Oldest first.
    pub(super) slices: Vec<Slice>,
    /// Files that are of no use: unfinished, merged into another slice, or older than a gap that does not matter.
    pub(super) needless: Vec<String>,
    /// What was damaged or missing and does not matter any more, since all of its ids are forgotten.
    pub(super) passed_over: Vec<IdsError>,
}

/// What a slice's name says of it.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) from: Sequence,
    pub(super) to: Sequence,
}

/// Reads a directory. Names of other kinds are left alone.
pub(super) fn read(disk: &dyn Disk, node_id: NodeId, now: UnixMillis) -> Result<Chain, IdsError> {
    let names = disk.list().map_err(IdsError::io("list", "the directory of ids"))?;
    let (mut named, mut needless) = (Vec::new(), Vec::new());
    for name in names {
        if name.strip_suffix(UNFINISHED).is_some_and(|name| parse_name(name).is_some()) {
            needless.push(name);
        } else if let Some((from, to)) = parse_name(&name) {
            named.push(Named { name, from, to });
        }
    }
    let (named, merged) = outermost(named)?;
    needless.extend(merged.into_iter().map(|slice| slice.name));
    let mut chain = Chain { slices: Vec::new(), needless, passed_over: Vec::new() };
    chain.open(disk, node_id, now, named)?;
    Ok(chain)
}

/// The slices of a directory that are of use, oldest first, and those that lie inside another, by their names alone.
pub(super) fn list(disk: &dyn Disk) -> Result<(Vec<Named>, Vec<Named>), IdsError> {
    let names = disk.list().map_err(IdsError::io("list", "the directory of ids"))?;
    let named = |name: String| parse_name(&name).map(|(from, to)| Named { name, from, to });
    outermost(names.into_iter().filter_map(named).collect())
}

/// Sorts out slices that lie inside another: what was merged into it. The rest, oldest first, goes before them.
fn outermost(mut named: Vec<Named>) -> Result<(Vec<Named>, Vec<Named>), IdsError> {
    named.sort_by_key(|slice| (slice.from, std::cmp::Reverse(slice.to)));
    let (mut outer, mut inner): (Vec<Named>, Vec<Named>) = (Vec::new(), Vec::new());
    for slice in named {
        match outer.last() {
            Some(last) if slice.to <= last.to => inner.push(slice),
            Some(last) if slice.from <= last.to => {
                return Err(IdsError::Overlap { file: last.name.clone(), other: slice.name });
            }
            _ => outer.push(slice),
        }
    }
    Ok((outer, inner))
}

impl Chain {
    /// Opens from the newest to the oldest. What the newest one cannot be read for is an error; so is it for another,
    /// unless the one after it says that all ids before it are forgotten.
    fn open(
        &mut self,
        disk: &dyn Disk,
        node_id: NodeId,
        now: UnixMillis,
        mut named: Vec<Named>,
    ) -> Result<(), IdsError> {
        while let Some(next) = named.pop() {
            let opened = self.follows(&next).and_then(|()| Slice::open(disk, &next.name));
            match (opened, self.slices.last().map(|slice| slice.header().before)) {
                (Ok(slice), _) if slice.header().identity.node_id != node_id => {
                    return Err(IdsError::OtherNode { file: next.name });
                }
                (Ok(slice), _) => self.slices.push(slice),
                (Err(error @ (IdsError::Damaged { .. } | IdsError::Gap { .. })), Some(before))
                    if is_forgotten(before, now) =>
                {
                    self.passed_over.push(error);
                    self.needless.push(next.name);
                    self.needless.extend(named.into_iter().map(|slice| slice.name));
                    break;
                }
                (Err(error), _) => return Err(error),
            }
        }
        // Whatever came before the oldest one is forgotten, or else missing.
        match self.slices.last() {
            Some(oldest) if !is_forgotten(oldest.header().before, now) => {
                return Err(IdsError::Gap { after: Sequence(0), file: oldest.name().to_owned() });
            }
            _ => self.slices.reverse(),
        }
        Ok(())
    }

    /// Whether the slice of that name ends where the one opened last begins.
    fn follows(&self, next: &Named) -> Result<(), IdsError> {
        match self.slices.last() {
            Some(after) if next.to.next() != after.header().identity.from => {
                Err(IdsError::Gap { after: next.to, file: after.name().to_owned() })
            }
            _ => Ok(()),
        }
    }
}
