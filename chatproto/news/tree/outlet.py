"""What one follower is still to be sent: in which order, and how much of it at once. Pure.

Whatever waits is cut into chunks. Between two of them the higher priority passes; of `TURNS` chunks one goes to
whoever has waited longest, so that nobody starves. At most a window is unacknowledged, so that what is urgent finds
little before it on the way.
"""

from heapq import heappop, heappush
from typing import NamedTuple

from chatproto.errors import WireError
from chatproto.news.messages import CHUNK_BYTES_MAX

WINDOW_BYTES_MAX = 64 * 1024
"""Sent and not acknowledged, by default: at 200 KB/s, a third of a second."""

HEADER_BYTES = 256
"""What an item counts for in the window beyond its body, until it is acknowledged as a whole: about its description."""

LINK_BYTES_PER_S = 200_000
"""What a link of the tree takes, by the seed's sizing."""

LONG_WINDOW_BYTES_MAX = 512 * 1024
"""However long the way is."""

TURNS = 8
"""Of so many chunks, one goes to the lane that has waited longest."""


class Send(NamedTuple):
    """What to send next.

    Attributes:
        key: of the item.
        offset: in its body.
        size: bytes; 0 only where the item is announced.
        announces: whether it is the first of this item, to be sent as an `Announce`.
    """

    key: int
    offset: int
    size: int
    announces: bool


class _Parcel:
    """One item on its way to the follower."""

    __slots__ = ("announced", "available", "key", "order", "priority", "queued", "sent", "size", "taken")

    def __init__(self, key: int, order: int, priority: int, size: int, available: int, taken: int) -> None:
        self.key = key
        self.order = order
        self.priority = priority
        self.size = size
        self.available = available
        self.sent = self.taken = taken
        self.announced = False
        self.queued = False

    @property
    def waits(self) -> bool:
        return not self.announced or self.sent < self.available

    @property
    def unacknowledged(self) -> int:
        return self.sent - self.taken + (HEADER_BYTES if self.announced else 0)


class _Lane:
    """Parcels of one priority; the one that was offered first goes first, as far as it is there."""

    def __init__(self, turn: int) -> None:
        self.served = turn
        self._queue: list[tuple[int, _Parcel]] = []

    def push(self, parcel: _Parcel) -> None:
        if not parcel.queued:
            parcel.queued = True
            heappush(self._queue, (parcel.order, parcel))

    def first(self) -> _Parcel | None:
        while self._queue:
            parcel = self._queue[0][1]
            if parcel.queued and parcel.waits:
                return parcel
            parcel.queued = False
            heappop(self._queue)
        return None


def window_for(way_s: float, window_bytes: int = WINDOW_BYTES_MAX) -> int:
    """Return the window for a link of the tree: what is on a way of so many seconds, there and back, and a window."""
    return max(window_bytes, min(window_bytes + int(2 * way_s * LINK_BYTES_PER_S), LONG_WINDOW_BYTES_MAX))


class Outlet:
    """Decides what goes to one follower next.

    Attributes:
        window_bytes: so many may be unacknowledged; may be changed at any time.
        unacknowledged: bytes that were sent and not acknowledged, headers included.
    """

    def __init__(self, window_bytes: int = WINDOW_BYTES_MAX, chunk_bytes: int = CHUNK_BYTES_MAX) -> None:
        """Make one that has nothing to send."""
        self.unacknowledged = 0
        self.window_bytes = window_bytes
        self._chunk_bytes = chunk_bytes
        self._parcels: dict[int, _Parcel] = {}
        self._lanes: dict[int, _Lane] = {}
        self._offers = 0
        self._turn = 0

    def __len__(self) -> int:
        """Return how many items were offered, and neither taken whole nor withdrawn."""
        return len(self._parcels)

    def __contains__(self, key: int) -> bool:
        """Whether an item was offered, and neither taken whole nor withdrawn."""
        return key in self._parcels

    def offer(self, key: int, priority: int, size: int, available: int, taken: int = 0) -> None:
        """Have an item sent.

        Args:
            key: of the item on this link; not one that is offered already.
            priority: the higher passes the lower; what has the same goes in the order offered.
            size: of its body, in bytes.
            available: how much of its beginning can be sent; see `grow`.
            taken: how much of its beginning the follower has.
        """
        assert key not in self._parcels, "it is offered already"
        self._offers += 1
        parcel = self._parcels[key] = _Parcel(key, self._offers, priority, size, available, taken)
        self._queue(parcel)

    def grow(self, key: int, available: int) -> None:
        """Hear that more of an item can be sent, if it is offered."""
        parcel = self._parcels.get(key)
        if parcel is not None and available > parcel.available:
            parcel.available = available
            self._queue(parcel)

    def next_send(self) -> Send | None:
        """Return what to send now, and count it as sent; None if nothing waits, or the window is full."""
        if self.unacknowledged >= self.window_bytes:
            return None
        waiting = [(priority, lane) for priority, lane in self._lanes.items() if lane.first() is not None]
        if not waiting:
            return None
        self._turn += 1
        if self._turn % TURNS:
            _, lane = max(waiting, key=lambda each: each[0])
        else:
            _, lane = min(waiting, key=lambda each: (each[1].served, each[0]))
        lane.served = self._turn
        parcel = lane.first()
        assert parcel is not None
        return self._send(parcel)

    def taken(self, key: int, size: int) -> bool:
        """Hear that the follower has so many bytes of an item; return whether that is all, so that it is done with.

        It may be more than was sent, of an item that it has from elsewhere; then only the rest is sent. Less than it
        had means that it has lost some, and needs everything from there.

        Raises:
            WireError: an item has no such size.
        """
        parcel = self._parcels.get(key)
        if parcel is None:
            return False
        if not 0 <= size <= parcel.size:
            raise WireError(f"{size} bytes are taken of an item that has {parcel.size}")
        if size == parcel.size:
            self._remove(parcel)
            return True
        self.unacknowledged -= parcel.unacknowledged
        if size < parcel.taken:
            parcel.sent, parcel.announced = size, False
        parcel.taken = size
        parcel.sent = max(parcel.sent, size)
        self.unacknowledged += parcel.unacknowledged
        if parcel.waits:
            self._queue(parcel)
        return False

    def withdrawn(self, key: int) -> bool:
        """Send nothing more of an item; return whether the follower has heard of it and has to hear this, too."""
        parcel = self._parcels.get(key)
        if parcel is None:
            return False
        self._remove(parcel)
        return parcel.announced

    def _send(self, parcel: _Parcel) -> Send:
        # To the next multiple of a chunk: so every node of the tree has the same pieces.
        end = min(parcel.sent - parcel.sent % self._chunk_bytes + self._chunk_bytes, parcel.available)
        send = Send(parcel.key, parcel.sent, max(0, end - parcel.sent), not parcel.announced)
        self.unacknowledged -= parcel.unacknowledged
        parcel.sent, parcel.announced = parcel.sent + send.size, True
        self.unacknowledged += parcel.unacknowledged
        return send

    def _queue(self, parcel: _Parcel) -> None:
        lane = self._lanes.get(parcel.priority)
        if lane is None:
            lane = self._lanes[parcel.priority] = _Lane(self._turn)
        if lane.first() is None:
            # It has not waited for as long as it had nothing.
            lane.served = self._turn
        lane.push(parcel)

    def _remove(self, parcel: _Parcel) -> None:
        del self._parcels[parcel.key]
        self.unacknowledged -= parcel.unacknowledged
        parcel.queued = False
