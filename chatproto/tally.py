"""What a process has counted since it began, for whoever measures it. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_ENTRIES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class Histogram:
    """How often a measure fell into each of some ranges. Observing costs a search among a few bounds.

    Attributes:
        bounds: the upper bound of each range, which belongs to it, in order; what is above the last has a range, too.
        counts: observations in each range.
        sum: of all that was observed.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Start with no observation."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Take one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def up_to(self) -> list[tuple[float, int]]:
        """Return each bound with the number of observations that are not above it; the last bound is infinity."""
        return list(zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True))


class Tally:
    """What one service tree has counted; `World.tally` is handed to whatever counts.

    Attributes:
        dropped: connections that were refused or ended by this side before the other wanted it, by door (`client`,
            `page`, `peer`, `registry`, …) and reason: a short word in the manner of `silent` or `line-too-long`.
        messages: committed messages.
        acts: committed entries that are none, such as joining a room.
        deliveries: messages handed to the links of clients as they were said: one for each client that hears it.
        batch_entries: how many entries were committed in one go.
        commit_s: how long clients of this node waited, from what they said to its commit: one observation for each
            batch that has something of theirs.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.messages = 0
        self.acts = 0
        self.deliveries = 0
        self.batch_entries = Histogram(BATCH_ENTRIES)
        self.commit_s = Histogram(COMMIT_S)

    def drop(self, door: str, reason: str, count: int = 1) -> None:
        """Count a connection that was refused or ended, or several."""
        self.dropped[door, reason] += count

    def summary(self) -> str:
        """Return what was dropped, most of all first: `client silent 3, peer stranger 1`; empty for nothing."""
        return ", ".join(f"{door} {reason} {count}" for (door, reason), count in self.dropped.most_common())
