"""The contracting service: a server on its log, alone or one of two; and the slave, which stands in for the master."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    fail,
    gatherResults,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.logger import Logger
from zope.interface import implementer

from chatproto.chat.passwords import COST_LOG2
from chatproto.errors import ChatprotoError, StoreError
from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.monitor import IAlive, IPlace, IStandIn, MonitorService
from chatproto.monitor.service import ASK_EVERY_S, DEAD_AFTER_S
from chatproto.news.contracting.entrance import Entrance
from chatproto.news.contracting.inquiry import ask
from chatproto.news.contracting.messages import Alive, Ask, Enter, decode_from_part, decode_from_reader
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
from chatproto.services.listener import Listener
from chatproto.services.measures import GAUGE, Measure, Measures, of_process, together
from chatproto.services.mounting import mount
from chatproto.services.news.settings import NewsSettings
from chatproto.services.pairing import PeerSettings, build_log, build_peer_listener, client_of
from chatproto.services.probes import build_probes
from chatproto.services.registering import PEER as PEER_ADDRESS
from chatproto.services.registering import RegisteringService, RegisteringSettings, placed
from chatproto.services.systemd import Health, Supervision
from chatproto.trust.proof import PEER
from chatproto.world import World

KIND = "news-contracts"
"""The kind of the registration."""
STANDS_IN_FOR = "stands-in-for"
"""The attribute of a slave's registration that names the master."""
LIMITS = Limits(connections_max=2000, per_address_max=100, strangers_max=100)
PARTS = Limits(connections_max=256, per_address_max=64, strangers_max=32)
CLOSE_S_MAX = 15.0
"""How long a door that is closed waits until everybody inside has the answer that they wait for."""
SERVING_S_MAX = 10.0
"""How long a slave that is activated waits until what it takes can be committed."""
SEND_HOME_EVERY_S = 2.0

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


class NoMaster(ChatprotoError):
    """The master is not known yet, or does not serve."""


class CannotStandIn(ChatprotoError):
    """The slave cannot serve."""


class BookService(Service):
    """Opens the log when it starts, and closes it when it stops.

    Attributes:
        open: whether it is.
    """

    def __init__(self, world: World, server: ContractingServer) -> None:
        """Run a server's book."""
        self.open = False
        self._world = world
        self._server = server

    def startService(self) -> None:
        """Bring the book to where the log is."""
        super().startService()
        try:
            self._server.start()
        except StoreError as error:
            self._world.fatal(str(error))
        else:
            self.open = True

    def stopService(self) -> "Deferred[None] | None":
        """Finish the log."""
        super().stopService()
        was_open, self.open = self.open, False
        if not was_open:
            return None
        self._server.stop()
        return self._server.log.close()


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


@implementer(IPlace)
class MastersPlace:
    """The master's place in the registry: taken by the slave, and given back.

    Attributes:
        taken: whether it is.
    """

    def __init__(self) -> None:
        """Be the master's."""
        self.taken = False
        self.changed: Callable[[], object] = lambda: None

    def take(self) -> "Deferred[object]":
        """See `IPlace.take`."""
        return self._be(True)

    def give_back(self) -> "Deferred[object]":
        """See `IPlace.give_back`."""
        return self._be(False)

    def _be(self, taken: bool) -> "Deferred[object]":
        self.taken = taken
        self.changed()
        return succeed(None)


def registration_of(settings: ContractsSettings) -> Registration:
    """Return what is registered: a slave comes before its master, whose lease may not be over."""
    attributes = {PEER_ADDRESS: settings.peer_advertise} if settings.peer_advertise else {}
    if settings.stands_in_for:
        attributes[STANDS_IN_FOR] = settings.stands_in_for
    registration = Registration(
        service=settings.service,
        name=settings.name,
        kind=KIND,
        role="leader",
        epoch=1 if settings.stands_in_for else 0,
        attributes=attributes,
        lease_s=settings.lease_s,
    )
    return placed(registration, settings.advertise)


@implementer(IAlive)
class Master:
    """The master, wherever the registry said last that it is; hears what is registered (`NamesHeard`)."""

    def __init__(self, world: World, settings: ContractsSettings, turn: Turn) -> None:
        """Know of no master yet."""
        self._world = world
        self._settings = settings
        self._turn = turn
        self._address = ""

    def names_listed(self, registrations: list[Registration]) -> None:
        """See `NamesHeard.names_listed`."""
        for registration in registrations:
            self.name_registered(registration)

    def name_registered(self, registration: Registration) -> None:
        """See `NamesHeard.name_registered`."""
        if registration.name == self._settings.stands_in_for and registration.kind == KIND:
            self._address = registration.attributes.get(PEER_ADDRESS, "")

    def name_gone(self, registration: Registration) -> None:
        """See `NamesHeard.name_gone`. A master that is gone is asked where it was."""

    def ask(self) -> "Deferred[object]":
        """Ask at its guarded port; it lives if what is asked of it can be committed."""
        if not self._address:
            return fail(NoMaster(f"{self._settings.stands_in_for} is not registered, or without its guarded port"))
        endpoint = self._world.guarded_client(client_of(self._address), PEER)
        asking: Deferred[Any] = ask(endpoint, self._turn, self._world.clock, self._world.trust)
        return asking.addCallback(self._serves)

    def _serves(self, alive: Alive) -> Alive:
        if alive.server != self._settings.stands_in_for:
            raise NoMaster(f"what answers there is {alive.server}")
        if not alive.serving:
            raise NoMaster(f"{alive.server} cannot commit anything")
        return alive


@implementer(IStandIn)
class Slave:
    """Opens the door of a slave, and closes it.

    Attributes:
        door: while it is open.
    """

    def __init__(
        self, world: World, server: ContractingServer, make_door: Callable[[World], Door], parent: MultiService
    ) -> None:
        """Make one that serves nobody; its door becomes a part of `parent`."""
        self.door: Door | None = None
        self._world = world
        self._server = server
        self._make_door = make_door
        self._parent = parent

    def activate(self) -> "Deferred[object]":
        """See `IStandIn.activate`."""
        activating: Deferred[Any] = Deferred.fromCoroutine(self._activate())
        return activating.addErrback(lambda failure: self.stand_down().addBoth(lambda _: failure))

    async def _activate(self) -> None:
        serving = _Serving(self._server).addTimeout(SERVING_S_MAX, self._world.clock)
        try:
            await serving
        except (CancelledError, TimeoutError):
            raise CannotStandIn("nothing can be committed here: is the registry, the witness, reached?") from None
        opened: Deferred[Any] = Deferred()

        def fatal(reason: str) -> None:
            # A door that cannot be opened is no reason to watch no more.
            if opened.called:
                self._world.fatal(reason)
            else:
                opened.errback(CannotStandIn(reason))

        self.door = door = self._make_door(replace(self._world, fatal=fatal))
        mount(self._parent, "door", door)
        ports = gatherResults([listener.ready for listener in door.listeners])
        ports.addCallback(lambda _: None if opened.called else opened.callback(None))
        await opened

    def stand_down(self) -> "Deferred[object]":
        """See `IStandIn.stand_down`."""
        door, self.door = self.door, None
        return maybeDeferred(door.disownServiceParent) if door is not None else succeed(None)


def _Serving(server: ContractingServer) -> "Deferred[None]":
    """Return what is called back as soon as what is asked of a server can be committed."""
    serving: Deferred[None] = Deferred(lambda _: server.looking.pop(looks, None))

    class Looks:
        def look(self) -> None:
            if server.serving:
                server.looking.pop(self, None)
                serving.callback(None)

    looks = Looks()
    server.looking[looks] = None
    looks.look()
    return serving


class ContractsService(MultiService):
    """The service tree of a contracting server.

    Attributes:
        server: its book, and what it knows.
        visits: its readers' connections.
        pair: its log, where it is one of two; None for one alone.
        registry: the client of the registry; None where there is none.
        monitor: asks the master; None in a master.
    """

    server: ContractingServer
    visits: Visits
    pair: PairLog | None
    registry: RegistryClient
    monitor: MonitorService | None = None
    _door: Callable[[], Door | None]
    _book: BookService

    @property
    def door(self) -> Door | None:
        """Where readers are let in; None while they are not."""
        return self._door()

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        server, door = self.server, self.door
        open_door = door is not None and door.listening
        ready = self._book.open and (open_door or self.monitor is not None)
        waits = f", waits for {server.log.waits_for}" if self._book.open and server.log.waits_for else ""
        doing = f"{server.negotiations} negotiations, {len(self.visits)} connections" if open_door else "stands by"
        state = f"{server.log.role}, {server.log.redundancy}{waits}, {doing}"
        watches = self.monitor is not None and not open_door
        return Health(ready, lambda: True, not self.running, state, ready and (server.serving or watches))

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
    """
    turn = Turn(world.clock)
    tree = ContractsService()
    peer = settings.peer
    if peer is not None:
        # The master leads again as soon as it can: then nothing that is asked of it goes by the slave.
        peer = replace(peer, pair=msgspec.structs.replace(peer.pair, prefer_primary=True))
    contract_log = build_log(world, settings.data, peer, turn)
    pair = contract_log if isinstance(contract_log, PairLog) else None
    slave_place = MastersPlace()
    registering = RegisteringService(
        world,
        RegisteringSettings(settings.registry, settings.token, settings.service, lease_s=settings.lease_s),
        settings.data,
        settings.name,
        turn,
        lambda: registration_of(settings) if slave_place.taken or not settings.stands_in_for else None,
        lambda: status_of(tree),
    )
    slave_place.changed = registering.changed
    client = registering.client
    server = ContractingServer(
        settings.name,
        contract_log,
        Policy(frozenset(settings.topics), settings.minimum_max, settings.maximum_max, settings.delay_s_min),
        place(world, client, turn, settings),
        world.clock,
        world.now,
        world.dice,
        world.tally,
        lambda book: Entrance(book, world.aside, world.clock, world.dice, settings.password_cost_log2),
        settings.negotiations_max,
    )
    client.watch(server.delivery, settings.service)
    visits = Visits(server, settings.negotiation_s_max)
    limits = LIMITS.within(world.connections_max(PARTS.connections_max))
    readers = NewsLinkFactory(DOOR, decode_from_reader, {Enter: visits}, turn, world.clock, world.tally, limits=limits)
    make_door = partial(Door, settings=settings, visits=visits, factory=readers)
    tree.server, tree.visits, tree.pair, tree.registry = server, visits, pair, client
    if settings.metrics:
        measures = together(of_process("contracts", tree.health, world.tally), of_contracts(tree))
        mount(tree, "probes", build_probes(world, settings.metrics, tree.health, measures))
    tree._book = BookService(world, server)
    mount(tree, "book", tree._book)
    if pair is not None and peer is not None:
        mount(tree, "pair-listener", build_peer_listener(world, peer, pair))
    if settings.peer_listen:
        parts = NewsLinkFactory(
            "news-part",
            decode_from_part,
            {Ask: Parts(server)},
            turn,
            world.clock,
            world.tally,
            limits=PARTS,
            trust=world.trust,
        )
        endpoint = world.guarded_server(settings.peer_listen, PEER)
        mount(tree, "peer-listener", Listener(settings.peer_listen, endpoint, parts, world.fatal, parts.gate))
    home = TimerService(SEND_HOME_EVERY_S, server.send_home)
    home.clock = world.clock
    mount(tree, "send-home", home)
    if settings.stands_in_for:
        slave = Slave(world, server, make_door, tree)
        master = Master(world, settings, turn)
        client.watch(master, settings.service)
        tree._door = lambda: slave.door
        tree.monitor = MonitorService(
            world.clock,
            master,
            slave,
            slave_place,
            ask_every_s=settings.ask_every_s,
            dead_after_s=settings.dead_after_s,
            what=settings.stands_in_for,
        )
        mount(tree, "registering", registering)
        mount(tree, "monitor", tree.monitor)
    else:
        door = make_door(world)
        tree._door = lambda: door
        mount(tree, "door", door)
        mount(tree, "registering", registering)
    if world.supervisor is not None:
        mount(tree, "supervision", Supervision(world.clock, turn, world.supervisor, tree.health))
    return tree


def of_contracts(tree: ContractsService) -> Measures:
    """Measure a contracting server."""

    def measure() -> Iterator[Measure]:
        book = tree.server.book
        for name, meaning, value in (
            ("readers", "Readers that have an account.", len(book.accounts)),
            ("changes", "Changes of what readers have that are not decided.", len(book.pending)),
            ("transactions", "Transactions that are not completed at every delivery node.", len(book.ledger.open)),
            ("negotiations", "Negotiations under way, or waiting for their turn.", tree.server.negotiations),
            ("nodes", "Delivery nodes that are there.", len(tree.server.nodes)),
        ):
            yield Measure(GAUGE, f"chatproto_contracts_{name}", meaning, [({}, value)])

    return measure


def status_of(tree: ContractsService) -> bytes:
    """Return what is answered to whoever asks through the registry how a contracting server is: a JSON object."""
    server = tree.server
    return msgspec.json.encode(
        {
            "name": server.name,
            "kind": KIND,
            "role": server.log.role,
            "redundancy": server.log.redundancy,
            "serving": server.serving,
            "readers": len(server.book.accounts),
            "negotiations": server.negotiations,
            "transactions": len(server.book.ledger.open),
            "nodes": {
                name: {"readers": room.readers, "paid": room.paid} for name, room in sorted(server.book.taken.items())
            },
        }
    )
