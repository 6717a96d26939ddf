"""Sets of numbers of which many follow upon one another, as ranges. Pure."""

from bisect import bisect_right
from collections.abc import Iterable


class Ranges:
    """A set of numbers that never changes.

    Attributes:
        pairs: first and last of each range, in order, without overlaps.
    """

    __slots__ = ("_firsts", "pairs")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        """Make the set of all numbers from the first to the last of some pair.

        Raises:
            ValueError: a last is below its first.
        """
        self.pairs: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if last < first:
                raise ValueError(f"no range: {first} to {last}")
            if self.pairs and first <= self.pairs[-1][1] + 1:
                first, before = self.pairs.pop()
                last = max(last, before)
            self.pairs.append((first, last))
        self._firsts = [first for first, _ in self.pairs]

    def __contains__(self, number: int) -> bool:
        """Whether a number is among them."""
        place = bisect_right(self._firsts, number)
        return place > 0 and number <= self.pairs[place - 1][1]

    def newest(self, count: int) -> tuple[tuple[int, int], ...]:
        """Return so many of the ranges, or fewer, those with the highest numbers."""
        return tuple(self.pairs[-count:])


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """Return numbers as ranges."""
    return Ranges((number, number) for number in numbers)
