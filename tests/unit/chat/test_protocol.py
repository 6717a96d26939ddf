import json
from dataclasses import replace
from typing import Any, ClassVar

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, ISSLTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from chatproto.chat.protocol import RATE_PAUSE_S, RATE_SHARE_S, ClientLink, ClientLinkFactory
from chatproto.chat.settings import ChatSettings
from chatproto.release import RELEASE
from chatproto.tally import Tally
from tests.unit.chat.fakes import ChatTestCase, brief
from tests.unit.transports import Transport


class TCPTransport(Transport):
    """A transport with the two settings of TCP."""

    no_delay = keep_alive = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled


class ProtocolTestCase(ChatTestCase):
    settings = ChatSettings(
        name="primary",
        greet_after_s=0.1,
        rate_lines=10,
        burst_lines=50,
        line_bytes_max=200,
        backlog_bytes_max=2000,
        in_flight_max=10,
        nonsense_max=5,
        connections_per_address_max=3,
        handshakes_max=5,
        message_chars_max=100,
    )

    def start(self) -> None:
        super().start()
        self.tally = Tally()
        self.factory = ClientLinkFactory(self.server, self.turn, self.clock, self.tally)
        self.transport = Transport()

    def connect(self, host: str = "127.0.0.1", *, tls: bool = False, transport: Transport | None = None) -> ClientLink:
        address = IPv4Address("TCP", host, 5)
        self.transport = transport or Transport()
        self.transport.peerAddr = address
        if tls:
            alsoProvides(self.transport, ISSLTransport)
        link = self.factory.buildProtocol(address)
        link.makeConnection(self.transport)
        return link

    def greet(self) -> ClientLink:
        """Connect a base client and forget what it hears first."""
        link = self.connect()
        self.clock.advance(0.2)
        self.commit()
        self.heard()
        return link

    def hello(self, **fields: Any) -> ClientLink:  # type: ignore[override]
        """Connect an extended client and forget what it hears first."""
        link = self.connect()
        self.say(link, {"type": "hello", "version": 1, **fields})
        self.heard()
        return link

    def say(self, link: ClientLink, *lines: dict[str, Any] | bytes) -> None:
        """Have lines arrive together."""
        encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        link.dataReceived(b"".join(line + b"\n" for line in encoded))
        self.commit()

    def heard(self, link: ClientLink | None = None) -> list[str]:
        """Return what was written since, in short."""
        transport: Any = self.transport if link is None else link.transport
        data = b"".join(transport.writes)
        transport.writes.clear()
        return [brief(json.loads(line)) for line in data.split(b"\n")[:-1]]

    def lose_link(self, link: ClientLink) -> None:
        link.connectionLost(Failure(ConnectionDone()))
        self.commit()


class GreetingTests(ProtocolTestCase):
    def test_it_hears_of_half_closes_and_handshakes(self) -> None:
        link = self.connect()
        self.assertTrue(verifyObject(IHalfCloseableProtocol, link))
        self.assertTrue(verifyObject(IHandshakeListener, link))

    def test_a_silent_client_is_greeted_after_a_while(self) -> None:
        self.connect()
        self.clock.advance(0.09)
        self.commit()
        self.assertEqual(self.heard(), [])
        self.clock.advance(0.02)
        self.commit()
        self.assertEqual(self.heard(), ["=guest1", "guest1 >MainHall", "list MainHall:1", "in MainHall : guest1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_first_line_is_greeted_and_answered(self) -> None:
        link = self.connect()
        self.say(link, {"type": "message", "content": "Hi"}, {"type": "list"})
        self.assertEqual(self.heard()[3:], ["in MainHall : guest1", "guest1: Hi", "list MainHall:1"])
        self.clock.advance(1)
        self.commit()
        self.assertEqual(self.heard(), [], "once is enough")

    def test_a_first_line_of_nonsense_is_a_base_clients(self) -> None:
        link = self.connect()
        self.say(link, b"GET / HTTP/1.1", {"type": "list"})
        self.assertEqual(self.heard()[-1], "list MainHall:1")
        self.assertEqual(len(self.heard()), 0)

    def test_a_hello_is_welcomed_and_what_follows_it_read_as_an_extended_clients(self) -> None:
        link = self.connect()
        self.say(
            link,
            {"type": "hello", "version": 1, "identity": "adel"},
            {"type": "message", "content": "Hi", "id": "f81d"},
            {"type": "status"},
        )
        heard = self.heard()
        self.assertCountEqual(
            heard,
            [
                "welcome",
                "=adel",
                "adel >MainHall",
                "list MainHall:1",
                "in MainHall : adel",
                "adel: Hi",
                "ack f81d MainHall/1",
                "status",
            ],
        )
        self.assertEqual((heard[0], heard[-1]), ("welcome", "status"))
        self.assertTrue(link.extended)

    def test_a_hello_in_pieces_is_one(self) -> None:
        link = self.connect()
        for byte in b'{"type":"hello","version":1}\r\n':
            link.dataReceived(bytes([byte]))
        self.commit()
        self.assertEqual(self.heard()[0], "welcome")

    def test_a_late_hello_is_welcomed_too(self) -> None:
        link = self.greet()
        self.say(link, {"type": "message", "content": "Hi"}, {"type": "hello", "version": 1}, {"type": "status"})
        heard = self.heard()
        self.assertIn("welcome", heard)
        self.assertEqual(heard[-1], "status")
        self.assertEqual([member.token is None for member in self.hall.members.values()], [False])

    def test_a_hello_that_is_refused_ends_the_link(self) -> None:
        link = self.connect()
        self.say(link, {"type": "hello", "version": 2}, {"type": "message", "content": "Hi"})
        self.assertEqual((self.heard(), self.transport.calls), (["error version"], ["lose"]))
        self.lose_link(link)
        self.assertEqual((self.server.seats, self.clock.getDelayedCalls()), ({}, []))

    def test_a_late_hello_that_is_refused_parts_from_the_client(self) -> None:
        link = self.greet()
        self.say(link, {"type": "hello", "version": 2}, {"type": "message", "content": "Hi"})
        self.assertEqual(self.heard(), ["error version"])
        self.lose_link(link)
        self.assertEqual((self.server.seats, self.hall.members), ({}, {}))

    def test_a_second_hello_is_refused(self) -> None:
        link = self.hello()
        self.say(link, {"type": "hello", "version": 1})
        self.assertEqual(self.heard(), ["error already-welcome"])

    def test_tcp_sends_at_once_and_looks_for_dead_peers(self) -> None:
        transport = TCPTransport()
        self.connect(transport=transport)
        self.assertEqual((transport.no_delay, transport.keep_alive), (True, True))

    def test_a_full_node_says_so(self) -> None:
        self.settings = replace(self.settings, capacity=1)
        self.start()
        self.greet()
        link = self.connect()
        self.say(link, {"type": "message", "content": "Hi"})
        (said,) = self.heard()
        self.assertIn("primary is full", said)
        self.assertEqual((self.transport.calls, link.seat), (["lose"], None))
        self.lose_link(link)

    def test_a_client_that_goes_before_it_is_greeted(self) -> None:
        link = self.connect()
        self.lose_link(link)
        self.assertEqual((self.clock.getDelayedCalls(), self.server.seats), ([], {}))


class GuestlessTests(ProtocolTestCase):
    settings = replace(ProtocolTestCase.settings, guests=False, handshake_s_max=10.0)

    def test_who_has_an_account_may_take_their_time_to_say_so(self) -> None:
        self.connect()
        self.clock.advance(9.9)
        self.assertEqual(self.heard(), [])
        self.clock.advance(0.2)
        self.commit()
        (said,) = self.heard()
        self.assertIn("account", said)


class AskingTests(ProtocolTestCase):
    """Operators' tools: a connection that begins with `status`."""

    STATUS: ClassVar[dict[str, Any]] = {"type": "status"}

    def ask(self) -> ClientLink:  # type: ignore[override]
        link = self.connect()
        self.say(link, self.STATUS)
        return link

    def test_it_is_answered_without_a_session(self) -> None:
        self.greet()
        link = self.ask()
        (status,) = [json.loads(data) for data in b"".join(self.transport.writes).split(b"\n")[:-1]]
        self.assertEqual(status.pop("version"), RELEASE)
        self.assertAlmostEqual(status.pop("up_s"), self.clock.seconds(), 1)
        self.assertEqual(
            status,
            {
                "type": "status",
                "rooms": [],
                "archived": 0,
                "transferred": 0,
                "epoch": 1,
                "role": "leader",
                "redundancy": "single",
                "peers": [],
                "server": "primary",
                "clients": 1,
                "capacity": 100,
                "serving": True,
                "witness": "",
                "waits_for": "",
                "pages": [],
                "room_count": 1,
                "entries": 1,
                "dropped": 0,
            },
        )
        self.heard()
        self.clock.advance(1)
        self.commit()
        self.assertEqual((self.heard(), link.seat, len(self.server.seats)), ([], None, 1), "nobody is greeted")
        self.lose_link(link)
        self.assertEqual(len(self.factory.links), 1)

    def test_it_is_answered_again(self) -> None:
        link = self.ask()
        self.say(link, self.STATUS, self.STATUS)
        self.assertEqual(self.heard(), ["status"] * 3)

    def test_a_node_that_is_full_or_cut_off_answers(self) -> None:
        self.settings = replace(self.settings, capacity=1)
        self.start()
        self.greet()
        self.log.serving = False
        self.server.changed()
        self.ask()
        self.assertEqual((self.heard(), self.transport.calls), (["status"], []))

    def test_hello_begins_a_session(self) -> None:
        link = self.ask()
        self.say(link, self.STATUS, {"type": "hello", "version": 1, "identity": "adel"}, {"type": "list"}, self.STATUS)
        heard = self.heard()
        self.assertEqual((heard[:3], heard[-2:]), (["status", "status", "welcome"], ["list MainHall:1", "status"]))
        self.clock.advance(20)
        self.commit()
        self.assertIn("ping", self.heard())

    def test_a_hello_that_is_refused_ends_it(self) -> None:
        link = self.ask()
        self.say(link, {"type": "hello", "version": 2}, self.STATUS)
        self.assertEqual((self.heard(), self.transport.calls), (["status", "error version"], ["lose"]))
        self.lose_link(link)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_anything_else_is_nonsense(self) -> None:
        link = self.ask()
        self.say(link, {"type": "list"}, b"null", self.STATUS)
        self.assertEqual(self.heard(), ["status", "error bad-line", "error bad-line", "status"])
        self.say(link, *[b"null"] * 5, self.STATUS)
        self.assertEqual(self.heard(), ["error bad-line"] * 3 + ["error too-much-nonsense"])
        self.assertEqual(self.transport.calls, ["lose"])

    def test_what_follows_its_end_is_not_read(self) -> None:
        link = self.ask()
        self.say(link, *[b"null"] * 6, {"type": "hello", "version": 1})
        self.assertEqual((self.heard()[-1], self.server.seats), ("error too-much-nonsense", {}))

    def test_it_is_read_more_slowly_when_it_asks_too_fast(self) -> None:
        link = self.ask()
        self.say(link, *[self.STATUS] * 60)
        self.assertEqual(self.transport.calls, ["pause"])

    def test_its_silence_ends_it(self) -> None:
        link = self.ask()
        self.clock.advance(44)
        self.say(link, self.STATUS)
        self.clock.advance(44.9)
        self.assertEqual(self.transport.calls, [])
        self.clock.advance(0.2)
        self.assertEqual((self.transport.calls, self.tally.dropped), (["abort"], {("client", "silent"): 1}))

    def test_who_asks_and_sends_no_more_is_answered(self) -> None:
        link = self.connect()
        link.dataReceived(b'{"type":"status"}\n')
        link.readConnectionLost()
        self.commit()
        self.assertEqual((self.heard(), self.transport.calls), (["status"], ["lose"]))


class HandshakeTests(ProtocolTestCase):
    def test_a_client_is_greeted_after_its_handshake(self) -> None:
        link = self.connect(tls=True)
        self.clock.advance(5)
        self.commit()
        self.assertEqual(self.heard(), [])
        link.handshakeCompleted()
        self.clock.advance(0.2)
        self.commit()
        self.assertEqual(self.heard()[0], "=guest1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_handshake_that_takes_too_long_is_the_end(self) -> None:
        self.connect(tls=True)
        self.clock.advance(10.1)
        self.assertEqual(self.transport.calls, ["abort"])

    def test_a_client_that_was_refused_is_still_given_so_long(self) -> None:
        for _ in range(4):
            link = self.connect(tls=True)
            if link.open:
                link.abort()
        link.handshakeCompleted()
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.clock.advance(60)
        self.assertEqual(self.transport.calls, ["lose", "abort"])

    def test_a_line_that_comes_with_the_handshake_is_the_first(self) -> None:
        link = self.connect(tls=True)
        self.say(link, {"type": "hello", "version": 1})
        link.handshakeCompleted()
        self.clock.advance(0.2)
        self.commit()
        self.assertEqual(self.heard()[0], "welcome")
        (heartbeat,) = self.clock.getDelayedCalls()
        self.assertEqual(heartbeat.getTime(), 15.0)


class ReadingTests(ProtocolTestCase):
    def test_lines_are_read_together_or_one_by_one_alike(self) -> None:
        lines = [
            b'{"type":"message","content":"one"}',
            b'{"type":"message","content":"two"}\r',
            b' {"type":"message","content":"three"} ',
            b'{"type":"message","content":"\\"hello\\""}',
            b'{"type":"message","content":"\\"ping\\" {"}',
            b'{"content":"six","type":"message"}',
        ]
        for apart in (False, True):
            link = self.greet()
            for batch in [[line] for line in lines] if apart else [lines]:
                self.say(link, *batch)
            self.assertEqual(
                [line.split(": ", 1)[1] for line in self.heard()],
                ["one", "two", "three", '"hello"', '"ping" {', "six"],
            )
            self.lose_link(link)
            self.log.archives.clear()
            self.hall.rooms["MainHall"].first = self.hall.rooms["MainHall"].last + 1

    def test_two_values_in_a_line_and_a_value_in_two_lines_are_nonsense(self) -> None:
        link = self.hello()
        self.say(link, b'{"type":"list"}{"type":"list"}', b'{"type":"list"} {"type":"list"}')
        self.assertEqual(self.heard(), ["error bad-line"] * 2)
        self.say(link, b'{"type":', b'"list"}')
        self.assertEqual(self.heard(), ["error bad-line"] * 2)
        self.assertEqual(self.transport.calls, [])

    def test_two_values_in_a_line_do_not_make_up_for_an_empty_one(self) -> None:
        link = self.hello()
        self.say(link, b'{"type":"list"}{"type":"list"}', b"")
        self.assertEqual(self.heard(), ["error bad-line"] * 2)
        self.say(link, b"", b'{"type":"list"}{"type":"list"}')
        self.assertEqual(self.heard(), ["error bad-line"] * 2)

    def test_extensions_are_nonsense_from_a_base_client_however_they_come(self) -> None:
        lines: list[dict[str, Any]] = [
            {"type": "message", "content": "Hi", "id": "f81d"},
            {"type": "join", "roomid": "jokes", "stay": True},
            {"type": "status"},
            {"type": "list"},
        ]
        link = self.greet()
        self.say(link, {"type": "createroom", "roomid": "jokes"})
        self.heard()
        self.say(link, *lines[:2])
        self.say(link, *lines[2:])
        self.assertEqual(self.heard(), ["guest1: Hi", "guest1 MainHall>jokes", "list MainHall:0 jokes:1"])

    def test_nonsense_among_lines_is_passed_over(self) -> None:
        link = self.greet()
        self.say(link, {"type": "message", "content": "one"}, b"4444", b"", {"type": "message", "content": "two"})
        self.assertEqual(self.heard(), ["guest1: one", "guest1: two"])
        link = self.hello(history="none")
        self.say(link, {"type": "message", "content": "three"}, b"null", {"type": "list"})
        self.assertEqual(self.heard(), ["error bad-line", "guest2: three", "list MainHall:2"])

    def test_nothing_of_a_client_crashes_its_link(self) -> None:
        for number, line in enumerate(
            (
                b"",
                b"\r",
                b"\x00\xff\xfe",
                b"[" * 150,
                b'{"type":"ping","a":' + b"[" * 150,
                b'{"type":"message","content":"\xff"}',
                b'{"type":"message","content":"\\ud800"}',
                b'{"type":"kick","roomid":"a","identity":"b","time":1e999}',
                b'{"type":"kick","roomid":"a","identity":"b","time":' + b"9" * 100 + b"}",
                b'{"type":"ping","type":"ping","x":1e999}',
                b'{"type":"hello","version":1,"session":5}',
            )
        ):
            for greet in (self.greet, self.hello):
                link = greet()
                self.say(link, line, {"type": "list"})
                self.assertEqual((self.heard()[-1], self.transport.calls), ("list MainHall:1", []), (number, line))
                self.lose_link(link)
                self.server.seats.clear()
                self.hall.__init__()  # type: ignore[misc]

    def test_depth_beyond_all_bounds_is_nonsense(self) -> None:
        self.server.settings = replace(self.settings, line_bytes_max=10**6, nonsense_max=1000)
        for kind in ("ping", "list"):
            link = self.hello()
            for depth in (50_000, 900, 980, 985, 990, 995, 1000, 1100):
                self.say(link, b'{"type":"%b","a":' % kind.encode() + b"[" * depth + b"]" * depth + b"}")
                self.assertNotEqual(self.heard(), [], (kind, depth))
            self.assertEqual((self.transport.calls, self.flushLoggedErrors()), ([], []))
            self.lose_link(link)

    def test_a_ping_is_answered_with_its_own_fields(self) -> None:
        link = self.hello()
        self.say(link, b'{"n":12345678901234567890,"type":"ping","s":{"x":[null,true,"\\u00e9"]}}')
        (line,) = b"".join(self.transport.writes).split(b"\n")[:-1]
        self.assertEqual(json.loads(line), {"n": 12345678901234567890, "type": "pong", "s": {"x": [None, True, "é"]}})

    def test_a_base_client_knows_no_ping(self) -> None:
        link = self.greet()
        self.say(link, {"type": "ping"})
        self.assertEqual(self.heard(), [])

    def test_lines_after_a_quit_are_for_nobody(self) -> None:
        link = self.greet()
        self.say(link, {"type": "quit"}, {"type": "message", "content": "Hi"})
        self.assertEqual((self.heard(), self.transport.calls), (["guest1 MainHall>"], ["lose"]))
        link.dataReceived(b'{"type":"list"}\n')
        self.commit()
        self.assertEqual(self.heard(), [])

    def test_lines_of_a_client_that_was_turned_away_are_for_nobody(self) -> None:
        link = self.connect()
        link._greeted = True
        link.linesReceived(b'{"type":"list"}\n{"type":"ping"}\n')
        link._take_one(b'{"type":"list"}')
        self.commit()
        self.assertEqual(self.heard(), [])


class NonsenseTests(ProtocolTestCase):
    def test_too_much_nonsense_ends_a_base_client_with_a_word(self) -> None:
        link = self.greet()
        self.say(link, *[b"nonsense"] * 5)
        self.assertEqual((self.heard(), self.transport.calls), ([], []))
        self.say(link, b"nonsense", {"type": "message", "content": "still here?"})
        (said,) = self.heard()
        self.assertTrue(said.startswith("server: too-much-nonsense: more than 5 lines"), said)
        self.assertEqual((self.transport.calls, self.log.archives), (["lose"], {}))

    def test_too_much_nonsense_ends_an_extended_client_with_an_error(self) -> None:
        link = self.hello()
        self.say(link, *[b"nonsense"] * 6)
        self.assertEqual(self.heard(), ["error bad-line"] * 5 + ["error too-much-nonsense"])
        self.assertEqual(self.transport.calls, ["lose"])

    def test_nonsense_is_counted_for_a_minute(self) -> None:
        link = self.greet()
        self.say(link, *[b"nonsense"] * 5)
        self.clock.advance(13)
        self.say(link, b"nonsense")
        self.assertTrue(link.open)
        self.clock.advance(1)
        self.say(link, b"nonsense")
        self.assertFalse(link.open)

    def test_a_little_nonsense_now_and_then_is_forgiven(self) -> None:
        link = self.greet()
        for _ in range(30):
            self.say(link, b"nonsense")
            self.clock.advance(13)
        self.assertEqual(self.transport.calls, [])


class CeilingTests(ProtocolTestCase):
    def test_a_line_that_is_too_long_ends_a_base_client(self) -> None:
        link = self.greet()
        link.dataReceived(b'{"type":"list"}\n' + b"x" * 201)
        self.commit()
        heard = self.heard()
        self.assertEqual(heard[0], "list MainHall:1")
        self.assertTrue(heard[1].startswith("server: line-too-long: a line has at most 200 bytes"), heard)
        self.assertEqual(self.transport.calls, ["lose"])

    def test_a_line_that_is_too_long_ends_an_extended_client(self) -> None:
        link = self.hello()
        link.dataReceived(b"x" * 201 + b"\n")
        self.commit()
        self.assertEqual((self.heard(), self.transport.calls), (["error line-too-long"], ["lose"]))

    def test_a_first_line_that_is_too_long(self) -> None:
        link = self.connect()
        link.dataReceived(b"x" * 201)
        self.commit()
        self.assertTrue(self.heard()[0].startswith("server: line-too-long"))
        self.lose_link(link)
        self.assertEqual(self.server.seats, {})

    def test_a_client_that_does_not_read_is_dropped_with_a_word(self) -> None:
        base, talker = self.greet(), self.hello()
        base.pauseProducing()
        for number in range(40):
            if base.open:
                self.say(talker, {"type": "message", "content": str(number).zfill(90)})
        self.assertFalse(base.open)
        base.resumeProducing()
        self.commit()
        heard = self.heard(base)
        self.assertTrue(heard[-1].startswith("server: backlog: more than 2000 bytes"), heard[-1])
        self.assertIn("lose", base.transport.calls)  # type: ignore[attr-defined]

    def test_a_client_that_is_too_fast_is_read_more_slowly(self) -> None:
        link = self.greet()
        for number in range(2):
            self.say(link, *[{"type": "list"}] * 30)
            self.assertEqual(self.transport.calls, ["pause"] * number)
        self.assertEqual(len(self.heard()), 50)
        self.clock.pump([RATE_PAUSE_S] * 2)
        self.assertEqual(self.transport.calls, ["pause"])
        waited = len(self.heard())
        self.assertIn(waited, (4, 5), "the others wait")
        self.clock.pump([RATE_PAUSE_S] * 3)
        self.assertEqual(self.transport.calls, ["pause", "resume"])
        self.assertEqual(len(self.heard()), 10 - waited, "nothing is dropped")

    def test_what_comes_while_lines_wait_waits_behind_them(self) -> None:
        """As it does over TLS, where records that are decrypted already come in spite of the pause."""
        link = self.greet()
        self.say(link, *[{"type": "who", "roomid": str(number)} for number in range(52)])
        link.dataReceived(b'{"type":"who","roomid":"last"}\n')
        self.clock.pump([RATE_PAUSE_S] * 5)
        self.assertEqual(self.heard()[-3:], [f"in {name} : " for name in ("50", "51", "last")])
        self.assertEqual(self.transport.calls, ["pause", "resume"])

    def test_lines_that_wait_are_no_more_when_the_client_is_gone(self) -> None:
        link = self.greet()
        self.say(link, *[{"type": "list"}] * 60)
        self.heard()
        self.lose_link(link)
        self.clock.pump([RATE_PAUSE_S] * 5)
        self.assertEqual(self.heard(link), [])

    def test_all_clients_of_an_address_may_say_so_much_together(self) -> None:
        self.factory.server.settings = replace(self.settings, rate_lines_per_address=30)
        links = [self.connect("10.0.0.1"), self.connect("10.0.0.1"), self.connect("10.0.0.2")]
        for link in links:
            self.say(link, {"type": "hello", "version": 1})
            self.heard(link)
        asked, listed = [{"type": "who", "roomid": "nowhere"}] * 40, ["in nowhere : "]
        for link, count in zip(links, (40, 8, 40), strict=True):
            self.say(link, *asked)
            self.assertEqual(len([line for line in self.heard(link) if line in listed]), count)
        self.clock.pump([RATE_PAUSE_S] * 3)
        self.assertIn(len(self.heard(links[1])), (22, 23))

    def test_lines_above_a_rate_are_taken_in_shares(self) -> None:
        """Of several links each takes some, one after another, and not one of them a line each time it looks."""
        rates = {"rate_lines": 1000, "rate_lines_per_address": 100}
        self.factory.server.settings = replace(self.settings, **rates, connections_per_address_max=20)
        links = []
        for _ in range(20):
            links.append(self.connect("10.0.0.1"))
            self.say(links[-1], {"type": "hello", "version": 1})
        for link in links:
            self.say(link, *[{"type": "who", "roomid": "nowhere"}] * 50)
            self.heard(link)
        shares: list[int] = []
        for _ in range(100):
            self.clock.advance(RATE_PAUSE_S / 25)
            if taken := sum(self.heard(link).count("in nowhere : ") for link in links):
                shares.append(taken)
        self.assertGreaterEqual(min(shares), 100 * RATE_SHARE_S)
        self.assertLess(max(shares), 3 * 100 * RATE_SHARE_S)
        self.assertGreater(sum(shares), 90)

    def test_a_client_with_too_much_under_way_is_read_when_less_is(self) -> None:
        link = self.greet()
        for count, calls in ((10, []), (1, ["pause"])):
            link.dataReceived(b'{"type":"message","content":"Hi"}\n' * count)
            self.assertEqual(self.transport.calls, calls)
        self.commit()
        self.assertEqual(self.transport.calls, ["pause", "resume"])

    def test_what_a_held_tls_link_still_delivers_is_heard(self) -> None:
        """Records that are decrypted already come in spite of the pause; among them a late hello."""
        link = self.greet()
        link.dataReceived(b'{"type":"message","content":"Hi"}\n' * 11)
        link.dataReceived(b'{"type":"hello","version":1}\n')
        self.commit()
        self.assertEqual(self.transport.calls, ["pause", "resume"])

    def test_connections_of_one_address_are_bounded(self) -> None:
        links = [self.connect() for _ in range(3)]
        self.connect()
        self.commit()
        (said,) = self.heard()
        self.assertIn("too many connections from your address: at most 3", said)
        self.assertEqual(self.transport.calls, ["lose"])
        self.connect("127.0.0.2")
        self.commit()
        self.assertEqual(self.transport.calls, [])
        for link in list(self.factory.links):
            self.lose_link(link)
        self.assertEqual(self.factory.links, [])
        self.assertEqual(self.tally.dropped, {("client", "too-many-from-address"): 1})
        self.connect()
        self.commit()
        self.assertEqual((self.transport.calls, len(links)), ([], 3))

    def test_any_number_of_connections_of_one_address(self) -> None:
        self.server.settings = replace(self.settings, connections_per_address_max=0)
        for _ in range(5):
            self.assertTrue(self.connect().open)

    def test_a_unix_socket_has_no_addresses_to_count(self) -> None:
        for _ in range(5):
            self.transport = Transport()
            self.transport.peerAddr = UNIXAddress(None)
            link = self.factory.buildProtocol(None)
            link.makeConnection(self.transport)
            self.assertTrue(link.open)
        for link in list(self.factory.links):
            self.lose_link(link)

    def test_connections_that_are_not_greeted_yet_are_bounded(self) -> None:
        links = [self.connect(f"127.0.0.{number}") for number in range(1, 6)]
        first = self.transport = links[0].transport
        self.say(links[1], {"type": "list"})
        self.lose_link(links[2])
        links += [self.connect("127.0.0.9") for _ in range(2)]
        self.assertTrue(all(link.open for link in links[:2] + links[3:]))
        links.append(self.connect("127.0.0.9"))
        self.assertEqual([link.open for link in links], [False, True, False, True, True, True, True, True])
        self.transport = first
        self.commit()
        (said,) = self.heard()
        self.assertIn("too many connections at once", said)
        self.assertEqual((self.transport.calls, self.tally.dropped), (["lose"], {("client", "crowded-out"): 1}))


class HeartbeatTests(ProtocolTestCase):
    def test_an_extended_client_is_pinged_and_dropped_when_it_is_silent(self) -> None:
        self.hello()
        for expected in (["ping"], ["ping"], ["ping"], []):
            self.clock.advance(15)
            self.commit()
            self.assertEqual(self.heard(), expected)
        self.assertEqual(self.transport.calls, ["abort"])

    def test_an_extended_client_that_answers_stays(self) -> None:
        link = self.hello()
        for _ in range(10):
            self.clock.advance(15)
            self.say(link, {"type": "pong"})
        self.assertEqual((self.heard(), self.transport.calls), (["ping"] * 10, []))

    def test_a_base_client_is_never_asked(self) -> None:
        self.greet()
        self.clock.advance(3600)
        self.commit()
        self.assertEqual((self.heard(), self.transport.calls), ([], []))


class PartingTests(ProtocolTestCase):
    def test_a_client_that_sends_no_more_hears_its_answers(self) -> None:
        link = self.greet()
        link.dataReceived(b'{"type":"message","content":"Hi"}\n')
        link.readConnectionLost()
        self.commit()
        self.assertEqual((self.heard(), self.transport.calls), (["guest1: Hi", "guest1 MainHall>"], ["lose"]))

    def test_a_client_that_sends_no_more_before_it_was_greeted(self) -> None:
        link = self.connect()
        link.readConnectionLost()
        self.commit()
        self.assertEqual((self.heard(), self.transport.calls), ([], ["lose"]))

    def test_a_client_that_sends_no_more_while_it_is_let_go(self) -> None:
        link = self.greet()
        self.say(link, {"type": "quit"})
        link.readConnectionLost()
        self.assertEqual((self.transport.calls, self.log.submitted), (["lose"], []))

    def test_a_half_close_of_ours_is_nothing(self) -> None:
        link = self.greet()
        link.writeConnectionLost()
        self.assertTrue(link.open)

    def test_a_lost_connection_is_told_to_the_rest(self) -> None:
        other, link = self.greet(), self.greet()
        self.heard(other)
        self.lose_link(link)
        self.assertEqual(self.heard(other), ["guest2 MainHall>"])
        self.assertEqual(list(self.factory.links), [other])

    def test_the_session_moves_to_a_newer_connection(self) -> None:
        older = self.hello()
        token = older.seat.token  # type: ignore[union-attr]
        newer = self.hello(session=token)
        self.assertIs(newer.seat, older.seat)
        self.assertEqual(self.heard(older), ["error session-moved"])
        self.lose_link(older)
        self.say(newer, {"type": "list"})
        self.assertEqual(self.heard(newer), ["list MainHall:1"])
