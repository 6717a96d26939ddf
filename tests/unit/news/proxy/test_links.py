from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.contracting.messages import (
    Ask,
    Mobile,
    Readers,
    decode_to_part,
)
from chatproto.news.items import Item
from chatproto.news.proxy.desk import ProxyDesk
from chatproto.news.proxy.directory import ASK_EVERY_S, CHECK_S_MAX, CHECKS_MAX, Directory, Unreached
from chatproto.news.proxy.messages import (
    LISTED_MAX,
    Fetch,
    Piece,
    ProxyHello,
    Seen,
    Sight,
    from_delivery,
)
from chatproto.news.proxy.pulling import LOOK_EVERY_S, Pulling
from chatproto.news.proxy.shelf import Changes, MobileReader, Shelf
from chatproto.tally import Tally
from tests.unit.news.proxy.fakes import PAGE, Contracts, Items
from tests.unit.news.proxy.linked import Linked
from tests.unit.news.proxy.making import NOW, item_of


class PullingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.tally = Tally()
        self.items = Items()
        self.suspended = False
        self.desk = ProxyDesk("east", self.items, lambda: NOW, lambda: self.suspended)
        self.shelf = Shelf()
        self.shelf.serve([MobileReader("anna", ("sport",))])
        self.kept: list[Changes] = []
        self.waiting: list[Callable[[], None]] | None = None
        self.pulling = Pulling(self.shelf, "proxy", self.clock, lambda: NOW, self.keep, self.tally)
        self.linked = self.connect()

    def keep(self, changes: Changes, done: Callable[[], None]) -> None:
        self.kept.append(changes)
        if self.waiting is None:
            done()
        else:
            self.waiting.append(done)

    def connect(self) -> Linked:
        return Linked(self.clock, self.pulling, self.desk, from_delivery, self.tally)

    def add(self, number: int, body: bytes = b"It rains.", **fields: Any) -> None:
        self.items.add(item_of(number, body, **fields), body)

    def go_on(self) -> None:
        self.linked.pass_on()
        self.clock.advance(LOOK_EVERY_S)
        self.linked.pass_on()

    def numbers(self) -> list[int]:
        return [kept.item.number for kept in self.shelf.unread("anna", NOW)]


class PullingTests(PullingTestCase):
    def test_what_is_wanted_is_pulled_whole_and_what_comes_later_too(self) -> None:
        large = bytes(range(256)) * 1024
        self.add(1)
        self.add(2, large)
        self.add(3, topic="gossip")
        self.add(4, exclusive=True)
        self.add(5, expires=NOW - 1)
        self.add(6, b"")
        self.linked.pass_on()
        self.assertEqual((self.pulling.node, self.pulling.up), ("east", True))
        self.assertEqual(self.numbers(), [6, 2, 1])
        self.assertIn(large, [value for changes in self.kept for _, value in changes])
        self.assertEqual(self.shelf.position("east"), 6)
        self.assertEqual(self.pulling.fetched, 3)
        self.add(7)
        self.go_on()
        self.assertEqual(self.numbers(), [7, 6, 2, 1])
        self.assertLessEqual({number for number, _, _ in self.items.reads}, {1, 2, 7})

    def test_an_exclusive_is_not_had_by_its_number_either(self) -> None:
        self.add(1)
        self.add(2, exclusive=True)
        self.linked.pass_on()
        for number in (1, 2):
            self.linked.link.say(Fetch(number, 0, 100))
        self.linked.pass_on()
        self.assertEqual({number for number, _, _ in self.items.reads}, {1})
        self.assertFalse(self.linked.closed)

    def test_more_than_one_answer_holds_is_pulled_at_once(self) -> None:
        for number in range(1, 2 * LISTED_MAX + 3):
            self.add(number)
        self.linked.pass_on(rounds=1000)
        self.assertEqual(len(self.shelf), 2 * LISTED_MAX + 2)

    def test_of_a_large_item_no_more_than_a_window_is_under_way(self) -> None:
        self.add(1, bytes(2 * 1024 * 1024))
        self.linked.pass_on(rounds=2)
        self.assertEqual(len(self.items.reads), 0)
        self.linked.pass_on(rounds=1)
        self.assertLessEqual(len(self.items.reads), 4)

    def test_what_broke_off_goes_on_where_it_was(self) -> None:
        self.add(1, bytes(1024 * 1024))
        self.linked.pass_on(rounds=20)
        asked = len(self.items.reads)
        self.assertGreater(asked, 8)
        self.linked.lose()
        self.assertFalse(self.pulling.up)
        self.linked = self.connect()
        self.linked.pass_on(rounds=1000)
        self.assertEqual(self.numbers(), [1])
        again = [read for number, read in enumerate(self.items.reads) if read in self.items.reads[:number]]
        self.assertLessEqual(len(again), 4, "no more than what was under way")

    def test_the_next_item_waits_until_the_disk_has_the_one_before(self) -> None:
        self.waiting = []
        self.add(1)
        self.add(2)
        self.linked.pass_on()
        self.assertEqual(self.numbers(), [1])
        self.linked.lose()
        self.linked = self.connect()
        self.linked.pass_on()
        self.assertEqual(len(self.waiting), 1)
        self.waiting.pop()()
        self.linked.pass_on()
        self.assertEqual(self.numbers(), [2, 1])
        self.linked.lose()
        self.waiting.pop()()
        self.linked = self.connect()
        self.linked.pass_on()
        self.assertEqual(self.pulling.fetched, 2)

    def test_an_item_that_is_gone_or_damaged_is_left_out(self) -> None:
        self.add(1)
        self.add(2)
        self.add(3)
        del self.items.bodies[1]
        self.items.bodies[2] = b"It snows."
        self.linked.pass_on()
        self.assertEqual(self.numbers(), [3])
        self.assertEqual(self.tally.dropped, {("news-proxy", "damaged-item"): 1})
        self.assertEqual(self.shelf.position("east"), 3)

    def test_nothing_comes_while_free_deliveries_are_suspended(self) -> None:
        self.suspended = True
        self.add(1)
        self.go_on()
        self.assertEqual(self.numbers(), [])
        self.suspended = False
        self.go_on()
        self.assertEqual(self.numbers(), [1])

    def test_a_proxy_without_readers_waits_for_them(self) -> None:
        self.shelf.serve([])
        self.add(1)
        self.go_on()
        self.assertEqual(self.items.reads, [])
        self.shelf.serve([MobileReader("bruno", ("sport",))])
        self.go_on()
        self.assertEqual(len(self.shelf), 1)
        self.shelf.serve([])
        self.pulling.stop()
        self.add(2)
        self.go_on()
        self.assertEqual(len(self.shelf), 1)

    def test_a_node_that_says_what_nobody_asked_for_is_dropped(self) -> None:
        large = Item("ansa", "id", "sport", "", "text/plain", 2**40, b"", NOW + 9, number=1)
        for nonsense in (
            [ProxyHello("who")],
            [Seen((), 1, False), Seen((Sight(1, item_of(9)),), 1, False), Seen((), 1, False)],
            [Seen((Sight(1, large),), 1, False)],
            [Seen((Sight(1, item_of(9)),), 1, False), Piece(9, 4, b"late")],
            [Seen((Sight(1, item_of(9)),), 1, False), Piece(9, 0, bytes(10))],
        ):
            linked = self.linked = self.connect()
            linked.pass_on()
            self.assertFalse(linked.closed)
            for message in nonsense:
                linked.far.say(message)
            linked.pass_on()
            self.assertTrue(linked.closed, nonsense)
            linked.lose()

    def test_pieces_of_what_was_given_up_are_passed_over(self) -> None:
        self.linked.pass_on()
        self.linked.far.say(Piece(9, 0, b"x"))
        self.linked.pass_on()
        self.assertFalse(self.linked.closed)

    def test_a_proxy_that_asks_for_nonsense_is_dropped_and_so_is_another_version(self) -> None:
        for message in (Fetch(1, -1, 5), Fetch(1, 0, 0), Fetch(1, 0, 10**6), Readers("east")):
            linked = self.connect()
            linked.pass_on()
            linked.link.say(message)
            linked.pass_on()
            self.assertTrue(linked.closed, message)
            linked.lose()
        linked = self.connect()
        linked.here.writes.clear()
        linked.link.say(ProxyHello("proxy", 99))
        linked.pass_on()
        self.assertTrue(linked.closed)
        self.assertEqual(self.tally.dropped["news-proxy", "version"], 1)

    def test_a_disk_that_cannot_be_read_ends_the_link(self) -> None:
        self.items.broken = True
        self.add(1)
        self.linked.pass_on()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertTrue(self.linked.closed)


class DirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.service = Contracts()
        self.node = "east"
        self.listed: list[list[str]] = []
        self.directory = Directory(
            self.clock, lambda: self.node, lambda readers: self.listed.append([one.name for one in readers])
        )
        self.linked = self.connect()

    def connect(self) -> Linked:
        return Linked(self.clock, self.directory, self.service, decode_to_part)

    def check(self, reader: str, password: str = "right") -> "Deferred[str]":
        return self.directory.check(reader, password, "192.0.2.1")

    def test_all_readers_of_the_node_are_listed_now_and_again(self) -> None:
        many = [f"r{number:04}" for number in range(2 * PAGE + 1)]
        self.service.readers["east"] = list(reversed(many))
        self.linked.pass_on()
        self.assertEqual((self.listed, self.service.asked), ([many], 1))
        self.service.readers["east"] = many[:PAGE]
        self.clock.advance(ASK_EVERY_S)
        self.linked.pass_on()
        self.assertEqual(self.listed[1:], [many[:PAGE]])
        self.service.readers.clear()
        self.directory.ask_soon()
        self.linked.pass_on()
        self.assertEqual(self.listed[2:], [[]])
        self.linked.lose()
        self.directory.ask_soon()
        self.assertFalse(self.directory.up)

    def test_as_long_as_the_node_is_not_known_nobody_is_listed(self) -> None:
        self.node = ""
        self.linked.pass_on()
        self.assertEqual((self.listed, self.service.asked), ([], 0))
        self.node = "west"
        self.directory.ask_soon()
        self.linked.pass_on()
        self.assertEqual(self.listed, [[]])

    def test_a_server_that_does_not_serve_is_left(self) -> None:
        self.service.serving = False
        self.linked.pass_on()
        self.assertFalse(self.directory.up)
        self.assertTrue(self.linked.closed)

    def test_passwords_are_checked_and_whose_they_are(self) -> None:
        self.failureResultOf(self.check("anna"), Unreached)
        self.linked.pass_on()
        for reader, password, expected in (
            ("anna", "right", ""),
            ("anna", "wrong", "login-failed"),
            ("paid", "right", "not-mobile"),
            ("west", "right", "elsewhere"),
            ("nobody", "right", "no-contract"),
        ):
            checking = self.check(reader, password)
            self.linked.pass_on()
            self.assertEqual(self.successResultOf(checking), expected, reader)

    def test_who_does_not_answer_in_time_or_is_lost_has_checked_nothing(self) -> None:
        self.linked.pass_on()
        late = self.check("slow")
        self.linked.pass_on()
        self.clock.advance(CHECK_S_MAX)
        self.failureResultOf(late, Unreached)
        self.service.answer()
        self.linked.pass_on()
        lost = self.check("slow")
        self.linked.pass_on()
        self.linked.lose()
        self.failureResultOf(lost, Unreached)
        self.service.answer()
        self.linked = self.connect()
        self.linked.pass_on()
        self.assertTrue(self.directory.up)

    def test_of_many_checks_some_are_refused(self) -> None:
        self.linked.pass_on()
        checks = [self.check("slow") for _ in range(CHECKS_MAX)]
        self.failureResultOf(self.check("slow"), Unreached)
        self.linked.pass_on()
        for _ in range(CHECKS_MAX):
            self.service.answer()
        self.linked.pass_on()
        self.assertEqual(set(map(self.successResultOf, checks)), {""})

    def test_what_nobody_has_asked_for_ends_the_link(self) -> None:
        for message in (Mobile((), False), Ask()):
            linked = self.connect()
            linked.pass_on()
            linked.far.say(message)
            linked.pass_on()
            self.assertTrue(linked.closed, message)
            linked.lose()
