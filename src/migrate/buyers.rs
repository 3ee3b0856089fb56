//! Accounts with their users, subscriptions and applications.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::products::Known;
use super::source::SourceError;
use super::{Given, Making, Record, fit, id, number, picked, text, usage, words};
use crate::document::types::{Account, Application, Subscription, User};
use crate::document::values;

/// Applications as they are come by.
#[derive(Default)]
struct Callers {
    /// The application ids of a service that were given.
    ids: HashMap<u64, Given>,
    /// Those that come along, by the service's id.
    all: HashMap<u64, Vec<usage::Caller>>,
}

/// Puts all accounts into a document; the applications that come along, by the ids of their services.
pub(super) fn put(
    making: &mut Making<'_, '_>,
    document: &mut Map<String, Value>,
    known: &Known,
) -> Result<HashMap<u64, Vec<usage::Caller>>, SourceError> {
    let mut names: HashMap<String, u32> = HashMap::new();
    let mut of_account: HashMap<u64, Vec<Record>> = HashMap::new();
    for application in making.list("applications")? {
        let account = [number(&application, "account_id"), number(&application, "user_account_id")];
        of_account.entry(account.into_iter().find(|id| *id != 0).unwrap_or(0)).or_default().push(application);
    }
    let mut callers = Callers::default();
    let mut accounts = Vec::new();
    for account in making.list("accounts")? {
        let name = one_line(text(&account, "org_name").unwrap_or_default());
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        let mut shown = picked(Account::SHAPE, &account);
        shown.insert("org_name".into(), name.clone().into());
        if *count > 1 {
            shown.insert("ordinal".into(), (*count).into());
        }
        let whose = format!("account {name}");
        making.put_word(&mut shown, &account, &words::ACCOUNT_STATES, &whose);
        let root = format!("accounts/{}", id(&account));
        let plan = making.source.one(&format!("{root}/plan"))?;
        let plan = plan.and_then(|plan| known.plans.get(&id(&plan)).cloned());
        shown.insert("plan".into(), plan.unwrap_or_default().into());
        put_extra(making, (&mut shown, &account), (known, "Account"), &whose);
        shown.insert("users".into(), users(making, known, &root)?.into());
        shown.insert("subscriptions".into(), subscriptions(making, known, &root)?.into());
        let mut applications = Vec::new();
        for application in of_account.remove(&id(&account)).unwrap_or_default() {
            applications.extend(application_of(making, known, &root, &application, &mut callers)?);
        }
        shown.insert("applications".into(), applications.into());
        accounts.push(Value::Object(shown));
    }
    let left: usize = of_account.values().map(Vec::len).sum();
    if left > 0 {
        making.note(format!("{left} applications of accounts that are not listed stay behind"));
    }
    document.insert("accounts".into(), accounts.into());
    Ok(callers.all)
}

/// The name of an account, which is what a document knows it by: in one line.
fn one_line(name: &str) -> String {
    let line = name.replace(char::is_control, " ");
    let line = line.trim();
    if line.is_empty() { "unnamed".to_owned() } else { line.to_owned() }
}

fn put_extra(
    making: &mut Making<'_, '_>,
    (shown, record): (&mut Record, &Record),
    (known, target): (&Known, &str),
    whose: &str,
) {
    let fields = known.fields.get(target).map_or(&[][..], Vec::as_slice);
    if let Some(extra) = making.extra(record, fields, whose) {
        shown.insert("extra".into(), extra);
    }
}

fn users(making: &mut Making<'_, '_>, known: &Known, root: &str) -> Result<Vec<Value>, SourceError> {
    let mut shown = Vec::new();
    for user in making.list(&format!("{root}/users"))? {
        let mut it = picked(User::SHAPE, &user);
        let username = text(&user, "username").unwrap_or_default();
        let whose = format!("user {username}");
        if !fit::is_username(username) {
            making.note(format!("left out: {whose} of {root}: nobody can be called so here"));
            continue;
        }
        making.put_word(&mut it, &user, &words::USER_STATES, &whose);
        making.put_word(&mut it, &user, &words::ROLES, &whose);
        put_extra(making, (&mut it, &user), (known, "User"), &whose);
        making.fit(&mut it, fit::USER, &whose);
        making.note("users come without their passwords, which 3scale does not show");
        shown.push(Value::Object(it));
    }
    Ok(shown)
}

fn subscriptions(making: &mut Making<'_, '_>, known: &Known, root: &str) -> Result<Vec<Value>, SourceError> {
    let mut shown = Vec::new();
    for subscription in making.list(&format!("{root}/service_subscriptions"))? {
        let plan = known.plans.get(&number(&subscription, "plan_id"));
        let Some(service) = known.services.get(&number(&subscription, "service_id")) else {
            making.note(format!("left out: a subscription of {root}: its service is not listed"));
            continue;
        };
        let mut it = picked(Subscription::SHAPE, &subscription);
        let whose = format!("subscription {} to service {service}", id(&subscription));
        making.put_word(&mut it, &subscription, &words::CONTRACT_STATES, &whose);
        it.insert("service".into(), service.clone().into());
        if let Some(plan) = plan {
            it.insert("plan".into(), plan.clone().into());
        }
        shown.push(Value::Object(it));
    }
    Ok(shown)
}

fn application_of(
    making: &mut Making<'_, '_>,
    known: &Known,
    account: &str,
    application: &Record,
    callers: &mut Callers,
) -> Result<Option<Value>, SourceError> {
    let (number_of, service_id) = (id(application), number(application, "service_id"));
    let Some(service) = known.services.get(&service_id) else {
        making.note(format!("left out: application {number_of}: its service is not listed"));
        return Ok(None);
    };
    let Some(plan) = known.plans.get(&number(application, "plan_id")) else {
        making.note(format!(
            "application {number_of}: its plan is not shown: it stays behind, and its keys are not known here"
        ));
        return Ok(None);
    };
    // Where callers are known by user keys, application ids are not shown.
    let wanted =
        text(application, "application_id").map_or_else(|| format!("app-{number_of}"), str::to_owned);
    let application_id = callers.ids.entry(service_id).or_insert_with(Given::exact).give(&wanted);
    let root = format!("applications/{service}/{application_id}");
    let mut shown = picked(Application::SHAPE, application);
    let whose = format!("application {application_id} of service {service}");
    making.put_word(&mut shown, application, &words::CONTRACT_STATES, &whose);
    shown.insert("application_id".into(), application_id.clone().into());
    shown.insert("service".into(), service.clone().into());
    shown.insert("plan".into(), plan.clone().into());
    let mut sent =
        Record::from_iter(application.get("user_key").map(|it| ("user_key".to_owned(), it.clone())));
    making.fit(&mut sent, fit::APPLICATION, &whose);
    let user_key = text(&sent, "user_key").map(str::to_owned);
    callers.all.entry(service_id).or_default().push(usage::Caller {
        id: number_of,
        application_id,
        user_key: user_key.clone(),
    });
    if let Some(key) = &user_key {
        let secret = making.secret(&format!("{root}/user_key"), key);
        shown.insert("user_key".into(), secret);
    }
    let in_account = format!("{account}/applications/{number_of}");
    let version = known.versions.get(&service_id).map_or("", String::as_str);
    let mut keys = Vec::new();
    if version != "1" {
        let max = if version == "2" { values::KEYS_MAX } else { values::KEYS_MAX_OAUTH };
        let listed = making.list(&format!("{in_account}/keys"))?;
        let values = making.fitting((&listed, max), fit::is_key, &format!("{whose}, keys"));
        for (at, value) in values.iter().enumerate() {
            keys.push(making.secret(&format!("{root}/key/{}", at + 1), value));
        }
    }
    shown.insert("keys".into(), keys.into());
    let listed = making.list(&format!("{in_account}/referrer_filters"))?;
    let filters =
        making.fitting((&listed, values::FILTERS_MAX), fit::is_filter, &format!("{whose}, filters"));
    shown.insert("referrer_filters".into(), json!(filters));
    put_extra(making, (&mut shown, application), (known, "Cinstance"), &whose);
    Ok(Some(Value::Object(shown)))
}
