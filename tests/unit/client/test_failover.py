"""A client of two real nodes, on a simulated network: one of them goes, and the client is on the other."""

import dataclasses
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.settings import ChatSettings
from chatproto.client import ContactExpected, Rewound, Said, StateChanged, Welcomed
from chatproto.pair.log import PairSettings
from chatproto.services import build_node
from chatproto.services.node import NodeSettings
from chatproto.services.pairing import PeerSettings
from chatproto.services.registry import RegistrySettings, build_registry
from chatproto.testing import SimProcess
from chatproto.world import World
from tests.unit.client.rig import Deployment, Listening

NAMES = ("primary", "secondary")
EVERY_S = 0.02


class PairDeployment(Deployment):
    """Two nodes, and a registry unless it is to be without a witness."""

    def __init__(self, seed: int, *, witness: bool = True, **chat: Any) -> None:
        self._chat = ChatSettings(rate_lines=0, **chat)
        self._witness = witness
        self.nodes: dict[str, SimProcess] = {}
        super().__init__(seed)
        self.run(1.0)

    def _serve(self, host: Any) -> None:
        if self._witness:
            SimProcess(self.network.host("registry"), lambda world: build_registry(world, RegistrySettings("data")))
        for name in NAMES:
            self.network.host(name)
        for name in NAMES:
            self.nodes[name] = SimProcess(self.network.host(name), lambda world, name=name: self._node(world, name))

    def _node(self, world: World, name: str) -> Any:
        other = NAMES[1 - NAMES.index(name)]
        pair = PairSettings(name, role=name)
        peer = PeerSettings(f"tcp:{other}:4545", pair, registry="tcp:registry:4646" if self._witness else "")
        chat = dataclasses.replace(self._chat, name=name, servers=[f"{name}:4444"])
        return build_node(world, NodeSettings("data", ("tcp:4444",), chat, peer=peer))

    def on(self, name: str, identity: str) -> Listening:
        """Return a client that is on a node, and knows of both."""
        other = NAMES[1 - NAMES.index(name)]
        client = self.online(identity, targets=[name, other], history="all")
        assert (client.server, client.redundancy) == (name, "paired")
        return client

    def speak(self, client: Listening, seconds: float) -> float:
        """Have a client speak all the time; return the longest it had to wait for an acknowledgement."""
        waits: list[float] = []
        for _ in range(int(seconds / EVERY_S)):
            at = self.clock.seconds()
            saying = client.send("x", "MainHall")
            saying.addCallback(lambda sent, at=at: waits.append(self.clock.seconds() - at))
            self.run(EVERY_S)
        self.run(1.0)
        assert len(waits) == int(seconds / EVERY_S), "all is acknowledged"
        return max(waits)


class FailoverTests(SynchronousTestCase):
    def check(self, name: str, trouble: Any, seconds_max: float, *, witness: bool, moves: bool = True) -> None:
        for seed in range(5):
            deployment = PairDeployment(seed, witness=witness)
            ada = deployment.on(name, "ada")
            listener = deployment.on(NAMES[1 - NAMES.index(name)], "eve")
            self.assertLess(deployment.speak(ada, 1.0), 0.1)
            trouble(deployment)
            self.assertLess(deployment.speak(ada, 4.0), seconds_max, seed)
            self.assertEqual(ada.server, NAMES[1 - NAMES.index(name)] if moves else name)
            self.assertEqual(ada.heard(Welcomed), [Welcomed("ada", False)] + [Welcomed("ada", True)] * moves)
            for client in (ada, listener):
                self.assertEqual([said.index for said in client.view()], list(range(1, 251)), seed)

    def test_killed(self) -> None:
        """The leader: the other has to take over, which a broken connection tells it to. The follower: nothing."""
        for witness in (True, False):
            self.check("primary", lambda it: it.nodes["primary"].host.crash(), 0.5, witness=witness)
            self.check("secondary", lambda it: it.nodes["secondary"].host.crash(), 0.3, witness=witness)

    def test_stopped(self) -> None:
        """A second for the client to notice, in which the other node has taken over."""
        for witness in (True, False):
            self.check("primary", lambda it: it.nodes["primary"].host.pause(), 1.2, witness=witness)
            self.check("secondary", lambda it: it.nodes["secondary"].host.pause(), 1.2, witness=witness)

    def test_other_one_stopped(self) -> None:
        """Acknowledgements wait until the server has given it up, or leads; the client stays where it is."""
        for name, other in (NAMES, NAMES[::-1]):
            for witness in (True, False):
                trouble = lambda it, other=other: it.nodes[other].host.pause()  # noqa: E731
                self.check_staying(name, trouble, witness=witness)

    def check_staying(self, name: str, trouble: Any, *, witness: bool) -> None:
        for seed in range(5):
            deployment = PairDeployment(seed, witness=witness)
            ada = deployment.on(name, "ada")
            trouble(deployment)
            longest = deployment.speak(ada, 4.0)
            self.assertLess(longest, 1.2, seed)
            self.assertGreater(longest, 0.5, "it was noticed")
            self.assertEqual(len(ada.heard(Welcomed)), 1, seed)
            self.assertEqual(ada.heard(StateChanged)[-1].redundancy, "alone")

    def test_stopped_politely(self) -> None:
        """A redirect, and the session goes on."""
        self.check("primary", lambda it: it.nodes["primary"].stop(), 1.2, witness=True)

    def test_cut_off_from_one(self) -> None:
        """Only the client's own path is cut: the other node serves as well."""
        self.check("primary", lambda it: it.network.cut("primary", "client4"), 1.2, witness=True)

    def test_contact(self) -> None:
        """Between clients of two nodes, and of one after the other was lost."""
        deployment = PairDeployment(1)
        ada, eve = deployment.on("primary", "ada"), deployment.on("secondary", "eve")
        eve.accept_contacts("eve:1")
        deployment.run(0.1)
        found = deployment.result(ada.contact("eve"))
        deployment.run(0.1)
        self.assertEqual(eve.heard(ContactExpected), [ContactExpected("ada", found.token)])
        deployment.nodes["secondary"].host.crash()
        deployment.run(1)
        self.assertEqual((eve.server, deployment.result(ada.contact("eve")).address), ("primary", "eve:1"))


class ForkTests(SynchronousTestCase):
    def test_both_went_on(self) -> None:
        """Without a witness both sides of a cut acknowledge; in the end everybody has heard the same."""
        rewinds = 0
        for seed in range(10):
            deployment = PairDeployment(seed, witness=False)
            clients = [deployment.on("primary", "ada"), deployment.on("secondary", "eve")]
            deployment.result(clients[0].send("before"))
            deployment.run(0.5)
            for round in range(2):
                deployment.network.cut(*NAMES)
                for client in clients:
                    deployment.network.cut(client.where.name, NAMES[clients.index(client) - 1])
                for number in range(20):
                    for client in clients:
                        client.send(f"{client.identity} {round} {number}")
                    deployment.run(0.1)
                deployment.network.heal_all()
                deployment.run(6)
            views = [self.view(client) for client in clients]
            self.assertEqual(views[0], views[1], seed)
            self.assertEqual([index for index, _ in views[0]], list(range(1, 82)))
            self.assertEqual(len({content for _, content in views[0]}), 81)
            rewinds += sum(len(client.heard(Rewound)) for client in clients)
        self.assertGreater(rewinds, 9)

    def view(self, client: Listening) -> list[tuple[int, str]]:
        """What a program holds that forgets what it is told to."""
        held: dict[int, str] = {}
        for event in client.events:
            if isinstance(event, Rewound):
                held = {index: content for index, content in held.items() if index < event.index}
            elif isinstance(event, Said):
                self.assertNotIn(event.index, held)
                held[event.index] = event.content
        return sorted(held.items())
