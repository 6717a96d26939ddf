"""Two-phase commits over the production links, on a simulated network with a registry: who coordinates, and nodes."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from chatproto.keyvalue import Change, IKeyValueStore
from chatproto.link import Turn
from chatproto.news.link import NewsLinkFactory
from chatproto.news.messages import decoder
from chatproto.news.placing import Ledger, Participating, Placing, Steps
from chatproto.news.placing.coordinator import Settled
from chatproto.news.placing.ledger import Act, Decided
from chatproto.news.placing.messages import Coordinate, FromCoordinator
from chatproto.registry import Registration, RegistryClient
from chatproto.services.listener import Listener
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import SimClock, SimNetwork
from chatproto.testing.host import SimHost
from chatproto.testing.nodes import SimProcess
from chatproto.world import World
from tests.simulation.placing import Readers, check_done, check_told

REGISTRY = "tcp:registry:4646"
PORT = 4848
LEASE_S = 2.0
WRITE_S = (0.0005, 0.01)


@implementer(IKeyValueStore)
class Store:
    """One life's view of a table that outlives it; what is under way at its end is on the disk, or not."""

    def __init__(self, host: SimHost, rows: dict[bytes, bytes], dice: random.Random) -> None:
        self._life = host.clock
        self._host = host
        self._rows = rows
        self._dice = dice
        self._free_at = 0.0

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self._rows.items() if key.startswith(prefix))

    def keys(self, prefix: bytes) -> list[bytes]:
        return [key for key, _ in self.scan(prefix)]

    def read(self, key: bytes) -> "Deferred[bytes | None]":
        return succeed(self._rows.get(key))

    def write(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        now = self._life.seconds()
        self._free_at = max(self._free_at, now) + self._dice.uniform(*WRITE_S)
        life, lives = self._life, self._host.lives

        def end() -> None:
            # The process may be gone: then the disk has it all the same, as long as no other one has begun to read.
            if life.alive or (self._host.lives == lives and self._dice.random() < 0.5):
                for key, value in changes:
                    if value is None:
                        self._rows.pop(key, None)
                    else:
                        self._rows[key] = value
                life.callLater(0, done)

        self._host.disk.clock.schedule(self._free_at - now, end)

    def close(self) -> "Deferred[None]":
        return succeed(None)


class DeliveryNode:
    """A delivery node that has nothing but its readers."""

    def __init__(self, scene: Any, name: str, full_for: str = "", substitute: str = "") -> None:
        self.scene = scene
        self.name = name
        self.full_for = full_for
        self.attributes = {"peer": f"{name}:{PORT}", **({"substitute": substitute} if substitute else {})}
        self.rows: dict[bytes, bytes] = {}
        self.process = SimProcess(scene.network.host(name), self.build)

    def build(self, world: World) -> Service:
        host = self.process.host if hasattr(self, "process") else self.scene.network.host(self.name)
        turn, tree = Turn(world.clock), MultiService()
        self.table = Readers(self.rows, self.full_for)
        self.participating = Participating(self.name, self.table)
        self.participating.open(Store(host, self.rows, self.scene.dice))
        self.factory = NewsLinkFactory(
            "news-peer",
            decoder(FromCoordinator),
            {Coordinate: self.participating},
            turn,
            world.clock,
            world.tally,
        )
        Listener("peer", world.server(f"tcp:{PORT}"), self.factory, world.fatal).setServiceParent(tree)
        registry = RegistryClient(world.client(REGISTRY), world.clock, world.dice, turn, who=self.name)
        registry.setServiceParent(tree)
        address, capacity = f"{self.name}:1", 1000
        mine = Registration(
            "news", self.name, "news-delivery", address, "", 0, capacity, self.attributes, lease_s=LEASE_S
        )
        registry.startService()
        registry.register(mine, b"token").addErrback(lambda _: None)
        return tree


class Contracts:
    """A process of the contracting service: it replays the log, and coordinates if it is to."""

    def __init__(self, scene: "Scene", name: str) -> None:
        self.scene = scene
        self.name = name
        self.serving = False
        self.process = SimProcess(scene.network.host(name), self.build)

    def build(self, world: World) -> Service:
        turn, self.tree = Turn(world.clock), MultiService()
        self.world = world
        self.ledger = Ledger()
        self.outcomes: dict[str, bool] = {}
        self.position = 0
        self.asked: set[str] = set()
        self.registry = RegistryClient(world.client(REGISTRY), world.clock, world.dice, turn, who=self.name)
        self.registry.setServiceParent(self.tree)
        settled = self.scene.settled
        self.placing = Placing(
            world, self.registry, turn, self.ledger, self.submit, settled, who=self.name, votes_s_max=2
        )
        self.replay(tell=False)
        if self.serving:
            self.placing.setServiceParent(self.tree)
        return self.tree

    def serve(self) -> None:
        self.serving = True
        if not self.placing.running:
            self.placing.setServiceParent(self.tree)

    def rest(self) -> None:
        self.serving = False
        if self.placing.running:
            self.placing.disownServiceParent()

    def submit(self, act: Act) -> None:
        life = self.world.clock

        def kept() -> None:
            # Its pair may have had it, and go on with it, after it has ended.
            if life.alive or self.scene.dice.random() < 0.5:
                self.scene.commit(act)

        self.scene.clock.schedule(self.scene.dice.uniform(*WRITE_S), kept)

    def replay(self, *, tell: bool = True) -> None:
        while self.position < len(self.scene.log):
            act = self.scene.log[self.position]
            self.position += 1
            transaction = self.ledger.take(act)
            if isinstance(act, Decided) and transaction is not None:
                self.outcomes[transaction.name] = act.committed
            if tell:
                self.placing.recorded(act, transaction)

    def want(self, name: str, steps: Steps) -> None:
        """Begin something, unless this life was asked before."""
        if self.placing.coordinator.leads and name not in self.asked:
            self.asked.add(name)
            self.placing.begin(name, steps)


class Scene:
    """A registry, two processes of the contracting service, of which one serves, and some delivery nodes."""

    def __init__(self, seed: int, nodes: dict[str, str]) -> None:
        self.dice = random.Random(f"{seed} links")
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, random.Random(f"{seed} network"))
        self.log: list[Act] = []
        self.told: dict[str, Settled] = {}
        self.registry = SimProcess(
            self.network.host("registry"), lambda world: build_registry(world, RegistrySettings("data"))
        )
        self.nodes = {name: DeliveryNode(self, name, full_for) for name, full_for in nodes.items()}
        self.contracts = [Contracts(self, "master"), Contracts(self, "slave")]
        self.serving = self.contracts[0]
        self.serving.serve()

    def commit(self, act: Act) -> None:
        self.log.append(act)
        # Heard at once by one, a little later by the other.
        for process in self.contracts:
            if process.process.host.alive:
                process.world.clock.callLater(self.dice.uniform(0, 0.02), process.replay)

    def settled(self, settled: Settled) -> None:
        if settled.code not in ("superseded", "busy"):
            self.told[settled.name] = settled

    def change_over(self) -> None:
        """Have the other process serve; the one that did may hear of it, or not yet."""
        before = self.serving
        self.serving = self.contracts[1 - self.contracts.index(before)]
        if not self.serving.process.host.alive:
            self.serving.process.host.boot()
        self.serving.serve()
        before.serving = False
        if before.process.host.alive and self.dice.random() < 0.5:
            before.rest()

    def run(self, seconds: float) -> None:
        self.clock.run(seconds)

    def until(self, what: Callable[[], object], seconds_max: float = 60.0) -> float:
        return self.clock.run_until(what, seconds_max)

    def place(self, name: str, steps: Steps, seconds_max: float = 60.0) -> Settled:
        """Want something until it is settled."""
        self.until(lambda: self.outcome(name, steps), seconds_max)
        return self.told.get(name) or Settled(name, self.serving.outcomes[name])

    def outcome(self, name: str, steps: Steps) -> bool:
        if name in self.told or name in self.serving.outcomes:
            return True
        self.serving.want(name, steps)
        return False

    def check(self) -> None:
        """See that nobody has done, or was told, what is not decided."""
        check_told(self.log, self.told, {name: node.table.did for name, node in self.nodes.items()})

    def over(self) -> bool:
        participants = [node.participating.participant for node in self.nodes.values()]
        return not (self.serving.ledger.open or any(participant.in_doubt for participant in participants))

    def check_end(self) -> None:
        """Let everybody be there, and see that everything ends well."""
        self.network.recover_all()
        for process in self.contracts:
            if process is not self.serving:
                process.rest()
        self.until(self.over)
        # What is under way from before.
        self.run(5)
        self.check()
        for name, node in self.nodes.items():
            check_done(name, self.log, node.table, node.rows, node.participating.participant)


Strike = Callable[[Scene], Any]
