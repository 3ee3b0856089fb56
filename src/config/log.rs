//! What is logged.

/// What is logged, on standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as `tollgate::http=debug`, without spaces.
    pub level: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

/// What the two keys say.
pub(super) fn read(level: Option<&str>, format: Option<&str>, problems: &mut Vec<String>) -> Log {
    let json = match format.unwrap_or("text") {
        "text" => false,
        "json" => true,
        other => {
            problems.push(format!("log_format: \"{other}\" is neither \"text\" nor \"json\""));
            false
        }
    };
    let level = level.unwrap_or("info").trim().to_owned();
    if level.contains(char::is_whitespace) {
        // The filter's parser takes places of a trimmed text for places of the whole one, and may panic.
        problems.push(format!("log: {level:?} has spaces"));
    } else if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level) {
        problems.push(format!("log: \"{level}\": {error}"));
    }
    Log { level, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_has_no_spaces() {
        let of = |level: &str| {
            let mut problems = Vec::new();
            let log = read(Some(level), None, &mut problems);
            if problems.is_empty() { Ok(log.level) } else { Err(problems) }
        };
        assert_eq!(of(" debug\n"), Ok("debug".to_owned()));
        assert_eq!(of("warn,tollgate=debug"), Ok("warn,tollgate=debug".to_owned()));
        for bad in ["warn, tollgate=debug", "a,\u{b}admi.\u{1}\u{fffd}\u{fffd}= -1", "a,\u{2003}\u{fffd}=1"] {
            assert!(of(bad).unwrap_err()[0].ends_with(" has spaces"));
        }
        assert!(of("tollgate=loud").is_err());
    }
}
