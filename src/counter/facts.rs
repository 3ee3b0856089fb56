//! Facts: what a decision reads of a subject's record, kept beside its counters so that a handle leads to all of it at
//! once. Written by commands only, in the lock hold that raises the shard's floor: a decision that meets a shard at its
//! own catalog version meets the facts of that catalog.

use crate::model::id::{ApplicationId, PlanId, Subject};
use crate::model::record::{Application, ApplicationState};

/// What the record of a subject says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Whose record.
    pub application: ApplicationId,
    /// Its plan.
    pub plan: PlanId,
    pub(super) flags: Flags,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Flags(u8);

const ACTIVE: u8 = 1;
const SHADOW: u8 = 2;
/// What leads to the subject changes with the next cut.
const ANNOUNCED: u8 = 4;

impl Flags {
    pub(super) fn announce(&mut self) {
        self.0 |= ANNOUNCED;
    }

    pub(super) fn is_announced(self) -> bool {
        self.0 & ANNOUNCED != 0
    }
}

impl Facts {
    /// What `application` says.
    #[must_use]
    pub fn of(application: &Application) -> Facts {
        let active = if application.state == ApplicationState::Active { ACTIVE } else { 0 };
        let shadow = if application.shadow { SHADOW } else { 0 };
        Facts { application: application.id, plan: application.plan, flags: Flags(active | shadow) }
    }

    /// Whether it may call.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.flags.0 & ACTIVE != 0
    }

    /// Whether it is in shadow.
    #[must_use]
    pub fn shadow(&self) -> bool {
        self.flags.0 & SHADOW != 0
    }
}

/// What a command changes of what is noted.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// Whose.
    pub subject: Subject,
    /// As they are from now on.
    pub facts: Facts,
    /// The pass that handles must have from now on; `None` keeps the one they have. With zero there is no handle.
    pub pass: Option<u32>,
}
