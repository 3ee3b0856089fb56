//! Who is told next: a lane for each tenant with events that wait. No threads and no clock in here.

use std::collections::BTreeMap;

/// How many events are sent at a time, each by a thread of its own.
pub(super) const SENT_MAX: usize = 4;

/// How many of them may go to tenants that did not answer well the last time: the rest stay free for the others.
pub(super) const SLOW_MAX: usize = SENT_MAX - 1;

/// A tenant that is told of things.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Lane {
    /// The event that was done with last, whether or not that is put down. Those up to it are past.
    pub(super) done: u64,
    /// The one that is being sent.
    pub(super) sending: Option<u64>,
    /// How often the first one that waits was tried.
    pub(super) tries: u32,
    /// When it may be tried, in milliseconds since 1970 UTC.
    pub(super) next_at: u64,
    /// The last call failed, or took long.
    pub(super) is_slow: bool,
    /// Which turn its last one was.
    pub(super) turn: u64,
}

/// The lanes.
#[derive(Default, Debug)]
pub(super) struct Lanes {
    lanes: BTreeMap<u64, Lane>,
    /// How many turns there were.
    turns: u64,
}

impl Lanes {
    /// A tenant's lane; `begin` says how one begins.
    pub(super) fn lane(&mut self, tenant: u64, begin: impl FnOnce() -> Lane) -> &mut Lane {
        self.lanes.entry(tenant).or_insert_with(begin)
    }

    /// The lane of a tenant that has one.
    pub(super) fn get(&self, tenant: u64) -> Option<&Lane> {
        self.lanes.get(&tenant)
    }

    /// How many events are being sent; and how many of them to tenants that are slow.
    fn sending(&self) -> (usize, usize) {
        let sending = self.lanes.values().filter(|lane| lane.sending.is_some());
        sending.fold((0, 0), |(all, slow), lane| (all + 1, slow + usize::from(lane.is_slow)))
    }

    /// Whether anything is being sent.
    pub(super) fn is_sending(&self) -> bool {
        self.lanes.values().any(|lane| lane.sending.is_some())
    }

    /// Chooses who is told of their first event now, of tenants `waiting` by ascending id with the event's id: those first whose last
    /// turn is longest ago, no more than may be. Those are sent from now on.
    pub(super) fn choose(&mut self, waiting: &[(u64, u64)], now: u64) -> Vec<(u64, u64)> {
        let (mut all, mut slow) = self.sending();
        let turn = |tenant: u64| self.lanes.get(&tenant).map_or(0, |lane| lane.turn);
        let mut in_turn: Vec<_> =
            waiting.iter().map(|(tenant, event)| (turn(*tenant), *tenant, *event)).collect();
        in_turn.sort_unstable();
        let mut chosen = Vec::new();
        for (_, tenant, event) in in_turn {
            if all == SENT_MAX {
                break;
            }
            let lane = self.lanes.entry(tenant).or_default();
            // One that is held keeps its turn: it comes first when there is room.
            let is_held = lane.is_slow && slow == SLOW_MAX;
            if lane.sending.is_some() || lane.next_at > now || is_held {
                continue;
            }
            self.turns += 1;
            (lane.sending, lane.turn) = (Some(event), self.turns);
            (all, slow) = (all + 1, slow + usize::from(lane.is_slow));
            chosen.push((tenant, event));
        }
        chosen
    }

    /// When the next of the tenants `waiting` may be told, if any is to be waited for.
    pub(super) fn due(&self, waiting: &[(u64, u64)]) -> Option<u64> {
        let lanes = waiting.iter().filter_map(|(tenant, _)| self.lanes.get(tenant));
        lanes.filter(|lane| lane.sending.is_none()).map(|lane| lane.next_at).min()
    }

    /// Forgets the lanes of tenants for which nothing waits and nothing is to be put down (`is_open`).
    pub(super) fn tidy(&mut self, waiting: &[(u64, u64)], is_open: impl Fn(u64) -> bool) {
        let waits = |tenant: u64| waiting.binary_search_by_key(&tenant, |(tenant, _)| *tenant).is_ok();
        self.lanes.retain(|tenant, lane| lane.sending.is_some() || waits(*tenant) || is_open(*tenant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(lanes: &mut Lanes, waiting: &[(u64, u64)], now: u64) -> Vec<u64> {
        lanes.choose(waiting, now).into_iter().map(|(tenant, _)| tenant).collect()
    }

    fn ends(lanes: &mut Lanes, tenant: u64, is_slow: bool) {
        let lane = lanes.lane(tenant, Lane::default);
        (lane.sending, lane.is_slow) = (None, is_slow);
    }

    #[test]
    fn each_tenant_has_its_turn_and_one_event_on_its_way() {
        let mut lanes = Lanes::default();
        let waiting: Vec<_> = (1..=6).map(|tenant| (tenant, tenant * 100)).collect();
        assert_eq!(tenants(&mut lanes, &waiting, 0), [1, 2, 3, 4]);
        assert_eq!(tenants(&mut lanes, &waiting, 0), [0; 0], "as many are on their way as may be");
        ends(&mut lanes, 2, false);
        ends(&mut lanes, 3, false);
        assert_eq!(tenants(&mut lanes, &waiting, 0), [5, 6], "who was served waits until the others were");
        ends(&mut lanes, 5, false);
        assert_eq!(tenants(&mut lanes, &waiting, 0), [2], "3 had its turn after 2");
        assert_eq!(lanes.lane(2, Lane::default).sending, Some(200));
    }

    #[test]
    fn those_that_are_slow_leave_room_for_the_others() {
        let mut lanes = Lanes::default();
        for tenant in 1..=5 {
            ends(&mut lanes, tenant, true);
        }
        let waiting: Vec<_> = (1..=6).map(|tenant| (tenant, 7)).collect();
        assert_eq!(tenants(&mut lanes, &waiting, 0), [1, 2, 3, 6]);
        ends(&mut lanes, 6, false);
        assert_eq!(tenants(&mut lanes, &waiting[..5], 0), [0; 0]);
        ends(&mut lanes, 1, true);
        assert_eq!(tenants(&mut lanes, &waiting[..5], 0), [4], "it was held, and 1 had its turn");
    }

    #[test]
    fn nobody_is_told_before_the_time() {
        let mut lanes = Lanes::default();
        lanes.lane(1, || Lane { next_at: 50, ..Lane::default() });
        assert_eq!((lanes.due(&[(1, 7)]), lanes.due(&[])), (Some(50), None));
        assert_eq!(tenants(&mut lanes, &[(1, 7)], 49), [0; 0]);
        assert_eq!(tenants(&mut lanes, &[(1, 7)], 50), [1]);
        assert_eq!(lanes.due(&[(1, 7)]), None, "its answer is what comes next");
        lanes.tidy(&[], |_| false);
        assert!(lanes.get(1).is_some());
        ends(&mut lanes, 1, false);
        lanes.tidy(&[], |tenant| tenant == 1);
        assert!(lanes.get(1).is_some());
        lanes.tidy(&[], |_| false);
        assert!(lanes.get(1).is_none());
    }
}
