"""A client's view of a room is a prefix of it: no gap, no repeat."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Resume, SaidExtended
from chatproto.client.positions import EPOCHS_MAX, Positions, Verdict


def said(index: int, epoch: int = 1, room: str = "Tea") -> SaidExtended:
    return SaidExtended("ada", f"{index}", room, index, epoch, f"m{index}", 0.0)


class PositionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.positions = Positions()

    def next(self, room: str = "Tea") -> int:
        (resume,) = self.positions.resume((room,))
        return resume.index

    def resume(self) -> tuple[int, int | None]:
        (resume,) = self.positions.resume(("Tea",))
        return resume.index, resume.epoch

    def test_first_message_is_the_base(self) -> None:
        self.assertNotIn("Tea", self.positions)
        self.assertIs(self.positions.read(said(7)), Verdict.NEXT)
        self.assertIn("Tea", self.positions)
        self.assertEqual(self.next(), 8)

    def test_order(self) -> None:
        self.positions.read(said(7))
        self.assertIs(self.positions.read(said(7)), Verdict.KNOWN)
        self.assertIs(self.positions.read(said(3)), Verdict.KNOWN)
        self.assertIs(self.positions.read(said(9)), Verdict.HOLE)
        self.assertEqual(self.next(), 8, "neither moves it")
        self.assertIs(self.positions.read(said(8)), Verdict.NEXT)

    def test_rooms_apart(self) -> None:
        self.positions.read(said(7))
        self.assertIs(self.positions.read(said(2, room="Den")), Verdict.NEXT)

    def test_start(self) -> None:
        """A start counts only where nothing was read."""
        self.positions.start("Tea", 5)
        self.assertIs(self.positions.read(said(6)), Verdict.HOLE)
        self.positions.read(said(5))
        self.positions.start("Tea", 50)
        self.assertEqual(self.next(), 6)

    def test_skip(self) -> None:
        self.assertEqual(self.positions.skip("Tea", 1, 4), (1, 4), "nothing read: all of it is news")
        self.assertIsNone(self.positions.skip("Tea", 1, 4), "known")
        self.assertIsNone(self.positions.skip("Tea", 6, 9), "it does not say what became of 5")
        self.assertEqual(self.next(), 5)
        self.assertEqual(self.positions.skip("Tea", 3, 5), (5, 5), "only what was expected is missing")
        self.assertIs(self.positions.read(said(6)), Verdict.NEXT)

    def test_rewind(self) -> None:
        self.assertFalse(self.positions.rewind("Tea", 3))
        for index in range(1, 6):
            self.positions.read(said(index))
        self.assertFalse(self.positions.rewind("Tea", 6), "nothing of it was read")
        self.assertTrue(self.positions.rewind("Tea", 3))
        self.assertEqual(self.resume(), (3, 1))
        self.assertIs(self.positions.read(said(3, epoch=2)), Verdict.NEXT)
        self.assertEqual(self.resume(), (4, 2))
        self.positions.start("Den", 5)
        self.assertTrue(self.positions.rewind("Den", 2))
        self.assertEqual(self.positions.resume(("Den",)), [Resume("Den", 2, None)], "nothing of it was read")

    def test_epochs_after_a_rewind(self) -> None:
        """What is said of the message before is what is known of it, however long ago it was read."""
        for rewound, epoch in ((11, 7), (10, 5), (8, 5), (7, 5), (6, 3), (4, 3), (3, None), (1, None)):
            positions = self.positions = Positions()
            for index, then in ((3, 3), (4, 3), (5, 3), (6, 5), (7, 5), (8, 5), (9, 5), (10, 7), (11, 7)):
                positions.read(said(index, then))
            self.assertTrue(positions.rewind("Tea", rewound))
            self.assertEqual(self.resume(), (rewound, epoch))
            positions.read(said(rewound, 8))
            self.assertEqual(self.resume(), (rewound + 1, 8))
            if rewound > 1:
                positions.rewind("Tea", rewound)
                self.assertEqual(self.resume(), (rewound, epoch), "and again")

    def test_epoch_before_a_gap(self) -> None:
        """It is that of the last message held: those after it were never there."""
        self.positions.read(said(4, 3))
        self.positions.skip("Tea", 5, 9)
        self.assertEqual(self.resume(), (10, 3))
        self.positions.read(said(10, 6))
        self.positions.rewind("Tea", 8)
        self.assertEqual(self.resume(), (8, 3))

    def test_many_epochs(self) -> None:
        """Only so many changes are remembered; what was before them is not known."""
        for index in range(1, EPOCHS_MAX + 11):
            self.positions.read(said(index, epoch=index))
        self.positions.rewind("Tea", 12)
        self.assertEqual(self.resume(), (12, 11))
        self.positions.rewind("Tea", 11)
        self.assertEqual(self.resume(), (11, None))

    def test_resume(self) -> None:
        """Rooms in the order asked for; those of which nothing is known are left out."""
        self.positions.read(said(7, epoch=3))
        self.positions.start("Den", 1)
        self.assertEqual(self.positions.resume(("Den", "Attic", "Tea")), [Resume("Den", 1, None), Resume("Tea", 8, 3)])

    def test_forget_and_keep(self) -> None:
        for room in ("Tea", "Den", "Attic"):
            self.positions.read(said(7, room=room))
        self.positions.forget("Tea")
        self.positions.forget("Nowhere")
        self.positions.keep(("Attic", "Tea"))
        self.assertEqual(self.positions.resume(("Tea", "Den", "Attic")), [Resume("Attic", 8, 1)])
        self.positions.start("Tea", 3)
        self.assertEqual(self.positions.resume(("Tea",)), [Resume("Tea", 3, None)])

    @given(st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["said", "gap", "rewind"]), st.integers(0, 3))))
    def test_view_is_a_prefix(self, steps: list[tuple[int, str, int]]) -> None:
        """Whatever comes, what was read and what is known to be missing are consecutive."""
        positions = Positions()
        view: list[int] = []
        for index, step, more in steps:
            if step == "said" and positions.read(said(index)) is Verdict.NEXT:
                view.append(index)
            elif step == "gap":
                skipped = positions.skip("Tea", index, index + more)
                if skipped is not None:
                    view.extend(range(skipped[0], skipped[1] + 1))
            elif step == "rewind" and positions.rewind("Tea", index):
                view = [read for read in view if read < index]
        self.assertEqual(view, list(range(view[0], view[0] + len(view))) if view else [])
