"""A connection to the registry, of whoever has dialled it: a node's witness, or a visitor."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from chatproto.gate import Gate
from chatproto.link import FrameLink, Link, Turn
from chatproto.registry.messages import Beat, encode

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

_BEAT = encode(Beat())


class DialledHeard(Protocol[M_contra]):
    """Who hears a link.

    Attributes:
        heartbeat_s: after so long each side says that it lives.
        suspect_s: a link that is silent for so long is aborted.
    """

    heartbeat_s: float
    suspect_s: float

    def link_made(self, link: "DialledLink[Any]") -> None:
        """Hear that a link is connected."""

    def link_lost(self, link: "DialledLink[Any]", reason: str) -> None:
        """Hear that a link is connected no longer."""

    def link_received(self, link: "DialledLink[Any]", message: M_contra) -> None:
        """Hear what came.

        Raises:
            WireError: it does not belong there.
        """


class DialledLink(FrameLink, Generic[M]):
    """One connection to the registry.

    Attributes:
        number: of the try that made it.
    """

    def __init__(
        self,
        number: int,
        heard: DialledHeard[M],
        decode: Callable[[bytes], M],
        turn: Turn,
        clock: IReactorTime,
        backlog_bytes_max: int,
        frame_bytes_max: int,
        gate: Gate[Link],
    ) -> None:
        """Make a link that is not connected yet; what comes is handed on as `decode` reads it."""
        super().__init__(turn, clock, backlog_bytes_max, frame_bytes_max, gate)
        self.number = number
        self._heard_by = heard
        self._decode = decode

    def connectionMade(self) -> None:
        """Have the first word said, and begin to watch over the registry."""
        super().connectionMade()
        # Whoever dials knows whom it has reached.
        self.introduced()
        self._heard_by.link_made(self)
        if self.open:
            self.start_heartbeat(self._heard_by.heartbeat_s, self._heard_by.suspect_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        self._heard_by.link_lost(self, reason.getErrorMessage())

    def frameReceived(self, frame: bytes) -> None:
        """Hand a message on."""
        self._heard_by.link_received(self, self._decode(frame))

    def ping(self) -> None:
        """Say that this side lives."""
        self.send(_BEAT)
