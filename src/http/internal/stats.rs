//! `DELETE /services/:s/stats`: the counters of all applications of a service begin again at zero, in the background
//! (see `sweep`).

use serde_json::json;

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::records::Records;

pub(super) fn answer(api: &Api, call: &Call, service: &str) -> Outcome {
    if call.verb != Verb::Delete {
        return Err(Refusal::NoSuchRoute);
    }
    let reply = api.change(|draft| {
        let service = Records::service(draft, service)?.id;
        // Another wish than one that may be under way: what was counted since is to go too.
        let wish = draft.catalog().version + 1;
        draft.edit_service(service, |service| service.stats_erasure = Some(wish))?;
        Ok(Reply::ok(json!({"status": "to_be_deleted"})))
    })?;
    api.sweeper.wake();
    Ok(reply)
}
