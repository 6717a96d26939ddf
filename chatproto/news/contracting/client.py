"""Negotiates contracts, for programs: finds the service, and goes on elsewhere when a server is lost."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from chatproto.errors import ContractRefused, ContractStopped, WireError
from chatproto.link import Turn
from chatproto.news.contracting.messages import (
    CODES,
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
    decode_to_reader,
)
from chatproto.news.link import HEARTBEAT_S, SUSPECT_S, NewsDialler, NewsLink
from chatproto.news.messages import VERSION, Refused
from chatproto.news.terms import REASONS, Place, Terms
from chatproto.tally import Tally

TRIED_AGAIN = frozenset({"not-serving", "stopping", "busy", "slowed", "silent", "full", "crowded-out"})
"""Refusals of a hello that time, or another server, may cure."""

Options = tuple[Terms, ...]
"""What can be had instead of what was asked for, the nearest first."""

log = Logger()


class _Asked:
    """A request that waits for its answer; its number is 0 as long as it is not sent over the present connection."""

    def __init__(self, make: Callable[[int], Request], answer: "Deferred[Any]") -> None:
        self.make = make
        self.answer = answer
        self.number = 0
        self.sent = False


class ContractClient(Service):
    """A reader's side of the contracting service: steps that are awaited, one after another.

    When a connection breaks, the service is looked for anew, and whatever has no answer yet is asked again there; it is
    done once all the same. Whoever awaits a step notices a pause. A Deferred fails with `ContractRefused` where the
    service says no, and with `ContractStopped`. Cancelling one forgets it; whether it was done is not known.

    Attributes:
        server: the name of the server that has let this reader in; empty while there is none.
        told: called with a line for the user, when something takes its time: that it waits, or looks for a server.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        reader: str,
        password: str,
        *,
        opens: bool = False,
        dice: random.Random | None = None,
        turn: Turn | None = None,
        tally: Tally | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        suspect_s: float = SUSPECT_S,
    ) -> None:
        """Make a client; `startService` begins to look for the service.

        Args:
            endpoint: of the service: `RegistryEndpoint(registry, reactor, service="news", kind="news-contracts")`
                finds it wherever it is; any other endpoint will do that knows where it is.
            clock: the reactor, as far as time goes.
            reader: the name.
            password: which proves it.
            opens: whether the reader may be a new one.
            dice: draws the ids of negotiations, and spreads the tries; the system's source where it is not given.
            turn: batches what is sent; one of its own where it is not given.
            tally: counts the links that this side drops.
            heartbeat_s: after so long this side says that it lives.
            suspect_s: a server that is silent for so long is looked for elsewhere.
        """
        self.server = ""
        self.told: Callable[[str], object] = lambda text: None
        self._enter = Enter(VERSION, reader, password, opens)
        self._dice = dice if dice is not None else random.SystemRandom()
        self._asked: deque[_Asked] = deque()
        self._numbers = 0
        self._negotiation = ""
        self._entering: list[Deferred[str]] = []
        self._refusal: ContractRefused | None = None
        self._dialler = NewsDialler(
            endpoint,
            self,
            decode_to_reader,
            turn if turn is not None else Turn(clock),
            clock,
            self._dice,
            what="the contracting service",
            tally=tally,
            heartbeat_s=heartbeat_s,
            suspect_s=suspect_s,
            failed=self._failed,
        )

    # Life

    def startService(self) -> None:
        """Begin to look for the service."""
        super().startService()
        self._refusal = None
        self._dialler.start()

    def stopService(self) -> None:
        """End the connection; whoever waits hears `ContractStopped`."""
        super().stopService()
        self._dialler.stop()
        self.server = ""
        self._give_up(ContractStopped("the client of the contracting service was stopped"))

    # Steps

    def enter(self) -> "Deferred[str]":
        """Wait until a server has let this reader in: called back with the server's name.

        Any other step waits for that by itself. It fails for all of them where the service says no for good:
        `login-failed`, `taken`, `bad-name`, `bad-password`, ….
        """
        if self.server:
            entered: Deferred[str] = Deferred()
            entered.callback(self.server)
            return entered
        if (refused := self._not_to_ask()) is not None:
            return fail(refused)
        entering: Deferred[str] = Deferred(lambda one: self._entering.remove(one))
        self._entering.append(entering)
        return entering

    def propose(self, terms: Terms) -> "Deferred[Place | Options]":
        """Ask for a contract with these terms; it takes the place of an earlier contract.

        Called back with the `Place`, once it holds and its delivery node has it; or with what can be had instead, of
        which to `propose` one (that is to pick it), or something else (that is to counter), or to `give_up`.
        """
        if not self._negotiation:
            self._negotiation = f"{self._dice.getrandbits(128):032x}"
        id = self._negotiation

        def ended(result: Any) -> Any:
            if not isinstance(result, tuple) and self._negotiation == id:
                self._negotiation = ""
            return result

        return self._ask(lambda number: Propose(number, id, terms)).addBoth(ended)

    def give_up(self) -> "Deferred[None]":
        """End a negotiation without a contract; an earlier one stays."""
        id, self._negotiation = self._negotiation or "none", ""
        return self._ask(lambda number: GiveUp(number, id))

    def where(self) -> "Deferred[Place]":
        """Ask for the contract that holds, and where it is fulfilled; fails as `no-contract` where there is none."""
        return self._ask(Where)

    def substitute(self) -> "Deferred[str]":
        """Say that the delivery node is gone; called back with the name of the node that stands in, once it does."""
        return self._ask(Substitute)

    def cancel(self) -> "Deferred[None]":
        """End the contract, if there is one."""
        return self._ask(Cancel)

    def change_password(self, password: str) -> "Deferred[None]":
        """Have another password; called back when it proves the name, and the one before does not any more.

        Fails as `bad-password` where it is none. The ticket of the reader's place is another one then: ask `where`.
        """
        return self._ask(lambda number: Renew(number, password))

    def delete_account(self) -> "Deferred[None]":
        """Have no account any more, nor a contract; called back when that is so. Nothing can be asked after it."""
        return self._ask(Close)

    def _not_to_ask(self) -> Exception | None:
        if not self.running:
            return ContractStopped("the client of the contracting service does not run")
        return self._refusal

    def _ask(self, make: Callable[[int], Request]) -> "Deferred[Any]":
        if (refused := self._not_to_ask()) is not None:
            return fail(refused)

        def forget(_: object) -> None:
            # What was sent is answered; nobody waits for that.
            if asked in self._asked and not asked.number:
                self._asked.remove(asked)

        asked = _Asked(make, Deferred(forget))
        self._asked.append(asked)
        self._send()
        return asked.answer

    def _send(self) -> None:
        link = self._dialler.link
        if link is None or not self.server or not self._asked:
            return
        asked = self._asked[0]
        # Whoever hears an answer may ask again at once, and has had that sent.
        if not asked.number:
            self._numbers += 1
            asked.number, asked.sent = self._numbers, True
            link.say(asked.make(asked.number))

    # From the link

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""
        link.say(self._enter)

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        if isinstance(message, Refused):
            self._refused(message)
        elif isinstance(message, Entered):
            self._entered(message)
        elif not self._asked or message.number != self._asked[0].number:
            raise WireError("nothing was asked")
        elif isinstance(message, Waits):
            self.told(f"as many negotiate as may; before you: {message.before}")
        else:
            self._answered(self._asked.popleft(), message)
            self._send()

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`: what has no answer is asked again."""
        if self.server:
            self.told(f"the connection to {self.server} is lost; looking for the service")
        self.server = ""
        # What nobody waits for any more need not be asked again.
        self._asked = deque(asked for asked in self._asked if not asked.answer.called)
        for asked in self._asked:
            asked.number = 0

    def _failed(self, reason: str) -> None:
        log.debug("no contracting service yet: {reason}", reason=reason)

    def _entered(self, message: Entered) -> None:
        self.server = message.server
        # Where it is let in, it is a reader: from now on, one that is gone was deleted.
        self._enter = msgspec.structs.replace(self._enter, opens=False)
        entering, self._entering = self._entering, []
        for waiting in entering:
            waiting.callback(message.server)
        self._send()

    def _refused(self, message: Refused) -> None:
        if message.code in TRIED_AGAIN:
            self.told(f"the service says, {message.why or message.code}; trying again")
            return
        if message.code == "login-failed" and self._was_done():
            return
        self._refusal = ContractRefused(message.code, message.why)
        self.server = ""
        self._dialler.stop()
        self._give_up(self._refusal)

    def _was_done(self) -> bool:
        """Whether what was asked for before the connection broke is why the name, or the password, is not right."""
        asked = self._asked[0].make(0) if self._asked and self._asked[0].sent else None
        if isinstance(asked, Renew) and asked.password != self._enter.password:
            self._enter = msgspec.structs.replace(self._enter, password=asked.password)
            return True
        if isinstance(asked, Close):
            self._closed(self._asked.popleft())
            return True
        return False

    def _closed(self, asked: _Asked) -> None:
        self._refusal = ContractRefused("login-failed", "the account was deleted")
        self._dialler.stop()
        self.server = ""
        if not asked.answer.called:
            asked.answer.callback(None)
        self._give_up(self._refusal)

    def _answered(self, asked: _Asked, message: Any) -> None:
        answer = asked.answer
        if isinstance(message, Renewed):
            renewed = asked.make(0)
            assert isinstance(renewed, Renew)
            self._enter = msgspec.structs.replace(self._enter, password=renewed.password)
        if isinstance(message, Closed):
            self._closed(asked)
        if answer.called:
            return
        match message:
            case Renewed():
                answer.callback(None)
            case Agreed():
                answer.callback(message.place)
            case Offer():
                answer.callback(message.options)
            case Standing():
                answer.callback(message.node)
            case Declined():
                if message.code == "given-up" or (message.code == "no-contract" and self._cancels(asked)):
                    answer.callback(None)
                else:
                    why = message.why or CODES.get(message.code) or REASONS.get(message.code, "")
                    answer.errback(ContractRefused(message.code, why))

    def _cancels(self, asked: _Asked) -> bool:
        return asked.make is Cancel

    def _give_up(self, error: Exception) -> None:
        asked, self._asked = self._asked, deque()
        entering, self._entering = self._entering, []
        self._negotiation = ""
        for waiting in [one.answer for one in asked] + entering:
            if not waiting.called:
                waiting.errback(error)
