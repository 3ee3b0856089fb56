//! Ids of requests over HTTP: the header `Idempotency-Key`, or `Idempotency-Producer` with `Idempotency-Sequence`; and
//! `transactions[n][id]` of reports.
//!
//! An id is any text up to [`HTTP_ID_BYTES_MAX`] bytes; blanks around a header's are not part of it. Calls that count nothing
//! need none, and theirs is not looked at.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::answer::Response;
use crate::model::decision::Refusal;
use crate::model::idempotency::{HTTP_ID_BYTES_MAX, PRODUCER_BYTES_MAX, RequestId};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PRODUCER: HeaderName = HeaderName::from_static("idempotency-producer");
const SEQUENCE: HeaderName = HeaderName::from_static("idempotency-sequence");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const BAD_KEY: Refusal<'static> =
    Refusal::BadRequest { text: "an Idempotency-Key has 1 to 255 bytes, and there is one of it" };
const BAD_PRODUCER: Refusal<'static> =
    Refusal::BadRequest { text: "an Idempotency-Producer has 1 to 64 bytes, and there is one of it" };
const BAD_SEQUENCE: Refusal<'static> = Refusal::BadRequest {
    text: "with an Idempotency-Producer goes one Idempotency-Sequence, a whole number from 1 to 18446744073709551615",
};
const BOTH: Refusal<'static> =
    Refusal::BadRequest { text: "a request has an Idempotency-Key or an Idempotency-Producer, not both" };
const BAD_ID: Refusal<'static> = Refusal::BadRequest { text: "the id of a transaction has 1 to 255 bytes" };

/// What a whole request is known by.
///
/// # Errors
/// There is more than one, or it is empty, too long, or a number that is none.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<RequestId<'_>>, Refusal<'static>> {
    let key = one(headers, &KEY, HTTP_ID_BYTES_MAX).map_err(|()| BAD_KEY)?;
    let producer = one(headers, &PRODUCER, PRODUCER_BYTES_MAX).map_err(|()| BAD_PRODUCER)?;
    // Twenty digits, and any zeros before them that fit.
    let sequence = one(headers, &SEQUENCE, HTTP_ID_BYTES_MAX).map_err(|()| BAD_SEQUENCE)?;
    match (key, producer, sequence) {
        (None, None, None) => Ok(None),
        (Some(id), None, None) => Ok(Some(RequestId::Key(id))),
        (None, Some(producer), Some(sequence)) => {
            let digits =
                std::str::from_utf8(sequence).ok().filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
            let sequence = digits.and_then(|it| it.parse().ok()).filter(|it| *it > 0).ok_or(BAD_SEQUENCE)?;
            Ok(Some(RequestId::Numbered { producer, sequence }))
        }
        (None, ..) => Err(BAD_SEQUENCE),
        (Some(_), ..) => Err(BOTH),
    }
}

/// The value of a header, blanks around it aside.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName, len_max: usize) -> Result<Option<&'h [u8]>, ()> {
    let Some(first) = headers.get(name) else { return Ok(None) };
    let value = first.as_bytes().trim_ascii();
    let is_alone = headers.get_all(name).iter().nth(1).is_none();
    if is_alone && (1..=len_max).contains(&value.len()) { Ok(Some(value)) } else { Err(()) }
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
            assert_eq!(
                request_id(&headers),
                expected.map(|id: Option<&[u8]>| id.map(RequestId::Key)),
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_producer_has_a_name_and_a_number_and_no_key_beside_it() {
        let long = "x".repeat(65);
        for (values, expected) in [
            (
                &[("idempotency-producer", "p"), ("idempotency-sequence", " 18446744073709551615 ")][..],
                Ok(u64::MAX),
            ),
            (&[("idempotency-producer", &long[1..]), ("idempotency-sequence", "007")], Ok(7)),
            (&[("idempotency-producer", &long), ("idempotency-sequence", "1")], Err(BAD_PRODUCER)),
            (&[("idempotency-producer", "p")], Err(BAD_SEQUENCE)),
            (&[("idempotency-sequence", "1")], Err(BAD_SEQUENCE)),
            (&[("idempotency-producer", "p"), ("idempotency-sequence", "0")], Err(BAD_SEQUENCE)),
            (&[("idempotency-producer", "p"), ("idempotency-sequence", "+1")], Err(BAD_SEQUENCE)),
            (
                &[("idempotency-producer", "p"), ("idempotency-sequence", "18446744073709551616")],
                Err(BAD_SEQUENCE),
            ),
            (
                &[("idempotency-producer", "p"), ("idempotency-sequence", "1"), ("idempotency-key", "k")],
                Err(BOTH),
            ),
            (&[("idempotency-producer", "p"), ("idempotency-key", "k")], Err(BOTH)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let found = request_id(&headers).map(|id| match id {
                Some(RequestId::Numbered { producer, sequence }) => {
                    assert_eq!(producer, values[0].1.as_bytes());
                    sequence
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn the_id_of_a_transaction_has_up_to_255_bytes() {
        let long = "x".repeat(256);
        assert_eq!(transaction_id(None), Ok(None));
        assert_eq!(transaction_id(Some(&long[1..])), Ok(Some(&long.as_bytes()[1..])));
        assert_eq!(transaction_id(Some(&long)), Err(BAD_ID));
    }
}
