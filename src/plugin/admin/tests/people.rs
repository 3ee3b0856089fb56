//! Access tokens, and what a tenant and its users say of themselves.

use super::*;

#[test]
fn a_token_is_shown_once_and_does_what_it_is_for() {
    let world = World::new();
    let ask = json!({"name": "ci", "permission": "ro", "scopes": ["account_management"], "expires_at": null});
    let made = world.made("personal/access_tokens", ask);
    let value = made["value"].as_str().unwrap();
    assert!(value.len() == 96 && value.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!((&made["permission"], &made["scopes"]), (&json!("ro"), &json!(["account_management"])));
    let path = format!("personal/access_tokens/{}", made["id"]);
    assert_eq!(world.get(&path).1["access_token"].get("value"), None);
    assert!(!world.get("personal/access_tokens").1.to_string().contains(value));
    let named = |name: &str| {
        world.call(Method::Get, "personal/access_tokens", json!({"name": name})).1["access_tokens"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((named("CI"), named("none")), (1, 0));

    assert_eq!(world.send(Method::Get, "services.json", json!({}), Some(value)).status, 200);
    assert_eq!(world.send(Method::Post, "services.json", json!({"name": "x"}), Some(value)).status, 403);
    assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
    assert_eq!(world.send(Method::Get, "services.json", json!({}), Some(value)).status, 403);
    // Only JSON is spoken here.
    assert_eq!(world.xml(Method::Get, "personal/access_tokens", json!({})).0, 406);
}

#[test]
fn a_token_that_expires_is_none_from_then_on() {
    let world = World::new();
    let ask = json!({"name": "t", "permission": "rw", "scopes": ["stats", "account_management"], "expires_at": "2026-11-22T14:00:00Z"});
    let made = world.made("personal/access_tokens", ask);
    let value = made["value"].as_str().unwrap();
    assert_eq!(made["expires_at"], "2026-11-22T14:00:00Z");
    let status = || world.send(Method::Get, "services.json", json!({}), Some(value)).status;
    assert_eq!(status(), 200);
    world.now.store(NOW + 3_600_000, Ordering::Relaxed);
    assert_eq!(status(), 403);
}

#[test]
fn what_is_wrong_with_a_token_is_said_field_by_field() {
    let world = World::new();
    let (status, body) = world.post("personal/access_tokens", json!({}));
    let expected = json!({"errors": {
        "name": ["can't be blank"], "permission": ["is not included in the list"], "scopes": ["can't be blank"],
    }});
    assert_eq!((status, body), (422, expected));
    let bad =
        json!({"name": "n", "permission": "rw", "scopes": ["stats", "all"], "expires_at": "2020-01-01"});
    let expected = json!({"errors": {"scopes": ["is invalid"], "expires_at": ["is invalid"]}});
    assert_eq!(world.post("personal/access_tokens", bad), (422, expected));
}

#[test]
fn a_provider_key_has_no_tokens_of_its_own() {
    let world = World::new();
    let ask = json!({"provider_key": "pkey"});
    let answer = world.send(Method::Get, "personal/access_tokens.json", ask.clone(), None);
    assert_eq!((answer.status, &answer.body[..]), (403, &br#"{"status":"Forbidden"}"#[..]));
    assert_eq!(world.send(Method::Get, "services.json", ask, None).status, 200);
}

#[test]
fn the_provider_account_keeps_what_may_be_changed() {
    let world = World::new();
    let shown = world.get("provider").1["account"].clone();
    assert_eq!((&shown["org_name"], &shown["site_access_code"]), (&json!("Provider"), &json!("")));
    let mut changed = shown.clone();
    changed["site_access_code"] = "let me in".into();
    changed["org_name"] = "another".into();
    let (status, body) = world.put("provider", changed);
    assert_eq!((status, &body["account"]["site_access_code"]), (200, &json!("let me in")));
    assert_eq!(body["account"]["org_name"], "Provider");
    let wrong = json!({"from_email": "nobody"});
    assert_eq!(world.put("provider", wrong), (422, json!({"errors": {"from_email": ["is invalid"]}})));
    let (status, text) = world.xml(Method::Get, "provider", json!({}));
    assert!(status == 200 && text.contains("<site_access_code>let me in</site_access_code>"), "{text}");
    let world = world.reopen();
    assert_eq!(world.get("provider").1["account"]["site_access_code"], "let me in");
}

#[test]
fn settings_and_preferences_are_what_was_said_last() {
    let world = World::new();
    let before = world.get("settings").1["settings"].clone();
    assert_eq!(
        (&before["signups_enabled"], &before["change_service_plan_permission"]),
        (&json!(true), &json!("request"))
    );
    let (status, after) =
        world.put("settings", json!({"hide_service": "1", "change_account_plan_permission": "credit_card"}));
    assert_eq!((status, &after["settings"]["hide_service"]), (200, &json!(true)));
    assert_eq!(world.get("settings").1, after);
    let (status, body) = world.put("settings", json!({"change_account_plan_permission": "perhaps"}));
    let errors = json!({"errors": {"change_account_plan_permission": ["is not included in the list"]}});
    assert_eq!((status, body), (422, errors));

    let path = "personal/notification_preferences";
    let shown = world.get(path).1["notification_preferences"].clone();
    assert_eq!((&shown["message_received"], &shown["daily_report"]), (&json!(true), &json!(false)));
    world.call(Method::Patch, path, json!({"daily_report": true}));
    assert_eq!(world.get(path).1["notification_preferences"]["daily_report"], true);
}

#[test]
fn webhooks_say_where_and_what_of_and_failures_can_be_forgotten() {
    let world = World::new();
    let ask = json!({"url": "https://example.com", "active": "true", "application_created_on": "true"});
    let (status, body) = world.put("webhooks", ask);
    let webhook = &body["webhook"];
    assert_eq!(status, 200);
    assert_eq!((&webhook["active"], &webhook["application_created_on"]), (&json!(true), &json!(true)));
    assert_eq!((&webhook["provider_actions"], &webhook["user_created_on"]), (&json!(false), &json!(false)));
    assert_eq!(webhook.as_object().unwrap().len(), 19);
    for (url, message) in [("", "can't be blank"), ("ftp://x", "is invalid"), ("http:///x", "is invalid")] {
        let (status, body) = world.put("webhooks", json!({"url": url}));
        assert_eq!((status, body), (422, json!({"errors": {"url": [message]}})), "{url}");
    }
    let (_, body) = world.put("webhooks", json!({"url": "", "active": "false"}));
    assert_eq!(body["webhook"]["active"], false);

    assert_eq!(world.get("webhooks/failures"), (200, json!({"webhooks-failures": []})));
    world.failed(&[NOW, NOW + 60_000]);
    let failures = world.get("webhooks/failures").1["webhooks-failures"].clone();
    assert_eq!(failures[1]["webhooks-failure"]["time"], "2026-11-22T13:46:30Z");
    let forget = |time: &str| world.call(Method::Delete, "webhooks/failures", json!({"time": time})).0;
    assert_eq!((forget("never"), forget("2026-11-22T13:45:30Z")), (400, 200));
    let left = world.get("webhooks/failures").1["webhooks-failures"].clone();
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(world.delete("webhooks/failures"), (200, Value::Null));
    assert_eq!(world.get("webhooks/failures").1, json!({"webhooks-failures": []}));
}

impl World {
    /// Keeps failures of these times, as whoever sends webhooks will.
    fn failed(&self, times: &[u64]) {
        use super::super::webhooks::Failure;
        use crate::plugin::records::{Record, pair_key};
        let kept = self.admin.desk.command(|draft, records| {
            for time in times {
                let key = pair_key(self.tenant.0, draft.take_id());
                let failure = Failure {
                    time: *time,
                    error: "refused".to_owned(),
                    url: "https://example.com".to_owned(),
                    event: "<event/>".to_owned(),
                };
                records.save_at(&key, &failure)?;
            }
            assert!(records.all_rows(Failure::TABLE, &[])?.len() >= times.len());
            Ok::<_, crate::store::ShelfError>(())
        });
        kept.unwrap();
    }
}

#[test]
fn fields_are_defined_in_an_order_and_built_in_ones_stay() {
    let world = World::new();
    let all = || world.get("fields_definitions").1["fields_definitions"].clone();
    assert_eq!(all().as_array().unwrap().len(), 5);
    let ask = json!({"name": "size", "label": "Size", "target": "Account", "required": false, "choices": ["s", "m"]});
    let made = world.made("fields_definitions", ask.clone());
    assert_eq!((&made["position"], &made["choices"]), (&json!(2), &json!(["s", "m"])));
    assert_eq!(
        world.post("fields_definitions", ask),
        (422, json!({"errors": {"name": ["has already been taken"]}}))
    );
    let path = format!("fields_definitions/{}", made["id"]);
    let mut sent = made.clone();
    for (field, value) in [("target", json!("Cinstance")), ("hidden", json!(true)), ("position", json!(1))] {
        sent[field] = value;
    }
    let moved = world.put(&path, sent).1["fields_definition"].clone();
    assert_eq!(
        (&moved["target"], &moved["position"], &moved["hidden"]),
        (&json!("Cinstance"), &json!(1), &json!(true))
    );
    let places: Vec<_> = all()
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["fields_definition"].clone())
        .filter(|it| it["target"] == "Cinstance")
        .map(|it| (it["name"].as_str().unwrap().to_owned(), it["position"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [("size".to_owned(), 1), ("name".to_owned(), 2), ("description".to_owned(), 3)]);
    assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
    let builtin = all()[0]["fields_definition"]["id"].clone();
    assert_eq!(world.delete(&format!("fields_definitions/{builtin}")).0, 403);
    let (status, body) = world.post("fields_definitions", json!({"target": "Thing", "name": "a b"}));
    let errors = json!({"errors": {
        "name": ["is invalid"], "label": ["can't be blank"], "target": ["is not included in the list"],
    }});
    assert_eq!((status, body), (422, errors));
}
