from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.wire import TokenBucket


class TokenBucketTests(SynchronousTestCase):
    def test_a_burst_is_free_and_what_is_beyond_it_is_waited_for(self) -> None:
        bucket = TokenBucket(10.0, 20.0)
        self.assertEqual(bucket.take(15, 1.0), 0.0)
        self.assertEqual(bucket.take(5, 1.0), 0.0)
        self.assertEqual(bucket.take(1, 1.0), 0.1)
        self.assertEqual(bucket.take(4, 1.0), 0.5)

    def test_a_debt_is_paid_by_waiting(self) -> None:
        bucket = TokenBucket(10.0, 10.0)
        wait_s = bucket.take(30, 5.0)
        self.assertEqual(wait_s, 2.0)
        self.assertEqual(bucket.take(0, 5.0 + wait_s), 0.0)
        self.assertEqual(bucket.take(1, 5.0 + wait_s), 0.1)

    def test_no_more_than_a_burst_is_saved_up(self) -> None:
        bucket = TokenBucket(10.0, 20.0)
        bucket.take(20, 1.0)
        self.assertEqual(bucket.take(20, 1000.0), 0.0)
        self.assertEqual(bucket.take(1, 1000.0), 0.1)

    def test_a_rate_of_nothing_allows_everything(self) -> None:
        bucket = TokenBucket(0.0, 0.0)
        self.assertEqual(bucket.take(10**9, 0.0), 0.0)
        self.assertEqual(bucket.take(10**9, 0.0), 0.0)

    @given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.0, 3.0))))
    def test_whoever_waits_as_told_is_never_faster_than_rate_and_burst(self, takings: list[tuple[int, float]]) -> None:
        bucket = TokenBucket(10.0, 20.0)
        now = 0.0
        taken = 0
        for count, pause_s in takings:
            now += bucket.take(count, now)
            taken += count
            self.assertTrue(taken <= 20.0 + 10.0 * now + 1e-6, (taken, now))
            now += pause_s

    def test_how_many_are_there(self) -> None:
        bucket = TokenBucket(10.0, 3.0)
        self.assertEqual(bucket.there(1.0), 3)
        bucket.take(2, 1.0)
        self.assertEqual([bucket.there(at) for at in (1.0, 1.09, 1.11, 9.0)], [1, 1, 2, 3])
        bucket.take(7, 9.0)
        self.assertEqual([bucket.there(at) for at in (9.0, 9.45, 9.55)], [0, 0, 1])
        self.assertIsNone(TokenBucket(0.0, 0.0).there(1.0))

    def test_one_is_there_in_the_end_even_where_less_is_saved_up(self) -> None:
        bucket = TokenBucket(0.1, 0.5)
        self.assertEqual([bucket.there(at) for at in (1.0, 10.0, 100.0)], [0, 1, 1])

    def test_whether_what_comes_in_a_while_is_there(self) -> None:
        bucket = TokenBucket(100, 10)
        bucket.take(12, 50.0)
        held = [now for now in (50.0, 50.02, 50.03, 50.08, 50.125) if bucket.holds(0.02, now)]
        self.assertEqual(held, [50.08, 50.125])
        self.assertEqual([bucket.holds(3600, now) for now in (50.08, 50.125)], [False, True], "a burst is enough")
        self.assertTrue(TokenBucket(0, 0).holds(1.0, 0.0))

    def test_only_what_is_there_is_spared(self) -> None:
        bucket = TokenBucket(10.0, 3.0)
        self.assertEqual([bucket.spare(2, 1.0) for _ in range(3)], [True, False, False])
        self.assertEqual([bucket.spare(1, 1.0) for _ in range(2)], [True, False])
        self.assertEqual([bucket.spare(1, 1.1) for _ in range(2)], [True, False])
        self.assertTrue(TokenBucket(0.0, 0.0).spare(10**9, 0.0))
