"""The part of a delivery node's desk that is for free readers: between `Readers` and whoever sends datagrams."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.news.datagrams.parcels import Parcel
from chatproto.news.delivery.bodies import Bodies
from chatproto.news.delivery.readers import Readers
from chatproto.news.delivery.schedule import FreeSend
from chatproto.news.delivery.table import Table
from chatproto.news.items import Held
from chatproto.news.terms import Placement

PARCELS_BYTES_MAX = 32 * 1024 * 1024
"""Of parcels that are kept for the next reader; large ones go with the number of readers that they are under way to."""

log = Logger()


class FreeDoor(Protocol):
    """Sends to free readers: `chatproto.news.datagrams.outlet.FreeOutlet`."""

    def send(self, reader: str, parcel: Parcel, sent: Callable[[bool], object]) -> bool:
        """Send an item, then call `sent`; return whether the reader is there, for otherwise nothing is called."""

    def pulled(self, reader: str, upto: int, numbers: Iterable[int], more: bool, held_back: str = "") -> None:
        """Answer a reader who has pulled, after the last of its items."""

    def gone(self, reader: str) -> None:
        """Send nothing more to a reader, who is here no longer or has another contract."""


class FreeDesk:
    """Hears of free readers, as `chatproto.news.datagrams.outlet.FreeDelivery`, and hands out what goes to them.

    Attributes:
        door: sends; None while nobody does.
    """

    def __init__(
        self, readers: Readers, table: Table, bodies: Bodies, clock: IReactorTime, stir: Callable[[], None]
    ) -> None:
        """Make one; `stir` is called whenever there may be something to do."""
        self.door: FreeDoor | None = None
        self._readers = readers
        self._table = table
        self._bodies = bodies
        self._clock = clock
        self._stir = stir
        self._parcels: OrderedDict[int, Parcel] = OrderedDict()
        self._parcels_bytes = 0

    # From the door

    def placement_of(self, reader: str) -> Placement | None:
        """Return what is known of a reader; None if it is not placed here."""
        return self._table.placements.get(reader)

    def listening(self, reader: str) -> None:
        """Hear that a reader listens, who is pushed to."""
        if reader in self._readers.free:
            self._readers.listens(reader, self._clock.seconds())
            self._stir()

    def silent(self, reader: str) -> None:
        """Hear that a reader listens no more."""
        if reader in self._readers.free:
            self._readers.silent(reader)

    def pulling(self, reader: str, after: int, count: int) -> None:
        """Hear that a reader asks for items; answered by `FreeDoor.pulled`."""
        if reader in self._readers.free:
            self._readers.pulled_free(reader, after, count, self._clock.seconds())
            self._stir()

    # To the door

    def begin(self, sending: FreeSend) -> None:
        """Have an item sent."""
        reader, held = sending
        parcel = self._parcels.get(held.stamp)
        if parcel is not None:
            self._parcels.move_to_end(held.stamp)
            self._send(parcel, reader.placement)
            return
        reading = self._bodies.read(held.item.number, 0, held.item.size)
        reading.addCallback(self._pack, held).addCallback(self._send, reader.placement)
        reading.addErrback(self._not_sent, reader.placement.reader, held)

    def tell(self, ended: Iterable[str]) -> None:
        """Tell what there is to be told: who was given all, and who is here no longer."""
        schedule = self._readers.schedule
        answers, schedule.free_answers = schedule.free_answers, []
        if self.door is not None:
            for answer in answers:
                self.door.pulled(*answer)
            for name in ended:
                self.door.gone(name)

    def _pack(self, body: bytes, held: Held) -> Parcel:
        parcel = self._parcels.get(held.stamp)
        if parcel is None:
            parcel = self._parcels[held.stamp] = Parcel(held.item, held.stamp, body, held.delay_s, held.since)
            self._parcels_bytes += parcel.size
            while self._parcels_bytes > PARCELS_BYTES_MAX:
                self._parcels_bytes -= self._parcels.popitem(last=False)[1].size
        return parcel

    def _send(self, parcel: Parcel, placement: Placement) -> None:
        name = placement.reader
        there = self.door is not None and self._table.placements.get(name) is placement
        if not (there and self.door is not None and self.door.send(name, parcel, partial(self._sent, name))):
            self._sent(name, False)

    def _sent(self, name: str, whole: bool) -> None:
        self._readers.finished(name, self._clock.seconds())
        self._stir()

    def _not_sent(self, failure: Failure, name: str, held: Held) -> None:
        if failure.check(KeyError) is None:
            log.failure("item {number} was not sent to a free reader", failure, number=held.item.number)
        self._sent(name, False)
