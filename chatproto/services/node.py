"""A node that serves chat: the log on its store, the chat on the log, the links on the chat."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.server import ChatServer
from chatproto.chat.settings import ChatSettings
from chatproto.errors import StoreError
from chatproto.link import Turn
from chatproto.log.interface import ILog, IStore
from chatproto.log.single import SingleLog
from chatproto.pair.log import PairLog, PairSettings
from chatproto.registry import RegistryWitness
from chatproto.services.control import ControlService
from chatproto.services.listener import Listener
from chatproto.services.registering import RegisteringService, RegisteringSettings
from chatproto.world import World

RETENTION_INTERVAL_S = 60.0
STOP_S_MAX = 3.0

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
class PeerSettings:
    """What can be set of a node's place in a pair.

    Attributes:
        dial: client endpoint string of the other node's peer link.
        listen: server endpoint string of this node's peer link.
        registry: client endpoint string of the registry, which is the witness; empty for a pair without one.
        pair: what can be set of the pair.
    """

    dial: str
    pair: PairSettings
    listen: str = "tcp:4545"
    registry: str = ""


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
    """

    data: str
    listen: tuple[str, ...] = ("tcp:4444",)
    chat: ChatSettings = field(default_factory=ChatSettings)
    retain: Retention = Retention()
    peer: PeerSettings | None = None
    control: str = ""
    registering: RegisteringSettings | None = None


class ChatService(Service):
    """Opens the log when it starts; closes links and log when it stops."""

    def __init__(self, world: World, server: ChatServer, factory: ClientLinkFactory) -> None:
        """Run a node's chat, whose links `factory` makes."""
        self._world = world
        self._server = server
        self._factory = factory
        self._started = False

    def startService(self) -> None:
        """Bring the chat to where the log is."""
        super().startService()
        try:
            self._server.start()
        except StoreError as error:
            self._world.fatal(str(error))
        else:
            self._started = True

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Let clients go, politely for a while; then finish the log."""
        super().stopService()
        if not self._started:
            return
        self._server.stop()
        for link in list(self._factory.links):
            link.close()
        waited = 0.0
        while self._factory.links and waited < STOP_S_MAX:
            yield deferLater(self._world.clock, 0.05)
            waited += 0.05
        for link in list(self._factory.links):
            link.abort()
        yield self._server.log.close()


class RetentionService(TimerService):
    """Asks, once in a while, what is to be dropped, and has it dropped."""

    def __init__(self, world: World, server: ChatServer, retain: Retention) -> None:
        """Keep what `retain` says of a node's archives."""
        super().__init__(RETENTION_INTERVAL_S, self.tick)
        self.clock = world.clock
        self._world = world
        self._server = server
        self._retain = retain

    def tick(self) -> "Deferred[object]":
        """Look once. A failure is logged, and the next look comes all the same."""
        retain = self._retain
        before = self._world.now() - retain.age_s if retain.age_s else 0.0
        looked: Deferred[Any] = self._server.log.expired(before, retain.bytes_max)
        looked.addCallback(self._forget)
        looked.addErrback(lambda failure: log.failure("looking for what retention drops", failure))
        return looked

    def _forget(self, first: dict[str, int]) -> None:
        if self._retain.count:
            for room in self._server.hall.rooms.values():
                first[room.name] = max(first.get(room.name, 0), room.last - self._retain.count + 1)
        self._server.forget(first)


class NodeService(MultiService):
    """The service tree of a node.

    Attributes:
        server: its chat.
        factory: makes the links of its clients, for front doors of your own.
        listeners: one for each endpoint, in the order given; `ready` fires with the port.
        pair: its log, where it is one of two; None for a node alone.
    """

    def __init__(
        self,
        server: ChatServer,
        factory: ClientLinkFactory,
        listeners: list[Listener],
        pair: PairLog | None,
    ) -> None:
        """Collect the parts; `build_node` makes them."""
        super().__init__()
        self.server = server
        self.factory = factory
        self.listeners = listeners
        self.pair = pair


def build_node(world: World, settings: NodeSettings) -> NodeService:
    """Build the service tree of a node.

    Args:
        world: the outside. `world.fatal` is called when the store cannot be opened or written, or an endpoint
            is busy: nothing that the node says after that can be trusted, so it has to end the process.
        settings: what can be set.
    """
    turn = Turn(world.clock)
    pair = _build_pair(world, settings, settings.peer, turn) if settings.peer is not None else None
    node_log: ILog = pair or SingleLog(lambda: world.store(settings.data, world.fatal), turn)
    server = ChatServer(settings.chat, node_log, turn, world.clock, world.now, world.dice)
    factory = ClientLinkFactory(server, turn, world.clock)
    listeners = [
        Listener(description, world.server(description), factory, world.fatal) for description in settings.listen
    ]
    node = NodeService(server, factory, listeners, pair)
    chat = ChatService(world, server, factory)
    chat.setName("chat")
    chat.setServiceParent(node)
    if pair is not None and settings.peer is not None:
        peers = Listener(settings.peer.listen, world.server(settings.peer.listen), pair.factory, world.fatal)
        peers.setName("peer-listener")
        peers.setServiceParent(node)
    if settings.control:
        control = ControlService(world, settings.control, server, pair)
        control.setName("control")
        control.setServiceParent(node)
    # Services stop in reverse order: first nobody new comes in, then those inside are let go.
    if settings.retain != Retention():
        retention = RetentionService(world, server, settings.retain)
        retention.setName("retention")
        retention.setServiceParent(node)
    for number, listener in enumerate(listeners, 1):
        listener.setName(f"client-listener-{number}")
        listener.setServiceParent(node)
    if settings.registering is not None:
        registering = RegisteringService(world, settings.registering, settings.data, server, turn)
        registering.setName("registering")
        registering.setServiceParent(node)
    return node


def _build_pair(world: World, settings: NodeSettings, peer: PeerSettings, turn: Turn) -> PairLog:
    def open_store() -> IStore:
        return world.store(settings.data, world.fatal)

    witness = None
    if peer.registry:
        witness = RegistryWitness(
            world.client(peer.registry),
            world.clock,
            world.dice,
            turn,
            service=peer.pair.service,
            node=peer.pair.name,
            heartbeat_s=peer.pair.heartbeat_s,
            suspect_s=peer.pair.suspect_s,
        )
    return PairLog(peer.pair, open_store, turn, world.clock, world.dice, world.client(peer.dial), witness, world.fatal)
