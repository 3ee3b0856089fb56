//! Accounts, their users and subscriptions.

use super::*;

fn signup(world: &World, name: &str) -> (String, Value) {
    let account = world.made("signup", json!({"org_name": name, "username": name}));
    (format!("accounts/{}", account["id"]), account)
}

fn first_of(list: &Value, collection: &str, wrapper: &str) -> Value {
    list[collection][0][wrapper].clone()
}

#[test]
fn a_signup_makes_an_account_a_user_and_what_they_begin_with() {
    let world = World::new();
    let service = world.made("services", json!({"name": "Offered"}));
    let plans = format!("services/{}/application_plans", service["id"]);
    let plan = world.made(&plans, json!({"name": "Basic"}));
    world.put(&format!("{plans}/{}/default", plan["id"]), json!({}));
    let (path, account) = signup(&world, "acme");
    assert_eq!((&account["org_name"], &account["state"]), (&json!("acme"), &json!("created")));
    assert_eq!(account["monthly_billing_enabled"], true);
    let (_, of_account) = world.get(&format!("{path}/plan"));
    assert_eq!(of_account["account_plan"]["name"], "Default");
    let user = first_of(&world.get(&format!("{path}/users")).1, "users", "user");
    assert_eq!((&user["role"], &user["state"]), (&json!("admin"), &json!("pending")));
    let (_, applications) = world.get(&format!("{path}/applications"));
    let application = first_of(&applications, "applications", "application");
    assert_eq!((&application["name"], &application["plan_id"]), (&json!("API signup"), &plan["id"]));
    // To the service that the tenant had at first, and to this.
    let subscriptions = world.get(&format!("{path}/service_subscriptions")).1;
    let subscription = &subscriptions["service_subscriptions"][1]["service_subscription"];
    assert_eq!((&subscription["service_id"], &subscription["state"]), (&service["id"], &json!("live")));
    // Whoever brings a password is there at once.
    let with_password =
        json!({"org_name": "b", "username": "bee", "password": "secret one", "email": "b@b.example"});
    assert_eq!(world.made("signup", with_password)["state"], "approved");
    let (_, xml) = world.xml(Method::Post, "signup", json!({"org_name": "Sea", "username": "sea"}));
    assert!(xml.contains("<org_name>Sea</org_name>") && xml.contains("<applications><application>"), "{xml}");
}

#[test]
fn a_signup_that_is_wrong_leaves_nothing() {
    let world = World::new();
    assert_eq!(
        world.post("signup", json!({"username": "x", "email": "nobody"})),
        (
            422,
            json!({"errors": {
                "org_name": ["can't be blank"],
                "username": ["is too short (minimum is 3 characters)"],
                "email": ["should look like an email address"],
            }})
        )
    );
    assert_eq!(
        world.post("signup", json!({"org_name": "A", "username": "abc", "account_plan_id": 99})).0,
        404
    );
    assert_eq!(world.post("signup", json!({"org_name": "A", "username": "abc", "password": "short"})).0, 422);
    signup(&world, "taken");
    let again = world.post("signup", json!({"org_name": "Other", "username": "TAKEN"}));
    assert_eq!(again, (422, json!({"errors": {"username": ["has already been taken"]}})));
    assert_eq!(world.get("accounts").1["accounts"].as_array().unwrap().len(), 1);
}

#[test]
fn an_account_is_found_changed_decided_on_and_deleted_with_all_that_is_its_own() {
    let world = World::new();
    let (path, account) = signup(&world, "acme");
    for asked in [
        json!({"username": "Acme"}),
        json!({"user_id": world.get(&format!("{path}/users")).1["users"][0]["user"]["id"]}),
    ] {
        let (status, found) = world.call(Method::Get, "accounts/find", asked);
        assert_eq!((status, &found["account"]["id"]), (200, &account["id"]));
    }
    assert_eq!(world.call(Method::Get, "accounts/find", json!({"username": "nobody"})).0, 404);
    assert_eq!(world.get("accounts/find").0, 404);
    let mut sent = account.clone();
    sent["org_name"] = "Acme Inc.".into();
    sent["monthly_charging_enabled"] = false.into();
    let (_, changed) = world.put(&path, sent);
    assert_eq!(changed["account"]["org_name"], "Acme Inc.");
    assert_eq!(changed["account"]["monthly_charging_enabled"], false);
    for (event, state) in [("approve", "approved"), ("make_pending", "pending"), ("reject", "rejected")] {
        let (status, turned) = world.put(&format!("{path}/{event}"), json!({}));
        assert_eq!((status, &turned["account"]["state"]), (200, &json!(state)), "{event}");
    }
    assert_eq!(
        world.put(&format!("{path}/reject"), json!({})),
        (422, json!({"errors": {"state": ["cannot transition via \"reject\""]}}))
    );
    let (_, rejected) = world.call(Method::Get, "accounts", json!({"state": "rejected"}));
    assert_eq!(rejected["accounts"].as_array().unwrap().len(), 1);
    let plan = world.made("account_plans", json!({"name": "Other"}));
    let (status, moved) = world.put(&format!("{path}/change_plan"), json!({"plan_id": plan["id"]}));
    assert_eq!((status, &moved["account_plan"]["id"]), (200, &plan["id"]));
    assert_eq!(world.delete(&format!("account_plans/{}", plan["id"])).0, 403);
    let message = world.made(&format!("{path}/messages"), json!({"subject": "Hello", "body": "there"}));
    assert_eq!(message["body"], "there");
    assert_eq!((world.delete(&path), world.get(&path).0), ((200, Value::Null), 404));
    assert_eq!(world.call(Method::Get, "accounts/find", json!({"username": "acme"})).0, 404);
    assert_eq!(world.delete(&format!("account_plans/{}", plan["id"])).0, 200);
    // Its user's name is free again.
    signup(&world, "acme");
}

#[test]
fn users_of_an_account_come_go_and_change_what_they_are() {
    let world = World::new();
    let (path, _) = signup(&world, "acme");
    let root = format!("{path}/users");
    let user = world.made(&root, json!({"username": "second", "email": "second@acme.example"}));
    assert_eq!((&user["state"], &user["role"]), (&json!("pending"), &json!("member")));
    let own = format!("{root}/{}", user["id"]);
    let changed = world.put(&own, json!({"username": "renamed", "email": "r@acme.example"})).1;
    assert_eq!(
        (&changed["user"]["username"], &changed["user"]["email"]),
        (&json!("renamed"), &json!("r@acme.example"))
    );
    for (event, field, what) in [
        ("activate", "state", "active"),
        ("suspend", "state", "suspended"),
        ("unsuspend", "state", "active"),
        ("admin", "role", "admin"),
        ("member", "role", "member"),
    ] {
        let (status, turned) = world.put(&format!("{own}/{event}"), json!({}));
        assert_eq!((status, &turned["user"][field]), (200, &json!(what)), "{event}");
    }
    // With a user there, the account is approved.
    assert_eq!(world.get(&path).1["account"]["state"], "approved");
    let (status, body) = world.put(&format!("{own}/unsuspend"), json!({}));
    assert_eq!((status, &body["error"]["event"]), (422, &json!("unsuspend")));
    world.put(&format!("{own}/suspend"), json!({}));
    let (status, body) = world.put(&format!("{own}/suspend"), json!({}));
    assert_eq!((status, &body["error"]["from"]), (422, &json!("suspended")));
    let (_, suspended) = world.call(Method::Get, &root, json!({"state": "suspended"}));
    assert_eq!(suspended["users"].as_array().unwrap().len(), 1);
    assert_eq!(world.post(&root, json!({"username": "renamed"})).0, 422);
    // The old name is free, the new one after the user is gone.
    world.made(&root, json!({"username": "second"}));
    assert_eq!((world.delete(&own).0, world.get(&own).0), (200, 404));
    world.made(&root, json!({"username": "renamed"}));
    let (other, _) = signup(&world, "other");
    assert_eq!(world.get(&format!("{other}/users/{}", user["id"])).0, 404);
}

#[test]
fn an_account_subscribes_to_a_service_once() {
    let world = World::new();
    let (path, account) = signup(&world, "acme");
    let service = world.made("services", json!({"name": "Later"}));
    let plans = format!("services/{}/service_plans", service["id"]);
    let plan = world.made(&plans, json!({"name": "Careful", "approval_required": true}));
    let root = format!("{path}/service_subscriptions");
    let made = world.made(&root, json!({"plan_id": plan["id"]}));
    assert_eq!((&made["state"], &made["user_account_id"]), (&json!("pending"), &account["id"]));
    assert_eq!(world.post(&root, json!({"plan_id": plan["id"]})).0, 422);
    let own = format!("{root}/{}", made["id"]);
    let (status, moved) = world.put(&format!("{own}/change_plan"), json!({"plan_id": plan["id"]}));
    assert_eq!((status, &moved["service_plan"]["id"]), (200, &plan["id"]));
    assert_eq!(world.put(&format!("{own}/approve"), json!({})).1["service_subscription"]["state"], "live");
    assert_eq!(world.put(&format!("{own}/approve"), json!({})).0, 422);
    assert_eq!(world.delete(&format!("{plans}/{}", plan["id"])).0, 403);
    assert_eq!((world.delete(&own).0, world.get(&own).0), (200, 404));
    assert_eq!(world.delete(&format!("{plans}/{}", plan["id"])).0, 200);
}
