"""A port of UDP that a flood does not keep the reactor at."""

from collections.abc import Callable
from typing import Any

from twisted.internet import udp
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

DATAGRAMS_A_TURN_MAX = 64
"""Taken before others have their turn: about a millisecond's work.

Twisted's own port counts bytes, 256 KiB of them: that is thousands of short datagrams, and empty ones without end.
"""

log = Logger()


class ModestPort(udp.Port):
    """Takes so many datagrams in a reactor turn; what comes faster is the kernel's to keep, or to drop."""

    def doRead(self) -> None:
        """Take some of what there is."""
        for _ in range(DATAGRAMS_A_TURN_MAX):
            try:
                datagram, address = self.socket.recvfrom(self.maxPacketSize)
            except OSError:
                return  # There is no more; or somebody whom something was sent to is not there.
            try:
                # An address of IPv6 has two more parts.
                self.protocol.datagramReceived(datagram, address[:2])
            except Exception:
                log.failure("a datagram was not taken; the next ones are")


def listening_by(reactor: Any) -> Callable[[int, DatagramProtocol, str], IListeningPort]:
    """Return what listens for datagrams with a reactor: see `chatproto.world.World.udp`."""

    def listen(port: int, protocol: DatagramProtocol, interface: str) -> IListeningPort:
        listening = ModestPort(port, protocol, interface, reactor=reactor)
        listening.startListening()
        return listening

    return listen
