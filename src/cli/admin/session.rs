//! One command being carried out: what its texts stand for is found, then its calls are made.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::Exit;
use super::api::{Api, bare, escaped};
use super::names;
use super::shown::Shown;
use super::verb::{Asked, Does, How, Is, Take};

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// What is said of it.
    pub(super) lines: Vec<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, lines: vec![text.into()] }
    }
}

/// What nobody sent.
pub(super) fn nothing() -> Map<String, Value> {
    Map::new()
}

/// One command.
pub(super) struct Session<'s> {
    pub(super) api: &'s Api,
    pub(super) asked: &'s Asked,
    /// Ids, by what is in the braces of paths.
    pub(super) places: BTreeMap<&'static str, String>,
    /// What is sent.
    pub(super) fields: Map<String, Value>,
    /// The record that was found last.
    pub(super) subject: Value,
}

/// Carries a command out.
///
/// # Errors
/// Why it was not.
pub(super) fn carry_out(api: &Api, asked: &Asked) -> Result<Shown, Failure> {
    let (places, fields) = (BTreeMap::new(), nothing());
    let mut session = Session { api, asked, places, fields, subject: Value::Null };
    for take in asked.verb.takes {
        session.take(take)?;
    }
    session.run()
}

impl Session<'_> {
    /// Makes sense of what was given for one of the things that the verb takes.
    fn take(&mut self, take: &Take) -> Result<(), Failure> {
        let asked = self.asked;
        let Some(text) = asked.value(take.name) else { return Ok(()) };
        let sent = match take.is {
            Is::Text if take.how == How::Repeated => Value::from(asked.values(take.name)),
            Is::Text => Value::from(text),
            Is::File => Value::from(first_line(Path::new(text))?),
            is => {
                let (id, record) = names::find(self, is, text)?;
                self.place(is, id.clone(), &record);
                self.subject = record;
                Value::from(id)
            }
        };
        if !take.sent.is_empty() {
            self.fields.insert(take.sent.to_owned(), sent);
        }
        Ok(())
    }

    /// What is known once a record was found.
    fn place(&mut self, is: Is, id: String, record: &Value) {
        let of = |field: &str| record[field].as_u64().map(|id| id.to_string());
        let (own, others) = match is {
            Is::Tenant => ("tenant", vec![]),
            Is::Service => ("service", vec![]),
            Is::Metric => ("metric", vec![]),
            Is::Method => ("method", vec![]),
            Is::Plan => ("plan", vec![("service", names::linked(record, "service"))]),
            Is::Account => ("account", vec![]),
            Is::App => ("app", vec![("account", of("account_id")), ("service", of("service_id"))]),
            Is::Key => ("key", vec![]),
            Is::Token => ("token", vec![]),
            Is::Text | Is::File => return,
        };
        self.places.insert(own, id);
        self.places.extend(others.into_iter().filter_map(|(name, id)| Some((name, id?))));
    }

    /// A path with ids in place of its braces.
    ///
    /// # Errors
    /// One of them is not known.
    pub(super) fn path(&self, template: &str) -> Result<String, Failure> {
        let part = |part: &str| match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            None => Ok(part.to_owned()),
            Some(name) => self.places.get(name).map(|id| escaped(id)).ok_or_else(|| missing(name)),
        };
        Ok(template.split('/').map(part).collect::<Result<Vec<_>, _>>()?.join("/"))
    }

    fn run(&mut self) -> Result<Shown, Failure> {
        let verb = self.asked.verb;
        let fields = &self.fields;
        match verb.does {
            Does::List(paths) => {
                let path = paths.iter().find_map(|path| self.path(path).ok());
                let path = path.ok_or_else(|| missing("the list"))?;
                Ok(Shown::list(self.api.list(&path, fields)?, verb.columns))
            }
            Does::Call(method, path) => {
                Ok(Shown::one(bare(self.api.call(method, &self.path(path)?, fields)?)))
            }
            Does::With(method, path, (field, value)) => {
                let mut fields = fields.clone();
                fields.insert(field.to_owned(), value.into());
                Ok(Shown::one(bare(self.api.call(method, &self.path(path)?, &fields)?)))
            }
            Does::Then(method, path, then) => {
                self.api.call(method, &self.path(path)?, fields)?;
                self.read(then)
            }
            Does::Delete(path) => {
                self.api.call("DELETE", &self.path(path)?, &nothing())?;
                Ok(Shown::deleted(self.asked.noun.name, self.subject.take()))
            }
            Does::Own(run) => run(self),
        }
    }

    /// The record at a path.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn read(&self, path: &str) -> Result<Shown, Failure> {
        Ok(Shown::one(bare(self.api.call("GET", &self.path(path)?, &nothing())?)))
    }
}

fn missing(name: &str) -> Failure {
    let text = match name {
        "account" => {
            "the application belongs to no account: another system made it, and changes it".to_owned()
        }
        name => format!("the {name} is not known"),
    };
    Failure::new(Exit::Failed, text)
}

/// The first line of a file that holds a secret.
///
/// # Errors
/// It cannot be read, or is empty.
pub(super) fn first_line(file: &Path) -> Result<String, Failure> {
    let wrong = |problem: String| Failure::new(Exit::Usage, format!("{}: {problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(wrong("its first line is empty".to_owned())),
    }
}

/// That many random bytes, in hex.
///
/// # Errors
/// The system has none.
pub(super) fn random<const BYTES: usize>() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
