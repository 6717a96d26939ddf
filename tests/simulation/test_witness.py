"""The registry as the witness of three nodes that propose whatever their dice say, under faults drawn from a seed."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.link import Turn
from chatproto.pair.configuration import Configuration, after
from chatproto.registry import RegistryWitness
from chatproto.registry import protocol as registry_protocol
from chatproto.registry import witness as registry_witness
from chatproto.registry.messages import decode_state
from chatproto.registry.protocol import RegistryLink
from chatproto.registry.witness import Abort, Effect, Witness
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import (
    DISK_FAULTS,
    FAULTS,
    FaultPlan,
    NeverHappened,
    SimClock,
    SimNetwork,
    SimProcess,
    Violation,
)
from chatproto.testing.faults import crash, pause
from chatproto.testing.host import Leaves
from chatproto.world import World

SEEDS = range(40)
STORM_S = 12.0
CALM_S_MAX = 5.0
NAMES = ("east", "north", "west")
REGISTRY = "registry"
HEARTBEAT_S, SUSPECT_S, LEASE_S = 0.15, 0.6, 0.9


class Proposal:
    """What a node has asked for. Dead: the node was told that it never takes effect any more."""

    def __init__(self, node: str, configuration: Configuration, lossy: bool) -> None:
        self.node = node
        self.configuration = configuration
        self.lossy = lossy
        self.dead = False


@implementer(ILogObserver)
class Failures:
    """Keeps what is logged as a failure."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event and event["log_level"] >= LogLevel.warn:
            self.events.append(event)


class Chronicle:
    """All that is known of one service: what was durable, asked for and told, whoever lived at the time."""

    def __init__(self) -> None:
        self.held: Configuration | None = None
        self.of: dict[int, Configuration] = {}
        self.told: dict[str, int] = {}
        self.proposals: list[Proposal] = []
        self.granted = self.adopted = 0

    @property
    def epoch(self) -> int:
        return self.held.epoch if self.held is not None else 0

    def durable(self, held: Configuration | None, claims: dict[str, Configuration | None]) -> None:
        """Hear what the registry's disk has."""
        if held == self.held:
            return
        if held is None or held.epoch <= self.epoch:
            raise Violation(f"after {self.held} the disk has {held}")
        before, self.held = self.held, held
        self._is_the_only_one(held)
        alive = [one for one in self.proposals if one.configuration == held and not one.dead]
        if any(self._may(one, before) for one in alive):
            self.granted += 1
        elif sum(claim == held for claim in claims.values()) > 1:
            self.adopted += 1
        else:
            raise Violation(f"after {before} the disk has {held}, for which nobody could ask")

    def _may(self, proposal: Proposal, before: Configuration | None) -> bool:
        asked, node = proposal.configuration, proposal.node
        if before is None:
            return asked == Configuration(asked.epoch, "east", ("east",)) and node == "east"
        if proposal.lossy and asked.members == (node,) and asked.epoch > before.epoch:
            # It may bring a log that is ahead.
            return True
        if asked.epoch != before.epoch + 1:
            return False
        if node == before.leader:
            return asked.leader in before.members
        return node in before.members and asked.members == (node,)

    def tell(self, node: str, configuration: Configuration | None) -> None:
        """Hear what a node is told."""
        if configuration is None:
            if self.told.get(node):
                raise Violation(f"{node} was told of epoch {self.told[node]}, and that there is none")
            return
        if configuration.epoch > self.epoch:
            raise Violation(f"{node} is told of {configuration} when {self.held} is durable")
        if configuration.epoch < self.told.get(node, 0):
            raise Violation(f"{node} is told of {configuration} after epoch {self.told[node]}")
        self.told[node] = configuration.epoch
        self._is_the_only_one(configuration)

    def _is_the_only_one(self, configuration: Configuration) -> None:
        known = self.of.setdefault(configuration.epoch, configuration)
        if known != configuration:
            raise Violation(f"two of one epoch: {known} and {configuration}")

    def bury(self, node: str) -> None:
        """Hear that what a node has asked for until now has taken effect or never will."""
        for proposal in self.proposals:
            proposal.dead |= proposal.node == node


class FakeNode(Service):
    """As much of a node as a witness sees: it claims what its disk has, and asks for something now and then."""

    def __init__(self, world: World, name: str, storm: "Storm") -> None:
        self.node = name
        self.held: Configuration | None = None
        self.told = 0
        self.witness = RegistryWitness(
            world.client(f"tcp:{REGISTRY}:4646"),
            world.clock,
            world.dice,
            Turn(world.clock),
            service="chat",
            node=name,
            heartbeat_s=HEARTBEAT_S,
            suspect_s=SUSPECT_S,
        )
        self.dice = world.dice
        self.clock = world.clock
        self.storm = storm
        # The epoch asked for.
        self.under_way: int | None = None
        self.denials: list[str] = []
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self.witness.open(self, self.storm.claims[self.node], self.node == "east")
        self._await_next()

    # WitnessHeard

    def witness_up(self, configuration: Configuration | None) -> None:
        with self.storm.watching():
            if not self.witness.up:
                raise Violation(f"{self.node} hears that the witness is up when it is not")
            self.under_way = None
            self.storm.chronicle.bury(self.node)
            self._hear(configuration)

    def witness_down(self) -> None:
        self.under_way = None

    def witness_holds(self, configuration: Configuration) -> None:
        with self.storm.watching():
            if self.under_way is not None and configuration.epoch >= self.under_way:
                self.under_way = None
            self._hear(configuration)

    def witness_denied(self, reason: str, configuration: Configuration | None) -> None:
        with self.storm.watching():
            if self.under_way is None:
                raise Violation(f"{self.node} is denied what it has not asked for")
            self.under_way = None
            self.denials.append(reason)
            self._hear(configuration)

    def _hear(self, configuration: Configuration | None) -> None:
        self.storm.chronicle.tell(self.node, configuration)
        self.told += 1
        self.held = configuration
        if configuration is not None:
            self.clock.callLater(self.dice.uniform(0.0005, 0.02), self._stored, configuration)

    def _stored(self, configuration: Configuration) -> None:
        if configuration.epoch > self.storm.epoch_of(self.node):
            self.storm.claims[self.node] = configuration
            self.witness.claim(configuration)

    # What it asks for

    def _await_next(self) -> None:
        self._next = self.clock.callLater(self.dice.uniform(0.01, 0.3), self._act)

    def _act(self) -> None:
        self._await_next()
        if self.witness.up and self.under_way is None:
            drawn = self._draw()
            if drawn is not None:
                self.ask(*drawn)

    def ask(self, configuration: Configuration, lossy: bool = False) -> None:
        self.under_way = configuration.epoch
        self.storm.chronicle.proposals.append(Proposal(self.node, configuration, lossy))
        self.witness.propose(configuration, lossy=lossy)

    def alone(self) -> Configuration:
        return Configuration(after(self.held), self.node, (self.node,))

    def _draw(self) -> tuple[Configuration, bool] | None:
        dice, held = self.dice, self.held
        if self.storm.wild and dice.random() < 0.3:
            epoch = after(held) + dice.choice((-1, 0, 0, 0, 1))
            members = tuple(sorted(dice.sample(NAMES, dice.randint(1, 2))))
            return Configuration(epoch, dice.choice(members), members), dice.random() < 0.1
        if held is None or self.node not in held.members:
            lossy = self.storm.wild and dice.random() < 0.02
            return (self.alone(), lossy) if held is None or lossy else None
        if held.leader != self.node:
            return self.alone(), False
        epoch = after(held)
        other = dice.choice([name for name in NAMES if name != self.node])
        both = tuple(sorted((self.node, other)))
        if other in held.members and dice.random() < 0.5:
            return Configuration(epoch, other, dice.choice((both, (other,)))), False
        return (Configuration(epoch, self.node, both) if both != held.members else self.alone()), False


class Storm:
    """A registry and three nodes on a simulated network, checked after every event.

    Attributes:
        claims: what each node has on its disk.
        wild: whether the nodes also ask for what they may not have.
    """

    def __init__(self, seed: int, *, quiet: bool = False) -> None:
        self.seed = seed
        dice = random.Random(f"{seed} witness")
        self.network = SimNetwork(
            SimClock(),
            random.Random(f"{seed} network"),
            delay_s=dice.choice(((0.0002, 0.002), (0.001, 0.03))),
            send_buffer_bytes=dice.choice(((0, 0), (0, 30_000))),
            piece_bytes_max=dice.choice((None, None, 40)),
        )
        self.chronicle = Chronicle()
        self.claims: dict[str, Configuration | None] = dict.fromkeys(NAMES)
        self.wild = not quiet
        self.acting = not quiet
        self.violation: Violation | None = None
        self._failures = Failures()
        settings = RegistrySettings(REGISTRY, heartbeat_s=HEARTBEAT_S, suspect_s=SUSPECT_S, lease_s=LEASE_S)
        self.registry = SimProcess(self.network.host(REGISTRY), lambda world: build_registry(world, settings))
        self.nodes = {name: self._node(name) for name in NAMES}
        self.plans = [
            FaultPlan(
                self.network, random.Random(f"{seed} all"), faults=FAULTS, gap_s=(0.1, 1.5), lasting_s=(0.05, 3.0)
            ),
            FaultPlan(
                self.network,
                random.Random(f"{seed} registry"),
                [REGISTRY],
                (*DISK_FAULTS, crash, pause),
                gap_s=(0.2, 3.0),
                lasting_s=(0.05, 2.0),
            ),
        ]

    def _node(self, name: str) -> SimProcess:
        process = SimProcess(self.network.host(name), lambda world: FakeNode(world, name, self))
        if not self.acting:
            self.keep_still(process)
        return process

    def keep_still(self, process: SimProcess) -> None:
        """Let a node ask for nothing but what a test has it ask for."""
        process.tree._next.cancel()

    def node(self, name: str) -> FakeNode:
        node: FakeNode = self.nodes[name].tree
        return node

    def epoch_of(self, name: str) -> int:
        claim = self.claims[name]
        return claim.epoch if claim is not None else 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep a violation found inside a simulated process, where it would only end a connection."""
        try:
            yield
        except Violation as violation:
            self.violation = self.violation or violation

    def held(self) -> Configuration | None:
        """What the registry's disk has."""
        state = self.registry.host.disk.configuration(REGISTRY)
        return decode_state(state).get("chat") if state is not None else None

    def check(self) -> None:
        self.chronicle.durable(self.held(), self.claims)
        if self.violation is not None:
            raise self.violation
        if self._failures.events:
            failure = self._failures.events[0]["log_failure"]
            raise Violation(f"a failure was logged: {failure.getTraceback()}")

    def run(self, seconds: float) -> None:
        with self._listening():
            self.network.clock.run(seconds, self.check)

    def run_until(self, predicate: Callable[[], object], seconds_max: float) -> float:
        with self._listening():
            return self.network.clock.run_until(predicate, seconds_max, self.check)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        globalLogPublisher.addObserver(self._failures)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(self._failures)

    def agreed(self) -> bool:
        """Whether every node is up and has, on its disk, what the registry's disk has."""
        held = self.held()
        return held is not None and all(
            self.nodes[name].host.alive and self.node(name).witness.up and self.claims[name] == held for name in NAMES
        )

    # The two acts

    def both_acts(self) -> None:
        """Run them; a failure says its seed and what struck.

        Raises:
            Violation: something was not as it must be.
        """
        try:
            for plan in self.plans:
                plan.rain(STORM_S)
            self.run(STORM_S)
            self.wild = False
            before = self.chronicle.granted
            self.run_until(lambda: self.chronicle.granted >= before + 3, CALM_S_MAX)
            self.run_until(self.agreed, CALM_S_MAX)
        except (Violation, NeverHappened) as failure:
            faults = "\n".join(sorted(line for plan in self.plans for line in plan.done))
            raise Violation(
                f"seed {self.seed}, at {self.network.clock.seconds():.6f} s: {failure}\nfaults:\n{faults}\n"
                f"last events:\n{self.network.describe_trace(25)}"
            ) from failure


class StormTests(SynchronousTestCase):
    def test_storms(self) -> None:
        """One configuration per epoch, epochs that never fall, and nothing told or granted that should not be."""
        granted, denied = 0, set()
        for seed in SEEDS:
            storm = Storm(seed)
            storm.both_acts()
            granted += storm.chronicle.granted
            denied |= {reason for name in NAMES for reason in storm.node(name).denials}
        # Storms that have seen nothing show nothing.
        self.assertGreater(granted, 10 * len(SEEDS))
        self.assertGreaterEqual(denied, {"stale", "leader-heard", "not-a-member", "not-allowed", "busy"})

    def test_the_same_seed_gives_the_same_storm(self) -> None:
        def told() -> list[str]:
            storm = Storm(7)
            storm.both_acts()
            return [str(event) for event in storm.network.trace]

        self.assertEqual(told(), told())


class WitnessTestCase(SynchronousTestCase):
    """Tells stories by hand."""

    def begin(self, seed: int) -> Storm:
        """East leads, west is the other member, north is neither."""
        storm = self.storm = Storm(seed, quiet=True)
        storm.run_until(lambda: all(storm.node(name).witness.up for name in NAMES), 3)
        storm.run(LEASE_S)
        for configuration in (Configuration(1, "east", ("east",)), Configuration(2, "east", ("east", "west"))):
            storm.node("east").ask(configuration)
            self.settle(configuration.epoch)
        return storm

    def settle(self, epoch: int, seconds_max: float = 3.0) -> float:
        """Wait until everybody holds what has this epoch."""
        storm = self.storm
        return storm.run_until(lambda: storm.chronicle.epoch == epoch and storm.agreed(), seconds_max)

    def boot(self, name: str) -> None:
        process = self.storm.registry if name == REGISTRY else self.storm.nodes[name]
        process.host.boot()
        if name != REGISTRY:
            self.storm.keep_still(process)

    def takes_over(self, name: str = "west", seconds_max: float = 5.0, every_s: float = 0.01) -> float:
        """Have a node ask again and again to lead alone; return after how long it was granted."""
        storm = self.storm
        begun = storm.network.clock.seconds()
        while True:
            node = storm.node(name)
            held = storm.held()
            if held is not None and held.leader == name:
                return storm.network.clock.seconds() - begun
            if storm.network.clock.seconds() - begun > seconds_max:
                raise NeverHappened(f"{name} does not lead within {seconds_max} s")
            if node.witness.up and node.under_way is None:
                node.ask(node.alone())
            storm.run(every_s)

    def never_takes_over(self) -> None:
        """See a node ask again and again, and be denied."""
        try:
            took = self.takes_over()
        except NeverHappened:
            return
        self.fail(f"west leads after {took} s")

    def two_askers(self) -> None:
        """The leader asks, and dies before the witness has made it durable; the other one asks for the same epoch."""
        for seed in range(5):
            storm = self.begin(seed)
            storm.registry.host.disk.slow((0.5, 0.5))
            storm.node("east").ask(Configuration(3, "east", ("east",)))
            storm.run(0.2)
            storm.nodes["east"].host.crash()
            self.never_takes_over()
            self.assertEqual(storm.held(), Configuration(3, "east", ("east",)))
            self.assertGreaterEqual(set(storm.node("west").denials), {"busy", "not-a-member"})

    def superseded(self) -> None:
        """What a node has sent arrives when its next process is already welcomed over another connection."""
        for seed in range(5):
            self._superseded(seed)

    def _superseded(self, seed: int) -> None:
        storm = self.begin(seed)
        storm.network.slow("east", REGISTRY, (0.3, 0.3))
        storm.node("east").ask(Configuration(3, "east", ("east",)))
        storm.run(0.01)
        storm.nodes["east"].host.crash("silence")
        again = SimProcess(storm.network.host("again"), lambda world: FakeNode(world, "east", storm))
        storm.keep_still(again)
        took = storm.run_until(lambda: again.tree.witness.up, 2)
        self.assertLess(took, 0.2)
        storm.run(2)
        self.assertEqual(storm.chronicle.epoch, 2)
        again.tree.ask(Configuration(3, "west", ("east", "west")))
        storm.run_until(lambda: storm.chronicle.epoch == 3, 1)


class ScenarioTests(WitnessTestCase):
    """What the storm may not come to, and what takes how long."""

    def test_two_askers_for_one_epoch(self) -> None:
        self.two_askers()

    def test_a_superseded_connection_changes_nothing(self) -> None:
        self.superseded()

    def test_the_registry_is_killed_between_the_commit_and_the_answer(self) -> None:
        for seed in range(10):
            self._killed_after_commit(seed)

    def _killed_after_commit(self, seed: int) -> None:
        storm = self.begin(seed)
        storm.node("east").ask(Configuration(3, "east", ("east",)))
        storm.run_until(lambda: storm.chronicle.epoch == 3, 2)
        storm.registry.host.crash()
        self.assertEqual(storm.chronicle.told, dict.fromkeys(NAMES, 2))
        storm.run(0.3)
        self.assertFalse(any(storm.node(name).witness.up for name in NAMES))
        self.boot(REGISTRY)
        self.settle(3)

    def test_the_registry_is_killed_before_the_commit(self) -> None:
        """Both may be: whatever it is, everybody is told the same."""
        epochs = set()
        for seed in range(10):
            storm = self.begin(seed)
            storm.registry.host.disk.slow((0.5, 0.5))
            storm.node("east").ask(Configuration(3, "east", ("east",)))
            storm.run(0.2)
            storm.registry.host.crash()
            storm.registry.host.disk.mend()
            self.boot(REGISTRY)
            storm.run_until(storm.agreed, 3)
            epochs.add(storm.chronicle.epoch)
        self.assertEqual(epochs, {2, 3})

    def test_a_killed_leader_is_replaced_at_once(self) -> None:
        leaves: tuple[Leaves, ...] = ("reset", "close")
        for how in leaves:
            storm = self.begin(1)
            storm.nodes["east"].host.crash(how)
            self.assertLess(self.takes_over(), 0.1)
            self.boot("east")
            storm.run_until(storm.agreed, 3)

    def test_a_leader_that_is_silent_is_replaced_after_the_lease(self) -> None:
        for seed in range(10):
            storm = self.begin(seed)
            storm.network.isolate("east")
            took = self.takes_over()
            # Its last heartbeat was a moment before.
            self.assertTrue(LEASE_S - 2 * HEARTBEAT_S < took < LEASE_S + 0.1, took)
            self.assertFalse(storm.node("east").witness.up)
            storm.network.rejoin("east")
            storm.run_until(storm.agreed, 3)

    def test_a_living_leader_is_not_replaced(self) -> None:
        storm = self.begin(3)
        self.never_takes_over()
        self.assertEqual(storm.chronicle.epoch, 2)
        self.assertEqual(set(storm.node("west").denials), {"leader-heard"})

    def test_nor_by_a_registry_that_stood_still(self) -> None:
        """It finds that everybody has hung up, and that the one who asks is the first to be back."""
        for seed in range(20):
            storm = self.begin(seed)
            storm.registry.host.pause()
            storm.run(3)
            self.assertFalse(any(storm.node(name).witness.up for name in NAMES))
            storm.registry.host.resume()
            self.never_takes_over()
            self.assertEqual(storm.chronicle.epoch, 2, seed)

    def test_nor_by_a_registry_that_was_cut_off(self) -> None:
        for seed in range(20):
            storm = self.begin(seed)
            storm.network.isolate(REGISTRY)
            storm.run(3)
            self.assertFalse(any(storm.node(name).witness.up for name in NAMES))
            storm.network.rejoin(REGISTRY)
            self.never_takes_over()
            self.assertEqual(storm.chronicle.epoch, 2, seed)

    def test_nor_by_a_registry_that_was_started_again(self) -> None:
        for seed in range(20):
            storm = self.begin(seed)
            storm.registry.host.crash()
            storm.run(3)
            self.boot(REGISTRY)
            self.never_takes_over()
            self.assertEqual(storm.chronicle.epoch, 2, seed)

    def test_a_leader_that_dies_with_the_registry_is_replaced_a_lease_after_that_is_back(self) -> None:
        storm = self.begin(4)
        storm.registry.host.crash()
        storm.nodes["east"].host.crash("silence")
        storm.run(3)
        self.boot(REGISTRY)
        self.assertTrue(LEASE_S <= self.takes_over() < LEASE_S + 2.0)

    def test_a_cut_and_back(self) -> None:
        """The link that a cut has killed is found silent by both, and the new one is there soon after it heals."""
        storm = self.begin(5)
        storm.network.cut("west", REGISTRY)
        took = storm.run_until(lambda: not storm.node("west").witness.up, 2)
        self.assertTrue(SUSPECT_S - HEARTBEAT_S <= took <= SUSPECT_S + 2 * HEARTBEAT_S, took)
        storm.run(10)
        storm.network.heal("west", REGISTRY)
        self.assertLess(storm.run_until(lambda: storm.node("west").witness.up, 5), 2.1)

    def test_a_host_without_power_is_dialled_until_it_is_back(self) -> None:
        """A try that hangs is given up: nobody answers it, also after the next boot."""
        storm = self.begin(6)
        storm.registry.host.crash("silence")
        storm.run(10)
        self.boot(REGISTRY)
        self.assertLess(storm.run_until(storm.agreed, 5), 2.1)

    def test_a_lost_disk_is_rebuilt_from_all_who_hold_the_newest(self) -> None:
        storm = self.begin(7)
        storm.node("east").ask(Configuration(3, "west", ("east", "west")))
        self.settle(3)
        storm.nodes["east"].host.crash()
        lost = self.storm = Storm(8, quiet=True)
        lost.claims.update(storm.claims, north=None)
        lost.chronicle.of.update(storm.chronicle.of)
        for name in NAMES:
            lost.nodes[name].host.crash()
        lost.run(LEASE_S)
        for name in ("west", "north"):
            self.boot(name)
        lost.run(3)
        self.assertIsNone(lost.held())
        lost.node("west").ask(Configuration(4, "west", ("west",)))
        lost.run(1)
        self.assertEqual((lost.node("west").denials, lost.held()), (["forgotten"], None))
        self.boot("east")
        lost.run_until(lost.agreed, 3)
        self.assertEqual((lost.held(), lost.chronicle.adopted), (storm.held(), 1))
        lost.node("west").ask(Configuration(4, "west", ("west",)))
        self.settle(4)

    def test_two_processes_of_one_name_do_not_storm_the_registry(self) -> None:
        """Each supersedes the other, ever more slowly; nothing they do counts twice."""
        storm = self.begin(9)
        made: list[float] = []
        right = RegistryLink.connectionMade

        def connection_made(link: RegistryLink) -> None:
            made.append(storm.network.clock.seconds())
            right(link)

        self.patch(RegistryLink, "connectionMade", connection_made)
        double = SimProcess(storm.network.host("double"), lambda world: FakeNode(world, "north", storm))
        storm.keep_still(double)
        storm.run(20)
        self.assertLess(len(made), 80)
        self.assertEqual(storm.chronicle.epoch, 2)
        double.host.crash()
        storm.run_until(storm.agreed, 3)

    def test_polite_ends(self) -> None:
        storm = self.begin(10)
        storm.registry.stop()
        storm.run(2)
        self.assertFalse(storm.registry.host.alive)
        self.assertFalse(any(storm.node(name).witness.up for name in NAMES))
        storm.node("west").witness.close()
        told = storm.node("west").told
        self.boot(REGISTRY)
        storm.run(3)
        self.assertTrue(storm.node("east").witness.up)
        self.assertEqual((storm.node("west").told, storm.node("west").witness.up), (told, False))

    def test_a_full_disk_ends_the_registry_and_nothing_is_told(self) -> None:
        storm = self.begin(11)
        storm.registry.host.disk.fill()
        storm.node("east").ask(Configuration(3, "east", ("east",)))
        storm.run(1)
        self.assertEqual(len(storm.registry.host.last_words), 1)
        self.assertEqual((storm.chronicle.epoch, storm.chronicle.told["east"]), (2, 2))
        storm.registry.host.disk.mend()
        self.boot(REGISTRY)
        storm.run_until(storm.agreed, 3)


class PlantedTests(WitnessTestCase):
    """Each known mistake is caught, by a storm within a few seeds or by a story."""

    def catch(self, *complaints: str) -> None:
        for seed in SEEDS:
            try:
                Storm(seed).both_acts()
            except Violation as violation:
                self.flushLoggedErrors()
                said = str(violation).partition("faults:")[0]
                self.assertTrue(any(complaint in said for complaint in complaints), said)
                return
        self.fail(f"none of {len(SEEDS)} seeds has caught it")

    def test_told_before_durable(self) -> None:
        right = Witness._change

        def change(witness: Witness, service: Any, configuration: Configuration) -> list[Effect]:
            keep = right(witness, service, configuration)
            return [*keep, *witness.kept(service.name)]

        self.patch(Witness, "_change", change)
        self.patch(registry_protocol.RegistryLinkFactory, "_kept", lambda *_: None)
        self.catch("is durable")

    def test_granted_while_another_is_under_way(self) -> None:
        right = Witness._judge

        def judge(witness: Witness, service: Any, *details: Any) -> str | None:
            pending, service.pending = service.pending, None
            denial = right(witness, service, *details)
            service.pending = pending
            return denial

        self.patch(Witness, "_judge", judge)
        violation = self.assertRaises(Violation, self.two_askers)
        self.assertIn("two of one epoch", str(violation))

    def test_members_are_not_asked_for(self) -> None:
        right = registry_witness._standing
        self.patch(registry_witness, "_standing", lambda held, node, lossy: right(held, node, lossy=True))
        self.catch("for which nobody could ask")

    def test_epochs_are_not_compared(self) -> None:
        right = Witness._judge

        def judge(witness: Witness, service: Any, node: Any, proposal: Any, now: float) -> str | None:
            denial = right(witness, service, node, proposal, now)
            return None if denial == "stale" else denial

        self.patch(Witness, "_judge", judge)
        self.catch("the disk has", "two of one epoch")

    def test_a_superseded_connection_goes_on(self) -> None:
        """It keeps its seat, and so does the new one."""
        right = Witness.hello

        def hello(witness: Witness, *details: Any) -> list[Effect]:
            before = dict(witness._seats)
            effects = right(witness, *details)
            witness._seats.update(before)
            return [effect for effect in effects if not isinstance(effect, Abort)]

        self.patch(Witness, "hello", hello)
        violation = self.assertRaises(Violation, self.superseded)
        self.assertIn("for which nobody could ask", str(violation))

    def test_welcomed_while_a_change_is_under_way(self) -> None:
        right = Witness._tell

        def tell(witness: Witness, service: Any) -> list[Effect]:
            pending, service.pending = service.pending, None
            effects = right(witness, service)
            service.pending = pending
            return effects

        self.patch(Witness, "_tell", tell)
        self.catch("for which nobody could ask")
