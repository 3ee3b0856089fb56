//! Requests that wait for their answers, found by id.
//!
//! An id is a place in a table and how often that place was used: it is found without a search, and an answer that comes
//! twice finds nothing. A call that was given up keeps its place until its answer comes, as the node counts it in the
//! window until then; so nothing leaks, and no id is used for two requests at a time.

use tokio::time::Instant;

use super::Ask;

/// Who gets the answer.
pub(super) enum Wait {
    /// A frame of its own.
    One(Ask),
    /// A BATCH: its items, in order.
    Batch(Vec<Ask>),
    /// A PING of the connection's own.
    Nobody,
}

struct Place {
    turn: u32,
    waiting: Option<Sent>,
}

/// A request that is on its way.
pub(super) struct Sent {
    pub(super) wait: Wait,
    /// How many bytes the connection has written once the frame is out.
    pub(super) ends_at: u64,
    pub(super) since: Instant,
}

#[derive(Default)]
pub(super) struct Waiting {
    places: Vec<Place>,
    free: Vec<u32>,
    len: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Keeps a request and says its id, which is never 0.
    pub(super) fn add(&mut self, sent: Sent) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { turn: 0, waiting: None });
            // As many as the window has requests, and that is a u32.
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[at as usize];
        place.turn = place.turn.wrapping_add(1).max(1);
        place.waiting = Some(sent);
        self.len += 1;
        u64::from(place.turn) << 32 | u64::from(at)
    }

    /// Says of a request how many bytes are written once it is out.
    pub(super) fn ends_at(&mut self, id: u64, ends_at: u64) {
        if let Some(sent) = self.places.get_mut(id as u32 as usize).and_then(|place| place.waiting.as_mut()) {
            sent.ends_at = ends_at;
        }
    }

    /// The request of an id, if it waits.
    pub(super) fn take(&mut self, id: u64) -> Option<Sent> {
        let at = id as u32;
        let place = self.places.get_mut(at as usize)?;
        if u64::from(place.turn) != id >> 32 {
            return None;
        }
        let sent = place.waiting.take()?;
        self.free.push(at);
        self.len -= 1;
        Some(sent)
    }

    /// When the oldest one was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.places.iter().filter_map(|place| place.waiting.as_ref()).map(|sent| sent.since).min()
    }

    /// All that wait.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Sent> {
        self.free.clear();
        self.len = 0;
        std::mem::take(&mut self.places).into_iter().filter_map(|place| place.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Sent {
        Sent { wait: Wait::Nobody, ends_at: 0, since: Instant::now() }
    }

    #[test]
    fn an_answer_is_found_once() {
        let mut waiting = Waiting::default();
        let (first, second) = (waiting.add(sent()), waiting.add(sent()));
        assert_ne!(first, second);
        assert!(waiting.take(first).is_some() && waiting.take(first).is_none());
        assert_eq!(waiting.len(), 1);
        assert!(waiting.take(second).is_some());
    }

    #[test]
    fn a_place_is_used_again_under_another_id() {
        let mut waiting = Waiting::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let id = waiting.add(sent());
            assert!(id != 0 && seen.insert(id));
            assert!(waiting.take(id).is_some());
        }
        assert_eq!(waiting.places.len(), 1);
    }

    #[test]
    fn ids_that_nobody_chose_find_nothing() {
        let mut waiting = Waiting::default();
        let id = waiting.add(sent());
        for other in [0, 1, id + 1, id + (1 << 32), u64::MAX] {
            assert!(waiting.take(other).is_none(), "{other:#x}");
        }
    }
}
