//! One shard: the blocks of some subjects, what they counted since the last cut, and what waits.

use super::block::Counts;
use super::facts::Facts;
use super::holds::{Holds, Taken};
use super::pending::{Batch, PendingReservation, Usage};
use super::place::{Place, Places};
use super::snapshot::{HoldImage, SubjectImage};
use super::waiting::{Waiting, is_open};
use crate::model::alert::{Reached, Traffic};
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot, PlanId};
use crate::model::reservation::{Amounts, ReservationId};
use crate::model::time::{Minute, Period, UnixMillis, Windows};

const MINUTES_OF_DAY: u32 = 24 * 60;

pub(super) struct Shard {
    /// The catalog version under which usage may be counted here, and which the places' facts are of.
    pub(super) floor: u64,
    /// The windows that are open here. Only moves forward.
    windows: Windows,
    places: Places,
    pending: Batch,
    /// Raised at each cut, which makes every `Place::open` from before it void.
    epoch: u32,
    waiting: Waiting,
    pub(super) holds: Holds,
}

impl Shard {
    pub(super) fn new() -> Self {
        Shard {
            floor: 0,
            windows: Windows::at(Minute(0)),
            places: Places::default(),
            pending: Batch::default(),
            // Not zero, so that a new place's `open_epoch` of zero is never current.
            epoch: 1,
            waiting: Waiting::default(),
            holds: Holds::default(),
        }
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Gives a place to a subject. Whatever was there before is gone.
    pub(super) fn occupy(&mut self, place: u32, generation: u32, application: ApplicationId) {
        let occupied = Place { generation, application: application.0, ..Place::vacant() };
        self.places.put(place as usize, occupied);
    }

    /// Notes what the subject's record says now. With a new pass, handles made before lead nowhere.
    pub(super) fn note(&mut self, place: u32, facts: &Facts, pass: Option<u32>) {
        if let Some(it) = self.places.get_mut(place as usize) {
            (it.plan, it.flags) = (facts.plan.0, facts.flags);
            it.pass = pass.unwrap_or(it.pass);
        }
    }

    /// Keeps those away who look a subject up, until it is noted what its record says.
    pub(super) fn announce(&mut self, place: u32) {
        if let Some(it) = self.places.get_mut(place as usize) {
            it.flags.announce();
        }
    }

    /// What is noted of the subject at a place, and its pass.
    pub(super) fn facts(&self, place: u32) -> Option<(Facts, u32)> {
        let it = self.places.get(place as usize)?;
        let facts = Facts { application: it.application()?, plan: PlanId(it.plan), flags: it.flags };
        Some((facts, it.pass))
    }

    /// Begins to fetch what a decision needs next and is not in the place: from here to its use other things are looked up.
    pub(super) fn fetch(&self, place: u32) {
        std::hint::black_box(self.touch_beyond(place));
    }

    /// Reads a word of each cache line of a place.
    pub(super) fn touch(&self, place: u32) -> u32 {
        self.places.get(place as usize).map_or(0, |it| it.pass ^ it.block.touch())
    }

    /// Reads a word of each cache line that a decision needs and that is not in the place.
    pub(super) fn touch_beyond(&self, place: u32) -> u32 {
        let Some(it) = self.places.get(place as usize) else { return 0 };
        let record = if it.open_epoch == self.epoch { self.pending.touch(it.open) } else { 0 };
        record ^ it.block.touch_beyond()
    }

    /// Who the subject of that generation is.
    pub(super) fn application(&self, place: u32, generation: u32) -> Option<ApplicationId> {
        self.places.get(place as usize).filter(|it| it.generation == generation)?.application()
    }

    /// Takes a subject out. Returns how many waiting items went with it.
    pub(super) fn vacate(&mut self, place: u32) -> usize {
        if let Some(place) = self.places.get_mut(place as usize) {
            *place = Place::vacant();
        }
        self.holds.vacate(place);
        self.waiting.forget(place)
    }

    /// Sets the shard's clock back to `now`, with everything in it. For recovery only: nothing may be pending.
    pub(super) fn rewind(&mut self, now: Minute) {
        if now < self.windows.minute() {
            self.windows = Windows::at(now);
        }
        for place in self.places.iter_mut() {
            place.block.rewind(&Windows::at(now));
        }
        self.holds.rewind(UnixMillis::from_secs(now.secs()));
    }

    /// Whether the subject of that generation is there.
    pub(super) fn holds(&self, place: u32, generation: u32) -> bool {
        self.places.get(place as usize).is_some_and(|it| it.generation == generation && it.application != 0)
    }

    /// Moves the shard's clock to `now` if that is later. Returns how many waiting items have come.
    pub(super) fn advance(&mut self, now: Minute) -> usize {
        if now <= self.windows.minute() {
            return 0;
        }
        let before = std::mem::replace(&mut self.windows, Windows::at(now));
        if self.waiting.is_empty() {
            return 0;
        }
        let windows = &self.windows;
        let (opened, come) = self.waiting.advance(&before, windows);
        for item in opened {
            if let Some(place) = self.places.get_mut(item.subject_place as usize) {
                let opens = |period| item.opens(period, &before, windows);
                place.block.apply(item.slot, item.effect, windows, opens);
            }
        }
        come
    }

    pub(super) fn count(&self, place: u32, slot: MetricSlot, period: Period) -> u64 {
        self.places.get(place as usize).map_or(0, |it| it.block.count(slot, period, &self.windows))
    }

    pub(super) fn counts(&self, place: u32, slot: MetricSlot) -> Counts<'_> {
        match self.places.get(place as usize) {
            Some(it) => it.block.counts(slot, &self.windows),
            None => Counts::none(&self.windows),
        }
    }

    /// Counts `effects` dated `dated` and, if `contract` is given, keeps them for the next cut. Returns by how many
    /// the waiting items became more.
    pub(super) fn apply(
        &mut self,
        place: u32,
        contract: Option<u64>,
        dated: Minute,
        effects: &[(MetricSlot, Effect)],
    ) -> isize {
        let mut waits = 0;
        let Some(it) = self.places.get_mut(place as usize) else { return 0 };
        let Some(application) = it.application() else { return 0 };
        if dated == self.windows.minute() {
            for (slot, effect) in effects {
                it.block.apply(*slot, *effect, &self.windows, |_| true);
            }
        } else if dated < self.windows.minute() {
            for (slot, effect) in effects {
                let windows = &self.windows;
                it.block.apply(*slot, *effect, windows, |period| windows.contains_past(period, dated));
            }
        } else {
            let (windows, dated_windows) = (&self.windows, Windows::at(dated));
            for (slot, effect) in effects {
                it.block.apply(*slot, *effect, windows, |period| is_open(period, &dated_windows, windows));
                waits += self.waiting.add(dated, place, *slot, *effect);
            }
        }
        if let Some(contract) = contract {
            let open = (it.open_epoch == self.epoch).then_some(it.open);
            let counted = self.windows.minute();
            it.open = self.pending.record(open, &Usage { application, contract, dated, counted }, effects);
            it.open_epoch = self.epoch;
        }
        waits
    }

    /// Gives counters values that no request set: as [`Shard::apply`] with sets, but for what is told of it.
    pub(super) fn replace(
        &mut self,
        place: u32,
        contract: u64,
        dated: Minute,
        effects: &[(MetricSlot, Effect)],
    ) -> isize {
        let waits = self.apply(place, None, dated, effects);
        let counted = self.windows.minute();
        if let Some(it) = self.places.get_mut(place as usize)
            && let Some(application) = it.application()
        {
            let open = (it.open_epoch == self.epoch).then_some(it.open);
            it.open = self.pending.replace(open, &Usage { application, contract, dated, counted }, effects);
            it.open_epoch = self.epoch;
        }
        waits
    }

    /// Notes under which catalog alert levels are looked at; false if it was another one the last time.
    pub(super) fn keeps_levels(&mut self, place: u32, contract: u64) -> bool {
        let Some(it) = self.places.get_mut(place as usize) else { return true };
        // Four thousand million commands later the same bits mean another catalog; nobody waits for that alert.
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
        let version = contract as u32;
        std::mem::replace(&mut it.levels_of, version) == version
    }

    /// Keeps for the next cut that there was traffic, if it is of a new day.
    pub(super) fn note_traffic(&mut self, place: u32, contract: u64, dated: Minute) {
        let day = dated.0 / MINUTES_OF_DAY;
        let noted = u16::try_from(day).unwrap_or(u16::MAX);
        let Some(it) = self.places.get_mut(place as usize).filter(|it| it.day < noted) else { return };
        it.day = noted;
        if let Some(application) = it.application() {
            self.pending.note_traffic(Traffic { application, contract, day });
        }
    }

    /// Keeps for the next cut that a count reached a level.
    pub(super) fn reach(
        &mut self,
        place: u32,
        contract: u64,
        (slot, period): (MetricSlot, Period),
        (level, count, max): (u16, u64, u64),
    ) {
        let Some(application) = self.places.get(place as usize).and_then(Place::application) else { return };
        let (window, counted) = (self.windows.start(period), self.windows.minute());
        let reached = Reached { application, contract, slot, period, window, level, count, max, counted };
        self.pending.reach(reached);
    }

    /// Takes what is pending and leaves `spare` in its place.
    pub(super) fn cut(&mut self, floor: u64, spare: Batch) -> Batch {
        self.floor = self.floor.max(floor);
        self.epoch = self.epoch.wrapping_add(1).max(1);
        std::mem::replace(&mut self.pending, spare)
    }

    /// Copies subjects from place `from` on until `bytes_max` is reached; returns the place to go on from.
    pub(super) fn copy(&self, from: u32, bytes_max: usize, out: &mut Vec<SubjectImage>) -> Option<u32> {
        let mut waiting = self.waiting.images(self.windows.minute());
        let mut bytes = 0;
        for (number, place) in (from..).zip(self.places.range_from(from as usize)) {
            if bytes >= bytes_max {
                return Some(number);
            }
            let Some(application) = place.application() else { continue };
            bytes += place.block.bytes() + size_of::<SubjectImage>();
            let waiting = waiting.remove(&number).unwrap_or_default();
            let holds = self.holds.images(number);
            bytes += holds.iter().map(HoldImage::bytes).sum::<usize>();
            out.push(SubjectImage { application, cells: place.block.images(), waiting, holds });
        }
        None
    }

    /// The counts of one subject.
    pub(super) fn image(&self, place: u32) -> Option<SubjectImage> {
        let it = self.places.get(place as usize)?;
        let waiting = self.waiting.images(self.windows.minute()).remove(&place).unwrap_or_default();
        let holds = self.holds.images(place);
        Some(SubjectImage { application: it.application()?, cells: it.block.images(), waiting, holds })
    }

    /// Puts a subject's counts as a checkpoint has them. The shard's clock must not be behind the image's.
    /// Returns how many items wait for it.
    pub(super) fn restore(&mut self, place: u32, image: &SubjectImage) -> isize {
        let mut waits = 0;
        let Some(it) = self.places.get_mut(place as usize) else { return 0 };
        it.block.restore(&image.cells);
        for item in &image.waiting {
            // The shard's clock may have moved on since the copy was taken: what opened meanwhile is counted now.
            let (dated, counted) = (Windows::at(item.dated), Windows::at(item.counted));
            let windows = &self.windows;
            let opens = |period| is_open(period, &dated, windows) && !is_open(period, &dated, &counted);
            if Period::ALL.into_iter().any(opens) {
                it.block.apply(item.slot, item.effect, windows, opens);
            }
            if item.dated > windows.minute() {
                waits += self.waiting.add(item.dated, place, item.slot, item.effect);
            }
        }
        for hold in &image.holds {
            self.put_hold(place, hold.id, hold.amounts.as_slice().into());
        }
        waits
    }

    /// Lets a subject's reservations expire that are due. Nothing of it is done where none is open, unless `all` are
    /// meant: the remembered ones too.
    pub(super) fn expire(&mut self, place: u32, contract: u64, now: UnixMillis, all: bool) {
        let Some(it) = self.places.get_mut(place as usize).filter(|it| it.holds || all) else { return };
        let Some(application) = it.application() else { return };
        let pending = &mut self.pending;
        it.holds = self.holds.expire(place, now, |id| {
            pending.reserve(PendingReservation { application, contract, id, held: None });
        });
    }

    /// What a subject's open reservations hold, by ascending slot.
    pub(super) fn sums(&self, place: u32) -> &[(MetricSlot, u128)] {
        if self.places.get(place as usize).is_some_and(|it| it.holds) { self.holds.sums(place) } else { &[] }
    }

    /// Holds `amounts`, and keeps that for the next cut. `None` if too many reservations are open.
    pub(super) fn hold(
        &mut self,
        place: u32,
        contract: u64,
        ttl_s: u64,
        amounts: Amounts,
    ) -> Option<ReservationId> {
        let it = self.places.get_mut(place as usize)?;
        let application = it.application()?;
        let id = self.holds.add(place, ttl_s, amounts.clone())?;
        it.holds = true;
        self.pending.reserve(PendingReservation { application, contract, id, held: Some(&amounts) });
        Some(id)
    }

    /// Takes a reservation out, and keeps that for the next cut.
    pub(super) fn take(&mut self, place: u32, contract: u64, id: ReservationId) -> Taken {
        let taken = self.holds.take(place, id);
        let application = self.places.get(place as usize).and_then(Place::application);
        if let (Taken::Open(_) | Taken::Expired, Some(application)) = (&taken, application) {
            self.pending.reserve(PendingReservation { application, contract, id, held: None });
        }
        taken
    }

    /// Puts a reservation as the journal or a checkpoint has it.
    pub(super) fn put_hold(&mut self, place: u32, id: ReservationId, amounts: Amounts) {
        if let Some(it) = self.places.get_mut(place as usize) {
            it.holds = true;
            self.holds.put(place, id, amounts);
        }
    }

    /// Looks at the reservations of the next few subjects; see [`Holds::sweep`].
    pub(super) fn sweep(&mut self, now: UnixMillis, subjects_max: usize) {
        let places = &mut self.places;
        self.holds.sweep(now, subjects_max, |place| {
            if let Some(it) = places.get_mut(place as usize) {
                it.holds = false;
            }
        });
    }
}
