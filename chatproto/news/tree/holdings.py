"""The items of a node of the tree: what has come of each, who has it, and until when it is kept. Pure.

An item is announced; its pieces come; when all are on the disk they are compared with its digest, and it is whole: it
has a stamp. It is held until it expires; where nobody reads items, until every child that it is for has it. Its record
stays until it expires, so that it is known when it comes again.

Every method returns what is to be done for it, in order. What is to be `Save`d becomes durable in the order of the
calls, and `saved` is called after each.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from chatproto.news.items import Held, Item
from chatproto.news.tree import records
from chatproto.news.tree.records import PARTIAL, PIECE_BYTES, RELEASED, WHOLE, Child, Phase, Record
from chatproto.news.tree.routes import Routes

if TYPE_CHECKING:
    from chatproto.keyvalue.interface import Change


class Moment(NamedTuple):
    """A time by both clocks.

    Attributes:
        clock_s: of this life's clock, which only goes forward.
        unix_s: the time of day.
    """

    clock_s: float
    unix_s: float


class Save(NamedTuple):
    """Make changes durable, all or none; then, if there is a `step`, call `saved` with it."""

    changes: "Sequence[Change]"
    step: "Step | None" = None


class Offer(NamedTuple):
    """An item may be offered to the children that it is for."""

    holding: "Holding"


class Grew(NamedTuple):
    """So much of an item is here and may be passed on, whether it is on the disk or not."""

    number: int
    available: int


class Kept(NamedTuple):
    """So much of an item is on the disk; less than all of it."""

    number: int
    size: int


class Verify(NamedTuple):
    """Call `verified` with the digest of what the disk has of an item."""

    holding: "Holding"


class Finished(NamedTuple):
    """An item is on the disk, whole."""

    held: Held


class Damaged(NamedTuple):
    """What came of an item is not what was announced; it is gone, and may come again."""

    item: Item


class Gone(NamedTuple):
    """The body of an item is not here any more: it has expired, was withdrawn, or all who need it have it.

    `held` if it was whole.
    """

    item: Item
    held: Held | None


Effect = Save | Offer | Grew | Kept | Verify | Finished | Damaged | Gone

NUMBERS_PER_S = 1000
"""A root gives fewer, over the whole of its life."""

# The bodies of most items that are known are gone: these share it, for each empty set takes as much room as an item.
NOBODY: frozenset[str] = frozenset()

ANNOUNCED: Literal["announced"] = "announced"
PIECE: Literal["piece"] = "piece"
STAMPED: Literal["stamped"] = "stamped"


class Holding:
    """An item here.

    Attributes:
        item: without its body.
        began_s: when it was injected, by this life's clock.
        arrived: how much of the beginning of its body is here.
        kept: how much of that is on the disk.
        phase: see `Record`.
        stamp: see `Held`; 0 before it is whole.
        since_s: when it became whole, or this life began, by this life's clock.
        offered: whether it may be passed on.
        stamped: whether it is whole and its stamp is on the disk.
        has: the children that have it.
    """

    __slots__ = ("arrived", "began_s", "has", "item", "kept", "offered", "phase", "since_s", "stamp", "stamped")

    def __init__(self, item: Item, began_s: float) -> None:
        self.item = item
        self.began_s = began_s
        self.arrived = self.kept = self.stamp = 0
        self.phase: Phase = PARTIAL
        self.since_s = 0.0
        self.offered = self.stamped = False
        self.has = NOBODY

    def held(self) -> Held:
        """Return it for whoever reads items."""
        return Held(self.item, self.stamp, self.since_s - self.began_s, self.since_s)


class Step(NamedTuple):
    """What of an item becomes durable. Of the item itself: one that was withdrawn may come again under its number."""

    holding: Holding
    what: Literal["announced", "piece", "stamped"]


class Holdings:
    """The items of a node.

    Attributes:
        routes: which way exclusive items go.
        children: those that are known, connected or not.
        bytes: of bodies that are here, or come.
        whole: how many items are here, whole.
        first_number: of the first item that a root with an empty disk accepts; None for one by the time of day, so that
            a root that has lost its disk goes on above all numbers that it has given.
    """

    def __init__(self, routes: Routes, *, keeps: bool) -> None:
        """Hold nothing.

        Args:
            routes: of the same node; it learns of children here.
            keeps: whether items are held until they expire, whoever has them.
        """
        self.routes = routes
        self.children: dict[str, Child] = {}
        self.bytes = 0
        self.whole = 0
        self.first_number: int | None = None
        self._keeps = keeps
        self._items: dict[int, Holding] = {}
        self._by_id: dict[tuple[str, str], int] = {}
        self._expiries: list[tuple[float, int]] = []
        self._number = 0
        self._stamp = 0

    # The beginning

    def recover(self, rows: Sequence[tuple[bytes, bytes]], bodies: Iterable[bytes], moment: Moment) -> list[Effect]:
        """Take up what the disk has.

        Args:
            rows: all under `PREFIX` but bodies.
            bodies: keys of pieces.
            moment: now.
        """
        for key, value in rows:
            if key.startswith(records.ITEM):
                self._recover_item(records.decode_record(value), moment)
            elif key.startswith(records.CHILD):
                child = records.decode_child(value)
                self._learn(key[len(records.CHILD) :].decode(), child)
            elif key == records.NUMBER:
                self._number = records.decode_count(value)
            elif key == records.STAMP:
                self._stamp = records.decode_count(value)
        for key, _ in rows:
            if key.startswith(records.HAS):
                number, child_name = records.number_in(key, records.HAS)
                self._items[number].has |= {child_name.decode()}
        for key in bodies:
            number, index = records.number_in(key, records.BODY)
            holding = self._items[number]
            end = min(int.from_bytes(index) * PIECE_BYTES + PIECE_BYTES, holding.item.size)
            holding.arrived = holding.kept = end
        unverified = [one for one in self._items.values() if one.phase == PARTIAL and one.kept == one.item.size]
        return [*(Verify(holding) for holding in unverified), *self._release_all()]

    def _recover_item(self, record: Record, moment: Moment) -> None:
        # The time of day may have been set back: no item has been under way for less than nothing.
        holding = Holding(record.item, moment.clock_s - max(0.0, moment.unix_s - record.began))
        holding.phase, holding.stamp, holding.since_s = record.phase, record.stamp, moment.clock_s
        holding.offered, holding.stamped = True, record.stamp > 0
        self._add(holding)

    def _add(self, holding: Holding) -> None:
        item = holding.item
        self._items[item.number] = holding
        self._by_id[item.source, item.id] = item.number
        heappush(self._expiries, (item.expires, item.number))
        if holding.phase != RELEASED:
            self.bytes += item.size
        self.whole += holding.stamped and holding.phase == WHOLE

    # What is known

    def __len__(self) -> int:
        """Return how many items are known: those that have not expired, with a body or without."""
        return len(self._items)

    def find(self, number: int) -> Holding | None:
        """Return what there is of an item."""
        return self._items.get(number)

    def number_of(self, source: str, id: str) -> int | None:
        """Return the number of an item that a source has published under an id, and that has not expired."""
        return self._by_id.get((source, id))

    def held(self) -> list[Held]:
        """Return what is here, whole, by stamp."""
        whole = [one.held() for one in self._items.values() if one.phase == WHOLE and one.stamped]
        return sorted(whole, key=lambda held: held.stamp)

    def unfinished(self) -> list[tuple[int, int]]:
        """Return the number of each item of which something is here, and not all, and how many bytes."""
        return [(number, one.arrived) for number, one in self._items.items() if one.phase == PARTIAL and one.arrived]

    def pending(self, child: str) -> list[Holding]:
        """Return what a child is still to have, in the order in which it was given numbers."""
        return [self._items[number] for number in sorted(self._items) if self.is_for(child, self._items[number])]

    def is_for(self, child: str, holding: Holding) -> bool:
        """Whether a child is still to have an item."""
        return (
            holding.offered
            and holding.phase != RELEASED
            and child not in holding.has
            and self.routes.leads_to(child, holding.item)
        )

    # Items come

    def accept(self, item: Item, priority: int, moment: Moment) -> tuple[int, list[Effect]]:
        """Take an item in from a source; return its number, which nobody hears of before it is on the disk."""
        if not self._number:
            first = self.first_number if self.first_number is not None else int(moment.unix_s * NUMBERS_PER_S)
            self._number = first - 1
        self._number += 1
        item = msgspec.structs.replace(
            item, number=self._number, priority=priority, injected=moment.unix_s, route=self.routes.route_of(item)
        )
        return self._number, self._begin(item, 0.0, moment, [(records.NUMBER, records.encoded(self._number))])

    def announced(self, item: Item, delay_s: float, moment: Moment) -> list[Effect]:
        """Hear from the parent of an item that is not known here."""
        return self._begin(item, delay_s, moment, [])

    def _begin(self, item: Item, delay_s: float, moment: Moment, changes: "list[Change]") -> list[Effect]:
        holding = Holding(item, moment.clock_s - delay_s)
        self._add(holding)
        record = records.encoded(Record(item, moment.unix_s - delay_s))
        return [Save([*changes, (records.item_key(item.number), record)], Step(holding, ANNOUNCED))]

    def piece(self, number: int, index: int, data: bytes) -> list[Effect]:
        """Take the next piece of an item."""
        holding = self._items.get(number)
        if holding is None or holding.phase != PARTIAL or index * PIECE_BYTES != holding.arrived:
            return []
        holding.arrived += len(data)
        changes = [(records.piece_key(number, index), data)]
        return [Save(changes, Step(holding, PIECE)), Grew(number, holding.arrived)]

    def saved(self, step: Step) -> list[Effect]:
        """Hear that a `Save` is durable."""
        holding, what = step
        number, size = holding.item.number, holding.item.size
        if self._items.get(number) is not holding:
            return []
        if what == ANNOUNCED:
            holding.offered = True
            return [Offer(holding), *([Verify(holding)] if not size else [])]
        if what == PIECE:
            holding.kept = min(holding.kept + PIECE_BYTES, size)
            return [Kept(number, holding.kept) if holding.kept < size else Verify(holding)]
        holding.stamped = True
        self.whole += 1
        return [Finished(holding.held()), *self._release(number, holding)]

    def verified(self, holding: Holding, digest: bytes, moment: Moment) -> list[Effect]:
        """Hear the digest of what the disk has of an item, as it was asked for."""
        number = holding.item.number
        if self._items.get(number) is not holding:
            return []
        if digest != holding.item.digest:
            return [Damaged(holding.item), *self._remove(number, holding)]
        self._stamp += 1
        holding.phase, holding.stamp, holding.since_s = WHOLE, self._stamp, moment.clock_s
        changes = [self._record(holding, moment), (records.STAMP, records.encoded(self._stamp))]
        return [Save(changes, Step(holding, STAMPED))]

    def _record(self, holding: Holding, moment: Moment) -> "Change":
        began = moment.unix_s - (moment.clock_s - holding.began_s)
        record = Record(holding.item, began, holding.phase, holding.stamp)
        return records.item_key(holding.item.number), records.encoded(record)

    # Items go

    def withdrawn(self, number: int) -> list[Effect]:
        """Hear that an item comes no further; what is whole stays until it expires."""
        holding = self._items.get(number)
        return self._remove(number, holding) if holding is not None and holding.phase == PARTIAL else []

    def next_wakeup(self) -> float | None:
        """Return when something expires, in Unix seconds."""
        return self._expiries[0][0] if self._expiries else None

    def expire(self, moment: Moment) -> list[Effect]:
        """Let go of what has expired."""
        effects: list[Effect] = []
        while self._expiries and self._expiries[0][0] <= moment.unix_s:
            _, number = heappop(self._expiries)
            holding = self._items.get(number)
            if holding is not None:
                effects += self._remove(number, holding)
        return effects

    def _remove(self, number: int, holding: Holding) -> list[Effect]:
        del self._items[number]
        item = holding.item
        if self._by_id.get((item.source, item.id)) == number:
            del self._by_id[item.source, item.id]
        keys = [records.item_key(number), *(records.has_key(number, child) for child in sorted(holding.has))]
        held = holding.held() if holding.phase == WHOLE and holding.stamped else None
        return [Gone(item, held), Save([*self._remove_body(holding), *records.removal_of(keys)])]

    def _remove_body(self, holding: Holding) -> "list[Change]":
        size, holding.arrived = holding.arrived, 0
        if holding.phase != RELEASED:
            self.bytes -= holding.item.size
        self.whole -= holding.stamped and holding.phase == WHOLE
        return records.removal(holding.item.number, size)

    def _release(self, number: int, holding: Holding) -> list[Effect]:
        """Let go of a body, if all who need it have it; somebody must be known, or it waits for whoever comes."""
        needed = [child for child in self.children if self.routes.leads_to(child, holding.item)]
        if self._keeps or not self.children or not holding.stamped or holding.phase != WHOLE:
            return []
        if not holding.has.issuperset(needed):
            return []
        removal = self._remove_body(holding)
        held, holding.phase = holding.held(), RELEASED
        record = Record(holding.item, 0.0, RELEASED, holding.stamp)
        keys = [records.has_key(number, child) for child in sorted(holding.has)]
        holding.has = NOBODY
        changes = [(records.item_key(number), records.encoded(record)), *records.removal_of(keys)]
        return [Gone(holding.item, held), Save([*removal, *changes])]

    def _release_all(self) -> list[Effect]:
        """Let go of all that nobody needs any more, or whose release a crash has cut off."""
        return [effect for number, holding in self._items.items() for effect in self._release(number, holding)]

    # Children

    def child_came(self, name: str, born: str) -> list[Effect]:
        """Hear from a child: it is known from now on. One with another disk has nothing any more."""
        known = self.children.get(name)
        if known is not None and known.born == born:
            return []
        keys = []
        for number, holding in self._items.items():
            if name in holding.has:
                holding.has -= {name}
                keys.append(records.has_key(number, name))
        return [Save([*records.removal_of(keys), self._learn(name, Child(born))])]

    def child_reported(self, name: str, child: Child) -> list[Effect]:
        """Take a child's report, and keep it; it may need other items now."""
        if self.children.get(name) == child:
            return []
        return [Save([self._learn(name, child)]), *self._release_all()]

    def _learn(self, name: str, child: Child) -> "Change":
        self.children[name] = child
        self.routes.reported(name, child.reach)
        return records.child_key(name), records.encoded(child)

    def child_forgotten(self, name: str) -> list[Effect]:
        """Forget a child for good: nothing is held for it."""
        if self.children.pop(name, None) is None:
            return []
        self.routes.forget(name)
        keys = [records.child_key(name)]
        for number, holding in self._items.items():
            if name in holding.has:
                holding.has -= {name}
                keys.append(records.has_key(number, name))
        return [Save(records.removal_of(keys)), *self._release_all()]

    def child_has(self, name: str, number: int) -> list[Effect]:
        """Hear that a child has an item, whole."""
        holding = self._items.get(number)
        if holding is None or name in holding.has or name not in self.children or holding.phase == RELEASED:
            return []
        holding.has |= {name}
        return [Save([(records.has_key(number, name), b"")]), *self._release(number, holding)]
