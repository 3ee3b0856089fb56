//! Looking ahead: what came together is looked at before it is decided, so that what its decisions will need is fetched
//! from memory while there is still something else to do. Nothing is decided here, and what is malformed is passed
//! over: it is told in its turn.

use smallvec::SmallVec;

use super::greeting::service_by_text;
use super::session::Turn;
use crate::engine::{Handle, Scope, WARM_MAX, Whom};
use crate::model::id::ServiceId;
use crate::wire::{Items, Operation, Peek, split};

/// Fewer calls than that are not worth the detour.
const LEAST: usize = 3;

/// Looks at the first few frames of `input`; returns how many bytes they have.
pub(super) fn frames(turn: &Turn<'_>, input: &[u8], frame_max: u32) -> usize {
    let mut ahead = Ahead::new(turn);
    let mut seen = 0;
    while ahead.has_room() {
        let Ok(Some((header, body))) = split(&input[seen..], frame_max) else { break };
        seen += header.length as usize;
        ahead.see(header.operation, body);
    }
    ahead.warm();
    seen.max(1)
}

/// Looks at the first [`WARM_MAX`] of `items`.
pub(super) fn items(turn: &Turn<'_>, items: Items<'_>) {
    let mut ahead = Ahead::new(turn);
    items.take(WARM_MAX).for_each(|item| ahead.see(item.operation, item.body));
    ahead.warm();
}

struct Ahead<'t, 's, 'a> {
    turn: &'t Turn<'s>,
    seen: usize,
    whom: SmallVec<[Whom<'a>; WARM_MAX]>,
    /// The last service by its text: mostly the next one's, too.
    last: Option<(&'a str, ServiceId)>,
}

impl<'t, 's, 'a> Ahead<'t, 's, 'a> {
    fn new(turn: &'t Turn<'s>) -> Self {
        Ahead { turn, seen: 0, whom: SmallVec::new(), last: None }
    }

    fn has_room(&self) -> bool {
        self.seen < WARM_MAX
    }

    fn see(&mut self, operation: Operation, body: &'a [u8]) {
        self.seen += 1;
        if let Some(peek) = operation.fits_batch().then(|| Peek::at(body)).flatten() {
            let whom = self.whom(&peek);
            self.whom.extend(whom);
        }
    }

    fn whom(&mut self, peek: &Peek<'a>) -> Option<Whom<'a>> {
        if let Some(handle) = peek.handle {
            return Some(Whom::Bound(Handle(handle)));
        }
        let service = match (self.turn.scope, peek.service) {
            (Scope::Service(id), _) => id,
            (_, Some(text)) => self.service(text)?,
            _ => return None,
        };
        match (peek.user_key, peek.app_id) {
            (Some(text), _) => Some(Whom::UserKey { service, text }),
            (None, Some(text)) => Some(Whom::AppId { service, text }),
            (None, None) => None,
        }
    }

    fn service(&mut self, text: &'a str) -> Option<ServiceId> {
        match self.last {
            Some((known, id)) if known == text => Some(id),
            _ => {
                let turn = self.turn;
                let id = service_by_text(&turn.server.engine, turn.moment.catalog(), text)?.id;
                self.last = Some((text, id));
                Some(id)
            }
        }
    }

    fn warm(self) {
        if self.whom.len() >= LEAST {
            self.turn.moment.warm(&self.whom);
        }
    }
}
