import random
from dataclasses import replace
from itertools import count
from typing import Any

from chatproto.chat import hearing
from chatproto.chat.acts import Act, Enter, Move, Rename, encode_act
from chatproto.chat.messages import (
    CreateRoom,
    Delete,
    Hello,
    Join,
    JoinExtended,
    Leave,
    Quit,
    Resume,
    Say,
    SayExtended,
    StatusAsked,
)
from chatproto.chat.seat import Seat
from chatproto.log.entry import ACT, Entry
from tests.unit.chat.fakes import ChatTestCase, FakeDoor


class FeedingTestCase(ChatTestCase):
    """A room whose archive is too long to be sent at once: 20 messages, 3 or 4 of which are read in one go."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(hearing, "PEEK_BYTES", 350)
        self.patch(hearing, "FEED_BYTES", 450)
        self.talker, self.talker_seat = self.come()
        self.ask(self.talker_seat, CreateRoom("jokes"), Join("jokes"))
        self.ask(self.talker_seat, *(Say(str(number)) for number in range(1, 21)))
        self.talker.lines()

    def say(self, *numbers: int) -> None:
        """Say something and have it committed, without answering any reading."""
        self.server.received(self.talker_seat, [Say(str(number)) for number in numbers])
        self.log.commit()

    def join(self, *, room: str = "jokes", **fields: Any) -> tuple[FakeDoor, Seat]:
        """Let an extended client come and go into the room; no reading of the archive is answered yet."""
        door, seat = self.hello(history="none")
        door.lines()
        self.server.received(seat, [JoinExtended(room, history="all", **fields)])
        self.log.commit()
        self.clock.turn()
        return door, seat

    def feed(self, door: FakeDoor) -> None:
        """Answer one reading, and let the client take it."""
        self.log.answer()
        door.clear()
        self.clock.turn()

    def feed_all(self, door: FakeDoor) -> None:
        door.clear()
        self.clock.turn()
        while self.log.readings:
            self.feed(door)

    def numbers(self, door: FakeDoor) -> list[int]:
        return [int(line["content"]) for line in door.lines() if line["type"] == "message"]


class FeedingTests(FeedingTestCase):
    def test_a_short_archive_comes_at_once_in_its_place(self) -> None:
        door, _ = self.hello(identity="adel", resume={"jokes": 18})
        self.assertEqual(door.brief()[-4:], ["adel >jokes", "guest1: 18", "guest1: 19", "guest1: 20"])
        self.assertEqual(self.log.readings, [])

    def test_a_long_archive_comes_piece_by_piece_as_the_client_takes_it(self) -> None:
        door, _ = self.join()
        first = self.numbers(door)
        self.assertTrue(first and first[-1] < 20)
        self.assertEqual(len(self.log.readings), 1)
        self.log.answer()
        self.clock.turn()
        second = self.numbers(door)
        self.assertTrue(second)
        self.assertEqual(self.log.readings, [], "the next piece waits for the client to take this one")
        door.clear()
        self.assertEqual(len(self.log.readings), 1)
        self.feed_all(door)
        self.assertEqual(first + second + self.numbers(door), list(range(1, 21)))
        self.assertIsNone(door.when)

    def test_what_is_said_meanwhile_comes_in_its_order_and_once(self) -> None:
        door, _ = self.join()
        self.say(21)
        self.log.answer()
        self.say(22)
        door.clear()
        self.feed_all(door)
        self.assertEqual(self.numbers(door), list(range(1, 23)))
        self.say(23)
        self.assertEqual(self.numbers(door), [23])

    def test_what_is_durable_but_not_committed_is_not_read(self) -> None:
        for last in (20, 21, 22):
            door, _ = self.join()
            self.server.received(self.talker_seat, [Say(str(last + 1))])
            self.log.seal()
            self.feed_all(door)
            self.assertEqual(self.numbers(door), list(range(1, last + 1)))
            self.log.commit()
            self.assertEqual(self.numbers(door), [last + 1])

    def test_a_short_archive_does_not_hold_what_is_not_committed(self) -> None:
        door, seat = self.hello(history="none")
        self.server.received(seat, [JoinExtended("jokes", index=20)])
        self.log.seal()
        self.server.received(self.talker_seat, [Say("21")])
        self.log.seal()
        self.log.commit()
        self.assertEqual(self.numbers(door), [20])
        self.log.commit()
        self.assertEqual(self.numbers(door), [21])

    def test_who_comes_in_the_middle_of_a_batch_hears_each_message_once(self) -> None:
        for extended in (False, True):
            door, seat = self.hello(history="none") if extended else self.come()
            count = self.hall.rooms["jokes"].last
            join: Any = JoinExtended("jokes", index=count) if extended else Join("jokes")
            self.server.received(self.talker_seat, [Say(str(count + 1))])
            self.server.received(seat, [join])
            self.server.received(self.talker_seat, [Say(str(count + 2))])
            self.log.seal()
            self.assertEqual([run.room for run in self.log.sealed[0]], ["jokes", "", "jokes"])
            self.commit()
            self.feed_all(door)
            wanted = list(range(count if extended else 1, count + 3))
            self.assertEqual(self.numbers(door), wanted)

    def test_changes_are_heard_while_it_is_fed(self) -> None:
        door, _ = self.join()
        door.lines()
        self.come()
        self.ask(self.talker_seat, Join("MainHall"))
        self.assertIn("guest1 jokes>MainHall", door.brief())

    def test_who_leaves_while_it_is_fed_is_fed_no_more(self) -> None:
        door, seat = self.join()
        self.server.received(seat, [JoinExtended("MainHall", history="none")])
        self.log.commit()
        door.lines()
        self.feed_all(door)
        self.assertEqual((door.lines(), seat.feeds), ([], None))

    def test_who_comes_back_while_the_last_reading_is_under_way_is_fed_anew(self) -> None:
        door, seat = self.join()
        self.server.received(seat, [JoinExtended("MainHall", history="none")])
        self.log.commit()
        self.server.received(seat, [JoinExtended("jokes", index=1)])
        self.log.commit()
        door.lines()
        self.clock.turn()
        first = [self.hall.rooms["jokes"].last]
        self.assertEqual(first, [20])
        self.log.answer()
        self.assertEqual(self.numbers(door), [], "the answer to the first question is for nobody")
        self.feed_all(door)
        self.assertEqual(self.numbers(door)[-1], 20)

    def test_a_lost_connection_is_fed_no_more(self) -> None:
        door, seat = self.join()
        self.server.lost(seat, door)
        self.log.answer()
        self.clock.turn()
        self.assertEqual((self.log.readings, seat.feeds), ([], None))

    def test_a_connection_lost_before_the_reading_is_asked_for(self) -> None:
        door, seat = self.hello(history="none")
        self.server.received(seat, [JoinExtended("jokes", history="all")])
        self.log.commit()
        self.server.lost(seat, door)
        self.clock.turn()
        self.assertEqual(self.log.readings, [])

    def test_a_base_client_that_says_hello_while_it_is_fed_is_another_one(self) -> None:
        door, seat = self.come()
        self.ask_only(seat, Join("jokes"))
        self.clock.turn()
        self.assertEqual(len(self.log.readings), 1)
        self.server.hello(door, Hello(1, history="none"), seat)
        door.lines()
        self.log.answer()
        self.log.commit()
        self.assertEqual(door.brief()[0], "welcome")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_resumed_connection_is_fed_from_where_it_asks(self) -> None:
        door, seat = self.join()
        self.server.lost(seat, door)
        again = FakeDoor()
        self.server.hello(again, Hello(1, session=seat.token, resume=[Resume("jokes", 7)]), None)
        self.log.commit()
        self.clock.turn()
        self.log.answer()
        self.assertEqual(self.numbers(door)[-1:] < [20], True)
        self.feed_all(again)
        self.assertEqual(self.numbers(again), list(range(7, 21)))

    def test_a_newer_connection_is_fed_from_where_it_asks(self) -> None:
        door, seat = self.join()
        again = FakeDoor()
        self.server.hello(again, Hello(1, session=seat.token, resume=[Resume("jokes", 7)]), None)
        self.log.commit()
        self.clock.turn()
        self.feed_all(again)
        self.assertEqual(self.numbers(again), list(range(7, 21)))
        self.assertTrue(door.closed)
        self.say(21)
        self.assertEqual(self.numbers(again), [21])

    def test_a_newer_connection_hears_everything_once(self) -> None:
        _, seat = self.hello(history="none", resume={"jokes": 21})
        again = FakeDoor()
        self.server.hello(again, Hello(1, session=seat.token, resume=[Resume("jokes", 7)]), None)
        self.clock.turn()
        self.say(21)
        self.feed_all(again)
        self.assertEqual(self.numbers(again), list(range(7, 22)))

    def test_a_room_that_ends_while_it_is_fed(self) -> None:
        door, seat = self.join()
        self.ask(self.talker_seat, Delete("jokes"))
        self.assertIn("list MainHall:2", door.brief())
        self.feed_all(door)
        self.assertIsNone(seat.feeds)

    def test_rooms_are_fed_one_after_another(self) -> None:
        self.ask(self.talker_seat, CreateRoom("news"), Join("news"))
        self.ask(self.talker_seat, *(Say(str(number)) for number in range(101, 121)))
        door, seat = self.hello(history="none")
        door.lines()
        self.server.received(seat, [JoinExtended("jokes", stay=True, index=1)])
        self.log.commit()
        self.server.received(seat, [JoinExtended("news", stay=True, index=1)])
        self.log.commit()
        self.clock.turn()
        assert seat.feeds is not None
        self.assertEqual([feed.room for feed in seat.feeds], ["jokes", "news"])
        self.assertEqual(len(self.log.readings), 1)
        self.say(121)
        self.feed_all(door)
        self.assertEqual(self.numbers(door), [*range(1, 21), *range(101, 122)])
        self.assertIsNone(seat.feeds)

    def two_feeds(self) -> tuple[FakeDoor, Seat]:
        door, seat = self.join(stay=True)
        self.ask_only(self.talker_seat, CreateRoom("news"), Join("news"))
        self.ask_only(self.talker_seat, *(Say(str(number)) for number in range(101, 121)))
        self.ask_only(seat, JoinExtended("news", stay=True, index=1))
        return door, seat

    def ask_only(self, seat: Seat, *requests: Any) -> None:
        """Ask, and have it committed, but answer no reading."""
        self.server.received(seat, list(requests))
        while self.log.submitted or self.log.sealed:
            self.log.commit()

    def test_leaving_the_room_that_is_fed_lets_the_next_be_fed(self) -> None:
        door, seat = self.two_feeds()
        door.lines()
        self.ask_only(seat, Leave("jokes"))
        self.clock.turn()
        self.feed_all(door)
        self.assertEqual(self.numbers(door), list(range(101, 121)))

    def test_leaving_the_room_that_is_to_be_fed_leaves_the_one_that_is(self) -> None:
        door, seat = self.two_feeds()
        got = self.numbers(door)
        self.ask_only(seat, Leave("news"))
        self.clock.turn()
        self.feed_all(door)
        self.assertEqual(got + self.numbers(door), list(range(1, 21)))

    def test_how_far_it_has_been_brought(self) -> None:
        door, seat = self.join()
        got = self.numbers(door)[-1]
        self.server.received(seat, [StatusAsked()])
        (status,) = door.lines()
        self.assertEqual(status["rooms"], [{"roomid": "jokes", "archived": 20, "transferred": got}])
        self.assertEqual((status["archived"], status["transferred"]), (20, got))
        self.feed_all(door)
        door.lines()
        self.server.received(seat, [StatusAsked()])
        (status,) = door.lines()
        self.assertEqual((status["archived"], status["transferred"]), (20, 20))

    def test_how_far_it_has_been_brought_in_several_rooms(self) -> None:
        door, seat = self.two_feeds()
        got = self.numbers(door)[-1]
        self.server.received(seat, [StatusAsked()])
        (status,) = door.lines()
        self.assertEqual(
            [(room["roomid"], room["archived"], room["transferred"]) for room in status["rooms"]],
            [("MainHall", 0, 0), ("jokes", 20, got), ("news", 20, 0)],
        )
        self.assertEqual((status["archived"], status["transferred"]), (40, got))

    def test_an_archive_that_cannot_be_read_ends_the_link(self) -> None:
        self.log.fail_readings(OSError("broken"))
        door, seat = self.join()
        self.log.answer()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertTrue(door.closed)
        door, seat = self.join()
        self.server.lost(seat, door)
        self.log.answer()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class GapTests(FeedingTestCase):
    def test_retention_while_it_is_fed_is_a_gap(self) -> None:
        door, _ = self.join()
        got = self.numbers(door)[-1]
        self.server.forget({"jokes": 15})
        self.log.commit()
        self.log.purge("jokes", 15)
        self.log.answer()
        self.assertEqual(door.brief()[0], f"gap jokes/{got + 1}-14 retention")

    def test_retention_of_all_there_is_while_it_is_fed(self) -> None:
        door, _ = self.join()
        got = self.numbers(door)[-1]
        self.server.forget({"jokes": 21})
        self.log.commit()
        self.log.purge("jokes", 21)
        self.feed_all(door)
        self.assertEqual(door.brief(), [f"gap jokes/{got + 1}-20 retention"])
        self.say(21)
        self.assertEqual(self.numbers(door), [21])

    def test_what_is_said_after_a_reading_that_found_nothing_is_no_gap(self) -> None:
        door, _ = self.join()
        got = self.numbers(door)[-1]
        self.server.forget({"jokes": 21})
        self.log.commit()
        self.log.purge("jokes", 21)
        answer = self.log.readings.pop()
        archives, self.log.archives = self.log.archives, {}
        self.log.readings.append(lambda: (self.log.archives.clear(), answer(), self.log.archives.update(archives)))
        self.log.archives = archives
        self.say(21)
        archives = dict(self.log.archives)
        self.log.answer()
        door.clear()
        self.clock.turn()
        self.feed_all(door)
        self.assertEqual(door.brief(), [f"gap jokes/{got + 1}-20 retention", "guest1: 21"])

    def test_a_short_archive_that_retention_has_just_dropped(self) -> None:
        self.log.purge("jokes", 21)
        door, _ = self.hello(history="none", resume={"jokes": 19})
        self.assertEqual(door.brief()[-1], "gap jokes/19-20 retention")

    def purge_and_seal(self, first: int) -> None:
        """Drop what comes before `first` from the archive, and have 21 and 22 in it that are not applied yet."""
        self.log.purge("jokes", first)
        self.server.received(self.talker_seat, [Say("21")])
        self.log.seal()
        self.server.received(self.talker_seat, [Say("22")])
        self.log.seal()

    def test_where_something_is_missing_what_is_beyond_the_end_is_told_once_as_it_is_applied(self) -> None:
        """As many are read as were asked for: a hole of two brings two that nobody may hear yet."""
        for first, whole in ((19, False), (21, True)):
            with self.subTest(first=first):
                self.setUp()
                self.patch(hearing, "FEED_BYTES", 100_000)
                door, _ = self.join(stay=True)
                got = self.numbers(door)[-1]
                self.purge_and_seal(first)
                self.log.answer()
                heard = [] if whole else ["guest1: 19", "guest1: 20"]
                self.assertEqual(door.brief(), [f"gap jokes/{got + 1}-{first - 1} retention", *heard])
                door.clear()
                self.log.commit()
                self.log.commit()
                self.feed_all(door)
                self.assertEqual(self.numbers(door), [21, 22])

    def test_so_is_it_where_a_short_archive_is_sent_at_once(self) -> None:
        door, seat = self.hello(history="none")
        self.server.received(seat, [JoinExtended("jokes", index=18)])
        self.log.seal()
        self.purge_and_seal(20)
        self.log.commit()
        self.assertEqual(door.brief()[-2:], ["gap jokes/18-19 retention", "guest1: 20"])
        self.log.commit()
        self.log.commit()
        self.assertEqual(self.numbers(door), [21, 22])

    def test_so_is_it_for_base_clients(self) -> None:
        self.patch(hearing, "FEED_BYTES", 100_000)
        door, seat = self.come()
        self.server.received(seat, [Join("jokes")])
        self.log.commit()
        self.clock.turn()
        got = self.numbers(door)[-1]
        self.purge_and_seal(19)
        self.log.answer()
        door.clear()
        self.log.commit()
        self.log.commit()
        self.feed_all(door)
        self.assertLess(got, 18)
        self.assertEqual(self.numbers(door), [19, 20, 21, 22])

    def test_a_room_made_again_where_nothing_was_said_yet(self) -> None:
        self.ask(self.talker_seat, Delete("jokes"), CreateRoom("jokes"))
        door, _ = self.hello(history="none", resume={"jokes": 3})
        self.assertEqual(door.brief()[-2:], ["guest2 >jokes", "gap jokes/3-20 deleted"])

    def test_base_clients_are_told_of_no_gap(self) -> None:
        self.server.forget({"jokes": 15})
        self.commit()
        self.log.purge("jokes", 18)
        door, seat = self.come()
        door.lines()
        self.ask(seat, Join("jokes"))
        self.feed_all(door)
        self.assertEqual(door.brief(), ["guest2 MainHall>jokes", "guest1: 18", "guest1: 19", "guest1: 20"])


class HistoryTests(FeedingTestCase):
    def history_of(self, **fields: Any) -> list[int]:
        door, seat = self.hello(history=fields.pop("session", None))
        door.lines()
        self.server.received(seat, [JoinExtended("jokes", **fields)])
        self.commit()
        door.clear()
        while self.log.readings or door.when:
            self.feed(door)
        return self.numbers(door)

    def test_all_none_or_the_last_ones(self) -> None:
        everything = list(range(1, 21))
        self.assertEqual(self.history_of(), everything)
        self.assertEqual(self.history_of(history="all"), everything)
        self.assertEqual(self.history_of(history="none"), [])
        self.assertEqual(self.history_of(history=0), [])
        self.assertEqual(self.history_of(history=3), [18, 19, 20])
        self.assertEqual(self.history_of(history=2**62), everything)
        self.assertEqual(self.history_of(session=2), [19, 20])
        self.assertEqual(self.history_of(session="none"), [])
        self.assertEqual(self.history_of(session="none", history=1), [20])
        self.assertEqual(self.history_of(session="none", index=20), [20])
        self.assertEqual(self.history_of(history=1, index=19), [19, 20])
        self.assertEqual(self.history_of(index=21), [])


class PartingTests(FeedingTestCase):
    def test_a_client_that_sends_no_more_hears_the_whole_archive_first(self) -> None:
        door, seat = self.come()
        door.lines()
        self.server.received(seat, [Join("jokes")])
        self.server.hung_up(seat)
        self.log.commit()
        self.clock.turn()
        while self.log.readings:
            self.assertEqual((door.closed, self.log.submitted), (False, []))
            self.feed(door)
        self.commit()
        self.assertEqual(door.brief()[-2:], ["guest1: 20", "guest2 jokes>"])
        self.assertTrue(door.closed)

    def test_a_client_that_quits_does_not_wait_for_it(self) -> None:
        door, seat = self.join()
        self.server.received(seat, [Quit()])
        self.log.commit()
        self.assertTrue(door.closed)


class StormTests(ChatTestCase):
    """Clients come, go, talk and read as dice will; each hears every message of its rooms, in order, once."""

    settings = replace(ChatTestCase.settings, capacity=1000, rooms_per_session_max=10)
    ROOMS = ("MainHall", "jokes", "news")

    def test_no_gap_and_no_repetition_whatever_the_timing(self) -> None:
        self.patch(hearing, "PEEK_BYTES", 250)
        self.patch(hearing, "FEED_BYTES", 350)
        fed = 0
        for seed in range(60):
            self.setUp()
            fed += Storm(self, random.Random(seed), f"seed {seed}").run(250)
        self.assertGreater(fed, 1000, "the storm did feed")


class Client:
    """A client of the storm, and what it has to have heard."""

    def __init__(self, door: FakeDoor, seat: Seat) -> None:
        self.come(door, seat)
        self.token: str | None = None
        self.next: dict[str, int] = {}
        self.resumed: dict[str, int] = {}
        self.fresh: set[str] = set()
        self.identity = ""

    def come(self, door: FakeDoor, seat: Seat) -> None:
        self.door = door
        self._provisional = seat

    @property
    def seat(self) -> Seat:
        return self.door.seat or self._provisional


class Storm:
    def __init__(self, case: StormTests, dice: random.Random, name: str) -> None:
        self.case = case
        self.dice = dice
        self.name = name
        self.clients: list[Client] = []
        self.away: list[Client] = []
        self.said = 0
        self.readings = 0
        _, self.owner = case.come()
        case.ask(self.owner, CreateRoom("jokes"), CreateRoom("news"))

    def run(self, steps: int) -> int:
        clients_do = (
            self.come,
            self.say,
            self.say,
            self.say,
            self.move,
            self.leave,
            self.break_off,
            self.come_back,
        )
        moves_on = (self.seal, self.commit, self.commit, self.answer, self.answer, self.clear, self.turn)
        for _ in range(steps):
            self.dice.choice(self.dice.choice((clients_do, moves_on)))()
            self.look()
        while self.away:
            self.come_back()
        for _ in range(5000):
            for client in self.clients:
                client.door.clear()
            for step in (self.seal, self.commit, self.turn, self.answer):
                step()
        self.look()
        for client in self.clients:
            member = client.seat.session.member
            assert member is not None
            self.case.assertEqual(set(client.next), set(member.rooms), self.name)
            for room, following in client.next.items():
                self.case.assertEqual(
                    following, self.case.hall.rooms[room].last + 1, (self.name, client.identity, room)
                )
        return self.readings

    # What clients do

    def come(self) -> None:
        if len(self.clients) < 12:
            door = FakeDoor()
            if self.dice.random() < 0.5:
                seat = self.case.server.greet(door)
            else:
                seat = self.case.server.hello(door, Hello(1, history="all"), None)
            assert seat is not None
            self.clients.append(Client(door, seat))

    def any(self) -> Client | None:
        return self.dice.choice(self.clients) if self.clients else None

    def say(self) -> None:
        client = self.any()
        if client is not None:
            self.said += 1
            content = f"{self.said} " + "x" * self.dice.randrange(200)
            say = SayExtended if client.seat.session.extended else Say
            self.case.server.received(client.seat, [say(content)])

    def move(self) -> None:
        client = self.any()
        if client is not None:
            room = self.dice.choice(StormTests.ROOMS)
            if client.seat.session.extended:
                self.case.server.received(client.seat, [JoinExtended(room, stay=self.dice.random() < 0.5)])
            else:
                self.case.server.received(client.seat, [Join(room)])

    def leave(self) -> None:
        client = self.any()
        if client is not None and client.seat.session.extended:
            self.case.server.received(client.seat, [Leave(self.dice.choice(StormTests.ROOMS))])

    def break_off(self) -> None:
        client = self.any()
        if client is None or self.dice.random() < 0.5:
            return
        server = self.case.server
        server.lost(client.seat, client.door)
        self.clients.remove(client)
        returning = client.seat in server._arrivals.arriving
        if client.seat.session.extended and (client.seat.session.member is not None or returning):
            self.look_at(client)
            self.away.append(client)

    def come_back(self) -> None:
        """Go on where it was, over another connection."""
        if not self.away:
            return
        client = self.away.pop(self.dice.randrange(len(self.away)))
        client.resumed, client.next = {**client.resumed, **client.next}, {}
        resume = [Resume(room, following) for room, following in client.resumed.items()]
        door = FakeDoor()
        seat = self.case.server.hello(door, Hello(1, session=client.token, resume=resume), None)
        assert seat is not None
        client.come(door, seat)
        self.clients.append(client)

    # What moves on

    def seal(self) -> None:
        self.case.log.seal()

    def commit(self) -> None:
        if self.case.log.sealed:
            self.case.log.commit()

    def answer(self) -> None:
        if self.case.log.readings:
            self.readings += 1
            self.case.log.answer()

    def clear(self) -> None:
        client = self.any()
        if client is not None:
            client.door.clear()

    def turn(self) -> None:
        self.case.clock.turn()

    # What is heard

    def look(self) -> None:
        for client in self.clients:
            self.look_at(client)

    def look_at(self, client: Client) -> None:
        for line in client.door.lines():
            self.take(client, line)

    def take(self, client: Client, line: dict[str, Any]) -> None:
        case = self.case
        kind = line["type"]
        if kind == "welcome":
            case.assertIn(client.token, (None, line["session"]), self.name)
            client.token = line["session"]
        elif kind == "newidentity" and not line["former"]:
            client.identity = line["identity"]
        elif kind == "roomchange" and line["identity"] == client.identity and line["former"] != line["roomid"]:
            if line["former"]:
                client.next.pop(line["former"], None)
            if line["roomid"]:
                client.fresh.add(line["roomid"])
                client.next[line["roomid"]] = client.resumed.pop(line["roomid"], 1)
        elif kind == "roomcontents" and client.identity in line["identities"]:
            # Of each room of a session that came back: what it entered while it was away is new to it.
            client.next.setdefault(line["roomid"], client.resumed.pop(line["roomid"], 1))
        elif kind == "message":
            if client.seat.session.extended:
                room, index = line["roomid"], line["index"]
                case.assertIn(room, client.next, (self.name, client.identity, line))
            else:
                (room,) = client.next
                index = client.next[room]
            if index == 1:
                # What it had asked for before its connection broke may be what let it in: then it hears all.
                case.assertTrue(room in client.fresh or client.next[room] == 1, (self.name, client.identity, line))
                client.next[room] = 1
            client.fresh.discard(room)
            case.assertEqual(index, client.next[room], (self.name, client.identity, line))
            content = self.case.log.archives[room][index]
            case.assertIn(b'"content":"%b"' % line["content"].encode(), content, (self.name, client.identity, line))
            client.next[room] += 1
        else:
            case.assertNotIn(kind, ("gap", "rewind"), (self.name, client.identity, line))


class SeveralRoomsTests(FeedingTestCase):
    """Who is in several rooms hears what happens in them in the order in which it happened."""

    def setUp(self) -> None:
        super().setUp()
        self.numbers_of_acts = count(1)
        self.ask(self.talker_seat, CreateRoom("news"))
        # Somebody whom the other node serves.
        self.happen(Enter("w1", "west", "bert", None, "none", []), Move("w1", "jokes", 1.0))

    def happen(self, *acts: Act) -> None:
        """Have acts committed in one batch, as what is submitted again after a change of leaders is."""
        made = [Entry(ACT, "", f"act{next(self.numbers_of_acts)}", 1.0, encode_act(act)) for act in acts]
        self.log.submitted += made
        self.log.commit()

    def watch(self, history: str) -> FakeDoor:
        """Let a client come into both rooms; return it when it has heard of that."""
        door, seat = self.hello(history="none")
        self.server.received(seat, [JoinExtended("jokes", stay=True, history=history)])
        self.log.commit()
        self.clock.turn()
        door.lines()
        return door

    def check(self, door: FakeDoor) -> None:
        # Somebody speaks, so that what is heard in that room is the first to be handed out.
        self.server.received(self.talker_seat, [Say("21")])
        self.happen(
            Move("w1", "MainHall", 2.0), Move("w1", "news", 3.0), Rename("w1", "adel"), Move("w1", "jokes", 4.0)
        )
        told = [line for line in door.lines() if line["type"] != "message"]
        self.assertEqual(
            [(line["type"], line["identity"], line["former"], line.get("roomid")) for line in told],
            [
                ("roomchange", "bert", "jokes", "MainHall"),
                ("roomchange", "bert", "MainHall", "news"),
                ("roomchange", "adel", "news", "jokes"),
            ],
        )

    def test_as_it_goes(self) -> None:
        self.check(self.watch("none"))

    def test_while_it_is_fed(self) -> None:
        self.check(self.watch("all"))
