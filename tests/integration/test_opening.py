"""Minimum members over real sockets: messages wait until enough are there, with one node and with two."""

from collections.abc import Callable, Iterator

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.integration.nodes import Node, message
from tests.integration.pairs import Scene

StartNode = Callable[..., Node]

BEGUN = message("server", "enough are there: the chat has begun")


def waiting(missing: int, wanted: int) -> bytes:
    return message("server", f"waiting for {missing} more: what is said is held until {wanted} are there")


@pytest.fixture
def scene(make_node: Callable[..., Node]) -> Iterator[Scene]:
    with Scene(make_node) as made:
        yield made


def test_messages_wait_until_enough_are_there(start_node: StartNode) -> None:
    node = start_node("--min-clients=3")
    first = node.base("alice")
    assert first.greeting[-1] == waiting(2, 3)
    first.say("anybody?")
    second = node.extended("bert")
    notice = b'{"type":"notice","code":"waiting","content":"1: %b"}\n'
    assert second.greeting[-1] == notice % b"waiting for 1 more: what is said is held until 3 are there"
    second.send("message", content="me", id="m1")
    assert first.drain()[-1] == waiting(1, 3), "nothing was said"
    assert not any(found["type"] in ("message", "ack") for found in second.messages())
    third = node.base()
    opened = [BEGUN, message("alice", "anybody?"), message("bert", "me")]
    # What was held is committed after the answer to the newcomer's questions, so that one may not wait for it.
    for client in (first, third):
        heard = [found for found in client.greeting if found == BEGUN]
        while heard[-1:] != opened[-1:]:
            found = client.read_line()
            if found in opened:
                heard.append(found)
        assert heard == opened
    assert second.until("ack", id="m1")["index"] == 2
    third.close()
    first.until("roomchange", identity="guest1", roomid="")
    first.say("alone, and heard")
    assert first.drain() == [message("alice", "alone, and heard")]


def test_it_has_begun_for_good(start_node: StartNode) -> None:
    """Also for a node that was killed, whose clients have all gone."""
    node = start_node("--min-clients=2")
    first, second = node.base(), node.base()
    first.say("one")
    assert first.drain()[-1] == message("guest1", "one")
    second.close()
    node.kill()
    node.start()
    alone = node.base("alice")
    alone.say("two")
    assert alone.drain() == [message("alice", "two")]


def test_what_is_held_has_a_ceiling(start_node: StartNode) -> None:
    node = start_node("--min-clients=2", "--held-max=2")
    first = node.base("alice")
    first.say("one", "two", "three")
    assert first.drain() == [message("server", "your message was not kept: 2 are held already")]
    node.extended("bert")
    assert first.drain()[-2:] == [message("alice", "one"), message("alice", "two")]


def test_more_than_fit_is_wrong_usage(make_node: Callable[..., Node]) -> None:
    node = make_node("--min-clients=5", "--capacity=4")
    node.launch()
    assert node.wait() == 1
    assert "--min-clients must not be more than --capacity" in node.whole_log()


@pytest_twisted.ensureDeferred
async def test_clients_of_both_nodes_count(scene: Scene) -> None:
    pair = await scene.pair("--min-clients=2").start()
    first = await deferToThread(pair.primary.base, "alice")
    first.say("anybody?")
    assert await deferToThread(first.drain) == []
    second = await deferToThread(pair.secondary.base)
    second.say("me")
    for client in (first, second):
        heard = await deferToThread(client.collect, "message", content="me")
        contents = [found["content"] for found in heard if found["type"] == "message"]
        # What was told of the number came in the greeting to one of them, and is among the lines of the other.
        assert [content for content in contents if "waiting" not in content][-2:] == ["anybody?", "me"]
