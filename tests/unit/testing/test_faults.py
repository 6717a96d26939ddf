"""What goes wrong: cuts, crashes, pauses, resets; and plans of them."""

import random
from functools import partial
from typing import Any

from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from chatproto.testing import FaultPlan, SimClock, SimHost, SimNetwork, Struck
from tests.unit.testing.rig import HalfCloseable, Producer, Recorder, Rig


class CutTests(SynchronousTestCase):
    def test_bytes_arrive_after_healing(self) -> None:
        """All that was written in a cut, in order, and nobody is told of the cut."""
        for seed in range(30):
            rig = Rig(seed, send_buffer_bytes=(0, 10_000))
            client, server = rig.pair()
            client.transport.write(b"before ")
            rig.settle(random.Random(seed).uniform(0, 0.003))
            rig.network.cut("west", "east")
            client.transport.write(b"during ")
            server.transport.write(b"answer")
            rig.settle(300)
            self.assertNotIn(b"during", server.received)
            self.assertEqual(client.received, b"")
            rig.network.heal("east", "west")
            client.transport.write(b"after")
            rig.settle()
            self.assertEqual((server.received, client.received), (b"before during after", b"answer"), seed)
            self.assertEqual((client.lost, server.lost), ([], []))

    def test_healing_is_noticed_at_the_next_retransmission(self) -> None:
        """Not at the moment of healing."""
        rig = Rig(retransmit_s=(1, 1))
        client, server = rig.pair()
        client.transport.write(b"x")
        rig.settle(0.00015)
        rig.network.cut("east", "west")
        rig.settle(1)
        rig.network.heal_all()
        rig.settle(0.9)
        self.assertEqual(server.received, b"")
        rig.settle(0.2)
        self.assertEqual(server.received, b"x")

    def test_what_is_under_way_is_held_up(self) -> None:
        """A cut stops what has left but not arrived."""
        rig = Rig(delay_s=(0.1, 0.1))
        client, server = rig.pair()
        client.transport.write(b"x")
        rig.settle(0.05)
        rig.network.cut("east", "west")
        rig.settle(10)
        self.assertEqual(server.received, b"")
        rig.network.heal_all()
        rig.settle()
        self.assertEqual(server.received, b"x")

    def test_one_way(self) -> None:
        """From east to west nothing passes; the other way it does, as far as the window goes."""
        rig = Rig(window_bytes=10_000)
        client, server = rig.pair()
        rig.network.cut_one_way("east", "west")
        server.transport.write(b"held up")
        client.transport.write(b"x" * 30_000)
        rig.settle(60)
        self.assertEqual(client.received, b"")
        self.assertEqual(len(server.received), 10_000)
        rig.network.heal("west", "east")
        rig.settle()
        self.assertEqual(client.received, b"held up")
        self.assertEqual(len(server.received), 30_000)

    def test_connect_in_a_cut(self) -> None:
        """Nothing, until the connect timeout; or the connection, if it heals before."""
        rig = Rig()
        rig.network.cut("east", "west")
        dialing, patient = rig.dial(timeout=5), rig.dial(timeout=60)
        rig.settle(4.9)
        self.assertNoResult(dialing)
        rig.settle(0.2)
        self.failureResultOf(dialing, TimeoutError)
        rig.network.heal("east", "west")
        rig.settle()
        self.assertEqual(self.successResultOf(patient).made, 1)
        self.assertEqual(len(rig.served), 1)

    def test_connect_one_way(self) -> None:
        """A request that arrives and whose answer does not: no side has a connection."""
        rig = Rig()
        rig.network.cut_one_way("east", "west")
        dialing = rig.dial(timeout=5)
        rig.settle(10)
        self.failureResultOf(dialing, TimeoutError)
        self.assertEqual(rig.served, [])
        rig.network.heal_all()
        rig.settle()
        self.assertEqual(rig.served, [])
        self.assertFalse(rig.east.sockets or rig.west.sockets)

    def test_lose_connection_in_a_cut(self) -> None:
        """Does not finish, however long one waits, and does once the cut heals."""
        rig = Rig()
        client, server = rig.pair()
        rig.network.cut("east", "west")
        client.transport.write(b"x")
        client.transport.loseConnection()
        server.transport.loseConnection()
        rig.settle(3600)
        self.assertEqual((client.lost, server.lost), ([], []))
        rig.network.heal_all()
        rig.settle()
        self.assertEqual(len(client.lost), 1)
        self.assertEqual(len(server.lost), 1)

    def test_lose_connection_in_a_cut_with_a_send_buffer(self) -> None:
        """A kernel that takes the bytes lets the process go, and delivers them long after."""
        rig = Rig(send_buffer_bytes=(1000, 1000))
        client, server = rig.pair()
        rig.network.cut("east", "west")
        client.transport.write(b"x" * 1000)
        client.transport.loseConnection()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], []))
        rig.settle(100)
        rig.network.heal_all()
        rig.settle()
        self.assertEqual((len(server.received), server.lost), (1000, [ConnectionDone]))

    def test_abort_in_a_cut(self) -> None:
        """Ends at once on this side; the other keeps half a connection until it writes."""
        rig = Rig()
        client, server = rig.pair()
        rig.network.cut("east", "west")
        client.transport.write(b"never seen")
        client.transport.abortConnection()
        rig.settle(60)
        self.assertEqual((client.lost, server.lost), ([ConnectionAborted], []))
        rig.network.heal_all()
        rig.settle(600)
        self.assertEqual((server.received, server.lost), (b"", []))
        server.transport.write(b"are you there")
        rig.settle()
        self.assertEqual(server.lost, [ConnectionLost])

    def test_abort_after_bytes_were_held_up(self) -> None:
        """What a cut held up is not sent again for a connection that was aborted, nor is the news."""
        rig = Rig(delay_s=(0.1, 0.1))
        client, server = rig.pair()
        client.transport.write(b"held up")
        rig.settle(0.05)
        rig.network.cut("east", "west")
        rig.settle(1)
        client.transport.abortConnection()
        rig.settle(1)
        rig.network.heal_all()
        rig.settle(60)
        self.assertEqual((server.received, server.lost), (b"", []))

    def test_abort_before_a_cut(self) -> None:
        """What was under way when the cut came is lost, not repeated."""
        rig = Rig(delay_s=(0.1, 0.1))
        client, server = rig.pair()
        client.transport.write(b"under way")
        rig.settle(0.05)
        client.transport.abortConnection()
        rig.settle(0.01)
        rig.network.cut("east", "west")
        rig.settle(1)
        rig.network.heal_all()
        rig.settle(60)
        self.assertEqual((server.received, server.lost), (b"", []))

    def test_no_gap(self) -> None:
        """Where the first bytes are lost with an aborted connection, those after them are not delivered."""
        rig = Rig(delay_s=(0.1, 0.1))
        client, server = rig.pair()
        client.transport.write(b"first")
        rig.settle(0.08)
        client.transport.write(b"second")
        rig.settle(0.005)
        client.transport.abortConnection()
        rig.settle(0.005)
        rig.network.cut("east", "west")
        rig.settle(0.03)
        rig.network.heal_all()
        rig.settle()
        self.assertEqual((server.received, server.lost), (b"", [ConnectionLost]))

    def test_isolate(self) -> None:
        """From all, those made later included; the others still reach each other."""
        rig = Rig()
        rig.network.isolate("west")
        north = rig.network.host("north")
        south = rig.network.host("south")
        rig.network.cut("north", "south")
        lonely, well = rig.dial(timeout=5), rig.dial(host=north)
        west_port = rig.west.reactor.listenTCP(1, Factory.forProtocol(Recorder))
        to_west = rig.dial(host=south, target="tcp:west:1", timeout=5)
        rig.settle(6)
        self.failureResultOf(lonely, TimeoutError)
        self.failureResultOf(to_west, TimeoutError)
        self.assertEqual(self.successResultOf(well).made, 1)
        rig.network.rejoin("west")
        back, still_cut = rig.dial(), rig.dial(host=north, target="tcp:south:1", timeout=5)
        rig.settle(6)
        self.assertEqual(self.successResultOf(back).made, 1)
        self.failureResultOf(still_cut, TimeoutError)
        west_port.stopListening()

    def test_slow_path(self) -> None:
        """As slow as it is told, until it is told otherwise."""
        rig = Rig()
        client, server = rig.pair()
        rig.network.slow("west", "east", (5, 5))
        client.transport.write(b"x")
        rig.settle(4.9)
        self.assertEqual(server.received, b"")
        rig.settle(0.2)
        self.assertEqual(server.received, b"x")
        rig.network.slow("west", "east", None)
        server.transport.write(b"y")
        rig.settle(0.1)
        self.assertEqual(client.received, b"y")

    def test_unknown_host(self) -> None:
        """A misspelt name is an error, not a cut that never was."""
        network = Rig().network
        for call in (network.cut, network.cut_one_way, network.heal):
            self.assertRaises(KeyError, call, "east", "wets")
        self.assertRaises(KeyError, network.isolate, "wets")


class CrashTests(SynchronousTestCase):
    def test_peers_hear_of_it(self) -> None:
        """A reset, or the end of the stream."""
        for leaves, reason in (("reset", ConnectionLost), ("close", ConnectionDone)):
            rig = Rig()
            client, server = rig.pair()
            rig.east.crash(leaves)  # type: ignore[arg-type]
            rig.settle()
            self.assertEqual((client.lost, server.lost), ([reason], []))

    def test_late_if_cut(self) -> None:
        """Nothing while the path is cut, and then the same."""
        for leaves, reason in (("reset", ConnectionLost), ("close", ConnectionDone)):
            rig = Rig()
            client, _ = rig.pair()
            rig.network.cut("east", "west")
            rig.east.crash(leaves)  # type: ignore[arg-type]
            rig.settle(600)
            self.assertEqual(client.lost, [])
            rig.network.heal_all()
            rig.settle()
            self.assertEqual(client.lost, [reason])

    def test_nothing_is_called_again(self) -> None:
        """No timer, no protocol, no producer, no answer to an attempt; not in its next life either."""
        rig = Rig(delay_s=(0.1, 0.1))
        client, server = rig.pair()
        heard: list[str] = []
        producer = Producer()
        server.transport.registerProducer(producer, True)
        server.transport.write(b"x" * 100_000)
        calls = list(producer.calls)
        rig.east.clock.callLater(1, heard.append, "timer")
        rig.west.reactor.listenTCP(1, Factory.forProtocol(Recorder))
        rig.dial(host=rig.east, target="tcp:west:1").addBoth(lambda _: heard.append("attempt"))
        client.transport.write(b"x")
        rig.settle(0.05)
        rig.east.crash()
        rig.settle(5)
        rig.east.boot()
        rig.settle(60)
        self.assertEqual((heard, server.received, server.lost), ([], b"", []))
        self.assertEqual(producer.calls, calls)

    def test_in_the_middle_of_its_own_doing(self) -> None:
        """A process that ends in dataReceived hears nothing after it, and nobody hears what it says then."""

        class Ending(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                rig.east.world().fatal("disk is broken")
                self.transport.write(b"never said")
                self.transport.loseConnection()
                rig.east.reactor.callLater(0, self.pieces.append, b"never")
                rig.east.reactor.listenTCP(5555, Factory())

        rig = Rig(piece_bytes_max=1)
        other, _ = rig.pair()
        rig.protocol = Ending
        client, server = rig.pair()
        client.transport.write(b"xyz")
        rig.settle()
        self.assertEqual((server.pieces, server.lost), ([b"x"], []))
        self.assertEqual((client.received, client.lost), (b"", [ConnectionLost]))
        self.assertEqual(other.lost, [ConnectionLost])
        self.assertEqual(rig.east.last_words, ["disk is broken"])
        rig.east.boot()
        self.assertEqual(rig.east.reactor.getReaders(), [])
        rig.east.reactor.listenTCP(5555, Factory())

    def test_fatal_of_an_earlier_life(self) -> None:
        """Does not end the next one."""
        rig = Rig()
        old = rig.east.world()
        rig.east.crash()
        rig.east.boot()
        old.fatal("late")
        self.assertTrue(rig.east.alive)

    def test_bytes_under_way_are_lost(self) -> None:
        """What is on its way to a crashed host, or held by its sockets, is not delivered to its next life."""
        rig = Rig(delay_s=(0.1, 0.1))
        client, server = rig.pair()
        client.transport.write(b"x")
        rig.settle(0.05)
        rig.east.crash()
        rig.east.boot()
        rig.serve()
        rig.settle()
        self.assertEqual((server.received, client.lost), (b"", [ConnectionLost]))

    def test_what_waited_in_a_cut_is_lost(self) -> None:
        """The bytes of a crashed host do not arrive after healing; the news does."""
        rig = Rig(send_buffer_bytes=(1000, 1000))
        client, server = rig.pair()
        rig.network.cut("east", "west")
        server.transport.write(b"x")
        rig.settle()
        rig.east.crash()
        rig.network.heal_all()
        rig.settle()
        self.assertEqual((client.received, client.lost), (b"", [ConnectionLost]))

    def test_refused_while_down(self) -> None:
        """The machine answers that nobody listens; after the boot somebody does."""
        rig = Rig()
        rig.east.crash()
        dialing = rig.dial()
        rig.settle()
        self.failureResultOf(dialing, ConnectionRefusedError)
        rig.east.boot()
        rig.serve()
        client, _ = rig.pair()
        self.assertEqual(client.made, 1)

    def test_without_power(self) -> None:
        """Attempts time out, connections stay half open, and who writes after the boot is reset."""
        rig = Rig()
        client, server = rig.pair()
        idle, _ = rig.pair()
        rig.east.crash("silence")
        dialing = rig.dial(timeout=5)
        client.transport.write(b"x")
        rig.settle(60)
        self.failureResultOf(dialing, TimeoutError)
        self.assertEqual((client.lost, idle.lost, server.received), ([], [], b""))
        rig.east.boot()
        rig.settle()
        self.assertEqual((client.lost, idle.lost), ([ConnectionLost], []))
        idle.transport.write(b"x")
        rig.settle()
        self.assertEqual(idle.lost, [ConnectionLost])

    def test_two_lives(self) -> None:
        """A program starts with each; the world of the first is dead in the second."""
        rig = Rig()
        started: list[tuple[int, Any]] = []

        def program(host: SimHost) -> None:
            started.append((host.lives, host.reactor))
            host.clock.callLater(10, started.append, (0, f"timer of life {host.lives}"))

        rig.west.runs(program)
        rig.settle(5)
        first = rig.west.clock
        rig.west.crash()
        self.assertFalse(rig.west.alive)
        self.assertIs(rig.west.clock, first)
        rig.settle(1)
        rig.west.boot()
        self.assertRaises(RuntimeError, rig.west.boot)
        rig.settle(60)
        (one, dead), (two, alive), timer = started
        self.assertEqual((one, two, timer), (1, 2, (0, "timer of life 2")))
        self.assertIsNot(dead, alive)
        self.assertIs(rig.west.reactor, alive)

    def test_worlds(self) -> None:
        """Each has its own dice, one clock and the wrong time of day."""
        rig = Rig()
        first, second = rig.east.world(), rig.east.world()
        self.assertNotEqual(first.dice.random(), second.dice.random())
        rig.settle(5)
        self.assertEqual(first.now(), rig.network.epoch + 5)
        rig.east.wall_error_s = -3600
        self.assertEqual(first.now(), rig.network.epoch - 3595)
        self.assertEqual(first.clock.seconds(), 5)
        ended: list[str] = []
        rig.east.world(fatal=ended.append).fatal("why")
        self.assertEqual((ended, rig.east.alive), (["why"], True))


class PauseTests(SynchronousTestCase):
    def test_kernel_goes_on(self) -> None:
        """It takes bytes up to the window, and connections; the process finds them later."""
        rig = Rig(window_bytes=1000)
        client, server = rig.pair()
        rig.east.pause()
        client.transport.write(b"x" * 5000)
        dialing = rig.dial()
        rig.settle(10)
        self.assertEqual(server.received, b"")
        self.assertEqual(len(client.transport.dataBuffer) - client.transport.offset, 4000)
        self.assertEqual(self.successResultOf(dialing).made, 1)
        self.assertEqual(len(rig.served), 1)
        rig.east.resume()
        rig.settle()
        self.assertEqual(len(server.received), 5000)
        self.assertEqual(len(rig.served), 2)

    def test_backlog(self) -> None:
        """Whoever finds it full waits for its turn, or for the connect timeout."""
        rig = Rig()
        rig.east.reactor.listenTCP(5555, Factory.forProtocol(rig._serving), backlog=2)
        rig.east.pause()
        early = [rig.dial(target="tcp:east:5555", timeout=5) for _ in range(2)]
        rig.settle()
        impatient = rig.dial(target="tcp:east:5555", timeout=5)
        patient = rig.dial(target="tcp:east:5555", timeout=60)
        rig.settle(10)
        self.assertEqual([self.successResultOf(dialing).made for dialing in early], [1, 1])
        self.failureResultOf(impatient, TimeoutError)
        self.assertNoResult(patient)
        rig.east.resume()
        rig.settle()
        self.assertEqual(self.successResultOf(patient).made, 1)
        self.assertEqual(len(rig.served), 3)

    def test_timers_and_reads_after_the_pause(self) -> None:
        """All timers or all reads come first, and over seeds both happen."""
        orders = set()
        for seed in range(20):
            rig = Rig(seed)
            client, server = rig.pair()
            order: list[str] = []
            server.dataReceived = lambda data, order=order: order.append("read")
            rig.east.pause()
            rig.east.clock.callLater(1, order.append, "timer")
            rig.east.clock.callLater(3, order.append, "timer")
            rig.settle(2)
            client.transport.write(b"x")
            rig.settle(10)
            self.assertEqual(order, [])
            rig.east.resume()
            rig.settle(0.1)
            orders.add(tuple(order))
        self.assertEqual(orders, {("read", "timer", "timer"), ("timer", "timer", "read")})

    def test_peers_hear_nothing(self) -> None:
        """A stopped process is like one that thinks: no connection ends for it."""
        rig = Rig()
        client, server = rig.pair()
        rig.east.pause()
        rig.settle(3600)
        self.assertEqual(client.lost, [])
        client.transport.loseConnection()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], []))
        rig.east.resume()
        rig.settle()
        self.assertEqual(server.lost, [ConnectionDone])

    def test_crash_of_a_paused_host(self) -> None:
        """It does not wake up for it, and its next life is not paused."""
        rig = Rig()
        client, server = rig.pair()
        heard: list[str] = []
        rig.east.pause()
        self.assertTrue(rig.east.paused)
        rig.east.clock.callLater(1, heard.append, "timer")
        client.transport.write(b"x")
        rig.settle()
        rig.east.crash()
        rig.east.resume()
        rig.settle()
        self.assertEqual((heard, server.received, client.lost), ([], b"", [ConnectionLost]))
        rig.east.boot()
        self.assertFalse(rig.east.paused)


class ResetTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """Both sides of every connection have heard of it when the call returns."""
        for seed in range(20):
            rig = Rig(seed)
            pairs = [rig.pair() for _ in range(3)]
            for client, server in pairs:
                client.transport.write(b"lost")
                server.transport.write(b"lost")
            rig.network.reset_all()
            for side in (side for pair in pairs for side in pair):
                self.assertEqual((side.received, side.lost), (b"", [ConnectionLost]))
            rig.settle(60)
            self.assertEqual({len(side.lost) for pair in pairs for side in pair}, {1})
            self.assertFalse(rig.east.sockets or rig.west.sockets)
            client, server = rig.pair()
            client.transport.write(b"again")
            rig.settle()
            self.assertEqual(server.received, b"again")

    def test_who_cannot_hear(self) -> None:
        """A paused process, and a transport that neither reads nor writes, hear of it when they look."""
        rig = Rig()
        client, server = rig.pair()
        client.transport.pauseProducing()
        rig.east.pause()
        rig.network.reset_all()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([], []))
        client.transport.resumeProducing()
        rig.east.resume()
        rig.settle()
        self.assertEqual((client.lost, server.lost), ([ConnectionLost], [ConnectionLost]))

    def test_half_closed(self) -> None:
        """A reset ends what is half closed, too."""
        rig = Rig(protocol=HalfCloseable)
        client, server = rig.pair()
        client.transport.loseWriteConnection()
        rig.settle()
        rig.network.reset_all()
        rig.settle()
        self.assertEqual(client.lost, [ConnectionLost])
        server.transport.write(b"x")
        rig.settle()
        self.assertEqual(server.lost, [ConnectionLost])


class Chatter:
    """A program that connects to every other host again and again, and counts what it does."""

    def __init__(self, host: SimHost, names: list[str], log: list[str]) -> None:
        self.host = host
        self.log = log
        host.reactor.listenTCP(1, Factory.forProtocol(Recorder))
        for name in names:
            if name != host.name:
                self.dial(name)

    def dial(self, name: str) -> None:
        factory = Factory.forProtocol(Recorder)
        factory.noisy = False
        dialing = self.host.world().client(f"tcp:{name}:1:timeout=1").connect(factory)
        dialing.addCallbacks(self.talk, lambda failure: self.again(name, failure.type.__name__), [name])

    def talk(self, protocol: Any, name: str) -> None:
        protocol.transport.write(b"hello")
        self.log.append(f"{self.host.clock.seconds():.9f} {self.host.name} {name}")
        self.host.clock.callLater(0.1, protocol.transport.loseConnection)
        self.host.clock.callLater(0.3, self.dial, name)

    def again(self, name: str, why: str) -> None:
        self.log.append(f"{self.host.clock.seconds():.9f} {self.host.name} {name} {why}")
        self.host.clock.callLater(0.3, self.dial, name)


class FaultPlanTests(SynchronousTestCase):
    names = ("a", "b", "c")

    def storm(self, seed: int, **options: Any) -> tuple[SimNetwork, FaultPlan, list[str]]:
        network = SimNetwork(SimClock(), random.Random(seed))
        log: list[str] = []
        for name in self.names:
            network.host(name)
        for host in network.hosts.values():
            host.runs(lambda host: Chatter(host, list(self.names), log))
        return network, FaultPlan(network, random.Random(-seed), **options), log

    def test_same_seed_same_storm(self) -> None:
        """Faults, what the programs did and the whole trace; another seed brings another storm."""

        def run(seed: int) -> tuple[list[str], list[str], list[str]]:
            network, plan, log = self.storm(seed)
            plan.rain(20)
            network.clock.run(25)
            return plan.done, log, [str(event) for event in network.trace]

        self.assertEqual(run(3), run(3))
        self.assertNotEqual(run(3), run(4))

    def test_everything_strikes_and_everything_heals(self) -> None:
        """In every storm the programs are hurt, and once it is over each reaches each."""
        kinds = set()
        for seed in range(20):
            network, plan, log = self.storm(seed)
            plan.rain(20)
            network.clock.run(20)
            kinds |= {line.split()[1] for line in plan.done}
            self.assertTrue(any("Error" in line for line in log), seed)
            self.assertTrue(plan.done[-1])
            self.assertTrue(all(host.alive and not host.paused for host in network.hosts.values()), seed)
            network.clock.run(3)
            log.clear()
            network.clock.run(2)
            reached = {tuple(line.split()[1:]) for line in log}
            self.assertEqual(reached, {(a, b) for a in self.names for b in self.names if a != b}, seed)
        self.assertEqual(kinds, {"crash", "pause", "cut", "isolation", "slow", "reset", "end", "heal"})

    def test_nothing_strikes_after_the_end(self) -> None:
        network, plan, _ = self.storm(1)
        plan.rain(10)
        network.clock.run(10)
        done = plan.describe()
        network.clock.run(60)
        self.assertEqual(plan.describe(), done)
        self.assertIn("heal all", done)

    def test_not_all_down(self) -> None:
        """With `down_max=1` no two hosts are dead at once; without, they are."""

        def most_down(**options: Any) -> int:
            network, plan, _ = self.storm(5, gap_s=(0.1, 0.3), **options)
            most = 0

            def count() -> None:
                nonlocal most
                most = max(most, sum(not host.alive for host in network.hosts.values()))

            plan.rain(30)
            network.clock.run(30, after_each=count)
            return most

        self.assertEqual(most_down(down_max=1), 1)
        self.assertGreater(most_down(), 1)

    def test_chosen_hosts_only(self) -> None:
        """Others are neither crashed nor paused nor cut from one another; from the chosen they are, both ways."""
        network, plan, _ = self.storm(6, hosts=["a"])
        cuts = set()

        def look() -> None:
            hosts = network.hosts
            cuts.update(one + two for one in hosts for two in hosts if not network.passes(hosts[one], hosts[two]))
            self.assertFalse(network.host("b").paused or network.host("c").paused)

        plan.rain(60)
        network.clock.run(60, after_each=look)
        self.assertEqual({network.host(name).lives for name in "bc"}, {1})
        self.assertGreater(network.host("a").lives, 1)
        self.assertEqual(cuts - {"aa"}, {"ab", "ac", "ba", "ca"})
        self.assertIn(" cut from a to ", plan.describe())
        self.assertIn(" to a", plan.describe())

    def test_one_host(self) -> None:
        """Where there is nobody to be cut off from, the rest of the faults strike."""
        network = SimNetwork(SimClock(), random.Random(0))
        network.host("a")
        plan = FaultPlan(network, random.Random(0))
        plan.rain(60)
        network.clock.run(60)
        self.assertIn("crash of a", plan.describe())
        self.assertNotIn("cut", plan.describe())

    def test_own_faults(self) -> None:
        """A plan strikes with what it is given, and ends it: in its time, or with the rain."""
        standing: list[int] = []
        most = number = 0

        def strike(plan: FaultPlan) -> Struck | None:
            nonlocal most, number
            number += 1
            if number % 3 == 0:
                return None
            standing.append(number)
            most = max(most, len(standing))
            return Struck("something", partial(standing.remove, number))

        network, plan, _ = self.storm(7, faults=[strike], lasting_s=(1, 100), gap_s=(0.1, 0.5))
        plan.rain(20)
        network.clock.run(19)
        self.assertTrue(standing)
        network.clock.run(1)
        self.assertEqual(standing, [])
        self.assertGreater(most, 2)
