"""Which readers a delivery node has: the table that placing changes."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
from zope.interface import implementer

from chatproto.keyvalue.interface import Change
from chatproto.news.delivery.keeping import PLACEMENT, POSITION
from chatproto.news.items import name_allowed
from chatproto.news.placing.actions import Action, Place, Remove
from chatproto.news.placing.interface import ITable
from chatproto.news.terms import REASONS as TERMS_REASONS
from chatproto.news.terms import Placement
from chatproto.news.terms import refusal_of as refusal_of_terms

READERS_MAX = 20_000
"""Of a delivery node, unless said otherwise (the seed's sizing)."""

REASONS = {
    **TERMS_REASONS,
    "bad-name": "a reader is called by letters, digits, dots, hyphens and underscores, 64 at most",
    "full": "the delivery node has as many readers as it takes",
    "out-of-date": "the delivery node has a later version of this reader's contract",
    "elsewhere": "this delivery node is the reader's own: nobody stands in for it here",
}
"""Why an action is refused, by code."""

_encode = msgspec.msgpack.Encoder().encode
_placement = msgspec.msgpack.Decoder(Placement)


@implementer(ITable)
class Table:
    """The readers that were placed here.

    Attributes:
        placements: by the name of the reader.
    """

    def __init__(
        self,
        topics: frozenset[str],
        readers_max: int = READERS_MAX,
        placed: Callable[[Placement], None] = lambda placement: None,
        removed: Callable[[str], None] = lambda reader: None,
    ) -> None:
        """Begin with nobody.

        Args:
            topics: of the deployment.
            readers_max: how many there may be.
            placed: told of each reader that is placed, new or with another contract.
            removed: told of each reader that is here no longer.
        """
        self.placements: dict[str, Placement] = {}
        self._exclusives: Counter[str] = Counter()
        # New readers that there will be, if it comes to that.
        self._promised: set[str] = set()
        self._topics = topics
        self._readers_max = readers_max
        self.placed = placed
        self.removed = removed

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up what is durable: the rows that begin with `PLACEMENT`. Nobody is told.

        Raises:
            msgspec.MsgspecError: it is not readable.
        """
        for _, value in rows:
            placement = _placement.decode(value)
            self.placements[placement.reader] = placement
            self._count(placement, 1)

    def exclusives(self) -> frozenset[str]:
        """Return the topics for which there are contracts with exclusives, those of temporary readers included."""
        return frozenset(topic for topic, contracts in self._exclusives.items() if contracts)

    def _count(self, placement: Placement, more: int) -> None:
        if placement.terms.paid and placement.terms.exclusives:
            for topic in placement.terms.topics:
                self._exclusives[topic] += more

    def refusal(self, action: Action) -> str:
        """See `ITable.refusal`."""
        if not isinstance(action, Place):
            return ""
        held = self.placements.get(action.reader)
        if held is not None and held.version > action.placement.version:
            return "out-of-date"
        if not name_allowed(action.reader):
            return "bad-name"
        known = held is not None or action.reader in self._promised
        if not known and len(self.placements) + len(self._promised) >= self._readers_max:
            return "full"
        if held is not None and action.placement.home and not held.home:
            return "elsewhere"
        return refusal_of_terms(action.placement.terms, self._topics)

    def reserve(self, action: Action) -> None:
        """See `ITable.reserve`."""
        if isinstance(action, Place) and action.reader not in self.placements:
            self._promised.add(action.reader)

    def release(self, action: Action) -> None:
        """See `ITable.release`."""
        self._promised.discard(action.reader)

    def changes(self, action: Action) -> Sequence[Change]:
        """See `ITable.changes`."""
        name = action.reader.encode()
        if isinstance(action, Place):
            return [(PLACEMENT + name, _encode(action.placement))]
        return [(PLACEMENT + name, None), (POSITION + name, None)] if self._removes(action) else []

    def done(self, action: Action) -> None:
        """See `ITable.done`."""
        if isinstance(action, Place):
            before = self.placements.get(action.reader)
            if before is not None:
                self._count(before, -1)
            self.placements[action.reader] = action.placement
            self._count(action.placement, 1)
            self.placed(action.placement)
        elif self._removes(action):
            self._count(self.placements.pop(action.reader), -1)
            self.removed(action.reader)

    def _removes(self, action: Remove) -> bool:
        held = self.placements.get(action.reader)
        return held is not None and held.version <= action.version
