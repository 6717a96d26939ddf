"""A hall, told what happens in short sentences."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import effects
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
    decode_act,
    encode_act,
)
from chatproto.chat.effects import Effect
from chatproto.chat.hall import Hall
from chatproto.chat.messages import Resume
from chatproto.chat.people import Member


def shown(effect: Effect) -> tuple[Any, ...]:
    """Return an effect as a row that is good to compare: what, to whom, the rest."""
    if isinstance(effect, effects.TellRooms):
        return ("rooms", effect.rooms, effect.line)
    if isinstance(effect, effects.Tell):
        return ("tell", effect.member.key, effect.line)
    if isinstance(effect, effects.Refuse):
        return ("refuse", effect.member.key, effect.error.code, effect.error.roomid)
    if isinstance(effect, effects.Entered):
        row = ("entered", effect.member.key, effect.room, effect.index, effect.history)
        return row if effect.epoch is None else (*row, effect.epoch)
    if isinstance(effect, effects.Left):
        return ("left", effect.member.key, effect.room)
    if isinstance(effect, effects.Arrived):
        return ("arrived", effect.member.key)
    if isinstance(effect, effects.Attached):
        return ("attached", effect.member.key, effect.member.node)
    if isinstance(effect, effects.Expected):
        return ("expected", effect.member.key, effect.member.node)
    if isinstance(effect, effects.Unknown):
        return ("unknown",)
    if isinstance(effect, effects.Overtaken):
        return ("overtaken",)
    if isinstance(effect, effects.Gone):
        return ("gone", effect.member.key)
    if isinstance(effect, effects.Ended):
        return ("ended", effect.room)
    if isinstance(effect, effects.Warned | effects.Dismissed):
        return (type(effect).__name__.lower(), effect.member.key, effect.error.code)
    if isinstance(effect, effects.Denied):
        return ("denied", effect.session, effect.error.code)
    if isinstance(effect, effects.Traced):
        return ("traced", effect.member.key, effect.ban)
    if isinstance(effect, effects.Announced):
        return ("announced", effect.content)
    assert isinstance(effect, effects.Verdict)
    return ("verdict", effect.error and effect.error.code)


class HallTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.hall = Hall()

    def apply(self, act: Act, epoch: int = 1) -> list[tuple[Any, ...]]:
        """Have an act applied, as the log hands it out, and check that the hall still agrees with itself."""
        rows = [shown(effect) for effect in self.hall.apply(decode_act(encode_act(act)), epoch)]
        check(self.hall)
        return rows

    def enter(self, key: str, identity: str | None = None, node: str = "primary", **more: Any) -> list[tuple[Any, ...]]:
        stay = [Resume(*at) for at in more.pop("stay", ())]
        return self.apply(Enter(key, node, identity, stay=stay, **more))

    def attach(self, token: str, node: str = "primary", epoch: int = 0) -> list[tuple[Any, ...]]:
        return self.apply(Attach(token, node, epoch))

    def adopt(self, node: str = "primary", epoch: int = 0) -> list[tuple[Any, ...]]:
        return self.apply(Adopt(node, epoch))

    def depart(self, key: str, node: str = "primary", *, lost: bool = False) -> list[tuple[Any, ...]]:
        return self.apply(Depart(key, node, lost))

    def rename(self, key: str, identity: str) -> list[tuple[Any, ...]]:
        return self.apply(Rename(key, identity))

    def move(self, key: str, room: str, time: float = 1000.0, **more: Any) -> list[tuple[Any, ...]]:
        return self.apply(Move(key, room, time, **more))

    def part(self, key: str, room: str) -> list[tuple[Any, ...]]:
        return self.apply(Part(key, room))

    def create(self, key: str, room: str, limit: int = 0) -> list[tuple[Any, ...]]:
        return self.apply(Create(key, room, limit))

    def destroy(self, key: str, room: str) -> list[tuple[Any, ...]]:
        return self.apply(Destroy(key, room))

    def expel(self, key: str, room: str, identity: str, until: float = 2000.0) -> list[tuple[Any, ...]]:
        return self.apply(Expel(key, room, identity, until))

    def forget(self, room: str, first: int) -> list[tuple[Any, ...]]:
        return self.apply(Forget(room, first))

    def owner(self, room: str) -> str:
        return self.hall.contents(room).owner

    def inside(self, room: str) -> list[str]:
        return self.hall.contents(room).identities

    def listed(self) -> dict[str, int]:
        return {room.roomid: room.count for room in self.hall.listing().rooms}

    def kinds(self, rows: list[tuple[Any, ...]]) -> list[str]:
        return [row[0] for row in rows]


def member_of(hall: Hall, identity: str) -> Member:
    """Return the only session of somebody."""
    (member,) = hall.identities[identity].devices.values()
    return member


def check(hall: Hall, *, lost: bool = True) -> None:
    """Raise unless a hall agrees with itself; `lost`: members may have been lost, so that empty rooms wait for them."""
    members: list[Member] = list(hall.members.values())
    assert all(member.rooms and len(set(member.rooms)) == len(member.rooms) for member in members)
    present = {member.identity: member.person for member in members}
    assert {**present, **{name: hall.identities[name] for name in hall.accounts}} == hall.identities
    for name, person in hall.identities.items():
        assert person.identity == name and person.account is hall.accounts.get(name)
        assert list(person.devices) == [member.key for member in members if member.person is person]
        assert person.account is not None or len(person.devices) == 1
        assert all(hall.rooms[room].owner == name for room in person.owned)
    assert {token: member.key for token, member in hall.tokens.items()} == {
        member.token: member.key for member in members if member.token is not None
    }
    assert next(iter(hall.rooms)) == "MainHall" and not hall.rooms["MainHall"].owner
    for name, room in hall.rooms.items():
        assert name == room.name and not room.dying
        assert set(room.members) == {member.key for member in members if name in member.rooms}
        assert all(hall.members[key] is member for key, member in room.members.items())
        assert 1 <= room.born <= room.first <= room.last + 1
        assert name == "MainHall" or room.owner or room.members or lost, f"{name} should have ended"
        assert room.count == len(room.identities)
        if room.owner in hall.identities:
            assert name in hall.identities[room.owner].owned
        else:
            assert not room.owner or lost
