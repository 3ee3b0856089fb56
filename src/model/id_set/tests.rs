//! A set of ids is a `BTreeSet` that skips quickly, and takes little.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Bytes that a set holds beside its own 16, counts of references included.
fn heap_bytes(set: &IdSet) -> usize {
    fn of(node: &Node) -> usize {
        match node {
            Node::Leaf(ids) => ids.capacity() * size_of::<u64>(),
            Node::Inner(children) => {
                let below = children.iter().map(|child| 16 + size_of::<Node>() + of(&child.node));
                children.capacity() * size_of::<Child>() + below.sum::<usize>()
            }
        }
    }
    match &set.0 {
        Repr::None | Repr::One(_) => 0,
        Repr::Many(tree) => 16 + size_of::<Tree>() + of(&tree.root),
    }
}

/// That what nodes say of those below is so, and that none is empty or too full.
fn assert_whole(set: &IdSet) {
    fn check(node: &Node) -> (usize, usize) {
        match node {
            Node::Leaf(ids) => {
                assert!((1..=LEAF_MAX).contains(&ids.len()) && ids.is_sorted_by(|one, other| one < other));
                (ids.len(), 0)
            }
            Node::Inner(children) => {
                assert!((1..=INNER_MAX).contains(&children.len()));
                let mut depths = BTreeSet::new();
                for child in children {
                    let (len, depth) = check(&child.node);
                    assert_eq!((len, child.node.first()), (child.len, child.first));
                    depths.insert(depth);
                }
                assert_eq!(depths.len(), 1);
                (children.iter().map(|child| child.len).sum(), depths.pop_first().unwrap() + 1)
            }
        }
    }
    if let Repr::Many(tree) = &set.0 {
        assert_eq!(check(&tree.root).0, tree.len);
        assert!(tree.len > 1);
    }
}

/// A run of ids put in or taken out, of which neighbours are `step` apart.
fn runs() -> impl Strategy<Value = Vec<(bool, u64, u64, u64)>> {
    let first = prop_oneof![0..50_u64, 0..100_000_u64, Just(u64::MAX - 100)];
    let len = prop_oneof![3 => 1..4_u64, 2 => 1..3000_u64];
    prop::collection::vec((prop::bool::weighted(0.6), first, len, prop_oneof![Just(1), 1..40_u64]), 0..24)
}

proptest! {
    #[test]
    fn behaves_like_a_btree_set_and_leaves_older_copies_alone(
        runs in runs(), keep_at in 0..24_usize, from in 0..120_000_u64, skipped in 0..20_000_usize,
    ) {
        let (mut set, mut model) = (IdSet::new(), BTreeSet::new());
        let mut kept = (set.clone(), model.clone());
        for (at, (puts, first, len, step)) in runs.into_iter().enumerate() {
            for id in (0..len).filter_map(|at| first.checked_add(at * step)) {
                if puts {
                    prop_assert_eq!(set.insert(id), model.insert(id));
                } else {
                    prop_assert_eq!(set.remove(id), model.remove(&id));
                }
            }
            prop_assert_eq!(set.contains(first), model.contains(&first));
            if at == keep_at {
                kept = (set.clone(), model.clone());
            }
        }
        for (set, model) in [(set, model), kept] {
            assert_whole(&set);
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!(set.iter().skip(skipped).eq(model.iter().copied().skip(skipped)));
            prop_assert!(set.range_from(from).eq(model.range(from..).copied()));
            let rest = set.range_from(from).skip(skipped / 100);
            prop_assert_eq!(rest.len(), model.range(from..).skip(skipped / 100).count());
            prop_assert!(rest.eq(model.range(from..).copied().skip(skipped / 100)));
        }
    }
}

const MILLION: u64 = 1_000_000;

#[test]
fn a_million_new_ids_take_hardly_more_than_eight_bytes_each() {
    let mut set = IdSet::new();
    (0..MILLION).for_each(|id| assert!(set.insert(id * 3)));
    let bytes = heap_bytes(&set);
    assert!(bytes < 83 * MILLION as usize / 10, "{bytes}");
    // Those that come in no order leave nodes half full at worst.
    let mut mixed = IdSet::new();
    (0..MILLION).for_each(|at| assert!(mixed.insert(at * 7_919 % MILLION)));
    assert_eq!(mixed.len(), set.len());
    assert!(heap_bytes(&mixed) < 18 * MILLION as usize, "{}", heap_bytes(&mixed));
    for id in (0..MILLION).filter(|id| id % 1000 != 0) {
        assert!(set.remove(id * 3));
    }
    assert_whole(&set);
    assert!(set.iter().eq((0..1000).map(|id| id * 3000)));
    assert!(heap_bytes(&set) < 100 << 10, "{}", heap_bytes(&set));
}

#[test]
fn one_id_takes_no_memory_and_a_few_take_little() {
    let mut set = IdSet::new();
    let mut most = 0;
    for (at, bound) in [(1, 0), (2, 100), (10, 200), (100, 1100)] {
        (most..at).for_each(|id| assert!(set.insert(id)));
        most = at;
        assert!(heap_bytes(&set) <= bound, "{at} take {}", heap_bytes(&set));
    }
    (1..most).for_each(|id| assert!(set.remove(id)));
    assert_eq!((heap_bytes(&set), set.iter().collect::<Vec<_>>()), (0, vec![0]));
    assert!(set.remove(0) && set.is_empty() && !set.remove(0));
}

#[test]
fn a_page_far_out_costs_a_look_at_a_few_nodes() {
    let mut set = IdSet::new();
    (0..MILLION).for_each(|id| assert!(set.insert(id * 2)));
    // A thousand pages: a scan would look at five hundred million ids.
    let started = std::time::Instant::now();
    for page in 0..1000 {
        let from = page * 1000;
        let ids: Vec<_> = set.iter().skip(from).take(20).collect();
        assert!(ids.into_iter().eq((from as u64..).take(20).map(|id| id * 2)));
    }
    assert!(started.elapsed().as_millis() < 1000, "{:?}", started.elapsed());
    assert_eq!(set.iter().nth(MILLION as usize), None);
}
