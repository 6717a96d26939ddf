"""Performs a node's end, which `draining` decides: newcomers are turned away, clients go, leadership is handed over."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.server import ChatServer
from chatproto.pair.log import PairLog
from chatproto.services.draining import (
    Abort,
    Draining,
    Effect,
    Entered,
    HandOver,
    Leave,
    Part,
    PartFromAll,
    Phase,
    SendAway,
    Sight,
)
from chatproto.services.listener import Listener
from chatproto.world import World

LOOK_EVERY_S = 0.02

log = Logger()


class Drained(msgspec.Struct, frozen=True):
    """What clients saw of a node's end.

    Attributes:
        clients: how many were connected when it began.
        parted: how many were disconnected, rather than that they went by themselves.
        aborted: how many connections were ended that did not take what they were told.
        took_s: how long it took until the last client was gone or parted from, in seconds.
        handing_s: how long handing leadership over took, in seconds.
        leader: the node that leadership was handed over to; empty where it was not.
    """

    clients: int
    parted: int
    aborted: int
    took_s: float
    handing_s: float
    leader: str

    def __str__(self) -> str:
        """Tell an operator, in one line."""
        went = max(0, self.clients - self.parted - self.aborted)
        said = [f"of {self.clients} clients {went} went to the other node and {self.parted} were disconnected"]
        said.append(f"it took {self.took_s * 1000:.0f} ms")
        if self.aborted:
            said.append(f"{self.aborted} connections were cut that did not read")
        if self.leader:
            said.append(f"{self.leader} leads, which took {self.handing_s * 1000:.0f} ms")
        return "; ".join(said)


class Drain:
    """The end of a node, once it is asked for."""

    def __init__(
        self,
        world: World,
        server: ChatServer,
        factory: ClientLinkFactory,
        listeners: Iterable[Listener],
        pair: PairLog | None,
        drain_s_max: float,
    ) -> None:
        """Drain a node when `run` is called.

        Args:
            world: the outside.
            server: its chat.
            factory: has the links of its clients.
            listeners: let newcomers in.
            pair: its log, where it is one of two.
            drain_s_max: how long it may take; 0 for no longer than what clients are told takes to leave.
        """
        self.withdraw: Callable[[], Deferred[Any] | None] = lambda: None
        """Has nothing elsewhere say that this node serves; called when clients know, before any link ends."""
        self._world = world
        self._server = server
        self._factory = factory
        self._listeners = list(listeners)
        self._pair = pair
        self._draining = Draining(drain_s_max)
        self._withdrawn = False
        self._aborted = 0
        self._handed_over = False
        self._looking: IDelayedCall | None = None
        self._waiting: list[Deferred[Drained]] = []
        self._watchers: list[Callable[[], None]] = []

    @property
    def phase(self) -> Phase:
        """How far it is."""
        return self._draining.phase

    def change(self, drain_s_max: float) -> None:
        """Take another bound, unless it is under way."""
        if self.phase is Phase.SERVING:
            self._draining = Draining(drain_s_max)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have something called whenever the phase has changed."""
        self._watchers.append(watcher)

    def run(self) -> "Deferred[Drained]":
        """Drain the node, unless that is under way or over already; fires when nobody is connected any more."""
        over: Deferred[Drained] = Deferred()
        self._waiting.append(over)
        if self.phase is Phase.SERVING:
            self._begin()
        elif self.phase is Phase.OVER:
            self._answer()
        return over

    def hurry(self) -> None:
        """End sooner, if it is under way."""
        self._perform(self._draining.hurry(self._world.clock.seconds()))

    def _begin(self) -> None:
        stopping = [maybeDeferred(listener.stopService) for listener in self._listeners]
        gatherResults(stopping, consumeErrors=True).addErrback(_failed, "closing a port")
        self._server.exodus.begin()
        self._perform(self._draining.begin(self._sight(), self._world.clock.seconds()))
        withdrawing = maybeDeferred(self.withdraw)
        withdrawing.addErrback(_failed, "withdrawing what is registered")
        withdrawing.addCallback(self._is_withdrawn)
        self._look()

    def _is_withdrawn(self, result: object) -> None:
        self._withdrawn = True

    def _look(self) -> None:
        self._looking = self._world.clock.callLater(LOOK_EVERY_S, self._look)
        self._perform(self._draining.look(self._sight(), self._world.clock.seconds()))

    def _sight(self) -> Sight:
        exodus, pair = self._server.exodus, self._pair
        leads_pair = pair is not None and pair.replica.leads and pair.redundancy == "paired"
        return Sight(exodus.connected, len(self._factory.links), exodus.elsewhere, leads_pair, self._withdrawn)

    # Effects

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            _PERFORMERS[type(effect)](self, effect)

    def _entered(self, effect: Entered) -> None:
        log.info(
            "drain: {before} → {phase}: {reason}",
            before=effect.before.value,
            phase=effect.phase.value,
            reason=effect.reason,
        )
        for watcher in self._watchers:
            watcher()

    def _hand_over(self, effect: HandOver) -> None:
        assert self._pair is not None
        self._handed_over = self._pair.hand_over() or self._handed_over

    def _leave(self, effect: Leave) -> None:
        self._server.stop()
        for link in self._factory.links:
            link.drop("draining", last=b"")

    def _abort(self, effect: Abort) -> None:
        self._aborted = len(self._factory.links)
        for link in self._factory.links:
            link.drop("draining")
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._answer()

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for over in waiting:
            over.callback(self._drained())

    def _drained(self) -> Drained:
        draining, took_s = self._draining, self._draining.took_s
        return Drained(
            draining.clients,
            self._server.exodus.parted,
            self._aborted,
            took_s.get(Phase.MOVING, 0.0) + took_s.get(Phase.SETTLING, 0.0),
            took_s.get(Phase.HANDING, 0.0),
            self._leader_now() if self._handed_over else "",
        )

    def _leader_now(self) -> str:
        """Return the other node's name, if it leads."""
        assert self._pair is not None
        found = self._pair.replica.configuration
        return found.leader if found is not None and found.leader != self._pair.settings.name else ""


def _failed(failure: Failure, what: str) -> None:
    log.failure("{what} failed; this node ends all the same", failure, what=what)


_PERFORMERS: dict[type[Any], Callable[[Drain, Any], None]] = {
    Entered: Drain._entered,
    SendAway: lambda drain, effect: drain._server.exodus.send_away(effect.within_ms),
    Part: lambda drain, effect: drain._server.exodus.part(effect.share),
    PartFromAll: lambda drain, effect: drain._server.exodus.part_from_all(),
    HandOver: Drain._hand_over,
    Leave: Drain._leave,
    Abort: Drain._abort,
}
