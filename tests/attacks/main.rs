//! Attacks on a real node over real sockets, and what it answers: requests that two readers could read in two ways,
//! oversized and compressed ones, slow peers, crowds, and TLS that is none.
//!
//! Throughout, the process's memory and open files stay within the bounds named in `victim`, and a well-behaved
//! client on another connection is answered in time.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

#[path = "../support/tls.rs"]
mod authority;
#[path = "../support/binary.rs"]
mod binary;
mod protocol;
mod table;
mod tls;
mod victim;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use victim::{CONNECTIONS_MAX, CUT_OFF_WITHIN, Polite, Victim, connect};

/// Everything a server says until it closes. A reset ends it too.
fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("neither answer nor close")
            }
            Err(_) => return all,
        }
    }
}

/// The statuses of all answers.
fn statuses(mut all: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some(head_end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&all[..head_end]).to_ascii_lowercase();
        let status = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        found.push(status.unwrap_or_else(|| panic!("no answer of HTTP/1: {head}")));
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        all = &all[(head_end + 4 + length).min(all.len())..];
    }
    assert!(all.is_empty(), "half an answer: {}", String::from_utf8_lossy(all));
    found
}

#[test]
fn every_attack_of_the_table_gets_its_answer_and_nothing_more() {
    let victim = Victim::start(&[]);
    let guard = victim.guard();
    // Without certificates there is nothing to read again, and nobody dies of it.
    victim.signal("-HUP");
    let mut wrong = Vec::new();
    for attack in table::attacks() {
        let mut stream = connect(victim.http);
        let started = Instant::now();
        // An honest request follows: it is answered if the connection is still read after the attack, and shows
        // whether node and attacker agree on where the attack ended.
        let probe = b"GET /check.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(&[attack.bytes.as_slice(), probe].concat());
        let got = statuses(&read_to_end(&mut stream));
        if got != attack.answers {
            wrong.push(format!("{}: {got:?} instead of {:?}", attack.name, attack.answers));
        }
        if started.elapsed() > CUT_OFF_WITHIN {
            wrong.push(format!("{}: took {:?}", attack.name, started.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(victim.hits(), 0, "nothing of it counted");
    guard.finish();
}

#[test]
fn slow_peers_take_no_more_than_their_share() {
    let victim = Victim::start(&[]);
    let guard = victim.guard();
    let (http, authrep) = (victim.http, victim.authrep(0));
    let report = format!("POST /transactions.xml?{} HTTP/1.1\r\nHost: a\r\n", victim.credentials());
    let large = "x".repeat(64 << 10);
    // Each says its first words and goes on with the others, over and over, until it is cut off.
    type Slow<'a> = (&'a str, usize, String, &'a str, Duration);
    let slow: [Slow<'_>; 7] = [
        ("says nothing", 20, String::new(), "", Duration::from_millis(100)),
        ("drips a head", 20, "GET /check.txt HTTP/1.1\r\n".into(), "X", Duration::from_millis(50)),
        (
            "drips a body",
            10,
            format!("{report}Content-Length: 100000\r\n\r\n"),
            "x",
            Duration::from_millis(50),
        ),
        (
            "drips chunks",
            10,
            format!("{report}Transfer-Encoding: chunked\r\n\r\n"),
            "1\r\nx\r\n",
            Duration::from_millis(50),
        ),
        (
            "drips a large body",
            20,
            format!("{report}Content-Length: 4194304\r\n\r\n"),
            &large,
            Duration::ZERO,
        ),
        ("never reads what GETs bring", 10, String::new(), &authrep, Duration::ZERO),
        (
            "never reads what POSTs bring",
            10,
            String::new(),
            "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            Duration::ZERO,
        ),
    ];
    std::thread::scope(|scope| {
        for (name, count, first, then, pause) in &slow {
            for _ in 0..*count {
                scope.spawn(move || {
                    let mut stream = connect(http);
                    let started = Instant::now();
                    let _ = stream.write_all(first.as_bytes());
                    let then = if pause.is_zero() { then.repeat(64) } else { (*then).to_owned() };
                    // What is not read blocks the sender too, at last.
                    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
                    while started.elapsed() < 2 * CUT_OFF_WITHIN {
                        std::thread::sleep(*pause);
                        match stream.write_all(then.as_bytes()) {
                            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                            _ if then.is_empty() && stream.read(&mut [0; 1]).is_ok_and(|n| n == 0) => return,
                            _ => {}
                        }
                    }
                    panic!("{name}: was never cut off");
                });
            }
        }
    });
    victim.is_left_alone();
    half_open(&victim);
    victim.is_left_alone();
    guard.finish();
}

/// More connections than there is room for: those beyond are refused, and those within go on.
#[test]
fn crowds_beyond_the_room_are_refused() {
    // Nobody is shown out for saying nothing while the others come.
    let victim = Victim::start(&["--head-timeout-s", "600", "--idle-timeout-s", "600"]);
    let guard = victim.guard();
    let request = "GET /check.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    // One seat is the well-behaved client's. Who was answered has a seat, not just a place in the accept queue.
    let mut held: Vec<_> = (1..CONNECTIONS_MAX).map(|_| Polite::connect(victim.http)).collect();
    let are_answered = |held: &mut Vec<Polite>| {
        held.iter_mut().for_each(|it| assert!(it.ask(request).starts_with("HTTP/1.1 200")));
    };
    are_answered(&mut held);
    let visit = || {
        let mut stream = connect(victim.http);
        let _ = stream.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes());
        statuses(&read_to_end(&mut stream))
    };
    for _ in 0..CONNECTIONS_MAX {
        let got = visit();
        // What was sent meanwhile can reset the connection before the refusal is read.
        assert!(got.is_empty() || got == [503], "{got:?}");
    }
    are_answered(&mut held);
    drop(held.pop());
    let started = Instant::now();
    while visit() != [200] {
        assert!(started.elapsed() < CUT_OFF_WITHIN, "a seat that was left stays empty");
        std::thread::sleep(Duration::from_millis(10));
    }
    are_answered(&mut held);
    drop(held);
    victim.is_left_alone();
    guard.finish();
}

/// Clients that say they are done before they are.
fn half_open(victim: &Victim) {
    let whole = "GET /check.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for (bytes, answers) in [
        ("", vec![]),
        ("GET /check.txt HTTP/1.1\r\nHost: a", vec![]),
        (whole, vec![200]),
        ("POST /transactions.xml HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", vec![400]),
    ] {
        let mut stream = connect(victim.http);
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let got = statuses(&read_to_end(&mut stream));
        // Who hangs up half-way may be told so or not.
        assert!(got == answers || got.is_empty(), "{bytes}: {got:?}");
    }
    // Gone without having read anything.
    for _ in 0..50 {
        let mut stream = connect(victim.http);
        stream.write_all(whole.repeat(20).as_bytes()).unwrap();
    }
}
