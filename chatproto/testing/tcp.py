"""The kernels' side of a simulated connection: what two TCP stacks and the path between them do with bytes.

Nothing here calls a protocol. A process looks at its `Socket` when its reactor polls, as it would look at a
file descriptor; in between the kernels go on by themselves, also for a process that is paused.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from chatproto.testing.lane import Kind, Lane, Segment

if TYPE_CHECKING:
    from chatproto.testing.host import SimHost
    from chatproto.testing.network import SimNetwork

SYN_AGAIN_S = 1.0
"""After so long a connection request is repeated that a full backlog has dropped."""


class State(enum.Enum):
    """How far a socket's life has come."""

    CONNECTING = "the request is under way"
    ACCEPTING = "the request came, its last acknowledgement has not"
    OPEN = "a process has it, or is about to"
    CLOSED = "the process let go; the kernel still sends what it holds"
    DEAD = "nobody knows it; whatever comes is answered with a reset"


class Socket:
    """One end of a connection, as the kernel keeps it.

    A process may `send`, `receive`, `shut_down`, `close` and `abort`, look at `settled`, `readable`,
    `writable` and `broken`, and is told through `watcher` that these may have changed.
    """

    def __init__(
        self,
        network: "SimNetwork",
        host: "SimHost",
        local: tuple[str, int],
        remote: tuple[str, int],
        state: State,
    ) -> None:
        self.host = host
        self.local = local
        self.remote = remote
        self.state = state
        self.out: Lane
        self.watcher: Callable[[], None] | None = None
        self.listener: Listener | None = None
        self.broken = False
        self._network = network
        self._window_bytes = network.window_bytes
        self._keeps_bytes = network.draw_send_buffer()
        self._inbox = bytearray()
        self._room_unannounced = 0
        self._end_of_stream = False
        self._held = bytearray()
        self._outstanding = 0
        self._shut = False
        self._end_sent = False
        host.sockets[self] = None

    # What a process sees

    @property
    def settled(self) -> bool:
        """Whether the connection stands, or never will."""
        return self.broken or self.state is not State.CONNECTING

    @property
    def readable(self) -> bool:
        """Whether `receive` has an answer."""
        return bool(self._inbox) or self._end_of_stream or self.broken

    @property
    def writable(self) -> bool:
        """Whether `send` has an answer."""
        return self.broken or (self.state is State.OPEN and self._room() > 0)

    def _room(self) -> int:
        leaves = self._window_bytes - self._outstanding if self.out.open else 0
        return self._keeps_bytes + leaves - len(self._held)

    def send(self, data: "bytes | memoryview") -> int:
        """Take as many bytes as fit; return how many.

        Raises:
            BlockingIOError: none fits.
            ConnectionResetError: the connection is over.
        """
        if self.broken or self._shut:
            raise ConnectionResetError
        size = min(len(data), self._room())
        if size <= 0:
            raise BlockingIOError
        self._held += data[:size]
        self._push()
        return size

    def receive(self, bytes_max: int) -> bytes:
        """Return some of the bytes that came, or none at the end of the stream.

        Raises:
            BlockingIOError: nothing came.
            ConnectionResetError: the connection is over.
        """
        if not self._inbox:
            # As Linux has it: once the end of the stream has come, a reset after it concerns writing only.
            if self._end_of_stream:
                return b""
            if self.broken:
                raise ConnectionResetError
            raise BlockingIOError
        size = min(bytes_max, len(self._inbox))
        if not self.broken:
            # Not once it is broken: what is left must be read in the same turn, or a write finds out first.
            size = self._network.draw_piece(size)
        data = bytes(self._inbox[:size])
        del self._inbox[:size]
        self._announce_room(size)
        return data

    def shut_down(self) -> None:
        """Send the end of the stream after what was taken."""
        self._shut = True
        self._push()

    def close(self) -> None:
        """Let go. The kernel sends what it took and then the end; and a reset at once, if bytes were left unread."""
        if self.broken or self.state is not State.OPEN:
            self.abort()
            return
        self.shut_down()
        if self._inbox:
            self.abort()
        else:
            self.state = State.CLOSED
            self._bury_if_over()

    def abort(self) -> None:
        """Let go, throw away what was not sent, and tell the other end, once: in a cut it hears nothing."""
        told = self.state is State.DEAD or self.broken
        self._bury()
        if not told:
            self.out.send(Segment(Kind.RST))

    # What the kernel does

    def die(self, leaves: str) -> None:
        """End as the sockets of a process that is gone do, or those of a machine without power."""
        if leaves == "close" and self.state is State.OPEN and not self.broken:
            self._inbox.clear()
            self.close()
            return
        told = self.state is State.DEAD or self.broken or leaves == "silence"
        self._bury()
        if not told:
            self.out.send(Segment(Kind.RST, sure=True))

    def break_off(self) -> None:
        """Be reset by somebody on the path: all that is under way or unread is lost."""
        self.out.vanish()
        self._inbox.clear()
        self._reset()

    def path_changed(self) -> None:
        """Go on sending, if the path is open again."""
        self._push()
        self._notify()

    def request(self) -> None:
        """Ask for the connection; again, if the other end had no room for the request."""
        if self.state is State.CONNECTING:
            self.out.send(Segment(Kind.SYN))

    def arrived(self, segment: Segment) -> None:
        """Take in what the other end sent."""
        if self.state is State.DEAD:
            if segment.kind not in (Kind.RST, Kind.ACK):
                self.out.send(Segment(Kind.RST))
            return
        if self.broken:
            return
        if self.state is State.ACCEPTING and segment.kind is not Kind.RST:
            assert self.listener is not None
            self.state = State.OPEN
            self.listener.established(self)
        _ARRIVALS[segment.kind](self, segment)
        self._notify()

    def _syn_ack(self, _: Segment) -> None:
        if self.state is State.CONNECTING:
            self.state = State.OPEN
            self.out.send(Segment(Kind.ACK))

    def _ack(self, segment: Segment) -> None:
        self._outstanding -= segment.room
        self._push()

    def _data(self, segment: Segment) -> None:
        if self.state is State.CLOSED:
            # Nobody will ever read it: the other end has to know that it was lost.
            self._bury()
            self.out.send(Segment(Kind.RST))
        else:
            self._inbox += segment.data

    def _fin(self, _: Segment) -> None:
        self._end_of_stream = True
        self._bury_if_over()

    def _rst(self, _: Segment) -> None:
        if self.state is State.ACCEPTING:
            assert self.listener is not None
            self.listener.forget(self)
            self._bury()
        else:
            self._reset()

    def _reset(self) -> None:
        if self.state is State.CLOSED:
            self._bury()
            return
        self.broken = True
        self._held.clear()
        self.out.abandon()
        self._notify()

    def _push(self) -> None:
        """Send what may be sent, in pieces of any size."""
        while self._held and self.out.open:
            size = min(len(self._held), self._window_bytes - self._outstanding)
            if size <= 0:
                return
            size = self._network.draw_piece(size)
            self.out.send(Segment(Kind.DATA, bytes(self._held[:size])))
            del self._held[:size]
            self._outstanding += size
        if self._shut and not self._held and not self._end_sent and self.state is not State.DEAD:
            self._end_sent = True
            self.out.send(Segment(Kind.FIN))
            self._bury_if_over()

    def _announce_room(self, size: int) -> None:
        # As TCP does: not for every byte read, but early enough that the sender seldom stops.
        self._room_unannounced += size
        if self._room_unannounced >= max(1, self._window_bytes // 2) and not self.broken:
            self.out.send(Segment(Kind.ACK, room=self._room_unannounced))
            self._room_unannounced = 0

    def _notify(self) -> None:
        if self.watcher is not None:
            self.watcher()

    def _bury_if_over(self) -> None:
        if self.state is State.CLOSED and self._end_sent and self._end_of_stream:
            # Not `_bury`: the last bytes may still be under way and are sent again until they arrive.
            self.host.sockets.pop(self, None)

    def _bury(self) -> None:
        self.state = State.DEAD
        self._held.clear()
        self._inbox.clear()
        self.out.abandon()
        self.host.sockets.pop(self, None)


_ARRIVALS: dict[Kind, Callable[[Socket, Segment], None]] = {
    Kind.SYN: lambda socket, segment: None,
    Kind.SYN_ACK: Socket._syn_ack,
    Kind.ACK: Socket._ack,
    Kind.DATA: Socket._data,
    Kind.FIN: Socket._fin,
    Kind.RST: Socket._rst,
}


class Listener:
    """A port that takes connections in for a process to accept."""

    def __init__(self, host: "SimHost", interface: str, port: int, backlog: int) -> None:
        self.interface = interface
        self.port = port
        self.watcher: Callable[[], None] | None = None
        self._host = host
        self._backlog = backlog
        self._unfinished: dict[Socket, None] = {}
        self._queue: deque[Socket] = deque()

    @property
    def readable(self) -> bool:
        """Whether a connection waits to be accepted."""
        return bool(self._queue)

    @property
    def full(self) -> bool:
        """Whether no further connection is taken in."""
        return len(self._unfinished) + len(self._queue) >= self._backlog

    def takes(self, address: str) -> bool:
        """Say whether connections to an address of the host are for this listener."""
        return self.interface in ("", "0.0.0.0", address)

    def requested(self, socket: Socket) -> None:
        """Take in a connection that is being made."""
        socket.listener = self
        self._unfinished[socket] = None

    def established(self, socket: Socket) -> None:
        """Offer a connection to the process."""
        self.forget(socket)
        self._queue.append(socket)
        if self.watcher is not None:
            self.watcher()

    def forget(self, socket: Socket) -> None:
        """Drop a connection whose making has come to an end."""
        self._unfinished.pop(socket, None)

    def accept(self) -> Socket:
        """Hand the process the oldest connection."""
        return self._queue.popleft()

    def close(self) -> None:
        """Take in no more; whoever was not accepted is reset."""
        self._host.unlisten(self)
        for socket in [*self._unfinished, *self._queue]:
            socket.abort()


def connect(
    network: "SimNetwork",
    source: "SimHost",
    target: "SimHost",
    local: tuple[str, int],
    remote: tuple[str, int],
) -> Socket:
    """Begin a connection; the socket becomes writable once it stands, or broken once it is refused."""
    client = Socket(network, source, local, remote, State.CONNECTING)
    server: Socket | None = None
    back = Lane(network, target, source, client.arrived)

    def arrived(segment: Segment) -> None:
        nonlocal server
        if server is not None:
            server.arrived(segment)
        elif segment.kind is Kind.SYN:
            listener = target.listener_for(remote)
            if listener is None:
                back.send(Segment(Kind.RST, sure=True))
            elif listener.full:
                network.clock.schedule(SYN_AGAIN_S, client.request)
            else:
                server = Socket(network, target, remote, local, State.ACCEPTING)
                server.out = back
                listener.requested(server)
                back.send(Segment(Kind.SYN_ACK))

    client.out = Lane(network, source, target, arrived)
    client.request()
    return client
