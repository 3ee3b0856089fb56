//! Bodies of reports: gzip and multipart. The first byte says how the rest is sent, the second where it is cut in two.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::runtime::{Builder, Runtime};
use tollgate::http::bodies::Bodies;
use tollgate::http::body::{BodyError, Kind, read};
use tollgate::http::form::Form;
use tollgate::listener::Peer;

use super::form::render;

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime of one thread");
}

/// Reads a body; its tree as text, or why there is none.
fn read_as(kind: Kind, gzip: bool, body: &[u8]) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if kind == Kind::Multipart {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=X"));
    }
    let bodies = Bodies::default();
    let room = bodies.hold(Peer::of(Ipv4Addr::new(192, 0, 2, 1).into()));
    let body = Full::new(Bytes::copy_from_slice(body));
    let patience = Duration::from_secs(60);
    let form = RUNTIME.with(|it| it.block_on(read(&headers, kind, body, patience, room)));
    match form {
        Ok(form) => Ok(shown(&form)),
        Err(error) => {
            assert!(
                !matches!(error, BodyError::TooSlow | BodyError::NoRoom | BodyError::Encoding),
                "{error}"
            );
            Err(error.to_string())
        }
    }
}

fn shown(form: &Form) -> String {
    let mut text = String::new();
    render(form.entries(), &mut text);
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

/// One input.
pub fn run(bytes: &[u8]) {
    let [how, cut, body @ ..] = bytes else { return };
    let plain = || Form::parse(body).map(|form| shown(&form)).map_err(|error| error.to_string());
    match how % 5 {
        // As it is, it may be anything.
        0 => drop(read_as(Kind::Form, true, body)),
        1 => drop(read_as(Kind::Multipart, true, body)),
        2 => drop(read_as(Kind::Multipart, false, body)),
        3 => assert_eq!(read_as(Kind::Form, false, body), plain()),
        // Two members are one body.
        _ => {
            let (first, second) = body.split_at(usize::from(*cut).min(body.len()));
            let read = read_as(Kind::Form, true, &[gzip(first), gzip(second)].concat());
            if read != Err(BodyError::Inflates.to_string()) {
                assert_eq!(read, plain());
            }
        }
    }
}
