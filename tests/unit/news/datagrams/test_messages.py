import re
from pathlib import Path
from zlib import crc32

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.datagrams.messages import (
    DATAGRAM_BYTES_MAX,
    NO_COOKIE,
    PART_BYTES,
    PULL_ITEMS_MAX,
    REASONS,
    Challenge,
    Denied,
    Granted,
    Leave,
    Listen,
    Part,
    Pull,
    Pulled,
    datagram,
    encode,
    from_node,
    from_reader,
    with_tail,
)
from tests.unit.news.datagrams.rig import CONVERSATION

ROOT = Path(__file__).parents[4]
BIG = 2**63 - 1
PROOF = bytes(16)
FROM_READER = (
    Listen("r", NO_COOKIE, 1, PROOF),
    Leave("r", bytes(range(24)), 2, PROOF),
    Pull("r" * 64, NO_COOKIE, BIG, PROOF, BIG, PULL_ITEMS_MAX),
)
FROM_NODE = (
    Challenge(bytes(range(24))),
    Granted(1, "n" * 64, 90.0),
    Pulled(BIG, "n" * 64, BIG, (BIG,) * PULL_ITEMS_MAX, True, "suspended"),
    Denied(0, "gone"),
    Part(BIG, bytes(8), 2 * 1024 * 1024, 65535, bytes(PART_BYTES)),
)


class MessageTests(SynchronousTestCase):
    def test_every_message_there_and_back_within_the_ceiling(self) -> None:
        for messages, read in ((FROM_READER, from_reader), (FROM_NODE, from_node)):
            for message in messages:
                data = datagram(message, CONVERSATION)
                self.assertLessEqual(len(data), DATAGRAM_BYTES_MAX, message)
                self.assertEqual(read(data), (message, CONVERSATION, 0.0))

    def test_a_part_leaves_little_room(self) -> None:
        """The ceiling is used: with a few bytes more in each part it would be passed."""
        self.assertGreater(len(datagram(FROM_NODE[-1], CONVERSATION)), DATAGRAM_BYTES_MAX - 10)

    def test_what_it_brings_has_been_under_way(self) -> None:
        data = encode(FROM_NODE[-1])
        self.assertEqual(from_node(with_tail(data, crc32(data), CONVERSATION, 2.5)).delay_s, 2.5)

    def test_nobody_takes_what_the_other_side_says(self) -> None:
        for message in FROM_READER:
            self.assertRaises(WireError, from_node, datagram(message, CONVERSATION))
        for message in FROM_NODE:
            self.assertRaises(WireError, from_reader, datagram(message, CONVERSATION))

    def test_too_short_and_too_long(self) -> None:
        self.assertRaises(WireError, from_node, b"")
        self.assertRaises(WireError, from_node, bytes(16))
        self.assertRaises(WireError, from_node, bytes(DATAGRAM_BYTES_MAX + 1))

    def test_fields_of_a_newer_release_are_passed_over(self) -> None:

        data = msgspec.msgpack.encode(["denied", 3, "gone", "and more"])
        self.assertEqual(from_node(with_tail(data, crc32(data), CONVERSATION, 0.0)).message, Denied(3, "gone"))

    @given(st.sampled_from(FROM_READER + FROM_NODE), st.data())
    def test_damage_is_noticed(self, message: Part, data: st.DataObject) -> None:
        """Any one byte, wherever it is; and any end that is missing."""
        good = datagram(message, CONVERSATION)
        read = from_reader if message in FROM_READER else from_node
        at = data.draw(st.integers(0, len(good) - 1))
        bad = bytearray(good)
        bad[at] ^= data.draw(st.integers(1, 255))
        self.assertRaises(WireError, read, bytes(bad))
        self.assertRaises(WireError, read, good[:at])

    @given(st.binary(max_size=100))
    def test_garbage_is_refused(self, garbage: bytes) -> None:
        for data in (garbage, with_tail(garbage, crc32(garbage), CONVERSATION, 0.0)):
            self.assertRaises(WireError, from_reader, data)
            self.assertRaises(WireError, from_node, data)


class DocumentTests(SynchronousTestCase):
    def test_every_message_and_code_is_explained(self) -> None:
        text = (ROOT / "docs" / "news-datagrams.md").read_text(encoding="utf-8")
        operating = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
        for message in FROM_READER + FROM_NODE:
            name = type(message).__struct_config__.tag
            self.assertIn(f"`{name}`", text)
            for field in type(message).__struct_fields__:
                self.assertIn(f"`{field}`", text, name)
        for code in REASONS:
            self.assertIn(f"| `{code}` |", text)
        door = (ROOT / "chatproto" / "news" / "datagrams" / "door.py").read_text(encoding="utf-8")
        for reason in re.findall(r'(?:Dropped|denied)\("([a-z-]+)"\)', door):
            self.assertIn(f"`{reason}`", operating)
