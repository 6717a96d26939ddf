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
    """

    name: str
    static: bool
    founder: bool
    suspect_s: float = 0.6
    hand_over_s_max: float = 2.0
    prefer_primary: bool = False
    allow_data_loss: bool = False


class Store(msgspec.Struct, frozen=True):
    """Make a configuration durable, then call `Replica.stored`; and whether this node ever had all of the log."""

    configuration: Configuration
    complete: bool = True


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
        match: the last index that the follower has durable; 0 while there is no follower.
        commit: the last index known to be committed.
        require: whether nothing is committed without the follower although it is no member yet.
        follower: the name of the node that follows this one; empty while none does.
        reached: whether this node follows its leader over a link.
        busy: whether the log is being parted from or installed, so that nothing can be numbered or applied.
        incomplete: whether an installation has begun and not ended: the log has holes, so this node cannot lead.
        blank: whether this disk has never held all that was committed.
        dispossessed: whether there is a pair that this node's disk knows nothing of, although it is counted as a
            member (so the disk was lost), or holds a log of its own.
    """

    def __init__(self, rules: Rules) -> None:
        """Make one that has not begun."""
        self.role = Role.BOOT
        self.configuration: Configuration | None = None
        self.end = self.durable = self.match = self.commit = 0
        self.require = False
        self.follower = ""
        self.reached = False
        self.busy = False
        self.incomplete = False
        self.dispossessed = False
        self._rules = rules
        self._effects: list[Effect] = []
        self._storing: Configuration | None = None
        self._proposed: Configuration | None = None
        # Whether a proposal may have taken effect without our hearing of it; one of an earlier life may, too.
        self._unknown = not rules.static
        # What the disk had at the start may all be committed, though nobody has said so yet.
        self._found_durable = 0
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
        self._highest = 0
        self._caught_up = False
        self._required_from = 0
        # Whether the follower has said up to where it follows, since it came.
        self._in_line = False
        self._came_at = 0.0
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
    def undecided(self) -> bool:
        """Whether another configuration may hold already: one was asked for, or is on its way to the disk."""
        return self._proposed is not None or self._storing is not None or self._unknown

    # Life

    def start(
        self, configuration: Configuration | None, end: int, now: float, *, complete: bool = True
    ) -> list[Effect]:
        """Begin a life with what the disk has: it says what this node was; whether that still holds is found out."""
        self._ticked = self._peer_heard = now
        self._founding = configuration is not None and configuration.epoch == 0
        self.blank = configuration is None or self._founding or not complete
        self.configuration = found = None if self._founding else configuration
        self.end = self.durable = self._found_durable = end
        if found is not None and not (self._rules.static and cue_of(found, self._rules.name) is Cue.LEADS_ALONE):
            # All are safe to begin with, since each waits for somebody else's word; but without a witness the other
            # may have led since.
            self._settle(now)
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

    def peer_heard(self, now: float) -> None:
        """Note that the other node lives, where it matters: on the link over which one follows the other."""
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

    def peer_gone(self, now: float) -> list[Effect]:
        """Hear that the other node's process is not there: its machine refuses connections."""
        self._peer_gone = True
        self._look(now)
        return self._take()

    def follower_came(self, name: str, match: int, now: float) -> list[Effect]:
        """Hear that the other node follows; it has this node's log up to `match`."""
        self.follower = name
        self.match = match
        self._caught_up = self._in_line = False
        self._came_at = now
        self.peer_heard(now)
        # Where this node was isolated: the other follows in our epoch, so nobody has led in a later one with its help.
        self._look(now)
        self._count(now)
        return self._take()

    def follower_caught_up(self, now: float) -> list[Effect]:
        """Hear that the follower is sent what is new as it comes."""
        self._caught_up = True
        self._required_from = self.durable
        self._look(now)
        return self._take()

    def follower_has(self, index: int, now: float) -> list[Effect]:
        """Hear up to where the follower has the log durable."""
        self.match = max(self.match, min(index, self.end))
        self._in_line = True
        self._count(now)
        if self.role is Role.LEADER_SOLO:
            self._look(now)
        return self._take()

    def follower_lost(self, now: float) -> list[Effect]:
        """Hear that nobody follows any more."""
        self.follower = ""
        self.match = 0
        self._caught_up = self._in_line = False
        self._need_less(now)
        self._look(now)
        return self._take()

    def leader_reached(self, now: float) -> list[Effect]:
        """Hear that the leader lets this node follow."""
        self.reached = True
        self._left = False
        self.peer_heard(now)
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
        if configuration.epoch == 0:
            self._founding = True
            self._look(now)
        elif configuration.epoch > self.epoch:
            self.configuration = configuration
            self.dispossessed = False
            self._do(Configured(configuration))
            self._settle(now)
            self._look(now)
        return self._take()

    # The operator

    def hand_over(self, now: float) -> tuple[bool, list[Effect]]:
        """Begin to hand leadership to the follower; return whether that can be."""
        if self.role is not Role.LEADER_PAIR or not self.follower or not self._may_propose(now):
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
        assert self.configuration is not None
        both = len(self.configuration.members) > 1 or self.require
        self.commit = max(self.commit, min(self.durable, self.match) if both else self.durable)
        if self.require or self.role is Role.HANDING:
            self._look(now)

    def _need_less(self, now: float) -> None:
        """Stop waiting for a follower that is gone or behind, once it is sure that it was not made a member."""
        if self.require and not self._caught_up and not self.undecided:
            self.require = False
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
        """Make the follower a member: first need it for every commit, then ask.

        Not before its disk has what it had been sent when it caught up, or every commit would wait for all of that.
        """
        # Not before it has said that it follows, either, be it an empty log: by then it knows that it is complete.
        if not self._in_line or not self._caught_up or not self._may_propose(now):
            return
        if self.match < self._required_from:
            return
        self.require = True
        if self.match >= max(self.commit, self._found_durable):
            both = tuple(sorted((self._rules.name, self.follower)))
            self._propose(Configuration(self._next_epoch(), self._rules.name, both), now)

    def _look_leading(self, now: float) -> None:
        if not self.follower and (self._peer_gone or self._silent(now)):
            self._go_alone(now)
        elif self.follower and not self._in_line and now - self._came_at >= self._rules.suspect_s:
            # It beats, and takes nothing.
            self._go_alone(now)
        elif (
            self._rules.prefer_primary
            and not self._rules.founder
            and self._caught_up
            and now - self._paired_since >= self._rules.suspect_s
            and self._may_propose(now)
        ):
            self._do_all(self.hand_over(now)[1])

    def _look_handing(self, now: float) -> None:
        assert self.configuration is not None
        if not self.follower and (self._peer_gone or self._silent(now)):
            self._go_alone(now)
        elif self._proposed is None and self._storing is None and now >= self._hand_over_until:
            self._give_up_handing()
        elif self.follower and self.match == self.durable == self.end:
            self._propose(Configuration(self._next_epoch(), self.follower, self.configuration.members), now)

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
        if (self.follower or self.reached) and not self._silent(now):
            self._settle(now)

    def _give_up_handing(self) -> None:
        if self.role is Role.HANDING:
            self._go(Cue.GIVEN_UP)

    # Configurations

    def _alone(self) -> Configuration:
        return Configuration(self._next_epoch(), self._rules.name, (self._rules.name,))

    def _next_epoch(self) -> int:
        if not self._rules.static:
            return after(self.configuration)
        following = max(self.epoch, self._highest) + 1
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
            configuration = Configuration(self._witness_epoch + 1, configuration.leader, configuration.members)
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
        # What was proposed in an earlier life, or over a link that is gone, may have made the other a member.
        self.require = self._unknown and cue is Cue.LEADS_ALONE
        if _ROLES[cue] is not self.role:
            # In a new role, nothing is held against the other node yet.
            self._peer_heard = now
            self._left = False
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
            self.require = False
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
