"""A distribution tree on the simulated network: root, routers, leaves, sources; and what is checked of it."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatproto.chat.passwords import secret_of
from chatproto.link import Turn
from chatproto.news.interface import Held
from chatproto.news.source import NewsSource
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.sources import SourceSettings
from chatproto.services.mounting import mount
from chatproto.services.news.root import RootSettings, build_root
from chatproto.services.news.router import RouterSettings, build_router
from chatproto.services.news.tree import TreeService, build_parent
from chatproto.testing import SimClock, SimHost, SimNetwork, SimProcess
from chatproto.world import World

PUBLIC, PEERS = 4848, 4747
ROOT = "root"


def body_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def sources(names: Iterable[str]) -> dict[str, SourceSettings]:
    return {name: SourceSettings(secret_of("secret", b"salt" * 4, cost_log2=4), 5) for name in names}


class Leaf:
    """A delivery node's part in the tree, and what it was told of, in all its lives."""

    def __init__(self, host: SimHost, name: str, parent: str) -> None:
        self.name = name
        self.arrived: list[int] = []
        self.gone: list[int] = []
        self.delays: dict[int, float] = {}
        self.topics: frozenset[str] = frozenset()
        self._parent = f"tcp:{parent}:{PEERS}"
        self.process = SimProcess(host, self._build)

    def _build(self, world: World) -> MultiService:
        turn = Turn(world.clock)
        node = TreeNode(self.name, world.clock, world.now, world.dice, world.tally, keeps=True)
        node.watch(self._came, lambda held: self.gone.append(held.item.number))
        node.serve_exclusives(self.topics)
        tree = MultiService()
        tree.node = node  # type: ignore[attr-defined]
        self.parent = build_parent(world, node, self._parent, turn)
        mount(tree, "tree", TreeService(world, "/news", node, self.parent))
        return tree

    def _came(self, held: Held) -> None:
        self.arrived.append(held.item.number)
        self.delays[held.item.number] = held.delay_s


class SimTree:
    """A tree: `parents` says for each node below the root who its parent is; those that are nobody's are leaves."""

    def __init__(
        self,
        seed: int,
        parents: dict[str, str],
        agencies: Iterable[str] = ("ansa",),
        settings: dict[str, Any] | None = None,
        known: dict[str, SourceSettings] | None = None,
        first_number: int | None = 1,
        **options: Any,
    ) -> None:
        self.network = SimNetwork(SimClock(), random.Random(seed), **options)
        self.dice = random.Random(seed + 1)
        self.processes: dict[str, SimProcess] = {}
        self.leaves: dict[str, Leaf] = {}
        self.agencies: dict[str, Agency] = {}
        self.accepted: dict[int, str] = {}
        self._settings = settings or {}
        self._first_number = first_number
        agencies = list(agencies)
        known = known or sources(agencies)
        self.processes[ROOT] = SimProcess(self.network.host(ROOT), lambda world: self._root(world, known))
        for name, parent in parents.items():
            if name in parents.values():
                self.processes[name] = SimProcess(
                    self.network.host(name),
                    lambda world, name=name, parent=parent: self._router(world, name, parent),  # type: ignore[misc]
                )
            else:
                self.leaves[name] = leaf = Leaf(self.network.host(name), name, parent)
                self.processes[name] = leaf.process
        for name in agencies:
            self.agencies[name] = Agency(self.network.host(name), name)

    def _root(self, world: World, known: dict[str, SourceSettings]) -> MultiService:
        listen, peer_listen = (f"tcp:{PUBLIC}",), f"tcp:{PEERS}"
        settings = RootSettings(data="/news", name=ROOT, listen=listen, peer_listen=peer_listen, known=known)
        return build_root(world, replace(settings, first_number=self._first_number, **self._settings))

    def _router(self, world: World, name: str, parent: str) -> MultiService:
        settings = RouterSettings(data="/news", name=name, peer_listen=f"tcp:{PEERS}", parent=f"tcp:{parent}:{PEERS}")
        return build_router(world, replace(settings, **self._settings))

    def node(self, name: str) -> TreeNode:
        node: TreeNode = self.processes[name].tree.node
        return node

    def stored(self, name: str) -> int:
        """How many items are on a node's disk, in whatever state."""
        return sum(key.startswith(b"tree/item/") for key in self.network.hosts[name].disk.table("/news"))

    def run(self, seconds: float) -> None:
        self.network.clock.run(seconds)

    def run_until(self, predicate: Any, seconds_max: float) -> float:
        return self.network.clock.run_until(predicate, seconds_max)

    @property
    def now(self) -> float:
        return self.network.epoch + self.network.clock.seconds()

    def everywhere(self, numbers: Iterable[int], leaves: Iterable[str] | None = None) -> bool:
        wanted = set(numbers)
        return all(wanted <= {held.item.number for held in self.node(name).held()} for name in leaves or self.leaves)


class Agency:
    """A source, which publishes again, with the same ids, what was not accepted when its process died."""

    def __init__(self, host: SimHost, name: str) -> None:
        self.name = name
        self.password = "secret"
        self.items: dict[str, dict[str, Any]] = {}
        self.accepted: dict[str, int] = {}
        self.rejected: dict[str, str] = {}
        self.source: NewsSource
        self.process = SimProcess(host, self._build)

    def _build(self, world: World) -> MultiService:
        endpoint = world.client(f"tcp:{ROOT}:{PUBLIC}")
        self.source = NewsSource(endpoint, world.clock, self.name, self.password, now=world.now, dice=world.dice)
        tree = MultiService()
        mount(tree, "source", self.source)
        for id in self.items:
            if id not in self.accepted and id not in self.rejected:
                self._publish(id)
        return tree

    @property
    def settled(self) -> bool:
        return len(self.accepted) + len(self.rejected) == len(self.items)

    def publish(self, id: str, body: bytes, expires: float, topic: str = "sport", **fields: Any) -> None:
        self.items[id] = {"topic": topic, "title": id, "body": body, "expires": expires, **fields}
        if self.process.host.alive:
            self._publish(id)

    def _publish(self, id: str) -> None:
        published: Deferred[int] = self.source.publish(**self.items[id], id=id)
        published.addCallbacks(lambda number: self._accepted(id, number), lambda failure: self._failed(id, failure))

    def _accepted(self, id: str, number: int) -> None:
        assert self.accepted.setdefault(id, number) == number, (id, number)

    def _failed(self, id: str, failure: Failure) -> None:
        reason = getattr(failure.value, "reason", None)
        if reason is not None:
            self.rejected[id] = reason
