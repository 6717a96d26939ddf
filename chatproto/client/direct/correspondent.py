"""Somebody whom private messages are sent to: directly while that works, relayed while it does not."""

import math
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.client import requests
from chatproto.client.direct.link import DirectLink
from chatproto.client.direct.messages import Private
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.events import Delivered
from chatproto.client.outbox import QueueFull
from chatproto.errors import BacklogFull, DeliveryError
from chatproto.link import Turn
from chatproto.messaging import QueueLimits, Sender

log = Logger()

Call = Callable[[str], "Deferred[None]"]
"""Calls an identity; fires when the link is open, or fails, whatever the reason."""

Relay = Callable[[str, str, str], "Deferred[int]"]
"""Has a server relay: an id, to whom, what; called back with how many sessions it reached."""


class Correspondent:
    """One identity, as far as messages to it go.

    Messages arrive in the order in which they were sent. So when one does not go through directly, all after it are
    relayed, too, and none goes directly again while a relayed one is under way.
    """

    def __init__(
        self, identity: str, call: Call, relay: Relay, turn: Turn, clock: IReactorTime, settings: DirectSettings
    ) -> None:
        """Know an identity, and no way to it yet.

        Args:
            identity: whom to write to.
            call: makes the connection, which is heard of as `opened`.
            relay: the other way.
            turn: of the reactor that all calls come from.
            clock: of all deadlines.
            settings: of the ceilings.
        """
        self.identity = identity
        self._call = call
        self._relay = relay
        self._turn = turn
        self._clock = clock
        self._settings = settings
        limits = QueueLimits(queue_max=settings.queue_max, queue_bytes_max=settings.queue_bytes_max)
        self._sender: Sender[str, None] = Sender(clock, limits)
        self._link: DirectLink | None = None
        self._calling: Deferred[None] | None = None
        self._relaying = 0
        self._relay_until = -math.inf
        self._giving_up = False

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost if this were forgotten, but for the memory of a failure."""
        return self._link is None and self._calling is None and not self._relaying and not len(self._sender)

    async def send(self, id: str, content: str) -> Delivered:
        """Send a message; see `ChatClient.send_direct`."""
        frame = requests.line_of(Private(id, content))
        if not self._relaying and self._clock.seconds() >= self._relay_until:
            going = self._sender.send(id, frame, self._settings.answer_s_max)
            self._find()
            try:
                await going
            except BacklogFull as full:
                raise QueueFull(str(full)) from None
            except DeliveryError as error:
                log.info("relaying to {identity}: {error}", identity=self.identity, error=str(error))
                self._relay_from_here_on()
            else:
                return Delivered(direct=True, sessions=1)
        self._relaying += 1
        try:
            return Delivered(direct=False, sessions=await self._relay(id, self.identity, content))
        finally:
            self._relaying -= 1

    # The way

    def opened(self, link: DirectLink) -> None:
        """Hear that there is a link to this identity, whoever called."""
        if self._link is None and not self._giving_up:
            self._link = link
            # If it is they who called, there is a way after all.
            self._relay_until = -math.inf
            self._sender.opened(link.send)

    def lost(self, link: DirectLink) -> None:
        """Hear that a link is open no longer."""
        if link is self._link:
            self._link = None
            self._sender.closed()
            self._sender.give_up()

    def answered(self, link: DirectLink, id: str, code: str) -> None:
        """Hear what has become of a message on a link."""
        if link is not self._link:
            return
        if code:
            self._sender.rejected(id, code)
        else:
            self._sender.acknowledged(id, None)

    def give_up(self) -> None:
        """Have nothing go directly that waits: it is relayed, in order."""
        self._giving_up = False
        calling, self._calling = self._calling, None
        if calling is not None:
            calling.cancel()
        link = self._link
        if link is not None:
            link.abort()
        else:
            self._sender.give_up()

    def _find(self) -> None:
        if self._link is None and self._calling is None and len(self._sender):
            calling = self._calling = self._call(self.identity)
            calling.addBoth(self._called, calling)
            calling.addErrback(lambda failure: log.failure("giving up a direct connection failed", failure))

    def _called(self, result: "Failure | None", calling: "Deferred[None]") -> None:
        if calling is self._calling:
            self._calling = None
        if isinstance(result, Failure):
            log.info("no direct way to {identity}: {why}", identity=self.identity, why=result.getErrorMessage())
            if self._link is None:
                self._sender.give_up()

    def _relay_from_here_on(self) -> None:
        self._relay_until = self._clock.seconds() + self._settings.retry_s
        self._giving_up = True
        # Not at once: others have failed with this one, and are to be told of it, and relayed, in order.
        self._turn.at_end(self.give_up)
