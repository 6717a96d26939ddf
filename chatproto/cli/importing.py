"""`chatproto import`: a data directory made of JSON lines as `chatproto archive` writes them."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count, groupby
from typing import Any, BinaryIO

import msgspec

from chatproto.chat.hall import Hall
from chatproto.chat.people import Room
from chatproto.cli.archive import ArchivedLine
from chatproto.cli.backup import RESTART
from chatproto.disk.directory import sync
from chatproto.errors import ChatprotoError
from chatproto.log.backup import begin_anew, new_log
from chatproto.log.entry import MESSAGE, Entry, Epochs, Numbering, Run, Snapshot, note_epoch
from chatproto.log.rows import INSERT_ROW, row_of
from chatproto.log.sqlite import LOG
from chatproto.wire import identity_allowed, room_allowed
from chatproto.wire.fields import ID_CHARS_MAX, SERVER_IDENTITY

LINE_BYTES_MAX = 16 * 1024 * 1024
EPOCH_MAX = 2**53 - 1
"""Beyond it not every reader of JSON tells two whole numbers apart."""
TIME_MAX = 253402300799
"""The end of the year 9999: beyond it, not everybody can write a date."""
BATCH_ENTRIES = 1000

_decode = msgspec.json.Decoder(ArchivedLine).decode
_encode = msgspec.json.Encoder().encode

STAGED = """
CREATE TABLE staged (
    number INTEGER PRIMARY KEY, -- of the line
    room TEXT NOT NULL,
    position INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    moment REAL NOT NULL,       -- the latest time up to here in this room: in the order of it, rooms keep theirs
    id TEXT NOT NULL UNIQUE,
    time REAL NOT NULL,
    head BLOB NOT NULL
) STRICT;
CREATE TABLE placed (id TEXT NOT NULL, idx INTEGER NOT NULL) STRICT;
"""


class ImportFailed(ChatprotoError):
    """A line that cannot be imported; the text begins with its number. Nothing was."""


class _Archive(msgspec.Struct):
    """What is known of a room's archive so far."""

    first: int
    last: int
    epoch: int
    moment: float


def import_archive(lines: BinaryIO, directory: str, owner: str | None = None) -> str:
    """Make a data directory of lines, each room's in order of its indexes, without gaps; rooms may be mixed.

    Args:
        lines: JSON lines with the fields of `ArchivedLine`.
        directory: the data directory, without a log in it; made where it is missing.
        owner: whose the rooms are; None for nobody.

    Returns:
        What was imported.

    Raises:
        ImportFailed: a line is none, or does not follow what was before it.
        StoreError: the directory has a log already, or cannot be written.
    """
    with new_log(directory) as part:
        staged = f"{part}-staged"
        _remove(staged)  # Of a process that died.
        try:
            with closing(sqlite3.connect(staged, isolation_level=None)) as stage:
                stage.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN; {STAGED}")
                rooms = _stage(lines, stage)
                with closing(sqlite3.connect(part, isolation_level=None)) as database:
                    database.executescript(
                        f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN; {LOG.schema_after(0)}"
                    )
                    index = _write(stage, database, rooms, owner or SERVER_IDENTITY)
                    database.execute("COMMIT")
        finally:
            _remove(staged)
        sync(part)
    return f"{index} messages in {len(rooms)} rooms"


def _remove(staged: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(staged)


# In


def _stage(lines: BinaryIO, stage: sqlite3.Connection) -> dict[str, _Archive]:
    rooms: dict[str, _Archive] = {}
    for number in count(1):
        line = lines.readline(LINE_BYTES_MAX + 1)
        if not line:
            return rooms
        if not line.strip():
            continue
        try:
            stage.execute("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (number, *_row(line, rooms)))
        except ValueError as error:
            raise ImportFailed(f"line {number}: {error}") from None
        except sqlite3.IntegrityError:
            raise ImportFailed(f"line {number}: an earlier line has its id") from None
    raise AssertionError


def _row(line: bytes, rooms: dict[str, _Archive]) -> tuple[Any, ...]:
    """Return what is staged of a line.

    Raises:
        ValueError: it cannot be; the text says why.
    """
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"it has more than {LINE_BYTES_MAX} bytes")
    try:
        said = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(f"not what chatproto archive writes: {error}") from None
    if not room_allowed(said.room):
        raise ValueError(f"{said.room[:64]!r} is not a room: 3 to 32 letters and digits")
    if not identity_allowed(said.identity):
        raise ValueError(f"{said.identity[:64]!r} is not an identity: 3 to 16 letters and digits")
    if not 1 <= len(said.id) <= ID_CHARS_MAX:
        raise ValueError(f"an id has 1 to {ID_CHARS_MAX} characters")
    if not 1 <= said.epoch <= EPOCH_MAX:
        raise ValueError(f"an epoch is from 1 to {EPOCH_MAX}")
    if not 0 <= said.time <= TIME_MAX:
        raise ValueError(f"time is in Unix seconds, from 0 to {TIME_MAX}")
    room = rooms.get(said.room)
    if room is None:
        if not 1 <= said.index <= EPOCH_MAX:
            raise ValueError(f"an index is from 1 to {EPOCH_MAX}")
        room = rooms[said.room] = _Archive(said.index, said.index - 1, said.epoch, said.time)
    if said.index != room.last + 1:
        raise ValueError(f"index {said.index} of {said.room} does not follow {room.last}")
    if said.epoch < room.epoch:
        raise ValueError(f"its epoch is {said.epoch}, and the message before it in {said.room} has {room.epoch}")
    room.last, room.epoch, room.moment = said.index, said.epoch, max(room.moment, said.time)
    head = b'{"type":"message","identity":"%b","content":%b' % (said.identity.encode(), _encode(said.content))
    return said.room, said.index, said.epoch, room.moment, said.id, said.time, head


# Out


def _write(stage: sqlite3.Connection, database: sqlite3.Connection, rooms: dict[str, _Archive], owner: str) -> int:
    """Write the log; return how many messages it has."""
    positions = {name: room.first - 1 for name, room in rooms.items()}
    epochs: Epochs = []
    numbering = Numbering(0, positions, 0)
    newest = 0.0
    for run in _runs(stage, numbering):
        database.execute(INSERT_ROW, row_of(run))
        stage.executemany("INSERT INTO placed VALUES (?, ?)", [(id, run.index + at) for at, id in enumerate(run.ids)])
        note_epoch(epochs, run)
        newest = max(newest, run.time)
    # Sorted, they fill one page after the other.
    placed = stage.execute("SELECT id, idx FROM placed ORDER BY id")
    database.executemany("INSERT INTO ids VALUES (?, ?, ?)", ((id, index, newest) for id, index in placed))
    hall = _hall(rooms, owner)
    epoch = numbering.epoch or 1
    snapshot = Snapshot(numbering.index, epoch, positions, hall.snapshot(), hall.kept(), epochs)
    database.execute("INSERT INTO snapshot VALUES (?, ?)", (snapshot.index, msgspec.msgpack.encode(snapshot)))
    begin_anew(database, snapshot.index, epoch, RESTART, time.time())
    return numbering.index


def _runs(stage: sqlite3.Connection, numbering: Numbering) -> Iterator[Run]:
    rows = stage.execute("SELECT epoch, room, id, time, head FROM staged ORDER BY epoch, moment, number")
    for epoch, same in groupby(rows, key=lambda row: row[0]):
        numbering.epoch = epoch
        entries: list[Entry] = []
        for _, room, id, said, head in same:
            tail = b',"id":%b,"time":%.3f}' % (_encode(id), said)
            entries.append(Entry(MESSAGE, room, id, said, head, tail, True))
            if len(entries) == BATCH_ENTRIES:
                yield from numbering.seal(entries)
                entries = []
        if entries:
            yield from numbering.seal(entries)


def _hall(rooms: dict[str, _Archive], owner: str) -> Hall:
    """Return a hall with these rooms, nobody in it; all but MainHall wait for their owner."""
    hall = Hall()
    for name, archive in rooms.items():
        room = hall.rooms.setdefault(name, Room(name, owner))
        room.first, room.last = archive.first, archive.last
    return hall
