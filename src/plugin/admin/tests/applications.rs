//! Applications: what they are, and that each change binds the next decision.

use super::*;
use crate::engine::request::{AuthRequest, Call as Asked, Credentials, Usage};
use crate::model::decision::Denial;
use crate::model::id::{ApplicationId, PlanId};
use crate::model::record::Secret;

/// A service of this kind with a plan, an account, and the paths of these.
struct Set<'w> {
    world: &'w World,
    service: Value,
    plan: Value,
    plans: String,
    root: String,
}

fn set<'w>(world: &'w World, backend_version: &str) -> Set<'w> {
    let service =
        world.made("services", json!({"name": "Called", "backend_version": backend_version}))["id"].clone();
    let plans = format!("services/{service}/application_plans");
    let plan = world.made(&plans, json!({"name": "Basic"}))["id"].clone();
    let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
    Set { world, service, plan, plans, root: format!("accounts/{account}/applications") }
}

impl Set<'_> {
    fn application(&self, mut fields: Value) -> Value {
        fields["plan_id"] = self.plan.clone();
        fields["name"] = "App".into();
        self.world.made(&self.root, fields)
    }

    /// Why a call is denied, if it is.
    fn denial(&self, application: &Value, key: Option<&str>) -> Option<&'static str> {
        let service = self.service.to_string();
        let (user_key, app_id) = (application["user_key"].as_str(), application["application_id"].as_str());
        let request = AuthRequest {
            call: Asked::Authrep,
            oauth: false,
            credentials: Credentials {
                provider_key: Some("pkey"),
                service_id: Some(&service),
                ..Credentials::default()
            },
            app_id,
            user_key,
            app_key: key,
            referrer: None,
            redirect: None,
            usage: Usage::Texts(&[("hits", Some("1"))]),
            log_code: None,
            flat_usage: false,
            no_body: false,
        };
        let decided = self.world.engine.authorize(&request, UnixMillis(NOW), |answer| match answer.denial {
            None => None,
            Some(Denial::LimitsExceeded) => Some("limits"),
            Some(Denial::ApplicationNotActive) => Some("state"),
            Some(_) => Some("key"),
        });
        decided.unwrap_or(Some("unknown"))
    }
}

#[test]
fn an_application_is_made_found_changed_and_deleted() {
    let world = World::new();
    let set = set(&world, "1");
    let made = set.application(json!({"description": "about it"}));
    assert_eq!((&made["state"], &made["enabled"]), (&json!("live"), &json!(true)));
    assert_eq!((&made["service_id"], &made["org_name"]), (&set.service, &json!("Acme")));
    assert_eq!((&made["description"], &made["first_traffic_at"]), (&json!("about it"), &Value::Null));
    let own = format!("{}/{}", set.root, made["id"]);
    assert_eq!(set.denial(&made, None), None);
    for asked in [json!({"user_key": made["user_key"]}), json!({"application_id": made["id"]})] {
        let (status, found) = world.call(Method::Get, "applications/find", asked);
        assert_eq!((status, &found["application"]["id"]), (200, &made["id"]));
    }
    assert_eq!(world.call(Method::Get, "applications/find", json!({"app_id": made["id"]})).0, 404);
    // Keys of all lengths and kinds that clients send.
    for key in ["k".repeat(255), "dGVzdC0uXw==".to_owned(), "a+/b".to_owned()] {
        let mut sent = made.clone();
        sent["user_key"] = key.as_str().into();
        let (status, changed) = world.put(&own, sent);
        assert_eq!((status, &changed["application"]["user_key"]), (200, &json!(key)));
        assert_eq!(set.denial(&changed["application"], None), None);
    }
    assert_eq!(set.denial(&made, None), Some("unknown"));
    assert_eq!(world.put(&own, json!({"user_key": "k".repeat(256)})).0, 422);
    assert_eq!(world.put(&own, json!({"user_key": "a b"})).0, 422);
    let other = set.application(json!({"user_key": "mine"}));
    assert_eq!(
        world.put(&own, json!({"user_key": "mine"})),
        (422, json!({"errors": {"user_key": ["has already been taken"]}}))
    );
    let (_, all) = world.call(Method::Get, "applications", json!({"page": 2, "per_page": 1}));
    assert_eq!(all["applications"][0]["application"]["id"], other["id"]);
    assert_eq!(all["metadata"]["total_entries"], 2);
    let count =
        |asked| world.call(Method::Get, "applications", asked).1["applications"].as_array().unwrap().len();
    assert_eq!((count(json!({"plan_type": "free"})), count(json!({"plan_type": "paid"}))), (2, 0));
    assert_eq!((count(json!({"service_id": set.service})), count(json!({"service_id": 1}))), (2, 0));
    assert_eq!(count(json!({"page": 9})), 0);
    assert_eq!(world.delete(&format!("{}/{}", set.plans, set.plan)).0, 403);
    assert_eq!((world.delete(&own).0, world.get(&own).0), (200, 404));
    let (_, xml) = world.xml(Method::Get, &format!("{}/{}", set.root, other["id"]), json!({}));
    assert!(xml.contains("<user_key>mine</user_key><plan custom=\"false\""), "{xml}");
}

#[test]
fn what_is_wrong_with_an_application_is_said() {
    let world = World::new();
    let set = set(&world, "2");
    let refused = |fields: Value| {
        let (status, body) = world.post(&set.root, fields);
        (
            status,
            body["errors"].as_object().map(|it| it.keys().cloned().collect::<Vec<_>>()).unwrap_or_default(),
        )
    };
    let plan = &set.plan;
    assert_eq!(refused(json!({"name": "A"})).0, 404);
    assert_eq!(refused(json!({"plan_id": plan})), (422, vec!["name".to_owned()]));
    for (field, value) in [
        ("application_id", json!("abc")),
        ("application_id", json!("a".repeat(256))),
        ("application_id", json!("with blank")),
        ("application_keys", json!(null)),
    ] {
        let mut fields = json!({"plan_id": plan, "name": "A"});
        if value.is_null() {
            fields["application_key"] = "abcd".into();
        } else {
            fields[field] = value;
        }
        assert_eq!(refused(fields.clone()), (422, vec![field.to_owned()]), "{fields}");
    }
    assert_eq!(world.get("applications").1["applications"], json!([]));
}

#[test]
fn each_change_binds_the_next_decision() {
    let world = World::new();
    let set = set(&world, "1");
    let made = set.application(json!({}));
    let own = format!("{}/{}", set.root, made["id"]);
    let hits =
        world.get(&format!("services/{}/metrics", set.service)).1["metrics"][0]["metric"]["id"].clone();
    assert_eq!(set.denial(&made, None), None);
    assert_eq!(world.put(&format!("{own}/suspend"), json!({})).1["application"]["state"], "suspended");
    assert_eq!(set.denial(&made, None), Some("state"));
    assert_eq!(
        world.put(&format!("{own}/suspend"), json!({})),
        (422, json!({"errors": {"state": ["cannot transition via \"suspend\""]}}))
    );
    assert_eq!(world.put(&format!("{own}/resume"), json!({})).1["application"]["state"], "live");
    assert_eq!(set.denial(&made, None), None);
    // Two were counted: a limit holds for them, and its maximum can be changed.
    let limits = format!("application_plans/{}/metrics/{hits}/limits", set.plan);
    let limit = world.made(&limits, json!({"period": "day", "value": 2}));
    assert_eq!(set.denial(&made, None), Some("limits"));
    let limit = format!("{limits}/{}", limit["id"]);
    world.put(&limit, json!({"value": 3}));
    assert_eq!((set.denial(&made, None), set.denial(&made, None)), (None, Some("limits")));
    // Another plan has none.
    let other = world.made(&set.plans, json!({"name": "Other"}));
    let (status, moved) = world.put(&format!("{own}/change_plan"), json!({"plan_id": other["id"]}));
    assert_eq!((status, &moved["application_plan"]["id"]), (200, &other["id"]));
    assert_eq!(set.denial(&made, None), None);
    world.put(&format!("{own}/change_plan"), json!({"plan_id": set.plan}));
    assert_eq!(set.denial(&made, None), Some("limits"));
    world.delete(&limit);
    assert_eq!(set.denial(&made, None), None);
    world.delete(&own);
    assert_eq!(set.denial(&made, None), Some("unknown"));
}

#[test]
fn an_application_that_needs_approval_waits_for_it() {
    let world = World::new();
    let set = set(&world, "1");
    world.put(&format!("{}/{}", set.plans, set.plan), json!({"approval_required": true}));
    let made = set.application(json!({}));
    assert_eq!((&made["state"], set.denial(&made, None)), (&json!("pending"), Some("state")));
    let own = format!("{}/{}", set.root, made["id"]);
    assert_eq!(world.put(&format!("{own}/resume"), json!({})).0, 422);
    assert_eq!(world.put(&format!("{own}/accept"), json!({})).1["application"]["state"], "live");
    assert_eq!(set.denial(&made, None), None);
}

#[test]
fn a_customized_plan_is_one_applications_alone() {
    let world = World::new();
    let set = set(&world, "1");
    let made = set.application(json!({}));
    let own = format!("{}/{}", set.root, made["id"]);
    let (status, custom) = world.put(&format!("{own}/customize_plan"), json!({}));
    let custom = &custom["application_plan"];
    assert_eq!((status, &custom["name"], &custom["custom"]), (200, &json!("Basic (custom)"), &json!(true)));
    let again = world.put(&format!("{own}/customize_plan"), json!({})).1;
    assert_eq!(again["application_plan"]["id"], custom["id"]);
    assert_eq!(world.get(&own).1["application"]["plan_id"], custom["id"]);
    // What it was made of stays, so that there is a way back.
    let model = format!("{}/{}", set.plans, set.plan);
    let refused = world.delete(&model);
    assert!(refused.0 == 403 && refused.1["errors"]["base"].is_array(), "{refused:?}");
    let (status, original) = world.put(&format!("{own}/decustomize_plan"), json!({}));
    assert_eq!((status, &original["application_plan"]["id"]), (200, &set.plan));
    assert_eq!(world.get(&format!("{}/{}", set.plans, custom["id"])).0, 404);
    // It goes with its application, and with the account.
    for is_account in [false, true] {
        let made = set.application(json!({}));
        let of_made = format!("{}/{}", set.root, made["id"]);
        world.put(&format!("{of_made}/customize_plan"), json!({}));
        assert_eq!(world.get(&set.plans).1["plans"].as_array().unwrap().len(), 2);
        let gone =
            if is_account { set.root.strip_suffix("/applications").unwrap() } else { of_made.as_str() };
        assert_eq!(world.delete(gone).0, 200);
        assert_eq!(world.get(&set.plans).1["plans"].as_array().unwrap().len(), 1);
    }
    assert_eq!(world.delete(&model).0, 200);
}

#[test]
fn an_application_on_a_plan_whose_model_is_gone_is_told_so() {
    let world = World::new();
    let set = set(&world, "1");
    let own = format!("{}/{}", set.root, set.application(json!({}))["id"]);
    world.put(&format!("{own}/customize_plan"), json!({}));
    let model = PlanId(set.plan.as_u64().unwrap());
    world.engine.change(|draft| draft.delete_plan(model)).unwrap();
    let refused = world.put(&format!("{own}/decustomize_plan"), json!({}));
    assert!(refused.0 == 422 && refused.1["errors"]["base"].is_array(), "{refused:?}");
}

#[test]
fn an_application_keeps_its_other_keys_when_one_of_them_is_sent_back() {
    let world = World::new();
    let set = set(&world, "1");
    let made = set.application(json!({"user_key": "the-first"}));
    let id = ApplicationId(made["id"].as_u64().unwrap());
    let add = |draft: &mut crate::model::draft::Draft<'_>| {
        draft.edit_application(id, |application| application.user_keys.push(Secret::new("the-second")))
    };
    world.engine.change(add).unwrap();
    let own = format!("{}/{}", set.root, made["id"]);
    let mut whole = world.get(&own).1["application"].clone();
    whole["name"] = "Renamed".into();
    assert_eq!(world.put(&own, whole).1["application"]["name"], "Renamed");
    let (first, second) = (json!({"user_key": "the-first"}), json!({"user_key": "the-second"}));
    assert_eq!((set.denial(&first, None), set.denial(&second, None)), (None, None));
    assert_eq!(world.put(&own, json!({"user_key": "another"})).1["application"]["user_key"], "another");
    assert_ne!(set.denial(&second, None), None);
    assert_eq!(set.denial(&json!({"user_key": "another"}), None), None);
}

#[test]
fn keys_of_an_application_let_it_in_as_long_as_they_are_there() {
    let world = World::new();
    let set = set(&world, "2");
    let made = set.application(json!({"application_id": "the-app-id", "application_key": "first-key"}));
    assert_eq!(made["application_id"], "the-app-id");
    assert_eq!((set.denial(&made, Some("first-key")), set.denial(&made, Some("other"))), (None, Some("key")));
    let root = format!("{}/{}/keys", set.root, made["id"]);
    // All that can be typed, 255 of it; in paths it is encoded, and has a suffix of its own.
    let key: String = (0x21_u8..=0x7E).cycle().take(250).map(char::from).chain(".json".chars()).collect();
    world.now.store(NOW + 1000, Ordering::Relaxed);
    let (status, answered) = world.post(&root, json!({"key": key}));
    assert_eq!((status, &answered["application"]["id"]), (201, &made["id"]));
    let keys = world.get(&root).1["keys"].clone();
    assert_eq!(
        (&keys[1]["key"]["value"], &keys[1]["key"]["created_at"]),
        (&json!(key), &json!("2026-11-22T13:45:31Z"))
    );
    assert_eq!(keys[0]["key"]["created_at"], "2026-11-22T13:45:30Z");
    assert_eq!(set.denial(&made, Some(&key)), None);
    for bad in ["four", "with blank", "FIRST-KEY", &"k".repeat(256)] {
        assert_eq!(world.post(&root, json!({"key": bad})).0, 422, "{bad}");
    }
    let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(world.get(&format!("{root}/{encoded}")).0, 404);
    let (status, answered) = world.delete(&format!("{root}/{encoded}"));
    assert_eq!((status, &answered["application"]["id"]), (200, &made["id"]));
    assert_eq!(set.denial(&made, Some(&key)), Some("key"));
    assert_eq!(world.delete(&format!("{root}/{encoded}")).0, 404);
    for number in 0..4 {
        assert_eq!(world.post(&root, json!({"key": format!("another-{number}")})).0, 201);
    }
    assert_eq!(world.post(&root, json!({})), (422, json!({"errors": {"base": ["Limit reached"]}})));
    let (_, xml) = world.xml(Method::Get, &format!("{}/{}", set.root, made["id"]), json!({}));
    assert!(xml.contains("<keys><key>first-key</key>"), "{xml}");
}

#[test]
fn referrer_filters_have_ids() {
    let world = World::new();
    let set = set(&world, "1");
    let made = set.application(json!({}));
    let root = format!("{}/{}/referrer_filters", set.root, made["id"]);
    assert_eq!(world.post(&root, json!({"referrer_filter": "*.example.org"})).0, 201);
    let filter = world.get(&root).1["referrer_filters"][0]["referrer_filter"].clone();
    assert_eq!(filter["value"], "*.example.org");
    assert_eq!(world.post(&root, json!({"referrer_filter": "*.example.org"})).0, 422);
    assert_eq!(world.post(&root, json!({"referrer_filter": "a/b"})).0, 422);
    assert_eq!(world.delete(&format!("{root}/1")).0, 404);
    assert_eq!(world.delete(&format!("{root}/{}", filter["id"])).0, 200);
    assert_eq!(world.get(&root), (200, json!({"referrer_filters": []})));
}

#[test]
fn accounts_and_applications_are_there_after_a_restart() {
    let world = World::new();
    let (path, before) = {
        let set = set(&world, "2");
        let made = set.application(json!({"description": "lasting"}));
        (format!("{}/{}", set.root, made["id"]), made)
    };
    let world = world.reopen();
    assert_eq!(world.get(&path), (200, json!({"application": before})));
    assert_eq!(world.get("accounts").1["accounts"].as_array().unwrap().len(), 1);
}

#[test]
fn applications_are_listed_by_what_they_pay_and_when_they_were_called() {
    let world = World::new();
    let set = set(&world, "1");
    let made: Vec<_> = (0..4).map(|number| set.application(json!({"description": number}))).collect();
    let paid = world.made(&set.plans, json!({"name": "Paid", "cost_per_month": 5}))["id"].clone();
    let path = |number: usize| format!("{}/{}", set.root, made[number]["id"]);
    world.put(&format!("{}/change_plan", path(1)), json!({"plan_id": paid}));
    let called = |number: usize, day: &str| {
        let sent = json!({"first_daily_traffic_at": format!("2026-10-{day}T00:00:00Z")});
        assert_eq!(world.put(&path(number), sent).0, 200);
    };
    called(0, "05");
    called(1, "10");
    called(2, "20");
    let listed = |asked: Value| {
        let (status, body) = world.call(Method::Get, "applications", asked);
        assert_eq!(status, 200, "{body}");
        let of = |it: &Value| made.iter().position(|made| made["id"] == it["application"]["id"]).unwrap();
        body["applications"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(listed(json!({"plan_type": "paid"})), [1]);
    assert_eq!(listed(json!({"plan_type": "free"})), [0, 2, 3]);
    assert_eq!(listed(json!({"plan_type": "free", "plan_id": paid})), Vec::<usize>::new());
    let rule = json!({"cost_per_unit": "0.1"});
    let hits =
        world.get(&format!("services/{}/metrics", set.service)).1["metrics"][0]["metric"]["id"].clone();
    world.made(&format!("application_plans/{}/metrics/{hits}/pricing_rules", set.plan), rule);
    assert_eq!(listed(json!({"plan_type": "free"})), Vec::<usize>::new(), "usage is paid for, too");
    // From the time on, not after it.
    let (tenth, later) = ("2026-10-10T00:00:00Z", "2026-10-10T00:00:01Z");
    assert_eq!(listed(json!({"active_since": tenth})), [1, 2]);
    assert_eq!(listed(json!({"active_since": later})), [2]);
    assert_eq!(listed(json!({"inactive_since": tenth})), [0, 3]);
    assert_eq!(listed(json!({"active_since": "2026-10-01T00:00:00Z", "inactive_since": later})), [0, 1]);
    assert_eq!(listed(json!({"active_since": tenth, "per_page": 1, "page": 2})), [2]);
    assert_eq!(listed(json!({"active_since": tenth, "service_id": 1})), Vec::<usize>::new());
    called(1, "01");
    assert_eq!(listed(json!({"active_since": tenth})), [2]);
    assert_eq!(world.delete(&path(2)).0, 200);
    assert_eq!(listed(json!({"active_since": tenth})), Vec::<usize>::new());
    assert_eq!(world.call(Method::Get, "applications", json!({"active_since": "soon"})).0, 400);
}

#[test]
fn a_defined_field_takes_one_of_its_choices_or_nothing() {
    let world = World::new();
    let set = set(&world, "1");
    let define = |target: &str, more: Value| {
        let mut ask = json!({"target": target, "name": "size", "label": "Size"});
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.made("fields_definitions", ask)
    };
    let choices = json!({"choices": ["s", "m"], "required": true, "read_only": true, "hidden": true});
    let definition = ["Cinstance", "Account", "User"].map(|target| define(target, choices.clone()));
    let account = set.root.strip_suffix("/applications").unwrap();
    let user = world.get(&format!("{account}/users")).1["users"][0]["user"]["id"].clone();
    // The API is the tenant's own hand: what is required may be left out, what is read only or hidden is written and shown.
    let application = set.application(json!({}));
    let paths = [
        (format!("{}/{}", set.root, application["id"]), "application"),
        (account.to_owned(), "account"),
        (format!("{account}/users/{user}"), "user"),
    ];
    let listed = (422, json!({"errors": {"size": ["is not included in the list"]}}));
    for (path, wrapper) in &paths {
        assert_eq!(world.put(path, json!({"size": "xl"})), listed, "{path}");
        assert_eq!(world.put(path, json!({"size": "m"})).1[wrapper]["size"], "m");
    }
    let mut ask = json!({"plan_id": set.plan, "name": "Other", "size": "xl"});
    assert_eq!(world.post(&set.root, ask.clone()), listed);
    ask["size"] = "".into();
    assert_eq!(world.made(&set.root, ask)["size"], "");
    // Names are told apart by case, as in the original: another than the definition's own is nobody's.
    for (path, wrapper) in &paths {
        let shown = world.put(path, json!({"Size": "s", "SIZE": "xl", "Org_Name": "x", "User_Name": "x"}));
        assert_eq!((shown.0, &shown.1[wrapper]["size"]), (200, &json!("m")));
        for other in ["Size", "SIZE", "Org_Name", "User_Name"] {
            assert_eq!(shown.1[wrapper].get(other), None, "{path} {other}");
        }
    }
    let signup = json!({"org_name": "Big", "username": "bigger", "size": "xl"});
    assert_eq!(world.post("signup", signup).0, 422);
    // What was good stays so when it is sent back, and is no choice of others any more.
    for it in &definition {
        world.put(&format!("fields_definitions/{}", it["id"]), json!({"choices": ["s"]}));
    }
    for (path, wrapper) in &paths {
        let whole = world.get(path).1[wrapper].clone();
        assert_eq!(world.put(path, whole).1[wrapper]["size"], "m");
        world.put(path, json!({"size": "s"}));
        assert_eq!(world.put(path, json!({"size": "m"})), listed);
    }
}

#[test]
fn an_application_is_the_same_in_a_list_and_alone() {
    let world = World::new();
    for name in ["size", "plan_name", "user_key", "client_id"] {
        world.made("fields_definitions", json!({"target": "Cinstance", "name": name, "label": "L"}));
    }
    for (at, version) in ["1", "2", "oauth", "oidc"].into_iter().enumerate() {
        let service = json!({"name": format!("API {at}"), "backend_version": version});
        let service = world.made("services", service)["id"].clone();
        let plan = world.made(&format!("services/{service}/application_plans"), json!({"name": "P"}));
        let user = format!("user{at}");
        let account = world.made("signup", json!({"org_name": "A", "username": user}))["id"].clone();
        let sent = json!({"plan_id": plan["id"], "name": "App", "size": "m", "plan_name": "no", "client_id": "mine"});
        let made = world.made(&format!("accounts/{account}/applications"), sent);
        let alone = world.get(&format!("accounts/{account}/applications/{}", made["id"])).1;
        let asked = json!({"service_id": service});
        let list = world.send(Method::Get, "applications.json", asked, Some(TOKEN));
        let text = String::from_utf8(list.body.to_vec()).unwrap();
        assert_eq!(text, format!("{{\"applications\":[{alone}]}}"), "{version}");
        let shown = &alone["application"];
        assert_eq!((&shown["plan_name"], &shown["size"]), (&json!("P"), &json!("m")));
        assert_eq!(shown["client_id"] == "mine", !version.starts_with('o'), "{version}");
        assert_eq!(text.matches("\"user_key\"").count(), usize::from(version == "1"));
    }
}
