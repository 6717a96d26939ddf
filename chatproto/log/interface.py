"""The seams of the log: `ILog`, which chat stands on, and `IStore`, which engines stand on.

Chat, news and the registry do not know which engine carries them, and an engine does not know which disk.
All calls are made, and all answers given, on the reactor's thread.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from chatproto.log.entry import Entry, Run, Slice, Snapshot

__all__ = ["Found", "ILog", "ISearch", "IStore", "Peer", "Replayed", "Slice", "Snapshot", "Wanted"]


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

    def configuration() -> bytes | None:
        """Return what `configure` kept last; None if nothing ever was. Called before any change."""

    def configure(configuration: bytes, done: Callable[[], None]) -> None:
        """Make the configuration of the pair durable, in its turn among the appends, then call `done`."""

    def orphans() -> list[tuple[str, bytes]]:
        """Return what `cut` kept and `adopted` did not name since, oldest first. Called before any change.

        Each is an id, and the entry as the caller of `cut` encoded it.
        """

    def cut(after: int, orphans: list[tuple[str, bytes]], done: Callable[[], None]) -> None:
        """Remove every entry after an index, which is not below the newest snapshot; then call `done`.

        In its turn among the appends, and in one transaction with keeping `orphans`: what is removed is in the
        log or among the orphans at any time. The ids of the entries are no longer found. An orphan whose id is
        kept already is kept once.
        """

    def adopted(ids: list[str]) -> None:
        """Drop these orphans: they are in the log again, and committed."""

    def runs(after: int, bytes_max: int) -> "Deferred[list[Run]]":
        """Read the durable runs after an index back, in order, leaving out what was purged.

        At least one if there is any, and no further one once their bodies pass `bytes_max`.
        """

    def saved() -> "Deferred[Snapshot | None]":
        """Read the newest durable snapshot back; acts up to its index may have been purged."""

    def install(after: int, done: Callable[[], None]) -> None:
        """Begin to take in another node's log: remove every entry after an index, and mark that; then call `done`.

        In its turn among the appends. The appends after it leave out what the other node has purged; the next
        `save` ends it, and may come at any time. If the process ends before that, `recover` finds what was there up
        to `after`, and nothing else. Where `after` is below the newest snapshot, that and all is removed, as by 0.
        """

    def forget(done: Callable[[], None]) -> None:
        """Remove everything, the configuration and the orphans included, in its turn among the appends; call `done`."""

    def ids(after: str, count_max: int) -> "Deferred[list[tuple[str, int, float]]]":
        """Read ids that clients chose back, sorted, those after an id; each with its entry's index and a time.

        Only those that went to the disk with a snapshot, also of entries that are purged. The time is in Unix seconds,
        and never before the entry's own.
        """

    def learn(ids: list[tuple[str, int, float]]) -> None:
        """Keep ids that `ids` gave on the other node, while its log is taken in, in their turn among the appends."""

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


class Wanted(msgspec.Struct, frozen=True):
    """What is looked for in the archives.

    Attributes:
        match: an expression of SQLite's FTS5 over the contents.
        rooms: where, each with the first and the last position that count.
        before: of a room, only what has a lower position; of the others, only what was committed before that. None
            for everything.
        limit: messages at most.
    """

    match: str
    rooms: dict[str, tuple[int, int]]
    before: tuple[str, int] | None = None
    limit: int = 20


class Found(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        lines: rooms and stored lines, the newest first.
        more: whether there is more; also where it was not looked for to the end.
        complete: whether it was.
    """

    lines: list[tuple[str, bytes]]
    more: bool
    complete: bool = True


class ISearch(Interface):
    """Finds messages of a log by their words. What it knows is derived: the log is the truth."""

    def advance(position: int, first: dict[str, int]) -> "Deferred[int]":
        """Take in a piece of the log, in order.

        Args:
            position: what comes after it is not committed yet.
            first: the first position kept in each room that ever dropped one; what is below is forgotten.

        Returns:
            How many entries are still to be taken in, or 1 if there is still to be forgotten something.
        """

    def find(wanted: Wanted) -> "Deferred[Found]":
        """Look for messages in what was taken in; everything found is in the log as it is now."""

    def close() -> "Deferred[None]":
        """Let the disk go."""


class Replayed(Protocol):
    """What stands on a log: its state is what replaying the log gives."""

    def restore(self, state: bytes | None) -> None:
        """Become a state that `capture` gave, on whatever node; None: as before the first entry.

        First of all, where there is a snapshot. Again whenever this node has to part from what it had
        committed or take the log of the other node, followed by `replay` of what came after.
        """

    def rewound(self, first: dict[str, int]) -> None:
        """Hear, before `restore`, that this node parts from messages that had been committed here.

        That happens without a witness only, when two nodes meet again that went on without each other.

        Args:
            first: for each room that is concerned, the first position that does not hold any more.
        """

    def replay(self, run: Run) -> None:
        """Take a run, in order, that nobody is to be told of."""

    def commit(self, runs: list[Run]) -> None:
        """Take runs that are committed now, in order."""

    def repeated(self, entry: Entry, run: Run | None, offset: int) -> None:
        """Hear that an entry was submitted whose id the log holds already, once that one is committed.

        Args:
            entry: as it was submitted; nothing is added.
            run: which has the entry held; None if retention has dropped it.
            offset: of the one held, in that run.
        """

    def capture(self) -> tuple[bytes, dict[str, int]]:
        """Return the state, encoded, and the first position kept in each room, for a snapshot."""

    def changed(self) -> None:
        """Hear that `epoch`, `role`, `redundancy` or `serving` is another, or that a link to the other node is up."""

    def told(self, note: bytes) -> None:
        """Take a note from the other node's `tell`."""


class Peer(msgspec.Struct, frozen=True):
    """The other node, as far as it is known.

    Attributes:
        name: its name; empty before it was heard.
        role: `leader` or `follower`; empty while it is not heard.
        lag: how many entries it is behind, as far as this node can know.
    """

    name: str
    role: str
    lag: int


class ILog(Interface):
    """The ordered durable log: submit on any node, and hear every entry committed, in order, once."""

    epoch: int = Attribute("the current epoch")
    role: str = Attribute("`leader` or `follower`")
    redundancy: str = Attribute("`single`, `paired`, `alone` or `isolated`")
    serving: bool = Attribute("whether what is submitted here can be committed, as far as this node knows")
    durable: int = Attribute("how many nodes hold what is committed now")
    position: int = Attribute("the index of the last entry committed and taken by whoever stands on the log")
    witness: bool | None = Attribute("whether the witness of the pair is reached; None where there is none")
    waits_for: str = Attribute("the node without whose log this one cannot serve; empty where there is none")
    peers: list[Peer] = Attribute("the other nodes; empty where none is configured")

    def open(replayed: Replayed) -> None:
        """Bring the replayed state to where this node's disk is, then go on with new entries.

        Raises:
            StoreError: the store cannot be opened.
        """

    def submit(entry: Entry) -> None:
        """Have an entry agreed on. All that is submitted in one reactor turn goes together, in order.

        While this node is not `serving` entries wait.
        """

    def had(epoch: int) -> bool:
        """Return whether entries of this log have an epoch, those that are purged included."""

    def tell(note: bytes) -> bool:
        """Send a note to the other node's `Replayed.told`; return whether there is a link. It may be lost with that."""

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
