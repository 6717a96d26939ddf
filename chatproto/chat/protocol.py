"""The client link: line JSON over any stream that Twisted listens on."""

from typing import Any

import msgspec
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.chat.messages import (
    NONSENSE,
    BaseRequest,
    Error,
    ExtendedRequest,
    FirstRequest,
    Hello,
    Ping,
    Question,
    Request,
    Said,
    StatusAsked,
    encode,
)
from chatproto.chat.seat import Seat
from chatproto.chat.server import ChatServer
from chatproto.gate import Gate, Limits
from chatproto.link import LineLink, Link, Turn
from chatproto.tally import Tally
from chatproto.wire import TokenBucket
from chatproto.wire.fields import SERVER_IDENTITY

ARRIVALS_MORE = 100
"""Arrivals of one address at once beyond the connections that it may have: whoever is one too many is told so."""
RATE_PAUSE_S = 0.25
"""How long lines above a rate wait, on average, until it is looked again how many may be taken."""
RATE_SHARE_S = 0.05
"""Above a rate, as many lines are taken at once as it allows in this time, or none: what is said to a room costs others
less in few batches than in many, and less in these than in the big ones of links that all look at the same time."""
GOLDEN_RATIO = (5**0.5 - 1) / 2

log = Logger()

_first = msgspec.json.Decoder(FirstRequest)
_question = msgspec.json.Decoder(Question)
_base = msgspec.json.Decoder(BaseRequest)
_extended = msgspec.json.Decoder(ExtendedRequest)
_fields = msgspec.json.Decoder(dict[str, Any])
_PING = encode(Ping())
_NO_ROOM = {
    "too-many-from-address": "too many connections from your address: at most {most}",
    "crowded-out": "too many connections at once: try again in a moment",
    "full": "too many connections: try again later",
}


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ClientLink(LineLink):
    """One client's connection to a `ChatServer`.

    Attributes:
        seat: the session behind it, once it is greeted.
        extended: whether the client has said `hello`.
    """

    factory: "ClientLinkFactory"

    def __init__(self, server: ChatServer, turn: Turn, clock: Any, gate: Gate[Link]) -> None:
        """Make a link to a node's chat; `ClientLinkFactory` does."""
        settings = server.settings
        super().__init__(turn, clock, settings.backlog_bytes_max, settings.line_bytes_max, gate)
        self.seat: Seat | None = None
        self.extended = False
        self._server = server
        self._greeted = False
        # It began with `status`: it is no client yet, and may never be one.
        self._asks = False
        self._buckets = [TokenBucket(settings.rate_lines, settings.burst_lines)]
        # Lines that have come and are above a rate.
        self._above = b""
        self._nonsense: TokenBucket | None = None

    @property
    def host(self) -> str | None:
        """See `Door.host`."""
        return getattr(self.transport.getPeer(), "host", None)

    @property
    def greet_after_s(self) -> float:
        """How long a first line is waited for."""
        settings = self._server.settings
        # Where nobody is greeted without an account, whoever has one may take their time to say so.
        return settings.greet_after_s if settings.guests else settings.handshake_s_max

    def connectionMade(self) -> None:
        """Wait for a first line, or for a client that wants to be greeted."""
        super().connectionMade()
        if not self.open:
            return
        origin = self.gate.links[self]
        if origin is not None:
            self._buckets.append(origin.lines)
        transport = self.transport
        if hasattr(transport, "setTcpKeepAlive"):
            # A base client is never asked whether it lives; the kernel finds out, in hours.
            transport.setTcpKeepAlive(True)
        settings = self._server.settings
        if ISSLTransport.providedBy(transport):
            self._timer = self.clock.callLater(settings.handshake_s_max, self.drop, "handshake-timeout")
        else:
            self._timer = self.clock.callLater(self.greet_after_s, self._greet)

    def handshakeCompleted(self) -> None:
        """TLS is up: from here on it is as with any other stream."""
        if self.open and not self._greeted:
            self._cancel_timer()
            self._timer = self.clock.callLater(self.greet_after_s, self._greet)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the server, which knows whether the session ends with it."""
        super().connectionLost(reason)
        if self.seat is not None:
            self._server.lost(self.seat, self)

    def turned_away(self, reason: str) -> None:
        """Tell a client that there is no room for it, unless that would have to wait for its handshake."""
        self._greeted = True
        if ISSLTransport.providedBy(self.transport) and reason == "crowded-out":
            self.drop(reason)
        else:
            most = self._server.settings.connections_per_address_max
            self.drop(reason, last=encode(Said(SERVER_IDENTITY, _NO_ROOM[reason].format(most=most))))

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still listen: what it asked for is answered first."""
        if self.seat is not None and self.open:
            self._server.hung_up(self.seat)
        else:
            self.close()

    def writeConnectionLost(self) -> None:
        """We never close one way only."""

    # In

    def linesReceived(self, lines: bytes) -> None:
        """Take whole lines, as many as may be said now; the others wait, and nothing more is read."""
        if self._above:
            self._above += lines
        else:
            self._take_allowed(lines)

    def _take_allowed(self, lines: bytes) -> None:
        now, allowed = self.clock.seconds(), None
        for bucket in self._buckets:
            there = bucket.there(now)
            if there is not None and (allowed is None or there < allowed):
                allowed = there
        if allowed == 0:
            # Not even counted: in a flood hundreds look again and again.
            self._keep_above(lines)
            return
        count = lines.count(b"\n")
        allowed = count if allowed is None else min(count, allowed)
        for bucket in self._buckets:
            bucket.take(allowed, now)
        if allowed < count:
            above = lines.split(b"\n", allowed)[allowed]
            lines = lines[: len(lines) - len(above)]
            self._keep_above(above)
        if not self._greeted:
            self._first_line(lines, allowed)
        elif self._asks:
            self._take_questions(lines)
        else:
            self._take(lines, allowed)
        seat = self.seat
        if seat is not None and seat.session.in_flight > self._server.settings.in_flight_max:
            self.hold_reading("in flight")
            self._server.impatient(seat)

    def _keep_above(self, lines: bytes) -> None:
        self._above = lines
        self.hold_reading("rate")
        self.clock.callLater(self.factory.rate_pause_s(), self._go_on_above)

    def _go_on_above(self) -> None:
        if not self.open:
            return
        lines, self._above = self._above, b""
        now = self.clock.seconds()
        if all(bucket.holds(RATE_SHARE_S, now) for bucket in self._buckets):
            self._take_allowed(lines)
        else:
            self._keep_above(lines)
        if not self._above:
            self.release_reading("rate")

    def _first_line(self, lines: bytes, count: int) -> None:
        first, _, rest = lines.partition(b"\n")
        try:
            request = _first.decode(first)
        except NONSENSE:
            request = None
        if isinstance(request, StatusAsked):
            # It stays a stranger: nobody who matters is in want of its place for as long as it asks.
            self._asks = self._greeted = True
            self._cancel_timer()
            self._take_questions(lines)
            return
        if isinstance(request, Hello):
            self._hello(request)
            lines, count = rest, count - 1
        else:
            self._greet()
        if count and self.seat is not None:
            self._take(lines, count)

    def _take_questions(self, lines: bytes) -> None:
        """Answer what is asked by whom there is no session for, until it says `hello`."""
        asked = lines.split(b"\n")[:-1]
        for following, line in enumerate(asked, 1):
            if not self.open:
                return
            try:
                question = _question.decode(line)
            except NONSENSE:
                self._take_nonsense()
                continue
            if isinstance(question, Hello):
                self._asks = False
                self._hello(question)
                if rest := asked[following:]:
                    self._take(b"\n".join(rest) + b"\n", len(rest))
                return
            self._server.status(self)
        if self.open:
            self._cancel_timer()
            self._timer = self.clock.callLater(self._server.settings.silence_s_max, self.drop, "silent")

    def _take(self, lines: bytes, count: int) -> None:
        if self.seat is None:
            return
        decoder = _extended if self.extended else _base
        # All lines are read in one call, unless one of them needs a look of its own: pings are answered with their
        # own fields, a late hello changes how the lines after it are read, and the call takes lines to be
        # whitespace, so that values may share a line or lines a value, which the protocol has not.
        plain = lines.startswith(b"{") and lines.count(b"\n{") + 1 == count
        if plain and b'"ping"' not in lines and b'"hello"' not in lines:
            try:
                requests = decoder.decode_lines(lines)
            except NONSENSE:
                pass
            else:
                if len(requests) == count:
                    self._server.received(self.seat, requests)
                    return
        for line in lines.split(b"\n")[:-1]:
            if not self.open:
                return
            self._take_one(line)

    def _take_one(self, line: bytes) -> None:
        if self.seat is None:
            return
        request: Request
        try:
            request = _extended.decode(line) if self.extended else _base.decode(line)
            fields = _fields.decode(line) if isinstance(request, Ping) else {}
        except NONSENSE:
            self._take_nonsense()
            return
        if isinstance(request, Hello) and not self.extended:
            self._hello(request)
        elif isinstance(request, Ping):
            self.send(msgspec.json.encode({**fields, "type": "pong"}) + b"\n")
        else:
            self._server.received(self.seat, [request])

    def _take_nonsense(self) -> None:
        most = self._server.settings.nonsense_max
        if self._nonsense is None:
            self._nonsense = TokenBucket(most / 60, most)
        if self._nonsense.take(1, self.clock.seconds()):
            self._drop("too-much-nonsense", f"more than {most} lines in a minute were not of the protocol")
        elif self._speaks_extensions:
            self.send(encode(Error("bad-line", "that line is not of the protocol")))

    def lineTooLong(self) -> None:
        """Tell, and end."""
        self._drop("line-too-long", f"a line has at most {self._server.settings.line_bytes_max} bytes")

    def overflowed(self) -> None:
        """Tell a client that does not read, and end; an extended one can resume."""
        self._drop("backlog", f"more than {self.backlog_bytes_max} bytes were waiting for you to read them")

    def _drop(self, code: str, text: str) -> None:
        told = Error(code, text) if self._speaks_extensions else Said(SERVER_IDENTITY, f"{code}: {text}")
        self.drop(code, last=encode(told))

    @property
    def _speaks_extensions(self) -> bool:
        return self.extended or self._asks

    # Greetings

    def _greet(self) -> None:
        if self._greeted or not self.open:
            return
        self._greeting()
        self.seat = self._server.greet(self)

    def _hello(self, hello: Hello) -> None:
        self._greeting()
        # Turned away, a client that was greeted before still has the session it has to be parted from.
        self.seat = self._server.hello(self, hello, self.seat) or self.seat

    def _greeting(self) -> None:
        self._cancel_timer()
        self._greeted = True
        self.introduced()

    def welcomed(self) -> None:
        """See `Door.welcomed`."""
        self.extended = True
        settings = self._server.settings
        self.start_heartbeat(settings.heartbeat_s, settings.silence_s_max)

    def seated(self, seat: Seat) -> None:
        """See `Door.seated`."""
        self.seat = seat

    def ping(self) -> None:
        """Ask whether the client lives."""
        self.send(_PING)

    def go_on(self) -> None:
        """See `Door.go_on`."""
        self.release_reading("in flight")


class ClientLinkFactory(Factory):
    """Makes the links of a node's clients, and bounds how many there are.

    Attributes:
        gate: has every connection that came to it.
    """

    noisy = False

    def __init__(self, server: ChatServer, turn: Turn, clock: Any, tally: Tally, connections_max: int = 0) -> None:
        """Serve a node's chat over so many connections at once, 0 for any; those that it drops are counted."""
        self.server = server
        self._connections_max = connections_max
        self._tally = tally
        self._gates: list[Gate[Link]] = []
        self.gate = self.open_gate("client")
        self._turn = turn
        self._clock = clock
        self._pauses = 0.0

    @property
    def links(self) -> list[Link]:
        """Every connection of a client, by whatever door it came."""
        return [link for gate in self._gates for link in gate.links]

    def open_gate(self, door: str) -> Gate[Link]:
        """Return the gate of one more door, with the same limits, whose links are clients' too."""
        gate: Gate[Link] = Gate(door, self._tally, self.limits)
        self._gates.append(gate)
        return gate

    def buildProtocol(self, addr: IAddress | None) -> ClientLink:  # type: ignore[override]
        """Make the link of a connection."""
        link = ClientLink(self.server, self._turn, self._clock, self.gate)
        link.factory = self
        return link

    def rate_pause_s(self) -> float:
        """Return how long a link above its rate waits this time: the ends of successive pauses lie far apart."""
        self._pauses = (self._pauses + GOLDEN_RATIO) % 1
        return RATE_PAUSE_S * (0.5 + self._pauses)

    def limits(self) -> Limits:
        """Return how many may come in by each door."""
        settings = self.server.settings
        at_once = settings.connections_per_address_max
        return Limits(
            self._connections_max,
            at_once,
            settings.handshakes_max,
            arrivals_a_second=settings.arrivals_per_address if at_once else 0,
            arrivals_at_once=at_once + ARRIVALS_MORE,
            lines_a_second=settings.rate_lines_per_address,
            lines_at_once=settings.burst_lines,
        )
