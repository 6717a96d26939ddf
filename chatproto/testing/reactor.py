"""What a program on a simulated host takes for its reactor: time, TCP and UDP."""

from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IProtocolFactory,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorUDP,
    IReadDescriptor,
    IResolutionReceiver,
    IWriteDescriptor,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.testing import datagrams, tcp
from chatproto.testing.clock import HostClock, SimCall
from chatproto.testing.transport import Descriptor, SimConnector, SimPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatproto.testing.host import SimHost
    from chatproto.testing.network import SimNetwork

log = Logger()


@implementer(IReactorTCP, IReactorUDP, IReactorFDSet, IReactorPluggableNameResolver)
class SimReactor(HostClock):
    """The reactor of one life of a host.

    It polls a moment after something becomes ready, so that what happens within this moment is one turn, as
    in a real reactor: reads and writes of several connections, then the calls made for right now.
    """

    def __init__(self, network: "SimNetwork", host: "SimHost") -> None:
        super().__init__(network.clock)
        self.nameResolver: IHostnameResolver = _Resolver(network, host)
        self._network = network
        self._host = host
        self._readers: dict[Descriptor, None] = {}
        self._writers: dict[Descriptor, None] = {}
        self._ready: dict[Descriptor, None] = {}
        self._poll_call: SimCall | None = None
        self._paused_at = 0.0

    # IReactorTCP

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        """Listen on a port of the host; 0 for any. On 127.0.0.1 only the host itself can reach it."""
        listening = SimPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> IConnector:
        """Connect to a host by its name or address; of `bindAddress` the port counts."""
        local_port = bindAddress[1] if isinstance(bindAddress, tuple) else 0
        connector = SimConnector(host, port, factory, timeout, local_port, self)
        connector.connect()
        return connector

    # IReactorUDP

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> IListeningPort:
        """Listen for datagrams on a port of the host; 0 for any. None is cut for being long."""
        return datagrams.listen(port, protocol, interface, self)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        previous, self.nameResolver = self.nameResolver, resolver
        return previous

    # For ports and attempts

    def listen(self, interface: str, port: int, backlog: int) -> tcp.Listener:
        """Take a port of the host.

        Raises:
            CannotListenError: it is taken.
        """
        if not self.alive:
            # A dead life may be in the middle of starting something: it must not take the next life's port.
            return tcp.Listener(self._host, interface, port, backlog)
        return self._host.listen(interface, port, backlog)

    def bind(self, interface: str, port: int) -> datagrams.DatagramSocket:
        """Take a port of the host for datagrams.

        Raises:
            CannotListenError: it is taken, or the interface is another machine's.
        """
        if not self.alive:
            return datagrams.DatagramSocket(self._network, self._host, interface, port)
        return self._host.bind(interface, port)

    def request(self, name: str, port: int, local_port: int) -> tcp.Socket:
        """Begin a connection to a port of the named host.

        Raises:
            DNSLookupError: there is no such host.
        """
        return self._host.request(name, port, local_port)

    # IReactorFDSet

    def addReader(self, reader: IReadDescriptor) -> None:
        assert isinstance(reader, Descriptor)
        self._readers[reader] = None
        self.look_at(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        assert isinstance(writer, Descriptor)
        self._writers[writer] = None
        self.look_at(writer)

    def removeReader(self, reader: IReadDescriptor) -> None:
        assert isinstance(reader, Descriptor)
        self._readers.pop(reader, None)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        assert isinstance(writer, Descriptor)
        self._writers.pop(writer, None)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        removed = {**self._readers, **self._writers}
        self._readers.clear()
        self._writers.clear()
        return list(removed)

    def getReaders(self) -> list[IReadDescriptor]:
        return list(self._readers)

    def getWriters(self) -> list[IWriteDescriptor]:
        return list(self._writers)

    # The turn

    def look_at(self, descriptor: Descriptor) -> None:
        """See to a descriptor in the next turn, if it is ready for what it waits for."""
        if self.alive and self._is_ready(descriptor):
            self._ready[descriptor] = None
            if self._poll_call is None:
                self._poll_call = self._clock.schedule(self._network.draw_turn(), self._poll, owner=self)

    def poll_now(self) -> None:
        """Take the turn at once, for a fault that is to show at once."""
        if self._poll_call is not None and self.alive and not self.paused:
            self._poll_call.cancel()
            self._poll()

    def _is_ready(self, descriptor: Descriptor) -> bool:
        reads, writes = descriptor in self._readers, descriptor in self._writers
        return (reads and descriptor.has_input()) or (writes and descriptor.has_room())

    def _poll(self) -> None:
        self._poll_call = None
        ready, self._ready = list(self._ready), {}
        self._network.dice.shuffle(ready)
        for descriptor in ready:
            if self.alive:
                self._attend(descriptor)
        for descriptor in ready:
            self.look_at(descriptor)

    def _attend(self, descriptor: Descriptor) -> None:
        # The order of twisted.internet.posixbase._PollLikeMixin: read, then write, then mourn.
        why: BaseException | None = None
        reading = False
        try:
            if descriptor in self._readers and descriptor.has_input():
                why = descriptor.doRead()
                reading = True
            if why is None and self.alive and descriptor in self._writers and descriptor.has_room():
                why = descriptor.doWrite()
                reading = False
        except Exception as raised:
            log.failure("a connection failed")
            why = raised
        if why is not None and self.alive:
            self._mourn(descriptor, why, reading)

    def _mourn(self, descriptor: Descriptor, why: BaseException, reading: bool) -> None:
        self.removeReader(descriptor)
        if reading and isinstance(why, error.ConnectionDone) and IHalfCloseableDescriptor.providedBy(descriptor):
            descriptor.readConnectionLost(_reason(why))
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(_reason(why))

    # Standing still

    def getDelayedCalls(self) -> "Sequence[IDelayedCall]":
        # The poll is the reactor's own; who looks for calls left behind must not find it.
        own: IDelayedCall | None = self._poll_call
        return [call for call in super().getDelayedCalls() if call is not own]

    def pause(self) -> None:
        super().pause()
        self._paused_at = self.seconds()

    def resume(self) -> None:
        """Go on. A process finds its timers due and its sockets ready, and may see to either first."""
        first = self._network.dice.random() < 0.5
        super().resume()
        if self._poll_call is not None and self._poll_call.active():
            self._poll_call.cancel()
            self._poll_call = self._clock.schedule(0, self._poll, owner=self)
            if first:
                self._poll_call.reset(self._paused_at - self.seconds())


def _reason(why: BaseException) -> Failure:
    if isinstance(why, error.ConnectionDone):
        return Failure(error.ConnectionDone())
    if isinstance(why, error.ConnectionLost):
        return Failure(error.ConnectionLost())
    return Failure(why)


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: the answer was there at once."""


@implementer(IHostnameResolver)
class _Resolver:
    """Finds the hosts of the network by name, for `HostnameEndpoint`."""

    def __init__(self, network: "SimNetwork", host: "SimHost") -> None:
        self._network = network
        self._host = host

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: "Sequence[type[IAddress]] | None" = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        try:
            _, address = self._network.find(hostName, self._host)
        except error.DNSLookupError:
            pass
        else:
            if addressTypes is None or IPv4Address in addressTypes:
                resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution
