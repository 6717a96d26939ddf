"""Who clients were told is where. Pure."""

from chatproto.chat.hall import Hall
from chatproto.chat.messages import Message, NewIdentity, RoomChange, RoomContents
from chatproto.testing.checkers.chronicle import Violation


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
        if line.former == line.identity:
            if line.identity != self.identity:
                raise Violation(f"{self._who} is {self.identity} and hears a refusal for another: {line}")
        elif line.former:
            self._rename(line)
        elif self.identity:
            raise Violation(f"{self._who} is {self.identity} and is told {line}")
        else:
            self.identity = line.identity

    def _rename(self, line: NewIdentity) -> None:
        known = line.former == self.identity or None in self.rooms.values()
        if line.former == self.identity:
            self.identity = line.identity
        for room, members in self.rooms.items():
            if members is not None and line.former in members:
                known = True
                if line.identity in members:
                    raise Violation(f"{self._who} hears {line}, and there is one of that name in {room} already")
                members.remove(line.former)
                members.add(line.identity)
        if not known:
            raise Violation(f"{self._who} hears {line}, which is about nobody in its rooms: {self.rooms}")

    def _change(self, line: RoomChange) -> None:
        if line.identity == self.identity:
            self._move(line)
        elif line.former == line.roomid or not {line.former, line.roomid} & self.rooms.keys():
            raise Violation(f"{self._who} is {self.identity} in {list(self.rooms)} and hears {line}")
        else:
            self._see(line)

    def _move(self, line: RoomChange) -> None:
        """Take a change of one's own, or its refusal."""
        refused = line.former == line.roomid
        if (line.former and line.former not in self.rooms) or (line.roomid in self.rooms and not refused):
            raise Violation(f"{self._who} is in {list(self.rooms)} and hears of itself {line}")
        if not refused:
            self.rooms.pop(line.former, None)
            if line.roomid:
                self.rooms[line.roomid] = None

    def _see(self, line: RoomChange) -> None:
        """Take a change of somebody else."""
        left, entered = self.rooms.get(line.former), self.rooms.get(line.roomid)
        if left is not None:
            if line.identity not in left:
                raise Violation(f"{self._who} hears {line}, and in {line.former} are only {sorted(left)}")
            left.remove(line.identity)
        if entered is not None:
            if line.identity in entered:
                raise Violation(f"{self._who} hears {line}, and in {line.roomid} are {sorted(entered)} already")
            entered.add(line.identity)

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
        person = hall.identities.get(self.identity)
        devices = list(person.devices.values()) if person is not None else []
        if not devices:
            return [f"{self._who} is not present as {self.identity or 'anybody'}"]
        # Nothing that is told says which of several devices of one person the client is.
        if all(set(member.rooms) != set(self.rooms) for member in devices):
            return [f"{self._who} is in {' or '.join(str(m.rooms) for m in devices)} and was told {list(self.rooms)}"]
        found = []
        for name, told in self.rooms.items():
            there = {other.identity for other in hall.rooms[name].members.values()}
            if told is not None and told != there:
                found.append(f"{self._who} was told of {sorted(told)} in {name}, there are {sorted(there)}")
        return found
