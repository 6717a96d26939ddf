"""A service that listens, and says plainly when it cannot."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.gate import Gate
from chatproto.services.deafness import Deafness
from chatproto.wire.addresses import origin_of

ACCEPTS_A_TURN_MAX = 2
"""Connections that a port takes in a reactor turn before others have theirs; Twisted's own number grows in a flood.

More are not taken any faster: turns are short while there is nothing else to do.
"""
REFUSALS_AT_ONCE_MAX = 32
"""Of those whom a port only turns away it takes more, twice as many each time nobody was let in."""
REST_S = 0.001
"""How long a port is left alone after a refusal.

Without it the process never sleeps in a flood, and the thread that writes the log waits for each of its steps. A longer
rest, or fewer refusals before it, and the kernel's queue stays full: then newcomers from elsewhere are kept out by it.
"""

UNHEARD_AFTER = 200
"""Refusals of one address at a port after which it is not heard there, if the system can do that, …"""
UNHEARD_S = 1.0
"""… until so long after the first of them."""
UNHEARD_MAX = 100
"""Addresses that a port does not hear at most."""

log = Logger()


@implementer(IProtocolFactory)
class _Porch:
    """Stands before a port's factory, and before its TLS: refuses there whoever is not to come in now."""

    def __init__(self, port: Port, gate: Gate[Any], clock: IReactorTime) -> None:
        self._port = port
        assert port.factory is not None
        self._factory: IProtocolFactory = port.factory
        self._gate = gate
        self._clock = clock
        self._refused = 0
        self._refusals: Counter[str] = Counter()
        self._unheard: list[str] = []
        self._deafness = Deafness(port.socket)
        self._accept = port.doRead
        port.doRead = self._accept_some  # type: ignore[method-assign]

    def _accept_some(self) -> None:
        some = ACCEPTS_A_TURN_MAX
        while some <= REFUSALS_AT_ONCE_MAX:
            self._refused = 0
            self._port.numberAccepts = some
            self._accept()
            if self._refused < some:
                break
            some *= 2
        if self._refused:
            self._port.pauseProducing()
            # A port that has been closed meanwhile stays so.
            self._clock.callLater(REST_S, self._port.resumeProducing)

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        host = getattr(addr, "host", None)
        if host is not None and not self._gate.admits(host, self._clock.seconds()):
            self._refused += 1
            self._count(origin_of(host))
            return None
        return self._factory.buildProtocol(addr)

    def _count(self, origin: str) -> None:
        if not self._refusals:
            self._clock.callLater(UNHEARD_S, self._hear_all)
        self._refusals[origin] += 1
        if self._refusals[origin] == UNHEARD_AFTER and self._deafness.possible and len(self._unheard) < UNHEARD_MAX:
            if not self._unheard:
                # What was dropped before was dropped because the queue was full.
                self._deafness.dropped()
            self._unheard.append(origin)
            self._deafness.to(self._unheard)

    def _hear_all(self) -> None:
        self._refusals.clear()
        if self._unheard:
            self._deafness.end()
            self._gate.unheard(self._unheard, self._deafness.dropped(), self._clock.seconds())
            self._unheard.clear()


class Listener(Service):
    """Listens on an endpoint while it runs.

    Attributes:
        port: what is listened on; None until then.
    """

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        failed: Callable[[str], None],
        gate: Gate[Any] | None = None,
    ) -> None:
        """Take an endpoint, its description for messages, whom to tell, with the reason, if it is busy, and a gate."""
        self.port: IListeningPort | None = None
        self.ready: Deferred[IListeningPort] = Deferred()
        self._description = description
        self._endpoint = endpoint
        self._factory = factory
        self._failed = failed
        self._gate = gate

    def startService(self) -> None:
        """Listen.

        Not before the services started earlier have succeeded, so a port below 1024 cannot be had
        by giving up privileges: for one, have `systemd:` hand it over.
        """
        super().startService()
        refusals: list[Failure] = []
        listening = self._endpoint.listen(self._factory)
        listening.addCallbacks(self._listening, refusals.append)
        if refusals:
            # Outside of the Deferred, which would keep an exception to itself.
            self._refused(refusals[0])
        else:
            # Most endpoints know at once; with some it takes a while.
            listening.addCallback(lambda _: self._refused(refusals[0]) if refusals else None)

    def _refused(self, failure: Failure) -> None:
        self._failed(f"cannot listen on {self._description}: {failure.getErrorMessage()}")

    def _listening(self, port: IListeningPort) -> None:
        self.port = port
        if self._gate is not None and isinstance(port, Port):
            port.factory = _Porch(port, self._gate, IReactorTime(port.reactor))  # type: ignore[assignment]
        log.info("listening on {description}: {address}", description=self._description, address=str(port.getHost()))
        self.ready.callback(port)

    def stopService(self) -> "Deferred[None] | None":
        """Stop listening; connections that are there stay."""
        super().stopService()
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None
