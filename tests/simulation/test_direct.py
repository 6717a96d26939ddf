"""Messages between two clients over their own connection, whatever happens to that: shown once, in order."""

import random
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import PrivateAsked
from chatproto.client import ChatClient, Delivered, Event, PrivateSaid
from chatproto.testing import SimDeployment
from tests.simulation.hand import Hand

SEEDS = range(20)
PORT = 7000


class Person:
    """A `ChatClient` on a host of its own.

    Attributes:
        heard: what was said to it in private: from whom, what, and whether directly.
        sent: what became of what it said, in the order of the ends: what was said, and which way it went or why not.
    """

    def __init__(self, deployment: SimDeployment, name: str, servers: tuple[str, ...] = ("primary",)) -> None:
        self.name = name
        self.host = deployment.network.host(name)
        world = self.host.world()
        self.client = ChatClient(
            self.host.reactor,
            [world.client(f"tcp:{server}:4444:timeout=1") for server in servers],
            identity=name,
            dice=random.Random(f"{deployment.seed} {name}"),
            now=world.now,
            heartbeat_s=0.5,
            silence_s_max=2.0,
        )
        self.heard: list[tuple[str, str, bool]] = []
        self.sent: list[tuple[str, object]] = []
        self.client.subscribe(self._hear)
        self.client.startService()
        deployment.run_until(lambda: self.client.room, 5)

    def _hear(self, event: Event) -> None:
        if isinstance(event, PrivateSaid):
            self.heard.append((event.identity, event.content, event.direct))

    def listen(self) -> "Person":
        endpoint = TCP4ServerEndpoint(self.host.reactor, PORT)
        addresses: list[str] = []
        self.client.accept_direct(endpoint, self.name).addCallback(addresses.append)
        assert addresses == [f"{self.name}:{PORT}"]
        return self

    def say(self, to: str, *contents: str) -> None:
        for content in contents:
            saying: Any = self.client.send_direct(to, content)
            saying.addBoth(lambda result, content=content: self.sent.append((content, result)))


class DirectTests(SynchronousTestCase):
    def deploy(self, seed: int = 0, **options: Any) -> SimDeployment:
        self.deployment = SimDeployment(seed, **options)
        self.ada = Person(self.deployment, "ada")
        self.eve = Person(self.deployment, "eve").listen()
        self.run_for(0.5)
        return self.deployment

    def run_for(self, seconds: float) -> None:
        self.deployment.run(seconds)
        self.deployment.check_deferreds()

    def check(self, contents: list[str], ways: list[bool]) -> None:
        """Each of these was shown to eve once, in order, and went and came this way, directly or not."""
        pairs = list(zip(contents, ways, strict=True))
        self.assertEqual(self.ada.sent, [(content, Delivered(way, 1)) for content, way in pairs])
        self.assertEqual(self.eve.heard, [("ada", content, way) for content, way in pairs])

    def test_directly(self) -> None:
        """The first message makes the connection, all use it; it is proved once, and no server sees them."""
        for seed in SEEDS:
            self.deploy(seed)
            contents = [f"message {number}" for number in range(200)]
            self.ada.say("eve", *contents[:100])
            self.run_for(1)
            self.ada.say("eve", *contents[100:])
            self.run_for(1)
            self.check(contents, [True] * 200)

    def test_answers_take_the_same_connection(self) -> None:
        """Whoever was called need not call, and whoever calls need not listen."""
        self.deploy()
        self.ada.say("eve", "hello")
        self.run_for(0.5)
        self.eve.say("ada", "hello yourself")
        self.run_for(0.5)
        self.assertEqual(self.ada.heard, [("eve", "hello yourself", True)])
        self.assertEqual(self.eve.sent, [("hello yourself", Delivered(True, 1))])

    def test_a_server_that_is_down_does_not_matter_to_those_who_are_connected(self) -> None:
        self.deploy()
        self.ada.say("eve", "one")
        self.run_for(0.5)
        self.deployment.nodes["primary"].host.crash()
        self.run_for(1)
        self.assertNotEqual(self.ada.client.state, "online")
        self.ada.say("eve", "two")
        self.run_for(1)
        self.check(["one", "two"], [True, True])

    def test_nobody_listens(self) -> None:
        """Then it is relayed at once, and for a while nothing else is tried."""
        self.deploy()
        self.eve.say("ada", "one", "two")
        self.run_for(0.5)
        self.assertEqual(self.ada.heard, [("eve", "one", False), ("eve", "two", False)])
        self.assertEqual(self.eve.sent, [("one", Delivered(False, 1)), ("two", Delivered(False, 1))])

    def test_a_way_is_looked_for_again_after_a_while(self) -> None:
        self.deploy()
        self.deployment.network.cut("ada", "eve")
        self.ada.say("eve", "one")
        self.run_for(5)
        self.deployment.network.heal("ada", "eve")
        self.ada.say("eve", "two")
        self.run_for(30)
        self.ada.say("eve", "three")
        self.run_for(1)
        self.check(["one", "two", "three"], [False, False, True])

    def test_nobody_of_that_name(self) -> None:
        self.deploy()
        self.ada.say("nobody", "hello")
        self.run_for(0.5)
        ((_, failure),) = self.ada.sent
        self.assertEqual(failure.value.code, "no-such-identity")  # type: ignore[attr-defined]

    def test_cut_before_the_connection_is_there(self) -> None:
        for seed in SEEDS:
            self.deploy(seed)
            self.deployment.network.cut("ada", "eve")
            contents = [f"message {number}" for number in range(10)]
            self.ada.say("eve", *contents[:5])
            self.run_for(1)
            self.assertEqual(self.eve.heard, [])
            self.ada.say("eve", *contents[5:])
            self.run_for(4)
            self.check(contents, [False] * 10)

    def test_cut_in_the_middle_of_a_message(self) -> None:
        """Whether it arrived and its acknowledgement did not, or it did not arrive: it is relayed, and shown once."""
        shown_directly = relayed = late = 0
        for seed in range(60):
            deployment = self.deploy(seed, delay_s=(0.001, 0.02))
            self.ada.say("eve", "before")
            self.run_for(0.5)
            contents = [f"message {number}" for number in range(20)]
            for number, content in enumerate(contents):
                deployment.network.clock.callLater(number * 0.002, self.ada.say, "eve", content)
            deployment.run(seed * 0.001)
            deployment.network.cut("ada", "eve")
            self.run_for(5)
            # What was under way on the cut connection arrives when it is mended, if it does.
            before = list(self.eve.heard)
            deployment.network.heal("ada", "eve")
            self.run_for(15)
            late += before != self.eve.heard
            self.assertEqual([content for _, content, _ in self.eve.heard], ["before", *contents], seed)
            self.assertEqual([content for content, _ in self.ada.sent], ["before", *contents], seed)
            ways = [sent.direct for _, sent in self.ada.sent]  # type: ignore[attr-defined]
            self.assertEqual(ways, sorted(ways, reverse=True), "none goes directly after one that did not")
            relayed += ways.count(False)
            shown_directly += sum(way and not sent for (_, _, way), sent in zip(self.eve.heard, ways, strict=True))
        self.assertGreater(relayed, 100)
        self.assertGreater(shown_directly, 10, "some arrived, and only their acknowledgement did not")
        self.assertEqual(late, 0)

    def test_the_other_one_stands_still(self) -> None:
        """What it was sent directly and what was relayed meanwhile are both there when it goes on: it shows one."""
        for seed in SEEDS:
            deployment = self.deploy(seed)
            self.ada.say("eve", "one")
            self.run_for(0.5)
            self.eve.host.pause()
            self.ada.say("eve", "two", "three")
            deployment.run(3.5)
            self.assertEqual([content for content, _ in self.ada.sent], ["one", "two", "three"][: len(self.ada.sent)])
            self.eve.host.resume()
            self.run_for(5)
            self.assertEqual([content for _, content, _ in self.eve.heard], ["one", "two", "three"])

    def test_names_that_change(self) -> None:
        """A connection proves a name; whoever takes another one proves that, and nobody inherits it."""
        self.deploy()
        self.ada.say("eve", "one")
        self.run_for(0.5)
        self.ada.client.rename("adele").addErrback(self.fail)
        self.run_for(0.5)
        self.ada.say("eve", "two")
        self.run_for(0.5)
        self.assertEqual(self.eve.heard, [("ada", "one", True), ("adele", "two", True)])
        self.eve.client.rename("evita").addErrback(self.fail)
        other = Person(self.deployment, "eve2")
        self.run_for(0.5)
        other.client.rename("eve").addErrback(self.fail)
        self.run_for(0.5)
        self.ada.say("eve", "for whoever is eve now")
        self.ada.say("evita", "for her who was")
        self.run_for(0.5)
        self.assertEqual(other.heard, [("adele", "for whoever is eve now", False)])
        self.assertEqual(self.eve.heard[2:], [("adele", "for her who was", True)])

    def test_a_client_that_stops(self) -> None:
        """What is on its way to it then is relayed, and reaches it while it takes leave; after that nobody is there."""
        self.deploy()
        self.ada.say("eve", "one")
        self.run_for(0.5)
        stopped: list[object] = []
        self.eve.client.stopService().addCallback(stopped.append)
        self.ada.say("eve", "two")
        self.run_for(0.5)
        self.assertEqual(stopped, [None])
        self.check(["one", "two"], [True, False])
        self.ada.say("eve", "three")
        self.run_for(0.5)
        _, failure = self.ada.sent[-1]
        self.assertEqual(failure.value.code, "no-such-identity")  # type: ignore[attr-defined]

    def test_another_client_relays_the_same_id_twice(self) -> None:
        """Only what may come on two ways is compared: a server passes on each request once, whatever its id."""
        self.deploy()
        hand = Hand(self.deployment, "hand").hello(identity="hand")
        hand.send(PrivateAsked("eve", "one", "p1"), PrivateAsked("eve", "two", "p1"))
        self.run_for(0.5)
        self.assertEqual(self.eve.heard, [("hand", "one", False), ("hand", "two", False)])


class PairDirectTests(SynchronousTestCase):
    def test_clients_of_two_nodes_and_a_failover(self) -> None:
        """They find one another wherever each is served, and stay connected when one of the nodes dies."""
        for seed in range(10):
            deployment = SimDeployment.pair(seed)
            deployment.run_until_paired()
            deployment.run(0.5)
            ada = Person(deployment, "ada", ("primary", "secondary"))
            eve = Person(deployment, "eve", ("secondary", "primary")).listen()
            deployment.run(0.5)
            self.assertEqual((ada.client.server, eve.client.server), ("primary", "secondary"))
            ada.say("eve", "one")
            deployment.run(0.5)
            deployment.nodes["primary"].host.crash()
            ada.say("eve", "two")
            deployment.run(3)
            self.assertEqual((ada.client.server, ada.client.state), ("secondary", "online"))
            ada.say("eve", "three")
            deployment.run(0.5)
            self.assertEqual(eve.heard, [("ada", content, True) for content in ("one", "two", "three")])
            # The next connection is found by the node that is left.
            deployment.network.reset_all()
            deployment.run(3)
            ada.say("eve", "four")
            deployment.run(1)
            self.assertEqual(eve.heard[3:], [("ada", "four", True)])
            deployment.check_deferreds()
