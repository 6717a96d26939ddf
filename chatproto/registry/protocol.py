"""The registry's side of its links: frames to the witness, and what the witness decides back to frames."""

from collections.abc import Callable
from functools import partial
from typing import assert_never

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import WireError
from chatproto.link import FrameLink, Turn
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
    decode_from_node,
    encode,
)
from chatproto.registry.rules import ALARMS, DENIALS
from chatproto.registry.witness import Abort, Effect, End, Keep, Send, Witness

LINKS_MAX = 256
BACKLOG_BYTES_MAX = 64 * 1024

log = Logger()

_BEAT = encode(Beat())


class RegistryLink(FrameLink):
    """One node's connection to the registry.

    Attributes:
        number: of the connection, among all that the registry has had in this life.
        who: the service and the node, once it has said hello; for logs.
        ended_here: whether this side ended it.
        denied: the denial that was logged last.
    """

    def __init__(self, factory: "RegistryLinkFactory", number: int, turn: Turn, clock: IReactorTime) -> None:
        """Make a link that is not connected yet; `RegistryLinkFactory` does."""
        super().__init__(turn, clock, BACKLOG_BYTES_MAX, FRAME_BYTES_MAX)
        self.number = number
        self.who = ""
        self.ended_here = False
        self.denied: Denied | None = None
        self._registry = factory
        self._made = 0.0

    def connectionMade(self) -> None:
        """Wait for a hello."""
        super().connectionMade()
        transport = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        self._made = self.clock.seconds()
        self._registry.came(self)
        self.start_heartbeat(self._registry.heartbeat_s, self._registry.suspect_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the witness."""
        super().connectionLost(reason)
        self._registry.went(self)

    def ping(self) -> None:
        """Say that the registry lives; to a node that has not said hello by now, no more."""
        if not self.who and self.clock.seconds() - self._made >= self._registry.suspect_s:
            log.info("aborting a link to {peer}, which has not said hello", peer=str(self.transport.getPeer()))
            self.abort()
        self.send(_BEAT)

    def frameReceived(self, frame: bytes) -> None:
        """Hand a message to the witness."""
        message = decode_from_node(frame)
        if isinstance(message, Hello) == bool(self.who):
            raise WireError("a hello comes first, and only then")
        if isinstance(message, Hello):
            self.who = f"{message.service}/{message.node}"
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
    """Makes the links of the registry, bounds how many there are, and does what the witness decides.

    Attributes:
        links: every connection, by number.
        heartbeat_s: after so long each side says that it lives.
        suspect_s: a link that is silent for so long is aborted.
    """

    noisy = False

    def __init__(self, turn: Turn, clock: IReactorTime, heartbeat_s: float, suspect_s: float) -> None:
        """Make a factory that turns everybody away until it may `serve`."""
        self.links: dict[int, RegistryLink] = {}
        self.heartbeat_s = heartbeat_s
        self.suspect_s = suspect_s
        self._turn = turn
        self._clock = clock
        self._numbers = 0
        self._witness: Witness | None = None
        self._keep: Callable[[bytes, Callable[[], None]], None]

    def serve(self, witness: Witness, keep: Callable[[bytes, Callable[[], None]], None]) -> None:
        """Let nodes in.

        Args:
            witness: judges.
            keep: makes the witness's state durable, in the order of the calls, and then calls what it was handed.
        """
        self._witness = witness
        self._keep = keep

    def stop(self) -> None:
        """Turn everybody away again, and take no more from those who are in."""
        self._witness = None
        for link in list(self.links.values()):
            link.close()

    def buildProtocol(self, addr: IAddress | None) -> RegistryLink | None:
        """Make the link of a connection; none if there are too many."""
        if self._witness is None:
            return None
        if len(self.links) >= LINKS_MAX:
            log.warn("refusing a connection: there are {count}; who else connects to the registry?", count=LINKS_MAX)
            return None
        self._numbers += 1
        return RegistryLink(self, self._numbers, self._turn, self._clock)

    # From the links

    def came(self, link: RegistryLink) -> None:
        """Count a connection."""
        self.links[link.number] = link

    def went(self, link: RegistryLink) -> None:
        """Count a connection off."""
        del self.links[link.number]
        if self._witness is not None:
            self._witness.gone(link.number, closed=not link.ended_here, now=self._clock.seconds())

    def received(self, link: RegistryLink, message: FromNode) -> None:
        """Have the witness judge what came on a connection."""
        witness, now = self._witness, self._clock.seconds()
        if witness is None:
            return
        match message:
            case Beat():
                witness.heard(link.number, now)
            case Hello():
                self._do(witness.hello(link.number, message, now))
            case Claim():
                self._do(witness.claim(link.number, message, now))
            case Propose():
                self._do(witness.propose(link.number, message, now))
            case _:
                assert_never(message)

    # Effects

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect)
                case Keep():
                    self._keep(effect.state, partial(self._kept, effect.service))
                case Abort():
                    self._abort(effect.to)
                case End():
                    self.links[effect.to].close()
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
        link.send(encode(message))

    def _abort(self, number: int) -> None:
        link = self.links[number]
        log.info("{who} has connected again; if it always does, two processes have its name", who=link.who)
        link.abort()

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
