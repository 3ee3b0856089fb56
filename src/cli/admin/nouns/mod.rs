//! The nouns and verbs of `tollgate admin`: a table. Words are 3scale's.

mod catalog;
mod people;
mod takes;

use self::catalog::{LIMIT_VERBS, METHOD_VERBS, METRIC_VERBS, PLAN_VERBS, SERVICE_VERBS};
use self::people::{
    ACCOUNT_VERBS, APP_VERBS, AUDIT_VERBS, KEY_VERBS, TENANT_VERBS, TOKEN_VERBS, USAGE_VERBS,
};
use super::verb::{Noun, Verb};

const fn noun(name: &'static str, about: &'static str, verbs: &'static [Verb]) -> Noun {
    Noun { name, about, is_masters: false, verbs }
}

/// All of it, in the order of help.
pub(super) const NOUNS: &[Noun] = &[
    Noun { is_masters: true, ..noun("tenant", "Tenants of the node, as its master", TENANT_VERBS) },
    noun("service", "Services (products)", SERVICE_VERBS),
    noun("metric", "What a service counts", METRIC_VERBS),
    noun("method", "Metrics below hits", METHOD_VERBS),
    noun("plan", "Application plans", PLAN_VERBS),
    noun("limit", "How much a plan allows", LIMIT_VERBS),
    noun("account", "Accounts: the organisations that applications belong to", ACCOUNT_VERBS),
    noun("app", "Applications: who calls", APP_VERBS),
    noun("key", "Keys of applications", KEY_VERBS),
    noun("token", "Access tokens of the admin API", TOKEN_VERBS),
    noun(
        "usage",
        "Show the limits of an application with what is counted now, or what an application or service used in the past",
        USAGE_VERBS,
    ),
    noun("audit", "The audit log: who changed what", AUDIT_VERBS),
];
