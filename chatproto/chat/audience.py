"""Who hears a room on this node, and what they are to hear at the end of a batch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatproto.chat.seat import Feed, Seat

MANY = 100
"""Who hears a room with more is written to at leisure."""
CATCH_UP_LINES_MAX = 64
"""Lines that may have piled up for a piece of one's own."""


class Audience:
    """The seats of a room.

    Lines of a batch pile up here once, not once per seat, until somebody comes or goes or the batch ends.

    Attributes:
        base: base clients that hear the room as it goes.
        extended: extended clients that do.
        feeding: those who are still being brought up from the archive: they hear everything but messages.
    """

    __slots__ = ("_base_lines", "_extended_lines", "_late", "base", "extended", "feeding")

    def __init__(self) -> None:
        """Make one of nobody."""
        self.base: dict[Seat, None] = {}
        self.extended: dict[Seat, None] = {}
        self.feeding: dict[Seat, Feed] = {}
        self._base_lines: list[bytes] = []
        self._extended_lines: list[bytes] = []
        # Who came when some lines had piled up already, and how many: those are not for them.
        self._late: dict[Seat, int] = {}

    def __contains__(self, seat: object) -> bool:
        return seat in self.base or seat in self.extended or seat in self.feeding

    def seats(self) -> "list[Seat]":
        """Return all seats."""
        return [*self.base, *self.extended, *self.feeding]

    def shares(self, other: "Audience") -> bool:
        """Whether a seat is in both; only an extended client can be in two rooms."""
        few, many = sorted((self, other), key=lambda audience: len(audience.extended) + len(audience.feeding))
        return any(seat in many for seats in (few.extended, few.feeding) for seat in seats)

    def tell(self, line: bytes) -> None:
        """Have everybody hear a line."""
        if self.base:
            self._base_lines.append(line)
        if self.extended:
            self._extended_lines.append(line)
        for seat in self.feeding:
            seat.send(line)

    def tell_base(self, lines: bytes) -> None:
        """Have base clients hear messages."""
        self._base_lines.append(lines)

    def tell_extended(self, lines: bytes) -> None:
        """Have extended clients hear messages."""
        self._extended_lines.append(lines)

    def spill(self) -> None:
        """Hand what piled up to the links."""
        late = self._late
        for seats, lines in ((self.base, self._base_lines), (self.extended, self._extended_lines)):
            if not lines:
                continue
            data = lines[0] if len(lines) == 1 else b"".join(lines)
            many = len(seats) > MANY
            for seat in seats:
                piece = b"".join(lines[late[seat] :]) if late and seat in late else data
                link = seat.link
                if link is not None and piece:
                    if many:
                        link.send_at_leisure(piece)
                    else:
                        link.send(piece)
            lines.clear()
        late.clear()

    def catch_up(self, seat: "Seat") -> None:
        """Hand one seat what has piled up for it: the others, who may be very many, need not have it yet."""
        lines = self._base_lines if seat in self.base else self._extended_lines if seat in self.extended else []
        if len(lines) > CATCH_UP_LINES_MAX:
            # When very many leave at once, each piece would be as long as all that they hear of one another.
            self.spill()
        elif lines and seat.link is not None:
            if piece := b"".join(lines[self._late.get(seat, 0) :]):
                seat.link.send(piece)
            self._late[seat] = len(lines)

    def live(self, seat: "Seat") -> None:
        """Let a seat hear the room as it goes, from here on."""
        self.feeding.pop(seat, None)
        extended = seat.session.extended
        piled = len(self._extended_lines if extended else self._base_lines)
        if piled:
            self._late[seat] = piled
        (self.extended if extended else self.base)[seat] = None

    def feed(self, feed: "Feed") -> None:
        """Let a seat hear all but messages while it is fed."""
        self.feeding[feed.seat] = feed

    def leave(self, seat: "Seat") -> None:
        """Let a seat hear no more than what has piled up."""
        if seat in self:
            self.catch_up(seat)
            self._late.pop(seat, None)
            self.base.pop(seat, None)
            self.extended.pop(seat, None)
            self.feeding.pop(seat, None)
