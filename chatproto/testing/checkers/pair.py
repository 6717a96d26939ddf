"""What must hold of two nodes that agree on one log, with a witness or without. Pure.

`Logs` knows what is durable on each node, `Agreement` who said that what is committed. The numbers are those of the
invariants in `Agreement`.
"""

from collections.abc import Iterable

from chatproto.log.entry import MESSAGE, Run
from chatproto.pair.configuration import Configuration
from chatproto.testing.checkers.chronicle import Chronicle, Record, Violation, records_of

WITNESS = "the witness"


class Copy:
    """A node's log, as its disk has it; entries that a snapshot stands for included.

    Attributes:
        records: the entries, in order; the first has the index 1.
        cuts: how often entries were removed from it.
    """

    def __init__(self) -> None:
        """Start with an empty log."""
        self.records: list[Record] = []
        self.cuts = 0
        self._ids: dict[str, int] = {}
        self._rooms: dict[str, list[int]] = {}

    @property
    def position(self) -> int:
        """The index of the last entry."""
        return len(self.records)

    def __contains__(self, id: str) -> bool:
        """Say whether an entry has this id."""
        return id in self._ids

    def epoch(self, index: int) -> int:
        """Return the epoch of an entry; 0 if it is not there."""
        return self.records[index - 1].epoch if 0 < index <= len(self.records) else 0

    def before(self, record: Record) -> tuple[int, int]:
        """Return the epochs of the entry before one that would come next, and of the message before it in its room."""
        epochs = self._rooms.get(record.room, ()) if record.kind == MESSAGE else ()
        return self.epoch(record.index - 1), epochs[-1] if epochs else 0

    def add(self, record: Record) -> None:
        """Take the entry that comes next.

        Raises:
            Violation: it does not, or its id is there already, or its epoch is lower than the one before.
        """
        if record.index != self.position + 1:
            raise Violation(f"entry {self.position + 1} is missing: after it comes {record}")
        if record.id in self._ids:
            raise Violation(f"one id is in a log twice: {self.records[self._ids[record.id] - 1]} and {record}")
        if record.epoch < self.epoch(self.position):
            raise Violation(f"the epoch falls: {self.records[-1]} and then {record}")
        self.records.append(record)
        self._ids[record.id] = record.index
        if record.kind == MESSAGE:
            epochs = self._rooms.setdefault(record.room, [])
            epochs.append(record.epoch)
            if record.position != len(epochs):
                raise Violation(f"in {record.room} position {len(epochs)} comes next, not that of {record}")

    def cut(self, index: int) -> list[Record]:
        """Lose everything after an index; return it."""
        removed = self.records[index:]
        if removed:
            self.cuts += 1
        del self.records[index:]
        for record in removed:
            del self._ids[record.id]
            if record.kind == MESSAGE:
                self._rooms[record.room].pop()
        return removed


class Logs:
    """What became durable on any node. Invariants 2 and 9.

    The same index and epoch are the same entry, after the same entry; so what two logs have up to there is the same.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._copies: dict[str, Copy] = {}
        self._entries: dict[tuple[int, int], tuple[Record, tuple[int, int]]] = {}

    def of(self, node: str) -> Copy:
        """Return the log of a node."""
        if node not in self._copies:
            self._copies[node] = Copy()
        return self._copies[node]

    def grow(self, node: str, runs: Iterable[Run]) -> None:
        """Take what became durable on a node.

        Raises:
            Violation: it is not what comes next, or is something else under the same number.
        """
        copy = self.of(node)
        for run in runs:
            for record in records_of(run):
                entry = record, copy.before(record)
                held = self._entries.setdefault((record.index, record.epoch), entry)
                if held != entry:
                    raise Violation(f"{node} has {entry[0]} after {entry[1]}; with this number there was {held}")
                copy.add(record)

    def install(self, node: str, index: int, epoch: int, runs: Iterable[Run]) -> None:
        """Take that a node has another node's log up to an entry, whole or with holes: `runs`.

        Raises:
            Violation: there is no such entry, or a run is something else.
        """
        path: list[Record] = []
        key = (index, epoch)
        while key[0]:
            if key not in self._entries:
                raise Violation(
                    f"{node} has a snapshot of entry {index} of epoch {epoch}, and {key} was nowhere durable"
                )
            record, (before, _) = self._entries[key]
            path.append(record)
            key = (record.index - 1, before)
        copy = self.of(node)
        copy.cut(0)
        for record in reversed(path):
            copy.add(record)
        for run in runs:
            for record in records_of(run):
                if copy.records[record.index - 1] != record:
                    raise Violation(f"{node} was sent {record} in place of {copy.records[record.index - 1]}")

    def holds(self, node: str, index: int, epoch: int) -> bool:
        """Say whether a node has an entry, and so all before it."""
        return index == 0 or self.of(node).epoch(index) == epoch

    def room_epoch_before(self, record: Record) -> int:
        """Return the epoch of the message before one in its room; 0 if there is none."""
        return self._entries[record.index, record.epoch][1][1]


class Agreement:
    """Who leads, and what is committed. The other invariants are those of `Logs`, `Chronicle` and the views.

    | | |
    | --- | --- |
    | 1 | at most one node commits in an epoch, and an epoch has one configuration |
    | 3, 11 | with a witness, what is committed never changes |
    | 4, 7 | what a leader commits is durable on every member, on its own disk, and so is its configuration |
    | 5 | with a witness, nothing committed is cut away from a member |
    | 6 | with a witness, every member of the newest configuration holds everything committed, its leader too |
    | 8 | the epoch on a disk never falls |
    | 13 | an orphan whose id a client chose, and may wait for, is forgotten only when it is committed |
    """

    def __init__(self, logs: Logs, chronicle: Chronicle | None) -> None:
        """Begin before there is a configuration.

        Args:
            logs: what is durable.
            chronicle: takes what is committed; None where committed entries may move: without a witness, or where an
                operator allows that data are lost.
        """
        self.newest: Configuration | None = None
        self._logs = logs
        self._chronicle = chronicle
        self._on_disk: dict[str, Configuration] = {}
        self._of_epoch: dict[int, Configuration] = {}
        self._leaders: dict[int, str] = {}
        self._committed: set[tuple[int, int]] = set()
        self._committed_ids: set[str] = set()
        self._orphans: dict[str, dict[str, bool]] = {}
        self._blank: set[str] = set()
        self._lost: dict[str, set[tuple[int, int]]] = {}

    def _members(self) -> tuple[str, ...]:
        return self.newest.members if self.newest is not None else ()

    # What is durable

    def configured(self, where: str, configuration: Configuration | None) -> None:
        """Take what a node's disk, or that of the witness, has for a configuration.

        Raises:
            Violation: its epoch has fallen, or has another configuration elsewhere.
        """
        before = self._on_disk.get(where)
        if configuration is None:
            if before is not None and (where == WITNESS or where in self._members()):
                raise Violation(f"{where} had {before} on its disk, and has nothing")
            self._on_disk.pop(where, None)
            return
        if before is not None and configuration.epoch < before.epoch:
            raise Violation(f"the epoch on the disk of {where} falls: from {before} to {configuration}")
        self._on_disk[where] = configuration
        known = self._of_epoch.setdefault(configuration.epoch, configuration)
        if known != configuration:
            raise Violation(f"{where} has {configuration}; in that epoch there is {known}")
        if where == WITNESS:
            self.newest = configuration
            self._check_members()

    def cut(self, node: str, index: int, *, installing: bool) -> None:
        """Take that a node's disk has lost everything after an index, perhaps to take in another's log, or to stand by.

        Raises:
            Violation: something committed was among it.
        """
        for record in self._logs.of(node).cut(index):
            if self._chronicle is None or (record.index, record.epoch) not in self._committed:
                continue
            if not installing or (node in self._members() and node not in self._blank):
                raise Violation(f"{node} has cut {record} away, which was committed")

    def wiped(self, node: str) -> None:
        """Take that a node's disk was replaced by an empty one: it counts again when it has everything again."""
        lost = self._logs.of(node).cut(0)
        self._on_disk.pop(node, None)
        self._orphans.pop(node, None)
        self._blank.add(node)
        # It may have said so, and be believed, until it is there again.
        self._lost.setdefault(node, set()).update((record.index, record.epoch) for record in lost)

    def orphans(self, node: str, kept: dict[str, bool]) -> None:
        """Take which orphans a node's disk has, each with whether a client chose its id.

        Raises:
            Violation: one with such an id is among them no longer, and was never committed.
        """
        for id, chosen in self._orphans.get(node, {}).items():
            if chosen and id not in kept and id not in self._committed_ids:
                raise Violation(f"{node} has forgotten {id}, which it had parted from and nobody committed since")
        self._orphans[node] = kept

    # What is committed

    def committed(self, node: str, configuration: Configuration | None, index: int, *, leads: bool) -> list[Record]:
        """Take up to where a node has the log committed; return what was not committed before, anywhere.

        Raises:
            Violation: it cannot be.
        """
        copy = self._logs.of(node)
        epoch = copy.epoch(index)
        if index > copy.position:
            raise Violation(f"{node} has entry {index} committed, and its disk ends at {copy.position}")
        fresh = []
        if leads:
            at = index
            while at and (at, copy.epoch(at)) not in self._committed:
                fresh.append(copy.records[at - 1])
                at -= 1
            fresh.reverse()
            if fresh:
                self._check_leader(node, configuration, index, epoch)
            self._committed.update((record.index, record.epoch) for record in fresh)
            self._committed_ids.update(record.id for record in fresh)
        elif index and (index, epoch) not in self._committed:
            raise Violation(f"{node} has entry {index} of epoch {epoch} committed, which nobody committed who leads")
        if self._chronicle is not None:
            self._extend(self._chronicle, node, copy, index)
        return fresh

    def _check_leader(self, node: str, configuration: Configuration | None, index: int, epoch: int) -> None:
        kept = self._on_disk.get(node)
        if configuration is None or kept is None or configuration.epoch > kept.epoch:
            raise Violation(f"{node} leads with {configuration}, and has {kept} on its disk")
        leader = self._leaders.setdefault(configuration.epoch, node)
        if leader != node or configuration.leader != node:
            raise Violation(f"{node} commits in epoch {configuration.epoch}, in which {leader} does")
        if not self.may_commit(node, configuration, index):
            there = {member: self._logs.of(member).epoch(index) for member in configuration.members}
            raise Violation(
                f"{node} has committed entry {index} of epoch {epoch} with {configuration}; of what epochs members "
                f"hold it: {there}"
            )

    def may_commit(self, node: str, configuration: Configuration | None, index: int) -> bool:
        """Say whether every member of a configuration holds what a node has up to an index."""
        key = (index, self._logs.of(node).epoch(index))
        return configuration is not None and all(
            self._logs.holds(member, *key) or key in self._lost.get(member, ()) for member in configuration.members
        )

    def _extend(self, chronicle: Chronicle, node: str, copy: Copy, index: int) -> None:
        if index <= chronicle.position:
            if index and chronicle.records[index - 1].epoch != copy.epoch(index):
                raise Violation(f"entry {index} was {chronicle.records[index - 1]} and is {copy.records[index - 1]}")
            return
        for record in copy.records[max(0, chronicle.position - 1) : index]:
            chronicle.take(record)
        self._check_members()

    def _check_members(self) -> None:
        if self._chronicle is None or self.newest is None or not self._chronicle.position:
            return
        last = self._chronicle.records[-1]
        for member in self.newest.members:
            if self._logs.holds(member, last.index, last.epoch):
                self._blank.discard(member)
            elif member not in self._blank:
                raise Violation(f"{member} is one of {self.newest}, and does not hold what is committed: {last}")

    def check_healed(self, nodes: Iterable[str], acknowledged: Iterable[str]) -> None:
        """Check, once nothing is wrong any more and nothing under way, that nodes have the same. Invariant 12.

        Raises:
            Violation: their logs differ, or something acknowledged is not there, or an orphan is.
        """
        first, *others = nodes
        mine = self._logs.of(first).records
        for other in others:
            theirs = self._logs.of(other).records
            if mine != theirs:
                at = next((at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
                raise Violation(
                    f"{first} and {other} have {len(mine)} and {len(theirs)} entries, which differ from "
                    f"{'the end of one' if at is None else (mine[at], theirs[at])} on"
                )
        for id in acknowledged:
            if id not in self._logs.of(first):
                raise Violation(f"{id} was acknowledged, and is in no log")
        for node, kept in self._orphans.items():
            if kept:
                raise Violation(f"{node} keeps orphans that are in its log again: {kept}")

    def holds_everything(self, node: str) -> bool:
        """Say whether a node's disk has all that was committed, and it is not one that was lost."""
        if self._chronicle is None or not self._chronicle.position:
            return False
        last = self._chronicle.records[-1]
        return node not in self._blank and self._logs.holds(node, last.index, last.epoch)
