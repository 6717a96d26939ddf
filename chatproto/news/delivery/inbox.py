"""What a paid reader has: items that were delivered, and parts of those that come. Pure.

It is what makes that nothing is delivered twice and nothing begins again, whichever node brings it, so it is kept from
one connection to the next; each item no longer than until it expires.
"""

import hashlib
from collections.abc import Iterable
from heapq import heappop, heappush

from chatproto.errors import WireError
from chatproto.news.delivery.hour import HOUR_S, Hour
from chatproto.news.delivery.messages import GOT_RANGES_MAX, PARTIAL_MAX
from chatproto.news.delivery.ranges import ranges_of
from chatproto.news.items import BODY_BYTES_MAX, Item


class Inbox:
    """What there is, by item number."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._got: set[int] = set()
        self._expiries: list[tuple[float, int]] = []
        self._partial: dict[int, tuple[Item, bytearray]] = {}
        # Whole, and handed out, but not accepted yet.
        self._handed: dict[int, Item] = {}
        self._hour = Hour()

    # For a hello

    def got(self) -> tuple[tuple[int, int], ...]:
        """Return what was delivered, as ranges of numbers; the latest, if they are too many."""
        return ranges_of(self._got).newest(GOT_RANGES_MAX)

    def partial(self) -> tuple[tuple[int, int], ...]:
        """Return of which items there is a beginning, and how many bytes of that; all of those that are handed out."""
        handed = [(number, item.size) for number, item in self._handed.items()]
        return (*handed, *((number, len(body)) for number, (_, body) in self._partial.items()))

    def recent(self, now: float) -> tuple[int, ...]:
        """Return how long ago the deliveries of the last hour were, the latest first: see `ReaderHello.recent`."""
        self._hour.count(now)
        ages = [min(int(HOUR_S), int(now - time)) for time in reversed(self._hour.times())]
        return tuple(age - before for age, before in zip(ages, [0, *ages], strict=False))

    # What comes

    def has(self, number: int) -> bool:
        """Whether an item was delivered."""
        return number in self._got

    def handed(self, number: int) -> bool:
        """Whether an item is handed out, and not accepted yet."""
        return number in self._handed

    def begin(self, item: Item, offset: int) -> None:
        """Hear that an item comes, from an offset on, which was not delivered and is not handed out.

        Raises:
            WireError: it cannot begin there, or is no item.
        """
        if not (0 <= item.size <= BODY_BYTES_MAX and item.number > 0):
            raise WireError("an item without a number, or with more than it may have")
        known, body = self._partial.pop(item.number, (item, bytearray()))
        if known.digest != item.digest:
            body.clear()
        if not 0 <= offset <= len(body):
            raise WireError(f"an item goes on at {offset}, and there are {len(body)} bytes of it")
        del body[offset:]
        # The one that was begun last goes last.
        self._partial[item.number] = item, body
        if len(self._partial) > PARTIAL_MAX:
            del self._partial[next(iter(self._partial))]

    def add(self, number: int, offset: int, data: bytes) -> int:
        """Add to an item that has begun; return how much there is of it. 0 of one that was dropped meanwhile.

        Raises:
            WireError: it does not belong there.
        """
        found = self._partial.get(number)
        if found is None:
            return 0
        item, body = found
        if offset != len(body) or len(body) + len(data) > item.size:
            raise WireError(f"{len(data)} bytes at {offset}, where {len(body)} of {item.size} are there")
        body += data
        return len(body)

    def whole(self, number: int) -> tuple[Item, bytes] | None:
        """Hand an item out if all of it is there; None if it is not.

        Raises:
            WireError: it is damaged; nothing is kept of it.
        """
        found = self._partial.get(number)
        if found is None or len(found[1]) < found[0].size:
            return None
        item, body = found[0], bytes(found[1])
        del self._partial[number]
        if hashlib.sha256(body).digest() != item.digest:
            raise WireError(f"item {number} is damaged")
        self._handed[number] = item
        return item, body

    def accepted(self, number: int, now: float) -> None:
        """Hear that an item that was handed out is delivered by that."""
        item = self._handed.pop(number)
        self._got.add(number)
        heappush(self._expiries, (item.expires, number))
        self._hour.add(now)

    def given_up(self, number: int) -> None:
        """Hear that an item that was handed out was not accepted until it expired."""
        del self._handed[number]

    def withdrawn(self, number: int) -> None:
        """Hear that the rest of an item does not come."""
        self._partial.pop(number, None)

    def expire(self, unix: float) -> None:
        """Forget what has expired: nobody sends it any more.

        Args:
            unix: the time of day, in Unix seconds.
        """
        while self._expiries and self._expiries[0][0] <= unix:
            self._got.discard(heappop(self._expiries)[1])
        for number in [number for number, (item, _) in self._partial.items() if item.expires <= unix]:
            del self._partial[number]


def ages_of(recent: Iterable[int]) -> list[int]:
    """Return how long ago deliveries were, in seconds, from `ReaderHello.recent`.

    Raises:
        ValueError: they are no such numbers.
    """
    ages: list[int] = []
    age = 0
    for more in recent:
        age += more
        if more < 0 or age > HOUR_S:
            raise ValueError("deliveries of the last hour are from 0 to 3600 seconds ago, the latest first")
        ages.append(age)
    return ages
