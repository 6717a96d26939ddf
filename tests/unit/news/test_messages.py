"""What links of the news system say, as bytes."""

import contextlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.messages import (
    CHUNK_BYTES_MAX,
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    Announce,
    Beat,
    Chunk,
    Echo,
    Message,
    Refused,
    Taken,
    Withdrawn,
    decoder,
    encode,
)
from chatproto.news.tree.messages import (
    NODES_BELOW_MAX,
    UNFINISHED_MAX,
    Accepted,
    Again,
    Below,
    ChildHello,
    Later,
    Rejected,
    SourceHello,
    SourceWelcome,
    check_announced,
    check_reach,
    hello_refusal,
)
from chatproto.wire import FrameBuffer
from tests.unit.news.samples import item_of

ITEM = item_of(number=7, priority=5, injected=1.0, route=("west",), exclusive=True)
SAMPLES: list[Message] = [
    Beat(1.5),
    Echo(1.5),
    Refused("bad-password", "no"),
    Announce(7, ITEM, 1.5, 0, b"abc"),
    Announce(7, item_of(number=7), 0.0, 5, b""),
    Chunk(7, 16384, b"abc"),
    Withdrawn(7),
    Taken(7, 3),
    ChildHello(1, "r1", "0f", ((7, 16384), (8, 32768))),
    Later(7),
    Again(7),
    Below((("west", ("finance", "sport")), ("east", ()))),
    SourceHello(1, "ansa", "secret"),
    SourceWelcome(("sport",), 5),
    Accepted(1, 7),
    Rejected(1, "too-large"),
]
decode = decoder(*{type(sample) for sample in SAMPLES} - {Beat, Echo, Refused})


def frame_of(message: Message) -> bytes:
    (frame,) = FrameBuffer(FRAME_BYTES_MAX).feed(encode(message))
    return frame


class MessageTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for sample in SAMPLES:
            self.assertEqual(decode(frame_of(sample)), sample)

    def test_whose_hello_is_not_welcome(self) -> None:
        self.assertEqual(hello_refusal(ChildHello(1, "r1", "0f")), "")
        self.assertEqual(hello_refusal(SourceHello(2, "ansa", "secret")), "version")
        self.assertEqual(hello_refusal(SourceHello(1, "no name", "secret")), "bad-name")

    def test_what_does_not_come_on_a_link_is_refused_there(self) -> None:
        with self.assertRaises(WireError):
            decoder(Taken)(frame_of(Chunk(1, 0, b"")))
        self.assertEqual(decoder(Taken)(frame_of(Beat(1.0))), Beat(1.0), "beats come on every link")
        self.assertEqual(decoder()(frame_of(Beat(1.0))), Beat(1.0))
        self.assertEqual(decoder(Taken | Chunk)(frame_of(Taken(1, 2))), Taken(1, 2))

    def test_garbage_is_refused(self) -> None:
        for garbage in (
            b"",
            b"\xc1",
            b"\x93\xa5taken\x01",
            b"\x93\xa5taken\x01\xa1x",
            b"\x92\xa4beat\xa1\xff",
            b"\x91" * 5000,
        ):
            with self.assertRaises(WireError):
                decode(garbage)

    @given(st.binary(max_size=200))
    def test_whatever_comes_it_is_a_message_or_refused(self, data: bytes) -> None:
        with contextlib.suppress(WireError):
            self.assertIsInstance(decode(data), Message)

    @given(st.sampled_from(SAMPLES), st.data())
    def test_a_message_with_a_byte_changed_is_a_message_or_refused(self, sample: Message, data: st.DataObject) -> None:
        frame = bytearray(frame_of(sample))
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(WireError):
            self.assertIsInstance(decode(bytes(frame)), Message)

    def test_fields_of_a_newer_release_are_passed_over(self) -> None:
        newer = msgspec.msgpack.encode(["taken", 1, 2, "new"])
        self.assertEqual(decode(newer), Taken(1, 2))

    def test_the_longest_messages_fit_their_frames(self) -> None:
        name = "x" * 64
        has = tuple((2**40 + number, 2**21) for number in range(UNFINISHED_MAX))
        self.assertLess(len(frame_of(ChildHello(1, name, "f" * 16, has))), HELLO_BYTES_MAX)
        topics = ("sport", "chronicle", "politics", "foreign", "gossip", "finance")
        reach = tuple((f"{number:064}", topics) for number in range(NODES_BELOW_MAX))
        self.assertLess(len(frame_of(Below(reach))), FRAME_BYTES_MAX)
        route = tuple(f"{number:064}" for number in range(NODES_BELOW_MAX))
        item = item_of(number=2**60, id="x" * 64, title="é" * 200, media_type="t/" + "x" * 98, route=route)
        self.assertLess(len(frame_of(Announce(2**60, item, 1.5, 0, bytes(CHUNK_BYTES_MAX)))), FRAME_BYTES_MAX)


class CheckTests(SynchronousTestCase):
    def test_an_item_of_the_tree(self) -> None:
        self.assertEqual(check_announced(Announce(7, ITEM, 1.5, 0, b"")), ITEM)
        bad = [
            Announce(8, ITEM, 1.5, 0, b""),
            Announce(0, item_of(number=0), 1.5, 0, b""),
            Announce(7, item_of(number=7, size=-1), 1.5, 0, b""),
            Announce(7, item_of(number=7, size=2**30), 1.5, 0, b""),
            Announce(7, ITEM, -1.0, 0, b""),
            Announce(7, ITEM, float("nan"), 0, b""),
            Announce(7, ITEM, float("inf"), 0, b""),
        ]
        for announce in bad:
            with self.assertRaises(WireError):
                check_announced(announce)

    def test_who_is_below(self) -> None:
        reach = (("west", ("sport",)),)
        self.assertEqual(check_reach(reach), reach)
        for bad in ((("a b", ()),), tuple((f"n{number}", ()) for number in range(NODES_BELOW_MAX + 1))):
            with self.assertRaises(WireError):
                check_reach(bad)
