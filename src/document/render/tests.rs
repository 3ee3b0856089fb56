//! Whatever texts there are, what is written is read again.

use proptest::prelude::*;
use serde_json::json;

use super::super::node::parse;
use super::*;

fn back(text: &str) -> Value {
    parse(text).unwrap_or_else(|it| panic!("{it}\n{text}")).0.json()
}

#[test]
fn texts_that_could_be_something_else_are_quoted() {
    for text in [
        "",
        " a",
        "a ",
        "yes",
        "No",
        "ON",
        "y",
        "null",
        "~",
        "true",
        "1",
        "-1",
        "1.5",
        "0x1f",
        ".inf",
        "1e3",
        "2026-11-23",
        "- a",
        "a: b",
        "a #b",
        "#",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        "\"",
        "\\",
        "\n",
        "\t",
        "a\nb",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{1f600}",
        "\u{10ffff}",
        "[",
        "]",
        "{",
        "}",
        ",",
        "|",
        ">",
        "?",
        ":",
        "-",
        "--- a",
        "...",
        "=",
        "<<",
        "é",
        "日本語",
        "1:30",
    ] {
        let value = json!({"key": text, text: [text, {text: text}]});
        assert_eq!(back(&super::value(&value)), value, "{text:?}: {}", super::value(&value));
    }
    assert_eq!(super::value(&json!({"a": "plain text/1 (x)"})), "a: plain text/1 (x)\n");
    assert_eq!(super::value(&json!({"a": "yes"})), "a: \"yes\"\n");
}

#[test]
fn keys_longer_than_a_parser_looks_ahead_are_read_back() {
    for len in [199, 201, 990, 1000, 1010, 1100, 5000] {
        let key = "k".repeat(len);
        let value = json!({key.clone(): {key.clone(): [{key.clone(): 1, "b": 2}], "z": 1}, "b": {"c": {}}});
        assert_eq!(back(&super::value(&value)), value, "{len}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[-?:,\\[\\]{}#&*!|>'\"%@`~ \n\t0-9a]{0,8}",
        "(yes|No|on|null|true|[0-9]{1,3}|[0-9]\\.[0-9]|0x[0-9a]|[+-]?\\.inf|1e3)",
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |it| it.is_finite()).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((any_text(), inner), 0..5)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_written_is_read_again(value in any_value()) {
        let text = super::value(&value);
        // -0.0 is written as such, and is the same number.
        prop_assert_eq!(back(&text), value, "{}", text);
    }
}
