"""A client's direct connections: those it makes, those it takes, and what the server says about either."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger

from chatproto.client.direct.correspondent import Correspondent
from chatproto.client.direct.expected import Expected
from chatproto.client.direct.link import DirectLink, DirectLinkFactory
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.direct.side import Answered, Heard, Side
from chatproto.client.events import (
    ContactExpected,
    ContactFound,
    Delivered,
    Event,
    Moved,
    PrivateSaid,
    Renamed,
    Welcomed,
)
from chatproto.client.once import Once
from chatproto.errors import ClientError
from chatproto.gate import Gate, Limits
from chatproto.link import Link, Turn
from chatproto.tally import Tally
from chatproto.wire import host_and_port

CORRESPONDENTS_MAX = 1000
"""Identities remembered that nothing is on its way to; beyond it they are forgotten, and that some are not reached."""

log = Logger()


class Home(Protocol):
    """What direct connections need of the client that they belong to."""

    @property
    def identity(self) -> str:
        """The current name; empty before the first welcome."""

    def contact(self, identity: str) -> "Deferred[ContactFound]":
        """Ask for somebody's address, and a token."""

    def relay(self, id: str, to: str, content: str) -> "Deferred[int]":
        """Have the server relay a private message."""

    def tell(self, event: Event) -> None:
        """Have listeners hear an event."""


class DirectMessages:
    """All direct connections of a client."""

    def __init__(
        self,
        home: Home,
        once: Once,
        turn: Turn,
        clock: IReactorTime,
        now: Callable[[], float],
        connector: Callable[[str], IStreamClientEndpoint] | None,
        settings: DirectSettings,
        tally: Tally,
    ) -> None:
        """Begin with none.

        Args:
            home: the client.
            once: what was heard on either way.
            turn: of the reactor that all calls come from.
            clock: of all deadlines.
            now: the time of day in Unix seconds.
            connector: makes an endpoint of `HOST:PORT`; None where nobody can be called.
            settings: what can be set.
            tally: counts those that this side drops.
        """
        self._gate: Gate[Link] = Gate("direct", tally, lambda: Limits(settings.links_max, 0, settings.half_open_max))
        self._home = home
        self._once = once
        self._turn = turn
        self._clock = clock
        self._now = now
        self._connector = connector
        self._settings = settings
        self._identity = ""
        self._expected = Expected(settings.expected_max, settings.expected_s_max)
        self._links: dict[DirectLink, None] = {}
        # Calls of ours that are not accepted yet.
        self._calls: dict[DirectLink, Deferred[None]] = {}
        self._correspondents: dict[str, Correspondent] = {}
        self._ports: list[IListeningPort] = []

    # What can be asked

    def send(self, id: str, to: str, content: str) -> "Deferred[Delivered]":
        """Send a message; see `ChatClient.send_direct`."""
        return Deferred.fromCoroutine(self._correspondent(to).send(id, content))

    @property
    def listening(self) -> bool:
        """Whether calls are taken."""
        return bool(self._ports)

    def listen(self, endpoint: IStreamServerEndpoint, host: str) -> "Deferred[str]":
        """Take calls on an endpoint; called back with the `HOST:PORT` to tell."""

        def listening(port: IListeningPort) -> str:
            self._ports.append(port)
            at = port.getHost()
            assert isinstance(at, IPv4Address | IPv6Address), "others can call neither a path nor a descriptor"
            return f"[{host}]:{at.port}" if ":" in host else f"{host}:{at.port}"

        return endpoint.listen(DirectLinkFactory(self._called)).addCallback(listening)

    def stop(self) -> "Deferred[None]":
        """End everything; called back when nothing is listened on any more."""
        self._forget_all()
        for correspondent in list(self._correspondents.values()):
            correspondent.give_up()
        ports, self._ports = self._ports, []
        closing = gatherResults([maybeDeferred(port.stopListening) for port in ports])
        return closing.addCallback(lambda _: None)

    def _correspondent(self, identity: str) -> Correspondent:
        found = self._correspondents.get(identity)
        if found is None:
            if len(self._correspondents) >= CORRESPONDENTS_MAX:
                self._correspondents = {name: one for name, one in self._correspondents.items() if not one.idle}
            found = Correspondent(identity, self._call, self._home.relay, self._turn, self._clock, self._settings)
            self._correspondents[identity] = found
        return found

    # Calls

    def _side(self, to: str = "") -> Side:
        return Side(lambda: self._home.identity, self._expected, self._once, self._settings.content_chars_max, to=to)

    def _link(self, side: Side, token: str = "") -> DirectLink:
        return DirectLink(side, self, self._turn, self._clock, self._settings, self._gate, token)

    def _called(self) -> DirectLink:
        return self._link(self._side())

    def _call(self, identity: str) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._make_call(identity))

    async def _make_call(self, identity: str) -> None:
        if self._connector is None:
            raise ClientError("nobody can be called from here")
        found = await self._home.contact(identity)
        where = host_and_port(found.address)
        if where is None or where[1] < self._settings.port_min:
            raise ClientError(f"{found.address[:80]!r} is no address to call")
        link = self._link(self._side(identity), found.token)
        accepted = self._calls[link] = Deferred(lambda _: link.abort())
        try:
            await self._connector(found.address).connect(DirectLinkFactory(lambda: link))
            await accepted
        finally:
            self._calls.pop(link, None)

    # From the links

    def link_made(self, link: DirectLink) -> None:
        """See `Listens.link_made`."""
        self._links[link] = None

    def link_opened(self, link: DirectLink) -> None:
        """See `Listens.link_opened`."""
        self._correspondent(link.side.identity).opened(link)
        if link in self._calls:
            self._calls.pop(link).callback(None)

    def link_heard(self, link: DirectLink, heard: Heard) -> None:
        """See `Listens.link_heard`."""
        self._home.tell(PrivateSaid(link.side.identity, heard.content, heard.id, self._now(), direct=True))

    def link_answered(self, link: DirectLink, answered: Answered) -> None:
        """See `Listens.link_answered`."""
        self._correspondent(link.side.identity).answered(link, answered.id, answered.code)

    def link_lost(self, link: DirectLink, reason: str) -> None:
        """See `Listens.link_lost`."""
        self._links.pop(link, None)
        if link in self._calls:
            self._calls.pop(link).errback(ClientError(reason))
        correspondent = self._correspondents.get(link.side.identity)
        if correspondent is not None:
            correspondent.lost(link)

    # From the server

    def heard(self, event: Event) -> None:
        """Hear what the server says, before listeners do: what a connection proves holds as long as both names do."""
        if self._home.identity != self._identity or (isinstance(event, Welcomed) and not event.resumed):
            self._identity = self._home.identity
            self._forget_all()
        if isinstance(event, ContactExpected):
            self._expected.expect(event.identity, event.token, self._clock.seconds())
            for link in list(self._links):
                link.announced()
        elif isinstance(event, Renamed):
            self._forget(event.former)
        elif isinstance(event, Moved) and not event.room:
            # Perhaps it only left one of its rooms, but then the next message makes another connection.
            self._forget(event.identity)

    def _forget_all(self) -> None:
        """Know nobody: our name or our session is another one, and so is not what we have shown, or been shown."""
        self._expected.clear()
        for link in list(self._links):
            link.close()

    def _forget(self, identity: str) -> None:
        for link in [link for link in self._links if link.side.identity == identity]:
            link.close()
