"""A link on which nothing is said, and nothing is heard, before it is known who is at the other end."""

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import Unproven
from chatproto.gate import Gate
from chatproto.link import FrameLink, Link, Turn
from chatproto.trust.interface import Exchange, Trust
from chatproto.trust.proof import REASONS, LinkRefused, Proof
from chatproto.trust.secret import FRAME_BYTES_MAX, Step
from chatproto.wire import framed

PROOF_S_MAX = 2.0
"""An exchange that takes longer is given up."""

log = Logger()


class GuardedLink(FrameLink):
    """A link of frames between nodes, or to the registry.

    A subclass has `linked` and `admitted` in place of `connectionMade`, and `messageReceived` in place of
    `frameReceived`.
    """

    def __init__(
        self,
        door: str,
        dialled: bool,
        trust: Trust,
        turn: Turn,
        clock: IReactorTime,
        backlog_bytes_max: int,
        frame_bytes_max: int,
        gate: Gate[Link] | None = None,
        hello_bytes_max: int | None = None,
    ) -> None:
        """Make a link at a door, that this side has dialled or not, and that is guarded as `trust` says."""
        super().__init__(turn, clock, backlog_bytes_max, frame_bytes_max, gate, hello_bytes_max)
        self._door = door
        self._trust = trust
        self._exchange: Exchange | None = trust.exchange(door, dialled=dialled)
        self._frame_bytes_max = frame_bytes_max
        self._proof: Proof | None = None

    # For subclasses

    @property
    def cleared(self) -> bool:
        """Whether the link may be spoken on."""
        return self.open and self._exchange is None

    @property
    def proof(self) -> Proof:
        """What the other side has proven; to be asked for once it has said something."""
        if self._proof is None:
            self._proof = self._trust.proof(self.transport)
        return self._proof

    def check_name(self, name: str) -> None:
        """Check that the other side may call itself so.

        Raises:
            Unproven: it may not; in `messageReceived`, that refuses the link.
        """
        if not self.proof.proven:
            raise Unproven(self._trust.missing, REASONS[self._trust.missing])
        if not self.proof.covers(name):
            proven = ", ".join(self.proof.names or ())
            raise Unproven("wrong-name", f"it says that it is {name}, and has proven to be {proven}")

    def linked(self) -> None:
        """Hear that there is a connection, on which nothing may be said yet."""

    def admitted(self) -> None:
        """Hear that the link may be spoken on."""

    def messageReceived(self, frame: bytes) -> None:
        """Take a whole frame, as `frameReceived` does.

        Raises:
            WireError: it is not of the protocol.
        """

    # The exchange

    def connectionMade(self) -> None:
        """Begin with the proof, where there is an exchange for it; with TLS the transport takes care of that."""
        super().connectionMade()
        self.linked()
        if not self.open:
            return
        if self._exchange is None:
            self.admitted()
            return
        # As long as nobody knows who it is, it cannot have much held here, or for long.
        self._frames.frame_bytes_max = FRAME_BYTES_MAX
        self._timer = self.clock.callLater(PROOF_S_MAX, self._give_up)
        self._take(self._exchange.begin())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Have it told why, if the transport knows."""
        refusal = self._trust.ended(self.transport, reason)
        if refusal is not None:
            self._refused(refusal)
        super().connectionLost(reason)

    def frameReceived(self, frame: bytes) -> None:
        """Take a frame of the exchange, or one of whoever has proven who it is."""
        try:
            if self._exchange is not None:
                self._take(self._exchange.received(frame))
            else:
                self.messageReceived(frame)
        except Unproven as error:
            self.drop(error.reason, str(error))

    def _refused(self, refusal: LinkRefused, last: bytes | None = None) -> None:
        """Have it told that a link is refused: dropped by this side, or ended by the other, which is not counted."""
        if not refusal.told:
            self.drop(refusal.reason, refusal.why, last)
        elif self.open and self.gate.worth_telling(f"told {refusal.reason}", self.clock.seconds()):
            log.warn(
                "refused at {door}: {reason}, {peer}: of this node it is said, {why}",
                door=self._door,
                reason=refusal.reason,
                peer=str(self.transport.getPeer()),
                why=refusal.why,
            )

    def _take(self, step: Step) -> None:
        if step.send:
            self.send(framed(step.send))
        if step.refusal:
            self._refused(LinkRefused(step.refusal, REASONS[step.refusal], step.told), last=b"")
            self.close()
        elif step.proof is not None:
            self._exchange, self._proof = None, step.proof
            self._frames.frame_bytes_max = self._frame_bytes_max
            self._cancel_timer()
            self.admitted()
            if step.unread is not None:
                self.frameReceived(step.unread)

    def _give_up(self) -> None:
        self._timer = None
        self.drop("too-slow", REASONS["too-slow"])
