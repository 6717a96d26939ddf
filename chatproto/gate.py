"""Who is let in by one door of a process, how many at once, and what is told of those who are not. Pure.

Strangers, who have come and not said yet who they are, take room only from one another: where there are too many, the
one that came first goes, because whoever belongs here says so at once.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from chatproto.tally import Tally
from chatproto.wire.addresses import origin_of
from chatproto.wire.bucket import TokenBucket

L = TypeVar("L", bound=Hashable)

TOLD_BURST = 100
TOLD_A_SECOND = 1.0
"""Drops for one reason that are logged one by one; of a flood it is enough to have the first, and the count."""


@dataclass(frozen=True)
class Limits:
    """How many may come in by a door; 0 is any number.

    Attributes:
        connections_max: connections at once.
        per_address_max: those of them that are from one address.
        strangers_max: those of them that have not said who they are. None is any number, 0 is none.
    """

    connections_max: int = 0
    per_address_max: int = 0
    strangers_max: int | None = None

    def within(self, connections_max: int) -> "Limits":
        """Return these, where there are to be no more than so many connections; 0 is any number."""
        if not connections_max or 0 < self.connections_max <= connections_max:
            return self
        return replace(self, connections_max=connections_max)


UNLIMITED = Limits()


class Gate(Generic[L]):
    """Counts those who come in by one door and those who are dropped there.

    A connection of type `L` is whatever stands for it, such as its link.

    Attributes:
        door: its name in the tally: `client`, `peer`, ….
        links: who is in, in the order they came, each with whom it counts for; see `origin_of`.
    """

    def __init__(self, door: str, tally: Tally, limits: Callable[[], Limits] = lambda: UNLIMITED) -> None:
        """Let somebody in as long as the limits, which are asked for each time, allow it."""
        self.door = door
        self.links: dict[L, str | None] = {}
        self._tally = tally
        self._limits = limits
        self._origins: Counter[str] = Counter()
        self._strangers: dict[L, None] = {}
        self._telling: dict[str, TokenBucket] = {}

    def came(self, link: L, host: str | None) -> tuple[L, str] | None:
        """Count a connection in, as a stranger's; return whom there is no room for, and the reason.

        That may be another stranger, who came before. Whoever it is is to be dropped, and counts until it `went`.

        Args:
            link: the connection.
            host: the address it is from; None if it is from this machine, by a Unix socket.
        """
        limits, strangers = self._limits(), self._strangers
        origin = self.links[link] = origin_of(host) if host is not None else None
        if origin is not None:
            self._origins[origin] += 1
            if limits.per_address_max and self._origins[origin] > limits.per_address_max:
                return link, "too-many-from-address"
        strangers[link] = None
        if limits.connections_max and len(self.links) > limits.connections_max:
            reason = "full"
        elif limits.strangers_max is not None and len(strangers) > limits.strangers_max:
            reason = "crowded-out"
        else:
            return None
        first = next(iter(strangers))
        del strangers[first]
        return first, reason

    def knows(self, link: L) -> bool:
        """Whether a connection is no stranger's."""
        return link not in self._strangers

    def introduced(self, link: L) -> None:
        """Hear that a connection has said whose it is."""
        self._strangers.pop(link, None)

    def went(self, link: L) -> None:
        """Count a connection off, if it was counted in."""
        origin = self.links.pop(link, None)
        self._strangers.pop(link, None)
        if origin is not None:
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]

    def drop(self, reason: str, now: float) -> bool:
        """Count a connection that this side ends; return whether it is worth a line of its own in the log."""
        self._tally.drop(self.door, reason)
        return self.worth_telling(reason, now)

    def worth_telling(self, reason: str, now: float) -> bool:
        """Whether what happens for a reason is worth a line in the log, or has been told too often by now."""
        bucket = self._telling.get(reason)
        if bucket is None:
            bucket = self._telling[reason] = TokenBucket(TOLD_A_SECOND, TOLD_BURST)
        return bucket.spare(1, now)
