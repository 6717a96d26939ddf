"""What follows from an act: what is told to whom, and what becomes of sessions. Pure.

`Hall.apply` returns these, in order; a node performs those that concern its own clients.
"""

import msgspec

from chatproto.chat.bans import Ban
from chatproto.chat.messages import Error, HistoryWanted, Message
from chatproto.chat.people import Member


class TellRooms(msgspec.Struct, gc=False):
    """Everybody in any of these rooms hears a line, once."""

    rooms: tuple[str, ...]
    line: Message


class Tell(msgspec.Struct, gc=False):
    """One member hears a line."""

    member: Member
    line: Message


class Refuse(msgspec.Struct, gc=False):
    """One member, if it speaks the extensions, hears why."""

    member: Member
    error: Error


class Entered(msgspec.Struct, gc=False):
    """A member is in a room from here on, and wants the archive from `index`, or by `history` where that is None.

    `epoch` is that of the message before `index` as the client holds it, if it said so.
    """

    member: Member
    room: str
    index: int | None
    history: HistoryWanted
    epoch: int | None


class Left(msgspec.Struct, gc=False):
    """A member is in a room no longer."""

    member: Member
    room: str


class Arrived(msgspec.Struct, gc=False):
    """A session is present."""

    member: Member


class Attached(msgspec.Struct, gc=False):
    """A member's client has come to `member.node`, which serves the session from here on."""

    member: Member


class Unknown(msgspec.Struct, gc=False):
    """A client came with a session that there is not, or no more."""


class Overtaken(msgspec.Struct, gc=False):
    """The act was meant for another epoch, and nothing follows from it."""


class Expected(msgspec.Struct, gc=False):
    """A member's client is expected at `member.node`, which serves the session from here on."""

    member: Member


class Gone(msgspec.Struct, gc=False):
    """A session is over."""

    member: Member


class Ended(msgspec.Struct, gc=False):
    """A room is no more."""

    room: str


class Warned(msgspec.Struct, gc=False):
    """One member hears why something is not done for it, a base client too."""

    member: Member
    error: Error


class Dismissed(msgspec.Struct, gc=False):
    """One member hears why its session is ended, which follows."""

    member: Member
    error: Error


class Denied(msgspec.Struct, gc=False):
    """A session that was to begin does not: nobody knows of it but the node that asked for it."""

    session: str
    error: Error


class Traced(msgspec.Struct, gc=False):
    """The address that a member without an account comes from is to be banned, which only its node knows."""

    member: Member
    ban: Ban


class Announced(msgspec.Struct, gc=False):
    """Everybody hears something from the server itself."""

    content: str


class Verdict(msgspec.Struct, gc=False):
    """Whoever operates the node hears what became of what they asked for: None where it was done."""

    error: Error | None


Effect = (
    TellRooms
    | Tell
    | Refuse
    | Entered
    | Left
    | Arrived
    | Attached
    | Unknown
    | Overtaken
    | Expected
    | Gone
    | Ended
    | Warned
    | Dismissed
    | Denied
    | Traced
    | Announced
    | Verdict
)
