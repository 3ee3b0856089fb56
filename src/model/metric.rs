//! The metrics of a service: a forest. Usage of a metric counts for all its ancestors too.

use std::collections::HashMap;

use super::id::{MetricId, MetricSlot};

/// A metric, or a method (a metric below another).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Identity.
    pub id: MetricId,
    /// The id another system knows it by; unique within the service.
    pub external_id: Option<String>,
    /// Where it counts in every application of the service.
    pub slot: MetricSlot,
    /// The system name that requests use; unique within the service.
    pub name: String,
    /// The metric above it.
    pub parent: Option<MetricSlot>,
}

impl Metric {
    /// Sorts metrics as answers list them: as the other system does, by the number it knows each by, ascending (for
    /// what has no id of another system that is its own); ids that are no numbers come last.
    #[must_use]
    pub fn order(&self) -> (u64, &str, MetricId) {
        match self.external_id.as_deref() {
            None => (self.id.0, "", self.id),
            Some(text) => match canonical_number(text) {
                Some(number) => (number, "", self.id),
                None => (u64::MAX, text, self.id),
            },
        }
    }
}

/// The number that `text` is the decimal of, without sign, leading zero or blank: no two texts are one number.
#[must_use]
pub fn canonical_number(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (text.starts_with(|first: char| first.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0')))
        .then_some(number)
}

/// The metrics of one service, found by name or slot, with ancestors worked out once.
#[derive(Clone, Default, Debug)]
pub struct MetricTree {
    /// By slot; a deleted metric leaves its place empty for good, since old counts may lie there.
    nodes: Vec<Option<Node>>,
    by_name: HashMap<String, MetricSlot>,
    by_external_id: HashMap<String, MetricSlot>,
}

#[derive(Clone, Debug)]
struct Node {
    metric: Metric,
    /// From the parent to the root.
    ancestors: Box<[MetricSlot]>,
}

/// Why a metric cannot be put into the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TreeError {
    /// Another metric of the service has the name.
    #[error("another metric of the service has this name")]
    NameTaken,
    /// Another metric of the service has the external id.
    #[error("another metric of the service has this id")]
    IdTaken,
    /// The parent does not exist.
    #[error("the parent metric does not exist in the service")]
    ParentUnknown,
    /// The parent is the metric itself or below it.
    #[error("the parent metric is the metric itself or one below it")]
    Cycle,
    /// The metric has methods below it.
    #[error("the metric has others below it")]
    HasChildren,
    /// A metric would have too many others above it.
    #[error("there can be at most {DEPTH_MAX} metrics from a root down to the last below it")]
    TooDeep,
    /// All slots of the service were given out.
    #[error("the service has had the greatest number of metrics there can be ({MAX_SLOTS})")]
    Full,
}

/// The most metrics a service can ever have had, deleted ones included: bounds what a request may touch.
pub const MAX_SLOTS: u32 = 65_536;

/// The most metrics on the way from a root down to a leaf, both counted: a hit on the leaf touches them all, so this
/// bounds what one name in a request costs, and what working out the ancestors of [`MAX_SLOTS`] metrics takes.
pub const DEPTH_MAX: usize = 64;

impl PartialEq for MetricTree {
    fn eq(&self, other: &Self) -> bool {
        self.slots() == other.slots() && self.iter().eq(other.iter())
    }
}

impl Eq for MetricTree {}

impl MetricTree {
    /// The slot that the next new metric gets.
    #[must_use]
    pub fn slots(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// The metrics by ascending slot.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.nodes.iter().flatten().map(|node| &node.metric)
    }

    /// The metric that counts at `slot`.
    #[must_use]
    pub fn get(&self, slot: MetricSlot) -> Option<&Metric> {
        self.node(slot).map(|node| &node.metric)
    }

    /// The metric of that system name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Metric> {
        self.by_name.get(name).and_then(|slot| self.get(*slot))
    }

    /// The metric of that id. Looks at each metric: for commands, not for decisions.
    #[must_use]
    pub fn by_id(&self, id: MetricId) -> Option<&Metric> {
        self.iter().find(|metric| metric.id == id)
    }

    /// The metric that another system knows by `text`; one that no other system knows is called by its own id.
    #[must_use]
    pub fn by_text(&self, text: &str) -> Option<&Metric> {
        match self.by_external_id.get(text) {
            Some(slot) => self.get(*slot),
            None => self.by_id(MetricId(canonical_number(text)?)).filter(|it| it.external_id.is_none()),
        }
    }

    /// The ancestors of a metric, nearest first.
    #[must_use]
    pub fn ancestors(&self, slot: MetricSlot) -> &[MetricSlot] {
        self.node(slot).map_or(&[], |node| &node.ancestors)
    }

    /// The metrics directly below one, in the order of answers.
    #[must_use]
    pub fn children(&self, slot: MetricSlot) -> Vec<&Metric> {
        let mut children: Vec<_> = self.iter().filter(|metric| metric.parent == Some(slot)).collect();
        children.sort_by_key(|metric| metric.order());
        children
    }

    /// Puts a metric at its slot: a new one at the end, or a changed one (name, parent) in its place.
    ///
    /// # Errors
    /// The name is taken, the parent is missing or below the metric, the tree gets too deep, or no slot is left. The
    /// tree is as before then.
    pub fn put(&mut self, metric: Metric) -> Result<(), TreeError> {
        let slot = metric.slot;
        self.check_place(&metric)?;
        let mut above = 0;
        if let Some(parent) = metric.parent {
            if parent == slot || self.ancestors(parent).contains(&slot) {
                return Err(TreeError::Cycle);
            }
            self.get(parent).ok_or(TreeError::ParentUnknown)?;
            above = self.ancestors(parent).len() + 1;
        }
        if above + 1 + self.levels_below(slot) > DEPTH_MAX {
            return Err(TreeError::TooDeep);
        }
        self.place(metric);
        self.link()
    }

    fn check_place(&self, metric: &Metric) -> Result<(), TreeError> {
        if metric.slot.0 >= MAX_SLOTS {
            return Err(TreeError::Full);
        }
        if self.by_name.get(&metric.name).is_some_and(|taken| *taken != metric.slot) {
            return Err(TreeError::NameTaken);
        }
        let external_id = metric.external_id.as_ref();
        if external_id.and_then(|id| self.by_external_id.get(id)).is_some_and(|taken| *taken != metric.slot) {
            return Err(TreeError::IdTaken);
        }
        Ok(())
    }

    /// How many levels of metrics there are below one.
    fn levels_below(&self, slot: MetricSlot) -> usize {
        let levels =
            |node: &Node| node.ancestors.iter().position(|above| *above == slot).map_or(0, |at| at + 1);
        self.nodes.iter().flatten().map(levels).max().unwrap_or(0)
    }

    /// Puts a metric at its slot; ancestors are for [`MetricTree::link`] to work out.
    fn place(&mut self, metric: Metric) {
        let slot = metric.slot;
        if let Some(old) = self.nodes.get_mut(slot.0 as usize).and_then(Option::take) {
            self.forget(&old.metric);
        }
        self.by_name.insert(metric.name.clone(), slot);
        if let Some(id) = &metric.external_id {
            self.by_external_id.insert(id.clone(), slot);
        }
        let place = slot.0 as usize;
        if self.nodes.len() <= place {
            self.nodes.resize(place + 1, None);
        }
        self.nodes[place] = Some(Node { metric, ancestors: Box::default() });
    }

    fn forget(&mut self, metric: &Metric) {
        self.by_name.remove(&metric.name);
        if let Some(id) = &metric.external_id {
            self.by_external_id.remove(id);
        }
    }

    /// Takes a metric out; its slot stays empty.
    ///
    /// # Errors
    /// The metric has others below it.
    pub fn remove(&mut self, slot: MetricSlot) -> Result<Option<Metric>, TreeError> {
        if self.iter().any(|metric| metric.parent == Some(slot)) {
            return Err(TreeError::HasChildren);
        }
        let Some(node) = self.nodes.get_mut(slot.0 as usize).and_then(Option::take) else {
            return Ok(None);
        };
        self.forget(&node.metric);
        Ok(Some(node.metric))
    }

    /// Gives the slots below `slots` out without a metric: those of metrics deleted before this tree was written.
    pub fn reserve(&mut self, slots: u32) {
        let slots = slots.min(MAX_SLOTS) as usize;
        if self.nodes.len() < slots {
            self.nodes.resize(slots, None);
        }
    }

    /// Rebuilds a tree from its metrics in any order (a parent may come after its methods).
    ///
    /// # Errors
    /// As [`MetricTree::put`].
    pub fn from_metrics(slots: u32, metrics: Vec<Metric>) -> Result<Self, TreeError> {
        let mut tree = MetricTree::default();
        tree.reserve(slots);
        for metric in metrics {
            tree.check_place(&metric)?;
            tree.place(metric);
        }
        tree.link()?;
        Ok(tree)
    }

    fn node(&self, slot: MetricSlot) -> Option<&Node> {
        self.nodes.get(slot.0 as usize)?.as_ref()
    }

    /// Works the ancestors out anew: trees are small and change rarely, decisions read them all the time.
    fn link(&mut self) -> Result<(), TreeError> {
        for place in 0..self.nodes.len() {
            let mut chain = Vec::new();
            let mut above = self.nodes[place].as_ref().and_then(|node| node.metric.parent);
            while let Some(slot) = above {
                if chain.len() + 1 == DEPTH_MAX {
                    return Err(self.endless_or_deep(slot));
                }
                chain.push(slot);
                above = self.get(slot).ok_or(TreeError::ParentUnknown)?.parent;
            }
            if let Some(node) = &mut self.nodes[place] {
                node.ancestors = chain.into();
            }
        }
        Ok(())
    }

    /// What is wrong with a way up that has not ended at `slot`: longer than there are metrics, it is a cycle.
    fn endless_or_deep(&self, slot: MetricSlot) -> TreeError {
        let up = std::iter::successors(self.get(slot), |metric| self.get(metric.parent?));
        if up.take(self.nodes.len() + 1).count() > self.nodes.len() {
            TreeError::Cycle
        } else {
            TreeError::TooDeep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(slot: u32, name: &str, parent: Option<u32>) -> Metric {
        Metric {
            id: MetricId(u64::from(slot) + 100),
            external_id: None,
            slot: MetricSlot(slot),
            name: name.into(),
            parent: parent.map(MetricSlot),
        }
    }

    #[test]
    fn ancestors_run_from_parent_to_root() {
        let mut tree = MetricTree::default();
        tree.put(metric(0, "hits", None)).unwrap();
        for depth in 1..50 {
            tree.put(metric(depth, &format!("m{depth}"), Some(depth - 1))).unwrap();
        }
        let chain: Vec<_> = (0..49).rev().map(MetricSlot).collect();
        assert_eq!(tree.ancestors(MetricSlot(49)), chain);
        assert_eq!(tree.children(MetricSlot(0)).iter().map(|child| child.slot.0).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn refuses_duplicates_orphans_and_cycles() {
        let mut tree = MetricTree::default();
        tree.put(metric(0, "hits", None)).unwrap();
        tree.put(metric(1, "search", Some(0))).unwrap();
        assert_eq!(tree.put(metric(2, "hits", None)), Err(TreeError::NameTaken));
        assert_eq!(tree.put(metric(2, "x", Some(9))), Err(TreeError::ParentUnknown));
        assert_eq!(tree.put(metric(0, "hits", Some(1))), Err(TreeError::Cycle));
        assert_eq!(tree.put(metric(1, "search", Some(1))), Err(TreeError::Cycle));
        assert_eq!(tree.remove(MetricSlot(0)), Err(TreeError::HasChildren));
    }

    #[test]
    fn metrics_are_found_by_the_other_systems_id_and_listed_in_its_order() {
        let mut tree = MetricTree::default();
        tree.put(metric(0, "own", None)).unwrap();
        for (slot, id) in [(1, "100"), (2, "x"), (3, "20"), (4, "007"), (5, "3")] {
            let external_id = Some(id.to_owned());
            tree.put(Metric { external_id, ..metric(slot, &format!("m{slot}"), Some(0)) }).unwrap();
        }
        let found = |text: &str| tree.by_text(text).map(|metric| metric.slot.0);
        // What another system calls 100 hides what has that id of its own.
        let texts = ["100", "101", "x", "20", "007", "7", "3", "+3"].map(found);
        assert_eq!(texts, [Some(1), None, Some(2), Some(3), Some(4), None, Some(5), None]);
        let order: Vec<_> = tree.children(MetricSlot(0)).iter().map(|it| it.slot.0).collect();
        assert_eq!(order, [5, 3, 1, 4, 2]);

        let again = Metric { external_id: Some("20".into()), ..metric(6, "other", None) };
        assert_eq!(tree.put(again.clone()), Err(TreeError::IdTaken));
        tree.remove(MetricSlot(3)).unwrap();
        tree.put(again).unwrap();
        assert_eq!(tree.by_text("20").map(|it| it.slot.0), Some(6));
        assert_eq!(MetricTree::from_metrics(tree.slots(), tree.iter().cloned().collect()), Ok(tree));
    }

    #[test]
    fn a_deleted_metric_keeps_its_slot_and_frees_its_name() {
        let mut tree = MetricTree::default();
        tree.put(metric(0, "hits", None)).unwrap();
        assert_eq!(tree.remove(MetricSlot(0)).unwrap().unwrap().name, "hits");
        assert_eq!((tree.find("hits"), tree.slots()), (None, 1));
        tree.put(metric(1, "hits", None)).unwrap();
        assert_eq!(tree.find("hits").unwrap().slot, MetricSlot(1));
    }

    #[test]
    fn is_rebuilt_from_any_order() {
        let metrics = vec![metric(3, "c", Some(2)), metric(2, "b", Some(0)), metric(0, "a", None)];
        let tree = MetricTree::from_metrics(5, metrics).unwrap();
        assert_eq!(tree.slots(), 5);
        assert_eq!(tree.ancestors(MetricSlot(3)), [MetricSlot(2), MetricSlot(0)]);
        let loop_of_two = vec![metric(0, "a", Some(1)), metric(1, "b", Some(0))];
        assert_eq!(MetricTree::from_metrics(2, loop_of_two), Err(TreeError::Cycle));
        let orphan = vec![metric(0, "a", Some(1))];
        assert_eq!(MetricTree::from_metrics(2, orphan), Err(TreeError::ParentUnknown));
    }

    /// `len` metrics, each below the one before.
    fn chain(len: u32) -> Vec<Metric> {
        (0..len).map(|at| metric(at, &format!("m{at}"), at.checked_sub(1))).collect()
    }

    #[test]
    fn depth_has_a_limit() {
        let max = u32::try_from(DEPTH_MAX).unwrap();
        let mut tree = MetricTree::default();
        chain(max).into_iter().for_each(|metric| tree.put(metric).unwrap());
        let before = tree.clone();
        assert_eq!(tree.put(chain(max + 1).remove(DEPTH_MAX)), Err(TreeError::TooDeep));
        // Nor may what is above the chain grow: the tree moves down as a whole.
        tree.put(metric(max, "root", None)).unwrap();
        assert_eq!(tree.put(metric(0, "m0", Some(max))), Err(TreeError::TooDeep));
        tree.remove(MetricSlot(max)).unwrap();
        assert!(tree.iter().eq(before.iter()));

        assert_eq!(MetricTree::from_metrics(max, chain(max)), Ok(before));
        assert_eq!(MetricTree::from_metrics(max + 1, chain(max + 1)), Err(TreeError::TooDeep));
        assert_eq!(MetricTree::from_metrics(MAX_SLOTS, chain(MAX_SLOTS)), Err(TreeError::TooDeep));
    }

    #[test]
    fn the_widest_tree_is_rebuilt_without_linking_it_for_each_metric() {
        let below = |at: u32| metric(at, &format!("m{at}"), Some(MAX_SLOTS - 1).filter(|root| at != *root));
        let tree = MetricTree::from_metrics(MAX_SLOTS, (0..MAX_SLOTS).map(below).collect()).unwrap();
        assert_eq!(tree.ancestors(MetricSlot(0)), [MetricSlot(MAX_SLOTS - 1)]);
    }
}
