"""A connection between two clients: whole lines to typed messages, effects to bytes, and its ceilings."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from chatproto.client.direct.messages import decode_line
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.direct.side import Answered, Effect, End, Heard, Opened, Send, Side, Stage
from chatproto.errors import WireError
from chatproto.gate import Gate
from chatproto.link import LineLink, Link, Turn
from chatproto.wire import TokenBucket


class Listens(Protocol):
    """Who hears what a direct connection has to tell."""

    def link_made(self, link: "DirectLink") -> None:
        """Hear that it is connected, and that there is room for it."""

    def link_opened(self, link: "DirectLink") -> None:
        """Hear that both sides know who the other one is."""

    def link_heard(self, link: "DirectLink", heard: Heard) -> None:
        """Hear what the other side says."""

    def link_answered(self, link: "DirectLink", answered: Answered) -> None:
        """Hear what has become of a message."""

    def link_lost(self, link: "DirectLink", reason: str) -> None:
        """Hear that it is connected no longer."""


class DirectLink(LineLink):
    """One direct connection.

    Attributes:
        side: our side of it.
    """

    def __init__(
        self,
        side: Side,
        listens: Listens,
        turn: Turn,
        clock: IReactorTime,
        settings: DirectSettings,
        gate: Gate[Link],
        token: str = "",
    ) -> None:
        """Make a link that is not connected yet; it calls with `token`, or is called where there is none."""
        super().__init__(turn, clock, settings.backlog_bytes_max, settings.line_bytes_max, gate)
        self.side = side
        self._listens = listens
        self._settings = settings
        self._token = token
        self._bucket = TokenBucket(settings.rate_lines, settings.rate_lines * 10)
        self._reason = ""
        self._gone = False

    def connectionMade(self) -> None:
        """Call, or wait for who calls, for a while."""
        super().connectionMade()
        if not self.open:
            return
        self._listens.link_made(self)
        self._timer = self.clock.callLater(self._settings.half_open_s_max, self._late)
        if self._token:
            self.introduced()
            self._do(self.side.call(self._token))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        self._reason = self._reason or reason.getErrorMessage()
        self._tell_lost()

    def close(self, last: bytes = b"") -> None:
        """End politely; nothing is sent or taken any more, so whoever listens is told now."""
        super().close(last)
        self._tell_lost()

    def abort(self) -> None:
        """End at once, and tell."""
        super().abort()
        self._tell_lost()

    def _tell_lost(self) -> None:
        if not self._gone:
            self._gone = True
            self._listens.link_lost(self, self._reason or "given up")

    def announced(self) -> None:
        """Hear that the server has announced somebody."""
        if self.open:
            self._do(self.side.announced(self.clock.seconds()))

    def linesReceived(self, lines: bytes) -> None:
        """Take whole lines."""
        for line in lines.split(b"\n")[:-1]:
            if not self.open:
                return
            try:
                message = decode_line(line)
            except WireError:
                self._do(self.side.fail("bad-line", "that line is not of the protocol"))
                return
            self._do(self.side.received(message, self.clock.seconds()))
        wait_s = self._bucket.take(lines.count(b"\n"), self.clock.seconds())
        if wait_s and self.open:
            self.hold_reading("rate")
            self.clock.callLater(wait_s, self.release_reading, "rate")

    def lineTooLong(self) -> None:
        """Tell, and end."""
        self._do(self.side.fail("line-too-long", f"a line has at most {self._settings.line_bytes_max} bytes"))

    def _late(self) -> None:
        if self.side.stage is Stage.SHOWN:
            self._do(self.side.not_expected())
        else:
            # Somebody who says nothing would not read either.
            self.drop("no-hello")

    def drop(self, reason: str, why: str = "", last: bytes | None = None) -> None:
        """See `Link.drop`; the reason is told to whoever listens, too."""
        self._reason = self._reason or reason
        super().drop(reason, why, last)

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._PERFORMERS[type(effect)](self, effect)

    def _send(self, effect: Send) -> None:
        self.send(effect.line)

    def _opened(self, effect: Opened) -> None:
        self.introduced()
        self._cancel_timer()
        self._timer = self.clock.callLater(self._settings.link_s_max, self.drop, "expired", last=b"")
        self._listens.link_opened(self)

    def _heard_message(self, effect: Heard) -> None:
        self._listens.link_heard(self, effect)

    def _answered(self, effect: Answered) -> None:
        self._listens.link_answered(self, effect)

    def _end(self, effect: End) -> None:
        if effect.line:
            self.drop(effect.reason, last=effect.line)
        else:
            # The other side ends it.
            self._reason = effect.reason
            self.close()

    _PERFORMERS: ClassVar[dict[type[Any], Callable[["DirectLink", Any], None]]] = {
        Send: _send,
        Opened: _opened,
        Heard: _heard_message,
        Answered: _answered,
        End: _end,
    }


class DirectLinkFactory(Factory):
    """Makes links, as a call says."""

    noisy = False

    def __init__(self, make: Callable[[], DirectLink]) -> None:
        """Make each link by a call."""
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> DirectLink:
        """Make the link of a connection."""
        return self._make()
