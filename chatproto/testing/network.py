"""A simulated network: hosts, the paths between them, and what can go wrong with those."""

import random
from collections import deque
from typing import NamedTuple

from twisted.internet.error import DNSLookupError

from chatproto.testing import tcp
from chatproto.testing.clock import SimClock
from chatproto.testing.datagrams import DatagramFaults
from chatproto.testing.host import LOOPBACK, SimHost
from chatproto.testing.lane import Lane

LOOPBACK_DELAY_S = 0.00002

Span = tuple[float, float]
"""The least and the most of something drawn."""


class TraceEvent(NamedTuple):
    """Something that happened: a segment that arrived, or a fault. The same seed gives the same events."""

    time: float
    what: str
    source: str
    target: str
    size: int

    def __str__(self) -> str:
        where = f"{self.source} → {self.target}" if self.target else self.source
        return f"{self.time:12.6f} {self.what:10} {where}{f' {self.size} bytes' if self.size else ''}"


class SimNetwork:
    """Hosts joined by TCP and UDP, on a simulated clock, with everything random drawn from one dice.

    Attributes:
        clock: the time of the whole simulation; let it pass with `run` or `run_until`.
        hosts: by name, in the order they were made.
        datagram_faults: what happens to datagrams between any two hosts; may be set at any time.
        trace: the last events, oldest first.
        epoch: the time of day, in Unix seconds, at which the clock is 0.
    """

    def __init__(
        self,
        clock: SimClock,
        dice: random.Random,
        delay_s: Span = (0.0002, 0.002),
        *,
        retransmit_s: Span = (0.02, 0.4),
        turn_s: Span = (0.000001, 0.0001),
        window_bytes: int = 65536,
        send_buffer_bytes: tuple[int, int] = (0, 0),
        piece_bytes_max: int | None = None,
        trace_events_max: int = 10_000,
        epoch: float = 1_800_000_000.0,
    ) -> None:
        """Make a network without hosts.

        Args:
            clock: of the simulation.
            dice: seeded, for a run that can be repeated.
            delay_s: how long a segment travels between two hosts.
            retransmit_s: how long after a path heals the bytes it held up travel on.
            turn_s: how long after something becomes ready a reactor takes its turn.
            window_bytes: how much the kernels take of one direction of a connection before its reader reads.
            send_buffer_bytes: how much more the sender's kernel takes, drawn for each connection. With 0 it
                takes bytes as they leave, so what is written in a cut stays with the transport: its producer
                is paused, and `loseConnection` waits. With more, `loseConnection` may be done in a cut, and
                what was written arrives after it heals, perhaps after its sender has connected again.
            piece_bytes_max: the most that is sent or read in one go; 1 to see every byte arrive alone.
            trace_events_max: how many events `trace` keeps.
            epoch: the time of day at the start, in Unix seconds.
        """
        self.clock = clock
        self.dice = dice
        self.window_bytes = window_bytes
        self.epoch = epoch
        self.hosts: dict[str, SimHost] = {}
        self.datagram_faults = DatagramFaults()
        self.trace: deque[TraceEvent] = deque(maxlen=trace_events_max)
        self.stalled: dict[Lane, None] = {}
        self._delay_s = delay_s
        self._delays_s: dict[tuple[str, str], Span] = {}
        self._rates: dict[tuple[str, str], float] = {}
        self._busy_until: dict[tuple[str, str], float] = {}
        self._retransmit_s = retransmit_s
        self._turn_s = turn_s
        self._send_buffer_bytes = send_buffer_bytes
        self._piece_bytes_max = piece_bytes_max
        self._cut: dict[tuple[str, str], None] = {}
        self._isolated: dict[str, None] = {}

    def host(self, name: str) -> SimHost:
        """Return the host of this name; a new one if there is none, running nothing."""
        if name not in self.hosts:
            number = len(self.hosts) + 1
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            self.hosts[name] = SimHost(self, name, address)
            for other in self._isolated:
                self._cut_both(other, name)
        return self.hosts[name]

    def find(self, name: str, asker: SimHost) -> tuple[SimHost, str]:
        """Find a host by name or address, as seen from another; return the address to reach it by, too.

        Raises:
            DNSLookupError: there is none.
        """
        if name in ("localhost", LOOPBACK):
            return asker, LOOPBACK
        for host in self.hosts.values():
            if name in (host.name, host.address):
                return host, host.address
        raise DNSLookupError(f"no host {name} on the simulated network")

    def describe_trace(self, events_max: int = 100) -> str:
        """Return the last events, a line each, for printing when a seed has failed."""
        return "\n".join(str(event) for event in list(self.trace)[-events_max:])

    # Faults; each takes hosts by name

    def cut(self, a: str, b: str) -> None:
        """Let nothing pass between two hosts. Nobody is told; what is under way waits."""
        self._cut_both(a, b)
        self.record("cut", a, b)

    def cut_one_way(self, a: str, b: str) -> None:
        """Let nothing pass from a to b; from b to a it does."""
        self._check(a, b)
        self._cut[a, b] = None
        self.record("cut-to", a, b)

    def heal(self, a: str, b: str) -> None:
        """Let everything pass between two hosts again, and what waited arrive."""
        self._check(a, b)
        self._cut.pop((a, b), None)
        self._cut.pop((b, a), None)
        self.record("heal", a, b)
        self.paths_changed()

    def isolate(self, a: str) -> None:
        """Cut a host off from all others, those still to be made included."""
        self._check(a)
        self._isolated[a] = None
        for other in self.hosts:
            if other != a:
                self._cut_both(a, other)
        self.record("isolate", a)

    def rejoin(self, a: str) -> None:
        """Heal every path of a host, whatever cut it."""
        self._check(a)
        self._isolated.pop(a, None)
        self._cut = {pair: None for pair in self._cut if a not in pair}
        self.record("rejoin", a)
        self.paths_changed()

    def heal_all(self) -> None:
        """Heal every path, and let every path be as fast as it was made."""
        self._cut.clear()
        self._isolated.clear()
        self._delays_s.clear()
        self.record("heal-all", "")
        self.paths_changed()

    def recover_all(self) -> None:
        """Heal every path, boot every host that is dead, and let every one that is paused go on."""
        self.heal_all()
        for host in list(self.hosts.values()):
            if not host.alive:
                host.boot()
            elif host.paused:
                host.resume()

    def slow(self, a: str, b: str, delay_s: Span | None) -> None:
        """Let segments travel as long as is given here, both ways; None: as long as between other hosts."""
        self._check(a, b)
        for pair in ((a, b), (b, a)):
            self._delays_s.pop(pair, None)
            if delay_s is not None:
                self._delays_s[pair] = delay_s
        self.record("slow", a, b)

    def limit(self, a: str, b: str, bytes_per_s: float | None) -> None:
        """Let so many bytes a second leave on the path between two hosts, each way; None: any number.

        What leaves later than it was sent is under way: a window of each connection at most. A path that was cut makes
        up for it at once when it heals.
        """
        self._check(a, b)
        for path in ((a, b), (b, a)):
            self._rates.pop(path, None)
            if bytes_per_s is not None:
                self._rates[path] = bytes_per_s
        self.record("limit", a, b, int(bytes_per_s or 0))

    def reset_all(self) -> None:
        """Reset every connection, as a firewall does that has lost its table; what is under way is lost.

        Called from outside the simulation it shows at once: every process that is not paused has heard of it.
        """
        self.record("reset-all", "")
        for host in self.hosts.values():
            for socket in list(host.sockets):
                if socket.state is not tcp.State.CONNECTING:
                    socket.break_off()
        if not self.clock.running:
            for host in self.hosts.values():
                host.reactor.poll_now()

    # For the other modules

    def passes(self, source: SimHost, target: SimHost) -> bool:
        """Say whether what one host sends reaches the other now."""
        return target.powered and (source is target or (source.name, target.name) not in self._cut)

    def paths_changed(self) -> None:
        """Let everything go on that waited for a path to open."""
        for lane in list(self.stalled):
            if self.passes(lane.source, lane.target):
                del self.stalled[lane]
                lane.path_opened()
        for host in list(self.hosts.values()):
            for socket in list(host.sockets):
                socket.path_changed()

    def record(self, what: str, source: str, target: str = "", size: int = 0) -> None:
        """Keep an event in the trace."""
        self.trace.append(TraceEvent(self.clock.seconds(), what, source, target, size))

    def draw_arrival(self, source: SimHost, target: SimHost, size: int) -> float:
        """Draw when a segment with so many bytes of data arrives that is sent now."""
        left, path = self.clock.seconds(), (source.name, target.name)
        rate = self._rates.get(path)
        if rate is not None:
            left = self._busy_until[path] = max(left, self._busy_until.get(path, 0.0)) + size / rate
        return left + self.draw_delay(source, target)

    def draw_delay(self, source: SimHost, target: SimHost) -> float:
        """Draw how long something travels from one host to another."""
        if source is target:
            return LOOPBACK_DELAY_S
        return self.dice.uniform(*self._delays_s.get((source.name, target.name), self._delay_s))

    def draw_retransmission(self) -> float:
        """Draw how long after its path has healed a kernel sends again."""
        return self.dice.uniform(*self._retransmit_s)

    def draw_turn(self) -> float:
        """Draw how long after something became ready a reactor polls."""
        return self.dice.uniform(*self._turn_s)

    def draw_send_buffer(self) -> int:
        """Draw how much a kernel takes beyond the window."""
        return self.dice.randint(*self._send_buffer_bytes)

    def draw_piece(self, size: int) -> int:
        """Draw how many of so many bytes go together: often all, sometimes very few."""
        if self._piece_bytes_max is not None:
            size = min(size, self._piece_bytes_max)
        luck = self.dice.random()
        if luck < 0.7:
            return size
        return self.dice.randint(1, min(size, 8) if luck < 0.85 else size)

    def _cut_both(self, a: str, b: str) -> None:
        self._check(a, b)
        self._cut[a, b] = self._cut[b, a] = None

    def _check(self, *names: str) -> None:
        for name in names:
            if name not in self.hosts:
                raise KeyError(f"no host {name} on the simulated network")
