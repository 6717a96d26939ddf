"""The monitor in the simulated world: a master that dies, is stopped, cut off and comes back; clients that follow."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.settings import ChatSettings
from chatproto.client import ChatClient, Event, FoundEndpoint, Noticed, Redirected
from chatproto.monitor import State
from chatproto.registry import Registration, RegistryClient
from chatproto.services import MonitorSettings, NodeSettings, RegisteringSettings, build_monitor, build_node
from chatproto.services.draining import Phase
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import SimClock, SimNetwork
from chatproto.testing.nodes import SimProcess
from chatproto.world import Supervisor

EVERY_S, DEAD_S, LEASE_S = 0.5, 1.0, 3.0
REGISTRY = "tcp:registry:4646"
SEEDS = range(20)


class Looking:
    """Finds the servers of a service in the registry, the leader first."""

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry

    def find(self) -> "Deferred[Sequence[str]]":
        asking: Any = self._registry.list(service="chat", role="leader")
        return asking.addCallback(self._addresses)

    def _addresses(self, found: list[Registration]) -> Sequence[str]:
        return [one.address for one in sorted(found, key=lambda one: -one.epoch)]


class Scene:
    """A registry, a master, a monitor and a client, each on a host of its own."""

    def __init__(self, seed: int, supervisor: Supervisor | None = None) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, random.Random(seed))
        master = NodeSettings(
            "data", chat=ChatSettings("master", ["master:4444"]), registering=RegisteringSettings(REGISTRY)
        )
        chat = ChatSettings("standin", ["standin:4444"], announcement="a stand-in")
        self.watching = watching = MonitorSettings(
            REGISTRY, "chat", NodeSettings("data", chat=chat), ask_every_s=EVERY_S, dead_after_s=DEAD_S
        )
        self.registry = self.run_on("registry", lambda world: build_registry(world, RegistrySettings("data")))
        self.master = self.run_on("master", lambda world: build_node(world, master))
        self.monitor = self.run_on(
            "standin", lambda world: build_monitor(replace(world, supervisor=supervisor), watching)
        )
        world = self.network.host("client").world()
        names = RegistryClient(world.client(REGISTRY), world.clock, world.dice)
        names.startService()
        endpoint = FoundEndpoint(world.clock, Looking(names), lambda address: world.client(f"tcp:{address}"))
        self.ada = ChatClient(
            world.clock,
            [endpoint],
            identity="ada",
            dice=random.Random(seed),
            connector=lambda at: world.client(f"tcp:{at}"),
        )
        self.heard: list[Event] = []
        self.ada.subscribe(self.heard.append)
        self.ada.startService()
        self.until(lambda: self.ada.server == "master" and self.state is State.WATCHING)

    def run_on(self, name: str, build: Any) -> SimProcess:
        return SimProcess(self.network.host(name), build)

    def until(self, what: Any, seconds: float = 20) -> float:
        return self.clock.run_until(what, seconds)

    def until_served_by(self, name: str) -> None:
        self.until(lambda: self.ada.server == name)

    def until_registered(self, name: str) -> float:
        return self.until(lambda: name in self.registered())

    def until_watching(self) -> None:
        self.until(lambda: self.state is State.WATCHING)

    def was_announced(self) -> bool:
        return any(isinstance(event, Noticed) and event.code == "announcement" for event in self.heard)

    @property
    def state(self) -> State:
        return self.monitor.tree.monitor.watch.state

    def registered(self) -> dict[str, str]:
        return {found.name: found.role for found in self.registry.tree.names.list(service="chat")}


class MonitorTests(SynchronousTestCase):
    def test_a_master_that_dies_and_comes_back(self) -> None:
        """Whatever the delays: the stand-in is there within the timeout and one interval, and the client follows."""
        for scene in map(Scene, SEEDS):
            scene.master.host.crash()
            took_s = scene.until_registered("standin")
            self.assertLess(took_s, EVERY_S + DEAD_S + 0.5)
            # Before the one that is dead, whose lease is not over.
            self.assertEqual(scene.registry.tree.names.resolve("chat").name, "standin")
            scene.until_served_by("standin")
            scene.until(scene.was_announced)
            scene.master.host.boot()
            scene.until_watching()
            self.assertEqual(scene.registered(), {"master": "leader"})
            scene.until_served_by("master")
            self.assertTrue(any(isinstance(event, Redirected) for event in scene.heard))
            self.assertIsNone(scene.monitor.tree.stand_in.node)

    def test_a_second_time(self) -> None:
        scene = Scene(1)
        for _ in range(3):
            scene.master.host.crash()
            scene.until_served_by("standin")
            scene.master.host.boot()
            scene.until_served_by("master")
            scene.until_watching()

    def test_a_master_that_is_stopped_and_goes_on(self) -> None:
        for scene in map(Scene, SEEDS):
            scene.master.host.pause()
            scene.until_served_by("standin")
            scene.master.host.resume()
            scene.until_watching()
            scene.until_registered("master")
            scene.until_served_by("master")

    def test_a_registry_that_is_away_stops_nobody(self) -> None:
        """The master is asked where it was; the stand-in is registered as soon as there is a registry again."""
        scene = Scene(1)
        scene.registry.host.crash()
        scene.clock.run(10)
        self.assertEqual((scene.state, scene.ada.server), (State.WATCHING, "master"))
        scene.master.host.crash()
        scene.until(lambda: scene.state is State.STANDING_IN)
        scene.clock.run(10)
        scene.registry.host.boot()
        scene.until_registered("standin")
        scene.until_served_by("standin")
        scene.master.host.boot()
        scene.until_served_by("master")

    def test_a_stand_in_that_cannot_begin_is_tried_again(self) -> None:
        """Its port is somebody else's for a while, which is no reason to watch no more."""
        scene = Scene(1)
        taken: Any = scene.monitor.tree.stand_in._world.server("tcp:4444").listen(Factory())
        scene.master.host.crash()
        with capturedLogs() as events:
            scene.clock.run(10)
        self.assertTrue(scene.monitor.host.alive)
        self.assertIsNone(scene.monitor.tree.stand_in.node)
        self.assertEqual(scene.registered(), {})
        self.assertGreater(sum("cannot serve: " in formatEvent(event) for event in events), 1)
        taken.addCallback(lambda port: port.stopListening())
        scene.until_served_by("standin")

    def test_losing_the_monitor_stops_nobody(self) -> None:
        scene = Scene(1)
        scene.monitor.host.crash()
        scene.clock.run(20)
        self.assertEqual((scene.registered(), scene.ada.server), ({"master": "leader"}, "master"))

    def test_a_monitor_that_dies_while_it_stands_in(self) -> None:
        """Its registration ends with its lease; the master is found again."""
        scene = Scene(1)
        scene.master.host.crash()
        scene.until_served_by("standin")
        scene.monitor.host.crash()
        scene.until(lambda: scene.registered() == {}, LEASE_S + 1)
        scene.master.host.boot()
        scene.until_served_by("master")

    def test_a_monitor_that_is_stopped_has_its_stand_in_withdraw(self) -> None:
        scene = Scene(1)
        scene.master.host.crash()
        scene.until_served_by("standin")
        scene.clock.run(LEASE_S + 1)
        scene.monitor.stop()
        scene.until(lambda: scene.registered() == {}, 1)
        scene.until(lambda: not scene.monitor.host.alive)

    def test_what_its_service_manager_hears(self) -> None:
        told: list[str] = []
        supervisor = Supervisor(lambda notice: told.extend(notice.decode().split("\n")), 3.0)
        scene = Scene(1, supervisor=supervisor)
        self.assertIn("READY=1", told)
        self.assertIn("WATCHDOG=1", told)
        scene.master.host.crash()
        scene.until_served_by("standin")
        scene.until(lambda: any("the stand-in serves" in line and "1 of 100 clients" in line for line in told))
        scene.master.host.boot()
        scene.until_served_by("master")
        scene.until_watching()
        self.assertNotIn("STOPPING=1", told, "it is the stand-in that has ended")
        scene.monitor.stop()
        scene.until(lambda: not scene.monitor.host.alive)
        self.assertEqual(told.count("STOPPING=1"), 1)

    def test_it_serves_while_it_watches(self) -> None:
        scene = Scene(1)
        tree = scene.monitor.tree
        self.assertTrue(tree.health().serving)
        scene.registry.host.crash()
        scene.until(lambda: not tree.health().serving)
        self.assertIn("the registry is not reached", tree.health().status)
        scene.registry.host.boot()
        scene.until(lambda: tree.health().serving)
        scene.master.host.crash()
        scene.until_served_by("standin")
        self.assertTrue(tree.health().serving and tree.health().sane())
        self.assertIsNotNone(tree.stand_in.measures())

    def test_its_stand_in_takes_what_is_changed_now_and_later(self) -> None:
        scene = Scene(1)
        tree = scene.monitor.tree
        for capacity in (7, 9):
            node = NodeSettings("data", chat=ChatSettings("standin", ["standin:4444"], capacity=capacity))
            tree.change(replace(scene.watching, node=node))
            if tree.stand_in.node is None:
                scene.master.host.crash()
                scene.until_served_by("standin")
            self.assertEqual(tree.stand_in.node.server.settings.capacity, capacity)
        self.assertEqual(scene.watching.node.chat.capacity, 100, "whoever made the settings has them still")

    def test_a_second_signal_hurries_the_stand_in(self) -> None:
        scene = Scene(1)
        scene.master.host.crash()
        scene.until_served_by("standin")
        tree = scene.monitor.tree
        drain = tree.stand_in.node.drain
        scene.monitor.stop()
        scene.until(lambda: drain.phase is not Phase.SERVING)
        tree.hurry()
        self.assertIn(drain.phase, (Phase.LEAVING, Phase.OVER))

    def test_silence_while_the_monitor_itself_stood_still_says_nothing(self) -> None:
        for scene in map(Scene, SEEDS):
            scene.monitor.host.pause()
            scene.clock.run(30)
            scene.monitor.host.resume()
            scene.clock.run(10)
            self.assertEqual((scene.state, scene.registered()), (State.WATCHING, {"master": "leader"}))
