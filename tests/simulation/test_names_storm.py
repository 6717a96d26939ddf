"""The registry's names under faults drawn from a seed: servers that come, change and go, and all of them watch."""

import random

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import RegistryError
from chatproto.registry import Registration, RegistryClient
from chatproto.registry.shelf import split_state
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import DISK_FAULTS, FAULTS, FaultPlan, SimClock, SimNetwork, SimProcess, Violation
from chatproto.world import World

SEEDS = range(30)
STORM_S = 15.0
CALM_S_MAX = 8.0
LEASE_S = 3.0
NAMES = ("east", "north", "west")
REGISTRY = "registry"


class Server(Service):
    """Registers what it is, which changes now and then; watches all; calls the others."""

    def __init__(self, world: World, name: str, storm: "Storm") -> None:
        self.told: dict[str, Registration] = {}
        self._world = world
        self._name = name
        self._storm = storm
        self._client = RegistryClient(world.client("tcp:registry:4646"), world.clock, world.dice, who=name)
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._client.startService()
        self._client.watch(self)
        self._change()

    def _change(self) -> None:
        wanted = self._storm.change(self._name)
        registering = self._client.register(wanted, self._name.encode(), self._answer)
        registering.addCallbacks(lambda _: self._storm.confirmed(wanted), self._failed)
        other = self._world.dice.choice(NAMES)
        calling = self._client.call("storm", other, self._name.encode(), 1.0)
        calling.addCallbacks(lambda answer: self._storm.answered(other, self._name, answer), self._failed)
        if not self._storm.calm:
            self._next = self._world.clock.callLater(self._world.dice.uniform(0.1, 2.0), self._change)

    def _failed(self, failure: Failure) -> None:
        failure.trap(RegistryError)

    def _answer(self, payload: bytes) -> "Deferred[bytes]":
        answer: Deferred[bytes] = Deferred()
        delay_s = self._world.dice.uniform(0, 0.5)
        self._world.clock.callLater(delay_s, answer.callback, payload + b" asks " + self._name.encode())
        return answer

    def names_listed(self, registrations: list[Registration]) -> None:
        self.told = {found.name: found for found in registrations}

    def name_registered(self, registration: Registration) -> None:
        self.told[registration.name] = registration

    def name_gone(self, registration: Registration) -> None:
        self._storm.over += 1
        self.told.pop(registration.name, None)


class Storm:
    """A registry and three servers."""

    def __init__(self, seed: int) -> None:
        self.calm = False
        self.over = self.confirmations = self.answers = 0
        self.wanted: dict[str, Registration] = {}
        self.violation: Violation | None = None
        self.network = SimNetwork(SimClock(), random.Random(f"{seed} network"))
        settings = RegistrySettings(REGISTRY, (f"tcp:{4646}",))
        self.registry = SimProcess(self.network.host(REGISTRY), lambda world: build_registry(world, settings))
        self.servers = {
            name: SimProcess(self.network.host(name), lambda world, name=name: Server(world, name, self))
            for name in NAMES
        }
        plan = (*FAULTS, *DISK_FAULTS)
        self.plan = FaultPlan(self.network, random.Random(f"{seed} faults"), faults=plan, lasting_s=(0.05, 5.0))

    def change(self, name: str) -> Registration:
        epoch = self.wanted[name].epoch + 1 if name in self.wanted else 1
        self.wanted[name] = Registration("storm", name, epoch=epoch, lease_s=LEASE_S)
        return self.wanted[name]

    def confirmed(self, registration: Registration) -> None:
        """What was confirmed is on the registry's disk, or something newer is, unless its lease is over since."""
        self.confirmations += 1
        state = self.registry.host.disk.configuration(REGISTRY)
        epochs = {kept.registration.name: kept.registration.epoch for kept in split_state(state or b"\x80")[1]}
        if epochs.get(registration.name, 0) < registration.epoch:
            self.violation = Violation(f"{registration} is confirmed, and the disk has {epochs}")

    def answered(self, server: str, caller: str, answer: bytes) -> None:
        self.answers += 1
        if answer != f"{caller} asks {server}".encode():
            self.violation = Violation(f"{caller} called {server}, and was answered {answer!r}")

    def check(self) -> None:
        if self.violation is not None:
            raise self.violation

    def settled(self) -> bool:
        """Whether all is registered as it is wanted, and each server was told of it."""
        held = {found.name: found for found in self.registry.tree.names.list()}
        return held == self.wanted and all(server.tree.told == held for server in self.servers.values())

    def run(self) -> None:
        self.plan.rain(STORM_S)
        self.network.clock.run(STORM_S + 0.001, self.check)
        self.calm = True
        # A change may still be under way; then nothing changes any more.
        self.network.clock.run(2.0, self.check)
        self.network.clock.run_until(self.settled, CALM_S_MAX, self.check)


class StormTests(SynchronousTestCase):
    def test_storms(self) -> None:
        over = confirmations = answers = faults = 0
        for seed in SEEDS:
            storm = Storm(seed)
            try:
                storm.run()
            except Exception:
                print(f"\nseed {seed}:", *storm.plan.done, sep="\n  ")
                raise
            over += storm.over
            confirmations += storm.confirmations
            answers += storm.answers
            faults += len(storm.plan.done)
        # The middle of the story: leases did end, and things were said in between.
        self.assertGreater(min(over, answers, faults), len(SEEDS))
        self.assertGreater(confirmations, 10 * len(SEEDS))
