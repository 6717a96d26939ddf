"""The end of a node's log: what is appended and not applied yet, and where two logs part. Pure."""

from collections import deque
from itertools import pairwise

from chatproto.log.entry import Epochs, Numbering, Run, note_epoch


class Tail:
    """The end of a log.

    Attributes:
        numbering: the next index, and each room's next position.
        epochs: see `chatproto.log.entry.Epochs`.
        applied: the last index that was handed to whoever stands on the log.
        waiting: runs after `applied`, in order.
    """

    def __init__(self, numbering: Numbering, epochs: Epochs) -> None:
        """Begin where everything is applied."""
        self.numbering = numbering
        self.epochs = epochs
        self.applied = numbering.index
        self.waiting: deque[Run] = deque()

    @property
    def end(self) -> int:
        """The last index."""
        return self.numbering.index

    @property
    def epoch(self) -> int:
        """The epoch of the last entry; 0 for an empty log."""
        return self.epochs[-1][0] if self.epochs else 0

    def number(self, run: Run) -> None:
        """Take a run that `numbering` has just sealed."""
        note_epoch(self.epochs, run)
        self.waiting.append(run)

    def extend(self, run: Run) -> None:
        """Take a run that another node has numbered."""
        self.numbering.index = run.last
        if run.position:
            self.numbering.positions[run.room] = run.last_position
        self.number(run)

    def take(self, index: int) -> list[Run]:
        """Return the runs up to an index, to be applied."""
        taken: list[Run] = []
        waiting = self.waiting
        while waiting and waiting[0].last <= index:
            taken.append(waiting.popleft())
        if taken:
            self.applied = taken[-1].last
        return taken

    def unapplied_after(self, index: int) -> list[Run]:
        """Return the runs after an index that were not applied yet."""
        return [run for run in self.waiting if run.index > index]

    def cut(self, index: int, runs: list[Run]) -> None:
        """Part from everything after an index.

        Args:
            index: the last one that stays.
            runs: all runs after it, applied ones too, in order.
        """
        for run in reversed(runs):
            if run.position:
                self.numbering.positions[run.room] = run.position - 1
        self.numbering.index = index
        self.epochs = [(epoch, first) for epoch, first in self.epochs if first <= index]
        while self.waiting and self.waiting[-1].index > index:
            self.waiting.pop()
        self.applied = min(self.applied, index)

    def positions_at(self, index: int) -> dict[str, int]:
        """Return each room's last position at an index from which on nothing is applied."""
        positions = dict(self.numbering.positions)
        for run in reversed(self.waiting):
            if run.index > index and run.position:
                positions[run.room] = run.position - 1
        return positions

    def epochs_at(self, index: int) -> Epochs:
        """Return the epochs of the entries up to an index."""
        return [(epoch, first) for epoch, first in self.epochs if first <= index]


def common(mine: Epochs, my_end: int, theirs: Epochs, their_end: int) -> int:
    """Return the last index up to which two logs are the same.

    An entry is its index and its epoch: whoever numbers in an epoch gives an index once. So if two logs share an epoch,
    all before it is shared too, and of it as much as both have (Ongaro and Ousterhout, "In Search of an
    Understandable Consensus Algorithm", 2014, the log matching property).
    """
    lasts = _lasts(theirs, their_end)
    for epoch, last in reversed(_lasts(mine, my_end).items()):
        if epoch in lasts:
            return min(last, lasts[epoch])
    return 0


def _lasts(epochs: Epochs, end: int) -> dict[int, int]:
    lasts = {epoch: following - 1 for (epoch, _), (_, following) in pairwise(epochs)}
    if epochs:
        lasts[epochs[-1][0]] = end
    return lasts
