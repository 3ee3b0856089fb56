//! The areas, called as clients call them: a method, a path, parameters. No sockets, but a real engine, journal and shelf.

mod accounts;
mod active_docs;
mod ahead;
mod applications;
mod audit;
mod backends;
mod begin;
mod bounds;
mod document;
mod formats;
mod gateway;
mod isolation;
mod many;
mod master;
mod matrix;
mod maxima;
mod people;
mod plans;
mod provider_users;
mod proxy;
mod services;
mod sick;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::Admin;
use crate::engine::request::{AuthRequest, Call as Asked, Credentials, Usage};
use crate::engine::{Engine, Recovery};
use crate::journal::disk_memory::MemoryDisk;
use crate::journal::{Journal, Options, Sequence};
use crate::model::draft::NewService;
use crate::model::id::TenantId;
use crate::model::record::BackendVersion;
use crate::model::time::UnixMillis;
use crate::plugin::analytics::Analytics;
use crate::plugin::call::{Answer, Call, Method};
use crate::plugin::host::{Desk, Host, Hosting, Plugin};
use crate::store::Shelf;

/// 2026-11-22 13:45:30 UTC.
pub(super) const NOW: u64 = 1_795_355_130_000;

/// A node's admin API with one tenant, its default service and its administrator.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    pub(super) admin: Arc<Admin>,
    pub(super) tenant: TenantId,
    /// What the API is told the time is.
    pub(super) now: Arc<AtomicU64>,
    /// Whoever holds it keeps everything from getting to disk.
    disk: Arc<parking_lot::Mutex<()>>,
    /// While it is held: nothing that was begun before gets there any more.
    disk_is_waited_for: Arc<AtomicBool>,
    hosting: Option<Hosting>,
    /// Follows the journal, so that there is something to tell of usage.
    analytics: Option<(Arc<Analytics>, JoinHandle<()>)>,
    flusher: Option<JoinHandle<()>>,
    dir: Option<tempfile::TempDir>,
}

/// The value of the administrator's token.
pub(super) const TOKEN: &str = "the administrator's token";

impl World {
    pub(super) fn new() -> World {
        World::begun(World::open(tempfile::tempdir().unwrap()))
    }

    /// With records on a shelf of their own.
    fn with(shelf: Shelf) -> World {
        World::begun(World::over(tempfile::tempdir().unwrap(), shelf))
    }

    fn begun(mut world: World) -> World {
        let create = |draft: &mut crate::model::draft::Draft<'_>| {
            let tenant = draft.create_tenant("Provider", "pkey")?;
            let new = NewService {
                tenant,
                external_id: None,
                name: "API",
                backend_version: BackendVersion::UserKey,
            };
            let service = draft.create_service(&new)?;
            draft.create_metric(service, "hits", None)?;
            Ok(tenant)
        };
        (world.tenant, _) = world.engine.change(create).unwrap();
        world.admin.begin(world.tenant, TOKEN).unwrap();
        world
    }

    fn open(dir: tempfile::TempDir) -> World {
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        World::over(dir, shelf)
    }

    fn over(dir: tempfile::TempDir, shelf: Shelf) -> World {
        let mut recovery = Recovery::default();
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        let (journal, _) =
            Journal::open(&dir.path().join("journal"), Options::default(), Sequence(0), visit).unwrap();
        let engine = Arc::new(recovery.finish(journal, [7; 16]));
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = {
            let now = Arc::clone(&now);
            Arc::new(move || UnixMillis(now.load(Ordering::Relaxed)))
        };
        let desk = Desk::open(super::NAME, &engine, shelf).unwrap();
        let admin = Arc::new(Admin::new(Arc::clone(&desk), clock));
        let hosting =
            Host::default().with(Arc::clone(&admin) as Arc<dyn Plugin>, desk).start(&engine).unwrap();
        let disk = Arc::<parking_lot::Mutex<()>>::default();
        let disk_is_waited_for = Arc::<AtomicBool>::default();
        let flusher = {
            let (engine, disk, waits) =
                (Arc::clone(&engine), Arc::clone(&disk), Arc::clone(&disk_is_waited_for));
            let wall = move || {
                waits.store(true, Ordering::Release);
                let held = disk.lock();
                waits.store(false, Ordering::Release);
                drop(held);
                UnixMillis(NOW)
            };
            std::thread::spawn(move || engine.run_flusher(wall, |_| {}).unwrap())
        };
        // It begins anew with each start, from the journal, which has all.
        let shelf = Shelf::open_on(MemoryDisk::default(), "analytics").unwrap();
        let (analytics, thread) = Analytics::start(&engine, shelf).unwrap();
        let analytics = Arc::new(analytics);
        admin.ask_of_usage(Arc::clone(&analytics));
        World {
            engine,
            admin,
            tenant: TenantId(1),
            now,
            disk,
            disk_is_waited_for,
            hosting: Some(hosting),
            analytics: Some((analytics, thread)),
            flusher: Some(flusher),
            dir: Some(dir),
        }
    }

    /// Keeps everything from getting to disk that is not there when this returns.
    pub(super) fn hold_disk(&self) -> parking_lot::MutexGuard<'_, ()> {
        let held = self.disk.lock();
        while !self.disk_is_waited_for.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        held
    }

    /// The same after a clean stop and a start.
    pub(super) fn reopen(mut self) -> World {
        self.end();
        let (tenant, dir) = (self.tenant, self.dir.take().unwrap());
        drop(self);
        let mut world = World::open(dir);
        world.tenant = tenant;
        world
    }

    fn end(&mut self) {
        self.engine.stop_flusher();
        if let Some(flusher) = self.flusher.take() {
            flusher.join().unwrap();
        }
        if let Some(hosting) = self.hosting.take() {
            hosting.stop(true);
        }
        if let Some((analytics, thread)) = self.analytics.take() {
            analytics.following().stop();
            thread.join().unwrap();
        }
    }

    /// A call of a service with a user key, which lets it in: it counts this now, and was answered with a code.
    pub(super) fn count(
        &self,
        service: &Value,
        user_key: &str,
        usage: &[(&str, Option<&str>)],
        code: Option<&str>,
    ) {
        let (now, service) = (self.now.load(Ordering::Relaxed), service.to_string());
        let request = AuthRequest {
            call: Asked::Authrep,
            oauth: false,
            credentials: Credentials {
                provider_key: Some("pkey"),
                service_id: Some(&service),
                ..Credentials::default()
            },
            app_id: None,
            user_key: Some(user_key),
            app_key: None,
            referrer: None,
            redirect: None,
            usage: Usage::Texts(usage),
            log_code: code,
            flat_usage: false,
            no_body: false,
        };
        let is_let_in = self.engine.authorize(&request, UnixMillis(now), |it| it.denial.is_none());
        assert!(is_let_in.unwrap());
    }

    /// Calls the API as it is: `path` begins after `/admin/api/`, or is a whole one, and has its suffix.
    pub(super) fn send(
        &self,
        method: Method,
        path: &str,
        mut parameters: Value,
        token: Option<&str>,
    ) -> Answer {
        if let (Some(token), Some(fields)) = (token, parameters.as_object_mut()) {
            fields.insert("access_token".to_owned(), token.into());
        }
        let Value::Object(parameters) = parameters else { panic!("parameters are an object") };
        let is_whole = path.starts_with('/');
        self.admin.answer(&Call {
            method,
            tenant: None,
            path: if is_whole { path.to_owned() } else { format!("/admin/api/{path}") },
            parameters,
            basic: None,
            accept: None,
            etag: None,
            host: None,
            scheme: "http",
        })
    }

    /// Calls in JSON as the administrator; status and body.
    pub(super) fn call(&self, method: Method, path: &str, parameters: Value) -> (u16, Value) {
        let answer = self.send(method, &format!("{path}.json"), parameters, Some(TOKEN));
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::Get, path, json!({}))
    }

    pub(super) fn post(&self, path: &str, parameters: Value) -> (u16, Value) {
        self.call(Method::Post, path, parameters)
    }

    pub(super) fn put(&self, path: &str, parameters: Value) -> (u16, Value) {
        self.call(Method::Put, path, parameters)
    }

    pub(super) fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::Delete, path, json!({}))
    }

    /// A call in XML as the administrator.
    pub(super) fn xml(&self, method: Method, path: &str, parameters: Value) -> (u16, String) {
        let answer = self.send(method, &format!("{path}.xml"), parameters, Some(TOKEN));
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    }

    /// Makes a record that must be possible to make; it, without what wraps it.
    pub(super) fn made(&self, path: &str, parameters: Value) -> Value {
        let (status, body) = self.post(path, parameters);
        assert_eq!(status, 201, "{path}: {body}");
        body.as_object().and_then(|wrapped| wrapped.values().next()).cloned().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end();
    }
}
