from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.wire import LineBuffer

lines_of_bytes = st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12)


def chopped(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the pieces of what a stream may deliver, empty ones included."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


class LineBufferTests(SynchronousTestCase):
    @given(lines_of_bytes, st.binary(max_size=12).filter(lambda line: b"\n" not in line), st.lists(st.integers(0)))
    def test_whole_lines_come_out_however_the_bytes_are_chopped(
        self, lines: list[bytes], rest: bytes, cuts: list[int]
    ) -> None:
        buffer = LineBuffer(12)
        whole = b"".join(line + b"\n" for line in lines)
        came = bytearray()
        for piece in chopped(whole + rest, cuts):
            came += buffer.feed(piece)
            self.assertTrue(not came or came.endswith(b"\n"))
        self.assertEqual(bytes(came), whole)
        self.assertFalse(buffer.too_long)
        self.assertEqual(buffer.feed(b"\n"), rest + b"\n")

    @given(lines_of_bytes, st.binary(min_size=13, max_size=40).filter(lambda line: b"\n" not in line), st.data())
    def test_the_lines_before_one_that_is_too_long_come_out_and_nothing_of_it_or_after_it(
        self, lines: list[bytes], long: bytes, data: st.DataObject
    ) -> None:
        ending = data.draw(st.sampled_from([b"", b"\n", b"\nafter\n", b"\nafter"]))
        cuts = data.draw(st.lists(st.integers(0)))
        buffer = LineBuffer(12)
        whole = b"".join(line + b"\n" for line in lines)
        came = b"".join(buffer.feed(piece) for piece in chopped(whole + long + ending, cuts))
        self.assertEqual(came, whole)
        self.assertTrue(buffer.too_long)
        self.assertEqual(buffer.feed(b"more\n"), b"")

    def test_lines_come_out_as_soon_as_they_end(self) -> None:
        buffer = LineBuffer(100)
        self.assertEqual(buffer.feed(b"one\ntw"), b"one\n")
        self.assertEqual(buffer.feed(b"o"), b"")
        self.assertEqual(buffer.feed(b"\nthree\n\n"), b"two\nthree\n\n")

    def test_a_line_of_exactly_the_ceiling_is_allowed(self) -> None:
        for ended in (b"12345\n12345\n", b"\n12345\n"):
            buffer = LineBuffer(5)
            self.assertEqual(buffer.feed(ended), ended)
            self.assertFalse(buffer.too_long)

    def test_an_unended_line_of_exactly_the_ceiling_waits_for_its_end(self) -> None:
        buffer = LineBuffer(5)
        self.assertEqual(buffer.feed(b"12345"), b"")
        self.assertFalse(buffer.too_long)
        self.assertEqual(buffer.feed(b"\n"), b"12345\n")

    def test_an_unended_line_beyond_the_ceiling_is_too_long_before_it_ends(self) -> None:
        buffer = LineBuffer(5)
        self.assertEqual(buffer.feed(b"one\n123456"), b"one\n")
        self.assertTrue(buffer.too_long)
        self.assertEqual(buffer._rest, b"", "what is not wanted any more is not kept")

    def test_an_ended_line_beyond_the_ceiling_is_too_long_wherever_it_stands(self) -> None:
        for data, before in ((b"123456\n", b""), (b"1\n123456\n2\n", b"1\n"), (b"1\n2\n123456\n3", b"1\n2\n")):
            buffer = LineBuffer(5)
            self.assertEqual(buffer.feed(data), before)
            self.assertTrue(buffer.too_long, data)
