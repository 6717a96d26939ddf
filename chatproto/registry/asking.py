"""A visitor's link to the registry, dialled again and again, and the requests that wait for their answer."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.dialler import Backoff, Dialler
from chatproto.errors import RegistryRefused, RegistryStopped, RegistryUnanswered, WireError
from chatproto.link import FrameLink, Turn
from chatproto.registry.messages import REFUSALS, VERSION, Beat, Refused, encode
from chatproto.registry.names import REASONS, Registration
from chatproto.registry.requests import (
    VISITOR_FRAME_BYTES_MAX,
    Answer,
    Answered,
    Asked,
    Changed,
    Done,
    Enter,
    Entered,
    Failed,
    Found,
    Reject,
    Request,
    Told,
    ToVisitor,
    decode_to_visitor,
)

RETRY_S_MIN = 0.05
RETRY_S_MAX = 1.0
PATIENCE_S = 1.0
"""A try to connect that takes so long is given up, and so is a registry that is silent for so long at first."""

HEARTBEAT_S = 0.1
"""How often to beat until the registry has said how often."""

STOP_S_MAX = 1.0
BACKLOG_BYTES_MAX = 8 * 1024 * 1024
REQUESTS_MAX = 1024
"""Requests that wait for their answer, all together."""

log = Logger()

_BEAT = encode(Beat())

Heard = Found | Asked | Changed | Told
"""What the registry says that answers no single request."""


class VisitHeard(Protocol):
    """Who hears what comes over a visitor's link."""

    def entered(self) -> None:
        """Hear that the registry has let this visitor in, and knows nothing of what was asked over earlier links."""

    def heard(self, message: Heard) -> None:
        """Take what answers no single request; `Found` is a page for a watch."""


class VisitorLink(FrameLink):
    """One connection to the registry.

    Attributes:
        number: of the try that made it.
    """

    def __init__(self, number: int, asking: "Asking", turn: Turn, clock: IReactorTime) -> None:
        """Make a link that is not connected yet."""
        super().__init__(turn, clock, BACKLOG_BYTES_MAX, VISITOR_FRAME_BYTES_MAX)
        self.number = number
        self._asking = asking

    def connectionMade(self) -> None:
        """Enter, and begin to watch over the registry."""
        super().connectionMade()
        transport = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self._asking.link_made(self)
        if self.open:
            self.start_heartbeat(HEARTBEAT_S, PATIENCE_S)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        self._asking.link_lost(self, reason.getErrorMessage())

    def frameReceived(self, frame: bytes) -> None:
        """Hand a message on."""
        self._asking.link_received(self, decode_to_visitor(frame))

    def ping(self) -> None:
        """Say that this visitor lives."""
        self.send(_BEAT)


class _Waiting:
    """A request that is not answered yet."""

    def __init__(self, message: Request, answer: "Deferred[Any]", timer: IDelayedCall, *, repeatable: bool) -> None:
        self.message = message
        self.answer = answer
        self.timer = timer
        self.repeatable = repeatable
        self.sent = False
        self.found: list[Registration] = []


class Asking:
    """Asks the registry over one link at a time, and matches answers by number.

    Attributes:
        up: whether the registry has let this visitor in, over the present link.
        running: whether it was started, and not stopped since.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        dice: random.Random,
        turn: Turn,
        who: str,
        heard: VisitHeard,
    ) -> None:
        """Make one that is not started; see `RegistryClient`."""
        self.up = self.running = False
        self._clock = clock
        self._turn = turn
        self._who = who
        self._heard = heard
        self._backoff = Backoff(RETRY_S_MIN, RETRY_S_MAX)
        self._dialler = Dialler(endpoint, self._make_link, self._failed, clock, dice, PATIENCE_S, self._backoff)
        self._link: VisitorLink | None = None
        self._up_since = 0.0
        self._numbers = 0
        self._waiting: dict[int, _Waiting] = {}
        self._stopped: Deferred[None] | None = None

    @property
    def visit(self) -> int:
        """The number of the present link, which no other has; 0 while there is none."""
        return self._link.number if self._link is not None else 0

    def start(self) -> None:
        """Begin to dial."""
        self.running = True
        self._dialler.start()

    def stop(self) -> "Deferred[None]":
        """End the link, and dial no more; called back when it is gone."""
        self.running = self.up = False
        self._dialler.stop()
        for number in list(self._waiting):
            self._end(number, RegistryStopped("the client of the registry is stopped"))
        link = self._link
        if link is None:
            return succeed(None)
        self._stopped = Deferred()
        link.close()
        timer = self._clock.callLater(STOP_S_MAX, link.abort)

        def gone(_: None) -> None:
            if timer.active():
                timer.cancel()

        return self._stopped.addCallback(gone)

    def number(self) -> int:
        """Return a number for a request that was not used before."""
        self._numbers += 1
        return self._numbers

    def ask(self, make: Callable[[int], Request], timeout_s: float, *, repeatable: bool = True) -> "Deferred[Any]":
        """Ask now, or when there is a link.

        Args:
            make: makes the request with this number.
            timeout_s: how long the answer may take.
            repeatable: whether it is asked again if the link breaks: asked twice, it does what it does asked once.

        Returns:
            The count of `Done`, the registrations of `Found`, or the payload of `Answered`.
        """
        if not self.running:
            return fail(RegistryStopped("the client of the registry does not run"))
        if len(self._waiting) >= REQUESTS_MAX:
            return fail(RegistryRefused("busy", "too many requests wait for their answer"))
        number = self.number()

        def cancelled(_: object) -> None:
            self._drop(number)

        answer: Deferred[Any] = Deferred(cancelled)
        unanswered = RegistryUnanswered(f"the registry has not answered within {timeout_s:g} s")
        timer = self._clock.callLater(timeout_s, self._end, number, unanswered)
        waiting = self._waiting[number] = _Waiting(make(number), answer, timer, repeatable=repeatable)
        waiting.sent = self.say(waiting.message)
        return answer

    def say(self, message: Request | Answer | Reject) -> bool:
        """Say something that nobody waits for the answer of; return whether there is a link."""
        if self.up and self._link is not None:
            self._link.send(encode(message))
            return True
        return False

    def _end(self, number: int, outcome: Any) -> None:
        waiting = self._drop(number)
        if waiting is None:
            return
        if isinstance(outcome, Exception):
            waiting.answer.errback(outcome)
        else:
            waiting.answer.callback(outcome)

    def _drop(self, number: int) -> _Waiting | None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and waiting.timer.active():
            waiting.timer.cancel()
        return waiting

    # From the link

    def _make_link(self, number: int) -> VisitorLink:
        return VisitorLink(number, self, self._turn, self._clock)

    def _failed(self, reason: str, *, refused: bool = False) -> None:
        if self._backoff.failures == 1:
            log.warn("no link to the registry ({reason}): trying again and again", reason=reason)

    def link_made(self, link: VisitorLink) -> None:
        """Hear that a link is connected."""
        if not self._dialler.made_by(link.number):
            link.abort()
            return
        self._link = link
        link.send(encode(Enter(VERSION, self._who)))

    def link_lost(self, link: VisitorLink, reason: str) -> None:
        """Hear that a link is connected no longer."""
        if link is not self._link:
            return
        was_up, self.up = self.up, False
        self._link = None
        if was_up:
            self._backoff.lasted(self._clock.seconds() - self._up_since)
        self._dialler.again(self._backoff())
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)
            return
        self._failed(reason)
        for number, waiting in list(self._waiting.items()):
            waiting.found.clear()
            if waiting.sent and not waiting.repeatable:
                self._end(number, RegistryUnanswered("the link to the registry is lost"))

    def link_received(self, link: VisitorLink, message: ToVisitor) -> None:
        """Hear what came.

        Raises:
            WireError: it does not belong there.
        """
        if isinstance(message, Beat) or not self.running:
            return
        if isinstance(message, Refused):
            log.warn("the registry lets nobody in: {why}", why=REFUSALS.get(message.reason, message.reason))
            link.abort()
        elif isinstance(message, Entered) == self.up:
            raise WireError("it is entered once, and first")
        elif isinstance(message, Entered):
            self._enter(link, message)
        elif isinstance(message, Done):
            self._end(message.number, message.count)
        elif isinstance(message, Answered):
            self._end(message.number, message.payload)
        elif isinstance(message, Failed):
            self._end(message.number, RegistryRefused(message.code, REASONS.get(message.code, "")))
        elif isinstance(message, Found) and message.number in self._waiting:
            self._find(message)
        else:
            self._heard.heard(message)

    def _enter(self, link: VisitorLink, entered: Entered) -> None:
        if not 0 < entered.heartbeat_s < entered.suspect_s:
            raise WireError("a heartbeat that is none")
        link.start_heartbeat(entered.heartbeat_s, entered.suspect_s)
        self.up, self._up_since = True, self._clock.seconds()
        for waiting in self._waiting.values():
            waiting.sent = True
            link.send(encode(waiting.message))
        self._heard.entered()

    def _find(self, found: Found) -> None:
        waiting = self._waiting[found.number]
        waiting.found += found.registrations
        if not found.more:
            self._end(found.number, waiting.found)
