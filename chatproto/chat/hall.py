"""The hall: rooms, owners, identities and presence, as replaying the log gives them. Pure.

`Hall.apply` takes one act after another and returns its effects: lines to tell and changes of who hears what.
A node performs the effects for the clients it serves itself; replaying the same log drops them. Messages
only move a room's `last`. A refusal is decided here too, and is an effect for the asker alone.

The rules are those of the table in the protocol reference; the base protocol is a course assignment described at
coldwave96.github.io/2021/09/17/ChatSystem, and the reference says where it had to be settled.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from chatproto.chat.acts import (
    Act,
    Adopt,
    Attach,
    Create,
    Depart,
    Destroy,
    Enter,
    Expel,
    Forget,
    Move,
    Part,
    Rename,
    Restart,
)
from chatproto.chat.messages import (
    Error,
    HistoryWanted,
    Message,
    NewIdentity,
    Resume,
    RoomChange,
    RoomContents,
    RoomCount,
    RoomList,
)
from chatproto.wire import MAIN_HALL, identity_allowed, room_allowed


class Member:
    """A session that is present.

    Attributes:
        key: the session's key.
        identity: its name, unique in the deployment.
        node: the name of the node that serves it.
        token: the hash of its token; None for a base client.
        rooms: the rooms it is in, the one joined last at the end.
        owned: the rooms it owns.
        banned: rooms it was put out of, with the Unix time until when.
        history: what it gets of an archive on joining.
    """

    __slots__ = ("banned", "history", "identity", "key", "node", "owned", "rooms", "token")

    def __init__(self, key: str, identity: str, node: str, token: str | None, history: HistoryWanted) -> None:
        """Make one that is nowhere yet."""
        self.key = key
        self.identity = identity
        self.node = node
        self.token = token
        self.history = history
        self.rooms: tuple[str, ...] = ()
        self.owned: frozenset[str] = frozenset()
        self.banned: dict[str, float] | None = None

    @property
    def room(self) -> str:
        """The room joined last: where it speaks when it does not say where."""
        return self.rooms[-1]


class Room:
    """A room.

    Attributes:
        owner: the name of its owner; empty for MainHall and ownerless rooms.
        owner_key: the key of the owner's session; None where the owner is away (see `Depart.lost`) or there is none.
        members: those in it by key, in the order they came.
        born: the first position that was its own; lower ones belonged to a deleted room of this name.
        first: the first position of its archive that is kept.
        last: the last position given out; `first - 1` when the archive is empty.
        dying: being deleted: its members are on their way out, and no list shows it any more.
    """

    __slots__ = ("born", "dying", "first", "last", "members", "name", "owner", "owner_key")

    def __init__(self, name: str, owner: str = "", owner_key: str | None = None, numbered: int = 0) -> None:
        """Make an empty one that goes on numbering after `numbered`."""
        self.name = name
        self.owner = owner
        self.owner_key = owner_key
        self.members: dict[str, Member] = {}
        self.born = self.first = numbered + 1
        self.last = numbered
        self.dying = False


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


Effect = TellRooms | Tell | Refuse | Entered | Left | Arrived | Attached | Unknown | Overtaken | Expected | Gone | Ended


class _MemberState(msgspec.Struct, array_like=True):
    key: str
    identity: str
    node: str
    token: str | None
    history: HistoryWanted
    rooms: tuple[str, ...]
    banned: dict[str, float] | None


class _RoomState(msgspec.Struct, array_like=True):
    name: str
    owner: str
    owner_key: str | None
    members: list[str]
    born: int
    first: int
    last: int


class _HallState(msgspec.Struct, array_like=True):
    members: list[_MemberState]
    rooms: list[_RoomState]
    numbered: dict[str, int]
    most: int = 0


class Hall:
    """The replayed state of chat.

    Attributes:
        members: every session that is present, by key.
        identities: the same, by name.
        tokens: those with a token, by its hash.
        rooms: every room, by name, MainHall first.
        most: the most sessions that were ever present at once.
    """

    def __init__(self) -> None:
        """Start with MainHall, empty."""
        self._clear()
        self._steps: dict[type[Act], Callable[[Any], Iterator[Effect]]] = {
            Enter: self._enter,
            Attach: self._attach,
            Adopt: self._adopt,
            Depart: self._depart,
            Rename: self._rename,
            Move: self._move,
            Part: self._part,
            Create: self._create,
            Destroy: self._destroy,
            Expel: self._expel,
            Forget: self._forget,
            Restart: self._restart,
        }

    def _clear(self) -> None:
        self.members: dict[str, Member] = {}
        self.identities: dict[str, Member] = {}
        self.tokens: dict[str, Member] = {}
        self.rooms: dict[str, Room] = {MAIN_HALL: Room(MAIN_HALL)}
        # Rooms whose owner is away, by the owner's name.
        self._waiting: dict[str, set[str]] = {}
        # The last position of rooms that are gone, so that (room, position) never means two messages.
        self._numbered: dict[str, int] = {}
        self._guest = 1
        self.most = 0

    # Questions

    def contents(self, name: str) -> RoomContents:
        """Return who is in a room; of a room that does not exist, an empty one."""
        room = self.rooms.get(name)
        if room is None:
            return RoomContents(name, [], "")
        return RoomContents(name, [member.identity for member in room.members.values()], room.owner)

    def listing(self, without: str | None = None) -> RoomList:
        """Return all rooms, but for one."""
        return RoomList(
            [
                RoomCount(name, len(room.members))
                for name, room in self.rooms.items()
                if name != without and not room.dying
            ]
        )

    def kept(self) -> dict[str, int]:
        """Return the first position kept of every room that ever dropped one, rooms that are gone included."""
        kept = {name: room.first for name, room in self.rooms.items() if room.first > 1}
        for name, last in self._numbered.items():
            kept.setdefault(name, last + 1)
        return kept

    # Changes

    def apply(self, act: Act, epoch: int) -> list[Effect]:
        """Take one act of an epoch, in the log's order, and return what follows from it, in order.

        Acts of a session that is not present (any more) change nothing.
        """
        if isinstance(act, Attach | Adopt) and act.epoch not in (0, epoch):
            return [Overtaken()]
        return list(self._steps[type(act)](act))

    def said(self, name: str, last: int) -> Room | None:
        """Note that a room's archive goes up to `last` now; return the room, or None if it is gone."""
        room = self.rooms.get(name)
        if room is None:
            self._numbered[name] = last
        else:
            room.last = last
        return room

    def _enter(self, act: Enter) -> Iterator[Effect]:
        if act.session in self.members:
            return  # Submitted again, by a node that could not know.
        wanted = act.identity
        good = wanted is not None and identity_allowed(wanted)
        taken = wanted in self.identities
        identity = wanted if wanted is not None and good and not taken else self._free_guest()
        member = Member(act.session, identity, act.node, act.token, act.history)
        self.members[member.key] = member
        self.most = max(self.most, len(self.members))
        self.identities[identity] = member
        if member.token is not None:
            self.tokens[member.token] = member
        yield Arrived(member)
        yield Tell(member, NewIdentity("", identity))
        if wanted is not None and not good:
            yield Refuse(
                member,
                Error("identity-invalid", f"{wanted[:64]!r} is not a name: 3 to 16 letters and digits"),
            )
        elif taken:
            yield Refuse(member, Error("identity-taken", f"somebody else is {wanted}"))
        self._claim(member)
        stay = {resume.roomid: resume for resume in act.stay}
        yield from self._into(member, MAIN_HALL, "", None, stay.pop(MAIN_HALL, None))
        for name, resume in stay.items():
            if name in self.rooms:
                yield from self._into(member, name, "", None, resume)
            else:
                yield Refuse(member, Error("no-such-room", f"there is no room {name[:64]}", roomid=name))

    def _free_guest(self) -> str:
        # A room whose owner is away waits for somebody who says its name, not for a newcomer given it by chance.
        while (name := f"guest{self._guest}") in self.identities or name in self._waiting:
            self._guest += 1
        return name

    def _claim(self, member: Member) -> None:
        for name in self._waiting.pop(member.identity, ()):
            self.rooms[name].owner_key = member.key
            member.owned |= {name}

    def _into(
        self, member: Member, name: str, former: str, history: HistoryWanted = None, resume: Resume | None = None
    ) -> Iterator[Effect]:
        """Tell of a member's coming, from `former` or from nowhere, and let it in."""
        room = self.rooms[name]
        change = RoomChange(member.identity, former, name)
        if former:
            yield TellRooms((former, name), change)
            yield from self._out(member, former)
        else:
            yield TellRooms((name,), change)
        # The newcomer hears of its own coming once: as a member of the room it left, or here.
        if not former:
            yield Tell(member, change)
        room.members[member.key] = member
        member.rooms += (name,)
        if name == MAIN_HALL:
            yield Tell(member, self.listing())
            yield Tell(member, self.contents(MAIN_HALL))
        index, epoch = (resume.index, resume.epoch) if resume is not None else (None, None)
        yield Entered(member, name, index, member.history if history is None else history, epoch)

    def _out(self, member: Member, name: str, *, lost: bool = False) -> Iterator[Effect]:
        """Let a member out of a room, which ends if nobody is left and nobody owns it; lost members may be back."""
        room = self.rooms[name]
        del room.members[member.key]
        member.rooms = tuple(other for other in member.rooms if other != name)
        yield Left(member, name)
        if not lost:
            yield from self._end_if_over(room)

    def _end_if_over(self, room: Room) -> Iterator[Effect]:
        if not room.members and not room.owner and room.name != MAIN_HALL:
            yield from self._end(room)

    def _end(self, room: Room) -> Iterator[Effect]:
        del self.rooms[room.name]
        if room.last:
            self._numbered[room.name] = room.last
        yield Ended(room.name)

    def _attach(self, act: Attach) -> Iterator[Effect]:
        member = self.tokens.get(act.token)
        if member is None:
            yield Unknown()
        else:
            member.node = act.node
            yield Attached(member)

    def _adopt(self, act: Adopt) -> Iterator[Effect]:
        begins = act.epoch == 0
        for member in [member for member in self.members.values() if (member.node == act.node) == begins]:
            if member.token is None:
                yield from self._gone(member, lost=True)
            else:
                member.node = act.node
                yield Expected(member)

    def _depart(self, act: Depart) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is not None and member.node == act.node:
            yield from self._gone(member, lost=act.lost)

    def _gone(self, member: Member, *, lost: bool) -> Iterator[Effect]:
        """End a session; `lost`: see `Depart.lost`."""
        del self.members[member.key]
        for name in member.rooms:
            yield TellRooms((name,), RoomChange(member.identity, name, ""))
        for name in member.owned:
            room = self.rooms[name]
            room.owner_key = None
            if lost:
                self._waiting.setdefault(member.identity, set()).add(name)
            else:
                room.owner = ""
        for name in member.rooms:
            yield from self._out(member, name, lost=lost)
        for name in sorted(member.owned):
            if name in self.rooms:
                yield from self._end_if_over(self.rooms[name])
        del self.identities[member.identity]
        if member.token is not None:
            del self.tokens[member.token]
        self._freed(member.identity)
        yield Gone(member)

    def _freed(self, identity: str) -> None:
        number = identity.removeprefix("guest")
        if number != identity and number.isdecimal():
            self._guest = max(1, min(self._guest, int(number)))

    def _rename(self, act: Rename) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        former, identity = member.identity, act.identity
        if not identity_allowed(identity) or identity in self.identities:
            yield Tell(member, NewIdentity(former, former))
            if not identity_allowed(identity):
                yield Refuse(
                    member,
                    Error("identity-invalid", f"{identity[:64]!r} is not a name: 3 to 16 letters and digits"),
                )
            elif identity != former:
                yield Refuse(member, Error("identity-taken", f"somebody else is {identity}"))
            return
        member.identity = identity
        del self.identities[former]
        self.identities[identity] = member
        for name in member.owned:
            self.rooms[name].owner = identity
        self._freed(former)
        self._claim(member)
        yield TellRooms(member.rooms, NewIdentity(former, identity))

    def _move(self, act: Move) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        name = act.room
        room = self.rooms.get(name)
        refusal = None
        if room is None:
            refusal = Error("no-such-room", f"there is no room {name[:64]}", roomid=name)
        elif name in member.rooms:
            refusal = Error("already-there", f"you are in {name}", roomid=name)
        elif self._is_banned(member, name, act.time):
            refusal = Error("banned", f"its owner put you out of {name} for a while", roomid=name)
        if refusal is not None:
            yield Tell(member, RoomChange(member.identity, member.room, member.room))
            yield Refuse(member, refusal)
        else:
            resume = None if act.index is None else Resume(name, act.index, act.epoch)
            yield from self._into(member, name, "" if act.stay else member.room, act.history, resume)

    @staticmethod
    def _is_banned(member: Member, name: str, time: float) -> bool:
        if member.banned is None or name not in member.banned or name in member.owned:
            return False
        if time < member.banned[name]:
            return True
        del member.banned[name]
        return False

    def _part(self, act: Part) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        if act.room not in member.rooms:
            yield Refuse(member, Error("not-a-member", f"you are not in {act.room[:64]}", roomid=act.room))
        elif len(member.rooms) == 1:
            if act.room != MAIN_HALL:
                yield from self._into(member, MAIN_HALL, act.room)
            else:
                yield Refuse(member, Error("last-room", "MainHall is where those are who are nowhere else"))
        else:
            yield TellRooms((act.room,), RoomChange(member.identity, act.room, ""))
            yield from self._out(member, act.room)

    def _create(self, act: Create) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        name = act.room
        if name in self.rooms:
            refusal = Error("room-taken", f"there is a room {name} already", roomid=name)
        elif not room_allowed(name):
            refusal = Error("room-invalid", f"{name[:64]!r} is not a name: 3 to 32 letters and digits", roomid=name)
        elif act.limit and len(member.owned) >= act.limit:
            refusal = Error("too-many-rooms", f"you own {len(member.owned)} rooms already", roomid=name)
        else:
            self.rooms[name] = Room(name, member.identity, member.key, self._numbered.pop(name, 0))
            member.owned |= {name}
            yield Tell(member, self.listing())
            return
        # Clients conclude "created" from seeing the name, so it is left out even where it is true.
        yield Tell(member, self.listing(without=name))
        yield Refuse(member, refusal)

    def _destroy(self, act: Destroy) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        name = act.room
        if name in member.owned:
            room = self.rooms[name]
            member.owned -= {name}
            room.owner, room.owner_key, room.dying = "", None, True
            for other in list(room.members.values()):
                yield from self._to_main_hall(other, name)
            if name in self.rooms:
                yield from self._end(room)
            yield Tell(member, self.listing())
            return
        yield Tell(member, self.listing())
        if name not in self.rooms:
            yield Refuse(member, Error("no-such-room", f"there is no room {name[:64]}", roomid=name))
        else:
            yield Refuse(member, Error("not-the-owner", f"{name} is not yours", roomid=name))

    def _expel(self, act: Expel) -> Iterator[Effect]:
        owner = self.members.get(act.session)
        if owner is None:
            return
        member = self.identities.get(act.identity)
        room = self.rooms.get(act.room)
        if room is None:
            refusal = Error("no-such-room", f"there is no room {act.room[:64]}", roomid=act.room)
        elif act.room not in owner.owned:
            refusal = Error("not-the-owner", f"{act.room} is not yours", roomid=act.room)
        elif member is owner:
            refusal = Error("not-oneself", "you cannot put yourself out", roomid=act.room)
        elif member is None or act.room not in member.rooms:
            refusal = Error("not-a-member", f"{act.identity[:64]} is not in {act.room}", roomid=act.room)
        else:
            member.banned = {**(member.banned or {}), act.room: act.until}
            yield from self._to_main_hall(member, act.room)
            return
        yield Refuse(owner, refusal)

    def _to_main_hall(self, member: Member, name: str) -> Iterator[Effect]:
        """Move a member out of a room that it does not leave by itself."""
        if MAIN_HALL in member.rooms:
            yield TellRooms((name,), RoomChange(member.identity, name, ""))
            yield from self._out(member, name)
        else:
            yield from self._into(member, MAIN_HALL, name)

    def _forget(self, act: Forget) -> Iterator[Effect]:
        room = self.rooms.get(act.room)
        if room is not None and room.first < act.first <= room.last + 1:
            room.first = act.first
        yield from ()

    def _restart(self, act: Restart) -> Iterator[Effect]:
        for member in list(self.members.values()):
            yield from self._gone(member, lost=True)

    # The whole state

    def snapshot(self) -> bytes:
        """Return the state, encoded."""
        state = _HallState(
            [
                _MemberState(m.key, m.identity, m.node, m.token, m.history, m.rooms, m.banned)
                for m in self.members.values()
            ],
            [
                _RoomState(r.name, r.owner, r.owner_key, list(r.members), r.born, r.first, r.last)
                for r in self.rooms.values()
            ],
            self._numbered,
            self.most,
        )
        return msgspec.msgpack.encode(state)

    @classmethod
    def restored(cls, data: bytes) -> "Hall":
        """Make a hall of what `snapshot` returned."""
        hall = cls()
        hall.restore(data)
        return hall

    def restore(self, data: bytes | None) -> None:
        """Become what `snapshot` returned; empty, where there is none."""
        self._clear()
        if data is None:
            return
        state = msgspec.msgpack.decode(data, type=_HallState)
        for m in state.members:
            member = Member(m.key, m.identity, m.node, m.token, m.history)
            member.rooms, member.banned = m.rooms, m.banned
            self.members[m.key] = self.identities[m.identity] = member
            if m.token is not None:
                self.tokens[m.token] = member
        for r in state.rooms:
            room = self.rooms[r.name] = Room(r.name, r.owner, r.owner_key, r.last)
            room.born, room.first = r.born, r.first
            room.members = {key: self.members[key] for key in r.members}
            if r.owner_key is not None:
                self.members[r.owner_key].owned |= {r.name}
            elif r.owner:
                self._waiting.setdefault(r.owner, set()).add(r.name)
        self._numbered = state.numbered
        # A snapshot of before it was counted says 0.
        self.most = max(state.most, len(self.members))
