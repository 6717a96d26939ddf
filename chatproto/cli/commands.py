"""What is typed, understood: a line becomes a command, a mistake, or nothing. Pure.

A line that begins with `#` is a command of the course protocol or one of ours; `##` says a line that begins
with `#`; anything else is said as it stands. `FORMS` is the whole grammar: help and completion read it too.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

SIGN = "#"
"""What a command begins with."""

_WORDS = re.compile(r"#(\S*)\s*(.*)", re.DOTALL)

KICK_S_MAX = 10**9
"""More seconds than anybody will wait; the server refuses what is longer still."""


@dataclass(frozen=True)
class Say:
    """Say something in the current room."""

    content: str


@dataclass(frozen=True)
class Private:
    """Say something to one identity only."""

    to: str
    content: str


@dataclass(frozen=True)
class ChangeIdentity:
    """Take another name."""

    identity: str


@dataclass(frozen=True)
class Join:
    """Move to a room; with `stay`, be in it besides the others."""

    room: str
    stay: bool = False


@dataclass(frozen=True)
class Leave:
    """Leave a room, the current one where none is named."""

    room: str | None = None


@dataclass(frozen=True)
class Who:
    """Ask who is in a room, the current one where none is named."""

    room: str | None = None


@dataclass(frozen=True)
class ListRooms:
    """Ask for all rooms."""


@dataclass(frozen=True)
class CreateRoom:
    """Make a room of one's own."""

    room: str


@dataclass(frozen=True)
class DeleteRoom:
    """Delete a room of one's own."""

    room: str


@dataclass(frozen=True)
class Kick:
    """Put a member out of one's own room for some seconds."""

    room: str
    identity: str
    seconds: int


@dataclass(frozen=True)
class Search:
    """Look for messages in the rooms that we are in."""

    query: str


@dataclass(frozen=True)
class Ban:
    """Keep somebody, or an address, out for some seconds."""

    who: str
    seconds: int
    reason: str = ""


@dataclass(frozen=True)
class Unban:
    """Let somebody, or an address, in again."""

    who: str


@dataclass(frozen=True)
class ListBans:
    """Ask who is kept out."""


@dataclass(frozen=True)
class Silence:
    """Have nothing published that somebody says, for some seconds."""

    identity: str
    seconds: int


@dataclass(frozen=True)
class Unsilence:
    """Let somebody speak again."""

    identity: str


@dataclass(frozen=True)
class CloseRoom:
    """Delete anybody's room."""

    room: str


@dataclass(frozen=True)
class Announce:
    """Have everybody hear something from the server itself."""

    content: str


@dataclass(frozen=True)
class ShowStatus:
    """Ask how the server is and how far this client has been brought."""


@dataclass(frozen=True)
class Help:
    """Explain one command, or all."""

    command: str | None = None


@dataclass(frozen=True)
class Quit:
    """Leave politely."""


Order = Ban | Unban | ListBans | Silence | Unsilence | CloseRoom | Announce
"""What only those may ask for who have the role admin."""

Request = (
    ChangeIdentity
    | Join
    | Leave
    | Who
    | ListRooms
    | CreateRoom
    | DeleteRoom
    | Kick
    | Private
    | Search
    | ShowStatus
    | Order
)
"""What the server is asked, and answers."""

Command = Say | Request | Help | Quit


@dataclass(frozen=True)
class Mistake:
    """Why a line is not understood, and what to type instead; nothing was sent."""

    text: str


@dataclass(frozen=True)
class Form:
    """How a command is typed.

    Attributes:
        arguments: their kinds in order: `ROOM`, `NAME`, `SECONDS`, `COMMAND`, `TEXT` (the rest of the line), or a
            word of its own in lower case. One in brackets may be left out.
        does: what it does, in one line.
        build: makes the command of the arguments given.
    """

    arguments: tuple[str, ...]
    does: str
    build: Callable[..., Command | Mistake]

    @property
    def needed(self) -> int:
        """How many arguments must be given."""
        return sum(not argument.startswith("[") for argument in self.arguments)


def _join(room: str, stay: str | None = None) -> Command | Mistake:
    if stay is not None and stay.casefold() != "stay":
        return Mistake(f"{stay!r} is not understood; usage: {usage('join')}")
    return Join(room, stay is not None)


def _kick(room: str, identity: str, seconds: str) -> Command | Mistake:
    span = _seconds("kick", seconds)
    return span if isinstance(span, Mistake) else Kick(room, identity, span)


def _ban(who: str, seconds: str, reason: str = "") -> Command | Mistake:
    span = _seconds("ban", seconds)
    return span if isinstance(span, Mistake) else Ban(who, span, reason)


def _silence(identity: str, seconds: str) -> Command | Mistake:
    span = _seconds("silence", seconds)
    return span if isinstance(span, Mistake) else Silence(identity, span)


def _seconds(command: str, typed: str) -> int | Mistake:
    if not (typed.isascii() and typed.isdecimal() and len(typed) <= 10 and 0 < int(typed) <= KICK_S_MAX):
        return Mistake(f"SECONDS is a whole number from 1 to {KICK_S_MAX}, not {typed!r}; usage: {usage(command)}")
    return int(typed)


def _help(command: str | None = None) -> Command | Mistake:
    if command is None:
        return Help()
    word = command.removeprefix(SIGN).casefold()
    return Help(word) if word in FORMS else _unknown(word)


FORMS: dict[str, Form] = {
    "help": Form(("[COMMAND]",), "explains one command, or lists all", _help),
    "join": Form(("ROOM", "[stay]"), "moves to a room; with stay, also keeps the rooms you are in", _join),
    "leave": Form(("[ROOM]",), "leaves a room, by default this one", Leave),
    "list": Form((), "lists the rooms and how many are in each", ListRooms),
    "who": Form(("[ROOM]",), "tells who is in a room, by default this one", Who),
    "identitychange": Form(("NAME",), "changes your name: 3 to 16 letters and digits", ChangeIdentity),
    "private": Form(("NAME", "TEXT"), "says something to one person only, if possible directly; not archived", Private),
    "createroom": Form(("ROOM",), "makes a room that you own: 3 to 32 letters and digits", CreateRoom),
    "delete": Form(("ROOM",), "deletes a room that you own, with its archive", DeleteRoom),
    "kick": Form(("ROOM", "NAME", "SECONDS"), "puts somebody out of a room that you own, for a while", _kick),
    "search": Form(("TEXT",), 'finds words, and words that begin so*, "or stand together", in your rooms', Search),
    "ban": Form(("NAME", "SECONDS", "[TEXT]"), "(admin) keeps a person or an address out; TEXT says why", _ban),
    "unban": Form(("NAME",), "(admin) lets a person or an address in again", Unban),
    "bans": Form((), "(admin) lists who is kept out", ListBans),
    "silence": Form(("NAME", "SECONDS"), "(admin) has nothing published that somebody says, for a while", _silence),
    "unsilence": Form(("NAME",), "(admin) lets somebody speak again", Unsilence),
    "close": Form(("ROOM",), "(admin) deletes anybody's room, with its archive", CloseRoom),
    "announce": Form(("TEXT",), "(admin) has everybody hear something, in every room", Announce),
    "status": Form((), "tells how the servers are and whether you are up to date", ShowStatus),
    "quit": Form((), "leaves the chat", Quit),
}


def usage(command: str) -> str:
    """Return how a command is typed."""
    return " ".join((SIGN + command, *FORMS[command].arguments))


def explanations(command: str | None = None, *, aligned: bool = True) -> list[str]:
    """Return the lines that explain a command, or all of them; `aligned` as a table with two columns."""
    explained = {usage(name): FORMS[name].does for name in ([command] if command is not None else FORMS)}
    if command is None:
        explained[SIGN * 2 + "TEXT"] = "says a line that begins with #"
    width = max(map(len, explained)) if aligned else 0
    return [f"{typed:{width}}  {does}" if aligned else f"{typed}: {does}" for typed, does in explained.items()]


def parse(line: str) -> Command | Mistake | None:
    """Return what a typed line asks for, or why it is not understood; None for a blank one."""
    line = line.rstrip("\r\n")
    if not line.strip():
        return None
    if not line.startswith(SIGN):
        return Say(line)
    if line.startswith(SIGN * 2):
        return Say(line[1:])
    typed, rest = _WORDS.fullmatch(line).groups()  # type: ignore[union-attr]
    word = typed.casefold()
    form = FORMS.get(word)
    if form is None:
        return _unknown(word)
    takes_rest = form.arguments[-1:] in (("TEXT",), ("[TEXT]",))
    arguments = rest.split(maxsplit=len(form.arguments) - 1) if takes_rest else rest.split()
    if not form.needed <= len(arguments) <= len(form.arguments):
        problem = "something is missing" if len(arguments) < form.needed else "that is too much; names have no spaces"
        return Mistake(f"{problem}; usage: {usage(word)}")
    return form.build(*arguments)


def _unknown(word: str) -> Mistake:
    near = get_close_matches(word, FORMS, n=1)
    hint = f"did you mean {SIGN}{near[0]}?" if near else "#help lists them."
    return Mistake(f"There is no command {SIGN}{word[:32]}; {hint} To say it, begin with ##.")
