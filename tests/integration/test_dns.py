"""The registry's answers on real sockets: to twisted.names, and to `dig`, which others will use."""

import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, clientFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.names import client, dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError

from chatproto.registry import Registration, RegistryClient
from chatproto.registry.zone import TTL_S
from chatproto.services.dns import DNSService, DNSSettings
from chatproto.tap import real_world
from tests.integration.nodes import TROUBLE, WAIT_S_MAX, Node, environment, wait_until
from tests.integration.pairs import CHATPROTO, lasting_ports

reactor: Any = installed
HOST = "127.0.0.1"
SRV = "_chat._tcp.chat.example"


def server(name: str, address: str, role: str = "leader", epoch: int = 1) -> Registration:
    return Registration("chat", name, "chat", address, role, epoch, 100)


class Zone:
    """A DNS server of this process, and what is registered.

    Attributes:
        registered: what it answers from.
        port: of UDP and TCP.
    """

    def __init__(self) -> None:
        self.registered = [server("one", "127.0.0.1:4444"), server("two", "127.0.0.2:4445", "follower")]
        self.service = DNSService(real_world(), DNSSettings(HOST, 0, HOST), lambda: self.registered)
        self.service.startService()
        self.port = 0

    def resolver(self) -> Any:
        return client.Resolver(servers=[(HOST, self.port)], reactor=reactor)

    async def dig(self, *arguments: str) -> str:
        """Return what `dig` prints, asked of this server."""
        command = ["dig", f"@{HOST}", "-p", str(self.port), "+tries=1", "+time=5", *arguments]
        ran: Any = await deferToThread(subprocess.run, command, capture_output=True, text=True, timeout=WAIT_S_MAX)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return str(ran.stdout)


@pytest.fixture
def zone() -> Iterator[Zone]:
    made = Zone()
    made.port = pytest_twisted.blockon(made.service.ready)
    yield made
    pytest_twisted.blockon(made.service.stopService())


needs_dig = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is in Debian's dnsutils")


@pytest_twisted.ensureDeferred
async def test_what_is_registered_is_found(zone: Zone) -> None:
    answers, _, additional = await zone.resolver().lookupService(SRV)
    found = [(str(record.payload.target), record.payload.port) for record in answers]
    assert found == [("one.chat.example", 4444), ("two.chat.example", 4445)]
    assert [record.payload.dottedQuad() for record in additional] == ["127.0.0.1", "127.0.0.2"]
    assert all(record.auth and record.ttl == TTL_S for record in answers)


@pytest_twisted.ensureDeferred
async def test_what_is_not_there(zone: Zone) -> None:
    with pytest.raises(DNSNameError):
        await zone.resolver().lookupAddress("nobody.chat.example")
    with pytest.raises(DNSQueryRefusedError):
        await zone.resolver().lookupAddress("example.org")
    answers, authority, _ = await zone.resolver().lookupIPV6Address("chat.example")
    assert (answers, [record.type for record in authority]) == ([], [dns.SOA])


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_too_long_for_a_datagram_comes_over_tcp(zone: Zone) -> None:
    zone.registered = [server(f"server{number}", f"127.0.0.1:{number}") for number in range(1, 51)]
    answers, _, additional = await zone.resolver().lookupService(SRV)
    assert (len(answers), len(additional)) == (50, 50)


@needs_dig
@pytest_twisted.ensureDeferred
async def test_dig(zone: Zone) -> None:
    printed = await zone.dig("SRV", SRV)
    assert "status: NOERROR" in printed
    assert "flags: qr aa rd;" in printed, "an authority, and no recursion"
    for warning in ("Got bad packet", "malformed", "WARNING: Message", "parser error"):
        assert warning not in printed
    assert (await zone.dig("+short", "SRV", SRV)).splitlines() == [
        "0 100 4444 one.chat.example.",
        "10 100 4445 two.chat.example.",
    ]
    assert await zone.dig("+short", "chat.example") == "127.0.0.1\n"
    assert await zone.dig("+short", "+tcp", "two.chat.example") == "127.0.0.2\n"
    assert await zone.dig("+short", "NS", "chat.example") == "ns.chat.example.\n"
    assert "status: NXDOMAIN" in await zone.dig("nobody.chat.example")
    assert "SOA\tns.chat.example. hostmaster.chat.example." in await zone.dig("nobody.chat.example")
    assert "status: REFUSED" in await zone.dig("example.org")
    assert "Transfer failed" in await zone.dig("AXFR", "chat.example")


@needs_dig
@pytest_twisted.ensureDeferred
async def test_dig_is_told_to_come_again_over_tcp(zone: Zone) -> None:
    zone.registered = [server(f"server{number}", f"127.0.0.1:{number}") for number in range(1, 51)]
    assert "flags: qr aa tc rd;" in await zone.dig("+ignore", "SRV", SRV)
    assert len((await zone.dig("+short", "SRV", SRV)).splitlines()) == 50


@pytest_twisted.ensureDeferred
async def test_garbage_changes_nothing(zone: Zone) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as garbage:
        for packet in (b"", b"?", b"\xff" * 512, bytes(12), bytes(65507)):
            garbage.sendto(packet, (HOST, zone.port))
    with socket.create_connection((HOST, zone.port), WAIT_S_MAX) as stream:
        stream.sendall(struct.pack("!H", 3) + b"???")
        answers, *_ = await zone.resolver().lookupService(SRV)
        assert len(answers) == 2
        stream.settimeout(WAIT_S_MAX)
        ended = await deferToThread(_ended, stream)
        assert ended


def _ended(stream: socket.socket) -> bool:
    try:
        return stream.recv(1) == b""
    except ConnectionError:
        return True


class Named(Protocol):
    """Says its server's name."""

    def connectionMade(self) -> None:
        self.transport.write(self.factory.name)
        self.transport.loseConnection()


class Hearing(Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.heard)


@pytest_twisted.ensureDeferred
async def test_a_base_client_finds_the_server_after_each_move(zone: Zone) -> None:
    """The endpoint `srv:…` leads any client to the server that leads now; to another where that one is gone."""
    ports = {}
    for name in ("one", "two"):
        factory = Factory.forProtocol(Named)
        factory.name = name.encode()
        ports[name] = reactor.listenTCP(0, factory, interface=HOST)
    places = {name: f"{HOST}:{port.getHost().port}" for name, port in ports.items()}
    endpoint = clientFromString(reactor, rf"srv:chat.example:dns={HOST}\:{zone.port}")

    async def reached() -> str:
        hearing = await endpoint.connect(Factory.forProtocol(Hearing))
        return (await hearing.ended).decode()

    try:
        for epoch, leader in enumerate(("one", "two", "one", "two")):
            zone.registered = [
                server(name, place, "leader" if name == leader else "follower", epoch) for name, place in places.items()
            ]
            assert await reached() == leader
        await ports["two"].stopListening()
        assert await reached() == "one"
    finally:
        for port in ports.values():
            await maybeDeferred(port.stopListening)


# The daemon


def dns_port(registry: Node) -> int:
    """Return where a registry answers the DNS, once it does."""
    found = wait_until(
        lambda: re.search(r"answering for chat\.example on [^\n]*:(\d+), UDP and TCP", registry.log()),
        "the DNS answers",
    )
    return int(found[1])


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Node]:
    (port,) = lasting_ports(1)
    listen = f"--registry-listen=tcp:{port}:interface={HOST}"
    made = Node(tmp_path / "registry", "--role=registry", listen, f"--dns={HOST}:0", listen=None)
    made.start()
    made.port = port
    yield made
    made.end()
    assert not any(trouble in made.whole_log() for trouble in TROUBLE), made.whole_log()


def clerk(registry: Node) -> RegistryClient:
    """Return a client of the registry that runs."""
    endpoint = TCP4ClientEndpoint(reactor, HOST, registry.port)
    client = RegistryClient(endpoint, reactor)
    client.startService()
    return client


async def short(port: int, *asked: str) -> list[str]:
    """Return what `dig +short` prints, of a server at a port."""
    command = ["dig", f"@{HOST}", "-p", str(port), "+short", *asked]
    ran: Any = await deferToThread(subprocess.run, command, capture_output=True, text=True, timeout=WAIT_S_MAX)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return str(ran.stdout).splitlines()


@needs_dig
@pytest_twisted.ensureDeferred
async def test_dig_shows_a_change_of_address_within_its_ttl(registry: Node) -> None:
    port = dns_port(registry)
    desk = clerk(registry)
    try:
        await desk.register(server("one", "127.0.0.1:4444", epoch=1), b"of one")
        assert await short(port, "SRV", SRV) == ["0 100 4444 one.chat.example."]
        assert await short(port, "chat.example") == ["127.0.0.1"]
        await desk.register(server("two", "127.0.0.2:4445", epoch=2), b"of two")
        began = time.monotonic()
        assert await short(port, "chat.example") == ["127.0.0.2"]
        assert time.monotonic() - began < TTL_S
        assert sorted(await short(port, "SRV", SRV)) == [
            "0 100 4445 two.chat.example.",
            "10 100 4444 one.chat.example.",
        ]
        await desk.withdraw("chat", "two")
        assert await short(port, "chat.example") == ["127.0.0.1"]
        registry.kill()
        registry.launch()
        assert await short(dns_port(registry), "chat.example") == ["127.0.0.1"], "it is durable"
    finally:
        await desk.stopService()


@pytest_twisted.ensureDeferred
async def test_the_terminal_client_follows_a_server_that_moves(registry: Node, tmp_path: Path) -> None:
    """Started by name alone, it finds the server, and after each move the next one."""
    desk = clerk(registry)
    nodes = [Node(tmp_path / name, f"--name={name}") for name in ("one", "two")]
    arguments = ["chat", "--plain", "--name", "ada", "--dns", f"{HOST}:{dns_port(registry)}", "srv:chat.example"]
    process: subprocess.Popen[str] | None = None
    try:
        nodes[0].start()
        await desk.register(server("one", f"{HOST}:{nodes[0].port}", epoch=1), b"of one")
        process = subprocess.Popen(
            [sys.executable, "-c", CHATPROTO, *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        lines = process.stdout
        await deferToThread(_until, lines, "state online one ")
        nodes[1].start()
        await desk.withdraw("chat", "one")
        await desk.register(server("two", f"{HOST}:{nodes[1].port}", epoch=2), b"of two")
        nodes[0].kill()
        await deferToThread(_until, lines, "state online two ")
    finally:
        if process is not None:
            process.kill()
            process.wait(WAIT_S_MAX)
        for node in nodes:
            node.end()
        await desk.stopService()


def _until(lines: "IO[str]", beginning: str) -> None:
    """Read lines up to one that begins so; the process is killed if it never comes."""
    heard = []
    for line in lines:
        heard.append(line)
        if line.startswith(beginning):
            return
    raise AssertionError(f"no {beginning!r} in {heard}")
