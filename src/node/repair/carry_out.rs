//! Carrying a repair out: everything is put aside before it is changed.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::data_dir::DataDir;
use super::rows::ShelfRows;
use super::{Plan, RepairError, ids, system};
use crate::journal::{Sequence, Shortening};
use crate::model::time::UnixMillis;
use crate::store::shelf::Writing;
use crate::store::{Shelf, generation_path};

/// Does what was planned; where it put what went. `cut` is what goes of the journal, and perhaps of the ids; `rows` is what is
/// written on shelves.
pub(super) fn carry_out(
    held: &DataDir,
    plan: &Plan,
    cut: Option<(&Shortening, Option<&ids::Cut>)>,
    rows: &[ShelfRows],
    now: UnixMillis,
) -> Result<PathBuf, RepairError> {
    let aside = make_folder(held.path(), now).map_err(system("make a folder for what goes"))?;
    if let Some((shortening, _)) = cut {
        set_shelves_back(held, (&plan.shelves, rows), shortening.from.previous(), &aside)?;
    }
    move_checkpoints(held, &plan.checkpoints, &aside).map_err(system("move a checkpoint aside"))?;
    if let Some((shortening, ids)) = cut {
        ids.map_or(Ok(()), |ids| ids.carry_out(&held.ids(), shortening, &aside))?;
        shorten(&held.journal(), shortening, &aside).map_err(system("shorten the journal"))?;
    }
    Ok(aside)
}

/// `repaired/20260102T030405Z` in the data directory, or with a number after it if there is one already.
fn make_folder(data_dir: &Path, now: UnixMillis) -> io::Result<PathBuf> {
    let second = i64::try_from(now.secs()).map_err(io::Error::other)?;
    let time = jiff::Timestamp::from_second(second).map_err(io::Error::other)?;
    let name = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let root = data_dir.join("repaired");
    DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
    for number in 1_u32.. {
        let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        match DirBuilder::new().mode(0o700).create(root.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                sync_dir(&root)?;
                sync_dir(data_dir)?;
                return Ok(root.join(name));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Sets shelves back: those of the first names to `position`, and rows. All of a shelf in one transaction: after a power
/// failure it is as it was, or as of the cut, and then the journal, if that is still whole, brings again what went.
fn set_shelves_back(
    held: &DataDir,
    (beyond, rows): (&[String], &[ShelfRows]),
    position: Sequence,
    aside: &Path,
) -> Result<(), RepairError> {
    let names: BTreeSet<_> = beyond.iter().chain(rows.iter().map(|it| &it.shelf)).collect();
    for name in names {
        let path = held.shelf(name)?;
        let copy = aside.join(format!("shelf-{name}"));
        copy_file(&path, &copy).map_err(system("copy a shelf"))?;
        sync_dir(aside).map_err(system("copy a shelf"))?;
        let write = |writing: &mut Writing<'_>| {
            for of in rows.iter().filter(|it| it.shelf == *name) {
                of.rows.iter().try_for_each(|(table, key, value)| writing.set_row(table, key, value))?;
            }
            if beyond.contains(name) { writing.set_position(position) } else { Ok(()) }
        };
        let set = Shelf::open(&path).and_then(|shelf| shelf.write(write)).map_err(io::Error::other);
        set.map_err(system("set a shelf back"))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

fn move_checkpoints(held: &DataDir, generations: &[u64], aside: &Path) -> io::Result<()> {
    if generations.is_empty() {
        return Ok(());
    }
    let root = held.checkpoints();
    let current = root.join("CURRENT");
    // Without it, the newest whole generation that is left is opened.
    let names_one = |text: String| {
        let number = text.split(' ').nth(2).and_then(|number| number.parse().ok());
        number.is_some_and(|number: u64| generations.contains(&number))
    };
    if std::fs::read_to_string(&current).is_ok_and(names_one) {
        std::fs::rename(&current, aside.join("CURRENT"))?;
    }
    for generation in generations {
        std::fs::rename(
            generation_path(&root, *generation),
            aside.join(format!("checkpoint-{generation:08}")),
        )?;
    }
    sync_dir(aside)?;
    sync_dir(&root)
}

fn shorten(journal: &Path, shortening: &Shortening, aside: &Path) -> io::Result<()> {
    let partly = shortening.partly.iter().map(|(name, _)| name);
    for name in shortening.whole.iter().chain(partly) {
        put_aside(&journal.join(name), &aside.join(name))?;
    }
    sync_dir(aside)?;
    let mark = journal.join(&shortening.mark);
    if !mark.exists() {
        new_file(&mark)?.sync_all()?;
        sync_dir(journal)?;
    }
    for (name, kept) in &shortening.partly {
        replace_by_beginning(&journal.join(name), *kept)?;
        sync_dir(journal)?;
    }
    for name in &shortening.whole {
        let path = journal.join(name);
        if path == mark {
            let empty = journal.join("mark.new");
            new_file(&empty)?.sync_all()?;
            std::fs::rename(&empty, &path)?;
        } else {
            std::fs::remove_file(&path)?;
        }
        sync_dir(journal)?;
    }
    Ok(())
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A second name for a file, which stays when the first goes; or a copy, where file systems have no such thing.
pub(super) fn put_aside(path: &Path, aside: &Path) -> io::Result<()> {
    match std::fs::hard_link(path, aside) {
        Ok(()) => Ok(()),
        Err(_) => copy_file(path, aside),
    }
}

/// Puts a file of the same length, with the first `kept` bytes of this one and zeros, in its place.
fn replace_by_beginning(path: &Path, kept: u64) -> io::Result<()> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut beginning = Vec::new();
    file.take(kept).read_to_end(&mut beginning)?;
    let new = path.with_extension("new");
    let mut target = new_file(&new)?;
    target.write_all(&beginning)?;
    target.set_len(len)?;
    target.sync_all()?;
    std::fs::rename(&new, path)
}
