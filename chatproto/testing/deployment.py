"""A chat deployment in simulation: the production service trees on hosts of a simulated network, checked all the time.

A program of yours that talks to `tcp:primary:4444` can be tried with it:

    deployment = SimDeployment(seed)
    deployment.network.host("client").runs(program)
    deployment.run(5)
    deployment.nodes["primary"].host.crash()
    deployment.run(5)

One that knows two servers, which take over from each other, too:

    deployment = SimDeployment.pair(seed)
    deployment.run_until_paired()
    deployment.network.host("client").runs(program)
    deployment.run(5)
    deployment.leader().host.crash()
    deployment.run(5)
"""

import gc
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from twisted.application.service import Service
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from chatproto.chat.hall import Hall
from chatproto.chat.settings import ChatSettings
from chatproto.pair.log import PairSettings
from chatproto.pair.states import Role
from chatproto.services import NodeSettings
from chatproto.services.pairing import PeerSettings
from chatproto.services.registering import RegisteringSettings
from chatproto.services.registry import RegistrySettings
from chatproto.testing.checkers import Acknowledgements, Agreement, Chronicle, Forks, Logs, Violation
from chatproto.testing.clock import NeverHappened, SimClock
from chatproto.testing.network import SimNetwork
from chatproto.testing.nodes import SimNode, SimPairNode, SimProcess, SimRegistry
from chatproto.wire.addresses import TLS, speaks_tls
from chatproto.world import World

CLIENT_PORT = 4444
PEER_PORT = 4545
REGISTRY_PORT = 4646
STANDBYS = ("north", "south")
PAIR = ("primary", "secondary")
REGISTRY = "registry"


class SimDeployment:
    """Nodes, and whoever talks to them, on one simulated network.

    Attributes:
        seed: what everything random comes from.
        network: the hosts and the paths between them; its `clock` is the time of all.
        nodes: the chat nodes, by name; what they commit is one log.
        paired: those that are one of two.
        processes: everything started with `start`, the nodes included, by name.
        registry: the witness of a pair; None where there is none.
        logs: what is durable on the nodes of a pair.
        agreement: what nodes of a pair say is committed.
        chronicle: all that was committed; `Forks` for a pair whose committed entries may move.
        acknowledgements: what clients were told is kept; tell it what yours are told.
        violations: what checks found that ran inside a simulated process; `run` raises the first one.
    """

    def __init__(
        self,
        seed: int,
        nodes: Mapping[str, NodeSettings] | None = None,
        registry: RegistrySettings | None = None,
        **options: Any,
    ) -> None:
        """Boot the nodes.

        Args:
            seed: of the dice.
            nodes: the settings of each node by name, which is the name of its host, too; one node called
                `primary` with `node_settings`, unless given.
            registry: the settings of a registry, which runs on a host called `registry`; None for none.
            **options: of `SimNetwork`.
        """
        self.seed = seed
        self.network = SimNetwork(SimClock(), random.Random(f"{seed} network"), **options)
        self.nodes: dict[str, SimNode] = {}
        self.paired: list[SimPairNode] = []
        self.processes: dict[str, SimProcess] = {}
        chosen = dict(nodes or {"primary": node_settings("primary")})
        paired = [settings for settings in chosen.values() if settings.peer is not None]
        self.logs = Logs()
        # Without a witness, or where the operator lets data go, what was committed may be so no more.
        moves = any(
            settings.peer is not None and (not settings.peer.registry or settings.peer.pair.allow_data_loss)
            for settings in paired
        )
        self.chronicle: Chronicle | Forks = Forks(self.logs, self._halls) if moves else Chronicle()
        self.agreement = Agreement(self.logs, self.chronicle if isinstance(self.chronicle, Chronicle) else None)
        self.acknowledgements = Acknowledgements(self.chronicle)
        self.violations: list[Violation] = []
        self.registry: SimRegistry | None = None
        self._failures = _Failures()
        if registry is not None:
            self.registry = SimRegistry(self.network.host(REGISTRY), registry, "chat", self.agreement)
            self.processes[REGISTRY] = self.registry
        for name in chosen:
            # Before any runs, so that each finds the others.
            self.network.host(name)
        for name, settings in chosen.items():
            self.start_node(name, settings)

    @classmethod
    def pair(
        cls,
        seed: int,
        *,
        witness: bool = True,
        heartbeat_s: float = 0.15,
        suspect_s: float = 0.6,
        lease_s: float = 0.9,
        allow_data_loss: bool = False,
        prefer_primary: bool = False,
        settings: Callable[[str], NodeSettings] | None = None,
        **options: Any,
    ) -> "SimDeployment":
        """Boot two nodes that are one pair, `primary` and `secondary`, and a registry, `registry`.

        Args:
            seed: of the dice.
            witness: whether there is a registry; without one each node agrees to its own proposals.
            heartbeat_s: see `PairSettings`.
            suspect_s: see `PairSettings`.
            lease_s: see `RegistrySettings`.
            allow_data_loss: see `PairSettings`; what is committed may then be lost, and is checked accordingly.
            prefer_primary: see `PairSettings`.
            settings: gives the settings of a node, by name, but for its peer; `node_settings`, unless given.
            **options: of `SimNetwork`.
        """
        nodes = {}
        for name, other in (PAIR, PAIR[::-1]):
            chosen = (settings or node_settings)(name)
            chat = replace(chosen.chat, servers=_servers(name, chosen.chat))
            pair = PairSettings(
                name,
                role=name,
                allow_data_loss=allow_data_loss,
                heartbeat_s=heartbeat_s,
                suspect_s=suspect_s,
                prefer_primary=prefer_primary,
            )
            dial = f"tcp:{other}:{PEER_PORT}"
            peer = PeerSettings(dial, pair, f"tcp:{PEER_PORT}", f"tcp:{REGISTRY}:{REGISTRY_PORT}" if witness else "")
            nodes[name] = replace(chosen, chat=chat, peer=peer)
        listen = (f"tcp:{REGISTRY_PORT}",)
        registry = RegistrySettings(REGISTRY, listen, heartbeat_s, suspect_s, lease_s) if witness else None
        return cls(seed, nodes, registry, **options)

    @classmethod
    def movable(
        cls,
        seed: int,
        *,
        paired: bool = False,
        standbys: Sequence[str] = STANDBYS,
        migrate_every_s: float = 0.0,
        heartbeat_s: float = 0.15,
        suspect_s: float = 0.6,
        lease_s: float = 0.9,
        settings: Callable[[str], NodeSettings] | None = None,
        **options: Any,
    ) -> "SimDeployment":
        """Boot a server, or a pair, whose place others can take that stand by; and a registry, `registry`.

        Args:
            seed: of the dice.
            paired: whether there are `primary` and `secondary`, or `primary` alone.
            standbys: the names of those that stand by.
            migrate_every_s: see `NodeSettings`.
            heartbeat_s: see `PairSettings`.
            suspect_s: see `PairSettings`.
            lease_s: see `RegistrySettings`.
            settings: gives the settings of a node, by name; `node_settings`, unless given.
            **options: of `SimNetwork`.
        """
        witness = f"tcp:{REGISTRY}:{REGISTRY_PORT}"
        nodes = {}
        for name in (*(PAIR if paired else PAIR[:1]), *standbys):
            chosen = (settings or node_settings)(name)
            role = name if name in PAIR else "standby"
            pair = PairSettings(
                name, role=role, advertise=f"{name}:{PEER_PORT}", heartbeat_s=heartbeat_s, suspect_s=suspect_s
            )
            other = next((other for other in PAIR if other != name), "") if paired and name in PAIR else ""
            dial = f"tcp:{other}:{PEER_PORT}" if other else ""
            nodes[name] = replace(
                chosen,
                chat=replace(chosen.chat, servers=_servers(name, chosen.chat)),
                peer=PeerSettings(dial, pair, f"tcp:{PEER_PORT}", witness),
                registering=RegisteringSettings(witness, peer=f"{name}:{PEER_PORT}"),
                migrate_every_s=migrate_every_s,
            )
        registry = RegistrySettings(REGISTRY, (f"tcp:{REGISTRY_PORT}",), heartbeat_s, suspect_s, lease_s)
        return cls(seed, nodes, registry, **options)

    def start(self, name: str, build: Callable[[World], Service]) -> SimProcess:
        """Boot a host of this name that runs the service tree that `build` makes of its world."""
        process = self.processes[name] = SimProcess(self.network.host(name), build)
        return process

    def start_node(self, name: str, settings: NodeSettings) -> SimNode:
        """Boot a host of this name that runs a chat node."""
        host = self.network.host(name)
        node: SimNode
        if settings.peer is not None:
            node = SimPairNode(host, settings, self.chronicle, self.logs, self.agreement, self.watching)
            self.paired.append(node)
        else:
            assert isinstance(self.chronicle, Chronicle)
            node = SimNode(host, settings, self.chronicle)
        self.nodes[name] = self.processes[name] = node
        return node

    # Pairs

    def leader(self) -> SimPairNode:
        """Return the node that leads: of two that believe it, the one with the higher epoch.

        Raises:
            LookupError: none does.
        """
        leading = [node for node in self.paired if node.host.alive and node.pair.replica.leads]
        if not leading:
            raise LookupError("nobody leads")
        return max(leading, key=lambda node: node.pair.epoch)

    def follower(self) -> SimPairNode:
        """Return the other node than `leader`."""
        leader = self.leader()
        return next(node for node in self.paired if node is not leader)

    @property
    def active(self) -> list[SimPairNode]:
        """The nodes that do not stand by."""
        return [node for node in self.paired if not node.host.alive or node.pair.role != "standby"]

    def unplaced(self, count: int) -> list[str]:
        """Return what is missing until one node leads, so many have the log, and the others stand by."""
        active = self.active
        found = [f"{node.name} is dead" for node in self.paired if not node.host.alive]
        if len(active) != count:
            found.append(f"active are {[(node.name, node.pair.replica.role.value) for node in active]}")
        found += [f"{node.name} does not serve" for node in active if node.host.alive and not node.pair.serving]
        return found or (self.unpaired() if count > 1 else [])

    def unpaired(self) -> list[str]:
        """Return what is missing until the nodes are a leader and a follower that serve; nothing if they are."""
        found = []
        for node in self.active:
            replica = node.pair.replica
            if not node.host.alive:
                found.append(f"{node.name} is dead")
            elif node.pair.redundancy not in ("paired", "single") or not node.pair.serving:
                found.append(f"{node.name} is {replica.role.value}, {'' if node.pair.serving else 'not '}serving")
            elif replica.role is Role.FOLLOWER and not replica.reached:
                found.append(f"{node.name} does not reach its leader")
        return found

    def unequal(self) -> list[str]:
        """Return what is missing until both nodes have the same, durable and committed; nothing if they have."""
        found = self.unpaired()
        if not found:
            ends = {
                (replica.end, replica.durable, replica.commit, node.pair.position)
                for node in self.active
                for replica in (node.pair.replica,)
            }
            if len({end for ends_of_one in ends for end in ends_of_one}) > 1:
                found.append(f"end, disk, commit and chat of each node are at {sorted(ends)}")
            found += [f"{node.name} has orphans" for node in self.paired if node.has_orphans]
        return found

    def run_until_paired(self, seconds_max: float = 10.0) -> float:
        """Let time pass until there are a leader and a follower that serve; return how many seconds it took.

        Raises:
            Violation: see `run`.
            NeverHappened: `seconds_max` seconds passed and there are not.
        """
        return self.settle(self.unpaired, seconds_max)

    def _halls(self) -> list[Hall]:
        living = [node for node in self.paired if node.host.alive]
        living.sort(key=lambda node: (node.pair.replica.leads, node.pair.epoch), reverse=True)
        return [node.server.hall for node in living]

    # Time

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
        for pair_node in self.paired:
            pair_node.look_at_disk()
        if self.registry is not None:
            self.registry.look_at_disk()
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
            node.check_from_scratch()
        if self.paired and not self.unequal():
            self.agreement.check_healed([node.name for node in self.active], self.acknowledgements.ids)

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


def _servers(name: str, chosen: ChatSettings) -> list[str]:
    """Return where a host's clients reach it: with TLS, where that is said of what was chosen; nobody speaks it."""
    secure = any(map(speaks_tls, chosen.servers))
    return [f"{TLS if secure else ''}{name}:{CLIENT_PORT}"]
