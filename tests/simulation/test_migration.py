"""A server moves to another machine while people chat: stories told by hand."""

from itertools import islice
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import MigrationFailed
from chatproto.services.migration import Moved
from chatproto.testing import SimDeployment, SimPairNode
from tests.simulation.pair import Talker

SETTLE_S = 3.0


class MigrationTestCase(SynchronousTestCase):
    """A server that others can take the place of, and clients that talk all the time."""

    def deploy(self, seed: int = 0, **options: Any) -> SimDeployment:
        self.deployment = SimDeployment.movable(seed, **options)
        self.count = 2 if options.get("paired") else 1
        self.settle()
        self.talkers = [Talker(self.deployment, name) for name in ("adel", "bram", "chen")]
        self.deployment.run(1)
        return self.deployment

    def settle(self, seconds_max: float = 10.0) -> None:
        self.deployment.settle(lambda: self.deployment.unplaced(self.count), seconds_max)

    def leader(self) -> SimPairNode:
        return self.deployment.leader()

    def leading(self) -> list[str]:
        return [node.name for node in self.deployment.paired if node.host.alive and node.pair.replica.leads]

    def migrate(self, to: str = "") -> list[Any]:
        """Ask for a move; return what will hold what came of it."""
        outcomes: list[Any] = []
        migration = self.leader().tree.migration
        assert migration is not None
        migration.migrate(to).addBoth(outcomes.append)
        return outcomes

    def moved(self, to: str = "") -> Moved:
        outcomes = self.migrate(to)
        self.deployment.run_until(lambda: outcomes, 20)
        moved = outcomes[0]
        self.assertIsInstance(moved, Moved, str(moved))
        return moved  # type: ignore[no-any-return]

    def heal(self, seconds_max: float = 10.0) -> None:
        """Wait until all is as it should be; everything said is acknowledged once, in one order."""
        self.settle(seconds_max)
        for talker in self.talkers:
            talker.talking = False
        self.deployment.run_until(lambda: all(talker.waiting == 0 for talker in self.talkers), seconds_max)
        self.assertEqual([refused for talker in self.talkers for refused in talker.refused], [])
        self.deployment.settle(self.deployment.unequal, seconds_max)
        self.deployment.check_archives()


class MoveTests(MigrationTestCase):
    def test_another_server_has_the_place_of_the_first(self) -> None:
        deployment = self.deploy()
        moved = self.moved("north")
        self.assertEqual((moved.to, moved.clients, moved.parted), ("north", 3, 0))
        self.assertIs(self.leader(), deployment.nodes["north"])
        self.assertEqual(deployment.nodes["primary"].tree.pair.role, "standby")
        self.assertEqual(deployment.nodes["primary"].durable(), [], "it has forgotten its archive")
        self.heal()
        self.assertLess(max(talker.longest_wait_s for talker in self.talkers), 0.3)

    def test_twenty_times_in_a_row(self) -> None:
        deployment = self.deploy(migrate_every_s=1.0)
        leaders = []
        for _ in range(20):
            before = self.leading()
            deployment.run_until(lambda before=before: self.leading() not in ([], before), 20)
            leaders += self.leading()
        for node in deployment.nodes.values():
            node.tree.migration.stopService()
        self.assertEqual(set(leaders), {"primary", "north", "south"}, "each had its turn")
        self.heal()
        self.assertLess(max(talker.longest_wait_s for talker in self.talkers), 0.3)

    def test_the_leader_of_a_pair_moves_and_clients_of_the_other_node_notice_nothing(self) -> None:
        deployment = self.deploy(paired=True)
        talker = Talker(deployment, "fay", servers=("secondary",))
        deployment.run(1)
        moved = self.moved()
        self.assertEqual(self.leading(), [moved.to])
        self.talkers.append(talker)
        self.heal()
        self.assertEqual(talker.chat.server, "secondary")
        self.assertEqual(talker.redirects, 0)
        self.assertLess(max(talker.longest_wait_s for talker in self.talkers), 0.3)

    def test_nobody_stands_by(self) -> None:
        self.deploy(standbys=())
        outcomes = self.migrate()
        self.deployment.run(1)
        self.assertIn("nobody stands by", outcomes[0].getErrorMessage())
        outcomes[0].trap(MigrationFailed)
        self.assertEqual(self.leader().name, "primary")
        self.heal()


class KilledTests(MigrationTestCase):
    """Either side is killed at each message that the two send each other, from the invitation to the end."""

    def scene(self, *, paired: bool) -> None:
        self.deploy(standbys=("north",), paired=paired)
        self.migrate("north")
        self.begun = len(self.deployment.network.trace)

    def messages(self) -> int:
        """Return how many messages the nodes have sent each other since the move was asked for."""
        nodes = self.deployment.nodes
        trace = islice(self.deployment.network.trace, self.begun, None)
        return sum(event.what == "data" and event.source in nodes and event.target in nodes for event in trace)

    def kill(self, *victims: str, paired: bool = False, every: int = 1) -> None:
        self.scene(paired=paired)
        self.deployment.run_until(lambda: not self.deployment.nodes["primary"].tree.migration.moving, 20)
        count = self.messages()
        self.assertGreater(count, 20)
        self.heal()
        for number in range(0, count, every):
            for victim in victims:
                with self.subTest(number=number, victim=victim):
                    self.scene(paired=paired)
                    self.deployment.run_until(lambda number=number: self.messages() > number, 20)
                    host = self.deployment.nodes[victim].host
                    host.crash("reset" if number % 2 else "silence")
                    self.deployment.run(0.3 if number % 3 else 1.5)
                    host.boot()
                    self.heal(20)

    def test_the_old_server(self) -> None:
        self.kill("primary")

    def test_the_new_server(self) -> None:
        self.kill("north")

    def test_of_a_pair(self) -> None:
        """Not at each message: these are many, with three who talk to each other all the time."""
        self.kill("primary", "north", "secondary", paired=True, every=7)
