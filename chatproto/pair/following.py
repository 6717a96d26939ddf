"""A follower's side of the peer link: it takes the leader's log, parting from what the leader has not.

Two logs that are not the same to the end have parted after the last entry that both have; what this node has beyond,
nobody else has, and it is submitted again. That is decided by epochs alone: where this node believed the log
to be committed does not matter.
"""

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import WireError
from chatproto.link import Turn
from chatproto.log.entry import Entry, Snapshot
from chatproto.log.gathering import Gathering
from chatproto.pair.journal import Journal
from chatproto.pair.leading import Node
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import (
    Append,
    Appended,
    Begin,
    Commit,
    Dismissed,
    Follow,
    Forward,
    Ids,
    Install,
    Installed,
    PeerMessage,
    received_run,
    sent_entry,
)
from chatproto.pair.replica import Replica
from chatproto.pair.states import Role

UNDURABLE_BYTES_MAX = 16 * 1024 * 1024
"""A follower reads no further while its disk is so much behind."""

log = Logger()

OfTheLog = Begin | Install | Ids | Installed | Dismissed | Append | Commit


class Following:
    """What a follower does with its leader.

    Attributes:
        leader: the link over which the leader lets this node follow; None while it does not.
        counts: whether this node has asked to be a member.
        dismissed: whether the leader has said that this node, which has not, may forget the log.
        in_line: whether what is durable here is the leader's log, not what this node is about to part from.
    """

    def __init__(
        self, node: Node, replica: Replica, journal: Journal, turn: Turn, fatal: Callable[[str], None]
    ) -> None:
        """Make a follower's side; `fatal` is called when its disk cannot be read."""
        self._fatal = fatal
        self._outgoing = Gathering(turn, self._forward)
        self.leader: PeerLink | None = None
        self._node = node
        self._replica = replica
        self._journal = journal
        # The link over which this node has asked to follow last.
        self._asked: PeerLink | None = None
        self._number = 0
        # What the leader had of ours when it let us follow is in its log up to here, or was lost on the way.
        self._forward_after = 0
        # With its log up to here, this node holds all that is committed.
        self._whole_at = 0
        self._forwarding = False
        self.counts = True
        self.dismissed = False
        self.in_line = False
        self._undurable_bytes = 0
        self._installing: Snapshot | None = None
        # What arrives while this node parts from something; None while it does not.
        self._inbox: list[tuple[PeerLink, OfTheLog]] | None = None

    # Asking

    def ask(self, link: PeerLink | None, *, counts: bool = True) -> None:
        """Ask to follow, over a link that this node has dialled, if the other node leads, and both know it.

        Args:
            link: to the leader, if there is one.
            counts: whether this node wants to be a member.
        """
        replica, configuration = self._replica, self._replica.configuration
        if link is None or link.hello is None or configuration is None or replica.busy or self._asked is link:
            return
        follows = replica.role in (Role.FOLLOWER, Role.LEARNER, Role.ISOLATED)
        if follows and link.epoch == configuration.epoch and link.hello.name == configuration.leader:
            self._asked = link
            self._number += 1
            self.counts, self.dismissed = counts, False
            tail = self._journal.tail
            snapshot = self._journal.snapshot_index
            link.say(Follow(self._number, configuration.epoch, tail.end, tail.epochs, snapshot, counts))

    def ask_anew(self) -> None:
        """Have the next asking go out, unless the leader has answered: it says that something is different now."""
        if self.leader is None:
            self._asked = None

    def leave(self) -> None:
        """Follow no more."""
        self.leader = self._asked = None
        self._forwarding = self.in_line = self.dismissed = False
        self._outgoing.drop()
        self._replica.reached = False
        if self._installing is not None:
            # The mark on the disk stands until another try ends it, so nothing of this one counts.
            self._installing = None
            self._replica.busy = False

    # The log

    def take(self, link: PeerLink, message: OfTheLog) -> None:
        """Take a message of the leader's, now or when this node has parted from what it is parting from.

        Raises:
            WireError: it does not fit the log.
        """
        if self._inbox is not None:
            self._inbox.append((link, message))
            return
        if isinstance(message, Begin | Install):
            asked = self._asked is link and message.number == self._number
            if not asked or self._node.refuse(link, message.epoch) or self._replica.leads:
                return
            end = self._journal.tail.end
            if message.common > end:
                raise WireError(f"both logs are said to be the same up to {message.common}, and this one ends at {end}")
            self.leader = link
            self.in_line = False
            self._forward_after = message.end
            self._whole_at = message.durable
        elif self.leader is not link:
            self._node.refuse(link, message.epoch)
            return
        _STEPS[type(message)](self, link, message)

    def _begin(self, link: PeerLink, message: Begin) -> None:
        if message.common == self._journal.tail.end or self._journal.part(message.common):
            self._followed()
        else:
            self._busy_with(self._part(message.common))

    @inlineCallbacks
    def _part(self, common: int) -> Generator["Deferred[Any]", Any, None]:
        yield self._journal.part_from_applied(common)
        self._end_busy()
        self._followed()

    def _followed(self) -> None:
        """What this node has is the leader's log, as far as it goes."""
        if self.leader is not None:
            self.in_line = True
            self.durable(self._replica.durable)
            self._node.perform(self._replica.leader_reached(self._node.now()))
            self._maybe_forward()

    def _append(self, link: PeerLink, message: Append) -> None:
        runs = [received_run(sent) for sent in message.runs]
        stored = self._disk_care(link, sum(len(run.body) for run in runs))
        if self._installing is not None:
            self._journal.take_in(runs, stored)
            return
        end, epoch = self._journal.tail.end, self._journal.tail.epoch
        for run in runs:
            if run.index != end + 1 or run.epoch < epoch:
                raise WireError(f"after entry {end} of epoch {epoch} came entry {run.index} of {run.epoch}")
            end, epoch = run.last, run.epoch
        self._journal.extend(runs, stored)
        self._told_commit(message.commit)
        self._maybe_forward()

    def _commit(self, link: PeerLink, message: Commit) -> None:
        self._told_commit(message.index)

    def _told_commit(self, index: int) -> None:
        self._replica.told_commit(index)
        self._node.perform([])

    def _disk_care(self, link: PeerLink, size: int) -> Callable[[], None]:
        """Read no further while the disk is far behind; return what to call when it has so many bytes more."""
        self._undurable_bytes += size
        if self._undurable_bytes > UNDURABLE_BYTES_MAX:
            link.hold_reading("disk")

        def stored() -> None:
            self._undurable_bytes -= size
            if self._undurable_bytes <= UNDURABLE_BYTES_MAX // 2:
                link.release_reading("disk")

        return stored

    # Taking the whole log in

    def _install(self, link: PeerLink, message: Install) -> None:
        log.info("too far behind: taking in the leader's log after {after}", after=message.after)
        self._busy_with(self._prepare(link, message))

    @inlineCallbacks
    def _prepare(self, link: PeerLink, message: Install) -> Generator["Deferred[Any]", Any, None]:
        yield self._journal.install(message.common, message.after)
        if self.leader is not link:
            self._end_busy()
            return
        self._installing = message.snapshot
        self._take_inbox()

    def _dismissed(self, link: PeerLink, message: Dismissed) -> None:
        self.dismissed = message.number == self._number

    def _ids(self, link: PeerLink, message: Ids) -> None:
        if self._installing is not None:
            self._journal.take_in_ids(message.ids)

    def _installed(self, link: PeerLink, message: Installed) -> None:
        snapshot, self._installing = self._installing, None
        if snapshot is not None:
            self._journal.installed(snapshot)
            self._end_busy()
            self._followed()

    # Being busy

    def _busy_with(self, doing: "Deferred[None]") -> None:
        # Where it is done at once, it has ended being busy already.
        if not doing.called:
            self._replica.busy = True
            self._inbox = []
        doing.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        log.failure("this node's log cannot be brought in line with the leader's", failure)
        self._fatal(f"the log cannot be read: {failure.getErrorMessage()}")

    def _take_inbox(self) -> None:
        inbox, self._inbox = self._inbox or [], None
        for link, message in inbox:
            if not link.open:
                continue  # What came before did not fit.
            try:
                self.take(link, message)
            except WireError as error:
                link.drop("bad-frame", str(error))

    def _end_busy(self) -> None:
        self._replica.busy = False
        self._take_inbox()
        self._node.perform([])
        self._node.number_pending()
        # What came up meanwhile may have gone unasked.
        self._node.follow()

    def durable(self, index: int) -> None:
        """Tell the leader up to where its log is durable here."""
        if not self.in_line:
            return
        self._say(Appended(self._node.epoch, index))
        if self._replica.blank and index >= self._whole_at:
            self._node.perform(self._replica.fed(self._node.now()))

    # Forwarding

    def _say(self, message: PeerMessage) -> None:
        if self.leader is not None:
            self.leader.say(message)

    def submitted(self, entry: Entry) -> None:
        """Forward what waits on this node with all else of this turn, unless it has to wait for the leader."""
        if self._forwarding:
            self._outgoing.add(entry)

    def _forward(self, entries: list[Entry]) -> None:
        pending = self._journal.submissions.pending
        sent = [sent_entry(entry) for entry in entries if entry.id in pending]
        if sent:
            self._say(Forward(self._node.epoch, sent))

    def _maybe_forward(self) -> None:
        """Bring the leader what waits, once it is known what of that is in the leader's log already."""
        if not self._forwarding and self._replica.reached and self._journal.tail.end >= self._forward_after:
            self._forwarding = True
            self._forward(list(self._journal.submissions.pending.values()))


_STEPS: dict[type[Any], Callable[[Following, PeerLink, Any], None]] = {
    Begin: Following._begin,
    Append: Following._append,
    Commit: Following._commit,
    Install: Following._install,
    Ids: Following._ids,
    Installed: Following._installed,
    Dismissed: Following._dismissed,
}
