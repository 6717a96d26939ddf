"""What comes from upstream, put together into pieces."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.messages import CHUNK_BYTES_MAX
from chatproto.news.tree.intake import OPEN_MAX, Intake, Piece
from chatproto.news.tree.records import PIECE_BYTES

BODY = bytes(range(256)) * 160
"""Two pieces and a half."""


class IntakeTests(SynchronousTestCase):
    def test_pieces_come_out_as_soon_as_they_are_whole(self) -> None:
        intake = Intake()
        intake.begin(3, 7, len(BODY), 0)
        self.assertEqual(intake.data(3, 0, BODY[:PIECE_BYTES]), [Piece(7, 0, BODY[:PIECE_BYTES])])
        self.assertEqual(intake.data(3, PIECE_BYTES, BODY[PIECE_BYTES : PIECE_BYTES + 10]), [])
        rest = BODY[PIECE_BYTES + 10 : 2 * PIECE_BYTES + 10]
        self.assertEqual(intake.data(3, PIECE_BYTES + 10, rest), [Piece(7, 1, BODY[PIECE_BYTES : 2 * PIECE_BYTES])])
        last = intake.data(3, 2 * PIECE_BYTES + 10, BODY[2 * PIECE_BYTES + 10 :])
        self.assertEqual(last, [Piece(7, 2, BODY[2 * PIECE_BYTES :])])

    def test_what_is_here_already_is_passed_over(self) -> None:
        intake = Intake()
        intake.begin(3, 7, len(BODY), PIECE_BYTES)
        self.assertEqual(intake.data(3, 0, BODY[:PIECE_BYTES]), [])
        self.assertEqual(intake.data(3, PIECE_BYTES - 5, BODY[PIECE_BYTES - 5 : PIECE_BYTES + 5]), [])
        pieces = intake.data(3, PIECE_BYTES, BODY[PIECE_BYTES : 2 * PIECE_BYTES])
        self.assertEqual(pieces, [Piece(7, 1, BODY[PIECE_BYTES : 2 * PIECE_BYTES])])

    def test_what_nobody_expects_is_passed_over(self) -> None:
        intake = Intake()
        self.assertEqual(intake.data(3, 0, b"x"), [])
        intake.begin(3, 7, 10, 0)
        intake.end(7)
        intake.end(7)
        self.assertEqual(intake.data(3, 5, b"x"), [])
        self.assertEqual(intake.keys_of(7), [])

    def test_what_cannot_be_is_refused(self) -> None:
        intake = Intake()
        intake.begin(3, 7, 20, 0)
        for offset, data in ((1, b"x"), (-1, b"x"), (0, bytes(21))):
            with self.assertRaises(WireError):
                intake.data(3, offset, data)
        intake.begin(4, 8, 10**6, 0)
        with self.assertRaises(WireError):
            intake.data(4, 0, bytes(CHUNK_BYTES_MAX + 1))

    def test_an_item_that_is_announced_twice_comes_under_two_keys(self) -> None:
        intake = Intake()
        intake.begin(3, 7, 4, 0)
        intake.begin(4, 7, 4, 0)
        self.assertEqual(intake.keys_of(7), [3, 4])
        self.assertEqual(intake.data(3, 0, b"ab"), [])
        self.assertEqual(intake.data(4, 0, b"abcd"), [Piece(7, 0, b"abcd")])
        self.assertEqual(intake.data(3, 2, b"cd"), [])
        intake.end(7)
        self.assertEqual((intake.keys_of(7), intake.data(3, 0, b"x")), ([], []))

    def test_a_key_is_the_last_item_s(self) -> None:
        intake = Intake()
        intake.begin(4, 7, 20, 0)
        intake.begin(4, 9, 20, 0)
        self.assertEqual((intake.keys_of(7), intake.keys_of(9)), ([], [4]))

    def test_there_are_not_too_many_at_once(self) -> None:
        intake = Intake()
        for number in range(OPEN_MAX):
            intake.begin(number, number, 20, 0)
        intake.begin(0, 0, 20, 0)
        with self.assertRaises(WireError):
            intake.begin(OPEN_MAX, OPEN_MAX, 20, 0)

    @given(st.lists(st.tuples(st.integers(1, CHUNK_BYTES_MAX), st.integers(0, 100)), min_size=1))
    def test_however_it_is_cut_the_body_is_the_body(self, cuts: list[tuple[int, int]]) -> None:
        intake = Intake()
        intake.begin(1, 1, len(BODY), 0)
        found, at = b"", 0
        for size, again in cuts * 50:
            start = max(0, at - again)
            end = min(len(BODY), start + size)
            if end > at:
                for piece in intake.data(1, start, BODY[start:end]):
                    self.assertEqual(piece.place * PIECE_BYTES, len(found))
                    found += piece.data
                at = end
        whole = len(BODY) if at == len(BODY) else at // PIECE_BYTES * PIECE_BYTES
        self.assertEqual(found, BODY[:whole])
