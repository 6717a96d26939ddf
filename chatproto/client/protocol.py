"""A client's link to a server: whole lines to typed messages."""

from typing import Any, Protocol

import msgspec
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.messages import Message, Ping, decode_server_line
from chatproto.client.settings import ClientSettings
from chatproto.errors import WireError
from chatproto.link import LineLink, Turn
from chatproto.trust.ending import tls_trouble

log = Logger()

_fields = msgspec.json.Decoder(dict[str, Any])
_ENDS = {ConnectionDone: "it closed the connection", ConnectionLost: "the connection broke"}


class Listens(Protocol):
    """Who hears what a link has to tell."""

    def link_made(self, link: "ServerLink") -> None:
        """Hear that it is connected."""

    def link_lost(self, link: "ServerLink", reason: str) -> None:
        """Hear that it is connected no longer."""

    def link_heard(self) -> None:
        """Hear that something came, be it part of a line."""

    def link_received(self, messages: list[Message]) -> None:
        """Hear what came, in order."""


class ServerLink(LineLink):
    """One connection to a server.

    Attributes:
        number: of the try that made it.
    """

    def __init__(
        self, number: int, listens: Listens, turn: Turn, clock: IReactorTime, settings: ClientSettings
    ) -> None:
        """Make a link that is not connected yet."""
        super().__init__(turn, clock, settings.backlog_bytes_max, settings.server_line_bytes_max)
        self.number = number
        self._listens = listens
        self._settings = settings

    def connectionMade(self) -> None:
        """Tell; hello is said by whoever hears it."""
        super().connectionMade()
        self._listens.link_made(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        words = next((words for kind, words in _ENDS.items() if reason.check(kind)), "")
        self._listens.link_lost(self, words or tls_trouble(reason) or reason.getErrorMessage())

    def dataReceived(self, data: bytes) -> None:
        """Take what came: a long line is heard long before it is there."""
        self._listens.link_heard()
        super().dataReceived(data)

    def linesReceived(self, lines: bytes) -> None:
        """Take whole lines; what is not known of a newer protocol is passed over."""
        messages: list[Message] = []
        for line in lines.split(b"\n")[:-1]:
            try:
                message = decode_server_line(line)
            except (WireError, RecursionError):
                log.debug("a line of the server is not of the protocol")
                continue
            if isinstance(message, Ping):
                self.send(msgspec.json.encode({**_fields.decode(line), "type": "pong"}) + b"\n")
            else:
                messages.append(message)
        self._listens.link_received(messages)

    def lineTooLong(self) -> None:
        """End: nothing after it could be understood."""
        log.warn(
            "a line of the server has more than {most} bytes; is this a chat server?",
            most=self._settings.server_line_bytes_max,
        )
        self.abort()


class ServerLinkFactory(Factory):
    """Makes the link of one try to connect."""

    noisy = False

    def __init__(
        self, number: int, listens: Listens, turn: Turn, clock: IReactorTime, settings: ClientSettings
    ) -> None:
        """Make one for the try of this number."""
        self._arguments = (number, listens, turn, clock, settings)

    def buildProtocol(self, addr: IAddress | None) -> ServerLink:
        """Make the link."""
        return ServerLink(*self._arguments)
