//! Usage history of a migration: asked for there, set here.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::remote::{Remote, RemoteError};
use super::super::{Exit, say, show, show_json};
use super::Failure;
use super::threescale::Migrated;
use crate::listener::system_clock;
use crate::migrate::source::SourceError;
use crate::migrate::usage::{Caller, Granularity, History, Past, Product};

/// After so many applications something is said.
const PROGRESS_APPLICATIONS: usize = 100;

/// Brings the usage of all applications that are here, and says how much that was. Done again it sets the same.
pub(super) fn bring(migrated: &mut Migrated, remote: &Remote, is_json: bool) -> Result<(), Failure> {
    let (brought, notes) = {
        let now_s = system_clock()().0 / 1000;
        let mut history = History::begin(&mut migrated.source, now_s)?;
        let all = migrated.products.iter().map(|it| it.callers.len()).sum();
        let mut bringing = Bringing {
            here: Here::of(remote)?,
            brought: Brought::default(),
            notes: Vec::new(),
            done: 0,
            all,
        };
        for product in &migrated.products {
            bringing.product(&mut history, product)?;
        }
        let Bringing { brought, mut notes, .. } = bringing;
        notes.extend(history.notes()?);
        (brought, notes)
    };
    migrated.note(notes)?;
    let Brought { applications, hours, days } = brought;
    if is_json {
        show_json(&json!({"usage": {"applications": applications, "hours": hours, "days": days}}));
    } else {
        show(&format!(
            "Usage: {applications} applications, {hours} hours and {days} days with something used in them.\n"
        ));
    }
    Ok(())
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let text = format!(
            "{error}\nAll but usage is done. Begun again it goes on where it was; --without-usage leaves the rest of it behind"
        );
        Failure(Exit::Failed, text)
    }
}

/// What came along.
#[derive(Default)]
struct Brought {
    applications: usize,
    hours: usize,
    days: usize,
}

struct Bringing<'b> {
    here: Here<'b>,
    brought: Brought,
    notes: Vec<String>,
    /// Applications that were gone through, of all.
    done: usize,
    all: usize,
}

impl Bringing<'_> {
    fn product(&mut self, history: &mut History<'_, '_>, product: &Product) -> Result<(), Failure> {
        // One that could not come was spoken of.
        let service = self.here.services.get(&product.name).copied();
        let service = service.filter(|_| !product.callers.is_empty());
        let used = service.map(|_| history.used(product)).transpose()?.unwrap_or_default();
        let Some(service) = service.filter(|_| !used.is_empty()) else {
            self.pass(product.callers.len());
            return Ok(());
        };
        let applications = self.here.applications(service)?;
        for caller in &product.callers {
            let Some(id) = applications.get(&credential(caller)) else {
                let text = format!(
                    "usage of application {} of service {} stays behind: there is no such application here",
                    caller.application_id, product.name
                );
                self.notes.push(text);
                self.pass(1);
                continue;
            };
            let all = history.of(product, caller, &used)?;
            self.brought.applications += usize::from(!all.is_empty());
            for past in all {
                self.put(*id, &past, (product, caller))?;
            }
            self.pass(1);
        }
        Ok(())
    }

    /// Says how far it is, now and then.
    fn pass(&mut self, count: usize) {
        let before = self.done / PROGRESS_APPLICATIONS;
        self.done += count;
        if self.done / PROGRESS_APPLICATIONS > before {
            say(&format!("usage of {} of {} applications", self.done, self.all));
        }
    }

    fn put(
        &mut self,
        application: u64,
        past: &Past<'_>,
        (product, caller): (&Product, &Caller),
    ) -> Result<(), Failure> {
        let metric_name = self.here.name_of(&past.metric.here)?;
        let sent = json!({
            "metric_name": metric_name,
            "granularity": past.granularity.name(),
            "since": past.since,
            "values": past.values,
        });
        let path = format!("stats/applications/{application}/usage.json");
        match self.here.remote.patiently("PUT", &path, &sent) {
            Ok(_) => {
                let count = past.values.iter().flatten().count();
                match past.granularity {
                    Granularity::Hour => self.brought.hours += count,
                    _ => self.brought.days += count,
                }
                Ok(())
            }
            Err(error) => {
                let note = refused(error)?;
                self.notes.push(format!(
                    "usage of {metric_name} by application {} of service {} stays behind: {note}",
                    caller.application_id, product.name
                ));
                Ok(())
            }
        }
    }
}

/// What is said of a call that is refused for what it is about; what would refuse all others ends it.
fn refused(error: RemoteError) -> Result<String, Failure> {
    let RemoteError::Refused(status, answer) = &error else { return Err(error.into()) };
    let told = answer["error"].as_str().or(answer.as_str()).unwrap_or_default();
    match status {
        403 => Err(Failure(
            Exit::Failed,
            format!(
                "the node answers 403: {told}\nUsage can be set with an administrator's access token that has the scope stats beside account_management, and may write. All \
                 but usage is done: begin again with such a token, and it goes on where it was, or leave usage behind with --without-usage"
            ),
        )),
        400 | 422 => Ok(error.to_string()),
        404 if told.ends_with("not found") => Ok(error.to_string()),
        404 => Err(Failure(
            Exit::Failed,
            "the node has no analytics: it answers 404. All but usage is done; --without-usage leaves it behind".to_owned(),
        )),
        _ => Err(error.into()),
    }
}

/// What is here, by what it is called.
struct Here<'h> {
    remote: &'h Remote,
    services: HashMap<String, u64>,
    /// Asked for when one is spoken of.
    backends: Option<HashMap<String, u64>>,
}

/// What an application is known by: of two kinds, as a user key may be like another's application id.
#[derive(PartialEq, Eq, Hash)]
enum Credential {
    UserKey(String),
    AppId(String),
}

fn credential(caller: &Caller) -> Credential {
    match &caller.user_key {
        Some(key) => Credential::UserKey(key.clone()),
        None => Credential::AppId(caller.application_id.clone()),
    }
}

impl<'h> Here<'h> {
    fn of(remote: &'h Remote) -> Result<Here<'h>, Failure> {
        Ok(Here { remote, services: named(remote, "services")?, backends: None })
    }

    /// The applications of a service.
    fn applications(&self, service: u64) -> Result<HashMap<Credential, u64>, Failure> {
        let all = self.remote.list("applications", &format!("service_id={service}&"))?;
        let known = |it: &Value| {
            let text = |key: &str| it[key].as_str().map(str::to_owned);
            let by = text("user_key").map(Credential::UserKey);
            Some((by.or_else(|| text("application_id").map(Credential::AppId))?, it["id"].as_u64()?))
        };
        Ok(all.iter().filter_map(known).collect())
    }

    /// What a metric is asked for by: one of a backend has its id at its end.
    fn name_of(&mut self, (backend, name): &(Option<String>, String)) -> Result<String, Failure> {
        let Some(backend) = backend else { return Ok(name.clone()) };
        if self.backends.is_none() {
            self.backends = Some(named(self.remote, "backend_apis")?);
        }
        let id = self.backends.as_ref().and_then(|all| all.get(backend));
        Ok(id.map_or_else(|| name.clone(), |id| format!("{name}.{id}")))
    }
}

/// Ids of a list, by system name.
fn named(remote: &Remote, list: &str) -> Result<HashMap<String, u64>, Failure> {
    let all = remote.list(list, "")?;
    let known = |it: &Value| Some((it["system_name"].as_str()?.to_owned(), it["id"].as_u64()?));
    Ok(all.iter().filter_map(known).collect())
}
