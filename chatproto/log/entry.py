r"""What two servers agree on: entries, in one order.

An entry is submitted without a number. The log that takes it gives it an index (1, 2, 3, … without gaps over
the whole log) and, where it belongs to a room's archive, a position (1, 2, 3, … in that room), and *seals* it into
a run: its body becomes the bytes that are stored, replicated and replayed, never encoded again. A body is one
line, without a newline in it.
"""

from typing import Any

import msgspec

MESSAGE = "message"
"""The kind of an entry of a room's archive, numbered in its room, its body the line that clients receive."""

ACT = "act"
"""The kind of every other entry, of what changes rooms, owners, identities and presence."""


RUN_BYTES_MAX = 64 * 1024
"""A run is ended once its bodies pass this, so that reading one line never costs much more."""


class Entry(msgspec.Struct, gc=False):
    """One thing to be agreed on.

    Attributes:
        kind: `MESSAGE` or `ACT`.
        room: the room whose archive it belongs to; empty for an act.
        id: unique in the deployment, kept for every retry: the log holds an id once.
        time: when it was submitted, Unix seconds.
        head: the body up to where the numbers go; the whole body of an act.
        tail: the body after the numbers; empty for an act.
        retriable: whether the id was chosen by a client, who may send it again.
        origin: whoever submitted it on this node, for recognising it at the commit; never stored. None for what
            was submitted on the other node.
    """

    kind: str
    room: str
    id: str
    time: float
    head: bytes
    tail: bytes = b""
    retriable: bool = False
    origin: Any = None


class Run(msgspec.Struct, gc=False):
    """Consecutive entries of one kind, epoch and room: what is stored as one row and shown in one go.

    Attributes:
        index: of the first entry.
        position: of the first entry in its room's archive; 0 for acts.
        time: of the first entry, Unix seconds.
        ids: one for each entry.
        retriable: which of the ids clients chose, as offsets into `ids`.
        body: the sealed bodies, joined by newlines.
        entries: as submitted, for recognising those of this node by their origin; a follower has empty ones in the
            places of its leader's. Empty when none is of this node.
    """

    index: int
    epoch: int
    kind: str
    room: str
    position: int
    time: float
    ids: list[str]
    body: bytes
    retriable: list[int] = []
    entries: list[Entry] = []

    @property
    def last(self) -> int:
        """The index of the last entry."""
        return self.index + len(self.ids) - 1

    @property
    def last_position(self) -> int:
        """The position of the last entry in its room's archive; means nothing for acts."""
        return self.position + len(self.ids) - 1

    def lines(self) -> list[bytes]:
        """Return the sealed bodies, one for each entry."""
        return self.body.split(b"\n")


class Snapshot(msgspec.Struct):
    """The replayed state at one place of the log, so that starting does not replay a year.

    Attributes:
        index: the last entry that the state includes.
        epoch: the epoch of that entry.
        positions: the last position given out in each room, the rooms that are gone included.
        state: the state, encoded by whoever replays the log.
        first: the first position kept in each room; what lies below may be purged.
        epochs: every epoch that entries up to `index` have, with the index of its first one, in order.
    """

    index: int
    epoch: int
    positions: dict[str, int]
    state: bytes
    first: dict[str, int]
    epochs: list[tuple[int, int]] = []


class Slice(msgspec.Struct, gc=False):
    r"""A piece of a room's archive: `count` lines from `position` on, joined by newlines."""

    position: int
    count: int
    lines: bytes


Epochs = list[tuple[int, int]]
"""Every epoch that entries of a log have, each with the index of its first entry, in order."""


def note_epoch(epochs: Epochs, run: Run) -> None:
    """Take a run into a list of epochs."""
    if not epochs or epochs[-1][0] != run.epoch:
        epochs.append((run.epoch, run.index))


def unseal(run: Run) -> list[Entry]:
    """Return the entries of a run as they were before they had numbers, with their origins where those are known."""
    retriable = set(run.retriable)
    entries: list[Entry] = []
    for at, (id, line) in enumerate(zip(run.ids, run.lines(), strict=True)):
        head, tail = line, b""
        if run.kind == MESSAGE:
            # Within a string of JSON every quotation mark is escaped, so nothing that somebody said looks like this.
            middle = _middle(run.room, run.epoch) % (run.position + at)
            head, _, tail = line.partition(middle)
        origin = run.entries[at].origin if run.entries else None
        entries.append(Entry(run.kind, run.room, id, run.time, head, tail, at in retriable, origin))
    return entries


def _middle(room: str, epoch: int) -> bytes:
    """Return what is written between head and tail; only one number differs from entry to entry."""
    return b',"roomid":"%b","index":%%d,"epoch":%d' % (room.encode(), epoch)


class Numbering:
    """Gives entries their numbers: the one place that knows the next index and each room's next position."""

    def __init__(self, index: int, positions: dict[str, int], epoch: int) -> None:
        """Start after `index`, and in each room after its position."""
        self.index = index
        self.positions = positions
        self.epoch = epoch

    def seal(self, entries: list[Entry]) -> list[Run]:
        """Number the entries (one at least) in the order given and seal them, grouped into runs."""
        runs: list[Run] = []
        start = size = 0
        first = entries[0]
        for end, entry in enumerate(entries):
            if entry.room != first.room or entry.kind != first.kind or size > RUN_BYTES_MAX:
                runs.append(self._seal_run(entries[start:end]))
                start, first, size = end, entry, 0
            size += len(entry.head) + len(entry.tail)
        runs.append(self._seal_run(entries[start:]))
        return runs

    def _seal_run(self, entries: list[Entry]) -> Run:
        first = entries[0]
        index = self.index + 1
        self.index += len(entries)
        if first.kind == MESSAGE:
            position = self.positions.get(first.room, 0) + 1
            self.positions[first.room] = position + len(entries) - 1
            middle = _middle(first.room, self.epoch)
            bodies = [entry.head + middle % at + entry.tail for at, entry in enumerate(entries, position)]
        else:
            position = 0
            bodies = [entry.head for entry in entries]
        return Run(
            index,
            self.epoch,
            first.kind,
            first.room,
            position,
            first.time,
            [entry.id for entry in entries],
            b"\n".join(bodies),
            [at for at, entry in enumerate(entries) if entry.retriable],
            entries,
        )
