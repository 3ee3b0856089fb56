//! The data directory: one node at a time, nobody else's eyes, a version.
//!
//! ```text
//! lock          held by the running node
//! control.sock  where the running node is spoken to; see `control`
//! FORMAT        the version of the directory's layout: a decimal number
//! journal/      see `journal`
//! checkpoints/  see `store`
//! node-secret   see `secret`
//! shelves/      see `store::shelf`: a file for each plugin
//! backup/       what a backup in the making copies from; see `backup`
//! repaired/     what an operator has given up; see `repair`
//! ```

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The layout this version writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;

/// How long a lock may be held by who only looks whether it is free ([`is_held`]).
const LOOK: Duration = Duration::from_millis(200);

/// Between two tries to lock.
const LOCK_STEP: Duration = Duration::from_millis(5);

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("data directory {path} is in use by another node")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("data directory {path} cannot be used: {what}: {source}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It has something else in it, perhaps for others to use.
    #[error("data directory {path} is not empty and not a tollgate data directory (it has no FORMAT file)")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Another user's node made it: what this one wrote that one could not read.
    #[error(
        "data directory {path} belongs to user {owner}, but this process runs as user {us}: start it as that user, or give \
         the directory and all in it to this one (chown -R)"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose FORMAT file it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// It was written by another version.
    #[error(
        "data directory {path} has format {found}, this version knows up to {FORMAT}: run a newer tollgate on it"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// What its FORMAT file says.
        found: String,
    },
}

/// A data directory that this process holds.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// The lock goes with the process, also if that is killed.
    lock: File,
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing would do, were it not for a child that was just forked and has not yet closed its copy.
        let _ = self.lock.unlock();
    }
}

impl DataDir {
    /// Creates the directory if need be, and takes it.
    pub(super) fn open(path: &Path) -> Result<DataDir, DataDirError> {
        DataDir::open_within(path, LOOK)
    }

    /// As [`DataDir::open`], and waits as long as `patience` for a node that is ending.
    pub(super) fn open_within(path: &Path, patience: Duration) -> Result<DataDir, DataDirError> {
        let unusable = |what| move |source| DataDirError::Unusable { path: path.to_owned(), what, source };
        // Provider keys and tokens lie in here in the clear: whatever is created is its owner's alone.
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable("create"))?;
        // Before anything in it is touched: a mistyped path may lead to a directory that others live in.
        if !is_ours(path).map_err(unusable("list"))? {
            return Err(DataDirError::Foreign { path: path.to_owned() });
        }
        check_owner(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unusable("open its lock file"))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => std::thread::sleep(LOCK_STEP),
                Err(TryLockError::WouldBlock) => return Err(DataDirError::Locked { path: path.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(unusable("lock")(source)),
            }
        }
        if !check_format(path)? {
            write_format(path).map_err(unusable("write FORMAT"))?;
        }
        let mode = std::fs::metadata(path).map_err(unusable("look at"))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "others could read the data directory: taking their rights away");
            std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(unusable("protect"))?;
        }
        Ok(DataDir { path: path.to_owned(), lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn journal(&self) -> PathBuf {
        journal(&self.path)
    }

    /// Where a plugin's shelf lies.
    pub(super) fn shelf(&self, plugin: &str) -> Result<PathBuf, DataDirError> {
        let shelves = shelves(&self.path);
        let create = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&shelves);
        // The folder's own name, too, or a power loss could take all shelves.
        let create = create.and_then(|()| File::open(&self.path)?.sync_all());
        create.map_err(|source| DataDirError::Unusable {
            path: self.path.clone(),
            what: "create the plugins' shelves",
            source,
        })?;
        Ok(shelves.join(plugin))
    }

    /// Where slices of idempotency ids lie.
    pub(super) fn ids(&self) -> PathBuf {
        self.path.join("ids")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        checkpoints(&self.path)
    }
}

/// Where a data directory's journal lies.
pub(super) fn journal(path: &Path) -> PathBuf {
    path.join("journal")
}

/// Where a data directory's node secret lies.
pub(super) fn secret_file(path: &Path) -> PathBuf {
    path.join("node-secret")
}

/// Where a data directory's plugins have their shelves.
pub(super) fn shelves(path: &Path) -> PathBuf {
    path.join("shelves")
}

/// Where a data directory's slices of idempotency ids lie.
pub(super) fn ids(path: &Path) -> PathBuf {
    path.join("ids")
}

/// The names of the shelves that there are, in order.
pub(super) fn shelf_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    match std::fs::read_dir(shelves(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => {
            for entry in entries? {
                // One with a dot was being written in place of another.
                let name = entry?.file_name().into_string().ok();
                names.extend(name.filter(|name| !name.contains('.')));
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Where a data directory's checkpoints lie.
pub(super) fn checkpoints(path: &Path) -> PathBuf {
    path.join("checkpoints")
}

/// Whether a node has the directory. Looking takes the lock for an instant, for which a starting node waits.
pub(super) fn is_held(path: &Path) -> io::Result<bool> {
    let lock = match File::open(path.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match lock.try_lock_shared() {
        Ok(()) => lock.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the directory is a node's, or empty but for what a node leaves that dies before it has written FORMAT.
fn is_ours(path: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != "lock" && name != "FORMAT.new" {
            // Looked for only now: another node may have begun in between, and it writes FORMAT before anything else.
            return path.join("FORMAT").try_exists();
        }
    }
    Ok(true)
}

/// Whether the directory has a FORMAT yet. Changes nothing.
///
/// # Errors
/// It is one that this version does not know.
pub(super) fn check_format(path: &Path) -> Result<bool, DataDirError> {
    let unusable = |what| move |source| DataDirError::Unusable { path: path.to_owned(), what, source };
    let mut text = String::new();
    match File::open(path.join("FORMAT")) {
        Ok(mut file) => drop(file.read_to_string(&mut text).map_err(unusable("read FORMAT"))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(unusable("read FORMAT")(source)),
    }
    match text.trim().parse::<u32>() {
        Ok(found) if (1..=FORMAT).contains(&found) => Ok(true),
        _ => Err(DataDirError::Format { path: path.to_owned(), found: format!("{:?}", text.trim()) }),
    }
}

/// Whether a directory that is in use already is ours to go on with. Root could, but would leave files in it that its owner
/// cannot open.
fn check_owner(path: &Path) -> Result<(), DataDirError> {
    let unusable = |source| DataDirError::Unusable { path: path.to_owned(), what: "look at FORMAT", source };
    let owner = match std::fs::metadata(path.join("FORMAT")) {
        Ok(format) => format.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unusable(source)),
    };
    let us = rustix::process::geteuid().as_raw();
    if owner == us { Ok(()) } else { Err(DataDirError::Owner { path: path.to_owned(), owner, us }) }
}

/// Writes FORMAT beside its place and moves it there: it is whole or absent.
pub(super) fn write_format(path: &Path) -> io::Result<()> {
    let beside = path.join("FORMAT.new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&beside, path.join("FORMAT"))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_at_a_time_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked { .. })));
        drop(held);
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        DataDir::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (text, good) in [("1\n", true), ("2\n", false), ("", false), ("x", false)] {
            std::fs::write(dir.path().join("FORMAT"), text).unwrap();
            assert_eq!(DataDir::open(dir.path()).is_ok(), good, "{text:?}");
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_of_others_is_refused_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["file", "lock"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Foreign { .. }), "{error}");
        assert_eq!(mode(dir.path()), 0o755);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        // A FORMAT that no node wrote keeps its directory as it is, too.
        std::fs::write(dir.path().join("FORMAT"), "pdf").unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Format { .. })));
        assert_eq!(mode(dir.path()), 0o755);
    }

    #[test]
    fn an_empty_directory_is_taken_also_after_a_start_that_died_early() {
        for left in [&[][..], &["lock"], &["lock", "FORMAT.new"]] {
            let dir = tempfile::tempdir().unwrap();
            left.iter().for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
            std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
            DataDir::open(dir.path()).unwrap();
            assert_eq!(mode(dir.path()), 0o700);
            std::fs::write(dir.path().join("journal"), "").unwrap();
            DataDir::open(dir.path()).unwrap();
        }
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, DataDirError::Unusable { .. }));
        assert!(error.to_string().contains("file"));
    }
}
