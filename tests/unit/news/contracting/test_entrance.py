import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.attempts import WAIT_S_MIN
from chatproto.errors import Rejected
from chatproto.news.contracting.book import Book
from chatproto.news.contracting.entrance import AT_ONCE_MAX, NEWCOMERS, PER_ORIGIN_MAX, WAITING_MAX, Entrance

HERE, THERE = "10.0.0.1", "10.0.0.2"


class EntranceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.book = Clock(), Book()
        self.entrance = self.make(execute)
        opened, self.ticket = self.successResultOf(self.entrance.make("ada", "secret", HERE))
        self.book.apply(opened)

    def make(self, aside: Callable[[Callable[[], Any]], "Deferred[Any]"]) -> Entrance:
        return Entrance(self.book, aside, self.clock, random.Random(1), cost_log2=4)

    def refused(self, deferred: "Deferred[Any]") -> str:
        rejected: Rejected = self.failureResultOf(deferred, Rejected).value
        return rejected.reason


class CheckTests(EntranceTestCase):
    def test_the_right_password(self) -> None:
        self.assertEqual(self.successResultOf(self.entrance.check("ada", "secret", HERE)), self.ticket)
        self.assertEqual(self.successResultOf(self.entrance.check("ada", "secret", None)), self.ticket)

    def test_a_failure_slows_whoever_failed_and_nobody_else(self) -> None:
        self.assertEqual(self.refused(self.entrance.check("ada", "guess", HERE)), "login-failed")
        self.assertEqual(self.refused(self.entrance.check("ada", "secret", HERE)), "slowed")
        self.assertEqual(self.successResultOf(self.entrance.check("ada", "secret", THERE)), self.ticket)
        self.clock.advance(WAIT_S_MIN)
        self.assertEqual(self.successResultOf(self.entrance.check("ada", "secret", HERE)), self.ticket)

    def test_what_is_no_password(self) -> None:
        self.assertEqual(self.refused(self.entrance.make("bob", "x" * 1025, HERE)), "bad-password")


class NewcomersTests(EntranceTestCase):
    def test_one_address_makes_so_many_readers_and_then_a_few(self) -> None:
        for number in range(NEWCOMERS.arrivals_at_once - 1):
            self.successResultOf(self.entrance.make(f"bot-{number}", "secret", HERE))
        self.assertEqual(self.refused(self.entrance.make("bob", "secret", HERE)), "slowed")
        self.assertEqual(self.successResultOf(self.entrance.check("ada", "secret", HERE)), self.ticket)
        self.successResultOf(self.entrance.make("bob", "secret", THERE))
        self.successResultOf(self.entrance.make("cy", "secret", None))
        self.clock.advance(1 / NEWCOMERS.arrivals_a_second)
        self.successResultOf(self.entrance.make("dan", "secret", HERE))
        self.assertEqual(self.refused(self.entrance.make("eve", "secret", HERE)), "slowed")


class AsideTests(EntranceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.doing: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.entrance = self.make(self.put_aside)

    def put_aside(self, call: Callable[[], Any]) -> "Deferred[Any]":
        doing: Deferred[Any] = Deferred()
        self.doing.append((call, doing))
        return doing

    def finish(self) -> None:
        call, doing = self.doing.pop(0)
        doing.callback(call())

    def test_a_few_at_a_time(self) -> None:
        checks = [self.entrance.check("ada", "secret", f"10.0.1.{number}") for number in range(AT_ONCE_MAX + 1)]
        self.assertEqual(len(self.doing), AT_ONCE_MAX)
        self.finish()
        self.assertEqual(self.successResultOf(checks[0]), self.ticket)
        self.assertEqual(len(self.doing), AT_ONCE_MAX)

    def test_for_those_who_have_gone_nothing_is_done(self) -> None:
        there = False
        for number in range(AT_ONCE_MAX):
            self.entrance.check("ada", "guess", f"10.0.1.{number}").addErrback(lambda failure: None)
        gone = [self.entrance.check("ada", "guess", f"10.0.2.{number}", lambda: there) for number in range(5)]
        last = self.entrance.make("bob", "secret", HERE)
        self.finish()
        self.assertEqual({self.refused(check) for check in gone}, {"busy"})
        self.finish()
        self.finish()
        self.assertEqual((self.successResultOf(last)[0].reader, self.doing), ("bob", []))

    def test_one_address_has_so_many(self) -> None:
        checks = [self.entrance.check("ada", "secret", HERE) for _ in range(PER_ORIGIN_MAX)]
        self.assertEqual(self.refused(self.entrance.check("ada", "secret", HERE)), "slowed")
        self.assertEqual(self.refused(self.entrance.make("bob", "secret", HERE)), "slowed")
        self.finish()
        self.assertNoResult(self.entrance.check("ada", "secret", HERE))
        self.assertNoResult(checks[1])

    def test_so_many_wait(self) -> None:
        for number in range(AT_ONCE_MAX + WAITING_MAX):
            self.entrance.check("ada", "secret", f"10.0.{number}.1")
        self.assertEqual(self.refused(self.entrance.check("ada", "secret", HERE)), "busy")
