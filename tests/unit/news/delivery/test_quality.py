"""The quality that contracts promise: minimum, maximum, delay; and what becomes of free readers meanwhile."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.delivery.hour import HOUR_S
from chatproto.news.delivery.schedule import BURST_BYTES, RESUME_AFTER_S
from tests.unit.news.delivery.items import free, paid
from tests.unit.news.delivery.room import Room

step = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 9)),
    st.tuples(st.just("run"), st.floats(1, 2000)),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("leave"), st.booleans()),
)


def _in_the_hour_to(end: float, times: list[float]) -> int:
    """An hour has its end, not its beginning; and a sum of seconds is a microsecond wrong."""
    return sum(end - HOUR_S + 1e-6 < time <= end for time in times)


class MaximumTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(st.integers(1, 4), st.lists(step, min_size=5, max_size=60))
    def test_no_sliding_hour_has_more_over_restarts_too(self, maximum: int, steps: list[tuple[str, object]]) -> None:
        room = Room()
        room.place(paid(maximum=maximum))
        room.come("rita")
        stamps = 0
        for what, value in steps:
            if what == "put":
                stamps += 1
                room.put(stamps, priority=value)
            elif what == "run":
                room.run(value)  # type: ignore[arg-type]
            else:
                if what == "restart":
                    room.save()
                    room.restart()
                else:
                    room.readers.went("rita", room.now)
                # It says what it has, or it has forgotten.
                got = tuple((1000 + stamp, 1000 + stamp) for stamp in room.stamps("rita")) if value else ()
                room.come("rita", got=got)
        room.run(2 * HOUR_S * (stamps + 1))
        self.assertEqual(sorted(room.stamps("rita")), list(range(1, stamps + 1)), "everything comes, and once")
        times = [time for time, _ in room.got["rita"]]
        for end in times:
            self.assertLessEqual(_in_the_hour_to(end, times), maximum)

    def test_another_node_knows_by_the_reader_what_it_had(self) -> None:
        room = Room()
        room.place(paid(maximum=3, home="north"))
        room.come("rita", ages=(10.0, 20.0))
        for stamp in range(1, 4):
            room.put(stamp)
        room.run(100)
        self.assertEqual(room.stamps("rita"), [1])
        self.assertEqual(room.readers.paid["rita"].record.held, 1)
        room.run(HOUR_S)
        self.assertEqual(room.stamps("rita"), [1, 2, 3])

    def test_what_is_under_way_counts(self) -> None:
        room = Room()
        room.place(paid(maximum=2))
        room.silent.add("rita")
        room.come("rita")
        for stamp in range(1, 5):
            room.put(stamp)
        room.run(10)
        self.assertEqual(room.readers.paid["rita"].position.stamps, [1, 2])

    def test_what_the_maximum_holds_back_is_not_late_nor_presses(self) -> None:
        room = Room()
        room.place(paid(maximum=1, delay_s_max=100))
        room.come("rita")
        room.put(1)
        room.run(1)
        room.put(2)
        room.run(2 * HOUR_S)
        record = room.readers.paid["rita"].record
        self.assertEqual((room.stamps("rita"), record.late, room.readers.schedule.suspensions), ([1, 2], 0, 0))

    def test_free_readers_have_one_too(self) -> None:
        room = Room()
        room.place(free(maximum=2))
        room.come("fred")
        for stamp in range(1, 6):
            room.put(stamp)
        room.run(10)
        self.assertEqual(room.stamps("fred"), [1, 2])
        room.run(HOUR_S)
        self.assertEqual(room.stamps("fred"), [1, 2, 3, 4])


class OrderTests(SynchronousTestCase):
    def test_who_is_below_the_minimum_goes_first_and_free_readers_last(self) -> None:
        room = Room(rate=1000)
        room.place(free(), paid("plain"), paid("promised", minimum=2), paid("pressing", delay_s_max=100))
        names = ("fred", "plain", "promised", "pressing")
        room.come(*names)
        room.put(1, 70_000)
        room.run(0)
        room.order.clear()
        for stamp in (2, 3, 4, 5):
            room.put(stamp, 10, delay_s=95)
        room.run(600)
        firsts = sorted(names, key=room.order.index)
        self.assertEqual(firsts, ["promised", "pressing", "plain", "fred"])
        for name in names:
            self.assertEqual(sorted(room.stamps(name)), [1, 2, 3, 4, 5])

    def test_readers_take_turns(self) -> None:
        room = Room(rate=100_000)
        room.place(paid("a"), paid("b"), paid("c"))
        room.come("a", "b", "c")
        room.put(1, 1_000_000)
        room.run(100)
        self.assertEqual(room.order[:9], ["a", "b", "c"] * 3)

    def test_one_that_does_not_acknowledge_holds_up_nobody(self) -> None:
        room = Room()
        room.place(paid("slow", delay_s_max=10), paid("quick"), free())
        room.silent.add("slow")
        room.come("slow", "quick", "fred")
        for stamp in range(1, 6):
            room.put(stamp, 200_000)
        room.run(100)
        self.assertEqual(room.stamps("quick"), [1, 2, 3, 4, 5])
        self.assertEqual(room.stamps("fred"), [1, 2, 3, 4, 5])

    def test_the_rate_is_kept(self) -> None:
        room = Room(rate=50_000)
        room.place(*(paid(f"r{number}") for number in range(10)), *(free(f"f{number}") for number in range(10)))
        room.come(*room.table.placements)
        for stamp in range(1, 11):
            room.put(stamp, 100_000)
        room.run(400)
        self.assertEqual(sum(len(got) for got in room.got.values()), 200)
        for end in (10, 100, 200, 300, 390):
            sent = sum(size for time, size in room.sent_bytes if time <= end)
            self.assertLessEqual(sent, 50_000 * end + BURST_BYTES + 100_000)


class SuspensionTests(SynchronousTestCase):
    def test_free_readers_wait_while_something_presses(self) -> None:
        room = Room(rate=10_000)
        room.place(paid(delay_s_max=200), free())
        room.come("rita")
        room.put(1, 300_000, delay_s=170)
        room.come("fred")
        room.run(5)
        schedule = room.readers.schedule
        self.assertFalse(schedule.is_suspended)
        room.run(10)
        self.assertTrue(schedule.is_suspended, "nine tenths of the delay are over")
        self.assertEqual(room.stamps("fred"), [])
        room.run(14)
        self.assertEqual(room.stamps("rita"), [1])
        self.assertEqual(room.readers.paid["rita"].record.late, 0)
        room.run(60)
        self.assertEqual(room.stamps("fred"), [1])
        self.assertGreaterEqual(room.got["fred"][0][0] - room.got["rita"][0][0], RESUME_AFTER_S)
        self.assertEqual((schedule.suspensions, schedule.is_suspended), (1, False))
        self.assertGreaterEqual(schedule.suspended_s, RESUME_AFTER_S)

    def test_also_what_presses_for_one_below_the_minimum(self) -> None:
        room = Room(rate=10_000)
        room.place(paid(delay_s_max=200, minimum=5), free())
        room.come("rita", "fred")
        room.put(1, 300_000, delay_s=170)
        room.run(15)
        self.assertEqual((room.stamps("fred"), room.readers.schedule.is_suspended), ([], True))

    def test_who_pulls_meanwhile_is_told(self) -> None:
        room = Room(rate=1000)
        room.place(paid(delay_s_max=10), free(mode="pull"))
        room.come("rita")
        room.put(1, 300_000, delay_s=20)
        room.run(5)
        room.readers.pulled_free("fred", 0, 5, room.now)
        room.run(0)
        self.assertEqual(room.readers.schedule.free_answers, [("fred", 0, (), True, "suspended")])

    def test_twice_of_what_the_line_takes(self) -> None:
        """Paid minimum and delay hold, the maximum too; free readers are suspended, and have their turn again."""
        rate = 20_000.0
        room = Room(rate=rate)
        contract = {"minimum": 5, "maximum": 50, "delay_s_max": 200.0}
        contracts = [paid(f"p{number}", **contract) for number in range(20)]
        room.place(*contracts, *(free(f"f{number}") for number in range(100)))
        room.come(*room.table.placements)
        # An item every 75 s, to 120 readers: 40,000 bytes a second on average; of these, a sixth to paid ones.
        for stamp in range(1, 101):
            # Each tenth has been long on its way, and is large.
            slow = stamp % 10 == 0
            room.put(stamp, 70_000 if slow else 20_000, delay_s=120.0 if slow else 20.0)
            room.run(75)
        schedule = room.readers.schedule
        self.assertGreater(schedule.suspensions, 3)
        for placement in contracts:
            name = placement.reader
            self.assertEqual(sorted(room.stamps(name)), list(range(1, 101)))
            times = [time for time, _ in room.got[name]]
            self.assertTrue(all(_in_the_hour_to(end, times) <= 50 for end in times))
            self.assertEqual(room.readers.paid[name].record.verdict(placement.terms), "met")
            for time, stamp in room.got[name]:
                held = next(each for each in room.held if each.stamp == stamp)
                self.assertLess(held.delay_at(time), 200)
        delivered = [len(room.got[f"f{number}"]) for number in range(100)]
        self.assertGreater(min(delivered), 10)
        self.assertLess(max(delivered), 100)
        before = sum(delivered)
        room.run(2 * HOUR_S)
        self.assertGreater(sum(len(room.got[f"f{number}"]) for number in range(100)), before + 1000)
        sent = sum(size for time, size in room.sent_bytes if time <= 7500)
        self.assertLessEqual(sent, rate * 7500 + BURST_BYTES + 100_000)
