//! How much there may be of it, and whose it is.

use super::*;

/// Lays so many events into the outbox.
fn lay(world: &World, count: usize) {
    let laid = world.admin.desk.command(|draft, records| {
        for _ in 0..count {
            let waiting = outbox::Waiting { at: NOW, url: "u".into(), event: "<event/>".into() };
            records.save_at(&pair_key(world.tenant.0, draft.take_id()), &waiting)?;
        }
        Ok::<_, ShelfError>(())
    });
    laid.unwrap();
}

#[test]
fn so_many_events_wait_and_the_newest_fails() {
    let world = World::new();
    tell_of_accounts(&world, "http://127.0.0.1:1/");
    lay(&world, outbox::WAITING_MAX - 1);
    sign_up(&world, "fits");
    let count = || {
        let view = world.admin.desk.look().unwrap();
        view.records.all_rows(outbox::Waiting::TABLE, &[]).unwrap().len()
    };
    assert_eq!((count(), failures(&world)), (outbox::WAITING_MAX, Vec::new()));
    sign_up(&world, "beyond");
    let failed = failures(&world);
    assert_eq!((count(), failed.len()), (outbox::WAITING_MAX, 1));
    assert_eq!(failed[0]["error"], "1000 events wait already, which is the most");
    assert!(failed[0]["event"].as_str().unwrap().contains("<org_name>beyond</org_name>"));
    // What goes is told of what can be: all of it is there, or in the failures, the oldest of which go.
    let add = |count: usize| {
        let added = world.admin.desk.command(|draft, records| {
            let failure = |id| {
                let (error, url, event) = (format!("laid {id}"), String::new(), String::new());
                records.save_at(&pair_key(world.tenant.0, id), &Failure { time: NOW, error, url, event })
            };
            (0..count).map(|_| draft.take_id()).try_for_each(failure)
        });
        added.unwrap();
    };
    add(FAILURES_MAX - 2);
    sign_up(&world, "the last to be kept");
    assert_eq!((failures(&world).len(), &failures(&world)[0]["id"]), (FAILURES_MAX, &failed[0]["id"]));
    sign_up(&world, "one more");
    let kept = failures(&world);
    assert_eq!(kept.len(), FAILURES_MAX);
    assert!(kept[0]["error"].as_str().unwrap().starts_with("laid"), "{}", kept[0]);
    assert!(kept.last().unwrap()["event"].as_str().unwrap().contains("one more"));
}

#[test]
fn a_tenant_that_goes_takes_its_outbox_with_it() {
    let world = World::new();
    tell_of_accounts(&world, "http://127.0.0.1:1/");
    lay(&world, 3);
    let rows = |table: Table| {
        let view = world.admin.desk.look().unwrap();
        view.records.all_rows(table, &[]).unwrap().iter().filter_map(|(key, _)| id_of(key)).count()
    };
    assert_eq!((rows(outbox::Waiting::TABLE), rows(Webhook::TABLE)), (3, 1));
    let catalog = world.engine.catalog();
    let changes = [Change::DeleteTenant(world.tenant)];
    let gone = Accompanied { before: &catalog, after: &catalog, changes: &changes, is_own: false };
    world.admin.desk.command(|_, records| accompany(&gone, records, NOW)).unwrap();
    assert_eq!((rows(outbox::Waiting::TABLE), rows(Webhook::TABLE)), (0, 0));
}

#[test]
fn other_tenants_cannot_see_what_failed() {
    let world = World::new();
    let token = another_tenant(&world);
    tell_of_accounts(&world, "http://127.0.0.1:1/");
    lay(&world, outbox::WAITING_MAX);
    sign_up(&world, "acme");
    assert_eq!(failures(&world).len(), 1);
    let answer = world.send(Method::Get, "webhooks/failures.json", json!({}), Some(token));
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), json!({"webhooks-failures": []}));
}
