"""The contracting service: a server on its log, alone or one of two; and the slave, which stands in for the master."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.logger import Logger

from chatproto.chat.passwords import COST_LOG2
from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.monitor import MonitorService
from chatproto.monitor.service import ASK_EVERY_S, DEAD_AFTER_S
from chatproto.news.contracting.entrance import Entrance
from chatproto.news.contracting.messages import Ask, Enter, decode_from_part, decode_from_reader
from chatproto.news.contracting.parts import Parts
from chatproto.news.contracting.policy import Policy
from chatproto.news.contracting.server import DOOR, NEGOTIATIONS_MAX, ContractingServer, MakePlacer
from chatproto.news.contracting.visits import NEGOTIATION_S_MAX, Visits
from chatproto.news.link import NewsLinkFactory
from chatproto.news.placing.coordinating import Placing
from chatproto.news.placing.ledger import Act, Ledger
from chatproto.news.terms import DELAY_S_MAX
from chatproto.pair.log import PairLog
from chatproto.registry import Registration, RegistryClient
from chatproto.services.control import Command
from chatproto.services.listener import Listener
from chatproto.services.measures import GAUGE, Measure
from chatproto.services.mounting import mount
from chatproto.services.news.doors import build_links
from chatproto.services.news.node import NewsNode
from chatproto.services.news.overseeing import Overseeing
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.slave import Master, MastersPlace, Slave
from chatproto.services.opening import LogService
from chatproto.services.pairing import PeerSettings, build_log, build_peer_listener
from chatproto.world import World

KIND = "news-contracts"
"""The kind of the registration."""
PARTS_DOOR = "news-part"
STANDS_IN_FOR = "stands-in-for"
"""The attribute of a slave's registration that names the master."""
LIMITS = Limits(
    connections_max=2000, per_address_max=100, strangers_max=100, link_lines_a_second=20, link_lines_at_once=200
)
PARTS = Limits(connections_max=256, per_address_max=64, strangers_max=32)
CLOSE_S_MAX = 15.0
"""How long a door that is closed waits until everybody inside has the answer that they wait for."""
PUT_RIGHT_EVERY_S = 2.0

log = Logger()


@dataclass(frozen=True, kw_only=True)
class ContractsSettings(NewsSettings):
    """What can be set of a contracting server.

    Attributes:
        peer: its place in a pair; None for one alone.
        stands_in_for: the name of the master, of which this is the slave; empty for a master.
        ask_every_s: (slave) between an answer of the master and the next question.
        dead_after_s: (slave) so long after a question without an answer this one serves.
        minimum_max: see `Policy`.
        maximum_max: see `Policy`.
        delay_s_min: see `Policy`.
        negotiations_max: at once.
        negotiation_s_max: from the turn of a negotiation to its end.
        password_cost_log2: of new secrets, see `chatproto.chat.passwords`.
    """

    peer: PeerSettings | None = None
    stands_in_for: str = ""
    ask_every_s: float = ASK_EVERY_S
    dead_after_s: float = DEAD_AFTER_S
    minimum_max: int = Policy().minimum_max
    maximum_max: int = Policy().maximum_max
    delay_s_min: float = DELAY_S_MAX
    negotiations_max: int = NEGOTIATIONS_MAX
    negotiation_s_max: float = NEGOTIATION_S_MAX
    password_cost_log2: int = COST_LOG2

    @property
    def policy(self) -> Policy:
        """What can be agreed on."""
        return Policy(frozenset(self.topics), self.minimum_max, self.maximum_max, self.delay_s_min)


class BookService(LogService):
    """Opens the log of a server's book when it starts, and closes it when it stops."""

    def __init__(self, world: World, server: ContractingServer) -> None:
        """Run a server's book."""
        super().__init__(world, server)
        self._server = server

    def stopService(self) -> "Deferred[None] | None":
        """Finish the log."""
        if self.open:
            self._server.stop()
        return super().stopService()


class Door(MultiService):
    """Lets readers in while it runs; before it has stopped, each has the answer that it waits for.

    Attributes:
        listeners: one for each endpoint, in the order given; `ready` fires with the port.
    """

    def __init__(self, world: World, settings: ContractsSettings, visits: Visits, factory: NewsLinkFactory) -> None:
        """Make a door; `world.fatal` is called when an endpoint is busy."""
        super().__init__()
        self._clock = world.clock
        self._visits = visits
        self.listeners = [
            Listener(description, world.server(description), factory, world.fatal, factory.gate)
            for description in settings.listen
        ]
        for number, listener in enumerate(self.listeners, 1):
            mount(self, f"listener-{number}", listener)

    @property
    def listening(self) -> bool:
        """Whether anybody can come."""
        return all(listener.port is not None for listener in self.listeners)

    def startService(self) -> None:
        """Open."""
        self._visits.open()
        super().startService()

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Close, within `CLOSE_S_MAX`."""
        yield maybeDeferred(super().stopService)
        closing = self._visits.close().addTimeout(CLOSE_S_MAX, self._clock)
        yield closing.addErrback(lambda failure: failure.trap(CancelledError, TimeoutError) and None)


class ContractsService(NewsNode):
    """The service tree of a contracting server.

    Attributes:
        server: its book, and what it knows.
        visits: its readers' connections.
        pair: its log, where it is one of two; None for one alone.
        monitor: asks the master; None in a master.
        place: the master's, in the registry.
        door: where readers are let in; None while they are not.
    """

    role = "contracts"
    server: ContractingServer
    visits: Visits
    pair: PairLog | None
    book: BookService
    monitor: MonitorService | None = None
    door: Door | None = None
    settings: ContractsSettings

    def __init__(self, world: World, settings: ContractsSettings) -> None:
        """Begin a tree; `build_contracts` makes its parts."""
        super().__init__(world, settings)
        self.place = MastersPlace(self.changed)

    def open_door(self, world: World, factory: NewsLinkFactory) -> Door:
        """Let readers in; `world.fatal` is called when an endpoint is busy."""
        door = self.door = Door(world, self.settings, self.visits, factory)
        self.listeners = door.listeners
        mount(self, "door", door)
        return door

    def close_door(self) -> "Deferred[object]":
        """Let nobody in any more; fires when those inside have what they wait for."""
        door, self.door = self.door, None
        return maybeDeferred(door.disownServiceParent) if door is not None else succeed(None)

    def change(self, settings: ContractsSettings) -> None:
        """Take other ceilings into use, for whatever is agreed on from now on; what was agreed on holds."""
        self.server.policy = settings.policy
        self.server.allow(settings.negotiations_max)

    def opened(self) -> bool:
        """See `NewsNode.opened`."""
        return self.book.open and (self.monitor is not None or (self.door is not None and self.door.listening))

    def serves(self) -> bool:
        """See `NewsNode.serves`: a slave that stands by does what it is there for."""
        return self.server.serving or (self.monitor is not None and self.door is None)

    def summary(self) -> str:
        """See `NewsNode.summary`."""
        if not self.book.open:
            return "waiting for its log"
        contract_log, inside = self.server.log, self.door is not None
        waits = f", waits for {contract_log.waits_for}" if contract_log.waits_for else ""
        doing = f"{self.server.negotiations} negotiations, {len(self.visits)} connections" if inside else "stands by"
        return f"{contract_log.role}, {contract_log.redundancy}{waits}, {doing}"

    def commands(self) -> dict[str, Command]:
        """See `NewsNode.commands`."""
        return Overseeing(self._world.clock, self.server).commands

    def measures(self) -> Iterator[Measure]:
        """See `NewsNode.measures`."""
        book = self.server.book
        for name, meaning, value in (
            ("readers", "Readers that have an account.", len(book.accounts)),
            ("changes", "Changes of what readers have that are not decided.", len(book.pending)),
            ("transactions", "Transactions that are not completed at every delivery node.", len(book.ledger.open)),
            ("negotiations", "Negotiations under way, or waiting for their turn.", self.server.negotiations),
            ("nodes", "Delivery nodes that are there.", len(self.server.nodes)),
            ("adrift", "Readers whose delivery node was lost, and who have no other yet.", len(book.adrift)),
        ):
            yield Measure(GAUGE, f"chatproto_news_contracts_{name}", meaning, [({}, value)])

    def attributes(self) -> dict[str, str]:
        """See `NewsNode.attributes`."""
        settings = self.settings
        return {STANDS_IN_FOR: settings.stands_in_for} if settings.stands_in_for else {}

    def registration(self) -> Registration | None:
        """See `NewsNode.registration`: a slave comes before its master, whose lease may not be over."""
        is_slave = bool(self.settings.stands_in_for)
        if is_slave and not self.place.taken:
            return None
        registration = super().registration()
        assert registration is not None
        return msgspec.structs.replace(registration, role="leader", epoch=int(is_slave))

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Stop: a slave's monitor first, which has its door closed, and needs the registry and the log for it."""
        if self.monitor is not None:
            yield self.monitor.stopService()
        # One after another: nobody new is led here, then what is under way comes to the log, then that is closed.
        for name in ("registering", "door"):
            if name in self.namedServices:
                yield maybeDeferred(self.namedServices[name].stopService)
        yield maybeDeferred(super().stopService)


MakePlacing = Callable[[World, RegistryClient, Turn, ContractsSettings], MakePlacer]
"""Makes what coordinates transactions."""


def placing(world: World, registry: RegistryClient, turn: Turn, settings: ContractsSettings) -> MakePlacer:
    """Return what has delivery nodes place readers, all that a transaction concerns or none."""

    def make(ledger: Ledger, record: Callable[[Act], None]) -> Placing:
        # What becomes of a transaction is in the book.
        outside = world, registry, turn, ledger, record, lambda settled: None
        return Placing(*outside, who=settings.name, service=settings.service)

    return make


def build_contracts(world: World, settings: ContractsSettings, place: MakePlacing = placing) -> ContractsService:
    """Build the service tree of a contracting server.

    Args:
        world: the outside. `world.fatal` is called when the log cannot be opened or written, or an endpoint is busy.
        settings: what can be set.
        place: makes what coordinates transactions.

    Raises:
        ValueError: no registry is named.
    """
    if not settings.registry:
        raise ValueError("the contracts need a registry: it knows the delivery nodes, and leads readers here")
    tree = ContractsService(world, settings)
    turn = tree.turn
    peer = settings.peer
    if peer is not None:
        # The master leads again as soon as it can: then nothing that is asked of it goes by the slave.
        peer = replace(peer, pair=msgspec.structs.replace(peer.pair, prefer_primary=True))
    contract_log = build_log(world, settings.data, peer, turn)
    tree.pair = pair = contract_log if isinstance(contract_log, PairLog) else None
    tree.server = server = ContractingServer(
        settings.name,
        contract_log,
        settings.policy,
        lambda ledger, record: place(world, _client(tree), turn, settings)(ledger, record),
        world.clock,
        world.now,
        world.dice,
        world.tally,
        lambda book: Entrance(book, world.aside, world.clock, world.dice, settings.password_cost_log2),
        settings.negotiations_max,
    )
    tree.visits = visits = Visits(server, settings.negotiation_s_max)
    tree.book = BookService(world, server)
    mount(tree, "book", tree.book)
    if pair is not None and peer is not None:
        mount(tree, "pair-listener", build_peer_listener(world, peer, pair))
    overdue = TimerService(PUT_RIGHT_EVERY_S, server.put_right)
    overdue.clock = world.clock
    mount(tree, "overdue", overdue)
    tree.open_guarded(PARTS_DOOR, decode_from_part, {Ask: Parts(server)}, PARTS)
    readers = build_links(world, settings, turn, DOOR, decode_from_reader, {Enter: visits}, LIMITS)
    if not settings.stands_in_for:
        tree.open_door(world, readers)
    tree.complete()
    client = _client(tree)
    client.watch(server.delivery, settings.service)
    if settings.stands_in_for:
        master = Master(world, turn, settings.stands_in_for, KIND)
        client.watch(master, settings.service)
        tree.monitor = MonitorService(
            world.clock,
            master,
            Slave(world, server, lambda outside: tree.open_door(outside, readers).listeners, tree.close_door),
            tree.place,
            ask_every_s=settings.ask_every_s,
            dead_after_s=settings.dead_after_s,
            what=settings.stands_in_for,
            # What is in the log came from the master: a slave stands in that was started while that is dead, too.
            known=lambda: server.log.position > 0,
        )
        mount(tree, "monitor", tree.monitor)
    return tree


def _client(tree: ContractsService) -> RegistryClient:
    assert tree.registering is not None, "the contracts are in a registry"
    return tree.registering.client
