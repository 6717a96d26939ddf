"""The registry's answers over UDP and TCP: `chatproto.registry.zone` decides, `twisted.names` knows the bytes."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, assert_never

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.logger import Logger
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from chatproto.gate import Gate, Limits
from chatproto.registry.names import Registration
from chatproto.registry.targets import Target
from chatproto.registry.zone import TTL_S, Answer, Authority, Code, Data, Question, Record, Start, Zone, name_fits
from chatproto.tally import Tally

DATAGRAM_BYTES_MAX = 512
"""Without EDNS, which nothing here needs, no datagram is longer (RFC 1035, 2.3.4)."""

QUERY_BYTES_MAX = 4096
STREAM_BYTES_MAX = 16383
"""What lies beyond cannot be pointed at where a name comes again (RFC 1035, 4.1.4)."""

LIMITS = Limits(connections_max=128, per_address_max=16, strangers_max=64, arrivals_a_second=20, arrivals_at_once=64)
"""Of connections; a stranger's has asked nothing yet."""
STREAM_IDLE_S_MAX = 10.0

_HEADER_BYTES = dns.Message.headerSize
_NONSENSE = (EOFError, ValueError)
"""What decoding raises."""

log = Logger()


class Answering:
    """Answers what is asked, from a zone and what is registered at that moment.

    Attributes:
        nonsense: how many packets were no questions. The first is logged.
    """

    def __init__(self, zone: Zone, registered: Callable[[], Iterable[Registration]]) -> None:
        """Answer for a zone; `registered` returns the live registrations."""
        self.nonsense = 0
        self._zone = zone
        self._registered = registered

    def answer(self, packet: bytes, peer: object, bytes_max: int) -> bytes | None:
        """Return the answer to a packet, in `bytes_max` at most; None where there is none.

        Only a packet without a header, and one that is itself an answer, have none: two servers that answered
        each other's answers would never end.
        """
        if len(packet) < _HEADER_BYTES or packet[2] & 0x80:
            self._count_nonsense(peer)
            return None
        asked = dns.Message()
        try:
            asked.fromStr(packet)
        except _NONSENSE:
            # The header is read before anything that can be wrong; the question, if there is one, may be half read.
            asked.queries = []
        given = self._decide(asked)
        if given.code is Code.MALFORMED:
            self._count_nonsense(peer)
            asked.queries = []
        return _encoded(asked, given, bytes_max)

    def _decide(self, asked: dns.Message) -> Answer:
        if asked.opCode != dns.OP_QUERY:
            return Answer(Code.NOT_IMPLEMENTED)
        if len(asked.queries) != 1:
            return Answer(Code.MALFORMED)
        query = asked.queries[0]
        # Any bytes may be asked for; those beyond ASCII only have to be found in no name here.
        name = query.name.name.decode("latin-1")
        if name and not name_fits(name):
            return Answer(Code.MALFORMED)
        return self._zone.answer(Question(name, query.type, query.cls), self._registered())

    def _count_nonsense(self, peer: object) -> None:
        self.nonsense += 1
        if self.nonsense == 1:
            log.warn("{peer} sent what is no question of the DNS; the next ones are counted only", peer=str(peer))


def _encoded(asked: dns.Message, given: Answer, bytes_max: int) -> bytes:
    """Return the bytes of an answer: without what is only helpful, or cut (TC), where it would be too long."""
    whole = _message(asked, given, given.records, given.additional).toStr()
    if len(whole) <= bytes_max:
        return whole
    bare = _message(asked, given, given.records, ()).toStr()
    if len(bare) <= bytes_max:
        return bare
    cut = _message(asked, given, (), ())
    cut.trunc = 1
    return cut.toStr()


def _message(
    asked: dns.Message, given: Answer, records: tuple[Record, ...], additional: tuple[Record, ...]
) -> dns.Message:
    message = dns.Message(
        id=asked.id,
        answer=1,
        opCode=asked.opCode,
        recDes=asked.recDes,
        auth=given.authoritative,
        rCode=given.code,
        maxSize=0,
    )
    message.queries = asked.queries
    message.answers = [_header(record) for record in records]
    message.authority = [_header(record) for record in given.authority]
    message.additional = [_header(record) for record in additional]
    return message


def _header(record: Record) -> dns.RRHeader:
    return dns.RRHeader(record.name.encode("ascii"), record.kind, dns.IN, TTL_S, _payload(record.data))


def _payload(data: Data) -> Any:
    match data:
        case IPv4Address():
            return dns.Record_A(str(data), TTL_S)
        case IPv6Address():
            return dns.Record_AAAA(str(data), TTL_S)
        case Authority():
            return dns.Record_NS(data.host.encode("ascii"), TTL_S)
        case Target():
            return dns.Record_SRV(data.priority, data.weight, data.port, data.host.encode("ascii"), TTL_S)
        case Start():
            # Nobody copies the zone, so its number never has to grow, and nobody waits for these spans.
            host, mailbox = data.host.encode("ascii"), data.mailbox.encode("ascii")
            return dns.Record_SOA(
                host, mailbox, serial=1, refresh=3600, retry=600, expire=86400, minimum=TTL_S, ttl=TTL_S
            )
        case _:
            assert_never(data)


class DatagramAnswers(DatagramProtocol):
    """Answers over UDP."""

    noisy = False
    transport: Any

    def __init__(self, answering: Answering) -> None:
        """Answer as `answering` does."""
        self._answering = answering

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer a question."""
        answer = self._answering.answer(datagram, addr[0], DATAGRAM_BYTES_MAX)
        if answer is not None:
            self.transport.write(answer, addr)


class StreamAnswers(Int16StringReceiver, TimeoutMixin):
    """Answers over one connection, until nothing was asked for `STREAM_IDLE_S_MAX`.

    Who does not read the answers is read no further.
    """

    MAX_LENGTH = QUERY_BYTES_MAX
    transport: Any

    def __init__(self, gate: "Gate[StreamAnswers]", answering: Answering, clock: IReactorTime) -> None:
        """Make one that is not connected yet; `StreamAnswersFactory` does."""
        self._gate = gate
        self._answering = answering
        self._clock = clock

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """Set the timer of `TimeoutMixin`."""
        return self._clock.callLater(period, func)

    def connectionMade(self) -> None:
        """Wait for questions."""
        self.transport.registerProducer(self, True)
        self.setTimeout(STREAM_IDLE_S_MAX)
        no_room = self._gate.came(self, getattr(self.transport.getPeer(), "host", None))
        if no_room is not None:
            stream, reason = no_room
            stream.drop(reason)

    def stringReceived(self, string: bytes) -> None:
        """Answer a question."""
        self.resetTimeout()
        self._gate.introduced(self)
        answer = self._answering.answer(string, self.transport.getPeer(), STREAM_BYTES_MAX)
        if answer is None:
            self.drop("no-question")
        else:
            self.sendString(answer)

    def lengthLimitExceeded(self, length: int) -> None:
        """End: no question is so long."""
        self.drop("frame-too-long")

    def timeoutConnection(self) -> None:
        """End: nothing was asked for too long."""
        self.drop("silent")

    def drop(self, reason: str) -> None:
        """End at once, for a reason that is counted."""
        self._gate.drop(reason, self._clock.seconds())
        self.end()

    def end(self) -> None:
        """End at once."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be no more."""
        self.setTimeout(None)
        self._gate.went(self)


class StreamAnswersFactory(Factory):
    """Makes the connections that are answered over.

    Attributes:
        gate: has those that are connected, and bounds how many there are: UDP still answers whoever is not let in.
    """

    noisy = False

    def __init__(self, answering: Answering, clock: IReactorTime, tally: Tally) -> None:
        """Answer as `answering` does, and have those counted who are dropped."""
        self.gate: Gate[StreamAnswers] = Gate("dns", tally, lambda: LIMITS)
        self._answering = answering
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> StreamAnswers:
        """Make one."""
        return StreamAnswers(self.gate, self._answering, self._clock)
