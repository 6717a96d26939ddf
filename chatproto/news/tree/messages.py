"""What nodes of the tree, and sources, say beside the items themselves. Pure."""

import math

from chatproto.errors import WireError
from chatproto.news.items import BODY_BYTES_MAX, NAME_CHARS_MAX, Item, name_allowed
from chatproto.news.messages import VERSION, Announce, Chunk, Message, Taken, Withdrawn, decoder

UNFINISHED_MAX = 500
"""Items that a child's hello says it has a part of; of others, it says so when they come."""

NODES_BELOW_MAX = 256
"""Delivery nodes below one child of a node."""

Reach = tuple[tuple[str, tuple[str, ...]], ...]
"""Delivery nodes by name, and for each the topics, sorted, for which it has paid contracts with exclusives."""


class ChildHello(Message, frozen=True, tag="child"):
    """A child in the tree speaks to its parent; `Below` follows.

    Attributes:
        version: see `chatproto.news.messages.VERSION`.
        name: of the child.
        born: of its disk: another one has nothing of what was acknowledged before.
        has: numbers of items that it has the beginning of, and how many bytes.
    """

    version: int
    name: str
    born: str
    has: tuple[tuple[int, int], ...] = ()


class Below(Message, frozen=True, tag="below"):
    """From a child: which delivery nodes are below it, or are it; at the beginning and whenever that changes."""

    reach: Reach


class Later(Message, frozen=True, tag="later"):
    """From a child: nothing of an item that was announced is here, and none of it is to be sent before `Again`."""

    key: int


class Again(Message, frozen=True, tag="again"):
    """From a child: an item for which it has said `Later` may be announced anew, from its beginning."""

    key: int


class SourceHello(Message, frozen=True, tag="source"):
    """A source speaks to the root.

    Attributes:
        version: see `chatproto.news.messages.VERSION`.
        name: of the source.
        password: its.
    """

    version: int
    name: str
    password: str


class SourceWelcome(Message, frozen=True, tag="publish"):
    """From the root: items may come.

    Attributes:
        topics: that an item may have.
        priority: of this source's items.
    """

    topics: tuple[str, ...]
    priority: int


class Accepted(Message, frozen=True, tag="accepted"):
    """From the root: an item is on its disk, whole, and will reach whoever it is for. The answer to each try.

    Attributes:
        key: as announced.
        number: the item's, unique in the deployment.
    """

    key: int
    number: int


class Rejected(Message, frozen=True, tag="rejected"):
    """From the root: an item is not taken.

    Attributes:
        key: as announced.
        code: of `chatproto.news.items.REASONS`.
    """

    key: int
    code: str


FromUpstream = Announce | Chunk | Withdrawn
FromChild = ChildHello | Below | Taken | Later | Again
FromSource = SourceHello | Announce | Chunk
ToSource = SourceWelcome | Taken | Accepted | Rejected

decode_from_child = decoder(FromChild)
decode_from_parent = decoder(Announce, Chunk, Withdrawn)
decode_to_source = decoder(SourceWelcome, Taken, Accepted, Rejected)

REFUSALS = {
    "version": "it speaks another version of this protocol",
    "bad-name": f"a name is 1 to {NAME_CHARS_MAX} letters, digits, dots, hyphens and underscores",
    "bad-password": "no source of this name has this password",
    "too-many-tries": "it has failed too often: try again later",
    "busy": "too many say who they are at once: try again",
    "moved": "another connection says that it is this one, and is newer",
    "stopping": "this node stops",
}
"""Why a hello is not welcome, by code."""


def hello_refusal(hello: ChildHello | SourceHello) -> str:
    """Return why a hello is not welcome, whoever says it, as a code of `REFUSALS`; empty if it may be."""
    if hello.version != VERSION:
        return "version"
    return "" if name_allowed(hello.name) else "bad-name"


def check_reach(reach: Reach) -> Reach:
    """Return what a child says of who is below it.

    Raises:
        WireError: it cannot be so.
    """
    if len(reach) > NODES_BELOW_MAX:
        raise WireError(f"{len(reach)} delivery nodes below one child; there may be {NODES_BELOW_MAX}")
    if not all(name_allowed(name) for name, _ in reach):
        raise WireError("a delivery node with a name that none may have")
    return reach


def check_announced(announce: Announce) -> Item:
    """Return the item that a parent announces.

    Raises:
        WireError: it cannot be so.
    """
    item = announce.item
    if item.number != announce.key or item.number < 1 or not 0 <= item.size <= BODY_BYTES_MAX:
        raise WireError(f"no item of the tree: number {item.number}, key {announce.key}, {item.size} bytes")
    if not math.isfinite(announce.delay_s) or announce.delay_s < 0:
        raise WireError(f"an item is not under way for {announce.delay_s} seconds")
    return item
