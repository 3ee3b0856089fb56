//! History that is told.

use super::super::past::{VALUE_MAX, VALUES_MAX};
use super::*;

fn hours(since: &str, values: Value) -> Value {
    json!({"metric_name": "hits", "granularity": "hour", "since": since, "values": values})
}

fn days(since: &str, values: Value) -> Value {
    json!({"metric_name": "hits", "granularity": "day", "since": since, "values": values})
}

/// What the hours of a range are.
fn shown(it: &Called, at: usize, since: &str, until: &str) -> Value {
    let ask = json!({"metric_name": "hits", "granularity": "hour", "since": since, "until": until});
    it.of_application(at, ask)["values"].clone()
}

#[test]
fn what_is_told_of_past_hours_is_what_they_were() {
    let it = Called::new();
    // Over midnight, and from where it already counted something.
    let (status, body) = it.put(0, hours("2026-11-20T22:00:00Z", json!([5, null, 7, 0])));
    let said = json!({"usage": {"metric_name": "hits", "since": "2026-11-20T22:00:00Z", "hours": 3}});
    assert_eq!((status, body), (200, said));
    let of = |at| shown(&it, at, "2026-11-20 21:00", "2026-11-21 01:00");
    assert_eq!((of(0), of(1)), (json!([0, 5, 0, 7, 0]), json!([0, 0, 0, 0, 0])));
    // It is set, not added: null leaves an hour as it was.
    assert_eq!(it.put(0, hours("2026-11-20 22:00", json!([null, 2, 1]))).0, 200);
    assert_eq!(it.put(1, hours("2026-11-21 00:00", json!([100]))).0, 200);
    assert_eq!((of(0), of(1)), (json!([0, 5, 2, 1, 0]), json!([0, 0, 0, 100, 0])));
    let all = it.of_service(json!({"metric_name": "hits", "period": "month"}));
    assert_eq!(all["total"], 108);
    // Days are written into their hours of noon.
    assert_eq!(it.put(0, days("2026-11-20", json!([30, "40"]))).0, 200);
    let day = |day: &str| shown(&it, 0, day, &format!("{day} 23:00"));
    let of_day = |value: i64| json!([vec![0; 12], vec![value], vec![0; 11]].concat());
    assert_eq!((day("2026-11-20"), day("2026-11-21")), (of_day(30), of_day(40)));
    // So they are the same days elsewhere.
    for zone in ["International Date Line West", "Hawaii", "UTC", "Tokyo", "Solomon Is."] {
        let ask = json!({"metric_name": "hits", "granularity": "day", "since": "2026-11-20", "until": "2026-11-21", "timezone": zone});
        assert_eq!(it.of_application(0, ask)["values"], json!([30, 40]), "{zone}");
    }
    // In the zone that is said; a day's beginning is UTC's.
    let mut ask = hours("2026-11-20 23:00", json!([9]));
    ask["timezone"] = "Madrid".into();
    assert_eq!(it.put(0, ask).0, 200);
    assert_eq!(shown(&it, 0, "2026-11-20 22:00", "2026-11-20 23:00"), json!([9, 0]));
    // What is counted goes on from there.
    it.count("first", "hits", "1");
    assert_eq!(it.of_application(0, json!({"metric_name": "hits", "period": "eternity"}))["total"], 80);
}

#[test]
fn response_codes_can_be_told_too() {
    let it = Called::new();
    let path = format!("applications/{}/usage_response_code", it.applications[0]);
    let ask = json!({"response_code": "2XX", "granularity": "hour", "since": "2026-11-20", "values": [3]});
    assert_eq!(it.ask(Method::Put, &format!("{path}.json"), ask).status, 200);
    let of = |code: &str| it.json(&path, json!({"response_code": code, "period": "month"}))["total"].clone();
    assert_eq!((of("2XX"), of("200")), (json!(3), json!(0)));
}

#[test]
fn the_audit_log_says_who_told_what() {
    let it = Called::new();
    it.put(0, hours("2026-11-20", json!([5, 3])));
    it.put(0, hours("2026-11-20", json!([5, null, 7])));
    let log = it.world.get("audit_log").1;
    let entry = &log["audit_log"][0]["entry"];
    let application = &it.applications[0];
    assert_eq!(entry["path"], format!("/stats/applications/{application}/usage"));
    let object = &entry["objects"][0];
    let after = json!({"metric_name": "hits", "since": "2026-11-20T00:00:00Z", "hours": 2, "total": 12});
    assert_eq!(object["before"], json!({"total": 8}));
    assert_eq!((&object["type"], &object["id"], &object["after"]), (&json!("usage"), application, &after));
}

#[test]
fn only_hours_that_are_over_are_told_and_only_so_many() {
    let it = Called::new();
    let refused = |ask: Value, why: &str| {
        let path = format!("applications/{}/usage.json", it.applications[0]);
        let answer = it.ask(Method::Put, &path, ask.clone());
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 400 && text.contains(why), "{ask}: {} {text}", answer.status);
    };
    // It is a quarter to two.
    assert_eq!(it.put(0, hours("2026-11-22 12:00", json!([1]))).0, 200);
    for ask in [
        hours("2026-11-22 12:00", json!([1, 1])),
        hours("2026-11-22 13:00", json!([null])),
        hours("2027-11-22", json!([1])),
    ] {
        refused(ask, "only hours that are over");
    }
    assert_eq!(it.put(0, days("2026-11-21", json!([1]))).0, 200);
    refused(days("2026-11-21", json!([1, 1])), "only hours that are over");
    refused(hours("2026-11-20 12:30", json!([1])), "since must be a full hour");
    refused(days("2026-11-20 01:00", json!([1])), "since must be midnight, UTC");
    refused(hours("1969-12-31 23:00", json!([1])), "since is more than eleven years ago");
    refused(hours("soon", json!([1])), "valid date/time");
    for (field, why) in [
        ("metric_name", "metric_name"),
        ("granularity", "granularity"),
        ("since", "since"),
        ("values", "values"),
    ] {
        let mut ask = hours("2026-11-20", json!([1]));
        ask.as_object_mut().unwrap().remove(field);
        refused(ask, &format!("Required parameter missing: {why}"));
    }
    // Eleven years, to the second: what is told is kept for ever.
    assert_eq!(it.put(0, hours("2015-11-22 14:00", json!([1]))).0, 200);
    refused(hours("2015-11-22 13:00", json!([1])), "since is more than eleven years ago");
    assert_eq!(it.put(0, days("2015-11-23", json!([1]))).0, 200);
    refused(days("2015-11-22", json!([1])), "since is more than eleven years ago");
    let mut ask = hours("2026-11-20", json!([1]));
    ask["granularity"] = "month".into();
    refused(ask.clone(), "granularity must be hour or day");
    ask["metric_name"] = "xxxx".into();
    refused(ask, "metric xxxx not found");
    refused(hours("2026-11-20", json!("1,2")), "values must be a list");
    refused(hours("2026-11-20", json!({})), "values must be a list");
    refused(hours("2026-11-20", json!([[1]])), "values must be a list");
    for value in [json!(-1), json!(1.5), json!("x"), json!("+1"), json!(VALUE_MAX + 1)] {
        refused(hours("2026-11-20", json!([value])), "a value is a whole number");
    }
    refused(hours("2026-11-20", json!([true])), "values must be a list");
    assert_eq!(it.put(0, hours("2026-11-20", json!([VALUE_MAX]))).0, 200);
    assert_eq!(shown(&it, 0, "2026-11-20", "2026-11-20"), json!([VALUE_MAX]));
    let (status, body) = it.put(0, hours("2020-01-01", json!(vec![1; VALUES_MAX])));
    assert_eq!((status, &body["usage"]["hours"]), (200, &json!(VALUES_MAX)));
    refused(hours("2020-01-01", json!(vec![1; VALUES_MAX + 1])), "at most 4000 values");
    let year = it.of_application(0, json!({"metric_name": "hits", "period": "year", "since": "2020-01-01"}));
    assert_eq!((&year["total"], &year["values"][1]), (&json!(VALUES_MAX), &json!(29 * 24)));
    assert_eq!(
        it.world
            .send(
                Method::Put,
                "/stats/applications/999999/usage.json",
                hours("2020-01-01", json!([1])),
                Some(TOKEN)
            )
            .status,
        404
    );
}
