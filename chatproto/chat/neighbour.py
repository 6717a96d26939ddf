"""The other node, as far as chat knows it: how it is, and what it is asked.

There are more than one while a node is about to take another's place.
"""

from collections.abc import Callable, Sized

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatproto.chat.notes import Answer, Called, Heard, Here, Note, Question, decode_note, encode_note
from chatproto.chat.settings import ChatSettings
from chatproto.errors import DeliveryError, WireError
from chatproto.log.interface import ILog
from chatproto.messaging import QueueLimits, Requests
from chatproto.wire.addresses import join_tls, split_tls

HERE_INTERVAL_S = 0.1
"""A node tells no more often how many sessions it serves."""
ANSWER_S_MAX = 2.0
"""How long an answer is waited for."""
QUESTIONS_MAX = 1000
"""Questions without an answer at once; beyond it they are not asked."""
QUESTIONS_BYTES_MAX = 16 * 1024 * 1024
"""The same, in bytes."""

log = Logger()


class Neighbour:
    """Tells the other node how this one is, and knows what that one told."""

    def __init__(
        self,
        settings: ChatSettings,
        chat_log: ILog,
        seats: Sized,
        clock: IReactorTime,
    ) -> None:
        """Know nothing of it yet.

        Args:
            settings: of this node.
            chat_log: carries the notes.
            seats: of the sessions that this node serves.
            clock: for how long answers are waited for.
        """
        self._settings = settings
        self._log = chat_log
        self._seats = seats
        self._clock = clock
        # How each other node said last that it is, by name; and where such a node was, or is said to be.
        self._here: dict[str, Here] = {}
        self._referred: list[str] = []
        self._servers: list[str] = []
        self._pages: list[str] = []
        self._sent = 0
        self._told = 0
        self._telling: IDelayedCall | None = None
        self._retired = False
        # None waits for another: the answers are small, and come as fast as the questions.
        limits = QueueLimits(QUESTIONS_MAX, QUESTIONS_BYTES_MAX, QUESTIONS_MAX, QUESTIONS_BYTES_MAX)
        self._questions: Requests[Answer] = Requests(clock, limits)

    # How it is

    @property
    def servers(self) -> list[str]:
        """Its places, as it told last, or as `found`, or those referred to; it need not be there any more."""
        serving = [
            server for here in self._here.values() if here.serving for server in join_tls(here.servers, here.tls)
        ]
        return self._referred or serving or self._servers

    @property
    def pages(self) -> list[str]:
        """The addresses of its page, as it told last; not of servers referred to, which have told nothing."""
        serving = [page for here in self._here.values() if here.serving for page in here.pages]
        return [] if self._referred else serving or self._pages

    @property
    def all_pages(self) -> list[str]:
        """The addresses of this node's page and its own."""
        return list(dict.fromkeys([*self._settings.pages, *self.pages]))

    @property
    def serving(self) -> bool:
        """Whether it is heard, and serves."""
        return bool(self._referred) or any(here.serving for here in self._here.values())

    def refer(self, servers: list[str]) -> None:
        """Have clients that leave go to these servers, which are no other node of this one's pair."""
        self._referred = servers

    def found(self, servers: list[str], pages: list[str]) -> None:
        """Hear from elsewhere where clients are served, and browsers, while this node knows of nobody who does."""
        if not self.serving:
            self._servers, self._pages = servers, pages

    def takes_one(self) -> bool:
        """Whether it has room for a client that is sent there; if so, that one is counted."""
        if not any(here.serving and here.sessions + self._sent < here.capacity for here in self._here.values()):
            return False
        self._sent += 1
        return True

    def changed(self) -> None:
        """Hear that the log has changed: it may be away, or back, or has to know."""
        there = {peer.name for peer in self._log.peers if peer.role}
        self._here = {name: here for name, here in self._here.items() if name in there}
        if not there:
            self._questions.closed()
        self._tell()

    def counted(self) -> None:
        """Hear that this node may serve more or fewer sessions than before."""
        if self._telling is None and len(self._seats) != self._told and self._log.peers:
            self._telling = self._clock.callLater(HERE_INTERVAL_S, self._tell)

    def retire(self, *, retired: bool = True) -> None:
        """Have it know that this node takes nobody any more, or does again."""
        self._retired = retired
        self._tell()

    def stop(self) -> None:
        """Tell and ask no more."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._questions.closed()

    def _tell(self) -> None:
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._telling = None
        self._told = len(self._seats)
        settings = self._settings
        serving = self._log.serving and not self._retired
        servers, tls = split_tls(settings.servers)
        self._send(Here(servers, self._told, settings.capacity, serving, settings.name, settings.pages, tls))

    def _send(self, note: Note) -> bool:
        return self._log.tell(encode_note(note))

    # What it is asked

    def ask(self, make: Callable[[int], Question], answered: Callable[[Answer | None], None]) -> None:
        """Ask it what `make` makes of a number; `answered` is called once, with None where no answer comes."""
        self._questions.opened(self._put)
        asking = self._questions.ask(lambda number: encode_note(make(number)), ANSWER_S_MAX)
        asking.addErrback(lambda failure: failure.trap(DeliveryError) and None).addCallback(answered)
        asking.addErrback(lambda failure: log.failure("taking the other node's answer failed", failure))

    def _put(self, question: bytes) -> None:
        # Whether there is a link to the other node shows when it is used.
        if not self._log.tell(question):
            self._questions.closed()

    def told(self, note: bytes, asked: Callable[[Question], Answer]) -> None:
        """Take a note; if it is a question, have it answered by `asked`. One that is none is logged and ignored."""
        try:
            said = decode_note(note)
        except WireError as error:
            log.warn("ignoring a note from the other node: {error}; do both run one version?", error=str(error))
            return
        if isinstance(said, Here):
            self._here[said.name], self._pages, self._sent = said, said.pages, 0
            self._servers = join_tls(said.servers, said.tls)
        elif isinstance(said, Heard | Called):
            self._questions.answered(said.number, said)
        else:
            self._send(asked(said))
