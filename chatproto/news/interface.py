"""The seam between what a node of the tree holds and whoever delivers it."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import Interface

from chatproto.news.items import Held

__all__ = ["Held", "IItems"]


class IItems(Interface):
    """What a node of the tree holds whole: not expired, as far as it knows."""

    def held() -> list[Held]:
        """Return all, by stamp."""

    def read(number: int, offset: int, count: int) -> "Deferred[bytes]":
        """Read so many bytes of an item's body, less at its end; fails with `KeyError` if it is gone."""

    def watch(arrived: Callable[[Held], None], gone: Callable[[Held], None]) -> None:
        """Hear of each item that is whole from now on, by stamp, and of each that has expired, when it does."""
