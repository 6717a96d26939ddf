from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from chatproto.chat import answers
from chatproto.chat.acts import Attach, Destroy, encode_act
from chatproto.chat.lines import HISTORY_BYTES_MAX, HISTORY_LIMIT_MAX, SEARCH_LIMIT_MAX
from chatproto.chat.messages import (
    ContactAsked,
    CreateRoom,
    Delete,
    HistoryAsked,
    Join,
    JoinExtended,
    PrivateAsked,
    Quit,
    SaidExtended,
    Say,
    SayExtended,
    SearchAsked,
    StatusAsked,
    Who,
    encode,
)
from chatproto.chat.seat import Seat
from chatproto.errors import Rejected
from chatproto.log.entry import ACT, Entry
from chatproto.log.interface import Found, Wanted
from chatproto.messaging import ConcurrentServer
from tests.unit.chat.fakes import NOW, ChatTestCase


class AnswersTestCase(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.door, self.seat = self.hello(identity="adel", history="none")
        self.door.lines()

    def say(self, *contents: str) -> None:
        self.ask(self.seat, *(SayExtended(content) for content in contents))
        self.door.lines()

    def page(self, **asked: Any) -> list[str]:
        self.ask(self.seat, HistoryAsked("MainHall", asked.pop("index", None), **asked))
        return self.door.brief()


class SearchTests(AnswersTestCase):
    """What the index finds is answered, as far as it concerns who asked."""

    def setUp(self) -> None:
        super().setUp()
        self.say("tea one", "tea two")
        self.wanted: list[Wanted] = []
        self.answer: Deferred[Found] = Deferred()
        self.server.search_by(self.find)

    def find(self, wanted: Wanted) -> "Deferred[Found]":
        self.wanted.append(wanted)
        return self.answer

    def line(self, content: str, index: int) -> bytes:
        return encode(SaidExtended("adel", content, "MainHall", index, 1, f"id-{index}", 1.0)).rstrip(b"\n")

    def test_it_is_looked_for_where_one_is_in_what_is_kept_there(self) -> None:
        self.ask(self.seat, SearchAsked("tea", limit=1000))
        self.assertEqual(self.wanted, [Wanted('"tea"', {"MainHall": (1, 2)}, None, SEARCH_LIMIT_MAX)])
        self.answer.callback(Found([("MainHall", self.line("tea", 2))], more=True))
        (answer,) = self.door.lines()
        self.assertEqual((answer["type"], answer["query"], answer["more"]), ("search", "tea", True))
        self.assertEqual([said["index"] for said in answer["messages"]], [2])

    def test_in_one_room_before_a_position(self) -> None:
        self.ask(self.seat, SearchAsked('a "b', "MainHall", 2, 5))
        self.assertEqual(self.wanted, [Wanted('"a" "b"', {"MainHall": (1, 2)}, ("MainHall", 2), 5)])
        self.answer.callback(Found([], more=False))
        self.assertEqual(self.door.lines(), [{"type": "search", "query": 'a "b', "messages": [], "more": False}])

    def test_what_is_asked_next_is_answered_after_it(self) -> None:
        self.ask(self.seat, SearchAsked("tea"), Who("nowhere"))
        self.assertEqual(self.door.lines(), [])
        self.answer.callback(Found([], more=False))
        self.assertEqual([line["type"] for line in self.door.lines()], ["search", "roomcontents"])

    def test_of_a_room_that_was_deleted_meanwhile_nothing_is_told(self) -> None:
        self.ask(self.seat, SearchAsked("tea"))
        self.answer.callback(Found([("jokes", b"{}")], more=False))
        (answer,) = self.door.lines()
        self.assertEqual(answer["messages"], [])

    def test_it_fits_a_line(self) -> None:
        self.ask(self.seat, SearchAsked("\x01" * 250 + " tea"))
        self.answer.callback(Found([("MainHall", self.line("x" * 1000, at)) for at in range(100)], more=False))
        (answer,) = self.door.lines()
        self.assertTrue(answer["more"])
        size = len(msgspec.json.encode(answer)) + 1
        self.assertTrue(HISTORY_BYTES_MAX - 1500 < size <= HISTORY_BYTES_MAX, size)

    def test_one_at_a_time_and_not_too_many_wait(self) -> None:
        finding: list[Deferred[Found]] = []

        def find(wanted: Wanted) -> "Deferred[Found]":
            finding.append(Deferred())
            return finding[-1]

        self.server.search_by(find)
        self.server._answers._searches = ConcurrentServer(lambda find: find(), at_once_max=1, waiting_max=1)
        doors = []
        for _ in range(3):
            door, seat = self.hello(history="none")
            door.lines()
            self.ask(seat, SearchAsked("tea"))
            doors.append(door)
        self.assertEqual(len(finding), 1)
        self.assertEqual([line.get("code") for line in doors[2].lines()], ["busy"])
        finding[0].callback(Found([], more=False))
        self.assertEqual(len(finding), 2)

    def code(self) -> str:
        (answer,) = [line for line in self.door.lines() if line["type"] == "error"]
        return str(answer["code"])

    def test_what_takes_too_long_and_finds_nothing_is_refused(self) -> None:
        self.ask(self.seat, SearchAsked("tea"))
        self.answer.callback(Found([], more=True, complete=False))
        self.assertEqual(self.code(), "busy")

    def test_a_disk_that_fails_is_told_to_the_operator(self) -> None:
        self.ask(self.seat, SearchAsked("tea"), Who("nowhere"))
        self.answer.errback(OSError("broken"))
        self.assertEqual(self.code(), "unreadable")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_where_nothing_is_searched_that_is_said(self) -> None:
        self.answer.errback(Rejected("no-search"))
        self.ask(self.seat, SearchAsked("tea"))
        self.assertEqual(self.code(), "no-search")
        self.server._answers.search = None
        self.ask(self.seat, SearchAsked("tea"))
        self.assertEqual(self.code(), "no-search")

    def test_who_has_left_meanwhile_is_told_nothing(self) -> None:
        self.ask(self.seat, SearchAsked("tea"))
        self.server.lost(self.seat, self.door)
        self.answer.callback(Found([("MainHall", self.line("tea", 2))], more=False))
        self.assertEqual(self.flushLoggedErrors(), [])


class PageTests(AnswersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.say(*map(str, range(1, 11)))

    def test_a_page_from_a_position(self) -> None:
        self.assertEqual(self.page(index=1, limit=3), ["history MainHall [1, 2, 3] True"])
        self.assertEqual(self.page(index=7, limit=3), ["history MainHall [7, 8, 9] True"])
        self.assertEqual(self.page(index=8, limit=3), ["history MainHall [8, 9, 10] False"])
        self.assertEqual(self.page(index=10), ["history MainHall [10] False"])
        self.assertEqual(self.page(index=11), ["history MainHall [] False"])
        self.assertEqual(self.page(index=2**62), ["history MainHall [] False"])
        self.assertEqual(self.page(index=0, limit=1), ["history MainHall [1] True"])
        self.assertEqual(self.page(index=-5, limit=1), ["history MainHall [1] True"])

    def test_a_page_before_a_position(self) -> None:
        self.assertEqual(self.page(before=11, limit=3), ["history MainHall [8, 9, 10] True"])
        self.assertEqual(self.page(before=2**62, limit=3), ["history MainHall [8, 9, 10] True"])
        self.assertEqual(self.page(before=4, limit=2), ["history MainHall [2, 3] True"])
        self.assertEqual(self.page(before=3, limit=2), ["history MainHall [1, 2] False"])
        self.assertEqual(self.page(before=2, limit=2), ["history MainHall [1] False"])
        self.assertEqual(self.page(before=1), ["history MainHall [] False"])
        self.assertEqual(self.page(before=-7), ["history MainHall [] False"])

    def test_a_page_is_made_of_the_stored_lines(self) -> None:
        self.ask(self.seat, HistoryAsked("MainHall", 2, limit=1))
        (page,) = self.door.lines()
        (said,) = page["messages"]
        self.assertEqual(
            said,
            {
                "type": "message",
                "identity": "adel",
                "content": "2",
                "roomid": "MainHall",
                "index": 2,
                "epoch": 1,
                "id": said["id"],
                "time": NOW,
            },
        )

    def test_a_page_of_an_empty_archive(self) -> None:
        self.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes"))
        self.door.lines()
        self.ask(self.seat, HistoryAsked("jokes", 1), HistoryAsked("jokes", before=1))
        self.assertEqual(self.door.brief(), ["history jokes [] False"] * 2)

    def test_no_page_is_longer_than_the_longest(self) -> None:
        self.assertEqual(HISTORY_LIMIT_MAX, 500)
        self.patch(answers, "HISTORY_LIMIT_MAX", 4)
        self.assertEqual(self.page(index=1, limit=2**62), ["history MainHall [1, 2, 3, 4] True"])
        self.assertEqual(self.page(before=11, limit=2**62), ["history MainHall [7, 8, 9, 10] True"])

    def test_what_retention_dropped_is_a_gap_before_the_page(self) -> None:
        self.server.forget({"MainHall": 4})
        self.commit()
        self.log.purge("MainHall", 4)
        self.assertEqual(self.page(index=2, limit=2), ["gap MainHall/2-3 retention", "history MainHall [4, 5] True"])
        self.assertEqual(self.page(before=6, limit=5), ["history MainHall [4, 5] False"])
        self.assertEqual(self.page(before=3, limit=5), ["history MainHall [] False"])

    def test_what_is_durable_but_not_committed_is_on_no_page(self) -> None:
        _, other = self.hello(history="none")
        self.server.received(other, [SayExtended("11")])
        self.log.seal()
        self.door.lines()
        for asked in (HistoryAsked("MainHall", 9), HistoryAsked("MainHall", 11), HistoryAsked("MainHall", before=12)):
            self.server.received(self.seat, [asked])
            self.log.answer()
        self.assertEqual(
            self.door.brief(),
            [
                "history MainHall [9, 10] False",
                "history MainHall [] False",
                f"history MainHall {list(range(1, 11))} False",
            ],
        )

    def test_answers_come_in_the_order_of_the_questions(self) -> None:
        self.ask(self.seat, HistoryAsked("MainHall", 10), Who("MainHall"), HistoryAsked("MainHall", 9))
        self.assertEqual(
            self.door.brief(), ["history MainHall [10] False", "in MainHall : adel", "history MainHall [9, 10] False"]
        )

    def test_so_many_pages_are_read_together(self) -> None:
        """Those that are asked for besides are read when one of these has been answered."""
        asked = answers.PAGES_AT_ONCE_MAX + 1
        clients = [self.hello(history="none") for _ in range(asked)]
        for _, seat in clients:
            self.server.received(seat, [HistoryAsked("MainHall", 10)])
        for door, _ in clients:
            door.lines()
        self.assertEqual(len(self.log.readings), answers.PAGES_AT_ONCE_MAX)
        self.log.readings.pop(0)()
        self.assertEqual(len(self.log.readings), answers.PAGES_AT_ONCE_MAX)
        while self.log.readings:
            self.log.readings.pop(0)()
        self.assertEqual([door.brief() for door, _ in clients], [["history MainHall [10] False"]] * asked)

    def test_not_too_many_wait_for_a_page(self) -> None:
        """The ceiling is the node's capacity, which sessions that have ended may exceed for a moment."""
        pages: ConcurrentServer[Any, bytes]
        pages = ConcurrentServer(lambda page: page(), at_once_max=answers.PAGES_AT_ONCE_MAX, waiting_max=0)
        self.server._answers._pages = pages
        clients = [self.hello(history="none") for _ in range(answers.PAGES_AT_ONCE_MAX)]
        for _, seat in clients:
            self.server.received(seat, [HistoryAsked("MainHall", 10)])
        self.server.received(self.seat, [HistoryAsked("MainHall", 10)])
        self.assertEqual(self.door.brief()[-1], "error busy")
        self.assertEqual(self.seat.session.in_flight, 0)

    def test_a_room_that_ends_while_it_is_read(self) -> None:
        self.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.server.received(self.seat, [HistoryAsked("jokes", 1)])
        reading = self.log.readings.pop()
        end = Destroy(self.seat.session.key, "jokes")
        self.log.submit(Entry(ACT, "", "x.1", NOW, encode_act(end)))
        self.commit()
        self.door.lines()
        reading()
        self.assertEqual(self.door.brief(), ["error no-such-room"])
        self.assertEqual(self.seat.session.in_flight, 0)

    def test_an_archive_that_cannot_be_read(self) -> None:
        self.log.fail_readings(OSError("broken"))
        self.assertEqual(self.page(index=1), ["error unreadable"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(self.seat.session.in_flight, 0)

    def test_the_client_may_be_gone_when_the_page_is_read(self) -> None:
        self.server.received(self.seat, [HistoryAsked("MainHall", 1), Quit()])
        self.server.lost(self.seat, self.door)
        self.commit()
        self.assertEqual((self.seat.session.in_flight, self.door.lines()), (0, []))


class LongPageTests(AnswersTestCase):
    """Messages so long that a page holds few of them, and a reading not many more."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(answers, "PAGE_BYTES_READ_MAX", 100_000)
        self.say(*(str(number).zfill(15_000) for number in range(1, 31)))

    def test_pages_from_a_position_hold_what_fits(self) -> None:
        self.assertEqual(self.page(index=1, limit=30), ["history MainHall [1, 2, 3, 4] True"])
        self.assertEqual(self.page(index=27, limit=30), ["history MainHall [27, 28, 29, 30] False"])

    def test_pages_before_a_position_hold_what_fits_next_to_it(self) -> None:
        for before in range(31, 5, -1):
            (line,) = self.page(before=before, limit=30)
            self.assertEqual(line, f"history MainHall {list(range(before - 4, before))} {before > 5}")
        self.assertEqual(self.page(before=5, limit=30), ["history MainHall [1, 2, 3, 4] False"])

    def test_a_page_stays_within_a_line(self) -> None:
        self.ask(self.seat, HistoryAsked("MainHall", before=31, limit=30))
        self.assertLessEqual(len(self.door.data.split(b"\n")[-2]), HISTORY_BYTES_MAX)

    def test_a_failing_second_reading_is_told(self) -> None:
        self.server.received(self.seat, [HistoryAsked("MainHall", before=31, limit=30)])
        self.log.fail_readings(OSError("broken"))
        self.commit()
        self.assertEqual(self.door.brief(), ["error unreadable"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class StatusTests(AnswersTestCase):
    def test_every_room_and_all_of_them(self) -> None:
        self.say("1", "2")
        self.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes", stay=True))
        self.say("a joke")
        self.ask(self.seat, StatusAsked())
        self.assertEqual(
            self.door.lines(),
            [
                {
                    "type": "status",
                    "rooms": [
                        {"roomid": "MainHall", "archived": 2, "transferred": 2},
                        {"roomid": "jokes", "archived": 1, "transferred": 1},
                    ],
                    "archived": 3,
                    "transferred": 3,
                    "epoch": 1,
                    "role": "leader",
                    "redundancy": "single",
                    "peers": [],
                    "server": "primary",
                    "clients": 1,
                    "capacity": 20,
                    "serving": True,
                    "witness": "",
                    "waits_for": "",
                    "pages": [],
                }
            ],
        )

    def test_a_session_that_is_over_has_none(self) -> None:
        self.server._answers.answer(self.gone(), StatusAsked())
        self.assertEqual(self.door.lines(), [])

    def gone(self) -> Seat:
        self.seat.session.member = None
        return self.seat


class PrivateTests(AnswersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.other, self.other_seat = self.hello(identity="beth")
        self.door.lines()
        self.other.lines()

    def test_a_private_message_is_heard_by_one_and_acknowledged(self) -> None:
        self.ask(self.seat, PrivateAsked("beth", "psst", "p1"))
        self.assertEqual(
            self.other.lines(),
            [{"type": "private", "identity": "adel", "content": "psst", "id": "p1", "time": NOW}],
        )
        self.assertEqual(self.door.lines(), [{"type": "ack", "id": "p1", "to": "beth", "delivered": 1}])
        self.assertEqual(self.log.archives, {})

    def test_nobody_of_that_name(self) -> None:
        self.ask(self.seat, PrivateAsked("x" * 100, "psst", "p1"))
        (error,) = self.door.lines()
        self.assertEqual((error["code"], error["id"]), ("no-such-identity", "p1"))
        self.assertLess(len(error["message"]), 100)

    def test_whoever_cannot_hear_it_does_not(self) -> None:
        self.lose(self.other_seat, self.other)
        _, base = self.come()
        self.ask(base, Say("Hi"))
        self.door.lines()
        self.ask(self.seat, PrivateAsked("beth", "psst", "p1"), PrivateAsked("guest1", "psst", "p2"))
        self.assertEqual([(line["id"], line["delivered"]) for line in self.door.lines()], [("p1", 0), ("p2", 0)])

    def test_a_member_whose_node_is_another_which_is_away(self) -> None:
        self.log.submit(Entry(ACT, "", "x.1", NOW, encode_act(Attach(self.hash_of(self.other_seat), "secondary"))))
        self.commit()
        self.ask(self.seat, PrivateAsked("beth", "psst", "p1"), ContactAsked(identity="beth"))
        ack, error = self.door.lines()
        self.assertEqual((ack["delivered"], error["code"]), (0, "no-address"))

    def hash_of(self, seat: Seat) -> str:
        (token,) = (token for token, member in self.hall.tokens.items() if member is seat.session.member)
        return token

    def test_a_session_that_is_over_says_nothing(self) -> None:
        self.seat.session.member = None
        self.ask(self.seat, PrivateAsked("beth", "psst", "p1"), ContactAsked(identity="beth"))
        self.assertEqual((self.door.lines(), self.other.lines()), ([], []))

    def test_a_contact_is_made_with_a_token_that_both_sides_know(self) -> None:
        self.ask(self.other_seat, ContactAsked("127.0.0.1:5"))
        self.assertEqual(self.other.lines(), [])
        self.ask(self.seat, ContactAsked(identity="beth"))
        (mine,) = self.door.lines()
        (theirs,) = self.other.lines()
        self.assertEqual((mine["identity"], mine["address"], len(mine["token"])), ("beth", "127.0.0.1:5", 32))
        self.assertEqual(theirs, {"type": "contact", "identity": "adel", "token": mine["token"]})
        self.ask(self.seat, ContactAsked(identity="beth"))
        self.assertNotEqual(self.door.lines()[0]["token"], mine["token"])

    def test_an_address_may_be_offered_and_asked_for_at_once(self) -> None:
        self.ask(self.other_seat, ContactAsked("a" * 256))
        self.ask(self.seat, ContactAsked("127.0.0.1:6", "beth"))
        self.assertEqual(self.seat.address, "127.0.0.1:6")
        (contact,) = self.door.lines()
        self.assertEqual(len(contact["address"]), 256)

    def test_an_address_that_is_too_long_changes_nothing(self) -> None:
        self.ask(self.seat, ContactAsked("127.0.0.1:6"), ContactAsked("a" * 257))
        self.assertEqual(
            ([line["code"] for line in self.door.lines()], self.seat.address), (["bad-request"], "127.0.0.1:6")
        )

    def test_an_offer_is_taken_back(self) -> None:
        self.ask(self.other_seat, ContactAsked("127.0.0.1:6"), ContactAsked(""))
        self.ask(self.seat, ContactAsked(identity="beth"))
        self.assertEqual([line["code"] for line in self.door.lines()], ["no-address"])

    def test_whoever_accepts_no_connections(self) -> None:
        self.ask(self.seat, ContactAsked(identity="beth"), ContactAsked(identity="x" * 100))
        self.assertEqual([line["code"] for line in self.door.lines()], ["no-address", "no-such-identity"])
        self.ask(self.other_seat, ContactAsked("127.0.0.1:5"))
        self.lose(self.other_seat, self.other)
        self.ask(self.seat, ContactAsked(identity="beth"))
        self.assertEqual([line["code"] for line in self.door.lines()], ["no-address"])


class OwnerTests(AnswersTestCase):
    def test_who_is_not_in_a_room_any_more_gets_no_page_of_it(self) -> None:
        self.ask(self.seat, CreateRoom("jokes"), JoinExtended("jokes"))
        _, base = self.come()
        self.ask(base, Join("jokes"))
        self.server.received(self.seat, [Delete("jokes"), HistoryAsked("jokes", 1)])
        self.door.lines()
        self.commit()
        self.assertEqual(self.door.brief()[-1], "error no-such-room")
