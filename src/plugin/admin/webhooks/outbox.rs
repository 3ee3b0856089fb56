//! The outbox: events that wait to be told, and those that could not be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::answer::Refusal;
use super::super::context::Edit;
use super::Webhook;
use super::events::{self, Drafted, Event};
use crate::model::catalog::Catalog;
use crate::plugin::records::{Record, Records, id_key, id_of, pair_key};
use crate::store::ShelfError;
use crate::store::shelf::{Scan, Table};

/// The most events of a tenant that wait: a day of changes by hand. The newest go to the failures beyond.
pub(in super::super) const WAITING_MAX: usize = 1000;

/// The most failures that are kept of a tenant; the oldest go.
pub(in super::super) const FAILURES_MAX: usize = 500;

/// The longest event that is kept of a failure, in bytes: all that are kept are listed at once. Of a longer one it is said that and when it was.
pub(in super::super) const FAILED_EVENT_LEN_MAX: usize = 16 << 10;

/// The longest event, in bytes: far more than a record with all that it may have. A longer one is a failure.
pub(super) const EVENT_LEN_MAX: usize = 256 << 10;

/// The most bytes of events that one command puts down, so that it stays a small part of what an entry of the journal may hold. Those that
/// find no room are failures, without what was to be sent.
pub(super) const COMMAND_LEN_MAX: usize = 8 << 20;

/// An event that waits; by tenant and its own id.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Waiting {
    /// When it happened, in milliseconds since 1970 UTC.
    pub(super) at: u64,
    /// Where it goes: where the tenant wanted to be told then.
    pub(super) url: String,
    /// What is sent.
    pub(super) event: String,
}

impl Record for Waiting {
    const TABLE: Table = Table("webhook_events");
}

/// How often a tenant's first event was tried; by tenant. Those behind it were not.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Tried {
    /// The event's id.
    pub(super) event: u64,
    pub(super) tries: u32,
    /// When it is tried next, in milliseconds since 1970 UTC.
    pub(super) next_at: u64,
}

impl Record for Tried {
    const TABLE: Table = Table("webhook_tries");
}

/// An event of which the tenant could not be told; by tenant and the event's id.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(in super::super) struct Failure {
    /// In milliseconds since 1970 UTC.
    pub(in super::super) time: u64,
    pub(in super::super) error: String,
    pub(in super::super) url: String,
    /// What was to be sent; nothing, if that was longer than [`FAILED_EVENT_LEN_MAX`].
    pub(in super::super) event: String,
}

impl Record for Failure {
    const TABLE: Table = Table("webhook_failures");
}

/// What a command put down.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in super::super) struct Told {
    /// Events that are to be sent.
    pub(in super::super) waiting: usize,
    /// Events that there was no room for.
    pub(in super::super) failed: usize,
}

/// Puts down what a command, so far as it is drafted, is to its tenant. Not to be called before the audit log has seen it, for which this
/// is nobody's change.
///
/// # Errors
/// The shelf cannot be read.
pub(in super::super) fn tell(edit: &mut Edit<'_, '_, '_>, before: &Catalog) -> Result<Told, Refusal> {
    let tenant = edit.tenant().0;
    let Some(webhook) = edit.records.find::<Webhook>(tenant)?.filter(Webhook::tells_of_providers) else {
        return Ok(Told::default());
    };
    let after = edit.draft.catalog().clone();
    let changes = edit.draft.changes().to_vec();
    let (caller, traffic) = (edit.caller, edit.traffic);
    let drafted = Drafted { caller, before, after: &after, changes: &changes, traffic };
    let mut events = events::of(&drafted, edit.records)?;
    events.retain(|event| webhook.has_on(&event.switch()));
    if events.is_empty() {
        return Ok(Told::default());
    }
    let waiting = edit.records.ids(Waiting::TABLE, &id_key(tenant), &[])?.len();
    let mut room = Room { events: WAITING_MAX.saturating_sub(waiting), bytes: COMMAND_LEN_MAX };
    // Of what there is no room for, no more is put down than is kept.
    let skipped = room.events..events.len().saturating_sub(FAILURES_MAX);
    let (mut told, mut failures) = (Told { failed: skipped.len(), ..Told::default() }, Vec::new());
    for (_, event) in events.iter().enumerate().filter(|(at, _)| !skipped.contains(at)) {
        put(edit, &drafted, event, (&webhook.url, &mut room), (&mut told, &mut failures))?;
    }
    told.failed += failures.len();
    add_failures(edit.records, tenant, failures)?;
    Ok(told)
}

/// What one command may still put down.
struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    /// Takes an event in, or says why not.
    fn take(&mut self, len: usize) -> Result<(), String> {
        if self.events == 0 {
            return Err(format!("{WAITING_MAX} events wait already, which is the most"));
        }
        if len > EVENT_LEN_MAX {
            return Err(format!("the event has {len} bytes, the most is {EVENT_LEN_MAX}"));
        }
        if len > self.bytes {
            return Err(format!("the call told more than {COMMAND_LEN_MAX} bytes, which is the most"));
        }
        self.events -= 1;
        self.bytes -= len;
        Ok(())
    }
}

fn put(
    edit: &mut Edit<'_, '_, '_>,
    drafted: &Drafted<'_>,
    event: &Event,
    (url, room): (&str, &mut Room),
    (told, failures): (&mut Told, &mut Vec<(u64, Failure)>),
) -> Result<(), Refusal> {
    let Some(event) = drafted.document(event, edit.records)? else { return Ok(()) };
    let (id, at, url) = (edit.draft.take_id(), edit.now, url.to_owned());
    match room.take(event.len()) {
        Ok(()) => {
            told.waiting += 1;
            let key = pair_key(edit.tenant().0, id);
            edit.records.save_at(&key, &Waiting { at, url, event })?;
        }
        Err(error) => {
            let is_kept = event.len() <= FAILED_EVENT_LEN_MAX.min(room.bytes);
            let event = if is_kept { event } else { String::new() };
            room.bytes -= event.len();
            failures.push((id, Failure { time: at, error, url, event }));
        }
    }
    Ok(())
}

/// Adds to a tenant's failures; the oldest go beyond [`FAILURES_MAX`].
fn add_failures(
    records: &mut Records<'_>,
    tenant: u64,
    failures: Vec<(u64, Failure)>,
) -> Result<(), ShelfError> {
    if failures.is_empty() {
        return Ok(());
    }
    let mut ids = records.ids(Failure::TABLE, &id_key(tenant), &[])?;
    for (id, mut failure) in failures {
        if failure.event.len() > FAILED_EVENT_LEN_MAX {
            failure.event.clear();
        }
        records.save_at(&pair_key(tenant, id), &failure)?;
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    for oldest in &ids[..ids.len().saturating_sub(FAILURES_MAX)] {
        records.delete(Failure::TABLE, &pair_key(tenant, *oldest));
    }
    Ok(())
}

/// What became of an event that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) tenant: u64,
    pub(super) event: u64,
    pub(super) how: How,
}

/// What became of an event that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// The tenant knows.
    Delivered,
    /// It is tried again.
    Again {
        /// How often it was.
        tries: u32,
        /// In milliseconds since 1970 UTC.
        next_at: u64,
    },
    /// It is not tried again.
    Failed {
        /// In milliseconds since 1970 UTC.
        at: u64,
        error: String,
    },
}

/// Puts down what became of events. Of those that went meanwhile, with their tenant, nothing is said.
///
/// # Errors
/// The shelf cannot be read.
pub(super) fn end(endings: &[Ending], records: &mut Records<'_>) -> Result<(), ShelfError> {
    let mut failed = BTreeMap::<u64, Vec<(u64, Failure)>>::new();
    for Ending { tenant, event, how } in endings {
        let key = pair_key(*tenant, *event);
        let Some(row) = records.get(Waiting::TABLE, &key)? else { continue };
        if let How::Again { tries, next_at } = how {
            records.save(*tenant, &Tried { event: *event, tries: *tries, next_at: *next_at })?;
            continue;
        }
        records.delete(Waiting::TABLE, &key);
        if records.find::<Tried>(*tenant)?.is_some() {
            records.remove::<Tried>(*tenant);
        }
        if let How::Failed { at, error } = how {
            let (url, sent) = match serde_json::from_slice::<Waiting>(&row) {
                Ok(waiting) => (waiting.url, waiting.event),
                Err(_) => Default::default(),
            };
            let failure = Failure { time: *at, error: error.clone(), url, event: sent };
            failed.entry(*tenant).or_default().push((*event, failure));
        }
    }
    failed.into_iter().try_for_each(|(tenant, failures)| add_failures(records, tenant, failures))
}

/// Takes away all that there is of a tenant.
pub(super) fn forget(tenant: u64, records: &mut Records<'_>) -> Result<(), ShelfError> {
    records.remove::<Webhook>(tenant);
    records.remove::<Tried>(tenant);
    for table in [Failure::TABLE, Waiting::TABLE] {
        for id in records.ids(table, &id_key(tenant), &[])? {
            records.delete(table, &pair_key(tenant, id));
        }
    }
    Ok(())
}

/// A tenant's failures, the oldest first.
pub(super) fn failures(records: &Records<'_>, tenant: u64) -> Result<Vec<(u64, Failure)>, ShelfError> {
    let found = records.scan::<Failure>(&Scan::first(&id_key(tenant), FAILURES_MAX))?;
    Ok(found.into_iter().map(|(key, failure)| (id_of(&key).unwrap_or(0), failure)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_puts_down_so_many_events_and_bytes_and_no_more() {
        let room = |events, bytes| Room { events, bytes };
        assert_eq!(room(1, EVENT_LEN_MAX).take(EVENT_LEN_MAX), Ok(()));
        assert!(room(1, usize::MAX).take(EVENT_LEN_MAX + 1).unwrap_err().contains("262145 bytes"));
        assert_eq!((room(1, 9).take(9), room(1, 9).take(10).is_err()), (Ok(()), true));
        let mut few = room(2, 100);
        assert_eq!((few.take(1), few.take(1), few.take(1).is_err()), (Ok(()), Ok(()), true));
        assert_eq!((few.events, few.bytes), (0, 98));
    }
    #[test]
    fn of_failures_the_newest_are_kept_and_no_long_event() {
        use crate::journal::rows::Rows;
        use crate::store::Shelf;

        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("shelf")).unwrap();
        let mut records = Records::over(shelf.reading().unwrap(), Rows::default());
        let failure = |len| Failure {
            time: 1,
            error: "it".to_owned(),
            url: "http://a.example".to_owned(),
            event: "x".repeat(len),
        };
        let lens = [FAILED_EVENT_LEN_MAX, FAILED_EVENT_LEN_MAX + 1];
        let all = (0..).zip((0..FAILURES_MAX).map(|at| failure(lens[at % 2]))).collect();
        add_failures(&mut records, 7, all).unwrap();
        add_failures(&mut records, 7, vec![(1000, failure(3))]).unwrap();
        add_failures(&mut records, 8, vec![(1001, failure(3))]).unwrap();
        let kept = failures(&records, 7).unwrap();
        assert_eq!((kept.len(), kept[0].0, kept[FAILURES_MAX - 1].0), (FAILURES_MAX, 1, 1000));
        let found: Vec<_> = kept.iter().map(|(_, failure)| failure.event.len()).collect();
        assert_eq!((found[0], found[1], found[FAILURES_MAX - 1]), (0, FAILED_EVENT_LEN_MAX, 3));
    }
}
