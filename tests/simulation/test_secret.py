"""Two servers and their registry, whose links prove a secret first."""

import random
from dataclasses import replace
from typing import Any

from chatproto.pair.states import Role
from chatproto.tally import Tally
from chatproto.testing.host import SimHost
from chatproto.trust.proof import REASONS
from chatproto.trust.sharing import SharedSecret
from chatproto.world import World
from tests.simulation.pair import PairTestCase, Talker

SECRET = b"correct horse battery staple"


class SecretTests(PairTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.secrets: dict[str, bytes] = {}
        self.tally = Tally()
        plain = SimHost.world

        def world(host: SimHost, *how: Any, **more: Any) -> World:
            made = plain(host, *how, **more)
            dice = random.Random(f"{host.name} {host.lives}")
            trust = SharedSecret(self.secrets.get(host.name, SECRET), host.name, dice.randbytes)
            return replace(made, trust=trust, tally=self.tally)

        self.patch(SimHost, "world", world)

    def refused(self) -> list[tuple[str, str]]:
        """Return for what links were refused."""
        return [dropped for dropped in self.tally.dropped if dropped[1] in REASONS]

    def test_a_leader_that_is_killed_is_replaced_and_comes_back(self) -> None:
        self.deploy()
        talker = Talker(self.deployment)
        self.deployment.run(2)
        self.node("primary").host.crash()
        self.deployment.run(2)
        self.assertEqual(self.role("secondary"), Role.LEADER_SOLO)
        self.assertLess(talker.longest_wait_s, 1.0)
        self.node("primary").host.boot()
        self.heal(talker)
        self.assertEqual((self.role("primary"), self.refused()), (Role.FOLLOWER, []))

    def test_links_that_break_again_and_again(self) -> None:
        """Whatever a node would say to the registry before it has proven itself comes after that."""
        self.deploy()
        talker = Talker(self.deployment)
        for _ in range(5):
            self.deployment.registry.host.crash()
            self.deployment.run(0.3)
            self.node("secondary").host.crash()
            self.deployment.registry.host.boot()
            self.deployment.run(0.3)
            self.node("secondary").host.boot()
            self.deployment.run(1.5)
        self.heal(talker)
        self.assertEqual(self.refused(), [])

    def test_one_with_another_secret_is_kept_out_until_it_is_told_the_right_one(self) -> None:
        self.deploy()
        talker = Talker(self.deployment)
        self.node("secondary").host.crash()
        self.secrets["secondary"] = b"correct horse battery stable"
        self.deployment.run(1)
        self.node("secondary").host.boot()
        self.deployment.run(3)
        self.assertEqual(self.role("primary"), Role.LEADER_SOLO)
        self.assertGreater(self.tally.dropped["peer", "wrong-secret"], 0)
        self.assertGreater(self.tally.dropped["registry", "wrong-secret"], 0)
        self.node("secondary").host.crash()
        self.secrets.clear()
        self.node("secondary").host.boot()
        self.heal(talker)
