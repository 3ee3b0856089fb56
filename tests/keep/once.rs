//! Reports whose transactions carry ids, on a directory that [`crate::world::prepare`] has made.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{self, Client};
use crate::world::{SERVICE, TOKEN, newest_checkpoint};
use tollgate::listener::system_clock;
use tollgate::node::{self, Node};

/// The transactions of a report: a hit of application `c` each.
pub(crate) const TOGETHER: u64 = 50;

/// Sends the report of that number, whose ids follow from it; whether all of it was a repetition.
pub(crate) fn report(client: &mut Client, number: u64) -> bool {
    let mut body = format!("service_token={TOKEN}&service_id={SERVICE}");
    for at in 0..TOGETHER {
        body += &format!(
            "&transactions[{at}][id]=report-{number}-{at}&transactions[{at}][app_id]=c\
             &transactions[{at}][usage][hits]=1"
        );
    }
    let answer = client.try_post("/transactions.xml", &body).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("idempotency-replayed") == Some("true")
}

/// Runs a node with small checkpoints and sends reports, from number 0 on and with `pause` between two, until it has made so
/// many and their ids are in slices. How many reports that took.
pub(crate) fn send_until_sealed(data: &Path, checkpoints: u64, pause: Duration) -> u64 {
    let config = tollgate::config::Config { checkpoint_bytes: 64 * 1024, ..support::config(data) };
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&config, system_clock())).unwrap();
    let mut client = Client::connect(node.http);
    let (began, mut number) = (Instant::now(), 0);
    while newest_checkpoint(data) < checkpoints || slices(data).is_empty() {
        assert!(!report(&mut client, number));
        number += 1;
        assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(pause);
    }
    runtime.block_on(node.stop()).unwrap();
    number
}

/// The first and the last sequence of each slice of ids in a directory, oldest first.
pub(crate) fn slices(data: &Path) -> Vec<(u64, u64)> {
    let entries = std::fs::read_dir(data.join("ids")).into_iter().flatten();
    let range = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let (from, to) = name.strip_suffix(".slice")?.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    let mut slices: Vec<_> = entries.filter_map(range).collect();
    slices.sort_unstable();
    slices
}
