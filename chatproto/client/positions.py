"""How far a client has read each room: what makes its view a prefix of the room, without gap or repeat. Pure."""

import enum

from chatproto.chat.messages import Resume, SaidExtended


class Verdict(enum.Enum):
    """What a message that came is."""

    NEXT = "the one expected, or the first of its room"
    KNOWN = "one read before"
    HOLE = "one before which others are missing, and nobody said why"


class Positions:
    """The next index wanted in each room, and the epoch of the last message read there."""

    def __init__(self) -> None:
        """Start with nothing read anywhere."""
        self._next: dict[str, int] = {}
        self._epoch: dict[str, int] = {}

    def __contains__(self, room: object) -> bool:
        return room in self._next

    def read(self, said: SaidExtended) -> Verdict:
        """Take a message; it counts as read when it is the next."""
        expected = self._next.get(said.roomid, said.index)
        if said.index != expected:
            return Verdict.KNOWN if said.index < expected else Verdict.HOLE
        self._next[said.roomid] = said.index + 1
        self._epoch[said.roomid] = said.epoch
        return Verdict.NEXT

    def start(self, room: str, index: int) -> None:
        """Take what is wanted next in a room of which nothing is read; else nothing changes."""
        self._next.setdefault(room, index)

    def skip(self, room: str, first: int, last: int) -> tuple[int, int] | None:
        """Take that messages will never come; return the first and last of them that were expected, if any.

        A gap that starts behind what is expected explains nothing, and one before it is a page's, not ours.
        """
        expected = self._next.get(room, first)
        if not first <= expected <= last:
            return None
        self._next[room] = last + 1
        return expected, last

    def rewind(self, room: str, index: int) -> bool:
        """Take that all from an index on is to be read again; return whether any of it was read."""
        if index >= self._next.get(room, index):
            return False
        self._next[room] = index
        # That of the message before the index is not kept.
        self._epoch.pop(room, None)
        return True

    def forget(self, room: str) -> None:
        """Take that a room was left: entering it again begins anew."""
        self._next.pop(room, None)
        self._epoch.pop(room, None)

    def keep(self, rooms: tuple[str, ...]) -> None:
        """Forget all rooms but these."""
        for room in [room for room in self._next if room not in rooms]:
            self.forget(room)

    def resume(self, rooms: tuple[str, ...]) -> list[Resume]:
        """Return what `hello` says of these rooms, as far as anything is known of them."""
        return [Resume(room, self._next[room], self._epoch.get(room)) for room in rooms if room in self._next]
