"""How far a client has read each room: what makes its view a prefix of the room, without gap or repeat. Pure."""

import enum
from bisect import bisect_right

from chatproto.chat.messages import Resume, SaidExtended

EPOCHS_MAX = 100
"""Changes of the epoch that are remembered of a room; each was a takeover, a return or a handover of servers."""


class Verdict(enum.Enum):
    """What a message that came is."""

    NEXT = "the one expected, or the first of its room"
    KNOWN = "one read before"
    HOLE = "one before which others are missing, and nobody said why"


class Positions:
    """The next index wanted in each room, and the epochs of what was read there.

    From the epoch of the last message held a server without a witness sees whether that is of its own history; so
    after a rewind that of a message read long ago is wanted.
    """

    def __init__(self) -> None:
        """Start with nothing read anywhere."""
        self._next: dict[str, int] = {}
        # Of each room from which index on which epoch held, in order.
        self._epochs: dict[str, list[tuple[int, int]]] = {}

    def __contains__(self, room: object) -> bool:
        return room in self._next

    def read(self, said: SaidExtended) -> Verdict:
        """Take a message; it counts as read when it is the next."""
        expected = self._next.get(said.roomid, said.index)
        if said.index != expected:
            return Verdict.KNOWN if said.index < expected else Verdict.HOLE
        self._next[said.roomid] = said.index + 1
        epochs = self._epochs.setdefault(said.roomid, [])
        if not epochs or epochs[-1][1] != said.epoch:
            epochs.append((said.index, said.epoch))
            del epochs[:-EPOCHS_MAX]
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
        epochs = self._epochs.get(room, [])
        del epochs[bisect_right(epochs, index - 1, key=_first) :]
        return True

    def forget(self, room: str) -> None:
        """Take that a room was left: entering it again begins anew."""
        self._next.pop(room, None)
        self._epochs.pop(room, None)

    def keep(self, rooms: tuple[str, ...]) -> None:
        """Forget all rooms but these."""
        for room in [room for room in self._next if room not in rooms]:
            self.forget(room)

    def resume(self, rooms: tuple[str, ...]) -> list[Resume]:
        """Return what `hello` says of these rooms, as far as anything is known of them."""
        return [Resume(room, self._next[room], self._epoch(room)) for room in rooms if room in self._next]

    def _epoch(self, room: str) -> int | None:
        """Return the epoch of the last message held, if it is known; a rewind has cut off what was read after it."""
        epochs = self._epochs.get(room)
        return epochs[-1][1] if epochs else None


def _first(mark: tuple[int, int]) -> int:
    return mark[0]
