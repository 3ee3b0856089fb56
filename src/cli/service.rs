//! The service manager: systemd's notification protocol (`sd_notify(3)`), which others speak too.
//!
//! A datagram per message to the socket that `NOTIFY_SOCKET` names. Without one, nobody is told. A message that
//! cannot be sent is no reason to stop serving: it is logged and forgotten.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Whom to tell, and how often it wants to hear from us.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(super) fn from_environment() -> ServiceManager {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = socket.and_then(|address| match connect(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, ?address, "the service manager's socket cannot be used");
                None
            }
        });
        let [usec, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| std::env::var(name).ok());
        let watchdog = watchdog(usec.as_deref(), pid.as_deref(), std::process::id());
        ServiceManager { socket, watchdog }
    }

    /// The node serves.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The node is about to hand over; the successor will say that it is ready.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=handing over");
    }

    /// The node stops.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Another process is the service from now on. It cannot say so itself: only the main process is listened to.
    pub(super) fn main_is(&self, pid: i32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// Says that the process lives, as often as it is wanted. It proves that the runtime still runs tasks, no more:
    /// a disk that hangs is no reason to end a node that decides.
    pub(super) async fn reassure(&self) {
        // Twice as often, as the protocol advises.
        let Some(interval) = self.watchdog.map(|interval| interval / 2) else {
            return std::future::pending().await;
        };
        loop {
            // A task of its own goes to a worker: if those are stuck, nothing is said.
            if tokio::spawn(async {}).await.is_ok() {
                self.tell("WATCHDOG=1");
            }
            tokio::time::sleep(interval).await;
        }
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// `address` is a path, or the name of an abstract socket after an `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold the node up.
    socket.set_nonblocking(true)?;
    match address.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => socket.connect(address)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
    Ok(socket)
}

/// The watchdog's interval, if it is meant for this process.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let for_us = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse().ok().filter(|usec| for_us && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("8"), 7), None);
        for usec in [None, Some("0"), Some("-1"), Some("soon")] {
            assert_eq!(watchdog(usec, None, 7), None);
        }
    }

    #[test]
    fn messages_reach_paths_and_abstract_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("tollgate-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ];
        for (socket, address) in sockets {
            let manager = ServiceManager { socket: Some(connect(&address).unwrap()), watchdog: None };
            manager.main_is(42);
            let mut message = [0; 64];
            let len = socket.recv(&mut message).unwrap();
            assert_eq!(&message[..len], b"MAINPID=42");
        }
        assert!(connect(OsStr::new("nowhere")).is_err());
        assert!(connect(OsStr::new("")).is_err());
    }
}
