//! What is fuzzed: a function per parser of bytes from outside or from disk, which panics if something is wrong.
//!
//! `fuzz_targets/` hands them to libFuzzer; `tests/fuzz.rs` of the main crate, which has this as a module, to a
//! mutator that a stable compiler can build.
#![allow(unreachable_pub, missing_docs, reason = "a module there, a crate here")]

pub mod body;
pub mod catalog;
pub mod config;
pub mod counter_line;
pub mod document;
pub mod entry;
pub mod form;
pub mod frame;
pub mod internal_json;
pub mod manifest;
pub mod options;
pub mod params;
pub mod piece;
pub mod rows;
pub mod rules;
pub mod segment;
pub mod session;
pub mod slice;
pub mod tar;
pub mod timestamp;

/// A target's name, and what is done with one input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
#[allow(dead_code, reason = "libFuzzer calls each by its own name")]
pub const TARGETS: [Target; 20] = [
    ("body", body::run),
    ("catalog", catalog::run),
    ("rows", rows::run),
    ("rules", rules::run),
    ("config", config::run),
    ("counter_line", counter_line::run),
    ("document", document::run),
    ("entry", entry::run),
    ("form", form::run),
    ("frame", frame::run),
    ("internal_json", internal_json::run),
    ("manifest", manifest::run),
    ("options", options::run),
    ("params", params::run),
    ("piece", piece::run),
    ("segment", segment::run),
    ("session", session::run),
    ("slice", slice::run),
    ("tar", tar::run),
    ("timestamp", timestamp::run),
];
