"""Delivery to paid readers, by the production services on a simulated network."""

import random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.delivery import inbox
from chatproto.news.delivery.records import Undelivered
from chatproto.testing import SimNetwork
from tests.simulation.delivering import Node, Rita, network, run_until
from tests.unit.news.delivery.items import body_of, item, paid

MB = 1024 * 1024


class DeliveryTests(SynchronousTestCase):
    def test_everything_is_pushed_once(self) -> None:
        net = network(1)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.items.put(item(1))
        node.place(paid())
        net.clock.run(2)
        node.items.put(item(2, 300_000))
        node.items.put(item(3, 0))
        node.items.put(item(4, topic="finance"))
        node.items.put(item(5, exclusive=True))
        run_until(net, lambda: len(rita.got) == 3, 10)
        net.clock.run(5)
        self.assertEqual(sorted(rita.numbers()), [1, 2, 3])
        self.assertEqual(rita.bodies[2], body_of(2, 300_000))
        self.assertEqual(node.desk.delivered, 3)
        self.assertEqual(rita.reader.node, "north")

    def test_a_node_that_crashes_delivers_nothing_twice(self) -> None:
        net = network(2)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.place(paid())
        for number in range(1, 6):
            node.items.put(item(number))
        run_until(net, lambda: len(rita.got) == 5, 5)
        node.process.host.crash()
        for number in range(6, 9):
            node.items.put(item(number))
        net.clock.run(1)
        node.process.host.boot()
        run_until(net, lambda: len(rita.got) == 8, 10)
        net.clock.run(3)
        self.assertEqual(sorted(rita.numbers()), list(range(1, 9)))

    def test_a_reader_that_forgot_is_not_told_again_what_it_acknowledged(self) -> None:
        net = network(3)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.place(paid())
        for number in range(1, 6):
            node.items.put(item(number))
        run_until(net, lambda: node.desk.delivered == 5, 5)
        net.clock.run(1)
        rita.process.host.crash()
        node.items.put(item(6))
        rita.process.host.boot()
        run_until(net, lambda: len(rita.got) == 6, 10)
        net.clock.run(3)
        self.assertEqual(sorted(rita.numbers()), list(range(1, 7)))

    def test_two_megabytes_go_on_where_the_link_broke(self) -> None:
        net = network(4, trace_events_max=100_000)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        net.limit("north", "rita", 400_000)
        node.place(paid())
        net.clock.run(1)
        node.items.put(item(1, 2 * MB))
        net.clock.run(3)
        self.assertEqual(rita.got, [])
        node.process.host.crash()
        net.clock.run(0.5)
        node.process.host.boot()
        run_until(net, lambda: bool(rita.got), 10)
        self.assertEqual(rita.bodies[1], body_of(1, 2 * MB))
        sent = sum(event.size for event in net.trace if event.what == "data" and event.source == "north")
        self.assertLess(sent, 2 * MB + 120_000)

    def test_what_is_urgent_passes_a_picture(self) -> None:
        net = network(5)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        net.limit("north", "rita", 200_000)
        node.place(paid())
        for number in range(1, 12):
            node.items.put(item(number, 2 * MB, priority=2))
        net.clock.run(3)
        node.items.put(item(20, 100, priority=9))
        began = net.clock.seconds()
        run_until(net, lambda: bool(rita.got), 10)
        self.assertEqual(rita.numbers(), [20])
        self.assertLess(net.clock.seconds() - began, 1.0)

    def test_what_is_not_accepted_is_told_again(self) -> None:
        net = network(6)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.place(paid())
        tries: list[int] = []

        def fails(*_: object) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise ValueError("the disk is full")

        rita.reader._delivered = fails
        node.items.put(item(1))
        run_until(net, lambda: node.desk.delivered == 1, 10)
        self.assertEqual(len(tries), 3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_what_is_accepted_after_a_new_connection_is_acknowledged_there(self) -> None:
        net = network(14)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.place(paid())
        rita.ready = Deferred()
        for number in (1, 2):
            node.items.put(item(number, 30_000))
        run_until(net, lambda: len(rita.got) == 2, 5)
        net.reset_all()
        net.clock.run(3)
        self.assertEqual((len(rita.got), node.desk.delivered), (2, 0))
        ready, rita.ready = rita.ready, None
        ready.callback(None)
        net.clock.run(2)
        self.assertEqual((len(rita.got), node.desk.delivered), (2, 2))

    def test_pulls_what_there_is(self) -> None:
        net = network(7)
        puller = paid(mode="pull", maximum=4)
        node, rita = Node(net, "north"), Rita(net, puller, "north")
        node.place(puller)
        for number in range(1, 7):
            node.items.put(item(number))
        net.clock.run(2)
        self.assertEqual(rita.got, [])
        for count, expected, more in ((3, 3, True), (3, 4, True)):
            answers: list[bool] = []
            rita.reader.pull(count).addCallback(answers.append)
            run_until(net, lambda answers=answers: bool(answers), 5)
            self.assertEqual((len(rita.got), answers), (expected, [more]))
        net.clock.run(3601)
        rita.reader.pull(100).addCallback(answers.append)
        run_until(net, lambda: len(answers) == 2, 5)
        self.assertEqual((len(rita.got), answers[1]), (6, False))

    def test_the_substitute_goes_on_and_gives_back(self) -> None:
        net = network(9)
        north, south = Node(net, "north"), Node(net, "south")
        rita = Rita(net, paid(), "north", "south")

        def stand_in() -> object:
            south.place(paid(home="north"))
            return None

        rita.stand_in = stand_in
        north.place(paid())
        for number in range(1, 4):
            north.items.put(item(number))
        south.items.put(item(99, topic="finance"))
        for number in (3, 1, 2):
            south.items.put(item(number))
        run_until(net, lambda: len(rita.got) == 3, 5)
        north.process.host.crash("silence")
        net.clock.run(1)
        for node in (north, south):
            node.items.put(item(4))
            node.items.put(item(5, 200_000))
        run_until(net, lambda: len(rita.got) == 5, 20)
        self.assertEqual((rita.reader.node, rita.reader.temporary, len(rita.asked)), ("south", True, 1))
        north.process.host.boot()
        run_until(net, lambda: rita.reader.node == "north", 10)
        for node in (north, south):
            node.items.put(item(6))
        run_until(net, lambda: len(rita.got) == 6, 10)
        net.clock.run(3)
        self.assertEqual(sorted(rita.numbers()), [1, 2, 3, 4, 5, 6])
        self.assertEqual((rita.homecomings, rita.reader.temporary, south.here), (1, False, False))

    def test_what_is_too_much_for_a_hello_is_not_told_again(self) -> None:
        self.patch(inbox, "GOT_RANGES_MAX", 1)
        net = network(12)
        north, south = Node(net, "north"), Node(net, "south")
        rita = Rita(net, paid(), "north", "south")
        rita.stand_in = lambda: south.place(paid(home="north"))
        north.place(paid())
        for number in (1, 3, 5, 7):
            north.items.put(item(number))
            south.items.put(item(number))
        run_until(net, lambda: len(rita.got) == 4, 5)
        north.process.host.crash()
        south.items.put(item(9))
        run_until(net, lambda: len(rita.got) == 5, 20)
        net.clock.run(2)
        self.assertEqual(sorted(rita.numbers()), [1, 3, 5, 7, 9])
        self.assertEqual(south.desk.delivered, 4, "of these, the reader had three")

    def test_a_substitute_that_does_not_know_the_reader_is_asked_for_again(self) -> None:
        net = network(13)
        north, south = Node(net, "north"), Node(net, "south")
        rita = Rita(net, paid(), "north", "south")
        rita.stand_in = lambda: len(rita.asked) > 1 and south.place(paid(home="north"))
        north.place(paid())
        net.clock.run(1)
        north.process.host.crash()
        south.items.put(item(1))
        run_until(net, lambda: len(rita.got) == 1, 20)
        self.assertEqual((len(rita.asked), rita.reader.node, set(rita.refusals)), (2, "south", {"unknown-reader"}))
        north.process.host.boot()
        run_until(net, lambda: rita.reader.node == "north", 10)

    def test_whoever_has_no_ticket_is_turned_away(self) -> None:
        net = network(9)
        node = Node(net, "north")
        node.place(paid())
        node.place(paid("otto"))
        rita = Rita(net, paid(), "north")
        rita.reader.move(type(rita.place)("rita", rita.place.terms, "north", "", "ticket of otto"))
        node.items.put(item(1))
        net.clock.run(3)
        self.assertEqual(rita.got, [])
        self.assertEqual(set(rita.refusals), {"unknown-reader"})
        self.assertGreater(node.tally.dropped["news-reader", "unknown-reader"], 0)

    def test_the_later_of_two_has_it(self) -> None:
        net = network(10)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.place(paid())
        net.clock.run(1)
        twin = Rita(net, paid(), "north", host="elsewhere")
        net.clock.run(1)
        node.items.put(item(1))
        net.clock.run(3)
        self.assertEqual((rita.numbers(), twin.numbers(), rita.refusals, rita.reader.node), ([], [1], ["moved"], ""))

    def test_expired_is_not_delivered_and_said(self) -> None:
        net = network(11)
        node, rita = Node(net, "north"), Rita(net, paid(), "north")
        node.place(paid())
        net.clock.run(1)
        rita.process.host.crash()
        net.clock.run(1)
        held = node.items.put(item(1))
        node.items.expire(held.stamp)
        net.clock.run(1)
        rita.process.host.boot()
        net.clock.run(3)
        self.assertEqual(rita.got, [])
        entry = node.desk.readers.undeliverable.entries[0]
        self.assertIsInstance(entry, Undelivered)
        self.assertEqual((entry.number, entry.why, entry.names), (1, "away", ("rita",)))
        node.process.host.crash()
        node.process.host.boot()
        self.assertEqual(list(node.desk.readers.undeliverable.entries), [entry])

    def test_storms(self) -> None:
        """Whatever breaks of two nodes and the ways to them: in the end a reader has everything, and nothing twice."""
        substituted = 0
        for seed in range(25):
            net = network(seed, trace_events_max=0)
            dice = random.Random(seed)
            nodes = north, south = Node(net, "north"), Node(net, "south")
            rita = Rita(net, paid(), "north", "south")
            rita.stand_in = lambda south=south: south.process.host.alive and south.place(paid(home="north"))
            north.place(paid())
            for number in range(1, 41):
                size, priority = dice.choice((10, 1000, 60_000, 400_000)), dice.randrange(10)
                # It does not come to both at the same time, nor under the same stamp.
                for node in dice.sample(nodes, 2):
                    node.items.put(item(number, size, priority=priority))
                    net.clock.run(dice.uniform(0, 0.3))
                self.break_something(net, dice, nodes)
                net.clock.run(dice.uniform(0, 2))
            for node in nodes:
                net.heal("rita", node.name)
                if not node.process.host.alive:
                    node.process.host.boot()
            run_until(net, lambda rita=rita: len(rita.got) >= 40, 60)
            net.clock.run(10)
            self.assertEqual(sorted(rita.numbers()), list(range(1, 41)), seed)
            self.assertEqual(rita.reader.node, "north", seed)
            substituted += bool(rita.homecomings)
        self.assertGreater(substituted, 5, "some were delivered to by the other node")

    @staticmethod
    def break_something(net: SimNetwork, dice: random.Random, nodes: tuple[Node, ...]) -> None:
        node = dice.choice(nodes)
        host = node.process.host
        match dice.randrange(12):
            case 0 if host.alive:
                host.crash(dice.choice(("reset", "close", "silence")))
            case 1 | 2 | 3 if not host.alive:
                host.boot()
            case 4:
                net.cut("rita", node.name)
            case 5 | 6 | 7:
                net.heal("rita", node.name)
            case 8:
                net.reset_all()
