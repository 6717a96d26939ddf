"""What a `ChatClient` tells its listeners and answers its callers with. Pure.

Listeners hear what the server says, whoever asked for it: `who` answers its caller with `Members`, and every
listener hears the same `Members` too. A refusal that answers a caller is an error for that caller alone.
"""

import msgspec

from chatproto.chat.messages import SaidExtended


class Event(msgspec.Struct, frozen=True):
    """What every event is."""


class StateChanged(Event, frozen=True):
    """The client's state is another, or the server's redundancy is.

    Attributes:
        state: `stopped`, `connecting`, `online`, or `waiting` between two tries.
        server: the name of the server; empty when not online.
        redundancy: `single`, `paired`, `alone` or `isolated`; empty when not online.
        reason: why; `session-moved` where another connection took the session.
    """

    state: str
    server: str
    redundancy: str
    reason: str


class Welcomed(Event, frozen=True):
    """A server took the client in, with its old session or, where that was over or never was, a new one."""

    identity: str
    resumed: bool


class Said(Event, frozen=True):
    """Something was said in a room; of each room, in order of `index`, without gap or repeat.

    Attributes:
        id: unique in the deployment.
        time: Unix seconds.
        own: whether it was this very client that said it.
    """

    room: str
    index: int
    epoch: int
    id: str
    identity: str
    content: str
    time: float
    own: bool


class Renamed(Event, frozen=True):
    """Somebody, perhaps oneself, has another name."""

    former: str
    identity: str


class Moved(Event, frozen=True):
    """Somebody, perhaps oneself, went from `former` to `room`; empty where from or to nowhere."""

    identity: str
    former: str
    room: str


class Members(Event, frozen=True):
    """Who is in a room; `owner` is empty where it has none."""

    room: str
    identities: tuple[str, ...]
    owner: str


class Rooms(Event, frozen=True):
    """All rooms, each with how many are in it."""

    rooms: dict[str, int]


class PrivateSaid(Event, frozen=True):
    """Somebody said something to this client only, and it is told once, whichever way it came.

    Attributes:
        identity: who said it: as the server says or, where `direct`, as the server has vouched for on connecting.
        time: Unix seconds.
        direct: whether it came over a connection between the two.
    """

    identity: str
    content: str
    id: str
    time: float
    direct: bool = False


class Missing(Event, frozen=True):
    """The messages `start` to `end` of a room, both included, will never come: `reason` says why."""

    room: str
    start: int
    end: int
    reason: str


class Rewound(Event, frozen=True):
    """What was said in a room from `index` on is to be forgotten; it comes again, perhaps in another order."""

    room: str
    index: int


class Noticed(Event, frozen=True):
    """The server has news of itself; the codes are listed in the protocol reference."""

    code: str
    content: str


class Refusal(Event, frozen=True):
    """The server refused something that no caller waits for: a name or a room wanted on connecting, for instance."""

    code: str
    message: str
    id: str | None
    room: str | None


class Redirected(Event, frozen=True):
    """The server asks to be left for one of `servers`; the client does so by itself, with its session."""

    servers: tuple[str, ...]
    reason: str


class ContactExpected(Event, frozen=True):
    """Somebody was told the address given to `accept_contacts`, and is to show this token there, once.

    Whoever shows no token expected for `identity`, or one shown before, is not who they say.
    """

    identity: str
    token: str


class ContactFound(msgspec.Struct, frozen=True):
    """Where `identity` accepts direct connections, and the token to show there, which that side was told, too."""

    identity: str
    address: str
    token: str


class Banned(msgspec.Struct, frozen=True):
    """Who is kept out, until a Unix time: an identity or an address; `by` is empty where an operator did it."""

    who: str
    until: float
    reason: str
    by: str


class Delivered(msgspec.Struct, frozen=True):
    """Which way a private message went: over a connection between the two, or relayed; and how many it reached.

    Attributes:
        direct: whether the other client itself has acknowledged it.
        sessions: how many sessions of that identity have it; 0 where it is away.
    """

    direct: bool
    sessions: int


class Sent(msgspec.Struct, frozen=True):
    """Where a message of one's own is: durable, at `index` of its room."""

    room: str
    index: int
    epoch: int


class HistoryPage(msgspec.Struct, frozen=True):
    """A page of a room's archive, oldest first; `more` says whether there is more in the direction asked for."""

    room: str
    messages: tuple[Said, ...]
    more: bool


class SearchResults(msgspec.Struct, frozen=True):
    """What has the words of a query, the newest first; `more` says whether there is more that is older."""

    query: str
    messages: tuple[Said, ...]
    more: bool


def said_from(line: SaidExtended, *, own: bool = False) -> Said:
    """Return what a wire message says."""
    return Said(line.roomid, line.index, line.epoch, line.id, line.identity, line.content, line.time, own)
