"""The two ends of a registry's link, without a network."""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.logger import ILogObserver, LogEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.link import FrameLink
from chatproto.registry.messages import FRAME_BYTES_MAX, Message
from chatproto.wire import FrameBuffer
from tests.unit.transports import Transport
from tests.unit.turns import TurnClock


@implementer(ILogObserver)
class Events:
    """What was logged."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)

    def count(self, text: str) -> int:
        """Return how often a text was in it."""
        return sum(text in (event["log_format"] or "").format(**event) for event in self.events)

    def at(self, level: Any) -> int:
        """Return how much was at this level, or above."""
        return sum(event["log_level"] >= level for event in self.events)


class End:
    """A link on a transport that remembers, and the other side of it."""

    def __init__(
        self,
        link: FrameLink,
        clock: TurnClock,
        decode: Callable[[bytes], Message],
        host: str = "127.0.0.1",
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self.link = link
        self.clock = clock
        self.transport = Transport()
        self.transport.peerAddr = IPv4Address("TCP", host, 5)
        self._decode = decode
        self._read = 0
        self._frames = FrameBuffer(frame_bytes_max)
        link.makeConnection(self.transport)

    def sent(self) -> list[Message]:
        """Return what the link has sent since this was asked last."""
        self.clock.turn()
        data = b"".join(self.transport.writes[self._read :])
        self._read = len(self.transport.writes)
        return [self._decode(frame) for frame in self._frames.feed(data)]

    @property
    def calls(self) -> list[str]:
        return self.transport.calls

    def lose(self, reason: type[Exception] = ConnectionDone) -> None:
        self.link.connectionLost(Failure(reason()))

    def aborted(self) -> bool:
        """Whether the link was aborted by now; then it hears of it, as from a transport."""
        if "abort" not in self.calls:
            return False
        self.lose(ConnectionAborted)
        return True


class Disk:
    """Keeps what it is asked to, when a test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, Callable[[], None]]] = []
        self.state: bytes | None = None

    def keep(self, state: bytes, done: Callable[[], Any]) -> None:
        self.asked.append((state, done))

    def done(self) -> None:
        self.state, done = self.asked.pop(0)
        done()
