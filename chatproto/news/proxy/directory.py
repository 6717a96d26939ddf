"""A proxy's link to the contracting service: whose news it keeps, and whose password is right."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatproto.errors import ChatprotoError, WireError
from chatproto.news.contracting.messages import Alive, Ask, Check, Checked, Mobile, Readers
from chatproto.news.link import NewsLink
from chatproto.news.proxy.shelf import MobileReader
from chatproto.news.terms import Place

ASK_EVERY_S = 30.0
CHECK_S_MAX = 10.0
CHECKS_MAX = 50
READERS_MAX = 50_000

log = Logger()


class Unreached(ChatprotoError):
    """Whether a password is right cannot be looked at now."""


class Directory:
    """Hears the link to the contracting service.

    Attributes:
        up: whether it is reached now.
    """

    def __init__(
        self,
        clock: IReactorTime,
        node: Callable[[], str],
        listed: Callable[[list[MobileReader]], None],
        ask_every_s: float = ASK_EVERY_S,
    ) -> None:
        """Ask on behalf of a proxy.

        Args:
            clock: for what is asked again and again, and what takes too long.
            node: returns the name of the delivery node; empty as long as that is not known.
            listed: called with all mobile readers of that node, now and then.
            ask_every_s: how often.
        """
        self.up = False
        self._clock = clock
        self._node = node
        self._listed = listed
        self._ask_every_s = ask_every_s
        self._link: NewsLink | None = None
        self._timer: IDelayedCall | None = None
        self._asked_of = ""
        self._found: list[MobileReader] = []
        self._keys = 0
        self._checks: dict[int, Deferred[str]] = {}

    # `NewsHeard`

    def link_admitted(self, link: NewsLink) -> None:
        """Ask whether this server serves."""
        self._link = link
        link.say(Ask())

    def link_received(self, link: NewsLink, message: Any) -> None:
        """Take what the service has answered."""
        match message:
            case Alive() if not message.serving:
                # Another one does, or will: it is looked for again.
                link.close()
            case Alive():
                self.up = True
                self._ask()
            case Mobile():
                self._find(message)
            case Checked():
                self._answer(message)
            case _:
                raise WireError("no message of the contracting service")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """Fail what was asked, and wait for the next link."""
        self._link, self.up = None, False
        self.stop()
        checks, self._checks = self._checks, {}
        for checking in checks.values():
            checking.errback(Unreached("the contracting service was lost"))

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # Whose news

    def ask_soon(self) -> None:
        """Ask at once, if the service is reached: what node this is about has just become known."""
        if self.up and self._timer is not None:
            self.stop()
            self._ask()

    def _ask(self) -> None:
        self._timer = None
        self._asked_of = self._node()
        self._found = []
        if self._asked_of and self._link is not None:
            self._link.say(Readers(self._asked_of))
        else:
            self._ask_later()

    def _ask_later(self) -> None:
        self._timer = self._clock.callLater(self._ask_every_s, self._ask)

    def _find(self, mobile: Mobile) -> None:
        if self._timer is not None:
            raise WireError("readers that nobody has asked for")
        self._found += [MobileReader(name, topics) for name, _, topics in mobile.readers]
        if len(self._found) > READERS_MAX:
            raise WireError("more readers than a node has")
        if mobile.more and mobile.readers:
            assert self._link is not None
            self._link.say(Readers(self._asked_of, self._found[-1].name))
            return
        self._ask_later()
        if self._asked_of == self._node():
            self._listed(self._found)

    # Whose password

    def check(self, reader: str, password: str, host: str) -> "Deferred[str]":
        """See `Accounts.check`."""
        if not self.up or self._link is None:
            return fail(Unreached("the contracting service is not reached"))
        if len(self._checks) >= CHECKS_MAX:
            return fail(Unreached("too many passwords are being checked"))
        self._keys += 1
        key = self._keys
        checking: Deferred[str] = Deferred(lambda _: self._forget(key))
        checking.addTimeout(CHECK_S_MAX, self._clock, _too_late)
        self._checks[key] = checking
        self._link.say(Check(key, reader, password, host))
        return checking

    def _forget(self, key: int) -> None:
        del self._checks[key]

    def _answer(self, checked: Checked) -> None:
        checking = self._checks.pop(checked.number, None)
        if checking is not None:  # Else it came too late.
            checking.callback(checked.code or self._not_here(checked.place))

    def _not_here(self, place: Place | None) -> str:
        if place is None:
            return "no-contract"
        if not place.terms.mobile:
            return "not-mobile"
        return "" if self._node() in ("", place.node) else "elsewhere"


def _too_late(_: object, __: float) -> None:
    raise Unreached("the contracting service does not answer")
