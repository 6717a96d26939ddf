"""The registry's side of its links: frames to the witness or the desk, and what these decide back to frames."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import assert_never

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import Unproven, WireError
from chatproto.gate import Gate, Limits
from chatproto.link import Link, Turn
from chatproto.registry.desk import Desk, DeskEffect, KeepNames
from chatproto.registry.messages import (
    FRAME_BYTES_MAX,
    REFUSALS,
    Beat,
    Claim,
    Denied,
    FromNode,
    Hello,
    Propose,
    Refused,
    encode,
)
from chatproto.registry.names import OURS, REASONS
from chatproto.registry.requests import (
    VISITOR_FRAME_BYTES_MAX,
    Call,
    Enter,
    Failed,
    FromVisitor,
    Notify,
    Register,
    Renew,
    Withdraw,
    decode_from_anybody,
)
from chatproto.registry.rules import ALARMS, DENIALS
from chatproto.registry.shelf import Shelf
from chatproto.registry.witness import Abort, Effect, End, Keep, Send, Witness
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.link import GuardedLink
from chatproto.trust.proof import REGISTRY, Proof

LIMITS = Limits(connections_max=512, per_address_max=128, strangers_max=256, arrivals_a_second=50, arrivals_at_once=256)
"""More strangers than the reactor takes in at once; with as many visitors as the desk serves, there is still room for
nodes."""

BACKLOG_BYTES_MAX = 64 * 1024
VISITOR_BACKLOG_BYTES_MAX = 1024 * 1024
"""All that may be registered fits in it."""

FAILURE_ALARMS = frozenset({"taken", "wrong-token", "superseded", "full", "too-many", "unproven"})
"""Refusals of visitors that somebody should look into."""

log = Logger()

_BEAT = encode(Beat())


class RegistryLink(GuardedLink):
    """One connection to the registry: a node's, or a visitor's, which its first message decides.

    Attributes:
        number: of the connection, among all that the registry has had in this life.
        who: the service and the node, or whatever a visitor calls itself, once it has said so; for logs.
        visits: whether it is a visitor's.
        ended_here: whether this side ended it.
        denied: the denial that was logged last.
        failed: the codes of failures that were logged.
    """

    def __init__(
        self, factory: "RegistryLinkFactory", number: int, turn: Turn, clock: IReactorTime, trust: Trust
    ) -> None:
        """Make a link that is not connected yet; `RegistryLinkFactory` does."""
        super().__init__(REGISTRY, False, trust, turn, clock, BACKLOG_BYTES_MAX, FRAME_BYTES_MAX, factory.gate)
        self.number = number
        self.who = ""
        self.visits = False
        self.ended_here = False
        self.denied: Denied | None = None
        self.failed: set[str] = set()
        self._registry = factory

    def connectionMade(self) -> None:
        """Be counted."""
        self._registry.came(self)
        super().connectionMade()

    def admitted(self) -> None:
        """Wait for a hello."""
        self.start_heartbeat(self._registry.heartbeat_s, self._registry.suspect_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        self._registry.went(self)

    def ping(self) -> None:
        """Say that the registry lives."""
        self.send(_BEAT)

    def messageReceived(self, frame: bytes) -> None:
        """Hand a message on."""
        message = decode_from_anybody(frame)
        if isinstance(message, Hello | Enter) == bool(self.who):
            raise WireError("a hello comes first, and only then")
        if isinstance(message, Hello):
            self.who = f"{message.service}/{message.node}"
            try:
                self.check_name(message.node)
            except Unproven as error:
                # It is told, or it could only guess why it is not let in.
                self.drop(error.reason, str(error), last=encode(Refused("unproven")))
                return
        elif isinstance(message, Enter):
            self.who = message.who or str(self.transport.getPeer())
            self.visits = True
            self._frames.frame_bytes_max = VISITOR_FRAME_BYTES_MAX
            self.backlog_bytes_max = VISITOR_BACKLOG_BYTES_MAX
        self.introduced()
        self._registry.received(self, message)

    def close(self, last: bytes = b"") -> None:
        """End politely."""
        self.ended_here = True
        super().close(last)

    def abort(self) -> None:
        """End at once."""
        self.ended_here = True
        super().abort()


class RegistryLinkFactory(Factory):
    """Makes the links of the registry, bounds how many there are, and does what witness and desk decide.

    Attributes:
        links: every connection, by number.
        gate: bounds how many there are.
        heartbeat_s: after so long each side says that it lives.
        suspect_s: a link that is silent for so long is aborted.
    """

    noisy = False

    def __init__(
        self,
        turn: Turn,
        clock: IReactorTime,
        heartbeat_s: float,
        suspect_s: float,
        tally: Tally,
        limits: Limits = LIMITS,
        trust: Trust = BELIEVING,
    ) -> None:
        """Make a factory that turns everybody away until it may `serve`, and has what it drops counted.

        Whoever proves nothing, as far as `trust` asks for it, may look, and change nothing.
        """
        self.links: dict[int, RegistryLink] = {}
        self.gate: Gate[Link] = Gate("registry", tally, lambda: limits)
        self.heartbeat_s = heartbeat_s
        self.suspect_s = suspect_s
        self._turn = turn
        self._clock = clock
        self._trust = trust
        self._numbers = 0
        self._timer: IDelayedCall | None = None
        self._witness: Witness | None = None
        self._desk: Desk
        self._shelf: Shelf
        self._keep: Callable[[bytes, Callable[[], None]], None]

    def serve(
        self, witness: Witness, desk: Desk, shelf: Shelf, keep: Callable[[bytes, Callable[[], None]], None]
    ) -> None:
        """Let nodes and visitors in.

        Args:
            witness: judges what nodes propose.
            desk: answers visitors.
            shelf: has what is durable of both.
            keep: makes that durable, in the order of the calls, and then calls what it was handed.
        """
        self._witness, self._desk, self._shelf = witness, desk, shelf
        self._keep = keep
        self._await_tick()

    def stop(self) -> None:
        """Turn everybody away again, and take no more from those who are in."""
        self._witness = None
        self._cancel_timer()
        for link in list(self.links.values()):
            link.close()

    def buildProtocol(self, addr: IAddress | None) -> RegistryLink | None:
        """Make the link of a connection; none where nobody is served."""
        if self._witness is None:
            return None
        self._numbers += 1
        return RegistryLink(self, self._numbers, self._turn, self._clock, self._trust)

    # From the links

    def came(self, link: RegistryLink) -> None:
        """Count a connection."""
        self.links[link.number] = link

    def went(self, link: RegistryLink) -> None:
        """Count a connection off."""
        del self.links[link.number]
        if self._witness is None:
            return
        if link.visits:
            self._do(self._desk.gone(link.number))
        else:
            self._witness.gone(link.number, closed=not link.ended_here, now=self._clock.seconds())

    def received(self, link: RegistryLink, message: FromNode | FromVisitor) -> None:
        """Have the witness judge, or the desk answer, what came on a connection.

        Raises:
            WireError: a node says what only visitors say, or the other way round.
        """
        witness, now = self._witness, self._clock.seconds()
        if witness is None:
            return
        match message:
            case Beat():
                witness.heard(link.number, now)
            case Hello():
                self._do(witness.hello(link.number, message, now))
            case Enter():
                self._do(self._desk.enter(link.number, message))
            case Claim() | Propose() if link.visits:
                raise WireError("a visitor has no say in who leads")
            case Claim():
                self._do(witness.claim(link.number, message, now))
            case Propose():
                self._do(witness.propose(link.number, message, now))
            case _ if not link.visits:
                raise WireError("a node that has not entered asks for names")
            case Register() | Renew() | Withdraw() | Notify() | Call() if not _may_ask(link.proof, message):
                self._do([Send(link.number, Failed(message.number, "unproven"))])
            case _:
                self._do(self._desk.received(link.number, message, now))
                self._await_tick()

    # Time

    def _await_tick(self) -> None:
        self._cancel_timer()
        wakeup = self._desk.next_wakeup()
        if wakeup is not None:
            self._timer = self._clock.callLater(max(0.0, wakeup - self._clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._do(self._desk.tick(self._clock.seconds()))
        self._await_tick()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # Effects

    def _do(self, effects: Sequence[Effect | DeskEffect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect)
                case Keep():
                    self._keep(self._shelf.put_witness(effect.state), partial(self._kept, effect.service))
                case KeepNames():
                    self._keep(self._shelf.put_names(effect.names), self._names_kept)
                case Abort():
                    self._abort(effect.to)
                case End():
                    self.links[effect.to].drop("refused", last=b"")
                case _:
                    assert_never(effect)

    def _send(self, effect: Send) -> None:
        link, message = self.links[effect.to], effect.message
        # A node that is denied asks again and again.
        if isinstance(message, Denied) and message != link.denied:
            link.denied = message
            tell = log.warn if message.reason in ALARMS else log.info
            tell("{who} is denied epoch {epoch}: {why}", who=link.who, epoch=message.epoch, why=DENIALS[message.reason])
        elif isinstance(message, Refused):
            log.warn("{who} is refused: {why}", who=link.who, why=REFUSALS[message.reason])
        elif isinstance(message, Failed) and message.code not in link.failed:
            link.failed.add(message.code)
            tell = log.warn if message.code in FAILURE_ALARMS else log.info
            tell("{who} is refused ({code}): {why}", who=link.who, code=message.code, why=REASONS[message.code])
        link.send(encode(message))

    def _abort(self, number: int) -> None:
        link = self.links[number]
        log.info("{who} has connected again; if it always does, two processes have its name", who=link.who)
        link.drop("replaced")

    def _kept(self, service: str) -> None:
        witness = self._witness
        if witness is None:
            return
        effects = witness.kept(service)
        held = witness.held(service)
        assert held is not None
        log.info(
            "{service} has epoch {epoch} now: {leader} leads, members are {members}",
            service=service,
            epoch=held.epoch,
            leader=held.leader,
            members=" ".join(held.members),
        )
        self._do(effects)

    def _names_kept(self) -> None:
        if self._witness is not None:
            self._do(self._desk.kept())


def _may_ask(proof: Proof, request: Register | Renew | Withdraw | Notify | Call) -> bool:
    """Whether somebody may: change a name that it has proven; as one of us, tell groups, and ask what is ours."""
    match request:
        case Call():
            return proof.proven or not request.payload.startswith(OURS)
        case Notify():
            return proof.proven
        case Register():
            return proof.covers(request.registration.name)
        case _:
            return proof.covers(request.name)
