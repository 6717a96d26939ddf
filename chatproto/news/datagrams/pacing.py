"""When the parts of items leave: a large one neither fills its reader's line nor holds up the others. Pure."""

import heapq
from collections import deque
from typing import Generic, NamedTuple, TypeVar

from chatproto.news.datagrams.messages import DATAGRAM_BYTES_MAX
from chatproto.news.datagrams.parcels import Parcel

T = TypeVar("T")

READER_BYTES_A_SECOND = 200_000.0
"""To one reader, as the seed gives a line."""

BURST_PARTS = 8
"""To one reader at once."""

ROUND_PARTS_MAX = 256
"""To all together before whatever else the process has to do is done."""


class Leaving(NamedTuple):
    """A part that is to be sent now."""

    reader: str
    parcel: Parcel
    part: int


class Done(NamedTuple, Generic[T]):
    """All of a parcel is sent, or it is not sent any more.

    Attributes:
        what: as given to `add`.
        whole: whether every part of it was sent.
    """

    what: T
    whole: bool


class _Queue(Generic[T]):
    __slots__ = ("index", "parcels")

    def __init__(self) -> None:
        self.parcels: deque[tuple[Parcel, T]] = deque()
        self.index = 0


class Pacing(Generic[T]):
    """What is to be sent to whom: one parcel after the other to one reader, readers in turn.

    How many wait is up to whoever adds: each comes with something of type `T` that is given back when it is done.
    """

    def __init__(self, reader_bytes_a_second: float = READER_BYTES_A_SECOND) -> None:
        """Begin with nothing to be sent."""
        self._part_s = DATAGRAM_BYTES_MAX / reader_bytes_a_second
        self._queues: dict[str, _Queue[T]] = {}
        # When somebody may be sent more; the number keeps those of one time in order.
        self._turns: list[tuple[float, int, str, _Queue[T]]] = []
        self._number = 0

    @property
    def waiting(self) -> int:
        """How many parcels are to be sent, or are being sent."""
        return sum(len(queue.parcels) for queue in self._queues.values())

    def add(self, reader: str, parcel: Parcel, what: T, now: float) -> None:
        """Have a parcel sent."""
        queue = self._queues.get(reader)
        if queue is None:
            queue = self._queues[reader] = _Queue()
            self._take_turn(now, reader, queue)
        queue.parcels.append((parcel, what))

    def forget(self, reader: str) -> list[Done[T]]:
        """Send nothing more to a reader; return what it would have been sent."""
        queue = self._queues.pop(reader, None)
        return [Done(what, False) for _, what in queue.parcels] if queue is not None else []

    def next_wakeup(self) -> float | None:
        """Return when `due` is to be asked; None if there is nothing to send."""
        while self._turns and self._queues.get(self._turns[0][2]) is not self._turns[0][3]:
            heapq.heappop(self._turns)
        return self._turns[0][0] if self._turns else None

    def due(self, now: float, unix: float) -> tuple[list[Leaving], list[Done[T]]]:
        """Return what is to be sent now, in order, and what is done with that.

        What has expired is not sent, nor the rest of it.

        Args:
            now: seconds of any clock that only goes forward.
            unix: the time of day.
        """
        leaving: list[Leaving] = []
        done: list[Done[T]] = []
        while len(leaving) < ROUND_PARTS_MAX and (due := self.next_wakeup()) is not None and due <= now:
            _, _, reader, queue = heapq.heappop(self._turns)
            before = len(leaving)
            while queue.parcels and len(leaving) - before < BURST_PARTS:
                self._next(reader, queue, unix, leaving, done)
            sent = len(leaving) - before
            if sent or queue.parcels:
                # Also where nothing waits: what is added next comes no sooner than its line has taken this.
                self._take_turn(now + self._part_s * sent, reader, queue)
            else:
                del self._queues[reader]
        return leaving, done

    def _next(self, reader: str, queue: _Queue[T], unix: float, leaving: list[Leaving], done: list[Done[T]]) -> None:
        parcel, what = queue.parcels[0]
        expired = not parcel.item.expires > unix
        if not expired:
            leaving.append(Leaving(reader, parcel, queue.index))
            queue.index += 1
        if expired or queue.index == parcel.count:
            queue.parcels.popleft()
            queue.index = 0
            done.append(Done(what, not expired))

    def _take_turn(self, at: float, reader: str, queue: _Queue[T]) -> None:
        self._number += 1
        heapq.heappush(self._turns, (at, self._number, reader, queue))
