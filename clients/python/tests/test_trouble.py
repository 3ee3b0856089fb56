"""What a healthy node does not do: damage, silence, goodbyes, refusals, impostors."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import unittest

import tollgate
from tests.fake import PONG, RECEIPT, SECRET, FakeNode, decision
from tests.sides import BothClients, both
from tollgate import Decision, Denied, NotTheNode, Refused, Status, Unavailable
from tollgate.codec import layout
from tollgate.codec.numbers import FRAME_MAX, Operation, Tag, Why

YES = {"user_key": "k", "usage": {"hits": 1}}


class Case(BothClients, unittest.TestCase):
    def against(self, respond, welcome=None, **options):
        """A fake node and a client of it that does not bind."""
        self.node = FakeNode(respond, **(welcome or {}))
        self.addCleanup(self.node.close)
        return self.client(self.node.address, **({"secret": SECRET.decode(), "bind": False} | options))

    def count(self, operation):
        return sum(it.operation == operation for it in self.node.requests)


@both
class Damage(Case):
    def test_a_node_without_the_secret_is_not_talked_to(self):
        client = self.against(lambda peer, it: peer.answer(it, PONG))
        self.node.honest = False
        with self.assertRaises(NotTheNode):
            client.ping()
        self.assertEqual(self.node.requests, [])
        relaxed = self.client(self.node.address, secret=SECRET.decode(), verify_node=False)
        self.assertEqual(relaxed.ping(), tollgate.Pong(5, 6))

    def test_a_wrong_secret_is_refused_and_is_no_matter_of_policy(self):
        client = self.against(lambda peer, it: None, secret="another", away="allow")
        with self.assertRaises(Refused) as caught:
            client.authrep(**YES)
        self.assertEqual(caught.exception.status, Status.PROOF_INVALID)

    def test_garbage_ends_the_connection_and_the_next_call_has_a_new_one(self):
        def respond(peer, request):
            peer.send(b"\xff" * 100) if peer.number == 1 else peer.answer(request, decision())

        client = self.against(respond)
        with self.assertRaises(Unavailable) as caught:
            client.authrep(**YES)
        self.assertTrue(caught.exception.sent)
        self.assertIsNone(caught.exception.counted)
        self.assertTrue(client.authrep(**YES))
        self.assertEqual(self.node.peers, 2)

    def test_half_an_answer_is_none(self):
        def respond(peer, request):
            peer.send(bytes.fromhex("58000000910000000300000000000000480001"))
            peer.end()

        client = self.against(respond)
        with self.assertRaises(Unavailable) as caught:
            client.report(**YES)
        self.assertTrue(caught.exception.sent)
        self.assertEqual(self.count(Operation.REPORT), 1)

    def test_an_answer_longer_than_a_frame_may_be_is_not_waited_for(self):
        client = self.against(
            lambda peer, it: peer.send((FRAME_MAX + 1).to_bytes(4, "little") + bytes(12)), timeout_s=5
        )
        began = time.monotonic()
        with self.assertRaises(Unavailable):
            client.report(**YES)
        self.assertLess(time.monotonic() - began, 4)

    def test_answers_nobody_asked_for_are_skipped(self):
        def respond(peer, request):
            peer.send(bytes.fromhex("14000000fe00000000000000000000000400ffff"))
            peer.answer(request._replace(id=999_999), PONG)
            peer.answer(request, PONG)

        self.assertEqual(self.against(respond).ping(), tollgate.Pong(5, 6))

    def test_a_batch_with_too_few_answers_is_none(self):
        client = self.against(
            lambda peer, it: peer.answer(
                it, layout.BatchAnswerPart(1, 1), items=(it.items[0]._replace(answer=True, fixed=decision()),)
            )
        )
        found = client.batch([tollgate.authrep(**YES)] * 2)
        self.assertEqual([type(it) for it in found], [Unavailable] * 2)

    def test_no_node_at_all_is_unavailable_within_the_time(self):
        client = self.against(lambda peer, it: None, timeout_s=0.3)
        self.node.close()
        began = time.monotonic()
        with self.assertRaises(Unavailable) as caught:
            client.authrep(**YES)
        self.assertFalse(caught.exception.sent)
        self.assertLess(time.monotonic() - began, 1)


@both
class Lost(Case):
    def test_what_counts_is_never_sent_twice_and_what_only_looks_is(self):
        def respond(peer, request):
            peer.end() if peer.number == 1 else peer.answer(request, decision())

        for name, again in [("authrep", False), ("authorize", True), ("check", True)]:
            with self.subTest(name):
                call = getattr(self.against(respond), name)
                if again:
                    self.assertTrue(call(**YES))
                else:
                    self.assertRaises(Unavailable, call, **YES)
                self.assertEqual(len(self.node.requests), 2 if again else 1)

    def test_what_counts_and_has_an_id_is_sent_again_as_it_was(self):
        def respond(peer, request):
            part = RECEIPT if request.operation == Operation.REPORT else decision()
            peer.end() if peer.number == 1 else peer.answer(request, part, Status.DUPLICATE)

        for name in ["authrep", "report"]:
            for known_by in ["an id", b"\x00\xff"]:
                with self.subTest(name, known_by=known_by):
                    getattr(self.against(respond), name)(id=known_by, **YES)
                    first, second = self.node.requests
                    self.assertEqual(first._replace(id=0), second._replace(id=0))
                    wanted = known_by.encode() if isinstance(known_by, str) else known_by
                    self.assertEqual(second.field(Tag.IDEMPOTENCY), wanted)

    def test_what_counts_and_has_a_number_is_sent_again_as_it_was(self):
        def respond(peer, request):
            part = RECEIPT if request.operation == Operation.REPORT else decision()
            peer.end() if peer.number == 1 else peer.answer(request, part, Status.DUPLICATE)

        for name in ["authrep", "report"]:
            with self.subTest(name):
                getattr(self.against(respond), name)(producer="a worker", sequence=7, **YES)
                first, second = self.node.requests
                self.assertEqual(first._replace(id=0), second._replace(id=0))
                self.assertEqual(second.field(Tag.PRODUCER), (7, b"a worker"))

    def test_a_producer_has_a_name_and_a_number_and_no_id_beside_it(self):
        client = self.against(lambda peer, it: peer.answer(it, decision()))
        for wrong in [
            {"producer": "p"}, {"sequence": 1}, {"producer": "", "sequence": 1}, {"producer": "x" * 65, "sequence": 1},
            {"producer": "p", "sequence": 0}, {"producer": "p", "sequence": 1 << 64},
            {"producer": "p", "sequence": 1, "id": "an id"},
        ]:  # fmt: skip
            with self.subTest(wrong):
                self.assertRaises(ValueError, client.authrep, **wrong, **YES)
        self.assertTrue(client.authrep(producer="x" * 64, sequence=(1 << 64) - 1, **YES))

    def test_an_id_is_1_to_64_bytes(self):
        client = self.against(lambda peer, it: peer.answer(it, decision()))
        for known_by in ["", "x" * 65]:
            self.assertRaises(ValueError, client.authrep, id=known_by, **YES)
        self.assertTrue(client.authrep(id="x" * 64, **YES))

    def test_silence_is_unavailable_in_time_and_the_connection_is_given_up(self):
        client = self.against(lambda peer, it: peer.number == 1 or peer.answer(it, RECEIPT), timeout_s=0.2)
        began = time.monotonic()
        with self.assertRaises(Unavailable) as caught:
            client.report(**YES)
        self.assertLess(abs(time.monotonic() - began - 0.2), 0.15)
        self.assertTrue(caught.exception.sent)
        self.assertEqual(client.report(**YES).outcome, tollgate.Outcome.DONE)

    def test_policies_decide_while_the_node_is_away_but_count_nothing(self):
        for away, yes in [("allow", True), ("deny", False)]:
            client = self.against(lambda peer, it: None, away=away, timeout_s=0.1)
            self.node.close()
            decision_ = client.authrep(**YES)
            self.assertEqual((decision_.yes, decision_.away, decision_.counted), (yes, True, False))
            self.assertRaises(Unavailable, client.report, **YES)
            found = client.batch([tollgate.authrep(**YES), tollgate.report(**YES)])
            self.assertEqual([type(it) for it in found], [Decision, Unavailable])
            self.assertEqual(found[0].yes, yes)

    def test_a_reservation_of_a_policy_is_reported(self):
        gone = threading.Event()

        def respond(peer, request):
            peer.answer(request, RECEIPT) if gone.is_set() else peer.refuse(request, Status.INTERNAL)

        client = self.against(respond, away="allow")
        held = client.reserve(60, **YES)
        gone.set()
        self.assertEqual(held.commit({"hits": 3}).outcome, tollgate.Outcome.DONE)
        self.assertEqual(self.node.requests[-1].operation, Operation.REPORT)
        self.assertEqual(self.node.requests[-1].field(Tag.USAGE).amount, 3)


@both
class Goodbyes(Case):
    def test_what_was_sent_before_a_goodbye_is_answered_and_what_follows_goes_elsewhere(self):
        def respond(peer, request):
            if peer.number == 1:
                peer.goaway(Why.STOPS)
            peer.answer(request, decision())

        client = self.against(respond)
        for _ in range(3):
            self.assertTrue(client.authrep(**YES))
        self.assertEqual((self.node.peers, self.count(Operation.AUTHREP)), (2, 3))

    def test_a_goodbye_while_nothing_is_asked_is_noticed(self):
        peers = []

        def respond(peer, request):
            peers.append(peer)
            peer.answer(request, decision())

        client = self.against(respond)
        self.assertTrue(client.authrep(**YES))
        for why in (Why.STOPS, Why.ANOTHER_TAKES_OVER, Why.IDLE):
            peers[-1].goaway(why)
            peers[-1].end()
            time.sleep(0.05)
            self.assertTrue(client.authrep(**YES))
        self.assertEqual((self.node.peers, self.count(Operation.AUTHREP)), (4, 4))

    def test_a_goodbye_for_a_reason_leaves_it_open_what_was_counted(self):
        client = self.against(lambda peer, it: peer.goaway(Why.PROTOCOL))
        with self.assertRaises(Unavailable) as caught:
            client.authrep(**YES)
        self.assertTrue(caught.exception.sent)

    def test_a_node_that_drains_or_is_overloaded_is_asked_again(self):
        for status in (Status.DRAINING, Status.OVERLOADED, Status.STORAGE_UNAVAILABLE):
            with self.subTest(status.name):
                tries = []

                def respond(peer, request):
                    tries.append(time.monotonic())
                    peer.refuse(request, status, 100) if len(tries) < 3 else peer.answer(request, RECEIPT)

                self.assertTrue(self.against(respond).report(**YES).on_disk)
                self.assertEqual(self.node.peers, 3 if status == Status.DRAINING else 1)
                self.assertGreater(tries[2] - tries[0], 0.19)

    def test_trouble_of_the_node_that_goes_on_is_raised_or_decided(self):
        client = self.against(lambda peer, it: peer.refuse(it, Status.OVERLOADED, 100), timeout_s=0.25)
        with self.assertRaises(Refused) as caught:
            client.authrep(**YES)
        self.assertEqual((caught.exception.retry_ms, caught.exception.counted), (100, False))
        other = self.client(self.node.address, secret=SECRET.decode(), timeout_s=0.25, away="allow")
        self.assertTrue(other.authrep(**YES).away)

    def test_what_may_have_been_counted_is_not_sent_again(self):
        for status, counted in [(Status.INTERNAL, None), (Status.NOT_DURABLE, True)]:
            client = self.against(lambda peer, it: peer.refuse(it, status, 1))
            with self.assertRaises(Refused) as caught:
                client.report(**YES)
            self.assertIs(caught.exception.counted, counted)
            self.assertEqual(len(self.node.requests), 1)

    def test_a_status_of_tomorrow_is_refused_by_its_class(self):
        for status, counted in [(0x02FE, False), (0x04FE, None)]:
            client = self.against(lambda peer, it: peer.refuse(it, status))
            with self.assertRaises(Refused) as caught:
                client.authrep(**YES)
            self.assertEqual((caught.exception.status, caught.exception.counted), (status, counted))


@both
class Handles(Case):
    def respond(self, peer, request):
        """Binds to a new handle each time; only the newest is good, and only on this node."""
        if request.operation == Operation.BIND:
            self.handle += 1
            part = layout.BoundPart(1, 0, 1, self.handle, 1)
            peer.answer(request, part, rows=(layout.MetricRow(5),))
        elif request.operation == Operation.BATCH:
            items = tuple(self.item(it) for it in request.items)
            peer.answer(request, layout.BatchAnswerPart(len(items), 1), items=items)
        elif request.fixed.handle not in (0, self.handle):
            peer.refuse(request, Status.STALE_HANDLE)
        else:
            peer.answer(request, decision())

    def item(self, request):
        if request.fixed.handle not in (0, self.handle):
            return request._replace(
                answer=True,
                flags=0,
                status=Status.STALE_HANDLE,
                fixed=layout.ErrorPart(0),
                rows=(),
                fields=(),
            )
        return request._replace(answer=True, fixed=decision(), rows=(), fields=())

    def setUp(self):
        self.handle = 100

    def asked(self):
        return [(it.operation.name, getattr(it.fixed, "handle", 0)) for it in self.node.requests]

    def test_the_first_call_goes_by_names_and_the_next_by_handle(self):
        client = self.against(self.respond, bind=True)
        for _ in range(3):
            self.assertTrue(client.authrep(**YES))
        self.assertEqual(self.asked(), [("AUTHREP", 0), ("BIND", 0), ("AUTHREP", 101), ("AUTHREP", 101)])
        self.assertEqual(self.node.requests[2].rows, (layout.UsageRow(5, 1),))
        self.assertEqual(self.node.requests[2].fields, ())

    def test_a_stale_handle_is_bound_again_and_the_caller_does_not_notice(self):
        client = self.against(self.respond, bind=True)
        client.authrep(**YES)
        self.handle += 1
        self.assertTrue(client.authrep(**YES))
        self.assertTrue(client.authrep(**YES))
        self.assertEqual(self.asked()[2:], [("AUTHREP", 101), ("AUTHREP", 0), ("BIND", 0), ("AUTHREP", 103)])

    def test_a_stale_handle_in_a_batch_is_asked_again(self):
        client = self.against(self.respond, bind=True)
        client.authrep(**YES)
        self.handle += 1
        found = client.batch([tollgate.authrep(**YES), tollgate.authrep(user_key="other", usage={"hits": 1})])
        self.assertEqual([it.yes for it in found], [True, True])
        again = [it for it in self.node.requests if it.operation == Operation.BATCH]
        self.assertEqual([len(it.items) for it in again], [2, 1])

    def test_a_handle_of_another_node_is_not_used(self):
        client = self.against(self.respond, bind=True)
        client.authrep(**YES)
        self.node.node = 8
        self.drop()
        self.assertTrue(client.authrep(**YES))
        self.assertEqual(self.asked()[2:], [("AUTHREP", 0), ("BIND", 0)])

    def drop(self):
        for plain in self.node._sockets[1:]:
            plain.shutdown(2)
        time.sleep(0.05)

    def test_calls_that_handles_cannot_make_go_by_names(self):
        client = self.against(self.respond, bind=True)
        for _ in range(2):
            client.authrep(app_id="a", oauth=True, redirect_uri="https://example.org", usage={"hits": 1})
        self.assertEqual(self.asked(), [("AUTHREP", 0)] * 2)

    def test_the_oldest_binding_goes_when_there_are_too_many(self):
        client = self.against(self.respond, bind=True, bindings_max=2)
        for key in "abc":
            client.authrep(user_key=key, usage={"hits": 1})
        self.assertEqual(self.count(Operation.BIND), 3)
        client.authrep(user_key="a", usage={"hits": 1})
        self.assertEqual(self.count(Operation.BIND), 4)


@both
class Asking(Case):
    def test_what_cannot_be_asked_is_not_sent(self):
        client = self.against(lambda peer, it: peer.answer(it, decision()))
        for name, call in [
            ("a negative amount", {"usage": {"hits": -1}}), ("an amount beyond 64 bits", {"usage": {"hits": 2**64}}),
            ("an unknown name", {"user": "x"}),
        ]:  # fmt: skip
            with self.subTest(name), self.assertRaises((ValueError, TypeError)):
                client.authrep(**({"user_key": "k"} | call))
        with self.assertRaises(ValueError):
            client.authorize(user_key="k", durable=True)
        with self.assertRaises(ValueError):
            client.batch([tollgate.authrep(user_key="k", limits=True)])
        self.assertEqual(self.node.requests, [])
        self.assertTrue(client.authrep(**YES))

    def test_a_batch_is_cut_where_it_must_be_and_all_or_none_is_not(self):
        def respond(peer, request):
            items = tuple(it._replace(answer=True, fixed=decision(), fields=()) for it in request.items)
            peer.answer(request, layout.BatchAnswerPart(len(items), 1), items=items)

        client = self.against(respond, welcome={"frame_max": 4096, "window": 2})
        calls = [tollgate.authrep(user_key=f"key-{n}", usage={"hits": n}) for n in range(205)]
        self.assertEqual([it.yes for it in client.batch(calls)], [True] * 205)
        self.assertEqual([len(it.items) for it in self.node.requests], [50, 50, 50, 50, 5])
        self.assertEqual(len(client.batch(calls[:50], all=True)), 50)
        with self.assertRaises(ValueError):
            client.batch(calls[:51], all=True)

    def test_nothing_is_asked_for_an_empty_batch(self):
        self.assertEqual(self.against(lambda peer, it: None).batch([]), [])
        self.assertEqual(self.node.peers, 0)

    def test_a_client_that_is_closed_says_so(self):
        client = self.against(lambda peer, it: peer.answer(it, PONG))
        client.ping()
        client.close()
        self.assertRaises(RuntimeError, client.ping)


class SynchronousDecorator(Case):
    def test_a_function_is_called_if_the_answer_is_yes(self):
        client = self.against(lambda peer, it: peer.answer(it, decision(it.field(Tag.USER_KEY) == "good")))

        @client.limited(user_key=lambda key, **_: key, usage={"hits": 1})
        def work(key, times=1):
            return key * times

        self.assertEqual(work("good", times=2), "goodgood")
        with self.assertRaises(Denied) as caught:
            work("bad")
        self.assertFalse(caught.exception.decision)
        instead = client.limited(user_key="bad", on_denied=lambda it: it.reason)(lambda: "called")
        self.assertEqual(instead(), "limits_exceeded")
        self.assertEqual(work.__name__, "work")

    def test_mistakes_show_when_a_function_is_decorated(self):
        client = self.against(lambda peer, it: None)
        with self.assertRaises(TypeError):
            client.limited(user="x")

        async def coroutine():
            pass

        with self.assertRaises(TypeError):
            client.limited(user_key="x")(coroutine)


class Interrupted(Case):
    def test_a_connection_that_was_interrupted_is_not_used_again(self):
        class Alarm(BaseException):
            pass

        def ring(*_):
            raise Alarm

        client = self.against(lambda peer, it: peer.number == 1 or peer.answer(it, PONG), timeout_s=10)
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, ring))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        self.assertRaises(Alarm, client.ping)
        self.assertEqual(client.ping(), tollgate.Pong(5, 6))
        self.assertEqual(self.node.peers, 2)


class Sharing(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # Hundreds of tasks at once are no slow callback.
        asyncio.get_running_loop().slow_callback_duration = 10

    async def against(self, respond, welcome=None, **options):
        node = FakeNode(respond, **(welcome or {}))
        self.addCleanup(node.close)
        client = tollgate.AsyncClient(node.address, **({"secret": SECRET.decode(), "bind": False} | options))
        self.addAsyncCleanup(client.close)
        return node, client

    async def test_the_decorator_waits(self):
        _, client = await self.against(
            lambda peer, it: peer.answer(it, decision(it.field(Tag.USER_KEY) == "good"))
        )

        @client.limited(user_key=lambda key: key, usage=lambda key: {"hits": len(key)})
        async def work(key):
            return key

        self.assertEqual(await work("good"), "good")
        with self.assertRaises(Denied):
            await work("bad")

        async def instead(decision_):
            return decision_.reason

        self.assertEqual(
            await client.limited(user_key="bad", on_denied=instead)(work)("x"), "limits_exceeded"
        )
        with self.assertRaises(TypeError):
            client.limited(user_key="x")(lambda: None)

    async def test_many_tasks_share_a_connection_and_its_window(self):
        held, most = [], [0]

        def respond(peer, request):
            held.append(request)
            most[0] = max(most[0], len(held))
            if len(held) == 8:
                for it in reversed(held):
                    peer.answer(it, decision(count=it.field(Tag.USAGE).amount, marks=5))
                held.clear()

        node, client = await self.against(respond, {"window": 8}, timeout_s=10)
        found = await asyncio.gather(*(client.authrep(user_key="k", usage={"hits": n}) for n in range(800)))
        self.assertEqual([it.count for it in found], list(range(800)))
        self.assertEqual((node.peers, most[0]), (1, 8))

    async def test_a_task_that_is_cancelled_before_its_turn_counts_nothing(self):
        node, client = await self.against(
            lambda peer, it: it.operation == Operation.PING and peer.answer(it, PONG), {"window": 1}
        )
        await client.ping()
        first = asyncio.create_task(client.report(**YES))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(client.report(user_key="second"))
        await asyncio.sleep(0.05)
        second.cancel()
        with self.assertRaises(Unavailable):
            await first
        self.assertEqual([it.operation.name for it in node.requests], ["PING", "REPORT"])

    async def test_an_idle_connection_is_kept_alive(self):
        node, client = await self.against(lambda peer, it: peer.answer(it, PONG), {"idle_ms": 120})
        await client.ping()
        await asyncio.sleep(0.3)
        self.assertGreaterEqual(len(node.requests), 3)
        self.assertEqual(node.peers, 1)


if __name__ == "__main__":
    unittest.main()
