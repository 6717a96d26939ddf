"""The opening of a chat: until enough clients are there, messages are held and everybody is told how many are missing.

Whether enough *were* there at once is replayed state, so both nodes of a pair know it from the same entry of the log,
and it stays so: the chat goes on, whoever leaves, and also after a crash, which makes all base clients leave.
"""

from collections.abc import Iterable

from twisted.logger import Logger

from chatproto.chat.hall import Hall
from chatproto.chat.messages import Notice, Said, encode
from chatproto.chat.seat import Seat, Seats
from chatproto.chat.settings import ChatSettings
from chatproto.chat.waiting import Waiting
from chatproto.log.entry import Entry
from chatproto.log.interface import ILog
from chatproto.wire.fields import SERVER_IDENTITY

log = Logger()


class Opening:
    """Opens a node's chat.

    Attributes:
        over: whether enough were there, and this node has told so.
    """

    def __init__(self, settings: ChatSettings, hall: Hall, chat_log: ILog, seats: Seats) -> None:
        """Open a node's chat to those who sit on `seats`.

        Args:
            settings: what can be set.
            hall: the replayed state.
            chat_log: takes what was held.
            seats: of the sessions that this node serves.
        """
        self._clients_min = settings.clients_min
        self._hall = hall
        self._log = chat_log
        self._seats = seats
        self._waiting = Waiting(settings.held_max, settings.held_bytes_max)
        self._count_changed = False
        self.over = False

    def begin(self) -> None:
        """Hear that the replayed state is another one, of which nobody here was told."""
        self.over = self._missing == 0 and not self._waiting

    def counted(self) -> None:
        """Hear that somebody has come or gone."""
        self._count_changed = True

    def hold(self, seat: Seat, entry: Entry) -> None:
        """Hold a message, or tell its sender why not."""
        refusal = self._waiting.hold(entry)
        if refusal is not None:
            seat.send(encode(refusal if seat.session.extended else Said(SERVER_IDENTITY, refusal.message)))

    def look(self) -> None:
        """Have what was held said, if enough are there now; if not, tell everybody how many are missing."""
        if self._missing == 0:
            self.over = True
            log.info("enough clients are there; messages held until now: {held}", held=len(self._waiting))
            self._tell(self._seats.values(), "begun", "", "enough are there: the chat has begun")
            for entry in self._waiting.release():
                entry.origin.session.unconfirmed += 1
                self._log.submit(entry)
        elif self._count_changed:
            self.tell(self._seats.values())
        self._count_changed = False

    def tell(self, seats: Iterable[Seat]) -> None:
        """Tell some how many are missing."""
        text = f"waiting for {self._missing} more: what is said is held until {self._clients_min} are there"
        self._tell(seats, "waiting", f"{self._missing}: ", text)

    @property
    def _missing(self) -> int:
        """How many have to come; none once enough were there, whoever left since."""
        hall, wanted = self._hall, self._clients_min
        return 0 if hall.most >= wanted else wanted - len(hall.members)

    @staticmethod
    def _tell(seats: Iterable[Seat], code: str, state: str, text: str) -> None:
        extended, base = encode(Notice(code, state + text)), encode(Said(SERVER_IDENTITY, text))
        for seat in seats:
            if seat.session.member is not None:
                seat.send(extended if seat.session.extended else base)
