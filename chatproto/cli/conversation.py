"""What the terminal shows: rooms with their lines, members and unread counts, made of the client's events.

Pure: time comes in as a number. A line is an object that keeps its identity as long as it shows the same, so
that whoever draws it can keep the drawing.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from chatproto.client import events
from chatproto.client.events import Event

ITEMS_HELD_MAX = 5000
"""Lines held of a room; beyond it the oldest go, and come back when scrolled to."""

ITEMS_DROPPED = 1000
EARLY_NOTES_MAX = 20

_OUT_OF_IT = frozenset({"no-such-room", "banned"})
"""What a server answers that does not let us back into a room."""


_WORRYING = ("alone", "isolated")
_SENDS_US_ON = {
    "full": "is full",
    "isolated": "is cut off and cannot serve",
    "draining": "is shutting down",
    "migrating": "hands over",
}


class Tone(Enum):
    """How a note is meant."""

    QUIET = auto()
    ANSWER = auto()
    WRONG = auto()


@dataclass(eq=False, frozen=True)
class Message:
    """Something said in a room, at its place in the archive."""

    index: int
    identity: str
    content: str
    time: float
    own: bool
    to_us: bool


@dataclass(eq=False, frozen=True)
class PrivateMessage:
    """Something said between two only; `identity` is the other one."""

    identity: str
    content: str
    time: float
    own: bool


@dataclass(eq=False, frozen=True)
class Note:
    """Something that nobody said."""

    text: str
    time: float
    tone: Tone = Tone.QUIET


@dataclass(eq=False)
class Pending:
    """Something said that the server has not acknowledged yet; `index` once it has, until it comes back."""

    identity: str
    content: str
    time: float
    index: int | None = None


@dataclass(eq=False, frozen=True)
class Unread:
    """Where to go on reading."""


Item = Message | PrivateMessage | Note | Pending | Unread


@dataclass
class RoomView:
    """A room that we are in.

    Attributes:
        name: its name.
        entered: when we entered it; what was said before counts as read.
        items: its lines, messages in the order of the archive.
        pending: what was said here and not acknowledged yet.
        last: the position up to which nothing is missing.
        more: whether the archive may have older messages than those held.
        members: who is in it.
        owner: who owns it; empty where nobody does.
        unread: messages that came while another room was shown.
        to_us: whether one of them names us.
    """

    name: str
    entered: float
    items: list[Item] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    last: int | None = None
    more: bool = True
    members: set[str] = field(default_factory=set)
    owner: str = ""
    unread: int = 0
    to_us: bool = False

    @property
    def first(self) -> int | None:
        """The position of the oldest message held."""
        return next((item.index for item in self.items if isinstance(item, Message)), None)

    def lines(self) -> list[Item]:
        """Return all there is to show, what is not acknowledged last."""
        return [*self.items, *self.pending]

    def add(self, item: Item) -> None:
        """Add a line at the end."""
        self.items.append(item)
        if len(self.items) > ITEMS_HELD_MAX:
            del self.items[:ITEMS_DROPPED]
            self.more = True

    def said(self, message: Message) -> bool:
        """Put a message in its place; return whether it is a new one."""
        if self.last is not None and message.index <= self.last:
            return self._late(message)
        if self.last is not None and message.index > self.last + 1:
            # Older pages are asked for from the oldest held on, so there may be no hole behind it.
            self.items = [item for item in self.items if not isinstance(item, Message)]
            self.more = True
        self.last = message.index
        self._settle(message)
        self.add(message)
        return True

    def _late(self, message: Message) -> bool:
        for place in range(len(self.items) - 1, -1, -1):
            item = self.items[place]
            if isinstance(item, Message) and item.index <= message.index:
                if item.index == message.index:
                    return False
                self.items.insert(place + 1, message)
                return True
        if self.first is None:
            self.items.append(message)
        return False

    def _settle(self, message: Message) -> None:
        """Take away the pending line that this message is."""
        for pending in self.pending:
            if pending.index == message.index or (
                message.own and pending.index is None and pending.content == message.content
            ):
                self.pending.remove(pending)
                return

    def acknowledged(self, pending: Pending, index: int) -> None:
        """Note that something said has its place; it stays shown until it comes back from there."""
        if pending not in self.pending:
            return
        if self.last is not None and index <= self.last:
            self.pending.remove(pending)
        else:
            pending.index = index

    def older(self, page: Sequence[Message], more: bool) -> None:
        """Put a page of older messages before those held."""
        first = self.first
        fresh = [message for message in page if first is None or message.index < first]
        self.items[:0] = fresh
        self.more = more and bool(fresh)
        if self.last is None and fresh:
            self.last = fresh[-1].index

    def rewound(self, index: int, now: float) -> None:
        """Forget the messages from a position on."""
        self.items = [item for item in self.items if not isinstance(item, Message) or item.index < index]
        self.last = index - 1
        self.add(
            Note(
                f"The servers went back to before message {index}; what was said since may come again.", now, Tone.WRONG
            )
        )

    def missing(self, start: int, end: int, reason: str, now: float) -> None:
        """Note that the messages `start` to `end` will never come."""
        if self.last is None or end > self.last:
            self.last = end
        self.add(Note(f"Messages {start} to {end} are no longer kept ({reason}).", now))


@dataclass
class Conversation:
    """All that the terminal shows.

    Attributes:
        identity: who we are.
        shown: the room that is shown, and spoken in.
        rooms: the rooms that we are in, in the order entered.
        counts: all rooms, with how many are in each.
        state: of the connection: `stopped`, `connecting`, `online`, `waiting`.
        server: where it leads.
        redundancy: how many servers hold what is said.
        reason: why there is no connection.
        lost: the server that was lost, why, and when, until there is one again.
    """

    identity: str = ""
    shown: str = ""
    rooms: dict[str, RoomView] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    state: str = "stopped"
    server: str = ""
    redundancy: str = ""
    reason: str = ""
    lost: tuple[str, str, float] | None = None
    _early: deque[Note] = field(default_factory=lambda: deque(maxlen=EARLY_NOTES_MAX))

    @property
    def here(self) -> RoomView | None:
        """The room that is shown."""
        return self.rooms.get(self.shown)

    @property
    def unacknowledged(self) -> int:
        """How much of what was said has no place yet."""
        return sum(pending.index is None for room in self.rooms.values() for pending in room.pending)

    def names(self) -> list[str]:
        """Return everybody we share a room with, those of the room shown first."""
        here = self.here
        first = sorted(here.members if here else (), key=str.casefold)
        others = {name for room in self.rooms.values() for name in room.members}
        return [*first, *sorted(others.difference(first), key=str.casefold)]

    def room_names(self) -> list[str]:
        """Return all rooms that we know of: ours first, in the order entered."""
        return [*self.rooms, *sorted(self.counts.keys() - self.rooms.keys(), key=str.casefold)]

    def show(self, name: str) -> None:
        """Show another room; what is unread in it is marked."""
        if name == self.shown or name not in self.rooms:
            return
        former = self.here
        if former is not None:
            former.items = [item for item in former.items if not isinstance(item, Unread)]
        self.shown = name
        room = self.rooms[name]
        if room.unread:
            left = room.unread
            for place in range(len(room.items) - 1, -1, -1):
                left -= isinstance(room.items[place], Message)
                if not left:
                    room.items.insert(place, Unread())
                    break
        room.unread, room.to_us = 0, False

    def turn(self, step: int) -> None:
        """Show the next room that we are in, or the one before."""
        names = list(self.rooms)
        if self.shown in names:
            self.show(names[(names.index(self.shown) + step) % len(names)])

    def note(self, text: str, now: float, tone: Tone = Tone.QUIET) -> None:
        """Show something that nobody said, in the room shown."""
        room = self.here
        if room is not None:
            room.add(Note(text, now, tone))
        else:
            self._early.append(Note(text, now, tone))

    def say(self, content: str, now: float) -> tuple[RoomView, Pending] | None:
        """Show what is about to be said in the room shown; None where there is none."""
        room = self.here
        if room is None:
            return None
        pending = Pending(self.identity, content, now)
        room.pending.append(pending)
        return room, pending

    def failed(self, room: RoomView, pending: Pending, reason: str, now: float) -> None:
        """Show that something was not said after all."""
        if pending in room.pending:
            room.pending.remove(pending)
        room.add(Note(f"Not said: {pending.content!r} ({reason})", now, Tone.WRONG))

    def private(self, identity: str, content: str, now: float, own: bool) -> None:
        """Show something said between two only, in the room shown."""
        room = self.here
        if room is not None:
            room.add(PrivateMessage(identity, content, now, own))

    def message(self, said: events.Said) -> Message:
        """Return the line of something said."""
        to_us = not said.own and bool(self.identity) and _names(said.content, self.identity)
        return Message(said.index, said.identity, said.content, said.time, said.own, to_us)

    def heard(self, event: Event, now: float) -> None:
        """Show what an event says."""
        match event:
            case events.StateChanged():
                self._state_changed(event, now)
            case events.Welcomed():
                self.identity = event.identity
            case events.Said():
                self._said(event)
            case events.Renamed():
                self._renamed(event.former, event.identity, now)
            case events.Moved():
                self._moved(event.identity, event.former, event.room, now)
            case events.Members():
                self.members(event.room, event.identities, event.owner)
            case events.Rooms():
                self.counts = dict(event.rooms)
            case events.PrivateSaid():
                self.private(event.identity, event.content, event.time, own=False)
            case events.Missing():
                if event.room in self.rooms:
                    self.rooms[event.room].missing(event.start, event.end, event.reason, now)
            case events.Rewound():
                if event.room in self.rooms:
                    self.rooms[event.room].rewound(event.index, now)
            case events.Noticed():
                worrying = event.code == "redundancy" and event.content.startswith(_WORRYING)
                self.note(event.content, now, Tone.WRONG if worrying else Tone.QUIET)
            case events.Refusal():
                if event.code in _OUT_OF_IT and event.room is not None:
                    self._left(event.room)
                self.note(f"Refused: {event.message or event.code}", now, Tone.WRONG)
            case events.Redirected():
                self.note(_sent_on(self.server, event), now)

    def _state_changed(self, event: events.StateChanged, now: float) -> None:
        if self.state == "online" and event.state == "waiting":
            self.lost = self.server, event.reason, now
        elif self.lost is not None and event.state == "online":
            former, reason, at = self.lost
            self.lost = None
            self.note(_failed_over(former, reason, event.server, now - at), now)
        self.state, self.server, self.redundancy = event.state, event.server, event.redundancy
        # A new try does not make it untrue why the last one failed.
        self.reason = event.reason or (self.reason if event.state == "connecting" else "")

    def members(self, name: str, identities: Iterable[str], owner: str) -> None:
        """Take who is in a room."""
        room = self.rooms.get(name)
        if room is not None:
            room.members, room.owner = set(identities), owner
            self.counts[name] = len(room.members)

    def entered(self, name: str, now: float) -> RoomView:
        """Be in a room; show it if none is shown."""
        room = self.rooms.setdefault(name, RoomView(name, now))
        if not self.shown:
            self.shown = name
            room.items += self._early
            self._early.clear()
        return room

    def _said(self, said: events.Said) -> None:
        room = self.rooms.get(said.room)
        if room is None:
            return
        message = self.message(said)
        if room.said(message) and not said.own and said.room != self.shown and said.time > room.entered:
            room.unread += 1
            room.to_us = room.to_us or message.to_us

    def _renamed(self, former: str, identity: str, now: float) -> None:
        if former == identity:
            return
        ours = former == self.identity
        if ours:
            self.identity = identity
        for room in self.rooms.values():
            if former in room.members or ours:
                room.members.discard(former)
                room.members.add(identity)
                room.owner = identity if room.owner == former else room.owner
                room.add(Note(f"You are now {identity}." if ours else f"{former} is now {identity}.", now))

    def _moved(self, identity: str, former: str, name: str, now: float) -> None:
        if former == name:
            return
        for room, step in ((former, -1), (name, 1)):
            if room in self.counts:
                self.counts[room] = max(0, self.counts[room] + step)
        ours = identity == self.identity
        if ours:
            self._we_moved(former, name, now)
        left, entered = self.rooms.get(former), self.rooms.get(name)
        if left is not None:
            left.members.discard(identity)
            left.add(Note(f"{identity} went to {name}." if name else f"{identity} left.", now))
        if entered is not None:
            entered.members.add(identity)
            # Of ourselves the title tells; a note would stand before the history that comes now.
            if not ours:
                entered.add(Note(f"{identity} came.", now))

    def _we_moved(self, former: str, name: str, now: float) -> None:
        follow = former == self.shown
        was_here = former in self.rooms
        self._left(former)
        if was_here and not name:
            # Somebody else may have wanted it so, and nothing else tells.
            self.note(f"You are no longer in {former}.", now)
        if name:
            self.entered(name, now)
            if follow:
                self.show(name)

    def _left(self, name: str) -> None:
        self.rooms.pop(name, None)
        if self.shown == name:
            self.shown = ""
            self.show(next(iter(self.rooms), ""))


def _sent_on(server: str, redirect: events.Redirected) -> str:
    """Return what a redirect means; `server` is empty where we were not let in yet."""
    why = _SENDS_US_ON.get(redirect.reason, f"sends us on ({redirect.reason})")
    return f"{server or 'The server'} {why}; going to {' or '.join(redirect.servers) or 'another one'}."


def _failed_over(former: str, reason: str, server: str, seconds: float) -> str:
    """Return what happened to the connection: `former` was lost, and after some seconds we are on `server`."""
    took = f"within {seconds:.0f} s" if seconds >= 10 else f"within {max(0.1, seconds):.1f} s"
    if reason.startswith("redirected"):
        return f"On {server} {took}."
    if server == former:
        return f"The connection to {server} was lost ({reason}); back {took}."
    return f"{former} is gone ({reason}); on {server} {took}."


def _names(content: str, identity: str) -> bool:
    return re.search(rf"\b{re.escape(identity)}\b", content, re.IGNORECASE) is not None
