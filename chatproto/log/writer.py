"""The thread that writes to the SQLite store: all that was asked, in order, in as few transactions as can be.

An error of the disk is never retried: after a failed fsync nobody knows what the kernel still holds
(Rebello et al., "Can Applications Recover from fsync Failures?", 2020). The opener is told, and ends the process.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

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


class Writer:
    """Writes to a database of the store.

    `done` calls are made on the reactor's thread, in the order in which their work was asked.

    Attributes:
        purges: what is still to be deleted of what snapshots have made unneeded.
        closed: fires when all is written after `close`, or never will be.
    """

    def __init__(
        self, database: sqlite3.Connection, path: str, failed: Callable[[str], None], reactor: IReactorFromThreads
    ) -> None:
        """Start the thread.

        Args:
            database: to be used by nobody else from now on.
            path: what to call it.
            failed: called once, on the reactor's thread, with the reason, when a write failed.
            reactor: answers come through its `callFromThread`.
        """
        self.purges = Purge(database)
        self.closed: Deferred[None] = Deferred()
        self._database = database
        self._path = path
        self._failed = failed
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[_Shared | _Alone | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="chatproto-writer", daemon=True)
        self._thread.start()

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

    def close(self) -> None:
        """Finish what was asked; `closed` says when."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    # The writer's thread

    def _write(self) -> None:
        try:
            while self._write_some():
                pass
        except (sqlite3.Error, OSError, StoreCorrupt) as error:
            self._reactor.callFromThread(self._failed, f"cannot write {self._path}: {error}")
            # What is asked later is never written and never done; `close` still gets its answer.
            while self._jobs.get() is not None:
                pass
        self._reactor.callFromThread(self.closed.callback, None)

    def _write_some(self) -> bool:
        """Do what queued up while the last commit was under way; return whether to go on."""
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
