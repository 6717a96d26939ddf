"""What is durable of the readers of a delivery node. Pure.

Of each there are its placement and, if it is paid, its position with its last hour, and its records.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from chatproto.news.delivery.hour import Hour
from chatproto.news.delivery.position import Position
from chatproto.news.delivery.reader import Reader
from chatproto.news.delivery.records import Record
from chatproto.news.terms import Placement

if TYPE_CHECKING:
    from chatproto.keyvalue.interface import Change

PLACEMENT, POSITION, RECORD = b"delivery/placement/", b"delivery/position/", b"delivery/record/"
"""What the keys of the readers begin with; then comes the name, and for a record the hour."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is durable of where a reader is.

    Attributes:
        floors: see `Position.floors`.
        above: see `Position.above`.
        hour_from: when the first delivery of the last hour was, Unix seconds.
        hour_ms: for each one, how much later it was, in milliseconds.
    """

    floors: list[int]
    above: list[tuple[int, int]]
    hour_from: float
    hour_ms: list[int]


_encode = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(Kept)
_record = msgspec.msgpack.Decoder(Record)


def kept_of(reader: Reader, epoch: float) -> "list[Change]":
    """Return what is to be durable of a paid reader.

    Args:
        reader: as it is.
        epoch: Unix seconds at which the clock is 0.
    """
    name, position, times = reader.placement.reader.encode(), reader.position, reader.hour.times()
    first = times[0] if times else 0.0
    # Later than it was, if anything: who holds back by it has not delivered too much.
    hour_ms = [int((time - first) * 1000) + 1 for time in times]
    kept = Kept(position.floors, position.above, epoch + first, hour_ms)
    return [
        (POSITION + name, _encode(kept)),
        (_record_key(name, reader.record.hour), _encode(reader.record)),
    ]


def restored(placement: Placement, kept: bytes | None, records: Sequence[Record], epoch: float, now: float) -> Reader:
    """Return a paid reader as it was made durable.

    Args:
        placement: what it has agreed on.
        kept: what was kept of its position; None for nothing.
        records: its records, the oldest first; the last two count.
        epoch: Unix seconds at which the clock is 0.
        now: the time by that clock.

    Raises:
        msgspec.MsgspecError: it is not readable.
    """
    position, hour = Position(), Hour()
    if kept is not None:
        found = _kept.decode(kept)
        position = Position(found.floors, found.above)
        # A time of day that was set back meanwhile does not put a delivery into the future.
        hour = Hour(min(now, found.hour_from - epoch + ms / 1000) for ms in found.hour_ms)
    record = records[-1] if records else Record(int((epoch + now) // 3600))
    reader = Reader(placement, position, hour, record)
    reader.last = records[-2] if len(records) > 1 else None
    return reader


def closed(name: str, last: Record | None, hours: Iterable[int]) -> "list[Change]":
    """Return what makes the record of an hour that is over durable, and removes those of some hours."""
    key = name.encode()
    kept: list[Change] = [(_record_key(key, last.hour), _encode(last))] if last is not None else []
    return [*kept, *((_record_key(key, hour), None) for hour in hours)]


def records_prefix(name: str) -> bytes:
    """Return what the keys of a reader's records begin with, and no others."""
    return RECORD + name.encode() + b"/"


def records_of(rows: Iterable[tuple[bytes, bytes]]) -> dict[str, list[Record]]:
    """Return the records in the rows that begin with `RECORD`, by reader, the oldest first.

    Raises:
        msgspec.MsgspecError: they are not readable.
    """
    records: dict[str, list[Record]] = {}
    for key, value in rows:
        name = key[len(RECORD) :].rpartition(b"/")[0].decode()
        records.setdefault(name, []).append(_record.decode(value))
    return records


def _record_key(name: bytes, hour: int) -> bytes:
    return RECORD + name + b"/%010d" % hour
