"""Asks a node how it is, as the first line of a connection: that makes no session, and is answered by what serves."""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from chatproto.chat.messages import NONSENSE, Status, StatusAsked, encode
from chatproto.errors import ChatprotoError
from chatproto.trust.ending import tls_trouble

LINE_BYTES_MAX = 1024 * 1024

_status = msgspec.json.Decoder(Status)


class NotAnswered(ChatprotoError):
    """A node was reached that does not say how it is."""


class _Inquiry(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = LINE_BYTES_MAX
    transport: ITCPTransport

    def __init__(self) -> None:
        self.answered: Deferred[Status] = Deferred(lambda _: self._give_up())
        self._over = False

    def _give_up(self) -> None:
        self._over = True
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        """Ask."""
        self.sendLine(encode(StatusAsked()).rstrip(b"\n"))

    def lineReceived(self, line: bytes) -> None:
        """Take the answer."""
        if self._over:
            return
        self._give_up()
        try:
            status = _status.decode(line)
        except NONSENSE:
            self.answered.errback(NotAnswered("it does not speak this protocol"))
        else:
            self.answered.callback(status)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that there will be no answer."""
        if not self._over:
            self._over = True
            self.answered.errback(NotAnswered(tls_trouble(reason) or "it closed the connection"))


def inquire(endpoint: IStreamClientEndpoint) -> "Deferred[Status]":
    """Ask the node at an endpoint how it is.

    A process that was stopped takes connections and answers nothing: cancel it after a time of your own. It fails with
    `NotAnswered`, or as connecting does.
    """
    factory = Factory.forProtocol(_Inquiry)
    factory.noisy = False
    connecting: Deferred[Any] = endpoint.connect(factory)
    return connecting.addCallback(lambda inquiry: inquiry.answered)
