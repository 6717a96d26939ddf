"""The simulated clock, and a host's view of it."""

import random

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chatproto.testing import Livelock, NeverHappened, SimClock
from chatproto.testing.clock import HostClock


class SimClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SimClock()
        self.heard: list[tuple[object, float]] = []

    def hear(self, what: object) -> None:
        self.heard.append((what, self.clock.seconds()))

    def test_each_call_at_its_own_time(self) -> None:
        """A call sees the time it was made for, not the end of the run."""
        self.clock.callLater(2, self.hear, "b")
        self.clock.callLater(1, self.hear, "a")
        self.clock.advance(5)
        self.assertEqual(self.heard, [("a", 1.0), ("b", 2.0)])
        self.assertEqual(self.clock.seconds(), 5.0)

    def test_calls_of_one_time_in_the_order_made(self) -> None:
        """However many there are, and though some were made within the run."""
        for number in range(50):
            self.clock.callLater(1, self.hear, number)
        self.clock.callLater(0.5, self.clock.callLater, 0.5, self.hear, "last")
        self.clock.run(1)
        self.assertEqual([what for what, _ in self.heard], [*range(50), "last"])

    def test_calls_made_within_the_run(self) -> None:
        """What a call asks for comes in the same run, at its own time."""
        looping = LoopingCall(self.hear, "tick")
        looping.clock = self.clock
        looping.start(0.25)
        self.clock.run(1)
        self.assertEqual([time for _, time in self.heard], [0, 0.25, 0.5, 0.75, 1])

    def test_put_off_and_brought_forward(self) -> None:
        """A call comes when it was last said to, once."""
        later = self.clock.callLater(1, self.hear, "later")
        sooner = self.clock.callLater(5, self.hear, "sooner")
        both = self.clock.callLater(3, self.hear, "both")
        self.clock.callLater(2, self.hear, "between")
        later.delay(3)
        sooner.reset(1.5)
        both.reset(10)
        self.clock.run(1)
        both.reset(2.25)
        self.clock.run(9)
        expected = [("sooner", 1.5), ("between", 2.0), ("both", 3.25), ("later", 4.0)]
        self.assertEqual(self.heard, expected)

    def test_put_off_twice_brought_back(self) -> None:
        """A call put off, and after its first time brought forward, is not late."""
        call = self.clock.callLater(1, self.hear, "x")
        call.reset(5)
        self.clock.run(2)
        call.reset(1)
        self.clock.run(5)
        self.assertEqual(self.heard, [("x", 3.0)])

    def test_cancelled_calls_are_forgotten(self) -> None:
        """None of them is made, and they do not pile up."""
        for _ in range(10_000):
            self.clock.callLater(3600, self.hear, "no").cancel()
        kept = self.clock.callLater(3600, self.hear, "yes")
        self.assertEqual(list(self.clock.getDelayedCalls()), [kept])
        self.assertLess(len(self.clock._heap), 500)
        self.clock.run(3600)
        self.assertEqual(self.heard, [("yes", 3600.0)])

    def test_livelock(self) -> None:
        """A call that asks for itself at once, for ever, raises instead of hanging."""
        clock = SimClock(events_per_second_max=1000)

        def again() -> None:
            clock.callLater(0, again)

        again()
        self.assertRaises(Livelock, clock.run, 1)

    def test_busy_is_no_livelock(self) -> None:
        """The ceiling is for one simulated second, not for the run."""
        clock = SimClock(events_per_second_max=1000)
        looping = LoopingCall(lambda: None)
        looping.clock = clock
        looping.start(1 / 512)
        clock.run(60)
        self.assertGreater(clock.events, 20_000)

    def test_after_each(self) -> None:
        """A check runs after every event, and what it raises ends the run there."""
        for number in range(5):
            self.clock.callLater(number, self.hear, number)

        def check() -> None:
            self.assertLess(len(self.heard), 3)

        self.assertRaises(self.failureException, self.clock.run, 10, check)
        self.assertEqual(self.clock.seconds(), 2.0)
        self.clock.run(10)
        self.assertEqual(len(self.heard), 5)

    def test_run_until(self) -> None:
        """Stops at the event that made it so, and tells how long it took."""
        self.clock.run(1)
        for number in range(5):
            self.clock.callLater(number + 0.5, self.hear, number)
        self.assertEqual(self.clock.run_until(lambda: len(self.heard) == 3, 10), 2.5)
        self.assertEqual(self.clock.run_until(lambda: True, 0), 0)
        self.assertEqual(len(self.heard), 3)

    def test_never(self) -> None:
        """What does not come in time is an error that a test cannot overlook, and no time is lost."""
        self.clock.callLater(7, self.hear, "late")
        self.assertRaises(NeverHappened, self.clock.run_until, lambda: self.heard, 5)
        self.assertEqual((self.clock.seconds(), self.heard), (5.0, []))
        self.assertRaises(NeverHappened, SimClock().run_until, lambda: False, 5)

    def test_not_from_inside(self) -> None:
        """An event cannot let time pass: the events after it would come before its end."""
        self.clock.callLater(1, self.clock.run, 1)
        self.assertRaises(RuntimeError, self.clock.run, 2)
        self.clock.run(1)

    def test_never_into_the_past(self) -> None:
        self.assertRaises(ValueError, self.clock.callLater, -1, self.hear)

    def test_raising_call(self) -> None:
        """What a call of the simulation raises reaches whoever lets time pass; the rest can go on."""
        self.clock.callLater(1, {}.__getitem__, "missing")
        self.clock.callLater(2, self.hear, "after")
        self.assertRaises(KeyError, self.clock.run, 5)
        self.clock.run(5)
        self.assertEqual(self.heard, [("after", 2.0)])

    def test_any_order_of_changes(self) -> None:
        """Against a plain list: calls made, put off, brought forward and cancelled at random."""
        for seed in range(50):
            dice = random.Random(seed)
            clock = SimClock()
            heard: list[tuple[int, float]] = []
            calls = {}
            times = {}

            def hear(number: int, heard: list[tuple[int, float]] = heard, clock: SimClock = clock) -> None:
                heard.append((number, clock.seconds()))

            for number in range(60):
                calls[number] = clock.callLater(times.setdefault(number, dice.uniform(0, 9)), hear, number)
            for _ in range(200):
                number = dice.randrange(60)
                if number not in times:
                    continue
                if dice.random() < 0.1:
                    calls[number].cancel()
                    del times[number]
                else:
                    times[number] = dice.uniform(0, 9)
                    calls[number].reset(times[number])
            clock.run(10)
            expected = sorted((time, number) for number, time in times.items())
            self.assertEqual([number for number, _ in heard], [number for _, number in expected], seed)
            for (_, time), (wanted, _) in zip(heard, expected, strict=True):
                self.assertAlmostEqual(time, wanted, msg=seed)


class HostClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SimClock()
        self.host = HostClock(self.clock)
        self.heard: list[tuple[object, float]] = []

    def hear(self, what: object) -> None:
        self.heard.append((what, self.host.seconds()))

    def test_interface(self) -> None:
        verifyObject(IReactorTime, self.host)
        verifyObject(IReactorTime, self.clock)

    def test_calls_wait_while_paused(self) -> None:
        """They are made once the host goes on, in order and late, and the time is what it is."""
        self.host.callLater(1, self.hear, "before")
        self.host.callLater(2, self.hear, "in")
        self.host.callLater(2.5, self.hear, "also in")
        self.host.callLater(9, self.hear, "after")
        self.clock.run(1.5)
        self.host.pause()
        self.clock.run(3.5)
        self.assertEqual(self.heard, [("before", 1.0)])
        self.assertEqual(len(self.host.getDelayedCalls()), 3)
        self.host.resume()
        self.clock.run(5)
        expected = [("before", 1.0), ("in", 5.0), ("also in", 5.0), ("after", 9.0)]
        self.assertEqual(self.heard, expected)

    def test_overdue_call_can_be_cancelled_or_put_off(self) -> None:
        """By a call that comes before it, as in a reactor."""
        self.host.callLater(1, lambda: cancelled.cancel())
        self.host.callLater(1, lambda: put_off.reset(3))
        cancelled = self.host.callLater(1, self.hear, "no")
        put_off = self.host.callLater(1, self.hear, "put off")
        self.host.pause()
        self.clock.run(4)
        self.host.resume()
        self.clock.run(10)
        self.assertEqual(self.heard, [("put off", 7.0)])

    def test_nothing_after_death(self) -> None:
        """Neither what was asked for before, nor what is asked for then, nor what waited."""
        self.host.callLater(1, self.hear, "overdue")
        self.host.callLater(5, self.hear, "to come")
        self.host.pause()
        self.clock.run(2)
        self.host.die()
        self.host.resume()
        self.host.callLater(0, self.hear, "asked for when dead")
        deferLater(self.host, 0, self.hear, "too")
        self.clock.run(10)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.host.getDelayedCalls(), [])

    def test_a_call_that_raises(self) -> None:
        """It is logged, and the others are made, as in a reactor."""
        self.host.callLater(1, {}.__getitem__, "missing")
        self.host.callLater(1, self.hear, "next")
        self.clock.run(2)
        self.assertEqual(self.heard, [("next", 1.0)])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_own_calls_only(self) -> None:
        """A host does not see the calls of others."""
        other = HostClock(self.clock)
        mine = self.host.callLater(1, self.hear, 1)
        other.callLater(1, self.hear, 2)
        self.assertEqual(list(self.host.getDelayedCalls()), [mine])
