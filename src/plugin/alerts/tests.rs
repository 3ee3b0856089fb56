//! How many events are kept and listed.

use std::convert::Infallible;
use std::path::Path;

use super::*;
use crate::engine::Recovery;
use crate::journal::entry::Entry;
use crate::journal::{Journal, Options, Sequence};
use crate::model::alert::Traffic;
use crate::model::draft::{Draft, NewApplication, NewService};
use crate::model::id::ApplicationId;
use crate::model::record::BackendVersion;
use crate::model::time::UnixMillis;
use crate::plugin::follower::Derive;

/// An engine with one application.
fn engine(dir: &Path) -> (Arc<Engine>, ApplicationId) {
    let nothing = |_, _, _| Ok::<(), Infallible>(());
    let (journal, _) = Journal::open(&dir.join("journal"), Options::default(), Sequence(0), nothing).unwrap();
    let engine = Arc::new(Recovery::default().finish(journal, [1; 16]));
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("t", "key")?;
        let backend_version = BackendVersion::AppId;
        let service =
            draft.create_service(&NewService { tenant, external_id: None, name: "s", backend_version })?;
        let plan = draft.create_plan(service, None, "p")?;
        draft.create_application(&NewApplication { service, account: None, app_id: "a", name: "a", plan })
    };
    let (application, _) = engine.change(build).unwrap();
    (engine, application)
}

/// Puts so many events on the shelf.
fn fill(shelf: &Shelf, count: u64) {
    let (service, application, kind) = ("s".into(), "a".into(), EventKind::FirstDailyTraffic);
    let event = Event { id: 0, at_s: 1, service, application, kind }.encode();
    shelf
        .write(|writing| {
            (1..=count).try_for_each(|id| writing.put(EVENTS, &id.to_be_bytes(), &event))?;
            writing.put(META, NEXT_ID, &(count + 1).to_le_bytes())
        })
        .unwrap();
}

#[test]
fn as_many_events_are_kept_as_may_be_and_then_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, application) = engine(dir.path());
    let shelf = Shelf::open(&dir.path().join("alerts")).unwrap();
    let mut deriver = Deriver::new(engine);
    let mut told_of = |day| {
        deriver.entry(UnixMillis(1), Entry::Traffic(vec![Traffic { application, contract: 1, day }]));
        let kept = shelf.write(|writing| deriver.write(writing).and_then(|()| writing.len(EVENTS)));
        deriver.written();
        let oldest = shelf.read(|reading| reading.first_key(EVENTS, &[])).unwrap().unwrap();
        (kept.unwrap(), u64::from_be_bytes(oldest.try_into().unwrap()))
    };
    fill(&shelf, EVENTS_MAX - 2);
    // The first traffic of all, and of this day.
    assert_eq!(told_of(20_000), (EVENTS_MAX, 1));
    assert_eq!(told_of(20_000), (EVENTS_MAX, 1), "this day was told of");
    assert_eq!(told_of(19_999), (EVENTS_MAX, 1), "a later one was");
    assert_eq!(told_of(20_001), (EVENTS_MAX, 2));
}

#[test]
fn as_many_events_are_listed_as_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = engine(dir.path());
    let flusher = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || engine.run_flusher(|| UnixMillis(1), |_| {}))
    };
    let shelf = Shelf::open(&dir.path().join("alerts")).unwrap();
    fill(&shelf, EVENTS_LISTED_MAX as u64 + 1);
    let (alerts, thread) = Alerts::start(&engine, shelf).unwrap();
    let mut listed = Vec::new();
    for id in 1..=3 {
        let events = alerts.events().unwrap();
        assert_eq!(events[0].id, id);
        listed.push(events.len());
        assert!(alerts.delete(id).unwrap());
    }
    assert_eq!(listed, [EVENTS_LISTED_MAX, EVENTS_LISTED_MAX, EVENTS_LISTED_MAX - 1]);
    drop(alerts);
    thread.join().unwrap();
    engine.stop_flusher();
    flusher.join().unwrap().unwrap();
}
