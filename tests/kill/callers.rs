//! Who calls the victim, each on a connection of its own until that breaks, and what each knows then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollgate::model::amount::Effect;
use tollgate::wire::{Call, Flags, Operation, Status, put_call};

use crate::binary::{Answer, Binary, Greeting, by_key};
use crate::child::LOGIN;
use crate::support::Client;

/// Before a caller asks again that was told that the disk takes no writes.
pub(crate) const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// Nanoseconds by the clock of the one process that asks.
pub(crate) fn now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

/// What a caller knows when its connection breaks.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) which: usize,
    /// Units of what was acknowledged as durable.
    pub(crate) durable: u64,
    /// When each other call was answered, one unit each.
    pub(crate) answered: Vec<u128>,
    /// When the last call that was acknowledged as durable was sent; 0 if none was.
    pub(crate) durable_sent: u128,
    pub(crate) sent: u64,
    /// How often it was told that the disk takes no writes.
    pub(crate) refused: u64,
}

impl Told {
    pub(crate) fn of(which: usize) -> Told {
        Told { which, ..Told::default() }
    }

    fn acknowledged(&mut self, units: u64, sent: u128) {
        self.durable += units;
        self.durable_sent = sent;
    }
}

/// Calls over HTTP; a reporter sends reports of two transactions.
pub(crate) fn http(address: SocketAddr, which: usize, reports: bool, stop: &AtomicBool) -> Told {
    let mut told = Told::of(which);
    let Ok(mut client) = Client::try_connect(address) else { return told };
    let authrep = format!(
        "/transactions/authrep.xml?service_token=tok&service_id=kill&user_key=called{which}&usage%5Bsearch%5D=1"
    );
    let body = format!(
        "transactions[0][user_key]=called{which}&transactions[0][usage][hits]=2&transactions[1][user_key]=called{which}&transactions[1][usage][search]=3"
    );
    while !stop.load(Ordering::Relaxed) {
        let sent = now();
        if reports {
            told.sent += 5;
            match client.try_post("/transactions.xml?service_token=tok&service_id=kill", &body) {
                Ok(answer) if answer.status == 202 => told.acknowledged(5, sent),
                // A disk that is full, or hangs for seconds: not acknowledged, so it may be there or not.
                Ok(answer) => {
                    assert_eq!(answer.status, 503, "{answer:?}");
                    assert!(answer.header("retry-after").is_some(), "{answer:?}");
                    told.refused += 1;
                    std::thread::sleep(AFTER_REFUSAL);
                }
                Err(_) => break,
            }
        } else {
            told.sent += 1;
            match client.try_get(&authrep) {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "decisions go on whatever the disk does: {answer:?}");
                    told.answered.push(now());
                }
                Err(_) => break,
            }
        }
    }
    told
}

/// Whether the node said that the disk takes no writes, and not that something else is wrong.
pub(crate) fn is_storage(answer: &Answer) -> bool {
    [Status::STORAGE_UNAVAILABLE, Status::NOT_DURABLE].contains(&answer.status())
}

/// Calls over the binary protocol: authreps, reports, and authreps that ask to be durable, in turn.
pub(crate) fn binary(address: SocketAddr, which: usize, stop: &AtomicBool) -> Told {
    let mut told = Told::of(which);
    let Some(mut client) = greeted(address) else { return told };
    let key = format!("called{which}");
    for turn in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (operation, flags, units) = match turn % 3 {
            0 => (Operation::AUTHREP, Flags::default(), 1),
            1 => (Operation::REPORT, Flags::default(), 4),
            _ => (Operation::AUTHREP, Flags::DURABLE, 1),
        };
        let sent = now();
        told.sent += units;
        match client.try_ask(operation, flags, by_key(&key, &[("search", units)])) {
            Ok(answer) if answer.status() == Status::OK && turn % 3 == 0 => told.answered.push(now()),
            Ok(answer) if answer.status() == Status::OK => told.acknowledged(units, sent),
            Ok(answer) => {
                assert!(turn % 3 != 0 && is_storage(&answer), "{answer:?}");
                told.refused += 1;
                std::thread::sleep(AFTER_REFUSAL);
            }
            Err(_) => break,
        }
    }
    told
}

pub(crate) fn greeted(address: SocketAddr) -> Option<Binary> {
    let mut client = Binary::try_connect(address).ok()?;
    let welcome = client.try_greet(&Greeting::token("kill", "tok")).ok()?;
    welcome.expect("the token is right");
    Some(client)
}

/// How far a reservation has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// Acknowledged as durable.
    Held,
    /// Its end has begun: a commit or a cancellation.
    Ending { commits: bool },
    /// Its end is acknowledged as durable.
    Ended { commits: bool },
}

/// Makes reservations, of one unit each, and ends most of them. `open` are those that are held at the beginning.
pub(crate) fn reserve(address: SocketAddr, mut open: Vec<u64>, stop: &AtomicBool) -> BTreeMap<u64, Known> {
    let mut known = BTreeMap::new();
    let Some(mut client) = greeted(address) else { return known };
    // Answered but not known to be on disk: not ended before that.
    let mut young = Vec::new();
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let is_durable = round % 4 != 0;
        let flags = if is_durable { Flags::DURABLE } else { Flags::default() };
        let call = Call {
            user_key: Some("held"),
            usage: [("search", Effect::Add(1))].into_iter().collect(),
            ttl_s: 3600,
            ..Call::default()
        };
        let made = client.try_ask(Operation::RESERVE, flags, |out| put_call(out, &call, &[], true));
        match made {
            Ok(answer) if answer.status() == Status::OK => {
                young.push(answer.decision().reservation);
                if is_durable {
                    known.extend(young.iter().map(|id| (*id, Known::Held)));
                    open.append(&mut young);
                }
            }
            // Of those whose number is lost with a disk that takes no writes there may be as many as there can be.
            Ok(answer) if answer.status() == Status::TOO_MANY_RESERVATIONS => {
                std::thread::sleep(AFTER_REFUSAL)
            }
            // Its number is lost; it will be found among those that are held.
            Ok(answer) => {
                assert!(is_durable && is_storage(&answer), "{answer:?}");
                std::thread::sleep(AFTER_REFUSAL);
            }
            Err(_) => break,
        }
        while open.len() > (round % 7) as usize {
            let id = open.swap_remove(round as usize % open.len());
            if !end(&mut client, id, round % 3 != 0, &mut known) {
                return known;
            }
        }
    }
    known
}

/// Ends a reservation; whether the connection is still there.
fn end(client: &mut Binary, id: u64, commits: bool, known: &mut BTreeMap<u64, Known>) -> bool {
    let operation = if commits { Operation::COMMIT } else { Operation::CANCEL };
    // What is committed is what was used: here, all that was held.
    let usage = commits.then_some(("search", Effect::Add(1))).into_iter().collect();
    let call = Call { user_key: Some("held"), reservation: id, usage, ..Call::default() };
    known.insert(id, Known::Ending { commits });
    match client.try_ask(operation, Flags::DURABLE, |out| put_call(out, &call, &[], true)) {
        Ok(answer) if answer.status() == Status::OK => {
            known.insert(id, Known::Ended { commits });
            true
        }
        Ok(answer) => {
            assert!(is_storage(&answer), "{answer:?}");
            true
        }
        Err(_) => false,
    }
}

/// Creates applications through the internal API, the first of that number. How many there are for sure, and when the
/// last that was acknowledged was asked for.
pub(crate) fn create(address: SocketAddr, first: u64, stop: &AtomicBool) -> (u64, u128) {
    let mut sure = (first, 0);
    let Ok(mut client) = Client::try_connect(address) else { return sure };
    let login = format!("Basic {}", STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1)));
    let body = r#"{"application":{"state":"active","plan_id":"plan","plan_name":"Plan"}}"#;
    while !stop.load(Ordering::Relaxed) {
        let sent = now();
        let target = format!("/internal/services/kill/applications/new{}", sure.0);
        match client.try_request("PUT", &target, &[("Authorization", &login)], body) {
            Ok(answer) if answer.status == 200 => sure = (sure.0 + 1, sent),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                std::thread::sleep(AFTER_REFUSAL);
            }
            Err(_) => break,
        }
    }
    sure
}
