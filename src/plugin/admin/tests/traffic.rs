//! When applications were called: what the node counted, beside what it was told.

use super::*;
use crate::plugin::alerts::Alerts;

const DAY_MS: u64 = 86_400_000;

/// A world whose admin API asks the events' plugin, which follows the journal while this is there.
struct Followed {
    // First, so that its shelf is closed before its directory goes.
    alerts: Arc<Alerts>,
    thread: Option<JoinHandle<()>>,
    world: World,
    service: Value,
    root: String,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.alerts.following().stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Followed {
    fn new() -> Followed {
        let world = World::new();
        let path = world.dir.as_ref().unwrap().path().join("alerts");
        let (alerts, thread) = Alerts::start(&world.engine, Shelf::open(&path).unwrap()).unwrap();
        let alerts = Arc::new(alerts);
        world.admin.ask_of_traffic(Arc::clone(&alerts) as Arc<dyn super::super::Traffic>);
        let service = world.made("services", json!({"name": "Called"}))["id"].clone();
        let account = world.made("signup", json!({"org_name": "Acme", "username": "acme"}))["id"].clone();
        let root = format!("accounts/{account}/applications");
        Followed { alerts, thread: Some(thread), world, service, root }
    }

    fn application(&self, name: &str) -> Value {
        let plans = format!("services/{}/application_plans", self.service);
        let plan = self.world.made(&plans, json!({"name": name}))["id"].clone();
        self.world.made(&self.root, json!({"plan_id": plan, "name": name, "user_key": name}))["id"].clone()
    }

    /// A call, so many days after the first.
    fn call(&self, name: &str, days: u64) {
        let now = NOW + days * DAY_MS;
        self.world.now.store(now, Ordering::Relaxed);
        self.world.count(&self.service, name, &[("hits", Some("1"))], None);
    }

    fn times(&self, id: &Value) -> [Value; 2] {
        let shown = self.world.get(&format!("{}/{id}", self.root)).1["application"].clone();
        [shown["first_traffic_at"].clone(), shown["first_daily_traffic_at"].clone()]
    }

    fn listed(&self, ask: Value) -> Vec<Value> {
        let (status, body) = self.world.call(Method::Get, "applications", ask);
        assert_eq!(status, 200, "{body}");
        let all = body["applications"].as_array().unwrap().iter();
        all.map(|it| it["application"]["id"].clone()).collect()
    }
}

/// The journal's entries are dated by the flusher's clock: to the second of this day.
fn of_day(time: &Value, day: &str) -> bool {
    time.as_str().is_some_and(|time| time.starts_with(day))
}

#[test]
fn an_application_shows_when_it_was_called_at_once() {
    let it = Followed::new();
    let (called, other) = (it.application("called"), it.application("other"));
    assert_eq!(it.times(&called), [Value::Null, Value::Null]);
    it.call("called", 0);
    let first = it.times(&called);
    assert!(of_day(&first[0], "2026-11-22") && first[0] == first[1], "{first:?}");
    assert_eq!(it.times(&other), [Value::Null, Value::Null]);
    it.call("called", 1);
    let second = it.times(&called);
    assert!(second[0] == first[0] && of_day(&second[1], "2026-11-23"), "{second:?}");
    // Wherever it is shown: in lists, found, in XML, and in what a change answers.
    let list = it.world.get(&it.root).1["applications"][0]["application"].clone();
    let found =
        it.world.call(Method::Get, "applications/find", json!({"user_key": "called"})).1["application"]
            .clone();
    let changed =
        it.world.put(&format!("{}/{called}", it.root), json!({"description": "d"})).1["application"].clone();
    for shown in [list, found, changed] {
        assert_eq!([&shown["first_traffic_at"], &shown["first_daily_traffic_at"]], [&second[0], &second[1]]);
    }
    let (_, xml) = it.world.xml(Method::Get, &format!("{}/{called}", it.root), json!({}));
    let day = second[1].as_str().unwrap();
    assert!(xml.contains(&format!("<first_daily_traffic_at>{day}</first_daily_traffic_at>")), "{xml}");
    // What another system counted is beside it: the earlier first, and the later last.
    let told =
        json!({"first_traffic_at": "2020-01-01T00:00:00Z", "first_daily_traffic_at": "2020-01-02T00:00:00Z"});
    it.world.put(&format!("{}/{called}", it.root), told);
    assert_eq!(it.times(&called), [json!("2020-01-01T00:00:00Z"), second[1].clone()]);
}

#[test]
fn applications_are_listed_by_when_they_were_called() {
    let it = Followed::new();
    let ids = ["one", "two", "three"].map(|name| it.application(name));
    it.call("one", 0);
    it.call("two", 1);
    let since = |name: &str, day: u64| json!({ name: format!("2026-11-{day}") });
    assert_eq!(it.listed(since("active_since", 22)), ids[..2]);
    assert_eq!(it.listed(since("active_since", 23)), ids[1..2]);
    assert_eq!(it.listed(since("inactive_since", 23)), [ids[0].clone(), ids[2].clone()]);
    let both = json!({"active_since": "2026-11-22", "inactive_since": "2026-11-23"});
    assert_eq!(it.listed(both), ids[..1]);
    // A call makes it another day's, and an application that is gone is not listed.
    it.call("one", 2);
    assert_eq!(it.listed(since("active_since", 24)), ids[..1]);
    assert_eq!(it.world.delete(&format!("{}/{}", it.root, ids[0])).0, 200);
    assert_eq!(it.listed(since("active_since", 22)), ids[1..2]);
    // Another tenant has none of them.
    let (other, _) = it.world.engine.change(|draft| draft.create_tenant("Other", "other key")).unwrap();
    it.world.admin.begin(other, "other's token").unwrap();
    let ask = since("active_since", 22);
    let answer = it.world.send(Method::Get, "applications.json", ask, Some("other's token"));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["applications"], json!([]));
}

#[test]
fn a_list_by_time_is_refused_while_what_was_counted_is_not_on_disk() {
    let it = Followed::new();
    let id = it.application("called");
    let disk = it.world.hold_disk();
    it.call("called", 0);
    let (status, body) = it.world.call(Method::Get, "applications", json!({"active_since": "2026-11-22"}));
    assert_eq!(status, 503, "{body}");
    assert_eq!(it.times(&id), [Value::Null, Value::Null], "it is shown with what is known");
    drop(disk);
    // It may take the disk a while, with all that other tests have for it.
    let ask = json!({"active_since": "2026-11-22"});
    while it.world.call(Method::Get, "applications", ask.clone()).0 == 503 {}
    assert_eq!(it.listed(ask), [id]);
}
