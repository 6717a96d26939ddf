"""What a transaction does at a delivery node, and why a node may refuse it. Pure."""

import msgspec

from chatproto.news.items import name_allowed
from chatproto.news.terms import Placement

ACTIONS_MAX = 8
"""Of one transaction at one node: with as long terms as there are, they fit into a frame."""

NODES_MAX = 16
"""Of one transaction."""

REFUSALS = {
    "no-answer": "a delivery node has not answered in time",
    "busy": "another change of the same reader is under way",
    "in-doubt": "the delivery node waits for the outcome of as many transactions as it may",
    "full": "the delivery node has as many readers as it may",
    "out-of-date": "the delivery node knows a later version of the contract",
    "superseded": "another process coordinates now",
}
"""Why a transaction is aborted, by code; a delivery node may have codes of its own."""


class Place(msgspec.Struct, frozen=True, array_like=True, tag="place"):
    """Put a reader at a node, or change what the node knows of it; what has a lower version is replaced."""

    placement: Placement

    @property
    def reader(self) -> str:
        """Whom it is about."""
        return self.placement.reader


class Remove(msgspec.Struct, frozen=True, array_like=True, tag="remove"):
    """Take a reader away from a node, unless it has come back with a higher version; one that is not there is gone."""

    reader: str
    version: int


Action = Place | Remove
Steps = dict[str, tuple[Action, ...]]
"""What a transaction does, by the name of the node."""


def actions_allowed(actions: tuple[Action, ...]) -> bool:
    """Whether these can be done at one node: there are some, not too many, and one for each reader."""
    readers = {action.reader for action in actions}
    return 0 < len(actions) <= ACTIONS_MAX and len(readers) == len(actions) and all(map(name_allowed, readers))


def steps_allowed(steps: Steps) -> bool:
    """Whether a transaction may consist of these."""
    return 0 < len(steps) <= NODES_MAX and all(map(name_allowed, steps)) and all(map(actions_allowed, steps.values()))


def readers_of(steps: Steps) -> set[str]:
    """Return whom a transaction is about."""
    return {action.reader for actions in steps.values() for action in actions}
