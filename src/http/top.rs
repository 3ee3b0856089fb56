//! The top of the last whole minute: which applications are denied most, and which are nearest to a limit.
//!
//! For `/metrics`, beside what the recorder renders: a gauge of the recorder stays for ever, while these lists are
//! made anew each minute, and who is no longer at the top is gone from them. Labels are public ids, never keys, and
//! there are at most [`TOP`] of them in a list, however many applications a node has.
//!
//! Only calls that are denied, would be, or come near a limit are noted, each worker's apart. How often an application
//! is denied is counted as in *Space-Saving* (Metwally, Agrawal and El Abbadi 2005): of each worker [`TRACKED`]
//! applications have a counter, and who comes new takes over the least counter, remembering what was in it. What is
//! shown is without that: at least so many. Whoever has more than one in [`TRACKED`] of a worker's denials is among
//! them for certain. The share of a limit needs no such care: who is among the greatest is so whenever noted.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use parking_lot::Mutex;

use crate::engine::request::{Answer, UsageReport};
use crate::model::catalog::Catalog;
use crate::model::id::ApplicationId;

/// The most applications in a list: as many as somebody looks at, and few enough not to burden who stores them.
pub(super) const TOP: usize = 20;

/// How many applications a worker counts the denials of: 1.5 KiB, searched in a few dozen nanoseconds.
const TRACKED: usize = 64;

/// What workers have noted in this minute, and the lists of the one before.
pub(super) struct Top {
    lanes: Box<[Mutex<Lately>]>,
    rendered: Mutex<String>,
}

/// What one worker has noted in this minute.
#[derive(Default)]
struct Lately {
    denied: Heaviest,
    would_deny: Heaviest,
    near: Nearest,
}

impl Top {
    pub(super) fn new(lanes: usize) -> Top {
        let lanes = (0..lanes).map(|_| Mutex::default()).collect();
        let top = Top { lanes, rendered: Mutex::default() };
        // The names are there from the start: a missing one looks like a fault to who watches.
        top.rank(&Catalog::default());
        top
    }

    /// Notes an answer that a worker gives, if it is of the kind that is listed.
    pub(super) fn note(&self, lane: usize, answer: &Answer<'_>) {
        if answer.denial.is_some() {
            self.lanes[lane].lock().denied.add(answer.application);
            return;
        }
        let share = answer.reports.iter().filter(|report| is_near(report)).map(share).max();
        if share.is_none() && answer.would_deny.is_none() {
            return;
        }
        let mut lately = self.lanes[lane].lock();
        if let Some(share) = share {
            lately.near.add(answer.application, share);
        }
        if answer.would_deny.is_some() {
            lately.would_deny.add(answer.application);
        }
    }

    #[cfg(test)]
    pub(super) fn note_denied(&self, lane: usize, application: ApplicationId) {
        self.lanes[lane].lock().denied.add(application);
    }

    /// Makes the lists of the minute that is over, with the names that `catalog` has.
    pub(super) fn rank(&self, catalog: &Catalog) {
        let (mut denied, mut would_deny, mut near) = (HashMap::new(), HashMap::new(), HashMap::new());
        for lane in &self.lanes {
            let lately = std::mem::take(&mut *lane.lock());
            lately.denied.add_to(&mut denied);
            lately.would_deny.add_to(&mut would_deny);
            lately.near.add_to(&mut near);
        }
        let mut text = String::new();
        let whole = |count: u64| count.to_string();
        let about = "in the last whole minute, at least, of the applications with most";
        let help = format!("Denied calls {about}");
        list(&mut text, catalog, "tollgate_top_denied_calls", &help, &denied, whole);
        let help = format!("Calls that what is in shadow would have denied {about}");
        list(&mut text, catalog, "tollgate_top_would_deny_calls", &help, &would_deny, whole);
        let help = "Greatest share of a limit that was spent after an authorized call of the last whole minute, \
                    of the applications nearest to a limit, from 0.9 on";
        let ratio = |permille: u64| format!("{}.{:03}", permille / 1000, permille % 1000);
        list(&mut text, catalog, "tollgate_top_near_limit_ratio", help, &near, ratio);
        *self.rendered.lock() = text;
    }

    /// The lists as Prometheus reads them.
    pub(super) fn rendered(&self) -> String {
        self.rendered.lock().clone()
    }
}

/// Whether nine tenths of a limit are spent. All that a call far from its limits pays for this page.
fn is_near(report: &UsageReport) -> bool {
    let max = report.limit.max;
    report.current >= max - max / 10 && max > 0
}

/// How much of a limit is spent, in thousandths.
fn share(report: &UsageReport) -> u64 {
    let permille = u128::from(report.current) * 1000 / u128::from(report.limit.max.max(1));
    u64::try_from(permille).unwrap_or(u64::MAX)
}

/// Who was noted most often, about.
#[derive(Default)]
struct Heaviest(Vec<Count>);

struct Count {
    application: ApplicationId,
    count: u64,
    /// What of the count may be somebody else's.
    taken_over: u64,
}

impl Heaviest {
    fn add(&mut self, application: ApplicationId) {
        if let Some(known) = self.0.iter_mut().find(|it| it.application == application) {
            known.count += 1;
        } else if self.0.len() < TRACKED {
            self.0.push(Count { application, count: 1, taken_over: 0 });
        } else if let Some(least) = self.0.iter_mut().min_by_key(|it| it.count) {
            *least = Count { application, count: least.count + 1, taken_over: least.count };
        }
    }

    fn add_to(self, sums: &mut HashMap<ApplicationId, u64>) {
        for it in self.0 {
            *sums.entry(it.application).or_default() += it.count - it.taken_over;
        }
    }
}

/// Who came nearest to a limit, and how near.
#[derive(Default)]
struct Nearest(Vec<(ApplicationId, u64)>);

impl Nearest {
    fn add(&mut self, application: ApplicationId, share: u64) {
        if let Some((_, known)) = self.0.iter_mut().find(|(it, _)| *it == application) {
            *known = share.max(*known);
        } else if self.0.len() < TOP {
            self.0.push((application, share));
        } else if let Some(least) = self.0.iter_mut().min_by_key(|(_, share)| *share)
            && least.1 < share
        {
            *least = (application, share);
        }
    }

    fn add_to(self, greatest: &mut HashMap<ApplicationId, u64>) {
        for (application, share) in self.0 {
            let known = greatest.entry(application).or_default();
            *known = share.max(*known);
        }
    }
}

/// Appends one list: the greatest values first.
fn list(
    text: &mut String,
    catalog: &Catalog,
    name: &str,
    help: &str,
    values: &HashMap<ApplicationId, u64>,
    show: impl Fn(u64) -> String,
) {
    // Writing to memory does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    let mut values: Vec<_> =
        values.iter().map(|(application, value)| (Reverse(*value), *application)).collect();
    values.sort_unstable();
    // A service may be called by a number that is another's own: the same labels twice would spoil the whole page.
    let mut shown = HashSet::new();
    let labels = values.into_iter().filter_map(|(value, id)| Some((labels(catalog, id)?, value.0)));
    for (labels, value) in labels.filter(|(labels, _)| shown.insert(labels.clone())).take(TOP) {
        let _ = writeln!(text, "{name}{{{labels}}} {}", show(value));
    }
}

/// The public ids of an application; `None` if it is gone.
fn labels(catalog: &Catalog, id: ApplicationId) -> Option<String> {
    let application = catalog.applications.get(id.0)?;
    let service = catalog.services.get(application.service.0)?;
    Some(format!("service=\"{}\",application=\"{}\"", escaped(&service.text()), escaped(&application.app_id)))
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::{Change, NoKeys};
    use crate::model::draft::{Draft, NewApplication, NewService};
    use crate::model::record::BackendVersion;

    /// A catalog of so many applications, and their ids.
    fn catalog(applications: usize) -> (Catalog, Vec<ApplicationId>) {
        let mut draft = Draft::new(Catalog::new(), &NoKeys);
        let tenant = draft.create_tenant("t", "secret").unwrap();
        let backend_version = BackendVersion::AppId;
        let new = NewService { tenant, external_id: Some("s\"\\"), name: "s", backend_version };
        let service = draft.create_service(&new).unwrap();
        let plan = draft.create_plan(service, None, "p").unwrap();
        let create = |number| {
            let app_id = format!("app{number}");
            let new = NewApplication { service, account: None, app_id: &app_id, name: "a", plan };
            draft.create_application(&new).unwrap()
        };
        let ids = (0..applications).map(create).collect();
        (draft.catalog().clone(), ids)
    }

    fn lines(top: &Top) -> Vec<String> {
        top.rendered().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn deny(top: &Top, lane: usize, application: ApplicationId, times: usize) {
        (0..times).for_each(|_| top.note_denied(lane, application));
    }

    #[test]
    fn a_list_has_at_most_twenty_applications_and_is_made_anew() {
        let (catalog, ids) = catalog(TOP + 1);
        let top = Top::new(2);
        for (number, id) in ids.iter().enumerate() {
            deny(&top, number % 2, *id, number + 1);
            deny(&top, 0, *id, 1);
        }
        top.rank(&catalog);
        let shown = lines(&top);
        assert_eq!(shown.len(), TOP);
        assert_eq!(shown[0], r#"tollgate_top_denied_calls{service="s\"\\",application="app20"} 22"#);
        assert!(!shown.iter().any(|line| line.contains("\"app0\"")), "the least is left off");

        deny(&top, 1, ids[0], 3);
        top.rank(&catalog);
        assert_eq!(lines(&top), [r#"tollgate_top_denied_calls{service="s\"\\",application="app0"} 3"#]);
        top.rank(&catalog);
        assert_eq!(lines(&top), [""; 0]);
        assert_eq!(top.rendered().matches("# TYPE").count(), 3);
    }

    #[test]
    fn who_is_gone_is_left_off_and_labels_are_unique() {
        let (mut catalog, ids) = catalog(2);
        let top = Top::new(1);
        ids.iter().for_each(|id| deny(&top, 0, *id, 1));
        catalog.apply(&Change::DeleteApplication(ids[0]));
        top.rank(&catalog);
        assert_eq!(lines(&top).len(), 1);
        let mut same = catalog.applications.get(ids[1].0).unwrap().as_ref().clone();
        same.id = ids[0];
        catalog.apply(&Change::PutApplication(same));
        ids.iter().for_each(|id| deny(&top, 0, *id, 1));
        top.rank(&catalog);
        assert_eq!(lines(&top).len(), 1);
    }

    #[test]
    fn as_many_as_are_tracked_are_counted_exactly_and_with_one_more_nobody_gets_too_many() {
        let ids: Vec<_> = (0..=TRACKED as u64).map(ApplicationId).collect();
        let sums = |ids: &[ApplicationId]| {
            let mut heaviest = Heaviest::default();
            for round in 0..3 {
                ids.iter().skip(round).for_each(|id| heaviest.add(*id));
            }
            assert!(heaviest.0.len() <= TRACKED);
            let mut sums = HashMap::new();
            heaviest.add_to(&mut sums);
            sums
        };
        let exact = sums(&ids[..TRACKED]);
        assert_eq!((exact[&ids[0]], exact[&ids[1]], exact[&ids[2]]), (1, 2, 3));
        assert_eq!(exact.len(), TRACKED);
        let about = sums(&ids);
        assert_eq!(about.len(), TRACKED);
        assert!(about.values().all(|count| *count <= 3));
    }

    #[test]
    fn a_heavy_one_is_found_among_any_number_of_light_ones() {
        let mut heaviest = Heaviest::default();
        let heavy = ApplicationId(1_000_000);
        for light in 0..10_000 {
            heaviest.add(ApplicationId(light));
            if light % 20 == 0 {
                heaviest.add(heavy);
            }
        }
        let mut sums = HashMap::new();
        heaviest.add_to(&mut sums);
        let (most, count) = sums.iter().max_by_key(|(_, count)| **count).unwrap();
        assert_eq!(*most, heavy);
        assert!(*count <= 500);
    }

    #[test]
    fn the_nearest_are_kept_whoever_comes_after() {
        let mut nearest = Nearest::default();
        for share in 900..900 + TOP as u64 {
            nearest.add(ApplicationId(share), share);
        }
        nearest.add(ApplicationId(1), 899);
        assert!(!nearest.0.iter().any(|(id, _)| id.0 == 1), "farther than all");
        nearest.add(ApplicationId(2), 901);
        assert!(nearest.0.contains(&(ApplicationId(2), 901)) && nearest.0.len() == TOP);
        nearest.add(ApplicationId(2), 950);
        nearest.add(ApplicationId(2), 920);
        assert!(nearest.0.contains(&(ApplicationId(2), 950)));
    }
}
