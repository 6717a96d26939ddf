"""Request and reply over a link: whoever asks hears the answer, or at once that none will come."""

from collections.abc import Callable
from typing import Generic

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from chatproto.errors import Unreachable
from chatproto.messaging.queue import QueueLimits
from chatproto.messaging.sending import Sender, V


class Requests(Generic[V]):
    """Asks the other side of a link; an answer, of type `V`, has the number of its request.

    What COMET calls tightly coupled communication: without a link, or once it ends, the answer is negative, and nothing
    is asked again. With `in_flight_max=1` the two sides take turns; with more, whoever asks waits for its own answer
    only.
    """

    def __init__(self, clock: IReactorTime, limits: QueueLimits | None = None) -> None:
        """Make one that has no link yet."""
        self._sender: Sender[int, V] = Sender(clock, limits)
        self._number = 0

    def __len__(self) -> int:
        return len(self._sender)

    def ask(self, make: Callable[[int], bytes], timeout_s: float) -> "Deferred[V]":
        """Ask what `make` makes of a number: the bytes of a request; called back with the answer.

        It may be cancelled: the answer is nobody's then.

        Fails with one of `DeliveryError`: `BacklogFull`; `Rejected`, if the other side refuses; `TimedOut`, if there
        is no answer within `timeout_s`; `Unreachable`.
        """
        if not self._sender.up:
            return fail(Unreachable("no connection", sent=False))
        self._number += 1
        return self._sender.send(self._number, make(self._number), timeout_s)

    # From the link

    def opened(self, write: Callable[[bytes], None]) -> None:
        """Hear that there is a link that takes requests, and how to write one to it."""
        self._sender.opened(write)

    def closed(self) -> None:
        """Hear that the link is gone."""
        self._sender.closed()
        self._sender.give_up()

    def answered(self, number: int, answer: V) -> bool:
        """Hear an answer; return whether somebody waited for it."""
        return self._sender.acknowledged(number, answer)

    def rejected(self, number: int, reason: str) -> bool:
        """Hear a negative answer; return whether somebody waited for it."""
        return self._sender.rejected(number, reason)
