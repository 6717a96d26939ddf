"""Free delivery over real UDP sockets."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.task import deferLater

from chatproto.news.datagrams.asking import PullEnded
from chatproto.news.datagrams.outlet import DOOR, FreeOutlet
from chatproto.news.datagrams.reader import DatagramReader, Find, NotFound, ReaderPort, reached
from chatproto.news.items import BODY_BYTES_MAX, Item
from chatproto.news.terms import PULL, PUSH, Placement
from chatproto.tap import real_world
from chatproto.world import World
from tests.integration.nodes import WAIT_S_MAX
from tests.unit.news.datagrams.rig import body_of, parcel_of, place_of, placement_of

reactor: Any = installed
HOST = "127.0.0.1"


class Node:
    """The free part of a delivery node of this process."""

    def __init__(self, host: str = HOST) -> None:
        self.world = real_world()
        self.listeners: set[str] = set()
        self.modes: dict[str, Any] = {}
        self.outlet = FreeOutlet(self.world, "node", self, port=0, host=host, reader_bytes_a_second=20e6)
        self.outlet.startService()
        self.port = 0
        self.outlet.ready.addCallback(lambda port: setattr(self, "port", port))

    def placement_of(self, reader: str) -> Placement | None:
        return placement_of(reader, self.modes[reader]) if reader in self.modes else None

    def listening(self, reader: str) -> None:
        self.listeners.add(reader)

    def silent(self, reader: str) -> None:
        self.listeners.remove(reader)

    def pulling(self, reader: str, after: int, count: int) -> None:
        numbers = [number for number in (1, 2, 3) if number > after][:count]
        left = len(numbers)

        def sent(whole: bool) -> None:
            nonlocal left
            left -= 1
            if not left:
                self.outlet.pulled(reader, numbers[-1], numbers, numbers[-1] < 3)

        for number in numbers:
            self.outlet.send(reader, parcel_of(number, 3000), sent)


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    pytest_twisted.blockon(made.outlet.stopService())


def found(node: Node, world: World, host: str = "localhost") -> Find:
    return lambda name: reached(f"{host}:{node.port}", world.clock)


class Reader:
    def __init__(self, node: Node, name: str, mode: Any = PUSH, port: ReaderPort | None = None) -> None:
        node.modes[name] = mode
        self.world = node.world
        self.got: list[tuple[Item, bytes]] = []
        self.reader = DatagramReader(
            place_of(name, mode), found(node, self.world), self.take, reactor, time.time, port or reactor.listenUDP
        )
        self.reader.startService()

    def take(self, item: Item, body: bytes) -> None:
        self.got.append((item, body))


def ignore(item: Item, body: bytes) -> None:
    """Do nothing with it."""


async def until(condition: Any, seconds: float = WAIT_S_MAX) -> None:
    end = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < end
        await deferLater(reactor, 0.01)


@pytest_twisted.ensureDeferred
async def test_items_of_all_sizes_come_whole(node: Node) -> None:
    reader = Reader(node, "reader")
    await until(lambda: node.listeners == {"reader"})
    # One after the other, and again until it came: a kernel that is short of room may lose datagrams even here.
    for number, size in enumerate((0, 10, 5000, 200_000, BODY_BYTES_MAX), 1):
        for _ in range(20):
            sent: Deferred[bool] = Deferred()
            assert node.outlet.send("reader", parcel_of(number, size), sent.callback)
            assert await sent
            try:
                await until(lambda number=number: len(reader.got) == number, 1.0)
                break
            except AssertionError:
                continue
    assert [item.number for item, _ in reader.got] == [1, 2, 3, 4, 5]
    assert [body for _, body in reader.got] == [
        body_of(number, size) for number, size in enumerate((0, 10, 5000, 200_000, BODY_BYTES_MAX), 1)
    ]
    await reader.reader.stopService()
    await until(lambda: not node.listeners)


@pytest_twisted.ensureDeferred
async def test_a_pull(node: Node) -> None:
    reader = Reader(node, "reader", PULL)
    first = await reader.reader.pull(2)
    assert (first.numbers, first.more, first.failure) == ((1, 2), True, "")
    assert await reader.reader.pull(2) == PullEnded((3,), ())
    await reader.reader.stopService()


@pytest_twisted.ensureDeferred
async def test_a_hundred_readers_behind_one_port(node: Node) -> None:
    port = ReaderPort(reactor.listenUDP)
    readers = [Reader(node, f"reader{number}", port=port) for number in range(100)]
    await until(lambda: len(node.listeners) == 100)
    for name in sorted(node.listeners):
        node.outlet.send(name, parcel_of(1, 100), lambda whole: None)
    await until(lambda: sum(len(reader.got) for reader in readers) > 50)
    await DeferredList([reader.reader.stopService() for reader in readers])


def speaks_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


@pytest.mark.skipif(not speaks_ipv6(), reason="there is no IPv6 here")
@pytest_twisted.ensureDeferred
async def test_over_ipv6() -> None:
    node = Node("::1")
    reader = DatagramReader(
        place_of("reader"), found(node, node.world, "[::1]"), ignore, reactor, time.time, reactor.listenUDP
    )
    node.modes["reader"] = PUSH
    reader.startService()
    await until(lambda: node.listeners == {"reader"})
    await reader.stopService()
    await node.outlet.stopService()


@pytest_twisted.ensureDeferred
async def test_nobody_listens_there(node: Node) -> None:
    """What the system says of a port that is closed ends nothing; the node is looked for again, and found."""
    looked: list[str] = []

    def find(name: str) -> "Deferred[Any]":
        looked.append(name)
        if len(looked) == 1:
            return fail(NotFound(name))
        return succeed((HOST, 1 if len(looked) < 3 else node.port))

    node.modes["reader"] = PUSH
    reader = DatagramReader(place_of("reader"), find, ignore, reactor, time.time, reactor.listenUDP)
    reader.startService()
    await until(lambda: node.listeners == {"reader"})
    await reader.stopService()
    assert node.world.tally.dropped[DOOR, "nonsense"] == 0


@pytest_twisted.ensureDeferred
async def test_a_name_without_a_machine(node: Node) -> None:
    for place in ("", "nowhere", "no-such-host.invalid:5000"):
        with pytest.raises(NotFound):
            await reached(place, reactor)
