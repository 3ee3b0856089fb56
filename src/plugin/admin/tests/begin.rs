//! What a node begins with, and what its operator says of it.

use super::*;
use crate::model::draft::NewApplication;

/// The id of the first service.
fn service(world: &World) -> u64 {
    world.engine.catalog().services_of(world.tenant).iter().next().unwrap()
}

#[test]
fn a_service_from_before_the_first_administrator_counts_each_get_as_others_do() {
    let world = World::new();
    let (_, rules) = world.get(&format!("services/{}/proxy/mapping_rules", service(&world)));
    let rule = &rules["mapping_rules"][0]["mapping_rule"];
    assert_eq!(
        (&rule["http_method"], &rule["pattern"], &rule["delta"]),
        (&json!("GET"), &json!("/"), &json!(1))
    );
    // Once only.
    assert!(world.admin.begin(world.tenant, "another token").unwrap().is_none());
    let (_, again) = world.get(&format!("services/{}/proxy/mapping_rules", service(&world)));
    assert_eq!(again, rules);
}

#[test]
fn gateways_are_told_the_operators_address_of_the_node_or_that_of_the_call() {
    let world = World::new();
    let proxy = format!("services/{}/proxy", service(&world));
    world.put(&proxy, json!({"api_backend": "https://private.example.com"}));
    let told = Admin::new(Arc::clone(&world.admin.desk), Arc::clone(&world.admin.clock));
    let told = told.with_backend_endpoint(Some("https://node.example:3000".to_owned()));
    for (admin, endpoint, host) in
        [(&told, "https://node.example:3000", "node.example"), (&world.admin, "http://called:80", "called")]
    {
        let Value::Object(parameters) = json!({"access_token": TOKEN}) else { unreachable!() };
        let answer = admin.answer(&Call {
            method: Method::Get,
            tenant: None,
            path: format!("/admin/api/{proxy}/configs/sandbox/latest.json"),
            parameters,
            basic: None,
            accept: None,
            etag: None,
            host: Some("called:80".to_owned()),
            scheme: "http",
        });
        let config: Value = serde_json::from_slice(&answer.body).unwrap();
        let backend = &config["proxy_config"]["content"]["proxy"]["backend"];
        assert_eq!(*backend, json!({"endpoint": endpoint, "host": host}));
    }
}

#[test]
fn a_node_is_administered_from_its_first_administrator_on() {
    let world = World::open(tempfile::tempdir().unwrap());
    let is_administered = || world.admin.is_administered().unwrap();
    assert!(!is_administered());
    let (tenant, _) = world.engine.change(|draft| draft.create_tenant("First", "pkey")).unwrap();
    assert!(!is_administered(), "a tenant by itself has nobody");
    world.admin.begin_master("the master's token").unwrap();
    assert!(!is_administered(), "the master is no tenant's");
    assert!(world.admin.begin(tenant, TOKEN).unwrap().is_some());
    assert!(is_administered());
    // Nobody is made twice.
    assert!(world.admin.begin(tenant, "another token").unwrap().is_none());
}

#[test]
fn an_application_of_before_the_first_administrator_has_the_time_of_its_making() {
    let world = World::new();
    let service = crate::model::id::ServiceId(service(&world));
    let made = world.engine.change(|draft| {
        let account = Some(draft.create_account(world.tenant, "Sample developer")?);
        let plan = draft.create_plan(service, None, "Basic")?;
        let new = NewApplication { service, account, app_id: "it", name: "Sample", plan };
        Ok((account, draft.create_application(&new)?))
    });
    let (account, id) = made.unwrap().0;
    let path = format!("accounts/{}/applications/{id}", account.unwrap());
    let (_, shown) = world.get(&path);
    assert_eq!(shown["application"]["created_at"], "2026-11-22T13:45:30Z", "{shown}");
}
