"""Who is let in by one door of a process, how many at once, and what is told of those who are not. Pure.

Strangers, who have come and not said yet who they are, take room only from one another: where there are too many, the
one that came first goes, because whoever belongs here says so at once.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from chatproto.tally import Tally
from chatproto.wire.addresses import origin_of
from chatproto.wire.bucket import TokenBucket

L = TypeVar("L", bound=Hashable)

TOLD_BURST = 100
TOLD_A_SECOND = 1.0
"""Drops for one reason that are logged one by one; of a flood it is enough to have the first, and the count."""
REMEMBERED_MAX = 10_000
"""Addresses without a connection of which it is known how much they have used up."""


@dataclass(frozen=True)
class Limits:
    """How many may come in by a door; 0 is any number.

    Attributes:
        connections_max: connections at once.
        per_address_max: those of them that are from one address.
        strangers_max: those of them that have not said who they are. None is any number, 0 is none.
        arrivals_a_second: how often one address may come.
        arrivals_at_once: how often it may come at once.
        lines_a_second: how many lines all connections of one address may bring together.
        lines_at_once: how many of them at once.
        link_lines_a_second: how many lines, or messages, one connection may bring; above it is read more slowly.
        link_lines_at_once: how many of them at once.
    """

    connections_max: int = 0
    per_address_max: int = 0
    strangers_max: int | None = None
    arrivals_a_second: float = 0
    arrivals_at_once: float = 0
    lines_a_second: float = 0
    lines_at_once: float = 0
    link_lines_a_second: float = 0
    link_lines_at_once: float = 0

    def within(self, connections_max: int) -> "Limits":
        """Return these, where there are to be no more than so many connections; 0 is any number."""
        if not connections_max or 0 < self.connections_max <= connections_max:
            return self
        return replace(self, connections_max=connections_max)


UNLIMITED = Limits()


class Origin:
    """What is known of an address, or of a network of them; see `origin_of`.

    Attributes:
        name: see `origin_of`.
        connections: how many there are from it.
        arrivals: how often it may still come.
        lines: how many lines it may still bring.
    """

    __slots__ = ("arrivals", "connections", "lines", "name")

    def __init__(self, name: str, limits: Limits) -> None:
        """Begin with nothing used up."""
        self.name = name
        self.connections = 0
        self.arrivals = TokenBucket(limits.arrivals_a_second, limits.arrivals_at_once)
        self.lines = TokenBucket(limits.lines_a_second, limits.lines_at_once)

    def obey(self, limits: Limits) -> None:
        """Take limits that may have changed; what is used up stays so."""
        self.arrivals.rate, self.arrivals.burst = limits.arrivals_a_second, limits.arrivals_at_once
        self.lines.rate, self.lines.burst = limits.lines_a_second, limits.lines_at_once


class Gate(Generic[L]):
    """Counts those who come in by one door and those who are dropped there.

    A connection of type `L` is whatever stands for it, such as its link.

    Attributes:
        door: its name in the tally: `client`, `peer`, ….
        links: who is in, in the order they came, each with the origin it counts for; None is this machine.
    """

    def __init__(self, door: str, tally: Tally, limits: Callable[[], Limits] = lambda: UNLIMITED) -> None:
        """Let somebody in as long as the limits, which are asked for each time, allow it."""
        self.door = door
        self.links: dict[L, Origin | None] = {}
        self._tally = tally
        self._limits = limits
        # Those with connections, and the others, the one first that has been without for longest.
        self._origins: dict[str, Origin] = {}
        self._remembered: dict[str, Origin] = {}
        self._strangers: dict[L, None] = {}
        self._telling: dict[str, TokenBucket] = {}

    def admits(self, host: str, now: float) -> bool:
        """Return whether somebody from an address may come now; if not, that is counted, and there is nothing to drop.

        This is for whoever accepts connections: to refuse one here costs little, whatever it would become.
        """
        if self._origin(host).arrivals.spare(1, now):
            return True
        self._tally.drop(self.door, "too-often-from-address")
        return False

    def unheard(self, origins: Iterable[str], packets: int, now: float) -> None:
        """Hear that the kernel has dropped, until now, what origins sent that came too often.

        The packets are counted, a few for each attempt; and none of them has saved up meanwhile how often it may come,
        to come as often again at once.
        """
        if packets:
            self._tally.drop(self.door, "unheard", packets)
        for name in origins:
            arrivals = self._origin_named(name).arrivals
            arrivals.take(arrivals.there(now) or 0, now)

    def came(self, link: L, host: str | None) -> tuple[L, str] | None:
        """Count a connection in, as a stranger's; return whom there is no room for, and the reason.

        That may be another stranger, who came before. Whoever it is is to be dropped, and counts until it `went`.

        Args:
            link: the connection.
            host: the address it is from; None if it is from this machine, by a Unix socket.
        """
        limits, strangers = self._limits(), self._strangers
        origin = self.links[link] = self._origin(host) if host is not None else None
        if origin is not None:
            self._remembered.pop(origin.name, None)
            self._origins[origin.name] = origin
            origin.obey(limits)
            origin.connections += 1
            if limits.per_address_max and origin.connections > limits.per_address_max:
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

    def _origin(self, host: str) -> Origin:
        return self._origin_named(origin_of(host))

    def _origin_named(self, name: str) -> Origin:
        origin = self._origins.get(name) or self._remembered.get(name)
        return origin if origin is not None else self._remember(Origin(name, self._limits()))

    def _remember(self, origin: Origin) -> Origin:
        self._remembered[origin.name] = origin
        if len(self._remembered) > REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        return origin

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
            origin.connections -= 1
            if not origin.connections:
                # Who comes again at once has not everything anew.
                self._remember(self._origins.pop(origin.name))

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
