"""A delivery node: a leaf of the tree, with its readers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred

from chatproto.errors import WireError
from chatproto.gate import Limits
from chatproto.keyvalue import IKeyValueStore
from chatproto.link import Turn
from chatproto.news.datagrams.outlet import FreeOutlet
from chatproto.news.datagrams.reader import ATTRIBUTE as DATAGRAMS
from chatproto.news.delivery.desk import DOOR, Desk
from chatproto.news.delivery.messages import ReaderHello, from_reader
from chatproto.news.delivery.records import Record
from chatproto.news.delivery.table import READERS_MAX, RECORD, Table, records_of
from chatproto.news.link import NewsLinkFactory
from chatproto.news.tree.node import TreeNode
from chatproto.registry import Registration
from chatproto.services.listener import Listener
from chatproto.services.measures import COUNTER, GAUGE, Measure, of_process, together
from chatproto.services.mounting import mount
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.tree import TreeService, build_parent, listener, mount_links
from chatproto.services.probes import LIMITS as PROBES
from chatproto.services.probes import build_probes
from chatproto.services.registering import PEER, RegisteringService, RegisteringSettings, placed
from chatproto.services.systemd import Health, Supervision
from chatproto.world import World

KIND = "news-delivery"
SUBSTITUTE = "substitute"
"""The attribute of a registration that names the node that stands in for this one."""

READERS = Limits(per_address_max=2000, strangers_max=1000)


@dataclass(frozen=True, kw_only=True)
class DeliverySettings(NewsSettings):
    """What can be set of a delivery node.

    Attributes:
        parent: client endpoint string of the guarded port of its parent; empty for none, of a node that is tried out.
        substitute: the name of the node that stands in for it; empty for none.
        datagrams: host and port where free readers are answered, by UDP; None for nowhere.
        datagrams_advertise: `HOST:PORT` of that, registered; empty for what is listened on.
        send_bytes_per_s: what all readers are sent together at most; 0 for any number. It should be what the line
            takes: then paid readers do not wait for what was sent to free ones.
        readers_max: how many readers may be placed here.
    """

    parent: str = ""
    substitute: str = ""
    datagrams: tuple[str, int] | None = None
    datagrams_advertise: str = ""
    send_bytes_per_s: float = 0
    readers_max: int = READERS_MAX


class DeliveryService(MultiService):
    """The service tree of a delivery node.

    Attributes:
        node: what it holds.
        desk: what it does for its readers; `desk.table` is changed by whoever places them.
        listeners: for paid readers, in the order given; `ready` fires with the port.
        outlet: sends to free readers; None where nobody does.
        registering: keeps it registered; None for a node that nobody finds by name.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        tree: TreeService,
        desk: Desk,
        links: NewsLinkFactory,
        listeners: list[Listener],
    ) -> None:
        """Collect the parts; `build_delivery` makes them."""
        super().__init__()
        self.node: TreeNode = tree.node
        self.desk = desk
        self.listeners = listeners
        self.outlet: FreeOutlet | None = None
        self.registering: RegisteringService | None = None
        self._settings = settings
        self._tree = tree
        self._links = links

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        parent = self._tree.upstream
        ready = self._tree.open and all(each.port is not None for each in self.listeners)
        serving = ready and (parent is None or parent.up) and bool(self.running)
        readers = self.desk.readers
        above = "" if parent is None else f"parent {'here' if parent.up else 'gone'}, "
        suspended = ", free deliveries suspended" if readers.schedule.is_suspended else ""
        status = (
            f"{above}{len(readers.shelves)} items, {len(self.desk.links)} of {len(readers.paid)} paid readers, "
            f"{self._listening()} of {len(readers.free)} free ones{suspended}"
        )
        return Health(ready, lambda: True, not self.running, status, serving)

    def records(self, hours: int = 24) -> dict[str, list[Record]]:
        """Return whether contracts were met: of each paid reader the records of the last hours, the oldest first."""
        store = self.desk.store
        rows = store.scan(RECORD) if store is not None else []
        return {name: records[-hours:] for name, records in records_of(rows).items()}

    def registration(self) -> Registration | None:
        """Return what it is in the registry; None before that is known."""
        settings = self._settings
        attributes = {}
        if settings.peer_advertise:
            attributes[PEER] = settings.peer_advertise
        if settings.substitute:
            attributes[SUBSTITUTE] = settings.substitute
        if settings.datagrams_advertise:
            attributes[DATAGRAMS] = settings.datagrams_advertise
        registration = Registration(
            settings.service,
            settings.name,
            KIND,
            capacity=settings.readers_max,
            attributes=attributes,
            lease_s=settings.lease_s,
        )
        return placed(registration, settings.advertise)

    def status(self) -> bytes:
        """Return how it is, for whoever asks through the registry."""
        return self.health().status.encode()

    def measures(self) -> Iterator[Measure]:
        """Measure what it has and does."""
        readers, desk = self.desk.readers, self.desk
        schedule = readers.schedule
        yield Measure(
            GAUGE,
            "chatproto_news_readers",
            "Readers that are placed at this node.",
            _by_terms(len(readers.paid), len(readers.free)),
        )
        yield Measure(
            GAUGE,
            "chatproto_news_readers_here",
            "Of the readers that are placed at this node, the ones that are there now.",
            _by_terms(len(desk.links), self._listening()),
        )
        yield Measure(GAUGE, "chatproto_news_items", "Items that are delivered now.", [({}, len(readers.shelves))])
        yield Measure(
            COUNTER,
            "chatproto_news_delivered_total",
            "Items that paid readers have acknowledged, and that free ones were sent.",
            _by_terms(desk.delivered, self.outlet.items if self.outlet is not None else 0),
        )
        yield Measure(
            COUNTER,
            "chatproto_news_suspensions_total",
            "How often free deliveries were suspended, because paid ones pressed.",
            [({}, schedule.suspensions)],
        )
        yield Measure(
            GAUGE, "chatproto_news_suspended", "1 while free deliveries are suspended.", [({}, schedule.is_suspended)]
        )

    def _listening(self) -> int:
        return self.outlet.listening if self.outlet is not None else 0


def _by_terms(paid: float, free: float) -> list[tuple[dict[str, str], float]]:
    return [({"terms": "paid"}, paid), ({"terms": "free"}, free)]


class _DeskService(Service):
    """Closes the desk before the disk: it is opened with that."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def stopService(self) -> "Deferred[Any] | None":
        super().stopService()
        self._desk.close()
        return None


def build_delivery(world: World, settings: DeliverySettings) -> DeliveryService:
    """Build the service tree of a delivery node.

    Args:
        world: the outside. `world.fatal` is called when the disk cannot be opened or written, or an endpoint is busy.
        settings: what can be set.
    """
    turn = Turn(world.clock)
    node = TreeNode(settings.name, world.clock, world.now, world.dice, world.tally, keeps=True)
    table = Table(frozenset(settings.topics), settings.readers_max)
    epoch = world.now() - world.clock.seconds()
    desk = Desk(settings.name, node, turn, world.clock, epoch, table, settings.send_bytes_per_s)
    desk.exclusives_changed = node.serve_exclusives

    def opened(store: IKeyValueStore) -> None:
        try:
            desk.open(store)
        except WireError as error:
            world.fatal(f"{settings.data}: {error}")

    parent = build_parent(world, node, settings.parent, turn) if settings.parent else None
    tree = TreeService(world, settings, node, parent, opened)
    links = NewsLinkFactory(
        DOOR,
        from_reader,
        {ReaderHello: desk},
        turn,
        world.clock,
        world.tally,
        limits=READERS.within(world.connections_max(PROBES.connections_max)),
    )
    listeners = [listener(world, description, links, guarded=False) for description in settings.listen]
    delivery = DeliveryService(settings, tree, desk, links, listeners)
    if settings.metrics:
        measures = together(of_process("delivery", delivery.health, world.tally), delivery.measures)
        mount(delivery, "probes", build_probes(world, settings.metrics, delivery.health, measures))
    mount(delivery, "tree", tree)
    mount(delivery, "desk", _DeskService(desk))
    mount_links(delivery, "reader", links, listeners)
    if settings.datagrams is not None:
        host, port = settings.datagrams
        delivery.outlet = FreeOutlet(world, settings.name, desk.free, port=port, host=host)
        desk.free.door = delivery.outlet
        mount(delivery, "datagrams", delivery.outlet)
    if settings.registry:
        registering = RegisteringSettings(settings.registry, settings.token, settings.service)
        delivery.registering = RegisteringService(
            world, registering, settings.data, settings.name, turn, delivery.registration, delivery.status
        )
        mount(delivery, "registering", delivery.registering)
    if world.supervisor is not None:
        mount(delivery, "supervision", Supervision(world.clock, turn, world.supervisor, delivery.health))
    return delivery
