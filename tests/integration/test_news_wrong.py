"""What is wrong is refused with the reason, and counted, and nothing is kept of it; nor does garbage harm anybody."""

import math
import random
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from chatproto.errors import ContractRefused, Rejected
from chatproto.news.contracting import ContractClient
from chatproto.news.datagrams.reader import DatagramReader, finding
from chatproto.news.delivery.messages import Pull, ReaderHello
from chatproto.news.items import BODY_BYTES_MAX, Item
from chatproto.news.messages import (
    CHUNK_BYTES_MAX,
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    VERSION,
    Announce,
    Taken,
    encode,
)
from chatproto.news.source import NewsSource
from chatproto.news.terms import PUSH, Terms
from chatproto.news.tree.messages import ChildHello, SourceHello
from chatproto.wire import framed, host_and_port
from tests.integration.news import PASSWORD, SERVICE, NewsDeployment
from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HOST, reactor

LIFE_S = 600


@asynccontextmanager
async def deployed(folder: Path, make_node: Callable[..., Node]) -> AsyncIterator[NewsDeployment]:
    news = NewsDeployment(folder, make_node, ("root", "router", "delivery", "contracts", "proxy"))
    try:
        await news.start()
        yield news
    finally:
        await news.end()


async def dropped(news: NewsDeployment, node: str) -> dict[tuple[str, ...], float]:
    """Return how often a node has counted what it dropped, by door and reason."""
    measured = await news.measured(node)
    return {tuple(labels): value for (name, *labels), value in measured.items() if name == "chatproto_dropped_total"}


class Thrower(Protocol):
    """Says something to a port, and hears what is answered until the other side has had enough."""

    def __init__(self, data: bytes) -> None:
        self.answered: Deferred[None] = Deferred()
        self.ended: Deferred[bytes] = Deferred()
        self._data = data
        self._heard = bytearray()

    def connectionMade(self) -> None:
        self.transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        if not self.answered.called:
            self.answered.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(bytes(self._heard))


async def throw(port: int, *frames: bytes) -> bytes:
    """Say something to a port; return what is answered before the other side ends the connection."""
    thrower = Thrower(b"".join(frames))
    await HostnameEndpoint(reactor, HOST, port).connect(Factory.forProtocol(lambda: thrower))
    return await thrower.ended.addTimeout(WAIT_S_MAX, reactor)


def item(source: str, **fields: Any) -> Item:
    given = Item(source, "an-id", "sport", "", "text/plain", 10, bytes(32), time.time() + LIFE_S)
    return msgspec.structs.replace(given, **fields)


@pytest_twisted.ensureDeferred
async def test_what_is_wrong(tmp_path: Path, make_node: Callable[..., Node]) -> None:
    async with deployed(tmp_path, make_node) as news:
        # Sources
        now, source = time.time(), news.source()
        await news.until(lambda: source.up, "the source is let in")
        fields: dict[str, Any]
        for reason, fields in (
            ("too-large", {"body": bytes(BODY_BYTES_MAX + 1)}),
            ("unknown-topic", {"topic": "astrology"}),
            ("bad-expiry", {"expires": now - 1}),
            ("bad-expiry", {"expires": -1.0}),
            ("bad-expiry", {"expires": math.nan}),
            ("bad-expiry", {"expires": math.inf}),
            ("bad-id", {"id": "../../etc"}),
            ("bad-title", {"title": "a\nb"}),
            ("wrong-source", {}),
        ):
            source.source = "urgent" if reason == "wrong-source" else "agency"
            given = {"topic": "sport", "title": "x", "body": b"x", "expires": now + LIFE_S}
            with pytest.raises(Rejected) as refused:
                await source.publish(**{**given, **fields})
            assert refused.value.reason == reason
        endpoint = HostnameEndpoint(reactor, HOST, news.ports["root"])
        stranger = NewsSource(endpoint, reactor, "agency", "guess", now=time.time)
        stranger.startService()
        with pytest.raises(Rejected) as refused:
            await stranger.publish("sport", "x", b"x", expires=now + LIFE_S)
        assert refused.value.reason == "bad-password"
        stranger.stopService()
        counted = await dropped(news, "root")
        one = ("too-large", "unknown-topic", "bad-id", "bad-title", "wrong-source", "bad-password")
        assert counted == {("news-source", "bad-expiry"): 4, **{("news-source", reason): 1 for reason in one}}
        assert news.nodes["root"].items() == {} and news.nodes["root"].pieces() == 0

        # Mobile readers
        async def is_refused() -> bool:
            # 503 as long as the proxy has not found the contracting service.
            return await deferToThread(log_in, news.web) == 401

        await news.until(is_refused, "a mobile reader is refused")
        assert (await dropped(news, "proxy"))["news-web", "login-failed"]

        # Contracts
        anna = news.subscriber("anna").client
        for code, terms in (
            ("minimum-above-maximum", Terms(("sport",), paid=True, minimum=9, maximum=3)),
            ("unknown-topic", Terms(("astrology",))),
            ("no-topics", Terms(())),
            ("bad-minimum", Terms(("sport",), paid=True, minimum=-1)),
            ("bad-maximum", Terms(("sport",), paid=True, maximum=0)),
            ("bad-delay", Terms(("sport",), paid=True, delay_s_max=math.nan)),
            ("free-without-quality", Terms(("sport",), minimum=1)),
            ("mobile-is-free-pull", Terms(("sport",), PUSH, mobile=True)),
        ):
            with pytest.raises(ContractRefused) as declined:
                await anna.propose(terms)
            assert declined.value.code == code
        with pytest.raises(ContractRefused) as declined:
            await anna.where()
        assert declined.value.code == "no-contract"
        endpoint = HostnameEndpoint(reactor, HOST, news.ports["contracts"])
        guest = ContractClient(endpoint, reactor, "anna", "guess")
        guest.startService()
        with pytest.raises(ContractRefused) as declined:
            await guest.propose(Terms(("sport",)))
        assert declined.value.code == "login-failed"
        counted = await dropped(news, "contracts")
        assert counted["news-contract", "minimum-above-maximum"] == 1
        assert counted["news-contract", "login-failed"] == 2, "the proxy has asked, too"
        for name in ("east", "west"):
            measured = await news.measured(name)
            assert measured["chatproto_news_readers", "paid"] == measured["chatproto_news_readers", "free"] == 0

        # Readers who are not whom they say
        bert, carl = news.subscriber("bert"), news.subscriber("carl")
        paid = await bert.subscribe()
        proposing: Deferred[Any] = carl.client.propose(Terms(("sport",)))
        free = await proposing
        answer = await throw(news.ports[paid.node], encode(ReaderHello(VERSION, "bert", "a guess")))
        assert b"unknown-reader" in answer
        assert bert.reader.node == paid.node, "the right one is still there"
        find = finding(news.client, SERVICE, reactor)
        place = msgspec.structs.replace(free, ticket="a guess")
        wrong = DatagramReader(place, find, ignore, reactor, time.time, reactor.listenUDP)
        wrong.startService()
        await news.until(lambda: wrong.last_refusal == "unknown-reader", "a free reader is refused")
        await wrong.stopService()
        assert (await dropped(news, paid.node))["news-reader", "unknown-reader"]
        assert (await dropped(news, free.node))["news-datagram", "unknown-reader"]


def ignore(item: Item, body: bytes) -> None:
    """Do nothing with it."""


def log_in(web: int) -> int:
    """Log in at a mobile page with a wrong password; return the status."""
    asked = urllib.request.Request(f"http://{HOST}:{web}/login", b"name=dora&password=guess")
    try:
        with urllib.request.urlopen(asked, timeout=WAIT_S_MAX) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


NOT_FRAMES = {
    "stranger": [
        framed(random.Random(1).randbytes(1000)),
        framed(b""),
        framed(b"\x91" * 10_000),
        framed(msgspec.msgpack.encode(["nonsense", 1, 2, 3])),
        framed(msgspec.msgpack.encode(["source", "1", 2, 3])),
        encode(Taken(1, 1)),
    ],
    "frame-too-long": [
        b"\xff" * 100,
        (HELLO_BYTES_MAX + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\nHost: there\r\n\r\n",
    ],
}
"""What nobody says first at a port of the news, by the reason for which it is dropped."""


@pytest_twisted.ensureDeferred
async def test_garbage_at_every_port(tmp_path: Path, make_node: Callable[..., Node]) -> None:
    async with deployed(tmp_path, make_node) as news:
        reader, source = news.subscriber("anna"), news.source()
        place = await reader.subscribe()
        await news.until(lambda: source.up, "the source is let in")
        registered = await news.registered()

        def guarded(name: str) -> int:
            known = host_and_port(registered[name].attributes["peer"])
            assert known is not None
            return known[1]

        doors = {
            ("root", "news-source"): news.ports["root"],
            ("root", "news-child"): guarded("root"),
            ("router", "news-child"): guarded("router"),
            ("east", "news-reader"): news.ports["east"],
            ("east", "news-placing"): guarded("east"),
            ("contracts", "news-contract"): news.ports["contracts"],
            ("contracts", "news-part"): guarded("contracts"),
        }
        for (node, door), port in doors.items():
            before = await dropped(news, node)
            for thrown in NOT_FRAMES.values():
                for data in thrown:
                    await throw(port, data)
            after = await dropped(news, node)
            for reason, thrown in NOT_FRAMES.items():
                assert after[door, reason] - before.get((door, reason), 0) == len(thrown), (node, door, reason)

        # From those who are let in.
        body = bytes(CHUNK_BYTES_MAX + 1)
        hello = encode(SourceHello(VERSION, "urgent", PASSWORD))
        after_hello: list[bytes] = [
            encode(Announce(1, item("urgent", id="1"), 0.0, 0, bytes(11))),
            encode(Announce(1, item("urgent", id="2"), 0.0, 5, bytes(5))),
            encode(Announce(1, item("urgent", id="3", size=len(body)), 0.0, 0, body)),
            (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
            encode(Taken(1, 1)),
        ]
        for data in after_hello:
            await speak(news.ports["root"], hello, data)
        counted = await dropped(news, "root")
        assert counted["news-source", "bad-frame"] == 4 and counted["news-source", "frame-too-long"] == 4
        hello = encode(ChildHello(VERSION, "no name", "born"))
        assert b"bad-name" in await throw(guarded("root"), hello)
        bert = news.subscriber("bert")
        await bert.subscribe()
        bert.reader.stopService()
        hello = encode(ReaderHello(VERSION, "bert", bert.place.ticket))
        for data in (encode(Pull(1)), encode(Announce(1, item("agency"), 0.0, 0, b"x")), b"\xff" * 4):
            await speak(news.ports[bert.place.node], hello, data)
        assert (await dropped(news, bert.place.node))["news-reader", "bad-frame"] == 2

        # By datagrams, and to pages.
        dice = random.Random(2)
        datagrams = reactor.listenUDP(0, DatagramProtocol(), HOST)
        for size in (0, 1, 30, 1200, 9000) * 4:
            datagrams.protocol.transport.write(dice.randbytes(size), (HOST, news.ports["east"]))
        datagrams.stopListening()

        async def all_dropped() -> bool:
            return (await dropped(news, "east")).get(("news-datagram", "nonsense"), 0) >= 20

        await news.until(all_dropped, "datagrams are dropped")
        for data in (b"\r\n" * 100, dice.randbytes(100_000), b"GET / HTTP/9.9\r\n\r\n"):
            await throw(news.web, data)

        # And all goes on.
        for name in news.nodes:
            status = await news.status(name)
            assert status is not None and status.serving, name
        number = await source.publish("politics", "still here", b"x", expires=time.time() + LIFE_S)
        await news.until(lambda: reader.got == ["still here"], "an item is delivered")
        assert news.nodes[place.node].whole() == {number}
        assert news.nodes["root"].whole() == {number}


async def speak(port: int, hello: bytes, *frames: bytes) -> bytes:
    """Say hello, and the rest when that is answered; return all that is answered before the other side ends."""
    thrower = Thrower(hello)
    await HostnameEndpoint(reactor, HOST, port).connect(Factory.forProtocol(lambda: thrower))
    await thrower.answered.addTimeout(WAIT_S_MAX, reactor)
    thrower.transport.write(b"".join(frames))
    return await thrower.ended.addTimeout(WAIT_S_MAX, reactor)
