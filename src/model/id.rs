//! Identities. Ids are u64 from one node-wide sequence, rendered as decimal, and never used twice.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// A tenant: 3scale's provider account.
    TenantId,
    /// An account of a tenant: the organisation that owns applications.
    AccountId,
    /// A service, which 3scale's later documents call a product.
    ServiceId,
    /// A metric or method of a service.
    MetricId,
    /// An application plan of a service.
    PlanId,
    /// A limit of a plan.
    LimitId,
    /// An application.
    ApplicationId,
}

/// The place of a metric among the counters of its service: small, dense, never given to another metric.
///
/// Slots from [`MetricSlot::RESPONSE_CODES`] up are not metrics but the response codes a service counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MetricSlot(pub u32);

impl MetricSlot {
    /// The first slot that counts response codes instead of a metric; see [`crate::model::usage::response_code_slots`].
    pub const RESPONSE_CODES: u32 = 0xFFFF_0000;
}

/// Where a subject's counters lie: an index, and a generation that tells its occupant from earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subject {
    /// Position in the counter store, reused after a deletion.
    pub index: u32,
    /// Raised at each reuse of `index`, so that a stale holder is noticed.
    pub generation: u32,
}

impl Subject {
    /// The subject of a record that is not (or not yet) in the counter store.
    pub const NONE: Subject = Subject { index: u32::MAX, generation: u32::MAX };
}
