"""What goes next to whom: who has a contract that is about to be broken first, and the free of charge last. Pure.

In this order: paid readers that are below the minimum of their contract; those for whom something presses, because
nine tenths of the delay that is allowed are over; other paid readers; free readers. Within each, in turn. While
something presses and has to wait, nothing goes to free readers, nor for `RESUME_AFTER_S` seconds after that.

Nobody is looked at without a reason: something has arrived for it, was taken by it, or its time has come.
"""

from collections import deque
from itertools import count
from math import inf
from typing import NamedTuple

from chatproto.news.delivery.due import Due
from chatproto.news.delivery.free import MAXIMUM, SUSPENDED, FreePulled, FreeReader
from chatproto.news.delivery.reader import Reader
from chatproto.news.delivery.shelves import Shelves
from chatproto.news.items import Held
from chatproto.news.messages import CHUNK_BYTES_MAX
from chatproto.news.tree.outlet import HEADER_BYTES, Send
from chatproto.wire.bucket import TokenBucket

RESUME_AFTER_S = 5.0
"""Free deliveries are resumed when for so long nothing has pressed."""

BURST_BYTES = 4 * CHUNK_BYTES_MAX
"""What may be sent at once, whatever the rate."""

FREE_UNDER_WAY_MAX = 256
"""Items that are being sent to free readers at once."""


class PaidSend(NamedTuple):
    """A part of an item is to be sent to a paid reader, who is busy until `Schedule.sent`."""

    reader: Reader
    held: Held
    send: Send


class FreeSend(NamedTuple):
    """An item is to be sent to a free reader, who is sent nothing else until `Schedule.finished`."""

    reader: FreeReader
    held: Held


class Schedule:
    """Decides what is sent.

    Attributes:
        suspensions: how often free deliveries were suspended.
        suspended_s: for how long, as far as that is over.
        answers: to readers who have pulled, and have all that they are given for it: whether there is more. Whoever
            performs takes them out.
        free_answers: the same, to free readers.
        changed: paid readers of which there is something to be made durable; taken out likewise.
    """

    def __init__(self, shelves: Shelves, bytes_a_second: float = 0) -> None:
        """Begin with nobody.

        Args:
            shelves: what there is.
            bytes_a_second: what is sent at most, bodies and about their descriptions; 0 for any number.
        """
        self.suspensions = 0
        self.suspended_s = 0.0
        self.answers: list[tuple[Reader, bool]] = []
        self.free_answers: list[FreePulled] = []
        self.changed: dict[Reader, None] = {}
        self._shelves = shelves
        # A free item is sent as a whole; what it owes the line is owed by those after it that are free, too.
        self._bucket = TokenBucket(bytes_a_second, BURST_BYTES)
        self._paid_bucket = TokenBucket(bytes_a_second, BURST_BYTES)
        self._paid_at = self._free_at = -inf
        self._turns = count()
        self._below: Due[Reader] = Due()
        self._pressing: Due[Reader] = Due()
        self._others: Due[Reader] = Due()
        # Of those in one of the three, when something begins to press; then they are among `_pressed`.
        self._presses: Due[Reader] = Due()
        self._pressed: dict[Reader, None] = {}
        # When somebody is to be looked at, whatever happens until then.
        self._looks: Due[Reader | FreeReader] = Due()
        self._free: deque[FreeReader] = deque()
        self._free_under_way: dict[FreeReader, None] = {}
        self._suspended_since: float | None = None
        self._resumes_at = -inf

    # Who may be sent to

    def look(self, reader: Reader, now: float) -> None:
        """Look at a paid reader to whom something has happened."""
        if reader.outlet is None or reader.busy:
            self.forget(reader, now)
        else:
            self._look(reader, now)
        if reader.changed:
            self.changed[reader] = None

    def _look(self, reader: Reader, now: float) -> None:
        look_at = reader.fill(self._shelves, now)
        more = reader.answered(self._shelves)
        if more is not None:
            self.answers.append((reader, more))
        if not reader.waits:
            self.forget(reader, now)
        elif reader.below_minimum(now):
            self._queue(reader, self._below, next(self._turns))
        elif reader.presses_at() <= now:
            self._queue(reader, self._pressing, reader.presses_at())
        else:
            self._queue(reader, self._others, next(self._turns))
            look_at = min(look_at, reader.hour.below_at(reader.placement.terms.minimum, now))
        if reader.waits and reader.presses_at() <= now:
            self._pressed[reader] = None
        else:
            self._ease(reader, now)
            if reader.waits:
                self._presses.put(reader, reader.presses_at())
        if look_at < inf:
            self._looks.put(reader, look_at)

    def _queue(self, reader: Reader, queue: Due[Reader], place: float) -> None:
        for other in (self._below, self._pressing, self._others):
            if other is not queue:
                other.drop(reader)
        if reader not in queue:
            queue.put(reader, place)

    def forget(self, reader: Reader, now: float) -> None:
        """Send nothing to a paid reader until it is looked at again."""
        for queue in (self._below, self._pressing, self._others, self._presses):
            queue.drop(reader)
        self._looks.drop(reader)
        self._ease(reader, now)

    def _ease(self, reader: Reader, now: float) -> None:
        if reader in self._pressed:
            del self._pressed[reader]
            self._resumes_at = now + RESUME_AFTER_S

    def look_at_free(self, reader: FreeReader, now: float) -> None:
        """Look at a free reader, in its turn, for something has arrived for it, or it has asked."""
        if not reader.idle:
            return
        if reader.pulls and self.suspended(now):
            self.free_answers.append(reader.answer(self._shelves, SUSPENDED))
        else:
            reader.waits = True
            self._free.append(reader)

    def forget_free(self, reader: FreeReader) -> None:
        """Send nothing more to a free reader until it is looked at again."""
        reader.listens = reader.under_way = False
        self._looks.drop(reader)
        self._free_under_way.pop(reader, None)

    # What is sent

    def next(self, now: float) -> PaidSend | FreeSend | None:
        """Return what to send now; None where something has to happen first, or it is not yet `next_wakeup`."""
        self._wake(now)
        if now < self._paid_at:
            return None
        for queue in (self._below, self._pressing, self._others):
            while (reader := queue.pop()) is not None:
                send = reader.next_send()
                held = self._shelves.get(send.key) if send is not None else None
                self.forget(reader, now)
                if send is not None and held is not None:
                    reader.busy = True
                    size = send.size + (HEADER_BYTES if send.announces else 0)
                    self._paid_at = now + self._paid_bucket.take(size, now)
                    self._free_at = now + self._bucket.take(size, now)
                    return PaidSend(reader, held, send)
                # Its window is full; nobody else tells when its hour has room again.
                self.look(reader, now)
        return self._next_free(now)

    def sent(self, reader: Reader, now: float) -> None:
        """Hear that what was to be sent to a paid reader is."""
        reader.busy = False
        self.look(reader, now)

    def finished(self, reader: FreeReader, now: float) -> None:
        """Hear that an item was sent to a free reader, or that it came to nothing."""
        if reader in self._free_under_way:
            del self._free_under_way[reader]
            reader.under_way = False
            self.look_at_free(reader, now)

    def _next_free(self, now: float) -> FreeSend | None:
        if now < self._free_at or self.suspended(now):
            return None
        while self._free and len(self._free_under_way) < FREE_UNDER_WAY_MAX:
            reader = self._free.popleft()
            reader.waits = False
            if not reader.listens:
                continue
            held, look_at = reader.next(self._shelves, now)
            if held is not None:
                self._free_under_way[reader] = None
                self._free_at = now + self._bucket.take(held.item.size + HEADER_BYTES, now)
                return FreeSend(reader, held)
            if reader.pulls:
                self.free_answers.append(reader.answer(self._shelves, MAXIMUM if look_at < inf else ""))
            elif look_at < inf:
                self._looks.put(reader, look_at)
        return None

    # Time

    def suspended(self, now: float) -> bool:
        """Whether free deliveries are suspended."""
        suspended = bool(self._pressed) or now < self._resumes_at
        if suspended and self._suspended_since is None:
            self._suspended_since = now
            self.suspensions += 1
        elif not suspended and self._suspended_since is not None:
            self.suspended_s += now - self._suspended_since
            self._suspended_since = None
        return suspended

    @property
    def is_suspended(self) -> bool:
        """Whether free deliveries were suspended when that was looked at last."""
        return self._suspended_since is not None

    def next_wakeup(self) -> float | None:
        """Return when to ask for what is `next`, whatever happens until then; None for never."""
        times = [due[0] for due in (self._looks.first(), self._presses.first()) if due is not None]
        if self._below or self._pressing or self._others:
            times.append(self._paid_at)
        elif self._free and len(self._free_under_way) < FREE_UNDER_WAY_MAX and not self._pressed:
            times.append(max(self._paid_at, self._free_at, self._resumes_at))
        return min((time for time in times if time < inf), default=None)

    def _wake(self, now: float) -> None:
        while (reader := self._presses.pop(now)) is not None:
            self._pressed[reader] = None
            if reader in self._others:
                self._queue(reader, self._pressing, reader.presses_at())
        while (looked_at := self._looks.pop(now)) is not None:
            if isinstance(looked_at, FreeReader):
                self.look_at_free(looked_at, now)
            else:
                self.look(looked_at, now)
        self.suspended(now)
