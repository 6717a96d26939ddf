"""What a reader and the news service agree on: the terms of a contract, and the place where it is fulfilled. Pure."""

import math
from typing import Literal

import msgspec

from chatproto.news.items import Item

PUSH: Literal["push"] = "push"
PULL: Literal["pull"] = "pull"
ITEMS_AN_HOUR_MAX = 3600
DELAY_S_MAX = 200.0
"""The seed's: of a paid contract, unless it agrees on another."""

REASONS = {
    "no-topics": "a contract is about one topic at least",
    "unknown-topic": "this deployment has no such topic",
    "bad-minimum": f"the minimum is from 0 to {ITEMS_AN_HOUR_MAX} items an hour",
    "bad-maximum": f"the maximum is from 1 to {ITEMS_AN_HOUR_MAX} items an hour",
    "minimum-above-maximum": "the minimum is above the maximum",
    "bad-delay": "the longest delay is a number of seconds above 0",
    "free-without-quality": "minimum, delay and exclusives are for paid contracts",
    "mobile-is-free-pull": "a mobile reader's contract is free, and it pulls",
}
"""Why terms make no sense, by code."""


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """The terms of a contract.

    Attributes:
        topics: what the reader wants to hear of, sorted.
        mode: `push` or `pull`.
        paid: over a connection, kept and guaranteed; else free: datagrams, and no promise.
        exclusives: whether exclusive items are included.
        mobile: read by the proxy on the reader's behalf.
        minimum: items an hour that are to be delivered, if there are so many; 0 for none.
        maximum: items an hour that are not passed, in any sliding hour.
        delay_s_max: from the root to the reader; 0 for no bound.
    """

    topics: tuple[str, ...]
    mode: Literal["push", "pull"] = PUSH
    paid: bool = False
    exclusives: bool = False
    mobile: bool = False
    minimum: int = 0
    maximum: int = ITEMS_AN_HOUR_MAX
    delay_s_max: float = 0.0

    def includes(self, item: Item) -> bool:
        """Whether the contract is about an item."""
        return item.topic in self.topics and (not item.exclusive or (self.paid and self.exclusives))


class Placement(msgspec.Struct, frozen=True, array_like=True):
    """A reader at a delivery node: what that node knows of it.

    Attributes:
        reader: its name.
        terms: what it has agreed on.
        ticket: hash (`chatproto.chat.passwords.token_hash`) of what the reader shows to be let in.
        version: counts the changes of this reader's contract; what has a lower one is out of date.
        home: empty at the reader's own node; else the name of that node, for which this one stands in, and the reader
            is a temporary one.
    """

    reader: str
    terms: Terms
    ticket: str
    version: int = 1
    home: str = ""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """What a reader needs to be delivered to: told by the contracting service.

    Attributes:
        reader: its name.
        terms: what it has agreed on.
        node: the name of its delivery node in the registry.
        substitute: the name of the node that stands in for that one; empty for none.
        ticket: lets it in at both. Whoever has it is the reader.
        version: of the contract.
    """

    reader: str
    terms: Terms
    node: str
    substitute: str
    ticket: str
    version: int = 1


def refusal_of(terms: Terms, topics: frozenset[str]) -> str:
    """Return why terms make no sense in a deployment with these topics, as a code of `REASONS`; empty if they do."""
    if not terms.topics:
        return "no-topics"
    if not topics.issuperset(terms.topics):
        return "unknown-topic"
    if not 0 <= terms.minimum <= ITEMS_AN_HOUR_MAX:
        return "bad-minimum"
    if not 1 <= terms.maximum <= ITEMS_AN_HOUR_MAX:
        return "bad-maximum"
    if terms.minimum > terms.maximum:
        return "minimum-above-maximum"
    if not math.isfinite(terms.delay_s_max) or terms.delay_s_max < 0:
        return "bad-delay"
    if terms.mobile and (terms.paid or terms.mode != PULL):
        return "mobile-is-free-pull"
    if not terms.paid and (terms.minimum or terms.delay_s_max or terms.exclusives):
        return "free-without-quality"
    return ""
