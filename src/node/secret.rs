//! The node secret's file: `node-secret` in the data directory, made at the first start.
//!
//! It has one line, or two while the secret is being changed: a new one before the old one, both valid. `tollgate secret
//! rotate` puts a new one first and keeps the one before it. A running node looks at the file every ten seconds, and at
//! once on SIGHUP.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::data_dir::{check_format, secret_file};
use crate::listener::tls::POLL;
use crate::tcp::{Secrets, SecretsError};

/// More than two lines of the greatest length have.
const FILE_BYTES_MAX: u64 = 4096;

/// Why there is no node secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system refuses.
    #[error("the node secret cannot be {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else may read it.
    #[error("node-secret has mode {mode:04o}, which lets others read it: chmod 600 it, and rotate")]
    Readable {
        /// The file's permissions.
        mode: u32,
    },
    /// It is not one.
    #[error("node-secret: {0}")]
    Content(#[from] SecretsError),
    /// The directory is none of a node.
    #[error("there is no data directory of a node at {0}")]
    NoNode(String),
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> SecretError {
    move |source| SecretError::Io { what, source }
}

/// The secrets of a data directory that this process holds; made if there is none.
pub(super) fn load(data_dir: &Path) -> Result<Secrets, SecretError> {
    let path = secret_file(data_dir);
    let text = match read(&path)? {
        Some(text) => text,
        None => {
            let text = new_line()?;
            write(&path, &text)?;
            text
        }
    };
    Ok(Secrets::parse(&text)?)
}

/// Whether a start could use the secrets of a data directory; it may have none yet. Changes nothing.
pub(super) fn look(data_dir: &Path) -> Result<(), SecretError> {
    match read(&secret_file(data_dir))? {
        Some(text) => Ok(Secrets::parse(&text).map(drop)?),
        None => Ok(()),
    }
}

/// Puts a new secret before the one that is first now; that stays valid until the next time. For whoever holds the data
/// directory or not: a running node sees the file replaced as a whole.
///
/// # Errors
/// [`SecretError`]; the old secrets stay.
pub fn rotate(data_dir: &Path) -> Result<(), SecretError> {
    if !check_format(data_dir).is_ok_and(|is_there| is_there) {
        return Err(SecretError::NoNode(data_dir.display().to_string()));
    }
    let path = secret_file(data_dir);
    let mut text = new_line()?;
    if let Some(old) = read(&path)? {
        Secrets::parse(&old)?;
        text += old.lines().next().unwrap_or_default();
        text.push('\n');
    }
    write(&path, &text)
}

/// Takes what the file says from now on, whenever it has changed and when `asked`, until `shutdown`.
pub(super) async fn watch(
    data_dir: Arc<Path>,
    secrets: Secrets,
    asked: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut was_bad = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = asked.notified() => was_bad = false,
            () = tokio::time::sleep(POLL) => {}
        }
        let (path, secrets) = (Arc::clone(&data_dir), secrets.clone());
        // A file system may hang; the workers must not.
        let replaced = tokio::task::spawn_blocking(move || replace(&path, &secrets)).await;
        match replaced {
            Ok(Ok(is_new)) => {
                was_bad = false;
                if is_new {
                    tracing::info!("the node secret was changed");
                }
            }
            Ok(Err(error)) if !was_bad => {
                was_bad = true;
                tracing::error!(%error, "the old node secret stays: the new one cannot be used");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

fn replace(data_dir: &Path, secrets: &Secrets) -> Result<bool, SecretError> {
    let missing = || SecretError::Io { what: "read", source: io::ErrorKind::NotFound.into() };
    let text = read(&secret_file(data_dir))?.ok_or_else(missing)?;
    Ok(secrets.replace(&text)?)
}

/// What is in the file, if there is one. Never shown: not even where it is wrong.
fn read(path: &Path) -> Result<Option<String>, SecretError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read")(error)),
    };
    let mode = file.metadata().map_err(io_error("looked at"))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Readable { mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_error("read"))?;
    Ok(Some(text))
}

/// 256 random bits in hex, and a line's end.
fn new_line() -> Result<String, SecretError> {
    let mut bytes = [0; 32];
    let no_random = |error: getrandom::Error| io_error("made")(io::Error::other(error.to_string()));
    getrandom::fill(&mut bytes).map_err(no_random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect())
}

/// Writes the file beside its place and moves it there: it is whole or as before.
fn write(path: &Path, text: &str) -> Result<(), SecretError> {
    let beside = path.with_extension("new");
    let written = || {
        // Left over from a process that died here; its mode would stay.
        let _ = std::fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    written().map_err(io_error("written"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn lines(dir: &Path) -> Vec<String> {
        std::fs::read_to_string(secret_file(dir)).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_start_makes_one_that_is_its_owners_alone_and_the_next_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path()).unwrap();
        let first = lines(dir.path());
        assert!(first.len() == 1 && first[0].len() == 64, "{first:?}");
        let mode = std::fs::metadata(secret_file(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        load(dir.path()).unwrap();
        assert_eq!(lines(dir.path()), first);
    }

    #[test]
    fn rotation_keeps_the_one_before_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(rotate(dir.path()), Err(SecretError::NoNode(_))));
        std::fs::write(dir.path().join("FORMAT"), "1\n").unwrap();
        let secrets = load(dir.path()).unwrap();
        let first = lines(dir.path()).remove(0);
        rotate(dir.path()).unwrap();
        let second = lines(dir.path()).remove(0);
        assert_eq!(lines(dir.path()), [second.clone(), first]);
        assert!(replace(dir.path(), &secrets).unwrap());
        assert!(!replace(dir.path(), &secrets).unwrap());
        rotate(dir.path()).unwrap();
        assert_eq!(lines(dir.path())[1], second);
    }

    #[test]
    fn one_that_others_may_read_or_that_is_none_is_refused_unshown() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path()).unwrap();
        let path = secret_file(dir.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(dir.path()), Err(SecretError::Readable { mode: 0o640 })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "too short").unwrap();
        let error = load(dir.path()).map(drop).unwrap_err().to_string();
        assert!(!error.contains("too short"), "{error}");
    }
}
