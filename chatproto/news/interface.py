"""The seam between what a node of the tree holds and whoever delivers it."""

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface

from chatproto.news.items import Item


class Held(msgspec.Struct, frozen=True):
    """An item that a node has whole, on its disk.

    Attributes:
        item: without its body.
        stamp: set by this node: 1, 2, 3, … in the order in which items became whole here; never used again.
        delay_s: how long the item had been under way when it became whole here.
        since: when that was, in seconds of this life's clock; of what was there before this life, its beginning, and
            `delay_s` includes what was before.
    """

    item: Item
    stamp: int
    delay_s: float
    since: float

    def delay_at(self, now: float) -> float:
        """Return how long the item has been under way, in seconds."""
        return self.delay_s + now - self.since


class IItems(Interface):
    """What a node of the tree holds whole: not expired, as far as it knows."""

    def held() -> list[Held]:
        """Return all, by stamp."""

    def read(number: int, offset: int, count: int) -> "Deferred[bytes]":
        """Read so many bytes of an item's body, less at its end; fails with `KeyError` if it is gone."""

    def watch(arrived: Callable[[Held], None], gone: Callable[[Held], None]) -> None:
        """Hear of each item that is whole from now on, by stamp, and of each that has expired, when it does."""
