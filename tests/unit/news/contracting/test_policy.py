from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.contracting.book import Contract
from chatproto.news.contracting.policy import Choice, Node, Policy, consider, haven
from chatproto.news.terms import ITEMS_AN_HOUR_MAX, PULL, Terms
from tests.unit.news.contracting.desk import MOBILE, PAID, SPORT, SomeDesk


def wish(**terms: Any) -> Terms:
    return Terms(("sport",), **terms)


class NearestTests(SynchronousTestCase):
    def test_within_the_ceilings_it_is_what_is_wanted(self) -> None:
        for terms in (SPORT, MOBILE, PAID, wish(paid=True, maximum=1), wish(paid=True, maximum=50, delay_s_max=300.0)):
            self.assertEqual(Policy().nearest(terms), terms)

    def test_each_ceiling(self) -> None:
        self.assertEqual(
            Policy().nearest(wish(paid=True, minimum=7, delay_s_max=60.0)),
            wish(paid=True, minimum=5, maximum=50, delay_s_max=200.0),
        )
        self.assertEqual(Policy(minimum_max=9, maximum_max=3).nearest(wish(paid=True, minimum=7)).minimum, 3)

    def test_what_is_near(self) -> None:
        self.assertEqual(Policy().nearby(PAID), [PAID, wish(maximum=50)])
        self.assertEqual(Policy().nearby(SPORT), [SPORT, wish(paid=True, maximum=50)])
        self.assertEqual(Policy().nearby(MOBILE), [MOBILE])


class ConsiderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = SomeDesk(Node("north", 2, 1, "south"), Node("south", 1, 0))

    def consider(self, terms: Terms, reader: str = "bob", without: tuple[str, ...] = ()) -> Choice:
        desk = self.desk
        return consider(terms, desk.policy, desk.nodes, desk.book, reader, without)

    def test_what_makes_no_sense_is_refused(self) -> None:
        self.assertEqual(self.consider(Terms(())), Choice(refusal="no-topics"))

    def test_the_node_with_most_room(self) -> None:
        self.assertEqual(self.consider(SPORT).node, self.desk.nodes["north"])
        self.desk.agree(SPORT, "north")
        self.assertEqual(self.consider(SPORT).node, self.desk.nodes["south"], "as much, and fewer readers")
        self.assertEqual(self.consider(SPORT, without=("south",)).node, self.desk.nodes["north"])

    def test_a_reader_stays_where_it_is_and_is_not_in_its_own_way(self) -> None:
        self.desk.agree(PAID, "south")
        self.assertEqual(self.consider(SPORT, "ada").node, self.desk.nodes["south"])
        self.assertEqual(self.consider(SPORT, "ada", ("south",)).node, self.desk.nodes["north"])
        self.desk.agree(PAID, "north")
        self.assertEqual(self.consider(PAID, "ada").node, self.desk.nodes["north"])

    def test_without_room_for_paid_contracts_there_may_be_some_for_free_ones(self) -> None:
        self.desk.agree(PAID, "north")
        self.desk.agree(SPORT, "south", "bob")
        self.desk.nodes.pop("south")
        self.assertEqual(self.consider(PAID), Choice(options=(wish(maximum=50),)))
        self.assertEqual(self.consider(SPORT).node, self.desk.nodes["north"])

    def test_what_is_too_much_is_answered_with_what_is_not(self) -> None:
        self.assertEqual(
            self.consider(wish(paid=True, minimum=9)).options,
            (
                wish(paid=True, minimum=5, maximum=50),
                wish(maximum=ITEMS_AN_HOUR_MAX),
            ),
        )

    def test_no_room_at_all(self) -> None:
        self.desk.nodes.clear()
        self.assertEqual(self.consider(wish(mode=PULL)), Choice(refusal="no-room"))

    def test_nodes_without_bounds_are_taken_in_turn(self) -> None:
        self.desk.nodes = {name: Node(name) for name in ("north", "south")}
        self.desk.agree(SPORT, "north")
        self.assertEqual(self.consider(PAID).node, self.desk.nodes["south"])

    def test_mobile_readers_go_where_a_proxy_reads_if_there_is_one(self) -> None:
        mobile = wish(mode=PULL, mobile=True)
        self.assertEqual(self.consider(mobile).node, self.desk.nodes["north"])
        self.desk.agree(mobile, "north", "bob")
        self.desk.nodes["south"] = Node("south", 20, 1, has_proxy=True)
        for reader in ("ada", "bob"):
            self.assertEqual(self.consider(mobile, reader).node, self.desk.nodes["south"])
        self.assertEqual(self.consider(wish(mode=PULL), "bob").node, self.desk.nodes["north"])
        self.assertEqual(self.consider(mobile, without=("south",)).node, self.desk.nodes["north"])


class HavenTests(SynchronousTestCase):
    def test_where_it_is_already_else_where_it_could_be_else_where_most_room_is(self) -> None:
        nodes = {name: Node(name, 100) for name in ("east", "south", "west")}
        desk = SomeDesk()
        desk.agree(SPORT, "east", reader="bob")
        contract = Contract("p", PAID, "", "south", 1, "east")
        self.assertEqual(haven(contract, nodes, desk.book), nodes["east"])
        nodes["east"] = Node("east", 1)
        self.assertEqual(haven(contract, nodes, desk.book), nodes["south"])
        del nodes["south"]
        self.assertEqual(haven(contract, nodes, desk.book), nodes["west"])
        self.assertIsNone(haven(contract, {}, desk.book))
