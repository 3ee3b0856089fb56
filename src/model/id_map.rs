//! A persistent map from ids to shared values: a copy is one pointer, a change copies one path.
//!
//! A radix tree of 64-way nodes over the id's bits. Ids come from one dense sequence, so four levels hold
//! sixteen million; the tree grows a level when an id needs it. Reading allocates nothing and takes no lock,
//! which is what lets a decision read the catalog while a command builds the next one.

use std::sync::Arc;

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// A map from `u64` ids to `Arc<T>`, cheap to clone, with the unchanged parts shared between clones.
#[derive(Debug)]
pub struct IdMap<T> {
    root: Option<Arc<Node<T>>>,
    /// Levels below the root; an id must fit `(height + 1) * BITS` bits.
    height: u32,
    len: usize,
}

/// A node's place: what lies there says itself whether it is a value, so that following a path reads one cache
/// line per level.
#[derive(Debug)]
enum Slot<T> {
    Empty,
    Inner(Arc<Node<T>>),
    Leaf(Arc<T>),
}

#[derive(Debug)]
struct Node<T>([Slot<T>; WIDTH]);

impl<T> Clone for IdMap<T> {
    fn clone(&self) -> Self {
        IdMap { root: self.root.clone(), height: self.height, len: self.len }
    }
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        IdMap { root: None, height: 0, len: 0 }
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        match self {
            Slot::Empty => Slot::Empty,
            Slot::Inner(node) => Slot::Inner(Arc::clone(node)),
            Slot::Leaf(value) => Slot::Leaf(Arc::clone(value)),
        }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        Node(self.0.clone())
    }
}

impl<T> Node<T> {
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

impl<T> IdMap<T> {
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
    pub fn get(&self, id: u64) -> Option<&Arc<T>> {
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

    /// Puts `value` at `id` and returns what was there.
    pub fn insert(&mut self, id: u64, value: Arc<T>) -> Option<Arc<T>> {
        while !fits(id, self.height) {
            self.height += 1;
            if let Some(old) = self.root.take() {
                let mut above = Node::empty();
                above.0[0] = Slot::Inner(old);
                self.root = Some(Arc::new(above));
            }
        }
        let root = self.root.get_or_insert_with(|| Arc::new(Node::empty()));
        let replaced = put(root, self.height, id, Some(value));
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes `id` out and returns what was there. Empty nodes stay: ids near a live one will come again.
    pub fn remove(&mut self, id: u64) -> Option<Arc<T>> {
        self.get(id)?;
        let removed = put(self.root.as_mut()?, self.height, id, None);
        self.len -= 1;
        removed
    }

    /// All values in ascending order of id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Arc<T>)> {
        self.range_from(0)
    }

    /// The values whose id is at least `from`, ascending.
    pub fn range_from(&self, from: u64) -> impl Iterator<Item = (u64, &Arc<T>)> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let found = first_from(self.root.as_deref()?, self.height, next?)?;
            next = found.0.checked_add(1);
            Some(found)
        })
    }
}

fn put<T>(node: &mut Arc<Node<T>>, height: u32, id: u64, value: Option<Arc<T>>) -> Option<Arc<T>> {
    // make_mut copies a node only while an older map shares it.
    let slot = &mut Arc::make_mut(node).0[digit(id, height)];
    if height > 0 {
        if matches!(slot, Slot::Empty) {
            *slot = Slot::Inner(Arc::new(Node::empty()));
        }
        return match slot {
            Slot::Inner(below) => put(below, height - 1, id, value),
            Slot::Empty | Slot::Leaf(_) => None,
        };
    }
    match std::mem::replace(slot, value.map_or(Slot::Empty, Slot::Leaf)) {
        Slot::Leaf(before) => Some(before),
        Slot::Empty | Slot::Inner(_) => None,
    }
}

/// The first entry at or after `from` (given relative to this subtree's own first id).
fn first_from<T>(node: &Node<T>, height: u32, from: u64) -> Option<(u64, &Arc<T>)> {
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
