"""What a proxy keeps for its mobile readers: each item once, until it expires, and what each reader has read. Pure.

A place on the shelf counts: 1, 2, 3, … in the order in which items came; so a reader's list is everything of its
topics from the place where it began, without what it has read. Nothing has to be written for each of twenty thousand
readers when an item comes, or goes.

Every change is returned as what is to be written, all or none of it; whoever is told that something is done is told
after that. Times are Unix seconds.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from chatproto.errors import StoreCorrupt
from chatproto.news.items import Item

ITEMS_MAX = 10_000
BODIES_BYTES_MAX = 512 * 1024 * 1024
GONE_MAX = 100_000
"""Items that are gone of which is known that they were there; of more, those that came first are forgotten."""
LEAD_CHARS_MAX = 600
"""Of a text, kept at hand: as much as a list shows."""

EXPIRED, CROWDED_OUT = "expired", "crowded-out"
"""Why an item is gone: its time was over; or there was no room for it any more."""

Changes = list[tuple[bytes, bytes | None]]
"""What is to be written; see `chatproto.keyvalue.Change`."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An item on the shelf.

    Attributes:
        place: where it stands.
        item: without its body.
        arrived: when it came.
        lead: how it begins, if it is a text.
    """

    place: int
    item: Item
    arrived: float
    lead: str


class Gone(msgspec.Struct, frozen=True, array_like=True):
    """An item that was on the shelf: its topic, and why it is gone."""

    topic: str
    why: str


class MobileReader(msgspec.Struct, frozen=True):
    """A mobile reader, and what it wants to hear of."""

    name: str
    topics: tuple[str, ...]


class Missed(msgspec.Struct, frozen=True):
    """How many items of a reader are gone that it has not read: expired, or crowded out by later ones."""

    expired: int = 0
    crowded_out: int = 0


class _Reader(msgspec.Struct, array_like=True):
    """What is known of a reader.

    Attributes:
        since: by topic, the last place that was taken when the reader began to want it.
        floor: up to which place it has read all.
        read: what it has read above that.
    """

    since: dict[str, int]
    floor: int = 0
    read: set[int] = msgspec.field(default_factory=set)


class _Places:
    """Places, by topic."""

    def __init__(self) -> None:
        self._of: dict[str, list[int]] = {}

    def add(self, topic: str, place: int) -> None:
        insort(self._of.setdefault(topic, []), place)

    def remove(self, topic: str, place: int) -> None:
        places = self._of[topic]
        del places[bisect_left(places, place)]
        if not places:
            del self._of[topic]

    def unread_by(self, reader: _Reader) -> Iterator[int]:
        for topic, since in reader.since.items():
            places = self._of.get(topic, [])
            for place in places[bisect_right(places, max(since, reader.floor)) :]:
                if place not in reader.read:
                    yield place


_kept = msgspec.msgpack.Decoder(Kept)
_gone = msgspec.msgpack.Decoder(Gone)
_reader = msgspec.msgpack.Decoder(_Reader)
_encode = msgspec.msgpack.Encoder().encode

ITEM, BODY, GONE, READER, NODE = b"i", b"b", b"g", b"r", b"n"
"""How keys begin: of an item, its body, one that is gone, a reader, and the position at a delivery node."""


def _key(kind: bytes, place: int) -> bytes:
    return kind + place.to_bytes(8, "big")


def body_key(place: int) -> bytes:
    """Return the key under which a body is written."""
    return _key(BODY, place)


class Shelf:
    """What is kept.

    Attributes:
        bodies_bytes: of all that is kept.
    """

    def __init__(self, items_max: int = ITEMS_MAX, bodies_bytes_max: int = BODIES_BYTES_MAX) -> None:
        """Begin empty; of more than is allowed, what came first goes."""
        self.bodies_bytes = 0
        self._items_max = items_max
        self._bodies_bytes_max = bodies_bytes_max
        self._last = 0
        self._kept: dict[int, Kept] = {}
        self._numbers: dict[int, int] = {}
        self._expiries: list[tuple[float, int]] = []
        self._there = _Places()
        self._gone: dict[int, Gone] = {}
        self._gone_order: deque[int] = deque()
        self._absent = _Places()
        self._readers: dict[str, _Reader] = {}
        self._positions: dict[str, int] = {}

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take what was written in an earlier life, sorted by key; bodies need not be among it.

        Raises:
            StoreCorrupt: it is something else.
        """
        try:
            self._restore(rows)
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreCorrupt(f"this is no data of a proxy: {error}") from error

    def _restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            kind, rest = key[:1], key[1:]
            if kind == ITEM:
                self._put(_kept.decode(value))
            elif kind == GONE:
                self._bury(int.from_bytes(rest, "big"), _gone.decode(value))
            elif kind == READER:
                self._readers[rest.decode()] = _reader.decode(value)
            elif kind == NODE:
                self._positions[rest.decode()] = int.from_bytes(value, "big")

    # What is there

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, number: int) -> bool:
        """Whether an item is kept."""
        return number in self._numbers

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return len(self._readers)

    def topics(self) -> tuple[str, ...]:
        """Return what is wanted by some reader, sorted."""
        return tuple(sorted({topic for reader in self._readers.values() for topic in reader.since}))

    def position(self, node: str) -> int:
        """Return the stamp up to which all of a delivery node is known here."""
        return self._positions.get(node, 0)

    def next_wakeup(self) -> float | None:
        """Return when the next item expires; None while there is none."""
        return self._expiries[0][0] if self._expiries else None

    # What becomes of items

    def take(self, node: str, stamp: int, item: Item, body: bytes, now: float) -> Changes:
        """Keep an item, which has come from a delivery node under a stamp; and make room for it."""
        changes = self.passed(node, stamp)
        if item.number in self._numbers or item.expires <= now or item.size > self._bodies_bytes_max:
            return changes
        lead = body[: 4 * LEAD_CHARS_MAX].decode("utf-8", "replace") if item.media_type.startswith("text/") else ""
        self._last += 1
        kept = Kept(self._last, item, now, lead[:LEAD_CHARS_MAX])
        self._put(kept)
        changes += [(_key(ITEM, kept.place), _encode(kept)), (_key(BODY, kept.place), body)]
        while len(self._kept) > self._items_max or self.bodies_bytes > self._bodies_bytes_max:
            changes += self._remove(next(iter(self._kept)), CROWDED_OUT)
        return changes

    def passed(self, node: str, stamp: int) -> Changes:
        """Know all of a delivery node up to a stamp."""
        self._positions[node] = max(stamp, self.position(node))
        return [(NODE + node.encode(), self._positions[node].to_bytes(8, "big"))]

    def expire(self, now: float) -> Changes:
        """Let go of what has expired."""
        changes: Changes = []
        while self._expiries and self._expiries[0][0] <= now:
            _, place = heapq.heappop(self._expiries)
            if place in self._kept:
                changes += self._remove(place, EXPIRED)
        return changes

    def _put(self, kept: Kept) -> None:
        item = kept.item
        self._last = max(self._last, kept.place)
        self._kept[kept.place] = kept
        self._numbers[item.number] = kept.place
        self._there.add(item.topic, kept.place)
        self.bodies_bytes += item.size
        heapq.heappush(self._expiries, (item.expires, kept.place))

    def _remove(self, place: int, why: str) -> Changes:
        kept = self._kept.pop(place)
        del self._numbers[kept.item.number]
        self._there.remove(kept.item.topic, place)
        self.bodies_bytes -= kept.item.size
        gone = Gone(kept.item.topic, why)
        changes: Changes = [(_key(ITEM, place), None), (_key(BODY, place), None), (_key(GONE, place), _encode(gone))]
        return changes + self._bury(place, gone)

    def _bury(self, place: int, gone: Gone) -> Changes:
        self._last = max(self._last, place)
        self._gone[place] = gone
        self._gone_order.append(place)
        self._absent.add(gone.topic, place)
        if len(self._gone) <= GONE_MAX:
            return []
        first = self._gone_order.popleft()
        self._absent.remove(self._gone.pop(first).topic, first)
        return [(_key(GONE, first), None)]

    # Readers

    def serve(self, readers: Sequence[MobileReader]) -> Changes:
        """Keep items for these readers from now on, and for nobody else."""
        changes: Changes = [(READER + name.encode(), None) for name in self._readers.keys() - {r.name for r in readers}]
        for key, _ in changes:
            del self._readers[key[1:].decode()]
        for one in readers:
            known = self._readers.get(one.name)
            since = {topic: known.since.get(topic, self._last) if known else self._last for topic in one.topics}
            if known is None or known.since != since:
                known = self._readers[one.name] = (
                    _Reader(since) if known is None else _Reader(since, known.floor, known.read)
                )
                changes.append((READER + one.name.encode(), _encode(known)))
        return changes

    def serves(self, reader: str) -> bool:
        """Whether items are kept for a reader."""
        return reader in self._readers

    def unread(self, reader: str, now: float) -> list[Kept]:
        """Return what a reader has not read, the newest first; nothing for somebody unknown."""
        known = self._readers.get(reader)
        if known is None:
            return []
        places = sorted(self._there.unread_by(known), reverse=True)
        return [kept for kept in map(self._kept.__getitem__, places) if kept.item.expires > now]

    def find(self, reader: str, place: int, now: float) -> Kept | None:
        """Return an item that a reader may see, whether it has read it or not; None if there is none."""
        known, kept = self._readers.get(reader), self._kept.get(place)
        if known is None or kept is None or kept.item.expires <= now:
            return None
        return kept if place > known.since.get(kept.item.topic, self._last) else None

    def missed(self, reader: str) -> Missed:
        """Return what of a reader is gone before it has read it, or said that it has read all."""
        known = self._readers.get(reader)
        places = list(self._absent.unread_by(known)) if known else []
        expired = sum(self._gone[place].why == EXPIRED for place in places)
        return Missed(expired, len(places) - expired)

    def mark(self, reader: str, place: int) -> Changes:
        """Know that a reader has read an item."""
        known = self._readers.get(reader)
        if known is None or place <= known.floor or place not in self._kept:
            return []
        known.read.add(place)
        waiting = [*self._there.unread_by(known), *self._absent.unread_by(known)]
        return self._raise_floor(reader, known, min(waiting, default=self._last + 1) - 1)

    def mark_all(self, reader: str, up_to: int) -> Changes:
        """Know that a reader has read all up to a place, and has been told what it has missed."""
        known = self._readers.get(reader)
        if known is None or up_to <= known.floor:
            return []
        return self._raise_floor(reader, known, min(up_to, self._last))

    def _raise_floor(self, reader: str, known: _Reader, floor: int) -> Changes:
        known.floor = max(known.floor, floor)
        known.read = {place for place in known.read if place > known.floor}
        return [(READER + reader.encode(), _encode(known))]

    @property
    def last(self) -> int:
        """The last place that was taken."""
        return self._last
