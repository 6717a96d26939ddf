"""How the segments of a simulated connection travel in one direction.

Retransmission is a lane that stalls while the path is cut and goes on after it heals. That TCP itself gives up
after a quarter of an hour of silence is not modelled.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from chatproto.testing.clock import SimCall

if TYPE_CHECKING:
    from chatproto.testing.host import SimHost
    from chatproto.testing.network import SimNetwork


class Kind(enum.Enum):
    """What a segment says."""

    SYN = "syn"
    SYN_ACK = "syn-ack"
    ACK = "ack"
    DATA = "data"
    FIN = "fin"
    RST = "rst"


class Segment(NamedTuple):
    """What travels on a lane.

    Attributes:
        kind: what it says.
        data: of `DATA`.
        room: of `ACK`, how many bytes more the receiver takes.
        sure: whether it is sent until it arrives, even though its connection is over.
    """

    kind: Kind
    data: bytes = b""
    room: int = 0
    sure: bool = False


class Lane:
    """One direction of a connection: segments arrive late, in order; none is lost while its sender cares."""

    def __init__(
        self,
        network: "SimNetwork",
        source: "SimHost",
        target: "SimHost",
        arrived: Callable[[Segment], None],
    ) -> None:
        self.source = source
        self.target = target
        self._network = network
        self._arrived = arrived
        self._flight: deque[tuple[float, Segment]] = deque()
        self._event: SimCall | None = None
        self._stalled = False
        self._abandoned = False
        self._gap = False

    @property
    def open(self) -> bool:
        """Whether what is sent now can arrive."""
        return not self._stalled and self._network.passes(self.source, self.target)

    def send(self, segment: Segment) -> None:
        """Have a segment arrive, after all that were sent before it."""
        if self._stalled and self._abandoned and not segment.sure:
            return
        arrival = self._network.draw_arrival(self.source, self.target, len(segment.data))
        self._flight.append((arrival, segment))
        if len(self._flight) == 1 and not self._stalled:
            self._await_next()

    def abandon(self) -> None:
        """Send nothing again: the sender has forgotten the connection. What is under way may still arrive."""
        self._abandoned = True
        if self._stalled:
            self._flight = deque(item for item in self._flight if item[1].sure)
            self._gap = True

    def vanish(self) -> None:
        """Lose all that is under way."""
        self.abandon()
        self._flight.clear()
        if self._event is not None and self._event.active():
            self._event.cancel()

    def path_opened(self) -> None:
        """Go on after a cut: the sender notices at its next retransmission."""
        self._stalled = False
        again = self._network.clock.seconds() + self._network.draw_retransmission()
        self._flight = deque((max(arrival, again), segment) for arrival, segment in self._flight)
        if self._flight:
            self._await_next()

    def _await_next(self) -> None:
        clock = self._network.clock
        # A segment that travels faster than the one before it waits for it.
        self._event = clock.schedule(max(0.0, self._flight[0][0] - clock.seconds()), self._arrive)

    def _arrive(self) -> None:
        _, segment = self._flight[0]
        passes = self._network.passes(self.source, self.target)
        if not passes and (segment.sure or not self._abandoned):
            self._stalled = True
            self._network.stalled[self] = None
            return
        self._flight.popleft()
        if self._flight:
            self._await_next()
        if not passes:
            self._gap = True
        elif not self._gap or segment.kind is Kind.RST:
            self._network.record(segment.kind.value, self.source.name, self.target.name, len(segment.data))
            self._arrived(segment)
