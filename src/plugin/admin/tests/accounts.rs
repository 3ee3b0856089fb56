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
fn accounts_wait_for_approval_if_the_setting_or_the_default_plan_says_so() {
    let world = World::new();
    let state = |name: &str| {
        let ask = json!({"org_name": name, "username": name, "password": "secret one"});
        world.made("signup", ask)["state"].clone()
    };
    let setting = || world.get("settings").1["settings"]["account_approval_required"].clone();
    let plan = first_of(&world.get("account_plans").1, "plans", "account_plan")["id"].clone();
    let plan = format!("account_plans/{plan}");
    assert_eq!((setting(), state("first")), (json!(false), json!("approved")));
    let (status, shown) = world.put("settings", json!({"account_approval_required": true}));
    assert_eq!((status, &shown["settings"]["account_approval_required"]), (200, &json!(true)));
    assert_eq!(world.get(&plan).1["account_plan"]["approval_required"], true);
    assert_eq!((setting(), state("second")), (json!(true), json!("created")));
    // Others stay what they are if it is not sent.
    world.put("settings", json!({"public_search": true}));
    assert_eq!(setting(), true);
    world.put(&plan, json!({"approval_required": false}));
    assert_eq!((setting(), state("third")), (json!(false), json!("approved")));
    let other = world.made("account_plans", json!({"name": "Other", "approval_required": true}));
    world.put(&format!("account_plans/{}/default", other["id"]), json!({}));
    assert_eq!((setting(), state("fourth")), (json!(true), json!("created")));
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
    let user = format!("{path}/users/{}", world.get(&format!("{path}/users")).1["users"][0]["user"]["id"]);
    world.put(&user, json!({"email": "acme@example.com"}));
    for asked in [
        json!({"username": "Acme"}),
        json!({"username": null, "user_id": null, "email": "acme@example.com"}),
        json!({"username": "", "user_id": "", "email": "acme@example.com"}),
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

#[test]
fn a_card_is_what_a_gateway_calls_it_and_nobody_is_shown_that() {
    let world = World::new();
    let (path, account) = signup(&world, "acme");
    assert_eq!(
        (&account["credit_card_stored"], account.get("credit_card_partial_number")),
        (&json!(false), None)
    );
    let own = format!("{path}/credit_card");
    let card = json!({
        "credit_card_token": "cus_secret_of_the_gateway",
        "credit_card_authorize_net_payment_profile_token": "profile_secret",
        "payment_method_id": "pm_secret",
        "credit_card_expiration_year": 2031,
        "credit_card_expiration_month": "4",
        "credit_card_partial_number": "4242",
        "billing_address_name": "Ada Secret",
        "billing_address_address": "1 Secret Street",
        "billing_address_city": "Secretville",
        "billing_address_country": "ES",
    });
    let without = |field: &str| {
        let mut sent = card.clone();
        sent.as_object_mut().unwrap().remove(field);
        let answer = world.send(Method::Put, &format!("{own}.json"), sent, Some(TOKEN));
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    };
    for field in [
        "credit_card_token",
        "credit_card_expiration_year",
        "credit_card_expiration_month",
        "billing_address_name",
        "billing_address_address",
        "billing_address_city",
        "billing_address_country",
    ] {
        assert_eq!(without(field), (400, format!("Required parameter missing: {field}")));
    }
    for (field, bad, good) in [
        ("credit_card_expiration_month", json!(13), json!(12)),
        ("credit_card_expiration_month", json!(0), json!(1)),
        ("credit_card_expiration_year", json!(1999), json!(2000)),
        ("credit_card_expiration_year", json!(10_000), json!(9999)),
        ("credit_card_partial_number", json!("42424"), json!("4242")),
        ("credit_card_partial_number", json!("42x2"), json!("")),
        ("billing_address_city", json!("c".repeat(256)), json!("c".repeat(255))),
    ] {
        let sent = |value: Value| {
            let mut sent = card.clone();
            sent[field] = value;
            world.put(&own, sent)
        };
        let (status, body) = sent(bad);
        assert!(status == 422 && body["errors"][field].is_array(), "{field}: {body}");
        assert_eq!(sent(good).0, 200, "{field}");
    }
    let (status, body) = world.put(&own, card);
    let shown = &body["account"];
    assert_eq!((status, &shown["credit_card_stored"]), (200, &json!(true)));
    assert_eq!(
        (&shown["credit_card_partial_number"], &shown["credit_card_expires_on"]),
        (&json!("4242"), &json!("2031-04-01"))
    );
    let (_, xml) = world.xml(Method::Get, &path, json!({}));
    assert!(xml.contains("<credit_card_expires_on>2031-04-01</credit_card_expires_on>"), "{xml}");
    let (_, log) = world.get("audit_log");
    let (log, account) = (log.to_string(), world.get(&path).1.to_string());
    assert!(log.contains("credit_card") && log.contains("[redacted]"), "{log}");
    for text in [&log, &account, &xml] {
        assert!(!text.to_lowercase().contains("secret"), "{text}");
    }
    assert_eq!(world.delete(&own), (200, Value::Null));
    assert_eq!(world.get(&path).1["account"]["credit_card_stored"], false);
    assert_eq!((world.delete(&own).0, world.delete("accounts/999/credit_card").0), (200, 404));
}

#[test]
fn accounts_are_listed_by_what_was_decided_on_them() {
    let world = World::new();
    let accounts: Vec<_> = (0..6).map(|number| signup(&world, &format!("account {number}"))).collect();
    let events = ["approve", "reject", "approve", "make_pending", "approve"];
    for ((path, _), event) in accounts.iter().zip(events) {
        assert_eq!(world.put(&format!("{path}/{event}"), json!({})).0, 200);
    }
    let listed = |asked: Value| {
        let (status, body) = world.call(Method::Get, "accounts", asked);
        let of = |it: &Value| accounts.iter().position(|(_, made)| made["id"] == it["account"]["id"]);
        let ids: Option<Vec<_>> = body["accounts"].as_array().unwrap().iter().map(of).collect();
        (status, ids.unwrap(), body["metadata"]["total_entries"].as_u64())
    };
    let all = |state: &str| listed(json!({"state": state}));
    assert_eq!(all("approved"), (200, vec![0, 2, 4], None));
    assert_eq!(all("rejected"), (200, vec![1], None));
    assert_eq!((all("pending").1, all("created").1, all("sold").1), (vec![3], vec![5], vec![]));
    assert_eq!(listed(json!({"state": "approved", "per_page": 1, "page": 2})), (200, vec![2], Some(3)));
    // What is decided anew, and what is gone, is listed so.
    let turn = |number: usize, event: &str| {
        assert_eq!(world.put(&format!("{}/{event}", accounts[number].0), json!({})).0, 200);
    };
    turn(0, "reject");
    turn(1, "approve");
    assert_eq!((all("approved").1, all("rejected").1), (vec![1, 2, 4], vec![0]));
    assert_eq!(world.delete(&accounts[0].0).0, 200);
    assert_eq!((all("rejected").1, listed(json!({})).1), (vec![], vec![1, 2, 3, 4, 5]));
    // Another tenant's are its own.
    let (other, _) = world.engine.change(|draft| draft.create_tenant("Other", "other key")).unwrap();
    world.admin.begin(other, "other's token").unwrap();
    let made = world.send(
        Method::Post,
        "signup.json",
        json!({"org_name": "Other", "username": "other"}),
        Some("other's token"),
    );
    assert_eq!(made.status, 201);
    assert_eq!(all("created").1, [5]);
}
