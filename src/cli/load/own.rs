//! A throw-away node: started for one load, filled, checked and removed.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::internal::InternalApi;
use super::shape::Shape;
use super::subjects::{Access, Subjects};
use super::{LoadError, Target};
use crate::model::time::Period;

/// Applications of one call that creates them.
const BATCH: usize = 1000;

const SERVICE: &str = "load";
const PLAN: &str = "load";
const USER: &str = "load";

/// A node of our own. Killed, and its data removed, when it is dropped.
pub struct OwnNode {
    child: Child,
    dir: PathBuf,
    http: SocketAddr,
    tcp: Option<SocketAddr>,
    password: String,
    token: String,
}

impl OwnNode {
    /// Starts `program` as a node on ports of the system's choice, with room for so many connections.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: &Path, connections: usize) -> Result<OwnNode, LoadError> {
        let system = |what| move |source| LoadError::System { what, source };
        let dir = std::env::temp_dir().join(format!("tollgate-load-{}", secret()?));
        DirBuilder::new().mode(0o700).create(&dir).map_err(system("a node in the temporary directory"))?;
        let (password, token) = (secret()?, secret()?);
        let mut command = Command::new(program);
        // What the environment says is for another node, and whoever waits for that one's notifications.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("TOLLGATE_") || name == "NOTIFY_SOCKET") {
                command.env_remove(name);
            }
        }
        command
            .args([
                "serve",
                "--http",
                "127.0.0.1:0",
                "--tcp",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--connections-max",
            ])
            .arg((connections + 16).to_string())
            .arg("--data-dir")
            .arg(dir.join("data"))
            .env("TOLLGATE_INTERNAL_API_USER", USER)
            .env("TOLLGATE_INTERNAL_API_PASSWORD", &password)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // An interrupt from the terminal is for us: the node is needed until we have asked it what it counted.
            .process_group(0);
        let child = command.spawn().map_err(|source| {
            let _ = std::fs::remove_dir_all(&dir);
            LoadError::System { what: "a node", source }
        })?;
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = OwnNode { child, dir, http, tcp: None, password, token };
        node.await_addresses()?;
        Ok(node)
    }

    /// Reads what it prints until it says that it serves.
    fn await_addresses(&mut self) -> Result<(), LoadError> {
        let stdout =
            self.child.stdout.take().ok_or_else(|| LoadError::Node("it has no output".to_owned()))?;
        let address = |line: &str, scheme: &str| -> Option<SocketAddr> {
            let (_, rest) = line.split_once(scheme)?;
            rest.split([' ', '/']).next()?.trim().parse().ok()
        };
        let mut http = None;
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            http = http.or(address(&line, "http://"));
            self.tcp = self.tcp.or(address(&line, "tcp://"));
            if line.starts_with("Stop with") {
                break;
            }
        }
        self.http = http.ok_or_else(|| LoadError::Node("it ended before it served; see above".to_owned()))?;
        Ok(())
    }

    /// Creates `count` applications on one plan.
    ///
    /// # Errors
    /// The node refuses something, or `stop` was set.
    pub fn create(&self, shape: &Shape, count: usize, stop: &AtomicBool) -> Result<Subjects, LoadError> {
        let mut api = self.internal_api()?;
        let service =
            json!({"id": SERVICE, "provider_key": secret()?, "backend_version": "1", "state": "active"});
        api.call("POST", "/services/", &json!({"service": service}))?;
        let token = json!({&self.token: {"service_id": SERVICE}});
        api.call("POST", "/service_tokens/", &json!({"service_tokens": token}))?;
        for (name, above) in &shape.metrics {
            let path = format!("/services/{SERVICE}/metrics/{name}");
            api.call("POST", &path, &json!({"metric": {"name": name, "parent_id": above}}))?;
        }
        for (metric, period, max) in &shape.limits {
            let period = period.name();
            let path = format!("/services/{SERVICE}/plans/{PLAN}/usagelimits/{metric}/{period}");
            api.call("PUT", &path, &json!({"usagelimit": {period: max}}))?;
        }
        let key = |number: usize| format!("user-key-{number:023}");
        for begin in (0..count).step_by(BATCH) {
            if stop.load(Ordering::Relaxed) {
                return Err(LoadError::Stopped);
            }
            let application = |number: usize| json!({"id": app_id(number), "state": "active", "plan_id": PLAN, "user_key": key(number)});
            let applications: Vec<Value> = (begin..count.min(begin + BATCH)).map(application).collect();
            let path = format!("/services/{SERVICE}/applications/batch");
            let answer = api.call("PUT", &path, &json!({"applications": applications}))?;
            if answer["failed"] != 0 {
                let why = answer["failures"][0]["error"].to_string();
                return Err(LoadError::Refused { what: "an application".to_owned(), why });
            }
        }
        Ok(Subjects::new(Some(SERVICE.to_owned()), (0..count).map(key).collect(), shape.named.clone()))
    }

    fn internal_api(&self) -> Result<InternalApi, LoadError> {
        InternalApi::connect(self.http, USER, &self.password)
    }

    /// Where it serves the Service Management API.
    #[must_use]
    pub fn http(&self) -> Target {
        Target::Http(self.http)
    }

    /// Where it serves the binary protocol.
    ///
    /// # Errors
    /// It does not.
    pub fn tcp(&self) -> Result<Target, LoadError> {
        self.tcp
            .map(Target::Tcp)
            .ok_or_else(|| LoadError::Node("it does not speak the binary protocol".to_owned()))
    }

    /// What opens the service with the applications.
    #[must_use]
    pub fn access(&self) -> Access {
        Access::ServiceToken(self.token.clone())
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks how much was counted for each application, and compares it with `counted`, which is what the node said
    /// yes to. Returns the sum.
    ///
    /// # Errors
    /// [`LoadError::NotExact`] names the first that differs, or is above a limit. Or the node cannot be asked.
    pub fn check(&self, subjects: &Subjects, counted: &[u64]) -> Result<u64, LoadError> {
        let mut checked = Checked::default();
        match self.tcp {
            Some(address) => subjects.query(&Target::Tcp(address), &self.access(), |number, answer| {
                let first = answer.metrics.iter().find(|(_, name)| Some(name) == subjects.metrics.first());
                let usage = answer.usage.iter().find(|usage| Some(usage.metric) == first.map(|it| it.0));
                let count = usage.map_or(0, |usage| usage.counts[Period::Eternity as usize]);
                let is_within = answer.limits.iter().all(|limit| limit.count <= limit.max);
                checked.compare(number, count, counted[number], is_within);
            })?,
            None => {
                let mut api = self.internal_api()?;
                for (number, counted) in counted.iter().enumerate() {
                    let path = format!("/services/{SERVICE}/applications/{}/utilization/", app_id(number));
                    let answer = api.call("GET", &path, &Value::Null)?;
                    let (count, is_within) = utilization(&answer, &subjects.metrics);
                    checked.compare(number, count, *counted, is_within);
                }
            }
        }
        checked.result()
    }
}

fn app_id(number: usize) -> String {
    format!("app{number}")
}

/// What was ever counted of the first metric, and whether all counts are within their limits.
fn utilization(answer: &Value, metrics: &[String]) -> (u64, bool) {
    let rows = answer["utilization"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_first = |row: &&Value| row["metric_name"].as_str() == metrics.first().map(String::as_str);
    let row = rows.iter().filter(is_first).find(|row| row["period"] == "eternity");
    let count = row.and_then(|row| row["current_value"].as_u64()).unwrap_or(0);
    (count, rows.iter().all(|row| row["current_value"].as_u64() <= row["max_value"].as_u64()))
}

/// Counts as they are compared.
#[derive(Default)]
struct Checked {
    sum: u64,
    wrong: Option<String>,
}

impl Checked {
    fn compare(&mut self, number: usize, node: u64, yes: u64, is_within: bool) {
        self.sum += node;
        if node != yes {
            let what = || format!("application {number}: it counted {node}, and said yes to {yes}");
            self.wrong.get_or_insert_with(what);
        }
        if !is_within {
            self.wrong.get_or_insert_with(|| format!("application {number} is above a limit"));
        }
    }

    fn result(self) -> Result<u64, LoadError> {
        self.wrong.map_or(Ok(self.sum), |wrong| Err(LoadError::NotExact(wrong)))
    }
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        // Nothing that it holds is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// 128 random bits in hex.
fn secret() -> Result<String, LoadError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_differs_or_is_above_its_limit_is_told() {
        let check = |counts: &[(u64, u64, bool)]| {
            let mut checked = Checked::default();
            counts.iter().enumerate().for_each(|(at, it)| checked.compare(at, it.0, it.1, it.2));
            checked.result().map_err(|error| error.to_string())
        };
        assert_eq!(check(&[(3, 3, true), (0, 0, true)]), Ok(3));
        assert!(
            check(&[(3, 3, true), (2, 1, true), (9, 1, true)])
                .unwrap_err()
                .contains("application 1: it counted 2")
        );
        assert!(check(&[(3, 3, false)]).unwrap_err().contains("above a limit"));
    }

    #[test]
    fn utilization_is_read_by_metric_and_period() {
        let row = |metric: &str, period: &str, current: u64, max: u64| json!({"metric_name": metric, "period": period, "current_value": current, "max_value": max});
        let metrics = ["b".to_owned()];
        let good = json!({"utilization": [row("a", "eternity", 9, 9), row("b", "day", 1, 2), row("b", "eternity", 4, 5)]});
        assert_eq!(utilization(&good, &metrics), (4, true));
        let above = json!({"utilization": [row("b", "eternity", 4, 5), row("a", "minute", 3, 2)]});
        assert_eq!(utilization(&above, &metrics), (4, false));
        assert_eq!(utilization(&json!({}), &metrics), (0, true));
    }
}
