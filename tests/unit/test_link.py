from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chatproto.errors import WireError
from chatproto.gate import Gate, Limits
from chatproto.link import LEISURE_A_TURN_MAX, LINGER_S_MAX, FrameLink, LineLink, Link, Turn
from chatproto.tally import Tally
from chatproto.wire import FrameBuffer, framed
from tests.unit.transports import Socket, SocketTransport, Transport
from tests.unit.turns import TurnClock


class RecordingLink(LineLink):
    """A link that notes what it hears."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.heard: list[Any] = []
        self.on_overflow: Callable[[], None] | None = None

    def overflowed(self) -> None:
        self.heard.append("overflowed")
        (self.on_overflow or super().overflowed)()

    def linesReceived(self, lines: bytes) -> None:
        self.heard.append(lines)

    def lineTooLong(self) -> None:
        self.heard.append("too long")
        super().lineTooLong()

    def ping(self) -> None:
        self.heard.append(("ping", self.clock.seconds()))
        self.send(b"ping\n")


class LinkTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.turn = Turn(self.clock)
        self.connect()

    def connect(self) -> None:
        self.transport = Transport()
        self.link = RecordingLink(self.turn, self.clock, 100, 50)
        self.link.makeConnection(self.transport)
        self.link.introduced()

    def connect_to_socket(self) -> None:
        self.socket = Socket()
        self.addCleanup(self.socket.close)
        self.transport = SocketTransport(self.socket)
        self.link = RecordingLink(self.turn, self.clock, 100, 50)
        self.link.makeConnection(self.transport)

    def lose(self) -> None:
        self.link.connectionLost(Failure(ConnectionDone()))


class TurnTests(LinkTestCase):
    def test_calls_are_made_once_at_the_end_of_the_turn_in_order(self) -> None:
        made: list[int] = []
        for number in range(3):
            self.turn.at_end(lambda number=number: made.append(number))
        self.assertEqual(made, [])
        self.clock.turn()
        self.assertEqual(made, [0, 1, 2])
        self.clock.turn()
        self.assertEqual(made, [0, 1, 2])

    def test_one_timer_serves_a_turn(self) -> None:
        for _ in range(3):
            self.turn.at_end(lambda: None)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_what_is_asked_for_at_the_end_of_a_turn_is_done_in_the_next(self) -> None:
        made: list[str] = []

        def first() -> None:
            made.append("first")
            self.turn.at_end(lambda: made.append("second"))

        self.turn.at_end(first)
        self.clock.turn()
        self.assertEqual(made, ["first"])
        self.clock.turn()
        self.assertEqual(made, ["first", "second"])

    def test_a_call_that_fails_is_logged_and_the_others_are_made(self) -> None:
        made: list[int] = []
        self.turn.at_end(lambda: made.append(1))
        self.turn.at_end(lambda: {}["missing"])
        self.turn.at_end(lambda: made.append(2))
        self.clock.turn()
        self.assertEqual(made, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class LeisureTests(LinkTestCase):
    """What goes to very many does not hold up what goes to few."""

    def several(self, count: int) -> list[Transport]:
        transports = []
        for _ in range(count):
            self.connect()
            self.link.send_at_leisure(b"many\n")
            transports.append(self.transport)
        return transports

    def test_only_so_many_are_written_to_in_a_turn(self) -> None:
        transports = self.several(2 * LEISURE_A_TURN_MAX + 1)
        for written in (LEISURE_A_TURN_MAX, 2 * LEISURE_A_TURN_MAX, 2 * LEISURE_A_TURN_MAX + 1):
            self.clock.turn()
            self.assertEqual(sum(transport.writes == [b"many\n"] for transport in transports), written)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_others_are_written_to_at_once(self) -> None:
        self.several(2 * LEISURE_A_TURN_MAX)
        self.clock.turn()
        self.connect()
        self.link.send(b"few\n")
        self.clock.turn()
        self.assertEqual(self.transport.writes, [b"few\n"])

    def test_what_is_sent_besides_takes_it_along(self) -> None:
        self.several(2 * LEISURE_A_TURN_MAX)
        self.link.send_at_leisure(b"more\n")
        self.link.send(b"few\n")
        self.link.send_at_leisure(b"again\n")
        self.clock.turn()
        self.assertEqual(self.transport.writes, [b"many\nmore\nfew\nagain\n"])
        self.link.send_at_leisure(b"last\n")
        for _ in range(3):
            self.clock.turn()
        self.assertEqual(self.transport.writes[1:], [b"last\n"])
        self.assertEqual(self.link.backlog_bytes, 0)

    def test_a_peer_that_does_not_read_is_dropped_all_the_same(self) -> None:
        self.link.pauseProducing()
        for _ in range(30):
            self.link.send_at_leisure(b"many\n")
        self.assertIn("overflowed", self.link.heard)

    def test_who_has_gone_or_is_going_is_passed_over(self) -> None:
        self.several(2)
        self.link.close(b"bye\n")
        self.link.send_at_leisure(b"never\n")
        self.clock.turn()
        self.assertEqual(self.transport.writes, [b"many\nbye\n"])
        self.several(1)
        self.lose()
        self.clock.turn()
        self.assertEqual(self.transport.writes, [])


class SendTests(LinkTestCase):
    """On a transport that is written to, as over TLS."""

    def test_provides_both_kinds_of_producer(self) -> None:
        self.assertTrue(verifyObject(IPushProducer, self.link))
        self.assertTrue(verifyObject(IPullProducer, self.link))

    def test_all_of_a_turn_leaves_in_one_write(self) -> None:
        for line in (b"one\n", b"two\n", b"three\n"):
            self.link.send(line)
        self.assertEqual(self.transport.writes, [])
        self.assertEqual(self.link.backlog_bytes, 14)
        self.clock.turn()
        self.assertEqual(self.transport.writes, [b"one\ntwo\nthree\n"])
        self.assertEqual(self.link.backlog_bytes, 0)
        self.link.send(b"four\n")
        self.clock.turn()
        self.assertEqual(self.transport.writes[1:], [b"four\n"])

    def test_a_turn_is_asked_for_one_write(self) -> None:
        asked: list[Any] = []
        self.patch(self.turn, "at_end", asked.append)
        for _ in range(3):
            self.link.send(b"one\n")
        self.assertEqual(asked, [self.link.flush])

    def test_a_transport_that_gets_full_before_the_write_is_waited_for(self) -> None:
        self.link.send(b"one\n")
        self.link.pauseProducing()
        self.clock.turn()
        self.assertEqual(self.transport.writes, [])
        self.link.resumeProducing()
        self.assertEqual(self.transport.writes, [b"one\n"])

    def test_nothing_is_written_to_a_lost_connection(self) -> None:
        self.link.send(b"one\n")
        self.lose()
        self.link.send(b"two\n")
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.link.backlog_bytes), ([], 0))

    def test_nothing_is_written_where_nothing_is_sent(self) -> None:
        self.link.flush()
        self.assertEqual(self.transport.writes, [])

    def test_a_transport_whose_handle_is_no_socket_is_written_to(self) -> None:
        self.transport = SocketTransport(object())
        self.link = RecordingLink(self.turn, self.clock, 100, 50)
        self.link.makeConnection(self.transport)
        self.assertIs(self.transport.producer, self.link)
        self.assertTrue(self.transport.streaming)
        self.link.send(b"one\n")
        self.clock.turn()
        self.assertEqual(self.transport.writes, [b"one\n"])

    def test_a_transport_that_is_full_is_written_to_when_it_is_not(self) -> None:
        self.link.pauseProducing()
        self.link.send(b"one\n")
        self.clock.turn()
        self.link.send(b"two\n")
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.link.backlog_bytes), ([], 8))
        self.link.resumeProducing()
        self.assertEqual((self.transport.writes, self.link.backlog_bytes), ([b"one\ntwo\n"], 0))
        self.assertIs(self.transport.producer, self.link)

    def test_a_transport_that_gets_full_by_a_write_is_waited_for(self) -> None:
        calls: list[str] = []
        self.transport.during_write = self.link.pauseProducing
        self.link.send(b"one\n")
        self.link.when_clear(lambda: calls.append("clear"))
        self.clock.turn()
        self.link.send(b"two\n")
        self.clock.turn()
        self.assertEqual((self.transport.writes, calls), ([b"one\n"], []))
        self.link.resumeProducing()
        self.assertEqual((self.transport.writes, calls), ([b"one\n", b"two\n"], ["clear"]))

    def test_more_than_the_ceiling_waiting_overflows(self) -> None:
        self.link.pauseProducing()
        self.link.send(b"x" * 100)
        self.assertEqual(self.link.heard, [])
        self.link.send(b"x")
        self.assertEqual(self.link.heard, ["overflowed"])
        self.assertEqual(self.transport.calls, ["abort"])

    def test_a_long_turn_is_no_overflow_while_the_peer_reads(self) -> None:
        self.link.send(b"x" * 100)
        self.link.send(b"x" * 100)
        self.clock.turn()
        self.assertEqual((self.link.heard, self.transport.writes), ([], [b"x" * 200]))

    def test_a_transport_that_goes_says_so(self) -> None:
        self.link.stopProducing()
        self.assertEqual(self.transport.calls, [])


class SocketSendTests(LinkTestCase):
    """On a socket that takes what it is sent at once, or does not."""

    def setUp(self) -> None:
        super().setUp()
        self.connect_to_socket()

    def test_all_of_a_turn_leaves_in_one_send_without_the_transport(self) -> None:
        written: list[bytes] = []
        self.transport.writes = written
        self.link.send(b"one\n")
        self.link.send(b"two\n")
        self.clock.turn()
        self.assertEqual((self.socket.taken, written), ([b"one\ntwo\n"], []))
        self.assertIsNone(self.transport.producer)

    def test_what_the_socket_does_not_take_goes_by_the_transport_and_the_rest_waits(self) -> None:
        self.socket.answers = [5]
        self.link.send(b"one\ntwo\n")
        self.clock.turn()
        # The transport has asked for more, at once, as it does: what it was given then is not taken yet.
        self.assertEqual((self.socket.taken, self.link.backlog_bytes), ([b"one\nt", b"wo\n"], 3))
        self.assertEqual((self.transport.producer, self.transport.streaming), (self.link, False))
        self.link.send(b"three\n")
        self.clock.turn()
        self.assertEqual((len(self.socket.taken), self.link.backlog_bytes), (2, 9))
        self.transport.drained()
        self.assertEqual(b"".join(self.socket.taken), b"one\ntwo\nthree\n")
        self.assertEqual(self.link.backlog_bytes, 0)
        self.assertIsNone(self.transport.producer)

    def test_a_socket_that_takes_nothing_is_short_like_any_other(self) -> None:
        self.socket.answers = [BlockingIOError()]
        self.link.send(b"one\n")
        self.clock.turn()
        self.assertEqual((self.socket.taken, self.link.backlog_bytes), ([b"one\n"], 4))
        self.transport.drained()
        self.assertEqual(self.link.backlog_bytes, 0)

    def test_order_is_kept_however_short_the_sends_are(self) -> None:
        sent = b""
        for number in range(200):
            self.socket.answers = [number % 4] if number % 3 else [BlockingIOError()]
            line = b"%d\n" % number
            self.link.send(line)
            sent += line
            self.clock.turn()
            if self.transport.producer is not None and number % 2:
                self.transport.drained()
        self.socket.answers = []
        while self.transport.producer is not None:
            self.transport.drained()
        self.assertEqual(b"".join(self.socket.taken), sent)

    def test_a_send_after_the_backlog_may_be_short_again(self) -> None:
        self.socket.answers = [0, 2]
        self.link.send(b"one\n")
        self.clock.turn()
        self.link.send(b"two\n")
        self.transport.drained()
        self.assertEqual((self.socket.taken[1:], self.link.backlog_bytes), ([b"one\n", b"tw", b"o\n"], 2))
        self.assertIs(self.transport.producer, self.link)

    def test_a_broken_socket_ends_the_link(self) -> None:
        self.socket.answers = [ConnectionResetError()]
        self.link.send(b"one\n")
        self.link.when_clear(lambda: self.fail("a broken link is never clear"))
        self.clock.turn()
        self.assertEqual((self.transport.calls, self.link.open), (["abort"], False))

    def test_a_backlog_below_the_ceiling_is_kept(self) -> None:
        self.socket.answers = [0]
        self.link.send(b"x" * 100)
        self.clock.turn()
        self.assertEqual((self.link.heard, self.link.backlog_bytes), ([], 100))

    def test_one_send_beyond_the_ceiling_overflows(self) -> None:
        self.socket.answers = [0]
        self.link.send(b"x" * 101)
        self.clock.turn()
        self.assertEqual((self.link.heard, self.transport.calls), (["overflowed"], ["abort"]))

    def test_what_the_transport_holds_and_what_waits_behind_it_overflow_together(self) -> None:
        self.socket.answers = [0]
        self.link.send(b"x" * 60)
        self.clock.turn()
        self.link.send(b"x" * 40)
        self.assertEqual(self.link.heard, [])
        self.link.send(b"x")
        self.assertEqual(self.link.heard, ["overflowed"])

    def test_a_link_that_is_closing_does_not_overflow(self) -> None:
        self.socket.answers = [0]
        self.link.send(b"x" * 90)
        self.link.close(b"y" * 20)
        self.clock.turn()
        self.assertEqual((self.link.heard, self.link.backlog_bytes), ([], 110))

    def test_a_lost_connection_leaves_nothing_to_be_sent(self) -> None:
        self.socket.answers = [0]
        self.link.send(b"one\n")
        self.clock.turn()
        self.link.send(b"two\n")
        self.lose()
        self.assertEqual(self.link.backlog_bytes, 0)
        self.link.send(b"three\n")
        self.clock.turn()
        self.assertEqual(self.socket.taken, [b"", b"one\n"])


class WhenClearTests(LinkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.calls: list[str] = []

    def note(self) -> None:
        self.calls.append("clear")

    def test_where_nothing_waits_it_is_the_end_of_the_turn(self) -> None:
        self.link.when_clear(self.note)
        self.assertEqual(self.calls, [])
        self.clock.turn()
        self.assertEqual(self.calls, ["clear"])

    def test_it_is_called_once_after_what_was_sent(self) -> None:
        self.link.send(b"one\n")
        self.link.when_clear(lambda: self.calls.append(b"".join(self.transport.writes).decode()))
        self.clock.turn()
        self.link.send(b"two\n")
        self.clock.turn()
        self.assertEqual(self.calls, ["one\n"])

    def test_it_waits_for_the_backlog_of_a_socket(self) -> None:
        self.connect_to_socket()
        self.socket.answers = [0]
        self.link.send(b"one\n")
        self.clock.turn()
        self.link.when_clear(self.note)
        self.clock.turn()
        self.assertEqual(self.calls, [])
        self.transport.drained()
        self.assertEqual(self.calls, ["clear"])

    def test_it_may_ask_again(self) -> None:
        def again() -> None:
            self.note()
            if len(self.calls) < 3:
                self.link.send(b"more\n")
                self.link.when_clear(again)

        self.link.when_clear(again)
        for _ in range(5):
            self.clock.turn()
        self.assertEqual(self.calls, ["clear"] * 3)
        self.assertEqual(self.transport.writes, [b"more\n"] * 2)

    def test_a_lost_connection_is_never_clear(self) -> None:
        self.link.when_clear(self.note)
        self.lose()
        self.clock.turn()
        self.assertEqual(self.calls, [])


class ReadingTests(LinkTestCase):
    def test_lines_are_handed_out_whole(self) -> None:
        self.link.dataReceived(b"on")
        self.link.dataReceived(b"e\ntwo\nthr")
        self.assertEqual(self.link.heard, [b"one\ntwo\n"])

    def test_a_line_that_is_too_long_ends_the_link(self) -> None:
        self.link.dataReceived(b"one\n" + b"x" * 51)
        self.assertEqual((self.link.heard, self.link.open), ([b"one\n", "too long"], False))
        self.clock.turn()
        self.assertEqual(self.transport.calls, ["lose"])

    def test_a_line_that_is_too_long_after_one_that_closed_the_link_is_nothing_new(self) -> None:
        self.link.linesReceived = lambda lines: self.link.abort()  # type: ignore[method-assign]
        self.link.dataReceived(b"one\n" + b"x" * 51)
        self.assertEqual((self.transport.calls, self.link.heard), (["abort"], []))

    def test_nothing_is_handed_out_once_the_link_is_closing(self) -> None:
        self.link.close()
        self.link.dataReceived(b"one\n")
        self.assertEqual(self.link.heard, [])

    def test_lines_are_taken_by_a_subclass(self) -> None:
        link = LineLink(self.turn, self.clock, 100, 50)
        link.makeConnection(Transport())
        link.dataReceived(b"one\n")
        self.assertTrue(link.open)

    def test_reading_stops_once_and_goes_on_when_every_reason_is_released(self) -> None:
        self.link.hold_reading("rate")
        self.link.hold_reading("in flight")
        self.link.hold_reading("rate")
        self.assertEqual(self.transport.calls, ["pause"])
        self.link.release_reading("rate")
        self.assertEqual(self.transport.calls, ["pause"])
        self.link.release_reading("in flight")
        self.assertEqual(self.transport.calls, ["pause", "resume"])

    def test_what_is_not_held_is_not_released(self) -> None:
        self.link.release_reading("rate")
        self.link.hold_reading("rate")
        self.link.release_reading("in flight")
        self.assertEqual(self.transport.calls, ["pause"])
        self.link.release_reading("rate")
        self.link.release_reading("rate")
        self.assertEqual(self.transport.calls, ["pause", "resume"])

    def test_reading_can_be_held_again(self) -> None:
        for _ in range(2):
            self.link.hold_reading("rate")
            self.link.release_reading("rate")
        self.assertEqual(self.transport.calls, ["pause", "resume"] * 2)

    def test_a_link_that_is_closing_is_left_alone(self) -> None:
        self.link.hold_reading("rate")
        self.link.close()
        self.link.release_reading("rate")
        self.link.hold_reading("rate")
        self.assertEqual(self.transport.calls, ["pause"])


class HeartbeatTests(LinkTestCase):
    def test_pings_at_every_interval_while_the_peer_is_heard(self) -> None:
        self.link.start_heartbeat(10.0, 30.0)
        for _ in range(20):
            self.clock.advance(5.0)
            self.link.dataReceived(b"")
        self.assertEqual(self.link.heard, [("ping", float(at)) for at in range(10, 101, 10)])
        self.assertEqual(self.transport.calls, [])

    def test_a_peer_silent_for_too_long_is_dropped(self) -> None:
        self.link.start_heartbeat(10.0, 30.0)
        self.clock.advance(5.0)
        self.link.dataReceived(b"")
        self.clock.pump([5.0, 10.0, 10.0])
        self.assertEqual(self.transport.calls, [])
        self.clock.advance(10.0)
        self.assertEqual(self.transport.calls, ["abort"])
        self.assertEqual([at for _, at in self.link.heard], [10.0, 20.0, 30.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_plain_link_hears_bytes(self) -> None:
        link = Link(self.turn, self.clock, 100)
        transport = Transport()
        link.makeConnection(transport)
        link.introduced()
        link.start_heartbeat(10.0, 20.0)
        for _ in range(5):
            link.dataReceived(b"x")
            self.clock.advance(10.0)
        self.assertEqual(transport.calls, [])
        self.clock.pump([10.0, 10.0])
        self.assertEqual(transport.calls, ["abort"])

    def test_a_peer_that_is_not_read_is_not_silent(self) -> None:
        self.link.start_heartbeat(10.0, 20.0)
        self.link.hold_reading("rate")
        self.clock.pump([10.0] * 5)
        self.assertEqual(self.transport.calls, ["pause"])
        self.link.release_reading("rate")
        self.clock.pump([10.0] * 2)
        self.assertEqual(self.transport.calls, ["pause", "resume", "abort"])

    def test_beginning_again_takes_the_place_of_the_first(self) -> None:
        self.link.start_heartbeat(10.0, 30.0)
        self.link.start_heartbeat(7.0, 30.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([7.0])
        self.assertEqual(self.link.heard, [("ping", 7.0)])

    def test_ends_with_the_connection(self) -> None:
        self.link.start_heartbeat(10.0, 30.0)
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_ping_that_ends_the_link_is_the_last(self) -> None:
        self.link.on_overflow = lambda: self.link.close(b"bye\n")
        self.link.start_heartbeat(10.0, 30.0)
        self.link.pauseProducing()
        self.link.send(b"x" * 100)
        self.clock.advance(10.0)
        self.assertEqual(self.link.heard, [("ping", 10.0), "overflowed"])
        (lingering,) = self.clock.getDelayedCalls()
        self.assertEqual(lingering.getTime(), 10.0 + LINGER_S_MAX)
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(LinkTestCase):
    def test_what_was_sent_before_goes_out_then_the_last_word(self) -> None:
        self.link.send(b"one\n")
        self.link.close(b"bye\n")
        self.link.send(b"too late\n")
        self.assertEqual((self.link.open, self.transport.calls), (False, []))
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.transport.calls), ([b"one\nbye\n"], ["lose"]))

    def test_a_last_word_alone_goes_out(self) -> None:
        self.link.close(b"bye\n")
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.transport.calls), ([b"bye\n"], ["lose"]))

    def test_without_a_word(self) -> None:
        self.link.close()
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.transport.calls), ([], ["lose"]))

    def test_a_backlog_goes_out_first(self) -> None:
        self.link.pauseProducing()
        self.link.send(b"one\n")
        self.link.close(b"bye\n")
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.transport.calls), ([], []))
        self.link.resumeProducing()
        self.assertEqual((self.transport.writes, self.transport.calls), ([b"one\nbye\n"], ["lose"]))

    def test_the_backlog_of_a_socket_goes_out_first(self) -> None:
        self.connect_to_socket()
        self.socket.answers = [1]
        self.link.send(b"one\n")
        self.clock.turn()
        self.link.close(b"bye\n")
        self.clock.turn()
        self.assertEqual(self.transport.calls, [])
        self.transport.drained()
        self.assertEqual((b"".join(self.socket.taken), self.transport.calls), (b"one\nbye\n", ["lose"]))

    def test_a_socket_that_is_short_of_the_last_word_is_waited_for(self) -> None:
        self.connect_to_socket()
        self.socket.answers = [2]
        self.link.close(b"bye\n")
        self.clock.turn()
        self.assertEqual(self.transport.calls, [])
        self.transport.drained()
        self.assertEqual((b"".join(self.socket.taken), self.transport.calls), (b"bye\n", ["lose"]))

    def test_the_last_word_goes_out_beyond_the_ceiling(self) -> None:
        self.link.on_overflow = lambda: self.link.close(b"you do not read\n")
        self.link.pauseProducing()
        self.link.send(b"x" * 101)
        self.link.resumeProducing()
        self.assertEqual((self.transport.writes, self.transport.calls), ([b"x" * 101 + b"you do not read\n"], ["lose"]))

    def test_a_peer_that_does_not_read_is_given_so_long(self) -> None:
        self.link.pauseProducing()
        self.link.close(b"bye\n")
        self.clock.advance(LINGER_S_MAX - 0.1)
        self.assertEqual(self.transport.calls, [])
        self.clock.advance(0.2)
        self.assertEqual(self.transport.calls, ["abort"])

    def test_a_peer_that_does_not_end_its_side_is_given_so_long(self) -> None:
        self.link.close()
        self.clock.advance(LINGER_S_MAX + 0.1)
        self.assertEqual(self.transport.calls, ["lose", "abort"])

    def test_a_connection_that_is_lost_needs_no_more_waiting(self) -> None:
        self.link.close()
        self.clock.turn()
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing_twice_is_closing_once(self) -> None:
        self.link.close(b"bye\n")
        self.link.close(b"really\n")
        self.clock.turn()
        self.assertEqual((self.transport.writes, self.transport.calls), ([b"bye\n"], ["lose"]))

    def test_closing_ends_the_heartbeat(self) -> None:
        self.link.start_heartbeat(1.0, 30.0)
        self.link.pauseProducing()
        self.link.close()
        self.clock.advance(2.0)
        self.assertEqual(self.link.heard, [])

    def test_nothing_takes_the_place_of_the_end(self) -> None:
        self.link.pauseProducing()
        self.link.send(b"one\n")
        self.link.close(b"bye\n")
        self.link.when_clear(lambda: self.fail("a link that is closing is not clear for more"))
        self.link.resumeProducing()
        self.assertEqual((self.transport.writes, self.transport.calls), ([b"one\nbye\n"], ["lose"]))

    def test_aborting_is_at_once(self) -> None:
        self.link.send(b"one\n")
        self.link.close(b"bye\n")
        self.link.abort()
        self.assertEqual((self.transport.calls, self.link.open), (["abort"], False))
        self.clock.turn()
        self.assertEqual(self.transport.calls, ["abort"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_plain_link_that_overflows_is_aborted(self) -> None:
        link = Link(self.turn, self.clock, 100)
        transport = Transport()
        link.makeConnection(transport)
        link.pauseProducing()
        link.send(b"x" * 101)
        self.assertEqual(transport.calls, ["abort"])

    def test_a_plain_link_pings_nothing(self) -> None:
        link = Link(self.turn, self.clock, 100)
        transport = Transport()
        link.makeConnection(transport)
        link.start_heartbeat(1.0, 30.0)
        self.clock.advance(1.0)
        self.assertEqual(transport.writes, [])


class GateTests(SynchronousTestCase):
    """A link comes in by a gate, which counts it and what becomes of it."""

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.turn = Turn(self.clock)
        self.tally = Tally()
        self.gate: Gate[Link] = Gate("door", self.tally, lambda: Limits(strangers_max=2, per_address_max=3))
        self.transports: list[Transport] = []

    def connect(self, host: str = "10.0.0.1") -> Link:
        link = Link(self.turn, self.clock, 100, self.gate)
        transport = Transport()
        transport.peerAddr = IPv4Address("TCP", host, 5)
        self.transports.append(transport)
        link.makeConnection(transport)
        return link

    def test_one_that_there_is_no_room_for_is_dropped(self) -> None:
        links = [self.connect() for _ in range(3)]
        self.assertEqual([link.open for link in links], [False, True, True])
        self.assertEqual(self.tally.dropped, {("door", "crowded-out"): 1})
        self.assertFalse(self.connect().open)
        self.assertEqual([transport.calls for transport in self.transports], [["abort"], [], [], ["abort"]])
        for link in links:
            link.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.gate.links), 1)

    def test_a_stranger_that_is_heard_has_so_long_to_say_who_it_is(self) -> None:
        links = [self.connect(), self.connect()]
        links[0].introduced()
        for link in links:
            link.start_heartbeat(1.0, 3.0)
        for _ in range(5):
            for link in links:
                link.dataReceived(b"x")
            self.clock.advance(1.0)
        self.assertEqual([link.open for link in links], [True, False])
        self.assertEqual(self.tally.dropped, {("door", "no-hello"): 1})
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.tally.dropped, {("door", "no-hello"): 1, ("door", "silent"): 1})

    def test_it_is_dropped_politely_where_there_are_last_words(self) -> None:
        for reason, last in (("rude", None), ("words", b"bye"), ("none", b"")):
            link = self.connect()
            link.introduced()
            link.drop(reason, last=last)
        self.clock.turn()
        did = [(transport.writes, transport.calls) for transport in self.transports]
        self.assertEqual(did, [([], ["abort"]), ([b"bye"], ["lose"]), ([], ["lose"])])
        self.assertEqual(set(self.tally.dropped.values()), {1})

    def test_one_that_is_about_to_end_is_not_counted_again(self) -> None:
        link = self.connect()
        link.close()
        link.drop("late", last=b"never said")
        self.clock.turn()
        link.drop("later")
        self.assertEqual(self.transports[0].calls, ["lose", "abort"])
        self.assertEqual((self.transports[0].writes, self.tally.dropped), ([], {}))

    def test_one_that_cannot_be_written_to_is_counted(self) -> None:
        socket = Socket()
        self.addCleanup(socket.close)
        socket.answers = [ConnectionResetError()]
        link = Link(self.turn, self.clock, 100, self.gate)
        link.makeConnection(SocketTransport(socket))
        link.send(b"x")
        self.clock.turn()
        self.assertEqual(self.tally.dropped, {("door", "broken"): 1})

    def test_what_an_operator_should_look_at_is_a_warning(self) -> None:
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.connect().drop("rude")
        self.connect().drop("stranger", "look at --peer")
        told = [(event["log_level"], formatEvent(event)) for event in events]
        peer = "IPv4Address(type='TCP', host='10.0.0.1', port=5)"
        self.assertEqual(
            told,
            [
                (LogLevel.info, f"dropped at door: rude, {peer}"),
                (LogLevel.warn, f"dropped at door: stranger, {peer}: look at --peer"),
            ],
        )

    def test_frames_that_are_not_of_the_protocol_are_counted_by_whose_they_are(self) -> None:
        for known in (False, True):
            link = RecordingFrameLink(self.turn, self.clock, 100, 50, self.gate)
            link.makeConnection(Transport())
            if known:
                link.introduced()
            link.dataReceived(framed(b"nonsense"))
        link = RecordingFrameLink(self.turn, self.clock, 100, 50, self.gate, 10)
        link.makeConnection(Transport())
        link.dataReceived(framed(b"x" * 11)[:4])
        self.assertEqual({reason for _, reason in self.tally.dropped}, {"stranger", "bad-frame", "frame-too-long"})


class RecordingFrameLink(FrameLink):
    """A link of frames that notes them, and finds fault with some."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.heard: list[bytes] = []

    def frameReceived(self, frame: bytes) -> None:
        if frame == b"nonsense":
            raise WireError("it makes no sense")
        self.heard.append(frame)
        if frame == b"bye":
            self.close()


class FrameLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.transport = Transport()
        self.link = RecordingFrameLink(Turn(self.clock), self.clock, 100, 50)
        self.link.makeConnection(self.transport)
        self.link.introduced()

    def test_frames_are_handed_out_whole_however_they_are_chopped(self) -> None:
        data = framed(b"one") + framed(b"") + framed(b"x" * 50)
        for size in range(1, len(data) + 1):
            self.setUp()
            for at in range(0, len(data), size):
                self.link.dataReceived(data[at : at + size])
            self.assertEqual(self.link.heard, [b"one", b"", b"x" * 50])
        self.assertEqual(self.transport.calls, [])

    def test_one_that_makes_no_sense_ends_the_link_and_nothing_after_it_is_heard(self) -> None:
        self.link.dataReceived(framed(b"one") + framed(b"nonsense") + framed(b"two"))
        self.link.dataReceived(framed(b"three"))
        self.assertEqual((self.link.heard, self.transport.calls, self.link.open), ([b"one"], ["abort"], False))

    def test_one_that_is_too_long_ends_the_link_after_those_before_it(self) -> None:
        self.link.dataReceived(framed(b"one") + framed(b"x" * 51)[:4])
        self.assertEqual((self.link.heard, self.transport.calls), ([b"one"], ["abort"]))

    def test_one_that_is_too_long_after_one_that_closed_the_link_is_nothing_new(self) -> None:
        self.link.dataReceived(framed(b"bye") + framed(b"one") + framed(b"x" * 51))
        self.clock.turn()
        self.assertEqual((self.link.heard, self.transport.calls), ([b"bye"], ["lose"]))

    def test_a_peer_that_sends_lives(self) -> None:
        self.link.start_heartbeat(1.0, 3.0)
        for _ in range(10):
            self.link.dataReceived(framed(b"one")[:2])
            self.link._frames = FrameBuffer(50)
            self.clock.advance(1.0)
        self.assertEqual(self.transport.calls, [])

    def test_frames_are_taken_by_a_subclass(self) -> None:
        link = FrameLink(Turn(self.clock), self.clock, 100, 50)
        transport = Transport()
        link.makeConnection(transport)
        link.dataReceived(framed(b"one"))
        self.assertEqual(transport.calls, [])
