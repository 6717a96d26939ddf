import random

import msgspec

from chatproto.chat.acts import (
    Act,
    Adopt,
    Allow,
    Announce,
    Attach,
    Create,
    Decree,
    Depart,
    Destroy,
    Enroll,
    Enter,
    Expel,
    Forbid,
    Forget,
    Move,
    Part,
    Rename,
    Restart,
    Revoke,
    Silence,
    Strike,
    encode_act,
)
from chatproto.chat.hall import Hall
from chatproto.chat.messages import NewIdentity, Resume, RoomChange, RoomContents, RoomCount, RoomList
from tests.unit.chat.halls import HallTestCase, check, shown


def roomlist(**counts: int) -> RoomList:
    return RoomList([RoomCount(name, count) for name, count in counts.items()])


class EnterTests(HallTestCase):
    def test_a_base_client_comes_in_as_a_guest(self) -> None:
        self.assertEqual(
            self.enter("a", history="all"),
            [
                ("arrived", "a"),
                ("tell", "a", NewIdentity("", "guest1")),
                ("rooms", ("MainHall",), RoomChange("guest1", "", "MainHall")),
                ("tell", "a", RoomChange("guest1", "", "MainHall")),
                ("tell", "a", roomlist(MainHall=1)),
                ("tell", "a", RoomContents("MainHall", ["guest1"], "")),
                ("entered", "a", "MainHall", None, "all"),
            ],
        )
        member = self.hall.members["a"]
        self.assertEqual(
            (member.identity, member.node, member.token, member.rooms, member.room),
            ("guest1", "primary", None, ("MainHall",), "MainHall"),
        )
        self.assertEqual(self.hall.tokens, {})

    def test_an_extended_client_comes_in_under_its_name_and_can_be_found_by_its_token(self) -> None:
        rows = self.enter("a", "adel", token="hash", history=5)
        self.assertIn(("tell", "a", NewIdentity("", "adel")), rows)
        self.assertEqual(rows[-1], ("entered", "a", "MainHall", None, 5))
        self.assertIs(self.hall.tokens["hash"], self.hall.members["a"])

    def test_a_name_that_is_taken_is_refused_and_the_client_is_a_guest(self) -> None:
        self.enter("a", "adel")
        rows = self.enter("b", "adel", token="hash")
        self.assertEqual(
            rows[:3],
            [("arrived", "b"), ("tell", "b", NewIdentity("", "guest1")), ("refuse", "b", "identity-taken", None)],
        )
        self.assertEqual(self.inside("MainHall"), ["adel", "guest1"])

    def test_a_bad_name_is_refused_and_the_client_is_a_guest(self) -> None:
        for key, name in enumerate(("", "ad", "1del", "a" * 17, "server", "ad el")):
            rows = self.enter(str(key), name)
            self.assertEqual(rows[1], ("tell", str(key), NewIdentity("", f"guest{key + 1}")))
            self.assertEqual(rows[2], ("refuse", str(key), "identity-invalid", None))

    def test_names_differ_by_case(self) -> None:
        self.enter("a", "adel")
        self.assertIn(("tell", "b", NewIdentity("", "Adel")), self.enter("b", "Adel"))

    def test_rooms_to_stay_in_are_entered_too(self) -> None:
        self.enter("a", "adel")
        for room in ("jokes", "news"):
            self.create("a", room)
        rows = self.enter("b", "beth", history="none", stay=[("jokes", 12), ("gone", 3), ("MainHall", 7), ("news", 1)])
        self.assertEqual(
            rows[2:],
            [
                ("rooms", ("MainHall",), RoomChange("beth", "", "MainHall")),
                ("tell", "b", RoomChange("beth", "", "MainHall")),
                ("tell", "b", roomlist(MainHall=2, jokes=0, news=0)),
                ("tell", "b", RoomContents("MainHall", ["adel", "beth"], "")),
                ("entered", "b", "MainHall", 7, "none"),
                ("rooms", ("jokes",), RoomChange("beth", "", "jokes")),
                ("tell", "b", RoomChange("beth", "", "jokes")),
                ("entered", "b", "jokes", 12, "none"),
                ("refuse", "b", "no-such-room", "gone"),
                ("rooms", ("news",), RoomChange("beth", "", "news")),
                ("tell", "b", RoomChange("beth", "", "news")),
                ("entered", "b", "news", 1, "none"),
            ],
        )
        self.assertEqual(self.hall.members["b"].rooms, ("MainHall", "jokes", "news"))
        self.assertEqual(self.hall.members["b"].room, "news")


class GuestTests(HallTestCase):
    def guest(self, key: str) -> str:
        self.enter(key)
        return self.hall.members[key].identity

    def test_a_guest_has_the_lowest_number_that_is_free(self) -> None:
        self.assertEqual([self.guest(key) for key in "abcd"], ["guest1", "guest2", "guest3", "guest4"])
        self.depart("b")
        self.depart("c")
        self.assertEqual([self.guest(key) for key in "efg"], ["guest2", "guest3", "guest5"])

    def test_a_number_is_freed_by_a_rename_and_taken_by_one(self) -> None:
        self.guest("a")
        self.guest("b")
        self.rename("a", "guest3")
        self.assertEqual([self.guest(key) for key in "cd"], ["guest1", "guest4"])

    def test_names_that_only_look_like_a_guests_free_no_number(self) -> None:
        for key, name in enumerate(("guest01", "guest0", "guestx", "guest", "guest1x")):
            self.enter(f"x{key}", name)
        self.assertEqual([self.guest(key) for key in "abc"], ["guest1", "guest2", "guest3"])
        for key in range(5):
            self.depart(f"x{key}")
        self.assertEqual(self.guest("d"), "guest4")

    def test_a_newcomer_is_not_given_the_name_of_an_owner_who_is_away(self) -> None:
        self.guest("a")
        self.create("a", "jokes")
        self.depart("a", lost=True)
        self.assertEqual(self.guest("b"), "guest2")
        self.enter("c", "guest1")
        self.assertEqual(self.hall.members["c"].person.owned, {"jokes"})
        self.depart("c")
        self.assertEqual(self.guest("d"), "guest1")


class RenameTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel")
        self.enter("b", "beth")
        self.create("a", "jokes")
        self.create("a", "news")

    def test_everybody_in_the_rooms_hears_it_and_rooms_keep_their_owner(self) -> None:
        self.move("a", "jokes", stay=True)
        self.assertEqual(self.rename("a", "aaron"), [("rooms", ("MainHall", "jokes"), NewIdentity("adel", "aaron"))])
        self.assertEqual((self.owner("jokes"), self.owner("news")), ("aaron", "aaron"))
        self.assertEqual(self.inside("MainHall"), ["aaron", "beth"])
        self.enter("c", "adel")
        self.assertEqual(self.hall.members["c"].person.owned, frozenset())
        self.assertEqual(self.destroy("c", "jokes")[-1], ("refuse", "c", "not-the-owner", "jokes"))
        self.assertEqual(self.kinds(self.destroy("a", "jokes"))[-2:], ["ended", "tell"])

    def test_refused_the_asker_alone_hears_its_current_name_twice(self) -> None:
        for name, code in (("beth", "identity-taken"), ("b", "identity-invalid"), ("server", "identity-invalid")):
            self.assertEqual(
                self.rename("a", name), [("tell", "a", NewIdentity("adel", "adel")), ("refuse", "a", code, None)]
            )
        self.assertEqual(self.inside("MainHall"), ["adel", "beth"])

    def test_ones_own_name_is_no_change_and_no_mistake(self) -> None:
        self.assertEqual(self.rename("a", "adel"), [("tell", "a", NewIdentity("adel", "adel"))])

    def test_taking_the_name_of_an_owner_who_is_away_is_owning(self) -> None:
        self.depart("a", lost=True)
        self.rename("b", "adel")
        self.assertEqual(self.hall.members["b"].person.owned, {"jokes", "news"})
        self.rename("b", "beth")
        self.assertEqual((self.owner("jokes"), self.owner("news")), ("beth", "beth"))


class MoveTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel", history=7)
        self.enter("b", "beth")
        self.create("b", "jokes")
        self.create("b", "news")

    def test_both_rooms_hear_it(self) -> None:
        self.assertEqual(
            self.move("a", "jokes"),
            [
                ("rooms", ("MainHall", "jokes"), RoomChange("adel", "MainHall", "jokes")),
                ("left", "a", "MainHall"),
                ("entered", "a", "jokes", None, 7),
            ],
        )
        self.assertEqual((self.inside("MainHall"), self.inside("jokes")), (["beth"], ["adel"]))

    def test_into_main_hall_with_its_list_and_contents(self) -> None:
        self.move("a", "jokes")
        self.assertEqual(
            self.move("a", "MainHall"),
            [
                ("rooms", ("jokes", "MainHall"), RoomChange("adel", "jokes", "MainHall")),
                ("left", "a", "jokes"),
                ("tell", "a", roomlist(MainHall=2, jokes=0, news=0)),
                ("tell", "a", RoomContents("MainHall", ["beth", "adel"], "")),
                ("entered", "a", "MainHall", None, 7),
            ],
        )

    def test_a_position_and_a_history_of_its_own_come_before_the_sessions(self) -> None:
        self.assertEqual(self.move("a", "jokes", index=12)[-1], ("entered", "a", "jokes", 12, 7))
        self.assertEqual(self.move("a", "news", history="none")[-1], ("entered", "a", "news", None, "none"))
        self.assertEqual(self.move("a", "jokes", history=0)[-1], ("entered", "a", "jokes", None, 0))

    def test_refused_the_asker_alone_hears_its_room_twice(self) -> None:
        self.move("a", "jokes")
        for room, code in (("gone", "no-such-room"), ("", "no-such-room"), ("jokes", "already-there")):
            self.assertEqual(
                self.move("a", room),
                [("tell", "a", RoomChange("adel", "jokes", "jokes")), ("refuse", "a", code, room)],
            )
        self.assertEqual(self.inside("jokes"), ["adel"])

    def test_staying_it_enters_one_more_as_if_from_nowhere(self) -> None:
        self.assertEqual(
            self.move("a", "jokes", stay=True),
            [
                ("rooms", ("jokes",), RoomChange("adel", "", "jokes")),
                ("tell", "a", RoomChange("adel", "", "jokes")),
                ("entered", "a", "jokes", None, 7),
            ],
        )
        self.assertEqual(self.hall.members["a"].rooms, ("MainHall", "jokes"))

    def test_of_several_rooms_the_one_joined_last_is_left(self) -> None:
        self.move("a", "jokes", stay=True)
        self.assertEqual(self.move("a", "news")[0], ("rooms", ("jokes", "news"), RoomChange("adel", "jokes", "news")))
        self.assertEqual(self.hall.members["a"].rooms, ("MainHall", "news"))
        self.assertEqual(self.move("a", "MainHall")[-1], ("refuse", "a", "already-there", "MainHall"))

    def test_a_room_without_an_owner_ends_when_its_last_member_moves_on(self) -> None:
        self.move("a", "jokes")
        self.depart("b")
        self.assertEqual((self.owner("jokes"), self.listed()), ("", {"MainHall": 0, "jokes": 1}))
        self.assertEqual(
            self.move("a", "MainHall"),
            [
                ("rooms", ("jokes", "MainHall"), RoomChange("adel", "jokes", "MainHall")),
                ("left", "a", "jokes"),
                ("ended", "jokes"),
                ("tell", "a", roomlist(MainHall=1)),
                ("tell", "a", RoomContents("MainHall", ["adel"], "")),
                ("entered", "a", "MainHall", None, 7),
            ],
        )

    def test_an_owned_room_and_main_hall_may_be_empty(self) -> None:
        self.move("a", "jokes")
        self.move("b", "news")
        self.move("a", "news")
        self.assertEqual(self.listed(), {"MainHall": 0, "jokes": 0, "news": 2})


class PartTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel", history="none")
        self.create("a", "jokes")

    def test_the_room_left_hears_it_as_a_going_nowhere(self) -> None:
        self.move("a", "jokes", stay=True)
        self.assertEqual(
            self.part("a", "MainHall"),
            [("rooms", ("MainHall",), RoomChange("adel", "MainHall", "")), ("left", "a", "MainHall")],
        )
        self.assertEqual(self.hall.members["a"].rooms, ("jokes",))

    def test_who_leaves_the_last_room_moves_to_main_hall(self) -> None:
        self.move("a", "jokes")
        self.assertEqual(
            self.part("a", "jokes"),
            [
                ("rooms", ("jokes", "MainHall"), RoomChange("adel", "jokes", "MainHall")),
                ("left", "a", "jokes"),
                ("tell", "a", roomlist(MainHall=1, jokes=0)),
                ("tell", "a", RoomContents("MainHall", ["adel"], "")),
                ("entered", "a", "MainHall", None, "none"),
            ],
        )

    def test_refused(self) -> None:
        self.assertEqual(self.part("a", "MainHall"), [("refuse", "a", "last-room", None)])
        self.assertEqual(self.part("a", "jokes"), [("refuse", "a", "not-a-member", "jokes")])
        self.assertEqual(self.part("a", "gone"), [("refuse", "a", "not-a-member", "gone")])

    def test_a_room_without_an_owner_ends_with_its_last_member(self) -> None:
        self.enter("b", "beth")
        self.move("b", "jokes", stay=True)
        self.depart("a")
        self.assertEqual(self.part("b", "jokes")[-1], ("ended", "jokes"))


class CreateTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel")
        self.enter("b", "beth")

    def test_the_creator_owns_it_and_is_not_moved(self) -> None:
        self.assertEqual(self.create("a", "jokes"), [("tell", "a", roomlist(MainHall=2, jokes=0))])
        self.assertEqual(self.hall.contents("jokes"), RoomContents("jokes", [], "adel"))
        self.assertEqual(self.inside("MainHall"), ["adel", "beth"])

    def test_refused_the_list_lacks_the_name_asked_for(self) -> None:
        self.create("a", "jokes")
        for room, code, listed in (
            ("jokes", "room-taken", roomlist(MainHall=2)),
            ("MainHall", "room-taken", roomlist(jokes=0)),
            ("no", "room-invalid", roomlist(MainHall=2, jokes=0)),
            ("1abc", "room-invalid", roomlist(MainHall=2, jokes=0)),
        ):
            self.assertEqual(self.create("b", room), [("tell", "b", listed), ("refuse", "b", code, room)])
        self.assertEqual(self.owner("jokes"), "adel")

    def test_one_session_owns_so_many_rooms_at_once(self) -> None:
        self.create("a", "room1", 2)
        self.create("a", "room2", 2)
        self.assertEqual(self.create("a", "room3", 2)[-1], ("refuse", "a", "too-many-rooms", "room3"))
        self.assertEqual(self.kinds(self.create("b", "room3", 2)), ["tell"])
        self.destroy("a", "room1")
        self.assertEqual(self.kinds(self.create("a", "room4", 2)), ["tell"])

    def test_a_limit_of_nothing_is_none(self) -> None:
        for number in range(10):
            self.assertEqual(self.kinds(self.create("a", f"room{number}", 0)), ["tell"])


class DestroyTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        for key, name in (("a", "adel"), ("b", "beth"), ("c", "cleo")):
            self.enter(key, name)
        self.create("a", "jokes")

    def test_every_member_moves_to_main_hall_as_if_it_had_joined_it(self) -> None:
        self.move("b", "jokes")
        self.move("c", "jokes")
        self.assertEqual(
            self.destroy("a", "jokes"),
            [
                ("rooms", ("jokes", "MainHall"), RoomChange("beth", "jokes", "MainHall")),
                ("left", "b", "jokes"),
                ("tell", "b", roomlist(MainHall=2)),
                ("tell", "b", RoomContents("MainHall", ["adel", "beth"], "")),
                ("entered", "b", "MainHall", None, None),
                ("rooms", ("jokes", "MainHall"), RoomChange("cleo", "jokes", "MainHall")),
                ("left", "c", "jokes"),
                ("ended", "jokes"),
                ("tell", "c", roomlist(MainHall=3)),
                ("tell", "c", RoomContents("MainHall", ["adel", "beth", "cleo"], "")),
                ("entered", "c", "MainHall", None, None),
                ("tell", "a", roomlist(MainHall=3)),
            ],
        )
        self.assertEqual(self.hall.members["a"].person.owned, frozenset())

    def test_members_who_are_in_main_hall_too_only_leave(self) -> None:
        self.move("b", "jokes", stay=True)
        self.move("c", "jokes")
        self.create("c", "news")
        self.move("c", "news", stay=True)
        self.assertEqual(
            self.destroy("a", "jokes"),
            [
                ("rooms", ("jokes",), RoomChange("beth", "jokes", "")),
                ("left", "b", "jokes"),
                ("rooms", ("jokes", "MainHall"), RoomChange("cleo", "jokes", "MainHall")),
                ("left", "c", "jokes"),
                ("ended", "jokes"),
                ("tell", "c", roomlist(MainHall=3, news=1)),
                ("tell", "c", RoomContents("MainHall", ["adel", "beth", "cleo"], "")),
                ("entered", "c", "MainHall", None, None),
                ("tell", "a", roomlist(MainHall=3, news=1)),
            ],
        )
        self.assertEqual(self.hall.members["c"].rooms, ("news", "MainHall"))

    def test_the_owner_may_be_inside(self) -> None:
        self.move("a", "jokes")
        rows = self.destroy("a", "jokes")
        self.assertIn(("ended", "jokes"), rows)
        self.assertEqual(self.kinds(rows).count("ended"), 1)
        self.assertEqual(self.inside("MainHall"), ["beth", "cleo", "adel"])

    def test_an_empty_room_is_gone_at_once(self) -> None:
        self.assertEqual(self.destroy("a", "jokes"), [("ended", "jokes"), ("tell", "a", roomlist(MainHall=3))])

    def test_refused_a_list_alone(self) -> None:
        for key, room, code in (
            ("b", "jokes", "not-the-owner"),
            ("a", "MainHall", "not-the-owner"),
            ("a", "gone", "no-such-room"),
        ):
            self.assertEqual(
                self.destroy(key, room), [("tell", key, roomlist(MainHall=3, jokes=0)), ("refuse", key, code, room)]
            )

    def test_an_owner_who_was_away_may(self) -> None:
        self.depart("a", lost=True)
        self.enter("d", "adel")
        self.assertEqual(self.kinds(self.destroy("d", "jokes")), ["ended", "tell"])


class ExpelTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        for key, name in (("a", "adel"), ("b", "beth")):
            self.enter(key, name)
        self.create("a", "jokes")
        self.move("b", "jokes")

    def test_the_member_moves_to_main_hall(self) -> None:
        self.assertEqual(
            self.expel("a", "jokes", "beth"),
            [
                ("rooms", ("jokes", "MainHall"), RoomChange("beth", "jokes", "MainHall")),
                ("left", "b", "jokes"),
                ("tell", "b", roomlist(MainHall=2, jokes=0)),
                ("tell", "b", RoomContents("MainHall", ["adel", "beth"], "")),
                ("entered", "b", "MainHall", None, None),
            ],
        )

    def test_a_member_who_is_in_main_hall_too_only_leaves(self) -> None:
        self.move("b", "MainHall", stay=True)
        self.assertEqual(
            self.expel("a", "jokes", "beth"),
            [("rooms", ("jokes",), RoomChange("beth", "jokes", "")), ("left", "b", "jokes")],
        )

    def test_it_cannot_come_back_before_the_time_under_whatever_name(self) -> None:
        self.expel("a", "jokes", "beth", 2000.0)
        for name in ("bella", "bessy"):
            self.rename("b", name)
            self.assertEqual(
                self.move("b", "jokes", 1999.9),
                [("tell", "b", RoomChange(name, "MainHall", "MainHall")), ("refuse", "b", "banned", "jokes")],
            )
        self.assertEqual(self.move("b", "jokes", 2000.0)[-1][:3], ("entered", "b", "jokes"))
        self.move("b", "MainHall")
        self.assertEqual(self.move("b", "jokes", 1.0)[-1][:3], ("entered", "b", "jokes"), "it is over for good")

    def test_other_rooms_are_open_to_it(self) -> None:
        self.create("a", "news")
        self.expel("a", "jokes", "beth")
        self.assertEqual(self.move("b", "news")[-1][:3], ("entered", "b", "news"))

    def test_bans_are_of_each_room(self) -> None:
        self.create("a", "news")
        self.expel("a", "jokes", "beth", 2000.0)
        self.move("b", "news")
        self.expel("a", "news", "beth", 3000.0)
        self.assertEqual(self.move("b", "jokes", 1500.0)[-1], ("refuse", "b", "banned", "jokes"))
        self.assertEqual(self.move("b", "news", 2500.0)[-1], ("refuse", "b", "banned", "news"))
        self.assertEqual(self.move("b", "jokes", 2500.0)[-1][:3], ("entered", "b", "jokes"))

    def test_refused_the_owner_hears_why(self) -> None:
        self.enter("c", "cleo")
        for key, room, name, code in (
            ("a", "gone", "beth", "no-such-room"),
            ("b", "jokes", "adel", "not-the-owner"),
            ("a", "MainHall", "cleo", "not-the-owner"),
            ("a", "jokes", "adel", "not-oneself"),
            ("a", "jokes", "cleo", "not-a-member"),
            ("a", "jokes", "nobody", "not-a-member"),
        ):
            self.assertEqual(self.expel(key, room, name), [("refuse", key, code, room)])
        self.assertEqual(self.inside("jokes"), ["beth"])


class DepartTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel", token="hash")
        self.enter("b", "beth")

    def test_each_of_its_rooms_hears_it(self) -> None:
        self.create("b", "jokes")
        self.move("a", "jokes", stay=True)
        self.assertEqual(
            self.depart("a"),
            [
                ("rooms", ("MainHall",), RoomChange("adel", "MainHall", "")),
                ("rooms", ("jokes",), RoomChange("adel", "jokes", "")),
                ("left", "a", "MainHall"),
                ("left", "a", "jokes"),
                ("gone", "a"),
            ],
        )
        self.assertEqual((self.hall.tokens, list(self.hall.identities)), ({}, ["beth"]))

    def test_its_rooms_lose_their_owner_and_end_where_nobody_is(self) -> None:
        for room in ("jokes", "news", "empty"):
            self.create("a", room)
        self.move("b", "jokes")
        self.move("a", "news")
        rows = self.depart("a")
        self.assertEqual(
            rows,
            [
                ("rooms", ("news",), RoomChange("adel", "news", "")),
                ("left", "a", "news"),
                ("ended", "news"),
                ("ended", "empty"),
                ("gone", "a"),
            ],
        )
        self.assertEqual((self.owner("jokes"), self.listed()), ("", {"MainHall": 0, "jokes": 1}))

    def test_rooms_that_end_together_end_in_the_order_of_their_names(self) -> None:
        """Every node has to say the same, and sets have no order."""
        for number in (5, 3, 8, 1, 9, 2):
            self.create("a", f"room{number}")
        ended = [row[1] for row in self.depart("a") if row[0] == "ended"]
        self.assertEqual(ended, [f"room{number}" for number in (1, 2, 3, 5, 8, 9)])

    def test_where_the_server_was_lost_rooms_wait_for_their_owner(self) -> None:
        for room in ("jokes", "news"):
            self.create("a", room)
        self.move("a", "jokes")
        self.assertEqual(
            self.depart("a", lost=True),
            [("rooms", ("jokes",), RoomChange("adel", "jokes", "")), ("left", "a", "jokes"), ("gone", "a")],
        )
        self.assertEqual((self.owner("jokes"), self.listed()), ("adel", {"MainHall": 1, "jokes": 0, "news": 0}))
        self.assertEqual(self.expel("b", "jokes", "beth"), [("refuse", "b", "not-the-owner", "jokes")])
        self.enter("c", "adel")
        self.assertEqual(self.hall.members["c"].person.owned, {"jokes", "news"})
        self.depart("c")
        self.assertEqual(self.listed(), {"MainHall": 1})

    def test_where_the_server_was_lost_rooms_without_an_owner_wait_too(self) -> None:
        self.create("b", "jokes")
        self.move("a", "jokes")
        self.depart("b")
        self.depart("a", lost=True)
        self.assertEqual(self.listed(), {"MainHall": 0, "jokes": 0})
        self.enter("c")
        self.move("c", "jokes")
        self.move("c", "MainHall")
        self.assertEqual(self.listed(), {"MainHall": 1})


class RestartTests(HallTestCase):
    """The log goes on from a copy: nobody is there, and what was there waits for its owner."""

    def test_every_session_is_over(self) -> None:
        self.enter("p.1", "adel", token="t1")
        self.enter("s.1", "beth", node="secondary")
        rows = self.apply(Restart())
        self.assertEqual([row for row in rows if row[0] == "gone"], [("gone", "p.1"), ("gone", "s.1")])
        self.assertEqual((self.hall.members, self.hall.tokens), ({}, {}))

    def test_rooms_wait_for_their_owners(self) -> None:
        self.enter("p.1", "adel")
        self.create("p.1", "jokes")
        self.move("p.1", "jokes")
        self.apply(Restart())
        self.assertEqual(self.listed(), {"MainHall": 0, "jokes": 0})
        self.enter("p.2", "adel")
        self.assertEqual(self.hall.members["p.2"].person.owned, {"jokes"})

    def test_where_nobody_is_it_changes_nothing(self) -> None:
        self.assertEqual(self.apply(Restart()), [])


class MovingNodesTests(HallTestCase):
    """Sessions, and the nodes that serve them."""

    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel", "east", token="ta")
        self.enter("b", "beth", "west", token="tb")
        self.enter("c", "cleo", "east")
        self.enter("d", "dora", "west")

    def nodes(self) -> dict[str, str]:
        return {key: member.node for key, member in self.hall.members.items()}

    def test_a_session_is_attached_to_the_node_that_its_client_came_to(self) -> None:
        for node in ("west", "west", "east"):
            self.assertEqual(self.attach("ta", node), [("attached", "a", node)])
            self.assertEqual(self.nodes(), {"a": node, "b": "west", "c": "east", "d": "west"})
        self.assertEqual(Hall.restored(self.hall.snapshot()).members["a"].node, "east")

    def test_a_session_that_nobody_knows(self) -> None:
        before = self.hall.snapshot()
        self.assertEqual(self.attach("tx"), [("unknown",)])
        self.depart("a", "east")
        self.assertEqual(self.attach("ta"), [("unknown",)])
        self.assertNotEqual(self.hall.snapshot(), before)

    def test_in_another_epoch_nothing_follows(self) -> None:
        before = self.hall.snapshot()
        for epoch in (1, 3):
            self.assertEqual(self.apply(Attach("ta", "west", 2), epoch), [("overtaken",)])
            self.assertEqual(self.apply(Adopt("west", 2), epoch), [("overtaken",)])
        self.assertEqual(self.hall.snapshot(), before)
        self.assertEqual(self.apply(Attach("ta", "west", 2), 2), [("attached", "a", "west")])

    def test_only_the_node_that_serves_a_session_says_that_it_is_over(self) -> None:
        self.assertEqual(self.depart("a", "west"), [])
        self.attach("ta", "west")
        self.assertEqual(self.depart("a", "east"), [])
        self.assertIn("a", self.hall.members)
        self.assertEqual(self.depart("a", "west")[-1], ("gone", "a"))

    def test_a_node_that_begins_a_life_expects_its_extended_clients_back(self) -> None:
        self.create("c", "attic")
        rows = self.adopt("east")
        self.assertEqual(
            rows,
            [
                ("expected", "a", "east"),
                ("rooms", ("MainHall",), RoomChange("cleo", "MainHall", "")),
                ("left", "c", "MainHall"),
                ("gone", "c"),
            ],
        )
        self.assertEqual(self.nodes(), {"a": "east", "b": "west", "d": "west"})
        self.assertEqual(self.owner("attic"), "cleo", "the server was lost, not she")

    def test_a_node_that_goes_on_alone_expects_everybody_elses(self) -> None:
        rows = self.apply(Adopt("west", 4), 4)
        self.assertEqual(
            [row for row in rows if row[0] in ("expected", "gone")], [("expected", "a", "west"), ("gone", "c")]
        )
        self.assertEqual(self.nodes(), {"a": "west", "b": "west", "d": "west"})

    def test_who_is_there_already_does_not_enter_again(self) -> None:
        before = self.hall.snapshot()
        self.assertEqual(self.enter("a", "other", "west", token="tz"), [])
        self.assertEqual(self.hall.snapshot(), before)

    def test_the_epoch_that_a_client_holds_goes_with_its_position(self) -> None:
        self.create("a", "jokes")
        rows = self.enter("e", "erin", stay=[("MainHall", 7, 3), ("jokes", 2, 1)])
        self.assertIn(("entered", "e", "MainHall", 7, None, 3), rows)
        self.assertIn(("entered", "e", "jokes", 2, None, 1), rows)
        self.assertEqual(self.move("a", "jokes", index=2, epoch=5)[-1], ("entered", "a", "jokes", 2, None, 5))


class MostTests(HallTestCase):
    """How many were there at once."""

    def test_it_grows_with_those_who_come_and_stays_when_they_leave(self) -> None:
        self.assertEqual(self.hall.most, 0)
        most = []
        for step in (lambda: self.enter("a"), lambda: self.enter("b"), lambda: self.depart("a"),
                     lambda: self.enter("c"), lambda: self.enter("d"), lambda: self.adopt()):  # fmt: skip
            step()
            most.append(self.hall.most)
        self.assertEqual(most, [1, 2, 2, 2, 3, 3])
        self.assertEqual(self.hall.members, {})
        self.assertEqual(Hall.restored(self.hall.snapshot()).most, 3)

    def test_a_hall_without_anything_has_seen_nobody(self) -> None:
        self.enter("a")
        self.hall.restore(None)
        self.assertEqual(self.hall.most, 0)

    def test_a_snapshot_of_before_it_was_counted_counts_those_present(self) -> None:
        self.enter("a")
        self.enter("b")
        members, rooms, numbered, *_ = msgspec.msgpack.decode(self.hall.snapshot())
        self.assertEqual(Hall.restored(msgspec.msgpack.encode([members, rooms, numbered])).most, 2)


class AbsentTests(HallTestCase):
    def test_acts_of_a_session_that_is_not_present_change_nothing(self) -> None:
        self.enter("a", "adel")
        self.create("a", "jokes")
        before = self.hall.snapshot()
        for act in (
            Depart("x", "primary"),
            Rename("x", "beth"),
            Move("x", "jokes", 1000.0),
            Part("x", "MainHall"),
            Create("x", "news"),
            Destroy("x", "jokes"),
            Expel("x", "jokes", "adel", 2000.0),
        ):
            self.assertEqual(self.apply(act), [], act)
        self.assertEqual(self.hall.snapshot(), before)


class QuestionTests(HallTestCase):
    def test_the_contents_of_a_room_are_in_the_order_of_coming(self) -> None:
        for key, name in (("c", "cleo"), ("a", "adel"), ("b", "beth")):
            self.enter(key, name)
        self.assertEqual(self.hall.contents("MainHall"), RoomContents("MainHall", ["cleo", "adel", "beth"], ""))

    def test_a_room_that_does_not_exist_is_empty(self) -> None:
        self.assertEqual(self.hall.contents("gone"), RoomContents("gone", [], ""))

    def test_a_new_hall_has_one_room(self) -> None:
        self.assertEqual(self.hall.listing(), roomlist(MainHall=0))


class NumberTests(HallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter("a", "adel")
        self.create("a", "jokes")

    def numbers(self, name: str = "jokes") -> tuple[int, int, int]:
        room = self.hall.rooms[name]
        return room.born, room.first, room.last

    def test_a_new_room_begins_with_1(self) -> None:
        self.assertEqual(self.numbers(), (1, 1, 0))
        self.assertIs(self.hall.said("jokes", 3), self.hall.rooms["jokes"])
        self.assertEqual(self.numbers(), (1, 1, 3))

    def test_a_room_made_again_goes_on_numbering(self) -> None:
        self.hall.said("jokes", 3)
        self.destroy("a", "jokes")
        self.assertEqual(self.hall.kept(), {"jokes": 4})
        self.assertIsNone(self.hall.said("jokes", 5), "what was under way when it ended")
        self.assertEqual(self.hall.kept(), {"jokes": 6})
        self.create("a", "jokes")
        self.assertEqual(self.numbers(), (6, 6, 5))
        self.assertEqual(self.hall.kept(), {"jokes": 6})
        self.destroy("a", "jokes")
        self.create("a", "jokes")
        self.assertEqual(self.numbers(), (6, 6, 5))

    def test_a_room_where_nothing_was_said_leaves_no_trace(self) -> None:
        self.destroy("a", "jokes")
        self.assertEqual(self.hall.kept(), {})

    def test_retention_moves_the_first_position_forward_only(self) -> None:
        self.hall.said("jokes", 10)
        for first, kept in ((4, 4), (2, 4), (4, 4), (12, 4), (11, 11), (11, 11)):
            self.assertEqual(self.forget("jokes", first), [])
            self.assertEqual(self.numbers(), (1, kept, 10), first)
        self.assertEqual(self.hall.kept(), {"jokes": 11})

    def test_retention_of_a_room_that_is_gone_is_nothing(self) -> None:
        self.assertEqual(self.forget("gone", 5), [])
        self.assertEqual(self.hall.kept(), {})

    def test_what_is_kept_names_rooms_that_dropped_something_alone(self) -> None:
        self.hall.said("jokes", 10)
        self.hall.said("MainHall", 4)
        self.forget("MainHall", 3)
        self.assertEqual(self.hall.kept(), {"MainHall": 3})


class SnapshotTests(HallTestCase):
    def test_an_empty_hall(self) -> None:
        self.assertEqual(Hall.restored(self.hall.snapshot()).listing(), roomlist(MainHall=0))

    def test_everything_that_matters_comes_back(self) -> None:
        self.enter("a", "adel", token="hash", history=5)
        self.enter("b", "beth")
        for room in ("jokes", "news", "over"):
            self.create("a", room)
        self.create("b", "later")
        self.move("a", "jokes", stay=True)
        self.move("b", "jokes")
        self.expel("a", "jokes", "beth", 2000.0)
        self.hall.said("jokes", 9)
        self.hall.said("over", 4)
        self.forget("jokes", 3)
        self.destroy("a", "over")
        self.depart("b", lost=True)
        self.hall = Hall.restored(self.hall.snapshot())
        check(self.hall)
        member = self.hall.members["a"]
        self.assertEqual(
            (member.identity, member.node, member.token, member.history, member.rooms, member.person.owned),
            ("adel", "primary", "hash", 5, ("MainHall", "jokes"), {"jokes", "news"}),
        )
        self.assertIs(self.hall.tokens["hash"], member)
        room = self.hall.rooms["jokes"]
        self.assertEqual((room.born, room.first, room.last), (1, 3, 9))
        self.assertEqual(self.hall.kept(), {"jokes": 3, "over": 5})
        self.assertEqual(self.listed(), {"MainHall": 1, "jokes": 1, "news": 0, "later": 0})
        self.enter("c", "beth")
        self.assertEqual(self.hall.members["c"].person.owned, {"later"})

    def test_a_ban_comes_back(self) -> None:
        self.enter("a", "adel")
        self.enter("b", "beth")
        self.create("a", "jokes")
        self.move("b", "jokes")
        self.expel("a", "jokes", "beth", 2000.0)
        self.hall = Hall.restored(self.hall.snapshot())
        self.assertEqual(self.move("b", "jokes", 1500.0)[-1], ("refuse", "b", "banned", "jokes"))

    def test_a_hall_that_was_restored_goes_on_as_one_that_was_not(self) -> None:
        """Whatever happened: the same effects and the same bytes, on a node that replayed and on one that did not."""
        for seed in range(60):
            dice = random.Random(seed)
            story = Story(dice)
            twin = Hall()
            check_lost = False
            for step in range(120):
                if step % 20 == 19:
                    twin = Hall.restored(twin.snapshot())
                    self.assertEqual(twin.snapshot(), story.hall.snapshot(), (seed, step))
                act = story.next()
                check_lost = check_lost or isinstance(act, Adopt | Restart) or (isinstance(act, Depart) and act.lost)
                if isinstance(act, tuple):
                    self.assertEqual(twin.said(*act) is None, story.hall.said(*act) is None, (seed, step))
                else:
                    told = [shown(effect) for effect in story.hall.apply(act, 1)]
                    self.assertEqual([shown(effect) for effect in twin.apply(act, 1)], told, (seed, step, act))
                check(story.hall, lost=check_lost)
            self.assertEqual(twin.snapshot(), story.hall.snapshot(), seed)
            self.assertEqual(twin.kept(), story.hall.kept(), seed)
            self.assertGreater(len(story.kinds), 7, "a story has a bit of everything")


class Story:
    """What may happen to a hall, drawn from dice: mostly what makes sense, sometimes not."""

    ROOMS = ("MainHall", "jokes", "news", "play", "x")
    NAMES = ("adel", "beth", "cleo", "guest1", "guest2", "guest3", "server")

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.hall = Hall()
        self.kinds: set[type[object]] = set()
        self._count = 0
        self._positions: dict[str, int] = {}
        # Half of the stories know no lost server, so that rooms have to end in them.
        self._losses = dice.random() < 0.5
        self._accounts = dice.random() < 0.7

    def next(self) -> "Act | tuple[str, int]":
        act = self._next()
        self.kinds.add(type(act))
        return act

    def _next(self) -> "Act | tuple[str, int]":
        dice = self.dice
        key = dice.choice([*self.hall.members, "nobody"])
        room, name, node = dice.choice(self.ROOMS), dice.choice(self.NAMES), dice.choice(("primary", "secondary"))
        time = 1000.0 + self._count
        self._count += 1
        kind = dice.choices(
            (Enter, Attach, Adopt, Depart, Rename, Move, Part, Create, Destroy, Expel, Forget, Restart, tuple, Decree),
            (
                *(6, 2, 1 if self._losses else 0, 2, 3, 10, 3, 4, 1, 3, 2, 0.3 if self._losses else 0, 8),
                4 if self._accounts else 0,
            ),
        )[0]
        if kind is Enter:
            stay = [Resume(dice.choice(self.ROOMS), dice.randrange(1, 9)) for _ in range(dice.randrange(3))]
            token = f"t{self._count}" if dice.random() < 0.5 else None
            wanted = name if dice.random() < 0.7 else None
            if self.hall.accounts and dice.random() < 0.7:
                account = dice.choice([*self.hall.accounts, "zoe"])
                ticket, until = (f"k{self._count}", time + 40) if dice.random() < 0.5 else (None, 0.0)
                history = dice.choice((None, "all", 3))
                proof = {"account": account, "opens": dice.random() < 0.3, "ticket": ticket, "ticket_until": until}
                return Enter(f"s{self._count}", node, None, f"t{self._count}", history, stay, time=time, **proof)
            return Enter(f"s{self._count}", node, wanted, token, dice.choice((None, "all", 3)), stay)
        if kind is Depart:
            return Depart(key, node, self._losses and dice.random() < 0.5)
        if kind is Attach:
            return Attach(dice.choice([*self.hall.tokens, "nobody"]), node, dice.choice((0, 1, 2)))
        if kind is Adopt:
            return Adopt(node, dice.choice((0, 1, 2)))
        if kind is Rename:
            return Rename(key, name)
        if kind is Move:
            return Move(key, room, time, dice.random() < 0.5)
        if kind is Part:
            return Part(key, room)
        if kind is Create:
            return Create(key, room, dice.choice((0, 2)))
        if kind is Destroy:
            return Destroy(key, room, dice.random() < 0.3)
        if kind is Decree:
            return self._decree(key if dice.random() < 0.5 else "", name, time)
        if kind is Expel:
            return Expel(key, room, name, time + dice.randrange(30))
        if kind is Forget:
            return Forget(room, dice.randrange(1, 12))
        if kind is Restart:
            return Restart()
        self._positions[room] = self._positions.get(room, 0) + dice.randrange(1, 4)
        return room, self._positions[room]

    def _decree(self, key: str, name: str, time: float) -> Decree:
        dice = self.dice
        kind = dice.choices((Enroll, Strike, Revoke, Forbid, Allow, Silence, Announce), (9, 1, 1, 2, 1, 1, 1))[0]
        if kind is Enroll:
            roles, new = dice.choice((None, [], ["admin"], ["admin"])), dice.choice((None, None, True, False))
            return Enroll(session=key, name=name, secret=dice.choice((None, "secret")), roles=roles, new=new)
        if kind is Strike:
            return Strike(session=key, name=name)
        if kind is Revoke:
            return Revoke(session=key, name=name)
        subject = dice.choice((name, name, "192.0.2.0/24", "2001:db8::1"))
        if kind is Forbid:
            return Forbid(session=key, subject=subject, until=time + dice.randrange(60), time=time, reason="why")
        if kind is Allow:
            return Allow(session=key, subject=subject)
        if kind is Silence:
            return Silence(session=key, identity=name, until=dice.choice((0.0, time + 20)))
        return Announce(session=key, content="hello")


class ActTests(HallTestCase):
    def test_an_act_is_one_line_with_its_name_and_without_what_is_usual(self) -> None:
        for act, line in (
            (Enter("p.1", "primary"), b'{"act":"enter","session":"p.1","node":"primary"}'),
            (
                Enter("p.1", "primary", "adel", "hash", "all", [Resume("jokes", 3)]),
                b'{"act":"enter","session":"p.1","node":"primary","identity":"adel","token":"hash","history":"all",'
                b'"stay":[{"roomid":"jokes","from":3}]}',
            ),
            (Attach("hash", "west", 7), b'{"act":"attach","token":"hash","node":"west","epoch":7}'),
            (Adopt("west"), b'{"act":"adopt","node":"west"}'),
            (Adopt("west", 7), b'{"act":"adopt","node":"west","epoch":7}'),
            (Depart("p.1", "west"), b'{"act":"depart","session":"p.1","node":"west"}'),
            (Depart("p.1", "west", True), b'{"act":"depart","session":"p.1","node":"west","lost":true}'),
            (Rename("p.1", "adel"), b'{"act":"rename","session":"p.1","identity":"adel"}'),
            (Move("p.1", "jokes", 1.5), b'{"act":"move","session":"p.1","room":"jokes","time":1.5}'),
            (Part("p.1", "jokes"), b'{"act":"part","session":"p.1","room":"jokes"}'),
            (Create("p.1", "jokes", 9), b'{"act":"create","session":"p.1","room":"jokes","limit":9}'),
            (Destroy("p.1", "jokes"), b'{"act":"destroy","session":"p.1","room":"jokes"}'),
            (
                Expel("p.1", "jokes", "adel", 2.5),
                b'{"act":"expel","session":"p.1","room":"jokes","identity":"adel","until":2.5}',
            ),
            (Forget("jokes", 7), b'{"act":"forget","room":"jokes","first":7}'),
            (Restart(), b'{"act":"restart"}'),
            (Rename("p.1", "\n"), b'{"act":"rename","session":"p.1","identity":"\\n"}'),
        ):
            self.assertEqual(encode_act(act), line)
