"""Hundreds of storms, each from its seed, over all the processors there are."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tests.simulation
from tests.simulation.extended import ExtendedClient
from tests.simulation.storm import Storm

SEEDS = 300
ROOT = Path(tests.simulation.__file__).parents[2]


def run_command(case: SynchronousTestCase, command: str, seeds: int, *options: str) -> None:
    """Run so many storms of a kind, and see all of them pass."""
    arguments = [sys.executable, *command.split()[1:], "--seeds", "0", str(seeds), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    case.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
    case.assertIn(f"{seeds} seeds, 0 failed", ended.stdout)


class StormTests(SynchronousTestCase):
    def test_storms(self) -> None:
        """Whatever strikes: nothing acknowledged is lost, no view has a hole, and after it everybody is current."""
        run_command(self, Storm.command, SEEDS)

    def test_same_seed_same_storm(self) -> None:
        """A seed that has failed fails again: not a byte of its run depends on anything else."""

        def trace(seed: int) -> list[str]:
            storm = Storm(seed)
            storm.run()
            return [str(event) for event in storm.deployment.network.trace]

        for seed in range(3):
            self.assertEqual(trace(seed), trace(seed))

    def test_reach(self) -> None:
        """The storm reaches what it is for: dead disks, restarts, returns, repeats, retention, snapshots."""
        reached: Counter[str] = Counter()
        for seed in range(30):
            storm = Storm(seed)
            storm.run()
            node = storm.deployment.nodes["primary"]
            reached["restarts"] += node.host.lives - 1
            reached["dead disks"] += len(node.last_words)
            reached["acknowledged"] += len(storm.deployment.acknowledgements)
            reached["purged by snapshots"] += sum(len(run.ids) for run in node.durable()) < len(
                storm.deployment.chronicle.records
            )
            for client in storm.clients:
                if isinstance(client, ExtendedClient):
                    reached["resumed"] += client.welcomes["resumed"]
                    reached["begun anew"] += client.welcomes["begun"] - 1
                    reached["gaps"] += client.gaps
                    reached.update(client.errors)
        for what, least in (
            ("restarts", 60),
            ("dead disks", 20),
            ("acknowledged", 2000),
            ("purged by snapshots", 10),
            ("resumed", 50),
            ("begun anew", 5),
            ("gaps", 2),
            ("id-reused", 5),
            ("no-such-room", 20),
        ):
            self.assertGreater(reached[what], least, reached)
