"""The service that watches over a master: asks, and does what `chatproto.monitor.watch` decides."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import ChatprotoError
from chatproto.monitor.interfaces import IAlive, IPlace, IStandIn
from chatproto.monitor.watch import Activate, Ask, Changed, Effect, GiveUp, StandDown, State, Watch

log = Logger()

ASK_EVERY_S = 1.0
DEAD_AFTER_S = 3.0


class MonitorService(Service):
    """Watches over a master while it runs; stopping it ends the stand-in, if that serves, and never the master.

    Attributes:
        watch: what decides.
        heard: called with each change of the state.
    """

    def __init__(
        self,
        clock: IReactorTime,
        alive: IAlive,
        stand_in: IStandIn,
        place: IPlace,
        *,
        ask_every_s: float = ASK_EVERY_S,
        dead_after_s: float = DEAD_AFTER_S,
        what: str = "the master",
        known: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make a monitor.

        Args:
            clock: the reactor, as far as time goes.
            alive: asks the master.
            stand_in: serves in its place.
            place: where the stand-in is registered while it serves.
            ask_every_s: between an answer and the next question.
            dead_after_s: so long after a question without an answer the stand-in begins.
            what: the master's name in logs.
            known: asked at the start, whether the master was there before; else it is not missed until it was heard.
        """
        self._spans_s = ask_every_s, dead_after_s
        self.watch = Watch(*self._spans_s)
        self.heard: Callable[[Changed], None] = lambda change: None
        self._clock = clock
        self._alive = alive
        self._stand_in = stand_in
        self._place = place
        self._what = what
        self._known = known
        self._unanswered_for = ""
        self._timer: IDelayedCall | None = None
        self._asking: Deferred[Any] | None = None
        self._under_way: Deferred[Any] = succeed(None)
        self._performers: dict[type[Any], Callable[[Any], None]] = {
            Ask: self._ask,
            GiveUp: self._give_up,
            Activate: self._activate,
            StandDown: self._stand_down,
            Changed: self._changed,
        }

    def startService(self) -> None:
        """Begin to ask."""
        super().startService()
        self.watch = Watch(*self._spans_s, known=self._known())
        self._do(self.watch.start(self._clock.seconds()))

    def stopService(self) -> "Deferred[Any]":
        """Ask no more; a stand-in that serves finishes what it is doing, which is waited for."""
        if not self.running:
            return self._ended()
        super().stopService()
        self._set_timer(None)
        self._give_up(None)
        # An activation or an end that is under way comes first.
        self._under_way.addCallback(lambda _: self._end() if self.watch.state is State.STANDING_IN else None)
        return self._ended()

    def _ended(self) -> "Deferred[Any]":
        ended: Deferred[Any] = Deferred()
        self._under_way.addBoth(lambda _: ended.callback(None))
        return ended

    # Effects

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._performers[type(effect)](effect)
        if self.running:
            self._set_timer(self.watch.next_wakeup())

    def _set_timer(self, at: float | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if at is not None:
            self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._due)

    def _due(self) -> None:
        self._timer = None
        self._do(self.watch.due(self._clock.seconds()))

    def _ask(self, effect: Ask) -> None:
        asking = maybeDeferred(self._alive.ask)
        self._asking = asking
        asking.addCallbacks(partial(self._answered, asking), partial(self._unanswered, asking))
        asking.addErrback(lambda failure: log.failure("hearing of an answer failed", failure))

    def _answered(self, asking: "Deferred[Any]", answer: object) -> None:
        if asking is self._asking:
            self._asking, self._unanswered_for = None, ""
            self._do(self.watch.answered(self._clock.seconds()))

    def _unanswered(self, asking: "Deferred[Any]", failure: Failure) -> None:
        if asking is self._asking:
            self._asking = None
            why = failure.getErrorMessage()
            # Once for each reason: a certificate that is not believed looks like death to whoever only counts.
            tell = log.info if why != self._unanswered_for else log.debug
            self._unanswered_for = why
            tell("{what} does not answer: {why}", what=self._what, why=why)
            self._do(self.watch.unanswered(self._clock.seconds()))

    def _give_up(self, effect: GiveUp | None) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def _activate(self, effect: Activate) -> None:
        self._under_way = maybeDeferred(self._stand_in.activate)
        self._under_way.addCallbacks(self._activated, self._failed)
        self._under_way.addErrback(lambda failure: log.failure("beginning to stand in failed", failure))

    def _activated(self, _: object) -> None:
        # Not waited for: the registry may be away, and whoever knows the stand-in can come already.
        taking = maybeDeferred(self._place.take)
        taking.addErrback(lambda failure: log.failure("registering the stand-in failed", failure))
        self._do(self.watch.activated())

    def _failed(self, failure: Failure) -> None:
        if failure.check(ChatprotoError):
            # It says why, and there will be another try.
            log.warn("the stand-in for {what} cannot serve: {why}", what=self._what, why=failure.getErrorMessage())
        else:
            log.failure("the stand-in for {what} cannot serve", failure, what=self._what)
        self._do(self.watch.failed())

    def _stand_down(self, effect: StandDown) -> None:
        self._under_way = self._end()
        self._under_way.addCallback(lambda _: self._do(self.watch.finished()))
        self._under_way.addErrback(lambda failure: log.failure("hearing of the end failed", failure))

    def _end(self) -> "Deferred[Any]":
        # First the registry, so that nobody new is led to a stand-in that takes nobody new.
        ending = maybeDeferred(self._place.give_back)
        ending.addErrback(lambda failure: log.failure("withdrawing the stand-in failed", failure))
        ending.addCallback(lambda _: self._stand_in.stand_down())
        ending.addErrback(lambda failure: log.failure("the stand-in for {what} did not end well", failure))
        return ending

    def _changed(self, change: Changed) -> None:
        tell = log.warn if change.state is State.ACTIVATING else log.info
        tell(
            "{what}: {state}, for {event}: {reason}",
            what=self._what,
            state=change.state.value,
            event=change.event.value,
            reason=change.reason,
        )
        self.heard(change)
