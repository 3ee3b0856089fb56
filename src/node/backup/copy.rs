//! Making a backup.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::data_dir::{self, DataDir, DataDirError};
use super::hold::{self, Hold};
use super::manifest::VERSION;
use super::restore::Source;
use super::{BACKUP, BackupError, FileRow, Manifest, hex, put_together, system, tar};
use crate::journal::{ReadOnlyDirectory, Sequence, beginning, read_whole, segment_names};
use crate::listener::Clock;
use crate::store::ids::slice_ends;

/// Backs `data_dir` up, of a running or a stopped node, to `to`: a tar file if its name ends in `.tar`, else a directory.
/// What it returns was read back and put together.
///
/// # Errors
/// [`BackupError`]. Nothing has the name `to` then.
pub fn backup(data_dir: &Path, to: &Path, clock: &Clock) -> Result<Manifest, BackupError> {
    if !data_dir::check_format(data_dir)? {
        return Err(BackupError::NotANode(data_dir.to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let partial = beside(to, "partial");
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    match DirBuilder::new().mode(0o700).create(&partial) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Partial(partial));
        }
        made => made.map_err(system("make", &partial))?,
    }
    let made = make(data_dir, to, &partial, clock);
    if made.is_err() {
        // It is of no use; what cannot be removed is refused by a restore, and named by the next backup.
        let _ = std::fs::remove_dir_all(&partial);
        let _ = std::fs::remove_file(beside(to, "unfinished"));
    }
    made
}

fn beside(to: &Path, ending: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

fn make(data_dir: &Path, to: &Path, partial: &Path, clock: &Clock) -> Result<Manifest, BackupError> {
    let files = copy(data_dir, partial)?;
    let Copied { files, running, sequence, created_ms } = files;
    let (found, node_id) = put_together(partial, clock)?;
    let last = found.last.0;
    let not_whole = |reason: String| BackupError::NotWhole { path: partial.to_owned(), reason };
    if sequence.is_some_and(|sequence| sequence != last) {
        return Err(not_whole(format!(
            "it ends with sequence {last}, and not where the node stood: try again"
        )));
    }
    let manifest = Manifest {
        backup: VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        format: data_dir::FORMAT,
        created_ms: created_ms.unwrap_or_else(|| clock().0),
        running,
        node_id: hex(node_id),
        sequence: last,
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| not_whole(error.to_string()))?;
    let path = partial.join(BACKUP);
    write_file(&path, &text).map_err(system("write", &path))?;
    sync_tree(partial).map_err(system("sync", partial))?;
    Source::open(partial)?.check_all()?;
    if to.extension().is_some_and(|extension| extension == "tar") {
        let unfinished = beside(to, "unfinished");
        pack(partial, &manifest, &unfinished).map_err(system("write", &unfinished))?;
        Source::open(&unfinished)?.check_all()?;
        std::fs::rename(&unfinished, to).map_err(system("rename", &unfinished))?;
        std::fs::remove_dir_all(partial).map_err(system("remove", partial))?;
    } else {
        std::fs::rename(partial, to).map_err(system("rename", partial))?;
    }
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(system("sync", parent))?;
    Ok(manifest)
}

struct Copied {
    files: Vec<FileRow>,
    running: bool,
    /// Where the node stood, if one runs.
    sequence: Option<u64>,
    created_ms: Option<u64>,
}

/// Copies everything, of a running node while it holds still.
fn copy(data_dir: &Path, partial: &Path) -> Result<Copied, BackupError> {
    let asked = Hold::ask(data_dir).map_err(system("ask the node on", data_dir))?;
    let Some(hold) = asked.transpose().map_err(BackupError::Refused)? else {
        // Keeps a node from starting meanwhile.
        let _held = match DataDir::open(data_dir) {
            Err(DataDirError::Locked { path }) => return Err(BackupError::Silent(path)),
            opened => opened?,
        };
        let mut copying = Copying { from: data_dir, to: partial, files: Vec::new() };
        copying.all(&data_dir::shelves(data_dir), Sequence(u64::MAX))?;
        return Ok(Copied { files: copying.files, running: false, sequence: None, created_ms: None });
    };
    let sequence = hold.held.sequence;
    let created_ms = Some(hold.held.now_ms);
    let mut copying = Copying { from: data_dir, to: partial, files: Vec::new() };
    copying.all(&hold::folder(data_dir), Sequence(sequence))?;
    hold.end().map_err(BackupError::Refused)?;
    Ok(Copied { files: copying.files, running: true, sequence: Some(sequence), created_ms })
}

struct Copying<'a> {
    from: &'a Path,
    to: &'a Path,
    files: Vec<FileRow>,
}

impl Copying<'_> {
    fn all(&mut self, shelves: &Path, last: Sequence) -> Result<(), BackupError> {
        let secret = data_dir::secret_file(self.from);
        if secret.exists() {
            self.file(&secret, "node-secret")?;
        }
        self.tree(&data_dir::checkpoints(self.from), "checkpoints", true)?;
        self.journal(last)?;
        self.ids(last)?;
        self.tree(shelves, "shelves", false)
    }

    /// Copies a folder with all that is in it; of checkpoints only what is finished.
    fn tree(&mut self, from: &Path, path: &str, is_checkpoints: bool) -> Result<(), BackupError> {
        self.folder(path)?;
        if !from.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(from).map_err(system("list", from))? {
            let entry = entry.map_err(system("list", from))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let (from, path) = (entry.path(), format!("{path}/{name}"));
            if !from.is_dir() {
                self.file(&from, &path)?;
            } else if !is_checkpoints || from.join("MANIFEST").exists() {
                self.tree(&from, &path, false)?;
            }
        }
        Ok(())
    }

    /// The slices of ids that do not go beyond `last`: the journal has those of later entries.
    fn ids(&mut self, last: Sequence) -> Result<(), BackupError> {
        let from = data_dir::ids(self.from);
        if !from.exists() {
            return Ok(());
        }
        self.folder("ids")?;
        for entry in std::fs::read_dir(&from).map_err(system("list", &from))? {
            let entry = entry.map_err(system("list", &from))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if slice_ends(&name).is_some_and(|end| end <= last) {
                self.file(&entry.path(), &format!("ids/{name}"))?;
            }
        }
        Ok(())
    }

    fn journal(&mut self, last: Sequence) -> Result<(), BackupError> {
        self.folder("journal")?;
        let from = data_dir::journal(self.from);
        let disk = ReadOnlyDirectory::new(&from);
        for name in segment_names(&disk).map_err(system("list", &from))? {
            let bytes = match read_whole(&disk, &name) {
                // A node removes, of its own accord, what it began and never wrote to.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(system("read", &from.join(&name)))?,
            };
            let kept = beginning(&name, &bytes, last);
            if kept > 0 {
                self.bytes(&format!("journal/{name}"), &bytes[..kept], bytes.len() as u64)?;
            }
        }
        Ok(())
    }

    fn folder(&self, path: &str) -> Result<(), BackupError> {
        let target = self.to.join(path);
        DirBuilder::new().mode(0o700).create(&target).map_err(system("make", &target))
    }

    fn bytes(&mut self, path: &str, bytes: &[u8], len: u64) -> Result<(), BackupError> {
        let target = self.to.join(path);
        let written = create(&target).and_then(|mut file| {
            file.write_all(bytes)?;
            file.set_len(len)
        });
        written.map_err(system("write", &target))?;
        let (kept, crc) = (bytes.len() as u64, crc32fast::hash(bytes));
        self.files.push(FileRow { path: path.to_owned(), len, kept, crc });
        Ok(())
    }

    fn file(&mut self, from: &Path, path: &str) -> Result<(), BackupError> {
        let target = self.to.join(path);
        let mut source = File::open(from).map_err(system("read", from))?;
        let copied = create(&target).and_then(|mut file| pour(&mut source, &mut file));
        let (len, crc) = copied.map_err(system("write", &target))?;
        self.files.push(FileRow { path: path.to_owned(), len, kept: len, crc });
        Ok(())
    }
}

/// A new file for its owner's eyes only.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path)?.write_all(bytes)
}

/// Copies all bytes; how many there were, and their sum.
pub(super) fn pour(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let (mut hasher, mut len) = (crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((len, hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        len += read as u64;
    }
}

/// Makes every file and name below a folder survive a power loss.
pub(super) fn sync_tree(root: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(root)?.sync_all()
}

/// Makes one file of a finished backup, its description first.
fn pack(folder: &Path, manifest: &Manifest, to: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(create(to)?);
    let text = folder.join(BACKUP);
    tar::put(&mut out, BACKUP, std::fs::metadata(&text)?.len(), &mut File::open(&text)?)?;
    for row in &manifest.files {
        tar::put(&mut out, &row.path, row.kept, &mut File::open(folder.join(&row.path))?)?;
    }
    tar::finish(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
