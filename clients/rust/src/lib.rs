//! A client of Tollgate, the rate-limit and metering daemon.
//!
//! Asks a node "may this application make this call? count it" over TCP, a Unix socket or TLS, for every request of a
//! gateway and from as many tasks as it has: calls are pipelined over a few connections, those that wait at the same time
//! share a write, and credentials are sent once and become a handle.
//!
//! ```no_run
//! use std::time::Duration;
//! use tollgate_client::{Access, Address, Application, Call, Client, Options};
//!
//! # async fn example() -> Result<(), tollgate_client::Error> {
//! let access = Access::ServiceToken { service: "7".to_owned(), token: "a service token".to_owned() };
//! let client = Client::new(Address::Tcp("127.0.0.1:3001".to_owned()), access, Options::default())?;
//! client.ready(Duration::from_secs(5)).await?;
//!
//! let application = Application::user_key("the caller's key");
//! let verdict = client.authrep(&Call::new(&application).usage("hits", 1)).await?;
//! if !verdict.allowed() {
//!     // 429, or 403: verdict.decision() says why, and when it may come again.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Client`]: the calls. [`Options`]: sizes, times, and the [`Policy`] for when the node is away.
//! - [`Call`]: which [`Application`] uses how much of what. [`Binding`]: the same by handle, asked for beforehand.
//! - [`Reservation`]: for costs known only afterwards. [`Batch`]: several calls, all or none if need be.
//! - [`Verdict`]: yes or no is a value; [`Error`] is for what went wrong, and says whether it may have been counted.
//! - [`codec`]: the protocol itself as plain types, for who wants to speak it without the rest.
//!
//! Each item says its units; times are [`Duration`](std::time::Duration)s where callers give them, and milliseconds in
//! what the node says. `README.md` says what is sent again, and why the rest is not.

mod access;
mod address;
mod application;
mod ask;
mod batch;
mod binding;
mod call;
mod client;
pub mod codec;
mod connection;
mod counters;
mod error;
mod line;
mod options;
mod policy;
mod reservation;
#[cfg(feature = "tls")]
mod tls;

pub use access::Access;
pub use address::Address;
pub use application::Application;
pub use batch::{Batch, BatchOutcome, Item};
pub use binding::Binding;
pub use call::{Call, Durability};
pub use client::{Client, Verdict};
pub use codec::{
    Decision, LimitRow, Outcome, Period, Pong, Reason, Receipt, Refusal, Standing, Stats, Status,
};
pub use connection::Session;
pub use counters::Counters;
pub use error::{Away, ConnectError, Error};
pub use options::{CONNECTIONS_MAX, Coalesce, Options};
pub use policy::{LOCAL_APPLICATIONS_MAX, Policy, Share};
pub use reservation::{Reservation, Reserved, Settled};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

/// The manual's examples, to see that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Manual;
