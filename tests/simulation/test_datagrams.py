"""Free delivery on a simulated network that loses, repeats, reorders and damages datagrams."""

import random
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import ClientError, RegistryRefused
from chatproto.news.datagrams.asking import PullEnded
from chatproto.news.datagrams.door import LEASE_S
from chatproto.news.datagrams.outlet import DOOR, FreeOutlet
from chatproto.news.datagrams.reader import ATTRIBUTE, DatagramReader, NotFound, ReaderPort, finding, reached
from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.terms import Place
from chatproto.registry import Registration, RegistryClient
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import DatagramFaults, FaultPlan, SimClock, SimNetwork, SimProcess
from chatproto.testing.faults import crash, cut, cut_one_way, isolate, pause, slow_path
from tests.simulation.free import NODE_PORT, PULL, Reader, World, lossy
from tests.unit.news.datagrams.rig import TICKET, parcel_of, place_of, placement_of, terms_of

WEATHER = DatagramFaults(lost=0.1, repeated=0.1, damaged=0.05)


def pulled(world: World, reader: Reader, count: int = 50, seconds: float = 60.0) -> PullEnded:
    """Pull, and return how it ended."""
    ends: list[PullEnded] = []
    reader.reader.pull(count).addCallback(ends.append)
    world.network.clock.run_until(lambda: bool(ends), seconds)
    return ends[0]


class PushTests(SynchronousTestCase):
    def test_what_comes_is_there_at_once(self) -> None:
        world = World(1, readers=5)
        world.run(1)
        self.assertTrue(world.all_listen())
        for number, size in enumerate((0, 10, 1144, 5000, 100_000), 1):
            world.node.publish(number, size)
        world.run(1)
        for reader in world.readers:
            self.assertEqual(sorted(reader.got), [1, 2, 3, 4, 5])
            self.assertEqual(reader.reader.node, "node")
        delays = list(world.readers[0].got.values())
        self.assertTrue(all(1.5 < delay_s < 5.0 for delay_s in delays), delays)
        self.assertEqual(world.node.sent, {True: 25})
        self.assertEqual(world.node.outlet.items, 25)

    def test_a_tenth_of_all_datagrams_is_lost(self) -> None:
        """Small items mostly come, large ones mostly do not, and none is damaged (the reader of the test looks)."""
        small, large = 200, BODY_BYTES_MAX
        came = lossy(2, 0.1, {small: 200, large: 3})
        self.assertGreater(came[small][1], 150)
        self.assertLess(came[small][1], 200)
        self.assertEqual(came[large][1], 0)

    def test_nothing_is_lost_where_no_datagram_is(self) -> None:
        self.assertEqual(lossy(3, 0.0, {200: 20, BODY_BYTES_MAX: 2}), {200: (20, 20), BODY_BYTES_MAX: (2, 2)})

    def test_the_lease_is_kept_up_whatever_is_lost(self) -> None:
        world = World(4, readers=10, faults=DatagramFaults(lost=0.3))
        world.network.clock.run_until(world.all_listen, 60)
        for _ in range(10):
            world.run(60)
            self.assertTrue(world.all_listen())

    def test_a_reader_that_is_gone_is_sent_nothing_more(self) -> None:
        world = World(5, readers=2)
        world.run(1)
        world.readers[0].reader.stopService()
        world.network.isolate("host1")
        world.run(1)
        self.assertEqual(world.node.listeners, {"reader1"}, "one has taken leave")
        world.run(LEASE_S)
        self.assertEqual(world.node.listeners, set(), "and one was not heard of for long")
        self.assertFalse(world.node.outlet.send("reader1", parcel_of(1), lambda whole: None))

    def test_who_takes_leave_in_the_middle_of_an_item(self) -> None:
        world = World(14)
        world.run(1)
        world.node.publish(1, BODY_BYTES_MAX)
        world.run(1)
        world.readers[0].reader.stopService()
        world.run(1)
        self.assertEqual((world.node.sent, world.node.outlet.waiting), ({False: 1}, 0))

    def test_what_comes_from_elsewhere_is_not_heard(self) -> None:
        """Even of somebody who has heard what the conversation is."""
        world = World(15)
        world.run(1)
        (known,) = world.node.outlet._door.correspondents.values()
        liar = ReaderPort(world.network.host("liar").world().udp)
        liar.send(parcel_of(1).datagram(0, known.conversation, 0.0), known.address)
        world.run(1)
        port = world.readers[0].reader._port
        self.assertEqual((world.readers[0].got, port.nonsense), ({}, 1))
        liar.send(parcel_of(1).datagram(0, b"87654321", 0.0), known.address)
        liar.send(b"garbage", known.address)
        world.run(1)
        self.assertEqual(port.nonsense, 3)

    def test_a_node_that_was_started_anew_is_heard_again(self) -> None:
        world = World(6)
        world.run(1)
        world.node.host.crash()
        world.run(5)
        world.node.host.boot()
        world.network.clock.run_until(world.all_listen, LEASE_S)
        world.node.publish(1, 5000)
        world.run(1)
        self.assertEqual((list(world.readers[0].got), world.node.lives), ([1], 2))

    def test_what_expires_on_its_way_is_not_handed_out(self) -> None:
        world = World(7)
        world.run(1)
        world.node.publish(1, BODY_BYTES_MAX, life_s=3.0)
        world.node.publish(2, 10)
        world.run(60)
        self.assertEqual(list(world.readers[0].got), [2])
        self.assertEqual(world.node.sent, {True: 1, False: 1})
        self.assertEqual(world.readers[0].reader.reassembly.dropped["late"], 1)

    def test_without_the_ticket_there_is_nothing(self) -> None:
        world = World(8)
        thief = Reader(world.network.host("thief"), "reader0", ticket="a guess")
        world.run(5)
        world.node.publish(1, 10)
        world.run(5)
        self.assertEqual((thief.got, set(thief.refusals)), ({}, {"unknown-reader"}))
        self.assertEqual(list(world.readers[0].got), [1])
        self.assertEqual(world.node.world.tally.dropped[DOOR, "unknown-reader"], len(thief.refusals))

    def test_the_ticket_is_never_sent(self) -> None:
        world = World(9)
        seen: list[bytes] = []
        world.node.outlet._datagrams.datagramReceived = lambda data, address: seen.append(data)  # type: ignore[method-assign]
        world.run(5)
        self.assertTrue(seen)
        self.assertFalse([data for data in seen if b"let me in" in data])

    def test_of_two_places_the_later_has_it(self) -> None:
        world = World(10)
        world.run(1)
        second = Reader(world.network.host("second"), "reader0")
        world.run(60)
        world.node.publish(1, 10)
        world.run(1)
        self.assertEqual((list(world.readers[0].got), list(second.got)), ([], [1]))
        self.assertEqual(world.readers[0].refusals, ["moved"])
        world.run(600)
        self.assertEqual(world.node.outlet.listening, 1, "and nobody takes it back and forth")

    def test_a_contract_that_ends_and_comes_again(self) -> None:
        world = World(11)
        world.run(1)
        placement = world.node.placements.pop("reader0")
        world.node.publish(1, BODY_BYTES_MAX)
        world.run(1)
        world.node.outlet.gone("reader0")
        world.run(1)
        reader = world.readers[0]
        self.assertEqual((world.node.listeners, reader.refusals[0]), (set(), "gone"))
        self.assertEqual(world.node.sent, {False: 1})
        world.run(60)
        world.node.placements["reader0"] = placement
        world.run(60)
        self.assertEqual((world.all_listen(), reader.reader.last_refusal), (True, ""))

    def test_thousands_share_a_port(self) -> None:
        world = World(12, readers=0)
        host = world.network.host("many")
        port = ReaderPort(host.world().udp)
        names = [f"many{number}" for number in range(50)]
        world.node.placements.update({name: placement_of(name) for name in names})
        many = [Reader(host, name, port=port) for name in names]
        world.run(5)
        world.node.publish(1, 3000)
        world.run(5)
        self.assertEqual([list(reader.got) for reader in many], [[1]] * 50)
        self.assertEqual(len({known.address for known in world.node.outlet._door.correspondents.values()}), 1)
        for reader in many:
            reader.reader.stopService()
        world.run(1)
        self.assertEqual(world.node.listeners, set())

    def test_the_node_is_looked_for_until_it_is_found(self) -> None:
        world = World(13)
        there: list[str] = []
        looked: list[str] = []

        def find(node: str) -> "Deferred[Any]":
            looked.append(node)
            return reached(there[0], own.clock) if there else fail(NotFound(node))

        own = world.network.host("late").world()
        world.node.placements["late"] = placement_of("late")
        reader = DatagramReader(
            place_of("late", node="node"), find, lambda item, body: None, own.clock, own.now, own.udp, dice=own.dice
        )
        reader.startService()
        world.run(60)
        self.assertTrue(3 < len(looked) < 20, looked)
        there.append("10.9.9.9:1")
        world.run(60)
        self.assertNotIn("late", world.node.listeners)
        there[0] = f"node:{NODE_PORT}"
        world.run(60)
        self.assertIn("late", world.node.listeners, "nobody answers there, so it is looked for again")
        reader.stopService()


class RegistryTests(SynchronousTestCase):
    def test_nodes_are_found_as_they_are_registered(self) -> None:
        """By their attribute; a node that has none has no free readers, one that is not there is not found."""
        network = SimNetwork(SimClock(), random.Random(1))
        address = network.host("node").address
        SimProcess(network.host("registry"), lambda world: build_registry(world, RegistrySettings("data")))
        own = network.host("reader").world()
        names = RegistryClient(own.client("tcp:registry:4646"), own.clock, own.dice)
        names.startService()
        for name, attributes in (("east", {ATTRIBUTE: "node:4848"}), ("west", {}), ("far", {ATTRIBUTE: "away:1"})):
            names.register(Registration("news", name, "news-delivery", attributes=attributes), b"token")
        network.clock.run(2)
        looking = [finding(names, "news", own.clock)(name) for name in ("east", "west", "far", "nobody")]
        network.clock.run(2)
        self.assertEqual(self.successResultOf(looking[0]), (address, 4848))
        for failing in looking[1:3]:
            self.failureResultOf(failing, NotFound)
        self.failureResultOf(looking[3], RegistryRefused)

    def test_paid_contracts_are_for_others(self) -> None:
        own = SimNetwork(SimClock(), random.Random(1)).host("reader").world()
        place = Place("r", terms_of(paid=True), "node", "", TICKET)
        self.assertRaises(ClientError, DatagramReader, place, finding, print, own.clock, own.now, own.udp)


class PullTests(SynchronousTestCase):
    def test_all_of_it_page_by_page(self) -> None:
        world = World(20, mode=PULL)
        for number in range(1, 8):
            world.node.publish(number, 3000)
        reader = world.readers[0]
        self.assertEqual(pulled(world, reader, 5), PullEnded((1, 2, 3, 4, 5), (), True))
        self.assertEqual(pulled(world, reader, 5), PullEnded((6, 7), (), False))
        self.assertEqual(pulled(world, reader, 5), PullEnded())
        self.assertEqual((sorted(reader.got), reader.reader.position), (list(range(1, 8)), 7))

    def test_what_was_lost_is_told(self) -> None:
        world = World(21, mode=PULL, faults=WEATHER)
        for number in range(1, 21):
            world.node.publish(number, 3000)
        ended = pulled(world, world.readers[0])
        self.assertEqual(ended.numbers, tuple(range(1, 21)))
        self.assertTrue(ended.missing)
        self.assertEqual(sorted([*world.readers[0].got, *ended.missing]), list(range(1, 21)))

    def test_a_large_answer_is_not_asked_for_twice(self) -> None:
        """It takes a while; as long as parts of it come, nobody loses patience."""
        world = World(22, mode=PULL)
        world.node.publish(1, BODY_BYTES_MAX)
        self.assertEqual(pulled(world, world.readers[0]), PullEnded((1,)))
        self.assertEqual(world.node.sent, {True: 1})
        self.assertEqual(world.node.world.tally.dropped[DOOR, "impatient"], 0)

    def test_nobody_there(self) -> None:
        world = World(23, mode=PULL)
        world.network.isolate("node")
        self.assertEqual(pulled(world, world.readers[0]), PullEnded(failure="no-answer"))
        world.network.rejoin("node")
        self.assertEqual(pulled(world, world.readers[0]), PullEnded())

    def test_what_cannot_be_pulled(self) -> None:
        world = World(24, mode=PULL)
        reader = world.readers[0].reader
        for count in (0, 51):
            self.assertRaises(ClientError, reader.pull, count)
        first = reader.pull()
        self.assertRaises(ClientError, reader.pull)
        world.network.isolate("node")
        reader.stopService()
        self.assertEqual(self.successResultOf(first), PullEnded(failure="no-answer"))
        self.assertRaises(ClientError, reader.pull)
        self.assertRaises(ClientError, World(25).readers[0].reader.pull)


class NodeTests(SynchronousTestCase):
    def test_a_busy_port_is_fatal(self) -> None:
        world = World(30)
        words: list[str] = []
        again = FreeOutlet(world.node.host.world(fatal=words.append), "node", world.node, port=NODE_PORT)
        again.startService()
        self.assertEqual(len(words), 1)
        self.assertIn("--datagrams", words[0])
        again.stopService()

    def test_stopped_it_sends_nothing(self) -> None:
        world = World(31)
        world.run(1)
        world.node.publish(1, BODY_BYTES_MAX)
        world.run(1)
        world.node.outlet.stopService()
        self.assertEqual((world.node.sent, world.node.outlet.waiting), ({False: 1}, 0))
        self.assertFalse(world.node.outlet.send("reader0", parcel_of(2), lambda whole: None))
        world.run(60)
        self.assertEqual(world.readers[0].got, {})

    def test_garbage_is_counted_and_answered_by_nobody(self) -> None:
        world = World(32)
        dice = random.Random(1)
        heard: list[bytes] = []
        port = ReaderPort(world.network.host("fuzz").world().udp)
        port.datagramReceived = lambda data, address: heard.append(data)  # type: ignore[method-assign]
        for _ in range(500):
            port.send(dice.randbytes(dice.randint(0, 1300)), (world.node.host.address, NODE_PORT))
        world.run(5)
        self.assertEqual(heard, [])
        self.assertEqual(world.node.world.tally.dropped[DOOR, "nonsense"], 500)
        self.assertTrue(world.all_listen())


class StormTests(SynchronousTestCase):
    def test_whatever_happens_nothing_comes_damaged_or_twice(self) -> None:
        """The readers of the tests look at each item. When all is over, all of them listen again, and hear."""
        faults = (crash, pause, cut, cut_one_way, isolate, slow_path)
        came = restarts = 0
        for seed in range(25):
            world = World(seed, readers=3, faults=WEATHER)
            plan = FaultPlan(
                world.network, random.Random(-seed - 1), ["node"], faults, gap_s=(5.0, 30.0), lasting_s=(0.05, 10.0)
            )
            dice = random.Random(seed)
            plan.rain(240)
            number = 0
            for _ in range(120):
                world.run(2)
                if world.node.host.alive:
                    number += 1
                    world.node.publish(number, dice.choice((10, 2000, 20_000)))
            world.network.datagram_faults = DatagramFaults()
            world.network.clock.run_until(lambda world=world: world.all_listen(), LEASE_S + 10)
            world.run(10)
            world.node.publish(number + 1, 5000)
            world.run(2)
            came += sum(len(reader.got) for reader in world.readers)
            restarts += world.node.lives - 1
            self.assertTrue(all(number + 1 in reader.got for reader in world.readers), plan.describe())
        self.assertGreater(came, 1000)
        self.assertGreater(restarts, 25)

    def test_a_mistake_would_be_seen(self) -> None:
        """A reader that believes what it gets is caught by the readers of the tests."""
        world = World(1)
        world.run(1)
        world.readers[0].got[1] = 0.0
        world.node.publish(1, 10)
        world.run(1)
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)
