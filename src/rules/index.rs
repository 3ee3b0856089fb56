//! The trie of patterns of one method: a branch for each segment of a path.
//!
//! A node stands for the segments before it. Patterns that go on have a child there, by their segment; of those that end, it
//! knows their last segment and place.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::path::Path;
use super::pattern::{Pattern, Segment};

/// Places of rules.
type Places = Vec<u32>;

/// What is below some segments.
#[derive(Default, Debug)]
pub(super) struct Node {
    /// Children whose segment is a plain text.
    plain: BTreeMap<Vec<u8>, Node>,
    /// Children whose segment has variables, by the text before the first.
    varied: BTreeMap<Vec<u8>, BTreeMap<Segment, Node>>,
    /// Patterns that end in a plain text with which the path must end.
    ending: BTreeMap<Vec<u8>, Places>,
    /// Patterns that end in a plain text with which the path's segment begins.
    beginning: BTreeMap<Vec<u8>, Places>,
    /// Patterns that end in a segment with variables, by the text before the first; and whether the path must end there.
    varied_ends: BTreeMap<Vec<u8>, BTreeMap<(Segment, bool), Places>>,
}

impl Node {
    /// Adds the pattern of a rule.
    pub(super) fn insert(&mut self, pattern: Pattern, place: u32) {
        let Pattern { mut segments, is_whole, .. } = pattern;
        let Some(last) = segments.pop() else { return };
        let mut node = self;
        for segment in segments {
            let head = segment.head().to_vec();
            node = match segment.has_variable() {
                true => node.varied.entry(head).or_default().entry(segment).or_default(),
                false => node.plain.entry(head).or_default(),
            };
        }
        let head = last.head().to_vec();
        let places = match (last.has_variable(), is_whole) {
            (true, _) => node.varied_ends.entry(head).or_default().entry((last, is_whole)).or_default(),
            (false, true) => node.ending.entry(head).or_default(),
            (false, false) => node.beginning.entry(head).or_default(),
        };
        places.push(place);
    }

    /// The places of the rules whose pattern a path matches, each once, in no order.
    pub(super) fn find(&self, path: &Path) -> Places {
        let segments: Vec<_> = path.segments().collect();
        let mut found = Vec::new();
        let mut open = vec![(self, 0)];
        while let Some((node, at)) = open.pop() {
            let Some(segment) = segments.get(at) else { continue };
            let is_last = at + 1 == segments.len();
            node.ends(segment, is_last, &mut found);
            if !is_last {
                open.extend(node.children(segment).map(|child| (child, at + 1)));
            }
        }
        found
    }

    /// Adds the places of patterns that end in this segment of a path.
    fn ends(&self, segment: &[u8], is_last: bool, found: &mut Places) {
        if is_last {
            found.extend(self.ending.get(segment).into_iter().flatten());
        }
        found.extend(prefixes(&self.beginning, segment).flatten());
        for ends in prefixes(&self.varied_ends, segment) {
            for ((pattern, is_whole), places) in ends {
                if (!is_whole || is_last) && pattern.matches(segment, *is_whole) {
                    found.extend(places);
                }
            }
        }
    }

    fn children<'n>(&'n self, segment: &'n [u8]) -> impl Iterator<Item = &'n Node> {
        let varied = prefixes(&self.varied, segment).flatten();
        let varied = varied.filter(|(pattern, _)| pattern.matches(segment, true)).map(|(_, child)| child);
        self.plain.get(segment).into_iter().chain(varied)
    }
}

/// The values of all keys with which a text begins, the longest first.
///
/// The greatest key that is not greater than the text begins with each key that the text begins with: so whatever those
/// two do not share can be passed over.
fn prefixes<'m, V>(map: &'m BTreeMap<Vec<u8>, V>, text: &'m [u8]) -> impl Iterator<Item = &'m V> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        loop {
            let text = left?;
            let (key, value) = map.range::<[u8], _>((Bound::Unbounded, Bound::Included(text))).next_back()?;
            let common = key.iter().zip(text).take_while(|(one, other)| one == other).count();
            if common == key.len() {
                left = common.checked_sub(1).map(|end| &text[..end]);
                return Some(value);
            }
            left = Some(&text[..common]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_prefixes_are_found_the_longest_first() {
        let keys = ["", "a", "ab", "abc", "abd", "b", "az"];
        let map = keys.into_iter().map(|key| (key.as_bytes().to_vec(), key)).collect();
        let found = |text: &str| prefixes(&map, text.as_bytes()).copied().collect::<Vec<_>>();
        assert_eq!(found("abce"), ["abc", "ab", "a", ""]);
        assert_eq!(found("abcz"), ["abc", "ab", "a", ""]);
        assert_eq!(found("aby"), ["ab", "a", ""]);
        assert_eq!((found("c"), found("")), (vec![""], vec![""]));
        assert!(prefixes(&BTreeMap::<Vec<u8>, u8>::new(), b"a").next().is_none());
    }
}
