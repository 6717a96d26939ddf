"""Who is placed where, and the temporary readers of a node that stands in for another one. Pure.

A delivery node is there as long as the coordinator has a link to it. While it is away its paid readers may be placed at
its substitute, whenever they ask for it; some time after it is back they are sent home: by then they have gone.
"""

from typing import NamedTuple

import msgspec

from chatproto.news.placing.actions import Action, Place, Remove, Steps
from chatproto.news.placing.ledger import Guest, Ledger
from chatproto.news.terms import Placement

AWAY_S = 1.0
"""A node without a link for less than this may have one again at once."""

HOME_AFTER_S = 30.0
"""So long after their node is back the readers that were its have had time to see it."""

LOOK_EVERY_S = 1.0
SENT_AT_ONCE_MAX = 64
"""Temporary readers on their way home, so that others' transactions find room."""

REFUSALS = {
    "at-home": "its own node is there, as far as is known: go there, and ask again if it is not",
    "no-substitute": "nobody stands in for its node",
    "substitute-away": "the node that stands in for its own is away, too; ask again",
    "not-paid": "only paid contracts are fulfilled while a node is away",
}
"""Why a reader is not placed at the substitute, by code."""


class Wish(NamedTuple):
    """A transaction to be begun."""

    name: str
    steps: Steps


def steps_to_place(ledger: Ledger, placement: Placement, node: str, before: str = "") -> Steps:
    """Return what places a reader at its own node, or changes what that knows of it.

    Args:
        ledger: knows where it is a guest; it is one no longer.
        placement: has a higher version than any placement of the reader before.
        node: where it is to be.
        before: where it was; empty for nowhere.
    """
    removed: dict[str, tuple[Action, ...]] = {
        other: (Remove(placement.reader, placement.version),)
        for other in (before, *(guest.node for guest in _stays(ledger, placement.reader)))
        if other not in ("", node)
    }
    return {node: (Place(placement),), **removed}


def steps_to_remove(ledger: Ledger, reader: str, version: int, node: str) -> Steps:
    """Return what takes a reader away from its own node, and wherever it is a guest, if its version is not higher."""
    places = dict.fromkeys((node, *(guest.node for guest in _stays(ledger, reader))))
    return {place: (Remove(reader, version),) for place in places}


def _stays(ledger: Ledger, reader: str) -> list[Guest]:
    return [guest for guest in ledger.guests.values() if guest.reader == reader]


class Shelter:
    """Says who may be placed at a substitute, and who is to be sent home.

    Times are `now` in seconds of any clock that only goes forward.
    """

    def __init__(self, ledger: Ledger, now: float, *, home_after_s: float = HOME_AFTER_S) -> None:
        """Begin when this process begins to coordinate, and has no links."""
        self._ledger = ledger
        self._home_after_s = home_after_s
        self._began = now
        self._up_since: dict[str, float] = {}
        self._down_since: dict[str, float] = {}
        self._look_at = now

    def came_up(self, node: str, now: float) -> None:
        """Hear that there is a link to a node."""
        self._down_since.pop(node, None)
        self._up_since[node] = now

    def went_down(self, node: str, now: float) -> None:
        """Hear that there is none any more."""
        if self._up_since.pop(node, None) is not None:
            self._down_since[node] = now

    def refusal(self, placement: Placement, node: str, substitute: str, now: float) -> str:
        """Return why a reader is not placed at the substitute of its node, as a code of `REFUSALS`; empty if it is."""
        if not placement.terms.paid:
            return "not-paid"
        if not substitute:
            return "no-substitute"
        if node in self._up_since or now - self._down_since.get(node, self._began) < AWAY_S:
            return "at-home"
        return "" if substitute in self._up_since else "substitute-away"

    def is_guest(self, placement: Placement, node: str, substitute: str) -> bool:
        """Whether a reader is placed at the substitute of its node, as it is to be now."""
        guest = self._ledger.guests.get((placement.reader, substitute))
        return guest == Guest(placement.reader, substitute, node, placement.version)

    def steps(self, placement: Placement, node: str, substitute: str) -> Steps:
        """Return what places a reader at the substitute of its node."""
        return {substitute: (Place(msgspec.structs.replace(placement, home=node)),)}

    def next_wakeup(self) -> float | None:
        """Return when `due` is to be called next; None as long as there is nobody to be sent home."""
        return self._look_at if self._ledger.guests else None

    def due(self, now: float) -> list[Wish]:
        """Return the transactions that send readers home, at most so many that `SENT_AT_ONCE_MAX` are under way."""
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_EVERY_S
        wishes: list[Wish] = []
        room = SENT_AT_ONCE_MAX
        for guest in self._ledger.guests.values():
            since = self._up_since.get(guest.home)
            if since is None or now - since < self._home_after_s or guest.node not in self._up_since:
                continue
            name = f"home/{guest.node}/{guest.reader}"
            room -= 1
            if self._ledger.named(name) is None:
                wishes.append(Wish(name, {guest.node: (Remove(guest.reader, guest.version),)}))
            if not room:
                break
        return wishes
