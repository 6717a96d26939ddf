"""The seed's distribution tree, simulated: how late is an item after fifteen nodes, and does what is urgent pass?

The production service trees of a root, fourteen routers and a delivery node's part of the tree, one below the other, on
links of 200 KB/s that each take a second; twelve sources publish urgent lines, articles, and pictures of up to 2 MiB.
Told are when items are whole at each node, and how long they were under way at the end, by priority; and what one
picture of 2 MiB takes while nothing else is on the way.

    make newstree
    make newstree ARGS="--minutes 60 --hops 15 --seed 7 --svg tree.svg"
"""

import argparse
import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from chatproto.news.interface import Held
from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.sources import SourceSettings
from tests.simulation.tree import ROOT, SimTree, sources

LINK_BYTES_PER_S = 200_000
ROUTING_S = (0.95, 1.05)
SOURCES = 12
KINDS = (
    (9, "urgent lines", (200, 2_000)),
    (5, "articles", (5_000, 60_000)),
    (2, "pictures", (300_000, BODY_BYTES_MAX)),
)
SHARES = (0.2, 0.6, 0.2)
BAR_CHARS = 40
SEED_S_MAX = 165.0


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


class Chain:
    """The tree: nodes one below the other, and who publishes at the top."""

    def __init__(self, seed: int, hops: int, window_bytes: int) -> None:
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

    def _arrived(self, name: str, held: Held) -> None:
        item = held.item
        self.run.items[item.number] = item.priority, item.size
        self.run.at[name][item.number] = self.tree.now - item.injected
        if name == self.nodes[-1]:
            self.run.claimed[item.number] = held.delay_s

    def publish(self, kind: int, source: int, size: int, number: int) -> None:
        agency = self.tree.agencies[f"{kind}-{source}"]
        agency.publish(f"i{number}", random.Random(number).randbytes(size), self.tree.now + 86400)

    def settle(self) -> None:
        self.tree.run_until(
            lambda: len(self.run.at[self.nodes[-1]]) == sum(len(a.items) for a in self.tree.agencies.values()), 3600
        )


def alone(seed: int, hops: int, window_bytes: int) -> Chain:
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


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def print_hops(chain: Chain) -> None:
    run = chain.run
    print("\nWhole at each node, seconds after the root accepted it (median, and the latest of pictures):\n")
    print(f"{'node':10} " + " ".join(f"{name:>14}" for _, name, _ in KINDS) + f" {'latest':>8}")
    latest = max(max(run.at[name].values()) for name in chain.nodes)
    for name in chain.nodes:
        medians = [
            quantile([at for number, at in run.at[name].items() if run.items[number][0] == kind] or [0.0], 0.5)
            for kind, _, _ in KINDS
        ]
        worst = max(run.at[name].values())
        bar = "█" * max(1, round(worst / latest * BAR_CHARS))
        print(f"{name:10} " + " ".join(f"{each:14.1f}" for each in medians) + f" {worst:8.1f} {bar}")


def print_priorities(chain: Chain) -> None:
    run, end = chain.run, chain.nodes[-1]
    print("\nUnder way, at the delivery node, in seconds:\n")
    print(f"{'priority':24} {'items':>6} {'MB':>7} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7}")
    for kind, name, _ in KINDS:
        delays = [at for number, at in run.at[end].items() if run.items[number][0] == kind]
        volume = sum(size for priority, size in run.items.values() if priority == kind) / 1e6
        if delays:
            quantiles = " ".join(f"{quantile(delays, share):7.1f}" for share in (0.5, 0.9, 0.99, 1.0))
            print(f"{kind} {name:22} {len(delays):6} {volume:7.1f} {quantiles}")
    print("\nHow many were under way for so long:\n")
    step = max(5.0, max(run.at[end].values()) / 16)
    for kind, name, _ in KINDS:
        counts: dict[int, int] = defaultdict(int)
        for number, at in run.at[end].items():
            if run.items[number][0] == kind:
                counts[int(at / step)] += 1
        most = max(counts.values(), default=1)
        for bucket in range(max(counts, default=0) + 1):
            if counts[bucket]:
                bar = "█" * max(1, round(counts[bucket] / most * BAR_CHARS))
                print(f"{name:14} {bucket * step:5.0f}–{(bucket + 1) * step:<5.0f} {counts[bucket]:5} {bar}")
    errors = [abs(run.claimed[number] - at) for number, at in run.at[end].items()]
    print(f"\nThe delay that an item says of itself is right within {max(errors):.1f} s.")


COLOURS = ("#b3261e", "#00639b", "#386a20")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 60, 160, 30, 50


def draw(chain: Chain, path: Path) -> None:
    """Draw the delay at each node, by priority."""
    run, last = chain.run, len(chain.nodes) - 1
    latest = max(max(run.at[name].values()) for name in chain.nodes)

    def place(node: int, seconds: float) -> tuple[float, float]:
        x = LEFT + node * (WIDTH - LEFT - RIGHT) / last
        return round(x, 1), round(HEIGHT - BOTTOM - seconds * (HEIGHT - TOP - BOTTOM) / latest, 1)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    labels: list[tuple[float, str]] = []
    for tick in range(0, int(latest) + 1, 10):
        _, y = place(0, tick)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick} s</text>')
    for (kind, name, _), colour in zip(KINDS, COLOURS, strict=True):
        for share, word, dashes in ((0.5, "median", "none"), (1.0, "latest", "4 3")):
            points = []
            for number, node in enumerate(chain.nodes):
                delays = [at for item, at in run.at[node].items() if run.items[item][0] == kind]
                points += [place(number, quantile(delays, share))] if delays else []
            if points:
                line = " ".join(f"{x},{y}" for x, y in points)
                stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
                parts.append(f'<polyline points="{line}" fill="none" {stroke}/>')
                _, y = points[-1]
                labels.append((y + 4, f'fill="{colour}">{name}, {word}</text>'))
    below = float(HEIGHT)
    for y, label in sorted(labels, reverse=True):
        # None on another.
        below = min(y, below - 14)
        parts.append(f'<text x="{WIDTH - RIGHT + 6}" y="{below}" {label}')
    for number in range(len(chain.nodes)):
        x, _ = place(number, 0)
        name = f"{number + 1}" if number < last else "end"
        parts.append(f'<text x="{x}" y="{HEIGHT - 32}" text-anchor="middle">{name}</text>')
    title = "whole at the nodes on the way, seconds after the root accepted it"
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 12}">{title}</text>')
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    path.write_text("\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', *parts, "</svg>\n"]), "utf-8")


def main() -> int:
    """Run it; return 1 if a picture takes longer than the seed allows, or what is urgent does not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hops", type=int, default=15, help="nodes before the delivery node, the root included")
    parser.add_argument("--minutes", type=float, default=20.0, help="of traffic, simulated")
    parser.add_argument("--items", type=int, default=300, help="an hour, of all sources")
    parser.add_argument("--window", type=int, default=WINDOW_BYTES_MAX, help="bytes on the way to each child")
    parser.add_argument("--svg", type=Path, help="draw the delays into a file")
    options = parser.parse_args()
    began = time.monotonic()
    print(f"{options.hops} nodes before the delivery node; links of {LINK_BYTES_PER_S // 1000} KB/s, 1 s each")
    print(f"window {options.window // 1024} KiB and what is on the way, seed {options.seed}")
    chain = alone(options.seed, options.hops, options.window)
    picture_s = chain.run.at[chain.nodes[-1]][1]
    print(f"\nA picture of 2 MiB, alone: at the delivery node after {picture_s:.1f} s (the seed: {SEED_S_MAX:.0f} s)")
    chain = traffic(options.seed, options.hops, options.window, options.minutes, options.items)
    print(f"\n{len(chain.run.items)} items in {options.minutes:.0f} minutes, of {SOURCES} sources.")
    print_hops(chain)
    print_priorities(chain)
    if options.svg is not None:
        draw(chain, options.svg)
    end = chain.nodes[-1]
    urgent = [at for number, at in chain.run.at[end].items() if chain.run.items[number][0] == KINDS[0][0]]
    pictures = [at for number, at in chain.run.at[end].items() if chain.run.items[number][1] == BODY_BYTES_MAX]
    good = max([picture_s, *pictures]) <= SEED_S_MAX and max(urgent, default=0.0) < picture_s
    events, took_s = chain.tree.network.clock.events, time.monotonic() - began
    print(f"\n{events} events in {took_s:.0f} s. {'Met' if good else 'NOT MET'}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
