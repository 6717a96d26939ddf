"""Things in the order of a number that each has, such as a time. Pure."""

from collections.abc import Hashable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Due(Generic[T]):
    """Things, each once, of which the first is found at once; changing one costs as much as adding it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._heap: list[tuple[float, int, T]] = []
        # What a thing's valid entry in the heap is; the others are passed over.
        self._valid: dict[T, int] = {}
        self._entries = count()

    def __contains__(self, thing: T) -> bool:
        """Whether something is among them."""
        return thing in self._valid

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._valid)

    def put(self, thing: T, when: float) -> None:
        """Have a thing among them, at a number, whatever it had before."""
        entry = next(self._entries)
        self._valid[thing] = entry
        heappush(self._heap, (when, entry, thing))

    def drop(self, thing: T) -> None:
        """Have a thing not among them."""
        self._valid.pop(thing, None)

    def first(self) -> tuple[float, T] | None:
        """Return the least number, and the thing that has it; None if there is nothing."""
        heap = self._heap
        while heap:
            when, entry, thing = heap[0]
            if self._valid.get(thing) == entry:
                return when, thing
            heappop(heap)
        return None

    def pop(self, until: float = float("inf")) -> T | None:
        """Take out the thing with the least number, if that is not above `until`."""
        found = self.first()
        if found is None or found[0] > until:
            return None
        heappop(self._heap)
        del self._valid[found[1]]
        return found[1]
