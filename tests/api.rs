//! 3scale's Service Management API, case by case, as text: see `tests/api/README.md`. Adding a case is adding text.

// Helpers of tests fail by panicking, like the tests themselves.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
mod common;
#[path = "common/setup.rs"]
mod setup;

#[test]
fn every_case_is_answered_to_the_byte() {
    let count = cases::run("tests/api", |_, _, routes| routes);
    assert!(count > 250 || cases::some_only(), "only {count} cases were found");
}
