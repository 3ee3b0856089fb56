//! Of what a user wants to be told by e-mail: `/personal/notification_preferences`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::{Entity, Outcome, Reply};
use super::auth::Access;
use super::context::Context;
use super::routes::{Formats, GET, PUT, Route};
use super::xml::Element;
use crate::plugin::records::Record;
use crate::store::shelf::Table;

const PATH: &str = "personal/notification_preferences";

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, PATH, Access::PERSONS, show).in_formats(Formats::JsonOnly),
    Route::new(PUT, PATH, Access::PERSONS, update).in_formats(Formats::JsonOnly),
];

/// What a user can be told of, and whether a user is who never said so.
const EVENTS: [(&str, bool); 25] = [
    ("account_created", false),
    ("account_deleted", false),
    ("account_plan_change_requested", true),
    ("application_created", false),
    ("application_plan_change_requested", true),
    ("cinstance_cancellation", false),
    ("cinstance_expired_trial", false),
    ("cinstance_plan_changed", false),
    ("credit_card_unstore_failed", true),
    ("csv_data_export", true),
    ("daily_report", false),
    ("expired_credit_card_provider", true),
    ("invoices_to_review", true),
    ("limit_alert_reached_provider", true),
    ("limit_violation_reached_provider", true),
    ("message_received", true),
    ("plan_downgraded", false),
    ("service_contract_cancellation", false),
    ("service_contract_created", false),
    ("service_contract_plan_changed", false),
    ("service_deleted", false),
    ("service_plan_change_requested", true),
    ("unsuccessfully_charged_invoice_final_provider", true),
    ("unsuccessfully_charged_invoice_provider", false),
    ("weekly_report", false),
];

/// What a user said, by event; by the user's id.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub(super) struct Preferences(Map<String, Value>);

impl Record for Preferences {
    const TABLE: Table = Table("notification_preferences");
}

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let (user, _) = context.caller.person()?;
    Ok(Reply::one(entity(&moment.seen().records.find(user)?.unwrap_or_default())))
}

fn update(context: &Context<'_>) -> Outcome {
    let fields = context.fields("notification_preferences")?;
    let (user, _) = context.caller.person()?;
    context.change(|edit| {
        let mut preferences = edit.records.find::<Preferences>(user)?.unwrap_or_default();
        for (event, _) in EVENTS {
            if let Some(flag) = fields.flag(event) {
                preferences.0.insert(event.to_owned(), flag.into());
            }
        }
        edit.records.save(user, &preferences)?;
        Ok(Reply::one(entity(&preferences)))
    })
}

fn entity(preferences: &Preferences) -> Entity {
    let said = |event: &str| preferences.0.get(event).and_then(Value::as_bool);
    let flags = EVENTS.iter().map(|(event, usual)| {
        let flag = said(event).unwrap_or(*usual);
        ((*event).to_owned(), Value::from(flag))
    });
    let wrapper = "notification_preferences";
    Entity { wrapper, json: Value::Object(flags.collect()), xml: Element::new(wrapper) }
}
