"""Servers found by name: an endpoint that is whichever server of a service the registry knows."""

import random
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from chatproto.client.service import ATTEMPT_DELAY_S
from chatproto.registry import Registration, RegistryClient
from chatproto.wire import host_and_port

log = Logger()


@implementer(IStreamClientEndpoint)
class RegistryEndpoint:
    """Connects to a server of a service: to the leader, or to another where the leader is not reached.

    Each time the registry is asked anew, over a connection of its own that ends with the answer; what is said to the
    server then does not pass through it. Whoever was not reached the last time comes last the next.
    """

    def __init__(
        self,
        registry: IStreamClientEndpoint,
        clock: IReactorTime,
        connector: Callable[[str], IStreamClientEndpoint] | None = None,
        *,
        service: str = "chat",
        kind: str = "chat",
        dice: random.Random | None = None,
    ) -> None:
        """Make an endpoint; it connects to nobody before it is asked to.

        Args:
            registry: the registry's endpoint.
            clock: the reactor, as far as time goes.
            connector: makes an endpoint of a server's `HOST:PORT`; a `HostnameEndpoint` without TLS where it is not
                given, for which `clock` has to be a reactor.
            service: the name of the deployment.
            kind: what its servers serve.
            dice: see `RegistryClient`.
        """
        self._registry = registry
        self._clock = clock
        self._connector = connector if connector is not None else self._hostname_endpoint
        self._service = service
        self._kind = kind
        self._dice = dice
        self._unreached: dict[str, None] = {}

    @inlineCallbacks
    def connect(self, protocolFactory: IProtocolFactory) -> Generator["Deferred[Any]", Any, IProtocol]:
        """Find the servers, and connect to the first that can be reached.

        Fails with `RegistryError` where the registry does not say, with `ConnectError` where nobody is registered, and
        otherwise as the last of the servers did.
        """
        found: list[Registration] = yield self._find()
        self._unreached = {address: None for address in self._unreached if address in {one.address for one in found}}
        why: Exception = ConnectError(string=f"no server of {self._service} is registered")
        for address in self._in_order(found):
            try:
                protocol: IProtocol = yield self._connector(address).connect(protocolFactory)
            except Exception as error:
                self._unreached[address] = None
                if isinstance(error, CancelledError):
                    raise
                why = error
            else:
                self._unreached.pop(address, None)
                return protocol
        raise why

    @inlineCallbacks
    def _find(self) -> Generator["Deferred[Any]", Any, list[Registration]]:
        client = RegistryClient(self._registry, self._clock, self._dice, who=f"a client of {self._service}")
        client.startService()
        try:
            found: list[Registration] = yield client.list(service=self._service, kind=self._kind)
        finally:
            stopping = client.stopService()
            stopping.addErrback(lambda failure: log.failure("ending a link to the registry", failure))
        return found

    def _in_order(self, found: list[Registration]) -> list[str]:
        def rank(one: Registration) -> tuple[bool, bool, int]:
            # A leader that was killed is listed as one, too, until its lease is over.
            return one.address in self._unreached, one.role != "leader", -one.epoch

        return list(dict.fromkeys(one.address for one in sorted(found, key=rank) if one.address))

    def _hostname_endpoint(self, address: str) -> IStreamClientEndpoint:
        where = host_and_port(address)
        assert where is not None, "the registry holds no other addresses"
        return HostnameEndpoint(self._clock, *where, attemptDelay=ATTEMPT_DELAY_S)
