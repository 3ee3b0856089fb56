//! Everything that is wrong, at once.

use super::*;

/// The problems of a text, one a line.
fn told(text: &str) -> String {
    let problems = read(text).err().unwrap_or_default();
    problems.iter().map(|it| format!("{it}\n")).collect()
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let text = r#"version: 1
servces: []
services:
- system_name: api
  nmae: API
  name: 12
  suspended: "yes"
  tokens:
  - abcdef
  metrics:
  - system_name: hits
    unit: [hit]
  - friendly_name: No name
  backends: here
  policies:
  - name: cors
    version: builtin
    configuration: 5
"#;
    let expected = "\
2:1: servces: a document has no key 'servces'; did you mean 'services'?
5:3: services[0].nmae: a service has no key 'nmae'; did you mean 'name'?
6:9: services[0].name: must be a text, and is a number: put it in quotes
7:14: services[0].suspended: must be true or false, and is a text
9:5: services[0].tokens[0]: must be a reference, as secret: NAME, with the value among the secrets
12:11: services[0].metrics[0].unit: must be a text, and is a list
13:5: services[0].metrics[1]: a metric must have the key 'system_name'
14:13: services[0].backends: must be a list, and is a text
18:20: services[0].policies[0].configuration: must be a record, and is a number
";
    assert_eq!(told(text), expected);
}

#[test]
fn a_document_of_another_version_is_refused() {
    assert!(read("version: 1\n").is_ok());
    for text in ["version: 2\n", "version: '1'\n", "{}\n", "services: []\n"] {
        assert!(told(text).contains("version"), "{text}: {}", told(text));
    }
}

#[test]
fn a_text_that_is_no_yaml_is_told_with_its_place() {
    assert!(told("version: 1\nservices: [\n").starts_with("3:"), "{}", told("version: 1\nservices: [\n"));
    assert!(told("- 1\n").contains("must be a record, and is a list"));
}

#[test]
fn of_very_many_problems_the_first_are_told() {
    let list =
        |count: usize| format!("version: 1\nservices:\n{}", "- system_name: api\n  x: 1\n".repeat(count));
    let count = |n: usize| read(&list(n)).err().unwrap().len();
    // Of each service its key, and of all but the first its name.
    assert_eq!((count(50), count(51)), (99, PROBLEMS_MAX));
    assert_eq!(count(500), PROBLEMS_MAX);
}

#[test]
fn no_secret_is_shown_in_a_problem() {
    let text = "version: 1\nservices:\n- system_name: api\n  tokens: [{secret: [hunter2]}, hunter2, {value: hunter2}]\n";
    assert!(told(text).lines().count() == 3 && !told(text).contains("hunter2"), "{}", told(text));
}

#[test]
fn lists_are_read_up_to_their_bounds_and_not_beyond() {
    let values = |count: usize| {
        let items = "  - secret: t\n".repeat(count);
        read(&format!("version: 1\nservices:\n- system_name: shop\n  tokens:\n{items}"))
    };
    assert!(values(LISTED_MAX).is_ok());
    let problems = values(LISTED_MAX + 1).unwrap_err();
    assert!(problems.iter().any(|it| it.to_string().contains("at most 2000")), "{problems:?}");
    let records = |count: usize| {
        let items: String = (0..count).map(|at| format!("- system_name: f{at}\n")).collect();
        read(&format!("version: 1\nfeatures:\n{items}"))
    };
    assert!(records(RECORDS_MAX).is_ok());
    let problems = records(RECORDS_MAX + 1).unwrap_err();
    assert!(problems.iter().any(|it| it.to_string().contains("at most 100000")), "{problems:?}");
}
