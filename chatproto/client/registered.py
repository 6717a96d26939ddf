"""Servers found by name, in a registry."""

import random
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from chatproto.client.finding import FoundEndpoint
from chatproto.client.reaching import Connector, reaching
from chatproto.errors import ClientError
from chatproto.registry import Registration, RegistryClient

log = Logger()


class RegistryFinder:
    """Finds the servers of a service in a registry: the leader first, and of several the one with the highest epoch.

    Each time the registry is asked anew, over a connection of its own that ends with the answer.
    """

    def __init__(
        self, registry: IStreamClientEndpoint, clock: IReactorTime, service: str, kind: str, dice: random.Random | None
    ) -> None:
        """Make a finder; see `RegistryEndpoint`."""
        self._registry = registry
        self._clock = clock
        self._service = service
        self._kind = kind
        self._dice = dice

    def find(self) -> "Deferred[Sequence[str]]":
        """See `Finder.find`; `tls:HOST:PORT` where clients have to speak TLS.

        Fails with `RegistryError` where the registry does not say.
        """
        return Deferred.fromCoroutine(self._find())

    async def _find(self) -> Sequence[str]:
        client = RegistryClient(self._registry, self._clock, self._dice, who=f"a client of {self._service}")
        client.startService()
        try:
            found: list[Registration] = await client.list(service=self._service, kind=self._kind)
        finally:
            stopping = client.stopService()
            stopping.addErrback(lambda failure: log.failure("ending a link to the registry", failure))
        # A leader that was killed is listed as one, too, until its lease is over.
        found.sort(key=lambda one: (one.role != "leader", -one.epoch))
        addresses = [one.place for one in found if one.address]
        if not addresses:
            raise ConnectError(string=f"no server of {self._service} is registered")
        return addresses


class RegistryEndpoint(FoundEndpoint):
    """Connects to a server of a service: to the leader, or to another where the leader is not reached.

    What is said to the server does not pass through the registry.
    """

    def __init__(
        self,
        registry: IStreamClientEndpoint,
        clock: IReactorTime,
        connector: Connector | None = None,
        *,
        tls_connector: Connector | None = None,
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
            tls_connector: the same for those that are registered as speaking TLS; see `ChatClient`.
            service: the name of the deployment.
            kind: what its servers serve.
            dice: see `RegistryClient`.
        """
        finder = RegistryFinder(registry, clock, service, kind, dice)
        reach = reaching(clock, connector, tls_connector)
        if reach is None:
            raise ClientError("without a reactor, it takes a connector to reach the servers that are found")
        super().__init__(clock, finder, reach)
