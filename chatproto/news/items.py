"""What is published: an item, its body apart from it, and which items are taken. Pure."""

import math
import re

import msgspec

BODY_BYTES_MAX = 2 * 1024 * 1024
"""Of an item (the seed's sizing: no item is larger, pictures included)."""

TITLE_CHARS_MAX = 200
NAME_CHARS_MAX = 64
ID_CHARS_MAX = 64
MEDIA_TYPE_CHARS_MAX = 100
LIFE_S_MAX = 30 * 86400
"""From publishing to expiry."""

PRIORITIES = range(10)
"""The higher passes the lower."""

TOPICS = ("sport", "chronicle", "politics", "foreign", "gossip", "finance")
"""Unless a deployment has others."""

REASONS = {
    "too-large": f"an item's body has at most {BODY_BYTES_MAX} bytes",
    "unknown-topic": "this deployment has no such topic",
    "bad-expiry": f"an item expires later than now, and within {LIFE_S_MAX // 86400} days",
    "bad-id": f"an item's id is 1 to {ID_CHARS_MAX} letters, digits, dots, hyphens and underscores",
    "bad-title": f"an item's title has at most {TITLE_CHARS_MAX} characters, and no control characters",
    "bad-media-type": "a media type is like text/plain, in ASCII",
    "bad-size": "the size of a body is not negative",
    "wrong-source": "a source publishes under its own name only",
    "id-reused": "the source has published something else under this id",
    "bad-digest": "what came of the body is not what was announced",
    "no-room": "too much is held here that has not expired yet",
}
"""Why an item is not taken, by the code of the refusal."""

_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{ID_CHARS_MAX}}}")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_CHARS_MAX - 1}}}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*(; ?[a-z0-9-]+=[A-Za-z0-9_.-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One piece of news, without its body.

    Attributes:
        source: the name of the agency.
        id: the source's own, the same at every try to publish it.
        topic: one of the deployment's.
        title: a line that says what it is about; may be empty.
        media_type: of the body.
        size: of the body, in bytes.
        digest: SHA-256 of the body.
        expires: Unix seconds; from then on it is delivered to nobody and goes from every disk.
        exclusive: only for paid contracts that include exclusives.
        number: given by the root, each higher than those before; unique in the deployment, 0 before.
        priority: one of `PRIORITIES`, by the source; set by the root.
        injected: when the root took it, Unix seconds; set by the root.
        route: of an exclusive, the delivery nodes that it goes to, computed when it is accepted; None for everywhere.
    """

    source: str
    id: str
    topic: str
    title: str
    media_type: str
    size: int
    digest: bytes
    expires: float
    exclusive: bool = False
    number: int = 0
    priority: int = 0
    injected: float = 0.0
    route: tuple[str, ...] | None = None


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


def name_allowed(name: str) -> bool:
    """Whether a source, a node, a reader may be called so: letters, digits, `.-_`, at most `NAME_CHARS_MAX`."""
    return _NAME.fullmatch(name) is not None


def refusal_of(item: Item, source: str, topics: frozenset[str], now: float) -> str:
    """Return why an item is not taken from a source, as a code of `REASONS`; empty if it is.

    Args:
        item: as it was handed in.
        source: the name that was proven.
        topics: of the deployment.
        now: Unix seconds.
    """
    if item.source != source:
        return "wrong-source"
    if _ID.fullmatch(item.id) is None:
        return "bad-id"
    if item.topic not in topics:
        return "unknown-topic"
    if len(item.title) > TITLE_CHARS_MAX or _CONTROL.search(item.title):
        return "bad-title"
    if len(item.media_type) > MEDIA_TYPE_CHARS_MAX or _MEDIA_TYPE.fullmatch(item.media_type) is None:
        return "bad-media-type"
    if item.size < 0:
        return "bad-size"
    if item.size > BODY_BYTES_MAX:
        return "too-large"
    if not math.isfinite(item.expires) or not now < item.expires <= now + LIFE_S_MAX:
        return "bad-expiry"
    return ""
