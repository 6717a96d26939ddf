"""Direct connections on real sockets: acquaintances are heard, strangers are shown the door."""

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, globalLogPublisher

from chatproto import ChatClient, NodeService, NodeSettings, build_node
from chatproto.client import ContactExpected, Delivered, DirectSettings, Event, PrivateSaid
from chatproto.tap import real_world
from tests.integration.nodes import WAIT_S_MAX, Client, line

reactor: Any = installed
HOST = "127.0.0.1"
SETTINGS = DirectSettings(half_open_s_max=0.5, half_open_max=3, answer_s_max=1.0, line_bytes_max=1000, retry_s=0.2)


@pytest.fixture(autouse=True)
def no_trouble() -> Iterator[None]:
    """Nothing may be logged as a failure."""
    troubles: list[Any] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            troubles.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert troubles == []


class Person(ChatClient):
    """A client of the node on a port, that remembers what it was told in private, and whom it expects."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(reactor, [TCP4ClientEndpoint(reactor, HOST, port)], identity=name, direct=SETTINGS)
        self.heard: list[tuple[str, str, bool]] = []
        self.tokens: list[str] = []
        self.address = ""
        self.subscribe(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event, PrivateSaid):
            self.heard.append((event.identity, event.content, event.direct))
        elif isinstance(event, ContactExpected):
            self.tokens.append(event.token)

    async def come(self) -> "Person":
        self.startService()
        await until(lambda: self.room, "it is there")
        return self

    async def listen(self) -> "Person":
        self.address = await self.accept_direct(TCP4ServerEndpoint(reactor, 0, interface=HOST), HOST)
        return self

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


async def until(condition: Callable[[], object], what: str, seconds: float = WAIT_S_MAX) -> None:
    end = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < end, f"not within {seconds} s: {what}"
        await deferLater(reactor, 0.005)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeService]:
    made = build_node(real_world(), NodeSettings(str(tmp_path / "data"), (f"tcp:0:interface={HOST}",)))
    made.startService()
    pytest_twisted.blockon(made.listeners[0].ready)
    yield made
    pytest_twisted.blockon(maybeDeferred(made.stopService))


@pytest.fixture
def people(node: NodeService) -> Iterator[tuple[Person, Person]]:
    """Ada, and eve, who listens."""
    port = node.listeners[0].port
    assert port is not None
    ada, eve = Person(port.getHost().port, "ada"), Person(port.getHost().port, "eve")  # type: ignore[attr-defined]

    async def come() -> None:
        await ada.come()
        await (await eve.come()).listen()

    pytest_twisted.blockon(Deferred.fromCoroutine(come()))
    yield ada, eve
    pytest_twisted.blockon(gatherResults([ada.stopService(), eve.stopService()]))


@contextlib.contextmanager
def stranger(person: Person) -> Iterator[Client]:
    connection = socket.create_connection((HOST, person.port))
    try:
        yield Client(connection)
    finally:
        connection.close()


async def refused(client: Client) -> str:
    """Return why a stranger was told to go; the connection has ended."""
    (error,) = (await deferToThread(client.read_to_end)).splitlines()
    return str(json.loads(error)["code"])


People = tuple[Person, Person]


@pytest_twisted.ensureDeferred
async def test_a_conversation(people: People) -> None:
    ada, eve = people
    contents = [f"message {number}" for number in range(300)]
    sent = await gatherResults([ada.send_direct("eve", content) for content in contents])
    assert sent == [Delivered(True, 1)] * 300
    assert eve.heard == [("ada", content, True) for content in contents]
    assert len(eve.tokens) == 1
    assert await eve.send_direct("ada", "enough") == Delivered(True, 1)
    assert ada.heard == [("eve", "enough", True)]
    assert await ada.rename("adele") == "adele"
    assert await ada.send_direct("eve", "still me") == Delivered(True, 1)
    assert eve.heard[-1] == ("adele", "still me", True)
    assert len(eve.tokens) == 2, "another name is another proof"


@pytest_twisted.ensureDeferred
async def test_long_ones_and_many(people: People) -> None:
    """What is longer than the other side takes is relayed, with all after it, and in order."""
    ada, eve = people
    contents = ["short", "x" * 2000, "short again"]
    sent = await gatherResults([ada.send_direct("eve", content) for content in contents])
    assert [one.direct for one in sent] == [True, False, False]
    assert [content for _, content, _ in eve.heard] == contents


@pytest_twisted.ensureDeferred
async def test_a_stranger_with_a_wrong_token(people: People) -> None:
    _, eve = people
    with stranger(eve) as client:
        client.write(line("direct", version=1, identity="ada", to="eve", token="0" * 32))
        assert await refused(client) == "not-expected"
    assert eve.heard == []


@pytest_twisted.ensureDeferred
async def test_a_token_that_is_replayed(people: People) -> None:
    """It is good once; who shows it again is waited for as long as for anybody, and then refused."""
    ada, eve = people
    found = await ada.contact("eve")
    for good in (True, False):
        with stranger(eve) as client:
            client.write(line("direct", version=1, identity="ada", to="eve", token=found.token))
            if good:
                assert await deferToThread(client.read) == {"type": "accepted"}
                client.write(line("private", id="p1", content="hi"))
                assert await deferToThread(client.read) == {"type": "ack", "id": "p1"}
            else:
                assert await refused(client) == "not-expected"
    assert eve.heard == [("ada", "hi", True)]


@pytest_twisted.ensureDeferred
async def test_a_token_of_somebody_else(people: People) -> None:
    ada, eve = people
    found = await ada.contact("eve")
    with stranger(eve) as client:
        client.write(line("direct", version=1, identity="mallory", to="eve", token=found.token))
        assert await refused(client) == "not-expected"
    with stranger(eve) as client:
        client.write(line("direct", version=1, identity="ada", to="eve", token=found.token))
        assert await refused(client) == "not-expected", "once shown, it is worth nothing"


@pytest_twisted.ensureDeferred
async def test_garbage(people: People) -> None:
    ada, eve = people
    for garbage, code in (
        (b"GET / HTTP/1.1\r\nHost: eve\r\n\r\n", "bad-line"),
        (b"\0" * 500 + b"\n", "bad-line"),
        (b'{"type":"private","id":"p1","content":"hi"}\n', "out-of-turn"),
        (b'{"type":"accepted"}\n', "out-of-turn"),
        (line("direct", version=7, identity="ada", to="eve", token="t"), "version"),
        (line("direct", version=1, identity="ada", to="bob", token="t"), "not-me"),
        (b"x" * 1001, "line-too-long"),
        (b"x" * 900, ""),
        (b"", ""),
    ):
        with stranger(eve) as client:
            client.write(garbage)
            if code:
                assert await refused(client) == code, garbage
            else:
                assert await deferToThread(client.read_to_end) == b"", "nobody says a word to who says none"
    assert eve.heard == []
    assert await ada.send_direct("eve", "fine") == Delivered(True, 1)


@pytest_twisted.ensureDeferred
async def test_too_many_strangers(people: People) -> None:
    """The one that came first makes room for whoever comes next, so a friend comes in all the same."""
    ada, eve = people
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(stranger(eve)) for _ in range(SETTINGS.half_open_max)]
        await until(lambda: len(eve._direct._links) == SETTINGS.half_open_max, "they are there")
        assert await ada.send_direct("eve", "one") == Delivered(True, 1)
        for client in silent:
            assert await deferToThread(client.read_to_end) == b""
    assert await ada.send_direct("eve", "two") == Delivered(True, 1)
    assert [content for _, content, _ in eve.heard] == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_whoever_is_called_says_nothing(people: People) -> None:
    """The address leads to somebody who takes connections, and no more: relayed in time."""
    ada, eve = people
    with socket.create_server((HOST, 0)) as deaf:
        eve.accept_contacts(f"{HOST}:{deaf.getsockname()[1]}")
        before = reactor.seconds()
        assert await ada.send_direct("eve", "one") == Delivered(False, 1)
        assert reactor.seconds() - before < 10
    assert eve.heard == [("ada", "one", False)]


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_reset_in_the_middle(people: People) -> None:
    """Each message is there once, in order, whether it had arrived or not."""
    ada, eve = people
    contents = []
    for number in range(10):
        batch = [f"{number}.{at}" for at in range(30)]
        contents += batch
        sending = gatherResults([ada.send_direct("eve", content) for content in batch])
        await deferLater(reactor, 0.001 * number)
        for link in list(eve._direct._links):
            handle = link.transport.getHandle()  # type: ignore[attr-defined]
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.transport.abortConnection()
        await sending
        await deferLater(reactor, SETTINGS.retry_s)
    assert [content for _, content, _ in eve.heard] == contents
