"""Ending nodes on purpose, with real processes under load: signals, and the operator's command."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from chatproto.cli.control import command
from tests.integration.nodes import TROUBLE, Client, Node, line, message, settle, soon, wait_until
from tests.integration.pairs import Pair, Scene, Talker, reactor, run_chatproto

SILENCE_S_MAX = 0.3
"""The aim; a loaded machine may be slower, so it is printed, and three times as much fails."""


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


def silences_s(talkers: list[Talker], since: float) -> list[float]:
    """Return, of each client, the longest span without an acknowledgement since a moment."""
    found = []
    for talker in talkers:
        times = [since, *(at for at, _ in talker.latencies if at > since)]
        found.append(max(later - at for at, later in pairwise(times)))
    return found


async def drained(pair: Pair, node: Node) -> str:
    """Have a node drain, as an operator does; return what clients are said to have seen, when it has ended."""
    said = await deferToThread(command, str(node.data), "drain", 30.0, ends=True)
    assert node.wait() == 0, "it was asked to, so it is no failure"
    return said


# A pair


@pytest_twisted.ensureDeferred
async def test_the_leader_of_a_pair_is_drained_under_load(scene: Scene) -> None:
    pair = await scene.pair().start()
    talkers = scene.crowd(pair, 8)
    await scene.heard(*talkers)
    leader = await pair.paired()
    since = reactor.seconds()
    said = await drained(pair, leader)
    other = pair.other(leader)
    assert said.startswith("of 4 clients 4 went to the other node and 0 were disconnected; it took "), said
    assert f"{other.folder.name} leads, which took " in said
    await pair.stands(other, role="leader", redundancy="alone", serving=True)
    await scene.heard(*talkers)
    longest = max(silences_s(talkers, since))
    print(f"drained: {said}; the longest silence that a client saw: {longest * 1000:.0f} ms")
    await pair.restart(leader)
    assert await pair.paired() is other
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    assert longest < 3 * SILENCE_S_MAX
    for talker in talkers:
        assert (talker.losses, talker.left) == (0, [])
        assert set(talker.redirects) <= {"draining"}


@pytest_twisted.ensureDeferred
async def test_both_nodes_are_restarted_with_signals_alone(scene: Scene) -> None:
    """No switchover is needed before: whoever leads hands it over when it is told to end."""
    pair = await scene.pair().start()
    talkers = scene.crowd(pair, 6)
    since = reactor.seconds()
    longest = 0.0
    for node in (pair.primary, pair.secondary, pair.primary):
        await scene.heard(*talkers)
        since = reactor.seconds()
        await pair.terminate(node)
        await pair.stands(pair.other(node), role="leader", redundancy="alone", serving=True)
        await scene.heard(*talkers)
        longest = max(longest, *silences_s(talkers, since))
        assert "handing → leaving: the other node leads" in node.log()
        await pair.restart(node)
        await pair.paired()
    await scene.heard(*talkers)
    await pair.reckon(*talkers)
    print(f"the longest silence that a client saw: {longest * 1000:.0f} ms")
    assert longest < 3 * SILENCE_S_MAX
    assert not any(talker.losses or talker.left for talker in talkers)


@pytest_twisted.ensureDeferred
async def test_the_other_node_is_killed_while_one_is_drained(scene: Scene) -> None:
    """Whenever that is, the end comes, and nothing that was acknowledged is lost."""
    pair = await scene.pair().start()
    talkers = scene.crowd(pair, 4)
    for moment_s in (0.02, 0.2, 0.26):
        await scene.heard(*talkers)
        leader = await pair.paired()
        assert leader.process is not None
        leader.process.terminate()
        await gatherResults([deferToThread(time.sleep, moment_s)])
        other = pair.other(leader)
        if leader.alive():
            other.kill()
            await scene.until(lambda leader=leader: not leader.alive(), "it ends", 15)
            await pair.restart(leader, other)
        else:
            await pair.restart(leader)
        await pair.paired()
    await scene.heard(*talkers)
    await pair.reckon(*talkers)


@pytest_twisted.ensureDeferred
async def test_a_node_that_nobody_uses_is_drained_at_once(scene: Scene) -> None:
    pair = await scene.pair().start()
    with soon(5):
        done = await run_chatproto("drain", str(pair.primary.data))
    assert (done.returncode, done.stderr) == (0, "")
    # Nobody is given time to go; a busy machine takes some all the same.
    took = re.match(r"of 0 clients 0 went to the other node and 0 were disconnected; it took (\d+) ms; ", done.stdout)
    assert took is not None and int(took[1]) < 150, done.stdout
    assert "secondary leads, which took " in done.stdout
    done = await run_chatproto("drain", str(pair.primary.data))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no node runs" in done.stderr


# A node alone


def test_a_node_alone_answers_everything_before_it_ends(start_node: Callable[..., Node]) -> None:
    node = start_node("--rate-limit=0")
    client, base = node.extended("alice", history="none"), node.base("bob")
    settle(client, base)
    client.write(*(line("message", content="x", id=f"id-{number}") for number in range(2000)))
    client.until("ack")
    with soon(10):
        assert node.terminate() == -signal.SIGTERM
    assert "settling → handing: all that clients asked for is committed and answered" in node.log()
    lines = [json.loads(told) for told in client.lines_to_end()]
    acknowledged = {told["id"] for told in lines if told["type"] == "ack"} | {"id-0"}
    archived = [said["id"] for said in node.archive()]
    assert acknowledged == set(archived), "what is committed is acknowledged, and nothing else"
    assert lines[-1] == {"type": "notice", "code": "shutting-down", "content": "primary is shutting down"}
    assert base.lines_to_end()[-1] == message("server", "primary is shutting down; try again later")
    node.start()
    again = node.connect()
    again.hello(session=client.token)
    again.write(*(line("message", content="x", id=f"id-{number}") for number in range(2000)))
    wait_until(lambda: len(node.archive()) == 2000, "all of them arrive")
    assert len({said["id"] for said in node.archive()}) == 2000, "each once"


def deaf_client(node: Node) -> Client:
    """Return a client that has a lot to read, and does not."""
    deaf = node.connect(4096)
    deaf.send("identitychange", identity="deaf")
    speaker = node.extended("speaker", history="none")
    for number in range(60):
        speaker.send("message", content="x" * 15_000, id=f"id-{number}")
        speaker.until("ack")
    return deaf


def test_a_second_signal_waits_for_nobody(start_node: Callable[..., Node]) -> None:
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)):
        node = start_node("--rate-limit=0", "--backlog-bytes-max=100000000")
        deaf_client(node)
        os.kill(node.pid, first)
        node.wait_for_log("→ leaving")
        with soon(1.5):
            os.kill(node.pid, second)
            node.wait()
        assert not any(word in node.log() for word in TROUBLE), node.log()


def test_it_may_take_no_time(start_node: Callable[..., Node]) -> None:
    node = start_node("--rate-limit=0", "--backlog-bytes-max=100000000", "--drain-max=0")
    deaf_client(node)
    reading = node.extended("reading")
    with soon(1.5):
        node.terminate()
    assert b'"shutting-down"' in reading.read_to_end()
