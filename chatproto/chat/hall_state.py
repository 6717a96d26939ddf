"""The hall as bytes: what a snapshot of the log holds of it. Pure.

The fields are told apart by their places: new ones come last, with a default for the snapshots of before.
"""

from collections.abc import Iterable

import msgspec

from chatproto.chat.bans import Ban, Bans
from chatproto.chat.messages import HistoryWanted
from chatproto.chat.people import Account, Member, Person, Room


class MemberState(msgspec.Struct, array_like=True):
    """A session; `banned` and `silenced` are those of a guest."""

    key: str
    identity: str
    node: str
    token: str | None
    history: HistoryWanted
    rooms: tuple[str, ...]
    banned: dict[str, float] | None
    silenced: float = 0.0


class RoomState(msgspec.Struct, array_like=True):
    """A room; `owner_key` is for earlier versions: a session of the owner, if there is one."""

    name: str
    owner: str
    owner_key: str | None
    members: list[str]
    born: int
    first: int
    last: int


class AccountState(msgspec.Struct, array_like=True):
    """Somebody with an account."""

    name: str
    account: Account
    banned: dict[str, float]
    silenced: float


class HallState(msgspec.Struct, array_like=True):
    """All of it."""

    members: list[MemberState]
    rooms: list[RoomState]
    numbered: dict[str, int]
    most: int = 0
    accounts: list[AccountState] = []
    bans: list[Ban] = []


_decoder = msgspec.msgpack.Decoder(HallState)


def encode(
    members: Iterable[Member],
    rooms: Iterable[Room],
    people: dict[str, Person],
    accounts: dict[str, Account],
    bans: Bans,
    numbered: dict[str, int],
    most: int,
) -> bytes:
    """Return a hall's state as bytes; see the attributes of `Hall`."""
    state = HallState(
        [_member(member) for member in members],
        [
            RoomState(r.name, r.owner, _key(people.get(r.owner)), list(r.members), r.born, r.first, r.last)
            for r in rooms
        ],
        numbered,
        most,
        [AccountState(name, account, people[name].banned, people[name].silenced) for name, account in accounts.items()],
        bans.all(),
    )
    return msgspec.msgpack.encode(state)


def _member(member: Member) -> MemberState:
    person = member.person
    banned, silenced = (person.banned or None, person.silenced) if person.account is None else (None, 0.0)
    return MemberState(
        member.key, person.identity, member.node, member.token, member.history, member.rooms, banned, silenced
    )


def _key(person: Person | None) -> str | None:
    return next(iter(person.devices), None) if person is not None else None


def decode(data: bytes) -> HallState:
    """Return what `encode` was given."""
    return _decoder.decode(data)
