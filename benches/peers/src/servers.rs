//! Servers of others: processes of ours, for as long as they are measured.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that answers. Killed when it is dropped.
pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Running {
    /// Redis, which keeps nothing on disk: what is compared is a decision.
    pub(super) fn redis() -> io::Result<Running> {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
        Running::start(Command::new("redis-server").args(arguments), "")
    }

    /// throttlecrab-server, by its Redis protocol.
    pub(super) fn throttlecrab(program: &Path) -> io::Result<Running> {
        let arguments = ["--redis", "--redis-host", "127.0.0.1", "--log-level", "error"];
        Running::start(Command::new(program).args(arguments), "--redis-port")
    }

    /// Starts it on a port that is free now; `flag` comes before the port.
    fn start(command: &mut Command, flag: &str) -> io::Result<Running> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        if !flag.is_empty() {
            command.arg(flag);
        }
        command.arg(address.port().to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        let running = Running { child: command.spawn()?, address };
        let begin = Instant::now();
        while let Err(error) = TcpStream::connect(address) {
            if begin.elapsed() > Duration::from_secs(10) {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
