"""The process's side of a simulated connection: what Twisted's TCP transport, connector and port do.

Buffering, producers and closing are not imitated: they are those of
`twisted.internet.abstract.FileDescriptor`, which real TCP transports stand on, too. Here are the parts that
touch a socket.
"""

import errno
import os
from typing import TYPE_CHECKING, Any, cast

from twisted.internet import error, main
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.testing import tcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatproto.testing.reactor import SimReactor

log = Logger()


class Descriptor(FileDescriptor):
    """What the simulated reactor can wait for."""

    if TYPE_CHECKING:
        # Twisted's are without types.
        def startReading(self) -> None: ...
        def stopReading(self) -> None: ...
        def startWriting(self) -> None: ...
        def stopWriting(self) -> None: ...
        def doRead(self) -> BaseException | None: ...
        def doWrite(self) -> BaseException | None: ...
        def loseConnection(self) -> None: ...
        def readConnectionLost(self, reason: Failure) -> None: ...
        def connectionLost(self, reason: Failure) -> None: ...

    def __init__(self, reactor: "SimReactor") -> None:
        super().__init__(reactor)
        self._reactor = reactor

    def has_input(self) -> bool:
        """Say whether `doRead` would do something."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Say whether `doWrite` would do something."""
        raise NotImplementedError


@implementer(ITCPTransport)
class SimTransport(Descriptor):
    """A TCP transport over a simulated socket. There is no `getHandle`: no file descriptor lies below."""

    protocol: IProtocol | None = None

    def __init__(self, socket: tcp.Socket, reactor: "SimReactor") -> None:
        super().__init__(reactor)
        self.socket: tcp.Socket | None = socket
        self._host = IPv4Address("TCP", *socket.local)
        self._peer = IPv4Address("TCP", *socket.remote)
        self._aborting = False
        self._no_delay = False
        self._keep_alive = False
        socket.watcher = lambda: reactor.look_at(self)

    # ITCPTransport

    def getHost(self) -> IPv4Address:
        return self._host

    def getPeer(self) -> IPv4Address:
        return self._peer

    def getTcpNoDelay(self) -> bool:
        return self._no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember the setting; simulated segments wait for nobody in any case."""
        self._no_delay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        return self._keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remember the setting; a silent peer is not noticed, as by default it is not for two hours."""
        self._keep_alive = bool(enabled)

    def abortConnection(self) -> None:
        if self.disconnected or self._aborting:
            return
        self._aborting = True
        self.stopReading()
        self.stopWriting()
        self._reactor.callLater(0, self.connectionLost, Failure(error.ConnectionAborted()))

    # What the reactor asks and calls

    def has_input(self) -> bool:
        return self.socket is not None and self.socket.readable

    def has_room(self) -> bool:
        return self.socket is not None and self.socket.writable

    def doRead(self) -> BaseException | None:
        if self.socket is None or self._aborting:
            return None
        try:
            data = self.socket.receive(self.bufferSize)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        assert self.protocol is not None
        self.protocol.dataReceived(data)
        return None

    def doWrite(self) -> BaseException | None:
        if self.socket is None or self._aborting:
            return None
        return super().doWrite()

    def writeSomeData(self, data: bytes) -> int | BaseException:
        if self.socket is None:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_LOST if self.socket.broken else 0
        try:
            return self.socket.send(memoryview(data)[: self.SEND_LIMIT])
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            return main.CONNECTION_LOST

    def _closeWriteConnection(self) -> None:
        assert self.socket is not None
        self.socket.shut_down()
        half_closeable = self._half_closeable()
        if half_closeable is not None:
            self._tell(half_closeable.writeConnectionLost)

    def readConnectionLost(self, reason: Failure) -> None:
        half_closeable = self._half_closeable()
        if half_closeable is not None:
            self._tell(half_closeable.readConnectionLost)
        else:
            self.connectionLost(reason)

    def _half_closeable(self) -> IHalfCloseableProtocol | None:
        protocol: Any = self.protocol
        return cast(IHalfCloseableProtocol | None, IHalfCloseableProtocol(protocol, None))

    def _tell(self, half_closed: "Callable[[], None]") -> None:
        try:
            half_closed()
        except Exception:
            log.failure("a protocol failed when its connection was half closed")
            self.connectionLost(Failure())

    def connectionLost(self, reason: Failure) -> None:
        # Both an abort and an error may come here, one after the other; the protocol hears the first.
        if self.socket is None:
            return
        super().connectionLost(reason)
        socket, self.socket = self.socket, None
        if reason.check(error.ConnectionAborted):
            socket.abort()
        else:
            socket.close()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)


class SimServerTransport(SimTransport):
    """The accepting end of a connection."""

    def __init__(self, socket: tcp.Socket, protocol: IProtocol, reactor: "SimReactor") -> None:
        super().__init__(socket, reactor)
        self.protocol = protocol
        self.connected = 1
        self.startReading()

    def __repr__(self) -> str:
        return f"<SimServerTransport on {self._host.port} from {self._peer.host}:{self._peer.port}>"


class SimClientTransport(SimTransport):
    """The connecting end of a connection, from the request on."""

    def __init__(self, socket: tcp.Socket, connector: "SimConnector", reactor: "SimReactor") -> None:
        super().__init__(socket, reactor)
        self._connector: SimConnector | None = connector
        self.startWriting()

    def __repr__(self) -> str:
        return f"<SimClientTransport to {self._peer.host}:{self._peer.port}>"

    def has_room(self) -> bool:
        if self.connected:
            return super().has_room()
        return self.socket is not None and self.socket.settled

    def doWrite(self) -> BaseException | None:
        if self.connected:
            return super().doWrite()
        if self.socket is not None and self._connector is not None:
            self.stopWriting()
            if self.socket.broken:
                refused = error.getConnectError((errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
                self.fail(refused)
            else:
                self._connected(self._connector)
        return None

    def _connected(self, connector: "SimConnector") -> None:
        protocol = connector.buildProtocol(self.getPeer())
        self.connected = 1
        if protocol is None:
            # As in twisted.internet.tcp: somebody has to hear connectionLost.
            self.protocol = Protocol()
            self.loseConnection()
        else:
            self.protocol = protocol
            self.startReading()
            protocol.makeConnection(self)

    def fail(self, reason: BaseException) -> None:
        """End an attempt that has not come to a connection."""
        if self.connected or self.disconnected or self._connector is None:
            return
        self.stopReading()
        self.stopWriting()
        socket, self.socket = self.socket, None
        connector, self._connector = self._connector, None
        if socket is not None:
            socket.abort()
        connector.connectionFailed(Failure(reason))

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected:
            self.fail(error.ConnectError(string=str(reason)))
            return
        super().connectionLost(reason)
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.connectionLost(reason)


class _Attempt:
    """A connection attempt, from before the host is found: what a connector can time out or give up."""

    def __init__(self, connector: "SimConnector", reactor: "SimReactor") -> None:
        self._connector: SimConnector | None = connector
        self._reactor = reactor
        self._transport: SimClientTransport | None = None
        reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        if self._connector is None:
            return
        destination = self._connector.getDestination()
        try:
            socket = self._reactor.request(destination.host, destination.port, self._connector.local_port)
        except error.DNSLookupError as unknown:
            self.failIfNotConnected(unknown)
        else:
            self._transport = SimClientTransport(socket, self._connector, self._reactor)

    def failIfNotConnected(self, reason: BaseException) -> None:
        connector, self._connector = self._connector, None
        if self._transport is not None:
            self._transport.fail(reason)
        elif connector is not None:
            connector.connectionFailed(Failure(reason))

    def loseConnection(self) -> None:
        if self._transport is not None:
            self._transport.loseConnection()


@implementer(IConnector)
class SimConnector(BaseConnector):
    """What `connectTCP` returns."""

    def __init__(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float,
        local_port: int,
        reactor: "SimReactor",
    ) -> None:
        super().__init__(factory, timeout, cast(Any, reactor))
        self.local_port = local_port
        self._destination = IPv4Address("TCP", host, port)

    def _makeTransport(self) -> Any:
        return _Attempt(self, cast("SimReactor", self.reactor))

    def getDestination(self) -> IPv4Address:
        return self._destination


@implementer(IListeningPort)
class SimPort(Descriptor):
    """What `listenTCP` returns."""

    def __init__(
        self, port: int, factory: IProtocolFactory, backlog: int, interface: str, reactor: "SimReactor"
    ) -> None:
        super().__init__(reactor)
        self._wanted = (interface, port, backlog)
        self._factory = factory
        self._listener: tcp.Listener | None = None

    def __repr__(self) -> str:
        where = f"on {self._listener.port}" if self._listener is not None else "(not listening)"
        return f"<SimPort of {self._factory.__class__.__name__} {where}>"

    def startListening(self) -> None:
        interface, port, backlog = self._wanted
        self._listener = self._reactor.listen(interface, port, backlog)
        self._listener.watcher = lambda: self._reactor.look_at(self)
        self._factory.doStart()
        self.connected = 1
        self.startReading()

    def getHost(self) -> IAddress:
        assert self._listener is not None
        return IPv4Address("TCP", self._listener.interface or "0.0.0.0", self._listener.port)

    def has_input(self) -> bool:
        return self._listener is not None and self._listener.readable

    def has_room(self) -> bool:
        return False

    def doRead(self) -> None:
        while self._reactor.alive and self._listener is not None and self._listener.readable:
            socket = self._listener.accept()
            try:
                self._serve(socket)
            except Exception:
                log.failure("a connection could not be served")

    def _serve(self, socket: tcp.Socket) -> None:
        protocol = self._factory.buildProtocol(IPv4Address("TCP", *socket.remote))
        if protocol is None:
            socket.close()
        else:
            protocol.makeConnection(SimServerTransport(socket, protocol, self._reactor))

    def stopListening(self) -> "Deferred[None] | None":
        self.stopReading()
        if self._listener is None:
            return None
        return deferLater(self._reactor, 0, self.connectionLost, Failure(main.CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        if self._listener is None:
            return
        super().connectionLost(reason)
        listener, self._listener = self._listener, None
        listener.close()
        cast(Factory, self._factory).doStop()
