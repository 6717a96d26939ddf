import random
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import authority, bans, effects
from chatproto.chat.acts import Allow, Announce, Decree, Destroy, Enroll, Enter, Forbid, Revoke, Silence, Strike
from chatproto.chat.authority import account_allowed
from chatproto.chat.bans import Ban
from chatproto.chat.hall import Hall
from chatproto.chat.messages import NewIdentity, RoomChange, RoomContents, RoomCount, RoomList
from chatproto.chat.people import TICKETS_MAX, Account
from chatproto.testing.checkers.presence import Presence
from tests.unit.chat.halls import HallTestCase, check
from tests.unit.chat.test_hall import Story

NOW = 1000.0


class AccountTestCase(HallTestCase):
    """A hall in which adel has an account and zoe keeps order."""

    def setUp(self) -> None:
        super().setUp()
        self.decree(Enroll(name="adel", secret="secret"))
        self.decree(Enroll(name="zoe", secret="secret", roles=["admin"]))

    def decree(self, decree: Decree) -> list[tuple[Any, ...]]:
        return self.apply(decree)

    def login(self, key: str, account: str = "adel", **more: Any) -> list[tuple[Any, ...]]:
        more = {"time": NOW, "token": f"t{key}", **more}
        return self.apply(Enter(key, more.pop("node", "primary"), account=account, **more))


class ReservedTests(AccountTestCase):
    def test_an_accounts_name_is_taken_whether_they_are_there_or_not(self) -> None:
        self.assertIn(("refuse", "a", "identity-taken", None), self.enter("a", "adel"))
        self.assertEqual(self.rename("a", "adel")[1], ("refuse", "a", "identity-taken", None))
        self.assertEqual(self.inside("MainHall"), ["guest1"])

    def test_it_is_free_again_when_the_account_is_no_more(self) -> None:
        self.assertEqual(self.decree(Strike(name="adel")), [("verdict", None)])
        self.assertIn(("tell", "a", NewIdentity("", "adel")), self.enter("a", "adel"))

    def test_a_guest_of_a_new_accounts_name_gets_another_one(self) -> None:
        self.enter("a", "beth")
        self.create("a", "jokes")
        self.assertEqual(
            self.decree(Enroll(name="beth")),
            [("rooms", ("MainHall",), NewIdentity("beth", "guest1")), ("verdict", None)],
        )
        self.assertEqual(self.owner("jokes"), "guest1")

    def test_rooms_that_wait_for_an_owner_of_that_name_are_the_accounts(self) -> None:
        self.enter("a", "beth")
        self.create("a", "jokes")
        self.depart("a", lost=True)
        self.decree(Enroll(name="beth"))
        self.login("b", "beth")
        self.move("b", "jokes")
        self.assertEqual(self.kinds(self.destroy("b", "jokes"))[0], "rooms")

    def test_what_an_account_may_be_called(self) -> None:
        names = ["adel", "guest", "guestx", "guest1x", "guest1", "guest007", "server", "a b", "ab"]
        self.assertEqual([name for name in names if account_allowed(name)], names[:4])

    def test_accounts_are_refused(self) -> None:
        for act, code in (
            (Enroll(name="guest1"), "identity-invalid"),
            (Enroll(name="adel", new=True), "account-taken"),
            (Enroll(name="beth", new=False), "no-such-account"),
            (Strike(name="beth"), "no-such-account"),
            (Revoke(name="beth"), "no-such-account"),
        ):
            self.assertEqual(self.decree(act), [("verdict", code)])

    def test_there_are_so_many_accounts(self) -> None:
        self.patch(authority, "ACCOUNTS_MAX", 2)
        self.assertEqual(self.decree(Enroll(name="beth")), [("verdict", "too-many-accounts")])

    def test_an_account_is_changed(self) -> None:
        account = self.hall.accounts["adel"]
        self.login("a", ticket="k", ticket_until=2000.0)
        self.decree(Enroll(name="adel", roles=["admin"], new=False))
        self.assertEqual((account.secret, account.roles, list(account.tickets)), ("secret", ["admin"], ["k"]))
        self.decree(Enroll(name="adel", secret="other"))
        self.assertEqual((account.secret, account.roles, account.tickets), ("other", ["admin"], {}))

    def test_who_is_logged_in_keeps_the_name(self) -> None:
        self.login("a")
        self.assertEqual(
            self.rename("a", "beth"),
            [("tell", "a", NewIdentity("adel", "adel")), ("refuse", "a", "identity-fixed", None)],
        )


class DeviceTests(AccountTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.login("w", "zoe")
        self.login("a")

    def test_a_second_device_is_heard_of_by_itself_alone(self) -> None:
        self.assertEqual(
            self.login("b"),
            [
                ("arrived", "b"),
                ("tell", "b", NewIdentity("", "adel")),
                ("tell", "b", RoomChange("adel", "", "MainHall")),
                ("tell", "b", RoomList([RoomCount("MainHall", 2)])),
                ("tell", "b", RoomContents("MainHall", ["zoe", "adel"], "")),
                ("entered", "b", "MainHall", None, None),
            ],
        )
        self.assertEqual(len(self.hall.members), 3)

    def test_the_first_device_in_a_room_is_an_arrival_and_the_last_out_of_one_a_departure(self) -> None:
        self.login("b")
        self.create("w", "jokes")
        self.assertEqual(
            self.move("b", "jokes"),
            [
                ("rooms", ("jokes",), RoomChange("adel", "", "jokes")),
                ("left", "b", "MainHall"),
                ("tell", "b", RoomChange("adel", "MainHall", "jokes")),
                ("entered", "b", "jokes", None, None),
            ],
        )
        self.assertEqual(
            self.move("a", "jokes"),
            [
                ("left", "a", "MainHall"),
                ("rooms", ("MainHall",), RoomChange("adel", "MainHall", "")),
                ("tell", "a", RoomChange("adel", "MainHall", "jokes")),
                ("entered", "a", "jokes", None, None),
            ],
        )
        self.assertEqual(
            self.depart("a"),
            [("tell", "a", RoomChange("adel", "jokes", "")), ("left", "a", "jokes"), ("gone", "a")],
        )
        self.assertEqual(
            self.depart("b"),
            [("rooms", ("jokes",), RoomChange("adel", "jokes", "")), ("left", "b", "jokes"), ("gone", "b")],
        )

    def test_leaving_one_of_several_rooms(self) -> None:
        self.login("b")
        self.create("w", "jokes")
        for key in "ab":
            self.move(key, "jokes", stay=True)
        self.assertEqual(
            self.part("a", "jokes"), [("tell", "a", RoomChange("adel", "jokes", "")), ("left", "a", "jokes")]
        )
        self.assertEqual(
            self.part("b", "jokes"), [("rooms", ("jokes",), RoomChange("adel", "jokes", "")), ("left", "b", "jokes")]
        )

    def test_a_room_that_was_its_last_members_ends_before_anybody_is_told(self) -> None:
        self.enter("c", "beth")
        self.create("c", "jokes")
        self.login("b")
        self.move("b", "jokes")
        self.depart("c")
        self.assertEqual(
            self.move("b", "MainHall")[:3],
            [("left", "b", "jokes"), ("ended", "jokes"), ("tell", "b", RoomChange("adel", "jokes", "MainHall"))],
        )

    def test_they_own_rooms_together_and_while_they_are_away(self) -> None:
        self.create("a", "jokes")
        self.login("b")
        self.depart("a")
        self.depart("b")
        self.assertEqual(self.owner("jokes"), "adel")
        self.login("c")
        self.assertNotIn("jokes", [row[2] for row in self.destroy("c", "jokes") if row[0] == "refuse"])
        self.assertNotIn("jokes", self.listed())

    def test_their_rooms_end_with_the_account(self) -> None:
        self.create("a", "jokes")
        self.create("a", "news")
        self.move("w", "news")
        self.assertEqual(
            self.decree(Strike(name="adel")),
            [
                ("dismissed", "a", "account-gone"),
                ("rooms", ("MainHall",), RoomChange("adel", "MainHall", "")),
                ("left", "a", "MainHall"),
                ("gone", "a"),
                ("ended", "jokes"),
                ("verdict", None),
            ],
        )
        self.assertEqual(self.owner("news"), "")

    def test_a_kick_is_for_all_of_them_and_for_those_to_come(self) -> None:
        self.login("b")
        self.create("w", "jokes")
        for key in "ab":
            self.move(key, "jokes")
        self.expel("w", "jokes", "adel", 2000.0)
        self.assertEqual(self.inside("jokes"), [])
        self.depart("a")
        self.depart("b")
        self.login("c")
        self.assertEqual(self.move("c", "jokes", 1500.0)[-1], ("refuse", "c", "banned", "jokes"))
        self.assertEqual(self.kinds(self.move("c", "jokes", 2500.0))[-1], "entered")

    def test_they_come_back_from_a_snapshot(self) -> None:
        self.login("b", ticket="k", ticket_until=2000.0)
        self.create("a", "jokes")
        self.decree(Silence(identity="adel", until=1500.0))
        self.decree(Forbid(subject="192.0.2.7", until=2000.0, time=NOW))
        self.hall = Hall.restored(self.hall.snapshot())
        check(self.hall)
        person = self.hall.identities["adel"]
        self.assertEqual((list(person.devices), person.owned, person.silenced), (["a", "b"], {"jokes"}, 1500.0))
        self.assertTrue(self.hall.accounts["adel"].admits("k", 1999.0))
        self.assertIsNotNone(self.hall.bans.of_address("192.0.2.7", NOW))

    def test_a_snapshot_of_before_there_were_accounts(self) -> None:
        hall = Hall()
        hall.apply(Enter("a", "primary", "adel"), 1)
        members, rooms, numbered, most, *_ = msgspec.msgpack.decode(hall.snapshot())
        old = msgspec.msgpack.encode([[member[:7] for member in members], rooms, numbered, most])
        self.assertEqual(Hall.restored(old).snapshot(), hall.snapshot())


class LoginTests(AccountTestCase):
    def test_an_account_that_was_removed_meanwhile_lets_nobody_in(self) -> None:
        self.decree(Strike(name="adel"))
        self.assertEqual(self.login("a"), [("denied", "a", "login-failed")])

    def test_a_banned_account_is_let_in_when_the_ban_has_ended(self) -> None:
        self.decree(Forbid(subject="adel", until=2000.0, time=NOW))
        self.assertEqual(self.login("a", time=1999.0), [("denied", "a", "banned")])
        self.assertEqual(self.kinds(self.login("a", time=2000.0))[0], "arrived")

    def test_a_ticket_is_good_until_its_end(self) -> None:
        self.login("a", ticket="k", ticket_until=2000.0)
        account = self.hall.accounts["adel"]
        self.assertEqual([account.admits(k, t) for k, t in (("k", 1999.0), ("k", 2000.0), ("l", 0.0))], [1, 0, 0])

    def test_of_many_tickets_those_that_end_last_are_kept(self) -> None:
        account = Account()
        for number in range(TICKETS_MAX + 2):
            account.remember(f"k{number}", 2000.0 - number, NOW)
        self.assertNotIn(f"k{TICKETS_MAX + 1}", account.tickets)
        self.assertEqual(len(account.tickets), TICKETS_MAX)
        account.remember("later", 3000.0, 2500.0)
        self.assertEqual(list(account.tickets), ["later"])

    def test_revoking_ends_tickets_and_sessions(self) -> None:
        self.login("a", ticket="k", ticket_until=2000.0)
        self.assertEqual(self.decree(Revoke(name="adel"))[0], ("dismissed", "a", "logged-out"))
        self.assertEqual((self.hall.accounts["adel"].tickets, self.hall.members), ({}, {}))


class OrderTests(AccountTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.login("z", "zoe")
        self.login("a")

    def test_only_admins_and_operators_keep_order(self) -> None:
        for decree in (Forbid(session="a", subject="zoe", until=2000.0, time=NOW), Announce(session="a", content="x")):
            self.assertEqual(self.decree(decree), [("refuse", "a", "not-allowed", None)])
        self.assertEqual(self.decree(Announce(session="gone", content="x")), [])
        self.assertEqual(self.decree(Announce(session="z", content="x")), [("announced", "x")])
        self.assertEqual(self.decree(Announce(content="x")), [("announced", "x"), ("verdict", None)])

    def test_a_ban_of_an_account_ends_its_sessions(self) -> None:
        self.login("b", node="secondary")
        rows = self.decree(Forbid(session="z", subject="adel", until=2000.0, time=NOW, reason="spam"))
        self.assertEqual([row for row in rows if row[0] == "dismissed"], [("dismissed", k, "banned") for k in "ab"])
        self.assertEqual([row for row in rows if row[0] == "gone"], [("gone", "a"), ("gone", "b")])
        self.assertEqual(self.hall.bans.listed(NOW), [Ban("adel", 2000.0, "spam", "zoe")])

    def test_of_a_guest_the_address_is_banned(self) -> None:
        self.enter("g")
        rows = self.decree(Forbid(session="z", subject="guest1", until=2000.0, time=NOW))
        self.assertEqual(rows[0], ("traced", "g", Ban("guest1", 2000.0, "", "zoe")))
        self.assertEqual(rows[-1], ("gone", "g"))
        self.assertEqual(self.hall.bans.listed(NOW), [])

    def test_bans_are_refused(self) -> None:
        for decree, code in (
            (Forbid(session="z", subject="zoe", until=2000.0, time=NOW), "not-oneself"),
            (Forbid(session="z", subject="beth", until=2000.0, time=NOW), "no-such-identity"),
            (Allow(session="z", subject="beth"), "not-banned"),
            (Silence(session="z", identity="beth", until=2000.0), "no-such-identity"),
        ):
            self.assertEqual(self.decree(decree), [("refuse", "z", code, None)])
        self.patch(bans, "BANS_MAX", 0)
        self.assertEqual(
            self.decree(Forbid(subject="192.0.2.0/24", until=2000.0, time=NOW)), [("verdict", "too-many-bans")]
        )

    def test_a_ban_is_lifted(self) -> None:
        self.decree(Forbid(subject="adel", until=2000.0, time=NOW))
        self.assertEqual(self.decree(Allow(session="z", subject="adel")), [])
        self.assertEqual(self.kinds(self.login("b"))[0], "arrived")

    def test_silence(self) -> None:
        self.login("b")
        self.assertEqual(
            self.decree(Silence(session="z", identity="adel", until=2000.0)),
            [("warned", "a", "silenced"), ("warned", "b", "silenced")],
        )
        self.assertEqual(self.hall.identities["adel"].silenced, 2000.0)
        self.assertEqual(self.decree(Silence(session="z", identity="adel", until=0.0)), [])
        self.assertEqual(self.hall.identities["adel"].silenced, 0.0)

    def test_an_admin_kicks_in_any_room_but_main_hall(self) -> None:
        self.enter("g")
        self.create("a", "jokes")
        self.move("g", "jokes")
        self.assertEqual(self.expel("z", "MainHall", "adel"), [("refuse", "z", "not-the-owner", "MainHall")])
        self.expel("z", "jokes", "guest1")
        self.assertEqual(self.inside("jokes"), [])

    def test_an_admin_closes_any_room_but_main_hall(self) -> None:
        def close(key: str, room: str) -> list[tuple[Any, ...]]:
            return self.apply(Destroy(key, room, close=True))

        for room in ("jokes", "news"):
            self.create("a", room)
        self.move("a", "jokes")
        self.assertEqual(close("a", "jokes")[-1], ("refuse", "a", "not-allowed", None))
        self.assertEqual(close("z", "MainHall")[-1], ("refuse", "z", "not-allowed", None))
        self.assertEqual(close("z", "none")[-1], ("refuse", "z", "no-such-room", "none"))
        close("z", "jokes")
        self.assertEqual(self.inside("MainHall"), ["zoe", "adel"])
        self.depart("a")
        close("z", "news")
        self.enter("g")
        self.create("g", "play")
        self.move("z", "play")
        self.depart("g")
        close("z", "play")
        self.assertEqual(self.listed(), {"MainHall": 1})
        self.assertEqual(self.hall.identities["adel"].owned, frozenset())

    def test_an_admin_closes_rooms_that_wait_for_their_owner(self) -> None:
        self.enter("g", "beth")
        for room in ("jokes", "news"):
            self.create("g", room)
        self.depart("g", lost=True)
        for room in ("jokes", "news"):
            self.apply(Destroy("z", room, close=True))
        self.assertEqual(self.listed(), {"MainHall": 2})


class ToldTests(SynchronousTestCase):
    def test_every_device_is_told_a_story_that_hangs_together(self) -> None:
        """Whatever happens: nobody hears of a person twice, or of oneself what a sibling did, or misses anybody."""
        devices = 0
        for seed in range(80):
            story = Story(random.Random(seed))
            told: dict[str, Presence] = {}
            for _ in range(100):
                act = story.next()
                if isinstance(act, tuple):
                    story.hall.said(*act)
                    continue
                before = {key: set(member.rooms) for key, member in story.hall.members.items()}
                for effect in story.hall.apply(act, 1):
                    _tell(effect, told, before)
                for key, member in story.hall.members.items():
                    self.assertEqual(before[key], set(member.rooms), (seed, act))
                    self.assertEqual(told[key].identity, member.identity, (seed, act))
                    self.assertEqual(set(told[key].rooms), set(member.rooms), (seed, act))
                    for room, names in told[key].rooms.items():
                        there = set(story.hall.rooms[room].identities)
                        self.assertIn(names, (None, there), (seed, act, key, room))
                devices = max([devices, *(len(person.devices) for person in story.hall.identities.values())])
        self.assertGreater(devices, 2, "somebody had several")


def _tell(effect: effects.Effect, told: dict[str, Presence], inside: dict[str, set[str]]) -> None:
    """Have those hear an effect who are to, as a node does."""
    if isinstance(effect, effects.Arrived):
        told[effect.member.key] = Presence(effect.member.key)
        inside[effect.member.key] = set()
    elif isinstance(effect, effects.Entered):
        inside[effect.member.key].add(effect.room)
    elif isinstance(effect, effects.Left):
        inside[effect.member.key].discard(effect.room)
    elif isinstance(effect, effects.Tell):
        told[effect.member.key].hear(effect.line)
    elif isinstance(effect, effects.TellRooms):
        for key, rooms in inside.items():
            if rooms & set(effect.rooms):
                told[key].hear(effect.line)
