//! A persistent map from ids to values, mostly shared ones: a copy is one pointer, a change copies one path.
//!
//! A radix tree of 64-way nodes over the id's bits. Ids come from one dense sequence, so four levels hold
//! sixteen million; the tree grows a level when an id needs it. Reading allocates nothing and takes no lock,
//! which is what lets a decision read the catalog while a command builds the next one.

use std::sync::Arc;

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// A map from `u64` ids to `Arc<T>`.
pub type IdMap<T> = Radix<Arc<T>>;

/// A map from `u64` ids to small values, cheap to clone, with the unchanged parts shared between clones.
#[derive(Debug)]
pub struct Radix<V> {
    root: Option<Arc<Node<V>>>,
    /// Levels below the root; an id must fit `(height + 1) * BITS` bits.
    height: u32,
    len: usize,
}

/// A node's place: what lies there says itself whether it is a value, so that following a path reads one cache
/// line per level.
#[derive(Debug)]
enum Slot<V> {
    Empty,
    Inner(Arc<Node<V>>),
    Leaf(V),
}

/// What is beside a value of two words costs none.
const _: () = assert!(size_of::<Slot<super::id_set::IdSet>>() == 16 && size_of::<Slot<Arc<u64>>>() == 16);

#[derive(Debug)]
struct Node<V>([Slot<V>; WIDTH]);

impl<V> Clone for Radix<V> {
    fn clone(&self) -> Self {
        Radix { root: self.root.clone(), height: self.height, len: self.len }
    }
}

impl<V> Default for Radix<V> {
    fn default() -> Self {
        Radix { root: None, height: 0, len: 0 }
    }
}

impl<V: Clone> Clone for Slot<V> {
    fn clone(&self) -> Self {
        match self {
            Slot::Empty => Slot::Empty,
            Slot::Inner(node) => Slot::Inner(Arc::clone(node)),
            Slot::Leaf(value) => Slot::Leaf(value.clone()),
        }
    }
}

impl<V: Clone> Clone for Node<V> {
    fn clone(&self) -> Self {
        Node(self.0.clone())
    }
}

impl<V> Node<V> {
    fn empty() -> Self {
        Node([const { Slot::Empty }; WIDTH])
    }
}

fn digit(id: u64, height: u32) -> usize {
    ((id >> (height * BITS)) & (WIDTH as u64 - 1)) as usize
}

fn fits(id: u64, height: u32) -> bool {
    let bits = (height + 1) * BITS;
    bits >= 64 || id >> bits == 0
}

impl<V> Radix<V> {
    /// How many ids are present.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no id is present.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `id`.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&V> {
        if !fits(id, self.height) {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut height = self.height;
        loop {
            match &node.0[digit(id, height)] {
                Slot::Inner(below) => node = below,
                Slot::Leaf(value) => return Some(value),
                Slot::Empty => return None,
            }
            height -= 1;
        }
    }

    /// Adds levels until `id` has a place.
    fn reach(&mut self, id: u64) {
        while !fits(id, self.height) {
            self.height += 1;
            if let Some(old) = self.root.take() {
                let mut above = Node::empty();
                above.0[0] = Slot::Inner(old);
                self.root = Some(Arc::new(above));
            }
        }
    }

    /// All values in ascending order of id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.range_from(0)
    }

    /// The values whose id is at least `from`, ascending.
    pub fn range_from(&self, from: u64) -> impl Iterator<Item = (u64, &V)> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let found = first_from(self.root.as_deref()?, self.height, next?)?;
            next = found.0.checked_add(1);
            Some(found)
        })
    }
}

impl<V: Clone> Radix<V> {
    /// Puts `value` at `id` and returns what was there.
    pub fn insert(&mut self, id: u64, value: V) -> Option<V> {
        self.replace(id, Some(value))
    }

    /// Takes `id` out and returns what was there. Empty nodes stay: ids near a live one will come again.
    pub fn remove(&mut self, id: u64) -> Option<V> {
        self.get(id)?;
        self.replace(id, None)
    }

    /// Changes the value of `id` in its place; one that is not there is as by default before, and one of which
    /// `edit` says that it shall go is not there afterwards.
    pub fn edit(&mut self, id: u64, edit: impl FnOnce(&mut V) -> Stays)
    where
        V: Default,
    {
        let Some(slot) = self.slot(id) else { return };
        let was_there = matches!(slot, Slot::Leaf(_));
        if !was_there {
            *slot = Slot::Leaf(V::default());
        }
        let Slot::Leaf(value) = slot else { return };
        let stays = edit(value) == Stays::Yes;
        if !stays {
            *slot = Slot::Empty;
        }
        self.len = self.len + usize::from(stays) - usize::from(was_there);
    }

    /// The place of `id`, with a way there that no older map shares.
    fn slot(&mut self, id: u64) -> Option<&mut Slot<V>> {
        self.reach(id);
        let root = self.root.get_or_insert_with(|| Arc::new(Node::empty()));
        slot(root, self.height, id)
    }

    fn replace(&mut self, id: u64, value: Option<V>) -> Option<V> {
        let slot = self.slot(id)?;
        let is_there = value.is_some();
        let before = match std::mem::replace(slot, value.map_or(Slot::Empty, Slot::Leaf)) {
            Slot::Leaf(before) => Some(before),
            Slot::Empty | Slot::Inner(_) => None,
        };
        self.len = self.len + usize::from(is_there) - usize::from(before.is_some());
        before
    }
}

/// Whether a value that was changed in its place is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Stays {
    Yes,
    No,
}

fn slot<V: Clone>(node: &mut Arc<Node<V>>, height: u32, id: u64) -> Option<&mut Slot<V>> {
    // make_mut copies a node only while an older map shares it.
    let slot = &mut Arc::make_mut(node).0[digit(id, height)];
    if height == 0 {
        return Some(slot);
    }
    if matches!(slot, Slot::Empty) {
        *slot = Slot::Inner(Arc::new(Node::empty()));
    }
    match slot {
        Slot::Inner(below) => self::slot(below, height - 1, id),
        Slot::Empty | Slot::Leaf(_) => None,
    }
}

/// The first entry at or after `from` (given relative to this subtree's own first id).
fn first_from<V>(node: &Node<V>, height: u32, from: u64) -> Option<(u64, &V)> {
    if !fits(from, height) {
        return None;
    }
    let start = digit(from, height);
    node.0[start..].iter().enumerate().find_map(|(at, slot)| {
        let base = ((start + at) as u64) << (height * BITS);
        match slot {
            Slot::Empty => None,
            Slot::Leaf(value) => Some((base, value)),
            Slot::Inner(below) => {
                let (id, value) = first_from(below, height - 1, from.saturating_sub(base))?;
                Some((base + id, value))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_btree_map_and_leaves_older_copies_alone(
            steps in prop::collection::vec(
                (prop_oneof![0..200u64, 4000..4200u64, any::<u64>()], any::<Option<u8>>(), any::<bool>()), 0..200,
            ),
            from in prop_oneof![0..5000u64, any::<u64>()],
        ) {
            let mut map = IdMap::default();
            let mut model = BTreeMap::new();
            let mut kept = (map.clone(), model.clone());
            for (id, value, keep) in steps {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(id, Arc::new(value)).map(|v| *v), model.insert(id, value)),
                    None => prop_assert_eq!(map.remove(id).map(|v| *v), model.remove(&id)),
                }
                prop_assert_eq!(map.get(id).map(|v| **v), model.get(&id).copied());
                prop_assert_eq!(map.len(), model.len());
                if keep {
                    kept = (map.clone(), model.clone());
                }
            }
            for (map, model) in [(map, model), kept] {
                let all: Vec<_> = map.range_from(from).map(|(id, value)| (id, **value)).collect();
                let expected: Vec<_> = model.range(from..).map(|(id, value)| (*id, *value)).collect();
                prop_assert_eq!(all, expected);
                prop_assert_eq!(map.iter().count(), model.len());
            }
        }
    }
}
