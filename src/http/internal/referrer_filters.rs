//! `/services/:s/applications/:id/referrer_filters`: from where an application may be called.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::json;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::records::Records;
use crate::model::draft::Draft;
use crate::model::id::ApplicationId;

/// Filters stand in paths in the alphabet for URLs; with padding as Ruby writes it, or without as others do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn answer(api: &Api, call: &Call, service: &str, id: &str, rest: &[&str]) -> Outcome {
    match (call.verb, rest) {
        (Verb::Get, []) => {
            let records = api.records();
            let application = records.application(records.service(service)?.id, id)?;
            let mut filters = application.referrer_filters.to_vec();
            filters.sort_unstable();
            Ok(Reply::ok(json!({"status": "found", "referrer_filters": filters})))
        }
        (Verb::Post, []) => {
            let filter = call.body.text("referrer_filter")?;
            let filter = filter.ok_or(Refusal::Bad("referrer_filter cannot be blank".to_owned()))?;
            api.change(|draft| {
                let service = Records::service(draft, service)?.id;
                let application = Records::application(draft, service, id)?.id;
                add(draft, application, &filter)?;
                Ok(Reply::created(json!({"status": "created", "referrer_filter": filter})))
            })
        }
        (Verb::Delete, [encoded]) => {
            let filter = BASE64.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let unreadable = "the referrer filter in the path is not a text in url-safe base64";
            let filter = filter.ok_or(Refusal::Bad(unreadable.to_owned()))?;
            api.change(|draft| {
                let service = Records::service(draft, service)?.id;
                let application = Records::application(draft, service, id)?;
                if application.referrer_filters.contains(&filter) {
                    let application = application.id;
                    draft.edit_application(application, |it| {
                        it.referrer_filters.retain(|known| *known != filter);
                    })?;
                }
                Ok(Reply::deleted())
            })
        }
        _ => Err(Refusal::NoSuchRoute),
    }
}

/// Adds a filter, unless the application has it already.
pub(super) fn add(draft: &mut Draft<'_>, application: ApplicationId, filter: &str) -> Result<(), Refusal> {
    let known = draft.catalog().applications.get(application.0);
    if known.is_some_and(|it| it.referrer_filters.iter().any(|known| known == filter)) {
        return Ok(());
    }
    Ok(draft.edit_application(application, |it| it.referrer_filters.push(filter.to_owned()))?)
}
