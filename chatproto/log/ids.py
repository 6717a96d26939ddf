"""The ids that clients chose, as a store knows them before its disk does. Pure."""

from collections import deque

from chatproto.log.entry import Run


class RecentIds:
    """The ids of what was appended since the newest snapshot, and which of the disk's own ids count no more.

    They go to the disk with a snapshot, and until they are there they are found here. Those of entries that are
    removed are forgotten at once, while the disk forgets them in its turn: in between, `hides` says which.
    """

    def __init__(self) -> None:
        self._recent: dict[str, int] = {}
        self._saving: deque[dict[str, int]] = deque()
        self._removing: deque[int] = deque()
        self._snapshot_index = 0
        self._installing = False

    def start(self, index: int) -> None:
        """Start after the newest snapshot, which is at `index`."""
        self._snapshot_index = index

    def remember(self, run: Run) -> None:
        """Take what is appended, or was since the newest snapshot."""
        for offset in run.retriable:
            self._recent[run.ids[offset]] = run.index + offset

    def save(self, index: int) -> dict[str, int] | None:
        """Return what has to go to the disk with a snapshot at `index`; None if that one is to be left out.

        `saved` has to be called when it is there. The dictionary may be kept, and is not to be changed.
        """
        # While one is being written the next is left out, for the one after it will hold more anyway; but no later
        # one would end an installation.
        if self._saving and not self._installing:
            return None
        self._installing = False
        self._snapshot_index = index
        ids, self._recent = self._recent, {}
        self._saving.append(ids)
        return ids

    def saved(self) -> None:
        """Hear that the oldest of the snapshots under way is durable, with its ids."""
        self._saving.popleft()

    def cut(self, after: int) -> None:
        """Forget every id of an entry after an index; `removed` has to be called when the disk has forgotten them."""
        # The dictionaries of snapshots that are being written stay as they are: another thread has them.
        self._recent = _up_to(after, self._recent)
        self._saving = deque(_up_to(after, ids) for ids in self._saving)
        self._removing.append(after)

    def install(self, after: int) -> int:
        """Forget as `cut` does; return after which index: 0 where `after` is below the newest snapshot."""
        if after < self._snapshot_index:
            after = self._snapshot_index = 0
        self._installing = True
        self.cut(after)
        return after

    def forget(self) -> None:
        """Forget every id; `removed` has to be called when the disk has forgotten them."""
        self._snapshot_index = 0
        self._installing = False
        self.cut(0)

    def removed(self) -> None:
        """Hear that the oldest of the removals under way is durable."""
        self._removing.popleft()

    def find(self, id: str) -> int | None:
        """Return the index of the entry with this id, if the disk need not be asked."""
        index = self._recent.get(id)
        if index is None:
            for ids in self._saving:
                index = ids.get(id, index)
        return index

    def hides(self, index: int) -> bool:
        """Return whether an id that the disk says is of this entry counts no more."""
        return any(index > after for after in self._removing)


def _up_to(last: int, ids: dict[str, int]) -> dict[str, int]:
    return {id: index for id, index in ids.items() if index <= last}
