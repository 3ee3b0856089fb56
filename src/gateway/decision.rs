//! What the node decides: `authrep`, asked as APIcast asks, and its answer read as APIcast reads it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::content::{Content, Refused};
use super::credentials::Credentials;
use crate::outgoing::{Http, Request, Response};

/// Why a call does not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Denied {
    /// The node says so.
    Refused(Refused),
    /// The node says nothing that can be gone by; in words.
    Unknown(String),
}

/// Asks the node whether a call may pass, and has it counted.
///
/// # Errors
/// It may not.
pub(super) fn ask(
    http: &Http,
    content: &Content,
    credentials: &Credentials,
    usage: &[(&str, u64)],
) -> Result<(), Denied> {
    let mut query = format!("service_id={}", content.service);
    let mut add = |name: &str, value: &str| {
        query.push('&');
        query.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
        query.push('=');
        query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    };
    add("service_token", &content.token);
    for (name, value) in credentials {
        add(name, value);
    }
    for (metric, delta) in usage {
        add(&format!("usage[{metric}]"), &delta.to_string());
    }
    let endpoint = content.proxy.backend.endpoint.trim_end_matches('/');
    let url = format!("{endpoint}/transactions/authrep.xml?{query}");
    let headers = [("3scale-options", "rejection_reason_header=1&limit_headers=1&no_body=1")];
    let answered = http.call(&Request { method: "GET", url: &url, headers: &headers, body: &[] });
    // The URL has credentials: it is not part of what is said.
    read(&answered.map_err(|error| Denied::Unknown(format!("the node does not answer: {error}")))?)
}

fn read(answer: &Response) -> Result<(), Denied> {
    match answer.status {
        200 => Ok(()),
        status if !(400..499).contains(&status) => Err(Denied::Unknown(format!("the node answers {status}"))),
        _ => Err(Denied::Refused(refused(answer))),
    }
}

/// A limit of 0 means that the metric is off, which no waiting changes.
fn refused(answer: &Response) -> Refused {
    let number = |name: &str| answer.header(name).and_then(|text| text.trim().parse::<i64>().ok());
    let is_limit = answer.header("3scale-rejection-reason") == Some("limits_exceeded");
    if is_limit && number("3scale-limit-max-value") != Some(0) {
        // A limit for all time has no reset: it says -1.
        Refused::Exceeded(number("3scale-limit-reset").and_then(|seconds| u64::try_from(seconds).ok()))
    } else {
        Refused::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Result<(), Denied> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(&Response { status, headers, body: Vec::new() })
    }

    #[test]
    fn a_limit_of_nothing_is_a_failure_and_any_other_is_exceeded() {
        let reason = ("3scale-rejection-reason", "limits_exceeded");
        let refused = |headers: &[(&str, &str)]| match answer(409, headers) {
            Err(Denied::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        };
        let max = |value| ("3scale-limit-max-value", value);
        assert_eq!(refused(&[reason, max("0"), ("3scale-limit-reset", "9")]), Refused::Failed);
        assert_eq!(refused(&[reason, max("5"), ("3scale-limit-reset", "9")]), Refused::Exceeded(Some(9)));
        assert_eq!(refused(&[reason, max("5"), ("3scale-limit-reset", "-1")]), Refused::Exceeded(None));
        assert_eq!(refused(&[reason]), Refused::Exceeded(None));
        assert_eq!(refused(&[("3scale-rejection-reason", "application_not_active")]), Refused::Failed);
        assert_eq!(refused(&[]), Refused::Failed);
    }

    #[test]
    fn what_is_no_decision_lets_nothing_through() {
        assert_eq!(answer(200, &[]), Ok(()));
        for status in [100, 204, 301, 499, 500, 503] {
            assert!(matches!(answer(status, &[]), Err(Denied::Unknown(_))), "{status}");
        }
        for status in [400, 403, 404, 409, 498] {
            assert_eq!(answer(status, &[]), Err(Denied::Refused(Refused::Failed)), "{status}");
        }
    }
}
