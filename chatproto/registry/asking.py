"""A visitor's link to the registry, dialled again and again, and the requests that wait for their answer."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.dialler import Backoff, Dialler
from chatproto.errors import (
    BacklogFull,
    RegistryRefused,
    RegistryStopped,
    RegistryUnanswered,
    Rejected,
    TimedOut,
    Unreachable,
    WireError,
)
from chatproto.gate import Gate
from chatproto.link import Link, Turn
from chatproto.messaging import QueueLimits, Sender
from chatproto.registry.link import DialledLink
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
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust

RETRY_S_MIN = 0.05
RETRY_S_MAX = 1.0
PATIENCE_S = 1.0
"""A try to connect that takes so long is given up, and so is a registry that is silent for so long at first."""

HEARTBEAT_S = 0.1
STOP_S_MAX = 1.0
BACKLOG_BYTES_MAX = 8 * 1024 * 1024
REQUESTS = QueueLimits(1024, BACKLOG_BYTES_MAX, 1024, BACKLOG_BYTES_MAX)
"""What may wait for its answer, all together; none waits for another."""

VisitorLink = DialledLink[ToVisitor]

log = Logger()

Heard = Found | Asked | Changed | Told
"""What the registry says that answers no single request."""


class VisitHeard(Protocol):
    """Who hears what comes over a visitor's link."""

    def entered(self) -> None:
        """Hear that the registry has let this visitor in, and knows nothing of what was asked over earlier links."""

    def heard(self, message: Heard) -> None:
        """Take what answers no single request; `Found` is a page for a watch."""


class Asking:
    """Asks the registry over one link at a time, and matches answers by number.

    Attributes:
        up: whether the registry has let this visitor in, over the present link.
        running: whether it was started, and not stopped since.
        heartbeat_s: how often to beat until the registry has said how often.
        suspect_s: a registry that is silent for so long at first is given up.
    """

    heartbeat_s = HEARTBEAT_S
    suspect_s = PATIENCE_S

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        dice: random.Random,
        turn: Turn,
        who: str,
        heard: VisitHeard,
        tally: Tally,
        trust: Trust = BELIEVING,
    ) -> None:
        """Make one that is not started; see `RegistryClient`."""
        self.up = self.running = False
        self._clock = clock
        self._turn = turn
        self._who = who
        self._heard = heard
        self._trust = trust
        self._gate: Gate[Link] = Gate("registry", tally)
        self._backoff = Backoff(RETRY_S_MIN, RETRY_S_MAX)
        self._dialler = Dialler(endpoint, self._make_link, self._failed, clock, dice, PATIENCE_S, self._backoff)
        self._link: VisitorLink | None = None
        # Why there is no link, as far as the last try tells.
        self._trouble = ""
        self._up_since = 0.0
        self._numbers = 0
        self._requests: Sender[int, Any] = Sender(clock, REQUESTS)
        # What was found, of which more is to come.
        self._pages: dict[int, list[Registration]] = {}
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
        self._requests.closed()
        self._requests.give_up()
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
        number = self.number()
        asking = self._requests.send(number, encode(make(number)), timeout_s, again=repeatable)
        return asking.addErrback(self._unanswered, timeout_s).addBoth(self._forget_pages, number)

    def _unanswered(self, failure: Failure, timeout_s: float) -> Failure:
        error = failure.value
        if not self.running:
            return Failure(RegistryStopped("the client of the registry is stopped"))
        if isinstance(error, Rejected):
            return Failure(RegistryRefused(error.reason, REASONS.get(error.reason, "")))
        if isinstance(error, BacklogFull):
            return Failure(RegistryRefused("busy", "too many requests wait for their answer"))
        if isinstance(error, TimedOut):
            why = "" if self.up or not self._trouble else f": {self._trouble}"
            return Failure(RegistryUnanswered(f"the registry has not answered within {timeout_s:g} s{why}"))
        if isinstance(error, Unreachable):
            return Failure(RegistryUnanswered("the link to the registry is lost"))
        return failure

    def _forget_pages(self, answer: Any, number: int) -> Any:
        self._pages.pop(number, None)
        return answer

    def say(self, message: Request | Answer | Reject) -> bool:
        """Say something that nobody waits for the answer of; return whether there is a link."""
        if self.up and self._link is not None:
            self._link.send(encode(message))
            return True
        return False

    # From the link

    def _make_link(self, number: int) -> VisitorLink:
        limits = BACKLOG_BYTES_MAX, VISITOR_FRAME_BYTES_MAX
        guarded = self._gate, self._trust
        return DialledLink(number, self, decode_to_visitor, self._turn, self._clock, *limits, *guarded)

    def _failed(self, reason: str, *, refused: bool = False) -> None:
        self._trouble = reason
        if self._backoff.failures == 1:
            log.warn("no link to the registry ({reason}): trying again and again", reason=reason)

    def link_made(self, link: VisitorLink) -> None:
        """Hear that a link is connected."""
        if not self._dialler.made_by(link.number):
            link.abort()
            return
        self._link = link

    def link_admitted(self, link: VisitorLink) -> None:
        """Hear that a link may be spoken on."""
        link.send(encode(Enter(VERSION, self._who)))

    def link_lost(self, link: VisitorLink, reason: str) -> None:
        """Hear that a link is connected no longer."""
        if link is not self._link:
            return
        was_up, self.up = self.up, False
        self._link = None
        self._pages.clear()
        if was_up:
            self._backoff.lasted(self._clock.seconds() - self._up_since)
        self._dialler.again(self._backoff())
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)
            return
        self._failed(reason)
        self._requests.closed()

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
            self._requests.acknowledged(message.number, message.count)
        elif isinstance(message, Answered):
            self._requests.acknowledged(message.number, message.payload)
        elif isinstance(message, Failed):
            self._requests.rejected(message.number, message.code)
        elif isinstance(message, Found) and message.number in self._requests:
            self._find(message)
        else:
            self._heard.heard(message)

    def _enter(self, link: VisitorLink, entered: Entered) -> None:
        if not 0 < entered.heartbeat_s < entered.suspect_s:
            raise WireError("a heartbeat that is none")
        link.start_heartbeat(entered.heartbeat_s, entered.suspect_s)
        self.up, self._up_since = True, self._clock.seconds()
        self._requests.opened(link.send)
        self._heard.entered()

    def _find(self, found: Found) -> None:
        pages = self._pages.setdefault(found.number, [])
        pages += found.registrations
        if not found.more:
            self._requests.acknowledged(found.number, pages)
