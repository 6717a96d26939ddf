"""A queue on a link: what those who send are told, and when."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import BacklogFull, Rejected, TimedOut, Unreachable
from chatproto.messaging import QueueLimits, Sender


class SenderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.written: list[bytes] = []

    def make(self, *, up: bool = True, **limits: int) -> Sender[int, object]:
        self.sender: Sender[int, object] = Sender(self.clock, QueueLimits(**limits))  # type: ignore[arg-type]
        if up:
            self.sender.opened(self.written.append)
        return self.sender

    def send(self, key: int, timeout_s: float = 10.0, *, priority: int = 0, again: bool = False) -> Deferred[object]:
        return self.sender.send(key, b"%d;" % key, timeout_s, priority=priority, again=again)

    def check_quiet(self) -> None:
        self.assertEqual((len(self.sender), self.sender._waiting, self.clock.getDelayedCalls()), (0, {}, []))

    def test_acknowledged(self) -> None:
        self.make()
        sent = self.send(1)
        self.assertEqual(self.written, [b"1;"])
        self.assertNoResult(sent)
        self.assertTrue(self.sender.acknowledged(1, "kept"))
        self.assertEqual(self.successResultOf(sent), "kept")
        self.assertFalse(self.sender.acknowledged(1, None))
        self.check_quiet()

    def test_rejected(self) -> None:
        self.make()
        sent = self.send(1)
        self.assertTrue(self.sender.rejected(1, "no-such-identity"))
        self.assertEqual(self.failureResultOf(sent, Rejected).value.reason, "no-such-identity")
        self.assertFalse(self.sender.rejected(1, "no-such-identity"))
        self.check_quiet()

    def test_timed_out(self) -> None:
        self.make()
        late, later = self.send(1, 1.0), self.send(2, 2.0)
        self.clock.advance(0.9)
        self.assertNoResult(late)
        self.clock.advance(0.1)
        self.assertTrue(self.failureResultOf(late, TimedOut).value.sent)
        self.assertFalse(self.sender.acknowledged(1, None), "too late")
        self.assertNoResult(later)
        self.clock.advance(1.0)
        self.failureResultOf(later, TimedOut)
        self.check_quiet()

    def test_one_timer(self) -> None:
        """Whatever ends first is waited for; a shorter time that comes later counts from when it came."""
        self.make()
        sent = [self.send(number, timeout_s) for number, timeout_s in enumerate((5.0, 3.0, 4.0))]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.sender.acknowledged(1, None)
        self.clock.advance(3.5)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertNoResult(sent[2])
        self.clock.advance(0.5)
        self.failureResultOf(sent[2], TimedOut)
        self.assertNoResult(sent[0])

    def test_waits_for_a_link(self) -> None:
        self.make(up=False)
        self.assertFalse(self.sender.up)
        first, second = self.send(1), self.send(2, 1.0)
        self.clock.advance(1.0)
        self.assertFalse(self.failureResultOf(second, TimedOut).value.sent)
        self.sender.opened(self.written.append)
        self.assertEqual(self.written, [b"1;"])
        self.sender.acknowledged(1, None)
        self.successResultOf(first)

    def test_the_link_ends(self) -> None:
        """What may not be said twice ends with it; the rest goes out over the next one, under the same keys."""
        self.make(in_flight_max=2)
        once, again, unsent = self.send(1), self.send(2, again=True), self.send(3)
        self.sender.closed()
        self.assertTrue(self.failureResultOf(once, Unreachable).value.sent)
        self.assertNoResult(again)
        self.written.clear()
        self.sender.opened(self.written.append)
        self.assertEqual(self.written, [b"2;3;"], "in one write")
        for key in (2, 3):
            self.sender.acknowledged(key, key)
        self.assertEqual((self.successResultOf(again), self.successResultOf(unsent)), (2, 3))
        self.check_quiet()

    def test_given_up(self) -> None:
        self.make()
        again = self.send(1, again=True)
        self.sender.closed()
        unsent = self.send(2)
        self.sender.give_up()
        self.assertTrue(self.failureResultOf(again, Unreachable).value.sent)
        self.assertFalse(self.failureResultOf(unsent, Unreachable).value.sent)
        self.check_quiet()

    def test_full(self) -> None:
        self.make(queue_max=1)
        first = self.send(1)
        self.failureResultOf(self.send(2), BacklogFull)
        self.sender.acknowledged(1, None)
        self.successResultOf(first)
        self.check_quiet()

    def test_the_window_opens(self) -> None:
        self.make(in_flight_max=1)
        first, second, urgent = self.send(1), self.send(2), self.send(3, priority=1)
        self.assertEqual(self.written, [b"1;"])
        self.sender.acknowledged(1, None)
        self.assertEqual(self.written, [b"1;", b"3;"])
        self.successResultOf(first)
        self.sender.rejected(3, "busy")
        self.assertEqual(self.written, [b"1;", b"3;", b"2;"])
        self.failureResultOf(urgent, Rejected)
        self.assertNoResult(second)

    def test_cancelled_before_it_is_sent(self) -> None:
        self.make(up=False)
        sent = self.send(1)
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.check_quiet()
        self.sender.opened(self.written.append)
        self.assertEqual(self.written, [])

    def test_cancelled_after_it_is_sent(self) -> None:
        """Its place is free, and the answer is nobody's."""
        self.make(in_flight_max=1)
        sent = self.send(1)
        next_one = self.send(2)
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.assertEqual(self.written, [b"1;", b"2;"])
        self.assertFalse(self.sender.acknowledged(1, None))
        self.sender.acknowledged(2, None)
        self.successResultOf(next_one)

    def test_whoever_is_told_may_send_and_cancel(self) -> None:
        """Of what ends together each is told its own end, and a key is free as soon as its message has ended."""
        self.make()
        first, second = self.send(1), self.send(2)
        sent: list[Deferred[object]] = []

        def again(failure: object) -> None:
            sent.append(self.send(2))
            second.cancel()

        first.addErrback(again)
        self.sender.closed()
        self.failureResultOf(second, CancelledError)
        self.assertNoResult(sent[0])
        self.sender.opened(self.written.append)
        self.sender.acknowledged(2, None)
        self.successResultOf(sent[0])
        self.check_quiet()

    def test_an_answer_may_be_answered(self) -> None:
        """A dialogue: the next question is asked from the answer to the one before."""
        self.make(in_flight_max=1)
        first = self.send(1)
        first.addCallback(lambda value: self.send(value))
        self.sender.acknowledged(1, 2)
        self.assertEqual(self.written, [b"1;", b"2;"])
        self.sender.acknowledged(2, "the end")
        self.assertEqual(self.successResultOf(first), "the end")
