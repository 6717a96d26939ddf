from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.acts import (
    Act,
    Allow,
    Announce,
    Attach,
    Create,
    Depart,
    Destroy,
    Enroll,
    Enter,
    Expel,
    Forbid,
    Move,
    Part,
    Rename,
    Silence,
    decode_act,
)
from chatproto.chat.hall import Hall
from chatproto.chat.messages import (
    AnnounceAsked,
    BanAsked,
    BanEntry,
    BanList,
    BansAsked,
    CloseAsked,
    ContactAsked,
    CreateRoom,
    Delete,
    Error,
    Hello,
    HistoryAsked,
    IdentityChange,
    Join,
    JoinExtended,
    Kick,
    Leave,
    List,
    Ping,
    Pong,
    PrivateAsked,
    Quit,
    Request,
    Resume,
    RoomContents,
    RoomCount,
    RoomList,
    Said,
    Say,
    SayExtended,
    SearchAsked,
    SilenceAsked,
    StatusAsked,
    UnbanAsked,
    UnsilenceAsked,
    Who,
)
from chatproto.chat.session import (
    KICK_S_MAX,
    REASON_CHARS_MAX,
    Ask,
    Effect,
    EntryMaker,
    HangUp,
    Hold,
    Proof,
    Reply,
    Session,
    SessionRules,
    history_allowed,
)
from chatproto.log.entry import ACT, MESSAGE, Entry

NOW = 1700000000.125


class EntryMakerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.make = EntryMaker("a0.")

    def test_ids_do_not_repeat(self) -> None:
        ids = [self.make.id(), self.make.message("jokes", b"{", None, NOW, None).id, self.make.id()]
        self.assertEqual(ids, ["a0.1", "a0.2", "a0.3"])

    def test_a_message_whose_sender_gave_no_id(self) -> None:
        self.assertEqual(
            self.make.message("jokes", b'{"head"', None, NOW, "origin"),
            Entry(MESSAGE, "jokes", "a0.1", NOW, b'{"head"', b',"id":"a0.1","time":1700000000.125}', False, "origin"),
        )

    def test_a_message_whose_sender_gave_an_id(self) -> None:
        self.assertEqual(
            self.make.message("jokes", b'{"head"', 'f"\n', NOW, "origin"),
            Entry(MESSAGE, "jokes", 'f"\n', NOW, b'{"head"', b',"id":"f\\"\\n","time":1700000000.125}', True, "origin"),
        )

    def test_the_time_is_of_each_message(self) -> None:
        tails = [self.make.message("jokes", b"{", "x", now, None).tail for now in (0.0, 0.0, 1.5, 2.0004, 2.0004)]
        self.assertEqual(
            [tail.rpartition(b":")[2] for tail in tails], [b"0.000}", b"0.000}", b"1.500}", b"2.000}", b"2.000}"]
        )

    def test_an_act(self) -> None:
        self.assertEqual(
            self.make.act(Depart("k", "primary"), "id", NOW, "origin"),
            Entry(ACT, "", "id", NOW, b'{"act":"depart","session":"k","node":"primary"}', origin="origin"),
        )


class SessionTestCase(SynchronousTestCase):
    extended = False

    def setUp(self) -> None:
        self.hall = Hall()
        self.make = EntryMaker("a0.")
        self.rules = SessionRules("primary", message_chars_max=20, rooms_per_owner_max=3, rooms_per_session_max=2)
        self.enter_hall("owner", "olga")
        self.hall.apply(Create("owner", "jokes"), 1)
        self.session = self.new("k")
        self.enter_hall("k", "adel")

    def new(self, key: str) -> Session:
        return Session(key, self.hall, self.rules, self.make, extended=self.extended, origin="seat")

    def enter_hall(self, key: str, identity: str) -> None:
        self.hall.apply(Enter(key, "primary", identity), 1)
        if key == "k":
            self.session.member = self.hall.members[key]

    def ask(self, *requests: Request) -> list[Any]:
        return [plain(effect) for effect in self.session.received(list(requests), NOW)]

    def go_on(self) -> list[Any]:
        return [plain(effect) for effect in self.session.go_on(NOW)]


def plain(effect: Effect) -> Any:
    """Return the act, the reply or the question that an effect holds; an entry of a message as it is."""
    if isinstance(effect, Reply):
        return effect.line
    if isinstance(effect, Ask):
        return ("ask", effect.request)
    assert isinstance(effect, Entry)
    return effect if effect.kind == MESSAGE else decode_act(effect.head)


class BaseSessionTests(SessionTestCase):
    def check_act(self, request: Request, act: Act) -> None:
        (entry,) = self.session.received([request], NOW)
        assert isinstance(entry, Entry)
        self.assertEqual((entry.kind, entry.room, entry.time, entry.origin), (ACT, "", NOW, "seat"))
        self.assertEqual((entry.retriable, entry.tail), (False, b""))
        self.assertEqual(decode_act(entry.head), act)
        self.assertTrue(entry.id.startswith("a0."))
        self.assertEqual(self.session.in_flight, 1)
        self.session.acted()
        self.assertEqual(self.session.in_flight, 0)

    def test_requests_that_change_the_hall_become_acts(self) -> None:
        self.check_act(IdentityChange("aaron"), Rename("k", "aaron"))
        self.check_act(Join("jokes"), Move("k", "jokes", NOW))
        self.check_act(CreateRoom("news"), Create("k", "news", 3))
        self.check_act(Delete("jokes"), Destroy("k", "jokes"))
        self.check_act(Kick("jokes", "beth", 60), Expel("k", "jokes", "beth", NOW + 60))
        self.check_act(Quit(), Depart("k", "primary"))

    def test_a_kick_for_ever_is_a_kick_for_long(self) -> None:
        self.check_act(Kick("jokes", "beth", 2**60), Expel("k", "jokes", "beth", NOW + KICK_S_MAX))

    def test_a_kick_for_no_time_is_nothing(self) -> None:
        self.assertEqual(self.ask(Kick("jokes", "beth", 0), Kick("jokes", "beth", -5)), [])
        self.check_act(Kick("jokes", "beth", 1), Expel("k", "jokes", "beth", NOW + 1))

    def test_questions_are_answered_from_the_hall(self) -> None:
        self.assertEqual(
            self.ask(Who("MainHall"), Who("gone"), List()),
            [
                RoomContents("MainHall", ["olga", "adel"], ""),
                RoomContents("gone", [], ""),
                RoomList([RoomCount("MainHall", 2), RoomCount("jokes", 0)]),
            ],
        )

    def test_a_message_goes_to_the_room_joined_last(self) -> None:
        self.hall.apply(Move("k", "jokes", NOW), 1)
        self.assertEqual(
            self.ask(Say('Hi "all"')),
            [
                Entry(
                    MESSAGE,
                    "jokes",
                    "a0.1",
                    NOW,
                    b'{"type":"message","identity":"adel","content":"Hi \\"all\\""',
                    b',"id":"a0.1","time":1700000000.125}',
                    False,
                    "seat",
                )
            ],
        )
        self.assertEqual((self.session.unconfirmed, self.session.in_flight), (1, 1))

    def test_messages_do_not_wait_for_one_another(self) -> None:
        said = self.ask(Say("one"), Say("two"))
        said += self.ask(Say("three"))
        self.assertEqual([entry.id for entry in said], ["a0.1", "a0.2", "a0.3"])
        self.assertEqual(self.session.unconfirmed, 3)

    def test_a_message_is_said_under_the_name_of_the_moment(self) -> None:
        self.ask(Say("one"))
        self.hall.apply(Rename("k", "aaron"), 1)
        (entry,) = self.ask(Say("two"))
        self.assertIn(b'"identity":"aaron"', entry.head)

    def test_a_message_that_is_too_long_is_not_sent_and_the_sender_is_told(self) -> None:
        (fits, refused) = self.ask(Say("é" * 20), Say("é" * 21))
        self.assertIsInstance(fits, Entry)
        self.assertEqual(refused, Said("server", "your message was not sent: it has more than 20 characters"))
        self.assertEqual(self.session.unconfirmed, 1)

    def test_an_empty_message_is_one(self) -> None:
        (entry,) = self.ask(Say(""))
        self.assertIn(b'"content":""', entry.head)

    def test_a_session_that_is_over_says_nothing(self) -> None:
        self.session.member = None
        self.assertEqual(self.ask(Say("one"), Say("x" * 30)), [Said("server", self.too_long)])
        self.assertEqual(self.session.unconfirmed, 0)

    too_long = "your message was not sent: it has more than 20 characters"

    def test_entering(self) -> None:
        session = self.new("n")
        self.assertIsNone(session.member)
        entry = session.enter(NOW, None, None, "all")
        self.assertEqual((entry.id, entry.kind, entry.time, entry.origin), ("n", ACT, NOW, "seat"))
        self.assertEqual(decode_act(entry.head), Enter("n", "primary", history="all"))
        self.assertEqual(session.in_flight, 1)

    def test_what_comes_before_the_entering_is_applied_waits(self) -> None:
        self.session = self.new("n")
        self.session.enter(NOW, None, None, None)
        self.assertEqual(self.ask(Say("one"), Who("MainHall")), [])
        self.hall.apply(Enter("n", "primary"), 1)
        self.session.member = self.hall.members["n"]
        self.session.acted()
        (entry,) = self.go_on()
        self.assertIn(b'"content":"one"', entry.head)

    def test_a_session_may_go_on_with_a_member(self) -> None:
        self.assertIs(self.new("owner").member, self.hall.members["owner"])

    def test_hanging_up_is_heard_when_all_before_it_is_answered(self) -> None:
        self.ask(Say("one"))
        self.assertEqual(self.session.hang_up(NOW), [])
        self.session.unconfirmed -= 1
        self.assertEqual(self.go_on(), [("ask", HangUp())])

    def test_hanging_up_with_nothing_under_way_is_heard_at_once(self) -> None:
        self.assertEqual(self.session.hang_up(NOW), [Ask(HangUp())])

    def test_what_comes_after_that_is_not_taken(self) -> None:
        """Nobody would confirm it: it counted as being under way for ever."""
        self.assertEqual(self.ask(HangUp(), Say("late"), Who("MainHall"), HangUp()), [("ask", HangUp())])
        self.assertEqual((self.session.unconfirmed, self.session.in_flight), (0, 0))

    def test_nor_is_it_where_hanging_up_had_to_wait(self) -> None:
        self.ask(Say("one"))
        self.session.hang_up(NOW)
        self.assertEqual(self.ask(Say("late"), List()), [])
        self.session.unconfirmed -= 1
        self.assertEqual(self.go_on(), [("ask", HangUp())])
        self.assertEqual((self.session.unconfirmed, self.session.in_flight), (0, 0))

    def test_departing_drops_what_waits(self) -> None:
        self.ask(Say("one"), List())
        self.assertEqual(self.session.in_flight, 2)
        entry = self.session.depart(NOW)
        self.assertEqual(decode_act(entry.head), Depart("k", "primary"))
        self.assertEqual(self.session.in_flight, 2, "the message and the departure")
        self.assertEqual(self.go_on(), [])

    def test_a_session_whose_server_was_lost_departs_otherwise(self) -> None:
        self.assertEqual(decode_act(self.session.depart(NOW, lost=True).head), Depart("k", "primary", True))

    def test_another_hello_is_refused(self) -> None:
        self.assertEqual(self.ask(Hello(1)), [Error("already-welcome", "a connection says hello once")])


class OrderTests(SessionTestCase):
    """What is asked later is answered later."""

    def test_a_question_waits_for_the_messages_before_it(self) -> None:
        (said,) = self.ask(Say("one"), Who("MainHall"), Say("two"))
        self.assertIn(b'"one"', said.head)
        self.assertEqual(self.session.in_flight, 3)
        self.assertFalse(self.session.may_go_on)
        self.session.unconfirmed -= 1
        self.assertTrue(self.session.may_go_on)
        contents, said = self.go_on()
        self.assertEqual(contents, RoomContents("MainHall", ["olga", "adel"], ""))
        self.assertIn(b'"two"', said.head)
        self.assertFalse(self.session.may_go_on)
        self.assertEqual(self.session.in_flight, 1)

    def test_nothing_waits_for_a_message_that_is_held(self) -> None:
        """Until so many are there as have to be."""
        self.rules = SessionRules("primary", clients_min=4)
        self.session = self.new("k")
        for most in (2, 3):
            self.assertEqual(self.hall.most, most)
            held, contents, other = self.session.received([Say("one"), Who("nowhere"), Say("two")], NOW)
            assert isinstance(held, Hold) and isinstance(other, Hold)
            self.assertIn(b'"one"', held.entry.head)
            self.assertEqual((held.entry.room, held.entry.origin), ("MainHall", "seat"))
            self.assertIsInstance(contents, Reply)
            self.assertEqual(self.session.in_flight, 0)
            self.enter_hall(f"guest {most}", f"other{most}")
        self.assertIsInstance(self.session.received([Say("one")], NOW)[0], Entry)
        self.assertEqual(self.session.in_flight, 1)

    def test_everything_waits_for_an_act(self) -> None:
        (act,) = self.ask(Join("jokes"), Say("here I am"), List())
        self.assertEqual(act, Move("k", "jokes", NOW))
        self.assertEqual((self.session.in_flight, self.session.may_go_on), (3, False))
        self.hall.apply(act, 1)
        self.session.acted()
        self.assertTrue(self.session.may_go_on)
        (said,) = self.go_on()
        self.assertEqual(said.room, "jokes")
        self.session.unconfirmed -= 1
        (listed,) = self.go_on()
        self.assertIsInstance(listed, RoomList)
        self.assertEqual((self.session.in_flight, self.session.may_go_on), (0, False))

    def test_what_comes_while_something_waits_waits_behind_it(self) -> None:
        self.ask(Say("one"), List())
        self.session.unconfirmed -= 1
        self.assertEqual(self.ask(Say("two"), Who("jokes")), [])
        listed, said = self.go_on()
        self.assertIsInstance(listed, RoomList)
        self.assertIn(b'"two"', said.head)
        self.session.unconfirmed -= 1
        self.assertEqual(self.go_on(), [RoomContents("jokes", [], "olga")])

    def test_acts_go_one_by_one(self) -> None:
        acts = self.ask(CreateRoom("news"), Join("news"), IdentityChange("aaron"))
        for _ in range(2):
            self.hall.apply(acts[-1], 1)
            self.session.acted()
            acts += self.go_on()
        self.assertEqual(acts, [Create("k", "news", 3), Move("k", "news", NOW), Rename("k", "aaron")])

    def test_nothing_waiting_is_nothing_to_go_on_with(self) -> None:
        self.assertEqual((self.session.may_go_on, self.go_on()), (False, []))
        self.ask(Say("one"))
        self.session.unconfirmed -= 1
        self.assertFalse(self.session.may_go_on)

    def test_before_it_is_present_all_but_a_heartbeat_waits(self) -> None:
        self.extended = True
        for begin in (lambda: self.session.enter(NOW, None, None, None), lambda: self.session.attach(NOW, "hash", 3)):
            self.session = self.new("n")
            begin()
            asked = [PrivateAsked("olga", "Hi", "x"), ContactAsked(identity="olga"), SayExtended("one"), StatusAsked()]
            self.assertEqual(self.ask(*asked, Ping()), [Pong()])
            self.assertEqual(self.session.in_flight, 5)
            assert self.session.waiting is not None
            self.assertEqual(list(self.session.waiting), asked)

    def test_what_is_to_wait_waits_behind_what_does(self) -> None:
        self.ask(Say("one"), List())
        self.session.await_turn([Who("jokes")])
        self.session.unconfirmed -= 1
        listed, contents = self.go_on()
        self.assertIsInstance(listed, RoomList)
        self.assertEqual(contents, RoomContents("jokes", [], "olga"))

    def test_what_waits_for_a_session_that_is_over_is_dropped(self) -> None:
        self.ask(Say("one"), List())
        self.session.over()
        self.assertEqual((self.session.member, self.session.may_go_on, self.go_on()), (None, False, []))

    def test_attaching(self) -> None:
        session = self.new("n")
        entry = session.attach(NOW, "hash", 3)
        self.assertEqual((entry.kind, entry.time, entry.origin), (ACT, NOW, "seat"))
        self.assertNotEqual(entry.id, "n")
        self.assertEqual(decode_act(entry.head), Attach("hash", "primary", 3))
        self.assertEqual(session.in_flight, 1)

    def test_a_heartbeat_waits_for_nothing(self) -> None:
        self.extended = True
        self.session = self.new("k")
        self.ask(SayExtended("one"), List())
        self.assertEqual(
            self.ask(Ping(), Pong(), PrivateAsked("beth", "Hi", "x"), ContactAsked(identity="beth")),
            [Pong(), ("ask", PrivateAsked("beth", "Hi", "x")), ("ask", ContactAsked(identity="beth"))],
        )
        self.assertEqual(self.session.in_flight, 2)


class ExtendedSessionTests(SessionTestCase):
    extended = True

    def code(self, *requests: Request) -> tuple[str, str | None, str | None]:
        (error,) = self.ask(*requests)
        assert isinstance(error, Error), error
        self.assertEqual(self.session.in_flight, 0)
        return error.code, error.id, error.roomid

    def test_entering(self) -> None:
        session = self.new("n")
        hello = Hello(1, "beth", "token", [Resume("jokes", 3, 1), Resume("news", 1)], "none")
        entry = session.enter(NOW, hello, "hash", 7)
        self.assertEqual(
            decode_act(entry.head),
            Enter("n", "primary", "beth", "hash", 7, hello.resume),
        )

    def test_a_message_with_an_id_can_be_sent_again(self) -> None:
        (entry,) = self.ask(SayExtended("Hi", "f81d"))
        self.assertEqual((entry.id, entry.retriable, entry.room, entry.origin), ("f81d", True, "MainHall", "seat"))
        (entry,) = self.ask(SayExtended("Hi"))
        self.assertEqual((entry.id, entry.retriable), ("a0.1", False))

    def test_a_message_goes_to_any_room_it_is_in(self) -> None:
        self.hall.apply(Move("k", "jokes", NOW, True), 1)
        entries = self.ask(SayExtended("Hi", "1"), SayExtended("Hi", "2", "MainHall"), SayExtended("Hi", "3", "jokes"))
        self.assertEqual([entry.room for entry in entries], ["jokes", "MainHall", "jokes"])

    def test_a_message_to_a_room_it_is_not_in_is_refused(self) -> None:
        self.assertEqual(self.code(SayExtended("Hi", "f81d", "jokes")), ("not-a-member", "f81d", "jokes"))
        self.assertEqual(self.code(SayExtended("Hi", None, "r" * 100)), ("not-a-member", None, "r" * 64))

    def test_an_id_has_1_to_64_characters(self) -> None:
        self.assertEqual(self.code(SayExtended("Hi", "")), ("id-invalid", "", None))
        self.assertEqual(self.code(SayExtended("Hi", "x" * 65)), ("id-invalid", "x" * 64, None))
        (entry,) = self.ask(SayExtended("Hi", "x" * 64))
        self.assertEqual((entry.id, entry.retriable), ("x" * 64, True))

    def test_content_has_a_ceiling(self) -> None:
        self.assertEqual(self.code(SayExtended("x" * 21, "f81d")), ("content-too-long", "f81d", None))
        (entry,) = self.ask(SayExtended("x" * 20, "f81d"))
        self.assertEqual((entry.id, entry.retriable), ("f81d", True))

    def test_a_session_that_is_over_says_nothing(self) -> None:
        self.session.member = None
        self.assertEqual(self.ask(SayExtended("Hi", "f81d")), [])
        self.assertEqual(self.session.in_flight, 0)

    def test_joining(self) -> None:
        self.assertEqual(self.ask(JoinExtended("jokes", True, 12, "none")), [Move("k", "jokes", NOW, True, 12, "none")])

    def test_joining_with_a_history_or_a_position_that_makes_no_sense(self) -> None:
        for request in (
            JoinExtended("jokes", index=0),
            JoinExtended("jokes", index=-1),
            JoinExtended("jokes", history="some"),
            JoinExtended("jokes", history=-1),
        ):
            self.assertEqual(self.code(request)[0], "bad-request", request)
        self.assertEqual(self.ask(JoinExtended("jokes", index=1)), [Move("k", "jokes", NOW, index=1)])

    def test_a_session_is_in_so_many_rooms(self) -> None:
        self.hall.apply(Move("k", "jokes", NOW, True), 1)
        self.assertEqual(self.code(JoinExtended("news", True))[0], "too-many-rooms")
        self.assertEqual(self.ask(JoinExtended("news")), [Move("k", "news", NOW)])

    def test_leaving(self) -> None:
        self.assertEqual(self.ask(Leave("jokes")), [Part("k", "jokes")])

    def test_a_kick_for_no_time_is_refused(self) -> None:
        self.assertEqual(self.code(Kick("jokes", "beth", 0))[0], "bad-request")

    def test_status_and_contact_are_the_nodes_to_answer(self) -> None:
        for request in (StatusAsked(), ContactAsked("127.0.0.1:5"), ContactAsked(identity="beth")):
            self.assertEqual(self.ask(request), [("ask", request)])
        self.assertEqual(self.session.in_flight, 0)

    def test_a_page_of_history_is_waited_for(self) -> None:
        request = HistoryAsked("MainHall", 1)
        self.assertEqual(self.ask(request, List()), [("ask", request)])
        self.assertEqual((self.session.in_flight, self.session.may_go_on), (2, False))
        self.session.acted()
        self.assertTrue(self.session.may_go_on)
        (listed,) = self.go_on()
        self.assertIsInstance(listed, RoomList)

    def test_a_page_before_a_position(self) -> None:
        request = HistoryAsked("MainHall", before=10, limit=1)
        self.assertEqual(self.ask(request), [("ask", request)])

    def test_a_page_that_makes_no_sense(self) -> None:
        for request in (
            HistoryAsked("MainHall"),
            HistoryAsked("MainHall", 1, 10),
            HistoryAsked("MainHall", 1, limit=0),
            HistoryAsked("MainHall", 1, limit=-1),
        ):
            self.assertEqual(self.code(request), ("bad-request", None, "MainHall"))

    def test_a_page_of_a_room_one_is_not_in(self) -> None:
        self.assertEqual(self.code(HistoryAsked("jokes", 1)), ("not-a-member", None, "jokes"))
        self.assertEqual(self.code(HistoryAsked("g" * 100, 1)), ("no-such-room", None, "g" * 64))
        self.session.member = None
        self.assertEqual(self.code(HistoryAsked("MainHall", 1)), ("not-a-member", None, "MainHall"))

    def test_a_search_is_waited_for(self) -> None:
        for request in (
            SearchAsked("word"),
            SearchAsked("word", "MainHall"),
            SearchAsked("word", "MainHall", 7, 1),
        ):
            self.assertEqual(self.ask(request), [("ask", request)])
            self.assertEqual(self.session.in_flight, 1)
            self.session.acted()

    def test_a_search_that_makes_no_sense(self) -> None:
        for query in ("", "!", "x" * 257):
            self.assertEqual(self.code(SearchAsked(query)), ("bad-query", None, None))
        for request in (SearchAsked("word", limit=0), SearchAsked("word", before=7)):
            self.assertEqual(self.code(request), ("bad-request", None, None))

    def test_a_search_in_a_room_one_is_not_in(self) -> None:
        self.assertEqual(self.code(SearchAsked("word", "jokes")), ("not-a-member", None, "jokes"))
        self.assertEqual(self.code(SearchAsked("word", "g" * 100)), ("no-such-room", None, "g" * 64))

    def test_a_ping_is_answered(self) -> None:
        self.assertEqual(self.ask(Ping()), [Pong()])
        self.assertEqual(self.ask(Pong()), [])

    def test_a_private_message_is_checked(self) -> None:
        request = PrivateAsked("beth", "x" * 20, "y" * 64)
        self.assertEqual(self.ask(request), [("ask", request)])
        self.assertEqual(self.code(PrivateAsked("beth", "Hi", "")), ("id-invalid", "", None))
        self.assertEqual(self.code(PrivateAsked("beth", "Hi", "y" * 65)), ("id-invalid", "y" * 64, None))
        self.assertEqual(self.code(PrivateAsked("beth", "x" * 21, "y")), ("content-too-long", "y", None))


class HistoryTests(SynchronousTestCase):
    def test_what_may_be_asked_for(self) -> None:
        for history in (None, "all", "none", 0, 1, 10**6):
            self.assertTrue(history_allowed(history), history)
        for history in ("", "some", "5", -1):
            self.assertFalse(history_allowed(history), history)


class OrderlySessionTests(SessionTestCase):
    """What those ask for who keep order, and what is not published of those who are silenced."""

    extended = True

    def acts(self, request: Request) -> Any:
        (found,) = self.ask(request)
        self.session.acted()
        return found

    def test_orders(self) -> None:
        for request, act in (
            (
                BanAsked(60, "beth", reason="why"),
                Forbid(session="k", subject="beth", until=NOW + 60, time=NOW, reason="why"),
            ),
            (
                BanAsked(2**62, address="192.0.2.7/24"),
                Forbid(session="k", subject="192.0.2.0/24", until=NOW + KICK_S_MAX, time=NOW),
            ),
            (UnbanAsked(address="::ffff:192.0.2.7"), Allow(session="k", subject="192.0.2.7")),
            (UnbanAsked("beth"), Allow(session="k", subject="beth")),
            (SilenceAsked("beth", 60), Silence(session="k", identity="beth", until=NOW + 60)),
            (UnsilenceAsked("beth"), Silence(session="k", identity="beth", until=0.0)),
            (CloseAsked("jokes"), Destroy("k", "jokes", close=True)),
            (AnnounceAsked("hello"), Announce(session="k", content="hello")),
        ):
            self.assertEqual(self.acts(request), act)

    def test_orders_that_make_no_sense(self) -> None:
        for request in (
            BanAsked(60),
            BanAsked(60, "beth", "192.0.2.7"),
            BanAsked(60, "192.0.2.7"),
            BanAsked(60, address="beth"),
            BanAsked(0, "beth"),
            BanAsked(60, "beth", reason="x" * (REASON_CHARS_MAX + 1)),
            UnbanAsked(),
            SilenceAsked("beth", 0),
        ):
            self.assertEqual([error.code for error in self.ask(request)], ["bad-request"])
        self.assertEqual([error.code for error in self.ask(AnnounceAsked("x" * 21))], ["content-too-long"])

    def test_bans_are_for_admins(self) -> None:
        self.assertEqual([error.code for error in self.ask(BansAsked())], ["not-allowed"])
        self.hall.apply(Enroll(name="zoe", roles=["admin"]), 1)
        self.hall.apply(Forbid(subject="192.0.2.7", until=NOW + 1, time=NOW, reason="why"), 1)
        self.hall.apply(Forbid(subject="zoe", until=NOW + 2, time=NOW, by="beth"), 1)
        self.hall.apply(Enter("z", "primary", account="zoe", token="t", time=NOW + 9), 1)
        self.session.member = self.hall.members["z"]
        self.assertEqual(
            self.ask(BansAsked()),
            [BanList([BanEntry(NOW + 1, "why", "", address="192.0.2.7"), BanEntry(NOW + 2, "", "beth", "zoe")])],
        )
        self.session.over()
        self.assertEqual(self.ask(BansAsked()), [])

    def test_silence(self) -> None:
        self.hall.apply(Silence(identity="adel", until=NOW + 1), 1)
        for request in (SayExtended("hello", "id"), PrivateAsked("beth", "hello", "id")):
            self.assertEqual([(error.code, error.id) for error in self.ask(request)], [("silenced", "id")])
        self.session.extended = False
        self.assertEqual([line.identity for line in self.ask(Say("hello"))], ["server"])
        self.hall.apply(Silence(identity="adel", until=NOW), 1)
        self.assertEqual(len(self.ask(Say("hello"))), 1)

    def test_a_proof_is_what_an_account_enters_with(self) -> None:
        session = self.new("l")
        hello = Hello(1, "beth", account="zoe", password="p")
        entry = session.enter(NOW, hello, "t", "all", Proof("zoe", True, "ticket", NOW + 9))
        self.assertEqual(
            decode_act(entry.head),
            Enter("l", "primary", None, "t", "all", [], "zoe", True, "ticket", NOW + 9, NOW),
        )

    def test_a_pause(self) -> None:
        self.session.pause()
        self.assertEqual(self.ask(List()), [])
        self.session.acted()
        self.assertEqual(len(self.go_on()), 1)
