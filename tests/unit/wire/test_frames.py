"""Frames come out whole and in order, however the bytes are chopped."""

import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.wire import FrameBuffer, framed


class FrameTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 60), min_size=1, max_size=20))
    def test_every_way_of_chopping(self, payloads: list[bytes], sizes: list[int]) -> None:
        stream = b"".join(map(framed, payloads))
        buffer = FrameBuffer(40)
        found: list[bytes] = []
        at = turn = 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            found += buffer.feed(stream[at : at + size])
            at += size
            turn += 1
        self.assertEqual(found, payloads)
        self.assertFalse(buffer.too_long)

    def test_every_byte_alone(self) -> None:
        buffer = FrameBuffer(10)
        stream = framed(b"first") + framed(b"") + framed(b"second")
        found = [frame for at in range(len(stream)) for frame in buffer.feed(stream[at : at + 1])]
        self.assertEqual(found, [b"first", b"", b"second"])

    def test_as_long_as_allowed_and_longer(self) -> None:
        buffer = FrameBuffer(5)
        self.assertEqual(buffer.feed(framed(b"12345") + framed(b"123456") + framed(b"1")), [b"12345"])
        self.assertTrue(buffer.too_long)
        self.assertEqual(buffer.feed(framed(b"1")), [])

    def test_the_first_may_have_a_ceiling_of_its_own(self) -> None:
        buffer = FrameBuffer(50, 5)
        self.assertEqual(buffer.feed(framed(b"12345") + framed(b"x" * 50)), [b"12345", b"x" * 50])
        buffer = FrameBuffer(50, 5)
        self.assertEqual((buffer.feed(framed(b"123456")[:4]), buffer.too_long), ([], True))

    def test_what_is_not_whole_yet_costs_no_more_than_it_has_bytes(self) -> None:
        buffer = FrameBuffer(100_000)
        stream = framed(b"x" * 100_000)
        for at in range(len(stream) - 1):
            self.assertEqual(buffer.feed(stream[at : at + 1]), [])
        self.assertLess(sys.getsizeof(buffer._rest), 120_000)
        self.assertEqual(buffer.feed(b"x"), [b"x" * 100_000])

    def test_too_long_is_known_from_the_length_alone(self) -> None:
        buffer = FrameBuffer(5)
        buffer.feed(framed(b"x" * 6)[:4])
        self.assertTrue(buffer.too_long)

    def test_a_large_frame_in_small_pieces(self) -> None:
        payload = bytes(range(256)) * 8192
        buffer = FrameBuffer(len(payload))
        stream = framed(payload)
        found = [frame for at in range(0, len(stream), 1000) for frame in buffer.feed(stream[at : at + 1000])]
        self.assertEqual(found, [payload])
