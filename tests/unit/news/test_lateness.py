"""What waited before a message, told from clocks that differ."""

import math

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.lateness import SPAN_S, Lateness


class LatenessTests(SynchronousTestCase):
    def test_the_quickest_was_not_late_and_others_are_by_the_difference(self) -> None:
        lateness = Lateness()
        took = [(10, 1.5), (11, 1.0), (12, 3.0), (13, 1.0), (14, 1.25)]
        self.assertEqual([lateness.heard(at, at - 5000.0 + took_s) for at, took_s in took], [0, 0, 2, 0, 0.25])

    def test_what_was_quickest_is_forgotten_for_clocks_drift(self) -> None:
        lateness = Lateness()
        self.assertEqual(lateness.heard(0, 1), 0)
        self.assertEqual(lateness.heard(SPAN_S, SPAN_S + 2), 1, "not yet")
        self.assertEqual(lateness.heard(2 * SPAN_S, 2 * SPAN_S + 2), 0)
        self.assertEqual(lateness.heard(2 * SPAN_S + 1, 2 * SPAN_S + 4), 1)

    def test_no_time_is_not_believed(self) -> None:
        lateness = Lateness()
        self.assertEqual([lateness.heard(at, 5) for at in (math.nan, math.inf, -math.inf)], [0, 0, 0])
        self.assertEqual(lateness.heard(1, 5), 0)
        self.assertEqual(lateness.heard(1, 6), 1)
