import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.dialler import Backoff, Dialler

PATIENCE = 2.0
PAUSE = (0.25, 0.5)


class BackoffTests(SynchronousTestCase):
    def test_pauses_double_up_to_a_ceiling(self) -> None:
        backoff = Backoff(1.0, 5.0)
        self.assertEqual([backoff() for _ in range(5)], [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (2.5, 5.0), (2.5, 5.0)])
        self.assertEqual(backoff.failures, 5)

    def test_an_outage_may_last_for_ever(self) -> None:
        backoff = Backoff(1.0, 5.0)
        backoff.failures = 10**6
        self.assertEqual(backoff(), (2.5, 5.0))

    def test_only_a_connection_that_lasted_begins_them_anew(self) -> None:
        backoff = Backoff(1.0, 5.0)
        for _ in range(5):
            backoff()
        backoff.lasted(4.9)
        self.assertEqual(backoff(), (2.5, 5.0))
        backoff.lasted(5.0)
        self.assertEqual(backoff(), (0.5, 1.0))


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Notes each try; what becomes of it a test says."""

    def __init__(self) -> None:
        self.tries: list[tuple[Any, Deferred[Any]]] = []
        self.answer: Callable[[], Deferred[Any]] = Deferred

    def connect(self, factory: Any) -> "Deferred[Any]":
        self.tries.append((factory, self.answer()))
        return self.tries[-1][1]

    def connect_now(self, number: int) -> None:
        """Connect by a try, counted from 1."""
        factory, trying = self.tries[number - 1]
        protocol = factory.buildProtocol(None)
        if not trying.called:
            trying.callback(protocol)


class DiallerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.made: list[tuple[int, bool]] = []
        self.failures: list[tuple[str, bool]] = []
        self.then: Callable[[], None] = lambda: None
        self.dialler = Dialler(
            self.endpoint, self.make, self.failed, self.clock, random.Random(1), PATIENCE, lambda: PAUSE
        )

    def make(self, number: int) -> Protocol:
        self.made.append((number, self.dialler.made_by(number)))
        return Protocol()

    def failed(self, reason: str, *, refused: bool) -> None:
        self.failures.append((reason, refused))
        self.then()

    def test_nothing_is_dialled_before_it_is_started(self) -> None:
        self.clock.advance(60)
        self.assertEqual(self.endpoint.tries, [])

    def test_a_connection_is_made_by_the_try_under_way(self) -> None:
        self.dialler.start()
        self.endpoint.connect_now(1)
        self.assertEqual((self.made, self.dialler.trying, self.clock.getDelayedCalls()), ([(1, True)], False, []))

    def test_a_failure_says_whether_it_was_refused(self) -> None:
        self.dialler.start()
        for error in (ConnectionRefusedError(), ConnectionLost()):
            self.endpoint.tries[-1][1].errback(error)
            self.clock.advance(PAUSE[1])
        self.assertEqual([refused for _, refused in self.failures], [True, False])

    def test_an_endpoint_that_raises_has_failed(self) -> None:
        def refuse() -> "Deferred[Any]":
            raise ValueError("no such thing")

        self.endpoint.answer = refuse
        self.dialler.start()
        self.assertEqual(self.failures, [("no such thing", False)])

    def test_a_try_that_hangs_is_given_up_and_said_to_be(self) -> None:
        self.dialler.start()
        self.clock.advance(PATIENCE)
        self.assertEqual(self.failures, [("no connection within 2.0 s", False)])
        self.assertTrue(self.endpoint.tries[0][1].called)

    def test_one_that_was_given_up_and_comes_through_does_not_count(self) -> None:
        self.dialler.start()
        self.clock.advance(PATIENCE)
        self.endpoint.connect_now(1)
        self.clock.advance(PAUSE[1])
        self.endpoint.connect_now(1)
        self.endpoint.connect_now(2)
        self.assertEqual(self.made, [(1, False), (1, False), (2, True)])

    def test_one_that_is_lost_while_it_is_made_is_dialled_again(self) -> None:
        """The endpoint tells of a connection only after the protocol was made."""
        self.dialler.start()
        self.dialler.again(PAUSE)
        self.endpoint.connect_now(1)
        self.clock.advance(PAUSE[1])
        self.assertEqual(self.dialler.tries, 2)

    def test_the_next_try_is_settled_before_a_failure_is_told(self) -> None:
        """So whoever hears of it may stop it."""
        self.endpoint.answer = lambda: fail(ConnectionRefusedError())
        self.then = self.dialler.stop
        self.dialler.start()
        self.clock.advance(60)
        self.assertEqual((len(self.endpoint.tries), self.clock.getDelayedCalls()), (1, []))

    def test_nothing_is_dialled_after_it_is_stopped(self) -> None:
        self.dialler.start()
        self.dialler.stop()
        self.dialler.again(PAUSE)
        self.clock.advance(60)
        self.assertEqual((len(self.endpoint.tries), self.failures, self.clock.getDelayedCalls()), (1, [], []))
        self.assertTrue(self.endpoint.tries[0][1].called)
