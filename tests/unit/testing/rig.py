"""Two simulated hosts and what the tests put on them."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.testing import SimClock, SimHost, SimNetwork


class Recorder(Protocol):
    """Remembers what it hears."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self.received = bytearray()
        self.pieces: list[bytes] = []
        self.made = 0
        self.lost: list[type[BaseException]] = []

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        assert self.made and not self.lost and data
        self.received += data
        self.pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(type(reason.value))


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.half: list[str] = []

    def readConnectionLost(self) -> None:
        self.half.append("read")

    def writeConnectionLost(self) -> None:
        self.half.append("write")


class Producer:
    """A push producer, or a pull producer that has `chunks` to give."""

    def __init__(self, transport: Any = None, chunks: int = 0) -> None:
        self.calls: list[str] = []
        self.transport = transport
        self.chunks = chunks

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.chunks:
            self.chunks -= 1
            self.transport.write(b"x" * 1000)

    def stopProducing(self) -> None:
        self.calls.append("stop")


class Rig:
    """A network with the hosts `east` and `west`; east listens on port 4444."""

    def __init__(self, seed: int = 0, protocol: Callable[[], Protocol] = Recorder, **options: Any) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, random.Random(seed), **options)
        self.east = self.network.host("east")
        self.west = self.network.host("west")
        self.protocol = protocol
        self.served: list[Any] = []
        self.serve()

    def serve(self) -> None:
        """Listen on east, in its present life."""
        factory = Factory.forProtocol(self._serving)
        factory.noisy = False
        self.east.world().server("tcp:4444").listen(factory)

    def _serving(self) -> Protocol:
        self.served.append(self.protocol())
        return self.served[-1]  # type: ignore[no-any-return]

    def dial(self, host: SimHost | None = None, target: str = "tcp:east:4444", timeout: int = 30) -> Any:
        """Begin to connect, from west unless told; return the endpoint's answer."""
        factory = Factory.forProtocol(self.protocol)
        factory.noisy = False
        endpoint = (host or self.west).world().client(f"{target}:timeout={timeout}")
        return endpoint.connect(factory)

    def pair(self) -> tuple[Any, Any]:
        """Connect west to east; return the client's protocol and the server's."""
        dialing = self.dial()
        known = len(self.served)
        self.clock.run_until(lambda: dialing.called and len(self.served) > known, 5)
        return dialing.result, self.served[-1]

    def settle(self, seconds: float = 3) -> None:
        self.clock.run(seconds)
