"""The monitor with a master, a stand-in and a registry that a test plays."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chatproto.monitor import IAlive, IPlace, IStandIn, MonitorService, State

EVERY_S, DEAD_S = 1.0, 2.0


class Died(Exception):
    """Refused."""


@implementer(IAlive, IStandIn, IPlace)
class World:
    """All that a monitor speaks to; what it was asked, in order."""

    def __init__(self) -> None:
        self.alive: Any = True
        self.said: list[str] = []
        self.activating: Any = None
        self.finishing: Any = None
        self.taking: Any = None
        self.giving: Any = None
        self.given_up = 0

    def ask(self) -> "Deferred[object]":
        if self.alive is None:
            return Deferred(lambda _: setattr(self, "given_up", self.given_up + 1))
        return succeed(None) if self.alive else fail(Died())

    def _do(self, what: str, answer: Any) -> "Deferred[object]":
        self.said.append(what)
        if isinstance(answer, Exception):
            return fail(answer)
        return answer if answer is not None else succeed(None)

    def activate(self) -> "Deferred[object]":
        return self._do("activate", self.activating)

    def stand_down(self) -> "Deferred[object]":
        return self._do("stand down", self.finishing)

    def take(self) -> "Deferred[object]":
        return self._do("take", self.taking)

    def give_back(self) -> "Deferred[object]":
        return self._do("give back", self.giving)


class MonitorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.world = World()
        self.monitor = MonitorService(
            self.clock, self.world, self.world, self.world, ask_every_s=EVERY_S, dead_after_s=DEAD_S
        )
        self.states: list[State] = []
        self.monitor.heard = lambda change: self.states.append(change.state)

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    def start(self) -> None:
        self.monitor.startService()
        self.run_for(1.0)

    def stand_in(self) -> None:
        self.start()
        self.world.alive = False
        self.run_for(EVERY_S + DEAD_S)
        self.assertEqual(self.monitor.watch.state, State.STANDING_IN)

    def test_what_it_speaks_to(self) -> None:
        for interface in (IAlive, IStandIn, IPlace):
            self.assertTrue(verifyObject(interface, self.world))

    def test_a_master_that_lives_is_left_alone(self) -> None:
        self.start()
        self.run_for(20)
        self.assertEqual((self.world.said, self.states), ([], [State.WATCHING]))
        self.successResultOf(self.monitor.stopService())
        self.assertEqual(self.clock.calls, [])

    def test_the_whole_story(self) -> None:
        self.stand_in()
        self.assertEqual(self.world.said, ["activate", "take"])
        self.world.finishing = Deferred()
        self.world.alive = True
        self.run_for(2)
        self.assertEqual(self.world.said[2:], ["give back", "stand down"])
        self.assertEqual(self.monitor.watch.state, State.STANDING_DOWN, "it has not finished")
        self.run_for(5)
        self.world.finishing.callback(None)
        self.assertEqual(
            self.states,
            [State.WATCHING, State.ACTIVATING, State.STANDING_IN, State.STANDING_DOWN, State.WATCHING],
        )
        self.run_for(5)
        self.assertEqual(len(self.world.said), 4)

    def test_a_master_that_only_takes_connections_is_dead(self) -> None:
        """A process that was stopped: its questions have no answer at all, and are given up."""
        self.start()
        self.world.alive = None
        self.run_for(EVERY_S + DEAD_S)
        self.assertEqual(self.monitor.watch.state, State.STANDING_IN)
        self.assertEqual(self.world.given_up, 1)

    def test_a_registry_that_is_away_stops_nobody(self) -> None:
        self.world.taking = Deferred()
        self.stand_in()
        self.world.taking = Died()
        self.world.giving = Died()
        self.world.alive = True
        self.run_for(2)
        self.assertEqual(self.monitor.watch.state, State.WATCHING)
        self.assertEqual(len(self.flushLoggedErrors(Died)), 1)

    def test_a_stand_in_that_cannot_serve(self) -> None:
        self.world.activating = Died()
        self.start()
        self.world.alive = False
        self.run_for(EVERY_S + DEAD_S)
        self.assertEqual(self.world.said, ["activate"])
        self.world.activating = None
        self.run_for(EVERY_S + DEAD_S + 1)
        self.assertEqual(self.world.said, ["activate", "activate", "take"])
        self.assertEqual(len(self.flushLoggedErrors(Died)), 1)

    def test_a_stand_in_that_ends_badly(self) -> None:
        self.stand_in()
        self.world.finishing = Died()
        self.world.alive = True
        self.run_for(2)
        self.assertEqual(self.monitor.watch.state, State.WATCHING)
        self.assertEqual(len(self.flushLoggedErrors(Died)), 1)

    def test_stopped_while_it_asks(self) -> None:
        self.start()
        self.world.alive = None
        self.run_for(1.5)
        self.successResultOf(self.monitor.stopService())
        self.assertEqual((self.world.given_up, self.clock.calls), (1, []))

    def test_stopped_while_the_stand_in_serves(self) -> None:
        """What it is doing is finished, and nothing is left in the registry."""
        self.stand_in()
        self.world.finishing = Deferred()
        stopping = self.monitor.stopService()
        self.assertEqual(self.world.said[2:], ["give back", "stand down"])
        self.assertNoResult(stopping)
        again = self.monitor.stopService()
        self.assertNoResult(again)
        self.world.finishing.callback(None)
        self.successResultOf(stopping)
        self.successResultOf(again)
        self.assertEqual((self.world.said[2:], self.clock.calls), (["give back", "stand down"], []))

    def test_stopped_while_the_stand_in_begins(self) -> None:
        self.world.activating = Deferred()
        self.start()
        self.world.alive = False
        self.run_for(EVERY_S + DEAD_S)
        stopping = self.monitor.stopService()
        self.assertNoResult(stopping)
        self.world.activating.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.world.said, ["activate", "take", "give back", "stand down"])

    def test_started_again(self) -> None:
        self.stand_in()
        self.successResultOf(self.monitor.stopService())
        self.world.alive = True
        self.monitor.startService()
        self.run_for(2)
        self.assertEqual(self.monitor.watch.state, State.WATCHING)
        self.assertEqual(len(self.world.said), 4)
