"""A queue on a link: whoever sends is told by a Deferred, and one timer watches over all that waits."""

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatproto.errors import DeliveryError, Rejected
from chatproto.messaging.queue import Ended, K, QueueLimits, SendQueue

V = TypeVar("V")


class Sender(Generic[K, V]):
    """Sends messages over whichever link there is, and waits for what is said of each.

    Messages have keys of type `K`, by which the other side answers; an acknowledgement brings a `V`, which may be None.
    Whoever has the link tells it of `opened` and `closed`, and of each answer that comes. What was queued while there
    is no link goes out over the next one, if it is there in time.
    """

    def __init__(self, clock: IReactorTime, limits: QueueLimits | None = None) -> None:
        """Make one that has no link yet."""
        self._clock = clock
        self._queue: SendQueue[K] = SendQueue(limits)
        self._waiting: dict[K, Deferred[V]] = {}
        self._write: Callable[[bytes], None] | None = None
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def up(self) -> bool:
        """Whether there is a link."""
        return self._write is not None

    def send(self, key: K, frame: bytes, timeout_s: float, *, priority: int = 0, again: bool = False) -> "Deferred[V]":
        """Send a message; called back with what the other side acknowledged it with.

        It may be cancelled: nobody waits for it then, and it is sent only if it was already.

        Args:
            key: see `SendQueue.put`, as for `priority` and `again`.
            frame: its bytes on the link.
            timeout_s: from now to the answer, be there a link or not.
            priority: the higher one goes first.
            again: whether it is sent over the next link, too, where one ended before the answer.

        Fails with one of `DeliveryError`: `BacklogFull`, `Rejected`, `TimedOut`, `Unreachable`.
        """
        try:
            self._queue.put(key, frame, self._clock.seconds() + timeout_s, priority=priority, again=again)
        except DeliveryError:
            return fail()
        waiting: Deferred[V] = Deferred(lambda cancelled: self._withdraw(key, cancelled))
        self._waiting[key] = waiting
        self._go_on()
        return waiting

    def _withdraw(self, key: K, cancelled: "Deferred[V]") -> None:
        if self._waiting.get(key) is cancelled:
            del self._waiting[key]
            self._queue.withdraw(key)
            self._go_on()

    # From the link

    def opened(self, write: Callable[[bytes], None]) -> None:
        """Hear that there is a link that takes messages, and how to write to it."""
        self._write = write
        self._go_on()

    def closed(self) -> None:
        """Hear that the link is gone."""
        self._write = None
        self._end(self._queue.lost())

    def acknowledged(self, key: K, value: V) -> bool:
        """Hear an acknowledgement; return whether somebody waited for it."""
        waiting = self._answered(key)
        if waiting is not None:
            waiting.callback(value)
        return waiting is not None

    def rejected(self, key: K, reason: str) -> bool:
        """Hear a negative acknowledgement; return whether somebody waited for it."""
        waiting = self._answered(key)
        if waiting is not None:
            waiting.errback(Rejected(reason))
        return waiting is not None

    def _answered(self, key: K) -> "Deferred[V] | None":
        if not self._queue.answered(key):
            return None
        waiting = self._waiting.pop(key)
        self._go_on()
        return waiting

    def give_up(self) -> None:
        """End everything that waits: there is no link, and none is waited for."""
        assert not self.up, "what was sent may still be answered"
        self._end(self._queue.give_up())

    def _go_on(self) -> None:
        if self._write is not None:
            frames = self._queue.due()
            if frames:
                self._write(b"".join(frames))
        self._set_timer(self._queue.next_wakeup())

    def _end(self, ended: list[Ended[K]]) -> None:
        # All are out before the first is told, for whoever is told may send, or cancel another one.
        told = [(self._waiting.pop(end.key), end.error) for end in ended]
        self._go_on()
        for waiting, error in told:
            if not waiting.called:
                waiting.errback(error)

    # Time

    def _set_timer(self, at: float | None) -> None:
        timer = self._timer
        if timer is not None and (at is None or at < timer.getTime()):
            timer.cancel()
            timer = None
        if timer is None and at is not None:
            # One that is too early looks again: cheaper than to move it for each answer.
            timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._due)
        self._timer = timer

    def _due(self) -> None:
        self._timer = None
        self._end(self._queue.tick(self._clock.seconds()))
