"""A paid reader, for Twisted programs: is delivered to by its node, or by the one that stands in for it."""

import random
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.errors import ClientError, ClientStopped, WireError
from chatproto.link import Turn
from chatproto.news.delivery.inbox import Inbox
from chatproto.news.delivery.messages import PULL_ITEMS_MAX, Pull, Pulled, ReaderHello, ReaderWelcome, from_node
from chatproto.news.items import Item
from chatproto.news.link import HEARTBEAT_S, SUSPECT_S, NewsDialler, NewsLink
from chatproto.news.messages import VERSION, Announce, Chunk, Refused, Taken, Withdrawn
from chatproto.news.terms import PULL, Place
from chatproto.registry.names import Registration
from chatproto.registry.visitor import RegistryClient
from chatproto.tally import Tally
from chatproto.wire.addresses import host_and_port, speaks_tls, without_tls

AWAY_S = 3.0
"""A node that is not reached for so long is away: the one that stands in for it is asked for."""

REFUSALS_MAX = 5
"""So often a node that is to stand in may not know of this reader yet: it hears of it a little later than the reader
hears that it stands in."""

HOPELESS = frozenset({"unknown-reader", "free", "version"})
"""Refusals of its own node for which no other will stand in; whoever embeds the reader asks where it is now."""

AGAIN_S_MIN, AGAIN_S_MAX = 1.0, 60.0
"""After so long something that has failed is tried again; twice as long each time."""

Reach = Callable[[str], IStreamClientEndpoint]
"""Makes the endpoint of the delivery node of a name, wherever that is at each connection."""

Delivered = Callable[[Item, bytes], object]
"""Told of each item, with its body. It is acknowledged when that has returned, or the Deferred that it returned has
fired; if either fails, it is told again, after a while."""

Substitute = Callable[[], "Deferred[Any]"]
"""Asks the contracting service to have `Place.substitute` stand in; fires when that does.

This is `ContractClient.substitute`.
"""

log = Logger()


def registered(registry: RegistryClient, client: Callable[[str], IStreamClientEndpoint], service: str) -> Reach:
    """Return what reaches delivery nodes as they are registered.

    Args:
        registry: knows them.
        client: makes a connecting endpoint from a Twisted client endpoint string, such as `World.client`.
        service: the name of the deployment.
    """
    return lambda node: _Found(lambda: registry.resolve(service, node), client)


@implementer(IStreamClientEndpoint)
class _Found:
    def __init__(
        self, find: Callable[[], "Deferred[Registration]"], client: Callable[[str], IStreamClientEndpoint]
    ) -> None:
        self._find = find
        self._client = client

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        def found(registration: Registration) -> Any:
            place = registration.place
            known = host_and_port(without_tls(place))
            if known is None:
                raise ClientError(f"{registration.name} is registered without an address for readers")
            kind = "tls" if speaks_tls(place) else "tcp"
            return self._client(f"{kind}:{quoteStringArgument(known[0])}:{known[1]}").connect(protocolFactory)

        return self._find().addCallback(found)


class NewsReader(Service):
    """A paid reader: hears what comes (push), or asks for what is there (`pull`).

    Every item that the contract is about is delivered, once, as long as this object lives; if the program ends between
    the delivery of an item and its acknowledgement, that one is delivered again to the next of its reader. What has
    expired is not delivered.

    Attributes:
        place: what was agreed on, and where it is fulfilled; see `move`.
        node: the name of the node that delivers now; empty while there is none.
        temporary: whether that one stands in for the reader's own.
        last_refusal: the code (`chatproto.news.delivery.messages.REASONS`) with which a node has refused; empty if one
            has let this reader in since.
    """

    def __init__(
        self,
        place: Place,
        reach: Reach,
        delivered: Delivered,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        substitute: Substitute | None = None,
        home: Callable[[], object] = lambda: None,
        refused: Callable[[str], object] = lambda code: None,
        away_s: float = AWAY_S,
        dice: random.Random | None = None,
        turn: Turn | None = None,
        tally: Tally | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        suspect_s: float = SUSPECT_S,
    ) -> None:
        """Make a reader; `startService` begins.

        Args:
            place: as the contracting service has told it, of a paid contract.
            reach: reaches nodes by name; see `registered`.
            delivered: told of each item.
            clock: the reactor, as far as time goes.
            now: the time of day, in Unix seconds.
            substitute: has another node stand in for one that is away; None to wait for that.
            home: told when the reader is back at its own node after another had stood in.
            refused: told of each refusal, by its code. Nothing is tried again after `moved`: another program is this
                reader now.
            away_s: for so long its own node is waited for.
            dice: spreads the tries; the system's source where it is not given.
            turn: batches what is sent; one of its own where it is not given.
            tally: counts the links that this side drops.
            heartbeat_s: after so long this side says that it lives.
            suspect_s: a link that is silent for so long is given up.

        Raises:
            ClientError: the contract is free: `chatproto.news.datagrams.reader.DatagramReader` is for those.
        """
        if not place.terms.paid:
            raise ClientError("a free contract is read by datagrams")
        self.place = place
        self.node = ""
        self.temporary = False
        self.last_refusal = ""
        self._reach = reach
        self._delivered = delivered
        self._clock = clock
        self._now = now
        self._substitute = substitute
        self._home = home
        self._refused = refused
        self._away_s = away_s
        self._dice = dice if dice is not None else random.SystemRandom()
        self._turn = turn if turn is not None else Turn(clock)
        self._tally = tally if tally is not None else Tally()
        self._spans_s = heartbeat_s, suspect_s
        self._inbox = Inbox()
        # The reader's own node, and the one that stands in for it.
        self._own: _Side | None = None
        self._other: _Side | None = None
        # Whether its own node is there, and will not have it.
        self._hopeless = False
        self._asking: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._again: dict[int, IDelayedCall] = {}
        self._pull: tuple[int, Deferred[bool]] | None = None

    # Life

    def startService(self) -> None:
        """Begin to dial."""
        super().startService()
        self._begin()

    def stopService(self) -> None:
        """End the connection; items that are handed out may still be accepted, and come again to the next reader."""
        super().stopService()
        self._end()
        for number, call in self._again.items():
            call.cancel()
            self._inbox.given_up(number)
        self._again.clear()
        pull, self._pull = self._pull, None
        if pull is not None:
            pull[1].errback(ClientStopped("the reader was stopped"))

    def move(self, place: Place) -> None:
        """Take another contract, or the same at another node; what the reader has it keeps."""
        self.place = place
        if self.running:
            self._end()
            self._begin()

    def pull(self, count: int = PULL_ITEMS_MAX) -> "Deferred[bool]":
        """Ask for what is there, `count` items at most (1 to `PULL_ITEMS_MAX`).

        Each is handed to `delivered`. When all of them are acknowledged, the Deferred is called back with whether there
        is more: that can be asked for, or the maximum of this hour has been reached. While no node is reached, it
        waits; it fails with `ClientStopped`, or with `ClientError` where this is no pull contract, or it pulls already.
        """
        if self.place.terms.mode != PULL:
            return fail(ClientError("a push contract is not pulled: what comes is sent"))
        if not self.running or self._pull is not None:
            return fail(ClientError("it is pulling already" if self.running else "the reader does not run"))
        if not 1 <= count <= PULL_ITEMS_MAX:
            return fail(ClientError(f"a pull asks for 1 to {PULL_ITEMS_MAX} items"))
        answer: Deferred[bool] = Deferred()
        self._pull = count, answer
        side = self._side
        if side is not None:
            side.say(Pull(count))
        return answer

    def _begin(self) -> None:
        self._hopeless = False
        self._own = self._dial(self.place.node)
        self._wait(self._away_s)

    def _end(self) -> None:
        self._cancel_timer()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        for side in (self._own, self._other):
            if side is not None:
                side.stop()
        self._own = self._other = None
        self._look()

    def _dial(self, node: str) -> "_Side":
        heartbeat_s, suspect_s = self._spans_s
        side = _Side(node, self)
        side.dialler = NewsDialler(
            self._reach(node),
            side,
            from_node,
            self._turn,
            self._clock,
            self._dice,
            what=f"delivery node {node}",
            tally=self._tally,
            heartbeat_s=heartbeat_s,
            suspect_s=suspect_s,
        )
        side.dialler.start()
        return side

    # Which node

    @property
    def _side(self) -> "_Side | None":
        return next((side for side in (self._own, self._other) if side is not None and side.welcome), None)

    def _look(self) -> None:
        side = self._side
        self.node = side.node if side is not None else ""
        self.temporary = side is not None and side is not self._own

    def side_welcome(self, side: "_Side") -> None:
        """Hear that a node delivers from now on."""
        self.last_refusal = ""
        side.refusals = 0
        if side is self._own:
            self._hopeless = False
            self._cancel_timer()
            other, self._other = self._other, None
            if other is not None:
                other.stop()
                self._home()
        self._look()
        if self._pull is not None and side is self._side:
            side.say(Pull(self._pull[0]))

    def side_lost(self, side: "_Side") -> None:
        """Hear that a node is not reached any more."""
        self._look()
        if side is self._own and self._other is None:
            self._wait(self._away_s)

    def side_refused(self, side: "_Side", code: str) -> None:
        """Hear that a node does not deliver to this reader."""
        self.last_refusal = code
        if code == "moved":
            self._end()
        elif side is self._own:
            self._hopeless = code in HOPELESS
        elif side is self._other and code in HOPELESS:
            side.refusals += 1
            if side.refusals == REFUSALS_MAX:
                # It does not stand in any more: then that is asked for again.
                self._other = None
                side.stop()
                self._wait(self._away_s)
        self._refused(code)

    def _wait(self, span_s: float) -> None:
        if self._substitute is not None and self.place.substitute and self._timer is None:
            self._timer = self._clock.callLater(span_s, self._away, span_s)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _away(self, waited_s: float) -> None:
        self._timer = None
        if self._asking is None and self._substitute is not None and not self._hopeless:
            node = self.place.substitute
            log.info("{node} is away: {other} is to stand in", node=self.place.node, other=node)
            asking = self._asking = maybeDeferred(self._substitute)
            asking.addCallbacks(self._stands_in, self._nobody_does, (node,), {}, (waited_s,))
            asking.addErrback(lambda failure: log.failure("looking for a substitute failed", failure))

    def _stands_in(self, _: object, node: str) -> None:
        self._asking = None
        # It may have come back meanwhile.
        if self._own is not None and not self._own.welcome and self._other is None:
            self._other = self._dial(node)

    def _nobody_does(self, failure: Failure, waited_s: float) -> None:
        self._asking = None
        if self._own is not None and not self._own.welcome:
            log.warn("nobody stands in for {node}: {why}", node=self.place.node, why=failure.getErrorMessage())
            self._wait(min(2 * waited_s, AGAIN_S_MAX))

    # Items

    def hello(self) -> ReaderHello:
        """Return what is said to a node at first."""
        inbox = self._inbox
        inbox.expire(self._now())
        recent = inbox.recent(self._clock.seconds())
        return ReaderHello(VERSION, self.place.reader, self.place.ticket, inbox.got(), inbox.partial(), recent)

    def announced(self, side: "_Side", announce: Announce) -> None:
        """Hear that an item comes.

        Raises:
            WireError: it cannot.
        """
        item, inbox = announce.item, self._inbox
        inbox.expire(self._now())
        if inbox.has(item.number):
            side.say(Taken(announce.key, item.size))
            return
        side.numbers[announce.key] = item.number
        if item.expires > self._now() and not inbox.handed(item.number):
            inbox.begin(item, announce.offset)
            self.added(side, announce.key, item.number, announce.offset, announce.data)

    def added(self, side: "_Side", key: int, number: int, offset: int, data: bytes) -> None:
        """Hear that more of an item is there.

        Raises:
            WireError: it does not belong there.
        """
        size = self._inbox.add(number, offset, data)
        found = self._inbox.whole(number)
        if found is not None:
            self._hand(*found, AGAIN_S_MIN)
        elif size:
            side.say(Taken(key, size))

    def withdrawn(self, number: int) -> None:
        """Hear that the rest of an item does not come."""
        self._inbox.withdrawn(number)

    def pulled(self, more: bool) -> None:
        """Hear that a pull is answered."""
        pull, self._pull = self._pull, None
        if pull is not None:
            pull[1].callback(more)

    def _hand(self, item: Item, body: bytes, again_s: float) -> None:
        handing = maybeDeferred(self._delivered, item, body)
        handing.addCallbacks(lambda _: self._accepted(item), lambda failure: self._failed(failure, item, body, again_s))
        handing.addErrback(lambda failure: log.failure("an item was not acknowledged", failure))

    def _accepted(self, item: Item) -> None:
        self._inbox.accepted(item.number, self._clock.seconds())
        side = self._side
        key = side.key_of(item.number) if side is not None else None
        if side is not None and key is not None:
            side.say(Taken(key, item.size))

    def _failed(self, failure: Failure, item: Item, body: bytes, again_s: float) -> None:
        log.failure("whoever reads failed with item {number}: it is told again", failure, number=item.number)

        def again() -> None:
            del self._again[item.number]
            if item.expires > self._now():
                self._hand(item, body, min(2 * again_s, AGAIN_S_MAX))
            else:
                self._inbox.given_up(item.number)

        if self.running:
            self._again[item.number] = self._clock.callLater(again_s, again)
        else:
            self._inbox.given_up(item.number)


class _Side:
    """The link to one node, as far as there is one."""

    dialler: NewsDialler

    def __init__(self, node: str, reader: NewsReader) -> None:
        self.node = node
        self.welcome = False
        self.refusals = 0
        self._reader = reader
        self.numbers: dict[int, int] = {}

    def say(self, message: Taken | Pull) -> None:
        if self.dialler.link is not None:
            self.dialler.link.say(message)

    def stop(self) -> None:
        self.welcome = False
        self.dialler.stop()

    def key_of(self, number: int) -> int | None:
        """Return the key of an item on this link, which is not asked for again."""
        key = next((key for key, each in self.numbers.items() if each == number), None)
        if key is not None:
            del self.numbers[key]
        return key

    def link_admitted(self, link: NewsLink) -> None:
        self.numbers.clear()
        link.say(self._reader.hello())

    def link_received(self, link: NewsLink, message: Any) -> None:
        match message:
            case ReaderWelcome() if not self.welcome:
                self.welcome = True
                self._reader.side_welcome(self)
            case Refused():
                self.welcome = False
                self._reader.side_refused(self, message.code)
            case Announce() if self.welcome:
                self._reader.announced(self, message)
            case Chunk() if self.welcome:
                number = self.numbers.get(message.key)
                if number is None:
                    return  # Of one that is there, and was said to be.
                self._reader.added(self, message.key, number, message.offset, message.data)
            case Withdrawn() if self.welcome:
                self._reader.withdrawn(self.numbers.pop(message.key, 0))
            case Pulled() if self.welcome:
                self._reader.pulled(message.more)
            case _:
                raise WireError(f"a delivery node does not say {type(message).__name__} now")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        self.welcome = False
        self._reader.side_lost(self)
