"""What a paid reader has: everything once, nothing damaged, and no more than until it expires."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.delivery.hour import HOUR_S
from chatproto.news.delivery.inbox import Inbox, ages_of
from chatproto.news.delivery.messages import (
    GOT_RANGES_MAX,
    PARTIAL_MAX,
    Pull,
    Pulled,
    ReaderHello,
    ReaderWelcome,
    from_node,
    from_reader,
)
from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.messages import HELLO_BYTES_MAX, encode
from tests.unit.news.delivery.items import body_of, item


class InboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.inbox = Inbox()

    def take(self, number: int, size: int = 10, now: float = 0.0, expires: float = 1000.0) -> None:
        self.inbox.begin(item(number, size, expires=expires), 0)
        self.inbox.add(number, 0, body_of(number, size))
        assert self.inbox.whole(number) is not None
        self.inbox.accepted(number, now)

    def test_an_item_comes_in_parts(self) -> None:
        coming, body = item(7, 100), body_of(7, 100)
        self.inbox.begin(coming, 0)
        self.assertEqual(self.inbox.add(7, 0, body[:60]), 60)
        self.assertIsNone(self.inbox.whole(7))
        self.assertEqual(self.inbox.partial(), ((7, 60),))
        self.inbox.begin(coming, 50)
        self.assertEqual(self.inbox.add(7, 50, body[50:]), 100)
        self.assertEqual(self.inbox.whole(7), (coming, body))
        self.assertEqual((self.inbox.handed(7), self.inbox.has(7), self.inbox.partial()), (True, False, ((7, 100),)))
        self.inbox.accepted(7, 5.0)
        self.assertEqual((self.inbox.handed(7), self.inbox.has(7), self.inbox.partial()), (False, True, ()))
        self.assertEqual((self.inbox.got(), self.inbox.recent(8.5)), (((7, 7),), (3,)))

    def test_what_is_not_accepted_may_come_again(self) -> None:
        self.inbox.begin(item(7, 0), 0)
        self.assertIsNotNone(self.inbox.whole(7))
        self.inbox.given_up(7)
        self.assertEqual((self.inbox.handed(7), self.inbox.partial(), self.inbox.whole(7)), (False, (), None))

    def test_nonsense_is_refused(self) -> None:
        self.assertRaises(WireError, self.inbox.begin, item(7), 1)
        self.assertRaises(WireError, self.inbox.begin, item(7), -1)
        self.assertRaises(WireError, self.inbox.begin, item(0), 0)
        self.assertRaises(WireError, self.inbox.begin, replace(item(7), size=BODY_BYTES_MAX + 1), 0)
        self.inbox.begin(item(7), 0)
        self.assertRaises(WireError, self.inbox.add, 7, 1, b"x")
        self.assertRaises(WireError, self.inbox.add, 7, 0, b"x" * 11)
        self.assertEqual(self.inbox.add(8, 0, b"x"), 0)

    def test_what_is_damaged_begins_anew(self) -> None:
        self.inbox.begin(item(7), 0)
        self.inbox.add(7, 0, b"x" * 10)
        self.assertRaises(WireError, self.inbox.whole, 7)
        self.assertEqual(self.inbox.partial(), ())

    def test_another_body_under_the_number_does_not_go_on(self) -> None:
        self.inbox.begin(item(7), 0)
        self.inbox.add(7, 0, b"x")
        self.assertRaises(WireError, self.inbox.begin, replace(item(7), digest=b"other"), 1)

    def test_what_has_expired_is_forgotten(self) -> None:
        self.take(1, expires=10.0)
        self.take(2, expires=20.0)
        self.inbox.begin(item(3, expires=10.0), 0)
        self.inbox.begin(item(4, expires=20.0), 0)
        self.inbox.expire(10.0)
        self.assertEqual((self.inbox.got(), self.inbox.partial()), (((2, 2),), ((4, 0),)))
        self.inbox.withdrawn(4)
        self.inbox.withdrawn(5)
        self.assertEqual(self.inbox.partial(), ())

    def test_parts_are_bounded(self) -> None:
        for number in range(1, PARTIAL_MAX + 3):
            self.inbox.begin(item(number), 0)
        self.assertEqual([number for number, _ in self.inbox.partial()], list(range(3, PARTIAL_MAX + 3)))

    def test_the_largest_hello_fits(self) -> None:
        base = 10**9
        for number in range(3600):
            self.take(base + 2 * number, now=number, expires=1e12)
        for number in range(PARTIAL_MAX):
            self.inbox.begin(item(2 * base + number), 0)
        inbox = self.inbox
        hello = ReaderHello(1, "n" * 64, "t" * 200, inbox.got(), inbox.partial(), inbox.recent(3599.5))
        self.assertEqual((len(hello.got), len(hello.recent)), (GOT_RANGES_MAX, 3600))
        self.assertEqual(hello.got[-1][1], base + 2 * 3599)
        self.assertLess(len(encode(hello)), HELLO_BYTES_MAX)

    def test_ages_there_and_back(self) -> None:
        for number, now in enumerate((0.0, 100.2, 100.4, 3000.0)):
            self.take(number + 1, now=now)
        self.assertEqual(ages_of(self.inbox.recent(3001.0)), [1, 2900, 2900, 3001])
        self.assertEqual(ages_of(self.inbox.recent(HOUR_S + 1)), [601, 3500, 3500])
        for wrong in ((-1,), (4, -1), (3601,), (3000, 601)):
            self.assertRaises(ValueError, ages_of, wrong)


class MessageTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for message in (ReaderHello(1, "rita", "t", ((1, 2),), ((3, 4),), (5,)), Pull(3)):
            self.assertEqual(from_reader(encode(message)[4:]), message)
        for answer in (ReaderWelcome("north", True), Pulled(False)):
            self.assertEqual(from_node(encode(answer)[4:]), answer)
        self.assertRaises(WireError, from_reader, b"nonsense")
