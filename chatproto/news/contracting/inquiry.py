"""Asks a contracting server whether it lives, over a connection of its own: that is answered by what serves."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from chatproto.errors import ContractError
from chatproto.link import Turn
from chatproto.news.contracting.messages import Alive, Ask, decode_to_part
from chatproto.news.link import NewsLink
from chatproto.trust.interface import Trust


class NotAlive(ContractError):
    """A contracting server was reached that does not say that it lives."""


class _Asking(Factory):
    noisy = False

    def __init__(self, turn: Turn, clock: IReactorTime, trust: Trust, answer: "Deferred[Alive]") -> None:
        self._outside = turn, clock
        self._trust = trust
        self._answer = answer

    def buildProtocol(self, addr: IAddress | None) -> NewsLink:
        return NewsLink(self, decode_to_part, *self._outside, dialled=True, trust=self._trust)

    def link_admitted(self, link: NewsLink) -> None:
        link.introduced()
        link.say(Ask())

    def link_received(self, link: NewsLink, message: Any) -> None:
        if self._answer.called:
            return
        if isinstance(message, Alive):
            self._answer.callback(message)
        else:
            self._answer.errback(NotAlive("it says something else"))

    def link_lost(self, link: NewsLink, reason: str) -> None:
        if not self._answer.called:
            self._answer.errback(NotAlive(f"the connection has ended without an answer: {reason}"))


def ask(endpoint: IStreamClientEndpoint, turn: Turn, clock: IReactorTime, trust: Trust) -> "Deferred[Alive]":
    """Ask at a guarded port; fails as the endpoint does, or with `NotAlive`. Cancelling ends the connection."""
    return Deferred.fromCoroutine(_ask(endpoint, turn, clock, trust))


async def _ask(endpoint: IStreamClientEndpoint, turn: Turn, clock: IReactorTime, trust: Trust) -> Alive:
    answer: Deferred[Alive] = Deferred()
    link: Any = await endpoint.connect(_Asking(turn, clock, trust, answer))
    try:
        return await answer
    finally:
        # It may be one that does not answer because it is stopped: nothing polite reaches it.
        link.abort()
