"""What whoever stands on a log is told from the disk: all of it at the start, and later what was submitted again."""

from collections.abc import Callable

import msgspec
from twisted.logger import Logger

from chatproto.errors import StoreCorrupt, StoreError
from chatproto.log.entry import MESSAGE, Entry, Epochs, Run, note_epoch
from chatproto.log.interface import IStore, Replayed

SNAPSHOT_ENTRIES = 50_000
"""Entries between snapshots: replaying so many takes well under a second."""

log = Logger()


class Recovered(msgspec.Struct):
    """Where the disk is.

    Attributes:
        index: of the last entry.
        positions: each room's last position.
        epochs: every epoch that entries have, with the index of its first entry.
        snapshot_index: of the newest snapshot; 0 for none.
    """

    index: int
    positions: dict[str, int]
    epochs: Epochs
    snapshot_index: int

    def take(self, run: Run) -> None:
        """Go on by a run.

        Raises:
            StoreCorrupt: a message before it is missing.
        """
        if run.kind == MESSAGE:
            last = self.positions.get(run.room, 0)
            # A snapshot's positions may be ahead of its index: they may count what was not committed yet.
            if run.position > last + 1 or run.position < 1:
                raise StoreCorrupt(
                    f"{run.room} has no message {last + 1}: restore the log from the other node or a backup"
                )
            self.positions[run.room] = max(last, run.last_position)
        note_epoch(self.epochs, run)
        self.index = run.last


def _pass_over(run: Run) -> None:
    pass


def recover(store: IStore, replayed: Replayed, seen: Callable[[Run], object] = _pass_over) -> Recovered:
    """Replay a store that was just opened; `seen` is called with each run, too.

    Raises:
        StoreCorrupt: something is missing, or cannot be replayed.
    """
    found = Recovered(0, {}, [], 0)
    try:
        snapshot, runs = store.recover()
        if snapshot is not None:
            replayed.restore(snapshot.state)
            epochs = list(snapshot.epochs) or [(snapshot.epoch, 1)]
            found = Recovered(snapshot.index, snapshot.positions, epochs, snapshot.index)
        for run in runs:
            found.take(run)
            seen(run)
            replayed.replay(run)
    except StoreError:
        raise
    except Exception as error:
        raise StoreCorrupt(
            f"the log cannot be replayed beyond entry {found.index} ({error!r}): "
            "restore it from the other node or a backup"
        ) from error
    return found


def answer_from_store(store: IStore, replayed: Replayed, entry: Entry, index: int) -> None:
    """Answer an entry that was submitted again, and is committed at an index, once that is read back."""
    held = store.run_of(index)
    held.addCallback(lambda run: replayed.repeated(entry, run, index - run.index if run else 0))
    held.addErrback(lambda failure: log.failure("reading entry {index} back", failure, index=index))
