//! Commands that take long to build hold up no others, and see what the others did.

use super::document::{exported, import};
use super::*;

#[test]
fn an_import_is_built_while_other_commands_go_on_and_again_if_one_did() {
    let world = World::new();
    let desk = &world.admin.desk;
    let mut built = Vec::new();
    let done = desk.command_ahead(|draft, _| {
        let services = draft.catalog().services_of(world.tenant).len();
        if built.is_empty() {
            // Would wait for ever if this one held it up.
            std::thread::scope(|scope| {
                let other = scope.spawn(|| world.made("services", json!({"name": "In between"})));
                other.join().unwrap();
            });
        }
        built.push(services);
        draft.create_tenant("Next", "next key").map_err(|error| error.to_string())
    });
    assert!(done.is_ok());
    assert_eq!(built, [1, 2], "what was built over the catalog of before is not what is done");
    // What was said against it then is not believed either.
    let mut told = 0;
    let done = desk.command_ahead(|_, _| {
        told += 1;
        if told == 1 {
            world.made("services", json!({"name": "Another"}));
            return Err("nothing of the name");
        }
        Ok(told)
    });
    assert_eq!(done.map(|(told, _)| told).ok(), Some(2));
}

#[test]
fn imports_that_come_together_with_other_changes_lose_none() {
    let world = World::new();
    let at_once = 4;
    std::thread::scope(|scope| {
        for who in 0..at_once {
            let world = &world;
            scope.spawn(move || {
                for number in 0..10 {
                    let text = format!("version: 1\naccounts: [{{org_name: account-{who}-{number}}}]\n");
                    let (status, body) = import(world, json!({"document": text, "apply": true}));
                    assert_eq!((status, &body["added"]), (200, &json!(1)), "{body}");
                    world.made("services", json!({"name": format!("service {who} {number}")}));
                }
            });
        }
    });
    let (document, _) = exported(&world);
    for (who, number) in (0..at_once).flat_map(|who| (0..10).map(move |number| (who, number))) {
        assert_eq!(document.matches(&format!("org_name: account-{who}-{number}\n")).count(), 1);
        assert_eq!(document.matches(&format!("system_name: service_{who}_{number}\n")).count(), 1);
    }
}
