//! The plan of the house, as far as it can be held mechanically: who may import whom, what stays where.
//!
//! Reads the sources as text, comments left out. A failure names file and line.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room of `src` and the rooms it may import.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("model", &[]),
    ("counter", &["model"]),
    ("journal", &["model"]),
    ("store", &["model", "journal", "counter"]),
    ("engine", &["model", "counter", "journal"]),
    ("document", &["model", "rules"]),
    ("migrate", &["document", "outgoing"]),
    ("plugin", &["model", "journal", "store", "engine", "document", "outgoing", "rules"]),
    ("rules", &[]),
    ("gateway", &["rules", "outgoing", "listener"]),
    ("wire", &["model"]),
    ("listener", &["model"]),
    ("http", &["engine", "model", "plugin", "listener"]),
    ("tcp", &["engine", "model", "wire", "listener"]),
    ("outgoing", &[]),
    ("config", &["outgoing"]),
    (
        "node",
        &[
            "model", "counter", "journal", "store", "engine", "plugin", "listener", "http", "tcp", "config",
            "outgoing",
        ],
    ),
    ("cli", &["config", "node", "gateway", "listener", "wire", "model", "document", "outgoing", "migrate"]),
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The room of `src` it lies in.
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split(['/', '.']).next().unwrap()
    }

    /// Lines of code with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Lines of code before the file's unit tests.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test_file = self.path.contains("tests") || self.path.contains("_memory");
        self.code().take_while(move |(_, line)| !is_test_file && line.trim() != "#[cfg(test)]")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn problems(check: impl Fn(&Source) -> Vec<String>) {
    let all: Vec<_> = sources().iter().flat_map(check).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Reports each line of `source` that has one of `words`.
fn uses(source: &Source, words: &[&str], why: &str) -> Vec<String> {
    let has = |line: &str| words.iter().find(|word| line.contains(**word)).copied();
    let report =
        |(at, line): (usize, &str)| has(line).map(|word| format!("{}:{at}: `{word}`: {why}", source.path));
    source.shipped().filter_map(report).collect()
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    problems(|source| {
        let Some((room, allowed)) = MAY_IMPORT.iter().find(|(room, _)| *room == source.room()) else {
            return Vec::new();
        };
        let mut wrong = Vec::new();
        for (at, line) in source.shipped() {
            for part in line.split("crate::").skip(1) {
                let target = part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if target != *room && !allowed.contains(&target) {
                    wrong.push(format!("{}:{at}: {room} must not import {target}", source.path));
                }
            }
        }
        wrong
    });
}

#[test]
fn every_room_is_in_the_plan() {
    problems(|source| {
        let known = ["main", "lib"].contains(&source.room())
            || MAY_IMPORT.iter().any(|(room, _)| *room == source.room());
        if known { Vec::new() } else { vec![format!("{}: this room is not in the plan", source.path)] }
    });
}

#[test]
fn store_takes_only_images_from_the_counters() {
    problems(|source| {
        let lines =
            source.shipped().filter(|(_, line)| source.room() == "store" && line.contains("counter::"));
        let wrong = lines.filter(|(_, line)| !line.contains("counter::snapshot"));
        wrong.map(|(at, _)| format!("{}:{at}: store may see counter::snapshot only", source.path)).collect()
    });
}

#[test]
fn the_model_is_pure() {
    let words = [
        "std::fs",
        "std::io",
        "std::net",
        "std::thread",
        "Mutex",
        "RwLock",
        "Atomic",
        "Instant",
        "SystemTime",
        "Timestamp::now",
        "serde",
        "tokio",
        "tracing",
        "metrics::",
        "rkyv",
        "prost",
    ];
    problems(|source| {
        if source.room() == "model" {
            uses(source, &words, "the model has no I/O, lock, clock or serde")
        } else {
            Vec::new()
        }
    });
}

#[test]
fn only_the_store_names_its_databases() {
    problems(|source| {
        if source.room() == "store" {
            Vec::new()
        } else {
            uses(source, &["sled::", "redb::"], "only store/ names it")
        }
    });
}

#[test]
fn only_the_node_starts_a_runtime() {
    let words = ["new_multi_thread", "new_current_thread", "Runtime::new"];
    problems(|source| {
        // The test gateway is a process without a node.
        let may = source.room() == "node" || source.path == "src/gateway/server.rs";
        if may { Vec::new() } else { uses(source, &words, "only node/ starts a runtime") }
    });
}

#[test]
fn clocks_are_read_at_the_edge_only() {
    problems(|source| {
        if ["listener", "node", "cli"].contains(&source.room()) {
            return Vec::new();
        }
        uses(source, &["SystemTime::now", "Timestamp::now", "Zoned::now"], "time is an argument here")
    });
}

#[test]
fn nothing_prints_behind_the_callers_back() {
    problems(|source| uses(source, &["println!", "eprintln!", "dbg!"], "write to a stream, or trace"));
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    problems(|source| {
        let mut wrong = Vec::new();
        if !source.text.starts_with("//!") {
            wrong.push(format!("{}: no `//!` line says what it is for", source.path));
        }
        let lines = source.text.lines().count();
        if lines > 520 {
            wrong
                .push(format!("{}: {lines} lines; 520 is the most that is read in one sitting", source.path));
        }
        wrong
    });
}

#[test]
fn nothing_is_left_for_later_in_the_sources() {
    // Written apart, so that this file does not find itself should it ever be searched.
    let words = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|parts| parts.concat());
    problems(|source| {
        let lines = source.text.lines().enumerate();
        let found = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word.as_str())));
        found.map(|(at, _)| format!("{}:{}: a note to oneself", source.path, at + 1)).collect()
    });
}

#[test]
fn the_table_of_hazards_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("src/journal/HAZARDS.md")).unwrap();
    let mut all = sources();
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            all.push(Source { path: path.display().to_string(), text });
        }
    }
    let exists = |name: &str| {
        let function = format!("fn {name}(");
        name.starts_with("tests/") && root.join(name).is_file()
            || all.iter().any(|source| source.text.contains(&function))
    };
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 15, "the table was not found");
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        let missing: Vec<_> = names.into_iter().filter(|name| !exists(name)).collect();
        assert!(missing.is_empty(), "no such test: {missing:?}");
    }
}
