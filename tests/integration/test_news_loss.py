"""Datagrams that get lost, damaged and doubled between a delivery node and its free readers."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.protocol import DatagramProtocol

from chatproto.news.datagrams.asking import PullEnded
from chatproto.news.datagrams.messages import PULL_ITEMS_MAX
from chatproto.news.datagrams.reader import DatagramReader, finding
from chatproto.news.items import Item
from chatproto.news.terms import PULL, PUSH, Place, Terms
from tests.integration.news import SERVICE, NewsDeployment
from tests.integration.nodes import Node
from tests.integration.pairs import HOST, moment, reactor

LIFE_S = 600
LOST = 0.1
DAMAGED = DOUBLED = 0.03
LASTS_MAX = PULLS_MAX = 100


class Weather:
    """What happens to datagrams on a line, by chance.

    Attributes:
        lost: how many were.
        damaged: how many came otherwise than they were sent.
    """

    def __init__(self, seed: int) -> None:
        self.lost = self.damaged = 0
        self._dice = random.Random(seed)

    def come_of(self, data: bytes) -> list[bytes]:
        """Return what arrives of a datagram."""
        chance = self._dice.random()
        if chance < LOST:
            self.lost += 1
            return []
        if chance < LOST + DAMAGED:
            self.damaged += 1
            at = self._dice.randrange(len(data))
            return [data[:at] + bytes([data[at] ^ self._dice.randrange(1, 256)]) + data[at + 1 :]]
        return [data] * (1 + (chance < LOST + DAMAGED + DOUBLED))


class Line(DatagramProtocol):
    """A line for datagrams to a node; each that dials it has a side of its own, so that answers find back."""

    def __init__(self, target: int, weather: Weather) -> None:
        self.weather = weather
        self._target = target
        self._sides: dict[tuple[str, int], _Side] = {}
        self._port = reactor.listenUDP(0, self, HOST, maxPacketSize=65536)
        self.port = self._port.getHost().port

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        side = self._sides.get(addr)
        if side is None:
            side = self._sides[addr] = _Side(self, addr)
        for data in self.weather.come_of(datagram):
            side.transport.write(data, (HOST, self._target))

    def answer(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.write(data, addr)

    async def close(self) -> None:
        for port in [self._port, *(side.port for side in self._sides.values())]:
            await maybeDeferred(port.stopListening)


class _Side(DatagramProtocol):
    def __init__(self, line: Line, addr: tuple[str, int]) -> None:
        self._line = line
        self._addr = addr
        self.port = reactor.listenUDP(0, self, HOST, maxPacketSize=65536)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        for data in self._line.weather.come_of(datagram):
            self._line.answer(data, self._addr)


class Free:
    """A free reader, and what it got, by title."""

    def __init__(self, news: NewsDeployment, place: Place) -> None:
        assert news.client is not None
        self.got: list[tuple[str, bytes]] = []
        find = finding(news.client, SERVICE, reactor)
        self.reader = DatagramReader(place, find, self._take, reactor, time.time, reactor.listenUDP)
        self.reader.startService()

    def _take(self, item: Item, body: bytes) -> None:
        self.got.append((item.title, body))

    async def pull(self) -> None:
        """Pull until there is nothing more."""
        for _ in range(PULLS_MAX):
            pulled: Deferred[PullEnded] = self.reader.pull(PULL_ITEMS_MAX)
            ended = await pulled
            if not ended.more and not ended.failure:
                return
            await moment(0.02)
        raise AssertionError("there is no end")


@pytest_twisted.ensureDeferred
async def test_one_datagram_of_ten_is_lost(tmp_path: Path, make_node: Callable[..., Node]) -> None:
    """Free readers have whole items, as they were published, each once; paid readers have all of them."""
    options = {"contracts": ("--maximum-max=3600",)}
    news = NewsDeployment(tmp_path, make_node, ("root", "delivery", "contracts"), options=options)
    lines = {name: Line(news.ports[name], Weather(seed)) for seed, name in enumerate(("east", "west"))}
    for name, line in lines.items():
        news.nodes[name].options.append(f"--datagrams-advertise={HOST}:{line.port}")
    frees: list[Free] = []
    try:
        await news.start()
        paid = news.subscriber("paula")
        await paid.subscribe(maximum=3600)
        for name, mode in (("fred", PUSH), ("gina", PUSH), ("hugo", PULL), ("iris", PULL)):
            proposing: Deferred[Any] = news.subscriber(name).client.propose(Terms(("politics",), mode))
            frees.append(Free(news, await proposing))
        pushed, pulling = frees[:2], frees[2:]
        await news.until(lambda: all(free.reader.node for free in pushed), "free readers are listened to")

        source, dice = news.source(), random.Random(1)
        bodies = {f"item {number}": dice.randbytes((100, 900, 3000, 9000)[number % 4]) for number in range(40)}
        expires = time.time() + LIFE_S
        await gatherResults(
            [source.publish("politics", title, body, expires=expires) for title, body in bodies.items()]
        )
        await news.until(lambda: len(paid.got) == len(bodies), "the paid reader has all")
        assert paid.bodies == bodies

        # What leaves last marks the end, if it is said often enough.
        for _ in range(LASTS_MAX):
            if all(("last", b"last") in free.got for free in pushed):
                break
            await source.publish("politics", "last", b"last", expires=expires)
            await moment(0.2)
        else:
            raise AssertionError("the last one does not come")
        await gatherResults([Deferred.fromCoroutine(free.pull()) for free in pulling])
        for free in frees:
            titles = [title for title, _ in free.got if title != "last"]
            assert len(titles) == len(set(titles)), "each once"
            assert all(body == bodies.get(title, b"last") for title, body in free.got), "undamaged"
            assert len(bodies) / 5 < len(titles) < len(bodies), "some have come, some have not"
        assert all(line.weather.lost and line.weather.damaged for line in lines.values())
    finally:
        for free in frees:
            await free.reader.stopService()
        await news.end()
        for line in lines.values():
            await line.close()
