//! A node as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program, without what the environment would tell it.
pub(crate) fn tollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TOLLGATE_") || name == "NOTIFY_SOCKET" {
            command.env_remove(name);
        }
    }
    // Any free port: a test is not alone on its machine.
    command.env("TOLLGATE_TCP", "127.0.0.1:0");
    command
}

/// A node that serves. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// Where it serves the binary protocol, if it does.
    pub(crate) tcp: Option<SocketAddr>,
    /// What it has printed.
    pub(crate) printed: String,
}

impl Process {
    /// Runs the command until it says that it serves.
    pub(crate) fn start(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let (mut address, mut tcp) = (None, None);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            printed += &format!("{line}\n");
            // By TLS or not; the address of telemetry has a line of its own.
            if let Some((_, rest)) =
                line.split_once("API on http").and_then(|(_, rest)| rest.split_once("://"))
            {
                address = Some(rest.trim().parse().unwrap());
            }
            if let Some((_, rest)) = line.split_once("Binary protocol: tcp") {
                let place = rest.split_once("://").and_then(|(_, rest)| rest.split_whitespace().next());
                tcp = Some(place.unwrap().parse().unwrap());
            }
            if line.starts_with("Stop with") {
                break;
            }
        }
        let address = address.expect("the node says where it serves");
        Process { child, address, tcp, printed }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Its exit code, if it has ended.
    pub(crate) fn try_wait(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// Its exit code, when it has ended by itself.
    pub(crate) fn wait(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(code) = self.try_wait() {
                return code;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the node does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn terminate(mut self) -> i32 {
        self.signal("-TERM");
        self.wait()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
