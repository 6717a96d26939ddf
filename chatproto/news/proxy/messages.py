"""What a proxy says to its delivery node, and that to it. Pure.

The proxy asks, the node answers, in order: nothing of a proxy has to be remembered there. It pulls as a free reader
does: what is new, then each item's body piece by piece, as many of them under way as it can take. What broke off goes
on over the next connection, for it asks from where it is.
"""

import msgspec

from chatproto.news.items import Item
from chatproto.news.messages import CHUNK_BYTES_MAX, VERSION, Message, decoder

LISTED_MAX = 32
"""Items in one answer."""


class ProxyHello(Message, frozen=True, tag="proxy"):
    """From a proxy: who it is. Answered with `ProxyWelcome`."""

    name: str
    version: int = VERSION


class ProxyWelcome(Message, frozen=True, tag="proxy-welcome"):
    """From the delivery node: its name; the stamps that follow are its own."""

    name: str


class Look(Message, frozen=True, tag="look"):
    """From the proxy: what is new? Answered with `Seen`.

    Attributes:
        after: the stamp after which to look.
        topics: what to look for.
    """

    after: int
    topics: tuple[str, ...]


class Sight(msgspec.Struct, frozen=True, array_like=True):
    """An item that is there, and its stamp."""

    stamp: int
    item: Item


class Seen(Message, frozen=True, tag="seen"):
    """From the node: what is there.

    Attributes:
        sights: some items, at most `LISTED_MAX`, by stamp.
        up_to: up to which stamp all is in `sights`, or is of no concern.
        more: whether there may be some after that already.
    """

    sights: tuple[Sight, ...]
    up_to: int
    more: bool


class Fetch(Message, frozen=True, tag="fetch"):
    """From the proxy: send so many bytes of an item's body, `CHUNK_BYTES_MAX` at most. Answered with `Piece`.

    Of the items that the last answer to `Look` has shown on this link; all others are as good as gone.
    """

    number: int
    offset: int
    size: int


class Piece(Message, frozen=True, tag="piece"):
    """From the node: what was asked for; nothing where the item is gone."""

    number: int
    offset: int
    data: bytes


PULLED = ProxyHello | Look | Fetch
"""What comes to a delivery node."""

from_delivery = decoder(ProxyWelcome | Seen | Piece)

__all__ = [
    "CHUNK_BYTES_MAX",
    "LISTED_MAX",
    "PULLED",
    "Fetch",
    "Look",
    "Piece",
    "ProxyHello",
    "ProxyWelcome",
    "Seen",
    "Sight",
    "from_delivery",
]
