//! Usage: what a call reports, and what that does to the counters of its application.

use smallvec::SmallVec;

use super::amount::Effect;
use super::id::MetricSlot;
use super::metric::MetricTree;

/// The effects of one request, at most one per counter; small requests stay on the stack.
pub type Effects = SmallVec<[(MetricSlot, Effect); 8]>;

/// Reads a usage value: digits, optionally after `#` (set instead of add), with spaces around.
///
/// The amount saturates at `u64::MAX`. `None` for anything else (signs, decimals, blanks).
#[must_use]
pub fn parse_value(text: &str) -> Option<Effect> {
    let text = text.trim_matches(|c: char| matches!(c, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r'));
    let (digits, set) = text.strip_prefix('#').map_or((text, false), |rest| (rest, true));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount = digits
        .bytes()
        .fold(0_u64, |amount, byte| amount.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
    Some(if set { Effect::Set(amount) } else { Effect::Add(amount) })
}

/// Adds an effect to a list, after what the list already does to that counter.
pub fn push_effect(effects: &mut Effects, slot: MetricSlot, effect: Effect) {
    match effects.iter_mut().find(|(known, _)| *known == slot) {
        Some((_, before)) => *before = before.then(effect),
        None => effects.push((slot, effect)),
    }
}

/// Adds to what usage does to the metrics it names what it does, unless it is `flat`, to all their ancestors.
///
/// The named values stand first; then each is passed up in the order given, so an ancestor gets the sum of what
/// is added below it, and the last of several sets below it wins.
pub fn propagate(effects: &mut Effects, tree: &MetricTree, flat: bool) {
    if flat {
        return;
    }
    if let [(slot, effect)] = effects[..] {
        effects.extend(tree.ancestors(slot).iter().map(|ancestor| (*ancestor, effect)));
        return;
    }
    // As they were named: one that stands above another changes on the way.
    for (slot, effect) in Effects::from_slice(effects) {
        for ancestor in tree.ancestors(slot) {
            push_effect(effects, *ancestor, effect);
        }
    }
}

/// The response codes that are counted: five by themselves, and three groups. Their numbers are slots on disk.
const RESPONSE_CODES: [&str; 8] = ["200", "403", "404", "500", "503", "2XX", "4XX", "5XX"];

/// The counters of a reported response code: its own and its group's, where there are such.
///
/// Codes are three digits; others count nothing.
pub fn response_code_slots(code: &str) -> impl Iterator<Item = MetricSlot> {
    let bytes = code.as_bytes();
    let valid = bytes.len() == 3 && bytes.iter().all(u8::is_ascii_digit);
    let group = match bytes.first() {
        Some(b'2') => "2XX",
        Some(b'4') => "4XX",
        Some(b'5') => "5XX",
        _ => "",
    };
    let wanted = if valid { [code, group] } else { ["", ""] };
    (0_u32..)
        .zip(RESPONSE_CODES)
        .filter(move |(_, name)| wanted.contains(name))
        .map(|(number, _)| MetricSlot(MetricSlot::RESPONSE_CODES + number))
}

/// The counter of that name ([`response_code_name`]).
#[must_use]
pub fn response_code_slot(name: &str) -> Option<MetricSlot> {
    let at = (0_u32..).zip(RESPONSE_CODES).find(|(_, it)| *it == name);
    at.map(|(number, _)| MetricSlot(MetricSlot::RESPONSE_CODES + number))
}

/// The name of a response code counter (`404`, `4XX`).
#[must_use]
pub fn response_code_name(slot: MetricSlot) -> Option<&'static str> {
    RESPONSE_CODES.get(slot.0.checked_sub(MetricSlot::RESPONSE_CODES)? as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::MetricId;
    use crate::model::metric::Metric;

    #[test]
    fn values_are_digits_with_an_optional_hash_and_spaces() {
        for (text, value) in [
            ("1", Some(Effect::Add(1))),
            (" 007\n", Some(Effect::Add(7))),
            ("#5", Some(Effect::Set(5))),
            ("\t#0 ", Some(Effect::Set(0))),
            ("99999999999999999999999", Some(Effect::Add(u64::MAX))),
            ("", None),
            ("#", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 2", None),
            ("# 5", None),
            ("##5", None),
            ("\u{661}", None),
            ("\u{a0}1", None),
        ] {
            assert_eq!(parse_value(text), value, "{text:?}");
        }
    }

    fn tree() -> MetricTree {
        let mut tree = MetricTree::default();
        for (slot, parent) in [(0, None), (1, Some(0)), (2, Some(1)), (3, Some(0))] {
            tree.put(Metric {
                external_id: None,
                id: MetricId(slot.into()),
                slot: MetricSlot(slot),
                name: format!("m{slot}"),
                parent: parent.map(MetricSlot),
            })
            .unwrap();
        }
        tree
    }

    fn rolled(named: &[(u32, Effect)], flat: bool) -> Vec<(u32, Effect)> {
        let mut effects = named.iter().map(|(slot, effect)| (MetricSlot(*slot), *effect)).collect();
        propagate(&mut effects, &tree(), flat);
        let mut all: Vec<_> = effects.into_iter().map(|(slot, effect)| (slot.0, effect)).collect();
        all.sort_by_key(|(slot, _)| *slot);
        all
    }

    #[test]
    fn additions_roll_up_to_every_ancestor() {
        use Effect::Add;
        assert_eq!(
            rolled(&[(2, Add(1)), (1, Add(1)), (0, Add(1))], false),
            [(0, Add(3)), (1, Add(2)), (2, Add(1))]
        );
        assert_eq!(rolled(&[(2, Add(4))], true), [(2, Add(4))]);
    }

    #[test]
    fn sets_reach_every_ancestor_and_the_last_sibling_wins() {
        use Effect::{Add, Set};
        assert_eq!(rolled(&[(2, Set(7))], false), [(0, Set(7)), (1, Set(7)), (2, Set(7))]);
        assert_eq!(rolled(&[(1, Set(7)), (3, Set(4))], false), [(0, Set(4)), (1, Set(7)), (3, Set(4))]);
        assert_eq!(rolled(&[(0, Set(5)), (3, Add(3))], false), [(0, Set(8)), (3, Add(3))]);
    }

    #[test]
    fn response_codes_count_alone_and_in_their_group() {
        let names = |code| {
            response_code_slots(code).map(|slot| response_code_name(slot).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names("200"), ["200", "2XX"]);
        assert_eq!(names("201"), ["2XX"]);
        assert_eq!(names("404"), ["404", "4XX"]);
        assert_eq!(names("302"), [""; 0]);
        assert_eq!(names("20"), [""; 0]);
        assert_eq!(names("2XX"), [""; 0]);
        assert_eq!(names(""), [""; 0]);
    }
}
