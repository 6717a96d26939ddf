"""What chat writes into the log besides messages: the acts that change rooms, owners, identities and presence.

An act is asked for by one session and decided when it is applied, in the log's order, by every node alike: two
users who create one room at the same moment are two entries, and the first wins. Its body is one line of JSON.
"""

import msgspec

from chatproto.chat.messages import HistoryWanted, Resume


class Act(msgspec.Struct, frozen=True, tag_field="act", omit_defaults=True, gc=False):
    """What every act is."""


class Enter(Act, frozen=True, tag="enter"):
    """A session begins; `session` is its key from here on.

    Attributes:
        session: the id of this very entry.
        node: the name of the node that serves it.
        identity: the name asked for; None for a guest.
        token: the hash of the session's token; None for a base client, whose session ends with its connection.
        history: what of a room's archive it gets on joining, unless it says otherwise.
        stay: where to go on in MainHall, and the rooms to join besides it.
        account: whose session it is, as its node has seen proved; None for a guest. It has no `identity` then.
        opens: whether the account is made if there is none, because something else than the log knows it.
        ticket: the hash of what lets the account in again without its password, and until when; None for none.
        ticket_until: Unix seconds.
        time: Unix seconds, to be held against bans.
    """

    session: str
    node: str
    identity: str | None = None
    token: str | None = None
    history: HistoryWanted = None
    stay: list[Resume] = []
    account: str | None = None
    opens: bool = False
    ticket: str | None = None
    ticket_until: float = 0.0
    time: float = 0.0


class Attach(Act, frozen=True, tag="attach"):
    """A client came to a node with a session, which that node serves from here on.

    Whatever the client can have seen, on whatever node, stands before this in the log.

    Attributes:
        token: the hash of the token that the client came with.
        node: the name of the node that it came to.
        epoch: counts only in this epoch, so that what waited on a node that was cut off takes no session away from
            where its client has gone since; 0: in any.
    """

    token: str
    node: str
    epoch: int = 0


class Adopt(Act, frozen=True, tag="adopt"):
    """A node expects members to come to it: its own, as it begins a life, or those of the nodes that are away.

    Base clients among them are gone with their connections, lost by the server.

    Attributes:
        node: the name of the node.
        epoch: 0: `node` begins a life, and it is about its own members. Otherwise `node` leads this epoch alone, and
            it is about the members of all others; counts only in this epoch.
    """

    node: str
    epoch: int = 0


class Depart(Act, frozen=True, tag="depart"):
    """A session is over.

    Attributes:
        node: the name of the node that says so; it counts only while that node serves the session.
        lost: the server went away from the client, not the client from the server: rooms keep the name of
            their owner, and wait for whoever comes back under it.
    """

    session: str
    node: str
    lost: bool = False


class Rename(Act, frozen=True, tag="rename"):
    """A session takes another identity."""

    session: str
    identity: str


class Move(Act, frozen=True, tag="move"):
    """A session moves into a room, or with `stay` enters one more.

    Attributes:
        time: Unix seconds, to be held against bans.
        index: the first index wanted of the room's archive; None for the usual history.
        epoch: of the message before it, as the client holds it; None where it does not say.
    """

    session: str
    room: str
    time: float
    stay: bool = False
    index: int | None = None
    history: HistoryWanted = None
    epoch: int | None = None


class Part(Act, frozen=True, tag="part"):
    """A session leaves one of its rooms."""

    session: str
    room: str


class Create(Act, frozen=True, tag="create"):
    """A session makes a room and owns it; `limit` is how many it may own at once (0: any number)."""

    session: str
    room: str
    limit: int = 0


class Destroy(Act, frozen=True, tag="destroy"):
    """An owner deletes a room, or with `close` somebody who keeps order does."""

    session: str
    room: str
    close: bool = False


class Expel(Act, frozen=True, tag="expel"):
    """An owner, or somebody who keeps order, puts a member out until a time in Unix seconds."""

    session: str
    room: str
    identity: str
    until: float


class Forget(Act, frozen=True, tag="forget"):
    """Retention: of this room, nothing before `first` is kept."""

    room: str
    first: int


class Restart(Act, frozen=True, tag="restart"):
    """The log goes on from a copy: every session is over, lost by the servers, as `Depart.lost` says."""


class Decree(Act, frozen=True, kw_only=True):
    """What those ask for who keep order.

    Attributes:
        session: of a member, who has to be an admin; empty where an operator of a node asks.
    """

    session: str = ""


class Enroll(Decree, frozen=True, tag="enroll"):
    """There is an account from here on, or it is changed; with another secret its tickets are good no more.

    Attributes:
        name: its identity.
        secret: of its password, see `passwords`; None to leave it as it is.
        roles: what it may do; None to leave them as they are.
        new: refused where there is one; otherwise, refused where there is none. None: either.
    """

    name: str
    secret: str | None = None
    roles: list[str] | None = None
    new: bool | None = None


class Strike(Decree, frozen=True, tag="strike"):
    """An account is no more, its sessions end, and its rooms belong to nobody."""

    name: str


class Revoke(Decree, frozen=True, tag="revoke"):
    """An account's tickets are good no more, and its sessions end."""

    name: str


class Forbid(Decree, frozen=True, tag="forbid"):
    """Somebody is kept out: an account, whose sessions end, or an address or network.

    A guest's session ends, too, and the address that it came from is kept out.

    Attributes:
        subject: the identity, or what `bans.network_of` returns.
        until: Unix seconds.
        time: now, in Unix seconds.
        reason: what they are told.
        by: the identity of whoever asked for it, where a node asks in their place.
    """

    subject: str
    until: float
    time: float
    reason: str = ""
    by: str = ""


class Allow(Decree, frozen=True, tag="allow"):
    """Somebody is kept out no more."""

    subject: str


class Silence(Decree, frozen=True, tag="silence"):
    """Nothing that somebody says is published until a time in Unix seconds; 0 for at once again."""

    identity: str
    until: float


class Announce(Decree, frozen=True, tag="announce"):
    """Everybody hears something from the server itself."""

    content: str


AnyDecree = Enroll | Strike | Revoke | Forbid | Allow | Silence | Announce
AnyAct = (
    Enter | Attach | Adopt | Depart | Rename | Move | Part | Create | Destroy | Expel | Forget | Restart | AnyDecree
)

encode_act = msgspec.json.Encoder().encode
decode_act = msgspec.json.Decoder(AnyAct).decode
decode_decree = msgspec.json.Decoder(AnyDecree).decode
