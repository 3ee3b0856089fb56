//! The fields in which gateways tell their clients of limits. For those who ask: callers with `ratelimit_headers=1` in
//! `3scale-options`, and services that are set so (`ratelimit_headers`). With authorized calls and with those denied
//! for limits.
//!
//! | Field | What it says |
//! |---|---|
//! | `RateLimit-Policy` | the limits that bind this call: name, `q` maximum, `w` length of the open window in seconds |
//! | `RateLimit` | the tightest of them: name, `r` units left, `t` seconds until its window ends |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | `q`, `r` and `t` of that limit |
//! | `Retry-After` | on a denial: the seconds after which the same call may succeed |
//!
//! The first two are those of draft-ietf-httpapi-ratelimit-headers-10 (Structured Fields, RFC 9651), the three those
//! of its draft-03, which most products know. A limit's name is `METRIC/PERIOD`. Numbers are units of the metric, as in
//! usage reports, not calls, as in `3scale-limit-remaining`. What binds and what is tightest: [`Standing`].
//!
//! A limit for eternity has no `w`, `t` or `RateLimit-Reset`. Without a limit that binds there is none of the fields,
//! and without a time at which the call may succeed no `Retry-After`.

use std::fmt::Write as _;

use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::engine::Standing;
use crate::engine::request::{Answer, UsageReport};
use crate::model::time::window_secs;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The most bytes of `RateLimit-Policy`: a plan may have thousands of limits, and proxies refuse a head of more than
/// 8 KiB. The tightest limit comes first, and what does not fit is left off: the field is for information.
const POLICY_BYTES_MAX: usize = 4096;

/// The greatest integer of a structured field (RFC 9651, section 3.3.1); what is more is shown as this.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// Adds the fields to the head of an answer.
pub(super) fn add(headers: &mut HeaderMap, answer: &Answer<'_>) {
    let standing = answer.standing();
    let Some(tightest) = standing.tightest else { return };
    let left = tightest.left();
    let mut field = String::with_capacity(64);
    push_name(&mut field, answer, tightest);
    push_parameter(&mut field, 'r', left);
    if let Some(reset_s) = standing.reset_s {
        push_parameter(&mut field, 't', reset_s);
        headers.insert(RATELIMIT_RESET, reset_s.into());
    }
    insert(headers, RATELIMIT, &field);
    insert(headers, RATELIMIT_POLICY, &policies(answer, &standing));
    headers.insert(RATELIMIT_LIMIT, tightest.limit.max.into());
    headers.insert(RATELIMIT_REMAINING, left.into());
    if let Some(retry_after_s) = standing.retry_after_s {
        headers.insert(RETRY_AFTER, retry_after_s.into());
    }
}

fn policies(answer: &Answer<'_>, standing: &Standing<'_>) -> String {
    let is_other = |report: &&UsageReport| standing.tightest.is_none_or(|it| it.limit.id != report.limit.id);
    let others = standing.limits.iter().copied().filter(is_other);
    joined(standing.tightest.into_iter().chain(others).map(|report| policy(answer, report)))
}

fn policy(answer: &Answer<'_>, report: &UsageReport) -> String {
    let mut policy = String::with_capacity(32);
    push_name(&mut policy, answer, report);
    push_parameter(&mut policy, 'q', report.limit.max);
    if let Some((start, end)) = window_secs(report.limit.period, answer.windows) {
        push_parameter(&mut policy, 'w', end - start);
    }
    policy
}

/// The list of as many policies as fit into [`POLICY_BYTES_MAX`].
fn joined(policies: impl Iterator<Item = String>) -> String {
    let mut list = String::new();
    for policy in policies {
        let comma = if list.is_empty() { "" } else { ", " };
        if list.len() + comma.len() + policy.len() > POLICY_BYTES_MAX {
            break;
        }
        list.extend([comma, &policy]);
    }
    list
}

/// `"METRIC/PERIOD"`, a structured string. Such strings are ASCII, so what is not in the name is percent-encoded.
fn push_name(field: &mut String, answer: &Answer<'_>, report: &UsageReport) {
    let metric = answer.service.metrics.get(report.limit.slot);
    field.push('"');
    for byte in metric.map_or("", |metric| &metric.name).bytes() {
        match byte {
            b'"' | b'\\' => field.extend(['\\', char::from(byte)]),
            b' '..=b'~' if byte != b'%' => field.push(char::from(byte)),
            // Writing to memory does not fail.
            _ => drop(write!(field, "%{byte:02X}")),
        }
    }
    field.push('/');
    field.push_str(report.limit.period.name());
    field.push('"');
}

fn push_parameter(field: &mut String, name: char, value: u64) {
    field.extend([';', name, '=']);
    field.push_str(itoa::Buffer::new().format(value.min(INTEGER_MAX)));
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_policies_ends_at_its_bound() {
        let list = |last: usize| {
            let first = "a".repeat(POLICY_BYTES_MAX - 12);
            joined([first, "b".repeat(last), "c".to_owned()].into_iter())
        };
        assert_eq!(list(10).len(), POLICY_BYTES_MAX, "a comma, a blank and ten bytes fit");
        assert_eq!(list(11).len(), POLICY_BYTES_MAX - 12, "one more does not");
    }

    #[test]
    fn a_policy_of_the_longest_name_fits() {
        // A name of 255 bytes, all of them encoded, with the longest period and numbers.
        let longest = format!("\"{}/eternity\";q={INTEGER_MAX};w={INTEGER_MAX}", "%FF".repeat(255));
        assert!(longest.len() < POLICY_BYTES_MAX);
    }

    #[test]
    fn integers_end_at_fifteen_digits() {
        let shown = |value| {
            let mut field = String::new();
            push_parameter(&mut field, 'q', value);
            field
        };
        assert_eq!(shown(INTEGER_MAX), ";q=999999999999999");
        assert_eq!(shown(INTEGER_MAX + 1), ";q=999999999999999");
        assert_eq!(shown(INTEGER_MAX - 1), ";q=999999999999998");
    }
}
