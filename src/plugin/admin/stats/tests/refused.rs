//! What is refused, in which words, and to whom.

use super::super::super::owned::Owned as _;
use super::super::super::people::User;
use super::super::counters::{Counters, DAYS_READ_MAX, What};
use super::*;
use crate::plugin::analytics::Subject;

#[test]
fn refusals_are_said_in_the_originals_words() {
    let it = Called::new();
    let service = format!("services/{}", it.service);
    let application = format!("applications/{}", it.applications[0]);
    let metric = |more: Value| {
        let mut ask = json!({"metric_name": "hits"});
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask
    };
    let error = |text: &str| json!({ "error": text }).to_string();
    let missing = |name: &str| format!("Required parameter missing: {name}");
    let date = "Date parameters should have valid date/time format.";
    let periods = r#"Period must be one of ["year", "month", "week", "day", "eternity"], not hour"#;
    let granularities =
        r#"Granularity must be one of ["month", "day", "21600", "hour", "eternity"], not minute"#;
    let only_eternity = "Only 'eternity' granularity is supported for period 'eternity'";
    let not_eternity = "Granularity 'eternity' is only supported for period 'eternity'";
    let counted = "response code 201 is not counted: 200, 403, 404, 500, 503, 2XX, 4XX, 5XX are";
    let usage = |of: &str| format!("{of}/usage.json");
    let top = format!("{service}/top_applications.json");
    for (path, ask, status, body) in [
        (usage("services/none"), metric(json!({"period": "day"})), 404, error("Service not found")),
        (usage("services/999999"), json!({}), 404, error("Service not found")),
        (usage("applications/none"), metric(json!({"period": "day"})), 404, error("Application not found")),
        (usage("backend_apis/999999"), json!({}), 404, json!({"status": "Not found"}).to_string()),
        (usage(&service), json!({"period": "day"}), 400, missing("metric_name")),
        (usage(&service), json!({"period": "day", "metric_name": null}), 400, missing("metric_name")),
        (usage(&service), metric(json!({})), 400, missing("granularity")),
        (usage(&service), metric(json!({"granularity": "hour"})), 400, missing("since")),
        (usage(&service), metric(json!({"granularity": "hour", "since": ""})), 400, missing("since")),
        (
            usage(&service),
            metric(json!({"granularity": "hour", "since": "2026-11-22"})),
            400,
            error("You need to specify either 'period' or 'since' and 'until'"),
        ),
        (
            usage(&service),
            metric(json!({"granularity": "day", "since": "2026-11-22", "until": "2026-11-21"})),
            400,
            error("'until' must not be before 'since'"),
        ),
        (usage(&service), metric(json!({"period": "hour"})), 400, error(periods)),
        (
            usage(&service),
            metric(json!({"period": "day", "granularity": "minute"})),
            400,
            error(granularities),
        ),
        (
            usage(&service),
            metric(json!({"period": "eternity", "granularity": "day"})),
            400,
            error(only_eternity),
        ),
        (
            usage(&service),
            metric(json!({"period": "day", "granularity": "eternity"})),
            400,
            error(not_eternity),
        ),
        (
            usage(&service),
            metric(json!({"granularity": "eternity", "since": "2026-11-22", "until": "2026-11-22"})),
            400,
            error(not_eternity),
        ),
        (usage(&service), metric(json!({"period": "day", "since": "201501-01"})), 400, error(date)),
        (usage(&service), metric(json!({"period": "year", "since": "9999-06-01"})), 400, error(date)),
        (
            usage(&service),
            metric(json!({"period": "day", "timezone": "Mars"})),
            400,
            error("Timezone must be the name of one, as Madrid or Europe/Madrid, not Mars"),
        ),
        (
            usage(&application),
            json!({"metric_name": "xxxx", "period": "day"}),
            400,
            error("metric xxxx not found"),
        ),
        (
            format!("{service}/usage_response_code.json"),
            json!({"period": "day"}),
            400,
            missing("response_code"),
        ),
        (
            format!("{service}/usage_response_code.json"),
            json!({"period": "day", "response_code": 201}),
            400,
            error(counted),
        ),
        (top.clone(), json!({}), 400, missing("metric_name")),
        (top.clone(), metric(json!({})), 400, missing("period")),
        (top.clone(), metric(json!({"period": "day", "since": null})), 400, missing("since")),
        (
            top.clone(),
            metric(json!({"period": "eternity", "since": "2026-11-22"})),
            400,
            error(r#"Period must be one of ["year", "month", "week", "day"], not eternity"#),
        ),
        (
            top,
            json!({"metric_name": "xxxx", "period": "day", "since": "2026-11-22"}),
            400,
            error("metric xxxx not found"),
        ),
        (format!("{service}/summary.csv"), json!({}), 406, error("The format is not supported here")),
        (format!("{service}/usage.txt"), json!({}), 406, error("The format is not supported here")),
        ("nothing/1/usage.json".to_owned(), json!({}), 404, json!({"status": "Not found"}).to_string()),
        (format!("{service}/nothing"), json!({}), 404, json!({"status": "Not found"}).to_string()),
    ] {
        assert_eq!(it.text(&path, ask.clone()), (status, body), "{path} {ask}");
    }
    let xml = it.text(&format!("{service}/usage.xml"), json!({"metric_name": "xxxx", "period": "day"}));
    assert!(xml.0 == 400 && xml.1.contains("<error>metric xxxx not found</error>"), "{xml:?}");
    let answer = it.ask(Method::Get, &format!("{service}/usage.xml"), json!({}));
    assert_eq!((answer.status, answer.content_type), (400, Some("text/plain; charset=utf-8")));
}

#[test]
fn members_are_shown_what_is_theirs_to_see() {
    let it = Called::new();
    let world = &it.world;
    it.count("first", "hits", "2");
    let other = world.made("services", json!({"name": "Other"}))["id"].clone();
    let plan = world.made(&format!("services/{other}/application_plans"), json!({"name": "P"}))["id"].clone();
    let third = json!({"plan_id": plan, "name": "third", "user_key": "third"});
    let third = world.made(&format!("accounts/{}/applications", it.account), third)["id"].clone();
    let ask = json!({"name": "Inner", "private_endpoint": "https://a.example"});
    let backend = world.made("backend_apis", ask)["id"].clone();
    for service in [&it.service, &other] {
        let ask = json!({"backend_api_id": backend, "path": "/inner"});
        world.made(&format!("services/{service}/backend_usages"), ask);
    }
    let name = format!("hits.{backend}");
    it.count("first", &name, "10");
    world.count(&other, "third", &[(&name, Some("30"))], None);
    // A member who may see one service, with the administrator's token as that member's.
    let member = json!({"username": "member", "email": "member@a.example", "password": "a good password"});
    let member = world.made("users", member)["id"].as_u64().unwrap();
    let value = "the member's token";
    let made = world.admin.desk.command(|draft, records| {
        let mut user = records.find::<User>(member)?.unwrap();
        user.state = super::super::super::people::UserState::Active;
        user.sections = vec![super::super::super::auth::Section::Monitoring];
        user.services = Some(vec![it.service.as_u64().unwrap()]);
        user.put(member, records)?;
        let token = super::super::super::auth::Token {
            tenant: world.tenant.0,
            user: member,
            name: "theirs".to_owned(),
            scopes: vec![super::super::super::auth::Scope::Stats],
            permission: super::super::super::auth::Permission::Read,
            expires_at: None,
            hash: super::super::super::auth::hash_of(value),
        };
        token.put(draft.take_id(), records)
    });
    made.unwrap();
    let total = |path: &str| {
        let ask = json!({"metric_name": "hits", "period": "day"});
        let answer = world.send(Method::Get, &format!("/stats/{path}/usage.json"), ask, Some(value));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body["total"].clone())
    };
    assert_eq!(total(&format!("services/{}", it.service)), (200, json!(2)));
    assert_eq!(total(&format!("applications/{}", it.applications[0])), (200, json!(2)));
    assert_eq!(total(&format!("services/{other}")).0, 404);
    assert_eq!(total(&format!("applications/{third}")).0, 404);
    assert_eq!(total(&format!("backend_apis/{backend}")), (200, json!(10)));
    let ask = json!({"metric_name": "hits", "granularity": "hour", "since": "2026-11-22", "values": [1]});
    let path = format!("/stats/applications/{}/usage.json", it.applications[0]);
    assert_eq!(world.send(Method::Put, &path, ask, Some(value)).status, 403);
}

#[test]
fn while_what_was_counted_is_not_on_disk_it_is_not_told() {
    let it = Called::new();
    let ask = json!({"metric_name": "hits", "period": "day"});
    let path = format!("services/{}/usage.json", it.service);
    let disk = it.world.hold_disk();
    it.count("first", "hits", "1");
    assert_eq!(it.text(&path, ask.clone()).0, 503);
    drop(disk);
    while it.text(&path, ask.clone()).0 == 503 {}
    assert_eq!(it.of_service(ask)["total"], 1);
}

#[test]
fn so_many_days_are_read_and_no_more() {
    let it = Called::new();
    let service = crate::model::id::ServiceId(it.service.as_u64().unwrap());
    let slot = crate::model::id::MetricSlot(0);
    // Usage from 18 to 20 November; two counters that are both read.
    for day in ["2026-11-18", "2026-11-20"] {
        let ask = json!({"metric_name": "hits", "granularity": "day", "since": day, "values": [1]});
        assert_eq!(it.put(0, ask).0, 200);
    }
    it.of_service(json!({"metric_name": "hits", "period": "day"}));
    let counters = Counters { what: What::Code("200"), of: vec![(Subject::Service(service), slot); 2] };
    let analytics = it.world.admin.analytics.get().unwrap();
    let day = 498_709 / 24;
    for (first, end, days) in [
        (0, (day + 1) * 24, 6),
        ((day - 3) * 24, (day - 2) * 24, 2),
        ((day - 3) * 24 + 5, (day - 2) * 24 + 1, 4),
    ] {
        let is_read = |max| counters.check(analytics, &[first, end], max).is_ok();
        assert_eq!((is_read(days), is_read(days - 1)), (true, false), "{first}..{end}");
    }
    const { assert!(DAYS_READ_MAX > 10 * 366, "ten years of one service") };
}
