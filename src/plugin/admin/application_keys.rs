//! Keys and referrer filters of applications: `/accounts/{id}/applications/{id}/keys`, `.../referrer_filters`.
//!
//! A key is named in paths by itself, a filter by an id. Making and deleting either answers the application, as in the original.

use std::sync::Arc;

use serde_json::json;

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::applications::{ACCESS, ApplicationDetails, Filter, answer, application, entity};
use super::check;
use super::context::Context;
use super::credentials;
use super::routes::{DELETE, GET, POST, Route};
use super::times;
use super::xml::Element;
use crate::document::values;
use crate::model::record::Secret;

pub(super) const ROUTES: &[Route] = &[
    Route::new(GET, "accounts/{account_id}/applications/{application_id}/keys", ACCESS, list_keys),
    Route::new(POST, "accounts/{account_id}/applications/{application_id}/keys", ACCESS, create_key),
    Route::new(DELETE, "accounts/{account_id}/applications/{application_id}/keys/{key}", ACCESS, delete_key),
    Route::new(
        GET,
        "accounts/{account_id}/applications/{application_id}/referrer_filters",
        ACCESS,
        list_filters,
    ),
    Route::new(
        POST,
        "accounts/{account_id}/applications/{application_id}/referrer_filters",
        ACCESS,
        create_filter,
    ),
    Route::new(
        DELETE,
        "accounts/{account_id}/applications/{application_id}/referrer_filters/{id}",
        ACCESS,
        delete_filter,
    ),
];

fn list_keys(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let found = application(seen, context.id(0)?, context.id(1)?)?;
    let details = seen.records.find::<ApplicationDetails>(found.id.0)?.unwrap_or_default();
    let shown = found.app_keys.iter().enumerate().map(|(place, key)| {
        let made = times::text(details.key_times.get(place).copied().unwrap_or(details.created_at));
        let json = json!({"value": key.expose(), "created_at": made, "updated_at": made});
        let xml = Element::new("key")
            .field("value", key.expose())
            .field("created_at", &made)
            .field("updated_at", &made);
        Entity { wrapper: "key", json, xml }
    });
    Ok(Reply::list("keys", shown.collect(), None))
}

fn create_key(context: &Context<'_>) -> Outcome {
    let fields = context.request.parameters();
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let found = Arc::clone(application(edit.seen(), account, id)?);
        let key = match fields.filled("key") {
            Some(key) => key,
            None => credentials::random::<16>()?,
        };
        let mut errors = Errors::default();
        credentials::check_app_key(found.app_keys.iter(), &key, "value", &mut errors);
        let max = credentials::keys_max(edit.seen().service(found.service.0)?);
        if found.app_keys.len() >= max {
            errors.add("base", "Limit reached");
        }
        errors.check()?;
        // The last is the newest: clients look for it there.
        edit.draft.edit_application(found.id, |it| it.app_keys.push(Secret::new(&key)))?;
        let seen = edit.seen();
        Ok(Reply::created(entity(seen, seen.application(id)?)?))
    })
}

fn delete_key(context: &Context<'_>) -> Outcome {
    let (account, id) = (context.id(0)?, context.id(1)?);
    let key = context.text(2);
    context.change(|edit| {
        let found = Arc::clone(application(edit.seen(), account, id)?);
        if !found.app_keys.iter().any(|it| it.matches(key)) {
            return Err(Refusal::NotFound);
        }
        edit.draft.edit_application(found.id, |it| it.app_keys.retain(|it| !it.matches(key)))?;
        answer(edit, id)
    })
}

/// A filter that came otherwise has no record; its id follows from what it says.
fn filter_of(details: &ApplicationDetails, value: &str) -> Filter {
    let known = details.filters.iter().find(|filter| filter.value == value);
    known.cloned().unwrap_or_else(|| Filter {
        id: u64::from(crc32fast::hash(value.as_bytes())),
        value: value.to_owned(),
        created_at: details.created_at,
    })
}

fn list_filters(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let found = application(seen, context.id(0)?, context.id(1)?)?;
    let details = seen.records.find::<ApplicationDetails>(found.id.0)?.unwrap_or_default();
    let shown = found.referrer_filters.iter().map(|value| {
        let filter = filter_of(&details, value);
        let made = times::text(filter.created_at);
        let json = json!({"id": filter.id, "value": value, "created_at": made, "updated_at": made});
        let xml = Element::new("referrer_filter")
            .field("id", filter.id)
            .field("value", value)
            .field("created_at", &made)
            .field("updated_at", &made);
        Entity { wrapper: "referrer_filter", json, xml }
    });
    Ok(Reply::list("referrer_filters", shown.collect(), None))
}

fn create_filter(context: &Context<'_>) -> Outcome {
    let fields = context.request.parameters();
    let (account, id) = (context.id(0)?, context.id(1)?);
    context.change(|edit| {
        let found = Arc::clone(application(edit.seen(), account, id)?);
        let value = fields.text("referrer_filter").unwrap_or_default();
        let mut errors = Errors::default();
        check::present(&mut errors, "value", Some(&value));
        if !values::is_filter(&value) {
            errors.add("value", check::INVALID);
        }
        if found.referrer_filters.contains(&value) {
            errors.add("value", check::TAKEN);
        }
        if found.referrer_filters.len() >= values::FILTERS_MAX {
            errors.add("base", "Limit reached");
        }
        errors.check()?;
        let mut details = edit.records.find::<ApplicationDetails>(id)?.unwrap_or_default();
        details.filters.retain(|filter| found.referrer_filters.contains(&filter.value));
        let filter = Filter { id: edit.draft.take_id(), value: value.clone(), created_at: edit.now };
        details.filters.push(filter);
        edit.records.save(id, &details)?;
        edit.draft.edit_application(found.id, |it| it.referrer_filters.push(value))?;
        let seen = edit.seen();
        Ok(Reply::created(entity(seen, seen.application(id)?)?))
    })
}

fn delete_filter(context: &Context<'_>) -> Outcome {
    let (account, id, filter) = (context.id(0)?, context.id(1)?, context.id(2)?);
    context.change(|edit| {
        let found = Arc::clone(application(edit.seen(), account, id)?);
        let mut details = edit.records.find::<ApplicationDetails>(id)?.unwrap_or_default();
        let gone = found.referrer_filters.iter().find(|value| filter_of(&details, value).id == filter);
        let gone = gone.ok_or(Refusal::NotFound)?;
        details.filters.retain(|filter| filter.value != *gone);
        edit.records.save(id, &details)?;
        edit.draft.edit_application(found.id, |it| it.referrer_filters.retain(|value| value != gone))?;
        answer(edit, id)
    })
}
