import hashlib

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.datagrams.messages import DATAGRAM_BYTES_MAX, PART_BYTES, Part, from_node
from chatproto.news.datagrams.parcels import (
    CHECK_BYTES,
    KEPT_PARTS_MAX,
    PARCEL_BYTES_MAX,
    Description,
    Parcel,
    encode,
    fits,
    unpacked,
)
from chatproto.news.items import BODY_BYTES_MAX
from tests.unit.news.datagrams.rig import CONVERSATION, NEVER, body_of, bytes_in, item_of, parcel_of, parts_of


def joined(parts: list[Part]) -> bytes:
    return b"".join(part.data for part in parts)


def check_of(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:CHECK_BYTES]


class ParcelTests(SynchronousTestCase):
    def test_whatever_its_size_it_is_the_same_again(self) -> None:
        for size in (0, 1, PART_BYTES, bytes_in(2), bytes_in(5) + 1, bytes_in(KEPT_PARTS_MAX + 2), BODY_BYTES_MAX):
            parcel = parcel_of(3, size)
            parts = parts_of(parcel)
            self.assertEqual((len(parts), len(joined(parts))), (parcel.count, parcel.size))
            self.assertTrue(all(fits(part) for part in parts))
            description, body = unpacked(joined(parts), 3, parts[0].check)
            self.assertEqual(description, Description(3, parcel.item))
            self.assertEqual(body, body_of(3, size))

    def test_no_datagram_is_longer_than_it_may_be(self) -> None:
        parcel = parcel_of(2**63 - 1, BODY_BYTES_MAX, title="\N{SNOWMAN}" * 200)
        self.assertLessEqual(max(map(len, parcel.datagrams(CONVERSATION, 0.0))), DATAGRAM_BYTES_MAX)

    def test_each_says_how_long_it_has_been_under_way(self) -> None:
        """Also when what it says otherwise was encoded for somebody else, earlier."""
        parcel = parcel_of(1)
        delays = [
            from_node(parcel.datagram(0, conversation, now)).delay_s
            for conversation, now in ((CONVERSATION, 2.0), (b"87654321", 4.0))
        ]
        self.assertEqual(delays, [3.5, 5.5])

    def test_a_route_is_nobodys_business(self) -> None:
        parcel = parcel_of(1, route=("east", "west"))
        description, _ = unpacked(joined(parts_of(parcel)), 1, parts_of(parcel)[0].check)
        self.assertIsNone(description.item.route)

    def test_a_description_has_a_ceiling(self) -> None:
        self.assertRaises(ValueError, parcel_of, 1, 0, NEVER, title="x" * 10_000)


class FitsTests(SynchronousTestCase):
    def test_only_what_is_a_part_of_something(self) -> None:
        good = parts_of(parcel_of(1, bytes_in(2)))
        for part in good:
            for wrong in (
                {"size": 2},
                {"size": PARCEL_BYTES_MAX + 1},
                {"size": -1},
                {"index": -1},
                {"index": len(good)},
                {"index": 1 - part.index},
                {"data": b""},
                {"data": part.data + b"x"},
                {"check": b"short"},
            ):
                self.assertFalse(fits(msgspec.structs.replace(part, **wrong)), wrong)


class UnpackedTests(SynchronousTestCase):
    def packed(self, description: bytes, body: bytes) -> tuple[bytes, bytes]:
        return len(description).to_bytes(2) + description + body, check_of(description)

    def refused(self, why: str, data: bytes, number: int, check: bytes) -> None:
        error = self.assertRaises(WireError, unpacked, data, number, check)
        self.assertIn(why, str(error))

    def test_a_description_that_is_another(self) -> None:
        data, check = self.packed(encode(Description(1, item_of(1, 4))), body_of(1, 4))
        self.refused("description is damaged", data[:20] + b"?" + data[21:], 1, check)
        self.refused("description is damaged", b"\xff\xff" + data[2:], 1, check)

    def test_a_description_that_is_none(self) -> None:
        data, check = self.packed(b"\x92\x01\xc0", b"")
        self.refused("no description", data, 1, check)

    def test_a_body_that_is_another(self) -> None:
        description = encode(Description(1, item_of(1, 4)))
        for body in (body_of(1, 4)[::-1], body_of(1, 5), b""):
            self.refused("body", *self.packed(description, body)[:1], 1, check_of(description))
        self.refused("body", self.packed(description, body_of(1, 4))[0], 2, check_of(description))

    def test_packing_and_unpacking_are_of_one_mind(self) -> None:
        parcel = Parcel(item_of(9, 3), 4, body_of(9, 3), 0.0, 0.0)
        part = parts_of(parcel)[0]
        self.assertEqual(unpacked(part.data, 9, part.check)[0].stamp, 4)
