//! What is said on a connection: requests put into bytes, and answers heard.

use std::collections::VecDeque;
use std::fmt;

use super::LoadError;
use super::binary::Binary;
use super::http::Http;
use super::tally::Verdict;

/// How the node is told which application is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// By a number that it gave for the credentials.
    Handle,
    /// By its user key, and metrics by their names.
    Key,
}

/// Takes what answers say, in their order.
pub(super) trait Ear {
    /// How call `item` of the request at `place` ended; `said` is for people.
    fn verdict(&mut self, place: u32, item: usize, verdict: Verdict, said: &str) -> Result<(), LoadError>;

    /// How all calls of a request ended.
    fn all(&mut self, place: u32, verdict: Verdict, said: &str) -> Result<(), LoadError>;

    /// The request at `place` is answered.
    fn done(&mut self, place: u32) -> Result<(), LoadError>;
}

/// One of the protocols.
#[derive(Debug)]
pub(super) enum Speech {
    Binary(Binary),
    Http(Http),
    Other(Other),
}

impl Speech {
    /// Appends the request at `place`, for those applications.
    pub(super) fn ask(&mut self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        match self {
            Speech::Binary(binary) => binary.ask(out, place, who),
            Speech::Http(http) => http.ask(out, place, who),
            Speech::Other(other) => other.ask(out, place, who),
        }
    }

    /// Hears what is complete in `received`, and tells how many bytes that was.
    pub(super) fn hear(&mut self, received: &[u8], ear: &mut impl Ear) -> Result<usize, LoadError> {
        match self {
            Speech::Binary(binary) => binary.hear(received, ear),
            Speech::Http(http) => http.hear(received, ear),
            Speech::Other(other) => other.hear(received, ear),
        }
    }
}

/// A protocol that is not ours, whose answers come in the order of the requests: other servers are compared with the
/// same load.
pub trait Foreign: Send {
    /// Appends the request for an application.
    fn ask(&mut self, out: &mut Vec<u8>, who: u32);

    /// How many bytes the first answer in `received` has, and whether it is a yes; `None` if more bytes must come.
    ///
    /// # Errors
    /// It is no answer.
    fn hear(&mut self, received: &[u8]) -> Result<Option<(usize, bool)>, LoadError>;
}

/// One connection's side of a foreign protocol.
pub(super) struct Other {
    foreign: Box<dyn Foreign>,
    asked: VecDeque<u32>,
}

impl Other {
    pub(super) fn new(foreign: Box<dyn Foreign>) -> Other {
        Other { foreign, asked: VecDeque::new() }
    }

    fn ask(&mut self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        who.iter().for_each(|who| self.foreign.ask(out, *who));
        self.asked.push_back(place);
    }

    fn hear(&mut self, received: &[u8], ear: &mut impl Ear) -> Result<usize, LoadError> {
        let mut at = 0;
        while let Some((length, yes)) = self.foreign.hear(&received[at..])? {
            at += length;
            let place =
                self.asked.pop_front().ok_or_else(|| LoadError::Unasked(format!("{length} bytes")))?;
            ear.all(place, if yes { Verdict::Yes } else { Verdict::No }, "")?;
            ear.done(place)?;
        }
        Ok(at)
    }
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Other").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}
