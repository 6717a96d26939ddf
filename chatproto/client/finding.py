"""Servers that are looked for each time they are needed: endpoints that ask first, then connect to what they are told.

`FoundEndpoint` is an endpoint like any other: `ChatClient` and every other Twisted program can be given one, and follow
a service wherever it goes. Who is asked is a `Finder`: the DNS (`SRVEndpoint`), a registry (`RegistryEndpoint`), a list
of your own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

STAGGER_S = 0.3
"""So long after a server was tried that has not answered the next one is tried, too; the first to answer has it."""

TRIES_MAX = 16
"""How many of the servers that are found are tried."""

log = Logger()


class Finder(Protocol):
    """Knows where the servers of a service are."""

    def find(self) -> "Deferred[Sequence[str]]":
        """Return `HOST:PORT` of each server, those to be tried first at first.

        Cancelling is giving up. It fails with any error where nothing can be known just now.
        """


@implementer(IStreamClientEndpoint)
class FoundEndpoint:
    """Connects to the first server that can be reached, of those that are found at that moment.

    Whoever was not reached the last time comes last the next: a server that hangs would be the first again and again.
    """

    def __init__(self, clock: IReactorTime, finder: Finder, connector: Callable[[str], IStreamClientEndpoint]) -> None:
        """Make an endpoint.

        Args:
            clock: the reactor, as far as time goes.
            finder: is asked anew each time.
            connector: makes an endpoint of `HOST:PORT`.
        """
        self._clock = clock
        self._finder = finder
        self._connector = connector
        self._unreached: set[str] = set()

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        """Connect; fails as the finder does, with `ConnectError` where nobody is found, or as the last of the tries."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        found = list(dict.fromkeys(await self._finder.find()))
        self._unreached.intersection_update(found)
        found.sort(key=self._unreached.__contains__)
        if not found:
            raise ConnectError(string="no server is to be found")
        race = _Race(self._clock, found[:TRIES_MAX], lambda address: self._connector(address).connect(factory))
        try:
            return await race.won
        finally:
            self._unreached.difference_update(race.reached)
            self._unreached.update(race.unreached)


class _Race:
    """Tries one address after another, the next as soon as one fails or is slow; the first to connect has won.

    Attributes:
        won: fires with what the winner connected to; cancelling it ends all that is under way.
        reached: the address of the winner, once there is one.
        unreached: the addresses that failed, or were given up.
    """

    def __init__(
        self, clock: IReactorTime, addresses: Sequence[str], attempt: Callable[[str], "Deferred[Any]"]
    ) -> None:
        """Begin at once; `attempt` tries one address."""
        self.won: Deferred[Any] = Deferred(lambda _: self._give_up())
        self.reached: set[str] = set()
        self.unreached: set[str] = set()
        self._clock = clock
        self._left = list(addresses)
        self._attempt = attempt
        self._running: dict[str, Deferred[Any]] = {}
        self._timer: IDelayedCall | None = None
        self._over = False
        self._next()

    def _next(self) -> None:
        self._timer = None
        # Before the try, which may end at once.
        address = self._left.pop(0)
        if self._left:
            self._timer = self._clock.callLater(STAGGER_S, self._next)
        try:
            trying = self._attempt(address)
        except Exception:
            trying = fail()
        self._running[address] = trying
        trying.addCallbacks(self._connected, self._failed, callbackArgs=(address,), errbackArgs=(address,))
        trying.addErrback(lambda failure: log.failure("hearing of a try failed", failure))

    def _connected(self, protocol: Any, address: str) -> None:
        if self._over:
            # Two at once: it was too late to cancel this one.
            protocol.transport.abortConnection()
            return
        self.reached.add(address)
        del self._running[address]
        self._end()
        self.won.callback(protocol)

    def _failed(self, failure: Failure, address: str) -> None:
        if self._over:
            return
        self.unreached.add(address)
        del self._running[address]
        if self._left:
            self._stop_timer()
            self._next()
        elif not self._running:
            self._end()
            self.won.errback(failure)

    def _give_up(self) -> None:
        self.unreached.update(self._running)
        self._end()

    def _end(self) -> None:
        self._over = True
        self._stop_timer()
        for trying in self._running.values():
            trying.cancel()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
