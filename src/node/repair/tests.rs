//! Cuts of the journal about a checkpoint, in a real directory.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::{Config, Settings};
use crate::engine::request::{AuthRequest, Call, Credentials, Usage};
use crate::engine::{Engine, NotDurable};
use crate::journal::Follower;
use crate::journal::entry::Kind;
use crate::model::amount::Effect;
use crate::model::draft::{CommandError, Draft, NewApplication, NewService};
use crate::model::idempotency::RequestId;
use crate::model::record::{BackendVersion, Secret};
use crate::model::time::Period;
use crate::node::checkpointer::checkpoint;

const NOW: UnixMillis = UnixMillis(1_795_355_130_000);

fn clock() -> Clock {
    Arc::new(|| NOW)
}

fn open(path: &Path) -> (DataDir, Engine) {
    let dir = DataDir::open(path).unwrap();
    let settings = Settings { data_dir: Some(path.to_owned()), ..Settings::default() };
    let config = Config::load(settings, []).unwrap();
    let engine = recovery::recover(&dir, &config, NOW).unwrap().engine;
    (dir, engine)
}

fn prepare(draft: &mut Draft<'_>) -> Result<(), CommandError> {
    let tenant = draft.create_tenant("acme", "pkey")?;
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: None, name: "api", backend_version };
    let service = draft.create_service(&new)?;
    draft.create_metric(service, "hits", None)?;
    let plan = draft.create_plan(service, None, "Basic")?;
    let new = NewApplication { service, account: None, app_id: "app", name: "app", plan };
    let id = draft.create_application(&new)?;
    draft.edit_application(id, |it| it.user_keys.push(Secret::new("app")))
}

/// One hit, under a number of a producer's; whether it was counted before.
fn count(engine: &Engine, sequence: u64) -> bool {
    let usage = [("hits", Effect::Add(1))];
    let request = AuthRequest {
        call: Call::Authrep,
        oauth: false,
        credentials: Credentials { provider_key: Some("pkey"), ..Credentials::default() },
        app_id: None,
        user_key: Some("app"),
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Amounts(&usage),
        log_code: None,
        flat_usage: false,
        no_body: true,
    };
    let id = RequestId::Numbered { producer: b"a producer", sequence };
    let replayed = engine.moment(NOW).authorize_once(&request, id, |answer| answer.replayed).unwrap();
    engine.flush(NOW).unwrap();
    replayed
}

fn hits(engine: &Engine) -> u64 {
    let catalog = engine.catalog();
    let (_, application) = catalog.applications.iter().next().unwrap();
    let image = engine.counters_of(application.id, NOW).unwrap();
    image.cells.iter().map(|cell| cell.counts[Period::Eternity as usize]).sum()
}

/// A checkpoint, while a command comes whenever it may. Returns the last producers entry, and where its catalog is of.
fn checkpoint_between_commands(dir: &DataDir, engine: &Engine) -> (u64, u64) {
    let (number, before_last) = (Cell::new(0), Cell::new(Sequence(0)));
    let command = || {
        engine.flush(NOW).unwrap();
        before_last.set(engine.journal().last_appended());
        number.set(number.get() + 1);
        let name = format!("tenant {}", number.get());
        engine.change(|draft| draft.create_tenant(&name, &name)).unwrap();
        engine.flush(NOW).unwrap();
        false
    };
    let settle = || {
        let ids = engine.freeze_ids(NOW);
        engine.flush(NOW).map_err(|_| NotDurable)?;
        engine.ids_sealed(ids.through);
        Ok(())
    };
    let needed = Arc::new(|| Sequence(0)) as _;
    checkpoint(engine, &dir.checkpoints(), None, &clock(), &needed, settle, command).unwrap();
    let meta = survey_checkpoints(&dir.checkpoints(), &dir.path().join("reading")).unwrap();
    let GenerationState::Whole(meta) = &meta.generations[0].state else { panic!("{meta:?}") };
    let mut producers = Vec::new();
    let mut follower = Follower::after(meta.begin);
    let journal = engine.journal();
    let wanted = |kind| kind == Kind::Producers;
    while !journal.read_on(&mut follower, 1 << 20, wanted, |at, _, _| producers.push(at.0)).unwrap() {}
    assert_eq!(producers.last(), Some(&before_last.get().0), "the last command came after it");
    (before_last.get().0, meta.catalog.0)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

#[test]
fn a_cut_from_a_checkpoints_producers_up_to_its_catalog_leaves_neither_and_no_number_counts_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    let (dir, engine) = open(&path);
    engine.change(prepare).unwrap();
    assert!((1..=3).all(|number| !count(&engine, number)));
    let (producers, catalog) = checkpoint_between_commands(&dir, &engine);
    assert!(producers < catalog);
    assert!(!count(&engine, 4));
    drop((engine, dir));
    for cut in producers..=catalog + 1 {
        let path = scratch.path().join(cut.to_string());
        copy(&scratch.path().join("data"), &path);
        let consent = Consent { apply: true, ids_by_time: false };
        let plan = repair(&path, &GiveUp::FromSequence(cut), consent, &clock()).unwrap();
        assert_eq!(plan.journal.unwrap().from, cut);
        let goes = if cut <= catalog { vec![1] } else { vec![] };
        assert_eq!(plan.checkpoints, goes, "cut at {cut}, the catalog is of {catalog}");
        let (_dir, engine) = open(&path);
        assert_eq!(hits(&engine), 3, "cut at {cut}");
        for number in 1..=3 {
            assert!(count(&engine, number), "number {number} counts twice after a cut at {cut}");
        }
        assert!(!count(&engine, 4), "what went counts if it is sent again");
        assert_eq!(hits(&engine), 4);
    }
}
