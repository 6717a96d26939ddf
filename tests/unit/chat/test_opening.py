"""Messages wait until enough clients are there, and everybody is told how many are missing."""

from dataclasses import replace
from typing import Any, ClassVar

from chatproto.chat.acts import Enter
from chatproto.chat.hall import Hall
from chatproto.chat.messages import (
    HistoryAsked,
    IdentityChange,
    List,
    PrivateAsked,
    Quit,
    Say,
    SayExtended,
    Who,
)
from tests.unit.chat.fakes import ChatTestCase
from tests.unit.chat.pair import PairTestCase

WAITING = "server: waiting for {} more: what is said is held until 3 are there"
BEGUN = "server: enough are there: the chat has begun"


class OpeningTests(ChatTestCase):
    settings = replace(ChatTestCase.settings, clients_min=3, held_max=3)

    def setUp(self) -> None:
        super().setUp()
        self.base, self.base_seat = self.come()
        self.ext, self.ext_seat = self.hello(identity="adel")

    def forget_lines(self) -> None:
        self.base.lines()
        self.ext.lines()

    def test_everybody_is_told_how_many_are_missing(self) -> None:
        self.assertEqual(
            [line for line in self.base.brief() if line.startswith("server")], [WAITING.format(2), WAITING.format(1)]
        )
        (notice,) = [line for line in self.ext.lines() if line["type"] == "notice"]
        text = "1: waiting for 1 more: what is said is held until 3 are there"
        self.assertEqual((notice["code"], notice["content"]), ("waiting", text))

    def test_who_leaves_is_missed(self) -> None:
        self.forget_lines()
        self.lose(self.base_seat, self.base)
        self.assertEqual(self.ext.brief(), ["guest1 MainHall>", "notice waiting"])

    def test_one_that_comes_as_another_leaves_is_told_too(self) -> None:
        self.server.lost(self.base_seat, self.base)
        door, _ = self.come()
        self.assertEqual(door.brief()[-1], WAITING.format(1))

    def test_messages_are_held_until_enough_are_there(self) -> None:
        self.forget_lines()
        self.ask(self.base_seat, Say("one"))
        self.ask(self.ext_seat, SayExtended("two", "t2"))
        self.ask(self.base_seat, Say("three"))
        self.assertEqual((self.base.brief(), self.ext.brief()), ([], []))
        door, _ = self.come()
        said = ["guest1: one", "adel: two", "guest1: three"]
        self.assertEqual(self.base.brief(), ["guest2 >MainHall", BEGUN, *said])
        self.assertEqual(door.brief()[4:], [BEGUN, *said])
        self.assertCountEqual(
            self.ext.brief(), ["guest2 >MainHall", "notice begun", *said, "ack t2 MainHall/2"], "and acknowledged"
        )

    def test_nothing_is_told_or_held_any_more_once_it_has_begun(self) -> None:
        door, seat = self.come()
        self.forget_lines()
        self.ask(seat, Say("one"))
        self.lose(seat, door)
        self.lose(self.base_seat, self.base)
        self.ask(self.ext_seat, SayExtended("two", "t2"))
        self.assertCountEqual(
            self.ext.brief(), ["guest2: one", "guest2 MainHall>", "guest1 MainHall>", "adel: two", "ack t2 MainHall/2"]
        )

    def test_all_but_messages_goes_on_meanwhile(self) -> None:
        self.forget_lines()
        self.ask(self.ext_seat, SayExtended("one", "o1"), Who("MainHall"), IdentityChange("beth"), List())
        self.ask(self.ext_seat, PrivateAsked("beth", "psst", "p1"), HistoryAsked("MainHall", before=9))
        self.assertEqual(
            self.ext.brief(),
            ["in MainHall : guest1 adel", "adel=beth", "list MainHall:2", "private", "ack p1 private",
             "history MainHall [] False"],
        )  # fmt: skip
        self.assertEqual(self.ext_seat.session.in_flight, 0)

    def test_what_is_asked_in_one_go_with_messages_is_answered(self) -> None:
        self.forget_lines()
        self.ask(self.base_seat, Say("one"), List(), Say("two"), Who("MainHall"), Quit())
        self.assertEqual(self.base.brief(), ["list MainHall:2", "in MainHall : guest1 adel", "guest1 MainHall>"])

    def test_a_message_stays_when_its_sender_leaves_or_takes_another_name(self) -> None:
        self.ask(self.base_seat, Say("one"), IdentityChange("cleo"), Say("two"), Quit())
        self.forget_lines()
        self.come()
        self.assertEqual(self.ext.brief()[-1], "notice waiting")
        self.come()
        self.assertEqual(self.ext.brief()[-3:], ["notice begun", "guest1: one", "cleo: two"])

    def test_a_retry_of_what_is_held_is_held_once_and_acknowledged_once_committed(self) -> None:
        self.ask(self.ext_seat, SayExtended("Hi", "f81d"), SayExtended("Hi", "f81d"))
        self.lose(self.ext_seat, self.ext)
        door, seat = self.hello(session=self.ext_seat.token)
        self.ask(seat, SayExtended("Hi", "f81d"), SayExtended("Ho", "f81d"))
        told = [line for line in door.brief() if line.startswith(("error", "notice"))]
        self.assertEqual(told, ["notice waiting", "error id-reused"])
        self.come()
        self.assertCountEqual(door.brief()[-2:], ["adel: Hi", "ack f81d MainHall/1"])
        self.assertEqual(seat.session.in_flight, 0)

    def test_more_than_the_ceiling_is_refused(self) -> None:
        self.ask(self.base_seat, Say("one"), Say("two"), Say("three"))
        self.forget_lines()
        self.ask(self.base_seat, Say("four"))
        self.ask(self.ext_seat, SayExtended("five", "f5"))
        self.assertEqual(self.base.brief(), ["server: your message was not kept: 3 are held already"])
        self.assertEqual(self.ext.brief(), ["error too-many-held"])
        self.come()
        self.assertEqual(self.base.brief()[-3:], ["guest1: one", "guest1: two", "guest1: three"])

    def test_what_was_said_after_it_has_begun_comes_after_what_was_held(self) -> None:
        self.ask(self.base_seat, Say("one"))
        self.forget_lines()
        self.server.greet(self.base)  # Anybody.
        self.server.received(self.base_seat, [Say("two")])
        self.commit()
        self.ask(self.base_seat, Say("three"))
        self.assertEqual(
            [line for line in self.ext.brief() if "guest1: " in line], ["guest1: one", "guest1: two", "guest1: three"]
        )

    def test_it_has_begun_for_good_also_after_a_restart(self) -> None:
        self.come()
        self.lose(self.base_seat, self.base)
        self.log.snapshot()
        ((state, _),) = self.log.snapshots
        for log in (type(self.log)(state), type(self.log)(None, self.log.runs)):
            self.log = log
            self.start()
            door, seat = self.come()
            self.ask(seat, Say("one"))
            brief = door.brief()
            self.assertEqual(brief[-1], f"{seat.session.member.identity}: one")  # type: ignore[union-attr]
            self.assertNotIn("server", "".join(brief))

    def test_it_has_not_begun_after_a_restart_where_it_had_not_before(self) -> None:
        self.ask(self.base_seat, Say("one"))
        self.log = type(self.log)(None, self.log.runs)
        self.start()
        self.commit()
        door, seat = self.come()
        self.ask(seat, Say("two"))
        self.assertEqual(door.brief()[-1], WAITING.format(1), "adel is expected back")
        self.come()
        self.assertEqual(door.brief()[-1], "guest1: two")

    def test_what_is_held_is_said_where_another_log_says_that_it_has_begun(self) -> None:
        self.ask(self.base_seat, Say("one"))
        elsewhere = Hall.restored(self.server.capture()[0])
        elsewhere.apply(Enter("elsewhere", "primary"), 1)
        self.server.restore(elsewhere.snapshot())
        self.assertEqual(self.log.submitted, [])
        self.server.changed()
        self.assertEqual([b"one" in entry.head for entry in self.log.submitted if entry.room], [True])


class PairOpeningTests(PairTestCase):
    options: ClassVar[dict[str, Any]] = {**PairTestCase.options, "clients_min": 3}

    def test_clients_of_both_nodes_count(self) -> None:
        east, east_seat = self.east.hello(identity="adel")
        west, west_seat = self.west.hello(identity="beth")
        self.east.ask(east_seat, SayExtended("one", "o1"))
        self.west.ask(west_seat, SayExtended("two", "t2"))
        self.assertEqual([east.brief()[-1], west.brief()[-1]], ["notice waiting"] * 2)
        self.west.come()
        for door, ack in ((east, "ack o1 MainHall/"), (west, "ack t2 MainHall/")):
            brief = door.brief()
            self.assertIn("notice begun", brief)
            self.assertTrue({"adel: one", "beth: two"} <= set(brief), brief)
            self.assertEqual([line[:-1] for line in brief if line.startswith("ack")], [ack])
        self.check_same()

    def test_who_goes_to_the_other_node_and_says_it_again_has_said_it_once(self) -> None:
        _, seat = self.east.hello(identity="adel")
        self.east.ask(seat, SayExtended("one", "o1"))
        door, moved = self.west.hello(session=seat.token)
        self.assertIn("notice waiting", door.brief())
        self.west.ask(moved, SayExtended("one", "o1"))
        self.west.come()
        self.east.come()
        brief = door.brief()
        self.assertEqual(brief.count("adel: one"), 1)
        self.assertEqual([line for line in brief if line.startswith("ack")], ["ack o1 MainHall/1"])
        self.check_same()
