"""A node's part in a migration: whom it invites, who invites it, and how it leaves.

The leader invites a node that stands by, which learns the log and becomes a member; it is handed leadership, and
whoever led brings what still waits, is let go, forgets its log, and stands by in turn. The rules of it are the
`Replica`'s; here is what the nodes tell each other, and what this one is about.
"""

from typing import Protocol

from twisted.logger import Logger

from chatproto.pair.configuration import MEMBERS_MAX, Configuration
from chatproto.pair.following import Following
from chatproto.pair.journal import Journal
from chatproto.pair.leading import Leading
from chatproto.pair.leading import Node as PairNode
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import Invite, Meet
from chatproto.pair.neighbours import Neighbours
from chatproto.pair.replica import Replica
from chatproto.pair.states import LEADING, NUMBERING, Role

INVITE_AGAIN_S = 0.5
JOINS_AFTER_S = 1.0
"""A node that was one of a pair, and stands by, is one again when somebody has led alone for so long."""

log = Logger()


class Node(PairNode, Protocol):
    """What this needs of its node."""

    links: dict[PeerLink, None]

    def dial(self) -> None:
        """Keep connections to whoever matters now."""

    def leader_link(self) -> PeerLink | None:
        """Return the link to the leader that this node has dialled, if there is one."""


class Moving:
    """Who is to take whose place, as far as this node is concerned.

    Attributes:
        invites: the name of whoever this node has invited to take its place; empty for nobody.
        invited_by: who has invited this node; empty for nobody.
        stays_for: the leader in whose place there will be another, that this node is then to be a member with.
        leaves: whether this node is to have no part in the log any more.
        forgetting: whether its log is being forgotten.
        partnered: whether this node, which was not started as one of a pair, has taken the place of one that was.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        address: str,
        paired: bool,
        witnessed: bool,
        replica: Replica,
        journal: Journal,
        leading: Leading,
        following: Following,
        neighbours: Neighbours,
    ) -> None:
        """Move nobody yet.

        Args:
            node: whose part this is.
            name: of that node.
            address: `HOST:PORT` of its peer link, for those it invites.
            paired: whether it was started as one of a pair.
            witnessed: whether there is a witness, without which nobody can be moved.
            replica: its rules.
            journal: its log.
            leading: its leader's side.
            following: its follower's side.
            neighbours: whom it keeps connections to.
        """
        self.invites = self.invited_by = self.stays_for = ""
        self.leaves = self.forgetting = self.partnered = False
        self._node = node
        self._name = name
        self._address = address
        self._paired = paired
        self._witnessed = witnessed
        self._replica = replica
        self._journal = journal
        self._leading = leading
        self._following = following
        self._neighbours = neighbours
        self._invite_from = 0.0
        # What the witness holds, as far as it said, and since when.
        self._held: Configuration | None = None
        self._held_since = 0.0

    # The one whose place is taken

    def invite(self, name: str, address: str) -> bool:
        """Have a node that stands by take this one's place, if this one leads; return whether that can be tried.

        Nothing is refused meanwhile, and any failure on the way leaves things as they are.
        """
        if not self._witnessed or self._replica.role not in NUMBERING or self.invites:
            return False
        self.invites, self._invite_from = name, 0.0
        self._neighbours.addresses[name] = address
        self._node.perform(self._replica.make_way(name, self._node.now()))
        for link in self._node.links:
            link.say(Meet(name, address))
        self._node.dial()
        return True

    def withdraw(self) -> None:
        """Have nobody take this node's place after all; whoever was invited stands by again."""
        invited, self.invites = self.invites, ""
        self._leading.review()
        self._node.perform(self._replica.make_way("", self._node.now()))
        for link in [link for link in self._node.links if link.name == invited]:
            # It asks to follow over another one, and not to be a member.
            link.close()
        self._node.dial()

    def retire(self) -> None:
        """Leave, if this node has a log and does not lead: bring what waits, forget the log, and stand by."""
        if self._replica.configuration is not None and not self._replica.leads:
            self.leaves = True
            self._node.follow()

    @property
    def left_over(self) -> bool:
        """Whether this node is a member only because a migration was broken off, or has not ended."""
        leader = self._node.leader_link()
        if self._replica.role is not Role.FOLLOWER or leader is None or leader.hello is None or self.invited_by:
            return False
        return not (self._paired or leader.hello.paired or self.leaves)

    # Beside it

    @property
    def partner(self) -> bool:
        """Whether this node is one of a pair, from its start or since it took somebody's place."""
        return self._paired or self.partnered

    @property
    def changes_leaders(self) -> bool:
        """Whether this node is no member only until the leader's successor leads: it goes on as if it were."""
        return self._replica.role is Role.LEARNER and bool(self.stays_for)

    def counts(self, leader: PeerLink) -> bool:
        """Whether this node is to be a member, under a leader that it has a link to."""
        found = self._replica.configuration
        assert leader.hello is not None and found is not None
        if self.leaves:
            return False
        if self._name in found.members or self.invited_by or self.stays_for:
            return True
        return len(found.members) < MEMBERS_MAX and (self._paired or leader.hello.paired)

    def wants(self, link: PeerLink) -> bool:
        """Whether who is at the other end may become a member, or stay one."""
        found = self._replica.configuration
        assert link.hello is not None and found is not None
        if link.name in (self.invites, *found.members) or link.hello.paired:
            return True
        return self._paired and len(found.members) < MEMBERS_MAX

    def expects(self, name: str) -> bool:
        """Whether a node that is no member is to connect: it moves, or the registry knows it."""
        named = (self.invites, self.invited_by, self._replica.expected)
        return self._witnessed and (name in named or name in self._neighbours.addresses)

    # As time goes on

    def look(self) -> None:
        """Do what has become possible; called a few times in each heartbeat."""
        self.say_invitation()
        self._maybe_forget()
        self._maybe_join()

    def say_invitation(self) -> None:
        """Invite whoever was invited, and does not follow: what was said before was lost, or came too early."""
        now = self._node.now()
        if not self.invites or self.invites in self._replica.followers or now < self._invite_from:
            return
        for link in [link for link in self._node.links if link.dialled and link.name == self.invites]:
            self._invite_from = now + INVITE_AGAIN_S
            other = self._replica.other
            stays = other != self.invites and self.partner
            link.say(Invite(self._address, other if stays else ""))

    def _maybe_forget(self) -> None:
        """Forget the log, if this node has no part in it any more, and has brought the leader all that it held."""
        submissions = self._journal.submissions
        waits = submissions.pending or submissions.orphans
        if self._replica.role is not Role.LEARNER or self.forgetting or not self._following.dismissed or waits:
            return
        log.info("this node has no part in the log any more: it forgets it, and stands by")
        self.forgetting = self._replica.busy = True
        self._following.leave()
        forgetting = self._journal.forget()
        forgetting.addCallback(lambda _: self._forgot())
        forgetting.addErrback(lambda failure: log.failure("forgetting the log", failure))

    def _forgot(self) -> None:
        self.forgetting = self._replica.busy = self.leaves = False
        self.invited_by = ""
        self._journal.tail.numbering.epoch = 0
        self._node.perform(self._replica.forgotten())
        self._node.dial()

    def _maybe_join(self) -> None:
        """Have a node that was started as one of a pair, and stands by, be one again where a node has been alone."""
        held = self._held
        if not self._paired or held is None or self._replica.role is not Role.STANDBY or self.forgetting:
            return
        lacks = len(held.members) < MEMBERS_MAX and self._name not in held.members
        if lacks and self._node.now() - self._held_since >= JOINS_AFTER_S:
            self._replica.invited()
            self._node.perform(self._replica.witness_holds(held, self._node.now()))
            self._node.follow()

    # What is heard

    def became(self, before: Role, role: Role) -> None:
        """Hear that this node has another role."""
        if role is Role.FOLLOWER or role is Role.STANDBY:
            self.stays_for = ""
        if before in LEADING and role not in LEADING:
            self.invites = ""
        if role in LEADING:
            self.invited_by = ""
            self.leaves = False

    def witness_holds(self, configuration: Configuration | None) -> None:
        """Hear what the witness holds."""
        if configuration != self._held:
            self._held, self._held_since = configuration, self._node.now()

    def on_invite(self, link: PeerLink, message: Invite) -> None:
        """Hear that the leader would have this node take its place."""
        if self._replica.role not in (Role.STANDBY, Role.LEARNER) or self.forgetting or self.invited_by == link.name:
            return
        log.info("{name} invites this node to take its place", name=link.name)
        self.invited_by = link.name
        self._neighbours.addresses[link.name] = message.address
        self._replica.invited()
        self._replica.expected = message.expected
        self.partnered = bool(message.expected)
        self._node.follow()

    def on_meet(self, link: PeerLink, message: Meet) -> None:
        """Hear that another node is to take the leader's place, and where it is."""
        self.stays_for = link.name if self._replica.role is Role.FOLLOWER else ""
        self._neighbours.addresses[message.name] = message.address
        self._node.dial()

    def link_lost(self, name: str) -> None:
        """Hear that the link to a node, which this one had dialled, is lost: what it said of a move holds no more."""
        if name in (self.invited_by, self.stays_for):
            self.invited_by = self.stays_for = ""
            self._node.follow()

    def unreached(self, name: str) -> None:
        """Hear that a node is not reached."""
        if name == self.invited_by:
            self.invited_by = ""
            self._node.follow()
