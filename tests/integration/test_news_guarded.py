"""The news with links that are guarded, by certificates or by a secret: all of it works, and for nobody else."""

import contextlib
import os
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from chatproto.cli.certs import make_certificates
from chatproto.news.contracting.messages import Ask, Check, Readers
from chatproto.news.messages import VERSION, Message, encode
from chatproto.news.placing import Place
from chatproto.news.placing.messages import Coordinate, Prepare
from chatproto.news.proxy.messages import Fetch, Look, ProxyHello
from chatproto.news.terms import PULL, Placement, Terms
from chatproto.news.tree.messages import Below, ChildHello
from chatproto.pair import messages as peer
from chatproto.trust.proof import PEER
from chatproto.trust.secret import NONCE_BYTES, Dialling
from chatproto.wire import framed
from tests.integration.news import PASSWORD, NewsDeployment
from tests.integration.nodes import Node
from tests.integration.pairs import HOST, lasting_ports
from tests.integration.strangers import MISSED, Stranger

NAMES = ["registry", "root", "router", "east", "west", "contracts", "proxy", "second"]
PAID = Terms(("politics",), paid=True, maximum=50, delay_s_max=200.0)
EAST_IS_ROOMY = {"west": ["--readers-max=1"]}
SAID = b"nobody else may read this"
Make = Callable[..., Node]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(str(folder), NAMES, [HOST], 30, lambda line: None)
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    make_certificates(str(folder), NAMES, [HOST], 30, lambda line: None)
    return folder


@pytest.fixture
def make(make_node: Make, tmp_path: Path) -> Iterator[Callable[..., "Guarded"]]:
    made: list[Guarded] = []

    def one(**guard: Path) -> Guarded:
        made.append(Guarded(make_node, tmp_path, **guard))
        return made[-1]

    yield one
    for guarded in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(guarded.news.end()))


class Guarded:
    """A deployment whose contracts have a place for a second server, and what may be said at each of its doors."""

    def __init__(self, make_node: Make, folder: Path, **guard: Path) -> None:
        pair, nobody = lasting_ports(2)
        contracts = [f"--peer=tcp:{HOST}:{nobody}", f"--pair-listen=tcp:{pair}:interface={HOST}"]
        self.news = NewsDeployment(folder, make_node, options={"contracts": contracts, **EAST_IS_ROOMY}, **guard)
        entry = peer.SentEntry("act", "", "id", 0.0, b'["opened","eve","",', b"]", True)
        followed = [peer.Follow(epoch, epoch, 0, [], 0) for epoch in range(1, 4)]
        forwarded = [peer.Forward(epoch, [entry]) for epoch in range(1, 4)]
        hello = peer.Hello(peer.VERSION, "news", "second", "secondary", True, None)
        placed = Place(Placement("eve", PAID, "hash", 1))
        self.doors: dict[str, tuple[str, int, list[bytes]]] = {
            "news-child": ("router", self.news.router_peer, said(ChildHello(VERSION, "west", "born"), Below(()))),
            "news-placing": ("east", self._peer("east"), said(Coordinate("contracts", 99), Prepare(999, (placed,)))),
            "news-part": ("contracts", self._peer("contracts"), said(Ask(), Readers("east"), CHECK)),
            "peer": ("contracts", pair, [framed(peer.encode(each)) for each in (hello, *followed, *forwarded)]),
        }
        self.as_proxy = said(ProxyHello("proxy"), Look(0, ("politics",)), Fetch(1, 0, 100))

    def _peer(self, name: str) -> int:
        (described,) = (each for each in self.news.nodes[name].options if each.startswith("--peer-listen="))
        return int(described.split(":")[1])

    async def works(self) -> None:
        """See that an item reaches somebody with a contract, and somebody with a phone."""
        news = await self.news.start()
        mobile, paid = news.subscriber("anna"), news.subscriber("paula")
        place: Any = await mobile.client.propose(Terms(("politics",), PULL, mobile=True))
        assert place.node == "east"
        await paid.subscribe()
        # Once somebody has logged in, items are kept for them.
        phone = Phone(news.web)
        await phone.logs_in("anna")
        await news.until(lambda: self._mobile_readers(), "the proxy keeps items for somebody")
        publishing: Any = news.source().publish("politics", "one", SAID, expires=time.time() + 600)
        assert await publishing == 1
        await news.until(lambda: paid.got == ["one"], "it is delivered")
        await news.until(lambda: phone.sees("one"), "it is on the page")

    async def _mobile_readers(self) -> bool:
        return (await self.news.measured("proxy"))["chatproto_news_mobile_readers",] == 1

    async def attacked(self, door: str, reason: str, frames: list[bytes] | None = None, **how: Any) -> list[bytes]:
        """Have a stranger say at a door what it would be let in with; return what it hears."""
        name, port, usual = self.doors[door]
        heard: list[bytes] = await deferToThread(attack, port, frames or usual, **how)
        node = self.news.nodes[name]
        expected = f"dropped at {door}: {reason}, "
        await self.news.until(lambda: expected in node.log(), f"{name} says {expected!r}")
        return heard

    async def nothing_came_of_it(self) -> None:
        """See that nobody was placed, and that nobody is a reader."""
        for name, paid in (("east", 1), ("west", 0)):
            assert (await self.news.measured(name))["chatproto_news_readers", "paid"] == paid, name
        contracts = await self.news.measured("contracts")
        assert contracts["chatproto_news_contracts_readers",] == 2
        assert (await self.news.measured("router"))["chatproto_news_children",] == 2


CHECK = Check(1, "anna", PASSWORD, HOST)


def said(*messages: Message) -> list[bytes]:
    return [encode(message) for message in messages]


def attack(
    port: int, frames: list[bytes], certificate: Path | None = None, *, encrypted: bool = True, guess: bytes = b""
) -> list[bytes]:
    """Say all of it, whatever is answered; return that."""
    heard: list[bytes] = []
    with contextlib.suppress(*MISSED):
        stranger = Stranger(port, certificate, encrypted=encrypted)
        try:
            with contextlib.suppress(*MISSED):
                if guess:
                    exchange = Dialling(guess, PEER, "contracts", os.urandom(NONCE_BYTES))
                    stranger.say(framed(exchange.begin().send))
                    stranger.say(framed(exchange.received(stranger.hear()).send))
                    assert exchange.received(stranger.hear()).refusal == "wrong-secret"
                stranger.say(*frames)
            heard = stranger.hear_all()
        finally:
            stranger.end()
    return heard


class Phone:
    """Somebody's browser."""

    def __init__(self, port: int) -> None:
        self._home = f"http://{HOST}:{port}"
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open

    async def logs_in(self, name: str) -> None:
        given = urllib.parse.urlencode({"name": name, "password": PASSWORD}).encode()
        request = urllib.request.Request(f"{self._home}/login", given, {"Origin": self._home})
        answer = await deferToThread(self._open, request)
        assert answer.status == 200

    async def sees(self, title: str) -> bool:
        page = await deferToThread(lambda: self._open(self._home).read().decode())
        assert "/logout" in page
        return f"<h2>{title}" in page or title in page


@pytest_twisted.ensureDeferred
async def test_with_certificates(make: Callable[..., Guarded], certificates: Path, elsewhere: Path) -> None:
    guarded = make(certificates=certificates)
    await guarded.works()
    for door in guarded.doors:
        for reason, how in (
            ("no-certificate", {}),
            ("wrong-authority", {"certificate": elsewhere / "second"}),
            ("no-tls", {"encrypted": False}),
        ):
            assert await guarded.attacked(door, reason, **how) == [], (door, reason)
    assert await guarded.attacked("news-placing", "no-certificate", guarded.as_proxy) == []
    # One of ours, that is not the one that it says it is.
    ours = {"certificate": certificates / "root"}
    for door, frames in (
        ("news-child", None),
        ("news-placing", None),
        ("news-placing", guarded.as_proxy),
        ("peer", None),
    ):
        heard = b"".join(await guarded.attacked(door, "wrong-name", frames, **ours))
        assert SAID not in heard and b"anna" not in heard, door
    await guarded.nothing_came_of_it()
    # What is said is what the rightful ones say: they were refused for what they are.
    rightful = await deferToThread(attack_until_heard, guarded, certificates)
    assert SAID in rightful


def attack_until_heard(guarded: Guarded, certificates: Path) -> bytes:
    _, port, _ = guarded.doors["news-placing"]
    proxy = Stranger(port, certificates / "proxy")
    try:
        proxy.say(*guarded.as_proxy)
        return b"".join(proxy.hear() for _ in guarded.as_proxy)
    finally:
        proxy.end()


@pytest_twisted.ensureDeferred
async def test_with_a_secret(make: Callable[..., Guarded], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    guarded = make(secret=secret)
    await guarded.works()
    for door in guarded.doors:
        assert await guarded.attacked(door, "no-secret", encrypted=False) == [], door
        assert await guarded.attacked(door, "wrong-secret", encrypted=False, guess=b"battery steeple") == [], door
    assert await guarded.attacked("news-placing", "no-secret", guarded.as_proxy, encrypted=False) == []
    await guarded.nothing_came_of_it()
