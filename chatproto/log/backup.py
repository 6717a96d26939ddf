"""Copies of a log: taken while a node runs, checked, and made into a data directory that goes on from there.

A backup is one file: the store's tables, with committed entries only, and without what one node alone is concerned
with, the configuration of its pair and its orphans. It is no data directory: clients may know more than it does, so a
log that goes on from it has to say so, by an epoch that no entry had before. `restore` sees to that.
"""

import fcntl
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import msgspec

from chatproto.disk.directory import lock, sync
from chatproto.errors import StoreCorrupt, StoreError
from chatproto.log.entry import ACT, MESSAGE, Run, Snapshot
from chatproto.log.rows import INSERT_ROW, intact_runs, read_snapshot, remove_after, row_of
from chatproto.log.sqlite import LOG

BACKUP_ID = 0x63706270
"""The application id of a backup; other than that of a store, so that none is mistaken for the other."""

UNFINISHED = ".part"
"""What the name of a file ends with that is being written."""

BESIDE = ("-journal", "-wal", "-shm")
"""What the names of files end with that SQLite has beside a database."""

NO_ROOM = frozenset({"SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_NOMEM", "SQLITE_READONLY"})
"""Errors that say nothing of the file that is read."""


class Backup(msgspec.Struct, frozen=True):
    """What a backup says of itself.

    Attributes:
        taken: when, in Unix seconds.
        release: by which release of chatproto.
        digest: of all that is in its tables; empty for one that was taken before there was such.
    """

    taken: float
    release: str
    digest: bytes = b""


class Log(msgspec.Struct, frozen=True):
    """What is in a log.

    Attributes:
        entries: the index of the last entry.
        epoch: of that entry; 0 for an empty log.
        messages: how many there are.
        earliest: when the first of them was said, Unix seconds; 0 for none.
        latest: when the last of them was said; 0 for none.
    """

    entries: int
    epoch: int
    messages: int
    earliest: float
    latest: float


# Taking


def take(directory: str, path: str, committed: Callable[[], int | None], about: Backup) -> int:
    """Copy the log of a data directory, on which a node may be running, into a file that there is none of yet.

    The file is made durable, but may be removed again: `publish` gives it its name.

    Args:
        directory: the data directory.
        path: the file.
        committed: returns the last index known to be committed; None if all there is, is.
        about: what the backup says of itself.

    Returns:
        How many orphans were left out.

    Raises:
        StoreError: it cannot be read or written, or the node is just taking in the log of another one.
    """
    # Asked first: what is in the copy was written later. Whatever a snapshot stands for is committed, too.
    end = committed()
    try:
        with closing(LOG.connect(directory)) as database:
            database.execute("PRAGMA query_only=OFF")
            database.execute("VACUUM INTO ?", (path,))
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            orphans = _trim(copy, end, about)
        sync(path)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot copy {LOG.path_in(directory)} to {path}: {error}") from error
    return orphans


def _trim(copy: sqlite3.Connection, end: int | None, about: Backup) -> int:
    """Remove what is not committed and what is one node's own; return how many orphans that are."""
    # What nobody ever saw is not to be found in the file either.
    copy.execute("PRAGMA secure_delete=ON")
    copy.execute("BEGIN")
    if copy.execute("SELECT 1 FROM pair WHERE key = 'installing'").fetchone():
        raise StoreError("this node is just taking in the log of another one: back that one up, or this one later")
    if end is not None:
        snapshot = read_snapshot(copy)
        end = max(end, snapshot.index if snapshot is not None else 0)
        last = copy.execute("SELECT max(idx + count - 1) FROM log WHERE idx <= ?", (end,)).fetchone()[0]
        if last is not None and last > end:
            raise StoreError("the log was another by the time it was copied: try again")
        remove_after(copy, end)
    (orphans,) = copy.execute("SELECT count(*) FROM orphans").fetchone()
    copy.execute("DELETE FROM pair")
    copy.execute("DELETE FROM orphans")
    copy.execute("CREATE TABLE backup (about BLOB NOT NULL) STRICT")
    signed = msgspec.structs.replace(about, digest=_digest(copy))
    copy.execute("INSERT INTO backup VALUES (?)", (msgspec.msgpack.encode(signed),))
    copy.execute(f"PRAGMA application_id={BACKUP_ID}")
    copy.execute("COMMIT")
    return int(orphans)


def _digest(database: sqlite3.Connection) -> bytes:
    """Return a digest of what is in the tables: SQLite does not find that a message is not the one that was said."""
    digest = hashlib.sha256()
    for table, key in (("log", "idx"), ("ids", "id"), ("snapshot", "idx")):
        for row in database.execute(f"SELECT * FROM {table} ORDER BY {key}"):
            digest.update(msgspec.msgpack.encode(row))
    return digest.digest()


@contextmanager
def unfinished(path: str, *, replace: bool = False) -> Iterator[str]:
    """Give the name of a file to write, which becomes `path`, durably, when all went well; else nothing is left of it.

    Raises:
        StoreError: there is a file of that name, and it is not to be replaced; another process is writing it; or it
            cannot be written.
    """
    part = path + UNFINISHED
    try:
        if not replace and os.path.lexists(path):
            raise StoreError(f"{path} is there already")
        beside = [path + end for end in BESIDE if os.path.lexists(path + end)]
        if beside:
            # SQLite would take it for a part of the new file.
            raise StoreError(f"{beside[0]} is left of another file: put it away")
        held = _claim(part)
        try:
            yield part
            if replace:
                os.replace(part, path)
            else:
                _name(part, path)
            sync(os.path.dirname(os.path.abspath(path)))
        finally:
            _remove(part)
            os.close(held)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def _claim(part: str) -> int:
    """Make a file that no other process writes; return a descriptor that keeps others off, as long as it is open."""
    try:
        with suppress(FileNotFoundError):
            left = os.open(part, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(part)
            finally:
                os.close(left)
        # Nobody else is to read it, at no time.
        held = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(held)
            raise
    except (BlockingIOError, FileExistsError):
        raise StoreError(f"another process is writing {part}") from None
    return held


def _remove(part: str) -> None:
    # What is beside it first: SQLite would take it for a part of the next one.
    for end in (*BESIDE, ""):
        with suppress(FileNotFoundError):
            os.unlink(part + end)


def _name(part: str, path: str) -> None:
    try:
        # Unlike a rename, this does not take the place of what another process has made meanwhile.
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        # Not every disk that backups are put on has links.
        if os.path.lexists(path):
            raise
        os.rename(part, path)


# Checking


def open_backup(path: str) -> sqlite3.Connection:
    """Open a backup for reading.

    Raises:
        StoreError: it cannot be read, is none, or was written by another release that this one does not know.
    """
    try:
        if not os.path.isfile(path):
            raise StoreError(f"there is no file {path}")
        database = sqlite3.connect(path, isolation_level=None)
        try:
            (mark,) = database.execute("PRAGMA application_id").fetchone()
            if mark != BACKUP_ID:
                raise StoreError(f"{path} is not a backup of chatproto")
            LOG.check_version(database, path)
            database.execute("PRAGMA query_only=ON")
        except BaseException:
            database.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path} is not a backup of chatproto, or damaged: {error}") from error
    return database


def about(database: sqlite3.Connection) -> Backup:
    """Return what an open backup says of itself.

    Raises:
        StoreCorrupt: it says nothing that can be read.
    """
    try:
        (said,) = database.execute("SELECT about FROM backup").fetchone()
        return msgspec.msgpack.decode(said, type=Backup)
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise StoreCorrupt(f"the file is damaged: {error}") from error


class _Place(msgspec.Struct):
    roomid: str
    index: int
    epoch: int
    id: str


_place = msgspec.json.Decoder(_Place)


def check(database: sqlite3.Connection, digest: bytes = b"") -> Log:
    """Read all of a log and see that it is whole: no entry is missing or there twice, each is what its row says.

    Args:
        database: a backup, or what a data directory has.
        digest: what the backup says of it; empty for none.

    Raises:
        StoreCorrupt: it is not; the text says where.
        StoreError: there is no room for checking it.
    """
    try:
        (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise StoreCorrupt(f"the file is damaged: {' '.join(verdict.split())}")
        log = _Checking(read_snapshot(database)).all(database)
        if digest and digest != _digest(database):
            raise StoreCorrupt("the file is damaged: what is in it is not what was written")
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError) as error:
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorname", "") in NO_ROOM:
            raise StoreError(
                f"it cannot be checked: {error} (is there room in the place for temporary files?)"
            ) from error
        raise StoreCorrupt(f"the file is damaged: {error}") from error
    return log


class _Checking:
    """Takes the runs of a log in, in order."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self._whole_from = snapshot.index if snapshot is not None else 0
        self._first = snapshot.first if snapshot is not None else {}
        self._last: dict[str, int] = {}
        self._index = self._epoch = self._messages = 0
        self._earliest = self._latest = 0.0
        self._snapshot = snapshot

    def all(self, database: sqlite3.Connection) -> Log:
        # On the disk, where it becomes large: memory stays the same.
        database.execute("PRAGMA query_only=OFF")
        database.execute("BEGIN")
        try:
            database.execute("CREATE TEMP TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
            for run in intact_runs(database):
                self._take(run)
                try:
                    database.executemany("INSERT INTO seen VALUES (?)", [(id,) for id in run.ids])
                except sqlite3.IntegrityError:
                    raise StoreCorrupt(f"an id of the entries {run.index} to {run.last} is there twice") from None
        finally:
            database.execute("ROLLBACK")
        self._pass_snapshot()
        return Log(self._index, self._epoch, self._messages, self._earliest, self._latest)

    def _pass_snapshot(self) -> None:
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            self._index, self._epoch = max(self._index, snapshot.index), max(self._epoch, snapshot.epoch)

    def _take(self, run: Run) -> None:
        if run.index > self._whole_from:
            # What the snapshot stands for may have holes.
            self._pass_snapshot()
            if run.index != self._index + 1:
                raise StoreCorrupt(f"entry {self._index + 1} is missing")
        if run.index <= self._index or run.epoch < self._epoch or run.kind not in (ACT, MESSAGE):
            raise StoreCorrupt(f"entry {run.index} does not follow entry {self._index}")
        self._index, self._epoch = run.last, run.epoch
        if run.kind == MESSAGE:
            self._take_messages(run)

    def _take_messages(self, run: Run) -> None:
        last = self._last.get(run.room)
        # What retention has dropped may be gone in any order.
        following = max((last or 0) + 1, self._first.get(run.room, 1))
        if last is not None and not last < run.position <= following:
            raise StoreCorrupt(f"{run.room} has no message {following}")
        self._last[run.room] = run.last_position
        for at, line in enumerate(run.lines()):
            said = _place.decode(line)
            if said != _Place(run.room, run.position + at, run.epoch, run.ids[at]):
                raise StoreCorrupt(f"entry {run.index + at} is not what its row says")
        self._messages += len(run.ids)
        self._earliest = min(self._earliest or run.time, run.time)
        self._latest = max(self._latest, run.time)


# Going on


def restore(path: str, directory: str, found: Log, act: bytes, now: float) -> None:
    """Make a data directory of a backup, for a node alone or the founder of a new pair.

    Args:
        path: the backup.
        directory: there is no log in it yet; made where it is missing.
        found: what `check` has found in it.
        act: the body of an entry that is added: of an epoch that no entry had, in the log that the backup is of either.
        now: the time of day in Unix seconds.

    Raises:
        StoreError: the directory has a log, or cannot be written.
    """
    with new_log(directory) as part:
        shutil.copyfile(path, part)
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            copy.execute("BEGIN")
            copy.execute("DROP TABLE backup")
            begin_anew(copy, found.entries, found.epoch, act, now)
            copy.execute(f"PRAGMA application_id={LOG.application_id}")
            copy.execute("COMMIT")
        sync(part)


@contextmanager
def new_log(directory: str) -> Iterator[str]:
    """Give the name of a database to write, which becomes that of a data directory when all went well.

    Raises:
        StoreError: the directory has one already, or what is left of one; is in use, or cannot be written.
    """
    held = lock(directory)
    try:
        if os.path.exists(LOG.path_in(directory)):
            raise StoreError(f"{directory} holds the data of a node already: name another directory, or empty it")
        with unfinished(LOG.path_in(directory)) as part:
            try:
                yield part
            except sqlite3.Error as error:
                raise StoreError(f"cannot write {part}: {error}") from error
    finally:
        os.close(held)


def begin_anew(database: sqlite3.Connection, last: int, epoch: int, act: bytes, now: float) -> None:
    """Add an act after the last entry, of an epoch later than any that the log can have had; part of a transaction.

    Nodes count epochs up by one, once in a change of leaders, so none has come near the time of day in seconds. Two
    logs that go on from one copy differ as well, unless it is the same second.
    """
    following = max(epoch + 1, int(now))
    run = Run(last + 1, following, ACT, "", 0, now, [f"restart.{following}"], act)
    database.execute(INSERT_ROW, row_of(run))
