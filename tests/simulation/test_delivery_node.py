"""A delivery node under its root, with paid and free readers, all of them the production services."""

import random
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import CallRejected
from chatproto.news.datagrams.reader import DatagramReader
from chatproto.news.delivery.inspection import CONTRACTS, UNDELIVERED, decode_contracts, decode_undelivered
from chatproto.news.delivery.records import REASONS, VERDICTS
from chatproto.news.placing.actions import Place as PlaceReader
from chatproto.news.terms import Place, Placement
from chatproto.services.mounting import mount
from chatproto.services.news.delivery import DeliveryService, DeliverySettings, build_delivery
from chatproto.testing import SimProcess
from chatproto.world import World
from tests.simulation.delivering import Rita
from tests.simulation.tree import PEERS, ROOT, SimTree
from tests.unit.news.delivery.items import free, paid

MB = 1024 * 1024


class Fred:
    """A free reader."""

    def __init__(self, tree: SimTree, placement: Placement, host: SimProcess) -> None:
        self.got: list[int] = []
        self.place = Place(placement.reader, placement.terms, "north", "", f"ticket of {placement.reader}")
        self._node = host.host
        self.process = SimProcess(tree.network.host(placement.reader), self._build)

    def _build(self, world: World) -> MultiService:
        self.reader = DatagramReader(
            self.place,
            lambda node: succeed((self._node.address, 4848)),
            lambda item, body: self.got.append(item.number),
            world.clock,
            world.now,
            world.udp,
            dice=world.dice,
        )
        tree = MultiService()
        mount(tree, "reader", self.reader)
        return tree


class DeliveryNodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = SimTree(1, {})
        self.node = SimProcess(self.tree.network.host("north"), self._build)
        self.tree.run(2)

    def _build(self, world: World) -> DeliveryService:
        settings = DeliverySettings(
            data="/news",
            name="north",
            listen=("tcp:4848",),
            peer_listen="tcp:4749",
            parent=f"tcp:{ROOT}:{PEERS}",
            datagrams=("", 4848),
        )
        return build_delivery(world, settings)

    @property
    def delivery(self) -> DeliveryService:
        tree: DeliveryService = self.node.tree
        return tree

    def place(self, placement: Placement) -> None:
        desk = self.delivery.desk
        action = PlaceReader(placement)
        self.assertEqual(desk.table.refusal(action), "")
        assert desk.store is not None
        desk.store.write(desk.table.changes(action), lambda: desk.table.done(action))

    def test_news_come_from_a_source_to_everybody(self) -> None:
        tree, agency = self.tree, self.tree.agencies["ansa"]
        for placement in (paid(), paid("emma", exclusives=True), free()):
            self.place(placement)
        rita, emma = (Rita(tree.network, placement, "north") for placement in (paid(), paid("emma", exclusives=True)))
        fred = Fred(tree, free(), self.node)
        tree.run(2)
        agency.publish("plain", b"one nil", tree.now + 3600)
        agency.publish("picture", random.Random(1).randbytes(MB), tree.now + 3600)
        agency.publish("exclusive", b"only for you", tree.now + 3600, exclusive=True)
        agency.publish("short", b"soon over", tree.now + 15)
        everything: Any = lambda: len(emma.got) == 4 and len(rita.got) == 3 and len(fred.got) == 3  # noqa: E731
        tree.run_until(everything, 30)
        self.assertEqual(sorted(emma.numbers()), [1, 2, 3, 4])
        self.assertEqual(set(emma.numbers()) - set(rita.numbers()), {agency.accepted["exclusive"]})
        self.assertEqual(sorted(fred.got), sorted(rita.numbers()))
        tree.run(20)
        self.assertEqual(len(self.delivery.desk.readers.shelves), 3, "what has expired is gone")
        self.assertEqual(self.delivery.desk.delivered, 7)
        self.assertIn("3 items, 2 of 2 paid readers, 1 of 1 free ones", self.delivery.health().status)
        self.assertTrue(self.delivery.health().serving)

    def test_a_node_killed_and_back_goes_on(self) -> None:
        tree, agency = self.tree, self.tree.agencies["ansa"]
        self.place(paid())
        rita = Rita(tree.network, paid(), "north")
        agency.publish("before", b"1", tree.now + 3600)
        tree.run_until(lambda: len(rita.got) == 1, 10)
        tree.run(1)
        self.node.host.crash("silence")
        agency.publish("meanwhile", b"2", tree.now + 3600)
        tree.run(3)
        self.node.host.boot()
        tree.run_until(lambda: len(rita.got) == 2, 20)
        tree.run(3)
        self.assertEqual(sorted(rita.numbers()), [1, 2])
        told = decode_contracts(self.delivery.calls()[CONTRACTS](b""))
        self.assertEqual(
            [(contract.reader, contract.hours[-1].delivered) for contract in told.contracts], [("rita", 2)]
        )

    def test_it_is_measured(self) -> None:
        self.place(paid())
        self.place(free())
        self.tree.run(1)
        measured = {measure.name: measure.values for measure in self.delivery.measures()}
        self.assertEqual(measured["chatproto_news_readers"], [({"terms": "paid"}, 1), ({"terms": "free"}, 1)])
        self.assertEqual({labels["verdict"] for labels, _ in measured["chatproto_news_contracts"]}, set(VERDICTS))
        self.assertEqual({labels["reason"] for labels, _ in measured["chatproto_news_undelivered_total"]}, set(REASONS))
        self.assertEqual(measured["chatproto_news_late_total"], [({}, 0)])
        self.assertEqual(measured["chatproto_news_in_doubt"], [({}, 0)])
        self.assertEqual(measured["chatproto_news_suspended"], [({}, False)])

    def test_an_operator_sees_what_was_not_delivered(self) -> None:
        calls = self.delivery.calls()
        self.assertEqual(decode_undelivered(calls[UNDELIVERED](b"")).undelivered, ())
        self.place(paid())
        tree, agency = self.tree, self.tree.agencies["ansa"]
        agency.publish("missed", b"1", tree.now + 60)
        tree.run(100)
        (missed,) = decode_undelivered(calls[UNDELIVERED](b"")).undelivered
        self.assertEqual((missed.title, missed.why, missed.names), ("missed", "away", ("rita",)))
        for call in calls.values():
            self.assertRaises(CallRejected, call, b"nonsense")

    def test_it_stops_and_starts(self) -> None:
        self.place(paid())
        rita = Rita(self.tree.network, paid(), "north")
        self.tree.run(2)
        self.assertTrue(self.delivery.desk.links)
        self.node.stop()
        self.tree.run(5)
        self.assertFalse(self.node.host.alive)
        self.node.host.boot()
        self.tree.agencies["ansa"].publish("after", b"1", self.tree.now + 3600)
        self.tree.run_until(lambda: len(rita.got) == 1, 20)
