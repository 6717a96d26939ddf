"""A simulated disk: it survives crashes, keeps what was fsynced, and can be slow, full or broken."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from chatproto.errors import StoreBusy, StoreCorrupt, StoreError
from chatproto.log.entry import Run
from chatproto.log.ids import RecentIds
from chatproto.log.interface import IStore, Slice, Snapshot
from chatproto.log.rows import collect_slices
from chatproto.testing.clock import HostClock, SimClock
from chatproto.testing.committing import Committing, Job
from chatproto.testing.table import SimTable

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
    configuration: bytes | None = None
    orphans: dict[str, bytes] = field(default_factory=dict)
    installing: int | None = None
    table: dict[bytes, bytes] = field(default_factory=dict)
    holder: Committing | None = None

    def insert(self, runs: list[Run]) -> None:
        for run in runs:
            if self.runs and run.index <= (newest := next(reversed(self.runs.values()))).last:
                raise StoreCorrupt(f"entry {run.index} cannot follow entry {newest.last}")
            self.runs[run.index] = run
            if run.position:
                self.rooms.setdefault(run.room, []).append(run)

    def replace_snapshot(self, snapshot: Snapshot, ids: dict[str, int]) -> None:
        self.snapshot = snapshot
        self.ids.update(ids)
        self.installing = None

    def configure(self, configuration: bytes) -> None:
        self.configuration = configuration

    def adopt(self, ids: list[str]) -> None:
        for id in ids:
            self.orphans.pop(id, None)

    def cut(self, after: int, orphans: list[tuple[str, bytes]]) -> None:
        if self.snapshot is not None and self.snapshot.index > after:
            raise StoreCorrupt(f"the entries after {after} are in the snapshot of entry {self.snapshot.index}")
        self._remove_after(after)
        for id, body in orphans:
            self.orphans.setdefault(id, body)

    def install(self, after: int) -> None:
        self._remove_after(after)
        # An installation that was begun before goes back further or as far.
        self.installing = after if self.installing is None else self.installing

    def forget(self) -> None:
        blank = _Directory(table=self.table, holder=self.holder)
        for name in blank.__dataclass_fields__:
            setattr(self, name, getattr(blank, name))

    def abandon_installation(self) -> None:
        if self.installing is not None:
            self._remove_after(self.installing)
            self.installing = None

    def _remove_after(self, index: int) -> None:
        removed = [run for run in self.runs.values() if run.last > index]
        if removed and removed[0].index <= index:
            raise StoreCorrupt(f"the entries after {index} are in one run with those before")
        for run in removed:
            del self.runs[run.index]
        for room, runs in self.rooms.items():
            self.rooms[room] = [run for run in runs if run.index <= index]
        self.ids = {id: at for id, at in self.ids.items() if at <= index}
        if self.snapshot is not None and self.snapshot.index > index:
            self.snapshot = None
        if self.installing is not None:
            self.installing = min(self.installing, index)

    def purge(self, snapshot: Snapshot) -> None:
        if self.snapshot is not snapshot:
            return  # A newer one makes more unneeded; or another log is taken in, whose runs are others.
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
    """The disk of a host. It outlives the host's lives; `SimHost.world` opens stores on it.

    Attributes:
        changes: how often something on it has become another; as long as it is the same, nothing has.
    """

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
        self.changes = 0
        self._directories: dict[str, _Directory] = {}

    def open(self, directory: str, failed: Callable[[str], None], life: HostClock) -> "SimStore":
        """Open the store in a data directory for one life of the host.

        Raises:
            StoreBusy: it is open already.
            StoreError: there is no room to make it.
        """
        held = self._take(directory)
        held.abandon_installation()
        held.holder = store = SimStore(self, held, directory, failed, life)
        return store

    def open_table(self, directory: str, failed: Callable[[str], None], life: HostClock) -> SimTable:
        """Open the table of keys and values in a data directory for one life of the host.

        Raises:
            StoreBusy: it is open already.
            StoreError: there is no room to make it.
        """
        held = self._take(directory)
        held.holder = table = SimTable(self, held.table, directory, failed, life)
        return table

    def _take(self, directory: str) -> _Directory:
        if self._full and directory not in self._directories:
            raise StoreError(f"cannot use the data directory {directory}: No space left on device")
        held = self._directories.setdefault(directory, _Directory())
        if held.holder is not None:
            raise StoreBusy(f"the data directory {directory} is in use by another process")
        self.changes += 1
        return held

    def table(self, directory: str) -> dict[bytes, bytes]:
        """Return what is durable of the table in a data directory; nothing where there is no such directory."""
        held = self._directories.get(directory)
        return {} if held is None else dict(held.table)

    def newest_first(self, directory: str) -> Iterator[Run]:
        """Return the durable runs of a data directory, newest first; none where there is no such directory."""
        held = self._directories.get(directory)
        return iter(()) if held is None else reversed(held.runs.values())

    def configuration(self, directory: str) -> bytes | None:
        """Return the durable configuration in a data directory; None where there is none."""
        held = self._directories.get(directory)
        return None if held is None else held.configuration

    def orphans(self, directory: str) -> list[tuple[str, bytes]]:
        """Return the durable orphans in a data directory, oldest first."""
        held = self._directories.get(directory)
        return [] if held is None else list(held.orphans.items())

    def extent(self, directory: str) -> tuple[Snapshot | None, int, bool]:
        """Return how far a data directory goes.

        Returns:
            The durable snapshot; the index of the last entry that a process would find that starts now; whether another
            node's log is being taken in beyond that.
        """
        held = self._directories.get(directory)
        if held is None:
            return None, 0, False
        last = next(reversed(held.runs.values())).last if held.runs else 0
        end = max(last, held.snapshot.index if held.snapshot is not None else 0)
        if held.installing is not None:
            return held.snapshot, min(end, held.installing), True
        return held.snapshot, end, False

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
        run = next(run for run in held.runs.values() if run.index <= index <= run.last)
        del held.runs[run.index]
        if run.position:
            held.rooms[run.room].remove(run)

    def wipe(self, directory: str) -> None:
        """Lose a data directory with all that is in it, as a disk that is replaced by a new one.

        Raises:
            StoreBusy: a process holds it.
        """
        held = self._directories.get(directory)
        if held is not None and held.holder is not None:
            raise StoreBusy(f"the data directory {directory} is in use by another process")
        self._directories.pop(directory, None)
        self.changes += 1

    # For what is open on it

    def let_go(self, directory: str) -> None:
        """Have a data directory be nobody's."""
        self._directories[directory].holder = None

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


@implementer(IStore)
class SimStore(Committing):
    """`IStore` on a `SimDisk`, with the timing of the SQLite store: one commit at a time."""

    def __init__(
        self,
        disk: SimDisk,
        held: _Directory,
        directory: str,
        failed: Callable[[str], None],
        life: HostClock,
    ) -> None:
        """Take an open directory; `SimDisk.open` does."""
        super().__init__(disk, directory, failed, life)
        self._held = held
        self._ids = RecentIds()
        # Of the newest snapshot; read only by the test that plants a mistake here.
        self._saving_ids: dict[str, int] = {}

    # IStore

    def recover(self) -> tuple[Snapshot | None, Iterable[Run]]:
        """See `IStore.recover`."""
        snapshot = _read_back(self._held.snapshot)
        index = snapshot.index if snapshot else 0
        self._ids.start(index)
        return snapshot, self._runs_after(index)

    def _runs_after(self, index: int) -> Iterator[Run]:
        for run in list(self._held.runs.values()):
            if run.index <= index:
                continue
            if run.index != index + 1:
                raise StoreCorrupt(f"{self.directory}: entry {index + 1} is missing or damaged")
            self._ids.remember(run)
            index = run.last
            yield _copy(run)

    def append(self, runs: list[Run], done: Callable[[], None]) -> None:
        """See `IStore.append`."""
        for run in runs:
            self._ids.remember(run)
        self._put(Job(partial(self._held.insert, [_copy(run) for run in runs]), done))

    def save(self, snapshot: Snapshot) -> None:
        """See `IStore.save`."""
        ids = self._ids.save(snapshot.index)
        if ids is None:
            return
        self._saving_ids = ids
        kept = _read_back(snapshot)
        change = partial(self._held.replace_snapshot, kept, ids)
        self._put(Job(change, partial(self._saved, kept), joins=False))

    def _saved(self, snapshot: Snapshot) -> None:
        self._ids.saved()
        # A commit of its own, as in the SQLite store: a crash before it leaves things to purge.
        self._put(Job(partial(self._held.purge, snapshot), _nothing, joins=False))

    def configuration(self) -> bytes | None:
        """See `IStore.configuration`."""
        return self._held.configuration

    def configure(self, configuration: bytes, done: Callable[[], None]) -> None:
        """See `IStore.configure`."""
        self._put(Job(partial(self._held.configure, configuration), done))

    def orphans(self) -> list[tuple[str, bytes]]:
        """See `IStore.orphans`."""
        return list(self._held.orphans.items())

    def cut(self, after: int, orphans: list[tuple[str, bytes]], done: Callable[[], None]) -> None:
        """See `IStore.cut`."""
        self._ids.cut(after)
        self._put(Job(partial(self._held.cut, after, list(orphans)), partial(self._removed, done), joins=False))

    def adopted(self, ids: list[str]) -> None:
        """See `IStore.adopted`."""
        if ids:
            self._put(Job(partial(self._held.adopt, list(ids)), _nothing))

    def install(self, after: int, done: Callable[[], None]) -> None:
        """See `IStore.install`."""
        change = partial(self._held.install, self._ids.install(after))
        self._put(Job(change, partial(self._removed, done), joins=False))

    def forget(self, done: Callable[[], None]) -> None:
        """See `IStore.forget`."""
        self._ids.forget()
        self._put(Job(self._held.forget, partial(self._removed, done), joins=False))

    def _removed(self, done: Callable[[], None]) -> None:
        self._ids.removed()
        done()

    def runs(self, after: int, bytes_max: int) -> "Deferred[list[Run]]":
        """See `IStore.runs`."""
        return self._answer(lambda: self._read_runs(after, bytes_max))

    def _read_runs(self, after: int, bytes_max: int) -> list[Run]:
        runs: list[Run] = []
        for run in self._held.runs.values():
            if run.index > after and bytes_max >= 0:
                runs.append(_copy(run))
                bytes_max -= len(run.body)
        return runs

    def saved(self) -> "Deferred[Snapshot | None]":
        """See `IStore.saved`."""
        return self._answer(lambda: _read_back(self._held.snapshot))

    def ids(self, after: str, count_max: int) -> "Deferred[list[tuple[str, int, float]]]":
        """See `IStore.ids`."""
        return self._answer(
            lambda: [(id, self._held.ids[id], 0.0) for id in sorted(self._held.ids) if id > after][:count_max]
        )

    def learn(self, ids: list[tuple[str, int, float]]) -> None:
        """See `IStore.learn`."""
        kept = {id: index for id, index, _ in ids}
        self._put(Job(partial(self._held.ids.update, kept), _nothing))

    def find(self, id: str) -> int | None:
        """See `IStore.find`."""
        found = self._ids.find(id)
        if found is None:
            found = self._held.ids.get(id)
            if found is not None and self._ids.hides(found):
                return None
        return found

    def run_of(self, index: int) -> "Deferred[Run | None]":
        """See `IStore.run_of`."""
        return self._answer(lambda: self._run_of(index))

    def _run_of(self, index: int) -> Run | None:
        for run in self._held.runs.values():
            if run.index <= index <= run.last:
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


def _copy(run: Run) -> Run:
    """Copy as a disk does: nothing is shared, and what a process knows besides is not kept."""
    return _read_back(msgspec.structs.replace(run, entries=[]))


def _read_back(value: T) -> T:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))


def _size(run: Run) -> int:
    return len(run.body) + sum(map(len, run.ids)) + ROW_BYTES


def _nothing() -> None:
    pass
