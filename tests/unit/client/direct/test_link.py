"""Strangers and acquaintances at the door: proofs, ceilings, deadlines."""

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from chatproto.client.direct.messages import Accepted, Ack, Call, Error, Nack, Private
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.events import ContactExpected, Moved, Renamed
from tests.unit.client.direct.rig import DirectTestCase, End


class StrangerTests(DirectTestCase):
    settings = DirectSettings(half_open_max=3, links_max=5, line_bytes_max=200, half_open_s_max=5.0)

    def refused(self, end: End) -> str:
        """Return why a stranger was told to go."""
        (error,) = end.said()
        assert isinstance(error, Error)
        self.assertEqual(end.ended, "lose")
        return error.code

    def test_who_is_expected_is_let_in_and_heard(self) -> None:
        end = self.called()
        end.say(Private("p1", "hi"), Private("p2", "there"))
        self.assertEqual(end.said(), [Ack("p1"), Ack("p2")])
        self.assertEqual(self.heard(), [("ada", "hi"), ("ada", "there")])
        self.assertEqual(end.ended, "")

    def test_who_comes_before_the_announcement_waits_for_it(self) -> None:
        end, other = self.connect(), self.connect()
        end.say(Call(1, "ada", "eve", "t1"))
        self.assertEqual(end.said(), [])
        self.expect("ada", "another")
        self.assertEqual(end.said(), [])
        self.expect("ada", "t1")
        self.assertEqual((end.said(), other.said()), ([Accepted()], []))

    def test_a_token_that_nobody_announces(self) -> None:
        end = self.connect()
        self.clock.advance(2)
        end.say(Call(1, "ada", "eve", "guessed"))
        self.clock.advance(2.9)
        self.assertEqual((end.said(), end.ended), ([], ""))
        self.clock.advance(0.1)
        self.assertEqual(self.refused(end), "not-expected")

    def test_a_token_that_was_shown_before(self) -> None:
        self.called()
        end = self.connect()
        end.say(Call(1, "ada", "eve", "t1"))
        self.clock.advance(5)
        self.assertEqual(self.refused(end), "not-expected")

    def test_a_token_of_somebody_else(self) -> None:
        self.expect("ada", "t1")
        end = self.connect()
        end.say(Call(1, "mallory", "eve", "t1"), Private("p1", "I am ada, believe me"))
        self.assertEqual(self.refused(end), "not-expected")
        self.assertEqual(self.heard(), [])

    def test_a_message_before_the_proof(self) -> None:
        self.expect("ada", "t1")
        end = self.connect()
        end.say(Private("p1", "hi"), Call(1, "ada", "eve", "t1"))
        self.assertEqual(self.refused(end), "out-of-turn")
        self.assertEqual(self.heard(), [])

    def test_a_message_while_the_proof_is_waited_for(self) -> None:
        end = self.connect()
        end.say(Call(1, "ada", "eve", "t1"), Private("p1", "hi"))
        self.assertEqual(self.refused(end), "out-of-turn")

    def test_garbage(self) -> None:
        for garbage in (b"GET / HTTP/1.1\r\n", b"\n", b"\xff\n", b"[" * 150 + b"\n"):
            end = self.connect()
            end.link.dataReceived(garbage)
            self.assertEqual(self.refused(end), "bad-line")

    def test_a_line_that_is_too_long(self) -> None:
        for garbage in (b"x" * 201, b"x" * 201 + b"\n"):
            end = self.connect()
            end.link.dataReceived(garbage)
            self.assertEqual(self.refused(end), "line-too-long")

    def test_who_says_nothing_is_ended_impolitely(self) -> None:
        end = self.connect()
        end.link.dataReceived(b'{"type":"direct"')
        self.clock.advance(4.9)
        self.assertEqual(end.ended, "")
        self.clock.advance(0.1)
        self.assertEqual((end.said(), end.ended), ([], "abort"))

    def test_too_many_strangers(self) -> None:
        """Those who have proved themselves take nobody's place among them."""
        self.called()
        strangers = [self.connect() for _ in range(3)]
        self.assertEqual([end.ended for end in strangers], ["", "", ""])
        self.assertEqual((self.connect().ended, strangers[0].ended), ("", "abort"))
        strangers[1].lose()
        self.assertEqual((self.connect().ended, strangers[2].ended), ("", ""))
        self.assertEqual(self.tally.dropped, {("direct", "crowded-out"): 1})

    def test_too_many_connections(self) -> None:
        ends = [self.called(f"ada{number}", f"t{number}") for number in range(5)]
        late = self.connect()
        self.assertEqual(late.ended, "abort")
        late.lose()
        ends[0].lose()
        self.assertEqual(self.connect().ended, "")


class OpenTests(DirectTestCase):
    settings = DirectSettings(link_s_max=600.0, rate_lines=10.0, content_chars_max=20, backlog_bytes_max=1000)

    def test_it_is_not_kept_for_ever(self) -> None:
        end = self.called()
        self.clock.advance(599)
        self.assertEqual(end.ended, "")
        self.clock.advance(1)
        self.assertEqual(end.ended, "lose")

    def test_a_message_that_is_not_taken_is_the_last(self) -> None:
        end = self.called()
        end.say(Private("p1", "x" * 21), Private("p2", "after it"))
        self.assertEqual(end.said(), [Nack("p1", "content-too-long")])
        self.assertEqual((end.ended, self.heard()), ("lose", []))

    def test_who_talks_too_fast_is_read_more_slowly(self) -> None:
        end = self.called()
        end.say(*[Private(f"p{number}", "hi") for number in range(109)])
        self.assertEqual(len(self.heard()), 109)
        self.assertEqual(end.transport.calls, ["pause"])
        self.clock.advance(1.1)
        self.assertEqual(end.transport.calls, ["pause", "resume"])

    def test_who_takes_another_name_or_leaves_is_not_who_was_proved(self) -> None:
        for event in (Renamed("ada", "adele"), Moved("ada", "MainHall", "")):
            self.setUp()
            other = self.called("bert", "t2")
            end = self.called()
            self.hear(event)
            self.assertEqual((end.ended, other.ended), ("lose", ""))
            end.say(Private("p1", "hi"))
            self.assertEqual(self.heard(), [])

    def test_who_goes_elsewhere_stays_who_it_is(self) -> None:
        end = self.called()
        for event in (Moved("ada", "MainHall", "jokes"), Moved("ada", "", "news"), Renamed("bert", "bob")):
            self.hear(event)
        self.assertEqual(end.ended, "")

    def test_under_another_name_we_are_not_who_was_called(self) -> None:
        end, stranger = self.called(), self.connect()
        self.expect("ada", "t3")
        self.home.identity = "evita"
        self.hear(Renamed("eve", "evita"))
        self.assertEqual((end.ended, stranger.ended), ("lose", "lose"))
        late = self.connect()
        late.say(Call(1, "ada", "evita", "t3"))
        self.assertEqual(late.said(), [], "that was for eve")

    def test_a_new_session_knows_nobody_and_an_old_one_all(self) -> None:
        end = self.called()
        self.be("eve", resumed=True)
        self.assertEqual(end.ended, "")
        self.be("eve", resumed=False)
        self.assertEqual(end.ended, "lose")

    def test_stopping_ends_all(self) -> None:
        end, stranger = self.called(), self.connect()
        self.assertTrue(self.direct.listening)
        self.assertIsNone(self.successResultOf(self.direct.stop()))
        self.assertEqual((end.ended, stranger.ended), ("lose", "lose"))
        self.assertEqual((self.listening.port.stopped, self.direct.listening), (1, False))

    def test_who_stops_on_hearing_something_has_acknowledged_it(self) -> None:
        end = self.called()
        self.home.at_tell = lambda: self.successResultOf(self.direct.stop())
        end.say(Private("p1", "go home"), Private("p2", "after it"))
        self.assertEqual((end.said(), end.ended), ([Ack("p1")], "lose"))
        self.assertEqual(self.heard(), [("ada", "go home")])

    def test_a_polite_end_is_one(self) -> None:
        end = self.called()
        end.link.connectionLost(Failure(ConnectionDone()))
        self.expect("ada", "t5")
        self.assertEqual(end.said(), [])

    def test_who_does_not_read_is_ended(self) -> None:
        end = self.called()
        end.link.pauseProducing()
        for number in range(100):
            self.assertEqual(end.ended, "")
            end.say(Private(f"p{number}", ""))
            if end.link.backlog_bytes > 950:
                break
        end.say(*[Private(f"q{number}", "") for number in range(9)])
        self.assertEqual(end.ended, "abort")

    def test_an_address_of_the_sixth_version(self) -> None:
        listening = type(self.listening)(7001)
        self.assertEqual(self.successResultOf(self.direct.listen(listening, "::1")), "[::1]:7001")

    def test_what_is_announced_by_itself_opens_nothing(self) -> None:
        self.hear(ContactExpected("ada", "t1"))
        self.assertEqual(self.heard(), [])
