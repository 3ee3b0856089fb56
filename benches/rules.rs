//! How long the mapping-rules engine takes to tell which of 10,000 rules a call matches: reading the call's path and query, and
//! finding the rules in their order.
//!
//! ```text
//! cargo bench --bench rules
//! ```
//!
//! Each call is timed by itself; the clock's own cost is in the figures.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop where it is"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tollgate::rules::{Parameters, Path, Pattern, Rule, Rules};

/// The node's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RULES: usize = 10_000;
const CALLS: usize = 100_000;

/// For half of the calls at least, of rules that an index helps with.
const AIM: Duration = Duration::from_micros(10);

fn main() {
    println!("{RULES} rules, {CALLS} calls each (aim: under {AIM:?})");
    let measure_aimed =
        |what: &str, pattern: fn(usize) -> String, target: fn(usize) -> String, matches_min| {
            let median = measure(what, pattern, target, matches_min);
            assert!(median < AIM, "{what}: {median:?}, which should be below {AIM:?}");
        };
    measure_aimed(
        "APIs as they are: versions, resources, ids",
        |at| {
            let (version, resource) = resource_of(at);
            match at % 5 {
                0 => format!("/v{version}/resource{resource}"),
                1 => format!("/v{version}/resource{resource}/{{id}}$"),
                2 => format!("/v{version}/resource{resource}/{{id}}/parts"),
                3 => format!("/v{version}/resource{resource}/{{id}}/parts/{{part}}.json$"),
                _ => format!("/v{version}/resource{resource}/{{id}}?expand=all"),
            }
        },
        |at| {
            let (version, resource) = resource_of(at);
            format!("/v{version}/resource{resource}/4711/parts/{at}.json?expand=all&page=2")
        },
        4,
    );
    measure_aimed("prefixes side by side", |at| format!("/item{at}"), |at| format!("/item{at}/x"), 1);
    measure_aimed(
        "variables after a text",
        |at| format!("/item{at}-{{x}}$"),
        |at| format!("/item{at}-abc"),
        1,
    );
    measure_aimed("a method that no rule has", |at| format!("/item{at}"), |at| format!("POST /item{at}"), 0);
    println!("what no index helps with, without an aim:");
    measure("variables before a text", |at| format!("/{{x}}-item{at}$"), |at| format!("/abc-item{at}"), 1);
    measure("all of them match", |_| "/".to_owned(), |at| format!("/item{at}"), RULES);
}

/// Of which version and resource the rule with this number is.
fn resource_of(at: usize) -> (usize, usize) {
    (at / 500, at / 5 % 100)
}

/// Measures calls made by `target` on rules with the patterns that `pattern` makes; each must match at least so many. The median.
fn measure(
    what: &str,
    pattern: impl Fn(usize) -> String,
    target: impl Fn(usize) -> String,
    matches_min: usize,
) -> Duration {
    let rule =
        |at| Rule { method: "GET".to_owned(), pattern: Pattern::parse(&pattern(at)).unwrap(), last: false };
    let began = Instant::now();
    let rules = Rules::compile((0..RULES).map(rule)).unwrap();
    let compiled = began.elapsed();
    // Far apart, so that what one call brought into the caches does not serve the next.
    let calls = if matches_min == RULES { CALLS / 100 } else { CALLS };
    let mut times: Vec<_> = (0..calls)
        .map(|call| {
            let target = target(call * 7919 % RULES);
            let (method, target) = target.split_once(' ').unwrap_or(("GET", &target));
            let began = Instant::now();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let path = Path::parse(black_box(path.as_bytes())).unwrap();
            let found = rules.find(method, &path, &Parameters::parse(query.as_bytes()).unwrap());
            let took = began.elapsed();
            assert!(found.len() >= matches_min && (matches_min > 0 || found.is_empty()), "{target}");
            took
        })
        .collect();
    times.sort_unstable();
    let (median, p99) = (times[calls / 2], times[calls * 99 / 100]);
    println!("{what:<44} p50 {median:>9.1?}  p99 {p99:>9.1?}  (compiled in {compiled:.1?})");
    median
}
