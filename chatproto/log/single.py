"""The single-node engine: what this node's disk holds is agreed on."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from chatproto.errors import StoreCorrupt, StoreError
from chatproto.link import Turn
from chatproto.log.entry import MESSAGE, Entry, Numbering, Run
from chatproto.log.interface import ILog, IStore, Slice, Snapshot

SNAPSHOT_ENTRIES = 50_000
"""Entries between snapshots: replaying so many takes well under a second."""

GATHER_TURNS_MAX = 8
"""Reactor turns that a batch waits while each brings it more: entries that follow one another closely then share
a commit and, which matters more, a write to every receiver."""

log = Logger()


@implementer(ILog)
class SingleLog:
    """`ILog` on one store. Commits, while one is under way, wait and then go together."""

    epoch = 1
    role = "leader"
    redundancy = "single"
    durable = 1

    def __init__(self, open_store: Callable[[], IStore], turn: Turn) -> None:
        """Stand on the store that `open_store` opens when the log is opened; batch by `turn`."""
        self.position = 0
        self._open_store = open_store
        self._turn = turn
        self._numbering = Numbering(0, {}, self.epoch)
        self._queued: list[Entry] = []
        self._uncommitted: dict[str, list[Entry]] = {}
        self._snapshot_index = 0
        self._seen = 0
        self._turns = 0

    def open(
        self,
        restore: Callable[[bytes], None],
        replay: Callable[[Run], None],
        commit: Callable[[list[Run]], None],
        repeated: Callable[[Entry, Run | None, int], None],
        capture: Callable[[], tuple[bytes, dict[str, int]]],
    ) -> None:
        """See `ILog.open`."""
        self._store = self._open_store()
        try:
            self._recover(restore, replay)
        except StoreError:
            raise
        except Exception as error:
            raise StoreCorrupt(
                f"the log cannot be replayed beyond entry {self.position} ({error!r}): "
                "restore it from the other node or a backup"
            ) from error
        self._commit = commit
        self._repeated = repeated
        self._capture = capture

    def _recover(self, restore: Callable[[bytes], None], replay: Callable[[Run], None]) -> None:
        snapshot, runs = self._store.recover()
        positions: dict[str, int] = {}
        if snapshot is not None:
            restore(snapshot.state)
            self.position, positions = snapshot.index, snapshot.positions
        self._snapshot_index = self.position
        for run in runs:
            if run.kind == MESSAGE:
                last = positions.get(run.room, 0)
                # The snapshot's positions may be ahead of its index: see `snapshot`.
                if run.position > last + 1 or run.position < 1:
                    raise StoreCorrupt(
                        f"{run.room} has no message {last + 1}: restore the log from the other node or a backup"
                    )
                positions[run.room] = max(last, run.position + len(run.ids) - 1)
            replay(run)
            self.position = run.index + len(run.ids) - 1
        self._numbering = Numbering(self.position, positions, self.epoch)

    def submit(self, entry: Entry) -> None:
        """See `ILog.submit`."""
        if entry.retriable and self._known(entry):
            return
        if not self._queued:
            self._turn.at_end(self._gather)
        self._queued.append(entry)

    def _known(self, entry: Entry) -> bool:
        again = self._uncommitted.get(entry.id)
        if again is not None:
            again.append(entry)
            return True
        index = self._store.find(entry.id)
        if index is None:
            self._uncommitted[entry.id] = []
            return False
        held = self._store.run_of(index)
        held.addCallback(lambda run: self._repeated(entry, run, index - run.index if run else 0))
        held.addErrback(lambda failure: log.failure("reading entry {index} back", failure, index=index))
        return True

    def _gather(self) -> None:
        """Append what is queued, once a turn brought nothing more."""
        if self._seen < len(self._queued) and self._turns < GATHER_TURNS_MAX:
            self._seen = len(self._queued)
            self._turns += 1
            self._turn.at_end(self._gather)
        else:
            self._append()

    def _append(self) -> None:
        self._seen = self._turns = 0
        if not self._queued:
            return  # Closing was faster.
        entries, self._queued = self._queued, []
        runs = self._numbering.seal(entries)
        self._store.append(runs, lambda: self._committed(runs))

    def _committed(self, runs: list[Run]) -> None:
        last = runs[-1]
        self.position = last.index + len(last.ids) - 1
        self._commit(runs)
        for run in runs:
            for offset in run.retriable:
                for entry in self._uncommitted.pop(run.ids[offset]):
                    self._repeated(entry, run, offset)
        if self.position - self._snapshot_index >= SNAPSHOT_ENTRIES:
            self.snapshot()

    def snapshot(self) -> None:
        """See `ILog.snapshot`."""
        state, first = self._capture()
        self._snapshot_index = self.position
        # These positions count entries that are not committed yet. They were appended before this is
        # saved, so they are durable by then, and replaying them sets the same positions again.
        positions = dict(self._numbering.positions)
        self._store.save(Snapshot(self.position, self.epoch, positions, state, first))

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
        self._append()
        return self._store.close()
