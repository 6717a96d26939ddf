"""How a command reaches the news system: where that is, and the reactor that it runs on."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chatproto.cli.servers import Misuse, endpoint, registry_endpoint
from chatproto.client.registered import RegistryEndpoint
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.sharing import SharedSecret, read_secret

NEWS_PORT = 4848
"""Where a node listens for sources, readers and clients, unless told otherwise."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reach:
    """Where the news system is, as it was typed.

    Attributes:
        server: `HOST`, `HOST:PORT` or a client endpoint of the process that is meant; None to find it by the registry.
        registry: the same of the registry; None where there is none.
        service: the name of the deployment.
        ca: a PEM file of the authorities to trust with TLS; None for the system's.
        timeout_s: how long anything may take.
        shared_file: has the secret of the deployment, for what it tells nobody else; None for none.
        certificates: a directory with a certificate of the deployment, for the same; None for none.
        name: the node that this is for.
    """

    server: str | None = None
    registry: str | None = None
    service: str = "news"
    ca: str | None = None
    timeout_s: float = 30.0
    shared_file: str | None = None
    certificates: str | None = None
    name: str = ""

    @property
    def place(self) -> str:
        """Where that is, in words."""
        return self.server or f"{self.service} at {self.registry}"

    def endpoint(self, reactor: Any, kind: str) -> IStreamClientEndpoint:
        """Return the endpoint of a process of a kind, such as `news-root`.

        Raises:
            Misuse: nothing says where it is, or what does cannot be meant.
        """
        if self.server is not None:
            return endpoint(reactor, self.server, ca=self.ca, default_port=NEWS_PORT)
        return RegistryEndpoint(
            self.registry_endpoint(reactor),
            reactor,
            lambda address: endpoint(reactor, address, default_port=NEWS_PORT),
            tls_connector=lambda address: endpoint(reactor, address, tls=True, ca=self.ca, default_port=NEWS_PORT),
            service=self.service,
            kind=kind,
        )

    def trust(self) -> Trust:
        """Return what proves to the registry that this is one of the deployment.

        Raises:
            TrustError: it cannot be used.
        """
        if self.shared_file is not None:
            return SharedSecret(read_secret(self.shared_file), "")
        if self.certificates is not None:
            from chatproto.trust.certificates import Certificates
            from chatproto.trust.certified import Certified

            return Certified(Certificates(self.certificates, self.name, time.time))
        return BELIEVING

    def registry_endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """Return the endpoint of the registry.

        Raises:
            Misuse: there is none, or what was typed cannot be meant.
        """
        if self.registry is None:
            raise Misuse("say where to go: with --registry, which knows every process, or its own address")
        # Where certificates are shown, they make the TLS.
        registry = self.registry.removeprefix("tls:") if self.certificates is not None else self.registry
        return registry_endpoint(reactor, registry, self.ca)


def on_reactor(act: Callable[[Any], Coroutine[Deferred[Any], Any, T]]) -> T:
    """Run the reactor until something is done on it; return what that returned, or raise what it raised.

    Raises:
        KeyboardInterrupt: the reactor was stopped before, by a signal.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    results: list[T] = []
    failures: list[Failure] = []
    acting: list[Deferred[Any]] = []

    def begin() -> None:
        doing = Deferred.fromCoroutine(act(reactor))
        acting.append(doing)
        doing.addCallbacks(results.append, failures.append)
        doing.addBoth(lambda _: reactor.running and reactor.stop())

    def before_shutdown() -> None:
        # Whatever is open is ended in order; what was asked for may be done, or not.
        for doing in acting:
            doing.cancel()

    reactor.addSystemEventTrigger("before", "shutdown", before_shutdown)
    reactor.callWhenRunning(begin)
    reactor.run()
    if results:
        return results[0]
    for failure in failures:
        if failure.check(Exception) and not failure.check("twisted.internet.defer.CancelledError"):
            failure.raiseException()
    raise KeyboardInterrupt
