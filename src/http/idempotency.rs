//! Ids of requests over HTTP: the header `Idempotency-Key`, and `transactions[n][id]` of reports.
//!
//! An id is any text up to [`HTTP_ID_BYTES_MAX`] bytes; blanks around a header's are not part of it. Calls that count nothing
//! need none, and theirs is not looked at.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::answer::Response;
use crate::model::decision::Refusal;
use crate::model::idempotency::HTTP_ID_BYTES_MAX;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const BAD_KEY: Refusal<'static> =
    Refusal::BadRequest { text: "an Idempotency-Key has 1 to 255 bytes, and there is one of it" };
const BAD_ID: Refusal<'static> = Refusal::BadRequest { text: "the id of a transaction has 1 to 255 bytes" };

/// The id of a whole request.
///
/// # Errors
/// There is more than one, or it is empty or too long.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal<'static>> {
    let Some(first) = headers.get(KEY) else { return Ok(None) };
    let id = first.as_bytes().trim_ascii();
    let is_alone = headers.get_all(KEY).iter().nth(1).is_none();
    if is_alone && is_id(id) { Ok(Some(id)) } else { Err(BAD_KEY) }
}

/// The id of a transaction, if it has one; a blank one is none.
///
/// # Errors
/// It is too long.
pub(super) fn transaction_id(id: Option<&str>) -> Result<Option<&[u8]>, Refusal<'static>> {
    match id {
        Some(id) if !is_id(id.as_bytes()) => Err(BAD_ID),
        id => Ok(id.map(str::as_bytes)),
    }
}

/// Says that a request was a repetition.
pub(super) fn mark(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}

fn is_id(id: &[u8]) -> bool {
    (1..=HTTP_ID_BYTES_MAX).contains(&id.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_255_bytes_and_comes_once() {
        let long = "x".repeat(256);
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["a"], Ok(Some(&b"a"[..]))),
            (&[" a b\t"], Ok(Some(b"a b"))),
            (&[&long[1..]], Ok(Some(&long.as_bytes()[1..]))),
            (&[&*long], Err(BAD_KEY)),
            (&[" "], Err(BAD_KEY)),
            (&["a", "a"], Err(BAD_KEY)),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(key(&headers), expected, "{values:?}");
        }
        assert_eq!(transaction_id(None), Ok(None));
        assert_eq!(transaction_id(Some(&long[1..])), Ok(Some(&long.as_bytes()[1..])));
        assert_eq!(transaction_id(Some(&long)), Err(BAD_ID));
    }
}
