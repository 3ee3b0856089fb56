//! Calls to servers of this test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use super::*;

/// A server that answers each connection's one request with `answer`, and hands on what it was sent.
fn server(answer: &'static [u8]) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            for line in head.to_ascii_lowercase().lines() {
                if let Some(given) = line.strip_prefix("content-length: ") {
                    length = given.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = sender.send(head + &String::from_utf8(body).unwrap());
            let _ = stream.write_all(answer);
        }
    });
    (address, receiver)
}

fn http(reach: Reach) -> Http {
    let timeout = Duration::from_millis(500);
    Http::new(Options { reach, timeout, body_bytes_max: 10, roots: Roots::Web }).unwrap()
}

fn get(url: &str) -> Request<'_> {
    Request { method: "GET", url, headers: &[], body: b"" }
}

#[test]
fn a_call_arrives_as_it_was_made_and_every_status_is_an_answer() {
    let (address, arrived) =
        server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nX-It: yes\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789");
    let url = format!("http://{address}/a%2Fb?c=d%26e");
    let headers = [("Content-Type", "application/xml"), ("X-Id", "7")];
    let request = Request { method: "POST", url: &url, headers: &headers, body: b"<event/>" };
    let response = http(Reach::anywhere()).call(&request).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (302, b"0123456789".as_slice()));
    assert_eq!(response.header("x-it"), Some("yes"));
    let arrived = arrived.recv().unwrap();
    assert!(arrived.starts_with("POST /a%2Fb?c=d%26e HTTP/1.1\r\n"), "{arrived}");
    assert!(arrived.ends_with("\r\n\r\n<event/>"), "{arrived}");
    let lower = arrived.to_ascii_lowercase();
    assert!(
        lower.contains("content-type: application/xml\r\n") && lower.contains("x-id: 7\r\n"),
        "{arrived}"
    );
}

#[test]
fn bodies_without_bytes_are_sent_where_the_method_has_one() {
    let (address, arrived) = server(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    let url = format!("http://{address}/");
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let response = http(Reach::anywhere()).call(&Request { method, ..get(&url) }).unwrap();
        assert_eq!(response.status, 204, "{method}");
        assert!(arrived.recv().unwrap().starts_with(method));
    }
}

#[test]
fn an_answer_is_taken_up_to_its_bound_and_not_beyond() {
    let (address, _arrived) =
        server(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n01234567890");
    let url = format!("http://{address}/");
    let error = http(Reach::anywhere()).call(&get(&url)).unwrap_err();
    assert!(matches!(error, OutgoingError::Long(10)), "{error}");
}

#[test]
fn what_may_not_be_called_is_not_connected_to() {
    let (address, arrived) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let guarded = http(Reach::outside(&[], Vec::new()));
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", address.port());
        let error = guarded.call(&get(&url)).unwrap_err();
        assert!(matches!(error, OutgoingError::NotAllowed(_)), "{host}: {error:?}");
    }
    assert!(arrived.try_recv().is_err());
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let begun = Instant::now();
    let error = http(Reach::anywhere()).call(&get(&url)).unwrap_err();
    assert!(matches!(error, OutgoingError::Slow(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_cannot_be_sent_says_so() {
    for (url, headers) in [
        ("ftp://a.example/", &[] as &[(&str, &str)]),
        ("a.example", &[]),
        ("http://", &[]),
        ("http://a b/", &[]),
        ("http://a.example/", &[("X-It", "a\r\nX-Other: b")]),
    ] {
        let error = http(Reach::anywhere()).call(&Request { headers, ..get(url) }).unwrap_err();
        assert!(matches!(error, OutgoingError::Call(_)), "{url}: {error:?}");
    }
}

#[test]
fn authorities_come_from_a_file_that_has_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    let options = |path: &Path| Options {
        reach: Reach::anywhere(),
        timeout: Duration::from_secs(1),
        body_bytes_max: 1,
        roots: Roots::File(path.to_owned()),
    };
    assert!(matches!(Http::new(options(&path)), Err(OutgoingError::Roots { .. })));
    std::fs::write(&path, "nothing").unwrap();
    assert!(matches!(Http::new(options(&path)), Err(OutgoingError::Roots { .. })));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(&path, certificate.pem()).unwrap();
    assert!(Http::new(options(&path)).is_ok());
}
