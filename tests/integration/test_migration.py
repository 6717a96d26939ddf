"""A server moves from one process to another while people chat, again and again; and either side is killed."""

import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from chatproto import SRVEndpoint
from chatproto.cli.control import ControlFailed, command
from chatproto.registry.zone import TTL_S
from tests.integration.nodes import WAIT_S_MAX, Client, Node, wait_until
from tests.integration.pairs import HALL, HOST, Scene, Talker, exported, lasting_ports, moment, reactor, status

NAMES = ("one", "two", "three")
MOVES = 20
CLIENTS = 50
SILENCE_S_AIM = 0.3


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


class Fleet:
    """A registry, a server, and two that stand by.

    Attributes:
        registry: a process.
        nodes: the others, by name.
        dns: the port where the registry answers the DNS.
    """

    def __init__(self, scene: Scene, *options: str) -> None:
        self.registry = scene.make_node(name="registry", listen=None)
        self.nodes = {name: scene.make_node(name=name) for name in NAMES}
        self._scene = scene
        registry, self.dns, *ports = lasting_ports(2 + 2 * len(NAMES))
        self.registry.options = [
            "--role=registry",
            f"--registry-listen=tcp:{registry}:interface={HOST}",
            f"--dns={HOST}:{self.dns}",
        ]
        for name, port, peer in zip(NAMES, ports[::2], ports[1::2], strict=True):
            node = self.nodes[name]
            node.port, node.listen = port, f"tcp:{port}:interface={HOST}"
            node.options = [
                f"--role={'primary' if name == NAMES[0] else 'standby'}",
                f"--name={name}",
                f"--peer-listen=tcp:{peer}:interface={HOST}",
                f"--registry=tcp:{HOST}:{registry}",
                f"--advertise={HOST}:{port}",
                "--rate-limit=0",
                *options,
            ]

    async def start(self) -> "Fleet":
        every = [self.registry, *self.nodes.values()]
        for node in every:
            node.launch()
        await self._scene.until(lambda: all(node.listens() for node in every), "all listen")
        await self.placed()
        return self

    async def leaders(self) -> list[str]:
        """Return who says that it leads and serves."""
        said = {name: await status(node.port) for name, node in self.nodes.items() if node.alive()}
        return [name for name, each in said.items() if each and each["role"] == "leader" and each["serving"]]

    async def placed(self, seconds: float = 20.0) -> str:
        """Wait until one leads on its own and all others stand by; return who leads."""
        end = reactor.seconds() + seconds
        while True:
            said: dict[str, Any] = {name: await status(node.port) for name, node in self.nodes.items()}
            roles = Counter(each["role"] if each else "" for each in said.values())
            leading = [name for name, each in said.items() if each and each["role"] == "leader"]
            alone = [name for name in leading if said[name]["redundancy"] == "single" and said[name]["serving"]]
            if roles == {"leader": 1, "standby": len(NAMES) - 1} and alone:
                return alone[0]
            assert reactor.seconds() < end, f"not within {seconds} s: one leads, the others stand by; {said}"
            self._scene.check()
            await moment(0.02)

    async def moved(self, count: int, seconds: float) -> None:
        """Wait until there were so many moves."""
        await self._scene.until(lambda: self.moves() >= count, f"{count} moves", seconds)

    def moves(self) -> int:
        return sum(node.log().count("migrated: ") for node in self.nodes.values())

    async def migrate(self, name: str) -> str:
        """What `chatproto migrate` does, without the time that a process takes to start."""
        said: str = await deferToThread(command, str(self.nodes[name].data), "migrate")
        return said

    async def reckon(self, *talkers: Talker) -> None:
        """Have talkers finish; everything they said is kept once, and all of them heard it in one order."""
        for talker in talkers:
            talker.talking = False
        await self._scene.until(lambda: not any(each.unacknowledged for each in talkers), "everything is acknowledged")
        leader = await self.placed()
        kept = [msgspec.json.decode(said) for said in exported(self.nodes[leader].data).splitlines()]
        room = [(said["id"], said["epoch"]) for said in kept if said["room"] == HALL]
        assert Counter(id for id, _ in room) == Counter(id for talker in talkers for id in talker.said), "each once"
        await self._scene.until(lambda: all(talker.next > len(room) for talker in talkers), "all hear all")
        for talker in talkers:
            assert talker.heard == room, "one order for all"
            assert [id for id, _ in room if id in talker.said] == list(talker.said), "each is in the order said"
        for name, node in self.nodes.items():
            assert name == leader or exported(node.data) == b"", "who has moved away has forgotten its archive"

    def crowd(self, count: int, **how: Any) -> list[Talker]:
        ports = [node.port for node in self.nodes.values()]
        return [self._scene.talker(f"talker{number}", *ports, **how) for number in range(1, count + 1)]


def longest_wait_s(talkers: list[Talker]) -> float:
    """Return the longest that anybody waited for an acknowledgement."""
    return max(took for talker in talkers for _, took in talker.latencies)


@pytest_twisted.ensureDeferred
async def test_twenty_moves_in_a_row(scene: Scene) -> None:
    fleet = await Fleet(scene, "--migrate-every=1").start()
    talkers = fleet.crowd(CLIENTS, per_second=4)
    await fleet.moved(MOVES, 120)
    for node in fleet.nodes.values():
        assert "not migrated" not in node.log()
    longest_s = longest_wait_s(talkers)
    for talker in talkers:
        assert talker.losses == 0, "who went was asked to"
        assert set(talker.redirects) <= {"migrating"}
        assert talker.left == [], "nobody seemed to leave"
    for talker in talkers:
        talker.talking = False
    await scene.until(lambda: not any(each.unacknowledged for each in talkers), "everything is acknowledged")
    print(f"{fleet.moves()} moves, {CLIENTS} clients: the longest wait was {longest_s * 1000:.0f} ms")
    await fleet.reckon(*talkers)
    assert {name for name in NAMES if "migrated: " in fleet.nodes[name].log()} == set(NAMES), "each had its turn"


@pytest_twisted.ensureDeferred
async def test_an_operator_moves_it(scene: Scene) -> None:
    fleet = await Fleet(scene).start()
    talkers = fleet.crowd(4, per_second=50)
    await scene.heard(*talkers)
    said = await fleet.migrate("one")
    assert re.search(r"(two|three) leads since epoch \d+; .* 4 of 4 clients went there by themselves", said), said
    with pytest.raises(ControlFailed, match="a migration is asked for where the active server runs"):
        await fleet.migrate("one")
    leader = await fleet.placed()
    said = await deferToThread(command, str(fleet.nodes[leader].data), "migrate one")
    assert said.startswith("one leads since epoch")
    with pytest.raises(ControlFailed, match="nobody does not stand by"):
        await deferToThread(command, str(fleet.nodes["one"].data), "migrate nobody")
    await scene.heard(*talkers)
    await fleet.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_a_base_client_is_told_where_to_go(scene: Scene) -> None:
    fleet = await Fleet(scene).start()
    standby: Client = await deferToThread(fleet.nodes["two"].connect)
    told = await deferToThread(standby.lines_to_end)
    assert any(f"go to 127.0.0.1:{fleet.nodes['one'].port}".encode() in line for line in told), told
    client: Client = await deferToThread(fleet.nodes["one"].connect)
    await deferToThread(client.until, "roomcontents", roomid=HALL)
    await fleet.migrate("one")
    leader = fleet.nodes[await fleet.placed()]
    told = await deferToThread(client.lines_to_end)
    assert any(f"go to 127.0.0.1:{leader.port}".encode() in line for line in told), told


class Greeted(Protocol):
    """A base client that says nothing, and hears how it is greeted."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.port = self.transport.getPeer().port

    def dataReceived(self, data: bytes) -> None:
        heard, self.heard = self.heard, Deferred()
        heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is sent away, or the test ends."""


async def dig(port: int, *question: str) -> list[str]:
    """Return the lines of a short answer to `dig`."""
    command = ["dig", f"@{HOST}", "-p", str(port), "+tries=1", "+time=5", "+short", *question]
    ran: Any = await deferToThread(subprocess.run, command, capture_output=True, text=True, timeout=WAIT_S_MAX)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return str(ran.stdout).splitlines()


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is in Debian's dnsutils")
@pytest_twisted.ensureDeferred
async def test_the_dns_has_the_new_address_within_its_ttl_and_a_base_client_finds_it(scene: Scene) -> None:
    fleet = await Fleet(scene).start()
    for _ in range(3):
        said = await fleet.migrate(await fleet.placed())
        (leader,) = (name for name in NAMES if said.startswith(f"{name} leads"))
        expected = [f"0 100 {fleet.nodes[leader].port} {leader}.chat.example."]
        moved_at = reactor.seconds()
        while (answer := await dig(fleet.dns, "SRV", "_chat._tcp.chat.example")) != expected:
            assert reactor.seconds() - moved_at < TTL_S, answer
        greeted = Greeted()
        endpoint = SRVEndpoint(reactor, "chat.example", dns=(HOST, fleet.dns))
        await endpoint.connect(Factory.forProtocol(lambda greeted=greeted: greeted))
        assert b'"newidentity"' in await greeted.heard
        assert greeted.port == fleet.nodes[leader].port
        greeted.transport.abortConnection()


@pytest.mark.parametrize("victim", ["the old server", "the new server", "the registry"])
@pytest_twisted.ensureDeferred
async def test_killed_at_any_moment_of_a_move(scene: Scene, victim: str) -> None:
    dice = random.Random(victim)
    fleet = await Fleet(scene).start()
    talkers = fleet.crowd(8, per_second=50)
    await scene.heard(*talkers)
    for _ in range(3):
        leader = await fleet.placed()
        asked = deferToThread(command, str(fleet.nodes[leader].data), "migrate")
        asked.addErrback(lambda failure: failure.trap(ControlFailed))
        invited: list[str] = []

        def found(leader: str = leader, invited: list[str] = invited) -> bool:
            invited[:] = [name for name in NAMES if f"{leader} invites this node" in fleet.nodes[name].log()]
            return bool(invited)

        if victim == "the new server":
            await scene.until(found, "somebody is invited")
        await moment(dice.uniform(0, 0.4))
        (killed,) = (
            [fleet.registry]
            if victim == "the registry"
            else [fleet.nodes[leader if victim == "the old server" else invited[-1]]]
        )
        killed.kill()
        await asked
        await moment(dice.uniform(0, 0.2))
        killed.launch()
        await scene.until(killed.listens, "it listens again")
        await scene.heard(*talkers, count=5)
    await fleet.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_nobody_stands_by(scene: Scene) -> None:
    fleet = await Fleet(scene, "--migrate-every=0.5").start()
    leader = await fleet.placed()
    others = [node for name, node in fleet.nodes.items() if name != leader]
    for node in others:
        node.kill()
    wait_until(lambda: "not migrated: nobody stands by" in fleet.nodes[leader].log(), "it says so", 15)
    assert await fleet.leaders() == [leader]
