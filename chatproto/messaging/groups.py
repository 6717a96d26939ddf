"""Groups that whoever wants to hears; whoever tells them does not know who does. Pure.

What COMET calls subscription and notification: one to many, to those who have joined a group (multicast), or to
everybody who is there (broadcast).
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from chatproto.errors import Rejected

G = TypeVar("G", bound=Hashable)
M = TypeVar("M", bound=Hashable)
U = TypeVar("U", bound=Hashable)

REFUSALS = {
    "too-many-members": "as many are there as may be",
    "too-many-groups": "this member is in as many groups as one may be in",
}
"""Why somebody is not let in, by the codes that are answered."""


class Groups(Generic[G, M, U]):
    """Who is there, and who hears which group; a group is there while somebody is in it.

    A group of type `G`, and a member of type `M`, is whatever names it, such as the number of a connection. A member
    joins under a key `U` of its own choice, such as the number of its request: by that it is told, and by that it
    leaves. Under two keys it hears a group twice.
    """

    def __init__(self, members_max: int, groups_per_member_max: int) -> None:
        """Start with nobody.

        Args:
            members_max: those who may be there, in groups or in none.
            groups_per_member_max: groups that one of them may be in.
        """
        self._members_max = members_max
        self._groups_per_member_max = groups_per_member_max
        self._members: dict[M, dict[U, G]] = {}
        # Each group a mapping for its order.
        self._groups: dict[G, dict[tuple[M, U], None]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def enter(self, member: M) -> None:
        """Let a member in, who hears what is broadcast from here on, and may join groups.

        Raises:
            Rejected: there is no room; see `REFUSALS`.
        """
        if member not in self._members and len(self._members) >= self._members_max:
            raise Rejected("too-many-members")
        self._members.setdefault(member, {})

    def gone(self, member: M) -> None:
        """Hear that a member, if it was there, is no longer."""
        for under, group in self._members.pop(member, {}).items():
            self._remove(group, member, under)

    def join(self, group: G, member: M, under: U) -> None:
        """Have a member that is there hear a group under a key, in place of what it heard under that before.

        Raises:
            Rejected: it is in too many; see `REFUSALS`.
        """
        joined = self._members[member]
        if under not in joined and len(joined) >= self._groups_per_member_max:
            raise Rejected("too-many-groups")
        self.leave(member, under)
        joined[under] = group
        self._groups.setdefault(group, {})[member, under] = None

    def leave(self, member: M, under: U) -> bool:
        """Have a member hear nothing more under a key; return whether it did."""
        joined = self._members.get(member, {})
        if under not in joined:
            return False
        self._remove(joined.pop(under), member, under)
        return True

    def _remove(self, group: G, member: M, under: U) -> None:
        hearers = self._groups[group]
        del hearers[member, under]
        if not hearers:
            del self._groups[group]

    def notify(self, group: G) -> list[tuple[M, U]]:
        """Return who is to hear what is said to a group, each with its key, in the order of joining."""
        return list(self._groups.get(group, ()))

    def broadcast(self) -> list[M]:
        """Return who is to hear what is said to everybody, in the order of entering."""
        return list(self._members)
