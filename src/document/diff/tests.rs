//! What is told of two documents, and what is not.

use super::super::read::read;
use super::*;

fn resolved(text: &str, secrets: &[(&str, &str)]) -> Resolved {
    let mut all = Secrets::default();
    secrets.iter().for_each(|(name, value)| all.put(*name, *value));
    let mut document = read(text).unwrap_or_else(|it| panic!("{it:?}"));
    document.make_canonical();
    Resolved::of(&document, &all)
}

fn changes(current: &str, wanted: &str, prunes: bool) -> String {
    show(&compare(&resolved(current, &[]), &resolved(wanted, &[]), prunes))
}

const CURRENT: &str = "version: 1
default_service: api
services:
- system_name: api
  name: API
  metrics: [{system_name: hits, unit: hit, methods: [{system_name: search}]}]
  application_plans: [{system_name: basic, cost_per_month: 5, limits: [{metric: hits, period: day, value: 10}]}]
  mapping_rules: [{http_method: GET, pattern: /, metric: hits}, {http_method: GET, pattern: /a, metric: hits}]
  proxy: {auth_user_key: user_key}
- system_name: old
";

#[test]
fn a_catalog_does_not_differ_from_itself() {
    for prunes in [false, true] {
        assert_eq!(changes(CURRENT, CURRENT, prunes), "");
    }
}

#[test]
fn what_is_left_out_stays_and_goes_only_if_it_is_pruned() {
    let wanted = "version: 1\nservices:\n- {system_name: api, metrics: [{system_name: hits}]}\n";
    assert_eq!(changes(CURRENT, wanted, false), "");
    assert_eq!(changes(CURRENT, wanted, true), "- service old\n", "methods and plans are not spoken of");
    let wanted = "version: 1\nservices:\n- {system_name: api, metrics: [{system_name: hits, methods: []}]}\n- system_name: old\n";
    assert_eq!(changes(CURRENT, wanted, true), "- service api / metric hits / method search\n");
    assert_eq!(changes(CURRENT, "version: 1\n", true), "");
}

#[test]
fn each_record_is_shown_with_its_values_before_and_after() {
    let wanted = "version: 1
default_service: new
services:
- system_name: api
  name: The API
  metrics: [{system_name: hits, unit: call}]
  application_plans: [{system_name: basic, cost_per_month: '5.0', limits: [{metric: hits, period: day, value: 20}]}]
  mapping_rules: [{http_method: GET, pattern: /a, metric: hits}, {http_method: GET, pattern: /, metric: hits, delta: 1}]
  proxy: {auth_user_key: key}
- system_name: new
  metrics: [{system_name: more}]
";
    let expected = "\
~ tenant
    default_service: api -> new
~ service api
    mapping_rules:
      (the same in another order)
    name: API -> The API
~ service api / metric hits
    unit: hit -> call
~ service api / application plan basic
    limits:
      - {metric: hits, period: day, value: 10}
      + {metric: hits, period: day, value: 20}
~ service api / proxy
    auth_user_key: user_key -> key
+ service new
    system_name: new
+ service new / metric more
    system_name: more
";
    let text = changes(CURRENT, wanted, false);
    assert_eq!(text, expected);
    assert_eq!(counts(&compare(&resolved(CURRENT, &[]), &resolved(wanted, &[]), true)), [2, 5, 1]);
}

#[test]
fn secrets_are_compared_by_value_and_never_shown() {
    let text =
        |name: &str| format!("version: 1\nservices:\n- {{system_name: api, tokens: [{{secret: {name}}}]}}\n");
    let compare = |current: &[(&str, &str)], wanted: &[(&str, &str)]| {
        let changes = compare(&resolved(&text("aa"), current), &resolved(&text("bb"), wanted), true);
        (show(&redacted(&changes)), changes)
    };
    assert_eq!(
        compare(&[("aa", "hunter2")], &[("bb", "hunter2")]).0,
        "",
        "it is the same under another name"
    );
    assert_eq!(compare(&[("aa", "hunter2")], &[]).0, "", "without a value it stays");
    let (shown, changes) = compare(&[("aa", "hunter2")], &[("bb", "hunter3")]);
    assert_eq!(shown, "~ service api\n    tokens:\n      (the same as far as is shown)\n");
    let after = changes[0].fields["tokens"].after.as_ref().unwrap();
    assert_eq!(after.as_array().map(|it| secret_value(&it[0])), Some(Some("hunter3")));
    assert!(!serde_json::to_string(&redacted(&changes)).unwrap().contains("hunter"));
}

#[test]
fn accounts_of_one_name_are_told_apart_from_one_that_is_called_so() {
    let text = "version: 1\naccounts: [{org_name: A}, {org_name: A, ordinal: 2, state: pending}, {org_name: A/2, state: approved}]\n";
    assert_eq!(changes(text, text, true), "");
    let other = "version: 1\naccounts: [{org_name: A}, {org_name: A, ordinal: 2, state: approved}, {org_name: A/2, state: approved}]\n";
    assert_eq!(changes(text, other, true), "~ account A/2\n    state: pending -> approved\n");
}
