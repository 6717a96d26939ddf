"""One free reader, as its delivery node sees it: there is little to keep of one, for there are many. Pure."""

from math import inf
from typing import NamedTuple

from chatproto.news.delivery.hour import Hour
from chatproto.news.delivery.shelves import Shelves
from chatproto.news.items import Held
from chatproto.news.terms import PUSH, Placement

MAXIMUM, SUSPENDED = "maximum", "suspended"
"""Why somebody who pulls is given less than there is: for the hour, or because paid deliveries are pressing."""


class FreePulled(NamedTuple):
    """What a free reader that has pulled was given, once all of it is sent.

    Attributes:
        reader: its name.
        upto: the highest stamp that the answer has come to.
        numbers: of the items that were sent.
        more: whether there is more after that.
        held_back: empty, `MAXIMUM` or `SUSPENDED`.
    """

    reader: str
    upto: int
    numbers: tuple[int, ...]
    more: bool
    held_back: str


class FreeReader:
    """A free reader. Nothing is promised to one, and nothing of it outlives the process.

    Attributes:
        placement: what it has agreed on.
        after: the stamp of the last item that was sent, or that it says it has.
        listens: whether it is sent to: a pusher that has said so and not left, or a puller that waits for an answer.
        waits: whether it has a turn to come.
        under_way: whether an item is being sent to it.
    """

    __slots__ = ("_hour", "_left", "_numbers", "after", "listens", "placement", "under_way", "waits")

    def __init__(self, placement: Placement) -> None:
        """Make one that does not listen."""
        self.placement = placement
        self.after = 0
        self.listens = False
        self.waits = False
        self.under_way = False
        self._hour = Hour()
        self._left = 0
        self._numbers: list[int] = []

    @property
    def pulls(self) -> bool:
        """Whether it has to ask for what it gets."""
        return self.placement.terms.mode != PUSH

    @property
    def idle(self) -> bool:
        """Whether it is to have a turn, if there is something for it."""
        return self.listens and not self.waits and not self.under_way

    def pulled(self, after: int, count: int) -> None:
        """Hear that it asks for so many items after a stamp."""
        self.after, self._left, self._numbers = after, count, []
        self.listens = True

    def next(self, shelves: Shelves, now: float) -> tuple[Held | None, float]:
        """Begin the next item, and return it; None if there is none, and when to look again."""
        held = shelves.next_of(self.placement.terms, self.after)
        if held is None or (self.pulls and not self._left):
            return None, inf
        room_at = self._hour.room_at(self.placement.terms.maximum, 0, now)
        if room_at > now:
            return None, room_at
        self._hour.add(now)
        self.after, self.under_way = held.stamp, True
        if self.pulls:
            self._left -= 1
            self._numbers.append(held.item.number)
        return held, inf

    def answer(self, shelves: Shelves, held_back: str) -> FreePulled:
        """Return what it was given; it is given nothing more until it asks again."""
        self.listens = False
        more = shelves.next_of(self.placement.terms, self.after) is not None
        numbers, self._numbers = tuple(self._numbers), []
        return FreePulled(self.placement.reader, self.after, numbers, more, held_back if more else "")
