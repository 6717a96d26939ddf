"""What clients were told of rooms. Pure."""

from chatproto.chat.messages import Gap, History, HistoryWanted, Rewind, SaidExtended, Status
from chatproto.testing.checkers.chronicle import Chronicle, Violation
from chatproto.testing.checkers.forks import Forks


class RoomView:
    """What an extended client was told of one room, in the order in which it was told.

    Attributes:
        next: the index that has to come next; None while any may that is not too late.
        epochs: of what is held, by index.
    """

    def __init__(
        self,
        chronicle: Chronicle | Forks,
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
        self.epochs: dict[int, int] = {}
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
        before = self.epochs.get(index - 1)
        if before not in (None, self._chronicle.epoch_before(self._room, index, message.epoch)):
            raise Violation(f"{self._who} is told {message} after {index - 1} of epoch {before}, of another log")
        self.epochs[index] = message.epoch
        self.next = index + 1

    @property
    def epoch(self) -> int | None:
        """The epoch of the message held last, for resuming; None if there is none."""
        return None if self.next is None else self.epochs.get(self.next - 1)

    def rewind(self, rewind: Rewind) -> None:
        """Take that what is held from an index on holds no more, which is so only without a witness.

        Raises:
            Violation: nothing is held there.
        """
        if self.next is not None and rewind.index >= self.next:
            raise Violation(f"{self._who} holds {self._room} up to {self.next}, without, and is told {rewind}")
        self.next = rewind.index
        self.epochs = {index: epoch for index, epoch in self.epochs.items() if index < rewind.index}

    def _compare(self, message: SaidExtended) -> None:
        held = self._chronicle.message(self._room, message.index, message.epoch)
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


class BaseView:
    """What a base client was told in the room it is in. It gets no index, so the contents say where it is."""

    def __init__(self, chronicle: Chronicle | Forks, room: str, who: str, history: HistoryWanted) -> None:
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


def start_max(chronicle: Chronicle | Forks, room: str, history: HistoryWanted) -> int:
    """Return where an archive may start at the latest for somebody who is in the room already."""
    first, end = chronicle.first(room), chronicle.last_ever(room) + 1
    if history == "all":
        return first
    return max(first, end - history) if isinstance(history, int) else end


def behind(status: Status, chronicle: Chronicle | Forks) -> list[str]:
    """Return what a client's `status` says is not current, compared with all that is committed; nothing if all is."""
    found = []
    for room in status.rooms:
        last = chronicle.last(room.roomid)
        if not room.transferred == room.archived == last:
            found.append(f"{room.roomid} ends at {last}, archived {room.archived}, transferred {room.transferred}")
    if not found and status.transferred != status.archived:
        found.append(f"of all {status.archived} are archived and {status.transferred} transferred")
    return found
