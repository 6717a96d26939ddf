"""Contracts in the simulated world: negotiated, refused, changed, cancelled; and a master that dies in between."""

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import ContractRefused, ContractStopped
from chatproto.news.contracting.visits import OFFER_S_MAX
from chatproto.news.terms import Place, Terms
from chatproto.services.news.contracts import ContractsSettings, build_contracts
from chatproto.services.news.status import decode_status
from chatproto.testing.clock import NeverHappened
from tests.simulation.contracting import PAID, SPORT, TOO_MUCH, Contracts
from tests.simulation.placing_links import DeliveryNode


class OneServerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.scene = Contracts(slave=False)
        self.scene.settle("north")

    def refused(self, deferred: Any) -> str:
        with self.assertRaises(ContractRefused) as caught:
            self.scene.wait(deferred)
        return caught.exception.code


class NegotiationTests(OneServerTestCase):
    def test_a_contract_that_can_be_had_is_agreed_on_at_once(self) -> None:
        place = self.scene.wait(self.scene.client().propose(SPORT))
        self.assertEqual((place.reader, place.terms, place.node), ("ada", SPORT, "north"))

    def test_what_cannot_be_had_is_answered_with_the_nearest(self) -> None:
        ada = self.scene.client()
        options = self.scene.wait(ada.propose(TOO_MUCH))
        self.assertEqual(options, (PAID, Terms(("politics", "sport"), maximum=80)))
        place = self.scene.wait(ada.propose(options[0]))
        self.assertEqual(place.terms, PAID)
        self.assertEqual(self.scene.wait(ada.where()), place)

    def test_all_that_a_reader_can_ask_for(self) -> None:
        ada = self.scene.client()
        self.assertEqual(self.refused(ada.where()), "no-contract")
        self.assertEqual(self.refused(ada.substitute()), "no-contract")
        self.assertEqual(self.scene.wait(ada.enter()), "master")
        self.scene.wait(ada.propose(TOO_MUCH))
        self.assertIsNone(self.scene.wait(ada.give_up()))
        self.assertEqual(self.refused(ada.where()), "no-contract")
        first = self.scene.wait(ada.propose(SPORT))
        self.assertEqual(self.refused(ada.substitute()), "paid-only")
        second = self.scene.wait(ada.propose(PAID))
        self.assertEqual((second.terms, second.ticket, second.version), (PAID, first.ticket, 2))
        self.assertEqual(self.refused(ada.substitute()), "not-needed")
        self.assertIsNone(self.scene.wait(ada.cancel()))
        self.assertIsNone(self.scene.wait(ada.cancel()))
        self.assertEqual(self.refused(ada.where()), "no-contract")
        self.assertEqual(self.scene.book().taken["north"].readers, 0)

    def test_terms_that_make_no_sense_are_refused_and_counted(self) -> None:
        ada = self.scene.client()
        for terms, code in (
            (Terms(()), "no-topics"),
            (Terms(("sports",)), "unknown-topic"),
            (Terms(("sport",), paid=True, minimum=10, maximum=5), "minimum-above-maximum"),
            (Terms(("sport",), exclusives=True), "free-without-quality"),
        ):
            self.assertEqual(self.refused(ada.propose(terms)), code)
            self.assertEqual(self.scene.tree().server.tally.dropped["news-contract", code], 1)
        self.assertEqual(self.scene.book().pending, {})


class Bargain:
    """A user who wants too much, and picks the first that is offered; awaits step after step, and repeats none."""

    def __init__(self, scene: Contracts) -> None:
        self.client = scene.client()
        self.heard: list[str] = []
        self.client.told = self.heard.append
        self.places: list[Place] = []
        self.failures: list[Any] = []
        self.client.propose(TOO_MUCH).addCallback(self._pick).addErrback(self.failures.append)

    def _pick(self, options: Any) -> Any:
        return self.client.propose(options[0]).addCallback(self.places.append)


class FailoverTests(SynchronousTestCase):
    def bargain(self) -> tuple[Contracts, Bargain]:
        scene = Contracts()
        scene.settle("north")
        return scene, Bargain(scene)

    def agreed_once(self, scene: Contracts, bargain: Bargain, name: str) -> None:
        self.assertEqual(bargain.failures, [])
        [place] = bargain.places
        account = scene.book(name).accounts["ada"]
        assert account.contract is not None
        self.assertEqual((place.terms, place.node, account.contract.terms), (PAID, "north", PAID))
        self.assertEqual((account.version, place.version), (1, 1), "agreed on once")
        self.assertEqual(scene.book(name).taken["north"].readers, 1)
        self.assertEqual(scene.wait(bargain.client.where()), place)

    def test_the_master_is_killed_at_every_event_of_a_negotiation(self) -> None:
        """Whenever it dies: the user repeats nothing, there is one contract, and none that was told of is lost."""
        scene, bargain = self.bargain()
        first = scene.clock.events
        scene.until(lambda: bool(bargain.places))
        last = scene.clock.events
        paused = 0
        for event in range(first, last + 2):
            scene, bargain = self.bargain()
            scene.until(lambda scene=scene, event=event: scene.clock.events >= event)
            scene.master.host.crash()
            scene.until(lambda bargain=bargain: bool(bargain.places or bargain.failures))
            scene.until(lambda scene=scene: "slave" in scene.registered())
            self.agreed_once(scene, bargain, "slave")
            paused += bool(bargain.heard)
        self.assertGreater(paused, 10, "connections were lost in the middle")

    def test_without_trouble_the_connection_stays(self) -> None:
        """Whoever hears an answer asks again at once; everything is asked once."""
        scene, bargain = self.bargain()
        scene.until(lambda: bool(bargain.places))
        self.agreed_once(scene, bargain, "master")
        self.assertEqual((bargain.heard, dict(scene.tree().server.tally.dropped)), ([], {}))

    def test_the_master_comes_back_and_has_what_was_agreed_on_meanwhile(self) -> None:
        scene, bargain = self.bargain()
        scene.master.host.crash()
        scene.until(lambda: bool(bargain.places))
        self.assertEqual(bargain.client.server, "slave")
        scene.master.host.boot()
        scene.until(lambda: scene.registered() == {"master"})
        scene.until(lambda: scene.tree("slave").door is None)
        self.agreed_once(scene, bargain, "master")
        self.assertEqual(bargain.client.server, "master")
        scene.until(lambda: scene.tree("master").pair.role == "leader")
        self.assertEqual(scene.wait(bargain.client.propose(SPORT)).version, 2)

    def test_a_second_time(self) -> None:
        scene, bargain = self.bargain()
        for _ in range(3):
            scene.master.host.crash()
            scene.until(lambda: bargain.client.server == "slave")
            scene.master.host.boot()
            scene.until(lambda: bargain.client.server == "master" and scene.tree("slave").door is None)
        scene.until(lambda: bool(bargain.places))
        self.agreed_once(scene, bargain, "master")

    def test_the_slave_finishes_what_it_is_doing_before_it_hands_back(self) -> None:
        """A request under way at the slave, when the master is back, is answered by the slave."""
        scene, bargain = self.bargain()
        scene.master.host.crash()
        scene.until(lambda: bool(bargain.places))
        scene.holding = True
        asked = bargain.client.propose(SPORT)
        scene.until(lambda: bool(scene.book("slave").pending))
        scene.master.host.boot()
        scene.until(lambda: scene.registered() == {"master"})
        scene.clock.run(2)
        self.assertEqual((bargain.client.server, scene.tree("slave").server.negotiations), ("slave", 1))
        scene.release()
        self.assertEqual(scene.wait(asked).version, 2)
        scene.until(lambda: scene.tree("slave").door is None and bargain.client.server == "master")
        self.assertEqual(scene.wait(bargain.client.where()).version, 2)

    def test_a_master_that_is_stopped_and_goes_on(self) -> None:
        """Its connections stay: what it has not answered is asked elsewhere, and it leads nobody any more."""
        for wait_s in (0.0, 0.01, 0.03, 0.05):
            scene, bargain = self.bargain()
            scene.clock.run(wait_s)
            scene.master.host.pause()
            scene.until(lambda bargain=bargain: bool(bargain.places))
            scene.master.host.resume()
            scene.until(lambda scene=scene: scene.registered() == {"master"} and scene.tree("slave").door is None)
            self.agreed_once(scene, bargain, "master")

    def test_what_a_master_that_was_cut_off_still_has_comes_too_late(self) -> None:
        """It was asked for, is found in its log when it is back, and is agreed on again: but not as it is now."""
        late = 0
        for event in range(0, 60, 4):
            scene, bargain = self.bargain()
            first = scene.clock.events
            scene.until(lambda scene=scene, until=first + 80 + event: scene.clock.events >= until)
            for other in ("slave", "registry"):
                scene.network.cut("master", other)
            scene.until(lambda bargain=bargain: bool(bargain.places) and bargain.client.server != "")
            last = scene.wait(bargain.client.propose(SPORT))
            late += bargain.client.server == "slave"
            scene.network.heal_all()
            scene.until(lambda scene=scene: scene.tree("slave").door is None and scene.registered() == {"master"})
            scene.until(lambda scene=scene: scene.tree("master").pair.redundancy == "paired")
            scene.clock.run(1)
            for name in scene.processes:
                account = scene.book(name).accounts["ada"]
                assert account.contract is not None
                self.assertEqual((account.contract.terms, account.version), (SPORT, last.version))
        self.assertGreater(late, 5, "the slave has stood in")

    def test_a_master_that_is_told_to_stop_answers_first(self) -> None:
        scene, bargain = self.bargain()
        scene.wait(bargain.client.enter())
        scene.master.stop()
        scene.until(lambda: not scene.master.host.alive)
        scene.until(lambda: bool(bargain.places))
        self.agreed_once(scene, bargain, "slave")

    def test_without_the_registry_nobody_stands_in_and_the_master_goes_on(self) -> None:
        scene, bargain = self.bargain()
        scene.until(lambda: bool(bargain.places))
        scene.registry.host.crash()
        scene.clock.run(10)
        self.assertIsNone(scene.tree("slave").door)
        self.agreed_once(scene, bargain, "master")
        scene.registry.host.boot()
        scene.until(lambda: scene.registered() == {"master"})
        self.assertEqual(scene.wait(bargain.client.propose(SPORT)).version, 2)

    def test_a_client_that_is_stopped_tells_whoever_waits(self) -> None:
        scene, bargain = self.bargain()
        bargain.client.stopService()
        self.assertIsInstance(bargain.failures[0].value, ContractStopped)
        with self.assertRaises(ContractStopped):
            scene.wait(bargain.client.where())


class EntranceTests(OneServerTestCase):
    def test_a_wrong_password_and_a_reader_that_there_is_not_look_the_same(self) -> None:
        self.scene.wait(self.scene.client().enter())
        wrong = self.scene.client(password="guess", opens=False)
        self.assertEqual(self.refused(wrong.enter()), "login-failed")
        self.assertEqual(self.refused(wrong.where()), "login-failed")
        self.assertEqual(self.refused(self.scene.client("nobody", opens=False).where()), "login-failed")
        self.assertEqual(self.scene.tree().server.tally.dropped["news-contract", "login-failed"], 2)
        self.assertEqual(list(self.scene.book().accounts), ["ada"])

    def test_a_name_that_another_reader_has(self) -> None:
        self.scene.wait(self.scene.client().enter())
        self.assertEqual(self.refused(self.scene.client(password="another").enter()), "taken")

    def test_two_who_want_one_name_at_once(self) -> None:
        """One has it; the other is told so, however close they were."""
        first, second = self.scene.client(password="first"), self.scene.client(password="second")
        ends: list[str] = []
        for client in (first, second):
            client.enter().addCallbacks(lambda _: ends.append("in"), lambda failure: ends.append(failure.value.code))
        self.scene.until(lambda: len(ends) == 2)
        self.assertEqual(sorted(ends), ["in", "taken"])

    def test_what_is_no_name_or_password(self) -> None:
        self.assertEqual(self.refused(self.scene.client("a b").enter()), "bad-name")
        self.assertEqual(self.refused(self.scene.client("bob", "").enter()), "bad-password")
        self.assertEqual(self.refused(self.scene.client("bob", "x" * 1025).enter()), "bad-password")
        self.assertEqual(self.scene.book().accounts, {})


class CrowdTests(SynchronousTestCase):
    def test_so_many_negotiate_at_once_and_the_others_wait_for_their_turn(self) -> None:
        scene = Contracts(slave=False, negotiations_max=2)
        scene.settle("north")
        clients = [scene.client(f"reader-{number}") for number in range(4)]
        told: list[str] = []
        clients[2].told = clients[3].told = told.append
        for client in clients[:2]:
            self.assertEqual(len(scene.wait(client.propose(TOO_MUCH))), 2)
        third, fourth = clients[2].propose(TOO_MUCH), clients[3].propose(SPORT)
        scene.until(lambda: len(told) == 2)
        self.assertEqual(sorted(told), [f"as many negotiate as may; before you: {before}" for before in (0, 1)])
        scene.clock.run(5)
        self.assertEqual(scene.tree().server.negotiations, 4)
        scene.wait(clients[0].give_up())
        clients[1].stopService()
        self.assertEqual(len(scene.wait(third)), 2)
        self.assertIsInstance(scene.wait(fourth), Place)

    def test_a_negotiation_that_takes_too_long_makes_room_for_another(self) -> None:
        scene = Contracts(slave=False, negotiations_max=1, negotiation_s_max=10.0)
        scene.settle("north")
        slow, quick = scene.client("slow"), scene.client("quick")
        options = scene.wait(slow.propose(TOO_MUCH))
        self.assertIsInstance(scene.wait(quick.propose(SPORT)), Place)
        self.assertIsInstance(scene.wait(slow.propose(options[0])), Place, "it may begin anew")

    def test_who_thinks_long_about_an_offer_waits_again_if_others_wait(self) -> None:
        scene = Contracts(slave=False, negotiations_max=1)
        scene.settle("north")
        slow, quick = scene.client("slow"), scene.client("quick")
        options = scene.wait(slow.propose(TOO_MUCH))
        scene.clock.run(3 * OFFER_S_MAX)
        self.assertEqual(scene.tree().server.negotiations, 1, "nobody else wants the place")
        placing = quick.propose(TOO_MUCH)
        self.assertEqual(len(scene.wait(placing, OFFER_S_MAX + 1)), 2)
        picking = slow.propose(options[0])
        self.assertIsInstance(scene.wait(picking, OFFER_S_MAX + 1), Place, "the offer has held")
        self.assertEqual(scene.tree().server.negotiations, 0, "the quick one has thought for long, too")


class NodesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.scene = scene = Contracts(slave=False)
        scene.register_node("north", 20, substitute="south")
        scene.register_node("south", 100)
        scene.until(lambda: len(scene.tree().server.nodes) == 2 and "master" in scene.registered())

    def test_readers_are_spread_to_where_room_is(self) -> None:
        scene = self.scene
        self.assertEqual(scene.wait(scene.client("ada").propose(SPORT)).node, "south")
        scene.withdraw_node("south")
        scene.until(lambda: len(scene.tree().server.nodes) == 1)
        self.assertEqual(scene.wait(scene.client("bob").propose(PAID)).substitute, "south")
        options = scene.wait(scene.client("eve").propose(PAID))
        self.assertEqual([option.paid for option in options], [False], "one in twenty readers there is paid")

    def test_a_node_that_says_no_is_not_asked_again(self) -> None:
        scene = self.scene
        scene.refusing = {"south"}
        self.assertEqual(scene.wait(scene.client("ada").propose(SPORT)).node, "north")
        self.assertEqual(scene.book().taken["south"].readers, 0)
        scene.refusing |= {"north"}
        with self.assertRaises(ContractRefused) as caught:
            scene.wait(scene.client("bob").propose(SPORT))
        self.assertEqual(caught.exception.code, "no-room")
        self.assertEqual(scene.book().pending, {})

    def test_a_reader_whose_node_is_gone_is_served_by_the_substitute_until_it_is_back(self) -> None:
        scene = self.scene
        scene.withdraw_node("south")
        scene.until(lambda: len(scene.tree().server.nodes) == 1)
        ada = scene.client("ada")
        self.assertEqual(scene.wait(ada.propose(PAID)).node, "north")
        scene.register_node("south", 100)
        scene.withdraw_node("north")
        scene.until(lambda: set(scene.tree().server.nodes) == {"south"})
        self.assertEqual(scene.wait(ada.substitute()), "south")
        self.assertEqual(scene.wait(ada.substitute()), "south")
        scene.register_node("north", 20, substitute="south")
        account = scene.book().accounts["ada"]
        scene.until(lambda: account.contract is not None and not account.contract.standing)
        self.assertEqual((account.version, scene.wait(ada.where()).node), (3, "north"))


class PlacedTests(SynchronousTestCase):
    """With delivery nodes that are asked, and that keep what they have taken."""

    def scene(self, seed: int = 0) -> tuple[Contracts, DeliveryNode]:
        scene = Contracts(seed, asked=True)
        node = DeliveryNode(scene, "north")
        for name in scene.processes:
            scene.until(lambda name=name: scene.tree(name).server.serving and "north" in scene.tree(name).server.nodes)
        scene.until(lambda: scene.registered() == {"master"} and scene.tree("slave").pair.redundancy == "paired")
        scene.until(lambda: scene.tree("slave").monitor.watch.state.name == "WATCHING")
        return scene, node

    def test_the_master_dies_while_a_reader_is_placed(self) -> None:
        """At the delivery node the reader is what the book says, however far the two-phase commit was."""
        scene, node = self.scene()
        bargain = Bargain(scene)
        first = scene.clock.events
        scene.until(lambda: bool(bargain.places))
        last = scene.clock.events
        for seed, event in enumerate(range(first, last + 10, 3)):
            scene, node = self.scene(seed)
            bargain = Bargain(scene)
            scene.until(lambda scene=scene, event=event: scene.clock.events >= event)
            scene.master.host.crash()
            scene.until(lambda bargain=bargain: bool(bargain.places or bargain.failures), 60)
            self.assertEqual(bargain.failures, [])
            [place] = bargain.places
            scene.until(lambda scene=scene: not scene.book("slave").ledger.open)
            account, held = scene.book("slave").accounts["ada"], node.table.held["ada"]
            assert account.contract is not None
            self.assertEqual((account.contract.version, held.version, held.terms), (place.version, place.version, PAID))
            self.assertEqual(held.ticket, account.ticket)
            self.assertEqual(scene.book("slave").taken["north"].readers, 1)

    def test_a_node_that_is_away_places_nobody(self) -> None:
        scene, node = self.scene()
        node.process.host.crash()
        ada = scene.client()
        with self.assertRaises(ContractRefused) as caught:
            scene.wait(ada.propose(PAID))
        self.assertEqual(caught.exception.code, "no-room")
        self.assertEqual(scene.book().taken["north"].readers, 0)


class HealthTests(SynchronousTestCase):
    def test_master_and_slave_say_how_they_are(self) -> None:
        scene = Contracts()
        scene.settle("north")
        scene.wait(scene.client().propose(SPORT))
        master, slave = scene.tree("master"), scene.tree("slave")
        self.assertEqual(master.summary(), "leader, paired, 0 negotiations, 1 connections")
        self.assertEqual(slave.summary(), "follower, paired, stands by")
        self.assertEqual((master.health().serving, slave.health().serving), (True, True))
        scene.until(lambda: not scene.book().ledger.open)
        asking: Any = scene.delivery.call("news", "master", b"status")
        status = decode_status(scene.wait(asking))
        self.assertEqual((status.role, status.serving), ("contracts", True))
        figures = {name.removeprefix("chatproto_news_contracts_"): value for name, value in status.figures.items()}
        self.assertEqual(
            figures, {"readers": 1, "changes": 0, "transactions": 0, "negotiations": 0, "nodes": 1, "adrift": 0}
        )

    def test_a_slave_that_cannot_commit_anything_does_not_open_its_door(self) -> None:
        """Cut off itself, it hears neither the master nor the witness; the readers' place is with the master."""
        scene, slave = Contracts(), "slave"
        scene.settle("north")
        for other in ("master", "registry"):
            scene.network.cut(slave, other)
        with capturedLogs() as events:
            for _ in range(30):
                scene.clock.run(1)
                self.assertIsNone(scene.tree(slave).door)
        self.assertTrue([event for event in events if "cannot serve: nothing can be committed" in formatEvent(event)])
        self.assertFalse(scene.tree(slave).server.serving)
        ada = scene.client()
        self.assertIsInstance(scene.wait(ada.propose(SPORT)), Place)
        scene.network.heal_all()
        scene.until(lambda: scene.tree(slave).server.serving)
        scene.until(lambda: scene.tree(slave).monitor.watch.state.name == "WATCHING")
        scene.until(lambda: scene.registered() == {"master"} and ada.server == "master")

    def test_a_slave_whose_port_is_taken_tries_again(self) -> None:
        scene = Contracts()
        scene.settle("north")
        taken = scene.network.host("slave").listen("", 4848, 5)
        scene.master.host.crash()
        with capturedLogs() as events:
            scene.clock.run(5)
        self.assertIsNone(scene.tree("slave").door)
        self.assertTrue([event for event in events if "cannot serve: " in formatEvent(event)])
        scene.network.host("slave").unlisten(taken)
        scene.until(lambda: scene.registered() >= {"slave"} and scene.tree("slave").door is not None)
        self.assertIsInstance(scene.wait(scene.client().propose(SPORT)), Place)

    def test_a_log_that_cannot_be_opened_ends_the_process(self) -> None:
        scene = Contracts(slave=False)
        scene.master.host.crash()
        scene.master.host.disk.open("data", lambda reason: None, scene.network.host("another").clock)
        scene.master.host.boot()
        self.assertEqual(len(scene.master.host.last_words), 1)

    def test_it_needs_a_registry(self) -> None:
        world = Contracts(slave=False).network.host("another").world()
        self.assertRaises(ValueError, build_contracts, world, ContractsSettings(data="data", name="another"))


class RestartedSlaveTests(SynchronousTestCase):
    """A slave that is started again while the master is dead stands in, if it has all that was agreed on."""

    def setUp(self) -> None:
        self.scene = Contracts()
        self.scene.settle("north")
        self.ada = self.scene.client("ada")
        self.place = self.scene.wait(self.ada.propose(PAID))

    def host(self, name: str) -> Any:
        return self.scene.network.host(name)

    def serves(self) -> bool:
        return self.scene.tree("slave").door is not None and "slave" in self.scene.registered()

    def test_it_had_stood_in_before(self) -> None:
        self.host("master").crash()
        self.scene.until(self.serves)
        bob = self.scene.wait(self.scene.client("bob").propose(PAID))
        self.host("slave").crash()
        self.host("slave").boot()
        self.scene.until(self.serves)
        self.assertEqual(self.scene.wait(self.ada.where()), self.place)
        self.assertEqual(self.scene.wait(self.scene.client("bob").where()), bob)
        self.host("master").boot()
        self.scene.until(lambda: self.scene.registered() == {"master"})
        self.assertEqual(self.scene.wait(self.scene.client("bob").where()), bob)

    def test_both_have_ended_at_once(self) -> None:
        for name in ("master", "slave"):
            self.host(name).crash()
        self.scene.clock.run(10)
        self.host("slave").boot()
        self.scene.until(self.serves)
        self.assertEqual(self.scene.wait(self.ada.where()), self.place)

    def test_it_was_away_while_something_was_agreed_on(self) -> None:
        """Then it does not, for the master alone has that; it does what it is there for once both have met."""
        self.host("slave").crash()
        bob = self.scene.wait(self.scene.client("bob").propose(PAID))
        self.host("master").crash()
        self.host("slave").boot()
        with self.assertRaises(NeverHappened):
            self.scene.until(self.serves, 60)
        self.assertFalse(self.scene.tree("slave").server.serving)
        self.host("master").boot()
        self.scene.until(lambda: self.scene.registered() == {"master"})
        self.assertEqual(self.scene.wait(self.scene.client("bob").where()), bob)
        self.scene.until(lambda: self.scene.tree("slave").pair.redundancy == "paired")
