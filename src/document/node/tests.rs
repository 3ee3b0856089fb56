//! What plain texts are, what is refused, and the bounds.

use proptest::prelude::*;

use super::*;

fn told(text: &str) -> String {
    parse(text)
        .map(|(_, problems)| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        .unwrap_or_else(|it| it.to_string())
}

#[test]
fn values_are_what_the_core_schema_makes_of_them() {
    let text = "a: 1\nb: '1'\nc: true\nd: yes\ne: ~\nf:\ng: 1.5e3\nh: 0x1F\ni: 2026-11-23\nj: [x, {k: v}]\nk: -0\nl: .5\nm: 1_000\n";
    let (node, problems) = parse(text).unwrap();
    assert!(problems.is_empty());
    let expected = serde_json::json!({
        "a": 1, "b": "1", "c": true, "d": "yes", "e": null, "f": null, "g": 1500.0, "h": "0x1F",
        "i": "2026-11-23", "j": ["x", {"k": "v"}], "k": 0, "l": 0.5, "m": "1_000"
    });
    assert_eq!(node.json(), expected);
    assert_eq!(node.get("j").map(|it| it.spot), Some(Spot { line: 10, column: 4 }));
}

#[test]
fn what_is_refused_is_told_with_its_place() {
    assert_eq!(told("a: &x 1\nb: *x\n"), "1:4: anchors are not read here");
    assert!(told("a: *x\n").starts_with("1:4: "), "{}", told("a: *x\n"));
    assert!(told("a: !!str 1\n").ends_with("tags are not read here"));
    assert!(told("a: 1\n---\nb: 2\n").contains("second document"));
    assert_eq!(told("a: 1\nb: 2\na: 3\n"), "3:1: the key 'a' is there twice");
    assert_eq!(told(""), "1:1: the document is empty");
    assert!(told("[1, 2]: x\n").contains("a key must be a text"));
    assert!(told("a: [1, 2\nb: 3\n").starts_with("2:"), "{}", told("a: [1, 2\nb: 3\n"));
    assert!(!told("a:\n\t- 1\n").is_empty());
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    assert!(told(&nested(DEPTH_MAX + 1)).ends_with("nest deeper than 32"));
}

#[test]
fn length_is_bounded() {
    let text = |len: usize| format!("# {}\na: 1\n", "x".repeat(len - 8));
    assert_eq!(text(100).len(), 100);
    assert!(parse(&text(BYTES_MAX)).is_ok());
    assert!(told(&text(BYTES_MAX + 1)).contains("at most 16777216 are read"));
}

#[test]
fn the_number_of_values_is_bounded() {
    let mut reader = Reader { values: VALUES_MAX - 1, ..Reader::default() };
    let spot = Spot::default();
    assert!(reader.put(Node { spot, content: Content::Null }).is_ok());
    assert!(reader.put(Node { spot, content: Content::Null }).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-a: \\[\\]{},&*!|>'\"%@`#?\n\t0-9]{0,60}") {
        let _ = parse(&text);
    }
}
