"""What must always hold of a chat deployment, as checkers. Pure: they are fed, and raise `Violation`.

`Chronicle` is fed with what was committed, in order, and forgets nothing; the others compare with it what nodes hold
and what clients heard. A simulated deployment runs them after every event (`chatproto.testing.SimDeployment`).
A program with a log of its own can use them as well: all they need are runs of entries and wire messages.

| what must hold | checker |
| --- | --- |
| entries are numbered without gaps, room by room too; an id is there once; what is committed never changes | `Chronicle` |
| acknowledged: kept once, at the place and with the content acknowledged, for ever | `Acknowledgements` |
| a client's view of a room is an interval of the committed order: no gap that is not told, no repeat | `RoomView`, `BaseView` |
| who is where, as a client was told, is what the hall says | `Presence` |
| the hall is sound, and what replaying the log from scratch gives | `check_hall`, `Replay` |
| a client has been brought to the end of each of its rooms | `behind` |
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from chatproto.chat.acts import Depart, decode_act
from chatproto.chat.hall import Hall, Member, Room
from chatproto.chat.messages import (
    Ack,
    Gap,
    History,
    HistoryWanted,
    Message,
    NewIdentity,
    RoomChange,
    RoomContents,
    SaidExtended,
    Status,
)
from chatproto.log.entry import MESSAGE, Run
from chatproto.wire import MAIN_HALL, identity_allowed, room_allowed


class Violation(AssertionError):
    """Something is so that must never be; the message says what."""


class Record(NamedTuple):
    """A committed entry.

    Attributes:
        index: its number in the log.
        position: its number in its room's archive; 0 for an act.
        line: the sealed body.
    """

    index: int
    epoch: int
    kind: str
    room: str
    position: int
    id: str
    line: bytes


_message = msgspec.json.Decoder(SaidExtended)


class Chronicle:
    """Every entry that was ever committed, also those that nodes have purged since.

    Attributes:
        records: the entries, in order; the first has the index 1.
        hall: the state after the last of them.
    """

    def __init__(self) -> None:
        """Start with an empty log."""
        self.records: list[Record] = []
        self.hall = Hall()
        self._messages: dict[tuple[str, int], SaidExtended] = {}
        self._contents: dict[str, list[SaidExtended]] = {}
        self._indexes: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._gone: dict[str, int] = {}

    @property
    def position(self) -> int:
        """The index of the last entry."""
        return len(self.records)

    def add(self, run: Run) -> None:
        """Take a run that was committed, perhaps again, as another node has it.

        Raises:
            Violation: an index or a position is left out or given twice, or an id is.
        """
        lines = run.lines()
        if len(lines) != len(run.ids):
            raise Violation(f"the run at entry {run.index} has {len(run.ids)} ids and {len(lines)} lines")
        for at, (id, line) in enumerate(zip(run.ids, lines, strict=True)):
            position = run.position + at if run.kind == MESSAGE else run.position
            self._take(Record(run.index + at, run.epoch, run.kind, run.room, position, id, line))

    def _take(self, record: Record) -> None:
        if record.index <= len(self.records):
            held = self.records[record.index - 1]
            if record != held:
                raise Violation(f"entry {record.index} was {held} and is {record}")
            return
        if record.index != len(self.records) + 1:
            raise Violation(f"entry {len(self.records) + 1} is missing: after it comes {record}")
        if record.id in self._indexes:
            first = self.records[self._indexes[record.id] - 1]
            raise Violation(f"one id is in the log twice: {first} and {record}")
        if self.records and record.epoch < self.records[-1].epoch:
            raise Violation(f"the epoch falls: {self.records[-1]} and then {record}")
        if record.kind == MESSAGE:
            self._take_message(record)
        elif record.position:
            raise Violation(f"an act has a position in an archive: {record}")
        self._indexes[record.id] = record.index
        self.records.append(record)
        apply(self.hall, record)

    def _take_message(self, record: Record) -> None:
        expected = self._last.get(record.room, 0) + 1
        if record.position != expected:
            raise Violation(f"in {record.room} position {expected} comes next, not that of {record}")
        message = _message.decode(record.line)
        if (message.roomid, message.index, message.epoch, message.id) != (
            record.room,
            record.position,
            record.epoch,
            record.id,
        ):
            raise Violation(f"a line tells other numbers than its entry has: {record}")
        self._last[record.room] = record.position
        self._messages[record.room, record.position] = message
        self._contents.setdefault(message.content, []).append(message)

    def message(self, room: str, position: int) -> SaidExtended | None:
        """Return what was said at a position of a room; None if nothing was yet."""
        return self._messages.get((room, position))

    def said(self, content: str) -> list[SaidExtended]:
        """Return every message of this content, in any room."""
        return self._contents.get(content, [])

    def last(self, room: str) -> int:
        """Return the last position given out in a room."""
        return self._last.get(room, 0)

    def first(self, room: str) -> int:
        """Return the first position that has to be kept: lower ones were dropped, or their room was deleted."""
        held = self.hall.rooms.get(room)
        return held.first if held is not None else self.last(room) + 1


def apply(hall: Hall, record: Record) -> None:
    """Replay an entry."""
    if record.kind == MESSAGE:
        hall.said(record.room, record.position)
    else:
        hall.apply(decode_act(record.line))


class Acknowledgements:
    """What clients were told is kept."""

    def __init__(self, chronicle: Chronicle) -> None:
        """Start with nothing acknowledged."""
        self._chronicle = chronicle
        self._acks: dict[str, Ack] = {}

    def __len__(self) -> int:
        return len(self._acks)

    def heard(self, ack: Ack, content: str) -> None:
        """Take that a client heard an acknowledgement of a message of this content.

        Raises:
            Violation: it is not committed, or elsewhere, or something else, or another place was told before.
        """
        message = self._chronicle.message(ack.roomid, ack.index)
        if message is None:
            raise Violation(f"acknowledged and not committed: {ack}")
        if (message.id, message.content, message.epoch) != (ack.id, content, ack.epoch):
            raise Violation(f"acknowledged was {content!r} by {ack}; kept is {message}")
        before = self._acks.setdefault(ack.id, ack)
        if (before.roomid, before.index, before.epoch) != (ack.roomid, ack.index, ack.epoch):
            raise Violation(f"acknowledged twice, and not at one place: {before} and {ack}")
        if ack.durable < 1:
            raise Violation(f"acknowledged and durable nowhere: {ack}")

    def check_archive(self, runs: Iterable[Run], kept: Mapping[str, int]) -> None:
        """Compare with what a node's disk holds; `kept` says from which position on each room is kept.

        Raises:
            Violation: something acknowledged is missing, or is there twice, or is not what was committed.
        """
        archive: dict[tuple[str, int], str] = {}
        ids: set[str] = set()
        for run in runs:
            if run.kind != MESSAGE:
                continue
            for at, (id, line) in enumerate(zip(run.ids, run.lines(), strict=True)):
                place = (run.room, run.position + at)
                if place in archive or id in ids:
                    raise Violation(f"the archive has {id} at {place}, and has that id or that place twice")
                held = self._chronicle.message(*place)
                if held is None or _message.decode(line) != held:
                    raise Violation(f"the archive has {line!r} where {held} was committed")
                archive[place] = id
                ids.add(id)
        for ack in self._acks.values():
            if ack.index >= kept.get(ack.roomid, 1) and archive.get((ack.roomid, ack.index)) != ack.id:
                raise Violation(f"acknowledged and lost: {ack}")


class RoomView:
    """What an extended client was told of one room, in the order in which it was told.

    Attributes:
        next: the index that has to come next; None while any may that is not too late.
    """

    def __init__(
        self,
        chronicle: Chronicle,
        room: str,
        who: str,
        history: HistoryWanted,
        wanted: int | None = None,
    ) -> None:
        """Start with `who` having heard that it is in the room.

        Args:
            chronicle: what is committed.
            room: the name of the room.
            who: a name for messages.
            history: how much of the archive it gets: `all`, `none`, a number.
            wanted: an index that may come first as well, where it may have asked to go on from there. Where it
                surely has, set `next`.
        """
        self.next: int | None = None
        self._chronicle = chronicle
        self._room = room
        self._who = who
        self._start_max = start_max(chronicle, room, history)
        self._wanted = wanted

    def said(self, message: SaidExtended) -> None:
        """Take a message of this room.

        Raises:
            Violation: it is not what was committed at this index, or not what comes next.
        """
        self._compare(message)
        index = message.index
        if self.next is not None and index != self.next:
            kind = "a repeat" if index < self.next else "a hole"
            raise Violation(f"{self._who} is told {index} of {self._room}, {kind}: {self.next} comes next")
        if self.next is None and index > self._start_max and index != self._wanted:
            raise Violation(f"{self._who} is told {self._room} from {index} on: it begins at {self._start_max}")
        self.next = index + 1

    def _compare(self, message: SaidExtended) -> None:
        held = self._chronicle.message(self._room, message.index)
        if held is None:
            raise Violation(f"{self._who} is told what is not committed: {message}")
        if message != held:
            raise Violation(f"{self._who} is told {message}; committed is {held}")

    def gap(self, gap: Gap) -> None:
        """Take that messages will never come.

        Raises:
            Violation: they are kept.
        """
        first = self._chronicle.first(self._room)
        if not 1 <= gap.index <= gap.to < first:
            raise Violation(f"{self._who} is told {gap}, but {self._room} is kept from {first} on")
        # One that starts elsewhere belongs to a page of history.
        if self.next is None:
            if gap.index <= self._start_max <= gap.to:
                self._start_max = gap.to + 1
        elif gap.index <= self.next <= gap.to:
            self.next = gap.to + 1

    def page(self, page: History) -> None:
        """Take a page of the room's archive.

        Raises:
            Violation: it holds something that was not committed, or not in this order.
        """
        for at, message in enumerate(page.messages):
            self._compare(message)
            if message.index != page.messages[0].index + at:
                raise Violation(f"{self._who} is given a page of {self._room} with a hole before {message}")

    def transferred(self, position: int) -> None:
        """Take up to where the server says that the client has been brought.

        Raises:
            Violation: it has not.
        """
        if self.next is not None and position != self.next - 1:
            raise Violation(
                f"{self._who} is said to have {self._room} up to {position}, and was told it up to {self.next - 1}"
            )
        self.next = position + 1


def start_max(chronicle: Chronicle, room: str, history: HistoryWanted) -> int:
    """Return where an archive may start at the latest for somebody who is in the room already."""
    first, end = chronicle.first(room), chronicle.last(room) + 1
    if history == "all":
        return first
    return max(first, end - history) if isinstance(history, int) else end


class BaseView:
    """What a base client was told in the room it is in. It gets no index, so the contents say where it is."""

    def __init__(self, chronicle: Chronicle, room: str, who: str, history: HistoryWanted) -> None:
        """Start with `who` having entered, which gets so much of the archive."""
        self._chronicle = chronicle
        self._room = room
        self._who = who
        self._start_max = start_max(chronicle, room, history)
        # Where it may have been brought to; several places while all that was said could be in several.
        self._at: list[int] | None = None

    @property
    def position(self) -> int | None:
        """Up to where the client has been brought; None if it was told nothing yet."""
        return None if self._at is None else self._at[-1]

    def said(self, identity: str, content: str) -> None:
        """Take a message.

        Raises:
            Violation: it was not committed in this room, or not after what was told before.
        """
        places = [
            message.index
            for message in self._chronicle.said(content)
            if message.roomid == self._room and message.identity == identity
        ]
        if not places:
            raise Violation(f"{self._who} is told what is not committed in {self._room}: {identity}, {content!r}")
        fitting = [place for place in places if self._may_come(place)]
        if not fitting:
            raise Violation(
                f"{self._who} is told {content!r}, {places} of {self._room}, after {self._at or 'nothing'}; "
                f"from {self._start_max} on at first"
            )
        self._at = fitting

    def _may_come(self, place: int) -> bool:
        if self._at is None:
            return place <= self._start_max
        # Nobody tells a base client that retention has dropped something.
        return any(place == at + 1 or at < place <= self._chronicle.first(self._room) for at in self._at)


class Presence:
    """Who is where, from what one client was told since its connection began.

    Attributes:
        identity: the client's name; empty before it has one.
        rooms: the rooms it is in, with the names of those in them; None where nobody told it yet.
    """

    def __init__(self, who: str) -> None:
        """Start with nothing; `who` is a name for messages."""
        self.identity = ""
        self.rooms: dict[str, set[str] | None] = {}
        self._who = who
        self._resuming = False

    def begin(self, identity: str = "") -> None:
        """Take that a connection begins; with the session's identity where one goes on."""
        self.identity = identity
        self.rooms = {}
        self._resuming = identity != ""

    def hear(self, line: Message) -> None:
        """Take what the server said, in order; lines about something else are passed over.

        Raises:
            Violation: it contradicts what was said before, or is not for this client.
        """
        if isinstance(line, RoomContents):
            self._contents(line)
        elif isinstance(line, RoomChange):
            self._resuming = False
            self._change(line)
        elif isinstance(line, NewIdentity):
            self._resuming = False
            self._name(line)

    def _name(self, line: NewIdentity) -> None:
        if line.former == "":
            if self.identity:
                raise Violation(f"{self._who} is {self.identity} and is told {line}")
            self.identity = line.identity
            return
        if line.former == line.identity:
            if line.identity != self.identity:
                raise Violation(f"{self._who} is {self.identity} and hears a refusal for another: {line}")
            return
        known = line.former == self.identity
        if known:
            self.identity = line.identity
        for room, members in self.rooms.items():
            if members is None:
                known = True
            elif line.former in members:
                known = True
                if line.identity in members:
                    raise Violation(f"{self._who} hears {line}, and there is one of that name in {room} already")
                members.remove(line.former)
                members.add(line.identity)
        if not known:
            raise Violation(f"{self._who} hears {line}, which is about nobody in its rooms: {self.rooms}")

    def _change(self, line: RoomChange) -> None:
        own = line.identity == self.identity
        if line.former == line.roomid:
            if not own or line.roomid not in self.rooms:
                raise Violation(f"{self._who} is {self.identity} in {list(self.rooms)} and hears the refusal {line}")
            return
        if not own and line.former not in self.rooms and line.roomid not in self.rooms:
            raise Violation(f"{self._who} is in {list(self.rooms)} and hears {line}")
        if line.former in self.rooms:
            members = self.rooms[line.former]
            if own:
                del self.rooms[line.former]
            elif members is not None:
                if line.identity not in members:
                    raise Violation(f"{self._who} hears {line}, and in {line.former} are only {sorted(members)}")
                members.remove(line.identity)
        elif own and line.former:
            raise Violation(f"{self._who} is in {list(self.rooms)} and hears that it leaves: {line}")
        if own and line.roomid:
            if line.roomid in self.rooms:
                raise Violation(f"{self._who} is in {list(self.rooms)} and hears that it comes: {line}")
            self.rooms[line.roomid] = None
        elif line.roomid in self.rooms:
            members = self.rooms[line.roomid]
            if members is not None:
                if line.identity in members:
                    raise Violation(f"{self._who} hears {line}, and in {line.roomid} are {sorted(members)} already")
                members.add(line.identity)

    def _contents(self, line: RoomContents) -> None:
        told = set(line.identities)
        if len(told) != len(line.identities):
            raise Violation(f"{self._who} is told of somebody twice: {line}")
        if line.roomid not in self.rooms:
            if self.identity in told:
                if not self._resuming:
                    raise Violation(f"{self._who} is in {list(self.rooms)} and is told to be elsewhere: {line}")
                self.rooms[line.roomid] = told
            return
        members = self.rooms[line.roomid]
        if members is not None and members != told:
            raise Violation(f"{self._who} has {sorted(members)} in {line.roomid} and is told {sorted(told)}")
        self.rooms[line.roomid] = told

    def differences(self, hall: Hall) -> list[str]:
        """Return in what this differs from the hall; nothing, once all that happened has been told."""
        member = hall.identities.get(self.identity)
        if member is None:
            return [f"{self._who} is not present as {self.identity or 'anybody'}"]
        if set(member.rooms) != set(self.rooms):
            return [f"{self._who} is in {member.rooms} and was told {list(self.rooms)}"]
        found = []
        for name, told in self.rooms.items():
            there = {other.identity for other in hall.rooms[name].members.values()}
            if told is not None and told != there:
                found.append(f"{self._who} was told of {sorted(told)} in {name}, there are {sorted(there)}")
        return found


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
    if {member.identity: member for member in hall.members.values()} != hall.identities:
        raise Violation(f"names are not unique, or not in order: {sorted(hall.identities)}")
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
    for name in member.owned:
        if name not in hall.rooms or hall.rooms[name].owner_key != key:
            raise Violation(f"{member.identity} owns {name}, but is not its owner")


def _check_room(hall: Hall, name: str, room: Room) -> None:
    if room.name != name or not room_allowed(name) or room.dying:
        raise Violation(f"{name!r} is no room: its name is {room.name!r}, dying: {room.dying}")
    for key, member in room.members.items():
        if hall.members.get(key) is not member or name not in member.rooms:
            raise Violation(f"{member.identity} is among the members of {name}, but not in it")
    if name == MAIN_HALL and room.owner:
        raise Violation(f"MainHall belongs to {room.owner}")
    owner = hall.identities.get(room.owner)
    if (owner.key if owner is not None else None) != room.owner_key:
        raise Violation(f"{name} belongs to {room.owner!r}, but not to that member")
    if owner is not None and name not in owner.owned:
        raise Violation(f"{name} belongs to {room.owner}, who does not own it")
    if not 1 <= room.born <= room.first <= room.last + 1:
        raise Violation(f"{name} was born at {room.born}, is kept from {room.first} and ends at {room.last}")


class Replay:
    """A hall that is replayed from an empty one, entry by entry, and never restored.

    Attributes:
        hall: the state.
        forsaken: rooms without an owner whose last members were lost by the server, not the server by them: these
            wait, until somebody comes and goes.
    """

    def __init__(self, chronicle: Chronicle) -> None:
        """Start before the first entry of a chronicle."""
        self.hall = Hall()
        self.forsaken: set[str] = set()
        self._chronicle = chronicle
        self._position = 0

    def check(self, hall: Hall, position: int) -> None:
        """Compare with a hall that is said to be the one after `position`, which may only grow from call to call.

        Raises:
            Violation: it is another; or it is not sound; or entries up to there are not committed.
        """
        if not self._position <= position <= self._chronicle.position:
            raise Violation(
                f"a hall goes from entry {self._position} to {position}, committed are {self._chronicle.position}"
            )
        for record in self._chronicle.records[self._position : position]:
            self._apply(record)
        self._position = position
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
        member = self.hall.members.get(act.session) if isinstance(act, Depart) and act.lost else None
        left = member.rooms if member is not None else ()
        apply(self.hall, record)
        self.forsaken.update(name for name in left if not self.hall.rooms[name].owner)
        rooms = self.hall.rooms
        self.forsaken = {name for name in self.forsaken if name in rooms and not rooms[name].members}


def behind(status: Status, chronicle: Chronicle) -> list[str]:
    """Return what a client's `status` says is not current, compared with all that is committed; nothing if all is."""
    found = [
        f"{room.roomid} ends at {chronicle.last(room.roomid)}, {room.archived} is archived, {room.transferred} transferred"
        for room in status.rooms
        if not room.transferred == room.archived == chronicle.last(room.roomid)
    ]
    if not found and status.transferred != status.archived:
        found.append(f"of all {status.archived} are archived and {status.transferred} transferred")
    return found
