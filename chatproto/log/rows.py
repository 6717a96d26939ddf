"""The rows of the SQLite store, each of which is a run: how they are read, written and removed."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import msgspec

from chatproto.errors import StoreCorrupt
from chatproto.log.entry import Run
from chatproto.log.interface import Slice, Snapshot

_decode_ids = msgspec.msgpack.Decoder(list[str]).decode
_decode_offsets = msgspec.msgpack.Decoder(list[int]).decode
_encode = msgspec.msgpack.encode
_RUN_COLUMNS = "idx, count, epoch, kind, room, position, time, ids, retriable, body"

INSERT_ROW = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""Takes what `row_of` gives."""


def row_of(run: Run) -> tuple[Any, ...]:
    """Return the columns of a run's row."""
    return (
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


def remove_after(database: sqlite3.Connection, index: int) -> None:
    """Remove every entry after an index with its id, and the snapshot if it is of one; part of a transaction."""
    # What is left of an installation that is not ended yet can be trusted up to here at most.
    database.execute("UPDATE pair SET value = min(value, ?) WHERE key = 'installing'", (index,))
    for table in ("log", "ids", "snapshot"):
        database.execute(f"DELETE FROM {table} WHERE idx > ?", (index,))


def run_from_row(row: tuple[Any, ...]) -> Run:
    """Make a run of the columns of a row."""
    index, _count, epoch, kind, room, position, time, ids, retriable, body = row
    offsets = _decode_offsets(retriable) if retriable else []
    return Run(index, epoch, kind, room, position, time, _decode_ids(ids), body, offsets)


def _intact(row: tuple[Any, ...]) -> Run | None:
    try:
        run = run_from_row(row)
    except (msgspec.MsgspecError, ValueError):  # It is no UTF-8.
        return None
    return run if row[1] == len(run.ids) == run.body.count(b"\n") + 1 else None


def _corrupt(index: int) -> StoreCorrupt:
    return StoreCorrupt(f"entry {index} of the log is missing or damaged: restore it from the other node or a backup")


def runs_after(database: sqlite3.Connection, index: int) -> Iterable[Run]:
    """Return the runs after an index, in order.

    Raises:
        StoreCorrupt: while iterating, where one is missing or damaged.
    """
    rows = database.execute(f"SELECT {_RUN_COLUMNS} FROM log WHERE idx > ? ORDER BY idx", (index,))
    for row in rows:
        run = _intact(row)
        if run is None or run.index != index + 1:
            raise _corrupt(index + 1)
        index += len(run.ids)
        yield run


def intact_runs(database: sqlite3.Connection) -> Iterator[Run]:
    """Return every run, in order.

    Raises:
        StoreCorrupt: while iterating, where one is damaged.
    """
    for row in database.execute(f"SELECT {_RUN_COLUMNS} FROM log ORDER BY idx"):
        run = _intact(row)
        if run is None:
            raise _corrupt(row[0])
        yield run


def read_runs(database: sqlite3.Connection, index: int, bytes_max: int) -> list[Run]:
    """See `IStore.runs`.

    Raises:
        StoreCorrupt: one is damaged.
    """
    runs: list[Run] = []
    # Closed, for as long as it is open the write-ahead log cannot begin anew.
    with closing(database.execute(f"SELECT {_RUN_COLUMNS} FROM log WHERE idx > ? ORDER BY idx", (index,))) as rows:
        for row in rows:
            run = _intact(row)
            if run is None:
                raise _corrupt(row[0])
            runs.append(run)
            bytes_max -= len(run.body)
            if bytes_max < 0:
                break
    return runs


def read_snapshot(database: sqlite3.Connection) -> Snapshot | None:
    """Return the newest durable snapshot."""
    row = database.execute("SELECT body FROM snapshot ORDER BY idx DESC LIMIT 1").fetchone()
    return msgspec.msgpack.decode(row[0], type=Snapshot) if row else None


def read_run(database: sqlite3.Connection, index: int) -> Run | None:
    """See `IStore.run_of`."""
    row = database.execute(
        f"SELECT {_RUN_COLUMNS} FROM log WHERE idx <= ? ORDER BY idx DESC LIMIT 1", (index,)
    ).fetchone()
    return None if row is None or row[0] + row[1] <= index else run_from_row(row)


def read_ids(database: sqlite3.Connection, after: str, count_max: int) -> list[tuple[str, int, float]]:
    """See `IStore.ids`."""
    rows = database.execute("SELECT id, idx, time FROM ids WHERE id > ? ORDER BY id LIMIT ?", (after, count_max))
    return rows.fetchall()


def read_slices(database: sqlite3.Connection, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
    """See `IStore.read`."""
    rows = database.execute(
        "SELECT position, count, body FROM log WHERE room = :room AND position > 0 AND position >= coalesce("
        "(SELECT max(position) FROM log WHERE room = :room AND position > 0 AND position <= :position), 1) "
        "ORDER BY position",
        {"room": room, "position": position},
    )
    return collect_slices(rows, position, bytes_max, count_max)


def collect_slices(
    rows: Iterable[tuple[int, int, bytes]], position: int, bytes_max: int, count_max: int
) -> list[Slice]:
    """Cut rows of (position, count, lines), in order, down to what `IStore.read` promises."""
    slices: list[Slice] = []
    pieces: list[bytes] = []
    start = end = 0

    def finish() -> None:
        if pieces:
            slices.append(Slice(start, end - start, b"\n".join(pieces)))
            pieces.clear()

    for first, count, lines in rows:
        if first + count <= position:
            continue
        if first < position:
            lines = lines.split(b"\n", position - first)[-1]
            first, count = position, count - (position - first)
        cut = count > count_max or len(lines) > bytes_max
        if cut:
            count, lines = _cut(lines, count_max, bytes_max, at_least_one=not (slices or pieces))
            if not count:
                break
        if first != end or not pieces:
            finish()
            start = first
        pieces.append(lines)
        end = first + count
        count_max -= count
        bytes_max -= len(lines)
        if cut or count_max <= 0 or bytes_max <= 0:
            break  # After a cut, a smaller row might still fit, and leave a hole.
    finish()
    return slices


def _cut(lines: bytes, count_max: int, bytes_max: int, *, at_least_one: bool) -> tuple[int, bytes]:
    count = size = 0
    for line in lines.split(b"\n", count_max)[:count_max]:
        if size + len(line) > bytes_max and not (at_least_one and count == 0):
            break
        size += len(line) + 1
        count += 1
    return count, lines[: size - 1] if count else b""


def find_expired(database: sqlite3.Connection, before: float, bytes_max: int) -> dict[str, int]:
    """See `IStore.expired`."""
    excess = 0
    if bytes_max:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
        excess = (pages - free) * size - bytes_max
    keep: dict[str, int] = {}
    rows = database.execute(
        "SELECT room, position, count, time, length(body) + length(ids) + 64 FROM log WHERE position > 0 ORDER BY idx"
    )
    for room, position, count, time, size in rows:
        if time >= before and excess <= 0:
            break
        keep[room] = position + count
        excess -= size
    return keep
