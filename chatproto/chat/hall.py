"""The hall: rooms, owners, identities and presence, as replaying the log gives them. Pure.

`Hall.apply` takes one act after another and returns its effects: lines to tell and changes of who hears what.
A node performs the effects for the clients it serves itself; replaying the same log drops them. Messages
only move a room's `last`. A refusal is decided here too, and is an effect for the asker alone.

The rules are those of the table in the protocol reference; the base protocol is a course assignment described at
coldwave96.github.io/2021/09/17/ChatSystem, and the reference says where it had to be settled.
"""

from collections.abc import Callable, Iterator
from typing import Any

from chatproto.chat import hall_state
from chatproto.chat.acts import (
    Act,
    Adopt,
    Attach,
    Create,
    Decree,
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
from chatproto.chat.authority import NOT_ALLOWED, Authority, banned
from chatproto.chat.bans import Bans
from chatproto.chat.effects import (
    Arrived,
    Attached,
    Denied,
    Effect,
    Ended,
    Entered,
    Expected,
    Gone,
    Left,
    Overtaken,
    Refuse,
    Tell,
    TellRooms,
    Unknown,
)
from chatproto.chat.messages import (
    Error,
    HistoryWanted,
    NewIdentity,
    Resume,
    RoomChange,
    RoomContents,
    RoomCount,
    RoomList,
)
from chatproto.chat.people import Account, Member, Person, Room
from chatproto.wire import MAIN_HALL, identity_allowed, room_allowed


class Hall:
    """The replayed state of chat.

    Attributes:
        members: every session that is present, by key.
        identities: everybody who is present or has an account, by name.
        accounts: the accounts among them.
        bans: who is kept out.
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
        self._authority = Authority(self)

    def _clear(self) -> None:
        self.members: dict[str, Member] = {}
        self.identities: dict[str, Person] = {}
        self.accounts: dict[str, Account] = {}
        self.bans = Bans()
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
        return RoomContents(name, room.identities, room.owner)

    def listing(self, without: str | None = None) -> RoomList:
        """Return all rooms, but for one."""
        return RoomList(
            [RoomCount(name, room.count) for name, room in self.rooms.items() if name != without and not room.dying]
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
        return list(self._authority.apply(act) if isinstance(act, Decree) else self._steps[type(act)](act))

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
        if act.opens and act.account is not None and act.account not in self.accounts:
            yield from self.enroll(act.account, Account())
        person = self._newcomer(act)
        if isinstance(person, Error):
            yield Denied(act.session, person)
            return
        member = Member(act.session, person, act.node, act.token, act.history)
        self.members[member.key] = member
        self.most = max(self.most, len(self.members))
        if member.token is not None:
            self.tokens[member.token] = member
        yield Arrived(member)
        yield Tell(member, NewIdentity("", person.identity))
        if act.identity is not None and act.identity != person.identity:
            yield Refuse(member, self._misnamed(act.identity))
        stay = {resume.roomid: resume for resume in act.stay}
        yield from self._into(member, MAIN_HALL, "", None, stay.pop(MAIN_HALL, None))
        for name, resume in stay.items():
            if name in self.rooms:
                yield from self._into(member, name, "", None, resume)
            else:
                yield Refuse(member, Error("no-such-room", f"there is no room {name[:64]}", roomid=name))

    def _newcomer(self, act: Enter) -> Person | Error:
        """Return who comes, or why they do not."""
        if act.account is None:
            wanted = act.identity
            free = wanted is not None and identity_allowed(wanted) and wanted not in self.identities
            return self._meet(wanted if wanted is not None and free else self._free_guest())
        account, ban = self.accounts.get(act.account), self.bans.of(act.account, act.time)
        if account is None:
            return Error("login-failed", "the account was removed meanwhile")
        if ban is not None:
            return banned(ban)
        if act.ticket is not None:
            account.remember(act.ticket, act.ticket_until, act.time)
        return self.identities[act.account]

    def _meet(self, identity: str, account: Account | None = None) -> Person:
        """Know somebody from here on; the rooms of that name's owner are theirs."""
        person = self.identities[identity] = Person(identity, account)
        person.owned = frozenset(self._waiting.pop(identity, ()))
        return person

    @staticmethod
    def _misnamed(identity: str) -> Error:
        """Return why a name is not given to somebody."""
        if identity_allowed(identity):
            return Error("identity-taken", f"somebody else is {identity}")
        return Error("identity-invalid", f"{identity[:64]!r} is not a name: 3 to 16 letters and digits")

    def _free_guest(self) -> str:
        # A room whose owner is away waits for somebody who says its name, not for a newcomer given it by chance.
        while (name := f"guest{self._guest}") in self.identities or name in self._waiting:
            self._guest += 1
        return name

    def _into(
        self, member: Member, name: str, former: str, history: HistoryWanted = None, resume: Resume | None = None
    ) -> Iterator[Effect]:
        """Tell of a member's coming, from `former` or from nowhere, and let it in.

        Others hear of people, not of their devices: they are told of the first that comes and the last that goes.
        The device itself hears of its own way once, and its siblings of none.
        """
        room, change = self.rooms[name], RoomChange(member.identity, former, name)
        enters = not member.person.inside(name)
        leaves = bool(former) and member.person.inside(former) == [member]
        if enters and leaves:
            # The newcomer hears of its own coming as a member of the room that it leaves.
            yield TellRooms((former, name), change)
        elif enters:
            yield TellRooms((name,), RoomChange(member.identity, "", name))
        if former:
            yield from self._out(member, former, told=not leaves or enters)
        if not (enters and leaves):
            yield Tell(member, change)
        room.admit(member)
        if name == MAIN_HALL:
            yield Tell(member, self.listing())
            yield Tell(member, self.contents(MAIN_HALL))
        index, epoch = (resume.index, resume.epoch) if resume is not None else (None, None)
        yield Entered(member, name, index, member.history if history is None else history, epoch)

    def _leave(self, member: Member, name: str, *, lost: bool = False) -> Iterator[Effect]:
        """Tell of a member's going, to nowhere or to another room of its own, and let it out."""
        change = RoomChange(member.identity, name, "")
        last = member.person.inside(name) == [member]
        yield TellRooms((name,), change) if last else Tell(member, change)
        yield from self._out(member, name, lost=lost)

    def _out(self, member: Member, name: str, *, lost: bool = False, told: bool = True) -> Iterator[Effect]:
        """Let a member out of a room, which ends if nobody is left and nobody owns it; lost members may be back.

        Unless they were `told`, those who stay hear that it went.
        """
        room = self.rooms[name]
        room.release(member)
        yield Left(member, name)
        if not told and room.members:
            yield TellRooms((name,), RoomChange(member.identity, name, ""))
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
        person = member.person
        del self.members[member.key]
        ends = person.account is None
        # All rooms hear it before the first of them ends.
        for name in member.rooms:
            change = RoomChange(person.identity, name, "")
            yield TellRooms((name,), change) if person.inside(name) == [member] else Tell(member, change)
        if ends:
            for name in person.owned:
                if lost:
                    self._waiting.setdefault(person.identity, set()).add(name)
                else:
                    self.rooms[name].owner = ""
        for name in member.rooms:
            yield from self._out(member, name, lost=lost)
        del person.devices[member.key]
        if ends:
            for name in sorted(person.owned):
                if name in self.rooms:
                    yield from self._end_if_over(self.rooms[name])
            del self.identities[person.identity]
            self._freed(person.identity)
        if member.token is not None:
            del self.tokens[member.token]
        yield Gone(member)

    def _freed(self, identity: str) -> None:
        number = identity.removeprefix("guest")
        if number != identity and number.isdecimal():
            self._guest = max(1, min(self._guest, int(number)))

    def _rename(self, act: Rename) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        person, identity = member.person, act.identity
        if person.account is None and identity_allowed(identity) and identity not in self.identities:
            yield from self._called(person, identity)
            return
        yield Tell(member, NewIdentity(person.identity, person.identity))
        if person.account is not None:
            yield Refuse(member, Error("identity-fixed", f"this account is called {person.identity}"))
        elif identity != person.identity:
            yield Refuse(member, self._misnamed(identity))

    def _called(self, person: Person, identity: str) -> Iterator[Effect]:
        """Call a guest otherwise."""
        former = person.identity
        del self.identities[former]
        person.identity = identity
        self.identities[identity] = person
        for name in person.owned:
            self.rooms[name].owner = identity
        self._freed(former)
        person.owned |= frozenset(self._waiting.pop(identity, ()))
        for member in person.devices.values():
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
        elif self._is_banned(member.person, name, act.time):
            refusal = Error("banned", f"its owner put you out of {name} for a while", roomid=name)
        if refusal is not None:
            yield Tell(member, RoomChange(member.identity, member.room, member.room))
            yield Refuse(member, refusal)
        else:
            resume = None if act.index is None else Resume(name, act.index, act.epoch)
            yield from self._into(member, name, "" if act.stay else member.room, act.history, resume)

    @staticmethod
    def _is_banned(person: Person, name: str, time: float) -> bool:
        if name not in person.banned or name in person.owned:
            return False
        if time < person.banned[name]:
            return True
        del person.banned[name]
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
            yield from self._leave(member, act.room)

    def _create(self, act: Create) -> Iterator[Effect]:
        member = self.members.get(act.session)
        if member is None:
            return
        name = act.room
        if name in self.rooms:
            refusal = Error("room-taken", f"there is a room {name} already", roomid=name)
        elif not room_allowed(name):
            refusal = Error("room-invalid", f"{name[:64]!r} is not a name: 3 to 32 letters and digits", roomid=name)
        elif act.limit and len(member.person.owned) >= act.limit:
            refusal = Error("too-many-rooms", f"you own {len(member.person.owned)} rooms already", roomid=name)
        else:
            self.rooms[name] = Room(name, member.identity, self._numbered.pop(name, 0))
            member.person.owned |= {name}
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
        room = self.rooms.get(name)
        if act.close and (not member.person.is_admin or name == MAIN_HALL):
            refusal = NOT_ALLOWED
        elif room is None:
            refusal = Error("no-such-room", f"there is no room {name[:64]}", roomid=name)
        elif not act.close and name not in member.person.owned:
            refusal = Error("not-the-owner", f"{name} is not yours", roomid=name)
        else:
            yield from self._close(room)
            yield Tell(member, self.listing())
            return
        yield Tell(member, self.listing())
        yield Refuse(member, refusal)

    def _close(self, room: Room) -> Iterator[Effect]:
        """Delete a room; whoever is in it goes to MainHall."""
        if room.owner in self.identities:
            self.identities[room.owner].owned -= {room.name}
        elif room.owner:
            waiting = self._waiting.pop(room.owner) - {room.name}
            if waiting:
                self._waiting[room.owner] = waiting
        room.owner, room.dying = "", True
        for member in list(room.members.values()):
            yield from self._to_main_hall(member, room.name)
        if room.name in self.rooms:
            yield from self._end(room)

    def _expel(self, act: Expel) -> Iterator[Effect]:
        asker = self.members.get(act.session)
        if asker is None:
            return
        person = self.identities.get(act.identity)
        devices = person.inside(act.room) if person is not None else []
        allowed = act.room in asker.person.owned or (asker.person.is_admin and act.room != MAIN_HALL)
        if act.room not in self.rooms:
            refusal = Error("no-such-room", f"there is no room {act.room[:64]}", roomid=act.room)
        elif not allowed:
            refusal = Error("not-the-owner", f"{act.room} is not yours", roomid=act.room)
        elif person is asker.person:
            refusal = Error("not-oneself", "you cannot put yourself out", roomid=act.room)
        elif person is None or not devices:
            refusal = Error("not-a-member", f"{act.identity[:64]} is not in {act.room}", roomid=act.room)
        else:
            person.banned[act.room] = act.until
            for member in devices:
                yield from self._to_main_hall(member, act.room)
            return
        yield Refuse(asker, refusal)

    def _to_main_hall(self, member: Member, name: str) -> Iterator[Effect]:
        """Move a member out of a room that it does not leave by itself."""
        if MAIN_HALL in member.rooms:
            yield from self._leave(member, name)
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

    # `Realm`: what those who keep order do

    def end(self, member: Member) -> Iterator[Effect]:
        """See `Realm.end`."""
        yield from self._gone(member, lost=False)

    def enroll(self, name: str, account: Account) -> Iterator[Effect]:
        """See `Realm.enroll`."""
        guest = self.identities.get(name)
        if guest is not None:
            yield from self._called(guest, self._free_guest())
        self.accounts[name] = account
        self._meet(name, account)

    def strike(self, name: str) -> Iterator[Effect]:
        """See `Realm.strike`."""
        del self.accounts[name]
        for room in sorted(self.identities.pop(name).owned):
            self.rooms[room].owner = ""
            yield from self._end_if_over(self.rooms[room])

    # The whole state

    def snapshot(self) -> bytes:
        """Return the state, encoded."""
        return hall_state.encode(
            self.members.values(),
            self.rooms.values(),
            self.identities,
            self.accounts,
            self.bans,
            self._numbered,
            self.most,
        )

    @classmethod
    def restored(cls, data: bytes) -> "Hall":
        """Make a hall of what `snapshot` returned."""
        hall = cls()
        hall.restore(data)
        return hall

    def restore(self, data: bytes | None) -> None:
        """Become what `snapshot` returned, of this version or an earlier one; empty, where there is none."""
        self._clear()
        if data is None:
            return
        state = hall_state.decode(data)
        for a in state.accounts:
            self.accounts[a.name] = a.account
            person = self._meet(a.name, a.account)
            person.banned, person.silenced = a.banned, a.silenced
        for m in state.members:
            if m.identity not in self.accounts:
                person = self._meet(m.identity)
                person.banned, person.silenced = m.banned or {}, m.silenced
            member = Member(m.key, self.identities[m.identity], m.node, m.token, m.history)
            self.members[m.key] = member
            if m.token is not None:
                self.tokens[m.token] = member
        for r in state.rooms:
            room = self.rooms[r.name] = Room(r.name, r.owner, r.last)
            room.born, room.first = r.born, r.first
            for key in r.members:
                room.admit(self.members[key])
            if r.owner in self.identities:
                self.identities[r.owner].owned |= {r.name}
            elif r.owner:
                self._waiting.setdefault(r.owner, set()).add(r.name)
        for m in state.members:
            # In the order that they were entered, not that of the rooms.
            self.members[m.key].rooms = m.rooms
        self.bans = Bans(state.bans)
        self._numbered = state.numbered
        # A snapshot of before it was counted says 0.
        self.most = max(state.most, len(self.members))
