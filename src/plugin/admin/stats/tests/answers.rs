//! Answers as they are sent, to the byte, and what they add up.

use std::sync::atomic::Ordering;

use super::*;
use crate::plugin::admin::tests::NOW;
use crate::plugin::call::Call;

/// Two hours, the second of which is the current one.
fn two_hours() -> Value {
    json!({"metric_name": "hits", "granularity": "hour", "since": "2026-11-22 12:00", "until": "2026-11-22 13:00"})
}

#[test]
fn usage_is_there_right_after_it_was_counted() {
    let it = Called::new();
    it.count("first", "hits", "1");
    it.count("first", "hits", "1");
    // As 3scale's client asks: parameters as JSON, null for what was not given.
    let ask = json!({"metric_name": "hits", "since": null, "period": "year", "until": null, "timezone": null, "skip_change": null});
    let shown = it.of_service(ask.clone());
    assert_eq!((&shown["total"], shown["values"].as_array().unwrap().len()), (&json!(2), 13));
    assert_eq!(shown["values"][12], 2);
    let path = format!("/tenants/{}/stats/services/{}/usage.json", it.world.tenant, it.service);
    let mut parameters = ask.as_object().unwrap().clone();
    parameters.insert("access_token".to_owned(), TOKEN.into());
    let (tenant, path) = crate::plugin::call::tenant_of_path(&path);
    let call = Call {
        method: Method::Get,
        tenant,
        path: path.to_owned(),
        parameters,
        basic: None,
        accept: Some("*/*".to_owned()),
        etag: None,
        host: None,
        scheme: "http",
    };
    use crate::plugin::host::Plugin as _;
    assert!(it.world.admin.owns(&call.path));
    let answer = it.world.admin.answer(&call);
    assert_eq!((answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap()), (200, shown.clone()));
    // The same where the original's own pages ask.
    assert_eq!(it.json(&format!("api/services/{}/usage", it.service), ask), shown);
    for period in ["month", "week", "day", "eternity"] {
        assert_eq!(it.of_service(json!({"metric_name": "hits", "period": period}))["total"], 2, "{period}");
    }
}

#[test]
fn usage_is_written_as_the_original_writes_it() {
    let it = Called::new();
    it.count("first", "hits", "3");
    let (service, hits, application) = (&it.service, it.metric("hits"), &it.applications[0]);
    let metric = format!(r#""metric":{{"id":{hits},"name":"Hits","system_name":"hits","unit":"hit"}}"#);
    let period = r#""period":{"name":null,"since":"2026-11-22T12:00:00Z","until":"2026-11-22T13:59:59Z","timezone":"Etc/UTC","granularity":"hour"}"#;
    let json = format!(r#"{{{metric},{period},"total":3,"values":[0,3]}}"#);
    assert_eq!(it.text(&format!("services/{service}/usage.json"), two_hours()), (200, json.clone()));
    let (_, of_application) = it.text(&format!("applications/{application}/usage.json"), {
        let mut ask = two_hours();
        ask["skip_change"] = "false".into();
        ask
    });
    let (account, plan) = (&it.account, &it.plan);
    let shown = format!(
        r#"{{{metric},{period},"total":3,"values":[0,3],"application":{{"id":{application},"name":"first","state":"live","link":"/admin/api/accounts/{account}/applications/{application}","description":"d","plan":{{"id":{plan},"name":"Gold"}},"account":{{"id":{account},"name":"Acme, \"Inc\"","link":"/admin/api/accounts/{account}"}},"service":{{"id":{service}}}}},"previous_total":0,"change":100.0}}"#
    );
    assert_eq!(of_application, shown);
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let metric = format!(
        "<metric><id>{hits}</id><name>Hits</name><system_name>hits</system_name><unit>hit</unit></metric>"
    );
    let rest = "<period><since>2026-11-22 12:00:00 UTC</since><until>2026-11-22 13:59:59 UTC</until><name/><granularity>hour</granularity></period>\
                <data><total>3</total><values length=\"2\">0,3</values></data>";
    assert_eq!(
        it.text(&format!("services/{service}/usage.xml"), two_hours()),
        (200, format!("{head}<usage>{metric}{rest}</usage>\n"))
    );
    let owned = format!(
        "<application><id>{application}</id><name>first</name><plan><id>{plan}</id><name>Gold</name></plan>\
         <account><name>Acme, &quot;Inc&quot;</name><id>{account}</id></account></application>"
    );
    assert_eq!(
        it.text(&format!("applications/{application}/usage.xml"), two_hours()),
        (200, format!("{head}<usage>{metric}{rest}{owned}</usage>\n"))
    );
    let csv = "Metric System Name,Metric Name,Date,Value\nhits,Hits,2026-11-22 12:00:00 UTC,0\nhits,Hits,2026-11-22 13:00:00 UTC,3\n";
    let answer = it.ask(Method::Get, &format!("services/{service}/usage.csv"), two_hours());
    assert_eq!((answer.status, answer.content_type), (200, Some("text/csv; charset=utf-8")));
    assert_eq!(answer.body, csv);
    // Times are the zone's, and quarters of days go by their seconds.
    let ask = json!({"metric_name": "hits", "period": "week", "timezone": "Madrid"});
    let shown = it.of_service(ask)["period"].to_string();
    let expected = r#"{"name":"week","since":"2026-11-15T12:00:00+01:00","until":"2026-11-22T17:59:59+01:00","timezone":"Europe/Madrid","granularity":21600}"#;
    assert_eq!(shown, expected);
}

#[test]
fn without_a_suffix_it_is_what_the_client_accepts_and_else_json() {
    let it = Called::new();
    let mut parameters = two_hours().as_object().unwrap().clone();
    parameters.insert("access_token".to_owned(), TOKEN.into());
    for (path, accept, expected) in [
        ("usage", None, "application/json; charset=utf-8"),
        ("usage", Some("*/*"), "application/json; charset=utf-8"),
        ("usage", Some("application/xml"), "application/xml; charset=utf-8"),
        ("usage", Some("text/csv"), "text/csv; charset=utf-8"),
        ("usage.json", Some("text/csv"), "application/json; charset=utf-8"),
        ("usage.xml", Some("application/json"), "application/xml; charset=utf-8"),
        ("usage.csv", Some("application/json"), "text/csv; charset=utf-8"),
    ] {
        let call = Call {
            method: Method::Get,
            tenant: None,
            path: format!("/stats/services/{}/{path}", it.service),
            parameters: parameters.clone(),
            basic: None,
            accept: accept.map(str::to_owned),
            etag: None,
            host: None,
            scheme: "http",
        };
        use crate::plugin::host::Plugin as _;
        let answer = it.world.admin.answer(&call);
        assert_eq!((answer.status, answer.content_type), (200, Some(expected)), "{path} {accept:?}");
    }
}

#[test]
fn what_methods_count_is_in_their_metric_and_backends_have_what_services_count_of_them() {
    let it = Called::new();
    let hits = it.metric("hits");
    let methods = format!("services/{}/metrics/{hits}/methods", it.service);
    it.world.made(&methods, json!({"friendly_name": "Look up", "system_name": "look_up"}));
    it.count("first", "look_up", "2");
    it.count("second", "hits", "5");
    let total = |name: &str| it.of_service(json!({"metric_name": name, "period": "day"}))["total"].clone();
    assert_eq!((total("hits"), total("look_up")), (json!(7), json!(2)));
    // Two services use a backend, and each has counters of its own for it.
    let ask = json!({"name": "Inner", "private_endpoint": "https://a.example"});
    let backend = it.world.made("backend_apis", ask)["id"].clone();
    let other = it.world.made("services", json!({"name": "Other"}))["id"].clone();
    for service in [&it.service, &other] {
        let ask = json!({"backend_api_id": backend, "path": "/inner"});
        it.world.made(&format!("services/{service}/backend_usages"), ask);
    }
    let plan =
        it.world.made(&format!("services/{other}/application_plans"), json!({"name": "P"}))["id"].clone();
    let ask = json!({"plan_id": plan, "name": "third", "user_key": "third"});
    it.world.made(&format!("accounts/{}/applications", it.account), ask);
    let name = format!("hits.{backend}");
    it.count("first", &name, "10");
    it.world.count(&other, "third", &[(&name, Some("30"))], None);
    let path = format!("backend_apis/{backend}/usage");
    let shown = it.json(&path, json!({"metric_name": "hits", "period": "day"}));
    assert_eq!((&shown["total"], &shown["metric"]["system_name"]), (&json!(40), &json!(name)));
    assert_eq!(shown["values"].as_array().unwrap().iter().map(|it| it.as_i64().unwrap()).sum::<i64>(), 40);
    assert_eq!(it.of_service(json!({"metric_name": name, "period": "day"}))["total"], 10);
    assert_eq!(it.of_application(0, json!({"metric_name": name, "period": "day"}))["total"], 10);
}

#[test]
fn response_codes_are_asked_for_by_themselves_and_by_class() {
    let it = Called::new();
    for code in ["200", "201", "404", "302"] {
        it.world.count(&it.service, "first", &[("hits", Some("1"))], Some(code));
    }
    let path = format!("services/{}/usage_response_code", it.service);
    let of = |path: &str, code: Value| it.json(path, json!({"response_code": code, "period": "day"}));
    for (code, shown, total) in
        [(json!("2XX"), "2XX", 2), (json!(200), "200", 1), (json!("4xx"), "4XX", 1), (json!("500"), "500", 0)]
    {
        let answer = of(&path, code);
        assert_eq!((&answer["response_code"], &answer["total"]), (&json!({"code": shown}), &json!(total)));
        assert_eq!(answer["metric"], Value::Null);
    }
    let of_application = format!("applications/{}/usage_response_code", it.applications[0]);
    let answer = of(&of_application, json!("2XX"));
    assert_eq!((&answer["total"], &answer["application"]["name"]), (&json!(2), &json!("first")));
    assert_eq!(
        of(&format!("applications/{}/usage_response_code", it.applications[1]), json!("2XX"))["total"],
        0
    );
    let (status, xml) = it.text(&format!("{path}.xml"), json!({"response_code": "2XX", "period": "year"}));
    assert!(
        status == 200 && xml.contains("<usage><response_code><code>2XX</code></response_code><period>"),
        "{xml}"
    );
}

#[test]
fn those_that_used_most_come_first_and_those_that_are_gone_not_at_all() {
    let it = Called::new();
    let more = |name: &str| {
        let ask = json!({"plan_id": it.plan, "name": name, "user_key": name});
        it.world.made(&format!("accounts/{}/applications", it.account), ask)["id"].clone()
    };
    it.count("second", "hits", "7");
    it.count("first", "hits", "7");
    let gone = more("gone");
    it.count("gone", "hits", "50");
    more("idle");
    assert_eq!(it.world.delete(&format!("accounts/{}/applications/{gone}", it.account)).0, 200);
    let path = format!("services/{}/top_applications", it.service);
    let ask = json!({"metric_name": "hits", "period": "month", "since": "2026-11-22"});
    let (service, hits, account, plan) = (&it.service, it.metric("hits"), &it.account, &it.plan);
    let [first, second] = &it.applications;
    let one = |id: &Value, name: &str| {
        format!(
            r#"{{"name":"{name}","id":{id},"value":"7","account":{{"id":{account},"name":"Acme, \"Inc\""}},"plan":{{"id":{plan},"name":"Gold"}},"service":{{"id":{service}}}}}"#
        )
    };
    let expected = format!(
        r#"{{"applications":[{},{}],"metric":{{"id":{hits},"name":"Hits","system_name":"hits","unit":"hit"}},"period":{{"name":"month","since":"2026-11-01T00:00:00Z","until":"2026-11-30T23:59:59Z"}}}}"#,
        one(first, "first"),
        one(second, "second"),
    );
    assert_eq!(it.text(&format!("{path}.json"), ask.clone()), (200, expected));
    let csv = format!(
        "Application Name,Application ID,Plan Name,Plan ID,Account Name,Account ID,Total\n\
         first,{first},Gold,{plan},\"Acme, \"\"Inc\"\"\",{account},7\nsecond,{second},Gold,{plan},\"Acme, \"\"Inc\"\"\",{account},7\n"
    );
    assert_eq!(it.text(&format!("{path}.csv"), ask.clone()), (200, csv));
    let one = |id: &Value, name: &str| {
        format!(
            "<application><value>7</value><id>{id}</id><name>{name}</name><plan><id>{plan}</id><name>Gold</name></plan>\
             <account><name>Acme, &quot;Inc&quot;</name><id>{account}</id></account></application>"
        )
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<top><metric><id>{hits}</id><name>Hits</name><system_name>hits</system_name><unit>hit</unit></metric>\
         <period><name>month</name><since>2026-11-01 00:00:00 UTC</since><until>2026-11-30 23:59:59 UTC</until></period><applications>{}{}</applications></top>\n",
        one(first, "first"),
        one(second, "second"),
    );
    assert_eq!(it.text(&format!("{path}.xml"), ask), (200, xml));
    // Elsewhere hours are added up, and the sum is a number.
    let value = |zone: &str| {
        let ask = json!({"metric_name": "hits", "period": "month", "since": "2026-11-22", "timezone": zone});
        it.json(&path, ask)["applications"][0]["value"].clone()
    };
    assert_eq!(["UTC", "Etc/UTC", "Madrid"].map(value), [json!("7"), json!("7"), json!(7)]);
    // Another month has none; and there are ten at most.
    let ask = json!({"metric_name": "hits", "period": "month", "since": "2026-10-22"});
    assert_eq!(it.json(&path, ask)["applications"], json!([]));
    for number in 0..9 {
        let name = format!("more{number}");
        more(&name);
        it.count(&name, "hits", "8");
    }
    let ask = json!({"metric_name": "hits", "period": "day", "since": "2026-11-22"});
    let names: Vec<_> = it.json(&path, ask)["applications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((names.len(), names[0].as_str(), names[9].as_str()), (10, "more0", "first"));
    // The whole service has what it ever counted.
    let all = it.of_service(json!({"metric_name": "hits", "period": "eternity", "skip_change": false}));
    assert_eq!((&all["total"], &all["values"]), (&json!(136), &json!([136])));
    assert_eq!(all.get("change"), None);
}

#[test]
fn a_summary_has_the_metrics_and_methods_of_a_service() {
    let it = Called::new();
    let hits = it.metric("hits");
    it.world.made(
        &format!("services/{}/metrics/{hits}/methods", it.service),
        json!({"friendly_name": "Look up"}),
    );
    it.world
        .made(&format!("services/{}/metrics", it.service), json!({"friendly_name": "Bytes", "unit": "byte"}));
    for path in
        [format!("services/{}/summary", it.service), format!("applications/{}/summary", it.applications[0])]
    {
        let shown = it.json(&path, json!({}));
        let names = |list: &str, wrapper: &str| -> Vec<Value> {
            shown[list].as_array().unwrap().iter().map(|it| it[wrapper]["system_name"].clone()).collect()
        };
        assert_eq!(names("metrics", "metric"), ["hits", "bytes"]);
        assert_eq!(names("methods", "method"), ["look_up"]);
        let (status, xml) = it.text(&format!("{path}.xml"), json!({}));
        assert!(
            status == 200 && xml.contains("<summary><metrics><metric>") && xml.contains("<methods><method>"),
            "{xml}"
        );
    }
}

#[test]
fn windows_end_with_what_was_counted_in_the_current_one() {
    let it = Called::new();
    it.count("first", "hits", "1");
    // The next hour has just begun, and there was a call in it.
    let next = NOW - NOW % 3_600_000 + 3_600_000;
    it.world.now.store(next, Ordering::Relaxed);
    it.count("first", "hits", "4");
    let shown = it.of_application(0, json!({"metric_name": "hits", "period": "day"}));
    let values = shown["values"].as_array().unwrap();
    assert_eq!((values.len(), &values[23], &values[24]), (25, &json!(1), &json!(4)), "{shown}");
}
