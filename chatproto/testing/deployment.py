"""A chat deployment in simulation: the production service trees on hosts of a simulated network, checked all the time.

A program of yours that talks to `tcp:primary:4444` can be tried with it:

    deployment = SimDeployment(seed)
    deployment.network.host("client").runs(program)
    deployment.run(5)
    deployment.nodes["primary"].host.crash()
    deployment.run(5)
"""

import gc
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from chatproto.chat.server import ChatServer
from chatproto.chat.settings import ChatSettings
from chatproto.log.entry import Run
from chatproto.services import NodeSettings, build_node
from chatproto.testing.checkers import Acknowledgements, Chronicle, Replay, Violation
from chatproto.testing.clock import NeverHappened, SimClock
from chatproto.testing.host import SimHost
from chatproto.testing.network import SimNetwork
from chatproto.world import World

CLIENT_PORT = 4444


class SimProcess:
    """A service tree on a host of its own: built and started at every boot, gone with a crash or `World.fatal`.

    Attributes:
        host: the machine; crash, pause and boot it.
        tree: the service tree of the present life, or of the last one.
    """

    def __init__(self, host: SimHost, build: Callable[[World], Service]) -> None:
        """Boot it."""
        self.host = host
        self.tree: Any = None
        self._build = build
        host.runs(self._start)

    def _start(self, host: SimHost) -> None:
        self.tree = self._build(host.world())
        self.tree.startService()

    def stop(self) -> "Deferred[Any]":
        """End it as SIGTERM ends a daemon: the service tree stops, then the process is gone. Fires then, or never."""
        life = self.host.reactor
        stopping: Deferred[Any] = maybeDeferred(self.tree.stopService)

        def stopped(result: object) -> object:
            if life.alive:
                self.host.crash("close")
            return result

        return stopping.addCallback(stopped)


class SimNode(SimProcess):
    """A chat node. It is one of one: what is durable on its disk is committed.

    Attributes:
        settings: what it was built with.
    """

    def __init__(self, host: SimHost, settings: NodeSettings, chronicle: Chronicle) -> None:
        """Boot a node whose committed entries go into a chronicle."""
        self.settings = settings
        self._chronicle = chronicle
        self._replay = Replay(chronicle)
        self._checked: tuple[int, int] | None = None
        super().__init__(host, lambda world: build_node(world, settings))

    @property
    def server(self) -> ChatServer:
        """The chat of the present life."""
        server: ChatServer = self.tree.server
        return server

    @property
    def last_words(self) -> list[str]:
        """Why its process had to end, each time that it had to."""
        return self.host.last_words

    def durable(self) -> list[Run]:
        """Return what its disk holds, oldest first."""
        return list(self.host.disk.newest_first(self.settings.data))[::-1]

    def take(self) -> None:
        """Have the chronicle take what became durable."""
        fresh = []
        for run in self.host.disk.newest_first(self.settings.data):
            if run.index <= self._chronicle.position:
                break
            fresh.append(run)
        for run in reversed(fresh):
            self._chronicle.add(run)

    def check(self) -> None:
        """Compare its hall, if it serves, with what replaying the chronicle gives.

        Raises:
            Violation: they differ.
        """
        if not self.host.alive:
            return
        place = (self.host.lives, self.server.log.position)
        if place != self._checked:
            self._replay.check(self.server.hall, self.server.log.position)
            self._checked = place

    def check_archive(self, acknowledgements: Acknowledgements) -> None:
        """Compare its disk, as a whole, with the chronicle and with what was acknowledged.

        Raises:
            Violation: they contradict each other.
        """
        durable = self.durable()
        for run in durable:
            self._chronicle.add(run)
        hall = self._chronicle.hall
        acknowledgements.check_archive(durable, hall.kept())


class SimDeployment:
    """Nodes, and whoever talks to them, on one simulated network.

    Attributes:
        seed: what everything random comes from.
        network: the hosts and the paths between them; its `clock` is the time of all.
        nodes: the chat nodes, by name; what they commit is one log.
        processes: everything started with `start`, the nodes included, by name.
        chronicle: all that was committed.
        acknowledgements: what clients were told is kept; tell it what yours are told.
        violations: what checks found that ran inside a simulated process; `run` raises the first one.
    """

    def __init__(self, seed: int, nodes: Mapping[str, NodeSettings] | None = None, **options: Any) -> None:
        """Boot the nodes.

        Args:
            seed: of the dice.
            nodes: the settings of each node by name, which is the name of its host, too; one node called
                `primary` with `node_settings`, unless given.
            **options: of `SimNetwork`.
        """
        self.seed = seed
        self.network = SimNetwork(SimClock(), random.Random(f"{seed} network"), **options)
        self.nodes: dict[str, SimNode] = {}
        self.processes: dict[str, SimProcess] = {}
        self.chronicle = Chronicle()
        self.acknowledgements = Acknowledgements(self.chronicle)
        self.violations: list[Violation] = []
        self._failures = _Failures()
        for name, settings in (nodes or {"primary": node_settings("primary")}).items():
            self.start_node(name, settings)

    def start(self, name: str, build: Callable[[World], Service]) -> SimProcess:
        """Boot a host of this name that runs the service tree that `build` makes of its world."""
        process = self.processes[name] = SimProcess(self.network.host(name), build)
        return process

    def start_node(self, name: str, settings: NodeSettings) -> SimNode:
        """Boot a host of this name that runs a chat node."""
        node = SimNode(self.network.host(name), settings, self.chronicle)
        self.nodes[name] = self.processes[name] = node
        return node

    def run(self, seconds: float) -> None:
        """Let time pass, checking after every event.

        Raises:
            Violation: a check failed, or something logged a failure.
        """
        with self._listening():
            self.network.clock.run(seconds, self.check)

    def run_until(self, predicate: Callable[[], object], seconds_max: float) -> float:
        """Let time pass, checking after every event, until something is so; return how many seconds it took.

        Raises:
            Violation: a check failed, or something logged a failure.
            NeverHappened: `seconds_max` seconds passed and it is not so.
        """
        with self._listening():
            return self.network.clock.run_until(predicate, seconds_max, self.check)

    def settle(self, reasons: Callable[[], list[str]], seconds_max: float, look_every_s: float = 0.1) -> float:
        """Let time pass until `reasons`, asked now and then, names none why not; return how many seconds it took.

        Raises:
            Violation: a check failed, or something logged a failure.
            NeverHappened: `seconds_max` seconds passed; the message has the first of the reasons.
        """
        start = self.network.clock.seconds()
        while left := reasons():
            if self.network.clock.seconds() - start >= seconds_max:
                raise NeverHappened("\n".join([f"not within {seconds_max} simulated seconds:", *left[:20]]))
            self.run(look_every_s)
        return self.network.clock.seconds() - start

    def check(self) -> None:
        """Check what must always hold; `run` does so after every event.

        Raises:
            Violation: it does not.
        """
        if self.violations:
            raise self.violations[0]
        if self._failures.events:
            failure = self._failures.events[0]["log_failure"]
            raise Violation(f"a failure was logged: {failure.getTraceback()}") from failure.value
        for node in self.nodes.values():
            node.take()
            node.check()

    def check_archives(self) -> None:
        """Check every node's disk as a whole, and replay everything once more from scratch.

        Raises:
            Violation: something acknowledged or committed is not there, or not as it was.
        """
        for node in self.nodes.values():
            node.check_archive(self.acknowledgements)
            if node.host.alive:
                Replay(self.chronicle).check(node.server.hall, node.server.log.position)

    def check_deferreds(self) -> None:
        """Check that no failure was left in a Deferred that nobody looks at; they tell of it when they are collected.

        Raises:
            Violation: one was.
        """
        with self._listening():
            gc.collect()
        self.check()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep a `Violation` raised inside a simulated process, where it would only end a connection, for `run`."""
        try:
            yield
        except Violation as violation:
            self.violations.append(violation)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        globalLogPublisher.addObserver(self._failures)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(self._failures)


@implementer(ILogObserver)
class _Failures:
    """Keeps what is logged as a failure."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event and event["log_level"] >= LogLevel.warn:
            self.events.append(event)


def node_settings(name: str, **chat: Any) -> NodeSettings:
    """Return settings of a node for simulations: on port 4444, with heartbeats and graces of seconds.

    Args:
        name: the node's name.
        **chat: any of `ChatSettings`.
    """
    settings = {"session_grace_s": 3.0, "heartbeat_s": 1.0, "silence_s_max": 3.0, **chat}
    return NodeSettings(data=name, listen=(f"tcp:{CLIENT_PORT}",), chat=ChatSettings(name=name, **settings))
