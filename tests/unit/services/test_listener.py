import struct
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.gate import Gate, Limits
from chatproto.services.deafness import SO_ATTACH_FILTER
from chatproto.services.listener import (
    ACCEPTS_A_TURN_MAX,
    REFUSALS_AT_ONCE_MAX,
    REST_S,
    UNHEARD_AFTER,
    UNHEARD_MAX,
    UNHEARD_S,
    Listener,
)
from chatproto.tally import Tally


@implementer(IListeningPort)
class FakePort:
    def __init__(self) -> None:
        self.stopped: list[Deferred[None]] = []

    def startListening(self) -> None:
        raise NotImplementedError

    def stopListening(self) -> "Deferred[None]":
        self.stopped.append(Deferred())
        return self.stopped[-1]

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 4444)


@implementer(IStreamServerEndpoint)
class FakeEndpoint:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.factories: list[Any] = []

    def listen(self, factory: Any) -> Any:
        self.factories.append(factory)
        return self.answer


class ListenerTests(SynchronousTestCase):
    def make(self, answer: Any) -> Listener:
        self.failures: list[str] = []
        self.endpoint = FakeEndpoint(answer)
        self.factory = Factory()
        return Listener("tcp:4444", self.endpoint, self.factory, self.failures.append)

    def test_listens_while_it_runs(self) -> None:
        port = FakePort()
        listener = self.make(succeed(port))
        self.assertEqual((listener.port, self.endpoint.factories), (None, []))
        listener.startService()
        self.assertEqual((listener.port, self.endpoint.factories), (port, [self.factory]))
        self.assertIs(self.successResultOf(listener.ready), port)
        stopping = listener.stopService()
        assert stopping is not None
        self.assertNoResult(stopping)
        port.stopped[0].callback(None)
        self.successResultOf(stopping)
        self.assertEqual((listener.port, listener.running), (None, 0))

    def test_an_endpoint_that_takes_its_time(self) -> None:
        listening: Deferred[Any] = Deferred()
        listener = self.make(listening)
        listener.startService()
        self.assertNoResult(listener.ready)
        port = FakePort()
        listening.callback(port)
        self.assertIs(self.successResultOf(listener.ready), port)

    def test_a_busy_endpoint_is_told_with_its_reason(self) -> None:
        listener = self.make(fail(CannotListenError("127.0.0.1", 4444, OSError("in use"))))
        listener.startService()
        (reason,) = self.failures
        self.assertIn("tcp:4444", reason)
        self.assertIn("in use", reason)
        self.assertNoResult(listener.ready)
        self.assertIsNone(listener.stopService())

    def test_what_the_telling_raises_goes_to_whoever_starts_it(self) -> None:
        """`twistd` tells it to the operator."""
        listener = self.make(fail(CannotListenError("127.0.0.1", 4444, OSError("in use"))))

        def die(reason: str) -> None:
            raise SystemExit(reason)

        listener._failed = die
        self.assertRaises(SystemExit, listener.startService)

    def test_an_endpoint_that_refuses_later_is_told_too(self) -> None:
        listening: Deferred[Any] = Deferred()
        listener = self.make(listening)
        listener.startService()
        listening.errback(CannotListenError("127.0.0.1", 4444, OSError("in use")))
        self.assertEqual(len(self.failures), 1)


FLOODER = IPv4Address("TCP", "10.0.0.1", 5)


class FakeSocket:
    """Tells which of its addresses a listening socket is asked not to hear, and how much it has dropped."""

    def __init__(self) -> None:
        self.unheard: list[int] = []
        self.dropped = 7
        self.broken = False

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        if self.broken:
            raise OSError(92, "Protocol not available")
        self.unheard.append(struct.unpack_from("@H", value)[0] if option == SO_ATTACH_FILTER else 0)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack("@9I", *[0] * 8, self.dropped)


class PorchTests(SynchronousTestCase):
    """Before a port's factory, and its TLS, stands who knows how often somebody may come."""

    def setUp(self) -> None:
        self.tally = Tally()
        self.gate: Gate[Any] = Gate("client", self.tally, lambda: Limits(arrivals_a_second=2, arrivals_at_once=3))
        self.clock = MemoryReactorClock()  # type: ignore[no-untyped-call]
        self.factory = Factory.forProtocol(Protocol)
        self.factory.noisy = False
        self.factory.doStart()
        self.taken: list[int] = []
        self.waiting: list[IPv4Address] = []

        def take(port: Port) -> None:
            """Take in as many as may come, as Twisted does, and then more."""
            count = port.numberAccepts
            self.taken.append(count)
            for address in self.waiting[:count]:
                self.come(address)
            del self.waiting[:count]
            port.numberAccepts += 20

        self.patch(Port, "doRead", take)
        self.port = Port(0, self.factory, reactor=self.clock)
        listener = Listener("tcp:0", FakeEndpoint(succeed(self.port)), self.factory, self.fail, self.gate)
        self.socket = FakeSocket()
        self.port.socket = self.socket
        self.patch(self.port, "getHost", lambda: "there")
        listener.startService()
        self.port.connected = True
        self.port.startReading()

    def come(self, address: Any) -> bool:
        assert self.port.factory is not None
        return self.port.factory.buildProtocol(address) is not None

    def test_who_comes_too_often_is_refused_and_counted(self) -> None:
        self.assertEqual([self.come(FLOODER) for _ in range(5)], [True] * 3 + [False] * 2)
        self.assertTrue(self.come(IPv4Address("TCP", "10.0.0.2", 5)))
        self.clock.advance(0.5)
        self.assertEqual([self.come(FLOODER) for _ in range(2)], [True, False])
        self.assertEqual(self.tally.dropped, {("client", "too-often-from-address"): 3})

    def test_who_is_refused_all_the_time_is_not_heard_for_a_while(self) -> None:
        others = [IPv4Address("TCP", f"10.0.1.{number}", 5) for number in range(2)]
        for _ in range(3 + UNHEARD_AFTER - 1):
            self.come(FLOODER)
        self.clock.advance(0.1)
        self.assertEqual(self.socket.unheard, [])
        self.come(FLOODER)
        (one,) = self.socket.unheard
        for _ in range(3 + UNHEARD_AFTER):
            self.come(others[0])
        self.come(others[1])
        # A program for two addresses is longer than one for one.
        self.assertEqual(self.socket.unheard, [one, one + 2])
        self.socket.dropped += 40
        self.clock.advance(UNHEARD_S)
        self.assertEqual(self.socket.unheard, [one, one + 2, 0])
        refused = 2 * UNHEARD_AFTER
        counted = {("client", "too-often-from-address"): refused, ("client", "unheard"): 40}
        self.assertEqual(self.tally.dropped, counted)
        self.clock.advance(UNHEARD_S)
        self.assertEqual(self.socket.unheard, [one, one + 2, 0])

    def test_who_was_not_heard_may_not_come_as_often_as_it_might_have_meanwhile(self) -> None:
        for _ in range(3 + UNHEARD_AFTER):
            self.come(FLOODER)
        self.clock.advance(UNHEARD_S)
        self.assertFalse(self.come(FLOODER))
        self.clock.advance(0.5)
        self.assertEqual([self.come(FLOODER) for _ in range(2)], [True, False])

    def test_now_and_then_a_refusal_is_no_flood(self) -> None:
        for _ in range(3 * UNHEARD_AFTER):
            self.come(FLOODER)
            self.clock.advance(1.1 * UNHEARD_S / UNHEARD_AFTER)
        self.assertGreater(self.tally.dropped["client", "too-often-from-address"], UNHEARD_AFTER)
        self.assertEqual(self.socket.unheard, [])

    def test_no_more_than_so_many_are_not_heard(self) -> None:
        for number in range(UNHEARD_MAX + 1):
            for _ in range(3 + UNHEARD_AFTER):
                self.come(IPv4Address("TCP", f"10.0.1.{number}", 5))
        self.assertEqual(len(self.socket.unheard), UNHEARD_MAX)

    def test_where_the_system_hears_everybody_they_are_refused(self) -> None:
        self.socket.broken = True
        for _ in range(3 * UNHEARD_AFTER):
            self.come(FLOODER)
        self.socket.broken = False
        self.clock.advance(UNHEARD_S)
        for _ in range(3 * UNHEARD_AFTER):
            self.come(FLOODER)
        self.assertNotIn(1, map(bool, self.socket.unheard))

    def test_who_is_on_this_machine_comes_as_it_likes(self) -> None:
        self.assertTrue(all(self.come(UNIXAddress(b"")) for _ in range(10)))

    def test_a_flood_is_taken_in_little_by_little(self) -> None:
        for _ in range(3):
            self.port.doRead()
        self.assertEqual(self.taken, [ACCEPTS_A_TURN_MAX] * 3)

    def flood(self, count: int) -> None:
        """Have one address come more often than it may."""
        self.waiting = [FLOODER] * 3
        while self.waiting:
            self.port.doRead()
        self.taken.clear()
        self.waiting = [FLOODER] * count
        self.port.doRead()

    def reading(self) -> bool:
        return self.port in self.clock.getReaders()

    def test_a_port_rests_after_a_refusal(self) -> None:
        """The process sleeps now and then, however many come."""
        self.flood(1)
        self.assertFalse(self.reading())
        self.clock.advance(REST_S)
        self.assertTrue(self.reading())
        self.port.doRead()
        self.assertTrue(self.reading(), "nobody was refused this time")

    def test_of_whom_it_refuses_it_takes_more_at_once(self) -> None:
        """The slower they are refused, the longer is the kernel's queue of those who wait, newcomers among them."""
        self.flood(1000)
        self.assertEqual(self.taken, [2, 4, 8, 16, 32])
        self.assertEqual(self.taken[-1], REFUSALS_AT_ONCE_MAX)
        self.assertFalse(self.reading())

    def test_with_who_is_let_in_the_turn_is_over(self) -> None:
        self.flood(0)
        self.waiting = [FLOODER] * 2 + [IPv4Address("TCP", "10.0.0.2", 5)] + [FLOODER] * 20
        self.taken.clear()
        self.port.doRead()
        self.assertEqual(self.taken, [2, 4])
        self.assertFalse(self.reading())

    def test_a_port_that_is_closed_while_it_rests_stays_closed(self) -> None:
        self.flood(1)
        self.patch(self.port, "connectionLost", lambda reason: setattr(self.port, "connected", False))
        self.port.stopListening()  # type: ignore[no-untyped-call]
        self.clock.advance(REST_S)
        self.assertFalse(self.reading() or self.port.connected)

    def test_the_factory_hears_of_the_end(self) -> None:
        assert self.port.factory is not None
        self.port.factory.doStop()
        self.assertEqual(self.factory.numPorts, 0)
        self.port.factory.doStart()
        self.assertEqual(self.factory.numPorts, 1)
