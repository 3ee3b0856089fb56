//! What more than one verb takes, and how verbs are written down.

use super::super::verb::{Does, How, Is, Take, Verb};

pub(super) const TENANT: Take = Take::place("tenant-id", "TENANT", Is::Tenant, "The tenant, by id or name");
pub(super) const SERVICE: Take =
    Take::place("service", "SERVICE", Is::Service, "The service, by id or system name");
pub(super) const IN_SERVICE: Take =
    Take { how: How::Flag, help: "The service whose plan it is, by id or system name", ..SERVICE };
pub(super) const OF_SERVICE: Take =
    Take { how: How::Flag, help: "Only those of this service, by id or system name", ..SERVICE };
pub(super) const HITS: Take = Take::place("hits", "", Is::Metric, "").how(How::Always("hits"));
pub(super) const METRIC: Take =
    Take::place("metric", "METRIC", Is::Metric, "The metric or method, by id or system name");
pub(super) const METHOD: Take =
    Take::place("method", "METHOD", Is::Method, "The method, by id or system name");
pub(super) const PLAN: Take =
    Take::place("plan", "PLAN", Is::Plan, "The application plan, by id or system name");
pub(super) const ACCOUNT: Take = Take::place(
    "account",
    "ACCOUNT",
    Is::Account,
    "The account, by id, name, or username of one of its users",
);
pub(super) const APP: Take = Take::place("app", "APP", Is::App, "The application, by id, app id or user key");
pub(super) const NAME: Take = Take::place("name", "NAME", Is::Text, "What people call it").as_field("name");
pub(super) const PERIOD: Take =
    Take::place("period", "PERIOD", Is::Text, "Over which time it counts").among(PERIODS);
pub(super) const PERIODS: &[&str] = &["minute", "hour", "day", "week", "month", "year", "eternity"];

pub(super) const SYSTEM_NAME: Take =
    Take::flag("system-name", "NAME", "system_name", "What scripts call it [default: made of the name]");
pub(super) const DESCRIPTION: Take =
    Take::flag("description", "TEXT", "description", "What people should know of it");
pub(super) const BACKEND_VERSION: Take = Take::flag(
    "backend-version",
    "HOW",
    "backend_version",
    "How applications identify themselves: 1 is by a user key, 2 by an app id with keys",
)
.among(&["1", "2", "oauth", "oidc"]);
pub(super) const USERNAME: Take =
    Take::flag("username", "NAME", "username", "The login of its first user").how(How::Needed);
pub(super) const EMAIL: Take =
    Take::flag("email", "ADDRESS", "email", "The address of its first user").how(How::Needed);
pub(super) const PASSWORD_FILE: Take = Take::flag(
    "password-file",
    "FILE",
    "password",
    "File whose first line is the user's password [default: one that nobody knows]",
)
.is(Is::File);

/// A verb that shows a list in these columns.
pub(super) const fn list(
    about: &'static str,
    takes: &'static [Take],
    paths: &'static [&'static str],
    columns: &'static [&'static str],
) -> Verb {
    Verb { name: "list", about, takes, does: Does::List(paths), columns }
}

pub(super) const fn verb(
    name: &'static str,
    about: &'static str,
    takes: &'static [Take],
    does: Does,
) -> Verb {
    Verb { name, about, takes, does, columns: &[] }
}
