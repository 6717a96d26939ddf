"""Two nodes' chats over one agreed log in memory; each hears what is committed when the test says so."""

import random
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.chat.messages import Hello, Resume
from chatproto.chat.seat import Seat
from chatproto.chat.server import ChatServer
from chatproto.chat.settings import ChatSettings
from chatproto.link import Turn
from chatproto.log.entry import Entry, Numbering, Run
from chatproto.log.interface import ILog, Peer, Slice
from chatproto.tally import Tally
from tests.unit.chat.fakes import NOW, FakeDoor, MemoryLog
from tests.unit.turns import TurnClock


class Agreed:
    """The one log: what either node submits, in order.

    Attributes:
        entries: submitted and not agreed on yet, each with the node that submitted it.
        batches: agreed on, in order: the runs, and who submitted each of their entries.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[Entry, PairMemoryLog]] = []
        self.batches: list[tuple[list[Run], dict[str, PairMemoryLog]]] = []
        self.numbering = Numbering(0, {}, 1)
        self.held: dict[str, tuple[Run, int]] = {}

    def agree(self) -> None:
        """Number what is submitted."""
        entries, self.entries = self.entries, []
        fresh: list[Entry] = []
        owners: dict[str, PairMemoryLog] = {}
        for entry, log in entries:
            if entry.id in self.held or entry.id in owners:
                log.again.append(entry)
            else:
                fresh.append(entry)
                owners[entry.id] = log
        if fresh:
            runs = self.numbering.seal(fresh)
            for run in runs:
                self.held.update({run.ids[at]: (run, at) for at in run.retriable})
            self.batches.append((runs, owners))


@implementer(ILog)
class PairMemoryLog:
    """One node's end of the agreed log.

    Attributes:
        again: submitted, and in the log already.
        notes: told to the other node, which has not taken them yet; None while there is no link.
    """

    serving = True
    durable = 2
    redundancy = "paired"

    def __init__(self, agreed: Agreed, role: str, other: str) -> None:
        self.agreed = agreed
        self.role = role
        self.epoch = agreed.numbering.epoch
        self.peers = [Peer(other, "leader" if role == "follower" else "follower", 0)]
        self.position = 0
        self.again: list[Entry] = []
        self.strange_epochs: set[int] = set()
        self.witness: bool | None = None
        self.waits_for = ""
        self.notes: list[bytes] | None = []
        self.readings: list[Any] = []
        self.taken = 0
        self._archive = MemoryLog()

    def open(self, replayed: Any) -> None:
        self.replayed = replayed
        for runs, _ in self.agreed.batches:
            for run in runs:
                replayed.replay(self._bare(run))
        self.taken = len(self.agreed.batches)

    def reset(self, agreed: Agreed) -> None:
        """Part from everything, and take another log."""
        self.agreed = agreed
        self._archive = MemoryLog()
        self.again = []
        self.replayed.restore(None)
        self.open(self.replayed)
        self.epoch = agreed.numbering.epoch

    def _bare(self, run: Run) -> Run:
        self._archive._keep(run)
        self.position = run.index + len(run.ids) - 1
        return Run(run.index, run.epoch, run.kind, run.room, run.position, run.time, run.ids, run.body, run.retriable)

    def submit(self, entry: Entry) -> None:
        self.agreed.entries.append((entry, self))

    def commit(self) -> bool:
        """Take the next batch; return whether there was one."""
        self.again, again = [], self.again
        if self.taken == len(self.agreed.batches):
            for entry in again:
                run, at = self.agreed.held[entry.id]
                self.replayed.repeated(entry, run, at)
            return bool(again)
        runs, owners = self.agreed.batches[self.taken]
        self.taken += 1
        own = []
        for run in runs:
            bare = self._bare(run)
            if any(owners[id] is self for id in run.ids):
                bare.entries = [
                    entry
                    if owners[entry.id] is self
                    else Entry(*[getattr(entry, f) for f in entry.__struct_fields__[:7]])
                    for entry in run.entries
                ]
            own.append(bare)
        self.again = again
        self.replayed.commit(own)
        return True

    def had(self, epoch: int) -> bool:
        return epoch not in self.strange_epochs

    def tell(self, note: bytes) -> bool:
        if self.notes is not None:
            self.notes.append(note)
        return self.notes is not None

    def peek(self, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        return self._archive.peek(room, position, bytes_max, count_max)

    def read(self, room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        answer: Deferred[list[Slice]] = Deferred()
        self.readings.append(lambda: answer.callback(self.peek(room, position, bytes_max, count_max)))
        return answer

    def expired(self, before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        raise NotImplementedError

    def snapshot(self) -> None:
        self.replayed.capture()

    def close(self) -> "Deferred[None]":
        raise NotImplementedError


class Node:
    """A node's chat."""

    def __init__(self, case: "PairTestCase", name: str, role: str, other: str) -> None:
        self.case = case
        self.name = name
        self.turn = Turn(case.clock)
        self.log = PairMemoryLog(case.agreed, role, other)
        dice = random.Random(f"{name} {case.starts}")
        settings = ChatSettings(name=name, servers=[f"{name}:4444"], **case.options)
        self.server = ChatServer(settings, self.log, self.turn, case.clock, lambda: NOW, dice, Tally())
        self.server.start()
        self.hall = self.server.hall

    def come(self) -> tuple[FakeDoor, Seat | None]:
        door = FakeDoor()
        seat = self.server.greet(door)
        self.case.settle()
        return door, seat

    def ask_in(self, **fields: Any) -> tuple[FakeDoor, Any]:
        """Say hello, and have nothing committed yet."""
        door = FakeDoor()
        resume = [Resume(*at) for at in fields.pop("resume", ())]
        return door, self.server.hello(door, Hello(1, resume=resume, **fields), None)

    def hello(self, **fields: Any) -> tuple[FakeDoor, Any]:
        door, seat = self.ask_in(**fields)
        self.case.settle()
        return door, door.seat or seat

    def ask(self, seat: Seat, *requests: Any) -> None:
        self.server.received(seat, list(requests))
        self.case.settle()

    def lose(self, seat: Seat, door: FakeDoor) -> None:
        self.server.lost(seat, door)
        self.case.settle()

    def change(self, **attributes: Any) -> None:
        """Have the log be otherwise."""
        for name, value in attributes.items():
            assert hasattr(self.log, name)
            setattr(self.log, name, value)
        self.server.changed()

    def identities(self, room: str = "MainHall") -> list[str]:
        return self.hall.contents(room).identities

    def answer(self) -> bool:
        busy = bool(self.log.readings)
        while self.log.readings:
            self.log.readings.pop(0)()
        return busy


class PairTestCase(SynchronousTestCase):
    """East leads, west follows."""

    options: ClassVar[dict[str, Any]] = {"capacity": 20, "rooms_per_session_max": 4}

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.agreed = Agreed()
        self.starts = 0
        self.east = Node(self, "east", "leader", "west")
        self.west = Node(self, "west", "follower", "east")
        self.nodes = [self.east, self.west]
        self.settle()

    def restart(self, node: Node) -> Node:
        """Have a node begin another life, without its clients."""
        self.starts += 1
        other = self.west if node is self.east else self.east
        fresh = Node(self, node.name, node.log.role, other.name)
        self.nodes[self.nodes.index(node)] = fresh
        if node is self.east:
            self.east = fresh
        else:
            self.west = fresh
        return fresh

    def pass_notes(self) -> bool:
        busy = False
        for node, other in ((self.east, self.west), (self.west, self.east)):
            if node.log.notes:
                notes, node.log.notes = node.log.notes, []
                for note in notes if other in self.nodes else ():
                    busy = True
                    other.server.told(note)
        return busy

    def settle(self, *nodes: Node, notes: bool = True) -> None:
        """Have all that is under way agreed on; applied by the nodes named, both if none is; and answered."""
        for _ in range(100):
            self.clock.turn()
            busy = self.pass_notes() if notes else False
            self.agreed.agree()
            for node in nodes or self.nodes:
                while node.log.commit():
                    busy = True
                busy |= node.answer()
            due = any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
            if not (busy or due or self.agreed.entries):
                return
        raise AssertionError("it never ends")

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    def check_same(self) -> None:
        self.assertEqual(self.east.hall.snapshot(), self.west.hall.snapshot())


def messages(door: FakeDoor) -> list[tuple[str, int]]:
    """Return room and index of the messages that came."""
    return [(line["roomid"], line["index"]) for line in door.lines() if line["type"] == "message"]
