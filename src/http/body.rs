//! Request bodies: read within a deadline, inflated within a bound, parsed as form or multipart.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::{BodyDataStream, BodyExt, Full};
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::bodies::Hold;
use super::form::{BYTES_MAX, Builder, Form, FormError, PARAMETERS_MAX};

/// How many times its size a body may inflate to. Reports of nothing but the same transaction, numbered, come to
/// about 25; gzip itself goes to 1032.
pub const INFLATION_MAX: usize = 128;

/// What a body may inflate to in any case: the first bytes of one say little about it.
pub const INFLATION_FREE_BYTES: usize = 64 << 10;

/// Why a body cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is no form, or one that is too large.
    #[error("{0}")]
    Form(#[from] FormError),
    /// Encoded in a way that is not known here.
    #[error("the body is encoded in a way other than gzip")]
    Encoding,
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// Half a body, or not what its headers say.
    #[error("the body broke off or is not what its headers say")]
    Broken,
    /// More than [`INFLATION_MAX`].
    #[error("the body inflates to more than {INFLATION_MAX} times its size")]
    Inflates,
    /// All bodies together have taken what there is.
    #[error("there is no room for the body now")]
    NoRoom,
}

/// What kind of body a report may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
}

/// The kind of body that the headers announce.
///
/// # Errors
/// The type, if it is none that is known.
pub fn kind(headers: &HeaderMap) -> Result<Kind, String> {
    let Some(header) = headers.get(CONTENT_TYPE) else { return Ok(Kind::Form) };
    let text = String::from_utf8_lossy(header.as_bytes());
    let media_type = media_type(&text);
    if media_type.is_empty() || media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Kind::Form)
    } else if media_type.eq_ignore_ascii_case("multipart/form-data") {
        Ok(Kind::Multipart)
    } else {
        Err(text.into_owned())
    }
}

/// What a `Content-Type` says before its parameters.
pub(super) fn media_type(content_type: &str) -> &str {
    content_type.split([';', ',']).next().unwrap_or_default().trim()
}

/// Reads and parses a body, which must arrive within `timeout` and find room.
///
/// # Errors
/// [`BodyError`].
pub async fn read<B>(
    headers: &HeaderMap,
    kind: Kind,
    body: B,
    timeout: Duration,
    room: Hold,
) -> Result<Form, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Received { bytes, .. } = read_bytes(headers, body, timeout, BYTES_MAX, room).await?;
    match kind {
        Kind::Form => Ok(Form::parse(&bytes)?),
        Kind::Multipart => {
            let content_type =
                headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let form = Builder::new(bytes.len());
            parse_multipart(content_type, bytes.into(), form).await
        }
    }
}

/// A body that has arrived, with what it takes of the account of all bodies: whoever keeps it waiting keeps that too.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Hold,
}

/// Reads a body of at most `bytes_max` bytes, as sent and inflated.
pub(super) async fn read_bytes<B>(
    headers: &HeaderMap,
    body: B,
    timeout: Duration,
    bytes_max: usize,
    room: Hold,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let sink = Sink::for_encoding(headers, bytes_max, room)?;
    let collected = tokio::time::timeout(timeout, collect(body, sink, bytes_max)).await;
    collected.map_err(|_| BodyError::TooSlow)?
}

async fn collect<B>(mut body: B, mut sink: Sink, bytes_max: usize) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(FormError::TooLarge.into());
    }
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        // Bounds what is read even if it inflates to nothing.
        received += data.len();
        if received > bytes_max {
            return Err(FormError::TooLarge.into());
        }
        sink.write(&data)?;
    }
    sink.finish()
}

/// Where the bytes of a body go: through a decoder or not, never beyond their bounds.
enum Sink {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Sink {
    fn for_encoding(headers: &HeaderMap, bytes_max: usize, room: Hold) -> Result<Sink, BodyError> {
        let bounded = Bounded { bytes: Vec::new(), bytes_max, received: 0, room, stopped: None };
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        let is = |value: &[u8], name: &str| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        match (encodings.next().map(hyper::header::HeaderValue::as_bytes), encodings.next()) {
            (None, _) => Ok(Sink::Plain(bounded)),
            (Some(one), None) if is(one, "identity") || is(one, "") => Ok(Sink::Plain(bounded)),
            (Some(one), None) if is(one, "gzip") || is(one, "x-gzip") => {
                Ok(Sink::Gzip(Box::new(MultiGzDecoder::new(bounded))))
            }
            _ => Err(BodyError::Encoding),
        }
    }

    fn bounded(&mut self) -> &mut Bounded {
        match self {
            Sink::Plain(bounded) => bounded,
            Sink::Gzip(decoder) => decoder.get_mut(),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), BodyError> {
        self.bounded().received += data.len();
        let result = match self {
            Sink::Plain(bounded) => bounded.write_all(data),
            Sink::Gzip(decoder) => decoder.write_all(data),
        };
        result.map_err(|_| self.bounded().stopped.take().unwrap_or(BodyError::Broken))
    }

    fn finish(mut self) -> Result<Received, BodyError> {
        if let Sink::Gzip(decoder) = &mut self {
            // The last of the output may come only now, so a bound may be met only now.
            let ended = decoder.try_finish();
            if let Some(stopped) = decoder.get_mut().stopped.take() {
                return Err(stopped);
            }
            ended.map_err(|_| BodyError::Broken)?;
        }
        let bytes = std::mem::take(&mut self.bounded().bytes);
        let bounded = match self {
            Sink::Plain(bounded) => bounded,
            Sink::Gzip(decoder) => (*decoder).finish().map_err(|_| BodyError::Broken)?,
        };
        Ok(Received { bytes, room: bounded.room })
    }
}

/// Bytes in memory that refuse to become too many: a bomb is stopped while it inflates.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// What they came from.
    received: usize,
    room: Hold,
    stopped: Option<BodyError>,
}

impl Bounded {
    fn make_room(&mut self, more: usize) -> Result<(), BodyError> {
        let len = self.bytes.len() + more;
        if len > self.bytes_max {
            return Err(FormError::TooLarge.into());
        }
        if len > INFLATION_FREE_BYTES && len / INFLATION_MAX > self.received {
            return Err(BodyError::Inflates);
        }
        if len > self.bytes.capacity() {
            let capacity = len.next_power_of_two().min(self.bytes_max);
            if !self.room.grow_to(capacity) {
                return Err(BodyError::NoRoom);
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.make_room(data.len()) {
            self.stopped = Some(error);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads `multipart/form-data`. Parts without a name and files are passed over, but counted.
pub(super) async fn parse_multipart(
    content_type: &str,
    bytes: Bytes,
    mut form: Builder,
) -> Result<Form, BodyError> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| BodyError::Broken)?;
    let mut parts = multer::Multipart::new(BodyDataStream::new(Full::new(bytes)), boundary);
    let mut count = 0;
    while let Some(part) = parts.next_field().await.map_err(|_| BodyError::Broken)? {
        count += 1;
        if count > PARAMETERS_MAX {
            return Err(FormError::TooMany(count).into());
        }
        let name = part.name().filter(|_| part.file_name().is_none()).map(str::to_owned);
        let value = part.bytes().await.map_err(|_| BodyError::Broken)?;
        if let Some(name) = name {
            form.push_pair(name.as_bytes(), &value)?;
        }
    }
    Ok(form.finish())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::super::bodies::Bodies;
    use super::super::form::Value;
    use super::*;
    use crate::listener::Peer;

    /// Bytes that do not compress.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 24) as u8 % 26
        };
        (0..len).map(|_| next()).collect()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_encoded(encoding: &'static str, body: Vec<u8>) -> Result<usize, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        let bodies = Bodies::default();
        let room = bodies.hold(Peer::of([192, 0, 2, 1].into()));
        let body = Full::new(Bytes::from(body));
        let form = run(read(&headers, Kind::Form, body, Duration::from_secs(60), room));
        form.map(|form| form.entries().count()).map_err(|error| error.to_string())
    }

    #[test]
    fn gzip_is_inflated_within_the_bound() {
        assert_eq!(read_encoded("gzip", gzip(b"a=1&b=2")), Ok(2));
        let two = [gzip(b"a=1&b="), gzip(b"2&c=3")].concat();
        assert_eq!(read_encoded("X-GZip", two), Ok(3));
        let most = noise(BYTES_MAX);
        assert_eq!(read_encoded("gzip", gzip(&most)), Ok(1));
        assert_eq!(read_encoded("identity", most), Ok(1));
        let too_large = Err(FormError::TooLarge.to_string());
        assert_eq!(read_encoded("gzip", gzip(&noise(BYTES_MAX + 1))), too_large);
        assert_eq!(read_encoded("", vec![b'a'; BYTES_MAX + 1]), too_large);
    }

    #[test]
    fn what_inflates_too_much_is_stopped() {
        // Zeros after noise: how large the whole is compressed hardly depends on how many.
        let body = |noise_len: usize, len: usize| {
            let mut body = noise(noise_len);
            body.resize(len, b'a');
            gzip(&body)
        };
        assert_eq!(read_encoded("gzip", body(0, INFLATION_FREE_BYTES)), Ok(1));
        let inflates = Err(BodyError::Inflates.to_string());
        assert_eq!(read_encoded("gzip", body(0, 2 * INFLATION_FREE_BYTES)), inflates);
        // What arrived in one piece was received, so the size comes first.
        let too_large = Err(FormError::TooLarge.to_string());
        assert_eq!(read_encoded("gzip", gzip(&vec![0; 200 << 20])), too_large);
        let bodies = Bodies::default();
        let mut at_the_bound = Bounded {
            bytes: vec![0; INFLATION_FREE_BYTES],
            bytes_max: BYTES_MAX,
            received: 1000,
            room: bodies.hold(Peer::of([127, 0, 0, 1].into())),
            stopped: None,
        };
        let left = INFLATION_MAX * 1001 - 1 - INFLATION_FREE_BYTES;
        assert!(at_the_bound.make_room(left).is_ok());
        assert!(matches!(at_the_bound.make_room(left + 1), Err(BodyError::Inflates)));
    }

    #[test]
    fn an_honest_report_does_not_inflate_too_much() {
        let same = |n| format!("transactions[{n}][app_id]=app1&transactions[{n}][usage][hits]=1");
        let body = (0..2048).map(same).collect::<Vec<_>>().join("&");
        let mut best = GzEncoder::new(Vec::new(), Compression::best());
        best.write_all(body.as_bytes()).unwrap();
        let compressed = best.finish().unwrap();
        assert!(body.len() / compressed.len() < INFLATION_MAX / 4, "{}", body.len() / compressed.len());
    }

    #[test]
    fn a_body_that_is_no_gzip_or_ends_early_is_broken() {
        let broken = Err(BodyError::Broken.to_string());
        let whole = gzip(b"a=1&b=2");
        assert_eq!(read_encoded("gzip", b"a=1".to_vec()), broken);
        assert_eq!(read_encoded("gzip", whole[..whole.len() - 3].to_vec()), broken);
        assert_eq!(read_encoded("br", whole), Err(BodyError::Encoding.to_string()));
    }

    fn multipart(parts: &str) -> Result<Form, BodyError> {
        let body = format!("{parts}--X--\r\n");
        run(parse_multipart("multipart/form-data; boundary=X", Bytes::from(body), Builder::new(0)))
    }

    fn part(name: &str, value: &str) -> String {
        format!("--X\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n")
    }

    #[test]
    fn parts_are_parameters_and_files_are_not() {
        let parts = [
            part("name=\"transactions[0][app_id]\"", "a%20b"),
            part("name=\"file\"; filename=\"x\"", "1"),
            part("name=\"service_id\"", "1"),
        ];
        let form = multipart(&parts.concat()).unwrap();
        let names: Vec<_> = form.entries().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["transactions", "service_id"]);
        let Some((_, Value::Hash(mut transactions))) = form.entries().next() else { panic!("no hash") };
        let Some((_, Value::Hash(mut first))) = transactions.next() else { panic!("no hash") };
        assert_eq!(first.next().and_then(|(_, value)| value.text()), Some("a%20b"));
    }

    #[test]
    fn parts_are_bounded_in_number() {
        let many = |count| multipart(&part("name=a", "1").repeat(count));
        assert!(many(PARAMETERS_MAX).is_ok());
        assert!(matches!(many(PARAMETERS_MAX + 1), Err(BodyError::Form(FormError::TooMany(4097)))));
        let files = part("name=a; filename=b", "1").repeat(PARAMETERS_MAX + 1);
        assert!(matches!(multipart(&files), Err(BodyError::Form(FormError::TooMany(4097)))));
    }

    #[test]
    fn kinds_are_told_by_media_type() {
        let kind_of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            kind(&headers)
        };
        assert_eq!(kind(&HeaderMap::new()), Ok(Kind::Form));
        assert_eq!(kind_of(""), Ok(Kind::Form));
        assert_eq!(kind_of("Application/X-WWW-Form-URLencoded; charset=utf-8"), Ok(Kind::Form));
        assert_eq!(kind_of("multipart/form-data; boundary=X"), Ok(Kind::Multipart));
        assert_eq!(kind_of("text/xml; charset=x"), Err("text/xml; charset=x".to_owned()));
    }

    proptest! {
        #[test]
        fn any_multipart_body_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let body = [b"--X\r\nContent-Disposition: form-data; name=a\r\n".as_slice(), &bytes].concat();
            let _ = run(parse_multipart("multipart/form-data; boundary=X", Bytes::from(body), Builder::new(0)));
        }

        #[test]
        fn any_multipart_header_is_read_or_refused(header in ".{0,60}", head in "[ -~\r\n]{0,80}") {
            let content_type = format!("multipart/form-data; {header}");
            let _ = run(parse_multipart(&content_type, Bytes::from(format!("--X\r\n{head}\r\n\r\n1\r\n--X--")), Builder::new(0)));
        }

        #[test]
        fn any_gzip_body_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..60) {
            let mut body = gzip(&bytes);
            body.truncate(body.len().saturating_sub(cut));
            let _ = read_encoded("gzip", body);
            let _ = read_encoded("gzip", bytes);
        }
    }
}
