"""The single-node engine: what this node's disk holds is agreed on."""

from collections.abc import Callable
from typing import ClassVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from chatproto.errors import StoreError
from chatproto.link import Turn
from chatproto.log.entry import Entry, Epochs, Numbering, Run
from chatproto.log.gathering import Gathering
from chatproto.log.interface import ILog, IStore, Peer, Replayed, Slice, Snapshot
from chatproto.log.recovery import SNAPSHOT_ENTRIES, answer_from_store, recover


@implementer(ILog)
class SingleLog:
    """`ILog` on one store. Commits, while one is under way, wait and then go together."""

    role = "leader"
    redundancy = "single"
    serving = True
    durable = 1
    witness = None
    waits_for = ""
    peers: ClassVar[list[Peer]] = []

    def __init__(self, open_store: Callable[[], IStore], turn: Turn) -> None:
        """Stand on the store that `open_store` opens when the log is opened; batch by `turn`."""
        self.position = 0
        self.epoch = 1
        self._epochs: Epochs = []
        self._open_store = open_store
        self._gathering = Gathering(turn, self._append)
        self._numbering = Numbering(0, {}, self.epoch)
        self._uncommitted: dict[str, list[Entry]] = {}
        self._snapshot_index = 0

    def open(self, replayed: Replayed) -> None:
        """See `ILog.open`."""
        self._store = self._open_store()
        self._replayed = replayed
        if self._store.configuration() is not None:
            raise StoreError("this data directory is that of a node of a pair: name the other node with --peer")
        found = recover(self._store, replayed)
        self.position = found.index
        self._snapshot_index = found.snapshot_index
        self._epochs = found.epochs or [(self.epoch, 1)]
        self.epoch = self._epochs[-1][0]
        self._numbering = Numbering(found.index, found.positions, self.epoch)

    def submit(self, entry: Entry) -> None:
        """See `ILog.submit`."""
        if not (entry.retriable and self._known(entry)):
            self._gathering.add(entry)

    def _known(self, entry: Entry) -> bool:
        again = self._uncommitted.get(entry.id)
        if again is not None:
            again.append(entry)
            return True
        index = self._store.find(entry.id)
        if index is None:
            self._uncommitted[entry.id] = []
            return False
        answer_from_store(self._store, self._replayed, entry, index)
        return True

    def _append(self, entries: list[Entry]) -> None:
        runs = self._numbering.seal(entries)
        self._store.append(runs, lambda: self._committed(runs))

    def _committed(self, runs: list[Run]) -> None:
        self.position = runs[-1].last
        self._replayed.commit(runs)
        for run in runs:
            for offset in run.retriable:
                for entry in self._uncommitted.pop(run.ids[offset]):
                    self._replayed.repeated(entry, run, offset)
        if self.position - self._snapshot_index >= SNAPSHOT_ENTRIES:
            self.snapshot()

    def snapshot(self) -> None:
        """See `ILog.snapshot`."""
        state, first = self._replayed.capture()
        self._snapshot_index = self.position
        # These positions count entries that are not committed yet. They were appended before this is
        # saved, so they are durable by then, and replaying them sets the same positions again.
        positions = dict(self._numbering.positions)
        self._store.save(Snapshot(self.position, self.epoch, positions, state, first, self._epochs))

    def had(self, epoch: int) -> bool:
        """See `ILog.had`."""
        return any(epoch == each for each, _ in self._epochs)

    def tell(self, note: bytes) -> bool:
        """See `ILog.tell`."""
        return False

    def read(self, room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        """See `ILog.read`."""
        return self._store.read(room, position, bytes_max, count_max)

    def peek(self, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        """See `ILog.peek`."""
        return self._store.peek(room, position, bytes_max, count_max)

    def expired(self, before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        """See `ILog.expired`."""
        return self._store.expired(before, bytes_max)

    def close(self) -> "Deferred[None]":
        """See `ILog.close`."""
        self._gathering.flush()
        return self._store.close()
