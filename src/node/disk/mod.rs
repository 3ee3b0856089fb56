//! Watching the room on the disk, so that what is needed least is left out before the disk is full.
//!
//! Once a second the file system of the data directory is asked (`statvfs`) how much of it is free for us. There are two
//! bounds, each the lesser of a number of bytes, which is configured, and of a part of the disk: a tenth of ten terabytes is no
//! emergency, and neither is a whole disk that is smaller than that number.
//!
//! | Less is free than | Level | What is left out ([`Space`]) |
//! |---|---|---|
//! | `disk_low_mib`, or a tenth of the disk | low | plugins put off writing to their shelves, but for the history of usage |
//! | `disk_critical_mib`, or a twentieth of the disk | critical | durable requests are refused, too |
//!
//! The history of usage is nothing that a plugin could take in later ([`Derive::HOLDS`](crate::plugin::follower::Derive::HOLDS)): the journal would be kept for it, and
//! that is more than what it writes.
//!
//! The level rises with the first look that finds less, and falls when a quarter more than the bound is free, so that what
//! comes and goes with each checkpoint does not move it to and fro. Nothing needs a restart. Checkpoints are made at every
//! level: they need room for a while, but let the journal be pruned, which is what grows.
//!
//! On a very small disk, as of some mebibytes, the parts are smaller than a segment of the journal is: durable requests are
//! then refused because the journal cannot be written, as they are when a disk fills up within a second. A file system that
//! says it has no size is taken to have room; so is one that does not answer, until it does.

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{Engine, Space};

/// How often the disk is looked at.
const INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// The part of the disk that is free when it is low, and when that is critical, at most.
const LOW_PART: u64 = 10;
const CRITICAL_PART: u64 = 20;

/// A level is left when this part of its bound is free beyond it.
const MARGIN_PART: u64 = 4;

/// What a file system says of itself, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// What we may still use.
    pub(super) free: u64,
    /// All of it; zero if it does not say.
    pub(super) total: u64,
}

/// Asks the file system.
pub(super) type Look = Arc<dyn Fn() -> io::Result<Room> + Send + Sync>;

/// Asks the file system that `path` is on.
pub(super) fn look_at(path: &Path) -> Look {
    let path = path.to_owned();
    Arc::new(move || {
        let found = rustix::fs::statvfs(&path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    })
}

/// The least that must be free, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    low: u64,
    critical: u64,
}

impl Bounds {
    /// Those for a disk of that size.
    fn of(self, total: u64) -> Bounds {
        Bounds { low: self.low.min(total / LOW_PART), critical: self.critical.min(total / CRITICAL_PART) }
    }

    /// The level that comes after `before`.
    fn level(self, room: Room, before: Space) -> Space {
        let Bounds { low, critical } = self.of(room.total);
        let is_short = |bound: u64, was_short: bool| {
            let margin = if was_short { bound / MARGIN_PART } else { 0 };
            room.free < bound.saturating_add(margin)
        };
        if is_short(critical, before == Space::Critical) {
            Space::Critical
        } else if is_short(low, before >= Space::Low) {
            Space::Low
        } else {
            Space::Enough
        }
    }
}

/// The disk of a node.
pub(super) struct Disk {
    engine: Arc<Engine>,
    look: Look,
    bounds: Bounds,
    /// What the last look found; none while it fails.
    room: Mutex<Option<Room>>,
    free: Gauge,
    level: Gauge,
}

impl Disk {
    /// Looks for the first time. Waits for the file system.
    pub(super) fn new(engine: &Arc<Engine>, look: Look, config: &Config) -> Arc<Disk> {
        let disk = Disk {
            engine: Arc::clone(engine),
            look,
            bounds: Bounds { low: config.disk_low_bytes, critical: config.disk_critical_bytes },
            room: Mutex::new(Some(Room { free: 0, total: 0 })),
            free: metrics::gauge!("tollgate_disk_free_bytes"),
            level: metrics::gauge!("tollgate_disk_level"),
        };
        disk.look();
        Arc::new(disk)
    }

    /// Looks every second until `shutdown`, where waiting for a file system keeps nobody.
    pub(super) async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let disk = Arc::clone(&self);
            let looking = tokio::task::spawn_blocking(move || disk.look());
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = looking => {}
            }
        }
    }

    fn look(&self) {
        let before = self.engine.space();
        let found = (self.look)();
        let known = std::mem::replace(&mut *self.room.lock(), found.as_ref().ok().copied());
        let room = match found {
            Ok(room) => room,
            Err(error) if known.is_some() => {
                return tracing::warn!(%error, "the file system does not say how much of it is free");
            }
            Err(_) => return,
        };
        let level = self.bounds.level(room, before);
        self.engine.set_space(level);
        self.free.set(room.free as f64);
        self.level.set(f64::from(level as u8));
        if level != before {
            tell(level, room);
        }
    }

    /// Why the node should get no traffic, as far as the disk is concerned.
    pub(super) fn reason(&self) -> Option<String> {
        let is_so = self.engine.space() == Space::Critical;
        is_so.then(|| format!("the disk is nearly full{}: reports are refused, decisions go on", self.left()))
    }

    /// What should be known of the disk though traffic may come.
    pub(super) fn note(&self) -> Option<String> {
        let is_so = self.engine.space() == Space::Low;
        is_so.then(|| format!("the disk has little room{}: events and errors are written later", self.left()))
    }

    fn left(&self) -> String {
        let room = *self.room.lock();
        room.map_or_else(String::new, |room| format!(" ({} MiB free)", room.free >> 20))
    }
}

fn tell(level: Space, room: Room) {
    let (free_mib, total_mib) = (room.free >> 20, room.total >> 20);
    match level {
        Space::Enough => tracing::info!(free_mib, "the disk has room again"),
        Space::Low => {
            tracing::warn!(
                free_mib,
                total_mib,
                "the disk has little room: plugins put off what they write, but for the history of usage"
            );
        }
        Space::Critical => tracing::error!(
            free_mib,
            total_mib,
            "the disk is nearly full: what would be durable is refused, decisions go on"
        ),
    }
}
