"""What the service tree of every role of the news system has: doors, a name in the registry, probes, supervision."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec
from twisted.application.service import MultiService

from chatproto.advertised import advertised_from, place_of
from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.news.link import Decode, NewsHeard, NewsLinkFactory
from chatproto.news.messages import Message
from chatproto.registry import Registration, RegistryClient
from chatproto.services.control import Command, ControlService
from chatproto.services.listener import Listener
from chatproto.services.measures import Measure, of_news, of_process, together
from chatproto.services.mounting import mount
from chatproto.services.news.doors import Links, build_links
from chatproto.services.news.settings import NewsSettings
from chatproto.services.news.status import status_of
from chatproto.services.probes import build_probes
from chatproto.services.registering import PEER, RegisteringService, RegisteringSettings, placed
from chatproto.services.systemd import Health, Supervision
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.proof import PEER as PEER_LINK
from chatproto.world import World

KIND = "news-{role}"
"""What a node is registered as."""


class NewsNode(MultiService):
    """The service tree of a node. Each role extends it with what it is, and its builder mounts the parts, in order:

    1. `__init__` mounts the probes: they stop last, for an end is worth watching.
    2. `mount` from `chatproto.services.mounting`, once for each part of the role's own: what is on its disk first.
    3. `open_guarded` and `open_public`: the links end, politely, before the role's own parts do.
    4. `complete`: its name in the registry, which goes first when it stops, operators' commands, its service manager.

    Attributes:
        role: what `--role` calls it.
        settings: what can be set of it.
        turn: batches what is sent.
        listeners: of its public links, in the order given; `ready` fires with the port.
        guarded: listens for other nodes; None where nobody does.
        registering: keeps its name; None for a node that nobody finds by one.
    """

    role: ClassVar[str]

    def __init__(self, world: World, settings: NewsSettings, turn: Turn | None = None) -> None:
        """Begin a tree.

        Raises:
            MissingExtra: a library for something that was asked for is not installed.
        """
        super().__init__()
        self.settings = settings
        self.turn = turn if turn is not None else Turn(world.clock)
        self.listeners: list[Listener] = []
        self.guarded: Listener | None = None
        self.registering: RegisteringService | None = None
        self._world = world
        self._began = world.clock.seconds()
        self._links: list[NewsLinkFactory] = []
        if settings.metrics:
            counted = of_news(lambda: self._links, lambda: self._registry, settings.data)
            measures = together(of_process(self.role, self.health, world.tally), counted, self.measures)
            mount(self, "probes", build_probes(world, settings.metrics, self.health, measures))

    # What a role says of itself

    def opened(self) -> bool:
        """Whether what it has on its disk is there for it to serve."""
        raise NotImplementedError

    def serves(self) -> bool:
        """Whether, open and listening, it does what it is there for: a node without a parent waits for one."""
        return True

    def sane(self) -> bool:
        """Whether it gets on with what it does."""
        return True

    def summary(self) -> str:
        """Return what an operator is to read, in one line."""
        raise NotImplementedError

    def measures(self) -> Iterable[Measure]:
        """Measure what this role has beside what all have; names begin with `chatproto_news_`."""
        return ()

    def attributes(self) -> dict[str, str]:
        """Return what others are to know of it beside where its links are."""
        return {}

    def calls(self) -> Mapping[bytes, Callable[[bytes], bytes]]:
        """Return what it answers through the registry beside its status: see `RegisteringService`."""
        return {}

    def commands(self) -> dict[str, Command]:
        """Return what an operator may have it do, by the socket in its data directory, beside `reload`."""
        return {}

    def registration(self) -> Registration | None:
        """Return what it is in the registry at the moment; None for nothing.

        Whatever `--advertise` does not say is what is listened on, as soon as that is known.
        """
        settings = self.settings
        attributes = self.attributes()
        peer = settings.peer_advertise or _at(self.guarded, settings.peer_listen, advertised_from)
        if peer:
            attributes[PEER] = peer
        place = settings.advertise
        if not place and self.listeners:
            place = _at(self.listeners[0], settings.listen[0], place_of)
        kind = KIND.format(role=self.role)
        registration = Registration(settings.service, settings.name, kind, attributes=attributes)
        return placed(msgspec.structs.replace(registration, lease_s=settings.lease_s), place)

    # What every role has

    def open_guarded(
        self, door: str, decode: Decode, hellos: dict[type[Message], NewsHeard], limits: Limits
    ) -> NewsLinkFactory:
        """Mount the door of other nodes, who prove that they are such; it is shut where `peer_listen` is empty.

        The arguments are those of `NewsLinkFactory`, which is returned.
        """
        world = self._world
        factory = self._links_at(door, decode, hellos, limits, world.trust)
        mount(self, "guarded-links", Links(factory, world.clock))
        description = self.settings.peer_listen
        if description:
            endpoint = world.guarded_server(description, PEER_LINK)
            self.guarded = Listener(description, endpoint, factory, world.fatal, factory.gate)
            mount(self, "guarded-listener", self.guarded)
        return factory

    def open_public(
        self, door: str, decode: Decode, hellos: dict[type[Message], NewsHeard], limits: Limits
    ) -> NewsLinkFactory:
        """Mount the public doors: of sources, readers, clients of the contracting service.

        The arguments are those of `NewsLinkFactory`, which is returned.
        """
        world = self._world
        factory = self._links_at(door, decode, hellos, limits, BELIEVING)
        mount(self, "public-links", Links(factory, world.clock))
        for number, description in enumerate(self.settings.listen, 1):
            listener = Listener(description, world.server(description), factory, world.fatal, factory.gate)
            self.listeners.append(listener)
            mount(self, f"public-listener-{number}", listener)
        return factory

    def _links_at(
        self, door: str, decode: Decode, hellos: dict[type[Message], NewsHeard], limits: Limits, trust: Trust
    ) -> NewsLinkFactory:
        factory = build_links(self._world, self.settings, self.turn, door, decode, hellos, limits, trust)
        self._links.append(factory)
        return factory

    def complete(self) -> None:
        """Mount what comes last; the tree is ready to be started then."""
        settings, world = self.settings, self._world
        if settings.registry:
            registering = RegisteringSettings(settings.registry, settings.token, settings.service)
            self.registering = RegisteringService(
                world,
                registering,
                settings.data,
                settings.name,
                self.turn,
                self.registration,
                self.status,
                self.calls(),
            )
            mount(self, "registering", self.registering)
            for listener in self._doors():
                # Some endpoints take their time; until then nobody could be told where they are.
                listener.ready.addCallback(self._listening)
        if settings.control:
            mount(self, "control", ControlService(world, settings.control, self.commands()))
        if world.supervisor is not None:
            mount(self, "supervision", Supervision(world.clock, self.turn, world.supervisor, self.health))

    def changed(self) -> None:
        """Have the registry told, if `registration` says something else than before."""
        if self.registering is not None:
            self.registering.changed()

    def health(self) -> Health:
        """Return how it is, for a service manager."""
        listening = all(listener.port is not None for listener in self._doors())
        ready = bool(listening and self.opened())
        stopping = not self.running
        return Health(ready, self.sane, stopping, self.summary(), ready and not stopping and self.serves())

    def status(self) -> bytes:
        """Return how it is, for whoever asks through the registry: `NewsStatus`, as JSON."""
        up_s = self._world.clock.seconds() - self._began
        return status_of(self.role, self.settings.name, up_s, self.health(), self.measures(), self._world.tally)

    @property
    def _registry(self) -> RegistryClient | None:
        return self.registering.client if self.registering is not None else None

    def _doors(self) -> Sequence[Listener]:
        return [part for part in self if isinstance(part, Listener)]

    def _listening(self, port: object) -> object:
        self.changed()
        return port


def _at(listener: Listener | None, description: str, find: Callable[[str, int], str | None]) -> str:
    port = getattr(listener.port.getHost(), "port", 0) if listener is not None and listener.port is not None else 0
    return find(description, port) or ""
