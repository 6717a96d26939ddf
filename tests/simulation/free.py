"""A delivery node without contracts, and free readers, on simulated hosts: who listens is sent everything."""

import random
from collections import Counter
from collections.abc import Iterable

from chatproto.news.datagrams.outlet import FreeOutlet
from chatproto.news.datagrams.parcels import Parcel
from chatproto.news.datagrams.reader import DatagramReader, ReaderPort, reached
from chatproto.news.items import Item
from chatproto.news.terms import PULL, PUSH, Place, Placement
from chatproto.testing import DatagramFaults, SimClock, SimHost, SimNetwork
from tests.unit.news.datagrams.rig import TICKET, body_of, item_of, parcel_of, place_of, placement_of

NODE_PORT = 4848


class Node:
    """A delivery node's free part. Its items, and its stamps, outlive it."""

    def __init__(self, host: SimHost, readers: Iterable[str], mode: object = PUSH) -> None:
        self.host = host
        self.placements: dict[str, Placement] = {reader: placement_of(reader, mode) for reader in readers}
        self.parcels: list[Parcel] = []
        self.listeners: set[str] = set()
        self.sent: Counter[bool] = Counter()
        self.lives = 0
        host.runs(self.start)

    def start(self, host: SimHost) -> None:
        self.lives += 1
        self.listeners.clear()
        self.world = host.world()
        self.outlet = FreeOutlet(self.world, host.name, self, port=NODE_PORT)
        self.outlet.startService()

    def publish(self, number: int, size: int, life_s: float = 3600.0) -> None:
        """Have an item, and send it to everybody who listens."""
        parcel = parcel_of(number, size, self.world.now() + life_s)
        self.parcels.append(parcel)
        for reader in sorted(self.listeners):
            self.outlet.send(reader, parcel, self._sent)

    def _sent(self, whole: bool) -> None:
        self.sent[whole] += 1

    # FreeDelivery

    def placement_of(self, reader: str) -> Placement | None:
        return self.placements.get(reader)

    def listening(self, reader: str) -> None:
        self.listeners.add(reader)

    def silent(self, reader: str) -> None:
        self.listeners.remove(reader)

    def pulling(self, reader: str, after: int, count: int) -> None:
        found = [parcel for parcel in self.parcels if parcel.stamp > after]
        going, numbers = found[:count], [parcel.item.number for parcel in found[:count]]
        upto = going[-1].stamp if going else after
        left = len(going)

        def sent(whole: bool) -> None:
            nonlocal left
            self._sent(whole)
            left -= 1
            if not left:
                self.outlet.pulled(reader, upto, numbers, len(found) > count)

        for parcel in going:
            self.outlet.send(reader, parcel, sent)
        if not going:
            self.outlet.pulled(reader, upto, (), False)


class Reader:
    """A free reader that looks at what it is handed: whole, undamaged, not expired, and once.

    `got` has how long each item had been under way.
    """

    def __init__(
        self, host: SimHost, name: str, mode: object = PUSH, *, ticket: str = TICKET, port: ReaderPort | None = None
    ) -> None:
        self.world = host.world()
        self.got: dict[int, float] = {}
        self.refusals: list[str] = []
        place: Place = place_of(name, mode, "node", ticket)
        self.reader = DatagramReader(
            place,
            lambda node: reached(f"{node}:{NODE_PORT}", self.world.clock),
            self.take,
            self.world.clock,
            self.world.now,
            port or self.world.udp,
            refused=self.refusals.append,
            dice=self.world.dice,
        )
        self.reader.startService()

    def take(self, item: Item, body: bytes) -> None:
        assert item.number not in self.got, f"item {item.number} twice"
        assert item.expires > self.world.now(), f"item {item.number} after it had expired"
        assert item == item_of(item.number, item.size, item.expires), f"item {item.number} is another"
        assert body == body_of(item.number, item.size), f"item {item.number} is damaged"
        self.got[item.number] = self.reader.delay_s


class World:
    """A node and its readers on a network with weather."""

    def __init__(self, seed: int, readers: int = 1, mode: object = PUSH, faults: DatagramFaults | None = None) -> None:
        self.network = SimNetwork(SimClock(), random.Random(seed))
        self.network.datagram_faults = faults or DatagramFaults()
        names = [f"reader{number}" for number in range(readers)]
        self.node = Node(self.network.host("node"), names, mode)
        self.readers = [Reader(self.network.host(f"host{number}"), name, mode) for number, name in enumerate(names)]

    def run(self, seconds: float) -> None:
        self.network.clock.run(seconds)

    def all_listen(self) -> bool:
        return len(self.node.listeners) == len(self.readers)


def lossy(
    seed: int, share: float, sizes: dict[int, int], seconds: float = 60.0, *, worse: bool = True
) -> dict[int, tuple[int, int]]:
    """Send items under loss; return how many of each size were sent, and have come whole.

    Args:
        seed: of the network.
        share: of datagrams that are lost.
        sizes: how many items of each size, in bytes.
        seconds: for all of them to leave.
        worse: as many again come twice, and half as many are damaged.
    """
    faults = DatagramFaults(lost=share, repeated=share, damaged=share / 2) if worse else DatagramFaults(lost=share)
    world = World(seed, faults=faults)
    world.network.clock.run_until(world.all_listen, 60.0)
    number = 0
    for size, count in sizes.items():
        for _ in range(count):
            number += 1
            world.node.publish(number, size)
    world.run(seconds)
    came = Counter(parcel.item.size for parcel in world.node.parcels if parcel.item.number in world.readers[0].got)
    return {size: (count, came[size]) for size, count in sizes.items()}


__all__ = ["NODE_PORT", "PULL", "PUSH", "Node", "Reader", "World", "lossy"]
