"""Nodes of a pair, and one that stands by, on disks and connections that a test moves by hand."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.link import Turn
from chatproto.log.entry import Entry, Run
from chatproto.pair.configuration import Configuration
from chatproto.pair.log import PairLog, PairSettings
from chatproto.pair.messages import FRAME_BYTES_MAX, PRIMARY, SECONDARY, STANDBY, AnyMessage, decode
from chatproto.pair.witness import WitnessHeard
from chatproto.registry.rules import Standing, form_of
from chatproto.tally import Tally
from chatproto.testing import SimClock, SimDisk, SimStore
from chatproto.testing.clock import HostClock
from chatproto.wire import FrameBuffer
from tests.unit.log.contract import message
from tests.unit.transports import Transport
from tests.unit.turns import TurnClock

HEARTBEAT_S = 0.125
SUSPECT_S = 0.5
COMMIT_S = 1.0
"""Of the disk's own time, which goes on only when a test says so."""


class Hearer:
    """`Replayed` whose state is the ids that it has taken, in order."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.origins: list[Any] = []
        self.batches: list[list[int]] = []
        self.repetitions: list[tuple[Any, int, int]] = []
        self.rewinds: list[dict[str, int]] = []
        self.notes: list[bytes] = []
        self.first: dict[str, int] = {}
        self.changes = 0

    def restore(self, state: bytes | None) -> None:
        self.ids = [] if state is None else msgspec.msgpack.decode(state)

    def rewound(self, first: dict[str, int]) -> None:
        self.rewinds.append(first)

    def replay(self, run: Run) -> None:
        self.ids += run.ids

    def commit(self, runs: list[Run]) -> None:
        self.batches.append([run.index for run in runs])
        for run in runs:
            self.ids += run.ids
            self.origins += [entry.origin for entry in run.entries]

    def repeated(self, entry: Entry, run: Run | None, offset: int) -> None:
        self.repetitions.append((entry.origin, 0 if run is None else run.index, offset))

    def capture(self) -> tuple[bytes, dict[str, int]]:
        return msgspec.msgpack.encode(self.ids), self.first

    def changed(self) -> None:
        self.changes += 1

    def told(self, note: bytes) -> None:
        self.notes.append(note)


class Disk:
    """A disk with a time of its own, and the store on it.

    Attributes:
        held: whether nothing is written or read now.
    """

    def __init__(self) -> None:
        self.clock = SimClock()
        self.disk = SimDisk(self.clock, random.Random(1), (COMMIT_S, COMMIT_S))
        self.held = False
        self.failures: list[str] = []

    def open(self) -> SimStore:
        self.life = HostClock(self.clock)
        self.store = self.disk.open("data", self.failures.append, self.life)
        return self.store

    def crash(self) -> None:
        self.life.die()
        self.disk.crash()

    @property
    def idle(self) -> bool:
        return self.held or not self.clock.getDelayedCalls()

    def settle(self) -> None:
        """Do all that was asked."""
        while self.clock.getDelayedCalls():
            self.clock.advance(COMMIT_S)

    @property
    def runs(self) -> list[Run]:
        """What is durable, in order."""
        return list(self.disk.newest_first("data"))[::-1]

    @property
    def ids(self) -> list[str]:
        return [id for run in self.runs for id in run.ids]

    @property
    def orphans(self) -> list[str]:
        return [id for id, _ in self.disk.orphans("data")]


class End(Transport):
    """One end of a connection; what is written arrives at the other when it is moved."""

    peer: "End"
    owner: "Node"

    def __init__(self) -> None:
        super().__init__()
        self.peerAddr = IPv4Address("TCP", "127.0.0.1", 5)
        self.link: Any = None
        self.ending: Exception | None = None
        self.lost = False
        self.paused = False
        self.held = False
        self.sent: list[AnyMessage] = []
        self._frames = FrameBuffer(FRAME_BYTES_MAX)

    def loseConnection(self) -> None:
        super().loseConnection()
        self.ending = ConnectionDone()

    def abortConnection(self) -> None:
        super().abortConnection()
        self.writes.clear()
        self.ending = ConnectionLost()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def move(self) -> bool:
        """Bring the other end what was written; return whether there was anything."""
        if self.held or self.lost or self.peer.paused:
            return False
        writes, self.writes[:] = self.writes[:], []
        for data in writes:
            self.sent += [decode(frame) for frame in self._frames.feed(data)]
            if not self.peer.lost:
                self.peer.link.dataReceived(data)
        if self.ending is not None:
            self.lose(self.ending)
            self.peer.lose(ConnectionDone())
        return bool(writes)

    def lose(self, reason: Exception) -> None:
        if not self.lost:
            self.lost = True
            self.link.connectionLost(Failure(reason))


class Witness:
    """Holds the configuration; whoever asks for the one that follows is granted it as a registry would.

    Attributes:
        silent: whether questions wait.
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        self.configuration = configuration
        self.silent = False
        self.asked: list[Asked] = []

    def answer(self) -> bool:
        """Answer what was asked; return whether that was anything."""
        waiting = [] if self.silent else [asked for asked in self.asked if asked.questions]
        for asked in waiting:
            self._answer(asked, asked.questions.pop(0))
        return bool(waiting)

    def _answer(self, asker: "Asked", wanted: Configuration) -> None:
        held, name = self.configuration, asker.name
        if held is None:
            standing = Standing.FOUNDER
        elif name in held.members:
            standing = Standing.LEADER if name == held.leader else Standing.MEMBER
        else:
            standing = Standing.OUTSIDER
        form = form_of(standing, name, held, wanted)
        leader_heard = held is not None and any(asked.up and asked.name == held.leader for asked in self.asked)
        if form is None or (form.unheard and leader_heard):
            asker.heard.witness_denied("because", held)
            return
        self.configuration = wanted
        for asked in self.asked:
            if asked.up:
                asked.heard.witness_holds(wanted)


class Asked:
    """A node's link to the witness."""

    heard: WitnessHeard

    def __init__(self, witness: Witness, name: str) -> None:
        self.witness = witness
        self.name = name
        self.up = False
        self.cut = False
        self.questions: list[Configuration] = []
        self.claims: list[Configuration | None] = []
        witness.asked.append(self)

    def open(self, heard: WitnessHeard, claim: Configuration | None, founder: bool) -> None:
        self.heard = heard
        self.claims.append(claim)
        if not self.cut:
            self.reach()

    def reach(self) -> None:
        self.cut, self.up = False, True
        self.heard.witness_up(self.witness.configuration)

    def lose(self) -> None:
        self.cut = True
        self.questions.clear()
        if self.up:
            self.up = False
            self.heard.witness_down()

    def claim(self, configuration: Configuration) -> None:
        self.claims.append(configuration)

    def propose(self, configuration: Configuration, *, lossy: bool = False) -> None:
        assert self.up and not self.questions
        self.questions.append(configuration)

    def close(self) -> None:
        self.up = False
        self.witness.asked.remove(self)


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Where a node dials another."""

    def __init__(self, node: "Node", other: "Node") -> None:
        self.node = node
        self.other = other

    def connect(self, factory: Any) -> "Deferred[Any]":
        return self.node.dial(self.other, factory)


class Node:
    """A node, with its disk. It may be started more than once.

    Attributes:
        peer: whom it knows by its `--peer`; None for nobody.
        cut: whether dialling another gets no answer.
    """

    log: PairLog
    hearer: Hearer

    def __init__(self, rig: "Rig", name: str, role: str, **settings: Any) -> None:
        self.rig = rig
        self.name = name
        self.peer: Node | None = None
        self.settings = PairSettings(
            name, role=role, advertise=f"{name}:4545", heartbeat_s=HEARTBEAT_S, suspect_s=SUSPECT_S, **settings
        )
        self.disk = Disk()
        self.running = False
        self.cut = False

    # Life

    def start(self) -> None:
        rig = self.rig
        self.running = True
        self.hearer = Hearer()
        self.asked = Asked(rig.witness, self.name) if rig.witness else None
        self.log = PairLog(
            self.settings,
            self.disk.open,
            Turn(rig.clock),
            rig.clock,
            random.Random(1),
            Endpoint(self, self.peer) if self.peer is not None else None,
            self.asked,
            self.disk.failures.append,
            lambda address: Endpoint(self, rig.at(address)),
            rig.tally,
        )
        self.log.open(self.hearer)

    def crash(self) -> None:
        """End without a word; the other end hears that the connections are gone."""
        self.running = False
        self.log._closed = True  # Its timers are those of the test's clock: nothing of it is to be heard any more.
        self.log._neighbours.stop()
        if self.log._looking is not None:
            self.log._looking.cancel()
        if self.asked is not None:
            self.asked.close()
        self.disk.crash()
        for end in self.rig.ends:
            if end.owner is self:
                end.writes.clear()
                end.ending = ConnectionLost()
                end.lost = True
                end.link.open = False
                end.link._cancel_timer()
                end.peer.lose(ConnectionLost())

    def dial(self, other: "Node", factory: Any) -> "Deferred[Any]":
        if self.cut:
            return Deferred()
        if not other.running:
            return fail(ConnectionRefusedError())
        return succeed(self.rig.connect(self, other, factory))

    # Questions

    @property
    def role(self) -> str:
        return self.log.replica.role.value

    @property
    def pending(self) -> list[str]:
        return list(self.log.journal.submissions.pending)

    @property
    def dialled(self) -> "End":
        """Its end of the newest connection that it has dialled."""
        return [end for end in self.rig.ends if end.owner is self and end.link.dialled][-1]

    def match(self, name: str) -> int:
        """Return up to where a node that follows this one has the log, as far as this one knows."""
        follower = self.log.replica.followers.get(name)
        return 0 if follower is None else follower.match

    def said(self, kind: type) -> list[Any]:
        """Return the messages of a kind that have left this node."""
        return [each for end in self.rig.ends if end.owner is self for each in end.sent if isinstance(each, kind)]

    def submit(self, *entries: Entry) -> None:
        for entry in entries:
            entry.origin = entry.origin or f"{self.name} {entry.id}"
            self.log.submit(entry)


class Rig:
    """East and West, a pair; North, which stands by; the clock, the connections, and the witness if there is one."""

    def __init__(self, *, static: bool = False, paired: bool = True, **settings: Any) -> None:
        """Begin with nothing started; unless they are `paired`, East and West know of nobody."""
        self.clock = TurnClock()
        self.tally = Tally()
        self.witness = None if static else Witness()
        self.ends: list[End] = []
        self.east = Node(self, "east", PRIMARY, **settings)
        self.west = Node(self, "west", SECONDARY, **settings)
        self.north = Node(self, "north", STANDBY, **settings)
        self.nodes = (self.east, self.west, self.north)
        if paired:
            self.east.peer, self.west.peer = self.west, self.east

    def at(self, address: str) -> Node:
        """Return the node whose peer link is there."""
        return next(node for node in self.nodes if node.settings.advertise == address)

    def connect(self, node: Node, other: Node, factory: Any) -> Any:
        ends = End(), End()
        for end, peer, owner, maker in (
            (ends[0], ends[1], node, factory),
            (ends[1], ends[0], other, other.log.factory),
        ):
            end.peer, end.owner, end.link = peer, owner, maker.buildProtocol(None)
        self.ends += ends
        for end in ends:
            end.link.makeConnection(end)
        return ends[0].link

    def step(self) -> None:
        """Do a little, so that a test can look in between: a disk comes half a commit further, or time goes on."""
        self.clock.advance(0)
        moved = [end.move() for end in list(self.ends)]
        if self.witness is not None:
            moved.append(self.witness.answer())
        if not any(moved):
            busy = [node.disk for node in self.nodes if not node.disk.idle]
            for disk in busy:
                disk.clock.advance(COMMIT_S / 2)
            if not busy:
                self.clock.advance(1 / 32)

    def step_until(self, so: Callable[[], Any], steps: int = 5000) -> None:
        for _ in range(steps):
            if so():
                return
            self.step()
        raise AssertionError("it never was")

    def settle(self, rounds: int = 500) -> None:
        """Do all that can be done without time going on."""
        for _ in range(rounds):
            self.clock.advance(0)
            moved = [end.move() for end in list(self.ends)]
            for node in self.nodes:
                if not node.disk.idle:
                    node.disk.settle()
                    moved.append(True)
            if self.witness is not None:
                moved.append(self.witness.answer())
            if not any(moved):
                return
        raise AssertionError("something keeps itself busy")

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 32)):
            self.clock.advance(1 / 32)
            self.settle()

    def until(self, so: Callable[[], bool], seconds: float = 5.0) -> None:
        self.settle()
        for _ in range(round(seconds * 32)):
            if so():
                return
            self.wait(1 / 32)
        raise AssertionError("it never was")

    def start(self) -> None:
        """Start both, and wait until they are paired."""
        self.east.start()
        self.west.start()
        self.until(lambda: self.east.role == "leader-pair" and self.west.role == "follower")

    def cut(self) -> None:
        """Let nothing through between the two, and have both notice."""
        self.east.cut = self.west.cut = True
        for end in self.ends:
            end.held = True
            end.lose(ConnectionLost())

    def heal(self) -> None:
        self.east.cut = self.west.cut = False
        for node in (self.east, self.west):
            for dialler in node.log._neighbours._diallers.values():
                dialler._give_up()


def parted(east: int, west: int) -> Rig:
    """Return a pair without a witness whose nodes went on without each other, and met no more yet.

    Both have `zero`; then East has `e0`, `e1`, … and West has `w0`, `w1`, …, all committed, each in a run of its own.
    """
    rig = Rig(static=True)
    rig.start()
    rig.east.submit(message("jokes", "0", id="zero"))
    rig.settle()
    rig.cut()
    rig.until(lambda: rig.east.role == rig.west.role == "leader-solo")
    for node, count in ((rig.east, east), (rig.west, west)):
        for number in range(count):
            node.submit(message("jokes", f"{node.name} {number}", id=f"{node.name[0]}{number}"))
            rig.settle()
    return rig
