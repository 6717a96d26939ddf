from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing.actions import Steps
from chatproto.news.placing.coordinator import Coordinator, Lead, Record, Settled, Superseded, Tell
from chatproto.news.placing.ledger import Act, Begun, Completed, Decided, Ledger, Lost, Took
from chatproto.news.placing.messages import Abort, Commit, Done, Participate, Prepare, Ready, Refuse
from tests.simulation.placing import placed

ADA, BOB = placed("ada"), placed("bob")
BOTH: Steps = {"east": (ADA,), "west": (ADA,)}


class CoordinatorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ledger = Ledger()
        self.now = 100.0
        self.coordinator = Coordinator(self.ledger, "a", votes_s_max=10, again_s=1)

    def record(self, act: Act, to: Coordinator | None = None) -> list[Any]:
        return (to or self.coordinator).recorded(act, self.ledger.take(act), self.now)

    def lead(self, *up: str) -> None:
        (took,) = self.coordinator.start()
        self.assertEqual(self.record(took.act), [Lead(1)])
        for node in up:
            self.assertEqual(self.coordinator.came_up(node), [])

    def begun(self, name: str = "new", steps: Steps = BOTH) -> list[Any]:
        self.assertEqual(self.coordinator.begin(name, steps), [Record(Begun(name, steps))])
        return self.record(Begun(name, steps))

    def hear(self, node: str, message: Any) -> list[Any]:
        return self.coordinator.received(node, message)

    def test_all_the_way(self) -> None:
        self.lead("east", "west")
        self.assertEqual(self.begun(), [Tell("east", Prepare(1, (ADA,))), Tell("west", Prepare(1, (ADA,)))])
        self.assertEqual(self.hear("east", Ready(1)), [])
        self.assertEqual(self.hear("west", Ready(1)), [Record(Decided(1, True))])
        self.assertEqual(self.hear("west", Ready(1)), [])
        self.assertEqual(
            self.record(Decided(1, True)), [Settled("new", True), Tell("east", Commit(1)), Tell("west", Commit(1))]
        )
        self.assertEqual(self.hear("east", Done(1)), [])
        self.assertEqual(self.hear("east", Done(1)), [])
        self.assertEqual(self.hear("west", Done(1)), [Record(Completed(1))])
        self.assertEqual(self.hear("west", Done(1)), [])
        self.assertEqual(self.record(Completed(1)), [])
        self.assertEqual(self.hear("west", Done(1)), [])
        self.now = 101
        self.assertEqual(self.coordinator.due(self.now), [])
        self.assertIsNone(self.coordinator.next_wakeup())
        self.assertEqual(self.coordinator.due(self.now), [])

    def test_refused(self) -> None:
        self.lead("east", "west")
        self.begun()
        self.hear("west", Ready(1))
        self.assertEqual(self.hear("east", Refuse(1, "full")), [Record(Decided(1, False, "full", "east"))])
        self.assertEqual(self.hear("east", Refuse(1, "full")), [])
        self.coordinator.went_down("east")
        self.assertEqual(
            self.record(Decided(1, False, "full", "east")),
            [Settled("new", False, "full", "east"), Tell("west", Abort(1))],
        )
        self.assertEqual(self.hear("west", Refuse(1, "full")), [])
        self.assertEqual(self.hear("west", Ready(1)), [Tell("west", Abort(1))])

    def test_no_answer(self) -> None:
        self.lead("east")
        self.begun()
        self.hear("east", Ready(1))
        for _ in range(9):
            self.now += 1
            self.assertEqual(self.coordinator.due(self.now), [])
        self.now += 1
        decided = Decided(1, False, "no-answer", "west")
        self.assertEqual(self.coordinator.due(self.now), [Record(decided)])
        self.assertEqual(self.coordinator.came_up("west"), [])
        self.now += 1
        self.assertEqual(self.coordinator.due(self.now), [])
        self.assertEqual(self.hear("west", Ready(1)), [])
        self.record(decided)

    def test_told_again(self) -> None:
        self.lead("east", "west")
        self.assertIsNone(self.coordinator.next_wakeup())
        self.begun()
        self.hear("east", Ready(1))
        self.assertEqual(self.coordinator.next_wakeup(), 101)
        self.assertEqual(self.coordinator.due(100.9), [])
        self.assertEqual(self.coordinator.due(101), [Tell("west", Prepare(1, (ADA,)))])
        self.now = 101.5
        self.begun("other", {"west": (BOB,)})
        self.assertEqual(self.coordinator.due(102), [Tell("west", Prepare(1, (ADA,)))])

    def test_a_node_that_comes_back(self) -> None:
        self.lead("east")
        self.begun()
        self.assertEqual(self.coordinator.came_up("west"), [Tell("west", Prepare(1, (ADA,)))])
        self.hear("east", Ready(1))
        self.hear("west", Ready(1))
        self.coordinator.went_down("west")
        self.assertEqual(self.hear("west", Ready(1)), [])
        self.assertEqual(self.record(Decided(1, True)), [Settled("new", True), Tell("east", Commit(1))])
        self.begun("next", {"west": (ADA,)})
        self.assertEqual(self.coordinator.came_up("west"), [Tell("west", Commit(1)), Tell("west", Prepare(2, (ADA,)))])
        self.assertEqual(self.hear("west", Ready(1)), [Tell("west", Commit(1))])

    def test_one_change_of_a_reader_at_a_time(self) -> None:
        self.lead("east", "west")
        self.assertEqual(self.coordinator.begin("new", BOTH), [Record(Begun("new", BOTH))])
        self.assertEqual(self.coordinator.begin("new", BOTH), [])
        self.assertEqual(self.coordinator.begin("other", BOTH), [Settled("other", False, "busy")])
        self.record(Begun("new", BOTH))
        self.assertEqual(self.coordinator.begin("new", BOTH), [])
        self.assertEqual(self.coordinator.begin("other", BOTH), [Settled("other", False, "busy")])
        self.record(Decided(1, True))
        self.assertEqual(self.coordinator.begin("new", BOTH), [Settled("new", True)])
        self.begun("other")
        self.record(Decided(2, False))
        self.begun("third")

    def test_not_what_a_transaction_is(self) -> None:
        self.lead()
        self.assertRaises(ValueError, self.coordinator.begin, "new", {})

    def test_strange_answers(self) -> None:
        """A node that has no part in it has no say, and may forget it."""
        self.lead("east", "north")
        self.begun()
        self.assertEqual(self.hear("north", Ready(1)), [Tell("north", Abort(1))])
        self.assertEqual(self.hear("north", Refuse(1, "full")), [])
        self.assertEqual(self.hear("east", Done(1)), [])
        self.assertEqual(self.hear("east", Participate("east")), [])

    def test_another_process_goes_on(self) -> None:
        self.lead("east")
        self.begun("decided", {"east": (ADA,)})
        self.record(Decided(1, True))
        self.begun("asked", {"east": (BOB,)})
        other = Coordinator(self.ledger, "b")
        self.assertEqual(other.begin("new", BOTH), [Settled("new", False, "superseded")])
        self.assertEqual(other.came_up("east"), [])
        (took,) = other.start()
        transaction = self.ledger.take(took.act)
        self.assertEqual(self.coordinator.recorded(took.act, transaction, self.now), [Superseded()])
        self.assertEqual(self.coordinator.recorded(took.act, transaction, self.now), [])
        self.assertIsNone(self.coordinator.next_wakeup())
        self.assertEqual(self.coordinator.begin("new", BOTH), [Settled("new", False, "superseded")])
        self.assertEqual(other.recorded(took.act, transaction, self.now), [Lead(2)])
        self.assertEqual(other.recorded(took.act, None, self.now), [])
        self.assertEqual(other.came_up("east"), [Tell("east", Commit(1)), Tell("east", Prepare(2, (BOB,)))])
        self.assertEqual(other.begin("new", {"east": (BOB,)}), [Settled("new", False, "busy")])

    def test_two_take_over(self) -> None:
        """The first in the log coordinates, until the other one starts again."""
        other = Coordinator(self.ledger, "b")
        (took,), (theirs,) = self.coordinator.start(), other.start()
        self.ledger.take(theirs.act)
        self.assertEqual(self.coordinator.recorded(theirs.act, None, self.now), [Superseded()])
        self.assertEqual(self.record(took.act), [])
        (took,) = self.coordinator.start()
        self.assertEqual(took.act, Took(2, "a"))
        self.assertEqual(self.record(took.act), [Lead(2)])

    def test_taken_over_again(self) -> None:
        """Nothing is left of what was begun before another one coordinated."""
        self.lead("east")
        self.coordinator.begin("new", {"east": (BOB,)})
        self.begun("ada", {"east": (ADA,)})
        self.record(Took(2, "b"))
        self.record(Decided(1, False))
        self.record(self.coordinator.start()[0].act)
        self.begun("ada again", {"east": (ADA,)})
        self.begun("new", {"east": (BOB,)})

    def test_what_another_has_begun_late(self) -> None:
        """An act of whoever coordinated before, after the takeover in the log, is as good as one's own."""
        self.lead("east")
        self.coordinator.begin("new", {"east": (BOB,)})
        self.assertEqual(self.record(Begun("new", {"east": (ADA,)})), [Tell("east", Prepare(1, (ADA,)))])
        self.assertEqual(self.record(Begun("new", {"east": (BOB,)})), [])
        self.begun("bob", {"east": (BOB,)})

    def test_a_node_that_is_lost_is_not_waited_for(self) -> None:
        self.lead("east", "west")
        self.begun()
        self.hear("east", Ready(1))
        self.begun("bob", {"west": (BOB,)})
        self.assertEqual(self.record(Lost("west")), [Record(Decided(1, True)), Record(Decided(2, True))])
        self.assertEqual(self.record(Lost("west")), [])
        self.assertEqual(self.record(Decided(1, True)), [Settled("new", True), Tell("east", Commit(1))])
        self.assertEqual(self.record(Decided(2, True)), [Settled("bob", True), Record(Completed(2))])
        self.assertEqual(self.hear("west", Ready(1)), [Tell("west", Abort(1))])
        self.assertEqual(self.hear("east", Done(1)), [Record(Completed(1))])
        # Readers of what is over are free for something else.
        self.record(Completed(1)), self.record(Completed(2))
        self.begun("again", {"east": (ADA, BOB)})

    def test_a_node_that_is_lost_after_it_was_decided(self) -> None:
        self.lead("east", "west")
        self.begun()
        self.hear("east", Ready(1)), self.hear("west", Ready(1))
        self.record(Decided(1, True))
        self.hear("east", Done(1))
        self.assertEqual(self.record(Lost("west")), [Record(Completed(1))])

    def test_one_that_takes_over_when_the_only_node_is_lost(self) -> None:
        self.ledger.take(Begun("new", {"west": (ADA,)}))
        self.ledger.take(Decided(1, True))
        self.ledger.take(Lost("west"))
        (took,) = self.coordinator.start()
        self.assertEqual(self.record(took.act), [Lead(1), Record(Completed(1))])
