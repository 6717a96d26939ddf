"""Tests for chatproto.cli.asking; that every command is asked is tested in `test_plain`."""

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.asking import code, reason, results_in_words, status_in_words
from chatproto.client import SearchResults
from chatproto.errors import ClientStopped, Refused
from tests.unit.cli.fake import said, status


class Reasons(SynchronousTestCase):
    def test_of_a_refusal(self) -> None:
        failure = Failure(Refused("not-the-owner", "Den is not yours"))
        self.assertEqual((code(failure), reason(failure)), ("not-the-owner", "Den is not yours"))

    def test_of_a_refusal_that_says_no_more(self) -> None:
        failure = Failure(Refused("not-the-owner"))
        self.assertEqual((code(failure), reason(failure)), ("not-the-owner", "not-the-owner"))

    def test_of_the_client(self) -> None:
        failure = Failure(ClientStopped("the client is stopped"))
        self.assertEqual((code(failure), reason(failure)), ("failed", "the client is stopped"))

    def test_a_bug_is_no_reason(self) -> None:
        self.assertRaises(ZeroDivisionError, reason, Failure(ZeroDivisionError()))


class StatusInWords(SynchronousTestCase):
    def test_up_to_date(self) -> None:
        self.assertEqual(
            status_in_words(status(7, 7)),
            [
                "This server is leader in epoch 3: two servers, every message on both.",
                "Your rooms hold 7 messages, and you are up to date.",
                "west (follower) is 0 entries behind.",
            ],
        )

    def test_behind(self) -> None:
        self.assertIn("2 are on their way to you.", status_in_words(status(7, 5))[1])

    def test_what_is_worse_is_said(self) -> None:
        self.assertIn("no second copy", status_in_words(status(redundancy="single"))[0])
        self.assertIn("messages have one copy", status_in_words(status(redundancy="alone"))[0])
        self.assertIn("nothing is accepted", status_in_words(status(redundancy="isolated"))[0])
        self.assertIn("unheard-of", status_in_words(status(redundancy="unheard-of"))[0])


class ResultsInWords(SynchronousTestCase):
    def test_nothing(self) -> None:
        self.assertEqual(
            results_in_words(SearchResults("tea", (), False)), ["Nothing that was said in your rooms has tea."]
        )

    def test_the_newest_is_the_last_and_each_is_one_line(self) -> None:
        results = SearchResults("tea", (said(3, "bob", "green\ntea", "Den"), said(2, "alice", "tea?")), True)
        older, first, last = results_in_words(results)
        self.assertIn("more that is older", older)
        self.assertIn("MainHall 2: <alice> tea?", first)
        self.assertIn("Den 3: <bob> green␊tea", last)
