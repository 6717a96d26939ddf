import math

from twisted.trial.unittest import SynchronousTestCase

from chatproto.tally import Histogram, Tally


class HistogramTests(SynchronousTestCase):
    def test_a_bound_belongs_to_what_is_below_it(self) -> None:
        histogram = Histogram((1, 2.5))
        for value in (0.5, 1, 1.1, 2.5, 2.6, 100):
            histogram.observe(value)
        self.assertEqual(histogram.up_to(), [(1, 2), (2.5, 4), (math.inf, 6)])
        self.assertAlmostEqual(histogram.sum, 107.7)

    def test_nothing_observed(self) -> None:
        self.assertEqual(Histogram((1,)).up_to(), [(1, 0), (math.inf, 0)])


class TallyTests(SynchronousTestCase):
    def test_drops_are_counted_by_door_and_reason(self) -> None:
        tally = Tally()
        self.assertEqual(tally.summary(), "")
        for door, reason in (("peer", "silent"), ("client", "full"), ("client", "full"), ("client", "silent")):
            tally.drop(door, reason)
        self.assertEqual(tally.dropped, {("client", "full"): 2, ("client", "silent"): 1, ("peer", "silent"): 1})
        self.assertEqual(tally.summary(), "client full 2, peer silent 1, client silent 1")
