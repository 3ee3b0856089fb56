//! What the gateway reads of configurations and calls.

use serde_json::{Value, json};

use super::answer::Call;
use super::content::{Content, Refused};
use super::credentials::{self, Credentials, Method};
use crate::rules::{Parameters, Path};

/// A configuration as the node shows it, with these fields of the proxy changed.
fn content(changes: Value) -> Content {
    let mut proxy = json!({
        "authentication_method": "1", "credentials_location": "query",
        "auth_user_key": "user_key", "auth_app_id": "app_id", "auth_app_key": "app_key",
        "error_auth_failed": "failed", "error_auth_missing": "missing", "error_no_match": "no match",
        "error_limits_exceeded": "exceeded", "error_headers_auth_failed": "text/a",
        "error_headers_auth_missing": "text/b", "error_headers_no_match": "text/c",
        "error_headers_limits_exceeded": "text/d", "error_status_auth_failed": 401, "error_status_auth_missing": 402,
        "error_status_no_match": 406, "error_status_limits_exceeded": 420,
        "secret_token": "s", "hostname_rewrite": null, "api_backend": null,
        "backend": {"endpoint": "http://node:1", "host": "node"}, "policy_chain": [], "proxy_rules": [],
    });
    for (field, value) in changes.as_object().unwrap() {
        proxy[field.as_str()] = value.clone();
    }
    let content = json!({"id": 7, "backend_authentication_value": "t", "proxy": proxy});
    Content::read(json!({"environment": "sandbox", "version": 3, "content": content})).unwrap()
}

fn call(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Call {
        port: 1,
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.as_bytes().to_vec(),
    }
}

fn found(changes: Value, call: &Call) -> Option<Credentials> {
    let proxy = content(changes).proxy;
    credentials::find(Method::of(&proxy).unwrap(), &proxy, call)
}

fn key(value: &str) -> Option<Credentials> {
    Some(vec![("user_key", value.to_owned())])
}

fn pair(id: &str, secret: &str) -> Option<Credentials> {
    Some(vec![("app_id", id.to_owned()), ("app_key", secret.to_owned())])
}

#[test]
fn credentials_are_where_the_proxy_says_and_nowhere_else() {
    let (query, headers) = (json!({}), json!({"credentials_location": "headers"}));
    let authorization = json!({"credentials_location": "authorization"});
    let by_query = call("GET", "/?a=b&user_key=k%26+1&user_key=2", &[], "");
    let by_header = call("GET", "/", &[("user-key", "h")], "");
    let basic = call("GET", "/", &[("authorization", "Basic azpw")], "");
    assert_eq!(found(query.clone(), &by_query), key("k& 1"));
    assert_eq!(found(headers.clone(), &by_header), key("h"));
    assert_eq!(found(authorization.clone(), &basic), key("k"));
    for (location, other) in [
        (&query, &by_header),
        (&query, &basic),
        (&headers, &by_query),
        (&headers, &basic),
        (&authorization, &by_query),
        (&authorization, &by_header),
    ] {
        assert_eq!(found(location.clone(), other), None, "{location}");
    }
    let named = json!({"auth_user_key": "X-Key", "credentials_location": "headers"});
    assert_eq!(found(named, &call("GET", "/", &[("x_key", "h")], "")), key("h"));
    // ":p", and a token.
    assert_eq!(
        found(authorization.clone(), &call("GET", "/", &[("authorization", "basic OnA=")], "")),
        key("p")
    );
    assert_eq!(
        found(authorization.clone(), &call("GET", "/", &[("authorization", "Bearer t")], "")),
        key("t")
    );
    for bad in ["Basic", "Basic !", "Basic Og==", "Digest x"] {
        assert_eq!(
            found(authorization.clone(), &call("GET", "/", &[("authorization", bad)], "")),
            None,
            "{bad}"
        );
    }
}

#[test]
fn credentials_may_come_in_a_form() {
    let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(found(json!({}), &call("POST", "/", &[form], "user_key=f")), key("f"));
    assert_eq!(found(json!({}), &call("POST", "/?user_key=q", &[form], "user_key=f")), key("q"));
    assert_eq!(found(json!({}), &call("GET", "/", &[form], "user_key=f")), None);
    assert_eq!(found(json!({}), &call("POST", "/", &[("content-type", "text/plain")], "user_key=f")), None);
}

#[test]
fn an_application_with_keys_shows_both() {
    let two = |location: &str| json!({"authentication_method": "2", "credentials_location": location, "auth_app_id": "aid"});
    assert_eq!(found(two("query"), &call("GET", "/?aid=1&app_key=2", &[], "")), pair("1", "2"));
    assert_eq!(found(two("query"), &call("GET", "/?aid=1&app_key=", &[], "")), pair("1", ""));
    assert_eq!(found(two("query"), &call("GET", "/?aid=1", &[], "")), None);
    assert_eq!(
        found(two("headers"), &call("GET", "/", &[("aid", "1"), ("app-key", "2")], "")),
        pair("1", "2")
    );
    let basic = |value| call("GET", "/", &[("authorization", value)], "");
    assert_eq!(found(two("authorization"), &basic("Basic azpw")), pair("k", "p"));
    assert_eq!(found(two("authorization"), &basic("Bearer t")), None);
    assert_eq!(Method::of(&content(json!({"authentication_method": "oidc"})).proxy), None);
}

#[test]
fn refusals_are_as_the_proxy_says() {
    let content = content(json!({}));
    for (refused, status, content_type, body) in [
        (Refused::Failed, 401, "text/a", "failed"),
        (Refused::Missing, 402, "text/b", "missing"),
        (Refused::NoMatch, 406, "text/c", "no match"),
        (Refused::Exceeded(None), 420, "text/d", "exceeded"),
    ] {
        let answer = content.refusal(refused);
        assert_eq!((answer.status, answer.body), (status, body.as_bytes().to_vec()));
        assert_eq!(answer.headers, [("content-type".to_owned(), content_type.to_owned())]);
    }
    let exceeded = content.refusal(Refused::Exceeded(Some(9)));
    assert_eq!(exceeded.headers[1], ("retry-after".to_owned(), "9".to_owned()));
}

/// A configuration with a backend API at the root, one below `/b`, and one below `/b/c`.
fn routed() -> Content {
    let rule = |url: &str, id: u64, value: &str| json!({"url": url, "owner_id": id, "owner_type": "BackendApi", "condition": {"operations": [{"value": value}]}});
    let rules = [
        rule("http://c", 3, "/b/c/.*|/b/c/?"),
        rule("http://b", 2, "/b/.*|/b/?"),
        rule("http://root", 1, "/.*"),
    ];
    let counts = |pattern: &str, metric: &str, backend: Option<u64>| {
        let owner_type = if backend.is_some() { "BackendApi" } else { "Proxy" };
        json!({"http_method": "GET", "pattern": pattern, "metric_system_name": metric, "delta": 2,
            "last": false, "owner_id": backend.unwrap_or(9), "owner_type": owner_type})
    };
    content(json!({
        "api_backend": "http://root",
        "policy_chain": [{"name": "routing", "enabled": true, "configuration": {"rules": rules}}, {"name": "apicast"}],
        "proxy_rules": [
            counts("/", "hits", None), counts("/", "root", Some(1)), counts("/b/x\\.json$", "b", Some(2)),
            counts("/b/c/", "c", Some(3)), counts("/bad pattern", "x", None),
        ],
    }))
}

#[test]
fn the_longest_path_leads_to_its_backend_and_only_its_rules_count() {
    let content = routed();
    let parameters = Parameters::default();
    for (path, url, rest, counted) in [
        ("/a", "http://root", "/a", vec!["hits", "root"]),
        ("/bc", "http://root", "/bc", vec!["hits", "root"]),
        ("/b/x.json", "http://b", "/x.json", vec!["hits", "b"]),
        ("/b/xyjson", "http://b", "/xyjson", vec!["hits"]),
        ("/b", "http://b", "/", vec!["hits"]),
        ("/b/c/d/../e", "http://c", "/e", vec!["hits", "c"]),
    ] {
        let path = Path::parse(path.as_bytes()).unwrap();
        let (backend, left) = content.backend(&path).unwrap();
        assert_eq!((backend.url.as_str(), left.render().as_str()), (url, rest));
        let matched = content.matched("GET", &path, &parameters);
        assert_eq!(
            matched.iter().map(|it| it.metric.as_str()).collect::<Vec<_>>(),
            counted,
            "{}",
            path.render()
        );
    }
    assert!(content.backends.iter().filter(|it| it.path == Path::parse(b"/").unwrap()).count() == 1);
}

#[test]
fn without_routing_all_goes_to_the_proxys_own() {
    let own = content(json!({"api_backend": "http://own/base"}));
    let (backend, rest) = own.backend(&Path::parse(b"/x").unwrap()).unwrap();
    assert_eq!((backend.url.as_str(), rest.render().as_str()), ("http://own/base", "/x"));
    assert!(content(json!({})).backend(&Path::parse(b"/").unwrap()).is_none());
}
