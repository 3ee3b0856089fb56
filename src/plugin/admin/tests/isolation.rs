//! Nothing of one tenant answers another: what a tenant is told of another's records is what it is told of those that nobody has.
//!
//! Each call is made twice, with what is another's and with what is nobody's in its place, on two nodes that are otherwise the same; the answers must be
//! the same, to the byte, but for what was asked. And whatever was asked, the other has what it had.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::routes::{Api, Route, of_tenants};
use super::master::{Made, Node};
use super::*;

/// What the other tenant's things are called by: nobody else has a text like it, unless it was asked for by it.
const MARK: &str = "zanzibar";
/// What stands in its place where nobody's things are asked for.
const NOBODYS_MARK: &str = "atlantis";
/// What the other tenant's things are described by, which is never sent by anybody else.
const UNSENT: &str = "timbuktu";
/// What is shown for an id that was asked for.
const ID: &str = "ID";
/// Ids that nobody has begin here.
const NOBODY: u64 = 9_000_000;

/// Parameters by which records are named in bodies and queries.
const BY_ID: [&str; 13] = [
    "plan_id",
    "service_id",
    "metric_id",
    "account_id",
    "backend_api_id",
    "application_plan_id",
    "service_plan_id",
    "account_plan_id",
    "application_id",
    "object_id",
    "user_id",
    "feature_id",
    "id",
];
const BY_TEXT: [&str; 7] = ["user_key", "app_id", "username", "email", "key", "system_name", "name"];

/// Two tenants on a node, one with as much as there can be, in names that begin with the mark.
struct Pair {
    node: Node,
    asking: Made,
    other: Made,
    /// All ids that the other's records have.
    ids: Vec<u64>,
    /// Names and keys of the other's.
    texts: Vec<String>,
}

fn furnish(node: &Node, tenant: &Made, mark: &str) {
    let made = |path: &str, fields: Value| {
        let (status, body) = node.as_tenant(tenant, Method::Post, path, fields);
        assert_eq!(status, 201, "{path}: {body}");
        body.as_object().and_then(|it| it.values().next()).map_or(0, |it| it["id"].as_u64().unwrap_or(0))
    };
    let name = |what: &str| format!("{mark}-{what}");
    let description = if mark == MARK { UNSENT } else { "it" };
    let service = made(
        "services",
        json!({"name": name("service"), "system_name": format!("{mark}_service"), "description": description}),
    );
    let in_service = |rest: &str| format!("services/{service}/{rest}");
    let metric = made(&in_service("metrics"), json!({"friendly_name": name("metric"), "unit": "1"}));
    made(
        &in_service("proxy/mapping_rules"),
        json!({"http_method": "GET", "pattern": "/it", "delta": 1, "metric_id": metric}),
    );
    let plan = made(&in_service("application_plans"), json!({"name": name("plan")}));
    let rules = format!("application_plans/{plan}/metrics/{metric}");
    made(&format!("{rules}/limits"), json!({"period": "day", "value": 5}));
    made(&format!("{rules}/pricing_rules"), json!({"min": 1, "max": 9, "cost_per_unit": "1.5"}));
    made(&in_service("features"), json!({"name": name("feature")}));
    let backend = made(
        "backend_apis",
        json!({"name": name("backend"), "description": description, "private_endpoint": "http://a.example"}),
    );
    made(&in_service("backend_usages"), json!({"backend_api_id": backend, "path": "/b"}));
    let account = made(
        "signup",
        json!({"org_name": name("account"), "username": name("user"), "email": format!("{mark}@a.example")}),
    );
    let application = json!({"plan_id": plan, "name": name("application"), "description": description, "user_key": name("key"), "application_id": name("id")});
    let application = made(&format!("accounts/{account}/applications"), application);
    made(
        &format!("accounts/{account}/applications/{application}/referrer_filters"),
        json!({"referrer_filter": format!("{mark}.example")}),
    );
    made(
        "users",
        json!({"username": name("member"), "email": format!("{mark}-member@a.example"), "password": "123456"}),
    );
    made(
        "personal/access_tokens",
        json!({"name": name("token"), "permission": "rw", "scopes": ["account_management"]}),
    );
    made("account_plans", json!({"name": name("plan for accounts")}));
    made("fields_definitions", json!({"target": "Account", "name": format!("{mark}_field"), "label": "It"}));
    made("invitations", json!({"email": format!("{mark}-invited@a.example")}));
}

/// What a tenant has, as its lists show it.
fn everything(node: &Node, tenant: &Made) -> Vec<Value> {
    let list = |path: &str| node.as_tenant(tenant, Method::Get, path, json!({})).1;
    let mut all: Vec<_> = [
        "services",
        "accounts",
        "applications",
        "application_plans",
        "account_plans",
        "service_plans",
        "backend_apis",
        "users",
        "personal/access_tokens",
        "fields_definitions",
        "invitations",
        "features",
        "provider",
        "settings",
    ]
    .map(list)
    .to_vec();
    let ids = |list: &Value, wrapper: &str| -> Vec<u64> {
        let items = list.as_object().and_then(|it| it.values().next()).and_then(Value::as_array).cloned();
        items.unwrap_or_default().iter().filter_map(|it| it[wrapper]["id"].as_u64()).collect()
    };
    for service in ids(&all[0], "service") {
        for rest in [
            "metrics",
            "proxy",
            "proxy/mapping_rules",
            "application_plans",
            "features",
            "backend_usages",
            "service_tokens",
        ] {
            all.push(list(&format!("services/{service}/{rest}")));
        }
    }
    for account in ids(&all[1], "account") {
        for rest in ["users", "applications", "service_subscriptions", "invitations"] {
            all.push(list(&format!("accounts/{account}/{rest}")));
        }
    }
    for plan in ids(&all[3], "application_plan") {
        for rest in ["limits", "features", "pricing_rules"] {
            all.push(list(&format!("application_plans/{plan}/{rest}")));
        }
    }
    all
}

fn collect(value: &Value, ids: &mut Vec<u64>, texts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Number(number) if name == "id" || name.ends_with("_id") => {
                        ids.extend(number.as_u64())
                    }
                    Value::String(text)
                        if text.contains(MARK) || name == "user_key" || name == "application_id" =>
                    {
                        texts.push(text.clone());
                    }
                    other => collect(other, ids, texts),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids, texts)),
        _ => {}
    }
}

/// Ids by what wraps their records, as paths call it.
fn by_kind(value: &Value, own: &mut BTreeMap<String, Vec<u64>>) {
    let inner: Vec<_> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (Some(name), value)).collect(),
        Value::Array(items) => items.iter().map(|item| (None, item)).collect(),
        _ => return,
    };
    for (name, value) in inner {
        if let (Some(name), Some(id)) = (name, value["id"].as_u64()) {
            own.entry(format!("{name}s")).or_default().push(id);
        }
        by_kind(value, own);
    }
}

impl Pair {
    fn new() -> Pair {
        let node = Node::new();
        let (asking, other) = (node.make("Asking"), node.make("Other"));
        furnish(&node, &asking, "asking");
        furnish(&node, &other, MARK);
        let (mut ids, mut texts) = (vec![other.id], Vec::new());
        for list in everything(&node, &other) {
            collect(&list, &mut ids, &mut texts);
        }
        let catalog = node.0.engine.catalog();
        ids.retain(|id| *id != asking.id && !catalog.services_of(TenantId(asking.id)).contains(*id));
        ids.sort_unstable();
        ids.dedup();
        texts.sort_unstable();
        texts.dedup();
        assert!(ids.len() > 30 && texts.len() > 10, "{} {}", ids.len(), texts.len());
        Pair { node, asking, other, ids, texts }
    }

    /// The asking tenant's own ids by what they are, for the first braces of paths whose last are another's.
    fn own(&self) -> BTreeMap<String, Vec<u64>> {
        let mut own = BTreeMap::new();
        for list in everything(&self.node, &self.asking) {
            by_kind(&list, &mut own);
        }
        own
    }
}

/// All routes of tenants, with where they lie.
fn all_routes() -> impl Iterator<Item = (&'static str, &'static Route)> {
    let of_tenants = of_tenants().map(|route| ("/admin/api", route));
    of_tenants.chain(Api::Stats.routes().map(|route| ("/stats", route)))
}

/// What usage is asked for by, which is the same of anybody's.
const OF_USAGE: [(&str, &str); 4] =
    [("metric_name", "hits"), ("response_code", "200"), ("period", "day"), ("since", "2026-11-22")];

/// A call: a route, and what is put into it, by number.
#[derive(Clone, Debug)]
struct Asked {
    route: usize,
    method: usize,
    /// Which of its braces hold the asking tenant's own ids, from the first.
    own: usize,
    picks: Vec<usize>,
    in_body: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let picks = prop::collection::vec(any::<prop::sample::Index>(), 24);
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3_usize, picks, any::<bool>()).prop_map(
        |(route, method, own, picks, in_body)| {
            let routes = all_routes().count();
            let picks = picks.iter().map(|pick| pick.index(1 << 20)).collect();
            Asked { route: route.index(routes), method: method.index(2), own, picks, in_body }
        },
    )
}

/// The call with the other's ids and texts in it, or with nobody's: path, parameters, and what is shown for what was put in.
fn call_of(
    asked: &Asked,
    pair: &Pair,
    own: &BTreeMap<String, Vec<u64>>,
    is_nobodys: bool,
) -> (Method, String, Value, Vec<(String, String)>) {
    let (root, route) = all_routes().nth(asked.route).unwrap();
    let method = route.methods[asked.method % route.methods.len()];
    let mut shown = Vec::new();
    let mut picks = asked.picks.iter().cycle();
    let mut other_id = |shown: &mut Vec<(String, String)>| {
        let pick = *picks.next().unwrap();
        let theirs = pair.ids[pick % pair.ids.len()];
        let put = if is_nobodys { NOBODY + theirs } else { theirs };
        shown.push((put.to_string(), ID.to_owned()));
        put
    };
    let mut left = asked.own;
    let braces = route.path.matches('{').count();
    let mut path = Vec::new();
    let mut seen = 0;
    for segment in route.path.split('/') {
        // Nobody's, and the same for all.
        let segment = if segment.starts_with("{env") { "sandbox" } else { segment };
        if !segment.starts_with('{') {
            path.push(segment.to_owned());
            continue;
        }
        seen += 1;
        // The last brace is the other's, unless the body is what names it.
        let is_own = left > 0 && (seen < braces || asked.in_body);
        // Of the right kind, so that deep routes are reached.
        let kind = path.last().map_or("", |segment: &String| segment);
        path.push(if let Some(ids) = own.get(kind).filter(|_| is_own) {
            left -= 1;
            ids[asked.picks[seen] % ids.len()].to_string()
        } else {
            other_id(&mut shown).to_string()
        });
    }
    let mut parameters = serde_json::Map::new();
    if root == "/stats" {
        parameters.extend(OF_USAGE.map(|(name, value)| (name.to_owned(), value.into())));
    }
    if asked.in_body {
        for name in BY_ID {
            parameters.insert(name.to_owned(), other_id(&mut shown).into());
        }
        for (at, name) in BY_TEXT.iter().enumerate() {
            let theirs = &pair.texts[asked.picks[at] % pair.texts.len()];
            let put = if is_nobodys { theirs.replace(MARK, NOBODYS_MARK) } else { theirs.clone() };
            shown.push((put.clone(), "TEXT".to_owned()));
            parameters.insert((*name).to_owned(), put.into());
        }
    }
    (method, format!("{root}/{}", path.join("/")), Value::Object(parameters), shown)
}

/// A text without the ids that were asked for, where they stand whole and not in a time: all are of the same second of a day.
fn without_ids(text: &str, shown: &[(String, String)]) -> String {
    const SECOND: &str = "T13:45:30Z";
    const DATE_LEN: usize = "2026-11-22".len();
    let days = text.split(SECOND).count() - 1;
    let dateless =
        |(at, part): (usize, &str)| if at < days { &part[..part.len() - DATE_LEN] } else { part }.to_owned();
    let text = text.split(SECOND).enumerate().map(dateless).collect::<Vec<_>>().join("TIME");
    let mut out = String::new();
    for part in text.split_inclusive(|it: char| !it.is_ascii_digit()) {
        let number = part.trim_end_matches(|it: char| !it.is_ascii_digit());
        if shown.iter().any(|(id, stands_for)| stands_for == ID && id == number) {
            out.push_str(ID);
            out.push_str(&part[number.len()..]);
        } else {
            out.push_str(part);
        }
    }
    out
}

/// The answer without what was asked, and without what a new record has that none had before: its id, and times.
fn told(
    pair: &Pair,
    (method, path, parameters, mut shown): (Method, String, Value, Vec<(String, String)>),
) -> (u16, String) {
    let suffix = if path.ends_with(".csv") { "" } else { ".json" };
    let path = format!("{path}{suffix}");
    let answer = pair.node.send(method, &path, None, parameters, &pair.asking.token);
    let mut body = without_ids(&String::from_utf8_lossy(&answer.body), &shown);
    shown.retain(|(_, stands_for)| stands_for != ID);
    shown.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    for (text, stands_for) in shown {
        body = body.replace(&text, &stands_for);
    }
    (answer.status, body.replace(MARK, NOBODYS_MARK))
}

#[test]
fn what_is_another_tenants_answers_as_what_is_nobodys() {
    // Both begin the same: what one has made by a call that went ahead the other has made, too.
    let (with_other, with_nobody) = (Pair::new(), Pair::new());
    let own = with_other.own();
    assert_eq!((&with_other.ids, &own), (&with_nobody.ids, &with_nobody.own()));
    // Whatever stands before a brace that another follows is known by its kind.
    let deep = of_tenants().flat_map(|route| {
        let parts: Vec<_> = route.path.split('/').filter(|part| !part.starts_with("{env")).collect();
        let braces = (1..parts.len()).filter(|at| parts[*at].starts_with('{')).collect::<Vec<_>>();
        let (_, first) = braces.split_last().unwrap_or((&0, &[]));
        first.iter().map(|at| parts[at - 1]).collect::<Vec<_>>()
    });
    let unknown: BTreeSet<_> = deep.filter(|kind| !own.contains_key(*kind)).collect();
    assert_eq!(unknown, BTreeSet::new());
    let had = everything(&with_other.node, &with_other.other);
    let cases = std::env::var("TOLLGATE_ISOLATION_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(5000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let done = runner.run(&asked(), |asked| {
        let theirs = call_of(&asked, &with_other, &own, false);
        // Of the same ids and texts: what a node has made up itself may be another's there.
        let nobodys = call_of(&asked, &with_other, &own, true);
        let named = format!("{} {}", theirs.0.name(), theirs.1);
        let (got, expected) = (told(&with_other, theirs), told(&with_nobody, nobodys));
        prop_assert_eq!(got.0, expected.0, "{}: {} {}", named, got.1, expected.1);
        // What a call makes has random keys.
        if got.0 >= 300 {
            prop_assert_eq!(&got.1, &expected.1, "{}", named);
        }
        prop_assert!(!got.1.contains(UNSENT), "{}: {}", named, got.1);
        prop_assert!(got.0 < 500, "{}: {}", named, got.1);
        Ok(())
    });
    done.unwrap();
    assert_eq!(everything(&with_other.node, &with_other.other), had);
}

#[test]
fn no_list_and_no_search_has_anything_of_another_tenant() {
    let pair = Pair::new();
    let mut asked = 0;
    for route in
        of_tenants().filter(|route| route.methods.contains(&Method::Get) && !route.path.contains('{'))
    {
        for parameters in
            [json!({}), json!({"query": MARK, "q": MARK, "name": MARK, "username": MARK, "host": MARK})]
        {
            let path = format!("/admin/api/{}.json", route.path);
            let answer = pair.node.send(Method::Get, &path, None, parameters, &pair.asking.token);
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains(MARK) && !body.contains(UNSENT), "{path}: {body}");
            asked += 1;
        }
    }
    assert!(asked > 50, "{asked}");
}
