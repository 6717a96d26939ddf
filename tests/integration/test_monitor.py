"""The monitor with real processes: a master that is killed, stopped, and back, and its stand-in."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.endpoints import TCP4ClientEndpoint

from chatproto.errors import RegistryError
from chatproto.registry import Registration, RegistryClient
from tests.integration.nodes import PROJECT, WAIT_S_MAX, Node, environment
from tests.integration.pairs import HOST, lasting_ports, moment

reactor: Any = installed
EVERY_S, DEAD_S = 0.2, 1.0
SLACK_S = 2.0
"""What a machine under load may add to the bound: starting a node, and a turn of the registry."""


class Scene:
    """A registry, a master and a monitor, each a process, and a client of the registry."""

    def __init__(self, make_node: Callable[..., Node]) -> None:
        registry, master, stand_in = lasting_ports(3)
        self.ports = {"master": master, "stand-in": stand_in}
        at = f"--registry=tcp:{HOST}:{registry}"
        self.registry = make_node(
            "--role=registry", f"--registry-listen=tcp:{registry}:interface={HOST}", name="registry", listen=None
        )
        self.master = make_node("--name=master", at, name="master", listen=f"tcp:{master}:interface={HOST}")
        self.monitor = make_node(
            *("--role=monitor", "--name=standin", "--watch=chat", at, f"--ask-every={EVERY_S}"),
            *(f"--dead-after={DEAD_S}", "--same-host"),
            name="monitor",
            listen=f"tcp:{stand_in}:interface={HOST}",
        )
        self.clerk = RegistryClient(TCP4ClientEndpoint(reactor, HOST, registry), reactor)

    async def start(self) -> None:
        self.registry.start()
        self.clerk.startService()
        self.master.start()
        await self.leads("master")
        self.monitor.launch()
        await self.says("the master serves")

    async def leader(self) -> str:
        try:
            found: Registration = await self.clerk.resolve("chat")
        except RegistryError:
            return ""
        return found.name

    async def leads(self, name: str, seconds: float = WAIT_S_MAX) -> float:
        """Wait until whoever looks for the service is led to a server; return how long it took, in seconds."""
        began = time.monotonic()
        while await self.leader() != name:
            assert time.monotonic() - began < seconds, f"{name} does not lead within {seconds} s"
            await moment(0.02)
        return time.monotonic() - began

    async def says(self, text: str) -> None:
        """Wait until the monitor's log says so."""
        end = time.monotonic() + WAIT_S_MAX
        while text not in self.monitor.log():
            assert time.monotonic() < end, f"no {text!r} in {self.monitor.log()}"
            await moment(0.02)

    def at_stand_in(self) -> Node:
        """Return the stand-in as a node that clients connect to."""
        self.monitor.port = self.ports["stand-in"]
        return self.monitor


@pytest_twisted.ensureDeferred
async def test_a_master_that_is_killed_and_comes_back(make_node: Callable[..., Node]) -> None:
    """Seed 002: the stand-in is registered within the timeout and one interval, and ends when the master is back."""
    scene = Scene(make_node)
    try:
        await scene.start()
        scene.master.kill()
        took_s = await scene.leads("standin")
        assert took_s <= EVERY_S + DEAD_S + SLACK_S
        told = scene.at_stand_in().connect().until("message")
        assert (told["identity"], told["content"]) == ("server", "standin stands in for chat until that is back")
        client = scene.at_stand_in().extended("ada")
        assert any(b'"code":"announcement"' in line for line in client.greeting)
        client.send("message", content="are you there?", id="1")
        assert client.until("ack")["index"] == 1

        client.send("message", content="the last request", id="2")
        scene.master.start()
        await scene.leads("master")
        assert client.until("ack", id="2")["index"] == 2, "what was under way was finished"
        redirect = client.until("redirect")
        assert redirect["servers"] == [f"{HOST}:{scene.ports['master']}"]
        await scene.says("the place is the master's again")
        assert scene.master.extended("ada").welcome["server"] == "master"
    finally:
        await scene.clerk.stopService()


@pytest_twisted.ensureDeferred
async def test_a_master_that_is_stopped_is_dead(make_node: Callable[..., Node]) -> None:
    """Its connections are still accepted, by its machine: only an answer of the program counts."""
    scene = Scene(make_node)
    try:
        await scene.start()
        os.kill(scene.master.pid, signal.SIGSTOP)
        await scene.leads("standin")
        os.kill(scene.master.pid, signal.SIGCONT)
        await scene.says("the place is the master's again")
        await scene.leads("master")
    finally:
        await scene.clerk.stopService()


@pytest_twisted.ensureDeferred
async def test_losing_the_monitor_stops_nothing(make_node: Callable[..., Node]) -> None:
    scene = Scene(make_node)
    try:
        await scene.start()
        client = scene.master.extended("ada")
        scene.monitor.kill()
        client.send("message", content="still here", id="1")
        assert client.until("ack")["index"] == 1
        assert await scene.leader() == "master"
    finally:
        await scene.clerk.stopService()


@pytest_twisted.ensureDeferred
async def test_a_monitor_that_ends_while_it_stands_in_withdraws(make_node: Callable[..., Node]) -> None:
    scene = Scene(make_node)
    try:
        await scene.start()
        scene.master.kill()
        await scene.leads("standin")
        assert scene.monitor.process is not None
        scene.monitor.process.terminate()
        await scene.leads("", seconds=2.0)
        assert scene.monitor.wait() == -signal.SIGTERM
    finally:
        await scene.clerk.stopService()


@pytest_twisted.ensureDeferred
async def test_not_on_the_masters_own_machine(make_node: Callable[..., Node]) -> None:
    scene = Scene(make_node)
    scene.monitor.options.remove("--same-host")
    try:
        scene.registry.start()
        scene.clerk.startService()
        scene.master.start()
        await scene.leads("master")
        scene.monitor.launch()
        assert scene.monitor.wait() == 1
        assert "is on this machine" in scene.monitor.log() and "--same-host" in scene.monitor.log()
    finally:
        await scene.clerk.stopService()


class Desk:
    """The example of a service of another kind, as the master or as its stand-in."""

    def __init__(self, tmp_path: Path, *arguments: object) -> None:
        self.log = tmp_path / f"desk{arguments[1]}.log"
        self._command = [sys.executable, str(PROJECT / "examples" / "stand_in.py"), *map(str, arguments)]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self._command, env=environment(), stdout=output, stderr=output)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S_MAX)

    def states(self) -> list[str]:
        return self.log.read_text().split()


def is_refused(port: int) -> bool:
    """Whether nobody listens there any more."""
    try:
        socket.create_connection((HOST, port), WAIT_S_MAX).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_under_way_is_finished_before_the_stand_in_stands_down(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    """Seed 002, with a service of another kind: the monitor and the slave are one process, the customer is slow."""
    registry, master_port, slave_port = lasting_ports(3)
    make_node(
        "--role=registry", f"--registry-listen=tcp:{registry}:interface={HOST}", name="registry", listen=None
    ).start()
    clerk = RegistryClient(TCP4ClientEndpoint(reactor, HOST, registry), reactor)
    clerk.startService()
    desks = [Desk(tmp_path, registry, master_port), Desk(tmp_path, registry, slave_port, master_port)]
    master, slave = desks

    async def until(what: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S_MAX
        while not what():
            assert time.monotonic() < end, slave.states()
            await moment(0.02)

    async def found() -> str:
        try:
            return (await clerk.resolve("contracts")).address
        except RegistryError:
            return ""

    async def until_found(port: int) -> float:
        began = time.monotonic()
        while await found() != f"{HOST}:{port}":
            assert time.monotonic() - began < WAIT_S_MAX, slave.states()
            await moment(0.02)
        return time.monotonic() - began

    try:
        await until_found(master_port)
        await until(lambda: slave.states() == ["WATCHING"])
        master.kill()
        assert await until_found(slave_port) <= EVERY_S + DEAD_S + SLACK_S
        with socket.create_connection((HOST, slave_port), WAIT_S_MAX) as customer:
            customer.sendall(b"open\r\n")
            assert customer.recv(100) == b"opened\r\n"
            master.start()
            await until_found(master_port)
            await until(lambda: slave.states()[-1] == "STANDING_DOWN")
            await until(lambda: is_refused(slave_port))
            await moment(2 * EVERY_S)
            assert slave.states()[-1] == "STANDING_DOWN", "it waits for its customer"
            customer.sendall(b"sign\r\n")
            assert customer.recv(100) == b"signed\r\n"
        await until(lambda: slave.states()[-1] == "WATCHING")
        assert slave.states() == ["WATCHING", "ACTIVATING", "STANDING_IN", "STANDING_DOWN", "WATCHING"]
    finally:
        for desk in desks:
            desk.kill()
        await clerk.stopService()
