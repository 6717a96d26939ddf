"""How what is kept on a simulated disk is written: in order, one commit at a time, all of it or nothing."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatproto.errors import StoreCorrupt
from chatproto.testing.clock import HostClock, SimCall

if TYPE_CHECKING:
    from chatproto.testing.disk import SimDisk

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A change of what is on the disk.

    Attributes:
        change: makes it.
        done: called when it is durable.
        joins: whether it may share a commit with its neighbours.
    """

    change: Callable[[], None]
    done: Callable[[], None]
    joins: bool = True


class Committing:
    """Writes to a data directory with the timing of SQLite: what is asked while a commit is under way goes together
    with the next.

    Attributes:
        directory: the data directory.
    """

    def __init__(self, disk: "SimDisk", directory: str, failed: Callable[[str], None], life: HostClock) -> None:
        self.directory = directory
        self._disk = disk
        self._failed = failed
        self._life = life
        self._jobs: deque[Job] = deque()
        self._under_way: list[Job] = []
        self._commit: SimCall | None = None
        self._working = True
        self._last_answer = 0.0
        self._closing: Deferred[None] | None = None

    def close(self) -> "Deferred[None]":
        """Finish what was asked, and let the data directory go."""
        self._closing = Deferred()
        self._working = False
        self._life.callLater(0, self._close_if_idle)
        return self._closing

    # The writer

    def _put(self, job: Job) -> None:
        if self._life.alive and self._working:
            self._jobs.append(job)
            self._begin()

    def _begin(self) -> None:
        if self._under_way or not self._jobs:
            return
        self._under_way = [self._jobs.popleft()]
        while self._under_way[0].joins and self._jobs and self._jobs[0].joins:
            self._under_way.append(self._jobs.popleft())
        # On the disk's time, not the process's: a commit ends also while the process is paused.
        self._commit = self._disk.clock.schedule(self._disk.draw_commit(), self._end)

    def _end(self) -> None:
        error, kept = self._disk.verdict()
        if kept:
            error = self._make_durable() or error
        if error is not None:
            self._working = False
            self._jobs.clear()
            reason = f"cannot write {self.directory}: {error}"
            self._life.callLater(0, self._give_up, reason)
        else:
            self._life.callLater(0, self._go_on)

    def _make_durable(self) -> str | None:
        """Change the disk; return why that cannot be done."""
        self._disk.changes += 1
        try:
            for job in self._under_way:
                job.change()
        except StoreCorrupt as error:
            return str(error)
        return None

    def _go_on(self) -> None:
        finished, self._under_way = self._under_way, []
        self._begin()
        for job in finished:
            job.done()
        self._close_if_idle()

    def _give_up(self, reason: str) -> None:
        self._under_way = []
        self._failed(reason)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closing is not None and not self._under_way and not self._jobs:
            closing, self._closing = self._closing, None
            self._disk.let_go(self.directory)
            closing.callback(None)

    def crash(self) -> None:
        """End with the process; see `SimDisk.crash`."""
        if self._commit is not None and self._commit.active():
            self._commit.cancel()
            if self._disk.keeps_unfinished():
                self._make_durable()
        # Whoever still knows this store is not to keep the entries alive.
        self._under_way = []
        self._jobs.clear()

    # The reader

    def _answer(self, read: Callable[[], T]) -> "Deferred[T]":
        answer: Deferred[T] = Deferred()

        def read_now() -> None:
            try:
                result = read()
            except Exception:
                answer.errback(Failure())
            else:
                answer.callback(result)

        # One after the other, as one thread reads.
        now = self._life.seconds()
        self._last_answer = max(self._last_answer, now + self._disk.draw_commit() / 10)
        self._life.callLater(self._last_answer - now, read_now)
        return answer
