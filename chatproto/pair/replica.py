"""Who leads, and what counts: the rules of a node in its pair. Pure.

What happened comes in by a method, with `now` in seconds of any clock that only goes forward; what is to be
done goes out as effects, in order. Nothing here knows a connection, a disk or a timer.

Safety rests on two rules alone. *Ack*: an entry is committed when it is durable on every member (and, from the moment
the leader wants another member, on that one, too). *Compare-and-set*: a configuration is followed by one that the
witness agreed to, and no other has its epoch. Time only decides when to ask.

Without a witness (*static* mode) each node agrees to its own proposals. Nothing that was acknowledged is lost
then either; but both sides of a partition go on, and the one with the lower epoch submits its part again afterwards.
"""

import msgspec

from chatproto.pair.configuration import Configuration, after
from chatproto.pair.states import LEADING, TRANSITIONS, Cue, Role, cue_of

EXPECTED_S_MAX = 5.0
"""A member that wants to leave is let go after so long, although whoever is to take its place is not there yet."""
ASK_AGAIN_S = 0.02
"""A proposal that was denied is made again after so long, if there is still reason to."""


class Rules(msgspec.Struct, frozen=True):
    """What a node knows of its pair beforehand.

    Attributes:
        name: the node's name.
        static: whether there is no witness.
        founder: whether it may make the first configuration: the primary.
        suspect_s: silence after which the other node is given up.
        hand_over_s_max: how long a handover may take before it is given up.
        prefer_primary: whether the secondary hands over when the primary is back and has caught up.
        allow_data_loss: whether it may lead without having been a member: the operator says so.
        standby: whether it stands by, with nothing on its disk, until an active server invites it.
    """

    name: str
    static: bool
    founder: bool
    suspect_s: float = 0.6
    hand_over_s_max: float = 2.0
    prefer_primary: bool = False
    allow_data_loss: bool = False
    standby: bool = False


class Follower(msgspec.Struct):
    """What a leader knows of a node that follows it.

    Attributes:
        name: its name.
        came_at: when it began to follow.
        counts: whether it wants to be a member; one that is, and does not, is let go as soon as that can be.
        primary: whether it is the primary.
        match: the last index that it has durable.
        in_line: whether it has said up to where it follows: by then it knows whether it is complete.
        caught_up: whether it is sent what is new as it comes.
        required_from: what it had been sent when it caught up.
    """

    name: str
    came_at: float
    counts: bool = True
    primary: bool = False
    match: int = 0
    in_line: bool = False
    caught_up: bool = False
    required_from: int = 0


class Store(msgspec.Struct, frozen=True):
    """Make a configuration durable, then call `Replica.stored`.

    Attributes:
        configuration: what holds, or is to hold from then on.
        complete: whether this node ever had all of the log.
        required: whom this node is about to ask for as a member: if it ends before it hears the answer, its next life
            has to know.
    """

    configuration: Configuration
    complete: bool = True
    required: str = ""


class Propose(msgspec.Struct, frozen=True):
    """Ask the witness for a configuration."""

    configuration: Configuration
    lossy: bool = False


class Configured(msgspec.Struct, frozen=True):
    """Another configuration holds, and is durable here: tell everybody."""

    configuration: Configuration


class Became(msgspec.Struct, frozen=True):
    """The role is another."""

    before: Role
    role: Role
    reason: str


Effect = Store | Propose | Configured | Became


class Replica:
    """A node's view of its pair.

    Attributes:
        role: see `states`.
        configuration: the one that holds, as far as is known here; durable. None before there is one.
        end: the last index of this node's log, durable or not.
        durable: the last index that is durable here.
        commit: the last index known to be committed.
        followers: the nodes that follow this one, by name; members or not.
        require: the follower without which nothing is committed although it is no member yet; empty for none.
        successor: the node that is to lead in this one's place, once it is a member; empty for none.
        unwanted: a member that was to be the successor, and is not to be a member after all; empty for none.
        expected: the node that is to be a member in the place of one that wants to leave, and so is waited for.
        reached: whether this node follows its leader over a link.
        busy: whether the log is being parted from or installed, so that nothing can be numbered or applied.
        incomplete: whether an installation has begun and not ended: the log has holes, so this node cannot lead.
        blank: whether this disk has never held all that was committed.
        forgetting: whether the disk is about to be as one that never held anything: nothing is taken in meanwhile.
        dispossessed: whether there is a pair that this node's disk knows nothing of, although it is counted as a
            member (so the disk was lost), or holds a log of its own.
    """

    def __init__(self, rules: Rules) -> None:
        """Make one that has not begun."""
        self.role = Role.BOOT
        self.configuration: Configuration | None = None
        self.end = self.durable = self.commit = 0
        self.followers: dict[str, Follower] = {}
        self.require = self.successor = self.unwanted = self.expected = ""
        # The other member when there was no successor yet.
        self._before = ""
        # Whom the disk knows to be asked for, in this epoch.
        self._marked = ""
        self.reached = False
        self.busy = False
        self.incomplete = False
        self.forgetting = False
        self.dispossessed = False
        self._rules = rules
        self._effects: list[Effect] = []
        self._storing: Configuration | None = None
        self._proposed: Configuration | None = None
        # Whether a proposal may have taken effect without our hearing of it; one of an earlier life may, too.
        self._unknown = False
        # What the disk had at the start may all be committed, though nobody has said so yet.
        self._found_durable = 0
        # Of the last entry that this life found: one that founds a pair goes on from there.
        self._log_epoch = 0
        self._founding = False
        self.blank = False
        # The configuration that takes this node for a member too early.
        self._offered: Configuration | None = None
        self._witness_up = False
        self._witness_epoch = 0
        self._ask_from = 0.0
        self._peer_heard = 0.0
        self._peer_gone = False
        self._peer_met = False
        self._left = False
        self._settled_with = ""
        self._invited = False
        self._highest = 0
        # Since when a member is there that wants to leave.
        self._leaving_since: float | None = None
        self._hand_over_until = 0.0
        self._paired_since = 0.0
        self._ticked = 0.0

    # Questions

    @property
    def epoch(self) -> int:
        """The epoch of the configuration; 0 before there is one."""
        return 0 if self.configuration is None else self.configuration.epoch

    @property
    def leads(self) -> bool:
        """Whether this node commits."""
        return self.role in LEADING

    @property
    def other(self) -> str:
        """The other member; empty where this node knows of none."""
        members = () if self.configuration is None else self.configuration.members
        return next((name for name in members if name != self._rules.name), "")

    @property
    def undecided(self) -> bool:
        """Whether another configuration may hold already: one was asked for, or is on its way to the disk."""
        return self._proposed is not None or self._storing is not None or self._unknown

    def may_dismiss(self, follower: Follower) -> bool:
        """Whether a follower wants to be no member, and is none, whatever becomes of what was asked for."""
        members = self.configuration.members if self.configuration is not None else ()
        return self.leads and not follower.counts and follower.name not in (*members, self.require)

    # Life

    def start(
        self,
        configuration: Configuration | None,
        end: int,
        now: float,
        *,
        complete: bool = True,
        required: str = "",
        epoch: int = 0,
    ) -> list[Effect]:
        """Begin a life with what the disk has: it says what this node was; whether that still holds is found out.

        `epoch` is that of the last entry; 0 for an empty log.
        """
        self._log_epoch = epoch
        self.require = self._marked = required
        self._unknown = bool(required)
        self._ticked = self._peer_heard = now
        self._founding = configuration is not None and configuration.epoch == 0
        self.blank = configuration is None or self._founding or not complete
        self.configuration = found = None if self._founding else configuration
        self.end = self.durable = self._found_durable = end
        if found is not None and not (self._rules.static and cue_of(found, self._rules.name) is Cue.LEADS_ALONE):
            # All are safe to begin with, since each waits for somebody else's word; but without a witness the other
            # may have led since.
            self._settle(now)
        elif self._rules.standby and found is None and not self._founding and not end:
            self._go(Cue.STANDS_BY)
        return self._take()

    def tick(self, now: float) -> list[Effect]:
        """Look whether it is time to ask for something; to be called several times in `suspect_s`."""
        if now - self._ticked > self._rules.suspect_s / 2:
            # This process stood still, so it is no wonder that it heard nothing.
            self._peer_heard = now
        self._ticked = now
        self._look(now)
        return self._take()

    # The log

    def appended(self, end: int) -> None:
        """Note where this node's log ends now."""
        self.end = end

    def cut(self, end: int) -> None:
        """Note that this node has parted from all after `end`."""
        self.end = end
        self.durable = min(self.durable, end)
        self.commit = min(self.commit, end)
        self._found_durable = min(self._found_durable, end)

    def stored_to(self, index: int, now: float) -> list[Effect]:
        """Note up to where this node's log is durable."""
        self.durable = index
        self._count(now)
        return self._take()

    def told_commit(self, index: int) -> None:
        """Note what the leader says is committed."""
        self.commit = max(self.commit, index)

    # The other node

    def _concerns(self, name: str) -> bool:
        """Whether it matters if a node lives: to a leader the other member, to everybody else the leader."""
        found = self.configuration
        if found is None:
            return True
        return name == (found.leader if found.leader != self._rules.name else self.other or name)

    def peer_heard(self, name: str, now: float) -> None:
        """Note that a node lives, where it matters: on the link over which one follows the other."""
        if self._concerns(name):
            self._peer_heard = now
            self._peer_gone = False

    def peer_says(self, configuration: Configuration | None, now: float) -> list[Effect]:
        """Hear which configuration the other node has."""
        self._peer_met = True
        self._peer_gone = False
        if configuration is not None:
            self._hear(configuration)
        if self.role is Role.BOOT and self._rules.static:
            self._look(now)
        return self._take()

    def peer_gone(self, name: str, now: float) -> list[Effect]:
        """Hear that a node's process is not there: its machine refuses connections. Empty: whoever is at `--peer`."""
        if not name or self._concerns(name):
            self._peer_gone = True
            self._look(now)
        return self._take()

    def follower_came(self, name: str, now: float, *, counts: bool = True, primary: bool = False) -> list[Effect]:
        """Hear that a node follows, whether it wants to be a member, and whether it is the primary."""
        self.followers[name] = Follower(name, now, counts, primary)
        self.peer_heard(name, now)
        # Where this node was isolated: the other follows in our epoch, so nobody has led in a later one with its help.
        self._look(now)
        self._count(now)
        return self._take()

    def follower_caught_up(self, name: str, now: float) -> list[Effect]:
        """Hear that a follower is sent what is new as it comes."""
        follower = self.followers[name]
        follower.caught_up = True
        follower.required_from = self.durable
        self._look(now)
        return self._take()

    def follower_has(self, name: str, index: int, now: float) -> list[Effect]:
        """Hear up to where a follower has the log durable."""
        follower = self.followers[name]
        follower.match = max(follower.match, min(index, self.end))
        follower.in_line = True
        self._count(now)
        if self.leads and name != self.other:
            self._look(now)
        return self._take()

    def follower_lost(self, name: str, now: float) -> list[Effect]:
        """Hear that a node follows no more."""
        del self.followers[name]
        self._need_less(now)
        self._look(now)
        return self._take()

    def leader_reached(self, now: float) -> list[Effect]:
        """Hear that the leader lets this node follow."""
        self.reached = True
        self._left = False
        self._peer_heard = now
        self._peer_gone = False
        self._look(now)
        return self._take()

    def fed(self, now: float) -> list[Effect]:
        """Hear that this node has all that the leader had when it let it follow."""
        if self.blank and self.configuration is not None:
            self.blank = self.dispossessed = False
            self._do(Store(self._storing or self.configuration))
            if self._offered is not None:
                self._hear(self._offered)
        return self._take()

    def member_incomplete(self, now: float) -> list[Effect]:
        """Hear that the other node, a member, does not hold all that is committed: its disk was replaced."""
        if self.role is Role.LEADER_PAIR:
            self._go_alone(now)
        return self._take()

    def leader_lost(self, now: float) -> list[Effect]:
        """Hear that the link to the leader is gone."""
        self.reached = False
        self._left = True
        self._look(now)
        return self._take()

    # The witness

    def witness_up(self, configuration: Configuration | None, now: float) -> list[Effect]:
        """Hear that the witness is reached, and what it holds."""
        self._witness_up = True
        self._witness_says(configuration, now)
        self._look(now)
        return self._take()

    def _witness_says(self, configuration: Configuration | None, now: float) -> None:
        self._witness_epoch = 0 if configuration is None else configuration.epoch
        if self._witness_epoch >= self.epoch:
            # What was proposed earlier has led to this, or never took effect. One that is behind does not know.
            self._unknown = False
        if configuration is not None:
            self._hear(configuration)
        if self.role is Role.ISOLATED and self._storing is None and self._witness_epoch == self.epoch:
            self._settle(now)
        self._need_less(now)

    def witness_down(self, now: float) -> list[Effect]:
        """Hear that the witness is not reached any more."""
        self._witness_up = False
        if self._proposed is not None:
            self._proposed = None
            self._unknown = True
            self._give_up_handing()
        self._look(now)
        return self._take()

    def witness_holds(self, configuration: Configuration, now: float) -> list[Effect]:
        """Hear that the witness holds another configuration now."""
        if self._proposed is not None and configuration.epoch >= self._proposed.epoch:
            mine, self._proposed = self._proposed == configuration, None
            if mine:
                self._store(configuration)
        self._witness_says(configuration, now)
        return self._take()

    def witness_denied(self, configuration: Configuration | None, now: float) -> list[Effect]:
        """Hear that the witness does not agree."""
        self._proposed = None
        self._ask_from = now + ASK_AGAIN_S
        self._give_up_handing()
        self._witness_says(configuration, now)
        return self._take()

    def stored(self, configuration: Configuration, now: float) -> list[Effect]:
        """Hear that a configuration is durable here: from now on it holds."""
        if self._storing == configuration:
            self._storing = None
        if self.forgetting:
            return self._take()
        if configuration.epoch == 0:
            self._founding = True
            self._look(now)
        elif configuration.epoch > self.epoch and not self._outdated(configuration):
            # What was asked for in the epoch before has led to this, or never takes effect.
            self._unknown = False
            self._marked = ""
            self.configuration = configuration
            self.dispossessed = False
            self._do(Configured(configuration))
            self._settle(now)
            self._look(now)
        else:
            self._need_less(now)
            self._look(now)
        return self._take()

    def _outdated(self, configuration: Configuration) -> bool:
        """Whether this node would lead by a configuration that it knows is followed by another already."""
        newer = self._storing is not None and self._storing.epoch > configuration.epoch
        return newer and configuration.leader == self._rules.name

    # Standing by

    def invited(self) -> None:
        """Hear that an active server wants this node, which stands by, to learn its log."""
        self._invited = True

    def forgotten(self) -> list[Effect]:
        """Hear that this node's disk is as one that never held anything: from now on it stands by."""
        self.configuration = self._offered = self._storing = None
        self.end = self.durable = self.commit = self._found_durable = self._log_epoch = 0
        self.expected = self._settled_with = self._marked = ""
        self.incomplete = self.dispossessed = self.reached = self._founding = self._invited = self.forgetting = False
        self.blank = True
        self._go(Cue.STANDS_BY)
        return self._take()

    # The operator

    def make_way(self, successor: str, now: float) -> list[Effect]:
        """Have another node lead in this one's place, as soon as it follows and has all; empty: after all not."""
        given_up, self.successor = self.successor, successor
        if successor and successor == self.unwanted:
            self.unwanted = ""
        elif successor:
            self._before = self.other
        elif given_up and given_up == self.other != self._before:
            self.unwanted, self.expected = given_up, self._before
            if self._proposed is None and self._storing is None:
                self._give_up_handing()
        self._need_less(now)
        self._look(now)
        return self._take()

    def hand_over(self, now: float) -> tuple[bool, list[Effect]]:
        """Begin to hand leadership to the other member; return whether that can be."""
        other = self.followers.get(self.other)
        if self.role is not Role.LEADER_PAIR or other is None or not other.counts or not self._may_propose(now):
            return False, []
        self._go(Cue.HAND_OVER)
        self._hand_over_until = now + self._rules.hand_over_s_max
        self._look(now)
        return True, self._take()

    # Rules

    def _count(self, now: float) -> None:
        """Commit what is durable on everybody who has to have it."""
        if self.role not in LEADING:
            return
        needed = [self.followers.get(name) for name in (self.other, self.require) if name]
        self.commit = max(self.commit, min([self.durable, *(each.match if each else 0 for each in needed)]))
        if self.require or self.role is Role.HANDING:
            self._look(now)

    def _need_less(self, now: float) -> None:
        """Stop waiting for one that is gone, behind or not wanted, once it is sure that it was not made a member."""
        newcomer = self._newcomer()
        wanted = newcomer is not None and newcomer.name == self.require and newcomer.caught_up
        if self.require and not wanted and not self.undecided:
            self.require = ""
            self._count(now)

    def _look(self, now: float) -> None:
        {
            Role.BOOT: self._look_at_boot,
            Role.LEADER_SOLO: self._look_alone,
            Role.LEADER_PAIR: self._look_leading,
            Role.HANDING: self._look_handing,
            Role.FOLLOWER: self._look_following,
            Role.LEARNER: self._look_learning,
            Role.ISOLATED: self._look_isolated,
            Role.STANDBY: lambda now: None,
        }[self.role](now)

    def _silent(self, now: float) -> bool:
        return now - self._peer_heard >= self._rules.suspect_s

    def _look_at_boot(self, now: float) -> None:
        if self._storing is not None:
            # That gives a role in a moment; the one that the disk gave is out of date.
            return
        alone = self._peer_gone or self._silent(now)
        found = self.configuration
        if self._rules.static and (alone or self._peer_met):
            if found is not None:
                self._settle(now)
            elif self._rules.founder and not self.dispossessed:
                self._found(now)
        elif self._witness_up and self._witness_epoch == 0 and self._rules.founder and not self.dispossessed:
            self._found(now)
        if self.dispossessed and alone and self._rules.allow_data_loss:
            self._propose(self._alone(), now, lossy=True)

    def _found(self, now: float) -> None:
        """Make the first configuration. That this disk is the founder's is durable first: a wiped one is not."""
        if self._founding or self._rules.static:
            self._propose(self._alone(), now)
        else:
            self._store(Configuration(0, self._rules.name, (self._rules.name,)))

    def _look_alone(self, now: float) -> None:
        self._take_in(self._newcomer(), now)

    def _newcomer(self) -> Follower | None:
        """Return the follower that is to become a member: the successor, or any where there is a place for it."""
        other = self.followers.get(self.other)
        leaves = other is not None and self._is_to_leave(other)
        if not (self.role is Role.LEADER_SOLO or leaves or self.successor):
            return None
        may = (each for each in self.followers.values() if each.counts and each is not other)
        wanted = (each for each in may if not self.successor or each.name == self.successor)
        # Nobody is kept out by one that follows and takes nothing.
        return max(wanted, key=lambda each: (each.name == self.require, each.in_line and each.caught_up), default=None)

    def _take_in(self, newcomer: Follower | None, now: float) -> None:
        """Make a follower a member, in the place of the other if there is one: first need it for commits, then ask.

        Not before its disk has what it had been sent when it caught up, or every commit would wait for all of that.
        """
        if newcomer is None or not (newcomer.in_line and newcomer.caught_up) or not self._may_propose(now):
            return
        if newcomer.match < newcomer.required_from:
            return
        self.require = newcomer.name
        if newcomer.match < max(self.commit, self._found_durable):
            return
        if self._marked != newcomer.name and not self._rules.static:
            self._mark(newcomer.name)
            return
        both = tuple(sorted((self._rules.name, newcomer.name)))
        self._propose(Configuration(self._next_epoch(), self._rules.name, both), now)

    def _mark(self, name: str) -> None:
        """Have the disk know who is asked for before that is done."""
        assert self.configuration is not None
        self._marked = name
        self._storing = self.configuration
        self._do(Store(self.configuration, not self.blank, name))

    def _look_leading(self, now: float) -> None:
        other = self.followers.get(self.other)
        if other is None:
            if self._peer_gone or self._silent(now):
                self._go_alone(now)
        elif not other.in_line and now - other.came_at >= self._rules.suspect_s:
            # It beats, and takes nothing.
            self._go_alone(now)
        elif self._is_to_leave(other):
            self._let_go(now)
        elif self.successor and self.successor != other.name:
            self._take_in(self._newcomer(), now)
        elif self.successor or self._prefers(other, now):
            self._do_all(self.hand_over(now)[1])

    def _is_to_leave(self, other: Follower) -> bool:
        return not other.counts or other.name == self.unwanted

    def _prefers(self, other: Follower, now: float) -> bool:
        """Whether the other member is the primary, which is to lead, and has been here for a while."""
        wanted = self._rules.prefer_primary and other.primary and other.caught_up
        return wanted and now - self._paired_since >= self._rules.suspect_s

    def _let_go(self, now: float) -> None:
        """Do without a member that wants to leave; rather with whoever is to take its place."""
        if self._leaving_since is None:
            self._leaving_since = now
        newcomer = self._newcomer()
        if newcomer is not None:
            self._take_in(newcomer, now)
        elif not self.expected or now - self._leaving_since >= EXPECTED_S_MAX:
            self._go_alone(now)

    def _look_handing(self, now: float) -> None:
        assert self.configuration is not None
        other = self.followers.get(self.other)
        if other is None and (self._peer_gone or self._silent(now)):
            self._go_alone(now)
        elif self._proposed is None and self._storing is None and now >= self._hand_over_until:
            self._give_up_handing()
        elif other is not None and other.match == self.durable == self.end:
            self._propose(Configuration(self._next_epoch(), other.name, self.configuration.members), now)

    def _look_following(self, now: float) -> None:
        """Take over from a leader that is gone. With a witness it is asked at once: it knows better than we do."""
        if self.reached and not self._silent(now):
            return
        if self._rules.static:
            if self._peer_gone or self._silent(now):
                self._propose(self._alone(), now)
        elif self._left or self._peer_gone or self._silent(now):
            self._go_alone(now)

    def _go_alone(self, now: float) -> None:
        if self._rules.static or (self._witness_up and self._witness_epoch >= self.epoch):
            self._propose(self._alone(), now)
        elif self._silent(now):
            self._go(Cue.CUT_OFF)

    def _look_learning(self, now: float) -> None:
        if self._rules.allow_data_loss and not self.reached and self._silent(now):
            self._propose(self._alone(), now, lossy=True)

    def _look_isolated(self, now: float) -> None:
        if (self.other in self.followers or self.reached) and not self._silent(now):
            self._settle(now)

    def _give_up_handing(self) -> None:
        if self.role is Role.HANDING:
            self._go(Cue.GIVEN_UP)

    # Configurations

    def _alone(self) -> Configuration:
        return Configuration(self._next_epoch(), self._rules.name, (self._rules.name,))

    def _next_epoch(self) -> int:
        brought = self._log_epoch if self.configuration is None else 0
        if not self._rules.static:
            return max(after(self.configuration), brought)
        following = max(self.epoch + 1, self._highest + 1, brought)
        # Odd epochs are the primary's, even ones the secondary's: the two never make the same.
        return following if following % 2 == self._rules.founder else following + 1

    def _may_propose(self, now: float) -> bool:
        if self._storing is not None or self._proposed is not None or self.busy or self.incomplete:
            return False
        if self._rules.static:
            return True
        return self._witness_up and self._witness_epoch == self.epoch and now >= self._ask_from

    def _propose(self, configuration: Configuration, now: float, *, lossy: bool = False) -> None:
        if lossy and not self._rules.static and self._witness_up and self.configuration is None:
            # A node that lost its disk knows no epoch but the witness's.
            following = max(self._witness_epoch + 1, self._log_epoch)
            configuration = Configuration(following, configuration.leader, configuration.members)
        elif not self._may_propose(now):
            return
        if self._rules.static:
            self._store(configuration)
        elif self._proposed is None and now >= self._ask_from:
            self._proposed = configuration
            self._do(Propose(configuration, lossy))

    def _hear(self, configuration: Configuration) -> None:
        """Take a configuration that somebody else has, if it is newer."""
        self._highest = max(self._highest, configuration.epoch)
        if self.forgetting or (self.role is Role.STANDBY and not self._invited):
            return
        if configuration.epoch <= max(self.epoch, self._storing.epoch if self._storing else 0):
            return
        founded = self._founding and configuration == self._alone()
        if self.blank and self._rules.name in configuration.members and not founded:
            # Members hold all that is committed, and this disk never did: it will soon, or whoever leads notices.
            self.dispossessed = True
            self._offered = configuration
            return
        if self.configuration is None and self.end and not founded:
            # It holds a log of its own, which nobody asked to give up.
            self.dispossessed = True
            return
        self._store(configuration)

    def _store(self, configuration: Configuration) -> None:
        self._storing = configuration
        if configuration.leader == self._rules.name and configuration.epoch:
            self.blank = False
        self._do(Store(configuration, not self.blank))

    def _settle(self, now: float) -> None:
        """Take the role that the configuration gives."""
        assert self.configuration is not None
        cue = cue_of(self.configuration, self._rules.name)
        self._invited = False
        self.require = self.require if self._unknown else ""
        self._leaving_since = None
        if self.other != self.unwanted or cue is not Cue.LEADS_PAIR:
            self.unwanted = ""
        if self.other == self.expected:
            self.expected = ""
        if _ROLES[cue] is not self.role or self.other != self._settled_with:
            # In a new role, or beside another node, nothing is held against that one yet.
            self._peer_heard = now
            self._peer_gone = self._peer_gone and self.other == self._settled_with
            self._left = False
        self._settled_with = self.other
        if _ROLES[cue] is not self.role:
            self._go(cue)
            if self.role in LEADING:
                # A learner may have been told of more than it has; what is lost is not committed.
                self.commit = min(self.commit, self.end)
        self._count(now)

    def _go(self, cue: Cue) -> None:
        before = self.role
        self.role, reason = TRANSITIONS[before, cue]
        if self.role is Role.LEADER_PAIR:
            self._paired_since = self._ticked
        if self.role not in LEADING:
            self.successor = ""
        self._do(Became(before, self.role, reason))

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _do_all(self, effects: list[Effect]) -> None:
        self._effects.extend(effects)

    def _take(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects


_ROLES = {
    Cue.LEADS_ALONE: Role.LEADER_SOLO,
    Cue.LEADS_PAIR: Role.LEADER_PAIR,
    Cue.FOLLOWS: Role.FOLLOWER,
    Cue.LEARNS: Role.LEARNER,
}
