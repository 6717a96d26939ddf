"""The simulated deployment: processes that come and go, and checks that are heard from wherever they fail."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.testing import NeverHappened, SimDeployment, Violation, node_settings
from chatproto.testing.checkers import Chronicle, Forks
from chatproto.world import World

log = Logger()


class Ticking(Service):
    """Counts seconds in a list that outlives it, and takes half a second to stop."""

    def __init__(self, world: World, ticks: list[float]) -> None:
        self._world = world
        self._ticks = ticks

    def startService(self) -> None:
        super().startService()
        self._ticks.append(self._world.clock.seconds())
        self._world.clock.callLater(1, self.startService)

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        stopped: Deferred[None] = Deferred()
        self._world.clock.callLater(0.5, stopped.callback, None)
        return stopped


class DeploymentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.deployment = SimDeployment(1)

    def later(self, call: Callable[[], object]) -> None:
        """Have something happen in a process of the deployment."""
        self.deployment.network.host("client").reactor.callLater(0.5, call)

    def test_process(self) -> None:
        """A service tree of any kind runs until its host crashes, and again after it boots."""
        ticks: list[float] = []
        process = self.deployment.start("clock", lambda world: Ticking(world, ticks))
        self.assertEqual(self.deployment.processes["clock"], process)
        self.deployment.run(1.5)
        process.host.crash()
        self.deployment.run(1)
        process.host.boot()
        self.deployment.run(1.2)
        self.assertEqual(ticks, [0, 1, 2.5, 3.5])

    def test_polite_stop(self) -> None:
        """The process is there until its tree has stopped, and then it is gone."""
        process = self.deployment.start("clock", lambda world: Ticking(world, []))
        stopping = process.stop()
        self.deployment.run(0.4)
        self.assertTrue(process.host.alive)
        self.assertNoResult(stopping)
        self.deployment.run(0.2)
        self.assertFalse(process.host.alive)
        self.successResultOf(stopping)

    def test_stop_from_inside(self) -> None:
        """A program that asks its world to end it ends as an operator has it end."""
        worlds: list[World] = []

        def build(world: World) -> Ticking:
            worlds.append(world)
            return Ticking(world, [])

        process = self.deployment.start("clock", build)
        worlds[0].stop()
        self.assertTrue(process.host.alive)
        self.deployment.run(0.6)
        self.assertFalse(process.host.alive)

    def test_crash_while_stopping(self) -> None:
        """Who crashes does not stop any more, whatever its next life does."""
        process = self.deployment.start("clock", lambda world: Ticking(world, []))
        stopping = process.stop()
        process.host.crash()
        process.host.boot()
        self.deployment.run(2)
        self.assertTrue(process.host.alive)
        self.assertNoResult(stopping)

    def test_nodes(self) -> None:
        """Nodes are booted by name, with the settings given."""
        deployment = SimDeployment(1, {"east": node_settings("east", capacity=7)})
        self.assertEqual(list(deployment.nodes), ["east"])
        self.assertEqual(deployment.nodes["east"].server.settings.capacity, 7)
        self.assertIs(deployment.processes["east"], deployment.nodes["east"])
        self.assertEqual(deployment.nodes["east"].durable(), [])

    def test_violation_inside_a_process(self) -> None:
        """What a check finds inside a simulated process, where it would end a connection, ends the run."""

        def check() -> None:
            with self.deployment.watching():
                raise Violation("wrong")

        self.later(check)
        self.assertRaisesRegex(Violation, "wrong", self.deployment.run, 1)
        self.assertAlmostEqual(self.deployment.network.clock.seconds(), 0.5)

    def test_logged_failure(self) -> None:
        """A failure that somebody logged ends the run; what is said outside of it does not."""

        def fail_later() -> None:
            try:
                raise ValueError("broken")
            except ValueError:
                log.failure("something failed")

        fail_later()
        self.deployment.run(1)
        self.later(fail_later)
        self.assertRaisesRegex(Violation, "broken", self.deployment.run, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_dropped_deferred(self) -> None:
        """A failure in a Deferred that nobody looks at is found, at the latest when asked for."""
        self.deployment.check_deferreds()
        # In a circle, so that only the collector finds it.
        circle: list[Any] = [fail(ValueError("forgotten"))]
        circle.append(circle)
        del circle
        self.assertRaisesRegex(Violation, "forgotten", self.deployment.check_deferreds)
        self.flushLoggedErrors(ValueError)

    def test_settle(self) -> None:
        """Settling takes as long as somebody has a reason why not; in the end the reasons are told."""
        clock = self.deployment.network.clock
        took = self.deployment.settle(lambda: ["too early"] if clock.seconds() < 0.95 else [], 5)
        self.assertAlmostEqual(took, 1, 5)
        self.assertRaisesRegex(NeverHappened, "never is", self.deployment.settle, lambda: ["never is"], 2)
        self.assertAlmostEqual(clock.seconds(), 3, 5)

    def test_run_until(self) -> None:
        clock = self.deployment.network.clock
        self.later(lambda: None)
        self.deployment.run_until(lambda: clock.seconds() >= 0.5, 5)
        self.assertAlmostEqual(clock.seconds(), 0.5)
        self.assertRaises(NeverHappened, self.deployment.run_until, lambda: False, 1)


class PairTests(SynchronousTestCase):
    def test_pair(self) -> None:
        """Two nodes and a registry become a pair; the primary leads, each knows where its clients can go."""
        deployment = SimDeployment.pair(1)
        self.assertEqual(list(deployment.processes), ["registry", "primary", "secondary"])
        self.assertIn("primary is boot, not serving", deployment.unpaired())
        self.assertRaises(LookupError, deployment.leader)
        deployment.run_until_paired()
        self.assertEqual((deployment.leader().name, deployment.follower().name), ("primary", "secondary"))
        self.assertEqual(deployment.leader().server.settings.servers, ["primary:4444"])
        self.assertIsInstance(deployment.chronicle, Chronicle)
        assert deployment.registry is not None and deployment.registry.held is not None
        self.assertEqual(deployment.registry.held, deployment.follower().configuration)
        deployment.settle(deployment.unequal, 2)
        deployment.check_archives()

    def test_pair_without_a_witness(self) -> None:
        """Without a registry what is committed may move, and is checked as such."""
        deployment = SimDeployment.pair(1, witness=False, settings=lambda name: node_settings(name, capacity=7))
        self.assertEqual(list(deployment.processes), ["primary", "secondary"])
        self.assertIsInstance(deployment.chronicle, Forks)
        deployment.run_until_paired()
        self.assertEqual({node.server.settings.capacity for node in deployment.paired}, {7})

    def test_half_a_pair(self) -> None:
        """What is missing is named."""
        deployment = SimDeployment.pair(1)
        deployment.run_until_paired()
        deployment.follower().host.crash()
        self.assertEqual(deployment.unpaired(), ["secondary is dead"])
        deployment.run(3)
        self.assertIn("primary is leader-solo, serving", deployment.unpaired())
        self.assertEqual(deployment.unequal(), deployment.unpaired())

    def test_violation_while_a_node_works(self) -> None:
        """What is found wrong in the middle of what a node does ends the run."""
        deployment = SimDeployment.pair(1)
        deployment.run_until_paired()
        deployment.leader().pair.replica.configuration = Configuration(99, "primary", ("primary",))
        talker = deployment.network.host("talker").world().client("tcp:primary:4444")
        talker.connect(Factory.forProtocol(Protocol))
        self.assertRaisesRegex(Violation, "leads with", deployment.run, 3)
