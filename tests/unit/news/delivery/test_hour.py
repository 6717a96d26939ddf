"""No hour has more than the maximum, whichever hour that is."""

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.delivery.hour import HOUR_S, Hour

times = st.lists(st.floats(0, 3 * HOUR_S), max_size=30)


class HourTests(SynchronousTestCase):
    def test_counts_the_last_hour_only(self) -> None:
        hour = Hour([5.0, 0.0])
        hour.add(10.0)
        self.assertEqual(hour.count(10.0), 3)
        self.assertEqual(hour.count(HOUR_S), 2)
        self.assertEqual(hour.count(HOUR_S + 5), 1)
        self.assertEqual(hour.times(), [10.0])

    def test_time_does_not_go_back(self) -> None:
        hour = Hour([5.0])
        hour.add(4.0)
        self.assertEqual(hour.times(), [5.0, 5.0])

    def test_says_when_there_is_room(self) -> None:
        hour = Hour([1.0, 2.0])
        self.assertEqual(hour.room_at(3, 0, 10.0), 10.0)
        self.assertEqual(hour.room_at(2, 0, 10.0), 1.0 + HOUR_S)
        self.assertEqual(hour.room_at(1, 0, 10.0), 2.0 + HOUR_S)
        self.assertEqual(hour.room_at(3, 1, 10.0), 1.0 + HOUR_S)
        self.assertEqual(hour.room_at(1, 1, 10.0), inf)

    def test_says_when_the_minimum_is_not_met_any_more(self) -> None:
        hour = Hour([1.0, 2.0])
        self.assertEqual(hour.below_at(0, 10.0), inf)
        self.assertEqual(hour.below_at(3, 10.0), 10.0)
        self.assertEqual(hour.below_at(2, 10.0), 1.0 + HOUR_S)
        self.assertEqual(hour.below_at(1, 10.0), 2.0 + HOUR_S)

    def test_of_two_memories_the_later_time_counts(self) -> None:
        hour = Hour([1.0, 5.0, 9.0])
        hour.merge([6.0, 8.0], 10.0)
        self.assertEqual(hour.times(), [1.0, 6.0, 9.0])
        hour.merge([3.0, 4.0, 5.0, 20.0], 10.0)
        self.assertEqual(hour.times(), [3.0, 4.0, 6.0, 10.0])

    @given(times, times)
    def test_whoever_merges_knows_of_no_fewer_than_either(self, mine: list[float], theirs: list[float]) -> None:
        hour = Hour(mine)
        hour.merge(theirs, 3 * HOUR_S)
        for since in (0.0, *mine, *theirs):
            found = sum(time >= since for time in hour.times() if time > 2 * HOUR_S)
            for known in (mine, theirs):
                self.assertGreaterEqual(found, sum(time >= since for time in known if time > 2 * HOUR_S))

    @settings(max_examples=300)
    @given(st.integers(1, 5), st.lists(st.floats(0, 1500), min_size=1, max_size=60))
    def test_no_hour_has_more_than_the_maximum(self, maximum: int, pauses: list[float]) -> None:
        hour, now, delivered = Hour(), 0.0, []
        for pause in pauses:
            now += pause
            if hour.room_at(maximum, 0, now) <= now:
                hour.add(now)
                delivered.append(now)
        for end in delivered:
            self.assertLessEqual(sum(end - HOUR_S < time <= end for time in delivered), maximum)
