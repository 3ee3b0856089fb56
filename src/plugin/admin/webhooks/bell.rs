//! What the thread that tells is told itself: that there is something, that a call has ended, and to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::NotPosted;
#[cfg(doc)]
use super::POST_TIMEOUT;

/// What the thread is told.
pub(super) enum News {
    /// There may be something in the outbox.
    Put,
    /// A call has ended.
    Sent { round: u64, tenant: u64, event: u64, answer: Result<u16, NotPosted>, took: Duration },
    /// The node stops.
    Stop,
}

/// Tells the thread that there is something in the outbox; rung by whoever gave the command.
#[derive(Default)]
pub(in super::super) struct Bell {
    pub(super) news: OnceLock<Sender<News>>,
    pub(super) is_rung: Arc<AtomicBool>,
}

impl Bell {
    /// There is something.
    pub(in super::super) fn ring(&self) {
        if let Some(news) = self.news.get()
            && !self.is_rung.swap(true, Ordering::AcqRel)
        {
            let _ = news.send(News::Put);
        }
    }
}

/// The thread at work.
pub struct Deliveries {
    pub(super) news: Sender<News>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Deliveries {
    /// Ends it, while commands can still be given and the journal be written: sends nothing more, waits for what is being sent, though no
    /// longer than [`POST_TIMEOUT`], and puts down what became of it.
    pub fn stop(mut self) {
        let _ = self.news.send(News::Stop);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of webhooks panicked");
        }
    }
}

impl Drop for Deliveries {
    /// The thread ends, whoever forgot it.
    fn drop(&mut self) {
        let _ = self.news.send(News::Stop);
    }
}
