//! Ending the slices earlier, when the journal is ended earlier on an operator's word.
//!
//! A slice of later entries goes as a whole. One that has entries on both sides is written anew, under the name of what
//! it covers then. The old one still has its name: as the new one lies inside its range, it is the old one that counts,
//! until it is removed. So that goes last, and whatever is left at any step opens.

use super::chain::{Named, list};
use super::error::IdsError;
use super::format::{Identity, slice_name};
use super::slice::Slice;
use super::writer;
use crate::journal::{Disk, Sequence};
use crate::model::idempotency::Known;

/// What of a directory of slices reaches to a sequence or beyond it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beyond {
    /// Files that go as a whole, in the order in which they are to be removed, before [`Beyond::across`] is: those of no use,
    /// as another has what they have, then slices of later entries, latest first.
    pub whole: Vec<String>,
    /// The slice that has earlier entries, too.
    pub across: Option<String>,
}

impl Beyond {
    /// Looks at the names in a directory.
    ///
    /// # Errors
    /// It cannot be listed, or slices overlap.
    pub fn find(disk: &dyn Disk, from: Sequence) -> Result<Beyond, IdsError> {
        let (slices, needless) = list(disk)?;
        let needless = needless.into_iter().filter(|slice| slice.to >= from);
        let whole = needless.map(|Named { name, .. }| name).collect();
        let mut beyond = Beyond { whole, across: None };
        for slice in slices.into_iter().rev().filter(|slice| slice.to >= from) {
            if slice.from >= from {
                beyond.whole.push(slice.name);
            } else {
                beyond.across = Some(slice.name);
            }
        }
        Ok(beyond)
    }

    /// Whether all slices end before.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.whole.is_empty() && self.across.is_none()
    }

    /// Ends the slices on `disk` before `from`, for which this was found: of a slice that has earlier entries, too, those ids
    /// stay that `stays` names. If it was interrupted it can be begun anew, with what is found then.
    ///
    /// # Errors
    /// Storage errors, and damage.
    pub fn end(
        &self,
        disk: &dyn Disk,
        from: Sequence,
        stays: impl Fn(&Known) -> bool,
    ) -> Result<(), IdsError> {
        if let Some(name) = &self.across {
            write_beginning(disk, name, from, stays)?;
        }
        for name in self.whole.iter().chain(&self.across) {
            disk.remove(name).map_err(IdsError::io("remove", name))?;
            disk.sync_dir().map_err(IdsError::io("sync", "the directory of ids"))?;
        }
        Ok(())
    }
}

/// Shows every id of the slice `name` to `visit`.
///
/// # Errors
/// Storage errors, and damage.
pub fn visit_slice(disk: &dyn Disk, name: &str, mut visit: impl FnMut(&Known)) -> Result<(), IdsError> {
    let slice = Slice::open(disk, name)?;
    let mut records = slice.records();
    while let Some(known) = records.next()? {
        visit(&known);
    }
    Ok(())
}

/// Writes a slice of those ids of the slice `name` that `stays` names, which ends before `from`. That one is left as it is.
fn write_beginning(
    disk: &dyn Disk,
    name: &str,
    from: Sequence,
    stays: impl Fn(&Known) -> bool,
) -> Result<(), IdsError> {
    let slice = Slice::open(disk, name)?;
    let header = *slice.header();
    let identity = Identity { to: from.previous(), ..header.identity };
    // What an interrupted repair has left of it.
    for stale in [writer::temporary(&identity), slice_name(identity.from, identity.to)] {
        match disk.remove(&stale) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(IdsError::io("remove", &stale)(error));
            }
            _ => {}
        }
    }
    let mut records = slice.records();
    let next = || {
        while let Some(known) = records.next()? {
            if stays(&known) {
                return Ok(Some(known));
            }
        }
        Ok(None)
    };
    writer::write(disk, identity, header.before, header.ids, next).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk_memory::{Fault, MemoryDisk};
    use crate::model::time::UnixMillis;
    use crate::store::ids::tests::{key, known, open};

    /// Slices up to 10, 20, 30 and 40, with an id for each sequence; one of them also of what it was merged from.
    fn four() -> MemoryDisk {
        let disk = MemoryDisk::default();
        let slices = open(&disk, 1).unwrap();
        let ids = |range: std::ops::RangeInclusive<u64>| range.map(|it| known(it, it, it)).collect();
        for end in [10, 20, 30, 40] {
            slices.add(Sequence(end), ids(end - 9..=end)).unwrap();
        }
        let mut image = disk.image();
        let part = MemoryDisk::default();
        let slices = open(&part, 1).unwrap();
        slices.add(Sequence(14), ids(1..=14)).unwrap();
        slices.add(Sequence(19), ids(15..=19)).unwrap();
        let name = slice_name(Sequence(15), Sequence(19));
        image.insert(name.clone(), part.image().remove(&name).unwrap());
        MemoryDisk::from_image(image)
    }

    /// Ends it before 17; whether that was done.
    fn end(disk: &MemoryDisk) -> Result<(), IdsError> {
        let from = Sequence(17);
        Beyond::find(disk, from)?.end(disk, from, |known| known.remembered.body.0 < from.0)
    }

    /// The ids up to which sequence an opening knows: all of them, and no other.
    fn knows(disk: &MemoryDisk) -> u64 {
        let slices = open(disk, 1).unwrap();
        let last = slices.covered().0;
        assert_eq!(slices.verify().unwrap(), last);
        assert!((1..=last).all(|number| slices.find(&key(number)).unwrap().is_some()));
        last
    }

    #[test]
    fn slices_end_where_the_journal_does_whatever_step_the_power_fails_at() {
        let beyond = Beyond::find(&four(), Sequence(17)).unwrap();
        let name = |from, to| slice_name(Sequence(from), Sequence(to));
        assert_eq!(beyond.whole, [name(15, 19), name(31, 40), name(21, 30)]);
        assert_eq!(beyond.across, Some(name(11, 20)));
        for from in [41, 100] {
            assert!(Beyond::find(&four(), Sequence(from)).unwrap().is_nothing());
        }
        let mut seen = std::collections::BTreeSet::new();
        for step in 0.. {
            let disk = four().with_fault(Some(Fault::Freeze(step)));
            let is_done = end(&disk).is_ok();
            for seed in 0..8 {
                let crashed = disk.crash(seed);
                seen.insert(knows(&MemoryDisk::from_image(crashed.image())));
                end(&crashed).unwrap();
                assert_eq!(knows(&crashed), 16);
            }
            if is_done {
                break;
            }
        }
        // As it was, without this and that, and at last as it should be.
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [16, 20, 30, 40]);
    }

    #[test]
    fn a_slice_of_which_no_id_stays_says_that_there_is_none() {
        let disk = four();
        let beyond = Beyond::find(&disk, Sequence(17)).unwrap();
        beyond.end(&disk, Sequence(17), |_| false).unwrap();
        let slices = open(&disk, 1).unwrap();
        assert_eq!((slices.covered(), slices.len()), (Sequence(16), 10));
        slices.add(Sequence(18), vec![known(18, 0, UnixMillis(5).0)]).unwrap();
        assert!(slices.find(&key(18)).unwrap().is_some());
    }
}
