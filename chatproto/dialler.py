"""Keeps a connection to somebody: dials, gives a try up in time, and dials again after a pause."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

Span = tuple[float, float]
"""The least and the most seconds of a pause, which is drawn from between them."""

log = Logger()


class Failed(Protocol):
    """Hears of a try to connect that failed."""

    def __call__(self, reason: str, *, refused: bool) -> None:
        """Hear why; `refused` where nobody listens there."""


class Backoff:
    """Pauses that double with every failure, up to a ceiling.

    Attributes:
        failures: how many there were since the last connection that lasted.
    """

    def __init__(self, least_s: float, most_s: float) -> None:
        """Begin with pauses of `least_s` at most, and end with pauses of `most_s` at most."""
        self.failures = 0
        self._least_s = least_s
        self._most_s = most_s

    def __call__(self) -> Span:
        """Note a failure, and return the pause after it."""
        # A float's exponent has an end, an outage has none.
        most_s = min(self._most_s, self._least_s * 2.0 ** min(self.failures, 64))
        self.failures += 1
        return most_s / 2, most_s

    def lasted(self, span_s: float) -> None:
        """Hear how long a connection was good: one that ends at once, again and again, is a failure like any other."""
        if span_s >= self._most_s:
            self.failures = 0


class Dialler:
    """Makes a connection, one try at a time, and another one whenever it is told that this one is lost.

    Twisted's `ClientService` keeps to itself why a try has failed; here "refused" is news: nobody is there.

    Attributes:
        tries: how many were begun, which is the number of the last one.
        trying: whether it is under way.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        make: Callable[[int], IProtocol],
        failed: Failed,
        clock: IReactorTime,
        dice: random.Random,
        patience_s: float,
        pause: Callable[[], Span],
    ) -> None:
        """Dial an endpoint, once started.

        Args:
            endpoint: of whom to connect to.
            make: makes the protocol of a connection, given the number of the try. While that is made, `made_by` says
                whether the try still counts.
            failed: told of a try that has failed, when the next one is settled; it may `stop` this.
            clock: the reactor, as far as time goes.
            dice: draws the pauses.
            patience_s: a try that takes so long is given up.
            pause: says how long to wait after a try that has failed.
        """
        self.tries = 0
        self.trying = False
        self._endpoint = endpoint
        self._make = make
        self._failed_with = failed
        self._clock = clock
        self._dice = dice
        self._patience_s = patience_s
        self._pause = pause
        self._running = False
        self._try: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to dial."""
        self._running = True
        self._dial()

    def stop(self) -> None:
        """Dial no more; a connection that is there stays."""
        self._running = False
        self._cancel_timer()
        self._cancel_try()

    def made_by(self, number: int) -> bool:
        """Whether a connection is made by the try under way: one that was given up may come through after all."""
        return self.trying and number == self.tries

    def again(self, pause_s: Span) -> None:
        """Hear that the connection is lost: dial again after a pause, unless this was stopped."""
        self.trying = False
        self._cancel_timer()
        if self._running:
            self._timer = self._clock.callLater(self._dice.uniform(*pause_s), self._dial)

    def _dial(self) -> None:
        self.tries += 1
        self.trying = True
        number = self.tries
        # Before the try, which may be answered here and now.
        self._timer = self._clock.callLater(self._patience_s, self._give_up)
        try:
            trying: Deferred[Any] = self._endpoint.connect(_TryFactory(self._make, number))
        except Exception:
            trying = fail()
        self._try = trying
        trying.addCallbacks(self._succeeded, self._try_failed, callbackArgs=(number,), errbackArgs=(number,))
        trying.addErrback(lambda failure: log.failure("hearing of a failed try failed", failure))

    def _succeeded(self, connection: object, number: int) -> None:
        if self.made_by(number):
            self.trying = False
            self._cancel_timer()

    def _try_failed(self, failure: Failure, number: int) -> None:
        if self.made_by(number):
            self._fail(failure.getErrorMessage(), refused=failure.check(ConnectionRefusedError) is not None)

    def _give_up(self) -> None:
        self._timer = None
        self._cancel_try()
        self._fail(f"no connection within {self._patience_s} s", refused=False)

    def _fail(self, reason: str, *, refused: bool) -> None:
        self.again(self._pause())
        self._failed_with(reason, refused=refused)

    def _cancel_try(self) -> None:
        self.trying = False
        if self._try is not None:
            self._try.cancel()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class _TryFactory(Factory):
    """Makes the protocol of one try."""

    noisy = False

    def __init__(self, make: Callable[[int], IProtocol], number: int) -> None:
        self._make = make
        self._number = number

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:  # type: ignore[override]
        return self._make(self._number)
