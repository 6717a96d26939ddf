"""A slave of the contracting service: whether the master lives, and what is done while it does not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, gatherResults, succeed
from zope.interface import implementer

from chatproto.errors import ChatprotoError
from chatproto.link import Turn
from chatproto.monitor import IAlive, IPlace, IStandIn
from chatproto.news.contracting.inquiry import ask
from chatproto.news.contracting.messages import Alive
from chatproto.news.contracting.server import ContractingServer
from chatproto.registry import Registration
from chatproto.services.listener import Listener
from chatproto.services.pairing import client_of
from chatproto.services.registering import PEER as PEER_ADDRESS
from chatproto.trust.proof import PEER
from chatproto.world import World

SERVING_S_MAX = 10.0
"""How long a slave that is activated waits until what it takes can be committed."""


class NoMaster(ChatprotoError):
    """The master is not known yet, or does not serve."""


class CannotStandIn(ChatprotoError):
    """The slave cannot serve."""


@implementer(IPlace)
class MastersPlace:
    """The master's place in the registry: taken by the slave, and given back.

    Attributes:
        taken: whether it is.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        """Be the master's; `changed` is called when that is another."""
        self.taken = False
        self._changed = changed

    def take(self) -> "Deferred[object]":
        """See `IPlace.take`."""
        return self._be(True)

    def give_back(self) -> "Deferred[object]":
        """See `IPlace.give_back`."""
        return self._be(False)

    def _be(self, taken: bool) -> "Deferred[object]":
        self.taken = taken
        self._changed()
        return succeed(None)


@implementer(IAlive)
class Master:
    """The master, wherever the registry said last that it is; hears what is registered (`NamesHeard`)."""

    def __init__(self, world: World, turn: Turn, name: str, kind: str) -> None:
        """Know of no master yet; it is registered under a name, as of a kind."""
        self._world = world
        self._name = name
        self._kind = kind
        self._turn = turn
        self._address = ""

    def names_listed(self, registrations: list[Registration]) -> None:
        """See `NamesHeard.names_listed`."""
        for registration in registrations:
            self.name_registered(registration)

    def name_registered(self, registration: Registration) -> None:
        """See `NamesHeard.name_registered`."""
        if registration.name == self._name and registration.kind == self._kind:
            self._address = registration.attributes.get(PEER_ADDRESS, "")

    def name_gone(self, registration: Registration) -> None:
        """See `NamesHeard.name_gone`. A master that is gone is asked where it was."""

    def ask(self) -> "Deferred[object]":
        """Ask at its guarded port; it lives if what is asked of it can be committed."""
        if not self._address:
            return fail(NoMaster(f"{self._name} is not registered, or without its guarded port"))
        endpoint = self._world.guarded_client(client_of(self._address), PEER)
        asking: Deferred[Any] = ask(endpoint, self._turn, self._world.clock, self._world.trust)
        return asking.addCallback(self._serves)

    def _serves(self, alive: Alive) -> Alive:
        if alive.server != self._name:
            raise NoMaster(f"what answers there is {alive.server}")
        if not alive.serving:
            raise NoMaster(f"{alive.server} cannot commit anything")
        return alive


@implementer(IStandIn)
class Slave:
    """Has the door of a slave opened, and closed."""

    def __init__(
        self,
        world: World,
        server: ContractingServer,
        open_door: Callable[[World], Sequence[Listener]],
        close_door: Callable[[], "Deferred[object]"],
    ) -> None:
        """Make one.

        Args:
            world: the outside.
            server: is to be able to commit before the door is opened.
            open_door: lets readers in, and returns what listens; the `fatal` of the world is called when that cannot.
            close_door: fires when the readers inside have what they wait for, and are gone.
        """
        self._world = world
        self._server = server
        self._open_door = open_door
        self._close_door = close_door

    def activate(self) -> "Deferred[object]":
        """See `IStandIn.activate`."""
        activating: Deferred[Any] = Deferred.fromCoroutine(self._activate())
        return activating.addErrback(lambda failure: self.stand_down().addBoth(lambda _: failure))

    async def _activate(self) -> None:
        try:
            await when_serving(self._server).addTimeout(SERVING_S_MAX, self._world.clock)
        except (CancelledError, TimeoutError):
            raise CannotStandIn("nothing can be committed here: is the registry, the witness, reached?") from None
        opened: Deferred[Any] = Deferred()

        def fatal(reason: str) -> None:
            # A door that cannot be opened is no reason to watch no more.
            if opened.called:
                self._world.fatal(reason)
            else:
                opened.errback(CannotStandIn(reason))

        listeners = self._open_door(replace(self._world, fatal=fatal))
        ports = gatherResults([listener.ready for listener in listeners])
        ports.addCallback(lambda _: None if opened.called else opened.callback(None))
        await opened

    def stand_down(self) -> "Deferred[object]":
        """See `IStandIn.stand_down`."""
        return self._close_door()


def when_serving(server: ContractingServer) -> "Deferred[None]":
    """Return what is called back as soon as what is asked of a server can be committed."""
    serving: Deferred[None] = Deferred(lambda _: server.looking.pop(looks, None))

    class Looks:
        def look(self) -> None:
            if server.serving:
                server.looking.pop(self, None)
                serving.callback(None)

    looks = Looks()
    server.looking[looks] = None
    looks.look()
    return serving
