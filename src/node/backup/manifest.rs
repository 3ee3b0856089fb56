//! What a backup says of itself: the file `BACKUP`.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::super::data_dir;

/// The version of [`Manifest`] that is written, and the greatest that is read.
pub(super) const VERSION: u32 = 1;

/// What a backup is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this description.
    pub backup: u32,
    /// Which release made it.
    pub release: String,
    /// Of the data directory.
    pub format: u32,
    /// When it began, in milliseconds since 1970.
    pub created_ms: u64,
    /// Whether the node ran.
    pub running: bool,
    /// The node's id, in hex.
    pub node_id: String,
    /// The last sequence in it.
    pub sequence: u64,
    /// Every file.
    pub files: Vec<FileRow>,
}

/// One file of a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileRow {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// How many of them are kept; the others are zeros.
    pub kept: u64,
    /// The CRC-32 of those.
    pub crc: u32,
}

impl Manifest {
    /// Reads the text of a `BACKUP`.
    ///
    /// # Errors
    /// In a sentence: it is none, or of a newer release, or it names files that have no place in a backup.
    pub fn parse(text: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest =
            serde_json::from_slice(text).map_err(|error| format!("BACKUP is not whole: {error}"))?;
        if manifest.backup == 0 || manifest.backup > VERSION || manifest.format > data_dir::FORMAT {
            return Err(format!("release {} made it: restore it with that one or a newer", manifest.release));
        }
        match manifest.files.iter().find(|row| !is_ours(&row.path) || row.kept > row.len) {
            Some(row) => Err(format!("{:?} has no place in a backup", row.path)),
            None => Ok(manifest),
        }
    }
}

/// Whether a path is one that a backup writes to: below one of its folders, and nowhere else.
fn is_ours(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let Some(Component::Normal(first)) = parts.next() else { return false };
    let is_below = first == "checkpoints" || first == "journal" || first == "shelves" || first == "ids";
    let mut rest = 0;
    for part in parts {
        if !matches!(part, Component::Normal(_)) {
            return false;
        }
        rest += 1;
    }
    if is_below { rest > 0 } else { path == "node-secret" }
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn a_backup_writes_nowhere_but_in_its_folders() {
        for path in ["node-secret", "journal/a", "checkpoints/00000001/sled/db", "shelves/alerts"] {
            assert!(is_ours(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "journal",
            "journal/../../x",
            "FORMAT",
            "lock",
            "node-secret/x",
            "../journal/x",
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
