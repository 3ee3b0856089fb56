//! The configuration file.

use std::path::Path;

use super::Settings;

/// Reads a TOML file. The problem, if any, names file, line and key.
pub(super) fn read(path: &Path) -> Result<Settings, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("{}: line {line}: {}", path.display(), error.message())
    })
}
