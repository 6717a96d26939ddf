"""The store of the log in SQLite: WAL, synchronous FULL, one writer thread.

A row is a run: consecutive entries of one kind, epoch and room. A busy room costs one row a commit,
interleaved rooms cost a row a message; either way each line is stored once, as the bytes that clients receive.

The ids that clients chose are kept in memory since the newest snapshot, and go with it, sorted, into a table:
random keys inserted one by one would touch a page each, in every commit.

An error of the disk is never retried: after a failed fsync nobody knows what the kernel still holds
(Rebello et al., "Can Applications Recover from fsync Failures?", 2020). The opener is told, and ends the process.
"""

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError, StoreVersion
from chatproto.log.entry import Run
from chatproto.log.interface import IStore, Slice, Snapshot
from chatproto.log.purge import Purge
from chatproto.log.rows import find_expired, read_run, read_slices, runs_after

T = TypeVar("T")

FILE_NAME = "log.sqlite"
APPLICATION_ID = 0x63707274
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE log (
    idx INTEGER PRIMARY KEY,    -- of the first entry of the run
    count INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    room TEXT NOT NULL,
    position INTEGER NOT NULL,  -- of the first entry in its room's archive; 0 for acts
    time REAL NOT NULL,
    ids BLOB NOT NULL,          -- msgpack: one for each entry
    retriable BLOB,             -- msgpack: offsets of the ids that clients chose; NULL for none
    body BLOB NOT NULL          -- the lines, joined by newlines
) STRICT;
CREATE INDEX archive ON log (room, position) WHERE position > 0;
CREATE TABLE ids (
    id TEXT PRIMARY KEY,        -- chosen by a client
    idx INTEGER NOT NULL,
    time REAL NOT NULL          -- of the newest entry when this was written: never before the entry's own
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot (idx INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
"""
_encode = msgspec.msgpack.encode


def file_of(directory: str) -> str:
    """Return the path of the database in a data directory."""
    return os.path.join(directory, FILE_NAME)


def connect(directory: str, *, writing: bool) -> sqlite3.Connection:
    """Open the database of a data directory and check that it is one of ours.

    Raises:
        StoreError: there is none, it is another program's, or it was written by another version.
    """
    path = file_of(directory)
    with ExitStack() as opened:
        try:
            if not writing and not os.path.exists(path):
                raise StoreError(f"no chatproto data in {directory}")
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            opened.callback(database.close)
            _check(database, path)
            # Only now: a database of somebody else is not to be changed.
            if writing:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=FULL")
                database.execute("PRAGMA wal_autocheckpoint=4000")
            else:
                database.execute("PRAGMA query_only=ON")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open {path}: {error}") from error
        opened.pop_all()
    return database


def _check(database: sqlite3.Connection, path: str) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program")
    if tables and version != SCHEMA_VERSION:
        raise StoreVersion(f"{path} has schema version {version}, not {SCHEMA_VERSION}: use the release that wrote it")


class _Worker:
    """A thread that does one thing after another and answers on the reactor's thread."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def run(self, work: Callable[[], T]) -> "Deferred[T]":
        result: Deferred[T] = Deferred()

        def job() -> None:
            try:
                value = work()
            except BaseException:
                self._reactor.callFromThread(result.errback, Failure())
            else:
                self._reactor.callFromThread(result.callback, value)

        self._jobs.put(job)
        return result

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join()


class _Append(msgspec.Struct, gc=False):
    runs: list[Run]
    done: Callable[[], None]


class _Save(msgspec.Struct, gc=False):
    snapshot: Snapshot
    ids: list[tuple[str, int]]
    time: float
    saved: Callable[[], None]


@implementer(IStore)
class SQLiteStore:
    """`IStore` in a data directory, which is locked while it is open."""

    def __init__(self, directory: str, failed: Callable[[str], None], reactor: IReactorFromThreads) -> None:
        """Open, creating what is missing, and check.

        Args:
            directory: the data directory; made, with its parents, where it is missing.
            failed: called once, on the reactor's thread, with the reason, when a write failed.
            reactor: answers come through its `callFromThread`.

        Raises:
            StoreBusy: another process has it.
            StoreVersion: it was written by another version of the schema.
            StoreCorrupt: SQLite's integrity check found something.
            StoreError: it cannot be made or written.
        """
        self.directory = directory
        self._reactor = reactor
        self._failed = failed
        with ExitStack() as opened:
            opened.callback(os.close, _lock(directory))
            self._database = opened.enter_context(closing(connect(directory, writing=True)))
            self._prepare()
            self._lookup = opened.enter_context(closing(connect(directory, writing=False)))
            self._reading = opened.enter_context(closing(connect(directory, writing=False)))
            self._opened = opened.pop_all()
        self._recent: dict[str, int] = {}
        self._newest_time = 0.0
        self._saving: dict[str, int] | None = None
        self._purges = Purge(self._database)
        self._reader = _Worker(reactor, "chatproto-reader")
        self._jobs: queue.SimpleQueue[_Append | _Save | None] = queue.SimpleQueue()
        self._closed: Deferred[None] = Deferred()
        self._writer = threading.Thread(target=self._write, name="chatproto-writer", daemon=True)
        self._writer.start()

    def _prepare(self) -> None:
        path = file_of(self.directory)
        try:
            if self._database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                marks = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
                self._database.executescript(f"BEGIN; {SCHEMA} {marks} COMMIT;")
            (verdict,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"cannot use {path}: {error}") from error
        if verdict != "ok":
            found = " ".join(verdict.split())
            raise StoreCorrupt(f"{path} is damaged ({found}): restore it from the other node or a backup")

    # IStore, on the reactor's thread

    def recover(self) -> tuple[Snapshot | None, Iterable[Run]]:
        """See `IStore.recover`."""
        row = self._lookup.execute("SELECT body FROM snapshot ORDER BY idx DESC LIMIT 1").fetchone()
        snapshot = msgspec.msgpack.decode(row[0], type=Snapshot) if row else None
        return snapshot, self._remembered(runs_after(self._lookup, snapshot.index if snapshot else 0))

    def _remembered(self, runs: Iterable[Run]) -> Iterable[Run]:
        for run in runs:
            self._remember(run)
            yield run

    def append(self, runs: list[Run], done: Callable[[], None]) -> None:
        """See `IStore.append`."""
        for run in runs:
            self._remember(run)
        self._jobs.put(_Append(runs, done))

    def _remember(self, run: Run) -> None:
        self._newest_time = max(self._newest_time, run.time)
        for offset in run.retriable:
            self._recent[run.ids[offset]] = run.index + offset

    def save(self, snapshot: Snapshot) -> None:
        """See `IStore.save`."""
        if self._saving is not None:
            return  # The one before is still being written; the next one will hold more anyway.
        ids, self._saving, self._recent = sorted(self._recent.items()), self._recent, {}
        self._jobs.put(_Save(snapshot, ids, self._newest_time, self._saved))

    def _saved(self) -> None:
        self._saving = None

    def find(self, id: str) -> int | None:
        """See `IStore.find`."""
        found = self._recent.get(id) or (self._saving or {}).get(id)
        if found is not None:
            return found
        row = self._lookup.execute("SELECT idx FROM ids WHERE id = ?", (id,)).fetchone()
        return row[0] if row else None

    def run_of(self, index: int) -> "Deferred[Run | None]":
        """See `IStore.run_of`."""
        return self._reader.run(lambda: read_run(self._reading, index))

    def read(self, room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        """See `IStore.read`."""
        return self._reader.run(lambda: read_slices(self._reading, room, position, bytes_max, count_max))

    def peek(self, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        """See `IStore.peek`."""
        return read_slices(self._lookup, room, position, bytes_max, count_max)

    def expired(self, before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        """See `IStore.expired`."""
        return self._reader.run(lambda: find_expired(self._reading, before, bytes_max))

    def close(self) -> "Deferred[None]":
        """See `IStore.close`."""
        self._jobs.put(None)
        return self._closed.addCallback(lambda _: self._let_go())

    def _let_go(self) -> None:
        self._writer.join()
        self._reader.stop()
        self._opened.close()

    # The writer's thread

    def _write(self) -> None:
        try:
            while self._write_some():
                pass
        except (sqlite3.Error, OSError) as error:
            reason = f"cannot write {file_of(self.directory)}: {error}"
            self._reactor.callFromThread(self._failed, reason)
            # Later appends are never written and never done; `close` still gets its answer.
            while self._jobs.get() is not None:
                pass
        self._reactor.callFromThread(self._closed.callback, None)

    def _write_some(self) -> bool:
        """Do what queued up while the last commit was under way; return whether to go on."""
        try:
            job = self._jobs.get(block=not self._purges)
        except queue.Empty:
            self._purges.some()
            return True
        appends: list[_Append] = []
        while isinstance(job, _Append):
            appends.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._commit(appends)
                return True
        if appends:
            self._commit(appends)
        if job is None:
            return False
        self._commit_snapshot(job)
        return True

    def _commit(self, appends: list[_Append]) -> None:
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    run.index,
                    len(run.ids),
                    run.epoch,
                    run.kind,
                    run.room,
                    run.position,
                    run.time,
                    _encode(run.ids),
                    _encode(run.retriable) if run.retriable else None,
                    run.body,
                )
                for append in appends
                for run in append.runs
            ],
        )
        execute("COMMIT")
        self._reactor.callFromThread(_all_done, appends)

    def _commit_snapshot(self, save: _Save) -> None:
        snapshot = save.snapshot
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        rows = [(id, index, save.time) for id, index in save.ids]
        self._database.executemany("INSERT OR REPLACE INTO ids VALUES (?, ?, ?)", rows)
        execute("DELETE FROM snapshot")
        execute("INSERT INTO snapshot VALUES (?, ?)", (snapshot.index, _encode(snapshot)))
        execute("COMMIT")
        self._reactor.callFromThread(save.saved)
        self._purges.plan(snapshot, save.time)


def _all_done(appends: list[_Append]) -> None:
    for append in appends:
        append.done()


def _lock(directory: str) -> int:
    """Make the data directory where it is missing and lock it; the lock goes with the process."""
    try:
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700)
            # A new directory is durable only once its parent is.
            parent = os.open(os.path.dirname(os.path.abspath(directory)), os.O_RDONLY)
            os.fsync(parent)
            os.close(parent)
        lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use the data directory {directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreBusy(f"the data directory {directory} is in use by another process") from error
    return lock
