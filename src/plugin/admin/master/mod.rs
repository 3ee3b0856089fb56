//! The master API, `/master/api`: who runs the node makes tenants, suspends, deletes and bounds them.
//!
//! # The master
//! The master is a tenant that the catalog does not have: number 0. Its users and access tokens are records like those of others, so its
//! tokens are made, listed and taken away by the usual `/admin/api/personal/access_tokens`; nothing else of a tenant's API answers it but its audit
//! log. It sees no tenant's services, accounts or tokens. Its first token is what `TOLLGATE_MASTER_TOKEN` says when there is no master yet;
//! without, there is none, and nothing under `/master/api` answers.
//!
//! # Tenants
//! A tenant begins whole, in one command: an administrator with a token, fields, an account plan, the service `API` before an echoing backend, and a
//! developer with an application. How it stands is in [`standing`]; what it may have in [`plans`]; how it goes in [`passing`].
//!
//! The original wraps a tenant in `signup`, wherever it shows one.

pub(super) mod passing;
pub(super) mod plans;
pub(super) mod providers;
pub(super) mod standing;
pub(super) mod start;

use super::routes::Route;

/// Where the API lies.
pub(super) const ROOT: &str = "/master/api";

/// The routes below [`ROOT`].
pub(super) const ROUTES: &[&[Route]] = &[providers::ROUTES, plans::ROUTES];
