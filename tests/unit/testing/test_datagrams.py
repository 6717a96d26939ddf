import random
from typing import Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chatproto.testing import DatagramFaults, SimClock, SimHost, SimNetwork
from chatproto.testing.datagrams import INBOX_BYTES_MAX


class Recorder(DatagramProtocol):
    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.stopped = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.got.append((datagram, addr))

    def stopProtocol(self) -> None:
        self.stopped += 1


class Net:
    def __init__(self, seed: int = 0, **faults: float) -> None:
        self.network = SimNetwork(SimClock(), random.Random(seed))
        self.network.datagram_faults = DatagramFaults(**faults)
        self.east, self.west = self.network.host("east"), self.network.host("west")
        self.heard, self.port = self.listen(self.east, 5000)
        self.said, self.sender = self.listen(self.west)

    def listen(self, host: SimHost, port: int = 0, interface: str = "") -> tuple[Recorder, Any]:
        recorder = Recorder()
        return recorder, host.reactor.listenUDP(port, recorder, interface)

    def send(self, data: bytes, to: str | None = None, port: int = 5000) -> None:
        assert self.said.transport is not None
        self.said.transport.write(data, (to or self.east.address, port))

    def run(self, seconds: float = 1.0) -> list[bytes]:
        self.network.clock.run(seconds)
        return [data for data, _ in self.heard.got]


class DatagramTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        net = Net()
        verifyObject(IListeningPort, net.port)
        verifyObject(IReactorUDP, net.east.reactor)
        self.assertIn("on 5000", repr(net.port))

    def test_there_and_back(self) -> None:
        net = Net()
        net.send(b"hello")
        net.send(b"", "east")
        self.assertEqual(sorted(net.run()), [b"", b"hello"])
        address = (net.west.address, net.sender.getHost().port)
        self.assertEqual({addr for _, addr in net.heard.got}, {address})
        assert net.heard.transport is not None
        net.heard.transport.write(b"answer", address)
        net.run()
        self.assertEqual(net.said.got, [(b"answer", (net.east.address, 5000))])

    def test_on_one_host(self) -> None:
        net = Net(lost=1.0)
        local, _ = net.listen(net.west, 7000, "127.0.0.1")
        net.send(b"here", "127.0.0.1", 7000)
        net.send(b"not there", net.west.address, 7000)
        net.run()
        self.assertEqual([data for data, _ in local.got], [b"here"], "what stays on a host is not lost")
        self.assertEqual(local.got[0][1][0], "127.0.0.1")

    def test_nobody_there(self) -> None:
        net = Net()
        net.send(b"x", port=5001)
        net.send(b"x", "10.9.9.9")
        self.assertEqual(net.run(), [])

    def test_one_overtakes_another(self) -> None:
        net = Net()
        sent = [b"%d" % number for number in range(50)]
        for data in sent:
            net.send(data)
        came = net.run()
        self.assertNotEqual(came, sent)
        self.assertEqual(sorted(came), sorted(sent))

    def test_shares_of_faults(self) -> None:
        for fault, expected in (("lost", (900, 0)), ("repeated", (1100, 100)), ("damaged", (1000, 0))):
            net = Net(**{fault: 0.1})
            for number in range(1000):
                net.send(b"%04d-intact" % number)
            came = net.run()
            good = [data for data in came if data.endswith(b"-intact") and len(data) == 11 and data[:4].isdigit()]
            self.assertApproximates(len(came), expected[0], 40, fault)
            self.assertApproximates(len(came) - len(set(came)), expected[1], 40, fault)
            if fault == "damaged":
                self.assertTrue(800 < len(good) < 960, len(good))

    def test_the_same_seed_the_same_fate(self) -> None:
        def fates(seed: int) -> list[bytes]:
            net = Net(seed, lost=0.3, repeated=0.3, damaged=0.3)
            for number in range(50):
                net.send(b"%d" % number)
            return net.run()

        self.assertEqual(fates(1), fates(1))
        self.assertNotEqual(fates(1), fates(2))

    def test_a_cut_loses_what_is_under_way_and_keeps_nothing(self) -> None:
        net = Net()
        net.send(b"under way")
        net.network.cut("east", "west")
        net.send(b"later")
        net.run()
        net.network.heal_all()
        net.send(b"after")
        self.assertEqual(net.run(), [b"after"])

    def test_a_process_that_stands_still_finds_what_the_kernel_kept(self) -> None:
        net = Net()
        net.east.pause()
        size = 50_000
        for _ in range(10):
            net.send(bytes(size))
        self.assertEqual(net.run(), [])
        net.east.resume()
        self.assertEqual(len(net.run()), INBOX_BYTES_MAX // size)

    def test_a_port_dies_with_its_life(self) -> None:
        net = Net()
        net.east.crash()
        net.send(b"x")
        net.run()
        net.east.boot()
        net.send(b"y")
        self.assertEqual(net.run(), [])
        net.heard, _ = net.listen(net.east, 5000)
        net.send(b"z")
        self.assertEqual(net.run(), [b"z"])
        assert net.said.transport is not None
        net.west.crash()
        net.said.transport.write(b"of the dead", (net.east.address, 5000))
        self.assertEqual(net.run(), [b"z"])

    def test_ports_are_taken_once(self) -> None:
        net = Net()
        for interface in ("", "0.0.0.0", "127.0.0.1", net.east.address):
            self.assertRaises(CannotListenError, net.listen, net.east, 5000, interface)
        self.assertRaises(CannotListenError, net.listen, net.east, 5001, net.west.address)
        net.listen(net.east, 5002, "127.0.0.1")
        self.assertRaises(CannotListenError, net.listen, net.east, 5002)
        net.listen(net.east, 5002, net.east.address)
        ports = {net.listen(net.east)[1].getHost().port for _ in range(20)}
        self.assertEqual(len(ports), 20)

    def test_a_port_is_free_once_it_is_let_go(self) -> None:
        net = Net()
        stopping = net.port.stopListening()
        net.run()
        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual(net.heard.stopped, 1)
        self.assertIsNone(net.port.stopListening())
        self.assertIn("not listening", repr(net.port))
        net.listen(net.east, 5000)

    def test_too_long(self) -> None:
        net = Net()
        self.assertRaises(MessageLengthError, net.send, bytes(65_508))

    def test_a_protocol_that_fails_hears_the_next(self) -> None:
        net = Net()

        def fail(datagram: bytes, addr: Any) -> None:
            raise ZeroDivisionError

        net.heard.datagramReceived = fail  # type: ignore[method-assign]
        net.send(b"x")
        net.send(b"y")
        net.run()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
