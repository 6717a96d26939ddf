"""Tests for chatproto.chat.query: SQLite understands whatever is asked for, and looks for no more than its words."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.query import QUERY_CHARS_MAX, TERMS_MAX, match_of


class MatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = sqlite3.connect(":memory:")
        self.addCleanup(self.database.close)
        self.database.execute('CREATE VIRTUAL TABLE words USING fts5(room, content, tokenize="unicode61")')

    def matches(self, query: str, content: str) -> bool:
        match = match_of(query)
        assert match is not None, query
        self.database.execute("DELETE FROM words")
        self.database.execute("INSERT INTO words VALUES ('den', ?)", (content,))
        found = self.database.execute("SELECT 1 FROM words WHERE words MATCH ?", (f"content : ({match})",))
        return found.fetchone() is not None

    def test_words(self) -> None:
        self.assertEqual(match_of("  quick   Fox "), '"quick" "Fox"')
        self.assertTrue(self.matches("FOX quick", "the quick brown fox"))
        self.assertFalse(self.matches("quick cat", "the quick brown fox"))

    def test_phrases(self) -> None:
        self.assertEqual(match_of('a "quick fox"'), '"a" "quick fox"')
        self.assertTrue(self.matches('"quick brown"', "the quick, brown fox"))
        self.assertFalse(self.matches('"quick fox"', "the quick brown fox"))

    def test_beginnings(self) -> None:
        self.assertEqual(match_of('qui* "brown f"* x**'), '"qui"* "brown f"* "x"*')
        self.assertTrue(self.matches('qui* "brown f"*', "the quick brown fox"))
        self.assertFalse(self.matches("qui", "the quick brown fox"))
        self.assertFalse(self.matches('"quick b" *', "the quick brown fox"))

    def test_a_quotation_mark_without_an_end_has_it_at_the_end(self) -> None:
        self.assertEqual(match_of('fox "quick brown'), '"fox" "quick brown"')

    def test_words_with_signs_in_them_stand_together(self) -> None:
        self.assertTrue(self.matches("e-mail", "the e-mail"))
        self.assertFalse(self.matches("e-mail", "mail the e"))

    def test_nothing_else_means_anything(self) -> None:
        for query in ("NOT fox", "cat OR fox", "content:fox", "room : den", "{room content} : fox", "NEAR(fox quick)"):
            self.assertFalse(self.matches(query, "fox"), query)
        self.assertTrue(self.matches("NOT fox", "fox not"))
        self.assertTrue(self.matches("^fox", "quick fox"))

    def test_without_a_word_or_with_too_many_it_is_none(self) -> None:
        for query in (
            "",
            " ",
            "!?",
            "*",
            '"',
            '""',
            '"*" -',
            "😀",
            "x" * (QUERY_CHARS_MAX + 1),
            "a " * (TERMS_MAX + 1),
        ):
            self.assertIsNone(match_of(query), query)
        self.assertIsNotNone(match_of("x" * QUERY_CHARS_MAX))
        self.assertIsNotNone(match_of("a " * TERMS_MAX))

    @given(
        st.text(st.sampled_from("ab1é\"*+-^:(){}, \0\\'𝒳²あ") | st.characters(exclude_categories=["Cs"]), max_size=40)
    )
    def test_whatever_it_is_it_is_understood(self, query: str) -> None:
        if match_of(query) is not None:
            self.matches(query, "anything")
