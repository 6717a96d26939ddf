"""What the operator can look up: whether contracts were met, hour by hour, and what could not be delivered. Pure."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from chatproto.news.terms import Terms

if TYPE_CHECKING:
    from chatproto.keyvalue.interface import Change

UNDELIVERED = b"delivery/undelivered/"
"""What the keys of the list begin with."""

HOURS_KEPT = 72
"""Of each contract's records."""

HOURS = 24
"""Of them that are told, unless said otherwise."""

UNDELIVERED_MAX = 1000
"""Entries of the list of what could not be delivered; the oldest goes first."""

NAMES_MAX = 10
"""Readers that are named in an entry; of the others it has the number."""

REASONS = {
    "away": "the readers were not connected until the item had expired",
    "not-asked": "the readers pull, and have not asked for it before it had expired",
    "maximum": "the readers had as many items in an hour as their contracts allow, until the item had expired",
    "too-slow": "the readers were connected; it was not sent, or not acknowledged, before it had expired",
}
"""Why an item was not delivered, by code."""

VERDICTS = ("met", "late", "too-few", "away")
"""What can be made of a contract in an hour: see `Record.verdict`."""


class Record(msgspec.Struct, array_like=True):
    """What was made of a paid contract in an hour of the clock (UTC).

    Attributes:
        hour: hours since 1970.
        delivered: items that the reader has acknowledged.
        available: items that there were for it while it was connected, those of earlier hours that it had not got yet
            included; for a reader that pulls, the ones of them that it has asked for. What is on its way as the hour
            ends is of the next one.
        late: of those delivered, the ones whose delay had passed the contract's, though the maximum did not hold them.
        held: how often something waited because the maximum was reached.
        away: whether the reader was not connected all the hour, as far as is known.
    """

    hour: int
    delivered: int = 0
    available: int = 0
    late: int = 0
    held: int = 0
    away: bool = False

    def verdict(self, terms: Terms) -> str:
        """Return whether the contract was met: one of `VERDICTS`; `away` where that cannot be said."""
        if self.late:
            return "late"
        if self.delivered >= min(terms.minimum, self.available):
            return "met"
        return "away" if self.away else "too-few"


class Undelivered(msgspec.Struct, frozen=True, array_like=True):
    """An item that expired before some paid readers had it.

    Attributes:
        at: when it expired, Unix seconds.
        number: of the item.
        source: who published it.
        title: its title.
        why: a code of `REASONS`.
        readers: how many.
        names: of them, `NAMES_MAX` at most.
    """

    at: float
    number: int
    source: str
    title: str
    why: str
    readers: int
    names: tuple[str, ...]


class Undeliverable:
    """The list of what could not be delivered.

    Attributes:
        entries: the oldest first, `UNDELIVERED_MAX` at most.
        missed: how many readers did not have an item when it expired, by code of `REASONS`, in this life.
    """

    def __init__(self) -> None:
        """Begin with an empty list."""
        self.entries: deque[Undelivered] = deque(maxlen=UNDELIVERED_MAX)
        self.missed: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._count = 0

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up what is durable: the rows that begin with `UNDELIVERED`, sorted.

        Raises:
            msgspec.MsgspecError: they are not readable.
        """
        found = sorted((_undelivered.decode(value) for _, value in rows), key=lambda each: each[0])
        for count, entry in found:
            self.entries.append(entry)
            self._count = count

    def before(self, number: int) -> Iterator[tuple[int, Undelivered]]:
        """Return the entries with a lower number, or all for 0: the last one that was added has the highest, first."""
        newest = self._count
        for back, entry in enumerate(reversed(self.entries)):
            if not number or newest - back < number:
                yield newest - back, entry

    def add(self, entry: Undelivered) -> "Change":
        """Append an entry; return what makes it durable, in place of the one that goes."""
        self._count += 1
        self.entries.append(entry)
        self.missed[entry.why] += entry.readers
        return UNDELIVERED + b"%04d" % (self._count % UNDELIVERED_MAX), msgspec.msgpack.encode((self._count, entry))


_undelivered = msgspec.msgpack.Decoder(tuple[int, Undelivered])
