//! Usage asked for and kept, of a 3scale that has some, hides some, or answers something else.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

use super::super::tests::{Server, open, serve};
use super::*;

/// 2026-11-23 11:04:59 UTC: the hour that began at 11 is not over, and the one before not settled.
const NOW_S: u64 = 1_795_431_899;

/// What is used there in each hour, by owner and metric, as `applications/31 hits`.
type Used = HashMap<String, Vec<(&'static str, u64)>>;

fn used(all: &[(&str, &[(&'static str, u64)])]) -> Used {
    all.iter().map(|(whose, hours)| ((*whose).to_owned(), hours.to_vec())).collect()
}

/// The answer of an analytics API to `services/7/usage.json?..`, as far as it has something of that owner.
fn answer(used: &Used, asked: &str) -> Option<Value> {
    let (owner, query) = asked.split_once("/usage.json?")?;
    let parameters: HashMap<_, _> = query.split('&').filter_map(|it| it.split_once('=')).collect();
    let metric = parameters["metric_name"].replace("%2E", ".").replace("%5F", "_");
    let hours = used.get(&format!("{owner} {metric}"))?;
    let time = |name: &str| {
        let text = format!("{}Z", parameters[name].replace("%20", "T"));
        text.parse::<jiff::Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::UTC)
    };
    let (since, until) = (time("since"), time("until"));
    let (step, unit) = match parameters["granularity"] {
        "hour" => (jiff::Span::new().hours(1), 90 * 24),
        "day" => (jiff::Span::new().days(1), 366),
        _ => (jiff::Span::new().months(1), 120),
    };
    let (mut values, mut begin) = (Vec::new(), since.clone());
    while begin <= until {
        let end = begin.checked_add(step).unwrap();
        let within = hours.iter().filter(|(hour, _)| {
            let at = format!("{hour}:00:00Z").parse::<jiff::Timestamp>().unwrap();
            at >= begin.timestamp() && at < end.timestamp()
        });
        values.push(within.map(|(_, value)| value).sum::<u64>());
        begin = end;
    }
    assert!(values.len() <= unit, "3scale answers 400 to {asked}");
    let total: u64 = values.iter().sum();
    let period = json!({"since": since.timestamp().to_string(), "until": until.timestamp().to_string()});
    Some(json!({"period": period, "total": total, "values": values}))
}

fn there(all: &[(&str, &[(&'static str, u64)])]) -> Server {
    let used = used(all);
    serve(move |asked| {
        let asked = asked.trim_start_matches("/stats/").split("&access_token").next().unwrap_or_default();
        match answer(&used, asked) {
            Some(answer) => (200, answer.to_string()),
            None => (404, r#"{"error":"Application not found"}"#.to_owned()),
        }
    })
}

/// A product of number 7 with hits, its method, bytes, and an application of each of these numbers.
fn product(callers: &[u64]) -> Product {
    let mut counted = Counted::default();
    let metric = |id: u64, name: &str| json!({"id": id, "system_name": name}).as_object().unwrap().clone();
    counted.put_metric("services/7", &metric(1, "hits"), (None, "hits"));
    counted.put_metric("services/7", &metric(2, "look_up"), (None, "look_up"));
    counted.put_metric("services/7", &metric(3, "bytes"), (None, "bytes"));
    counted.put_product(7, "weather", &[9].into());
    let callers =
        callers.iter().map(|id| Caller { id: *id, application_id: format!("app-{id}"), user_key: None });
    counted.by([(7, callers.collect())].into()).remove(0)
}

/// What comes of all, as `31 hits hour 2026-11-23T00:00:00Z 1,,2`, and what is said of it.
fn brought(
    server: &Server,
    folder: &Path,
    product: &Product,
) -> Result<(Vec<String>, Vec<String>), SourceError> {
    let mut source = open(server, folder)?;
    let mut history = History::begin(&mut source, NOW_S)?;
    let used = history.used(product)?;
    let mut found = Vec::new();
    for caller in &product.callers {
        for past in history.of(product, caller, &used)? {
            let values: Vec<_> =
                past.values.iter().map(|it| it.map(|it| it.to_string()).unwrap_or_default()).collect();
            let (metric, granularity) = (&past.metric.here.1, past.granularity.name());
            found.push(format!("{} {metric} {granularity} {} {}", caller.id, past.since, values.join(",")));
        }
    }
    let notes = history.notes()?;
    Ok((found, notes))
}

fn asked(server: &Server) -> usize {
    server.asked.lock().unwrap().len()
}

#[test]
fn hours_come_and_days_before_them_and_what_was_never_used_is_hardly_asked_for() {
    let hits: &[_] = &[
        ("2024-02-29T23", 5),
        ("2026-08-25T01", 6),
        ("2026-08-26T00", 1),
        ("2026-11-23T09", 2),
        ("2026-11-23T10", 9),
    ];
    let looks: &[_] = &[("2026-11-22T00", 4), ("2026-11-22T02", 3)];
    let server = there(&[
        ("services/7 hits", hits),
        ("services/7 look_up", looks),
        ("services/7 bytes", &[]),
        ("applications/31 hits", hits),
        ("applications/31 look_up", looks),
        ("applications/32 hits", &[]),
        // Its metric has nothing: it was set back.
        ("applications/32 look_up", &[("2026-11-22T01", 8)]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let product = product(&[31, 32]);
    let (found, notes) = brought(&server, folder.path(), &product).unwrap();
    assert_eq!(notes, [""; 0]);
    let mut days = vec![String::new(); 909];
    (days[0], days[908]) = ("5".to_owned(), "6".to_owned());
    let mut hours = vec![String::new(); 89 * 24 + 10];
    (hours[0], hours[89 * 24 + 9]) = ("1".to_owned(), "2".to_owned());
    let expected = [
        format!("31 hits day 2024-02-29T00:00:00Z {}", days.join(",")),
        format!("31 hits hour 2026-08-26T00:00:00Z {}", hours.join(",")),
        "31 look_up hour 2026-11-22T00:00:00Z 4,,3".to_owned(),
        "32 look_up hour 2026-11-22T01:00:00Z 8".to_owned(),
    ];
    assert_eq!(found, expected);
    // Of the product three, of 31 months twice, days twice and hours twice, of 32 months twice and hours once; nobody used bytes.
    assert_eq!(asked(&server), 3 + 2 + 2 + 2 + 3);
    // Begun again, later: all is there, and asks the same.
    assert_eq!(brought(&server, folder.path(), &product).unwrap().0, expected);
    assert_eq!(asked(&server), 12);
    let first = server.asked.lock().unwrap()[0].clone();
    assert_eq!(
        first,
        "/stats/services/7/usage.json?metric_name=hits&granularity=month&since=2017-01-01%2000:00:00&until=2026-11-23%2009:59:59&timezone=UTC&access_token=t%26k"
    );
}

#[test]
fn until_when_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let server = there(&[]);
    let end = |now_s| History::begin(&mut open(&server, folder.path()).unwrap(), now_s).unwrap().end;
    assert_eq!((end(NOW_S), end(NOW_S + 86400)), (hour_of(NOW_S) - 1, hour_of(NOW_S) - 1));
    let other = tempfile::tempdir().unwrap();
    let mut source = open(&server, other.path()).unwrap();
    assert_eq!(History::begin(&mut source, NOW_S + 1).unwrap().end, hour_of(NOW_S), "settled");
    std::fs::write(other.path().join(MARK), "soon").unwrap();
    assert!(matches!(History::begin(&mut source, NOW_S), Err(SourceError::Unfit(_))));
}

#[test]
fn a_source_that_shows_no_usage_is_asked_once_and_it_is_said_in_one_line() {
    for (status, body, said, calls) in [
        (
            403,
            r#"{"error":"Your access token does not have the correct permissions"}"#,
            "scope stats there",
            1,
        ),
        (404, "", "no analytics API", 2),
        (200, "<html>Please log in</html>", "is not there yet", 1),
        (200, r#"{"metrics":[]}"#, "is no usage", 1),
        (302, "", "answered 302", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(move |_| (status, body.to_owned()));
        let mut source = open(&server, folder.path()).unwrap();
        let mut history = History::begin(&mut source, NOW_S).unwrap();
        let product = product(&[31]);
        for _ in 0..2 {
            assert_eq!(history.used(&product).unwrap(), Vec::<&Metric>::new());
        }
        let notes = history.notes().unwrap();
        assert!(notes.len() == 1 && notes[0].contains(said), "{status}: {notes:?}");
        assert_eq!(asked(&server), calls);
        assert_eq!(std::fs::read_dir(folder.path().join("pages")).unwrap().count(), 0, "nothing is kept");
    }
}

#[test]
fn what_is_refused_or_garbled_of_one_stays_behind_alone() {
    let good = used(&[
        ("services/7 hits", &[("2026-11-22T00", 4)]),
        ("applications/33 hits", &[("2026-11-22T00", 4)]),
    ]);
    let server = serve(move |asked| {
        let asked = asked.trim_start_matches("/stats/").split("&access_token").next().unwrap_or_default();
        match answer(&good, asked) {
            Some(mut answer) if asked.contains("granularity=hour") => {
                // A bucket more, as another might show it, is no harm.
                answer["values"].as_array_mut().unwrap().push(0.into());
                (200, answer.to_string())
            }
            Some(answer) => (200, answer.to_string()),
            None if asked.starts_with("services/") => {
                (400, r#"{"error":"metric xxxx not found"}"#.to_owned())
            }
            None if asked.contains("/31/") => (404, r#"{"error":"Application not found"}"#.to_owned()),
            None => (200, r#"{"total":7,"values":[1,2]}"#.to_owned()),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let (found, notes) = brought(&server, folder.path(), &product(&[31, 32, 33])).unwrap();
    assert_eq!(found, ["33 hits hour 2026-11-22T00:00:00Z 4"]);
    for (at, part) in [
        "usage of metric look_up of service weather stays behind: answered 400",
        "usage of metric bytes of service weather stays behind: answered 400",
        "usage of application app-31 of service weather stays behind: answered 404",
        "usage of hits by application app-32 of service weather stays behind: not what 3scale",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(notes[at].contains(part), "{part}: {notes:#?}");
    }
    assert_eq!(notes.len(), 4);
}

/// A server that answers these to metrics `hits`, `look_up` and `bytes` of the product; 33 used some of each.
fn answering(statuses: [(u16, &'static str); 3]) -> Server {
    let some: &[_] = &[("2026-11-22T00", 4)];
    let names = ["hits", "look_up", "bytes"];
    let owners = ["services/7", "applications/33"].into_iter();
    let all = owners.flat_map(|owner| names.map(|name| (format!("{owner} {name}"), some.to_vec()))).collect();
    serve(move |asked| {
        let asked = asked.trim_start_matches("/stats/").split("&access_token").next().unwrap_or_default();
        let plain = asked.replace("%5F", "_");
        let at = names.iter().position(|name| plain.contains(&format!("metric_name={name}&"))).unwrap();
        match statuses[at] {
            (status, body) if asked.starts_with("services/") && status != 0 => (status, body.to_owned()),
            _ => (200, answer(&all, asked).unwrap().to_string()),
        }
    })
}

const GOOD: (u16, &str) = (0, "");

#[test]
fn a_metric_that_is_odd_or_fails_stays_behind_alone() {
    for (status, body, said) in [
        (200, r#"{"total":-1,"values":[-1]}"#, "is no usage"),
        (200, r#"{"total":0.5,"values":[0.5]}"#, "is no usage"),
        (200, r#"{"total":7,"values":[1,2]}"#, "is no usage"),
        (405, "no", "answered 405: no"),
        (500, "no", "answered 500: no; begun again"),
        (504, "no", "answered 504: no; begun again"),
    ] {
        let odd = (status, body);
        for (all, left) in [([odd, GOOD, odd], "look_up"), ([GOOD, odd, odd], "hits")] {
            let folder = tempfile::tempdir().unwrap();
            let (found, notes) = brought(&answering(all), folder.path(), &product(&[33])).unwrap();
            assert_eq!(found, [format!("33 {left} hour 2026-11-22T00:00:00Z 4")], "{status} {body}");
            assert!(notes.len() == 2 && notes.iter().all(|it| it.contains(said)), "{notes:#?}");
            assert!(notes[1].starts_with("usage of metric bytes of service weather stays behind: "));
        }
    }
    // What is no usage at all of one, when there was some of another, is odd, too.
    let folder = tempfile::tempdir().unwrap();
    let there = answering([GOOD, (200, r#"{"error":"no"}"#), GOOD]);
    assert_eq!(brought(&there, folder.path(), &product(&[33])).unwrap().0.len(), 2);
}

#[test]
fn who_fails_all_or_several_at_once_ends_it() {
    let fails = (503, "");
    let of = |statuses, callers: &[u64], times: usize| {
        let (server, folder) = (answering(statuses), tempfile::tempdir().unwrap());
        let mut source = open(&server, folder.path())?;
        let mut history = History::begin(&mut source, NOW_S)?;
        let product = product(callers);
        for _ in 0..times {
            history.used(&product)?;
        }
        history.notes().map(|notes| notes.len())
    };
    // One after the other, of one product or of two.
    assert!(matches!(of([fails, fails, fails], &[33], 1), Err(SourceError::Refused { status: 503, .. })));
    assert_eq!(of([fails, fails, GOOD], &[33], 2).unwrap(), 4);
    assert!(of([fails, GOOD, fails], &[33], 1).is_ok());
    assert!(of([GOOD, fails, fails], &[33], 2).is_ok(), "answered in between");
    // Fewer, but nothing else was answered.
    assert!(of([fails, (400, "no"), fails], &[33], 1).is_err());
    assert!(of([(400, "no"), (400, "no"), fails], &[33], 1).is_err());
    assert_eq!(of([(400, "no"), (400, "no"), (400, "no")], &[33], 1).unwrap(), 3);
}

#[test]
fn who_is_away_or_closes_half_way_ends_it_and_the_rest_comes_another_time() {
    for status in [503, 403] {
        let all = used(&[
            ("services/7 hits", &[("2026-11-22T00", 4)]),
            ("applications/31 hits", &[("2026-11-22T00", 4)]),
        ]);
        let is_closed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let closes = std::sync::Arc::clone(&is_closed);
        let server = serve(move |asked| {
            let asked = asked.trim_start_matches("/stats/").split("&access_token").next().unwrap_or_default();
            let closes = closes.load(std::sync::atomic::Ordering::Relaxed);
            match answer(&all, asked) {
                Some(_) if closes && asked.starts_with("applications") => (status, String::new()),
                Some(answer) => (200, answer.to_string()),
                None => (200, json!({"total": 0, "values": []}).to_string()),
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let product = product(&[31]);
        let error = brought(&server, folder.path(), &product).unwrap_err();
        assert!(matches!(error, SourceError::Refused { status: is, .. } if is == status), "{error}");
        let before = asked(&server);
        is_closed.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            brought(&server, folder.path(), &product).unwrap().0,
            ["31 hits hour 2026-11-22T00:00:00Z 4"]
        );
        assert_eq!(asked(&server) - before, 2, "months and hours: the product was asked before");
    }
}

#[test]
fn answers_to_something_else_are_none() {
    let window = hours_asked(hour_of(NOW_S), std::slice::from_ref(&(0..u32::MAX))).unwrap();
    let since = calendar::text_of(window.begin);
    let is = |answer: Value| values_in(&answer, &window);
    assert_eq!(is(json!({"values": [1, 2], "total": 3, "period": {"since": since}})), Some(vec![1, 2]));
    assert_eq!(is(json!({"values": [1, 2]})), Some(vec![1, 2]));
    assert_eq!(is(json!({"values": [1, 2], "period": {"since": "2026-08-25T00:00:00Z"}})), None);
    for answer in [
        json!({"values": [1, 2], "total": 4}),
        json!({"values": [-1, 2]}),
        json!({"values": [0.5]}),
        json!({"values": [u64::MAX, 1]}),
        json!({"values": "1,2"}),
        json!({"error": "no"}),
        Value::Null,
    ] {
        assert_eq!(is(answer.clone()), None, "{answer}");
    }
    let many = vec![0; window.count + 1];
    assert_eq!(is(json!({"values": many})).unwrap().len(), window.count);
}

#[test]
fn metrics_of_backends_are_asked_for_of_a_product_with_the_backends_number() {
    let mut counted = Counted::default();
    let metric = |id: u64, name: &str| json!({"id": id, "system_name": name}).as_object().unwrap().clone();
    counted.put_metric("backend_apis/9", &metric(4, "hits.9"), (Some("stock"), "hits"));
    counted.put_metric("backend_apis/9", &metric(5, "look_up"), (Some("stock"), "look_up"));
    counted.put_metric("backend_apis/8", &metric(6, "hits.8"), (Some("other"), "hits"));
    counted.put_product(7, "weather", &[9].into());
    let product = counted.by(HashMap::new()).remove(0);
    let names: Vec<_> = product.metrics.iter().map(|it| it.there.as_str()).collect();
    assert_eq!(names, ["hits.9", "look_up.9"]);
    assert_eq!(product.metrics[1].here, (Some("stock".to_owned()), "look_up".to_owned()));
}
