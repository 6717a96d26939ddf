"""A simulated pair for stories told by hand, and clients that talk to it all the time."""

from collections.abc import Sequence
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from chatproto.client import ChatClient, Event, Redirected
from chatproto.pair.states import Role
from chatproto.testing import SimDeployment, SimPairNode, node_settings

SUSPECT_S = 0.6
LEASE_S = 0.9


class Talker:
    """A `ChatClient` that says something every so often, and counts what is acknowledged.

    Attributes:
        sent: how many it has said.
        kept: when each of them was acknowledged, and with which place, in order.
        refused: with what anything was refused.
        redirects: how often a server asked it to go.
    """

    def __init__(
        self, deployment: SimDeployment, name: str = "talker", every_s: float = 0.05, servers: Sequence[str] = ()
    ) -> None:
        self.deployment = deployment
        self.sent = 0
        self.kept: list[tuple[float, object]] = []
        self.refused: list[object] = []
        self.talking = True
        self._every_s = every_s
        world = deployment.network.host(name).world()
        self._clock = world.clock
        self.chat = ChatClient(
            world.clock,
            [world.client(f"tcp:{server}:4444:timeout=1") for server in servers or deployment.nodes],
            identity=name,
            dice=world.dice,
            retry_min_s=0.05,
            retry_max_s=0.3,
            welcome_s_max=2.0,
            heartbeat_s=0.3,
            silence_s_max=1.0,
        )
        self.redirects = 0
        self.chat.subscribe(self._heard)
        self.chat.startService()
        self._say()

    def _heard(self, event: Event) -> None:
        self.redirects += isinstance(event, Redirected)

    def _say(self) -> None:
        if self.talking:
            self.sent += 1
            said = self.chat.send(f"{self.sent}")
            said.addCallbacks(lambda sent: self.kept.append((self._clock.seconds(), sent)), self.refused.append)
        self._clock.callLater(self._every_s, self._say)

    @property
    def waiting(self) -> int:
        """How many were neither acknowledged nor refused yet."""
        return self.sent - len(self.kept) - len(self.refused)

    @property
    def longest_wait_s(self) -> float:
        """The longest span without an acknowledgement."""
        times = [time for time, _ in self.kept]
        return max(later - time for time, later in pairwise(times))


class PairTestCase(SynchronousTestCase):
    """A pair that a test does things to."""

    def deploy(
        self, *, witness: bool = True, seed: int = 0, capacity: int = 100, clients_min: int = 0, **options: object
    ) -> SimDeployment:
        """Boot a pair, and wait until it is one."""
        settings = lambda name: node_settings(name, capacity=capacity, clients_min=clients_min)  # noqa: E731
        self.deployment = SimDeployment.pair(
            seed, witness=witness, suspect_s=SUSPECT_S, lease_s=LEASE_S, settings=settings, **options
        )
        self.deployment.run_until_paired()
        self.network = self.deployment.network
        return self.deployment

    def node(self, name: str) -> SimPairNode:
        node = self.deployment.nodes[name]
        assert isinstance(node, SimPairNode)
        return node

    def role(self, name: str) -> Role:
        return self.node(name).pair.replica.role

    def heal(self, *talkers: Talker, seconds_max: float = 10.0) -> None:
        """Wait until all is as it was; everything said is acknowledged, and on both disks."""
        self.deployment.run_until_paired(seconds_max)
        for talker in talkers:
            talker.talking = False
        self.deployment.run_until(lambda: all(talker.waiting == 0 for talker in talkers), seconds_max)
        self.assertEqual([refused for talker in talkers for refused in talker.refused], [])
        self.deployment.settle(self.deployment.unequal, seconds_max)
        self.deployment.check_archives()
