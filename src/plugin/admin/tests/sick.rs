//! A shelf whose disk takes no writes for a while, with commands from all sides.

use std::time::{Duration, Instant};

use super::*;
use crate::engine::ChangeError;
use crate::journal::disk_memory::{Fault, MemoryDisk};
use crate::model::id::ServiceId;

/// Until it is so.
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(20), "it does not come to be");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the log says of services, the oldest first: where the change came from, and what it changed.
fn log(world: &World) -> Vec<(String, Value)> {
    let (status, body) = world.call(Method::Get, "audit_log", json!({"object_type": "service"}));
    assert_eq!(status, 200, "{body}");
    let entries = body["audit_log"].as_array().unwrap().iter().rev();
    let said = |it: &Value| {
        let entry = &it["entry"];
        let object = entry["objects"].as_array().unwrap().iter().find(|it| it["type"] == "service");
        (entry["origin"].as_str().unwrap().to_owned(), object.unwrap()["after"].clone())
    };
    entries.map(said).collect()
}

#[test]
fn while_the_shelf_cannot_be_written_changes_from_all_sides_are_refused_and_none_that_was_made_is_lost() {
    let disk = MemoryDisk::default();
    let world = World::with(Shelf::open_on(disk.clone(), "shelf").unwrap());
    let made = world.made("services", json!({"name": "Sick"}))["id"].clone();
    let (path, id) = (format!("services/{made}"), ServiceId(made.as_u64().unwrap()));
    let rename = |name: &str| world.engine.change(|draft| draft.edit_service(id, |it| it.name = name.into()));
    rename("pushed before").unwrap();
    // Nothing is left to be put on disk, which would fail by itself before the next call.
    wait_for(|| world.admin.desk.keeper().settle().is_ok());

    let _ = disk.clone().with_fault(Some(Fault::Freeze(0)));
    // Answered, so it is in the journal, though the shelf will never put it on disk.
    assert_eq!(world.put(&path, json!({"description": "answered"})).0, 200);
    wait_for(|| world.admin.desk.keeper().is_behind());
    let last = world.engine.journal().last_appended();
    for name in ["lost", "lost too"] {
        assert!(matches!(rename(name), Err(ChangeError::Unread(_))));
    }
    assert_eq!((world.put(&path, json!({"description": "refused"})).0, world.get(&path).0), (503, 503));
    assert_eq!(world.engine.journal().last_appended(), last, "nothing of them is in the journal");

    // Well again, without a start.
    let _ = disk.with_fault(None);
    wait_for(|| rename("pushed again").is_ok());
    rename("pushed after").unwrap();
    assert_eq!(world.get(&path).1["service"]["description"], "answered");
    let entries = log(&world);
    let said: Vec<_> = entries[1..].iter().map(|(origin, after)| (origin.as_str(), after.clone())).collect();
    let (people, pushes) = ("admin API", "internal API");
    assert_eq!(
        said,
        [
            (pushes, json!({"name": "pushed before"})),
            (people, json!({"description": "answered"})),
            (pushes, json!({"name": "pushed again"})),
            (pushes, json!({"name": "pushed after"})),
        ]
    );
}
