import hashlib
from dataclasses import replace
from typing import Any

from zope.interface.verify import verifyObject

from chatproto.chat.acts import Adopt, Depart, Enter, decode_act, encode_act
from chatproto.chat.messages import (
    CreateRoom,
    Delete,
    Hello,
    HistoryAsked,
    IdentityChange,
    Join,
    JoinExtended,
    Leave,
    List,
    Ping,
    Quit,
    Say,
    SayExtended,
    Who,
)
from chatproto.log.entry import ACT, Entry
from chatproto.log.interface import ILog
from tests.unit.chat.fakes import NOW, ChatTestCase, FakeDoor, MemoryLog


class GreetingTests(ChatTestCase):
    def test_the_fake_log_is_one(self) -> None:
        self.assertTrue(verifyObject(ILog, self.log))

    def test_a_base_client_hears_nothing_before_its_entering_is_committed(self) -> None:
        door = FakeDoor()
        self.server.greet(door)
        self.log.seal()
        self.assertEqual(door.lines(), [])
        self.log.commit()
        self.assertEqual(door.brief(), ["=guest1", "guest1 >MainHall", "list MainHall:1", "in MainHall : guest1"])

    def test_everybody_in_main_hall_hears_of_a_newcomer(self) -> None:
        first, _ = self.come()
        first.lines()
        second, _ = self.come()
        self.assertEqual(first.brief(), ["guest2 >MainHall"])
        self.assertEqual(
            second.brief(), ["=guest2", "guest2 >MainHall", "list MainHall:2", "in MainHall : guest1 guest2"]
        )

    def test_an_extended_client_is_welcomed_first(self) -> None:
        door, seat = self.hello(identity="adel")
        welcome, *greeting = door.lines()
        self.assertEqual(
            welcome,
            {
                "type": "welcome",
                "version": 1,
                "server": "primary",
                "session": seat.token,
                "identity": "adel",
                "epoch": 1,
                "role": "leader",
                "redundancy": "single",
                "servers": [],
            },
        )
        self.assertEqual([line["type"] for line in greeting], ["newidentity", "roomchange", "roomlist", "roomcontents"])
        self.assertTrue(door.extended)

    def test_the_log_holds_a_hash_of_the_token(self) -> None:
        _, seat = self.hello(identity="adel")
        body = b"".join(run.body for run in self.log.runs)
        self.assertNotIn(seat.token.encode(), body)
        self.assertIn(hashlib.sha256(seat.token.encode()).hexdigest().encode(), body)
        self.assertEqual(len(seat.token), 32)

    def test_what_a_refused_name_becomes(self) -> None:
        self.hello(identity="adel")
        door, _ = self.hello(identity="adel")
        self.assertEqual(door.brief()[:3], ["welcome", "=guest1", "error identity-taken"])

    def test_rooms_asked_for_are_entered(self) -> None:
        _, seat = self.hello(identity="adel")
        self.ask(seat, CreateRoom("jokes"))
        door, _ = self.hello(identity="beth", resume={"jokes": 1, "gone": 1})
        self.assertEqual(door.brief()[-2:], ["beth >jokes", "error no-such-room"])

    def test_another_version_is_refused(self) -> None:
        door, seat = self.hello(version=2)
        self.assertEqual((seat, door.closed, door.brief(), door.extended), (None, True, ["error version"], False))

    def test_a_history_or_a_position_that_makes_no_sense_is_refused(self) -> None:
        for fields in ({"history": "some"}, {"history": -1}, {"resume": {"jokes": 0}}):
            door, seat = self.hello(**fields)
            self.assertEqual((seat, door.closed, door.brief()), (None, True, ["error bad-request"]))

    def test_too_many_rooms_are_refused(self) -> None:
        door, seat = self.hello(resume={f"room{number}": 1 for number in range(5)})
        self.assertEqual((seat, door.closed, door.brief()), (None, True, ["error too-many-rooms"]))

    def test_a_late_hello_parts_from_the_base_session(self) -> None:
        other, _ = self.come()
        door, base = self.come()
        other.lines()
        door.lines()
        _, seat = self.hello(door=door, current=base, identity="adel")
        self.assertEqual(other.brief(), ["guest2 MainHall>", "adel >MainHall"])
        self.assertEqual(door.brief()[:2], ["welcome", "=adel"])
        self.assertFalse(door.closed)
        self.assertEqual(list(self.server.seats.values())[1:], [seat])

    def test_a_late_hello_that_is_refused_ends_the_link(self) -> None:
        door, base = self.come()
        _, seat = self.hello(door=door, current=base, version=7)
        self.assertEqual((seat, door.closed), (None, True))
        self.lose(base, door)
        self.assertEqual(self.server.seats, {})


class FullTests(ChatTestCase):
    settings = replace(ChatTestCase.settings, capacity=2)

    def setUp(self) -> None:
        super().setUp()
        self.first, self.base = self.come()
        self.second, self.extended = self.hello(identity="adel")

    def test_a_base_client_is_turned_away_with_a_word(self) -> None:
        door = FakeDoor()
        self.assertIsNone(self.server.greet(door))
        self.assertTrue(door.closed)
        (line,) = door.lines()
        self.assertEqual(line["identity"], "server")
        self.assertIn("full", line["content"])

    def test_an_extended_client_is_turned_away_with_an_error(self) -> None:
        door, seat = self.hello(identity="beth", session="unknown")
        self.assertEqual((seat in self.server.seats.values(), door.closed), (False, True))
        self.assertEqual(door.brief(), ["error full"])
        self.lose(seat, door)
        door, seat = self.hello(identity="beth")
        self.assertEqual((seat, door.closed, door.brief()), (None, True, ["error full"]))
        self.assertEqual(list(self.hall.identities), ["guest1", "adel"])

    def test_who_is_inside_may_say_hello_late_or_come_back(self) -> None:
        self.assertIsNotNone(self.hello(door=self.first, current=self.base)[1])
        self.lose(self.extended, self.second)
        _door, seat = self.hello(session=self.extended.token)
        self.assertIs(seat, self.extended)

    def test_who_goes_makes_room(self) -> None:
        self.lose(self.base, self.first)
        self.assertIsNotNone(self.server.greet(FakeDoor()))


class TalkingTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.base, self.base_seat = self.come()
        self.ext, self.ext_seat = self.hello(identity="adel")
        self.forget_lines()

    def forget_lines(self) -> None:
        self.base.lines()
        self.ext.lines()

    def test_everybody_hears_a_message_once_it_is_committed(self) -> None:
        self.server.received(self.base_seat, [Say("Hi")])
        self.log.seal()
        self.assertEqual((self.base.lines(), self.ext.lines()), ([], []))
        self.log.commit()
        self.assertEqual(self.base.lines(), [{"type": "message", "identity": "guest1", "content": "Hi"}])
        (line,) = self.ext.lines()
        self.assertEqual(
            (line["content"], line["roomid"], line["index"], line["epoch"], line["time"]), ("Hi", "MainHall", 1, 1, NOW)
        )

    def test_a_message_with_an_id_is_acknowledged_once_it_is_committed(self) -> None:
        self.server.received(self.ext_seat, [SayExtended("Hi", "f81d"), SayExtended("Ho")])
        self.log.seal()
        self.assertEqual(self.ext.lines(), [])
        self.commit()
        self.assertCountEqual(self.ext.brief(), ["adel: Hi", "adel: Ho", "ack f81d MainHall/1"])
        self.assertEqual(self.base.brief(), ["adel: Hi", "adel: Ho"])

    def test_a_retry_gets_the_same_ack_and_adds_nothing(self) -> None:
        self.server.received(self.ext_seat, [SayExtended("Hi", "f81d"), SayExtended("Hi", "f81d")])
        self.commit()
        self.assertCountEqual(self.ext.brief(), ["adel: Hi", "ack f81d MainHall/1", "ack f81d MainHall/1"])
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"))
        self.assertEqual(self.ext.brief(), ["ack f81d MainHall/1"])
        other, other_seat = self.hello(identity="beth", history="none")
        other.lines()
        self.ask(other_seat, SayExtended("Hi", "f81d"))
        self.assertEqual(other.brief(), ["ack f81d MainHall/1"])
        self.assertEqual(self.base.brief(), ["adel: Hi", "beth >MainHall"])

    def test_an_id_used_for_something_else_is_refused(self) -> None:
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"), SayExtended("Ho", "f81d"))
        self.assertCountEqual(self.ext.brief(), ["adel: Hi", "ack f81d MainHall/1", "error id-reused"])
        self.assertEqual(self.ext_seat.session.in_flight, 0)

    def test_each_message_of_a_run_has_its_own_place(self) -> None:
        said = [SayExtended(content, content) for content in ("one", "two", "three")]
        self.ask(self.ext_seat, *said)
        places = [f"ack {id} MainHall/{index}" for index, id in enumerate(("one", "two", "three"), 1)]
        self.assertEqual([line for line in self.ext.brief() if line.startswith("ack")], places)
        self.ask(self.ext_seat, *said, SayExtended("one", "two"))
        self.assertEqual(self.ext.brief(), [*places, "error id-reused"])

    def test_a_retry_of_what_retention_dropped_is_said_to_be_forgotten(self) -> None:
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"))
        self.log.purge("MainHall", 2)
        self.ext.lines()
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"))
        self.assertEqual(self.ext.brief(), ["error forgotten"])

    def test_what_waits_for_a_retry_goes_on_after_it(self) -> None:
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"))
        self.ext.lines()
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"), Who("MainHall"))
        self.assertEqual(self.ext.brief(), ["ack f81d MainHall/1", "in MainHall : guest1 adel"])

    def test_answers_come_after_what_was_heard_before(self) -> None:
        self.ask(self.base_seat, Say("one"), List(), Say("two"), Who("MainHall"))
        self.assertEqual(
            self.base.brief(), ["guest1: one", "list MainHall:2", "guest1: two", "in MainHall : guest1 adel"]
        )

    def test_a_batch_is_one_piece_for_each_link(self) -> None:
        pieces: list[bytes] = []
        self.base.send = pieces.append  # type: ignore[method-assign]
        for number in range(5):
            self.server.received(self.base_seat, [Say(str(number))])
            self.server.received(self.ext_seat, [SayExtended(str(number))])
        self.log.commit()
        self.assertEqual([piece.count(b"\n") for piece in pieces], [10])

    def test_a_message_to_a_room_that_was_deleted_meanwhile(self) -> None:
        self.ask(self.ext_seat, CreateRoom("jokes"), JoinExtended("jokes"))
        self.server.received(self.ext_seat, [SayExtended("one", "1")])
        self.log.seal()
        self.server.received(self.ext_seat, [Delete("jokes")])
        self.server.received(self.ext_seat, [SayExtended("lost", "2")])
        self.ext.lines()
        self.commit()
        self.assertCountEqual(self.ext.brief()[:2], ["adel: one", "ack 1 jokes/1"])

        self.ask(self.ext_seat, CreateRoom("news"), JoinExtended("news", stay=True))
        self.ext.lines()
        other, other_seat = self.hello(identity="beth", resume={"news": 1})
        self.server.received(self.ext_seat, [Delete("news")])
        self.server.received(other_seat, [SayExtended("lost", "3", "news")])
        other.lines()
        self.commit()
        self.assertEqual(other.brief(), ["adel news>", "beth news>", "error no-such-room"])
        self.assertEqual(self.hall.kept()["news"], 2, "its number is never used again")

    def test_the_time_is_the_same_all_through_a_turn(self) -> None:
        self.server.received(self.base_seat, [Say("one")])
        self.now += 1
        self.server.received(self.ext_seat, [SayExtended("two")])
        self.clock.turn()
        self.server.received(self.ext_seat, [SayExtended("three")])
        self.assertEqual([entry.time for entry in self.log.submitted], [NOW, NOW, NOW + 1])

    def test_renames_and_moves_are_heard_in_their_order_among_messages(self) -> None:
        for request in (
            Say("one"),
            IdentityChange("beth"),
            Say("two"),
            CreateRoom("jokes"),
            Join("jokes"),
            Say("three"),
        ):
            self.server.received(self.base_seat, [request])
        self.commit()
        self.assertEqual(self.ext.brief(), ["guest1: one", "guest1=beth", "beth: two", "beth MainHall>jokes"])
        self.assertEqual(
            self.base.brief(),
            [
                "guest1: one",
                "guest1=beth",
                "beth: two",
                "list MainHall:2 jokes:0",
                "beth MainHall>jokes",
                "beth: three",
            ],
        )

    def test_who_is_in_both_rooms_hears_a_move_once(self) -> None:
        self.ask(self.ext_seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.forget_lines()
        self.ask(self.base_seat, Join("jokes"))
        self.assertEqual(self.ext.brief(), ["guest1 MainHall>jokes"])
        self.assertEqual(self.base.brief(), ["guest1 MainHall>jokes"])
        self.ask(self.ext_seat, CreateRoom("news"), JoinExtended("news", stay=True))
        self.forget_lines()
        self.ask(self.ext_seat, IdentityChange("aaron"))
        self.assertEqual((self.ext.brief(), self.base.brief()), (["adel=aaron"], ["adel=aaron"]))

    def test_who_is_in_both_rooms_hears_a_move_in_its_order_among_messages(self) -> None:
        self.ask(self.ext_seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.forget_lines()
        self.server.received(self.ext_seat, [SayExtended("one", None, "MainHall"), SayExtended("two")])
        self.server.received(self.base_seat, [Join("jokes")])
        self.log.commit()
        self.assertEqual(self.ext.brief(), ["adel: one", "adel: two", "guest1 MainHall>jokes"])

    def test_a_refusal_is_told_to_extended_clients_alone(self) -> None:
        self.ask(self.base_seat, Join("gone"))
        self.ask(self.ext_seat, JoinExtended("gone"))
        self.assertEqual(self.base.brief(), ["guest1 MainHall>MainHall"])
        self.assertEqual(self.ext.brief(), ["adel MainHall>MainHall", "error no-such-room"])

    def test_a_private_ping_and_pong(self) -> None:
        self.ask(self.ext_seat, Ping())
        self.assertEqual(self.ext.brief(), ["pong"])


class PartingTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.watch, _ = self.come()
        self.watch.lines()

    def test_who_quits_hears_it_and_is_let_go(self) -> None:
        door, seat = self.come()
        door.lines()
        self.ask(seat, Quit(), Say("too late"))
        self.assertEqual((door.brief(), door.closed), (["guest2 MainHall>"], True))
        self.assertEqual(self.watch.brief(), ["guest2 >MainHall", "guest2 MainHall>"])
        self.lose(seat, door)
        self.assertEqual(len(self.server.seats), 1)

    def test_a_base_client_whose_connection_broke_is_gone_at_once(self) -> None:
        door, seat = self.come()
        self.lose(seat, door)
        self.assertEqual(self.watch.brief(), ["guest2 >MainHall", "guest2 MainHall>"])

    def test_a_base_client_lost_before_it_entered_is_gone_too(self) -> None:
        door = FakeDoor()
        seat = self.server.greet(door)
        assert seat is not None
        self.server.lost(seat, door)
        self.commit()
        self.assertEqual((door.lines(), len(self.server.seats)), ([], 1))
        self.assertEqual(self.watch.brief(), ["guest2 >MainHall", "guest2 MainHall>"])

    def test_an_extended_client_has_its_grace(self) -> None:
        door, seat = self.hello(identity="adel")
        self.watch.lines()
        self.lose(seat, door)
        self.clock.advance(14.9)
        self.commit()
        self.assertEqual(self.watch.lines(), [])
        self.clock.advance(0.2)
        self.commit()
        self.assertEqual(self.watch.brief(), ["adel MainHall>"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_extended_client_lost_before_it_entered_has_its_grace(self) -> None:
        door = FakeDoor()
        seat = self.server.hello(door, Hello(1, "adel"), None)
        assert seat is not None
        self.server.lost(seat, door)
        self.commit()
        self.assertEqual(self.watch.brief(), ["adel >MainHall"])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(15.1)
        self.commit()
        self.assertEqual(self.watch.brief(), ["adel MainHall>"])

    def test_an_extended_client_that_quits_has_none(self) -> None:
        door, seat = self.hello(identity="adel")
        self.watch.lines()
        self.ask(seat, Quit())
        self.assertEqual((self.watch.brief(), door.closed), (["adel MainHall>"], True))

    def test_an_extended_client_that_quits_and_breaks_off_has_none(self) -> None:
        door, seat = self.hello(identity="adel")
        self.server.received(seat, [Quit()])
        self.server.lost(seat, door)
        self.commit()
        self.assertEqual((len(self.server.seats), self.clock.getDelayedCalls()), (1, []))

    def test_messages_of_a_client_that_broke_off_are_heard(self) -> None:
        door, seat = self.come()
        self.watch.lines()
        self.server.received(seat, [Say("my last words")])
        self.server.lost(seat, door)
        self.commit()
        self.assertEqual(self.watch.brief(), ["guest2: my last words", "guest2 MainHall>"])

    def test_a_base_client_that_sends_no_more_hears_its_answers_first(self) -> None:
        door, seat = self.come()
        door.lines()
        self.server.received(seat, [Say("Hi"), List()])
        self.server.hung_up(seat)
        self.assertFalse(door.closed)
        self.commit()
        self.assertEqual((door.brief(), door.closed), (["guest2: Hi", "list MainHall:2", "guest2 MainHall>"], True))

    def test_an_extended_client_that_sends_no_more_is_let_go_and_may_be_back(self) -> None:
        door, seat = self.hello(identity="adel")
        door.lines()
        self.server.received(seat, [SayExtended("Hi", "f81d")])
        self.server.hung_up(seat)
        self.commit()
        self.assertCountEqual(door.brief(), ["adel: Hi", "ack f81d MainHall/1"])
        self.assertTrue(door.closed)
        self.lose(seat, door)
        _, again = self.hello(session=seat.token)
        self.assertIs(again, seat)
        self.assertFalse(again.leaving)

    def test_a_client_that_sends_no_more_and_is_lost_before_it_is_let_go(self) -> None:
        door, seat = self.hello(identity="adel")
        self.server.received(seat, [SayExtended("Hi")])
        self.server.hung_up(seat)
        self.server.lost(seat, door)
        self.commit()
        self.assertFalse(door.closed)
        door, again = self.hello(session=seat.token)
        self.assertIs(again, seat)
        self.assertFalse(door.closed)

    def test_stopping_tells_clients_and_departs_nobody(self) -> None:
        base, base_seat = self.come()
        ext, ext_seat = self.hello(identity="adel")
        away, away_seat = self.hello(identity="beth")
        self.lose(away_seat, away)
        base.lines()
        ext.lines()
        self.server.stop()
        told = ["server: primary is shutting down; try again later"]
        self.assertEqual((base.brief(), base.closed), (told, True))
        self.assertEqual((ext.brief(), ext.closed), (["notice shutting-down"], True))
        self.server.lost(base_seat, base)
        self.server.lost(ext_seat, ext)
        self.assertEqual((self.log.submitted, self.clock.getDelayedCalls()), ([], []))


class ReturnTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.watch, self.watch_seat = self.come()
        self.door, self.seat = self.hello(identity="adel")
        self.ask(self.watch_seat, CreateRoom("jokes"))
        self.ask(self.seat, JoinExtended("jokes", stay=True))
        self.watch.lines()

    def say(self, *contents: str) -> None:
        self.ask(self.watch_seat, *map(Say, contents))

    def test_a_session_is_resumed_and_nobody_sees_anything(self) -> None:
        self.say("one", "two")
        self.lose(self.seat, self.door)
        self.say("three")
        self.clock.advance(10)
        self.watch.lines()
        door, seat = self.hello(session=self.seat.token, resume={"MainHall": 3, "jokes": 1})
        self.assertIs(seat, self.seat)
        self.assertEqual(
            door.brief(),
            ["welcome", "in MainHall : guest1 adel", "in jokes guest1: adel", "guest1: three"],
        )
        self.assertEqual(self.watch.lines(), [])
        self.clock.advance(100)
        self.commit()
        self.assertEqual(self.watch.lines(), [], "its grace is over no more")
        self.say("four")
        self.assertEqual(door.brief(), ["guest1: four"])

    def test_the_same_token_is_welcome_again(self) -> None:
        self.lose(self.seat, self.door)
        for _ in range(2):
            door, seat = self.hello(session=self.seat.token)
            self.assertEqual(door.lines()[0]["session"], self.seat.token)
            self.lose(seat, door)

    def test_without_positions_it_gets_the_usual_history(self) -> None:
        self.say("one", "two")
        self.lose(self.seat, self.door)
        door, seat = self.hello(session=self.seat.token)
        self.assertEqual(door.brief()[3:], ["guest1: one", "guest1: two"])
        self.lose(seat, door)
        door, seat = self.hello(session=self.seat.token, history=1)
        self.assertEqual(door.brief()[3:], ["guest1: two"])

    def test_a_position_beyond_the_archive_is_taken_back(self) -> None:
        self.say("one")
        self.lose(self.seat, self.door)
        door, _ = self.hello(session=self.seat.token, resume={"MainHall": 9, "jokes": 1})
        self.assertEqual(door.brief()[3:], ["rewind MainHall/2"])

    def test_rooms_it_is_not_in_are_joined_or_gone(self) -> None:
        self.ask(self.watch_seat, CreateRoom("news"))
        self.lose(self.seat, self.door)
        door, _ = self.hello(session=self.seat.token, resume={"MainHall": 1, "gone": 1, "news": 1})
        self.assertEqual(door.brief()[3:], ["adel jokes>jokes", "error no-such-room", "adel >news"])
        self.assertEqual(self.hall.members[self.seat.session.key].rooms, ("MainHall", "jokes", "news"))

    def test_the_newer_connection_has_the_session(self) -> None:
        self.door.lines()
        door, seat = self.hello(session=self.seat.token)
        self.assertIs(seat, self.seat)
        self.assertEqual((self.door.brief(), self.door.closed), (["error session-moved"], True))
        self.lose(seat, self.door)
        self.assertEqual((self.watch.lines(), seat.grace), ([], None), "the older link's end is nobody's end")
        door.lines()
        self.say("Hi")
        self.assertEqual(door.brief(), ["guest1: Hi"])

    def test_a_token_wins_over_a_name(self) -> None:
        self.lose(self.seat, self.door)
        door, _seat = self.hello(session=self.seat.token, identity="beth")
        self.assertEqual(door.lines()[0]["identity"], "adel")

    def test_a_token_nobody_knows_is_a_new_session(self) -> None:
        door, seat = self.hello(session="unknown", identity="beth")
        self.assertEqual(door.brief()[:3], ["notice session-unknown", "welcome", "=beth"])
        self.assertNotEqual(seat.token, "unknown")

    def test_a_token_whose_grace_is_over_is_a_new_session(self) -> None:
        self.lose(self.seat, self.door)
        self.clock.advance(15.1)
        self.commit()
        door, _seat = self.hello(session=self.seat.token)
        self.assertEqual(door.brief()[:3], ["notice session-unknown", "welcome", "=guest2"])

    def test_a_retry_over_the_new_connection_gets_its_ack(self) -> None:
        self.server.received(self.seat, [SayExtended("Hi", "f81d", "MainHall")])
        self.server.lost(self.seat, self.door)
        door, seat = self.hello(session=self.seat.token, history="none")
        door.lines()
        self.ask(seat, SayExtended("Hi", "f81d", "MainHall"))
        self.assertEqual(door.brief(), ["ack f81d MainHall/1"])
        self.assertEqual(self.watch.brief(), ["adel: Hi"])

    def test_a_session_whose_departure_is_under_way_comes_as_a_new_one(self) -> None:
        self.lose(self.seat, self.door)
        self.clock.advance(15.1)
        door, _ = self.hello(session=self.seat.token)
        self.assertEqual(door.brief()[:2], ["notice session-unknown", "welcome"])
        self.assertFalse(door.closed)


class RestartTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.base, self.base_seat = self.come()
        self.door, self.seat = self.hello(identity="adel")
        self.ask(self.seat, CreateRoom("jokes"), SayExtended("Hi", "f81d"))

    def restart(self, *, snapshot: bool) -> None:
        if snapshot:
            self.log.snapshot()
            state, runs = self.log.snapshots[-1][0], []
        else:
            state, runs = None, self.log.runs
        log = MemoryLog(state, runs)
        log.numbering.index, log.numbering.positions = self.log.numbering.index, self.log.numbering.positions
        log.archives = self.log.archives
        self.log = log
        self.start()

    def check_return(self) -> None:
        door, seat = self.hello(session=self.seat.token, resume={"MainHall": 1})
        self.assertEqual(door.brief(), ["welcome", "in MainHall : adel", "adel: Hi"])
        self.assertEqual(self.hall.contents("jokes").owner, "adel")
        self.assertIsNone(seat.grace)

    def check_restart(self, *, snapshot: bool) -> None:
        self.restart(snapshot=snapshot)
        self.assertEqual(self.hall.contents("MainHall").identities, ["guest1", "adel"])
        self.commit()
        self.assertEqual(self.hall.contents("MainHall").identities, ["adel"])
        self.check_return()

    def test_base_clients_are_gone_and_extended_ones_expected(self) -> None:
        self.check_restart(snapshot=False)

    def test_the_same_from_a_snapshot(self) -> None:
        self.check_restart(snapshot=True)

    def test_who_does_not_come_back_was_lost_by_the_server(self) -> None:
        self.restart(snapshot=False)
        self.commit()
        self.clock.advance(15.1)
        self.commit()
        self.assertEqual((self.server.seats, self.hall.members), ({}, {}))
        self.assertEqual(self.hall.contents("jokes").owner, "adel", "the room waits for its owner")
        _, seat = self.hello(identity="adel")
        self.ask(seat, Delete("jokes"))
        self.assertNotIn("jokes", self.hall.rooms)

    def test_who_came_back_and_leaves_leaves(self) -> None:
        self.restart(snapshot=False)
        door, seat = self.hello(session=self.seat.token)
        self.lose(seat, door)
        self.clock.advance(15.1)
        self.commit()
        self.assertNotIn("jokes", self.hall.rooms)

    def test_a_fresh_node_writes_nothing(self) -> None:
        self.log = MemoryLog()
        self.start()
        self.assertEqual(self.log.submitted, [])

    def test_a_node_under_another_name_expects_its_clients_too(self) -> None:
        self.settings = replace(self.settings, name="renamed")
        self.restart(snapshot=False)
        self.commit()
        self.assertEqual(self.hall.contents("MainHall").identities, ["adel"])
        self.clock.advance(15.1)
        self.commit()
        self.assertEqual((self.server.seats, self.hall.members), ({}, {}))

    def test_what_the_log_says_while_it_is_opened_is_not_heard(self) -> None:
        class Early(MemoryLog):
            def open(self, replayed: Any) -> None:
                replayed.changed()
                super().open(replayed)

        self.log = Early(None, self.log.runs)
        self.log.redundancy = "alone"
        self.start()
        acts = [decode_act(entry.head) for entry in self.log.submitted]
        self.assertEqual(acts, [Adopt("primary"), Adopt("primary", 1)])

    def test_ids_of_two_starts_differ(self) -> None:
        before = {id for run in self.log.runs for id in run.ids}
        self.restart(snapshot=True)
        self.come()
        self.assertFalse(before & {id for run in self.log.runs for id in run.ids})

    def test_a_session_of_another_node_is_taken_over(self) -> None:
        """Its entry came by the log, not by a link of this node."""
        self.restart(snapshot=False)
        self.commit()
        del self.server.seats[self.seat.session.key]
        self.check_return()
        self.assertEqual(list(self.server.seats), [self.seat.session.key])

    def test_what_other_nodes_clients_do_is_heard_here(self) -> None:
        watch, _ = self.come()
        watch.lines()
        for act in (Enter("z.1", "other", "zoe"), Depart("z.1", "other")):
            (run,) = self.log.numbering.seal([Entry(ACT, "", "z.1", NOW, encode_act(act))])
            run.entries = []
            self.log.sealed.append([run])
            self.log.commit()
        self.assertEqual(watch.brief(), ["zoe >MainHall", "zoe MainHall>"])


class ImpatienceTests(ChatTestCase):
    """A link that has too many requests under way is read on when enough of them are answered."""

    def test_when_half_of_them_are_committed(self) -> None:
        door, seat = self.come()
        self.server.received(seat, [Say(str(number)) for number in range(12)])
        self.log.seal()
        self.server.impatient(seat)
        self.log.commit()
        self.assertEqual(door.released, 1)
        self.ask(seat, Say("more"))
        self.assertEqual(door.released, 1, "once is enough")

    def test_not_before(self) -> None:
        door, seat = self.come()
        for number in range(12):
            self.server.received(seat, [Say(str(number))])
            self.log.seal()
        self.server.impatient(seat)
        for committed in range(1, 12):
            self.log.commit()
            self.assertEqual(door.released, int(12 - committed <= 5), committed)

    def test_when_they_are_all_repetitions(self) -> None:
        door, seat = self.hello(identity="adel")
        requests = [SayExtended("Hi", f"id{number}") for number in range(12)]
        self.ask(seat, *requests)
        self.server.received(seat, requests)
        self.server.impatient(seat)
        self.assertEqual(seat.session.in_flight, 12)
        while self.log.readings:
            self.log.answer()
        self.assertEqual((seat.session.in_flight, door.released), (0, 1))

    def test_when_they_are_all_pages(self) -> None:
        door, seat = self.hello(identity="adel")
        self.server.received(seat, [HistoryAsked("MainHall", 1) for _ in range(12)])
        self.server.impatient(seat)
        while self.log.readings:
            self.log.answer()
        self.assertEqual((seat.session.in_flight, door.released), (0, 1))

    def test_not_when_the_link_is_lost(self) -> None:
        door, seat = self.hello(identity="adel")
        self.server.received(seat, [SayExtended("Hi")])
        self.server.impatient(seat)
        self.lose(seat, door)
        self.assertEqual(door.released, 0)
        door, seat = self.hello(session=seat.token)
        self.ask(seat, SayExtended("Ho"))
        self.assertEqual(door.released, 0, "the new link was never held")

    def test_not_when_the_session_is_over(self) -> None:
        door, seat = self.come()
        self.server.received(seat, [Quit()])
        self.log.seal()
        self.server.impatient(seat)
        self.log.commit()
        self.assertEqual((door.released, self.server._impatient), (0, {}))

    def test_a_late_hello_begins_anew(self) -> None:
        door, base = self.come()
        self.server.received(base, [Say("Hi")])
        self.server.impatient(base)
        self.hello(door=door, current=base)
        self.commit()
        self.assertEqual(door.released, 1)
        self.assertEqual(self.server._impatient, {})


class RetentionTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.door, self.seat = self.hello(identity="adel")
        self.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        for room in ("MainHall", "jokes"):
            self.ask(self.seat, *(SayExtended(str(number), None, room) for number in range(1, 11)))
        self.door.lines()

    def test_forgetting_is_agreed_on_then_a_snapshot_makes_it_so(self) -> None:
        self.server.forget({"MainHall": 4})
        self.assertEqual(self.hall.rooms["MainHall"].first, 1)
        self.log.commit()
        self.assertEqual((self.hall.rooms["MainHall"].first, self.log.snapshots), (4, []))
        self.clock.turn()
        self.assertEqual([first for _, first in self.log.snapshots], [{"MainHall": 4}])
        self.assertEqual(self.door.lines(), [])

    def test_many_rooms_are_forgotten_with_one_snapshot(self) -> None:
        self.server.forget({"MainHall": 4, "jokes": 11})
        self.commit()
        self.assertEqual([first for _, first in self.log.snapshots], [{"MainHall": 4, "jokes": 11}])

    def test_the_next_forgetting_has_its_own_snapshot(self) -> None:
        for first in (4, 5):
            self.server.forget({"MainHall": first})
            self.commit()
        self.assertEqual([first for _, first in self.log.snapshots], [{"MainHall": 4}, {"MainHall": 5}])

    def test_what_changes_nothing_is_not_asked_for(self) -> None:
        self.server.forget({"MainHall": 1, "jokes": 12, "gone": 5})
        self.assertEqual(self.log.submitted, [])

    def test_what_was_dropped_is_a_gap_for_whoever_asks_for_it(self) -> None:
        self.server.forget({"MainHall": 4})
        self.commit()
        self.log.purge("MainHall", 4)
        door, _ = self.hello(identity="beth", resume={"MainHall": 1})
        self.assertEqual(door.brief()[5:], ["gap MainHall/1-3 retention", *(f"adel: {n}" for n in range(4, 11))])
        door, _ = self.hello(identity="cleo")
        self.assertEqual(door.brief()[5:], [f"adel: {n}" for n in range(4, 11)])

    def test_a_deleted_room_of_the_same_name_is_another_gap(self) -> None:
        self.ask(self.seat, Delete("jokes"), CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.log.purge("jokes", 11)
        self.ask(self.seat, *(SayExtended(str(number), None, "jokes") for number in range(11, 16)))
        self.server.forget({"jokes": 14})
        self.commit()
        self.log.purge("jokes", 14)
        door, _ = self.hello(identity="beth", resume={"jokes": 3})
        self.assertEqual(
            door.brief()[-4:], ["gap jokes/3-10 deleted", "gap jokes/11-13 retention", "adel: 14", "adel: 15"]
        )
        door, _ = self.hello(identity="cleo", resume={"jokes": 12})
        self.assertEqual(door.brief()[-3:], ["gap jokes/12-13 retention", "adel: 14", "adel: 15"])


class RoomsTests(ChatTestCase):
    def test_a_member_hears_its_rooms_and_no_others(self) -> None:
        first, first_seat = self.hello(identity="adel")
        second, second_seat = self.hello(identity="beth")
        self.ask(first_seat, CreateRoom("jokes"), JoinExtended("jokes"))
        second.lines()
        self.ask(first_seat, SayExtended("a joke"))
        self.assertEqual(second.lines(), [])
        self.ask(second_seat, JoinExtended("jokes", stay=True), Leave("MainHall"))
        self.assertEqual(second.brief(), ["beth >jokes", "adel: a joke", "beth MainHall>"])
        first.lines()
        self.ask(first_seat, JoinExtended("MainHall"), SayExtended("Anybody?"))
        self.assertEqual(second.brief(), ["adel jokes>MainHall"])
        self.assertEqual(
            first.brief(), ["adel jokes>MainHall", "list MainHall:1 jokes:1", "in MainHall : adel", "adel: Anybody?"]
        )

    def test_a_deleted_room_moves_its_members(self) -> None:
        owner, owner_seat = self.come()
        self.ask(owner_seat, CreateRoom("jokes"))
        member, member_seat = self.come()
        self.ask(member_seat, Join("jokes"))
        member.lines()
        owner.lines()
        self.ask(owner_seat, Delete("jokes"))
        self.assertEqual(member.brief(), ["guest2 jokes>MainHall", "list MainHall:2", "in MainHall : guest1 guest2"])
        self.assertEqual(owner.brief(), ["guest2 jokes>MainHall", "list MainHall:2"])
        self.ask(owner_seat, Say("Hi"))
        self.assertEqual(member.brief(), ["guest1: Hi"])


class StateTests(ChatTestCase):
    def test_a_departure_of_a_session_without_a_seat_is_told(self) -> None:
        watch, _ = self.come()
        _door, seat = self.hello(identity="adel")
        watch.lines()
        del self.server.seats[seat.session.key]
        self.server._submit(Depart(seat.session.key, "primary"))
        self.commit()
        self.assertEqual(watch.brief(), ["adel MainHall>"])
