"""The table of keys and values in SQLite: WAL, synchronous FULL, one writer thread, and one that reads."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from chatproto.disk.database import DatabaseFile
from chatproto.disk.directory import lock
from chatproto.disk.worker import Worker
from chatproto.disk.writing import WriterThread
from chatproto.keyvalue.interface import Change, IKeyValueStore
from chatproto.keyvalue.prefixes import end_of

# Values lie apart from keys, so that keys are listed without passing over what may be megabytes.
SCHEMA = ("CREATE TABLE held (key BLOB NOT NULL UNIQUE, value BLOB NOT NULL) STRICT;",)
TABLE = DatabaseFile("news.sqlite", 0x6370726B, SCHEMA, "restore it from a backup, or begin anew in another directory")


class _Write(msgspec.Struct, gc=False):
    """Changes that become durable together, and what is called then."""

    changes: Sequence[Change]
    done: Callable[[], None]


class _Writer(WriterThread[_Write]):
    """Writes what queued up while the last commit was under way in one transaction."""

    def write(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        """See `IKeyValueStore.write`."""
        self._jobs.put(_Write(changes, done))

    # The writer's thread

    def write_some(self) -> bool:
        """See `WriterThread.write_some`."""
        job = self._jobs.get()
        writes: list[_Write] = []
        while job is not None:
            writes.append(job)
            if self._jobs.empty():
                break
            job = self._jobs.get()
        if writes:
            self._commit(writes)
        return job is not None

    def _commit(self, writes: list[_Write]) -> None:
        # The last change of each key is the one that counts.
        changes = {key: value for write in writes for key, value in write.changes}
        if changes:
            execute, executemany = self._database.execute, self._database.executemany
            execute("BEGIN IMMEDIATE")
            executemany("DELETE FROM held WHERE key = ?", [(key,) for key, value in changes.items() if value is None])
            kept = [change for change in changes.items() if change[1] is not None]
            executemany(
                "INSERT INTO held VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", sorted(kept)
            )
            execute("COMMIT")
        self._reactor.callFromThread(_all_done, writes)


@implementer(IKeyValueStore)
class SQLiteTable:
    """`IKeyValueStore` in a data directory, which is locked while it is open."""

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
        with ExitStack() as opened:
            opened.callback(os.close, lock(directory, kind))
            database = opened.enter_context(closing(TABLE.open(directory)))
            self._lookup = opened.enter_context(closing(TABLE.connect(directory)))
            self._reading = opened.enter_context(closing(TABLE.connect(directory)))
            self._opened = opened.pop_all()
        self._reader = Worker(reactor, "chatproto-reader")
        self._writer = _Writer(database, TABLE.path_in(directory), failed, reactor)
        # By which write each key is changed that is not durable yet.
        self._changing: dict[bytes, object] = {}

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """See `IKeyValueStore.scan`."""
        return _select(self._lookup, "key, value", prefix)

    def keys(self, prefix: bytes) -> list[bytes]:
        """See `IKeyValueStore.keys`."""
        return [key for (key,) in _select(self._lookup, "key", prefix)]

    def read(self, key: bytes) -> "Deferred[bytes | None]":
        """See `IKeyValueStore.read`."""
        if key not in self._changing:
            return self._read(key)
        durable: Deferred[None] = Deferred()
        self._writer.write((), lambda: durable.callback(None))
        return durable.addCallback(lambda _: self._read(key))

    def _read(self, key: bytes) -> "Deferred[bytes | None]":
        return self._reader.run(lambda: _value(self._reading, key))

    def write(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        """See `IKeyValueStore.write`."""
        changes = list(changes)
        write = object()
        self._changing.update((key, write) for key, _ in changes)

        def durable() -> None:
            for key, _ in changes:
                if self._changing.get(key) is write:
                    del self._changing[key]
            done()

        self._writer.write(changes, durable)

    def close(self) -> "Deferred[None]":
        """See `IKeyValueStore.close`."""
        self._writer.close()
        # What was to be read is answered first.
        closed = self._writer.closed.addCallback(lambda _: self._reader.run(lambda: None))
        return closed.addCallback(lambda _: self._let_go())

    def _let_go(self) -> None:
        self._writer.join()
        self._reader.stop()
        self._opened.close()


def _select(database: sqlite3.Connection, columns: str, prefix: bytes) -> list[tuple[Any, ...]]:
    end = end_of(prefix)
    upto, bounds = ("", (prefix,)) if end is None else (" AND key < ?", (prefix, end))
    return database.execute(f"SELECT {columns} FROM held WHERE key >= ?{upto} ORDER BY key", bounds).fetchall()


def _value(database: sqlite3.Connection, key: bytes) -> bytes | None:
    row = database.execute("SELECT value FROM held WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _all_done(writes: list[_Write]) -> None:
    for write in writes:
        write.done()
