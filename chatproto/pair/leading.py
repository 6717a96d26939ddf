"""A leader's side of the peer link: followers are fed, and what they forward is numbered."""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from chatproto.link import Turn
from chatproto.log.entry import Epochs, Run
from chatproto.pair.feed import Feed
from chatproto.pair.journal import Journal
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import PRIMARY, Appended, Dismissed, Follow, Forward, received_entry
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

    def wants(self, link: PeerLink) -> bool:
        """Return whether who is at the other end may become a member, or stay one."""

    def number_pending(self) -> None:
        """Number all that waits, if this node may."""

    def follow(self) -> None:
        """Ask the other node to let this one follow, if it leads."""


class Leading:
    """What a leader does for its followers.

    Attributes:
        feeds: what each follower is sent, by its link.
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
        self.feeds: dict[PeerLink, Feed] = {}
        self._node = node
        self._name = name
        self._replica = replica
        self._journal = journal
        self._turn = turn

    @property
    def reading_back(self) -> bool:
        """Whether the log is read from the disk for a follower."""
        return not all(feed.live for feed in self.feeds.values())

    def on_follow(self, link: PeerLink, message: Follow) -> None:
        """Begin to feed whoever asks, if this node leads in the epoch it names; else it asks again later."""
        configuration, replica = self._replica.configuration, self._replica
        if self._node.refuse(link, message.epoch) or configuration is None or link.dialled:
            return
        willing = replica.leads or replica.role is Role.ISOLATED
        if configuration.leader == self._name and willing and message.epoch == configuration.epoch:
            name = link.name
            for other in [other for other in self.feeds if other.name == name]:
                self.end(other)
            # What it forwarded over an earlier link, and was not numbered, it brings again.
            self._journal.submissions.drop_forwarded(name)
            self.feeds[link] = Feed(self, link, message, self._journal.store, self._turn)

    def end(self, *links: PeerLink) -> None:
        """Feed these no more, or nobody."""
        for link in links or list(self.feeds):
            feed = self.feeds.pop(link, None)
            if feed is not None:
                feed.end()
                if link.name in self._replica.followers:
                    self._node.perform(self._replica.follower_lost(link.name, self._node.now()))

    def on_appended(self, link: PeerLink, message: Appended) -> None:
        """Hear up to where a follower has the log."""
        if link in self.feeds and link.name in self._replica.followers:
            self._node.perform(self._replica.follower_has(link.name, message.index, self._node.now()))

    def on_forward(self, link: PeerLink, message: Forward) -> None:
        """Take what was submitted at a follower's; it hears of it in the log."""
        if link not in self.feeds:
            return
        submissions = self._journal.submissions
        for sent in message.entries:
            if not sent.retriable or not (
                submissions.on_its_way(sent.id) or self._journal.store.find(sent.id) is not None
            ):
                submissions.forward(link.name, received_entry(sent))
        self._node.number_pending()

    def durable(self, runs: list[Run]) -> None:
        """Send on what has become durable."""
        for feed in list(self.feeds.values()):
            feed.durable(runs)

    def committed(self) -> None:
        """Have the followers told how far the log is committed."""
        for feed in list(self.feeds.values()):
            feed.committed()

    def review(self) -> None:
        """See again which followers may be members."""
        for link, feed in self.feeds.items():
            follower = self._replica.followers.get(link.name)
            if follower is not None:
                # Once dismissed it may have forgotten everything, until it asks again.
                follower.counts = feed.follow.counts and not feed.dismissed and self._node.wants(link)

    def dismiss(self) -> None:
        """Let those forget the log who want to be no members, and are none for sure."""
        for link, feed in list(self.feeds.items()):
            follower = self._replica.followers.get(link.name)
            due = feed.begun and not feed.dismissed
            if due and follower is not None and self._replica.may_dismiss(follower):
                feed.dismissed = True
                link.say(Dismissed(self._node.epoch, feed.follow.number))

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
            self.end(feed.link)
            self._node.perform(self._replica.member_incomplete(self._node.now()))
            return False
        came = self._replica.follower_came(
            hello.name,
            self._node.now(),
            counts=feed.follow.counts and self._node.wants(feed.link),
            primary=hello.role == PRIMARY,
        )
        self._node.perform(came)
        return self.feeds.get(feed.link) is feed

    def feed_failed(self, reason: str) -> None:
        """See `feed.Leader.feed_failed`."""
        self._fatal(reason)

    def feed_caught_up(self, feed: Feed) -> None:
        """See `feed.Leader.feed_caught_up`."""
        self._node.perform(self._replica.follower_caught_up(feed.link.name, self._node.now()))
