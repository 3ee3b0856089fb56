//! Reading the audit log: `GET /audit_log`, for administrators. What came over the admin API and over the internal API lies in two tables and
//! is shown as one log, by number; `origin` asks for one of them.

use std::collections::VecDeque;

use serde_json::json;

use super::answer::{Entity, Outcome, Page, Refusal, Reply};
use super::audit::{ENTRIES_MAX, Entry, Object, Origin, newest};
use super::auth::Access;
use super::context::Context;
use super::request::Fields;
use super::routes::{Formats, GET, Route};
use super::times;
use super::xml::Element;
use crate::plugin::records::{Records, id_key, id_of};
use crate::store::ShelfError;
use crate::store::shelf::Scan;

pub(super) const ROUTES: &[Route] =
    &[Route::new(GET, "audit_log", Access::ADMINS, list).in_formats(Formats::JsonOnly)];

/// How many entries are read at a time in a search.
const SEARCHED: usize = 500;

/// What is searched for: all of what is said.
struct Wanted {
    kind: Option<String>,
    id: Option<u64>,
    user: Option<String>,
    since: Option<u64>,
    until: Option<u64>,
    origins: Vec<Origin>,
}

impl Wanted {
    fn read(fields: &Fields) -> Result<Wanted, Refusal> {
        let time = |name: &str| {
            let parse = |text: String| {
                times::parse(&text).ok_or_else(|| Refusal::Bad(format!("{name} is no date or time")))
            };
            fields.filled(name).map(parse).transpose()
        };
        let (kind, user) = (fields.filled("object_type"), fields.filled("user"));
        let origin = fields.filled("origin");
        let is_asked_for = |it: &Origin| origin.as_ref().is_none_or(|name| name == it.name());
        let origins = Origin::ALL.into_iter().filter(is_asked_for).collect();
        let (since, until) = (time("since")?, time("until")?);
        Ok(Wanted { kind, id: fields.id("object_id"), user, since, until, origins })
    }

    fn is_everything(&self) -> bool {
        let Wanted { kind, id, user, since, until, .. } = self;
        kind.is_none() && id.is_none() && user.is_none() && since.is_none() && until.is_none()
    }

    fn has(&self, Line { origin, entry, .. }: &Line) -> bool {
        let is_user = |wanted: &String| match &entry.user {
            Some((id, name)) => name == wanted || id.to_string() == *wanted,
            None => *origin == Origin::Internal && wanted == origin.name(),
        };
        let is_object = |object: &Object| {
            self.kind.as_ref().is_none_or(|kind| *kind == object.kind)
                && self.id.is_none_or(|id| id == object.id)
        };
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && self.user.as_ref().is_none_or(is_user)
            && (self.kind.is_none() && self.id.is_none() || entry.objects.iter().any(is_object))
    }
}

/// The newest first.
fn list(context: &Context<'_>) -> Outcome {
    let wanted = Wanted::read(&context.request.parameters())?;
    let moment = context.look()?;
    let (records, tenant) = (moment.seen().records, context.caller.tenant.0);
    let (entries, page) = if wanted.is_everything() {
        everything(context, records, tenant, &wanted.origins)?
    } else {
        searched(context, records, tenant, &wanted)?
    };
    Reply::page(context.format, "audit_log", entries.iter().map(|line| Ok(entity(line))), page)
}

/// An entry of the log, with its number.
struct Line {
    number: u64,
    origin: Origin,
    entry: Entry,
}

/// A table, read from its end.
struct Source {
    origin: Origin,
    read: usize,
    ahead: VecDeque<Line>,
    is_over: bool,
}

/// Entries of some tables as one log, the newest first.
struct Backwards<'r> {
    records: &'r Records<'r>,
    tenant: u64,
    sources: Vec<Source>,
    /// How many are read at a time.
    at_once: usize,
}

impl<'r> Backwards<'r> {
    fn new(records: &'r Records<'r>, tenant: u64, origins: &[Origin], at_once: usize) -> Backwards<'r> {
        let source =
            |origin: &Origin| Source { origin: *origin, read: 0, ahead: VecDeque::new(), is_over: false };
        Backwards { records, tenant, sources: origins.iter().map(source).collect(), at_once: at_once.max(1) }
    }

    fn next(&mut self) -> Result<Option<Line>, ShelfError> {
        for source in self.sources.iter_mut().filter(|it| it.ahead.is_empty() && !it.is_over) {
            let (prefix, skip, rows_max) = (id_key(self.tenant), source.read, self.at_once);
            let scan = Scan { prefix: &prefix, skip, rows_max, backwards: true };
            let rows = self.records.scan_in::<Entry>(source.origin.table(), &scan)?;
            source.read += rows.len();
            source.is_over = rows.len() < rows_max;
            let origin = source.origin;
            source.ahead.extend(rows.into_iter().map(|(key, entry)| {
                let number = entry.number.or_else(|| id_of(&key)).unwrap_or(0);
                Line { number, origin, entry }
            }));
        }
        let number = |source: &&mut Source| source.ahead.front().map(|line| line.number);
        Ok(self.sources.iter_mut().max_by_key(number).and_then(|source| source.ahead.pop_front()))
    }
}

/// A page of all there is.
fn everything(
    context: &Context<'_>,
    records: &Records<'_>,
    tenant: u64,
    origins: &[Origin],
) -> Result<(Vec<Line>, Page), ShelfError> {
    let mut total = 0;
    let mut with_any = Vec::new();
    for origin in origins {
        let count = newest(records, *origin, tenant)?.min(ENTRIES_MAX);
        total += usize::try_from(count).unwrap_or(usize::MAX);
        with_any.extend((count > 0).then_some(*origin));
    }
    let page = context.page(total);
    let mut log = Backwards::new(records, tenant, &with_any, page.per_page);
    let mut skip = page.skip();
    // What is in one table alone is found without reading what comes before.
    if let [source] = &mut log.sources[..] {
        source.read = std::mem::take(&mut skip);
    }
    let mut found = Vec::new();
    while found.len() < page.per_page
        && let Some(line) = log.next()?
    {
        if skip > 0 {
            skip -= 1;
        } else {
            found.push(line);
        }
    }
    Ok((found, page))
}

fn searched(
    context: &Context<'_>,
    records: &Records<'_>,
    tenant: u64,
    wanted: &Wanted,
) -> Result<(Vec<Line>, Page), Refusal> {
    // Which page it is does not depend on how many there are.
    let asked = context.page(0);
    let (mut total, mut found) = (0, Vec::new());
    let mut log = Backwards::new(records, tenant, &wanted.origins, SEARCHED);
    while let Some(line) = log.next()? {
        if wanted.since.is_some_and(|since| line.entry.at < since) {
            break;
        }
        if wanted.has(&line) {
            if total >= asked.skip() && found.len() < asked.per_page {
                found.push(line);
            }
            total += 1;
        }
    }
    Ok((found, context.page(total)))
}

fn entity(Line { number, origin, entry }: &Line) -> Entity {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let named =
        |named: &Option<(u64, String)>| named.as_ref().map(|(id, name)| json!({"id": id, "name": name}));
    let object = |object: &Object| {
        let Object { kind, id, before, after } = object;
        json!({"type": kind, "id": id, "before": before, "after": after})
    };
    let json = json!({
        "id": number,
        "created_at": times::text(entry.at),
        "origin": origin.name(),
        "user": named(&entry.user),
        "access_token": named(&entry.token),
        "method": text(&entry.method),
        "path": text(&entry.path),
        "objects": entry.objects.iter().map(object).collect::<Vec<_>>(),
        "more_objects": entry.more,
    });
    Entity { wrapper: "entry", json, xml: Element::new("entry") }
}
