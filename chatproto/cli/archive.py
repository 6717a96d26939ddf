"""`chatproto archive`: the committed archive of a data directory, also of a running node, as JSON lines."""

import sqlite3
from collections.abc import Callable

import msgspec

from chatproto.chat.acts import decode_act
from chatproto.chat.hall import Hall
from chatproto.chat.messages import SaidExtended
from chatproto.errors import StoreError, WireError
from chatproto.log.entry import MESSAGE
from chatproto.log.rows import read_slices, read_snapshot, runs_after
from chatproto.log.sqlite import LOG
from chatproto.registry.messages import decode_state
from chatproto.registry.shelf import split_state

_READ_BYTES = 1024 * 1024
_READ_COUNT = 10_000

_said = msgspec.json.Decoder(SaidExtended)


class ArchivedLine(msgspec.Struct):
    """One line of the export."""

    room: str
    index: int
    epoch: int
    id: str
    identity: str
    content: str
    time: float


def archive(directory: str, room: str | None, write: Callable[[str], None]) -> None:
    """Write the archive, each room in order of its indexes, the rooms in the order they were made.

    Args:
        directory: a data directory; a node may be running on it.
        room: only this room's; None for all.
        write: called with each line, with its newline.

    Raises:
        StoreError: it is no data directory of this version, or a registry's.
    """
    database = LOG.connect(directory)
    try:
        # One transaction: what a running node commits meanwhile is not seen half.
        database.execute("BEGIN")
        if _is_of_a_registry(database):
            raise StoreError(
                f"{directory} is the data directory of a registry, which holds no messages: see the nodes'"
            )
        hall = replayed(database)
        for name in hall.rooms if room is None else (room,):
            if name in hall.rooms:
                position = hall.rooms[name].first
                while slices := read_slices(database, name, position, _READ_BYTES, _READ_COUNT):
                    for piece in slices:
                        for line in piece.lines.split(b"\n"):
                            write(_exported(line))
                        position = piece.position + piece.count
    finally:
        database.close()


def _is_of_a_registry(database: sqlite3.Connection) -> bool:
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'pair'").fetchone():
        return False  # It was written before there were any.
    kept = database.execute("SELECT value FROM pair WHERE key = 'configuration'").fetchone()
    if kept is None:
        return False
    try:
        decode_state(split_state(kept[0])[0])
    except WireError:
        return False
    return True


def replayed(database: sqlite3.Connection) -> Hall:
    """Return what replaying the log in a database gives.

    Raises:
        StoreCorrupt: an entry is missing or damaged.
    """
    hall = Hall()
    snapshot = read_snapshot(database)
    if snapshot is not None:
        hall.restore(snapshot.state)
    for run in runs_after(database, snapshot.index if snapshot is not None else 0):
        if run.kind == MESSAGE:
            hall.said(run.room, run.last_position)
        else:
            for line in run.lines():
                hall.apply(decode_act(line), run.epoch)
    return hall


def _exported(line: bytes) -> str:
    said = _said.decode(line)
    out = ArchivedLine(said.roomid, said.index, said.epoch, said.id, said.identity, said.content, said.time)
    return msgspec.json.encode(out).decode() + "\n"
