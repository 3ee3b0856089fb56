//! What is known to have happened since the first round, and whether a directory has all of it, once.

use std::collections::BTreeMap;
use std::path::Path;

use tollgate::listener::system_clock;
use tollgate::model::id::{ApplicationId, MetricSlot};
use tollgate::model::reservation::ReservationId;
use tollgate::model::time::{Period, UnixMillis};
use tollgate::node::{self, Node};
use tollgate::plugin::alerts::{Event, EventKind};
use tollgate::plugin::analytics::Subject;

use crate::CALLED;
use crate::again::{self, SENDERS, Sender, Tally};
use crate::callers::{Known, Told};
use crate::child::{config, created, find_application, find_service};

#[derive(Default)]
pub(crate) struct Ledger {
    /// Applications that were acknowledged.
    created: u64,
    calls: [Calls; CALLED],
    /// Units over all rounds that had to be there, and that were sent.
    total: Calls,
    /// What is known of each reservation that may be held.
    reservations: BTreeMap<u64, Known>,
    /// How many reservations were committed, one unit each.
    committed: u64,
    /// What those know who send with ids.
    senders: [Sender; SENDERS],
}

#[derive(Clone, Copy, Default)]
struct Calls {
    /// Units that must be counted.
    sure: u64,
    /// Units that may be counted at most: all that was sent.
    sent: u64,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Calls { sure, sent } = self.total;
        write!(
            f,
            "{} applications and {sure} of {sent} units were acknowledged long enough: all there, once; {} reservations \
             committed once; of requests with ids {} were sent again for want of an answer, {} of them known to be \
             counted already, and {} though they had been answered: all counted once",
            self.created,
            self.committed,
            self.tally(|tally| tally.again),
            self.tally(|tally| tally.counted),
            self.tally(|tally| tally.repeated),
        )
    }
}

impl Ledger {
    /// How many applications there are.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// The reservations that are held.
    pub(crate) fn held(&self) -> Vec<u64> {
        self.reservations.keys().copied().collect()
    }

    /// Those who send with ids, as they were at the end of the last round.
    pub(crate) fn senders(&self) -> [Sender; SENDERS] {
        self.senders.clone()
    }

    /// A sum over all senders.
    pub(crate) fn tally(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.senders.iter().map(|sender| of(&sender.tally)).sum()
    }

    /// Takes what those know who sent with ids in a round.
    pub(crate) fn note_senders(&mut self, senders: [Sender; SENDERS]) {
        self.senders = senders;
    }

    /// Takes what the callers of a round know.
    pub(crate) fn note(&mut self, told: &[Told], (created, began): (u64, u128), known: BTreeMap<u64, Known>) {
        self.reservations.extend(known);
        self.created = self.created.max(created);
        // Whatever was answered before this moment was flushed with what was acknowledged as durable after it.
        let durable = told.iter().map(|told| told.durable_sent).max().unwrap_or(0).max(began);
        for told in told {
            let young = told.answered.iter().filter(|answered| **answered < durable).count() as u64;
            for calls in [&mut self.calls[told.which], &mut self.total] {
                calls.sure += told.durable + young;
                calls.sent += told.sent;
            }
        }
    }

    /// Opens the directory as the next start would and compares; then goes on from what is there. If it `settles`, what
    /// was sent with ids and got no answer is sent again now, and else to the next victim.
    pub(crate) fn check(&mut self, dir: &Path, kill: u64, settles: bool) {
        let runtime = node::runtime().unwrap();
        let node = runtime.block_on(Node::start(&config(dir), system_clock())).unwrap();
        let there = created(&node);
        assert!(
            there >= self.created,
            "kill {kill}: {} applications acknowledged, {there} there",
            self.created
        );
        self.created = there;
        let events = node.alerts().events().unwrap();
        for (which, calls) in self.calls.iter_mut().enumerate() {
            let Some(id) = find_application(&node, &format!("called{which}")) else {
                assert_eq!(calls.sure, 0, "kill {kill}: called{which} is gone");
                continue;
            };
            let counted = counted(&node, id);
            let Calls { sure, sent } = *calls;
            assert!(
                (sure..=sent).contains(&counted),
                "kill {kill}: called{which} has {counted}, acknowledged {sure}, sent {sent}"
            );
            let first_traffic = |event: &&Event| {
                event.kind == EventKind::FirstTraffic && event.application == format!("called{which}")
            };
            let told = events.iter().filter(first_traffic).count();
            assert_eq!(told, usize::from(counted > 0), "kill {kill}: called{which} has {counted}");
            assert_eq!(history(&node, id), counted, "kill {kill}: the history of called{which}");
            // What is not there now must not come back, and what is must stay.
            *calls = Calls { sure: counted, sent: counted };
        }
        self.check_reservations(&node, kill);
        self.check_senders(&node, kill, settles);
        runtime.block_on(node.stop()).unwrap();
    }

    fn check_senders(&mut self, node: &Node, kill: u64, settles: bool) {
        for (which, sender) in self.senders.iter_mut().enumerate() {
            let name = again::application(which);
            let Some(id) = find_application(node, &name) else {
                assert_eq!(sender.units(), (0, 0), "kill {kill}: {name} is gone");
                continue;
            };
            let (sure, open) = sender.units();
            let before = counted(node, id);
            assert!(
                (sure..=sure + open).contains(&before),
                "kill {kill}: {name} has {before}, acknowledged {sure}, open {open}"
            );
            if settles {
                sender.settle(which, (node.http, node.tcp.unwrap()));
                let all = (counted(node, id), 0);
                assert_eq!(
                    all,
                    sender.units(),
                    "kill {kill}: {name} had {before}, acknowledged {sure}, open {open}"
                );
            }
        }
    }

    fn check_reservations(&mut self, node: &Node, kill: u64) {
        let Some(id) = find_application(node, "held") else {
            assert!(self.reservations.is_empty(), "kill {kill}: held is gone");
            return;
        };
        let image = node.engine().counters_of(id, UnixMillis(0)).unwrap();
        let held = |id| image.holds.iter().any(|hold| hold.id == ReservationId(id));
        for (id, known) in std::mem::take(&mut self.reservations) {
            let expected = match known {
                Known::Held => Some(true),
                Known::Ending { .. } => None,
                Known::Ended { .. } => Some(false),
            };
            assert!(expected.is_none_or(|it| it == held(id)), "kill {kill}: reservation {id} is {known:?}");
            let commits = matches!(known, Known::Ending { commits: true } | Known::Ended { commits: true });
            self.committed += u64::from(commits && !held(id));
        }
        self.reservations = image.holds.iter().map(|hold| (hold.id.0, Known::Held)).collect();
        let counted = image.cells.first().map_or(0, |cell| cell.counts[Period::Eternity as usize]);
        assert_eq!(counted, self.committed, "kill {kill}: committed and counted");
        assert!(image.holds.iter().all(|hold| hold.amounts.iter().map(|(_, amount)| amount).eq([&1, &1])));
    }
}

/// What an application has ever counted.
/// All that the history has of an application, which is what was counted.
fn history(node: &Node, id: ApplicationId) -> u64 {
    let analytics = node.analytics();
    // The start has taken in what was not on the shelf, or does so now.
    while analytics.following().catch_up().is_err() {}
    let subject = Subject::Application(find_service(node).unwrap(), id);
    let sums = analytics.sums(subject, MetricSlot(0), &[0, u32::MAX]).unwrap();
    u64::try_from(sums[0]).unwrap()
}

fn counted(node: &Node, id: ApplicationId) -> u64 {
    let image = node.engine().counters_of(id, UnixMillis(0)).unwrap();
    image.cells.first().map_or(0, |cell| cell.counts[Period::Eternity as usize])
}
