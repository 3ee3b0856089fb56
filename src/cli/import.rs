//! `tollgate import`: what a document would change in a tenant, and changing it.

mod threescale;
mod usage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use self::threescale::{Migrated, Threescale};
use super::remote::{Node, Remote, RemoteError};
use super::{Exit, say, show, show_json};
use crate::document::diff::{self, Action, Change};
use crate::document::{Problem, openapi, render};

pub(super) const AFTER_HELP: &str = "\
Shows what would be made (+), changed (~, with values before and after) and taken away (-), and counts it. With --apply it is done, all at once or not at \
all, and only if nothing else was changed since it was shown.

A key that the document leaves out leaves what there is as it is; of a new record it is the admin API's default, and an empty text says: none. Records with names (services, \
metrics, plans, accounts, applications ...) that the document does not have stay, unless --prune takes them away from the lists that it has. Lists of values \
(mapping rules, policies, limits, pricing rules, keys, filters, a plan's features) are replaced as a whole.

What gateways see of it is a new version of each service's configuration for the sandbox; production gets it when it is promoted, which no import does.

From a 3scale (--from-3scale URL --work DIR) come services, backends, plans, limits, prices, accounts and applications with their keys, page by page, each fetched once; what \
cannot come is said, all of it in notes.txt of DIR. A tenant that is too large for one command comes in several, one after the other, products first: each is all or nothing, and \
whoever is stopped between two begins again. Passwords of users stay behind, and so do the counts of limits' current windows: `tollgate counters import` sets those.

With --apply usage history comes, too, when the applications are there: of each application and metric the hours of the last 90 days and the days of up to ten years before. Both tokens need the \
scope stats, and this node's must be an administrator's. 3scale tells of one application and metric at a time, so that this takes a call for each, and a few more for each that was used: --without-usage leaves it behind. It sets what \
those hours were, so bring it before gateways call this node.

A `secret: NAME` has its value in the file of --secrets. One without a value keeps what there is; where there is nothing a new one is made, and said: export \
with --secrets shows it.

Exit codes: 0 shown, or applied, 1 the node cannot be reached or refuses the caller, 2 unknown flag, 10 with --exit-code: something would change, 11 the document is wrong, or \
the node refuses something in it: nothing changed, 12 something else was changed meanwhile: nothing changed, look again.";

#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    node: Node,
    /// The document; - is standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["openapi", "from_3scale"])]
    file: Option<PathBuf>,
    /// Instead of a document: an OpenAPI 3 description, in JSON or YAML, whose operations become methods and mapping rules of --service
    #[arg(long, value_name = "FILE", requires = "service", conflicts_with_all = ["file", "prune", "secrets"])]
    openapi: Option<PathBuf>,
    /// The system name of the service of --openapi; it is made if there is none
    #[arg(long, value_name = "NAME", requires = "openapi")]
    service: Option<String>,
    #[command(flatten)]
    threescale: Threescale,
    /// The values of the document's secrets
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Take away what the document's lists do not have
    #[arg(long)]
    prune: bool,
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Without --apply: end with 10 if something would change
    #[arg(long, conflicts_with = "apply")]
    exit_code: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What the node says of an import.
#[derive(Deserialize, Debug)]
struct Report {
    fingerprint: String,
    added: usize,
    changed: usize,
    removed: usize,
    changes: Vec<Change>,
    new_secrets: Vec<String>,
    left_out: Vec<String>,
}

/// Why it ends otherwise than well: the code, and what is said.
struct Failure(Exit, String);

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let RemoteError::Refused(status, answer) = &error else {
            return Failure(Exit::Failed, error.to_string());
        };
        match (status, answer["problems"].as_array()) {
            (409, _) => Failure(Exit::Stale, error.to_string()),
            (_, Some(problems)) => {
                Failure(Exit::Document, problems.iter().map(told).collect::<Vec<_>>().join("\n"))
            }
            (413 | 422, None) => Failure(Exit::Document, error.to_string()),
            _ => Failure(Exit::Failed, error.to_string()),
        }
    }
}

/// A problem that the node tells of: with its line, if it is one of the document's text.
fn told(problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let place = match (problem["line"].as_u64(), problem["column"].as_u64()) {
        (Some(line), Some(column)) => format!("{line}:{column}: "),
        _ => String::new(),
    };
    match text("path") {
        "" => format!("{place}{}", text("problem")),
        path => format!("{place}{path}: {}", text("problem")),
    }
}

pub(super) fn run(import: &Import) -> Exit {
    match try_import(import) {
        Ok(exit) => exit,
        Err(Failure(exit, problem)) => {
            problem.lines().for_each(say);
            exit
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| Failure(Exit::Failed, format!("{}: {error}", file.display())))
}

/// What is sent at once: the document, and the text of its secrets.
type Sent = (String, String);

/// All that is sent, in its order; and what is to be done after it, of a migration.
fn sent(import: &Import) -> Result<(Vec<Sent>, Option<Migrated>), Failure> {
    let from = &import.threescale;
    if let (Some(url), Some(work)) = (&from.from_3scale, &from.work) {
        let (parts, migrated) = threescale::fetched(from, url, work)?;
        return Ok((parts, Some(migrated)));
    }
    let secrets = import.secrets.as_deref().map(read).transpose()?.unwrap_or_default();
    let document = match (&import.openapi, &import.service, &import.file) {
        (Some(file), Some(service), _) => {
            let fragment =
                openapi::fragment(&read(file)?, service).map_err(|problems| wrong(file, &problems))?;
            render::render(&fragment)
        }
        (_, _, Some(file)) => {
            let text = read(file)?;
            // The node would say the same; like this it is said without one.
            crate::document::read::read(&text).map_err(|problems| wrong(file, &problems))?;
            text
        }
        _ => return Err(Failure(Exit::Usage, "name a document".to_owned())),
    };
    Ok((vec![(document, secrets)], None))
}

fn wrong(file: &Path, problems: &[Problem]) -> Failure {
    let lines: Vec<_> = problems.iter().map(|it| format!("{}:{it}", file.display())).collect();
    Failure(Exit::Document, lines.join("\n"))
}

fn try_import(import: &Import) -> Result<Exit, Failure> {
    let (parts, migrated) = sent(import)?;
    let remote = import.node.remote()?;
    let count = parts.len();
    let mut differs = false;
    for (at, part) in parts.iter().enumerate() {
        if count > 1 {
            say(&format!("Part {} of {count}: {}", at + 1, if at == 0 { "products" } else { "accounts" }));
        }
        let changes = import_one(import, &remote, part)?;
        differs |= changes;
        if changes && !import.apply && at + 1 < count {
            say("The other parts name what this one would make: they can be looked at when it is there");
            break;
        }
    }
    if let Some(mut migrated) = migrated.filter(|_| !import.threescale.without_usage) {
        if import.apply {
            usage::bring(&mut migrated, &remote, import.json)?;
        } else {
            say("Usage history comes with --apply, when the applications are there");
        }
    }
    Ok(if import.exit_code && differs { Exit::Differs } else { Exit::Done })
}

/// Shows what a document changes, and does it if that is asked for; whether it changes anything.
fn import_one(
    import: &Import,
    remote: &Remote,
    (document, secrets): &(String, String),
) -> Result<bool, Failure> {
    let ask = json!({"document": document, "secrets": secrets, "prune": import.prune});
    let (mut answer, mut report) = asked(remote, &ask)?;
    if import.apply && !report.changes.is_empty() {
        if !import.json {
            show(&shown(&report));
        }
        let mut ask = ask;
        ask["apply"] = Value::Bool(true);
        ask["fingerprint"] = Value::from(report.fingerprint.as_str());
        (answer, report) = asked(remote, &ask)?;
        if !import.json {
            let to_promote = to_promote(&report.changes).unwrap_or_default();
            show(&format!(
                "{to_promote}Done: {} made, {} changed, {} taken away.\n",
                report.added, report.changed, report.removed
            ));
        }
    } else if !import.json {
        show(&shown(&report));
        let is_empty = report.changes.is_empty();
        let end = if is_empty { "Nothing to change" } else { "Nothing was changed yet: --apply does it" };
        show(&format!("{end}. {}.\n", counted(&report)));
    }
    if import.json {
        show_json(&answer["import"]);
    }
    Ok(!report.changes.is_empty())
}

/// A line that gateways in production have nothing of what was changed yet; if anything was that gateways see.
fn to_promote(changes: &[Change]) -> Option<String> {
    let is_seen = |change: &&Change| {
        let (Some(first), Some(last)) = (change.at.first(), change.at.last()) else { return false };
        let has = |field: &str| change.fields.contains_key(field);
        match (first.kind.as_str(), last.kind.as_str(), change.action) {
            ("backend" | "service", "metric" | "method" | "use of backend" | "proxy", _) => true,
            ("backend" | "service", "backend" | "service", Action::Add) => true,
            ("backend", "backend", Action::Change) => true,
            ("service", "service", Action::Change) => has("mapping_rules") || has("policies"),
            _ => false,
        }
    };
    let owners = changes.iter().filter(is_seen).filter_map(|change| change.at.first());
    let owners: BTreeSet<_> = owners.map(|at| format!("{} {}", at.kind, at.name)).collect();
    let more = owners.len().saturating_sub(OWNERS_SAID_MAX);
    let mut words = owners.iter().take(OWNERS_SAID_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        words.push_str(&format!(" and {more} more"));
    }
    (!owners.is_empty()).then(|| {
        format!(
            "! gateways in production get nothing of this before it is promoted: {words}. The sandbox has it; promote each service: \
             POST /admin/api/services/ID/proxy/configs/sandbox/VERSION/promote.json with to=production\n"
        )
    })
}

/// So many services and backends are named at once.
const OWNERS_SAID_MAX: usize = 10;

fn asked(remote: &Remote, ask: &Value) -> Result<(Value, Report), Failure> {
    let answer = remote.call("POST", "catalog/import", ask)?;
    let report = Report::deserialize(&answer["import"]).map_err(|error| {
        Failure(Exit::Failed, format!("the node answers what is not understood: {error}"))
    })?;
    Ok((answer, report))
}

fn counted(report: &Report) -> String {
    format!("{} to make, {} to change, {} to take away", report.added, report.changed, report.removed)
}

fn shown(report: &Report) -> String {
    let mut text = diff::show(&report.changes);
    for (what, lines) in
        [("new secret", &report.new_secrets), ("not spoken of, and left alone", &report.left_out)]
    {
        lines.iter().for_each(|line| text.push_str(&format!("! {what}: {line}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str, at: &[(&str, &str)], field: &str) -> Change {
        let at: Vec<_> = at.iter().map(|(kind, name)| json!({"kind": kind, "name": name})).collect();
        let change = json!({"action": action, "at": at, "fields": {field: {"after": 1}}});
        serde_json::from_value(change).unwrap()
    }

    #[test]
    fn what_gateways_see_is_to_be_promoted_and_what_they_do_not_is_not() {
        let service = ("service", "weather");
        for (change, is) in [
            (change("add", &[service], "name"), true),
            (change("change", &[service], "name"), false),
            (change("change", &[service], "mapping_rules"), true),
            (change("change", &[service, ("proxy", "")], "endpoint"), true),
            (change("add", &[service, ("use of backend", "b")], "path"), true),
            (change("add", &[service, ("application plan", "gold")], "name"), false),
            (change("change", &[("backend", "b")], "private_endpoint"), true),
            (change("remove", &[service], "name"), false),
            (change("add", &[("account", "a"), ("application", "b")], "name"), false),
        ] {
            assert_eq!(to_promote(&[change]).is_some(), is);
        }
    }

    #[test]
    fn of_many_services_the_first_are_named() {
        let changes = |count: usize| -> Vec<_> {
            (0..count).map(|at| change("add", &[("service", &format!("s{at:02}"))], "name")).collect()
        };
        assert!(!to_promote(&changes(OWNERS_SAID_MAX)).unwrap().contains("more"));
        let words = to_promote(&changes(OWNERS_SAID_MAX + 1)).unwrap();
        assert!(words.contains("service s09 and 1 more.") && !words.contains("s10"), "{words}");
    }
}
