"""Tests for chatproto.cli.servers."""

from pathlib import Path

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.servers import DEFAULT_PORT, Misuse, endpoint, host_and_port, registry_endpoint
from chatproto.client import SRVEndpoint


class Typed(SynchronousTestCase):
    def test_hosts_and_ports(self) -> None:
        for typed, meant in {
            "example.org": ("example.org", DEFAULT_PORT),
            "example.org:5555": ("example.org", 5555),
            "example.org:": ("example.org", DEFAULT_PORT),
            "127.0.0.1": ("127.0.0.1", DEFAULT_PORT),
            "127.0.0.1:5555": ("127.0.0.1", 5555),
            "::1": ("::1", DEFAULT_PORT),
            "2001:db8::4444": ("2001:db8::4444", DEFAULT_PORT),
            "[::1]": ("::1", DEFAULT_PORT),
            "[::1]:5555": ("::1", 5555),
        }.items():
            self.assertEqual(host_and_port(typed), meant, typed)

    def test_descriptions_of_endpoints(self) -> None:
        for typed in ("tcp:example.org:5555", "tls:example.org:5555", "unix:/run/chat.sock", "tcp:5555", ":5555", ""):
            self.assertIsNone(host_and_port(typed) if typed else None, typed)

    def test_ports_that_are_none(self) -> None:
        for typed in ("example.org:0", "example.org:65536", "example.org:x", "example.org:" + "9" * 5000, "a:٣"):
            self.assertRaises(Misuse, host_and_port, typed)


class Endpoints(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def test_a_host_is_looked_up(self) -> None:
        self.assertIsInstance(endpoint(self.reactor, "localhost:5555"), HostnameEndpoint)

    def test_a_refusal_is_noticed_soon(self) -> None:
        """Twisted notices it when the next address would be tried, even where there is none."""
        reactor = MemoryReactorClock()
        trying = endpoint(reactor, "127.0.0.1:5555").connect(Factory.forProtocol(Protocol))
        reactor.connectors[0].stopConnecting()
        reactor.tcpClients[0][2].clientConnectionFailed(reactor.connectors[0], Failure(ConnectionRefusedError()))
        self.assertNoResult(trying)
        reactor.advance(0.1)
        self.failureResultOf(trying)

    def test_a_description_is_taken_as_it_is(self) -> None:
        self.assertIsInstance(endpoint(self.reactor, "unix:/run/chat.sock"), UNIXClientEndpoint)

    def test_what_is_neither(self) -> None:
        for typed in ("tcp:5555", "carrier:pigeon:7", ":5555"):
            error = self.assertRaises(Misuse, endpoint, self.reactor, typed)
            self.assertIn(repr(typed), str(error))

    def test_tls(self) -> None:
        self.assertNotIsInstance(endpoint(self.reactor, "localhost", tls=True), HostnameEndpoint)

    def test_a_domain_is_looked_for(self) -> None:
        for typed in ("srv:chat.example", "srv:localhost"):
            for tls in (False, True):
                self.assertIsInstance(endpoint(self.reactor, typed, tls=tls), SRVEndpoint)
        for typed in ("srv:", "srv:a..b", "srv:ü.example"):
            error = self.assertRaises(Misuse, endpoint, self.reactor, typed)
            self.assertIn(typed, str(error))

    def test_authorities_that_cannot_be_read(self) -> None:
        missing, empty, broken = (Path(self.mktemp()) for _ in range(3))
        empty.write_bytes(b"")
        broken.write_bytes(b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
        for path in (missing, empty, broken):
            error = self.assertRaises(Misuse, endpoint, self.reactor, "localhost", tls=True, ca=str(path))
            self.assertIn(str(path), str(error))


class RegistryEndpointTests(SynchronousTestCase):
    def test_its_own_default_port(self) -> None:
        reactor = MemoryReactorClock()  # type: ignore[no-untyped-call]
        for typed, port in (("north", 4646), ("north:5", 5)):
            self.assertEqual(registry_endpoint(reactor, typed)._port, port)  # type: ignore[attr-defined]

    def test_one_that_cannot_be(self) -> None:
        self.assertRaises(Misuse, registry_endpoint, MemoryReactorClock(), "nonsense:x:y")  # type: ignore[no-untyped-call]
