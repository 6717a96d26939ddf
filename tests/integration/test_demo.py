"""`chatproto demo`: a whole deployment from one command, which leaves nothing behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exposition import check_exposition
from tests.integration.nodes import TROUBLE, WAIT_S_MAX, Client, environment, wait_until
from tests.integration.pairs import CHATPROTO, HOST, lasting_ports

PORTS = 10


class Demo:
    """A running `chatproto demo`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHATPROTO, "demo", f"--data={folder / 'data'}", *options],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # As a terminal starts it: whoever runs tests in the background has its children ignore interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self.pid = self.process.pid

    def said(self) -> str:
        return self.out.read_text()

    def says(self, text: str) -> None:
        def found() -> bool:
            assert text in self.said() or self.process.poll() is None, self.said()
            return text in self.said()

        wait_until(found, f"it says {text!r}")

    def children(self) -> set[int]:
        """Return the processes of the deployment that run, whoever is their parent now."""
        found = set()
        for path in Path("/proc").iterdir():
            if path.name.isdecimal() and int(path.name) != self.pid:
                with contextlib.suppress(OSError):
                    line = (path / "cmdline").read_bytes()
                    state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                    if str(self.folder / "data").encode() + b"/" in line and state != "Z":
                        found.add(int(path.name))
        return found

    def end(self) -> None:
        for pid in [self.pid, *self.children()] if self.process.poll() is None else self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WAIT_S_MAX)


def neighbouring_ports() -> int:
    """Return the first of ten ports in a row that are free."""
    while True:
        (first,) = lasting_ports(1)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + PORTS):
                stack.enter_context(contextlib.closing(socket.socket())).bind((HOST, port))
            return first


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
    os.kill(demo.pid, signal.SIGINT)
    assert demo.process.wait(WAIT_S_MAX) == 0
    assert demo.children() == set()
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

    def run(command: str, *more: str, given: str = "") -> str:
        name, *arguments = command.split()
        assert name == "chatproto"
        done = subprocess.run(
            [sys.executable, "-c", CHATPROTO, *arguments, *more],
            input=given,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_S_MAX,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

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
    os.kill(demo.pid, signal.SIGINT)
    assert demo.process.wait(WAIT_S_MAX) == 0
    assert demo.children() == set()


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
