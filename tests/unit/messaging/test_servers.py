"""One request at a time, or several: each is answered, and what is too much is told so."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import Rejected
from chatproto.messaging import Access, ConcurrentServer, SequentialServer
from chatproto.messaging.servers import REFUSALS


class ServerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[str] = []
        self.doing: dict[str, Deferred[str]] = {}

    def operation(self, request: str) -> Deferred[str]:
        self.begun.append(request)
        self.doing[request] = Deferred()
        return self.doing[request]

    def tidies_up(self, request: str) -> Deferred[str]:
        """Begin what takes its time also after it was cancelled, until it is `done`."""
        doing: Deferred[str] = Deferred()
        return doing.addErrback(lambda failure: self.operation(request))

    def done(self, *requests: str) -> None:
        for request in requests:
            self.doing.pop(request).callback(request.upper())

    def concurrent(self, at_once_max: int, waiting_max: int = 10) -> "ConcurrentServer[str, str]":
        return ConcurrentServer(
            self.operation,
            at_once_max=at_once_max,
            waiting_max=waiting_max,
            access=lambda request: Access.WRITE if request.startswith("w") else Access.READ,
        )

    def sequential(self, operation: Any = None, waiting_max: int = 10) -> "SequentialServer[str, str]":
        operation = operation or self.operation
        return SequentialServer(operation, waiting_max=waiting_max)

    def check_refused(self, answer: "Deferred[Any]", reason: str) -> None:
        self.assertEqual(self.failureResultOf(answer, Rejected).value.reason, reason)


class SequentialTests(ServerTestCase):
    def test_one_after_the_other(self) -> None:
        server = self.sequential()
        first, second = server.serve("a"), server.serve("b")
        self.assertEqual((self.begun, len(server)), (["a"], 2))
        self.done("a")
        self.assertEqual(self.successResultOf(first), "A")
        self.assertEqual(self.begun, ["a", "b"])
        self.assertNoResult(second)
        self.done("b")
        self.assertEqual((self.successResultOf(second), len(server)), ("B", 0))

    def test_an_answer_at_once(self) -> None:
        self.assertEqual(self.successResultOf(self.sequential(str.upper).serve("a")), "A")

    def test_a_coroutine(self) -> None:
        async def operation(request: str) -> str:
            return await self.operation(request)

        answer = self.sequential(operation).serve("a")
        self.done("a")
        self.assertEqual(self.successResultOf(answer), "A")

    def test_answered_in_order(self) -> None:
        """Also where what comes next is done as soon as it begins."""
        first: Deferred[str] = Deferred()
        server = self.sequential(lambda request: first if request == "a" else request)
        told: list[object] = []
        for request in "abc":
            server.serve(request).addCallback(told.append)
        self.assertEqual(told, [])
        first.callback("a")
        self.assertEqual(told, ["a", "b", "c"])

    def test_many_that_are_done_at_once(self) -> None:
        """They are done one after the other, not one inside the other."""
        first: Deferred[str] = Deferred()
        server = self.sequential(lambda request: request if request else first, waiting_max=5000)
        answers = [server.serve(request) for request in ["", *["x"] * 5000]]
        first.callback("")
        for answer in answers:
            self.successResultOf(answer)

    def test_who_is_answered_may_ask(self) -> None:
        """And comes after those who waited."""
        server = self.sequential()
        dialogue = server.serve("a").addCallback(lambda answer: server.serve(answer + "2"))
        other = server.serve("b")
        self.done("a")
        self.assertEqual(self.begun, ["a", "b"])
        self.done("b", "A2")
        self.assertEqual((self.successResultOf(other), self.successResultOf(dialogue)), ("B", "A2"))

    def test_busy(self) -> None:
        server = self.sequential(waiting_max=1)
        answers = [server.serve(request) for request in "abc"]
        self.check_refused(answers[2], "busy")
        self.assertIn("busy", REFUSALS)
        self.done("a", "b")
        self.assertEqual([self.successResultOf(answer) for answer in answers[:2]], ["A", "B"])


class ConcurrentTests(ServerTestCase):
    def test_so_many_at_once(self) -> None:
        server = self.concurrent(2)
        answers = [server.serve(request) for request in "abc"]
        self.assertEqual(self.begun, ["a", "b"])
        self.done("b")
        self.assertEqual(self.begun, ["a", "b", "c"])
        self.done("c", "a")
        self.assertEqual([self.successResultOf(answer) for answer in answers], ["A", "B", "C"])

    def test_a_writer_is_alone(self) -> None:
        server = self.concurrent(3)
        for request in ("r1", "r2", "w1", "r3", "r4"):
            server.serve(request)
        self.done("r1")
        self.assertEqual(self.begun, ["r1", "r2"])
        self.done("r2")
        self.assertEqual(self.begun[2:], ["w1"])
        self.done("w1")
        self.assertEqual(self.begun[3:], ["r3", "r4"])

    def test_who_says_nothing_of_it_only_reads(self) -> None:
        server: ConcurrentServer[str, str]
        server = ConcurrentServer(self.operation, at_once_max=2, waiting_max=0)
        server.serve("w1")
        server.serve("w2")
        self.assertEqual(self.begun, ["w1", "w2"])


class FailureTests(ServerTestCase):
    def test_what_fails_is_logged_and_told_no_details(self) -> None:
        def operation(request: str) -> str:
            if request == "bad":
                raise ValueError("secret")
            return request

        server = self.sequential(operation)
        with capturedLogs() as logged:
            self.check_refused(server.serve("bad"), "failed")
        (event,) = logged
        self.assertIs(event["log_level"], LogLevel.critical)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.successResultOf(server.serve("good")), "good")

    def test_what_fails_later(self) -> None:
        server = self.sequential()
        bad, good = server.serve("bad"), server.serve("good")
        self.doing["bad"].errback(ValueError())
        self.check_refused(bad, "failed")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.done("good")
        self.successResultOf(good)

    def test_a_reason_is_told_and_not_logged(self) -> None:
        server = self.sequential()
        answer = server.serve("a")
        with capturedLogs() as logged:
            self.doing["a"].errback(Rejected("no-such-room"))
        self.check_refused(answer, "no-such-room")
        self.assertEqual(logged, [])

    def test_cancelled_by_nobody(self) -> None:
        """An operation that cancels itself has failed."""
        server = self.sequential()
        answer = server.serve("a")
        self.doing["a"].cancel()
        self.check_refused(answer, "failed")
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)


class CancelTests(ServerTestCase):
    def test_one_that_waits_is_forgotten(self) -> None:
        server = self.concurrent(2)
        for request in ("r1", "r2"):
            server.serve(request)
        writer, reader = server.serve("w"), server.serve("r3")
        self.done("r2")
        self.assertEqual(self.begun, ["r1", "r2"])
        writer.cancel()
        self.failureResultOf(writer, CancelledError)
        self.assertEqual(self.begun, ["r1", "r2", "r3"], "it held up who came after it")
        self.assertNoResult(reader)

    def test_of_one_under_way_the_operation_is_cancelled(self) -> None:
        server = self.sequential()
        first, second = server.serve("a"), server.serve("b")
        doing = self.doing["a"]
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertTrue(doing.called)
        self.assertEqual(self.begun, ["a", "b"])
        self.done("b")
        self.successResultOf(second)
        self.assertEqual(self.flushLoggedErrors(), [], "that is no failure")

    def test_an_operation_that_does_not_heed_it(self) -> None:
        """Its place is taken until it has ended; what it ends with, nobody waits for: only a failure is logged."""
        for failing in (False, True):
            server = self.sequential(self.tidies_up)
            answer = server.serve("a")
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
            self.assertEqual(len(server), 1)
            if failing:
                self.doing["a"].errback(ValueError())
            else:
                self.done("a")
            self.assertEqual(len(server), 0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_by_its_own_operation(self) -> None:
        """Before that has even said what it waits for."""
        asked: list[Deferred[str]] = []

        def operation(request: str) -> Deferred[str]:
            if request == "b":
                asked[1].cancel()
            return self.operation(request)

        server = self.sequential(operation)
        asked += [server.serve("a"), server.serve("b")]
        self.done("a")
        self.failureResultOf(asked[1], CancelledError)
        self.assertTrue(self.doing["b"].called)
        self.assertEqual(len(server), 0)


class StopTests(ServerTestCase):
    def check_quiet(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_under_way_may_end(self) -> None:
        server = self.concurrent(2)
        answers = [server.serve(request) for request in "abc"]
        stopping = [server.stop(), server.stop()]
        self.check_refused(answers[2], "stopping")
        self.check_refused(server.serve("d"), "stopping")
        self.done("a")
        self.assertNoResult(stopping[0])
        self.done("b")
        for stopped in stopping:
            self.successResultOf(stopped)
        self.assertEqual([self.successResultOf(answer) for answer in answers[:2]], ["A", "B"])
        self.assertEqual(self.begun, ["a", "b"])
        self.check_quiet()

    def test_nothing_begins(self) -> None:
        """Not even what had waited for a writer that is refused now."""
        server = self.concurrent(2)
        answers = [server.serve(request) for request in ("r1", "w", "r2")]
        stopping = server.stop()
        for answer in answers[1:]:
            self.check_refused(answer, "stopping")
        self.assertEqual(self.begun, ["r1"])
        self.done("r1")
        self.successResultOf(answers[0])
        self.successResultOf(stopping)

    def test_but_not_for_ever(self) -> None:
        server = self.sequential()
        answer = server.serve("a")
        stopping = server.stop().addTimeout(5.0, self.clock)
        self.clock.advance(4.9)
        self.assertNoResult(stopping)
        doing = self.doing["a"]
        self.clock.advance(0.1)
        self.check_refused(answer, "stopping")
        self.assertTrue(doing.called, "it is cancelled")
        self.successResultOf(stopping)
        self.check_quiet()

    def test_at_once(self) -> None:
        """Even if whoever has been waiting for it has more time."""
        server = self.sequential()
        answer = server.serve("a")
        patient, hasty = server.stop(), server.stop()
        hasty.cancel()
        self.successResultOf(hasty)
        self.successResultOf(patient)
        self.check_refused(answer, "stopping")
        self.check_quiet()

    def test_who_is_refused_may_have_it_cut_short(self) -> None:
        """In the middle of being cut short: nobody is refused twice."""
        server = self.concurrent(2)
        other = server.serve("b")
        answer = server.serve("a").addErrback(lambda failure: server.stop().cancel())
        server.stop().cancel()
        self.successResultOf(answer)
        self.check_refused(other, "stopping")
        self.assertEqual(len(server), 0)

    def test_all_are_answered_before_it_is_over(self) -> None:
        server = self.concurrent(2)
        told: list[str] = []
        for request in "ab":
            server.serve(request).addErrback(lambda failure: told.append(failure.value.reason))
        server.stop().addTimeout(5.0, self.clock).addCallback(lambda _: told.append("over"))
        self.clock.advance(5.0)
        self.assertEqual(told, ["stopping", "stopping", "over"])

    def test_with_nothing_to_do(self) -> None:
        server = self.sequential()
        self.successResultOf(server.stop())
        self.check_refused(server.serve("a"), "stopping")
        self.check_quiet()

    def test_one_that_nobody_waits_for_is_waited_for_all_the_same(self) -> None:
        server = self.sequential(self.tidies_up)
        answer = server.serve("a")
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        stopping = server.stop().addTimeout(5.0, self.clock)
        self.assertNoResult(stopping)
        self.clock.advance(5.0)
        self.successResultOf(stopping)
        self.done("a")
        self.check_quiet()

    def test_by_its_own_operation(self) -> None:
        """As an operator's command to stop does; a server that is told to wait for itself does so, for its time."""
        stopping: list[Deferred[None]] = []

        def operation(request: str) -> Deferred[str]:
            stopping.append(server.stop())
            stopping[0].cancel()
            return self.operation(request)

        server = self.sequential(operation)
        self.check_refused(server.serve("a"), "stopping")
        self.assertTrue(self.doing["a"].called)
        self.assertEqual(len(server), 0)
        self.successResultOf(stopping[0])
