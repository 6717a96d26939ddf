"""A service that listens, and says plainly when it cannot."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


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
    ) -> None:
        """Take an endpoint, its description for messages, and whom to tell, with the reason, if it is busy."""
        self.port: IListeningPort | None = None
        self.ready: Deferred[IListeningPort] = Deferred()
        self._description = description
        self._endpoint = endpoint
        self._factory = factory
        self._failed = failed

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
        log.info("listening on {description}: {address}", description=self._description, address=str(port.getHost()))
        self.ready.callback(port)

    def stopService(self) -> "Deferred[None] | None":
        """Stop listening; connections that are there stay."""
        super().stopService()
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None
