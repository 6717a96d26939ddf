"""A connection to the registry, of whoever has dialled it: a node's witness, or a visitor."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from chatproto.gate import Gate
from chatproto.link import Link, Turn
from chatproto.registry.messages import Beat, encode
from chatproto.trust.ending import tls_trouble
from chatproto.trust.interface import Trust
from chatproto.trust.link import GuardedLink
from chatproto.trust.proof import REGISTRY

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

_BEAT = encode(Beat())
_WITHOUT_A_WORD = "it hung up without a word, as one that speaks TLS does to who speaks none: is tls: meant, or --tls?"


class DialledHeard(Protocol[M_contra]):
    """Who hears a link.

    Attributes:
        heartbeat_s: after so long each side says that it lives.
        suspect_s: a link that is silent for so long is aborted.
    """

    heartbeat_s: float
    suspect_s: float

    def link_made(self, link: "DialledLink[Any]") -> None:
        """Hear that a link is connected; nothing may be said on it yet."""

    def link_admitted(self, link: "DialledLink[Any]") -> None:
        """Hear that a link may be spoken on."""

    def link_lost(self, link: "DialledLink[Any]", reason: str) -> None:
        """Hear that a link is connected no longer."""

    def link_received(self, link: "DialledLink[Any]", message: M_contra) -> None:
        """Hear what came.

        Raises:
            WireError: it does not belong there.
        """


class DialledLink(GuardedLink, Generic[M]):
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
        trust: Trust,
    ) -> None:
        """Make a link that is not connected yet; what comes is handed on as `decode` reads it."""
        super().__init__(REGISTRY, True, trust, turn, clock, backlog_bytes_max, frame_bytes_max, gate)
        self.number = number
        self._heard_by = heard
        self._decode = decode
        self._answered = False

    def linked(self) -> None:
        """Tell."""
        # Whoever dials knows whom it has reached.
        self.introduced()
        self._heard_by.link_made(self)

    def admitted(self) -> None:
        """Have the first word said, and begin to watch over the registry."""
        self._heard_by.link_admitted(self)
        self.start_heartbeat(self._heard_by.heartbeat_s, self._heard_by.suspect_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        if not self._answered and reason.check(ConnectionDone) and not ISSLTransport.providedBy(self.transport):
            why = _WITHOUT_A_WORD
        else:
            why = tls_trouble(reason) or reason.getErrorMessage()
        self._heard_by.link_lost(self, why)

    def dataReceived(self, data: bytes) -> None:
        """Note that there was something; see `FrameLink`."""
        self._answered = True
        super().dataReceived(data)

    def messageReceived(self, frame: bytes) -> None:
        """Hand a message on."""
        self._heard_by.link_received(self, self._decode(frame))

    def ping(self) -> None:
        """Say that this side lives."""
        self.send(_BEAT)
