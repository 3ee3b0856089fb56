//! The server of the binary protocol, over TCP and a Unix socket. `proto/README.md` says what is spoken, [`wire`] reads
//! and writes it.
//!
//! | File | What it holds |
//! |---|---|
//! | `server`, `connection` | sockets: reading what is there, deciding all of it, writing once; time limits, leaving |
//! | `session` | one conversation, from opening to end, as a function of bytes: no socket, no timer |
//! | `greeting` | HELLO and PROOF: who calls, and for which services |
//! | `call`, `usage`, `receipt`, `batch`, `together`, `query` | what each operation does |
//! | `refused` | how a request fares that was not carried out |
//! | `outbox` | what is ready to be written, and what waits for the disk |
//! | `secrets` | the node secret |
//! | `replay` | a session without a socket, for tests and fuzzing |
//! | `telemetry` | counters |
//!
//! # A session
//! ```text
//! opening -> HELLO -> (CHALLENGE -> PROOF ->) open -> over
//! ```
//! `Session::advance` takes the bytes that have come, answers every whole frame among them and says how many it used. All
//! frames that came together are decided by one look at the clock and at the catalog ([`Moment`]), and their answers leave
//! in one write. It never waits: an answer that needs the disk is put aside (`outbox`) and the next frame is
//! decided; when the disk has it, it is written, whatever was answered meanwhile.
//!
//! # Budgets of a connection
//! | What | Bound | Beyond it |
//! |---|---|---|
//! | requests without an answer | the window, at most [`WINDOW_MAX`] | OVERLOADED |
//! | answers that wait for the disk | 256 KiB, or one | OVERLOADED |
//! | answers that are not written | 256 KiB and one answer | nothing more is decided |
//! | anything unwritten | | nothing more is read |
//! | a frame | 64 KiB, or what WELCOME granted | the end |
//! | frames above 64 KiB, of all connections | [`LARGE_FRAMES_BYTES_MAX`] bytes of room | 64 KiB are granted |
//! | from connecting to WELCOME | `head_timeout_s` | GOAWAY, the end |
//! | between two whole frames | `idle_timeout_s`; bytes of a frame that does not end do not count | GOAWAY, the end |
//! | taking answers | `idle_timeout_s` without any progress | the end |
//!
//! Connections of a listener and of a peer are bounded by [`listener`](crate::listener), wrong proofs by its guesses. Who is
//! let in by a token or secret that is taken away afterwards is sent away with its next frames.
//!
//! # Locks
//! None of its own are held across a decision. Within the engine the order is the engine's; a session takes no lock while
//! it is in there.
//!
//! # Leaving
//! When the node stops or hands over, GOAWAY is sent at once and everything that still comes is answered, until the client
//! has closed or [`GRACE`] is over. In a hand-over connections that come after it has begun are told only when the node
//! closes, or they would be sent from pillar to post.
//!
//! [`wire`]: crate::wire
//! [`Moment`]: crate::engine::Moment

mod ahead;
mod batch;
mod call;
mod connection;
mod greeting;
mod outbox;
mod promise;
mod query;
mod receipt;
mod refused;
pub mod replay;
pub mod secrets;
mod server;
mod session;
mod telemetry;
mod together;
mod usage;

pub use connection::GRACE;
pub use greeting::LARGE_FRAMES_BYTES_MAX;
pub use secrets::{Secrets, SecretsError};
pub use server::{Config, Opens, Server, UnixUser, serve};
pub use session::WINDOW_MAX;
pub use telemetry::{Note, Telemetry};
