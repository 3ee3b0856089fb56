//! Reading the audit log: `GET /audit_log`, for administrators.

use serde_json::json;

use super::answer::{Entity, Outcome, Page, Refusal, Reply};
use super::audit::{ENTRIES_MAX, Entry, Object, newest};
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
        Ok(Wanted { kind, id: fields.id("object_id"), user, since: time("since")?, until: time("until")? })
    }

    fn is_everything(&self) -> bool {
        let Wanted { kind, id, user, since, until } = self;
        kind.is_none() && id.is_none() && user.is_none() && since.is_none() && until.is_none()
    }

    fn has(&self, entry: &Entry) -> bool {
        let is_user = |wanted: &String| {
            entry.user.as_ref().is_some_and(|(id, name)| name == wanted || id.to_string() == *wanted)
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
        let total = newest(records, tenant)?.min(ENTRIES_MAX);
        let page = context.page(usize::try_from(total).unwrap_or(usize::MAX));
        (read(records, tenant, page.skip(), page.per_page)?, page)
    } else {
        searched(context, records, tenant, &wanted)?
    };
    let shown = entries.iter().map(|(number, entry)| entity(*number, entry)).collect();
    Ok(Reply::list("audit_log", shown, Some(page)))
}

fn read(
    records: &Records<'_>,
    tenant: u64,
    skip: usize,
    rows_max: usize,
) -> Result<Vec<(u64, Entry)>, ShelfError> {
    let rows = records.scan(&Scan { prefix: &id_key(tenant), skip, rows_max, backwards: true })?;
    Ok(rows.into_iter().map(|(key, entry)| (id_of(&key).unwrap_or(0), entry)).collect())
}

fn searched(
    context: &Context<'_>,
    records: &Records<'_>,
    tenant: u64,
    wanted: &Wanted,
) -> Result<(Vec<(u64, Entry)>, Page), Refusal> {
    // Which page it is does not depend on how many there are.
    let asked = context.page(0);
    let (mut total, mut read_so_far, mut found) = (0, 0, Vec::new());
    loop {
        let entries = read(records, tenant, read_so_far, SEARCHED)?;
        read_so_far += entries.len();
        let is_last = entries.len() < SEARCHED;
        let is_before =
            entries.last().is_some_and(|(_, last)| wanted.since.is_some_and(|since| last.at < since));
        for (number, entry) in entries.into_iter().filter(|(_, entry)| wanted.has(entry)) {
            if total >= asked.skip() && found.len() < asked.per_page {
                found.push((number, entry));
            }
            total += 1;
        }
        if is_last || is_before {
            return Ok((found, context.page(total)));
        }
    }
}

fn entity(number: u64, entry: &Entry) -> Entity {
    let named =
        |named: &Option<(u64, String)>| named.as_ref().map(|(id, name)| json!({"id": id, "name": name}));
    let object = |object: &Object| {
        let Object { kind, id, before, after } = object;
        json!({"type": kind, "id": id, "before": before, "after": after})
    };
    let json = json!({
        "id": number,
        "created_at": times::text(entry.at),
        "user": named(&entry.user),
        "access_token": named(&entry.token),
        "method": entry.method,
        "path": entry.path,
        "objects": entry.objects.iter().map(object).collect::<Vec<_>>(),
        "more_objects": entry.more,
    });
    Entity { wrapper: "entry", json, xml: Element::new("entry") }
}
