//! Handles: credentials and metric names once, a number after.
//!
//! A binding is what a caller holds, and does not end; the handle in it does, with the node or with a change of the
//! application's credentials. It is then asked for again, once, whoever needs it first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::application::Application;
use crate::call::Usage;

/// After a refusal, how long calls name their application themselves before there is another attempt to bind.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// What BIND answered.
#[derive(Debug)]
pub(crate) struct Held {
    /// The node that gave it. Elsewhere it means nothing.
    pub(crate) node: u64,
    pub(crate) handle: u64,
    /// Names of metrics and the service's numbers for them.
    metrics: Vec<(String, u32)>,
}

impl Held {
    pub(crate) fn new(node: u64, handle: u64, metrics: Vec<(String, u32)>) -> Held {
        Held { node, handle, metrics }
    }

    pub(crate) fn number_of(&self, metric: &str) -> Option<u32> {
        self.metrics.iter().find(|(name, _)| name == metric).map(|(_, number)| *number)
    }
}

/// What a binding has just now.
#[derive(Clone)]
pub(crate) enum Grip {
    /// Nothing.
    Open,
    /// A handle.
    Held(Arc<Held>),
    /// The node did not give one, and is not asked again before then.
    Refused(Instant),
}

pub(crate) struct Inner {
    pub(crate) application: Application,
    pub(crate) metrics: Vec<String>,
    grip: RwLock<Grip>,
    /// Held by who asks for a handle, so that others wait for its answer instead of asking too.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

/// An application and metrics for which the node gave a handle: see [`Client::bind`](crate::Client::bind) and
/// [`Call::bound`](crate::Call::bound). Cheap to clone. If the handle ends it is asked for again by the next call.
#[derive(Clone)]
pub struct Binding(pub(crate) Arc<Inner>);

impl Binding {
    pub(crate) fn new(application: Application, metrics: Vec<String>) -> Binding {
        let (grip, asking) = (RwLock::new(Grip::Open), tokio::sync::Mutex::new(()));
        Binding(Arc::new(Inner { application, metrics, grip, asking }))
    }

    /// Whose it is.
    #[must_use]
    pub fn application(&self) -> &Application {
        &self.0.application
    }

    /// The metrics that have a number.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.0.metrics.iter().map(String::as_str)
    }

    /// What it has, with a refusal that is over as nothing.
    pub(crate) fn grip(&self) -> Grip {
        match &*self.0.grip.read().unwrap_or_else(PoisonError::into_inner) {
            Grip::Refused(until) if *until <= Instant::now() => Grip::Open,
            grip => grip.clone(),
        }
    }

    pub(crate) fn hold(&self, held: Held) -> Arc<Held> {
        let held = Arc::new(held);
        self.set(Grip::Held(Arc::clone(&held)));
        held
    }

    pub(crate) fn refused(&self) {
        self.set(Grip::Refused(Instant::now() + REFUSED_FOR));
    }

    /// Forgets a handle that has ended, unless it was replaced already.
    pub(crate) fn forget(&self, ended: &Arc<Held>) {
        let mut grip = self.0.grip.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*grip, Grip::Held(held) if Arc::ptr_eq(held, ended)) {
            *grip = Grip::Open;
        }
    }

    fn set(&self, grip: Grip) {
        *self.0.grip.write().unwrap_or_else(PoisonError::into_inner) = grip;
    }

    fn is_for(&self, application: &Application, usage: &[Usage]) -> bool {
        self.0.metrics.len() == usage.len()
            && self.0.metrics.iter().zip(usage).all(|(name, used)| *name == used.metric)
            && self.0.application == *application
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Binding({:?}, {:?})", self.0.application, self.0.metrics)
    }
}

type Generation = HashMap<u64, Vec<Binding>>;

/// Bindings that the client looks after by itself, by application and metrics.
///
/// Two generations: when the young one is full it becomes the old one, and what is used of that moves over. So the
/// least used go, and the rest stay, without a list to keep in order.
pub(crate) struct Bindings {
    hasher: RandomState,
    most: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: Generation,
    young_len: usize,
    old: Generation,
}

impl Bindings {
    pub(crate) fn new(most: usize) -> Bindings {
        Bindings { hasher: RandomState::new(), most, generations: Mutex::default() }
    }

    /// The binding for calls of this application with these metrics; none if none are kept.
    pub(crate) fn of(&self, application: &Application, usage: &[Usage]) -> Option<Binding> {
        if self.most == 0 {
            return None;
        }
        let key = self.key(application, usage);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old, .. } = &mut *generations;
        if let Some(found) = find(young, key, application, usage) {
            return Some(found);
        }
        let binding = find(old, key, application, usage).unwrap_or_else(|| {
            let metrics = usage.iter().map(|used| used.metric.clone().into_owned()).collect();
            Binding::new(application.clone(), metrics)
        });
        generations.add(key, binding.clone(), self.most.div_ceil(2));
        Some(binding)
    }

    fn key(&self, application: &Application, usage: &[Usage]) -> u64 {
        let names = usage
            .iter()
            .fold(0u64, |sum, used| sum.rotate_left(7) ^ self.hasher.hash_one(used.metric.as_ref()));
        self.hasher.hash_one((application, names))
    }
}

impl Generations {
    fn add(&mut self, key: u64, binding: Binding, most: usize) {
        if self.young_len >= most {
            self.old = std::mem::take(&mut self.young);
            self.young_len = 0;
        }
        self.young.entry(key).or_default().push(binding);
        self.young_len += 1;
    }
}

fn find(generation: &Generation, key: u64, application: &Application, usage: &[Usage]) -> Option<Binding> {
    generation.get(&key)?.iter().find(|binding| binding.is_for(application, usage)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(names: &[&'static str]) -> Vec<Usage> {
        names.iter().map(|name| Usage { metric: (*name).into(), amount: 1, sets: false }).collect()
    }

    fn same(one: &Binding, other: &Binding) -> bool {
        Arc::ptr_eq(&one.0, &other.0)
    }

    #[test]
    fn the_same_application_and_metrics_share_a_binding() {
        let bindings = Bindings::new(10);
        let app = Application::user_key("k");
        let first = bindings.of(&app, &usage(&["hits"])).expect("one");
        assert!(same(&first, &bindings.of(&Application::user_key("k"), &usage(&["hits"])).expect("one")));
        for other in [
            bindings.of(&app, &usage(&["hits", "search"])),
            bindings.of(&app, &usage(&[])),
            bindings.of(&Application::user_key("l"), &usage(&["hits"])),
        ] {
            assert!(!same(&first, &other.expect("one")));
        }
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let bindings = Bindings::new(10);
        let used = usage(&["hits"]);
        let kept = bindings.of(&Application::user_key("kept"), &used).expect("one");
        let lost = bindings.of(&Application::user_key("lost"), &used).expect("one");
        for number in 0..100 {
            bindings.of(&Application::user_key(number.to_string()), &used);
            assert!(same(&kept, &bindings.of(&Application::user_key("kept"), &used).expect("one")));
        }
        assert!(!same(&lost, &bindings.of(&Application::user_key("lost"), &used).expect("one")));
        let generations = bindings.generations.lock().expect("the generations");
        let len = generations.young.values().chain(generations.old.values()).map(Vec::len).sum::<usize>();
        assert!(len <= 10, "{len}");
    }

    #[test]
    fn none_are_kept_if_none_may_be() {
        assert!(Bindings::new(0).of(&Application::user_key("k"), &[]).is_none());
    }

    #[test]
    fn only_the_handle_that_ended_is_forgotten() {
        let binding = Binding::new(Application::user_key("k"), Vec::new());
        let first = binding.hold(Held::new(1, 1, Vec::new()));
        let second = binding.hold(Held::new(1, 2, Vec::new()));
        binding.forget(&first);
        assert!(matches!(binding.grip(), Grip::Held(held) if held.handle == 2));
        binding.forget(&second);
        assert!(matches!(binding.grip(), Grip::Open));
    }
}
