"""Who is there, as the replayed state knows them: people, their sessions, and the rooms they are in. Pure."""

import msgspec

from chatproto.chat.messages import HistoryWanted

ADMIN = "admin"
"""The role of those who keep order in every room."""

TICKETS_MAX = 32
"""Tickets of one account that are good at once; of more, those that end first are good no longer."""


class Account(msgspec.Struct, array_like=True):
    """What makes an identity somebody's own, whether they are there or not.

    Attributes:
        secret: of its password, see `passwords`; empty where something else knows whom to let in.
        roles: what it may do besides, like `admin`.
        tickets: hashes of what lets it in instead of the password, each with the Unix time until when.
    """

    secret: str = ""
    roles: list[str] = []
    tickets: dict[str, float] = {}

    def admits(self, ticket: str, time: float) -> bool:
        """Whether a ticket, by its hash, is good at a time in Unix seconds."""
        return time < self.tickets.get(ticket, 0.0)

    def remember(self, ticket: str, until: float, time: float) -> None:
        """Let the account in by a ticket, too, until a time; those that ended before `time` are forgotten."""
        good = {known: end for known, end in self.tickets.items() if end > time}
        good[ticket] = until
        while len(good) > TICKETS_MAX:
            del good[min(good, key=lambda known: good[known])]
        self.tickets = good


class Person:
    """An identity: somebody who is present, or has an account.

    Attributes:
        identity: the name, unique in the deployment.
        account: what makes it theirs while they are away; None for a guest, who is gone with their session.
        devices: their sessions that are present, by key, in the order they came: one at most without an account.
        owned: the rooms they own.
        banned: rooms they were put out of, with the Unix time until when.
        silenced: the Unix time until when nothing of theirs is published.
    """

    __slots__ = ("account", "banned", "devices", "identity", "owned", "silenced")

    def __init__(self, identity: str, account: Account | None = None) -> None:
        """Make one who is not there."""
        self.identity = identity
        self.account = account
        self.devices: dict[str, Member] = {}
        self.owned: frozenset[str] = frozenset()
        self.banned: dict[str, float] = {}
        self.silenced = 0.0

    @property
    def is_admin(self) -> bool:
        """Whether they keep order."""
        return self.account is not None and ADMIN in self.account.roles

    def inside(self, room: str) -> "list[Member]":
        """Return those of their sessions that are in a room."""
        return [member for member in self.devices.values() if room in member.rooms]


class Member:
    """A session that is present.

    Attributes:
        key: the session's key.
        person: whose it is.
        node: the name of the node that serves it.
        token: the hash of its token; None for a base client.
        rooms: the rooms it is in, the one joined last at the end.
        history: what it gets of an archive on joining.
    """

    __slots__ = ("history", "key", "node", "person", "rooms", "token")

    def __init__(self, key: str, person: Person, node: str, token: str | None, history: HistoryWanted) -> None:
        """Make one that is nowhere yet."""
        self.key = key
        self.person = person
        self.node = node
        self.token = token
        self.history = history
        self.rooms: tuple[str, ...] = ()
        person.devices[key] = self

    @property
    def identity(self) -> str:
        """The name, which the other sessions of an account share."""
        return self.person.identity

    @property
    def room(self) -> str:
        """The room joined last: where it speaks when it does not say where."""
        return self.rooms[-1]


class Room:
    """A room.

    Attributes:
        owner: the name of its owner; empty for MainHall and ownerless rooms. An owner without an account may be
            away (see `Depart.lost`).
        members: those in it by key, in the order they came.
        count: how many people they are.
        born: the first position that was its own; lower ones belonged to a deleted room of this name.
        first: the first position of its archive that is kept.
        last: the last position given out; `first - 1` when the archive is empty.
        dying: being deleted: its members are on their way out, and no list shows it any more.
    """

    __slots__ = ("born", "count", "dying", "first", "last", "members", "name", "owner")

    def __init__(self, name: str, owner: str = "", numbered: int = 0) -> None:
        """Make an empty one that goes on numbering after `numbered`."""
        self.name = name
        self.owner = owner
        self.members: dict[str, Member] = {}
        self.count = 0
        self.born = self.first = numbered + 1
        self.last = numbered
        self.dying = False

    @property
    def identities(self) -> list[str]:
        """The names of those in it, each once, in the order they came."""
        return list(dict.fromkeys(member.person.identity for member in self.members.values()))

    def admit(self, member: Member) -> bool:
        """Let a session in; return whether its person was not there yet."""
        newcomer = not member.person.inside(self.name)
        self.members[member.key] = member
        member.rooms += (self.name,)
        self.count += newcomer
        return newcomer

    def release(self, member: Member) -> bool:
        """Let a session out; return whether its person is not there any more."""
        del self.members[member.key]
        member.rooms = tuple(name for name in member.rooms if name != self.name)
        leaves = not any(self.name in other.rooms for other in member.person.devices.values())
        self.count -= leaves
        return leaves
