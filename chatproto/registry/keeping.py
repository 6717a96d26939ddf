"""One registration, kept up by whoever registered it: renewed, and made again whenever the registry lost it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import RegistryError, RegistryRefused
from chatproto.registry.asking import Asking
from chatproto.registry.names import Registration
from chatproto.registry.requests import Register, Renew

RENEWALS_PER_LEASE = 3
"""So two of them may be lost."""

Serve = Callable[[bytes], "Deferred[bytes] | bytes"]
"""Takes a call's payload, and gives the answer, now or later.

A failure is told to the caller as `rejected`; it is logged as one unless it is `CallRejected`.
"""

log = Logger()


class KeptRegistration:
    """A registration and its lease.

    Attributes:
        registration: what is registered.
        token: what it is protected by.
        serve: takes the calls to it; None if it takes none.
    """

    def __init__(
        self, asking: Asking, clock: IReactorTime, registration: Registration, token: bytes, serve: Serve | None
    ) -> None:
        """Keep nothing before `register`."""
        self.registration = registration
        self.token = token
        self.serve = serve
        self._asking = asking
        self._clock = clock
        self._registering = self._held = self._complained = False
        self._dropped = False
        self._timer: IDelayedCall | None = None

    def register(self, timeout_s: float) -> "Deferred[None]":
        """Register it, and go on renewing it, whatever becomes of this first time."""
        self._await_renewal()
        self._registering = True
        registering = self._asking.ask(
            lambda number: Register(number, self.registration, self.token, self.serve is not None), timeout_s
        )
        return registering.addBoth(self._registered)

    def entered(self) -> None:
        """Hear that there is a new link: the registry may have lost it, and does not know where calls go."""
        # Asked already, it is asked again by itself.
        if not self._registering:
            self._register_again()

    def drop(self) -> None:
        """Keep it up no longer."""
        self._dropped = True
        self._cancel_timer()

    def _registered(self, outcome: Any) -> Any:
        self._registering = False
        self._held = not isinstance(outcome, Failure)
        if self._held:
            self._complained = False
            return None
        return outcome

    def _register_again(self) -> None:
        self.register(self.registration.lease_s).addErrback(self._not_registered)

    def _not_registered(self, failure: Failure) -> None:
        failure.trap(RegistryError)
        if failure.check(RegistryRefused) and not self._complained:
            self._complained = True
            log.warn(
                "{service}/{name} is not registered ({why}): trying again and again",
                service=self.registration.service,
                name=self.registration.name,
                why=failure.getErrorMessage(),
            )

    def _await_renewal(self) -> None:
        self._cancel_timer()
        if not self._dropped:
            self._timer = self._clock.callLater(self.registration.lease_s / RENEWALS_PER_LEASE, self._renew)

    def _renew(self) -> None:
        if not self._asking.up or self._registering:
            self._await_renewal()
        elif self._held:
            self._await_renewal()
            service, name = self.registration.service, self.registration.name
            renewing = self._asking.ask(
                lambda number: Renew(number, service, name, self.token), self.registration.lease_s, repeatable=False
            )
            renewing.addErrback(self._not_renewed)
        else:
            self._register_again()

    def _not_renewed(self, failure: Failure) -> None:
        failure.trap(RegistryError)
        if failure.check(RegistryRefused) and not self._dropped and not self._registering:
            # Over, as after a long silence: it is there again at once, unless somebody else has taken the name.
            self._register_again()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
