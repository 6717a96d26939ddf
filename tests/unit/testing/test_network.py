"""Bytes, back-pressure and the ends of connections, where nothing is wrong with the network."""

import random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.interfaces import IListeningPort, IReactorTCP, ISystemHandle, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.unit.testing.rig import HalfCloseable, Producer, Recorder, Rig

KIB = 1024


class BytesTests(SynchronousTestCase):
    def test_every_byte_in_order(self) -> None:
        """Whatever the cutting, in both directions at once, over a hundred seeds."""
        shapes = set()
        for seed in range(100):
            dice = random.Random(-seed - 1)
            rig = Rig(seed, window_bytes=dice.choice((1, 100, 5000, 65536)))
            client, server = rig.pair()
            sent: dict[Any, bytes] = {client: b"", server: b""}
            for _ in range(20):
                writer = dice.choice((client, server))
                data = dice.randbytes(dice.choice((1, 10, 300)))
                sent[writer] += data
                if dice.random() < 0.5:
                    writer.transport.write(data)
                else:
                    writer.transport.writeSequence([data[:1], data[1:]])
                if dice.random() < 0.5:
                    rig.settle(0.001)
            rig.settle(30)
            self.assertEqual(bytes(server.received), sent[client], seed)
            self.assertEqual(bytes(client.received), sent[server], seed)
            shapes.add((len(server.pieces), len(client.pieces)))
        self.assertGreater(len(shapes), 50, "writes are cut in different places")

    def test_cut_and_coalesced(self) -> None:
        """One write comes in several pieces, several writes come in one."""
        rig = Rig()
        client, server = rig.pair()
        for _ in range(100):
            client.transport.write(b"0123456789")
            rig.settle(0.0005)
        rig.settle()
        self.assertTrue(any(len(piece) < 10 for piece in server.pieces))
        self.assertTrue(any(len(piece) > 10 for piece in server.pieces))

    def test_each_byte_alone(self) -> None:
        """With `piece_bytes_max=1`, for parsers that are to be tried with every cut."""
        rig = Rig(piece_bytes_max=1)
        client, server = rig.pair()
        client.transport.write(b"hello")
        rig.settle()
        self.assertEqual(server.pieces, [b"h", b"e", b"l", b"l", b"o"])

    def test_takes_its_time(self) -> None:
        """A byte travels for the delay given, and is not there before."""
        rig = Rig(delay_s=(0.5, 0.5))
        client, server = rig.pair()
        client.transport.write(b"x")
        rig.settle(0.499)
        self.assertEqual(server.received, b"")
        rig.settle(0.003)
        self.assertEqual(server.received, b"x")

    def test_a_path_with_a_limit_takes_its_time(self) -> None:
        rig = Rig(delay_s=(0.5, 0.5))
        (client, server), (other, served) = rig.pair(), rig.pair()
        rig.network.limit("east", "west", 10_000)
        began = rig.clock.seconds()
        client.transport.write(b"x" * 20_000)
        other.transport.write(b"y" * 20_000)
        server.transport.write(b"z" * 1_000)
        rig.clock.run(0.7)
        self.assertEqual(len(client.received), 1_000, "each way has its own")
        rig.clock.run_until(lambda: len(server.received) + len(served.received) == 40_000, 60)
        self.assertLess(abs(rig.clock.seconds() - began - 4.5), 0.1)
        rig.network.limit("west", "east", None)
        client.transport.write(b"x" * 20_000)
        self.assertLess(rig.clock.run_until(lambda: len(server.received) == 40_000, 60), 0.6)

    def test_same_seed_same_run(self) -> None:
        """And another seed another one."""

        def trace(seed: int) -> list[str]:
            rig = Rig(seed)
            client, server = rig.pair()
            for number in range(50):
                client.transport.write(b"x" * number)
                server.transport.write(b"y" * number)
                rig.settle(0.001)
            rig.network.cut("east", "west")
            client.transport.write(b"z")
            rig.settle()
            rig.network.heal_all()
            rig.settle()
            return [str(event) for event in rig.network.trace]

        self.assertEqual(trace(7), trace(7))
        self.assertNotEqual(trace(7), trace(8))
        self.assertIn("cut", "".join(trace(7)))

    def test_trace_has_a_ceiling(self) -> None:
        rig = Rig(trace_events_max=5)
        rig.pair()
        for _ in range(10):
            rig.network.cut("east", "west")
        self.assertEqual(len(rig.network.trace), 5)
        self.assertEqual(len(rig.network.describe_trace(3).splitlines()), 3)


class BackPressureTests(SynchronousTestCase):
    def test_push_producer(self) -> None:
        """Paused with more than 64 KiB unsent, resumed when all of it is gone, not before."""
        rig = Rig()
        client, server = rig.pair()
        producer = Producer()
        client.transport.registerProducer(producer, True)
        rig.network.cut("east", "west")
        client.transport.write(b"x" * 64 * KIB)
        self.assertEqual(producer.calls, [])
        client.transport.write(b"x")
        self.assertEqual(producer.calls, ["pause"])
        rig.settle(10)
        self.assertEqual(producer.calls, ["pause"])
        rig.network.heal("east", "west")
        rig.settle()
        self.assertEqual(producer.calls, ["pause", "resume"])
        self.assertEqual(len(server.received), 64 * KIB + 1)

    def test_reader_that_pauses(self) -> None:
        """Its kernel takes what the window holds, and the sender's buffer fills after that."""
        rig = Rig(window_bytes=10_000)
        client, server = rig.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 100_000)
        rig.settle()
        self.assertEqual(server.received, b"")
        self.assertEqual(len(client.transport.dataBuffer) - client.transport.offset, 90_000)
        server.transport.resumeProducing()
        rig.settle()
        self.assertEqual(len(server.received), 100_000)

    def test_memory_is_bounded(self) -> None:
        """An obedient producer has on the way what its transport's buffer and the kernels hold, and a write."""
        rig = Rig(window_bytes=20_000, send_buffer_bytes=(5_000, 5_000))
        client, server = rig.pair()
        server.transport.pauseProducing()
        written = 0

        class Obedient(Producer):
            def resumeProducing(self) -> None:
                nonlocal written
                self.calls.append("resume")
                while self.calls[-1] != "pause":
                    written += 1000
                    client.transport.write(b"x" * 1000)

        producer = Obedient()
        client.transport.registerProducer(producer, True)
        producer.resumeProducing()
        rig.settle(60)
        under_way_max = 64 * KIB + 1000 + 20_000 + 5_000
        self.assertLessEqual(written, under_way_max)
        for _ in range(200):
            server.transport.resumeProducing()
            rig.settle(0.01)
            server.transport.pauseProducing()
            self.assertLessEqual(written - len(server.received), under_way_max)
        self.assertGreater(written, 10 * under_way_max)

    def test_pull_producer(self) -> None:
        """Asked once at once, and again whenever the buffer is empty."""
        rig = Rig()
        client, server = rig.pair()
        producer = Producer(client.transport, chunks=5)
        client.transport.registerProducer(producer, False)
        self.assertEqual(producer.calls, ["resume"])
        rig.settle()
        self.assertEqual(len(server.received), 5000)
        self.assertEqual(producer.calls, ["resume"] * 6)
        client.transport.unregisterProducer()
        client.transport.write(b"x")
        rig.settle()
        self.assertEqual(producer.calls, ["resume"] * 6)

    def test_drained_by_a_direct_sender(self) -> None:
        """A push producer that was not paused is not resumed."""
        rig = Rig()
        client, _ = rig.pair()
        producer = Producer()
        client.transport.registerProducer(producer, True)
        client.transport.write(b"x" * 1000)
        rig.settle()
        self.assertEqual(producer.calls, [])

    def test_producer_is_stopped(self) -> None:
        """With the connection; and one that comes too late at once."""
        rig = Rig()
        client, server = rig.pair()
        producer, late = Producer(), Producer()
        client.transport.registerProducer(producer, True)
        self.assertRaises(RuntimeError, client.transport.registerProducer, late, True)
        server.transport.loseConnection()
        rig.settle()
        self.assertEqual(producer.calls, ["stop"])
        client.transport.registerProducer(late, True)
        self.assertEqual(late.calls, ["stop"])

    def test_nothing_read_while_paused(self) -> None:
        """Neither bytes nor the end: a transport that does not read does not notice."""
        rig = Rig()
        client, server = rig.pair()
        client.transport.pauseProducing()
        server.transport.write(b"bye")
        server.transport.loseConnection()
        rig.settle()
        self.assertEqual((client.received, client.lost), (b"", []))
        client.transport.resumeProducing()
        rig.settle()
        self.assertEqual((client.received, client.lost), (b"bye", [ConnectionDone]))


class EndsTests(SynchronousTestCase):
    def test_lose_connection(self) -> None:
        """What was written arrives first; both hear a clean end, once."""
        for seed in range(20):
            rig = Rig(seed)
            client, server = rig.pair()
            client.transport.write(b"x" * 200_000)
            client.transport.loseConnection()
            client.transport.loseConnection()
            self.assertEqual(client.lost, [])
            rig.settle()
            self.assertEqual(len(server.received), 200_000)
            self.assertEqual((client.lost, server.lost), ([ConnectionDone], [ConnectionDone]))
            client.transport.write(b"more")
            rig.settle()
            self.assertEqual(len(server.received), 200_000)

    def test_nothing_is_read_after_lose_connection(self) -> None:
        """The closing side is deaf at once."""
        rig = Rig()
        client, server = rig.pair()
        client.transport.loseConnection()
        server.transport.write(b"x")
        rig.settle()
        self.assertEqual(client.received, b"")
        self.assertEqual(client.lost, [ConnectionDone])

    def test_lose_connection_waits_for_a_producer(self) -> None:
        """Until it is unregistered."""
        rig = Rig()
        client, server = rig.pair()
        producer = Producer(client.transport, chunks=3)
        client.transport.registerProducer(producer, False)
        client.transport.loseConnection()
        rig.settle(60)
        self.assertEqual((client.lost, server.lost), ([], []))
        self.assertEqual(len(server.received), 3000)
        client.transport.unregisterProducer()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], [ConnectionDone]))

    def test_lose_connection_waits_for_the_buffer(self) -> None:
        """A peer that does not read keeps the connection open; an abort ends it."""
        rig = Rig(window_bytes=1000)
        client, server = rig.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 1001)
        client.transport.loseConnection()
        rig.settle(600)
        self.assertEqual(client.lost, [])
        client.transport.abortConnection()
        rig.settle()
        self.assertEqual(client.lost, [ConnectionAborted])

    def test_abort(self) -> None:
        """What was written is thrown away; the other side hears that the connection is lost."""
        rig = Rig()
        client, server = rig.pair()
        producer = Producer()
        client.transport.registerProducer(producer, True)
        client.transport.write(b"x" * 1000)
        client.transport.abortConnection()
        client.transport.abortConnection()
        self.assertEqual(client.lost, [], "not before the call returns")
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([ConnectionAborted], [ConnectionLost]))
        self.assertEqual(server.received, b"")
        self.assertEqual(producer.calls, ["stop"])

    def test_abort_in_the_middle_of_data(self) -> None:
        """Nothing is delivered after it, though it lies there."""

        class Aborting(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.abortConnection()

        rig = Rig(protocol=Aborting, piece_bytes_max=1)
        client, server = rig.pair()
        client.transport.write(b"xxxxx")
        rig.settle()
        self.assertEqual((server.received, server.lost), (b"x", [ConnectionAborted]))

    def test_write_to_somebody_gone(self) -> None:
        """Bytes for a closed socket are answered with a reset, and who writes again loses the connection."""
        rig = Rig()
        client, server = rig.pair()
        client.transport.pauseProducing()
        server.transport.loseConnection()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([], [ConnectionDone]))
        client.transport.write(b"x")
        rig.settle()
        self.assertEqual(client.lost, [])
        client.transport.write(b"x")
        rig.settle()
        self.assertEqual(client.lost, [ConnectionLost])

    def test_closing_with_bytes_unread(self) -> None:
        """The kernel sends what it had, the end and a reset: the other side may read, and not write once."""
        for unread, lost in ((b"x", [ConnectionLost]), (b"", [])):
            rig = Rig(protocol=HalfCloseable)
            client, server = rig.pair()
            server.transport.pauseProducing()
            client.transport.write(unread)
            rig.settle()
            server.transport.write(b"last")
            server.transport.loseConnection()
            rig.settle()
            self.assertEqual((client.received, client.half, client.lost), (b"last", ["read"], []))
            self.assertEqual(server.lost, [ConnectionDone])
            client.transport.write(b"x")
            rig.settle()
            self.assertEqual(client.lost, lost)

    def test_kernels_forget_what_is_over(self) -> None:
        """However it came to an end, and whoever ended it first."""
        for seed in range(40):
            dice = random.Random(seed)
            rig = Rig(seed, protocol=HalfCloseable, send_buffer_bytes=(0, 2000), window_bytes=500)
            client, server = rig.pair()
            ends = [(client, server), (server, client)][seed % 2]
            for side in ends:
                side.transport.write(b"x" * dice.choice((0, 100, 1500)))
                if dice.random() < 0.5:
                    rig.settle(0.5)
                if dice.random() < 0.5:
                    side.transport.abortConnection()
                else:
                    if dice.random() < 0.5:
                        rig.network.cut("east", "west")
                    side.transport.loseConnection()
                rig.settle(dice.choice((0.001, 1)))
                rig.network.heal_all()
            rig.settle(5)
            for side in ends:
                side.transport.write(b"x")
            rig.settle(5)
            self.assertEqual((len(client.lost), len(server.lost)), (1, 1), seed)
            self.assertFalse(rig.east.sockets or rig.west.sockets, seed)

    def test_closing_what_the_other_side_has_half_closed(self) -> None:
        """What the kernel took still goes out; then nobody knows the connection any more."""
        rig = Rig(protocol=HalfCloseable, send_buffer_bytes=(2000, 2000), window_bytes=500)
        client, server = rig.pair()
        client.transport.loseWriteConnection()
        rig.settle()
        server.transport.write(b"x" * 1500)
        server.transport.loseConnection()
        rig.settle()
        self.assertEqual((len(client.received), client.half), (1500, ["write", "read"]))
        client.transport.loseConnection()
        rig.settle()
        self.assertFalse(rig.east.sockets or rig.west.sockets)

    def test_half_close(self) -> None:
        """One side says that it has said everything; the other goes on, and then ends the whole."""
        rig = Rig(protocol=HalfCloseable)
        client, server = rig.pair()
        client.transport.write(b"x" * 100_000)
        client.transport.loseWriteConnection()
        self.assertEqual(client.half, [])
        rig.settle()
        self.assertEqual((client.half, server.half), (["write"], ["read"]))
        self.assertEqual((client.lost, server.lost), ([], []))
        self.assertEqual(len(server.received), 100_000)
        client.transport.write(b"not sent")
        server.transport.write(b"answer")
        rig.settle()
        self.assertEqual((client.received, len(server.received)), (b"answer", 100_000))
        server.transport.loseConnection()
        rig.settle()
        self.assertEqual(client.half, ["write", "read"])
        self.assertEqual(server.lost, [ConnectionDone])
        client.transport.loseConnection()
        rig.settle()
        self.assertEqual(client.lost, [ConnectionDone])

    def test_half_close_without_interest(self) -> None:
        """For a protocol that knows no half-closed connections it is the end."""
        rig = Rig()
        client, server = rig.pair()
        client.transport.write(b"x")
        client.transport.loseWriteConnection()
        rig.settle()
        self.assertEqual((server.received, server.lost), (b"x", [ConnectionDone]))
        self.assertEqual(client.lost, [ConnectionDone])

    def test_protocol_that_raises(self) -> None:
        """It is logged, the connection ends with it, and others are untouched."""

        class Raising(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise KeyError(data)

        rig = Rig()
        other, _ = rig.pair()
        rig.protocol = Raising
        client, server = rig.pair()
        client.transport.write(b"x")
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], [KeyError]))
        self.assertEqual(other.lost, [])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_half_close_that_raises(self) -> None:
        """It is logged, and that connection ends; here both sides raise."""

        class Raising(HalfCloseable):
            def readConnectionLost(self) -> None:
                raise KeyError

        rig = Rig(protocol=Raising)
        client, server = rig.pair()
        client.transport.loseWriteConnection()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([KeyError], [KeyError]))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)


class ConnectTests(SynchronousTestCase):
    def test_transport(self) -> None:
        """It is a TCP transport, has addresses, and no file descriptor."""
        rig = Rig()
        client, server = rig.pair()
        for transport in (client.transport, server.transport):
            verifyObject(ITCPTransport, transport)
            self.assertFalse(hasattr(transport, "getHandle"))
            self.assertFalse(ISystemHandle.providedBy(transport))
            self.assertFalse(transport.getTcpNoDelay())
            transport.setTcpNoDelay(True)
            self.assertTrue(transport.getTcpNoDelay())
            self.assertFalse(transport.getTcpKeepAlive())
            transport.setTcpKeepAlive(1)
            self.assertTrue(transport.getTcpKeepAlive())
        self.assertEqual(client.transport.getPeer(), IPv4Address("TCP", rig.east.address, 4444))
        self.assertEqual(server.transport.getHost(), client.transport.getPeer())
        self.assertEqual(server.transport.getPeer(), client.transport.getHost())
        self.assertEqual(client.transport.getHost().host, rig.west.address)
        self.assertNotEqual(rig.east.address, rig.west.address)

    def test_reactor(self) -> None:
        verifyObject(IReactorTCP, Rig().east.reactor)

    def test_both_forms_of_a_client_string(self) -> None:
        """By position and by name, by the host's name and its address."""
        rig = Rig()
        targets = ("tcp:east:4444", "tcp:host=east:port=4444", f"tcp:{rig.east.address}:4444")
        for made, target in enumerate(targets, 1):
            self.assertNoResult(dialing := rig.dial(target=target))
            rig.settle()
            self.assertEqual(self.successResultOf(dialing).made, 1)
            self.assertEqual(len(rig.served), made)

    def test_refused(self) -> None:
        """Nobody listens there; it takes the way there and back to learn it."""
        rig = Rig(delay_s=(0.1, 0.1))
        dialing = rig.dial(target="tcp:east:5555")
        rig.settle(0.19)
        self.assertNoResult(dialing)
        rig.settle(0.02)
        self.failureResultOf(dialing, ConnectionRefusedError)

    def test_unknown_host(self) -> None:
        rig = Rig()
        dialing = rig.dial(target="tcp:nowhere:4444")
        rig.settle(0)
        self.failureResultOf(dialing, DNSLookupError)

    def test_cancel(self) -> None:
        """An attempt given up comes to nothing, at once and later."""
        for after_s in (0.0, 0.05, 0.15):
            rig = Rig(delay_s=(0.1, 0.1))
            dialing = rig.dial()
            rig.settle(after_s)
            dialing.cancel()
            self.failureResultOf(dialing, ConnectingCancelledError)
            rig.settle()
            self.assertTrue(all(server.lost for server in rig.served))
            self.assertEqual(list(rig.west.clock.getDelayedCalls()), [])
            self.assertFalse(rig.east.sockets or rig.west.sockets)

    def test_localhost(self) -> None:
        """A port bound to 127.0.0.1 is there for its own host only."""
        rig = Rig()
        factory = Factory.forProtocol(rig._serving)
        listening = rig.east.world().server("tcp:4445:interface=127.0.0.1").listen(factory)
        port = self.successResultOf(listening)
        self.assertEqual(port.getHost(), IPv4Address("TCP", "127.0.0.1", 4445))
        outside = rig.dial(target="tcp:east:4445")
        inside = rig.dial(host=rig.east, target="tcp:127.0.0.1:4445")
        named = rig.dial(host=rig.east, target="tcp:localhost:4445")
        rig.network.isolate("east")
        rig.settle(0)
        rig.network.heal_all()
        rig.settle()
        self.failureResultOf(outside, ConnectionRefusedError)
        self.assertEqual(self.successResultOf(inside).transport.getHost().host, "127.0.0.1")
        self.assertEqual(self.successResultOf(named).made, 1)

    def test_port(self) -> None:
        """A port is taken once, any free one on request, and free again after it was closed."""
        rig = Rig()
        reactor = rig.east.reactor
        factory = Factory.forProtocol(Recorder)
        self.assertRaises(CannotListenError, reactor.listenTCP, 4444, factory)
        self.assertRaises(CannotListenError, reactor.listenTCP, 4444, factory, interface="127.0.0.1")
        first = reactor.listenTCP(5555, factory, interface="127.0.0.1")
        verifyObject(IListeningPort, first)
        second = reactor.listenTCP(5555, factory, interface=rig.east.address)
        anywhere = reactor.listenTCP(0, factory)
        self.assertGreater(anywhere.getHost().port, 1024)
        stopped = first.stopListening()
        self.assertNoResult(stopped)
        rig.settle(0)
        self.successResultOf(stopped)
        self.assertEqual(first.stopListening(), None)
        reactor.listenTCP(5555, factory, interface="127.0.0.1")
        self.assertIn("5555", repr(second))

    def test_closed_port(self) -> None:
        """Who is on the way to it is refused or reset; who has come stays."""
        rig = Rig(delay_s=(0.1, 0.1))
        stayed, _ = rig.pair()
        port = next(iter(rig.east.reactor.getReaders()))
        late = rig.dial()
        rig.settle(0.15)
        port.stopListening()  # type: ignore[attr-defined]
        rig.settle()
        self.assertEqual(self.successResultOf(late).lost, [ConnectionLost])
        self.failureResultOf(self.dialled(rig), ConnectionRefusedError)
        self.assertEqual(stayed.lost, [])

    def dialled(self, rig: Rig) -> Any:
        dialing = rig.dial()
        rig.settle()
        return dialing

    def test_factory_that_refuses(self) -> None:
        """No protocol, or an error: the connection ends, and the port goes on."""
        rig = Rig()
        answers: list[Any] = [None, KeyError("no"), Recorder()]

        class Refusing(Factory):
            def buildProtocol(self, addr: object) -> Any:
                answer = answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer

        rig.east.reactor.listenTCP(5555, Refusing())
        first, second, third = (self.dialled_to(rig, 5555) for _ in range(3))
        self.assertEqual(first.lost, [ConnectionDone])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual((second.made, third.made, third.lost), (1, 1, []))

    def dialled_to(self, rig: Rig, port: int) -> Any:
        dialing = rig.dial(target=f"tcp:east:{port}")
        rig.settle()
        return self.successResultOf(dialing)

    def test_no_client_protocol(self) -> None:
        """A connection for which the client has no protocol is closed."""
        rig = Rig()

        class Nothing(Factory):
            def buildProtocol(self, addr: object) -> None:
                return None

        dialing = rig.west.world().client("tcp:east:4444").connect(Nothing())
        rig.settle()
        self.failureResultOf(dialing)
        self.assertEqual(rig.served[0].lost, [ConnectionDone])
