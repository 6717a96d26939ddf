"""`chatproto demo`: a whole deployment from one command, which leaves nothing behind."""

import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exposition import check_exposition
from tests.integration.demos import Demo, neighbouring_ports, run
from tests.integration.nodes import TROUBLE, WAIT_S_MAX, Client, wait_until
from tests.integration.pairs import HOST


@pytest.fixture
def make_demo(tmp_path: Path) -> Iterator[Callable[..., tuple[Demo, int]]]:
    """Starts demonstrations; returns them with their first port."""
    made: list[Demo] = []

    def make(*options: str) -> tuple[Demo, int]:
        port = neighbouring_ports()
        made.append(Demo(tmp_path, f"--port={port}", *options))
        return made[-1], port

    yield make
    for demo in made:
        demo.end()
    texts = [path.read_text() for path in (tmp_path / "data").glob("*.log")] + [demo.said() for demo in made]
    assert not any(word in text for text in texts for word in TROUBLE)


Make = Callable[..., tuple[Demo, int]]


def connect(port: int) -> Client:
    client = Client(socket.create_connection((HOST, port), WAIT_S_MAX))
    client.hello(history="all")
    return client


def test_a_deployment_that_survives_the_loss_of_its_primary(make_demo: Make, tmp_path: Path) -> None:
    began = time.monotonic()
    demo, port = make_demo("--kill-primary-after=2.5")
    demo.says("end:     Ctrl-C")
    assert len(demo.children()) == 3
    client = connect(port)
    client.send("message", content="before", id="before-1")
    before = client.until("ack")
    assert before["durable"] == 2
    client.close()
    demo.says("Killed the primary")
    assert time.monotonic() - began > 2.5
    demo.says("primary is gone")
    demo.says(f"{HOST}:{port + 1} is alone now")
    client = connect(port + 1)
    assert client.until("message")["content"] == "before"
    client.send("message", content="after", id="after-1")
    assert client.until("ack")["durable"] == 1
    client.close()
    assert len(demo.children()) == 2
    demo.interrupt()
    assert demo.said().splitlines()[-1] == "Ending the deployment."
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        *("registry", "primary", "secondary"),
        *("registry.log", "primary.log", "secondary.log"),
    }


def test_what_it_says_to_type_works(make_demo: Make) -> None:
    demo, port = make_demo()
    demo.says("end:     Ctrl-C")
    commands = dict(re.findall(r"^  (\w+): +(.*)$", demo.said(), re.MULTILINE))
    assert commands["join"] == f"chatproto chat {HOST}:{port} {HOST}:{port + 1}"

    for place, role in zip(commands["metrics"].split(), ("registry", "primary", "secondary"), strict=True):
        with urllib.request.urlopen(place, timeout=WAIT_S_MAX) as answer:
            (told,) = check_exposition(answer.read().decode())["chatproto_build_info"]
        assert told.labels["role"] == role
    run(commands["join"], "--plain", given="hello there\n")
    assert json.loads(run(commands["look"], "--json"))["can_lose_one"] is True
    assert "secondary leads" in run(commands["move"])
    killed = re.match(r"kill -9 (\d+) ", commands["kill"])
    assert killed is not None
    assert int(killed[1]) in demo.children()
    os.kill(int(killed[1]), signal.SIGKILL)
    demo.says("primary is gone")
    demo.says(f"{HOST}:{port + 1} is alone now")
    assert "hello there" in run(f"chatproto archive {demo.folder / 'data' / 'secondary'}")
    # However it is ended, it takes everything with it.
    os.kill(demo.pid, signal.SIGTERM)
    assert demo.process.wait(WAIT_S_MAX) == 0
    assert demo.children() == set()


def test_it_can_be_started_again_on_its_data(make_demo: Make) -> None:
    # Ended as Ctrl-C does it, and as the closing of the terminal does.
    for round, ending in ((1, signal.SIGINT), (2, signal.SIGHUP)):
        demo, port = make_demo()
        demo.says("end:     Ctrl-C")
        client = connect(port)
        client.send("message", content="x", id=f"id-{round}")
        assert client.until("ack")["index"] == round
        client.close()
        os.kill(demo.pid, ending)
        assert demo.process.wait(WAIT_S_MAX) == 0
        assert demo.children() == set()


def test_interrupted_while_it_starts(make_demo: Make) -> None:
    demo, _ = make_demo()
    wait_until(lambda: len(demo.children()) == 3, "all are started")
    demo.interrupt()


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    first = neighbouring_ports()
    with socket.socket() as taken:
        taken.bind((HOST, first + 3))
        taken.listen()
        demo = Demo(tmp_path, f"--port={first}")
        assert demo.process.wait(WAIT_S_MAX) == 1
    assert (
        demo.said()
        == f"chatproto: port {first + 3} cannot be used: Address already in use; choose others with --port\n"
    )
    assert demo.children() == set()


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    demo = Demo(tmp_path, f"--port={neighbouring_ports()}")
    assert demo.process.wait(WAIT_S_MAX) == 1
    assert demo.said().startswith("chatproto: ")
    assert demo.said().count("\n") == 1
