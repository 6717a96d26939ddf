"""The proxy: pulls from a delivery node on behalf of its mobile readers, and serves them a page."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger

from chatproto.advertised import advertised_from
from chatproto.errors import StoreError
from chatproto.keyvalue import IKeyValueStore
from chatproto.news.contracting.messages import decode_to_part
from chatproto.news.contracting.nodes import READS_FROM
from chatproto.news.link import NewsDialler
from chatproto.news.proxy.answering import MobilePage
from chatproto.news.proxy.directory import Directory
from chatproto.news.proxy.messages import from_delivery
from chatproto.news.proxy.pulling import Pulling
from chatproto.news.proxy.shelf import (
    BODIES_BYTES_MAX,
    GONE,
    ITEM,
    ITEMS_MAX,
    NODE,
    READER,
    Changes,
    MobileReader,
    Shelf,
)
from chatproto.news.proxy.web import LIMITS, MobileFactory
from chatproto.registry import RegistryClient
from chatproto.services.listener import Listener
from chatproto.services.measures import GAUGE, Measure
from chatproto.services.mounting import mount
from chatproto.services.news.finding import guarded_endpoint
from chatproto.services.news.node import NewsNode
from chatproto.services.news.settings import NewsSettings
from chatproto.services.registering import PAGE
from chatproto.trust.endpoints import listens_with_tls
from chatproto.trust.proof import PEER
from chatproto.world import World

TICK_S = 1.0
"""How late something that has expired may be removed; it is not shown any more from that moment."""

log = Logger()


@dataclass(frozen=True, kw_only=True)
class ProxySettings(NewsSettings):
    """What can be set of a proxy.

    Attributes:
        web: server endpoint string of the mobile page.
        delivery: the name of the delivery node that it reads from.
        reach_delivery: client endpoint string of that node's guarded links; empty to find it in the registry.
        reach_contracts: the same of the contracting service.
        items_max: kept at once; of more, those that came first go.
        bodies_bytes_max: of all of them together.
    """

    web: str
    delivery: str
    reach_delivery: str = ""
    reach_contracts: str = ""
    items_max: int = ITEMS_MAX
    bodies_bytes_max: int = BODIES_BYTES_MAX


class ShelfService(Service):
    """Has the shelf on a disk while it runs, and the links that fill it.

    Attributes:
        open: whether it is there.
    """

    def __init__(self, world: World, data: str, shelf: Shelf) -> None:
        """Keep a shelf in a data directory; `links` are started when all is, and stopped before the disk is closed."""
        self.open = False
        self.links: list[NewsDialler] = []
        self.parts: list[Pulling | Directory] = []
        self._world = world
        self._data = data
        self._shelf = shelf
        self._table: IKeyValueStore | None = None
        self._tick: IDelayedCall | None = None

    def startService(self) -> None:
        """Take up what the disk has."""
        super().startService()
        try:
            self._table = table = self._world.keyvalue(self._data, self._world.fatal)
            self._shelf.restore(row for kind in (GONE, ITEM, NODE, READER) for row in table.scan(kind))
        except StoreError as error:
            self._world.fatal(str(error))
            return
        self.open = True
        self._expire()

    def begin(self) -> None:
        """Have the shelf filled, if it is there."""
        if self.open:
            for link in self.links:
                link.start()

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Let the links go, and finish the disk."""
        super().stopService()
        if self._tick is not None and self._tick.active():
            self._tick.cancel()
        for link in self.links:
            link.stop()
        for part in self.parts:
            part.stop()
        table, self._table = self._table, None
        if table is not None:
            yield table.close()

    def keep(self, changes: Changes, done: Callable[[], None]) -> None:
        """Make what has changed durable, then call back; never where this has been stopped."""
        if self._table is not None:
            self._table.write(changes, done)

    def read(self, key: bytes) -> "Deferred[bytes | None]":
        """Read something back."""
        if self._table is None:
            return fail(StoreError("the proxy is not running"))
        return self._table.read(key)

    def serve(self, readers: list[MobileReader]) -> None:
        """Keep items for these readers."""
        changes = self._shelf.serve(readers)
        if changes:
            log.info("items are kept for {count} mobile readers", count=self._shelf.readers)
            self.keep(changes, _nothing)

    def _expire(self) -> None:
        self._tick = self._world.clock.callLater(TICK_S, self._expire)
        try:
            changes = self._shelf.expire(self._world.now())
            if changes:
                self.keep(changes, _nothing)
        except Exception:
            log.failure("removing what has expired failed; it is tried again")


def _nothing() -> None:
    """Nobody waits."""


class ProxyNode(NewsNode):
    """The service tree of a proxy.

    Attributes:
        keeping: has the shelf on its disk.
        shelf: what is kept.
        pulling: the link to the delivery node.
        directory: the link to the contracting service.
        page: what is served.
        listener: of the page; `ready` fires with the port.
    """

    role = "proxy"

    shelf: Shelf
    keeping: ShelfService
    pulling: Pulling
    directory: Directory
    page: MobilePage
    listener: Listener

    def startService(self) -> None:
        """Start all, and then look for the others: the registry may have to be asked."""
        super().startService()
        self.keeping.begin()

    def opened(self) -> bool:
        """Whether the shelf is there."""
        return self.keeping.open

    def summary(self) -> str:
        """Return how many readers and items there are, and who is not reached."""
        said = f"{self.shelf.readers} mobile readers, {len(self.shelf)} items"
        away = (("the delivery node", self.pulling.up), ("the contracting service", self.directory.up))
        return "; ".join([said, *(f"{what} is not reached" for what, up in away if not up)])

    def attributes(self) -> dict[str, str]:
        """Return whose readers it has, and where they go."""
        settings = self.settings
        assert isinstance(settings, ProxySettings)
        port = getattr(self.listener.port.getHost(), "port", 0) if self.listener.port is not None else 0
        place = advertised_from(settings.web, port)
        scheme = "https" if listens_with_tls(settings.web) else "http"
        return {READS_FROM: settings.delivery, **({PAGE: f"{scheme}://{place}/"} if place else {})}

    def measures(self) -> Iterable[Measure]:
        """Measure what is kept, and for whom."""
        told = {
            "mobile_readers": ("Mobile readers that items are kept for.", self.shelf.readers),
            "mobile_items": ("Items that are kept for mobile readers.", len(self.shelf)),
            "mobile_bodies_bytes": ("Bodies of all of these.", self.shelf.bodies_bytes),
            "mobile_sessions": ("Mobile readers that are logged in.", len(self.page.sessions)),
            "delivery_reached": ("1 if the delivery node is reached.", self.pulling.up),
            "contracts_reached": ("1 if the contracting service is reached.", self.directory.up),
        }
        return [
            Measure(GAUGE, f"chatproto_news_{name}", meaning, [({}, float(value))])
            for name, (meaning, value) in told.items()
        ]


def build_proxy(world: World, settings: ProxySettings) -> ProxyNode:
    """Build the service tree of a proxy.

    Args:
        world: the outside. `world.fatal` is called when the data directory cannot be used, or an endpoint is busy.
        settings: what can be set.

    Raises:
        ValueError: neither the registry nor the endpoints say where the others are.
        MissingExtra: a library for something that was asked for is not installed.
    """
    if not settings.registry and not (settings.reach_delivery and settings.reach_contracts):
        raise ValueError("a proxy needs the registry, or where the delivery node and the contracting service are")
    proxy = ProxyNode(world, settings)
    proxy.shelf = shelf = Shelf(settings.items_max, settings.bodies_bytes_max)
    proxy.keeping = keeping = ShelfService(world, settings.data, shelf)
    proxy.pulling = Pulling(shelf, settings.name, world.clock, world.now, keeping.keep, world.tally)
    proxy.directory = Directory(world.clock, lambda: settings.delivery, keeping.serve)
    proxy.page = _page(world, proxy)

    def registry() -> RegistryClient:
        assert proxy.registering is not None, "the settings say where the others are, or the registry"
        return proxy.registering.client

    def dialler(described: str, kind: str, name: str, heard_by: Any, decode: Any, what: str) -> NewsDialler:
        endpoint: IStreamClientEndpoint
        if described:
            endpoint = world.guarded_client(described, PEER)
        else:
            endpoint = guarded_endpoint(world, registry, settings.service, kind, name)
        outside = proxy.turn, world.clock, world.dice
        return NewsDialler(endpoint, heard_by, decode, *outside, what=what, trust=world.trust, tally=world.tally)

    delivery, contracts = settings.reach_delivery, settings.reach_contracts
    keeping.parts = [proxy.pulling, proxy.directory]
    keeping.links = [
        dialler(delivery, "news-delivery", settings.delivery, proxy.pulling, from_delivery, "the delivery node"),
        dialler(contracts, "news-contracts", "", proxy.directory, decode_to_part, "the contracting service"),
    ]
    mount(proxy, "shelf", keeping)
    limits = LIMITS.within(world.connections_max())
    factory = MobileFactory(proxy.page, world.clock, world.tally, lambda: limits)
    proxy.listener = Listener(settings.web, world.server(settings.web), factory, world.fatal, factory.gate)
    mount(proxy, "web-listener", proxy.listener)
    proxy.complete()
    return proxy


def _page(world: World, proxy: ProxyNode) -> MobilePage:
    def trouble() -> str:
        return "" if proxy.pulling.up else "The delivery node is not reached at the moment; this is what came before."

    keeping, directory = proxy.keeping, proxy.directory
    disk = keeping.keep, keeping.read
    times = world.clock.seconds, world.now
    return MobilePage(proxy.shelf, directory, *disk, trouble, *times, world.tally, directory.ask_soon)
