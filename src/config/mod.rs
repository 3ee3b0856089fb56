//! Configuration: from defaults, a TOML file, `TOLLGATE_*` variables and flags, the later winning.
//!
//! Two stages: [`Settings`] is what was written, any part of which may be absent; [`Config`] is what it means,
//! checked. All problems are reported at once, each with where it stands.

mod file;
mod listeners;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use listeners::{Listeners, Tls};
pub use settings::Settings;

/// What a node runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Listener for the Service Management API and health.
    pub http: SocketAddr,
    /// Listener for telemetry and administration; `None` serves them on `http`, which is then on loopback.
    pub admin: Option<SocketAddr>,
    /// The most connections a listener keeps; more are refused.
    pub connections_max: usize,
    /// What protects the listeners, and their other limits.
    pub listeners: Listeners,
    /// How long a stop may take before what is still open is closed.
    pub drain_deadline: Duration,
    /// Journal bytes after which a checkpoint is made: bounds what a restart has to replay.
    pub checkpoint_bytes: u64,
    /// Go on although the clock is behind the data by more than an hour.
    pub accept_clock: bool,
    /// What is logged.
    pub log: Log,
}

/// What is logged, on standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as `tollgate::http=debug`.
    pub level: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

/// All that is wrong with a configuration, a line each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

/// Default address of `http`.
pub const HTTP_DEFAULT: &str = "127.0.0.1:3000";
/// Default data directory.
pub const DATA_DIR_DEFAULT: &str = "./tollgate-data";

impl Config {
    /// Makes sense of flags, variables and the file they name.
    ///
    /// `variables` are the process's environment; only names that begin with `TOLLGATE_` are looked at, and one
    /// of those that is not known is a problem, since it is most likely a misspelt one.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        flags: Settings,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        let mut problems = Vec::new();
        let written = settings::from_variables(variables, &mut problems);
        let mut settings = flags.or(written);
        if let Some(path) = settings.config.clone() {
            match file::read(&path) {
                Ok(from_file) => settings = settings.or(from_file),
                Err(problem) => problems.push(problem),
            }
        }
        let config = settings.resolve(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }
}

impl Settings {
    fn resolve(mut self, problems: &mut Vec<String>) -> Config {
        let connections_max = self.connections_max.unwrap_or(1024);
        if !(1..=1_000_000).contains(&connections_max) {
            problems.push(format!("connections_max: {connections_max} is not between 1 and 1000000"));
        }
        let (http, admin, listeners) = listeners::resolve(&mut self, connections_max, problems);
        let drain_s = self.drain_s.unwrap_or(10);
        if !(1..=600).contains(&drain_s) {
            problems.push(format!("drain_s: {drain_s} is not between 1 and 600"));
        }
        let checkpoint_mib = self.checkpoint_mib.unwrap_or(64);
        if !(1..=65_536).contains(&checkpoint_mib) {
            problems.push(format!("checkpoint_mib: {checkpoint_mib} is not between 1 and 65536"));
        }
        let json = match self.log_format.as_deref().unwrap_or("text") {
            "text" => false,
            "json" => true,
            other => {
                problems.push(format!("log_format: \"{other}\" is neither \"text\" nor \"json\""));
                false
            }
        };
        let level = self.log.unwrap_or_else(|| "info".into());
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level) {
            problems.push(format!("log: \"{level}\": {error}"));
        }
        Config {
            data_dir: self.data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.into()),
            http,
            admin,
            connections_max,
            listeners,
            drain_deadline: Duration::from_secs(drain_s),
            checkpoint_bytes: checkpoint_mib << 20,
            accept_clock: self.accept_clock.unwrap_or(false),
            log: Log { level, json },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: Settings, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(flags, variables).map_err(|errors| errors.0)
    }

    #[test]
    fn nothing_written_gives_the_embedded_default() {
        let config = load(Settings::default(), &[("PATH", "/bin")]).unwrap();
        assert_eq!(config.http, SocketAddr::from(([127, 0, 0, 1], 3000)));
        assert_eq!((config.admin, config.data_dir), (None, PathBuf::from("./tollgate-data")));
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "http = '127.0.0.1:1'\ndrain_s = 3\ndata_dir = '/f'\n").unwrap();
        let flags = Settings { config: Some(path), http: Some("[::1]:9".into()), ..Settings::default() };
        let variables = [("TOLLGATE_HTTP", "127.0.0.1:2"), ("TOLLGATE_DATA_DIR", "/v")];
        let config = load(flags, &variables).unwrap();
        assert_eq!(config.http.to_string(), "[::1]:9");
        assert_eq!((config.data_dir, config.drain_deadline), (PathBuf::from("/v"), Duration::from_secs(3)));
    }

    #[test]
    fn all_problems_come_at_once_and_say_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "drain_s = 3\n\nhttpp = 'x'\n").unwrap();
        let flags = Settings {
            config: Some(path),
            http: Some("nowhere".into()),
            log_format: Some("xml".into()),
            ..Settings::default()
        };
        let problems = load(flags, &[("TOLLGATE_HTPP", "x"), ("TOLLGATE_DRAIN_S", "soon")]).unwrap_err();
        let text = problems.join("\n");
        for part in
            ["TOLLGATE_HTPP", "TOLLGATE_DRAIN_S", "line 3", "httpp", "\"nowhere\"", "log_format: \"xml\""]
        {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }
}
