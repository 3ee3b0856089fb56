//! Attacks on the listener of the binary protocol.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tollgate::wire::{
    Flags, Frame, HEADER_LEN, Header, Method, OPENING, Operation, Status, put_batch, put_call,
};

use crate::binary::{Binary, Greeting, opening};
use crate::victim::{CUT_OFF_WITHIN, Victim, connect};

/// What an attack is answered, frame by frame: the operation that is answered, and how.
type Answers = Vec<(Operation, Status)>;

struct Attack {
    name: &'static str,
    /// Sent by who is let in already.
    is_in: bool,
    bytes: Vec<u8>,
    answers: Answers,
    /// Whether the connection is at its end then.
    ends: bool,
}

fn frame(operation: Operation, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frame = Frame::request(&mut bytes, operation, Flags(flags), 7);
    frame.body().extend_from_slice(body);
    frame.end();
    bytes
}

fn with_length(length: u32, rest: usize) -> Vec<u8> {
    let mut bytes = frame(Operation::PING, 0, &vec![0; rest]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn hello(method: u8, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut hello = Greeting::token("3", "x").hello();
    hello.method = Method(method);
    let mut bytes = opening(&hello);
    change(&mut bytes);
    bytes
}

fn attacks() -> Vec<Attack> {
    let mut all = Vec::new();
    let mut row = |name, is_in, bytes: Vec<u8>, answers: &[(Operation, Status)], ends| {
        all.push(Attack { name, is_in, bytes, answers: answers.to_vec(), ends });
    };
    let goaway = [(Operation::GOAWAY, Status::OK)];
    let challenge = (Operation::HELLO, Status::CHALLENGE);
    let refused = |operation, status| [(operation, status)];

    row("HTTP", false, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &goaway, true);
    row("a TLS handshake", false, [&[22, 3, 1, 2, 0, 1, 0, 1], [0; 64].as_slice()].concat(), &goaway, true);
    row("an opening with one wrong byte at its end", false, b"\xF7TGATE\r\r".to_vec(), &goaway, true);
    row("frames without an opening", false, frame(Operation::PING, 0, &[]), &goaway, true);
    row("zeros", false, vec![0; 4096], &goaway, true);
    let early = [&OPENING[..], &frame(Operation::AUTHREP, 0, &[16; 64])].concat();
    row("a call before HELLO", false, early, &refused(Operation::AUTHREP, Status::OUT_OF_PLACE), false);
    row(
        "HELLO twice",
        false,
        {
            let once = hello(2, |_| {});
            [once.as_slice(), &once[OPENING.len()..]].concat()
        },
        &[challenge, (Operation::HELLO, Status::OUT_OF_PLACE)],
        false,
    );
    row(
        "a method nobody has",
        false,
        hello(9, |_| {}),
        &refused(Operation::HELLO, Status::METHOD_NOT_ALLOWED),
        true,
    );
    row(
        "no proof over TCP",
        false,
        hello(0, |_| {}),
        &refused(Operation::HELLO, Status::METHOD_NOT_ALLOWED),
        true,
    );
    let cut = hello(2, |bytes| {
        let at = OPENING.len() + HEADER_LEN;
        bytes[at] = 200;
    });
    row("HELLO longer than itself", false, cut, &refused(Operation::HELLO, Status::MALFORMED), true);
    let proven = [hello(1, |_| {}), frame(Operation::PROOF, 0, &[&[40, 0][..], &[0; 38]].concat())].concat();
    row("a proof of zeros", false, proven, &[challenge, (Operation::PROOF, Status::PROOF_INVALID)], true);
    let long = [&OPENING[..], &with_length(u32::MAX, 0)].concat();
    row("HELLO of four gigabytes", false, long, &goaway, true);

    row("a frame of four gigabytes", true, with_length(u32::MAX, 0), &goaway, true);
    row("a frame shorter than its head", true, with_length(3, 0), &goaway, true);
    row("a frame one byte too long", true, with_length(65_537, 0), &goaway, true);
    let rows = [&[16, 0, 255, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
    row(
        "255 rows that are not there",
        true,
        frame(Operation::AUTHREP, 0, &rows),
        &refused(Operation::AUTHREP, Status::MALFORMED),
        false,
    );
    let field = [&[16, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8], &[2, 0, 255, 255, b'x']].concat();
    row(
        "a field beyond the frame",
        true,
        frame(Operation::AUTHREP, 0, &field),
        &refused(Operation::AUTHREP, Status::MALFORMED),
        false,
    );
    let many = [&[8, 0, 255, 255, 0, 0, 0, 0][..], &[8, 0, 0x13, 0, 0, 0, 0, 0].repeat(65_535 / 9)].concat();
    row(
        "a batch of 65535 items in a few bytes",
        true,
        frame(Operation::BATCH, 0, &many),
        &refused(Operation::BATCH, Status::MALFORMED),
        false,
    );
    let nothing = |_: &mut Vec<u8>| {};
    let nested =
        |out: &mut Vec<u8>| put_batch(out, [(Operation::PING, Flags::default(), nothing)].into_iter());
    let mut inside = Vec::new();
    put_batch(
        &mut inside,
        [(Operation::BATCH, Flags::default(), &nested as &dyn Fn(&mut Vec<u8>))].into_iter(),
    );
    row(
        "a batch in a batch",
        true,
        frame(Operation::BATCH, 0, &inside),
        &refused(Operation::BATCH, Status::OK),
        false,
    );
    let mut guessed = Vec::new();
    put_call(
        &mut guessed,
        &tollgate::wire::Call { handle: Some(u64::MAX), ..Default::default() },
        &[],
        false,
    );
    row(
        "a handle that was never given",
        true,
        frame(Operation::AUTHREP, 0, &guessed),
        &refused(Operation::AUTHREP, Status::STALE_HANDLE),
        false,
    );
    row(
        "GOAWAY",
        true,
        frame(Operation::GOAWAY, 0, &[]),
        &refused(Operation::GOAWAY, Status::OUT_OF_PLACE),
        false,
    );
    row(
        "an answer",
        true,
        frame(Operation(0x91), 0, &[0; 72]),
        &refused(Operation(0x91), Status::UNKNOWN_OPERATION),
        false,
    );
    row(
        "all flags",
        true,
        frame(Operation::AUTHREP, 0xFF, &[]),
        &refused(Operation::AUTHREP, Status::NOT_SUPPORTED),
        false,
    );
    all
}

#[test]
fn every_attack_on_the_binary_protocol_gets_its_answer_and_nothing_more() {
    let victim = Victim::start(&[]);
    let guard = victim.guard();
    let (service, token) = victim.token();
    let mut wrong = Vec::new();
    for attack in attacks() {
        let mut client = Binary::on(connect(victim.tcp));
        if attack.is_in {
            client.greet(&Greeting::token(&service, &token)).unwrap();
        }
        let began = Instant::now();
        let _ = client.send(&attack.bytes);
        let mut got: Answers = Vec::new();
        while got.len() < attack.answers.len() {
            match client.receive() {
                Ok(Some(answer)) => {
                    let Header { operation, status, .. } = answer.header;
                    let to = if operation.0 == 0x91 && attack.answers[0].0.0 == 0x91 {
                        operation
                    } else {
                        Operation(operation.0 & !Operation::ANSWER)
                    };
                    got.push((to, status));
                }
                _ => break,
            }
        }
        if got != attack.answers {
            wrong.push(format!("{}: {got:?} instead of {:?}", attack.name, attack.answers));
        }
        let ended = if attack.ends {
            client.is_closed()
        } else {
            // It is read on: whatever was made of the attack ended where it ended.
            let _ = client.send(&frame(Operation::PING, 0, &[]));
            !matches!(client.receive(), Ok(Some(_)))
        };
        if ended != attack.ends {
            wrong.push(format!("{}: at its end: {ended}", attack.name));
        }
        if began.elapsed() > CUT_OFF_WITHIN {
            wrong.push(format!("{}: took {:?}", attack.name, began.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(victim.hits(), 0, "nothing of it counted");
    guard.finish();
}

#[test]
fn many_who_say_little_or_never_read_cost_little_and_are_cut_off() {
    let victim = Victim::start(&[]);
    let guard = victim.guard();
    let (service, token) = victim.token();
    let query = {
        let mut one = Vec::new();
        put_call(
            &mut one,
            &tollgate::wire::Call { user_key: Some(&victim.user_key()), ..Default::default() },
            &[],
            false,
        );
        frame(Operation::QUERY, 0, &one).repeat(500)
    };
    let began = Instant::now();
    let mut crowd: Vec<_> = (0..60)
        .map(|number| {
            let mut client = Binary::on(connect(victim.tcp));
            match number % 3 {
                0 => {}
                1 => client.send(&OPENING[..4]).unwrap(),
                _ => drop(client.greet(&Greeting::token(&service, &token)).unwrap()),
            }
            client.stream.set_nonblocking(true).unwrap();
            client
        })
        .collect();
    while !crowd.is_empty() {
        assert!(began.elapsed() < CUT_OFF_WITHIN * 2, "{} are still there", crowd.len());
        crowd.retain_mut(|client| match client.stream.write(&query) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        std::thread::sleep(Duration::from_millis(20));
    }
    // Whoever never read finds its answers, as far as the kernel took them, and the end.
    let mut after = connect(victim.tcp);
    after.write_all(&OPENING).unwrap();
    assert!(after.read(&mut [0; 64]).is_ok());
    guard.finish();
}
