"""A client's WebSocket: to the network a protocol, to the client's link a stream like any other."""

from typing import Any

from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.frames import Opcode
from zope.interface import implementer

from chatproto.chat.protocol import ClientLink
from chatproto.gateway import frames
from chatproto.gateway.frames import Closed, Failed, FrameReader, Message, Ping
from chatproto.link import ILinkTransport
from chatproto.wire import TokenBucket


class PageLink(ClientLink):
    """The link of a client that came by a WebSocket.

    It differs from others in time only. A client on a WebSocket cannot say `hello` before it has heard that it is
    open, which may take longer than a client of a bare stream is waited for. And every one is asked whether it lives,
    by a ping of the WebSocket: a browser answers that itself, also while its page sleeps.
    """

    transport: "WebSocketStream"  # type: ignore[assignment]

    @property
    def greet_after_s(self) -> float:
        """How long a first line is waited for."""
        return self._server.settings.handshake_s_max

    def ping(self) -> None:
        """Ask whether the client lives."""
        self.transport.control(frames.PING, b"")

    def lineTooLong(self) -> None:
        """Tell, and end, with the code that says so."""
        self.transport.failed(frames.TOO_BIG)
        super().lineTooLong()

    def _greet(self) -> None:
        super()._greet()
        if self.open:
            settings = self._server.settings
            self.start_heartbeat(settings.heartbeat_s, settings.silence_s_max)


class WebSocketStream:
    """What a link takes for its transport: all that it writes at once leaves as one message of text."""

    def __init__(self, below: ILinkTransport) -> None:
        """Write to a transport below."""
        self._below = below
        self._clear = True
        self._code: int = frames.NORMAL
        self._failed = self._said_end = self._heard_end = False

    def getPeer(self) -> IAddress:
        """Return whom it is from."""
        return self._below.getPeer()

    # Out

    def write(self, data: bytes) -> None:
        """Send whole lines."""
        if not self._said_end:
            self._below.write(frames.frame(frames.TEXT, data.removesuffix(b"\n")))

    def control(self, opcode: Opcode, payload: bytes) -> None:
        """Send a control frame, unless the client does not read: what it does not take must not pile up."""
        if self._clear and not self._said_end:
            self._below.write(frames.frame(opcode, payload))

    def loseConnection(self) -> None:
        """Say that this is the end, and wait until the other side says so too; the link waits for so long only."""
        if not self._said_end:
            self._said_end = True
            self._below.write(frames.closing(self._code))
        if self._heard_end or (self._failed and ISSLTransport.providedBy(self._below)):
            self._below.loseConnection()
        elif self._failed:
            # What it still sends is not read as frames any more, but has to be read: a connection closed with
            # unread bytes is reset, and the other side may never see why.
            self._below.loseWriteConnection()

    def heard_end(self, code: int | None) -> None:
        """Hear that the other side says that this is the end; it is answered by `loseConnection`."""
        self._heard_end = True
        self._code = code or frames.NORMAL
        if self._said_end:
            self._below.loseConnection()

    def failed(self, code: int) -> None:
        """Hear that the other side broke the protocol: `loseConnection` tells it this code, and waits for no answer."""
        self._failed = True
        self._code = code

    def abortConnection(self) -> None:
        """End at once."""
        self._below.abortConnection()

    # In

    def pauseProducing(self) -> None:
        """Read no more."""
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._below.resumeProducing()

    # What the client takes

    def registerProducer(self, link: IPushProducer, streaming: bool) -> None:
        """Have a link told whether the client takes what it is sent."""
        self._below.registerProducer(_Gauge(self, link), streaming)

    def unregisterProducer(self) -> None:
        """Tell it no more."""
        self._below.unregisterProducer()

    def taken(self, *, clear: bool) -> None:
        """Hear whether the client has taken what was sent."""
        self._clear = clear


@implementer(IPushProducer)
class _Gauge:
    """Tells a stream, and the link above it, whether the client takes what it is sent."""

    def __init__(self, stream: WebSocketStream, link: IPushProducer) -> None:
        self._stream = stream
        self._link = link

    def pauseProducing(self) -> None:
        self._stream.taken(clear=False)
        self._link.pauseProducing()

    def resumeProducing(self) -> None:
        self._stream.taken(clear=True)
        self._link.resumeProducing()

    def stopProducing(self) -> None:
        self._link.stopProducing()


class WebSocket(Protocol):
    """Takes what a client sends after its WebSocket has been accepted, and hands its link the lines."""

    transport: Any

    def __init__(self, link: PageLink, clock: IReactorTime) -> None:
        """Serve a client whose link is `link`."""
        self._link = link
        self._clock = clock
        settings = link.factory.server.settings
        # A message is one line, with or without its end, or several that are no longer together.
        self._reader = FrameReader(settings.line_bytes_max + 1)
        # Frames that bring no line are the client's own doing: as many are read as lines would be.
        self._idle = TokenBucket(settings.rate_lines, settings.burst_lines)

    def connectionMade(self) -> None:
        """Begin."""
        self._stream = WebSocketStream(self.transport)
        self._link.makeConnection(self._stream)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the link."""
        self._link.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Read frames."""
        before = self._reader.frames
        lines: list[bytes] = []
        end: Closed | Failed | None = None
        for event in self._reader.feed(data):
            if isinstance(event, Ping):
                self._stream.control(frames.PONG, event.payload)
            elif not isinstance(event, Message):
                end = event
            elif event.text:
                lines.append(event.data if event.data.endswith(b"\n") else event.data + b"\n")
            else:
                end = Failed(frames.UNSUPPORTED, "lines are text")
                break
        # What brings no line, a pong, shows that the client lives.
        self._link.dataReceived(b"".join(lines))
        if end is not None:
            self._end(end)
            return
        wait_s = self._idle.take(self._reader.frames - before - len(lines), self._clock.seconds())
        if wait_s and self._link.open:
            self._link.hold_reading("frames")
            self._clock.callLater(wait_s, self._link.release_reading, "frames")

    def _end(self, end: Closed | Failed) -> None:
        if isinstance(end, Closed):
            self._stream.heard_end(end.code)
        elif self._link.open:
            if end.code == frames.TOO_BIG:
                self._link.lineTooLong()
            else:
                self._stream.failed(end.code)
                self._link.drop("bad-frame", end.reason, last=b"")
        self._link.close()
