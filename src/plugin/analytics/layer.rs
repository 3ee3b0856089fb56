//! What was taken in and is not on the shelf yet: it lies over the rows that are there.

use std::collections::HashMap;

use super::row::{HOURS, Row};
use crate::model::id::{ApplicationId, MetricSlot, ServiceId};

/// What becomes of one hour's amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// So much is added.
    Add(i64),
    /// It is so much, whatever it was.
    Set(i64),
}

impl Step {
    pub(super) fn on(self, amount: i64) -> i64 {
        match self {
            Step::Add(more) => amount.saturating_add(more),
            Step::Set(amount) => amount,
        }
    }

    /// The one step that is as this one and then `later`.
    fn then(self, later: Step) -> Step {
        match (self, later) {
            (_, Step::Set(_)) => later,
            (Step::Set(amount), Step::Add(_)) => Step::Set(later.on(amount)),
            (Step::Add(amount), Step::Add(_)) => Step::Add(later.on(amount)),
        }
    }
}

/// Steps of one application on one day, by slot and hour.
#[derive(Clone, Default, Debug)]
pub(super) struct Steps(Vec<(Place, Step)>);

/// A slot and, in the low bits, an hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place(u64);

impl Place {
    fn new(slot: u32, hour: u32) -> Place {
        Place(u64::from(slot) << 5 | u64::from(hour))
    }

    fn slot(self) -> u32 {
        (self.0 >> 5) as u32
    }

    fn hour(self) -> u32 {
        (self.0 & 0x1F) as u32
    }
}

impl Steps {
    /// Whether there was none there.
    fn add(&mut self, slot: u32, hour: u32, step: Step) -> bool {
        let place = Place::new(slot, hour);
        match self.0.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(at) => {
                self.0[at].1 = self.0[at].1.then(step);
                false
            }
            Err(at) => {
                self.0.insert(at, (place, step));
                true
            }
        }
    }

    /// Takes the steps on a row; shows `changed` by how much each amount differs then.
    pub(super) fn on(&self, row: &mut Row, mut changed: impl FnMut(u32, u32, i64)) {
        for (place, step) in &self.0 {
            let amount = row.cell(place.slot(), place.hour());
            let before = std::mem::replace(amount, step.on(*amount));
            changed(place.slot(), place.hour(), amount.saturating_sub(before));
        }
    }

    /// The steps of one slot, by hour.
    pub(super) fn of(&self, slot: u32) -> impl Iterator<Item = (u32, Step)> + '_ {
        let from = self.0.partition_point(|(place, _)| *place < Place::new(slot, 0));
        self.0[from..]
            .iter()
            .take_while(move |(place, _)| place.slot() == slot)
            .map(|(place, step)| (place.hour(), *step))
    }
}

/// Steps of one application, by day. Most have one day.
#[derive(Clone, Default, Debug)]
pub(super) struct Days(Vec<(u32, Steps)>);

impl Days {
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Steps)> + '_ {
        self.0.iter().map(|(day, steps)| (*day, steps))
    }

    fn find(&self, day: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&day, |(day, _)| *day)
    }
}

/// Steps of one service, by application.
pub(super) type OfService = HashMap<ApplicationId, Days>;

/// All of it.
#[derive(Default)]
pub(super) struct Layer {
    /// The shelf's epoch once this is on it; [`u64::MAX`] if that is not known yet.
    pub(super) epoch: u64,
    services: HashMap<ServiceId, OfService>,
    /// How many applications' days there are in it.
    rows: usize,
    /// How many steps, about: those of services that are forgotten count on.
    steps: usize,
}

impl Layer {
    pub(super) fn new(epoch: u64) -> Layer {
        Layer { epoch, ..Layer::default() }
    }

    /// Adds a step, in an hour since 1970.
    pub(super) fn add(&mut self, owner: (ServiceId, ApplicationId), slot: MetricSlot, hour: u32, step: Step) {
        let (service, application) = owner;
        let days = self.services.entry(service).or_default().entry(application).or_default();
        let at = days.find(hour / HOURS).unwrap_or_else(|at| {
            self.rows += 1;
            days.0.insert(at, (hour / HOURS, Steps::default()));
            at
        });
        self.steps += usize::from(days.0[at].1.add(slot.0, hour % HOURS, step));
    }

    /// How many steps are in it.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn of(&self, service: ServiceId) -> Option<&OfService> {
        self.services.get(&service)
    }

    /// All steps, services in order, so that what lies together on the shelf is written together.
    pub(super) fn in_order(&self) -> Vec<(ServiceId, u32, ApplicationId, &Steps)> {
        let mut all: Vec<_> = self
            .services
            .iter()
            .flat_map(|(service, of)| {
                of.iter().map(move |(application, days)| (*service, *application, days))
            })
            .flat_map(|(service, application, days)| {
                days.iter().map(move |(day, steps)| (service, day, application, steps))
            })
            .collect();
        all.sort_unstable_by_key(|(service, day, application, _)| (service.0, *day, application.0));
        all
    }

    /// Forgets a service.
    pub(super) fn remove(&mut self, service: ServiceId) {
        let gone = self.services.remove(&service).unwrap_or_default();
        self.rows -= gone.values().map(|days| days.0.len()).sum::<usize>();
    }

    pub(super) fn clear(&mut self) {
        self.services.clear();
        self.rows = 0;
        self.steps = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_one_after_the_other() {
        let owner = (ServiceId(1), ApplicationId(2));
        let mut layer = Layer::default();
        for (slot, hour, step) in [
            (5, 49, Step::Add(3)),
            (5, 49, Step::Add(-1)),
            (5, 50, Step::Add(3)),
            (5, 50, Step::Set(7)),
            (5, 50, Step::Add(1)),
            (6, 50, Step::Add(i64::MAX)),
            (6, 50, Step::Add(1)),
        ] {
            layer.add(owner, MetricSlot(slot), hour, step);
        }
        assert_eq!(layer.rows(), 1);
        let mut row = Row::default();
        *row.cell(5, 1) = 10;
        *row.cell(5, 2) = 10;
        let mut changed = Vec::new();
        let (service, day, application, steps) = layer.in_order()[0];
        assert_eq!((service.0, day, application.0), (1, 2, 2));
        steps.on(&mut row, |slot, hour, by| changed.push((slot, hour, by)));
        assert_eq!(changed, [(5, 1, 2), (5, 2, -2), (6, 2, i64::MAX)]);
        assert_eq!(row.hours(5).unwrap()[..4], [0, 12, 8, 0]);
        assert_eq!(steps.of(5).collect::<Vec<_>>(), [(1, Step::Add(2)), (2, Step::Set(8))]);
        assert_eq!(steps.of(4).count(), 0);
        layer.remove(service);
        assert_eq!((layer.rows(), layer.in_order().len()), (0, 0));
    }
}
