"""What the registry does for its visitors: names, calls passed on, groups. Pure.

What happens on their connections comes in by a method, with `now` in seconds of any clock that only goes forward; what
is to be done goes out as effects, in order. A connection is known by a number that is never used again.
"""

from typing import assert_never

import msgspec

from chatproto.pair.configuration import name_allowed
from chatproto.registry.messages import VERSION, Refused
from chatproto.registry.names import PAYLOAD_BYTES_MAX, KeptName, Names, Refusal, Registration
from chatproto.registry.requests import (
    PAGE_MAX,
    Answer,
    Answered,
    Asked,
    Call,
    Changed,
    Done,
    Enter,
    Entered,
    Failed,
    Find,
    Found,
    Join,
    Leave,
    Notify,
    Register,
    Reject,
    Renew,
    Request,
    Resolve,
    Told,
    Watch,
    Withdraw,
)
from chatproto.registry.subscriptions import Subscriptions, Topic
from chatproto.registry.witness import End, Send

VISITORS_MAX = 192
CALLS_MAX = 1024
CALLS_PER_SERVER_MAX = 64
CALLS_PER_VISITOR_MAX = 64
CALL_S_MAX = 60.0


class KeepNames(msgspec.Struct, frozen=True):
    """Make what is registered durable, in the order asked for, then call `Desk.kept`."""

    names: list[KeptName]


DeskEffect = Send | End | KeepNames


class _Call:
    """A call that was passed on to a server, and what it is to its caller."""

    def __init__(self, caller: int, number: int, server: int, until: float) -> None:
        self.caller = caller
        self.number = number
        self.server = server
        self.until = until


class Desk:
    """Answers visitors from the table of names, and passes on what they say to each other.

    Attributes:
        names: the table, for whoever looks names up in this process.
    """

    def __init__(self, names: Names, heartbeat_s: float, suspect_s: float) -> None:
        """Begin without visitors.

        Args:
            names: what is registered.
            heartbeat_s: told to visitors: how often both sides are to beat.
            suspect_s: told to visitors: the silence after which either side gives the other up.
        """
        self.names = names
        self._entered = Entered(heartbeat_s, suspect_s)
        self._visitors: dict[int, None] = {}
        self._heard = Subscriptions()
        # Over which connection a registration takes calls.
        self._servers: dict[tuple[str, str], int] = {}
        self._calls: dict[int, _Call] = {}
        self._calls_ever = 0
        # Whom to answer when what was asked to be kept is: a connection and its request; None for nobody.
        self._keeping: list[tuple[int, int] | None] = []

    # What happens

    def enter(self, at: int, enter: Enter) -> list[DeskEffect]:
        """Let a visitor in, or not."""
        if enter.version != VERSION:
            return [Send(at, Refused("version")), End(at)]
        if len(self._visitors) >= VISITORS_MAX:
            return [Send(at, Refused("crowded")), End(at)]
        self._visitors[at] = None
        return [Send(at, self._entered)]

    def received(self, at: int, message: Request | Answer | Reject, now: float) -> list[DeskEffect]:
        """Do what a visitor asks for, or tell it why not."""
        if at not in self._visitors:
            return []
        effects = self.tick(now)
        if isinstance(message, Answer | Reject):
            return effects + self._answer(at, message)
        try:
            return effects + self._do(at, message, now)
        except Refusal as refusal:
            return [*effects, Send(at, Failed(message.number, refusal.code))]

    def kept(self) -> list[DeskEffect]:
        """Hear that what was to be made durable first is: whoever asked for it is told."""
        asked = self._keeping.pop(0)
        return [Send(asked[0], Done(asked[1]))] if asked is not None and asked[0] in self._visitors else []

    def gone(self, at: int) -> list[DeskEffect]:
        """Hear that a connection is lost. What was registered over it stays until its lease is over."""
        if at not in self._visitors:
            return []
        del self._visitors[at]
        self._heard.gone(at)
        self._servers = {key: server for key, server in self._servers.items() if server != at}
        effects: list[DeskEffect] = []
        for number, call in list(self._calls.items()):
            if at in (call.caller, call.server):
                del self._calls[number]
                if at != call.caller:
                    effects.append(Send(call.caller, Failed(call.number, "gone")))
        return effects

    # Time

    def next_wakeup(self) -> float | None:
        """Return when `tick` is to be called at the latest; None for never."""
        ends = [call.until for call in self._calls.values()]
        lease = self.names.next_wakeup()
        return min(ends if lease is None else [*ends, lease], default=None)

    def tick(self, now: float) -> list[DeskEffect]:
        """End what was not renewed, or not answered, in time."""
        effects: list[DeskEffect] = []
        over = self.names.tick(now)
        for registration in over:
            self._servers.pop((registration.service, registration.name), None)
            effects += self._tell_change(registration, there=False)
        if over:
            effects.append(self._keep(None))
        for number, call in list(self._calls.items()):
            if call.until <= now:
                del self._calls[number]
                effects.append(Send(call.caller, Failed(call.number, "no-answer")))
        return effects

    # Requests

    def _do(self, at: int, request: Request, now: float) -> list[DeskEffect]:
        """Do what a request asks for.

        Raises:
            Refusal: not so.
        """
        match request:
            case Register():
                return self._register(at, request, now)
            case Renew():
                self.names.renew(request.service, request.name, request.token, now)
                return [Send(at, Done(request.number))]
            case Withdraw():
                return self._withdraw(at, request)
            case Resolve():
                return [Send(at, Found(request.number, [self.names.resolve(request.service, request.name)], False))]
            case Find():
                found = self.names.list(service=request.service, kind=request.kind, role=request.role)
                return _pages(at, request.number, found)
            case Watch():
                return self._watch(at, request)
            case Join():
                return self._join(at, request)
            case Leave():
                self._heard.drop(at, request.of)
                return [Send(at, Done(request.number))]
            case Notify():
                return self._notify(at, request)
            case Call():
                return self._call(at, request, now)
            case _:
                assert_never(request)

    def _register(self, at: int, request: Register, now: float) -> list[DeskEffect]:
        registration = request.registration
        changed = self.names.register(registration, request.token, now)
        key = registration.service, registration.name
        if request.serves:
            self._servers[key] = at
        else:
            self._servers.pop(key, None)
        if not changed and not self._keeping:
            return [Send(at, Done(request.number))]
        told = self._tell_change(registration, there=True) if changed else []
        return [*told, self._keep((at, request.number))]

    def _withdraw(self, at: int, request: Withdraw) -> list[DeskEffect]:
        registration = self.names.withdraw(request.service, request.name, request.token)
        self._servers.pop((request.service, request.name), None)
        return [*self._tell_change(registration, there=False), self._keep((at, request.number))]

    def _keep(self, asked: tuple[int, int] | None) -> KeepNames:
        self._keeping.append(asked)
        return KeepNames(list(self.names.kept()))

    # Groups

    def _watch(self, at: int, request: Watch) -> list[DeskEffect]:
        self._subscribe(("service", request.service), at, request.number)
        return _pages(at, request.number, self.names.list(service=request.service))

    def _join(self, at: int, request: Join) -> list[DeskEffect]:
        if not name_allowed(request.group):
            raise Refusal("bad-name")
        self._subscribe(("group", request.group), at, request.number)
        return [Send(at, Done(request.number))]

    def _subscribe(self, topic: Topic, at: int, number: int) -> None:
        if not self._heard.add(topic, at, number):
            raise Refusal("too-many")

    def _notify(self, at: int, request: Notify) -> list[DeskEffect]:
        if len(request.payload) > PAYLOAD_BYTES_MAX:
            raise Refusal("too-large")
        if request.group:
            hearers = self._heard.hearers(("group", request.group))
        else:
            hearers = [(visitor, 0) for visitor in self._visitors]
        others = [(to, number) for to, number in hearers if to != at]
        told: list[DeskEffect] = [Send(to, Told(number, request.payload)) for to, number in others]
        return [*told, Send(at, Done(request.number, len({to for to, _ in others})))]

    def _tell_change(self, registration: Registration, *, there: bool) -> list[DeskEffect]:
        hearers = self._heard.hearers(("service", registration.service)) + self._heard.hearers(("service", ""))
        return [Send(to, Changed(number, registration, there)) for to, number in hearers]

    # Calls

    def _call(self, at: int, request: Call, now: float) -> list[DeskEffect]:
        name = request.name or self.names.resolve(request.service).name
        server = self._servers.get((request.service, name))
        if server is None:
            raise Refusal("not-there")
        if len(request.payload) > PAYLOAD_BYTES_MAX:
            raise Refusal("too-large")
        calls = self._calls.values()
        if (
            len(calls) >= CALLS_MAX
            or sum(call.server == server for call in calls) >= CALLS_PER_SERVER_MAX
            or sum(call.caller == at for call in calls) >= CALLS_PER_VISITOR_MAX
        ):
            raise Refusal("busy")
        timeout_s = request.timeout_s if 0 < request.timeout_s < CALL_S_MAX else CALL_S_MAX
        self._calls_ever += 1
        self._calls[self._calls_ever] = _Call(at, request.number, server, now + timeout_s)
        return [Send(server, Asked(self._calls_ever, request.service, name, request.payload))]

    def _answer(self, at: int, answer: Answer | Reject) -> list[DeskEffect]:
        call = self._calls.get(answer.number)
        if call is None or call.server != at:
            # Too late, or not its to answer.
            return []
        del self._calls[answer.number]
        if isinstance(answer, Reject):
            return [Send(call.caller, Failed(call.number, "rejected"))]
        if len(answer.payload) > PAYLOAD_BYTES_MAX:
            return [Send(call.caller, Failed(call.number, "too-large"))]
        return [Send(call.caller, Answered(call.number, answer.payload))]


def _pages(at: int, number: int, found: list[Registration]) -> list[DeskEffect]:
    cuts = range(0, max(1, len(found)), PAGE_MAX)
    return [Send(at, Found(number, found[cut : cut + PAGE_MAX], cut + PAGE_MAX < len(found))) for cut in cuts]
