"""What an operator does to a pair on purpose: looking, switching over, restarting one node after the other."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.threads import deferToThread

from chatproto import ChatClient
from chatproto.cli.control import command
from chatproto.client import Event, Missing, Moved, Refusal, Rewound, Said, Sent
from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HALL, HOST, Pair, Scene, lasting_ports, moment, reactor, run_chatproto


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


# Restarting


async def switch_over(pair: Pair, leader: Node) -> None:
    """What `chatproto switchover` does, without the time that a process takes to start."""
    said = await deferToThread(command, str(leader.data), "switchover")
    assert f"{pair.other(leader).folder.name} leads" in said
    assert await pair.paired() is pair.other(leader)


async def restart_one_by_one(pair: Pair) -> None:
    """Restart both nodes: the follower first, then, after a switchover, who led."""
    for _ in range(2):
        leader = await pair.paired()
        follower = pair.other(leader)
        await pair.terminate(follower)
        await pair.restart(follower)
        assert await pair.paired() is leader
        await switch_over(pair, leader)


@pytest_twisted.ensureDeferred
async def test_a_rolling_restart_is_not_noticed(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    await scene.heard(*talkers)
    pids = [node.pid for node in pair.nodes.values()]
    await restart_one_by_one(pair)
    assert not {*pids} & {node.pid for node in pair.nodes.values()}
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    for talker in talkers:
        assert talker.losses == 0, "who went was asked to"
        assert set(talker.redirects) == {"draining"}
        assert talker.left == []
        assert {code for code, _ in talker.notices} <= {"redundancy", "shutting-down"}


@pytest_twisted.ensureDeferred
async def test_the_leader_may_be_restarted_without_a_switchover(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair)
    for leader in (pair.primary, pair.secondary):
        await scene.heard(*talkers)
        await pair.terminate(leader)
        await pair.stands(pair.other(leader), role="leader", redundancy="alone", serving=True)
        await scene.heard(*talkers)
        await pair.restart(leader)
        assert await pair.paired() is pair.other(leader)
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert not any(talker.left or talker.losses for talker in talkers)


class Program(ChatClient):
    """A client as programs have it, which says something again and again, and remembers what it is told."""

    def __init__(self, name: str, ports: list[int]) -> None:
        endpoints = [TCP4ClientEndpoint(reactor, HOST, port) for port in ports]
        super().__init__(reactor, endpoints, identity=name, history="all")
        self.events: list[Event] = []
        self.sent: list[Deferred[Sent]] = []
        self.subscribe(self.events.append)

    def talk(self) -> None:
        for room in ("Den", HALL):
            self.sent.append(self.send(f"{self.identity} {len(self.sent)}", room))

    def view(self, room: str) -> list[tuple[int, int, str]]:
        heard = [event for event in self.events if isinstance(event, Said) and event.room == room]
        return [(event.index, event.epoch, event.content) for event in heard]

    async def sees(self, room: str, identities: set[str]) -> None:
        """Wait until just these are in a room, as far as this client's server knows; then it has told of them."""
        end = reactor.seconds() + WAIT_S_MAX
        while set((await self.who(room)).identities) != identities:
            assert reactor.seconds() < end, f"{identities} are in {room}"
            await moment()

    async def hears_all(self, scene: Scene, room: str, archived: list[dict[str, Any]]) -> None:
        """Wait until all that is archived of a room is heard, which must be just that."""
        whole = [(said["index"], said["epoch"], said["content"]) for said in archived]
        await scene.until(lambda: self.view(room)[-1:] == whole[-1:], "all is heard")
        assert self.view(room) == whole


@pytest_twisted.ensureDeferred
async def test_programs_notice_neither_restarts_nor_a_kill(scene: Scene) -> None:
    """`ChatClient`, in two rooms: all sent is answered once, all heard without gap or repeat, and nobody leaves."""
    pair = await scene.pair().start()
    programs = [Program(f"prog{number}", pair.ports[:: 1 if number % 2 else -1]) for number in (1, 2, 3)]
    try:
        for program in programs:
            program.startService()
            await scene.until(lambda program=program: program.room, "it is there")
        await programs[0].create_room("Den")
        await gatherResults([program.join("Den", stay=True) for program in programs])
        everybody = {program.identity for program in programs}
        for program in programs:
            await program.sees("Den", everybody)
        begun = [len(program.events) for program in programs]
        talking = True

        async def talk() -> None:
            while talking:
                for program in programs:
                    program.talk()
                await moment(0.01)

        talked = Deferred.fromCoroutine(talk())
        await moment(0.3)
        await restart_one_by_one(pair)
        leader = await pair.paired()
        leader.kill()
        await pair.stands(pair.other(leader), role="leader", serving=True)
        await moment(0.3)
        await pair.restart(leader)
        await pair.paired()
        talking = False
        await talked
        await scene.until(lambda: all(one.called for program in programs for one in program.sent), "all is answered")
        sent = [await gatherResults(program.sent) for program in programs]
        archived = [json.loads(found) for found in (await pair.reckon_archives()).splitlines()]
        for program, places, start in zip(programs, sent, begun, strict=True):
            by_content = {said["content"]: (said["room"], said["index"], said["epoch"]) for said in archived}
            assert len(by_content) == len(archived), "each once"
            for number, place in enumerate(places):
                assert by_content[f"{program.identity} {number}"] == (place.room, place.index, place.epoch)
            for room in ("Den", HALL):
                await program.hears_all(scene, room, [said for said in archived if said["room"] == room])
            wrong = [event for event in program.events if isinstance(event, Missing | Refusal | Rewound)]
            assert wrong == []
            assert not [event for event in program.events[start:] if isinstance(event, Moved)]
        assert len(archived) > 300
    finally:
        await gatherResults([program.stopService() for program in programs])


# Switching over


@pytest_twisted.ensureDeferred
async def test_switching_over_to_and_fro_under_load(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair, per_second=250)
    leader = pair.primary
    for _ in range(4):
        await scene.heard(*talkers)
        await switch_over(pair, leader)
        leader = pair.other(leader)
    await scene.heard(*talkers)
    room = await pair.reckon(*talkers)
    assert len({said["epoch"] for said in room}) >= 4
    assert [len(talker.welcomes) for talker in talkers] == [1] * 4, "everybody stayed where they were"
    assert not any(talker.redirects or talker.notices for talker in talkers)
    assert all(talker.durable.keys() == {2} for talker in talkers), "redundancy was there all the time"


@pytest_twisted.ensureDeferred
async def test_a_switchover_that_cannot_be_is_refused(scene: Scene) -> None:
    pair = await scene.pair().start()
    assert pair.registry is not None
    talkers = scene.crowd(pair, 2)
    await scene.heard(*talkers)

    async def refused(data: Path, why: str) -> None:
        done = await run_chatproto("switchover", str(data))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("chatproto: ") and done.stderr.count("\n") == 1
        assert why in done.stderr

    await refused(pair.secondary.data, "primary leads")
    pair.registry.kill()
    await pair.registry_is_missed(pair.primary)
    await refused(pair.primary.data, "registry")
    await pair.restart(pair.registry)
    await moment(0.1)
    pair.secondary.kill()
    await pair.stands(pair.primary, redundancy="alone")
    await refused(pair.primary.data, "alone")
    await refused(pair.secondary.data, "no node runs")
    await refused(pair.primary.folder, "no node runs")
    await pair.restart(pair.secondary)
    await pair.paired()
    done = await run_chatproto("switchover", str(pair.primary.data))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("secondary leads since epoch ") and done.stdout.count("\n") == 1
    assert await pair.paired() is pair.secondary
    await pair.reckon(*talkers)
    lone = scene.make_node(name="lone").start()
    await refused(lone.data, "needs a pair")


# Looking


@pytest_twisted.ensureDeferred
async def test_status_says_how_both_stand(scene: Scene) -> None:
    pair = await scene.pair("--capacity=7").start()
    talker = scene.talker("talker", pair.secondary.port)
    await scene.heard(talker)
    talker.talking = False
    await scene.until(lambda: not talker.unacknowledged, "all is acknowledged")
    await pair.paired()
    servers = [f"{HOST}:{port}" for port in pair.ports]

    async def told() -> dict[str, Any]:
        done = await run_chatproto("status", "--json", *servers)
        assert (done.returncode, done.stderr) == (0, "")
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    done = await run_chatproto("status", *servers)
    assert (done.returncode, done.stderr) == (0, "")
    head, first, second, verdict = done.stdout.splitlines()
    assert head.split() == ["SERVER", "NAME", "ROLE", "EPOCH", "REDUNDANCY", "CLIENTS", "LAG"]
    epoch = str((await pair.stands(pair.primary))["epoch"])
    assert first.split() == [servers[0], "primary", "leader", epoch, "paired", "0", "of", "7", "secondary", "0"]
    assert second.split() == [servers[1], "secondary", "follower", epoch, "paired", "1", "of", "7", "-"]
    assert verdict.startswith("Can I lose a server now? Yes")
    said = await told()
    assert said["can_lose_one"] is True
    assert [one["address"] for one in said["servers"]] == servers
    assert [one["server"] for one in said["servers"]] == ["primary", "secondary"]

    pair.primary.kill()
    await pair.stands(pair.secondary, role="leader", redundancy="alone")
    done = await run_chatproto("status", *servers)
    assert (done.returncode, done.stderr) == (0, "")
    _, first, second, verdict = done.stdout.splitlines()
    assert first.startswith(f"{servers[0]}  -") and "refused" in first
    assert "alone" in second.split()
    assert verdict.startswith("Can I lose a server now? No")
    said = await told()
    assert said["can_lose_one"] is False
    assert "refused" in said["servers"][0]["error"]

    await pair.terminate(pair.secondary)
    for arguments in ((), ("--json",)):
        done = await run_chatproto("status", *arguments, *servers)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert all(server in done.stderr for server in servers)


@pytest_twisted.ensureDeferred
async def test_status_of_who_cannot_answer(scene: Scene) -> None:
    lone = scene.make_node(name="lone").start()
    (nobody,) = lasting_ports(1)
    done = await run_chatproto("status", f"{HOST}:{lone.port}", f"{HOST}:{nobody}")
    assert done.returncode == 0
    assert "single" in done.stdout
    assert "No: there is one server only" in done.stdout
    for wrong in ("nonsense:nonsense", "host:99999"):
        done = await run_chatproto("status", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert wrong in done.stderr
