//! What is said on a connection: requests put into bytes, and answers heard.

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
}

impl Speech {
    /// Appends the request at `place`, for those applications.
    pub(super) fn ask(&mut self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        match self {
            Speech::Binary(binary) => binary.ask(out, place, who),
            Speech::Http(http) => http.ask(out, place, who),
        }
    }

    /// Hears what is complete in `received`, and tells how many bytes that was.
    pub(super) fn hear(&mut self, received: &[u8], ear: &mut impl Ear) -> Result<usize, LoadError> {
        match self {
            Speech::Binary(binary) => binary.hear(received, ear),
            Speech::Http(http) => http.hear(received, ear),
        }
    }
}

