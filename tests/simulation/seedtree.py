"""The seed's distribution tree: fifteen nodes one below the other, links of 200 KB/s of a second each, twelve sources.

`make newstree` shows what comes of it, at length; the tests hold it to the seed's sizes.
"""

import random
from collections import defaultdict
from dataclasses import dataclass, field

from chatproto.news.interface import Held
from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.sources import SourceSettings
from tests.simulation.tree import ROOT, SimTree, sources

HOPS = 15
"""Nodes before the delivery node, the root included."""

LINK_BYTES_PER_S = 200_000
ROUTING_S = (0.95, 1.05)
SOURCES = 12
KINDS = (
    (9, "urgent lines", (200, 2_000)),
    (5, "articles", (5_000, 60_000)),
    (2, "pictures", (300_000, BODY_BYTES_MAX)),
)
SHARES = (0.2, 0.6, 0.2)
SEED_S_MAX = 165.0
"""What a 2 MB item may take."""


@dataclass
class Run:
    """What was seen.

    Attributes:
        at: by node, when each item was whole there: seconds after it was accepted.
        items: the priority and size of each.
        claimed: how long each item was under way as the last node has it.
    """

    at: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    items: dict[int, tuple[int, int]] = field(default_factory=dict)
    claimed: dict[int, float] = field(default_factory=dict)

    def delays(self, node: str, kind: int) -> list[float]:
        """When the items of a priority were whole at a node."""
        return [at for number, at in self.at[node].items() if self.items[number][0] == kind]

    def met(self, end: str, picture_s: float) -> bool:
        """Whether the largest items were at a node in the seed's time, and all urgent ones before a picture alone."""
        largest = [at for number, at in self.at[end].items() if self.items[number][1] == BODY_BYTES_MAX]
        urgent = self.delays(end, KINDS[0][0])
        return max([picture_s, *largest]) <= SEED_S_MAX and max(urgent, default=0.0) < picture_s


class Chain:
    """The tree: nodes one below the other, and who publishes at the top."""

    def __init__(self, seed: int, hops: int = HOPS, window_bytes: int = WINDOW_BYTES_MAX) -> None:
        names = [ROOT, *(f"router{number}" for number in range(2, hops + 1)), "delivery"]
        agencies = [f"{kind}-{number}" for number in range(SOURCES) for kind, _, _ in KINDS]
        secret = sources(["any"])["any"].secret
        known = {name: SourceSettings(secret, int(name.partition("-")[0])) for name in agencies}
        parents = dict(zip(names[1:], names, strict=False))
        settings = {"window_bytes": window_bytes}
        self.run = Run()
        self.nodes = names
        self.tree = SimTree(seed, parents, agencies, settings, known, window_bytes=4 * 1024 * 1024)
        for child, parent in parents.items():
            self.tree.network.limit(child, parent, LINK_BYTES_PER_S)
            self.tree.network.slow(child, parent, ROUTING_S)
        for name in names:
            self.tree.node(name).watch(lambda held, name=name: self._arrived(name, held), lambda held: None)  # type: ignore[misc]
        self.tree.run(30)

    @property
    def end(self) -> str:
        """The delivery node."""
        return self.nodes[-1]

    def _arrived(self, name: str, held: Held) -> None:
        item = held.item
        self.run.items[item.number] = item.priority, item.size
        self.run.at[name][item.number] = self.tree.now - item.injected
        if name == self.end:
            self.run.claimed[item.number] = held.delay_s

    def publish(self, kind: int, source: int, size: int, number: int) -> None:
        agency = self.tree.agencies[f"{kind}-{source}"]
        agency.publish(f"i{number}", random.Random(number).randbytes(size), self.tree.now + 86400)

    def settle(self) -> None:
        self.tree.run_until(
            lambda: len(self.run.at[self.end]) == sum(len(a.items) for a in self.tree.agencies.values()), 3600
        )


def alone(seed: int, hops: int = HOPS, window_bytes: int = WINDOW_BYTES_MAX) -> Chain:
    """One picture of 2 MiB, while nothing else is on the way."""
    chain = Chain(seed, hops, window_bytes)
    chain.publish(2, 0, BODY_BYTES_MAX, 1)
    chain.settle()
    return chain


def traffic(seed: int, hops: int, window_bytes: int, minutes: float, items_an_hour: int) -> Chain:
    """Ordinary traffic."""
    chain, dice = Chain(seed, hops, window_bytes), random.Random(seed)
    number, end = 0, chain.tree.now + minutes * 60
    while chain.tree.now < end:
        number += 1
        kind, _, sizes = dice.choices(KINDS, SHARES)[0]
        chain.publish(
            kind,
            dice.randrange(SOURCES),
            BODY_BYTES_MAX if kind == 2 and dice.random() < 0.2 else dice.randint(*sizes),
            number,
        )
        chain.tree.run(dice.expovariate(items_an_hour / 3600))
    chain.settle()
    return chain
