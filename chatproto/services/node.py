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
from chatproto.log.interface import ILog
from chatproto.log.single import SingleLog
from chatproto.services.listener import Listener
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
class NodeSettings:
    """What can be set of a node.

    Attributes:
        data: the data directory.
        listen: server endpoint strings of the client link.
        chat: what can be set of its chat.
        retain: what is kept of the archives.
    """

    data: str
    listen: tuple[str, ...] = ("tcp:4444",)
    chat: ChatSettings = field(default_factory=ChatSettings)
    retain: Retention = Retention()


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
    """

    def __init__(self, server: ChatServer, factory: ClientLinkFactory, listeners: list[Listener]) -> None:
        """Collect the parts; `build_node` makes them."""
        super().__init__()
        self.server = server
        self.factory = factory
        self.listeners = listeners


def build_node(world: World, settings: NodeSettings) -> NodeService:
    """Build the service tree of a node.

    Args:
        world: the outside. `world.fatal` is called when the store cannot be opened or written, or an endpoint
            is busy: nothing that the node says after that can be trusted, so it has to end the process.
        settings: what can be set.
    """
    turn = Turn(world.clock)
    node_log: ILog = SingleLog(lambda: world.store(settings.data, world.fatal), turn)
    server = ChatServer(settings.chat, node_log, turn, world.clock, world.now, world.dice)
    factory = ClientLinkFactory(server, turn, world.clock)
    listeners = [
        Listener(description, world.server(description), factory, world.fatal) for description in settings.listen
    ]
    node = NodeService(server, factory, listeners)
    chat = ChatService(world, server, factory)
    chat.setName("chat")
    chat.setServiceParent(node)
    # Services stop in reverse order: first nobody new comes in, then those inside are let go.
    if settings.retain != Retention():
        retention = RetentionService(world, server, settings.retain)
        retention.setName("retention")
        retention.setServiceParent(node)
    for number, listener in enumerate(listeners, 1):
        listener.setName(f"client-listener-{number}")
        listener.setServiceParent(node)
    return node
