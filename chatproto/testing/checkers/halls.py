"""What a hall must be. Pure."""

from collections.abc import Collection

import msgspec

from chatproto.chat.acts import Adopt, Depart, decode_act
from chatproto.chat.hall import Hall
from chatproto.chat.people import Member, Person, Room
from chatproto.log.entry import MESSAGE
from chatproto.testing.checkers.chronicle import Chronicle, Record, Violation, apply
from chatproto.testing.checkers.pair import Copy
from chatproto.wire import MAIN_HALL, identity_allowed, room_allowed


def check_hall(hall: Hall, forsaken: Collection[str] = ()) -> None:
    """Check a hall.

    Args:
        hall: to check.
        forsaken: rooms that wait for their members, whom the server has lost; `Replay` knows them.

    Raises:
        Violation: somebody is nowhere, two have one name, a room outlives its owner and members, or two of its
            tables contradict each other.
    """
    if MAIN_HALL not in hall.rooms:
        raise Violation("there is no MainHall")
    present = {member.person.identity: member.person for member in hall.members.values()}
    if {**present, **{name: hall.identities.get(name) for name in hall.accounts}} != hall.identities:
        raise Violation(f"names are not unique, or not in order: {sorted(hall.identities)}")
    for name, person in hall.identities.items():
        _check_person(hall, name, person)
    if {member.token: member for member in hall.members.values() if member.token is not None} != hall.tokens:
        raise Violation("tokens are not those of the members")
    for key, member in hall.members.items():
        _check_member(hall, key, member)
    for name, room in hall.rooms.items():
        _check_room(hall, name, room)
        if name not in (MAIN_HALL, *forsaken) and not room.owner and not room.members:
            raise Violation(f"{name} has neither owner nor members")


def _check_member(hall: Hall, key: str, member: Member) -> None:
    if member.key != key or not identity_allowed(member.identity):
        raise Violation(f"{member.identity!r} is no name, or {key} not its key")
    if not member.rooms or len(set(member.rooms)) != len(member.rooms):
        raise Violation(f"{member.identity} is in {member.rooms}")
    for name in member.rooms:
        if name not in hall.rooms or hall.rooms[name].members.get(key) is not member:
            raise Violation(f"{member.identity} is in {member.rooms}, but not among the members of {name}")
    if member.person.devices.get(key) is not member:
        raise Violation(f"{key} is none of the devices of {member.identity}")


def _check_person(hall: Hall, name: str, person: Person) -> None:
    if person.identity != name or person.account is not hall.accounts.get(name):
        raise Violation(f"{person.identity} is known as {name}, or has an account that is another's")
    if any(hall.members.get(key) is not member for key, member in person.devices.items()):
        raise Violation(f"{name} has devices that are not present: {list(person.devices)}")
    if person.account is None and len(person.devices) != 1:
        raise Violation(f"{name} has no account, but {len(person.devices)} devices")
    for owned in person.owned:
        if owned not in hall.rooms or hall.rooms[owned].owner != name:
            raise Violation(f"{name} owns {owned}, but is not its owner")


def _check_room(hall: Hall, name: str, room: Room) -> None:
    if room.name != name or not room_allowed(name) or room.dying:
        raise Violation(f"{name!r} is no room: its name is {room.name!r}, dying: {room.dying}")
    for key, member in room.members.items():
        if hall.members.get(key) is not member or name not in member.rooms:
            raise Violation(f"{member.identity} is among the members of {name}, but not in it")
    if name == MAIN_HALL and room.owner:
        raise Violation(f"MainHall belongs to {room.owner}")
    if room.count != len({member.identity for member in room.members.values()}):
        raise Violation(f"{name} counts {room.count}, there are {room.identities}")
    owner = hall.identities.get(room.owner)
    if owner is not None and name not in owner.owned:
        raise Violation(f"{name} belongs to {room.owner}, who does not own it")
    if not 1 <= room.born <= room.first <= room.last + 1:
        raise Violation(f"{name} was born at {room.born}, is kept from {room.first} and ends at {room.last}")


class Replay:
    """A hall that is replayed from an empty one, entry by entry, and never restored.

    Attributes:
        hall: the state.
        position: the index of the last entry replayed.
        forsaken: rooms without an owner whose last members were lost by the server, not the server by them: these
            wait, until somebody comes and goes.
    """

    def __init__(self, log: Chronicle | Copy) -> None:
        """Start before the first entry of a log."""
        self.hall = Hall()
        self.position = 0
        self.forsaken: set[str] = set()
        self._log = log

    def check(self, hall: Hall, position: int) -> None:
        """Compare with a hall that is said to be the one after `position`, which may only grow from call to call.

        Raises:
            Violation: it is another; or it is not sound; or entries up to there are not committed.
        """
        if not self.position <= position <= self._log.position:
            raise Violation(f"a hall goes from entry {self.position} to {position}, committed are {self._log.position}")
        for record in self._log.records[self.position : position]:
            self._apply(record)
        self.position = position
        check_hall(hall, self.forsaken)
        replayed, live = self.hall.snapshot(), hall.snapshot()
        if replayed != live:
            raise Violation(
                f"after entry {position} the hall is {msgspec.msgpack.decode(live)}; "
                f"replaying gives {msgspec.msgpack.decode(replayed)}"
            )
        if Hall.restored(live).snapshot() != live:
            raise Violation(f"the hall is not itself again when restored: {msgspec.msgpack.decode(live)}")

    def _apply(self, record: Record) -> None:
        act = decode_act(record.line) if record.kind != MESSAGE else None
        loses = isinstance(act, Adopt) or (isinstance(act, Depart) and act.lost)
        before = {key: member.rooms for key, member in self.hall.members.items()} if loses else {}
        apply(self.hall, record)
        members, rooms = self.hall.members, self.hall.rooms
        left = {name for key, names in before.items() if key not in members for name in names}
        self.forsaken.update(name for name in left if not rooms[name].owner)
        self.forsaken = {name for name in self.forsaken if name in rooms and not rooms[name].members}
