"""An echo on the very frames, handshake and web server that the page has, for conformance suites to be let loose on.

    python -m tests.bench.conformance 9001

serves `ws://127.0.0.1:9001/ws` until it is interrupted. docs/testing.md says how the suite is run against it.
"""

import sys
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import Protocol

from chatproto.chat.settings import ChatSettings
from chatproto.gate import Limits
from chatproto.gateway import PageSettings, frames
from chatproto.gateway.frames import Closed, Failed, FrameReader, Message, Ping
from chatproto.gateway.page import PageFactory
from chatproto.gateway.websocket import WebSocketStream
from chatproto.link import Turn
from chatproto.tally import Tally

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""The suite's largest are of 16 MiB."""


class Echo(Protocol):
    """Says everything back."""

    transport: Any

    def connectionMade(self) -> None:
        self._reader = FrameReader(MESSAGE_BYTES_MAX)
        self._stream = WebSocketStream(self.transport)

    def dataReceived(self, data: bytes) -> None:
        for event in self._reader.feed(data):
            if isinstance(event, Message):
                self.transport.write(frames.frame(frames.TEXT if event.text else frames.BINARY, event.data))
            elif isinstance(event, Ping):
                self._stream.control(frames.PONG, event.payload)
            elif isinstance(event, Closed):
                self._stream.heard_end(event.code)
                self._stream.loseConnection()
            elif isinstance(event, Failed):
                self._stream.failed(event.code)
                self._stream.loseConnection()


class EchoFactory(PageFactory):
    """Serves echoes instead of clients."""

    def make_websocket(self) -> Echo:  # type: ignore[override]
        return Echo()


class Clients:
    """As much of a node as the web server asks for."""

    def __init__(self) -> None:
        self.server = self
        self.settings = ChatSettings()
        self.limits = Limits

    def open_gate(self, door: str) -> None:
        """Everybody gets in."""


reactor: Any = installed

if __name__ == "__main__":
    clients: Any = Clients()
    factory = EchoFactory(PageSettings(""), clients, list, Turn(reactor), reactor, Tally())
    reactor.listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
    reactor.run()
