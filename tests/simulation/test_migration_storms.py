"""Storms on servers that take each other's place, a hundred seeds of each kind."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.migration_storm import MigrationStorm

SEEDS = range(100)
REACHED = (
    "migrated",
    "standby → learner",
    "learner → standby",
    "handing → follower",
    "follower → leader-pair",
    "boot → standby",
    "installed",
    "parted",
)
"""What the storms are for: some of a hundred come to it."""


class MigrationStormTests(SynchronousTestCase):
    def storms(self, *, paired: bool) -> Counter[str]:
        reached: Counter[str] = Counter()
        for seed in SEEDS:
            storm = MigrationStorm(seed, paired=paired)
            storm.run()
            reached += storm.reached
        return reached

    def test_a_server_alone(self) -> None:
        reached = self.storms(paired=False)
        self.assertEqual([what for what in REACHED if not reached[what]], [])

    def test_a_pair(self) -> None:
        reached = self.storms(paired=True)
        self.assertEqual([what for what in REACHED if not reached[what]], [])


class FoundTests(SynchronousTestCase):
    """What longer storms have found."""

    def test_dismissed_and_then_wanted_again(self) -> None:
        """Isolated, a leader let its successor go; alone again, it took it in, which was forgetting everything."""
        MigrationStorm(280, paired=True).run()

    def test_left_over_and_named_to_the_next(self) -> None:
        """What a broken move had left beside a server was taken for its partner by the next one."""
        MigrationStorm(249).run()
