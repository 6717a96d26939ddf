"""A leader's side of the peer link: one follower is fed, and what it forwards is numbered."""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from chatproto.link import Turn
from chatproto.log.entry import Epochs, Run
from chatproto.pair.feed import Feed
from chatproto.pair.journal import Journal
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import Appended, Follow, Forward, received_entry
from chatproto.pair.replica import Effect, Replica
from chatproto.pair.states import Role

log = Logger()


class Node(Protocol):
    """What either side of the link needs of its node."""

    @property
    def epoch(self) -> int:
        """The epoch of the configuration that holds here; 0 before there is one."""

    def now(self) -> float:
        """Return the time, in seconds of the node's clock."""

    def perform(self, effects: list[Effect]) -> None:
        """Do what the replica wants, and what follows from it."""

    def refuse(self, link: PeerLink, epoch: int) -> bool:
        """Answer a lower epoch with the configuration that has a higher one; return whether it is lower."""

    def number_pending(self) -> None:
        """Number all that waits, if this node may."""

    def follow(self) -> None:
        """Ask the other node to let this one follow, if it leads."""


class Leading:
    """What a leader does for its follower.

    Attributes:
        feed: what the follower is sent; None while nobody follows.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        replica: Replica,
        journal: Journal,
        turn: Turn,
        fatal: Callable[[str], None],
    ) -> None:
        """Make a leader's side for a node with this name; `fatal` is called when its disk cannot be read."""
        self._fatal = fatal
        self.feed: Feed | None = None
        self._node = node
        self._name = name
        self._replica = replica
        self._journal = journal
        self._turn = turn

    @property
    def link(self) -> PeerLink | None:
        """The link of the follower."""
        return None if self.feed is None else self.feed.link

    @property
    def reading_back(self) -> bool:
        """Whether the log is read from the disk for the follower."""
        return self.feed is not None and not self.feed.live

    def on_follow(self, link: PeerLink, message: Follow) -> None:
        """Begin to feed whoever asks, if this node leads in the epoch it names; else it asks again later."""
        configuration, replica = self._replica.configuration, self._replica
        if self._node.refuse(link, message.epoch) or configuration is None or link.dialled:
            return
        willing = replica.leads or replica.role is Role.ISOLATED
        if configuration.leader == self._name and willing and message.epoch == configuration.epoch:
            self.end()
            # What it forwarded over an earlier link, and was not numbered, it brings again.
            self._journal.submissions.drop_forwarded()
            self.feed = Feed(self, link, message, self._journal.store, self._turn)

    def end(self) -> None:
        """Feed nobody."""
        feed, self.feed = self.feed, None
        if feed is not None:
            feed.end()
            self._node.perform(self._replica.follower_lost(self._node.now()))

    def on_appended(self, link: PeerLink, message: Appended) -> None:
        """Hear up to where the follower has the log."""
        if link is self.link:
            self._node.perform(self._replica.follower_has(message.index, self._node.now()))

    def on_forward(self, link: PeerLink, message: Forward) -> None:
        """Take what was submitted at the follower's; it hears of it in the log."""
        if link is not self.link:
            return
        submissions = self._journal.submissions
        for sent in message.entries:
            if not sent.retriable or not (
                submissions.on_its_way(sent.id) or self._journal.store.find(sent.id) is not None
            ):
                submissions.forward(received_entry(sent))
        self._node.number_pending()

    def durable(self, runs: list[Run]) -> None:
        """Send on what has become durable."""
        if self.feed is not None:
            self.feed.durable(runs)

    def committed(self) -> None:
        """Have the follower told how far the log is committed."""
        if self.feed is not None:
            self.feed.committed()

    # `feed.Leader`

    def log_state(self) -> tuple[int, int, int, int, Epochs]:
        """See `feed.Leader.log_state`."""
        replica, tail = self._replica, self._journal.tail
        return self._node.epoch, replica.commit, replica.durable, tail.end, tail.epochs

    def feed_begins(self, feed: Feed, common: int) -> bool:
        """See `feed.Leader.feed_begins`."""
        hello, configuration = feed.link.hello, self._replica.configuration
        assert hello is not None and configuration is not None
        if hello.name in configuration.members and common < self._replica.commit:
            log.critical(
                "{name} counts as holding all that is committed, and does not: was its disk replaced? "
                "it is left out until it has learned everything",
                name=hello.name,
            )
            self.end()
            self._node.perform(self._replica.member_incomplete(self._node.now()))
            return False
        self._node.perform(self._replica.follower_came(hello.name, 0, self._node.now()))
        return self.feed is feed

    def feed_failed(self, reason: str) -> None:
        """See `feed.Leader.feed_failed`."""
        self._fatal(reason)

    def feed_caught_up(self, feed: Feed) -> None:
        """See `feed.Leader.feed_caught_up`."""
        self._node.perform(self._replica.follower_caught_up(self._node.now()))
