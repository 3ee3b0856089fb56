//! The node secret: who has it may call for all services.
//!
//! Its file holds one line, or two while it is being changed: both are valid. It never crosses the wire, and is never
//! logged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use ring::hmac;

/// The least bytes of a line: 128 bits in hex.
pub const SECRET_BYTES_MIN: usize = 32;
/// The most bytes of a line.
pub const SECRET_BYTES_MAX: usize = 128;
/// The most lines: the secret, and the one before it.
pub const SECRETS_MAX: usize = 2;

/// Why a file has no secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretsError {
    /// No line, or too many.
    #[error("{found} lines, where 1 to {SECRETS_MAX} are possible")]
    Lines {
        /// How many there are.
        found: usize,
    },
    /// A line of an impossible length or content.
    #[error(
        "line {line} is not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} visible characters of ASCII without spaces"
    )]
    Line {
        /// Which, from 1.
        line: usize,
    },
}

/// One secret, as the key of a proof.
#[derive(Clone)]
pub(super) struct Secret {
    key: hmac::Key,
    text: Box<str>,
}

impl Secret {
    pub(super) fn new(text: &str) -> Secret {
        Secret { key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()), text: text.into() }
    }

    /// Whether `proof` is this secret's proof of `of`. Takes the same time wherever they differ.
    pub(super) fn proves(&self, of: &[u8], proof: &[u8; 32]) -> bool {
        hmac::verify(&self.key, of, proof).is_ok()
    }

    /// The proof of `of`.
    pub(super) fn proof(&self, of: &[u8]) -> [u8; 32] {
        let mut proof = [0; 32];
        proof.copy_from_slice(hmac::sign(&self.key, of).as_ref());
        proof
    }

    /// The secret itself, to tell whether it is still valid.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secrets that are valid now. Clones share them.
#[derive(Clone)]
pub struct Secrets(Arc<Shared>);

struct Shared {
    valid: ArcSwap<Vec<Secret>>,
    /// Raised whenever they change.
    edition: AtomicU64,
}

impl Secrets {
    /// Those in the text of a secrets file.
    ///
    /// # Errors
    /// [`SecretsError`]
    pub fn parse(text: &str) -> Result<Secrets, SecretsError> {
        let valid = ArcSwap::from_pointee(parse(text)?);
        Ok(Secrets(Arc::new(Shared { valid, edition: AtomicU64::new(0) })))
    }

    /// Takes those of another text from now on; whether they are others than before. Connections by one that is not
    /// valid any more end with their next request.
    ///
    /// # Errors
    /// [`SecretsError`]; the old stay.
    pub fn replace(&self, text: &str) -> Result<bool, SecretsError> {
        let new = parse(text)?;
        let old = self.0.valid.load();
        let same = old.iter().map(Secret::text).eq(new.iter().map(Secret::text));
        if !same {
            self.0.valid.store(Arc::new(new));
            self.0.edition.fetch_add(1, Relaxed);
        }
        Ok(!same)
    }

    pub(super) fn valid(&self) -> Arc<Vec<Secret>> {
        self.0.valid.load_full()
    }

    /// Another number after each change.
    pub(super) fn edition(&self) -> u64 {
        self.0.edition.load(Relaxed)
    }

    /// Whether `secret` still is one of them.
    pub(super) fn has(&self, secret: &Secret) -> bool {
        self.0.valid.load().iter().any(|it| it.text() == secret.text())
    }
}

fn parse(text: &str) -> Result<Vec<Secret>, SecretsError> {
    let lines: Vec<_> = text.lines().collect();
    if !(1..=SECRETS_MAX).contains(&lines.len()) {
        return Err(SecretsError::Lines { found: lines.len() });
    }
    let is_good = |line: &str| {
        (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&line.len())
            && line.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match lines.iter().position(|line| !is_good(line)) {
        Some(at) => Err(SecretsError::Line { line: at + 1 }),
        None => Ok(lines.into_iter().map(Secret::new).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_or_two_of_a_length_are_secrets() {
        let line = |len: usize| "s".repeat(len);
        for (text, good) in [
            (line(SECRET_BYTES_MIN), true),
            (line(SECRET_BYTES_MIN - 1), false),
            (line(SECRET_BYTES_MAX) + "\n", true),
            (line(SECRET_BYTES_MAX + 1), false),
            (format!("{}\r\n{}\n", line(64), line(32)), true),
            (format!("{0}\n{0}\n{0}\n", line(64)), false),
            (format!("{0}\n\n{0}\n", line(64)), false),
            (line(40) + " " + &line(40), false),
            (line(40) + "ü", false),
            (String::new(), false),
        ] {
            assert_eq!(Secrets::parse(&text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn what_is_replaced_is_not_valid_any_more_and_bad_ones_replace_nothing() {
        let [a, b, c] = ["a", "b", "c"].map(|it| it.repeat(64));
        let secrets = Secrets::parse(&a).unwrap();
        let first = secrets.valid()[0].clone();
        assert!(!secrets.replace(&format!("{a}\n")).unwrap());
        assert!(secrets.replace(&format!("{b}\n{a}\n")).unwrap());
        assert!(secrets.has(&first));
        assert!(secrets.replace("short").is_err() && secrets.has(&first));
        assert!(secrets.replace(&format!("{c}\n{b}\n")).unwrap());
        assert!(!secrets.has(&first));
        assert!(!format!("{first:?}").contains("aa"));
    }
}
