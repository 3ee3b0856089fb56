//! A persistent sorted set of ids: a copy is one pointer, a change copies one path.
//!
//! Sets say what belongs to whom ([`super::owned`]): an account mostly has one application, a service may have a million.
//! So one id takes no memory of its own; more of them are a B+ tree that knows how many ids lie below each node, which is
//! what lets a reader skip to any page of a long list. Ids of new records are the highest: a node that is full because one
//! came at its end stays full, and the new one begins the next, so a set that grows that way takes hardly more than its ids.

use std::sync::Arc;

use smallvec::SmallVec;

/// The most ids in a leaf: 2 KiB, which a change copies.
const LEAF_MAX: usize = 256;
/// The most children of an inner node: a million ids lie three levels deep.
const INNER_MAX: usize = 64;
/// Neighbours are joined when they have no more between them than this part of what one can hold.
const JOINED_PART: usize = 2;

/// A sorted set of `u64` ids, cheap to clone, with the unchanged parts shared between clones.
#[derive(Clone, Default, Debug)]
pub struct IdSet(Repr);

/// A word and a tag: in a map of sets it takes no more than a pointer would.
#[derive(Clone, Default, Debug)]
enum Repr {
    #[default]
    None,
    One(u64),
    /// Two at least.
    Many(Arc<Tree>),
}

const _: () = assert!(size_of::<IdSet>() == 16);

#[derive(Clone, Debug)]
struct Tree {
    len: usize,
    root: Node,
}

/// Never empty. All leaves are equally deep.
#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<u64>),
    Inner(Vec<Child>),
}

#[derive(Clone, Debug)]
struct Child {
    /// The least id below.
    first: u64,
    /// How many ids are below.
    len: usize,
    node: Arc<Node>,
}

/// What became of a node that an id was put into.
enum Inserted {
    /// It was there.
    Known,
    /// It fits.
    Fits,
    /// It fits, and this must stand to the right of the node, which was full.
    Split(Child),
}

impl IdSet {
    /// No ids.
    #[must_use]
    pub const fn new() -> Self {
        IdSet(Repr::None)
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::None => 0,
            Repr::One(_) => 1,
            Repr::Many(tree) => tree.len,
        }
    }

    /// Whether there is no id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Repr::None)
    }

    /// Whether `id` is there.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.range_from(id).next() == Some(id)
    }

    /// Puts `id` in; whether it was not there.
    pub fn insert(&mut self, id: u64) -> bool {
        match &mut self.0 {
            Repr::None => self.0 = Repr::One(id),
            Repr::One(known) if *known == id => return false,
            Repr::One(known) => {
                let ids = vec![id.min(*known), id.max(*known)];
                self.0 = Repr::Many(Arc::new(Tree { len: ids.len(), root: Node::Leaf(ids) }));
            }
            Repr::Many(tree) => {
                // make_mut copies a node only while an older set shares it.
                let tree = Arc::make_mut(tree);
                match tree.root.insert(id) {
                    Inserted::Known => return false,
                    Inserted::Fits => tree.len += 1,
                    Inserted::Split(right) => tree.grow(right),
                }
            }
        }
        true
    }

    /// Takes `id` out; whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        // Nothing is copied for an id that is not there.
        if !self.contains(id) {
            return false;
        }
        match &mut self.0 {
            Repr::None | Repr::One(_) => self.0 = Repr::None,
            Repr::Many(tree) => {
                let tree = Arc::make_mut(tree);
                tree.remove(id);
                if tree.len == 1 {
                    self.0 = Repr::One(tree.root.first());
                }
            }
        }
        true
    }

    /// All ids, ascending. Skipping any number of them costs no more than a look at a few nodes.
    pub fn iter(&self) -> Ids<'_> {
        self.range_from(0)
    }

    /// The ids that are at least `from`, ascending.
    pub fn range_from(&self, from: u64) -> Ids<'_> {
        let mut ids = Ids { leaf: &[], above: SmallVec::new() };
        match &self.0 {
            Repr::None => {}
            Repr::One(id) => ids.leaf = if *id >= from { std::slice::from_ref(id) } else { &[] },
            Repr::Many(tree) => ids.descend_to(&tree.root, from),
        }
        ids
    }
}

impl<'a> IntoIterator for &'a IdSet {
    type Item = u64;
    type IntoIter = Ids<'a>;

    fn into_iter(self) -> Ids<'a> {
        self.iter()
    }
}

impl Tree {
    /// Puts a root above the one that was split.
    fn grow(&mut self, right: Child) {
        let len = self.len + 1 - right.len;
        let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        let left = Child { first: left.first(), len, node: Arc::new(left) };
        self.root = Node::Inner(vec![left, right]);
        self.len += 1;
    }

    /// Takes out `id`, which is there.
    fn remove(&mut self, id: u64) {
        self.root.remove(id);
        self.len -= 1;
        while let Node::Inner(children) = &mut self.root
            && children.len() == 1
            && let Some(only) = children.pop()
        {
            self.root = Arc::unwrap_or_clone(only.node);
        }
    }
}

impl Node {
    fn first(&self) -> u64 {
        match self {
            Node::Leaf(ids) => ids.first().copied().unwrap_or_default(),
            Node::Inner(children) => children.first().map_or(0, |child| child.first),
        }
    }

    fn insert(&mut self, id: u64) -> Inserted {
        match self {
            Node::Leaf(ids) => match ids.binary_search(&id) {
                Ok(_) => Inserted::Known,
                Err(at) => put(ids, at, id, LEAF_MAX).map_or(Inserted::Fits, |right| {
                    Inserted::Split(Child {
                        first: right[0],
                        len: right.len(),
                        node: Arc::new(Node::Leaf(right)),
                    })
                }),
            },
            Node::Inner(children) => {
                let at = place(children, id);
                let child = &mut children[at];
                match Arc::make_mut(&mut child.node).insert(id) {
                    Inserted::Known => Inserted::Known,
                    Inserted::Fits => {
                        child.first = child.first.min(id);
                        child.len += 1;
                        Inserted::Fits
                    }
                    Inserted::Split(right) => {
                        child.first = child.first.min(id);
                        child.len = child.len + 1 - right.len;
                        put(children, at + 1, right, INNER_MAX).map_or(Inserted::Fits, |right| {
                            let len = right.iter().map(|child| child.len).sum();
                            Inserted::Split(Child {
                                first: right[0].first,
                                len,
                                node: Arc::new(Node::Inner(right)),
                            })
                        })
                    }
                }
            }
        }
    }

    /// Takes out `id`, which is there; may leave a root without anything.
    fn remove(&mut self, id: u64) {
        match self {
            Node::Leaf(ids) => ids.retain(|it| *it != id),
            Node::Inner(children) => {
                let at = place(children, id);
                let child = &mut children[at];
                let node = Arc::make_mut(&mut child.node);
                node.remove(id);
                child.len -= 1;
                if child.len == 0 {
                    children.remove(at);
                    return;
                }
                child.first = node.first();
                join(children, at.saturating_sub(1));
            }
        }
    }
}

/// The child below which `id` is, or would be.
fn place(children: &[Child], id: u64) -> usize {
    children.partition_point(|child| child.first <= id).saturating_sub(1)
}

/// Puts an item where it belongs among at most `max`; of those that were as many already, the right part comes back.
fn put<T>(items: &mut Vec<T>, at: usize, item: T, max: usize) -> Option<Vec<T>> {
    if items.len() < max {
        if items.len() == items.capacity() {
            // A quarter more, and never more than can come: most lists are short.
            items.reserve_exact((items.len() / 4).max(2).min(max - items.len()));
        }
        items.insert(at, item);
        return None;
    }
    if at == items.len() {
        return Some(vec![item]);
    }
    let middle = max / 2;
    let mut right = items.split_off(middle);
    if at <= middle {
        items.insert(at, item);
    } else {
        right.insert(at - middle, item);
    }
    items.shrink_to_fit();
    Some(right)
}

/// Makes one node of two neighbours that have little.
fn join(children: &mut Vec<Child>, left: usize) {
    let [one, other, ..] = &mut children[left..] else { return };
    let fits = match (&*one.node, &*other.node) {
        (Node::Leaf(one), Node::Leaf(other)) => one.len() + other.len() <= LEAF_MAX / JOINED_PART,
        (Node::Inner(one), Node::Inner(other)) => one.len() + other.len() <= INNER_MAX / JOINED_PART,
        _ => false,
    };
    if !fits {
        return;
    }
    match (Arc::make_mut(&mut one.node), &*other.node) {
        (Node::Leaf(one), Node::Leaf(other)) => one.extend_from_slice(other),
        (Node::Inner(one), Node::Inner(other)) => one.extend_from_slice(other),
        _ => {}
    }
    one.len += other.len;
    children.remove(left + 1);
}

/// Ids of a set, ascending.
#[derive(Clone, Debug)]
pub struct Ids<'a> {
    leaf: &'a [u64],
    /// What comes after `leaf`: of each level, root first, the nodes to the right.
    above: SmallVec<[&'a [Child]; 4]>,
}

impl<'a> Ids<'a> {
    /// Goes down from `node` to the first id that is at least `from`.
    fn descend_to(&mut self, mut node: &'a Node, from: u64) {
        loop {
            match node {
                Node::Leaf(ids) => {
                    self.leaf = &ids[ids.partition_point(|id| *id < from)..];
                    return;
                }
                Node::Inner(children) => {
                    let at = place(children, from);
                    self.above.push(&children[at + 1..]);
                    node = &children[at].node;
                }
            }
        }
    }
}

impl Iterator for Ids<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.nth(0)
    }

    fn nth(&mut self, mut skipped: usize) -> Option<u64> {
        loop {
            if let Some(id) = self.leaf.get(skipped) {
                self.leaf = &self.leaf[skipped + 1..];
                return Some(*id);
            }
            skipped -= self.leaf.len();
            self.leaf = &[];
            let right = self.above.last_mut()?;
            match right.iter().position(|child| match skipped.checked_sub(child.len) {
                Some(left) => {
                    skipped = left;
                    false
                }
                None => true,
            }) {
                None => drop(self.above.pop()),
                Some(at) => {
                    let node = &*right[at].node;
                    *right = &right[at + 1..];
                    match node {
                        Node::Leaf(ids) => self.leaf = ids,
                        Node::Inner(children) => self.above.push(children),
                    }
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let right: usize = self.above.iter().flat_map(|right| right.iter()).map(|child| child.len).sum();
        let len = self.leaf.len() + right;
        (len, Some(len))
    }
}

impl ExactSizeIterator for Ids<'_> {}
impl std::iter::FusedIterator for Ids<'_> {}

#[cfg(test)]
mod tests;
