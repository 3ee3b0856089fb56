//! What is told of, and what is not.

use super::*;

/// Does everything that there is an event of, and something that there is none of.
fn do_everything(world: &World, name: &str) {
    let made = |kind: &str| {
        let ask = json!({"name": format!("{name}{kind}"), "backend_version": kind});
        let service = world.made("services", ask)["id"].clone();
        let plans = format!("services/{service}/application_plans");
        [(); 2].map(|()| world.made(&plans, json!({"name": "Plan"}))["id"].clone())
    };
    let done = |(status, body): (u16, Value)| assert!(status < 300, "{status} {body}");
    let account = format!("accounts/{}", sign_up(world, name));
    done(world.put(&account, json!({"org_name": format!("{name} renamed")})));
    let plan = world.made("account_plans", json!({"name": name}))["id"].clone();
    done(world.put(&format!("{account}/change_plan"), json!({"plan_id": plan})));
    let user = world.made(&format!("{account}/users"), json!({"username": format!("{name}2")}))["id"].clone();
    let user = format!("{account}/users/{user}");
    done(world.put(&user, json!({"email": format!("{name}@example.com")})));
    done(world.put(&user, json!({"email": format!("{name}@example.com")})));
    done(world.delete(&user));
    for (kind, plans) in ["1", "2"].map(|kind| (kind, made(kind))) {
        let ask = json!({"plan_id": plans[0], "name": "App"});
        let id = world.made(&format!("{account}/applications"), ask)["id"].clone();
        let own = format!("{account}/applications/{id}");
        done(world.put(&own, json!({"description": "about it"})));
        done(world.put(&format!("{own}/change_plan"), json!({"plan_id": plans[1]})));
        if kind == "1" {
            done(world.put(&own, json!({"user_key": format!("{name}-key")})));
        } else {
            done(world.post(&format!("{own}/keys"), json!({"key": "another-key"})));
            done(world.delete(&format!("{own}/keys/another-key")));
        }
        done(world.put(&format!("{own}/suspend"), json!({})));
        done(world.delete(&own));
    }
    // With it goes a user.
    done(world.delete(&account));
}

#[test]
fn each_event_is_told_if_its_switch_is_on_and_providers_are_told_of() {
    let world = World::new();
    tell_all(&world, "http://127.0.0.1:1/");
    do_everything(&world, "all");
    let all = waiting(&world);
    let account = ["account created", "user created", "account updated", "account plan_changed"];
    let user = ["user created", "user updated", "user deleted"];
    let application = |keys: &[&'static str]| {
        let before = ["application created", "application updated", "application plan_changed"];
        let after = ["application suspended", "application deleted"];
        [&before[..], keys, &after[..]].concat()
    };
    let user_key = application(&["application user_key_updated", "application key_updated"]);
    let app_key = application(&["application key_created", "application key_deleted"]);
    let end = ["user deleted", "account deleted"];
    assert_eq!(all, [&account[..], &user, &user_key, &app_key, &end].concat());

    let clear = || {
        let cleared = world.admin.desk.command(|_, records| {
            for (key, _) in records.all_rows(outbox::Waiting::TABLE, &[])? {
                records.delete(outbox::Waiting::TABLE, &key);
            }
            Ok::<_, ShelfError>(())
        });
        cleared.unwrap();
    };
    for (number, event) in EVENTS.into_iter().enumerate() {
        for (column, (provider_actions, active)) in
            [(true, true), (false, true), (true, false)].iter().enumerate()
        {
            clear();
            let mut ask = json!({"provider_actions": provider_actions, "active": active});
            EVENTS.iter().for_each(|other| ask[other] = (*other == event).into());
            assert_eq!(world.put("webhooks", ask).0, 200);
            // The two that tell nothing are asked once: they do not depend on the event.
            if column == 0 || number == 0 {
                do_everything(&world, &format!("n{number}c{column}"));
            }
            let named: Vec<_> =
                all.iter().filter(|it| format!("{}_on", it.replace(' ', "_")) == event).collect();
            assert!(!named.is_empty(), "{event}: nothing does it");
            let expected = if column == 0 { named } else { Vec::new() };
            assert_eq!(
                waiting(&world).iter().collect::<Vec<_>>(),
                expected,
                "{event} {provider_actions} {active}"
            );
        }
    }
}

#[test]
fn what_the_internal_api_and_those_who_administer_do_is_not_told() {
    let world = World::new();
    tell_all(&world, "http://127.0.0.1:1/");
    let account = |draft: &mut crate::model::draft::Draft<'_>| draft.create_account(world.tenant, "Pushed");
    world.engine.change(account).unwrap();
    world
        .made("users", json!({"username": "colleague", "email": "c@example.com", "password": "long enough"}));
    assert_eq!(waiting(&world), [""; 0]);
}
