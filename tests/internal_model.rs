//! The internal API against a model of it in memory: calls in any order, what is read back, and what the data API then
//! decides. The node is restarted now and then, and must not show it.
//!
//! `SEED=7 cargo test --test internal_model` runs one sequence, `SEEDS=200` that many.

// Helpers of tests fail by panicking, like the tests themselves.
#![allow(clippy::unwrap_used)]
// What was run is told when it fails.
#![allow(clippy::print_stdout)]

mod common;
#[path = "internal_model/model.rs"]
mod model;
#[path = "internal_model/steps.rs"]
mod steps;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{Client, NOON, runtime};
use model::{Decision, Model};
use serde_json::Value;
use steps::{Call, Random};
use tokio::runtime::Runtime;
use tollgate::config::{Config, Login, Password};
use tollgate::listener::Clock;
use tollgate::model::time::UnixMillis;
use tollgate::node::Node;

const STEPS: usize = 150;

struct World {
    runtime: Runtime,
    config: Config,
    node: Option<Node>,
    client: Client,
    model: Model,
    /// How often each kind of call and question ended in which way.
    seen: BTreeMap<String, usize>,
}

impl World {
    fn start(data_dir: &Path) -> World {
        let runtime = runtime();
        let login = Login { user: "user".into(), password: Password::new("password") };
        // A checkpoint whenever there is anything new.
        let config = Config { internal_api: vec![login], checkpoint_bytes: 1, ..support::config(data_dir) };
        let node = start(&runtime, &config);
        let client = Client::connect(node.http);
        World { runtime, config, node: Some(node), client, model: Model::default(), seen: BTreeMap::new() }
    }

    fn restart(&mut self) {
        self.stop();
        let node = start(&self.runtime, &self.config);
        self.client = Client::connect(node.http);
        self.node = Some(node);
    }

    fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop()).unwrap();
        }
    }

    /// Makes a call of both, and compares: the code always, the whole answer if there is something to it.
    fn call(&mut self, call: &Call) {
        let (code, wanted) = self.model.answer(call);
        *self.seen.entry(format!("{} {code}", call.kind())).or_default() += 1;
        let (method, path, body) = call.request();
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} /internal{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\r\n\
             Content-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let answer = self.client.exchange(request.as_bytes());
        assert_eq!(answer.status, code, "{method} {path} {text}: {}", answer.text());
        if !wanted.is_null() {
            let mut found: Value = serde_json::from_slice(&answer.body).unwrap();
            // Why items of a batch fail is told in words that the model does not know; it knows how many.
            if let Some(failures) = found.get_mut("failures") {
                assert_eq!(
                    failures.as_array().map(Vec::len),
                    wanted["failed"].as_u64().map(|it| it as usize)
                );
                *failures = Value::Null;
            }
            assert_eq!(found, wanted, "{method} {path} {text}");
        }
    }

    /// Asks the data API, and the model.
    fn decide(&mut self, question: &steps::Question) {
        let wanted = self.model.decide(question);
        let reason = wanted.reason.clone().unwrap_or_default();
        *self.seen.entry(format!("decided {} {reason}", wanted.code)).or_default() += 1;
        let request = format!(
            "GET /transactions/authrep.xml?{} HTTP/1.1\r\nHost: a\r\n3scale-options: rejection_reason_header=1\r\n\r\n",
            question.query()
        );
        let answer = self.client.exchange(request.as_bytes());
        let text = answer.text();
        let found = Decision {
            code: answer.status,
            reason: answer.header("3scale-rejection-reason").map(str::to_owned),
            plan: text.split_once("<plan>").map(|(_, rest)| rest.split('<').next().unwrap().to_owned()),
        };
        assert_eq!(found, wanted, "{}: {text}", question.query());
    }

    fn read_everything_back(&mut self) {
        for call in steps::reads() {
            self.call(&call);
        }
    }
}

fn start(runtime: &Runtime, config: &Config) -> Node {
    // The model knows of no time.
    let clock: Clock = Arc::new(|| UnixMillis(NOON));
    runtime.block_on(Node::start(config, clock)).unwrap()
}

fn run(seed: u64) -> BTreeMap<String, usize> {
    println!("SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(dir.path());
    let mut random = Random::new(seed);
    for step in 1..=STEPS {
        world.call(&random.call());
        for _ in 0..3 {
            world.decide(&random.question(&world.model));
        }
        if random.one_in(60) || step == STEPS {
            world.restart();
            world.read_everything_back();
        }
    }
    world.stop();
    world.seen
}

/// Everything that must have happened for the test to say something.
const MUST_BE_SEEN: [&str; 32] = [
    "decided 200 ",
    "decided 403 ",
    "decided 404 ",
    "decided 409 application_key_invalid",
    "decided 409 referrer_not_allowed",
    "decided 409 application_not_active",
    "decided 409 service_not_active",
    "decided 409 limits_exceeded",
    "POST services 201",
    "POST services 400",
    "PUT services 200",
    "PUT services 400",
    "DELETE services 200",
    "DELETE services 400",
    "PUT change_provider_key 200",
    "PUT change_provider_key 400",
    "POST applications 201",
    "POST applications 405",
    "PUT applications 200",
    "PUT applications 400",
    "DELETE applications 200",
    "PUT batch 200",
    "PUT metrics 200",
    "PUT metrics 400",
    "PUT metrics 404",
    "DELETE metrics 200",
    "PUT usagelimits 200",
    "DELETE alert_limits 200",
    "POST alert_limits 400",
    "DELETE service_tokens 200",
    "GET utilization 200",
    "GET usagelimits 200",
];

#[test]
fn a_node_answers_like_the_model_whatever_comes_in_whatever_order() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SEED") {
        return drop(run(seed));
    }
    let mut seen = BTreeMap::new();
    for (what, count) in (0..number("SEEDS").unwrap_or(8)).flat_map(run) {
        *seen.entry(what).or_insert(0) += count;
    }
    println!("{seen:#?}");
    let missing: Vec<_> = MUST_BE_SEEN.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}
