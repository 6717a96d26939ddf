"""Bytes to bytes, over datagrams and connections that are none."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import LogLevel, capturedLogs
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.dns import (
    DATAGRAM_BYTES_MAX,
    LIMITS,
    QUERY_BYTES_MAX,
    STREAM_BYTES_MAX,
    STREAM_IDLE_S_MAX,
    Answering,
    DatagramAnswers,
    StreamAnswers,
    StreamAnswersFactory,
)
from chatproto.registry.names import Registration
from chatproto.registry.zone import TTL_S, Zone
from chatproto.tally import Tally

SRV = b"_chat._tcp.chat.example"


def servers(count: int, address: str = "10.0.0.1:4444") -> list[Registration]:
    roles = ["leader"] + ["follower"] * (count - 1)
    return [Registration("chat", f"server{n}", "chat", address, role, 3, 100) for n, role in enumerate(roles)]


def question(name: bytes = SRV, kind: int = dns.SRV, **header: Any) -> dns.Message:
    asked = dns.Message(id=4711, recDes=1, **header)
    asked.addQuery(name, kind)
    return asked


def read(packet: bytes | None) -> dns.Message:
    assert packet is not None
    message = dns.Message()
    message.fromStr(packet)
    return message


class AnsweringTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.registered = servers(2)
        self.answering = Answering(Zone("chat.example", "10.0.0.9"), lambda: self.registered)

    def ask(self, asked: dns.Message, bytes_max: int = DATAGRAM_BYTES_MAX) -> dns.Message:
        return read(self.answering.answer(asked.toStr(), "10.1.1.1", bytes_max))


class MessageTests(AnsweringTestCase):
    def test_an_answer(self) -> None:
        answer = self.ask(question())
        self.assertEqual(
            (answer.id, answer.answer, answer.auth, answer.recDes, answer.recAv, answer.trunc, answer.rCode),
            (4711, 1, 1, 1, 0, 0, dns.OK),
        )
        self.assertEqual(answer.queries, question().queries)
        self.assertEqual({record.ttl for record in answer.answers + answer.additional}, {TTL_S})
        payloads = [record.payload for record in answer.answers]
        self.assertEqual(
            payloads,
            [
                dns.Record_SRV(0, 100, 4444, b"server0.chat.example", TTL_S),
                dns.Record_SRV(10, 100, 4444, b"server1.chat.example", TTL_S),
            ],
        )
        self.assertEqual(
            [(record.name, record.payload.dottedQuad()) for record in answer.additional],
            [(dns.Name(b"server0.chat.example"), "10.0.0.1"), (dns.Name(b"server1.chat.example"), "10.0.0.1")],
        )

    def test_every_kind_of_record(self) -> None:
        self.registered = servers(1, "[2001:db8::1]:4444")
        answer = self.ask(question(b"chat.example", dns.ALL_RECORDS))
        self.assertEqual(
            [record.payload for record in answer.answers],
            [
                dns.Record_SOA(
                    b"ns.chat.example", b"hostmaster.chat.example", 1, 3600, 600, 86400, minimum=TTL_S, ttl=TTL_S
                ),
                dns.Record_NS(b"ns.chat.example", TTL_S),
                dns.Record_AAAA("2001:db8::1", TTL_S),
            ],
        )

    def test_what_is_registered_now(self) -> None:
        """Nothing is kept between two answers, so a change is in the next one."""
        for address in ("10.0.0.1", "10.0.0.2"):
            self.registered = servers(1, f"{address}:4444")
            (record,) = self.ask(question(b"chat.example", dns.A)).answers
            self.assertEqual(record.payload.dottedQuad(), address)

    def test_nothing(self) -> None:
        answer = self.ask(question(b"nobody.chat.example", dns.A))
        self.assertEqual((answer.rCode, answer.auth, answer.answers), (dns.ENAME, 1, []))
        self.assertEqual([(record.type, record.ttl) for record in answer.authority], [(dns.SOA, TTL_S)])

    def test_outside(self) -> None:
        answer = self.ask(question(b"example.org", dns.A))
        self.assertEqual((answer.rCode, answer.auth, answer.recAv), (dns.EREFUSED, 0, 0))

    def test_bytes_that_are_no_text(self) -> None:
        self.assertEqual(self.ask(question(b"\xfc\xff.chat.example", dns.A)).rCode, dns.ENAME)

    def test_other_than_questions(self) -> None:
        self.assertEqual(self.ask(question(opCode=dns.OP_STATUS)).rCode, dns.ENOTIMP)
        self.assertEqual(self.ask(question(opCode=dns.OP_NOTIFY)).opCode, dns.OP_NOTIFY)
        self.assertEqual(self.answering.nonsense, 0)

    def test_extensions_are_passed_over(self) -> None:
        """As `dig` sends them (EDNS)."""
        packet = bytearray(question().toStr())
        packet[11] = 1
        packet += b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
        self.assertEqual(len(read(self.answering.answer(bytes(packet), "", 512)).answers), 2)


class LengthTests(AnsweringTestCase):
    def test_what_is_only_helpful_goes_first(self) -> None:
        self.registered = servers(10)
        packet = self.answering.answer(question().toStr(), "", DATAGRAM_BYTES_MAX)
        answer = read(packet)
        self.assertEqual((len(answer.answers), answer.additional, answer.trunc), (10, [], 0))
        self.assertTrue(packet is not None and len(packet) <= DATAGRAM_BYTES_MAX)

    def test_what_does_not_fit_is_asked_for_over_a_stream(self) -> None:
        self.registered = servers(20)
        answer = self.ask(question())
        self.assertEqual((answer.trunc, answer.answers), (1, []))
        answer = self.ask(question(), STREAM_BYTES_MAX)
        self.assertEqual((answer.trunc, len(answer.answers), len(answer.additional)), (0, 20, 20))

    def test_more_than_can_be_pointed_into(self) -> None:
        """A pointer to a name has 14 bits: what would need more is cut, for it could only be wrong."""
        self.registered = [Registration("chat", f"{n:063}", "chat", "10.0.0.1:1", "leader") for n in range(256)]
        answer = self.ask(question(), STREAM_BYTES_MAX)
        self.assertEqual((answer.trunc, answer.answers), (1, []))

    def test_as_many_as_a_registry_holds(self) -> None:
        self.registered = servers(256)
        answer = self.ask(question(), STREAM_BYTES_MAX)
        self.assertEqual(
            sorted(str(record.payload.target) for record in answer.answers),
            sorted(f"server{number}.chat.example" for number in range(256)),
        )


class NonsenseTests(AnsweringTestCase):
    def test_a_packet_without_a_question(self) -> None:
        for asked in (dns.Message(id=4711), question()):
            if asked.queries:
                asked.addQuery(b"chat.example", dns.A)
            answer = self.ask(asked)
            self.assertEqual((answer.id, answer.rCode, answer.queries), (4711, dns.EFORMAT, []))
        self.assertEqual(self.answering.nonsense, 2)

    def test_names_that_are_too_long(self) -> None:
        for name in (b"a" * 64 + b".chat.example", b".".join([b"a"] * 128)):
            self.assertEqual(self.ask(question(name)).rCode, dns.EFORMAT)

    def test_what_has_no_answer(self) -> None:
        """Less than a header, and answers: two servers would go on answering each other."""
        self.assertIsNone(self.answering.answer(b"", "", 512))
        self.assertIsNone(self.answering.answer(question().toStr()[:11], "", 512))
        self.assertIsNone(self.answering.answer(question(answer=1).toStr(), "", 512))
        self.assertEqual(self.answering.nonsense, 3)

    def test_an_operator_is_told_once(self) -> None:
        with capturedLogs() as logged:
            for _ in range(3):
                self.answering.answer(b"?", "10.1.1.1", 512)
        (event,) = logged
        self.assertEqual((event["log_level"], event["peer"]), (LogLevel.warn, "10.1.1.1"))
        self.assertEqual(self.answering.nonsense, 3)

    @given(st.binary(max_size=80))
    def test_garbage(self, garbage: bytes) -> None:
        """Whatever comes, an answer is one, and short; it changes nothing."""
        answer = self.answering.answer(garbage, "", DATAGRAM_BYTES_MAX)
        if answer is not None:
            self.assertTrue(len(answer) <= DATAGRAM_BYTES_MAX and answer[2] & 0x80)
            self.assertEqual(answer[:2], garbage[:2])

    @given(st.data())
    def test_questions_with_wrong_bytes(self, data: st.DataObject) -> None:
        packet = bytearray(question().toStr() + b"\0\0\x29\x04\xd0\0\0\0\0\0\0")
        for _ in range(data.draw(st.integers(1, 6))):
            packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
        answer = self.answering.answer(bytes(packet), "", DATAGRAM_BYTES_MAX)
        if answer is not None:
            self.assertEqual(answer[:2], packet[:2])


class DatagramTests(AnsweringTestCase):
    def test_the_answer_goes_to_whoever_asked(self) -> None:
        written: list[tuple[bytes, Any]] = []

        class Transport:
            def write(self, data: bytes, addr: Any) -> None:
                written.append((data, addr))

        protocol = DatagramAnswers(self.answering)
        protocol.transport = Transport()  # type: ignore[assignment]
        protocol.datagramReceived(question().toStr(), ("10.1.1.1", 5353))
        protocol.datagramReceived(b"?", ("10.1.1.1", 5353))
        ((packet, address),) = written
        self.assertEqual((read(packet).id, address), (4711, ("10.1.1.1", 5353)))


class Transport(StringTransportWithDisconnection):
    """One whose abort is a loss, as that of a socket."""

    def abortConnection(self) -> None:
        self.loseConnection()


class StreamTests(AnsweringTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.tally = Tally()
        self.factory = StreamAnswersFactory(self.answering, self.clock, self.tally)

    def connect(self, host: str = "127.0.0.1") -> StreamAnswers:
        stream = self.factory.buildProtocol(None)
        assert stream is not None
        transport = Transport(peerAddress=IPv4Address("TCP", host, 5))
        transport.protocol = stream
        stream.makeConnection(transport)
        return stream

    def ask_over(self, stream: StreamAnswers, asked: bytes) -> None:
        stream.dataReceived(struct.pack("!H", len(asked)) + asked)

    def test_one_question_after_another(self) -> None:
        stream = self.connect()
        asked = question().toStr()
        for byte in struct.pack("!H", len(asked)) + asked:
            stream.dataReceived(bytes([byte]))
        self.ask_over(stream, question(b"chat.example", dns.A).toStr())
        sent = stream.transport.value()
        (length,) = struct.unpack("!H", sent[:2])
        self.assertEqual(len(read(sent[2 : 2 + length]).answers), 2)
        self.assertEqual(len(read(sent[4 + length :]).answers), 1)

    def test_idle_connections_end(self) -> None:
        stream = self.connect()
        self.clock.advance(STREAM_IDLE_S_MAX - 0.1)
        self.ask_over(stream, question().toStr())
        self.clock.advance(STREAM_IDLE_S_MAX - 0.1)
        self.assertTrue(stream.transport.connected)
        self.clock.advance(0.1)
        self.assertFalse(stream.transport.connected)
        self.assertEqual((self.factory.gate.links, self.clock.calls), ({}, []))

    def test_no_more_than_there_may_be(self) -> None:
        assert LIMITS.strangers_max is not None
        asks = self.connect()
        self.ask_over(asks, question().toStr())
        streams = [self.connect(f"10.0.0.{number}") for number in range(LIMITS.strangers_max + 2)]
        there = [stream.transport.connected for stream in (asks, *streams)]
        self.assertEqual(there, [True, False, False, *[True] * LIMITS.strangers_max])
        for _ in range(LIMITS.per_address_max):
            last = self.connect()
        self.assertFalse(last.transport.connected)
        self.assertEqual(
            self.tally.dropped,
            {("dns", "crowded-out"): 2 + LIMITS.per_address_max - 1, ("dns", "too-many-from-address"): 1},
        )

    def test_nonsense_ends_the_connection(self) -> None:
        for packet in (b"", question(answer=1).toStr()):
            stream = self.connect()
            self.ask_over(stream, packet)
            self.assertFalse(stream.transport.connected)
        stream = self.connect()
        stream.dataReceived(struct.pack("!H", QUERY_BYTES_MAX + 1))
        self.assertFalse(stream.transport.connected)

    def test_who_does_not_read_is_not_read(self) -> None:
        stream = self.connect()
        producer = stream.transport.producer
        producer.pauseProducing()
        self.assertEqual(stream.transport.producerState, "paused")
        self.ask_over(stream, question().toStr())
        self.assertEqual(stream.transport.value(), b"")
        producer.resumeProducing()
        self.assertNotEqual(stream.transport.value(), b"")
