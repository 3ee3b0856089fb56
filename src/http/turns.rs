//! Turns: whose work is done next, so that nobody's flood keeps others waiting.
//!
//! So many pieces of work are done at a time. Whoever comes when all places are taken waits; a place that is given up goes to the next of those
//! who have somebody waiting, each in turn, whatever the number that each has. One takes no more than some of the places, so that there is
//! always one for somebody else; and one who has too many waiting is refused at once, without any other being so.
//!
//! A turn is handed to who waits, not announced: whoever has gone away meanwhile hands it on by not taking it.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot::{self, Sender};

/// How many may be at work and wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// At work, in all.
    pub(super) at_once: usize,
    /// At work, of one.
    pub(super) of_one: usize,
    /// Waiting, of one.
    pub(super) waiting: usize,
}

/// The places, and who waits for one.
pub(super) struct Turns<K: Hash + Eq + Copy> {
    bounds: Bounds,
    state: Mutex<State<K>>,
}

struct State<K: Hash + Eq + Copy> {
    at_work: usize,
    /// Those who have anybody at work or waiting.
    everybody: HashMap<K, One<K>>,
    /// Those who have somebody waiting, in the order of their turns.
    order: VecDeque<K>,
}

struct One<K: Hash + Eq + Copy> {
    at_work: usize,
    waiting: VecDeque<Sender<Turn<K>>>,
    /// Whether it is among those whose turn comes.
    is_in_order: bool,
}

/// A place, given up when dropped.
pub(super) struct Turn<K: Hash + Eq + Copy> {
    /// None, once it was given back otherwise.
    turns: Option<Arc<Turns<K>>>,
    who: K,
}

/// One has too many waiting already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooMany;

impl<K: Hash + Eq + Copy> Turns<K> {
    pub(super) fn new(bounds: Bounds) -> Arc<Turns<K>> {
        let state = State { at_work: 0, everybody: HashMap::new(), order: VecDeque::new() };
        Arc::new(Turns { bounds, state: Mutex::new(state) })
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`TooMany`]; at once.
    pub(super) async fn take(self: &Arc<Self>, who: K) -> Result<Turn<K>, TooMany> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            let one = state.everybody.entry(who).or_insert_with(|| One {
                at_work: 0,
                waiting: VecDeque::new(),
                is_in_order: false,
            });
            // Those who went away while they waited are not counted.
            one.waiting.retain(|waiting| !waiting.is_closed());
            if one.waiting.len() >= self.bounds.waiting {
                return Err(TooMany);
            }
            one.waiting.push_back(sender);
            if !one.is_in_order {
                one.is_in_order = true;
                state.order.push_back(who);
            }
        }
        self.hand_out();
        // The other end is kept until the turn comes.
        receiver.await.map_err(|_| TooMany)
    }

    /// Gives free places to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some((who, next)) = self.next() else { return };
            if let Err(mut untaken) = next.send(Turn { turns: Some(Arc::clone(self)), who }) {
                // Here and not by its drop, which would hand out from within: as deep as there are such in a row.
                untaken.turns = None;
                self.give_back(who);
            }
        }
    }

    /// Whose turn it is, if there is a place: it is taken for them.
    fn next(&self) -> Option<(K, Sender<Turn<K>>)> {
        let state = &mut *self.state.lock();
        if state.at_work >= self.bounds.at_once {
            return None;
        }
        for _ in 0..state.order.len() {
            let who = state.order.pop_front()?;
            let Some(one) = state.everybody.get_mut(&who) else { continue };
            if one.at_work >= self.bounds.of_one {
                state.order.push_back(who);
                continue;
            }
            let next = one.waiting.pop_front();
            one.is_in_order = !one.waiting.is_empty();
            if one.is_in_order {
                state.order.push_back(who);
            }
            let Some(next) = next else { continue };
            one.at_work += 1;
            state.at_work += 1;
            return Some((who, next));
        }
        None
    }

    fn give_back(&self, who: K) {
        let state = &mut *self.state.lock();
        state.at_work -= 1;
        if let Some(one) = state.everybody.get_mut(&who) {
            one.at_work -= 1;
            if one.at_work == 0 && one.waiting.is_empty() {
                state.everybody.remove(&who);
            }
        }
    }

    /// How many are at work or wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let state = self.state.lock();
        state.everybody.values().map(|one| one.at_work + one.waiting.len()).sum()
    }
}

impl<K: Hash + Eq + Copy> Drop for Turn<K> {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.give_back(self.who);
            turns.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { at_once: 4, of_one: 3, waiting: 5 };

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn wait(turns: &Arc<Turns<u8>>, who: u8) -> tokio::task::JoinHandle<Result<Turn<u8>, TooMany>> {
        let turns = Arc::clone(turns);
        tokio::spawn(async move { turns.take(who).await })
    }

    #[tokio::test]
    async fn one_takes_no_more_than_its_places_and_has_no_more_waiting_than_may() {
        let turns = Turns::new(BOUNDS);
        let mut held = Vec::new();
        for _ in 0..BOUNDS.of_one {
            held.push(turns.take(1).await.unwrap());
        }
        let waiting: Vec<_> = (0..BOUNDS.waiting).map(|_| wait(&turns, 1)).collect();
        settle().await;
        assert_eq!(turns.count(), BOUNDS.of_one + BOUNDS.waiting);
        assert!(turns.take(1).await.is_err());
        // There is a place for another all the while.
        for _ in 0..10 {
            drop(turns.take(2).await.unwrap());
        }
        drop(held);
        for one in waiting {
            drop(one.await.unwrap().unwrap());
        }
        assert_eq!(turns.count(), 0);
        assert!(turns.state.lock().everybody.is_empty() && turns.state.lock().order.is_empty());
    }

    #[tokio::test]
    async fn a_place_goes_to_each_in_turn_however_many_each_has() {
        let turns = Turns::new(Bounds { at_once: 1, of_one: 1, waiting: 100 });
        let first = turns.take(0).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = Vec::new();
        for who in [1, 1, 1, 1, 1, 2, 3, 2] {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            all.push(tokio::spawn(async move {
                let turn = turns.take(who).await.unwrap();
                order.lock().push(who);
                drop(turn);
            }));
            settle().await;
        }
        drop(first);
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(*order.lock(), [1, 2, 3, 1, 2, 1, 1, 1]);
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_takes_no_place_and_is_not_counted() {
        let turns = Turns::new(Bounds { at_once: 1, of_one: 1, waiting: 2 });
        let first = turns.take(1).await.unwrap();
        let gone = [wait(&turns, 1), wait(&turns, 1)];
        settle().await;
        assert!(turns.take(1).await.is_err());
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        settle().await;
        let stays = wait(&turns, 1);
        settle().await;
        drop(first);
        drop(stays.await.unwrap().unwrap());
        assert_eq!(turns.count(), 0);
        drop(turns.take(2).await.unwrap());
    }

    #[test]
    fn many_who_went_away_are_passed_over_on_a_small_stack() {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let turns = Turns::new(Bounds { at_once: 1, of_one: 1, waiting: 2 });
                let first = turns.take(0).await.unwrap();
                for who in 1..20_000_u32 {
                    let mut waits = Box::pin(turns.take(who));
                    assert!(futures_poll(waits.as_mut()).await);
                }
                drop(first);
                assert_eq!(turns.count(), 0);
            });
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
    }

    /// Polls once; whether it waits.
    async fn futures_poll<F: std::future::Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_place_is_lost_or_given_twice_whoever_comes_and_goes() {
        let turns = Turns::new(BOUNDS);
        let at_work = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut all = Vec::new();
        for number in 0..400_u32 {
            let (turns, at_work) = (Arc::clone(&turns), Arc::clone(&at_work));
            let one = tokio::spawn(async move {
                let Ok(_turn) = turns.take((number % 5) as u8).await else { return };
                let now = at_work.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert!(now < BOUNDS.at_once);
                tokio::task::yield_now().await;
                at_work.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
            if number % 7 == 0 {
                one.abort();
            }
            all.push(one);
        }
        for one in all {
            if let Err(error) = one.await {
                assert!(error.is_cancelled(), "{error}");
            }
        }
        assert_eq!(turns.count(), 0);
        assert_eq!(turns.state.lock().at_work, 0);
    }
}
