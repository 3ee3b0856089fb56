//! TLS that is none, is old, is a stranger's, or changes while the node runs.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::authority::{Authority, Tls, over, write_private};
use super::victim::{CONNECTIONS_MAX, CUT_OFF_WITHIN, Victim, connect};
use super::{read_to_end, statuses};

/// Files of a listener's certificate.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        write_private(&self.path(name), text);
    }

    fn put_certificate(&self, authority: &Authority) -> CertificateDer<'static> {
        let (certificate, key) = authority.sign();
        self.put("chain.pem", &certificate.pem());
        self.put("key.pem", &key.serialize_pem());
        certificate.der().clone()
    }
}

/// Who connects, and how.
struct Visitor<'a> {
    authority: &'a Authority,
    version: &'static SupportedProtocolVersion,
    alpn: &'static str,
    certificate: Option<(rcgen::Certificate, KeyPair)>,
}

impl<'a> Visitor<'a> {
    fn of(authority: &'a Authority) -> Visitor<'a> {
        Visitor { authority, version: &TLS13, alpn: "http/1.1", certificate: None }
    }

    fn connect(self, address: SocketAddr) -> Tls {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(self.authority.trusted());
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![self.alpn.into()];
        over(connect(address), Arc::new(config))
    }
}

/// The answer to a request, or why there is none.
fn ask(stream: &mut Tls, path: &str) -> Result<u16, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("closed".into());
        }
        all.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() >= length.parse().unwrap() {
            return Ok(head.split(' ').nth(1).unwrap().parse().unwrap());
        }
    }
}

struct Fixture {
    server: Authority,
    clients: Authority,
    files: Files,
    victim: Victim,
}

/// A node with TLS on both listeners; the admin listener wants client certificates.
fn fixture() -> Fixture {
    fixture_with(&[])
}

/// As [`fixture`], with more flags.
fn fixture_with(more: &[&str]) -> Fixture {
    let (server, clients) = (Authority::new(), Authority::new());
    let files = Files { dir: tempfile::tempdir().unwrap() };
    files.put_certificate(&server);
    files.put("clients.pem", &clients.certificate.pem());
    let path = |name| files.path(name).to_str().unwrap().to_owned();
    let (chain, key, ca) = (path("chain.pem"), path("key.pem"), path("clients.pem"));
    let flags = [
        ["--http-tls-cert", &chain],
        ["--http-tls-key", &key],
        ["--admin-tls-cert", &chain],
        ["--admin-tls-key", &key],
        ["--admin-tls-client-ca", &ca],
    ];
    let victim = Victim::start(&[flags.as_flattened(), more].concat());
    Fixture { server, clients, files, victim }
}

#[test]
fn only_tls_1_3_and_the_right_certificates_are_let_in() {
    let Fixture { server, clients, victim, .. } = fixture();
    let mut good = Visitor::of(&server).connect(victim.http);
    assert_eq!(ask(&mut good, "/check.txt"), Ok(200));
    assert_eq!(ask(&mut good, "/check.txt"), Ok(200), "the connection is kept");
    assert_eq!(good.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));

    let with = |certificate| Visitor { certificate, ..Visitor::of(&server) };
    let signed_by_itself = {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap(), key)
    };
    for (name, visitor, address, expected) in [
        ("TLS 1.2", Visitor { version: &TLS12, ..with(None) }, victim.http, "ProtocolVersion"),
        ("HTTP/2", Visitor { alpn: "h2", ..with(None) }, victim.http, "NoApplicationProtocol"),
        ("no certificate", with(None), victim.admin, "CertificateRequired"),
        ("a stranger's", with(Some(server.sign())), victim.admin, "UnknownCA|DecryptError"),
        ("one of its own", with(Some(signed_by_itself)), victim.admin, "UnknownCA|DecryptError"),
    ] {
        let refused = ask(&mut visitor.connect(address), "/metrics").expect_err(name);
        assert!(expected.split('|').any(|part| refused.contains(part)), "{name}: {refused}");
    }
    assert_eq!(ask(&mut with(Some(clients.sign())).connect(victim.admin), "/metrics"), Ok(200));
    assert_eq!(ask(&mut good, "/check.txt"), Ok(200), "nobody else noticed");
}

#[test]
fn what_is_no_tls_ends_soon() {
    let Fixture { server, victim, .. } = fixture();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let started = Instant::now();
    let rows: [(&str, Vec<u8>); 8] = [
        ("nothing", Vec::new()),
        ("plain HTTP", b"GET /check.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("noise", (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("half a hello", hello.to_vec()),
        ("a hello of zeros", [hello.as_slice(), &[0; 2000]].concat()),
        ("a record of 64 KiB", [b"\x16\x03\x01\xff\xff".as_slice(), &[0; 70_000]].concat()),
        ("many empty records", b"\x16\x03\x03\x00\x00".repeat(5000)),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec()),
    ];
    std::thread::scope(|scope| {
        for (name, bytes) in &rows {
            let address = victim.http;
            scope.spawn(move || {
                let mut stream = connect(address);
                let _ = stream.write_all(bytes);
                let answer = read_to_end(&mut stream);
                assert!(!answer.starts_with(b"HTTP"), "{name}");
            });
        }
    });
    // Those who go on saying nothing have the time of a handshake, which is a second here.
    assert!(started.elapsed() < CUT_OFF_WITHIN, "{:?}", started.elapsed());
    assert_eq!(ask(&mut Visitor::of(&server).connect(victim.http), "/check.txt"), Ok(200));
    victim.is_left_alone();
}

#[test]
fn a_handshake_is_a_connection_too() {
    // Long enough that all are there before the first is shown out.
    let Fixture { server, victim, .. } = fixture_with(&["--head-timeout-s", "4"]);
    let guests: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(victim.http)).collect();
    let started = Instant::now();
    let visit = || ask(&mut Visitor::of(&server).connect(victim.http), "/check.txt");
    assert!(visit().is_err(), "there is no room");
    // Silent guests are shown out when the time for a handshake is up.
    while visit() != Ok(200) {
        assert!(started.elapsed() < CUT_OFF_WITHIN, "the silent are never shown out");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(guests);
}

#[test]
fn a_slow_head_by_tls_is_cut_off_and_attacks_are_answered_as_without() {
    let Fixture { server, victim, .. } = fixture();
    let mut slow = Visitor::of(&server).connect(victim.http);
    slow.write_all(b"GET /check").unwrap();
    let started = Instant::now();
    assert_eq!(read_to_end(&mut slow), b"");
    assert!(started.elapsed() < CUT_OFF_WITHIN);
    for (request, answers) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", [400]),
        ("GET /check.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", [200]),
    ] {
        let mut stream = Visitor::of(&server).connect(victim.http);
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(statuses(&read_to_end(&mut stream)), answers);
    }
}

#[test]
fn certificates_are_replaced_while_the_node_runs() {
    let Fixture { server, files, victim, .. } = fixture();
    let shown = || {
        let mut stream = Visitor::of(&server).connect(victim.http);
        assert_eq!(ask(&mut stream, "/check.txt"), Ok(200));
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let mut kept = Visitor::of(&server).connect(victim.http);
    assert_eq!(ask(&mut kept, "/check.txt"), Ok(200));
    let first = shown();
    let second = files.put_certificate(&server);
    assert_ne!(first, second);
    victim.signal("-HUP");
    let mut until = |expected: &CertificateDer<'_>| {
        let started = Instant::now();
        while shown() != *expected {
            assert!(started.elapsed() < Duration::from_secs(15), "the new certificate is not shown");
            assert_eq!(ask(&mut kept, "/check.txt"), Ok(200), "a connection keeps what it began with");
            std::thread::sleep(Duration::from_millis(20));
        }
        started.elapsed()
    };
    assert!(until(&second) < Duration::from_secs(5));
    // A certificate whose key is missing is not shown, nor is it with the old key.
    let (other, key) = server.sign();
    files.put("chain.pem", &other.pem());
    victim.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(shown(), second);
    // Once both are there they are noticed without a signal.
    files.put("key.pem", &key.serialize_pem());
    until(other.der());
}
