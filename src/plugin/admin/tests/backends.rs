//! Backend APIs, what services use of them, and their metrics and rules.

use super::*;
use crate::model::id::{MetricId, ServiceId};

fn backend(world: &World, name: &str) -> u64 {
    let private_endpoint = format!("https://{name}.example.com");
    world.made("backend_apis", json!({"name": name, "private_endpoint": private_endpoint}))["id"]
        .as_u64()
        .unwrap()
}

fn service(world: &World) -> u64 {
    world.made("services", json!({"name": "Product"}))["id"].as_u64().unwrap()
}

/// The system names of a service's metrics in the catalog: what its decisions count.
fn counted(world: &World, service: u64) -> Vec<String> {
    let catalog = world.engine.catalog();
    let service = catalog.services.get(service).unwrap();
    service.metrics.iter().map(|metric| metric.name.clone()).collect()
}

#[test]
fn a_backend_is_made_changed_listed_and_deleted() {
    let world = World::new();
    let made = world.made(
        "backend_apis",
        json!({"name": "Echo API", "private_endpoint": "https://echo.example.com/v1", "description": "111"}),
    );
    assert_eq!(
        (&made["system_name"], &made["private_endpoint"], &made["annotations"]),
        (&json!("echo_api"), &json!("https://echo.example.com:443/v1"), &json!({}))
    );
    let path = format!("backend_apis/{}", made["id"]);
    let mut changed = made.clone();
    changed["description"] = json!("222");
    assert_eq!(world.put(&path, changed).1["backend_api"]["description"], "222");
    assert_eq!(world.get("backend_apis").1["backend_apis"].as_array().unwrap().len(), 1);
    let beyond = world.call(Method::Get, "backend_apis", json!({"page": 2}));
    assert_eq!(beyond, (200, json!({"backend_apis": []})));
    let metrics = world.get(&format!("{path}/metrics")).1;
    let hits = &metrics["metrics"][0]["metric"];
    assert_eq!(
        (&hits["system_name"], &hits["unit"]),
        (&json!(format!("hits.{}", made["id"])), &json!("hit"))
    );
    assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
    assert_eq!(
        world.made("backend_apis", json!({"name": "Echo API", "private_endpoint": "http://e.example"}))["system_name"],
        "echo_api"
    );
}

#[test]
fn what_is_wrong_with_a_backend_is_said_field_by_field() {
    let world = World::new();
    let blank = json!({"errors": {"name": ["can't be blank"], "private_endpoint": ["can't be blank"]}});
    assert_eq!(world.post("backend_apis", json!({})), (422, blank));
    for bad in ["ftp://a.example", "no url", "http://localhost:80", "http://"] {
        let (status, body) = world.post("backend_apis", json!({"name": "x", "private_endpoint": bad}));
        assert_eq!((status, body["errors"]["private_endpoint"].is_array()), (422, true), "{bad}");
    }
    let made = json!({"name": "x", "system_name": "same", "private_endpoint": "http://a.example"});
    world.made("backend_apis", made.clone());
    assert_eq!(world.post("backend_apis", made).0, 422);
}

#[test]
fn a_service_counts_the_metrics_of_the_backends_it_uses() {
    let world = World::new();
    let (service, backend) = (service(&world), backend(&world, "echo"));
    let usages = format!("services/{service}/backend_usages");
    let usage =
        world.made(&usages, json!({"backend_api_id": backend, "path": "get/", "service_id": service}));
    assert_eq!((&usage["path"], &usage["backend_id"]), (&json!("/get"), &json!(backend)));
    let hits = format!("hits.{backend}");
    assert_eq!(counted(&world, service), ["hits", &hits]);

    // They are not the service's own.
    let own = world.get(&format!("services/{service}/metrics")).1;
    assert_eq!(own["metrics"].as_array().unwrap().len(), 1);
    let metrics = format!("backend_apis/{backend}/metrics");
    let hits_id = world.get(&metrics).1["metrics"][0]["metric"]["id"].as_u64().unwrap();
    assert_eq!(world.get(&format!("services/{service}/metrics/{hits_id}")).0, 404);

    // What the backend gets or loses, the service does too.
    let method = world.made(&format!("{metrics}/{hits_id}/methods"), json!({"friendly_name": "Search"}));
    assert_eq!(counted(&world, service), ["hits".into(), hits.clone(), format!("search.{backend}")]);
    let catalog = world.engine.catalog();
    let tree = &catalog.services.get(service).unwrap().metrics;
    let (above, below) =
        (tree.find(&hits).unwrap(), tree.by_id(MetricId(method["id"].as_u64().unwrap())).unwrap());
    assert_eq!((above.id.0, below.parent), (hits_id, Some(above.slot)));
    let metric = world.made(&metrics, json!({"friendly_name": "/bytes/out", "unit": "byte"}));
    assert_eq!(metric["system_name"], format!("bytes_out.{backend}"));
    assert_eq!(world.delete(&format!("{metrics}/{hits_id}/methods/{}", method["id"])).0, 200);
    assert_eq!(counted(&world, service), ["hits".into(), hits, format!("bytes_out.{backend}")]);

    // With the usage they go; the backend keeps what it is.
    assert_eq!(world.delete(&format!("{usages}/{}", usage["id"])), (200, Value::Null));
    assert_eq!(counted(&world, service), ["hits"]);
    assert_eq!(world.get(&format!("{metrics}/{}", metric["id"])).1, json!({"metric": metric}));
    let again = world.made(&usages, json!({"backend_api_id": backend}));
    assert_eq!(again["path"], "/");
    assert_eq!(counted(&world, service).len(), 3);
}

#[test]
fn limits_on_a_backends_metric_go_with_the_usage() {
    let world = World::new();
    let (service, backend) = (service(&world), backend(&world, "echo"));
    let usages = format!("services/{service}/backend_usages");
    let usage = world.made(&usages, json!({"backend_api_id": backend, "path": "/a"}));
    let hits = world.get(&format!("backend_apis/{backend}/metrics")).1["metrics"][0]["metric"]["id"]
        .as_u64()
        .unwrap();
    let (plan, _) = world
        .engine
        .change(|draft| {
            let plan = draft.create_plan(ServiceId(service), None, "Plan")?;
            draft.set_limit(plan, MetricId(hits), crate::model::time::Period::Day, 5)?;
            Ok(plan)
        })
        .unwrap();
    let limits = || world.engine.catalog().plans.get(plan.0).unwrap().limits.len();
    assert_eq!(limits(), 1);
    // Whoever follows the link to its metric gets there.
    let shown = world.get(&format!("application_plans/{plan}/limits")).1["limits"][0]["limit"].clone();
    let link = shown["links"].as_array().unwrap().iter().find(|it| it["rel"] == "metric").unwrap();
    let metric = world.get(link["href"].as_str().unwrap().strip_prefix("/admin/api/").unwrap());
    assert_eq!((metric.0, &metric.1["metric"]["id"]), (200, &json!(hits)));
    world.delete(&format!("{usages}/{}", usage["id"]));
    assert_eq!(limits(), 0);
}

#[test]
fn a_service_uses_a_backend_once_and_each_path_for_one() {
    let world = World::new();
    let (service, one, two) = (service(&world), backend(&world, "one"), backend(&world, "two"));
    let usages = format!("services/{service}/backend_usages");
    let first = world.made(&usages, json!({"backend_api_id": one, "path": "/put"}));
    let (status, body) = world.post(&usages, json!({"backend_api_id": one, "path": "/PUT/"}));
    let errors = json!({
        "backend_api_id": ["has already been taken"],
        "path": ["This path is already taken. Specify a different path."],
    });
    assert_eq!((status, &body["errors"]), (422, &errors));
    assert_eq!(world.post(&usages, json!({"path": "/x"})).0, 422);
    assert_eq!(world.post(&usages, json!({"backend_api_id": 999, "path": "/x"})).0, 404);
    assert_eq!(world.post(&usages, json!({"backend_api_id": two, "path": "/a'b"})).0, 422);
    let second = world.made(&usages, json!({"backend_api_id": two, "path": "/x"}));
    let own = format!("{usages}/{}", second["id"]);
    assert_eq!(world.put(&own, json!({"path": "/put"})).0, 422);
    assert_eq!(world.put(&own, json!({"path": "/get"})).1["backend_usage"]["path"], "/get");
    let (_, list) = world.get(&usages);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0], json!({"backend_usage": first}));
    let refused = world.delete(&format!("backend_apis/{one}"));
    assert_eq!((refused.0, refused.1["errors"]["base"].is_array()), (403, true));
    // Deleting the service is deleting its usages.
    assert_eq!(world.delete(&format!("services/{service}")).0, 200);
    assert_eq!(world.delete(&format!("backend_apis/{one}")).0, 200);
}

#[test]
fn a_gateway_is_told_where_the_backends_are() {
    let world = World::new();
    let (service, one, two) = (service(&world), backend(&world, "one"), backend(&world, "two"));
    let usages = format!("services/{service}/backend_usages");
    world.made(&usages, json!({"backend_api_id": one, "path": "/"}));
    let proxy = format!("services/{service}/proxy");
    assert_eq!(world.get(&proxy).1["proxy"]["api_backend"], "https://one.example.com:443");
    let content = || {
        world.post(&format!("{proxy}/deploy"), json!({}));
        world.get(&format!("{proxy}/configs/sandbox/latest")).1["proxy_config"]["content"]["proxy"].clone()
    };
    assert_eq!(content()["policy_chain"][0]["name"], "apicast");
    world.made(&usages, json!({"backend_api_id": two, "path": "/two"}));
    let hits = world.get(&format!("backend_apis/{two}/metrics")).1["metrics"][0]["metric"]["id"].clone();
    world.made(
        &format!("backend_apis/{two}/mapping_rules"),
        json!({"http_method": "GET", "pattern": "/x.json$", "delta": 1, "metric_id": hits}),
    );
    let proxy = content();
    let routing = &proxy["policy_chain"][0];
    let rules = &routing["configuration"]["rules"];
    assert_eq!(
        (&routing["name"], &rules[0]["url"]),
        (&json!("routing"), &json!("https://two.example.com:443"))
    );
    assert_eq!(rules[0]["condition"]["operations"][0]["value"], "/two/.*|/two/?");
    assert_eq!(rules[0]["replace_path"], "{{original_request.path | remove_first: '/two'}}");
    assert_eq!(rules[1]["condition"]["operations"][0]["value"], "/.*");
    let rule = &proxy["proxy_rules"][1];
    assert_eq!(
        (&rule["pattern"], &rule["metric_system_name"]),
        (&json!("/two/x\\.json$"), &json!(format!("hits.{two}")))
    );
}

#[test]
fn a_backends_metrics_are_checked_as_a_services_are() {
    let world = World::new();
    let backend = backend(&world, "echo");
    let metrics = format!("backend_apis/{backend}/metrics");
    let blank = json!({"errors": {"friendly_name": ["can't be blank"], "unit": ["can't be blank"]}});
    assert_eq!(world.post(&metrics, json!({})), (422, blank));
    let bad = json!({"friendly_name": "x", "unit": "u", "system_name": "invalid name whitespaces"});
    assert!(world.post(&metrics, bad).1["errors"]["system_name"].is_array());
    let metric = world.made(&metrics, json!({"friendly_name": "Bytes", "unit": "b"}));
    let hits = world.get(&metrics).1["metrics"][0]["metric"]["id"].clone();
    let methods = format!("{metrics}/{hits}/methods");
    let method = world.made(&methods, json!({"friendly_name": "Find it"}));
    assert_eq!(world.post(&methods, json!({})).1["errors"], json!({"friendly_name": ["can't be blank"]}));
    let twice = world.post(&methods, json!({"friendly_name": "Find it"}));
    assert!(twice.1["errors"]["system_name"].is_array());
    assert_eq!(
        world.post(&format!("{metrics}/{}/methods", metric["id"]), json!({"friendly_name": "y"})).0,
        422
    );
    let own = format!("{methods}/{}", method["id"]);
    assert_eq!(world.put(&own, json!({"friendly_name": "Found"})).1["method"]["friendly_name"], "Found");
    assert_eq!(world.get(&methods).1["methods"].as_array().unwrap().len(), 1);
    assert_eq!(world.get(&metrics).1["metrics"].as_array().unwrap().len(), 3);
    assert_eq!(world.delete(&format!("{metrics}/{hits}")).0, 403);

    // A rule counts metrics of its own backend, and goes with them.
    let rules = format!("backend_apis/{backend}/mapping_rules");
    let rule = |metric: &Value| json!({"http_method": "GET", "pattern": "/get/anything/id", "delta": 1, "metric_id": metric});
    let made = world.made(&rules, rule(&metric["id"]));
    let service_hits = {
        let service = service(&world);
        world.get(&format!("services/{service}/metrics")).1["metrics"][0]["metric"]["id"].clone()
    };
    assert_eq!(world.post(&rules, rule(&service_hits)).0, 422);
    assert_eq!(world.get(&format!("{rules}/{}", made["id"])).0, 200);
    assert_eq!(world.delete(&format!("{metrics}/{}", metric["id"])).0, 200);
    assert_eq!(world.get(&rules).1, json!({"mapping_rules": []}));
}
