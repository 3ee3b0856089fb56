//! What the test gateway needs: ports of services, and which rules a call matches.

use super::*;
use crate::plugin::admin::GatewayPorts;

const FIRST: u16 = 9000;

/// A world whose gateway has so many ports.
fn world(ports: u16) -> World {
    let mut world = World::new();
    stand(&mut world, FIRST, FIRST + ports - 1);
    world
}

/// Puts the gateway on a range of ports.
fn stand(world: &mut World, first: u16, last: u16) {
    let gateway = GatewayPorts { host: "127.0.0.1".to_owned(), first, last };
    let admin = Admin::new(Arc::clone(&world.admin.desk), Arc::clone(&world.admin.clock));
    world.admin = Arc::new(admin.with_gateway(Some(gateway)));
}

fn service(world: &World, fields: Value) -> u64 {
    world.made("services", fields)["id"].as_u64().unwrap()
}

/// Where a service's sandbox and production are.
fn endpoints(world: &World, service: u64) -> [Value; 2] {
    let (_, shown) = world.get(&format!("services/{service}/proxy"));
    ["sandbox_endpoint", "endpoint"].map(|field| shown["proxy"][field].clone())
}

fn urls(sandbox: u16, production: u16) -> [Value; 2] {
    [sandbox, production].map(|port| json!(format!("http://127.0.0.1:{port}")))
}

const NOWHERE: [Value; 2] = [Value::Null, Value::Null];

#[test]
fn services_get_the_smallest_ports_that_are_free_and_give_them_back() {
    let world = world(6);
    let [one, two] = ["One", "Two"].map(|name| service(&world, json!({"name": name})));
    assert_eq!(endpoints(&world, one), urls(9000, 9001));
    assert_eq!(endpoints(&world, two), urls(9002, 9003));
    assert_eq!(world.delete(&format!("services/{one}")).0, 200);
    assert_eq!(world.get("gateway/9000").0, 404);
    let three = service(&world, json!({"name": "Three"}));
    assert_eq!(endpoints(&world, three), urls(9000, 9001));
    assert_eq!(endpoints(&world, two), urls(9002, 9003));
}

#[test]
fn a_range_that_is_used_up_leaves_services_without_ports() {
    let world = world(3);
    let [one, two] = ["One", "Two"].map(|name| service(&world, json!({"name": name})));
    assert_eq!(endpoints(&world, one), urls(9000, 9001));
    assert_eq!(endpoints(&world, two), NOWHERE, "one port is not enough");
    world.delete(&format!("services/{one}"));
    world.post(&format!("services/{two}/proxy/deploy"), json!({}));
    assert_eq!(endpoints(&world, two), urls(9000, 9001));
}

#[test]
fn a_mesh_gets_no_ports_and_without_a_gateway_nobody_does() {
    let mut world = world(4);
    let mesh = json!({"name": "Mesh", "deployment_option": "service_mesh_istio"});
    let mesh = service(&world, mesh);
    assert_eq!(endpoints(&world, mesh), NOWHERE);
    let own = service(&world, json!({"name": "Own", "deployment_option": "self_managed"}));
    assert_eq!(endpoints(&world, own), urls(9000, 9001));
    let admin = Admin::new(Arc::clone(&world.admin.desk), Arc::clone(&world.admin.clock));
    world.admin = Arc::new(admin);
    assert_eq!(endpoints(&world, own), NOWHERE);
    assert_eq!(world.get("gateway").0, 404);
    let other = service(&world, json!({"name": "Other"}));
    stand(&mut world, FIRST, FIRST + 3);
    assert_eq!((endpoints(&world, own), endpoints(&world, other)), (urls(9000, 9001), NOWHERE));
    world.put(&format!("services/{other}/proxy"), json!({}));
    assert_eq!(endpoints(&world, other), urls(9002, 9003));
    // Elsewhere there are other ports, which services get as they are changed.
    stand(&mut world, 9003, 9010);
    assert_eq!(endpoints(&world, own), NOWHERE);
    world.put(&format!("services/{own}/proxy"), json!({}));
    assert_eq!(endpoints(&world, own), urls(9004, 9005));
    world.put(&format!("services/{other}/proxy"), json!({}));
    assert_eq!(endpoints(&world, other), urls(9003, 9006));
}

#[test]
fn what_is_said_of_an_endpoint_wins_and_what_was_shown_is_not_said() {
    let world = world(4);
    let id = service(&world, json!({"name": "One"}));
    let path = format!("services/{id}/proxy");
    let shown = world.get(&path).1["proxy"].clone();
    world.put(&path, shown);
    let (_, body) = world.put(&path, json!({"endpoint": "https://api.example.com"}));
    let said = [json!("http://127.0.0.1:9000"), json!("https://api.example.com:443")];
    assert_eq!((endpoints(&world, id), &body["proxy"]["endpoint"]), (said.clone(), &said[1]));
    let (_, latest) = world.get(&format!("{path}/configs/sandbox/latest"));
    let proxy = &latest["proxy_config"]["content"]["proxy"];
    assert_eq!(proxy["hosts"], json!(["api.example.com", "127.0.0.1"]));
    assert_eq!((&proxy["endpoint_port"], &proxy["sandbox_endpoint"]), (&json!(443), &said[0]));
    world.put(&path, json!({"endpoint": ""}));
    assert_eq!(endpoints(&world, id), urls(9000, 9001));
}

#[test]
fn a_gateway_is_told_where_to_stand_and_what_a_port_stands_for() {
    let world = world(4);
    let id = service(&world, json!({"name": "One"}));
    let gateway = json!({"gateway": {"host": "127.0.0.1", "first_port": 9000, "last_port": 9003}});
    assert_eq!(world.get("gateway"), (200, gateway));
    let port = |port: u16| world.get(&format!("gateway/{port}"));
    let (status, body) = port(9001);
    let none = json!({"port": 9001, "service_id": id, "environment": "production", "proxy_config": null});
    assert_eq!((status, &body["gateway_port"]), (200, &none));
    world.put(&format!("services/{id}/proxy"), json!({}));
    world.put(&format!("services/{id}/proxy"), json!({}));
    world.post(&format!("services/{id}/proxy/configs/sandbox/1/promote"), json!({"to": "production"}));
    let config = |number: u16| {
        let config = port(number).1["gateway_port"]["proxy_config"].clone();
        (config["environment"].clone(), config["version"].clone(), config["content"]["id"].clone())
    };
    assert_eq!(config(9000), (json!("sandbox"), json!(2), json!(id)));
    assert_eq!(config(9001), (json!("production"), json!(1), json!(id)));
    assert_eq!((port(9002).0, port(8999).0, world.get("gateway/x").0), (404, 404, 404));
}

#[test]
fn a_dry_run_tells_rules_in_their_order_and_what_they_count() {
    let world = world(2);
    let id = service(&world, json!({"name": "One"}));
    let metrics = format!("services/{id}/metrics");
    let hits = world.get(&metrics).1["metrics"][0]["metric"]["id"].clone();
    let big = world.made(&metrics, json!({"friendly_name": "Big", "system_name": "big", "unit": "x"}));
    let rules = format!("services/{id}/proxy/mapping_rules");
    for (pattern, metric, delta, last) in
        [("/a/{x}$", &big["id"], 5, false), ("/a?k=1", &hits, 2, true), ("/a", &hits, 7, false)]
    {
        let rule = json!({"http_method": "GET", "pattern": pattern, "delta": delta, "metric_id": metric, "last": last});
        world.made(&rules, rule);
    }
    let matched = |parameters: Value| {
        let (status, body) = world.call(Method::Get, &format!("services/{id}/proxy/match"), parameters);
        assert_eq!(status, 200, "{body}");
        let matched = &body["match"];
        let patterns: Vec<_> =
            matched["rules"].as_array().unwrap().iter().map(|it| it["pattern"].clone()).collect();
        (json!(patterns), matched["usage"].clone())
    };
    let all = (json!(["/", "/a/{x}$", "/a"]), json!({"hits": 8, "big": 5}));
    assert_eq!(matched(json!({"path": "/a/b"})), all);
    assert_eq!(matched(json!({"method": "get", "path": "//a/./b?k=2"})), all);
    assert_eq!(matched(json!({"path": "/a?k=1"})), (json!(["/", "/a?k=1"]), json!({"hits": 3})));
    assert_eq!(matched(json!({"method": "POST", "path": "/a"})), (json!([]), json!({})));
    let path = format!("services/{id}/proxy/match");
    let (status, body) = world.call(Method::Get, &path, json!({"path": "/.."}));
    assert_eq!((status, &body["errors"]["path"][0]), (422, &json!("the path leads above its root")));
    assert_eq!(world.get(&path).0, 400);
    assert_eq!(world.call(Method::Get, "services/99999/proxy/match", json!({"path": "/"})).0, 404);
}

#[test]
fn a_dry_run_knows_where_backends_are_used_and_that_only_one_is_called() {
    let world = world(2);
    let id = service(&world, json!({"name": "One"}));
    let mut hits = Vec::new();
    for (name, path) in [("Root", "/"), ("Deep", "/b$c")] {
        let fields = json!({"name": name, "private_endpoint": "https://x.example"});
        let backend = world.made("backend_apis", fields)["id"].as_u64().unwrap();
        let metric =
            world.get(&format!("backend_apis/{backend}/metrics")).1["metrics"][0]["metric"]["id"].clone();
        let rule = json!({"http_method": "GET", "pattern": "/", "delta": 1, "metric_id": metric});
        world.made(&format!("backend_apis/{backend}/mapping_rules"), rule);
        world
            .made(&format!("services/{id}/backend_usages"), json!({"backend_api_id": backend, "path": path}));
        hits.push((backend, format!("hits.{backend}")));
    }
    let matched = |path: &str| {
        let (_, body) = world.call(Method::Get, &format!("services/{id}/proxy/match"), json!({"path": path}));
        (body["match"]["backend_id"].as_u64().unwrap(), body["match"]["usage"].clone())
    };
    let [(root, of_root), (deep, of_deep)] = [&hits[0], &hits[1]];
    assert_eq!(matched("/a"), (*root, json!({"hits": 1, of_root: 1})));
    // What has a meaning in a pattern has none in the path at which its backend is used.
    assert_eq!(matched("/b$c/d"), (*deep, json!({"hits": 1, of_deep: 1})));
    assert_eq!(matched("/b"), (*root, json!({"hits": 1, of_root: 1})));
}

#[test]
fn one_tenant_beside_others_cannot_take_all_ports() {
    let mut node = super::master::Node::new();
    let (one, other) = (node.make("One"), node.make("Other"));
    stand(&mut node.0, FIRST, FIRST + 15);
    let has_ports = |tenant, name: &str| {
        let (status, made) = node.as_tenant(tenant, Method::Post, "services", json!({"name": name}));
        assert_eq!(status, 201, "{made}");
        let (_, shown) = node.as_tenant(
            tenant,
            Method::Get,
            &format!("services/{}/proxy", made["service"]["id"]),
            json!({}),
        );
        !shown["proxy"]["sandbox_endpoint"].is_null()
    };
    let given =
        |tenant, prefix: &str| (0..10).filter(|at| has_ports(tenant, &format!("{prefix} {at}"))).count();
    // 16 ports: half of them, then half of what is left.
    assert_eq!((given(&one, "one"), given(&other, "other")), (4, 2));
    // What is left goes to the first service of who comes next.
    let third = node.make("Third");
    let (_, listed) = node.as_tenant(&third, Method::Get, "services", json!({}));
    let path = format!("services/{}/proxy", listed["services"][0]["service"]["id"]);
    let (_, shown) = node.as_tenant(&third, Method::Get, &path, json!({}));
    assert_eq!(shown["proxy"]["sandbox_endpoint"], format!("http://127.0.0.1:{}", FIRST + 12));
}
