import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing.actions import Steps
from chatproto.news.placing.ledger import Act, Begun, Completed, Decided, Kept, Ledger, Lost, Took, Transaction
from tests.simulation.placing import placed

STEPS: Steps = {"east": (placed("ada"),)}
GUEST: Steps = {"west": (placed("ada", home="east"),)}


def taken(ledger: Ledger, *acts: Act) -> list[Transaction | None]:
    return [ledger.take(act) for act in acts]


class LedgerTests(SynchronousTestCase):
    def test_from_begin_to_end(self) -> None:
        ledger = Ledger()
        begun, decided = Transaction(1, "new", STEPS), Transaction(1, "new", STEPS, True)
        self.assertEqual(taken(ledger, Begun("new", STEPS)), [begun])
        self.assertEqual(ledger.named("new"), begun)
        self.assertEqual(taken(ledger, Decided(1, True)), [decided])
        self.assertEqual((ledger.named("new"), ledger.open), (decided, {1: decided}))
        self.assertEqual(taken(ledger, Completed(1)), [decided])
        self.assertEqual((ledger.named("new"), ledger.open), (None, {}))

    def test_what_is_aborted_is_forgotten(self) -> None:
        ledger = Ledger()
        begun = Transaction(1, "new", STEPS)
        self.assertEqual(taken(ledger, Begun("new", STEPS), Decided(1, False, "full", "east")), [begun, begun])
        self.assertEqual((ledger.named("new"), ledger.open), (None, {}))

    def test_a_name_may_be_used_again_and_a_number_not(self) -> None:
        ledger = Ledger()
        taken(ledger, Begun("new", STEPS), Decided(1, False), Begun("new", STEPS))
        self.assertEqual(ledger.open, {2: Transaction(2, "new", STEPS)})

    def test_the_first_act_counts(self) -> None:
        """Two may believe that they coordinate."""
        ledger = Ledger()
        ledger.take(Begun("new", STEPS))
        self.assertEqual(taken(ledger, Begun("new", STEPS), Completed(1), Decided(2, True)), [None, None, None])
        ledger.take(Decided(1, True))
        self.assertEqual(taken(ledger, Decided(1, False), Decided(1, True)), [None, None])
        self.assertEqual(ledger.open, {1: Transaction(1, "new", STEPS, True)})
        ledger.take(Completed(1))
        self.assertEqual(taken(ledger, Completed(1), Decided(1, False)), [None, None])

    def test_who_coordinates(self) -> None:
        ledger = Ledger()
        self.assertEqual(taken(ledger, Took(1, "a"), Took(1, "b")), [None, None])
        self.assertEqual((ledger.term, ledger.life), (1, "a"))
        ledger.take(Took(3, "b"))
        self.assertEqual((ledger.term, ledger.life), (3, "b"))

    def test_there_and_back(self) -> None:
        ledger = Ledger()
        taken(ledger, Took(2, "a"), Begun("away", GUEST), Decided(1, True), Begun("new", STEPS))
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.capture()), type=Kept)
        other = Ledger(state)
        self.assertEqual(other.capture(), ledger.capture())
        self.assertEqual(other.named("new"), Transaction(2, "new", STEPS))
        other.take(Begun("third", STEPS))
        self.assertIn(3, other.open)

    def test_a_node_that_is_lost_has_no_part_any_more(self) -> None:
        ledger = Ledger()
        taken(ledger, Begun("both", {"east": STEPS["east"], "west": STEPS["east"]}), Begun("one", STEPS))
        self.assertEqual(taken(ledger, Lost("east")), [None])
        self.assertEqual([set(one.steps) for one in ledger.open.values()], [{"west"}, set()])
