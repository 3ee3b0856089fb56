//! Tenants, accounts, applications with keys and usage, access tokens, and what they did.

use super::super::verb::{Does, How, Is, Take, Verb};
use super::super::{keys, names, tenants, usage};
use super::takes::*;

/// Of a tenant, as the master has it.
const PROVIDER: &str = "providers/{tenant}";

pub(super) const TENANT_VERBS: &[Verb] = &[
    list(
        "List all tenants",
        &[],
        &["providers"],
        &["id", "org_name", "state", "admin_base_url", "created_at"],
    ),
    verb(
        "create",
        "Make a tenant with an administrator, a service and a developer; shows its access token, once",
        &[
            Take::place("org-name", "NAME", Is::Text, "What it is called").as_field("org_name"),
            USERNAME,
            EMAIL,
            PASSWORD_FILE,
            Take::flag(
                "subdomain",
                "NAME",
                "subdomain",
                "Its name below --domain [default: made of its name]",
            ),
        ],
        Does::Own(tenants::create),
    ),
    verb("show", "Show a tenant", &[TENANT], Does::Call("GET", PROVIDER)),
    verb(
        "suspend",
        "Refuse all calls with its credentials, from the next one on, on every port",
        &[TENANT],
        Does::With("PUT", PROVIDER, ("state_event", "suspend")),
    ),
    verb(
        "resume",
        "Take its calls again: of one that was suspended, or deleted less than 15 days ago",
        &[TENANT],
        Does::With("PUT", PROVIDER, ("state_event", "resume")),
    ),
    verb(
        "delete",
        "Refuse its calls, and take all that it has away in 15 days, unless it is resumed until then",
        &[TENANT],
        Does::Then("DELETE", PROVIDER, PROVIDER),
    ),
    Verb {
        columns: &["id", "name", "default", "services_max", "accounts_max", "applications_max"],
        ..verb("plans", "List the plans of tenants, with their quotas", &[], Does::List(&["plans"]))
    },
    verb(
        "create-plan",
        "Make a plan; where no quota is given there is none",
        &[
            Take::place("name", "NAME", Is::Text, "What it is called").as_field("name"),
            Take::flag("services-max", "N", "services_max", "The most services that a tenant on it may have"),
            Take::flag("accounts-max", "N", "accounts_max", "The most accounts"),
            Take::flag("applications-max", "N", "applications_max", "The most applications"),
        ],
        Does::Call("POST", "plans"),
    ),
    verb(
        "change-plan",
        "Put a tenant on another plan; what it has already stays",
        &[
            TENANT,
            Take::place("plan-id", "PLAN", Is::Text, "The plan, by its id (see `tenant plans`)")
                .as_field("plan_id"),
        ],
        Does::Then("PUT", "providers/{tenant}/plan_upgrade", PROVIDER),
    ),
];

pub(super) const ACCOUNT_VERBS: &[Verb] = &[
    list(
        "List the accounts",
        &[Take::flag("state", "STATE", "state", "Only those in this state")
            .among(&["created", "pending", "approved", "rejected"])],
        &["accounts"],
        &["id", "org_name", "state", "created_at"],
    ),
    verb(
        "create",
        "Sign an account up, with its first user and an application on each default plan",
        &[
            Take::place("org-name", "NAME", Is::Text, "What it is called").as_field("org_name"),
            USERNAME,
            EMAIL,
            Take {
                help: "File whose first line is the user's password [default: none, and the account waits for approval]",
                ..PASSWORD_FILE
            },
            IN_SERVICE,
            Take {
                how: How::Flag,
                help: "The plan of its application, by id or system name [default: each default plan]",
                ..PLAN.as_field("application_plan_id")
            },
        ],
        Does::Call("POST", "signup"),
    ),
    verb("show", "Show an account", &[ACCOUNT], Does::Call("GET", "accounts/{account}")),
    verb("approve", "Approve an account", &[ACCOUNT], Does::Call("PUT", "accounts/{account}/approve")),
    verb(
        "delete",
        "Delete an account with its users and applications",
        &[ACCOUNT],
        Does::Delete("accounts/{account}"),
    ),
];

const ONE_APP: &str = "accounts/{account}/applications/{app}";
const APP_COLUMNS: &[&str] = &["id", "state", "name", "service_name", "plan_name", "org_name", "created_at"];

pub(super) const APP_VERBS: &[Verb] = &[
    list(
        "List applications: all, or those of a service, a plan or an account",
        &[
            OF_SERVICE.as_field("service_id"),
            Take {
                how: How::Flag,
                help: "Only those on this application plan, by id or system name",
                ..PLAN.as_field("plan_id")
            },
            Take {
                how: How::Alone,
                help: "Only those of this account, by id, name, or username of one of its users",
                ..ACCOUNT
            },
        ],
        &["accounts/{account}/applications", "applications"],
        APP_COLUMNS,
    ),
    verb(
        "create",
        "Make an application; its keys are made with it",
        &[IN_SERVICE, ACCOUNT, PLAN.as_field("plan_id"), NAME, DESCRIPTION],
        Does::Call("POST", "accounts/{account}/applications"),
    ),
    verb("show", "Show an application", &[APP], Does::Call("GET", ONE_APP)),
    Verb {
        name: "find",
        about: "Find applications and accounts by id, key, or a part of their names",
        takes: &[Take::place("text", "TEXT", Is::Text, "What is known of it")],
        does: Does::Own(names::search),
        columns: &["type", "id", "name", "state", "service_id", "account_id"],
    },
    verb(
        "change-plan",
        "Put an application on another plan of its service",
        &[APP, PLAN.as_field("plan_id")],
        Does::Then("PUT", "accounts/{account}/applications/{app}/change_plan", ONE_APP),
    ),
    verb(
        "accept",
        "Let an application call that waits for approval",
        &[APP],
        Does::Call("PUT", "accounts/{account}/applications/{app}/accept"),
    ),
    verb(
        "suspend",
        "Refuse the application's calls, from the next one on",
        &[APP],
        Does::Call("PUT", "accounts/{account}/applications/{app}/suspend"),
    ),
    verb(
        "resume",
        "Take a suspended application's calls again",
        &[APP],
        Does::Call("PUT", "accounts/{account}/applications/{app}/resume"),
    ),
    verb("delete", "Delete an application", &[APP], Does::Delete(ONE_APP)),
];

pub(super) const KEY_VERBS: &[Verb] = &[
    list(
        "List the keys that belong to an app id",
        &[APP],
        &["accounts/{account}/applications/{app}/keys"],
        &["value", "created_at"],
    ),
    verb(
        "create",
        "Make a key more for an app id, and show it",
        &[
            APP,
            Take::flag("key-file", "FILE", "", "File whose first line is the key [default: a random one]")
                .is(Is::File),
        ],
        Does::Own(keys::create),
    ),
    verb(
        "rotate",
        "Make a new user key in place of the old one, which is refused from the next call on",
        &[APP],
        Does::Own(keys::rotate),
    ),
    verb(
        "delete",
        "Delete a key of an app id",
        &[APP, Take::place("key", "KEY", Is::Key, "The key, or as much of its beginning as no other has")],
        Does::Delete("accounts/{account}/applications/{app}/keys/{key}"),
    ),
];

pub(super) const TOKEN_VERBS: &[Verb] = &[
    list(
        "List the access tokens of who calls; not their values",
        &[],
        &["personal/access_tokens"],
        &["id", "name", "permission", "scopes", "expires_at"],
    ),
    verb(
        "create",
        "Make an access token, and show its value, once",
        &[
            NAME,
            Take::flag("scope", "SCOPE", "scopes", "What it is for; can be given more than once")
                .how(How::Repeated)
                .among(&["account_management", "stats", "finance", "cms", "policy_registry"]),
            Take::flag("permission", "HOW", "permission", "Reading, or writing too")
                .how(How::Needed)
                .among(&["ro", "rw"]),
            Take::flag(
                "expires-at",
                "TIME",
                "expires_at",
                "When it ends, such as 2030-01-31T00:00:00Z [default: never]",
            ),
        ],
        Does::Call("POST", "personal/access_tokens"),
    ),
    verb(
        "delete",
        "Delete an access token: it is refused from the next call on",
        &[Take::place("token", "TOKEN", Is::Token, "The token, by id or name")],
        Does::Delete("personal/access_tokens/{token}"),
    ),
];

pub(super) const USAGE_VERBS: &[Verb] = &[Verb {
    name: "",
    about: "",
    takes: &[
        Take {
            name: usage::APPLICATION,
            how: How::Maybe,
            help: "The application, by id, app id or user key: its limits with what is counted now; with any of the flags below what it used in the past",
            ..APP
        },
        Take::flag(
            "data-url",
            "URL",
            "",
            "For what is counted now: where gateways call the node, if that is elsewhere [default: as --url]",
        ),
        Take { how: How::Flag, help: "What this service was used in the past, by id or system name", ..SERVICE },
        Take { how: How::Flag, help: "What this application used in the past, by id, app id or user key", ..APP },
        Take::flag("metric", "METRIC", "", "Of this metric or method, by id or system name [default: hits]"),
        Take::flag(
            "period",
            "PERIOD",
            "",
            "So long: until now, or from --since on [default: month, unless --granularity or --until is there]",
        )
        .among(&["day", "week", "month", "year"]),
        Take::flag("since", "TIME", "", "From this date or time on, such as 2026-01-31 or '2026-01-31 15:00'"),
        Take::flag("until", "TIME", "", "Up to this date or time [default: now]"),
        Take::flag("granularity", "WHAT", "", "By the hour (90 days at most), day (a year) or month (ten years) [default: day; with --period as it is long]")
            .among(&["hour", "day", "month"]),
        Take::flag("timezone", "ZONE", "", "Days and months of this time zone, such as Madrid or America/Los_Angeles [default: UTC]"),
        Take::flag("top", "", "", "With --service: its ten applications with most use in the calendar's own --period around --since [default: the current month]")
            .how(How::Switch),
    ],
    does: Does::Own(usage::show),
    columns: &["metric", "period", "current_value", "max_value", "period_end"],
}];

pub(super) const AUDIT_VERBS: &[Verb] = &[list(
    "List changes, the newest first",
    &[
        Take::flag("type", "TYPE", "object_type", "Only of such records, such as service or application"),
        Take::flag("id", "ID", "object_id", "Only of the record with this id"),
        Take::flag("user", "USER", "user", "Only by this user, by id or name"),
        Take::flag("since", "TIME", "since", "Only from this date or time on"),
        Take::flag("until", "TIME", "until", "Only before this date or time"),
    ],
    &["audit_log"],
    &["id", "created_at", "user", "access_token", "method", "path"],
)];
