"""What an operator may have done about accounts and bans: in the log, so that both nodes of a pair do it."""

from collections.abc import Callable, Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chatproto.chat.acts import decode_decree
from chatproto.chat.bans import Ban
from chatproto.chat.messages import NONSENSE, Error
from chatproto.chat.server import ChatServer

Say = Callable[[str], None]

DECREE_S_MAX = 10.0
"""How long it is waited for that a decree is committed."""


class AccountShown(msgspec.Struct, frozen=True):
    """An account, as operators see it: `devices` are present, `tickets` are good."""

    name: str
    roles: list[str]
    password: bool
    devices: int
    tickets: int


class Administration:
    """Has done what an operator asks of a node's chat."""

    def __init__(self, server: ChatServer, clock: IReactorTime) -> None:
        """Work on a node's chat."""
        self._server = server
        self._clock = clock

    def decree(self, say: Say, text: str = "") -> "Deferred[None] | None":
        """Have a decree, as JSON, committed, and say what came of it."""
        try:
            decree = decode_decree(text)
        except NONSENSE as error:
            say(f"refused: {error}; do the command and the node run one version?")
            return None
        if not self._server.log.serving:
            say("refused: this node cannot have anything agreed on now; try again, or on the other node")
            return None

        def done(refusal: Error | None) -> None:
            say("done: committed" if refusal is None else f"refused: {refusal.message}")

        def not_yet(failure: Failure) -> None:
            failure.trap(TookTooLong)
            say(f"refused: not committed within {DECREE_S_MAX:g} s; it may be yet: look before you try again")

        deciding = self._server.decree(decree)
        deciding.addTimeout(DECREE_S_MAX, self._clock, lambda result, _: Failure(TookTooLong()))
        return deciding.addCallbacks(done, not_yet)

    def accounts(self, say: Say) -> None:
        """Say which accounts there are, as JSON."""
        hall, now = self._server.hall, self._server.time()
        _say_all(
            say,
            (
                AccountShown(
                    name,
                    account.roles,
                    bool(account.secret),
                    len(hall.identities[name].devices),
                    sum(now < until for until in account.tickets.values()),
                )
                for name, account in hall.accounts.items()
            ),
        )

    def bans(self, say: Say) -> None:
        """Say who is kept out, as JSON."""
        _say_all(say, map(_shown, self._server.hall.bans.listed(self._server.time())))


class BanShown(msgspec.Struct, frozen=True):
    """A ban, as operators see it; `by` is empty for an operator's."""

    subject: str
    until: float
    reason: str
    by: str


def _shown(ban: Ban) -> BanShown:
    return BanShown(ban.subject, ban.until, ban.reason, ban.by)


def _say_all(say: Say, shown: Iterable[msgspec.Struct]) -> None:
    say(f"done: {msgspec.json.encode(list(shown)).decode()}")
