"""Strangers at every port: those who belong there get in and are served, and whoever is dropped is counted."""

import contextlib
import re
import resource
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor as installed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from chatproto.services.listener import UNHEARD_AFTER
from tests.integration.nodes import WAIT_S_MAX, Client, Node, line, wait_until
from tests.integration.pairs import HOST, Scene

reactor: Any = installed
ELSEWHERE = "127.0.0.2"
"""Where the strangers are: nobody who belongs there is to be counted with them."""
DRIP_S = 0.05
AGAIN_S = 0.05


class _Stranger(Protocol):
    def __init__(self, crowd: "Crowd", drips: bytes) -> None:
        self._crowd = crowd
        self._drips = drips
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._crowd.there[self] = None
        self._drip(0)

    def _drip(self, at: int) -> None:
        self._timer = None
        if at < len(self._drips):
            self.transport.write(self._drips[at : at + 1])
            self._timer = reactor.callLater(DRIP_S, self._drip, at + 1)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del self._crowd.there[self]
        if self._timer is not None:
            self._timer.cancel()


class Crowd(ClientFactory):
    """So many strangers at a port, who come again as often as they are dropped; some say nothing, some dribble.

    Attributes:
        there: those who are connected.
        dropped: how often one was dropped.
    """

    noisy = False

    def __init__(self, port: int, count: int, drips: bytes) -> None:
        self.there: dict[_Stranger, None] = {}
        self.dropped = 0
        self._drips = drips
        self._made = 0
        self._going = True
        for _ in range(count):
            reactor.connectTCP(HOST, port, self, bindAddress=(ELSEWHERE, 0))

    def buildProtocol(self, addr: object) -> _Stranger:
        self._made += 1
        return _Stranger(self, self._drips if self._made % 2 else b"")

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self._going:
            reactor.callLater(AGAIN_S, connector.connect)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self.dropped += 1
        self.clientConnectionFailed(connector, reason)

    def end(self) -> None:
        self._going = False
        for stranger in list(self.there):
            stranger.transport.abortConnection()


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as scene:
        yield scene


def drops(node: Node) -> Counter[str]:
    """Return what a node that has ended says it has dropped, by door and reason."""
    (said,) = re.findall(r"dropped since the start: (.*)", node.log())
    found = re.findall(r"([a-z-]+ [a-z-]+) (\d+)", said)
    return Counter({what: int(count) for what, count in found})


def port_in(node: Node, option: str) -> int:
    """Return the port of a server endpoint among a node's options."""
    (found,) = (re.search(rf"--{option}=tcp:(\d+)", one) for one in node.options if one.startswith(f"--{option}="))
    assert found is not None
    return int(found[1])


@pytest_twisted.ensureDeferred
async def test_nodes_meet_through_a_crowd_of_strangers(scene: Scene) -> None:
    """Silent ones and dribbling ones on the ports of nodes and registry, as many as may be there and more."""
    pair = await scene.pair("--heartbeat=0.3", "--suspect=1.5", "--lease=2.5").start()
    assert pair.registry is not None
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    frame = b"\0\0\x0f\xff" + bytes(4095)
    crowds = [
        Crowd(port_in(pair.primary, "peer-listen"), 200, frame),
        Crowd(port_in(pair.secondary, "peer-listen"), 300, frame),
        Crowd(port_in(pair.registry, "registry-listen"), 200, frame),
    ]

    async def dropped() -> None:
        before = [crowd.dropped for crowd in crowds]
        pairs = list(zip(crowds, before, strict=True))
        await scene.until(lambda: all(crowd.dropped > then + 300 for crowd, then in pairs), "all have been dropped")

    try:
        await dropped()
        await scene.heard(*talkers)
        for node in (pair.secondary, pair.primary):
            node.kill()
            await pair.restart(node)
            await pair.paired()
        await dropped()
        await scene.heard(*talkers)
    finally:
        for crowd in crowds:
            crowd.end()
    for talker in talkers:
        talker.end()
    for node, expected in (
        (pair.primary, {"peer silent", "peer no-hello"}),
        (pair.secondary, {"peer crowded-out"}),
        (pair.registry, {"registry silent", "registry no-hello", "registry too-many-from-address"}),
    ):
        await pair.terminate(node)
        assert expected <= drops(node).keys()


FEW_FILES = 150


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, FEW_FILES))


def connect_from(address: str, port: int) -> socket.socket:
    link = socket.socket()
    link.settimeout(WAIT_S_MAX)
    link.bind((address, 0))
    link.connect((HOST, port))
    return link


def test_an_address_that_floods_is_refused_and_others_are_served(make_node: Callable[..., Node]) -> None:
    """It has its connections, and some more, and comes again only so often; its lines wait, others' do not."""
    node = make_node("--connections-per-address-max=20", "--arrivals-per-address=1", "--rate-limit=20").start()
    links = [connect_from(ELSEWHERE, node.port) for _ in range(20)]
    lines = line("message", content="flood") * 150
    for link in links:
        link.sendall(lines)
    talker = node.extended()
    for number in range(10):
        talker.send("message", content=f"mine {number}", id=f"mine{number}")
        talker.until("ack", id=f"mine{number}")
    heard = len(node.archive())
    assert heard < 20 * 150, "most of the flood waits"
    for _ in range(250):
        connect_from(ELSEWHERE, node.port).close()
    # Who comes after them is let in after them.
    node.extended()
    talker.send("message", content="still", id="still")
    talker.until("ack", id="still")
    for link in links:
        link.close()
    node.terminate()
    # It may have come 120 times at once, and once more in each second since.
    assert drops(node)["client too-often-from-address"] > 10


def test_an_address_that_goes_on_flooding_is_not_heard_for_a_while_and_others_come_in(
    make_node: Callable[..., Node],
) -> None:
    node = make_node("--connections-per-address-max=20", "--arrivals-per-address=1").start()
    talker = node.extended()
    attempts: deque[socket.socket] = deque(maxlen=200)
    for number in range(5000):
        attempt = socket.socket()
        attempt.bind((ELSEWHERE, 0))
        attempt.setblocking(False)
        attempt.connect_ex((HOST, node.port))
        # Who is let in says something, as in a flood of newcomers.
        with contextlib.suppress(OSError):
            attempt.send(line("hello", version=1))
        if len(attempts) == attempts.maxlen:
            attempts[0].close()
        attempts.append(attempt)
        if number % 500 == 0:
            talker.send("message", content="still", id=f"still{number}")
            talker.until("ack", id=f"still{number}")
            node.extended().close()
    # The kernel tries again until the node hears it.
    connect_from(ELSEWHERE, node.port).close()
    for attempt in attempts:
        attempt.close()
    node.terminate()
    assert drops(node)["client too-often-from-address"] >= UNHEARD_AFTER
    assert drops(node)["client unheard"] > 0


def test_a_node_with_few_files_goes_on_and_recovers(make_node: Callable[..., Node]) -> None:
    node = make_node("--greet-after=0.1", "--capacity=1000", prepare=few_files).start()
    talker = node.extended()
    crowd = [connect_from(ELSEWHERE, node.port) for _ in range(2 * FEW_FILES)]
    talker.send("message", content="still", id="still")
    talker.until("ack", id="still")
    # Those whom it has not come to yet wait in the kernel's queue.
    wait_until(lambda: "dropped at client: full" in node.log(), "somebody of the crowd finds no room")
    for link in crowd:
        link.close()
    newcomers: list[Client] = []

    def is_let_in() -> bool:
        newcomers.append(node.connect())
        newcomers[-1].send("hello", version=1)
        return b'"welcome"' in newcomers[-1].read_line()

    wait_until(is_let_in, "there is room again")
    node.terminate()
    assert drops(node)["client full"] > 0


def test_handshakes_that_dribble_are_dropped(make_node: Callable[..., Node], tmp_path: Path) -> None:
    pem = tmp_path / "node.pem"
    pem.write_bytes(trustme.CA().issue_cert(HOST).private_key_and_cert_chain_pem.bytes())
    node = make_node("--handshake-max=1", listen=f"ssl:0:interface={HOST}:privateKey={pem}:certKey={pem}").start()
    silent = [connect_from(ELSEWHERE, node.port) for _ in range(20)]
    begun = [connect_from(ELSEWHERE, node.port) for _ in range(20)]
    for link in begun:
        link.sendall(b"\x16\x03\x01\x02\x00\x01")
    for link in (*silent, *begun):
        with contextlib.suppress(ConnectionError):
            assert link.recv(1) == b""
        link.close()
    node.terminate()
    assert drops(node)["client handshake-timeout"] == 40
