//! Where the control socket lies.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const NAME: &str = "control.sock";

/// The most bytes that the path of a Unix socket may have on Linux, less the zero at its end.
const PATH_BYTES_MAX: usize = 107;

/// The path of a data directory's control socket, in a form that fits a socket address.
#[derive(Debug)]
pub(in crate::node) struct SocketPath {
    path: PathBuf,
    /// Kept open where the path leads through it.
    _dir: Option<File>,
}

impl SocketPath {
    /// # Errors
    /// The directory cannot be opened.
    pub(in crate::node) fn of(data_dir: &Path) -> io::Result<SocketPath> {
        let path = data_dir.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(SocketPath { path, _dir: None });
        }
        // A data directory may lie deep; the way through an open descriptor of it is always short.
        let dir = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
        Ok(SocketPath { path, _dir: Some(dir) })
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_directory_may_lie_deeper_than_a_socket_address_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let before_name = PATH_BYTES_MAX - dir.path().as_os_str().len() - 1 - NAME.len() - 1;
        for (len, direct) in [(before_name, true), (before_name + 1, false)] {
            let deep = dir.path().join("d".repeat(len));
            std::fs::create_dir(&deep).unwrap();
            let path = SocketPath::of(&deep).unwrap();
            assert_eq!(path.as_ref().starts_with(&deep), direct);
            let _listener = UnixListener::bind(&path).unwrap();
            assert!(deep.join(NAME).exists());
            UnixStream::connect(SocketPath::of(&deep).unwrap()).unwrap();
        }
    }
}
