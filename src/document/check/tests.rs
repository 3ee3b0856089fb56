//! Each thing that a document cannot be, with the line that it is told at.

use super::super::read::read;

/// What is told of a document that has this below a service.
fn of_service(lines: &str) -> Vec<String> {
    let body: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    told(&format!(
        "version: 1\nbackends:\n- system_name: inner\n  metrics: []\nservices:\n- system_name: api\n{body}"
    ))
}

fn told(text: &str) -> Vec<String> {
    read(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The one problem of such a service: its line, counted from the service's second, and a part of its text.
fn assert_one(lines: &str, line: usize, part: &str) {
    let told = of_service(lines);
    assert_eq!(told.len(), 1, "{lines}\n{told:#?}");
    assert!(told[0].starts_with(&format!("{}:", line + 6)) && told[0].contains(part), "{lines}\n{told:#?}");
}

#[test]
fn a_service_that_is_right_is_told_nothing_of() {
    let lines = "metrics:\n- system_name: hits\n  methods: [{system_name: search}]\nbackends: [{backend: inner, path: /in}]\n\
features: [{system_name: gold}, {system_name: sub, scope: service_plan}]\n\
service_plans: [{system_name: default, features: [sub]}]\ndefault_service_plan: default\n\
application_plans:\n- system_name: basic\n  features: [gold]\n  limits: [{metric: search, period: day, value: 1}, {backend: inner, metric: hits, period: day, value: 1}]\n  \
pricing_rules: [{metric: hits, cost_per_unit: 0.5, max: 9}, {metric: hits, min: 10, cost_per_unit: '1'}]\n\
mapping_rules: [{http_method: GET, pattern: '/a/{b}', metric: search}]";
    assert_eq!(of_service(lines), [""; 0]);
}

#[test]
fn names_must_be_names_and_once() {
    assert_one("metrics: [{system_name: hits}, {system_name: 'a b'}]", 1, "cannot be a system name");
    assert_one(
        "metrics:\n- system_name: hits\n- system_name: aa\n- system_name: aa",
        4,
        "another metric or method 'aa'",
    );
    assert_one(
        "metrics:\n- system_name: hits\n  methods: [{system_name: aa}]\n- system_name: aa",
        4,
        "another metric or method",
    );
    assert_one("metrics:\n- system_name: more\n  methods: [{system_name: aa}]", 3, "only hits has methods");
    assert_one("features: [{system_name: aa}, {system_name: AA}]", 1, "another feature 'AA'");
    assert_one("application_plans:\n- system_name: aa\n- system_name: aa", 3, "another plan 'aa'");
    assert_one(
        "backends:\n- {backend: inner, path: /a}\n- {backend: inner, path: /b}",
        3,
        "another use of backend 'inner'",
    );
}

#[test]
fn references_must_lead_to_something() {
    assert_one("backends: [{backend: other}]", 1, "no backend 'other'");
    assert_one(
        "metrics: []\nmapping_rules:\n- {http_method: GET, pattern: /, metric: aa}",
        3,
        "no metric 'aa'",
    );
    let limit = |it: &str| {
        format!(
            "backends: [{{backend: inner}}]\nmetrics: []\napplication_plans:\n- system_name: basic\n  limits:\n  - {{{it}, period: day, value: 1}}"
        )
    };
    assert_one(&limit("metric: aa"), 6, "no metric 'aa' of this service");
    assert_one(&limit("backend: inner, metric: aa"), 6, "no metric 'aa' of the backend 'inner'");
    assert_one(&limit("backend: else, metric: hits"), 6, "does not use the backend 'else'");
    assert_one("default_application_plan: aa\napplication_plans: []", 1, "no plan 'aa'");
    assert_one("default_service_plan: aa\nservice_plans: []", 1, "no plan 'aa'");
    assert_one("application_plans:\n- system_name: basic\n  custom_of: aa", 3, "no plan 'aa'");
    assert_one(
        "features: []\napplication_plans:\n- {system_name: basic, features: [aa]}",
        3,
        "no feature 'aa'",
    );
    assert_one(
        "features: [{system_name: aa}]\nservice_plans:\n- {system_name: basic, features: [aa]}",
        3,
        "plans of another kind",
    );
    assert_eq!(
        of_service("mapping_rules: [{http_method: GET, pattern: /, metric: aa}]"),
        [""; 0],
        "it may be the tenant's"
    );
    assert!(
        told("version: 1\ndefault_service: aa\nservices: []\n")[0]
            .starts_with("2:18: default_service: there is no service")
    );
}

#[test]
fn words_must_be_among_those_that_there_are() {
    assert_one("backend_version: '3'", 1, "'3' is none of 1, 2, oauth, oidc");
    assert_one("mapping_rules:\n- {http_method: get, pattern: /, metric: hits}", 2, "'get' is none of GET");
    assert_one("proxy:\n  credentials_location: body", 2, "none of headers");
    assert_one("proxy: {error_status_no_match: 600}", 1, "from 200 to 599");
    assert_one(
        "application_plans:\n- system_name: aa\n  limits:\n  - {metric: hits, period: second, value: 1}",
        4,
        "'second' is none of",
    );
}

#[test]
fn patterns_must_match_something() {
    let rule =
        |pattern: &str| format!("mapping_rules:\n- {{http_method: GET, metric: hits, pattern: {pattern}}}");
    assert_one(&rule("a"), 2, "'a' is no pattern: the pattern is invalid");
    assert_one(&rule("'/{a}/{a}'"), 2, "same variable name twice");
    assert_one(&rule(&format!("/{}", "a".repeat(255))), 2, "at most 255 bytes");
    assert_eq!(of_service(&rule(&format!("/{}", "a".repeat(254)))), [""; 0]);
    assert_one(
        "mapping_rules:\n- {http_method: GET, metric: hits, pattern: /, delta: 0}",
        2,
        "must be from 1",
    );
}

#[test]
fn ranges_of_prices_must_not_overlap() {
    let rules = |it: &str| format!("application_plans:\n- system_name: aa\n  pricing_rules:\n{it}");
    let rule = |range: &str| format!("  - {{metric: hits, cost_per_unit: 1, {range}}}\n");
    assert_one(
        &rules(&format!("{}{}", rule("max: 10"), rule("min: 10"))),
        5,
        "overlaps that of the pricing rule 0",
    );
    assert_eq!(of_service(&rules(&format!("{}{}", rule("max: 10"), rule("min: 11")))), [""; 0]);
    assert_one(&rules(&format!("{}{}{}", rule("min: 1"), rule("min: 2, max: 2"), "")), 5, "overlaps");
    assert_one(&rules(&rule("min: 5, max: 4")), 4, "less than the min");
    assert_one(&rules(&rule("min: 0")), 4, "counted from 1");
    let cost = |it: &str| rules(&format!("  - {{metric: hits, cost_per_unit: {it}}}\n"));
    assert_one(&cost("-1"), 4, "must not be negative");
    assert_one(&cost("much"), 4, "is not a number");
    assert_one(&cost("0.00001"), 4, "more than four digits");
    assert_eq!(of_service(&cost("0.0001")), [""; 0]);
}

#[test]
fn accounts_and_what_is_theirs_are_checked() {
    let text = |it: &str| {
        format!(
            "version: 1\naccount_plans: []\nservices: [{{system_name: api, application_plans: [], service_plans: []}}]\naccounts:\n{it}"
        )
    };
    let one = |it: &str, place: &str, part: &str| {
        let told = told(&text(it));
        assert!(told.len() == 1 && told[0].starts_with(place) && told[0].contains(part), "{it}\n{told:#?}");
    };
    one("- org_name: A\n- org_name: A\n", "6:", "another account 'A'");
    one("- org_name: ' A'\n", "5:13", "blank");
    one("- {org_name: A, ordinal: 1}\n", "5:", "from 2");
    one("- {org_name: B}\n- {org_name: A, ordinal: 2}\n", "6:", "not 1 others of this name before it");
    one("- {org_name: A}\n- {org_name: A, ordinal: 3}\n", "6:", "not 2 others of this name");
    one("- {org_name: A, plan: aa}\n", "5:", "no account plan 'aa'");
    one("- {org_name: A, state: live}\n", "5:", "'live' is none of created");
    one("- {org_name: A, subscriptions: [{service: aa}]}\n", "5:", "no service 'aa'");
    one("- {org_name: A, subscriptions: [{service: api, plan: aa}]}\n", "5:", "no service plan 'aa'");
    one("- {org_name: A, users: [{username: bob}, {username: Bob}]}\n", "5:", "another user 'Bob'");
    one(
        "- {org_name: A, applications: [{service: api, application_id: abcd, plan: aa}]}\n",
        "5:",
        "no application plan 'aa'",
    );
    one("- {org_name: A, applications: [{service: aa, application_id: abcd}]}\n", "5:", "no service 'aa'");
    one("- {org_name: A, applications: [{service: api, application_id: abc}]}\n", "5:", "4 to 255");
    let twice = "- {org_name: A, applications: [{service: api, application_id: abcd}]}\n- {org_name: B, applications: [{service: api, application_id: abcd}]}\n";
    one(twice, "6:", "another application 'abcd'");
    assert_eq!(
        told(&text(
            "- {org_name: A, ordinal: 2}\n- {org_name: A, applications: [{service: api, application_id: abcd}]}\n- {org_name: A, ordinal: 3}\n"
        )),
        [""; 0]
    );
}
