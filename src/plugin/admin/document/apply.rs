//! Changes as calls: what a comparison found is carried out, each record by its area.
//!
//! # Order
//! Changes come in the order of the document; they are carried out in [phases](Phase), so that each finds what it names: metrics before the
//! rules, limits and prices that name them; plans before applications; and what others could still be on goes when they have left it.
//! Applications and users that go make room first: their ids and names may be those of others that come.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::super::answer::{Format, Refusal};
use super::super::context::{Context, Edit};
use super::super::service_tokens;
use super::batch::{self, Shared};
use super::places::{Place, Places};
use crate::document::Document;
use crate::document::diff::{self, Action, At, Change};
use crate::plugin::call::Method;

/// When a part of a change is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Accounts, users, applications and uses of backends go.
    MakeRoom,
    /// Fields, features and account plans of the tenant, backends, services, with metrics, features and plans.
    Make,
    /// What names other records: rules, limits, prices, features of plans, defaults.
    Connect,
    /// Accounts and all that is theirs.
    People,
    /// All else that goes: what belongs to something before that.
    TakeAway,
    /// Proxies and policies, and new versions of configurations for the sandbox.
    Gateways,
}

const PHASES: [Phase; 6] =
    [Phase::MakeRoom, Phase::Make, Phase::Connect, Phase::People, Phase::TakeAway, Phase::Gateways];

/// An import being carried out.
pub(super) struct Applying<'a, 'c, 'e, 'd, 's> {
    pub(super) context: &'a Context<'c>,
    pub(super) shared: &'a Shared<'e, 'd, 's>,
    pub(super) places: Places,
    pub(super) wanted: &'a Document,
    /// The places of secrets that were made.
    pub(super) made: Vec<String>,
    /// Services whose gateways must learn something.
    pub(super) stale: HashSet<u64>,
}

/// A change, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Step<'c> {
    pub(super) change: &'c Change,
    pub(super) action: Action,
    /// The record.
    pub(super) kind: &'c str,
    pub(super) name: &'c str,
    pub(super) phase: Phase,
}

impl Step<'_> {
    /// The record's place.
    pub(super) fn place(&self) -> Place {
        Place::of(&self.change.at)
    }

    /// The place of the record that it belongs to.
    pub(super) fn owner(&self) -> Place {
        Place::of(self.change.at.get(..self.change.at.len().saturating_sub(1)).unwrap_or_default())
    }

    /// What the owner is: `service`, `backend`, `account`, `metric`; nothing for the tenant.
    pub(super) fn owner_kind(&self) -> &str {
        let owner = self.change.at.len().checked_sub(2).and_then(|at| self.change.at.get(at));
        owner.map_or("", |at| at.kind.as_str())
    }

    /// What a value will be, if it changes.
    pub(super) fn after(&self, field: &str) -> Option<&Value> {
        self.change.fields.get(field)?.after.as_ref()
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.after(field)?.as_str()
    }

    pub(super) fn flag(&self, field: &str) -> Option<bool> {
        self.after(field)?.as_bool()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, field: &str) -> Option<Vec<&str>> {
        Some(self.after(field)?.as_array()?.iter().filter_map(Value::as_str).collect())
    }

    /// The values of a list.
    pub(super) fn list(&self, field: &str) -> Option<&[Value]> {
        self.after(field)?.as_array().map(Vec::as_slice)
    }

    pub(super) fn is_new(&self) -> bool {
        self.action == Action::Add
    }

    /// Its values as fields of a call, but for those that go other ways; secrets as they are. A new record has a name.
    ///
    /// # Errors
    /// A secret has no value.
    pub(super) fn fields(&self, except: &[&str], name: Option<&str>) -> Result<Map<String, Value>, Refusal> {
        let mut fields = Map::new();
        for (field, change) in &self.change.fields {
            let Some(after) = change.after.as_ref().filter(|_| !except.contains(&field.as_str())) else {
                continue;
            };
            let value = match after {
                Value::Object(_) if field != "annotations" => {
                    Value::from(diff::secret_value(after).ok_or_else(|| no_value(field))?)
                }
                other => other.clone(),
            };
            fields.insert(field.clone(), value);
        }
        if let Some(name) = name.filter(|_| self.is_new()) {
            let is_blank = |it: &Value| it.as_str().is_some_and(str::is_empty);
            if fields.get(name).is_none_or(is_blank) {
                fields.insert(name.to_owned(), Value::from(self.name));
            }
        }
        Ok(fields)
    }
}

fn no_value(field: &str) -> Refusal {
    refusal(format!("{field} stands for a secret that has no value: send it among the secrets"))
}

/// That something of a record is wrong, in words.
pub(super) fn refusal(problem: impl Into<String>) -> Refusal {
    Refusal::Said(422, problem.into())
}

impl<'a, 'c, 'e, 'd, 's> Applying<'a, 'c, 'e, 'd, 's> {
    pub(super) fn new(
        context: &'a Context<'c>,
        shared: &'a Shared<'e, 'd, 's>,
        places: Places,
        wanted: &'a Document,
    ) -> Applying<'a, 'c, 'e, 'd, 's> {
        Applying { context, shared, places, wanted, made: Vec::new(), stale: HashSet::new() }
    }

    /// Carries changes out; the places of secrets that were made, in order.
    ///
    /// # Errors
    /// The first that is refused, with the record that it is about.
    pub(super) fn run(mut self, changes: &[Change]) -> Result<Vec<String>, Refusal> {
        for phase in PHASES {
            let mut steps: Vec<_> = changes.iter().map(|change| step(change, phase)).collect();
            match phase {
                Phase::TakeAway => steps.sort_by_key(|step| rank(step.kind)),
                // Applications hold the subscription that they are under; an account goes with what is left of it.
                Phase::MakeRoom => steps.sort_by_key(|step| step.kind != "application"),
                _ => {}
            }
            for step in steps {
                self.carry_out(&step).map_err(|refusal| told(&step.change.at, refusal))?;
            }
            if phase == Phase::TakeAway {
                self.take_away_defaults(changes)?;
            }
        }
        self.deploy()?;
        self.made.sort();
        Ok(self.made)
    }

    fn carry_out(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        if step.action == Action::Remove {
            let is_room =
                matches!(step.kind, "application" | "user" | "subscription" | "account" | "use of backend");
            let phase = if is_room { Phase::MakeRoom } else { Phase::TakeAway };
            return if step.phase == phase { self.remove(step) } else { Ok(()) };
        }
        match (step.kind, step.phase) {
            ("", Phase::Connect) => {
                self.tenant_service(step)?;
                self.tenant_plan(step)
            }
            ("field", Phase::Make) => self.field(step),
            ("feature", Phase::Make) => self.feature(step),
            ("backend", Phase::Make) => self.backend(step),
            ("backend" | "service", Phase::Connect) => self.connect_owner(step),
            ("service", Phase::Make) => self.service(step),
            ("metric" | "method", Phase::Make) => self.metric(step),
            ("use of backend", Phase::Make) => self.usage(step),
            ("plan" | "application plan", Phase::Make) => self.plan(step),
            ("plan", Phase::Connect) => self.plan_features(step),
            ("application plan", Phase::Connect) => self.connect_application_plan(step),
            ("service", Phase::Gateways) => self.policies(step),
            ("proxy", Phase::Gateways) => self.proxy(step),
            ("account", Phase::People) => self.account(step),
            ("user", Phase::People) => self.user(step),
            ("subscription", Phase::People) => self.subscription(step),
            ("application", Phase::People) => self.application(step),
            _ => Ok(()),
        }
    }

    /// Calls the API within the command.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        fields: Map<String, Value>,
    ) -> Result<Option<u64>, Refusal> {
        batch::call(self.context, self.shared, (method, path), fields)
    }

    /// Drafts something in the command.
    pub(super) fn edit<R>(
        &self,
        build: impl FnOnce(&mut Edit<'e, 'd, 's>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let mut edit = self.shared.0.try_borrow_mut().map_err(|_| Refusal::Failed)?;
        build(&mut edit)
    }

    /// The id of a record that must be there.
    pub(super) fn id(&self, place: &Place, what: &str, name: &str) -> Result<u64, Refusal> {
        self.places.get(place).ok_or_else(|| refusal(format!("there is no {what} '{name}'")))
    }

    /// Makes or changes a record by its collection's path; its id. What the node made by itself is changed.
    pub(super) fn put(
        &mut self,
        step: &Step<'_>,
        collection: &str,
        fields: Map<String, Value>,
    ) -> Result<u64, Refusal> {
        let place = step.place();
        if let Some(id) = self.places.get(&place) {
            if !fields.is_empty() {
                self.call(Method::Put, &format!("{collection}/{id}"), fields)?;
            }
            return Ok(id);
        }
        let mut fields = fields;
        if !fields.contains_key("system_name") {
            fields.insert("system_name".to_owned(), Value::from(step.name));
        }
        let id = self.call(Method::Post, collection, fields)?.ok_or(Refusal::Failed)?;
        self.places.put(place, id);
        Ok(id)
    }

    /// The values of a list of secrets, or of one; new ones of those that have none.
    pub(super) fn secrets(&mut self, step: &Step<'_>, field: &str) -> Result<Option<Vec<String>>, Refusal> {
        let values = match step.after(field) {
            None => return Ok(None),
            Some(Value::Array(values)) => values.iter().collect(),
            Some(value) => vec![value],
        };
        let mut secrets = Vec::new();
        for value in values {
            secrets.push(match diff::secret_value(value) {
                Some(secret) => secret.to_owned(),
                None => {
                    self.made.push(format!("{} / {field}", diff::place(&step.change.at)));
                    service_tokens::random_hex::<16>()?
                }
            });
        }
        Ok(Some(secrets))
    }
}

fn step(change: &Change, phase: Phase) -> Step<'_> {
    let (kind, name) = change.at.last().map_or(("", ""), |at| (at.kind.as_str(), at.name.as_str()));
    Step { change, action: change.action, kind, name, phase }
}

/// In which order records go: what is on others first.
fn rank(kind: &str) -> usize {
    let order = ["application plan", "plan", "feature", "method", "metric", "service", "backend", "field"];
    order.iter().position(|it| *it == kind).unwrap_or(order.len())
}

/// A refusal with the record that it is about.
fn told(at: &[At], refusal: Refusal) -> Refusal {
    if matches!(refusal, Refusal::Failed | Refusal::Unavailable(_)) {
        return refusal;
    }
    let answer = refusal.answer(Format::Json);
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let words = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
    let problem = match (&body["errors"], &body["error"]) {
        (Value::Object(errors), _) => {
            let each = errors.iter().map(|(field, texts)| {
                let texts: Vec<_> = texts.as_array().into_iter().flatten().map(words).collect();
                if field == "base" { texts.join(", ") } else { format!("{field} {}", texts.join(", ")) }
            });
            each.collect::<Vec<_>>().join("; ")
        }
        (_, Value::String(error)) => error.clone(),
        _ if answer.status == 404 => "something that it names is not there".to_owned(),
        _ => format!("the API answers {}: {body}", answer.status),
    };
    Refusal::Shown(json!({"problems": [{"path": diff::place(at), "problem": problem}]}))
}
