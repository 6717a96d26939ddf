"""A log in memory that a test moves on by hand, doors that remember, and a node's chat between them."""

import json
import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.chat.messages import Hello, Resume
from chatproto.chat.seat import Seat
from chatproto.chat.server import ChatServer
from chatproto.chat.settings import ChatSettings
from chatproto.link import Turn
from chatproto.log.entry import MESSAGE, Entry, Numbering, Run
from chatproto.log.interface import ILog, Peer, Slice
from chatproto.tally import Tally
from tests.unit.turns import TurnClock

NOW = 1700000000.0


@implementer(ILog)
class MemoryLog:
    """What is submitted is sealed (durable, so that it can be read), then committed, when a test says so.

    Attributes:
        linked: whether there is a link to another node; what it is told is in `notes`.
        submitted: not sealed yet.
        sealed: batches not committed yet.
        readings: questions to the archive that are not answered yet: what answers each.
        snapshots: what was captured.
    """

    epoch = 1
    role = "leader"
    redundancy = "single"
    serving = True
    durable = 1
    position = 0

    def __init__(self, state: bytes | None = None, runs: list[Run] | None = None) -> None:
        self.runs = runs or []
        self.peers: list[Peer] = []
        self.linked = False
        self.strange_epochs: set[int] = set()
        self.witness: bool | None = None
        self.waits_for = ""
        self.notes: list[bytes] = []
        self.submitted: list[Entry] = []
        self.sealed: list[list[Run]] = []
        self.readings: list[Callable[[], None]] = []
        self.snapshots: list[tuple[bytes, dict[str, int]]] = []
        self.numbering = Numbering(0, {}, 1)
        self.archives: dict[str, dict[int, bytes]] = {}
        self._state = state
        self._held: dict[str, tuple[Run, int]] = {}
        self._again: dict[str, list[Entry]] = {}

    def open(self, replayed: Any) -> None:
        self._replayed = replayed
        if self._state is not None:
            replayed.restore(self._state)
        for run in self.runs:
            replayed.replay(run)
            self._keep(run)
            self.numbering.index = run.index + len(run.ids) - 1
            if run.position:
                self.numbering.positions[run.room] = run.position + len(run.ids) - 1

    def had(self, epoch: int) -> bool:
        return epoch not in self.strange_epochs

    def tell(self, note: bytes) -> bool:
        if self.linked:
            self.notes.append(note)
        return self.linked

    def _keep(self, run: Run) -> None:
        if run.kind == MESSAGE:
            self.archives.setdefault(run.room, {}).update(enumerate(run.lines(), run.position))
        self._held.update({run.ids[at]: (run, at) for at in run.retriable})

    def submit(self, entry: Entry) -> None:
        if entry.retriable:
            if entry.id in self._again:
                self._again[entry.id].append(entry)
                return
            if entry.id in self._held:
                run, at = self._held[entry.id]
                kept = run if run.position + at in self.archives[run.room] else None
                self.readings.append(lambda: self._replayed.repeated(entry, kept, at))
                return
            self._again[entry.id] = []
        self.submitted.append(entry)

    def seal(self) -> None:
        if self.submitted:
            entries, self.submitted = self.submitted, []
            runs = self.numbering.seal(entries)
            for run in runs:
                self._keep(run)
            self.sealed.append(runs)

    def commit(self) -> list[Run]:
        """Commit the next batch; return it."""
        if not self.sealed:
            self.seal()
        if not self.sealed:
            return []
        runs = self.sealed.pop(0)
        self.runs += runs
        self.position = runs[-1].index + len(runs[-1].ids) - 1
        self._replayed.commit(runs)
        for run in runs:
            for at in run.retriable:
                for entry in self._again.pop(run.ids[at], ()):
                    self._replayed.repeated(entry, run, at)
        return runs

    def purge(self, room: str, first: int) -> None:
        archive = self.archives.get(room, {})
        for position in [position for position in archive if position < first]:
            del archive[position]

    def peek(self, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        assert count_max >= 1 and bytes_max >= 1
        slices: list[Slice] = []
        for at, line in sorted(self.archives.get(room, {}).items()):
            if at < position:
                continue
            bytes_max -= len(line) + 1
            if count_max == 0 or (slices and bytes_max < 0):
                break
            count_max -= 1
            if slices and slices[-1].position + slices[-1].count == at:
                slices[-1] = Slice(slices[-1].position, slices[-1].count + 1, slices[-1].lines + b"\n" + line)
            else:
                slices.append(Slice(at, 1, line))
        return slices

    def read(self, room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        answer: Deferred[list[Slice]] = Deferred()
        self.readings.append(lambda: answer.callback(self.peek(room, position, bytes_max, count_max)))
        return answer

    def fail_readings(self, error: Exception) -> None:
        def read(*_: Any) -> "Deferred[list[Slice]]":
            answer: Deferred[list[Slice]] = Deferred()
            self.readings.append(lambda: answer.errback(error))
            return answer

        self.read = read  # type: ignore[method-assign]

    def answer(self) -> None:
        """Answer the oldest question."""
        self.readings.pop(0)()

    def expired(self, before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        raise NotImplementedError

    def snapshot(self) -> None:
        self.snapshots.append(self._replayed.capture())

    def close(self) -> "Deferred[None]":
        raise NotImplementedError


class FakeDoor:
    """Remembers what a client would hear."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False
        self.dropped = ""
        self.extended = False
        self.released = self.leisurely = 0
        self.host: str | None = "192.0.2.1"
        self.seat: Seat | None = None
        self.when: Callable[[], None] | None = None
        self._taken = 0

    def send(self, data: bytes) -> None:
        assert not data or data.endswith(b"\n")
        if not self.closed:
            self.data += data

    def send_at_leisure(self, data: bytes) -> None:
        self.leisurely += 1
        self.send(data)

    def close(self, last: bytes = b"") -> None:
        self.data += last
        self.closed = True

    def drop(self, reason: str, why: str = "", last: bytes | None = None) -> None:
        self.dropped = reason
        self.close(last or b"")

    def when_clear(self, call: Callable[[], None]) -> None:
        self.when = call

    def clear(self) -> None:
        """The client has taken what was sent."""
        if self.when is not None and not self.closed:
            call, self.when = self.when, None
            call()

    def welcomed(self) -> None:
        self.extended = True

    def seated(self, seat: Seat) -> None:
        self.seat = seat

    def go_on(self) -> None:
        self.released += 1

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that came since this was asked last."""
        data, self._taken = self.data[self._taken :], len(self.data)
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def brief(self) -> list[str]:
        """Return them in short."""
        return [brief(line) for line in self.lines()]


def brief(line: dict[str, Any]) -> str:
    """Return a line in short: its kind and what matters most."""
    kind = line["type"]
    if kind == "message":
        return f"{line['identity']}: {line['content']}"
    if kind == "roomchange":
        return f"{line['identity']} {line['former']}>{line['roomid']}"
    if kind == "newidentity":
        return f"{line['former']}={line['identity']}"
    if kind == "roomlist":
        return "list " + " ".join(f"{room['roomid']}:{room['count']}" for room in line["rooms"])
    if kind == "roomcontents":
        return f"in {line['roomid']} {line['owner']}: " + " ".join(line["identities"])
    if kind == "ack":
        return f"ack {line['id']} {line['roomid']}/{line['index']}" if "index" in line else f"ack {line['id']} private"
    if kind == "gap":
        return f"gap {line['roomid']}/{line['from']}-{line['to']} {line['reason']}"
    if kind == "rewind":
        return f"rewind {line['roomid']}/{line['index']}"
    if kind in ("error", "notice"):
        return f"{kind} {line['code']}"
    if kind == "history":
        return f"history {line['roomid']} {[said['index'] for said in line['messages']]} {line['more']}"
    return str(kind)


class ChatTestCase(SynchronousTestCase):
    """A node's chat, with doors to talk through."""

    starts = 0
    settings = ChatSettings(name="primary", in_flight_max=10, rooms_per_session_max=4, capacity=20)

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.log = MemoryLog()
        self.start()

    def start(self) -> None:
        self.turn = Turn(self.clock)
        self.now = NOW
        self.starts += 1
        dice = random.Random(self.starts)
        self.server = ChatServer(self.settings, self.log, self.turn, self.clock, lambda: self.now, dice, Tally())
        self.server.start()
        self.hall = self.server.hall

    def commit(self) -> None:
        """Have all that is under way agreed on and answered."""
        for _ in range(100):
            self.clock.turn()
            while self.log.readings:
                self.log.answer()
            if not (self.log.submitted or self.log.sealed or self.log.readings or self.is_due()):
                return
            while self.log.sealed or self.log.submitted:
                self.log.commit()
        raise AssertionError("it never ends")

    def is_due(self) -> bool:
        return any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())

    def come(self) -> tuple[FakeDoor, Seat]:
        """Let a base client in."""
        door = FakeDoor()
        seat = self.server.greet(door)
        assert seat is not None
        self.commit()
        return door, seat

    def hello(
        self, *, door: FakeDoor | None = None, current: Seat | None = None, **fields: Any
    ) -> tuple[FakeDoor, Any]:
        """Let an extended client say hello; return its seat, that of its old session where it has one."""
        door = door or FakeDoor()
        resume = [Resume(room, index) for room, index in fields.pop("resume", {}).items()]
        seat = self.server.hello(door, Hello(fields.pop("version", 1), resume=resume, **fields), current)
        self.commit()
        return door, door.seat or seat

    def ask(self, seat: Seat, *requests: Any) -> None:
        self.server.received(seat, list(requests))
        self.commit()

    def lose(self, seat: Seat, door: FakeDoor) -> None:
        self.server.lost(seat, door)
        self.commit()
