//! Keepers on disks that fail when they are told to: each plugin's shelf on one of its own, the journal on another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::*;
use crate::engine::companion::{Companion, Unread};
use crate::engine::{ChangeError, Recovery};
use crate::journal::disk_memory::{Fault, MemoryDisk};
use crate::journal::{Journal, Options};
use crate::model::catalog::Change;
use crate::model::draft::{CommandError, NewApplication, NewService};
use crate::model::id::ApplicationId;
use crate::model::record::BackendVersion;
use crate::model::time::UnixMillis;
use crate::plugin::call::{Answer, Call};
use crate::plugin::host::{Accompanied, Desk, DeskError, Host, LookError, Plugin};
use crate::plugin::records::{Record, Records};
use crate::store::shelf::Table;

pub(super) const NOW: UnixMillis = UnixMillis(1_795_355_130_000);

#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) text: String,
}

impl Record for Note {
    const TABLE: Table = Table("notes");
}

/// A plugin that does nothing but be there.
struct Quiet(&'static str);

impl Plugin for Quiet {
    fn name(&self) -> &'static str {
        self.0
    }

    fn owns(&self, _: &str) -> bool {
        false
    }

    fn answer(&self, _: &Call) -> Answer {
        Answer::new(404, None, "")
    }
}

/// Counts the tenants that are made and changed, in a note, and takes no notice of anything else.
struct Tally;

const TALLY: u64 = 1;

impl Plugin for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn owns(&self, _: &str) -> bool {
        false
    }

    fn answer(&self, _: &Call) -> Answer {
        Answer::new(404, None, "")
    }

    fn accompany(&self, accompanied: &Accompanied<'_>, records: &mut Records<'_>) -> Result<(), ShelfError> {
        for _ in accompanied.changes.iter().filter(|change| matches!(change, Change::PutTenant(_))) {
            let count = records.find::<Note>(TALLY)?.map_or(0, |note| note.text.parse::<u64>().unwrap());
            records.save(TALLY, &Note { text: (count + 1).to_string() })?;
        }
        Ok(())
    }
}

/// An engine with plugins, none of which has a thread: flushing and settling are the test's.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) desks: Vec<Arc<Desk>>,
    host: Host,
}

pub(super) fn engine_on(journal: &MemoryDisk) -> Arc<Engine> {
    let mut recovery = Recovery::default();
    let visit = |at, time, entry| recovery.entry(at, time, &entry);
    let options = Options { segment_bytes: 4096, ..Options::default() };
    let opened = Journal::open_on(Box::new(journal.at("journal")), options, Sequence(0), visit);
    let (journal, _) = opened.unwrap_or_else(|error| panic!("{error}"));
    Arc::new(recovery.finish(journal, [7; 16]))
}

impl World {
    pub(super) fn open(
        journal: &MemoryDisk,
        shelves: &[(&'static str, &MemoryDisk)],
    ) -> Result<World, KeepError> {
        let engine = engine_on(journal);
        let (mut host, mut desks) = (Host::default(), Vec::new());
        for (name, disk) in shelves {
            let desk = Desk::open(name, &engine, Shelf::open_on((*disk).clone(), "shelf")?)?;
            desks.push(Arc::clone(&desk));
            let plugin: Arc<dyn Plugin> =
                if *name == "tally" { Arc::new(Tally) } else { Arc::new(Quiet(name)) };
            host = host.with(plugin, desk);
        }
        Ok(World { engine, desks, host })
    }

    /// The same, with all commands accompanied, for as long as what is returned lives.
    pub(super) fn accompanied(self) -> (Arc<Engine>, Vec<Arc<Desk>>, Arc<Host>) {
        let host = Arc::new(self.host);
        let weak: std::sync::Weak<dyn Companion> = Arc::<Host>::downgrade(&host);
        self.engine.accompanied_by(weak);
        (self.engine, self.desks, host)
    }
}

/// Makes an application, whose name and note are changed together.
pub(super) fn application(engine: &Engine) -> ApplicationId {
    let create = |draft: &mut crate::model::draft::Draft<'_>| {
        let tenant = draft.create_tenant("acme", "pkey")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: None, name: "api", backend_version };
        let service = draft.create_service(&new)?;
        let plan = draft.create_plan(service, None, "Basic")?;
        draft.create_application(&NewApplication { service, account: None, app_id: "a", name: "new", plan })
    };
    engine.change(create).unwrap().0
}

/// Gives the application a name, and the same text as a note.
pub(super) fn note(desk: &Desk, id: ApplicationId, text: &str) -> Result<(), DeskError<CommandError>> {
    let build = |draft: &mut crate::model::draft::Draft<'_>,
                 records: &mut crate::plugin::records::Records<'_>| {
        draft.edit_application(id, |it| it.name = text.into())?;
        let saved = records.save(id.0, &Note { text: text.to_owned() });
        saved.map_err(|_| CommandError::Unknown { what: "note", id: id.0 })
    };
    desk.command(build).map(drop)
}

/// The note as the desk shows it.
pub(super) fn read(desk: &Desk, id: ApplicationId) -> Option<String> {
    desk.look().unwrap().records.find::<Note>(id.0).unwrap().map(|note| note.text)
}

#[test]
fn a_shelf_that_fails_is_felt_by_its_own_plugin_alone_and_catches_up() {
    let (journal, own, others) = (MemoryDisk::default(), MemoryDisk::default(), MemoryDisk::default());
    let world = World::open(&journal, &[("notes", &own), ("marks", &others)]).unwrap();
    let (engine, desks, _host) = world.accompanied();
    let (notes, marks) = (&desks[0], &desks[1]);
    let id = application(&engine);
    engine.flush(NOW).unwrap();
    let _ = own.clone().with_fault(Some(Fault::Freeze(0)));
    note(notes, id, "kept in the journal").unwrap();
    engine.flush(NOW).unwrap();
    assert!(matches!(notes.keeper().settle(), Err(KeepError::Shelf(_))));

    assert!(matches!(notes.look(), Err(LookError::Behind)));
    assert!(matches!(note(notes, id, "refused"), Err(DeskError::Look(LookError::Behind))));
    assert_eq!(&*engine.catalog().applications.get(id.0).unwrap().name, "kept in the journal");
    note(marks, id, "somebody else's").unwrap();
    assert_eq!(read(marks, id).unwrap(), "somebody else's");
    engine.flush(NOW).unwrap();
    marks.keeper().settle().unwrap();
    assert!(matches!(notes.keeper().catch_up(), Err(KeepError::Shelf(_))), "the disk is not well yet");

    let _ = own.clone().with_fault(None);
    notes.keeper().catch_up().unwrap();
    assert_eq!(read(notes, id).unwrap(), "kept in the journal");
    note(notes, id, "well again").unwrap();
    engine.flush(NOW).unwrap();
    notes.keeper().settle().unwrap();
    assert_eq!(read(notes, id).unwrap(), "well again");
}

#[test]
fn a_shelf_from_another_time_is_refused() {
    let (journal, shelf) = (MemoryDisk::default(), MemoryDisk::default());
    let (engine, desks, _host) = World::open(&journal, &[("notes", &shelf)]).unwrap().accompanied();
    let id = application(&engine);
    note(&desks[0], id, "later").unwrap();
    engine.flush(NOW).unwrap();
    desks[0].keeper().settle().unwrap();
    let position = desks[0].keeper().shelf().position().unwrap();
    let refused = World::open(&MemoryDisk::default(), &[("notes", &shelf)]).map(drop).unwrap_err();
    assert!(matches!(refused, KeepError::Ahead { plugin: "notes", position: at, .. } if at == position));
}

#[test]
fn nothing_is_settled_that_the_journal_may_lose() {
    let (journal, disk) = (MemoryDisk::default(), MemoryDisk::default());
    let (engine, desks, _host) = World::open(&journal, &[("notes", &disk)]).unwrap().accompanied();
    let (id, keeper) = (application(&engine), desks[0].keeper());
    let before = (keeper.needs(), keeper.shelf().position().unwrap());
    note(&desks[0], id, "in memory").unwrap();
    assert!(matches!(keeper.settle(), Err(KeepError::NotDurable(_))));
    assert_eq!((keeper.needs(), keeper.shelf().position().unwrap()), before);
    let on_disk = Shelf::open_on(disk.crash(0), "shelf").unwrap();
    assert_eq!(on_disk.read(|it| it.get(Note::TABLE, &crate::plugin::records::id_key(id.0))).unwrap(), None);
    // As soon as the journal has it there.
    engine.flush(NOW).unwrap();
    keeper.settle().unwrap();
    assert!(keeper.needs() > before.0);
}

#[test]
fn a_new_shelf_begins_where_the_journal_does() {
    let (journal, disk) = (MemoryDisk::default(), MemoryDisk::default());
    let (engine, desks, _host) = World::open(&journal, &[("notes", &disk)]).unwrap().accompanied();
    let id = application(&engine);
    for number in 0..40 {
        note(&desks[0], id, &format!("{number} {}", "x".repeat(200))).unwrap();
        engine.flush(NOW).unwrap();
    }
    let last = engine.journal().synced();
    assert!(engine.journal().prune(Sequence(last.0 - 2)).unwrap() > 0);
    let later =
        Keeper::open("notes", Arc::clone(&engine), Shelf::open_on(MemoryDisk::default(), "new").unwrap());
    let later = later.unwrap();
    let row = later.shelf().read(|it| it.get(Note::TABLE, &crate::plugin::records::id_key(id.0))).unwrap();
    assert!(String::from_utf8(row.unwrap()).unwrap().contains("39 xxx"));
    later.settle().unwrap();
    assert_eq!(later.needs(), last.next());
}

#[test]
fn a_stop_without_a_last_flush_takes_back_what_was_not_settled() {
    for is_flushed in [false, true] {
        let (journal, disk) = (MemoryDisk::default(), MemoryDisk::default());
        let world = World::open(&journal, &[("notes", &disk)]).unwrap();
        let World { engine, desks, host } = world;
        let hosting = host.start(&engine).unwrap();
        let id = application(&engine);
        note(&desks[0], id, "hardly there").unwrap();
        if is_flushed {
            engine.flush(NOW).unwrap();
        }
        drop(desks);
        hosting.stop(is_flushed);
        // What closing it would have put there, a crash does not take.
        let shelf = Shelf::open_on(disk.crash(1), "shelf").unwrap();
        let row = shelf.read(|it| it.get(Note::TABLE, &crate::plugin::records::id_key(id.0))).unwrap();
        assert_eq!(row.is_some(), is_flushed);
    }
}

/// Somebody else's command, with which the tally has to go.
fn tenant(engine: &Engine, number: u64) -> Result<crate::model::id::TenantId, ChangeError> {
    let (name, key) = (format!("tenant {number}"), format!("key {number}"));
    engine.change(|draft| draft.create_tenant(&name, &key)).map(|(id, _)| id)
}

#[test]
fn while_a_shelf_fails_what_would_need_it_is_refused_and_afterwards_all_that_was_answered_is_there() {
    let (journal, own) = (MemoryDisk::default(), MemoryDisk::default());
    let (engine, desks, _host) = World::open(&journal, &[("tally", &own)]).unwrap().accompanied();
    let keeper = desks[0].keeper();
    let first = tenant(&engine, 1).unwrap();
    let _ = own.clone().with_fault(Some(Fault::Freeze(0)));
    tenant(&engine, 2).unwrap();
    engine.flush(NOW).unwrap();
    keeper.settle().unwrap_err();

    let (catalog, last) = (engine.catalog().version, engine.journal().last_appended());
    for number in 3..6 {
        let refused = tenant(&engine, number).unwrap_err();
        assert!(matches!(refused, ChangeError::Unread(Unread { plugin: "tally" })) && refused.is_for_now());
        keeper.catch_up().unwrap_err();
    }
    assert_eq!((engine.catalog().version, engine.journal().last_appended()), (catalog, last));
    engine.change(|draft| draft.create_account(first, "nothing follows from it")).unwrap();

    engine.flush(NOW).unwrap();
    let _ = own.clone().with_fault(None);
    keeper.catch_up().unwrap();
    assert_eq!(read(&desks[0], ApplicationId(TALLY)).unwrap(), "2");
    tenant(&engine, 3).unwrap();
    engine.flush(NOW).unwrap();
    keeper.settle().unwrap();
    let (journal, own) = (journal.crash(1), own.crash(1));
    let (engine, desks, _host) = World::open(&journal, &[("tally", &own)]).unwrap().accompanied();
    assert_eq!(
        (engine.catalog().tenants.iter().count(), read(&desks[0], ApplicationId(TALLY)).unwrap()),
        (3, "3".into())
    );
}

/// The keeper's thread, one turn of it.
fn tend(engine: &Engine, keeper: &Keeper) {
    let _ = engine.flush(NOW);
    let _ = if keeper.is_behind() { keeper.catch_up() } else { keeper.settle() };
}

#[test]
fn a_say_that_cannot_read_its_shelf_refuses_the_command_until_the_shelf_is_well_by_itself() {
    let (journal, own) = (MemoryDisk::default(), MemoryDisk::default());
    let (engine, desks, _host) = World::open(&journal, &[("tally", &own)]).unwrap().accompanied();
    tenant(&engine, 1).unwrap();
    tend(&engine, desks[0].keeper());
    let mut refused = 0;
    for at in 0.. {
        let (journal, own) = (journal.crash(1), own.crash(1));
        let (engine, desks, _host) = World::open(&journal, &[("tally", &own)]).unwrap().accompanied();
        let own = own.with_fault(Some(Fault::Read(at)));
        let made = u64::from(tenant(&engine, 2).is_ok());
        refused += 1 - made;
        tend(&engine, desks[0].keeper());
        let has_failed = own.has_failed();
        let _ = own.with_fault(None);
        (0..3).for_each(|_| tend(&engine, desks[0].keeper()));
        tenant(&engine, 3).unwrap();
        assert_eq!(read(&desks[0], ApplicationId(TALLY)).unwrap(), (2 + made).to_string(), "{at}");
        if !has_failed {
            break;
        }
    }
    assert!(refused > 0, "whatever it says is in memory");
}

#[test]
fn a_say_that_meets_what_is_no_record_is_left_out_as_no_waiting_would_help() {
    let (journal, own) = (MemoryDisk::default(), MemoryDisk::default());
    let (engine, desks, _host) = World::open(&journal, &[("tally", &own)]).unwrap().accompanied();
    let damage = desks[0].command(|_, records| {
        records.put(Note::TABLE, &crate::plugin::records::id_key(TALLY), b"no record".to_vec());
        Ok::<_, ShelfError>(())
    });
    damage.unwrap();
    let id = tenant(&engine, 1).unwrap();
    assert!(engine.catalog().tenants.get(id.0).is_some());
}
