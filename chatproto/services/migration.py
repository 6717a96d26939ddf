"""Live migration: the active server's place is taken by a node that stands by, while people chat.

The node that stands by learns the log, becomes a member, and is handed leadership; clients are sent there, each within
a span; whoever led brings what still waits, forgets its archive, and stands by in turn. Nothing is refused meanwhile,
and until leadership is handed over any failure leaves the old server in charge. After that the new one is.
"""

from collections.abc import Callable, Generator
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.server import ChatServer
from chatproto.errors import MigrationFailed, RegistryError
from chatproto.pair.log import PairLog
from chatproto.registry import Registration, RegistryClient
from chatproto.services.draining import LAG_S, spread_s
from chatproto.services.whereabouts import peer_of
from chatproto.wire import address_allowed
from chatproto.world import World

LOOK_EVERY_S = 0.01
JOIN_S_MAX = 3.0
"""A node that was invited follows within this time, or is given up."""
STALL_S_MAX = 5.0
"""A node that learns the log, and has taken nothing of it for so long, is given up."""
SERVE_S_MAX = 3.0
"""So long the new leader is waited for to serve clients."""
LEAVE_S_MAX = 2.0
"""Clients that do not read what they are told are not waited for any longer."""
RETIRE_S_MAX = 10.0
"""So long the old server is waited for to stand by."""

log = Logger()


class Moved(msgspec.Struct, frozen=True):
    """What came of a migration.

    Attributes:
        to: the node that leads now.
        epoch: in which it does.
        clients: how many were connected when leadership was handed over.
        parted: how many of them were disconnected, rather than that they went by themselves.
        learning_s: how long the new leader took until it could lead, in seconds.
        moving_s: how long it took from then on until the last client was gone.
    """

    to: str
    epoch: int
    clients: int
    parted: int
    learning_s: float
    moving_s: float

    def __str__(self) -> str:
        """Tell an operator, in one line."""
        return (
            f"{self.to} leads since epoch {self.epoch}; it learned the log in {self.learning_s * 1000:.0f} ms; "
            f"{self.clients - self.parted} of {self.clients} clients went there by themselves, the last of all after "
            f"{self.moving_s * 1000:.0f} ms; this node has forgotten its archive and stands by"
        )


class MigrationService(Service):
    """Moves this node's place to another when asked, and, if it is to, every so often while it leads.

    Attributes:
        moving: whether a migration of this node's place is under way.
    """

    def __init__(
        self,
        world: World,
        pair: PairLog,
        server: ChatServer,
        factory: ClientLinkFactory,
        client: RegistryClient,
        every_s: float = 0.0,
    ) -> None:
        """Move a node's place.

        Args:
            world: the outside.
            pair: the node's log.
            server: its chat.
            factory: has the links of its clients.
            client: of the registry, which knows who stands by.
            every_s: seconds from the end of one move to the next, on whichever node leads; 0: only when asked.
        """
        self.moving = False
        self._world = world
        self._pair = pair
        self._server = server
        self._factory = factory
        self._client = client
        self._every_s = every_s
        self._next: IDelayedCall | None = None
        server.watch(self._changed)

    def startService(self) -> None:
        """Begin to count."""
        super().startService()
        self._changed()

    def stopService(self) -> None:
        """Move no more; one that is under way is given up."""
        super().stopService()
        self._cancel()

    # Every so often

    def change(self, every_s: float) -> None:
        """Count to another number of seconds from here on."""
        if every_s != self._every_s:
            self._every_s = every_s
            self._cancel()
            self._changed()

    def _changed(self) -> None:
        if self.running and not self.moving and self._pair.moving.left_over:
            self._finish()
        counts = bool(self.running) and self._every_s > 0 and self._pair.replica.leads and not self.moving
        if counts and self._next is None:
            self._next = self._world.clock.callLater(self._every_s, self._due)
        elif not counts:
            self._cancel()

    def _cancel(self) -> None:
        timer, self._next = self._next, None
        if timer is not None and timer.active():
            timer.cancel()

    def _due(self) -> None:
        self._next = None
        moved = self.migrate()
        moved.addErrback(lambda failure: failure.trap(MigrationFailed))
        moved.addErrback(lambda failure: log.failure("a migration failed", failure))
        moved.addCallback(lambda _: self._changed())

    def _finish(self) -> None:
        """Do what is left of a migration that somebody's end has broken off: this node is not to be a member."""
        self.moving = True
        leaving: Deferred[Any] = self._leave()
        leaving.addErrback(lambda failure: failure.trap(MigrationFailed))
        leaving.addErrback(lambda failure: log.failure("standing by after a migration that was broken off", failure))
        leaving.addCallback(lambda _: self._over())

    def _over(self) -> None:
        self.moving = False
        self._changed()

    # One move

    def migrate(self, to: str = "") -> "Deferred[Moved]":
        """Have another node take this one's place.

        Args:
            to: its name; empty for a random one of those that stand by.

        Returns:
            fires when this node stands by; fails with `MigrationFailed`, whose text says whether this node leads on.
        """
        if self.moving:
            return fail(MigrationFailed("a migration is under way"))
        self.moving = True
        self._changed()
        moving: Deferred[Moved] = self._migrate(to)

        def over(result: Any) -> Any:
            self._over()
            return result

        def told(moved: Moved) -> Moved:
            log.info("migrated: {moved}", moved=str(moved))
            return moved

        def failed(failure: Any) -> Any:
            if failure.check(MigrationFailed):
                log.warn("not migrated: {why}", why=failure.getErrorMessage())
            return failure

        return moving.addBoth(over).addCallbacks(told, failed)

    @inlineCallbacks
    def _migrate(self, to: str) -> Generator["Deferred[Any]", Any, Moved]:
        chosen, address = yield self._choose(to)
        begun = self._world.clock.seconds()
        if not self._pair.moving.invite(chosen.name, address):
            raise MigrationFailed("another change is under way, or this node does not lead: look at the log, try again")
        try:
            yield self._handed_over(chosen.name)
        finally:
            if self._pair.leader != chosen.name:
                self._pair.moving.withdraw()
        learned = self._world.clock.seconds()
        clients, epoch = self._server.exodus.connected, self._pair.epoch
        moving_s: float = yield self._leave()
        return Moved(chosen.name, epoch, clients, self._server.exodus.parted, learned - begun, moving_s)

    @inlineCallbacks
    def _leave(self) -> Generator["Deferred[Any]", Any, float]:
        """Have clients go, then stand by; return how many seconds the clients took."""
        begun = self._world.clock.seconds()
        try:
            yield self._have_clients_go()
            moving_s = self._world.clock.seconds() - begun
            yield self._retired()
        finally:
            self._server.exodus.end()
        return moving_s

    @inlineCallbacks
    def _choose(self, to: str) -> Generator["Deferred[Any]", Any, tuple[Registration, str]]:
        """Return who is to take this node's place, and where its peer link is."""
        if not self._pair.replica.leads:
            why = f"{self._pair.leader} leads" if self._pair.leader else "this server does not lead"
            raise MigrationFailed(f"{why}: a migration is asked for where the active server runs")
        if not address_allowed(self._pair.settings.advertise):
            raise MigrationFailed(
                "nobody knows where this node's peer link is: start it with --peer-advertise=HOST:PORT"
            )
        try:
            listed: list[Registration] = yield self._client.list(service=self._pair.settings.service, role="standby")
        except RegistryError as error:
            raise MigrationFailed(f"the registry does not say who stands by ({error})") from None
        found = [(each, address) for each in listed if to in ("", each.name) and (address := peer_of(each)) is not None]
        if not found:
            raise MigrationFailed(f"{to} does not stand by" if to else "nobody stands by")
        return self._world.dice.choice(found)

    @inlineCallbacks
    def _handed_over(self, to: str) -> Generator["Deferred[Any]", Any, None]:
        """Wait until another node leads; the replica does what it takes."""
        now, replica = self._world.clock.seconds, self._pair.replica
        had, moved_at, patience_s = -1, now(), JOIN_S_MAX
        while self._pair.leader != to:
            if not self.running or not replica.leads:
                raise MigrationFailed(f"this node was stopped, or leads no more, before {to} could lead")
            follower = replica.followers.get(to)
            if follower is not None and follower.match > had:
                had, moved_at, patience_s = follower.match, now(), STALL_S_MAX
            elif now() - moved_at >= patience_s:
                raise MigrationFailed(f"{to} does not follow: this node leads as before; look at the log of both nodes")
            yield self._a_moment()

    @inlineCallbacks
    def _have_clients_go(self) -> Generator["Deferred[Any]", Any, None]:
        exodus = self._server.exodus
        exodus.begin("migrating")
        yield self._until(lambda: exodus.elsewhere, SERVE_S_MAX)
        count = exodus.connected
        span_s = spread_s(count)
        begun = self._world.clock.seconds()
        exodus.send_away(int(span_s * 1000))
        while exodus.connected and (passed_s := self._world.clock.seconds() - begun) < span_s + LAG_S:
            exodus.part(min(1.0, passed_s / span_s))
            yield self._a_moment()
        exodus.part_from_all()
        yield self._until(lambda: not exodus.connected and not self._factory.links, LEAVE_S_MAX)
        for link in list(self._factory.links):
            link.drop("migrating")

    @inlineCallbacks
    def _retired(self) -> Generator["Deferred[Any]", Any, None]:
        self._pair.moving.retire()
        yield self._until(lambda: self._pair.role == "standby" or self._pair.replica.leads, RETIRE_S_MAX)
        if self._pair.replica.leads:
            raise MigrationFailed("the new leader was lost again at once: this node leads")
        if self._pair.role != "standby":
            raise MigrationFailed(
                f"{self._pair.leader} leads; this node stands by as soon as that one has all it holds"
            )

    @inlineCallbacks
    def _until(self, so: Callable[[], object], seconds_max: float) -> Generator["Deferred[Any]", Any, None]:
        begun = self._world.clock.seconds()
        while not so() and self._world.clock.seconds() - begun < seconds_max:
            yield self._a_moment()

    def _a_moment(self) -> "Deferred[None]":
        return deferLater(self._world.clock, LOOK_EVERY_S)
