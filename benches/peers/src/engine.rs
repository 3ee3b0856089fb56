//! Our engine in process, with a journal that flushes every 50 ms meanwhile.

use std::hint::black_box;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tollgate::cli::load::LoadError;
use tollgate::engine::request::{AuthRequest, Call, Credentials, Usage};
use tollgate::engine::{BindRequest, BoundRequest, Engine, Handle, Recovery, Scope};
use tollgate::journal::{Journal, Options, Sequence};
use tollgate::listener::system_clock;
use tollgate::model::amount::Effect;
use tollgate::model::draft::{CommandError, Draft, NewApplication, NewService};
use tollgate::model::id::{MetricSlot, ServiceId};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::model::time::Period;

use crate::crates::limits;
use crate::{MAX, Peer, Round, in_this_thread, key};

const PERIODS: [Period; 3] = [Period::Minute, Period::Hour, Period::Day];

/// An engine whose calls name the lowest metric of a chain, each of which has three limits.
pub(super) struct Tollgate {
    engine: Arc<Engine>,
    service: ServiceId,
    metrics: usize,
    keys: Vec<String>,
    handles: Vec<Handle>,
    flusher: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Tollgate {
    pub(super) fn new(applications: usize, metrics: usize) -> Tollgate {
        let dir = tempfile::tempdir().expect("a directory");
        let mut recovery = Recovery::default();
        let visit = |at, time, entry| recovery.entry(at, time, &entry);
        let (journal, _) =
            Journal::open(dir.path(), Options::default(), Sequence(0), visit).expect("a new journal");
        let engine = Arc::new(recovery.finish(journal, [1; 16]));
        let (service, _) = engine.change(|draft| create(draft, applications, metrics)).expect("a catalog");
        let keys: Vec<String> = (0..applications).map(key).collect();
        let clock = system_clock();
        let bind = |key: &String| {
            let credentials = Credentials { service: Some(service), ..Credentials::default() };
            let user_key = Some(key.as_str());
            let request = BindRequest { credentials, app_id: None, user_key, app_key: None, metrics: &[] };
            engine.moment(clock()).bind(&request).ok().and_then(Result::ok).expect("bound").handle
        };
        let handles = keys.iter().map(bind).collect();
        let flusher = {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || {
                engine.run_flusher(|| clock(), |error| panic!("{error}")).expect("the last flush");
            })
        };
        Tollgate { engine, service, metrics, keys, handles, flusher: Some(flusher), _dir: dir }
    }

    pub(super) fn by_handle(&self) -> ByHandle<'_> {
        ByHandle(self)
    }

    pub(super) fn by_key(&self) -> ByKey<'_> {
        ByKey(self)
    }

    fn name(&self, by: &str) -> String {
        let count = limits(3 * self.metrics);
        format!(
            "Tollgate by {by}, {count}, {} metric{}",
            self.metrics,
            if self.metrics == 1 { "" } else { "s" }
        )
    }
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        self.engine.stop_flusher();
        self.flusher.take().map(JoinHandle::join);
    }
}

fn create(draft: &mut Draft<'_>, applications: usize, metrics: usize) -> Result<ServiceId, CommandError> {
    let tenant = draft.create_tenant("bench", "provider")?;
    let backend_version = BackendVersion::UserKey;
    let new = NewService { tenant, external_id: Some("bench"), name: "bench", backend_version };
    let service = draft.create_service(&new)?;
    let plan = draft.create_plan(service, None, "Basic")?;
    let mut above = None;
    for number in 0..metrics {
        let metric = draft.create_metric(service, &metric_name(number), above)?;
        for period in PERIODS {
            draft.set_limit(plan, metric, period, MAX)?;
        }
        above = Some(metric);
    }
    for number in 0..applications {
        let name = format!("app{number}");
        let new = NewApplication { service, account: None, app_id: &name, name: &name, plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| it.user_keys.push(Secret::new(&key(number))))?;
    }
    Ok(service)
}

fn metric_name(number: usize) -> String {
    format!("metric{number}")
}

pub(super) struct ByHandle<'t>(&'t Tollgate);

impl Peer for ByHandle<'_> {
    fn name(&self) -> String {
        self.0.name("handle")
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        let Tollgate { engine, service, metrics, handles, .. } = self.0;
        let clock = system_clock();
        let lowest = MetricSlot(u32::try_from(metrics - 1).expect("few"));
        let request = BoundRequest {
            call: Call::Authrep,
            usage: &[(lowest, Effect::Add(1))],
            flat_usage: false,
            log_code: None,
            referrer: None,
            all_reports: false,
        };
        Ok(in_this_thread(handles.len(), duration, |batch| {
            let mut moment = engine.moment(clock());
            for number in batch {
                let scope = Scope::Service(*service);
                let yes = moment.bound(handles[*number as usize], scope, &request, |it| it.denial.is_none());
                assert_eq!(black_box(yes), Ok(true));
            }
        }))
    }
}

pub(super) struct ByKey<'t>(&'t Tollgate);

impl Peer for ByKey<'_> {
    fn name(&self) -> String {
        self.0.name("key")
    }

    fn run(&mut self, duration: Duration) -> Result<Round, LoadError> {
        let Tollgate { engine, service, metrics, keys, .. } = self.0;
        let clock = system_clock();
        let lowest = metric_name(metrics - 1);
        let usage = [(lowest.as_str(), Effect::Add(1))];
        Ok(in_this_thread(keys.len(), duration, |batch| {
            let mut moment = engine.moment(clock());
            for number in batch {
                let request = AuthRequest {
                    call: Call::Authrep,
                    oauth: false,
                    credentials: Credentials { service: Some(*service), ..Credentials::default() },
                    app_id: None,
                    user_key: Some(&keys[*number as usize]),
                    app_key: None,
                    referrer: None,
                    redirect: None,
                    usage: Usage::Amounts(&usage),
                    log_code: None,
                    flat_usage: false,
                    no_body: true,
                };
                let yes = moment.authorize(&request, |it| it.denial.is_none());
                assert_eq!(black_box(yes), Ok(true));
            }
        }))
    }
}
