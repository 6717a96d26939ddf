"""Tests for chatproto.cli.prompt."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.commands import FORMS
from chatproto.cli.prompt import RECALL_LINES_MAX, Recall, complete

ROOMS = ["MainHall", "Den", "Deck"]
NAMES = ["alice", "Bob", "bert"]


def tried(line: str, cursor: int | None = None) -> list[str]:
    """Every line that Tab goes through, once around."""
    completion = complete(line, len(line) if cursor is None else cursor, ROOMS, NAMES)
    return [completion.next()[0] for _ in completion.words] if completion else []


class Completing(SynchronousTestCase):
    def test_commands(self) -> None:
        self.assertEqual(tried("#jo"), ["#join "])
        self.assertEqual(tried("#JO"), ["#join "])
        self.assertEqual(tried("#l"), ["#leave ", "#list "])
        self.assertEqual(len(tried("#")), len(FORMS))

    def test_rooms_where_a_room_is_meant(self) -> None:
        self.assertEqual(tried("#join De"), ["#join Deck ", "#join Den "])
        self.assertEqual(tried("#who "), ["#who Deck ", "#who Den ", "#who MainHall "])
        self.assertEqual(tried("#join al"), [])

    def test_names_where_a_name_is_meant(self) -> None:
        self.assertEqual(tried("#private b"), ["#private bert ", "#private Bob "])
        self.assertEqual(tried("#kick Den al"), ["#kick Den alice "])

    def test_further_arguments(self) -> None:
        self.assertEqual(tried("#join Den s"), ["#join Den stay "])
        self.assertEqual(tried("#help jo"), ["#help join "])
        self.assertEqual(tried("#kick Den alice 3"), [])
        self.assertEqual(tried("#list D"), [])
        self.assertEqual(tried("#xyzzy D"), [])

    def test_names_in_what_is_said(self) -> None:
        self.assertEqual(tried("hello al"), ["hello alice "])
        self.assertEqual(tried("#private Bob ask al"), ["#private Bob ask alice "])

    def test_a_name_that_begins_a_message_addresses_it(self) -> None:
        self.assertEqual(tried("al"), ["alice: "])

    def test_nothing_is_completed_out_of_nothing(self) -> None:
        self.assertEqual(tried(""), [])
        self.assertEqual(tried("hello "), [])
        self.assertEqual(tried("#private Bob "), [])
        self.assertEqual(tried("##jo"), [])

    def test_what_stands_behind_the_cursor_stays(self) -> None:
        self.assertEqual(tried("#join De stay", cursor=8), ["#join Deck stay", "#join Den stay"])
        self.assertEqual(tried("al there", cursor=2), ["alice: there"])

    def test_the_cursor_stands_behind_the_word(self) -> None:
        completion = complete("#join De stay", 8, ROOMS, NAMES)
        assert completion is not None
        self.assertEqual(completion.next(), ("#join Deck stay", len("#join Deck")))

    def test_tab_goes_around(self) -> None:
        completion = complete("#l", 2, ROOMS, NAMES)
        assert completion is not None
        self.assertEqual([completion.next()[0] for _ in range(3)], ["#leave ", "#list ", "#leave "])

    @given(st.text(), st.integers(0, 20))
    def test_any_line_may_be_completed(self, line: str, cursor: int) -> None:
        for prefix in ("", "#", "#join ", "#private "):
            complete(prefix + line, min(cursor, len(prefix + line)), ROOMS, NAMES)


class Recalling(SynchronousTestCase):
    def setUp(self) -> None:
        self.recall = Recall()
        self.recall.add("one")
        self.recall.add("two")

    def test_up_and_down_walk_the_lines(self) -> None:
        self.assertEqual(self.recall.older(""), "two")
        self.assertEqual(self.recall.older("two"), "one")
        self.assertIsNone(self.recall.older("one"))
        self.assertEqual(self.recall.newer("one"), "two")

    def test_what_was_being_typed_comes_back(self) -> None:
        self.recall.older("thr")
        self.assertEqual(self.recall.newer("two"), "thr")
        self.assertIsNone(self.recall.newer("thr"))

    def test_an_entered_line_is_the_newest(self) -> None:
        self.recall.older("")
        self.recall.older("two")
        self.recall.add("one")
        self.assertEqual(self.recall.older(""), "one")
        self.assertEqual(self.recall.older("one"), "two")

    def test_the_same_line_twice_is_kept_once(self) -> None:
        self.recall.add("two")
        self.recall.older("")
        self.assertEqual(self.recall.older("two"), "one")

    def test_nothing_to_recall(self) -> None:
        recall = Recall()
        recall.add("")
        self.assertIsNone(recall.older("x"))
        self.assertIsNone(recall.newer("x"))

    def test_only_so_many_lines_are_kept(self) -> None:
        for number in range(RECALL_LINES_MAX + 5):
            self.recall.add(str(number))
        walked = 0
        while self.recall.older("") is not None:
            walked += 1
        self.assertEqual(walked, RECALL_LINES_MAX)
