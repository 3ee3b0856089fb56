//! A plugin, whole: notes that operators keep on applications. It is the example of the README, and a fault may be put
//! into it, to see that nobody else feels it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tollgate::engine::request::{AuthRequest, Call as Asked, Credentials, Usage};
use tollgate::engine::{Engine, Recovery};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::model::catalog::Change;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{ApplicationId, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::UnixMillis;
use tollgate::plugin::call::{Answer, Call, Method};
use tollgate::plugin::host::{Accompanied, Desk, DeskError, Host, Hosting, Plugin};
use tollgate::plugin::records::{Record, Records};
use tollgate::store::shelf::Table;
use tollgate::store::{Shelf, ShelfError};

// The plugin.

/// A note on an application, by the application's id.
#[derive(Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Record for Note {
    const TABLE: Table = Table("notes");
}

struct Notes {
    desk: Arc<Desk>,
    panics: AtomicBool,
}

impl Notes {
    /// Puts a note on an application, and renames it: the catalog and the note change together.
    fn put(&self, id: u64, text: &str) -> Result<Answer, DeskError<CommandError>> {
        let ((), ticket) = self.desk.command(|draft, records| {
            draft.edit_application(ApplicationId(id), |it| it.name = format!("noted: {text}").into())?;
            let saved = records.save(id, &Note { text: text.to_owned() });
            saved.map_err(|_| CommandError::Unknown { what: "note", id })
        })?;
        Ok(Answer { durable: Some(ticket), ..Answer::json(200, &json!({"note": text})) })
    }
}

impl Plugin for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/notes/")
    }

    fn answer(&self, call: &Call) -> Answer {
        assert!(!self.panics.load(Ordering::Relaxed), "told to");
        let Ok(id) = call.path["/notes/".len()..].parse() else { return Answer::json(404, &Value::Null) };
        match call.method {
            Method::Put => {
                let text = call.parameters.get("text").and_then(Value::as_str).unwrap_or_default();
                self.put(id, text).unwrap_or_else(|error| Answer::json(422, &json!(error.to_string())))
            }
            _ => match self.desk.look().map(|view| view.records.find::<Note>(id)) {
                Ok(Ok(Some(note))) => Answer::json(200, &json!({"note": note.text})),
                Ok(Ok(None)) => Answer::json(404, &Value::Null),
                _ => Answer::json(503, &Value::Null),
            },
        }
    }

    fn accompany(&self, accompanied: &Accompanied<'_>, records: &mut Records<'_>) -> Result<(), ShelfError> {
        assert!(!self.panics.load(Ordering::Relaxed), "told to");
        for change in accompanied.changes {
            if let Change::DeleteApplication(id) = change {
                records.remove::<Note>(id.0);
            }
        }
        Ok(())
    }
}

// What it lives in.

const NOW: UnixMillis = UnixMillis(1_795_355_130_000);

struct World {
    engine: Arc<Engine>,
    notes: Arc<Notes>,
    hosting: Option<Hosting>,
    flusher: Option<JoinHandle<()>>,
    dir: Arc<tempfile::TempDir>,
}

impl World {
    fn open(dir: Arc<tempfile::TempDir>) -> World {
        let mut recovery = Recovery::default();
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        let (journal, _) =
            Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), visit).unwrap();
        let engine = Arc::new(recovery.finish(journal, [7; 16]));
        let desk = Desk::open("notes", &engine, Shelf::open(&dir.path().join("shelf")).unwrap()).unwrap();
        let notes = Arc::new(Notes { desk: Arc::clone(&desk), panics: AtomicBool::new(false) });
        let hosting =
            Host::default().with(Arc::clone(&notes) as Arc<dyn Plugin>, desk).start(&engine).unwrap();
        let flusher = {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || engine.run_flusher(|| NOW, |_| {}).unwrap())
        };
        World { engine, notes, hosting: Some(hosting), flusher: Some(flusher), dir }
    }

    fn new() -> (World, ServiceId, u64) {
        let world = World::open(Arc::new(tempfile::tempdir().unwrap()));
        let create = |draft: &mut Draft<'_>| {
            let tenant = draft.create_tenant("acme", "pkey")?;
            let backend_version = BackendVersion::UserKey;
            let new = NewService { tenant, external_id: None, name: "api", backend_version };
            let service = draft.create_service(&new)?;
            draft.create_metric(service, "hits", None)?;
            let plan = draft.create_plan(service, None, "Basic")?;
            let new = NewApplication { service, account: None, app_id: "a", name: "a", plan };
            let id = draft.create_application(&new)?;
            draft.edit_application(id, |it| it.user_keys.push(Secret::new("key")))?;
            Ok((service, id.0))
        };
        let ((service, id), _) = world.engine.change(create).unwrap();
        (world, service, id)
    }

    fn call(&self, method: Method, path: &str, text: &str) -> (u16, Value) {
        let mut parameters = Map::new();
        parameters.insert("text".to_owned(), text.into());
        let call = Call {
            method,
            tenant: None,
            path: path.to_owned(),
            parameters,
            basic: None,
            accept: None,
            etag: None,
            host: None,
            scheme: "http",
        };
        let answer = self.hosting.as_ref().unwrap().host().answer(&call).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn name(&self, id: u64) -> String {
        self.engine.catalog().applications.get(id).unwrap().name.to_string()
    }

    fn is_authorized(&self) -> bool {
        let request = AuthRequest {
            call: Asked::Authorize,
            oauth: false,
            credentials: Credentials { provider_key: Some("pkey"), ..Credentials::default() },
            app_id: None,
            user_key: Some("key"),
            app_key: None,
            referrer: None,
            redirect: None,
            usage: Usage::Amounts(&[]),
            log_code: None,
            flat_usage: false,
            no_body: false,
        };
        self.engine.authorize(&request, NOW, |answer| answer.denial.is_none()).unwrap()
    }

    /// Ends as a crash does: what the journal has synced is there, of the shelf what was settled.
    fn crash(mut self) -> World {
        self.stop_flusher();
        // The shelf's file as it is on disk, and not as closing it would make it.
        let (shelf, copy) = (self.dir.path().join("shelf"), self.dir.path().join("copy"));
        std::fs::copy(&shelf, &copy).unwrap();
        self.hosting.take().unwrap().stop(true);
        let dir = Arc::clone(&self.dir);
        drop(self);
        std::fs::rename(&copy, &shelf).unwrap();
        World::open(dir)
    }

    fn stop_flusher(&mut self) {
        self.engine.stop_flusher();
        if let Some(flusher) = self.flusher.take() {
            flusher.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_flusher();
        if let Some(hosting) = self.hosting.take() {
            hosting.stop(true);
        }
    }
}

#[test]
fn a_command_changes_the_catalog_and_the_records_together_or_neither() {
    let (world, _, id) = World::new();
    let path = format!("/notes/{id}");
    assert_eq!(world.call(Method::Put, &path, "paid late"), (200, json!({"note": "paid late"})));
    assert_eq!(world.call(Method::Get, &path, ""), (200, json!({"note": "paid late"})));
    assert_eq!(world.name(id), "noted: paid late");
    // A name that is too long for the catalog: nothing of it.
    assert_eq!(world.call(Method::Put, &path, &"x".repeat(300)).0, 422);
    assert_eq!(world.call(Method::Get, &path, "").1, json!({"note": "paid late"}));
    assert_eq!(world.call(Method::Put, "/notes/999", "nobody").0, 422);
    assert_eq!(world.call(Method::Get, "/notes/999", "").0, 404);
}

#[test]
fn what_others_delete_takes_its_records_along() {
    let (world, _, id) = World::new();
    world.call(Method::Put, &format!("/notes/{id}"), "gone soon");
    world.engine.change(|draft| draft.delete_application(ApplicationId(id))).unwrap();
    assert_eq!(world.call(Method::Get, &format!("/notes/{id}"), "").0, 404);
}

#[test]
fn after_a_crash_the_journal_brings_what_the_shelf_had_not_settled() {
    let (mut world, _, id) = World::new();
    let path = format!("/notes/{id}");
    for number in 0..20 {
        let text = number.to_string();
        world.call(Method::Put, &path, &text);
        world = world.crash();
        assert_eq!(world.call(Method::Get, &path, ""), (200, json!({"note": text})));
        assert_eq!(world.name(id), format!("noted: {text}"));
    }
}

#[test]
fn a_panic_is_answered_and_felt_by_nobody_else() {
    let (world, service, id) = World::new();
    world.notes.panics.store(true, Ordering::Relaxed);
    assert_eq!(world.call(Method::Get, &format!("/notes/{id}"), "").0, 500);
    // A command of somebody else, of which the plugin's part fails.
    world.engine.change(|draft| draft.create_plan(service, None, "Other")).unwrap();
    world.notes.panics.store(false, Ordering::Relaxed);
    assert_eq!(world.call(Method::Put, &format!("/notes/{id}"), "well again").0, 200);
}

#[test]
fn a_plugin_that_is_slow_with_a_command_keeps_no_decision_and_no_flush_waiting() {
    let (world, _, id) = World::new();
    let slow = Duration::from_millis(500);
    let building = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let desk = &world.notes.desk;
        let command = scope.spawn(|| {
            let build = |draft: &mut Draft<'_>, _: &mut Records<'_>| {
                building.store(true, Ordering::Release);
                std::thread::sleep(slow);
                draft.edit_application(ApplicationId(id), |it| it.name = "slow".into())
            };
            desk.command(build).unwrap();
        });
        while !building.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        for _ in 0..100 {
            assert!(world.is_authorized());
        }
        world.engine.durable_blocking(world.engine.ticket()).unwrap();
        assert!(began.elapsed() < slow, "decisions or a flush waited for the plugin");
        command.join().unwrap();
    });
    assert_eq!(world.name(id), "slow");
}

#[test]
fn what_is_looked_at_is_of_one_moment() {
    let (world, _, id) = World::new();
    let path = format!("/notes/{id}");
    world.call(Method::Put, &path, "0");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..300 {
                world.call(Method::Put, &path, &number.to_string());
            }
            over.store(true, Ordering::Relaxed);
        });
        let mut looks = 0;
        while !over.load(Ordering::Relaxed) {
            let view = world.notes.desk.look().unwrap();
            let name = view.catalog.applications.get(id).unwrap().name.to_string();
            let note = view.records.find::<Note>(id).unwrap().unwrap().text;
            assert_eq!(name, format!("noted: {note}"), "catalog and records of two moments");
            looks += 1;
        }
        assert!(looks > 10);
    });
}
