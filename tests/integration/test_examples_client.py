"""The examples that embed a client, run as their docstrings say."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.nodes import (
    PROJECT,
    WAIT_S_MAX,
    Client,
    Node,
    environment,
    free_port,
    stop_process,
    wait_until,
)


def example(name: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "examples" / name), *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(program: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = program.communicate(timeout=WAIT_S_MAX)
    return program.returncode, output, errors


def server(port: int) -> str:
    return f"tcp:127.0.0.1:{port}"


def test_say_one_thing(node: Node) -> None:
    listener = node.extended("listener")
    assert finished(example("embed_client.py", "MainHall", "disk full", server(node.port))) == (
        0,
        "kept as number 1 of MainHall\n",
        "",
    )
    said = [found for found in listener.messages() if found["type"] == "message"]
    assert [found["content"] for found in said] == ["disk full"]


def test_say_it_in_a_room(node: Node) -> None:
    """The room is made where there is none; whoever says the next thing finds it."""
    keeper = node.extended("keeper")
    keeper.send("createroom", roomid="Alarms")
    keeper.send("join", roomid="Alarms", stay=True)
    keeper.drain()
    for number in (1, 2):
        status, output, _ = finished(example("embed_client.py", "Alarms", "disk full", server(node.port)))
        assert (status, output) == (0, f"kept as number {number} of Alarms\n")
    status, output, _ = finished(example("embed_client.py", "Fresh", "disk full", server(node.port)))
    assert (status, output) == (0, "kept as number 1 of Fresh\n")


def test_say_it_to_whoever_is_there(node: Node) -> None:
    """A server that is not there is passed over."""
    gone = server(free_port())
    status, output, _ = finished(example("embed_client.py", "MainHall", "hi", gone, server(node.port)))
    assert (status, output) == (0, "kept as number 1 of MainHall\n")


def test_not_kept(node: Node) -> None:
    status, output, errors = finished(example("embed_client.py", "MainHall", "x" * 20_000, server(node.port)))
    assert (status, output) == (1, "")
    assert errors == "not kept: content-too-long: a message has at most 16384 characters\n"


@pytest.fixture
def listener(node: Node) -> Iterator["subprocess.Popen[str]"]:
    """Eve, whom others may call."""
    program = example("direct_message.py", server(node.port), "listen", "Eve", "127.0.0.1")
    assert program.stdout is not None
    assert program.stdout.readline().startswith("others may call 127.0.0.1:")
    watcher = node.extended("watcher")
    wait_until(lambda: may_be_called(watcher), "the server knows her address")
    yield program
    stop_process(program)


def may_be_called(watcher: Client) -> bool:
    watcher.send("contact", identity="Eve")
    return any(found["type"] == "contact" for found in watcher.messages())


def test_tell_somebody_directly(node: Node, listener: "subprocess.Popen[str]") -> None:
    told = example("direct_message.py", server(node.port), "tell", "Ada", "Eve", "one", "two", "bye")
    assert finished(told) == (0, "one: direct\ntwo: direct\nbye: direct\n", "")
    assert finished(listener) == (0, "Ada: one (direct)\nAda: two (direct)\nAda: bye (direct)\n", "")


def test_tell_somebody_who_does_not_listen(node: Node) -> None:
    watcher = node.extended("watcher")
    told = example("direct_message.py", server(node.port), "tell", "Ada", "watcher", "one")
    assert finished(told) == (0, "one: relayed to 1\n", "")
    assert watcher.until("private")["content"] == "one"
    told = example("direct_message.py", server(node.port), "tell", "Ada", "Nobody", "one")
    status, _, errors = finished(told)
    assert (status, errors) == (1, "not delivered: no-such-identity: nobody is called Nobody\n")


@pytest.fixture
def bot(start_node: Callable[..., Node]) -> Iterator[tuple[Node, "subprocess.Popen[str]"]]:
    """A node, and a bot in its rooms MainHall and Tea."""
    port = free_port()
    node = start_node(listen=f"tcp:{port}:interface=127.0.0.1")
    owner = node.extended("owner")
    owner.send("createroom", roomid="Tea")
    owner.drain()
    program = example("echo_bot.py", server(port), "Echo", "Tea")
    wait_until(lambda: "Echo" in members(node, "Tea"), "the bot is there")
    yield node, program
    stop_process(program)


def members(node: Node, room: str) -> list[str]:
    client = node.clients[0]
    client.send("who", roomid=room)
    return client.until("roomcontents", roomid=room)["identities"]


def test_bot_answers(bot: tuple[Node, "subprocess.Popen[str]"]) -> None:
    node, program = bot
    client = node.extended("ada")
    client.send("join", roomid="Tea", stay=True)
    client.send("message", content="hello", roomid="Tea")
    client.send("message", content="echo hello", roomid="MainHall")
    assert client.until("message", identity="Echo")["content"] == "hello"
    client.send("message", content="echo echo tea", roomid="Tea")
    answer = client.until("message", identity="Echo")
    assert (answer["content"], answer["roomid"]) == ("echo tea", "Tea")
    client.send("private", to="Echo", content="psst", id="p1")
    answer = client.until("private", identity="Echo")
    assert answer["content"] == "psst"
    client.send("message", content="echo last", roomid="Tea")
    client.until("message", identity="Echo", content="last")
    said = [found["content"] for found in node.archive("Tea") if found["identity"] == "Echo"]
    assert said == ["echo tea", "last"], "it does not answer itself"
    program.terminate()
    status, _, errors = finished(program)
    assert status == 0
    assert "Traceback" not in errors and "Unhandled" not in errors
    client.until("roomchange", identity="Echo", roomid="")


def test_bot_survives_its_server(bot: tuple[Node, "subprocess.Popen[str]"]) -> None:
    """What was asked before the crash is answered once, what is asked after it too."""
    node, program = bot
    ada = node.extended("ada")
    ada.send("message", content="echo one", id="a1", roomid="MainHall")
    ada.until("message", identity="Echo", content="one")
    for number in ("two", "three"):
        node.kill()
        node.start()
        ada = node.extended()
        node.clients[0] = ada
        wait_until(lambda: "online" in online_since(node), "the node is there again")
        ada.send("message", content=f"echo {number}", roomid="MainHall")
        ada.until("message", identity="Echo", content=number)
    said = [found["content"] for found in node.archive("MainHall") if found["identity"] == "Echo"]
    assert said == ["one", "two", "three"]
    program.terminate()
    status, _, errors = finished(program)
    assert status == 0
    assert errors.count("online primary") == 3
    assert "Traceback" not in errors


def online_since(node: Node) -> Any:
    return "online" if "Echo" in members(node, "MainHall") else ""
