"""Up to where a paid reader was delivered to, so that nothing is left out and nothing comes twice. Pure.

Items of one priority are delivered in the order of their stamps, those of a higher one before those of a lower. So
there is a stamp for each priority: up to it all is done with; and a few items above it, which were acknowledged before
one that was sent earlier.
"""

from collections.abc import Iterable

from chatproto.news.items import PRIORITIES


class Position:
    """What a reader has, by stamps of this node.

    Attributes:
        floors: for each priority, the stamp up to which all was delivered, or has gone, or never concerned the reader.
    """

    __slots__ = ("_above", "_cursors", "_under_way", "floors")

    def __init__(self, floors: Iterable[int] = (), above: Iterable[tuple[int, int]] = ()) -> None:
        """Take up what was durable: see `floors` and `above`."""
        self.floors = [0] * len(PRIORITIES)
        for priority, floor in zip(PRIORITIES, floors, strict=False):
            self.floors[priority] = floor
        self._above = dict(above)
        self._cursors = list(self.floors)
        self._under_way: dict[int, int] = {}

    @property
    def above(self) -> list[tuple[int, int]]:
        """What is done with above the floor of its priority: stamps and priorities."""
        return sorted(self._above.items())

    @property
    def under_way(self) -> int:
        """How many were begun and are not done with."""
        return len(self._under_way)

    @property
    def stamps(self) -> list[int]:
        """What is under way."""
        return list(self._under_way)

    def __contains__(self, stamp: int) -> bool:
        """Whether an item is under way."""
        return stamp in self._under_way

    def below(self, priority: int) -> bool:
        """Whether all that is under way has a lower priority."""
        return all(each < priority for each in self._under_way.values())

    def cursor(self, priority: int) -> int:
        """Return the stamp after which the next item of a priority is to be looked for."""
        return self._cursors[priority]

    def has(self, stamp: int) -> bool:
        """Whether an item after the cursor is done with all the same."""
        return stamp in self._above

    def begun(self, stamp: int, priority: int) -> None:
        """Note that an item, the first after the cursor, is under way."""
        self._cursors[priority] = stamp
        self._under_way[stamp] = priority

    def passed(self, stamp: int, priority: int) -> None:
        """Note that an item is done with: it was under way, or is the first after the cursor."""
        self._under_way.pop(stamp, None)
        self._cursors[priority] = max(self._cursors[priority], stamp)
        self._above[stamp] = priority
        self._settle(priority)

    def left(self) -> None:
        """Note that nothing is under way any more: what was is to begin again."""
        self._under_way.clear()
        self._cursors = list(self.floors)

    def _settle(self, priority: int) -> None:
        open_stamps = [stamp for stamp, each in self._under_way.items() if each == priority]
        floor = min(open_stamps, default=self._cursors[priority] + 1) - 1
        self.floors[priority] = floor = max(self.floors[priority], floor)
        below = [stamp for stamp, each in self._above.items() if each == priority and stamp <= floor]
        for stamp in below:
            del self._above[stamp]
