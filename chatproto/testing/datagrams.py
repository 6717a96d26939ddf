"""Simulated UDP: datagrams that come late, in any order, twice, damaged, or not at all."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from twisted.internet import error, main
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.testing.transport import Descriptor

if TYPE_CHECKING:
    from chatproto.testing.host import SimHost
    from chatproto.testing.network import SimNetwork
    from chatproto.testing.reactor import SimReactor

INBOX_BYTES_MAX = 212_992
"""What a kernel keeps for a process that does not read, as Linux has it by default; the rest is lost."""

DATAGRAM_BYTES_MAX = 65_507

log = Logger()


@dataclass(frozen=True)
class DatagramFaults:
    """What happens to datagrams between two hosts; each a share from 0 to 1, drawn for each datagram.

    That one overtakes another needs no share: each travels for as long as is drawn for it.

    Attributes:
        lost: never come.
        repeated: come twice.
        damaged: come with some bytes changed, or cut off, which the checksum of UDP would notice nearly always.
    """

    lost: float = 0.0
    repeated: float = 0.0
    damaged: float = 0.0


class DatagramSocket:
    """A port of a host, as its kernel keeps it.

    Attributes:
        interface: where it listens; empty for everywhere.
        port: its number.
        watcher: told that something has come.
    """

    def __init__(self, network: "SimNetwork", host: "SimHost", interface: str, port: int) -> None:
        """Make one that `SimHost.bind` keeps."""
        self.interface = interface
        self.port = port
        self.watcher: Callable[[], None] | None = None
        self._network = network
        self._host = host
        self._inbox: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._inbox_bytes = 0

    @property
    def readable(self) -> bool:
        """Whether a datagram is there."""
        return bool(self._inbox)

    def takes(self, address: str) -> bool:
        """Say whether datagrams to an address of the host are for this socket."""
        return self.interface in ("", "0.0.0.0", address)

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        """Return the oldest datagram that is there, and where it is from."""
        data, address = self._inbox.popleft()
        self._inbox_bytes -= len(data)
        return data, address

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        """Send a datagram to an address and a port; whether it comes, nobody is told."""
        network, dice = self._network, self._network.dice
        try:
            target, to = network.find(address[0], self._host)
        except error.DNSLookupError:
            return
        source = (to if target is self._host else self._host.address, self.port)
        faults = network.datagram_faults if target is not self._host else DatagramFaults()
        copies = 2 if dice.random() < faults.repeated else 1
        for _ in range(copies):
            if dice.random() >= faults.lost:
                sent = _damaged(network, data) if dice.random() < faults.damaged else data
                delay_s = network.draw_delay(self._host, target)
                network.clock.schedule(delay_s, self._arrive, (target, sent, (to, address[1]), source))

    def take(self, data: bytes, source: tuple[str, int]) -> None:
        """Keep a datagram for the process, if there is room."""
        if self._inbox_bytes + len(data) <= INBOX_BYTES_MAX:
            self._inbox.append((data, source))
            self._inbox_bytes += len(data)
            if self.watcher is not None:
                self.watcher()

    def close(self) -> None:
        """Let the port go."""
        self._host.unbind(self)

    def _arrive(self, target: "SimHost", data: bytes, to: tuple[str, int], source: tuple[str, int]) -> None:
        socket = target.datagram_socket_for(to)
        if socket is not None and self._network.passes(self._host, target):
            self._network.record("datagram", self._host.name, target.name, len(data))
            socket.take(data, source)


def _damaged(network: "SimNetwork", data: bytes) -> bytes:
    dice = network.dice
    if not data or dice.random() < 0.25:
        return data[: dice.randint(0, len(data))]
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        changed[dice.randrange(len(changed))] ^= dice.randint(1, 255)
    return bytes(changed)


@implementer(IListeningPort)
class SimDatagramPort(Descriptor):
    """What `listenUDP` returns: the port, and the transport of its protocol. There is no `getHandle`."""

    def __init__(self, port: int, protocol: DatagramProtocol, interface: str, reactor: "SimReactor") -> None:
        """Make a port that does not listen yet."""
        super().__init__(reactor)
        self._wanted = interface, port
        self._protocol = protocol
        self._socket: DatagramSocket | None = None

    def __repr__(self) -> str:
        where = f"on {self._socket.port}" if self._socket is not None else "(not listening)"
        return f"<SimDatagramPort of {self._protocol.__class__.__name__} {where}>"

    def startListening(self) -> None:
        self._socket = self._reactor.bind(*self._wanted)
        self._socket.watcher = lambda: self._reactor.look_at(self)
        self.connected = 1
        # As far as the transport of `IUDPTransport` goes that is used here.
        self._protocol.makeConnection(cast(IUDPTransport, self))
        self.startReading()

    def getHost(self) -> IAddress:
        assert self._socket is not None
        return IPv4Address("UDP", self._socket.interface or "0.0.0.0", self._socket.port)

    def write(self, data: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send a datagram.

        Raises:
            MessageLengthError: it is longer than any may be.
        """
        if len(data) > DATAGRAM_BYTES_MAX:
            raise error.MessageLengthError("message too long")
        if self._socket is not None and self._reactor.alive:
            assert addr is not None, "no connected ports in simulation"
            self._socket.send(data, addr)

    def has_input(self) -> bool:
        return self._socket is not None and self._socket.readable

    def has_room(self) -> bool:
        return False

    def doRead(self) -> None:
        while self._reactor.alive and self._socket is not None and self._socket.readable:
            data, address = self._socket.receive()
            try:
                self._protocol.datagramReceived(data, address)
            except Exception:
                log.failure("a datagram could not be taken")

    def stopListening(self) -> "Deferred[None] | None":
        self.stopReading()
        if self._socket is None:
            return None
        return deferLater(self._reactor, 0, self.connectionLost, Failure(main.CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        if self._socket is None:
            return
        super().connectionLost(reason)
        socket, self._socket = self._socket, None
        socket.close()
        self._protocol.doStop()


def listen(port: int, protocol: DatagramProtocol, interface: str, reactor: "SimReactor") -> IListeningPort:
    """Listen for datagrams; see `IReactorUDP.listenUDP`."""
    listening = SimDatagramPort(port, protocol, interface, reactor)
    listening.startListening()
    return cast(IListeningPort, listening)
