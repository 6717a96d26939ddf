"""A delivery node's side of free delivery: the port, its datagrams, and one timer."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, assert_never

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from chatproto.news.datagrams.door import LEASE_S, Answer, Door, Dropped, Effect, Listens, Pulls, Silent
from chatproto.news.datagrams.pacing import READER_BYTES_A_SECOND, Done, Pacing
from chatproto.news.datagrams.parcels import Parcel
from chatproto.news.datagrams.proof import Address
from chatproto.news.terms import Placement
from chatproto.wire import address_of
from chatproto.world import World

DOOR = "news-datagram"
"""In the tally."""

SECRET_BYTES = 32

Sent = Callable[[bool], object]
"""Told once of each parcel whether all of its datagrams have left."""

log = Logger()


class FreeDelivery(Protocol):
    """What a delivery node decides of its free readers."""

    def placement_of(self, reader: str) -> Placement | None:
        """Return what the node knows of a reader, whatever its terms; None if it is not placed here."""

    def listening(self, reader: str) -> None:
        """Hear that a push reader is there: what comes from now on may be sent to it."""

    def silent(self, reader: str) -> None:
        """Hear that a push reader is there no more; nothing can be sent to it."""

    def pulling(self, reader: str, after: int, count: int) -> None:
        """Hear that a pull reader asks for items with stamps above `after`, so many at most.

        They are sent, by stamp, then `FreeOutlet.pulled` is called. There is one pull of a reader at a time. An `after`
        above all stamps of this node is of one that it has been before: it means 0.
        """


class FreeOutlet(Service):
    """Listens for free readers, and sends them what it is given.

    Attributes:
        ready: fires with the port once it listens.
        items: how many items were sent, once for each reader.
        bytes: how many bytes of datagrams were sent to free readers, without the headers of UDP and IP.
    """

    def __init__(
        self,
        world: World,
        node: str,
        delivery: FreeDelivery,
        *,
        port: int,
        host: str = "",
        lease_s: float = LEASE_S,
        reader_bytes_a_second: float = READER_BYTES_A_SECOND,
    ) -> None:
        """Make an outlet; `world.fatal` is told of a busy port.

        Args:
            world: the outside.
            node: the name of this delivery node.
            delivery: decides.
            port: of UDP; 0 for a free one.
            host: the address that is listened on; empty for all of IPv4.
            lease_s: how long a reader is served that does not ask again.
            reader_bytes_a_second: to one reader.
        """
        self.ready: Deferred[int] = Deferred()
        self.items = 0
        self.bytes = 0
        self._world = world
        self._delivery = delivery
        self._where = host, port
        self._door = Door(node, world.dice.randbytes(SECRET_BYTES), delivery.placement_of, lease_s)
        self._pacing: Pacing[Sent] = Pacing(reader_bytes_a_second)
        self._datagrams = _Datagrams(self._received)
        self._port: IListeningPort | None = None
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Listen."""
        super().startService()
        host, port = self._where
        try:
            self._port = self._world.udp(port, self._datagrams, host)
        except CannotListenError as error:
            self._world.fatal(f"cannot listen on --datagrams {address_of(host, port)}: {error}")
            return
        where = self._port.getHost()
        assert isinstance(where, IPv4Address | IPv6Address)
        log.info("sending free items from {where}, UDP", where=address_of(where.host, where.port))
        self.ready.callback(where.port)

    def stopService(self) -> "Deferred[Any]":
        """Send no more; what was not sent is told."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for reader in list(self._door.correspondents):
            self._tell(self._pacing.forget(reader))
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)

    @property
    def listening(self) -> int:
        """How many push readers are there."""
        return self._door.listening

    @property
    def waiting(self) -> int:
        """How many parcels were given and have not left."""
        return self._pacing.waiting

    def reaches(self, reader: str) -> bool:
        """Whether something can be sent to a reader now."""
        return reader in self._door.correspondents

    def send(self, reader: str, parcel: Parcel, sent: Sent) -> bool:
        """Send an item, after what was given for this reader before.

        Args:
            reader: its name.
            parcel: the item; one for all readers.
            sent: told, in a turn to come, when that is done, or the item has expired, or the reader is gone.

        Returns:
            Whether the reader is there; if not, `sent` is told nothing.
        """
        if not (self.running and self.reaches(reader)):
            return False
        self._pacing.add(reader, parcel, sent, self._world.clock.seconds())
        self._await_next()
        return True

    def pulled(self, reader: str, upto: int, numbers: Iterable[int], more: bool, held_back: str = "") -> None:
        """Answer a pull, after the last of its items has left; see `messages.Pulled`."""
        self._perform(self._door.pulled(reader, upto, tuple(numbers), more, held_back))

    def gone(self, reader: str) -> None:
        """Send nothing more to a reader: its contract is not fulfilled here any more, or it is another one."""
        self._perform(self._door.gone(reader))
        self._tell(self._pacing.forget(reader))

    def _received(self, data: bytes, address: Address) -> None:
        self._perform(self._door.received(data, address, self._world.clock.seconds()))
        self._await_next()

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Answer():
                    self._write(effect.data, effect.address)
                case Listens():
                    self._delivery.listening(effect.reader)
                case Silent():
                    self._tell(self._pacing.forget(effect.reader))
                    self._delivery.silent(effect.reader)
                case Pulls():
                    self._delivery.pulling(effect.reader, effect.after, effect.count)
                case Dropped():
                    self._world.tally.drop(DOOR, effect.reason)
                case _:
                    assert_never(effect)

    def _write(self, data: bytes, address: Address) -> None:
        if self._datagrams.transport is None:
            return
        try:
            self._datagrams.transport.write(data, address)
        except OSError:
            # The kernel's buffer is full, or it knows no way there: that is what may happen to a datagram.
            self._world.tally.drop(DOOR, "not-sent")

    def _wake(self) -> None:
        self._timer = None
        try:
            now = self._world.clock.seconds()
            self._perform(self._door.wake(now))
            leaving, done = self._pacing.due(now, self._world.now())
            for reader, parcel, part in leaving:
                known = self._door.correspondents.get(reader)
                if known is not None:
                    data = parcel.datagram(part, known.conversation, now)
                    self.bytes += len(data)
                    self._write(data, known.address)
            self._tell(done)
        except Exception:
            log.failure("sending free items failed; the next ones are sent all the same")
        self._await_next()

    def _tell(self, done: Iterable[Done[Sent]]) -> None:
        for sent, whole in done:
            self.items += whole
            sent(whole)

    def _await_next(self) -> None:
        dues = [due for due in (self._door.next_wakeup(), self._pacing.next_wakeup()) if due is not None]
        if not dues or not self.running:
            return
        wait_s = max(0.0, min(dues) - self._world.clock.seconds())
        if self._timer is None:
            self._timer = self._world.clock.callLater(wait_s, self._wake)
        elif self._timer.getTime() > self._world.clock.seconds() + wait_s:
            self._timer.reset(wait_s)


class _Datagrams(DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand it on, as an address and a port."""
        host, port, *_ = addr
        self._received(datagram, (host, port))
