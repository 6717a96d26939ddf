"""What a node has for its readers: an ordinary queue and one of exclusives, by topic and priority. Pure."""

from bisect import bisect_right, insort
from collections.abc import Iterator

from chatproto.news.items import PRIORITIES, Held
from chatproto.news.terms import Terms


class Shelves:
    """All items that are there, so that a reader's next one is found without looking at all of them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._held: dict[int, Held] = {}
        # The two queues; in each the stamps of a topic and a priority, sorted.
        self._queues: dict[bool, dict[tuple[str, int], list[int]]] = {False: {}, True: {}}
        self.newest = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        """Return all."""
        return iter(self._held.values())

    def get(self, stamp: int) -> Held | None:
        """Return one by its stamp; None if it is gone."""
        return self._held.get(stamp)

    def add(self, held: Held) -> None:
        """Have one more."""
        item = held.item
        self._held[held.stamp] = held
        insort(self._queues[item.exclusive].setdefault((item.topic, item.priority), []), held.stamp)
        self.newest = max(self.newest, held.stamp)

    def remove(self, held: Held) -> None:
        """Have one less, if it is there."""
        if self._held.pop(held.stamp, None) is None:
            return
        item = held.item
        queue, key = self._queues[item.exclusive], (item.topic, item.priority)
        stamps = queue[key]
        stamps.pop(bisect_right(stamps, held.stamp) - 1)
        if not stamps:
            del queue[key]

    def next_in(self, terms: Terms, priority: int, after: int) -> Held | None:
        """Return the first item of a priority that a contract is about, after a stamp; None if there is none."""
        first = 0
        for stamps in self._of(terms, priority):
            place = bisect_right(stamps, after)
            if place < len(stamps) and not 0 < first < stamps[place]:
                first = stamps[place]
        return self._held[first] if first else None

    def next_of(self, terms: Terms, after: int) -> Held | None:
        """Return the first item that a contract is about, after a stamp, whatever its priority."""
        found = [held for priority in PRIORITIES if (held := self.next_in(terms, priority, after)) is not None]
        return min(found, key=lambda held: held.stamp, default=None)

    def count_in(self, terms: Terms, priority: int, after: int) -> int:
        """Return how many items of a priority a contract is about, after a stamp."""
        return sum(len(stamps) - bisect_right(stamps, after) for stamps in self._of(terms, priority))

    def _of(self, terms: Terms, priority: int) -> Iterator[list[int]]:
        for exclusive, queue in self._queues.items():
            if not exclusive or (terms.paid and terms.exclusives):
                for topic in terms.topics:
                    stamps = queue.get((topic, priority))
                    if stamps is not None:
                        yield stamps
