"""A simulated disk: it survives crashes, keeps what was fsynced, and can be slow, full or broken."""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError
from chatproto.log.entry import Run
from chatproto.log.interface import IStore, Slice, Snapshot
from chatproto.log.rows import collect_slices
from chatproto.testing.clock import HostClock, SimCall, SimClock

T = TypeVar("T")

ROW_BYTES = 64
"""What a run takes beyond its bodies and ids, for `IStore.expired`."""


@dataclass
class _Directory:
    """What of a data directory is on the platters."""

    runs: dict[int, Run] = field(default_factory=dict)
    rooms: dict[str, list[Run]] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    holder: "SimStore | None" = None

    def insert(self, runs: list[Run]) -> None:
        for run in runs:
            self.runs[run.index] = run
            if run.position:
                self.rooms.setdefault(run.room, []).append(run)

    def replace_snapshot(self, snapshot: Snapshot, ids: dict[str, int]) -> None:
        self.snapshot = snapshot
        self.ids.update(ids)

    def purge(self, snapshot: Snapshot) -> None:
        for room, first in snapshot.first.items():
            kept = [run for run in self.rooms.get(room, ()) if run.position + len(run.ids) > first]
            self.rooms[room] = kept
        archived = {run.index for runs in self.rooms.values() for run in runs}
        self.runs = {
            index: run for index, run in self.runs.items() if index in archived or not self._unneeded(run, snapshot)
        }

    def _unneeded(self, run: Run, snapshot: Snapshot) -> bool:
        return run.position > 0 or run.index <= snapshot.index


class SimDisk:
    """The disk of a host. It outlives the host's lives; `SimHost.world` opens stores on it."""

    def __init__(self, clock: SimClock, dice: random.Random, commit_s: tuple[float, float] = (0.0002, 0.004)) -> None:
        """Make an empty one.

        Args:
            clock: of the simulation.
            dice: seeded.
            commit_s: how long a commit takes.
        """
        self.clock = clock
        self.dice = dice
        self._normal_commit_s = commit_s
        self._commit_s = commit_s
        self._full = False
        self._failing = False
        self._directories: dict[str, _Directory] = {}

    def open(self, directory: str, failed: Callable[[str], None], life: HostClock) -> "SimStore":
        """Open the store in a data directory for one life of the host.

        Raises:
            StoreBusy: it is open already.
            StoreError: there is no room to make it.
        """
        if self._full and directory not in self._directories:
            raise StoreError(f"cannot use the data directory {directory}: No space left on device")
        held = self._directories.setdefault(directory, _Directory())
        if held.holder is not None:
            raise StoreBusy(f"the data directory {directory} is in use by another process")
        held.holder = SimStore(self, held, directory, failed, life)
        return held.holder

    def newest_first(self, directory: str) -> Iterator[Run]:
        """Return the durable runs of a data directory, newest first; none where there is no such directory."""
        held = self._directories.get(directory)
        return iter(()) if held is None else reversed(held.runs.values())

    @property
    def doomed(self) -> bool:
        """Whether the next commit will fail."""
        return self._full or self._failing

    # Faults

    def crash(self) -> None:
        """Lose what was not durable, with the process that had asked for it.

        The commit that is under way has happened or not, as the dice have it; in either case all of it.
        """
        for directory in self._directories.values():
            if directory.holder is not None:
                directory.holder.crash()
                directory.holder = None

    def fill(self) -> None:
        """Have no room: every commit fails and nothing of it is kept, until `mend`."""
        self._full = True

    def fail(self) -> None:
        """Have the next commit fail, the way an fsync does: nobody knows whether it is kept."""
        self._failing = True

    def slow(self, commit_s: tuple[float, float]) -> None:
        """Have commits take so long, until `mend`."""
        self._commit_s = commit_s

    def mend(self) -> None:
        """Be neither full nor failing nor slow any more."""
        self._full = self._failing = False
        self._commit_s = self._normal_commit_s

    def lose(self, directory: str, index: int) -> None:
        """Lose the run that has this entry, as bad sectors do; whoever reads it finds the gap."""
        held = self._directories[directory]
        run = next(run for run in held.runs.values() if run.index <= index < run.index + len(run.ids))
        del held.runs[run.index]
        if run.position:
            held.rooms[run.room].remove(run)

    # For stores

    def draw_commit(self) -> float:
        """Draw how long a commit takes."""
        return self.dice.uniform(*self._commit_s)

    def verdict(self) -> tuple[str | None, bool]:
        """Return the error with which a commit ends, None for success, and whether it is kept."""
        if self._full:
            return "database or disk is full", False
        if self._failing:
            self._failing = False
            return "disk I/O error", self.dice.random() < 0.5
        return None, True

    def keeps_unfinished(self) -> bool:
        """Draw whether a commit that its process did not live to see has happened."""
        return not self._full and self.dice.random() < 0.5


@dataclass(frozen=True)
class _Job:
    change: Callable[[], None]
    done: Callable[[], None]
    joins: bool


@implementer(IStore)
class SimStore:
    """`IStore` on a `SimDisk`, with the timing of the SQLite store: one commit at a time.

    What is appended while one is under way goes together with the next.
    """

    def __init__(
        self,
        disk: SimDisk,
        held: _Directory,
        directory: str,
        failed: Callable[[str], None],
        life: HostClock,
    ) -> None:
        """Take an open directory; `SimDisk.open` does."""
        self.directory = directory
        self._disk = disk
        self._held = held
        self._failed = failed
        self._life = life
        self._jobs: deque[_Job] = deque()
        self._under_way: list[_Job] = []
        self._commit: SimCall | None = None
        self._working = True
        self._recent: dict[str, int] = {}
        self._saving: Snapshot | None = None
        self._saving_ids: dict[str, int] = {}
        self._last_answer = 0.0
        self._closing: Deferred[None] | None = None

    # IStore

    def recover(self) -> tuple[Snapshot | None, Iterable[Run]]:
        """See `IStore.recover`."""
        snapshot = self._held.snapshot
        if snapshot is None:
            return None, self._runs_after(0)
        return _copy_snapshot(snapshot), self._runs_after(snapshot.index)

    def _runs_after(self, index: int) -> Iterator[Run]:
        for run in list(self._held.runs.values()):
            if run.index <= index:
                continue
            if run.index != index + 1:
                raise StoreCorrupt(f"{self.directory}: entry {index + 1} is missing or damaged")
            self._remember(run)
            index += len(run.ids)
            yield _copy(run)

    def append(self, runs: list[Run], done: Callable[[], None]) -> None:
        """See `IStore.append`."""
        for run in runs:
            self._remember(run)
        self._put(_Job(partial(self._held.insert, [_copy(run) for run in runs]), done, joins=True))

    def _remember(self, run: Run) -> None:
        for offset in run.retriable:
            self._recent[run.ids[offset]] = run.index + offset

    def save(self, snapshot: Snapshot) -> None:
        """See `IStore.save`."""
        if self._saving is not None:
            return
        self._saving = kept = _copy_snapshot(snapshot)
        self._saving_ids, self._recent = self._recent, {}
        change = partial(self._held.replace_snapshot, kept, self._saving_ids)
        self._put(_Job(change, partial(self._saved, kept), joins=False))

    def _saved(self, snapshot: Snapshot) -> None:
        self._saving, self._saving_ids = None, {}
        # A commit of its own, as in the SQLite store: a crash before it leaves things to purge.
        self._put(_Job(partial(self._held.purge, snapshot), _nothing, joins=False))

    def find(self, id: str) -> int | None:
        """See `IStore.find`."""
        for ids in (self._recent, self._saving_ids, self._held.ids):
            if id in ids:
                return ids[id]
        return None

    def run_of(self, index: int) -> "Deferred[Run | None]":
        """See `IStore.run_of`."""
        return self._answer(lambda: self._run_of(index))

    def _run_of(self, index: int) -> Run | None:
        for run in self._held.runs.values():
            if run.index <= index < run.index + len(run.ids):
                return _copy(run)
        return None

    def read(self, room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        """See `IStore.read`."""
        return self._answer(lambda: self.peek(room, position, bytes_max, count_max))

    def peek(self, room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        """See `IStore.peek`."""
        runs = self._held.rooms.get(room, [])
        first = max(0, bisect_right(runs, position, key=lambda run: run.position) - 1)
        rows = ((run.position, len(run.ids), run.body) for run in runs[first:])
        return collect_slices(rows, position, bytes_max, count_max)

    def expired(self, before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        """See `IStore.expired`."""
        return self._answer(lambda: self._expired(before, bytes_max))

    def _expired(self, before: float, bytes_max: int) -> dict[str, int]:
        messages = [run for run in self._held.runs.values() if run.position]
        excess = sum(map(_size, messages)) - bytes_max if bytes_max else 0
        keep: dict[str, int] = {}
        for run in messages:
            if run.time >= before and excess <= 0:
                break
            keep[run.room] = run.position + len(run.ids)
            excess -= _size(run)
        return keep

    def close(self) -> "Deferred[None]":
        """See `IStore.close`."""
        self._closing = Deferred()
        self._working = False
        self._life.callLater(0, self._close_if_idle)
        return self._closing

    # The writer

    def _put(self, job: _Job) -> None:
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
            self._make_durable()
        if error is not None:
            self._working = False
            self._jobs.clear()
            reason = f"cannot write {self.directory}: {error}"
            self._life.callLater(0, self._give_up, reason)
        else:
            self._life.callLater(0, self._go_on)

    def _make_durable(self) -> None:
        for job in self._under_way:
            job.change()

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
            self._held.holder = None
            closing.callback(None)

    def crash(self) -> None:
        """End with the process; see `SimDisk.crash`."""
        if self._commit is not None and self._commit.active():
            self._commit.cancel()
            if self._disk.keeps_unfinished():
                self._make_durable()
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


def _copy(run: Run) -> Run:
    """Copy as a disk does: nothing is shared, and what a process knows besides is not kept."""
    bare = msgspec.structs.replace(run, entries=[])
    return msgspec.msgpack.decode(msgspec.msgpack.encode(bare), type=Run)


def _copy_snapshot(snapshot: Snapshot) -> Snapshot:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot)


def _size(run: Run) -> int:
    return len(run.body) + sum(map(len, run.ids)) + ROW_BYTES


def _nothing() -> None:
    pass
