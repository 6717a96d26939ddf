"""This node's copy of the log: on its disk, and from there to whoever stands on it."""

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from chatproto.errors import StoreCorrupt, StoreError
from chatproto.log.entry import Entry, Numbering, Run, Snapshot
from chatproto.log.interface import IStore, Replayed
from chatproto.log.recovery import SNAPSHOT_ENTRIES, answer_from_store, recover
from chatproto.pair.configuration import Kept, kept
from chatproto.pair.feed import CHUNK_BYTES
from chatproto.pair.messages import decode_entry, encode_entry
from chatproto.pair.replica import Replica
from chatproto.pair.submissions import Submissions
from chatproto.pair.tail import Tail

log = Logger()

Durable = Callable[[int, list[Run]], None]


class Journal:
    """The log as this node has it.

    Attributes:
        tail: its end.
        submissions: what is to come into it.
        store: the disk.
        floor: what was applied without being known to be committed; nobody is served before it is.
        snapshot_index: of the newest snapshot; below it the log has holes.
    """

    def __init__(self, replica: Replica, durable: Durable) -> None:
        """Make a journal that is not opened yet.

        Args:
            replica: hears where it ends and up to where it is durable.
            durable: called, after the replica's counters are right, with the last index that is durable and the runs
                that have become so.
        """
        self.tail = Tail(Numbering(0, {}, 0), [])
        self.submissions = Submissions()
        self.floor = 0
        self.snapshot_index = 0
        self.store: IStore
        self._replica = replica
        self._durable = durable
        self._replayed: Replayed
        # Raised whenever this node parts from something: what was under way to the disk then counts no more.
        self._lineage = 0
        self._closed = False
        # Orphans that the disk has in the log as well: nobody has said yet that they are committed.
        self._found_orphans: list[str] = []
        # Ids, with the indexes of their entries, that are on the way to the disk.
        self._learning: dict[str, int] = {}

    def open(self, store: IStore, replayed: Replayed) -> Kept | None:
        """Replay what the disk has; return what is on it of the configuration."""
        self.store = store
        self._replayed = replayed
        orphans = dict(store.orphans())
        # Those that are in the log already are only to be committed; they stay on the disk until they are.
        self.submissions.orphans.update(orphans)
        waiting = dict(orphans)
        found = recover(store, replayed, lambda run: [waiting.pop(id, None) for id in run.ids] if waiting else None)
        self.tail = Tail(Numbering(found.index, found.positions, 0), found.epochs)
        self.snapshot_index = found.snapshot_index
        self.floor = found.index
        self._found_orphans = [id for id in orphans if id not in waiting]
        self.submissions.wait([decode_entry(body) for body in waiting.values()])
        held = store.configuration()
        try:
            return None if held is None else kept(held)
        except msgspec.MsgspecError:
            raise StoreError("this data directory is not that of a node of a pair: is it a registry's?") from None

    def close(self) -> "Deferred[None]":
        """Finish what is under way to the disk; nobody hears of it."""
        self._closed = True
        return self.store.close()

    def _then(self, call: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        """Make a call for when something is durable, unless what it is about counts no more then."""
        lineage = self._lineage

        def stored() -> None:
            if lineage == self._lineage and not self._closed:
                call(*arguments)

        return stored

    # Growing

    def known(self, entry: Entry) -> bool:
        """Take an entry with an id that a client chose, if that id is not new; return whether it was taken."""
        if self.submissions.repeat(entry):
            return True
        index = self._learning.get(entry.id) or self.store.find(entry.id)
        if index is None:
            self.submissions.note(entry)
            return False
        # What is taken in from a leader's snapshot is committed, though nothing here has been applied.
        if index > self.tail.applied and not self._replica.incomplete:
            self.submissions.await_commit(entry)
            return True
        answer_from_store(self.store, self._replayed, entry, index)
        return True

    def number(self, entries: list[Entry]) -> None:
        """Number entries, as a leader, and make them durable."""
        runs = self.tail.numbering.seal(entries)
        for run in runs:
            self.tail.number(run)
        self._append(runs, None)

    def extend(self, runs: list[Run], stored: Callable[[], None]) -> None:
        """Make runs durable that the leader has numbered; `stored` is called in any case when they are."""
        for run in runs:
            self.submissions.recognise(run)
            self.tail.extend(run)
        self._append(runs, stored)

    def _append(self, runs: list[Run], stored: Callable[[], None] | None) -> None:
        self._replica.appended(self.tail.end)
        durable = self._then(self._durable, self.tail.end, runs)
        if stored is None:
            self.store.append(runs, durable)
            return

        def both() -> None:
            stored()
            durable()

        self.store.append(runs, both)

    def configure(self, configuration: bytes, stored: Callable[[], None]) -> None:
        """Make a configuration, as `keep` gave it, durable, in its turn among the runs."""

        def configured() -> None:
            if not self._closed:
                stored()

        self.store.configure(configuration, configured)

    # Applying

    def apply(self) -> bool:
        """Hand on what is committed and durable here; return whether that was anything."""
        if self._found_orphans and self._replica.commit >= self.floor:
            self._settle_orphans(self._found_orphans)
            self._found_orphans = []
        runs = self.tail.take(min(self._replica.commit, self._replica.durable))
        if not runs:
            return False
        self._replayed.commit(runs)
        submissions = self.submissions
        for run in runs:
            for entry, offset in submissions.settle(run):
                self._replayed.repeated(entry, run, offset)
        if submissions.orphans:
            self._settle_orphans([id for run in runs for id in run.ids])
        return True

    def _settle_orphans(self, ids: list[str]) -> None:
        settled = self.submissions.settle_orphans(ids)
        if settled:
            self.store.adopted(settled)

    @property
    def snapshot_due(self) -> bool:
        """Whether so much was applied since the newest snapshot that another one is worth it."""
        return self.tail.applied - self.snapshot_index >= SNAPSHOT_ENTRIES

    def snapshot(self) -> None:
        """Save the state of whoever stands on the log."""
        state, first = self._replayed.capture()
        tail = self.tail
        self.snapshot_index = at = tail.applied
        epochs = tail.epochs_at(at)
        self.store.save(Snapshot(at, epochs[-1][0] if epochs else 1, tail.positions_at(at), state, first, epochs))

    # Parting

    def part(self, common: int) -> bool:
        """Part, at once, from what comes after an entry, if nothing of that was applied; return whether it was so."""
        if common < self.tail.applied:
            return False
        self._cut(common, self.tail.unapplied_after(common))
        return True

    @inlineCallbacks
    def part_from_applied(self, common: int) -> Generator["Deferred[Any]", Any, None]:
        """Part from what comes after an entry, and bring whoever stands on the log back to there."""
        runs = yield self._read_after(common)
        if self._closed:
            return
        first: dict[str, int] = {}
        for run in runs:
            if run.position:
                first.setdefault(run.room, run.position)
        if first:
            self._replayed.rewound(first)
        # Nobody is to be told of an archive that is being cut.
        self._replayed.restore(None)
        yield self._cut(common, runs)
        yield self._replay_to(common)

    @inlineCallbacks
    def _read_after(self, index: int) -> Generator["Deferred[Any]", Any, list[Run]]:
        """Read all runs after an index, applied or not."""
        written: Deferred[None] = Deferred()
        self.store.append([], partial(written.callback, None))
        yield written
        known = {run.index: run for run in self.tail.waiting}
        found: list[Run] = []
        while some := (yield self.store.runs(index, CHUNK_BYTES)):
            found += [known.get(run.index, run) for run in some]
            index = some[-1].last
        return found

    def _cut(self, common: int, runs: list[Run]) -> "Deferred[None]":
        entries = self.submissions.part(runs)
        self._found_orphans = [id for id in self._found_orphans if id not in self.submissions.pending]
        log.warn(
            "parting from {count} entries after {common} that the leader has not: they are submitted again",
            count=len(entries),
            common=common,
        )
        self._lineage += 1
        self._learning.clear()
        self.tail.cut(common, runs)
        self._replica.cut(common)
        self.floor = min(self.floor, common)
        durable = self._then(self._durable, common, [])
        done: Deferred[None] = Deferred()

        def cut() -> None:
            if not self._closed:
                durable()
                done.callback(None)

        # An installation removes what a snapshot stands for.
        after = max(common, self.snapshot_index)
        self.store.cut(after, [(entry.id, encode_entry(entry)) for entry in entries], cut)
        return done

    @inlineCallbacks
    def _replay_to(self, end: int) -> Generator["Deferred[Any]", Any, None]:
        snapshot: Snapshot | None = yield self.store.saved()
        if snapshot is not None:
            self._replayed.restore(snapshot.state)
        at = 0 if snapshot is None else snapshot.index
        while at < end:
            runs: list[Run] = yield self.store.runs(at, CHUNK_BYTES)
            if not runs:
                raise StoreCorrupt(f"entry {at + 1} of the log is missing")
            for run in runs:
                if at < end:
                    self._replayed.replay(run)
                    at = run.last
        self.floor = end

    def forget(self) -> "Deferred[None]":
        """Have nothing any more, on the disk or in whoever stands on the log: as before the first entry."""
        self._lineage += 1
        self._replica.forgetting = True
        self._learning.clear()
        self.tail = Tail(Numbering(0, {}, 0), [])
        self.submissions = Submissions()
        self.floor = self.snapshot_index = 0
        self._found_orphans = []
        self._replayed.restore(None)
        forgotten: Deferred[None] = Deferred()

        def done() -> None:
            if not self._closed:
                forgotten.callback(None)

        self.store.forget(done)
        return forgotten

    # Taking another log in

    @inlineCallbacks
    def install(self, common: int, after: int) -> Generator["Deferred[Any]", Any, None]:
        """Part from what the leader has not, and from what is after `after`; `take_in` and `installed` follow."""
        if common < self.tail.end:
            runs = yield self._read_after(common)
            yield self._cut(common, runs)
        # Acts, and messages of base clients, that the leader took long ago may leave no trace in what it sends: brought
        # again they would be there twice. The acts are of sessions that are over; nobody was promised the messages.
        self._settle_orphans(self.submissions.drop_nameless())
        self._lineage += 1
        self._learning.clear()
        self._replica.incomplete = True
        self.tail.cut(after, [])
        self._replica.cut(after)
        begun: Deferred[None] = Deferred()
        self.store.install(after, partial(begun.callback, None))
        yield begun

    def take_in_ids(self, ids: list[tuple[str, int, float]]) -> None:
        """Keep ids of what the leader's snapshot stands for."""
        learning = {id: index for id, index, _ in ids}
        self._learning.update(learning)
        self.store.learn(ids)
        self.store.append([], self._then(self._learned, learning))
        for id, _, _ in ids:
            for entry in self.submissions.settle_id(id):
                self._replayed.repeated(entry, None, 0)
        self._settle_orphans([id for id, _, _ in ids])

    def _learned(self, ids: Iterable[str]) -> None:
        """Hear that the disk knows these, too."""
        for id in ids:
            self._learning.pop(id, None)

    def take_in(self, runs: list[Run], stored: Callable[[], None]) -> None:
        """Keep runs that the leader's snapshot stands for."""
        for run in runs:
            self.submissions.recognise(run)
            self._pass(run)
        self.store.append(runs, stored)

    def _pass(self, run: Run) -> None:
        """Answer for a run that is committed and will not be applied, since a snapshot stands for it."""
        for at, entry in enumerate(run.entries):
            if entry.retriable:
                self._replayed.repeated(entry, run, at)
        for entry, at in self.submissions.settle(run):
            self._replayed.repeated(entry, run, at)
        self._settle_orphans(run.ids)

    def installed(self, snapshot: Snapshot) -> None:
        """Go on from the leader's snapshot."""
        self._replica.incomplete = False
        self.store.save(snapshot)
        for run in self.tail.waiting:
            self._pass(run)
        epoch = self.tail.numbering.epoch
        self.tail = Tail(Numbering(snapshot.index, dict(snapshot.positions), epoch), list(snapshot.epochs))
        self.snapshot_index = self.floor = snapshot.index
        self._replica.appended(snapshot.index)
        self._replica.told_commit(snapshot.index)
        self._replayed.restore(snapshot.state)
        self.store.append([], self._then(self._durable, snapshot.index, []))
