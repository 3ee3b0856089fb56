//! Tollgate: an embedded rate-limit, counter and metering daemon.
//!
//! One node answers "may this application make this call? count it" (authrep) exactly, in microseconds, and never
//! loses what it acknowledged as durable. The README says how to run it; this page is the map for who works on it.
//!
//! # Rooms
//! | Module | What it is | May import |
//! |---|---|---|
//! | [`model`] | the pure domain: ids, time, metrics, usage, limits, catalog, decisions | nothing of ours |
//! | [`counter`] | the counter store: the truth while the node runs | model |
//! | [`journal`] | every change in order, on disk: the truth across restarts | model |
//! | [`store`] | write-once checkpoints (sled), slices of remembered ids, plugins' shelves (redb) | model, journal, counter's images |
//! | [`engine`] | decisions, reports, commands: the only way to change usage or catalog | model, counter, journal |
//! | [`document`] | catalog as code: the YAML document, reading, checking, writing, comparing it | model, rules |
//! | [`migrate`] | what a running 3scale has set up, as a document | document, outgoing |
//! | [`plugin`] | what is derived from the journal beside the decisions: events, integration errors | model, journal, store's shelves, engine, document, outgoing, rules |
//! | [`rules`] | mapping rules: which a call matches, and what it counts; pure | nothing of ours |
//! | [`wire`] | the binary protocol: frames, requests, answers, codes; no sockets | model |
//! | [`listener`] | what all listeners share: caps, certificates, budgets for wrong credentials, sending clients away | model |
//! | [`http`] | 3scale's dialect, its internal API, health, telemetry, over HTTP | engine, model, plugin, listener |
//! | [`tcp`] | the server of the binary protocol, over TCP and a Unix socket | engine, model, wire, listener |
//! | [`outgoing`] | calls that go out, and which addresses they may reach | nothing of ours |
//! | [`config`] | flags, variables and file, checked | outgoing's addresses |
//! | [`gateway`] | the test gateway, a process of its own: what it takes, maps, asks for and sends on | rules, outgoing, listener |
//! | [`node`] | assembly: opens, recovers, starts, stops, hands over, shows what it holds | all |
//! | [`cli`] | the command line; its load generator is a client of the protocol | config, node, gateway, listener's clock, wire, model, document, outgoing, migrate |
//!
//! `tests/architecture.rs` holds these arrows and what else of the plan can be held mechanically.
//!
//! # Invariants
//! 1. The model has no I/O, lock, clock or serde. Time is an argument; a clock is read at the edge.
//! 2. A decision never waits for a disk, and allocates nothing per request once warm but its answer.
//! 3. A denied request changes nothing. An admitted one changes every counter it names, ancestors included, or none.
//! 4. A denial is a value, not an error. Errors are small enums, one per module.
//! 5. What was acknowledged as durable survives, once.
//! 6. Numbers on disk are explicit and never reused.
//! 7. Every limit on what comes from outside has a name, a reason and a test.
//! 8. Nothing of one tenant is ever felt by another.
//! 9. Only `store` names sled and redb; only `node` starts a runtime, and the test gateway, which is another process.
//!
//! # Glossary
//! - *node*: this process. *Tenant*: 3scale's provider account. *Master*: who makes tenants. *Service*: product.
//! - *check* reads, *count* writes. *Append* to the journal, *flush* to disk.
//! - *subject*: whose counters they are: an application. *Slot*: the place of a metric among a service's counters.
//! - *window*: one calendar span of a period. *Cell*: all seven windows of one metric that are open now.
//! - *cut*: taking what was counted since the last cut, to be journalled. *Sequence*: the place of a journal entry.
//! - *promise*: what an answer says of the durability of what its call counted: durable or interval.
//! - *contract version*: the catalog version under which usage was decided.

pub mod cli;
pub mod config;
pub mod counter;
pub mod document;
pub mod engine;
pub mod gateway;
pub mod http;
pub mod journal;
pub mod listener;
pub mod migrate;
pub mod model;
pub mod node;
pub mod outgoing;
pub mod plugin;
pub mod rules;
pub mod store;
pub mod tcp;
pub mod wire;
