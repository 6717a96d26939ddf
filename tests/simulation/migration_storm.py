"""Storms on a server, or a pair, whose place is taken by others again and again.

    python -m tests.simulation.migration_storm --seeds 0 100
    python -m tests.simulation.migration_storm --seeds 0 100 --pair
    python -m tests.simulation.migration_storm --seeds 4711 4712            one seed, told in full if it fails

When the faults have ended, one node leads, another follows it where there is to be a pair, and the others stand by.
"""

import sys
from typing import Any

from chatproto.testing import DISK_FAULTS, FaultPlan, SimDeployment, Struck
from chatproto.testing.deployment import PAIR, REGISTRY, STANDBYS
from chatproto.testing.faults import crash, pause, reset_all
from tests.simulation.pair_storm import PairStorm
from tests.simulation.weather import arguments, complaint, run_all


class MigrationStorm(PairStorm):
    """One storm on servers that take each other's place."""

    command = "python -m tests.simulation.migration_storm"

    def __init__(self, seed: int, *, paired: bool = False) -> None:
        super().__init__(seed)
        self.paired = paired

    def again(self) -> str:
        return super().again() + (" --pair" if self.paired else "")

    def boot(self) -> None:
        dice = self.dice
        suspect_s = dice.choice((0.3, 0.6))
        self.deployment = SimDeployment.movable(
            self.seed,
            paired=self.paired,
            standbys=STANDBYS[: dice.randint(1, 2)],
            heartbeat_s=suspect_s / 4,
            suspect_s=suspect_s,
            lease_s=suspect_s * 1.5,
            settings=self.settings,
            **self.network_options(),
        )
        self.slow_disks()
        self.boot_clients(dice.randint(0, 2), dice.randint(1, 2), dice.uniform(0.05, 0.3))
        nodes = list(self.deployment.nodes)
        among = (crash, pause, *DISK_FAULTS, self.polite_stop, self.migrate, self.migrate, self.migrate)
        between = (self.cut, self.cut, self.cut_one_way, self.isolate, self.slow_path, pause)
        self.plans = [
            self.plan("all", gap_s=(0.3, 3.0), lasting_s=(0.05, 3.0)),
            self.plan("nodes", among, hosts=nodes, gap_s=(0.1, 1.5), lasting_s=(0.05, 2.5)),
            self.plan("paths", between, hosts=[*nodes, REGISTRY], gap_s=(0.3, 3.0), lasting_s=(0.05, 2.5)),
            self.plan("witness", (crash, pause, reset_all), hosts=[REGISTRY], gap_s=(1.0, 6.0), lasting_s=(0.05, 3.0)),
        ]

    def safety(self) -> None:
        if self.dice.random() < 0.8:
            self.deployment.settle(self.unplaced, 10.0)
        super(PairStorm, self).safety()

    def unplaced(self) -> list[str]:
        """Return what is missing until everybody has a place."""
        return self.deployment.unplaced(len(PAIR) if self.paired else 1)

    def migrate(self, plan: FaultPlan) -> Struck | None:
        """Ask whoever leads to have another node take its place, as an operator does."""
        for node in self.deployment.paired:
            if node.host.alive and not node.host.paused and node.pair.replica.leads and not node.tree.migration.moving:
                self.reached["asked to migrate"] += 1
                node.tree.migration.migrate().addCallbacks(self._moved, lambda failure: None)
                return Struck(f"migration from {node.name}", None)
        return None

    def _moved(self, moved: Any) -> None:
        self.reached["migrated"] += 1

    def unsettled(self) -> list[str]:
        return super(PairStorm, self).unsettled() + (self.unplaced() or self.deployment.unequal())

    def unfinished(self) -> list[str]:
        return super(PairStorm, self).unfinished() + (self.unplaced() or self.deployment.unequal())


def run_storm(seed: int) -> str:
    """Run the storm of a seed on a single server; return what failed, nothing if all went well."""
    return complaint(MigrationStorm(seed))


def run_pair_storm(seed: int) -> str:
    """Run the storm of a seed on a pair; return what failed, nothing if all went well."""
    return complaint(MigrationStorm(seed, paired=True))


def main() -> int:
    """Run the command."""
    parser = arguments(MigrationStorm.command)
    parser.add_argument("--pair", action="store_true", help="on a pair")
    chosen = parser.parse_args()
    return run_all(run_pair_storm if chosen.pair else run_storm, range(*chosen.seeds), chosen.jobs)


if __name__ == "__main__":
    sys.exit(main())
