//! Producers: clients that number their requests, and what is remembered of the numbers.
//!
//! A window of [`WINDOW`] numbers ends with the highest that was counted. What lies in it is known exactly: counted, as
//! which request and with what outcome, or not counted. What lies below is not known any more. So a producer takes the
//! same space however much it sends, and may have as many requests under way at once as the window is wide.

use super::idempotency::{BodyHash, HORIZON_MS, WINDOW};
use super::time::UnixMillis;

/// What a number says of a request that carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbered {
    /// It was not counted.
    New,
    /// The same request was counted; what came of it.
    Counted(u64),
    /// Another request was counted under it.
    Other,
    /// It is so far below the highest number that this is not known.
    TooOld,
}

/// What is remembered of a producer.
#[derive(Clone, Debug)]
pub struct Window {
    /// The highest number that was counted.
    highest: u64,
    /// Bit `i`: whether `highest - i` was.
    counted: u64,
    /// By number modulo [`WINDOW`]: half of the request's hash, which tells requests apart. Of no meaning if it was not counted.
    bodies: [u32; WINDOW as usize],
    /// Numbers of which something came, and what. Few: only reservations have an outcome.
    outcomes: Vec<(u64, u64)>,
    /// The engine's time when the last was.
    at: UnixMillis,
}

/// Whether they say the same of every number.
impl PartialEq for Window {
    fn eq(&self, other: &Window) -> bool {
        let heads = |it: &Window| (it.highest, it.counted, it.at);
        heads(self) == heads(other) && self.iter().eq(other.iter())
    }
}

impl Eq for Window {}

impl Window {
    /// One in which nothing has been counted, though `highest` and what is below its window is settled. `highest` is at least 1.
    #[must_use]
    pub fn empty(highest: u64, at: UnixMillis) -> Window {
        Window { highest, counted: 0, bodies: [0; WINDOW as usize], outcomes: Vec::new(), at }
    }

    /// The highest number that was counted, or is settled.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Bit `i`: whether `highest - i` was counted.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// The engine's time when a request of it was counted last.
    #[must_use]
    pub fn at(&self) -> UnixMillis {
        self.at
    }

    /// Whether it has been idle for so long by then that it is not remembered.
    #[must_use]
    pub fn is_forgotten(&self, now: UnixMillis) -> bool {
        now.0 >= self.at.0.saturating_add(HORIZON_MS)
    }

    /// What `sequence` says of a request.
    #[must_use]
    pub fn judge(&self, sequence: u64, body: BodyHash) -> Numbered {
        match self.bit(sequence) {
            None if sequence > self.highest => Numbered::New,
            None => Numbered::TooOld,
            Some(bit) if self.counted & bit == 0 => Numbered::New,
            Some(_) if self.bodies[place(sequence)] != short(body) => Numbered::Other,
            Some(_) => Numbered::Counted(self.outcome(sequence)),
        }
    }

    /// Remembers that `sequence` was counted. What is below the window is not.
    pub fn count(&mut self, sequence: u64, body: BodyHash, outcome: u64, at: UnixMillis) {
        self.put(sequence, short(body), outcome);
        self.at = self.at.max(at);
    }

    /// Remembers what another window of the same producer does. In whatever order windows are joined, and however often
    /// each, the same comes of it, as a number is never counted as two requests. Of two windows between which the producer
    /// was idle for the horizon the later one stands alone: its numbers may have begun anew.
    pub fn join(&mut self, other: &Window) {
        if other.is_forgotten(self.at) {
            return;
        }
        if self.is_forgotten(other.at) {
            self.clone_from(other);
            return;
        }
        self.rise(other.highest);
        for (sequence, body, outcome) in other.iter() {
            self.put(sequence, body, outcome);
        }
        self.at = self.at.max(other.at);
    }

    /// The same, with those numbers only whose bits are in `mask`.
    #[must_use]
    pub fn only(&self, mask: u64) -> Window {
        let mut part = Window::empty(self.highest, self.at);
        for (sequence, body, outcome) in self.iter() {
            if self.bit(sequence).is_some_and(|bit| mask & bit != 0) {
                part.put(sequence, body, outcome);
            }
        }
        part
    }

    /// The bit of a number, if it lies in the window.
    #[must_use]
    pub fn bit(&self, sequence: u64) -> Option<u64> {
        let below = self.highest.checked_sub(sequence)?;
        (below < WINDOW.into()).then(|| 1 << below)
    }

    /// The numbers that were counted, from the highest down: the first half of the request's hash, and what came of it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32, u64)> {
        (0..u64::from(WINDOW)).filter(|below| self.counted >> below & 1 == 1).map(|below| {
            let sequence = self.highest - below;
            (sequence, self.bodies[place(sequence)], self.outcome(sequence))
        })
    }

    /// As it was written down: `highest`, the bits of those that were counted, and of each from the highest down
    /// what [`Window::iter`] shows. `None` if there is a number below 1, or `rest` ends early.
    pub fn read<E>(
        highest: u64,
        counted: u64,
        at: UnixMillis,
        mut rest: impl FnMut() -> Result<(u32, u64), E>,
    ) -> Result<Option<Window>, E> {
        let lowest = u64::from(counted.checked_ilog2().unwrap_or(0));
        if highest <= lowest {
            return Ok(None);
        }
        let mut window = Window::empty(highest, at);
        for below in (0..u64::from(WINDOW)).filter(|below| counted >> below & 1 == 1) {
            let (body, outcome) = rest()?;
            window.put(highest - below, body, outcome);
        }
        Ok(Some(window))
    }

    fn outcome(&self, sequence: u64) -> u64 {
        let found = self.outcomes.iter().find(|(of, _)| *of == sequence);
        found.map_or(0, |(_, outcome)| *outcome)
    }

    fn put(&mut self, sequence: u64, body: u32, outcome: u64) {
        self.rise(sequence);
        let Some(bit) = self.bit(sequence) else { return };
        if self.counted & bit != 0 {
            self.outcomes.retain(|(of, _)| *of != sequence);
        }
        self.counted |= bit;
        self.bodies[place(sequence)] = body;
        if outcome != 0 {
            self.outcomes.push((sequence, outcome));
        }
    }

    /// Moves the window up, if `highest` is above it.
    fn rise(&mut self, highest: u64) {
        let Some(by) = highest.checked_sub(self.highest).filter(|by| *by > 0) else { return };
        let stays = by.try_into().ok().and_then(|by: u32| self.counted.checked_shl(by)).unwrap_or(0);
        (self.highest, self.counted) = (highest, stays);
        if !self.outcomes.is_empty() {
            let lowest = highest.saturating_sub(u64::from(WINDOW) - 1);
            self.outcomes.retain(|(of, _)| *of >= lowest);
        }
    }
}

fn place(sequence: u64) -> usize {
    (sequence % u64::from(WINDOW)) as usize
}

fn short(body: BodyHash) -> u32 {
    (body.0 >> 32) as u32
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    const AT: UnixMillis = UnixMillis(5);

    fn body(number: u64) -> BodyHash {
        BodyHash(number << 32 | 7)
    }

    /// Any window.
    pub(crate) fn window() -> impl Strategy<Value = Window> {
        let numbers = prop::collection::vec((1..200_u64, any::<u32>(), any::<u64>()), 0..80);
        (numbers, 1..200_u64, any::<u32>()).prop_map(|(numbers, highest, at)| {
            let mut window = Window::empty(highest, UnixMillis(at.into()));
            for (sequence, body, outcome) in numbers {
                window.put(sequence, body, outcome);
            }
            window
        })
    }

    /// All that was ever counted, and the highest: what a window is a part of.
    #[derive(Default)]
    struct Model {
        counted: BTreeMap<u64, u64>,
    }

    impl Model {
        fn judge(&self, sequence: u64, body: u64) -> Numbered {
            let highest = self.counted.last_key_value().map_or(0, |(highest, _)| *highest);
            match self.counted.get(&sequence) {
                _ if sequence + u64::from(WINDOW) <= highest => Numbered::TooOld,
                None => Numbered::New,
                Some(known) if *known == body => Numbered::Counted(body * 3),
                Some(_) => Numbered::Other,
            }
        }
    }

    proptest! {
        #[test]
        fn a_window_knows_what_one_that_forgets_nothing_knows(
            calls in prop::collection::vec((1..300_u64, 1..3_u64), 1..300),
        ) {
            let mut model = Model::default();
            let mut window: Option<Window> = None;
            for (sequence, number) in calls {
                let says = window.as_ref().map_or(Numbered::New, |it| it.judge(sequence, body(number)));
                prop_assert_eq!(says, model.judge(sequence, number));
                if says == Numbered::New {
                    model.counted.insert(sequence, number);
                    let window = window.get_or_insert_with(|| Window::empty(sequence, AT));
                    window.count(sequence, body(number), number * 3, AT);
                }
            }
        }

        #[test]
        fn parts_join_to_the_whole_in_any_order_and_however_often(
            whole in window(),
            masks in prop::collection::vec(any::<u64>(), 1..5),
            mut order in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let covered = masks.iter().fold(0, |all, mask| all | mask);
            let parts: Vec<_> =
                masks.iter().chain([&!covered]).map(|mask| whole.only(*mask)).collect();
            let mut joined = Window::empty(1, UnixMillis(0));
            for part in order.drain(..).map(|index| index.get(&parts)).chain(&parts) {
                joined.join(part);
            }
            prop_assert_eq!(joined, whole);
        }

        #[test]
        fn it_is_read_as_it_was_written(window in window()) {
            let mut rest: Vec<_> = window.iter().map(|(_, body, outcome)| (body, outcome)).collect();
            rest.reverse();
            let read = Window::read(window.highest(), window.counted(), window.at(), || rest.pop().ok_or(()));
            prop_assert_eq!(read, Ok(Some(window)));
        }
    }

    #[test]
    fn of_windows_that_a_long_rest_parts_the_later_one_stands() {
        let mut before = Window::empty(100, AT);
        before.count(100, body(1), 0, AT);
        let mut after = Window::empty(5, UnixMillis(AT.0 + HORIZON_MS));
        after.count(5, body(2), 0, UnixMillis(AT.0 + HORIZON_MS));
        let (mut one, mut other) = (before.clone(), after.clone());
        one.join(&after);
        other.join(&before);
        assert_eq!([one, other], [after.clone(), after]);
    }

    #[test]
    fn numbers_begin_at_1() {
        let read =
            |highest, counted| Window::read::<()>(highest, counted, AT, || Ok((1, 0))).unwrap().is_some();
        assert_eq!(
            [read(0, 0), read(1, 0), read(1, 1), read(1, 2), read(2, 2)],
            [false, true, true, false, true]
        );
        assert_eq!([read(63, 1 << 63), read(64, 1 << 63)], [false, true]);
    }

    #[test]
    fn the_highest_number_there_is_does_no_harm() {
        let mut window = Window::empty(1, AT);
        window.count(1, body(1), 0, AT);
        window.count(u64::MAX, body(2), 9, AT);
        assert_eq!(window.judge(u64::MAX, body(2)), Numbered::Counted(9));
        assert_eq!(window.judge(1, body(1)), Numbered::TooOld);
        assert_eq!(window.judge(u64::MAX - 63, body(1)), Numbered::New);
    }
}
