//! What a remembered idempotency id costs: memory, disk, lookups, and the writing of merges.
//!
//! ```text
//! cargo bench --bench ids                      # 1, 10 and 50 million ids; the last takes 5 GB of disk
//! cargo bench --bench ids -- 1000000
//! ```
//!
//! Ids come as a day of even traffic brings them: a slice of at most 500,000 at a time, dated over 24 hours, merged as the node
//! does. Files are in the page cache as far as they fit; lookups are of random ids.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should stop where it is"
)]

#[path = "applications/mod.rs"]
#[allow(dead_code, reason = "one function of it is of use here")]
mod applications;

use std::hint::black_box;
use std::time::{Duration, Instant};

use tollgate::journal::Sequence;
use tollgate::model::idempotency::{BodyHash, HORIZON_MS, IdKey, Known, Remembered};
use tollgate::model::time::UnixMillis;
use tollgate::store::ids::{Merged, Slices};

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PER_SLICE: u64 = 500_000;
const START_MS: u64 = 1_795_824_000_000;
const LOOKUPS: u64 = 300_000;

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Keys as even as hashes are.
fn key(number: u64) -> IdKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_le_bytes());
    key[8..].copy_from_slice(&mix(!number).to_le_bytes());
    IdKey(key)
}

/// What making the slices came to.
#[derive(Default)]
struct Made {
    added: Duration,
    merged: Duration,
    longest_merge: Duration,
    merges: u64,
    bytes_written: u64,
    most_memory: u64,
    most_slices: usize,
}

fn make(slices: &Slices, ids: u64) -> Made {
    let mut made = Made::default();
    for (from, sequence) in (0..ids).step_by(usize::try_from(PER_SLICE).unwrap()).zip(1..) {
        let at = |number: u64| UnixMillis(START_MS + number * HORIZON_MS / ids);
        let known = |number: u64| Known {
            key: key(number),
            remembered: Remembered { body: BodyHash(number), outcome: 0, at: at(number) },
        };
        let batch: Vec<_> = (from..ids.min(from + PER_SLICE)).map(known).collect();
        let before = slices.bytes();
        let start = Instant::now();
        slices.add(Sequence(sequence), batch).unwrap();
        made.added += start.elapsed();
        made.bytes_written += slices.bytes() - before;
        loop {
            let start = Instant::now();
            let merged = slices.merge(at(from), || false).unwrap();
            let Merged::Done { bytes, .. } = merged else { break };
            made.merged += start.elapsed();
            made.longest_merge = made.longest_merge.max(start.elapsed());
            made.merges += 1;
            made.bytes_written += bytes;
        }
        made.most_memory = made.most_memory.max(applications::resident_bytes());
        made.most_slices = made.most_slices.max(slices.slices());
    }
    made
}

/// Nanoseconds for each of many lookups: the median, and the 99th percentile.
fn look_up(slices: &Slices, number: impl Fn(u64) -> u64, is_there: bool) -> (u64, u64) {
    let mut times: Vec<u64> = (0..LOOKUPS)
        .map(|at| {
            let key = key(number(at));
            let start = Instant::now();
            let found = black_box(slices.find(&key).unwrap());
            let took = start.elapsed();
            assert_eq!(found.is_some(), is_there);
            u64::try_from(took.as_nanos()).unwrap()
        })
        .collect();
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn measure(ids: u64) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("ids");
    let open = || Slices::open(&path, [1; 16], UnixMillis(START_MS)).unwrap().0;
    let slices = open();
    let resident = applications::resident_bytes();
    let made = make(&slices, ids);
    assert_eq!(slices.len(), ids);
    drop(slices);
    let start = Instant::now();
    let slices = open();
    let opened = start.elapsed();
    let (absent, absent_late) = look_up(&slices, |at| ids + 1 + at, false);
    let (present, present_late) = look_up(&slices, |at| mix(at) % ids, true);
    let start = Instant::now();
    assert_eq!(slices.verify().unwrap(), ids);
    let verified = start.elapsed();
    let per_id = |bytes: u64| bytes as f64 / ids as f64;
    println!("{ids} ids in {} slices ({} at most)", slices.slices(), made.most_slices);
    println!("  memory of filters and fences  {:.2} bytes an id", per_id(slices.memory()));
    println!("  resident at most while made   {} MiB more", (made.most_memory - resident) >> 20);
    println!("  disk                          {:.1} bytes an id", per_id(slices.bytes()));
    println!(
        "  written                       {:.2} times that, by {} merges, the longest {:.1?}",
        made.bytes_written as f64 / slices.bytes() as f64,
        made.merges,
        made.longest_merge
    );
    println!("  adding, merging               {:.1?}, {:.1?}", made.added, made.merged);
    println!("  opening, verifying            {opened:.1?}, {verified:.1?}");
    println!("  lookup of an absent id        {absent} ns, 99 % within {absent_late} ns");
    println!("  lookup of a present id        {present} ns, 99 % within {present_late} ns");
}

fn main() {
    let wanted: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let all = if wanted.is_empty() { vec![1_000_000, 10_000_000, 50_000_000] } else { wanted };
    all.into_iter().for_each(measure);
}
