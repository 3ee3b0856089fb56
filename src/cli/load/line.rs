//! One connection under load: what is due is sent, what comes is heard.

use std::io::{ErrorKind, Read, Write};

use rustix::event::PollFlags;

use super::LoadError;
use super::flight::Flight;
use super::keys::{Random, Urn};
use super::pace::Pace;
use super::speech::{Ear, Speech};
use super::tally::{Tally, Verdict};
use super::target::Stream;

/// What a read takes at most.
const READ_BYTES: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: Stream,
    speech: Speech,
    flight: Flight,
    out: Vec<u8>,
    received: Vec<u8>,
    filled: usize,
    random: Random,
    pub(super) pace: Option<Pace>,
}

impl Line {
    pub(super) fn new(stream: Stream, speech: Speech, depth: usize, calls: usize, seed: u64) -> Line {
        Line {
            stream,
            speech,
            flight: Flight::new(depth, calls),
            out: Vec::new(),
            received: vec![0; READ_BYTES],
            filled: 0,
            random: Random::new(seed),
            pace: None,
        }
    }

    pub(super) fn unanswered(&self) -> usize {
        self.flight.unanswered()
    }

    /// Puts all that is due and has room into bytes.
    pub(super) fn ask(&mut self, now_ns: u64, end_ns: u64, urn: &Urn, tally: &mut Tally) {
        while self.flight.has_room() {
            let due_ns = self.pace.map_or(now_ns, |pace| pace.due_ns());
            if due_ns > now_ns || due_ns >= end_ns {
                break;
            }
            let Some((place, who)) = self.flight.take(due_ns) else { break };
            who.iter_mut().for_each(|who| *who = urn.draw(&mut self.random));
            self.speech.ask(&mut self.out, place, who);
            if let Some(pace) = &mut self.pace {
                pace.advance();
                tally.sent(now_ns - due_ns);
            }
        }
    }

    /// When there is something to send next, if that is a question of time alone.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.pace.filter(|_| self.flight.has_room()).map(|pace| pace.due_ns())
    }

    /// What it waits for.
    pub(super) fn interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Writes what the other side takes.
    pub(super) fn send(&mut self) -> Result<(), LoadError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What was said before it was cut off may say why: whoever reads next learns it.
                Err(error) if is_end(error.kind()) => {
                    self.out.clear();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.out.drain(..sent);
        Ok(())
    }

    /// Reads once, and hears what is complete. `now_ns` tells the time after reading.
    pub(super) fn receive(
        &mut self,
        now_ns: impl FnOnce() -> u64,
        tally: &mut Tally,
    ) -> Result<(), LoadError> {
        if self.filled == self.received.len() {
            self.received.resize(self.filled * 2, 0);
        }
        match self.stream.read(&mut self.received[self.filled..]) {
            Ok(0) => return Err(LoadError::Closed),
            Ok(count) => self.filled += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) if is_end(error.kind()) => return Err(LoadError::Closed),
            Err(error) => return Err(error.into()),
        }
        self.hear(now_ns(), tally)
    }

    fn hear(&mut self, now_ns: u64, tally: &mut Tally) -> Result<(), LoadError> {
        let mut heard = Heard { flight: &mut self.flight, tally, now_ns };
        let used = self.speech.hear(&self.received[..self.filled], &mut heard)?;
        self.received.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

/// Answers on their way into the tally.
struct Heard<'l> {
    flight: &'l mut Flight,
    tally: &'l mut Tally,
    now_ns: u64,
}

impl Heard<'_> {
    fn unasked(place: u32) -> LoadError {
        LoadError::Unasked(format!("request {place}"))
    }
}

impl Ear for Heard<'_> {
    fn verdict(&mut self, place: u32, item: usize, verdict: Verdict, said: &str) -> Result<(), LoadError> {
        let who =
            self.flight.who(place).and_then(|who| who.get(item)).ok_or_else(|| Heard::unasked(place))?;
        self.tally.verdict(*who, verdict, said);
        Ok(())
    }

    fn all(&mut self, place: u32, verdict: Verdict, said: &str) -> Result<(), LoadError> {
        let who = self.flight.who(place).ok_or_else(|| Heard::unasked(place))?;
        who.iter().for_each(|who| self.tally.verdict(*who, verdict, said));
        Ok(())
    }

    fn done(&mut self, place: u32) -> Result<(), LoadError> {
        let calls = self.flight.who(place).ok_or_else(|| Heard::unasked(place))?.len();
        let intended_ns = self.flight.close(place);
        self.tally.answered(self.now_ns.saturating_sub(intended_ns), calls as u64);
        Ok(())
    }
}
