"""The Twisted protocol that every link shares: framing, heartbeat, turn batching, back-pressure.

All that is sent in one reactor turn leaves in one write. On plain TCP and Unix sockets that write is one `send`
on the socket at once, two to three times cheaper than the reactor's write path, which takes over
as soon as the socket takes less than it was given. Everywhere else (TLS, simulation) the write path is all there is.
"""

import socket
from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.errors import WireError
from chatproto.gate import Gate
from chatproto.tally import Tally
from chatproto.wire import FrameBuffer, LineBuffer

LINGER_S_MAX = 5.0
"""How long a polite close waits for a peer that does not read."""
LEISURE_A_TURN_MAX = 50
"""Links that are written to at leisure before what has arrived meanwhile is heard; a write takes 5 to 10 µs."""

log = Logger()


class Turn:
    """What is to be done once, when everything that arrived in this reactor turn has been heard."""

    def __init__(self, clock: IReactorTime) -> None:
        """Take the clock whose `callLater(0, …)` runs before the reactor waits again."""
        self._clock = clock
        self._calls: list[Callable[[], None]] = []
        self._leisurely: deque[Link] = deque()
        self._due = False

    def at_end(self, call: Callable[[], None]) -> None:
        """Have something called at the end of this turn, in the order asked for."""
        self._calls.append(call)
        if not self._due:
            self._wake()

    def flush_at_leisure(self, link: "Link") -> None:
        """Have a link flushed after that, or in a turn to come, for in each there is time for some of them."""
        # Not its bound method: thousands of those have the collector of garbage stop everything, again and again.
        self._leisurely.append(link)
        if not self._due:
            self._wake()

    def _wake(self) -> None:
        self._due = True
        self._clock.callLater(0, self._end)

    def _end(self) -> None:
        self._due = False
        calls, self._calls = self._calls, []
        leisurely = self._leisurely
        if leisurely:
            calls += [leisurely.popleft().flush for _ in range(min(len(leisurely), LEISURE_A_TURN_MAX))]
        for call in calls:
            try:
                call()
            except Exception:
                log.failure("a call at the end of a turn failed; the others go on")
        if leisurely and not self._due:
            self._wake()


class ILinkTransport(ITCPTransport, IConsumer, IPushProducer):
    """What a link needs of its transport, and every stream transport of Twisted has."""


@implementer(IPushProducer, IPullProducer)
class Link(Protocol):
    """One connection: batched writes, a bounded backlog, a heartbeat, two ways to end, and a gate it came in by.

    A subclass hears `overflowed` when the peer does not read and `backlog_bytes_max` is passed, and is asked to
    `ping` while a heartbeat runs. It frames what `dataReceived` brings, calling up first, and is a stranger's until it
    is `introduced`.

    Attributes:
        open: whether it is connected, and not about to end.
        gate: counts it, and why it is dropped.
    """

    transport: ILinkTransport

    def __init__(
        self, turn: Turn, clock: IReactorTime, backlog_bytes_max: int, gate: "Gate[Link] | None" = None
    ) -> None:
        """Make a link that is not connected yet; without a gate it is let in, and nobody learns why it is dropped."""
        self.turn = turn
        self.clock = clock
        self.backlog_bytes_max = backlog_bytes_max
        self.gate: Gate[Link] = gate if gate is not None else Gate("", Tally())
        self.open = False
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._below_bytes = 0
        self._clear = True
        # What is queued is written at leisure.
        self._leisurely = False
        self._send_now: Callable[[bytes], int] | None = None
        self._when_clear: Callable[[], None] | None = None
        self._timer: IDelayedCall | None = None
        self._heard = False
        self._reading_held: set[str] | None = None

    def connectionMade(self) -> None:
        """Start, if there is room for it; a subclass calls up first, and goes on only if it is `open`."""
        self.open = True
        transport = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            # All of a turn leaves in one write, so there is nothing to wait for.
            transport.setTcpNoDelay(True)
        handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
        # A TLS transport's handle is not a socket: it must not be written to behind the transport's back.
        if isinstance(handle, socket.socket):
            self._send_now = handle.send
        else:
            transport.registerProducer(self, True)
        no_room = self.gate.came(self, getattr(transport.getPeer(), "host", None))
        if no_room is not None:
            link, reason = no_room
            link.turned_away(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop; a subclass calls up."""
        self.open = False
        self._queue.clear()
        self._queued_bytes = self._below_bytes = 0
        self._when_clear = self._send_now = None
        self._cancel_timer()
        self.gate.went(self)

    # Who it is

    def introduced(self) -> None:
        """Note that the peer has said who it is, as far as this link's protocol asks it to."""
        self.gate.introduced(self)

    def turned_away(self, reason: str) -> None:
        """Hear that there is no room, or none any more, for whoever this is."""
        self.drop(reason)

    # Out

    @property
    def backlog_bytes(self) -> int:
        """What the peer has not taken yet and is held here."""
        return self._queued_bytes + self._below_bytes

    def send(self, data: bytes) -> None:
        """Send whole frames, with all else of this turn; nothing once the link is closing."""
        if not self.open:
            return
        queue = self._queue
        if self._clear and (not queue or self._leisurely):
            self._leisurely = False
            self.turn.at_end(self.flush)
        queue.append(data)
        self._queued_bytes += len(data)
        if not self._clear and self._queued_bytes + self._below_bytes > self.backlog_bytes_max:
            self.overflowed()

    def send_at_leisure(self, data: bytes) -> None:
        """Send whole frames that go to very many: links that have other things to send are not to wait for it.

        It is written in a turn to come, with what was queued until then; or with what is sent otherwise before that.
        """
        if not self.open or not self._clear or (self._queue and not self._leisurely):
            self.send(data)
            return
        if not self._leisurely:
            self._leisurely = True
            self.turn.flush_at_leisure(self)
        self._queue.append(data)
        self._queued_bytes += len(data)

    def when_clear(self, call: Callable[[], None]) -> None:
        """Have something called, once, after the next flush that leaves no backlog."""
        if not self.open:
            return  # Only the end is waited for now.
        self._when_clear = call
        if self._clear and not self._queue:
            self.turn.at_end(self.flush)

    def flush(self) -> None:
        """Write what is queued, if the peer has taken what came before."""
        if not self._clear:
            return
        queue = self._queue
        if queue:
            data = queue[0] if len(queue) == 1 else b"".join(queue)
            queue.clear()
            self._queued_bytes = 0
            self._leisurely = False
            if self._send_now is None:
                self.transport.write(data)
            else:
                self._send_directly(data)
        if self._when_clear is not None and self._clear:
            call, self._when_clear = self._when_clear, None
            call()

    def _send_directly(self, data: bytes) -> None:
        assert self._send_now is not None
        try:
            sent = self._send_now(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop("broken")
            return
        if sent == len(data):
            return
        # A pull producer is asked for more whenever the transport's buffer is empty, and once at
        # once, while `_clear` is still true; from here to the next asking, the transport has the floor.
        self.transport.registerProducer(self, False)
        self._clear = False
        self._below_bytes = len(data) - sent
        self.transport.write(data[sent:])
        if self._below_bytes > self.backlog_bytes_max and self.open:
            self.overflowed()

    def resumeProducing(self) -> None:
        """Called by the transport: what it had has been taken."""
        if self._clear:
            return
        if self._send_now is not None:
            self.transport.unregisterProducer()
        self._clear = True
        self._below_bytes = 0
        self.flush()

    def pauseProducing(self) -> None:
        """Called by a transport that is not written to directly: the peer is slower than we are."""
        self._clear = False

    def stopProducing(self) -> None:
        """Called by a transport that has gone; `connectionLost` follows."""

    def overflowed(self) -> None:
        """Decide what becomes of a peer that does not read; the default is the impolite end."""
        self.drop("backlog")

    # In

    def dataReceived(self, data: bytes) -> None:
        """Note that the peer lives; a subclass calls up first."""
        self._heard = True

    @property
    def held(self) -> bool:
        """Whether reading is stopped."""
        return bool(self._reading_held)

    def hold_reading(self, reason: str) -> None:
        """Stop reading until every reason given has been released."""
        if self._reading_held is None:
            self._reading_held = set()
        if not self._reading_held and self.open:
            self.transport.pauseProducing()
        self._reading_held.add(reason)

    def release_reading(self, reason: str) -> None:
        """Take one reason back."""
        if self._reading_held:
            self._reading_held.discard(reason)
            if not self._reading_held and self.open:
                self.transport.resumeProducing()

    # Time

    def start_heartbeat(self, interval_s: float, silence_s_max: float) -> None:
        """Ask for a `ping` every `interval_s`, and drop the link when nothing was heard for `silence_s_max`.

        A stranger that is heard, byte by byte, has as much time to say who it is.
        """
        self._cancel_timer()
        self._timer = self.clock.callLater(interval_s, self._beat, interval_s, silence_s_max, 0.0, 0.0)

    def _beat(self, interval_s: float, silence_s_max: float, silent_s: float, strange_s: float) -> None:
        # Beats are counted, not seconds: a process that stood still has not heard what came meanwhile. And a peer that
        # we do not read cannot be heard.
        silent_s = 0.0 if self._heard or self._reading_held else silent_s + interval_s
        strange_s = 0.0 if self.gate.knows(self) else strange_s + interval_s
        self._heard = False
        if silent_s >= silence_s_max:
            self.drop("silent")
        elif strange_s >= silence_s_max:
            self.drop("no-hello")
        else:
            self.ping()
        if self.open:
            self._timer = self.clock.callLater(interval_s, self._beat, interval_s, silence_s_max, silent_s, strange_s)

    def ping(self) -> None:
        """Send something that a live peer answers."""

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # Ends

    def drop(self, reason: str, why: str = "", last: bytes | None = None) -> None:
        """End for a reason of this side's: politely where there are last words, be it none, otherwise at once.

        One that is about to end already is not counted again.

        Args:
            reason: a short word that stays the same, like `silent`, to be counted.
            why: what an operator should know of it, and look at.
            last: what the peer is told.
        """
        if self.open and self.gate.drop(reason, self.clock.seconds()):
            tell, text = (log.warn, ": {why}") if why else (log.info, "")
            peer = str(self.transport.getPeer())
            tell("dropped at {door}: {reason}, {peer}" + text, door=self.gate.door, reason=reason, peer=peer, why=why)
        if last is None:
            self.abort()
        else:
            self.close(last)

    def close(self, last: bytes = b"") -> None:
        """End politely: what was sent before, and `last`, still goes out, for `LINGER_S_MAX` seconds at most."""
        if not self.open:
            return
        if last:
            # Not by `send`: the backlog may be over its ceiling, which is why the link ends.
            self._queue.append(last)
        self.open = False
        self._cancel_timer()
        self._timer = self.clock.callLater(LINGER_S_MAX, self.abort)
        self._when_clear = self._lose
        if self._clear:
            self.turn.at_end(self.flush)

    def _lose(self) -> None:
        if self._send_now is None:
            # A transport does not close while a producer is registered with it.
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """End at once: for a peer that does not answer, or breaks the protocol."""
        self.open = False
        self._cancel_timer()
        self._when_clear = None
        self.transport.abortConnection()


class LineLink(Link):
    """A link whose frames are lines."""

    def __init__(
        self,
        turn: Turn,
        clock: IReactorTime,
        backlog_bytes_max: int,
        line_bytes_max: int,
        gate: Gate[Link] | None = None,
    ) -> None:
        """Make a link whose peer's lines hold at most `line_bytes_max` bytes."""
        super().__init__(turn, clock, backlog_bytes_max, gate)
        self._lines = LineBuffer(line_bytes_max)

    def dataReceived(self, data: bytes) -> None:
        """Frame what came."""
        self._heard = True
        if not self.open:
            return
        lines = self._lines.feed(data)
        if lines:
            self.linesReceived(lines)
        if self._lines.too_long and self.open:
            self.lineTooLong()

    def linesReceived(self, lines: bytes) -> None:
        """Take one line or more, whole, each with its newline."""

    def lineTooLong(self) -> None:
        """Hear that the peer sent a line beyond the ceiling; nothing of it, or after it, is handed out."""
        self.drop("line-too-long", last=b"")


class FrameLink(Link):
    """A link whose frames are length-prefixed."""

    def __init__(
        self,
        turn: Turn,
        clock: IReactorTime,
        backlog_bytes_max: int,
        frame_bytes_max: int,
        gate: Gate[Link] | None = None,
        hello_bytes_max: int | None = None,
    ) -> None:
        """Make a link whose peer's frames hold at most `frame_bytes_max` bytes, the first one `hello_bytes_max`."""
        super().__init__(turn, clock, backlog_bytes_max, gate)
        self._frames = FrameBuffer(frame_bytes_max, hello_bytes_max)

    def dataReceived(self, data: bytes) -> None:
        """Frame what came; a frame that is not of the protocol, or too long, ends the link."""
        self._heard = True
        for frame in self._frames.feed(data) if self.open else ():
            if not self.open:
                return
            self.take(frame, self.frameReceived)
        if self._frames.too_long and self.open:
            self.drop("frame-too-long")

    def take(self, frame: bytes, taken_by: Callable[[bytes], None]) -> None:
        """Have a whole frame taken; one that is not of the protocol ends the link."""
        try:
            taken_by(frame)
        except WireError as error:
            self.drop("bad-frame" if self.gate.knows(self) else "stranger", str(error))

    def frameReceived(self, frame: bytes) -> None:
        """Take a whole frame.

        Raises:
            WireError: it is not of the protocol.
        """
