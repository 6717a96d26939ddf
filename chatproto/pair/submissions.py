"""What was submitted and is not committed yet: who waits for it, and where it came from. Pure."""

from itertools import chain

from chatproto.log.entry import Entry, Run, unseal

_FOREIGN = Entry("", "", "", 0.0, b"")


class Submissions:
    """What was submitted on this node, or forwarded to it, and has no number yet; and whose ids are not committed yet.

    Attributes:
        pending: submitted on this node, or parted from by it: by id, in order, what was parted from first.
        forwarded: submitted on other nodes, each of which keeps its own until it finds them in the log; by node.
        orphans: ids of what this node has parted from and keeps on its disk until it is committed again.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.pending: dict[str, Entry] = {}
        self.forwarded: dict[str, list[Entry]] = {}
        self.orphans: set[str] = set()
        # Ids chosen by clients, that were submitted and are not committed; with who submitted them again.
        self._again: dict[str, list[Entry]] = {}

    def note(self, entry: Entry) -> None:
        """Note that an id is on its way."""
        if entry.retriable:
            self._again.setdefault(entry.id, [])

    def repeat(self, entry: Entry) -> bool:
        """Take an entry whose id is on its way already, to be answered at the commit; return whether it is."""
        again = self._again.get(entry.id)
        if again is not None:
            again.append(entry)
        return again is not None

    def await_commit(self, entry: Entry) -> None:
        """Take an entry whose id is in the log, not committed yet, to be answered then."""
        self._again.setdefault(entry.id, []).append(entry)

    def on_its_way(self, id: str) -> bool:
        """Whether an id was submitted, and is not committed."""
        return id in self._again

    def wait(self, entries: list[Entry]) -> None:
        """Keep entries that nobody may number now."""
        for entry in entries:
            self.pending[entry.id] = entry
            self.note(entry)

    def forward(self, node: str, entry: Entry) -> None:
        """Take what another node forwarded."""
        self.forwarded.setdefault(node, []).append(entry)
        self.note(entry)

    def take(self) -> list[Entry]:
        """Return, to be numbered, all that waits."""
        taken = [*self.pending.values(), *chain.from_iterable(self.forwarded.values())]
        self.pending.clear()
        self.forwarded.clear()
        return taken

    def drop_forwarded(self, *nodes: str) -> None:
        """Forget what these nodes forwarded, or all did: they still have it, and bring it to whoever leads."""
        dropped = [self.forwarded.pop(node, []) for node in nodes or list(self.forwarded)]
        for entry in chain.from_iterable(dropped):
            # Somebody may have said it again on this node, and more than once.
            again = self._again.pop(entry.id, [])
            self.wait(again[:1])
            for other in again[1:]:
                self.await_commit(other)

    def drop_nameless(self) -> list[str]:
        """Forget what has an id that no client chose, and return the ids: whether it is committed cannot be known."""
        nameless = [id for id, entry in self.pending.items() if not entry.retriable]
        for id in nameless:
            del self.pending[id]
        return nameless

    def settle_id(self, id: str) -> list[Entry]:
        """Hear that an id is committed, in an entry that this node does not see; return who submitted it."""
        entry = self.pending.pop(id, None)
        return [*([entry] if entry is not None else []), *self._again.pop(id, [])]

    def recognise(self, run: Run) -> None:
        """See which entries of a run, numbered by the other node, are of this one, and note that in it."""
        if not self.pending:
            return
        lines: list[bytes] = []
        for at, id in enumerate(run.ids):
            entry = self.pending.pop(id, None)
            if entry is None:
                continue
            lines = lines or run.lines()
            if run.kind == entry.kind and run.room == entry.room and lines[at].startswith(entry.head):
                run.entries = run.entries or [_FOREIGN] * len(run.ids)
                run.entries[at] = entry
            else:
                # Somebody said something else under this id, on the other node.
                self.await_commit(entry)

    def part(self, runs: list[Run]) -> list[Entry]:
        """Take runs back that this node parts from; return their entries, which are to be numbered again."""
        entries = [entry for run in runs for entry in unseal(run)]
        waiting, self.pending = self.pending, {}
        self.wait(entries)
        self.wait(list(waiting.values()))
        self.orphans.update(entry.id for entry in entries)
        return entries

    def settle(self, run: Run) -> list[tuple[Entry, int]]:
        """Hear that a run is committed; return who submitted which of it again, with the offset of that."""
        if not self._again:
            return []
        return [(entry, offset) for offset in run.retriable for entry in self._again.pop(run.ids[offset], ())]

    def settle_orphans(self, ids: list[str]) -> list[str]:
        """Hear that these are committed; return those of them that the disk need not keep any more."""
        settled = [id for id in ids if id in self.orphans] if self.orphans else []
        self.orphans.difference_update(settled)
        return settled
