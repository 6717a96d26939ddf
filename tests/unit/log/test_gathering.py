from twisted.trial.unittest import SynchronousTestCase

from chatproto.link import Turn
from chatproto.log.entry import Entry
from chatproto.log.gathering import GATHER_TURNS_MAX, Gathering
from tests.unit.log.contract import act
from tests.unit.turns import TurnClock


class GatheringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.batches: list[list[str]] = []
        self.gathering = Gathering(Turn(self.clock), self.take)

    def take(self, entries: list[Entry]) -> None:
        self.batches.append([entry.id for entry in entries])

    def add(self, *names: str) -> None:
        for name in names:
            self.gathering.add(act(name))

    def test_a_batch_is_handed_on_once_a_turn_has_brought_nothing_more(self) -> None:
        self.add("a", "b")
        self.clock.turn()
        self.assertEqual(self.batches, [])
        self.add("c")
        self.clock.turn()
        self.assertEqual(self.batches, [])
        self.clock.turn()
        self.assertEqual(self.batches, [["act-a", "act-b", "act-c"]])

    def test_a_batch_waits_for_so_many_turns_at_most(self) -> None:
        for turn in range(GATHER_TURNS_MAX + 1):
            self.assertEqual(self.batches, [])
            self.add(str(turn))
            self.clock.turn()
        self.assertEqual([len(batch) for batch in self.batches], [GATHER_TURNS_MAX + 1])

    def test_the_next_batch_waits_as_long(self) -> None:
        for _ in range(2):
            self.add("a")
            self.clock.turn()
            self.clock.turn()
        self.assertEqual(self.batches, [["act-a"]] * 2)

    def test_what_is_flushed_is_not_handed_on_again(self) -> None:
        self.add("a")
        self.gathering.flush()
        self.assertEqual(self.batches, [["act-a"]])
        self.add("b")
        self.clock.pump([0.0] * (GATHER_TURNS_MAX + 2))
        self.assertEqual(self.batches, [["act-a"], ["act-b"]])

    def test_an_empty_batch_is_never_handed_on(self) -> None:
        self.gathering.flush()
        self.assertEqual(self.batches, [])

    def test_what_is_added_while_a_batch_is_handed_on_is_of_the_next(self) -> None:
        taken: list[int] = []

        def hand_on(entries: list[Entry]) -> None:
            taken.append(len(entries))
            if len(taken) < 3:
                gathering.add(act("again"))

        gathering = Gathering(Turn(self.clock), hand_on)
        gathering.add(act("a"))
        self.clock.pump([0.0] * 20)
        self.assertEqual(taken, [1, 1, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
