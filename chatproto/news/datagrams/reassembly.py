"""Puts a reader's items together again from datagrams that come late, twice, in any order, or not at all. Pure."""

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

from chatproto.errors import WireError
from chatproto.news.datagrams.messages import Part
from chatproto.news.datagrams.parcels import fits, parts_of, unpacked
from chatproto.news.items import Item

BYTES_MAX = 8 * 1024 * 1024
"""Of the parts that are kept of all unfinished items together."""

PARTS_MAX = 4 * (BYTES_MAX // 1024)
"""Of them at all, however small, for each takes some memory beside its bytes."""

ITEMS_MAX = 256
"""Of unfinished items."""

PATIENCE_S = 5.0
"""An item of which nothing has come for so long does not become whole any more."""

NUMBERS_MAX = 100_000
"""Of items that were delivered and have not expired, whose numbers are remembered; then the one that expires first
is forgotten."""


@dataclass(frozen=True)
class Arrived:
    """An item that is there, whole and undamaged.

    Attributes:
        item: its description.
        body: `item.size` bytes with the digest `item.digest`.
        stamp: of the item at the node that has sent it.
        delay_s: how long it has been under way until the first of the datagrams left that was the last to come.
    """

    item: Item
    body: bytes
    stamp: int
    delay_s: float


@dataclass
class _Unfinished:
    size: int
    count: int
    heard_at: float
    parts: dict[int, bytes] = field(default_factory=dict)
    bytes: int = 0


class Reassembly:
    """What one reader has of items.

    Each item is handed out once at most, and only whole. Nothing lasts: what has not come after `PATIENCE_S` is given
    up, and begins anew if it is sent again.

    Attributes:
        dropped: how many parts or items went, by reason: `damaged`, `late` (nothing more of it came), `crowded-out`,
            `expired`, `repeated` (parts that were there already).
    """

    def __init__(self, bytes_max: int = BYTES_MAX, items_max: int = ITEMS_MAX, patience_s: float = PATIENCE_S) -> None:
        """Begin with nothing."""
        self.dropped: Counter[str] = Counter()
        self._bytes_max = bytes_max
        self._items_max = items_max
        self._patience_s = patience_s
        # The one that was heard of longest ago comes first.
        self._unfinished: dict[tuple[int, bytes, int], _Unfinished] = {}
        self._bytes = 0
        self._parts = 0
        self._numbers: set[int] = set()
        self._expiries: list[tuple[float, int]] = []

    def unfinished(self, number: int) -> bool:
        """Whether something of an item is there, and not all."""
        return any(key[0] == number for key in self._unfinished)

    def delivered(self, number: int) -> bool:
        """Whether an item was handed out."""
        return number in self._numbers

    def received(self, part: Part, delay_s: float, now: float, unix: float) -> Arrived | None:
        """Take a part; return the item if that makes it whole.

        Args:
            part: of any item.
            delay_s: as its datagram has said.
            now: seconds of any clock that only goes forward.
            unix: the time of day.
        """
        if part.number in self._numbers:
            self.dropped["repeated"] += 1
            return None
        if not fits(part) or not math.isfinite(delay_s):
            self.dropped["damaged"] += 1
            return None
        key = part.number, part.check, part.size
        # Taken out and put back: it is the one that was heard of last now.
        unfinished = self._unfinished.pop(key, None) or _Unfinished(part.size, parts_of(part.size), now)
        self._unfinished[key] = unfinished
        unfinished.heard_at = now
        if part.index in unfinished.parts:
            self.dropped["repeated"] += 1
            return None
        unfinished.parts[part.index] = part.data
        unfinished.bytes += len(part.data)
        self._bytes += len(part.data)
        self._parts += 1
        if len(unfinished.parts) == unfinished.count:
            self._forget(key)
            return self._whole(key, unfinished, delay_s, unix)
        while len(self._unfinished) > self._items_max or self._bytes > self._bytes_max or self._parts > PARTS_MAX:
            self._drop(next(iter(self._unfinished)), "crowded-out")
        return None

    def next_wakeup(self) -> float | None:
        """Return when `wake` is due; None if nothing waits."""
        return next((first.heard_at + self._patience_s for first in self._unfinished.values()), None)

    def wake(self, now: float) -> None:
        """Give up what has waited too long."""
        while (due := self.next_wakeup()) is not None and due <= now:
            self._drop(next(iter(self._unfinished)), "late")

    def _whole(
        self, key: tuple[int, bytes, int], unfinished: _Unfinished, delay_s: float, unix: float
    ) -> Arrived | None:
        number, check, _ = key
        data = b"".join(unfinished.parts[index] for index in range(unfinished.count))
        try:
            description, body = unpacked(data, number, check)
        except WireError:
            self.dropped["damaged"] += 1
            return None
        item = description.item
        if not item.expires > unix:
            self.dropped["expired"] += 1
            return None
        self._remember(item, unix)
        return Arrived(item, body, description.stamp, delay_s)

    def _remember(self, item: Item, unix: float) -> None:
        self._numbers.add(item.number)
        heapq.heappush(self._expiries, (item.expires, item.number))
        # What has expired is sent by nobody, and refused above if it is.
        while self._expiries and (self._expiries[0][0] <= unix or len(self._numbers) > NUMBERS_MAX):
            self._numbers.discard(heapq.heappop(self._expiries)[1])

    def _drop(self, key: tuple[int, bytes, int], reason: str) -> None:
        self._forget(key)
        self.dropped[reason] += 1

    def _forget(self, key: tuple[int, bytes, int]) -> None:
        unfinished = self._unfinished.pop(key)
        self._bytes -= unfinished.bytes
        self._parts -= len(unfinished.parts)
