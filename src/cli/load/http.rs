//! authrep over HTTP, as gateways send it, and the heads of HTTP answers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::LoadError;
use super::speech::Ear;
use super::tally::Verdict;

/// The most bytes of a head: a server that sends more says nothing that we want to know.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The requests of a load, in pieces.
pub(super) struct Requests {
    before: String,
    user_keys: Vec<String>,
    after: String,
}

impl Requests {
    pub(super) fn new(
        host: &str,
        service: &str,
        token: &str,
        user_keys: &[String],
        metrics: &[String],
    ) -> Requests {
        let before = format!(
            "GET /transactions/authrep.xml?service_id={}&service_token={}&user_key=",
            encoded(service),
            encoded(token)
        );
        let usage: String = metrics.iter().map(|name| format!("&usage%5B{}%5D=1", encoded(name))).collect();
        let after = format!("{usage} HTTP/1.1\r\nHost: {host}\r\n3scale-options: no_body=1\r\n\r\n");
        Requests { before, user_keys: user_keys.iter().map(|key| encoded(key)).collect(), after }
    }
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// One connection's side of the conversation: answers come in the order of the requests.
pub(super) struct Http {
    requests: Arc<Requests>,
    asked: VecDeque<u32>,
}

impl Http {
    pub(super) fn new(requests: &Arc<Requests>) -> Http {
        Http { requests: Arc::clone(requests), asked: VecDeque::new() }
    }

    pub(super) fn ask(&mut self, out: &mut Vec<u8>, place: u32, who: &[u32]) {
        let Requests { before, user_keys, after } = &*self.requests;
        let user_key = who.first().and_then(|who| user_keys.get(*who as usize));
        for piece in [before.as_str(), user_key.map_or("", String::as_str), after] {
            out.extend_from_slice(piece.as_bytes());
        }
        self.asked.push_back(place);
    }

    pub(super) fn hear(&mut self, received: &[u8], ear: &mut impl Ear) -> Result<usize, LoadError> {
        let mut at = 0;
        while let Some(head) = Head::read(&received[at..])? {
            let whole = head.length + head.body_length;
            let Some(answer) = received[at..].get(..whole) else { break };
            at += whole;
            let unasked = || LoadError::Unasked(format!("HTTP status {}", head.status));
            let place = self.asked.pop_front().ok_or_else(unasked)?;
            let (verdict, body) = match head.status {
                200 => (Verdict::Yes, &[][..]),
                409 => (Verdict::No, &[][..]),
                status => (Verdict::Failed(status), &answer[head.length..]),
            };
            ear.all(place, verdict, String::from_utf8_lossy(body).trim())?;
            ear.done(place)?;
        }
        Ok(at)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("asked", &self.asked.len()).finish_non_exhaustive()
    }
}

/// What matters of the head of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Bytes of the head, the empty line included.
    pub(super) length: usize,
    pub(super) body_length: usize,
}

impl Head {
    /// The head that `received` begins with; `None` if more bytes must come first.
    pub(super) fn read(received: &[u8]) -> Result<Option<Head>, LoadError> {
        let begin = &received[..received.len().min(HEAD_BYTES_MAX)];
        let Some(end) = memmem::find(begin, b"\r\n\r\n") else {
            let starts_well = begin.iter().zip(b"HTTP/1.").all(|(found, wanted)| found == wanted);
            return match begin.len() {
                _ if !starts_well => Err(LoadError::Http("it does not begin with HTTP/1")),
                HEAD_BYTES_MAX => Err(LoadError::Http("its head has no end")),
                _ => Ok(None),
            };
        };
        let text = std::str::from_utf8(&begin[..end]).map_err(|_| LoadError::Http("its head is no text"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        let status = status.ok_or(LoadError::Http("its first line has no status"))?;
        let mut body_length = 0;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                body_length = value.trim().parse().map_err(|_| LoadError::Http("its length is no number"))?;
            }
            if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(LoadError::Http("it comes in chunks"));
            }
        }
        // The bound is what one answer of a node comes nowhere near.
        if body_length > HEAD_BYTES_MAX << 8 {
            return Err(LoadError::Http("it is longer than 16 MiB"));
        }
        Ok(Some(Head { status, length: end + 4, body_length }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Heard(Vec<(u32, Verdict, String)>);

    impl Ear for Heard {
        fn verdict(&mut self, place: u32, _: usize, verdict: Verdict, said: &str) -> Result<(), LoadError> {
            self.all(place, verdict, said)
        }

        fn all(&mut self, place: u32, verdict: Verdict, said: &str) -> Result<(), LoadError> {
            self.0.push((place, verdict, said.to_owned()));
            Ok(())
        }

        fn done(&mut self, _: u32) -> Result<(), LoadError> {
            Ok(())
        }
    }

    fn http() -> Http {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let requests = Requests::new("h:1", "a/b", "t&", &texts(&["k1", "k 2"]), &texts(&["hits", "m[x]"]));
        Http::new(&Arc::new(requests))
    }

    #[test]
    fn requests_are_those_of_gateways() {
        let mut out = Vec::new();
        http().ask(&mut out, 3, &[1]);
        let line = "GET /transactions/authrep.xml?service_id=a%2Fb&service_token=t%26&user_key=k%202\
                    &usage%5Bhits%5D=1&usage%5Bm%5Bx%5D%5D=1 HTTP/1.1\r\n";
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(line), "{text}");
        assert!(text.ends_with("\r\n3scale-options: no_body=1\r\n\r\n"));
    }

    #[test]
    fn answers_come_in_order_and_in_any_pieces() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\
                      HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\nno\
                      HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nwhy";
        for piece in 1..bytes.len() {
            let (mut http, mut heard) = (http(), Heard::default());
            [5, 3, 4].into_iter().for_each(|place| http.ask(&mut Vec::new(), place, &[0]));
            let (mut buffer, mut rest) = (Vec::new(), &bytes[..]);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                buffer.extend_from_slice(now);
                let used = http.hear(&buffer, &mut heard).unwrap();
                buffer.drain(..used);
                rest = later;
            }
            let wanted = [(5, Verdict::Yes, ""), (3, Verdict::No, ""), (4, Verdict::Failed(403), "why")];
            assert_eq!(heard.0, wanted.map(|(place, verdict, said)| (place, verdict, said.to_owned())));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn what_is_no_answer_says_so() {
        let ok = "HTTP/1.1 200 OK\r\n";
        let endless = format!("{ok}{}", "a: b\r\n".repeat(20_000));
        for wrong in [
            "\u{7f}TGATE",
            "HTTP/1.1 abc\r\n\r\n",
            &format!("{ok}content-length: x\r\n\r\n"),
            &format!("{ok}Transfer-Encoding: chunked\r\n\r\n"),
            &format!("{ok}content-length: 99999999999\r\n\r\n"),
            &endless,
            // Nobody asked.
            "HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert!(http().hear(wrong.as_bytes(), &mut Heard::default()).is_err(), "{wrong:.60}");
        }
        assert!(matches!(Head::read(b"HTTP/1.1 200 OK\r\nx: y\r\n"), Ok(None)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), good: bool) {
            let begin = if good { &b"HTTP/1.1 200 "[..] } else { b"" };
            let _ = http().hear(&[begin, &bytes].concat(), &mut Heard::default());
        }
    }
}
