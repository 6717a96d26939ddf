"""Uses a registry, for programs: names, calls and groups, over one link that is dialled again and again."""

import random
from collections.abc import Callable
from typing import Any, Protocol, assert_never

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import CallRejected, RegistryRefused, RegistryStopped
from chatproto.link import Turn
from chatproto.pair.configuration import name_allowed
from chatproto.registry.asking import Asking, Heard
from chatproto.registry.desk import TOPICS_PER_VISITOR_MAX
from chatproto.registry.keeping import KeptRegistration, Serve
from chatproto.registry.names import PAYLOAD_BYTES_MAX, REASONS, Registration
from chatproto.registry.requests import (
    Answer,
    Asked,
    Call,
    Changed,
    Find,
    Found,
    Join,
    Leave,
    Notify,
    Reject,
    Resolve,
    Told,
    Watch,
    Withdraw,
)
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust

TIMEOUT_S = 5.0
SERVING_MAX = 64
"""Calls from others that are under way at once; one more is rejected."""

TRIED_AGAIN = frozenset({"taken", "superseded", "full", "busy"})
"""Refusals of a registration that time may cure, as when the lease of another ends."""

log = Logger()


class NamesHeard(Protocol):
    """Who hears what is registered in a service."""

    def names_listed(self, registrations: list[Registration]) -> None:
        """Hear all there is: at first, and again after the link to the registry was lost."""

    def name_registered(self, registration: Registration) -> None:
        """Hear that something is registered, or in another way than before."""

    def name_gone(self, registration: Registration) -> None:
        """Hear that something was withdrawn, or its lease is over."""


class RegistryClient(Service):
    """Uses a registry's names, calls and groups.

    What is asked while there is no link waits for one. Registrations, watches and groups outlive the link: they are
    begun anew on the next one. A Deferred fails with `RegistryRefused` where the registry says no, with
    `RegistryUnanswered` where it does not answer in time or the link breaks while it cannot be asked again, and with
    `RegistryStopped`. Cancelling one forgets it; what the registry does of it is not known.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        dice: random.Random | None = None,
        turn: Turn | None = None,
        *,
        who: str = "",
        timeout_s: float = TIMEOUT_S,
        trust: Trust = BELIEVING,
        tally: Tally | None = None,
    ) -> None:
        """Make a client; `startService` begins to dial.

        Args:
            endpoint: of the registry.
            clock: the reactor, as far as time goes.
            dice: spreads the waits between tries; the system's source where it is not given.
            turn: batches what is sent; one of its own where it is not given.
            who: asks, for the registry's log (its address where that is empty); what is registered over a connection
                cannot be changed over an earlier one that said the same.
            timeout_s: how long an answer may take, unless said otherwise.
            trust: what proves to the registry who this is; without one it may have to look only.
            tally: counts the links that this side drops.
        """
        self._clock = clock
        self._timeout_s = timeout_s
        dice = dice if dice is not None else random.SystemRandom()
        turn = turn if turn is not None else Turn(clock)
        tally = tally if tally is not None else Tally()
        self._asking = Asking(endpoint, clock, dice, turn, who, self, tally, trust)
        self._kept: dict[tuple[str, str], KeptRegistration] = {}
        self._watches: dict[int, tuple[Watch, NamesHeard]] = {}
        self._pages: dict[int, list[Registration]] = {}
        self._groups: dict[int, tuple[str, Callable[[bytes], object]]] = {}
        self._serving = 0

    @property
    def up(self) -> bool:
        """Whether the registry is reached now, and has let this client in."""
        return self._asking.up

    # Names

    def register(self, registration: Registration, token: bytes, serve: Serve | None = None) -> "Deferred[None]":
        """Register something, and keep it registered until it is withdrawn; answered when that is durable.

        To update it, register it anew. Refused as `taken`, `superseded`, `full` or `busy` it is tried again and again
        all the same, as it is where there is no answer; refused otherwise it is not kept.

        Args:
            registration: what is to be held.
            token: protects it: whoever has it may replace or withdraw the registration.
            serve: takes the calls that others make to it; None if it takes none.
        """
        key = registration.service, registration.name
        self._forget(key)
        kept = self._kept[key] = KeptRegistration(self._asking, self._clock, registration, token, serve)

        def not_registered(failure: Failure) -> Failure:
            error = failure.value
            hopeless = isinstance(error, RegistryRefused) and error.code not in TRIED_AGAIN
            if (hopeless or isinstance(error, RegistryStopped)) and self._kept.get(key) is kept:
                self._forget(key)
            return failure

        return kept.register(self._timeout_s).addErrback(not_registered)

    def withdraw(self, service: str, name: str) -> "Deferred[None]":
        """Withdraw what this client keeps registered; answered when that is durable, or it was gone already."""
        kept = self._forget((service, name))
        if kept is None:
            return fail(RegistryRefused("no-such-name", REASONS["no-such-name"]))
        token = kept.token
        withdrawing = self._asking.ask(lambda number: Withdraw(number, service, name, token), self._timeout_s)

        def gone_already(failure: Failure) -> Failure | None:
            error = failure.value
            return None if isinstance(error, RegistryRefused) and error.code == "no-such-name" else failure

        return withdrawing.addCallbacks(lambda _: None, gone_already)

    def resolve(self, service: str, name: str = "") -> "Deferred[Registration]":
        """Find one registration of a service: by its name, or, without one, the leader's."""
        resolving = self._asking.ask(lambda number: Resolve(number, service, name), self._timeout_s)
        return resolving.addCallback(lambda found: found[0])

    def list(self, *, service: str = "", kind: str = "", role: str = "") -> "Deferred[list[Registration]]":
        """Find all registrations of a service, a kind and a role, each of which may be left open; sorted by name."""
        return self._asking.ask(lambda number: Find(number, service, kind, role), self._timeout_s)

    def watch(self, heard: NamesHeard, service: str = "") -> Callable[[], None]:
        """Have somebody hear all registrations of a service (empty: of any), then changes; return what ends that.

        Raises:
            RegistryRefused: there are too many watches and groups.
        """
        number = self._standing_number()
        watch = Watch(number, service)
        self._watches[number] = watch, heard
        self._asking.say(watch)
        return lambda: self._leave(self._watches, number)

    # Calls

    def call(self, service: str, name: str, payload: bytes, timeout_s: float | None = None) -> "Deferred[bytes]":
        """Have the registry ask a server, the leader where `name` is empty; the answer is the server's.

        Refused at once where it is not there (`not-there`), does not take the call (`rejected`) or dies meanwhile
        (`gone`). It is made once: where the link breaks, whether it came through is not known.
        """
        span_s = self._timeout_s if timeout_s is None else timeout_s
        return self._asking.ask(lambda number: Call(number, service, name, payload, span_s), span_s, repeatable=False)

    # Groups

    def join(self, group: str, heard: Callable[[bytes], object]) -> Callable[[], None]:
        """Have somebody hear what a group is told (empty: what everybody is); return what ends that.

        What is told while there is no link is not heard.

        Raises:
            RegistryRefused: no group is called so, or there are too many watches and groups.
        """
        if group and not name_allowed(group):
            raise RegistryRefused("bad-name", REASONS["bad-name"])
        number = self._standing_number()
        self._groups[number] = group, heard
        if group:
            self._asking.say(Join(number, group))
        return lambda: self._leave(self._groups, number)

    def notify(self, group: str, payload: bytes) -> "Deferred[int]":
        """Tell something to everybody else in a group; the answer is how many are told."""
        return self._asking.ask(lambda number: Notify(number, group, payload), self._timeout_s, repeatable=False)

    def broadcast(self, payload: bytes) -> "Deferred[int]":
        """Tell something to everybody else who uses the registry; the answer is how many are told."""
        return self.notify("", payload)

    # Life

    def startService(self) -> None:
        """Begin to dial."""
        super().startService()
        self._asking.start()

    def stopService(self) -> "Deferred[None]":
        """End the link, and dial no more; called back when it is gone.

        Registrations are kept up no longer, and end with their leases; withdraw them before, to end them at once.
        """
        super().stopService()
        for key in list(self._kept):
            self._forget(key)
        return self._asking.stop()

    def _forget(self, key: tuple[str, str]) -> KeptRegistration | None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            kept.drop()
        return kept

    def _standing_number(self) -> int:
        if len(self._watches) + len(self._groups) >= TOPICS_PER_VISITOR_MAX:
            raise RegistryRefused("too-many", REASONS["too-many"])
        return self._asking.number()

    def _leave(self, standing: dict[int, Any], number: int) -> None:
        if standing.pop(number, None) is not None:
            self._pages.pop(number, None)
            self._asking.say(Leave(self._asking.number(), number))

    # `VisitHeard`

    def entered(self) -> None:
        """See `VisitHeard.entered`."""
        for kept in self._kept.values():
            kept.entered()
        for number, (watch, _) in self._watches.items():
            self._pages.pop(number, None)
            self._asking.say(watch)
        for number, (group, _) in self._groups.items():
            if group:
                self._asking.say(Join(number, group))

    def heard(self, message: Heard) -> None:
        """See `VisitHeard.heard`."""
        match message:
            case Asked():
                self._serve(message)
            case Told():
                for number, (group, heard) in list(self._groups.items()):
                    if number == message.number or not (group or message.number):
                        _tell(heard, message.payload)
            case Found() | Changed():
                if message.number in self._watches:
                    self._tell_watcher(self._watches[message.number][1], message)
            case _:
                assert_never(message)

    def _tell_watcher(self, watcher: NamesHeard, message: Found | Changed) -> None:
        if isinstance(message, Changed):
            _tell(watcher.name_registered if message.there else watcher.name_gone, message.registration)
            return
        pages = self._pages.setdefault(message.number, [])
        pages += message.registrations
        if not message.more:
            _tell(watcher.names_listed, self._pages.pop(message.number))

    def _serve(self, asked: Asked) -> None:
        kept = self._kept.get((asked.service, asked.name))
        if kept is None or kept.serve is None or self._serving >= SERVING_MAX:
            self._asking.say(Reject(asked.number))
            return
        self._serving += 1
        answering: Deferred[Any] = maybeDeferred(kept.serve, asked.payload)
        answering.addCallback(_checked)
        answering.addErrback(_not_served, asked)
        answering.addCallback(self._answer, asked.number, self._asking.visit)

    def _answer(self, payload: bytes | None, number: int, visit: int) -> None:
        self._serving -= 1
        # Over another link the number means another call, or none.
        if visit == self._asking.visit:
            self._asking.say(Reject(number) if payload is None else Answer(number, payload))


def _checked(payload: bytes) -> bytes:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"an answer of {len(payload)} bytes; {PAYLOAD_BYTES_MAX} are the most")
    return payload


def _not_served(failure: Failure, asked: Asked) -> None:
    if failure.check(CallRejected):
        # Anybody may call: that is no failure of this program.
        why = failure.getErrorMessage()
        log.info("a call to {service}/{name} is rejected: {why}", service=asked.service, name=asked.name, why=why)
    else:
        log.failure("a call to {service}/{name} has failed", failure, service=asked.service, name=asked.name)


def _tell(heard: Callable[[Any], object], what: Any) -> None:
    try:
        heard(what)
    except Exception:
        log.failure("whoever hears of the registry failed; the others go on")
