//! Accounts, users, subscriptions and applications.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::account_details::{AccountDetails, AccountState};
use super::super::answer::{Errors, Refusal};
use super::super::application_states::{Event, happen, move_to};
use super::super::applications::{self, ApplicationDetails};
use super::super::extra::Target;
use super::super::logins;
use super::super::names::{self, Kind};
use super::super::owned::Owned;
use super::super::passwords;
use super::super::people::{Role, User, UserState};
use super::super::request::Fields;
use super::super::signup;
use super::super::subscriptions::{self, ContractState, Subscription};
use super::apply::{Applying, Step, refusal};
use super::places::Place;
use crate::document::diff;
use crate::model::id::{AccountId, ApplicationId, PlanId, ServiceId};
use crate::model::record::{ApplicationState, Secret};
use crate::plugin::call::Method;

impl Applying<'_, '_, '_, '_, '_> {
    /// The fields of a call, with those that the tenant has defined; which must be defined, or they would be lost.
    fn fields_with_extra(
        &self,
        step: &Step<'_>,
        except: &[&str],
        target: Target,
    ) -> Result<Map<String, Value>, Refusal> {
        let mut all = except.to_vec();
        all.push("extra");
        let mut fields = step.fields(&all, None)?;
        for (name, value) in step.after("extra").and_then(Value::as_object).into_iter().flatten() {
            let is_defined = self.edit(|edit| {
                let tenant = edit.tenant().0;
                Ok(names::find(edit.records, Kind::Field, tenant, &target.field(name))?.is_some())
            })?;
            if !is_defined {
                return Err(refusal(format!(
                    "there is no field '{name}' of {}: define it under fields",
                    target.name()
                )));
            }
            fields.insert(name.clone(), value.clone());
        }
        Ok(fields)
    }

    fn account_plan(&self, name: &str) -> Result<u64, Refusal> {
        self.id(&Place::default().below("plan", name), "account plan", name)
    }

    pub(super) fn account(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let except = ["org_name", "ordinal", "plan", "state"];
        let mut fields = self.fields_with_extra(step, &except, Target::Account)?;
        let plan = step.text("plan").map(str::to_owned);
        let id = match self.places.get(&step.place()) {
            Some(id) => {
                if !fields.is_empty() {
                    self.call(Method::Put, &format!("accounts/{id}"), fields)?;
                }
                if let Some(plan) = plan.as_ref().filter(|it| !it.is_empty()) {
                    let plan = self.account_plan(plan)?;
                    let fields = Map::from_iter([("plan_id".to_owned(), Value::from(plan))]);
                    self.call(Method::Put, &format!("accounts/{id}/change_plan"), fields)?;
                }
                id
            }
            None => {
                if let Some(plan) = plan.as_ref().filter(|it| !it.is_empty()) {
                    fields.insert("account_plan_id".to_owned(), Value::from(self.account_plan(plan)?));
                }
                let name = step.text("org_name").unwrap_or(step.name);
                let id = self.edit(|edit| {
                    let id = edit.draft.create_account(edit.caller.tenant, name)?;
                    let mut errors = Errors::default();
                    signup::open_account(edit, id, &Fields::from(fields), true, &mut errors)?;
                    errors.check()?;
                    Ok(id.0)
                })?;
                self.places.put(step.place(), id);
                id
            }
        };
        let state =
            step.text("state").map(|name| AccountState::parse(name).ok_or_else(|| refusal("no such state")));
        let (state, has_no_plan) = (state.transpose()?, plan.is_some_and(|it| it.is_empty()));
        if state.is_some() || has_no_plan {
            self.edit(|edit| {
                let mut details = edit.records.find::<AccountDetails>(id)?.unwrap_or_default();
                details.state = state.unwrap_or(details.state);
                details.plan = details.plan.filter(|_| !has_no_plan);
                details.updated_at = edit.now;
                Ok(details.put(id, edit.caller.tenant.0, edit.records)?)
            })?;
        }
        Ok(())
    }

    pub(super) fn user(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let account = self.owner_id(step)?;
        let except = ["role", "state", "password_hash"];
        let mut fields = self.fields_with_extra(step, &except, Target::User)?;
        let hash = step.after("password_hash").and_then(diff::secret_value).map(str::to_owned);
        if hash.as_ref().is_some_and(|hash| !passwords::is_hash(hash)) {
            return Err(refusal("password_hash must be a hash of argon2id in the PHC form, of usual cost"));
        }
        let role = step.text("role").map(|it| if it == "admin" { Role::Admin } else { Role::Member });
        let state = step.text("state").map(|it| match it {
            "active" => UserState::Active,
            "suspended" => UserState::Suspended,
            _ => UserState::Pending,
        });
        let place = step.place();
        if let Some(id) = self.places.get(&place) {
            if !fields.is_empty() {
                self.call(Method::Put, &format!("accounts/{account}/users/{id}"), fields)?;
            }
            return self.edit(|edit| {
                let user = edit.records.find::<User>(id)?.ok_or(Refusal::NotFound)?;
                let (role, state) = (role.unwrap_or(user.role), state.unwrap_or(user.state));
                let password_hash = hash.or(user.password_hash.clone());
                let updated_at = edit.now;
                Ok(User { role, state, password_hash, updated_at, ..user }.put(id, edit.records)?)
            });
        }
        fields.insert("username".to_owned(), Value::from(step.name));
        let id = self.edit(|edit| {
            let mut errors = Errors::default();
            let is = (role.unwrap_or(Role::Member), state.unwrap_or(UserState::Pending));
            let id = logins::add(edit, Some(account), &Fields::from(fields), is, hash, &mut errors)?;
            errors.check()?;
            Ok(id)
        })?;
        self.places.put(place, id);
        Ok(())
    }

    pub(super) fn subscription(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let account = self.owner_id(step)?;
        let service_place = Place::default().below("service", step.name);
        let service = self.id(&service_place, "service", step.name)?;
        let plan = match step.text("plan").filter(|it| !it.is_empty()) {
            Some(name) => Some(self.id(&service_place.below("plan", name), "service plan", name)?),
            None => None,
        };
        let fields = plan.map(|plan| Map::from_iter([("plan_id".to_owned(), Value::from(plan))]));
        let collection = format!("accounts/{account}/service_subscriptions");
        let place = step.place();
        let known = match self.places.get(&place) {
            Some(id) => Some(id),
            None => self
                .edit(|edit| Ok(Subscription::to_service(account, service, edit.records)?.map(|it| it.0)))?,
        };
        let id = match (known, fields) {
            (Some(id), None) => id,
            (Some(id), Some(fields)) => {
                self.call(Method::Put, &format!("{collection}/{id}/change_plan"), fields)?;
                id
            }
            (None, Some(fields)) => self.call(Method::Post, &collection, fields)?.ok_or(Refusal::Failed)?,
            (None, None) => self.edit(|edit| {
                subscriptions::ensure(edit, AccountId(account), ServiceId(service))?;
                let found = Subscription::to_service(account, service, edit.records)?;
                Ok(found.ok_or(Refusal::Failed)?.0)
            })?,
        };
        self.places.put(place, id);
        if let Some(state) = step.text("state") {
            let state = match state {
                "live" => ContractState::Live,
                "suspended" => ContractState::Suspended,
                _ => ContractState::Pending,
            };
            self.edit(|edit| {
                let mut found = edit.records.find::<Subscription>(id)?.ok_or(Refusal::Failed)?;
                if found.state != state {
                    if state == ContractState::Live && found.accepted_at.is_none() {
                        found.accepted_at = Some(edit.now);
                    }
                    (found.state, found.updated_at) = (state, edit.now);
                    edit.records.save(id, &found)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn application(&mut self, step: &Step<'_>) -> Result<(), Refusal> {
        let account = self.owner_id(step)?;
        let place = step.place();
        let known = self.places.get(&place);
        let except = ["service", "plan", "state", "user_key", "keys", "referrer_filters"];
        let fields = self.fields_with_extra(step, &except, Target::Application)?;
        let id = match known {
            Some(id) => {
                self.change_application(step, (account, id), fields)?;
                id
            }
            None => self.new_application(step, account, fields)?,
        };
        self.places.put(place, id);
        if let Some(filters) = step.texts("referrer_filters") {
            self.filters((account, id), &filters)?;
        }
        if let Some(state) = step.text("state") {
            self.application_state(id, state)?;
        }
        Ok(())
    }

    /// The plan that an application is to be on.
    fn plan_of(&self, step: &Step<'_>, service: &str) -> Result<Option<PlanId>, Refusal> {
        let Some(name) = step.text("plan") else { return Ok(None) };
        let place = Place::default().below("service", service).below("application plan", name);
        Ok(Some(PlanId(self.id(&place, "application plan", name)?)))
    }

    fn new_application(
        &mut self,
        step: &Step<'_>,
        account: u64,
        mut fields: Map<String, Value>,
    ) -> Result<u64, Refusal> {
        let service = step.text("service").unwrap_or_default().to_owned();
        self.id(&Place::default().below("service", &service), "service", &service)?;
        let plan = self.plan_of(step, &service)?;
        let plan = plan.ok_or_else(|| refusal("a new application must have a plan"))?;
        if let Some(keys) = self.secrets(step, "user_key")? {
            fields.insert("user_key".to_owned(), keys.into_iter().next().map_or(Value::Null, Value::from));
        }
        let keys = self.secrets(step, "keys")?;
        let has_no_keys = keys.as_ref().is_some_and(Vec::is_empty);
        if let Some(keys) = keys {
            fields.insert("application_key".to_owned(), Value::from(keys));
        }
        let is_blank = fields.get("name").and_then(Value::as_str).is_none_or(str::is_empty);
        if is_blank {
            let id = fields.get("application_id").cloned().unwrap_or_default();
            fields.insert("name".to_owned(), id);
        }
        self.edit(|edit| {
            let id = applications::add(edit, AccountId(account), plan, &Fields::from(fields))?;
            // Without any said, the node makes one where one is needed.
            if has_no_keys && !edit.seen().application(id.0)?.app_keys.is_empty() {
                edit.draft.edit_application(id, |it| it.app_keys.retain(|_| false))?;
            }
            Ok(id.0)
        })
    }

    fn change_application(
        &mut self,
        step: &Step<'_>,
        (account, id): (u64, u64),
        mut fields: Map<String, Value>,
    ) -> Result<(), Refusal> {
        if let Some(keys) = self.secrets(step, "user_key")? {
            fields.insert("user_key".to_owned(), keys.into_iter().next().map_or(Value::Null, Value::from));
        }
        if !fields.is_empty() {
            self.call(Method::Put, &format!("accounts/{account}/applications/{id}"), fields)?;
        }
        let service = step.change.at.last().and_then(|at| at.key.split('\u{1f}').next()).unwrap_or_default();
        if let Some(plan) = self.plan_of(step, service)? {
            self.edit(|edit| move_to(edit, ApplicationId(id), plan))?;
        }
        if let Some(keys) = self.secrets(step, "keys")? {
            self.keys((account, id), keys)?;
        }
        Ok(())
    }

    /// Gives an application these keys in this order. Each is checked as a new one.
    fn keys(&mut self, (account, id): (u64, u64), keys: Vec<String>) -> Result<(), Refusal> {
        let known = self.edit(|edit| Ok(Arc::clone(edit.seen().application(id)?)))?;
        let is_known = |key: &String| known.app_keys.iter().any(|it| it.matches(key));
        self.edit(|edit| {
            let keep = |it: &Secret| keys.iter().any(|key| it.matches(key));
            Ok(edit.draft.edit_application(ApplicationId(id), |it| it.app_keys.retain(keep))?)
        })?;
        for key in keys.iter().filter(|key| !is_known(key)) {
            let fields = Map::from_iter([("key".to_owned(), Value::from(key.as_str()))]);
            self.call(Method::Post, &format!("accounts/{account}/applications/{id}/keys"), fields)?;
        }
        self.edit(|edit| {
            let ordered = keys.iter().map(|key| Secret::new(key)).collect();
            Ok(edit.draft.edit_application(ApplicationId(id), |it| it.app_keys = ordered)?)
        })
    }

    fn filters(&mut self, (account, id): (u64, u64), wanted: &[&str]) -> Result<(), Refusal> {
        let known = self.edit(|edit| Ok(Arc::clone(edit.seen().application(id)?)))?;
        if known.referrer_filters.iter().eq(wanted.iter()) {
            return Ok(());
        }
        self.edit(|edit| {
            let mut details = edit.records.find::<ApplicationDetails>(id)?.unwrap_or_default();
            details.filters.retain(|it| wanted.contains(&it.value.as_str()));
            edit.records.save(id, &details)?;
            let keep = |it: &String| wanted.contains(&it.as_str());
            Ok(edit.draft.edit_application(ApplicationId(id), |it| it.referrer_filters.retain(keep))?)
        })?;
        for filter in wanted.iter().filter(|it| !known.referrer_filters.iter().any(|known| known == **it)) {
            let fields = Map::from_iter([("referrer_filter".to_owned(), Value::from(*filter))]);
            self.call(
                Method::Post,
                &format!("accounts/{account}/applications/{id}/referrer_filters"),
                fields,
            )?;
        }
        self.edit(|edit| {
            let ordered = wanted.iter().map(|it| (*it).to_owned()).collect();
            Ok(edit.draft.edit_application(ApplicationId(id), |it| it.referrer_filters = ordered)?)
        })
    }

    /// As the API would lead there; there is no call that makes an application wait again.
    fn application_state(&mut self, id: u64, wanted: &str) -> Result<(), Refusal> {
        let id = ApplicationId(id);
        self.edit(|edit| {
            let state = edit.seen().application(id.0)?.state.clone();
            let wanted = match wanted {
                "live" => ApplicationState::Active,
                "suspended" => ApplicationState::Suspended,
                _ => ApplicationState::Pending,
            };
            match (&state, &wanted) {
                (from, to) if from == to => Ok(()),
                (ApplicationState::Pending, ApplicationState::Active) => happen(edit, id, Event::Accept),
                (ApplicationState::Suspended, ApplicationState::Active) => happen(edit, id, Event::Resume),
                (ApplicationState::Active, ApplicationState::Suspended) => happen(edit, id, Event::Suspend),
                _ => Ok(edit.draft.edit_application(id, |it| it.state = wanted)?),
            }
        })
    }
}
