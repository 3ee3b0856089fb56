//! A session without a socket, for who wants to see what bytes do: fuzzing and tests.

use super::outbox::Outbox;
use super::server::Server;
use super::session::Session;
use crate::listener::Guest;

/// A conversation that is fed by hand.
pub struct Replay<'s> {
    server: &'s Server,
    session: Session,
    outbox: Outbox,
    unread: Vec<u8>,
}

impl<'s> Replay<'s> {
    /// One that begins now.
    #[must_use]
    pub fn new(server: &'s Server, guest: Guest) -> Replay<'s> {
        let (session, outbox) = (Session::new(guest), Outbox::default());
        Replay { server, session, outbox, unread: Vec::new() }
    }

    /// Takes bytes, and gives what is written for them. What would wait for the disk is given as if that were `durable`.
    pub fn receive(&mut self, bytes: &[u8], durable: bool) -> Vec<u8> {
        self.unread.extend_from_slice(bytes);
        let mut written = Vec::new();
        loop {
            let step = self.session.advance(self.server, &self.unread, &mut self.outbox);
            self.unread.drain(..step.used);
            if let Some(ticket) = self.outbox.awaited() {
                self.outbox.settle(ticket, durable);
            }
            written.extend_from_slice(&self.outbox.ready);
            self.outbox.written();
            if !step.is_full {
                return written;
            }
        }
    }

    /// Whether the client is let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session.is_open()
    }

    /// Whether nothing more is read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.is_over()
    }

    /// Bytes that are kept of a frame that is not whole.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread.len()
    }
}
