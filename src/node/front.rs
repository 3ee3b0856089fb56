//! The node's front: its listening sockets, and whether they are served.
//!
//! A socket outlives its being served: it can be closed to clients and opened again, or go to another process.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;

use rustix::net::sockopt::socket_acceptconn;
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::NodeError;
use crate::config::Config;

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Data,
    Admin,
}

/// A listening socket that nobody serves yet.
#[derive(Debug)]
pub(super) struct Socket {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// The sockets of a node.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) http: Socket,
    pub(super) admin: Option<Socket>,
}

impl Sockets {
    /// The sockets that `config` wants: from `inherited` where their addresses are right, else new ones.
    pub(super) fn open(config: &Config, mut inherited: Vec<(Role, Socket)>) -> Result<Sockets, NodeError> {
        let http = Socket::of(Role::Data, config.http, &mut inherited)?;
        let admin =
            config.admin.map(|address| Socket::of(Role::Admin, address, &mut inherited)).transpose()?;
        Ok(Sockets { http, admin })
    }
}

/// Connections that the system keeps until they are accepted; the system's own limit may be lower. Room for what
/// arrives while one process takes over from another.
const BACKLOG: u32 = 4096;

impl Socket {
    fn of(role: Role, wanted: SocketAddr, inherited: &mut Vec<(Role, Socket)>) -> Result<Socket, NodeError> {
        let fits = |(had, socket): &(Role, Socket)| {
            let any_port = wanted.port() == 0 && *had == role && socket.address.ip() == wanted.ip();
            socket.address == wanted || any_port
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
        Ok(Socket { listener, address })
    }

    /// A socket that another process sent.
    pub(super) fn received(descriptor: OwnedFd) -> io::Result<Socket> {
        if !socket_acceptconn(&descriptor)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what was sent is not a listening socket",
            ));
        }
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Socket { listener, address })
    }
}

/// Serves a listener until it is told to stop, and then until its connections have ended.
type Serve = Box<dyn Fn(tokio::net::TcpListener, CancellationToken) -> Serving + Send + Sync>;
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Door {
    role: Role,
    socket: TcpListener,
    serve: Serve,
}

/// The listening sockets and who serves them.
#[derive(Default)]
pub(super) struct Front {
    doors: Vec<Door>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// Adds a socket, to be served by `serve` whenever the front is open.
    pub(super) fn add<F>(
        &mut self,
        role: Role,
        socket: Socket,
        serve: impl Fn(tokio::net::TcpListener, CancellationToken) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Serve = Box::new(move |listener, stop| Box::pin(serve(listener, stop)));
        self.doors.push(Door { role, socket: socket.listener, serve });
    }

    /// Serves all sockets.
    pub(super) fn open(&mut self) -> Result<(), NodeError> {
        let opened = |source| NodeError::system("a listener", source);
        let listeners: Vec<_> =
            self.doors.iter().map(listener_of).collect::<Result<_, _>>().map_err(opened)?;
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

    /// As [`Front::close`], and who comes is refused.
    pub(super) async fn close_for_good(&mut self) {
        self.doors.clear();
        self.close().await;
    }

    /// The sockets, to be sent to another process.
    pub(super) fn descriptors(&self) -> (Vec<Role>, Vec<BorrowedFd<'_>>) {
        self.doors.iter().map(|door| (door.role, door.socket.as_fd())).unzip()
    }
}

fn listener_of(door: &Door) -> io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(door.socket.try_clone()?)
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
        let wanted = admin.address;
        let mut inherited = vec![(Role::Data, data), (Role::Admin, admin)];
        assert_eq!(Socket::of(Role::Data, wanted, &mut inherited).unwrap().address, wanted);
        assert_eq!(inherited.len(), 1);
    }

    #[test]
    fn any_port_is_the_one_that_served_the_same_purpose() {
        let runtime = crate::node::runtime().unwrap();
        let _entered = runtime.enter();
        let data = bound("127.0.0.1:0");
        let had = data.address;
        let mut inherited = vec![(Role::Data, data)];
        let any = "127.0.0.1:0".parse().unwrap();
        assert_ne!(Socket::of(Role::Admin, any, &mut inherited).unwrap().address, had);
        assert_eq!(Socket::of(Role::Data, any, &mut inherited).unwrap().address, had);
    }

    #[test]
    fn what_is_no_listening_socket_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Socket::received(stream.into()).is_err());
        assert!(Socket::received(std::fs::File::open("/dev/null").unwrap().into()).is_err());
        assert!(Socket::received(listener.into()).is_ok());
    }
}
