"""Performs what `Readers` decides, with readers that acknowledge at once."""

from collections import defaultdict

from chatproto.news.delivery.keeping import POSITION, RECORD
from chatproto.news.delivery.ranges import Ranges
from chatproto.news.delivery.readers import Readers
from chatproto.news.delivery.records import UNDELIVERED
from chatproto.news.delivery.schedule import PaidSend
from chatproto.news.delivery.table import Table
from chatproto.news.items import TOPICS, Held
from chatproto.news.placing.actions import Place, Remove
from chatproto.news.terms import Placement
from tests.unit.news.delivery.items import held

EPOCH = 1_800_000_000.0


class Room:
    """A node without links or disk."""

    def __init__(self, rate: float = 0, readers_max: int = 100_000) -> None:
        self.now = 0.0
        self.disk: dict[bytes, bytes] = {}
        self.held: list[Held] = []
        self.got: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self.sent_bytes: list[tuple[float, int]] = []
        self.order: list[str] = []
        self.silent: set[str] = set()
        self.unfinished: list[str] = []
        self._rate = rate
        self.restart()

    def restart(self) -> None:
        """Begin a life with what is on the disk."""
        self.table = Table(frozenset(TOPICS))
        self.readers = Readers(EPOCH, self._rate)
        self.table.restore(self._rows(b"delivery/placement/"))
        self.table.placed = lambda placement: self.readers.placed(placement, self.now)
        self.table.removed = lambda name: self.readers.removed(name, self.now)
        self.readers.restore(self.table.placements.values(), self._rows(POSITION), self._rows(RECORD), self.now)
        self.readers.undeliverable.restore(self._rows(UNDELIVERED))
        for each in self.held:
            self.readers.arrived(each, self.now)

    def _rows(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.disk.items() if key.startswith(prefix))

    def save(self) -> None:
        self._keep(self.readers.changes())

    def _keep(self, changes: object) -> None:
        for key, value in changes:  # type: ignore[attr-defined]
            if value is None:
                self.disk.pop(key, None)
            else:
                self.disk[key] = value

    def do(self, action: Place | Remove) -> str:
        refusal = self.table.refusal(action)
        if not refusal:
            self._keep(self.table.changes(action))
            self.table.done(action)
        return refusal

    def place(self, *placements: Placement) -> None:
        for placement in placements:
            assert not self.do(Place(placement))

    def come(self, *names: str, got: tuple[tuple[int, int], ...] = (), ages: tuple[float, ...] = ()) -> None:
        for name in names:
            if name in self.readers.free:
                self.readers.listens(name, self.now)
            else:
                self.readers.came(name, Ranges(got), {}, [self.now - age for age in ages], self.now)

    def put(self, stamp: int, size: int = 10, **fields: object) -> Held:
        """Have an item arrive."""
        new = held(stamp, size, **{"since": self.now, **fields})  # type: ignore[arg-type]
        self.held.append(new)
        self.readers.arrived(new, self.now)
        return new

    def expire(self, gone: Held) -> None:
        self.held.remove(gone)
        self.readers.gone(gone, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass, with whatever is to be done in it."""
        end = self.now + seconds
        while True:
            while (found := self.readers.next(self.now)) is not None:
                self._perform(found)
                self.save()
            self.save()
            wakeup = self.readers.next_wakeup()
            if wakeup is None or wakeup > end:
                break
            assert wakeup >= self.now, "time goes on"
            self.now = max(self.now, wakeup)
        self.now = end

    def _perform(self, found: object) -> None:
        reader, item = found.reader, found.held.item  # type: ignore[attr-defined]
        name, stamp = reader.placement.reader, found.held.stamp  # type: ignore[attr-defined]
        self.order.append(name)
        if not isinstance(found, PaidSend):
            self.sent_bytes.append((self.now, item.size))
            self.got[name].append((self.now, stamp))
            if name in self.silent:
                self.unfinished.append(name)
            else:
                self.readers.finished(name, self.now)
            return
        send = found.send
        self.sent_bytes.append((self.now, send.size))
        self.readers.sent(reader, self.now)
        if name not in self.silent and self.readers.taken(name, stamp, send.offset + send.size, self.now):
            self.got[name].append((self.now, stamp))

    def stamps(self, name: str) -> list[int]:
        return [stamp for _, stamp in self.got[name]]
