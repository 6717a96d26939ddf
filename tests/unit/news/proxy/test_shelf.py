from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreCorrupt
from chatproto.news.proxy import shelf as shelf_module
from chatproto.news.proxy.shelf import LEAD_CHARS_MAX, Changes, Missed, MobileReader, Shelf, body_key
from tests.unit.news.proxy.making import NOW, item_of

ANNA, BRUNO = MobileReader("anna", ("finance", "sport")), MobileReader("bruno", ("gossip",))


class Disk:
    """What would be durable."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def keep(self, changes: Changes) -> Changes:
        for key, value in changes:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return changes

    def restored(self, **bounds: int) -> Shelf:
        shelf = Shelf(**bounds)
        shelf.restore(sorted((key, value) for key, value in self.rows.items() if not key.startswith(b"b")))
        return shelf


class ShelfTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = Disk()
        self.shelf = Shelf()
        self.disk.keep(self.shelf.serve([ANNA, BRUNO]))

    def take(self, number: int, *, now: float = NOW, body: bytes = b"It rains.", **fields: Any) -> None:
        self.disk.keep(self.shelf.take("east", number * 10, item_of(number, body, **fields), body, now))

    def numbers(self, reader: str = "anna", now: float = NOW) -> list[int]:
        return [kept.item.number for kept in self.shelf.unread(reader, now)]

    def again(self) -> None:
        """Begin another life, with what is durable."""
        self.shelf = self.disk.restored()


class ReadingTests(ShelfTestCase):
    def test_a_reader_has_the_items_of_its_topics_the_newest_first(self) -> None:
        self.take(1)
        self.take(2, topic="gossip")
        self.take(3, topic="finance")
        for _ in range(2):
            self.assertEqual(self.numbers(), [3, 1])
            self.assertEqual(self.numbers("bruno"), [2])
            self.assertEqual(self.shelf.topics(), ("finance", "gossip", "sport"))
            self.again()

    def test_what_was_there_before_a_reader_is_not_its_own(self) -> None:
        self.take(1)
        self.disk.keep(self.shelf.serve([ANNA, BRUNO, MobileReader("carla", ("sport",))]))
        self.take(2)
        for _ in range(2):
            self.assertEqual(self.numbers("carla"), [2])
            self.assertIsNone(self.shelf.find("carla", 1, NOW))
            self.assertEqual(self.shelf.missed("carla"), Missed())
            self.again()

    def test_a_topic_that_is_added_begins_then_and_the_others_go_on(self) -> None:
        self.take(1)
        self.take(2, topic="gossip")
        self.disk.keep(self.shelf.serve([MobileReader("anna", ("gossip", "sport")), BRUNO]))
        self.take(3, topic="gossip")
        for _ in range(2):
            self.assertEqual(self.numbers(), [3, 1])
            self.again()

    def test_a_reader_whose_contract_ends_is_forgotten(self) -> None:
        self.take(1)
        self.disk.keep(self.shelf.serve([BRUNO]))
        for _ in range(2):
            self.assertFalse(self.shelf.serves("anna"))
            self.assertEqual((self.numbers(), self.shelf.missed("anna")), ([], Missed()))
            self.assertIsNone(self.shelf.find("anna", 1, NOW))
            self.assertEqual((self.shelf.mark("anna", 1), self.shelf.mark_all("anna", 1)), ([], []))
            self.again()

    def test_nothing_is_written_where_nothing_changes(self) -> None:
        self.assertEqual(self.shelf.serve([BRUNO, ANNA]), [])
        self.assertEqual(self.shelf.readers, 2)

    def test_what_was_read_is_not_new_any_more_and_can_still_be_looked_at(self) -> None:
        for number in (1, 2, 3):
            self.take(number)
        self.disk.keep(self.shelf.mark("anna", 2))
        for _ in range(2):
            self.assertEqual(self.numbers(), [3, 1])
            found = self.shelf.find("anna", 2, NOW)
            assert found is not None
            self.assertEqual(found.item.number, 2)
            self.again()
        self.assertEqual(self.shelf.mark("anna", 99), [])
        self.disk.keep(self.shelf.mark("anna", 1))
        self.assertEqual(self.shelf.mark("anna", 1), [], "the floor is above it")
        self.assertEqual(self.numbers(), [3])
        self.disk.keep(self.shelf.mark("anna", 3))
        self.again()
        self.assertEqual(self.numbers(), [])

    def test_all_up_to_what_was_shown_is_read_and_nothing_that_came_since(self) -> None:
        for number in (1, 2, 3):
            self.take(number)
        self.disk.keep(self.shelf.mark("anna", 3))
        self.disk.keep(self.shelf.mark_all("anna", 2))
        self.take(4)
        for _ in range(2):
            self.assertEqual(self.numbers(), [4])
            self.again()
        self.assertEqual(self.shelf.mark_all("anna", 1), [])
        self.disk.keep(self.shelf.mark_all("anna", 10**9))
        self.take(5)
        self.assertEqual(self.numbers(), [5], "nobody reads what is still to come")

    def test_a_text_is_at_hand_as_far_as_a_list_shows_it_and_a_picture_is_not(self) -> None:
        self.take(1, body=("ä" * 1000).encode())
        self.take(2, body=b"\xff\xd8", media_type="image/jpeg")
        picture, text = self.shelf.unread("anna", NOW)
        self.assertEqual((picture.lead, text.lead), ("", "ä" * LEAD_CHARS_MAX))
        self.assertEqual(self.disk.rows[body_key(text.place)], ("ä" * 1000).encode())


class GoingTests(ShelfTestCase):
    def test_what_has_expired_is_not_shown_goes_from_the_disk_and_is_told_if_it_was_not_read(self) -> None:
        self.take(1, expires=NOW + 5)
        self.take(2, expires=NOW + 3)
        self.take(3, topic="gossip", expires=NOW + 3)
        self.disk.keep(self.shelf.mark("anna", 2))
        self.assertEqual(self.shelf.next_wakeup(), NOW + 3)
        self.assertEqual(self.numbers(now=NOW + 5), [])
        self.assertIsNone(self.shelf.find("anna", 1, NOW + 5))
        self.assertEqual(self.shelf.expire(NOW + 2), [])
        self.disk.keep(self.shelf.expire(NOW + 5))
        self.assertIsNone(self.shelf.next_wakeup())
        self.assertFalse([key for key in self.disk.rows if key[:1] in b"ib"])
        for _ in range(2):
            self.assertEqual((len(self.shelf), self.shelf.bodies_bytes), (0, 0))
            self.assertEqual(self.shelf.missed("anna"), Missed(expired=1))
            self.assertEqual(self.shelf.missed("bruno"), Missed(expired=1))
            self.again()
        self.disk.keep(self.shelf.mark_all("anna", self.shelf.last))
        self.again()
        self.assertEqual(self.shelf.missed("anna"), Missed(), "it was told")
        self.assertEqual(self.shelf.missed("bruno"), Missed(expired=1))
        self.take(4)
        self.assertEqual(self.numbers(), [4], "places are not used again")

    def test_what_comes_expired_or_twice_or_would_never_fit_is_passed_over(self) -> None:
        self.take(1)
        self.take(1)
        self.take(2, expires=NOW)
        small = Shelf(bodies_bytes_max=3)
        small.serve([ANNA])
        small.take("east", 1, item_of(3, b"four"), b"four", NOW)
        self.assertEqual((self.numbers(), len(small)), ([1], 0))
        self.assertIn(1, self.shelf)
        self.assertNotIn(2, self.shelf)
        for _ in range(2):
            self.assertEqual((self.shelf.position("east"), self.shelf.position("west")), (20, 0))
            self.again()

    def test_a_full_shelf_lets_go_of_what_came_first_and_says_so(self) -> None:
        for bounds in ({"items_max": 2}, {"bodies_bytes_max": 20}):
            self.disk = Disk()
            self.shelf = self.disk.restored(**bounds)
            self.disk.keep(self.shelf.serve([ANNA]))
            for number in (1, 2, 3):
                self.take(number)
            self.assertEqual(self.numbers(), [3, 2])
            self.assertEqual(self.shelf.missed("anna"), Missed(crowded_out=1))
            # Its time comes, too, and is nobody's any more.
            self.shelf.expire(NOW + 3600)
            self.assertEqual(self.shelf.missed("anna"), Missed(2, 1))

    def test_of_much_that_is_gone_the_first_is_forgotten(self) -> None:
        self.patch(shelf_module, "GONE_MAX", 2)
        for number in (1, 2, 3):
            self.take(number, expires=NOW + number)
            self.disk.keep(self.shelf.expire(NOW + number))
        for _ in range(2):
            self.assertEqual(self.shelf.missed("anna"), Missed(expired=2))
            self.again()

    def test_what_is_no_data_of_a_proxy_is_refused(self) -> None:
        for row in ((b"i", b"\xc1"), (b"r\xff", b"\x91\x80"), (b"g", b"\x00")):
            self.assertRaises(StoreCorrupt, Shelf().restore, [row])
        Shelf().restore([(b"x", b"of a later release")])


class PropertyTests(SynchronousTestCase):
    @given(
        st.lists(
            st.tuples(st.sampled_from(["take", "mark", "all", "expire", "restart"]), st.integers(1, 12)), max_size=40
        )
    )
    def test_each_item_is_new_until_it_is_read_or_else_told_as_missed(self, doings: list[tuple[str, int]]) -> None:
        """Against a list of all that ever came, with what became of it."""
        disk, shelf = Disk(), Shelf(items_max=5)
        disk.keep(shelf.serve([ANNA]))
        now, came = NOW, dict[int, str]()
        for doing, number in doings:
            now += 1
            if doing == "take":
                expires = now + number
                place = len(came) + 1
                disk.keep(shelf.take("east", place, item_of(place, expires=expires), b"It rains.", now))
                came[place] = "new"
                there = [p for p, state in came.items() if shelf.find("anna", p, 0) is not None]
                for p in came.keys() - there:
                    came[p] = "missed" if came[p] == "new" else came[p]
            elif doing == "mark" and shelf.find("anna", number, 0) is not None:
                disk.keep(shelf.mark("anna", number))
                came[number] = "read"
            elif doing == "all":
                disk.keep(shelf.mark_all("anna", shelf.last))
                came = dict.fromkeys(came, "read")
            elif doing == "expire":
                disk.keep(shelf.expire(now))
                for p, state in came.items():
                    if state == "new" and shelf.find("anna", p, 0) is None:
                        came[p] = "missed"
            elif doing == "restart":
                shelf = disk.restored(items_max=5)
            self.assertEqual(
                [kept.place for kept in shelf.unread("anna", 0)],
                [p for p, state in sorted(came.items(), reverse=True) if state == "new"],
            )
            missed = shelf.missed("anna")
            self.assertEqual(missed.expired + missed.crowded_out, list(came.values()).count("missed"))
