"""Tests for chatproto.chat.exodus: how clients leave a node that is about to stop."""

from chatproto.chat.acts import Depart, decode_act
from chatproto.chat.messages import CreateRoom, Say, SayExtended
from chatproto.log.entry import Entry
from tests.unit.chat.fakes import ChatTestCase
from tests.unit.chat.pair import PairTestCase


class AloneTests(ChatTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.base, self.base_seat = self.come()
        self.ext, self.ext_seat = self.hello(identity="adel")
        self.exodus = self.server.exodus
        self.forget()

    def forget(self) -> None:
        """Have heard what came until now."""
        self.base.lines()
        self.ext.lines()

    def test_it_says_who_is_here(self) -> None:
        self.assertEqual((self.exodus.connected, self.exodus.elsewhere, self.exodus.begun), (2, False, False))
        self.lose(self.ext_seat, self.ext)
        self.assertEqual(self.exodus.connected, 1)

    def test_newcomers_are_turned_away_and_told_why(self) -> None:
        self.exodus.begin()
        door, seat = self.hello(identity="beth")
        self.assertEqual((seat, door.closed, door.brief()), (None, True, ["notice shutting-down"]))
        door, seat = self.hello(session=self.ext_seat.token)
        self.assertEqual((seat, door.closed), (None, True), "whoever returns, too")
        self.assertIsNone(self.server.greet(door))
        self.assertEqual(door.brief()[-1:], ["server: primary is shutting down; try again later"])
        self.assertFalse(self.base.closed or self.ext.closed, "those who are in stay")

    def test_everybody_is_told_and_closed_and_nobody_departs(self) -> None:
        position = self.log.position
        self.exodus.begin()
        self.exodus.part_from_all()
        told = ["server: primary is shutting down; try again later"]
        self.assertEqual((self.base.brief(), self.base.closed), (told, True))
        self.assertEqual((self.ext.brief(), self.ext.closed), (["notice shutting-down"], True))
        self.assertEqual((self.exodus.connected, self.exodus.parted), (0, 2))
        self.server.lost(self.base_seat, self.base)
        self.server.lost(self.ext_seat, self.ext)
        self.commit()
        self.assertEqual((self.log.position, self.clock.getDelayedCalls()), (position, []))

    def test_what_was_asked_is_answered_first(self) -> None:
        self.exodus.begin()
        self.server.received(self.ext_seat, [SayExtended("one", id="1"), CreateRoom("Den"), SayExtended("two", id="2")])
        self.server.received(self.base_seat, [Say("three")])
        self.exodus.part_from_all()
        self.assertFalse(self.base.closed or self.ext.closed)
        self.commit()
        self.assertTrue(self.base.closed and self.ext.closed)
        heard = self.ext.brief()
        self.assertEqual([line for line in heard if line.startswith("ack")], ["ack 1 MainHall/1", "ack 2 MainHall/3"])
        self.assertEqual(heard[-1], "notice shutting-down")
        self.assertIn("guest1: three", self.base.brief())

    def test_what_comes_after_that_is_not_taken(self) -> None:
        self.exodus.begin()
        self.server.received(self.ext_seat, [SayExtended("one", id="1")])
        self.exodus.part_from_all()
        self.server.received(self.ext_seat, [SayExtended("late", id="2")])
        self.commit()
        self.server.received(self.ext_seat, [SayExtended("later", id="3")])
        self.commit()
        self.assertEqual([line for line in self.ext.brief() if line.startswith("ack")], ["ack 1 MainHall/1"])
        self.assertNotIn("2", [id for run in self.log.runs for id in run.ids])

    def test_who_is_fed_an_archive_is_not_waited_for(self) -> None:
        self.ask(self.base_seat, *[Say("x" * 9000) for _ in range(20)])
        door, seat = self.hello(identity="beth", history="all")
        self.assertTrue(seat.feeds, "the rest comes when it has taken the beginning")
        self.exodus.begin()
        self.exodus.part_from_all()
        self.assertTrue(door.closed)

    def test_twice_is_once(self) -> None:
        self.exodus.begin()
        self.server.received(self.ext_seat, [SayExtended("one", id="1")])
        self.exodus.part_from_all()
        self.exodus.part_from_all()
        self.commit()
        self.assertEqual((self.exodus.parted, self.ext.brief().count("notice shutting-down")), (2, 1))


class PairTests(PairTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.exodus = self.east.server.exodus

    def begin(self) -> None:
        self.exodus.begin()
        self.settle()

    def departures(self) -> list[Depart]:
        entries: list[Entry] = [entry for entry, _ in self.agreed.entries]
        acts = [decode_act(entry.head) for entry in entries if entry.kind == "act"]
        return [act for act in acts if isinstance(act, Depart)]

    def test_there_is_somewhere_to_go(self) -> None:
        self.assertTrue(self.exodus.elsewhere)
        self.west.change(serving=False)
        self.settle()
        self.assertFalse(self.exodus.elsewhere)

    def test_the_other_node_knows(self) -> None:
        self.assertTrue(self.west.server.exodus.elsewhere)
        self.begin()
        self.assertFalse(self.west.server.exodus.elsewhere, "so it sends nobody here, and will not wait for us")

    def test_extended_clients_are_told_when_to_go_and_served_until_then(self) -> None:
        doors = [self.east.hello() for _ in range(20)]
        for door, _ in doors:
            door.lines()
        self.begin()
        self.exodus.send_away(3000)
        afters = []
        for door, _ in doors:
            notice, redirect = door.lines()
            self.assertEqual((notice["code"], redirect["reason"]), ("shutting-down", "draining"))
            self.assertEqual((redirect["servers"], door.closed), (["west:4444"], False))
            afters.append(redirect["after"])
        self.assertTrue(all(0 <= after <= 3000 for after in afters))
        self.assertGreater(max(afters) - min(afters), 1500, "they do not go as a herd")
        door, seat = doors[0]
        self.east.ask(seat, SayExtended("still here", id="1"))
        self.assertIn("ack 1 MainHall/1", door.brief())

    def test_who_does_not_go_is_closed_without_being_told_twice(self) -> None:
        door, _ = self.east.hello()
        self.begin()
        self.exodus.send_away(100)
        door.lines()
        self.exodus.part_from_all()
        self.assertEqual((door.lines(), door.closed, self.exodus.parted), ([], True, 1))

    def test_where_the_other_does_not_serve_nobody_is_sent_there(self) -> None:
        base, _ = self.east.come()
        extended, _ = self.east.hello()
        extended.lines()
        self.west.change(serving=False)
        self.settle()
        self.begin()
        self.exodus.part_from_all()
        self.assertEqual(base.brief()[-1], "server: east is shutting down; try again later")
        self.assertEqual(extended.brief()[-1], "notice shutting-down")
        self.assertEqual(self.departures(), [], "it may be back here")

    def test_who_goes_by_itself_goes_on_at_the_other(self) -> None:
        door, seat = self.east.hello(identity="adel")
        self.begin()
        self.exodus.send_away(100)
        self.east.lose(seat, door)
        there, _ = self.west.hello(session=seat.token)
        self.assertEqual(there.lines()[0]["identity"], "adel")
        self.assertEqual((self.exodus.connected, self.exodus.parted), (0, 0))

    def test_who_hangs_up_has_gone_by_itself(self) -> None:
        extended, extended_seat = self.east.hello()
        base, base_seat = self.east.come()
        self.begin()
        self.exodus.send_away(100)
        for seat, door in ((extended_seat, extended), (base_seat, base)):
            self.east.server.hung_up(seat)
            self.settle()
            self.assertTrue(door.closed)
        self.assertEqual(self.exodus.parted, 0)
        self.assertEqual(base.brief()[-1], "guest2 MainHall>", "as ever")

    def test_base_clients_go_one_after_the_other(self) -> None:
        doors = [self.east.come()[0] for _ in range(10)]
        extended, _ = self.east.hello()
        self.begin()
        self.exodus.send_away(1000)
        for share, closed in ((0.0, 0), (0.05, 1), (0.3, 3), (0.3, 3), (0.95, 10), (1.0, 10)):
            self.exodus.part(share)
            self.settle()
            self.assertEqual(sum(door.closed for door in doors), closed, share)
        self.assertFalse(extended.closed)
        self.assertEqual(doors[0].brief()[-1], "server: east is shutting down; go to west:4444")

    def test_a_base_client_leaves_its_name_and_keeps_its_rooms(self) -> None:
        """It may be back at the other node at once, which has to know that it left, and that it did not mean to."""
        door, seat = self.east.come()
        self.east.ask(seat, CreateRoom("Den"))
        self.begin()
        self.exodus.part_from_all()
        self.assertTrue(door.closed)
        self.assertEqual([act.lost for act in self.departures()], [True])
        self.settle()
        self.assertNotIn("guest1", self.west.hall.identities)
        self.assertEqual(self.west.hall.contents("Den").owner, "guest1")


class MigratingTests(PairTestCase):
    """Another server has this one's place."""

    def setUp(self) -> None:
        super().setUp()
        self.exodus = self.east.server.exodus
        self.base, _ = self.east.come()
        self.ext, self.seat = self.east.hello(identity="adel")
        self.ext.lines()
        self.exodus.begin("migrating")
        self.settle()

    def test_everybody_is_told_where_to_go_and_why(self) -> None:
        self.exodus.send_away(3000)
        (redirect,) = self.ext.lines()
        self.assertEqual((redirect["type"], redirect["reason"]), ("redirect", "migrating"), "it does not shut down")
        self.assertEqual(redirect["servers"], ["west:4444"])
        self.assertTrue(0 <= redirect["after"] <= 3000)
        self.exodus.part(1.0)
        self.settle()
        told = "server: east does not serve: another server has its place; go to west:4444"
        self.assertEqual((self.base.brief()[-1], self.base.closed), (told, True))

    def test_whoever_comes_is_told_too(self) -> None:
        door, seat = self.east.hello(identity="beth")
        self.assertEqual((seat, door.closed, door.lines()[-1]["reason"]), (None, True, "migrating"))

    def test_where_nobody_else_is_heard_it_is_where_somebody_was_found(self) -> None:
        self.west.change(serving=False)
        self.settle()
        self.assertFalse(self.exodus.elsewhere)
        self.exodus.found(["north:4444"], [])
        self.exodus.send_away(0)
        self.assertEqual(self.ext.lines()[-1]["servers"], ["north:4444"])

    def test_when_it_is_over_everybody_is_let_in_again(self) -> None:
        self.exodus.send_away(0)
        self.assertTrue(self.exodus.begun)
        self.assertFalse(self.west.server.exodus.elsewhere)
        self.exodus.end()
        self.settle()
        self.assertFalse(self.exodus.begun)
        self.assertTrue(self.west.server.exodus.elsewhere)
        door, _ = self.east.hello(identity="beth")
        self.assertEqual(door.brief()[0], "welcome")
        self.base.lines()
        self.exodus.part(1.0)
        self.settle()
        self.assertEqual((self.base.closed, self.exodus.parted), (False, 0), "nobody is told to go any more")

    def test_each_time_is_counted_anew(self) -> None:
        self.exodus.part_from_all()
        self.settle()
        self.assertEqual((self.exodus.parted, self.exodus.connected), (2, 0))
        self.exodus.end()
        self.exodus.begin("migrating")
        self.assertEqual(self.exodus.parted, 0)

    def test_who_is_to_speak_tls_there_is_told_so(self) -> None:
        self.exodus.found(["tls:north:4444"], [])
        self.west.change(serving=False)
        self.settle()
        self.exodus.found(["tls:north:4444"], [])
        self.exodus.send_away(0)
        told = self.ext.lines()[-1]
        self.assertEqual((told["servers"], told["tls"]), (["north:4444"], ["north:4444"]))
