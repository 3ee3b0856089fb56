//! The node's front: its listening sockets, and whether they are served.
//!
//! A socket outlives its being served: it can be closed to clients and opened again, or go to another process.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use rustix::net::sockopt::socket_acceptconn;
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::NodeError;
use super::listeners::own_users;
use crate::config::Config;
use crate::listener::{Admitted, Listener};

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Data,
    Admin,
    Tcp,
    Unix,
}

/// A listening socket that nobody serves yet.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp { listener: TcpListener, address: SocketAddr },
    Unix { listener: UnixListener, path: PathBuf },
}

/// The sockets of a node.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) http: Socket,
    pub(super) admin: Option<Socket>,
    pub(super) tcp: Option<Socket>,
    pub(super) unix: Option<Socket>,
}

impl Sockets {
    /// The sockets that `config` wants: from `inherited` where their addresses are right, else new ones.
    pub(super) fn open(config: &Config, mut inherited: Vec<(Role, Socket)>) -> Result<Sockets, NodeError> {
        let http = Socket::of(Role::Data, config.http, &mut inherited)?;
        let mut other = |role, address: Option<SocketAddr>| {
            address.map(|address| Socket::of(role, address, &mut inherited)).transpose()
        };
        let (admin, tcp) = (other(Role::Admin, config.admin)?, other(Role::Tcp, config.tcp)?);
        let others_too = !config.listeners.unix_users.is_empty();
        let unix =
            config.unix.as_ref().map(|path| Socket::at(path, others_too, &mut inherited)).transpose()?;
        Ok(Sockets { http, admin, tcp, unix })
    }
}

/// The users whose processes the Unix socket is for.
pub(super) fn admitted(config: &Config) -> Admitted {
    Admitted(own_users().into_iter().chain(config.listeners.unix_users.iter().map(|user| user.uid)).collect())
}

/// Connections that the system keeps until they are accepted; the system's own limit may be lower. Room for what
/// arrives while one process takes over from another.
const BACKLOG: u32 = 4096;

impl Socket {
    fn of(role: Role, wanted: SocketAddr, inherited: &mut Vec<(Role, Socket)>) -> Result<Socket, NodeError> {
        let fits = |(had, socket): &(Role, Socket)| {
            let Socket::Tcp { address, .. } = socket else { return false };
            let any_port = wanted.port() == 0 && *had == role && address.ip() == wanted.ip();
            *address == wanted || any_port
        };
        match inherited.iter().position(fits) {
            Some(at) => Ok(inherited.swap_remove(at).1),
            None => Socket::bind(wanted).map_err(|source| NodeError::Address { address: wanted, source }),
        }
    }

    fn bind(address: SocketAddr) -> io::Result<Socket> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port whose last connections are still in TIME_WAIT is free all the same.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let address = listener.local_addr()?;
        Ok(Socket::Tcp { listener, address })
    }

    /// A Unix socket, which `others_too` may use besides the node's own user.
    fn at(path: &Path, others_too: bool, inherited: &mut Vec<(Role, Socket)>) -> Result<Socket, NodeError> {
        let named = |source| NodeError::Socket { path: path.to_owned(), source };
        let fits =
            |(_, socket): &(Role, Socket)| matches!(socket, Socket::Unix { path: had, .. } if had == path);
        let socket = match inherited.iter().position(fits) {
            // A socket whose name is gone is one that nobody can find.
            Some(at) if is_socket(path).map_err(named)? => inherited.swap_remove(at).1,
            _ => Socket::bind_unix(path).map_err(named)?,
        };
        // Whether a user is one of those that are allowed is looked at with each connection.
        let mode = if others_too { 0o666 } else { 0o600 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(named)?;
        Ok(socket)
    }

    fn bind_unix(path: &Path) -> io::Result<Socket> {
        if is_socket(path)? {
            match UnixStream::connect(path) {
                Ok(_) => {
                    let in_use = "another process listens there; give another path, or --take-over";
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, in_use));
                }
                // Left over from a process that could not take it away.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Err(error) => return Err(error),
            }
        }
        // For nobody else, from its first moment on.
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Socket::Unix { listener, path: path.to_owned() })
    }

    /// A socket that another process sent.
    pub(super) fn received(role: Role, descriptor: OwnedFd) -> io::Result<Socket> {
        if !socket_acceptconn(&descriptor)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what was sent is not a listening socket",
            ));
        }
        if role == Role::Unix {
            let listener = UnixListener::from(descriptor);
            listener.set_nonblocking(true)?;
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
            return Ok(Socket::Unix { listener, path });
        }
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Socket::Tcp { listener, address })
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp { listener, .. } => listener.as_fd(),
            Socket::Unix { listener, .. } => listener.as_fd(),
        }
    }

    /// Where it listens, if that is an address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp { address, .. } => Some(*address),
            Socket::Unix { .. } => None,
        }
    }

    /// Where it listens, if that is a path.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Socket::Tcp { .. } => None,
            Socket::Unix { path, .. } => Some(path),
        }
    }
}

/// Whether a socket lies at `path`. What else may lie there is left alone: binding says that it is in the way.
fn is_socket(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.file_type().is_socket()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Serves a listener until it is told to stop, and then until its connections have ended.
type Serve = Box<dyn Fn(Listener, CancellationToken) -> Serving + Send + Sync>;
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Door {
    role: Role,
    socket: Socket,
    serve: Serve,
}

/// The listening sockets and who serves them.
#[derive(Default)]
pub(super) struct Front {
    doors: Vec<Door>,
    admitted: Admitted,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// One without sockets, whose Unix sockets will be for these users.
    pub(super) fn new(admitted: Admitted) -> Front {
        Front { admitted, ..Front::default() }
    }

    /// Adds a socket, to be served by `serve` whenever the front is open.
    pub(super) fn add<F>(
        &mut self,
        role: Role,
        socket: Socket,
        serve: impl Fn(Listener, CancellationToken) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Serve = Box::new(move |listener, stop| Box::pin(serve(listener, stop)));
        self.doors.push(Door { role, socket, serve });
    }

    /// Serves all sockets.
    pub(super) fn open(&mut self) -> Result<(), NodeError> {
        let opened = |source| NodeError::system("a listener", source);
        let listeners: Vec<_> =
            self.doors.iter().map(|door| self.listener_of(door)).collect::<Result<_, _>>().map_err(opened)?;
        self.stop = CancellationToken::new();
        self.tasks = TaskTracker::new();
        for (door, listener) in self.doors.iter().zip(listeners) {
            self.tasks.spawn((door.serve)(listener, self.stop.clone()));
        }
        self.tasks.close();
        Ok(())
    }

    /// Accepts nobody any more, and waits until what is in flight was answered. The sockets stay.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Takes the names of Unix sockets away, so that nobody tries them in vain. Not for a node that hands them over.
    pub(super) fn unlink(&self) {
        for path in self.doors.iter().filter_map(|door| door.socket.path()) {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "a socket was left behind");
            }
        }
    }

    /// As [`Front::close`], and who comes is refused.
    pub(super) async fn close_for_good(&mut self) {
        self.doors.clear();
        self.close().await;
    }

    /// The sockets, to be sent to another process.
    pub(super) fn descriptors(&self) -> (Vec<Role>, Vec<BorrowedFd<'_>>) {
        self.doors.iter().map(|door| (door.role, door.socket.descriptor())).unzip()
    }

    fn listener_of(&self, door: &Door) -> io::Result<Listener> {
        Ok(match &door.socket {
            Socket::Tcp { listener, .. } => {
                Listener::Tcp(tokio::net::TcpListener::from_std(listener.try_clone()?)?)
            }
            Socket::Unix { listener, .. } => {
                let listener = tokio::net::UnixListener::from_std(listener.try_clone()?)?;
                Listener::Unix(listener, self.admitted.clone())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(address: &str) -> Socket {
        let _in_a_runtime = crate::node::runtime().unwrap();
        let _entered = _in_a_runtime.enter();
        Socket::bind(address.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_socket_is_inherited_by_its_address_whatever_it_was_for() {
        let (data, admin) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        let wanted = admin.address().unwrap();
        let mut inherited = vec![(Role::Data, data), (Role::Admin, admin)];
        assert_eq!(Socket::of(Role::Data, wanted, &mut inherited).unwrap().address().unwrap(), wanted);
        assert_eq!(inherited.len(), 1);
    }

    #[test]
    fn any_port_is_the_one_that_served_the_same_purpose() {
        let runtime = crate::node::runtime().unwrap();
        let _entered = runtime.enter();
        let data = bound("127.0.0.1:0");
        let had = data.address().unwrap();
        let mut inherited = vec![(Role::Data, data)];
        let any = "127.0.0.1:0".parse().unwrap();
        assert_ne!(Socket::of(Role::Admin, any, &mut inherited).unwrap().address().unwrap(), had);
        assert_eq!(Socket::of(Role::Data, any, &mut inherited).unwrap().address().unwrap(), had);
    }

    #[test]
    fn what_is_no_listening_socket_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Socket::received(Role::Data, stream.into()).is_err());
        assert!(Socket::received(Role::Data, std::fs::File::open("/dev/null").unwrap().into()).is_err());
        assert!(Socket::received(Role::Data, listener.into()).is_ok());
    }

    #[test]
    fn a_unix_socket_is_its_owners_alone_unless_others_are_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.sock");
        let mode = |others| {
            let socket = Socket::at(&path, others, &mut Vec::new()).unwrap();
            drop(socket);
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777
        };
        // The second finds what the first has left behind.
        assert_eq!((mode(false), mode(true)), (0o600, 0o666));
    }

    #[test]
    fn a_unix_socket_that_is_served_and_what_is_no_socket_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.sock");
        let held = Socket::at(&path, false, &mut Vec::new()).unwrap();
        let error = Socket::at(&path, false, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("another process listens there") && error.contains("t.sock"), "{error}");
        let mut inherited = vec![(Role::Unix, held)];
        assert_eq!(Socket::at(&path, false, &mut inherited).unwrap().path(), Some(path.as_path()));
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(Socket::at(&file, false, &mut Vec::new()).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }
}
