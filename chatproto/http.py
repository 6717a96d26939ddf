"""HTTP as it is answered here: one request a connection, without a body, in little time, behind a gate."""

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from chatproto.gate import Gate

REQUEST_S_MAX = 10.0
"""How long a connection lasts, from its beginning until its one answer is taken, however slowly it comes and goes."""

log = Logger()


class _Door(Protocol):
    gate: "Gate[RequestChannel]"
    clock: IReactorTime


class RequestChannel(HTTPChannel):
    """A connection, which is a stranger's until it ends: whoever belongs here asks at once.

    Its factory has the gate that it comes in by, and the clock of its deadline.
    """

    factory: "_Door"
    transport: Any

    def __init__(self) -> None:
        """Make a connection; a factory does."""
        super().__init__()
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Begin; where there are too many, one of them is dropped."""
        super().connectionMade()
        self._deadline = self.factory.clock.callLater(REQUEST_S_MAX, self.drop, "too-slow")
        no_room = self.factory.gate.came(self, getattr(self.transport.getPeer(), "host", None))
        if no_room is not None:
            channel, reason = no_room
            channel.drop(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be counted off."""
        super().connectionLost(reason)
        self.leave()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Answer one request only: who sends many, and reads no answer, would have all of them kept here."""
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def prolong(self, answer_s_max: float) -> None:
        """Have the answer to what was asked be taken within another span."""
        self._cancel_deadline()
        self._deadline = self.factory.clock.callLater(answer_s_max, self.drop, "too-slow")

    def drop(self, reason: str) -> None:
        """End at once, counted for a reason; see `Gate.drop`."""
        self._cancel_deadline()
        gate = self.factory.gate
        if gate.drop(reason, self.factory.clock.seconds()):
            peer = str(self.transport.getPeer())
            log.info("dropped at {door}: {reason}, {peer}", door=gate.door, reason=reason, peer=peer)
        self.transport.abortConnection()

    def leave(self) -> None:
        """Be no request any more: it is over, or has become something else."""
        self._cancel_deadline()
        self.factory.gate.went(self)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
