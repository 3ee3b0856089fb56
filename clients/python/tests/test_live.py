"""Both clients against a real node."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import tollgate
from tests.meaning import load
from tests.node import Node, catalog, with_node
from tests.replay import Replay
from tests.sides import BothClients, both
from tollgate import AsyncClient, Client, Denied, Outcome, Refused, Set, Status, Unavailable
from tollgate.codec.numbers import Feature

LIMIT = 100


@with_node
class Session(unittest.TestCase):
    def test_a_node_answers_as_the_golden_session_says(self):
        node = Node()
        self.addCleanup(node.close)
        node.needs(self, Feature.RESERVE, Feature.ALL)
        replay = Replay(node)
        replay.run(load("session.json"))
        self.assertEqual(replay.failures, [], "\n" + "\n".join(replay.failures))
        self.assertEqual(node.wait(), 0)


class Live(BothClients, unittest.TestCase):
    """A node for all tests of a case; each test has a service of its own."""

    arguments: tuple = ()
    tls = False

    @classmethod
    def setUpClass(cls):
        cls.node = Node(*cls.arguments, tls=cls.tls)
        cls.addClassCleanup(cls.node.close)
        cls.services = 7000

    def setUp(self):
        type(self).services += 1
        self.service = str(self.services)
        self.one = {"user_key": f"{self.service}-one"}
        self.node.set_up(catalog(self.service, LIMIT))
        self.how = {"service": self.service, "token": f"token-{self.service}", "timeout_s": 10}

    def connect(self, address=None, **options):
        return self.client(address or self.node.tcp, **(self.how | options))


@with_node
@both
class Calls(Live):
    def test_authrep_counts_what_authorize_and_check_only_look_at(self):
        client = self.connect()
        for _ in range(3):
            decision = client.authrep(usage={"hits": 2}, **self.one)
        self.assertTrue(decision.counted)
        self.assertEqual((decision.maximum, decision.count, decision.remaining), (LIMIT, 6, 47))
        self.assertEqual((decision.reset_ms, decision.retry_ms, decision.away), (None, 0, False))
        for call in (client.authorize, client.check):
            decision = call(usage={"hits": 1}, **self.one)
            self.assertEqual((decision.yes, decision.counted, decision.count), (True, False, 6))
        decision = client.authrep(usage={"hits": LIMIT}, **self.one)
        self.assertFalse(decision)
        self.assertEqual(
            (decision.reason, decision.remaining, decision.retry_ms), ("limits_exceeded", 0, None)
        )

    def test_usage_counts_for_ancestors_unless_it_is_flat(self):
        client = self.connect()
        self.assertEqual(client.authrep(usage={"search": 1}, **self.one).count, 1)
        self.assertIsNone(client.authrep(usage={"search": 1}, flat=True, **self.one).limit)
        report = client.query(**self.one)
        self.assertEqual((report.counts["search"].eternity, report.counts["hits"].eternity), (2, 1))

    def test_reports_count_whatever_limits_say_and_may_set_and_be_dated(self):
        client = self.connect()
        receipt = client.report(usage={"hits": LIMIT + 5}, **self.one)
        self.assertEqual((receipt.outcome, receipt.on_disk), (Outcome.DONE, True))
        self.assertFalse(client.authrep(usage={"hits": 1}, **self.one))
        self.assertFalse(client.report(usage={"hits": Set(7)}, durable=False, **self.one).on_disk)
        client.report(usage={"hits": 2}, timestamp=int(time.time()) - 3600, log_code=200, **self.one)
        self.assertEqual(client.query(["hits"], **self.one).counts["hits"].eternity, 9)

    def test_limits_and_usage_are_shown(self):
        client = self.connect()
        decision = client.authrep(usage={"hits": 1}, limits=True, durable=True, **self.one)
        (limit,) = decision.limits
        self.assertEqual(
            (limit.period, limit.maximum, limit.count, limit.in_shadow), ("eternity", LIMIT, 1, False)
        )
        report = client.query(["hits"], **self.one)
        self.assertEqual(
            (report.active, report.reservations, report.names), (True, 0, {limit.metric: "hits"})
        )
        self.assertEqual([it._replace(reset_ms=None) for it in report.limits], [limit])
        self.assertLess(abs(report.time_us / 1e6 - time.time()), 60)

    def test_reservations_hold_and_are_committed_or_released(self):
        self.node.needs(self, Feature.RESERVE)
        client = self.connect()
        with client.reserve(60, usage={"hits": 40}, **self.one) as held:
            self.assertEqual(client.query(**self.one).reservations, 1)
            self.assertFalse(client.check(usage={"hits": 61}, **self.one))
            self.assertEqual(held.commit({"hits": 10}).outcome, Outcome.DONE)
        with self.assertRaises(ZeroDivisionError):
            with client.reserve(60, usage={"hits": 40}, **self.one):
                raise ZeroDivisionError
        with client.reserve(60, usage={"hits": 1}, **self.one) as held:
            self.assertEqual(held.commit({"hits": 5}).outcome, Outcome.OVERRUN)
        report = client.query(["hits"], **self.one)
        self.assertEqual((report.reservations, report.counts["hits"].eternity), (0, 15))
        refused = client.reserve(60, usage={"hits": LIMIT}, **self.one)
        self.assertFalse(refused)
        with self.assertRaises(Denied), refused:
            self.fail("not to be reached")

    def test_a_batch_has_an_answer_for_each_call(self):
        client, two = self.connect(), {"user_key": f"{self.service}-two"}
        calls = [
            tollgate.authrep({"hits": 60}, **self.one), tollgate.authrep({"hits": 60}, **self.one),
            tollgate.report({"hits": 5}, **two), tollgate.check({"none": 1}, **two),
        ]  # fmt: skip
        for first_yes in (True, False):
            first, second, third, fourth = client.batch(calls)
            self.assertEqual((first.yes, second.yes), (first_yes, False))
            self.assertEqual((third.outcome, fourth.status), (Outcome.DONE, Status.METRIC_INVALID))
        self.assertEqual(client.query(["hits"], **two).counts["hits"].eternity, 10)
        many = client.batch([tollgate.authrep({"bytes": 1}, **self.one)] * 2000)
        self.assertEqual(sum(it.counted for it in many), 2000)
        large = self.connect(frame_max=2**20).batch([tollgate.authrep({"bytes": 1}, **self.one)] * 8000)
        self.assertEqual(sum(it.counted for it in large), 8000)
        self.assertEqual(client.query(["bytes"], **self.one).counts["bytes"].eternity, 10_000)

    def test_a_batch_is_one_step_if_it_is_to_be(self):
        self.node.needs(self, Feature.ALL)
        client, two = self.connect(), {"user_key": f"{self.service}-two"}
        for key in (self.one, two, self.one, two):
            client.authrep(usage={"hits": 15}, **key)
        calls = [tollgate.authrep({"hits": 30}, **self.one), tollgate.authrep({"hits": 30}, **two)]
        self.assertEqual([it.yes for it in client.batch(calls, all=True, durable=True)], [True, True])
        calls = [tollgate.authrep({"hits": 1}, **two), tollgate.authrep({"hits": 41}, **self.one)]
        refused, denied = client.batch(calls, all=True)
        self.assertEqual((refused.status, denied.yes), (Status.NOT_DONE, False))
        self.assertEqual(client.query(["hits"], **two).counts["hits"].eternity, 60)

    def test_refusals_are_raised_with_their_status(self):
        client = self.connect()
        for call, status in [
            ({"user_key": "nobody"}, Status.USER_KEY_INVALID), ({}, Status.USER_KEY_INVALID),
            (self.one | {"usage": {"none": 1}}, Status.METRIC_INVALID),
            (self.one | {"service": "7000000"}, Status.SERVICE_ID_INVALID),
            (self.one | {"app_id": "one"}, Status.AUTHENTICATION_ERROR),
        ]:  # fmt: skip
            with self.subTest(status.name), self.assertRaises(Refused) as caught:
                client.authrep(**call)
            self.assertEqual(caught.exception.status, status)
            self.assertFalse(caught.exception.counted)
            self.assertTrue(caught.exception.message)

    def test_a_wrong_token_is_refused(self):
        with self.assertRaises(Refused) as caught:
            self.connect(token="wrong").ping()
        self.assertEqual(caught.exception.status, Status.PROOF_INVALID)

    def test_the_node_secret_opens_all_services_and_the_figures(self):
        client = self.client(self.node.tcp, secret=self.node.secret, timeout_s=10)
        self.assertTrue(client.authrep(service=self.service, usage={"hits": 1}, **self.one))
        self.assertGreaterEqual(client.stats().decisions, 1)
        self.assertLess(abs(client.ping().time_us / 1e6 - time.time()), 60)
        with self.assertRaises(Refused) as caught:
            client.authrep(**self.one)
        self.assertEqual(caught.exception.status, Status.SERVICE_ID_MISSING)
        self.assertRaises(Refused, self.connect().stats)

    def test_the_unix_socket_knows_its_user(self):
        client = self.client(f"unix:{self.node.socket}", service=self.service, timeout_s=10)
        for count in (1, 2, 3):
            self.assertEqual(client.authrep(usage={"hits": 1}, **self.one).count, count)

    def test_changes_of_the_catalog_are_seen_at_once_through_handles(self):
        client, key = self.connect(), f"/internal/services/{self.service}/applications/one/key/other"
        client.authrep(usage={"hits": 1}, **self.one)
        self.node.call(
            "PUT",
            f"/internal/services/{self.service}/plans/50/usagelimits/1/eternity",
            {"usagelimit": {"eternity": 7}},
        )
        self.assertEqual(client.authrep(usage={"hits": 1}, **self.one).maximum, 7)
        self.node.call("PUT", key)
        self.assertEqual(client.authrep(usage={"hits": 1}, **self.one).count, 3)
        self.node.call("DELETE", f"/internal/services/{self.service}/applications/key/{self.service}-one")
        self.assertRaises(Refused, client.authrep, usage={"hits": 1}, **self.one)
        self.assertEqual(client.authrep(usage={"hits": 1}, user_key="other").count, 4)


@with_node
class Exact(Live):
    """A limit of N admits exactly N, whoever asks."""

    def in_threads(self, count, function):
        """What the function returned in each of so many threads at once; raises what it raised."""
        with ThreadPoolExecutor(count) as threads:
            return [it.result() for it in [threads.submit(function) for _ in range(count)]]

    def test_threads(self):
        client = self.connect(connections=8)
        yes = self.in_threads(
            16, lambda: sum(client.authrep(usage={"hits": 1}, **self.one).yes for _ in range(50))
        )
        self.assertEqual(sum(yes), LIMIT)
        self.assertEqual(client.query(["hits"], **self.one).counts["hits"].eternity, LIMIT)

    def test_tasks_batches_and_threads_together(self):
        async def ask():
            async with AsyncClient(self.node.tcp, **self.how) as client:
                single = [client.authrep(usage={"hits": 1}, **self.one) for _ in range(500)]
                batches = [client.batch([tollgate.authrep({"hits": 1}, **self.one)] * 50) for _ in range(10)]
                found = await asyncio.gather(*single, *batches)
                return [*found[:500], *(it for batch in found[500:] for it in batch)]

        own = itertools.count()

        def mixed():
            if next(own):
                return sum(it.yes for it in asyncio.run(ask()))
            client = self.connect()
            return sum(client.authrep(usage={"hits": 1}, **self.one).yes for _ in range(100))

        self.assertEqual(sum(self.in_threads(3, mixed)), LIMIT)

    def test_reservations_and_calls_share_what_is_left(self):
        self.node.needs(self, Feature.RESERVE)
        client = self.connect(connections=8)

        def ask(n):
            if n % 2:
                return client.authrep(usage={"hits": 3}, **self.one).counted * 3
            held = client.reserve(60, usage={"hits": 5}, **self.one)
            if held:
                held.commit({"hits": 2})
            return bool(held) * 2

        counted = self.in_threads(8, lambda: sum(ask(n) for n in range(40)))
        total = client.query(["hits"], **self.one).counts["hits"].eternity
        self.assertEqual(total, sum(counted))
        self.assertTrue(LIMIT - 3 < total <= LIMIT, total)


@with_node
@both
class Restarts(Live):
    def test_a_node_that_is_killed_is_found_again_with_what_was_durable(self):
        client = self.connect(timeout_s=30)
        for _ in range(3):
            client.report(usage={"hits": 1}, **self.one)
        self.node.kill()
        quick = self.connect(timeout_s=0.2)
        self.assertRaises(Unavailable, quick.authrep, usage={"hits": 1}, **self.one)
        self.assertTrue(self.connect(timeout_s=0.2, away="allow").authrep(usage={"hits": 1}, **self.one).away)
        later = threading.Timer(0.5, self.node.start)
        later.start()
        self.addCleanup(later.join)
        # Bound to the node before, whose handles are nothing to this one.
        self.assertEqual(client.authrep(usage={"hits": 1}, **self.one).count, 4)

    def test_calls_go_on_over_a_restart_and_each_is_counted_once(self):
        def restart():
            self.node.stop()
            self.node.start()

        self.check_calls_go_on_over(restart)

    def test_calls_go_on_while_another_process_takes_over_and_each_is_counted_once(self):
        self.check_calls_go_on_over(self.node.take_over)

    def check_calls_go_on_over(self, change):
        client = self.connect(timeout_s=30)
        receipts, errors, over = [], [], threading.Event()

        def report():
            while not over.is_set():
                try:
                    receipts.append(client.report(usage={"bytes": 1}, **self.one))
                except Exception as error:
                    errors.append(error)

        threads = [threading.Thread(target=report) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.3)
            change()
        time.sleep(0.3)
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertGreater(len(receipts), 20)
        self.assertEqual(client.query(["bytes"], **self.one).counts["bytes"].eternity, len(receipts))

    def test_reservations_survive(self):
        self.node.needs(self, Feature.RESERVE)
        client = self.connect(timeout_s=30)
        held = client.reserve(600, usage={"hits": 60}, **self.one)
        self.node.stop()
        self.node.start()
        self.assertFalse(client.check(usage={"hits": 41}, **self.one))
        self.assertEqual(held.commit({"hits": 50}).outcome, Outcome.DONE)
        self.assertEqual(client.query(["hits"], **self.one).counts["hits"].eternity, 50)


@with_node
@both
class Tls(Live):
    tls = True

    def context(self):
        return ssl.create_default_context(cafile=str(self.node.certificate))

    def test_calls_go_through_tls_to_a_node_with_a_certificate(self):
        client = self.connect(f"tls://localhost:{self.node.port}", tls=self.context())
        for count in (1, 2, 3):
            self.assertEqual(client.authrep(usage={"hits": 1}, **self.one).count, count)
        other = self.connect(f"tls://{self.node.tcp}", tls=self.context(), server_hostname="localhost")
        self.assertEqual(len(other.batch([tollgate.authrep({"bytes": 1}, **self.one)] * 1000)), 1000)

    def test_a_certificate_nobody_vouches_for_is_refused(self):
        for address, context in [
            (f"tls://localhost:{self.node.port}", None),
            (f"tls://{self.node.tcp}", self.context()),
        ]:
            client = self.connect(address, tls=context, timeout_s=0.5, away="allow")
            self.assertRaises(Unavailable, client.ping)

    def test_a_plain_client_gets_no_further(self):
        self.assertRaises(Unavailable, self.connect(timeout_s=0.5).ping)


class Sync(unittest.TestCase):
    def test_options_that_do_not_fit_together_are_refused(self):
        for address, options in [
            ("nowhere", {}), ("host:x", {}), ("host:70000", {}), ("h:1", {"away": "maybe"}), ("h:1", {"token": "t"}),
            ("h:1", {"service": "1", "token": "t", "secret": "s"}), ("h:1", {"frame_max": 4095}),
            ("h:1", {"frame_max": 2**20 + 1}), ("h:1", {"window": 0}), ("h:1", {"connections": 0}),
        ]:  # fmt: skip
            with self.subTest(address, **options), self.assertRaises(ValueError):
                Client(address, **options)
        for address in ("h:1", "[::1]:1", "tls://h:1", "unix:/run/t"):
            Client(address, frame_max=4096)


if __name__ == "__main__":
    unittest.main()
