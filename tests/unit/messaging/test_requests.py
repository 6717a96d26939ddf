"""Request and reply: by number, with a negative answer at once when there is nobody to ask."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import BacklogFull, Rejected, TimedOut, Unreachable
from chatproto.messaging import QueueLimits, Requests


class RequestsTests(SynchronousTestCase):
    def make(self, *, up: bool = True, **limits: int) -> Requests[str]:
        self.clock = Clock()
        self.written: list[bytes] = []
        self.requests: Requests[str] = Requests(self.clock, QueueLimits(**limits))  # type: ignore[arg-type]
        if up:
            self.requests.opened(self.written.append)
        return self.requests

    def ask(self, question: str, timeout_s: float = 10.0) -> Deferred[str]:
        return self.requests.ask(lambda number: f"{number}:{question};".encode(), timeout_s)

    def test_each_has_its_own_answer(self) -> None:
        """Whatever comes first."""
        self.make()
        first, second = self.ask("who"), self.ask("where")
        self.assertEqual(self.written, [b"1:who;", b"2:where;"])
        self.assertTrue(self.requests.answered(2, "here"))
        self.assertNoResult(first)
        self.assertTrue(self.requests.answered(1, "me"))
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("me", "here"))
        self.assertFalse(self.requests.answered(2, "here"))
        self.assertEqual((len(self.requests), self.clock.getDelayedCalls()), (0, []))

    def test_nobody_to_ask(self) -> None:
        """At once, and nothing of it is asked later."""
        self.make(up=False)
        self.assertFalse(self.failureResultOf(self.ask("who"), Unreachable).value.sent)
        self.requests.opened(self.written.append)
        self.assertEqual(self.written, [])

    def test_the_link_breaks(self) -> None:
        """For what waits to be asked as for what was asked; an answer to the old link's is none on the new one."""
        self.make(in_flight_max=1)
        asked, unasked = self.ask("who"), self.ask("where")
        self.requests.closed()
        self.assertTrue(self.failureResultOf(asked, Unreachable).value.sent)
        self.assertFalse(self.failureResultOf(unasked, Unreachable).value.sent)
        self.requests.opened(self.written.append)
        again = self.ask("who")
        self.assertEqual(self.written, [b"1:who;", b"3:who;"])
        self.assertFalse(self.requests.answered(1, "me"))
        self.assertNoResult(again)

    def test_refused(self) -> None:
        self.make()
        asked = self.ask("who")
        self.assertTrue(self.requests.rejected(1, "busy"))
        self.assertEqual(self.failureResultOf(asked, Rejected).value.reason, "busy")
        self.assertFalse(self.requests.rejected(1, "busy"))

    def test_no_answer_in_time(self) -> None:
        self.make()
        asked = self.ask("who", 2.0)
        self.clock.advance(2.0)
        self.failureResultOf(asked, TimedOut)
        self.assertFalse(self.requests.answered(1, "me"))

    def test_taking_turns(self) -> None:
        self.make(in_flight_max=1)
        asked = [self.ask(question) for question in ("who", "where")]
        self.assertEqual(self.written, [b"1:who;"])
        self.requests.answered(1, "me")
        self.assertEqual(self.written, [b"1:who;", b"2:where;"])
        self.successResultOf(asked[0])

    def test_too_many(self) -> None:
        self.make(queue_max=1)
        asked = self.ask("who")
        self.failureResultOf(self.ask("where"), BacklogFull)
        self.requests.answered(1, "me")
        self.successResultOf(asked)

    def test_whoever_asked_no_longer_waits(self) -> None:
        self.make()
        asked = self.ask("who")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertFalse(self.requests.answered(1, "me"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_link_ends_while_it_is_written_to(self) -> None:
        """As one does that finds nobody at its other end."""
        self.make(up=False)
        self.requests.opened(lambda data: self.requests.closed())
        self.failureResultOf(self.ask("who"), Unreachable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
