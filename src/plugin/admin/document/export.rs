//! The tenant as a document, as one moment has it, or as a command has made it so far.

use std::collections::HashSet;

use super::super::answer::Refusal;
use super::super::context::Seen;
use super::super::features::{self, Feature};
use super::super::fields_definitions::Definition;
use super::super::owned::Owned;
use super::super::terms::{PlanKind, Terms};
use super::super::{account_plans, money};
use super::places::{Place, Places};
use crate::document::shape::{Amount, Secret, TextOrSecret};
use crate::document::system_name;
use crate::document::types::{Feature as FeatureRecord, Field, Plan};
use crate::document::{Document, Secrets};

/// A tenant, written down.
pub(super) struct Exported {
    pub(super) document: Document,
    pub(super) secrets: Secrets,
    pub(super) places: Places,
    /// What the document cannot say, in words.
    pub(super) left_out: Vec<String>,
}

/// What is being written.
pub(super) struct Exporting<'a> {
    pub(super) seen: Seen<'a>,
    pub(super) secrets: Secrets,
    pub(super) places: Places,
    pub(super) left_out: Vec<String>,
}

/// Names that were given, as far as they tell records apart.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Whether a name is one, and nobody's yet: else the record cannot be told of.
    pub(super) fn take(&mut self, name: &str) -> bool {
        system_name::is_one(name) && self.0.insert(name.to_lowercase())
    }
}

impl Exported {
    /// The tenant of the caller.
    ///
    /// # Errors
    /// Records cannot be read.
    pub(super) fn of(seen: Seen<'_>) -> Result<Exported, Refusal> {
        let (secrets, places, left_out) = (Secrets::default(), Places::default(), Vec::new());
        let mut exporting = Exporting { seen, secrets, places, left_out };
        let mut document = Document::empty();
        let tenant = seen.caller.tenant;
        document.fields = Some(exporting.fields()?);
        document.features = Some(exporting.features(tenant.0, &Place::default(), false)?);
        let (plans, default) = exporting.account_plans()?;
        (document.account_plans, document.default_account_plan) = (Some(plans), Some(default));
        document.backends = Some(exporting.backends()?);
        document.services = Some(exporting.services()?);
        document.default_service = Some(exporting.default_service());
        document.accounts = Some(exporting.accounts()?);
        document.make_canonical();
        let Exporting { secrets, places, left_out, .. } = exporting;
        Ok(Exported { document, secrets, places, left_out })
    }
}

impl Exporting<'_> {
    pub(super) fn secret(&mut self, name: String, value: &str) -> Secret {
        self.secrets.put(name.clone(), value);
        Secret { secret: name }
    }

    /// A URL; as a secret, if there may be a credential in it.
    pub(super) fn url(&mut self, name: &str, url: &str) -> TextOrSecret {
        if url.contains('@') {
            TextOrSecret::Secret(self.secret(name.to_owned(), url))
        } else {
            TextOrSecret::Text(url.to_owned())
        }
    }

    pub(super) fn without(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }

    fn default_service(&self) -> String {
        let tenant = self.seen.catalog.tenants.get(self.seen.caller.tenant.0);
        let id = tenant.and_then(|it| it.default_service);
        id.and_then(|id| self.name_of_service(id.0)).unwrap_or_default()
    }

    fn fields(&mut self) -> Result<Vec<Field>, Refusal> {
        let mut fields = Vec::new();
        for (id, it) in Definition::in_order(self.seen.caller.tenant.0, self.seen.records)? {
            self.places.put(Place::default().below("field", &format!("{}\u{1f}{}", it.target, it.name)), id);
            fields.push(Field {
                target: it.target,
                name: it.name,
                label: Some(it.label),
                required: Some(it.required),
                hidden: Some(it.hidden),
                read_only: Some(it.read_only),
                choices: Some(it.choices),
            });
        }
        Ok(fields)
    }

    /// The features of a service or of the tenant.
    pub(super) fn features(
        &mut self,
        owner: u64,
        place: &Place,
        are_scoped: bool,
    ) -> Result<Vec<FeatureRecord>, Refusal> {
        let mut names = Names::default();
        let mut shown = Vec::new();
        for (id, it) in Feature::of(owner, self.seen.records)? {
            if !names.take(&it.system_name) {
                self.without(format!("the feature {id}: its system name is not one of its own"));
                continue;
            }
            self.places.put(place.below("feature", &it.system_name), id);
            shown.push(FeatureRecord {
                scope: are_scoped.then(|| it.scope.name().to_owned()),
                system_name: it.system_name,
                name: Some(it.name),
                description: Some(it.description),
                visible: Some(it.visible),
            });
        }
        Ok(shown)
    }

    /// The system names of the features of a plan.
    pub(super) fn features_of_plan(&self, plan: u64) -> Result<Vec<String>, Refusal> {
        let all = features::of_plan(plan, self.seen.records)?;
        Ok(all.into_iter().map(|(_, it)| it.system_name).collect())
    }

    /// Plans of services or of accounts.
    pub(super) fn plans(&mut self, owner: u64, place: &Place, kind: PlanKind) -> Result<Vec<Plan>, Refusal> {
        let mut names = Names::default();
        let mut shown = Vec::new();
        for (id, it) in Terms::of(owner, self.seen.records)? {
            if it.kind != kind {
                continue;
            }
            if !names.take(&it.system_name) {
                self.without(format!("the plan {id}: its system name is not one of its own"));
                continue;
            }
            self.places.put(place.below("plan", &it.system_name), id);
            let features = Some(self.features_of_plan(id)?);
            shown.push(Plan {
                system_name: it.system_name,
                name: Some(it.name),
                description: Some(it.description),
                published: Some(it.is_published),
                approval_required: Some(it.approval_required),
                setup_fee: Some(Amount(money::text(it.setup_fee))),
                cost_per_month: Some(Amount(money::text(it.cost_per_month))),
                trial_period_days: Some(it.trial_period_days),
                cancellation_period: Some(it.cancellation_period),
                features,
            });
        }
        Ok(shown)
    }

    fn account_plans(&mut self) -> Result<(Vec<Plan>, String), Refusal> {
        let tenant = self.seen.caller.tenant.0;
        let plans = self.plans(tenant, &Place::default(), PlanKind::Account)?;
        let default = account_plans::default_of(tenant, self.seen.records)?;
        Ok((plans, self.name_of_plan(default)?))
    }

    /// The system name of a plan of services or accounts; empty without one.
    pub(super) fn name_of_plan(&self, id: Option<u64>) -> Result<String, Refusal> {
        let terms = id.map(|id| self.seen.records.find::<Terms>(id)).transpose()?.flatten();
        Ok(terms.map(|it| it.system_name).unwrap_or_default())
    }
}
