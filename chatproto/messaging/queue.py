"""Messages on their way to one receiver: kept in order, sent as far as it may have them, each ended once. Pure.

The loosely coupled communication of the distributed design (seed 003): the sender goes on at once, and hears later
of an acknowledgement or of a negative one; each message has its time. The order is first in, first out; where
priorities are given, the higher one goes first, and that order holds among equals.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from chatproto.errors import BacklogFull, TimedOut, Unacknowledged, Unreachable

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class QueueLimits:
    """The ceilings of a queue.

    Attributes:
        queue_max: what may wait to be sent or acknowledged, counted together; beyond it nothing is queued.
        queue_bytes_max: the same, in bytes.
        in_flight_max: messages sent before the first of them is acknowledged; more wait to be sent. With 1, sender and
            receiver take turns.
        in_flight_bytes_max: the same, in bytes; a longer message goes alone.
    """

    queue_max: int = 1000
    queue_bytes_max: int = 1024 * 1024
    in_flight_max: int = 64
    in_flight_bytes_max: int = 256 * 1024


@dataclass(frozen=True)
class Ended(Generic[K]):
    """A message that ended without an answer, and why."""

    key: K
    error: Unacknowledged


@dataclass
class _Letter(Generic[K]):
    frame: bytes
    place: tuple[int, int, K]
    time: tuple[float, int, K]
    again: bool
    in_flight: bool = False
    sent: bool = False


class SendQueue(Generic[K]):
    """What waits to be sent, and what was sent and waits for its answer.

    Every message that `put` took ends exactly once: `answered` is true of it, `withdraw` is, or it is among what
    `tick`, `lost` or `give_up` return. What ended makes room for the next in the window, so ask `due` after each.
    """

    def __init__(self, limits: QueueLimits | None = None) -> None:
        """Start empty."""
        self._limits = limits or QueueLimits()
        self._letters: dict[K, _Letter[K]] = {}
        self._bytes = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._numbers = 0
        # Sorted, so that the first is at hand, and what ends before its turn is found by bisection: what to send next,
        # by priority, and what runs out next, by deadline; then by number, which is unique, so keys need no order.
        self._places: list[tuple[int, int, K]] = []
        self._times: list[tuple[float, int, K]] = []

    def __len__(self) -> int:
        return len(self._letters)

    def __contains__(self, key: object) -> bool:
        return key in self._letters

    # In

    def put(self, key: K, frame: bytes, deadline: float, *, priority: int = 0, again: bool = False) -> None:
        """Queue a message.

        Args:
            key: by which it is answered; no other message that waits has it.
            frame: its bytes on the link.
            deadline: when its time is over, whether it was sent or not; on the clock of `tick`, finite.
            priority: a message with a higher one is sent before those that wait with a lower one.
            again: whether it is sent again, under the same key, over the next link where one ended before the
                answer. Say so only where the receiver knows a message that it has had.

        Raises:
            BacklogFull: there is no room for it.
        """
        assert key not in self._letters, "a key names one message"
        limits = self._limits
        if len(self) >= limits.queue_max or self._bytes + len(frame) > limits.queue_bytes_max:
            raise BacklogFull(f"{len(self)} messages of {self._bytes} bytes wait already")
        self._numbers += 1
        number = self._numbers
        letter = _Letter(frame, (-priority, number, key), (deadline, number, key), again)
        self._letters[key] = letter
        self._bytes += len(frame)
        insort(self._places, letter.place)
        insort(self._times, letter.time)

    # Out

    def due(self) -> list[bytes]:
        """Return the frames to be sent now, in order; to be asked only while there is a link."""
        frames = []
        while self._places:
            letter = self._letters[self._places[0][-1]]
            if not self._window_takes(letter):
                break
            del self._places[0]
            letter.in_flight = letter.sent = True
            self._in_flight += 1
            self._in_flight_bytes += len(letter.frame)
            frames.append(letter.frame)
        return frames

    def _window_takes(self, letter: _Letter[K]) -> bool:
        limits = self._limits
        return not self._in_flight or (
            self._in_flight < limits.in_flight_max
            and self._in_flight_bytes + len(letter.frame) <= limits.in_flight_bytes_max
        )

    # Ends

    def answered(self, key: K) -> bool:
        """Take an acknowledgement or a negative one; return whether a message that was sent waited for it.

        An answer that is late, or comes twice, or to what was never sent, answers nothing.
        """
        letter = self._letters.get(key)
        if letter is None or not letter.sent:
            return False
        self._end(key)
        return True

    def withdraw(self, key: K) -> bool:
        """Forget a message, sent or not; return whether there was one."""
        if key not in self._letters:
            return False
        self._end(key)
        return True

    def tick(self, now: float) -> list[Ended[K]]:
        """End what has had its time."""
        ended = []
        while self._times and self._times[0][0] <= now:
            key = self._times[0][-1]
            ended.append(Ended(key, TimedOut("not acknowledged in time", sent=self._letters[key].sent)))
            self._end(key)
        return ended

    def next_wakeup(self) -> float | None:
        """Return when `tick` is to be asked next; None where nothing waits."""
        return self._times[0][0] if self._times else None

    def lost(self) -> list[Ended[K]]:
        """Take that the link is gone: end what was sent, but for what goes again; what was not sent waits on."""
        for letter in self._letters.values():
            if letter.in_flight and letter.again:
                letter.in_flight = False
                insort(self._places, letter.place)
        ended = self._drop([key for key, letter in self._letters.items() if letter.in_flight])
        self._in_flight = self._in_flight_bytes = 0
        return ended

    def give_up(self) -> list[Ended[K]]:
        """End everything: there is no link, and none is waited for."""
        return self._drop(list(self._letters))

    def _drop(self, keys: list[K]) -> list[Ended[K]]:
        ended = [Ended(key, Unreachable("no connection", sent=self._letters[key].sent)) for key in keys]
        for key in keys:
            self._end(key)
        return ended

    def _end(self, key: K) -> None:
        letter = self._letters.pop(key)
        del self._times[bisect_left(self._times, letter.time)]
        self._bytes -= len(letter.frame)
        if letter.in_flight:
            self._in_flight -= 1
            self._in_flight_bytes -= len(letter.frame)
        else:
            del self._places[bisect_left(self._places, letter.place)]
