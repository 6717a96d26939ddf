"""The service that coordinates transactions, over links to the delivery nodes that are registered."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatproto.errors import WireError
from chatproto.link import Turn
from chatproto.news.link import NewsDialler, NewsLink
from chatproto.news.messages import Refused, decoder
from chatproto.news.placing.actions import Steps
from chatproto.news.placing.coordinator import (
    AGAIN_S,
    VOTES_S_MAX,
    Coordinator,
    CoordinatorEffect,
    Lead,
    Record,
    Settled,
    Superseded,
    Tell,
)
from chatproto.news.placing.ledger import Act, Ledger, Transaction
from chatproto.news.placing.messages import Coordinate, FromParticipant, Participate
from chatproto.registry import Registration, RegistryClient
from chatproto.trust.proof import PEER
from chatproto.wire import host_and_port
from chatproto.world import World

DELIVERY = "news-delivery"
"""The kind of a delivery node's registration."""

PEER_ADDRESS = "peer"
"""The attribute with `HOST:PORT` of its guarded port."""

RETAKE_S = (0.5, 1.5)
"""Somebody else has begun to coordinate, and this process is to: it takes over again after so long."""

log = Logger()
_decode = decoder(FromParticipant, Refused)


class Placing(Service):
    """Coordinates transactions while it runs: on that process of the contracting service which serves.

    Attributes:
        coordinator: decides what is done; another one each time that this is started.
    """

    def __init__(
        self,
        world: World,
        registry: RegistryClient,
        turn: Turn,
        ledger: Ledger,
        submit: Callable[[Act], None],
        settled: Callable[[Settled], object] = lambda settled: None,
        *,
        who: str,
        service: str = "news",
        votes_s_max: float = VOTES_S_MAX,
        again_s: float = AGAIN_S,
    ) -> None:
        """Make one that does not run.

        Args:
            world: the outside.
            registry: knows the delivery nodes; it is to run as long as this does.
            turn: batches what is sent.
            ledger: what is durable.
            submit: has an act agreed on by the log; when it is, the ledger takes it, and `recorded` hears of it.
            settled: hears what became of each transaction, those included that an earlier process had begun.
            who: the name of this process, which it proves to delivery nodes.
            service: the name of the deployment in the registry.
            votes_s_max: see `Coordinator`.
            again_s: see `Coordinator`.
        """
        self._world = world
        self._registry = registry
        self._turn = turn
        self._ledger = ledger
        self._submit = submit
        self._settled = settled
        self._who = who
        self._service = service
        self._spans_s = votes_s_max, again_s
        self._term = 0
        self._ways: dict[str, _Way] = {}
        self._timer: IDelayedCall | None = None
        self._retaking: IDelayedCall | None = None
        self._watched: Callable[[], None] | None = None
        self.coordinator = self._coordinator()

    def _coordinator(self) -> Coordinator:
        votes_s_max, again_s = self._spans_s
        life = f"{self._who}-{self._world.dice.getrandbits(63):x}"
        return Coordinator(self._ledger, life, votes_s_max=votes_s_max, again_s=again_s)

    def startService(self) -> None:
        """Take over."""
        super().startService()
        self.coordinator = self._coordinator()
        self._watched = self._registry.watch(self, self._service)
        self._perform(self.coordinator.start())

    def stopService(self) -> None:
        """Let another process take over: end the links. What is under way goes on there."""
        super().stopService()
        if self._watched is not None:
            self._watched()
        for timer in (self._timer, self._retaking):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._retaking = None
        self._end_links()
        self._ways.clear()

    # What is to be done

    def begin(self, name: str, steps: Steps) -> None:
        """Begin a transaction, see `Coordinator.begin`; how it ends is told to `settled`, perhaps at once.

        Raises:
            ValueError: a transaction may not consist of this.
        """
        self._perform(self.coordinator.begin(name, steps))

    def recorded(self, act: Act, transaction: Transaction | None) -> None:
        """Hear of an act in the log, and what the ledger said to it; of each that is committed while this runs."""
        if self.running:
            self._perform(self.coordinator.recorded(act, transaction, self._world.clock.seconds()))

    def _perform(self, effects: list[CoordinatorEffect]) -> None:
        for effect in effects:
            match effect:
                case Record(act):
                    self._submit(act)
                case Tell(node, message):
                    self._ways[node].say(message)
                case Settled():
                    self._settled(effect)
                case Lead(term):
                    log.info("this process coordinates, as number {term}", term=term)
                    self._term = term
                    for way in self._ways.values():
                        way.start()
                case Superseded():
                    log.warn("another process coordinates: look whether two serve as the contracting service")
                    self._end_links()
                    self._retaking = self._world.clock.callLater(self._world.dice.uniform(*RETAKE_S), self._retake)
        self._set_timer()

    def _retake(self) -> None:
        self._retaking = None
        self._perform(self.coordinator.start())

    def _set_timer(self) -> None:
        at = self.coordinator.next_wakeup() if self.running else None
        if at is not None and self._timer is None:
            self._timer = self._world.clock.callLater(max(0.0, at - self._world.clock.seconds()), self._due)

    def _due(self) -> None:
        self._timer = None
        self._perform(self.coordinator.due(self._world.clock.seconds()))

    def _end_links(self) -> None:
        self._term = 0
        for way in self._ways.values():
            way.stop()

    # The registry

    def names_listed(self, registrations: list[Registration]) -> None:
        """See `NamesHeard.names_listed`."""
        for name in self._ways.keys() - {registration.name for registration in registrations}:
            self._forget(name)
        for registration in registrations:
            self.name_registered(registration)

    def name_registered(self, registration: Registration) -> None:
        """See `NamesHeard.name_registered`."""
        place = host_and_port(registration.attributes.get(PEER_ADDRESS, ""))
        if registration.kind != DELIVERY or place is None or not self.running:
            return
        name = registration.name
        if name in self._ways:
            if self._ways[name].place == place:
                return
            self._forget(name)
        way = self._ways[name] = _Way(self, name, place)
        if self._term:
            way.start()

    def name_gone(self, registration: Registration) -> None:
        """See `NamesHeard.name_gone`."""
        self._forget(registration.name)

    def _forget(self, name: str) -> None:
        way = self._ways.pop(name, None)
        if way is not None:
            way.stop()

    # The links

    def dialler(self, way: "_Way") -> NewsDialler:
        """Return what dials a delivery node."""
        world = self._world
        host, port = way.place
        endpoint = world.guarded_client(f"tcp:{quoteStringArgument(host)}:{port}", PEER)
        outside = self._turn, world.clock, world.dice
        return NewsDialler(
            endpoint, way, _decode, *outside, what=f"delivery node {way.node}", trust=world.trust, tally=world.tally
        )

    def hello(self) -> Coordinate:
        """Return what is said first on a link."""
        return Coordinate(self._who, self._term)

    def came_up(self, node: str) -> None:
        """Hear that a node has answered the hello."""
        self._perform(self.coordinator.came_up(node))

    def went_down(self, node: str) -> None:
        """Hear that the link to a node is gone."""
        self.coordinator.went_down(node)

    def received(self, node: str, message: FromParticipant) -> None:
        """Hear a node."""
        self._perform(self.coordinator.received(node, message))


class _Way:
    """The way to a delivery node; a `NewsHeard`."""

    def __init__(self, placing: Placing, node: str, place: tuple[str, int]) -> None:
        self.node = node
        self.place = place
        self._placing = placing
        self._dialler = placing.dialler(self)
        self._link: NewsLink | None = None

    def start(self) -> None:
        self._dialler.start()

    def stop(self) -> None:
        self._dialler.stop()
        self._down()

    def say(self, message: Any) -> None:
        if self._link is not None:
            self._link.say(message)

    def link_admitted(self, link: NewsLink) -> None:
        link.say(self._placing.hello())

    def link_received(self, link: NewsLink, message: Any) -> None:
        if isinstance(message, Refused):
            log.warn("{node} does not listen to this process: {why}", node=self.node, why=message.why or message.code)
            link.abort()
        elif isinstance(message, Participate) == (self._link is not None):
            raise WireError("a node says its name, once, and first")
        elif isinstance(message, Participate):
            link.check_name(self.node)
            if message.node != self.node:
                # An address that was another one's before: the registry will know the new one.
                link.drop("wrong-node", f"this is {message.node}, and not {self.node}")
                return
            self._link = link
            self._placing.came_up(self.node)
        else:
            self._placing.received(self.node, message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        self._down()

    def _down(self) -> None:
        if self._link is not None:
            self._link = None
            self._placing.went_down(self.node)
