"""What is written to the SQLite store, and which of it shares a transaction."""

import queue
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorFromThreads

from chatproto.disk.writing import WriterThread
from chatproto.errors import StoreCorrupt
from chatproto.log.entry import Run
from chatproto.log.interface import Snapshot
from chatproto.log.purge import Purge
from chatproto.log.rows import INSERT_ROW, remove_after, row_of

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


class Writer(WriterThread[_Shared | _Alone]):
    """Writes to a database of the store.

    `done` calls are made on the reactor's thread, in the order in which their work was asked.

    Attributes:
        purges: what is still to be deleted of what snapshots have made unneeded.
    """

    def __init__(
        self, database: sqlite3.Connection, path: str, failed: Callable[[str], None], reactor: IReactorFromThreads
    ) -> None:
        """Start the thread; see `WriterThread`."""
        self.purges = Purge(database)
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
        change, then = partial(self._save, snapshot, ids, now), partial(self.purges.plan, snapshot, now)
        self._jobs.put(_Alone(change, done, then))

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
        """See `WriterThread.write_some`; while nothing is asked, some of what is unneeded is purged."""
        try:
            job = self._jobs.get(block=not self.purges)
        except queue.Empty:
            self.purges.some()
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
        if job is None:
            return False
        self._commit_alone(job)
        return True

    def _commit(self, jobs: list[_Shared]) -> None:
        execute, executemany = self._database.execute, self._database.executemany
        execute("BEGIN IMMEDIATE")
        executemany(INSERT_ROW, [row_of(run) for job in jobs for run in job.runs])
        for job in jobs:
            if job.rows:
                executemany(job.statement, job.rows)
        execute("COMMIT")
        self._reactor.callFromThread(_all_done, jobs)

    def _commit_alone(self, job: _Alone) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        job.change()
        self._database.execute("COMMIT")
        self._reactor.callFromThread(job.done)
        job.then()

    def _save(self, snapshot: Snapshot, ids: dict[str, int], now: float) -> None:
        execute = self._database.execute
        rows = [(id, index, now) for id, index in sorted(ids.items())]
        self._database.executemany("INSERT OR REPLACE INTO ids VALUES (?, ?, ?)", rows)
        execute("DELETE FROM snapshot")
        execute("INSERT INTO snapshot VALUES (?, ?)", (snapshot.index, _encode(snapshot)))
        execute("DELETE FROM pair WHERE key = 'installing'")

    def _cut(self, after: int, orphans: list[tuple[str, bytes]]) -> None:
        (snapshot,) = self._database.execute("SELECT max(idx) FROM snapshot").fetchone()
        if snapshot is not None and snapshot > after:
            raise StoreCorrupt(f"the entries after {after} are in the snapshot of entry {snapshot}")
        self._check_end(after)
        keep = "INSERT INTO orphans (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        self._database.executemany(keep, orphans)
        remove_after(self._database, after)

    def _install(self, after: int) -> None:
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
