"""Tests for chatproto.cli.text: nothing that strangers write does anything."""

import os
import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.text import clock_time, day, harmless, harmless_lines, iso_time


class Harmless(SynchronousTestCase):
    def test_escapes_are_shown(self) -> None:
        self.assertEqual(harmless("\x1b[2J\x1b]0;owned\x07"), "␛[2J␛]0;owned␇")

    def test_newlines_do_not_end_a_line(self) -> None:
        self.assertEqual(harmless("a\nb\r\tc\x85d\u2028e"), "a␊b␍␉c<U+0085>d<U+2028>e")

    def test_eight_bit_controls_and_delete(self) -> None:
        self.assertEqual(harmless("\x9b2J\x7f"), "<U+009B>2J␡")

    def test_direction_controls(self) -> None:
        self.assertEqual(harmless("\u202egnp.exe\u2066"), "<U+202E>gnp.exe<U+2066>")
        self.assertEqual(harmless("\u061c\u200e\u200f\ufeff"), "<U+061C><U+200E><U+200F><U+FEFF>")

    def test_lone_surrogates(self) -> None:
        self.assertEqual(harmless("a\ud800b"), "a\ufffdb")

    def test_markup_and_ordinary_writing_stay(self) -> None:
        for text in ("[bold]x[/]", "[@click=app.quit]x[/]", "naïve 漢字 שלום", "👩\u200d👩\u200d👧", "\\n"):
            self.assertEqual(harmless(text), text)

    @given(st.text(st.characters(codec=None)))
    def test_nothing_shown_controls_anything(self, text: str) -> None:
        for shown in (harmless(text), *harmless_lines(text)):
            for character in shown:
                self.assertNotIn(unicodedata.category(character), ("Cc", "Cs", "Zl", "Zp"))
                self.assertNotIn(unicodedata.bidirectional(character), ("LRE", "RLE", "LRO", "RLO", "PDF"))
                self.assertNotIn(unicodedata.bidirectional(character), ("LRI", "RLI", "FSI", "PDI"))
            shown.encode("utf-8")


class Lines(SynchronousTestCase):
    def test_line_ends_make_lines(self) -> None:
        self.assertEqual(harmless_lines("a\nb\r\nc\rd\x0be\u2028f"), ["a", "b", "c", "d", "e", "f"])

    def test_an_empty_text_is_one_empty_line(self) -> None:
        self.assertEqual(harmless_lines(""), [""])

    def test_tabs_become_spaces(self) -> None:
        self.assertEqual(harmless_lines("a\tb\n\tc"), ["a   b", "    c"])


class Times(SynchronousTestCase):
    def setUp(self) -> None:
        former = os.environ.get("TZ")

        def restore() -> None:
            if former is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = former
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = "Asia/Kolkata"
        time.tzset()

    def test_times_are_local(self) -> None:
        moment = 1_800_000_000.25
        self.assertEqual(iso_time(moment), "2027-01-15T13:30:00+05:30")
        self.assertEqual(clock_time(moment), "13:30")
        self.assertEqual(day(moment), "Friday, 15 January 2027")

    def test_what_is_no_time_is_told_so(self) -> None:
        for moment in (1e300, -1e300, float("inf"), float("nan")):
            for show in (iso_time, clock_time, day):
                self.assertEqual(show(moment), "?", (show, moment))
