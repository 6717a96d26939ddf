"""The registry's names for any program: answers over UDP and TCP on one port."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from chatproto.registry.dns import Answering, DatagramAnswers, StreamAnswersFactory
from chatproto.registry.names import Registration
from chatproto.registry.zone import Zone
from chatproto.services.listener import Listener
from chatproto.wire import address_of
from chatproto.world import World

log = Logger()


@dataclass(frozen=True)
class DNSSettings:
    """What can be set of the registry's answers to the DNS.

    Attributes:
        host: the address that is listened on, of IPv4 or IPv6.
        port: of UDP and of TCP; 0 for a free one.
        name_server: address or host name that others reach this machine by.
        zone: its name.
        service: whose leader the zone's own name means.
    """

    host: str
    port: int
    name_server: str
    zone: str = "chat.example"
    service: str = "chat"


class DNSService(Service):
    """Answers while it runs.

    Attributes:
        ready: fires with the port once it answers over UDP and TCP.
    """

    def __init__(self, world: World, settings: DNSSettings, registered: Callable[[], Iterable[Registration]]) -> None:
        """Answer from what `registered` returns, the live registrations; `world.fatal` is told of a busy port."""
        self.ready: Deferred[int] = Deferred()
        self._world = world
        self._settings = settings
        answering = Answering(Zone(settings.zone, settings.name_server, settings.service), registered)
        self._datagrams = DatagramAnswers(answering)
        self._streams = StreamAnswersFactory(answering, world.clock, world.tally)
        self._udp: IListeningPort | None = None
        self._tcp: Listener | None = None

    def startService(self) -> None:
        """Listen."""
        super().startService()
        settings = self._settings
        try:
            self._udp = self._world.udp(settings.port, self._datagrams, settings.host)
        except CannotListenError as error:
            self._world.fatal(f"cannot listen on --dns {address_of(settings.host, settings.port)}: {error}")
            return
        # Both on the same one, whoever chose it: what is cut in a datagram is asked for again over TCP.
        port = _port(self._udp)
        kind = "tcp6" if ":" in settings.host else "tcp"
        description = f"{kind}:{port}:interface={quoteStringArgument(settings.host)}"
        endpoint = self._world.server(description)
        self._tcp = Listener(description, endpoint, self._streams, self._world.fatal, self._streams.gate)
        self._tcp.ready.addCallback(self._listening)
        self._tcp.startService()

    def _listening(self, tcp: IListeningPort) -> None:
        port = _port(tcp)
        where = address_of(self._settings.host, port)
        log.info("answering for {zone} on {where}, UDP and TCP", zone=self._settings.zone, where=where)
        self.ready.callback(port)

    def stopService(self) -> "Deferred[Any]":
        """Answer no more."""
        super().stopService()
        for stream in list(self._streams.gate.links):
            stream.end()
        udp, self._udp = self._udp, None
        tcp, self._tcp = self._tcp, None
        stopping = [maybeDeferred(udp.stopListening)] if udp is not None else []
        return gatherResults([*stopping, maybeDeferred(tcp.stopService)] if tcp is not None else stopping)


def _port(listening: IListeningPort) -> int:
    where = listening.getHost()
    assert isinstance(where, IPv4Address | IPv6Address)
    return where.port
