import math
import random
from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.datagrams import reassembly
from chatproto.news.datagrams.messages import Part, from_node
from chatproto.news.datagrams.parcels import Description, encode
from chatproto.news.datagrams.reassembly import PATIENCE_S, Arrived, Reassembly
from tests.unit.news.datagrams.rig import CONVERSATION, NEVER, body_of, bytes_in, item_of, parcel_of, parts_of

UNIX = 1000.0


class ReassemblyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reassembly = Reassembly()
        self.arrived: list[Arrived] = []

    def take(self, *parts: Part, now: float = 0.0, delay_s: float = 1.0, unix: float = UNIX) -> None:
        for part in parts:
            arrived = self.reassembly.received(part, delay_s, now, unix)
            if arrived is not None:
                self.arrived.append(arrived)

    def numbers(self) -> list[int]:
        return [arrived.item.number for arrived in self.arrived]

    def test_an_item_of_one_part(self) -> None:
        self.take(*parts_of(parcel_of(1, 10)), delay_s=2.5)
        self.assertEqual(self.arrived, [Arrived(item_of(1, 10), body_of(1, 10), 1, 2.5)])
        self.assertTrue(self.reassembly.delivered(1))
        self.assertIsNone(self.reassembly.next_wakeup())

    def test_in_any_order_with_others_between(self) -> None:
        parts = [part for number in (1, 2, 3) for part in parts_of(parcel_of(number, bytes_in(10)))]
        random.Random(1).shuffle(parts)
        self.take(*parts)
        self.assertEqual(sorted(self.numbers()), [1, 2, 3])

    def test_what_comes_again_comes_once(self) -> None:
        parts = parts_of(parcel_of(1, bytes_in(3)))
        self.take(parts[0], parts[0], *parts, *parts)
        self.assertEqual(self.numbers(), [1])
        self.assertEqual(self.reassembly.dropped, Counter(repeated=5))

    def test_the_holes_of_one_sending_are_filled_by_the_next(self) -> None:
        first, second = parts_of(parcel_of(1, bytes_in(4))), parts_of(parcel_of(1, bytes_in(4)))
        self.take(first[0], first[2])
        self.take(second[1], second[3], now=4.0)
        self.assertEqual(self.numbers(), [1])

    def test_what_comes_no_further_is_given_up(self) -> None:
        parts = parts_of(parcel_of(1, bytes_in(3)))
        self.take(parts[0])
        self.take(parts[1], now=3.0)
        self.assertEqual(self.reassembly.next_wakeup(), 3.0 + PATIENCE_S)
        self.reassembly.wake(2.9 + PATIENCE_S)
        self.assertTrue(self.reassembly.unfinished(1))
        self.reassembly.wake(3.0 + PATIENCE_S)
        self.assertFalse(self.reassembly.unfinished(1))
        self.assertEqual(self.reassembly.dropped, Counter(late=1))
        self.take(parts[2], now=9.0)
        self.assertEqual(self.numbers(), [], "it has begun anew")
        self.take(*parts, now=9.0)
        self.assertEqual(self.numbers(), [1])

    def test_the_one_that_waits_longest_is_given_up_first(self) -> None:
        one, two = parts_of(parcel_of(1, bytes_in(3))), parts_of(parcel_of(2, bytes_in(3)))
        self.take(one[0])
        self.take(two[0], now=1.0)
        self.take(one[1], now=2.0)
        self.reassembly.wake(1.0 + PATIENCE_S)
        self.assertEqual([self.reassembly.unfinished(number) for number in (1, 2)], [True, False])

    def test_so_many_items_and_bytes_and_no_more(self) -> None:
        self.reassembly = Reassembly(items_max=2)
        for number in (1, 2, 3):
            self.take(parts_of(parcel_of(number, bytes_in(2)))[0])
        self.assertEqual([self.reassembly.unfinished(number) for number in (1, 2, 3)], [False, True, True])
        self.reassembly = Reassembly(bytes_max=bytes_in(4))
        for number in (1, 2):
            self.take(*parts_of(parcel_of(number, bytes_in(3)))[:2])
        self.assertEqual([self.reassembly.unfinished(number) for number in (1, 2)], [False, True])
        self.assertEqual(self.reassembly.dropped, Counter({"crowded-out": 1}))

    def test_so_many_parts_and_no_more(self) -> None:
        self.patch(reassembly, "PARTS_MAX", 3)
        for number in (1, 2):
            self.take(*parts_of(parcel_of(number, bytes_in(3)))[:2])
        self.assertEqual([self.reassembly.unfinished(number) for number in (1, 2)], [False, True])

    def test_what_has_expired_is_not_handed_out(self) -> None:
        parts = parts_of(parcel_of(1, expires=UNIX))
        self.take(*parts)
        self.assertEqual((self.numbers(), self.reassembly.dropped), ([], Counter(expired=1)))
        self.take(*parts, unix=UNIX - 0.001)
        self.assertEqual(self.numbers(), [1])

    def test_what_is_no_part_is_dropped(self) -> None:
        (part,) = parts_of(parcel_of(1))
        self.take(msgspec.structs.replace(part, index=1))
        self.take(part, delay_s=math.nan)
        self.assertEqual(self.reassembly.dropped, Counter(damaged=2))

    def test_a_body_that_is_not_the_described_one_is_dropped(self) -> None:
        first, *others = parts_of(parcel_of(1, bytes_in(3)))
        wrong = msgspec.structs.replace(others[0], data=others[0].data[::-1])
        self.take(first, wrong, *others)
        self.assertEqual((self.numbers(), self.reassembly.dropped), ([], Counter(damaged=1, repeated=1)))
        self.take(first, *others)
        self.assertEqual(self.numbers(), [1])

    def test_numbers_are_forgotten_with_their_items(self) -> None:
        self.take(*parts_of(parcel_of(1, expires=UNIX + 5)))
        self.take(*parts_of(parcel_of(2)), unix=UNIX + 5)
        self.assertEqual([self.reassembly.delivered(number) for number in (1, 2)], [False, True])

    def test_so_many_numbers_and_no_more(self) -> None:
        self.patch(reassembly, "NUMBERS_MAX", 2)
        for number in (1, 2, 3):
            self.take(*parts_of(parcel_of(number, expires=NEVER + number)))
        self.assertEqual([self.reassembly.delivered(number) for number in (1, 2, 3)], [False, True, True])

    def test_a_description_is_not_believed_of_another_item(self) -> None:
        """The number that each part says is the one that is described."""
        packed = encode(Description(1, item_of(1, 0)))
        (part,) = parts_of(parcel_of(1, 0))
        self.assertIn(packed, part.data)
        self.take(msgspec.structs.replace(part, number=2))
        self.assertEqual((self.numbers(), self.reassembly.dropped), ([], Counter(damaged=1)))


SIZES = st.lists(st.integers(0, bytes_in(6)), min_size=1, max_size=5)


class WeatherTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(SIZES, st.randoms(use_true_random=False))
    def test_only_whole_and_undamaged_items_and_each_once(self, sizes: list[int], dice: random.Random) -> None:
        """Whatever is lost, overtaken, repeated or damaged on the way."""
        datagrams: list[tuple[int, bytes]] = []
        untouched: Counter[int] = Counter()
        for number, size in enumerate(sizes, 1):
            for data in parcel_of(number, size).datagrams(CONVERSATION, 0.0):
                luck = dice.random()
                if luck < 0.1:
                    continue
                if luck < 0.2:
                    bad = bytearray(data)
                    for _ in range(dice.randint(1, 4)):
                        bad[dice.randrange(len(bad))] ^= dice.randint(1, 255)
                    datagrams.append((number, bytes(bad[: dice.randint(1, len(bad))])))
                    continue
                untouched[number] += 1
                datagrams += [(number, data)] * dice.choice((1, 1, 1, 2, 3))
        dice.shuffle(datagrams)
        taking = Reassembly()
        got: Counter[int] = Counter()
        for at, (_, data) in enumerate(datagrams):
            try:
                part, _, delay_s = from_node(data)
            except WireError:
                continue
            arrived = taking.received(part, delay_s, at / 1000, UNIX)
            if arrived is not None:
                number = arrived.item.number
                got[number] += 1
                self.assertEqual(arrived.item, item_of(number, sizes[number - 1]))
                self.assertEqual(arrived.body, body_of(number, sizes[number - 1]))
        whole = {number for number, size in enumerate(sizes, 1) if untouched[number] == parcel_of(number, size).count}
        self.assertEqual(got, Counter(whole), "all that could be, once")
