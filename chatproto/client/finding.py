"""Servers that are looked for each time they are needed: endpoints that ask first, then connect to what they are told.

`FoundEndpoint` is an endpoint like any other: `ChatClient` and every other Twisted program can be given one, and follow
a service wherever it goes. Who is asked is a `Finder`: the DNS here (`SRVFinder`), a registry, a list of your own.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from socket import AF_INET6, inet_ntop
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError, fail, gatherResults, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorTime,
    IResolver,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.names import client, dns
from twisted.names.error import AuthoritativeDomainError, DomainError
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.client.service import endpoint_of
from chatproto.errors import ClientError
from chatproto.registry.targets import Target, in_order
from chatproto.wire import address_of

STAGGER_S = 0.3
"""So long after a server was tried that has not answered the next one is tried, too; the first to answer has it."""

TRIES_MAX = 16
"""How many of the servers that are found are tried."""

LOOKUPS_S = (0.5, 1.0, 2.0)
"""How long each question to the DNS waits for its answer before it is asked again."""

log = Logger()


class NoServer(ClientError):
    """Nobody knows of a server."""


class Finder(Protocol):
    """Knows where the servers of a service are."""

    def find(self) -> "Deferred[Sequence[str]]":
        """Return `HOST:PORT` of each server, those to be tried first at first.

        Cancelling is giving up. It fails with any error where nothing can be known just now.
        """


@implementer(IStreamClientEndpoint)
class FoundEndpoint:
    """Connects to the first server that can be reached, of those that are found at that moment."""

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

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        """Connect; fails as the last of the tries does, or with `NoServer`, or as the finder does."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        found = list(await self._finder.find())[:TRIES_MAX]
        if not found:
            raise NoServer("no server is to be found")
        return await _Race(self._clock, found, lambda address: self._connector(address).connect(factory)).won


class _Race:
    """Tries one address after another, the next as soon as one fails or is slow; the first to connect has won.

    Attributes:
        won: fires with what the winner connected to; cancelling it ends all that is under way.
    """

    def __init__(
        self, clock: IReactorTime, addresses: Sequence[str], attempt: Callable[[str], "Deferred[Any]"]
    ) -> None:
        """Begin at once; `attempt` tries one address."""
        self.won: Deferred[Any] = Deferred(lambda _: self._end())
        self._clock = clock
        self._left = list(addresses)
        self._attempt = attempt
        self._running: list[Deferred[Any]] = []
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
        self._running.append(trying)
        trying.addCallbacks(self._connected, self._failed, callbackArgs=(trying,), errbackArgs=(trying,))
        trying.addErrback(lambda failure: log.failure("hearing of a try failed", failure))

    def _connected(self, protocol: Any, trying: "Deferred[Any]") -> None:
        if self._over:
            # Two at once: it was too late to cancel this one.
            protocol.transport.abortConnection()
            return
        self._running.remove(trying)
        self._end()
        self.won.callback(protocol)

    def _failed(self, failure: Failure, trying: "Deferred[Any]") -> None:
        if self._over:
            return
        self._running.remove(trying)
        if self._left:
            self._stop_timer()
            self._next()
        elif not self._running:
            self._end()
            self.won.errback(failure)

    def _end(self) -> None:
        self._over = True
        self._stop_timer()
        for trying in self._running:
            trying.cancel()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class SRVFinder:
    """Finds servers by the SRV records of a name (RFC 2782)."""

    def __init__(self, name: str, resolver: IResolver | None = None, dice: random.Random | None = None) -> None:
        """Make a finder.

        Args:
            name: of the records, like `_chat._tcp.chat.example`.
            resolver: is asked; the system's where it is not given.
            dice: draws lots by the records' weights; the system's source where it is not given.
        """
        self._name = name
        self._resolver = resolver
        self._dice = dice if dice is not None else random.SystemRandom()

    def find(self) -> "Deferred[Sequence[str]]":
        """See `Finder.find`."""
        return Deferred.fromCoroutine(self._find())

    async def _find(self) -> Sequence[str]:
        resolver: Any = self._resolver if self._resolver is not None else client.getResolver()
        answers, _, additional = await resolver.lookupService(self._name, LOOKUPS_S)
        targets = in_order(_targets(answers), lambda most: self._dice.randint(0, most))
        told = {target.host: _addresses(additional, target.host) for target in targets}
        asking = [_asked(resolver, host) if not addresses else succeed(addresses) for host, addresses in told.items()]
        known = dict(zip(told, await gatherResults(asking), strict=True))
        return [address_of(address, target.port) for target in targets for address in known[target.host]]


def _targets(records: Iterable[Any]) -> list[Target]:
    found = [record.payload for record in records if isinstance(record.payload, dns.Record_SRV)]
    # A single dot says that the service is decidedly not there.
    return [
        Target(srv.priority, srv.weight, srv.port, host)
        for srv in found
        if (host := srv.target.name.decode("latin-1").removesuffix("."))
    ]


def _addresses(records: Iterable[Any], host: str) -> list[str]:
    """Return the addresses that records have for a host."""
    name = dns.Name(host.encode("latin-1"))
    payloads = [record.payload for record in records if record.name == name]
    return [
        payload.dottedQuad() if isinstance(payload, dns.Record_A) else inet_ntop(AF_INET6, payload.address)
        for payload in payloads
        if isinstance(payload, dns.Record_A | dns.Record_AAAA)
    ]


def _asked(resolver: Any, host: str) -> "Deferred[list[str]]":
    """Return the addresses that the DNS has for a host, or else the host, for the system to know."""
    name = host.encode("latin-1")
    asking = [resolver.lookupAddress(name, LOOKUPS_S), resolver.lookupIPV6Address(name, LOOKUPS_S)]
    for answer in asking:
        answer.addErrback(_unknown)
    found: Deferred[Any] = gatherResults(asking)

    def addresses(answers: list[Any]) -> list[str]:
        return [address for records, *_ in answers for address in _addresses(records, host)] or [host]

    return found.addCallback(addresses)


def _unknown(failure: Failure) -> tuple[tuple[Any, ...], ...]:
    failure.trap(DomainError, AuthoritativeDomainError, TimeoutError, OSError)
    return (), (), ()


class SRVEndpoint(FoundEndpoint):
    """Connects to the best server of a service, by its SRV records, looked up anew each time."""

    def __init__(
        self,
        reactor: Any,
        domain: str,
        service: str = "chat",
        *,
        dns: tuple[str, int] | None = None,
        connector: Callable[[str], IStreamClientEndpoint] | None = None,
        dice: random.Random | None = None,
    ) -> None:
        """Make an endpoint for `_SERVICE._tcp.DOMAIN`.

        Args:
            reactor: the reactor.
            domain: where the service is.
            service: its name.
            dns: address and port of the DNS server that is asked; the system's where it is not given.
            connector: makes an endpoint of `HOST:PORT`; of TCP where it is not given.
            dice: draws lots by the records' weights; the system's source where it is not given.
        """
        resolver = client.Resolver(servers=[dns], reactor=reactor) if dns is not None else None
        finder = SRVFinder(f"_{service}._tcp.{domain}", resolver, dice)
        super().__init__(reactor, finder, connector or partial(endpoint_of, reactor))
