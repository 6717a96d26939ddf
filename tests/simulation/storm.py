"""Storms on a server alone.

python -m tests.simulation.storm --seeds 0 100
python -m tests.simulation.storm --seeds 4711 4712      one seed, told in full if it fails
"""

import sys

from chatproto.log import single
from chatproto.testing import DISK_FAULTS, Fault, SimDeployment
from chatproto.testing.faults import crash
from tests.simulation.weather import StormFailed, Weather, arguments, complaint, polite_stop, run_all

__all__ = ["Storm", "StormFailed"]


class Storm(Weather):
    """One storm on a server alone."""

    command = "python -m tests.simulation.storm"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.constants[single, "SNAPSHOT_ENTRIES"] = self.dice.choice((20, 60, 200, 50_000))

    def boot(self) -> None:
        dice = self.dice
        self.deployment = SimDeployment(self.seed, {"primary": self.settings("primary")}, **self.network_options())
        self.slow_disks()
        self.boot_clients(dice.randint(1, 3), dice.randint(1, 3), dice.uniform(0.05, 0.3))
        of_nodes: tuple[Fault, ...] = (*DISK_FAULTS, crash, lambda plan: polite_stop(plan, self.deployment))
        self.plans = [
            self.plan("all", gap_s=(0.1, 2.0), lasting_s=(0.05, 5.0)),
            self.plan("nodes", of_nodes, hosts=self.deployment.nodes, gap_s=(0.2, 3.0), lasting_s=(0.05, 2.0)),
        ]


def run_storm(seed: int) -> str:
    """Run the storm of a seed; return what failed, nothing if all went well."""
    return complaint(Storm(seed))


def main() -> int:
    """Run the command."""
    chosen = arguments(Storm.command).parse_args()
    return run_all(run_storm, range(*chosen.seeds), chosen.jobs)


if __name__ == "__main__":
    sys.exit(main())
