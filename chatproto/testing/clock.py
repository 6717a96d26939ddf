"""Simulated time: one clock for all, and on each host a view of it that dies with the host's life.

`twisted.internet.task.Clock.advance` jumps to the end and then runs what was due, so that a call made two
seconds late believes to be on time. `SimClock` goes from event to event, each at its own time.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from twisted.internet import task
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

log = Logger()


class Livelock(RuntimeError):
    """More events within one simulated second than the ceiling allows: something keeps itself busy."""


class NeverHappened(AssertionError):
    """What `SimClock.run_until` waited for was not so in the time given."""


class SimCall(DelayedCall):
    """A call on a `SimClock`, perhaps made for a host: then the host's clock has the last word on it."""

    insertion: int
    owner: "HostClock | None"


class SimClock(task.Clock):
    """A clock that runs event by event: each call at its own time; of one time, in the order of their making.

    It is a `twisted.internet.task.Clock`, so `advance` and `pump` work; they run event by event as well.
    """

    def __init__(self, events_per_second_max: int = 1_000_000) -> None:
        """Start at 0.

        Args:
            events_per_second_max: how many events one simulated second may have before `Livelock` is raised.
        """
        # Not super().__init__(): it sets `calls`, which is computed here.
        self.events = 0
        self.running = False
        self._events_per_second_max = events_per_second_max
        self._second = 0
        self._events_before_second = 0
        self._heap: list[tuple[float, int, SimCall]] = []
        self._insertions = 0
        self._cancelled = 0

    @property
    def calls(self) -> list[DelayedCall]:  # type: ignore[override]
        """The calls still to be made, in order."""
        waiting = {call.insertion: call for _, _, call in self._heap if call.active()}
        return [waiting[at] for at in sorted(waiting, key=lambda at: (waiting[at].getTime(), at))]

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return self.calls

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        return self.schedule(delay, callable, args, kw)

    def schedule(
        self,
        delay: float,
        callable: Callable[..., object],
        args: Sequence[object] = (),
        kw: Mapping[str, object] | None = None,
        owner: "HostClock | None" = None,
    ) -> SimCall:
        """Have a call made, through `owner` if there is one."""
        if not delay >= 0:
            raise ValueError(f"cannot call {delay} seconds from now")
        call = SimCall(self.rightNow + delay, callable, args, dict(kw or {}), self._forget, self.put_back, self.seconds)
        self._insertions += 1
        call.insertion = self._insertions
        call.owner = owner
        self.put_back(call)
        return call

    def put_back(self, call: DelayedCall) -> None:
        """Have a call made that was kept from being made, or whose time has come nearer."""
        assert isinstance(call, SimCall)
        heapq.heappush(self._heap, (call.time, call.insertion, call))

    def _forget(self, call: DelayedCall) -> None:
        # Cancelled calls leave with their time, or all at once when they are most of the heap.
        self._cancelled += 1
        if self._cancelled > 100 and self._cancelled > len(self._heap) // 2:
            self._heap = [item for item in self._heap if item[2].active()]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _next(self) -> SimCall | None:
        """Find the next call to be made and leave it on top of the heap."""
        while self._heap:
            time, _, call = self._heap[0]
            if call.active():
                if call.getTime() <= time:
                    return call
                # It was put off; a call put off is not moved until its old time comes.
                call.activate_delay()
                heapq.heapreplace(self._heap, (call.time, call.insertion, call))
            else:
                heapq.heappop(self._heap)
        return None

    def _make(self, call: SimCall) -> None:
        heapq.heappop(self._heap)
        # A call kept back while its host stood still is made late, not in the past.
        self.rightNow = max(self.rightNow, call.getTime())
        self._count()
        if call.owner is None:
            call.called = 1
            call.func(*call.args, **call.kw)
        else:
            call.owner.due(call)

    def _count(self) -> None:
        self.events += 1
        if int(self.rightNow) != self._second:
            self._second = int(self.rightNow)
            self._events_before_second = self.events
        elif self.events - self._events_before_second > self._events_per_second_max:
            raise Livelock(f"more than {self._events_per_second_max} events in the simulated second {self._second}")

    def run(self, seconds: float, after_each: Callable[[], object] | None = None) -> None:
        """Let time pass, making every call that comes due, those made due meanwhile included.

        Args:
            seconds: how long.
            after_each: called after every event, to check what must always hold; what it raises ends the run.

        Raises:
            Livelock: there is no end to it.
        """
        end = self.rightNow + seconds
        with self._going():
            while (call := self._next()) is not None and call.getTime() <= end:
                self._make(call)
                if after_each is not None:
                    after_each()
            self.rightNow = max(self.rightNow, end)

    def run_until(
        self,
        predicate: Callable[[], object],
        seconds_max: float,
        after_each: Callable[[], object] | None = None,
    ) -> float:
        """Let time pass until something is so; return how many seconds it took.

        Raises:
            NeverHappened: `seconds_max` seconds passed and it is not so.
            Livelock: there is no end to it.
        """
        start = self.rightNow
        end = start + seconds_max
        with self._going():
            while not predicate():
                call = self._next()
                if call is None or call.getTime() > end:
                    self.rightNow = end
                    raise NeverHappened(f"not within {seconds_max} simulated seconds")
                self._make(call)
                if after_each is not None:
                    after_each()
        return self.rightNow - start

    def advance(self, amount: float) -> None:
        """Let time pass; the same as `run`."""
        self.run(amount)

    @contextmanager
    def _going(self) -> Iterator[None]:
        if self.running:
            raise RuntimeError("the clock is running already: an event cannot let time pass")
        self.running = True
        try:
            yield
        finally:
            self.running = False


@implementer(IReactorTime)
class HostClock:
    """What one life of a host sees of the simulated time.

    While the host is paused its calls wait, and are late afterwards: time went on, as it does for a stopped
    process. Once the life has ended none of its calls is made any more.

    As in a reactor, a call that raises is logged and the others are made.
    """

    def __init__(self, clock: SimClock) -> None:
        self.alive = True
        self.paused = False
        self._clock = clock
        self._overdue: list[SimCall] = []

    def seconds(self) -> float:
        return self._clock.rightNow

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> IDelayedCall:
        return self._clock.schedule(delay, callable, args, kwargs, owner=self)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        if not self.alive:
            return []
        overdue = [call for call in self._overdue if call.active()]
        return overdue + [call for call in self._clock.calls if isinstance(call, SimCall) and call.owner is self]

    def due(self, call: SimCall) -> None:
        """Make a call whose time has come; or keep it, or drop it."""
        if not self.alive:
            return
        if self.paused:
            self._overdue.append(call)
            return
        call.called = 1
        try:
            call.func(*call.args, **call.kw)
        except Exception:
            log.failure("a delayed call failed")

    def pause(self) -> None:
        """Keep the calls that come due."""
        self.paused = True

    def resume(self) -> None:
        """Have the calls made that came due meanwhile, in order, from now on."""
        self.paused = False
        overdue, self._overdue = self._overdue, []
        for call in overdue:
            if call.active():
                self._clock.put_back(call)

    def die(self) -> None:
        """Make no call any more."""
        self.alive = False
        self._overdue = []
