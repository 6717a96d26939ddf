"""How many items a reader was delivered in the last hour, whichever hour that is. Pure."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable

HOUR_S = 3600.0


class Hour:
    """When the deliveries of the last hour were; what is older is forgotten.

    An hour has its end, and not its beginning: what was delivered exactly an hour ago does not count any more. Times
    are seconds of any clock that only goes forward.
    """

    __slots__ = ("_times",)

    def __init__(self, times: Iterable[float] = ()) -> None:
        """Begin with some deliveries, in any order."""
        self._times = array("d", sorted(times))

    def add(self, now: float) -> None:
        """Count a delivery."""
        self._times.append(max(now, self._times[-1]) if self._times else now)

    def count(self, now: float) -> int:
        """Return how many there were in the hour up to now."""
        self._forget(now)
        return len(self._times)

    def room_at(self, maximum: int, taken: int, now: float) -> float:
        """Return when one more may be delivered, so that no hour has more than `maximum`; `now` for at once.

        Args:
            maximum: of any hour.
            taken: how many are under way, and will count from when they are delivered.
            now: the time.

        Returns:
            Infinity where that depends on those under way.
        """
        self._forget(now)
        over = len(self._times) + taken + 1 - maximum
        if over <= 0:
            return now
        return self._times[over - 1] + HOUR_S if over <= len(self._times) else float("inf")

    def below_at(self, minimum: int, now: float) -> float:
        """Return when there are fewer than `minimum` in the last hour, if nothing is delivered until then."""
        self._forget(now)
        over = len(self._times) - minimum
        return now if over < 0 else self._times[over] + HOUR_S if minimum else float("inf")

    def merge(self, others: Iterable[float], now: float) -> None:
        """Hear of the same deliveries from somebody who may know of more; of each, the later time counts.

        Whoever holds back by this has never delivered too much, whichever of the two knew better.
        """
        mine, theirs = list(self._times), sorted(min(time, now) for time in others)
        longer, shorter = (mine, theirs) if len(mine) >= len(theirs) else (theirs, mine)
        ahead = len(longer) - len(shorter)
        self._times = array("d", longer[:ahead] + [max(pair) for pair in zip(longer[ahead:], shorter, strict=True)])
        self._forget(now)

    def times(self) -> list[float]:
        """Return when they were, the oldest first."""
        return list(self._times)

    def _forget(self, now: float) -> None:
        times = self._times
        if times and times[0] <= now - HOUR_S:
            del times[: bisect_right(times, now - HOUR_S)]
