from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.datagrams.messages import DATAGRAM_BYTES_MAX
from chatproto.news.datagrams.pacing import BURST_PARTS, ROUND_PARTS_MAX, Done, Pacing
from tests.unit.news.datagrams.rig import bytes_in, parcel_of

RATE = 10 * DATAGRAM_BYTES_MAX
"""Ten parts a second."""
UNIX = 1000.0


class PacingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pacing: Pacing[str] = Pacing(RATE)
        self.left: list[tuple[float, str, int, int]] = []
        self.done: list[Done[str]] = []

    def run_until(self, end: float, unix: float = UNIX) -> None:
        while (due := self.pacing.next_wakeup()) is not None and due <= end:
            leaving, done = self.pacing.due(due, unix)
            self.left += [(due, reader, parcel.item.number, part) for reader, parcel, part in leaving]
            self.done += done

    def test_a_small_item_leaves_at_once(self) -> None:
        self.pacing.add("r", parcel_of(1), "one", 5.0)
        self.assertEqual((self.pacing.waiting, self.pacing.next_wakeup()), (1, 5.0))
        self.run_until(5.0)
        self.assertEqual((self.left, self.done), ([(5.0, "r", 1, 0)], [Done("one", True)]))
        self.run_until(6.0)
        self.assertEqual((self.pacing.waiting, self.pacing.next_wakeup()), (0, None))

    def test_a_large_one_takes_its_time(self) -> None:
        self.pacing.add("r", parcel_of(1, bytes_in(25)), "one", 0.0)
        self.run_until(100.0)
        self.assertEqual([part for *_, part in self.left], list(range(25)))
        self.assertEqual([at for at, *_ in self.left], [0.0] * 8 + [0.8] * 8 + [1.6] * 8 + [2.4000000000000004])
        self.assertEqual(self.done, [Done("one", True)])

    def test_one_item_after_the_other_at_the_reader_s_pace(self) -> None:
        self.pacing.add("r", parcel_of(1, bytes_in(3)), "one", 0.0)
        self.pacing.add("r", parcel_of(2), "two", 0.0)
        self.run_until(0.0)
        self.assertEqual([(number, part) for _, _, number, part in self.left], [(1, 0), (1, 1), (1, 2), (2, 0)])
        self.left.clear()
        self.pacing.add("r", parcel_of(3), "three", 0.1)
        self.run_until(9.0)
        self.assertEqual(self.left, [(0.4, "r", 3, 0)], "its line has just taken four")
        self.assertEqual([what for what, _ in self.done], ["one", "two", "three"])

    def test_readers_take_turns(self) -> None:
        for reader in ("a", "b", "c"):
            self.pacing.add(reader, parcel_of(1, bytes_in(12)), reader, 0.0)
        self.run_until(9.0)
        turns = [reader for at, reader, _, part in self.left if part % BURST_PARTS == 0]
        self.assertEqual(turns, ["a", "b", "c"] * 2)

    def test_a_round_has_an_end(self) -> None:
        for number in range(ROUND_PARTS_MAX):
            self.pacing.add(f"r{number}", parcel_of(1, bytes_in(2)), "", 0.0)
        leaving, _ = self.pacing.due(0.0, UNIX)
        self.assertEqual(len(leaving), ROUND_PARTS_MAX)
        self.assertEqual(self.pacing.next_wakeup(), 0.0)
        leaving, _ = self.pacing.due(0.0, UNIX)
        self.assertEqual(len(leaving), ROUND_PARTS_MAX)
        self.assertEqual(self.pacing.due(0.0, UNIX), ([], []))

    def test_what_has_expired_is_not_sent_nor_the_rest_of_it(self) -> None:
        self.pacing.add("r", parcel_of(1, expires=UNIX), "one", 0.0)
        self.pacing.add("r", parcel_of(2, bytes_in(9), expires=UNIX + 1), "two", 0.0)
        self.pacing.add("r", parcel_of(3), "three", 0.0)
        self.run_until(0.0)
        self.run_until(9.0, UNIX + 1)
        self.assertEqual([(number, part) for _, _, number, part in self.left], [(2, at) for at in range(8)] + [(3, 0)])
        self.assertEqual(self.done, [Done("one", False), Done("two", False), Done("three", True)])

    def test_all_of_one_reader_that_has_expired(self) -> None:
        self.pacing.add("r", parcel_of(1, expires=UNIX), "one", 0.0)
        self.run_until(0.0)
        self.assertEqual((self.left, self.done, self.pacing.next_wakeup()), ([], [Done("one", False)], None))

    def test_a_reader_that_is_gone_is_sent_nothing_more(self) -> None:
        self.pacing.add("r", parcel_of(1, bytes_in(9)), "one", 0.0)
        self.pacing.add("s", parcel_of(1, bytes_in(9)), "other", 0.0)
        self.pacing.add("r", parcel_of(2), "two", 0.0)
        self.run_until(0.0)
        self.assertEqual(self.pacing.forget("r"), [Done("one", False), Done("two", False)])
        self.assertEqual(self.pacing.forget("r"), [])
        self.left.clear()
        self.run_until(9.0)
        self.assertEqual([reader for _, reader, _, _ in self.left], ["s"])

    def test_a_reader_that_is_back_begins_at_once(self) -> None:
        self.pacing.add("r", parcel_of(1, bytes_in(9)), "one", 0.0)
        self.run_until(0.0)
        self.pacing.forget("r")
        self.pacing.add("r", parcel_of(2), "two", 0.1)
        self.left.clear()
        self.run_until(9.0)
        self.assertEqual(self.left, [(0.1, "r", 2, 0)])
