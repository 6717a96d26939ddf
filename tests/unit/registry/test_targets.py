"""Which target of an SRV record comes first (RFC 2782)."""

import random
from collections import Counter
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.targets import Target, in_order


def dice(seed: int = 1) -> Callable[[int], int]:
    source = random.Random(seed)
    return lambda most: source.randint(0, most)


class InOrderTests(SynchronousTestCase):
    def test_the_lowest_priority_is_first_whatever_the_weights(self) -> None:
        targets = [Target(20, 9, 1, "c"), Target(0, 0, 1, "a"), Target(10, 65535, 1, "b")]
        for seed in range(20):
            self.assertEqual([target.host for target in in_order(targets, dice(seed))], ["a", "b", "c"])

    def test_weights_are_shares(self) -> None:
        """Three times the weight is first three times as often; none is forgotten, and none comes twice."""
        targets = [Target(0, 300, 1, "a"), Target(0, 100, 1, "b")]
        draw = dice()
        orders = [in_order(targets, draw) for _ in range(4000)]
        first = Counter(order[0].host for order in orders)
        self.assertTrue(0.72 < first["a"] / 4000 < 0.78, first)
        self.assertTrue(all({target.host for target in order} == {"a", "b"} for order in orders))

    def test_without_a_weight_one_is_seldom_first_but_never_left_out(self) -> None:
        targets = [Target(0, 9, 1, "a"), Target(0, 0, 1, "b")]
        self.assertEqual([target.host for target in in_order(targets, lambda most: 0)], ["b", "a"])
        self.assertEqual([target.host for target in in_order(targets, lambda most: most)], ["a", "b"])

    def test_weights_of_none_at_all(self) -> None:
        targets = [Target(0, 0, 1, "a"), Target(0, 0, 1, "b")]
        self.assertEqual(len(in_order(targets, dice())), 2)
        self.assertEqual(in_order([], dice()), [])
