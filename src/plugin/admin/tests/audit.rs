//! The audit log.

use super::*;

fn log(world: &World, ask: Value) -> Vec<Value> {
    let (status, body) = world.call(Method::Get, "audit_log", ask);
    assert_eq!(status, 200, "{body}");
    body["audit_log"].as_array().unwrap().iter().map(|it| it["entry"].clone()).collect()
}

fn object<'e>(entry: &'e Value, kind: &str) -> &'e Value {
    entry["objects"].as_array().unwrap().iter().find(|it| it["type"] == kind).unwrap()
}

#[test]
fn each_command_leaves_who_did_what_and_what_it_was_before() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Audited", "description": "old"}));
    let path = format!("services/{}", service["id"]);
    world.put(&path, json!({"description": "new"}));
    // What is refused changed nothing, and is not in it; nor what was only looked at.
    assert_eq!((world.put(&path, json!({"name": ""})).0, world.get(&path).0), (422, 200));
    world.now.store(NOW + 60_000, Ordering::Relaxed);
    world.delete(&path);

    let entries = log(&world, json!({}));
    assert_eq!(entries.len(), 3);
    let [deleted, changed, made] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&made["method"], &made["path"]), (&json!("POST"), &json!("/admin/api/services")));
    assert_eq!(
        (&made["user"]["name"], &made["access_token"]["name"]),
        (&json!("admin"), &json!("Administration"))
    );
    assert_eq!(object(made, "service")["before"], Value::Null);
    assert_eq!(object(made, "service")["after"]["name"], "Audited");
    assert_eq!(object(made, "metric")["after"]["friendly_name"], "Hits");
    assert_eq!(changed["path"], format!("/admin/api/{path}"));
    let object = object(changed, "service");
    assert_eq!(object["id"], service["id"]);
    assert_eq!(
        (&object["before"], &object["after"]),
        (&json!({"description": "old"}), &json!({"description": "new"}))
    );
    assert_eq!(deleted["created_at"], "2026-11-22T13:46:30Z");

    // It is searched by what, who and when; and read in pages.
    let found = |ask: Value| log(&world, ask).len();
    assert_eq!(found(json!({"object_type": "service", "object_id": service["id"]})), 3);
    assert_eq!(found(json!({"object_type": "metric"})), 1);
    assert_eq!((found(json!({"user": "admin"})), found(json!({"user": "nobody"}))), (3, 0));
    assert_eq!(found(json!({"since": "2026-11-22T13:46:00Z"})), 1);
    assert_eq!(found(json!({"until": "2026-11-22T13:46:00Z"})), 2);
    assert_eq!(world.call(Method::Get, "audit_log", json!({"since": "soon"})).0, 400);
    let (_, page) = world.call(Method::Get, "audit_log", json!({"page": 2, "per_page": 2}));
    assert_eq!(page["metadata"]["total_entries"], 3);
    assert_eq!(page["audit_log"][0]["entry"]["id"], made["id"]);
    let (_, page) = world.call(Method::Get, "audit_log", json!({"page": 2, "per_page": 2, "user": "admin"}));
    assert_eq!(
        (&page["metadata"]["total_entries"], page["audit_log"].as_array().unwrap().len()),
        (&json!(3), 1)
    );
    let world = world.reopen();
    assert_eq!(log(&world, json!({})), entries);
}

#[test]
fn no_secret_is_in_it() {
    let world = World::new();
    let made = world.made(
        "personal/access_tokens",
        json!({"name": "told", "permission": "rw", "scopes": ["account_management"]}),
    );
    world.put("webhooks", json!({"url": "https://user:open-sesame@example.com/x", "active": true}));
    world.post("services", json!({"name": "By key", "provider_key": "pkey"}));
    let entries = log(&world, json!({}));
    let text = Value::from(entries.clone()).to_string();
    let value = made["value"].as_str().unwrap();
    for secret in [value, &super::super::auth::hash_of(value), "open-sesame", TOKEN, "pkey"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(object(&entries[1], "webhook")["after"]["url"], "https://[redacted]@example.com/x");
    assert_eq!(object(&entries[2], "access_token")["after"]["hash"], "[redacted]");
}

#[test]
fn of_more_than_are_kept_the_oldest_go() {
    use super::super::audit::ENTRIES_MAX;
    let world = World::new();
    world.put("settings", json!({"hide_service": true}));
    // As if all but one had been written, and so many kept.
    let numbered = world.admin.desk.command(|_, records| {
        use crate::plugin::records::pair_key;
        let table = crate::store::shelf::Table("audit");
        let row = records.get(table, &pair_key(world.tenant.0, 1))?.unwrap();
        for number in [2, ENTRIES_MAX] {
            records.put(table, &pair_key(world.tenant.0, number), row.clone());
        }
        Ok::<_, crate::store::ShelfError>(())
    });
    numbered.unwrap();
    let oldest = || log(&world, json!({"user": "admin"})).last().unwrap()["id"].clone();
    assert_eq!(oldest(), 1);
    world.put("settings", json!({"hide_service": false}));
    assert_eq!(oldest(), 2);
}
