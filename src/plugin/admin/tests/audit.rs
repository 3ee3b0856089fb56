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

/// Does what the internal API does: a command of nobody's.
fn push<R>(
    world: &World,
    build: impl FnOnce(&mut crate::model::draft::Draft<'_>) -> Result<R, crate::model::draft::CommandError>,
) -> R {
    world.engine.change(build).unwrap().0
}

#[test]
fn what_the_internal_api_changed_is_in_it_and_who_that_was() {
    let world = World::new();
    world.put("settings", json!({"hide_service": true}));
    let before = log(&world, json!({})).len();
    let id = push(&world, |draft| {
        let (tenant, backend_version) = (world.tenant, BackendVersion::UserKey);
        draft.create_service(&NewService {
            tenant,
            external_id: Some("7001"),
            name: "Pushed",
            backend_version,
        })
    });
    push(&world, |draft| {
        draft.edit_service(id, |it| it.tokens.push(crate::model::record::Secret::new("open-sesame")))
    });
    // After this the catalog shows the same, and nobody needs to know.
    push(&world, |draft| draft.edit_service(id, |it| it.name = "Pushed".into()));
    world.put("settings", json!({"hide_service": false}));

    let entries = log(&world, json!({}));
    assert_eq!(entries.len(), before + 3);
    let origins: Vec<_> = entries[..4].iter().map(|it| it["origin"].clone()).collect();
    assert_eq!(origins, ["admin API", "internal API", "internal API", "admin API"]);
    let numbers: Vec<_> = entries.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).rev().collect::<Vec<_>>(), "one log, one numbering");
    let made = &entries[2];
    assert_eq!((&made["user"], &made["method"], &made["path"]), (&Value::Null, &Value::Null, &Value::Null));
    let service = object(made, "service");
    assert_eq!((&service["before"], &service["after"]["external_id"]), (&Value::Null, &json!("7001")));
    let changed = object(&entries[1], "service");
    assert_eq!(
        (&changed["before"], &changed["after"]),
        (&json!({"tokens": []}), &json!({"tokens": ["[redacted]"]}))
    );
    assert!(!Value::from(entries.clone()).to_string().contains("open-sesame"));

    let found = |ask: Value| log(&world, ask).iter().map(|it| it["id"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(found(json!({"origin": "internal API"})), numbers[1..3]);
    assert_eq!(found(json!({"user": "internal API"})), numbers[1..3]);
    assert_eq!(found(json!({"origin": "admin API"}))[0], numbers[0]);
    assert_eq!(found(json!({"object_type": "service", "object_id": id.0})), numbers[1..3]);
    // Pages go on where the last one ended, whichever table the next entry is in.
    let pages = (1..=entries.len()).flat_map(|page| found(json!({"page": page, "per_page": 1})));
    assert_eq!(pages.collect::<Vec<_>>(), numbers);
    let world = world.reopen();
    assert_eq!(log(&world, json!({})), entries);
}

#[test]
fn of_a_record_that_only_the_plugins_row_changed_nothing_of_the_catalog_is_said() {
    let world = World::new();
    let account =
        world.made("signup", json!({"org_name": "Known", "username": "known"}))["id"].as_u64().unwrap();
    let forget = world.admin.desk.command(|_, records| {
        records.remove::<super::super::account_details::AccountDetails>(account);
        Ok::<_, crate::store::ShelfError>(())
    });
    forget.unwrap();
    world.put(&format!("accounts/{account}"), json!({"monthly_billing_enabled": false}));
    let entry = &log(&world, json!({}))[0];
    let told = object(entry, "account");
    assert_eq!((&told["before"], &told["after"]["monthly_billing_enabled"]), (&Value::Null, &json!(false)));
    assert_eq!(told["after"]["org_name"], Value::Null, "{told}");
}

#[test]
fn what_goes_with_a_deleted_service_is_not_in_it() {
    let world = World::new();
    let service = push(&world, |draft| {
        let (tenant, backend_version) = (world.tenant, BackendVersion::UserKey);
        let service =
            draft.create_service(&NewService { tenant, external_id: None, name: "Gone", backend_version })?;
        let plan = draft.create_plan(service, None, "Plan")?;
        let new =
            crate::model::draft::NewApplication { service, account: None, app_id: "a", name: "a", plan };
        draft.create_application(&new)?;
        Ok(service)
    });
    push(&world, |draft| draft.retire_service(service));
    let entries = log(&world, json!({}));
    assert_eq!(object(&entries[0], "service")["after"]["state"], "deleted, being taken away");
    let applications: Vec<_> = world.engine.catalog().applications_of(service.0).iter().collect();
    let ids: Vec<_> = applications.into_iter().map(crate::model::id::ApplicationId).collect();
    assert_eq!(ids.len(), 1);
    push(&world, |draft| draft.purge(&ids, &[]));
    assert_eq!(log(&world, json!({})), entries);
}

#[test]
fn the_internal_api_pushes_its_own_oldest_entries_out_and_no_others() {
    use super::super::audit::{ENTRIES_MAX, Origin};
    use crate::plugin::records::pair_key;
    let world = World::new();
    world.put("settings", json!({"hide_service": true}));
    let rename = |name: &str| {
        let service = world.engine.catalog().services_of(world.tenant).iter().next().unwrap();
        let service = crate::model::id::ServiceId(service);
        push(&world, |draft| draft.edit_service(service, |it| it.name = name.into()));
    };
    rename("one");
    let table = Origin::Internal.table();
    let places = || {
        let view = world.admin.desk.look().unwrap();
        let rows = view.records.all_rows(table, &[]).unwrap();
        rows.iter().filter_map(|(key, _)| crate::plugin::records::id_of(key)).collect::<Vec<_>>()
    };
    let first = places()[0];
    // As if all but one had been written, and so many kept.
    let filled = world.admin.desk.command(|_, records| {
        let row = records.get(table, &pair_key(world.tenant.0, first))?.unwrap();
        records.put(table, &pair_key(world.tenant.0, ENTRIES_MAX - 1), row);
        Ok::<_, crate::store::ShelfError>(())
    });
    filled.unwrap();
    rename("at the bound");
    assert_eq!(places(), [1, ENTRIES_MAX - 1, ENTRIES_MAX]);
    rename("beyond");
    assert_eq!(places(), [ENTRIES_MAX - 1, ENTRIES_MAX, ENTRIES_MAX + 1]);
    let settings = log(&world, json!({"object_type": "setting"}));
    assert_eq!(settings.len(), 1, "what people did is kept");
}
