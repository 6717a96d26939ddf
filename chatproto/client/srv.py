"""Servers found by the SRV records of the DNS (RFC 2782)."""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from socket import AF_INET6, inet_ntop
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IResolver, IStreamClientEndpoint
from twisted.names import client, dns
from twisted.names.error import AuthoritativeDomainError, DomainError

from chatproto.client.finding import FoundEndpoint
from chatproto.client.reaching import endpoint_of
from chatproto.registry.targets import Target, in_order
from chatproto.wire import address_of

LOOKUPS_S = (0.5, 1.0, 2.0)
"""How long each question to the DNS waits for its answer before it is asked again."""


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
        known: dict[str, list[str]] = {}
        for target in targets:
            if target.host not in known:
                told = _addresses(additional, target.host)
                known[target.host] = told or await _look_up(resolver, target.host)
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


async def _look_up(resolver: Any, host: str) -> list[str]:
    """Return the addresses that the DNS has for a host, or else the host, for the system to know."""
    found: list[str] = []
    for ask in (resolver.lookupAddress, resolver.lookupIPV6Address):
        with suppress(DomainError, AuthoritativeDomainError, TimeoutError, OSError):
            records, *_ = await ask(host.encode("latin-1"), LOOKUPS_S)
            found += _addresses(records, host)
    return found or [host]


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
