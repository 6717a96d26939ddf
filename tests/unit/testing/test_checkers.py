"""The checkers: what is right passes, and each wrong is told."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.acts import Adopt, Create, Depart, Destroy, Enter, Forget, Move
from chatproto.chat.hall import Hall
from chatproto.chat.messages import (
    Ack,
    Error,
    Gap,
    History,
    NewIdentity,
    RoomChange,
    RoomContents,
    RoomStatus,
    SaidExtended,
    Status,
)
from chatproto.chat.people import Account, Room
from chatproto.chat.session import EntryMaker
from chatproto.log.entry import Entry, Numbering, Run
from chatproto.testing.checkers import (
    Acknowledgements,
    BaseView,
    Chronicle,
    Presence,
    Replay,
    RoomView,
    Violation,
    behind,
    check_hall,
)


class Scribe:
    """Writes a log, and has a chronicle take it."""

    def __init__(self) -> None:
        self.chronicle = Chronicle()
        self.runs: list[Run] = []
        self._numbering = Numbering(0, {}, 1)
        self._make = EntryMaker("s")

    def seal(self, *entries: Entry) -> list[Run]:
        """Number entries, and tell nobody."""
        return self._numbering.seal(list(entries))

    def write(self, *entries: Entry) -> None:
        runs = self.seal(*entries)
        self.runs += runs
        for run in runs:
            self.chronicle.add(run)

    def message(self, content: str, room: str = "MainHall", id: str | None = None, identity: str = "adel") -> Entry:
        head = b'{"type":"message","identity":"%b","content":"%b"' % (identity.encode(), content.encode())
        return self._make.message(room, head, id or content, 1000.0, None)

    def say(self, *contents: str, room: str = "MainHall") -> None:
        self.write(*[self.message(content, room) for content in contents])

    def act(self, act: Any) -> None:
        self.write(self._make.act(act, self._make.id(), 1000.0, None))

    def enter(self, key: str, identity: str | None = None) -> None:
        self.act(Enter(key, "node", identity))

    def said(self, index: int, room: str = "MainHall") -> SaidExtended:
        message = self.chronicle.message(room, index)
        assert message is not None
        return message


def changed(run: Run, **fields: Any) -> Run:
    """Return a run with some fields of other values."""
    values = {name: getattr(run, name) for name in Run.__struct_fields__}
    return Run(**{**values, **fields})


class CheckerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.scribe = Scribe()
        self.chronicle = self.scribe.chronicle


class ChronicleTests(CheckerTests):
    def test_takes_what_a_log_writes(self) -> None:
        self.scribe.enter("k")
        self.scribe.say("one", "two")
        self.scribe.write(self.scribe.message("one", "jokes", id="again"))
        self.assertEqual(self.chronicle.position, 4)
        self.assertEqual(self.scribe.said(2).content, "two")
        self.assertIsNone(self.chronicle.message("MainHall", 3))
        self.assertEqual([message.roomid for message in self.chronicle.said("one")], ["MainHall", "jokes"])
        self.assertEqual([self.chronicle.last(room) for room in ("MainHall", "jokes", "none")], [2, 1, 0])
        self.assertIn("k", self.chronicle.hall.members)

    def test_takes_the_same_again(self) -> None:
        """What another node, or a later look at the disk, has to tell may be told again."""
        self.scribe.say("one", "two")
        (run,) = self.scribe.runs
        self.chronicle.add(run)
        self.assertEqual(self.chronicle.position, 2)
        with self.assertRaisesRegex(Violation, "entry 1 was"):
            self.chronicle.add(changed(run, body=run.body.replace(b"one", b"eno")))

    def test_gap_in_the_log(self) -> None:
        self.scribe.seal(self.scribe.message("lost"))
        with self.assertRaisesRegex(Violation, "entry 1 is missing"):
            self.scribe.say("one")

    def test_gap_in_a_room(self) -> None:
        (run,) = self.scribe.seal(self.scribe.message("one"))
        with self.assertRaisesRegex(Violation, "position 1 comes next"):
            self.chronicle.add(changed(run, position=2))

    def test_id_twice(self) -> None:
        self.scribe.say("one")
        with self.assertRaisesRegex(Violation, "in the log twice"):
            self.scribe.write(self.scribe.message("other", id="one"))

    def test_line_with_other_numbers(self) -> None:
        (run,) = self.scribe.seal(self.scribe.message("one"))
        with self.assertRaisesRegex(Violation, "other numbers"):
            self.chronicle.add(changed(run, body=run.body.replace(b'"index":1', b'"index":2')))

    def test_epoch_falls(self) -> None:
        self.scribe.say("one")
        (run,) = self.scribe.seal(self.scribe.message("two"))
        with self.assertRaisesRegex(Violation, "the epoch falls"):
            self.chronicle.add(changed(run, epoch=0))

    def test_lines_and_ids_differ(self) -> None:
        (run,) = self.scribe.seal(self.scribe.message("one"))
        with self.assertRaisesRegex(Violation, "2 ids and 1 lines"):
            self.chronicle.add(changed(run, ids=["a", "b"]))

    def test_act_with_a_position(self) -> None:
        self.scribe.enter("k")
        (run,) = self.scribe.runs
        chronicle = Chronicle()
        with self.assertRaisesRegex(Violation, "an act has a position"):
            chronicle.add(changed(run, position=1))

    def test_first_kept(self) -> None:
        """Of a room, what retention left; of a room that is gone, nothing."""
        self.scribe.enter("k")
        self.scribe.say("one", "two", "three")
        self.assertEqual(self.chronicle.first("MainHall"), 1)
        self.scribe.act(Forget("MainHall", 3))
        self.assertEqual(self.chronicle.first("MainHall"), 3)
        self.scribe.act(Create("k", "jokes"))
        self.scribe.say("four", room="jokes")
        self.scribe.act(Destroy("k", "jokes"))
        self.assertEqual(self.chronicle.first("jokes"), 2)


class AcknowledgementTests(CheckerTests):
    def setUp(self) -> None:
        super().setUp()
        self.acknowledgements = Acknowledgements(self.chronicle)
        self.scribe.say("one", "two")
        self.scribe.enter("k")

    def test_right(self) -> None:
        for _ in range(2):
            self.acknowledgements.heard(Ack("two", "MainHall", 2, 1, 1), "two")
        self.assertEqual(len(self.acknowledgements), 1)
        self.acknowledgements.check_archive(self.scribe.runs, {})

    def test_not_committed(self) -> None:
        with self.assertRaisesRegex(Violation, "not committed"):
            self.acknowledgements.heard(Ack("three", "MainHall", 3, 1, 1), "three")

    def test_elsewhere_or_otherwise(self) -> None:
        for ack, content in (
            (Ack("two", "MainHall", 1, 1, 1), "two"),
            (Ack("two", "MainHall", 2, 1, 1), "other"),
            (Ack("two", "MainHall", 2, 2, 1), "two"),
        ):
            with self.assertRaisesRegex(Violation, "kept is"):
                self.acknowledgements.heard(ack, content)

    def test_durable_nowhere(self) -> None:
        with self.assertRaisesRegex(Violation, "durable nowhere"):
            self.acknowledgements.heard(Ack("two", "MainHall", 2, 1, 0), "two")

    def test_archive_without_it(self) -> None:
        """Lost is what is gone and should be kept; not what retention dropped."""
        self.acknowledgements.heard(Ack("two", "MainHall", 2, 1, 1), "two")
        self.acknowledgements.check_archive([], {"MainHall": 3})
        with self.assertRaisesRegex(Violation, "acknowledged and lost"):
            self.acknowledgements.check_archive([], {"MainHall": 2})

    def test_archive_with_it_twice(self) -> None:
        with self.assertRaisesRegex(Violation, "twice"):
            self.acknowledgements.check_archive(self.scribe.runs * 2, {})

    def test_archive_with_something_else(self) -> None:
        run, _ = self.scribe.runs
        with self.assertRaisesRegex(Violation, "was committed"):
            self.acknowledgements.check_archive([changed(run, body=run.body.replace(b"two", b"owt"))], {})


class RoomViewTests(CheckerTests):
    def setUp(self) -> None:
        super().setUp()
        self.scribe.say("one", "two", "three", "four")

    def view(self, history: Any = "all", wanted: int | None = None) -> RoomView:
        return RoomView(self.chronicle, "MainHall", "somebody", history, wanted)

    def hear(self, view: RoomView, *indexes: int) -> None:
        for index in indexes:
            view.said(self.scribe.said(index))

    def test_all(self) -> None:
        view = self.view()
        self.hear(view, 1, 2, 3, 4)
        self.assertEqual(view.next, 5)

    def test_hole_and_repeat(self) -> None:
        for index, complaint in ((4, "a hole"), (2, "a repeat"), (1, "a repeat")):
            view = self.view()
            self.hear(view, 1, 2)
            with self.assertRaisesRegex(Violation, complaint):
                self.hear(view, index)

    def test_start(self) -> None:
        """More of an archive than was asked for may come, less may not."""
        for history, latest in (("all", 1), (2, 3), (9, 1), ("none", 5), (None, 5)):
            for index in range(1, 5):
                view = self.view(history)
                if index <= latest:
                    self.hear(view, index)
                else:
                    self.assertRaises(Violation, self.hear, view, index)

    def test_start_where_it_may_have_been_asked_for(self) -> None:
        self.hear(self.view(wanted=3), 3)
        self.assertRaises(Violation, self.hear, self.view(wanted=3), 4)

    def test_resumed(self) -> None:
        view = self.view()
        view.next = 3
        self.assertRaises(Violation, self.hear, view, 1)
        self.hear(view, 3, 4)

    def test_other_than_committed(self) -> None:
        right = self.scribe.said(1)
        for wrong in (
            SaidExtended("eve", right.content, right.roomid, 1, 1, right.id, right.time),
            SaidExtended(right.identity, "other", right.roomid, 1, 1, right.id, right.time),
            SaidExtended(right.identity, right.content, right.roomid, 1, 1, "other", right.time),
        ):
            with self.assertRaisesRegex(Violation, "committed is"):
                self.view().said(wrong)

    def test_not_committed(self) -> None:
        with self.assertRaisesRegex(Violation, "not committed"):
            self.view().said(SaidExtended("adel", "five", "MainHall", 5, 1, "five", 1000.0))

    def test_gap(self) -> None:
        """What is told to be missing need not come; only what was dropped may be told so."""
        view = self.view()
        self.hear(view, 1)
        gap = Gap("MainHall", 2, 3, "retention")
        self.assertRaises(Violation, view.gap, gap)
        self.scribe.act(Forget("MainHall", 4))
        view.gap(gap)
        self.hear(view, 4)

    def test_gap_before_anything_came(self) -> None:
        view = self.view()
        self.scribe.act(Forget("MainHall", 3))
        view.gap(Gap("MainHall", 1, 2, "retention"))
        self.hear(view, 3)

    def test_gap_of_a_page(self) -> None:
        """A gap that begins elsewhere answers another question."""
        self.scribe.act(Forget("MainHall", 3))
        view = self.view()
        self.hear(view, 3, 4)
        view.gap(Gap("MainHall", 1, 2, "retention"))
        self.assertEqual(view.next, 5)

    def test_page(self) -> None:
        view = self.view()
        view.page(History("MainHall", [self.scribe.said(2), self.scribe.said(3)], True))
        with self.assertRaisesRegex(Violation, "a hole"):
            view.page(History("MainHall", [self.scribe.said(1), self.scribe.said(3)], True))
        self.assertIsNone(view.next)

    def test_transferred(self) -> None:
        view = self.view()
        self.hear(view, 1, 2)
        view.transferred(2)
        self.assertRaises(Violation, view.transferred, 3)
        self.assertRaises(Violation, view.transferred, 1)

    def test_transferred_without_a_message(self) -> None:
        """The first message then is the one after that."""
        view = self.view("none")
        view.transferred(4)
        self.assertEqual(view.next, 5)


class BaseViewTests(CheckerTests):
    def setUp(self) -> None:
        super().setUp()
        self.scribe.say("one", "two", "three")

    def view(self, history: Any = "all") -> BaseView:
        return BaseView(self.chronicle, "MainHall", "somebody", history)

    def hear(self, view: BaseView, *contents: str) -> None:
        for content in contents:
            view.said("adel", content)

    def test_all(self) -> None:
        view = self.view()
        self.assertIsNone(view.position)
        self.hear(view, "one", "two", "three")
        self.assertEqual(view.position, 3)

    def test_hole_and_repeat(self) -> None:
        for content in ("three", "one"):
            view = self.view()
            self.hear(view, "one")
            self.assertRaises(Violation, self.hear, view, content)

    def test_start(self) -> None:
        self.assertRaises(Violation, self.hear, self.view(), "two")
        self.hear(self.view(2), "two")
        self.hear(self.view("none"), "three")

    def test_elsewhere(self) -> None:
        """What was said in another room, by another, or never."""
        self.scribe.say("four", room="jokes")
        self.assertRaises(Violation, self.hear, self.view(), "four")
        self.assertRaises(Violation, self.view().said, "eve", "one")
        self.assertRaises(Violation, self.hear, self.view(), "five")

    def test_same_content(self) -> None:
        """Of several places that fit, those are kept that fit what follows."""
        self.scribe.write(
            *[self.scribe.message(content, id=f"again {at}") for at, content in enumerate(["two", "one"])]
        )
        view = self.view("none")
        self.hear(view, "two", "one")
        self.assertEqual(view.position, 5)
        self.assertRaises(Violation, self.hear, view, "two")

    def test_dropped_meanwhile(self) -> None:
        """Nobody tells a base client what retention has dropped; it goes on with the first kept, at the latest."""
        self.scribe.say("four")
        view = self.view()
        self.hear(view, "one")
        self.scribe.act(Forget("MainHall", 3))
        self.assertRaises(Violation, self.hear, view, "four")
        self.hear(view, "three", "four")


class PresenceTests(CheckerTests):
    def setUp(self) -> None:
        super().setUp()
        self.presence = Presence("somebody")
        self.presence.begin()

    def greet(self, *others: str) -> None:
        self.presence.hear(NewIdentity("", "adel"))
        self.presence.hear(RoomChange("adel", "", "MainHall"))
        self.presence.hear(RoomContents("MainHall", [*others, "adel"], ""))

    def refuse(self, line: Any) -> None:
        self.assertRaises(Violation, self.presence.hear, line)

    def test_follows(self) -> None:
        self.greet("bram")
        for line in (
            RoomChange("chen", "", "MainHall"),
            NewIdentity("bram", "bert"),
            NewIdentity("adel", "adelheid"),
            RoomChange("bert", "MainHall", "jokes"),
            Error("banned", "no"),
        ):
            self.presence.hear(line)
        self.assertEqual(self.presence.identity, "adelheid")
        self.assertEqual(self.presence.rooms, {"MainHall": {"adelheid", "chen"}})
        self.presence.hear(RoomContents("MainHall", ["chen", "adelheid"], ""))

    def test_moves(self) -> None:
        """Who is in a room that one comes into is not known before it is told."""
        self.greet()
        self.presence.hear(RoomChange("adel", "MainHall", "jokes"))
        self.assertEqual(self.presence.rooms, {"jokes": None})
        self.presence.hear(RoomChange("bram", "jokes", ""))
        self.presence.hear(NewIdentity("chen", "cleo"))
        self.presence.hear(RoomContents("jokes", ["adel", "cleo"], ""))
        self.assertEqual(self.presence.rooms, {"jokes": {"adel", "cleo"}})
        self.presence.hear(RoomChange("adel", "jokes", ""))
        self.assertEqual(self.presence.rooms, {})

    def test_several_rooms(self) -> None:
        self.greet()
        self.presence.hear(RoomChange("adel", "", "jokes"))
        self.presence.hear(RoomContents("jokes", ["adel", "bram"], ""))
        self.presence.hear(RoomChange("bram", "jokes", "MainHall"))
        self.assertEqual(self.presence.rooms, {"MainHall": {"adel", "bram"}, "jokes": {"adel"}})
        self.presence.hear(NewIdentity("bram", "bert"))
        self.assertIn("bert", self.presence.rooms["MainHall"] or ())

    def test_refusals(self) -> None:
        self.greet("bram")
        self.presence.hear(RoomChange("adel", "MainHall", "MainHall"))
        self.presence.hear(NewIdentity("adel", "adel"))
        self.refuse(RoomChange("bram", "MainHall", "MainHall"))
        self.refuse(NewIdentity("bram", "bram"))

    def test_contradictions(self) -> None:
        for line in (
            NewIdentity("", "again"),
            NewIdentity("nobody", "somebody"),
            NewIdentity("bram", "adel"),
            RoomChange("nobody", "MainHall", "jokes"),
            RoomChange("bram", "", "MainHall"),
            RoomChange("bram", "jokes", "tales"),
            RoomChange("adel", "jokes", "tales"),
            RoomChange("adel", "", "MainHall"),
            RoomContents("MainHall", ["adel"], ""),
            RoomContents("MainHall", ["adel", "bram", "bram"], ""),
            RoomContents("jokes", ["adel"], ""),
        ):
            self.setUp()
            self.greet("bram")
            self.refuse(line)

    def test_contents_of_other_rooms(self) -> None:
        self.greet()
        self.presence.hear(RoomContents("jokes", ["bram"], "bram"))
        self.assertEqual(list(self.presence.rooms), ["MainHall"])

    def test_resumed(self) -> None:
        """A session that goes on is told where it is by nothing but the contents of its rooms, all of them at once."""
        self.presence.begin("adel")
        self.presence.hear(RoomContents("jokes", ["adel"], ""))
        self.presence.hear(RoomContents("MainHall", ["adel", "bram"], ""))
        self.assertEqual(list(self.presence.rooms), ["jokes", "MainHall"])
        self.presence.hear(RoomChange("chen", "", "MainHall"))
        self.refuse(RoomContents("tales", ["adel"], ""))

    def test_differences(self) -> None:
        self.greet("bram")
        hall = self.chronicle.hall
        self.assertEqual(self.presence.differences(hall), ["somebody is not present as adel"])
        self.scribe.enter("k", "adel")
        (difference,) = self.presence.differences(hall)
        self.assertIn("there are ['adel']", difference)
        self.scribe.enter("l", "bram")
        self.assertEqual(self.presence.differences(hall), [])
        self.scribe.act(Create("k", "jokes"))
        self.scribe.act(Move("k", "jokes", 0.0))
        (difference,) = self.presence.differences(hall)
        self.assertIn("is in ('jokes',)", difference)


class HallTests(CheckerTests):
    def setUp(self) -> None:
        super().setUp()
        self.scribe.enter("k", "adel")
        self.scribe.act(Enter("l", "node", "bram", token="t"))
        self.scribe.act(Create("k", "jokes"))
        self.hall = self.chronicle.hall

    def refuse(self, complaint: str) -> None:
        with self.assertRaisesRegex(Violation, complaint):
            check_hall(self.hall)

    def test_right(self) -> None:
        check_hall(Hall())
        check_hall(self.hall)

    def test_no_main_hall(self) -> None:
        del self.hall.rooms["MainHall"]
        self.refuse("no MainHall")

    def test_names(self) -> None:
        self.hall.members["l"].person.identity = "adel"
        self.refuse("names are not unique")

    def test_name_that_is_none(self) -> None:
        person = self.hall.identities.pop("bram")
        person.identity = "x"
        self.hall.identities["x"] = person
        self.refuse("is no name")

    def test_person_with_the_devices_of_another(self) -> None:
        self.hall.identities["bram"].devices = {}
        self.refuse("has no account, but 0 devices")

    def test_person_with_an_account_that_nobody_knows(self) -> None:
        self.hall.identities["bram"].account = Account()
        self.refuse("an account that is another's")

    def test_devices_that_are_gone(self) -> None:
        self.hall.identities["bram"].devices["m"] = self.hall.members["l"]
        self.refuse("devices that are not present")

    def test_device_that_its_person_does_not_know(self) -> None:
        self.hall.members["l"].person = self.hall.members["k"].person
        self.refuse("names are not unique")

    def test_people_in_a_room_are_counted(self) -> None:
        self.hall.rooms["jokes"].count += 1
        self.refuse("jokes counts")

    def test_tokens(self) -> None:
        self.hall.tokens.clear()
        self.refuse("tokens")

    def test_member_nowhere(self) -> None:
        self.hall.members["l"].rooms = ()
        self.refuse("is in \\(\\)")

    def test_member_of_a_room_that_does_not_know(self) -> None:
        self.hall.members["l"].rooms = ("MainHall", "jokes")
        self.refuse("not among the members")

    def test_room_with_a_member_that_does_not_know(self) -> None:
        self.hall.rooms["jokes"].members["l"] = self.hall.members["l"]
        self.refuse("but not in it")

    def test_owner(self) -> None:
        self.hall.members["l"].person.owned = frozenset({"jokes"})
        self.refuse("is not its owner")

    def test_owner_that_does_not_know(self) -> None:
        self.hall.members["k"].person.owned = frozenset()
        self.refuse("does not own it")

    def test_owner_of_main_hall(self) -> None:
        self.hall.rooms["MainHall"].owner = "adel"
        self.refuse("MainHall belongs to adel")

    def test_room_without_owner_and_members(self) -> None:
        self.hall.members["k"].person.owned = frozenset()
        self.hall.rooms["jokes"].owner = ""
        self.refuse("neither owner nor members")
        check_hall(self.hall, {"jokes"})

    def test_numbers(self) -> None:
        self.hall.rooms["jokes"].first = 5
        self.refuse("is kept from 5")

    def test_room_that_is_none(self) -> None:
        self.hall.rooms["x"] = Room("x", "zoe")
        self.refuse("is no room")


class ReplayTests(CheckerTests):
    def live(self) -> Hall:
        return Hall.restored(self.chronicle.hall.snapshot())

    def test_follows(self) -> None:
        replay = Replay(self.chronicle)
        replay.check(Hall(), 0)
        self.scribe.enter("k", "adel")
        self.scribe.say("one")
        replay.check(self.live(), 2)
        replay.check(self.live(), 2)

    def test_behind_and_ahead(self) -> None:
        replay = Replay(self.chronicle)
        self.scribe.enter("k", "adel")
        self.scribe.enter("l", "bram")
        replay.check(self.live(), 2)
        for position in (1, 3):
            with self.assertRaisesRegex(Violation, "committed are 2"):
                replay.check(self.live(), position)

    def test_another_hall(self) -> None:
        self.scribe.enter("k", "adel")
        live = self.live()
        live.rooms["MainHall"].last = 7
        with self.assertRaisesRegex(Violation, "replaying gives"):
            Replay(self.chronicle).check(live, 1)

    def test_hall_that_is_not_sound(self) -> None:
        self.scribe.enter("k", "adel")
        live = self.live()
        live.members["k"].rooms = ()
        with self.assertRaisesRegex(Violation, "adel is in"):
            Replay(self.chronicle).check(live, 1)

    def test_hall_that_restores_to_another(self) -> None:
        self.patch(Hall, "restore", lambda hall, data: None)
        self.scribe.enter("k", "adel")
        with self.assertRaisesRegex(Violation, "when restored"):
            Replay(self.chronicle).check(self.chronicle.hall, 1)

    def test_forsaken_rooms(self) -> None:
        """A room without an owner whose last member was lost waits, until somebody has come and gone."""
        replay = Replay(self.chronicle)

        def forsaken() -> set[str]:
            replay.check(self.live(), self.chronicle.position)
            return replay.forsaken

        self.scribe.enter("k", "adel")
        self.scribe.enter("l", "bram")
        self.scribe.act(Create("k", "jokes"))
        self.scribe.act(Create("l", "tales"))
        self.scribe.act(Move("l", "jokes", 0.0))
        self.scribe.act(Depart("k", "node"))
        self.assertEqual(forsaken(), set())
        self.scribe.act(Depart("l", "node", lost=True))
        self.assertEqual(forsaken(), {"jokes"})
        self.assertEqual(list(self.chronicle.hall.rooms), ["MainHall", "jokes", "tales"])
        self.scribe.enter("m", "chen")
        self.scribe.act(Move("m", "jokes", 0.0))
        self.assertEqual(forsaken(), set())
        self.scribe.act(Move("m", "MainHall", 0.0))
        self.assertNotIn("jokes", self.chronicle.hall.rooms)
        self.assertEqual(forsaken(), set())

    def test_rooms_of_those_who_were_lost_with_their_node(self) -> None:
        replay = Replay(self.chronicle)
        self.scribe.enter("k", "adel")
        self.scribe.enter("l", "bram")
        self.scribe.act(Create("k", "jokes"))
        self.scribe.act(Move("l", "jokes", 0.0))
        self.scribe.act(Depart("k", "node"))
        self.scribe.act(Adopt("node"))
        replay.check(self.live(), self.chronicle.position)
        self.assertEqual((replay.forsaken, replay.hall.members), ({"jokes"}, {}))


class BehindTests(CheckerTests):
    def status(self, *rooms: RoomStatus, transferred: int | None = None) -> Status:
        archived = sum(room.archived for room in rooms)
        whole = sum(room.transferred for room in rooms) if transferred is None else transferred
        return Status(list(rooms), archived, whole, 1, "leader", "single", [])

    def test_behind(self) -> None:
        self.scribe.say("one", "two")
        self.assertEqual(behind(self.status(RoomStatus("MainHall", 2, 2)), self.chronicle), [])
        for status in (
            self.status(RoomStatus("MainHall", 2, 1)),
            self.status(RoomStatus("MainHall", 1, 1)),
            self.status(RoomStatus("MainHall", 2, 2), transferred=1),
        ):
            self.assertEqual(len(behind(status, self.chronicle)), 1)
