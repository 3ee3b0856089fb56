//! The mapping-rules engine: which rules a call matches, and what it so counts. Pure: it reads texts, and knows no
//! service, socket or clock.
//!
//! # What a rule means
//! As with the original's gateway. A call matches a rule if method, path and query all do:
//! - **Method**: exactly; `HEAD` is not `GET`.
//! - **Path**: the pattern is a prefix of the path, whatever follows, in the middle of a segment too: `/a/b` matches `/a/bc/d`.
//!   A pattern that ends in `$` matches the whole path only.
//! - **Variables**: `{x}` stands for one run of bytes, at least one, other than `/`. What it is called has no meaning, and what it
//!   stands for is not kept.
//! - **Query**: each pair of the pattern must be among the call's, in any order, beside others. `k=v` asks for that value; of a
//!   name that comes several times the last one counts. A value with a variable in it asks for the name with any value, also none
//!   (`k`, `k=`). A name without a value is the same as one with an empty value.
//!
//! Rules are tried in the order in which they are given (their position). Each that matches counts its delta, also if
//! another has counted the same metric; none is tried after one that is `last` and matches. Methods are not added up to
//! their metric here: the engine of counts does.
//!
//! # What a path is
//! Path and pattern are compared in one form ([`Path`]), so that no spelling of a path gets round a rule:
//! - Percent-encoding is taken away, once. An encoded slash is a slash, an encoded dot a dot; in a pattern encoded
//!   braces and dollars are just those characters.
//! - Several slashes are one. `.` and `..` segments of a call are followed; those of a pattern are not, and match nothing.
//! - The query begins at the first `?`; later ones are part of it. In it, `+` is a space, and an escape that is none stands for itself.
//! - A path that is none is refused: one without a slash at its beginning, with `..` above the root, with an escape
//!   that is none or is NUL, longer than [`PATH_LEN_MAX`].
//!
//! # How it is fast
//! Rules are compiled once ([`Rules::compile`]) into a trie for each method (`index`), its branches the segments of patterns. Of
//! a segment that is plain text, the children are found by binary search; of the last, all plain prefixes of the
//! path's segment by as many searches as match. Segments with variables are told apart by the text before the first
//! variable. So a call looks at few rules besides those that match, and at most once at each. There is no regular expression, and no backtracking.

mod index;
mod path;
mod pattern;
#[cfg(test)]
mod tests;

pub use path::{PATH_LEN_MAX, Parameters, Path, PathError, QUERY_LEN_MAX};
pub use pattern::{Pattern, PatternError, TEXT_LEN_MAX, below};

use index::Node;
use std::collections::BTreeMap;

/// The most rules of one set: about as many as fit twice into the longest configuration of a gateway.
pub const RULES_MAX: usize = 20_000;

/// A rule, as far as matching goes. What it counts is known by its place.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method, in capitals.
    pub method: String,
    /// Path and query.
    pub pattern: Pattern,
    /// No rule after it is tried if it matches.
    pub last: bool,
}

/// More than [`RULES_MAX`] rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are more than {RULES_MAX} rules")]
pub struct TooMany;

/// Rules, compiled.
#[derive(Debug)]
pub struct Rules {
    methods: BTreeMap<String, Node>,
    /// What is left to be looked at of rules whose method and path match, by their place.
    rest: Vec<Rest>,
}

#[derive(Debug)]
struct Rest {
    /// Names, and the values they must have, if it matters.
    query: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    last: bool,
}

impl Rules {
    /// Compiles rules. Their order is that in which they are tried.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn compile(rules: impl IntoIterator<Item = Rule>) -> Result<Rules, TooMany> {
        let mut compiled = Rules { methods: BTreeMap::new(), rest: Vec::new() };
        for Rule { method, pattern, last } in rules {
            if compiled.rest.len() >= RULES_MAX {
                return Err(TooMany);
            }
            // At most RULES_MAX, so it fits.
            let place = compiled.rest.len() as u32;
            compiled.rest.push(Rest { query: pattern.conditions(), last });
            compiled.methods.entry(method).or_default().insert(pattern, place);
        }
        Ok(compiled)
    }

    /// The places of the rules that a call matches, in the order in which they are tried, up to the last.
    #[must_use]
    pub fn find(&self, method: &str, path: &Path, parameters: &Parameters) -> Vec<usize> {
        let Some(index) = self.methods.get(method) else { return Vec::new() };
        let mut found = index.find(path);
        found.sort_unstable();
        let mut matched = Vec::with_capacity(found.len());
        for place in found.into_iter().map(|place| place as usize) {
            let rest = &self.rest[place];
            let wanted = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| parameters.has(name, value.as_deref());
            if rest.query.iter().all(wanted) {
                matched.push(place);
                if rest.last {
                    break;
                }
            }
        }
        matched
    }
}

/// The innermost of paths that a call's path is or lies in, by what stands beside it, with what is left of the path below it.
pub fn innermost<'p, T>(paths: impl IntoIterator<Item = (&'p Path, T)>, path: &Path) -> Option<(T, Path)> {
    let below = paths.into_iter().filter_map(|(other, what)| Some((what, path.below(other)?)));
    below.min_by_key(|(_, rest)| rest.len())
}

/// Whether a rule that matched counts for a call that goes to a backend API: one of another backend API does not.
#[must_use]
pub fn counts_at(owner: Option<u64>, backend: Option<u64>) -> bool {
    owner.is_none() || backend.is_none() || owner == backend
}

/// What metrics and deltas come to: each metric once, in the order in which they first come. Sums end at the largest number there is.
pub fn usage<'r>(counted: impl IntoIterator<Item = (&'r str, u64)>) -> Vec<(&'r str, u64)> {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (metric, delta) in counted {
        match sums.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.saturating_add(delta),
            None => sums.push((metric, delta)),
        }
    }
    sums
}
