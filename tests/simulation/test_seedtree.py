"""The seed's sizing: a 2 MB item at the fifteenth node in time, and what is urgent before it."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.items import BODY_BYTES_MAX
from tests.simulation.seedtree import HOPS, SEED_S_MAX, Chain

URGENT, ARTICLE, PICTURE = 9, 5, 2


class SeedTreeTests(SynchronousTestCase):
    def test_two_megabytes_in_ordinary_traffic_are_there_in_time_and_urgent_lines_overtake_them(self) -> None:
        chain = Chain(1)
        chain.publish(PICTURE, 0, BODY_BYTES_MAX, 1)
        chain.publish(PICTURE, 1, 300_000, 2)
        numbers = iter(range(3, 100))
        for second in range(10):
            chain.publish(URGENT, second, 1_000, next(numbers))
            if second % 3 == 0:
                chain.publish(ARTICLE, second, 30_000, next(numbers))
            chain.tree.run(1)
        chain.settle()
        run = chain.run
        at = run.at[chain.end]
        self.assertEqual(len(at), 16)
        (largest,) = (number for number, (_, size) in run.items.items() if size == BODY_BYTES_MAX)
        self.assertLess(at[largest], SEED_S_MAX)
        self.assertLess(at[largest], 60, "what it takes now: nodes pass on what is still coming in")
        self.assertTrue(run.met(chain.end, at[largest]))
        self.assertLess(max(run.delays(chain.end, URGENT)), HOPS * 1.05 + 6, "the way, and little else")
        arrived = chain.tree.leaves[chain.end].arrived
        passed = [number for number in arrived[: arrived.index(largest)] if run.items[number][0] == URGENT]
        self.assertEqual(len(passed), 10, "all of them were published after it")
        self.assertLess(max(abs(run.claimed[number] - when) for number, when in at.items()), 2)
