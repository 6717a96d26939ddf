"""The roles of a node in its pair, and every way from one to another. Pure.

The picture in the documentation is printed from the table by `picture`.
"""

from enum import Enum

from chatproto.pair.configuration import Configuration


class Role(Enum):
    """What a node is to its pair now; the value is the name in logs and pictures."""

    BOOT = "boot"
    LEADER_SOLO = "leader-solo"
    LEADER_PAIR = "leader-pair"
    HANDING = "handing"
    FOLLOWER = "follower"
    LEARNER = "learner"
    ISOLATED = "isolated"
    STANDBY = "standby"


class Cue(Enum):
    """What moves a node from role to role."""

    LEADS_ALONE = "leads alone"
    LEADS_PAIR = "leads the pair"
    FOLLOWS = "follows"
    LEARNS = "learns"
    CUT_OFF = "cut off"
    HAND_OVER = "hand over"
    GIVEN_UP = "given up"
    STANDS_BY = "stands by"


TRANSITIONS: dict[tuple[Role, Cue], tuple[Role, str]] = {
    (Role.BOOT, Cue.LEADS_ALONE): (Role.LEADER_SOLO, "the only member: nobody else can have led"),
    (Role.BOOT, Cue.LEADS_PAIR): (Role.LEADER_PAIR, "the leader still, and nothing is committed without the other"),
    (Role.BOOT, Cue.FOLLOWS): (Role.FOLLOWER, "a member still, so it holds all that is committed"),
    (Role.BOOT, Cue.LEARNS): (Role.LEARNER, "no member, so it may miss what is committed"),
    (Role.BOOT, Cue.STANDS_BY): (Role.STANDBY, "it holds nothing, and waits to be invited"),
    (Role.FOLLOWER, Cue.LEADS_ALONE): (Role.LEADER_SOLO, "takeover: the new epoch fences whoever led before"),
    (Role.FOLLOWER, Cue.LEADS_PAIR): (Role.LEADER_PAIR, "handed over by a leader that had nothing more than it has"),
    (Role.FOLLOWER, Cue.LEARNS): (Role.LEARNER, "dropped: the leader commits without it"),
    (Role.FOLLOWER, Cue.CUT_OFF): (Role.ISOLATED, "neither leader nor witness is heard"),
    (Role.LEARNER, Cue.FOLLOWS): (Role.FOLLOWER, "grown: it holds all that is committed, and counts"),
    (Role.LEARNER, Cue.LEADS_PAIR): (Role.LEADER_PAIR, "grown, then handed over to, and only now it hears of either"),
    (Role.LEARNER, Cue.LEADS_ALONE): (Role.LEADER_SOLO, "the operator allows that data are lost"),
    (Role.LEARNER, Cue.STANDS_BY): (Role.STANDBY, "its part is over: it has forgotten what it held"),
    (Role.STANDBY, Cue.LEARNS): (Role.LEARNER, "invited: it learns the log of an active server"),
    (Role.LEADER_SOLO, Cue.LEADS_PAIR): (Role.LEADER_PAIR, "grown: the other has caught up"),
    (Role.LEADER_SOLO, Cue.FOLLOWS): (Role.FOLLOWER, "somebody newer leads, and counts on it"),
    (Role.LEADER_SOLO, Cue.LEARNS): (Role.LEARNER, "somebody newer leads: both sides led, or the operator let data go"),
    (Role.LEADER_PAIR, Cue.LEADS_ALONE): (Role.LEADER_SOLO, "shrunk: the other is gone, so nothing waits for it"),
    (Role.LEADER_PAIR, Cue.FOLLOWS): (Role.FOLLOWER, "somebody newer leads, and counts on it"),
    (Role.LEADER_PAIR, Cue.LEARNS): (Role.LEARNER, "the other has taken over meanwhile"),
    (Role.LEADER_PAIR, Cue.CUT_OFF): (Role.ISOLATED, "neither peer nor witness is heard: the other may lead"),
    (Role.LEADER_PAIR, Cue.HAND_OVER): (Role.HANDING, "numbers no more until the other has all, and leads"),
    (Role.HANDING, Cue.FOLLOWS): (Role.FOLLOWER, "done: the other leads"),
    (Role.HANDING, Cue.GIVEN_UP): (Role.LEADER_PAIR, "the configuration is as it was: it goes on leading"),
    (Role.HANDING, Cue.LEADS_ALONE): (Role.LEADER_SOLO, "shrunk: the other fell silent before it led"),
    (Role.HANDING, Cue.LEARNS): (Role.LEARNER, "the other leads, and has gone on alone since"),
    (Role.HANDING, Cue.CUT_OFF): (Role.ISOLATED, "neither peer nor witness is heard: the other may lead"),
    (Role.ISOLATED, Cue.LEADS_ALONE): (Role.LEADER_SOLO, "the witness is heard again, and agrees"),
    (Role.ISOLATED, Cue.LEADS_PAIR): (Role.LEADER_PAIR, "heard again: nobody led meanwhile"),
    (Role.ISOLATED, Cue.FOLLOWS): (Role.FOLLOWER, "heard again: a member still"),
    (Role.ISOLATED, Cue.LEARNS): (Role.LEARNER, "heard again: somebody has led without it"),
}  # fmt: skip

LEADING = frozenset({Role.LEADER_SOLO, Role.LEADER_PAIR, Role.HANDING})
"""Roles that commit."""

NUMBERING = frozenset({Role.LEADER_SOLO, Role.LEADER_PAIR})
"""Roles that give entries their numbers."""

SERVING = frozenset({Role.LEADER_SOLO, Role.LEADER_PAIR, Role.HANDING, Role.FOLLOWER})
"""Roles in which what clients submit gets committed."""


def cue_of(configuration: Configuration, name: str) -> Cue:
    """Return what a configuration makes of the node with this name."""
    if configuration.leader == name:
        return Cue.LEADS_ALONE if configuration.members == (name,) else Cue.LEADS_PAIR
    return Cue.FOLLOWS if name in configuration.members else Cue.LEARNS


def picture() -> str:
    """Return the table as text: each role, and where it goes, when and why."""
    lines: list[str] = []
    for role in Role:
        lines.append(role.value)
        lines += [
            f"    {cue.value:15} → {after.value:12} {reason}"
            for (before, cue), (after, reason) in TRANSITIONS.items()
            if before is role
        ]
    return "\n".join(lines) + "\n"
