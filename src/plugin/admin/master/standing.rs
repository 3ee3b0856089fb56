//! How a tenant stands: 3scale's states of a provider account, and what leads from one to another.
//!
//! ```text
//!   created, pending, rejected --approve--> approved <--resume-- suspended, scheduled_for_deletion
//!   created, pending, approved --reject--> rejected
//!   created, approved, rejected --make_pending--> pending
//!   all but suspended and scheduled_for_deletion --suspend--> suspended
//!   all but scheduled_for_deletion --DELETE--> scheduled_for_deletion --15 days--> gone
//! ```
//! Only an approved tenant's calls are taken; whatever else it is, all its credentials are refused on every port. Nothing that it owns changes
//! meanwhile, so that it comes back whole.

use serde::{Deserialize, Serialize};

use crate::model::record::TenantState;

/// How a tenant stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(in crate::plugin::admin) enum Standing {
    Created,
    Pending,
    /// Also what stands for a tenant that came otherwise.
    #[default]
    Approved,
    Rejected,
    Suspended,
    ScheduledForDeletion,
}

/// What the master does to a tenant (`state_event`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    MakePending,
    Approve,
    Reject,
    Suspend,
    Resume,
}

impl Standing {
    /// 3scale's name of it.
    pub(in crate::plugin::admin) fn name(self) -> &'static str {
        match self {
            Standing::Created => "created",
            Standing::Pending => "pending",
            Standing::Approved => "approved",
            Standing::Rejected => "rejected",
            Standing::Suspended => "suspended",
            Standing::ScheduledForDeletion => "scheduled_for_deletion",
        }
    }

    /// What the catalog says of such a tenant.
    pub(super) fn state(self) -> TenantState {
        if self == Standing::Approved { TenantState::Active } else { TenantState::Suspended }
    }

    /// What it is after an event; none if there is no such event here.
    pub(super) fn after(self, event: Event) -> Option<Standing> {
        use Standing::{Approved, Created, Pending, Rejected, ScheduledForDeletion, Suspended};
        let (from, to): (&[Standing], _) = match event {
            Event::MakePending => (&[Created, Approved, Rejected], Pending),
            Event::Approve => (&[Created, Pending, Rejected], Approved),
            Event::Reject => (&[Created, Pending, Approved], Rejected),
            Event::Suspend => (&[Created, Pending, Approved, Rejected], Suspended),
            Event::Resume => (&[Suspended, ScheduledForDeletion], Approved),
        };
        from.contains(&self).then_some(to)
    }
}

impl Event {
    const ALL: [Event; 5] =
        [Event::MakePending, Event::Approve, Event::Reject, Event::Suspend, Event::Resume];

    /// 3scale's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Event::MakePending => "make_pending",
            Event::Approve => "approve",
            Event::Reject => "reject",
            Event::Suspend => "suspend",
            Event::Resume => "resume",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_events_and_no_others() {
        use Standing::{Approved, Created, Pending, Rejected, ScheduledForDeletion, Suspended};
        // In the order of Event::ALL.
        let table = [
            (Created, [Some(Pending), Some(Approved), Some(Rejected), Some(Suspended), None]),
            (Pending, [None, Some(Approved), Some(Rejected), Some(Suspended), None]),
            (Approved, [Some(Pending), None, Some(Rejected), Some(Suspended), None]),
            (Rejected, [Some(Pending), Some(Approved), None, Some(Suspended), None]),
            (Suspended, [None, None, None, None, Some(Approved)]),
            (ScheduledForDeletion, [None, None, None, None, Some(Approved)]),
        ];
        for (standing, expected) in table {
            assert_eq!(Event::ALL.map(|event| standing.after(event)), expected, "{}", standing.name());
            assert_eq!(standing.state() == TenantState::Active, standing == Approved);
        }
        assert!(Event::ALL.into_iter().all(|event| Event::parse(event.name()) == Some(event)));
    }
}
