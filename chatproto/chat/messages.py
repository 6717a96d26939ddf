"""The wire messages of the client link, typed: what `client-link` in the docs lists, and nothing else.

Messages from clients come in two dialects. A client that has not said `hello` is a *base* client: what it
sends is read by the base types, for which every extension field is unknown and so ignored. After `hello` the
extended types hold. The fields and their order are those of the protocol reference.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from chatproto.errors import WireError

VERSION = 1
"""The version of the extensions that `hello` and `welcome` speak of."""


Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number from a client. JSON has no bound for it, disks and other languages have."""


class Message(msgspec.Struct, frozen=True, tag_field="type", gc=False, omit_defaults=False):
    """What every wire message is."""


# From clients: base


class IdentityChange(Message, frozen=True, tag="identitychange"):
    """Asks for another name."""

    identity: str


class Join(Message, frozen=True, tag="join"):
    """Moves into a room."""

    roomid: str


class Who(Message, frozen=True, tag="who"):
    """Asks who is in a room."""

    roomid: str


class CreateRoom(Message, frozen=True, tag="createroom"):
    """Makes a room, owned by the asker."""

    roomid: str


class Delete(Message, frozen=True, tag="delete"):
    """Deletes a room of one's own."""

    roomid: str


class List(Message, frozen=True, tag="list"):
    """Asks for all rooms."""


class Quit(Message, frozen=True, tag="quit"):
    """Leaves."""


class Say(Message, frozen=True, tag="message"):
    """Says something in the current room."""

    content: str


class Kick(Message, frozen=True, tag="kick"):
    """Puts a member out of one's own room for a number of seconds."""

    roomid: str
    identity: str
    time: Number


class Resume(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where to go on in a room: `index` of the first message wanted, `epoch` of the last one held."""

    roomid: str
    index: Number = msgspec.field(name="from")
    epoch: Number | None = None


HistoryWanted = str | Number | None
"""`"all"`, `"none"`, or how many of the last messages; None for the server's default."""


class Hello(Message, frozen=True, tag="hello", omit_defaults=True):
    """The first line of an extended client."""

    version: Number
    identity: str | None = None
    session: str | None = None
    resume: list[Resume] = []
    history: HistoryWanted = None
    account: str | None = None
    password: str | None = None
    ticket: str | None = None


# From clients: extended


class SayExtended(Message, frozen=True, tag="message", omit_defaults=True):
    """Says something, with an id that is kept for every retry."""

    content: str
    id: str | None = None
    roomid: str | None = None


class JoinExtended(Message, frozen=True, tag="join", omit_defaults=True):
    """Moves into a room, or enters one more with `stay`."""

    roomid: str
    stay: bool = False
    index: Number | None = msgspec.field(name="from", default=None)
    history: HistoryWanted = None
    epoch: Number | None = None


class Leave(Message, frozen=True, tag="leave"):
    """Leaves one of several rooms."""

    roomid: str


class HistoryAsked(Message, frozen=True, tag="history", omit_defaults=True):
    """Asks for a page of a room's archive: from an index on, or the last ones before an index."""

    roomid: str
    index: Number | None = msgspec.field(name="from", default=None)
    before: Number | None = None
    limit: Number = 100


class SearchAsked(Message, frozen=True, tag="search", omit_defaults=True):
    """Asks for messages with these words, the newest first: of one room, or of all that the session is in."""

    query: str
    roomid: str | None = None
    before: Number | None = None
    limit: Number = 20


class StatusAsked(Message, frozen=True, tag="status"):
    """Asks how far this client has been brought; as the first line of a connection, how the node is."""


class PrivateAsked(Message, frozen=True, tag="private"):
    """Says something to one identity only; not archived."""

    to: str
    content: str
    id: str


class ContactAsked(Message, frozen=True, tag="contact", omit_defaults=True):
    """Offers an `address` for direct connections, or asks for the one of `identity`."""

    address: str | None = None
    identity: str | None = None


class BanAsked(Message, frozen=True, tag="ban", omit_defaults=True):
    """Keeps an `identity` or an `address`, which may be a network, out for a number of seconds; for admins."""

    time: Number
    identity: str | None = None
    address: str | None = None
    reason: str = ""


class UnbanAsked(Message, frozen=True, tag="unban", omit_defaults=True):
    """Lets an `identity` or an `address` in again; for admins."""

    identity: str | None = None
    address: str | None = None


class BansAsked(Message, frozen=True, tag="bans"):
    """Asks who is kept out; for admins."""


class SilenceAsked(Message, frozen=True, tag="silence"):
    """Has nothing published that somebody says, for a number of seconds; for admins."""

    identity: str
    time: Number


class UnsilenceAsked(Message, frozen=True, tag="unsilence"):
    """Lets somebody speak again; for admins."""

    identity: str


class CloseAsked(Message, frozen=True, tag="close"):
    """Deletes a room, whoever owns it; for admins."""

    roomid: str


class AnnounceAsked(Message, frozen=True, tag="announce"):
    """Has everybody hear something from the server itself; for admins."""

    content: str


class Ping(Message, frozen=True, tag="ping"):
    """Asks for a `pong`; its fields are echoed."""


class Pong(Message, frozen=True, tag="pong"):
    """Answers a `ping`."""


BaseRequest = IdentityChange | Join | Who | CreateRoom | Delete | List | Quit | Say | Kick | Hello
ExtendedRequest = (
    IdentityChange
    | JoinExtended
    | Who
    | CreateRoom
    | Delete
    | List
    | Quit
    | SayExtended
    | Kick
    | Hello
    | Leave
    | HistoryAsked
    | SearchAsked
    | StatusAsked
    | PrivateAsked
    | ContactAsked
    | BanAsked
    | UnbanAsked
    | BansAsked
    | SilenceAsked
    | UnsilenceAsked
    | CloseAsked
    | AnnounceAsked
    | Ping
    | Pong
)
Request = BaseRequest | ExtendedRequest
FirstRequest = BaseRequest | StatusAsked
Question = Hello | StatusAsked
"""What is read on a connection that began with `status`."""


# From the server: base


class NewIdentity(Message, frozen=True, tag="newidentity"):
    """Somebody's name is now `identity`; equal to `former` where a change was refused."""

    former: str
    identity: str


class RoomChange(Message, frozen=True, tag="roomchange"):
    """Somebody went from `former` to `roomid`; empty where there is none."""

    identity: str
    former: str
    roomid: str


class RoomContents(Message, frozen=True, tag="roomcontents"):
    """Who is in a room; `owner` is empty where it has none."""

    roomid: str
    identities: list[str]
    owner: str


class RoomCount(msgspec.Struct, frozen=True, gc=False):
    """A room and how many are in it."""

    roomid: str
    count: int


class RoomList(Message, frozen=True, tag="roomlist"):
    """All rooms."""

    rooms: list[RoomCount]


class Said(Message, frozen=True, tag="message"):
    """Something said, as base clients receive it."""

    identity: str
    content: str


# From the server: extended


class Welcome(Message, frozen=True, tag="welcome", omit_defaults=True):
    """The answer to `hello`.

    `pages` are the addresses of the servers' pages, for clients in browsers; `tls` those of `servers` that speak TLS.
    `account`, with its roles, is that of whoever is logged in; there is a `ticket` after a password.
    """

    version: int
    server: str
    session: str
    identity: str
    epoch: int
    role: str
    redundancy: str
    servers: list[str]
    pages: list[str] = []
    account: str | None = None
    ticket: str | None = None
    roles: list[str] = []
    tls: list[str] = []


class SaidExtended(Message, frozen=True, tag="message"):
    """Something said, with its place: `index` in the room's archive, from 1."""

    identity: str
    content: str
    roomid: str
    index: int
    epoch: int
    id: str
    time: float


class Ack(Message, frozen=True, tag="ack"):
    """A message is committed: durable on `durable` nodes, at `index` of its room."""

    id: str
    roomid: str
    index: int
    epoch: int
    durable: int


class PrivateAck(Message, frozen=True, tag="ack"):
    """A private message reached so many sessions."""

    id: str
    to: str
    delivered: int


class Rewind(Message, frozen=True, tag="rewind"):
    """Forget what you hold of this room from this index on."""

    roomid: str
    index: int


class Gap(Message, frozen=True, tag="gap"):
    """The messages `from` to `to` of a room will never come."""

    roomid: str
    index: int = msgspec.field(name="from")
    to: int
    reason: str


class History(Message, frozen=True, tag="history"):
    """A page of a room's archive."""

    roomid: str
    messages: list[SaidExtended]
    more: bool


class Search(Message, frozen=True, tag="search"):
    """What has the words asked for, newest first; `more` says whether there is more that is older."""

    query: str
    messages: list[SaidExtended]
    more: bool


class RoomStatus(msgspec.Struct, frozen=True, gc=False):
    """A room's archive and how far this client has been brought in it, as positions."""

    roomid: str
    archived: int
    transferred: int


class PeerStatus(msgspec.Struct, frozen=True):
    """Another node: `lag` is how many entries it is behind."""

    name: str
    role: str
    lag: int


class Status(Message, frozen=True, tag="status"):
    """How far this client has been brought: current when `transferred` (MT) equals `archived` (MA); how the node is.

    What comes after `waits_for` is told to who asks in the first line of a connection only, as operators do.
    """

    rooms: list[RoomStatus]
    archived: int
    transferred: int
    epoch: int
    role: str
    redundancy: str
    peers: list[PeerStatus]
    server: str = ""
    clients: int = 0
    capacity: int = 0
    serving: bool = True
    witness: str = ""
    waits_for: str = ""
    pages: list[str] = []
    version: str | UnsetType = UNSET
    up_s: float | UnsetType = UNSET
    room_count: int | UnsetType = UNSET
    entries: int | UnsetType = UNSET
    dropped: int | UnsetType = UNSET


class Private(Message, frozen=True, tag="private"):
    """Said to this client only."""

    identity: str
    content: str
    id: str
    time: float


class Contact(Message, frozen=True, tag="contact", omit_defaults=True):
    """Where `identity` accepts a direct connection, or, without an address, who is about to make one."""

    identity: str
    token: str
    address: str | None = None


class BanEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One who is kept out: an `identity` or an `address`, until a time in Unix seconds; `by` is empty for operators."""

    until: float
    reason: str
    by: str
    identity: str | None = None
    address: str | None = None


class BanList(Message, frozen=True, tag="bans"):
    """Who is kept out."""

    bans: list[BanEntry]


class Redirect(Message, frozen=True, tag="redirect", omit_defaults=True):
    """Go to one of `servers`, `tls` of which speak TLS, or in a browser of `pages`, after so many milliseconds."""

    servers: list[str]
    reason: str
    after: int
    pages: list[str] = []
    tls: list[str] = []


class Notice(Message, frozen=True, tag="notice"):
    """News of the node itself."""

    code: str
    content: str


class Error(Message, frozen=True, tag="error", omit_defaults=True):
    """Something was refused; the codes are listed in the protocol reference. `after` is in milliseconds."""

    code: str
    message: str
    id: str | None = None
    roomid: str | None = None
    after: int | None = None


ServerMessage = (
    NewIdentity
    | RoomChange
    | RoomContents
    | RoomList
    | SaidExtended
    | Welcome
    | Ack
    | Rewind
    | Gap
    | History
    | Search
    | Status
    | Private
    | Contact
    | BanList
    | Redirect
    | Notice
    | Error
    | Ping
    | Pong
)

NONSENSE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises. Text that is no UTF-8, and depth beyond Python's stack, have exceptions of their own."""

_encoder = msgspec.json.Encoder()
_server = msgspec.json.Decoder(ServerMessage)
_private_ack = msgspec.json.Decoder(PrivateAck)
_content = msgspec.json.Decoder(Said)


def encode(message: Message) -> bytes:
    """Return the line of a message, with its newline."""
    return _encoder.encode(message) + b"\n"


def decode_content(line: bytes) -> str:
    """Return the content of a stored line."""
    return _content.decode(line).content


def decode_server_line(line: bytes) -> "ServerMessage | PrivateAck":
    """Read a line from a server, as an extended client does.

    Raises:
        WireError: it is not a message of the protocol.
    """
    try:
        message: ServerMessage = _server.decode(line)
        return message
    except NONSENSE as error:
        # Two messages share the type `ack`; the rarer one is tried when the other does not fit.
        try:
            return _private_ack.decode(line)
        except NONSENSE:
            raise WireError(str(error)) from None
