"""How clients prove who they are, and what becomes of those who do not."""

from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.attempts import Attempts
from chatproto.chat.bans import origin_of
from chatproto.chat.messages import Error, Hello
from chatproto.chat.portal import IAvatar, Ticket
from chatproto.chat.seat import Seat
from chatproto.errors import Rejected
from chatproto.messaging import ConcurrentServer

AT_ONCE_MAX = 2
"""Passwords that are checked together: each takes a tenth of a second of a core, and 32 MiB."""
WAITING_MAX = 200
"""Logins that wait besides."""
AT_ONCE_PER_ORIGIN_MAX = 20
"""Of these, those from one address."""
BUSY_MS = 2000
"""When those may try again who come while as many wait."""

FAILED = Error("login-failed", "there is no such account, or that is not what lets it in")

log = Logger()


class Logins:
    """Checks credentials for a node's clients, a few at a time, and slows those who fail."""

    def __init__(
        self,
        portal: Portal,
        clock: IReactorTime,
        passed: Callable[[Seat, Hello, IAvatar], None],
        refused: Callable[[Seat, Error], None],
    ) -> None:
        """Let clients prove who they are.

        Args:
            portal: knows the accounts.
            clock: for how long those who fail have to wait.
            passed: called with a seat whose client has proved to be somebody, and how it said hello.
            refused: called with a seat whose client has not, and what it is told before it is parted from.
        """
        self._portal = portal
        self._clock = clock
        self._passed = passed
        self._refused = refused
        self._attempts = Attempts()
        self._under_way: dict[Seat, Hashable] = {}
        self._origins: Counter[Hashable] = Counter()
        self._checks: ConcurrentServer[Any, IAvatar]
        self._checks = ConcurrentServer(self._check, at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX)

    @property
    def seats(self) -> list[Seat]:
        """Those whose clients are about to prove who they are."""
        return list(self._under_way)

    def begin(self, seat: Seat, hello: Hello) -> None:
        """Check what a client came with; what else it asks for waits until that is done."""
        assert hello.account is not None
        origin = origin_of(seat.host)
        wait_s = self._attempts.wait_s(origin, hello.account, self._clock.seconds())
        if wait_s or self._origins[origin] >= AT_ONCE_PER_ORIGIN_MAX:
            self._refused(seat, slowed(round(wait_s * 1000) + 1 if wait_s else BUSY_MS))
            return
        self._origins[origin] += 1
        seat.session.pause()
        username = hello.account.encode("utf-8", "surrogatepass")
        if hello.ticket is not None:
            checking = self._check(Ticket(username, hello.ticket))
        else:
            shown = UsernamePassword(username, (hello.password or "").encode("utf-8", "surrogatepass"))
            checking = self._checks.serve(shown)
        self._under_way[seat] = origin
        checking.addBoth(partial(self._over, origin))
        checking.addCallbacks(partial(self._proved, seat, hello, origin), partial(self._failed, seat, hello, origin))
        checking.addErrback(lambda failure: log.failure("ending a login failed", failure))

    def lost(self, seat: Seat) -> bool:
        """Hear that a client is gone, or that its seat is given up; return whether it was about to log in."""
        # What a thread has begun it ends: its place must not be another's until then.
        return self._under_way.pop(seat, None) is not None

    def clear(self) -> None:
        """Know of nobody who is about to log in."""
        self._under_way.clear()

    def _check(self, shown: Any) -> "Deferred[IAvatar]":
        checking: Deferred[Any] = self._portal.login(shown, None, IAvatar)

        def wrong(failure: Failure) -> None:
            failure.trap(UnauthorizedLogin)
            raise Rejected(FAILED.code)

        return checking.addCallbacks(lambda found: found[1], wrong)

    def _over(self, origin: Hashable, result: Any) -> Any:
        self._origins[origin] -= 1
        if not self._origins[origin]:
            del self._origins[origin]
        return result

    def _proved(self, seat: Seat, hello: Hello, origin: Hashable, avatar: IAvatar) -> None:
        self._attempts.passed(origin, avatar.account)
        if self._under_way.pop(seat, None) is not None:
            self._passed(seat, hello, avatar)
            seat.session.acted()

    def _failed(self, seat: Seat, hello: Hello, origin: Hashable, failure: Failure) -> None:
        if self._under_way.pop(seat, None) is None:
            return
        if isinstance(failure.value, Rejected) and failure.value.reason == FAILED.code:
            if hello.ticket is None and hello.account is not None:
                # A ticket that has ended is no guess, and nobody guesses one.
                self._attempts.failed(origin, hello.account, self._clock.seconds())
            self._refused(seat, FAILED)
        else:
            self._refused(seat, slowed(BUSY_MS))


def slowed(after_ms: int) -> Error:
    """Return what somebody is told who may not try yet."""
    return Error("login-slowed", f"try again in {after_ms / 1000:.1f} s", after=after_ms)
