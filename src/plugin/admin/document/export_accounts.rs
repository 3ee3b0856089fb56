//! Accounts, with users, subscriptions and applications.

use std::collections::HashMap;

use super::super::account_details::AccountDetails;
use super::super::answer::Refusal;
use super::super::applications::ApplicationDetails;
use super::super::owned::Owned;
use super::super::people::User;
use super::super::subscriptions::Subscription;
use super::super::{money, plans};
use super::export::Exporting;
use super::places::Place;
use crate::document::shape::Amount;
use crate::document::types;
use crate::model::record::{Account, Application, ApplicationState, BackendVersion};

impl Exporting<'_> {
    pub(super) fn accounts(&mut self) -> Result<Vec<types::Account>, Refusal> {
        let catalog = self.seen.catalog;
        let mut counts: HashMap<&str, u32> = HashMap::new();
        let mut shown = Vec::new();
        // Names of plans by id: looked up once, whatever number of applications is on them.
        let mut names = HashMap::new();
        for id in catalog.accounts_of(self.seen.caller.tenant).iter() {
            let Some(account) = catalog.accounts.get(id) else { continue };
            let count = counts.entry(account.name.as_str()).or_default();
            *count += 1;
            let ordinal = (*count > 1).then_some(*count);
            shown.push(self.account(account, ordinal, &mut names)?);
        }
        let mut others = 0;
        for service in catalog.services_of(self.seen.caller.tenant).iter() {
            let all = catalog.applications_of(service).iter().filter_map(|id| catalog.applications.get(id));
            others += all.filter(|it| it.account.is_none()).count();
        }
        if others > 0 {
            self.without(format!(
                "{others} applications without an account: another system administers them"
            ));
        }
        Ok(shown)
    }

    fn account(
        &mut self,
        account: &Account,
        ordinal: Option<u32>,
        names: &mut HashMap<u64, Option<(String, String)>>,
    ) -> Result<types::Account, Refusal> {
        let id = account.id.0;
        let key = match ordinal {
            Some(ordinal) => format!("{}\u{1f}{ordinal}", account.name),
            None => account.name.clone(),
        };
        let place = Place::default().below("account", &key);
        self.places.put(place.clone(), id);
        let details = self.seen.records.find::<AccountDetails>(id)?.unwrap_or_default();
        let mut users = Vec::new();
        for (id, user) in User::of(id, self.seen.records)? {
            self.places.put(place.below("user", &user.username), id);
            users.push(self.user(user));
        }
        let mut subscriptions = Vec::new();
        for (id, it) in Subscription::of(id, self.seen.records)? {
            let Some(service) = self.name_of_service(it.service) else { continue };
            self.places.put(place.below("subscription", &service), id);
            let plan = Some(self.name_of_plan(Some(it.plan))?);
            subscriptions.push(types::Subscription {
                service,
                plan,
                state: Some(it.state.name().to_owned()),
            });
        }
        let mut applications = Vec::new();
        for id in self.seen.catalog.applications_of(id).iter() {
            let Some(application) = self.seen.catalog.applications.get(id) else { continue };
            applications.extend(self.application(application, &place, names)?);
        }
        Ok(types::Account {
            org_name: account.name.clone(),
            ordinal,
            plan: Some(self.name_of_plan(details.plan)?),
            state: Some(details.state.name().to_owned()),
            monthly_billing_enabled: Some(details.monthly_billing_enabled),
            monthly_charging_enabled: Some(details.monthly_charging_enabled),
            vat_rate: details.vat_rate.map(|it| Amount(money::text(it))),
            annotations: Some(details.annotations),
            extra: Some(details.extra).filter(|it| !it.is_empty()),
            users: Some(users),
            subscriptions: Some(subscriptions),
            applications: Some(applications),
        })
    }

    fn user(&mut self, user: User) -> types::User {
        let name = format!("users/{}/password_hash", user.username);
        let password_hash = user.password_hash.as_ref().map(|hash| self.secret(name, hash));
        types::User {
            username: user.username,
            email: Some(user.email),
            role: Some(user.role.name().to_owned()),
            state: Some(user.state.name().to_owned()),
            password_hash,
            extra: Some(user.extra).filter(|it| !it.is_empty()),
        }
    }

    /// Nothing, if its service or plan is not in the document.
    fn application(
        &mut self,
        it: &Application,
        place: &Place,
        names: &mut HashMap<u64, Option<(String, String)>>,
    ) -> Result<Option<types::Application>, Refusal> {
        let id = it.id;
        let known = match names.get(&it.plan.0) {
            Some(known) => known.clone(),
            None => {
                let found = self.names_of(it)?;
                names.insert(it.plan.0, found.clone());
                found
            }
        };
        let Some((service, plan)) = known else {
            self.without(format!("the application {id}: its service or plan is not in the document"));
            return Ok(None);
        };
        self.places.put(place.below("application", &format!("{service}\u{1f}{}", it.app_id)), id.0);
        let details = self.seen.records.find::<ApplicationDetails>(id.0)?.unwrap_or_default();
        let root = format!("applications/{service}/{}", it.app_id);
        if it.user_keys.len() > 1 {
            self.without(format!("of the application {id} all user keys but the first"));
        }
        let user_key = it.user_keys.iter().next();
        let user_key = user_key.map(|key| self.secret(format!("{root}/user_key"), key.expose()));
        let keys = it.app_keys.iter().enumerate();
        let keys =
            keys.map(|(at, key)| self.secret(format!("{root}/key/{}", at + 1), key.expose())).collect();
        let is_oauth = self
            .seen
            .catalog
            .services
            .get(it.service.0)
            .is_some_and(|it| it.backend_version == BackendVersion::Oauth);
        let redirect_url = it.redirect_url.as_deref().map(str::to_owned);
        Ok(Some(types::Application {
            service,
            application_id: it.app_id.to_string(),
            plan: Some(plan),
            name: Some(it.name.to_string()),
            description: Some(details.description),
            state: Some(state_name(&it.state).to_owned()),
            user_key,
            keys: Some(keys),
            referrer_filters: Some(it.referrer_filters.iter().cloned().collect()),
            redirect_url: redirect_url.or_else(|| is_oauth.then(String::new)),
            extra: Some(details.extra).filter(|it| !it.is_empty()),
        }))
    }

    /// The names of an application's service and plan, if the document has both.
    fn names_of(&self, it: &Application) -> Result<Option<(String, String)>, Refusal> {
        let Some(service) = self.name_of_service(it.service.0) else { return Ok(None) };
        let Some(plan) = self.seen.catalog.plans.get(it.plan.0) else { return Ok(None) };
        let name = plans::terms_of(self.seen.records, plan)?.system_name;
        let place = Place::default().below("service", &service).below("application plan", &name);
        Ok((self.places.get(&place) == Some(it.plan.0)).then_some((service, name)))
    }
}

/// Words of other systems deny as being suspended does.
fn state_name(state: &ApplicationState) -> &'static str {
    match state {
        ApplicationState::Active => "live",
        ApplicationState::Pending => "pending",
        ApplicationState::Suspended | ApplicationState::Other(_) => "suspended",
    }
}
