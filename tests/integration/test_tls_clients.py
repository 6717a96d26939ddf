"""Servers that clients reach by TLS alone, with real certificates: found, told of, watched, and stood in for."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint

from chatproto import ChatClient, RegistryClient, RegistryEndpoint
from chatproto.cli.certs import make_certificates
from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HOST, lasting_ports, moment, run_chatproto
from tests.integration.test_monitor import Scene

reactor: Any = installed
MakeNode = Callable[..., Node]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and the certificates of a deployment."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(str(folder), ["registry", "one", "two", "master", "standin"], [HOST], 30, print)
    return folder


def secure(deployment: Path, place: str) -> IStreamClientEndpoint:
    """Return the endpoint of an address, with TLS as the deployment has it."""
    endpoint: IStreamClientEndpoint = clientFromString(reactor, f"tls:{place}:trustRoots={deployment}")
    return endpoint


def no_tls(place: str) -> IStreamClientEndpoint:
    raise AssertionError(f"{place} is told to be without TLS")


async def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < end, what
        await moment(0.02)


async def status(deployment: Path, registry: int, wanted: str, command: Callable[..., Awaitable[Any]]) -> str:
    """Ask how the servers stand until the answer has something; return it."""
    authority = f"--ca={deployment / 'ca.pem'}"
    for _ in range(20):
        answer = await command("status", authority, f"--registry=tls:{HOST}:{registry}")
        if wanted in answer.stdout:
            return str(answer.stdout)
    raise AssertionError(answer)


@pytest_twisted.ensureDeferred
async def test_a_pair_without_a_port_in_the_clear(make_node: MakeNode, deployment: Path) -> None:
    third, *ports = lasting_ports(5)
    registry = make_node(
        *("--role=registry", f"--registry-listen=tcp:{third}:interface={HOST}", f"--tls={deployment / 'registry'}"),
        name="registry",
        listen=None,
    )
    nodes = {}
    for (name, role), port, peers, far in zip(
        (("one", "primary"), ("two", "secondary")), ports[:2], ports[2:], ports[:1:-1], strict=True
    ):
        nodes[name] = node = make_node(
            *(f"--role={role}", f"--name={name}", f"--tls={deployment / name}", "--capacity=2"),
            f"--peer-listen=tcp:{peers}:interface={HOST}",
            f"--peer=tcp:{HOST}:{far}",
            f"--registry=tcp:{HOST}:{third}",
            name=name,
            listen=f"ssl:{port}:interface={HOST}",
        )
        node.port = port
    for node in (registry, *nodes.values()):
        node.launch()
    told = await status(deployment, third, "Yes: both hold every message", run_chatproto)
    for port in ports[:2]:
        assert f"tls:{HOST}:{port}" in told
    # All that this one was given is the registry, and that one server.
    found = RegistryEndpoint(
        secure(deployment, f"{HOST}:{third}"), reactor, no_tls, tls_connector=lambda place: secure(deployment, place)
    )
    clients = [
        ChatClient(
            reactor, [endpoint], identity=name, connector=no_tls, tls_connector=lambda place: secure(deployment, place)
        )
        for name, endpoint in (("finder", found), ("knower", secure(deployment, f"{HOST}:{ports[0]}")))
    ]
    try:
        for client in clients:
            client.startService()
        await until(lambda: all(client.server == "one" for client in clients), "both are served")
        await clients[0].send("before")
        # Whoever is not let in is sent to the other one.
        full = await run_chatproto(
            "chat", "--plain", "--name=late", f"--ca={deployment / 'ca.pem'}", f"tls:{HOST}:{ports[0]}"
        )
        assert full.returncode == 0, full.stderr
        nodes["one"].kill()
        await until(lambda: all(client.server == "two" for client in clients), "both have gone on")
        sent = await clients[1].send("after")
        assert sent.index == 2
        plain = await run_chatproto(
            "chat", "--plain", "--name=late", f"--ca={deployment / 'ca.pem'}", f"--registry=tls:{HOST}:{third}"
        )
        assert plain.returncode == 0, plain.stderr
    finally:
        for client in clients:
            await client.stopService()


@pytest_twisted.ensureDeferred
async def test_a_master_that_speaks_tls_is_watched(make_node: MakeNode, deployment: Path) -> None:
    scene = Scene(make_node)
    for node, name in ((scene.registry, "registry"), (scene.master, "master"), (scene.monitor, "standin")):
        node.options.append(f"--tls={deployment / name}")
        node.listen = node.listen and node.listen.replace("tcp:", "ssl:")
    registry = next(option for option in scene.registry.options if "listen" in option).split(":")[1]
    scene.clerk = RegistryClient(secure(deployment, f"{HOST}:{registry}"), reactor)
    found = RegistryEndpoint(
        secure(deployment, f"{HOST}:{registry}"), reactor, no_tls, tls_connector=lambda place: secure(deployment, place)
    )
    client = ChatClient(
        reactor, [found], identity="ada", connector=no_tls, tls_connector=lambda place: secure(deployment, place)
    )
    try:
        await scene.start()
        client.startService()
        await until(lambda: client.server == "master", "the master serves")
        scene.master.kill()
        await scene.leads("standin")
        await until(lambda: client.server == "standin", "the stand-in serves")
        scene.master.start()
        await scene.leads("master")
        await until(lambda: client.server == "master", "the master serves again")
        await scene.says("the place is the master's again")
    finally:
        await client.stopService()
        await scene.clerk.stopService()
