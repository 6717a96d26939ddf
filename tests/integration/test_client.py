"""`ChatClient` on real sockets: against a node in this process, and against one that is killed."""

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from chatproto import ChatClient, ChatSettings, NodeService, NodeSettings, Refused, build_node
from chatproto.client import ContactExpected, ContactFound, Event, Moved, Said, Sent, StateChanged, Welcomed
from chatproto.tap import real_world
from tests.integration.nodes import WAIT_S_MAX, Node, free_port

reactor: Any = installed
HALL = "MainHall"
BATCHES = 60
BATCH = 20


@pytest.fixture(autouse=True)
def no_trouble() -> Iterator[None]:
    """Nothing may be logged that somebody would have to look at."""
    troubles: list[Any] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical or "log_failure" in event:
            troubles.append(event.get("log_failure") or event.get("log_format"))

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert troubles == []


class Listening(ChatClient):
    """A client that remembers its events."""

    def __init__(self, *ports: int, **how: Any) -> None:
        super().__init__(reactor, [TCP4ClientEndpoint(reactor, "127.0.0.1", port) for port in ports], **how)
        self.events: list[Event] = []
        self.subscribe(self.events.append)

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def view(self) -> list[str]:
        return [said.content for said in self.heard(Said)]

    async def come(self) -> "Listening":
        self.startService()
        await until(lambda: self.state == "online" and self.rooms, "online")
        return self


async def until(condition: Callable[[], object], what: str, seconds: float = WAIT_S_MAX) -> None:
    end = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < end, f"not within {seconds} s: {what}"
        await deferLater(reactor, 0.005)


@pytest.fixture
def clients() -> Iterator[Callable[..., Listening]]:
    """Makes clients, which are stopped after the test."""
    made: list[Listening] = []

    def make(*ports: int, **how: Any) -> Listening:
        made.append(Listening(*ports, **how))
        return made[-1]

    yield make
    pytest_twisted.blockon(gatherResults([client.stopService() for client in made]))


class InProcess:
    """A node in this process, on one port and data directory for all its lives."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        chat = ChatSettings(rate_lines=0)
        self._settings = NodeSettings(str(folder / "data"), (f"tcp:{self.port}:interface=127.0.0.1",), chat)
        self.node: NodeService | None = None

    async def start(self) -> None:
        self.node = build_node(real_world(), self._settings)
        self.node.startService()
        await self.node.listeners[0].ready

    async def stop(self) -> None:
        node, self.node = self.node, None
        if node is not None:
            await maybeDeferred(node.stopService)


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[InProcess]:
    node = InProcess(tmp_path)
    pytest_twisted.blockon(Deferred.fromCoroutine(node.start()))
    yield node
    pytest_twisted.blockon(Deferred.fromCoroutine(node.stop()))


Make = Callable[..., Listening]


@pytest_twisted.ensureDeferred
async def test_a_conversation(in_process: InProcess, clients: Make) -> None:
    ada = await clients(in_process.port, identity="ada").come()
    eve = await clients(in_process.port, identity="eve").come()
    await ada.create_room("Tea")
    await gatherResults([ada.join("Tea"), eve.join("Tea", stay=True)])
    assert await ada.send("hi") == Sent("Tea", 1, 1)
    assert await eve.send("hall", HALL) == Sent(HALL, 1, 1)
    assert sorted((await ada.who()).identities) == ["ada", "eve"]
    assert await eve.rename("eva") == "eva"
    with pytest.raises(Refused, match="identity-taken"):
        await ada.rename("eva")
    assert await ada.private("eva", "psst") == 1
    page = await eve.history_page("Tea")
    assert [said.content for said in page.messages] == ["hi"]
    assert (await eve.status()).archived == 2
    await ada.kick("Tea", "eva", 60)
    await until(lambda: eve.rooms == (HALL,), "eva is put out")
    await ada.delete_room("Tea")
    assert await ada.list_rooms() == {HALL: 2}
    await ada.stopService()
    await until(lambda: Moved("ada", HALL, "") in eve.events, "the leaving is heard of")


async def speak_through(trouble: Callable[[int], Awaitable[None]], ada: Listening, bob: Listening) -> list[Any]:
    """Say a lot from two sides while trouble comes and goes; return what became of it."""
    sent: list[Deferred[Sent]] = []
    for batch in range(BATCHES):
        for number in range(BATCH):
            sent.append(ada.send(f"ada {batch} {number}", HALL))
            sent.append(bob.send(f"bob {batch} {number}", HALL))
        await trouble(batch)
        await deferLater(reactor, 0.01)
    return await gatherResults(sent)


def check(acked: list[Sent], archive: list[tuple[int, str]], *clients: Listening) -> None:
    """Every message acknowledged is in the archive once, at its index, and every view is the archive."""
    assert [index for index, _ in archive] == list(range(1, len(acked) + 1))
    contents = dict(archive)
    for at, name in enumerate(("ada", "bob")):
        asked = [f"{name} {batch} {number}" for batch in range(BATCHES) for number in range(BATCH)]
        assert [content for _, content in archive if content.startswith(name)] == asked, "in the order asked"
        assert [contents[sent.index] for sent in acked[at::2]] == asked
    for client in clients:
        assert [(said.index, said.content) for said in client.heard(Said)] == archive
        welcomes = client.heard(Welcomed)
        assert len(welcomes) > 3, "there was trouble"
        assert all(welcome.resumed for welcome in welcomes[1:])


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_restarted(in_process: InProcess, clients: Make) -> None:
    ada = await clients(in_process.port, identity="ada", history="none").come()
    bob = await clients(in_process.port, identity="bob", history="none").come()

    async def restart(batch: int) -> None:
        if batch % 12 == 5:
            await until(lambda: ada.state == bob.state == "online", "they speak")
            await in_process.stop()
            await deferLater(reactor, 0.1)
            await in_process.start()

    acked = await speak_through(restart, ada, bob)
    await until(lambda: len(ada.view) == len(bob.view) == len(acked), "everything is heard")
    reader = await clients(in_process.port).come()
    await until(lambda: len(reader.view) >= len(acked), "the archive is read")
    check(acked, [(said.index, said.content) for said in reader.heard(Said)], ada, bob)


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_killed(start_node: Callable[..., Node], clients: Make) -> None:
    """`kill -9` under two senders, four times."""
    port = free_port()
    node = start_node("--rate-limit=0", listen=f"tcp:{port}:interface=127.0.0.1")
    ada = await clients(port, identity="ada", history="none").come()
    bob = await clients(port, identity="bob", history="none").come()

    async def kill(batch: int) -> None:
        if batch % 15 == 5:
            # Dead while it still starts, it would not be missed.
            await until(lambda: ada.state == bob.state == "online", "they speak")
            node.kill()
            node.launch()

    acked = await speak_through(kill, ada, bob)
    await until(lambda: len(ada.view) == len(bob.view) == len(acked), "everything is heard")
    archive = [(found["index"], found["content"]) for found in node.archive(HALL)]
    check(acked, archive, ada, bob)


@pytest_twisted.ensureDeferred
async def test_a_node_that_stands_still(start_node: Callable[..., Node], clients: Make) -> None:
    """A stopped process keeps its connections; silence tells, where an answer is owed."""
    node = start_node()
    ada = await clients(node.port, identity="ada").come()
    os.kill(node.pid, signal.SIGSTOP)
    try:
        sent = ada.send("hello")
        await until(lambda: ada.state != "online", "silence is noticed", 3)
        assert not sent.called
    finally:
        os.kill(node.pid, signal.SIGCONT)
    assert await sent == Sent(HALL, 1, 1)
    assert ada.heard(Welcomed)[-1] == Welcomed("ada", True)


class Pair:
    """Two nodes and their witness, each a child."""

    def __init__(self, make_node: Callable[..., Node]) -> None:
        ports = {name: (free_port(), free_port()) for name in ("primary", "secondary")}
        witness = f"tcp:127.0.0.1:{(witness_port := free_port())}"
        self.registry = make_node(
            "--role=registry", f"--registry-listen=tcp:{witness_port}:interface=127.0.0.1", name="registry", listen=None
        ).start()
        self.nodes: dict[str, Node] = {}
        for name, other in (("primary", "secondary"), ("secondary", "primary")):
            port, peer_port = ports[name]
            self.nodes[name] = make_node(
                f"--role={name}",
                f"--peer=tcp:127.0.0.1:{ports[other][1]}",
                f"--peer-listen=tcp:{peer_port}:interface=127.0.0.1",
                f"--registry={witness}",
                f"--advertise=127.0.0.1:{port}",
                name=name,
                listen=f"tcp:{port}:interface=127.0.0.1",
            ).start()
        self.ports = [ports["primary"][0], ports["secondary"][0]]


@pytest.fixture
def pair(make_node: Callable[..., Node]) -> Pair:
    return Pair(make_node)


async def speak_over(trouble: Callable[[], None], ada: Listening) -> float:
    """Say something every 20 ms while trouble comes; return the longest time without an acknowledgement."""
    times: list[float] = []
    sent: list[Deferred[Any]] = []
    for number in range(250):
        if number == 50:
            await until(lambda: len(times) == len(sent), "all is acknowledged")
            trouble()
        sent.append(ada.send(f"{number}", HALL).addCallback(lambda sent: times.append(reactor.seconds()) or sent))
        await deferLater(reactor, 0.02)
    acked = await gatherResults(sent)
    assert [sent.index for sent in acked] == list(range(1, 251)), "each once, in order"
    await until(lambda: len(ada.view) == 250, "all is heard")
    assert ada.view == [f"{number}" for number in range(250)]
    assert [welcome.resumed for welcome in ada.heard(Welcomed)] == [False, True]
    return max(later - sooner for sooner, later in pairwise(times))


@pytest_twisted.ensureDeferred
async def test_one_of_two_is_killed(pair: Pair, clients: Make) -> None:
    """On the other one at once: it needs as long as it needs to lead."""
    ada = await clients(*pair.ports, identity="ada", history="none").come()
    await until(lambda: ada.redundancy == "paired", "both are there")
    longest = await speak_over(lambda: pair.nodes[ada.server].kill(), ada)
    assert (ada.server, ada.redundancy) == ("secondary", "alone")
    assert longest < 2


@pytest_twisted.ensureDeferred
async def test_one_of_two_stands_still(pair: Pair, clients: Make) -> None:
    """Its silence is noticed within a second, whether the others have noticed yet or not."""
    ada = await clients(*pair.ports, identity="ada", history="none").come()
    await until(lambda: ada.redundancy == "paired", "both are there")
    primary = pair.nodes["primary"]
    try:
        longest = await speak_over(lambda: os.kill(primary.pid, signal.SIGSTOP), ada)
    finally:
        os.kill(primary.pid, signal.SIGCONT)
    assert ada.server == "secondary"
    assert 0.5 < longest < 2.5
    await until(lambda: ada.redundancy == "paired", "and when it goes on it is told")


@pytest_twisted.ensureDeferred
async def test_contacts_between_two_nodes(pair: Pair, clients: Make) -> None:
    """Whoever is on one node is told the address of whoever is on the other, and both the token."""
    ada = await clients(*pair.ports, identity="ada").come()
    await until(lambda: ada.redundancy == "paired", "both are there")
    eve = await clients(pair.ports[1], identity="eve").come()
    eve.accept_contacts("eve.example:7000")
    await eve.status()

    async def found_by_ada() -> ContactFound:
        # Two nodes that have just met may not have both of their links yet, and one is asked over the asker's own.
        end = reactor.seconds() + WAIT_S_MAX
        while True:
            try:
                return await ada.contact("eve")
            except Refused:
                assert reactor.seconds() < end
                await deferLater(reactor, 0.05)

    found = await found_by_ada()
    assert (found.identity, found.address) == ("eve", "eve.example:7000")
    await until(lambda: eve.heard(ContactExpected) == [ContactExpected("ada", found.token)], "eve expects it")
    pair.nodes["secondary"].kill()
    await until(lambda: eve.server == "primary", "eve is on the other one")
    await eve.status()
    assert (await ada.contact("eve")).address == "eve.example:7000"


@pytest_twisted.ensureDeferred
async def test_leaving_a_node_that_stands_still(start_node: Callable[..., Node], clients: Make) -> None:
    node = start_node()
    ada = await clients(node.port, identity="ada", stop_s_max=0.5).come()
    os.kill(node.pid, signal.SIGSTOP)
    try:
        start = reactor.seconds()
        await ada.stopService()
        assert 0.4 < reactor.seconds() - start < 2
    finally:
        os.kill(node.pid, signal.SIGCONT)


@pytest_twisted.ensureDeferred
async def test_the_next_server(in_process: InProcess, clients: Make) -> None:
    ada = await clients(free_port(), in_process.port, identity="ada").come()
    assert [event.state for event in ada.heard(StateChanged)] == ["connecting", "waiting", "connecting", "online"]
