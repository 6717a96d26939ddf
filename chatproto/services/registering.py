"""A node in the registry: registered with its role while it runs, and asked how it is through the registry."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
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
"""The call that a node takes: a node of the chat answers with a `status` line of the client link."""
PEER = "peer"
"""The attribute of a registration that has the `HOST:PORT` of a node's links for other nodes."""

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

    def __init__(
        self,
        world: World,
        settings: RegisteringSettings,
        data: str,
        name: str,
        turn: Turn,
        registration: Callable[[], Registration | None],
        status: Callable[[], bytes],
        calls: Mapping[bytes, Callable[[bytes], bytes]] | None = None,
    ) -> None:
        """Register a node.

        Args:
            world: the outside.
            settings: what can be set.
            data: its data directory, which is there, and locked, when this starts.
            name: of the node.
            turn: batches what is sent.
            registration: returns what it is at the moment; None for what nobody is to find now.
            status: answers whoever asks, through the registry, how it is.
            calls: answer whoever asks something else, by the first word of it, given what comes after that and a space;
                they raise `CallRejected` where that makes no sense.
        """
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
        self._data = data
        self._token = settings.token.encode()
        self._registration = registration
        self._calls = {**(calls or {}), STATUS: lambda _: status()}
        self._registered: Registration | None = None

    def startService(self) -> None:
        """Register, and stay registered. A node that cannot is not stopped by it."""
        super().startService()
        try:
            self._token = self._token or self._world.secret(self._data).encode()
        except OSError as error:
            log.warn("this node is not registered: {error}; look at its data directory", error=str(error))
            return
        self.client.startService()
        self.changed()

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Withdraw, if the registry is reached, and let it go."""
        super().stopService()
        registered, self._registered = self._registered, None
        if registered is not None and self.client.up:
            yield self._withdraw(registered)
        if self.client.running:
            yield self.client.stopService()

    def changed(self) -> None:
        """Register what the node is now, if that is something else than before."""
        if not (self.running and self.client.running):
            return
        before, now = self._registered, self._registration()
        if now == before:
            return
        self._registered = now
        if before is not None and (now is None or now.name != before.name):
            self._withdraw(before)
        if now is not None:
            self.client.register(now, self._token, self._asked).addErrback(self._not_registered)

    def _withdraw(self, registered: Registration) -> "Deferred[None]":
        withdrawing = self.client.withdraw(registered.service, registered.name)
        withdrawing.addTimeout(WITHDRAW_S_MAX, self._world.clock)
        return withdrawing.addErrback(
            lambda failure: log.info(
                "this node was not withdrawn from the registry: {error}", error=failure.getErrorMessage()
            )
        )

    def _not_registered(self, failure: Failure) -> None:
        failure.trap(RegistryError)
        if failure.check(RegistryRefused):
            log.warn(
                "the registry does not take this node ({why}); it serves all the same", why=failure.getErrorMessage()
            )

    def _asked(self, payload: bytes) -> bytes:
        word, _, wanted = payload.partition(b" ")
        answer = self._calls.get(word)
        if answer is None:
            known = " or ".join(sorted(call.decode() for call in self._calls))
            raise CallRejected(f"a node is asked for its {known}, not {payload[:64]!r}")
        return answer(wanted)


def registration_of(server: ChatServer, settings: RegisteringSettings) -> Registration:
    """Return what a node of the chat is at the moment."""
    chat, chat_log = server.settings, server.log
    attributes = {"redundancy": chat_log.redundancy}
    if settings.peer:
        attributes[PEER] = settings.peer
    if chat.pages:
        attributes[PAGE] = chat.pages[0]
    registration = Registration(
        service=settings.service,
        name=chat.name,
        kind=KIND,
        role=chat_log.role,
        epoch=chat_log.epoch,
        capacity=chat.capacity,
        attributes=attributes,
        lease_s=settings.lease_s,
    )
    return placed(registration, chat.servers[0] if chat.servers else "")


def placed(registration: Registration, place: str) -> Registration:
    """Return a registration whose clients reach it at `HOST:PORT`, or at `tls:HOST:PORT`; nowhere if that is empty."""
    secure = {TLS_SPOKEN: "yes"} if speaks_tls(place) else {}
    return msgspec.structs.replace(
        registration, address=without_tls(place), attributes={**registration.attributes, **secure}
    )


def register_chat(
    world: World, settings: RegisteringSettings, data: str, server: ChatServer, turn: Turn
) -> RegisteringService:
    """Build what registers a node whose chat is `server`, and whose data directory is `data`."""
    registering = RegisteringService(
        world,
        settings,
        data,
        server.settings.name,
        turn,
        lambda: registration_of(server, settings),
        server.status_line,
    )
    server.watch(registering.changed)
    return registering
