"""What was committed, and what was said to be. Pure."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from chatproto.chat.acts import decode_act
from chatproto.chat.hall import Hall
from chatproto.chat.messages import Ack, SaidExtended
from chatproto.log.entry import MESSAGE, Run

if TYPE_CHECKING:
    from chatproto.testing.checkers.forks import Forks

_message = msgspec.json.Decoder(SaidExtended)


class Violation(AssertionError):
    """Something is so that must never be; the message says what."""


class Record(msgspec.Struct, frozen=True):
    """A committed entry.

    Attributes:
        index: its number in the log.
        position: its number in its room's archive; 0 for an act.
        line: the sealed body.
    """

    index: int
    epoch: int
    kind: str
    room: str
    position: int
    id: str
    line: bytes


class Chronicle:
    """Every entry that was ever committed, also those that nodes have purged since.

    Attributes:
        records: the entries, in order; the first has the index 1.
        hall: the state after the last of them.
    """

    def __init__(self) -> None:
        """Start with an empty log."""
        self.records: list[Record] = []
        self.hall = Hall()
        self._messages: dict[tuple[str, int], SaidExtended] = {}
        self._contents: dict[str, list[SaidExtended]] = {}
        self._indexes: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._gone: dict[str, int] = {}

    @property
    def position(self) -> int:
        """The index of the last entry."""
        return len(self.records)

    def add(self, run: Run) -> None:
        """Take a run that was committed, perhaps again, as another node has it.

        Raises:
            Violation: an index or a position is left out or given twice, or an id is.
        """
        for record in records_of(run):
            self.take(record)

    def take(self, record: Record) -> None:
        """Take an entry that was committed, perhaps again.

        Raises:
            Violation: see `add`.
        """
        if record.index <= len(self.records):
            held = self.records[record.index - 1]
            if record != held:
                raise Violation(f"entry {record.index} was {held} and is {record}")
            return
        if record.index != len(self.records) + 1:
            raise Violation(f"entry {len(self.records) + 1} is missing: after it comes {record}")
        if record.id in self._indexes:
            first = self.records[self._indexes[record.id] - 1]
            raise Violation(f"one id is in the log twice: {first} and {record}")
        if self.records and record.epoch < self.records[-1].epoch:
            raise Violation(f"the epoch falls: {self.records[-1]} and then {record}")
        if record.kind == MESSAGE:
            self._take_message(record)
        elif record.position:
            raise Violation(f"an act has a position in an archive: {record}")
        self._indexes[record.id] = record.index
        self.records.append(record)
        apply(self.hall, record)

    def _take_message(self, record: Record) -> None:
        expected = self._last.get(record.room, 0) + 1
        if record.position != expected:
            raise Violation(f"in {record.room} position {expected} comes next, not that of {record}")
        message = message_of(record)
        if (message.roomid, message.index, message.epoch, message.id) != (
            record.room,
            record.position,
            record.epoch,
            record.id,
        ):
            raise Violation(f"a line tells other numbers than its entry has: {record}")
        self._last[record.room] = record.position
        self._messages[record.room, record.position] = message
        self._contents.setdefault(message.content, []).append(message)

    def message(self, room: str, position: int, epoch: int | None = None) -> SaidExtended | None:
        """Return what was said at a position of a room; None if nothing was yet. There is one, in whatever epoch."""
        return self._messages.get((room, position))

    def epoch_before(self, room: str, position: int, epoch: int) -> int:
        """Return the epoch of the message before the one at a position; 0 if there is none."""
        before = self._messages.get((room, position - 1))
        return 0 if before is None else before.epoch

    def said(self, content: str) -> list[SaidExtended]:
        """Return every message of this content, in any room."""
        return self._contents.get(content, [])

    def last(self, room: str) -> int:
        """Return the last position given out in a room."""
        return self._last.get(room, 0)

    def last_ever(self, room: str) -> int:
        """Return the same: nothing is ever taken back."""
        return self.last(room)

    def first(self, room: str) -> int:
        """Return the first position that has to be kept: lower ones were dropped, or their room was deleted."""
        held = self.hall.rooms.get(room)
        return held.first if held is not None else self.last(room) + 1


def records_of(run: Run) -> list[Record]:
    """Return the entries of a run.

    Raises:
        Violation: its parts contradict each other.
    """
    lines = run.lines()
    if len(lines) != len(run.ids):
        raise Violation(f"the run at entry {run.index} has {len(run.ids)} ids and {len(lines)} lines")
    step = 1 if run.kind == MESSAGE else 0
    return [
        Record(run.index + at, run.epoch, run.kind, run.room, run.position + at * step, id, line)
        for at, (id, line) in enumerate(zip(run.ids, lines, strict=True))
    ]


def message_of(record: Record) -> SaidExtended:
    """Return what clients are told of an entry that is a message."""
    return _message.decode(record.line)


def apply(hall: Hall, record: Record) -> None:
    """Replay an entry."""
    if record.kind == MESSAGE:
        hall.said(record.room, record.position)
    else:
        hall.apply(decode_act(record.line), record.epoch)


class Acknowledgements:
    """What clients were told is kept."""

    def __init__(self, chronicle: "Chronicle | Forks") -> None:
        """Start with nothing acknowledged."""
        self._chronicle = chronicle
        self._acks: dict[str, Ack] = {}

    def __len__(self) -> int:
        return len(self._acks)

    @property
    def ids(self) -> list[str]:
        """The ids of what was acknowledged."""
        return list(self._acks)

    def heard(self, ack: Ack, content: str) -> None:
        """Take that a client heard an acknowledgement of a message of this content.

        Raises:
            Violation: it is not committed, or elsewhere, or something else is.
        """
        message = self._chronicle.message(ack.roomid, ack.index, ack.epoch)
        if message is None:
            raise Violation(f"acknowledged and not committed: {ack}")
        if (message.id, message.content, message.epoch) != (ack.id, content, ack.epoch):
            raise Violation(f"acknowledged was {content!r} by {ack}; kept is {message}")
        if ack.durable < 1:
            raise Violation(f"acknowledged and durable nowhere: {ack}")
        self._acks[ack.id] = ack

    def check_archive(self, runs: Iterable[Run], kept: Mapping[str, int]) -> None:
        """Compare with what a node's disk holds; `kept` says from which position on each room is kept.

        Raises:
            Violation: something acknowledged is missing, or is there twice, or is not what was committed.
        """
        archive: dict[tuple[str, int], str] = {}
        ids: set[str] = set()
        for run in runs:
            if run.kind != MESSAGE:
                continue
            for at, (id, line) in enumerate(zip(run.ids, run.lines(), strict=True)):
                place = (run.room, run.position + at)
                if place in archive or id in ids:
                    raise Violation(f"the archive has {id} at {place}, and has that id or that place twice")
                held = self._chronicle.message(*place, run.epoch)
                if held is None or _message.decode(line) != held:
                    raise Violation(f"the archive has {line!r} where {held} was committed")
                archive[place] = id
                ids.add(id)
        for ack in self._acks.values():
            if ack.index >= kept.get(ack.roomid, 1) and archive.get((ack.roomid, ack.index)) != ack.id:
                raise Violation(f"acknowledged and lost: {ack}")
