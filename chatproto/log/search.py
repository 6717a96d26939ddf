"""Full-text search of a log: an index in a database of its own, made of what is committed, behind the commits.

No commit waits for it, not even for its disk. It can be lost, or be of another log: it is compared with the log before
it is added to, and made anew where the two do not fit; and whatever it finds is read from the log, where it has to be
the same entry still. Two entries with the same index and the same epoch are the same.
"""

import os
import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.disk.worker import Worker
from chatproto.errors import StoreError
from chatproto.log.entry import MESSAGE, Run
from chatproto.log.interface import Found, ISearch, Wanted
from chatproto.log.rows import read_run, read_runs
from chatproto.log.sqlite import LOG

FILE_NAME = "search.sqlite"
APPLICATION_ID = 0x63707366
VERSION = 1
"""An index of another version is made anew."""

CHUNK_BYTES = 256 * 1024
"""What is taken in at once: some ten milliseconds of work."""
FORGOTTEN_ROWS = 200
FIND_S_MAX = 0.5
"""A search that takes longer tells what it has."""
STEPS_BETWEEN_LOOKS = 2000

SCHEMA = f"""
DROP TABLE IF EXISTS words;
DROP TABLE IF EXISTS runs;
DROP TABLE IF EXISTS place;
CREATE VIRTUAL TABLE words USING fts5(room, content, tokenize = "unicode61 remove_diacritics 2");
CREATE TABLE runs (             -- of messages, as the log has them
    idx INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    room TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT;
CREATE INDEX archive ON runs (room, position);
CREATE TABLE place (idx INTEGER NOT NULL) STRICT;
INSERT INTO place VALUES (0);
PRAGMA application_id={APPLICATION_ID};
PRAGMA user_version={VERSION};
"""

_ADD_WORDS = """
INSERT INTO words (rowid, room, content)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1].roomid'), json_extract(value, '$[1].content')
FROM json_each(?)
"""

log = Logger()


@implementer(ISearch)
class SearchIndex:
    """`ISearch` in a data directory, on two threads: one that adds, and one that looks."""

    def __init__(self, directory: str, reactor: IReactorFromThreads) -> None:
        """Open, making what is missing.

        Args:
            directory: the data directory, with a log in it.
            reactor: answers come through its `callFromThread`.

        Raises:
            StoreError: it cannot be made; or this SQLite has no full-text search.
        """
        path = os.path.join(directory, FILE_NAME)
        with ExitStack() as opened:
            self._builder = opened.enter_context(closing(_Builder(directory, path)))
            self._finder = opened.enter_context(closing(_Finder(directory, path)))
            opened.pop_all()
        self._made_anew = False
        self._building = Worker(reactor, "chatproto-index")
        self._finding = Worker(reactor, "chatproto-search")

    def advance(self, position: int, first: dict[str, int]) -> "Deferred[int]":
        """See `ISearch.advance`."""
        advancing = self._building.run(lambda: self._builder.advance(position, first))
        return advancing.addErrback(self._make_anew)

    def find(self, wanted: Wanted) -> "Deferred[Found]":
        """See `ISearch.find`."""
        return self._finding.run(lambda: self._finder.find(wanted)).addErrback(self._make_anew)

    @inlineCallbacks
    def _make_anew(self, failure: Failure) -> Generator["Deferred[Any]", Any, Any]:
        """Begin again where the index is damaged: there is nothing in it that the log has not. Once in a life.

        Raises:
            StoreError: that was done. What failed otherwise is raised again.
        """
        if self._made_anew or not _damaged(failure):
            failure.raiseException()
        # It may be the log that is damaged: then that does not help, and is not to be done again and again.
        self._made_anew = True
        yield self._finding.run(self._finder.close_index)
        yield self._building.run(self._builder.begin_anew)
        yield self._finding.run(self._finder.open_index)
        raise StoreError(f"the index for searching was damaged, and is made anew ({failure.getErrorMessage()})")

    def close(self) -> "Deferred[None]":
        """See `ISearch.close`."""
        closing_both = gatherResults([self._building.run(self._builder.close), self._finding.run(self._finder.close)])
        return closing_both.addCallback(self._end)

    def _end(self, _: object) -> None:
        self._building.stop()
        self._finding.stop()


def _damaged(failure: Failure) -> bool:
    code = getattr(failure.value, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _Builder:
    """Adds to the index, and takes away from it."""

    def __init__(self, directory: str, path: str) -> None:
        self._path = path
        with ExitStack() as opened:
            self._log = opened.enter_context(closing(LOG.connect(directory)))
            try:
                self._index = self._open()
            except sqlite3.OperationalError as error:
                raise StoreError(f"cannot use {path}: {error}") from error
            except sqlite3.DatabaseError:
                # It is damaged, or something else. There is nothing in it that the log has not.
                self._unlink()
                self._index = self._open()
            opened.pop_all()
        # What was forgotten in this life, so that it is not looked for again.
        self._first: dict[str, int] = {}

    def _open(self) -> sqlite3.Connection:
        index = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            marks = [index.execute(f"PRAGMA {mark}").fetchone()[0] for mark in ("application_id", "user_version")]
            index.execute("PRAGMA journal_mode=WAL")
            # What a power cut costs is taken in again.
            index.execute("PRAGMA synchronous=NORMAL")
            if marks != [APPLICATION_ID, VERSION]:
                index.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        except BaseException:
            index.close()
            raise
        return index

    def begin_anew(self) -> None:
        """Put an empty index in the place of the one that there is, which nobody else has open."""
        self._index.close()
        self._unlink()
        self._first.clear()
        self._index = self._open()

    def _unlink(self) -> None:
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(self._path + end)

    def close(self) -> None:
        self._index.close()
        self._log.close()

    def advance(self, position: int, first: dict[str, int]) -> int:
        execute = self._index.execute
        (place,) = execute("SELECT idx FROM place").fetchone()
        if place > position or not self._fits(first):
            log.info("the index for searching is not of this log: it is made anew")
            self._index.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            self._first.clear()
            place = 0
        execute("BEGIN IMMEDIATE")
        try:
            unforgotten = self._forget(first)
            runs = [run for run in read_runs(self._log, place, CHUNK_BYTES) if run.last <= position]
            place = runs[-1].last if runs else position
            self._add([run for run in runs if run.kind == MESSAGE])
            execute("UPDATE place SET idx = ?", (place,))
            execute("COMMIT")
        except BaseException:
            if self._index.in_transaction:
                execute("ROLLBACK")
            raise
        return int(position - place) or int(unforgotten)

    def _fits(self, first: dict[str, int]) -> bool:
        """Whether the log still has what was added last, unless it was to be forgotten: then it has all before it."""
        held = self._index.execute(
            "SELECT idx, count, epoch, room, position FROM runs ORDER BY idx DESC LIMIT 1"
        ).fetchone()
        if held is None:
            return True
        there = self._log.execute(
            "SELECT idx, count, epoch, room, position FROM log WHERE idx = ?", (held[0],)
        ).fetchone()
        if there is None:
            _, count, _, room, position = held
            return bool(position + count <= first.get(room, 1))
        return bool(there == held)

    def _add(self, runs: list[Run]) -> None:
        lines = [
            f"[{index},{line.decode()}]" for run in runs for index, line in enumerate(run.lines(), start=run.index)
        ]
        # SQLite's JSON ends a string at a NUL. All is done in one statement: Python goes on meanwhile.
        self._index.execute(_ADD_WORDS, (f"[{','.join(lines)}]".replace("\\u0000", "\\u0020"),))
        rows = [(run.index, len(run.ids), run.epoch, run.room, run.position) for run in runs]
        self._index.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", rows)

    def _forget(self, first: dict[str, int]) -> bool:
        """Take some of what is below `first` away; return whether there is more."""
        for room, kept in first.items():
            if kept <= self._first.get(room, 1):
                continue
            rows = self._index.execute(
                "SELECT idx, count FROM runs WHERE room = ? AND position < ? AND position + count <= ? LIMIT ?",
                (room, kept, kept, FORGOTTEN_ROWS),
            ).fetchall()
            for index, count in rows:
                self._index.execute("DELETE FROM words WHERE rowid BETWEEN ? AND ?", (index, index + count - 1))
                self._index.execute("DELETE FROM runs WHERE idx = ?", (index,))
            if len(rows) == FORGOTTEN_ROWS:
                return True
            self._first[room] = kept
        return False


class _Finder:
    """Looks things up in the index, and reads them from the log."""

    def __init__(self, directory: str, path: str) -> None:
        self._path = path
        with ExitStack() as opened:
            self._log = opened.enter_context(closing(LOG.connect(directory)))
            self.open_index()
            opened.pop_all()

    def open_index(self) -> None:
        self._index = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
        self._index.execute("PRAGMA query_only=ON")

    def close_index(self) -> None:
        self._index.close()

    def close(self) -> None:
        self._index.close()
        self._log.close()

    def find(self, wanted: Wanted) -> Found:
        deadline = time.monotonic() + FIND_S_MAX
        self._index.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_LOOKS)
        lines: list[tuple[str, bytes]] = []
        try:
            for room, line in self._matches(wanted):
                if len(lines) == wanted.limit:
                    return Found(lines, more=True)
                lines.append((room, line))
        except sqlite3.OperationalError as error:
            if str(error) != "interrupted":
                raise
            return Found(lines, more=True, complete=False)
        return Found(lines, more=False)

    def _matches(self, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
        end = self._end(wanted)
        if end is None or not wanted.rooms:
            return
        rooms = " OR ".join(f'"{name}"' for name in wanted.rooms)
        # Closed, for as long as it is open the write-ahead log cannot begin anew.
        with closing(
            self._index.execute(
                "SELECT rowid FROM words WHERE words MATCH ? AND rowid < ? ORDER BY rowid DESC",
                (f"room : ({rooms}) AND content : ({wanted.match})", end),
            )
        ) as rows:
            for (index,) in rows:
                run = self._entry(index)
                if run is None:
                    continue
                at = index - run.index
                first, last = wanted.rooms.get(run.room, (1, 0))
                if first <= run.position + at <= last:
                    yield run.room, run.lines()[at]

    def _entry(self, index: int) -> Run | None:
        """Return the run that has an entry, unless the log has another one there than the index, or none any more."""
        held = self._index.execute(
            "SELECT idx, epoch, room, position FROM runs WHERE idx <= ? ORDER BY idx DESC LIMIT 1", (index,)
        ).fetchone()
        run = read_run(self._log, index)
        return run if run is not None and held == (run.index, run.epoch, run.room, run.position) else None

    def _end(self, wanted: Wanted) -> int | None:
        """Return before which index there is what is looked for; None for nowhere."""
        if wanted.before is None:
            return 2**63 - 1
        room, position = wanted.before
        row = self._log.execute(
            "SELECT idx, position, count FROM log WHERE room = ? AND position > 0 AND position < ? "
            "ORDER BY position DESC LIMIT 1",
            (room, position),
        ).fetchone()
        return None if row is None else int(row[0] + min(position - row[1], row[2]))
