//! HTTP: the listeners, 3scale's Service Management API on top of the engine, health and telemetry.
//!
//! | File | What it holds |
//! |---|---|
//! | `server`, `connection` | a listener and its connections: time limits, draining |
//! | `routes`, `health` | which path belongs to whom; `/healthz`, `/readyz`, `/metrics`; plugin routes |
//! | `dialect`, `auth`, `report` | the calls of 3scale's API, each in the order of its checks |
//! | `form`, `fields`, `body` | parameters: nested forms, the names that calls know, bodies (gzip, multipart) |
//! | `params`, `json` | all parameters of a request as one tree, for plugins; JSON objects within bounds |
//! | `plugins`, `turns` | the routes of plugins; whose call is carried out next |
//! | `bodies` | what all bodies together may take |
//! | `internal` | 3scale's internal API, by which another system pushes its configuration |
//! | `options`, `timestamp` | the `3scale-options` header; the dates that reports carry |
//! | `answer`, `xml` | answers, to the byte |
//! | `ratelimit` | the fields in which gateways tell clients of limits |
//! | `telemetry`, `top` | counters of the layer; who is denied most and nearest to a limit |
//! | `explain` | how a call would be decided, for operators |
//!
//! Parsing of HTTP itself is hyper's. Nothing here starts a runtime, reads a clock of its own for decisions
//! ([`Clock`](crate::listener::Clock) is given) or logs a parameter: parameters are credentials.

mod answer;
mod auth;
pub mod bodies;
pub mod body;
mod connection;
mod dialect;
mod durable;
mod explain;
mod fields;
pub mod form;
mod health;
mod idempotency;
pub mod internal;
mod json;
pub mod options;
pub mod params;
mod plugins;
mod ratelimit;
mod report;
mod routes;
mod server;
mod telemetry;
pub mod timestamp;
mod top;
mod turns;
mod xml;

pub use answer::Response;
pub use dialect::{API_VERSION, Dialect};
pub use explain::explain;
pub use health::{Health, Readiness};
pub use plugins::PluginRoutes;
pub use routes::{Answering, Extension, Routes};
pub use server::{Config, HEADERS_MAX, serve};
pub use telemetry::Telemetry;
