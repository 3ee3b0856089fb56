//! Many applications at once, and finding one among them.

use super::super::answer::Format;
use super::super::application_states::Event;
use super::super::auth::Caller;
use super::super::bulk::{self, Action};
use super::super::context::Seen;
use super::super::request::Fields;
use super::*;
use crate::model::id::PlanId;

/// A service with two plans, and so many live applications of one account on the first; ids of service, plans, account and applications.
fn crowd(world: &World, count: usize) -> (Value, [Value; 2], Value, Vec<u64>) {
    let service = world.made("services", json!({"name": "Crowded"}))["id"].clone();
    let plans = ["First", "Second"].map(|name| {
        let path = format!("services/{service}/application_plans");
        world.made(&path, json!({"name": name}))["id"].clone()
    });
    let account = world.made("signup", json!({"org_name": "Crowd", "username": "crowd"}))["id"].clone();
    let make = |number: usize| {
        let ask = json!({"plan_id": plans[0], "name": format!("App {number}"), "user_key": format!("key-{number}")});
        world.made(&format!("accounts/{account}/applications"), ask)["id"].as_u64().unwrap()
    };
    let applications = (0..count).map(make).collect();
    (service, plans, account, applications)
}

fn states(world: &World, account: &Value) -> Vec<String> {
    let all = world.get(&format!("accounts/{account}/applications")).1["applications"].clone();
    let state = |it: &Value| it["application"]["state"].as_str().unwrap().to_owned();
    all.as_array().unwrap().iter().map(state).collect()
}

#[test]
fn what_is_done_to_many_is_reported_one_by_one() {
    let world = World::new();
    let (service, plans, account, ids) = crowd(&world, 3);
    let bulk = |ask: Value| world.post("applications/bulk", ask);
    let (status, body) = bulk(json!({"action": "suspend", "ids": [ids[0], ids[1], 999_999]}));
    let report = &body["bulk"];
    assert_eq!((status, &report["succeeded"], &report["failed"]), (200, &json!(2), &json!(1)));
    assert_eq!(
        report["items"][0],
        json!({"id": ids[0], "status": 200, "state": "suspended", "plan_id": plans[0]})
    );
    assert_eq!(report["items"][2], json!({"id": 999_999, "status": 404}));
    assert_eq!(states(&world, &account), ["suspended", "suspended", "live"]);
    let suspended = json!({"action": "resume", "service_id": service, "state": "suspended"});
    assert_eq!(bulk(suspended).1["bulk"]["succeeded"], 2);
    assert_eq!(states(&world, &account), ["live", "live", "live"]);
    let (_, body) = bulk(json!({"action": "resume", "account_id": account}));
    assert_eq!(
        (&body["bulk"]["failed"], &body["bulk"]["items"][0]["errors"]["state"][0]),
        (&json!(3), &json!("cannot transition via \"resume\""))
    );
    let moved = json!({"action": "change_plan", "plan_id": plans[1], "from_plan_id": plans[0]});
    assert_eq!(bulk(moved.clone()).1["bulk"]["succeeded"], 3);
    assert_eq!(bulk(moved).1["bulk"]["items"], json!([]), "nobody is left there");

    assert_eq!(bulk(json!({"action": "suspend"})).0, 422, "all of them is never meant by saying nothing");
    assert_eq!(bulk(json!({"action": "dance", "ids": [1]})).0, 422);
    assert_eq!((bulk(json!({})).0, bulk(json!({"action": "change_plan", "ids": [1]})).0), (400, 400));
    let most = super::super::bulk::ITEMS_MAX as u64;
    assert_eq!(bulk(json!({"action": "suspend", "ids": (1..=most + 1).collect::<Vec<_>>()})).0, 422);
    let (status, body) =
        bulk(json!({"action": "resume", "ids": (900_000..900_000 + most).collect::<Vec<_>>()}));
    assert_eq!((status, &body["bulk"]["failed"]), (200, &json!(most)));
}

#[test]
fn what_one_call_does_not_reach_the_next_does() {
    let world = World::new();
    let (service, plans, _, ids) = crowd(&world, 5);
    let view = world.admin.desk.look().unwrap();
    let caller = Caller::owner(world.tenant);
    let (catalog, records) = (&view.catalog, &view.records);
    let seen = Seen { catalog, records, caller: &caller, format: Format::Json, gateway: None, traffic: None };
    let which = |after: Option<u64>, action, items_max| {
        let Value::Object(fields) = json!({"service_id": service, "after": after}) else { unreachable!() };
        bulk::which(seen, &Fields::from(fields), action, items_max).unwrap()
    };
    // None of them leaves the filter by what is done, or can be done.
    let suspend = Action::State(Event::Suspend);
    assert_eq!(which(None, suspend, 2), (vec![ids[0], ids[1]], 3));
    assert_eq!(which(Some(ids[1]), suspend, 2), (vec![ids[2], ids[3]], 1));
    assert_eq!(which(Some(ids[3]), suspend, 2), (vec![ids[4]], 0));
    assert_eq!(which(None, suspend, 5), (ids.clone(), 0));
    let to = |plan: &Value| Action::Plan(PlanId(plan.as_u64().unwrap()));
    assert_eq!(which(None, to(&plans[0]), 2), (vec![], 0));
    assert_eq!(which(None, to(&plans[1]), 2), (vec![ids[0], ids[1]], 3));
    let all = world.post("applications/bulk", json!({"action": "suspend", "service_id": service})).1;
    assert_eq!((&all["bulk"]["left"], &all["bulk"]["next"]), (&json!(0), &Value::Null));
    let beyond = json!({"action": "resume", "service_id": service, "after": ids[3]});
    assert_eq!(world.post("applications/bulk", beyond).1["bulk"]["items"][0]["id"], ids[4]);
    let wrong = json!({"action": "resume", "service_id": service, "after": "x"});
    assert_eq!(world.post("applications/bulk", wrong).0, 422);
}

#[test]
fn applications_and_accounts_are_found_by_what_is_known_of_them() {
    let world = World::new();
    let (_, _, account, ids) = crowd(&world, 60);
    let found = |ask: Value| {
        let (status, body) = world.call(Method::Get, "search", ask);
        assert_eq!(status, 200, "{body}");
        let hits = body["search"]["found"].as_array().unwrap().clone();
        (
            hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect::<Vec<_>>(),
            body["search"]["next"].clone(),
        )
    };
    let none = Value::Null;
    assert_eq!(found(json!({"q": "key-7"})), (vec![ids[7]], none.clone()));
    // Names may have the number in them, too; what it is the id of comes first.
    assert_eq!(found(json!({"q": ids[3].to_string()})).0[0], ids[3]);
    assert_eq!(found(json!({"q": "APP 42"})), (vec![ids[42]], none.clone()));
    assert_eq!(found(json!({"q": "crow"})), (vec![account.as_u64().unwrap()], none.clone()));
    assert_eq!(found(json!({"q": "nothing like it"})), (vec![], none.clone()));
    // So many that one answer does not hold them.
    let (first, next) = found(json!({"q": "app"}));
    assert_eq!(first, ids[..super::super::search::FOUND_MAX]);
    assert_eq!(
        found(json!({"q": "app", "after": next})),
        (ids[super::super::search::FOUND_MAX..].to_vec(), none)
    );
    let status = |ask: Value| world.call(Method::Get, "search", ask).0;
    assert_eq!((status(json!({})), status(json!({"q": "a", "after": "here"}))), (400, 400));

    // Another tenant finds nothing of it.
    let (other, _) = world.engine.change(|draft| draft.create_tenant("Other", "other key")).unwrap();
    world.admin.begin(other, "other's token").unwrap();
    for text in ["app", "key-7", &ids[3].to_string()] {
        let answer = world.send(Method::Get, "search.json", json!({"q": text}), Some("other's token"));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body, json!({"search": {"found": [], "next": null}}), "{text}");
    }
}
