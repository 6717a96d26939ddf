import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.settings import ChatSettings
from chatproto.gateway.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from chatproto.gateway.websocket import PageLink, WebSocket
from chatproto.link import LINGER_S_MAX
from chatproto.tally import Tally
from tests.unit.chat.fakes import ChatTestCase, brief
from tests.unit.gateway.wire import masked, unframed
from tests.unit.transports import Transport

HELLO = b'{"type":"hello","version":1,"identity":"ada"}'


class WebSocketTestCase(ChatTestCase):
    settings = ChatSettings(
        name="primary",
        rate_lines=10,
        burst_lines=50,
        line_bytes_max=200,
        backlog_bytes_max=2000,
        nonsense_max=5,
        handshake_s_max=10,
        heartbeat_s=15,
        silence_s_max=45,
        connections_per_address_max=2,
    )

    def start(self) -> None:
        super().start()
        self.tally = Tally()
        self.factory = ClientLinkFactory(self.server, self.turn, self.clock, self.tally)
        self.gate = self.factory.open_gate("page")

    def connect(self, transport: Transport | None = None) -> WebSocket:
        self.transport = transport or Transport()
        self.transport.peerAddr = IPv4Address("TCP", "127.0.0.1", 5)
        link = PageLink(self.server, self.turn, self.clock, self.gate)
        link.factory = self.factory
        self.link = link
        self.socket = WebSocket(link, self.clock)
        self.socket.makeConnection(self.transport)
        return self.socket

    def come(self, data: bytes) -> None:
        self.socket.dataReceived(data)
        self.commit()

    def frames(self) -> list[tuple[int, bytes]]:
        """Return what was written since."""
        data = b"".join(self.transport.writes)
        self.transport.writes.clear()
        return unframed(data)

    def heard(self) -> list[str]:
        """Return the lines that were written since, in short; nothing else was."""
        found = self.frames()
        self.assertEqual({opcode for opcode, _ in found} - {TEXT}, set())
        return [brief(json.loads(line)) for _, text in found for line in text.split(b"\n")]

    def hello(self, *_: Any, **fields: Any) -> None:  # type: ignore[override]
        self.connect()
        self.come(masked(TEXT, json.dumps({"type": "hello", "version": 1, **fields}).encode()))
        self.frames()

    def lost_all(self) -> None:
        for link in self.factory.links:
            self.gate.went(link)

    def lost(self) -> None:
        self.socket.connectionLost(Failure(ConnectionDone()))
        self.commit()


class LineTests(WebSocketTestCase):
    def test_a_message_is_one_line_or_several_and_a_turns_answer_is_one_message(self) -> None:
        self.connect()
        self.come(masked(TEXT, HELLO))
        ((opcode, text),) = self.frames()
        self.assertEqual(opcode, TEXT)
        lines = [json.loads(line)["type"] for line in text.split(b"\n")]
        self.assertEqual(lines, ["welcome", "newidentity", "roomchange", "roomlist", "roomcontents"])
        self.come(masked(TEXT, b'{"type":"list"}\n{"type":"list"}\n') + masked(TEXT, b'{"type":"list"}'))
        self.assertEqual(self.heard(), ["list MainHall:1"] * 3)

    def test_fragments_make_a_line(self) -> None:
        self.hello()
        self.come(masked(TEXT, b'{"type":', final=False))
        self.come(masked(CONTINUATION, b'"list"}'))
        self.assertEqual(self.heard(), ["list MainHall:1"])

    def test_nobody_is_greeted_before_a_first_line_could_come(self) -> None:
        self.connect()
        self.clock.advance(9.9)
        self.commit()
        self.assertEqual(self.frames(), [])
        self.clock.advance(0.2)
        self.commit()
        self.assertEqual(self.heard()[0], "=guest1")

    def test_a_client_that_never_says_hello_is_a_base_client(self) -> None:
        self.connect()
        self.come(masked(TEXT, b'{"type":"message","content":"hi"}'))
        self.assertEqual(self.heard()[-1], "guest1: hi")

    def test_too_many_from_one_address_are_turned_away(self) -> None:
        for _ in range(3):
            self.connect()
        self.commit()
        (text, close) = self.frames()
        self.assertIn(b"too many connections", text[1])
        self.assertEqual(close, (CLOSE, b"\x03\xe8"))


class EndTests(WebSocketTestCase):
    def test_the_other_side_ends_it(self) -> None:
        self.hello()
        self.come(masked(CLOSE, b"\x03\xe9bye"))
        self.assertEqual(self.frames(), [(CLOSE, b"\x03\xe9")])
        self.assertEqual(self.transport.calls, ["lose"])
        self.lost()
        self.assertEqual(len(self.server.seats), 1, "its session waits")

    def test_an_end_without_a_code_is_answered_with_the_normal_one(self) -> None:
        self.hello()
        self.come(masked(CLOSE))
        self.assertEqual(self.frames(), [(CLOSE, b"\x03\xe8")])

    def test_a_client_that_quits_hears_so_and_the_end(self) -> None:
        self.hello(identity="ada")
        self.come(masked(TEXT, b'{"type":"quit"}'))
        (said, close) = self.frames()
        self.assertEqual(json.loads(said[1])["roomid"], "")
        self.assertEqual(close, (CLOSE, b"\x03\xe8"))
        self.assertEqual(self.transport.calls, [], "its answer is waited for")
        self.come(masked(CLOSE, b"\x03\xe8"))
        self.assertEqual(self.transport.calls, ["lose"])
        self.assertEqual(self.frames(), [])

    def test_one_that_does_not_answer_is_aborted(self) -> None:
        self.hello()
        self.come(masked(TEXT, b'{"type":"quit"}'))
        self.clock.advance(LINGER_S_MAX)
        self.assertEqual(self.transport.calls, ["abort"])
        self.lost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_no_text_or_breaks_the_rules_is_told_why_and_counted(self) -> None:
        for data, code in (
            (masked(BINARY, b"x"), b"\x03\xeb"),
            (masked(TEXT, b"\xff"), b"\x03\xef"),
            (masked(3), b"\x03\xea"),
        ):
            self.lost_all()
            self.hello()
            self.come(data + masked(TEXT, b'{"type":"list"}'))
            self.assertEqual(self.frames(), [(CLOSE, code)])
            self.assertEqual(self.transport.calls, ["lose write"], "what comes is still read")
            self.come(masked(TEXT, b"x"))
            self.come(masked(3))
            self.assertEqual(self.frames(), [])
        self.assertEqual(self.tally.dropped, {("page", "bad-frame"): 3})

    def test_over_tls_which_knows_no_half_ends_it_is_the_whole(self) -> None:
        transport = Transport()
        alsoProvides(transport, ISSLTransport)
        self.connect(transport)
        self.come(masked(3))
        self.assertEqual(self.transport.calls, ["lose"])

    def test_a_line_that_is_too_long_is_refused_as_on_any_other_link(self) -> None:
        for data in (masked(TEXT, b"x" * 202)[:8], masked(TEXT, b"x" * 201), masked(TEXT, b"x" * 201 + b"\n")):
            self.lost_all()
            self.hello()
            self.come(data)
            (said, close) = self.frames()
            self.assertEqual(json.loads(said[1])["code"], "line-too-long")
            self.assertEqual(close, (CLOSE, b"\x03\xf1"))
        self.assertEqual(self.tally.dropped, {("page", "line-too-long"): 3})

    def test_what_was_said_before_the_end_is_heard(self) -> None:
        self.hello()
        self.come(masked(TEXT, b'{"type":"message","content":"last"}') + masked(CLOSE))
        self.assertEqual(self.server.hall.rooms["MainHall"].last, 1)


class LifeTests(WebSocketTestCase):
    def test_every_client_is_pinged_and_one_that_does_not_answer_is_aborted(self) -> None:
        for first in (b'{"type":"list"}', HELLO):
            self.connect()
            self.come(masked(TEXT, first))
            self.frames()
            for _ in range(4):
                self.clock.advance(15)
                self.assertEqual(self.frames(), [(PING, b"")])
                self.come(masked(PONG))
            # The last answer was heard in the first of these spans.
            for _ in range(4):
                self.assertEqual(self.transport.calls, [])
                self.clock.advance(15)
            self.assertEqual(self.transport.calls, ["abort"])
            self.lost()

    def test_pings_are_answered(self) -> None:
        self.connect()
        self.come(masked(PING, b"one") + masked(PING, b"two"))
        self.assertEqual(self.frames(), [(PONG, b"one"), (PONG, b"two")])

    def test_frames_that_bring_no_line_are_read_as_slowly_as_lines(self) -> None:
        self.hello()
        self.come(masked(PING) * 60)
        self.assertEqual(self.transport.calls, ["pause"])
        self.clock.advance(1.5)
        self.assertEqual(self.transport.calls, ["pause", "resume"])


class SlowTests(WebSocketTestCase):
    def test_nothing_piles_up_for_a_client_that_does_not_read(self) -> None:
        self.hello()
        self.transport.producer.pauseProducing()
        for _ in range(30):
            self.come(masked(PING, b"?" * 125))
        self.assertEqual(self.frames(), [], "pongs are left out")
        for _ in range(10):
            self.come(masked(TEXT, b'{"type":"message","content":"' + b"x" * 150 + b'"}'))
        self.assertEqual(self.tally.dropped, {("page", "backlog"): 1})
        self.assertEqual(self.frames(), [])
        self.clock.advance(LINGER_S_MAX)
        self.assertEqual(self.transport.calls[-1], "abort")

    def test_what_waited_is_sent_when_it_reads_again(self) -> None:
        self.hello()
        self.transport.producer.pauseProducing()
        self.come(masked(TEXT, b'{"type":"list"}') + masked(TEXT, b'{"type":"list"}'))
        self.assertEqual(self.frames(), [])
        self.transport.producer.resumeProducing()
        self.assertEqual(len(self.frames()), 1)
        self.come(masked(PING))
        self.assertEqual(self.frames(), [(PONG, b"")])
        self.transport.producer.stopProducing()
