"""Hundreds of storms on two servers, with a witness and without, over all the processors there are."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.embedded import EmbeddedClient
from tests.simulation.extended import ExtendedClient
from tests.simulation.pair_storm import PairStorm
from tests.simulation.test_storms import run_command

SEEDS = 500


class PairStormTests(SynchronousTestCase):
    def test_storms_with_a_witness(self) -> None:
        """Whatever strikes: nothing acknowledged is lost or moved, and after it both nodes are paired and equal."""
        run_command(self, PairStorm.command, SEEDS)

    def test_storms_without_a_witness(self) -> None:
        """Whatever strikes: nothing acknowledged is lost, views are of one log, and after it both nodes are equal."""
        run_command(self, PairStorm.command, SEEDS, "--static")

    def test_same_seed_same_storm(self) -> None:
        """A seed that has failed fails again: not a byte of its run depends on anything else."""

        def trace(seed: int, witness: bool) -> list[str]:
            storm = PairStorm(seed, witness=witness)
            storm.run()
            return [storm.faults(), *(str(event) for event in storm.deployment.network.trace)]

        for seed in range(2):
            for witness in (True, False):
                self.assertEqual(trace(seed, witness), trace(seed, witness))

    def reached(self, *, witness: bool) -> Counter[str]:
        reached: Counter[str] = Counter()
        for seed in range(60):
            storm = PairStorm(seed, witness=witness)
            storm.run()
            reached.update(storm.reached)
            reached["acknowledged"] += len(storm.deployment.acknowledgements)
            for client in storm.clients:
                if isinstance(client, ExtendedClient):
                    reached["resumed"] += client.welcomes["resumed"]
                    reached["begun anew"] += client.welcomes["begun"] - 1
                    reached["session moves"] += client.moves
                    reached["rewinds"] += client.rewinds
                    reached.update(f"redirected: {reason}" for reason in client.redirects)
                elif isinstance(client, EmbeddedClient):
                    reached["rewinds"] += client.rewinds
        return reached

    def check_reached(self, reached: Counter[str], *least: tuple[str, int]) -> None:
        few = {what: reached[what] for what, count in least if reached[what] < count}
        self.assertEqual(few, {}, sorted(reached.items()))

    def test_reach_with_a_witness(self) -> None:
        """The storm reaches what it is for: takeovers, shrinks, grows, handovers, installations, new disks, moves."""
        self.check_reached(
            self.reached(witness=True),
            ("acknowledged", 2000),
            ("follower → leader-solo", 15),
            ("follower → leader-pair", 8),
            ("follower → learner", 8),
            ("follower → isolated", 8),
            ("leader-pair → leader-solo", 15),
            ("leader-pair → learner", 5),
            ("leader-pair → isolated", 5),
            ("learner → follower", 60),
            ("handing → follower", 8),
            ("denied", 30),
            ("parted", 8),
            ("installed", 20),
            ("wipes", 10),
            ("blank", 2),
            ("resumed", 50),
            ("session moves", 20),
            ("begun anew", 5),
            ("redirected: isolated", 10),
        )

    def test_reach_without_a_witness(self) -> None:
        """The storm reaches what it is for: both sides of a partition go on, are merged, and clients are rewound."""
        self.check_reached(
            self.reached(witness=False),
            ("acknowledged", 2000),
            ("follower → leader-solo", 30),
            ("leader-pair → leader-solo", 30),
            ("leader-solo → learner", 15),
            ("leader-pair → learner", 8),
            ("learner → follower", 60),
            ("handing → follower", 8),
            ("parted", 30),
            ("rewinds", 30),
            ("resumed", 50),
            ("session moves", 30),
            ("redirected: isolated", 15),
        )
