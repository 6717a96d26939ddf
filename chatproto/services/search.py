"""Has what is committed taken into the index for searching, at its leisure, and clients' searches answered by it."""

import sqlite3
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.server import ChatServer
from chatproto.errors import Rejected, StoreError
from chatproto.log.interface import Found, ISearch, Wanted

LOOK_EVERY_S = 0.25
"""What is said is found after so long, if the node is not busy."""
PIECES_EVERY_S = 0.005
"""Between the pieces of more than that, so that the disk is not its own."""
BUSY_ENTRIES = 500
"""Where so many came since the last look, there is one piece a look: searching can wait, those who chat cannot."""
AFTER_FAILURE_S = 30.0

log = Logger()


class SearchService(Service):
    """The search of a node; without it the node is as good as ever, but for what is asked of it here."""

    def __init__(self, clock: IReactorTime, open_search: Callable[[], ISearch], server: ChatServer) -> None:
        """Search a server's log for its clients.

        Args:
            clock: for the looks at what is new.
            open_search: opens what finds messages, once the log is open; raises `StoreError`.
            server: whose clients they are.
        """
        self._clock = clock
        self._open_search = open_search
        self._server = server
        self._search: ISearch | None = None
        self._looking: IDelayedCall | None = None
        self._failed = False
        # Where the log was at the last look, and where once all of it was taken in.
        self._position = 0
        self._seen = -1
        self._taken = 0
        server.search_by(self.find)

    def startService(self) -> None:
        """Open the index; if that cannot be, clients are told that nothing is searched."""
        super().startService()
        try:
            self._search = self._open_search()
        except StoreError as error:
            log.warn("nothing can be searched: {error}", error=str(error))
        else:
            self._look()

    @property
    def behind(self) -> int | None:
        """How many committed entries are not known to be taken in yet; None where nothing is searched."""
        return None if self._search is None else max(0, self._server.log.position - self._taken)

    def find(self, wanted: Wanted) -> "Deferred[Found]":
        """See `ISearch.find`; fails with `Rejected` where nothing is searched."""
        return fail(Rejected("no-search")) if self._search is None else self._search.find(wanted)

    def _look(self) -> None:
        self._looking = None
        if self._search is None:
            return
        position = self._server.log.position
        if position == self._seen:
            self._look_again(LOOK_EVERY_S)
            return
        advancing = self._search.advance(position, self._server.hall.kept())
        busy = position - self._position > BUSY_ENTRIES and self._position > 0
        self._position = position
        advancing.addCallbacks(self._advanced, self._not_advanced, (position, busy))
        advancing.addCallback(self._look_again)
        advancing.addErrback(lambda failure: log.failure("looking for what is new failed", failure))

    def _advanced(self, left: int, position: int, busy: bool) -> float:
        self._failed = False
        self._taken = position - left
        if left:
            return LOOK_EVERY_S if busy else PIECES_EVERY_S
        self._seen = position
        return LOOK_EVERY_S

    def _not_advanced(self, failure: Failure) -> float:
        if self._failed or self._search is None:
            pass
        elif failure.check(StoreError, sqlite3.Error, OSError):
            log.warn("what is said now cannot be searched: {error}", error=failure.getErrorMessage())
        else:
            log.failure("what is said now cannot be searched", failure)
        self._failed = True
        return AFTER_FAILURE_S

    def _look_again(self, after_s: float) -> None:
        if self._search is not None:
            self._looking = self._clock.callLater(after_s, self._look)

    def stopService(self) -> "Deferred[None] | None":
        """Let the index go."""
        super().stopService()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        search, self._search = self._search, None
        return search.close() if search is not None else None
