from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.contracting.acts import AGREE, CANCEL, CLOSE, RENEW, STAND_IN, Change, Opened
from chatproto.news.contracting.messages import Declined, Offer, Renewed
from chatproto.news.contracting.negotiation import (
    OVER,
    ROUNDS_MAX,
    TRANSITIONS,
    TRIES_MAX,
    Errand,
    Granted,
    Negotiation,
    Stands,
    State,
    Submit,
    declined,
    describe,
)
from chatproto.news.contracting.policy import Node
from chatproto.news.placing.ledger import Lost
from chatproto.news.terms import Terms
from tests.unit.news.contracting.desk import PAID, SPORT, SomeDesk

NORTH, SOUTH = Node("north", substitute="south"), Node("south")
TOO_MUCH = Terms(("sport",), paid=True, minimum=50)
NEAREST = Terms(("sport",), paid=True, minimum=5, maximum=50)


class TableTests(SynchronousTestCase):
    def test_what_is_over_stays_so_and_all_else_can_end(self) -> None:
        self.assertEqual({before for before, _ in TRANSITIONS}, set(State) - OVER)
        self.assertEqual(len(describe().splitlines()), len(TRANSITIONS))


class NegotiationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = SomeDesk(NORTH)
        self.negotiation = Negotiation("ada", "p")

    def change(self, after: int = 0, terms: Terms = PAID, node: Node = NORTH) -> Change:
        return Change("ada", after, AGREE, "p", terms, node.name, node.substitute)

    def propose(self, terms: Terms = PAID, number: int = 1) -> object:
        return self.negotiation.proposed(number, terms, self.desk)

    def look(self) -> object:
        return self.negotiation.look(self.desk)

    def test_what_can_be_had_is_placed_and_then_agreed_on(self) -> None:
        self.assertEqual(self.propose(), [Submit(self.change())])
        self.assertEqual((self.negotiation.state, self.look()), (State.PLACING, []))
        self.desk.apply(self.change())
        self.assertEqual(self.look(), [])
        self.desk.decide("ada/1")
        contract = self.desk.account().contract
        assert contract is not None
        self.assertEqual(self.look(), [Granted(1, contract)])
        self.assertEqual((self.negotiation.state, self.negotiation.over), (State.AGREED, True))
        self.assertEqual(self.look(), [])

    def test_what_was_agreed_on_elsewhere_is_told_again_whatever_the_terms_are_now(self) -> None:
        self.desk.apply(self.change())
        self.desk.decide("ada/1")
        contract = self.desk.account().contract
        assert contract is not None
        self.assertEqual(self.propose(SPORT, 7), [Granted(7, contract)])

    def test_what_is_about_to_be_agreed_on_elsewhere_is_waited_for(self) -> None:
        self.desk.apply(self.change())
        self.assertEqual((self.propose(), self.negotiation.state), ([], State.PROPOSED))
        self.desk.decide("ada/1")
        self.assertIsInstance(self.negotiation.look(self.desk)[0], Granted)

    def test_an_offer_is_picked(self) -> None:
        free = Terms(("sport",))
        self.assertEqual(self.propose(TOO_MUCH), [Offer(1, (NEAREST, free))])
        self.assertEqual((self.look(), self.negotiation.late(), self.negotiation.over), ([], [], True))
        again = self.negotiation = Negotiation("ada", "p")
        self.propose(TOO_MUCH)
        self.assertEqual(again.proposed(2, NEAREST, self.desk), [Submit(self.change(0, NEAREST))])

    def test_an_offer_is_countered_and_the_counter_too_until_there_is_an_end(self) -> None:
        for number in range(1, ROUNDS_MAX + 1):
            self.assertIsInstance(self.negotiation.proposed(number, TOO_MUCH, self.desk)[0], Offer)
        self.assertEqual(self.propose(TOO_MUCH, 99), [declined(99, "too-many-rounds")])
        self.assertEqual(self.negotiation.state, State.REFUSED)

    def test_an_offer_is_not_wanted(self) -> None:
        self.propose(TOO_MUCH)
        self.negotiation.gave_up()
        self.negotiation.gave_up()
        self.assertEqual(self.negotiation.state, State.GIVEN_UP)

    def test_nothing_can_be_had(self) -> None:
        self.desk.nodes.clear()
        self.assertEqual(self.propose(), [declined(1, "no-room")])

    def test_a_node_that_says_no_is_left_out(self) -> None:
        self.desk.nodes = {"north": NORTH, "south": SOUTH}
        self.assertEqual(self.propose(), [Submit(self.change())])
        self.desk.apply(self.change())
        self.desk.decide("ada/1", committed=False, code="full", node="north")
        self.assertEqual(self.look(), [Submit(self.change(1, node=SOUTH))])
        self.desk.apply(self.change(1, node=SOUTH))
        self.desk.decide("ada/2", committed=False, code="full", node="south")
        self.assertEqual(self.look(), [declined(1, "no-room")])

    def test_another_change_that_came_in_between(self) -> None:
        """As of another connection of the same reader; what was decided on without it is decided on anew."""
        self.propose()
        self.desk.agree(SPORT, "north")
        self.desk.apply(self.change())
        self.assertEqual(self.look(), [Submit(self.change(1))])

    def test_there_is_an_end_of_trying(self) -> None:
        self.propose()
        for _ in range(TRIES_MAX - 1):
            self.desk.agree(SPORT, "north")
            self.assertEqual(len(self.negotiation.look(self.desk)), 1)
        self.desk.agree(SPORT, "north")
        self.assertEqual(self.look(), [declined(1, "unavailable")])

    def test_late_while_it_waits_for_another_change(self) -> None:
        self.desk.apply(Change("ada", 0, AGREE, "q", PAID, "north"))
        self.propose()
        self.assertEqual(self.negotiation.late(), [declined(1, "too-slow")])
        self.assertEqual(self.negotiation.late(), [])

    def test_late_or_given_up_before_its_turn(self) -> None:
        self.assertEqual((self.look(), self.negotiation.late()), ([], []))
        self.assertTrue(self.negotiation.over)
        other = Negotiation("ada", "p")
        other.gave_up()
        self.assertTrue(other.over)

    def test_what_is_being_placed_is_not_ended(self) -> None:
        self.propose()
        self.negotiation.gave_up()
        self.assertEqual((self.negotiation.late(), self.negotiation.state), ([], State.PLACING))


class ErrandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = SomeDesk(NORTH)
        self.desk.agree(PAID, "north", substitute="south")

    def look(self, errand: Errand) -> object:
        return errand.look(self.desk)

    def test_to_cancel(self) -> None:
        errand = Errand("ada", 3, CANCEL)
        self.assertEqual(self.look(errand), [Submit(Change("ada", 1, CANCEL))])
        self.assertEqual(self.look(errand), [])
        self.desk.apply(Change("ada", 1, CANCEL))
        self.assertEqual(self.look(errand), [])
        self.desk.decide("ada/2")
        self.assertEqual(self.look(errand), [declined(3, "no-contract")])
        self.assertEqual((self.look(errand), errand.over), ([], True))

    def test_a_node_that_cannot_be_reached(self) -> None:
        errand = Errand("ada", 3, CANCEL)
        self.look(errand)
        self.desk.apply(Change("ada", 1, CANCEL))
        self.desk.decide("ada/2", committed=False, code="no-answer", node="north")
        self.assertEqual(self.look(errand), [declined(3, "unavailable")])

    def test_other_changes_that_come_in_between(self) -> None:
        errand = Errand("ada", 3, CANCEL)
        for _ in range(TRIES_MAX):
            self.assertEqual(len(errand.look(self.desk)), 1)
            self.desk.agree(PAID, "north", substitute="south")
        self.assertEqual(self.look(errand), [declined(3, "unavailable")])

    def test_to_be_served_by_the_substitute(self) -> None:
        self.desk.nodes.clear()
        errand = Errand("ada", 3, STAND_IN)
        self.assertEqual(self.look(errand), [Submit(Change("ada", 1, STAND_IN, gone=("north",)))])
        self.desk.apply(Change("ada", 1, STAND_IN))
        self.desk.decide("ada/2")
        contract = self.desk.account().contract
        assert contract is not None
        self.assertEqual(self.look(errand), [Stands(3, contract)])

    def test_who_has_no_substitute(self) -> None:
        self.assertEqual(self.look(Errand("ada", 3, STAND_IN)), [declined(3, "not-needed")])
        self.assertEqual(self.look(Errand("bob", 3, STAND_IN)), [declined(3, "no-contract")])
        self.desk.nodes.clear()
        self.desk.agree(SPORT, "north", "bob", "south")
        self.assertEqual(self.look(Errand("bob", 3, STAND_IN)), [declined(3, "paid-only")])
        self.desk.agree(PAID, "north", "bob")
        self.assertEqual(self.look(Errand("bob", 3, STAND_IN)), [declined(3, "no-substitute")])

    def test_an_answer_says_why(self) -> None:
        self.assertEqual(declined(1, "no-such-code"), Declined(1, "no-such-code", ""))
        self.assertIn("topic", declined(1, "no-topics").why)

    def test_another_password(self) -> None:
        opened = Opened("ada", "new secret", b"new salt", "new ticket")
        errand = Errand("ada", 3, RENEW, opened)
        self.assertEqual(self.look(errand), [Submit(Change("ada", 1, RENEW, opened=opened))])
        self.desk.apply(Change("ada", 1, RENEW, opened=opened))
        self.desk.decide("ada/2")
        self.assertEqual(self.look(errand), [Renewed(3)])

    def test_an_account_is_closed(self) -> None:
        errand = Errand("bob", 3, CLOSE)
        self.assertEqual(self.look(errand), [Submit(Change("bob", 0, CLOSE))])
        self.desk.apply(Change("bob", 0, CLOSE))
        self.assertFalse(self.desk.book.knows("bob"))

    def test_what_has_waited_for_a_node_that_is_lost(self) -> None:
        """A contract that was agreed on and has no node is no answer: the reader proposes until it has one."""
        self.desk.apply(Lost("north"))
        negotiation = Negotiation("ada", "proposal 0")
        (submit,) = negotiation.proposed(1, PAID, self.desk)
        self.assertIsInstance(submit, Submit)
