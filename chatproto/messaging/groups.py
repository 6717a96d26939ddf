"""Groups that whoever wants to hears; whoever tells them does not know who does. Pure.

Subscription and notification of the distributed design (seed 003): one to many, to those who have joined a group
(multicast), or to everybody (broadcast).
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from chatproto.errors import Rejected

M = TypeVar("M", bound=Hashable)

REFUSALS = {
    "group-name": "the name of a group is empty or too long",
    "too-many-members": "as many are there as may be",
    "too-many-groups": "there are as many groups as may be, or this member is in as many as one may be in",
}
"""Why somebody is not let in, by the codes that are answered."""


@dataclass(frozen=True)
class GroupLimits:
    """The ceilings of groups; at each of them the newcomer is refused.

    Attributes:
        members_max: those who are there, in groups or in none.
        groups_max: groups with a member.
        groups_per_member_max: groups that one member may be in.
        group_chars_max: the length of a group's name.
    """

    members_max: int = 1000
    groups_max: int = 1000
    groups_per_member_max: int = 64
    group_chars_max: int = 64


class Groups(Generic[M]):
    """Who is there, and who has joined which group; a group is there while somebody is in it.

    Members are whatever names them, such as the number of a connection. Whoever is told is returned in the order of
    joining, each member once.
    """

    def __init__(self, limits: GroupLimits | None = None) -> None:
        """Start with nobody."""
        self._limits = limits or GroupLimits()
        self._members: dict[M, set[str]] = {}
        # Each group a mapping for its order.
        self._groups: dict[str, dict[M, None]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def enter(self, member: M) -> None:
        """Let a member in, who hears what is broadcast from here on, and may join groups.

        Raises:
            Rejected: there is no room; see `REFUSALS`.
        """
        if member not in self._members and len(self._members) >= self._limits.members_max:
            raise Rejected("too-many-members")
        self._members.setdefault(member, set())

    def gone(self, member: M) -> list[str]:
        """Hear that a member is gone, if it was there; return the groups it was in, in alphabetical order."""
        groups = sorted(self._members.pop(member, ()))
        for group in groups:
            self._remove(group, member)
        return groups

    def join(self, group: str, member: M) -> bool:
        """Put a member that is there into a group; return whether it was not in it.

        Raises:
            Rejected: it may not; see `REFUSALS`.
        """
        limits, joined = self._limits, self._members[member]
        if group in joined:
            return False
        if not 1 <= len(group) <= limits.group_chars_max:
            raise Rejected("group-name")
        if len(joined) >= limits.groups_per_member_max:
            raise Rejected("too-many-groups")
        if group not in self._groups and len(self._groups) >= limits.groups_max:
            raise Rejected("too-many-groups")
        joined.add(group)
        self._groups.setdefault(group, {})[member] = None
        return True

    def leave(self, group: str, member: M) -> bool:
        """Take a member out of a group; return whether it was in it."""
        if group not in self._members.get(member, ()):
            return False
        self._members[member].remove(group)
        self._remove(group, member)
        return True

    def _remove(self, group: str, member: M) -> None:
        members = self._groups[group]
        del members[member]
        if not members:
            del self._groups[group]

    def notify(self, group: str) -> list[M]:
        """Return who is to hear what is said to a group: nobody where there is none."""
        return list(self._groups.get(group, ()))

    def broadcast(self) -> list[M]:
        """Return who is to hear what is said to everybody."""
        return list(self._members)
