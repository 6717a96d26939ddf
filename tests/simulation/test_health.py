"""What the nodes of a pair say of themselves to their service managers."""

from chatproto.services.node import BOOT_S_MAX
from chatproto.testing import SimDeployment, node_settings
from tests.simulation.pair import LEASE_S, SUSPECT_S, PairTestCase, Talker


class HealthTests(PairTestCase):
    def status(self, name: str) -> str:
        return str(self.node(name).tree.health().status)

    def ready(self, name: str) -> bool:
        return bool(self.node(name).tree.health().ready)

    def test_a_pair_that_is_well(self) -> None:
        self.deploy()
        self.assertTrue(self.ready("primary") and self.ready("secondary"))
        self.assertEqual(self.status("primary"), "leader, paired, 0 of 100 clients")
        self.assertEqual(self.status("secondary"), "follower, paired, 0 of 100 clients")

    def test_a_node_without_a_role_is_ready_after_a_while(self) -> None:
        """Its peer, or the registry, may be started by whoever waits for this one to be ready."""
        self.deployment = SimDeployment.pair(0, suspect_s=SUSPECT_S, lease_s=LEASE_S, settings=node_settings)
        assert self.deployment.registry is not None
        self.deployment.registry.host.crash()
        self.deployment.run(BOOT_S_MAX - 0.5)
        self.assertFalse(self.ready("primary"))
        self.assertEqual(self.status("primary"), "waiting for the other node or the registry, to know who leads")
        self.deployment.run(1)
        self.assertTrue(self.ready("primary"))

    def test_who_waits_for_the_other_says_so(self) -> None:
        self.deploy()
        Talker(self.deployment)
        self.node("secondary").host.crash()
        self.deployment.run(2)
        self.node("primary").host.crash()
        self.node("secondary").host.boot()
        self.deployment.run(3)
        self.assertEqual(self.status("secondary"), "follower, alone, waits for primary, 0 of 100 clients")
        self.assertTrue(self.ready("secondary"))

    def test_a_disk_that_takes_nothing_is_not_sane(self) -> None:
        """Neither is its node, and no other; once the disk goes on, all is well."""
        self.deploy()
        talker = Talker(self.deployment)

        def sane(name: str) -> list[bool]:
            found = []
            for _ in range(5):
                self.deployment.run(1)
                found.append(self.node(name).tree.health().sane())
            return found

        self.assertEqual(sane("primary"), [True] * 5)
        self.node("primary").host.disk.slow((20.0, 20.0))
        self.assertEqual(sane("primary")[2:], [False] * 3)
        self.assertEqual(sane("secondary")[1:], [True] * 4, "it is not its disk")
        self.node("primary").host.disk.mend()
        self.deployment.run(20)
        self.assertEqual(sane("primary"), [True] * 5)
        self.heal(talker)
