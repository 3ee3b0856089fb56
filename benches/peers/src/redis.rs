//! Servers that speak Redis' protocol.

use std::sync::Arc;
use std::time::Duration;

use tollgate::cli::load::{By, Crew, Foreign, LoadError, Target};

use crate::load::{run, setup};
use crate::servers::Running;
use crate::{Peer, Round, key};

/// A server and what it is asked.
pub(super) struct Client {
    running: Running,
    crew: Crew,
    applications: usize,
    name: &'static str,
}

impl Client {
    /// INCR and EXPIRE: the fixed window that everybody builds of Redis.
    pub(super) fn redis(running: Running, applications: usize) -> Result<Client, LoadError> {
        let ask = |key: &str| [command(&["INCR", key]), command(&["EXPIRE", key, "60"])].concat();
        let name = "redis-server, INCR and EXPIRE, one window";
        Client::new(running, applications, name, ask, Answer::CountAndSet)
    }

    /// THROTTLE: one limit (GCRA).
    pub(super) fn throttlecrab(running: Running, applications: usize) -> Result<Client, LoadError> {
        let ask = |key: &str| command(&["THROTTLE", key, "1000000000", "1000000000", "60"]);
        let name = "throttlecrab-server 0.4.40, THROTTLE, one limit";
        Client::new(running, applications, name, ask, Answer::Throttled)
    }

    fn new(
        running: Running,
        applications: usize,
        name: &'static str,
        ask: impl Fn(&str) -> Vec<u8>,
        answer: Answer,
    ) -> Result<Client, LoadError> {
        // Written once: what a client takes to write them is nobody's figure.
        let asks: Arc<[Vec<u8>]> = (0..applications).map(|number| ask(&key(number))).collect();
        let make = || -> Box<dyn Foreign> { Box::new(Resp { asks: Arc::clone(&asks), answer }) };
        let target = Target::Tcp(running.address);
        let crew = Crew::connect_foreign(&target, applications, &setup(By::Key), make)?;
        Ok(Client { running, crew, applications, name })
    }
}

impl Peer for Client {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        run(&mut self.crew, self.running.pid(), self.applications, duration)
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_text: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words_text}", words.len()).into_bytes()
}

/// What one decision is answered.
#[derive(Clone, Copy)]
enum Answer {
    /// Two numbers: the count, then 1.
    CountAndSet,
    /// Five numbers, the first of which is 1 for yes.
    Throttled,
}

struct Resp {
    asks: Arc<[Vec<u8>]>,
    answer: Answer,
}

impl Foreign for Resp {
    fn ask(&mut self, out: &mut Vec<u8>, who: u32) {
        out.extend_from_slice(&self.asks[who as usize]);
    }

    fn hear(&mut self, received: &[u8]) -> Result<Option<(usize, bool)>, LoadError> {
        let mut lines = Lines { received, at: 0 };
        let numbers = match self.answer {
            Answer::CountAndSet => lines.numbers(2)?,
            Answer::Throttled => match lines.next() {
                Some(b"*5") => lines.numbers(5)?,
                Some(other) => return Err(unexpected(other)),
                None => None,
            },
        };
        let yes = |numbers: [i64; 5]| match self.answer {
            Answer::CountAndSet => numbers[1] == 1,
            Answer::Throttled => numbers[0] == 1,
        };
        Ok(numbers.map(|numbers| (lines.at, yes(numbers))))
    }
}

struct Lines<'r> {
    received: &'r [u8],
    at: usize,
}

impl<'r> Lines<'r> {
    fn next(&mut self) -> Option<&'r [u8]> {
        let rest = &self.received[self.at..];
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        self.at += end + 2;
        Some(&rest[..end])
    }

    /// So many numbers, if they are there.
    fn numbers(&mut self, count: usize) -> Result<Option<[i64; 5]>, LoadError> {
        let mut numbers = [0; 5];
        for place in &mut numbers[..count] {
            let Some(line) = self.next() else { return Ok(None) };
            let number =
                line.strip_prefix(b":").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            *place = number.ok_or_else(|| unexpected(line))?;
        }
        Ok(Some(numbers))
    }
}

fn unexpected(line: &[u8]) -> LoadError {
    LoadError::Unasked(String::from_utf8_lossy(line).into_owned())
}
