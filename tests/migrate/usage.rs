//! Usage history comes along: hours and days, of metrics, methods and backends, killed on the way and begun again.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::*;

/// Pages of usage that are there when it is killed: those of products, and of some applications.
const KILLED_AT: usize = 20;

impl Node {
    /// What the analytics API answers to `applications/7/usage`, and so on.
    fn stats(&self, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let target = format!("/stats/{path}.json?access_token={TOKEN}&{query}");
        let headers = [("Content-Type", "application/json")];
        let answer =
            Client::connect(self.process.address).request(method, &target, &headers, &body.to_string());
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn put_usage(
        &self,
        application: u64,
        metric: &str,
        (granularity, since): (&str, Timestamp),
        values: &[u64],
    ) {
        let body = json!({"metric_name": metric, "granularity": granularity, "since": since.to_string(), "values": values});
        let (status, answer) = self.stats("PUT", &format!("applications/{application}/usage"), "", &body);
        assert_eq!(status, 200, "{answer}");
    }

    /// What was used of a metric: hours of 89 days, or days of a year.
    fn usage(&self, path: &str, metric: &str, granularity: &str) -> Vec<u64> {
        let now = hour(0);
        let days = if granularity == "hour" { 89 } else { 364 };
        let since = now - (days * 24).hours();
        let query = format!("metric_name={metric}&granularity={granularity}&since={since}&until={now}");
        let (status, answer) = self.stats("GET", &format!("{path}/usage"), &query, &json!({}));
        assert_eq!(status, 200, "{path} {metric}: {answer}");
        answer["values"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect()
    }

    /// All applications, by their names.
    fn applications(&self) -> BTreeMap<String, Value> {
        let (_, listed) = self.call("GET", "applications", &json!({"per_page": 500}));
        let all = listed["applications"].as_array().unwrap().iter().map(|it| it["application"].clone());
        all.map(|it| (it["name"].as_str().unwrap().to_owned(), it)).collect()
    }

    /// What metrics of this name of the backend are asked for by.
    fn of_backend(&self, name: &str) -> String {
        format!("{name}.{}", self.first("backend_apis"))
    }

    /// An access token that is for account management alone.
    fn token(&self, permission: &str) -> String {
        let fields = json!({"name": "Other", "permission": permission, "scopes": ["account_management"]});
        let (status, made) = self.call("POST", "personal/access_tokens", &fields);
        assert_eq!(status, 201, "{made}");
        made["access_token"]["value"].as_str().unwrap().to_owned()
    }
}

/// The beginning of the hour so many hours ago.
fn hour(ago: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    Timestamp::from_second((now / 3600 - ago) * 3600).unwrap()
}

/// Midnight, so many days ago.
fn day(ago: i64) -> Timestamp {
    Timestamp::from_second((hour(0).as_second() / 86400 - ago) * 86400).unwrap()
}

/// Something was used of everything, by some; none of it in the hours that may not be over for a migration yet.
fn use_some(node: &Node) {
    let lookups = node.of_backend("lookups");
    for (number, (name, application)) in node.applications().iter().enumerate() {
        let id = application["id"].as_u64().unwrap();
        let n = number as u64 + 1;
        if name == "Walks" || number % 3 == 0 {
            node.put_usage(id, "hits", ("hour", hour(60 * 24)), &[n, 0, 2 * n]);
            node.put_usage(id, "hits", ("hour", hour(5)), &[7 * n, n]);
            node.put_usage(id, "hits", ("day", day(300)), &[n, 0, 3 * n]);
        }
        // A method's, also where its metric has none.
        if name.starts_with("Gold") && number % 2 == 0 {
            node.put_usage(id, "forecast", ("hour", hour(5)), &[3 * n]);
            node.put_usage(id, &lookups, ("day", day(120)), &[5 * n]);
        }
        if name.starts_with("Basic") && number % 5 == 0 {
            node.put_usage(id, "bytes", ("day", day(200)), &[1_000_000_000_000 * n]);
        }
    }
    // A method's counts are in what is above it.
    let (service, token) = node.service("weather");
    let at = (hour(2) + 1.minutes()).strftime("%Y-%m-%d %H:%M:%S %2B0000").to_string().replace(' ', "%20");
    let report = format!(
        "service_token={token}&service_id={service}&transactions[0][app_id]=app-user-gold-1&transactions[0][usage][forecast]=4&transactions[0][timestamp]={at}"
    );
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer =
        Client::connect(node.process.address).request("POST", "/transactions.xml", &headers, &report);
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// All that was used: by application and metric, with its total, and of services.
fn used(node: &Node) -> BTreeMap<String, Vec<u64>> {
    let (mut all, lookups) = (BTreeMap::new(), node.of_backend("lookups"));
    let mut put = |whose: &str, path: &str, metrics: &[&str]| {
        for (metric, granularity) in metrics.iter().flat_map(|metric| [(metric, "hour"), (metric, "day")]) {
            // The backend has another number.
            let name = metric.split('.').next().unwrap();
            all.insert(format!("{whose} {name} {granularity}"), node.usage(path, metric, granularity));
        }
    };
    let weathers = ["hits", "forecast", "bytes", lookups.as_str()];
    for (name, application) in node.applications() {
        let is_weathers = name.starts_with("Gold") || name.starts_with("Basic");
        let path = format!("applications/{}", application["id"]);
        put(&name, &path, if is_weathers { &weathers } else { &weathers[..1] });
    }
    put("weather", &format!("services/{}", node.service("weather").0), &weathers);
    put("maps", &format!("services/{}", node.service("maps").0), &weathers[..1]);
    all
}

fn pages_of_usage(work: &Path) -> BTreeMap<String, SystemTime> {
    pages(work).into_iter().filter(|(name, _)| name.starts_with("stats-")).collect()
}

#[test]
fn usage_comes_along_hour_by_hour_and_day_by_day_after_a_kill_too() {
    let (source, target, work) = (Node::start(), Node::start(), tempfile::tempdir().unwrap());
    fill(&source);
    fill_others(&source);
    use_some(&source);
    killed(&mut import(&source, &target, work.path(), true), || {
        pages_of_usage(work.path()).len() >= KILLED_AT
    });
    let fetched = pages_of_usage(work.path());
    assert!(fetched.keys().any(|page| page.starts_with("stats-applications-")), "{fetched:?}");
    let (out, said) = done(&mut import(&source, &target, work.path(), true));
    let all = pages_of_usage(work.path());
    assert!(all.len() > fetched.len() + 20, "{} of {}", fetched.len(), all.len());
    assert!(fetched.iter().all(|(page, written)| all[page] == *written), "fetched again");
    assert!(!said.contains("stays behind: answered"), "{said}");
    assert!(out.contains("\nUsage: ") && !out.contains("Usage: 0 "), "{out}");

    let (there, here) = (used(&source), used(&target));
    for name in there.keys() {
        // The target's own sample application is no other's.
        assert_eq!(here.get(name), there.get(name), "{name}");
    }
    assert!(
        there["Gold 1 forecast hour"].contains(&4) && there["weather hits hour"].iter().sum::<u64>() > 100
    );
    assert!(there["weather bytes day"].iter().sum::<u64>() >= 1_000_000_000_000);

    // Done again nothing is fetched, and nothing is counted twice.
    let (again, _) = done(&mut import(&source, &target, work.path(), true));
    assert_eq!(again.lines().last(), out.lines().last());
    assert_eq!(pages_of_usage(work.path()), all);
    assert!(used(&target) == here);
}

#[test]
fn without_the_scope_it_stays_behind_there_and_is_refused_here_and_all_else_is_done() {
    let (source, target, work) = (Node::start(), Node::start(), tempfile::tempdir().unwrap());
    fill_others(&source);
    let walks = source.applications()["Walks"]["id"].as_u64().unwrap();
    source.put_usage(walks, "hits", ("day", day(5)), &[5]);
    let begin = || import(&source, &target, work.path(), true);
    let notes = || std::fs::read_to_string(work.path().join("notes.txt")).unwrap();

    let (out, said) = done(begin().arg("--without-usage"));
    assert!(!out.contains("Usage:") && pages_of_usage(work.path()).is_empty(), "{out}\n{said}");

    let (out, said) = done(begin().env("THREESCALE_TOKEN", source.token("ro")));
    let line = "usage history stays behind, all that is not there yet: ";
    assert!(out.contains("Usage: 0 applications, 0 hours and 0 days"), "{out}");
    assert!(said.matches(line).count() == 1 && notes().matches(line).count() == 1, "{said}");
    assert!(said.contains("answered 403") && said.contains("scope stats"), "{said}");

    let output = begin().env("TOLLGATE_ADMIN_TOKEN", target.token("rw")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the node answers 403") && said.contains("scope stats"), "{said}");

    let (out, said) = done(&mut begin());
    assert!(out.contains("Usage: 1 applications, 1 hours and 0 days"), "{out}");
    assert!(!said.contains(line) && !notes().contains(line), "{said}");
    let here = target.applications()["Walks"]["id"].as_u64().unwrap();
    assert_eq!(target.usage(&format!("applications/{here}"), "hits", "day").iter().sum::<u64>(), 5);
}
