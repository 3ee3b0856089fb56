//! The store: all shards, and who lies where.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::block::Counts;
use super::facts::{Facts, Note};
use super::holds::Taken;
use super::lock::ShardLock;
use super::many::Locked;
use super::pending::Batch;
use super::shard::Shard;
use super::snapshot::SubjectImage;
use crate::model::amount::Effect;
use crate::model::id::{ApplicationId, MetricSlot, PlanId, Subject};
use crate::model::reservation::{Amounts, ReservationId};
use crate::model::time::{Minute, Period, UnixMillis, Windows};

/// How many shards there are: enough that two of a few dozen threads seldom meet, few enough to cut in microseconds.
pub const SHARDS: u32 = 64;

/// The most future-dated items that may wait on a node. Each takes about 100 bytes.
pub const WAITING_MAX: usize = 262_144;

/// The most subjects whose reservations are swept under one lock hold.
const SWEEP_MAX: usize = 64;

/// The caller's catalog is not the shard's: a command has come between, or is half-way. Read the catalog again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale;

/// The counters of all subjects.
pub struct Counters {
    shards: Box<[ShardLock<Shard>]>,
    free: Mutex<Places>,
    waiting: AtomicUsize,
    /// How often a shard's reservations were swept.
    swept: AtomicU32,
}

#[derive(Default)]
struct Places {
    next: u32,
    freed: Vec<Subject>,
}

/// What [`Counters::copy`] took in one lock hold.
pub struct Copied {
    /// What was pending in the shard: to be journalled before the copies can be used.
    pub pending: Batch,
    /// Where to go on; `None` when the shard is done.
    pub next: Option<u32>,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            shards: (0..SHARDS).map(|_| ShardLock::new(Shard::new())).collect(),
            free: Mutex::default(),
            waiting: AtomicUsize::new(0),
            swept: AtomicU32::new(0),
        }
    }
}

impl Counters {
    /// Gives `application` a place, with all counts zero.
    pub fn occupy(&self, application: ApplicationId) -> Subject {
        let subject = {
            let mut free = self.free.lock();
            match free.freed.pop() {
                Some(Subject { index, generation }) => {
                    Subject { index, generation: (generation + 1) & 0x7FFF_FFFF }
                }
                None => {
                    free.next += 1;
                    Subject { index: free.next - 1, generation: 0 }
                }
            }
        };
        let (shard, place) = self.locate(subject);
        shard.lock().occupy(place, subject.generation, application);
        subject
    }

    /// Takes a subject out; its place may be given to another from now on.
    pub fn vacate(&self, subject: Subject) {
        let (shard, place) = self.locate(subject);
        let gone = shard.lock().vacate(place);
        self.waiting.fetch_sub(gone, Ordering::Relaxed);
        self.free.lock().freed.push(subject);
    }

    /// Locks a subject whose place is known for sure.
    ///
    /// # Errors
    /// [`Stale`]: `contract` is not the shard's, or the subject is gone.
    pub fn lock(&self, subject: Subject, contract: u64, now: Minute) -> Result<SubjectGuard<'_>, Stale> {
        if subject == Subject::NONE {
            return Err(Stale);
        }
        let (shard, place) = self.locate(subject);
        let mut shard = shard.lock();
        if contract != shard.floor || !shard.holds(place, subject.generation) {
            return Err(Stale);
        }
        self.advance(&mut shard, now);
        Ok(SubjectGuard { shard: Locked::Own(shard), place, contract, waiting: &self.waiting })
    }

    /// Locks whoever is at `index` under the catalog of version `contract`, for one decision: with what is noted of the
    /// subject, and its pass. `None` if nobody is there.
    ///
    /// # Errors
    /// [`Stale`]: `contract` is not the shard's, or a command is about to change what leads to the subject.
    pub fn meet(&self, index: u32, contract: u64, now: Minute) -> Result<Option<Met<'_>>, Stale> {
        let shard = self.lock_shard(index % SHARDS, contract, now)?;
        meet(Locked::Own(shard), index, contract, &self.waiting)
    }

    /// Locks a shard under the catalog of version `contract`, and moves its clock to `now`.
    pub(super) fn lock_shard(
        &self,
        number: u32,
        contract: u64,
        now: Minute,
    ) -> Result<MutexGuard<'_, Shard>, Stale> {
        let mut shard = self.shards[number as usize].lock();
        if contract != shard.floor {
            return Err(Stale);
        }
        self.advance(&mut shard, now);
        Ok(shard)
    }

    /// A shard, unless somebody else holds it.
    pub(super) fn try_lock_shard(&self, number: u32) -> Option<MutexGuard<'_, Shard>> {
        self.shards[number as usize].try_lock()
    }

    /// How many future-dated items wait, to be counted on.
    pub(super) fn waiting_total(&self) -> &AtomicUsize {
        &self.waiting
    }

    /// Keeps those away who look a subject up, until a cut notes what its record says then. Before the catalog that
    /// says so is published, and before any key leads to the subject.
    pub fn announce(&self, subject: Subject) {
        let (shard, place) = self.locate(subject);
        shard.lock().announce(place);
    }

    /// Who a subject is, if it is still there.
    #[must_use]
    pub fn application_of(&self, subject: Subject) -> Option<ApplicationId> {
        let (shard, place) = self.locate(subject);
        shard.lock().application(place, subject.generation)
    }

    /// Notes what a record says, while nothing is decided yet.
    pub fn note(&self, note: &Note) {
        let (shard, place) = self.locate(note.subject);
        shard.lock().note(place, &note.facts, note.pass);
    }

    /// Lets decisions begin: facts are noted as the catalog of that version has them.
    pub fn open(&self, version: u64) {
        for number in 0..SHARDS {
            drop(self.cut(number, version, Batch::default()));
        }
    }

    /// Claims room for `count` future-dated items; false if there is none. [`SubjectGuard::apply`] gives back
    /// what it did not need.
    #[must_use]
    pub fn reserve_waiting(&self, count: usize) -> bool {
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        let fits = before + count <= WAITING_MAX;
        if !fits {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
        }
        fits
    }

    /// Gives back what [`Counters::reserve_waiting`] claimed and nobody used.
    pub fn release_waiting(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// How many future-dated items wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes what is pending in shard `number` and raises its floor.
    pub fn cut(&self, number: u32, floor: u64, spare: Batch) -> Batch {
        self.cut_and_note(number, floor, spare, &[])
    }

    /// As [`Counters::cut`], and notes in the same lock hold what the catalog of version `floor` says of subjects in
    /// this shard.
    pub fn cut_and_note(&self, number: u32, floor: u64, spare: Batch, notes: &[Note]) -> Batch {
        let mut shard = self.shards[number as usize].lock();
        for note in notes {
            shard.note(note.subject.index / SHARDS, &note.facts, note.pass);
        }
        shard.cut(floor, spare)
    }

    /// The shard that a subject lies in.
    #[must_use]
    pub fn shard_of(subject: Subject) -> u32 {
        subject.index % SHARDS
    }

    /// Copies subjects of shard `number`, from place `from` on, about `bytes_max` bytes of them, together with
    /// what is pending in the shard: in one lock hold, so that copies and pending usage do not overlap.
    pub fn copy(
        &self,
        number: u32,
        from: u32,
        bytes_max: usize,
        spare: Batch,
        out: &mut Vec<SubjectImage>,
    ) -> Copied {
        let mut shard = self.shards[number as usize].lock();
        let floor = shard.floor;
        let pending = shard.cut(floor, spare);
        Copied { pending, next: shard.copy(from, bytes_max, out) }
    }

    /// The counts of one subject, as they are now.
    #[must_use]
    pub fn image(&self, subject: Subject, now: Minute) -> Option<SubjectImage> {
        let (shard, place) = self.locate(subject);
        let mut shard = shard.lock();
        if !shard.holds(place, subject.generation) {
            return None;
        }
        self.advance(&mut shard, now);
        shard.image(place)
    }

    /// Puts a subject's counts as a checkpoint has them.
    pub fn restore(&self, subject: Subject, image: &SubjectImage) {
        let (shard, place) = self.locate(subject);
        let mut shard = shard.lock();
        // What was open when the copy was taken is in its counts: the shard must not open it again.
        let counted = image.waiting.iter().map(|item| item.counted).max();
        self.advance(&mut shard, counted.unwrap_or_default());
        let waits = shard.restore(place, image);
        add(&self.waiting, waits);
    }

    /// Counts again what the journal says was counted.
    pub fn replay(&self, subject: Subject, dated: Minute, counted: Minute, effects: &[(MetricSlot, Effect)]) {
        let (shard, place) = self.locate(subject);
        let mut shard = shard.lock();
        self.advance(&mut shard, counted);
        let waits = shard.apply(place, None, dated, effects);
        add(&self.waiting, waits);
    }

    /// Sets the clock back to `now`: counts of windows that are not open then are dropped. For recovery only.
    pub fn rewind(&self, now: Minute) {
        for shard in &self.shards {
            shard.lock().rewind(now);
        }
    }

    /// Holds again what the journal says was held.
    pub fn replay_hold(&self, subject: Subject, id: ReservationId, amounts: Amounts) {
        let (shard, place) = self.locate(subject);
        shard.lock().put_hold(place, id, amounts);
    }

    /// Takes out a reservation that the journal says was taken out.
    pub fn replay_release(&self, subject: Subject, id: ReservationId) {
        let (shard, place) = self.locate(subject);
        shard.lock().holds.remove(place, id);
    }

    /// Begins the numbers of reservations at random, so that after a restart they are others.
    pub fn begin_numbers(&self, seed: u64) {
        for (number, shard) in (1_u64..).zip(&self.shards) {
            // Each shard elsewhere; the upper bits of a product are the mixed ones.
            let number = (seed ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            shard.lock().holds.begin_numbers(u32::try_from(number).unwrap_or(0));
        }
    }

    /// Gives back the memory of reservations that are long over, of a few subjects of one shard; the next time of the
    /// next shard.
    pub fn sweep(&self, now: UnixMillis) {
        let number = self.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        self.shards[number as usize].lock().sweep(now, SWEEP_MAX);
    }

    /// How many reservations are open, or were when they were last looked at.
    #[must_use]
    pub fn open_reservations(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().holds.open()).sum()
    }

    fn advance(&self, shard: &mut Shard, now: Minute) {
        let come = shard.advance(now);
        if come > 0 {
            self.waiting.fetch_sub(come, Ordering::Relaxed);
        }
    }

    fn locate(&self, subject: Subject) -> (&ShardLock<Shard>, u32) {
        self.locate_index(subject.index)
    }

    fn locate_index(&self, index: u32) -> (&ShardLock<Shard>, u32) {
        (&self.shards[(index % SHARDS) as usize], index / SHARDS)
    }
}

/// Whoever is at `index`, which lies in `shard`.
pub(super) fn meet<'a>(
    shard: Locked<'a>,
    index: u32,
    contract: u64,
    waiting: &'a AtomicUsize,
) -> Result<Option<Met<'a>>, Stale> {
    let place = index / SHARDS;
    let Some((facts, pass)) = shard.facts(place) else { return Ok(None) };
    shard.fetch(place);
    if facts.flags.is_announced() {
        return Err(Stale);
    }
    Ok(Some(Met { subject: SubjectGuard { shard, place, contract, waiting }, facts, pass }))
}

/// A subject that was found at its index.
pub struct Met<'a> {
    /// The subject, locked.
    pub subject: SubjectGuard<'a>,
    /// What its record says.
    pub facts: Facts,
    /// What handles to it carry.
    pub pass: u32,
}

/// One subject, locked: what is read and counted through it is one step.
pub struct SubjectGuard<'a> {
    shard: Locked<'a>,
    place: u32,
    contract: u64,
    waiting: &'a AtomicUsize,
}

impl SubjectGuard<'_> {
    /// The windows that are open here: of the caller's minute, or later if the shard has seen a later one.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        self.shard.windows()
    }

    /// What `slot` counted in the open window of `period`.
    #[must_use]
    pub fn count(&self, slot: MetricSlot, period: Period) -> u64 {
        self.shard.count(self.place, slot, period)
    }

    /// Lets reservations expire that are due, if any is open. Comes before [`SubjectGuard::reserved`].
    pub fn expire(&mut self, now: UnixMillis) {
        self.shard.expire(self.place, self.contract, now, false);
    }

    /// What open reservations hold of `slot`.
    #[must_use]
    pub fn reserved(&self, slot: MetricSlot) -> u64 {
        let sums = self.shard.sums(self.place);
        let found = sums.binary_search_by_key(&slot, |(on, _)| *on);
        found.map_or(0, |at| u64::try_from(sums[at].1).unwrap_or(u64::MAX))
    }

    /// Holds `amounts` for `ttl_s` seconds. `None` if as many reservations as there may be are open.
    pub fn hold(&mut self, now: UnixMillis, ttl_s: u64, amounts: Amounts) -> Option<ReservationId> {
        self.shard.expire(self.place, self.contract, now, true);
        self.shard.hold(self.place, self.contract, ttl_s, amounts)
    }

    /// Takes a reservation out, if it is there.
    pub fn take(&mut self, now: UnixMillis, id: ReservationId) -> Taken {
        self.shard.expire(self.place, self.contract, now, true);
        self.shard.take(self.place, self.contract, id)
    }

    /// The plan that is noted of the subject.
    #[must_use]
    pub fn plan(&self) -> Option<PlanId> {
        self.shard.facts(self.place).map(|(facts, _)| facts.plan)
    }

    /// What `slot` counted in the open windows.
    #[must_use]
    pub fn counts(&self, slot: MetricSlot) -> Counts<'_> {
        self.shard.counts(self.place, slot)
    }

    /// Keeps for the next cut that the subject was used, if it is the first time on a day: of `dated`, or of now.
    pub fn note_traffic(&mut self, dated: Option<Minute>) {
        let dated = dated.unwrap_or_else(|| self.shard.windows().minute());
        self.shard.note_traffic(self.place, self.contract, dated);
    }

    /// Notes under which catalog alert levels are looked at: whether that is the same as when they were last.
    pub fn keeps_levels(&mut self) -> bool {
        self.shard.keeps_levels(self.place, self.contract)
    }

    /// Keeps for the next cut that the count of a slot in the open window of a period has reached a level (percent)
    /// of its maximum.
    pub fn reach(&mut self, slot: MetricSlot, period: Period, level: u16, count: u64, max: u64) {
        self.shard.reach(self.place, self.contract, (slot, period), (level, count, max));
    }

    /// Counts `effects`, dated now or, if given, at another minute. `claimed` is the room that the caller claimed
    /// ([`Counters::reserve_waiting`]) because that minute may lie ahead; what is not needed of it is given back.
    pub fn apply(&mut self, dated: Option<Minute>, effects: &[(MetricSlot, Effect)], claimed: usize) {
        let dated = dated.unwrap_or_else(|| self.shard.windows().minute());
        let waits = self.shard.apply(self.place, Some(self.contract), dated, effects);
        self.settle(waits, claimed);
    }

    /// Gives counters values that no request set, dated now or at another minute that does not lie ahead: the history of usage does not take
    /// them for use.
    pub fn replace(&mut self, dated: Option<Minute>, effects: &[(MetricSlot, Effect)]) {
        let dated = dated.unwrap_or_else(|| self.shard.windows().minute());
        let waits = self.shard.replace(self.place, self.contract, dated, effects);
        self.settle(waits, 0);
    }

    fn settle(&self, waits: isize, claimed: usize) {
        if claimed > 0 || waits != 0 {
            add(self.waiting, waits - isize::try_from(claimed).unwrap_or(isize::MAX));
        }
    }
}

/// Adds a difference; the sum is never below zero.
fn add(total: &AtomicUsize, difference: isize) {
    let amount = difference.unsigned_abs();
    if difference >= 0 {
        total.fetch_add(amount, Ordering::Relaxed);
    } else {
        total.fetch_sub(amount, Ordering::Relaxed);
    }
}
