"""A delivery node: a leaf of the tree, with its readers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from chatproto.advertised import reached_by
from chatproto.errors import CallRejected, StoreCorrupt
from chatproto.gate import Limits
from chatproto.keyvalue import IKeyValueStore
from chatproto.news.datagrams.outlet import FreeOutlet
from chatproto.news.datagrams.reader import ATTRIBUTE as DATAGRAMS
from chatproto.news.delivery.desk import DOOR, Desk
from chatproto.news.delivery.inspection import (
    CONTRACTS,
    HOUR_S,
    UNDELIVERED,
    contracts_told,
    contracts_wanted,
    undelivered_told,
    undelivered_wanted,
)
from chatproto.news.delivery.keeping import records_of, records_prefix
from chatproto.news.delivery.messages import ReaderHello, from_reader
from chatproto.news.delivery.records import Record
from chatproto.news.delivery.table import READERS_MAX, Table
from chatproto.news.link import NewsHeard
from chatproto.news.messages import Message, decoder
from chatproto.news.placing.messages import Coordinate, FromCoordinator
from chatproto.news.placing.participating import Participating
from chatproto.news.proxy.desk import ProxyDesk
from chatproto.news.proxy.messages import PULLED, ProxyHello
from chatproto.news.tree.node import TreeNode
from chatproto.news.tree.postponed import HELD_BYTES_MAX
from chatproto.registry import Registration
from chatproto.services.measures import COUNTER, GAUGE, Measure
from chatproto.services.mounting import mount
from chatproto.services.news.node import NewsNode
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.tree import TreeService, build_parent
from chatproto.wire import address_of
from chatproto.world import World

SUBSTITUTE = "substitute"
"""The attribute of a registration that names the node that stands in for this one."""
PLACING_DOOR = "news-placing"
"""In the tally: the door of whoever coordinates transactions."""

READERS = Limits(per_address_max=2000, strangers_max=1000, link_lines_a_second=500, link_lines_at_once=1000)
COORDINATORS = Limits(connections_max=64, strangers_max=16)


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
        held_bytes_max: of items that have not expired; beyond so much, no other item is begun before some of them go.
    """

    parent: str = ""
    substitute: str = ""
    datagrams: tuple[str, int] | None = None
    datagrams_advertise: str = ""
    send_bytes_per_s: float = 0
    readers_max: int = READERS_MAX
    held_bytes_max: int = 8 * HELD_BYTES_MAX


class DeliveryService(NewsNode):
    """The service tree of a delivery node.

    Attributes:
        node: what it holds.
        desk: what it does for its readers; `desk.table` is changed by whoever places them.
        placing: takes part in the transactions that do.
        outlet: sends to free readers; None where nobody does.
    """

    role: ClassVar[str] = "delivery"

    def __init__(self, world: World, settings: DeliverySettings) -> None:
        """Build it."""
        super().__init__(world, settings)
        turn = self.turn
        self.node = TreeNode(settings.name, world.clock, world.now, world.dice, world.tally, keeps=True)
        table = Table(frozenset(settings.topics), settings.readers_max)
        epoch = world.now() - world.clock.seconds()
        self.desk = Desk(settings.name, self.node, turn, world.clock, epoch, table, settings.send_bytes_per_s)
        self.desk.exclusives_changed = self.node.serve_exclusives
        self.placing = Participating(settings.name, table)
        self.outlet: FreeOutlet | None = None
        self._own = settings
        self._udp_port = 0
        above = settings.parent
        parent = build_parent(world, self.node, above, turn, settings.held_bytes_max) if above else None
        self._tree = TreeService(world, settings.data, self.node, parent, self._open)
        mount(self, "tree", self._tree)
        mount(self, "desk", _DeskService(self.desk))
        proxies = ProxyDesk(settings.name, self.node, world.now, self._free_deliveries_wait)
        hellos: dict[type[Message], NewsHeard] = {Coordinate: self.placing, ProxyHello: proxies}
        self.open_guarded(PLACING_DOOR, decoder(FromCoordinator, PULLED), hellos, COORDINATORS)
        self.open_public(DOOR, from_reader, {ReaderHello: self.desk}, READERS)
        if settings.datagrams is not None:
            host, port = settings.datagrams
            self.outlet = FreeOutlet(world, settings.name, self.desk.free, port=port, host=host)
            self.desk.free.door = self.outlet
            self.outlet.ready.addCallback(self._reached_at)
            mount(self, "datagrams", self.outlet)
        self.complete()

    def _free_deliveries_wait(self) -> bool:
        return self.desk.readers.schedule.suspended(self._world.clock.seconds())

    def _reached_at(self, port: int) -> None:
        self._udp_port = port
        self.changed()

    def _open(self, store: IKeyValueStore) -> None:
        try:
            self.desk.open(store)
            self.placing.open(store)
        except StoreCorrupt as error:
            self._world.fatal(f"{self.settings.data}: {error}")

    def _contracts_told(self, said: bytes) -> bytes:
        with _said_wrong():
            wanted = contracts_wanted(said)
        hour = int(self._world.now() // HOUR_S)
        return contracts_told(self.desk.readers.paid, self._records, wanted, hour)

    def _records(self, reader: str) -> Iterable[Record]:
        store = self.desk.store
        return records_of(store.scan(records_prefix(reader))).get(reader, []) if store is not None else []

    def _undelivered_told(self, said: bytes) -> bytes:
        with _said_wrong():
            wanted = undelivered_wanted(said)
        return undelivered_told(self.desk.readers.undeliverable, wanted)

    # `NewsNode`

    def opened(self) -> bool:
        """See `NewsNode.opened`."""
        return self.desk.store is not None

    def serves(self) -> bool:
        """See `NewsNode.serves`: what it has it delivers, but it is there for news."""
        return self._tree.upstream is None or self._tree.upstream.up

    def summary(self) -> str:
        """See `NewsNode.summary`."""
        parent, readers = self._tree.upstream, self.desk.readers
        above = "" if parent is None else f"parent {'here' if parent.up else 'gone'}, "
        suspended = ", free deliveries suspended" if readers.schedule.is_suspended else ""
        return (
            f"{above}{len(readers.shelves)} items, {len(self.desk.links)} of {len(readers.paid)} paid readers, "
            f"{self._listeners_now()} of {len(readers.free)} free ones{suspended}"
        )

    def attributes(self) -> dict[str, str]:
        """See `NewsNode.attributes`."""
        attributes = {}
        if self._own.substitute:
            attributes[SUBSTITUTE] = self._own.substitute
        datagrams = self._own.datagrams_advertise
        if not datagrams and self._own.datagrams is not None and self._udp_port:
            datagrams = address_of(reached_by(self._own.datagrams[0]), self._udp_port)
        if datagrams:
            attributes[DATAGRAMS] = datagrams
        return attributes

    def calls(self) -> Mapping[bytes, Callable[[bytes], bytes]]:
        """See `NewsNode.calls`: whether contracts were met, and what could not be delivered."""
        return {CONTRACTS: self._contracts_told, UNDELIVERED: self._undelivered_told}

    def registration(self) -> Registration | None:
        """See `NewsNode.registration`; its capacity is how many readers may be placed."""
        found = super().registration()
        return msgspec.structs.replace(found, capacity=self._own.readers_max) if found is not None else None

    def measures(self) -> Iterator[Measure]:
        """See `NewsNode.measures`."""
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
            _by_terms(len(desk.links), self._listeners_now()),
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

        verdicts = readers.verdicts(self._world.clock.seconds())
        yield Measure(
            GAUGE,
            "chatproto_news_contracts",
            "Paid contracts, by what was made of them in the last hour of the clock that is over.",
            [({"verdict": verdict}, count) for verdict, count in verdicts.items()],
        )
        late = "Items that paid readers have acknowledged later than their contracts allow."
        yield Measure(COUNTER, "chatproto_news_late_total", late, [({}, readers.late)])
        yield Measure(
            COUNTER,
            "chatproto_news_undelivered_total",
            "Items that expired before a paid reader had them, one for each reader.",
            [({"reason": reason}, count) for reason, count in readers.undeliverable.missed.items()],
        )
        in_doubt = "Transactions that this node has promised to do, and does not know the outcome of."
        yield Measure(GAUGE, "chatproto_news_in_doubt", in_doubt, [({}, self.placing.participant.in_doubt)])

    def _listeners_now(self) -> int:
        return self.outlet.listening if self.outlet is not None else 0


@contextmanager
def _said_wrong() -> Iterator[None]:
    try:
        yield
    except msgspec.MsgspecError as error:
        raise CallRejected(f"that cannot be asked: {error}") from None


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

    Raises:
        MissingExtra: a library for something that was asked for is not installed.
    """
    return DeliveryService(world, settings)
