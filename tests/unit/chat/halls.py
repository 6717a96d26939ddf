"""A hall, told what happens in short sentences."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import hall as effects
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
from chatproto.chat.hall import Effect, Hall, Member
from chatproto.chat.messages import Resume


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
    assert isinstance(effect, effects.Ended)
    return ("ended", effect.room)


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


def check(hall: Hall, *, lost: bool = True) -> None:
    """Raise unless a hall agrees with itself; `lost`: members may have been lost, so that empty rooms wait for them."""
    members: list[Member] = list(hall.members.values())
    assert all(member.rooms and len(set(member.rooms)) == len(member.rooms) for member in members)
    assert {name: member.key for name, member in hall.identities.items()} == {
        member.identity: member.key for member in members
    }
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
        if room.owner_key is not None:
            assert hall.members[room.owner_key].identity == room.owner
            assert name in hall.members[room.owner_key].owned
        else:
            assert not room.owner or lost
            assert room.owner not in hall.identities, f"{room.owner} is back and owns {name}"
    for member in members:
        assert all(hall.rooms[name].owner_key == member.key for name in member.owned)
