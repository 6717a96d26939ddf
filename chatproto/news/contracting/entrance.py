"""Lets readers in: passwords are checked a few at a time, where that holds nobody up, and failures are slowed."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from chatproto.chat.attempts import Attempts
from chatproto.chat.passwords import COST_LOG2, SALT_BYTES
from chatproto.errors import Rejected
from chatproto.gate import Gate, Limits
from chatproto.messaging import ConcurrentServer
from chatproto.news.contracting.acts import Opened
from chatproto.news.contracting.book import Book
from chatproto.news.contracting.tickets import opening, ticket_if_right
from chatproto.tally import Tally
from chatproto.wire.addresses import origin_of

AT_ONCE_MAX = 2
"""Passwords that are checked at the same time: each takes a tenth of a second of one core, and 64 MiB."""
WAITING_MAX = 64
PER_ORIGIN_MAX = 8
"""Checks for one address that are under way or wait."""
NEWCOMERS = Limits(arrivals_a_second=0.1, arrivals_at_once=100)
"""New readers from one address: each stays in the book, and on every disk that has it, for good."""

Aside = Callable[[Callable[[], Any]], "Deferred[Any]"]


class _Work(NamedTuple):
    """What takes its time, and whether anybody still waits for it."""

    call: Callable[[], Any]
    wanted: Callable[[], bool]


def _always() -> bool:
    return True


class Entrance:
    """Checks the passwords of readers, and makes those of new ones secrets."""

    def __init__(
        self, book: Book, aside: Aside, clock: IReactorTime, dice: random.Random, cost_log2: int = COST_LOG2
    ) -> None:
        """Let the readers of a book in.

        Args:
            book: knows them.
            aside: runs what takes its time.
            clock: for how long those who fail have to wait.
            dice: salts.
            cost_log2: of new secrets.
        """
        self._book = book
        self._aside = aside
        self._clock = clock
        self._dice = dice
        self._cost_log2 = cost_log2
        self._attempts = Attempts()
        self._origins: Counter[str] = Counter()
        # Whoever refuses counts it, so that nobody asks this tally.
        self._newcomers: Gate[str] = Gate("", Tally(), lambda: NEWCOMERS)
        self._work: ConcurrentServer[_Work, Any]
        self._work = ConcurrentServer(self._begin, at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX)

    def check(
        self, reader: str, password: str, host: str | None, wanted: Callable[[], bool] = _always
    ) -> "Deferred[str]":
        """Check a password; called back with the reader's ticket.

        Fails with `Rejected`: `login-failed`, `slowed`, `busy`.

        Args:
            reader: the name; one that nobody has takes as long as any other.
            password: as it was shown.
            host: the address of whoever shows it; None for this machine.
            wanted: whether somebody still waits for the answer, asked when it is its turn.
        """
        origin = origin_of(host) if host is not None else ""
        if self._attempts.wait_s(origin, reader, self._clock.seconds()) or not self._admits(origin):
            return fail(Rejected("slowed"))
        account = self._book.accounts.get(reader)
        secret, salt = (account.secret, account.salt) if account is not None else ("", b"")
        checking = self._do(origin, partial(ticket_if_right, password, secret, salt), wanted)

        def found(ticket: str) -> str:
            if not ticket:
                self._attempts.failed(origin, reader, self._clock.seconds())
                raise Rejected("login-failed")
            self._attempts.passed(origin, reader)
            return ticket

        return checking.addCallback(found)

    def make(
        self, reader: str, password: str, host: str | None, wanted: Callable[[], bool] = _always
    ) -> "Deferred[tuple[Opened, str]]":
        """Make a secret of a new reader's password; called back with the act that opens its account, and its ticket.

        The arguments are those of `check`.

        Fails with `Rejected`: `bad-password`, `slowed`, `busy`.
        """
        origin = origin_of(host) if host is not None else ""
        if not self._admits(origin) or (host is not None and not self._newcomers.admits(host, self._clock.seconds())):
            return fail(Rejected("slowed"))
        salts = self._dice.randbytes(2 * SALT_BYTES)

        def make() -> tuple[Opened, str]:
            try:
                return opening(reader, password, salts, self._cost_log2)
            except ValueError:
                raise Rejected("bad-password") from None

        return self._do(origin, make, wanted)

    def _admits(self, origin: str) -> bool:
        return self._origins[origin] < PER_ORIGIN_MAX

    def _begin(self, work: _Work) -> "Deferred[Any]":
        # In a crowd most have gone before it is their turn.
        return self._aside(work.call) if work.wanted() else fail(Rejected("busy"))

    def _do(self, origin: str, call: Callable[[], Any], wanted: Callable[[], bool]) -> "Deferred[Any]":
        self._origins[origin] += 1

        def done(result: Any) -> Any:
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]
            return result

        return self._work.serve(_Work(call, wanted)).addBoth(done)
