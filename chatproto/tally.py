"""What a process has counted since it began, for whoever measures it. Pure."""

from collections import Counter


class Tally:
    """What one service tree has counted; `World.tally` is handed to whatever counts.

    Attributes:
        dropped: connections that were refused or ended by this side before the other wanted it, by door (`client`,
            `page`, `peer`, `registry`, …) and reason: a short word in the manner of `silent` or `line-too-long`.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.dropped: Counter[tuple[str, str]] = Counter()

    def drop(self, door: str, reason: str) -> None:
        """Count a connection that was refused or ended."""
        self.dropped[door, reason] += 1

    def summary(self) -> str:
        """Return what was dropped, most of all first: `client silent 3, peer stranger 1`; empty for nothing."""
        return ", ".join(f"{door} {reason} {count}" for (door, reason), count in self.dropped.most_common())
