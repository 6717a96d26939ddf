"""What a service manager hears of real processes, over a real socket."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.nodes import WAIT_S_MAX, Node, free_port, wait_until

WATCHDOG_S = 0.6


class Manager:
    """A service manager's end of the socket.

    Attributes:
        told: every line, in order.
    """

    def __init__(self, address: str) -> None:
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._socket.settimeout(0.005)

    def hear(self) -> list[str]:
        """Take what has come; return all there is."""
        try:
            while True:
                self.told += self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return self.told

    def wait_for(self, line: str) -> None:
        wait_until(lambda: line in self.hear(), f"told {line}")

    def silent_for(self, seconds: float) -> bool:
        """Take what has come, and whether nothing comes for so long."""
        self.hear()
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(0.005)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager of every child that is started, which watches them."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@chatproto-{os.getpid()}"
    made = Manager(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_S * 1e6)))
    yield made
    made.close()


def test_from_the_start_to_the_end(manager: Manager, make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.launch()
    manager.wait_for("READY=1")
    assert node.listens(), "who is told that it is ready may connect"
    client = node.extended("alice")
    manager.wait_for("STATUS=leader, single, 1 of 100 clients")
    assert "STOPPING=1" not in manager.told
    node.terminate()
    assert b"shutting-down" in client.read_to_end()
    manager.wait_for("STOPPING=1")
    assert manager.told.count("READY=1") == manager.told.count("STOPPING=1") == 1
    assert [line for line in manager.told if line.startswith("STATUS=draining")]


def test_who_stands_still_is_not_heard(manager: Manager, make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.launch()
    manager.wait_for("READY=1")
    for _ in range(2):
        manager.told.clear()
        manager.wait_for("WATCHDOG=1")
        os.kill(node.pid, signal.SIGSTOP)
        assert manager.silent_for(2 * WATCHDOG_S), manager.told
        os.kill(node.pid, signal.SIGCONT)
        assert not manager.silent_for(WAIT_S_MAX)


def test_who_cannot_start_is_never_ready(manager: Manager, make_node: Callable[..., Node], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = make_node(listen=f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        node.launch()
        assert node.wait() == 1
    assert "READY=1" not in manager.hear()


def test_the_registry_and_a_node_that_waits_for_it(manager: Manager, make_node: Callable[..., Node]) -> None:
    """A node of a pair is not ready before it knows its role, nor waits for ever for that."""
    port = free_port()
    node = make_node(
        f"--peer=tcp:127.0.0.1:{free_port()}",
        "--peer-listen=tcp:0:interface=127.0.0.1",
        f"--registry=tcp:127.0.0.1:{port}",
    )
    node.start()
    manager.wait_for("STATUS=waiting for the other node or the registry, to know who leads")
    assert "READY=1" not in manager.told
    registry = make_node(
        "--role=registry", f"--registry-listen=tcp:{port}:interface=127.0.0.1", name="registry", listen=None
    )
    registry.launch()
    wait_until(lambda: manager.hear().count("READY=1") == 2, "both are ready")
    manager.wait_for("STATUS=1 names, 2 connections")
    manager.wait_for("STATUS=leader, alone, 0 of 100 clients")
    registry.terminate()
    manager.wait_for("STOPPING=1")
