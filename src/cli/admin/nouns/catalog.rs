//! Services with what they count, and plans with their limits.

use super::super::limits;
use super::super::verb::{Does, How, Is, Take, Verb};
use super::takes::*;

pub(super) const SERVICE_VERBS: &[Verb] = &[
    list(
        "List the services",
        &[],
        &["services"],
        &["id", "system_name", "name", "state", "backend_version", "created_at"],
    ),
    verb(
        "create",
        "Make a service with the metric hits",
        &[NAME, SYSTEM_NAME, BACKEND_VERSION, DESCRIPTION],
        Does::Call("POST", "services"),
    ),
    verb("show", "Show a service", &[SERVICE], Does::Call("GET", "services/{service}")),
    verb(
        "update",
        "Change a service",
        &[SERVICE, Take::flag("name", "NAME", "name", "Its new name"), BACKEND_VERSION, DESCRIPTION],
        Does::Call("PUT", "services/{service}"),
    ),
    verb(
        "delete",
        "Delete a service with all that belongs to it; not the last one, nor the default one",
        &[SERVICE],
        Does::Delete("services/{service}"),
    ),
    Verb {
        name: "tokens",
        about: "List the tokens with which gateways call for a service",
        takes: &[SERVICE],
        does: Does::List(&["services/{service}/service_tokens"]),
        columns: &["id", "value"],
    },
];

pub(super) const METRIC_VERBS: &[Verb] = &[
    list(
        "List the metrics and methods of a service",
        &[SERVICE],
        &["services/{service}/metrics"],
        &["id", "system_name", "friendly_name", "unit", "parent_id"],
    ),
    verb(
        "create",
        "Make a metric",
        &[
            SERVICE,
            NAME.as_field("friendly_name"),
            Take::flag("unit", "TEXT", "unit", "What it counts").how(How::Needed),
            SYSTEM_NAME,
            DESCRIPTION,
        ],
        Does::Call("POST", "services/{service}/metrics"),
    ),
    verb(
        "delete",
        "Delete a metric with its limits; hits stays",
        &[SERVICE, METRIC],
        Does::Delete("services/{service}/metrics/{metric}"),
    ),
];

pub(super) const METHOD_VERBS: &[Verb] = &[
    list(
        "List the methods of a service",
        &[SERVICE, HITS],
        &["services/{service}/metrics/{metric}/methods"],
        &["id", "system_name", "friendly_name", "description"],
    ),
    verb(
        "create",
        "Make a method: what it counts, hits counts too",
        &[SERVICE, HITS, NAME.as_field("friendly_name"), SYSTEM_NAME, DESCRIPTION],
        Does::Call("POST", "services/{service}/metrics/{metric}/methods"),
    ),
    verb(
        "delete",
        "Delete a method with its limits",
        &[SERVICE, HITS, METHOD],
        Does::Delete("services/{service}/metrics/{metric}/methods/{method}"),
    ),
];

const ONE_PLAN: &str = "services/{service}/application_plans/{plan}";

pub(super) const PLAN_VERBS: &[Verb] = &[
    list(
        "List the application plans of a service, or of all",
        &[OF_SERVICE],
        &["services/{service}/application_plans", "application_plans"],
        &["id", "service", "system_name", "name", "state", "default", "cost_per_month"],
    ),
    verb(
        "create",
        "Make a hidden application plan without limits",
        &[
            SERVICE,
            NAME,
            SYSTEM_NAME,
            DESCRIPTION,
            Take::flag("cost-per-month", "AMOUNT", "cost_per_month", "What it costs each month"),
            Take::flag("setup-fee", "AMOUNT", "setup_fee", "What it costs once"),
            Take::flag("trial-days", "DAYS", "trial_period_days", "How long it costs nothing at first"),
            Take::flag(
                "approval-required",
                "",
                "approval_required",
                "New applications wait until they are accepted",
            )
            .how(How::Switch),
        ],
        Does::Call("POST", "services/{service}/application_plans"),
    ),
    verb("show", "Show an application plan", &[IN_SERVICE, PLAN], Does::Call("GET", ONE_PLAN)),
    verb(
        "publish",
        "Show the plan to developers",
        &[IN_SERVICE, PLAN],
        Does::With("PUT", ONE_PLAN, ("state_event", "publish")),
    ),
    verb(
        "hide",
        "Hide the plan from developers; who is on it stays",
        &[IN_SERVICE, PLAN],
        Does::With("PUT", ONE_PLAN, ("state_event", "hide")),
    ),
    verb(
        "default",
        "Put new signups on this plan",
        &[IN_SERVICE, PLAN],
        Does::Call("PUT", "services/{service}/application_plans/{plan}/default"),
    ),
    verb("delete", "Delete a plan that no application is on", &[IN_SERVICE, PLAN], Does::Delete(ONE_PLAN)),
];

pub(super) const LIMIT_VERBS: &[Verb] = &[
    Verb {
        name: "list",
        about: "List the limits of an application plan",
        takes: &[IN_SERVICE, PLAN],
        does: Does::Own(limits::list),
        columns: &["id", "metric", "period", "value"],
    },
    verb(
        "set",
        "Set a limit of an application plan, whether it has one or not; it binds the next call",
        &[
            IN_SERVICE,
            PLAN,
            METRIC,
            PERIOD.as_field("period"),
            Take::place("value", "VALUE", Is::Text, "The most in a period; 0 allows nothing")
                .as_field("value"),
        ],
        Does::Own(limits::set),
    ),
    verb(
        "delete",
        "Take a limit of an application plan away",
        &[IN_SERVICE, PLAN, METRIC, PERIOD],
        Does::Own(limits::delete),
    ),
];
