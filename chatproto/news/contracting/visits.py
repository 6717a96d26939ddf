"""Readers' connections to a contracting server."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import Rejected, WireError
from chatproto.news.contracting.acts import CANCEL, CLOSE, RENEW, STAND_IN, Opened
from chatproto.news.contracting.book import Contract
from chatproto.news.contracting.messages import (
    CODES,
    ID_CHARS_MAX,
    Agreed,
    Cancel,
    Close,
    Closed,
    Declined,
    Enter,
    Entered,
    GiveUp,
    Offer,
    Propose,
    Renew,
    Renewed,
    Request,
    Standing,
    Substitute,
    Waits,
    Where,
    checked,
    refusal_of,
)
from chatproto.news.contracting.negotiation import Effect, Errand, Granted, Negotiation, Stands, Submit, declined
from chatproto.news.contracting.server import ContractingServer
from chatproto.news.link import NewsLink
from chatproto.news.messages import Message
from chatproto.news.terms import Place
from chatproto.wire.addresses import origin_of

NEGOTIATION_S_MAX = 1800.0
"""From a negotiation's turn to its end (the seed's: six minutes, in the mean)."""

OFFER_S_MAX = 30.0
"""How long a reader may think about an offer while others wait for their turn; after it, it waits for its own again."""

log = Logger()


class Visit:
    """One connection of a reader, from its hello on."""

    def __init__(self, visits: "Visits", link: NewsLink) -> None:
        """Begin with a link that has said nothing."""
        self.link = link
        self.entered = False
        self._visits = visits
        self._server = visits.server
        self._reader = ""
        self._ticket = ""
        # Its hash: another one is of another password, which this visitor has not shown.
        self._known_by = ""
        # What a visitor is known by who changes its password, once that is done: a hash, and its ticket.
        self._renewing: tuple[str, str] | None = None
        # What it came with, while its account is about to be there.
        self._opened: Opened | None = None
        self._shown: Enter | None = None
        self._request: Request | None = None
        self._errand: Errand | None = None
        self._negotiation: Negotiation | None = None
        self._its_turn = False
        self._timer: IDelayedCall | None = None
        self._thinking: IDelayedCall | None = None

    @property
    def busy(self) -> bool:
        """Whether something is under way that the reader waits for."""
        return self._request is not None or not self.entered

    @property
    def _host(self) -> str | None:
        return getattr(self.link.transport.getPeer(), "host", None)

    @property
    def origin(self) -> str:
        """See `Negotiator.origin`."""
        host = self._host
        return origin_of(host) if host is not None else ""

    # Entering

    def enter(self, enter: Enter) -> None:
        """Hear the hello."""
        if self._shown is not None:
            raise WireError("it has said hello")
        self._shown, self._reader = enter, enter.reader
        code = refusal_of(enter) or ("" if self._server.serving else "not-serving") or self._visits.closed
        if code:
            self._refuse(code)
        elif enter.opens and enter.reader not in self._server.book.accounts:
            making = self._server.entrance.make(enter.reader, enter.password, self._host, self._is_there)
            self._then(making, self._made)
        else:
            self._check(enter)

    def _check(self, enter: Enter) -> None:
        checking = self._server.entrance.check(enter.reader, enter.password, self._host, self._is_there)
        self._then(checking, self._let_in)

    def _is_there(self) -> bool:
        return self.link.open

    def _then(self, entering: "Deferred[Any]", goes_on: Callable[[Any], None]) -> None:
        def done(result: Any) -> None:
            if self.link.open:
                goes_on(result)

        if not entering.called:
            # There are few of those: they do not have to make room for a crowd of strangers until it is their turn.
            self.link.introduced()
        entering.addCallbacks(done, self._not_entered)
        entering.addErrback(lambda failure: log.failure("letting a reader in failed", failure))

    def _not_entered(self, failure: Failure) -> None:
        failure.trap(Rejected)
        assert isinstance(failure.value, Rejected) and self._shown is not None
        code = failure.value.reason
        if self.link.open:
            self._refuse("taken" if code == "login-failed" and self._shown.opens else code)

    def _made(self, made: tuple[Opened, str]) -> None:
        self._opened, self._ticket = made
        self._server.submit(self._opened)
        self._look_for_account()

    def _look_for_account(self) -> None:
        opened, account = self._opened, self._server.book.accounts.get(self._reader)
        if opened is None or self._shown is None:
            return
        if account is None:
            if self._server.book.full:
                self._refuse("too-many-readers")
            return
        self._opened = None
        if account.secret == opened.secret:
            self._let_in(self._ticket)
        else:
            # Somebody was faster; that may have been itself, over another connection.
            self._check(self._shown)

    def _let_in(self, ticket: str) -> None:
        if self._visits.closed:
            self._refuse(self._visits.closed)
            return
        if not self._server.book.knows(self._reader):
            self._refuse("login-failed")
            return
        self._ticket = ticket
        self._known_by = self._server.book.accounts[self._reader].ticket
        self.entered = True
        self.link.introduced()
        self.link.say(Entered(self._server.name))

    def _refuse(self, code: str) -> None:
        self.link.refuse(code, CODES[code])

    # Requests

    def received(self, message: Any) -> None:
        """Hear a request.

        Raises:
            WireError: it is none, or another one is not answered yet.
        """
        if not isinstance(message, Request):
            raise WireError("a request is expected")
        if self.busy:
            raise WireError("one request at a time")
        self._request = message
        match message:
            case Propose():
                self._propose(message)
            case GiveUp():
                self._end_negotiation()
                self._answer(Declined(message.number, "given-up"))
            case Where():
                contract = self._server.book.accounts[self._reader].contract
                if contract is None or not contract.node:
                    self._do([declined(message.number, "no-contract" if contract is None else "moving")])
                else:
                    self._do([Granted(message.number, contract)])
            case Substitute():
                self._run(Errand(self._reader, message.number, STAND_IN))
            case Cancel():
                self._run(Errand(self._reader, message.number, CANCEL))
            case Close():
                self._run(Errand(self._reader, message.number, CLOSE))
            case Renew():
                making = self._server.entrance.make(self._reader, message.password, self._host)
                making.addCallbacks(
                    lambda made: self._renew(message, made), lambda failure: self._not_renewed(message, failure)
                )
                making.addErrback(lambda failure: log.failure("changing a password failed", failure))

    def _renew(self, message: Renew, made: tuple[Opened, str]) -> None:
        if self.link.open and self._request is message:
            opened, ticket = made
            self._renewing = opened.ticket, ticket
            self._run(Errand(self._reader, message.number, RENEW, opened))

    def _not_renewed(self, message: Renew, failure: Failure) -> None:
        failure.trap(Rejected)
        assert isinstance(failure.value, Rejected)
        if self.link.open and self._request is message:
            self._answer(declined(message.number, failure.value.reason))

    def _run(self, errand: Errand) -> None:
        self._errand = errand
        self._do(errand.look(self._server))

    def _propose(self, message: Propose) -> None:
        if not 0 < len(message.id) <= ID_CHARS_MAX:
            self._answer(declined(message.number, "bad-id"))
            return
        if self._negotiation is not None and self._negotiation.id != message.id:
            self._end_negotiation()
        if self._negotiation is not None:
            self._thinks_no_more()
            self._do(self._negotiation.proposed(message.number, checked(message.terms), self._server))
            return
        self._negotiation = Negotiation(self._reader, message.id)
        try:
            before = self._server.admit(self)
        except Rejected as error:
            self._negotiation = None
            self._answer(declined(message.number, error.reason))
        else:
            if not self._its_turn and self._negotiation is not None:
                self.link.say(Waits(message.number, before))

    def begun(self) -> None:
        """See `Negotiator.begun`."""
        negotiation, message = self._negotiation, self._request
        assert negotiation is not None and isinstance(message, Propose)
        self._its_turn = True
        self._timer = self._server.clock.callLater(self._visits.negotiation_s_max, self._late)
        self._do(negotiation.proposed(message.number, checked(message.terms), self._server))

    def _late(self) -> None:
        # What is being placed then ends by itself.
        self._timer = None
        if self._negotiation is not None:
            self._do(self._negotiation.late())

    def _end_negotiation(self) -> None:
        negotiation, self._negotiation = self._negotiation, None
        if negotiation is None:
            return
        negotiation.gave_up()
        self._its_turn = False
        self._thinks_no_more()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._server.leave(self)

    def _think(self) -> None:
        self._thinking = self._server.clock.callLater(OFFER_S_MAX, self._has_thought)

    def _has_thought(self) -> None:
        self._thinking = None
        if self._server.crowded:
            # What it takes of the offer is looked at again in any case, once it is its turn.
            self._end_negotiation()
        else:
            self._think()

    def _thinks_no_more(self) -> None:
        thinking, self._thinking = self._thinking, None
        if thinking is not None:
            thinking.cancel()

    def look(self) -> None:
        """See `Looks.look`."""
        if not self.link.open:
            return
        if not self._server.serving:
            self._refuse("not-serving")
        elif not self.entered:
            self._look_for_account()
        elif not self._is_known():
            if isinstance(self._request, Close):
                self._answer(Closed(self._request.number))
                self.link.close()
            else:
                # Closed, or under another password; or two nodes without a witness have met again, and parted from
                # what one had committed.
                self._refuse("login-failed")
        elif self._request is not None and self._errand is not None:
            self._do(self._errand.look(self._server))
        elif self._request is not None and self._negotiation is not None and self._its_turn:
            self._do(self._negotiation.look(self._server))

    def _is_known(self) -> bool:
        account = self._server.book.accounts.get(self._reader)
        if account is None or not account.secret:
            return False
        if self._renewing is not None and account.ticket == self._renewing[0]:
            (self._known_by, self._ticket), self._renewing = self._renewing, None
        return account.ticket == self._known_by

    # Effects

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Submit():
                    self._server.submit(effect.act)
                case Granted():
                    self._answer(Agreed(effect.number, self._place(effect.contract)))
                case Stands():
                    self._answer(Standing(effect.number, effect.contract.standing))
                case Offer():
                    self._answer(effect)
                    self._think()
                case Declined() | Renewed():
                    self._answer(effect)
        if self._negotiation is not None and self._negotiation.over:
            self._end_negotiation()

    def _place(self, contract: Contract) -> Place:
        return Place(self._reader, contract.terms, contract.node, contract.substitute, self._ticket, contract.version)

    def _answer(self, message: Message) -> None:
        self._request = self._errand = None
        if isinstance(message, Declined) and message.code != "given-up":
            self._server.refused(message.code)
        self.link.say(message)
        self._visits.answered(self)

    def lost(self) -> None:
        """Hear that the connection is gone; what was submitted goes on."""
        self._request = self._errand = self._opened = None
        self._end_negotiation()


class Visits:
    """Hears the links of readers (`NewsHeard`).

    Attributes:
        server: whom they come to.
        closed: why nobody new is let in, as a code; empty while they are.
        negotiation_s_max: how long a negotiation may take.
    """

    def __init__(self, server: ContractingServer, negotiation_s_max: float = NEGOTIATION_S_MAX) -> None:
        """Let readers come to a server."""
        self.server = server
        self.closed = ""
        self.negotiation_s_max = negotiation_s_max
        self._visits: dict[NewsLink, Visit] = {}
        self._ended: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._visits)

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""
        visit = self._visits[link] = Visit(self, link)
        self.server.looking[visit] = None

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        visit = self._visits[link]
        if isinstance(message, Enter):
            visit.enter(message)
        else:
            visit.received(message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""
        visit = self._visits.pop(link, None)
        if visit is not None:
            self.server.looking.pop(visit, None)
            visit.lost()
        if not self._visits:
            ended, self._ended = self._ended, []
            for waiting in ended:
                waiting.callback(None)

    def answered(self, visit: Visit) -> None:
        """Hear that a reader has its answer."""
        if self.closed:
            visit.link.close()

    def open(self) -> None:
        """Let readers in."""
        self.closed = ""

    def close(self) -> "Deferred[None]":
        """Let nobody in, have every reader hear the answer that it waits for, and end the links; called back then.

        Cancelled, as by `addTimeout`, it ends them at once.
        """
        self.closed = "stopping"
        for link, visit in list(self._visits.items()):
            if not visit.busy:
                link.close()
        if not self._visits:
            return succeed(None)
        ended: Deferred[None] = Deferred(lambda _: self._cut_short())
        self._ended.append(ended)
        return ended

    def _cut_short(self) -> None:
        ended, self._ended = self._ended, []
        for link in list(self._visits):
            link.abort()
        for waiting in ended:
            waiting.callback(None)
