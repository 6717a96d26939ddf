"""The registry: witness and names on their store, and the links of nodes and visitors on these."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from chatproto.errors import StoreCorrupt, StoreError, WireError
from chatproto.link import Turn
from chatproto.log.interface import IStore
from chatproto.pair.configuration import Configuration
from chatproto.registry.desk import Desk
from chatproto.registry.dns import LIMITS as DNS_LIMITS
from chatproto.registry.messages import decode_state, encode_state
from chatproto.registry.names import KeptName, Names
from chatproto.registry.protocol import LIMITS, RegistryLinkFactory
from chatproto.registry.shelf import Shelf, split_state
from chatproto.registry.witness import Witness
from chatproto.services.dns import DNSService, DNSSettings
from chatproto.services.listener import Listener
from chatproto.services.measures import of_process, of_registry, together
from chatproto.services.mounting import mount
from chatproto.services.probes import build_probes
from chatproto.services.systemd import Health, Supervision
from chatproto.trust.proof import REGISTRY
from chatproto.world import World

STOP_S_MAX = 1.0


@dataclass(frozen=True)
class RegistrySettings:
    """What can be set of a registry. The spans are to be those of its nodes.

    Attributes:
        data: the data directory, which is not that of a node.
        listen: server endpoint strings of the nodes' links.
        heartbeat_s: after so long each side of a link says that it lives.
        suspect_s: a link that is silent for so long is aborted.
        lease_s: for so long after it was last heard a leader is not replaced by another node.
        dns: its answers to the DNS; None for none.
        metrics: server endpoint string of its probes; empty for none.
    """

    data: str
    listen: tuple[str, ...] = ("tcp:4646",)
    heartbeat_s: float = 0.15
    suspect_s: float = 0.6
    lease_s: float = 0.9
    dns: DNSSettings | None = None
    metrics: str = ""


class WitnessService(Service):
    """Opens the store when it starts; ends links and store when it stops.

    Attributes:
        open: whether nodes are let in.
    """

    def __init__(self, world: World, settings: RegistrySettings, factory: RegistryLinkFactory, names: Names) -> None:
        """Run the witness and the names of a registry, whose links `factory` makes."""
        self._names = names
        self._world = world
        self._settings = settings
        self._factory = factory
        self._store: IStore | None = None
        self.open = False

    def startService(self) -> None:
        """Take up what the disk has, and let nodes in."""
        super().startService()
        try:
            store = self._world.store(self._settings.data, self._world.fatal)
            self._store = store
            witness_state, held, registered = _recover(store, self._settings.data)
        except StoreError as error:
            self._world.fatal(str(error))
        else:
            now = self._world.clock.seconds()
            witness = Witness(self._settings.lease_s, held, now)
            self._names.restore(registered, now)
            desk = Desk(self._names, self._settings.heartbeat_s, self._settings.suspect_s)
            self._factory.serve(witness, desk, Shelf(witness_state, registered), store.configure)
            self.open = True

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Let nodes go, politely for a while; then finish the store."""
        super().stopService()
        self._factory.stop()
        links = self._factory.links
        waited = 0.0
        while links and waited < STOP_S_MAX:
            yield deferLater(self._world.clock, 0.05)
            waited += 0.05
        for link in list(links.values()):
            link.abort()
        store, self._store = self._store, None
        if store is not None:
            yield store.close()


def _recover(store: IStore, directory: str) -> tuple[bytes, dict[str, Configuration], list[KeptName]]:
    """Return what the disk has of each service: as it stands there, as the witness holds it, and what is registered.

    Raises:
        StoreError: it is no disk of a registry.
    """
    snapshot, runs = store.recover()
    if snapshot is not None or next(iter(runs), None) is not None:
        raise StoreError(f"{directory} is the data directory of a chat node: the registry needs one of its own")
    state = store.configuration()
    try:
        witness, names = split_state(state if state is not None else encode_state({}))
        return witness, decode_state(witness), names
    except WireError as error:
        raise StoreCorrupt(f"{directory} has no data of a registry: {error}") from error


class RegistryService(MultiService):
    """The service tree of a registry.

    Attributes:
        factory: makes the links of its nodes and visitors.
        names: what is registered, for whoever looks names up in this process.
        listeners: one for each endpoint, in the order given; `ready` fires with the port.
        dns: answers the DNS; None where it does not.
    """

    def __init__(
        self,
        witness: WitnessService,
        factory: RegistryLinkFactory,
        names: Names,
        listeners: list[Listener],
        dns: DNSService | None,
    ) -> None:
        """Collect the parts; `build_registry` makes them."""
        super().__init__()
        self.factory = factory
        self.names = names
        self.listeners = listeners
        self.dns = dns
        self._witness = witness

    def hurry(self) -> None:
        """End sooner, if it is about to end: nobody is waited for."""
        for link in list(self.factory.links.values()):
            link.abort()

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        listening = all(listener.port is not None for listener in self.listeners)
        status = f"{len(self.names.list())} names, {len(self.factory.links)} connections"
        ready = self._witness.open and listening
        return Health(ready, lambda: True, not self.running, status, ready and bool(self.running))


def build_registry(world: World, settings: RegistrySettings) -> RegistryService:
    """Build the service tree of a registry.

    Args:
        world: the outside. `world.fatal` is called when the store cannot be opened or written, or an endpoint
            is busy: what the witness says has to be durable before, so the process has to end.
        settings: what can be set.
    """
    turn = Turn(world.clock)
    limits = LIMITS.within(world.connections_max(DNS_LIMITS.connections_max))
    spans = settings.heartbeat_s, settings.suspect_s
    factory = RegistryLinkFactory(turn, world.clock, *spans, world.tally, limits, world.trust)
    listeners = [
        Listener(description, world.guarded_server(description, REGISTRY), factory, world.fatal, factory.gate)
        for description in settings.listen
    ]
    names = Names()
    dns = DNSService(world, settings.dns, names.list) if settings.dns is not None else None
    witness = WitnessService(world, settings, factory, names)
    registry = RegistryService(witness, factory, names, listeners, dns)
    if settings.metrics:
        measures = together(
            of_process("registry", registry.health, world.tally), of_registry(factory, names, settings.data)
        )
        mount(registry, "probes", build_probes(world, settings.metrics, registry.health, measures))
    mount(registry, "witness", witness)
    if dns is not None:
        mount(registry, "dns", dns)
    # Services stop in reverse order: first nobody new comes in, then those inside are let go.
    for number, listener in enumerate(listeners, 1):
        mount(registry, f"registry-listener-{number}", listener)
    if world.supervisor is not None:
        supervision = Supervision(world.clock, turn, world.supervisor, registry.health)
        mount(registry, "supervision", supervision)
    return registry
