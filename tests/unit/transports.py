"""Transports and sockets that remember what is asked of them."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import StringTransport
from zope.interface import implementer


class Socket(socket.socket):
    """A socket that takes as much as a test says: a number of bytes, or an error; everything when nothing is said."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX)
        self.taken: list[bytes] = []
        self.answers: list[int | Exception] = []

    def send(self, data: bytes, *flags: Any) -> int:  # type: ignore[override]
        answer = self.answers.pop(0) if self.answers else len(data)
        if isinstance(answer, Exception):
            raise answer
        self.taken.append(bytes(data[:answer]))
        return answer


class Transport(StringTransport):
    """Remembers each write, and what is asked of it, in order."""

    def __init__(self, taken: list[bytes] | None = None) -> None:
        super().__init__()
        self.writes: list[bytes] = [] if taken is None else taken
        self.calls: list[str] = []
        self.during_write: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))
        if self.during_write is not None:
            call, self.during_write = self.during_write, None
            call()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        if not streaming:
            # As every transport of Twisted does, at once.
            producer.resumeProducing()

    def loseConnection(self) -> None:
        assert self.producer is None, "no transport closes while a producer is registered"
        self.calls.append("lose")

    def loseWriteConnection(self) -> None:
        assert self.producer is None, "no transport ends its half while a producer is registered"
        self.calls.append("lose write")

    def abortConnection(self) -> None:
        self.calls.append("abort")

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")


@implementer(ISystemHandle)
class SocketTransport(Transport):
    """A transport whose socket may be written to directly; what it is given goes out when a test says so."""

    def __init__(self, handle: Any) -> None:
        super().__init__(getattr(handle, "taken", None))
        self.handle = handle

    def getHandle(self) -> Any:
        return self.handle

    def drained(self) -> None:
        """The peer has taken all there was; a pull producer is asked for more."""
        assert not self.streaming
        self.producer.resumeProducing()
