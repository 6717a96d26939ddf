"""The small parts of delivery: an order, ranges, shelves, positions."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.delivery.due import Due
from chatproto.news.delivery.position import Position
from chatproto.news.delivery.ranges import Ranges, ranges_of
from chatproto.news.delivery.shelves import Shelves
from tests.unit.news.delivery.items import free, held, paid


class DueTests(SynchronousTestCase):
    def test_the_least_is_first(self) -> None:
        due: Due[str] = Due()
        due.put("b", 2)
        due.put("a", 1)
        due.put("b", 0)
        due.put("c", 3)
        due.drop("c")
        due.drop("d")
        self.assertEqual((len(due), "b" in due, "c" in due), (2, True, False))
        self.assertEqual(due.first(), (0, "b"))
        self.assertIsNone(due.pop(-1))
        self.assertEqual([due.pop(), due.pop(), due.pop()], ["b", "a", None])
        self.assertIsNone(due.first())


class RangesTests(SynchronousTestCase):
    @given(st.sets(st.integers(0, 40)))
    def test_holds_what_it_is_made_of(self, numbers: set[int]) -> None:
        ranges = ranges_of(numbers)
        self.assertEqual({number for number in range(-1, 43) if number in ranges}, numbers)
        self.assertEqual(Ranges(ranges.pairs).pairs, ranges.pairs)

    def test_says_the_newest(self) -> None:
        self.assertEqual(Ranges([(5, 6), (1, 2), (2, 3)]).newest(1), ((5, 6),))

    def test_refuses_nonsense(self) -> None:
        self.assertRaises(ValueError, Ranges, [(2, 1)])


class ShelvesTests(SynchronousTestCase):
    def test_finds_the_next_of_a_contract(self) -> None:
        shelves = Shelves()
        for one in (
            held(1),
            held(2, topic="finance"),
            held(3, exclusive=True),
            held(4, priority=9),
            held(5),
        ):
            shelves.add(one)
        plain, all_of_it = paid().terms, paid(exclusives=True, topics=("finance", "sport")).terms
        self.assertEqual(_stamps(shelves, plain, 5), [1, 5])
        self.assertEqual(_stamps(shelves, all_of_it, 5), [1, 2, 3, 5])
        self.assertEqual(_stamps(shelves, all_of_it, 9), [4])
        self.assertEqual(_stamps(shelves, free(exclusives=True).terms, 5), [1, 5])
        found = shelves.next_of(plain, 1)
        assert found is not None
        self.assertEqual(found.stamp, 4)
        self.assertIsNone(shelves.next_of(plain, 5))
        self.assertEqual(shelves.count_in(all_of_it, 5, 1), 3)

    def test_forgets_what_is_removed(self) -> None:
        shelves = Shelves()
        shelves.add(held(1))
        shelves.add(held(2))
        shelves.remove(held(1))
        shelves.remove(held(1))
        self.assertEqual([one.stamp for one in shelves], [2])
        self.assertEqual((len(shelves), shelves.get(1), shelves.newest), (1, None, 2))
        shelves.remove(held(2))
        self.assertIsNone(shelves.next_of(paid().terms, 0))


def _stamps(shelves: Shelves, terms: object, priority: int) -> list[int]:
    stamps: list[int] = []
    while (found := shelves.next_in(terms, priority, stamps[-1] if stamps else 0)) is not None:  # type: ignore[arg-type]
        stamps.append(found.stamp)
    return stamps


class PositionTests(SynchronousTestCase):
    def test_the_floor_is_below_what_is_under_way(self) -> None:
        position = Position()
        for stamp in (3, 5, 8):
            position.begun(stamp, 4)
        self.assertEqual((position.under_way, position.stamps, 5 in position), (3, [3, 5, 8], True))
        position.passed(5, 4)
        self.assertEqual((position.floors[4], position.above), (2, [(5, 4)]))
        position.passed(3, 4)
        self.assertEqual((position.floors[4], position.above), (7, []))
        position.passed(8, 4)
        self.assertEqual((position.floors[4], position.cursor(4)), (8, 8))
        self.assertEqual(position.floors[3], 0)

    def test_what_was_under_way_begins_again(self) -> None:
        position = Position([1] * 10, [(7, 2)])
        position.begun(6, 2)
        position.left()
        self.assertEqual((position.under_way, position.cursor(2)), (0, 1))
        self.assertTrue(position.has(7))
        self.assertFalse(position.has(6))

    def test_knows_whether_something_is_urgent(self) -> None:
        position = Position()
        position.begun(1, 4)
        position.begun(2, 5)
        self.assertEqual((position.below(5), position.below(6)), (False, True))
