//! The table: what is sent, and the statuses of all answers to it and to the honest request behind it. An attack
//! after which the connection is closed ends with its own status; one that is survived ends with the honest 200.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

pub(crate) struct Attack {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: Vec<u16>,
}

fn row(name: &str, bytes: impl AsRef<[u8]>, answers: &[u16]) -> Attack {
    Attack { name: name.to_owned(), bytes: bytes.as_ref().to_vec(), answers: answers.to_vec() }
}

pub(crate) fn attacks() -> Vec<Attack> {
    [lengths(), chunks(), lines(), heads(), targets(), forms(), encodings(), foreign()]
        .into_iter()
        .flatten()
        .collect()
}

const REPORT: &str = "POST /transactions.xml HTTP/1.1\r\nHost: a\r\n";

/// A request that must never be answered: it is hidden in another's body.
const HIDDEN: &str = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("{REPORT}{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Where a body ends.
fn lengths() -> Vec<Attack> {
    let hidden = HIDDEN.len();
    vec![
        row(
            "two lengths",
            format!("{REPORT}Content-Length: 0\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}"),
            &[400],
        ),
        row(
            "two equal lengths",
            format!("{REPORT}Content-Length: {hidden}\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}"),
            &[403, 200],
        ),
        row(
            "a list of lengths",
            format!("{REPORT}Content-Length: {hidden}, {hidden}\r\n\r\n{HIDDEN}"),
            &[400],
        ),
        row("a signed length", format!("{REPORT}Content-Length: +{hidden}\r\n\r\n{HIDDEN}"), &[400]),
        row("a negative length", format!("{REPORT}Content-Length: -1\r\n\r\n"), &[400]),
        row("a hexadecimal length", format!("{REPORT}Content-Length: 0x5\r\n\r\nabcde"), &[400]),
        row(
            "a length beyond 64 bits",
            format!("{REPORT}Content-Length: 99999999999999999999\r\n\r\n"),
            &[400],
        ),
        row("a length of 2^64 - 1", format!("{REPORT}Content-Length: 18446744073709551615\r\n\r\n"), &[431]),
        row("an empty length", format!("{REPORT}Content-Length:\r\n\r\n"), &[400]),
        // Chunks win, what follows is not read.
        row(
            "a length before chunks",
            format!("{REPORT}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
            &[403],
        ),
        row(
            "a length after chunks",
            format!("{REPORT}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{HIDDEN}"),
            &[403],
        ),
        row(
            "a body of a GET",
            format!("GET /check.txt HTTP/1.1\r\nHost: a\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}"),
            &[200, 200],
        ),
        row(
            "a body that no path wants",
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {hidden}\r\n\r\n{HIDDEN}"),
            &[404, 200],
        ),
    ]
}

/// How a body is cut up.
fn chunks() -> Vec<Attack> {
    let chunked = |body: &str| format!("{REPORT}Transfer-Encoding: chunked\r\n\r\n{body}");
    let coded = |coding: &str| format!("{REPORT}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
    vec![
        row("chunks in order", chunked("3\r\nabc\r\n0\r\n\r\n"), &[403, 200]),
        row("a chunk beyond 64 bits", chunked("fffffffffffffffff\r\nabc\r\n"), &[400]),
        // It could be true, so the rest is waited for, but not for long.
        row("a chunk of 2^64 - 1", chunked("ffffffffffffffff\r\nabc\r\n"), &[408]),
        row("a chunk size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), &[400]),
        row("a negative chunk", chunked("-3\r\nabc\r\n0\r\n\r\n"), &[400]),
        row("a chunk without a size", chunked("\r\nabc\r\n0\r\n\r\n"), &[400]),
        row("a chunk size and a bare LF", chunked("3\nabc\r\n0\r\n\r\n"), &[400]),
        row("a chunk and a bare LF", chunked("3\r\nabc\n0\r\n\r\n"), &[400]),
        row("a chunk extension and a bare LF", chunked("3;x\nabc\r\n0\r\n\r\n"), &[400]),
        row(
            "endless chunk extensions",
            chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20_000))),
            &[400],
        ),
        row("endless trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(5_000))), &[400]),
        row("chunks that are not last", coded("chunked, gzip"), &[400]),
        row("no chunks", coded("identity"), &[400]),
        row("a misspelt coding", coded("xchunked"), &[400]),
        row("a coding with a tail", coded("chunked;q=1"), &[400]),
        row(
            "codings on two lines",
            format!("{REPORT}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
            &[400],
        ),
        row(
            "space before the colon",
            format!("{REPORT}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            &[400],
        ),
        row(
            "a coding in HTTP/1.0",
            "POST /transactions.xml HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
    ]
}

/// How lines and fields are written.
fn lines() -> Vec<Attack> {
    let with = |header: &str| format!("GET /check.txt HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    vec![
        row("a folded header", with("X: a\r\n b"), &[400]),
        row("a folded first header", "GET /check.txt HTTP/1.1\r\n Host: a\r\n\r\n", &[400]),
        row("NUL in a header", with("X: a\0b"), &[400]),
        row("NUL in a name", with("X\0: a"), &[400]),
        row("NUL in the target", "GET /check.txt\0 HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        row("a bare CR in a header", with("X: a\rb"), &[400]),
        row("a control character in a header", with("X: a\x0bb"), &[400]),
        row("DEL in a header", with("X: \x7f"), &[400]),
        row("a header without a colon", with("X"), &[400]),
        row("a header without a name", with(": a"), &[400]),
        row("a space in the target", "GET /check.txt x HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        row("a tab for a space", "GET\t/check.txt\tHTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        row("no version", "GET /check.txt\r\nHost: a\r\n\r\n", &[400]),
        row("a version that is not", "GET /check.txt HTTP/1.2\r\nHost: a\r\n\r\n", &[400]),
        row("a method in small letters", "get /check.txt HTTP/1.1\r\nHost: a\r\n\r\n", &[404, 200]),
        row("a method that is no token", "G@T /check.txt HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        // RFC 9112, 2.2 lets a reader take a bare LF for the end of a line. hyper does; nothing can hide in it here,
        // since the node reads a request in one place only.
        row("bare LFs in a head", "GET /check.txt HTTP/1.1\nHost: a\n\n", &[200, 200]),
        row(
            "a bare LF in a header",
            with(&format!("X: a\nContent-Length: {}", HIDDEN.len())) + HIDDEN,
            &[200, 200],
        ),
    ]
}

/// How much a head may hold, and what it must not say.
fn heads() -> Vec<Attack> {
    let many =
        |count: usize| format!("GET /check.txt HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let long = |len: usize| {
        let start = "GET /check.txt HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
    };
    let with = |headers: &str| format!("GET /check.txt HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
    let host = |headers: &str| format!("GET /check.txt HTTP/1.1\r\n{headers}\r\n\r\n");
    vec![
        row("as many headers as may be", many(tollgate::http::HEADERS_MAX), &[200, 200]),
        row("one header more", many(tollgate::http::HEADERS_MAX + 1), &[431]),
        row("a head as large as may be", long(16 << 10), &[200, 200]),
        row("a head of one byte more", long((16 << 10) + 1), &[431]),
        row("a long target", get(&format!("/{}", "x".repeat(20_000))), &[431]),
        row("a long method", format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(20_000)), &[431]),
        row("a head of a megabyte", with(&format!("X: {}", "x".repeat(1 << 20))), &[431]),
        row("no host", host("X: y"), &[400, 200]),
        row("two hosts", host("Host: a\r\nHost: b"), &[400, 200]),
        row("two equal hosts", host("Host: a\r\nHost: a"), &[400, 200]),
        row("a host of nonsense", host("Host: a/../b?c#d@e"), &[200, 200]),
        row("an empty host", host("Host:"), &[200, 200]),
        row(
            "an overridden method",
            "POST /check.txt HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: GET\r\nX-HTTP-Method: GET\r\nX-Method-Override: GET\r\nContent-Length: 11\r\n\r\n_method=GET",
            &[404, 200],
        ),
        row(
            "a GET made a POST",
            "GET /transactions.xml?_method=POST HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: POST\r\n\r\n",
            &[404, 200],
        ),
        row(
            "an overridden path",
            "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Original-URL: /check.txt\r\nX-Rewrite-URL: /check.txt\r\n\r\n",
            &[404, 200],
        ),
        row(
            "an upgrade to HTTP/2",
            with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
            &[200, 200],
        ),
        row("an upgrade to WebSocket", with("Connection: Upgrade\r\nUpgrade: websocket"), &[200, 200]),
        row("options twice", with("3scale-options: no_body=1\r\n3scale-options: no_body=0"), &[200, 200]),
    ]
}

/// What a request may be for.
fn targets() -> Vec<Attack> {
    vec![
        row("an absolute target", get("http://elsewhere.example/check.txt"), &[200, 200]),
        row("an absolute target with a user", get("http://u:p@elsewhere.example/check.txt"), &[200, 200]),
        row("an authority for a target", get("elsewhere.example:443"), &[404, 200]),
        row("a tunnel", "CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", &[404, 200]),
        row("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[204, 200]),
        row("a GET for an asterisk", get("*"), &[404, 200]),
        row("a target that is no path", get("check.txt"), &[404, 200]),
        row("two slashes", get("//check.txt"), &[404, 200]),
        row("dots", get("/transactions/../check.txt"), &[404, 200]),
        row("an encoded dot", get("/check%2etxt"), &[404, 200]),
        row("an encoded NUL", get("/check.txt%00"), &[404, 200]),
        row("telemetry", get("/metrics"), &[404, 200]),
        row("telemetry elsewhere", get("http://localhost:3001/metrics"), &[404, 200]),
        row("the internal API", get("/internal/services/1"), &[404, 200]),
    ]
}

/// What parameters may be.
fn forms() -> Vec<Attack> {
    let query = |query: &str| get(&format!("/transactions/authrep.xml?{query}"));
    let nested = |depth: usize| format!("usage{}=1", "[a]".repeat(depth));
    vec![
        row("as many parameters as may be", query(&vec!["a"; 4096].join("&")), &[403, 200]),
        row("one parameter more", query(&vec!["a"; 4097].join("&")), &[400, 200]),
        row("brackets as deep as may be", query(&nested(31)), &[403, 200]),
        row("brackets one deeper", query(&nested(32)), &[400, 200]),
        row("thousands of brackets", query(&nested(4000)), &[400, 200]),
        row("thousands of open brackets", query(&"[".repeat(8000)), &[403, 200]),
        row("a bad escape", query("a=%zz"), &[400, 200]),
        row("what is no UTF-8", query("a=%ff"), &[422, 200]),
        row("NULs in a parameter", query("user_key=%00%00&provider_key=%00"), &[403, 200]),
        row("a text that becomes a hash", query("usage=1&usage[a]=1"), &[400, 200]),
        row("a body too large by its length", format!("{REPORT}Content-Length: 4194305\r\n\r\n"), &[400]),
        row(
            "parameters beyond number in a body",
            post("", vec!["a"; 5000].join("&").as_bytes()),
            &[400, 200],
        ),
        row("a type that is no form", post("Content-Type: text/xml\r\n", b"<a/>"), &[400, 200]),
        row(
            "parts without a boundary",
            post("Content-Type: multipart/form-data\r\n", b"--x--\r\n"),
            &[400, 200],
        ),
        row(
            "parts without an end",
            post("Content-Type: multipart/form-data; boundary=x\r\n", &b"--x\r\n\r\n".repeat(3000)),
            &[400, 200],
        ),
        row(
            "a part's endless head",
            post(
                "Content-Type: multipart/form-data; boundary=x\r\n",
                &[b"--x\r\nX: ".as_slice(), &vec![b'y'; 1 << 20]].concat(),
            ),
            &[400, 200],
        ),
        row(
            "parts beyond number",
            post(
                "Content-Type: multipart/form-data; boundary=x\r\n",
                &b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n".repeat(5000),
            ),
            &[400, 200],
        ),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a body may hide.
fn encodings() -> Vec<Attack> {
    let gzipped = |body: &[u8]| post("Content-Encoding: gzip\r\n", body);
    let bomb = gzip(&vec![0; 1 << 20]);
    vec![
        row("a small bomb", gzipped(&bomb), &[400, 200]),
        row("a bomb of 256 MiB", gzipped(&gzip(&vec![0; 256 << 20])), &[400]),
        row("a bomb of many small members", gzipped(&gzip(&[0; 2000]).repeat(5000)), &[400, 200]),
        row("a bomb in a bomb", post("Content-Encoding: gzip, gzip\r\n", &gzip(&bomb)), &[415, 200]),
        row(
            "two encodings",
            post("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", &bomb),
            &[415, 200],
        ),
        row("a hundred thousand empty members", gzipped(&gzip(b"").repeat(100_000)), &[403, 200]),
        row("an encoding that is not known", post("Content-Encoding: br\r\n", b"abc"), &[415, 200]),
        row("what is no gzip", gzipped(b"abc"), &[400, 200]),
        row("half a gzip", gzipped(&bomb[..20]), &[400, 200]),
        row("a gzip with a wrong sum", gzipped(&[&gzip(b"a=1")[..20], &[0; 8]].concat()), &[400, 200]),
    ]
}

/// What is no HTTP/1 at all.
fn foreign() -> Vec<Attack> {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1000)
    .collect();
    vec![
        row("noise", noise, &[400]),
        row("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), &[400]),
        row("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
        row("HTTP/0.9", "GET /\r\n", &[400]),
        row("SSH", "SSH-2.0-x\r\n\r\n", &[400]),
        row("SMTP", "EHLO a\r\nMAIL FROM:<a>\r\n", &[400]),
        row("Redis", "*1\r\n$8\r\nFLUSHALL\r\n", &[400]),
        row(
            "a PROXY line",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /check.txt HTTP/1.1\r\nHost: a\r\n\r\n",
            &[400],
        ),
        row("empty lines before a request", "\r\n".repeat(100), &[200]),
    ]
}
