"""Two nodes and their registry as processes, links between them that can be cut, and clients that keep the books.

All here runs on the reactor of the test, so nothing in it may block for long. Everything is on 127.0.0.1.
"""

import math
import os
import random
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from chatproto.cli.archive import archive
from tests.integration.nodes import WAIT_S_MAX, Node, environment, line

reactor: Any = installed
HOST = "127.0.0.1"
HALL = "MainHall"
TICK_S = 0.01
TRIES_MAX = 5
ROW_MAX = 32
"""Ports in a row that are had at once."""
SPANS = ("--heartbeat=", "--suspect=", "--lease=", "--secret-file=")
"""Options that the registry is to have as its nodes do."""
CHATPROTO = "import sys; from chatproto.cli import main; sys.exit(main())"
_decode = msgspec.json.decode


_given: set[int] = set()


def lasting_ports(count: int, in_a_row: int = 1) -> list[int]:
    """Return ports that are free, and that the kernel gives to no outgoing connection while a node is down.

    Nor does another worker of these tests, or this one again. Each is the first of so many of the kind in a row.
    """
    found: list[int] = []
    while len(found) < count:
        first = random.SystemRandom().choice(_own_ports())
        row = range(first, first + in_a_row)
        if _given.isdisjoint(row) and all(map(_is_free, row)):
            _given.update(row)
            found.append(first)
    return found


def _own_ports() -> range:
    """Return the ports that rows of this worker's own may begin with."""
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        lowest = 32768
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    share = (max(lowest, 20_000) - 10_000) // workers
    return range(10_000 + worker * share, 10_000 + (worker + 1) * share - ROW_MAX)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


async def moment(seconds: float = 0.005) -> None:
    """Let the reactor turn."""
    await deferLater(reactor, seconds)


# How a server stands


class _Inquiry(Protocol):
    """Asks a server how it stands, as its first line, which makes no session."""

    def __init__(self, answered: "Deferred[dict[str, Any] | None]") -> None:
        self._answered = answered
        self._rest = b""

    def connectionMade(self) -> None:
        self.transport.write(line("status"))

    def dataReceived(self, data: bytes) -> None:
        self._rest += data
        if b"\n" in self._rest:
            self.answer(_decode(self._rest.partition(b"\n")[0]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.answer(None)

    def answer(self, answer: dict[str, Any] | None) -> None:
        if not self._answered.called:
            self._answered.callback(answer)
        if self.transport is not None:
            self.transport.abortConnection()


async def status(port: int, seconds: float = 1.0) -> dict[str, Any] | None:
    """Return how a server says that it stands; None if it does not say."""
    answered: Deferred[dict[str, Any] | None] = Deferred()
    inquiry = _Inquiry(answered)
    trying = TCP4ClientEndpoint(reactor, HOST, port, timeout=seconds).connect(Factory.forProtocol(lambda: inquiry))
    trying.addErrback(lambda _: inquiry.answer(None))
    timer = reactor.callLater(seconds, inquiry.answer, None)
    try:
        return await answered
    finally:
        if timer.active():
            timer.cancel()


# A line that can be cut


class _Side(Protocol):
    """One of the two connections that a forwarder joins; it reads what goes `way`."""

    def __init__(self, forwarder: "Forwarder", way: str) -> None:
        self.way = way
        self.other: _Side | None = None
        self.lost = False
        self._forwarder = forwarder
        self._early: list[bytes] = []

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._forwarder.came(self)

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)
        self._forwarder.carries(self, len(data))

    def join(self, other: "_Side") -> None:
        self.other, other.other = other, self
        other.transport.writeSequence(self._early)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self._forwarder.went(self)


class Forwarder:
    """A line from whoever dials it to a target: it carries bytes both ways, until it is cut, one way or both.

    What is cut is not closed, as when a cable is pulled: neither end hears anything, not even that the other closes.
    Connections made meanwhile wait.

    Attributes:
        port: to be dialled instead of the target's.
        target: the target's port.
        carried: bytes that went each way.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.target = target
        self.carried: Counter[str] = Counter()
        self._until: dict[str, int] = {}
        self._held: set[str] = set()
        self._sides: set[_Side] = set()
        self._undialled: list[_Side] = []
        self._listening: Any = None

    async def open(self) -> None:
        factory = Factory.forProtocol(lambda: _Side(self, "in"))
        factory.noisy = False
        self._listening = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(factory)
        self.port = self._listening.getHost().port

    def hold(self, *ways: str) -> None:
        """Cut the line for what goes `in`, to the target, or `out`, from it."""
        self._held.update(ways)
        for side in self._sides:
            if side.way in ways and not side.lost:
                side.transport.pauseProducing()

    def hold_after(self, way: str, count: int) -> None:
        """Cut the line for what goes one way as soon as so many more bytes have gone there, or a few more than that."""
        self._until[way] = self.carried[way] + count

    def carries(self, side: _Side, count: int) -> None:
        self.carried[side.way] += count
        if self.carried[side.way] >= self._until.get(side.way, math.inf):
            self.hold(side.way)

    def release(self) -> None:
        """Have it carry all again."""
        self._until.clear()
        held, self._held = self._held, set()
        undialled, self._undialled = self._undialled, []
        for side in undialled:
            self._dial(side)
        for side in list(self._sides):
            if side.lost:
                self.went(side)
            elif side.way in held:
                side.transport.resumeProducing()

    def sever(self) -> None:
        """End all connections, with what they hold."""
        for side in list(self._sides):
            if not side.lost:
                side.transport.abortConnection()

    def came(self, side: _Side) -> None:
        self._sides.add(side)
        if side.way in self._held:
            side.transport.pauseProducing()
        if side.way == "in":
            if self._held:
                self._undialled.append(side)
            else:
                self._dial(side)

    def _dial(self, side: _Side) -> None:
        def connected(far: Any) -> None:
            if side.lost:
                far.transport.abortConnection()
            else:
                side.join(far)

        def refused(failure: Failure) -> None:
            # A line that nobody answers yet is not broken.
            if not side.lost and self._listening is not None:
                reactor.callLater(0.02, self._dial, side)

        factory = Factory.forProtocol(lambda: _Side(self, "out"))
        factory.noisy = False
        dialling = TCP4ClientEndpoint(reactor, HOST, self.target, timeout=2).connect(factory)
        dialling.addCallbacks(connected, refused)

    def went(self, side: _Side) -> None:
        if side.way in self._held:
            return  # The news does not get through.
        self._sides.discard(side)
        if side.other is not None and not side.other.lost:
            side.other.transport.loseConnection()

    def close(self) -> None:
        if self._listening is not None:
            self._listening.stopListening()
            self._listening = None
        self.sever()


# A client that keeps the books


class _TalkerLink(Protocol):
    def __init__(self, talker: "Talker") -> None:
        self._talker = talker
        self._rest = b""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._talker.connected(self)

    def dataReceived(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        self._talker.take(self, lines)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._talker.lost(self)


class Talker:
    """An extended client that talks steadily in MainHall, and goes on whatever becomes of its server.

    It speaks the protocol by itself, so that nothing mends what a server does wrong. What it hears has to be the room,
    from the first message on, without gap or repeat, over all its connections; each acknowledgement is noted, and
    each again must say the same.

    Attributes:
        name: its identity, which it keeps.
        next: the index of the message to be heard next.
        heard: id and epoch of the messages heard, from index 1 on.
        said: contents by id, in order.
        unacknowledged: ids in order, each with when it was said first.
        acknowledged: by id, the index and the epoch.
        latencies: of each acknowledgement, when it came and how many seconds it took.
        durable: how many nodes held what was acknowledged, and how often.
        port: where it is, or tries to be.
        welcomes: names of the servers that welcomed it, in order.
        servers: addresses that the last of them knew.
        losses: connections that ended although no server had asked for it.
        redirects: reasons why servers asked it to go.
        moved: how often it heard that a newer connection has its session, while it had none.
        left: identities that were said to have left the deployment.
        rewinds: indexes it was taken back to.
        notices: codes and contents of what servers had to say of themselves.
        troubles: what went wrong.
    """

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        *,
        per_second: float = 100,
        window: int = 200,
        silence_s_max: float = 1.0,
        forks: bool = False,
    ) -> None:
        """Make one that has not begun.

        Args:
            name: its identity.
            ports: of the servers, the one to begin with first.
            per_second: messages said, as far as they are acknowledged.
            window: messages that may be unacknowledged.
            silence_s_max: a server that owes an answer for so long is left.
            forks: whether it may be rewound.
        """
        self.name = name
        self.next = 1
        self.heard: list[tuple[str, int]] = []
        self.said: dict[str, str] = {}
        self.unacknowledged: dict[str, float] = {}
        self.acknowledged: dict[str, tuple[int, int]] = {}
        self.latencies: list[tuple[float, float]] = []
        self.durable: Counter[int] = Counter()
        self.welcomes: list[str] = []
        self.servers: list[str] = []
        self.losses = 0
        self.redirects: list[str] = []
        self.moved = 0
        self.left: list[str] = []
        self.rewinds: list[int] = []
        self.notices: list[tuple[str, str]] = []
        self.troubles: list[str] = []
        self.token: str | None = None
        self.talking = False
        self._ports = list(ports)
        self._at = 0
        self._window = window
        self._per_second = per_second
        self._silence_s_max = silence_s_max
        self._forks = forks
        self._link: _TalkerLink | None = None
        self._online = False
        self._asked_away = False
        self._last_heard = self._ticked = 0.0
        self._due = 0.0
        self._ended = False
        self._trying = False
        self._ticks = LoopingCall(self._tick)

    @property
    def port(self) -> int:
        return self._ports[self._at]

    @property
    def online(self) -> bool:
        return self._online

    def __repr__(self) -> str:
        return (
            f"<{self.name} at {self.port}, online {self.online}, {len(self.unacknowledged)} of {len(self.said)} not "
            f"acknowledged, hears {self.next} next, welcomed {self.welcomes[-6:]}, lost {self.losses}, "
            f"redirected {self.redirects[-6:]}, {self.notices[-3:]}>"
        )

    # Life

    def begin(self) -> "Talker":
        """Come, and talk."""
        self.talking = True
        self._ticked = reactor.seconds()
        self._ticks.start(TICK_S)
        self._connect()
        return self

    def end(self) -> None:
        """Leave nothing behind."""
        self._ended = True
        if self._ticks.running:
            self._ticks.stop()
        if self._link is not None:
            self._link.transport.abortConnection()

    def hang_up(self) -> None:
        """Break the connection; it comes back at once."""
        if self._link is not None:
            self._link.transport.abortConnection()

    def _connect(self) -> None:
        if self._ended or self._trying or self._link is not None:
            return
        self._trying = True
        factory = Factory.forProtocol(lambda: _TalkerLink(self))
        factory.noisy = False
        trying = TCP4ClientEndpoint(reactor, HOST, self.port, timeout=1).connect(factory)
        trying.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._trying = False
        self._go_on(0.05)

    def _go_on(self, seconds: float) -> None:
        if not self._asked_away:
            self._at = (self._at + 1) % len(self._ports)
        self._asked_away = False
        reactor.callLater(seconds, self._connect)

    # The connection

    def connected(self, link: _TalkerLink) -> None:
        self._trying = False
        if self._ended:
            link.transport.abortConnection()
            return
        self._link, self._online, self._asked_away = link, False, False
        self._last_heard = reactor.seconds()
        who: dict[str, Any] = {"identity": self.name} if self.token is None else {"session": self.token}
        position: dict[str, Any] = {"roomid": HALL, "from": self.next}
        if self.heard:
            position["epoch"] = self.heard[-1][1]
        link.transport.write(line("hello", version=1, resume=[position], **who))

    def lost(self, link: _TalkerLink) -> None:
        if link is not self._link:
            return
        self._link, self._online = None, False
        if not self._asked_away:
            self.losses += 1
        self._go_on(0.02)

    def take(self, link: _TalkerLink, lines: list[bytes]) -> None:
        try:
            for found in lines:
                if link is not self._link:
                    return
                self._last_heard = reactor.seconds()
                self._take(link, _decode(found))
        except Exception as error:
            self.troubles.append(f"{self.name}: {error!r} on {found[:300]!r}")
            link.transport.abortConnection()

    def _take(self, link: _TalkerLink, told: dict[str, Any]) -> None:
        match told["type"]:
            case "message":
                assert told["roomid"] == HALL
                assert told["index"] == self.next, f"neither a gap nor a repetition: {self.next} comes next"
                self.heard.append((told["id"], told["epoch"]))
                self.next += 1
            case "ack":
                self._acknowledged(told)
            case "welcome":
                assert told["identity"] == self.name
                assert self.token in (None, told["session"]), "the session goes on"
                self.token = told["session"]
                self.welcomes.append(told["server"])
                self.servers = told["servers"]
                self._online = True
                link.transport.write(b"".join(map(self._line, self.unacknowledged)))
            case "rewind":
                assert self._forks, "nothing that was heard is taken back"
                assert told["roomid"] == HALL
                self.rewinds.append(told["index"])
                del self.heard[told["index"] - 1 :]
                self.next = len(self.heard) + 1
            case "roomchange":
                if not told["roomid"]:
                    self.left.append(told["identity"])
            case "redirect":
                self.redirects.append(told["reason"])
                assert 0 <= told["after"] <= 5000
                self._redirected(link, told["servers"], told["after"] / 1000)
            case "notice":
                assert told["code"] != "session-unknown", "the session goes on"
                self.notices.append((told["code"], told["content"]))
            case "error" if told["code"] == "session-moved":
                # What a server that stood still had read before it did may be taken after what came later.
                self.moved += 1
                self._asked_away = True
            case "ping":
                link.transport.write(line("pong"))
            case "roomlist" | "roomcontents" | "newidentity":
                pass
            case _:
                raise AssertionError(told)

    def _acknowledged(self, ack: dict[str, Any]) -> None:
        id, place = ack["id"], (ack["index"], ack["epoch"])
        assert ack["roomid"] == HALL
        assert ack["durable"] in (1, 2)
        if id in self.acknowledged:
            assert self._forks or self.acknowledged[id] == place, "a retry gets the same acknowledgement"
        else:
            now = reactor.seconds()
            self.latencies.append((now, now - self.unacknowledged.pop(id)))
            self.durable[ack["durable"]] += 1
            self.acknowledged[id] = place

    def _redirected(self, link: _TalkerLink, servers: list[str], after_s: float) -> None:
        ports = [int(server.rpartition(":")[2]) for server in servers]
        known = [port for port in ports if port in self._ports]
        self._at = self._ports.index(known[0]) if known else (self._at + 1) % len(self._ports)
        self._asked_away = True

        def go() -> None:
            if self._link is link:
                link.transport.loseConnection()

        reactor.callLater(after_s, go)

    # Talking

    def _line(self, id: str) -> bytes:
        return line("message", content=self.said[id], id=id)

    def _tick(self) -> None:
        now = reactor.seconds()
        if now - self._ticked > 0.1:
            # This process stood still; what it is told waits to be read.
            self._last_heard = now
        self._due = min(self._due + (now - self._ticked) * self._per_second, max(1, self._per_second / 4))
        self._ticked = now
        if self._link is not None:
            owed = not self._online or self.unacknowledged
            if owed and now - self._last_heard > self._silence_s_max:
                self._link.transport.abortConnection()
            elif self._online and self.talking:
                self._talk(now)

    def _talk(self, now: float) -> None:
        assert self._link is not None
        lines = []
        while self._due >= 1 and len(self.unacknowledged) < self._window:
            self._due -= 1
            number = len(self.said) + 1
            id = f"{self.name}-{number}"
            self.said[id] = f"{number} {'x' * (number % 100)}"
            self.unacknowledged[id] = now
            lines.append(self._line(id))
        if lines:
            self._link.transport.write(b"".join(lines))


def p99_ms(talkers: Iterable[Talker], since: float, until: float) -> float:
    """Return the latency that one in a hundred of the acknowledgements of a span took, or more."""
    took = sorted(took for talker in talkers for at, took in talker.latencies if since <= at < until)
    assert len(took) >= 100, "there was load"
    return took[len(took) * 99 // 100] * 1000


# The pair


class Pair:
    """A primary, a secondary, and, unless told otherwise, a registry.

    Attributes:
        registry: None in static mode.
        primary: a node.
        secondary: the other.
        lines: by who dials and who is dialled, what carries it; empty unless they are to be cut.
    """

    def __init__(
        self,
        scene: "Scene",
        options: Sequence[str],
        *,
        registry: bool,
        cuttable: bool,
        constants: Mapping[str, Any] | None,
        certificates: Path | None,
    ) -> None:
        self.registry = scene.make_node(name="registry", listen=None) if registry else None
        self.primary = scene.make_node(name="primary", constants=constants)
        self.secondary = scene.make_node(name="secondary", constants=constants)
        self.lines: dict[tuple[str, str], Forwarder] = {}
        self._scene = scene
        self._options = list(options)
        self._cuttable = cuttable
        self._certificates = certificates

    @property
    def nodes(self) -> dict[str, Node]:
        return {"primary": self.primary, "secondary": self.secondary}

    @property
    def ports(self) -> list[int]:
        return [self.primary.port, self.secondary.port]

    # Life

    async def start(self) -> "Pair":
        """Start all, on ports that nobody has; return when they are paired."""
        for _ in range(TRIES_MAX):
            await self.prepare()
            if await self._launched():
                await self.paired()
                return self
        raise AssertionError("there are no free ports")

    async def prepare(self) -> None:
        """Choose ports, and say in the options of each where the others are."""
        ports = dict(zip(("registry", "primary", "secondary", "client 1", "client 2"), lasting_ports(5), strict=True))
        reached = {
            (dialler, dialled): ports[dialled]
            for dialler in ("primary", "secondary")
            for dialled in ("primary", "secondary", "registry")
            if dialler != dialled
        }
        if self._cuttable:
            for ends, port in reached.items():
                if ends not in self.lines:
                    self.lines[ends] = Forwarder(port)
                    await self.lines[ends].open()
                self.lines[ends].target = port
                reached[ends] = self.lines[ends].port
        if self.registry is not None:
            self.registry.options = [
                "--role=registry",
                f"--registry-listen=tcp:{ports['registry']}:interface={HOST}",
                *(option for option in self._options if option.startswith(SPANS)),
                *self._guarded("registry"),
            ]
        for name, other, client in (("primary", "secondary", "client 1"), ("secondary", "primary", "client 2")):
            node = self.nodes[name]
            node.listen = f"tcp:{ports[client]}:interface={HOST}"
            node.port = ports[client]
            node.options = [
                f"--role={name}",
                f"--peer-listen=tcp:{ports[name]}:interface={HOST}",
                f"--peer=tcp:{HOST}:{reached[name, other]}",
                "--rate-limit=0",
                *([f"--registry=tcp:{HOST}:{reached[name, 'registry']}"] if self.registry is not None else []),
                *self._options,
                *self._guarded(name),
            ]

    def _guarded(self, name: str) -> list[str]:
        return [] if self._certificates is None else [f"--tls={self._certificates / name}"]

    async def _launched(self) -> bool:
        every = [*([self.registry] if self.registry is not None else []), *self.nodes.values()]
        for node in every:
            node.launch()
        await self._scene.until(
            lambda: all("cannot listen" in node.log() or node.listens() for node in every), "all listen"
        )
        if not any("cannot listen" in node.log() for node in every):
            return True
        for node in every:
            node.end()
            shutil.rmtree(node.data, ignore_errors=True)
            node.log_path.unlink()
        return False

    async def restart(self, *nodes: Node) -> None:
        """Start nodes that have ended; return when they listen."""
        for node in nodes:
            node.launch()
        await self._scene.until(lambda: all(node.listens() for node in nodes), "it listens again")

    async def terminate(self, node: Node) -> None:
        """Send SIGTERM; return when it has ended."""
        assert node.process is not None
        node.process.terminate()
        await self._scene.until(lambda: not node.alive(), "it has ended")

    # How they stand

    async def stands(self, node: Node, seconds: float = WAIT_S_MAX, **wanted: Any) -> dict[str, Any]:
        """Wait until a node says that it stands as wanted; return all that it says."""
        end = reactor.seconds() + seconds
        while True:
            said = await status(node.port)
            if said is not None and wanted.items() <= said.items():
                return said
            assert reactor.seconds() < end, f"not within {seconds} s: {wanted}; the last was {said}"
            self._scene.check()
            await moment(0.02)

    async def paired(self) -> Node:
        """Wait until both hold all, and agree about it; return the leader."""
        end = reactor.seconds() + WAIT_S_MAX
        while True:
            said = [await status(node.port) for node in self.nodes.values()]
            if all(one is not None and one["serving"] and one["redundancy"] == "paired" for one in said):
                first, second = said
                assert first is not None and second is not None
                if {first["role"], second["role"]} == {"leader", "follower"} and first["epoch"] == second["epoch"]:
                    leader, index = (first, 0) if first["role"] == "leader" else (second, 1)
                    if [peer["lag"] for peer in leader["peers"]] == [0] or not self._scene.still:
                        return list(self.nodes.values())[index]
            assert reactor.seconds() < end, f"not paired: {said}"
            self._scene.check()
            await moment(0.02)

    async def registry_is_missed(self, node: Node) -> None:
        """Wait until a node knows that the registry is gone."""
        await self._scene.until(lambda: "no link to the registry" in node.log(), "the registry is missed")

    def other(self, node: Node) -> Node:
        return self.secondary if node is self.primary else self.primary

    # Lines

    def cut(self, sender: str, receiver: str) -> None:
        """Have nothing get from one to another; what goes the other way gets through."""
        for (dialler, dialled), forwarder in self.lines.items():
            if (dialler, dialled) == (sender, receiver):
                forwarder.hold("in")
            elif (dialler, dialled) == (receiver, sender):
                forwarder.hold("out")

    def part(self, one: str, other: str) -> None:
        """Have nothing get from one to another, and back."""
        self.cut(one, other)
        self.cut(other, one)

    def heal(self) -> None:
        """Have everything get everywhere, also what is on its way since before the cut."""
        for forwarder in self.lines.values():
            forwarder.release()

    def sever(self) -> None:
        """End all connections between the nodes and to the registry, with what is on its way."""
        for forwarder in self.lines.values():
            forwarder.sever()

    # The reckoning

    async def reckon(self, *talkers: Talker, ordered: bool = True, placed: bool = True) -> list[dict[str, Any]]:
        """Have talkers finish, then compare their books with the archives, and those with each other.

        Args:
            talkers: all there are.
            ordered: whether what each said has to be in the order in which it was said.
            placed: whether acknowledgements have to name the final places.
        """
        scene = self._scene
        archived = await self.reckon_archives(*talkers)
        room = [said for said in map(_decode, archived.splitlines()) if said["room"] == HALL]
        assert [said["index"] for said in room] == list(range(1, len(room) + 1))
        assert not [id for id, times in Counter(said["id"] for said in room).items() if times > 1], "each once"
        assert all(one["epoch"] <= other["epoch"] for one, other in pairwise(room))
        kept = {said["id"]: said for said in room}
        for talker in talkers:
            assert talker.said.keys() == talker.acknowledged.keys()
            lost = [id for id, content in talker.said.items() if id not in kept or kept[id]["content"] != content]
            assert lost == [], "everything acknowledged is kept as it was said"
            if placed:
                places = {id: (kept[id]["index"], kept[id]["epoch"]) for id in talker.acknowledged}
                assert places == talker.acknowledged, "each is where the acknowledgement said"
            ours = [said["id"] for said in room if said["identity"] == talker.name]
            assert sorted(ours) == sorted(talker.said)
            if ordered:
                assert ours == list(talker.said), "each is in the order said"
        whole = [(said["id"], said["epoch"]) for said in room]
        await scene.until(lambda: all(talker.next > len(whole) for talker in talkers), "all hear all")
        for talker in talkers:
            assert talker.heard == whole, "what was heard is what is kept"
        print(f"{len(room)} messages, epoch {room[-1]['epoch'] if room else 0}")
        return room

    async def reckon_archives(self, *talkers: Talker) -> bytes:
        """Have talkers finish, then compare both archives; return what is in them."""
        for talker in talkers:
            talker.talking = False
        await self._scene.until(
            lambda: not any(talker.unacknowledged for talker in talkers), "everything is acknowledged"
        )
        await self.paired()
        first, second = (exported(node.data) for node in self.nodes.values())
        assert first == second, "both archives are the same, byte for byte"
        return first


async def run_chatproto(*arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the `chatproto` command to its end, with something on its standard input."""
    done: subprocess.CompletedProcess[str] = await deferToThread(
        subprocess.run,
        [sys.executable, "-c", CHATPROTO, *arguments],
        env=environment(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def exported(directory: Path) -> bytes:
    """Return what `chatproto archive` writes of a data directory."""
    lines: list[str] = []
    archive(str(directory), None, lines.append)
    return "".join(lines).encode()


class Scene:
    """What a test has going on; it ends with the test.

    Attributes:
        make_node: makes nodes, which are ended elsewhere.
        talkers: all that were made.
    """

    def __init__(self, make_node: Callable[..., Node]) -> None:
        self.make_node = make_node
        self.talkers: list[Talker] = []
        self.pairs: list[Pair] = []

    def __enter__(self) -> "Scene":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for talker in self.talkers:
            talker.end()
        for pair in self.pairs:
            for forwarder in pair.lines.values():
                forwarder.close()
        pytest_twisted.blockon(gatherResults([deferLater(reactor, 0.02)]))

    def pair(
        self,
        *options: str,
        registry: bool = True,
        cuttable: bool = False,
        constants: Mapping[str, Any] | None = None,
        certificates: Path | None = None,
    ) -> Pair:
        """Make a pair that is not started yet; `constants` are as with `Node`, `certificates` as `certs` makes them."""
        pair = Pair(self, options, registry=registry, cuttable=cuttable, constants=constants, certificates=certificates)
        self.pairs.append(pair)
        return pair

    def talker(self, name: str, *ports: int, **how: Any) -> Talker:
        """Make a client, and have it begin."""
        talker = Talker(name, ports, **how)
        self.talkers.append(talker)
        return talker.begin()

    def crowd(self, pair: Pair, count: int = 4, **how: Any) -> list[Talker]:
        """Have clients begin, every other one at the secondary."""
        ports = pair.ports
        return [
            self.talker(f"talker{number}", *(ports if number % 2 else ports[::-1]), **how)
            for number in range(1, count + 1)
        ]

    @property
    def still(self) -> bool:
        """Whether nobody talks."""
        return not any(talker.talking or talker.unacknowledged for talker in self.talkers)

    def check(self) -> None:
        """Fail as soon as a client has met something wrong."""
        troubles = [trouble for talker in self.talkers for trouble in talker.troubles]
        assert troubles == []

    async def until(self, condition: Callable[[], object], what: str, seconds: float = WAIT_S_MAX) -> None:
        """Wait until something is so."""
        end = reactor.seconds() + seconds
        while not condition():
            assert reactor.seconds() < end, f"not within {seconds} s: {what}; {self.talkers}"
            self.check()
            await moment()
        self.check()

    async def heard(self, *talkers: Talker, count: int = 20) -> None:
        """Wait until each of some clients has so many more acknowledgements."""
        before = [len(talker.acknowledged) for talker in talkers]
        await self.until(
            lambda: all(
                len(talker.acknowledged) >= start + count for talker, start in zip(talkers, before, strict=True)
            ),
            "acknowledgements come",
        )
