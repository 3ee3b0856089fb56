//! `usage` of the past: tables, JSON, and what is asked for wrongly.

use serde_json::{Value, json};

use super::support::Client;
use super::{ADMIN, World, id, row};

/// A service with an application that used hits in two hours of January 2026, and its method in one.
fn world() -> (World, Value) {
    let world = World::start();
    world.json(&["service", "create", "Weather"]);
    world.json(&["method", "create", "weather", "Forecast"]);
    world.json(&["plan", "create", "weather", "Bronze"]);
    world.json(&["account", "create", "Acme", "--username", "ann", "--email", "ann@example.com"]);
    let app = world.json(&["app", "create", "Acme", "bronze", "First app"]);
    for (metric, values) in [("hits", json!([5, 0, 7])), ("forecast", json!([0, 0, 7]))] {
        let body = json!({"metric_name": metric, "granularity": "hour", "since": "2026-01-30T22:00:00Z", "values": values});
        let path = format!("/stats/applications/{}/usage.json?access_token={ADMIN}", id(&app));
        let headers = [("Content-Type", "application/json")];
        let answer = Client::connect(world.node.address).request("PUT", &path, &headers, &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    (world, app)
}

#[test]
fn what_was_used_by_the_hour_day_and_month() {
    let (world, app) = world();
    let key = app["user_key"].as_str().unwrap();
    let hours = ["--granularity", "hour", "--since", "2026-01-30 22:00", "--until", "2026-01-31 00:59"];
    let shown = world.text(&[&["usage", "--app", key], &hours[..]].concat());
    let expected = "date              value\n\
                    2026-01-30 22:00  5\n\
                    2026-01-30 23:00  0\n\
                    2026-01-31 00:00  7\n\
                    total             12\n";
    assert_eq!(shown, expected);
    let of_service = [&["usage", "--service", "weather", "--metric", "forecast"], &hours[..]].concat();
    assert_eq!(row(&world.text(&of_service), "total"), ["total", "7"]);
    let shown = world.json(&of_service);
    assert_eq!((&shown["values"], &shown["metric"]["system_name"]), (&json!([0, 0, 7]), &json!("forecast")));
    let metric = id(&shown["metric"]);
    let by_id = [&["usage", "--service", "weather", "--metric", &metric], &hours[..]].concat();
    assert_eq!(world.json(&by_id)["total"], 7);

    // By its place, too, and in a zone in which it was the other day.
    let days = ["usage", key, "--since", "2026-01-30", "--until", "2026-02-01"];
    let shown = world.text(&[&days[..], &["--timezone", "Madrid"]].concat());
    assert_eq!(row(&shown, "2026-01-30"), ["2026-01-30", "5"]);
    assert_eq!(row(&shown, "2026-01-31"), ["2026-01-31", "7"]);
    assert_eq!(row(&shown, "2026-02-01"), ["2026-02-01", "0"]);
    let shown = world.text(&["usage", "--app", key, "--period", "year", "--since", "2025-12-01"]);
    assert_eq!(row(&shown, "2026-01"), ["2026-01", "12"]);
    assert_eq!(shown.lines().count(), 1 + 12 + 1, "{shown}");
    let shown = world.text(&["usage", "--service", "weather"]);
    assert!(
        shown.lines().count() > 28 && row(&shown, "total") == ["total", "0"],
        "the month until now:\n{shown}"
    );
    assert!(world.text(&["usage", "--service", "weather", "--period", "week"]).lines().count() > 28);
}

#[test]
fn who_used_most() {
    let (world, app) = world();
    let top = ["usage", "--service", "weather", "--top", "--since", "2026-01-15"];
    let shown = world.text(&top);
    assert_eq!(row(&shown, "id"), ["id", "name", "value", "account", "plan"]);
    assert_eq!(row(&shown, &id(&app)), [&id(&app), "First", "app", "12", "Acme", "Bronze"]);
    let shown = world.json(&top);
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["id"]), (1, &app["id"]));
    assert_eq!(world.json(&["usage", "--service", "weather", "--top"]), json!([]), "nobody in this month");
    let year = ["--period", "year", "--metric", "forecast"];
    assert_eq!(world.json(&[&top[..], &year].concat())[0]["name"], "First app");
}

#[test]
fn what_is_asked_for_wrongly() {
    let (world, app) = world();
    let key = app["user_key"].as_str().unwrap();
    for (arguments, part) in [
        (&["usage"][..], "name an application"),
        (&["usage", "--period", "day"], "name an application"),
        (&["usage", key, "--service", "weather"], "one of them"),
        (&["usage", "--app", key, "--data-url", "http://x"], "what is counted now"),
        (&["usage", "--app", key, "--top"], "--top is of a --service"),
        (&["usage", "--service", "weather", "--top", "--granularity", "hour"], "without --until"),
        (&["usage", "--app", key, "--granularity", "hour"], "--since is needed"),
        (&["usage", "--app", key, "--until", "2026-01-31"], "--since is needed"),
        (&["usage", "--app", key, "--period", "day", "--until", "2026-01-31"], "--until is not needed"),
        (&["usage", "--app", key, "--granularity", "minute"], "possible values: hour, day, month"),
    ] {
        let (code, said) = world.refused(arguments);
        assert!(code == 2 && said.contains(part), "{arguments:?}: {code} {said}");
    }
    for (arguments, part) in [
        (&["usage", "--app", key, "--metric", "nothing"][..], "metric nothing not found"),
        (&["usage", "--app", key, "--since", "soon"], "valid date/time format"),
        (&["usage", "--app", key, "--granularity", "hour", "--since", "2025-01-01"], "90 days"),
        (&["usage", "--app", "nobody"], "there is no application \"nobody\""),
    ] {
        let (code, said) = world.refused(arguments);
        assert!(code == 1 && said.contains(part), "{arguments:?}: {code} {said}");
    }
    let scopes = ["--scope", "account_management", "--permission", "ro"];
    let token = world.json(&[&["token", "create", "Reader"][..], &scopes].concat());
    let file = world.file("reader", token["value"].as_str().unwrap());
    let (code, said) = world.refused(&["usage", "--service", "weather", "--token-file", &file]);
    assert!(code == 1 && said.contains("usage is shown to tokens with the scope stats"), "{said}");
}
