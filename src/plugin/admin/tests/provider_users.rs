//! Users of the tenant itself, what they may do, and invitations.

use super::*;

fn user(world: &World, name: &str) -> Value {
    let ask = json!({"username": name, "email": format!("{name}@example.com"), "password": "123456"});
    world.made("users", ask)
}

#[test]
fn a_user_begins_as_a_pending_member_and_may_become_more() {
    let world = World::new();
    let made = user(&world, "someone");
    assert_eq!((&made["state"], &made["role"]), (&json!("pending"), &json!("member")));
    assert_eq!(made.get("password"), None);
    let path = format!("users/{}", made["id"]);
    assert_eq!(world.put(&format!("{path}/admin"), json!({})).1["user"]["role"], "admin");
    assert_eq!(world.put(&format!("{path}/member"), json!({})).1["user"]["role"], "member");
    assert_eq!(world.put(&format!("{path}/suspend"), json!({})).0, 422);
    for (event, state) in [("activate", "active"), ("suspend", "suspended"), ("unsuspend", "active")] {
        let (status, body) = world.put(&format!("{path}/{event}"), json!({}));
        assert_eq!((status, &body["user"]["state"]), (200, &json!(state)), "{event}");
    }
    let mut sent = made.clone();
    sent["email"] = "other@example.com".into();
    assert_eq!(world.put(&path, sent).1["user"]["email"], "other@example.com");
    let listed = |ask: Value| world.call(Method::Get, "users", ask).1["users"].as_array().unwrap().len();
    assert_eq!((listed(json!({})), listed(json!({"role": "member"}))), (2, 1));
    assert_eq!((listed(json!({"state": "active"})), listed(json!({"state": "pending"}))), (2, 0));
    assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
    // The names are free again.
    user(&world, "someone");
}

#[test]
fn what_is_wrong_with_a_user_is_said_field_by_field() {
    let world = World::new();
    let (status, body) = world.post("users", json!({"username": "x", "email": "nobody"}));
    let errors = json!({"errors": {
        "password": ["can't be blank"],
        "username": ["is too short (minimum is 3 characters)"],
        "email": ["should look like an email address"],
    }});
    assert_eq!((status, body), (422, errors));
    for none in [Value::Null, json!(""), json!(" ")] {
        let ask = json!({"username": "nopass", "email": "nopass@example.com", "password": none});
        let (status, body) = world.post("users", ask);
        assert_eq!((status, &body["errors"]["password"]), (422, &json!(["can't be blank"])));
    }
    user(&world, "someone");
    let again = json!({"username": "SomeOne", "email": "SOMEONE@example.com", "password": "123456"});
    let errors = json!({"errors": {
        "username": ["has already been taken"], "email": ["has already been taken"],
    }});
    assert_eq!(world.post("users", again), (422, errors));
}

#[test]
fn the_last_administrator_stays_and_nobody_takes_themselves_away() {
    let world = World::new();
    let admin = world.get("users").1["users"][0]["user"]["id"].clone();
    let path = format!("users/{admin}");
    assert_eq!(world.delete(&path), (403, json!({"status": "Forbidden"})));
    assert_eq!(world.put(&format!("{path}/suspend"), json!({})).0, 403);
    let (status, body) = world.put(&format!("{path}/member"), json!({}));
    assert_eq!((status, &body["errors"]["base"][0]), (422, &json!("the last administrator must stay one")));
    // The provider key is nobody's, and yet cannot take the last one away.
    let by_key = |path: &str| world.send(Method::Delete, path, json!({"provider_key": "pkey"}), None).status;
    assert_eq!(by_key(&format!("{path}.json")), 403);
    let other = user(&world, "second")["id"].clone();
    world.put(&format!("users/{other}/admin"), json!({}));
    assert_eq!(by_key(&format!("{path}.json")), 403, "the other cannot log in yet");
    world.put(&format!("users/{other}/activate"), json!({}));
    assert_eq!(by_key(&format!("{path}.json")), 200);
    assert_eq!(world.get("users").0, 403, "the token went with its user");
}

#[test]
fn permissions_bind_the_next_call_of_a_member() {
    let world = World::new();
    let service = world.get("services").1["services"][0]["service"]["id"].clone();
    let member = user(&world, "member")["id"].clone();
    world.put(&format!("users/{member}/activate"), json!({}));
    let path = format!("users/{member}/permissions");
    let shown = |body: Value| {
        let of = &body["permissions"];
        (of["allowed_sections"].clone(), of["allowed_service_ids"].clone())
    };
    assert_eq!(shown(world.get(&path).1), (json!([]), Value::Null));
    let ask = |sections: Value, services: Value| {
        shown(world.put(&path, json!({"allowed_sections": sections, "allowed_service_ids": services})).1)
    };
    let tokens = format!("users/{member}/access_tokens");
    let token = json!({"name": "t", "permission": "rw", "scopes": ["account_management"]});
    assert_eq!(world.post(&tokens, token.clone()), (422, json!({"errors": {"scopes": ["is invalid"]}})));
    let all = ask(json!(["plans", "partners"]), json!([service]));
    assert_eq!(all, (json!(["partners", "plans"]), json!([service])));
    let value = world.made(&tokens, token)["value"].as_str().unwrap().to_owned();
    let status = |path: &str| world.send(Method::Get, path, json!({}), Some(&value)).status;
    let one = format!("services/{service}.json");
    assert_eq!((status("services.json"), status(&one)), (200, 200));
    assert_eq!(ask(json!(["plans", "partners"]), json!(["[]"])).1, json!([]));
    assert_eq!((status("services.json"), status(&one)), (200, 404));
    assert_eq!(ask(json!(["partners"]), Value::Null).1, Value::Null);
    assert_eq!((status("services.json"), status(&one)), (403, 403));
    assert_eq!(ask(json!(["[]"]), json!(["[]"])), (json!([]), json!([])));
    let (status, body) = world.put(&path, json!({"allowed_sections": ["kitchen"]}));
    let errors = json!({"errors": {"allowed_sections": ["is not included in the list"]}});
    assert_eq!((status, body), (422, errors));
    world.put(&format!("users/{member}/admin"), json!({}));
    let (sections, services) = shown(world.get(&path).1);
    assert_eq!((sections.as_array().unwrap().len(), services), (7, Value::Null));
}

#[test]
fn who_is_invited_becomes_a_user_once() {
    let world = World::new();
    let account = world.made("signup", json!({"org_name": "Guests", "username": "first"}))["id"].clone();
    for (root, users) in [
        ("invitations".to_owned(), "users".to_owned()),
        (format!("accounts/{account}/invitations"), format!("accounts/{account}/users")),
    ] {
        assert_eq!(world.post(&root, json!({})), (422, json!({"errors": {"email": ["can't be blank"]}})));
        let made = world.made(&root, json!({"email": "guest@example.com"}));
        let token = made["invitation_token"].clone();
        assert_eq!(world.post(&root, json!({"email": "Guest@example.com"})).0, 422, "it waits already");
        let path = format!("{root}/{}", made["id"]);
        let shown = world.get(&path).1["invitation"].clone();
        assert_eq!((&shown["state"], shown.get("invitation_token")), (&json!("pending"), None));
        let accept = format!("{root}/accept");
        assert_eq!(world.post(&accept, json!({"invitation_token": "x", "password": "123456"})).0, 404);
        let ask = json!({"invitation_token": token, "username": "guest", "password": "123456"});
        let user = world.made(&accept, ask.clone());
        assert_eq!(
            (&user["email"], &user["state"], &user["role"]),
            (&json!("guest@example.com"), &json!("active"), &json!("member"))
        );
        assert_eq!(world.get(&format!("{users}/{}", user["id"])).0, 200);
        let (status, body) = world.post(&accept, ask);
        assert_eq!((status, &body["errors"]["base"][0]), (422, &json!("the invitation is accepted")));
        assert_eq!(world.get(&root).1["invitations"][0]["invitation"]["user_id"], user["id"]);
        assert_eq!((world.delete(&path).0, world.get(&path).0), (200, 404));
    }
    let made = world.made("invitations", json!({"email": "late@example.com"}));
    world.now.fetch_add(super::super::invitations::GOOD_FOR_MS, Ordering::Relaxed);
    let ask = json!({"invitation_token": made["invitation_token"], "username": "late", "password": "123456"});
    let (status, body) = world.post("invitations/accept", ask);
    assert_eq!((status, &body["errors"]["base"][0]), (422, &json!("the invitation is expired")));
}
