"""Performs what `Readers` decides: the links of paid readers, what they are sent, and what is kept of it."""

import hmac
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.passwords import token_hash
from chatproto.errors import StoreCorrupt, WireError
from chatproto.keyvalue.interface import IKeyValueStore
from chatproto.link import Turn
from chatproto.news.delivery.bodies import Bodies
from chatproto.news.delivery.free_desk import FreeDesk
from chatproto.news.delivery.inbox import ages_of
from chatproto.news.delivery.keeping import PLACEMENT, POSITION, RECORD
from chatproto.news.delivery.messages import (
    PULL_ITEMS_MAX,
    REASONS,
    Pull,
    Pulled,
    ReaderHello,
    ReaderWelcome,
)
from chatproto.news.delivery.ranges import Ranges
from chatproto.news.delivery.reader import Reader
from chatproto.news.delivery.readers import Readers
from chatproto.news.delivery.records import UNDELIVERED
from chatproto.news.delivery.schedule import PaidSend
from chatproto.news.delivery.table import Table
from chatproto.news.interface import IItems
from chatproto.news.items import Held
from chatproto.news.link import NewsLink
from chatproto.news.messages import VERSION, Announce, Chunk, Taken, Withdrawn
from chatproto.news.terms import PUSH, Placement

DOOR = "news-reader"
SENDS_A_TURN_MAX = 64
"""What is sent before what has arrived meanwhile is heard."""

log = Logger()


class Desk:
    """What a delivery node does for its readers; hears the links of paid ones (`NewsHeard`).

    Attributes:
        table: who is placed here; changed by whoever places readers.
        readers: who is delivered to.
        links: of the paid readers that are connected, by name.
        free: the part of it that is for free readers.
        store: has what is durable; None while the desk is closed.
        delivered: items that paid readers have acknowledged, in this life.
        exclusives_changed: told for which topics there are contracts with exclusives.
    """

    def __init__(
        self,
        name: str,
        items: IItems,
        turn: Turn,
        clock: IReactorTime,
        epoch: float,
        table: Table,
        bytes_a_second: float = 0,
    ) -> None:
        """Make a desk, closed until it is told to `open`.

        Args:
            name: of the node.
            items: what it has.
            turn: batches what is sent, and what is written.
            clock: the reactor, as far as time goes.
            epoch: when the clock began, Unix seconds.
            table: empty.
            bytes_a_second: what is sent at most; 0 for any number.
        """
        self.table = table
        self.readers = Readers(epoch, bytes_a_second)
        self.links: dict[str, NewsLink] = {}
        self._name = name
        self.delivered = 0
        self.exclusives_changed: Callable[[frozenset[str]], object] = lambda topics: None
        self._items = items
        self._bodies = Bodies(items)
        self.free = FreeDesk(self.readers, table, self._bodies, clock, self.stir)
        self._turn = turn
        self._clock = clock
        self.store: IKeyValueStore | None = None
        self._names: dict[NewsLink, str] = {}
        self._settling = False
        self._timer: IDelayedCall | None = None
        table.placed = self._placed
        table.removed = self._removed

    # Its life

    def open(self, store: IKeyValueStore) -> None:
        """Take up what is durable, and begin to deliver.

        Raises:
            StoreCorrupt: it is not readable.
        """
        now = self._clock.seconds()
        try:
            self.table.restore(store.scan(PLACEMENT))
            placements = self.table.placements.values()
            self.readers.restore(placements, store.scan(POSITION), store.scan(RECORD), now)
            self.readers.undeliverable.restore(store.scan(UNDELIVERED))
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreCorrupt(f"what is kept of readers is not readable: {error}") from None
        self.store = store
        for held in self._items.held():
            self.readers.arrived(held, now)
        self._items.watch(self._arrived, self._gone)
        self.exclusives_changed(self.table.exclusives())
        self.stir()

    def close(self) -> None:
        """Deliver nothing more; the links are ended by whoever has them."""
        self._settle()
        self.store = None
        self._cancel_timer()

    # What happens

    def _arrived(self, held: Held) -> None:
        self.readers.arrived(held, self._clock.seconds())
        self.stir()

    def _gone(self, held: Held) -> None:
        self.readers.gone(held, self._clock.seconds())
        self.stir()

    def _placed(self, placement: Placement) -> None:
        self.readers.placed(placement, self._clock.seconds())
        self.exclusives_changed(self.table.exclusives())
        self.stir()

    def _removed(self, name: str) -> None:
        self.readers.removed(name, self._clock.seconds())
        self.exclusives_changed(self.table.exclusives())
        self.stir()

    # Links of paid readers

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`: the reader says hello first."""

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        now, name = self._clock.seconds(), self._names.get(link)
        match message:
            case ReaderHello() if name is None:
                self._hello(link, message, now)
            case Taken() if name is not None:
                self.delivered += self.readers.taken(name, message.key, message.size, now)
                self.stir()
            case Pull() if name is not None and self.table.placements[name].terms.mode != PUSH:
                if not 1 <= message.count <= PULL_ITEMS_MAX:
                    raise WireError(f"a pull of {message.count} items")
                self.readers.pulled(name, message.count, now)
                self.stir()
            case _:
                raise WireError(f"a reader does not say {type(message).__name__} now")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""
        name = self._names.pop(link, None)
        if name is not None:
            del self.links[name]
            self.readers.went(name, self._clock.seconds())
            self.stir()

    def _hello(self, link: NewsLink, hello: ReaderHello, now: float) -> None:
        placement = self.table.placements.get(hello.reader)
        # Hashed in any case, and compared in the same time: neither says who is a reader here.
        ticket = token_hash(hello.ticket)
        right = hmac.compare_digest(ticket, placement.ticket if placement is not None else "")
        try:
            got, ages, partial = Ranges(hello.got), ages_of(hello.recent), dict(hello.partial)
        except ValueError:
            self._refuse(link, "bad-hello")
            return
        if hello.version != VERSION:
            self._refuse(link, "version")
        elif self.store is None:
            self._refuse(link, "closing")
        elif placement is None or not right:
            self._refuse(link, "unknown-reader")
        elif not placement.terms.paid:
            self._refuse(link, "free")
        elif min(partial.values(), default=0) < 0:
            self._refuse(link, "bad-hello")
        else:
            self._end(hello.reader, "moved")
            link.introduced()
            self.links[hello.reader], self._names[link] = link, hello.reader
            link.say(ReaderWelcome(self._name, bool(placement.home)))
            self.readers.came(hello.reader, got, partial, (now - age for age in ages), now)
            self.stir()

    def _refuse(self, link: NewsLink, code: str) -> None:
        link.refuse(code, REASONS[code])

    def _end(self, name: str, code: str) -> None:
        link = self.links.pop(name, None)
        if link is not None:
            del self._names[link]
            self._refuse(link, code)

    # What is done about it

    def stir(self) -> None:
        if not self._settling:
            self._settling = True
            self._turn.at_end(self._settle)

    def _settle(self) -> None:
        self._settling = False
        if self.store is None:
            return
        self._cancel_timer()
        wakeup = self._send()
        self._tell()
        changes = self.readers.changes()
        if changes:
            self.store.write(changes, _kept)
        if wakeup is not None:
            self._timer = self._clock.callLater(max(0.0, wakeup - self._clock.seconds()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._settle()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _send(self) -> float | None:
        """Send what is to be sent now; return when to go on, if nothing happens until then."""
        now = self._clock.seconds()
        for _ in range(SENDS_A_TURN_MAX):
            found = self.readers.next(now)
            if isinstance(found, PaidSend):
                self._begin(found)
            elif found is not None:
                self.free.begin(found)
            else:
                return self.readers.next_wakeup()
        return now

    def _begin(self, sending: PaidSend) -> None:
        reader, held, send = sending
        link = self.links[reader.placement.reader]
        reading = self._bodies.read(held.item.number, send.offset, send.size)
        reading.addCallback(self._read, link, sending)
        reading.addErrback(self._not_read, held)
        reading.addBoth(lambda _: self._sent(link, reader))

    def _read(self, data: bytes, link: NewsLink, sending: PaidSend) -> None:
        held, send = sending.held, sending.send
        if send.announces:
            item = msgspec.structs.replace(held.item, route=None)
            delay_s = held.delay_at(self._clock.seconds()) + link.way_s
            link.say(Announce(held.stamp, item, delay_s, send.offset, data))
        else:
            link.say(Chunk(held.stamp, send.offset, data))

    def _sent(self, link: NewsLink, reader: Reader) -> None:
        # Of a connection that has gone meanwhile nobody waits for anything.
        if self.links.get(reader.placement.reader) is link:
            self.readers.sent(reader, self._clock.seconds())
            self.stir()

    def _not_read(self, failure: Failure, held: Held) -> None:
        if failure.check(KeyError) is None:
            log.failure("item {number} cannot be read; look at the disk", failure, number=held.item.number)
        self._gone(held)

    def _tell(self) -> None:
        readers = self.readers
        withdrawn, readers.withdrawn = readers.withdrawn, []
        for name, stamp in withdrawn:
            if name in self.links:
                self.links[name].say(Withdrawn(stamp))
        answers, readers.schedule.answers = readers.schedule.answers, []
        for reader, more in answers:
            if reader.placement.reader in self.links:
                self.links[reader.placement.reader].say(Pulled(more))
        ended, readers.ended = readers.ended, []
        for name in ended:
            self._end(name, "ended")
        self.free.tell(ended)


def _kept() -> None:
    """Nobody waits for it: what a reader has acknowledged and was not kept is acknowledged again."""
