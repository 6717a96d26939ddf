import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.gateway.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Closed,
    Event,
    Failed,
    FrameReader,
    Message,
    Ping,
    closing,
    frame,
)
from tests.unit.gateway.wire import masked, unframed
from tests.unit.wire.test_lines import chopped

CUTS = st.lists(st.integers(0), max_size=20)


def read(data: bytes, message_bytes_max: int = 1000) -> list[Event]:
    return FrameReader(message_bytes_max).feed(data)


class ReadingTests(SynchronousTestCase):
    def failed(self, data: bytes, code: int = 1002) -> str:
        """Check that what was read fails with a code, and that nothing follows; return the reason."""
        reader = FrameReader(1000)
        events = reader.feed(data + masked(TEXT, b"more"))
        self.assertIsInstance(events[-1], Failed)
        assert isinstance(events[-1], Failed)
        self.assertEqual(events[-1].code, code)
        self.assertEqual(reader.feed(masked(TEXT, b"more")), [])
        return events[-1].reason

    @given(st.lists(st.tuples(st.text(max_size=60), st.lists(st.integers(0), max_size=3)), max_size=6), CUTS)
    def test_messages_come_out_however_the_bytes_are_chopped(
        self, messages: list[tuple[str, list[int]]], cuts: list[int]
    ) -> None:
        data = b""
        for text, parts in messages:
            pieces = chopped(text.encode(), parts)
            for number, piece in enumerate(pieces):
                data += masked(CONTINUATION if number else TEXT, piece, final=number == len(pieces) - 1)
                data += masked(PONG, b"unasked")
        reader = FrameReader(2000)
        events = [event for piece in chopped(data, cuts) for event in reader.feed(piece)]
        self.assertEqual(events, [Message(text.encode()) for text, _ in messages])

    def test_sizes_at_the_edges_of_their_three_ways_to_be_written(self) -> None:
        for size in (0, 1, 125, 126, 65535, 65536):
            self.assertEqual(read(masked(BINARY, b"x" * size), 65536), [Message(b"x" * size, text=False)])

    def test_pings_come_between_the_fragments_of_a_message(self) -> None:
        data = masked(TEXT, b"a", final=False) + masked(PING, b"there?") + masked(CONTINUATION, b"b")
        self.assertEqual(read(data), [Ping(b"there?"), Message(b"ab")])

    def test_every_frame_is_counted(self) -> None:
        reader = FrameReader(10)
        reader.feed(masked(TEXT, b"a", final=False) + masked(PING) + masked(CONTINUATION)[:5])
        self.assertEqual(reader.frames, 2)

    def test_the_end_may_have_a_code_and_a_reason_and_nothing_comes_after_it(self) -> None:
        for payload, code in (
            (b"", None),
            (b"\x03\xe8", 1000),
            (b"\x03\xe9going", 1001),
            (b"\x03\xf6", 1014),
            (b"\x0b\xb8", 3000),
            (b"\x13\x87\xc3\xa4", 4999),
        ):
            reader = FrameReader(10)
            self.assertEqual(reader.feed(masked(CLOSE, payload) + masked(TEXT, b"late")), [Closed(code)])
            self.assertEqual(reader.feed(masked(TEXT, b"later")), [])
        self.assertEqual(read(masked(TEXT, b"half", final=False) + masked(CLOSE, b"\x03\xe8")), [Closed(1000)])

    def test_codes_and_reasons_that_mean_nothing(self) -> None:
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535):
            self.failed(masked(CLOSE, code.to_bytes(2, "big")))
        self.failed(masked(CLOSE, b"\x03"))
        self.failed(masked(CLOSE, b"\x03\xe8\xff"), 1007)

    def test_frames_that_break_the_rules(self) -> None:
        for data in (
            masked(TEXT, b"compressed", bits=4),
            masked(TEXT, bits=2),
            masked(PING, bits=1),
            *(masked(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
            b"\x81\x01x",
            masked(PING, final=False),
            masked(CLOSE, b"\x03\xe8" + b"x" * 124),
            masked(CONTINUATION, b"of nothing"),
            masked(TEXT, final=False) + masked(TEXT),
            masked(TEXT, final=False) + masked(BINARY),
            masked(TEXT) + masked(CONTINUATION),
        ):
            self.failed(data)

    def test_text_is_checked_frame_by_frame_as_it_comes(self) -> None:
        self.failed(masked(TEXT, b"\xed\xa0\x80"), 1007)
        self.failed(masked(TEXT, b"\xc3"), 1007)
        self.failed(masked(TEXT, b"fine \xff and more", final=False), 1007)
        split = masked(TEXT, b"\xc3", final=False) + masked(CONTINUATION, b"\xa4")
        self.assertEqual(read(split), [Message("ä".encode())])
        self.assertEqual(read(masked(BINARY, b"\xff")), [Message(b"\xff", text=False)])


class CeilingTests(SynchronousTestCase):
    def test_a_message_of_exactly_the_ceiling_is_allowed(self) -> None:
        self.assertEqual(read(masked(TEXT, b"x" * 1000)), [Message(b"x" * 1000)])
        halves = masked(TEXT, b"x" * 500, final=False) + masked(CONTINUATION, b"x" * 500)
        self.assertEqual(read(halves), [Message(b"x" * 1000)])

    def test_one_that_would_be_longer_is_refused_by_its_header(self) -> None:
        for data in (
            masked(TEXT, b"x" * 1001)[:8],
            b"\x82\xff\x7f" + b"\xff" * 7 + b"mask",
            b"\x82\xff\xff" + b"\xff" * 7 + b"mask",
            masked(TEXT, b"x" * 500, final=False) + masked(CONTINUATION, b"x" * 501)[:8],
        ):
            (failed,) = read(data)
            assert isinstance(failed, Failed)
            self.assertEqual(failed.code, 1009)

    def test_fragments_without_end_cost_nothing(self) -> None:
        """However many bytes of a message come that is never finished."""
        for fragment in (masked(CONTINUATION, final=False), masked(CONTINUATION, b"x" * 2000, final=False)):
            reader = FrameReader(65536)
            reader.feed(masked(TEXT, final=False))
            piece = fragment * (60000 // len(fragment))
            reader.feed(piece)
            tracemalloc.start()
            try:
                for _ in range(20):
                    reader.feed(piece)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(most, 400_000)


class WritingTests(SynchronousTestCase):
    def test_frames_of_every_size(self) -> None:
        for size in (0, 125, 126, 65535, 65536):
            self.assertEqual(unframed(frame(TEXT, b"x" * size)), [(TEXT, b"x" * size)])

    def test_the_end_has_its_code(self) -> None:
        self.assertEqual(unframed(closing(1000)), [(CLOSE, b"\x03\xe8")])
