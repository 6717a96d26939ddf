"""How a node has its clients leave, as it stops or another has its place: told when to go, each answered first."""

from collections import deque
from collections.abc import Callable

from chatproto.chat.neighbour import Neighbour
from chatproto.chat.partings import Partings
from chatproto.chat.seat import Seat, Seats
from chatproto.log.interface import ILog


class Exodus:
    """Has a node's clients leave it, for the other node or, where that does not serve, until this one is back.

    Attributes:
        parted: how many clients this node has parted from, rather than that they went by themselves.
    """

    def __init__(
        self,
        chat_log: ILog,
        seats: Seats,
        partings: Partings,
        neighbour: Neighbour,
        hang_up: Callable[[Seat], None],
    ) -> None:
        """Let everybody stay, until it begins.

        Args:
            chat_log: says whether this node serves.
            seats: of the sessions that this node serves.
            partings: tells clients, and lets nobody in.
            neighbour: where they go.
            hang_up: has `part_from` called with a seat as soon as all that it has asked for is answered.
        """
        self.parted = 0
        self._log = chat_log
        self._seats = seats
        self._partings = partings
        self._neighbour = neighbour
        self._hang_up = hang_up
        self._told: set[Seat] = set()
        self._asked: set[Seat] = set()
        self._base: deque[Seat] = deque()
        self._base_count = 0

    @property
    def begun(self) -> bool:
        """Whether newcomers are turned away."""
        return bool(self._partings.leaving)

    @property
    def connected(self) -> int:
        """How many sessions have a connection here."""
        return sum(seat.link is not None for seat in self._seats.values())

    @property
    def elsewhere(self) -> bool:
        """Whether the other node serves."""
        return self._neighbour.serving

    def begin(self, reason: str = "draining") -> None:
        """Turn newcomers away, for a reason of `redirect`, and have the other node send nobody here."""
        self.parted = 0
        self._partings.leaving = reason
        self._neighbour.retire()

    def end(self) -> None:
        """Let newcomers in again."""
        self._partings.leaving = ""
        self._told.clear()
        self._asked.clear()
        self._base.clear()
        self._neighbour.retire(retired=False)

    def found(self, servers: list[str], pages: list[str]) -> None:
        """Hear where clients are served, and browsers, if this node is not heard to know."""
        self._neighbour.found(servers, pages)

    def send_away(self, within_ms: int) -> None:
        """Tell extended clients to go, each at a moment of its own within a span; until then they are served."""
        for seat in self._seats.values():
            if seat.link is None:
                continue
            if seat.session.extended:
                self._told.add(seat)
                seat.send(self._partings.last_words(within_ms, extended=True))
            else:
                self._base.append(seat)
        self._base_count = len(self._base)

    def part(self, share: float) -> None:
        """Have this share of the base clients that there were go, as soon as they are answered."""
        while self._base_count - len(self._base) < share * self._base_count:
            self._ask(self._base.popleft())

    def part_from_all(self) -> None:
        """Have everybody who is left go, as soon as they are answered."""
        for seat in list(self._seats.values()):
            if seat.link is not None:
                self._ask(seat)

    def _ask(self, seat: Seat) -> None:
        self._asked.add(seat)
        self._hang_up(seat)

    def part_from(self, seat: Seat) -> bool:
        """Close a client's connection politely, unless it is the client that has hung up; return whether it is not.

        The session may go on elsewhere, or here when this node is back.
        """
        if seat not in self._asked:
            return False
        if seat.link is None:
            return True
        self.parted += 1
        extended = seat.session.extended
        last = b"" if seat in self._told else self._partings.last_words(extended=extended)
        if not extended and self.elsewhere and self._log.serving:
            # A base client may be back at the other node at once, and wants its name.
            seat.lost = True
            self._partings.forsake(seat)
        self._partings.drop(seat, self._partings.leaving, last)
        return True
