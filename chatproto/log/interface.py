"""The seams of the log: `ILog`, which chat stands on, and `IStore`, which engines stand on.

Chat, news and the registry do not know which engine carries them, and an engine does not know which disk.
All calls are made, and all answers given, on the reactor's thread.
"""

from collections.abc import Callable, Iterable

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from chatproto.log.entry import Entry, Run


class Snapshot(msgspec.Struct):
    """The replayed state at one place of the log, so that starting does not replay a year.

    Attributes:
        index: the last entry that the state includes.
        epoch: the epoch of that entry.
        positions: the last position given out in each room, the rooms that are gone included.
        state: the state, encoded by whoever replays the log.
        first: the first position kept in each room; what lies below may be purged.
    """

    index: int
    epoch: int
    positions: dict[str, int]
    state: bytes
    first: dict[str, int]


class Slice(msgspec.Struct, gc=False):
    r"""A piece of a room's archive: `count` lines from `position` on, joined by newlines."""

    position: int
    count: int
    lines: bytes


class IStore(Interface):
    """A durable, ordered place for runs of entries; one process has it at a time."""

    def recover() -> tuple[Snapshot | None, Iterable[Run]]:
        """Return the newest snapshot, and every run after it in order. Called once, before anything else.

        Raises:
            StoreCorrupt: an index is missing or the rows contradict one another.
        """

    def append(runs: list[Run], done: Callable[[], None]) -> None:
        """Make the runs durable, then call `done`.

        Calls are made in the order of the appends. Several appends may be made durable at once. If it cannot
        be done, `done` is never called and the failure call of the opener is, once; nothing is written after that.
        """

    def save(snapshot: Snapshot) -> None:
        """Make a snapshot durable, in its turn after the appends before it; then purge what it makes unneeded.

        Purged are the acts up to it and, in each room, runs wholly below `first`.
        """

    def find(id: str) -> int | None:
        """Return the index of the entry with this id, if a client chose it and it was appended."""

    def run_of(index: int) -> "Deferred[Run | None]":
        """Read the durable run back that holds the entry with this index (without `entries`); None if it was purged."""

    def read(room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        """Read a room's archive from a position on, in order.

        At least one message if there is any at or after `position`, and no further one once it would pass
        `bytes_max` or `count_max`. The first slice starts at `position`, or later where that was purged.
        """

    def peek(room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        """Read as `read` does, at once: for the few kilobytes that are not worth the waiting."""

    def expired(before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        """Return, for each room that has any, the first position to keep.

        To be dropped are messages submitted before a Unix time (0: none), and the oldest
        ones, over all rooms, beyond `bytes_max` bytes of archive (0: no bound).
        """

    def close() -> "Deferred[None]":
        """Finish what was appended, then let the data directory go."""


class ILog(Interface):
    """The ordered durable log: submit on any node, and hear every entry committed, in order, once."""

    epoch: int = Attribute("the current epoch")
    role: str = Attribute("`leader` or `follower`")
    redundancy: str = Attribute("`single`, `paired`, `alone` or `isolated`")
    durable: int = Attribute("how many nodes hold what is committed now")
    position: int = Attribute("the index of the last entry committed")

    def open(
        restore: Callable[[bytes], None],
        replay: Callable[[Run], None],
        commit: Callable[[list[Run]], None],
        repeated: Callable[[Entry, Run | None, int], None],
        capture: Callable[[], tuple[bytes, dict[str, int]]],
    ) -> None:
        """Bring the replayed state to where this node's disk is, then go on with new entries.

        Args:
            restore: called at most once, first, with the state of the newest snapshot.
            replay: called for each run after it.
            commit: called from then on, for each batch of runs committed, in order.
            repeated: called for an entry whose id the log already holds, once that one is committed, with
                the entry submitted, and the run (None if retention has dropped it) and the offset in it
                of the one held. Nothing is added.
            capture: asked, from time to time, for the replayed state, encoded, and the first position kept in
                each room, for a snapshot.

        Raises:
            StoreError: the store cannot be opened.
        """

    def submit(entry: Entry) -> None:
        """Have an entry agreed on. All that is submitted in one reactor turn goes together."""

    def read(room: str, position: int, bytes_max: int, count_max: int) -> "Deferred[list[Slice]]":
        """Read a room's archive, as `IStore.read` does. What is durable but not committed yet may be read too."""

    def peek(room: str, position: int, bytes_max: int, count_max: int) -> list[Slice]:
        """Read at once, as `IStore.peek` does."""

    def expired(before: float, bytes_max: int) -> "Deferred[dict[str, int]]":
        """Find what retention should drop, as `IStore.expired` does."""

    def snapshot() -> None:
        """Save the replayed state as it is now, and purge what that makes unneeded."""

    def close() -> "Deferred[None]":
        """Finish what was submitted, then let the data directory go."""
