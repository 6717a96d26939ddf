"""The leader's log on its way to the follower."""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.link import Turn
from chatproto.log.entry import Epochs, Run, Snapshot
from chatproto.log.interface import IStore
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import Append, Begin, Commit, Follow, Ids, Install, Installed, sent_run
from chatproto.pair.tail import common

CHUNK_BYTES = 16 * 1024
"""What is read from the disk in one go for a follower that is behind: clients wait for no longer than that takes."""
PAUSE_S = 0.002
"""Between two such pieces, so that most of what clients say meets none, as long as the follower gains on them."""
IDS_AT_ONCE = 5_000
"""Ids that are read and sent in one go."""
LAG_BYTES_MAX = 4 * 1024 * 1024
"""A follower that has so much still to take is fed from the disk again, when it has taken that."""

log = Logger()


class Leader(Protocol):
    """What a feed has to know of the leader."""

    def log_state(self) -> tuple[int, int, int, int, Epochs]:
        """Return the epoch, the commit, the last durable index, the last index, and the epochs of the log."""

    def feed_begins(self, feed: "Feed", common: int) -> bool:
        """Hear from where on the follower is fed; return whether it may be."""

    def feed_failed(self, reason: str) -> None:
        """Hear that the disk does not give the log."""

    def feed_caught_up(self, feed: "Feed") -> None:
        """Hear that the follower is sent what is new as it comes."""


class Feed:
    """What one follower is sent. Only what is durable here is sent: a leader that starts again knows all of it.

    Attributes:
        link: the link to the follower.
        follow: what it asked for, as far as it is not sent yet.
        begun: whether the follower was told from where on it is fed.
        dismissed: whether the follower knows that it is no member, and is not about to be.
        live: whether what becomes durable is sent at once, rather than read back later.
        sent: the last index sent.
    """

    def __init__(self, leader: Leader, link: PeerLink, follow: Follow, store: IStore, turn: Turn) -> None:
        """Begin to feed whoever asked to follow over a link."""
        self.link = link
        self.begun = self.dismissed = False
        self.live = False
        self.sent = 0
        self._leader = leader
        self.follow = follow
        self._store = store
        self._turn = turn
        self._ended = False
        self._install_to = 0
        self._hole_after: int | None = None
        # What was durable, and so on the disk or purged, when it was read last.
        self._there = 0
        # How many entries were still to be sent when a piece was sent last.
        self._lag = 0
        self._told_commit = 0
        self._commit_due = False
        self._begin()

    def end(self) -> None:
        """Feed no more."""
        self._ended = True
        self.live = False

    # From the disk

    def _begin(self) -> None:
        self._then(self._store.saved(), self._begin_after)

    def _begin_after(self, snapshot: Snapshot | None) -> None:
        epoch, _, durable, end, epochs = self._leader.log_state()
        follow = self.follow
        shared = common(epochs, end, follow.epochs, follow.end)
        if not self._leader.feed_begins(self, shared):
            return
        if self._hole_after is not None and (snapshot is None or snapshot.index <= self._hole_after):
            self._leader.feed_failed(f"entry {self._hole_after + 1} of the log is missing or damaged")
            return
        self._hole_after = None
        if snapshot is None or shared >= snapshot.index:
            self.link.say(Begin(follow.number, epoch, shared, durable, end))
            self.sent = shared
            self._install_to = 0
        else:
            kept = shared if shared >= follow.snapshot else 0
            self.link.say(Install(follow.number, epoch, shared, kept, durable, end, snapshot))
            self.sent = kept
            self._install_to = snapshot.index
        self.begun = True
        self._read()

    def _read_ids(self, after: str) -> None:
        if not self._ended:
            self._then(self._store.ids(after, IDS_AT_ONCE), self._send_ids)

    def _send_ids(self, ids: list[tuple[str, int, float]]) -> None:
        """Send the ids of what the follower may never see, and after the last of them end the installation."""
        epoch = self._leader.log_state()[0]
        if not ids:
            self.link.say(Installed(epoch))
            self.sent, self._install_to = self._install_to, 0
            self._read()
            return
        self.link.say(Ids(epoch, [row for row in ids if row[1] <= self._install_to]))
        self.link.when_clear(lambda: self._read_ids(ids[-1][0]))

    def _read(self) -> None:
        if not self._ended:
            self._there = self._leader.log_state()[2]
            self._then(self._store.runs(self.sent, CHUNK_BYTES), self._read_some)

    def _read_some(self, runs: list[Run]) -> None:
        epoch, commit, durable, _, _ = self._leader.log_state()
        if self._install_to:
            archived = [run for run in runs if run.index <= self._install_to]
            if archived:
                self._send(epoch, commit, archived)
            more = bool(runs) and len(archived) == len(runs)
            self.link.when_clear(self._read_on if more else lambda: self._read_ids(""))
            return
        whole = _without_hole(runs, self.sent)
        if whole:
            self._send(epoch, commit, whole)
        if len(whole) < len(runs) or (not runs and self.sent < self._there):
            # A snapshot was saved meanwhile, and what it stands for is purged.
            self._hole_after = self.sent
            self.follow = replace(self.follow, end=self.sent, epochs=self._leader.log_state()[4])
            self._begin()
            return
        if self.sent >= durable:
            self.live = True
            self.committed()
            self._leader.feed_caught_up(self)
        else:
            self.link.when_clear(self._read_on)

    def _read_on(self) -> None:
        lag = self._leader.log_state()[2] - self.sent
        gains, self._lag = lag < self._lag, lag
        if gains:
            self.link.clock.callLater(PAUSE_S, self._read)
        else:
            self._read()

    def _then(self, reading: "Deferred[Any]", call: Callable[[Any], None]) -> None:
        def go_on(result: Any) -> None:
            if not self._ended:
                call(result)

        reading.addCallback(go_on)
        reading.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        log.failure("the log cannot be read for the follower", failure)
        self._leader.feed_failed(f"the log cannot be read: {failure.getErrorMessage()}")

    # As it comes

    def durable(self, runs: list[Run]) -> None:
        """Take runs that have become durable."""
        if not self.live:
            return
        if self.link.backlog_bytes > LAG_BYTES_MAX:
            self.live = False
            self.link.when_clear(self._read)
            return
        fresh = [run for run in runs if run.index > self.sent]
        if fresh:
            epoch, commit, _, _, _ = self._leader.log_state()
            self._send(epoch, commit, fresh)

    def committed(self) -> None:
        """Hear that the log is committed further; the follower is told at the end of the turn, if not before."""
        if self.live and not self._commit_due:
            self._commit_due = True
            self._turn.at_end(self._tell_commit)

    def _tell_commit(self) -> None:
        self._commit_due = False
        epoch, commit, _, _, _ = self._leader.log_state()
        if not self._ended and commit > self._told_commit:
            self._told_commit = commit
            self.link.say(Commit(epoch, commit))

    def _send(self, epoch: int, commit: int, runs: list[Run]) -> None:
        self._told_commit = commit
        self.link.say(Append(epoch, commit, [sent_run(run) for run in runs]))
        self.sent = runs[-1].last


def _without_hole(runs: list[Run], end: int) -> list[Run]:
    """Return the runs that follow an entry, and one another."""
    for at, run in enumerate(runs):
        if run.index != end + 1:
            return runs[:at]
        end = run.last
    return runs
