//! The configuration file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::Settings;

/// What a file says.
#[derive(Default)]
pub(super) struct FromFile {
    pub(super) settings: Settings,
    /// In which line each key stands.
    pub(super) lines: BTreeMap<String, usize>,
}

/// Reads a TOML file, key by key, so that all that is wrong is found at once. A problem names file, line and key.
pub(super) fn read(path: &Path, problems: &mut Vec<String>) -> FromFile {
    let mut found = FromFile::default();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(format!("{}: {error}", path.display()));
            return found;
        }
    };
    let line_of = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        let line = error.span().map_or(1, |span| line_of(span.start));
        problems.push(format!("{}: line {line}: {}", path.display(), error.message()));
    }
    if !errors.is_empty() {
        // What a broken line made of the others is not worth a complaint.
        return found;
    }
    let whole = table.span();
    for (key, value) in table.into_inner() {
        let (name, line) = (key.get_ref().to_string(), line_of(key.span().start));
        let mut one = DeTable::new();
        one.insert(key, value);
        match Settings::deserialize(Deserializer::from(Spanned::new(whole.clone(), one))) {
            Ok(settings) => {
                found.settings = found.settings.or(settings);
                found.lines.insert(name, line);
            }
            Err(error) => {
                problems.push(format!("{}: line {line}: {name}: {}", path.display(), error.message()));
            }
        }
    }
    found
}
