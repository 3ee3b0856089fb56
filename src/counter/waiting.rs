//! Future-dated usage that waits for its windows to open.
//!
//! Which windows an item still waits for follows from its date and the shard's present windows alone: those of
//! its date that are not open. So items of the same subject, metric and minute can be merged, and an item only
//! remembers what it does.

use std::collections::BTreeMap;

use super::snapshot::WaitingImage;
use crate::model::amount::Effect;
use crate::model::id::MetricSlot;
use crate::model::time::{Minute, Period, Windows};

/// One thing that waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    dated: Minute,
    subject_place: u32,
    slot: MetricSlot,
    /// How many sets had come before it, itself included: the order in which items are applied when a window opens
    /// for several at once. Additions between two sets have the same, since they commute.
    order: u64,
}

/// The waiting usage of a shard, by date.
#[derive(Default, Debug)]
pub(super) struct Waiting {
    items: BTreeMap<Place, Effect>,
    /// How many sets have come.
    sets: u64,
}

/// Something whose window opens: to be applied for those periods that opened.
#[derive(Debug)]
pub(super) struct Opened {
    order: (u64, bool),
    pub(super) subject_place: u32,
    pub(super) slot: MetricSlot,
    pub(super) effect: Effect,
    dated: Windows,
}

impl Opened {
    /// Whether `period`'s window of the item's date is open in `now` and was not in `before`.
    pub(super) fn opens(&self, period: Period, before: &Windows, now: &Windows) -> bool {
        is_open(period, &self.dated, now) && !is_open(period, &self.dated, before)
    }
}

/// Whether the window of `period` around `dated` is the open one of `now`.
pub(super) fn is_open(period: Period, dated: &Windows, now: &Windows) -> bool {
    dated.start(period) == now.start(period)
}

impl Waiting {
    /// Keeps an effect. Returns by how many the items became more (or less).
    pub(super) fn add(
        &mut self,
        dated: Minute,
        subject_place: u32,
        slot: MetricSlot,
        effect: Effect,
    ) -> isize {
        let place = |order| Place { dated, subject_place, slot, order };
        let mut gone = 0;
        if let Effect::Set(_) = effect {
            self.sets += 1;
            // What waits for the same windows of the same counter is replaced anyway.
            let replaced: Vec<Place> =
                self.items.range(place(0)..=place(u64::MAX)).map(|(it, _)| *it).collect();
            for place in &replaced {
                self.items.remove(place);
            }
            gone = replaced.len();
        }
        let before = self.items.get(&place(self.sets)).copied();
        self.items.insert(place(self.sets), before.map_or(effect, |before| before.then(effect)));
        isize::from(before.is_none()) - isize::try_from(gone).unwrap_or(isize::MAX)
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Moves from `before` to `now`: what is concerned, in the order in which it came; then forgets what is due.
    /// Returns also how many were forgotten.
    pub(super) fn advance(&mut self, before: &Windows, now: &Windows) -> (Vec<Opened>, usize) {
        let mut opened = Vec::new();
        let mut dated = Windows::at(Minute(0));
        for (place, effect) in &self.items {
            if dated.minute() != place.dated {
                dated = Windows::at(place.dated);
            }
            let Place { subject_place, slot, .. } = *place;
            let item =
                Opened { order: order_of(place, *effect), subject_place, slot, effect: *effect, dated };
            if Period::ALL.into_iter().any(|period| item.opens(period, before, now)) {
                opened.push(item);
            }
        }
        opened.sort_by_key(|item| item.order);
        let later =
            Place { dated: Minute(now.minute().0 + 1), subject_place: 0, slot: MetricSlot(0), order: 0 };
        let kept = self.items.split_off(&later);
        let come = std::mem::replace(&mut self.items, kept);
        (opened, come.len())
    }

    /// Forgets what waits for a subject. Returns how many items that were.
    pub(super) fn forget(&mut self, subject_place: u32) -> usize {
        let before = self.items.len();
        self.items.retain(|place, _| place.subject_place != subject_place);
        before - self.items.len()
    }

    /// What waits, by subject place, in the order in which it came.
    pub(super) fn images(&self, counted: Minute) -> BTreeMap<u32, Vec<WaitingImage>> {
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_by_key(|(place, effect)| order_of(place, **effect));
        let mut images: BTreeMap<u32, Vec<WaitingImage>> = BTreeMap::new();
        for (place, effect) in items {
            let image = WaitingImage { slot: place.slot, dated: place.dated, counted, effect: *effect };
            images.entry(place.subject_place).or_default().push(image);
        }
        images
    }
}

/// By what items are sorted when they are applied: a set comes before the additions that followed it.
fn order_of(place: &Place, effect: Effect) -> (u64, bool) {
    (place.order, !matches!(effect, Effect::Set(_)))
}
