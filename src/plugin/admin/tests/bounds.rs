//! What has a bound has it exactly: so many, and one more; so long, and one longer.

use super::super::account_details::AccountDetails;
use super::super::answer::Format;
use super::super::auth::Caller;
use super::super::context::Seen;
use super::super::{
    active_docs, authentication_providers, backend_metrics, backend_usages, fields_definitions, invitations,
    logins, mapping_rules, messages, metrics, policies, policy_registry, pricing_rules, proxy_configs,
    search, tokens, webhooks,
};
use super::*;
use crate::plugin::records::{Record, id_key, pair_key};
use crate::store::shelf::Table;

impl World {
    /// Lays copies of a record beside it, listed by its owner: cheaper than making so many.
    fn copy(
        &self,
        (table, by_owner): (&'static str, &'static str),
        owner: &Value,
        id: &Value,
        copies: usize,
    ) {
        let (owner, id) = (owner.as_u64().unwrap(), id.as_u64().unwrap());
        let copied = self.admin.desk.command(|draft, records| {
            let row = records.get(Table(table), &id_key(id))?.unwrap();
            assert!(records.get(Table(by_owner), &pair_key(owner, id))?.is_some(), "{by_owner}");
            for _ in 0..copies {
                let copy = draft.take_id();
                records.put(Table(table), &id_key(copy), row.clone());
                records.put(Table(by_owner), &pair_key(owner, copy), Vec::new());
            }
            Ok::<_, crate::store::ShelfError>(())
        });
        copied.unwrap();
    }

    /// Makes as many records of a kind as there may be, most of them as copies of the first, and then one more; `before` are there already.
    pub(super) fn fill(
        &self,
        path: &str,
        tables: (&'static str, &'static str),
        owner: &Value,
        (max, before): (usize, usize),
        ask: impl Fn(usize) -> Value,
    ) -> (u16, Value) {
        let first = self.made(path, ask(0))["id"].clone();
        self.copy(tables, owner, &first, max - before - 2);
        self.made(path, ask(1));
        self.post(path, ask(2))
    }
}

/// That the whole of a record is refused, in words that name the bound.
pub(super) fn is_too_many((status, body): (u16, Value), max: usize) {
    let why = body["errors"]["base"][0].as_str().unwrap_or_default();
    assert!(status == 422 && why.contains(&max.to_string()), "{status} {body}");
}

#[test]
fn a_tenant_has_so_many_of_each_and_no_more() {
    let world = World::new();
    let tenant = json!(world.tenant.0);
    let full = |path: &str, tables, bound, ask: &dyn Fn(usize) -> Value| {
        is_too_many(world.fill(path, tables, &tenant, bound, ask), bound.0);
    };
    full(
        "fields_definitions",
        ("fields_definitions", "fields_definitions_by_tenant"),
        (fields_definitions::DEFINITIONS_MAX, 5),
        &|number| json!({"target": "Account", "name": format!("f{number}"), "label": "F"}),
    );
    full(
        "registry/policies",
        ("policies", "policies_by_tenant"),
        (policy_registry::REGISTERED_MAX, 0),
        &|number| {
            let name = format!("policy{number}");
            let schema = json!({
                "$schema": "http://apicast.io/policy-v1.1/schema#manifest#", "name": name, "version": "1",
                "summary": "A policy", "configuration": {"type": "object", "properties": {}},
            });
            json!({"name": name, "version": "1", "schema": schema})
        },
    );
    full("active_docs", ("active_docs", "active_docs_by_tenant"), (active_docs::DOCS_MAX, 0), &|number| {
        let body = json!({"openapi": "3.0.2", "info": {"title": "T", "version": "1"}, "paths": {}});
        json!({"name": format!("Doc {number}"), "body": body.to_string()})
    });
    full(
        "authentication_providers",
        ("authentication_providers", "authentication_providers_by_tenant"),
        (authentication_providers::PROVIDERS_MAX, 0),
        &|_| {
            let (id, secret, site) = ("client", "secret", "https://sso.example.com");
            json!({"kind": "keycloak", "client_id": id, "client_secret": secret, "site": site})
        },
    );
    full(
        "invitations",
        ("invitations", "invitations_by_owner"),
        (invitations::INVITATIONS_MAX, 0),
        &|number| json!({"email": format!("someone{number}@example.com")}),
    );
    // Of its administrators: as the original refuses to make more.
    let more =
        world.fill("users", ("users", "users_by_owner"), &tenant, (logins::OF_TENANT_MAX, 1), |number| {
            let name = format!("user{number}");
            json!({"username": name, "email": format!("{name}@example.com"), "password": "a good password"})
        });
    assert_eq!(more, (403, Value::Null));
}

#[test]
fn an_account_and_a_user_have_so_many_of_each_and_no_more() {
    let world = World::new();
    let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
    let path = format!("accounts/{account}");
    let users = world.fill(
        &format!("{path}/users"),
        ("users", "users_by_owner"),
        &account,
        (logins::OF_ACCOUNT_MAX, 1),
        |number| json!({"username": format!("user{number}")}),
    );
    is_too_many(users, logins::OF_ACCOUNT_MAX);
    let invited = world.fill(
        &format!("{path}/invitations"),
        ("invitations", "invitations_by_owner"),
        &account,
        (invitations::INVITATIONS_MAX, 0),
        |number| json!({"email": format!("someone{number}@example.com")}),
    );
    is_too_many(invited, invitations::INVITATIONS_MAX);
    let user = world.get("users").1["users"][0]["user"]["id"].clone();
    let ask = |_| json!({"name": "Token", "permission": "ro", "scopes": ["stats"]});
    let tables = ("access_tokens", "access_tokens_by_user");
    // One is the administrator's that the tenant began with.
    let more = world.fill("personal/access_tokens", tables, &user, (tokens::TOKENS_MAX, 1), ask);
    is_too_many(more, tokens::TOKENS_MAX);
    // Of messages the oldest goes.
    let send = || world.made(&format!("{path}/messages"), json!({"body": "Hello"}))["id"].clone();
    let (oldest, next) = (send(), send());
    world.copy(("messages", "messages_by_account"), &account, &next, messages::MESSAGES_MAX - 3);
    let is_kept = |id: &Value| {
        let view = world.admin.desk.look().unwrap();
        view.records.find::<messages::Message>(id.as_u64().unwrap()).unwrap().is_some()
    };
    send();
    assert!(is_kept(&oldest) && is_kept(&next));
    send();
    assert!(!is_kept(&oldest) && is_kept(&next));
}

#[test]
fn what_a_gateway_loads_has_so_many_of_each_and_no_more() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Full"}))["id"].clone();
    let root = format!("services/{service}");
    let hits = world.get(&format!("{root}/metrics")).1["metrics"][0]["metric"]["id"].clone();
    let rules = world.fill(
        &format!("{root}/proxy/mapping_rules"),
        ("mapping_rules", "mapping_rules_by_owner"),
        &service,
        (mapping_rules::RULES_MAX, 1),
        |number| json!({"http_method": "GET", "pattern": format!("/{number}"), "delta": 1, "metric_id": hits}),
    );
    is_too_many(rules, mapping_rules::RULES_MAX);
    let plan = world.made(&format!("{root}/application_plans"), json!({"name": "Priced"}))["id"].clone();
    let prices = world.fill(
        &format!("application_plans/{plan}/metrics/{hits}/pricing_rules"),
        ("pricing_rules", "pricing_rules_by_plan"),
        &plan,
        (pricing_rules::RULES_MAX, 0),
        |number| json!({"min": number + 1, "max": number + 1, "cost_per_unit": 1}),
    );
    is_too_many(prices, pricing_rules::RULES_MAX);
    let backends: Vec<_> = (0..3)
        .map(|number| {
            let ask = json!({"name": format!("Backend {number}"), "private_endpoint": "https://example.com"});
            world.made("backend_apis", ask)["id"].clone()
        })
        .collect();
    let usages = world.fill(
        &format!("{root}/backend_usages"),
        ("backend_usages", "backend_usages_by_owner"),
        &service,
        (backend_usages::USAGES_MAX, 0),
        |number| json!({"backend_api_id": backends[number], "path": format!("/{number}")}),
    );
    is_too_many(usages, backend_usages::USAGES_MAX);
    let other = json!({"name": "Counted", "private_endpoint": "https://example.com"});
    let other = world.made("backend_apis", other)["id"].clone();
    let metrics = world.fill(
        &format!("backend_apis/{other}/metrics"),
        ("backend_metrics", "backend_metrics_by_backend"),
        &other,
        (backend_metrics::METRICS_MAX, 1),
        |number| json!({"friendly_name": format!("Metric {number}"), "unit": "hit"}),
    );
    is_too_many(metrics, backend_metrics::METRICS_MAX);
    let chain = |count: usize| {
        let policy = json!({"name": "cors", "version": "builtin", "configuration": {}, "enabled": true});
        let chain = json!({"policies_config": vec![policy; count]});
        world.put(&format!("{root}/proxy/policies"), chain).0
    };
    assert_eq!((chain(policies::POLICIES_MAX), chain(policies::POLICIES_MAX + 1)), (200, 422));
}

#[test]
fn a_service_has_so_many_metrics_and_methods_and_an_import_makes_all_of_them_at_once() {
    let world = World::new();
    let document = |count: usize| {
        let methods: String = (0..count - 1).map(|at| format!("    - system_name: m{at}\n")).collect();
        let rules: String = (0..count.min(mapping_rules::RULES_MAX))
            .map(|at| {
                format!(
                    "  - {{http_method: GET, pattern: /p{at}, metric: m{}, delta: {}}}\n",
                    at % (count - 1),
                    count % 7 + 1
                )
            })
            .collect();
        format!(
            "version: 1\nservices:\n- system_name: api\n  metrics:\n  - system_name: hits\n    methods:\n{methods}  mapping_rules:\n{rules}"
        )
    };
    let put = |text: String| super::document::import(&world, json!({"document": text, "apply": true}));
    // Of a service that was there before: what is changed of it is written once.
    let (status, body) = put(document(metrics::METRICS_MAX));
    assert_eq!(status, 200, "{body}");
    let service = world.get("services").1["services"][0]["service"]["id"].clone();
    let path = format!("services/{service}/metrics");
    is_too_many(world.post(&path, json!({"friendly_name": "One more", "unit": "hit"})), metrics::METRICS_MAX);
    let (status, body) = put(document(metrics::METRICS_MAX + 1));
    assert!(status == 422 && body.to_string().contains("at most 2000 metrics"), "{body}");
    // All rules are others.
    let text = document(metrics::METRICS_MAX).replace("pattern: /p", "pattern: /q");
    assert_eq!(put(text).0, 200);
}

#[test]
fn so_many_versions_of_a_configuration_are_kept_and_each_has_so_many_bytes() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Served"}))["id"].clone();
    let root = format!("services/{service}/proxy");
    let change = |number: usize| {
        let (status, body) = world.put(&root, json!({"api_test_path": format!("/{number}")}));
        assert_eq!(status, 200, "{body}");
    };
    let has = |version: usize| world.get(&format!("{root}/configs/sandbox/{version}")).0 == 200;
    (1..=proxy_configs::VERSIONS_MAX).for_each(change);
    assert!(has(1) && has(proxy_configs::VERSIONS_MAX));
    change(0);
    assert!(!has(1) && has(2) && has(proxy_configs::VERSIONS_MAX + 1));
    let listed = world.get(&format!("{root}/configs/sandbox")).1["proxy_configs"].clone();
    assert_eq!(listed.as_array().unwrap().len(), proxy_configs::VERSIONS_MAX);

    // The content with a policy that is configured with so much text.
    let with_text = |letter: &str, len: usize| {
        let configuration = json!({"text": letter.repeat(len)});
        let policy =
            json!({"name": "echo", "version": "builtin", "configuration": configuration, "enabled": true});
        world.put(&format!("{root}/policies"), json!({"policies_config": [policy]}))
    };
    let with = |len: usize| with_text("t", len);
    let newest = || {
        let view = world.admin.desk.look().unwrap();
        let contents =
            view.records.all_rows(Table("proxy_config_contents"), &id_key(service.as_u64().unwrap()));
        contents.unwrap().last().map_or(0, |(_, content)| content.len())
    };
    assert_eq!(with(0).0, 200);
    let room = proxy_configs::CONTENT_LEN_MAX - newest();
    assert_eq!((with(room).0, newest()), (200, proxy_configs::CONTENT_LEN_MAX));
    let (status, body) = with(room + 1);
    assert!(status == 422 && body.to_string().contains("2097152"), "{status}");

    // So many of the longest are kept, and then no shorter ones that are older.
    let heads = || {
        let view = world.admin.desk.look().unwrap();
        view.records.all_rows(Table("proxy_configs"), &id_key(service.as_u64().unwrap())).unwrap().len()
    };
    let most = usize::try_from(proxy_configs::KEPT_BYTES_MAX).unwrap() / proxy_configs::CONTENT_LEN_MAX;
    for letter in ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().take(most - 1) {
        assert!(heads() > most);
        assert_eq!(with_text(letter, room).0, 200);
    }
    assert_eq!(heads(), most);
    assert_eq!(with_text("z", room).0, 200);
    assert_eq!(heads(), most);
}

#[test]
fn texts_and_numbers_have_so_much_room() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Described"}))["id"].clone();
    let service = format!("services/{service}");
    let plan = world.made(&format!("{service}/application_plans"), json!({"name": "Plan"}))["id"].clone();
    let plan = format!("{service}/application_plans/{plan}");
    let backend = json!({"name": "Backend", "private_endpoint": "https://example.com"});
    let backend = format!("backend_apis/{}", world.made("backend_apis", backend)["id"]);
    let rules = format!("{service}/proxy/mapping_rules");
    let rule = world.get(&rules).1["mapping_rules"][0]["mapping_rule"]["id"].clone();
    let rule = format!("{rules}/{rule}");
    let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
    let account = format!("accounts/{account}");
    world.made("fields_definitions", json!({"target": "Account", "name": "extra", "label": "Extra"}));
    let text = |begin: &str, len: usize| json!(format!("{begin}{}", "x".repeat(len - begin.len())));
    let proxy = format!("{service}/proxy");
    for (path, field, begin, max) in [
        (&service, "description", "", super::super::services::DESCRIPTION_LEN_MAX),
        (&service, "name", "", 255),
        (&service, "support_email", "", 255),
        (&plan, "description", "", super::super::services::DESCRIPTION_LEN_MAX),
        (&plan, "name", "", 255),
        (&backend, "name", "", 511),
        (&rule, "pattern", "/", 255),
        (&rule, "redirect_url", "https://e.example/", 10_000),
        (&proxy, "api_test_path", "/", 8192),
        (&account, "org_name", "", 255),
        (&account, "extra", "", crate::document::values::FIELD_VALUE_LEN_MAX),
        (&"provider".to_owned(), "site_access_code", "", 255),
        (&"webhooks".to_owned(), "url", "https://e.example/", webhooks::URL_LEN_MAX),
    ] {
        let put = |len: usize| world.put(path, json!({ field: text(begin, len) }));
        let (at_most, longer) = (put(max), put(max + 1));
        assert_eq!(at_most.0, 200, "{path} {field}: {}", at_most.1);
        assert!(longer.0 == 422 && longer.1["errors"][field].is_array(), "{path} {field}: {longer:?}");
    }
    for (field, most, more) in [
        ("trial_period_days", json!(36_500), json!(36_501)),
        ("cancellation_period", json!(36_500), json!(36_501)),
        ("setup_fee", json!("9999999999999999"), json!("10000000000000000")),
    ] {
        let put = |value: &Value| world.put(&plan, json!({ field: value })).0;
        assert_eq!((put(&most), put(&more)), (200, 422), "{field}");
    }
    let choices = |count: usize| {
        let choices: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        let ask = json!({"target": "User", "name": format!("of{count}"), "label": "C", "choices": choices});
        world.post("fields_definitions", ask).0
    };
    let described = |len: usize| {
        let ask =
            json!({"name": format!("of {len}"), "body": "b".repeat(len), "skip_swagger_validations": true});
        world.post("active_docs", ask).0
    };
    let most = active_docs::BODY_LEN_MAX;
    assert_eq!((described(most), described(most + 1)), (201, 422));
    let most = fields_definitions::CHOICES_MAX;
    assert_eq!((choices(most), choices(most + 1)), (201, 422));
    let body = |len: usize| world.post(&format!("{account}/messages"), json!({"body": "b".repeat(len)})).0;
    assert_eq!((body(messages::BODY_LEN_MAX), body(messages::BODY_LEN_MAX + 1)), (201, 422));
    let asked = |len: usize| world.call(Method::Get, "search", json!({"q": "q".repeat(len)})).0;
    assert_eq!((asked(search::QUERY_LEN_MAX), asked(search::QUERY_LEN_MAX + 1)), (200, 400));
    let password = |len: usize| {
        let ask = json!({"username": format!("user{len}"), "password": "p".repeat(len)});
        world.post(&format!("{account}/users"), ask).0
    };
    assert_eq!((password(255), password(256)), (201, 422));
    let filters = |number: usize| {
        let path = format!("{account}/applications");
        let id = match world.get(&path).1["applications"].as_array().unwrap().first() {
            Some(it) => it["application"]["id"].clone(),
            None => {
                let plan = plan.rsplit('/').next().unwrap();
                world.made(&path, json!({"plan_id": plan, "name": "App"}))["id"].clone()
            }
        };
        let ask = json!({"referrer_filter": format!("r{number}.example")});
        world.post(&format!("{path}/{id}/referrer_filters"), ask).0
    };
    assert_eq!((0..6).map(filters).collect::<Vec<_>>(), [201, 201, 201, 201, 201, 422]);
}

#[test]
fn so_many_failures_of_webhooks_are_shown() {
    let world = World::new();
    let failed = world.admin.desk.command(|draft, records| {
        for _ in 0..=webhooks::FAILURES_MAX {
            let key = pair_key(world.tenant.0, draft.take_id());
            let failure =
                json!({"time": NOW, "error": "refused", "url": "https://e.example", "event": "<event/>"});
            records.put(webhooks::Failure::TABLE, &key, failure.to_string().into_bytes());
        }
        Ok::<_, crate::store::ShelfError>(())
    });
    failed.unwrap();
    let shown = world.get("webhooks/failures").1["webhooks-failures"].clone();
    assert_eq!(shown.as_array().unwrap().len(), webhooks::FAILURES_MAX);
}

#[test]
fn an_account_that_is_gone_leaves_nothing_it_was_listed_by() {
    let world = World::new();
    let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
    let rows = || {
        let view = world.admin.desk.look().unwrap();
        let of = |table| view.records.all_rows(Table(table), &[]).unwrap().len();
        let details = view.records.all::<AccountDetails>().unwrap().len();
        [
            details,
            of("accounts_by_state"),
            of("accounts_by_plan"),
            of("users_by_owner"),
            of("invitations_by_owner"),
        ]
    };
    world.made(&format!("accounts/{account}/invitations"), json!({"email": "a@example.com"}));
    assert_eq!(rows(), [1, 1, 1, 2, 1]);
    assert_eq!(world.delete(&format!("accounts/{account}")).0, 200);
    assert_eq!(rows(), [0, 0, 0, 1, 0]);
}

#[test]
fn a_policys_schema_has_so_many_bytes() {
    let world = World::new();
    let register = |len: usize| {
        let schema = |summary: String| {
            json!({
                "$schema": "http://apicast.io/policy-v1.1/schema#manifest#", "name": "long", "version": "1",
                "summary": summary, "configuration": {"type": "object", "properties": {}},
            })
        };
        let rest = schema(String::new()).to_string().len();
        let schema = schema("s".repeat(len - rest));
        assert_eq!(schema.to_string().len(), len);
        world.post(
            "registry/policies",
            json!({"name": format!("long{len}"), "version": "1", "schema": schema}),
        )
    };
    let most = policy_registry::SCHEMA_LEN_MAX;
    assert_eq!(register(most).0, 201);
    let (status, body) = register(most + 1);
    assert!(status == 422 && body.to_string().contains("65535"), "{status} {body}");
}

#[test]
fn a_search_looks_at_so_many_names_and_says_where_it_left_off() {
    let world = World::new();
    for name in ["one", "two", "three"] {
        world.made("signup", json!({"org_name": name, "username": name}));
    }
    let view = world.admin.desk.look().unwrap();
    let caller = Caller::owner(world.tenant);
    let seen = Seen {
        catalog: &view.catalog,
        records: &view.records,
        caller: &caller,
        format: Format::Json,
        gateway: None,
        traffic: None,
    };
    let looked = |after, scanned_max| {
        let (found, next) = search::named(seen, "", after, scanned_max);
        (found.len(), next)
    };
    let accounts: Vec<_> = view.catalog.accounts_of(world.tenant).iter().collect();
    // One that ends where the names do cannot know it; the next finds that there is nothing more.
    assert_eq!(looked((0, 0), 2), (2, Some((0, accounts[1]))));
    assert_eq!(looked((0, 0), 3), (3, Some((0, accounts[2]))));
    assert_eq!((looked((0, accounts[1]), 2), looked((0, accounts[2]), 1)), ((1, None), (0, None)));
    assert_eq!(looked((0, 0), 4), (3, None));
    assert_eq!(search::SCANNED_MAX, 100_000);
}
