"""Strangers at every port: those who belong there get in and are served, and whoever is dropped is counted."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.integration.nodes import Node
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
