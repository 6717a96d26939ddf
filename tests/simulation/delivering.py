"""Delivery nodes and their readers on the simulated network."""

import random
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed

from chatproto.link import Turn
from chatproto.news.delivery.desk import DOOR, Desk
from chatproto.news.delivery.messages import ReaderHello, from_reader
from chatproto.news.delivery.table import Table
from chatproto.news.items import TOPICS, Item
from chatproto.news.link import NewsLinkFactory
from chatproto.news.placing.actions import Place as PlaceReader
from chatproto.news.reader import NewsReader
from chatproto.news.terms import Place, Placement
from chatproto.services.listener import Listener
from chatproto.services.mounting import mount
from chatproto.services.news.doors import Links
from chatproto.testing import SimClock, SimNetwork, SimProcess
from chatproto.world import World
from tests.unit.news.delivery.items import Items

PORT = 4848
DATA = "/news"


class Node:
    """A delivery node whose items come from nowhere: what it is given is there in each of its lives."""

    def __init__(self, network: SimNetwork, name: str, bytes_a_second: float = 0) -> None:
        self.name = name
        self.placements: dict[str, Placement] = {}
        self.lives: list[Desk] = []
        self.items = Items(network.clock.seconds)
        self._bytes_a_second = bytes_a_second
        self.process = SimProcess(network.host(name), self._build)

    @property
    def desk(self) -> Desk:
        return self.lives[-1]

    @property
    def here(self) -> bool:
        return bool(self.desk.links)

    def place(self, placement: Placement) -> None:
        self.placements[placement.reader] = placement
        self._place(self.desk, placement)

    def _place(self, desk: Desk, placement: Placement) -> None:
        assert desk.store is not None
        action = PlaceReader(placement)
        assert not desk.table.refusal(action), desk.table.refusal(action)
        desk.store.write(desk.table.changes(action), lambda: desk.table.done(action))

    def _build(self, world: World) -> MultiService:
        turn = Turn(world.clock)
        self.tally = world.tally
        self.items.life(world.clock)
        epoch = world.now() - world.clock.seconds()
        desk = Desk(self.name, self.items, turn, world.clock, epoch, Table(frozenset(TOPICS)), self._bytes_a_second)
        self.lives.append(desk)
        factory = NewsLinkFactory(DOOR, from_reader, {ReaderHello: desk}, turn, world.clock, world.tally)
        tree = MultiService()
        desk.open(world.keyvalue(DATA, world.fatal))
        for placement in self.placements.values():
            if placement.reader not in desk.table.placements:
                self._place(desk, placement)
        mount(tree, "links", Links(factory, world.clock))
        description = f"tcp:{PORT}"
        mount(tree, "listener", Listener(description, world.server(description), factory, world.fatal, factory.gate))
        return tree


class Rita:
    """A reader, and what it was delivered, in all its lives: only the last of them knows what it has."""

    def __init__(
        self, network: SimNetwork, placement: Placement, node: str, substitute: str = "", host: str = ""
    ) -> None:
        self.name = placement.reader
        self.got: list[tuple[float, int]] = []
        self.bodies: dict[int, bytes] = {}
        self.asked: list[float] = []
        self.homecomings = 0
        self.refusals: list[str] = []
        self.answers: list[Any] = []
        self.ready: Deferred[None] | None = None
        self.stand_in: Any = lambda: succeed(None)
        self.place = Place(self.name, placement.terms, node, substitute, f"ticket of {self.name}")
        self.network = network
        self.reader: NewsReader
        self.process = SimProcess(network.host(host or self.name), self._build)

    def numbers(self) -> list[int]:
        return [number for _, number in self.got]

    def _build(self, world: World) -> MultiService:
        self.reader = NewsReader(
            self.place,
            lambda node: world.client(f"tcp:{node}:{PORT}"),
            self._delivered,
            world.clock,
            world.now,
            substitute=self._substitute,
            home=self._came_home,
            refused=self.refusals.append,
            dice=world.dice,
        )
        tree = MultiService()
        mount(tree, "reader", self.reader)
        return tree

    def _delivered(self, item: Item, body: bytes) -> object:
        self.got.append((self.network.clock.seconds(), item.number))
        self.bodies[item.number] = body
        return self.ready

    def _substitute(self) -> "Deferred[Any]":
        self.asked.append(self.network.clock.seconds())
        return self.stand_in()  # type: ignore[no-any-return]

    def _came_home(self) -> None:
        self.homecomings += 1


def network(seed: int, **options: Any) -> SimNetwork:
    return SimNetwork(SimClock(), random.Random(seed), **options)


def run_until(network: SimNetwork, predicate: Any, seconds_max: float) -> None:
    network.clock.run_until(predicate, seconds_max)
