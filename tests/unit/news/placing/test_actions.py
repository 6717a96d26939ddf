from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing.actions import ACTIONS_MAX, NODES_MAX, Remove, actions_allowed, readers_of, steps_allowed
from tests.simulation.placing import placed

ADA, BOB = placed("ada"), Remove("bob", 3)


class ActionsTests(SynchronousTestCase):
    def test_whom_they_are_about(self) -> None:
        self.assertEqual((ADA.reader, BOB.reader), ("ada", "bob"))
        self.assertEqual(readers_of({"east": (ADA, BOB), "west": (ADA,)}), {"ada", "bob"})

    def test_what_a_transaction_may_consist_of(self) -> None:
        self.assertTrue(steps_allowed({"east": (ADA, BOB), "west": (ADA,)}))
        for steps in (
            {},
            {"east": ()},
            {"east": (ADA, Remove("ada", 1))},
            {"east": (placed("no name"),)},
            {"no name": (ADA,)},
            {f"node{number}": (ADA,) for number in range(NODES_MAX + 1)},
        ):
            self.assertFalse(steps_allowed(steps), steps)

    def test_how_much_may_be_done_at_one_node(self) -> None:
        actions = tuple(placed(f"reader{number}") for number in range(ACTIONS_MAX + 1))
        self.assertFalse(actions_allowed(actions))
        self.assertTrue(actions_allowed(actions[1:]))
