"""Storms on two servers that take over from each other, with a witness or without.

    python -m tests.simulation.pair_storm --seeds 0 100
    python -m tests.simulation.pair_storm --seeds 0 100 --static        without a witness
    python -m tests.simulation.pair_storm --seeds 4711 4712             one seed, told in full if it fails

When the faults have ended, both nodes are paired, too, and their disks hold the same.
"""

import sys
from collections import Counter
from functools import partial

from twisted.logger import LogEvent, globalLogPublisher

from chatproto.pair import feed, journal
from chatproto.testing import DISK_FAULTS, FaultPlan, SimDeployment, SimPairNode, Struck
from chatproto.testing.deployment import PAIR, REGISTRY
from chatproto.testing.faults import LEAVES, crash, pause, reset_all
from tests.simulation.weather import Weather, arguments, complaint, polite_stop, run_all

SAID = {
    "parting from": "parted",
    "too far behind": "installed",
    "the witness denies": "denied",
    "this data directory": "blank",
}
"""What nodes log where something happens that the storm is to reach."""


class PairStorm(Weather):
    """One storm on two servers.

    Attributes:
        witness: whether there is one.
        reached: how often what happened, for seeing that the storm reaches what it is for.
    """

    command = "python -m tests.simulation.pair_storm"
    storm_s = (4.0, 9.0)

    def __init__(self, seed: int, *, witness: bool = True) -> None:
        super().__init__(seed)
        self.witness = witness
        self.reached: Counter[str] = Counter()
        dice = self.dice
        self.constants[journal, "SNAPSHOT_ENTRIES"] = dice.choice((10, 30, 100, 50_000))
        self.constants[journal, "CHUNK_BYTES"] = self.constants[feed, "CHUNK_BYTES"] = dice.choice((200, 2000, 500_000))
        self.constants[feed, "LAG_BYTES_MAX"] = dice.choice((500, 5000, 4_000_000))

    def again(self) -> str:
        return super().again() + ("" if self.witness else " --static")

    def boot(self) -> None:
        dice = self.dice
        suspect_s = dice.choice((0.3, 0.6))
        self.deployment = SimDeployment.pair(
            self.seed,
            witness=self.witness,
            heartbeat_s=suspect_s / 4,
            suspect_s=suspect_s,
            lease_s=suspect_s * 1.5,
            prefer_primary=dice.random() < 0.1,
            settings=self.settings,
            **self.network_options(),
        )
        self.slow_disks()
        self.boot_clients(dice.randint(0, 2), dice.randint(1, 2), dice.uniform(0.05, 0.3))
        ways = [*PAIR, REGISTRY] if self.witness else list(PAIR)
        among = (crash, pause, *DISK_FAULTS, self.polite_stop, self.hand_over, self.hand_over, self.crash_both)
        if self.witness:
            # Without one, a primary that begins with an empty disk while the secondary is away begins another pair.
            among = (*among, self.wipe)
        between = (self.cut, self.cut, self.cut_one_way, self.isolate, self.slow_path, pause)
        self.plans = [
            self.plan("all", gap_s=(0.3, 3.0), lasting_s=(0.05, 3.0)),
            self.plan("nodes", among, hosts=PAIR, gap_s=(0.2, 2.0), lasting_s=(0.05, 2.5)),
            self.plan("paths", between, hosts=ways, gap_s=(0.3, 3.0), lasting_s=(0.05, 2.5)),
        ]
        if self.witness:
            of_witness = (crash, pause, *DISK_FAULTS, reset_all)
            self.plans.append(
                self.plan("witness", of_witness, hosts=[REGISTRY], gap_s=(1.0, 6.0), lasting_s=(0.05, 3.0))
            )

    def safety(self) -> None:
        if self.dice.random() < 0.8:
            # The others see to it that the first moments of a pair are struck, too.
            self.deployment.run_until_paired()
        super().safety()

    # Faults

    def polite_stop(self, plan: FaultPlan) -> Struck | None:
        """See `weather.polite_stop`."""
        return polite_stop(plan, self.deployment)

    def hand_over(self, plan: FaultPlan) -> Struck | None:
        """Ask whoever leads to hand over, as an operator does."""
        for node in self.deployment.paired:
            if node.host.alive and not node.host.paused and node.pair.hand_over():
                return Struck(f"handover by {node.name}", None)
        return None

    def crash_both(self, plan: FaultPlan) -> Struck | None:
        """Crash both nodes; the one or the other boots first."""
        hosts = [node.host for node in self.deployment.paired]
        if not all(host.alive for host in hosts):
            return None
        plan.dice.shuffle(hosts)
        leaves = plan.dice.choice(LEAVES)
        for host in hosts:
            host.crash(leaves)

        def boot() -> None:
            if not hosts[0].alive:
                hosts[0].boot()
            wait = plan.dice.choice((0.0, 0.3, 1.5))
            plan.network.clock.schedule(wait, self._boot_host, (hosts[1].name,))

        return Struck(f"crash of both ({leaves})", boot)

    def _boot_host(self, name: str) -> None:
        host = self.deployment.network.host(name)
        if not host.alive:
            host.boot()

    def wipe(self, plan: FaultPlan) -> Struck | None:
        """Replace the disk of a node by an empty one, while the other is there and has everything."""
        nodes = list(self.deployment.paired)
        plan.dice.shuffle(nodes)
        for node, other in (nodes, nodes[::-1]):
            if node.host.alive and not node.host.disk.doomed and self._may_lose(node, other):
                node.host.crash(plan.dice.choice(LEAVES))
                node.wipe()
                self.reached["wipes"] += 1
                return Struck(f"new disk of {node.name}", partial(self._boot_host, node.name))
        return None

    def _may_lose(self, node: SimPairNode, other: SimPairNode) -> bool:
        if not other.host.alive or other.host.paused or other.host.disk.doomed:
            return False
        agreement, newest = self.deployment.agreement, self.deployment.agreement.newest
        if self.witness:
            counts = newest is not None and other.name in newest.members and agreement.holds_everything(other.name)
            # Who is about to be a member has been counted on already, and what is asked for may hold.
            asking = any(replica.require or replica.undecided for replica in (node.pair.replica, other.pair.replica))
            return counts and not asking
        # Nobody else knows what of it counts, so it is lost only while the other has all of it.
        return not self.deployment.unequal()

    def _ends(self, plan: FaultPlan) -> tuple[str, str]:
        a, b = plan.dice.sample(plan.hosts, 2)
        return a, b

    def cut(self, plan: FaultPlan) -> Struck | None:
        """Cut the path between two of those that agree."""
        a, b = self._ends(plan)
        plan.network.cut(a, b)
        return Struck(f"cut between {a} and {b}", lambda: plan.network.heal(a, b))

    def cut_one_way(self, plan: FaultPlan) -> Struck | None:
        """Cut the path from one of those that agree to another."""
        a, b = self._ends(plan)
        plan.network.cut_one_way(a, b)
        return Struck(f"cut from {a} to {b}", lambda: plan.network.heal(a, b))

    def slow_path(self, plan: FaultPlan) -> Struck | None:
        """Make the path between two of those that agree slow."""
        a, b = self._ends(plan)
        plan.network.slow(a, b, (0.0, plan.dice.uniform(0.05, 0.7)))
        return Struck(f"slow path between {a} and {b}", lambda: plan.network.slow(a, b, None))

    def isolate(self, plan: FaultPlan) -> Struck | None:
        """Cut a node off from the other and the witness, and not from all of its clients; or the witness off."""
        a = plan.dice.choice(plan.hosts)
        others = [name for name in plan.hosts if name != a]
        if plan.dice.random() < 0.5:
            others += plan.dice.sample([client.name for client in self.clients], 1)
        for other in others:
            plan.network.cut(a, other)

        def heal() -> None:
            for other in others:
                plan.network.heal(a, other)

        return Struck(f"isolation of {a} from {', '.join(others)}", heal)

    # Acts

    def run(self) -> None:
        globalLogPublisher.addObserver(self._note)
        try:
            super().run()
        finally:
            globalLogPublisher.removeObserver(self._note)

    def _note(self, event: LogEvent) -> None:
        """Count what nodes say of themselves."""
        if "role" in event and "before" in event:
            self.reached[f"{event['before']} → {event['role']}"] += 1
        said = event.get("log_format") or ""
        self.reached.update(what for start, what in SAID.items() if said.startswith(start))

    def liveness(self) -> None:
        for node in self.deployment.paired:
            node.host.disk.mend()
        super().liveness()

    def unsettled(self) -> list[str]:
        return super().unsettled() + self.deployment.unequal()

    def unfinished(self) -> list[str]:
        return super().unfinished() + self.deployment.unequal()

    def describe(self, failure: str) -> str:
        lines = [super().describe(failure), "nodes:"]
        for node in self.deployment.paired:
            replica = node.pair.replica
            lines.append(
                f"{node.name}: {'alive' if node.host.alive else 'dead'}, {replica.role.value}, "
                f"{replica.configuration}, end {replica.end}, durable {replica.durable}, "
                f"followers {replica.followers}, commit {replica.commit}, applied {node.pair.position}, "
                f"serving {node.pair.serving}, "
                f"busy {replica.busy}, reached {replica.reached}, "
                f"require {replica.require}"
            )
        if self.deployment.registry is not None:
            lines.append(f"witness: {self.deployment.registry.held}")
        return "\n".join(lines)


def run_storm(seed: int) -> str:
    """Run the storm of a seed with a witness; return what failed, nothing if all went well."""
    return complaint(PairStorm(seed))


def run_static_storm(seed: int) -> str:
    """Run the storm of a seed without a witness; return what failed, nothing if all went well."""
    return complaint(PairStorm(seed, witness=False))


def main() -> int:
    """Run the command."""
    parser = arguments(PairStorm.command)
    parser.add_argument("--static", action="store_true", help="without a witness")
    chosen = parser.parse_args()
    return run_all(run_static_storm if chosen.static else run_storm, range(*chosen.seeds), chosen.jobs)


if __name__ == "__main__":
    sys.exit(main())
