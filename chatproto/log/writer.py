"""What is written to the SQLite store, and which of it shares a transaction."""

import queue
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorFromThreads

from chatproto.disk.writing import WriterThread
from chatproto.errors import StoreCorrupt
from chatproto.log.entry import Run
from chatproto.log.interface import Snapshot
from chatproto.log.purge import Purge
from chatproto.log.rows import INSERT_ROW, remove_after, row_of

STEP_S = 0.005
"""How long after one step of what can wait, saving or purging, the next may begin."""
WORK_S = 0.001
"""How long a step of saving takes in another part."""
SAVE_STEPS = 400
"""In how many parts the ids of a snapshot are written at most, however many they are."""
STEP_IDS_MIN = 100
"""Ids in a part at least."""
IDS_SORTED = 1000
"""Ids that are sorted at once, before they are merged: of 50,000 the reactor would have to wait for the end."""

_encode = msgspec.msgpack.encode


class _Shared(msgspec.Struct, gc=False):
    """What goes with its neighbours in the queue into one transaction: runs, or rows for a statement."""

    done: Callable[[], None]
    runs: list[Run] = []
    statement: str = ""
    rows: Sequence[tuple[Any, ...]] = ()


class _Alone(msgspec.Struct, gc=False):
    """What has a transaction of its own: `change` is called in it, and `then` after it, both on the writer's thread."""

    change: Callable[[], None]
    done: Callable[[], None]
    then: Callable[[], None]


class _Saving:
    """A snapshot on its way: first its ids, some in each transaction, then itself.

    Those that are there without it, after a crash, are the ones that the log gives for its entries.

    Attributes:
        done: called on the reactor's thread when all is there, and `then` on the writer's.
    """

    def __init__(
        self, snapshot: Snapshot, ids: dict[str, int], now: float, done: Callable[[], None], then: Callable[[], None]
    ) -> None:
        self.done = done
        self.then = then
        self._snapshot = snapshot
        self._now = now
        self._step_ids = max(len(ids) // SAVE_STEPS, STEP_IDS_MIN)
        self._unsorted = iter(ids.items())
        self._sorted: list[list[tuple[str, int]]] = []
        self._ids = self._merged()

    def _merged(self) -> Iterator[tuple[str, int]]:
        # Neighbours in the table follow one another: they share a page of it more often.
        yield from merge(*self._sorted)

    def some(self, database: sqlite3.Connection) -> bool:
        """Prepare or write some of it, as part of a transaction; return whether that was the end."""
        if some := sorted(islice(self._unsorted, IDS_SORTED)):
            self._sorted.append(some)
            return False
        rows = [(id, index, self._now) for id, index in islice(self._ids, self._step_ids)]
        database.executemany("INSERT OR REPLACE INTO ids VALUES (?, ?, ?)", rows)
        if len(rows) == self._step_ids:
            return False
        database.execute("DELETE FROM snapshot")
        database.execute("INSERT INTO snapshot VALUES (?, ?)", (self._snapshot.index, _encode(self._snapshot)))
        database.execute("DELETE FROM pair WHERE key = 'installing'")
        return True


class Writer(WriterThread[_Shared | _Alone | _Saving]):
    """Writes to a database of the store.

    `done` calls are made on the reactor's thread, in the order in which their work was asked; but what is appended
    does not wait for a snapshot.

    Attributes:
        purges: what is still to be deleted of what snapshots have made unneeded.
    """

    def __init__(
        self, database: sqlite3.Connection, path: str, failed: Callable[[str], None], reactor: IReactorFromThreads
    ) -> None:
        """Start the thread; see `WriterThread`."""
        self.purges = Purge(database)
        self._saving: _Saving | None = None
        self._installing = False
        self._step_at = 0.0
        super().__init__(database, path, failed, reactor)

    # On the reactor's thread

    def append(self, runs: list[Run], done: Callable[[], None]) -> None:
        """See `IStore.append`."""
        self._jobs.put(_Shared(done, runs))

    def configure(self, configuration: bytes, done: Callable[[], None]) -> None:
        """See `IStore.configure`."""
        statement = "INSERT OR REPLACE INTO pair VALUES ('configuration', ?)"
        self._jobs.put(_Shared(done, [], statement, [(configuration,)]))

    def adopted(self, ids: list[str]) -> None:
        """See `IStore.adopted`."""
        self._jobs.put(_Shared(_nothing, [], "DELETE FROM orphans WHERE id = ?", [(id,) for id in ids]))

    def learn(self, ids: list[tuple[str, int, float]]) -> None:
        """See `IStore.learn`."""
        self._jobs.put(_Shared(_nothing, [], "INSERT OR REPLACE INTO ids VALUES (?, ?, ?)", ids))

    def save(self, snapshot: Snapshot, ids: dict[str, int], now: float, done: Callable[[], None]) -> None:
        """See `IStore.save`; the ids go with the snapshot, as of `now` in Unix seconds."""
        self._jobs.put(_Saving(snapshot, ids, now, done, partial(self.purges.plan, snapshot, now)))

    def cut(self, after: int, orphans: list[tuple[str, bytes]], done: Callable[[], None]) -> None:
        """See `IStore.cut`."""
        # What snapshots up to `after` have planned to purge lies below them, and is not touched.
        self._jobs.put(_Alone(partial(self._cut, after, list(orphans)), done, _nothing))

    def install(self, after: int, done: Callable[[], None]) -> None:
        """See `IStore.install`; where `after` is below the newest snapshot, 0 has to be said in its place."""
        self._jobs.put(_Alone(partial(self._install, after), done, self.purges.forget))

    def forget(self, done: Callable[[], None]) -> None:
        """See `IStore.forget`; the room on the disk is given back, too."""
        self._jobs.put(_Alone(self._forget, done, self._shrink))

    # The writer's thread

    def write_some(self) -> bool:
        """See `WriterThread.write_some`; a snapshot goes on, and what is unneeded is purged, in steps in between."""
        try:
            job = self._jobs.get(timeout=self._spare_s())
        except queue.Empty:
            if self._saving is not None:
                self._commit([])
            else:
                self.purges.some()
                self._step_at = time.monotonic() + STEP_S
            return True
        shared: list[_Shared] = []
        while isinstance(job, _Shared):
            shared.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._commit(shared)
                return True
        if shared:
            self._commit(shared)
        # Whatever else there is comes after a snapshot that was asked before.
        self._save_rest()
        if isinstance(job, _Saving):
            self._saving = job
            self._step_at = 0.0
            if self._installing:
                # What is appended after it would go with the installation, if the process ended before it is there.
                self._save_rest()
                self._installing = False
        elif job is not None:
            self._commit_alone(job)
        return job is not None

    def _spare_s(self) -> float | None:
        """How long there is nothing to do but what is asked; None is any time."""
        if self._saving is None and not self.purges:
            return None
        return max(0.0, self._step_at - time.monotonic())

    def _save_rest(self) -> None:
        while self._saving is not None:
            self._step_at = 0.0
            self._commit([])

    def _commit(self, jobs: list[_Shared]) -> None:
        execute, executemany = self._database.execute, self._database.executemany
        execute("BEGIN IMMEDIATE")
        executemany(INSERT_ROW, [row_of(run) for job in jobs for run in job.runs])
        for job in jobs:
            if job.rows:
                executemany(job.statement, job.rows)
        saved = self._save_some()
        execute("COMMIT")
        self._reactor.callFromThread(_all_done, jobs)
        if saved is not None:
            self._reactor.callFromThread(saved.done)
            saved.then()
            self._saving = None

    def _save_some(self) -> _Saving | None:
        """Go on with a snapshot, if it is time to; return the one that is whole with this transaction."""
        saving, now = self._saving, time.monotonic()
        if saving is None or now < self._step_at:
            return None
        self._step_at = now + STEP_S
        while not (whole := saving.some(self._database)) and time.monotonic() < now + WORK_S:
            pass
        return saving if whole else None

    def _commit_alone(self, job: _Alone) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        job.change()
        self._database.execute("COMMIT")
        self._reactor.callFromThread(job.done)
        job.then()

    def _cut(self, after: int, orphans: list[tuple[str, bytes]]) -> None:
        (snapshot,) = self._database.execute("SELECT max(idx) FROM snapshot").fetchone()
        if snapshot is not None and snapshot > after:
            raise StoreCorrupt(f"the entries after {after} are in the snapshot of entry {snapshot}")
        self._check_end(after)
        keep = "INSERT INTO orphans (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        self._database.executemany(keep, orphans)
        remove_after(self._database, after)

    def _install(self, after: int) -> None:
        self._installing = True
        self._check_end(after)
        remove_after(self._database, after)
        # An installation that was begun before goes back further or as far.
        self._database.execute("INSERT OR IGNORE INTO pair VALUES ('installing', ?)", (after,))

    def _forget(self) -> None:
        for table in ("log", "ids", "snapshot", "pair", "orphans"):
            self._database.execute(f"DELETE FROM {table}")

    def _shrink(self) -> None:
        self.purges.forget()
        self._database.execute("VACUUM")
        # It is all in the write-ahead log yet, beside what was there.
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _check_end(self, after: int) -> None:
        """Raise unless the entry is the last one of its run: no run is cut in two."""
        last = "SELECT idx + count - 1 FROM log WHERE idx <= ? ORDER BY idx DESC LIMIT 1"
        row = self._database.execute(last, (after,)).fetchone()
        if row is not None and row[0] > after:
            raise StoreCorrupt(f"the entries after {after} are in one run with those before")


def abandon_installation(database: sqlite3.Connection) -> None:
    """Go back to where the other node's log began to be taken in, if that was not ended."""
    row = database.execute("SELECT value FROM pair WHERE key = 'installing'").fetchone()
    if row is not None:
        database.execute("BEGIN IMMEDIATE")
        remove_after(database, row[0])
        database.execute("DELETE FROM pair WHERE key = 'installing'")
        database.execute("COMMIT")


def _all_done(jobs: list[_Shared]) -> None:
    for job in jobs:
        job.done()


def _nothing() -> None:
    pass
