//! Looking ahead: what came together is looked at before it is decided, so that what its decisions will need is fetched
//! from memory while there is still something else to do. Nothing is decided here, and what is malformed is passed
//! over: it is told in its turn.

use smallvec::SmallVec;

use super::greeting::service_by_text;
use super::session::Turn;
use crate::engine::{Handle, Scope, WARM_MAX, Whom};
use crate::model::id::ServiceId;
use crate::wire::{Items, Operation, Peek, split};

/// Fewer calls than that are not worth the detour: who asks one by one pays nothing for it.
const LEAST: usize = 3;

/// Requests that were not carried out yet: what is asked, and the body.
type Calls<'a> = SmallVec<[(Operation, &'a [u8]); WARM_MAX]>;

/// Looks at the first few frames of `input`; returns how many bytes they have.
pub(super) fn frames(turn: &Turn<'_>, input: &[u8], frame_max: u32) -> usize {
    let mut calls = Calls::new();
    let mut seen = 0;
    while calls.len() < WARM_MAX {
        let Ok(Some((header, body))) = split(&input[seen..], frame_max) else { break };
        seen += header.length as usize;
        calls.push((header.operation, body));
    }
    warm(turn, &calls);
    seen.max(1)
}

/// Looks at the first [`WARM_MAX`] of `items`.
pub(super) fn items(turn: &Turn<'_>, items: Items<'_>) {
    let calls: Calls<'_> = items.take(WARM_MAX).map(|item| (item.operation, item.body)).collect();
    warm(turn, &calls);
}

fn warm(turn: &Turn<'_>, calls: &[(Operation, &[u8])]) {
    if calls.len() < LEAST {
        return;
    }
    // The last service by its text: mostly the next one's, too.
    let mut last = None;
    let whom: SmallVec<[_; WARM_MAX]> = calls
        .iter()
        .filter(|(operation, _)| operation.fits_batch())
        .filter_map(|(_, body)| whom(turn, &Peek::at(body)?, &mut last))
        .collect();
    turn.moment.warm(&whom);
}

fn whom<'a>(turn: &Turn<'_>, peek: &Peek<'a>, last: &mut Option<(&'a str, ServiceId)>) -> Option<Whom<'a>> {
    if let Some(handle) = peek.handle {
        return Some(Whom::Bound(Handle(handle)));
    }
    let service = match (turn.scope, peek.service) {
        (Scope::Service(id), _) => id,
        (_, Some(text)) => service(turn, text, last)?,
        _ => return None,
    };
    match (peek.user_key, peek.app_id) {
        (Some(text), _) => Some(Whom::UserKey { service, text }),
        (None, Some(text)) => Some(Whom::AppId { service, text }),
        (None, None) => None,
    }
}

fn service<'a>(turn: &Turn<'_>, text: &'a str, last: &mut Option<(&'a str, ServiceId)>) -> Option<ServiceId> {
    if let Some((_, id)) = last.filter(|(known, _)| *known == text) {
        return Some(id);
    }
    let id = service_by_text(&turn.server.engine, turn.moment.catalog(), text)?.id;
    *last = Some((text, id));
    Some(id)
}
