import random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.dns import DatagramAnswers, StreamAnswersFactory
from chatproto.services.dns import DNSService, DNSSettings
from chatproto.world import World
from tests.unit.services.test_listener import FakeEndpoint, FakePort


class UDPPort(FakePort):
    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "127.0.0.1", 5353)


class DNSServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fatal: list[str] = []
        self.described: list[str] = []
        self.bound: list[tuple[int, Any, str]] = []
        self.udp, self.tcp = UDPPort(), FakePort()
        self.refusal: CannotListenError | None = None
        self.answer: Any = succeed(self.tcp)

    def service(self, host: str = "127.0.0.1", port: int = 0) -> DNSService:
        def listen(port: int, protocol: Any, host: str) -> Any:
            if self.refusal is not None:
                raise self.refusal
            self.bound.append((port, protocol, host))
            return self.udp

        def server(description: str) -> Any:
            self.described.append(description)
            return FakeEndpoint(self.answer)

        world = World(
            clock=Clock(),
            now=lambda: 0.0,
            dice=random.Random(1),
            server=server,
            client=lambda description: None,  # type: ignore[arg-type,return-value]
            store=lambda directory, failed: None,  # type: ignore[arg-type,return-value]
            fatal=self.fatal.append,
            secret=lambda directory: "",
            udp=listen,
        )
        return DNSService(world, DNSSettings(host, port, host), list)

    def test_both_on_one_port(self) -> None:
        service = self.service()
        service.startService()
        ((port, protocol, host),) = self.bound
        self.assertEqual((port, host), (0, "127.0.0.1"))
        self.assertIsInstance(protocol, DatagramAnswers)
        self.assertEqual(self.described, [r"tcp:5353:interface=127.0.0.1"])
        self.assertEqual(self.successResultOf(service.ready), self.tcp.getHost().port)

    def test_an_address_of_ipv6(self) -> None:
        self.service("::1", 53).startService()
        self.assertEqual(self.described, [r"tcp6:5353:interface=\:\:1"])
        self.assertEqual(self.bound[0][0], 53)

    def test_a_busy_port_ends_the_process(self) -> None:
        self.refusal = CannotListenError("127.0.0.1", 53, OSError("busy"))
        service = self.service(port=53)
        service.startService()
        (reason,) = self.fatal
        self.assertIn("--dns 127.0.0.1:53", reason)
        self.assertEqual(self.described, [])
        self.successResultOf(service.stopService())

    def test_a_busy_port_of_tcp_ends_the_process(self) -> None:
        self.answer = fail(CannotListenError("127.0.0.1", 5353, OSError("busy")))
        self.service().startService()
        self.assertEqual(len(self.fatal), 1)

    def test_a_world_without_datagrams(self) -> None:
        world = World(Clock(), lambda: 0.0, random.Random(1), None, None, None, self.fatal.append, str)  # type: ignore[arg-type]
        DNSService(world, DNSSettings("127.0.0.1", 53, "127.0.0.1"), list).startService()
        self.assertIn("no datagrams", self.fatal[0])

    def test_stops_when_both_have(self) -> None:
        service = self.service()
        service.startService()
        stopping = service.stopService()
        self.assertNoResult(stopping)
        self.udp.stopped[0].callback(None)
        self.assertNoResult(stopping)
        self.tcp.stopped[0].callback(None)
        self.successResultOf(stopping)

    def test_connections_end_with_it(self) -> None:
        service = self.service()
        endpoint = FakeEndpoint(Deferred())
        self.answer = endpoint.answer
        service.startService()
        streams: StreamAnswersFactory = service._streams
        ended: list[str] = []

        class Stream:
            def end(self) -> None:
                ended.append("end")

        streams.gate.links[Stream()] = None  # type: ignore[arg-type]
        service.stopService()
        self.assertEqual(ended, ["end"])
