"""The proxy in the simulated world: its node, the contracting service and itself go down and come back."""

import random
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.trial.unittest import SynchronousTestCase

from chatproto.link import Turn
from chatproto.news.contracting.messages import Ask, FromPart
from chatproto.news.link import NewsLinkFactory
from chatproto.news.messages import decoder
from chatproto.news.proxy.desk import ProxyDesk
from chatproto.news.proxy.messages import PULLED, ProxyHello
from chatproto.news.proxy.shelf import Kept, Missed
from chatproto.services.listener import Listener
from chatproto.services.mounting import mount
from chatproto.services.news.proxy import ProxySettings, build_proxy
from chatproto.testing import SimClock, SimNetwork
from chatproto.testing.nodes import SimProcess
from chatproto.world import World
from tests.unit.news.proxy.fakes import Contracts, Items
from tests.unit.news.proxy.making import item_of

LISTEN = "tcp:4747"
SEEDS = range(20)


def listening(world: World, hello: Any, desk: Any, heard: Any, at: str = LISTEN) -> MultiService:
    """Return a service tree that answers a kind of hello at a port."""
    tree = MultiService()
    factory = NewsLinkFactory("news-proxy", decoder(heard), {hello: desk}, Turn(world.clock), world.clock, world.tally)
    mount(tree, "listener", Listener(at, world.server(at), factory, world.fatal))
    return tree


class Scene:
    """A delivery node, a contracting service and a proxy, on hosts of their own."""

    def __init__(self, seed: int) -> None:
        self.network = SimNetwork(SimClock(), random.Random(seed))
        self.items, self.contracts = Items(), Contracts()
        self.contracts.readers["east"] = ["anna"]
        settings = ProxySettings(
            data="data",
            name="proxy",
            web="tcp:8080",
            delivery="east",
            reach_delivery="tcp:east:4747",
            reach_contracts="tcp:contracts:4747",
            items_max=50,
        )
        for name in ("east", "contracts", "proxy"):
            self.network.host(name)
        self.processes = {
            "east": self.run("east", lambda world: self.delivery(world)),
            "contracts": self.run("contracts", lambda world: listening(world, Ask, self.contracts, FromPart)),
            "proxy": self.run("proxy", lambda world: build_proxy(world, settings)),
        }
        self.until(lambda: self.proxy.shelf.serves("anna") and self.proxy.pulling.up)

    def delivery(self, world: World) -> MultiService:
        return listening(world, ProxyHello, ProxyDesk("east", self.items, world.now), PULLED)

    def run(self, name: str, build: Any) -> SimProcess:
        return SimProcess(self.network.host(name), build)

    def until(self, what: Any, seconds: float = 30) -> None:
        self.network.clock.run_until(what, seconds)

    @property
    def now(self) -> float:
        return self.network.epoch + self.network.clock.seconds()

    @property
    def proxy(self) -> Any:
        return self.processes["proxy"].tree

    def add(self, number: int, size: int = 10, life_s: float = 3600) -> None:
        body = random.Random(number).randbytes(size)
        self.items.add(item_of(number, body, expires=self.now + life_s), body)

    def read(self, kept: Kept, read: set[int]) -> None:
        """Have an item marked, and remember it when that is durable."""
        self.proxy.keeping.keep(self.proxy.shelf.mark("anna", kept.place), lambda: read.add(kept.item.number))

    def settled(self, read: set[int]) -> bool:
        """Whether all items are there, but what was read."""
        return set(self.numbers()) | read == set(self.items.bodies) and bool(self.proxy.pulling.up)

    def numbers(self) -> list[int]:
        return [kept.item.number for kept in self.proxy.shelf.unread("anna", self.now)]


class ProxyTests(SynchronousTestCase):
    def test_what_is_kept_survives_and_what_is_missing_is_pulled_when_it_is_back(self) -> None:
        scene = Scene(1)
        scene.add(1)
        scene.add(2, 1_000_000)
        scene.until(lambda: scene.numbers() == [2, 1])
        read = set[int]()
        scene.read(scene.proxy.shelf.find("anna", 1, scene.now), read)
        scene.until(lambda: read == {1})
        host = scene.processes["proxy"].host
        host.crash()
        scene.add(3)
        host.boot()
        scene.until(lambda: scene.numbers() == [3, 2])
        self.assertEqual(len({number for number, _, _ in scene.items.reads[-2:]}), 2, "nothing was pulled again")

    def test_an_item_that_expires_goes_and_is_told(self) -> None:
        scene = Scene(2)
        scene.add(1, life_s=5)
        scene.until(lambda: scene.numbers() == [1])
        scene.network.clock.run(5)
        self.assertEqual(scene.numbers(), [])
        scene.until(lambda: scene.proxy.shelf.missed("anna") == Missed(expired=1), 2)
        scene.processes["proxy"].host.crash()
        scene.processes["proxy"].host.boot()
        scene.network.clock.run(1)
        self.assertEqual(scene.proxy.shelf.missed("anna"), Missed(expired=1))

    def test_a_data_directory_of_something_else_ends_it(self) -> None:
        scene = Scene(3)
        host = scene.processes["proxy"].host
        written: list[None] = []
        scene.proxy.keeping.keep([(b"i" + bytes(8), b"\xc1")], lambda: written.append(None))
        scene.until(lambda: written)
        host.crash()
        host.boot()
        self.assertFalse(host.alive)
        self.assertIn("no data of a proxy", host.last_words[-1])

    def test_storms(self) -> None:
        """Whoever crashes and whatever link is lost, in the end each item is there once, and what was read stays so."""
        crashes = 0
        for seed in SEEDS:
            scene, dice = Scene(seed), random.Random(f"{seed} storm")
            read = set[int]()
            for number in range(1, 31):
                scene.add(number, dice.choice((10, 100_000)))
                scene.network.clock.run(dice.uniform(0, 0.5))
                happening = dice.random()
                if happening < 0.3:
                    crashes += 1
                    host = scene.processes[dice.choice(list(scene.processes))].host
                    host.crash(dice.choice(("reset", "close")))
                    scene.network.clock.run(dice.uniform(0, 2))
                    host.boot()
                elif happening < 0.4:
                    scene.network.reset_all()
                elif happening < 0.7 and scene.numbers():
                    kept = dice.choice(scene.proxy.shelf.unread("anna", scene.now))
                    scene.read(kept, read)
            scene.until(partial(scene.settled, read))
            self.assertEqual(len(scene.numbers()), len(set(scene.numbers())), seed)
            self.assertFalse(set(scene.numbers()) & read, seed)
            self.assertTrue(read, seed)
        self.assertGreater(crashes, len(SEEDS))
