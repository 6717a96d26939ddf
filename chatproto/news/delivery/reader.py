"""One paid reader, as its delivery node sees it: what it has, what is under way to it, and its contract. Pure.

Times are `now`, seconds of a clock that only goes forward.
"""

from collections.abc import Iterable
from math import inf

import msgspec

from chatproto.news.delivery.hour import Hour
from chatproto.news.delivery.position import Position
from chatproto.news.delivery.ranges import Ranges
from chatproto.news.delivery.records import HOURS_KEPT, Record
from chatproto.news.delivery.shelves import Shelves
from chatproto.news.items import PRIORITIES, Held
from chatproto.news.terms import PUSH, Placement
from chatproto.news.tree.outlet import Outlet, Send

UNDER_WAY_MAX = 8
"""Items begun at once; one more may be begun if its priority is above that of all of them."""

PRESSING = 0.9
"""Of the delay that a contract allows: from then on an item goes before others, and free deliveries wait."""


class Reader:
    """A paid reader.

    Attributes:
        placement: what it has agreed on.
        position: what it has.
        hour: when it was delivered to.
        record: of the present hour of the clock, or an earlier one if nothing has happened since.
        last: the record before that; None for none.
        outlet: what is under way; None while it is away.
        credits: how many items a puller has asked for beyond those that were begun.
        pulling: whether a puller waits for the answer that this was all.
        changed: whether it is to be made durable.
        waits: whether it may be that something can be sent to it now.
        busy: whether something is being sent to it, so that it is not asked for more.
    """

    def __init__(self, placement: Placement, position: Position, hour: Hour, record: Record) -> None:
        """Make one that is away."""
        self.placement = placement
        self.position = position
        self.hour = hour
        self.record = record
        self.last: Record | None = None
        self.outlet: Outlet | None = None
        self.credits = 0
        self.pulling = False
        self.changed = False
        self.waits = False
        self.busy = False
        self._partial: dict[int, int] = {}
        self._got = Ranges()
        # Of what is under way: from when on each presses.
        self._presses: dict[int, float] = {}
        self._counted = 0
        self._held_back = False
        self._held_to = -inf

    @property
    def pulls(self) -> bool:
        """Whether it has to ask for what it gets."""
        return self.placement.terms.mode != PUSH

    # Coming and going

    def came(self, got: Ranges, partial: dict[int, int], recent: Iterable[float], now: float) -> None:
        """Begin to deliver, to somebody who has some items already.

        Args:
            got: numbers of items that it has.
            partial: numbers of items that it has a part of, and how many bytes.
            recent: when it was delivered to in the last hour, perhaps by another node.
            now: the time.
        """
        self.left()
        self.outlet = Outlet()
        self._got, self._partial = got, partial
        self.hour.merge(recent, now)
        self.waits = self.changed = self.record.away = True

    def left(self) -> None:
        """Deliver nothing more: the connection is gone."""
        if self.outlet is not None:
            self.changed = self.record.away = True
        self.outlet = None
        self.position.left()
        self.credits = 0
        self.pulling = self.waits = self.busy = False
        self._presses.clear()

    # What goes to it

    def fill(self, shelves: Shelves, now: float) -> float:
        """Begin as many items as may be under way; return when to look again, infinity where something has to happen.

        That is when the maximum allows another one.
        """
        outlet, position, terms = self.outlet, self.position, self.placement.terms
        assert outlet is not None
        while True:
            held = self._next(shelves)
            if held is None or (self.pulls and self.credits <= 0):
                self._held_back = False
                return inf
            priority = held.item.priority
            under_way = position.under_way
            if under_way >= UNDER_WAY_MAX and not position.below(priority):
                return inf
            room_at = self.hour.room_at(terms.maximum, under_way, now)
            if self._held_back or room_at > now:
                self._held_to = now
            if room_at > now:
                if not self._held_back:
                    self._held_back = self.changed = True
                    self.record.held += 1
                return room_at
            self._held_back = False
            self.credits -= self.pulls
            self.record.available += self.pulls
            position.begun(held.stamp, priority)
            size = held.item.size
            outlet.offer(held.stamp, priority, size, size, min(self._partial.pop(held.item.number, 0), size))
            # What the maximum has held back is late by the contract, not by this node.
            if terms.delay_s_max and held.since > self._held_to:
                self._presses[held.stamp] = held.since + PRESSING * terms.delay_s_max - held.delay_s
            self.waits = True

    def _next(self, shelves: Shelves) -> Held | None:
        terms, position = self.placement.terms, self.position
        for priority in reversed(PRIORITIES):
            while (held := shelves.next_in(terms, priority, position.cursor(priority))) is not None:
                if not position.has(held.stamp) and held.item.number not in self._got:
                    return held
                position.passed(held.stamp, priority)
                self.changed = True
        return None

    def pulled(self, count: int) -> None:
        """Hear that a puller asks for so many items, whatever it has asked for before."""
        self.credits = count
        self.pulling = self.waits = True

    def answered(self, shelves: Shelves) -> bool | None:
        """Return, once after each `pulled`, whether there is more than was asked for; None before that is known.

        What the maximum holds back is more, too: it can be asked for later. To be called after `fill`.
        """
        if not self.pulling or self.position.under_way:
            return None
        self.pulling, self.credits = False, 0
        return self._next(shelves) is not None

    def next_send(self) -> Send | None:
        """Return what to send now, and count it as sent; None where something has to happen first."""
        send = self.outlet.next_send() if self.outlet is not None else None
        self.waits = send is not None
        return send

    # What becomes of it

    def taken(self, held: Held, size: int, now: float) -> bool:
        """Hear that the reader has so many bytes of an item; return whether it is delivered by that.

        Raises:
            WireError: an item has no such size.
        """
        assert self.outlet is not None
        self.waits = True
        if not self.outlet.taken(held.stamp, size):
            return False
        if held.stamp in self._presses and held.delay_at(now) > self.placement.terms.delay_s_max:
            self.record.late += 1
        self._done(held)
        self.hour.add(now)
        self.record.delivered += 1
        return True

    def withdraw(self, held: Held) -> bool:
        """Hear that an item that is under way has gone; return whether the reader is to be told."""
        assert self.outlet is not None
        self.credits += self.pulls
        self._done(held)
        self.waits = True
        return self.outlet.withdrawn(held.stamp)

    def _done(self, held: Held) -> None:
        self._presses.pop(held.stamp, None)
        self.position.passed(held.stamp, held.item.priority)
        self.changed = True

    # Its contract

    def below_minimum(self, now: float) -> bool:
        """Whether fewer items were delivered in the last hour than the contract says."""
        return self.hour.count(now) < self.placement.terms.minimum

    def presses_at(self) -> float:
        """Return from when on something under way presses; infinity for never."""
        return min(self._presses.values(), default=inf)

    def missing(self, held: Held) -> bool:
        """Whether an item is for this reader, and it has not got it."""
        item, position = held.item, self.position
        if not self.placement.terms.includes(item) or item.number in self._got:
            return False
        return held.stamp > position.floors[item.priority] and not position.has(held.stamp)

    def why_not(self, held: Held, now: float) -> str:
        """Return why an item was not delivered yet, as a code of `chatproto.news.delivery.records.REASONS`."""
        terms = self.placement.terms
        if self.outlet is None:
            return "away"
        if held.stamp in self.position:
            return "too-slow"
        if self.pulls and self.credits <= 0:
            return "not-asked"
        return "maximum" if self.hour.room_at(terms.maximum, self.position.under_way, now) > now else "too-slow"

    def account(self, shelves: Shelves, hour: int) -> list[int]:
        """Count what there is for the reader, now, in an hour of the clock; return the hours whose records go.

        To be called when something has arrived, when the reader has come, and when it is delivered to.
        """
        gone: list[int] = []
        terms = self.placement.terms
        if hour > self.record.hour:
            gone = old_hours(self.record.hour, hour)
            self.last = self._over()
            self.record = Record(hour, available=self.pulls * self.position.under_way, away=self.outlet is None)
            self._counted, self._held_back, self.changed = 0, False, True
        if self.outlet is not None and not self.pulls and shelves.newest > self._counted:
            floors = self.position.floors
            count = sum(shelves.count_in(terms, each, max(floors[each], self._counted)) for each in PRIORITIES)
            if not self._counted:
                count -= sum(shelves.get(stamp) is not None for stamp, _ in self.position.above)
            if count:
                self.record.available += count
                self.changed = True
            self._counted = shelves.newest
        return gone

    def _over(self) -> Record:
        record = self.record
        return msgspec.structs.replace(record, available=record.available - self.position.under_way)

    def verdict(self, hour: int) -> str:
        """Return what was made of the contract in an hour of the clock that is the last that is over.

        That is a verdict of `Record`; where nothing has happened, `away` if the reader was.
        """
        terms = self.placement.terms
        if self.record.hour == hour:
            return self._over().verdict(terms)
        if self.last is not None and self.last.hour == hour:
            return self.last.verdict(terms)
        return "met" if self.outlet is not None else "away"


def old_hours(last: int, hour: int) -> list[int]:
    """Return the hours whose records go when that of `last` is followed by that of `hour`."""
    return list(range(last + 1 - HOURS_KEPT, min(last, hour - HOURS_KEPT) + 1))
