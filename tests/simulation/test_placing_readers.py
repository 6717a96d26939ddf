"""Readers, the contracting service and delivery nodes together, while each of them is killed, stopped and cut off."""

import random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import ContractRefused
from chatproto.monitor import State
from chatproto.news.contracting.client import ContractClient
from chatproto.news.delivery.table import PLACEMENT
from chatproto.news.terms import Place, Placement, Terms
from chatproto.services.news import DeliverySettings, build_delivery
from chatproto.services.news.delivery import DeliveryService
from chatproto.testing.nodes import SimProcess
from chatproto.world import World
from tests.simulation.contracting import PAID, REGISTRY, SPORT, Contracts
from tests.simulation.placing import Wrong

SEEDS = range(12)
NODES = {"east": "west", "west": "south", "south": "east"}
"""Delivery nodes, and who stands in for each."""

PULL = Terms(("finance",), mode="pull", paid=True, maximum=20)


class Reader:
    """Asks for one thing after another, and keeps what it was told last."""

    def __init__(self, scene: "Region", name: str) -> None:
        self.scene = scene
        self.name = name
        self.client: ContractClient = scene.contracts.client(name)
        self.waits = False
        self.agreed: Place | None = None
        self.standing = ""
        self.stood_in = 0
        self.codes: list[str] = []

    def act(self) -> None:
        if self.waits:
            return
        self.waits = True
        luck, dice = self.scene.dice.random(), self.scene.dice
        if luck < 0.4:
            self._ask(self.client.propose(dice.choice((PAID, SPORT, PULL))), self._placed)
        elif luck < 0.8:
            self._ask(self.client.substitute(), self._stood_in)
        elif luck < 0.9:
            self._ask(self.client.cancel(), self._placed)
        elif luck < 0.95:
            self._ask(self.client.where(), self._told_where)
        else:
            self._ask(self.client.change_password(f"password {luck}"), lambda _: None)

    def _ask(self, asking: "Deferred[Any]", answered: Any) -> None:
        asking.addCallback(answered).addErrback(self._refused).addBoth(self._over)

    def _over(self, result: Any) -> Any:
        self.waits = False
        return result

    def _placed(self, place: Place | tuple[Terms, ...] | None) -> None:
        if not isinstance(place, tuple):
            self.agreed, self.standing = place, ""

    def _told_where(self, place: Place) -> None:
        if self.agreed is None or place.terms != self.agreed.terms or place.node != self.agreed.node:
            raise Wrong(f"{self.name} has agreed on {self.agreed}, and is told {place}")

    def _stood_in(self, node: str) -> None:
        self.standing = node
        self.stood_in += 1

    def _refused(self, failure: Any) -> None:
        failure.trap(ContractRefused)
        self.codes.append(failure.value.code)


class Region:
    """A registry, a master and a slave, three delivery nodes, and readers."""

    def __init__(self, seed: int) -> None:
        self.contracts = Contracts(seed, asked=True)
        self.dice = random.Random(f"{seed} region")
        self.nodes = {name: self._boot(name) for name in NODES}
        self.clock = self.contracts.clock
        self.until(self.is_calm)
        self.readers = [Reader(self, name) for name in ("ada", "bob", "cyd", "dan", "eve")]

    def _boot(self, name: str) -> SimProcess:
        settings = DeliverySettings(
            data="data",
            name=name,
            listen=("tcp:4848",),
            peer_listen="tcp:4747",
            advertise=f"{name}:4848",
            peer_advertise=f"{name}:4747",
            registry=REGISTRY,
            substitute=NODES[name],
        )

        def build(world: World) -> DeliveryService:
            return build_delivery(world, settings)

        return SimProcess(self.network.host(name), build)

    def placed(self, name: str) -> dict[str, Placement]:
        """Return the readers of a delivery node."""
        placements: dict[str, Placement] = self.nodes[name].tree.desk.table.placements
        return placements

    @property
    def network(self) -> Any:
        return self.contracts.network

    def until(self, what: Any, seconds: float = 60) -> float:
        return self.contracts.until(what, seconds)

    def is_calm(self) -> bool:
        """Whether everybody is there, knows of one another, and has nothing to do."""
        for name in self.contracts.processes:
            server = self.contracts.tree(name).server
            if not server.serving or len(server.nodes) != len(NODES) or server.book.pending or server.book.ledger.open:
                return False
        trees = self.contracts.tree("master"), self.contracts.tree("slave")
        return (
            self.contracts.registered() == {"master"}
            and trees[0].pair is not None
            and (trees[0].pair.role, trees[0].pair.redundancy) == ("leader", "paired")
            and trees[1].monitor is not None
            and trees[1].monitor.watch.state is State.WATCHING
            and not any(account.contract and account.contract.standing for account in self.accounts().values())
            and not any(account.owed for account in self.accounts().values())
        )

    def accounts(self) -> dict[str, Any]:
        return self.contracts.book().accounts

    def heal(self) -> None:
        """Have everybody there, and wait until nobody has anything to do."""
        self.network.recover_all()
        self.until(lambda: not any(reader.waits for reader in self.readers), 120)
        # A master that had been stopped believes for a moment that nothing has happened.
        self.clock.run(5)
        self.until(self.is_calm, 120)

    def check(self) -> None:
        """See that the book, the delivery nodes and what readers were told are one."""
        expected: dict[str, dict[str, tuple[Terms, str, str]]] = {name: {} for name in self.nodes}
        for reader, account in self.accounts().items():
            contract = account.contract
            if contract is not None:
                expected[contract.node][reader] = contract.terms, account.ticket, ""
        for name, node in self.nodes.items():
            durable = [msgspec.msgpack.decode(row, type=Placement) for _, row in node.tree.desk.store.scan(PLACEMENT)]
            for held in (self.placed(name).values(), durable):
                found = {one.reader: (one.terms, one.ticket, one.home) for one in held}
                if found != expected[name]:
                    raise Wrong(f"{name} has {found}, and the book says {expected[name]}")
            if node.tree.placing.participant.in_doubt:
                raise Wrong(f"{name} waits for an outcome for ever")
        slave = self.contracts.book("slave")
        if slave.capture() != self.contracts.book().capture():
            raise Wrong("master and slave have different books")
        for reader in self.readers:
            account = self.accounts().get(reader.name)
            contract = account.contract if account is not None else None
            if (contract and contract.terms) != (reader.agreed and reader.agreed.terms):
                raise Wrong(f"{reader.name} was told {reader.agreed}, and the book says {contract}")


class RegionTests(SynchronousTestCase):
    def test_a_reader_whose_node_is_killed(self) -> None:
        """It is placed at the substitute, whoever else is killed meanwhile, and goes home after that."""
        for victim in ("", "master", "slave", "south"):
            region = Region(1)
            ada = region.readers[0]
            ada.client.propose(PAID).addCallback(ada._placed)
            region.until(lambda ada=ada: ada.agreed)
            assert ada.agreed is not None
            home, away = ada.agreed.node, ada.agreed.substitute
            region.nodes[home].host.crash("silence")
            if victim and victim != away:
                region.network.host(victim).crash()
            asked = 0.0
            while not ada.standing:
                if not ada.waits:
                    ada.waits = True
                    ada._ask(ada.client.substitute(), ada._stood_in)
                region.clock.run(0.1)
                asked += 0.1
                self.assertLess(asked, 15, ada.codes)
            self.assertEqual(ada.standing, away)
            self.assertEqual(region.placed(away)["ada"].home, home)
            region.heal()
            region.check()
            self.assertEqual(region.placed(away), {})

    def test_storms(self) -> None:
        """All or nothing, in the end everywhere, and nothing that a reader was told of is lost."""
        stood_in = agreed = 0
        for seed in SEEDS:
            try:
                region = storm(seed)
            except Exception as error:
                self.fail(f"seed {seed}: {error!r}")
            self.assertEqual(self.flushLoggedErrors(), [], f"seed {seed}")
            stood_in += sum(reader.stood_in for reader in region.readers)
            agreed += sum(bool(reader.agreed) for reader in region.readers)
            refused = {code for reader in region.readers for code in reader.codes}
            self.assertNotIn("login-failed", refused, f"seed {seed}")
        self.assertGreater(agreed, len(SEEDS))
        self.assertGreater(stood_in, 0)


def storm(seed: int) -> Region:
    """Have readers ask while faults rain; then heal, and check."""
    region = Region(seed)
    dice = region.dice
    hosts = [region.network.host(name) for name in ("master", "slave", *NODES)]
    for _ in range(80):
        for reader in region.readers:
            if dice.random() < 0.3:
                reader.act()
        region.clock.run(dice.choice((0.002, 0.02, 0.2, 1.0)))
        luck, host = dice.random(), dice.choice(hosts)
        if luck < 0.12:
            if host.alive:
                host.crash(dice.choice(("reset", "close", "silence")))
            else:
                host.boot()
        elif luck < 0.3 and not host.alive:
            host.boot()
        elif luck < 0.33:
            host.resume() if host.paused else host.pause()
        elif luck < 0.37:
            region.network.cut(*(one.name for one in dice.sample(hosts, 2)))
        elif luck < 0.45:
            region.network.heal_all()
    region.heal()
    region.check()
    return region
