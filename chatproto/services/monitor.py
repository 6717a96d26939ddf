"""The monitor of a chat service: asks the server that leads, and is a single node in its place while that is dead."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, TimeoutError, fail, gatherResults, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.chat.inquiry import inquire
from chatproto.chat.messages import Status
from chatproto.errors import ChatprotoError, RegistryError
from chatproto.link import Turn
from chatproto.monitor import IAlive, IPlace, IStandIn, MonitorService
from chatproto.monitor.service import ASK_EVERY_S, DEAD_AFTER_S
from chatproto.registry import Registration, RegistryClient
from chatproto.services.measures import Measures, of_chat, of_monitor, of_process, together
from chatproto.services.mounting import mount
from chatproto.services.node import NodeService, NodeSettings, build_node
from chatproto.services.pairing import client_of
from chatproto.services.probes import build_probes
from chatproto.services.registering import KIND, WITHDRAW_S_MAX, placed
from chatproto.services.systemd import Health, Supervision
from chatproto.trust.proof import REGISTRY
from chatproto.wire import host_and_port
from chatproto.wire.addresses import without_tls
from chatproto.world import World

STANDS_IN_FOR = "stands-in-for"
"""The attribute of a stand-in's registration that names the master."""

log = Logger()


class NoMaster(ChatprotoError):
    """The master has not been registered yet, or is not what is wanted of one."""


class CannotStandIn(ChatprotoError):
    """The stand-in's node cannot start."""


@dataclass(frozen=True)
class MonitorSettings:
    """What can be set of a monitor.

    Attributes:
        registry: client endpoint string of the registry.
        watch: the service whose leader is watched.
        node: of the stand-in, with a name that no node of the service has, and a data directory of its own.
        master: the name of the node that is watched; empty for whichever leads.
        standby_for: the service that the stand-in is registered in; empty for the one that is watched.
        token: protects the stand-in's name in the registry; empty for a secret that its data directory keeps.
        ask_every_s: between an answer of the master and the next question.
        dead_after_s: so long after a question without an answer the stand-in begins.
        lease_s: the stand-in's registration ends unless it is renewed within so many seconds.
        same_host: whether the master may be on this machine.
        metrics: server endpoint string of its probes, which measure the stand-in, too; empty for none.
    """

    registry: str
    watch: str
    node: NodeSettings
    master: str = ""
    standby_for: str = ""
    token: str = ""
    ask_every_s: float = ASK_EVERY_S
    dead_after_s: float = DEAD_AFTER_S
    lease_s: float = 3.0
    same_host: bool = False
    metrics: str = ""


@implementer(IAlive)
class RegisteredMaster:
    """The master, wherever the registry said last that it is; hears what is registered (`NamesHeard`).

    Attributes:
        registration: what it said of itself last, which it need not be any more; None before it is known.
    """

    def __init__(self, world: World, settings: MonitorSettings) -> None:
        """Know of no master yet."""
        self.registration: Registration | None = None
        self._world = world
        self._settings = settings

    def names_listed(self, registrations: list[Registration]) -> None:
        """See `NamesHeard.names_listed`."""
        for registration in sorted(registrations, key=lambda one: one.epoch):
            self.name_registered(registration)

    def name_registered(self, registration: Registration) -> None:
        """See `NamesHeard.name_registered`."""
        if STANDS_IN_FOR in registration.attributes or host_and_port(registration.address) is None:
            return
        settings = self._settings
        if registration.name != settings.master if settings.master else registration.role != "leader":
            return
        # Whoever led before, and is registered so until its lease ends, has a lower epoch.
        known = self.registration
        if known is None or known.name == registration.name or known.epoch <= registration.epoch:
            self._is(registration)

    def name_gone(self, registration: Registration) -> None:
        """See `NamesHeard.name_gone`. A master that is gone is asked where it was."""

    def _is(self, registration: Registration) -> None:
        host, _ = host_and_port(registration.address) or ("", 0)
        if not self._settings.same_host and self._is_this_host(host):
            self._world.fatal(
                f"{registration.name} at {registration.address} is on this machine, and would be lost with it: run the "
                "monitor on another one, or say --same-host"
            )
            return
        self.registration = registration

    def _is_this_host(self, host: str) -> bool:
        own = [host_and_port(without_tls(place)) for place in self._settings.node.chat.servers]
        if host == "localhost" or host in (found[0] for found in own if found is not None):
            return True
        try:
            # Nobody can listen at another machine's address.
            probe = self._world.udp(0, DatagramProtocol(), host)
        except (CannotListenError, ValueError):
            return False
        stopping: Deferred[Any] = maybeDeferred(probe.stopListening)
        stopping.addErrback(lambda failure: log.failure("closing a probe failed", failure))
        return True

    def ask(self) -> "Deferred[object]":
        """Ask the master's client link; it lives if it serves."""
        if self.registration is None:
            return fail(NoMaster(f"no leader of {self._settings.watch} is registered"))
        return inquire(self.endpoint(self.registration)).addCallback(self._serves)

    def endpoint(self, registration: Registration) -> Any:
        """Return the endpoint of a server that is registered."""
        return self._world.client(client_of(registration.place))

    def _serves(self, status: Status) -> Status:
        if not status.serving:
            raise NoMaster(f"{status.server} does not serve")
        if status.server == self._settings.node.chat.name:
            raise NoMaster(f"what answers there is {status.server} itself")
        return status


@implementer(IStandIn, IPlace)
class ChatStandIn:
    """A single chat node that runs while it stands in, and its place in the registry.

    Attributes:
        node: its service tree while it runs.
    """

    def __init__(
        self,
        world: World,
        settings: MonitorSettings,
        master: RegisteredMaster,
        client: RegistryClient,
        parent: MultiService,
    ) -> None:
        """Serve nobody yet.

        Args:
            world: the outside.
            settings: of the monitor.
            master: whose clients come here, and are sent back to.
            client: of the registry.
            parent: of the node while that runs.
        """
        self.node: NodeService | None = None
        # The same, until another one runs.
        self._latest: NodeService | None = None
        self._world = world
        self._settings = settings
        self._master = master
        self._client = client
        self._parent = parent

    def activate(self) -> "Deferred[object]":
        """See `IStandIn.activate`."""
        beginning: Deferred[object] = Deferred()

        def fatal(reason: str) -> None:
            # A node that cannot begin is no reason to watch no more.
            if beginning.called:
                self._world.fatal(reason)
            else:
                beginning.errback(CannotStandIn(reason))

        def listening(ports: object) -> None:
            if not beginning.called:
                beginning.callback(None)

        # It is the monitor whose end a service manager is to hear of.
        world = replace(self._world, fatal=fatal, supervisor=None)
        self.node = self._latest = node = build_node(world, self._settings.node)
        mount(self._parent, "stand-in", node)
        gatherResults([listener.ready for listener in node.listeners]).addCallback(listening)
        return beginning.addErrback(lambda failure: self._end().addCallback(lambda _: failure))

    def change(self, settings: NodeSettings) -> None:
        """Take other settings of the node into use."""
        self._settings = replace(self._settings, node=settings)
        if self.node is not None:
            self.node.change(settings)

    def measures(self) -> Measures | None:
        """Return what measures the node, while it runs."""
        node = self.node
        if node is None:
            return None
        return of_chat(node.server, node.factory, None, node.search, self._settings.node.data)

    def hurry(self) -> None:
        """End sooner, if the end is under way."""
        if self._latest is not None:
            self._latest.drain.hurry()

    def stand_down(self) -> "Deferred[object]":
        """See `IStandIn.stand_down`: clients are sent to the master."""
        if self.node is not None and self._master.registration is not None:
            self.node.server.refer([self._master.registration.place])
        return self._end()

    def _end(self) -> "Deferred[Any]":
        node, self.node = self.node, None
        return maybeDeferred(node.disownServiceParent) if node is not None else succeed(None)

    def take(self) -> "Deferred[object]":
        """See `IPlace.take`: it is registered beside the master, with a higher epoch, and so comes before it."""
        node, master, settings = self.node, self._master.registration, self._settings
        assert node is not None and master is not None, "it stands in for somebody"
        chat = settings.node.chat
        registration = Registration(
            service=settings.standby_for or settings.watch,
            name=chat.name,
            kind=KIND,
            role="leader",
            epoch=master.epoch + 1,
            capacity=chat.capacity,
            attributes={STANDS_IN_FOR: master.name},
            lease_s=settings.lease_s,
        )
        registration = placed(registration, chat.servers[0] if chat.servers else "")
        token = (settings.token or self._world.secret(settings.node.data)).encode()
        registering: Deferred[Any] = self._client.register(registration, token, lambda _: node.server.status_line())
        registering.addCallback(self._registered, registration.address)
        return registering.addErrback(self._not_registered)

    def _registered(self, _: None, address: str) -> None:
        log.info("the stand-in is registered, at {address}", address=address)

    def _not_registered(self, failure: Failure) -> None:
        failure.trap(RegistryError)
        log.warn("the stand-in is not registered yet ({why}); it serves all the same", why=failure.getErrorMessage())

    def give_back(self) -> "Deferred[object]":
        """See `IPlace.give_back`."""
        service = self._settings.standby_for or self._settings.watch
        withdrawing: Deferred[Any] = self._client.withdraw(service, self._settings.node.chat.name)
        withdrawing.addTimeout(WITHDRAW_S_MAX, self._world.clock)
        return withdrawing.addErrback(self._not_withdrawn)

    def _not_withdrawn(self, failure: Failure) -> None:
        failure.trap(RegistryError, TimeoutError)
        log.info("the stand-in was not withdrawn, its lease ends: {why}", why=failure.getErrorMessage())


class MonitorTree(MultiService):
    """The service tree of a monitor.

    Attributes:
        client: of the registry.
        monitor: watches.
        stand_in: serves, while it has to.
    """

    client: RegistryClient
    monitor: MonitorService
    stand_in: ChatStandIn

    def health(self) -> Health:
        """Return how it is, for a service manager: it serves as long as it watches, and so does the stand-in."""
        node, runs, state = self.stand_in.node, bool(self.monitor.running), self.monitor.watch.state
        status = state.value if self.client.up else f"{state.value}; the registry is not reached"
        watches = runs and self.client.up
        if node is None:
            return Health(runs, lambda: True, not runs, status, watches)
        stand_in = node.health()
        return Health(runs, stand_in.sane, not runs, f"{status}; {stand_in.status}", watches and stand_in.serving)

    def hurry(self) -> None:
        """End sooner, if it is about to end: the stand-in's clients are not waited for."""
        self.stand_in.hurry()

    def change(self, settings: MonitorSettings) -> None:
        """Take other settings into use: those that a node can change, for the stand-in, now or when it begins."""
        self.stand_in.change(settings.node)

    @inlineCallbacks
    def stopService(self) -> Generator["Deferred[Any]", Any, None]:
        """Stop: the monitor first, which may have a stand-in finish and needs the registry for it."""
        yield self.monitor.stopService()
        yield maybeDeferred(super().stopService)


def build_monitor(world: World, settings: MonitorSettings) -> MonitorTree:
    """Build the service tree of a monitor.

    Args:
        world: the outside. `world.fatal` is called when the master is on this machine and must not be, and by the
            stand-in's node, once that serves.
        settings: what can be set.

    Raises:
        ValueError: or whatever else a parser of endpoints raises, for one that cannot be parsed.
    """
    for description in settings.node.listen:
        # What cannot be parsed is said now, and not when somebody has to serve.
        world.server(description)
    tree = MonitorTree()
    turn = Turn(world.clock)
    who = f"{settings.watch}/{settings.node.chat.name}"
    dialled = world.guarded_client(settings.registry, REGISTRY)
    client = RegistryClient(dialled, world.clock, world.dice, turn, who=who, tally=world.tally, trust=world.trust)
    master = RegisteredMaster(world, settings)
    stand_in = ChatStandIn(world, settings, master, client, tree)
    client.watch(master, settings.watch)
    monitor = MonitorService(
        world.clock,
        master,
        stand_in,
        stand_in,
        ask_every_s=settings.ask_every_s,
        dead_after_s=settings.dead_after_s,
        what=f"{settings.watch}/{settings.master}" if settings.master else settings.watch,
    )
    tree.client, tree.monitor, tree.stand_in = client, monitor, stand_in
    if settings.metrics:
        measures = together(
            of_process("monitor", tree.health, world.tally), of_monitor(monitor, client, stand_in.measures)
        )
        mount(tree, "probes", build_probes(world, settings.metrics, tree.health, measures))
    mount(tree, "registry", client)
    mount(tree, "monitor", monitor)
    if world.supervisor is not None:
        supervision = Supervision(world.clock, turn, world.supervisor, tree.health)
        mount(tree, "supervision", supervision)
    return tree
