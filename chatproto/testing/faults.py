"""Faults drawn from a seed: what strikes, when, and for how long."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chatproto.testing.clock import SimCall
from chatproto.testing.host import Leaves, SimHost
from chatproto.testing.network import SimNetwork, Span


@dataclass(frozen=True, eq=False)
class Struck:
    """A fault that has struck.

    Attributes:
        what: a few words for the report.
        undo: ends it; None for a fault that is over at once. It may find that something else ended it.
    """

    what: str
    undo: Callable[[], object] | None


class FaultPlan:
    """Faults that strike the hosts and paths of a network for a while; then everything is healed.

    Attributes:
        done: what struck and what ended, a line each, for printing when a seed has failed.
        network: what it strikes.
        dice: what it draws from; not the network's own, so that other faults leave the delays as they were.
        hosts: the hosts it may strike, by name.
        down_max: how many of them may be dead at once.
    """

    def __init__(
        self,
        network: SimNetwork,
        dice: random.Random,
        hosts: Iterable[str] | None = None,
        faults: "Sequence[Fault] | None" = None,
        *,
        gap_s: Span = (0.1, 2.0),
        lasting_s: Span = (0.05, 5.0),
        down_max: int | None = None,
    ) -> None:
        """Plan for hosts that exist.

        Args:
            network: what to strike.
            dice: seeded, for a run that can be repeated.
            hosts: the names of those that may be struck, and cut off from any other; all, unless given.
            faults: what may strike; name one twice to see it twice as often. `FAULTS`, unless given.
            gap_s: the time between one fault and the next.
            lasting_s: how long one lasts.
            down_max: how many hosts may be dead at once; all, unless given.
        """
        self.network = network
        self.dice = dice
        self.hosts = list(network.hosts if hosts is None else hosts)
        self.down_max = len(self.hosts) if down_max is None else down_max
        self.done: list[str] = []
        self._faults = FAULTS if faults is None else faults
        self._gap_s = gap_s
        self._lasting_s = lasting_s
        self._standing: dict[Struck, SimCall] = {}
        self._next: SimCall | None = None

    def rain(self, seconds: float) -> None:
        """Have faults strike from now on for so long, and everything healed at the end. Returns at once."""
        end = self.network.clock.seconds() + seconds
        self._await_next(end)
        self.network.clock.schedule(seconds, self.heal)

    def heal(self) -> None:
        """End all that is going on: paths heal, the paused go on, the dead boot."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._note("heal all")
        self.network.heal_all()
        for struck in list(self._standing):
            self._undo(struck)
        for host in self._chosen():
            host.resume()
            if not host.alive:
                host.boot()

    def describe(self) -> str:
        """Return what was done, a line each."""
        return "\n".join(self.done)

    def draw_host(self, fits: Callable[[SimHost], bool]) -> SimHost | None:
        """Draw a host that fits; None if there is none."""
        fitting = [host for host in self._chosen() if fits(host)]
        return self.dice.choice(fitting) if fitting else None

    def draw_living(self) -> SimHost | None:
        """Draw a host to end; None if there is none, or enough are dead or about to be."""
        if sum(not host.alive or host.disk.doomed for host in self._chosen()) >= self.down_max:
            return None
        return self.draw_host(lambda host: host.alive)

    def draw_pair(self) -> tuple[str, str] | None:
        """Draw a host, and any other of the network, in either order; None if there is no other."""
        a = self.dice.choice(self.hosts)
        others = [name for name in self.network.hosts if name != a]
        if not others:
            return None
        b = self.dice.choice(others)
        return (a, b) if self.dice.random() < 0.5 else (b, a)

    def _chosen(self) -> list[SimHost]:
        return [self.network.host(name) for name in self.hosts]

    def _await_next(self, end: float) -> None:
        gap = self.dice.uniform(*self._gap_s)
        if self.network.clock.seconds() + gap < end:
            self._next = self.network.clock.schedule(gap, self._strike, (end,))

    def _strike(self, end: float) -> None:
        struck = self.dice.choice(self._faults)(self)
        if struck is not None:
            self._note(struck.what)
            if struck.undo is not None:
                lasting = self.dice.uniform(*self._lasting_s)
                self._standing[struck] = self.network.clock.schedule(lasting, self._undo, (struck,))
        self._await_next(end)

    def _undo(self, struck: Struck) -> None:
        call = self._standing.pop(struck)
        if call.active():
            call.cancel()
        self._note(f"end of {struck.what}")
        assert struck.undo is not None
        struck.undo()

    def _note(self, what: str) -> None:
        self.done.append(f"{self.network.clock.seconds():12.6f} {what}")


Fault = Callable[[FaultPlan], Struck | None]
"""Strikes, with what it draws from the plan; returns None when there is nothing to strike just now."""

LEAVES: tuple[Leaves, ...] = ("reset", "close", "silence")


def crash(plan: FaultPlan) -> Struck | None:
    """Crash a host and boot it after a while; its peers hear of it one way or another."""
    host = plan.draw_living()
    if host is None:
        return None
    leaves = plan.dice.choice(LEAVES)
    host.crash(leaves)

    def boot() -> None:
        if not host.alive:
            host.boot()

    return Struck(f"crash of {host.name} ({leaves})", boot)


def pause(plan: FaultPlan) -> Struck | None:
    """Stop a process for a while."""
    host = plan.draw_host(lambda host: host.alive and not host.paused)
    if host is None:
        return None
    host.pause()
    return Struck(f"pause of {host.name}", host.resume)


def cut(plan: FaultPlan) -> Struck | None:
    """Cut the path between two hosts for a while."""
    pair = plan.draw_pair()
    if pair is None:
        return None
    plan.network.cut(*pair)
    return Struck(f"cut between {' and '.join(pair)}", lambda: plan.network.heal(*pair))


def cut_one_way(plan: FaultPlan) -> Struck | None:
    """Cut the path from one host to another for a while, and not the path back."""
    pair = plan.draw_pair()
    if pair is None:
        return None
    plan.network.cut_one_way(*pair)
    return Struck(f"cut from {' to '.join(pair)}", lambda: plan.network.heal(*pair))


def isolate(plan: FaultPlan) -> Struck | None:
    """Cut one host off from all others for a while."""
    host = plan.draw_host(lambda host: True)
    if host is None:
        return None
    plan.network.isolate(host.name)
    return Struck(f"isolation of {host.name}", lambda: plan.network.rejoin(host.name))


def slow_path(plan: FaultPlan) -> Struck | None:
    """Make the path between two hosts slow and uneven for a while."""
    pair = plan.draw_pair()
    if pair is None:
        return None
    plan.network.slow(*pair, (0.0, plan.dice.uniform(0.05, 1.0)))
    return Struck(f"slow path between {' and '.join(pair)}", lambda: plan.network.slow(*pair, None))


def reset_all(plan: FaultPlan) -> Struck | None:
    """Reset every connection there is."""
    plan.network.reset_all()
    return Struck("reset of every connection", None)


def slow_disk(plan: FaultPlan) -> Struck | None:
    """Make a host's disk slow for a while."""
    host = plan.draw_host(lambda host: True)
    if host is None:
        return None
    host.disk.slow((0.01, plan.dice.uniform(0.02, 1.0)))
    return Struck(f"slow disk of {host.name}", host.disk.mend)


def full_disk(plan: FaultPlan) -> Struck | None:
    """Fill a host's disk, which ends a process that writes; after a while make room and boot it."""
    return _strike_disk(plan, "full", lambda host: host.disk.fill())


def failing_disk(plan: FaultPlan) -> Struck | None:
    """Have a host's next commit fail, which ends the process; boot it after a while."""
    return _strike_disk(plan, "failing", lambda host: host.disk.fail())


def _strike_disk(plan: FaultPlan, how: str, strike: Callable[[SimHost], None]) -> Struck | None:
    host = plan.draw_living()
    if host is None:
        return None
    strike(host)

    def repair() -> None:
        host.disk.mend()
        if not host.alive:
            host.boot()

    return Struck(f"{how} disk of {host.name}", repair)


FAULTS: tuple[Fault, ...] = (crash, pause, cut, cut_one_way, isolate, slow_path, reset_all)
"""What strikes unless a plan says otherwise."""

DISK_FAULTS: tuple[Fault, ...] = (slow_disk, full_disk, failing_disk)
"""For programs that keep something on their host's disk and end when it fails: `FAULTS + DISK_FAULTS`."""
