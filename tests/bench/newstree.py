"""The seed's distribution tree, simulated: how late is an item after fifteen nodes, and does what is urgent pass?

The production service trees of a root, fourteen routers and a delivery node's part of the tree, one below the other, on
links of 200 KB/s that each take a second; twelve sources publish urgent lines, articles, and pictures of up to 2 MiB.
Told are when items are whole at each node, and how long they were under way at the end, by priority; and what one
picture of 2 MiB takes while nothing else is on the way.

    make newstree
    make newstree ARGS="--minutes 60 --hops 15 --seed 7 --svg tree.svg"
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from tests.simulation.seedtree import HOPS, KINDS, LINK_BYTES_PER_S, SEED_S_MAX, SOURCES, Chain, alone, traffic

BAR_CHARS = 40


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def print_hops(chain: Chain) -> None:
    run = chain.run
    print("\nWhole at each node, seconds after the root accepted it (median, and the latest of pictures):\n")
    print(f"{'node':10} " + " ".join(f"{name:>14}" for _, name, _ in KINDS) + f" {'latest':>8}")
    latest = max(max(run.at[name].values()) for name in chain.nodes)
    for name in chain.nodes:
        medians = [quantile(run.delays(name, kind) or [0.0], 0.5) for kind, _, _ in KINDS]
        worst = max(run.at[name].values())
        bar = "█" * max(1, round(worst / latest * BAR_CHARS))
        print(f"{name:10} " + " ".join(f"{each:14.1f}" for each in medians) + f" {worst:8.1f} {bar}")


def print_priorities(chain: Chain) -> None:
    run, end = chain.run, chain.end
    print("\nUnder way, at the delivery node, in seconds:\n")
    print(f"{'priority':24} {'items':>6} {'MB':>7} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7}")
    for kind, name, _ in KINDS:
        delays = run.delays(end, kind)
        volume = sum(size for priority, size in run.items.values() if priority == kind) / 1e6
        if delays:
            quantiles = " ".join(f"{quantile(delays, share):7.1f}" for share in (0.5, 0.9, 0.99, 1.0))
            print(f"{kind} {name:22} {len(delays):6} {volume:7.1f} {quantiles}")
    print("\nHow many were under way for so long:\n")
    step = max(5.0, max(run.at[end].values()) / 16)
    for kind, name, _ in KINDS:
        counts: dict[int, int] = defaultdict(int)
        for at in run.delays(end, kind):
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
                delays = run.delays(node, kind)
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
    parser.add_argument("--hops", type=int, default=HOPS, help="nodes before the delivery node, the root included")
    parser.add_argument("--minutes", type=float, default=20.0, help="of traffic, simulated")
    parser.add_argument("--items", type=int, default=300, help="an hour, of all sources")
    parser.add_argument("--window", type=int, default=WINDOW_BYTES_MAX, help="bytes on the way to each child")
    parser.add_argument("--svg", type=Path, help="draw the delays into a file")
    options = parser.parse_args()
    began = time.monotonic()
    print(f"{options.hops} nodes before the delivery node; links of {LINK_BYTES_PER_S // 1000} KB/s, 1 s each")
    print(f"window {options.window // 1024} KiB and what is on the way, seed {options.seed}")
    chain = alone(options.seed, options.hops, options.window)
    picture_s = chain.run.at[chain.end][1]
    print(f"\nA picture of 2 MiB, alone: at the delivery node after {picture_s:.1f} s (the seed: {SEED_S_MAX:.0f} s)")
    chain = traffic(options.seed, options.hops, options.window, options.minutes, options.items)
    print(f"\n{len(chain.run.items)} items in {options.minutes:.0f} minutes, of {SOURCES} sources.")
    print_hops(chain)
    print_priorities(chain)
    if options.svg is not None:
        draw(chain, options.svg)
    good = chain.run.met(chain.end, picture_s)
    events, took_s = chain.tree.network.clock.events, time.monotonic() - began
    print(f"\n{events} events in {took_s:.0f} s. {'Met' if good else 'NOT MET'}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
