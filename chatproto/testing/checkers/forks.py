"""What was committed where there is no witness: both sides of a partition go on, and one of them is merged. Pure."""

from collections.abc import Callable, Iterable

from chatproto.chat.hall import Hall
from chatproto.chat.messages import SaidExtended
from chatproto.log.entry import MESSAGE
from chatproto.testing.checkers.chronicle import Record, message_of
from chatproto.testing.checkers.pair import Logs


class Forks:
    """In place of a `Chronicle` where committed entries may move: all that was ever committed, on any side.

    What is said to be committed was so somewhere; and it comes after what it came after there, so that nobody is told
    of one side, and goes on with the other.
    """

    def __init__(self, logs: Logs, halls: Callable[[], list[Hall]]) -> None:
        """Start with nothing.

        Args:
            logs: of the nodes.
            halls: returns the halls of those that are there, the one that counts most first.
        """
        self._logs = logs
        self._halls = halls
        self._messages: dict[tuple[str, int, int], tuple[SaidExtended, int]] = {}
        self._contents: dict[str, list[SaidExtended]] = {}
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    @property
    def hall(self) -> Hall:
        """The hall of the node that counts most; an empty one where none is there."""
        return next(iter(self._halls()), None) or Hall()

    def add(self, records: Iterable[Record]) -> None:
        """Take what was committed somewhere, for the first time."""
        for record in records:
            if record.kind == MESSAGE:
                message = message_of(record)
                place = (record.room, record.position, record.epoch)
                self._messages[place] = message, self._logs.room_epoch_before(record)
                self._contents.setdefault(message.content, []).append(message)
                self._last[record.room] = max(self._last.get(record.room, 0), record.position)

    def message(self, room: str, position: int, epoch: int) -> SaidExtended | None:
        """See `Chronicle.message`."""
        held = self._messages.get((room, position, epoch))
        return None if held is None else held[0]

    def epoch_before(self, room: str, position: int, epoch: int) -> int:
        """See `Chronicle.epoch_before`."""
        held = self._messages.get((room, position, epoch))
        return 0 if held is None else held[1]

    def said(self, content: str) -> list[SaidExtended]:
        """See `Chronicle.said`; a message that has moved is there more than once."""
        return self._contents.get(content, [])

    def last(self, room: str) -> int:
        """See `Chronicle.last`, as it is now."""
        return max((_end(hall, room) for hall in self._halls()), default=0)

    def last_ever(self, room: str) -> int:
        """See `Chronicle.last_ever`."""
        return self._last.get(room, 0)

    def first(self, room: str) -> int:
        """See `Chronicle.first`: the highest that it ever was on any side."""
        return self._first.get(room, 1)

    def kept(self, hall: Hall) -> None:
        """Take from where on a node keeps its rooms."""
        for room, first in hall.kept().items():
            self._first[room] = max(self._first.get(room, 1), first)


def _end(hall: Hall, room: str) -> int:
    held = hall.rooms.get(room)
    return held.last if held is not None else hall.kept().get(room, 1) - 1
