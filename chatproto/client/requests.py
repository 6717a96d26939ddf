"""What can be asked of a server, and which of its lines are the answers. Pure.

A request without an id is followed by a *fence*: `who` for a room that cannot exist, whose name is used once. A
session is answered in the order it asked, so all that comes before the fence's `roomcontents` and can be the
answer is the answer. Without it a `kick` that worked could not be told from one under way, nor the late answer
to a request of an earlier connection from the one waited for.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from chatproto.chat.bans import is_address
from chatproto.chat.messages import (
    AnnounceAsked,
    BanAsked,
    BanEntry,
    BanList,
    BansAsked,
    CloseAsked,
    Contact,
    ContactAsked,
    CreateRoom,
    Delete,
    Error,
    History,
    HistoryAsked,
    HistoryWanted,
    IdentityChange,
    JoinExtended,
    Kick,
    Leave,
    List,
    Message,
    NewIdentity,
    PrivateAsked,
    RoomChange,
    RoomContents,
    RoomList,
    SayExtended,
    Search,
    SearchAsked,
    SilenceAsked,
    Status,
    StatusAsked,
    UnbanAsked,
    UnsilenceAsked,
    Who,
    encode,
)
from chatproto.client.events import Banned, ContactFound, HistoryPage, Members, SearchResults, said_from
from chatproto.errors import ClientError

NEWEST = 2**53 - 1
"""An index that no room reaches."""

ADDRESS_CHARS_MAX = 256
"""Servers cut what is longer."""


class Answer(msgspec.Struct, frozen=True):
    """What answers a request; the value is the caller's."""

    value: Any


class Speech(msgspec.Struct):
    """A line with an id, acknowledged by that id.

    Attributes:
        key: the id.
        again: whether it is sent again over the next connection: the log adds an id once, nothing does so for
            private messages.
    """

    key: str
    line: bytes
    again: bool


class Request(msgspec.Struct):
    """A line without an id.

    Attributes:
        key: by which its caller knows it.
        room: the room it is about; a refusal that names another one is not for it.
        late: whether its answer may come after its fence's.
        fenced: whether its fence's has come.
        hears: returns what a line answers to it, if the line does; also gets the client's identity before it.
        answer: what answered it so far.
        refusal: what refused it so far.
    """

    key: str
    line: bytes
    hears: Callable[[Message, str], Answer | None]
    room: str | None = None
    late: bool = False
    fenced: bool = False
    answer: Answer | None = None
    refusal: Error | None = None


def line_of(message: Message) -> bytes:
    """Return the line of a message.

    Raises:
        ClientError: it holds text that no line can.
    """
    try:
        return encode(message)
    except UnicodeEncodeError:
        raise ClientError("text must be encodable as UTF-8; this one holds a lone surrogate") from None


def say(key: str, content: str, room: str | None) -> Speech:
    """Say something; `room` None for the one joined last."""
    return Speech(key, line_of(SayExtended(content, key, room)), again=True)


def private(key: str, to: str, content: str) -> Speech:
    """Say something to one identity."""
    return Speech(key, line_of(PrivateAsked(to, content, key)), again=False)


def rename(key: str, identity: str) -> Request:
    """Take another identity; the answer is it."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, NewIdentity) and message.former == me and message.identity == identity:
            return Answer(identity)
        return None

    return Request(key, line_of(IdentityChange(identity)), hears)


def join(key: str, room: str, *, stay: bool, history: HistoryWanted) -> Request:
    """Enter a room; without `stay` the one entered last is left for it."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, RoomChange) and message.identity == me and message.former != message.roomid == room:
            return Answer(None)
        return None

    return Request(key, line_of(JoinExtended(room, stay, history=history)), hears, room)


def leave(key: str, room: str) -> Request:
    """Leave a room."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, RoomChange) and message.identity == me and message.roomid != message.former == room:
            return Answer(None)
        return None

    return Request(key, line_of(Leave(room)), hears, room)


def create_room(key: str, room: str) -> Request:
    """Make a room."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, RoomList) and any(count.roomid == room for count in message.rooms):
            return Answer(None)
        return None

    return Request(key, line_of(CreateRoom(room)), hears, room)


def delete_room(key: str, room: str) -> Request:
    """Delete a room of one's own."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, RoomList) and all(count.roomid != room for count in message.rooms):
            return Answer(None)
        return None

    return Request(key, line_of(Delete(room)), hears, room)


def kick(key: str, room: str, identity: str, seconds: int) -> Request:
    """Put a member out; an owner who is elsewhere is told nothing, so no refusal is the answer."""
    line = line_of(Kick(room, identity, seconds))
    return Request(key, line, lambda message, me: None, room, answer=Answer(None))


def _order(key: str, message: Message) -> Request:
    """Ask for what only those may who keep order; where it is done, nothing is answered."""
    return Request(key, line_of(message), lambda message, me: None, answer=Answer(None))


def ban(key: str, who: str, seconds: int, reason: str) -> Request:
    """Keep an identity or an address out."""
    return _order(key, BanAsked(seconds, *_identity_or_address(who), reason))


def unban(key: str, who: str) -> Request:
    """Let an identity or an address in again."""
    return _order(key, UnbanAsked(*_identity_or_address(who)))


def _identity_or_address(who: str) -> tuple[str | None, str | None]:
    return (None, who) if is_address(who) else (who, None)


def bans(key: str) -> Request:
    """Ask who is kept out."""

    def hears(message: Message, me: str) -> Answer | None:
        return Answer(tuple(map(banned_from, message.bans))) if isinstance(message, BanList) else None

    return Request(key, line_of(BansAsked()), hears)


def silence(key: str, identity: str, seconds: int) -> Request:
    """Have nothing published that somebody says."""
    return _order(key, SilenceAsked(identity, seconds))


def unsilence(key: str, identity: str) -> Request:
    """Let somebody speak again."""
    return _order(key, UnsilenceAsked(identity))


def close_room(key: str, room: str) -> Request:
    """Delete anybody's room."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, RoomList) and all(count.roomid != room for count in message.rooms):
            return Answer(None)
        return None

    return Request(key, line_of(CloseAsked(room)), hears, room)


def announce(key: str, content: str) -> Request:
    """Have everybody hear something from the server itself."""
    return _order(key, AnnounceAsked(content))


def who(key: str, room: str) -> Request:
    """Ask who is in a room."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, RoomContents) and message.roomid == room:
            return Answer(members_from(message))
        return None

    return Request(key, line_of(Who(room)), hears, room)


def list_rooms(key: str) -> Request:
    """Ask for all rooms."""

    def hears(message: Message, me: str) -> Answer | None:
        return Answer(rooms_from(message)) if isinstance(message, RoomList) else None

    return Request(key, line_of(List()), hears)


def status(key: str) -> Request:
    """Ask how far the client has been brought."""

    def hears(message: Message, me: str) -> Answer | None:
        return Answer(message) if isinstance(message, Status) else None

    return Request(key, line_of(StatusAsked()), hears)


def history_page(
    key: str, room: str, before: int | None, start: int | None, limit: int, is_own: Callable[[str], bool]
) -> Request:
    """Ask for a page of an archive, of the newest messages where neither `before` nor `start` is given."""
    if before is None and start is None:
        before = NEWEST

    def hears(message: Message, me: str) -> Answer | None:
        if not isinstance(message, History) or message.roomid != room:
            return None
        said = tuple(said_from(line, own=is_own(line.id)) for line in message.messages)
        return Answer(HistoryPage(room, said, message.more))

    return Request(key, line_of(HistoryAsked(room, start, before, limit)), hears, room)


def search(
    key: str, query: str, room: str | None, before: int | None, limit: int, is_own: Callable[[str], bool]
) -> Request:
    """Look for messages, in one room or in all that the session is in."""

    def hears(message: Message, me: str) -> Answer | None:
        if not isinstance(message, Search) or message.query != query:
            return None
        said = tuple(said_from(line, own=is_own(line.id)) for line in message.messages)
        return Answer(SearchResults(query, said, message.more))

    return Request(key, line_of(SearchAsked(query, room, before, limit)), hears, room)


def accept_contacts(address: str) -> bytes:
    """Offer an address for direct connections; nothing is answered."""
    if not 1 <= len(address) <= ADDRESS_CHARS_MAX:
        raise ClientError(f"an address has 1 to {ADDRESS_CHARS_MAX} characters")
    return line_of(ContactAsked(address=address))


NO_CONTACTS = line_of(ContactAsked(address=""))
"""Takes back the address that was offered."""


def contact(key: str, identity: str) -> Request:
    """Ask for somebody's address."""

    def hears(message: Message, me: str) -> Answer | None:
        if isinstance(message, Contact) and message.address is not None and message.identity == identity:
            return Answer(ContactFound(identity, message.address, message.token))
        return None

    return Request(key, line_of(ContactAsked(identity=identity)), hears, late=True)


def survey(first: bytes) -> Request:
    """Have the server say how things are, so that what comes later can be understood; nobody waits for it.

    `status` tells from where on each room is heard, even where nothing was said yet. `first` are lines before it.
    """
    asking = status("")
    asking.line = first + asking.line
    return asking


def members_from(line: RoomContents) -> Members:
    """Return what `roomcontents` says."""
    return Members(line.roomid, tuple(line.identities), line.owner)


def banned_from(entry: BanEntry) -> Banned:
    """Return what an entry of `bans` says."""
    return Banned(entry.identity or entry.address or "", entry.until, entry.reason, entry.by)


def rooms_from(line: RoomList) -> dict[str, int]:
    """Return what `roomlist` says."""
    return {count.roomid: count.count for count in line.rooms}
