//! Who sends with ids: what got no answer is sent again under its id, and now and then something that did.
//!
//! A sender numbers its requests, all of them durable; id and content follow from the number, so that what is sent again
//! is the same. One uses `Idempotency-Key`, one `transactions[n][id]`, one the binary protocol with several requests on
//! their way. Each has an application of its own, so that its count says exactly what was counted: what was
//! acknowledged, once, and of what got no answer each once or not at all. When that has been sent again, once.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tollgate::model::amount::Effect;
use tollgate::wire::{Call, Flags, Operation, Status, put_call};

use crate::binary::Binary;
use crate::callers::{AFTER_REFUSAL, greeted, is_storage};
use crate::support::{Answer, Client};

/// How many requests, or transactions of one report, each sender has on their way together.
const TOGETHER: [usize; 3] = [1, 3, 8];

pub(crate) const SENDERS: usize = TOGETHER.len();

/// Every so many batches one request is among them that was acknowledged at some time, in this round or an earlier one.
const OLD_EVERY: u64 = 3;

const SERVICE: &str = "service_token=tok&service_id=kill";

/// Where a node serves: HTTP and the binary protocol.
pub(crate) type Addresses = (SocketAddr, SocketAddr);

/// The key of the application that a sender calls.
pub(crate) fn application(which: usize) -> String {
    format!("once{which}")
}

/// What a sender's request of that number counts.
fn units(number: u64) -> u64 {
    1 + number % 3
}

/// What a sender knows of a request that it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Was {
    /// It was never sent.
    New,
    /// It was sent, and its answer was lost, or said that the disk takes no writes.
    Open,
    Acknowledged,
}

/// What came of a request. Lost answers are errors of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It is durable; whether it was a repetition, if that was said of it.
    Acknowledged(Option<bool>),
    /// The disk takes no writes: it may be counted or not.
    Refused,
}

/// How often what was sent again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Requests that had no answer before, or were refused for the disk.
    pub(crate) again: u64,
    /// How many of those had been counted, as far as that was said.
    pub(crate) counted: u64,
    /// Requests that had been acknowledged.
    pub(crate) repeated: u64,
}

/// What a sender knows of its requests, from one round to the next.
#[derive(Clone, Default)]
pub(crate) struct Sender {
    /// From this number on nothing was ever sent.
    next: u64,
    /// What was sent and is not acknowledged. All else below `next` is.
    open: BTreeSet<u64>,
    turn: u64,
    pub(crate) tally: Tally,
}

impl Sender {
    /// The units that must be counted, and those that may be besides.
    pub(crate) fn units(&self) -> (u64, u64) {
        let open = self.open.iter().copied().map(units).sum::<u64>();
        ((0..self.next).map(units).sum::<u64>() - open, open)
    }

    /// Sends until the connection breaks or it is told to stop: what is open first.
    pub(crate) fn send(&mut self, which: usize, addresses: Addresses, stop: &AtomicBool) {
        let Ok(mut line) = Line::open(which, addresses) else { return };
        while !stop.load(Ordering::Relaxed) && self.turn(which, &mut line, true).is_ok() {}
    }

    /// Sends what is open, to a node that nobody kills, until nothing is.
    pub(crate) fn settle(&mut self, which: usize, addresses: Addresses) {
        let mut line = Line::open(which, addresses).expect("it serves");
        while !self.open.is_empty() {
            self.turn(which, &mut line, false).expect("it answers");
        }
    }

    fn turn(&mut self, which: usize, line: &mut Line, goes_on: bool) -> io::Result<()> {
        let batch = self.batch(TOGETHER[which], goes_on);
        let numbers: Vec<u64> = batch.iter().map(|(number, _)| *number).collect();
        let mut is_refused = false;
        let mut note = |at: usize, fate: Fate| {
            is_refused |= fate == Fate::Refused;
            self.note(batch[at], fate);
        };
        match line {
            Line::Key(client) => note(0, by_key(client, which, numbers[0])?),
            Line::Transactions(client) => {
                let fate = in_one_report(client, which, &numbers)?;
                (0..numbers.len()).for_each(|at| note(at, fate));
            }
            Line::Protocol(client) => side_by_side(client, which, &numbers, note)?,
        }
        if is_refused {
            std::thread::sleep(AFTER_REFUSAL);
        }
        Ok(())
    }

    /// What is sent next: perhaps something old, then what is open, then, if it goes on, what is new.
    fn batch(&mut self, together: usize, goes_on: bool) -> Vec<(u64, Was)> {
        self.turn += 1;
        let mut batch = Vec::new();
        if goes_on && self.next > 0 && self.turn.is_multiple_of(OLD_EVERY) {
            let any = (self.turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % self.next;
            batch.extend((!self.open.contains(&any)).then_some((any, Was::Acknowledged)));
        }
        let left = together - batch.len();
        batch.extend(self.open.iter().take(left).map(|number| (*number, Was::Open)));
        while goes_on && batch.len() < together {
            batch.push((self.next, Was::New));
            self.open.insert(self.next);
            self.next += 1;
        }
        batch
    }

    fn note(&mut self, (number, was): (u64, Was), fate: Fate) {
        let Fate::Acknowledged(repeated) = fate else { return };
        self.open.remove(&number);
        match was {
            Was::New => assert_ne!(repeated, Some(true), "request {number} was never sent before"),
            Was::Open => {
                self.tally.again += 1;
                self.tally.counted += u64::from(repeated == Some(true));
            }
            Was::Acknowledged => {
                assert_ne!(repeated, Some(false), "request {number} is counted twice");
                self.tally.repeated += 1;
            }
        }
    }
}

/// A sender's connection.
enum Line {
    Key(Client),
    Transactions(Client),
    Protocol(Binary),
}

impl Line {
    fn open(which: usize, (http, tcp): Addresses) -> io::Result<Line> {
        Ok(match which {
            0 => Line::Key(Client::try_connect(http)?),
            1 => Line::Transactions(Client::try_connect(http)?),
            _ => Line::Protocol(greeted(tcp).ok_or(io::ErrorKind::NotConnected)?),
        })
    }
}

/// What an answer over HTTP says, which is `done` if all is well.
fn fate(answer: &Answer, done: u16) -> Fate {
    if answer.status == done {
        return Fate::Acknowledged(Some(answer.header("idempotency-replayed") == Some("true")));
    }
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    Fate::Refused
}

/// An authrep that asks to be durable or a report, under `Idempotency-Key`.
fn by_key(client: &mut Client, which: usize, number: u64) -> io::Result<Fate> {
    let (id, application, units) = (format!("key-{number}"), application(which), units(number));
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let headers = [("Idempotency-Key", id.as_str()), ("3scale-options", "durable=1"), form];
    if number.is_multiple_of(2) {
        let target =
            format!("/transactions/authrep.xml?{SERVICE}&user_key={application}&usage%5Bsearch%5D={units}");
        return Ok(fate(&client.try_request("GET", &target, &headers, "")?, 200));
    }
    let body =
        format!("{SERVICE}&transactions[0][user_key]={application}&transactions[0][usage][search]={units}");
    Ok(fate(&client.try_request("POST", "/transactions.xml", &headers, &body)?, 202))
}

/// A report whose transactions have an id each. Of several together it is only said whether all were repetitions.
fn in_one_report(client: &mut Client, which: usize, numbers: &[u64]) -> io::Result<Fate> {
    let mut body = SERVICE.to_owned();
    for (at, number) in numbers.iter().enumerate() {
        body += &format!(
            "&transactions[{at}][id]=transaction-{number}&transactions[{at}][user_key]={}\
             &transactions[{at}][usage][search]={}",
            application(which),
            units(*number)
        );
    }
    Ok(match fate(&client.try_post("/transactions.xml", &body)?, 202) {
        Fate::Acknowledged(Some(false)) if numbers.len() > 1 => Fate::Acknowledged(None),
        fate => fate,
    })
}

/// Authreps that ask to be durable and reports over the binary protocol, all sent before any is answered.
fn side_by_side(
    client: &mut Binary,
    which: usize,
    numbers: &[u64],
    mut note: impl FnMut(usize, Fate),
) -> io::Result<()> {
    let application = application(which);
    let mut asked = Vec::new();
    for number in numbers {
        let id = format!("request-{number}");
        let call = Call {
            user_key: Some(&application),
            usage: [("search", Effect::Add(units(*number)))].into_iter().collect(),
            id: Some(id.as_bytes().into()),
            ..Call::default()
        };
        let is_authrep = number.is_multiple_of(2);
        let operation = if is_authrep { Operation::AUTHREP } else { Operation::REPORT };
        let flags = if is_authrep { Flags::DURABLE } else { Flags::default() };
        asked.push(client.queue(operation, flags, |out| put_call(out, &call, &[], false)));
    }
    client.flush()?;
    for _ in numbers {
        let answer = client.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let at = asked.iter().position(|id| *id == answer.header.id).expect("one of those that were asked");
        let fate = match answer.status() {
            Status::OK => Fate::Acknowledged(Some(false)),
            Status::DUPLICATE => Fate::Acknowledged(Some(true)),
            _ => {
                assert!(is_storage(&answer), "{answer:?}");
                Fate::Refused
            }
        };
        note(at, fate);
    }
    Ok(())
}
