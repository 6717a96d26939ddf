"""A node in the registry: registered with its role while it runs, and asked how it is through the registry."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.server import ChatServer
from chatproto.errors import CallRejected, RegistryError, RegistryRefused
from chatproto.link import Turn
from chatproto.registry import Registration, RegistryClient
from chatproto.registry.names import TLS_SPOKEN
from chatproto.trust.proof import REGISTRY
from chatproto.wire.addresses import speaks_tls, without_tls
from chatproto.world import World

KIND = "chat"
PAGE = "page"
"""The attribute of a registration that has the address of a node's page."""
STATUS = b"status"
"""The call that a node takes: it is answered with a `status` line of the client link."""

WITHDRAW_S_MAX = 1.0
"""How long a node that stops waits for the registry; its name ends with its lease, if not sooner."""

log = Logger()


@dataclass(frozen=True)
class RegisteringSettings:
    """What can be set of a node's registration.

    Attributes:
        registry: client endpoint string of the registry.
        token: protects the node's name, in each of its lives, so that it is itself again at once; empty for a secret
            that its data directory keeps.
        service: the name of the deployment.
        peer: `HOST:PORT` of its peer link; empty where it has none.
        lease_s: the registration ends unless it is renewed within so many seconds.
    """

    registry: str
    token: str = ""
    service: str = "chat"
    peer: str = ""
    lease_s: float = 3.0


class RegisteringService(Service):
    """Keeps a node registered, as what it is at the moment, and withdraws it when it stops.

    Attributes:
        client: of the registry, for whoever else needs one on this node.
    """

    def __init__(self, world: World, settings: RegisteringSettings, data: str, server: ChatServer, turn: Turn) -> None:
        """Register a node whose chat is `server`, and whose data directory is `data`."""
        name = server.settings.name
        self.client = RegistryClient(
            world.guarded_client(settings.registry, REGISTRY),
            world.clock,
            world.dice,
            turn,
            who=f"{settings.service}/{name}",
            trust=world.trust,
            tally=world.tally,
        )
        self._world = world
        self._settings = settings
        self._data = data
        self._token = settings.token.encode()
        self._server = server
        self._registered: Registration | None = None
        server.watch(self._changed)

    def startService(self) -> None:
        """Register, and stay registered. A node that cannot is not stopped by it."""
        super().startService()
        try:
            # The data directory is there and locked: the log was opened before.
            self._token = self._token or self._world.secret(self._data).encode()
        except OSError as error:
            log.warn("this node is not registered: {error}; look at its data directory", error=str(error))
            return
        self.client.startService()
        self._changed()

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Withdraw, if the registry is reached, and let it go."""
        super().stopService()
        registered, self._registered = self._registered, None
        if registered is not None and self.client.up:
            withdrawing = self.client.withdraw(registered.service, registered.name)
            withdrawing.addTimeout(WITHDRAW_S_MAX, self._world.clock)
            try:
                yield withdrawing
            except Exception as error:
                log.info("this node was not withdrawn from the registry: {error}", error=str(error))
        if self.client.running:
            yield self.client.stopService()

    def registration(self) -> Registration:
        """Return what this node is at the moment."""
        chat, chat_log = self._server.settings, self._server.log
        attributes = {"redundancy": chat_log.redundancy}
        if self._settings.peer:
            attributes["peer"] = self._settings.peer
        if chat.pages:
            attributes[PAGE] = chat.pages[0]
        address = chat.servers[0] if chat.servers else ""
        if speaks_tls(address):
            attributes[TLS_SPOKEN] = "yes"
        return Registration(
            service=self._settings.service,
            name=chat.name,
            kind=KIND,
            address=without_tls(address),
            role=chat_log.role,
            epoch=chat_log.epoch,
            capacity=chat.capacity,
            attributes=attributes,
            lease_s=self._settings.lease_s,
        )

    def _changed(self) -> None:
        if not (self.running and self.client.running):
            return
        registration = self.registration()
        if registration != self._registered:
            self._registered = registration
            registering = self.client.register(registration, self._token, self._asked)
            registering.addErrback(self._not_registered)

    def _not_registered(self, failure: Failure) -> None:
        failure.trap(RegistryError)
        if failure.check(RegistryRefused):
            log.warn(
                "the registry does not take this node ({why}); it serves all the same", why=failure.getErrorMessage()
            )

    def _asked(self, payload: bytes) -> bytes:
        if payload != STATUS:
            raise CallRejected(f"a node is asked for its status, not {payload[:64]!r}")
        return self._server.status_line()
