"""Items through the distribution tree: the production service trees on a simulated network."""

import random
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import BacklogFull, ClientStopped
from chatproto.news.items import Item
from chatproto.news.messages import CHUNK_BYTES_MAX
from chatproto.news.tree.children import Follower
from chatproto.news.tree.holdings import Effect, Finished, Holding, Holdings, Moment, Offer
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX, Send
from tests.simulation.tree import Agency, Leaf, SimTree, body_of, sources

CHAIN = {"r1": "root", "r2": "r1", "r3": "r2", "leaf": "r3"}
FORK = {"r1": "root", "r2": "r1", "r3": "root", "west": "r2", "east": "r2", "south": "r3"}
MB = 1024 * 1024


class NewsTreeTests(SynchronousTestCase):
    def read(self, tree: SimTree, reading: "Deferred[bytes]") -> bytes:
        results: list[Any] = []
        reading.addBoth(results.append)
        tree.run_until(lambda: results, 5)
        self.assertIsInstance(results[0], bytes)
        return results[0]  # type: ignore[no-any-return]

    def test_an_item_comes_to_a_leaf_behind_three_routers(self) -> None:
        tree = SimTree(1, CHAIN)
        agency = tree.agencies["ansa"]
        agency.publish("first", b"one nil", tree.now + 3600)
        agency.publish("empty", b"", tree.now + 3600)
        agency.publish("picture", body_of(1, MB), tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([1, 2, 3]), 10)
        self.assertEqual(agency.accepted, {"first": 1, "empty": 2, "picture": 3})
        leaf = tree.node("leaf")
        self.assertEqual([held.stamp for held in leaf.held()], [1, 2, 3])
        self.assertEqual(self.read(tree, leaf.read(3, 0, 2 * MB)), body_of(1, MB))
        self.assertEqual(self.read(tree, leaf.read(3, MB - 5, 100)), body_of(1, MB)[-5:])
        self.assertEqual(self.read(tree, leaf.read(2, 0, 100)), b"")
        tree.run(5)
        for name in ("root", "r1", "r2", "r3"):
            self.assertEqual(tree.node(name).held(), [], f"all children of {name} have all, so it holds nothing")
            self.assertEqual(tree.node(name).holdings.bytes, 0)

    def test_the_delay_adds_up_on_the_way(self) -> None:
        tree = SimTree(2, CHAIN, delay_s=(0.1, 0.1))
        tree.run(3)
        tree.agencies["ansa"].publish("first", b"one nil", tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([1]), 10)
        self.assertLess(abs(tree.leaves["leaf"].delays[1] - 0.4), 0.05)

    def test_what_an_item_waits_for_on_a_full_link_is_in_its_delay(self) -> None:
        tree = SimTree(24, CHAIN, delay_s=(0.5, 0.5))
        for a, b in (("root", "r1"), ("r1", "r2"), ("r2", "r3"), ("r3", "leaf")):
            tree.network.limit(a, b, 50_000)
        tree.run(5)
        agency, leaf = tree.agencies["ansa"], tree.leaves["leaf"]
        for number, size in enumerate((200_000, 200_000, 50), 1):
            agency.publish(f"i{number}", body_of(number, size), tree.now + 3600)
        for number in (1, 2, 3):
            tree.run_until(lambda number=number: number in leaf.arrived, 60)  # type: ignore[misc]
            holding = tree.node("leaf").holdings.find(number)
            assert holding is not None
            self.assertLess(abs(leaf.delays[number] - (tree.now - holding.item.injected)), 0.1, number)
        self.assertGreater(leaf.delays[3], 4)

    def test_a_router_that_crashes_in_the_middle_of_two_megabytes_goes_on_where_it_was(self) -> None:
        tree = SimTree(3, CHAIN, trace_events_max=1_000_000)
        for a, b in (("root", "r1"), ("r1", "r2"), ("r2", "r3"), ("r3", "leaf")):
            tree.network.limit(a, b, 200_000)
        tree.run(1)
        tree.agencies["ansa"].publish("picture", body_of(1, 2 * MB), tree.now + 3600)
        tree.run(6)
        router = tree.node("r2")
        holding = router.holdings.find(1)
        assert holding is not None
        self.assertGreater(holding.arrived, 600_000, "it is in the middle")
        self.assertLess(holding.arrived, 1_600_000)
        tree.processes["r2"].host.crash()
        tree.run(1)
        tree.processes["r2"].host.boot()
        tree.run_until(lambda: tree.everywhere([1]), 15)
        self.assertEqual(self.read(tree, tree.node("leaf").read(1, 0, 2 * MB)), body_of(1, 2 * MB))
        sent = {(event.source, event.target): 0 for event in tree.network.trace if event.what == "data"}
        for event in tree.network.trace:
            if event.what == "data":
                sent[event.source, event.target] += event.size
        beside = 20_000
        for hop in (("r1", "r2"), ("r2", "r3")):
            self.assertLess(sent[hop], 2 * MB + WINDOW_BYTES_MAX + CHUNK_BYTES_MAX + beside, hop)
        self.assertLess(sent["root", "r1"], 2 * MB + beside)
        self.assertLess(sent["r3", "leaf"], 2 * MB + beside)

    def test_what_is_urgent_passes_a_picture_on_the_way(self) -> None:
        known = {**sources(["ansa"]), "reuters": sources(["x"])["x"]}
        known["reuters"] = type(known["reuters"])(known["reuters"].secret, 9)
        tree = SimTree(4, CHAIN, ("ansa", "reuters"), known=known)
        for a, b in (("root", "r1"), ("r1", "r2"), ("r2", "r3"), ("r3", "leaf")):
            tree.network.limit(a, b, 200_000)
        tree.agencies["ansa"].publish("picture", body_of(1, 2 * MB), tree.now + 3600)
        tree.run(3)
        tree.agencies["reuters"].publish("urgent", b"x" * 200, tree.now + 3600)
        took = tree.run_until(lambda: tree.leaves["leaf"].arrived, 20)
        self.assertEqual(tree.leaves["leaf"].arrived, [2], "the urgent one came first")
        self.assertLess(took, 3, "four hops, each with at most a window before it")
        tree.run_until(lambda: tree.everywhere([1, 2]), 20)

    def test_an_item_expires_everywhere_and_is_not_delivered_late(self) -> None:
        tree = SimTree(5, FORK)
        agency = tree.agencies["ansa"]
        agency.publish("short", b"x", tree.now + 10)
        agency.publish("long", b"y", tree.now + 1000)
        tree.run_until(lambda: tree.everywhere([1, 2]), 5)
        tree.processes["south"].host.crash()
        agency.publish("missed", b"z", tree.now + 10)
        tree.run(30)
        tree.processes["south"].host.boot()
        tree.run(10)
        self.assertEqual([held.item.number for held in tree.node("west").held()], [2])
        self.assertEqual([held.item.number for held in tree.node("south").held()], [2])
        self.assertEqual(tree.leaves["west"].gone, [1, 3])
        self.assertEqual(tree.leaves["south"].arrived, [1, 2])
        self.assertEqual(tree.stored("south"), 1)

    def test_exclusives_go_where_somebody_has_paid_for_them(self) -> None:
        tree = SimTree(6, FORK)
        tree.leaves["west"].topics = frozenset({"finance"})
        tree.node("west").serve_exclusives(frozenset({"finance"}))
        tree.run(2)
        agency = tree.agencies["ansa"]
        agency.publish("money", b"x", tree.now + 3600, topic="finance", exclusive=True)
        agency.publish("ball", b"y", tree.now + 3600, topic="sport", exclusive=True)
        agency.publish("all", b"z", tree.now + 3600, topic="finance")
        tree.run_until(lambda: len(agency.accepted) == 3, 5)
        tree.run(2)
        self.assertEqual(tree.leaves["west"].arrived, [1, 3])
        self.assertEqual(tree.leaves["east"].arrived, [3])
        self.assertEqual(tree.leaves["south"].arrived, [3])
        # The root has forgotten nobody's topics in its next life, though nobody is connected yet.
        tree.processes["root"].host.crash()
        tree.processes["root"].host.boot()
        tree.processes["r1"].host.crash()
        agency.publish("more", b"x", tree.now + 3600, topic="finance", exclusive=True)
        tree.run_until(lambda: len(agency.accepted) == 4, 5)
        tree.processes["r1"].host.boot()
        tree.run(3)
        self.assertEqual(tree.leaves["west"].arrived, [1, 3, 4])
        self.assertEqual(tree.leaves["east"].arrived, [3])

    def test_wrong_input_is_refused_with_a_reason_counted_and_not_stored(self) -> None:
        tree = SimTree(7, CHAIN)
        agency = tree.agencies["ansa"]
        day = tree.now + 86400
        agency.publish("large", bytes(2 * MB + 1), day)
        agency.publish("topic", b"x", day, topic="astrology")
        agency.publish("past", b"x", tree.now - 1)
        agency.publish("minus", b"x", -5)
        agency.publish("bad id", b"x", day)
        agency.publish("type", b"x", day, media_type="nonsense")
        agency.publish("good", b"x", day)
        tree.run_until(lambda: len(agency.rejected) + len(agency.accepted) == 7, 10)
        reasons = {
            "large": "too-large",
            "topic": "unknown-topic",
            "past": "bad-expiry",
            "minus": "bad-expiry",
            "bad id": "bad-id",
            "type": "bad-media-type",
        }
        self.assertEqual(agency.rejected, reasons)
        self.assertEqual(agency.accepted, {"good": 1})
        dropped = tree.node("root").tally.dropped
        self.assertEqual(dropped["news-source", "bad-expiry"], 2)
        self.assertEqual(dropped["news-source", "too-large"], 1)
        tree.run(2)
        self.assertEqual(tree.stored("root"), 1)

    def test_a_body_that_is_not_what_was_announced_is_refused_and_nowhere(self) -> None:
        tree = SimTree(11, CHAIN)
        tree.run(2)
        agency = tree.agencies["ansa"]
        agency.publish("picture", body_of(1, 300_000), tree.now + 3600)
        next(iter(agency.source._publications.values())).body = body_of(2, 300_000)
        tree.run_until(lambda: agency.rejected, 5)
        self.assertEqual(agency.rejected, {"picture": "bad-digest"})
        tree.run(2)
        for name in ("root", "r1", "r2", "r3", "leaf"):
            self.assertEqual(tree.stored(name), 0, name)
        # The id is free again.
        del agency.rejected["picture"], agency.items["picture"]
        agency.publish("picture", body_of(1, 300_000), tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([2]), 5)

    def test_what_one_hop_damages_comes_again(self) -> None:
        say, damaged = Follower._say, []

        def damage(follower: Follower, send: Send, data: bytes) -> None:
            if follower.name == "r3" and send.offset == 32768 and len(damaged) < 2:
                damaged.append(send)
                data = bytes(len(data))
            say(follower, send, data)

        self.patch(Follower, "_say", damage)
        tree = SimTree(12, CHAIN)
        tree.agencies["ansa"].publish("picture", body_of(1, 300_000), tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([1]), 10)
        self.assertEqual(len(damaged), 2)
        self.assertEqual(self.read(tree, tree.node("leaf").read(1, 0, MB)), body_of(1, 300_000))
        self.assertEqual(tree.leaves["leaf"].arrived, [1])

    def test_what_is_always_damaged_comes_ever_more_seldom_and_holds_nothing_else_up(self) -> None:
        say, damaged = Follower._say, []

        def damage(follower: Follower, send: Send, data: bytes) -> None:
            if follower.name == "r3" and send.key == 1:
                damaged.append(tree.now)
                data = bytes(len(data))
            say(follower, send, data)

        self.patch(Follower, "_say", damage)
        tree = SimTree(20, CHAIN)
        agency = tree.agencies["ansa"]
        agency.publish("small", b"one nil", tree.now + 600)
        agency.publish("other", b"two nil", tree.now + 600)
        tree.run_until(lambda: tree.everywhere([2]), 5)
        tree.run(300)
        gaps = [round(later - earlier) for earlier, later in pairwise(damaged)]
        self.assertEqual(gaps, [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.assertEqual(tree.node("r3").tally.dropped["news-parent", "damaged"], len(damaged))
        tree.run(310)
        count = len(damaged)
        tree.run(100)
        self.assertEqual(len(damaged), count, "it has expired")
        self.assertEqual([tree.stored(name) for name in ("root", "r1", "r2", "r3", "leaf")], [0] * 5)

    def test_a_full_leaf_takes_more_when_something_has_gone(self) -> None:
        tree = SimTree(21, FORK)
        agency = tree.agencies["ansa"]
        tree.run(2)
        tree.leaves["west"].parent.postponed.held_bytes_max = 450_000
        agency.publish("one", body_of(1, 200_000), tree.now + 30)
        agency.publish("two", body_of(2, 200_000), tree.now + 40)
        for number in (3, 4, 5):
            agency.publish(f"i{number}", body_of(number, 100_000), tree.now + 3600)
        tree.run_until(lambda: tree.everywhere(range(1, 6), ["east", "south"]), 10)
        tree.run(5)
        self.assertEqual(tree.leaves["west"].arrived, [1, 2])
        self.assertEqual(tree.node("west").tally.dropped["news-parent", "no-room"], 3)
        self.assertEqual(len(tree.node("r2").held()), 3, "they wait for west")
        tree.run_until(lambda: len(tree.leaves["west"].arrived) == 4, 30)
        self.assertEqual(tree.leaves["west"].arrived, [1, 2, 3, 4])
        # A life in which it has room: what waits is offered again, and comes once.
        tree.processes["west"].host.crash()
        tree.processes["west"].host.boot()
        tree.run(3)
        self.assertEqual(tree.leaves["west"].arrived, [1, 2, 3, 4, 5])
        self.assertEqual(tree.node("r2").held(), [])

    def test_what_waits_for_room_and_expires_is_forgotten(self) -> None:
        tree = SimTree(22, FORK)
        agency = tree.agencies["ansa"]
        tree.run(2)
        west = tree.leaves["west"]
        west.parent.postponed.held_bytes_max = 250_000
        agency.publish("one", body_of(1, 200_000), tree.now + 60)
        agency.publish("two", body_of(2, 200_000), tree.now + 20)
        tree.run(10)
        self.assertEqual((west.arrived, west.parent.postponed.waiting), ([1], 1))
        tree.run(15)
        self.assertEqual((west.arrived, west.parent.postponed.waiting), ([1], 0))
        self.assertEqual(tree.stored("r2"), 1)

    def test_a_root_knows_no_more_items_than_it_may(self) -> None:
        tree = SimTree(23, CHAIN)
        tree.processes["root"].tree.sources.records_max = 2
        agency = tree.agencies["ansa"]
        for name, life_s in (("one", 10), ("two", 3600), ("three", 3600)):
            agency.publish(name, b"x", tree.now + life_s)
        tree.run_until(lambda: agency.settled, 5)
        self.assertEqual(agency.rejected, {"three": "no-room"})
        tree.run(15)
        agency.publish("four", b"x", tree.now + 3600)
        tree.run_until(lambda: "four" in agency.accepted, 5)

    def test_an_id_is_for_one_item(self) -> None:
        tree = SimTree(13, CHAIN)
        agency = tree.agencies["ansa"]
        results: list[Any] = []
        for body in (b"one nil", b"one nil", b"two nil"):
            published = agency.source.publish("sport", "x", body, expires=tree.now + 3600, id="same")
            published.addBoth(results.append)
        tree.run_until(lambda: len(results) == 3, 5)
        self.assertEqual(results.count(1), 2)
        self.assertEqual([result.value.reason for result in results if result != 1], ["id-reused"])

    def test_a_root_that_has_begun_anew_is_not_believed(self) -> None:
        tree = SimTree(14, CHAIN)
        agency = tree.agencies["ansa"]
        agency.publish("old", b"old", tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([1]), 5)
        tree.processes["root"].host.crash()
        tree.processes["root"].host.disk.wipe("/news")
        tree.processes["root"].host.boot()
        agency.publish("new", b"new", tree.now + 3600)
        tree.run(5)
        self.assertEqual([held.item.id for held in tree.node("leaf").held()], ["old"])
        self.assertGreaterEqual(tree.node("r1").tally.dropped["news", "bad-frame"], 1, "an operator is told")

    def test_numbers_go_on_above_all_that_a_root_has_given_that_has_lost_its_disk(self) -> None:
        tree = SimTree(25, CHAIN, first_number=None)
        agency = tree.agencies["ansa"]
        for number in range(20):
            agency.publish(f"old{number}", b"old", tree.now + 3600)
        tree.run_until(lambda: len(tree.leaves["leaf"].arrived) == 20, 5)
        tree.processes["root"].host.crash()
        tree.processes["root"].host.disk.wipe("/news")
        tree.processes["root"].host.boot()
        agency.publish("new", b"new", tree.now + 3600)
        tree.run_until(lambda: len(tree.leaves["leaf"].arrived) == 21, 10)
        self.assertGreater(agency.accepted["new"], max(tree.leaves["leaf"].arrived[:20]))
        self.assertEqual([held.item.id for held in tree.node("leaf").held()][-1], "new")

    def test_who_has_another_root_to_talk_to_moves(self) -> None:
        """Two processes under one name: the newer connection has it, and the older is told."""
        tree = SimTree(15, FORK)
        tree.run(2)
        impostor = Leaf(tree.network.host("impostor"), "west", "r2")
        tree.run(3)
        self.assertGreaterEqual(tree.node("r2").tally.dropped["news-child", "moved"], 1)
        self.assertEqual(impostor.arrived, [])

    def test_a_full_root_takes_nothing_more_until_something_expires(self) -> None:
        tree = SimTree(16, CHAIN, settings={"window_bytes": WINDOW_BYTES_MAX})
        agency = tree.agencies["ansa"]
        tree.run(3)
        tree.processes["r1"].host.crash()
        tree.processes["root"].tree.sources.held_bytes_max = 250_000
        agency.publish("one", body_of(1, 200_000), tree.now + 10)
        agency.publish("two", body_of(2, 200_000), tree.now + 3600)
        tree.run_until(lambda: agency.settled, 5)
        self.assertEqual((agency.accepted, agency.rejected), ({"one": 1}, {"two": "no-room"}))
        tree.run(10)
        agency.publish("three", body_of(3, 200_000), tree.now + 3600)
        tree.run_until(lambda: "three" in agency.accepted, 5)

    def test_a_source_that_waits_for_the_root_has_its_ceiling_and_its_end(self) -> None:
        tree = SimTree(17, CHAIN)
        tree.processes["root"].host.crash()
        source, results = tree.agencies["ansa"].source, []  # type: ignore[var-annotated]
        for size in (40, 30):
            published = source.publish("sport", "x", bytes(size * 1024 * 1024), expires=tree.now + 3600)
            published.addErrback(lambda failure: results.append(failure.type))
        self.assertEqual((results, source.waiting, source.up), ([BacklogFull], 1, False))
        source.stopService()
        self.assertEqual((results, source.waiting), ([BacklogFull, ClientStopped], 0))

    def test_of_two_connections_of_a_source_the_newer_publishes(self) -> None:
        tree = SimTree(18, CHAIN)
        tree.run(1)
        other = Agency(tree.network.host("other"), "ansa")
        other.publish("x", b"x", tree.now + 3600)
        tree.run_until(lambda: other.accepted, 5)
        self.assertGreaterEqual(tree.node("root").tally.dropped["news-source", "moved"], 1)

    def test_who_guesses_passwords_waits(self) -> None:
        tree = SimTree(19, CHAIN)
        agency = tree.agencies["ansa"]
        agency.process.host.crash()
        agency.password = "guess"
        agency.process.host.boot()
        tree.run(20)
        dropped = tree.node("root").tally.dropped
        self.assertLess(dropped["news-source", "bad-password"], 8)
        self.assertGreater(dropped["news-source", "too-many-tries"], 3)

    def test_a_source_with_a_wrong_password_publishes_nothing(self) -> None:
        tree = SimTree(8, CHAIN)
        agency = tree.agencies["ansa"]
        agency.process.host.crash()
        agency.password = "guess"
        agency.items["x"] = {"topic": "sport", "title": "x", "body": b"x", "expires": tree.now + 3600}
        agency.process.host.boot()
        tree.run_until(lambda: agency.rejected, 5)
        self.assertEqual(agency.rejected, {"x": "bad-password"})
        self.assertGreaterEqual(tree.node("root").tally.dropped["news-source", "bad-password"], 1)

    def test_a_child_with_another_disk_gets_what_is_held(self) -> None:
        tree = SimTree(9, FORK)
        agency = tree.agencies["ansa"]
        tree.run(2)
        tree.processes["east"].host.crash()
        agency.publish("x", b"x", tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([1], ["west", "south"]), 5)
        tree.run(1)
        tree.processes["west"].host.crash()
        tree.processes["west"].host.disk.wipe("/news")
        tree.processes["west"].host.boot()
        tree.run_until(lambda: tree.everywhere([1], ["west"]), 5)

    def test_a_child_that_is_forgotten_holds_nobody_up(self) -> None:
        tree = SimTree(10, FORK)
        tree.run(2)
        tree.processes["east"].host.crash()
        tree.agencies["ansa"].publish("x", b"x", tree.now + 3600)
        tree.run_until(lambda: tree.everywhere([1], ["west", "south"]), 5)
        tree.run(1)
        self.assertEqual(len(tree.node("r2").held()), 1, "it waits for east")
        self.assertTrue(tree.node("r2").forget_child("east"))
        self.assertEqual(tree.node("r2").held(), [])
        self.assertFalse(tree.node("r2").forget_child("east"))


FAULTS = ("reset", "close", "silence", "connections", "cut")


class NewsTreeStormTests(SynchronousTestCase):
    def test_whatever_fails_every_item_accepted_comes_to_every_leaf_once(self) -> None:
        for seed in range(10):
            storm(self, seed)


class PlantedTests(SynchronousTestCase):
    """The storms can fail: mistakes that are planted into the code are caught within a few seeds."""

    def catch(self) -> None:
        for seed in range(60):
            try:
                storm(self, seed)
            except AssertionError:
                # What the mistake breaks besides may be logged, too.
                self.flushLoggedErrors()
                return
        self.fail("no seed has caught it")

    def test_acknowledged_before_it_is_durable(self) -> None:
        verified = Holdings.verified

        def at_once(holdings: Holdings, holding: Holding, digest: bytes, moment: Moment) -> list[Effect]:
            effects = verified(holdings, holding, digest, moment)
            return [*effects, Finished(holding.held())] if holding.stamp else effects

        self.patch(Holdings, "verified", at_once)
        self.catch()

    def test_passed_on_before_its_number_is_durable(self) -> None:
        accept = Holdings.accept

        def at_once(holdings: Holdings, item: Item, priority: int, moment: Moment) -> tuple[int, list[Effect]]:
            number, effects = accept(holdings, item, priority, moment)
            holding = holdings.find(number)
            assert holding is not None
            holding.offered = True
            return number, [*effects, Offer(holding)]

        self.patch(Holdings, "accept", at_once)
        self.catch()

    def test_forgotten_once_all_children_have_it(self) -> None:
        release = Holdings._release

        def forget(holdings: Holdings, number: int, holding: Holding) -> list[Effect]:
            effects = release(holdings, number, holding)
            return [*effects, *holdings._remove(number, holding)] if effects else []

        self.patch(Holdings, "_release", forget)
        self.catch()

    def test_expired_and_still_there(self) -> None:
        def forget(holdings: Holdings, moment: Moment) -> list[Effect]:
            holdings._expiries.clear()
            return []

        self.patch(Holdings, "expire", forget)
        self.catch()


def storm(test: SynchronousTestCase, seed: int) -> None:
    tree = SimTree(seed, FORK, ("ansa", "reuters"))
    # Whoever was never here is waited for by nobody.
    tree.run(3)
    dice = random.Random(seed)
    hosts = {name: tree.network.hosts[name] for name in ("root", *FORK, "ansa", "reuters")}
    struck = 0
    for count in range(40):
        agency = tree.agencies[dice.choice(("ansa", "reuters"))]
        life_s, size = dice.choice((3.0, 3600.0, 3600.0)), dice.choice((0, 100, 20_000, 300_000))
        agency.publish(f"i{count}", body_of(count, size), tree.now + life_s)
        tree.run(dice.uniform(0, 0.02))
        for name in dice.sample(sorted(hosts), dice.randint(0, 3)):
            struck += 1
            fault = dice.choice(FAULTS)
            if fault == "connections":
                tree.network.reset_all()
            elif fault == "cut":
                tree.network.isolate(name)
            elif hosts[name].alive:
                hosts[name].crash(fault)
        tree.run(dice.uniform(0, 0.5))
        for name, host in hosts.items():
            if dice.random() < 0.6:
                tree.network.rejoin(name)
                if not host.alive:
                    host.boot()
    for name, host in hosts.items():
        tree.network.rejoin(name)
        if not host.alive:
            host.boot()
    test.assertGreater(struck, 20)
    agencies = tree.agencies.values()
    tree.run_until(lambda: all(agency.settled for agency in agencies), 60)
    tree.run(5)
    accepted = {number: (agency.name, id) for agency in agencies for id, number in agency.accepted.items()}
    test.assertEqual(len(accepted), sum(len(agency.accepted) for agency in agencies), "numbers are unique")
    kept = {
        number: (name, id)
        for number, (name, id) in accepted.items()
        if tree.agencies[name].items[id]["expires"] > tree.now + 100
    }
    test.assertGreater(len(kept), 15, seed)
    tree.run_until(lambda: tree.everywhere(kept), 60)
    tree.run(10)
    for name, leaf in tree.leaves.items():
        held = tree.node(name).held()
        test.assertEqual({each.item.number: (each.item.source, each.item.id) for each in held}, kept, (seed, name))
        test.assertEqual(len({each.stamp for each in held}), len(held), (seed, name))
        test.assertEqual(len(set(leaf.arrived)), len(leaf.arrived), (seed, name))
        # An item whose source never heard that it was accepted, and which had expired when it asked again.
        unknown = len(set(leaf.arrived) - set(accepted))
        test.assertLessEqual(unknown, sum(len(agency.rejected) for agency in agencies), (seed, name))
    for name in ("root", "r1", "r2", "r3"):
        test.assertEqual(tree.node(name).held(), [], (seed, name))
