"""Messages to others: directly where there is a way, relayed where there is none, in the order they were sent."""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError

from chatproto.client.direct import service
from chatproto.client.direct.messages import Accepted, Ack, Call, Error, Nack, Private, encode
from chatproto.client.direct.service import DirectMessages
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.events import Delivered, Renamed
from chatproto.client.outbox import QueueFull
from chatproto.errors import ClientError, ClientStopped, Refused
from chatproto.link import Turn
from chatproto.tally import Tally
from tests.unit.client.direct.rig import NOW, DirectTestCase, End

DIRECTLY = Delivered(True, 1)
RELAYED = Delivered(False, 1)


class SendTests(DirectTestCase):
    settings = DirectSettings(queue_max=5, answer_s_max=3.0, retry_s=30.0, half_open_s_max=5.0)

    def open(self) -> End:
        """Have ada called, and accept."""
        (first,) = self.send("ada", "first")
        self.found()
        end = self.connected()
        self.assertEqual(end.said(), [Call(1, "eve", "ada", "t2")])
        end.say(Accepted())
        self.assertEqual(end.said(), [Private("id first", "first")])
        end.say(Ack("id first"))
        self.assertEqual(self.successResultOf(first), DIRECTLY)
        return end

    def test_whoever_is_found_is_called_and_told(self) -> None:
        sending = self.send("ada", "one", "two")
        self.assertEqual([identity for identity, _ in self.home.asked], ["ada"], "asked once")
        self.found()
        self.assertEqual(self.endpoints[0].address, "ada.example:7000")
        end = self.connected()
        self.assertEqual(end.said(), [Call(1, "eve", "ada", "t2")], "and nothing before it is accepted")
        end.say(Accepted())
        self.assertEqual(end.said(), [Private("id one", "one"), Private("id two", "two")])
        end.say(Ack("id one"), Ack("id two"))
        self.assertEqual([self.successResultOf(waiting) for waiting in sending], [DIRECTLY] * 2)
        self.assertEqual(self.relayed(), [])

    def test_a_connection_is_used_again(self) -> None:
        end = self.open()
        (second,) = self.send("ada", "second")
        self.assertEqual(end.said(), [Private("id second", "second")])
        self.assertNoResult(second)
        self.assertEqual(self.home.asked, [])

    def test_a_connection_that_the_other_one_made_is_used(self) -> None:
        end = self.called("ada", "t1")
        (sending,) = self.send("ada", "one")
        self.assertEqual(end.said(), [Private("id one", "one")])
        end.say(Ack("id one"), Private("p1", "hi"))
        self.assertEqual(self.successResultOf(sending), DIRECTLY)
        self.assertEqual(self.heard(), [("ada", "hi")])

    def test_what_is_said_over_a_connection_of_ours_is_heard(self) -> None:
        end = self.open()
        end.say(Private("p1", "hi"))
        self.assertEqual((end.said(), self.heard()), ([Ack("p1")], [("ada", "hi")]))

    def test_two_that_call_each_other_are_both_heard(self) -> None:
        (sending,) = self.send("ada", "one")
        self.found()
        ours, theirs = self.connected(), self.connect()
        ours.said()
        self.expect("ada", "t1")
        theirs.say(Call(1, "ada", "eve", "t1"))
        self.assertEqual(theirs.said(), [Accepted(), Private("id one", "one")], "whichever is open first is used")
        ours.say(Accepted())
        self.assertEqual(ours.said(), [])
        ours.say(Private("p1", "hi"), Ack("id one"))
        self.assertNoResult(sending)
        theirs.say(Private("p2", "there"), Ack("id one"))
        self.assertEqual(self.successResultOf(sending), DIRECTLY)
        self.assertEqual(self.heard(), [("ada", "hi"), ("ada", "there")])
        ours.lose()
        (sending,) = self.send("ada", "two")
        theirs.say(Ack("id two"))
        self.assertEqual(self.successResultOf(sending), DIRECTLY)

    def check_relayed(self, sending: list[Any], *contents: str, sessions: int = 1) -> None:
        self.assertEqual(self.relayed(), list(contents))
        self.assertEqual(
            [(id, to) for id, to, _, _ in self.home.relays], [(f"id {content}", "ada") for content in contents]
        )
        for waiting in sending:
            self.assertNoResult(waiting)
        self.relay(sessions)
        for waiting in sending:
            self.assertEqual(self.successResultOf(waiting), Delivered(False, sessions))

    def test_who_accepts_no_connections_is_relayed_to(self) -> None:
        sending = self.send("ada", "one", "two")
        self.home.asked.pop()[1].errback(Refused("no-address"))
        self.check_relayed(sending, "one", "two", sessions=0)

    def test_an_address_that_is_none_is_not_called(self) -> None:
        for address in ("ada.example", "unix:/socket", "ada.example:0", "localhost:25", "x:1023", "", "x:99999"):
            self.setUp()
            sending = self.send("ada", "one")
            self.found(address)
            self.assertEqual(self.endpoints, [], address)
            self.check_relayed(sending, "one")

    def test_where_nobody_can_be_called_nobody_is_asked_for(self) -> None:
        self.direct = DirectMessages(
            self.home, self.once, Turn(self.clock), self.clock, lambda: NOW, None, self.settings, Tally()
        )
        sending = self.send("ada", "one")
        self.assertEqual(self.home.asked, [])
        self.check_relayed(sending, "one")

    def test_a_connection_that_is_refused(self) -> None:
        sending = self.send("ada", "one", "two")
        self.found()
        self.endpoints[0].connecting.errback(ConnectionRefusedError())
        self.check_relayed(sending, "one", "two")

    def test_a_call_that_is_refused_or_lost(self) -> None:
        def refuse(end: End) -> None:
            end.say(Error("not-expected", "who?"))

        for fails in (refuse, End.lose, lambda end: end.say(Private("p1", "too early"))):
            self.setUp()
            sending = self.send("ada", "one")
            self.found()
            end = self.connected()
            end.said()
            fails(end)
            self.check_relayed(sending, "one")
            self.assertEqual(self.heard(), [])

    def test_a_connection_for_which_there_is_no_room(self) -> None:
        self.settings = DirectSettings(links_max=1)
        super().setUp()
        self.called("bert", "t2")
        sending = self.send("ada", "one")
        self.found()
        self.assertEqual(self.connected().ended, "abort")
        self.check_relayed(sending, "one")

    def test_whatever_takes_too_long_is_given_up(self) -> None:
        """The answer of the server, the connection, the proof, the acknowledgement."""
        for steps in range(4):
            self.setUp()
            sending = self.send("ada", "one")
            end = None
            if steps > 0:
                self.found()
            if steps > 1:
                end = self.connected()
            if steps > 2:
                assert end is not None
                end.say(Accepted())
                self.assertEqual(len(end.said()), 2)
            self.clock.advance(2.9)
            self.assertEqual(self.relayed(), [])
            self.clock.advance(0.1)
            self.check_relayed(sending, "one")
            if end is None:
                waiting: Any = self.endpoints[0].connecting if steps else self.home.asked[0][1]
                self.assertTrue(waiting.called, "it was cancelled")
            else:
                self.assertEqual(end.ended, "abort")

    def test_a_connection_that_breaks_takes_nothing_with_it(self) -> None:
        end = self.open()
        sending = self.send("ada", "one", "two", "three")
        end.say(Ack("id one"))
        end.lose()
        self.assertEqual(self.successResultOf(sending[0]), DIRECTLY)
        self.check_relayed(sending[1:], "two", "three")

    def test_a_message_that_is_not_taken_is_relayed_with_all_after_it(self) -> None:
        end = self.open()
        sending = self.send("ada", "one", "two", "three")
        end.say(Ack("id one"), Nack("id two", "content-too-long"))
        self.check_relayed(sending[1:], "two", "three")

    def test_messages_whose_time_is_over_are_relayed_in_order_with_those_after_them(self) -> None:
        end = self.open()
        sending = self.send("ada", "one", "two")
        self.clock.advance(2)
        sending += self.send("ada", "three")
        self.clock.advance(1)
        self.check_relayed(sending, "one", "two", "three")
        self.assertEqual(end.ended, "abort")

    def test_after_a_failure_all_is_relayed_for_a_while(self) -> None:
        end = self.open()
        end.lose()
        sending = self.send("ada", "one")
        self.home.asked.pop()[1].errback(Refused("no-address"))
        self.check_relayed(sending, "one")
        self.clock.advance(29.9)
        sending = self.send("ada", "two")
        self.check_relayed(sending, "two")
        self.clock.advance(0.1)
        self.send("ada", "three")
        self.assertEqual([identity for identity, _ in self.home.asked], ["ada"])

    def test_nothing_goes_directly_while_something_is_being_relayed(self) -> None:
        self.send("ada", "one")
        self.home.asked.pop()[1].errback(Refused("no-address"))
        self.clock.advance(31)
        end = self.called("ada", "t1")
        sending = self.send("ada", "two")
        self.assertEqual(end.said(), [])
        self.assertEqual(self.relayed(), ["one", "two"])
        self.relay()
        self.assertEqual(self.successResultOf(sending[0]), RELAYED)
        self.send("ada", "three")
        self.assertEqual(end.said(), [Private("id three", "three")])

    def test_whoever_calls_while_all_is_relayed_is_a_way(self) -> None:
        self.send("ada", "one")
        self.home.asked.pop()[1].errback(Refused("no-address"))
        end = self.called("ada", "t1")
        self.send("ada", "two")
        self.assertEqual((self.relayed(), end.said()), (["one", "two"], []), "not before what is being relayed")
        self.relay()
        self.send("ada", "three")
        self.assertEqual((self.relayed(), end.said()), ([], [Private("id three", "three")]))

    def test_a_call_that_is_accepted_just_when_it_is_given_up(self) -> None:
        sending = self.send("ada", "one")
        self.found()
        end = self.connected()
        self.clock.advance(1)
        sending += self.send("ada", "two")
        self.home.at_relay = lambda: end.link.dataReceived(encode(Accepted()))
        self.clock.advance(2)
        self.check_relayed(sending, "one", "two")
        self.assertEqual(end.said(), [Call(1, "eve", "ada", "t2")])

    def test_others_are_not_touched_by_a_failure(self) -> None:
        end = self.open()
        self.send("bert", "one")
        self.home.asked.pop()[1].errback(Refused("no-address"))
        self.send("ada", "two")
        self.assertEqual(end.said(), [Private("id two", "two")])

    def test_what_the_server_refuses_is_refused(self) -> None:
        (sending,) = self.send("ada", "one")
        self.home.asked.pop()[1].errback(Refused("no-such-identity"))
        self.home.relays.pop()[3].errback(Refused("no-such-identity"))
        self.assertEqual(self.failureResultOf(sending, Refused).value.code, "no-such-identity")
        self.clock.advance(30)
        self.send("ada", "two")
        self.assertEqual(len(self.home.asked), 1, "nothing is being relayed")

    def test_too_much_at_once_is_refused(self) -> None:
        sending = self.send("ada", *"abcdef")
        self.failureResultOf(sending[5], QueueFull)
        for waiting in sending[:5]:
            self.assertNoResult(waiting)

    def test_what_no_line_can_hold_is_refused(self) -> None:
        (sending,) = self.send("ada", "\ud800")
        self.failureResultOf(sending, ClientError)
        self.assertEqual(self.home.asked, [])

    def test_one_that_is_cancelled_is_neither_sent_nor_relayed(self) -> None:
        first, second = self.send("ada", "one", "two")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.found()
        end = self.connected()
        end.said()
        end.say(Accepted())
        self.assertEqual(end.said(), [Private("id two", "two")])
        end.lose()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.relayed(), ["two"])

    def test_under_another_name_all_is_proved_anew(self) -> None:
        end = self.open()
        (waiting,) = self.send("ada", "one")
        self.home.identity = "evita"
        self.hear(Renamed("eve", "evita"))
        self.assertEqual(end.ended, "lose")
        self.assertEqual(self.relayed(), ["one"])
        self.relay()
        self.assertEqual(self.successResultOf(waiting), RELAYED)
        self.clock.advance(30)
        self.home.asked.clear()
        self.send("ada", "two")
        self.found()
        self.assertEqual(self.connected().said(), [Call(1, "evita", "ada", "t2")])

    def test_a_call_under_way_is_made_under_the_name_of_the_moment(self) -> None:
        """A token for another one is refused; but most often, nobody was online yet."""
        self.be("")
        (sending,) = self.send("ada", "one")
        self.be("eva")
        self.found()
        self.be("evita", resumed=True)
        end = self.connected()
        self.assertEqual(end.said(), [Call(1, "evita", "ada", "t2")])
        end.say(Accepted(), Ack("id one"))
        self.assertEqual(self.successResultOf(sending), DIRECTLY)
        self.called("bert", "t1", me="evita")

    def test_a_call_that_is_made_is_no_longer_under_another_name(self) -> None:
        sending = self.send("ada", "one")
        self.found()
        end = self.connected()
        self.be("evita", resumed=True)
        self.assertEqual(end.ended, "lose")
        self.check_relayed(sending, "one")

    def test_stopping_has_all_end(self) -> None:
        self.open()
        waiting = self.send("ada", "one") + self.send("bert", "two")
        self.assertIsNone(self.successResultOf(self.direct.stop()))
        self.assertCountEqual(self.relayed(), ["one", "two"])
        for _, _, _, relaying in self.home.relays:
            relaying.errback(ClientStopped())
        for sending in waiting:
            self.failureResultOf(sending, ClientStopped)

    def test_of_very_many_only_those_are_remembered_that_matter(self) -> None:
        self.patch(service, "CORRESPONDENTS_MAX", 3)
        end = self.open()
        for number in range(5):
            self.send(f"other{number}", "hello")
            self.home.asked.pop()[1].errback(Refused("no-address"))
            self.relay()
        self.assertLessEqual(len(self.direct._correspondents), 3)
        self.send("ada", "one")
        self.assertEqual(end.said(), [Private("id one", "one")])
