"""The contracting service with real processes: a master that is killed in the middle of negotiations, and its slave."""

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from zope.interface import implementer

from chatproto import Registration, RegistryClient, RegistryEndpoint
from chatproto.errors import ContractRefused
from chatproto.keyvalue import Change, IKeyValueStore
from chatproto.link import Turn
from chatproto.news.contracting import ContractClient
from chatproto.news.link import NewsLinkFactory
from chatproto.news.messages import decoder
from chatproto.news.placing import Action, ITable, Participating, Place
from chatproto.news.placing.messages import Coordinate, FromCoordinator
from chatproto.news.terms import Placement, Terms
from chatproto.services.news.status import decode_status
from chatproto.services.registering import STATUS
from chatproto.tally import Tally
from tests.integration.news import NewsProcess
from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HOST, lasting_ports, moment

reactor: Any = installed
NODES = "chatproto_news_contracts_nodes"
EVERY_S, DEAD_S = 0.2, 1.0
SPANS = ("--heartbeat=0.3", "--suspect=2", "--lease=3")
PAID = Terms(("politics", "sport"), paid=True, minimum=5, maximum=50, delay_s_max=200.0)
TOO_MUCH = Terms(("politics", "sport"), paid=True, minimum=20, maximum=80, delay_s_max=60.0)


@implementer(IKeyValueStore, ITable)
class Readers:
    """A delivery node's disk and its table of readers, in memory."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.placed: dict[str, Placement] = {}

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))

    def keys(self, prefix: bytes) -> list[bytes]:
        return [key for key, _ in self.scan(prefix)]

    def read(self, key: bytes) -> "Deferred[bytes | None]":
        return succeed(self.rows.get(key))

    def write(self, changes: Sequence[Change], done: Callable[[], None]) -> None:
        for key, value in changes:
            self.rows.pop(key, None) if value is None else self.rows.__setitem__(key, value)
        reactor.callLater(0, done)

    def close(self) -> "Deferred[None]":
        return succeed(None)

    def refusal(self, action: Action) -> str:
        return ""

    def reserve(self, action: Action) -> None:
        """There is room for everybody."""

    def release(self, action: Action) -> None:
        """There is room for everybody."""

    def changes(self, action: Action) -> Sequence[Change]:
        return []

    def done(self, action: Action) -> None:
        if isinstance(action, Place):
            self.placed[action.reader] = action.placement
        else:
            self.placed.pop(action.reader, None)


class Scene:
    """A registry, a master and a slave, each a process; a delivery node that has readers and nothing to deliver."""

    def __init__(self, make_node: Callable[..., Node]) -> None:
        self.clients: list[ContractClient] = []
        ports = lasting_ports(7)
        self.at = ports[0]
        self.registry = make_node(
            *("--role=registry", f"--registry-listen=tcp:{self.at}:interface={HOST}", *SPANS),
            name="registry",
            listen=None,
        )
        pair, guarded, self.ports = ({"master": ports[one], "slave": ports[one + 1]} for one in (1, 3, 5))

        def contracts(name: str, other: str, *options: str) -> Node:
            return make_node(
                *(
                    "--role=contracts",
                    f"--name={name}",
                    f"--registry=tcp:{HOST}:{self.at}",
                    f"--peer=tcp:{HOST}:{pair[other]}",
                ),
                f"--pair-listen=tcp:{pair[name]}:interface={HOST}",
                *(f"--peer-listen=tcp:{guarded[name]}:interface={HOST}", *SPANS, *options),
                name=name,
                kind=NewsProcess,
                listen=f"tcp:{self.ports[name]}:interface={HOST}",
            )

        self.master = contracts("master", "slave")
        self.slave = contracts(
            "slave", "master", "--stands-in-for=master", f"--ask-every={EVERY_S}", f"--dead-after={DEAD_S}"
        )
        self.clerk = RegistryClient(TCP4ClientEndpoint(reactor, HOST, self.at), reactor)
        self.readers = Readers()
        turn = Turn(reactor)
        participating = Participating("north", self.readers)
        participating.open(self.readers)
        hellos: dict[Any, Any] = {Coordinate: participating}
        self.factory = NewsLinkFactory("north", decoder(FromCoordinator), hellos, turn, reactor, Tally())
        self.port: Any = None

    async def start(self) -> None:
        self.registry.start()
        self.clerk.startService()
        self.master.start()
        self.slave.launch()
        self.port = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(self.factory)
        address = f"{HOST}:{self.port.getHost().port}"
        node = Registration("news", "north", "news-delivery", address, capacity=1000, attributes={"peer": address})
        await self.clerk.register(node, b"token")
        await self.registered("master")
        await self.said(self.slave, "the master serves")
        await self.knows_of_room()

    async def knows_of_room(self) -> None:
        """Wait until the master has heard of the delivery node."""
        end = time.monotonic() + WAIT_S_MAX
        while not decode_status(await self.clerk.call("news", "master", STATUS)).figures[NODES]:
            assert time.monotonic() < end, "the master knows of no delivery node"
            await moment(0.02)

    async def stop(self) -> None:
        for client in self.clients:
            client.stopService()
        if self.port is not None:
            await self.port.stopListening()
        self.factory.stop()
        await self.clerk.stopService()

    async def registered(self, *names: str) -> None:
        async def there() -> tuple[str, ...]:
            return tuple(one.name for one in await self.clerk.list(service="news", kind="news-contracts"))

        end = time.monotonic() + WAIT_S_MAX
        while (found := await there()) != names:
            assert time.monotonic() < end, f"registered are {found}, and not {names}"
            await moment(0.02)

    async def placed(self, versions: dict[str, int]) -> None:
        """Wait until the delivery node has these readers: it hears a little later than they what was decided."""

        def there() -> dict[str, int]:
            return {name: placement.version for name, placement in self.readers.placed.items()}

        end = time.monotonic() + WAIT_S_MAX
        while there() != versions:
            assert time.monotonic() < end, f"placed are {there()}, and not {versions}"
            await moment(0.02)

    async def said(self, node: Node, text: str, times: int = 1) -> None:
        end = time.monotonic() + WAIT_S_MAX
        while node.log().count(text) < times:
            assert time.monotonic() < end, f"no {text!r} in {node.log()}"
            await moment(0.02)

    async def together(self) -> None:
        """Wait until the slave does not have the contracts alone: it may go then, and the master serves on."""
        end = time.monotonic() + WAIT_S_MAX
        while (role := re.findall(r"→ (\S+) in epoch", self.slave.log())[-1]) not in ("follower", "leader-pair"):
            assert time.monotonic() < end, f"the slave is {role}"
            await moment(0.02)

    def client(self, reader: str, password: str = "secret") -> ContractClient:
        endpoint = RegistryEndpoint(
            TCP4ClientEndpoint(reactor, HOST, self.at), reactor, service="news", kind="news-contracts"
        )
        client = ContractClient(endpoint, reactor, reader, password, opens=True)
        client.startService()
        self.clients.append(client)
        return client


async def bargain(client: ContractClient) -> Any:
    """Want too much, and pick the first that is offered."""
    return await client.propose((await client.propose(TOO_MUCH))[0])


@pytest_twisted.ensureDeferred
async def test_the_master_is_killed_in_the_middle_of_negotiations(make_node: Callable[..., Node]) -> None:
    """Some readers had an answer, some an offer, some nothing yet: all of them finish, and nobody repeats anything."""
    scene = Scene(make_node)
    try:
        await scene.start()
        before = await bargain(scene.client("ada"))
        assert (before.node, before.terms) == ("north", PAID)
        offered = scene.client("bob")
        options = await offered.propose(TOO_MUCH)
        under_way = [Deferred.fromCoroutine(bargain(scene.client(f"reader-{number}"))) for number in range(6)]
        scene.master.kill()
        places = [await waiting for waiting in [*under_way, offered.propose(options[0])]]
        assert {place.terms for place in places} == {PAID}
        assert {place.version for place in places} == {1}
        assert await scene.clients[0].where() == before
        assert {client.server for client in scene.clients} == {"slave"}
        await scene.placed({place.reader: 1 for place in [before, *places]})

        scene.master.start()
        await scene.registered("master")
        await scene.said(scene.slave, "the place is the master's again")
        assert await scene.clients[0].where() == before
        assert scene.clients[0].server == "master"
        assert await offered.cancel() is None
        await scene.placed({place.reader: 1 for place in [before, *places] if place.reader != "bob"})
        os.kill(scene.master.pid, signal.SIGSTOP)
        try:
            again = await offered.propose(PAID)
        finally:
            os.kill(scene.master.pid, signal.SIGCONT)
        assert (offered.server, again.version) == ("slave", 3)
        await scene.said(scene.slave, "the place is the master's again", 2)
        await scene.together()
        assert scene.slave.terminate() in (0, -signal.SIGTERM)
        assert (await scene.clients[0].where()) == before
        assert scene.master.terminate() in (0, -signal.SIGTERM)
        for node in (scene.master, scene.slave):
            assert "bad-frame" not in node.whole_log()
    finally:
        await scene.stop()


@pytest_twisted.ensureDeferred
async def test_who_is_not_let_in_and_what_is_not_agreed_on(make_node: Callable[..., Node]) -> None:
    scene = Scene(make_node)
    try:
        await scene.start()
        await scene.client("ada").enter()
        for client, terms, code in (
            (scene.client("ada", "guess"), PAID, "taken"),
            (scene.client("a b"), PAID, "bad-name"),
            (scene.client("bob"), Terms(("weather",)), "unknown-topic"),
            (scene.client("eve"), Terms(("sport",), paid=True, minimum=9, maximum=3), "minimum-above-maximum"),
        ):
            try:
                await client.propose(terms)
            except ContractRefused as error:
                assert error.code == code
            else:
                raise AssertionError(f"not refused: {code}")
        assert scene.readers.placed == {}
        scene.master.terminate()
        assert "news-contract" in scene.master.log()
    finally:
        await scene.stop()
