"""A small world of contracts: a registry, master and slave, delivery nodes that are only registered, and readers."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from chatproto.client import RegistryEndpoint
from chatproto.news.contracting.book import Book
from chatproto.news.contracting.client import ContractClient
from chatproto.news.placing.actions import Steps
from chatproto.news.placing.ledger import Act, Begun, Completed, Decided, Ledger, Took, Transaction
from chatproto.news.terms import Terms
from chatproto.pair.log import PairSettings
from chatproto.registry import Registration, RegistryClient
from chatproto.services.news.contracts import KIND, ContractsService, ContractsSettings, build_contracts, placing
from chatproto.services.pairing import PeerSettings
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import SimClock, SimNetwork
from chatproto.testing.nodes import SimProcess

REGISTRY = "tcp:registry:4646"
COST_LOG2 = 4
SPORT = Terms(("sport",))
PAID = Terms(("politics", "sport"), paid=True, minimum=5, maximum=50, delay_s_max=200.0)
TOO_MUCH = Terms(("politics", "sport"), paid=True, minimum=20, maximum=80, delay_s_max=60.0)


class AtOnce:
    """A coordinator whose delivery nodes all agree, at once and without being asked; or one of which does not."""

    def __init__(self, ledger: Ledger, record: Callable[[Act], None], scene: "Contracts") -> None:
        self.ledger = ledger
        self.record = record
        self.scene = scene
        self.begun: set[str] = set()
        self.running = False

    def startService(self) -> None:
        self.running = True
        self.record(Took(self.ledger.term + 1, "life"))

    def stopService(self) -> None:
        self.running = False

    def begin(self, name: str, steps: Steps) -> None:
        if name not in self.begun and self.ledger.term:
            self.begun.add(name)
            self.record(Begun(name, steps))

    def recorded(self, act: Act, transaction: Transaction | None) -> None:
        if isinstance(act, Took):
            for open_one in self.ledger.open.values():
                self._decide(open_one)
        elif transaction is not None and not isinstance(act, Completed):
            self._decide(transaction)

    def _decide(self, transaction: Transaction) -> None:
        if transaction.number not in self.ledger.open:
            return
        if transaction.committed:
            self.record(Completed(transaction.number))
        elif self.scene.holding:
            self.scene.held.append(lambda: self._decide(transaction))
        elif refusing := self.scene.refusing & transaction.steps.keys():
            self.record(Decided(transaction.number, False, "full", min(refusing)))
        else:
            self.record(Decided(transaction.number, True))


class Contracts:
    """The world.

    Attributes:
        refusing: delivery nodes that say no to whatever they are asked.
        holding: whether no transaction is decided until `release`.
    """

    def __init__(self, seed: int = 0, *, slave: bool = True, asked: bool = False, **options: Any) -> None:
        """Begin; with `asked`, delivery nodes are there to be asked, and may be `DeliveryNode`s."""
        self.dice = random.Random(f"{seed} nodes")
        self._asked = asked
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, random.Random(seed))
        self.refusing: set[str] = set()
        self.holding = False
        self.held: list[Callable[[], None]] = []
        self.options = options
        self.registry = SimProcess(
            self.network.host("registry"), lambda world: build_registry(world, RegistrySettings("data"))
        )
        names = ("master", "slave") if slave else ("master",)
        for name in names:
            self.network.host(name)
        self.processes = {name: self._boot(name, paired=slave) for name in names}
        self.master = self.processes["master"]
        world = self.network.host("delivery").world()
        self.delivery = RegistryClient(world.client(REGISTRY), world.clock, world.dice)
        self.delivery.startService()
        self.clients = 0

    def _boot(self, name: str, *, paired: bool) -> SimProcess:
        other = {"master": "slave", "slave": "master"}[name]
        role = {"master": "primary", "slave": "secondary"}[name]
        pair = PairSettings(name, "news", role, f"{name}:4949")
        settings = ContractsSettings(
            data="data",
            name=name,
            listen=("tcp:4848",),
            peer_listen="tcp:4747",
            advertise=f"{name}:4848",
            peer_advertise=f"{name}:4747",
            registry=REGISTRY,
            peer=PeerSettings(f"tcp:{other}:4949", pair, "tcp:4949", REGISTRY) if paired else None,
            stands_in_for="master" if name == "slave" else "",
            ask_every_s=0.5,
            dead_after_s=1.0,
            password_cost_log2=COST_LOG2,
            **self.options,
        )
        at_once = lambda *outside: lambda ledger, record: AtOnce(ledger, record, self)  # noqa: E731
        place = placing if self._asked else at_once
        return SimProcess(self.network.host(name), lambda world: build_contracts(world, settings, place))

    def tree(self, name: str = "master") -> ContractsService:
        tree: ContractsService = self.processes[name].tree
        return tree

    def book(self, name: str = "master") -> Book:
        return self.tree(name).server.book

    def register_node(self, name: str, capacity: int = 100, **attributes: str) -> None:
        registration = Registration(
            "news", name, "news-delivery", f"{name}:1", capacity=capacity, attributes=attributes
        )
        self.delivery.register(registration, b"token").addErrback(lambda failure: None)

    def withdraw_node(self, name: str) -> None:
        self.delivery.withdraw("news", name)

    def release(self) -> None:
        self.holding = False
        held, self.held = self.held, []
        for decide in held:
            decide()

    def settle(self, *nodes: str) -> None:
        """Wait until all is as it is on an ordinary day, with delivery nodes of these names there."""
        for name in nodes:
            self.register_node(name)
        self.until(lambda: "master" in self.registered())
        for name in self.processes:
            self.until(
                lambda name=name: self.tree(name).server.serving and len(self.tree(name).server.nodes) == len(nodes)
            )
        if "slave" in self.processes:
            self.until(lambda: self.tree("slave").pair.redundancy == "paired")
            self.until(lambda: self.tree("slave").monitor.watch.state.name == "WATCHING")

    def registered(self) -> set[str]:
        return {one.name for one in self.registry.tree.names.list(service="news", kind=KIND)}

    def client(self, reader: str = "ada", password: str = "secret", *, opens: bool = True) -> ContractClient:
        self.clients += 1
        world = self.network.host(f"client-{self.clients}").world()
        endpoint = RegistryEndpoint(
            world.client(REGISTRY),
            world.clock,
            lambda address: world.client(f"tcp:{address}:timeout=1"),
            service="news",
            kind=KIND,
            dice=world.dice,
        )
        client = ContractClient(
            endpoint,
            world.clock,
            reader,
            password,
            opens=opens,
            dice=world.dice,
            heartbeat_s=0.3,
            suspect_s=1.0,
        )
        client.startService()
        return client

    def until(self, what: Callable[[], bool], seconds: float = 30) -> float:
        return self.clock.run_until(what, seconds)

    def wait(self, deferred: "Deferred[Any]", seconds: float = 60) -> Any:
        """Return what a Deferred is called back with; raise what it fails with."""
        got: list[Any] = []
        failed: list[Any] = []
        deferred.addCallbacks(got.append, failed.append)
        self.until(lambda: bool(got or failed), seconds)
        if failed:
            failed[0].raiseException()
        return got[0]
