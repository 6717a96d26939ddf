"""A node that serves chat: the log on its store, the chat on the log, the links on the chat."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.server import ChatServer
from chatproto.chat.settings import ChatSettings
from chatproto.errors import MissingExtra
from chatproto.gateway import PageSettings
from chatproto.link import Turn
from chatproto.pair.link import LIMITS as PEERS
from chatproto.pair.log import PairLog
from chatproto.pair.messages import PRIMARY
from chatproto.pair.states import Role
from chatproto.services.control import ChatControl
from chatproto.services.drain import Drain
from chatproto.services.draining import Phase
from chatproto.services.listener import Listener
from chatproto.services.measures import of_chat, of_process, together
from chatproto.services.migration import MigrationService
from chatproto.services.mounting import mount
from chatproto.services.opening import LogService
from chatproto.services.pairing import PeerSettings, build_log, build_peer_listener
from chatproto.services.probes import LIMITS as PROBES
from chatproto.services.probes import build_probes
from chatproto.services.registering import RegisteringSettings, register_chat
from chatproto.services.search import SearchService
from chatproto.services.systemd import Health, Supervision
from chatproto.services.whereabouts import Whereabouts
from chatproto.world import World

RETENTION_INTERVAL_S = 60.0
BOOT_S_MAX = 5.0
"""A node of a pair that has no role yet is started for all that, after so long: the other may be started after it."""
STUCK_S_MAX = 1.0
"""A disk that has something to take, and is seen to take nothing for so long, does not get on."""
REGISTERING = "registering"
"""The name of the service, if there is one, that is stopped as soon as clients know that the node ends."""

log = Logger()


@dataclass(frozen=True)
class Retention:
    """What is kept of the archives; 0 is no bound.

    Attributes:
        age_s: seconds that a message is kept.
        count: messages kept in each room.
        bytes_max: bytes of the data file in use, all rooms together; the oldest messages go first.
    """

    age_s: float = 0
    count: int = 0
    bytes_max: int = 0


@dataclass(frozen=True)
class NodeSettings:
    """What can be set of a node.

    Attributes:
        data: the data directory.
        listen: server endpoint strings of the client link.
        chat: what can be set of its chat.
        retain: what is kept of the archives.
        peer: its place in a pair; None for a node alone.
        control: path of the socket for operators' commands; empty for none.
        registering: how it is registered; None for a node that nobody finds by name.
        drain_s_max: how long the end of the node may take, so that nobody loses anything; 0 for at once.
        migrate_every_s: seconds between moves to another node that stands by; 0 for none.
        checkers: know whom to let in besides the accounts in the log.
        page: what can be set of the page; None for a node that has none.
        search: whether clients may search the archives.
        metrics: server endpoint string of its probes: metrics, health and readiness; empty for none.
    """

    data: str
    listen: tuple[str, ...] = ("tcp:4444",)
    chat: ChatSettings = field(default_factory=ChatSettings)
    retain: Retention = Retention()
    peer: PeerSettings | None = None
    control: str = ""
    registering: RegisteringSettings | None = None
    drain_s_max: float = 10.0
    migrate_every_s: float = 0.0
    checkers: tuple[ICredentialsChecker, ...] = ()
    page: PageSettings | None = None
    search: bool = True
    metrics: str = ""


class RetentionService(TimerService):
    """Asks, once in a while, what is to be dropped, and has it dropped.

    Attributes:
        retain: what is kept.
    """

    def __init__(self, world: World, server: ChatServer, retain: Retention) -> None:
        """Keep what `retain` says of a node's archives."""
        super().__init__(RETENTION_INTERVAL_S, self.tick)
        self.clock = world.clock
        self._world = world
        self._server = server
        self.retain = retain

    def tick(self) -> "Deferred[object]":
        """Look once. A failure is logged, and the next look comes all the same."""
        retain = self.retain
        if retain == Retention():
            return succeed(None)
        before = self._world.now() - retain.age_s if retain.age_s else 0.0
        looked: Deferred[Any] = self._server.log.expired(before, retain.bytes_max)
        looked.addCallback(self._forget)
        looked.addErrback(lambda failure: log.failure("looking for what retention drops", failure))
        return looked

    def _forget(self, first: dict[str, int]) -> None:
        if self.retain.count:
            for room in self._server.hall.rooms.values():
                first[room.name] = max(first.get(room.name, 0), room.last - self.retain.count + 1)
        self._server.forget(first)


class NodeService(MultiService):
    """The service tree of a node.

    Attributes:
        server: its chat.
        factory: makes the links of its clients, for front doors of your own.
        listeners: one for each endpoint, in the order given; `ready` fires with the port.
        page: the listener of its page; None for a node that has none.
        pair: its log, where it is one of two; None for a node alone.
        drain: the node's end: `stopService` begins with it, and it may be begun before.
        migration: moves its place to another node; None for a node that cannot.
        search: has its archives searched; None for a node that does not.
    """

    def __init__(
        self,
        clock: IReactorTime,
        chat: LogService,
        server: ChatServer,
        factory: ClientLinkFactory,
        listeners: list[Listener],
        pair: PairLog | None,
        drain: Drain,
        retention: RetentionService,
    ) -> None:
        """Collect the parts; `build_node` makes them."""
        super().__init__()
        self.server = server
        self.factory = factory
        self.listeners = listeners
        self.page: Listener | None = None
        self.pair = pair
        self.drain = drain
        self.migration: MigrationService | None = None
        self.search: SearchService | None = None
        drain.withdraw = self._withdraw
        self._clock = clock
        self._chat = chat
        self._retention = retention
        self._durable = -1
        self._waits_since: float | None = None

    def change(self, settings: NodeSettings) -> None:
        """Take other settings into use: chat (see `ChatServer.change`), retention, and the spans of drain and moves."""
        self.server.change(settings.chat)
        self._retention.retain = settings.retain
        self.drain.change(settings.drain_s_max)
        if self.migration is not None:
            self.migration.change(settings.migrate_every_s)

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        listening = all(service.port is not None for service in self if isinstance(service, Listener))
        ready = self._chat.open and listening and self._has_role()
        stopping = self.drain.phase is not Phase.SERVING
        serving = ready and not stopping and self.server.log.serving
        return Health(ready, self._gets_on, stopping, self._status(), serving)

    def _has_role(self) -> bool:
        return self.pair is None or self.pair.replica.role is not Role.BOOT or self._chat.open_s >= BOOT_S_MAX

    def _status(self) -> str:
        if self.drain.phase is not Phase.SERVING:
            return f"draining, {self.drain.phase.value}: {self.server.exodus.connected} clients left"
        node_log, clients = self.server.log, len(self.server.seats)
        if self.pair is not None and self.pair.replica.role is Role.BOOT:
            return "waiting for the other node or the registry, to know who leads"
        waits = f", waits for {node_log.waits_for}" if node_log.waits_for else ""
        return f"{node_log.role}, {node_log.redundancy}{waits}, {clients} of {self.server.settings.capacity} clients"

    def _gets_on(self) -> bool:
        """Whether the disk has nothing to take, or was not seen to take nothing for `STUCK_S_MAX` seconds."""
        if self.pair is None:
            durable = self.server.log.position
            waits = any(seat.session.unconfirmed for seat in self.server.seats.values())
        else:
            replica = self.pair.replica
            durable = replica.durable
            waits = replica.durable < replica.end and not replica.busy
        # By the clock, not from one question to the next: several ask, each in its own time.
        now = self._clock.seconds()
        if not waits:
            self._waits_since = None
        elif durable != self._durable or self._waits_since is None:
            self._waits_since = now
        self._durable = durable
        return self._waits_since is None or now - self._waits_since < STUCK_S_MAX

    def stopService(self) -> "Deferred[object]":
        """Drain, for `drain_s_max` seconds at most; then stop every service."""
        drained: Deferred[Any] = self.drain.run() if self._chat.open else succeed(None)
        return drained.addCallback(lambda _: super(NodeService, self).stopService())

    def _withdraw(self) -> "Deferred[Any]":
        named = [service for service in self if service.name == REGISTERING]
        return gatherResults([maybeDeferred(service.disownServiceParent) for service in named], consumeErrors=True)


def build_node(world: World, settings: NodeSettings) -> NodeService:
    """Build the service tree of a node.

    Args:
        world: the outside. `world.fatal` is called when the store cannot be opened or written, or an endpoint
            is busy: nothing that the node says after that can be trusted, so it has to end the process.
        settings: what can be set.

    Raises:
        MissingExtra: a library for something that was asked for is not installed.
    """
    turn = Turn(world.clock)
    node_log = build_log(world, settings.data, settings.peer, turn)
    pair = node_log if isinstance(node_log, PairLog) else None
    # A copy: what is changed while it runs is not changed for whoever made the settings.
    chat_settings = replace(settings.chat)
    server = ChatServer(
        chat_settings,
        node_log,
        turn,
        world.clock,
        world.now,
        world.dice,
        world.tally,
        world.aside,
        settings.checkers,
    )
    elsewhere = PEERS.connections_max if pair is not None else 0
    room = world.connections_max(elsewhere + (PROBES.connections_max if settings.metrics else 0))
    if settings.page is not None and room:
        # Neither of the two doors for clients takes the other's.
        room = max(1, room // 2)
    factory = ClientLinkFactory(server, turn, world.clock, world.tally, room)
    listeners = [
        Listener(description, world.server(description), factory, world.fatal, factory.gate)
        for description in settings.listen
    ]
    page = _build_page(world, settings.page, factory, turn) if settings.page is not None else None
    chat = LogService(world, server)
    doors = [*listeners, *([page] if page is not None else [])]
    drain = Drain(world, server, factory, doors, pair, settings.drain_s_max)
    retention = RetentionService(world, server, settings.retain)
    node = NodeService(world.clock, chat, server, factory, listeners, pair, drain, retention)
    if settings.search and world.search is not None:
        node.search = SearchService(world.clock, partial(world.search, settings.data), server)
    if settings.metrics:
        role = settings.peer.pair.role if settings.peer is not None else PRIMARY
        of_node = of_chat(server, factory, pair, node.search, settings.data)
        measures = together(of_process(role, node.health, world.tally), of_node)
        # It stops last: a drain is worth watching.
        mount(node, "probes", build_probes(world, settings.metrics, node.health, measures))
    mount(node, "chat", chat)
    if pair is not None and settings.peer is not None:
        mount(node, "peer-listener", build_peer_listener(world, settings.peer, pair))
    control = None
    if settings.control:
        control = ChatControl(world, settings.control, server, pair, drain)
        mount(node, "control", control)
    if node.search is not None:
        mount(node, "search", node.search)
    # Before anything of this stops, the drain has let nobody new in, and everybody go.
    mount(node, "retention", retention)
    for number, listener in enumerate(listeners, 1):
        mount(node, f"client-listener-{number}", listener)
    if page is not None:
        node.page = page
        mount(node, "page-listener", page)
    if settings.registering is not None:
        registering = register_chat(world, settings.registering, settings.data, server, turn)
        mount(node, "registering", registering)
        if pair is not None:
            whereabouts = Whereabouts(registering.client, pair, server)
            mount(node, "whereabouts", whereabouts)
            node.migration = MigrationService(
                world, pair, server, factory, registering.client, settings.migrate_every_s
            )
            if control is not None:
                control.migration = node.migration
            mount(node, "migration", node.migration)
    if world.supervisor is not None:
        supervision = Supervision(world.clock, turn, world.supervisor, node.health)
        drain.watch(supervision.look)
        mount(node, "supervision", supervision)
    return node


def _build_page(world: World, settings: PageSettings, clients: ClientLinkFactory, turn: Turn) -> Listener:
    # Loaded by those who have a page only.
    try:
        from chatproto.gateway.page import PageFactory
    except ImportError:
        raise MissingExtra("--web needs websockets: pip install websockets") from None
    pages = PageFactory(settings, clients, lambda: clients.server.pages, turn, world.clock, world.tally)
    return Listener(settings.listen, world.server(settings.listen), pages, world.fatal)
