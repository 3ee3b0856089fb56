//! A configuration: what is before the first zero is the file, what follows are variables, a line each.

use std::path::PathBuf;
use std::sync::OnceLock;

use tollgate::config::{Config, Settings};

/// Where the file is written, again and again.
fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let (_, path) = tempfile::Builder::new()
            .suffix(".toml")
            .tempfile()
            .and_then(|file| file.keep().map_err(Into::into))
            .expect("a temporary file");
        path
    })
}

/// One input.
pub fn run(bytes: &[u8]) {
    let file_end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::fs::write(path(), &bytes[..file_end]).expect("the file can be written");
    let variables = String::from_utf8_lossy(bytes.get(file_end + 1..).unwrap_or_default());
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    // The file may lead to another one by no means; a variable would.
    let variables = variables.filter(|(name, _)| *name != "CONFIG");
    let variables = variables.map(|(name, value)| (format!("TOLLGATE_{name}"), value.to_owned()));
    let flags = Settings { config: Some(path().clone()), ..Settings::default() };
    match Config::load(flags, variables) {
        Ok(config) => {
            assert!((1..=1_000_000).contains(&config.connections_max));
            assert!(config.admin.is_some() || config.http.ip().to_canonical().is_loopback());
            assert!(config.checkpoint_bytes >= 1 << 20 && config.drain_deadline.as_secs() >= 1);
            assert!(config.disk_critical_bytes <= config.disk_low_bytes);
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for problem in &errors.0 {
                assert!(!problem.is_empty() && problem.lines().count() == 1, "not a line: {problem:?}");
            }
        }
    }
}
