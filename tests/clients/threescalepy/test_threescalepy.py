"""ThreeScalePY, as published, against a node: what is authorized, counted, denied and remembered.

NODE_BINARY=path/to/tollgate python -m unittest -v test_threescalepy
"""

import time
import unittest

import ThreeScalePY
from ThreeScalePY import ThreeScaleException, ThreeScaleServerError

from node import Node, fresh_minute

# The sample's plan Basic.
PER_MINUTE = 10
PER_DAY = 1000


class ClientTest(unittest.TestCase):
    """Each test has a node of its own, empty but for the sample, and time left in the minute."""

    def setUp(self):
        fresh_minute()
        self.node = Node()
        self.addCleanup(self.node.close)

    def by_token(self, kind, **others):
        """A client with the service's token."""
        node = self.node
        return kind(service_id=node.service_id, service_token=node.service_token, backend_uri=node.uri, **others)

    def by_provider_key(self, kind, **others):
        """A client with the provider key, which leads to the provider's default service."""
        return kind(provider_key=self.node.provider_key, backend_uri=self.node.uri, **others)

    def authrep(self, usage):
        """Calls authrep; returns the reason of a denial or an error, None if authorized."""
        client = self.by_token(ThreeScalePY.ThreeScaleAuthRepUserKey, user_key=self.node.user_key)
        authorized = client.authrep(usage)
        reason = client.build_response().get_reason()
        self.assertEqual(authorized, reason is None)
        return reason

    def authorize(self, usage=None):
        """Calls authorize; returns the parsed answer."""
        client = self.by_token(ThreeScalePY.ThreeScaleAuthorizeUserKey, user_key=self.node.user_key)
        client.authorize(usage=usage or {})
        return client.build_auth_response()

    def report(self, transactions):
        self.assertTrue(self.by_token(ThreeScalePY.ThreeScaleReport).report(transactions))

    def reports(self, answer):
        """The usage reports of minute and day, of which the sample's plan has one each."""
        by_period = {it.get_period(): it for it in answer.get_usage_reports()}
        self.assertEqual(len(answer.get_usage_reports()), 2)
        self.assertEqual({it.get_metric() for it in by_period.values()}, {"hits"})
        return by_period["minute"], by_period["day"]

    def counts(self, answer=None):
        """Hits of the current minute and day, as the usage reports of an answer say; of authorize by default."""
        return tuple(int(it.get_current_value()) for it in self.reports(answer or self.authorize()))

    def transaction(self, **usage):
        return {"user_key": self.node.user_key, "usage": usage}


class Deciding(ClientTest):
    def test_authorize_checks_without_counting(self):
        answer = self.authorize({"hits": PER_MINUTE})
        self.assertIsNone(answer.get_reason())
        self.assertEqual(answer.get_plan(), "Basic")
        self.assertEqual(self.counts(), (0, 0))

    def test_usage_reports_name_limits_and_windows(self):
        now = time.time()
        minute, day = self.reports(self.authorize())
        self.assertEqual((minute.get_max_value(), day.get_max_value()), (str(PER_MINUTE), str(PER_DAY)))
        form = "%Y-%m-%d %H:%M:%S +0000"
        for report, length in ((minute, 60), (day, 86400)):
            start = now - now % length
            self.assertEqual(report.get_start_period(), time.strftime(form, time.gmtime(start)))
            self.assertEqual(report.get_end_period(), time.strftime(form, time.gmtime(start + length)))

    def test_authrep_with_a_service_token_counts(self):
        for count in range(1, 4):
            self.assertIsNone(self.authrep({"hits": 1}))
            self.assertEqual(self.counts(), (count, count))

    def test_authrep_with_a_provider_key_counts_with_or_without_the_service(self):
        for service in ({}, {"service_id": self.node.service_id}):
            client = self.by_provider_key(
                ThreeScalePY.ThreeScaleAuthRepUserKey, user_key=self.node.user_key, **service
            )
            self.assertTrue(client.authrep())
            self.assertIsNone(client.build_response().get_reason())
        self.assertEqual(self.counts(), (2, 2))

    def test_authorize_with_a_provider_key_sees_what_was_counted(self):
        client = self.by_token(ThreeScalePY.ThreeScaleAuthRepUserKey, user_key=self.node.user_key)
        self.assertTrue(client.authrep({"hits": 3}, log={"code": 200}))
        client = self.by_provider_key(ThreeScalePY.ThreeScaleAuthorizeUserKey, user_key=self.node.user_key)
        self.assertTrue(client.authorize())
        self.assertEqual(self.counts(client.build_auth_response()), (3, 3))

    def test_a_method_counts_for_its_parent(self):
        self.assertIsNone(self.authrep({"search": 4}))
        self.assertEqual(self.counts(), (4, 4))

    def test_a_limit_admits_exactly_what_it_says_and_denies_with_its_reason(self):
        reasons = [self.authrep({"hits": 1}) for _ in range(PER_MINUTE + 5)]
        self.assertEqual(reasons, [None] * PER_MINUTE + ["usage limits are exceeded"] * 5)
        self.assertEqual(self.counts(), (PER_MINUTE, PER_MINUTE))

    def test_a_denied_authorize_has_reason_plan_and_usage(self):
        self.assertIsNone(self.authrep({"hits": 8}))
        answer = self.authorize({"hits": 3})
        self.assertEqual(answer.get_reason(), "usage limits are exceeded")
        self.assertEqual(answer.get_plan(), "Basic")
        self.assertEqual(self.counts(answer), (8, 8))
        self.assertIsNone(self.authorize({"hits": 2}).get_reason())


class Refusing(ClientTest):
    def refused(self, client, usage=None):
        self.assertFalse(client.authrep(usage or {"hits": 1}))
        return client.error_code, client.build_response().get_reason()

    def test_unknown_credentials_and_metrics_are_told_apart(self):
        user_key, app_id = ThreeScalePY.ThreeScaleAuthRepUserKey, ThreeScalePY.ThreeScaleAuthRep
        node = self.node
        for client, usage, expected in (
            (self.by_token(user_key, user_key="wrong"), None, (403, 'user key "wrong" is invalid')),
            (self.by_token(user_key, user_key="a<b> &\u00e9"), None, (403, 'user key "a<b> &\u00e9" is invalid')),
            # The sample's service knows applications by user key alone.
            (self.by_token(app_id, app_id="sample"), None, (403, "user key is missing")),
            (
                user_key(provider_key="wrong", user_key=node.user_key, backend_uri=node.uri),
                None,
                (403, 'provider key "wrong" invalid and/or service ID missing'),
            ),
            (
                user_key(
                    provider_key="wrong", service_id=node.service_id, user_key=node.user_key, backend_uri=node.uri
                ),
                None,
                (403, 'provider key "wrong" is invalid'),
            ),
            (
                user_key(service_id=node.service_id, service_token="wrong", user_key=node.user_key, backend_uri=node.uri),
                None,
                (403, f'service token "wrong" or service id "{node.service_id}" is invalid'),
            ),
            (
                self.by_token(user_key, user_key=node.user_key),
                {"hits": 1, "wrong": 1},
                (404, 'metric "wrong" is invalid'),
            ),
        ):
            with self.subTest(expected):
                self.assertEqual(self.refused(client, usage), expected)
        self.assertEqual(self.counts(), (0, 0))

    def test_authorize_parses_the_error_too(self):
        client = self.by_token(ThreeScalePY.ThreeScaleAuthorizeUserKey, user_key="wrong")
        self.assertFalse(client.authorize())
        answer = client.build_auth_response()
        self.assertEqual(answer.get_reason(), 'user key "wrong" is invalid')
        self.assertEqual((answer.get_plan(), answer.get_usage_reports()), (None, []))

    def test_a_report_with_wrong_credentials_raises(self):
        client = ThreeScalePY.ThreeScaleReport(provider_key="wrong", backend_uri=self.node.uri)
        with self.assertRaisesRegex(ThreeScaleServerError, "403"):
            client.report([self.transaction(hits=1)])
        self.assertEqual(self.counts(), (0, 0))

    def test_a_call_that_names_no_application_raises(self):
        with self.assertRaises(ThreeScaleException):
            self.by_token(ThreeScalePY.ThreeScaleAuthRepUserKey).authrep()


class Reporting(ClientTest):
    def test_several_transactions_are_in_the_next_answer(self):
        app_id = {"app_id": "sample", "usage": {"hits": 4}}
        now = dict(self.transaction(hits=3), timestamp=time.gmtime())
        self.report([self.transaction(hits=1, search=2), app_id, now])
        self.assertEqual(self.counts(), (10, 10))
        self.assertEqual(self.authrep({"hits": 1}), "usage limits are exceeded")

    def test_a_report_by_provider_key_counts(self):
        client = self.by_provider_key(ThreeScalePY.ThreeScaleReport)
        self.assertTrue(client.report([self.transaction(hits=2)]))
        self.assertEqual(self.counts(), (2, 2))

    def test_usage_may_be_reported_beyond_a_limit(self):
        self.report([self.transaction(hits=25)])
        self.assertEqual(self.counts(), (25, 25))
        self.assertEqual(self.authorize({"hits": 1}).get_reason(), "usage limits are exceeded")

    def test_a_timestamp_says_which_window_counts(self):
        now = time.time()
        before = now - 90
        self.report([dict(self.transaction(hits=5), timestamp=time.gmtime(before))])
        # Shortly after midnight it was another day too.
        same_day = int(before // 86400) == int(now // 86400)
        self.assertEqual(self.counts(), (0, 5 if same_day else 0))

    def test_a_local_time_with_its_offset_is_the_same_moment(self):
        self.report([dict(self.transaction(hits=2), timestamp=time.localtime())])
        self.assertEqual(self.counts(), (2, 2))


class Remembering(ClientTest):
    def test_a_stop_and_a_start_keep_every_count(self):
        self.assertIsNone(self.authrep({"hits": 3}))
        self.report([self.transaction(hits=2), self.transaction(search=1)])
        self.node.stop()
        self.node.start()
        self.assertNotIn(self.node.user_key, self.node.printed, "credentials are shown once")
        self.assertEqual(self.counts(), (6, 6))
        self.assertIsNone(self.authrep({"hits": 4}))
        self.assertEqual(self.authrep({"hits": 1}), "usage limits are exceeded")

    def test_an_acknowledged_report_survives_a_kill_once(self):
        for total in (2, 4, 6):
            self.report([self.transaction(hits=1), self.transaction(hits=1)])
            self.node.kill()
            self.node.start()
            self.assertEqual(self.counts(), (total, total))


if __name__ == "__main__":
    unittest.main()
