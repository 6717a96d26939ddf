"""The registry's names in the simulated world: nodes that die, are cut off and come back, and a registry that does."""

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Status
from chatproto.cli.servers import registry_endpoint
from chatproto.cli.status import inquire_registry, verdict
from chatproto.client import ChatClient, RegistryEndpoint
from chatproto.errors import RegistryRefused, RegistryUnanswered
from chatproto.registry import Registration, RegistryClient
from chatproto.services import NodeSettings, RegisteringSettings
from chatproto.testing import SimDeployment, node_settings
from chatproto.world import World

LEASE_S = 3.0
SEEDS = range(10)


class Looker:
    """A visitor on a host of its own that watches, and keeps what it is told."""

    def __init__(self, deployment: SimDeployment, name: str = "looker") -> None:
        self.told: dict[str, Registration] = {}
        self.changes: list[tuple[str, str, str]] = []
        world = deployment.network.host(name).world()
        self.client = RegistryClient(world.client("tcp:registry:4646"), world.clock, world.dice, who=name)
        self.client.startService()
        self.client.watch(self, "chat")

    def names_listed(self, registrations: list[Registration]) -> None:
        self.told = {found.name: found for found in registrations}

    def name_registered(self, registration: Registration) -> None:
        self.changes.append(("registered", registration.name, registration.role))
        self.told[registration.name] = registration

    def name_gone(self, registration: Registration) -> None:
        self.changes.append(("gone", registration.name, registration.role))
        del self.told[registration.name]

    def roles(self) -> dict[str, str]:
        return {name: f"{found.role} {found.attributes['redundancy']}" for name, found in self.told.items()}


def settings_of(name: str) -> NodeSettings:
    registering = RegisteringSettings("tcp:registry:4646", peer=f"{name}:4545", lease_s=LEASE_S)
    return replace(node_settings(name), registering=registering)


PAIRED = {"primary": "leader paired", "secondary": "follower paired"}


class NamesTestCase(SynchronousTestCase):
    def begin(self, seed: int) -> None:
        self.deployment = SimDeployment.pair(seed, settings=settings_of)
        self.looker = Looker(self.deployment)
        self.deployment.run_until_paired()
        self.deployment.run_until(lambda: self.looker.roles() == PAIRED, 5)

    def end(self) -> None:
        self.deployment.settle(self.deployment.unequal, 10)
        self.deployment.check_archives()
        self.deployment.check_deferreds()

    def ask(self, asked: "Deferred[Any]") -> Any:
        answers: list[Any] = []
        asked.addBoth(answers.append)
        self.deployment.run_until(lambda: answers, 10)
        return answers[0]

    def settled(self, roles: dict[str, str], seconds_max: float) -> float:
        return self.deployment.run_until(lambda: self.looker.roles() == roles, seconds_max)


class NodesTests(NamesTestCase):
    def test_a_killed_leader_is_listed_until_its_lease_is_over_and_the_other_leads_at_once(self) -> None:
        for seed in SEEDS:
            self.begin(seed)
            host = self.deployment.nodes["primary"].host
            host.crash()
            self.settled({"primary": "leader paired", "secondary": "leader alone"}, 2)
            resolved = self.ask(self.looker.client.resolve("chat"))
            self.assertEqual(resolved.name, "secondary", seed)
            self.settled({"secondary": "leader alone"}, LEASE_S + 1)
            host.boot()
            self.settled({"primary": "follower paired", "secondary": "leader paired"}, 5)
            self.end()

    def test_one_that_is_back_within_its_lease_is_itself_at_once(self) -> None:
        """Its token is that of its life before."""
        for seed in SEEDS:
            self.begin(seed)
            host = self.deployment.nodes["secondary"].host
            host.crash()
            self.deployment.run(0.2)
            host.boot()
            self.settled(PAIRED, LEASE_S - 0.5)
            self.deployment.run(2 * LEASE_S)
            self.assertNotIn(("gone", "secondary", "follower"), self.looker.changes, seed)
            self.end()

    def test_one_that_stops_politely_is_withdrawn_at_once(self) -> None:
        self.begin(1)
        self.deployment.nodes["secondary"].stop()
        self.settled({"primary": "leader alone"}, 1)
        self.assertIn(("gone", "secondary", "follower"), self.looker.changes)
        self.deployment.nodes["secondary"].host.boot()
        self.settled(PAIRED, 5)
        self.end()

    def test_one_that_is_cut_off_is_gone_with_its_lease_and_back_with_the_path(self) -> None:
        for seed in SEEDS:
            self.begin(seed)
            self.deployment.network.cut("primary", "registry")
            self.deployment.run_until(lambda: "primary" not in self.looker.told, LEASE_S + 2)
            self.deployment.network.heal("primary", "registry")
            self.deployment.run_until(lambda: len(self.looker.told) == 2, 5)
            self.assertIn("primary", self.looker.told)
            self.end()


class RegistryTests(NamesTestCase):
    def test_a_registry_that_is_killed_lists_the_same_when_it_is_back(self) -> None:
        for seed in SEEDS:
            self.begin(seed)
            before = dict(self.looker.told)
            assert self.deployment.registry is not None
            self.deployment.registry.host.crash()
            self.deployment.run(1)
            self.deployment.registry.host.boot()
            names = self.deployment.registry.tree.names
            self.assertEqual({found.name: found for found in names.list()}, before, "read from the disk")
            self.looker.told = {}
            self.deployment.run_until(lambda: self.looker.told, 5)
            self.deployment.run(2 * LEASE_S)
            self.assertEqual(self.looker.told, before, seed)
            self.assertNotIn("gone", [change for change, _, _ in self.looker.changes], seed)
            self.end()

    def test_one_that_stood_still_drops_nobody(self) -> None:
        for seed in SEEDS:
            self.begin(seed)
            assert self.deployment.registry is not None
            host = self.deployment.registry.host
            host.pause()
            self.deployment.run(2 * LEASE_S)
            host.resume()
            # Before anybody can be back.
            self.deployment.run(0.001)
            self.assertEqual(len(self.deployment.registry.tree.names.list()), 2, seed)
            self.deployment.run(2 * LEASE_S)
            self.assertEqual(self.looker.roles(), PAIRED, seed)
            self.end()


class CallTests(NamesTestCase):
    def call(self, name: str) -> Any:
        return self.ask(self.looker.client.call("chat", name, b"status", 2.0))

    def test_each_node_says_how_it_is_and_the_dead_are_not_waited_for(self) -> None:
        self.begin(1)
        self.assertIn(b'"server":"secondary"', self.call("secondary"))
        self.assertIn(b'"server":"primary"', self.call(""))
        self.deployment.nodes["primary"].host.crash()
        self.deployment.run(0.3)
        before = self.deployment.network.clock.seconds()
        answer = self.call("primary")
        self.assertEqual(answer.check(RegistryRefused), RegistryRefused)
        self.assertEqual(answer.value.code, "not-there")
        self.assertLess(self.deployment.network.clock.seconds() - before, 0.5)

    def test_a_node_that_dies_while_it_is_asked(self) -> None:
        self.begin(1)
        host = self.deployment.nodes["primary"].host
        host.pause()
        answers: list[Any] = []
        self.looker.client.call("chat", "primary", b"status", 5.0).addBoth(answers.append)
        self.deployment.run(0.2)
        self.assertEqual(answers, [])
        host.crash()
        self.deployment.run_until(lambda: answers, 2)
        self.assertEqual(answers[0].value.code, "gone")

    def test_one_that_is_asked_for_something_else(self) -> None:
        self.begin(1)
        answer = self.ask(self.looker.client.call("chat", "primary", b"dance"))
        self.assertEqual(answer.value.code, "rejected")


class StatusTests(NamesTestCase):
    def inquire(self) -> dict[str, Any]:
        reactor = self.deployment.network.host("operator").reactor
        return dict(self.ask(inquire_registry(reactor, registry_endpoint(reactor, "tcp:registry:4646"), "chat", 2.0)))

    def test_all_nodes_are_asked_although_none_can_be_reached(self) -> None:
        self.begin(1)
        self.deployment.network.host("operator")
        for node in ("primary", "secondary"):
            self.deployment.network.cut("operator", node)
        answers = self.inquire()
        self.assertEqual(sorted(answers), ["primary:4444", "secondary:4444"])
        self.assertEqual(verdict(list(answers.values())), (True, "both hold every message"))

    def test_of_one_that_is_dead_it_says_so_at_once(self) -> None:
        self.begin(1)
        self.deployment.nodes["secondary"].host.crash()
        self.deployment.run(0.3)
        answers = self.inquire()
        self.assertIsInstance(answers["primary:4444"], Status)
        self.assertIn("not-there", answers["secondary:4444"].why)

    def test_a_registry_that_is_not_reached(self) -> None:
        self.begin(1)
        assert self.deployment.registry is not None
        self.deployment.registry.host.crash()
        reactor = self.deployment.network.host("operator").reactor
        failure = self.ask(inquire_registry(reactor, registry_endpoint(reactor, "tcp:registry:4646"), "chat", 2.0))
        self.assertEqual(failure.check(RegistryUnanswered), RegistryUnanswered)


class ClientTests(NamesTestCase):
    def test_a_client_that_knows_the_registry_alone_finds_the_leader_and_then_the_other(self) -> None:
        for seed in SEEDS:
            self.begin(seed)
            world = self.deployment.network.host("talker").world()
            registry = world.client("tcp:registry:4646")

            def connector(address: str, world: World = world) -> IStreamClientEndpoint:
                return world.client(f"tcp:{address}")

            endpoint = RegistryEndpoint(registry, world.clock, connector, dice=world.dice)
            chat = ChatClient(world.clock, [endpoint], identity="talker", dice=world.dice, connector=connector)
            chat.startService()
            self.ask(chat.send("one"))
            self.assertEqual(chat.server, "primary", seed)
            self.deployment.nodes["primary"].host.crash()
            self.ask(chat.send("two"))
            self.assertEqual(chat.server, "secondary", seed)
            self.deployment.nodes["primary"].host.boot()
            self.deployment.run_until_paired()
            self.deployment.nodes["secondary"].host.crash()
            self.ask(chat.send("three"))
            self.assertEqual(chat.server, "primary", seed)

    def test_one_that_comes_while_the_listed_leader_is_dead_is_not_kept(self) -> None:
        self.begin(1)
        self.deployment.nodes["primary"].host.crash("silence")
        world = self.deployment.network.host("talker").world()

        def connector(address: str) -> IStreamClientEndpoint:
            return world.client(f"tcp:{address}")

        endpoint = RegistryEndpoint(world.client("tcp:registry:4646"), world.clock, connector, dice=world.dice)
        chat = ChatClient(world.clock, [endpoint], dice=world.dice, connector=connector)
        chat.startService()
        answers: list[Any] = []
        chat.send("here").addBoth(answers.append)
        took_s = self.deployment.run_until(lambda: answers, 10)
        self.assertEqual(chat.server, "secondary")
        self.assertLess(took_s, 3)
