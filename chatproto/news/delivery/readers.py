"""All readers of a delivery node: what becomes of what happens to them, and what is to be durable of it. Pure.

Times are `now`, seconds of a clock that only goes forward; it began at `epoch`, in Unix seconds.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from chatproto.news.delivery.free import FreeReader
from chatproto.news.delivery.keeping import POSITION, closed, kept_of, records_of, restored
from chatproto.news.delivery.ranges import Ranges
from chatproto.news.delivery.reader import Reader
from chatproto.news.delivery.records import NAMES_MAX, VERDICTS, Undeliverable, Undelivered
from chatproto.news.delivery.schedule import FreeSend, PaidSend, Schedule
from chatproto.news.delivery.shelves import Shelves
from chatproto.news.items import Held
from chatproto.news.terms import Placement

if TYPE_CHECKING:
    from chatproto.keyvalue.interface import Change

Rows = Iterable[tuple[bytes, bytes]]


class Readers:
    """Who is delivered to, and what is kept of it.

    Attributes:
        paid: by name.
        free: by name.
        shelves: what there is for them.
        schedule: what goes next to whom.
        undeliverable: what could not be delivered.
        late: items that paid readers have acknowledged later than their contracts say, in this life.
        withdrawn: names of paid readers, and stamps of items that they have a part of and come no further; whoever
            performs takes them out.
        ended: names of readers whose contract was removed, or is another one; taken out likewise.
    """

    def __init__(self, epoch: float, bytes_a_second: float = 0) -> None:
        """Begin with nobody, and nothing.

        Args:
            epoch: when the clock began, Unix seconds.
            bytes_a_second: see `Schedule`.
        """
        self.paid: dict[str, Reader] = {}
        self.free: dict[str, FreeReader] = {}
        self.shelves = Shelves()
        self.schedule = Schedule(self.shelves, bytes_a_second)
        self.undeliverable = Undeliverable()
        self.late = 0
        self.withdrawn: list[tuple[str, int]] = []
        self.ended: list[str] = []
        self._epoch = epoch
        self._paid_of: dict[str, dict[str, Reader]] = {}
        self._free_of: dict[str, dict[str, FreeReader]] = {}
        self._changes: list[Change] = []

    # Who there is

    def restore(self, placements: Iterable[Placement], positions: Rows, records: Rows, now: float) -> None:
        """Take up what is durable.

        Args:
            placements: of all readers.
            positions: the rows that begin with `POSITION`.
            records: the rows that begin with `RECORD`.
            now: the time.

        Raises:
            msgspec.MsgspecError: it is not readable.
        """
        kept = {key[len(POSITION) :].decode(): value for key, value in positions}
        known = records_of(records)
        for placement in placements:
            name = placement.reader
            if placement.terms.paid:
                reader = restored(placement, kept.pop(name, None), known.get(name, []), self._epoch, now)
                self._add(reader)
            else:
                self._add_free(FreeReader(placement))
        # What was written of somebody while he was being removed.
        self._changes += [(POSITION + name.encode(), None) for name in kept]
        for name in known.keys() - self.paid.keys():
            self._changes += closed(name, None, [record.hour for record in known[name]])

    def placed(self, placement: Placement, now: float) -> None:
        """Hear that a reader is here, with this contract; what it had of an earlier one it keeps."""
        name = placement.reader
        before, free_before = self.paid.get(name), self.free.get(name)
        if before is not None or free_before is not None:
            self.removed(name, now)
        if not placement.terms.paid:
            free = FreeReader(placement)
            free.after = free_before.after if free_before is not None else 0
            self._add_free(free)
            return
        reader = restored(placement, None, [], self._epoch, now)
        if before is not None:
            reader.position, reader.hour = before.position, before.hour
            reader.record, reader.last = before.record, before.last
        reader.changed = True
        self._add(reader)
        self.schedule.look(reader, now)

    def removed(self, name: str, now: float) -> None:
        """Hear that a reader is here no longer."""
        reader, free = self.paid.pop(name, None), self.free.pop(name, None)
        if reader is not None:
            reader.left()
            self.schedule.forget(reader, now)
            self.schedule.changed.pop(reader, None)
            for topic in reader.placement.terms.topics:
                del self._paid_of[topic][name]
        if free is not None:
            self.schedule.forget_free(free)
            for topic in free.placement.terms.topics:
                del self._free_of[topic][name]
        self.ended.append(name)

    def _add(self, reader: Reader) -> None:
        placement = reader.placement
        self.paid[placement.reader] = reader
        for topic in placement.terms.topics:
            self._paid_of.setdefault(topic, {})[placement.reader] = reader

    def _add_free(self, reader: FreeReader) -> None:
        placement = reader.placement
        self.free[placement.reader] = reader
        for topic in placement.terms.topics:
            self._free_of.setdefault(topic, {})[placement.reader] = reader

    # What there is

    def arrived(self, held: Held, now: float) -> None:
        """Hear of an item."""
        item = held.item
        self.shelves.add(held)
        hour = self._hour(now)
        for reader in self._paid_of.get(item.topic, {}).values():
            if reader.outlet is not None and reader.placement.terms.includes(item):
                self._account(reader, hour)
                self.schedule.look(reader, now)
        if not item.exclusive:
            for free in self._free_of.get(item.topic, {}).values():
                if free.idle and not free.pulls:
                    self.schedule.look_at_free(free, now)

    def gone(self, held: Held, now: float) -> None:
        """Hear that an item has expired; once or more often."""
        if self.shelves.get(held.stamp) is None:
            return
        self.shelves.remove(held)
        missed: dict[str, list[str]] = {}
        for name, reader in self._paid_of.get(held.item.topic, {}).items():
            if not reader.missing(held):
                continue
            missed.setdefault(reader.why_not(held, now), []).append(name)
            if held.stamp in reader.position:
                if reader.withdraw(held):
                    self.withdrawn.append((name, held.stamp))
                self.schedule.look(reader, now)
        for why, names in missed.items():
            self._changes.append(self.undeliverable.add(self._undelivered(held, why, names)))

    def _undelivered(self, held: Held, why: str, names: list[str]) -> Undelivered:
        item = held.item
        return Undelivered(
            item.expires, item.number, item.source, item.title, why, len(names), tuple(names[:NAMES_MAX])
        )

    # Paid readers

    def came(self, name: str, got: Ranges, partial: dict[int, int], recent: Iterable[float], now: float) -> None:
        """Hear that a paid reader is connected; see `Reader.came`. If it was connected already, no longer so."""
        reader = self.paid[name]
        reader.came(got, partial, recent, now)
        self._account(reader, self._hour(now))
        self.schedule.look(reader, now)

    def went(self, name: str, now: float) -> None:
        """Hear that a paid reader is connected no longer."""
        reader = self.paid[name]
        reader.left()
        self.schedule.look(reader, now)

    def pulled(self, name: str, count: int, now: float) -> None:
        """Hear that a paid reader asks for so many items."""
        reader = self.paid[name]
        reader.pulled(count)
        self.schedule.look(reader, now)

    def taken(self, name: str, stamp: int, size: int, now: float) -> bool:
        """Hear that a paid reader has so many bytes of an item; return whether it is delivered by that.

        It may be one that has gone meanwhile.

        Raises:
            WireError: an item has no such size.
        """
        held, reader = self.shelves.get(stamp), self.paid[name]
        if held is None or stamp not in reader.position:
            return False
        self._account(reader, self._hour(now))
        late = reader.record.late
        delivered = reader.taken(held, size, now)
        self.late += reader.record.late - late
        self.schedule.look(reader, now)
        return delivered

    def sent(self, reader: Reader, now: float) -> None:
        """Hear that what was to be sent is: see `Schedule.sent`. If it has left meanwhile, nothing comes of it."""
        self.schedule.sent(reader, now)

    # Free readers

    def listens(self, name: str, now: float) -> None:
        """Hear that a free reader who is pushed to listens."""
        reader = self.free[name]
        reader.listens = True
        self.schedule.look_at_free(reader, now)

    def silent(self, name: str) -> None:
        """Hear that a free reader listens no more."""
        self.schedule.forget_free(self.free[name])

    def pulled_free(self, name: str, after: int, count: int, now: float) -> None:
        """Hear that a free reader asks for so many items after a stamp."""
        reader = self.free[name]
        # Above all that there is here are the stamps of a node that this one has been before.
        reader.pulled(after if after <= self.shelves.newest else 0, count)
        self.schedule.look_at_free(reader, now)

    def finished(self, name: str, now: float) -> None:
        """Hear that an item was sent to a free reader, or came to nothing."""
        reader = self.free.get(name)
        if reader is not None:
            self.schedule.finished(reader, now)

    # What is sent, and kept

    def next(self, now: float) -> PaidSend | FreeSend | None:
        """Return what to send now: see `Schedule.next`. Nothing that has expired."""
        while (found := self.schedule.next(now)) is not None and found.held.item.expires <= self._epoch + now:
            if isinstance(found, FreeSend):
                self.schedule.finished(found.reader, now)
            else:
                found.reader.busy = False
            self.gone(found.held, now)
        return found

    def next_wakeup(self) -> float | None:
        """Return when to ask for what is `next`, whatever happens until then; None for never."""
        return self.schedule.next_wakeup()

    def changes(self) -> "list[Change]":
        """Return what is to be made durable, and was not returned before."""
        changes, self._changes = self._changes, []
        for reader in self.schedule.changed:
            reader.changed = False
            changes += kept_of(reader, self._epoch)
        self.schedule.changed.clear()
        return changes

    def verdicts(self, now: float) -> Counter[str]:
        """Count the paid contracts by what was made of them in the last hour of the clock that is over."""
        hour = self._hour(now) - 1
        verdicts = Counter(dict.fromkeys(VERDICTS, 0))
        verdicts.update(reader.verdict(hour) for reader in self.paid.values())
        return verdicts

    def _hour(self, now: float) -> int:
        return int((self._epoch + now) // 3600)

    def _account(self, reader: Reader, hour: int) -> None:
        before, gone = reader.record, reader.account(self.shelves, hour)
        if reader.record is not before:
            self._changes += closed(reader.placement.reader, reader.last, gone)
