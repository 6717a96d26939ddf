"""Two nodes over one agreed log: sessions that move, nodes that come and go, and what they tell each other."""

import random
from typing import Any, ClassVar

from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from chatproto.chat import neighbour, notes
from chatproto.chat.acts import Adopt, Attach, Depart, Enter, decode_act, encode_act
from chatproto.chat.arrivals import HOLD_S_MAX
from chatproto.chat.messages import (
    ContactAsked,
    CreateRoom,
    Delete,
    Hello,
    IdentityChange,
    Join,
    JoinExtended,
    Leave,
    List,
    PrivateAsked,
    Say,
    SayExtended,
    StatusAsked,
    Who,
)
from chatproto.log.entry import ACT, Entry
from chatproto.log.interface import ILog, Peer
from tests.unit.chat.fakes import NOW, FakeDoor
from tests.unit.chat.halls import member_of
from tests.unit.chat.pair import Agreed, Node, PairMemoryLog, PairTestCase, messages


class SharedTests(PairTestCase):
    def test_the_fake_log_is_one(self) -> None:
        self.assertTrue(verifyObject(ILog, self.east.log))

    def test_clients_of_both_nodes_are_in_one_hall(self) -> None:
        first, first_seat = self.east.hello(identity="adel")
        second, second_seat = self.west.come()
        assert second_seat is not None
        first.lines(), second.lines()
        self.east.ask(first_seat, SayExtended("from east", "e1"))
        self.west.ask(second_seat, Say("from west"))
        self.assertCountEqual(first.brief(), ["adel: from east", "ack e1 MainHall/1", "guest1: from west"])
        self.assertEqual(second.brief(), ["adel: from east", "guest1: from west"])
        self.check_same()

    def test_a_name_is_taken_on_both(self) -> None:
        self.east.hello(identity="adel")
        door, _ = self.west.hello(identity="adel")
        self.assertEqual(door.brief()[:3], ["welcome", "=guest1", "error identity-taken"])

    def test_an_id_is_one_message_wherever_it_is_said(self) -> None:
        _, first = self.east.hello(identity="adel")
        door, second = self.west.hello(identity="beth")
        door.lines()
        self.east.ask(first, SayExtended("Hi", "f81d"))
        self.west.ask(second, SayExtended("Hi", "f81d"), Who("MainHall"))
        self.assertEqual(door.brief(), ["adel: Hi", "ack f81d MainHall/1", "in MainHall : adel beth"])

    def test_welcome_names_both_nodes(self) -> None:
        door, _ = self.west.hello()
        self.assertEqual(door.lines()[0]["servers"], ["west:4444", "east:4444"])

    def test_ack_says_how_many_hold_it(self) -> None:
        door, seat = self.west.hello()
        self.west.ask(seat, SayExtended("Hi", "f81d"))
        (ack,) = [line for line in door.lines() if line["type"] == "ack"]
        self.assertEqual((ack["durable"], ack["epoch"]), (2, 1))


class MovingTests(PairTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.watch, self.watch_seat = self.east.hello(identity="watch")
        self.door, self.seat = self.east.hello(identity="adel")
        self.east.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.forget_lines()

    def forget_lines(self) -> None:
        self.watch.lines()
        self.door.lines()

    @property
    def member(self) -> Any:
        return member_of(self.east.hall, "adel")

    def say(self, *contents: str, room: str = "MainHall") -> None:
        self.east.ask(self.watch_seat, *(SayExtended(content, content, room) for content in contents))
        self.watch.lines()

    def test_a_session_goes_on_on_the_other_node_and_nobody_sees_anything(self) -> None:
        self.say("one", "two")
        self.east.lose(self.seat, self.door)
        self.say("three")
        door, seat = self.west.hello(session=self.seat.token, resume=[("MainHall", 3), ("jokes", 1)])
        lines = door.lines()
        self.assertEqual((lines[0]["server"], lines[0]["identity"]), ("west", "adel"))
        self.assertEqual(lines[0]["session"], self.seat.token)
        self.assertEqual([line["type"] for line in lines[1:]], ["roomcontents", "roomcontents", "message"])
        self.assertEqual(lines[-1]["content"], "three")
        self.assertEqual((self.member.node, list(self.east.server.seats)), ("west", [self.watch_seat.session.key]))
        self.pass_time(100)
        self.assertEqual(self.watch.lines(), [])
        self.west.ask(seat, SayExtended("four", "4", "jokes"))
        self.assertIn("ack 4 jokes/1", door.brief())
        self.check_same()

    def test_there_and_back(self) -> None:
        self.say("one")
        door, node, seat = self.door, self.east, self.seat
        for following in (self.west, self.east, self.west, self.east):
            node.lose(seat, door)
            door, seat = following.hello(session=self.seat.token, resume=[("MainHall", 1)])
            node = following
            self.assertEqual(messages(door), [("MainHall", 1)])
            self.assertEqual(
                [len(each.server.seats) for each in (self.east, self.west)],
                [1 + (node is self.east), 0 + (node is self.west)],
            )
        self.assertEqual(self.watch.lines(), [])
        self.pass_time(100)
        self.assertEqual(self.watch.lines(), [])

    def test_an_older_connection_to_the_other_node_gets_session_moved(self) -> None:
        self.west.hello(session=self.seat.token)
        self.assertEqual((self.door.brief(), self.door.closed), (["error session-moved"], True))
        self.east.lose(self.seat, self.door)
        self.pass_time(100)
        self.assertEqual(self.watch.lines(), [], "the older connection's end is nobody's end")

    def test_an_older_connection_hears_what_was_said_before(self) -> None:
        for node in (self.west, self.east):
            seat, door = self.seat, self.door
            self.east.server.received(self.watch_seat, [SayExtended("Hi")])
            self.door, provisional = node.ask_in(session=self.seat.token, history="none")
            self.settle()
            self.seat = self.door.seat or provisional
            self.assertEqual(door.brief()[-2:], ["watch: Hi", "error session-moved"])
            self.assertNotIn("watch: Hi", self.door.brief())
            self.assertFalse(any(seat in audience for audience in self.east.server._hearing._audiences.values()))
            node.ask(self.seat, JoinExtended("MainHall"))

    def test_a_node_that_lags_waits_instead_of_rewinding(self) -> None:
        self.server_lags("one", "two", "three")
        door, _ = self.west.ask_in(session=self.seat.token, resume=[("MainHall", 3)])
        self.settle(self.east)
        self.assertEqual(door.lines(), [], "west has not applied what the client saw on east")
        self.settle()
        self.assertEqual(door.brief(), ["welcome", "in MainHall : watch adel", "in jokes adel: adel", "watch: three"])

    def server_lags(self, *contents: str) -> None:
        self.east.server.received(self.watch_seat, [SayExtended(content) for content in contents])
        self.settle(self.east)
        self.assertEqual(self.west.hall.rooms["MainHall"].last, 0)

    def test_what_is_asked_meanwhile_is_answered_in_order(self) -> None:
        door, provisional = self.west.ask_in(session=self.seat.token, history="none")
        requests = [
            SayExtended("one", "1", "MainHall"),
            PrivateAsked("watch", "psst", "p1"),
            Who("MainHall"),
            SayExtended("two", "2", "jokes"),
            List(),
        ]
        self.west.server.received(provisional, requests)
        self.assertEqual(provisional.session.in_flight, 6)
        self.settle()
        self.assertEqual(
            [line for line in door.brief() if not line.startswith(("adel", "ack p1"))],
            [
                "welcome",
                "in MainHall : watch adel",
                "in jokes adel: adel",
                "ack 1 MainHall/1",
                "in MainHall : watch adel",
                "ack 2 jokes/1",
                "list MainHall:2 jokes:1",
            ],
        )
        self.assertCountEqual(self.watch.brief(), ["adel: one", "private"])
        assert door.seat is not None
        self.assertEqual(door.seat.session.in_flight, 0)

    def test_rooms_that_the_session_is_not_in_are_joined_first(self) -> None:
        self.east.ask(self.watch_seat, CreateRoom("news"))
        door, provisional = self.west.ask_in(session=self.seat.token, resume=[("news", 1), ("gone", 1)], history="none")
        self.west.server.received(provisional, [SayExtended("Hi", "1")])
        self.settle()
        brief = door.brief()
        self.assertLess(brief.index("adel >news"), brief.index("ack 1 news/1"))
        self.assertIn("error no-such-room", brief)

    def test_a_link_lost_before_it_is_attached_leaves_the_session_its_grace_there(self) -> None:
        self.east.lose(self.seat, self.door)
        door, provisional = self.west.ask_in(session=self.seat.token)
        self.west.server.received(provisional, [SayExtended("last words", "1", "MainHall")])
        self.west.server.lost(provisional, door)
        self.settle()
        self.assertEqual((self.member.node, door.lines()), ("west", []))
        self.assertEqual(self.watch.brief(), ["adel: last words"])
        self.assertIsNotNone(self.west.server.seats[self.member.key].grace)
        self.pass_time(14.9)
        self.assertEqual(self.watch.lines(), [])
        self.pass_time(0.2)
        self.assertEqual(self.watch.brief(), ["adel MainHall>"])
        self.assertEqual((len(self.east.server.seats), len(self.west.server.seats)), (1, 0))

    def test_a_link_lost_after_it_hung_up_ends_no_other_link(self) -> None:
        door, provisional = self.east.ask_in(session=self.seat.token)
        self.east.server.hung_up(provisional)
        self.east.server.lost(provisional, door)
        self.settle()
        self.assertFalse(self.door.closed)
        self.east.ask(self.seat, SayExtended("Hi", "1"))
        self.assertIn("ack 1 jokes/1", self.door.brief())

    def test_a_link_that_hangs_up_before_it_is_attached_hears_all_it_asked_for(self) -> None:
        self.say("one")
        door, provisional = self.west.ask_in(session=self.seat.token, resume=[("MainHall", 1)])
        self.west.server.hung_up(provisional)
        self.settle()
        self.assertEqual((messages(door), door.closed), ([("MainHall", 1)], True))

    def test_a_link_lost_before_nobody_is_found_is_nothing(self) -> None:
        door, provisional = self.west.ask_in(session="unknown")
        self.west.server.lost(provisional, door)
        self.settle()
        self.assertEqual((self.watch.lines(), len(self.west.server.seats)), ([], 0))
        self.assertEqual(self.west.server._arrivals.arriving, {})

    def test_an_unknown_session_enters_as_a_new_one(self) -> None:
        door, provisional = self.west.ask_in(session="unknown", identity="beth")
        self.west.server.received(provisional, [SayExtended("Hi", "1"), PrivateAsked("adel", "psst", "p1")])
        self.settle()
        brief = door.brief()
        self.assertEqual(brief[:3], ["notice session-unknown", "welcome", "=beth"])
        self.assertIn("ack 1 MainHall/1", brief)
        self.assertIn("ack p1 private", brief)
        self.assertIn("private", self.door.brief())

    def test_two_nodes_asked_at_once(self) -> None:
        """The later one in the log has it."""
        first, _ = self.east.ask_in(session=self.seat.token)
        second, _ = self.west.ask_in(session=self.seat.token)
        self.settle()
        self.assertEqual(first.brief()[-1], "error session-moved")
        self.assertTrue(first.closed and self.door.closed and not second.closed)
        self.assertEqual(second.brief()[0], "welcome")
        self.assertEqual(self.watch.lines(), [])
        self.check_same()

    def test_a_grace_that_runs_out_where_the_session_is_no_more_ends_nothing(self) -> None:
        self.east.lose(self.seat, self.door)
        door, _ = self.west.ask_in(session=self.seat.token)
        self.settle(self.west)
        self.clock.advance(15.1)
        self.settle(self.west)
        self.assertTrue(any(b'"depart"' in run.body for runs, _ in self.agreed.batches for run in runs))
        self.settle()
        self.assertEqual((self.member.node, door.closed, self.watch.lines()), ("west", False, []))
        self.assertEqual(len(self.east.server.seats), 1)

    def test_a_grace_does_not_run_out_while_the_client_is_there_already(self) -> None:
        self.east.lose(self.seat, self.door)
        self.clock.advance(14.9)
        door, _ = self.east.ask_in(session=self.seat.token)
        self.clock.advance(1)
        self.settle()
        self.assertEqual((door.brief()[0], door.closed), ("welcome", False))

    def test_no_grace_begins_while_the_client_is_there_already(self) -> None:
        """The other node is given up between a client's return and the log's word of it."""
        self.east.lose(self.seat, self.door)
        door, _ = self.east.ask_in(session=self.seat.token)
        self.east.server._partings.expect(self.member)
        self.clock.advance(15.1)
        self.settle()
        self.assertEqual((door.brief()[0], door.closed), ("welcome", False))
        self.assertFalse(any(b'"depart"' in run.body for runs, _ in self.agreed.batches for run in runs))

    def test_what_waited_where_the_session_is_no_more_is_dropped(self) -> None:
        self.east.server.received(self.seat, [SayExtended("one", "1"), CreateRoom("late")])
        self.west.ask_in(session=self.seat.token)
        self.settle()
        self.assertNotIn("late", self.east.hall.rooms)
        self.assertEqual(self.east.hall.rooms["jokes"].last, 1)

    def test_a_retry_on_the_other_node_gets_the_same_ack(self) -> None:
        self.east.server.received(self.seat, [SayExtended("one", "1", "MainHall")])
        self.east.server.lost(self.seat, self.door)
        door, provisional = self.west.ask_in(session=self.seat.token, history="none")
        self.west.server.received(provisional, [SayExtended("one", "1", "MainHall")])
        self.settle()
        self.assertEqual(door.brief()[-1], "ack 1 MainHall/1")
        self.assertEqual(self.watch.brief(), ["adel: one"])

    def test_what_it_asked_for_on_the_other_node_comes_through(self) -> None:
        self.east.server.received(self.seat, [IdentityChange("bella")])
        self.agreed.agree()
        door, _ = self.west.ask_in(session=self.seat.token)
        self.settle()
        self.assertEqual(door.lines()[0]["identity"], "bella")

    def test_impatience_goes_on_with_the_session(self) -> None:
        door, provisional = self.west.ask_in(session=self.seat.token, history="none")
        self.west.server.received(provisional, [SayExtended(str(number)) for number in range(1100)])
        self.west.server.impatient(provisional)
        self.settle()
        self.assertEqual((door.released, self.west.server._impatient), (1, {}))
        self.assertEqual(self.east.hall.rooms["jokes"].last, 1100)


class EpochTests(PairTestCase):
    """An entry that waited on a node that was cut off is agreed on in another epoch than it was meant for."""

    def setUp(self) -> None:
        super().setUp()
        self.door, self.seat = self.east.hello(identity="adel")
        self.other, provisional = self.west.ask_in(session=self.seat.token)
        self.provisional = provisional
        self.agreed.numbering.epoch = 2

    def test_it_is_asked_for_again_if_the_client_is_still_there(self) -> None:
        self.west.log.epoch = 2
        self.settle()
        self.assertEqual(self.other.brief()[0], "welcome")
        acts = [decode_act(line) for runs, _ in self.agreed.batches for run in runs for line in run.lines()]
        self.assertEqual([act.epoch for act in acts if isinstance(act, Attach)], [1, 2])

    def test_it_takes_the_session_from_nobody_if_it_is_not(self) -> None:
        self.west.server.lost(self.provisional, self.other)
        self.settle()
        self.assertFalse(self.door.closed)
        self.assertEqual(member_of(self.east.hall, "adel").node, "east")
        self.assertEqual((self.west.server.seats, self.west.server._arrivals.arriving), ({}, {}))

    def test_a_session_that_was_waited_for_is_waited_for_again(self) -> None:
        self.west.log.epoch = 2
        self.settle()
        seat = self.other.seat
        assert seat is not None
        self.west.lose(seat, self.other)
        self.assertIsNotNone(seat.grace)
        door, provisional = self.west.ask_in(session=self.seat.token)
        self.assertIsNone(seat.grace)
        self.west.server.lost(provisional, door)
        self.agreed.numbering.epoch = 3
        self.settle()
        self.assertIsNotNone(seat.grace)
        self.pass_time(15.1)
        self.assertEqual(self.east.identities(), [])


class AdoptionTests(PairTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.watch, self.watch_seat = self.west.hello(identity="watch")
        self.base, self.base_seat = self.east.come()
        self.door, self.seat = self.east.hello(identity="adel")
        self.east.ask(self.seat, CreateRoom("jokes"))
        assert self.base_seat is not None
        self.east.ask(self.base_seat, CreateRoom("attic"))
        for door in (self.watch, self.base, self.door):
            door.lines()

    def take_over(self) -> None:
        """East is gone; west leads alone."""
        self.nodes = [self.west]
        self.agreed.numbering.epoch = 2
        self.west.change(role="leader", epoch=2, redundancy="alone", peers=[Peer("east", "", 0)])
        self.settle()

    def test_whose_node_is_away_is_expected_on_the_one_that_goes_on(self) -> None:
        self.take_over()
        self.assertEqual(self.watch.brief(), ["notice redundancy", "guest1 MainHall>"])
        self.assertEqual(self.west.identities(), ["watch", "adel"])
        self.assertEqual(member_of(self.west.hall, "adel").node, "west")
        self.assertEqual(self.west.hall.contents("attic").owner, "guest1", "the room waits for its owner")
        door, seat = self.west.hello(session=self.seat.token)
        self.assertEqual(door.brief()[:1], ["welcome"])
        self.assertIsNone(seat.grace)
        self.pass_time(100)
        self.assertEqual(self.watch.brief(), [])

    def test_who_does_not_come_was_lost_by_the_server(self) -> None:
        self.take_over()
        self.pass_time(15.1)
        self.assertEqual(self.west.identities(), ["watch"])
        self.assertEqual(self.west.hall.contents("jokes").owner, "adel")
        self.assertEqual(list(self.west.server.seats), [self.watch_seat.session.key])

    def test_once_in_an_epoch(self) -> None:
        self.take_over()
        before = len(self.agreed.batches)
        self.west.server.changed()
        self.settle()
        self.assertEqual(len(self.agreed.batches), before)
        self.agreed.numbering.epoch = 3
        self.west.change(epoch=3)
        self.settle()
        self.assertEqual(len(self.agreed.batches), before + 1)

    def test_not_in_another_epoch(self) -> None:
        """Cut off a log that was parted from, it was submitted again when another epoch had come."""
        self.agreed.entries.append((Entry(ACT, "", "a.1", NOW, encode_act(Adopt("west", 7))), self.west.log))
        self.settle()
        self.assertEqual(member_of(self.west.hall, "adel").node, "east")
        self.assertEqual(self.watch.lines(), [])

    def test_a_link_on_the_node_that_lost_it_is_sent_away(self) -> None:
        self.east.log.notes = self.west.log.notes = None
        self.take_over()
        self.nodes = [self.east]
        self.settle()
        gone, line = self.door.lines()
        self.assertEqual((gone["identity"], gone["roomid"]), ("guest1", ""))
        self.assertEqual((line["type"], line["servers"], line["reason"]), ("redirect", ["west:4444"], "isolated"))
        self.assertTrue(self.door.closed and self.base.closed)
        self.assertEqual(self.east.server.seats, {})
        self.east.lose(self.seat, self.door)
        self.assertEqual(self.clock_calls(), 1, "the grace on west")

    def clock_calls(self) -> int:
        return len([call for call in self.clock.getDelayedCalls() if call.getTime() > self.clock.seconds() + 1])

    def test_a_node_that_returns_begins_a_life(self) -> None:
        self.east = self.restart(self.east)
        self.assertEqual(self.west.identities(), ["watch", "guest1", "adel"])
        self.settle()
        self.assertEqual(self.watch.brief(), ["guest1 MainHall>"])
        seat = self.east.server.seats[member_of(self.east.hall, "adel").key]
        self.assertTrue(seat.lost and seat.grace is not None)
        self.assertEqual(list(self.west.server.seats), [self.watch_seat.session.key])
        door, _ = self.east.hello(session=self.seat.token)
        self.assertEqual(door.brief()[0], "welcome")
        self.check_same()

    def test_who_comes_at_once_is_not_taken_for_one_of_the_life_before(self) -> None:
        self.east = self.restart(self.east)
        door = FakeDoor()
        self.east.server.greet(door)
        self.settle()
        self.assertEqual((door.brief()[0], door.closed), ("=guest2", False), "guest1 is the owner of a room")

    def test_what_an_earlier_life_asked_for_and_is_agreed_on_now(self) -> None:
        self.east = self.restart(self.east)
        self.settle()
        self.watch.lines()
        for number, key in enumerate(("o.1", "o.2", "o.2")):
            act = Enter(key, "east", "olga" if key == "o.1" else "otto", None if key == "o.1" else "hash")
            self.west.log.submit(Entry(ACT, "", f"x.{number}", NOW, encode_act(act)))
        self.settle()
        self.assertEqual(self.watch.brief(), ["olga >MainHall", "otto >MainHall", "olga MainHall>"])
        self.pass_time(15.1)
        self.assertIn("otto MainHall>", self.watch.brief())
        self.assertNotIn("o.2", self.east.server.seats)

    def test_an_attachment_of_an_earlier_life_is_waited_for(self) -> None:
        act = Attach(self.east.hall.members[self.watch_seat.session.key].token or "", "east")
        self.east.log.submit(Entry(ACT, "", "x.1", NOW, encode_act(act)))
        self.settle()
        self.assertEqual((self.watch.brief(), self.watch.closed), (["error session-moved"], True))
        self.assertIsNotNone(self.east.server.seats[self.watch_seat.session.key].grace)

    def test_who_is_waited_for_twice_has_one_grace(self) -> None:
        self.west.lose(self.watch_seat, self.watch)
        member = self.west.hall.members[self.watch_seat.session.key]
        self.west.log.submit(Entry(ACT, "", "x.1", NOW, encode_act(Attach(member.token or "", "west"))))
        self.settle()
        door, _ = self.west.hello(session=self.watch_seat.token)
        self.pass_time(15.1)
        self.assertEqual((door.closed, "watch" in self.west.identities()), (False, True))

    def test_a_departure_that_the_serving_node_does_not_say_is_none(self) -> None:
        self.east.log.submit(Entry(ACT, "", "x.1", NOW, encode_act(Depart(self.seat.session.key, "west"))))
        self.settle()
        self.assertIn("adel", self.east.identities())


class PartingTests(PairTestCase):
    """A node that has to part from what it had committed."""

    def setUp(self) -> None:
        super().setUp()
        self.base, self.base_seat = self.west.come()
        self.door, self.seat = self.west.hello(identity="adel")
        self.short, self.short_seat = self.west.hello(identity="beth")
        self.west.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.west.ask(self.seat, *(SayExtended(str(n), None, "MainHall") for n in range(1, 6)))
        self.arriving, _ = self.west.ask_in(session=self.seat.token)
        for door in (self.base, self.door, self.short, self.arriving):
            door.lines()

    def part(self, first: dict[str, int]) -> None:
        self.agreed = Agreed()
        self.agreed.numbering.epoch = 3
        if first:
            self.west.server.rewound(first)
        self.west.log.reset(self.agreed)

    def test_everybody_is_sent_away(self) -> None:
        self.part({})
        for door in (self.door, self.short, self.arriving):
            self.assertEqual((door.brief(), door.closed), (["redirect"], True))
        (said,) = self.base.lines()
        self.assertEqual((said["identity"], self.base.closed), ("server", True))
        self.assertIn("east:4444", said["content"])
        self.assertEqual((self.west.server.seats, self.west.server._arrivals.arriving), ({}, {}))

    def test_who_was_brought_further_is_taken_back_first(self) -> None:
        self.part({"MainHall": 4, "jokes": 2, "gone": 1})
        for door in (self.door, self.short):
            self.assertEqual(door.brief(), ["rewind MainHall/4", "redirect"])
        self.assertEqual(len(self.base.lines()), 1)

    def test_who_was_not_brought_so_far_is_not(self) -> None:
        self.part({"MainHall": 6, "jokes": 1})
        self.assertEqual(self.door.brief(), ["redirect"])

    def test_a_new_life_begins(self) -> None:
        self.part({})
        self.assertEqual(self.agreed.entries, [])
        self.west.server.changed()
        self.assertEqual([decode_act(entry.head) for entry, _ in self.agreed.entries], [Adopt("west")])
        self.west.server.changed()
        self.assertEqual(len(self.agreed.entries), 1)

    def test_a_new_life_begins_with_whoever_comes(self) -> None:
        self.part({})
        self.west.ask_in(identity="cleo")
        self.assertIsInstance(decode_act(self.agreed.entries[0][0].head), Adopt)
        self.part({})
        self.west.server.greet(FakeDoor())
        self.assertIsInstance(decode_act(self.agreed.entries[0][0].head), Adopt)

    def test_no_link_waits_for_what_is_parted_from(self) -> None:
        self.west.server.received(self.seat, [SayExtended(str(number)) for number in range(1100)])
        self.west.server.impatient(self.seat)
        self.part({})
        self.assertEqual(self.west.server._impatient, {})

    def test_ends_of_links_and_readings_of_before_do_no_harm(self) -> None:
        self.west.server.received(self.seat, [SayExtended("six", "6"), Who("MainHall")])
        self.part({})
        self.west.server.changed()
        for seat, door in ((self.seat, self.door), (self.base_seat, self.base), (self.short_seat, self.short)):
            assert seat is not None
            self.west.server.lost(seat, door)
        self.nodes = [self.west]
        self.settle()
        self.assertEqual((self.west.identities(), self.west.server.seats), ([], {}))
        door, _ = self.west.hello(session=self.seat.token, resume=[("MainHall", 4)])
        self.assertEqual(door.brief()[:2], ["notice session-unknown", "welcome"])


class ForkTests(PairTestCase):
    """Positions 1 to 3 have the epoch 1, 4 to 6 the epoch 3, 7 to 9 the epoch 4."""

    def setUp(self) -> None:
        super().setUp()
        self.door, self.seat = self.east.hello(identity="adel")
        for epoch, contents in ((1, "123"), (3, "456"), (4, "789")):
            self.agreed.numbering.epoch = epoch
            for node in self.nodes:
                node.log.epoch = epoch
            self.east.ask(self.seat, *(SayExtended(content) for content in contents))

    def resumed(self, index: int, epoch: int | None) -> tuple[list[str], list[int]]:
        """Return what a client that comes back hears: where it is taken back to, and what it is told from there."""
        door, _ = self.west.hello(session=self.seat.token, resume=[("MainHall", index, epoch)])
        lines = door.lines()
        back = [f"{line['roomid']}/{line['index']}" for line in lines if line["type"] == "rewind"]
        return back, [line["index"] for line in lines if line["type"] == "message"]

    def test_who_holds_what_is_here_goes_on(self) -> None:
        for index, epoch in ((1, None), (1, 1), (4, 1), (5, 3), (7, 3), (8, 4), (10, 4), (5, None)):
            self.assertEqual(self.resumed(index, epoch), ([], list(range(index, 10))), (index, epoch))

    def test_who_comes_from_a_fork_is_taken_back_to_where_it_began(self) -> None:
        for index, epoch, back in ((6, 1, 4), (9, 1, 4), (10, 3, 7), (10, 1, 4), (12, 3, 7), (12, 4, 10)):
            self.assertEqual(self.resumed(index, epoch), ([f"MainHall/{back}"], list(range(back, 10))), (index, epoch))

    def test_what_is_not_kept_is_trusted_only_if_this_log_ever_had_its_epoch(self) -> None:
        for node in self.nodes:
            node.hall.rooms["MainHall"].first = 7
        self.assertEqual(self.resumed(5, 3), ([], [7, 8, 9]))
        self.west.log.strange_epochs = {3}
        self.assertEqual(self.resumed(5, 3), (["MainHall/1"], [7, 8, 9]))

    def test_who_comes_from_a_fork_that_is_not_known_begins_anew(self) -> None:
        for index, epoch in ((6, 2), (9, 5), (3, 0), (12, 2), (10, 9)):
            self.assertEqual(self.resumed(index, epoch), (["MainHall/1"], list(range(1, 10))), (index, epoch))

    def test_beyond_the_end_without_an_epoch(self) -> None:
        self.assertEqual(self.resumed(12, None), (["MainHall/10"], []))

    def test_what_is_not_kept_is_not_looked_at(self) -> None:
        self.east.server.forget({"MainHall": 6})
        self.settle()
        for node in self.nodes:
            node.log._archive.purge("MainHall", 6)
        self.assertEqual(self.resumed(6, 2), ([], [6, 7, 8, 9]))
        self.assertEqual(self.resumed(4, 2), ([], [6, 7, 8, 9]))
        for index, epoch in ((9, 1), (6, 4), (4, 7)):
            door, _ = self.west.hello(session=self.seat.token, resume=[("MainHall", index, epoch)])
            brief = door.brief()
            self.assertEqual(brief[2:4], ["rewind MainHall/1", "gap MainHall/1-5 retention"])
            self.assertEqual(len(brief), 8)
        self.east.server.forget({"MainHall": 10})
        self.settle()
        for node in self.nodes:
            node.log._archive.purge("MainHall", 10)
        self.assertEqual(self.resumed(10, 1), ([], []))
        self.assertEqual(self.resumed(12, None), (["MainHall/10"], []))
        door, _ = self.west.hello(session=self.seat.token, resume=[("MainHall", 12, 1)])
        self.assertEqual(door.brief()[2:], ["rewind MainHall/1", "gap MainHall/1-9 retention"])

    def test_of_a_room_that_is_empty_nothing_is_shared(self) -> None:
        self.east.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        door, _ = self.west.hello(session=self.seat.token, history="none", resume=[("jokes", 4, 2)])
        self.assertEqual(door.brief()[-1], "rewind jokes/1")

    def test_a_new_session_and_a_join_are_looked_at_too(self) -> None:
        door, _ = self.west.hello(session="unknown", resume=[("MainHall", 6, 1)])
        self.assertIn("rewind MainHall/4", door.brief())
        self.east.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes"), SayExtended("a joke"))
        door, seat = self.west.hello(identity="beth", history="none", resume=[("jokes", 2, 3)])
        self.assertEqual(door.brief()[-2:], ["rewind jokes/1", "adel: a joke"])
        self.west.ask(seat, Leave("jokes"), JoinExtended("jokes", index=2, epoch=3))
        self.assertEqual(door.brief()[-2:], ["rewind jokes/1", "adel: a joke"])


class ServingTests(PairTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.base, self.base_seat = self.west.come()
        self.door, self.seat = self.west.hello(identity="adel")
        self.base.lines(), self.door.lines()

    def cut_off(self) -> None:
        self.west.log.notes = None
        self.west.change(serving=False, redundancy="isolated", peers=[Peer("east", "", 0)])

    def test_clients_of_a_node_that_is_cut_off_are_sent_to_the_other(self) -> None:
        self.cut_off()
        notice, redirect = self.door.lines()
        self.assertEqual((notice["code"], redirect["reason"]), ("redundancy", "isolated"))
        self.assertTrue(notice["content"].startswith("isolated: "))
        self.assertEqual(redirect["servers"], ["east:4444"])
        self.assertTrue(0 <= redirect["after"] <= 500)
        self.assertFalse(self.door.closed)
        (said,) = self.base.lines()
        self.assertEqual((said["type"], said["identity"], self.base.closed), ("message", "server", True))
        self.assertIn("east:4444", said["content"])
        self.west.server.received(self.seat, [Who("MainHall")])
        self.assertEqual(self.door.brief(), ["in MainHall : guest1 adel"], "served until it goes")
        self.clock.advance(0.5)
        self.assertTrue(self.door.closed)

    def test_who_has_just_come_is_sent_away_too(self) -> None:
        door, _ = self.west.ask_in(session=self.seat.token)
        self.cut_off()
        self.assertEqual(door.brief(), ["redirect"])
        self.clock.advance(0.5)
        self.assertTrue(door.closed)

    def test_they_do_not_go_as_a_herd(self) -> None:
        doors = [self.west.hello()[0] for _ in range(10)]
        for door in doors:
            door.lines()
        self.cut_off()
        self.assertGreater(len({door.lines()[-1]["after"] for door in doors}), 5)

    def test_newcomers_are_sent_away_at_once(self) -> None:
        self.cut_off()
        door, seat = self.west.ask_in(session=self.seat.token)
        self.assertEqual((seat, door.brief(), door.closed), (None, ["redirect"], True))
        door, seat = self.west.ask_in()
        self.assertEqual((seat, door.brief(), door.closed), (None, ["redirect"], True))
        base = FakeDoor()
        self.assertIsNone(self.west.server.greet(base))
        self.assertTrue(base.closed)
        self.assertIn("east:4444", base.lines()[0]["content"])

    def test_where_the_other_server_is_not_known_it_is_not_named(self) -> None:
        self.west.server.told(notes.encode_note(notes.Here([], 0, 20, True, "east")))
        self.cut_off()
        self.assertEqual(self.door.lines()[-1]["servers"], [])
        self.assertIn("try again later", self.base.lines()[0]["content"])

    def test_once(self) -> None:
        self.cut_off()
        self.door.lines()
        self.west.server.changed()
        self.assertEqual(self.door.lines(), [])
        self.west.change(serving=True, redundancy="paired")
        self.assertEqual(self.door.brief(), ["notice redundancy"])
        door, _ = self.west.hello()
        self.assertEqual(door.brief()[0], "welcome")

    def test_a_link_that_is_gone_is_not_sent_away(self) -> None:
        self.west.lose(self.seat, self.door)
        self.cut_off()
        self.assertEqual((self.door.lines(), self.door.closed), ([], False))


class StartingTests(PairTestCase):
    """A node that has not served yet in its life."""

    def setUp(self) -> None:
        super().setUp()
        self.known, self.known_seat = self.west.hello(identity="adel")
        self.patch(PairMemoryLog, "serving", False)
        self.west = self.restart(self.west)

    def serve(self) -> None:
        self.west.change(serving=True)
        self.settle()

    def test_newcomers_are_let_in_and_wait(self) -> None:
        base, _ = self.west.come()
        extended, seat = self.west.hello(identity="beth")
        again, _ = self.west.hello(session=self.known_seat.token)
        self.west.server.received(seat, [SayExtended("Hi", "1")])
        self.assertEqual([base.lines(), extended.lines(), again.lines()], [[], [], []])
        self.assertEqual(len(self.agreed.entries), 0, "nothing was asked of the log")
        self.serve()
        self.assertEqual([base.brief()[0], extended.brief()[0], again.brief()[0]], ["=guest1", "welcome", "welcome"])
        self.pass_time(HOLD_S_MAX)
        self.assertFalse(base.closed or extended.closed or again.closed)

    def test_not_for_long(self) -> None:
        doors = [self.west.come()[0], self.west.hello()[0], self.west.hello(session=self.known_seat.token)[0]]
        self.clock.advance(HOLD_S_MAX - 0.1)
        self.assertEqual([door.closed for door in doors], [False] * 3)
        self.clock.advance(0.2)
        self.assertEqual([door.closed for door in doors], [True] * 3)
        self.assertEqual([line["type"] for door in doors for line in door.lines()], ["message", "redirect", "redirect"])
        self.serve()
        self.assertEqual(self.west.identities(), ["adel"])
        self.assertEqual(list(self.west.server.seats), [self.known_seat.session.key])
        door, _ = self.west.hello()
        self.assertEqual(door.brief()[0], "welcome")

    def test_who_goes_meanwhile_was_never_there(self) -> None:
        base, seat = self.west.come()
        extended, extended_seat = self.west.hello()
        again, again_seat = self.west.hello(session=self.known_seat.token)
        assert seat is not None
        for each, door in ((seat, base), (extended_seat, extended), (again_seat, again)):
            self.west.server.lost(each, door)
        self.assertEqual(list(self.west.server.seats), [self.known_seat.session.key])
        self.assertEqual(self.west.server._arrivals.arriving, {})
        self.assertIsNotNone(self.west.server.seats[self.known_seat.session.key].grace, "it is waited for again")
        self.serve()
        self.assertEqual(self.west.identities(), ["adel"])

    def test_who_is_no_base_client_after_all_waits_on(self) -> None:
        door, base = self.west.come()
        self.west.server.hello(door, Hello(1), base)
        self.assertEqual(len(self.west.server.seats), 2)
        self.serve()
        self.assertEqual(door.brief()[0], "welcome")
        self.assertEqual(self.west.identities(), ["adel", "guest1"])
        self.pass_time(HOLD_S_MAX)
        self.assertFalse(door.closed)

    def test_stopping_ends_the_waiting(self) -> None:
        door, _ = self.west.hello()
        self.pass_time(1)
        self.west.server.stop()
        self.assertTrue(door.closed)
        self.clock.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CapacityTests(PairTestCase):
    options: ClassVar[dict[str, Any]] = {**PairTestCase.options, "capacity": 2}

    def fill(self, node: Node) -> list[tuple[FakeDoor, Any]]:
        return [node.hello() for _ in range(2 - len(node.server.seats))]

    def tell(self) -> None:
        self.pass_time(neighbour.HERE_INTERVAL_S)

    def test_newcomers_are_sent_where_there_is_room(self) -> None:
        self.fill(self.east)
        door, seat = self.east.ask_in(identity="adel")
        self.assertEqual((seat, door.closed), (None, True))
        self.assertEqual(door.lines(), [{"type": "redirect", "servers": ["west:4444"], "reason": "full", "after": 0}])
        base = FakeDoor()
        self.assertIsNone(self.east.server.greet(base))
        (said,) = base.lines()
        self.assertEqual((said["identity"], base.closed), ("server", True))
        self.assertIn("west:4444", said["content"])

    def test_not_more_of_them_than_there_is_room(self) -> None:
        self.fill(self.east)
        briefs = [self.east.ask_in()[0].brief() for _ in range(4)]
        self.assertEqual(briefs, [["redirect"]] * 2 + [["error full"]] * 2)
        self.west.server.changed()
        self.settle()
        self.assertEqual(self.east.ask_in()[0].brief(), ["redirect"], "nobody went there")

    def test_where_both_are_full(self) -> None:
        self.fill(self.east)
        self.fill(self.west)
        self.tell()
        self.assertEqual(self.east.ask_in()[0].brief(), ["error full"])
        self.assertEqual(self.west.ask_in()[0].brief(), ["error full"])
        base = FakeDoor()
        self.east.server.greet(base)
        self.assertIn("try again later", base.lines()[0]["content"])

    def test_room_is_told_soon(self) -> None:
        self.fill(self.east)
        (door, seat), _ = self.fill(self.west)
        self.tell()
        self.west.lose(seat, door)
        self.pass_time(15.1)
        self.tell()
        self.assertEqual(self.east.ask_in()[0].brief(), ["redirect"])

    def test_where_the_other_is_not_heard_or_serves_not(self) -> None:
        self.fill(self.east)
        self.west.change(serving=False)
        self.settle()
        self.assertEqual(self.east.ask_in()[0].brief(), ["error full"])
        self.west.change(serving=True)
        self.settle()
        self.east.change(peers=[Peer("west", "", 0)])
        self.assertEqual(self.east.ask_in()[0].brief(), ["error full"])

    def test_alone_a_node_takes_everybody(self) -> None:
        self.fill(self.east)
        self.east.change(redundancy="alone", peers=[Peer("west", "", 0)])
        said: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        doors = [self.east.hello()[0] for _ in range(3)]
        self.assertEqual([event["capacity"] for event in said if "capacity" in event], [2], "one warning")
        self.assertEqual([door.brief()[0] for door in doors], ["welcome"] * 3)
        self.east.change(redundancy="paired", peers=[Peer("west", "follower", 0)])
        self.assertFalse(self.east.server._arrivals._overfull)
        self.assertEqual(self.east.ask_in()[0].brief()[-1:], ["error full"])

    def test_a_session_that_returns_is_admitted(self) -> None:
        self.fill(self.west)
        _, seat = self.east.hello(identity="adel")
        self.tell()
        again, _ = self.west.hello(session=seat.token)
        self.assertEqual(again.brief()[0], "welcome")
        self.assertEqual(len(self.west.server.seats), 3)

    def test_a_session_that_is_over_is_a_newcomer(self) -> None:
        self.fill(self.west)
        door, provisional = self.west.ask_in(session="unknown")
        self.west.server.received(provisional, [CreateRoom("jokes")])
        self.settle()
        self.assertEqual((door.brief(), door.closed), (["redirect"], True))
        self.assertEqual(self.west.hall.listing().rooms[0].count, 2)
        acts = [decode_act(line) for runs, _ in self.agreed.batches for run in runs for line in run.lines()]
        self.assertIsInstance(acts[-1], Attach, "what it asked for meanwhile is nobody's")


class NoteTests(PairTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.door, self.seat = self.east.hello(identity="adel")
        self.other, self.other_seat = self.west.hello(identity="beth")
        self.door.lines(), self.other.lines()

    def test_a_private_message_is_heard_on_the_other_node_and_acknowledged(self) -> None:
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", "p1")])
        self.assertEqual(self.door.lines(), [])
        self.settle()
        self.assertEqual(
            self.other.lines(), [{"type": "private", "identity": "adel", "content": "psst", "id": "p1", "time": NOW}]
        )
        self.assertEqual(self.door.lines(), [{"type": "ack", "id": "p1", "to": "beth", "delivered": 1}])
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > 1], [])

    def delivered(self) -> int:
        (ack,) = self.door.lines()
        return int(ack["delivered"])

    def test_whoever_cannot_hear_it_does_not(self) -> None:
        self.west.lose(self.other_seat, self.other)
        self.east.ask(self.seat, PrivateAsked("beth", "psst", "p1"))
        self.assertEqual(self.delivered(), 0)

    def test_whoever_has_gone_meanwhile_does_not_hear_it(self) -> None:
        del self.west.server.seats[self.other_seat.session.key]
        self.east.ask(self.seat, PrivateAsked("beth", "psst", "p1"))
        self.assertEqual(self.delivered(), 0)

    def test_without_a_link_nobody_hears_it(self) -> None:
        self.east.log.notes = None
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", "p1")])
        self.assertEqual(self.delivered(), 0)

    def test_an_answer_is_not_waited_for_long(self) -> None:
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", "p1"), ContactAsked(identity="beth")])
        self.settle(notes=False)
        self.clock.advance(neighbour.ANSWER_S_MAX - 0.1)
        self.assertEqual(self.door.lines(), [])
        self.clock.advance(0.2)
        ack, error = self.door.lines()
        self.assertEqual((ack["delivered"], error["code"]), (0, "no-address"))
        self.settle()
        self.assertEqual(self.door.lines(), [], "an answer that comes late is none")

    def test_not_too_many_are_asked_at_once(self) -> None:
        most = neighbour.QUESTIONS_MAX
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", f"p{n}") for n in range(most + 2)])
        self.assertEqual([line["id"] for line in self.door.lines()], [f"p{most}", f"p{most + 1}"])
        self.settle()
        self.assertEqual([line["delivered"] for line in self.door.lines()], [1] * most)

    def test_an_answer_is_not_waited_for_once_the_other_node_is_away(self) -> None:
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", "p1")])
        self.assertEqual(self.door.lines(), [])
        self.east.log.peers = []
        self.east.server.changed()
        self.assertEqual(self.delivered(), 0)

    def test_a_contact_is_made_across_nodes(self) -> None:
        self.west.ask(self.other_seat, ContactAsked("127.0.0.1:5"))
        self.east.ask(self.seat, ContactAsked(identity="beth"))
        (mine,) = self.door.lines()
        (theirs,) = self.other.lines()
        self.assertEqual((mine["identity"], mine["address"], len(mine["token"])), ("beth", "127.0.0.1:5", 32))
        self.assertEqual(theirs, {"type": "contact", "identity": "adel", "token": mine["token"]})

    def test_whoever_accepts_no_connections(self) -> None:
        self.east.ask(self.seat, ContactAsked(identity="beth"), ContactAsked(identity="nobody"))
        self.assertEqual({line["code"] for line in self.door.lines()}, {"no-address", "no-such-identity"})
        self.west.lose(self.other_seat, self.other)
        self.east.ask(self.seat, ContactAsked(identity="beth"))
        self.assertEqual([line["code"] for line in self.door.lines()], ["no-address"])

    def test_a_note_that_is_none_is_ignored(self) -> None:
        for note in (b"", b"\xff", b"null", b"\x81\xa4note\xa4here", b"\x91" * 5000, b'{"note":"here"}'):
            self.east.server.told(note)
        self.east.server.told(notes.encode_note(notes.Heard(99, 1)))
        self.east.ask(self.seat, PrivateAsked("beth", "psst", "p1"))
        self.assertEqual(self.delivered(), 1)

    def test_an_answer_to_another_question_delivers_nothing(self) -> None:
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", "p1")])
        self.east.server.told(notes.encode_note(notes.Called(1, "127.0.0.1:5", "token")))
        self.assertEqual(self.delivered(), 0)

    def test_notes_are_there_and_back(self) -> None:
        for note in (
            notes.Here(["east:4444"], 7, 100, True, "east"),
            notes.Whisper(1, "k.1", "adel", "psst", "p1", 1700000000.125),
            notes.Heard(1, 1),
            notes.Call(2, "k.1", "adel"),
            notes.Called(2, "127.0.0.1:5", "token"),
            notes.Called(2, None, None),
        ):
            self.assertEqual(notes.decode_note(notes.encode_note(note)), note)

    def test_how_a_node_is_is_told_at_most_so_often(self) -> None:
        told: list[bytes] = []
        self.pass_time(1)
        self.east.log.tell = lambda note: told.append(note) is None  # type: ignore[method-assign]
        for _ in range(5):
            self.east.hello()
        self.assertEqual(told, [])
        self.clock.advance(0.1)
        self.assertEqual([notes.decode_note(note) for note in told], [notes.Here(["east:4444"], 6, 20, True, "east")])
        self.clock.advance(1)
        self.assertEqual(len(told), 1)

    def test_stopping_waits_for_no_answer(self) -> None:
        self.pass_time(1)
        self.east.come()
        self.door.lines()
        self.east.server.received(self.seat, [PrivateAsked("beth", "psst", "p1")])
        self.east.server._neighbour.stop()
        self.assertEqual(self.delivered(), 0)
        self.clock.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StateTests(PairTestCase):
    def test_status_tells_of_both_nodes(self) -> None:
        _, seat = self.west.hello()
        door, seat = self.west.hello(identity="adel")
        self.west.log.peers = [Peer("east", "leader", 3)]
        door.lines()
        self.west.ask(seat, StatusAsked())
        (status,) = door.lines()
        self.assertEqual(
            [status[name] for name in ("server", "clients", "capacity", "serving", "role", "redundancy", "peers")],
            ["west", 2, 20, True, "follower", "paired", [{"name": "east", "role": "leader", "lag": 3}]],
        )

    def test_redundancy_is_told_to_extended_clients(self) -> None:
        base, _ = self.east.come()
        door, _ = self.east.hello()
        base.lines(), door.lines()
        for state in ("alone", "paired"):
            self.east.change(redundancy=state)
            (notice,) = door.lines()
            self.assertEqual((notice["type"], notice["code"]), ("notice", "redundancy"))
            self.assertTrue(notice["content"].startswith(f"{state}: "), notice)
            self.assertGreater(len(notice["content"]), 15)
        self.east.server.changed()
        self.settle()
        self.assertEqual((door.lines(), base.lines()), ([], []))

    def test_retention_is_the_leaders(self) -> None:
        _, seat = self.east.hello()
        self.east.ask(seat, SayExtended("one"), SayExtended("two"))
        self.west.server.forget({"MainHall": 2})
        self.settle()
        self.assertEqual(self.east.hall.rooms["MainHall"].first, 1)
        self.east.server.forget({"MainHall": 2})
        self.settle()
        self.assertEqual([node.hall.rooms["MainHall"].first for node in self.nodes], [2, 2])

    def test_who_is_on_a_node_that_stops_goes_to_the_other(self) -> None:
        door, seat = self.east.hello()
        door.lines()
        arriving, _ = self.east.ask_in(session=seat.token)
        self.east.server.stop()
        self.assertEqual((arriving.brief(), arriving.closed), (["notice shutting-down", "redirect"], True))
        notice, redirect = door.lines()
        self.assertEqual(notice["code"], "shutting-down")
        self.assertEqual((redirect["servers"], redirect["reason"]), (["west:4444"], "draining"))
        self.assertTrue(door.closed and 0 <= redirect["after"] <= 500)

    def test_unless_that_does_not_serve(self) -> None:
        door, _ = self.east.hello()
        door.lines()
        self.west.change(serving=False)
        self.settle()
        self.east.server.stop()
        self.assertEqual(door.brief(), ["notice shutting-down"])

    def test_rooms_are_one_on_both_nodes(self) -> None:
        _, first_seat = self.east.hello(identity="adel")
        _, second_seat = self.west.come()
        assert second_seat is not None
        self.east.ask(first_seat, CreateRoom("jokes"))
        self.west.ask(second_seat, Join("jokes"))
        self.east.ask(first_seat, Delete("jokes"))
        self.assertEqual(self.west.identities(), ["adel", "guest1"])
        self.check_same()


class StormTests(PairTestCase):
    """Clients talk, break off and go on with their sessions on whatever node, while either lags as dice will."""

    options: ClassVar[dict[str, Any]] = {"capacity": 100, "rooms_per_session_max": 10}

    def test_no_gap_and_no_repetition_wherever_they_go(self) -> None:
        moved = 0
        for seed in range(80):
            self.setUp()
            moved += Storm(self, random.Random(seed), f"seed {seed}").run(200)
        self.assertGreater(moved, 500, "sessions did move")


class Wanderer:
    """A client of the storm: what it holds of MainHall, and what it waits for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None
        self.door = FakeDoor()
        self.provisional: Any = None
        self.token: str | None = None
        self.next = 1
        self.pending: dict[str, str] = {}
        self.acked: dict[str, int] = {}
        self.servers: list[str] = []

    @property
    def seat(self) -> Any:
        return self.door.seat or self.provisional


class Storm:
    def __init__(self, case: StormTests, dice: random.Random, name: str) -> None:
        self.case = case
        self.dice = dice
        self.name = name
        self.said = 0
        self.moved = 0
        self.clients = [Wanderer(f"client{number}") for number in range(4)]

    def run(self, steps: int) -> int:
        for _ in range(steps):
            client = self.dice.choice(self.clients)
            self.dice.choice((self.say, self.say, self.come, self.break_off, self.agree, self.apply, self.apply))(
                client
            )
            self.look(client)
        for client in self.clients:
            self.come(client)
        for _ in range(3):
            self.case.settle()
            for client in self.clients:
                self.look(client)
                self.say(client)
        self.case.settle()
        self.case.check_same()
        last = self.case.east.hall.rooms["MainHall"].last
        for client in self.clients:
            self.look(client)
            self.case.assertEqual((client.next, client.pending), (last + 1, {}), (self.name, client.name))
            self.case.assertEqual(client.node and member_of(client.node.hall, client.name).node, client.servers[-1])
        self.case.assertEqual(len(self.case.east.hall.members), len(self.clients), self.name)
        self.case.assertEqual(sum(len(node.server.seats) for node in self.case.nodes), len(self.clients), self.name)
        return self.moved

    def say(self, client: Wanderer) -> None:
        if client.node is not None:
            self.said += 1
            id = content = f"{client.name}.{self.said}"
            client.pending[id] = content
            client.node.server.received(client.seat, [SayExtended(content, id), Who("MainHall")])

    def come(self, client: Wanderer) -> None:
        """Come over a new connection: instead of none, or of one that is still open."""
        if client.node is not None and (client.token is None or self.dice.random() < 0.5):
            return
        node = self.dice.choice(self.case.nodes)
        self.moved += client.token is not None and node is not client.node
        stale = client.node, client.seat, client.door
        hello: dict[str, Any] = {"identity": client.name, "session": client.token}
        client.door, client.provisional = node.ask_in(
            resume=[("MainHall", client.next, 1 if client.next > 1 else None)], **hello
        )
        client.node = node
        if stale[0] is not None:
            # The node finds out now, or only when it closes that connection itself.
            if self.dice.random() < 0.5:
                stale[0].server.lost(stale[1], stale[2])
            else:
                stale[2].close()
        for id, content in client.pending.items():
            node.server.received(client.seat, [SayExtended(content, id)])

    def break_off(self, client: Wanderer) -> None:
        if client.node is not None and client.token is not None:
            client.node.server.lost(client.seat, client.door)
            client.node = None

    def agree(self, client: Wanderer) -> None:
        self.case.agreed.agree()

    def apply(self, client: Wanderer) -> None:
        node = self.dice.choice(self.case.nodes)
        node.log.commit()
        self.case.clock.turn()
        node.answer()

    def look(self, client: Wanderer) -> None:
        case, where = self.case, (self.name, client.name)
        for line in client.door.lines():
            kind = line["type"]
            if kind == "welcome":
                case.assertIn(client.token, (None, line["session"]), where)
                client.token = line["session"]
                client.servers.append(line["server"])
            elif kind == "message":
                case.assertEqual(line["index"], client.next, where)
                client.next += 1
            elif kind == "ack":
                client.pending.pop(line["id"], None)
                case.assertEqual(client.acked.setdefault(line["id"], line["index"]), line["index"], where)
            else:
                # Only a connection that it left for a newer one hears that the session has moved.
                case.assertNotIn(kind, ("gap", "rewind", "notice", "redirect", "error"), (*where, line))
