"""Readers change their passwords and leave, and delivery nodes are lost for good, while servers are killed."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.passwords import token_hash
from chatproto.errors import ContractRefused
from chatproto.news.contracting.client import ContractClient
from chatproto.services.news.overseeing import SAYS_NO_AFTER_S
from tests.simulation.contracting import PAID, SPORT
from tests.simulation.test_placing_readers import NODES, Region

KILLED_AFTER_S = (0.0, 0.01, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4)


class AccountsTestCase(SynchronousTestCase):
    def begin(self, seed: int = 1) -> Region:
        region = self.region = Region(seed)
        return region

    def wait(self, asked: "Deferred[Any]", seconds: float = 60) -> Any:
        return self.region.contracts.wait(asked, seconds)

    def code(self, asked: "Deferred[Any]") -> str:
        with self.assertRaises(ContractRefused) as caught:
            self.wait(asked)
        return caught.exception.code

    def client(self, reader: str, password: str = "secret") -> ContractClient:
        return self.region.contracts.client(reader, password, opens=False)

    def has(self, node: str, reader: str, ticket: str) -> None:
        """Wait until a delivery node lets a reader in with a ticket: it hears a little later than the reader."""

        def known() -> bool:
            placement = self.region.placed(node).get(reader)
            return placement is not None and placement.ticket == token_hash(ticket) and not placement.home

        self.region.until(known)

    def is_given_another(self, reader: str) -> None:
        self.region.until(lambda: bool(self.region.accounts()[reader].contract.node))

    def is_gone(self, node: str) -> bool:
        trees = [self.region.contracts.tree(name) for name in ("master", "slave")]
        return all(node not in tree.server.nodes for tree in trees if tree is not None)

    def said(self, word: str, *more: str) -> str:
        """Have an operator say something to the master; return its answer."""
        said: list[str] = []
        tree = self.region.contracts.tree("master")
        tree.commands()[word](said.append, *more)
        self.region.until(lambda: bool(said))
        return said[0]


class GoneTests(AccountsTestCase):
    def test_a_reader_goes_elsewhere_while_its_node_is_gone(self) -> None:
        region = self.begin()
        ada = region.readers[0].client
        home = self.wait(ada.propose(PAID)).node
        region.nodes[home].host.crash()
        region.until(lambda: self.is_gone(home))
        self.assertIsNone(self.wait(ada.cancel(), 1))
        other = self.wait(ada.propose(SPORT), 5)
        self.assertNotEqual(other.node, home)
        region.until(lambda: set(region.placed(other.node)) == {"ada"})
        region.nodes[home].host.boot()
        region.until(lambda: region.nodes[home].tree.opened() and not region.placed(home))
        region.until(region.is_calm)
        self.assertFalse(region.contracts.book().names(home))


class LostTests(AccountsTestCase):
    def test_its_readers_are_given_another_one(self) -> None:
        for stands_in in (False, True):
            region = self.begin()
            clients = [reader.client for reader in region.readers]
            places = [self.wait(client.propose(PAID)) for client in clients]
            home = places[0].node
            moved = [place for place in places if place.node == home]
            region.nodes[home].host.crash()
            region.until(lambda home=home: self.is_gone(home))
            away = self.wait(clients[0].substitute()) if stands_in else ""
            self.assertEqual(self.said("lost", home)[:5], "done:")
            for place in moved:
                client = next(reader.client for reader in region.readers if reader.name == place.reader)
                self.is_given_another(place.reader)
                now = self.wait(client.where())
                self.assertEqual(now.terms, place.terms)
                self.assertNotEqual(now.node, home)
                self.has(now.node, place.reader, now.ticket)
            if stands_in:
                self.assertEqual(self.wait(clients[0].where()).node, away)
            self.assertFalse(region.contracts.book().names(home))
            region.until(lambda region=region: not region.contracts.book().ledger.open)

    def test_without_room_a_reader_waits_for_it(self) -> None:
        region = self.begin()
        ada = region.readers[0].client
        self.wait(ada.propose(PAID))
        for name in NODES:
            region.nodes[name].host.crash()
            region.until(lambda name=name: self.is_gone(name))
            self.said("lost", name)
        self.assertEqual(self.code(ada.where()), "moving")
        region.nodes["west"].host.boot()
        region.until(lambda: region.accounts()["ada"].contract.node == "west")
        self.assertEqual(self.wait(ada.where()).node, "west")

    def test_what_is_refused(self) -> None:
        self.begin()
        self.assertIn("is registered", self.said("lost", "east"))
        self.assertIn("no contract", self.said("lost", "elsewhere"))
        self.assertIn("no reader", self.said("delete", "nobody"))

    def test_an_operator_deletes_an_account(self) -> None:
        region = self.begin()
        ada = region.readers[0].client
        place = self.wait(ada.propose(PAID))
        self.assertEqual(self.said("delete", "ada"), "done: ada is deleted")
        region.until(lambda: not region.placed(place.node))
        self.assertEqual(self.code(self.client("ada").enter()), "login-failed")

    def test_what_is_not_committed_is_not_waited_for(self) -> None:
        region = self.begin()
        place = self.wait(region.readers[0].client.propose(PAID))
        region.nodes[place.node].host.pause()
        before = region.clock.seconds()
        self.assertIn("not yet", self.said("delete", "ada"))
        self.assertGreaterEqual(region.clock.seconds() - before, SAYS_NO_AFTER_S)


class PasswordTests(AccountsTestCase):
    def test_another_password_whenever_the_master_is_killed(self) -> None:
        unanswered = 0
        for after_s in (None, *KILLED_AFTER_S):
            region = self.begin()
            ada = region.readers[0].client
            before = self.wait(ada.propose(PAID))
            changing = ada.change_password("another")
            if after_s is not None:
                region.clock.run(after_s)
                region.contracts.master.host.crash()
                unanswered += not changing.called
            self.wait(changing)
            place = self.wait(ada.where())
            self.assertNotEqual(place.ticket, before.ticket)
            region.heal()
            self.has(place.node, "ada", place.ticket)
            self.assertEqual(self.code(self.client("ada").enter()), "login-failed")
            self.wait(self.client("ada", "another").enter())
        self.assertTrue(0 < unanswered < len(KILLED_AFTER_S))

    def test_while_its_node_is_gone(self) -> None:
        region = self.begin()
        ada = region.readers[0].client
        place = self.wait(ada.propose(PAID))
        region.nodes[place.node].host.crash()
        region.until(lambda: self.is_gone(place.node))
        self.wait(ada.change_password("another"), 2)
        ticket = self.wait(ada.where()).ticket
        region.nodes[place.node].host.boot()
        region.until(lambda: region.nodes[place.node].tree.opened())
        self.has(place.node, "ada", ticket)

    def test_what_is_no_password(self) -> None:
        self.begin()
        ada = self.region.readers[0].client
        self.assertEqual(self.code(ada.change_password("")), "bad-password")
        self.wait(ada.change_password("good"))

    def test_whoever_is_there_under_the_one_before_is_let_go(self) -> None:
        self.begin()
        ada, other = self.region.readers[0].client, self.region.contracts.client("ada")
        self.wait(ada.enter())
        self.wait(other.enter())
        self.wait(ada.change_password("another"))
        self.region.until(lambda: other.server == "")
        self.assertEqual(self.code(other.where()), "login-failed")


class DeletionTests(AccountsTestCase):
    def test_an_account_is_deleted_whenever_the_master_is_killed(self) -> None:
        unanswered = 0
        for after_s in (None, *KILLED_AFTER_S):
            region = self.begin()
            ada = region.readers[0].client
            self.wait(ada.propose(PAID))
            deleting = ada.delete_account()
            if after_s is not None:
                region.clock.run(after_s)
                region.contracts.master.host.crash()
                unanswered += not deleting.called
            self.assertIsNone(self.wait(deleting))
            self.assertEqual(self.code(ada.where()), "login-failed")
            region.heal()
            self.assertNotIn("ada", region.accounts())
            self.assertEqual([name for name in NODES if region.placed(name)], [])
            again = region.contracts.client("ada", "somebody else")
            self.assertEqual(self.wait(again.propose(SPORT)).reader, "ada")
        self.assertTrue(0 < unanswered < len(KILLED_AFTER_S))
