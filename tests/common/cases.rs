//! Cases of HTTP calls and answers as text, run against a node of their own each: see `tests/api/README.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use tollgate::http::Config;

use crate::common::{Answer, Extend, Node, runtime};
use crate::setup::Setup;

/// A file of cases: what the catalog is, then what is asked and answered.
struct File {
    name: String,
    catalog: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Clone)]
struct Case {
    title: String,
    line: usize,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    /// `* ...`: the clock or the catalog changes.
    Command(String),
    Exchange(Exchange),
}

#[derive(Clone, Default)]
struct Exchange {
    line: usize,
    head: Vec<String>,
    body: String,
    status: u16,
    headers: Vec<(String, Option<String>)>,
    answer: String,
}

impl Exchange {
    fn is_internal(&self) -> bool {
        self.head[0].split(' ').nth(1).is_some_and(|path| path.starts_with("/internal"))
    }
}

/// Whether only some of the cases are wanted.
pub(crate) fn some_only() -> bool {
    std::env::var_os("CASE").is_some()
}

/// Runs all cases of a folder; `extend` adds to what a node answers. Returns how many there were.
pub(crate) fn run(folder: &str, extend: Extend) -> usize {
    let runtime = runtime();
    let mut files: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let only = std::env::var("CASE").unwrap_or_default();
    let (mut failures, mut count) = (String::new(), 0);
    for path in files {
        let file =
            parse(path.file_name().unwrap().to_str().unwrap(), &std::fs::read_to_string(&path).unwrap());
        for case in file.cases.iter().filter(|case| case.title.contains(&only)) {
            for variant in variants(case) {
                count += 1;
                if let Err(message) = run_case(&runtime, &file, &variant, extend) {
                    let _ = write!(failures, "\n{}:{}: {}\n{message}", file.name, case.line, case.title);
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    count
}

/// A case whose title ends in `(shuffled)` is run with the parameters of its queries in many orders.
fn variants(case: &Case) -> Vec<Case> {
    if !case.title.ends_with("(shuffled)") {
        return vec![case.clone()];
    }
    let shuffle = |query: &str, turn: usize| {
        let mut pairs: Vec<&str> = query.split('&').collect();
        if turn % 2 == 1 {
            pairs.reverse();
        }
        let len = pairs.len();
        pairs.rotate_left(turn / 2 % len);
        pairs.join("&")
    };
    let variant = |turn: usize| {
        let mut case = case.clone();
        for step in &mut case.steps {
            let Step::Exchange(exchange) = step else { continue };
            if let Some((path, query)) = exchange.head[0].split_once('?') {
                exchange.head[0] = format!("{path}?{}", shuffle(query, turn));
            }
            exchange.body = shuffle(&exchange.body, turn);
        }
        case
    };
    (0..12).map(variant).collect()
}

fn run_case(
    runtime: &tokio::runtime::Runtime,
    file: &File,
    case: &Case,
    extend: Extend,
) -> Result<(), String> {
    let node = Node::start_with(runtime, Config::default(), Duration::from_secs(10), extend);
    let mut setup = Setup::default();
    for line in &file.catalog {
        setup.run(&node.engine, line);
    }
    let mut client = node.connect();
    for step in &case.steps {
        match step {
            Step::Command(command) => match command.strip_prefix("clock ") {
                Some(time) => {
                    node.clock.store(moved(node.clock.load(Ordering::Relaxed), time), Ordering::Relaxed)
                }
                None => setup.run(&node.engine, command),
            },
            Step::Exchange(exchange) => {
                let now = Timestamp::from_millisecond(node.clock.load(Ordering::Relaxed) as i64).unwrap();
                let answer = client.exchange(&request(exchange, now));
                check(exchange, &answer, now)
                    .map_err(|message| format!("  line {}: {message}", exchange.line))?;
                if answer.header("connection") == Some("close") {
                    client = node.connect();
                }
            }
        }
    }
    Ok(())
}

/// `+60`, `-60` (seconds), or a date.
fn moved(now_ms: u64, time: &str) -> u64 {
    match time.parse::<i64>() {
        Ok(seconds) => now_ms.saturating_add_signed(seconds * 1000),
        Err(_) => {
            let at: DateTime = time.parse().unwrap();
            at.to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond() as u64
        }
    }
}

fn request(exchange: &Exchange, now: Timestamp) -> Vec<u8> {
    let body = unescape(&expand(&exchange.body, now));
    let mut lines = exchange.head.iter();
    let mut head = format!("{} HTTP/1.1\r\nHost: localhost\r\n", expand(lines.next().unwrap(), now));
    for line in lines {
        let _ = write!(head, "{line}\r\n");
    }
    if exchange.is_internal() && !head.contains("Authorization:") {
        let _ = write!(head, "Authorization: {LOGIN}\r\n");
    }
    if !body.is_empty() || head.starts_with("POST") {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

/// Who calls the internal API, unless a case says otherwise: `user:password`.
const LOGIN: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// The headers that every answer of the internal API has, unless the case says otherwise.
const ALWAYS_INTERNAL: [(&str, &str); 2] =
    [("content-type", "application/json"), ("x-content-type-options", "nosniff")];

/// The headers that every other answer has, unless the case says otherwise.
const ALWAYS: [(&str, &str); 5] = [
    ("content-type", "application/vnd.3scale-v2.0+xml"),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "ETag, Link, 3scale-rejection-reason"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'self'"),
];

fn check(exchange: &Exchange, answer: &Answer, now: Timestamp) -> Result<(), String> {
    let expected = expand(&exchange.answer, now).replace("\\n", "\n").replace("\\0", "\0");
    if (answer.status, answer.text().as_str()) != (exchange.status, expected.as_str()) {
        return Err(format!(
            "\n    expected {} {expected}\n    answered {} {}\n",
            exchange.status,
            answer.status,
            answer.text()
        ));
    }
    let is_error = expected.contains("<error ");
    let always = if exchange.is_internal() { &ALWAYS_INTERNAL[..] } else { &ALWAYS };
    for &(name, value) in always {
        if exchange.headers.iter().any(|(named, _)| named == name) {
            continue;
        }
        let wanted = (!is_error || name != "content-security-policy").then_some(value);
        if answer.header(name) != wanted {
            return Err(format!("{name}: {:?} instead of {wanted:?}\n", answer.header(name)));
        }
    }
    for (name, value) in &exchange.headers {
        if answer.header(name) != value.as_deref() {
            return Err(format!("{name}: {:?} instead of {value:?}\n", answer.header(name)));
        }
    }
    Ok(())
}

/// Replaces `{...}`: see `tests/api/README.md`.
fn expand(text: &str, now: Timestamp) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('}') {
        // The innermost pair: around it there may be JSON.
        let Some((before, inside)) = before.rsplit_once('{') else {
            expanded.push_str(before);
            expanded.push('}');
            rest = after;
            continue;
        };
        let words: Vec<&str> = inside.split(' ').collect();
        expanded.push_str(before);
        expanded.push_str(&match words[..] {
            ["xml"] => "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned(),
            ["error", code] => format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><error code=\"{code}\">"),
            ["report", metric, period, max, current] => report(metric, period, max, current, "", now),
            ["exceeded", metric, period, max, current] => {
                report(metric, period, max, current, " exceeded=\"true\"", now)
            }
            ["time", seconds] => (now.as_second() + seconds.parse::<i64>().unwrap()).to_string(),
            ["repeat", count, text] => text.repeat(count.parse().unwrap()),
            // JSON, for one.
            _ => format!("{{{inside}}}"),
        });
        rest = after;
    }
    expanded + rest
}

fn report(metric: &str, period: &str, max: &str, current: &str, exceeded: &str, now: Timestamp) -> String {
    let dates = window(period, now).map_or_else(String::new, |(start, end)| {
        let show = |at: DateTime| at.strftime("%Y-%m-%d %H:%M:%S +0000").to_string();
        format!("<period_start>{}</period_start><period_end>{}</period_end>", show(start), show(end))
    });
    format!(
        "<usage_report metric=\"{metric}\" period=\"{period}\"{exceeded}>{dates}<max_value>{max}</max_value>\
         <current_value>{current}</current_value></usage_report>"
    )
}

/// The window of a period, worked out apart from the code under test.
fn window(period: &str, now: Timestamp) -> Option<(DateTime, DateTime)> {
    let at = now.to_zoned(TimeZone::UTC).datetime();
    let day = at.date();
    let midnight = |date: jiff::civil::Date| date.at(0, 0, 0, 0);
    let (start, span) = match period {
        "eternity" => return None,
        "year" => (midnight(day.first_of_year()), 1.year()),
        "month" => (midnight(day.first_of_month()), 1.month()),
        "week" => {
            let since_monday = i64::from(day.weekday().to_monday_zero_offset());
            (midnight(day - since_monday.days()), 7.days())
        }
        "day" => (midnight(day), 1.day()),
        "hour" => (day.at(at.hour(), 0, 0, 0), 1.hour()),
        "minute" => (day.at(at.hour(), at.minute(), 0, 0), 1.minute()),
        _ => panic!("no such period: {period}"),
    };
    Some((start, start + span))
}

/// `\r`, `\n` and `\\` in a body.
fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\\\", "\\").into_bytes()
}

fn parse(name: &str, text: &str) -> File {
    let mut file = File { name: name.to_owned(), catalog: Vec::new(), cases: Vec::new() };
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("=== ") {
            file.cases.push(Case { title: title.to_owned(), line: number + 1, steps: Vec::new() });
            continue;
        }
        match file.cases.last_mut() {
            None => file.catalog.push(line.to_owned()),
            Some(case) => parse_step(&mut case.steps, line, number + 1),
        }
    }
    file
}

fn parse_step(steps: &mut Vec<Step>, line: &str, number: usize) {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    // A request line after an answer begins the next exchange.
    let answered = !matches!(steps.last(), Some(Step::Exchange(last)) if last.status == 0);
    if mark == ">" && answered {
        steps.push(Step::Exchange(Exchange { line: number, ..Exchange::default() }));
    }
    match (mark, steps.last_mut()) {
        ("*", _) => steps.push(Step::Command(rest.to_owned())),
        (">", Some(Step::Exchange(exchange))) => exchange.head.push(rest.to_owned()),
        (">>", Some(Step::Exchange(exchange))) => exchange.body.push_str(rest),
        ("<", Some(Step::Exchange(exchange))) if exchange.status == 0 => {
            exchange.status = rest.parse().unwrap()
        }
        ("<", Some(Step::Exchange(exchange))) => {
            let (name, value) = rest.split_once(": ").unwrap();
            exchange.headers.push((name.to_owned(), Some(value.to_owned())));
        }
        ("<!", Some(Step::Exchange(exchange))) => exchange.headers.push((rest.to_owned(), None)),
        ("<<", Some(Step::Exchange(exchange))) => exchange.answer.push_str(rest.trim_start()),
        _ => panic!("line {number} makes no sense: {line}"),
    }
}
