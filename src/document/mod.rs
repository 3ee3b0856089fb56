//! Catalog as code: what a tenant has set up, as one YAML document that people read, keep in a repository and compare.
//!
//! This room knows the document and nothing of a node: its [types], [reading](read) it with lines and columns, [checking](check) it,
//! [writing](render) it, and [what one document changes in another](diff). The admin API makes one of a tenant (`plugin::admin::document`) and carries one out; the
//! command line checks one without a node. Whatever else knows a catalog (another system's API, an [OpenAPI](openapi) description) makes a
//! [`Document`] and [`Secrets`], and goes the same way.
//!
//! # The document
//! - Records are known by their names, never by ids of the node: services, backends, plans, metrics and features by `system_name`, accounts by `org_name` (and
//!   `ordinal`, from 2, where several have the same), users by `username`, applications by service and `application_id`. Names are given once: another name is another record.
//! - Keys are called as the admin API's fields.
//! - **A key that is left out** leaves what there is as it is; of a new record it is what the admin API makes of nothing. A new record without a `name` is called by
//!   its system name. An empty text says that there is none.
//! - **Lists of records with names** (services, metrics, plans, applications ...) say what there must be; what else there is stays, unless the import prunes.
//!   A new record has what its lists say and nothing that the node would give it by itself.
//! - **Lists of values** (mapping rules, policies, limits, prices, keys, filters, a plan's features) are values: what is listed is what there will be.
//! - Secrets stand in a document of their own, and here as `secret: NAME`. A secret without a value keeps what there is in its place; where there is nothing, a new one is made.
//! - No times and no ids, and everything in one order: the same catalog is the same bytes.
//!
//! # YAML
//! One document, without anchors, aliases, tags and merge keys, nested at most [`node::DEPTH_MAX`] deep, of at most [`node::BYTES_MAX`] bytes. Plain texts are read by the core
//! schema of YAML 1.2; a text that would be read as something else there, or in YAML 1.1, is written in quotes.

mod canonical;
pub mod check;
pub mod diff;
pub mod endpoint;
pub mod node;
pub mod openapi;
mod problem;
pub mod read;
pub mod render;
mod secrets;
pub mod shape;
pub mod system_name;
pub mod types;
pub mod values;

pub(crate) use problem::{Path, Step};
pub use problem::{Problem, Spot};
pub use secrets::{Secrets, SecretsError};
pub use types::Document;
