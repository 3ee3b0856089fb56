//! Where the node is, and how one gets there.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::LoadError;

/// How long a node may take for one step of getting ready: a handshake, a bind.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The binary protocol over TCP.
    Tcp(SocketAddr),
    /// The binary protocol over a Unix socket.
    Unix(PathBuf),
    /// The Service Management API.
    Http(SocketAddr),
}

impl Target {
    /// Reads `tcp://HOST:PORT`, `unix:PATH` or `http://HOST:PORT`.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Target, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err("unix: needs a path".to_owned())
            } else {
                Ok(Target::Unix(path.into()))
            };
        }
        let (scheme, place) = text.split_once("://").unwrap_or_default();
        let of = match scheme {
            "tcp" => Target::Tcp,
            "http" => Target::Http,
            _ => return Err(format!("\"{text}\" is none of tcp://HOST:PORT, unix:PATH, http://HOST:PORT")),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let mut found = place.to_socket_addrs().map_err(|error| format!("\"{place}\": {error}"))?;
        found.next().map(of).ok_or_else(|| format!("\"{place}\" has no address"))
    }

    /// Whether it speaks the binary protocol.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        !matches!(self, Target::Http(_))
    }

    pub(super) fn connect(&self) -> Result<Stream, LoadError> {
        let connect = || {
            let stream = match self {
                Target::Tcp(address) | Target::Http(address) => {
                    let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    Stream::Tcp(stream)
                }
                Target::Unix(path) => {
                    let stream = UnixStream::connect(path)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    Stream::Unix(stream)
                }
            };
            Ok(stream)
        };
        connect().map_err(|source| LoadError::Connect { target: self.to_string(), source })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => write!(f, "tcp://{address}"),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Http(address) => write!(f, "http://{address}"),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// From now on reads and writes answer at once.
    pub(super) fn stop_blocking(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    /// The process that listens at the other end, where the system tells it.
    pub(super) fn peer_pid(&self) -> Option<u32> {
        let Stream::Unix(stream) = self else { return None };
        let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
        u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_urls_of_three_kinds() {
        let address = "127.0.0.1:7".parse().unwrap();
        assert_eq!(Target::parse("tcp://127.0.0.1:7"), Ok(Target::Tcp(address)));
        assert_eq!(Target::parse("http://127.0.0.1:7/"), Ok(Target::Http(address)));
        assert!(matches!(Target::parse("tcp://localhost:7"), Ok(Target::Tcp(it)) if it.ip().is_loopback()));
        for text in ["unix:/run/t.sock", "unix:///run/t.sock"] {
            assert_eq!(Target::parse(text), Ok(Target::Unix("/run/t.sock".into())));
        }
        for wrong in ["", "127.0.0.1:7", "https://127.0.0.1:7", "tcp://127.0.0.1", "tcp://:x", "unix:"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
        let shown = ["tcp://127.0.0.1:7", "unix:/run/t.sock", "http://127.0.0.1:7"];
        assert!(shown.iter().all(|text| Target::parse(text).unwrap().to_string() == *text));
    }
}
