"""A free reader, for Twisted programs: hears from its delivery node by datagrams, and hands out what has come whole."""

import random
from collections.abc import Callable
from typing import Any, assert_never

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.chat.passwords import token_hash
from chatproto.dialler import Backoff
from chatproto.errors import ClientError, WireError
from chatproto.news.datagrams.asking import (
    RETRY_S_MAX,
    RETRY_S_MIN,
    Effect,
    Granting,
    Listening,
    Pen,
    PullEnded,
    Pulling,
    Refusing,
    Say,
    Unheard,
)
from chatproto.news.datagrams.messages import CONVERSATION_BYTES, PULL_ITEMS_MAX, Datagram, Part, from_node
from chatproto.news.datagrams.proof import Address
from chatproto.news.datagrams.reassembly import Arrived, Reassembly
from chatproto.news.items import Item
from chatproto.news.terms import PUSH, Place
from chatproto.registry.visitor import RegistryClient
from chatproto.wire import host_and_port

ATTRIBUTE = "datagrams"
"""The attribute of a delivery node's registration that says where free readers ask, as an address with its port."""

Find = Callable[[str], "Deferred[Address]"]
"""Finds a delivery node by its name; may fail, and is called again then, after a while."""

Delivered = Callable[[Item, bytes], object]
"""Told of each item once, with its body, when it is there, whole and undamaged."""

ListenUDP = Callable[[int, DatagramProtocol, str], IListeningPort]
"""Listens for datagrams on a port, with a protocol, at an address, as a reactor's `listenUDP` does, or `World.udp`."""

log = Logger()


class NotFound(ClientError):
    """A delivery node has no address for free readers, or none that this program can reach."""


def finding(registry: RegistryClient, service: str, clock: IReactorTime) -> Find:
    """Return what finds delivery nodes as they are registered.

    Args:
        registry: knows them.
        service: the name of the deployment.
        clock: the reactor, which also knows what addresses a machine's name means.
    """

    def find(node: str) -> "Deferred[Address]":
        return registry.resolve(service, node).addCallback(
            lambda found: reached(found.attributes.get(ATTRIBUTE, ""), clock)
        )

    return find


def reached(place: str, clock: IReactorTime) -> "Deferred[Address]":
    """Return the IP address and port of `HOST:PORT`, as the reactor knows it; fails with `NotFound`."""
    known = host_and_port(place)
    if known is None:
        return fail(NotFound(f"no delivery node for free readers: {place!r}"))
    host, port = known
    resolver: IHostnameResolver = IReactorPluggableNameResolver(clock).nameResolver
    resolution = _Resolution(host, port)
    resolver.resolveHostName(resolution, host, port, transportSemantics="UDP")
    return resolution.found


@implementer(IResolutionReceiver)
class _Resolution:
    def __init__(self, host: str, port: int) -> None:
        self.found: Deferred[Address] = Deferred()
        self._host = host
        self._port = port
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        found = [address for address in self._addresses if isinstance(address, IPv4Address | IPv6Address)]
        # Where a name means both, IPv4 is what nodes listen on unless they are told otherwise.
        found.sort(key=lambda address: isinstance(address, IPv6Address))
        if found:
            self.found.callback((found[0].host, self._port))
        else:
            self.found.errback(NotFound(f"no machine is called {self._host}"))


class ReaderPort(DatagramProtocol):
    """The port of one reader, or of thousands: each hears what belongs to its conversation.

    Attributes:
        nonsense: how many datagrams were damaged, or of no conversation of this port.
    """

    def __init__(self, listen: ListenUDP) -> None:
        """Make a port that is opened by the first that sends something."""
        self.nonsense = 0
        self._listen = listen
        self._heard: dict[bytes, Callable[[Datagram, Address], None]] = {}
        self._port: IListeningPort | None = None

    def join(self, conversation: bytes, heard: Callable[[Datagram, Address], None]) -> None:
        """Have somebody hear a conversation."""
        self._heard[conversation] = heard

    def leave(self, conversation: bytes) -> "Deferred[Any]":
        """Hear a conversation no more; the last one closes the port."""
        self._heard.pop(conversation, None)
        return self._close() if not self._heard else maybeDeferred(lambda: None)

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram, or lose it."""
        try:
            if self._port is None:
                self._port = self._listen(0, self, "::" if ":" in address[0] else "")
            assert self.transport is not None
            self.transport.write(data, address)
        except (OSError, CannotListenError) as error:
            log.debug("a datagram was not sent: {error}", error=error)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand a datagram on to whoever hears its conversation."""
        try:
            read = from_node(datagram)
        except WireError:
            self.nonsense += 1
            return
        heard = self._heard.get(read.conversation)
        if heard is None:
            self.nonsense += 1
        else:
            heard(read, addr[:2])

    def _close(self) -> "Deferred[Any]":
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)


class DatagramReader(Service):
    """Reads under a free contract: hears what comes (push), or asks for what is there (`pull`).

    There is no promise that an item comes. One that comes is whole, undamaged, not expired, and comes once, as long as
    this object lives.

    Attributes:
        node: the name that the node has answered with; empty before.
        delay_s: how long the item that was delivered last had been under way when it left the node.
        reassembly: what has come of items; its `dropped` counts what was lost on the way here.
        last_refusal: the code (`messages.REASONS`) with which the node has refused; empty if it has granted since.
    """

    def __init__(
        self,
        place: Place,
        find: Find,
        delivered: Delivered,
        clock: IReactorTime,
        now: Callable[[], float],
        port: ReaderPort | ListenUDP,
        *,
        after: int = 0,
        refused: Callable[[str], object] = lambda code: None,
        dice: random.Random | None = None,
    ) -> None:
        """Make a reader; `startService` begins.

        Args:
            place: as the contracting service has told it, of a free contract.
            find: finds the node by `place.node`, at first and whenever it does not answer; see `finding`.
            delivered: told of each item; what it raises is logged.
            clock: the reactor, as far as time goes.
            now: the time of day, in Unix seconds.
            port: shared with others; or what opens one of its own.
            after: of a pull contract: the stamp that `position` was, when this program ran last.
            refused: told of each refusal of the node, by its code; it is asked again later, unless that is `moved`.
            dice: draws what nobody is to guess; the system's source where it is not given.

        Raises:
            ClientError: the contract is paid: `chatproto.news.reader.NewsReader` is for those.
        """
        if place.terms.paid:
            raise ClientError("a paid contract is read over a connection")
        dice = dice if dice is not None else random.SystemRandom()
        self.node = ""
        self.delay_s = 0.0
        self.reassembly = Reassembly()
        self.last_refusal = ""
        self._clock = clock
        self._now = now
        self._place = place
        self._find = find
        self._delivered = delivered
        self._refused = refused
        self._port = port if isinstance(port, ReaderPort) else ReaderPort(port)
        self._conversation = dice.randbytes(CONVERSATION_BYTES)
        pen = Pen(place.reader, token_hash(place.ticket), self._conversation)
        spread = dice.random()
        self._asking: Listening | Pulling
        self._asking = Listening(pen, spread) if place.terms.mode == PUSH else Pulling(pen, spread, after)
        self._backoff = Backoff(RETRY_S_MIN, RETRY_S_MAX)
        self._address: Address | None = None
        self._finding: Deferred[Any] | None = None
        self._pulls: Deferred[PullEnded] | None = None
        self._timer: IDelayedCall | None = None
        self._find_again: IDelayedCall | None = None

    @property
    def position(self) -> int:
        """The stamp up to which a pull reader has asked; to be given as `after` to the next of this reader."""
        return self._asking.after if isinstance(self._asking, Pulling) else 0

    def startService(self) -> None:
        """Find the node, and listen."""
        super().startService()
        self._port.join(self._conversation, self._heard)
        if isinstance(self._asking, Listening):
            self._perform(self._asking.start(self._clock.seconds()))
        self._look()

    def stopService(self) -> "Deferred[Any]":
        """Take leave, and hear no more; a pull that is under way ends as `no-answer`."""
        super().stopService()
        self._perform(self._asking.stop())
        for timer in (self._timer, self._find_again):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._find_again = None
        if self._finding is not None:
            self._finding.cancel()
        self._end_pull(PullEnded(failure="no-answer"))
        return self._port.leave(self._conversation)

    def pull(self, count: int = PULL_ITEMS_MAX) -> "Deferred[PullEnded]":
        """Ask for what is there since the last pull, `count` items at most (1 to `PULL_ITEMS_MAX`).

        Each item is handed to `delivered` as it comes; the Deferred says when it is over, and what was missing.

        Raises:
            ClientError: this is no pull contract, the reader does not run, or it is pulling already.
        """
        if not isinstance(self._asking, Pulling):
            raise ClientError("a push contract is not pulled: what comes is sent")
        if not self.running or self._pulls is not None:
            raise ClientError("it is pulling already" if self.running else "the reader does not run")
        if not 1 <= count <= PULL_ITEMS_MAX:
            raise ClientError(f"a pull asks for 1 to {PULL_ITEMS_MAX} items")
        pulls = self._pulls = Deferred()
        self._perform(self._asking.start(count, self._clock.seconds()))
        self._await_next()
        return pulls

    # The node's whereabouts

    def _look(self) -> None:
        if self._finding is not None or not self.running:
            return
        self._find_again = None
        finding: Deferred[Any] = maybeDeferred(self._find, self._place.node)
        self._finding = finding
        finding.addCallbacks(self._found, self._not_found)
        finding.addErrback(lambda failure: log.failure("finding a delivery node failed", failure))

    def _found(self, address: Address) -> None:
        self._finding = None
        self._backoff.failures = 0
        if address != self._address and self.running:
            self._address = address
            self._perform(self._asking.again(self._clock.seconds()))
        self._await_next()

    def _not_found(self, failure: Failure) -> None:
        self._finding = None
        if self.running:
            log.info("{node} is not found: {why}; looking again", node=self._place.node, why=failure.getErrorMessage())
            _, wait_s = self._backoff()
            self._find_again = self._clock.callLater(wait_s, self._look)

    # Datagrams

    def _heard(self, datagram: Datagram, address: Address) -> None:
        if address != self._address:
            self._port.nonsense += 1
            return
        now = self._clock.seconds()
        message = datagram.message
        self._asking.heard(now)
        if isinstance(message, Part):
            arrived = self.reassembly.received(message, datagram.delay_s, now, self._now())
            if arrived is not None:
                self._deliver(arrived)
        elif isinstance(self._asking, Listening):
            self._perform(self._asking.received(message, now))
        else:
            self._perform(self._asking.received(message, now, self.reassembly.delivered))
        self._await_next()

    def _deliver(self, arrived: Arrived) -> None:
        self.delay_s = arrived.delay_s
        try:
            self._delivered(arrived.item, arrived.body)
        except Exception:
            log.failure("whoever reads failed with item {number}", number=arrived.item.number)
        if isinstance(self._asking, Pulling):
            self._perform(self._asking.arrived(arrived.item.number))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Say():
                    if self._address is not None:
                        self._port.send(effect.data, self._address)
                case Granting():
                    self.node, self.last_refusal = effect.node, ""
                case Refusing():
                    self.last_refusal = effect.code
                    self._refused(effect.code)
                    self._look()
                case Unheard():
                    self._look()
                case PullEnded():
                    self._end_pull(effect)
                case _:
                    assert_never(effect)

    def _end_pull(self, ended: PullEnded) -> None:
        pulls, self._pulls = self._pulls, None
        if pulls is not None:
            pulls.callback(ended)

    # Time

    def _wake(self) -> None:
        self._timer = None
        try:
            now = self._clock.seconds()
            self.reassembly.wake(now)
            self._perform(self._asking.wake(now))
        except Exception:
            log.failure("asking for free items failed; it goes on")
        self._await_next()

    def _await_next(self) -> None:
        dues = [due for due in (self._asking.next_wakeup(), self.reassembly.next_wakeup()) if due is not None]
        if not dues or not self.running:
            return
        wait_s = max(0.0, min(dues) - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(wait_s, self._wake)
        elif self._timer.getTime() > self._clock.seconds() + wait_s:
            self._timer.reset(wait_s)
