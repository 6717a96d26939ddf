"""A pair as its clients see it: base clients that come back, who is seen to leave, and how many are taken."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.integration.nodes import Client, Node, message
from tests.integration.pairs import HALL, HOST, Pair, Scene


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


async def aside(call: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
    """Have something that blocks done, while talkers talk."""
    return await deferToThread(call, *arguments, **how)


def said_among(lines: list[bytes]) -> list[bytes]:
    return [found for found in lines if b'"type":"message"' in found]


# Base clients


@pytest_twisted.ensureDeferred
async def test_a_base_client_that_comes_to_the_other_node_gets_the_whole_archive(scene: Scene) -> None:
    """What speaks no extensions sees the room as it was, and knows nothing of two servers."""
    pair = await scene.pair().start()
    base = await aside(pair.primary.base, "nancy")
    other = await aside(pair.secondary.base, "oscar")
    heard = []
    for number in range(20):
        for client, name in ((base, "nancy"), (other, "oscar")):
            client.say(f"{name} {number}")
            heard.append(message(name, f"{name} {number}"))
            # The room has it, on both nodes, before anything else is said.
            assert (await aside(client.until, "message"))["content"] == f"{name} {number}"
            await aside((other if client is base else base).until, "message", content=f"{name} {number}")
    pair.primary.kill()
    assert await aside(base.read_to_end) == b""
    await pair.stands(pair.secondary, role="leader", serving=True)
    # Base sessions end with their connections.
    assert (await aside(other.until, "roomchange", identity="nancy"))["roomid"] == ""
    again = await aside(pair.secondary.base, "nancy")
    assert said_among(again.greeting) == heard
    again.say("here again")
    assert (await aside(other.until, "message"))["content"] == "here again"
    heard.append(message("nancy", "here again"))
    await pair.restart(pair.primary)
    await pair.paired()
    third = await aside(pair.primary.base)
    assert said_among(third.greeting) == heard
    for client in (base, other, again, third):
        client.close()
    room = [json.loads(found) for found in (await pair.reckon_archives()).splitlines()]
    assert [message(said["identity"], said["content"]) for said in room] == heard


@pytest_twisted.ensureDeferred
async def test_who_is_seen_to_leave(scene: Scene) -> None:
    """Extended clients fail over within their grace, unseen; base clients of a killed node, and who stays away, go."""
    pair = await scene.pair("--session-grace=4").start()
    watchers = [
        await aside(pair.secondary.extended, "watcher1"),
        await aside(pair.secondary.base, "watcher2"),
    ]
    base = await aside(pair.primary.base, "lenny")
    gone = await aside(pair.primary.extended, "gerda")
    talkers = [scene.talker(f"talker{number}", *pair.ports) for number in (1, 2, 3)]
    await scene.heard(*talkers)
    for watcher in watchers:
        await aside(watcher.drain)
    pair.primary.kill()
    await scene.heard(*talkers)
    await pair.restart(pair.primary)
    await pair.paired()
    for client in (base, gone):
        await aside(client.read_to_end)
    leaving = {}
    for watcher in watchers:
        told = await aside(watcher.collect, "roomchange", identity="gerda")
        leaving[watcher] = [found["identity"] for found in told if found["type"] == "roomchange"]
    assert list(leaving.values()) == [["lenny", "gerda"]] * 2
    assert all(talker.losses for talker in talkers)
    await pair.reckon(*talkers)
    for watcher in watchers:
        assert not [found for found in await aside(watcher.drain) if b'"roomchange"' in found]


# Capacity


def farewell_of(client: Client) -> list[bytes]:
    return client.lines_to_end()


def come(node: Node, hello: bool) -> Client:
    """Return a client of which it is open whether it is taken."""
    client = node.connect()
    client.send("hello", version=1) if hello else client.send("list")
    return client


def taken(client: Client) -> bool:
    return json.loads(client.read_line())["type"] in ("welcome", "newidentity")


async def counted(scene: Scene, pair: Pair, *clients: int) -> None:
    """Wait until both nodes serve so many clients."""
    for node, count in zip(pair.nodes.values(), clients, strict=True):
        await pair.stands(node, clients=count)


@pytest_twisted.ensureDeferred
async def test_who_is_too_many_is_sent_to_the_other_node(scene: Scene) -> None:
    pair = await scene.pair("--capacity=3").start()
    primary, secondary = pair.primary, pair.secondary
    for hello in (True, False, True):
        assert await aside(taken, come(primary, hello))
    await counted(scene, pair, 3, 0)

    # One is full: whoever comes is told where to go, extended or not.
    (told,) = await aside(farewell_of, come(primary, True))
    redirect = json.loads(told)
    assert redirect == {"type": "redirect", "servers": [f"{HOST}:{secondary.port}"], "reason": "full", "after": 0}
    (told,) = await aside(farewell_of, come(primary, False))
    goodbye = json.loads(told)
    assert (goodbye["type"], goodbye["identity"]) == ("message", "server")
    assert f"{HOST}:{secondary.port}" in goodbye["content"]

    # Both are full: nobody is sent to and fro.
    for hello in (True, False, True):
        assert await aside(taken, come(secondary, hello))
    await counted(scene, pair, 3, 3)
    for node in (primary, secondary):
        for _ in range(100):
            (told,) = await aside(farewell_of, come(node, True))
            refusal = json.loads(told)
            if refusal["type"] != "redirect":
                break  # It takes a moment until the one has told the other.
        assert (refusal["type"], refusal["code"]) == ("error", "full")
        (told,) = await aside(farewell_of, come(node, False))
        goodbye = json.loads(told)
        assert (goodbye["type"], goodbye["identity"]) == ("message", "server")
        assert "full" in goodbye["content"] and HOST not in goodbye["content"]

    # Alone, the one that is left takes everybody.
    primary.kill()
    await pair.stands(secondary, redundancy="alone", serving=True)
    for number in range(6):
        assert await aside(taken, come(secondary, bool(number % 2)))
    assert "more than 3 clients" in secondary.log()
    assert (await pair.stands(secondary))["capacity"] == 3
    await pair.restart(primary)
    await pair.paired()
    assert await aside(taken, come(primary, True))


@pytest_twisted.ensureDeferred
async def test_who_comes_back_is_taken_although_it_is_full(scene: Scene) -> None:
    pair = await scene.pair("--capacity=2").start()
    talkers = [scene.talker(f"talker{number}", pair.ports[number % 2]) for number in range(4)]
    await scene.heard(*talkers)
    await counted(scene, pair, 2, 2)
    for talker in talkers[:2]:
        talker.hang_up()
    await scene.heard(*talkers)
    # They may come to the other node as well, with their sessions.
    token = talkers[0].token
    talkers[0].end()
    client = await aside(pair.secondary.connect)
    welcome = await aside(client.hello, session=token)
    assert welcome["session"] == token
    await counted(scene, pair, 1, 3)
    await pair.reckon(*talkers[1:])
    assert not any(talker.left for talker in talkers)


# History


@pytest_twisted.ensureDeferred
async def test_both_nodes_answer_for_the_whole_deployment(scene: Scene) -> None:
    """Names, rooms, and private lines: it does not matter who is where."""
    pair = await scene.pair().start()
    east = await aside(pair.primary.extended, "east")
    west = await aside(pair.secondary.extended, "west")
    assert f"{HOST}:{pair.secondary.port}" in east.welcome["servers"]
    assert (east.welcome["role"], west.welcome["role"]) == ("leader", "follower")
    for node, name in ((pair.primary, "west"), (pair.secondary, "east")):
        client = await aside(node.connect)
        await aside(client.hello, identity=name)
        assert (await aside(client.until, "error"))["code"] == "identity-taken"
        client.send("quit")
        await aside(client.read_to_end)
    west.send("createroom", roomid="Den")
    await aside(west.drain)
    east.send("join", roomid="Den")
    assert (await aside(east.until, "roomchange", identity="east"))["roomid"] == "Den"
    assert (await aside(west.until, "roomchange", identity="east"))["roomid"] == "Den"
    west.send("private", to="east", content="psst", id="p-1")
    assert (await aside(west.until, "ack", id="p-1"))["delivered"] == 1
    assert (await aside(east.until, "private"))["content"] == "psst"
    west.send("kick", roomid="Den", identity="east", time=60)
    assert (await aside(east.until, "roomchange", identity="east"))["roomid"] == HALL
    # An id is used once in the deployment, wherever it is said.
    east.send("message", content="one", id="same", roomid=HALL)
    first = await aside(east.until, "ack", id="same")
    await aside(west.until, "message", id="same")
    client = await aside(pair.secondary.connect)
    await aside(client.hello)
    client.send("message", content="one", id="same", roomid=HALL)
    assert await aside(client.until, "ack", id="same") == first
    client.send("message", content="two", id="same", roomid=HALL)
    assert (await aside(client.until, "error", id="same"))["code"] == "id-reused"
    for one in (east, west, client):
        one.close()
    assert (await pair.reckon_archives()).count(b"\n") == 1
