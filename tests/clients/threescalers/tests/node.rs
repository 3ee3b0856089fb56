//! threescalers, as published, against a node: what is authorized, counted, listed and denied.
//!
//! `NODE_BINARY=path/to/tollgate cargo test`, in this crate's folder.

use threescalers::api_call::Kind;
use threescalers::application::Application;
use threescalers::credentials::Credentials;
use threescalers::extensions::List;
use threescalers::response::{AuthorizationStatus, Period, PeriodTime, UsageReport};
use threescalers::service::Service;
use threescalers::transaction::Transaction;
use threescalers::usage::Usage;
use threescalers_tests::{Answer, Node, fresh_minute, now};

/// The sample's plan Basic.
const PER_MINUTE: u64 = 10;
const PER_DAY: u64 = 1000;

/// A node, and its sample as threescalers names it.
struct Sample {
    node: Node,
    service: Service,
    application: Application,
    _home: tempfile::TempDir,
}

impl Sample {
    fn start() -> Sample {
        fresh_minute();
        let home = tempfile::tempdir().expect("a temporary directory");
        let node = Node::start(&home.path().join("data"));
        let service =
            Service::new(node.service_id.as_str(), Credentials::from_token(node.service_token.as_str()));
        let application = Application::from_user_key(node.user_key.as_str());
        Sample { node, service, application, _home: home }
    }

    fn call(&self, kind: Kind, usage: &[(&str, &str)], options: &List) -> Answer {
        let usage = Usage::new(usage);
        let transaction = Transaction::new(&self.application, None, Some(&usage), None);
        self.node.call(kind, &self.service, &[transaction], options)
    }

    /// A call without options that is answered with a status.
    fn status(&self, kind: Kind, usage: &[(&str, &str)]) -> AuthorizationStatus {
        let answer = self.call(kind, usage, &List::new());
        let status = answer.parse().into_inner().expect("a status, not an error");
        assert_eq!(answer.status, if status.is_authorized() { 200 } else { 409 });
        status
    }

    /// Hits of the current minute and day.
    fn counts(&self) -> (u64, u64) {
        counts(&self.status(Kind::Authorize, &[]))
    }
}

/// The usage reports of minute and day, of which the sample's plan has one each.
fn reports(status: &AuthorizationStatus) -> [&UsageReport; 2] {
    let reports = status.usage_reports().expect("usage reports");
    assert!(reports.len() == 2 && reports.iter().all(|report| report.metric() == "hits"), "{reports:?}");
    [Period::Minute, Period::Day].map(|period| {
        reports.iter().find(|report| *report.period() == period).expect("a report of each period")
    })
}

fn counts(status: &AuthorizationStatus) -> (u64, u64) {
    let [minute, day] = reports(status).map(UsageReport::current_value);
    (minute, day)
}

#[test]
fn authorize_tells_plan_limits_and_windows_and_counts_nothing() {
    let sample = Sample::start();
    let now = now();
    let status = sample.status(Kind::Authorize, &[("hits", "1")]);
    assert_eq!((status.authorized(), status.plan()), (Ok(()), "Basic"));
    assert_eq!(reports(&status).map(UsageReport::max_value), [PER_MINUTE, PER_DAY]);
    for (report, length) in reports(&status).into_iter().zip([60, 86_400]) {
        let start = now - now % length;
        assert_eq!(report.period_times(), (&PeriodTime(start), &PeriodTime(start + length)));
    }
    assert!(status.hierarchy().is_none() && status.app_keys().is_none(), "only on request");
    assert_eq!(sample.counts(), (0, 0));
}

#[test]
fn authrep_counts_with_a_service_token_and_with_a_provider_key() {
    let mut sample = Sample::start();
    assert_eq!(counts(&sample.status(Kind::AuthRep, &[("hits", "2")])), (2, 2));
    let credentials = Credentials::from_key(sample.node.provider_key.as_str());
    sample.service = Service::new(sample.node.service_id.as_str(), credentials);
    assert_eq!(counts(&sample.status(Kind::AuthRep, &[("hits", "3")])), (5, 5));
    assert_eq!(counts(&sample.status(Kind::AuthRep, &[("hits", "1"), ("search", "2")])), (8, 8));
}

#[test]
fn a_limit_denies_what_exceeds_it_and_counts_nothing_of_it() {
    let sample = Sample::start();
    let option = List::new().push_other("rejection_reason_header".into(), "1".into());
    let answer = sample.call(Kind::AuthRep, &[("hits", "9")], &option);
    assert_eq!((answer.status, answer.header("3scale-rejection-reason")), (200, None));
    let answer = sample.call(Kind::AuthRep, &[("hits", "2")], &option);
    assert_eq!((answer.status, answer.header("3scale-rejection-reason")), (409, Some("limits_exceeded")));
    let denied = answer.parse().into_inner().expect("a denial is a status");
    assert_eq!(denied.authorized(), Err("usage limits are exceeded"));
    assert_eq!((denied.plan(), counts(&denied)), ("Basic", (9, 9)));
    let last = sample.status(Kind::AuthRep, &[("hits", "1")]);
    let [minute, day] = reports(&last);
    assert!(last.is_authorized() && minute.is_limited() && !day.is_limited());
    assert_eq!((minute.remaining(), day.remaining()), (0, PER_DAY - PER_MINUTE));
}

#[test]
fn a_report_of_several_transactions_is_in_the_next_answer() {
    let sample = Sample::start();
    let by_id = Application::from_app_id("sample");
    let (one, two, search) = ([("hits", "1")], [("hits", "2")], [("search", "4")]);
    let (one, two, search) = (Usage::new(&one), Usage::new(&two), Usage::new(&search));
    let now = now();
    let earlier = now - 90;
    let transactions = [
        Transaction::new(&sample.application, None, Some(&one), None),
        Transaction::new(&by_id, None, Some(&two), Some(now)),
        Transaction::new(&sample.application, None, Some(&search), Some(earlier)),
    ];
    let answer = sample.node.call(Kind::Report, &sample.service, &transactions, &List::new());
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    // Shortly after midnight the earlier one was another day's.
    let of_today = if earlier.div_euclid(86_400) == now.div_euclid(86_400) { 7 } else { 3 };
    assert_eq!(sample.counts(), (3, of_today));
}

#[test]
fn extensions_list_the_hierarchy_and_the_keys() {
    let sample = Sample::start();
    let options = List::new().hierarchy().list_app_keys(1);
    let status =
        sample.call(Kind::Authorize, &[("hits", "1")], &options).parse().into_inner().expect("a status");
    let hierarchy = status.hierarchy().expect("a hierarchy");
    assert_eq!(hierarchy.parent_of("search"), Some("hits"));
    assert_eq!(hierarchy.iter().count(), 1);
    let keys = status.app_keys().expect("a list of keys");
    assert_eq!(keys.app_id().map(AsRef::as_ref), Some("sample"));
    assert_eq!(keys.service_id().map(AsRef::as_ref), Some(sample.node.service_id.as_str()));
    assert!(keys.keys().is_empty(), "the sample has none");
}

#[test]
fn flat_usage_counts_the_named_metric_alone() {
    let sample = Sample::start();
    let answer = sample.call(Kind::AuthRep, &[("search", "4")], &List::new().flat_usage(1));
    assert_eq!(answer.status, 200);
    assert_eq!(sample.counts(), (0, 0));
    assert_eq!(counts(&sample.status(Kind::AuthRep, &[("search", "4")])), (4, 4));
}

#[test]
fn no_body_leaves_status_and_headers() {
    let sample = Sample::start();
    let options = List::new().no_body().push_other("limit_headers".into(), "1".into());
    let answer = sample.call(Kind::AuthRep, &[("hits", "4")], &options);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    // How many more calls like this one: of 10, 6 are left.
    assert_eq!(answer.header("3scale-limit-remaining"), Some("1"));
    assert_eq!(answer.header("3scale-limit-max-value"), Some("10"));
    let answer = sample.call(Kind::AuthRep, &[("hits", "7")], &options);
    assert_eq!((answer.status, answer.body.as_str()), (409, ""));
}

#[test]
fn errors_have_their_code_and_text() {
    let mut sample = Sample::start();
    let refused = |answer: Answer| {
        let error = answer.parse().into_inner().expect_err("an error, not a status");
        (answer.status, error.code().to_owned(), error.description().to_owned())
    };
    let expected = |status, code: &str, text: &str| (status, code.to_owned(), text.to_owned());
    let none = List::new();
    assert_eq!(
        refused(sample.call(Kind::AuthRep, &[("hits", "1"), ("wrong", "1")], &none)),
        expected(404, "metric_invalid", "metric \"wrong\" is invalid")
    );
    sample.application = Application::from_user_key("wrong");
    assert_eq!(
        refused(sample.call(Kind::AuthRep, &[("hits", "1")], &none)),
        expected(403, "user_key_invalid", "user key \"wrong\" is invalid")
    );
    // The sample's service knows applications by user key alone.
    sample.application = Application::from_app_id_and_key("sample", "key");
    assert_eq!(
        refused(sample.call(Kind::Authorize, &[], &none)),
        expected(403, "user_key_invalid", "user key is missing")
    );
    sample.service = Service::new(sample.node.service_id.as_str(), Credentials::from_key("wrong"));
    assert_eq!(
        refused(sample.call(Kind::Report, &[("hits", "1")], &none)),
        expected(403, "provider_key_invalid", "provider key \"wrong\" is invalid")
    );
    sample.application = Application::from_user_key(sample.node.user_key.as_str());
    let token = Credentials::from_token(sample.node.service_token.as_str());
    sample.service = Service::new(sample.node.service_id.as_str(), token);
    assert_eq!(sample.counts(), (0, 0));
}
