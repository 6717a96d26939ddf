"""The store of the log in SQLite: WAL, synchronous FULL, one writer thread.

A row is a run: consecutive entries of one kind, epoch and room. A busy room costs one row a commit,
interleaved rooms cost a row a message; either way each line is stored once, as the bytes that clients receive.

The ids that clients chose are kept in memory since the newest snapshot, and go with it, sorted, into a table:
random keys inserted one by one would touch a page each, in every commit.

`chatproto.log.writer` has the transactions, `chatproto.log.rows` the queries.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from chatproto.disk.database import DatabaseFile, told
from chatproto.disk.directory import lock
from chatproto.disk.worker import Worker
from chatproto.log.entry import Run
from chatproto.log.ids import RecentIds
from chatproto.log.interface import IStore, Slice, Snapshot
from chatproto.log.rows import find_expired, read_ids, read_run, read_runs, read_slices, read_snapshot, runs_after
from chatproto.log.writer import Writer, abandon_installation

SCHEMA = (
    """
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
""",
    """
CREATE TABLE pair (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL          -- configuration: as the engine encoded it; installing: after which index
) STRICT, WITHOUT ROWID;
CREATE TABLE orphans (
    number INTEGER PRIMARY KEY, -- in the order in which they were cut off
    id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL          -- the entry, as the engine encoded it
) STRICT;
""",
    """
CREATE INDEX acts ON log (idx) WHERE position = 0; -- those that a snapshot makes unneeded, among all messages
""",
)
"""What each version adds to the one before."""
LOG = DatabaseFile("log.sqlite", 0x63707274, SCHEMA, "restore it from the other node or a backup")


@implementer(IStore)
class SQLiteStore:
    """`IStore` in a data directory, which is locked while it is open."""

    def __init__(
        self, directory: str, failed: Callable[[str], None], reactor: IReactorFromThreads, kind: str = ""
    ) -> None:
        """Open, creating what is missing, and check.

        Args:
            directory: the data directory; made, with its parents, where it is missing.
            failed: called once, on the reactor's thread, with the reason, when a write failed.
            reactor: answers come through its `callFromThread`.
            kind: of the node, see `chatproto.disk.directory.lock`.

        Raises:
            StoreBusy: another process has it.
            StoreVersion: it was written by another version of the schema.
            StoreCorrupt: SQLite's integrity check found something.
            StoreError: it cannot be made or written, or is one of a node of another kind.
        """
        self.directory = directory
        with ExitStack() as opened:
            opened.callback(os.close, lock(directory, kind))
            self._database = opened.enter_context(closing(LOG.open(directory)))
            with told(LOG.path_in(directory)):
                abandon_installation(self._database)
            self._lookup = opened.enter_context(closing(LOG.connect(directory)))
            self._reading = opened.enter_context(closing(LOG.connect(directory)))
            self._opened = opened.pop_all()
        self._ids = RecentIds()
        self._newest_time = 0.0
        self._reader = Worker(reactor, "chatproto-reader")
        self._writer = Writer(self._database, LOG.path_in(directory), failed, reactor)

    # IStore, on the reactor's thread

    def recover(self) -> tuple[Snapshot | None, Iterable[Run]]:
        """See `IStore.recover`."""
        snapshot = read_snapshot(self._lookup)
        index = snapshot.index if snapshot else 0
        self._ids.start(index)
        return snapshot, self._remembered(runs_after(self._lookup, index))

    def _remembered(self, runs: Iterable[Run]) -> Iterable[Run]:
        for run in runs:
            self._remember(run)
            yield run

    def append(self, runs: list[Run], done: Callable[[], None]) -> None:
        """See `IStore.append`."""
        for run in runs:
            self._remember(run)
        self._writer.append(runs, done)

    def _remember(self, run: Run) -> None:
        self._newest_time = max(self._newest_time, run.time)
        self._ids.remember(run)

    def save(self, snapshot: Snapshot) -> None:
        """See `IStore.save`."""
        ids = self._ids.save(snapshot.index)
        if ids is not None:
            self._writer.save(snapshot, ids, self._newest_time, self._ids.saved)

    def configuration(self) -> bytes | None:
        """See `IStore.configuration`."""
        row = self._lookup.execute("SELECT value FROM pair WHERE key = 'configuration'").fetchone()
        return row[0] if row else None

    def configure(self, configuration: bytes, done: Callable[[], None]) -> None:
        """See `IStore.configure`."""
        self._writer.configure(configuration, done)

    def orphans(self) -> list[tuple[str, bytes]]:
        """See `IStore.orphans`."""
        return self._lookup.execute("SELECT id, body FROM orphans ORDER BY number").fetchall()

    def cut(self, after: int, orphans: list[tuple[str, bytes]], done: Callable[[], None]) -> None:
        """See `IStore.cut`."""
        self._ids.cut(after)
        self._writer.cut(after, orphans, partial(self._removed, done))

    def adopted(self, ids: list[str]) -> None:
        """See `IStore.adopted`."""
        if ids:
            self._writer.adopted(ids)

    def install(self, after: int, done: Callable[[], None]) -> None:
        """See `IStore.install`."""
        self._writer.install(self._ids.install(after), partial(self._removed, done))

    def forget(self, done: Callable[[], None]) -> None:
        """See `IStore.forget`."""
        self._ids.forget()
        self._newest_time = 0.0
        self._writer.forget(partial(self._removed, done))

    def _removed(self, done: Callable[[], None]) -> None:
        self._ids.removed()
        done()

    def runs(self, after: int, bytes_max: int) -> "Deferred[list[Run]]":
        """See `IStore.runs`."""
        return self._reader.run(lambda: read_runs(self._reading, after, bytes_max))

    def saved(self) -> "Deferred[Snapshot | None]":
        """See `IStore.saved`."""
        return self._reader.run(lambda: read_snapshot(self._reading))

    def ids(self, after: str, count_max: int) -> "Deferred[list[tuple[str, int, float]]]":
        """See `IStore.ids`."""
        return self._reader.run(lambda: read_ids(self._reading, after, count_max))

    def learn(self, ids: list[tuple[str, int, float]]) -> None:
        """See `IStore.learn`."""
        self._writer.learn(ids)

    def find(self, id: str) -> int | None:
        """See `IStore.find`."""
        found = self._ids.find(id)
        if found is not None:
            return found
        row = self._lookup.execute("SELECT idx FROM ids WHERE id = ?", (id,)).fetchone()
        return None if row is None or self._ids.hides(row[0]) else row[0]

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
        self._writer.close()
        return self._writer.closed.addCallback(lambda _: self._let_go())

    def _let_go(self) -> None:
        self._writer.join()
        self._reader.stop()
        self._opened.close()
